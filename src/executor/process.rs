//! One run's processes, seen from the scheduler: spawning the keeper, holding its leash, reading its pipes to the end.
//!
//! Owns the supervision of one run. What its signs mean is `verdict`'s business, what becomes of its output `output`'s. In
//! the flow it stands between an invocation and an outcome.
//!
//! A run is over when its keeper has ended, never when a pipe ends: a process that escaped could hold one open for ever.

use std::ffi::OsString;
use std::future::pending;
use std::io::{self, PipeWriter, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::capabilities::lending_capabilities;
use super::control_group::{ControlGroup, ControlGroups};
use super::envelope::{Record, RecordReader};
use super::interpreter::Interpreter;
use super::invocation::Invocation;
use super::keep_protocol::{GO, KILL, KeepOrder, NODE_MARK, TERMINATE, VARIABLE_PREFIX};
use super::orphans;
use super::output::{OutputCapture, OutputSender, OutputSummary};
use super::script_user::ScriptUser;
use super::verdict::{ScriptResult, Seen, Stopped, verdict};
use crate::run::{Outcome, Reason, RunError, Stop};
use crate::script::Limits;

/// Largest return value that anybody may ask to keep.
const LONGEST_VALUE: usize = 64 * 1024 * 1024;
/// What a result record may hold besides its value: a traceback, warnings, names.
const RECORD_SLACK: usize = 1024 * 1024;
/// What one read takes: as much as a pipe holds.
const READ_BYTES: usize = 64 * 1024;
/// What is still read after the keeper's end. All writers are dead by then, so this is no more than a pipe can hold; it
/// only bounds a writer that escaped from a dead keeper.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// From the kill until it is worth telling somebody that processes do not die.
const KILL_PATIENCE: Duration = Duration::from_secs(30);

/// Starts runs.
#[derive(Clone, Debug)]
pub struct Executor {
    keeper: PathBuf,
    user: Option<ScriptUser>,
    groups: Option<ControlGroups>,
}

/// A run whose interpreter starts, or waits for the go. Dropping it kills it.
#[derive(Debug)]
pub struct Booting {
    keeper: Child,
    leash: Option<PipeWriter>,
    records: Option<pipe::Receiver>,
    log: Option<pipe::Receiver>,
    buffer: Box<[u8]>,
    reader: RecordReader,
    output: OutputCapture,
    seen: Seen,
    keeper_ended: bool,
    /// It ended as it should, and not by a signal.
    keeper_finished: bool,
    timeout: Option<Duration>,
    grace: Duration,
    linger: Duration,
    limits: Limits,
    /// Its control group, which a dead keeper leaves to us.
    group: Option<PathBuf>,
    /// Who it runs as, if not as this process does.
    script_uid: Option<u32>,
}

/// A run that is over.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub outcome: Outcome,
    /// The go.
    pub started: Instant,
    /// When the last of its processes was gone.
    pub finished: Instant,
    /// What its output was, in figures; all that is kept of it has been sent.
    pub output: OutputSummary,
}

