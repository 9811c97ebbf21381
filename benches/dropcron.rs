//! `make bench`: the figures of docs/performance.md, for the machine it runs on.
//!
//! Everything is measured on the real program with a private Postgres (fsync on), beside yardsticks in the same run: bare
//! interpreters, started the same way. Ratios are what travels between machines. Takes about ten minutes.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dropcron::executor::{Executor, Interpreter, Invocation, OutputLimits, output_channel};
use dropcron::script::Limits;
use tokio_postgres::{Client, NoTls};

#[path = "dropcron/page.rs"]
mod page;
#[path = "dropcron/visitor.rs"]
mod visitor;
#[path = "dropcron/watchers.rs"]
mod watchers;

const PLAIN: &str = "import time\ndef run():\n    return time.time()\n";
const ASYNC: &str = "import time\nasync def run():\n    return time.time()\n";

fn main() -> anyhow::Result<()> {
    // `cargo bench` passes flags of its own; `cargo test --benches` must not run this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let python = python()?;
    println!(
        "dropcron {}, {} cores, {}, {}\n",
        env!("CARGO_PKG_VERSION"),
        cores(),
        kernel(),
        python.display()
    );
    // `cargo bench --bench dropcron -- burst` measures that alone.
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let wanted = |section: &str| chosen.is_empty() || chosen.iter().any(|chosen| chosen == section);
    if wanted("one") {
        one_run(&python).await?;
    }
    if wanted("lateness") {
        lateness().await?;
    }
    if wanted("burst") {
        let bound = bound(&python, "pass");
        burst("plain", PLAIN, 100, bound).await?;
        burst("async", ASYNC, 100, bound_of_async(&python)).await?;
        burst("plain", PLAIN, 2_000, bound).await?;
    }
    if wanted("idle") {
        for tasks in [1_000, 10_000] {
            idle(tasks).await?;
        }
    }
    if wanted("environment") {
        environment().await?;
    }
    if wanted("output") {
        output().await?;
    }
    if wanted("spawn") {
        spawn_cost().await?;
    }
    if wanted("page") {
        page::measure().await?;
    }
    if wanted("watchers") {
        watchers::measure().await?;
    }
    Ok(())
}

// ---------- one run ----------

/// One run at a time, asked for by a row: from the request to the row that has ended.
async fn one_run(python: &Path) -> anyhow::Result<()> {
    const ROUNDS: usize = 40;
    let bench = Bench::start("one", |scripts| {
        write(scripts, "plain.py", PLAIN, "");
        write(scripts, "asynchronous.py", ASYNC, "");
    })
    .await?;
    bench.registered(2).await?;
    let mut bare = Vec::new();
    let mut bare_async = Vec::new();
    let mut plain = Vec::new();
    let mut asynchronous = Vec::new();
    let mut cpu = Vec::new();
    for round in 0..ROUNDS + 3 {
        let counted = round >= 3;
        let a = time_of(|| run_bare(python, "pass"));
        let b = bench.request("plain").await?;
        let c = time_of(|| run_bare(python, "import asyncio, os; os._exit(0)"));
        let before = bench.cpu();
        let d = bench.request("asynchronous").await?;
        if counted {
            bare.push(a);
            plain.push(b);
            bare_async.push(c);
            asynchronous.push(d);
            cpu.push(bench.cpu() - before);
        }
    }
    let rows = bench.rows("select task_name, percentile_cont(0.5) within group (order by cpu_ms), percentile_cont(0.5) within group (order by duration_ms) from dropcron.run_log where status = 'succeeded' group by 1 order by 1").await?;
    println!("one run, asked for to recorded (medians of {ROUNDS}, interleaved)");
    let (bare, bare_async) = (median(&mut bare), median(&mut bare_async));
    line("python -c pass", bare, "ms");
    line(
        "plain def run()",
        median(&mut plain),
        &format!("ms   {:.2} x bare", median(&mut plain) / bare),
    );
    line("python -c 'import asyncio, os; os._exit(0)'", bare_async, "ms");
    line(
        "async def run()",
        median(&mut asynchronous),
        &format!("ms   {:.2} x bare asyncio", median(&mut asynchronous) / bare_async),
    );
    for row in rows {
        println!(
            "  {:<46} {} ms CPU of its processes, {} ms go to end",
            row[0], row[1], row[2]
        );
    }
    line("CPU of serve itself, per run", median(&mut cpu) * 1000.0, "ms");
    println!();
    bench.stop()
}

// ---------- packages ----------

