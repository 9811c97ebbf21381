//! Script versions as immutable files: what a run executes.
//!
//! `<data>/versions/<sha256>.py` is written once, from the database, and never changed. A run is so independent
//! of what happens to the script meanwhile.

use std::collections::HashSet;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::run_directory::{make_passable, make_private};
use crate::database::Database;
use crate::script::ContentHash;
use crate::store::tasks;

/// Why a version's file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum VersionError {
    /// The database has no such version.
    #[error("version {0} is not in the database")]
    Missing(ContentHash),
    /// The database does not answer, or refuses to.
    #[error("the database does not give the script's version")]
    Database(#[source] anyhow::Error),
    /// The file cannot be written.
    #[error("cannot keep a script version as `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// The files of versions on this machine.
pub struct Versions {
    directory: PathBuf,
    /// Whether another user is to read them: by name only, which is the hash of what it reads.
    shared: bool,
    known: Mutex<HashSet<PathBuf>>,
    /// Files that somebody asked for since they were last found unused: they stay.
    asked: Mutex<HashSet<PathBuf>>,
}

impl Versions {
    /// In the data directory. `shared`: scripts run as another user.
    pub fn new(data_directory: &Path, shared: bool) -> Versions {
        Versions {
            directory: data_directory.join("versions"),
            shared,
            known: Mutex::default(),
            asked: Mutex::default(),
        }
    }

    /// The file of a version; fetched from the database if it is not here.
    pub async fn file(&self, database: &Database, sha256: ContentHash, kind: &str) -> Result<PathBuf, VersionError> {
        let path = self.directory.join(format!("{sha256}.{}", suffix(kind)));
        // Before anything is looked at: from here on nobody removes it.
        self.asked().insert(path.clone());
        if self.known().contains(&path) {
            return Ok(path);
        }
        if !is_intact(&path, sha256) {
            let content = fetch(database, sha256)
                .await
                .map_err(VersionError::Database)?
                .ok_or(VersionError::Missing(sha256))?;
            self.write(&path, &content).map_err(|source| VersionError::Write {
                path: path.clone(),
                source,
            })?;
        }
        if self.shared {
            self.share(&path).map_err(|source| VersionError::Write {
                path: path.clone(),
                source,
            })?;
        }
        self.known().insert(path.clone());
        Ok(path)
    }

    /// Files that were written so long ago. They count as not asked for from here on.
    pub fn unused_for(&self, age: Duration) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let is_old = |entry: &std::fs::DirEntry| {
            let written = entry.metadata().and_then(|metadata| metadata.modified());
            written.is_ok_and(|at| at.elapsed().is_ok_and(|elapsed| elapsed >= age))
        };
        let old: Vec<PathBuf> = entries.flatten().filter(is_old).map(|entry| entry.path()).collect();
        let mut asked = self.asked();
        for path in &old {
            asked.remove(path);
        }
        old
    }

    /// Removes those of these files that hold no version in use and that nobody has asked for since.
    pub fn remove(&self, candidates: &[PathBuf], used: &HashSet<ContentHash>) {
        let used: HashSet<String> = used.iter().map(ContentHash::to_string).collect();
        for path in candidates {
            let is_used = path
                .file_stem()
                .is_some_and(|stem| used.contains(stem.to_string_lossy().as_ref()));
            let asked = self.asked();
            if is_used || asked.contains(path) {
                continue;
            }
            self.known().remove(path);
            // One that stays is looked at again.
            let _ = std::fs::remove_file(path);
        }
    }

    /// An earlier start may have kept it to itself.
    fn share(&self, path: &Path) -> std::io::Result<()> {
        make_passable(&self.directory)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o444))
    }

    /// Under another name first: a reader never sees half a file. Not flushed to the disk: `is_intact` finds out.
    fn write(&self, path: &Path, content: &[u8]) -> std::io::Result<()> {
        make_private(&self.directory)?;
        let temporary = path.with_extension(format!("new-{}", uuid::Uuid::now_v7()));
        let mut options = std::fs::OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(content)?;
        std::fs::rename(&temporary, path)
    }

    fn asked(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.asked.lock().expect("no holder of this lock can panic")
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.known.lock().expect("no holder of this lock can panic")
    }
}

async fn fetch(database: &Database, sha256: ContentHash) -> anyhow::Result<Option<Vec<u8>>> {
    let mut connection = database.connection().await?;
    Ok(tasks::content(&mut connection, sha256).await?)
}

/// A file that a full disk or a person cut short is fetched again.
fn is_intact(path: &Path, sha256: ContentHash) -> bool {
    std::fs::read(path).is_ok_and(|content| ContentHash::of(&content) == sha256)
}

fn suffix(kind: &str) -> &'static str {
    match kind {
        "bytecode" => "pyc",
        "extension" => "so",
        _ => "py",
    }
}
