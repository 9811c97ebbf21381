//! Whether the server runs: what `postmaster.pid` says, checked against the process that has this pid, and the socket.
//!
//! The pid alone proves nothing. After a crash of the machine, a restart of a container or kill -9 it may be free, a
//! zombie, or someone else's. So on Linux the process must have been started with our configuration file. Its command
//! line is readable without the capabilities that a container withholds. Nor does a pid that nobody has here prove that
//! the server is gone: in another container on the same volume it has another number. Its socket is the same for both.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::ClusterError;
use super::layout::{Layout, PORT};

/// A server process as it stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: i32,
    pub(super) phase: Phase,
    pub(super) kind: Kind,
    /// Where its socket is; empty until it has been written down.
    pub(super) socket_directory: PathBuf,
    /// The directory of the running program, where it can be known.
    pub(super) binaries_directory: Option<PathBuf>,
}

/// What a server is to this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Started by dropcron, and within reach of signals.
    Here,
    /// Behind its socket, and out of reach of signals: in another container.
    Elsewhere,
    /// Started by somebody else, with other settings.
    Foreign,
}

/// How far a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not yet accepting connections: starting, or recovering from a crash.
    Starting,
    /// Accepting connections.
    Ready,
    /// Shutting down.
    Stopping,
}

/// What stands in `postmaster.pid`: "one value per line, in the order" of PostgreSQL's `miscadmin.h`
/// (pid, data directory, start time, port, socket directory, listen address, shared memory, status).
#[derive(Debug, PartialEq, Eq)]
struct PidFile {
    /// The first three lines, which the lock file of its socket has too.
    identity: Vec<u8>,
    pid: i32,
    port: u16,
    socket_directory: PathBuf,
    phase: Phase,
}

/// The running server of this cluster, if there is one.
pub(super) fn find(layout: &Layout) -> Option<Postmaster> {
    let content = fs::read(layout.postmaster_pid_file()).ok()?;
    let file = parse(&content)?;
    if let Some(arguments) = arguments_of_postmaster(file.pid, &layout.config_file()) {
        let binaries_directory = arguments.first().and_then(binaries_directory);
        return Some(file.server(Kind::Here, None, binaries_directory));
    }
    if is_server_of(file.pid, &layout.cluster()) {
        return Some(file.server(Kind::Foreign, None, None));
    }
    // The volume may be mounted under another path there.
    let places = [file.socket_directory.clone(), layout.socket_beside()];
    let socket_directory = places.into_iter().find(|directory| file.answers_in(directory))?;
    let kind = if file.port == PORT {
        Kind::Elsewhere
    } else {
        Kind::Foreign
    };
    Some(file.server(kind, Some(socket_directory), None))
}

impl PidFile {
    fn server(self, kind: Kind, socket_directory: Option<PathBuf>, binaries_directory: Option<PathBuf>) -> Postmaster {
        Postmaster {
            pid: self.pid,
            phase: self.phase,
            kind,
            socket_directory: socket_directory.unwrap_or(self.socket_directory),
            binaries_directory,
        }
    }

    /// Whether this very server listens there, and not one that has taken its place in a directory that many use.
    fn answers_in(&self, directory: &Path) -> bool {
        let socket = directory.join(format!(".s.PGSQL.{}", self.port));
        let lock = directory.join(format!(".s.PGSQL.{}.lock", self.port));
        // It ends at once, and says nothing: the server takes no note of that.
        fs::read(lock).is_ok_and(|content| identity(&content) == self.identity) && UnixStream::connect(socket).is_ok()
    }
}

/// Removes the lock files of a server that is gone: Postgres would refuse to start where any process of the same user,
/// or a zombie, has the pid in them. Only for who holds the lock of the server's log: no process of a server has it then.
pub(super) fn remove_stale_lock_files(layout: &Layout, socket_directory: &Path) -> Result<(), ClusterError> {
    // Elsewhere the process cannot be told from another one, and Postgres's own check must do.
    if !cfg!(target_os = "linux") || find(layout).is_some() {
        return Ok(());
    }
    remove_file(socket_directory.join(format!(".s.PGSQL.{PORT}.lock")))?;
    if remove_file(layout.postmaster_pid_file())? {
        tracing::info!("the private Postgres was not shut down in order; it recovers now");
    }
    Ok(())
}

/// Whether there was a file to remove.
fn remove_file(path: PathBuf) -> Result<bool, ClusterError> {
    match fs::remove_file(&path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(ClusterError::Io {
            step: "remove",
            path,
            source,
        }),
    }
}

