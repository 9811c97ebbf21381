//! The private cluster with real server binaries: made, shared, stopped by the last user, taken over after kill -9.
//!
//! Once the binary exists, the tests that hold the cluster in another process should hold it with `dropcron` itself:
//! those are the ones that call [`Holder::start`]. Needed: Postgres server binaries on the PATH or in a usual place.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use dropcron::database::cluster::{Cluster, ClusterError, ClusterSettings, ServeLock, ServeLockError};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::support::wait_until;

/// Tells a helper process, which is this test binary again, where the cluster is.
const HELPER_VARIABLE: &str = "DROPCRON_TEST_CLUSTER_HELPER";

/// How long anything here may take before it counts as hanging.
const LIMIT: Duration = Duration::from_secs(60);

/// A data directory that is removed in the end, together with a server that a failed test left running.
struct DataDirectory {
    above: PathBuf,
    path: PathBuf,
}

impl DataDirectory {
    fn new() -> DataDirectory {
        DataDirectory::below("data")
    }

    fn below(name: &str) -> DataDirectory {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        // A process of an earlier run, killed before it could clean up, may have had the same number.
        let since_epoch = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let run = format!("{}-{:x}", std::process::id(), since_epoch.subsec_nanos());
        let above = std::env::temp_dir().join(format!("dropcron-it-{run}-{number}"));
        // Passable, because as root the server runs as another user.
        DirBuilder::new().mode(0o755).create(&above).unwrap();
        DataDirectory {
            path: above.join(name),
            above,
        }
    }

    fn settings(&self) -> ClusterSettings {
        ClusterSettings::new(&self.path)
    }

    fn open(&self) -> Cluster {
        Cluster::open(&self.settings()).unwrap()
    }

    fn cluster(&self) -> PathBuf {
        self.path.join("postgres/data")
    }

    /// The pid in `postmaster.pid`, if the file is there.
    fn postmaster(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.cluster().join("postmaster.pid")).ok()?;
        Pid::from_raw(text.lines().next()?.parse().ok()?)
    }

    /// The postmaster and all its children. Before a kill, since they are strangers to each other afterwards.
    fn server_processes(&self) -> Vec<Pid> {
        let postmaster = self.postmaster().unwrap();
        let parent_is_postmaster = |pid: &Pid| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
            let after_name = stat.rsplit_once(") ").map(|(_, rest)| rest).unwrap_or_default();
            after_name.split(' ').nth(1) == Some(&postmaster.as_raw_nonzero().to_string())
        };
        let all = fs::read_dir("/proc").unwrap().flatten();
        let pids = all.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
        pids.filter(parent_is_postmaster).chain([postmaster]).collect()
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        if let Some(pid) = self.postmaster() {
            let _ = rustix::process::kill_process(pid, Signal::QUIT);
            let began = Instant::now();
            while self.postmaster().is_some() && began.elapsed() < Duration::from_secs(5) {
                std::thread::yield_now();
            }
        }
        let _ = fs::remove_dir_all(&self.above);
    }
}

/// Another process that uses the cluster until it is told to leave or is killed.
struct Holder {
    child: Child,
}

impl Holder {
    /// Returns once the process has the cluster open.
    fn start(data: &DataDirectory) -> Holder {
        let child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "cluster::helper_that_holds_the_cluster",
                "--ignored",
                "--nocapture",
            ])
            .env(HELPER_VARIABLE, &data.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut holder = Holder { child };
        let output = BufReader::new(holder.child.stdout.as_mut().unwrap());
        assert!(
            output.lines().map_while(Result::ok).any(|line| line.ends_with("OPEN")),
            "the helper failed"
        );
        holder
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal to the whole process group, as a terminal does.
    fn signal_group(&self, signal: Signal) {
        rustix::process::kill_process_group(Pid::from_child(&self.child), signal).unwrap();
    }

    fn leave(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }
}

#[test]
#[ignore = "the other process of the tests beside it"]
fn helper_that_holds_the_cluster() {
    let Some(directory) = std::env::var_os(HELPER_VARIABLE) else {
        return;
    };
    let cluster = Cluster::open(&ClusterSettings::new(directory)).unwrap();
    println!("\nOPEN");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    cluster.close().unwrap();
}

