//! `dropcron serve`: the loops in one process, and the order in which they come up and go down.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Exit;
use super::access::Access;
use super::packages::default_interpreter;
use super::service_manager::ServiceManager;
use super::{api, isolation};
use crate::config::Config;
use crate::database::{Cluster, ServeLock};
use crate::executor::{Executor, Interpreter, become_subreaper};
use crate::run::Stop;
use crate::service::builder::Builder;
use crate::service::judge::Judge;
use crate::service::node::Node;
use crate::service::notifier::{self, Channels, Notifier};
use crate::service::reaper::Reaper;
use crate::service::recorder::Recorder;
use crate::service::retention::Retention;
use crate::service::scheduler::{Scheduler, stop_what_is_asked_for_ever};
use crate::service::syncer::Syncer;
use crate::service::wake::Wake;
use crate::service::worker::{Context, Worker};
use crate::service::{listener, run_directory};

/// After the last run has ended: how long its end may take to reach Postgres before this process leaves it in the journal.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Between looks at a private Postgres.
const ATTENDANCE: Duration = Duration::from_secs(2);

/// Starting a private Postgres takes no longer, crash recovery included; what does hangs.
const LONGEST_ATTENDANCE: Duration = Duration::from_secs(900);

/// Runs until a signal.
pub(super) async fn serve(config: Config) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    check_scripts_directory(&config)?;
    let channels = read_channels(&config)?;
    let listener = api::bind(&config)?;
    become_subreaper().context("cannot become the parent of what scripts leave behind")?;
    let _lock = ServeLock::acquire(&config.data_directory)?;
    let executor = isolation::executor(&config)?;
    let mut access = tokio::select! {
        access = Access::open_patiently(&config) => access?,
        () = signals.next() => return Ok(Exit::Ok),
    };
    let result = serve_on(&config, executor, channels, listener, &mut access, &mut signals).await;
    access.close().await?;
    result.map(|()| Exit::Ok)
}

/// The channels of notifications; a bad file is said before anything starts.
pub(super) fn read_channels(config: &Config) -> anyhow::Result<Channels> {
    Channels::read(config).map_err(|error| {
        let of = if error.is_unreadable() {
            super::hindered
        } else {
            super::usage
        };
        of(error.to_string())
    })
}

/// A directory that is missing is most likely a mistake; it is not made silently.
fn check_scripts_directory(config: &Config) -> anyhow::Result<()> {
    let path = &config.scripts_directory;
    match std::fs::read_dir(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(super::hindered(format!(
            "the scripts directory `{}` cannot be read: {error}; make or mount it, or name another with `--scripts` or \
             `DROPCRON_SCRIPTS_DIR`",
            path.display()
        ))),
    }
}

