//! The world of a test: a database, a scripts directory, a data directory, and the real program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use dropcron::database::{Cluster, ClusterSettings};
use rustix::process::{Pid, Signal, kill_process};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// How long anything may take before it counts as hanging. Nothing here is about speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at the database while a test waits.
const LOOK_INTERVAL: Duration = Duration::from_millis(25);

/// A scripts directory, a data directory and a database of their own.
pub struct World {
    /// Everything of this test is below it.
    pub root: PathBuf,
    /// The scripts directory.
    pub scripts: PathBuf,
    /// The data directory.
    pub data: PathBuf,
    /// The database, as `DATABASE_URL`.
    pub url: String,
    runtime: tokio::runtime::Runtime,
    client: Client,
}

/// A row as text, column by column.
pub type Row = Vec<Option<String>>;

impl World {
    /// A new one, with an empty database and an empty scripts directory.
    pub fn new() -> World {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("dropcron-world-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        let (scripts, data) = (root.join("scripts"), root.join("data"));
        std::fs::create_dir_all(&scripts).unwrap();
        std::fs::create_dir_all(&data).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let name = format!("world_{number}");
        let url = with_server(|server| {
            let admin = runtime.block_on(connect(server));
            runtime
                .block_on(admin.batch_execute(&format!("CREATE DATABASE {name}")))
                .unwrap();
            format!("{}/{name}", server.rsplit_once('/').unwrap().0)
        });
        let client = runtime.block_on(connect(&url));
        World {
            root,
            scripts,
            data,
            url,
            runtime,
            client,
        }
    }

    /// The same on a server of its own, which the test may stop and start.
    pub fn with_server() -> (World, Cluster) {
        let mut world = World::new();
        let cluster = Cluster::open(&ClusterSettings::new(world.root.join("server"))).unwrap();
        world.url = cluster.url().to_owned();
        world.reconnect();
        (world, cluster)
    }

    /// Connects again, after the server was away.
    pub fn reconnect(&mut self) {
        self.client = self.runtime.block_on(connect(&self.url));
    }

    /// Writes a script, whole or not at all, as a careful deployment does.
    pub fn script(&self, file: &str, text: &str) -> PathBuf {
        let path = self.scripts.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = path.with_extension("tmp");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(&temporary, &path).unwrap();
        path
    }

    /// A script with a schedule and these lines after its header.
    pub fn scheduled(&self, file: &str, schedule: &str, body: &str) -> PathBuf {
        self.script(file, &with_header(&format!("schedule = \"{schedule}\""), body))
    }

    /// The program, set up for this world.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.command_without_database(arguments);
        command.env("DATABASE_URL", &self.url);
        command
    }

