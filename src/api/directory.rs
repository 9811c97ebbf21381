//! The scripts directory as the API may touch it: paths that stay inside, files that are written beside and renamed.
//!
//! The kernel itself keeps paths inside (`openat2` with `RESOLVE_BENEATH`): neither `..` nor a link, nor one that somebody puts
//! there in the same moment, leads out.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use axum::http::StatusCode;
use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;

use super::problem::Problem;
use crate::script::{ContentHash, ScriptKind, TaskName, is_deceptive};

/// What a script may have at most, as the syncer has it.
pub const LARGEST: u64 = 10 * 1024 * 1024;

/// A path of a script inside of the scripts directory, as text that is safe everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptPath(PathBuf);

impl ScriptPath {
    /// Reads a path, such as `prices/btc.py`.
    pub fn parse(text: &str) -> Result<ScriptPath, Problem> {
        let path = Path::new(text);
        let is_plain = !text.is_empty()
            && !text.ends_with('/')
            && path.components().all(|part| matches!(part, Component::Normal(_)))
            && path.components().map(|part| part.as_os_str().len() + 1).sum::<usize>() == text.len() + 1;
        if !is_plain {
            return Err(Problem::bad_request(format!(
                "the path {text:?} does not lead to a file inside of the scripts directory; write it like `prices/btc.py`, without \
                 `..`, `.` or a leading `/`"
            )));
        }
        if let Some(character) = text.chars().find(|character| is_deceptive(*character)) {
            return Err(Problem::bad_request(format!(
                "the path {text:?} has the control character {character:?}; use letters, digits, `-`, `_`, `.` or spaces"
            )));
        }
        let is_hidden = path
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with('.') || part.as_os_str() == "__pycache__");
        if is_hidden {
            return Err(Problem::bad_request(format!(
                "`{text}` is hidden: what begins with a dot, and `__pycache__`, is left alone; choose another name"
            )));
        }
        Ok(ScriptPath(path.to_owned()))
    }

    /// The same for a file that is to be written: it must be Python text under a name that people and tables can use.
    pub fn parse_for_writing(text: &str) -> Result<ScriptPath, Problem> {
        let script = ScriptPath::parse(text)?;
        if ScriptKind::of(&script.0) != Some(ScriptKind::Source) {
            return Err(Problem::bad_request(format!(
                "`{text}` does not end in `.py`: over the API scripts are text; put compiled ones into the directory yourself"
            )));
        }
        TaskName::from_path(&script.0).map_err(|problem| Problem::bad_request(problem.to_string()))?;
        Ok(script)
    }

    /// Relative to the scripts directory.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    fn parent(&self) -> &Path {
        match self.0.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    fn file_name(&self) -> &Path {
        self.0.file_name().map_or(Path::new(""), Path::new)
    }
}

/// What is in the way of writing scripts; none: nothing.
pub fn write_hindrance(scripts_directory: &Path) -> Option<String> {
    let shown = scripts_directory.display();
    let hindrance = |why: &str| Some(format!("scripts cannot be changed here: `{shown}` {why}"));
    match rustix::fs::access(scripts_directory, rustix::fs::Access::WRITE_OK) {
        Ok(()) => {}
        Err(Errno::ROFS) => return hindrance("is on a file system that is mounted read-only"),
        Err(Errno::NOENT) => return hindrance("is not there"),
        Err(_) => return hindrance("may not be written to by the user that dropcron runs as"),
    }
    // Root may write anywhere; whoever took the right away from everybody meant it.
    match rustix::fs::stat(scripts_directory) {
        Ok(stat) if stat.st_mode & 0o222 == 0 => hindrance("is marked read-only for everybody"),
        _ => None,
    }
}

/// What a file of the directory holds.
#[derive(Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha256: ContentHash,
}

/// What whoever writes believes to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing.
    Nothing,
    /// This content.
    Content(ContentHash),
}

/// How often a path is followed while somebody renames parts of it.
const TRIES: u32 = 32;

fn beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = || rustix::fs::openat2(root, path, flags, Mode::empty(), resolve);
    // The kernel cannot tell where a path leads while somebody renames parts of it: it says so, and one asks again.
    let mut opened = open();
    for _ in 1..TRIES {
        if opened.as_ref().err() != Some(&Errno::AGAIN) {
            break;
        }
        opened = open();
    }
    match opened {
        // Kernels before 5.6, and sandboxes: part by part, and no link at all.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, path, flags),
        result => result,
    }
}