/// The same run with an environment and without one, interleaved. The package comes from its index: a machine that reaches none says so.
async fn environment() -> anyhow::Result<()> {
    const ROUNDS: usize = 60;
    println!("a plain run with an environment of its own, and without (medians of {ROUNDS}, interleaved)");
    let bench = Bench::start("environment", |scripts| {
        write(scripts, "plain.py", PLAIN, "");
        let text = format!("# /// script\n# dependencies = [\"httpx\"]\n# [tool.dropcron]\n# ///\n{PLAIN}");
        std::fs::write(scripts.join("packaged.py"), text).expect("a script can be written");
    })
    .await?;
    bench.registered(2).await?;
    bench
        .wait("select count(*) > 0 from dropcron.environment where state <> 'building'")
        .await?;
    let problem = bench
        .rows("select problem from dropcron.environment where state <> 'ready'")
        .await?;
    if let Some(row) = problem.first() {
        println!("  not measured: {}\n", row[0].lines().next().unwrap_or_default());
        return bench.stop();
    }
    let (mut plain, mut packaged) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 3 {
        // Whoever comes second finds everything warm: they take turns.
        let (a, b) = if round % 2 == 0 {
            let a = bench.request("plain").await?;
            (a, bench.request("packaged").await?)
        } else {
            let b = bench.request("packaged").await?;
            (bench.request("plain").await?, b)
        };
        if round >= 3 {
            plain.push(a);
            packaged.push(b);
        }
    }
    let (plain, packaged) = (median(&mut plain), median(&mut packaged));
    line("without", plain, "ms");
    line(
        "with",
        packaged,
        &format!("ms   {:+.2} ms, {:.2} x", packaged - plain, packaged / plain),
    );
    println!();
    bench.stop()
}

// ---------- lateness ----------

/// 20 tasks, one a second, among 10,000: the time stamped inside `run()` less the due time.
async fn lateness() -> anyhow::Result<()> {
    let start = (now() + 25.0).ceil();
    for (name, body) in [("plain", PLAIN), ("async", ASYNC)] {
        let start = if name == "plain" { start } else { (now() + 25.0).ceil() };
        let bench = Bench::start("late", |scripts| {
            for number in 0..10_000 {
                write(
                    scripts,
                    &format!("quiet/t{number}.py"),
                    PLAIN,
                    "schedule = \"0 0 1 1 *\"",
                );
            }
            for second in 0..20 {
                write(
                    scripts,
                    &format!("due{second}.py"),
                    body,
                    &format!("schedule = \"@at {}\"", rfc3339(start + f64::from(second))),
                );
            }
        })
        .await?;
        bench.registered(10_020).await?;
        anyhow::ensure!(now() < start, "registration took longer than the bench allows");
        let mut recorded = Vec::new();
        for second in 0..20 {
            bench
                .wait_closely(&format!(
                    "select exists (select 1 from dropcron.run_log where task_name = 'due{second}' and finished_at is not null)"
                ))
                .await?;
            recorded.push((now() - start - f64::from(second)) * 1000.0);
        }
        let mut late = bench.lateness().await?;
        println!("lateness inside run(), 20 {name} tasks, one a second, among 10,000");
        distribution(&mut late);
        line(
            "due until its row has ended, median",
            median(&mut recorded),
            "ms   (looked at every millisecond)",
        );
        bench.stop()?;
    }
    println!();
    Ok(())
}

// ---------- bursts ----------

/// Many tasks due at one second.
async fn burst(name: &str, body: &str, count: usize, bound: f64) -> anyhow::Result<()> {
    let due = (now() + 10.0 + count as f64 / 400.0).ceil();
    let bench = Bench::start("burst", |scripts| {
        for number in 0..count {
            write(
                scripts,
                &format!("t{number}.py"),
                body,
                &format!("schedule = \"@at {}\"", rfc3339(due)),
            );
        }
    })
    .await?;
    bench.registered(count).await?;
    anyhow::ensure!(now() < due, "registration took longer than the bench allows");
    let before = bench.cpu();
    bench
        .wait(&format!(
            "select count(*) = {count} from dropcron.run_log where finished_at is not null"
        ))
        .await?;
    let row = &bench.rows("select count(*) filter (where status = 'succeeded'), extract(epoch from max(finished_at) - min(due_at)) from dropcron.run_log").await?[0];
    let seconds: f64 = row[1].parse()?;
    println!("{count} {name} tasks due at one second");
    line("rows, all succeeded", row[0].parse()?, &format!("of {count}"));
    let rate = count as f64 / seconds;
    line(
        "runs per second",
        rate,
        &format!(
            "  {:.0} % of what bare interpreters alone reach ({bound:.0})",
            rate / bound * 100.0
        ),
    );
    line(
        "CPU of serve, per run",
        (bench.cpu() - before) / count as f64 * 1000.0,
        "ms",
    );
    distribution(&mut bench.lateness().await?);
    println!();
    bench.stop()
}

