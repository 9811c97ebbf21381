//! The worker: runs what this node has claimed, from the claim to the end that the recorder takes.
//!
//! A claim whose instant is still ahead starts early: keeper, interpreter and shim come up and wait; at the instant only the
//! script's own code remains. The script's code never runs before its time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::builder::{Builder, Ready};
use super::node::Node;
use super::notifier::Channels;
use super::permits::{Permit, Permits};
use super::recorder::Recorder;
use super::run_directory::RunDirectory;
use super::secrets::{self, MaskedStream, Masker, Secret};
use super::versions::{VersionError, Versions};
use super::wake::Wake;
use crate::config::Config;
use crate::database::Database;
use crate::executor::{Booting, Ended, Executor, Forget, Invocation, OutputChunk, OutputLimits, output_channel};
use crate::run::{Outcome, Reason, RunError, Stop};
use crate::series::{self, Observed};
use crate::store::runs::{self, Chunk, Claim, End, Start};

/// A run that lives longer than this gets its start written before its end.
const MOMENT: Duration = Duration::from_millis(200);

/// Between tries to give back a claim, or to fetch a version, while the database is away.
const RETRY: Duration = Duration::from_millis(500);

/// An interpreter that is not up after this hangs in something that it loads by itself. Slow mounts take seconds.
const BOOT_PATIENCE: Duration = Duration::from_secs(60);

/// A due claim without a place to run is kept so long, if there are other nodes.
const PATIENCE: Duration = Duration::from_secs(1);

/// Variables that every script sees, beside those that its header names.
const ALLOWED_VARIABLES: &[&str] = &["PATH", "HOME", "LANG", "TZ"];

/// Runs claims; see the module.
pub struct Worker {
    /// How much it takes on at once.
    pub permits: Permits,
    context: Context,
    executor: Executor,
    builder: Arc<Builder>,
    versions: Versions,
    active: Mutex<HashMap<i64, watch::Sender<Option<Stop>>>>,
    tasks: TaskTracker,
    giving_back: CancellationToken,
}

/// What the worker shares with the rest of the service.
#[derive(Clone)]
pub struct Context {
    /// How this process is to work.
    pub config: Arc<Config>,
    /// The database.
    pub database: Database,
    /// Who we are, and what time it is.
    pub node: Arc<Node>,
    /// Where ends go.
    pub recorder: Arc<Recorder>,
    /// Who is to be woken.
    pub wake: Arc<Wake>,
    /// Who is told of what happens.
    pub channels: Arc<Channels>,
}

/// What a run needs before its interpreter starts.
struct Prepared {
    /// Its interpreter, with its packages.
    ready: Ready,
    invocation: Invocation,
    /// Hides its secrets.
    masker: Masker,
}

/// What becomes of a claim.
enum Fate {
    /// It ran, or could not be run.
    Ended(Box<Outcome>, Option<Timestamp>, Timestamp),
    /// This node leaves, or may not start scripts any more: somebody else shall run it.
    GivenBack,
}

impl Worker {
    /// `builder` says which interpreter a run has, with which packages.
    pub fn new(context: Context, executor: Executor, builder: Arc<Builder>) -> Arc<Worker> {
        Arc::new(Worker {
            permits: Permits::new(context.config.capacity),
            versions: Versions::new(&context.config.data_directory, executor.user().is_some()),
            context,
            executor,
            builder,
            active: Mutex::default(),
            tasks: TaskTracker::new(),
            giving_back: CancellationToken::new(),
        })
    }

    /// The files of script versions on this machine.
    pub fn versions(&self) -> &Versions {
        &self.versions
    }

    /// Runs a claim in the background. `permit`: a place to run for one that is due, a place to wait for one that is not.
    pub fn take(self: &Arc<Self>, claim: Claim, node_id: Uuid, permit: ClaimPermit) {
        let (stop, stopped) = watch::channel(None);
        self.active().insert(claim.run_id, stop);
        let worker = self.clone();
        self.tasks.spawn(async move {
            let key = claim.key();
            let mut directory = None;
            match worker.run(&claim, node_id, permit, stopped, None, &mut directory).await {
                Fate::Ended(outcome, started_at, finished_at) => {
                    worker.record(&claim, node_id, *outcome, started_at, finished_at).await;
                    remove(directory).await;
                }
                Fate::GivenBack => {
                    // First: it may come back, to a directory of the same name.
                    remove(directory).await;
                    worker.give_back(node_id, key.run_id).await;
                }
            }
            worker.active().remove(&key.run_id);
            worker.context.wake.place();
        });
    }

