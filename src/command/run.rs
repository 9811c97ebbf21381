//! `dropcron run`: one run now, in the foreground, recorded like any other.
//!
//! The file is registered as the syncer would do it, unless a service does that; the run is asked for like any manual run, and
//! the worker runs it; this process is a node of its own for as long as that takes.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::logs::{FOLLOW_INTERVAL, Reader, Source, is_active};
use super::output::{print, print_json, say, table};
use super::packages::default_interpreter;
use super::remote::Server;
use super::{Exit, actor, isolation, not_found, runs as runs_command, usage};
use crate::api::StartRun;
use crate::cli::RunArgs;
use crate::config::Config;
use crate::database::Database;
use crate::executor::{Executor, Interpreter, become_subreaper};
use crate::run::{Arguments, Stop, text_of_arguments};
use crate::script::{Header, Notify, ScriptKind, TaskName};
use crate::service::builder::Builder;
use crate::service::node::Node;
use crate::service::notifier::Channels;
use crate::service::recorder::Recorder;
use crate::service::scan::{self, Assessment};
use crate::service::syncer::registration;
use crate::service::wake::Wake;
use crate::service::worker::{Context, Listener, Worker};
use crate::service::{planner, reaper};
use crate::store::runs::{self, Filter, Request, RunRow};
use crate::store::tasks::{self, Version};
use crate::store::{Connection, environments, is_taken_by_another};

/// After the run has ended: how long its end may take to reach Postgres before this process leaves it in the journal.
const FLUSH_PATIENCE: Duration = Duration::from_secs(5);

/// Tries for a place that another terminal takes in the same moment, and the pause between them.
const TRIES: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// Runs it, prints its row.
pub(super) async fn run(arguments: &RunArgs, config: Config) -> anyhow::Result<Exit> {
    let args = parse_arguments(&arguments.args)?;
    if let Some(server) = Server::of(&config)? {
        return run_elsewhere(&server, arguments, args).await;
    }
    become_subreaper().context("cannot become the parent of what a script leaves behind")?;
    let executor = isolation::executor(&config)?;
    let access = Access::open(&config).await?;
    let result = run_on(&access.database, arguments, args, config, executor).await;
    access.close().await?;
    result
}

