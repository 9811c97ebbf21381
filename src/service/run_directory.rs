//! A run's own directory: empty at its start, `TMPDIR` points into it, gone at its end. And the way to it, where scripts run as
//! another user.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use uuid::Uuid;

/// A directory that is removed with this value, if it was not before.
pub struct RunDirectory {
    path: PathBuf,
}

impl RunDirectory {
    /// Makes `<data>/runs/<process>-<run>`; `owner`: the uid and gid that it is to belong to, if not to this process.
    pub fn make(data_directory: &Path, run_id: i64, owner: Option<(u32, u32)>) -> io::Result<RunDirectory> {
        let parent = parent(data_directory);
        match owner {
            Some(_) => make_passable(&parent)?,
            None => make_private(&parent)?,
        }
        let path = parent.join(format!("{}-{run_id}", std::process::id()));
        make_private(&path)?;
        let directory = RunDirectory { path };
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::lchown(&directory.path, Some(uid), Some(gid))?;
        }
        Ok(directory)
    }

    /// Makes one for texts that are only looked at: no script ever sees it.
    pub fn make_for_drafts(data_directory: &Path) -> io::Result<RunDirectory> {
        let parent = parent(data_directory);
        // Whether others may pass through is for runs to say.
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&parent)?;
        let path = parent.join(format!("{}-draft-{}", std::process::id(), Uuid::now_v7()));
        make_private(&path)?;
        Ok(RunDirectory { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, away from the threads on which everything else waits: it may hold a hundred thousand files.
    pub async fn remove(self) {
        // A panic of it has been reported as such.
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for RunDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "a run's directory cannot be removed");
        }
    }
}

/// Makes a directory, with its parents, that only its owner may enter.
pub fn make_private(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    // It may have been there before. Somebody else's stays as its owner wants it, and is used if it can be.
    let _ = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700));
    Ok(())
}

/// Makes a directory, with its parents, that anybody may pass through, and only its owner may read.
pub fn make_passable(path: &Path) -> io::Result<()> {
    const PASSABLE: u32 = 0o711;
    std::fs::DirBuilder::new().recursive(true).mode(PASSABLE).create(path)?;
    let mode = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if mode & PASSABLE != PASSABLE {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode | PASSABLE))?;
    }
    Ok(())
}

/// Removes the directories of processes that are gone. To be called before the first run: what bears this process's own number
/// is of an earlier one, as in a container that started again.
pub fn remove_left_behind(data_directory: &Path) {
    let Ok(entries) = std::fs::read_dir(parent(data_directory)) else {
        return;
    };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let owner = path
            .file_name()
            .and_then(|name| name.to_str()?.split_once('-')?.0.parse::<u32>().ok());
        if owner.is_some_and(|pid| pid == std::process::id() || !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
}

fn parent(data_directory: &Path) -> PathBuf {
    data_directory.join("runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_with_its_value_and_others_stay() {
        let data = std::env::temp_dir().join(format!("dropcron-run-directory-{}", std::process::id()));
        let directory = RunDirectory::make(&data, 7, None).unwrap();
        std::fs::write(directory.path().join("file"), "x").unwrap();
        let path = directory.path().to_path_buf();
        drop(directory);
        assert!(!path.exists());
        let own = format!("{}-7", std::process::id());
        let [gone, earlier, living] = ["4194305-8", &own, "1-9"].map(|name| parent(&data).join(name));
        for path in [&gone, &earlier, &living] {
            std::fs::create_dir(path).unwrap();
        }
        let draft = RunDirectory::make_for_drafts(&data).unwrap().path().to_path_buf();
        assert!(!draft.exists(), "a draft is gone with its value");
        std::fs::create_dir(&draft).unwrap();
        remove_left_behind(&data);
        assert!(!draft.exists(), "no draft of this process has been looked at");
        assert!(!gone.exists(), "no process has this number");
        assert!(!earlier.exists(), "no run of this process has begun");
        assert!(living.exists());
        let mode = std::fs::metadata(parent(&data)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        std::fs::remove_dir_all(data).unwrap();
    }
}