    /// The program with a private Postgres of its own.
    pub fn command_without_database(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dropcron"));
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DROPCRON_") {
                command.env_remove(name);
            }
        }
        command.env_remove("DATABASE_URL");
        if let Some(uv) = uv() {
            command.env("DROPCRON_UV", uv);
        }
        // Receivers of notifications are here.
        command.env("NO_PROXY", "127.0.0.1");
        command
            .env("DROPCRON_SCRIPTS_DIR", &self.scripts)
            .env("DROPCRON_DATA_DIR", &self.data)
            // Tests of the API say where.
            .env("DROPCRON_LISTEN", "none");
        command.args(arguments).stdin(Stdio::null()).current_dir(&self.root);
        command
    }

    /// Runs the program to its end.
    pub fn dropcron(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs the program, which must succeed; what it printed.
    pub fn dropcron_ok(&self, arguments: &[&str]) -> String {
        let output = self.dropcron(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts a service, and comes back when it serves.
    pub fn serve(&self) -> Serve {
        self.serve_with(&self.data, &[])
    }

    /// The same in another data directory, and with other variables: another machine.
    pub fn serve_with(&self, data: &Path, variables: &[(&str, &str)]) -> Serve {
        let serve = self.start_serve(data, variables);
        serve.wait_for_log(" serves");
        serve
    }

    /// The same on a private Postgres of its own.
    pub fn serve_without_database(&self, variables: &[(&str, &str)]) -> Serve {
        let serve = self.spawn_serve(self.command_without_database(&["serve"]), variables);
        serve.wait_for_log(" serves");
        serve
    }

    /// Starts a service, and does not wait.
    pub fn start_serve(&self, data: &Path, variables: &[(&str, &str)]) -> Serve {
        let mut command = self.command(&["serve"]);
        command.env("DROPCRON_DATA_DIR", data);
        self.spawn_serve(command, variables)
    }

    /// Starts a service as it was set up, and does not wait.
    pub fn spawn_serve(&self, mut command: Command, variables: &[(&str, &str)]) -> Serve {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = self
            .root
            .join(format!("serve-{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)));
        command.envs(variables.iter().copied());
        command
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap());
        Serve {
            child: command.spawn().unwrap(),
            log,
        }
    }

    /// Another connection to the database: somebody in psql.
    pub fn session(&self) -> Session {
        Session {
            runtime: self.runtime.handle().clone(),
            client: self.runtime.block_on(connect(&self.url)),
        }
    }

    /// The same on the server's own database, for what cannot be said to the database in use.
    pub fn admin_session(&self) -> Session {
        let url = with_server(str::to_owned);
        Session {
            runtime: self.runtime.handle().clone(),
            client: self.runtime.block_on(connect(&url)),
        }
    }

    /// Ends every connection of the program to this world's database.
    pub fn cut_connections(&self) {
        self.sql(
            "select pg_terminate_backend(pid) from pg_stat_activity \
              where datname = current_database() and pid <> pg_backend_pid()",
        );
    }

    /// A place where scripts wait until the test lets them go on.
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.root.join(name);
        let made = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        // Open both ways: neither side ever waits for the other to open it.
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Gate { path, file }
    }

    /// Lines of Python that append `task instant pid` to `marks`, in one write.
    pub fn marking(&self) -> String {
        format!(
            "import os\n\ndef mark():\n    line = f\"{{os.environ['DROPCRON_TASK']}} {{os.environ['DROPCRON_SCHEDULED_AT']}} {{os.getpid()}}\\n\"\n    \
             marks = os.open({:?}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)\n    os.write(marks, line.encode())\n    os.close(marks)\n",
            self.root.join("marks")
        )
    }

    /// What scripts marked: task, instant, pid.
    pub fn marks(&self) -> Vec<[String; 3]> {
        let text = std::fs::read_to_string(self.root.join("marks")).unwrap_or_default();
        text.lines()
            .map(|line| {
                let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
                words.try_into().unwrap()
            })
            .collect()
    }

    /// Waits until the database's clock has gone on by so many seconds.
    pub fn let_pass(&self, seconds: u32) {
        let until = self.value(&format!("select clock_timestamp() + interval '{seconds} s'"));
        self.wait_for(&format!("select clock_timestamp() >= '{until}'"));
    }

    /// Asserts that every second from a task's first row to its last is in the run log exactly once, alone or in a span.
    pub fn assert_unbroken(&self, task: &str) {
        let query = format!(
            "select sum(coalesce(missed_count, 1)), \
                    extract(epoch from max(coalesce(missed_until, scheduled_for)) - min(scheduled_for))::bigint + 1 \
               from run_log where task_name = '{task}' and trigger in ('schedule', 'catch_up')"
        );
        let row = &self.sql(&query)[0];
        assert_eq!(row[0], row[1], "{task}: rows against instants\n{}", self.run_log());
    }

    /// Rows of a query, in our schema.
    pub fn sql(&self, query: &str) -> Vec<Row> {
        let messages = self.runtime.block_on(self.client.simple_query(query));
        let messages = messages.unwrap_or_else(|error| panic!("{query}: {error:?}"));
        rows_of(messages)
    }

    /// The one value of a query; empty for NULL.
    pub fn value(&self, query: &str) -> String {
        let rows = self.sql(query);
        let row = rows.first().unwrap_or_else(|| panic!("no row: {query}"));
        row[0].clone().unwrap_or_default()
    }

    /// Waits until a query gives `t`, such as `select count(*) > 3 from run_log`.
    pub fn wait_for(&self, condition: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.holds(condition) {
            assert!(
                Instant::now() < deadline,
                "still not true: {condition}\nrun log:\n{}",
                self.run_log()
            );
            pause();
        }
    }

    /// Whether a query gives `t`. Before the first migration nothing holds.
    pub fn holds(&self, condition: &str) -> bool {
        match self.runtime.block_on(self.client.simple_query(condition)) {
            Ok(messages) => messages.iter().any(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0) == Some("t"),
                _ => false,
            }),
            Err(error)
                if error.to_string().contains("does not exist")
                    || error.as_db_error().is_some_and(|error| error.code().code() == "42P01") =>
            {
                false
            }
            Err(error) => panic!("{condition}: {error:?}"),
        }
    }

    /// The run log as text, for messages of failed tests.
    pub fn run_log(&self) -> String {
        let query = "select run_id, task_name, scheduled_for, trigger, status, reason, detail, error from run_log order by run_id";
        match self.runtime.block_on(self.client.simple_query(query)) {
            Ok(messages) => messages
                .iter()
                .filter_map(|message| match message {
                    SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|at| row.get(at).unwrap_or("-"))
                            .collect::<Vec<_>>()
                            .join(" | ")
                            + "\n",
                    ),
                    _ => None,
                })
                .collect(),
            Err(error) => format!("(none: {error})"),
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.root);
        }
    }
}