fn step_by_step(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let parts: Vec<_> = path.components().collect();
    let mut at = root.try_clone().map_err(|_| Errno::MFILE)?;
    for (number, part) in parts.iter().enumerate() {
        let is_last = number + 1 == parts.len();
        let flags = if is_last {
            flags
        } else {
            OFlags::DIRECTORY | OFlags::CLOEXEC
        };
        at = rustix::fs::openat(&at, part.as_os_str(), flags | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(at)
}

fn open_root(scripts_directory: &Path) -> Result<OwnedFd, Problem> {
    rustix::fs::open(
        scripts_directory,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|error| Problem::internal(format!("the scripts directory cannot be opened: {error}")))
}

fn refused(path: &ScriptPath, error: Errno) -> Problem {
    let shown = path.as_str();
    match error {
        Errno::NOENT | Errno::NOTDIR => Problem::not_found(format!(
            "there is no script `{shown}`; `GET /api/v1/scripts` lists them"
        )),
        Errno::AGAIN => Problem::conflict(format!("`{shown}` is renamed all the time; ask again")),
        Errno::XDEV | Errno::LOOP => Problem::new(
            StatusCode::FORBIDDEN,
            format!("`{shown}` leads over a link that the API does not follow out of the scripts directory"),
        ),
        Errno::ACCESS | Errno::PERM | Errno::ROFS => Problem::new(
            StatusCode::FORBIDDEN,
            format!("the user that dropcron runs as may not do this with `{shown}`: {error}"),
        ),
        Errno::NAMETOOLONG => Problem::bad_request(format!("the name `{shown}` is longer than the file system takes")),
        Errno::NOSPC | Errno::DQUOT => Problem::new(
            StatusCode::INSUFFICIENT_STORAGE,
            format!("there is no space left for `{shown}`"),
        ),
        Errno::ISDIR => Problem::bad_request(format!("`{shown}` is a directory")),
        error => Problem::internal(format!("`{shown}`: {error}")),
    }
}

fn io_errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Reads a script. Blocks.
pub fn read(scripts_directory: &Path, path: &ScriptPath) -> Result<Content, Problem> {
    let root = open_root(scripts_directory)?;
    // NONBLOCK: a pipe that somebody put there must not hold us.
    let file =
        beneath(&root, path.as_path(), OFlags::RDONLY | OFlags::NONBLOCK).map_err(|error| refused(path, error))?;
    let stat = rustix::fs::fstat(&file).map_err(|error| refused(path, error))?;
    match rustix::fs::FileType::from_raw_mode(stat.st_mode) {
        rustix::fs::FileType::RegularFile => {}
        rustix::fs::FileType::Directory => return Err(refused(path, Errno::ISDIR)),
        _ => {
            return Err(Problem::bad_request(format!("`{}` is no regular file", path.as_str())));
        }
    }
    let mut bytes = Vec::new();
    let mut limited = File::from(file).take(LARGEST + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|error| refused(path, io_errno(&error)))?;
    if bytes.len() as u64 > LARGEST {
        return Err(too_large(path.as_str()));
    }
    let sha256 = ContentHash::of(&bytes);
    Ok(Content { bytes, sha256 })
}

/// That a script is larger than one may be.
pub fn too_large(path: &str) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!(
            "`{path}` is larger than a script may be, {} MiB; keep data in other files",
            LARGEST / (1024 * 1024)
        ),
    )
}

/// What is there now; none: nothing.
fn present(scripts_directory: &Path, path: &ScriptPath) -> Result<Option<Content>, Problem> {
    match read(scripts_directory, path) {
        Ok(content) => Ok(Some(content)),
        Err(problem) if problem.status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
        Err(problem) => Err(problem),
    }
}

/// What is there, if it is what whoever writes believes.
pub fn check_expected(
    scripts_directory: &Path,
    path: &ScriptPath,
    expected: Expected,
) -> Result<Option<Content>, Problem> {
    let present = present(scripts_directory, path)?;
    let differs = |detail: String| Err(Problem::new(StatusCode::PRECONDITION_FAILED, detail));
    match (&present, expected) {
        (None, Expected::Nothing) => Ok(None),
        (Some(content), Expected::Content(sha256)) if content.sha256 == sha256 => Ok(present),
        (Some(content), Expected::Nothing) => differs(format!(
            "`{}` is there already, as {}; to replace it send `If-Match` with that hash",
            path.as_str(),
            content.sha256
        )),
        (Some(content), Expected::Content(_)) => differs(format!(
            "`{}` was changed meanwhile: it is {} now; read it again, and change that",
            path.as_str(),
            content.sha256
        )),
        (None, Expected::Content(_)) => differs(format!(
            "`{}` is not there any more; to make it anew send `If-None-Match: *`",
            path.as_str()
        )),
    }
}

