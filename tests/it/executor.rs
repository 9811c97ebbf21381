//! The executor against real processes: a real keeper, a real Python, and scripts that do their worst.
//!
//! Nothing here sleeps: tests wait for a line that a script prints, for a process to be gone, or for a run to end. Every such
//! wait has a guard that is far longer than it ever takes.
#![expect(clippy::unwrap_used, reason = "a test ends where something is amiss")]

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dropcron::executor::{
    Booting, ControlGroups, Ended, Executor, InspectRequest, Interpreter, InterpreterError, Invocation, OutputChunk,
    OutputLimits, become_subreaper, output_channel,
};
use dropcron::run::{Enforcer, Outcome, Reason, Status, Stop};
use dropcron::script::Limits;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tokio::sync::{mpsc, watch};

const GUARD: Duration = Duration::from_secs(60);
const DROPCRON: &str = env!("CARGO_BIN_EXE_dropcron");

/// A directory of this test's own.
fn directory(name: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("executor-{}-{number}-{name}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

fn interpreter() -> &'static Interpreter {
    static FOUND: OnceLock<Interpreter> = OnceLock::new();
    FOUND.get_or_init(|| {
        Interpreter::find(None, std::env::var_os("PATH").as_deref(), &directory("interpreter")).unwrap()
    })
}

fn executor() -> Executor {
    Executor::with_keeper(DROPCRON.into())
}

/// An invocation of a script with this code.
fn invocation(code: &str) -> Invocation {
    let root = directory("script");
    let script_path = root.join("script.py");
    fs::write(&script_path, code).unwrap();
    Invocation {
        code_path: script_path.clone(),
        script_path,
        working_directory: root.clone(),
        scripts_root: root,
        task_name: "script".into(),
        arguments: "{}".into(),
        is_async: false,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: Some(GUARD),
        grace: GUARD,
        linger: GUARD,
        keep_return_value: true,
        max_value_bytes: Invocation::DEFAULT_MAX_VALUE_BYTES,
        limits: Limits::default(),
        no_new_privileges: false,
    }
}

/// A run that was spawned, and what it prints.
struct Spawned {
    booting: Booting,
    output: mpsc::Receiver<OutputChunk>,
    stop: watch::Sender<Option<Stop>>,
}

/// A run that is over, and all that it printed.
struct Finished {
    ended: Ended,
    text: String,
}

impl Finished {
    fn outcome(&self) -> &Outcome {
        &self.ended.outcome
    }

    fn reason(&self) -> Option<Reason> {
        self.outcome().reason
    }

    fn value(&self) -> &str {
        self.outcome().return_value.as_ref().map_or("", |value| value.get())
    }

    fn message(&self) -> &str {
        self.outcome().error.as_ref().map_or("", |error| &error.message)
    }

    fn warned(&self, text: &str) -> bool {
        self.outcome().warnings.iter().any(|warning| warning.contains(text))
    }

    fn describe(&self) -> String {
        format!("{:#?}\noutput:\n{}", self.ended, self.text)
    }
}

fn spawn(invocation: &Invocation) -> Spawned {
    spawn_by(&executor(), invocation)
}

fn spawn_by(executor: &Executor, invocation: &Invocation) -> Spawned {
    let (sender, output) = output_channel(OutputLimits::default());
    let booting = executor.spawn(interpreter(), invocation, sender).unwrap();
    Spawned {
        booting,
        output,
        stop: watch::channel(None).0,
    }
}

/// A run under way.
struct Running {
    task: tokio::task::JoinHandle<Ended>,
    output: mpsc::Receiver<OutputChunk>,
    stop: watch::Sender<Option<Stop>>,
    /// All that came, as it came.
    text: String,
    /// What is kept of it.
    kept: std::collections::BTreeMap<u32, String>,
}

impl Spawned {
    fn go(self) -> Running {
        let task = tokio::spawn(self.booting.run(self.stop.subscribe()));
        Running {
            task,
            output: self.output,
            stop: self.stop,
            text: String::new(),
            kept: std::collections::BTreeMap::new(),
        }
    }
}

impl Running {
    fn take(&mut self, chunk: OutputChunk) {
        if let Some(forget) = chunk.forget {
            self.kept
                .retain(|sequence, _| !(forget.from..forget.below).contains(sequence));
        }
        self.text.push_str(&chunk.text);
        self.kept.insert(chunk.sequence, chunk.text);
    }

    /// Waits until the script has printed `word` and a number, and gives the number.
    async fn number_after(&mut self, word: &str) -> i32 {
        let found = tokio::time::timeout(GUARD, async {
            loop {
                let line = self
                    .text
                    .lines()
                    .find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
                // A line counts once it has ended: half a number is a number, too.
                if let Some(number) = line.filter(|_| self.text.ends_with('\n')) {
                    return number;
                }
                let chunk = self
                    .output
                    .recv()
                    .await
                    .expect("the script ended before it printed what is waited for");
                self.take(chunk);
            }
        });
        found.await.unwrap_or_else(|_| panic!("no `{word}` in: {}", self.text))
    }

    async fn end(mut self) -> Finished {
        let all = async {
            while let Some(chunk) = self.output.recv().await {
                self.take(chunk);
            }
            (&mut self.task).await.unwrap()
        };
        let ended = tokio::time::timeout(GUARD, all).await.expect("the run did not end");
        let text = self.kept.into_values().collect();
        Finished { ended, text }
    }
}

async fn run(invocation: &Invocation) -> Finished {
    spawn(invocation).go().end().await
}

async fn run_code(code: &str) -> Finished {
    run(&invocation(code)).await
}

fn pid(number: i32) -> Pid {
    Pid::from_raw(number).unwrap()
}

/// Waits until a process is gone: dead, and at most waiting to be reaped.
fn wait_until_gone(pid: Pid) {
    let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else {
        return;
    };
    let guard = Timespec {
        tv_sec: GUARD.as_secs() as i64,
        tv_nsec: 0,
    };
    // A child of another test that ends interrupts it.
    let ended = loop {
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&guard)) {
            Err(Errno::INTR) => {}
            ended => break ended.unwrap(),
        }
    };
    assert_eq!(ended, 1, "process {pid:?} lives on");
}