// ---------- idle ----------

/// A service with many tasks and nothing to do.
async fn idle(tasks: usize) -> anyhow::Result<()> {
    let write_all = |scripts: &Path| {
        for number in 0..tasks {
            write(
                scripts,
                &format!("d{}/t{number}.py", number % 100),
                PLAIN,
                "schedule = \"0 0 1 1 *\"",
            );
        }
    };
    let begun = Instant::now();
    let mut bench = Bench::start("idle", write_all).await?;
    bench.registered(tasks).await?;
    let first = begun.elapsed() - bench.prepared;
    // Again, as after an upgrade: everything is known.
    bench.restart()?;
    let begun = Instant::now();
    bench.wait_for_log("tasks are in line with their files").await?;
    let again = begun.elapsed();
    tokio::time::sleep(Duration::from_secs(15)).await;
    let cpu = bench.cpu();
    let span = Duration::from_secs(20);
    tokio::time::sleep(span).await;
    println!("idle with {tasks} tasks");
    line("first start until all are registered", first.as_secs_f64(), "s");
    line("next start until all are compared", again.as_secs_f64(), "s");
    line(
        "CPU of serve",
        (bench.cpu() - cpu) / span.as_secs_f64() * 100.0,
        "% of a core",
    );
    line("memory of serve (PSS)", bench.memory_kb()? / 1024.0, "MiB");
    println!();
    bench.stop()
}

// ---------- spawn ----------