impl Postmaster {
    /// Asks for a fast shutdown: transactions are rolled back, connections are closed, a checkpoint is written.
    pub(super) fn ask_to_stop(&self) {
        // It may have gone since it was looked at; the caller looks again anyway.
        if let Some(pid) = Pid::from_raw(self.pid) {
            let _ = rustix::process::kill_process(pid, Signal::INT);
        }
    }

    /// Whether clients can reach it: a runtime directory can be cleared under a running server.
    pub(super) fn has_socket(&self) -> bool {
        self.socket_directory.join(format!(".s.PGSQL.{PORT}")).exists()
    }
}

fn parse(content: &[u8]) -> Option<PidFile> {
    let line = |number: usize| {
        content
            .split(|&byte| byte == b'\n')
            .nth(number - 1)
            .unwrap_or_default()
            .trim_ascii()
    };
    let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<i32>().ok();
    // A server in single-user mode writes the negative.
    let pid = number(line(1))?.checked_abs()?;
    let phase = match line(8) {
        b"ready" | b"standby" => Phase::Ready,
        b"stopping" => Phase::Stopping,
        _ => Phase::Starting,
    };
    Some(PidFile {
        identity: identity(content),
        pid,
        port: number(line(4)).and_then(|port| port.try_into().ok()).unwrap_or(PORT),
        socket_directory: PathBuf::from(OsString::from_vec(line(5).to_vec())),
        phase,
    })
}

/// Pid, data directory and start time.
fn identity(content: &[u8]) -> Vec<u8> {
    content
        .split_inclusive(|&byte| byte == b'\n')
        .take(3)
        .flatten()
        .copied()
        .collect()
}

/// Whether the process is a Postgres that works in the cluster, whoever started it and how. A zombie works nowhere.
#[cfg(target_os = "linux")]
fn is_server_of(pid: i32, cluster: &Path) -> bool {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    matches!(name.trim(), "postgres" | "postmaster")
        && match fs::read_link(format!("/proc/{pid}/cwd")) {
            Ok(directory) => directory == cluster,
            // In doubt it is: a container may keep its root from looking.
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        }
}

#[cfg(not(target_os = "linux"))]
fn is_server_of(_pid: i32, _cluster: &Path) -> bool {
    false
}

/// The arguments of the process, if it is a postmaster that was started with this configuration file. A zombie has none.
#[cfg(target_os = "linux")]
fn arguments_of_postmaster(pid: i32, config_file: &Path) -> Option<Vec<OsString>> {
    let content = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let arguments: Vec<OsString> = content
        .split(|&byte| byte == 0)
        .map(|argument| OsString::from_vec(argument.to_vec()))
        .collect();
    let ours = [b"config_file=", config_file.as_os_str().as_bytes()].concat();
    arguments
        .iter()
        .any(|argument| argument.as_bytes() == ours)
        .then_some(arguments)
}

/// Elsewhere a process with this pid that we may signal has to do.
#[cfg(not(target_os = "linux"))]
fn arguments_of_postmaster(pid: i32, _config_file: &Path) -> Option<Vec<OsString>> {
    rustix::process::test_kill_process(Pid::from_raw(pid)?)
        .ok()
        .map(|()| Vec::new())
}

fn binaries_directory(program: &OsString) -> Option<PathBuf> {
    Path::new(program)
        .parent()
        .filter(|directory| directory.is_absolute())
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_pid_file_is_read() {
        let content = b"4711\n/d/postgres/data\n1790000000\n5432\n/d/postgres/socket\n\n  5432001   32768\nready   \n";
        let socket_directory = PathBuf::from("/d/postgres/socket");
        assert_eq!(
            parse(content),
            Some(PidFile {
                identity: b"4711\n/d/postgres/data\n1790000000\n".to_vec(),
                pid: 4711,
                port: 5432,
                socket_directory,
                phase: Phase::Ready
            })
        );
    }

    #[test]
    fn a_pid_file_that_is_still_being_written_means_starting() {
        assert_eq!(parse(b"4711\n/d").map(|file| file.phase), Some(Phase::Starting));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"garbage\n"), None);
    }

    #[test]
    fn a_server_of_one_user_is_found_by_its_process() {
        assert_eq!(parse(b"-4711\n/d\n1\n0\n\n").map(|file| file.pid), Some(4711));
        assert_eq!(parse(b"-2147483648\n"), None);
    }

    #[test]
    fn a_process_with_other_arguments_is_not_the_postmaster() {
        let own = i32::try_from(std::process::id()).expect("pids are small");
        assert_eq!(
            arguments_of_postmaster(own, Path::new("/d/postgres/postgresql.conf")),
            None
        );
    }
}
