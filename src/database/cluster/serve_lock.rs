//! The lock of `dropcron serve` on its data directory: one scheduler per journal, whatever the database.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::locks::noted_pid;

/// Tries for the lock, and the pause between two: far longer than a look takes.
const TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

/// Held for as long as `serve` runs; the kernel lets go of it however the process ends.
#[derive(Debug)]
pub struct ServeLock {
    file: File,
}

/// The service that holds the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeHolder {
    /// Its process; `None` for an instant, before it has written it.
    pub pid: Option<u32>,
}

/// `serve` may not run on this data directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeLockError {
    /// Another `serve` holds the lock.
    #[error(
        "another `dropcron serve`{} already runs on `{}`; stop it first, or give this one a data directory of its own",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), data_directory.display()
    )]
    AlreadyServing {
        /// The pid of the first one; `None` for an instant, before it has written it.
        pid: Option<u32>,
        /// The data directory.
        data_directory: PathBuf,
    },
    /// The lock file cannot be used.
    #[error("cannot lock `{}`: {source}; {}", path.display(), advice(source))]
    Io {
        /// The lock file or the data directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room there",
        _ => "choose a data directory that you can write to",
    }
}

impl ServeLock {
    /// The service that holds the lock, if one does. Creates nothing.
    pub fn holder(data_directory: &Path) -> Result<Option<ServeHolder>, ServeLockError> {
        let path = data_directory.join("serve.lock");
        let failed = |source| ServeLockError::Io {
            path: path.clone(),
            source,
        };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // Shared: two who look at the same time are not in each other's way, and a service that comes up now sees one at most.
        match file.try_lock_shared() {
            Ok(()) => {
                file.unlock().map_err(failed)?;
                Ok(None)
            }
            Err(TryLockError::WouldBlock) => Ok(Some(ServeHolder { pid: noted_pid(&path) })),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Takes the lock, or says at once that another service has it. Creates the data directory where it is missing.
    pub fn acquire(data_directory: &Path) -> Result<ServeLock, ServeLockError> {
        let path = data_directory.join("serve.lock");
        let failed = |source| ServeLockError::Io {
            path: path.clone(),
            source,
        };
        let file = open(data_directory, &path).map_err(failed)?;
        match try_lock_for_a_moment(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let data_directory = data_directory.to_owned();
                return Err(ServeLockError::AlreadyServing {
                    pid: noted_pid(&path),
                    data_directory,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0).map_err(failed)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0)
            .map_err(failed)?;
        Ok(ServeLock { file })
    }
}

impl Drop for ServeLock {
    fn drop(&mut self) {
        // Explicitly, and not by closing: a child between fork and exec may hold a copy of the descriptor.
        if let Err(error) = self.file.set_len(0).and_then(|()| self.file.unlock()) {
            tracing::warn!(error = %error, "could not unlock `serve.lock`");
        }
    }
}

/// Who only looks whether the lock is held has it himself for an instant.
fn try_lock_for_a_moment(file: &File) -> Result<(), TryLockError> {
    for _ in 1..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            result => return result,
        }
    }
    file.try_lock()
}

fn open(data_directory: &Path, path: &Path) -> io::Result<File> {
    super::layout::create_data_directory(data_directory)?;
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)
}