/// The program uv: what `DROPCRON_UV` names, else on PATH, else where `make test` puts it. None: it is nowhere, or does not run.
pub fn uv() -> Option<PathBuf> {
    static UV: OnceLock<Option<PathBuf>> = OnceLock::new();
    UV.get_or_init(|| {
        let candidates = match std::env::var_os("DROPCRON_UV").filter(|name| !name.is_empty()) {
            Some(name) => vec![which::which(name).ok()],
            None => vec![
                which::which("uv").ok(),
                Some(Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/bin/uv")),
            ],
        };
        candidates.into_iter().flatten().find(|path| answers(path))
    })
    .clone()
}

/// Some programs on PATH only say that another version of Python has them.
fn answers(program: &Path) -> bool {
    let asked = Command::new(program).arg("--version").output();
    asked.is_ok_and(|output| output.status.success())
}

/// Says, past what captures the output of tests that pass, that this test does not do its work here; `make test` counts these lines.
pub fn skip(why: &str) {
    use std::io::Write as _;
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let _ = writeln!(std::io::stderr(), "skipped: {test}: {why}");
}

/// Header lines under `[tool.dropcron]`, then the body.
pub fn with_header(lines: &str, body: &str) -> String {
    let commented: String = lines.lines().map(|line| format!("# {line}\n")).collect();
    format!("# /// script\n# [tool.dropcron]\n{commented}# ///\n{body}\n")
}

/// What a program printed, both ways.
pub fn text_of(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Waits until something holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "still not so: {what}");
        pause();
    }
}

/// Between two looks: the things looked at (a database, a log file) have no signal for a test to wait on.
fn pause() {
    std::thread::park_timeout(LOOK_INTERVAL);
}

/// A connection of its own.
pub struct Session {
    runtime: tokio::runtime::Handle,
    client: Client,
}

impl Session {
    /// Runs statements.
    pub fn sql(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).unwrap();
    }

    /// Rows of a query.
    pub fn rows(&self, query: &str) -> Vec<Row> {
        let messages = self.runtime.block_on(self.client.simple_query(query));
        rows_of(messages.unwrap_or_else(|error| panic!("{query}: {error:?}")))
    }

    /// Runs statements that are refused: what the server says, with its hint.
    pub fn refused(&self, statements: &str) -> String {
        let Err(error) = self.runtime.block_on(self.client.batch_execute(statements)) else {
            panic!("not refused: {statements}");
        };
        let error = error.as_db_error().unwrap().clone();
        format!("{}; {}", error.message(), error.hint().unwrap_or_default())
    }
}