/// A keeper that could not be started. Nothing of the script ran.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// No pipe could be made.
    #[error("no pipe for a run: {0}; if too many files are open, raise `LimitNOFILE` or lower `DROPCRON_MAX_RUNNING`")]
    Pipe(#[source] io::Error),
    /// The kernel refused the command line.
    #[error("the arguments or the environment of the script are longer than the kernel takes (128 KiB each)")]
    TooLong,
    /// The keeper's program could not be started.
    #[error("`{} keep` could not be started: {source}", program.display())]
    Keeper {
        /// The program.
        program: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl SpawnError {
    /// The outcome of a run that this kept from starting.
    pub fn into_outcome(self) -> Outcome {
        let kind = Reason::SpawnFailed.as_str().to_owned();
        let error = RunError {
            kind,
            message: self.to_string(),
            traceback: None,
        };
        Outcome::without_process(Reason::SpawnFailed, Some(error))
    }
}

impl Executor {
    /// An executor whose keepers are this very program. By way of `/proc`, so that they stay the same program while
    /// the file is replaced by a newer one.
    pub fn new() -> io::Result<Executor> {
        let own_image = PathBuf::from("/proc/self/exe");
        let keeper = if own_image.exists() {
            own_image
        } else {
            std::env::current_exe()?
        };
        Ok(Executor::with_keeper(keeper))
    }

    /// An executor whose keepers are another program's `keep`; absolute.
    pub fn with_keeper(keeper: PathBuf) -> Executor {
        Executor {
            keeper,
            user: None,
            groups: None,
        }
    }

    /// Has scripts run as another user.
    pub fn run_as(self, user: Option<ScriptUser>) -> Executor {
        Executor { user, ..self }
    }

    /// Has every run in a control group of its own.
    pub fn in_groups(self, groups: Option<ControlGroups>) -> Executor {
        Executor { groups, ..self }
    }

    /// The program whose `keep` holds runs.
    pub(super) fn keeper(&self) -> &Path {
        &self.keeper
    }

    /// Who scripts run as, if not as this process does.
    pub fn user(&self) -> Option<&ScriptUser> {
        self.user.as_ref()
    }

    /// Where runs have control groups.
    pub fn groups(&self) -> Option<&ControlGroups> {
        self.groups.as_ref()
    }

    /// Starts keeper, interpreter and shim, which then wait for the go. Takes about a millisecond and blocks for it. To be
    /// called within a tokio runtime.
    pub fn spawn(
        &self,
        interpreter: &Interpreter,
        invocation: &Invocation,
        output: OutputSender,
    ) -> Result<Booting, SpawnError> {
        let (leash_end, leash) = io::pipe().map_err(SpawnError::Pipe)?;
        let (records, records_end) = io::pipe().map_err(SpawnError::Pipe)?;
        let (log, log_end) = io::pipe().map_err(SpawnError::Pipe)?;
        let group = self.groups.as_ref().map(ControlGroups::next);
        let order = KeepOrder {
            control_group: group.clone(),
            identity: self.user.as_ref().map(|user| user.identity.clone()),
            ..invocation.keep_order(interpreter)
        };
        let pipes = [leash_end.into(), records_end.into(), log_end.into()];
        let mut command = self.command(&order, invocation, pipes);
        let keeper = lending_capabilities(order.identity.is_some(), || command.spawn());
        let keeper = keeper.map_err(|source| match source.kind() {
            io::ErrorKind::ArgumentListTooLong => SpawnError::TooLong,
            _ => SpawnError::Keeper {
                program: self.keeper.clone(),
                source,
            },
        })?;
        let longest_record = invocation.max_value_bytes.min(LONGEST_VALUE) + RECORD_SLACK;
        Ok(Booting {
            keeper,
            leash: Some(leash),
            records: Some(receiver(records.into())?),
            log: Some(receiver(log.into())?),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
            reader: RecordReader::new(longest_record),
            output: OutputCapture::new(output),
            seen: Seen::default(),
            keeper_ended: false,
            keeper_finished: false,
            timeout: invocation.timeout,
            grace: invocation.grace,
            linger: invocation.linger,
            limits: invocation.limits,
            group,
            script_uid: self.user.as_ref().map(|user| user.identity.uid),
        })
    }

    /// Only what keeps the standard library on posix_spawn: with `pre_exec`, `uid` or `gid` it forks, at a cost that grows
    /// with the scheduler's memory. A group of its own keeps a terminal's Ctrl-C from the keeper.
    fn command(&self, order: &KeepOrder, invocation: &Invocation, [input, records, log]: [Stdio; 3]) -> Command {
        let mut command = Command::new(&self.keeper);
        command.arg0("dropcron").arg("keep").args(order.to_arguments());
        let given = invocation.environment.iter().map(|(name, value)| {
            let mut prefixed = OsString::from(VARIABLE_PREFIX);
            prefixed.push(name);
            (prefixed, value)
        });
        command.env_clear().envs(given);
        command.env(NODE_MARK, std::process::id().to_string());
        command.stdin(input).stdout(records).stderr(log).process_group(0);
        command
    }
}

fn receiver(end: OwnedFd) -> Result<pipe::Receiver, SpawnError> {
    pipe::Receiver::from_owned_fd(end).map_err(SpawnError::Pipe)
}

/// What a run is about, once it may run.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The script works, until its limit.
    Running { until: Option<Instant> },
    /// There is a result; the process has this long to end by itself.
    Lingering { since: Instant, until: Option<Instant> },
    /// All processes were asked to end, and the keeper kills them after the grace.
    Stopping { until: Option<Instant> },
    /// Nothing is left to try.
    Unkillable,
}

impl Booting {
    /// Comes back when the shim is up, or when it never will be: `run` tells which.
    pub async fn ready(&mut self) {
        while !self.seen.ready && !self.keeper_ended {
            self.step().await;
        }
    }

    /// Gives the go and comes back when the run is over and all its processes are gone. May be called before `ready`.
    ///
    /// The first value in `stop` asks the run to end: TERM to the whole tree, KILL after the grace. A second value sent,
    /// even an equal one, kills at once. A run that is stopped before it was called never starts.
    pub async fn run(mut self, mut stop: watch::Receiver<Option<Stop>>) -> Ended {
        let mut supervision = Supervision::new();
        if let Some(why) = *stop.borrow_and_update() {
            self.seen.stopped = Some(Stopped::Asked(why));
            self.command(KILL);
            supervision.phase = Phase::Stopping {
                until: after(KILL_PATIENCE),
            };
        } else {
            self.command(GO);
            supervision.phase = Phase::Running {
                until: self.timeout.and_then(after),
            };
        }
        let started = Instant::now();
        while !self.keeper_ended {
            tokio::select! {
                () = self.step() => {}
                why = next_stop(&mut stop) => self.asked_to_stop(&mut supervision, why),
                () = sleep_until(supervision.deadline()) => self.at_deadline(&mut supervision),
            }
            if let (Phase::Running { .. }, Some(_)) = (supervision.phase, &self.seen.result) {
                supervision.phase = Phase::Lingering {
                    since: Instant::now(),
                    until: after(self.linger),
                };
            }
        }
        self.conclude(started).await
    }

    /// Kills what waits for its go. Nothing of the script has run, and there is no outcome.
    pub async fn abandon(mut self) {
        self.command(KILL);
        while !self.keeper_ended {
            self.step().await;
        }
        if !self.keeper_finished {
            self.kill_orphans().await;
        }
    }

    fn asked_to_stop(&mut self, supervision: &mut Supervision, why: Stop) {
        supervision.times_asked += 1;
        match supervision.phase {
            Phase::Running { .. } => {
                self.seen.stopped = Some(Stopped::Asked(why));
                self.terminate(supervision);
            }
            Phase::Lingering { since, .. } => {
                self.seen.lingered = Some(since.elapsed());
                self.terminate(supervision);
            }
            Phase::Stopping { .. } | Phase::Unkillable if supervision.times_asked > 1 => self.command(KILL),
            Phase::Stopping { .. } | Phase::Unkillable => {}
        }
    }

    fn at_deadline(&mut self, supervision: &mut Supervision) {
        match supervision.phase {
            Phase::Running { .. } => {
                self.seen.stopped = Some(Stopped::AtLimit(self.timeout.unwrap_or_default()));
                self.terminate(supervision);
            }
            Phase::Lingering { .. } => {
                self.seen.lingered = Some(self.linger);
                self.terminate(supervision);
            }
            Phase::Stopping { .. } => {
                tracing::warn!(
                    keeper.pid = self.keeper.id(),
                    "a run does not end although it was killed; a process of it may hang in the kernel (state D in `ps`)"
                );
                self.command(KILL);
                supervision.phase = Phase::Unkillable;
            }
            Phase::Unkillable => {}
        }
    }

    fn terminate(&mut self, supervision: &mut Supervision) {
        self.command(TERMINATE);
        supervision.phase = Phase::Stopping {
            until: after(self.grace.saturating_add(KILL_PATIENCE)),
        };
    }

    /// Tells the keeper something. A keeper that is gone is met as the end of the run.
    fn command(&mut self, command: u8) {
        if let Some(leash) = &mut self.leash {
            // One byte into a pipe that holds thousands: this does not block.
            let _ = leash.write_all(&[command]);
        }
        // A keeper that somebody stopped would not read its leash. Its id is ours as long as it was not waited for.
        let keeper = self.keeper.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(keeper) = keeper.filter(|_| command != GO) {
            let _ = rustix::process::kill_process(keeper, Signal::CONT);
        }
    }

    /// Takes one sign of life. May be cancelled at any time.
    async fn step(&mut self) {
        enum Sign {
            Records,
            Log,
            FlushDue,
            KeeperEnded(io::Result<ExitStatus>),
        }
        // A script that prints without end keeps its pipe readable: others on this thread get their turn.
        tokio::task::consume_budget().await;
        self.output.let_consumer_catch_up().await;
        let sign = tokio::select! {
            () = readable(self.records.as_ref()) => Sign::Records,
            () = readable(self.log.as_ref()) => Sign::Log,
            () = sleep_until(self.output.flush_at()) => Sign::FlushDue,
            status = self.keeper.wait() => Sign::KeeperEnded(status),
        };
        match sign {
            Sign::Records => self.read_records(),
            Sign::Log => self.read_log(),
            Sign::FlushDue => self.output.flush(Instant::now()),
            Sign::KeeperEnded(status) => {
                self.keeper_ended = true;
                self.keeper_finished = status.is_ok_and(|status| status.success());
            }
        }
    }

    fn read_records(&mut self) {
        let Some(pipe) = &self.records else { return };
        match pipe.try_read(&mut self.buffer) {
            Err(error) if is_momentary(&error) => {}
            Ok(0) | Err(_) => self.records = None,
            Ok(count) => take_records(&mut self.reader, &mut self.seen, &self.buffer[..count]),
        }
    }

    fn read_log(&mut self) {
        let Some(pipe) = &self.log else { return };
        match pipe.try_read(&mut self.buffer) {
            Err(error) if is_momentary(&error) => {}
            Ok(0) | Err(_) => self.log = None,
            Ok(count) => self.output.push(&self.buffer[..count], Instant::now()),
        }
    }

    async fn conclude(mut self, started: Instant) -> Ended {
        let finished = Instant::now();
        self.drain();
        if !self.keeper_finished {
            // Only the keeper itself can say how the run ended; a script that killed it may have spoken in its name.
            self.seen.exit = None;
            self.kill_orphans().await;
        }
        self.seen.noise = self.reader.noise;
        let output = self.output.finish().await;
        Ended {
            outcome: verdict(self.seen, self.limits),
            started,
            finished,
            output,
        }
    }

    /// Takes what is in the pipes, without waiting for their ends.
    fn drain(&mut self) {
        let now = Instant::now();
        if let Some(pipe) = self.records.take() {
            drain_pipe(&pipe, &mut self.buffer, |bytes| {
                take_records(&mut self.reader, &mut self.seen, bytes)
            });
        }
        if let Some(pipe) = self.log.take() {
            drain_pipe(&pipe, &mut self.buffer, |bytes| self.output.push(bytes, now));
        }
    }

    /// A keeper that died could not clean up.
    async fn kill_orphans(&self) {
        let (group, script_uid) = (self.group.clone(), self.script_uid);
        let killed = tokio::task::spawn_blocking(move || {
            if let Some(path) = group {
                ControlGroup::at(path).end();
            }
            orphans::kill_adopted(script_uid);
        });
        if let Err(error) = killed.await {
            tracing::error!(%error, "what a dead keeper left could not be cleaned up");
        }
    }
}

/// How far the supervision of a run has come.
struct Supervision {
    phase: Phase,
    times_asked: u32,
}

impl Supervision {
    fn new() -> Supervision {
        Supervision {
            phase: Phase::Running { until: None },
            times_asked: 0,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running { until } | Phase::Lingering { until, .. } | Phase::Stopping { until } => until,
            Phase::Unkillable => None,
        }
    }
}

/// None if that is later than clocks can tell, which is as good as never.
fn after(duration: Duration) -> Option<Instant> {
    Instant::now().checked_add(duration)
}

fn take_records(reader: &mut RecordReader, seen: &mut Seen, bytes: &[u8]) {
    for record in reader.push(bytes) {
        match record {
            Record::Ready => seen.ready = true,
            // The first result counts: `run()` was over then, whatever the process did later.
            Record::Succeeded(_) | Record::Failed(_) if seen.result.is_some() => {}
            Record::Succeeded(record) => seen.result = Some(ScriptResult::Succeeded(record)),
            Record::Failed(record) => seen.result = Some(ScriptResult::Failed(record)),
            Record::SpawnFailed { error } => seen.spawn_failed = Some(error),
            // The last one counts: the keeper writes when nobody is left who could forge another.
            Record::Exit(record) => seen.exit = Some(record),
            Record::Unknown => {}
        }
    }
}

/// Reads the descriptor itself: tokio may not have heard yet that there is something to read.
fn drain_pipe(pipe: impl AsFd, buffer: &mut [u8], mut take: impl FnMut(&[u8])) {
    let mut drained = 0;
    while drained < DRAIN_BYTES {
        match rustix::io::read(&pipe, &mut *buffer) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(0) | Err(_) => return,
            Ok(count) => {
                take(&buffer[..count]);
                drained += count;
            }
        }
    }
}

fn is_momentary(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// A pipe that has ended, or broken, says nothing any more; that wakes the reader once, to let go of it.
async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        Some(pipe) => drop(pipe.readable().await),
        None => pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => pending().await,
    }
}

/// The next request to stop. Never comes once nobody can make one.
async fn next_stop(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    while stop.changed().await.is_ok() {
        if let Some(why) = *stop.borrow_and_update() {
            return why;
        }
    }
    pending().await
}