async fn serve_on(
    config: &Config,
    executor: Executor,
    channels: Channels,
    listener: Option<TcpListener>,
    access: &mut Access,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let database = &access.database.clone();
    let config = Arc::new(config.clone());
    let interpreter = default_interpreter(&config).await?;
    if let Err(error) = &interpreter {
        tracing::error!(%error, "no script can run");
    }
    if let Ok(interpreter) = &interpreter {
        isolation::rehearse(&executor, interpreter, &config).await?;
    }
    let node = Node::enter(database, &config, "serve", version_of(&interpreter)).await?;
    let context = Context {
        config: config.clone(),
        database: database.clone(),
        node: node.clone(),
        recorder: Recorder::open(&config)?,
        wake: Arc::new(Wake::default()),
        channels: Arc::new(channels),
    };
    run_directory::remove_left_behind(&config.data_directory);
    node.start_heartbeat(database.clone())?;
    // What the predecessor left is settled before anything is fired: its runs may be in the way of ours.
    let mut reaper = Reaper::new(context.clone());
    reaper.run_once().await;
    tracing::info!(
        node.id = %node.id(), database = %database.url(), scripts = %config.scripts_directory.display(),
        python = interpreter.as_ref().map_or("none", |interpreter| interpreter.version.as_str()),
        "dropcron {} serves", env!("CARGO_PKG_VERSION")
    );
    isolation::report(&executor);
    let builder = Builder::new(
        config.clone(),
        database.clone(),
        context.wake.clone(),
        executor.clone(),
        interpreter.clone(),
        false,
    );
    let worker = Worker::new(context.clone(), executor, builder.clone());
    let syncer = Syncer::new(context.clone(), interpreter.clone().ok(), builder.clone());
    let service_manager = ServiceManager::of_environment();
    let loops = Loops::start(&context, &worker, syncer, reaper);
    let stop_api = CancellationToken::new();
    let serving = match listener {
        Some(listener) => {
            let started = api::start(listener, &context, interpreter.ok(), builder.clone(), stop_api.clone());
            // Without it runs go on: it only looks at them.
            started
                .await
                .inspect_err(|error| tracing::error!(error = format!("{error:#}"), "the API is not served"))
                .ok()
        }
        None => None,
    };
    let attendant = access
        .cluster
        .take()
        .map(|cluster| tokio::spawn(attend(cluster, node.clone(), loops.stop_recorder.clone())));
    service_manager.ready(&node)?;
    signals.next().await;
    service_manager.stopping();
    drain(&context, &worker, &loops, signals).await;
    stop_api.cancel();
    if let Some(serving) = serving {
        let _ = serving.await;
    }
    builder.leave().await;
    loops.stop_recorder(&context).await;
    loops.stop_notifier().await;
    if let Err(error) = node.leave(database).await {
        tracing::warn!(error = format!("{error:#}"), "this node's lease runs out by itself");
    }
    if let Some(attendant) = attendant {
        access.cluster = Some(
            attendant
                .await
                .context("the attendant of the private Postgres is gone")?,
        );
    }
    Ok(())
}

/// The version of an interpreter that was found.
fn version_of(interpreter: &Result<Interpreter, String>) -> Option<&str> {
    interpreter
        .as_ref()
        .ok()
        .map(|interpreter| interpreter.version.as_str())
}