/// What psql prints for a statement.
fn query(cluster: &Cluster, statement: &str) -> String {
    let output = Command::new(cluster.psql().unwrap())
        .args([
            "--no-psqlrc",
            "-qAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            statement,
            cluster.url(),
        ])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// kill -9, and the process is gone when this returns: a signal is delivered later than it is sent.
fn kill_and_see_dead(process: Pid) {
    let descriptor = match pidfd_open(process, PidfdFlags::empty()) {
        Ok(descriptor) => descriptor,
        Err(Errno::SRCH) => return,
        Err(error) => panic!("{error}"),
    };
    rustix::process::kill_process(process, Signal::KILL).unwrap();
    let limit = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
    // A child of another test that ends interrupts it.
    let ended = loop {
        match rustix::event::poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&limit)) {
            Err(Errno::INTR) => {}
            ended => break ended.unwrap(),
        }
    };
    assert_eq!(ended, 1, "the process outlives kill -9");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_fresh_cluster_answers_psql_and_tokio_postgres() {
    let data = DataDirectory::new();
    let began = Instant::now();
    let cluster = data.open();
    println!("first start: {:?}", began.elapsed());

    assert_eq!(
        query(&cluster, "SELECT current_user || '@' || current_database()"),
        "dropcron@dropcron"
    );
    assert_eq!(query(&cluster, "SHOW server_encoding"), "UTF8");
    assert_eq!(query(&cluster, "SHOW timezone"), "UTC");
    assert_eq!(query(&cluster, "SHOW fsync"), "on");
    assert_eq!(query(&cluster, "SHOW listen_addresses"), "");
    assert_eq!(query(&cluster, "SHOW data_checksums"), "on");

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(cluster.url(), tokio_postgres::NoTls)
            .await
            .unwrap();
        let connection = tokio::spawn(connection);
        assert_eq!(
            client.query_one("SELECT 41 + 1", &[]).await.unwrap().get::<_, i32>(0),
            42
        );
        drop(client);
        connection.await.unwrap().unwrap();
    });

    cluster.close().unwrap();
    assert!(data.postmaster().is_none(), "the last user stops the server");
}

#[test]
fn what_is_written_is_there_after_a_restart() {
    let data = DataDirectory::new();
    let cluster = data.open();
    query(&cluster, "CREATE TABLE note AS SELECT 'kept' AS text");
    cluster.close().unwrap();
    let began = Instant::now();
    let cluster = data.open();
    println!("second start: {:?}", began.elapsed());
    assert_eq!(query(&cluster, "SELECT text FROM note"), "kept");
}

#[test]
fn only_the_owner_can_reach_the_socket_and_the_cluster() {
    let data = DataDirectory::new();
    let cluster = data.open();
    let directory = query(&cluster, "SHOW unix_socket_directories");
    let directory = directory.trim_matches('"');
    for private in [Path::new(directory), &data.cluster()] {
        let found = private.metadata().unwrap();
        assert_eq!(found.mode() & 0o077, 0, "`{}` is open to others", private.display());
    }
    assert_ne!(
        data.cluster().metadata().unwrap().uid(),
        0,
        "Postgres never runs as root"
    );
}

#[test]
fn several_processes_share_one_server_and_the_last_one_stops_it() {
    let data = DataDirectory::new();
    let first = data.open();
    let server = data.postmaster();
    let second = Holder::start(&data);
    let third = data.open();
    assert_eq!(data.postmaster(), server, "one server for all");

    first.close().unwrap();
    assert_eq!(query(&third, "SELECT 1"), "1");
    drop(third);
    assert_eq!(data.postmaster(), server, "one user is left");
    second.leave();
    assert_eq!(data.postmaster(), None);
}

#[test]
fn users_that_come_and_go_at_once_never_lose_the_server() {
    let data = DataDirectory::new();
    data.open().close().unwrap();
    let (users, rounds) = (4, 4);
    let barrier = Barrier::new(users);
    std::thread::scope(|scope| {
        for _ in 0..users {
            scope.spawn(|| {
                barrier.wait();
                for _ in 0..rounds {
                    let cluster = data.open();
                    assert_eq!(query(&cluster, "SELECT 1"), "1");
                    cluster.close().unwrap();
                }
            });
        }
    });
    assert_eq!(data.postmaster(), None);
}

#[test]
fn a_server_left_by_a_killed_user_is_taken_over() {
    let data = DataDirectory::new();
    let holder = Holder::start(&data);
    let server = data.postmaster();
    holder.kill();

    let cluster = data.open();
    assert_eq!(data.postmaster(), server, "the running server is joined");
    assert_eq!(query(&cluster, "SELECT 1"), "1");
    cluster.close().unwrap();
    assert_eq!(data.postmaster(), None);
}

#[test]
fn a_killed_server_is_started_again_by_the_next_user() {
    let data = DataDirectory::new();
    let holder = Holder::start(&data);
    let server = data.postmaster().unwrap();
    kill_and_see_dead(server);

    let cluster = data.open();
    assert_ne!(data.postmaster(), Some(server));
    assert_eq!(query(&cluster, "SELECT 1"), "1");
    holder.kill();
}

