//! The keeper: the small process that holds a run's process tree (`dropcron keep`, hidden).
//!
//! Owns starting the script's process, ending everything that descends from it, and reporting how it went. Knows nothing
//! of Python, tasks or results. Between `process`, which holds its leash, and the script, which it outlives.
//!
//! Descriptor 0 is the leash (`keep_protocol`), 1 takes the records and is the script's standard output, 2 is the script's
//! standard error. The keeper has one thread, so it may fork, and the death signal of its child cannot fire for a thread.
//! Its start is on the path of every run: no argument parser, no runtime, nothing that is not needed.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal};
use serde::Serialize;

use super::control_group::ControlGroup;
use super::keep_protocol::{
    Breach, ExitRecord, GO, KILL, KeepOrder, LimitedResource, NODE_MARK, ResourceLimit, TERMINATE, VARIABLE_PREFIX,
    frame,
};
use super::process_tree::{self, ProcessState};
use super::script_user;
use super::watch::{self, Watch};
use crate::run::Enforcer;

/// How much likelier than others a script is to be chosen when memory runs out: it can be run again, the scheduler and
/// the database cannot be missed. Half of the scale, so that a far larger hog elsewhere is still taken first.
const OUT_OF_MEMORY_SCORE: &str = "500";
/// Between two looks at a tree that will not die: doubled up to the second figure, for processes in uninterruptible sleep.
const KILL_INTERVALS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(200));
/// Seconds of CPU time from SIGXCPU to SIGKILL.
const CPU_PATIENCE: u64 = 5;
/// The code of a child that could not become the program; the record says why.
const NOT_STARTED: i32 = 127;

/// Runs the keeper; `line` is what stands behind `keep`.
pub fn main(line: impl Iterator<Item = OsString>) -> ExitCode {
    let order = match KeepOrder::parse(line) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("dropcron keep: {error}; dropcron starts this command itself, for each run");
            return ExitCode::from(2);
        }
    };
    match Keeper::start(&order) {
        Ok(mut keeper) => {
            keeper.keep();
            write_record(&frame("exit", &keeper.into_report()));
        }
        Err(error) => write_record(&spawn_failed(&format!("the keeper could not start a process: {error}"))),
    }
    ExitCode::SUCCESS
}

/// One run's process tree.
struct Keeper {
    /// The keeper's own session.
    session: i32,
    /// The script's own process.
    script: Pid,
    /// The script's standard input, until the go.
    go: Option<OwnedFd>,
    /// Becomes readable when a child ends.
    child_ended: OwnedFd,
    leash_open: bool,
    grace: Duration,
    phase: Phase,
    script_ended: bool,
    report: ExitRecord,
    cpu: Duration,
    killed: HashSet<Pid>,
    group: Option<ControlGroup>,
    watch: Watch,
    look_at: Instant,
    kills_for_memory: Option<u64>,
}

/// What the keeper is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Let the script work.
    Watching,
    /// All were asked to end.
    Terminating { kill_at: Instant },
    /// Whatever is still there dies.
    Killing { look_again: Duration },
}

/// Whether there is something left that the keeper can do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Possible,
    OutOfReach,
}

impl Keeper {
    fn start(order: &KeepOrder) -> io::Result<Keeper> {
        close_inherited_descriptors();
        // `ps` and `top` would show `exe` otherwise.
        rustix::thread::set_name(c"dropcron-keep")?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let child_ended = take_signals()?;
        let (script_input, go) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut report = ExitRecord::default();
        let group = order
            .control_group
            .as_deref()
            .and_then(|path| ControlGroup::make(path).ok());
        let watch = hold_to_limits(order, group.as_ref(), &mut report);
        let kills_for_memory = kills_for_memory();
        let script = fork_script(order, script_input, group.as_ref(), watch)?;
        Ok(Keeper {
            session: ProcessState::of(rustix::process::getpid()).map_or(0, |state| state.session),
            script,
            go: Some(go),
            child_ended,
            leash_open: true,
            grace: order.grace,
            phase: Phase::Watching,
            script_ended: false,
            report,
            cpu: Duration::ZERO,
            killed: HashSet::new(),
            group,
            watch,
            look_at: Instant::now() + watch::INTERVAL,
            kills_for_memory,
        })
    }