/// Runs it where a service is; what it prints goes to standard error here as it comes. Ctrl-C asks it to stop.
async fn run_elsewhere(server: &Server, arguments: &RunArgs, args: Arguments) -> anyhow::Result<Exit> {
    let mut signals = Signals::new()?;
    let wanted = StartRun {
        args: Some(args),
        as_of: arguments.as_of,
        force: arguments.force,
    };
    let mut run = server.start(&arguments.subject, &wanted).await?;
    let (mut reader, mut source) = (Reader::new(), Source::Server(server));
    loop {
        // The status is read before the output: what a run said is stored before its end is.
        let ended = !is_active(&run);
        let print = |text: &str| {
            say(text);
            Ok(())
        };
        reader.read(&mut source, &run, print).await?;
        if ended {
            break;
        }
        tokio::select! {
            () = tokio::time::sleep(FOLLOW_INTERVAL) => {}
            _ = signals.interrupt.recv() => drop(server.cancel(run.run_id).await?),
            _ = signals.terminate.recv() => drop(server.cancel(run.run_id).await?),
        }
        run = source.find(run.run_id).await?;
    }
    report(&run, arguments.json)?;
    Ok(if run.status == "succeeded" {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

async fn run_on(
    database: &Database,
    arguments: &RunArgs,
    args: Arguments,
    config: Config,
    executor: Executor,
) -> anyhow::Result<Exit> {
    let config = Arc::new(config);
    let interpreter = default_interpreter(&config).await?;
    let python = interpreter
        .as_ref()
        .ok()
        .map(|interpreter| interpreter.version.as_str());
    let context = Context {
        config: config.clone(),
        database: database.clone(),
        node: Node::enter(database, &config, "command", python).await?,
        recorder: Recorder::open(&config)?,
        wake: Arc::new(Wake::default()),
        channels: Arc::new(channels(&config)),
    };
    context.node.start_heartbeat(database.clone())?;
    let result = run_as(&context, arguments, args, interpreter, executor).await;
    if let Err(error) = context.node.leave(database).await {
        tracing::debug!(error = format!("{error:#}"), "this node's lease runs out by itself");
    }
    let row = result?;
    report(&row, arguments.json)?;
    Ok(if row.status == "succeeded" {
        Exit::Ok
    } else {
        Exit::Failed
    })
}

/// The channels, for the default of a task that is registered here. Nothing is sent from here, and a run does not fail for
/// them: a service that starts says what is wrong, and takes the task over.
fn channels(config: &Config) -> Channels {
    Channels::read(config).unwrap_or_else(|error| {
        say(&format!("warning: {error}\n"));
        Channels::default()
    })
}

/// Runs it as this node; its row.
async fn run_as(
    context: &Context,
    arguments: &RunArgs,
    args: Arguments,
    interpreter: Result<Interpreter, String>,
    executor: Executor,
) -> anyhow::Result<RunRow> {
    let database = &context.database;
    let builder = Builder::new(
        context.config.clone(),
        database.clone(),
        context.wake.clone(),
        executor.clone(),
        interpreter.clone(),
        true,
    );
    let mut connection = database.connection().await?;
    let task_id = find_task(
        &mut connection,
        &arguments.subject,
        interpreter.as_ref().ok(),
        &builder,
        context,
    )
    .await?;
    let stop_recorder = CancellationToken::new();
    tokio::spawn(context.recorder.clone().write_for_ever(
        database.clone(),
        context.node.clone(),
        stop_recorder.clone(),
    ));
    reaper::ensure_partitions(&mut connection, context.node.clock.now()).await?;
    // From here on there is a row that must have an end, whoever presses Ctrl-C.
    let mut signals = Signals::new()?;
    let request = Request {
        task_id,
        requested_by: actor(),
        args: text_of_arguments(&args),
        as_of: arguments.as_of,
        claim_for: Some(context.node.id()),
        force: arguments.force,
    };
    let fired = ask(&mut connection, &request, context)
        .await?
        .with_context(|| format!("the task `{}` is gone", arguments.subject))?;
    // Given back meanwhile: it may not outlive the run.
    drop(connection);
    if fired.claimed {
        let worker = Worker::new(context.clone(), executor, builder.clone());
        execute(&worker, context, &fired.run, &mut signals).await?;
        builder.leave().await;
        flush(context, &fired.run, &mut signals).await?;
    }
    stop_recorder.cancel();
    let filter = Filter {
        run_id: Some(fired.run.run_id),
        ..Filter::default()
    };
    let mut connection = database.connection().await?;
    runs::list(&mut connection, &filter, 1)
        .await?
        .pop()
        .context("the run's row is gone")
}

/// Asks for the run; again if somebody else took the same place in the same moment.
async fn ask(connection: &mut Connection, request: &Request, context: &Context) -> anyhow::Result<Option<runs::Fired>> {
    let mut tries = 1;
    loop {
        match runs::request(connection, request, context.node.clock.now()).await {
            Err(error) if is_taken_by_another(&error) && tries < TRIES => {
                tries += 1;
                tokio::time::sleep(TRY_AGAIN).await;
            }
            result => return Ok(result?),
        }
    }
}

/// Waits until Postgres has the end of the run, but not for ever, and not after Ctrl-C.
async fn flush(context: &Context, claim: &runs::Claim, signals: &mut Signals) -> anyhow::Result<()> {
    tokio::select! {
        () = context.recorder.flushed() => return Ok(()),
        () = tokio::time::sleep(FLUSH_PATIENCE) => {}
        _ = signals.interrupt.recv() => {}
        _ = signals.terminate.recv() => {}
    }
    anyhow::bail!(
        "run {} is over, but the database does not take its end now; the end is in the journal in `{}`, and `dropcron serve` \
         with this data directory writes it",
        claim.run_id,
        context.config.data_directory.display()
    )
}

/// What a terminal and a supervisor send.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

/// Runs the claim; its output goes to standard error as it comes. Ctrl-C asks it to stop, a second one kills it.
async fn execute(
    worker: &Arc<Worker>,
    context: &Context,
    claim: &runs::Claim,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let (stop, stopped) = watch::channel(None);
    let (listener, mut lines) = Listener::new();
    let printing = tokio::spawn(async move {
        while let Some(text) = lines.recv().await {
            let mut stderr = std::io::stderr().lock();
            // A terminal that is gone does not concern the run.
            let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
        }
    });
    let run = worker.run_here(claim, context.node.id(), stopped, listener);
    tokio::pin!(run);
    let mut asked = false;
    loop {
        let why = tokio::select! {
            _ = &mut run => break,
            _ = signals.interrupt.recv() => Stop::Requested,
            _ = signals.terminate.recv() => Stop::Shutdown,
            // Once only: asking a second time kills.
            why = asked_elsewhere(context, claim.run_id), if !asked => {
                asked = true;
                why
            }
        };
        let _ = stop.send(Some(why));
    }
    printing.await.context("the output cannot be printed")
}

/// Comes back when somebody has asked for this run to be stopped, from another terminal for example, or a newer run takes its place.
async fn asked_elsewhere(context: &Context, run_id: i64) -> Stop {
    loop {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let Ok(mut connection) = context.database.connection().await else {
            continue;
        };
        let stops = runs::stops(&mut connection, context.node.id())
            .await
            .unwrap_or_default();
        if let Some(request) = stops.iter().find(|request| request.run_id == run_id) {
            return request.why();
        }
    }
}

fn parse_arguments(pairs: &[String]) -> anyhow::Result<Arguments> {
    pairs
        .iter()
        .map(|pair| {
            let (name, value) = pair
                .split_once('=')
                .filter(|(name, _)| !name.is_empty())
                .ok_or_else(|| usage(format!("`--arg {pair}`: write `--arg name=value`")))?;
            // `3`, `true` and `{"a": 1}` are values; anything else is text.
            let value = match serde_json::from_str(value) {
                Ok(value) => value,
                Err(_) => serde_json::value::to_raw_value(value)?,
            };
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// The task of a name; or of a file, which is registered if it is new or has changed. What a service has registered is the
/// service's: this terminal's settings do not become those of the task.
async fn find_task(
    connection: &mut Connection,
    subject: &str,
    interpreter: Option<&Interpreter>,
    builder: &Builder,
    context: &Context,
) -> anyhow::Result<i64> {
    let config = context.config.as_ref();
    if let Some(task) = tasks::list(connection, Some(subject))
        .await?
        .into_iter()
        .find(|task| task.source == "directory")
    {
        return Ok(task.task_id);
    }
    let path = file_of(subject, config).ok_or_else(|| {
        not_found(format!(
            "`{subject}` is neither a task (`dropcron tasks` lists them) nor a file"
        ))
    })?;
    let mut is_task = path.starts_with(&config.scripts_directory);
    let root = if is_task {
        config.scripts_directory.clone()
    } else {
        path.parent().unwrap_or(Path::new("/")).to_path_buf()
    };
    let name = TaskName::from_path(path.strip_prefix(&root).unwrap_or(&path))
        .map_err(|problem| usage(problem.to_string()))?
        .ok_or_else(|| {
            usage(format!(
                "`{}` is no script: scripts end in `.py`, `.pyc` or `.so`, and do not begin with `_` or `.`",
                path.display()
            ))
        })?;
    let found = scan::list_one(&root, &path)?
        .found
        .remove(name.as_str())
        .filter(|found| found.path == path)
        .ok_or_else(|| {
            usage(format!(
                "`{}` is left out: another file makes the same task",
                path.display()
            ))
        })?;
    let content = scan::read(&found)
        .map_err(|problem| usage(format!("`{}`: {problem}", path.display())))?
        .with_context(|| format!("`{}` changed while it was read; try again", path.display()))?;
    if is_task && context.node.incarnation().live_nodes > 0 {
        let mut known = tasks::list(connection, Some(name.as_str())).await?.into_iter();
        if let Some(task) = known.find(|task| task.source == "directory") {
            if task.script_sha256 != Some(content.sha256) {
                say(&format!(
                    "note: `{}` differs from what is registered; this runs the registered version of `{name}`, and `dropcron \
                     serve` takes the file over in a moment\n",
                    path.display()
                ));
            }
            return Ok(task.task_id);
        }
    }
    let inspection = match interpreter {
        Some(interpreter) if found.kind == ScriptKind::Source => {
            scan::inspect(interpreter, &[&found]).map_err(anyhow::Error::msg)?.pop()
        }
        _ => None,
    };
    // A file with a problem is run all the same: its row says what Python makes of it. Not as the task of its name, whose
    // last good header and code stay in force.
    let (header, is_async, summary, requirements) =
        match scan::assess(&found, &content, inspection.as_ref(), &config.timezone) {
            Assessment::Task(task) => (task.header, task.is_async, task.summary, task.requirements),
            Assessment::Problem(problems) => {
                for problem in &problems {
                    say(&format!("warning: {}\n", problem.in_file(&path)));
                }
                is_task = false;
                (Header::default(), false, None, None)
            }
            Assessment::Library => {
                is_task = false;
                (Header::default(), false, None, None)
            }
        };
    // The default is for what a service runs.
    let notify = if is_task {
        context.channels.default.clone()
    } else {
        Notify::default()
    };
    let requirements = builder.needed(requirements);
    let mut wanted = registration(
        config,
        &notify,
        &found,
        &content,
        &header,
        is_async,
        summary,
        requirements.as_ref(),
        None,
    );
    if let Some(requirements) = &requirements {
        environments::ask(connection, &[(requirements.sha256(), requirements.to_json())]).await?;
    }
    if !is_task {
        wanted.source = "ad_hoc";
        wanted.name = path.display().to_string();
        wanted.script_path = wanted.name.clone();
        // Nobody asked for a schedule; the file is somebody's own.
        wanted.header.schedule = Vec::new();
    }
    let inspection = inspection.map(|inspection| serde_json::json!(inspection).to_string());
    tasks::store_versions(
        connection,
        &[Version {
            sha256: content.sha256,
            content: content.bytes,
            inspection,
        }],
    )
    .await?;
    let mut registered = tasks::register(connection, std::slice::from_ref(&wanted), &actor()).await?;
    if registered.is_empty() {
        // Somebody else registered it in the same moment; now it is there.
        registered = tasks::register(connection, &[wanted], &actor()).await?;
    }
    planner::run_once(connection).await?;
    Ok(registered
        .first()
        .context("the task was registered by somebody else at the same time; try again")?
        .task_id)
}

/// The file that somebody typed: from here, or from the scripts directory.
fn file_of(subject: &str, config: &Config) -> Option<PathBuf> {
    let candidates = [PathBuf::from(subject), config.scripts_directory.join(subject)];
    candidates
        .into_iter()
        .find(|path| path.is_file())
        .and_then(|path| std::path::absolute(path).ok())
}

fn report(row: &RunRow, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&runs_command::for_machines(row));
    }
    print(&table(&runs_command::HEADER, [runs_command::row(row)]))?;
    if let Some(traceback) = &row.traceback {
        print(&format!("{}\n", traceback.trim_end()))?;
    }
    for warning in &row.warnings {
        print(&format!("warning: {warning}\n"))?;
    }
    Ok(())
}
