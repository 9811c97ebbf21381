//! The directories and files of the private cluster: their paths, their owners, their modes.
//!
//! As root, `postgres/` and all files in it stay root's; only `data/` and the socket directory are given to the
//! server's account. So root never creates a file in a directory in which another account could plant a link.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::ClusterError;
use super::account::{self, Account};

/// The port, which for a Unix socket is no more than a part of its file name.
pub(super) const PORT: u16 = 5432;

/// The longest path of a socket directory, in bytes. `sun_path` holds 104 bytes on macOS and 108 on Linux, with
/// `/.s.PGSQL.5432` and a final zero.
const LONGEST_SOCKET_DIRECTORY: usize = 88;

/// The paths of one private cluster.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// `postgres/` below the data directory, absolute and without links.
    root: PathBuf,
}

impl Layout {
    /// Creates the data directory and `postgres/` in it where they are missing, and refuses them where they are
    /// someone else's.
    pub(super) fn prepare(data_directory: &Path) -> Result<Layout, ClusterError> {
        create_data_directory(data_directory).map_err(ClusterError::io("create", data_directory))?;
        let data_directory = data_directory
            .canonicalize()
            .map_err(ClusterError::io("resolve", data_directory))?;
        if account::is_root() {
            check_owner(&data_directory)?;
        }
        let root = data_directory.join("postgres");
        create_directories(&root, passable_mode())?;
        check_owner(&root)?;
        set_mode(&root, passable_mode())?;
        Ok(Layout { root })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn cluster(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(super) fn control_lock(&self) -> PathBuf {
        self.root.join("control.lock")
    }

    pub(super) fn users_lock(&self) -> PathBuf {
        self.root.join("users.lock")
    }

    pub(super) fn config_file(&self) -> PathBuf {
        self.root.join("postgresql.conf")
    }

    pub(super) fn hba_file(&self) -> PathBuf {
        self.root.join("pg_hba.conf")
    }

    pub(super) fn ident_file(&self) -> PathBuf {
        self.root.join("pg_ident.conf")
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.root.join("postgres.log")
    }

    pub(super) fn older_log_file(&self) -> PathBuf {
        self.root.join("postgres.log.1")
    }

    pub(super) fn postmaster_pid_file(&self) -> PathBuf {
        self.cluster().join("postmaster.pid")
    }

    /// The directory of the Unix socket where the path suits one.
    pub(super) fn socket_beside(&self) -> PathBuf {
        self.root.join("socket")
    }

    /// Makes the directory of the Unix socket, 0700 and the account's: beside the cluster, or where that path does
    /// not suit a socket, below the runtime directory under a name made from the path.
    pub(super) fn prepare_socket_directory(&self, account: &Account) -> Result<PathBuf, ClusterError> {
        let beside = self.socket_beside();
        // libpq takes a comma for the end of a host, even a percent-encoded one.
        let bytes = beside.as_os_str().as_bytes();
        if bytes.len() <= LONGEST_SOCKET_DIRECTORY && !bytes.contains(&b',') {
            create_directories(&beside, 0o700)?;
            account.own_path(&beside)?;
            set_mode(&beside, 0o700)?;
            return Ok(beside);
        }
        let short = runtime_directory().join(self.short_name());
        make_private_directory(&short, account)?;
        Ok(short)
    }

    /// Leaves nothing behind in a directory that is not ours. What cannot be removed is found again at the next start.
    pub(super) fn remove_short_socket_directory(&self, directory: &Path) {
        if directory
            .file_name()
            .is_some_and(|name| name == self.short_name().as_str())
        {
            let _ = fs::remove_dir(directory);
        }
    }

    fn short_name(&self) -> String {
        let digest = Sha256::digest(self.root.as_os_str().as_bytes());
        let hash: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        format!("dropcron-{}-{hash}", rustix::process::geteuid().as_raw())
    }
}

/// Where short-lived files of this user belong: root's `/run`, a login's `$XDG_RUNTIME_DIR`, else `/tmp`.
fn runtime_directory() -> PathBuf {
    let candidate = if account::is_root() {
        Some(OsString::from("/run"))
    } else {
        std::env::var_os("XDG_RUNTIME_DIR")
    };
    let own = rustix::process::geteuid().as_raw();
    candidate
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.as_os_str().len() + 40 <= LONGEST_SOCKET_DIRECTORY)
        .filter(|path| {
            path.symlink_metadata()
                .is_ok_and(|found| found.is_dir() && found.uid() == own)
        })
        .unwrap_or_else(|| PathBuf::from("/tmp"))
}

/// Makes a directory in a place where others can write, or takes one that only we can have made. The sticky bit of
/// `/tmp` keeps others from exchanging it afterwards.
fn make_private_directory(directory: &Path, account: &Account) -> Result<(), ClusterError> {
    let unsafe_because = |problem: String| ClusterError::UnsafeSocketDirectory {
        directory: directory.to_owned(),
        problem,
    };
    match DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => return account.own_path(directory),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(ClusterError::Io {
                step: "create",
                path: directory.to_owned(),
                source,
            });
        }
    }
    let found = directory
        .symlink_metadata()
        .map_err(ClusterError::io("look at", directory))?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_dir() {
        return Err(unsafe_because("it is not a directory".to_owned()));
    }
    if found.uid() != account.uid && found.uid() != own {
        return Err(unsafe_because(format!("it belongs to uid {}", found.uid())));
    }
    if found.mode() & 0o077 != 0 {
        return Err(unsafe_because(format!(
            "others may enter it (mode {:04o})",
            found.mode() & 0o7777
        )));
    }
    account.own_path(directory)
}

/// Creates dropcron's data directory, and what is missing above it.
pub(super) fn create_data_directory(directory: &Path) -> io::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(passable_mode())
        .create(directory)
}

/// Closed to others; but root's server runs as another account, which must be able to pass through.
fn passable_mode() -> u32 {
    if account::is_root() { 0o711 } else { 0o700 }
}

fn create_directories(directory: &Path, mode: u32) -> Result<(), ClusterError> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory)
        .map_err(ClusterError::io("create", directory))
}

fn set_mode(path: &Path, mode: u32) -> Result<(), ClusterError> {
    let found = path.metadata().map_err(ClusterError::io("look at", path))?;
    if found.mode() & 0o7777 == mode {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(ClusterError::io("change the mode of", path))
}

fn check_owner(directory: &Path) -> Result<(), ClusterError> {
    let owner = directory
        .symlink_metadata()
        .map_err(ClusterError::io("look at", directory))?
        .uid();
    let expected = rustix::process::geteuid().as_raw();
    if owner == expected {
        return Ok(());
    }
    Err(ClusterError::WrongOwner {
        directory: directory.to_owned(),
        owner,
        expected,
    })
}