    /// Waits until the script's process and everything that came from it is gone.
    fn keep(&mut self) {
        loop {
            let children_left = self.reap();
            if self.script_ended && !children_left || self.advance() == Progress::OutOfReach {
                break;
            }
            self.wait();
        }
    }

    /// What is to be told of it all. The group goes.
    fn into_report(mut self) -> ExitRecord {
        self.report.killed = u32::try_from(self.killed.len()).unwrap_or(u32::MAX);
        self.report.cpu_ms = i64::try_from(self.cpu.as_millis()).unwrap_or(i64::MAX);
        if let Some(group) = self.group.take() {
            if self.report.breach.is_none() && group.ran_out_of_memory() {
                let peak_kb = group.peak_kb();
                self.report.breach = Some(Breach::Memory { peak_kb });
            }
            group.remove();
        }
        // Only where it may explain something: the figure is of the whole machine, or of all of a container.
        let unexplained = self.report.signal == Some(libc::SIGKILL) && self.report.breach.is_none();
        self.report.machine_out_of_memory = unexplained && kills_for_memory() > self.kills_for_memory;
        self.report
    }

    /// Takes the ends of all children that ended. Says whether there are others.
    fn reap(&mut self) -> bool {
        loop {
            let (pid, status, usage) = match wait_for_any_child() {
                Ok(Some(ended)) => ended,
                Ok(None) => break true,
                Err(_) => break false,
            };
            self.report.max_rss_kb = self.report.max_rss_kb.max(usage.ru_maxrss);
            self.cpu += duration(usage.ru_utime) + duration(usage.ru_stime);
            if pid == self.script.as_raw_pid() {
                self.script_has_ended(status);
            }
        }
    }

    fn script_has_ended(&mut self, status: i32) {
        self.script_ended = true;
        self.go = None;
        self.report.code = libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status));
        self.report.signal = libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status));
        self.report.left = u32::try_from(living_descendants().len()).unwrap_or(u32::MAX);
        // What was asked to end keeps its grace; what was merely left behind has none.
        if self.phase == Phase::Watching {
            self.kill();
        }
    }

    fn advance(&mut self) -> Progress {
        if self.phase == Phase::Watching && self.watch.is_needed() && Instant::now() >= self.look_at {
            self.look();
        }
        match self.phase {
            Phase::Terminating { kill_at } if Instant::now() >= kill_at => self.kill(),
            Phase::Killing { look_again } => {
                let reached = self.kill_children();
                if !reached && self.script_ended && look_again >= KILL_INTERVALS.1 {
                    // What became another user's (`sudo`) is beyond our signals; waiting for it could take for ever.
                    self.report.escaped = u32::try_from(living_descendants().len()).unwrap_or(u32::MAX);
                    return Progress::OutOfReach;
                }
                self.phase = Phase::Killing {
                    look_again: (look_again * 2).min(KILL_INTERVALS.1),
                };
            }
            _ => {}
        }
        Progress::Possible
    }

    /// Ends the tree if it goes beyond its limits.
    fn look(&mut self) {
        self.look_at = Instant::now() + watch::INTERVAL;
        let tree = process_tree::descendants(rustix::process::getpid());
        if let Some(breach) = self.watch.look(&tree) {
            self.report.breach = Some(breach);
            self.kill();
        }
    }

    /// Sleeps until the leash, a child or the clock asks for something.
    fn wait(&mut self) {
        let timeout = match self.phase {
            Phase::Watching if self.watch.is_needed() => Some(self.look_at.saturating_duration_since(Instant::now())),
            Phase::Watching => None,
            Phase::Terminating { kill_at } => Some(kill_at.saturating_duration_since(Instant::now())),
            Phase::Killing { look_again } => Some(look_again),
        };
        let leash = rustix::stdio::stdin();
        let mut waited_for = [
            PollFd::new(&self.child_ended, PollFlags::IN),
            PollFd::new(&leash, PollFlags::IN),
        ];
        let count = if self.leash_open { 2 } else { 1 };
        // Only an interrupted wait can fail, and the caller looks at everything again anyway.
        let _ = poll(&mut waited_for[..count], timeout.map(timespec).as_ref());
        let leash_speaks = self.leash_open && !waited_for[1].revents().is_empty();
        // Emptied before the next reaping, or an end between the two would be slept through.
        drain(&self.child_ended);
        if leash_speaks {
            self.obey();
        }
    }

    fn obey(&mut self) {
        let mut commands = [0; 16];
        match rustix::io::read(rustix::stdio::stdin(), &mut commands) {
            Ok(0) => {
                self.leash_open = false;
                self.kill();
            }
            Ok(count) => commands[..count].iter().for_each(|command| self.follow(*command)),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(_) => {
                self.leash_open = false;
                self.kill();
            }
        }
    }

    fn follow(&mut self, command: u8) {
        match command {
            GO => {
                if let Some(go) = self.go.take() {
                    // A script that is gone already is met at the next reaping.
                    let _ = rustix::io::write(&go, &[GO]);
                }
            }
            TERMINATE if self.phase == Phase::Watching => {
                self.phase = Phase::Terminating {
                    kill_at: Instant::now() + self.grace,
                };
                terminate_descendants();
            }
            KILL => self.kill(),
            _ => {}
        }
    }

    fn kill(&mut self) {
        if !matches!(self.phase, Phase::Killing { .. }) {
            self.phase = Phase::Killing {
                look_again: KILL_INTERVALS.0,
            };
        }
        if let Some(group) = &self.group {
            group.kill();
        }
        self.kill_children();
    }

    /// Kills the keeper's own children only: nobody else reaps them, so their ids cannot have passed to strangers. The
    /// children of those come to the keeper, as their subreaper, and are met at the next look. Says whether any child
    /// could be reached.
    fn kill_children(&mut self) -> bool {
        let mut reached = false;
        for child in process_tree::children(rustix::process::getpid()) {
            let state = ProcessState::of(child);
            // A group dies in one stroke that no fork can outrun. A session other than ours came from the script whole.
            let group = state
                .filter(|state| state.session != self.session)
                .and_then(|state| Pid::from_raw(state.group));
            if let Some(group) = group {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            if rustix::process::kill_process(child, Signal::KILL).is_ok() {
                reached = true;
                if state.is_some_and(|state| state.state != 'Z') {
                    self.killed.insert(child);
                }
            }
        }
        reached
    }
}

