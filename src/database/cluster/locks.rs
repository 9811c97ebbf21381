//! The two file locks through which processes share the cluster. Both are `flock` locks, which the kernel drops when
//! their process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::ClusterError;
use super::layout::Layout;

/// How often a held lock is tried again: a start takes a good part of a second.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// After this long a waiting process says what it waits for.
const PATIENCE: Duration = Duration::from_secs(1);

/// Longer than any start or stop may take, so only a hanging process is given up on.
const LONGEST_WAIT: Duration = Duration::from_secs(400);

/// The lock around every start, join and stop.
#[derive(Debug)]
pub(super) struct Control {
    file: File,
    path: PathBuf,
}

/// The control lock, held; let go by dropping it.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a Control);

impl Control {
    pub(super) fn open(layout: &Layout) -> Result<Control, ClusterError> {
        let path = layout.control_lock();
        Ok(Control {
            file: open_lock_file(&path)?,
            path,
        })
    }

    /// Waits for the lock, and says so where it takes more than a moment.
    pub(super) fn acquire(&self) -> Result<Held<'_>, ClusterError> {
        let began = Instant::now();
        let mut has_told = false;
        while !try_exclusive(&self.file, &self.path)? {
            if began.elapsed() > LONGEST_WAIT {
                return Err(self.busy(began.elapsed()));
            }
            if !has_told && began.elapsed() > PATIENCE {
                tracing::info!("waiting for another dropcron process to start or stop the private Postgres");
                has_told = true;
            }
            thread::sleep(RETRY_INTERVAL);
        }
        self.note_holder();
        Ok(Held(self))
    }

    /// Writes our pid into the file, for the message of a process that waits in vain. Not being able to is no failure.
    fn note_holder(&self) {
        let _ = self.file.set_len(0);
        let _ = std::os::unix::fs::FileExt::write_at(&self.file, std::process::id().to_string().as_bytes(), 0);
        let _ = (&self.file).flush();
    }

    fn busy(&self, waited: Duration) -> ClusterError {
        ClusterError::Busy {
            lock_file: self.path.clone(),
            holder: noted_pid(&self.path),
            seconds: waited.as_secs(),
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // Explicitly, and not by closing: a child between fork and exec may hold a copy of the descriptor.
        if let Err(error) = self.0.file.unlock() {
            tracing::warn!(error = %error, "could not unlock `{}`", self.0.path.display());
        }
    }
}

/// The lock that each user of the cluster holds shared.
#[derive(Debug)]
pub(super) struct Users {
    file: File,
    path: PathBuf,
}

impl Users {
    pub(super) fn open(layout: &Layout) -> Result<Users, ClusterError> {
        let path = layout.users_lock();
        Ok(Users {
            file: open_lock_file(&path)?,
            path,
        })
    }

    /// Becomes a user. Never waits, since the lock is held exclusively under the control lock only, for an instant.
    pub(super) fn join(&self) -> Result<(), ClusterError> {
        self.file.lock_shared().map_err(ClusterError::io("lock", &self.path))
    }

    /// Stops being a user; `true` if nobody else is one. Only under the control lock.
    pub(super) fn leave_as_last(&self) -> Result<bool, ClusterError> {
        self.file.unlock().map_err(ClusterError::io("unlock", &self.path))?;
        let is_last = try_exclusive(&self.file, &self.path)?;
        if is_last {
            self.file.unlock().map_err(ClusterError::io("unlock", &self.path))?;
        }
        Ok(is_last)
    }
}

/// Opens a lock file for writing, which network file systems ask of an exclusive lock.
pub(super) fn open_lock_file(path: &Path) -> Result<File, ClusterError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(ClusterError::io("open", path))
}

/// The pid that the holder of a lock wrote into its file.
pub(super) fn noted_pid(path: &Path) -> Option<u32> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Takes a lock if nobody has it. It stays until the last copy of the file's descriptor is closed.
pub(super) fn try_exclusive(file: &File, path: &Path) -> Result<bool, ClusterError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(ClusterError::io("lock", path)(source)),
    }
}
