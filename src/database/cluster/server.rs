//! Brings the server of the cluster up and down. Every method that changes something is called under the control lock.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use super::account::Account;
use super::layout::{Layout, PORT};
use super::locks::try_exclusive;
use super::postmaster::{self, Kind, Phase, Postmaster};
use super::{Binaries, ClusterError, ClusterSettings, ROLE_AND_DATABASE, initialize};

/// How long a start may take. A crash recovery replays up to `max_wal_size`, on a slow disk for minutes.
const START_LIMIT: Duration = Duration::from_secs(300);

/// How long a stop may take: it ends with a checkpoint of at most `shared_buffers`.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How often the state is looked at while it is about to change.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// How often a long wait says that it goes on.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);

/// The size past which the log is cut; a quiet year fits in.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;

/// What failed starts say while something of the previous server is still there.
const PASSING_CAUSES: [&str; 2] = [
    "lock file \"postmaster.pid\" already exists",
    "pre-existing shared memory block",
];

/// The server of one cluster.
#[derive(Debug)]
pub(super) struct Server {
    layout: Layout,
    settings: ClusterSettings,
}

/// A server that accepts connections.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) socket_directory: PathBuf,
    /// Whether this call started it.
    pub(super) was_started: bool,
}

/// How one attempt to start ended, where it did not fail for good.
enum Attempt {
    Started,
    /// Something of a previous server is in the way and will be gone soon.
    InTheWay,
}

impl Server {
    pub(super) fn new(layout: Layout, settings: ClusterSettings) -> Server {
        Server { layout, settings }
    }

    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The binaries of the running server, else those that would start it.
    pub(super) fn binaries(&self) -> Result<Binaries, ClusterError> {
        let version = initialize::cluster_version(&self.layout)?;
        match postmaster::find(&self.layout).and_then(|running| running.binaries_directory) {
            Some(directory) => Ok(Binaries { directory, version }),
            None => Binaries::of_version(version, &self.layout.cluster(), &self.settings),
        }
    }

    /// The server, if it accepts connections now.
    pub(super) fn running(&self) -> Option<Running> {
        let found = postmaster::find(&self.layout)?;
        let is_reached = found.kind != Kind::Foreign && found.phase == Phase::Ready && found.has_socket();
        is_reached.then_some(Running {
            socket_directory: found.socket_directory,
            was_started: false,
        })
    }

    /// Returns once the server accepts connections: makes, starts, or waits for it as its state asks.
    pub(super) fn ensure_ready(&mut self) -> Result<Running, ClusterError> {
        let mut was_started = false;
        let mut orphans_since: Option<Instant> = None;
        let mut wait = Wait::new(START_LIMIT, "waiting for the private Postgres to accept connections");
        loop {
            match postmaster::find(&self.layout) {
                Some(Postmaster {
                    kind: Kind::Foreign,
                    pid,
                    ..
                }) => {
                    let cluster = self.layout.cluster();
                    return Err(ClusterError::ForeignServer { cluster, pid });
                }
                Some(Postmaster {
                    phase: Phase::Starting, ..
                }) => {}
                Some(
                    running @ Postmaster {
                        phase: Phase::Ready, ..
                    },
                ) if running.has_socket() => {
                    return Ok(Running {
                        socket_directory: running.socket_directory,
                        was_started,
                    });
                }
                Some(Postmaster {
                    phase: Phase::Ready,
                    socket_directory,
                    ..
                }) if was_started => {
                    return Err(ClusterError::SocketMissing {
                        directory: socket_directory,
                    });
                }
                // Shutting down, or out of reach because its socket was removed: out, and up again.
                Some(_) => self.stop()?,
                None => match self.start()? {
                    Attempt::Started => was_started = true,
                    Attempt::InTheWay => {
                        let since = *orphans_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > self.settings.orphan_limit {
                            return Err(self.in_the_way()?);
                        }
                    }
                },
            }
            if !wait.pause() {
                let log_file = self.layout.log_file();
                return Err(ClusterError::NotReady {
                    seconds: START_LIMIT.as_secs(),
                    log_file,
                });
            }
        }
    }