/// Asks all descendants to end, once each.
fn terminate_descendants() {
    let keeper = rustix::process::getpid();
    let descendants = process_tree::descendants(keeper);
    let ours: HashSet<i32> = descendants
        .iter()
        .chain([&keeper])
        .map(|pid| pid.as_raw_pid())
        .collect();
    for pid in descendants {
        let Ok(descendant) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
            continue;
        };
        // Its parent may have reaped it since the walk, and its id may have passed to a stranger. Its parent may also
        // have died of the request, and left it to the keeper.
        if ProcessState::of(pid).is_some_and(|state| ours.contains(&state.parent)) {
            let _ = rustix::process::pidfd_send_signal(&descendant, Signal::TERM);
            // A stopped process would sleep through the request.
            let _ = rustix::process::pidfd_send_signal(&descendant, Signal::CONT);
        }
    }
}

fn living_descendants() -> Vec<Pid> {
    let mut descendants = process_tree::descendants(rustix::process::getpid());
    descendants.retain(|pid| ProcessState::of(*pid).is_some_and(|state| state.state != 'Z'));
    descendants
}

/// Limits the tree by its group as far as the kernel does that; what is left to be watched.
fn hold_to_limits(order: &KeepOrder, group: Option<&ControlGroup>, report: &mut ExitRecord) -> Watch {
    let memory_by = order.memory_bytes.map(|bytes| {
        let by_group = group.is_some_and(|group| group.limit_memory(bytes).is_ok());
        enforcer(by_group)
    });
    let processes_by = order.processes.map(|count| {
        let by_group = group.is_some_and(|group| group.limit_processes(count).is_ok());
        enforcer(by_group)
    });
    (report.memory_by, report.processes_by) = (memory_by, processes_by);
    Watch {
        memory_bytes: order.memory_bytes.filter(|_| memory_by == Some(Enforcer::Keeper)),
        processes: order.processes.filter(|_| processes_by == Some(Enforcer::Keeper)),
    }
}

fn enforcer(by_group: bool) -> Enforcer {
    if by_group {
        Enforcer::ControlGroup
    } else {
        Enforcer::Keeper
    }
}

/// How many processes this kernel has killed for want of memory so far.
fn kills_for_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/vmstat").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok())
}