/// The directory of a script, made if it is not there.
fn open_parent(root: &OwnedFd, path: &ScriptPath) -> Result<OwnedFd, Problem> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    match beneath(root, path.parent(), flags) {
        Err(Errno::NOENT) => {}
        result => return result.map_err(|error| refused(path, error)),
    }
    let mut made = PathBuf::new();
    let mut at = root.try_clone().map_err(Problem::internal)?;
    for part in path.parent().components() {
        made.push(part);
        match rustix::fs::mkdirat(&at, part.as_os_str(), Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(refused(path, error)),
        }
        at = beneath(root, &made, flags).map_err(|error| refused(path, error))?;
    }
    Ok(at)
}

/// A name beside a script that no scan looks at. The script's own is not in it: with the rest it may be longer than a name can be.
fn name_beside() -> Result<String, Problem> {
    let random = super::secret::new_value().map_err(Problem::internal)?;
    Ok(format!(".dropcron-{}.tmp", &random[..16]))
}

/// Writes a script whole or not at all: beside its place, and renamed. Blocks.
pub fn write(scripts_directory: &Path, path: &ScriptPath, bytes: &[u8], expected: Expected) -> Result<(), Problem> {
    check_expected(scripts_directory, path, expected)?;
    let root = open_root(scripts_directory)?;
    let parent = open_parent(&root, path)?;
    let beside = name_beside()?;
    let written = write_beside(&parent, path, &beside, bytes, expected);
    if written.is_err() {
        let _ = rustix::fs::unlinkat(&parent, beside.as_str(), AtFlags::empty());
    }
    written
}

fn write_beside(
    parent: &OwnedFd,
    path: &ScriptPath,
    beside: &str,
    bytes: &[u8],
    expected: Expected,
) -> Result<(), Problem> {
    let failed = |error: Errno| refused(path, error);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = mode_of(parent, path);
    let mut file = File::from(rustix::fs::openat(parent, beside, flags, mode).map_err(failed)?);
    // What the umask took away is what the file that is replaced had.
    rustix::fs::fchmod(&file, mode).map_err(failed)?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(|error| failed(io_errno(&error)))?;
    match expected {
        // A link there is replaced by the file, not followed.
        Expected::Content(_) => rustix::fs::renameat(parent, beside, parent, path.file_name()).map_err(failed)?,
        Expected::Nothing => rename_new(parent, beside, parent, path).map_err(failed)?,
    }
    rustix::fs::fsync(parent).map_err(failed)
}

/// Renames to a name that must be free.
fn rename_new(
    from: &OwnedFd,
    name: impl rustix::path::Arg + Copy,
    to: &OwnedFd,
    path: &ScriptPath,
) -> Result<(), Errno> {
    match rustix::fs::renameat_with(from, name, to, path.file_name(), RenameFlags::NOREPLACE) {
        // File systems without it: whoever makes the same file in the same moment loses.
        Err(Errno::INVAL | Errno::NOSYS) => rustix::fs::renameat(from, name, to, path.file_name()),
        result => result,
    }
}

/// The rights of the file that is replaced; for a new one those that the user's other files have.
fn mode_of(parent: &OwnedFd, path: &ScriptPath) -> Mode {
    match rustix::fs::statat(parent, path.file_name(), AtFlags::empty()) {
        Ok(stat) => Mode::from_raw_mode(stat.st_mode & 0o777),
        Err(_) => Mode::from_raw_mode(0o644),
    }
}

/// Gives a script another name. Blocks.
pub fn rename(
    scripts_directory: &Path,
    from: &ScriptPath,
    to: &ScriptPath,
    expected: Option<ContentHash>,
) -> Result<Content, Problem> {
    let content = match expected {
        Some(sha256) => check_expected(scripts_directory, from, Expected::Content(sha256))?,
        None => present(scripts_directory, from)?,
    };
    let content = content.ok_or_else(|| refused(from, Errno::NOENT))?;
    check_expected(scripts_directory, to, Expected::Nothing)
        .map_err(|_| Problem::conflict(format!("`{}` is there already; choose another name", to.as_str())))?;
    let root = open_root(scripts_directory)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let parent = beneath(&root, from.parent(), flags).map_err(|error| refused(from, error))?;
    let target = open_parent(&root, to)?;
    rename_new(&parent, from.file_name(), &target, to).map_err(|error| match error {
        Errno::EXIST => Problem::conflict(format!("`{}` is there already; choose another name", to.as_str())),
        error => refused(to, error),
    })?;
    for directory in [&parent, &target] {
        rustix::fs::fsync(directory).map_err(|error| refused(to, error))?;
    }
    Ok(content)
}