    /// Stops the server in the fast mode, and waits until it is gone. Nothing to do where none runs, and nothing that can be
    /// done for one that no signal reaches.
    pub(super) fn stop(&self) -> Result<(), ClusterError> {
        let mut wait = Wait::new(STOP_LIMIT, "waiting for the private Postgres to shut down");
        let mut asked = None;
        let mut socket_directory = None;
        while let Some(running) = postmaster::find(&self.layout) {
            match running.kind {
                Kind::Here if asked != Some(running.pid) => {
                    running.ask_to_stop();
                    asked = Some(running.pid);
                }
                Kind::Elsewhere if running.phase != Phase::Stopping => {
                    tracing::info!("the private Postgres runs in another container, and is left running");
                    return Ok(());
                }
                Kind::Foreign => return Ok(()),
                Kind::Here | Kind::Elsewhere => {}
            }
            if !wait.pause() {
                let log_file = self.layout.log_file();
                return Err(ClusterError::NotStopped {
                    pid: running.pid,
                    seconds: STOP_LIMIT.as_secs(),
                    log_file,
                });
            }
            socket_directory = Some(running.socket_directory);
        }
        socket_directory.inspect(|directory| self.layout.remove_short_socket_directory(directory));
        Ok(())
    }

    /// Copies a long log aside and empties it. The server appends, so it goes on at the new beginning.
    pub(super) fn trim_log(&self) -> Result<(), ClusterError> {
        let (log, older) = (self.layout.log_file(), self.layout.older_log_file());
        match fs::metadata(&log) {
            Ok(found) if found.len() > LONGEST_LOG => {}
            _ => return Ok(()),
        }
        fs::copy(&log, &older).map_err(ClusterError::io("write", &older))?;
        let opened = OpenOptions::new()
            .write(true)
            .open(&log)
            .map_err(ClusterError::io("open", &log))?;
        opened.set_len(0).map_err(ClusterError::io("shorten", &log))
    }

    fn start(&self) -> Result<Attempt, ClusterError> {
        let account = Account::of_server()?;
        let binaries = self.binaries_for_start(&account)?;
        account.check_reaches(&self.layout.cluster())?;
        let log = self.open_log()?;
        if !try_exclusive(&log, &self.layout.log_file())? {
            return Ok(Attempt::InTheWay);
        }
        let socket_directory = self.layout.prepare_socket_directory(&account)?;
        self.write_configuration(&account)?;
        self.trim_log()?;
        postmaster::remove_stale_lock_files(&self.layout, &socket_directory)?;

        let path = self.layout.log_file();
        let log_begins_at = log.metadata().map_err(ClusterError::io("look at", &path))?.len();
        let mut pg_ctl = self.pg_ctl_start(&binaries, &account, &socket_directory, log)?;
        let spawn_error = |source| ClusterError::Spawn {
            program: binaries.program("pg_ctl"),
            source,
        };
        let status = pg_ctl.spawn().and_then(wait_for).map_err(spawn_error)?;
        if status.success() {
            tracing::info!(postgres.version = binaries.version, "the private Postgres is up");
            return Ok(Attempt::Started);
        }
        if postmaster::find(&self.layout).is_some() {
            // Another start got ahead, left over from a process that was killed in it: its server is as good.
            return Ok(Attempt::InTheWay);
        }
        match self.start_failed(log_begins_at) {
            ClusterError::StartFailed { output, .. } if PASSING_CAUSES.iter().any(|cause| output.contains(cause)) => {
                Ok(Attempt::InTheWay)
            }
            error => Err(error),
        }
    }

    /// A new cluster is made with the newest binaries; an existing one takes those of its version.
    fn binaries_for_start(&self, account: &Account) -> Result<Binaries, ClusterError> {
        if initialize::exists(&self.layout) {
            let version = initialize::cluster_version(&self.layout)?;
            return Binaries::of_version(version, &self.layout.cluster(), &self.settings);
        }
        let newest = Binaries::newest(&self.settings)?;
        initialize::initialize(&self.layout, &newest, account)?;
        Ok(newest)
    }

