//! Environments on disk: for each lock and interpreter a directory, made once and never changed.
//!
//! ```text
//! <data>/environments/<key>/              bin/python, lib/..., environment.json
//! <data>/environments/.building-<uuid>/   one that is being made; renamed when it is complete
//! ```
//!
//! The name is a hash of all that the content depends on, so a directory that bears it is complete and right, and scripts with equal locks
//! share one. Whoever uses one holds a shared lock on the directory; whoever removes one must get an exclusive lock first.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::lock::Lock;
use super::uv::{Log, Uv, UvError};
use crate::executor::{Executor, Held, Interpreter};
use crate::script::ContentHash;

/// An environment that no run has used for so long, and no task needs, goes.
pub const UNUSED_FOR: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// What a directory with the same inputs would look like; another layout raises it.
const FORMAT: u32 = 1;

/// What says about an environment what its files do not.
const DESCRIPTION: &str = "environment.json";

/// Its date is that of the last use.
const USED: &str = "used";

/// One that is being made, or being removed.
const BUILDING: &str = ".building-";
const REMOVING: &str = ".removing-";

/// A use is written down again after so long: often enough to tell days.
const USE_PRECISION: Duration = Duration::from_secs(60 * 60);

/// An environment could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// uv says why.
    #[error(transparent)]
    Uv(#[from] UvError),
    /// The system does not let us.
    #[error("the environment cannot be made in `{}`: {source}", path.display())]
    System {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// The environments of one data directory.
#[derive(Clone, Debug)]
pub struct Environments {
    directory: PathBuf,
    /// Whether another user runs the scripts, and has to read them.
    shared: bool,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Environment {
    /// Its name.
    pub key: String,
    /// The lock that it was made from.
    pub lock_sha256: String,
    /// The version of its Python.
    pub python: String,
    /// The interpreter that it was made with.
    pub interpreter: PathBuf,
    /// How many packages are in it.
    pub packages: usize,
    /// What its files hold, bytes.
    pub size_bytes: u64,
    /// What would be free if it went: the rest is shared with uv's cache and other environments.
    pub own_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a run last used it.
    pub used_at: Timestamp,
    /// Whether a run uses it now.
    pub in_use: bool,
}

/// What was removed, or would be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pruned {
    /// Its name.
    pub key: String,
    /// What is free thereby, bytes.
    pub own_bytes: u64,
}

#[derive(Serialize, Deserialize)]
struct Description {
    format: u32,
    lock_sha256: String,
    python: String,
    interpreter: PathBuf,
    packages: usize,
    size_bytes: u64,
    own_bytes: u64,
    created_at: Timestamp,
}

/// The right to use an environment: nobody removes it as long as this lives.
#[derive(Debug)]
pub struct Lease {
    path: PathBuf,
    _locked: File,
}

impl Lease {
    /// Its interpreter.
    pub fn python(&self) -> PathBuf {
        self.path.join("bin/python")
    }
}

impl Environments {
    /// In a data directory.
    pub fn new(data_directory: &Path, shared: bool) -> Environments {
        Environments {
            directory: data_directory.join("environments"),
            shared,
        }
    }

    /// The environment of a lock and an interpreter, if it is there. `lock` is the lock's hash.
    pub fn open(&self, lock: ContentHash, interpreter: &Interpreter) -> Option<Lease> {
        let path = self.path(lock, interpreter);
        let locked = lock_shared(&path).ok()??;
        note_use(&path);
        Some(Lease { path, _locked: locked })
    }

    /// Where they are.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whether it is there.
    pub fn has(&self, lock: ContentHash, interpreter: &Interpreter) -> bool {
        self.path(lock, interpreter).is_dir()
    }

    /// A directory for what is only needed while something is made.
    pub fn workspace(&self) -> io::Result<Workspace> {
        Workspace::begin(&self.directory)
    }

    /// Makes the environment of a lock and an interpreter, unless it is there.
    pub async fn build(
        &self,
        lock: &Lock,
        interpreter: &Interpreter,
        uv: &Uv,
        executor: &Executor,
        log: &Log,
    ) -> Result<(), BuildError> {
        let path = self.path(lock.sha256(), interpreter);
        if path.is_dir() {
            return Ok(());
        }
        let building = self.workspace().map_err(|source| self.failed(source))?;
        let lock_file = building.path.join("requirements.txt");
        std::fs::write(&lock_file, &lock.content).map_err(|source| self.failed(source))?;
        let made = building.path.join("environment");
        uv.install(&made, interpreter, &lock_file, lock.is_hashed(), log)
            .await?;
        compile(&made, interpreter, uv, executor, log).await;
        self.complete(&made, lock, interpreter)
            .map_err(|source| self.failed(source))?;
        match std::fs::rename(&made, &path) {
            // Another process was faster, and its is as good.
            Err(_) if path.is_dir() => Ok(()),
            result => result.map_err(|source| self.failed(source)),
        }
    }

    /// All of them, the last used first.
    pub fn list(&self) -> Vec<Environment> {
        let Ok(entries) = std::fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let mut found: Vec<Environment> = entries.flatten().filter_map(|entry| read(&entry.path())).collect();
        found.sort_by(|one, other| other.used_at.cmp(&one.used_at).then(one.key.cmp(&other.key)));
        found
    }

    /// Removes those that no run has used for so long, except those of locks that are to be kept and those that are in use. What
    /// processes that are gone have left behind goes too.
    pub fn prune(&self, kept: &HashSet<ContentHash>, unused_for: Duration, dry_run: bool) -> io::Result<Vec<Pruned>> {
        if !dry_run {
            self.remove_left_behind();
        }
        let kept: HashSet<String> = kept.iter().map(ContentHash::to_string).collect();
        let mut pruned = Vec::new();
        for environment in self.list() {
            let age = Timestamp::now().duration_since(environment.used_at);
            let is_old = Duration::try_from(age).is_ok_and(|age| age >= unused_for);
            if environment.in_use || !is_old || kept.contains(&environment.lock_sha256) {
                continue;
            }
            if dry_run || self.remove(&environment.key)? {
                pruned.push(Pruned {
                    key: environment.key,
                    own_bytes: environment.own_bytes,
                });
            }
        }
        Ok(pruned)
    }

    /// Whether it went: it does not while it is in use.
    fn remove(&self, key: &str) -> io::Result<bool> {
        let path = self.directory.join(key);
        let locked = File::open(&path)?;
        if flock(&locked, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(false);
        }
        let removing = self.directory.join(format!("{REMOVING}{}", uuid::Uuid::now_v7()));
        std::fs::rename(&path, &removing)?;
        std::fs::remove_dir_all(&removing)?;
        Ok(true)
    }

    fn remove_left_behind(&self) {
        let entries = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let left = entries.filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with(BUILDING) || name.starts_with(REMOVING)
        });
        for entry in left {
            let is_free = File::open(entry.path())
                .is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok());
            if is_free {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    fn path(&self, lock: ContentHash, interpreter: &Interpreter) -> PathBuf {
        self.directory.join(key(lock, interpreter))
    }

    /// What it is, written into it last; and what others may do with it.
    fn complete(&self, made: &Path, lock: &Lock, interpreter: &Interpreter) -> io::Result<()> {
        let (mut size_bytes, mut own_bytes) = (0, 0);
        walk(made, &mut |path, metadata| {
            if metadata.is_file() {
                size_bytes += metadata.len();
                own_bytes += if metadata.nlink() == 1 { metadata.len() } else { 0 };
            }
            if self.shared && !metadata.is_symlink() {
                let mode = metadata.permissions().mode() & 0o7777;
                let wanted = mode | 0o444 | if mode & 0o100 != 0 { 0o111 } else { 0 };
                if wanted != mode {
                    std::fs::set_permissions(path, Permissions::from_mode(wanted))?;
                }
            }
            Ok(())
        })?;
        let description = Description {
            format: FORMAT,
            lock_sha256: lock.sha256().to_string(),
            python: interpreter.version.clone(),
            interpreter: interpreter.path.clone(),
            packages: lock.packages().len(),
            size_bytes,
            own_bytes,
            created_at: Timestamp::now(),
        };
        std::fs::write(made.join(DESCRIPTION), serde_json::to_vec_pretty(&description)?)?;
        std::fs::write(made.join(USED), "")?;
        // A name must not outlive a power cut that its content does not.
        rustix::fs::syncfs(File::open(made)?)?;
        if self.shared {
            // Its name is no secret; the directory above cannot be listed.
            std::fs::set_permissions(&self.directory, Permissions::from_mode(0o711))?;
        }
        Ok(())
    }

    fn failed(&self, source: io::Error) -> BuildError {
        BuildError::System {
            path: self.directory.clone(),
            source,
        }
    }
}

/// All that an environment's content depends on.
fn key(lock: ContentHash, interpreter: &Interpreter) -> String {
    let text = format!(
        "{FORMAT}\n{lock}\n{}\n{}\n{}\n{}\n{}",
        interpreter.path.display(),
        interpreter.version,
        interpreter.cache_tag,
        std::env::consts::ARCH,
        std::env::consts::OS,
    );
    let mut key = ContentHash::of(text.as_bytes()).to_string();
    // Enough to tell environments apart, short enough for the first line of a script, which the kernel cuts.
    key.truncate(32);
    key
}

/// A directory in which one environment comes about; gone with its value.
#[derive(Debug)]
pub struct Workspace {
    path: PathBuf,
    /// Tells others that this is no left-over.
    _locked: File,
}

impl Workspace {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn begin(directory: &Path) -> io::Result<Workspace> {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let path = directory.join(format!("{BUILDING}{}", uuid::Uuid::now_v7()));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let locked = File::open(&path)?;
        flock(&locked, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Workspace { path, _locked: locked })
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// `Ok(None)`: somebody is about to remove it.
fn lock_shared(path: &Path) -> io::Result<Option<File>> {
    let file = File::open(path)?;
    if flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
        return Ok(None);
    }
    // Between the two it may have been renamed to be removed, and made anew.
    let is_same = std::fs::metadata(path).is_ok_and(|now| {
        file.metadata()
            .is_ok_and(|then| (now.dev(), now.ino()) == (then.dev(), then.ino()))
    });
    Ok(is_same.then_some(file))
}

/// Other than the rest of an environment, the date of its last use changes.
fn note_use(path: &Path) {
    let path = path.join(USED);
    let modified = std::fs::metadata(&path).and_then(|metadata| metadata.modified());
    let is_recent = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age < USE_PRECISION));
    if !is_recent {
        let touched = File::options().write(true).create(true).truncate(false).open(&path);
        let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
    }
}

/// Without this each run would compile what it imports. By the interpreter itself, without the environment's own start-up files:
/// nothing of the packages runs.
async fn compile(made: &Path, interpreter: &Interpreter, uv: &Uv, executor: &Executor, log: &Log) {
    let mut arguments: Vec<OsString> = ["-I", "-S", "-m", "compileall", "-qq", "-j", "0"]
        .map(Into::into)
        .to_vec();
    // Its directory's name is that of its content: dates say nothing.
    arguments.extend(["--invalidation-mode", "unchecked-hash"].map(Into::into));
    arguments.push(made.join("lib").into());
    let held = Held {
        program: interpreter.path.clone().into(),
        arguments,
        environment: Vec::new(),
        directory: made.to_path_buf(),
        identity: None,
        patience: uv.time_limit(),
    };
    // Files that were never meant for this Python do not compile, and are not imported either.
    if let Err(error) = executor.hold(held, |_| {}).await {
        log.line(&format!("[dropcron: not compiled: {error}]"));
    }
}

fn read(path: &Path) -> Option<Environment> {
    let key = path.file_name()?.to_str()?.to_owned();
    if key.starts_with('.') {
        return None;
    }
    let description: Description = serde_json::from_slice(&std::fs::read(path.join(DESCRIPTION)).ok()?).ok()?;
    let used = std::fs::metadata(path.join(USED)).and_then(|metadata| metadata.modified());
    let used_at = used.ok().and_then(|at| Timestamp::try_from(at).ok());
    let in_use = File::open(path).is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockExclusive).is_err());
    Some(Environment {
        key,
        lock_sha256: description.lock_sha256,
        python: description.python,
        interpreter: description.interpreter,
        packages: description.packages,
        size_bytes: description.size_bytes,
        own_bytes: description.own_bytes,
        created_at: description.created_at,
        used_at: used_at.unwrap_or(description.created_at),
        in_use,
    })
}