/// Removes a script. Blocks.
pub fn remove(scripts_directory: &Path, path: &ScriptPath, expected: ContentHash) -> Result<(), Problem> {
    check_expected(scripts_directory, path, Expected::Content(expected))?;
    let root = open_root(scripts_directory)?;
    let parent =
        beneath(&root, path.parent(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(|error| refused(path, error))?;
    rustix::fs::unlinkat(&parent, path.file_name(), AtFlags::empty()).map_err(|error| refused(path, error))?;
    rustix::fs::fsync(&parent).map_err(|error| refused(path, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Directory {
            let path = std::env::temp_dir().join(format!("dropcron-api-{}-{name}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(path.join("scripts")).unwrap();
            Directory(path)
        }

        fn scripts(&self) -> PathBuf {
            self.0.join("scripts")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn script(text: &str) -> ScriptPath {
        ScriptPath::parse_for_writing(text).unwrap()
    }

    #[test]
    fn paths_that_lead_out_or_garble_a_terminal_are_none() {
        for wrong in [
            "",
            "/",
            ".",
            "..",
            "../a.py",
            "a/../b.py",
            "/etc/passwd",
            "a//b.py",
            "a/",
            "./a.py",
            "a/./b.py",
            "a\u{7}.py",
            "a\nb.py",
        ] {
            assert!(ScriptPath::parse(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["a.txt", "a", ".a.py", ".b/a.py", "__pycache__/a.py", "a.so", "a.py.py"] {
            assert!(ScriptPath::parse_for_writing(wrong).is_err(), "{wrong:?}");
        }
        for right in ["a.py", "a/b.py", "a b/ç-1.py", "_library.py"] {
            assert_eq!(ScriptPath::parse_for_writing(right).unwrap().as_str(), right);
        }
    }

    #[test]
    fn a_script_is_written_read_renamed_and_removed_as_expected() {
        let directory = Directory::new("life");
        let root = directory.scripts();
        let path = script("a/b.py");
        write(&root, &path, b"one", Expected::Nothing).unwrap();
        let one = read(&root, &path).unwrap();
        assert_eq!(one.bytes, b"one");
        assert_eq!(write(&root, &path, b"two", Expected::Nothing).unwrap_err().status, 412);
        write(&root, &path, b"two", Expected::Content(one.sha256)).unwrap();
        assert_eq!(
            write(&root, &path, b"three", Expected::Content(one.sha256))
                .unwrap_err()
                .status,
            412
        );
        assert_eq!(remove(&root, &path, one.sha256).unwrap_err().status, 412);
        let two = rename(&root, &path, &script("c/d.py"), None).unwrap();
        assert_eq!(two.bytes, b"two");
        assert_eq!(read(&root, &path).unwrap_err().status, 404);
        write(&root, &path, b"x", Expected::Nothing).unwrap();
        assert_eq!(rename(&root, &path, &script("c/d.py"), None).unwrap_err().status, 409);
        remove(&root, &script("c/d.py"), two.sha256).unwrap();
        let left: Vec<_> = std::fs::read_dir(root.join("a")).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn links_out_of_the_directory_are_not_followed() {
        let directory = Directory::new("links");
        let root = directory.scripts();
        std::fs::create_dir(directory.0.join("outside")).unwrap();
        std::fs::write(directory.0.join("outside/secret.py"), "secret").unwrap();
        std::os::unix::fs::symlink(directory.0.join("outside"), root.join("way")).unwrap();
        std::os::unix::fs::symlink(directory.0.join("outside/secret.py"), root.join("file.py")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("up")).unwrap();
        for path in ["way/secret.py", "file.py", "up/secret.py"] {
            assert_eq!(read(&root, &script(path)).unwrap_err().status, 403, "{path}");
            assert_eq!(
                write(&root, &script(path), b"x", Expected::Nothing).unwrap_err().status,
                403,
                "{path}"
            );
        }
        for path in ["way/new.py", "up/new/new.py"] {
            assert_eq!(
                write(&root, &script(path), b"x", Expected::Nothing).unwrap_err().status,
                403,
                "{path}"
            );
        }
        assert_eq!(std::fs::read_dir(directory.0.join("outside")).unwrap().count(), 1);
        assert_eq!(std::fs::read(directory.0.join("outside/secret.py")).unwrap(), b"secret");
    }

    #[test]
    fn what_is_no_file_holds_nobody() {
        let directory = Directory::new("pipe");
        let root = directory.scripts();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            root.join("pipe.py"),
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        std::fs::create_dir(root.join("directory.py")).unwrap();
        for path in ["pipe.py", "directory.py"] {
            assert_eq!(read(&root, &script(path)).unwrap_err().status, 400, "{path}");
        }
    }

    #[test]
    fn a_directory_that_nobody_may_write_to_is_read_only() {
        let directory = Directory::new("mode");
        let root = directory.scripts();
        assert_eq!(write_hindrance(&root), None);
        rustix::fs::chmod(&root, Mode::from_raw_mode(0o555)).unwrap();
        assert!(write_hindrance(&root).is_some());
        rustix::fs::chmod(&root, Mode::from_raw_mode(0o755)).unwrap();
        assert!(
            write_hindrance(&directory.0.join("nowhere"))
                .unwrap()
                .contains("not there")
        );
    }
}