    /// `pg_ctl` puts the server into a session of its own, so that Ctrl-C in our terminal does not reach it. Cluster and
    /// log are handed over as a variable and a descriptor: as arguments, `pg_ctl` would show their paths to a shell
    /// without quoting them well.
    fn pg_ctl_start(
        &self,
        binaries: &Binaries,
        account: &Account,
        socket_directory: &Path,
        log: File,
    ) -> Result<Command, ClusterError> {
        let log_again = log
            .try_clone()
            .map_err(ClusterError::io("open", &self.layout.log_file()))?;

        let mut command = account.command(&binaries.program("pg_ctl"));
        command
            .env("PGDATA", self.layout.cluster())
            .process_group(0)
            .stdout(log)
            .stderr(log_again);
        command.args([
            "start",
            "--silent",
            "--wait",
            "--timeout",
            &START_LIMIT.as_secs().to_string(),
        ]);
        command.arg("--options").arg(self.options(socket_directory));
        Ok(command)
    }

    /// The server's options. What we reach it by stands here, where no `ALTER SYSTEM` can change it; and that its processes keep
    /// the log open, and so locked.
    fn options(&self, socket_directory: &Path) -> OsString {
        let config_file = self.layout.config_file();
        let directories = list_item_quoted(socket_directory.as_os_str().as_bytes());
        let settings = [
            [b"config_file=", config_file.as_os_str().as_bytes()].concat(),
            [b"unix_socket_directories=", directories.as_slice()].concat(),
            format!("port={PORT}").into_bytes(),
            b"logging_collector=off".to_vec(),
        ];
        let options = settings
            .iter()
            .map(|setting| [b"-c ".as_slice(), &shell_quoted(setting)].concat());
        OsString::from_vec(options.collect::<Vec<_>>().join(&b' '))
    }

    fn write_configuration(&self, account: &Account) -> Result<(), ClusterError> {
        write_whole(&self.layout.hba_file(), hba().as_bytes())?;
        write_whole(&self.layout.ident_file(), ident(&account.name).as_bytes())?;
        write_whole(&self.layout.config_file(), &configuration(&self.layout))
    }

    /// Opens the log for a start. Once locked, it stays locked for as long as any process of the server lives: all of them have
    /// this opening as their standard error, in whichever container they are, and the kernel counts for all.
    fn open_log(&self) -> Result<File, ClusterError> {
        let path = self.layout.log_file();
        OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(ClusterError::io("open", &path))
    }

    /// What keeps a server from starting, after it was waited for in vain.
    fn in_the_way(&self) -> Result<ClusterError, ClusterError> {
        let log_file = self.layout.log_file();
        if try_exclusive(&self.open_log()?, &log_file)? {
            return Ok(self.start_failed(0));
        }
        let cluster = self.layout.cluster();
        Ok(ClusterError::OutOfReach { cluster, log_file })
    }

    fn start_failed(&self, log_begins_at: u64) -> ClusterError {
        let log_file = self.layout.log_file();
        let logged = read_from(&log_file, log_begins_at).unwrap_or_default();
        ClusterError::StartFailed {
            log_file,
            output: last_lines(&logged),
        }
    }
}

/// A wait with a bound, which says now and then that it goes on.
struct Wait {
    began: Instant,
    told: Instant,
    limit: Duration,
    what: &'static str,
}

impl Wait {
    fn new(limit: Duration, what: &'static str) -> Wait {
        Wait {
            began: Instant::now(),
            told: Instant::now(),
            limit,
            what,
        }
    }

    /// Sleeps for a moment; `false` once the limit has passed.
    fn pause(&mut self) -> bool {
        if self.told.elapsed() > PROGRESS_INTERVAL {
            tracing::info!(waited_ms = self.began.elapsed().as_millis(), "{}", self.what);
            self.told = Instant::now();
        }
        thread::sleep(POLL_INTERVAL);
        self.began.elapsed() < self.limit
    }
}

/// Waits for `pg_ctl`, which bounds its own wait.
fn wait_for(mut pg_ctl: Child) -> std::io::Result<ExitStatus> {
    let mut wait = Wait::new(START_LIMIT, "waiting for the private Postgres to accept connections");
    loop {
        if let Some(status) = pg_ctl.try_wait()? {
            return Ok(status);
        }
        wait.pause();
    }
}

/// The server's settings: small, durable, reachable through the socket only. `ALTER SYSTEM` overrides them for good.
fn configuration(layout: &Layout) -> Vec<u8> {
    let mut text = Vec::new();
    let mut line = |name: &str, value: &[u8]| {
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b" = ");
        text.extend_from_slice(&setting_quoted(value));
        text.push(b'\n');
    };
    line("hba_file", layout.hba_file().as_os_str().as_bytes());
    line("ident_file", layout.ident_file().as_os_str().as_bytes());
    for (name, value) in SETTINGS {
        line(name, value.as_bytes());
    }
    [WRITTEN_BY_DROPCRON.as_bytes(), &text].concat()
}