/// Starts the script's process. Comes back in the keeper only.
fn fork_script(order: &KeepOrder, input: OwnedFd, group: Option<&ControlGroup>, watch: Watch) -> io::Result<Pid> {
    let keeper = rustix::process::getpid();
    // SAFETY: the keeper has one thread, so the child finds no lock held and may do whatever a process may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let error = become_script(order, input, keeper, group, watch);
            write_record(&spawn_failed(&error));
            // SAFETY: ends this process at once; what would run at exit belongs to the keeper.
            unsafe { libc::_exit(NOT_STARTED) }
        }
        pid => Ok(Pid::from_raw(pid).expect("fork gives the parent a pid above zero")),
    }
}

/// Turns the forked process into the program. Comes back only with what kept it from it.
fn become_script(order: &KeepOrder, input: OwnedFd, keeper: Pid, group: Option<&ControlGroup>, watch: Watch) -> String {
    if let Err(error) = set_up(order, keeper, group, watch) {
        return error;
    }
    let mut command = Command::new(&order.program);
    command
        .args(&order.arguments)
        .stdin(input)
        .env_clear()
        .envs(given_variables());
    let error = command.exec();
    let program = order.program.to_string_lossy();
    match error.raw_os_error() {
        Some(libc::ENOENT) => format!("`{program}` is not there: {error}"),
        _ => format!("`{program}` could not be started: {error}"),
    }
}

/// The environment of the script: what was given to it, and the mark by which the scheduler knows its processes.
fn given_variables() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter_map(|(name, value)| {
        let given = name.as_encoded_bytes().strip_prefix(VARIABLE_PREFIX.as_bytes());
        match given {
            Some(name) => Some((OsStr::from_bytes(name).to_owned(), value)),
            None => (name == NODE_MARK).then_some((name, value)),
        }
    })
}

/// Everything that makes the process the script's own. Order matters: what needs privileges comes before they are dropped.
fn set_up(order: &KeepOrder, keeper: Pid, group: Option<&ControlGroup>, watch: Watch) -> Result<(), String> {
    die_with(keeper)?;
    // Away from the keeper's session: no terminal, and groups that can be killed whole.
    rustix::process::setsid().map_err(|error| format!("no session of its own: {error}"))?;

    if let Some(group) = group {
        group
            .join()
            .map_err(|error| format!("its control group cannot be joined: {error}"))?;
    }
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    set_priority(order.nice)?;
    order.limits.iter().try_for_each(set_limit)?;
    let bounds = [
        (LimitedResource::Data, watch.data_limit()),
        (LimitedResource::Processes, watch.process_limit()),
    ];
    for (resource, value) in bounds {
        if let Some(value) = value {
            set_limit(&ResourceLimit { resource, value })?;
        }
    }

    if let Some(identity) = &order.identity {
        identity
            .assume()
            .map_err(|error| format!("user {} cannot be assumed: {error}", identity.uid))?;
        // The kernel forgets it with the change of user.
        die_with(keeper)?;
    }
    if order.no_new_privileges {
        rustix::thread::set_no_new_privs(true).map_err(|error| format!("no_new_privs was refused: {error}"))?;
    }
    if order.identity.as_ref().is_some_and(|identity| identity.uid != 0) {
        // Where the kernel has no Landlock, the scheduler says so at its start.
        script_user::hide_others();
    }
    if let Some(directory) = &order.directory {
        std::env::set_current_dir(directory).map_err(|error| {
            format!(
                "the working directory `{}` cannot be entered: {error}",
                directory.display()
            )
        })?;
    }
    restore_signals();
    Ok(())
}

/// Has the kernel kill this process when the keeper dies.
fn die_with(keeper: Pid) -> Result<(), String> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("no death signal: {error}"))?;
    // The keeper may have died before the request.
    if rustix::process::getppid() != Some(keeper) {
        return Err("the keeper is gone".to_owned());
    }
    Ok(())
}

fn set_priority(nice: Option<i32>) -> Result<(), String> {
    let Some(nice) = nice else { return Ok(()) };
    // Where the kernel groups processes by session for the scheduler, a priority holds within the session only.
    let _ = std::fs::write("/proc/self/autogroup", nice.to_string());
    rustix::process::setpriority_process(None, nice)
        .map_err(|error| format!("priority {nice} was refused: {error}; below 0 takes CAP_SYS_NICE"))
}

