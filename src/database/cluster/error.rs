//! Why the private cluster could not be used. Every message says what to do next, because the reader is usually someone
//! who has just typed their first command.

use std::io;
use std::path::{Path, PathBuf};

/// What every message about missing or unusable binaries ends in.
const OR_DATABASE_URL: &str = "or set `DATABASE_URL` to use a Postgres that already runs";

/// The private cluster could not be made, started, joined or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClusterError {
    /// No directory holds `initdb`, `pg_ctl` and `postgres`.
    #[error(
        "no Postgres server is installed: found no directory with `initdb`, `pg_ctl` and `postgres` on the PATH or in \
         the usual places; install one (`apt-get install postgresql`, `dnf install postgresql-server`, \
         `brew install postgresql`), {OR_DATABASE_URL}"
    )]
    NoBinaries,

    /// Only binaries older than dropcron can use were found.
    #[error(
        "the Postgres server in `{}` is version {found}, and dropcron needs {oldest} or newer; install a newer one \
         (`apt-get install postgresql`), {OR_DATABASE_URL}", directory.display()
    )]
    BinariesTooOld {
        /// The newest directory found.
        directory: PathBuf,
        /// Its major version.
        found: u32,
        /// The oldest major version that dropcron can use.
        oldest: u32,
    },

    /// The cluster was made by a version whose binaries are gone.
    #[error(
        "the private cluster in `{}` was made by Postgres {version}, whose server binaries are not installed ({found}); \
         install them (`apt-get install postgresql-{version}`), move the cluster to an installed version with \
         `dropcron database upgrade`, {OR_DATABASE_URL}", cluster.display()
    )]
    VersionNotInstalled {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The major version in its `PG_VERSION`.
        version: u32,
        /// The versions that are installed, in words.
        found: String,
    },

    /// `postgres/data` is there and is not a cluster.
    #[error("`{}` is not a Postgres cluster: {problem}; move it out of the way or restore it from a backup", cluster.display())]
    NotACluster {
        /// The cluster's directory.
        cluster: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A client program is missing.
    #[error("found no `{program}` at `{}` or on the PATH; install one (`apt-get install postgresql-client`)", looked_for.display())]
    NoClient {
        /// The program.
        program: &'static str,
        /// Where it would be beside the server binaries.
        looked_for: PathBuf,
    },

    /// Root needs an ordinary account for the server.
    #[error(
        "dropcron runs as root, Postgres refuses to, and there is no user `postgres` to run it as; add one (installing \
         the package `postgresql` does), run dropcron as an ordinary user, {OR_DATABASE_URL}"
    )]
    NoPostgresUser,

    /// This process's uid has no name.
    #[error(
        "uid {uid} has no name in the user database, and Postgres does not run without one; add the user to \
         `/etc/passwd`, {OR_DATABASE_URL}"
    )]
    NamelessUser {
        /// The effective uid.
        uid: u32,
    },

    /// The data directory is someone else's.
    #[error(
        "`{}` belongs to uid {owner} and dropcron runs as uid {expected}; run dropcron as its owner, give the directory \
         away with `chown -R`, or choose another data directory", directory.display()
    )]
    WrongOwner {
        /// The directory.
        directory: PathBuf,
        /// Who owns it.
        owner: u32,
        /// Who should.
        expected: u32,
    },

    /// The server's account cannot pass through a directory above the cluster.
    #[error(
        "the private Postgres runs as `{account}`, who cannot enter `{}`; allow it with `chmod o+x {}`, or choose \
         another data directory", directory.display(), directory.display()
    )]
    Unreachable {
        /// The OS user of the server.
        account: String,
        /// The uppermost directory in the way.
        directory: PathBuf,
    },

    /// The directory for a short socket path is not ours.
    #[error(
        "cannot use `{}` for the Postgres socket: {problem}; look at who made it and remove it, or choose a data \
         directory with a shorter path", directory.display()
    )]
    UnsafeSocketDirectory {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        problem: String,
    },

    /// A step on a file or directory failed.
    #[error("cannot {step} `{}`: {source}{}", path.display(), advice(source, path))]
    Io {
        /// The step, such as `create`.
        step: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// A program could not be run at all.
    #[error("cannot run `{}`: {source}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },

    /// `initdb`, or the step after it, failed. What it had made is removed again.
    #[error(
        "could not make the private cluster in `{}`: `{}` failed:\n{output}\nMend the cause and try again, \
         {OR_DATABASE_URL}", cluster.display(), program.display()
    )]
    InitializationFailed {
        /// Where the cluster was to be.
        cluster: PathBuf,
        /// The program that failed.
        program: PathBuf,
        /// What it said.
        output: String,
    },

    /// The server did not come up.
    #[error("the private Postgres did not start; the end of `{}`:\n{output}", log_file.display())]
    StartFailed {
        /// The server's log file.
        log_file: PathBuf,
        /// What the server and `pg_ctl` said in this attempt.
        output: String,
    },

    /// Somebody else runs a server on the cluster.
    #[error(
        "a Postgres server that dropcron did not start (pid {pid}) runs on the private cluster in `{}`; stop it \
         (`pg_ctl stop -D {}`), and try again", cluster.display(), cluster.display()
    )]
    ForeignServer {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The server, as its `postmaster.pid` says.
        pid: i32,
    },

    /// A server runs and nothing of it can be reached from here.
    #[error(
        "a Postgres server of the private cluster in `{}` still runs and cannot be reached from here: it hangs, or is in another \
         container; use it there, or stop it first (`fuser -v {}` names its processes on their machine)",
        cluster.display(), log_file.display()
    )]
    OutOfReach {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The server's log file, which its processes hold.
        log_file: PathBuf,
    },

    /// The server was not ready in time.
    #[error(
        "the private Postgres is still not ready after {seconds} s; it may be recovering from a crash: see `{}` and try \
         again", log_file.display()
    )]
    NotReady {
        /// How long was waited.
        seconds: u64,
        /// The server's log file.
        log_file: PathBuf,
    },

    /// The server is up and its socket is not there.
    #[error(
        "the private Postgres started and its socket in `{}` is gone already; find out what sweeps that directory",
        directory.display()
    )]
    SocketMissing {
        /// The directory of the socket.
        directory: PathBuf,
    },

    /// The server did not stop in time.
    #[error(
        "the private Postgres (pid {pid}) is still shutting down after {seconds} s; it goes on without dropcron: see `{}`",
        log_file.display()
    )]
    NotStopped {
        /// The postmaster.
        pid: i32,
        /// How long was waited.
        seconds: u64,
        /// The server's log file.
        log_file: PathBuf,
    },

    /// There is no cluster to upgrade.
    #[error("there is no private cluster in `{}`: nothing is to be upgraded", cluster.display())]
    NothingToUpgrade {
        /// Where it would be.
        cluster: PathBuf,
    },

    /// Somebody uses the cluster that is to be upgraded.
    #[error(
        "the private cluster in `{}` is in use; stop `dropcron serve` and other commands first (`fuser -v` names who holds \
         `users.lock` beside it)", cluster.display()
    )]
    InUse {
        /// The cluster's directory.
        cluster: PathBuf,
    },

    /// Postgres knows no way back.
    #[error("the private cluster is of Postgres {from}, which is newer than {to}; an older version cannot use it")]
    Downgrade {
        /// Its version.
        from: u32,
        /// The version asked for.
        to: u32,
    },

    /// A cluster that an earlier upgrade left is still there.
    #[error(
        "`{}` is still there, from an earlier upgrade; move it away, or remove it if nobody needs it any more",
        directory.display()
    )]
    OldClusterInTheWay {
        /// Where the old cluster is to be kept.
        directory: PathBuf,
    },

    /// `pg_upgrade` failed; nothing of it was kept.
    #[error(
        "the private cluster in `{}` could not be moved to Postgres {version}, and is as it was; `pg_upgrade` said:\n{output}",
        cluster.display()
    )]
    UpgradeFailed {
        /// The cluster's directory.
        cluster: PathBuf,
        /// The version that it was to be moved to.
        version: u32,
        /// The end of what was said.
        output: String,
    },

    /// Another process holds the control lock for too long.
    #[error("another dropcron process{} has been starting or stopping the private Postgres for {seconds} s (it holds `{}`); \
         look at it, and end it if it hangs", holder.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), lock_file.display())]
    Busy {
        /// The lock file.
        lock_file: PathBuf,
        /// The process that holds it, where it can be known.
        holder: Option<u32>,
        /// How long was waited.
        seconds: u64,
    },
}

impl ClusterError {
    /// For `map_err`: names the step and the path of a failed call.
    pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ClusterError {
        move |source| ClusterError::Io {
            step,
            path: path.to_owned(),
            source,
        }
    }
}

/// What to do about the causes that are common at a first start.
fn advice(error: &io::Error, path: &Path) -> String {
    use io::ErrorKind::{PermissionDenied, ReadOnlyFilesystem, StorageFull};

    match error.kind() {
        PermissionDenied | ReadOnlyFilesystem => {
            "; choose a data directory that you can write to, or set `DATABASE_URL`".to_owned()
        }
        StorageFull => format!("; make room on the file system of `{}`", path.display()),
        _ => String::new(),
    }
}