fn rows_of(messages: Vec<SimpleQueryMessage>) -> Vec<Row> {
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

/// A pipe that scripts wait at.
pub struct Gate {
    path: PathBuf,
    file: std::fs::File,
}

impl Gate {
    /// The line of Python that waits.
    pub fn wait(&self) -> String {
        format!("open({:?}, 'rb', 0).read(1)", self.path)
    }

    /// Lets everybody through, now and later.
    pub fn open(&mut self) {
        use std::io::Write as _;
        self.file.write_all(&[0; 4096]).unwrap();
    }
}

/// A service that runs; killed at the end of the test if it still does.
pub struct Serve {
    child: Child,
    log: PathBuf,
}

impl Serve {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until it has logged something.
    pub fn wait_for_log(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "never logged `{text}`:\n{}", self.log());
            pause();
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Pulls the plug.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// Asks it to leave, and waits; its log.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let code = self.wait();
        let log = self.log();
        assert_eq!(code, Some(0), "{log}");
        log
    }

    /// Waits for its end; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "does not end:\n{}", self.log());
            pause();
        }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of serve\n{}", self.log());
        }
    }
}

/// A server whose processes do nothing, and keep all their sockets; they go on when this is dropped.
pub struct Stopped(Vec<Pid>);

impl Stopped {
    /// Stops the server of `World::with_server`.
    pub fn server(world: &World) -> Stopped {
        let file = std::fs::read_to_string(world.root.join("server/postgres/data/postmaster.pid")).unwrap();
        let server: i32 = file.lines().next().unwrap().trim().parse().unwrap();
        let mut stopped = Stopped(vec![Pid::from_raw(server).unwrap()]);
        // It first: it can start no others then.
        stopped.signal(Signal::STOP);
        let children = format!("/proc/{server}/task/{server}/children");
        let children = std::fs::read_to_string(children).unwrap();
        let pids = children
            .split_whitespace()
            .map(|pid| Pid::from_raw(pid.parse().unwrap()).unwrap());
        stopped.0.extend(pids);
        stopped.signal(Signal::STOP);
        stopped
    }

    fn signal(&self, signal: Signal) {
        for pid in &self.0 {
            // A session's process may end meanwhile.
            let _ = kill_process(*pid, signal);
        }
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

/// The throw-away Postgres of this test run: made by the first test that needs it, stopped at the end of the process.
fn with_server<T>(work: impl FnOnce(&str) -> T) -> T {
    static SERVER: OnceLock<Mutex<String>> = OnceLock::new();
    let url = SERVER.get_or_init(|| Mutex::new(start_server()));
    let url = url.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    work(&url)
}

/// A private cluster in a temporary directory. It outlives its `Cluster` value on purpose: `watch_over` stops it.
fn start_server() -> String {
    if let Ok(url) = std::env::var("DROPCRON_TEST_DATABASE_URL") {
        return url;
    }
    let directory = std::env::temp_dir().join(format!("dropcron-postgres-{}", std::process::id()));
    // Of an earlier process of this number, whose databases would be in the way.
    let _ = std::fs::remove_dir_all(&directory);
    let cluster = Cluster::open(&ClusterSettings::new(&directory)).unwrap();
    let url = cluster.url().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = connect(&url).await;
        // Nothing here is to be kept: a crash of this machine may cost it.
        client.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
        client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    });
    watch_over(&directory, cluster);
    url
}

/// A shell that waits for the end of this process, however it comes, stops the server and removes it.
fn watch_over(directory: &Path, cluster: Cluster) {
    let script = "while kill -0 \"$1\" 2>/dev/null; do read -t 1 _ <> <(:) || true; done; \
                  kill -INT \"$(head -1 \"$2/postgres/data/postmaster.pid\")\" 2>/dev/null; \
                  while [ -e \"$2/postgres/data/postmaster.pid\" ]; do read -t 0.1 _ <> <(:) || true; done; rm -rf \"$2\"";
    let mut command = Command::new("setsid");
    command.args([
        "bash",
        "-c",
        script,
        "watch",
        &std::process::id().to_string(),
        &directory.display().to_string(),
    ]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // It ends after this process: nobody here can wait for it.
    static WATCHER: OnceLock<Child> = OnceLock::new();
    WATCHER.get_or_init(|| command.spawn().unwrap());
    std::mem::forget(cluster);
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
        .batch_execute("SET search_path = dropcron, public; SET timezone = 'UTC'")
        .await
        .unwrap();
    client
}