fn set_limit(limit: &ResourceLimit) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let resource = match limit.resource {
        LimitedResource::Data => Resource::Data,
        LimitedResource::Cpu => Resource::Cpu,
        LimitedResource::OpenFiles => Resource::Nofile,
        LimitedResource::Processes => Resource::Nproc,
    };
    // A process that does not heed the signal at its limit of CPU time is killed a little later.
    let patience = if limit.resource == LimitedResource::Cpu {
        CPU_PATIENCE
    } else {
        0
    };
    setrlimit(
        resource,
        Rlimit {
            current: Some(limit.value),
            maximum: Some(limit.value.saturating_add(patience)),
        },
    )
    .map_err(|error| format!("limit {}={} was refused: {error}", limit.resource.as_str(), limit.value))
}

/// Closes what the scheduler may have failed to mark close-on-exec. The keeper has opened nothing of its own yet.
fn close_inherited_descriptors() {
    // SAFETY: no descriptor above 2 belongs to anything in this process. A kernel before 5.9 refuses, which changes nothing.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Only the leash commands the keeper: signals meant for a terminal's or a unit's processes do not end it. The end of a
/// child arrives on the descriptor that this gives.
fn take_signals() -> io::Result<OwnedFd> {
    for signal in [
        libc::SIGHUP,
        libc::SIGINT,
        libc::SIGQUIT,
        libc::SIGTERM,
        libc::SIGPIPE,
        libc::SIGUSR1,
        libc::SIGUSR2,
    ] {
        // SAFETY: SIG_IGN is a disposition that no handler code stands behind.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    // Ignored children would be reaped by the kernel, unseen.
    // SAFETY: as above.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` fills the set before anything reads it, and the descriptor is new and ours.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigaddset(mask.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut()) != 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, mask.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}

/// Undoes `take_signals`, and what the scheduler itself may have inherited: a script starts with every default.
fn restore_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: SIG_DFL has no handler code behind it; signals that cannot be changed are refused and keep theirs.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` fills the set before it is read.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), std::ptr::null_mut());
    }
}

/// One child that ended, with its wait status and what it took; none if all children live on; an error if there are none.
fn wait_for_any_child() -> io::Result<Option<(i32, i32, libc::rusage)>> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live values of the types that the call fills.
        match unsafe { libc::wait4(-1, &raw mut status, libc::WNOHANG | libc::__WALL, usage.as_mut_ptr()) } {
            0 => return Ok(None),
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            // SAFETY: a zeroed rusage is a valid one, and the call has filled it.
            pid => return Ok(Some((pid, status, unsafe { usage.assume_init() }))),
        }
    }
}

fn spawn_failed(error: &str) -> Vec<u8> {
    #[derive(Serialize)]
    struct SpawnFailed<'a> {
        error: &'a str,
    }
    frame("spawn_failed", &SpawnFailed { error })
}

/// Writes a record to descriptor 1. Gives up when the reader is gone, and when it neither reads nor holds the leash.
fn write_record(mut record: &[u8]) {
    let (records, leash) = (rustix::stdio::stdout(), rustix::stdio::stdin());
    while !record.is_empty() {
        // A pipe that is writable takes a record of this size without blocking, and nobody else writes any more.
        let mut waited_for = [
            PollFd::new(&records, PollFlags::OUT),
            PollFd::new(&leash, PollFlags::empty()),
        ];
        if poll(&mut waited_for, None).is_err_and(|error| error != Errno::INTR) {
            return;
        }
        let (writable, scheduler_gone) = (waited_for[0].revents(), waited_for[1].revents());
        if writable.contains(PollFlags::OUT) {
            match rustix::io::write(records, record) {
                Ok(count) => record = &record[count..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_) => return,
            }
        } else if !writable.is_empty() || !scheduler_gone.is_empty() {
            return;
        }
    }
}

fn drain(descriptor: impl AsFd) {
    let mut buffer = [0; 1024];
    while rustix::io::read(&descriptor, &mut buffer).is_ok_and(|count| count > 0) {}
}

fn timespec(duration: Duration) -> Timespec {
    // Rounded up: a wait that ends early would only be repeated.
    let duration = duration + Duration::from_micros(1);
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::from_secs(time.tv_sec.unsigned_abs()) + Duration::from_micros(time.tv_usec.unsigned_abs())
}