/// What starting a keeper costs the scheduler, with little and with much memory.
async fn spawn_cost() -> anyhow::Result<()> {
    let directory = std::env::temp_dir().join(format!("dropcron-bench-spawn-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let script = directory.join("nothing.py");
    std::fs::write(&script, "def run():\n    pass\n")?;
    let interpreter = Interpreter::find(None, std::env::var_os("PATH").as_deref(), &directory)?;
    let executor = Executor::with_keeper(PathBuf::from(env!("CARGO_BIN_EXE_dropcron")));
    let small = median(&mut spawns(&executor, &interpreter, &script, &directory).await?);
    let ballast = vec![1_u8; 500 * 1024 * 1024];
    let large = median(&mut spawns(&executor, &interpreter, &script, &directory).await?);
    println!("spawn of a run, blocking part");
    line("with little memory", small, "ms");
    line("with 500 MiB more", large, &format!("ms   {:.2} x", large / small));
    std::hint::black_box(&ballast);
    std::fs::remove_dir_all(&directory)?;
    Ok(())
}

async fn spawns(
    executor: &Executor,
    interpreter: &Interpreter,
    script: &Path,
    directory: &Path,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::new();
    for _ in 0..60 {
        let invocation = Invocation {
            script_path: script.to_path_buf(),
            code_path: script.to_path_buf(),
            scripts_root: directory.to_path_buf(),
            task_name: "nothing".to_owned(),
            arguments: "{}".to_owned(),
            is_async: false,
            environment: Vec::new(),
            working_directory: directory.to_path_buf(),
            timeout: None,
            grace: Invocation::DEFAULT_GRACE,
            linger: Invocation::DEFAULT_LINGER,
            keep_return_value: true,
            max_value_bytes: Invocation::DEFAULT_MAX_VALUE_BYTES,
            limits: Limits::default(),
            no_new_privileges: true,
        };
        let (sender, _chunks) = output_channel(OutputLimits::default());
        let begun = Instant::now();
        let booting = executor.spawn(interpreter, &invocation, sender)?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        booting.abandon().await;
    }
    Ok(times)
}

// ---------- output ----------

/// Scripts that print as fast as they can, one after the other, beside a quiet task that is due every second.
async fn output() -> anyhow::Result<()> {
    const MEBIBYTES: f64 = 16384.0;
    let floods = [
        ("zeros", "zeros, no line's end", "bytes(65536)"),
        ("binary", "bytes that are no text, no line's end", "b'\\xfe' * 65536"),
        ("lines", "lines of 64 bytes", "(b'x' * 63 + b'\\n') * 1024"),
    ];
    let bench = Bench::start("output", |scripts| {
        write(scripts, "quiet.py", PLAIN, "schedule = \"* * * * * *\"");
        for (name, _, block) in floods {
            let body = format!(
                "import os\ndef run():\n    block = {block}\n    left = {MEBIBYTES:.0} << 20\n    while left:\n        left -= os.write(1, block)\n"
            );
            write(scripts, &format!("{name}.py"), &body, "timeout = \"10m\"");
        }
    })
    .await?;
    bench.registered(4).await?;
    let quiet = |rows: &str| {
        format!(
            "select (return_value::text::float8 - extract(epoch from due_at)) * 1000 from dropcron.run_log \
              where status = 'succeeded' and task_name = 'quiet' and {rows}"
        )
    };
    bench
        .wait("select count(*) >= 6 from dropcron.run_log where task_name = 'quiet' and status = 'succeeded'")
        .await?;
    println!("output of {MEBIBYTES:.0} MiB as fast as it comes, beside a task that is due every second");
    line("peak memory of serve before", bench.peak_memory_mib(), "MiB");
    let mut alone = numbers(&bench.rows(&quiet("scheduled_for > now() - interval '5 s'")).await?)?;
    distribution(&mut alone);
    for (name, what, _) in floods {
        let before = bench.cpu();
        let took = bench.request(name).await? / 1000.0;
        let cpu = bench.cpu() - before;
        line(
            what,
            MEBIBYTES / took / 1024.0,
            &format!(
                "GiB/s   {:.2} s CPU of serve per GiB, its peak memory {:.1} MiB",
                cpu / MEBIBYTES * 1024.0,
                bench.peak_memory_mib()
            ),
        );
        let rows = format!("scheduled_for > now() - interval '{took} s'");
        let mut beside = numbers(&bench.rows(&quiet(&rows)).await?)?;
        distribution(&mut beside);
    }
    println!();
    bench.stop()
}

fn numbers(rows: &[Vec<String>]) -> anyhow::Result<Vec<f64>> {
    Ok(rows.iter().map(|row| row[0].parse()).collect::<Result<_, _>>()?)
}

// ---------- the service under measurement ----------

struct Bench {
    root: PathBuf,
    serve: Child,
    client: Client,
    /// How long writing the scripts took: not the program's business.
    prepared: Duration,
}

impl Bench {
    async fn start(name: &str, write_scripts: impl FnOnce(&Path)) -> anyhow::Result<Bench> {
        let root = std::env::temp_dir().join(format!("dropcron-bench-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(root.join("scripts"))?;
        let begun = Instant::now();
        write_scripts(&root.join("scripts"));
        let prepared = begun.elapsed();
        let serve = spawn_serve(&root)?;
        let mut bench = None;
        for _ in 0..600 {
            if std::fs::read_to_string(root.join("log"))?.contains(" serves") {
                let socket = root.join("data/postgres/socket");
                let mut config = tokio_postgres::Config::new();
                config.host_path(&socket).user("dropcron").dbname("dropcron");
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                bench = Some(client);
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let client =
            bench.ok_or_else(|| anyhow::anyhow!("serve does not start: see {}", root.join("log").display()))?;
        Ok(Bench {
            root,
            serve,
            client,
            prepared,
        })
    }

    /// Stops the service and starts it again; the cluster stays, since we are connected but hold no lock: so it restarts too.
    fn restart(&mut self) -> anyhow::Result<()> {
        terminate(&mut self.serve)?;
        self.serve = spawn_serve(&self.root)?;
        Ok(())
    }

    fn stop(mut self) -> anyhow::Result<()> {
        terminate(&mut self.serve)?;
        std::fs::remove_dir_all(&self.root)?;
        Ok(())
    }

    async fn wait_for_log(&self, text: &str) -> anyhow::Result<()> {
        while !std::fs::read_to_string(self.root.join("log"))?.contains(text) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn wait(&self, condition: &str) -> anyhow::Result<()> {
        loop {
            if self.client.query_one(condition, &[]).await?.get::<_, bool>(0) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The same, every millisecond.
    async fn wait_closely(&self, condition: &str) -> anyhow::Result<()> {
        let condition = self.client.prepare(condition).await?;
        while !self.client.query_one(&condition, &[]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    async fn registered(&self, count: usize) -> anyhow::Result<()> {
        self.wait(&format!(
            "select count(*) >= {count} from dropcron.task where revision = planned_revision"
        ))
        .await
    }

    async fn rows(&self, query: &str) -> anyhow::Result<Vec<Vec<String>>> {
        let messages = self.client.simple_query(query).await?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    Some((0..row.len()).map(|at| row.get(at).unwrap_or("").to_owned()).collect())
                }
                _ => None,
            })
            .collect())
    }

    /// Asks for a run as any client may, and waits for its end; milliseconds.
    async fn request(&self, task: &str) -> anyhow::Result<f64> {
        let begun = Instant::now();
        let run_id = self.ask(task).await?;
        let ended = self
            .client
            .prepare("select not exists (select 1 from dropcron.run_lease where run_id = $1)")
            .await?;
        while !self.client.query_one(&ended, &[&run_id]).await?.get::<_, bool>(0) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(begun.elapsed().as_secs_f64() * 1000.0)
    }

    /// Asks for a run, and gives its number.
    async fn ask(&self, task: &str) -> anyhow::Result<i64> {
        let row = self
            .client
            .query_one(
                "with lease as (insert into dropcron.run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, slot)
                   select nextval('dropcron.run_id_sequence'), task_id, clock_timestamp(), 1, 'manual', 'queued', clock_timestamp(), queue, 1
                   from dropcron.task where name = $1 returning *),
                 log as (insert into dropcron.run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at)
                   select run_id, task_id, $1, scheduled_for, 'manual', 'queued', scheduled_for, due_at from lease)
                 select run_id, pg_notify('dropcron_wake', 'run')::text from lease",
                &[&task],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Milliseconds between the due time and the time stamped inside `run()`.
    async fn lateness(&self) -> anyhow::Result<Vec<f64>> {
        let rows = self
            .rows("select (return_value::text::float8 - extract(epoch from due_at)) * 1000 from dropcron.run_log where status = 'succeeded'")
            .await?;
        Ok(rows.iter().map(|row| row[0].parse()).collect::<Result<_, _>>()?)
    }

    /// User and system time of the service itself, seconds.
    fn cpu(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.serve.id())).unwrap_or_default();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .map_or("", |(_, rest)| rest)
            .split_whitespace()
            .collect();
        let ticks: f64 = fields[11].parse::<f64>().unwrap_or(0.0) + fields[12].parse::<f64>().unwrap_or(0.0);
        ticks / 100.0
    }

    fn peak_memory_mib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.serve.id())).unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib: f64 = peak.map_or(0.0, |peak| peak.trim().trim_end_matches(" kB").parse().unwrap_or(0.0));
        kib / 1024.0
    }

    fn memory_kb(&self) -> anyhow::Result<f64> {
        let mut text = String::new();
        std::fs::File::open(format!("/proc/{}/smaps_rollup", self.serve.id()))?.read_to_string(&mut text)?;
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap_or("Pss: 0");
        Ok(line.split_whitespace().nth(1).unwrap_or("0").parse()?)
    }
}

fn spawn_serve(root: &Path) -> anyhow::Result<Child> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dropcron"));
    command.arg("serve").env_remove("DATABASE_URL");
    command
        .env("DROPCRON_SCRIPTS_DIR", root.join("scripts"))
        .env("DROPCRON_DATA_DIR", root.join("data"))
        .env("DROPCRON_LISTEN", "127.0.0.1:0");
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(root.join("log"))?);
    Ok(command.process_group(0).spawn()?)
}