const WRITTEN_BY_DROPCRON: &str =
    "# Written by dropcron at every start; use ALTER SYSTEM in `dropcron psql` to change a setting for good.\n";

/// The settings that do not depend on where the cluster lies.
const SETTINGS: [(&str, &str); 22] = [
    ("cluster_name", "dropcron"),
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    // One node's pool, a few commands and a few people with psql.
    ("max_connections", "50"),
    // Pages are taken from the system only when they are used, so an idle cluster stays small.
    ("shared_buffers", "64MB"),
    ("work_mem", "4MB"),
    ("maintenance_work_mem", "64MB"),
    ("max_wal_size", "256MB"),
    ("min_wal_size", "80MB"),
    ("wal_buffers", "4MB"),
    ("checkpoint_completion_target", "0.9"),
    // Short statements: compiling and parallel workers cost more than they give, and the latter need /dev/shm.
    ("jit", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("max_logical_replication_workers", "0"),
    ("fsync", "on"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("lc_messages", "C"),
    ("log_destination", "stderr"),
    ("log_line_prefix", "%m [%p] %q%a "),
    // In the order of severity that Postgres uses here, "log" is above "error": what happens to the server is logged,
    // and failed statements are not, which their client reports with what it was about.
    ("log_min_messages", "log"),
    ("log_checkpoints", "off"),
];

/// Who may connect: through the socket, as the role, under the OS users of `pg_ident.conf`.
pub(super) fn hba() -> String {
    format!("{WRITTEN_BY_DROPCRON}local all {ROLE_AND_DATABASE} peer map={ROLE_AND_DATABASE}\n")
}

/// The server's own account, and root, who can become anyone anyway.
pub(super) fn ident(account: &str) -> String {
    let line = |user: &str| format!("{ROLE_AND_DATABASE} \"{user}\" {ROLE_AND_DATABASE}\n");
    let root = if account == "root" { String::new() } else { line("root") };
    format!("{WRITTEN_BY_DROPCRON}{}{root}", line(account))
}

/// Writes beside and renames, so that a server never reads half a file.
pub(super) fn write_whole(path: &Path, content: &[u8]) -> Result<(), ClusterError> {
    let beside = path.with_extension("conf.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&beside)
        .map_err(ClusterError::io("write", &beside))?;
    file.write_all(content).map_err(ClusterError::io("write", &beside))?;
    fs::rename(&beside, path).map_err(ClusterError::io("write", path))
}

fn read_from(path: &Path, offset: u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut content = Vec::new();
    file.take(64 * 1024).read_to_end(&mut content)?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}

/// The end of what a program said, which is where the cause stands.
pub(super) fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// One word for a POSIX shell.
fn shell_quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// One value for postgresql.conf, where a backslash escapes and a line ends at its end.
fn setting_quoted(value: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in value {
        match byte {
            b'\'' => quoted.extend_from_slice(b"''"),
            b'\\' => quoted.extend_from_slice(b"\\\\"),
            b'\n' => quoted.extend_from_slice(b"\\n"),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// One directory of a list of directories: in double quotes a comma is a comma.
fn list_item_quoted(value: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'"'];
    for &byte in value {
        if byte == b'"' {
            quoted.push(byte);
        }
        quoted.push(byte);
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell_the_configuration_and_its_lists() {
        assert_eq!(shell_quoted(b"a'b $x"), b"'a'\\''b $x'");
        assert_eq!(setting_quoted(b"a'b\\c\nd"), b"'a''b\\\\c\\nd'");
        assert_eq!(list_item_quoted(b"a,\"b"), b"\"a,\"\"b\"");
    }

    #[test]
    fn only_the_servers_account_and_root_may_connect() {
        assert!(ident("ada").ends_with("dropcron \"ada\" dropcron\ndropcron \"root\" dropcron\n"));
        assert!(hba().ends_with("local all dropcron peer map=dropcron\n"));
    }

    #[test]
    fn the_end_of_a_long_output_is_kept() {
        let long: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert!(last_lines(&long).starts_with("88\n"));
        assert_eq!(last_lines(""), "");
    }
}