#[test]
fn a_killed_server_is_revived_under_its_user() {
    let data = DataDirectory::new();
    let mut cluster = data.open();
    let url = cluster.url().to_owned();
    query(&cluster, "CREATE TABLE note AS SELECT 'kept' AS text");
    assert!(!cluster.revive().unwrap(), "nothing to do while it runs");

    for process in data.server_processes() {
        kill_and_see_dead(process);
    }
    assert!(cluster.revive().unwrap());
    assert_eq!(cluster.url(), url);
    assert_eq!(query(&cluster, "SELECT text FROM note"), "kept");
}

#[test]
fn a_pid_file_whose_pid_is_another_process_does_not_keep_the_server_down() {
    let data = DataDirectory::new();
    data.open().close().unwrap();
    // As after the restart of a container: the pid is taken, by a process of the very user.
    let mut stranger = Command::new("sleep");
    stranger.arg("1000");
    if is_root() {
        stranger.uid(data.cluster().metadata().unwrap().uid());
    }
    let mut stranger = stranger.spawn().unwrap();
    let content = format!(
        "{}\n{}\n1\n5432\n/nowhere\n\n 1 1\nready   \n",
        stranger.id(),
        data.cluster().display()
    );
    fs::write(data.cluster().join("postmaster.pid"), content).unwrap();

    let cluster = data.open();
    assert_eq!(query(&cluster, "SELECT 1"), "1");
    cluster.close().unwrap();
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger was left alone");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

/// A server of the cluster that somebody else has started, until it is dropped.
struct Stranger<'a> {
    data: &'a DataDirectory,
    binaries: PathBuf,
}

impl Stranger<'_> {
    fn pg_ctl(&self, arguments: &[&str]) -> bool {
        let mut command = Command::new(self.binaries.join("pg_ctl"));
        command.arg("-D").arg(self.data.cluster()).args(arguments);
        command
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if is_root() {
            let found = self.data.cluster().metadata().unwrap();
            command.uid(found.uid()).gid(found.gid());
        }
        command.status().unwrap().success()
    }
}

impl Drop for Stranger<'_> {
    fn drop(&mut self) {
        self.pg_ctl(&["stop", "-m", "immediate"]);
    }
}

#[test]
fn a_server_that_somebody_else_started_keeps_its_pid_file_and_is_named() {
    // With a socket in a directory that many use, and without any.
    let places = [
        "-c listen_addresses= -c unix_socket_directories=/tmp",
        "-c listen_addresses=127.0.0.1 -c unix_socket_directories=",
    ];
    for place in places {
        let data = DataDirectory::new();
        let cluster = data.open();
        let binaries = cluster.binaries_directory().unwrap();
        cluster.close().unwrap();
        let stranger = Stranger { data: &data, binaries };
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let options = format!("-c port={} {place}", free.port());
        assert!(stranger.pg_ctl(&["start", "-w", "-o", &options]));
        let server = data.postmaster().unwrap();
        let message = Cluster::open(&data.settings()).unwrap_err().to_string();
        assert!(
            message.contains(&format!("(pid {})", server.as_raw_nonzero())) && message.contains("pg_ctl stop -D"),
            "{message}"
        );
        assert_eq!(data.postmaster(), Some(server), "its pid file is its own");
        drop(stranger);
        assert_eq!(query(&data.open(), "SELECT 1"), "1");
    }
}

#[test]
fn a_server_whose_process_and_socket_are_out_of_sight_keeps_its_pid_file() {
    let data = DataDirectory::new();
    let cluster = data.open();
    let server = data.postmaster().unwrap();
    let pid_file = data.cluster().join("postmaster.pid");
    // As it looks from another container: a pid that nobody has, and a socket in a directory that is not there.
    let content = fs::read_to_string(&pid_file).unwrap();
    let elsewhere = content.replace(&format!("{}\n", server.as_raw_nonzero()), "4194305\n");
    fs::write(&pid_file, &elsewhere).unwrap();
    let settings = ClusterSettings {
        orphan_limit: Duration::ZERO,
        ..data.settings()
    };
    let message = Cluster::open(&settings).unwrap_err().to_string();
    assert!(message.contains("cannot be reached from here"), "{message}");
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), elsewhere);
    assert_eq!(query(&cluster, "SELECT 1"), "1");
    fs::write(&pid_file, &content).unwrap();
}