/// Everything below a directory, itself included; links are not followed.
fn walk(path: &Path, visit: &mut impl FnMut(&Path, &Metadata) -> io::Result<()>) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(path)?;
    visit(path, &metadata)?;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path)? {
            walk(&entry?.path(), visit)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dropcron-environments-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        path
    }

    fn interpreter() -> Interpreter {
        Interpreter {
            path: "/usr/bin/python3".into(),
            version: "3.11.2".to_owned(),
            version_info: (3, 11, 2),
            cache_tag: "cpython-311".to_owned(),
            shim: PathBuf::new(),
        }
    }

    fn lock(version: &str) -> Lock {
        Lock::new(format!("idna=={version} --hash=sha256:1\n"), "3.11").unwrap()
    }

    /// One that is complete, last used so long ago.
    fn made(environments: &Environments, lock: &Lock, used_ago: Duration) -> PathBuf {
        let path = environments.path(lock.sha256(), &interpreter());
        std::fs::create_dir_all(&path).unwrap();
        environments.complete(&path, lock, &interpreter()).unwrap();
        let used = File::options().write(true).open(path.join(USED)).unwrap();
        used.set_modified(SystemTime::now() - used_ago).unwrap();
        path
    }

    const LONG: Duration = Duration::from_secs(15 * 24 * 60 * 60);

    #[test]
    fn only_what_is_unused_and_unneeded_goes() {
        let environments = Environments::new(&place("prune"), false);
        let unused = made(&environments, &lock("1"), LONG);
        let needed = made(&environments, &lock("2"), LONG);
        let recent = made(&environments, &lock("3"), Duration::ZERO);
        let used = made(&environments, &lock("4"), LONG);
        let lease = lock_shared(&used).unwrap().unwrap();
        let kept = HashSet::from([lock("2").sha256()]);
        assert_eq!(environments.prune(&kept, UNUSED_FOR, true).unwrap().len(), 1);
        assert!(unused.is_dir(), "nothing goes in a dry run");
        assert_eq!(environments.prune(&kept, UNUSED_FOR, false).unwrap().len(), 1);
        assert!(!unused.exists() && needed.is_dir() && recent.is_dir() && used.is_dir());
        drop(lease);
        assert_eq!(environments.prune(&kept, UNUSED_FOR, false).unwrap().len(), 1);
        assert!(!used.exists());
    }

    #[test]
    fn a_use_keeps_it_and_is_written_down() {
        let environments = Environments::new(&place("use"), false);
        let path = made(&environments, &lock("1"), LONG);
        let lease = environments.open(lock("1").sha256(), &interpreter()).unwrap();
        assert_eq!(lease.python(), path.join("bin/python"));
        assert!(environments.list()[0].in_use);
        drop(lease);
        assert!(
            environments
                .prune(&HashSet::new(), UNUSED_FOR, false)
                .unwrap()
                .is_empty()
        );
        assert!(environments.open(lock("2").sha256(), &interpreter()).is_none());
    }

    #[test]
    fn what_a_dead_process_left_goes_and_what_is_being_made_stays() {
        let environments = Environments::new(&place("left"), false);
        let building = environments.workspace().unwrap();
        let left = environments.directory.join(format!("{BUILDING}left"));
        std::fs::create_dir(&left).unwrap();
        environments.prune(&HashSet::new(), UNUSED_FOR, false).unwrap();
        assert!(!left.exists() && building.path.is_dir());
    }

    #[test]
    fn another_python_is_another_environment() {
        let newer = Interpreter {
            version: "3.11.3".to_owned(),
            ..interpreter()
        };
        let elsewhere = interpreter().in_environment("/opt/python3".into());
        let keys = [interpreter(), newer, elsewhere].map(|interpreter| key(lock("1").sha256(), &interpreter));
        assert_ne!(keys[0], keys[1]);
        assert_ne!(keys[0], keys[2]);
        assert_ne!(key(lock("2").sha256(), &interpreter()), keys[0]);
    }
}
