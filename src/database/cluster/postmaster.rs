//! Whether the server runs: what `postmaster.pid` says, checked against the process that has this pid.
//!
//! The pid alone proves nothing. After a crash of the machine, a restart of a container or kill -9 it may be free, a
//! zombie, or someone else's. So on Linux the process must have been started with our configuration file. Its command
//! line is readable without the capabilities that a container withholds.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal};

use super::ClusterError;
use super::layout::{Layout, PORT};

/// A server process as it stood when it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Postmaster {
    pub(super) pid: i32,
    pub(super) phase: Phase,
    /// Where its socket is; empty until it has been written down.
    pub(super) socket_directory: PathBuf,
    /// The directory of the running program, where it can be known.
    pub(super) binaries_directory: Option<PathBuf>,
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
    pid: i32,
    socket_directory: PathBuf,
    phase: Phase,
}

/// The running server of this cluster, if there is one.
pub(super) fn find(layout: &Layout) -> Option<Postmaster> {
    let content = fs::read(layout.postmaster_pid_file()).ok()?;
    let PidFile {
        pid,
        socket_directory,
        phase,
    } = parse(&content)?;
    let arguments = arguments_of_postmaster(pid, &layout.config_file())?;
    let binaries_directory = arguments.first().and_then(binaries_directory);
    Some(Postmaster {
        pid,
        phase,
        socket_directory,
        binaries_directory,
    })
}

/// Removes the lock files of a server that is gone: Postgres would refuse to start where any process of the same user,
/// or a zombie, has the pid in them. Backends that outlive their postmaster stay protected: the server looks for them
/// by shared memory too.
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
    let pid = std::str::from_utf8(line(1)).ok()?.parse().ok()?;
    let phase = match line(8) {
        b"ready" | b"standby" => Phase::Ready,
        b"stopping" => Phase::Stopping,
        _ => Phase::Starting,
    };
    Some(PidFile {
        pid,
        socket_directory: PathBuf::from(OsString::from_vec(line(5).to_vec())),
        phase,
    })
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
                pid: 4711,
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
    fn a_process_with_other_arguments_is_not_the_postmaster() {
        let own = i32::try_from(std::process::id()).expect("pids are small");
        assert_eq!(
            arguments_of_postmaster(own, Path::new("/d/postgres/postgresql.conf")),
            None
        );
    }
}