#[test]
fn ctrl_c_of_the_first_user_does_not_reach_the_server() {
    let data = DataDirectory::new();
    let holder = Holder::start(&data);
    let second = data.open();
    let server = data.postmaster().unwrap();
    holder.signal_group(Signal::INT);
    holder.kill();

    assert_eq!(query(&second, "SELECT 1"), "1");
    assert_eq!(data.postmaster(), Some(server));
    // Not compared with our own session, whose leader may live outside this PID namespace.
    assert_eq!(
        rustix::process::getsid(Some(server)).unwrap(),
        server,
        "the server leads a session of its own"
    );
}

#[test]
fn the_server_does_not_hold_the_output_of_its_starter() {
    let data = DataDirectory::new();
    let mut holder = Holder::start(&data);
    let mut output = holder.child.stdout.take().unwrap();
    holder.kill();
    // Returns only once nobody holds the other end; the server still runs.
    output.read_to_end(&mut Vec::new()).unwrap();
    assert!(data.postmaster().is_some());
}

#[test]
fn a_long_and_odd_path_gets_a_short_socket() {
    let odd = format!("{}/it's \"odd\" $HOME, back\\slash & ümlaut", "long".repeat(20));
    let data = DataDirectory::below(&odd);
    fs::create_dir(data.above.join("long".repeat(20))).unwrap();
    let cluster = data.open();
    assert_eq!(query(&cluster, "SELECT 1"), "1");
    assert!(cluster.url().contains("%2Fdropcron-"), "{}", cluster.url());
    let second = data.open();
    assert_eq!(cluster.url(), second.url());

    let directory = PathBuf::from(query(&cluster, "SHOW unix_socket_directories").trim_matches('"'));
    assert!(directory.exists());
    drop((cluster, second));
    assert!(!directory.exists(), "nothing is left in a directory that is not ours");
}

#[test]
fn an_odd_path_works_for_the_socket_too() {
    let data = DataDirectory::below("it's \"odd\" $x \\ ü@:");
    let cluster = data.open();
    assert_eq!(query(&cluster, "SELECT 1"), "1");
}

#[test]
fn a_socket_that_was_swept_away_comes_back() {
    let data = DataDirectory::new();
    let cluster = data.open();
    fs::remove_file(data.path.join("postgres/socket/.s.PGSQL.5432")).unwrap();
    let second = data.open();
    assert_eq!(query(&second, "SELECT 1"), "1");
    assert_eq!(query(&cluster, "SELECT 1"), "1");
}