    /// Runs a claim in the foreground; output also goes to `listener`. Comes back when its end is in the journal.
    pub async fn run_here(
        self: &Arc<Self>,
        claim: &Claim,
        node_id: Uuid,
        stop: watch::Receiver<Option<Stop>>,
        listener: Listener,
    ) {
        let permit = ClaimPermit::Running(self.permits.running().await);
        let mut directory = None;
        let fate = self
            .run(claim, node_id, permit, stop, Some(listener), &mut directory)
            .await;
        let (outcome, started_at, finished_at) = match fate {
            Fate::Ended(outcome, started_at, finished_at) => (*outcome, started_at, finished_at),
            // Nobody else can take a run that somebody waits for in a terminal.
            Fate::GivenBack => {
                let outcome = Outcome::without_process(Reason::Shutdown, None);
                (outcome, None, self.context.node.clock.now())
            }
        };
        self.record(claim, node_id, outcome, started_at, finished_at).await;
        remove(directory).await;
    }

    /// Asks a run of this node to stop. `false`: it is not here.
    pub fn stop(&self, run_id: i64, why: Stop) -> bool {
        match self.active().get(&run_id) {
            Some(stop) if stop.borrow().is_none() => stop.send(Some(why)).is_ok(),
            Some(_) => true,
            None => false,
        }
    }

    /// Asks all runs to stop; asked again, kills them.
    pub fn stop_all(&self, why: Stop) {
        for stop in self.active().values() {
            stop.send_replace(Some(why));
        }
    }

    /// Gives back what waits for its instant. Running scripts go on.
    pub fn give_back_waiting(&self) {
        self.giving_back.cancel();
    }

