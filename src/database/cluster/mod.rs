//! The private Postgres: a cluster of dropcron's own, made from the server binaries that are installed.
//!
//! Owns the life of that cluster (made once, started by the first process that needs it, shared by all, stopped by the
//! last) and the lock of `serve` on the data directory. It knows nothing of tables; it hands a URL to the pool. In the
//! flow it stands before everything else in `database`, and only where `DATABASE_URL` is not set.
//!
//! On disk, below the data directory:
//!
//! ```text
//! serve.lock                  held by `dropcron serve`
//! postgres/control.lock       held for a moment, around each start, join and stop
//! postgres/users.lock         held shared, for as long as a process uses the cluster
//! postgres/postgresql.conf    written anew at every start, like pg_hba.conf and pg_ident.conf
//! postgres/postgres.log       the server's log, locked by the server's processes; postgres.log.1 is the one before
//! postgres/socket/            the Unix socket, unless the path is too long for one
//! postgres/data/              the cluster itself, made beside and renamed into place
//! ```
//!
//! Two locks, because a stop must not race a join. Whoever joins takes the shared `users` lock while holding `control`;
//! whoever leaves takes `control`, lets go of `users`, and stops the server if nobody else holds it. A process that dies
//! by kill -9 loses both locks and leaves the server running: the next one joins it, and stops it when it leaves as the
//! last. No process ever needs to be told of another.
//!
//! Containers may share a data directory. The locks hold across them, a server is joined by its socket wherever it is, and
//! its hold on the log says that it lives where neither its pid nor its socket can be seen: then nothing is started.

mod account;
mod binaries;
mod error;
mod layout;
mod locks;
mod serve_lock;

mod initialize;
mod postmaster;
mod server;
mod upgrade;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use binaries::Binaries;
use layout::Layout;
use locks::{Control, Users};
use server::Server;

pub use error::ClusterError;
pub use serve_lock::{ServeHolder, ServeLock, ServeLockError};
pub use upgrade::Upgrade;

/// The role and the database that dropcron uses in its private cluster.
const ROLE_AND_DATABASE: &str = "dropcron";

/// Backends that outlive a killed postmaster end by themselves, at the latest with the statement that they are in.
const ORPHAN_LIMIT: Duration = Duration::from_secs(30);

/// Where the private cluster lives and where server binaries are looked for.
#[derive(Debug, Clone)]
pub struct ClusterSettings {
    /// dropcron's data directory; the cluster lives in `postgres/` below it.
    pub data_directory: PathBuf,
    /// The `PATH` to look for binaries in; `None` is the process's own.
    pub search_path: Option<OsString>,
    /// Directories looked into after the `PATH`, each with `initdb`, `pg_ctl` and `postgres` in it.
    pub distribution_directories: Vec<PathBuf>,
    /// How long what is left of a server that died may keep a new one from starting.
    pub orphan_limit: Duration,
}

impl ClusterSettings {
    /// The settings for a data directory: the process's `PATH`, then the directories that distributions use.
    pub fn new(data_directory: impl Into<PathBuf>) -> ClusterSettings {
        ClusterSettings {
            data_directory: data_directory.into(),
            search_path: None,
            distribution_directories: binaries::distribution_directories(),
            orphan_limit: ORPHAN_LIMIT,
        }
    }
}

/// A use of the private cluster. While one exists, in this process or another, the server stays up; the last one to be
/// closed or dropped stops it.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    url: String,
    control: Control,
    /// `None` once closed.
    users: Option<Users>,
}

impl Cluster {
    /// Makes the cluster where there is none, starts it where it is down, joins it where it runs. Blocks: a first start
    /// takes seconds, a crash recovery can take minutes; asynchronous callers use `spawn_blocking`.
    pub fn open(settings: &ClusterSettings) -> Result<Cluster, ClusterError> {
        let layout = Layout::prepare(&settings.data_directory)?;
        let control = Control::open(&layout)?;
        let users = Users::open(&layout)?;
        let mut server = Server::new(layout, settings.clone());

        let held = control.acquire()?;
        let running = server.ensure_ready()?;
        users.join()?;
        drop(held);

        Ok(Cluster {
            url: url(&running.socket_directory),
            server,
            control,
            users: Some(users),
        })
    }

    /// Joins the cluster where its server runs, wherever that is; `None` where it does not. Makes and starts nothing.
    pub fn join(settings: &ClusterSettings) -> Result<Option<Cluster>, ClusterError> {
        if !Cluster::is_made(&settings.data_directory) {
            return Ok(None);
        }
        let layout = Layout::prepare(&settings.data_directory)?;
        let control = Control::open(&layout)?;
        let users = Users::open(&layout)?;
        let server = Server::new(layout, settings.clone());

        let held = control.acquire()?;
        let Some(running) = server.running() else {
            return Ok(None);
        };
        users.join()?;
        drop(held);

        Ok(Some(Cluster {
            url: url(&running.socket_directory),
            server,
            control,
            users: Some(users),
        }))
    }

    /// Whether there is a private cluster in a data directory, running or not.
    pub fn is_made(data_directory: &Path) -> bool {
        data_directory.join("postgres/data/PG_VERSION").is_file()
    }