fn is_alive(pid: Pid) -> bool {
    let state = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The keeper that holds a script's own process.
fn keeper_of(script: Pid) -> Pid {
    let stat = fs::read_to_string(format!("/proc/{}/stat", script.as_raw_pid())).unwrap();
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    pid(rest.split_ascii_whitespace().nth(1).unwrap().parse().unwrap())
}

// What a script returns, raises and leaves with.

#[tokio::test]
async fn a_value_comes_back_with_what_it_took() {
    let mut invocation =
        invocation("def run(name, count=1):\n    print('hello')\n    return {'name': name, 'count': count}\n");
    invocation.arguments = r#"{"name": "Grüße", "count": 7}"#.into();
    let finished = run(&invocation).await;
    assert_eq!(finished.outcome().status, Status::Succeeded, "{}", finished.describe());
    let value: serde_json::Value = serde_json::from_str(finished.value()).unwrap();
    assert_eq!(value, serde_json::json!({"name": "Grüße", "count": 7}));
    assert_eq!(finished.text, "hello\n");
    assert_eq!(
        (finished.outcome().exit_code, finished.outcome().signal),
        (Some(0), None)
    );
    assert_eq!(finished.outcome().warnings, Vec::<String>::new());
    assert!(finished.outcome().max_rss_kb.unwrap() > 1024);
    assert!(finished.outcome().cpu_ms.unwrap() > 0);
    assert!(finished.outcome().script_sha256.is_some());
    assert!(finished.ended.finished > finished.ended.started);
}

#[tokio::test]
async fn a_value_that_is_not_to_be_kept_is_not_kept() {
    let mut invocation = invocation("def run():\n    return 1\n");
    invocation.keep_return_value = false;
    let finished = run(&invocation).await;
    assert_eq!(finished.outcome().status, Status::Succeeded);
    assert_eq!(finished.value(), "");
}

#[tokio::test]
async fn an_async_script_is_awaited() {
    let mut invocation =
        invocation("import asyncio\nasync def run():\n    await asyncio.sleep(0)\n    return 'awaited'\n");
    invocation.is_async = true;
    assert_eq!(run(&invocation).await.value(), "\"awaited\"");
}

#[tokio::test]
async fn an_exception_comes_back_with_its_traceback() {
    let finished = run_code("def run():\n    raise KeyError('answer')\n").await;
    assert_eq!(finished.reason(), Some(Reason::Raised));
    let error = finished.outcome().error.as_ref().unwrap();
    assert_eq!(error.kind, "KeyError");
    assert!(error.traceback.as_ref().unwrap().contains("line 2"), "{error:?}");
}

#[tokio::test]
async fn leaving_with_a_code_is_a_failure_with_that_code() {
    let finished = run_code("import sys\ndef run():\n    sys.exit(3)\n").await;
    assert_eq!(
        (finished.reason(), finished.outcome().exit_code),
        (Some(Reason::Exited), Some(3))
    );
    let finished = run_code("import os\ndef run():\n    os._exit(3)\n").await;
    assert_eq!(
        (finished.reason(), finished.outcome().exit_code),
        (Some(Reason::Exited), Some(3))
    );
}

#[tokio::test]
async fn a_good_exit_code_alone_is_no_success() {
    let finished = run_code("import os\ndef run():\n    os._exit(0)\n").await;
    assert_eq!(
        (finished.reason(), finished.outcome().exit_code),
        (Some(Reason::Exited), Some(0))
    );
    assert!(
        finished.message().contains("code 0 before run() returned"),
        "{}",
        finished.message()
    );
}

#[tokio::test]
async fn a_segmentation_fault_is_named() {
    let finished =
        run_code("import ctypes\ndef run():\n    print('before', flush=True)\n    ctypes.string_at(0)\n").await;
    assert_eq!(
        (finished.reason(), finished.outcome().signal),
        (Some(Reason::Signal), Some(libc::SIGSEGV))
    );
    assert!(finished.message().contains("segmentation fault"));
    assert!(finished.text.starts_with("before\n"));
}

#[tokio::test]
async fn a_kill_that_is_not_ours_is_somebody_elses() {
    let finished = run_code("import os\ndef run():\n    os.kill(os.getpid(), 9)\n").await;
    assert_eq!(
        (finished.reason(), finished.outcome().signal),
        (Some(Reason::Signal), Some(libc::SIGKILL))
    );
    assert!(finished.message().contains("not by dropcron"), "{}", finished.message());
}

#[tokio::test]
async fn a_closed_result_channel_is_no_success() {
    let finished = run_code("import os\ndef run():\n    os.closerange(3, 4096)\n    return 1\n").await;
    assert_eq!(finished.reason(), Some(Reason::ResultLost), "{}", finished.describe());
}

#[tokio::test]
async fn a_bad_end_after_the_value_is_a_warning() {
    let finished =
        run_code("import atexit, os\ndef run():\n    atexit.register(os._exit, 9)\n    return 'done'\n").await;
    assert_eq!(
        (finished.outcome().status, finished.value()),
        (Status::Succeeded, "\"done\"")
    );
    assert_eq!(finished.outcome().exit_code, Some(9));
    assert!(
        finished.warned("code 9 after run() had returned"),
        "{}",
        finished.describe()
    );
}

// What a script finds.

#[tokio::test]
async fn a_script_finds_only_what_it_is_given() {
    let mut invocation = invocation(
        "import os, sys\ndef run():\n    return [sys.stdin.read(), os.readlink('/proc/self/fd/0'), os.getcwd(), sorted(os.environ)]\n",
    );
    invocation.environment.push(("GIVEN".into(), "yes".into()));
    invocation.working_directory = directory("elsewhere");
    let finished = run(&invocation).await;
    let value: Vec<serde_json::Value> = serde_json::from_str(finished.value()).unwrap();
    assert_eq!(value[0], "");
    assert_eq!(value[1], "/dev/null");
    assert_eq!(value[2], *invocation.working_directory.to_str().unwrap());
    let names: Vec<&str> = value[3]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|name| name.as_str())
        .collect();
    assert!(names.contains(&"GIVEN") && names.contains(&"PATH"), "{names:?}");
    assert!(
        !names.contains(&"HOME") && !names.contains(&"CARGO_MANIFEST_DIR"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_child_of_a_script_gets_no_descriptor_but_the_first_three() {
    // The shell's own list of open descriptors; `ls` adds the directory that it reads.
    let finished =
        run_code("import subprocess\ndef run():\n    return subprocess.run(['ls', '/proc/self/fd'], capture_output=True, close_fds=False, text=True).stdout.split()\n").await;
    let mut descriptors: Vec<String> = serde_json::from_str(finished.value()).unwrap();
    descriptors.sort();
    assert_eq!(descriptors, ["0", "1", "2", "3"]);
}

#[tokio::test]
async fn a_script_starts_with_every_signal_at_its_default() {
    let finished = run_code(
        "def run():\n    import subprocess\n    status = subprocess.run(['grep', '-E', '^Sig(Blk|Ign)', '/proc/self/status'], capture_output=True, restore_signals=False, text=True).stdout\n    return dict(line.split(':\\t') for line in status.split('\\n') if line)\n",
    )
    .await;
    let masks: std::collections::BTreeMap<String, String> = serde_json::from_str(finished.value()).unwrap();
    // Python itself ignores SIGPIPE (13) and SIGXFSZ (25); the C library lets nobody change its own two (32, 33).
    let ignored = u64::from_str_radix(&masks["SigIgn"], 16).unwrap() & !(1 << 12) & !(1 << 24) & !(0b11 << 31);
    assert_eq!(
        (ignored, u64::from_str_radix(&masks["SigBlk"], 16).unwrap()),
        (0, 0),
        "{masks:?}"
    );
}

#[tokio::test]
async fn limits_and_priority_hold() {
    let mut limited = invocation(
        "import os, resource\ndef run():\n    return [os.nice(0), resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CPU)]\n",
    );
    limited.limits = Limits {
        nice: Some(7),
        open_files: Some(200),
        cpu_seconds: Some(60),
        ..Limits::default()
    };
    let finished = run(&limited).await;
    assert_eq!(finished.value(), "[7,[200,200],[60,65]]", "{}", finished.describe());
    let in_force = finished.outcome().limits.unwrap();
    assert_eq!((in_force.limits, in_force.memory_by), (limited.limits, None));
    assert_eq!(run_code("def run(): pass").await.outcome().limits, None);
}

/// Two processes that touch 150 MiB each, and wait for each other.
const TWO_HOGS: &str = "\
import os, signal
def run():
    for _ in range(2):
        if os.fork() == 0:
            hog = bytearray(b'x') * (150 << 20)
            signal.pause()
    signal.pause()
";

#[tokio::test]
async fn a_tree_that_takes_more_memory_than_it_may_is_killed_with_the_figures() {
    let mut limited = invocation(TWO_HOGS);
    limited.limits.memory_bytes = Some(200 << 20);
    let finished = run(&limited).await;
    assert_eq!(finished.reason(), Some(Reason::OutOfMemory), "{}", finished.describe());
    let message = finished.message();
    assert!(
        message.contains("its limit is 200 MiB (`memory` in the header, held to by dropcron)"),
        "{message}"
    );
    let peak: u32 = message.split(' ').find_map(|word| word.parse().ok()).unwrap();
    assert!((200..=400).contains(&peak), "{message}");
    assert_eq!(finished.outcome().limits.unwrap().memory_by, Some(Enforcer::Keeper));
}

#[tokio::test]
async fn memory_that_a_tree_shares_counts_once() {
    // The children live through several looks of the keeper.
    let mut limited = invocation(
        "import os, signal, time\ndef run():\n    hog = bytearray(b'x') * (100 << 20)\n    children = []\n    for _ in range(4):\n        \
         pid = os.fork()\n        if pid == 0:\n            signal.pause()\n        children.append(pid)\n    until = time.monotonic() + 0.3\n    \
         while time.monotonic() < until: pass\n    for pid in children:\n        os.kill(pid, signal.SIGKILL)\n        os.waitpid(pid, 0)\n    return 'whole'\n",
    );
    limited.limits.memory_bytes = Some(250 << 20);
    let finished = run(&limited).await;
    assert_eq!(finished.value(), "\"whole\"", "{}", finished.describe());
}

#[tokio::test]
async fn one_process_cannot_outrun_the_watch_on_memory() {
    let mut limited = invocation("def run():\n    return len(bytearray(64 << 30))\n");
    limited.limits.memory_bytes = Some(64 << 20);
    let finished = run(&limited).await;
    assert_eq!(
        finished.outcome().error.as_ref().unwrap().kind,
        "MemoryError",
        "{}",
        finished.describe()
    );
}

#[tokio::test]
async fn a_tree_with_more_processes_than_it_may_have_is_killed() {
    let mut limited = invocation(
        "import os, signal\ndef run():\n    while True:\n        if os.fork() == 0:\n            signal.pause()\n",
    );
    limited.limits.processes = Some(8);
    limited.limits.memory_bytes = Some(2 << 30);
    let finished = run(&limited).await;
    assert_eq!(finished.reason(), Some(Reason::Signal), "{}", finished.describe());
    assert_eq!(finished.outcome().error.as_ref().unwrap().kind, "too_many_processes");
    assert!(
        finished
            .message()
            .contains("its limit is 8 (`processes` in the header)"),
        "{}",
        finished.message()
    );
}

#[tokio::test]
async fn cpu_time_that_is_used_up_is_named() {
    let mut limited = invocation("def run():\n    while True: pass\n");
    limited.limits.cpu_seconds = Some(1);
    let finished = run(&limited).await;
    assert_eq!(finished.reason(), Some(Reason::Signal), "{}", finished.describe());
    assert_eq!(
        finished.message(),
        "killed: a process of it used up 1 s of CPU time (`cpu_seconds` in the header)"
    );
}

/// A hierarchy of control groups to write in, if there is one here: for root, the machine's own.
fn control_group_root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let mount = mounts
        .lines()
        .find(|line| line.contains(" - cgroup2 "))
        .and_then(|line| line.split(' ').nth(4))?;
    let place = Path::new(mount).join(format!("dropcron-test-{}", std::process::id()));
    fs::create_dir(&place).ok()?;
    Some(place)
}

#[tokio::test]
async fn a_run_has_a_control_group_and_what_a_dead_keeper_leaves_dies_with_it() {
    let Some(place) = control_group_root() else {
        eprintln!("skipped: no hierarchy of cgroup v2 can be written here");
        return;
    };
    let groups = ControlGroups::prepare(Some(&place)).unwrap().unwrap();
    let executor = executor().in_groups(Some(groups.clone()));
    let finished = spawn_by(
        &executor,
        &invocation("def run():\n    return open('/proc/self/cgroup').read()\n"),
    )
    .go()
    .end()
    .await;
    let own = format!("dropcron-{}/0\\n", std::process::id());
    assert!(finished.value().contains(&own), "{}", finished.describe());

    // A daemon of another session that has lost its parents: only its group still leads to it.
    let mut running = spawn_by(
        &executor,
        &invocation(
            "import os, signal\ndef run():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            print('daemon', os.getpid(), flush=True)\n            \
             signal.pause()\n        os._exit(0)\n    os.wait()\n    print('script', os.getpid(), flush=True)\n    signal.pause()\n",
        ),
    )
    .go();
    let daemon = pid(running.number_after("daemon ").await);
    let script = pid(running.number_after("script ").await);
    kill_process(keeper_of(script), Signal::KILL).unwrap();
    let finished = running.end().await;
    assert_eq!(finished.reason(), Some(Reason::KeeperGone), "{}", finished.describe());
    wait_until_gone(daemon);
    let left: Vec<_> = fs::read_dir(groups.directory())
        .unwrap()
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .collect();
    assert!(left.is_empty(), "{left:?}");
    drop((executor, groups));
    fs::remove_dir(place).expect("nothing is left in it");
}

#[test]
fn a_place_that_is_no_control_group_is_refused_by_name() {
    let error = ControlGroups::prepare(Some(&directory("no-group")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no-group") && error.contains("`none`"), "{error}");
}

// What a script leaves behind.

#[tokio::test]
async fn a_daemon_does_not_outlive_its_run() {
    let finished = run_code(
        r"
import os, time
def run():
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork():
            os._exit(0)
        os.write(writer, b'%d' % os.getpid())
        while True:
            time.sleep(1000)
    os.wait()
    return int(os.read(reader, 20))
",
    )
    .await;
    assert_eq!(finished.outcome().status, Status::Succeeded, "{}", finished.describe());
    assert!(finished.warned("left a process behind"), "{}", finished.describe());
    assert!(!is_alive(pid(finished.value().parse().unwrap())));
}

/// Each link starts the next one in a session of its own and leaves, as fast as it can.
const CHAIN: &str = r"
import os
def run():
    if os.fork() == 0:
        link = 0
        while True:
            os.setsid()
            if os.fork():
                os._exit(0)
            link += 1
            if link == 50:
                open('linked', 'w').close()
    while not os.path.exists('linked'):
        pass
    return 1
";

#[tokio::test]
async fn a_chain_of_forks_is_caught() {
    let finished = run_code(CHAIN).await;
    assert_eq!(finished.outcome().status, Status::Succeeded, "{}", finished.describe());
}

#[tokio::test]
async fn a_tree_that_ignores_the_request_is_killed() {
    let mut stubborn = invocation(
        r"
import os, signal, subprocess, sys, time
def run():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, '-c', 'import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(1000)'],
                             start_new_session=True, stdout=subprocess.PIPE)
    child.stdout.readline()
    print('child', child.pid, flush=True)
    print('script', os.getpid(), flush=True)
    while True:
        time.sleep(1000)
",
    );
    stubborn.grace = Duration::from_millis(300);
    let mut running = spawn(&stubborn).go();
    let (child, script) = (
        running.number_after("child").await,
        running.number_after("script").await,
    );
    running.stop.send_replace(Some(Stop::Replaced));
    let finished = running.end().await;
    assert_eq!(
        (finished.outcome().status, finished.reason()),
        (Status::Cancelled, Some(Reason::Replaced))
    );
    assert_eq!(finished.outcome().signal, Some(libc::SIGKILL));
    assert!(!is_alive(pid(child)) && !is_alive(pid(script)));
}

// How a run is stopped.

#[tokio::test]
async fn a_request_to_stop_runs_what_stands_in_finally() {
    let sync = "import time\ndef run():\n    try:\n        print('at', 1, flush=True)\n        time.sleep(1000)\n    finally:\n        print('cleaned up', flush=True)\n";
    let asynchronous = "import asyncio\nasync def run():\n    try:\n        print('at', 1, flush=True)\n        await asyncio.sleep(1000)\n    finally:\n        print('cleaned up', flush=True)\n";
    for (code, is_async) in [(sync, false), (asynchronous, true)] {
        let mut invocation = invocation(code);
        invocation.is_async = is_async;
        let mut running = spawn(&invocation).go();
        running.number_after("at").await;
        running.stop.send_replace(Some(Stop::Requested));
        let finished = running.end().await;
        assert_eq!(finished.reason(), Some(Reason::Requested), "{}", finished.describe());
        assert!(finished.text.contains("cleaned up\n"), "{}", finished.describe());
    }
}

#[tokio::test]
async fn a_timeout_keeps_what_was_printed() {
    let mut slow = invocation("import time\ndef run():\n    print('half', end='', flush=True)\n    time.sleep(1000)\n");
    slow.timeout = Some(Duration::from_secs(2));
    let finished = run(&slow).await;
    assert_eq!(
        (finished.outcome().status, finished.reason()),
        (Status::TimedOut, Some(Reason::Timeout))
    );
    assert!(finished.text.starts_with("half"), "{}", finished.describe());
    assert!(finished.message().contains("2 s"), "{}", finished.message());
}

#[tokio::test]
async fn a_second_request_kills_at_once() {
    // With a grace as long as the guard, only the second request can end it in time.
    let mut running = spawn(&invocation(
        "import os, signal, time\ndef run():\n    signal.signal(15, lambda *_: print('asked', 1, flush=True))\n    print('script', os.getpid(), flush=True)\n    while True:\n        time.sleep(1000)\n",
    ))
    .go();
    running.number_after("script").await;
    running.stop.send_replace(Some(Stop::Shutdown));
    running.number_after("asked").await;
    running.stop.send_replace(Some(Stop::Shutdown));
    let finished = running.end().await;
    assert_eq!(
        (finished.reason(), finished.outcome().signal),
        (Some(Reason::Shutdown), Some(libc::SIGKILL))
    );
}

#[tokio::test]
async fn a_value_counts_although_the_process_hangs() {
    let mut hanging = invocation(
        "import threading, time\ndef run():\n    threading.Thread(target=time.sleep, args=(1000,)).start()\n    return 'done'\n",
    );
    hanging.linger = Duration::from_millis(200);
    hanging.grace = Duration::from_millis(200);
    let finished = run(&hanging).await;
    assert_eq!(
        (finished.outcome().status, finished.value()),
        (Status::Succeeded, "\"done\"")
    );
    assert!(
        finished.warned("had not ended 0.2 s after run() returned"),
        "{}",
        finished.describe()
    );
}

#[tokio::test]
async fn a_run_that_is_stopped_before_its_go_never_starts() {
    let invocation = invocation("open('started', 'w').close()\ndef run():\n    pass\n");
    let spawned = spawn(&invocation);
    spawned.stop.send_replace(Some(Stop::Requested));
    let finished = spawned.go().end().await;
    assert_eq!(
        (finished.outcome().status, finished.reason()),
        (Status::Cancelled, Some(Reason::Requested))
    );
    assert!(!invocation.working_directory.join("started").exists());
}

#[tokio::test]
async fn nothing_of_a_script_runs_before_the_go() {
    let invocation = invocation("open('started', 'w').close()\ndef run():\n    return 1\n");
    let started = invocation.working_directory.join("started");
    let mut spawned = spawn(&invocation);
    tokio::time::timeout(GUARD, spawned.booting.ready()).await.unwrap();
    assert!(!started.exists());
    tokio::time::timeout(GUARD, spawned.booting.abandon()).await.unwrap();
    assert!(!started.exists());
    let mut spawned = spawn(&invocation);
    tokio::time::timeout(GUARD, spawned.booting.ready()).await.unwrap();
    assert_eq!(spawned.go().end().await.value(), "1");
    assert!(started.exists());
}

#[tokio::test]
async fn the_go_may_come_before_the_shim_is_up() {
    // `run` without `ready`: the keeper has hardly been started.
    assert_eq!(run_code("def run():\n    return 1\n").await.value(), "1");
}

// Whoever holds the run goes away.

const FAMILY: &str = r"
import os, subprocess, time
def run():
    child = subprocess.Popen(['sleep', '1000'], start_new_session=True)
    print('child', child.pid, flush=True)
    print('script', os.getpid(), flush=True)
    time.sleep(1000)
";

#[tokio::test]
async fn letting_go_of_a_run_kills_it() {
    let mut running = spawn(&invocation(FAMILY)).go();
    let (child, script) = (
        running.number_after("child").await,
        running.number_after("script").await,
    );
    running.task.abort();
    assert!(running.task.await.unwrap_err().is_cancelled());
    wait_until_gone(pid(child));
    wait_until_gone(pid(script));
}

#[test]
fn killing_the_scheduler_kills_its_runs() {
    // `cat` stands for the scheduler: it holds the only other end of the leash, and dies without a word.
    let (leash_end, leash) = std::io::pipe().unwrap();
    let mut holder = Command::new("cat").stdin(Stdio::piped()).stdout(leash).spawn().unwrap();
    let script = "sleep 1000 & setsid sleep 1000 & echo $$ $!; wait";
    let mut keeper = Command::new(DROPCRON)
        .args(["keep", "--", "/bin/sh", "-c", script])
        .stdin(leash_end)
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut records = keeper.stdout.take().unwrap();
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        let mut byte = [0];
        records.read_exact(&mut byte).unwrap();
        line.push(byte[0]);
    }
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(keeper.wait().unwrap().success());
    let pids = String::from_utf8(line).unwrap();
    assert!(
        pids.split_ascii_whitespace()
            .all(|number| !is_alive(pid(number.parse().unwrap()))),
        "{pids}"
    );
}

#[tokio::test]
async fn a_killed_keeper_takes_its_run_along() {
    become_subreaper().unwrap();
    let mut running = spawn(&invocation(FAMILY)).go();
    let (child, script) = (
        running.number_after("child").await,
        running.number_after("script").await,
    );
    // Ends by itself when this test lets go of its input.
    let mut bystander = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    kill_process(keeper_of(pid(script)), Signal::KILL).unwrap();
    let finished = running.end().await;
    assert_eq!(
        (finished.outcome().status, finished.reason()),
        (Status::Lost, Some(Reason::KeeperGone))
    );
    // Gone without a trace: not even a zombie is left.
    assert!(!Path::new(&format!("/proc/{child}")).exists());
    assert!(!Path::new(&format!("/proc/{script}")).exists());
    assert!(
        bystander.try_wait().unwrap().is_none(),
        "a child that is none of the keeper's was ended"
    );
    drop(bystander.stdin.take());
    assert!(bystander.wait().unwrap().success());
}

#[tokio::test]
async fn a_stopped_keeper_still_obeys() {
    let mut running = spawn(&invocation(FAMILY)).go();
    let script = pid(running.number_after("script").await);
    kill_process(keeper_of(script), Signal::STOP).unwrap();
    running.stop.send_replace(Some(Stop::Requested));
    assert_eq!(running.end().await.reason(), Some(Reason::Requested));
    assert!(!is_alive(script));
}

// What a script prints.

#[tokio::test]
async fn a_flood_is_cut_and_counted() {
    let finished = run_code(
        "import os\ndef run():\n    block = b'\\xfe' * 65536\n    for _ in range(1600):\n        view = block\n        while view:\n            view = view[os.write(1, view):]\n    return 'swam'\n",
    )
    .await;
    assert_eq!(finished.value(), "\"swam\"");
    assert_eq!(finished.ended.output.bytes_seen, 1600 * 65536);
    assert!(finished.text.len() < 20 * 1024, "{}", finished.text.len());
    assert!(finished.text.contains("bytes of this line were left out]"));
}

#[tokio::test]
async fn beginning_and_end_of_much_output_are_kept() {
    let finished = run_code("def run():\n    for number in range(1000000):\n        print('line', number)\n").await;
    assert!(finished.text.starts_with("line 0\nline 1\n"));
    assert!(finished.text.ends_with("line 999998\nline 999999\n"));
    let left_out = finished.ended.output.bytes_dropped;
    assert!(left_out > 0);
    assert!(
        finished
            .text
            .contains(&format!("[dropcron: {left_out} bytes of output were left out here]\n"))
    );
}

#[tokio::test]
async fn what_is_no_text_becomes_text() {
    let finished =
        run_code("import os\ndef run():\n    os.write(1, b'gr\\xc3')\n    os.write(2, b'\\xbcn \\xff\\x00 end')\n")
            .await;
    assert_eq!(finished.text, "grün \u{fffd}\u{fffd} end");
}

// Many, and none.

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_runs_at_once_do_not_meet() {
    let runs: Vec<_> = (0..64)
        .map(|number| {
            let mut invocation = invocation("def run(number):\n    print('number', number)\n    return number\n");
            invocation.arguments = format!(r#"{{"number": {number}}}"#);
            tokio::spawn(async move { run(&invocation).await })
        })
        .collect();
    for (number, finished) in runs.into_iter().enumerate() {
        let finished = finished.await.unwrap();
        assert_eq!(finished.value(), number.to_string(), "{}", finished.describe());
        assert_eq!(finished.text, format!("number {number}\n"));
    }
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let nothing = invocation("def run():\n    pass\n");
    let mut missing = interpreter().clone();
    missing.path = "/nonexistent/python3".into();
    let (sender, _output) = output_channel(OutputLimits::default());
    let booting = executor().spawn(&missing, &nothing, sender).unwrap();
    let ended = tokio::time::timeout(GUARD, booting.run(watch::channel(None).1))
        .await
        .unwrap();
    assert_eq!(ended.outcome.reason, Some(Reason::SpawnFailed));
    assert!(
        ended
            .outcome
            .error
            .unwrap()
            .message
            .contains("`/nonexistent/python3` is not there")
    );

    let mut nowhere = invocation("def run():\n    pass\n");
    nowhere.working_directory = "/nonexistent/directory".into();
    let finished = run(&nowhere).await;
    assert_eq!(finished.reason(), Some(Reason::SpawnFailed));
    assert!(
        finished
            .message()
            .contains("`/nonexistent/directory` cannot be entered"),
        "{}",
        finished.message()
    );

    let (sender, _output) = output_channel(OutputLimits::default());
    let error = Executor::with_keeper("/nonexistent/dropcron".into())
        .spawn(interpreter(), &nothing, sender)
        .unwrap_err();
    assert_eq!(error.into_outcome().reason, Some(Reason::SpawnFailed));

    let mut wordy = invocation("def run(text):\n    pass\n");
    wordy.arguments = format!(r#"{{"text": "{}"}}"#, "x".repeat(200_000));
    let (sender, _output) = output_channel(OutputLimits::default());
    let error = executor().spawn(interpreter(), &wordy, sender).unwrap_err();
    assert!(error.to_string().contains("longer than the kernel takes"), "{error}");
}

#[test]
fn the_keeper_does_not_wait_for_a_reader_that_is_gone() {
    let (leash_end, mut leash) = std::io::pipe().unwrap();
    let (records, records_end) = std::io::pipe().unwrap();
    let mut keeper = Command::new(DROPCRON)
        .args(["keep", "--", "/bin/sh", "-c", "read go"])
        .stdin(leash_end)
        .stdout(records_end)
        .process_group(0)
        .spawn()
        .unwrap();
    drop(records);
    // Killing the shell makes the keeper write its record, which nobody can read.
    leash.write_all(b"K").unwrap();
    assert!(keeper.wait().unwrap().success());
}

// Which interpreter.

/// A program that says nothing but what the script says.
fn program(directory: &Path, name: &str, script: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = directory.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_wrapper_is_seen_through() {
    let programs = directory("programs");
    let real = &interpreter().path;
    program(
        &programs,
        "python3.99",
        "echo python3.99 is not installed >&2; exit 127",
    );
    program(
        &programs,
        "python3.98",
        &format!("echo chatter; exec {} \"$@\"", real.display()),
    );
    program(&programs, "python3-config", "exit 1");
    let found = Interpreter::find(None, Some(programs.as_os_str()), &directory("data")).unwrap();
    assert_eq!(&found.path, real);
    assert_eq!(found.version_info, interpreter().version_info);
    assert_eq!(found.shim.extension(), Some(OsStr::new("pyc")));
    let again = Interpreter::find(
        Some(OsStr::new("python3.98")),
        Some(programs.as_os_str()),
        &directory("data"),
    )
    .unwrap();
    assert_eq!(again.path, found.path);
}

#[test]
fn what_is_no_usable_interpreter_is_named() {
    let programs = directory("programs");
    let find = |name: &str| {
        Interpreter::find(Some(OsStr::new(name)), Some(programs.as_os_str()), &directory("data")).unwrap_err()
    };
    assert!(matches!(find("python7"), InterpreterError::NotThere { .. }));
    assert!(matches!(
        find("/nonexistent/python3"),
        InterpreterError::NotThere { .. }
    ));
    program(&programs, "tool", "echo unknown option >&2; exit 2");
    assert!(find("tool").to_string().contains("it says: unknown option"));
    program(
        &programs,
        "python3",
        "printf 'dropcron-probe\\n3.8.1\\ncpython-38\\n550d0d0a\\n/usr/bin/python3.8\\n'",
    );
    assert!(
        find("python3")
            .to_string()
            .contains("is Python 3.8.1, and 3.9 or newer is needed")
    );
    let error = Interpreter::find(None, Some(programs.as_os_str()), &directory("data"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no Python 3.9 or newer") && error.contains("is 3.8.1") && error.contains("apt install"),
        "{error}"
    );
}

// What files hold.

fn inspect_request(directory: &Path, name: &str, code: &str) -> InspectRequest {
    let path = directory.join(name);
    fs::write(&path, code).unwrap();
    InspectRequest {
        code: path.clone(),
        path,
    }
}

#[test]
fn many_files_are_inspected_at_once_and_none_is_run() {
    let scripts = directory("scripts");
    let mut files = vec![
        inspect_request(
            &scripts,
            "sync.py",
            "'''Says hello.'''\nopen('started', 'w').close()\ndef run(city, *, days=3):\n    pass\n",
        ),
        inspect_request(&scripts, "async.py", "async def run():\n    pass\n"),
        inspect_request(&scripts, "library.py", "def help():\n    pass\n"),
        inspect_request(&scripts, "broken.py", "def run(:\n    pass\n"),
    ];
    files.extend(
        (0..500).map(|number| inspect_request(&scripts, &format!("more{number}.py"), "def run():\n    pass\n")),
    );
    let inspections = interpreter().inspect(&files).unwrap();
    assert_eq!(inspections.len(), files.len());
    let run = inspections[0].run.as_ref().unwrap();
    assert_eq!((run.is_async, run.line), (Some(false), Some(3)));
    let parameters: Vec<_> = run
        .parameters
        .as_ref()
        .unwrap()
        .iter()
        .map(|parameter| (parameter.name.as_str(), parameter.required))
        .collect();
    assert_eq!(parameters, [("city", true), ("days", false)]);
    assert_eq!(inspections[0].docstring.as_deref(), Some("Says hello."));
    assert_eq!(inspections[1].run.as_ref().unwrap().is_async, Some(true));
    assert_eq!(inspections[2].run, None);
    assert_eq!(inspections[3].problem.as_ref().unwrap().line, Some(1));
    assert!(inspections[4..].iter().all(|inspection| inspection.run.is_some()));
    assert!(!scripts.join("started").exists() && !Path::new("started").exists());
}