    /// Whether nothing runs or waits here.
    pub fn is_idle(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Whether a run is here: waiting, running, or ended and not yet with the recorder.
    pub fn has(&self, run_id: i64) -> bool {
        self.active().contains_key(&run_id)
    }

    /// Whether anything that could be stopped is here.
    pub fn has_active(&self) -> bool {
        !self.active().is_empty()
    }

    /// Comes back when everything that was taken is over. Nothing is taken any more from then on.
    pub async fn finished(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn run(
        &self,
        claim: &Claim,
        node_id: Uuid,
        permit: ClaimPermit,
        mut stop: watch::Receiver<Option<Stop>>,
        listener: Option<Listener>,
        directory: &mut Option<RunDirectory>,
    ) -> Fate {
        let node = &self.context.node;
        let (ready, permit) = match self.interpreter(claim, permit, &mut stop).await {
            Ok(ready) => ready,
            Err(fate) => return fate,
        };
        let prepared = self.prepare(claim, ready, &mut stop, directory).await;
        let Prepared {
            ready,
            invocation,
            masker,
        } = match prepared {
            Ok(prepared) => prepared,
            Err(fate) => return fate,
        };
        let (sender, chunks) = output_channel(self.output_limits());
        let forwarding = tokio::spawn(forward(
            chunks,
            claim.run_id,
            masker.stream(),
            self.context.recorder.clone(),
            listener,
        ));
        let booting = match self
            .boot(&ready, &invocation, sender, permit.is_early(), &mut stop)
            .await
        {
            Ok(booting) => booting,
            Err(fate) => return fate,
        };
        let running = match self.wait_for_instant(claim, permit, &mut stop).await {
            Waited::Due(running) => running,
            Waited::GiveBack => {
                booting.abandon().await;
                return Fate::GivenBack;
            }
            Waited::Over(reason) => {
                booting.abandon().await;
                return self.not_started(Box::new(Outcome::without_process(reason, None)));
            }
        };
        if node.id() != node_id || !node.may_start() {
            booting.abandon().await;
            return Fate::GivenBack;
        }
        let mut fate = self.go(claim, node_id, booting, stop).await;
        drop(running);
        if let Fate::Ended(outcome, ..) = &mut fate {
            masker.mask_outcome(outcome);
            outcome.lock_sha256 = ready.lock_sha256;
            outcome.python = Some(ready.interpreter.version);
        }
        // All that is kept of the output is with the recorder before the end is.
        let _ = forwarding.await;
        fate
    }

    fn output_limits(&self) -> OutputLimits {
        let kept = self.context.config.output;
        OutputLimits {
            head: kept.head,
            tail: kept.tail,
            ..OutputLimits::default()
        }
    }

    /// The end of a run whose script never ran.
    fn not_started(&self, outcome: Box<Outcome>) -> Fate {
        Fate::Ended(outcome, None, self.context.node.clock.now())
    }

    /// The interpreter of a run, with its packages. Those that are not there yet are waited for, as long as the run itself might take, and
    /// without a place to run, which others can use.
    async fn interpreter(
        &self,
        claim: &Claim,
        permit: ClaimPermit,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<(Ready, ClaimPermit), Fate> {
        if let Some(ready) = self.builder.at_once(claim) {
            return Ok((ready, permit));
        }
        drop(permit);
        let failed = |message| self.not_started(unprepared(Reason::Environment, "environment", message));
        let ready = tokio::select! {
            ready = self.wait_for_packages(claim) => ready.map_err(failed)?,
            why = asked(stop) => return Err(self.stopped(why)),
            () = self.giving_back.cancelled() => return Err(Fate::GivenBack),
            limit = self.waited_too_long(claim) => return Err(failed(format!(
                "its packages were not there within its timeout of {} s; `dropcron lock {}` shows how far they are",
                limit.as_secs_f64(), claim.task_name
            ))),
        };
        tokio::select! {
            running = self.permits.running() => Ok((ready, ClaimPermit::Running(running))),
            why = asked(stop) => Err(self.stopped(why)),
            () = self.giving_back.cancelled() => Err(Fate::GivenBack),
        }
    }

    /// What the builder says; that there is nothing to wait for is no end before the instant itself.
    async fn wait_for_packages(&self, claim: &Claim) -> Result<Ready, String> {
        let ready = self.builder.wait(claim).await;
        if ready.is_err() {
            let due = self.context.node.clock.instant_of(claim.due_at);
            tokio::time::sleep_until(due.into()).await;
        }
        ready
    }

    /// Comes back with the task's timeout, when it is over for a run that has not begun.
    async fn waited_too_long(&self, claim: &Claim) -> Duration {
        let limit = claim
            .timeout_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let clock = &self.context.node.clock;
        let Some((limit, end)) =
            limit.and_then(|limit| Some((limit, clock.instant_of(claim.due_at).checked_add(limit)?)))
        else {
            return std::future::pending().await;
        };
        // A run that was queued for long has its whole patience from now on.
        tokio::time::sleep_until(end.max(Instant::now() + limit).into()).await;
        limit
    }

    /// What a run needs, with its code in place; else what becomes of it.
    async fn prepare(
        &self,
        claim: &Claim,
        ready: Ready,
        stop: &mut watch::Receiver<Option<Stop>>,
        directory: &mut Option<RunDirectory>,
    ) -> Result<Prepared, Fate> {
        let failed = |reason, kind, message| self.not_started(unprepared(reason, kind, message));
        let secrets = secrets::read(self.context.config.secrets_directory.as_deref(), &claim.secrets)
            .map_err(|error| failed(Reason::SecretMissing, "secret_missing", error.to_string()))?;
        let owner = self.executor.user().map(|user| (user.identity.uid, user.identity.gid));
        let made = RunDirectory::make(&self.context.config.data_directory, claim.run_id, owner).map_err(|error| {
            failed(
                Reason::Environment,
                "no_directory",
                format!("its directory cannot be made in the data directory: {error}"),
            )
        })?;
        let directory = directory.insert(made);
        let code_path = self.code_path(claim, stop).await?;
        let limits = serde_json::from_str(&claim.limits).map_err(|error| {
            let message = format!(
                "the column `limits` of its task cannot be read: {error}; edit the script's header, not the column"
            );
            failed(Reason::Environment, "bad_limits", message)
        })?;
        let config = &self.context.config;
        let (script_path, scripts_root) = if claim.source == "ad_hoc" {
            let path = PathBuf::from(&claim.script_path);
            let root = path.parent().map_or_else(|| PathBuf::from("/"), PathBuf::from);
            (path, root)
        } else {
            (
                config.scripts_directory.join(&claim.script_path),
                config.scripts_directory.clone(),
            )
        };
        let invocation = Invocation {
            script_path,
            code_path,
            working_directory: existing_directory(&scripts_root, &config.data_directory),
            scripts_root,
            task_name: claim.task_name.clone(),
            arguments: claim.args.clone(),
            is_async: claim.is_async,
            environment: self.environment(claim, &secrets, directory.path()),
            timeout: claim
                .timeout_seconds
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            grace: Invocation::DEFAULT_GRACE,
            linger: Invocation::DEFAULT_LINGER,
            // Its numbers are wanted also where the value itself is not kept.
            keep_return_value: true,
            max_value_bytes: Invocation::DEFAULT_MAX_VALUE_BYTES,
            limits,
            no_new_privileges: true,
        };
        Ok(Prepared {
            ready,
            invocation,
            masker: Masker::new(&secrets),
        })
    }

    /// The file of the version to run. What the database says against it is not the script's failure: the run waits for it, or
    /// goes to somebody else.
    async fn code_path(&self, claim: &Claim, stop: &mut watch::Receiver<Option<Stop>>) -> Result<PathBuf, Fate> {
        loop {
            let (sha256, kind) = (claim.script_sha256, &claim.script_kind);
            let error = match self.versions.file(&self.context.database, sha256, kind).await {
                Ok(path) => return Ok(path),
                Err(VersionError::Database(error)) => error,
                Err(error) => {
                    let message = format!("{:#}", anyhow::Error::from(error));
                    return Err(self.not_started(unprepared(Reason::Environment, "no_version", message)));
                }
            };
            tracing::debug!(
                run.id = claim.run_id,
                error = format!("{error:#}"),
                "a version cannot be fetched yet"
            );
            if !self.context.node.may_start() {
                return Err(Fate::GivenBack);
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                why = asked(stop) => return Err(self.stopped(why)),
                () = self.giving_back.cancelled() => return Err(Fate::GivenBack),
            }
        }
    }

    /// The end of a run that was asked to stop before its script ran.
    fn stopped(&self, why: Stop) -> Fate {
        self.not_started(Box::new(Outcome::without_process(why.reason(), None)))
    }

    /// What the script sees of our environment, and what it is told of its run.
    fn environment(&self, claim: &Claim, secrets: &[Secret], directory: &Path) -> Vec<(OsString, OsString)> {
        let ours = &self.context.config.environment;
        let names = ALLOWED_VARIABLES
            .iter()
            .copied()
            .chain(claim.env.iter().map(String::as_str));
        let home = self.executor.user().map(|user| user.home.as_os_str());
        let passed = names.filter_map(|name| {
            let value = match home {
                Some(home) if name == "HOME" => home,
                _ => ours.get(name)?,
            };
            Some((OsString::from(name), value.to_owned()))
        });
        let scheduled_at = claim.as_of.unwrap_or(claim.scheduled_for);
        let told = [
            ("DROPCRON_TASK", claim.task_name.clone()),
            ("DROPCRON_RUN_ID", claim.run_id.to_string()),
            ("DROPCRON_SCHEDULED_AT", scheduled_at.to_string()),
            ("DROPCRON_ATTEMPT", claim.attempt.to_string()),
            ("DROPCRON_TRIGGER", claim.trigger.clone()),
        ];
        let told = told.into_iter().map(|(name, value)| (name.into(), value.into()));
        let given = secrets
            .iter()
            .map(|secret| (secret.name.clone().into(), secret.value.clone().into()));
        let own = ["DROPCRON_RUN_DIR", "TMPDIR"].map(|name| (name.into(), directory.into()));
        passed.chain(told).chain(own).chain(given).collect()
    }

    /// Comes back when the shim is up, or when it never will be. A due run, too, gets its go only then: until that moment it
    /// can be given back. The permit bounds how many interpreters start at once, and is free again when this one is up.
    async fn boot(
        &self,
        ready: &Ready,
        invocation: &Invocation,
        output: crate::executor::OutputSender,
        is_early: bool,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Result<Booting, Fate> {
        let interpreter = &ready.interpreter;
        let _permit = tokio::select! {
            permit = self.permits.booting(is_early) => permit,
            why = asked(stop) => return Err(self.stopped(why)),
            () = self.giving_back.cancelled() => return Err(Fate::GivenBack),
        };
        let mut booting = self
            .executor
            .spawn(interpreter, invocation, output)
            .map_err(|error| self.not_started(Box::new(error.into_outcome())))?;
        let fate = tokio::select! {
            () = booting.ready() => return Ok(booting),
            why = asked(stop) => self.stopped(why),
            () = self.giving_back.cancelled() => Fate::GivenBack,
            () = tokio::time::sleep(BOOT_PATIENCE) => self.not_started(unprepared(
                Reason::Environment,
                "no_start",
                format!(
                    "`{}` was not up after {} s: it hangs before the script; look at what it loads by itself, such as \
                     `sitecustomize` and `.pth` files",
                    interpreter.path.display(),
                    BOOT_PATIENCE.as_secs()
                ),
            )),
        };
        booting.abandon().await;
        Err(fate)
    }

    /// Waits until the run is due and there is a place for it, or it is not to be run at all.
    async fn wait_for_instant(
        &self,
        claim: &Claim,
        permit: ClaimPermit,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) -> Waited {
        loop {
            if self.giving_back.is_cancelled() {
                return Waited::GiveBack;
            }
            let clock = &self.context.node.clock;
            // Read again after each sleep: the clock's estimate may have become better, or the machine may have slept.
            let due = clock.instant_of(claim.due_at);
            if due <= Instant::now() {
                break;
            }
            tokio::select! {
                () = tokio::time::sleep_until(due.min(Instant::now() + Duration::from_secs(1)).into()) => {}
                why = asked(stop) => return Waited::Over(why.reason()),
                () = self.giving_back.cancelled() => return Waited::GiveBack,
            }
        }
        let running = match permit {
            ClaimPermit::Running(running) => running,
            ClaimPermit::Early(_early) => tokio::select! {
                running = self.permits.running() => running,
                why = asked(stop) => return Waited::Over(why.reason()),
                () = self.giving_back.cancelled() => return Waited::GiveBack,
                () = self.too_late(claim) => return Waited::Over(Reason::Grace),
                () = self.others_may_have_a_place() => return Waited::GiveBack,
            },
        };
        match self.lateness_problem(claim) {
            Some(reason) => Waited::Over(reason),
            None => Waited::Due(running),
        }
    }

    /// Later than its task allows.
    fn lateness_problem(&self, claim: &Claim) -> Option<Reason> {
        let late = self.context.node.clock.now().duration_since(claim.due_at).as_secs_f64();
        (late > grace(claim)?).then_some(Reason::Grace)
    }

    /// Comes back when the run is later than its task allows.
    async fn too_late(&self, claim: &Claim) {
        let Some(Ok(grace)) = grace(claim).map(Duration::try_from_secs_f64) else {
            return std::future::pending().await;
        };
        while self.lateness_problem(claim).is_none() {
            let end = self.context.node.clock.instant_of(claim.due_at) + grace;
            // Never shorter than a tick of the timer: the comparison is strict.
            let pause = end
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            tokio::time::sleep(pause).await;
        }
    }

    /// A full node does not sit on what another could run: after a moment its claim is queued for all.
    async fn others_may_have_a_place(&self) {
        tokio::time::sleep(PATIENCE).await;
        while self.context.node.incarnation().live_nodes < 2 {
            tokio::time::sleep(PATIENCE).await;
        }
    }

    async fn go(&self, claim: &Claim, node_id: Uuid, booting: Booting, stop: watch::Receiver<Option<Stop>>) -> Fate {
        let clock = &self.context.node.clock;
        let started_at = clock.now();
        let run = booting.run(stop);
        tokio::pin!(run);
        let ended: Ended = tokio::select! {
            ended = &mut run => ended,
            () = tokio::time::sleep(MOMENT) => {
                self.context.recorder.started(node_id, Start { key: claim.key(), started_at });
                run.await
            }
        };
        let started_at = clock.at(ended.started).max(started_at);
        let finished_at = started_at + ended.finished.saturating_duration_since(ended.started);
        Fate::Ended(Box::new(ended.outcome), Some(started_at), finished_at)
    }

    async fn record(
        &self,
        claim: &Claim,
        node_id: Uuid,
        mut outcome: Outcome,
        started_at: Option<Timestamp>,
        finished_at: Timestamp,
    ) {
        if self.context.node.id() != node_id && outcome.reason == Some(Reason::Shutdown) {
            // This node was declared dead meanwhile and stopped the run itself: its row says `lost`, and that is so.
            return;
        }
        if let Some(hash) = outcome.script_sha256
            && hash != claim.script_sha256
        {
            outcome
                .warnings
                .push(format!("the code that ran has the hash {hash}, not the version's"));
        }
        outcome.script_sha256 = Some(claim.script_sha256);
        observe(claim, &mut outcome);
        let detail =
            (outcome.reason == Some(Reason::Grace)).then(|| "there was no place for it within its grace".to_owned());
        report(claim, &outcome, started_at, finished_at);
        self.context
            .recorder
            .ended(End {
                key: claim.key(),
                node_id,
                started_at,
                finished_at,
                outcome,
                detail,
            })
            .await;
    }

    /// Tries until the database takes it: a claim that stays ours and is not run would stand in its task's way.
    async fn give_back(&self, node_id: Uuid, run_id: i64) {
        loop {
            let result = async {
                let mut connection = self.context.database.connection().await?;
                runs::give_back(&mut connection, node_id, &[run_id], self.context.node.clock.now()).await?;
                anyhow::Ok(())
            };
            let Err(error) = result.await else { return };
            tracing::debug!(
                run.id = run_id,
                error = format!("{error:#}"),
                "a claim cannot be given back yet"
            );
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                // Whoever comes after us on this data directory settles it.
                () = self.giving_back.cancelled() => return,
            }
        }
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<i64, watch::Sender<Option<Stop>>>> {
        self.active.lock().expect("no holder of this lock can panic")
    }
}

/// The permit that a claim was made with.
pub enum ClaimPermit {
    /// It is due: a place to run.
    Running(Permit),
    /// Its instant is ahead: a place to wait.
    Early(Permit),
}

impl ClaimPermit {
    fn is_early(&self) -> bool {
        matches!(self, ClaimPermit::Early(_))
    }
}

enum Waited {
    Due(Permit),
    GiveBack,
    Over(Reason),
}

/// How late it may start, seconds: only for instants of a schedule, on time or made up for; who asks for a run now does not mind.
fn grace(claim: &Claim) -> Option<f64> {
    claim
        .grace_seconds
        .filter(|_| claim.attempt == 1 && matches!(claim.trigger.as_str(), "schedule" | "catch_up"))
}

/// Comes back with the reason when the run is asked to stop.
async fn asked(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await.map(|stop| *stop) {
        Ok(Some(why)) => why,
        // Nobody is left who could ask.
        _ => std::future::pending().await,
    }
}

/// Hands chunks to the recorder as they come; never makes the run wait.
async fn forward(
    mut chunks: mpsc::Receiver<OutputChunk>,
    run_id: i64,
    mut masked: MaskedStream,
    recorder: Arc<Recorder>,
    mut listener: Option<Listener>,
) {
    let mut next = 0;
    let say = |sequence: u32, chunk: String, forget: Option<Forget>| {
        let sequence = i32::try_from(sequence).unwrap_or(i32::MAX);
        recorder.said(run_id, Chunk { sequence, chunk }, forget);
    };
    while let Some(chunk) = chunks.recv().await {
        let is_closing = chunk.sequence < next;
        // Also where all of it is held back: a number that is missing means that output is.
        let text = match chunk.is_marker {
            _ if is_closing => chunk.text,
            true => masked.break_off() + &chunk.text,
            false => masked.push(&chunk.text),
        };
        if !is_closing {
            next = chunk.sequence + 1;
            // Who listens has seen what was left out, and where.
            listener.iter_mut().for_each(|listener| listener.say(&text));
        }
        say(chunk.sequence, text, chunk.forget);
    }
    let rest = masked.finish();
    if !rest.is_empty() {
        listener.iter_mut().for_each(|listener| listener.say(&rest));
        say(next, rest, None);
    }
}

/// Somebody who reads along, in a terminal that may be slow, or stopped: what it does not take in time, it does not get.
pub struct Listener {
    lines: mpsc::Sender<String>,
    missed: u64,
}

/// Chunks under way to somebody who reads along: more than is kept of a run by default.
const LISTENER_CHUNKS: usize = 64;

impl Listener {
    /// And what it is to read.
    pub fn new() -> (Listener, mpsc::Receiver<String>) {
        let (lines, receiver) = mpsc::channel(LISTENER_CHUNKS);
        (Listener { lines, missed: 0 }, receiver)
    }

    fn say(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let text = match self.missed {
            0 => text.to_owned(),
            missed => format!(
                "\n[dropcron: {missed} bytes were not printed here; `dropcron logs` prints what is kept]\n{text}"
            ),
        };
        match self.lines.try_send(text) {
            Ok(()) => self.missed = 0,
            Err(error) => {
                // A terminal that is gone does not concern the run.
                let (mpsc::error::TrySendError::Full(text) | mpsc::error::TrySendError::Closed(text)) = error;
                self.missed += text.len() as u64;
            }
        }
    }
}

fn unprepared(reason: Reason, kind: &str, message: String) -> Box<Outcome> {
    let error = RunError {
        kind: kind.to_owned(),
        message,
        traceback: None,
    };
    Box::new(Outcome::without_process(reason, Some(error)))
}

async fn remove(directory: Option<RunDirectory>) {
    if let Some(directory) = directory {
        directory.remove().await;
    }
}

/// A scripts directory may vanish; a run of a stored version goes on all the same.
fn existing_directory(wanted: &Path, fallback: &Path) -> PathBuf {
    if wanted.is_dir() {
        wanted.to_path_buf()
    } else {
        fallback.to_path_buf()
    }
}

/// Finds the numbers in what a run returned; then the value itself has gone its way if it is not to be kept.
fn observe(claim: &Claim, outcome: &mut Outcome) {
    let Some(value) = outcome.return_value.as_ref() else {
        return;
    };
    let Observed { observations, warnings } = series::observe(value);
    outcome.observations = observations;
    outcome.warnings.extend(warnings);
    if !claim.keep_return_value {
        outcome.return_value = None;
    }
}

fn report(claim: &Claim, outcome: &Outcome, started_at: Option<Timestamp>, finished_at: Timestamp) {
    let duration_ms = started_at.map(|started| finished_at.duration_since(started).as_millis() as i64);
    let late_ms = started_at.map(|started| started.duration_since(claim.due_at).as_millis() as i64);
    if outcome.status == crate::run::Status::Succeeded {
        tracing::info!(
            task.name = claim.task_name,
            run.id = claim.run_id,
            duration_ms,
            late_ms,
            "succeeded"
        );
    } else {
        let reason = outcome.reason.map_or("", Reason::as_str);
        let error = outcome
            .error
            .as_ref()
            .map(|error| format!("{}: {}", error.kind, error.message));
        tracing::warn!(
            task.name = claim.task_name, run.id = claim.run_id, run.status = %outcome.status, run.reason = reason,
            duration_ms, late_ms, error, "did not succeed"
        );
    }
}