#[test]
fn a_cluster_of_a_version_that_is_gone_is_refused_with_a_way_out() {
    let data = DataDirectory::new();
    data.open().close().unwrap();
    fs::write(data.cluster().join("PG_VERSION"), "12\n").unwrap();

    let error = Cluster::open(&data.settings()).unwrap_err();
    let message = error.to_string();
    assert!(
        matches!(error, ClusterError::VersionNotInstalled { version: 12, .. }),
        "{message}"
    );
    for word in [
        "`apt-get install postgresql-12`",
        "`dropcron database upgrade`",
        "`DATABASE_URL`",
    ] {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn without_binaries_the_message_names_the_package_and_the_alternative() {
    let data = DataDirectory::new();
    let settings = ClusterSettings {
        search_path: Some("".into()),
        distribution_directories: Vec::new(),
        ..data.settings()
    };
    let error = Cluster::open(&settings).unwrap_err();
    assert!(matches!(error, ClusterError::NoBinaries), "{error}");
    assert!(!data.cluster().exists());
}

#[test]
fn a_failed_initdb_leaves_nothing_and_says_why() {
    let data = DataDirectory::new();
    let broken = data.above.join("bin");
    fs::create_dir(&broken).unwrap();
    let script = |name: &str, text: &str| {
        fs::write(broken.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(broken.join(name), Permissions::from_mode(0o755)).unwrap();
    };
    script("postgres", "echo 'postgres (PostgreSQL) 99.1'");
    script("pg_ctl", "exit 1");
    script(
        "initdb",
        "echo 'could not write file: No space left on device' >&2; touch \"$2/half\"; exit 1",
    );
    let settings = ClusterSettings {
        search_path: Some(broken.into_os_string()),
        distribution_directories: Vec::new(),
        ..data.settings()
    };

    let message = Cluster::open(&settings).unwrap_err().to_string();
    assert!(message.contains("No space left on device"), "{message}");
    let left: Vec<_> = fs::read_dir(data.path.join("postgres"))
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        left.iter().all(|name| name.to_string_lossy().ends_with(".lock")),
        "{left:?}"
    );
}

#[test]
fn a_half_made_cluster_of_a_killed_process_is_removed() {
    let data = DataDirectory::new();
    let half = data.path.join("postgres/data.new-1");
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(half.join("base"))
        .unwrap();
    let _cluster = data.open();
    assert!(!half.exists());
}

#[test]
fn a_directory_that_is_no_cluster_is_not_touched() {
    let data = DataDirectory::new();
    DirBuilder::new()
        .recursive(true)
        .mode(0o711)
        .create(data.cluster())
        .unwrap();
    fs::write(data.cluster().join("precious"), "").unwrap();
    let message = Cluster::open(&data.settings()).unwrap_err().to_string();
    assert!(message.contains("is not a Postgres cluster"), "{message}");
    assert!(data.cluster().join("precious").exists());
}

#[test]
fn a_server_that_cannot_start_shows_the_end_of_its_log() {
    let data = DataDirectory::new();
    data.open().close().unwrap();
    fs::write(
        data.cluster().join("postgresql.auto.conf"),
        "max_connections = 'many'\n",
    )
    .unwrap();
    let message = Cluster::open(&data.settings()).unwrap_err().to_string();
    assert!(message.contains("max_connections"), "{message}");
    assert!(message.contains("postgres.log"), "{message}");
}

#[test]
fn a_long_log_is_cut_while_the_server_writes_it() {
    let data = DataDirectory::new();
    let cluster = data.open();
    let log = fs::OpenOptions::new().write(true).open(cluster.log_file()).unwrap();
    log.set_len(9 * 1024 * 1024).unwrap();
    cluster.trim_log().unwrap();
    assert!(cluster.log_file().metadata().unwrap().len() < 1024);
    query(&cluster, "SELECT pg_reload_conf()");
    drop(cluster);
    // The server's last word comes after it has let go of its lock files.
    let log = data.path.join("postgres/postgres.log");
    wait_until("the server says its last word", || {
        fs::read_to_string(&log)
            .unwrap()
            .contains("database system is shut down")
    });
    let text = fs::read_to_string(log).unwrap();
    assert!(!text.contains('\0'), "{text}");
}

#[test]
fn as_root_the_directory_in_the_way_of_the_server_is_named() {
    if !is_root() {
        println!("skipped: only root runs the server as another user");
        return;
    }
    let data = DataDirectory::below("closed/data");
    let closed = data.above.join("closed");
    DirBuilder::new().mode(0o700).create(&closed).unwrap();
    match Cluster::open(&data.settings()).unwrap_err() {
        ClusterError::Unreachable { account, directory } => {
            assert_eq!((account.as_str(), directory), ("postgres", closed.clone()));
        }
        other => panic!("{other}"),
    }
    fs::set_permissions(&closed, Permissions::from_mode(0o711)).unwrap();
    assert_eq!(query(&data.open(), "SELECT 1"), "1");
}

#[test]
fn someone_elses_data_directory_is_refused() {
    if !is_root() {
        println!("skipped: only root can give a directory away");
        return;
    }
    let data = DataDirectory::new();
    DirBuilder::new().mode(0o755).create(&data.path).unwrap();
    std::os::unix::fs::chown(&data.path, Some(65534), None).unwrap();
    let error = Cluster::open(&data.settings()).unwrap_err();
    assert!(
        matches!(
            error,
            ClusterError::WrongOwner {
                owner: 65534,
                expected: 0,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn an_ordinary_user_is_told_of_a_directory_that_cannot_be_written() {
    if is_root() {
        println!("skipped: root can write anywhere");
        return;
    }
    let data = DataDirectory::below("closed/data");
    DirBuilder::new().mode(0o500).create(data.above.join("closed")).unwrap();
    let message = Cluster::open(&data.settings()).unwrap_err().to_string();
    assert!(
        message.contains("choose a data directory that you can write to"),
        "{message}"
    );
}

#[test]
fn a_second_serve_is_refused_with_the_pid_of_the_first() {
    let data = DataDirectory::new();
    let first = ServeLock::acquire(&data.path).unwrap();
    match ServeLock::acquire(&data.path).unwrap_err() {
        ServeLockError::AlreadyServing { pid, .. } => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other}"),
    }
    drop(first);
    ServeLock::acquire(&data.path).unwrap();
}

#[test]
fn waiting_for_another_process_that_starts_the_server_ends_well() {
    let data = DataDirectory::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let holders: Vec<_> = (0..3).map(|_| scope.spawn(|| Holder::start(&data))).collect();
        let holders: Vec<Holder> = holders.into_iter().map(|holder| holder.join().unwrap()).collect();
        for holder in holders {
            holder.leave();
        }
    });
    assert!(began.elapsed() < LIMIT);
    assert_eq!(data.postmaster(), None);
}