fn terminate(serve: &mut Child) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_child(serve);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
    serve.wait()?;
    Ok(())
}

fn write(scripts: &Path, file: &str, body: &str, header: &str) {
    let path = scripts.join(file);
    let text = format!("# /// script\n# [tool.dropcron]\n# {header}\n# ///\n{body}");
    std::fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory can be made");
    std::fs::write(path, text).expect("a script can be written");
}

// ---------- yardsticks and figures ----------

fn python() -> anyhow::Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("dropcron-bench-python-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let explicit = std::env::var_os("DROPCRON_PYTHON");
    let found = Interpreter::find(explicit.as_deref(), std::env::var_os("PATH").as_deref(), &directory)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(found.path)
}

fn run_bare(python: &Path, code: &str) {
    let status = Command::new(python)
        .args(["-I", "-c", code])
        .env_clear()
        .stdin(Stdio::null())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "the bare interpreter fails"
    );
}

/// Bare interpreters per second that this machine starts and ends, with as many at a time as it has cores.
fn bound(python: &Path, code: &str) -> f64 {
    const EACH: usize = 40;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores() {
            scope.spawn(|| (0..EACH).for_each(|_| run_bare(python, code)));
        }
    });
    (EACH * cores()) as f64 / begun.elapsed().as_secs_f64()
}

fn bound_of_async(python: &Path) -> f64 {
    bound(python, "import asyncio, os; os._exit(0)")
}

fn time_of(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1000.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn distribution(values: &mut [f64]) {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    println!(
        "  {:<46} p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        "lateness",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

fn line(what: &str, value: f64, unit: &str) {
    println!("  {what:<46} {value:.2} {unit}");
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn rfc3339(seconds: f64) -> String {
    jiff::Timestamp::from_second(seconds as i64)
        .map(|at| at.to_string())
        .unwrap_or_default()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(0, usize::from)
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy()
    )
}