/// Starts a private Postgres that died under us, and keeps its log short. Returns it when the service ends.
async fn attend(mut cluster: Cluster, node: Arc<Node>, stop: CancellationToken) -> Cluster {
    let pulse = node.pulse("attendant", LONGEST_ATTENDANCE);
    loop {
        pulse.rest(ATTENDANCE);
        tokio::select! {
            () = tokio::time::sleep(ATTENDANCE) => {}
            () = stop.cancelled() => return cluster,
        }
        pulse.pass();
        let is_away = !node.is_in_contact();
        let attended = tokio::task::spawn_blocking(move || {
            let result = if is_away {
                cluster.revive().map(drop)
            } else {
                cluster.trim_log()
            };
            (cluster, result)
        });
        match attended.await {
            Ok((back, result)) => {
                cluster = back;
                if let Err(error) = result {
                    tracing::warn!(%error, "the private Postgres cannot be attended to");
                }
            }
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
}

/// The tasks of a service.
struct Loops {
    stop: CancellationToken,
    stop_recorder: CancellationToken,
    tasks: TaskTracker,
    recorder: TaskTracker,
    stop_notifier: CancellationToken,
    notifier: TaskTracker,
}

impl Loops {
    fn start(context: &Context, worker: &Arc<Worker>, syncer: Syncer, reaper: Reaper) -> Loops {
        let loops = Loops {
            stop: CancellationToken::new(),
            stop_recorder: CancellationToken::new(),
            tasks: TaskTracker::new(),
            recorder: TaskTracker::new(),
            stop_notifier: CancellationToken::new(),
            notifier: TaskTracker::new(),
        };
        let stop = || loops.stop.clone();
        loops.tasks.spawn(syncer.run(stop()));
        loops
            .tasks
            .spawn(Scheduler::new(context.clone(), worker.clone()).run(stop()));
        loops.tasks.spawn(listener::run(
            context.database.clone(),
            context.wake.clone(),
            context.node.pulse("listener", listener::LONGEST_PASS),
            stop(),
        ));
        loops.tasks.spawn(reaper.run(stop()));
        loops.tasks.spawn(Judge::new(context.clone()).run(stop()));
        loops.tasks.spawn(Judge::new(context.clone()).run(stop()));
        loops
            .tasks
            .spawn(Retention::new(context.clone(), worker.clone()).run(stop()));
        loops.tasks.spawn(wake_after_ends(context.clone(), stop()));
        loops
            .tasks
            .spawn(stop_when_fenced(context.node.clone(), worker.clone(), stop()));
        let recorder = context.recorder.clone();
        let writing = recorder.write_for_ever(
            context.database.clone(),
            context.node.clone(),
            loops.stop_recorder.clone(),
        );
        loops.recorder.spawn(writing);
        let notifier = Notifier::new(context.clone());
        loops.notifier.spawn(notifier.run(loops.stop_notifier.clone()));
        loops.tasks.close();
        loops.recorder.close();
        loops.notifier.close();
        loops
    }

    /// Ends that Postgres does not take now stay in the journal; the next process on this data directory writes them.
    async fn stop_recorder(&self, context: &Context) {
        if tokio::time::timeout(FLUSH_PATIENCE, context.recorder.flushed())
            .await
            .is_err()
        {
            tracing::warn!("the database is away; the ends of the last runs stay in the journal until the next start");
        }
        self.stop_recorder.cancel();
        let _ = tokio::time::timeout(FLUSH_PATIENCE, self.recorder.wait()).await;
    }

    /// What is being sent is sent; the rest waits for other nodes, or for the next start.
    async fn stop_notifier(&self) {
        self.stop_notifier.cancel();
        let _ = tokio::time::timeout(notifier::LEAVE_PATIENCE, self.notifier.wait()).await;
    }
}

/// A task whose run is over may be claimed ahead again, and there is a place free.
async fn wake_after_ends(context: Context, stop: CancellationToken) {
    let mut written = context.recorder.written();
    loop {
        tokio::select! {
            changed = written.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        context.wake.place();
    }
}

/// A node that was declared dead does not own its runs any more; others may run them again.
async fn stop_when_fenced(node: Arc<Node>, worker: Arc<Worker>, stop: CancellationToken) {
    let mut fenced = node.fenced();
    loop {
        tokio::select! {
            changed = fenced.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
        worker.stop_all(Stop::Shutdown);
    }
}

/// No new claims; what waits is given back; what runs has the grace, then TERM, then KILL. A second signal hurries. What is
/// cancelled meanwhile stops, and what was given up as lost with this node does too.
async fn drain(context: &Context, worker: &Arc<Worker>, loops: &Loops, signals: &mut Signals) {
    let grace = context.config.shutdown_grace;
    let mut fenced = context.node.fenced();
    context.node.drain();
    loops.stop.cancel();
    loops.tasks.wait().await;
    worker.give_back_waiting();
    if !worker.is_idle() {
        tracing::info!(
            grace_seconds = grace.as_secs(),
            "stopping: running scripts may go on for the grace; a second signal hurries"
        );
    }
    let finished = worker.finished();
    let obeying = stop_what_is_asked_for_ever(context, worker);
    tokio::pin!(finished, obeying);
    tokio::select! {
        () = &mut finished => return,
        () = &mut obeying => {}
        _ = fenced.changed() => {}
        () = tokio::time::sleep(grace) => {}
        () = signals.next() => {}
    }
    worker.stop_all(Stop::Shutdown);
    loop {
        tokio::select! {
            () = &mut finished => return,
            // Whoever asks again wants them killed.
            () = signals.next() => worker.stop_all(Stop::Shutdown),
        }
    }
}

/// The signals that ask a service to leave.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