    /// The directory of the server binaries that a new cluster would be made with.
    pub fn newest_binaries(settings: &ClusterSettings) -> Result<PathBuf, ClusterError> {
        Ok(Binaries::newest(settings)?.directory)
    }

    /// A `postgres://` URL over the Unix socket, for tokio-postgres and psql alike; it holds no password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts the server again where it died under its users (killed, out of memory). `true` if it had to be started.
    /// The URL stays as it is. Blocks, like [`Cluster::open`].
    pub fn revive(&mut self) -> Result<bool, ClusterError> {
        let held = self.control.acquire()?;
        let running = self.server.ensure_ready()?;
        drop(held);
        self.url = url(&running.socket_directory);
        Ok(running.was_started)
    }

    /// Cuts the server's log where it has grown past its bound, keeping the older part as `postgres.log.1`. It is done
    /// at every start; a process that lives for months calls it now and then.
    pub fn trim_log(&self) -> Result<(), ClusterError> {
        self.server.trim_log()
    }

    /// The server's log file.
    pub fn log_file(&self) -> PathBuf {
        self.server.layout().log_file()
    }

    /// The directory of the server binaries in use, where `psql` and `pg_dump` of the same version usually are too.
    pub fn binaries_directory(&self) -> Result<PathBuf, ClusterError> {
        Ok(self.server.binaries()?.directory)
    }

    /// The major version of the cluster, such as 17.
    pub fn version(&self) -> Result<u32, ClusterError> {
        initialize::cluster_version(self.server.layout())
    }

    /// The `psql` to use with [`Cluster::url`]: the one beside the server binaries, else the one on the `PATH`.
    pub fn psql(&self) -> Result<PathBuf, ClusterError> {
        self.client("psql")
    }

    /// The same of another client program, such as `pg_dump`.
    pub fn client(&self, program: &'static str) -> Result<PathBuf, ClusterError> {
        let beside = self.binaries_directory()?.join(program);
        if beside.is_file() {
            return Ok(beside);
        }
        which::which(program).map_err(|_| ClusterError::NoClient {
            program,
            looked_for: beside,
        })
    }

    /// Leaves the cluster; the last user stops the server (open transactions are rolled back). Blocks for as long as
    /// the shutdown checkpoint takes.
    pub fn close(mut self) -> Result<(), ClusterError> {
        self.leave()
    }

    fn leave(&mut self) -> Result<(), ClusterError> {
        let Some(users) = self.users.take() else { return Ok(()) };
        // Held to the end: nobody can join between the look at `users` and the end of the server.
        let _held = self.control.acquire()?;
        if users.leave_as_last()? {
            self.server.stop()?;
        }
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.leave() {
            tracing::warn!(error = %error, "could not leave the private Postgres in order; the next command takes it over");
        }
    }
}

/// The data directory where none is set: `/var/lib/dropcron` for root, else `$XDG_DATA_HOME/dropcron` or
/// `~/.local/share/dropcron`. Relative values are ignored, as the XDG Base Directory Specification asks.
pub fn default_data_directory(is_root: bool, environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let absolute = |name: &str| environment(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let system = PathBuf::from("/var/lib/dropcron");
    if is_root {
        return system;
    }
    absolute("XDG_DATA_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/share")))
        .map_or(system, |data_home| data_home.join("dropcron"))
}

/// Percent-encodes the socket directory byte by byte, so that any path survives.
fn url(socket_directory: &Path) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;

    let mut host = String::new();
    for &byte in socket_directory.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => host.push(char::from(byte)),
            _ => write!(host, "%{byte:02X}").expect("writing to a String cannot fail"),
        }
    }
    format!(
        "postgres://{ROLE_AND_DATABASE}@{host}:{}/{ROLE_AND_DATABASE}",
        layout::PORT
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<OsString> {
        move |name| {
            pairs
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        }
    }

    #[test]
    fn root_keeps_its_data_in_var_lib() {
        let found = default_data_directory(true, environment(&[("HOME", "/root"), ("XDG_DATA_HOME", "/x")]));
        assert_eq!(found, Path::new("/var/lib/dropcron"));
    }

    #[test]
    fn a_user_keeps_its_data_in_the_xdg_data_home_or_below_home() {
        let xdg = default_data_directory(false, environment(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "/x")]));
        let plain = default_data_directory(false, environment(&[("HOME", "/home/ada")]));
        let relative = default_data_directory(false, environment(&[("HOME", "/home/ada"), ("XDG_DATA_HOME", "x")]));
        assert_eq!(xdg, Path::new("/x/dropcron"));
        assert_eq!(plain, Path::new("/home/ada/.local/share/dropcron"));
        assert_eq!(relative, plain);
    }

    #[test]
    fn without_a_home_the_system_directory_is_left() {
        assert_eq!(default_data_directory(false, |_| None), Path::new("/var/lib/dropcron"));
    }

    #[test]
    fn the_url_encodes_every_byte_of_the_socket_directory() {
        assert_eq!(
            url(Path::new("/a b/%ü@:?")),
            "postgres://dropcron@%2Fa%20b%2F%25%C3%BC%40%3A%3F:5432/dropcron"
        );
    }
}
