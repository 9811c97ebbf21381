//! Retention: rolls days up, and removes what is older than it is to be kept.
//!
//! One node does it for all, by a duty; each node looks after the files of its own data directory. A pass asks the database what
//! is to go and does that step by step: days are rolled up first, partitions go whole, tasks that keep less than others lose rows in
//! small batches. What cannot be done now, such as dropping a partition that somebody reads, is left to a later pass: nobody who
//! writes ever waits for it for longer than a moment.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::health::Pulse;
use super::versions::Versions;
use super::worker::{Context, Worker};
use crate::config::Config;
use crate::store::retention::{self, DuePartition, Keep, ShortTask};
use crate::store::{Connection, nodes};

/// Between two passes: days are rolled up soon after they are over.
const PASS: Duration = Duration::from_secs(3600);

/// A pass that takes longer hangs: the first one on a large log that nobody pruned takes its time.
const LONGEST_PASS: Duration = Duration::from_secs(6 * 3600);

/// The duty is held for longer than until the next pass; a node that is gone loses it at once.
const DUTY: Duration = Duration::from_secs(2 * 3600);

/// Ends of runs may be corrected for so many days: a node that was cut off comes back with what its journal says.
const CORRECTED_DAYS: i32 = 8;

/// How long a partition is waited for: whoever wants to write waits behind that.
const LOCK_PATIENCE: Duration = Duration::from_millis(100);

/// Pauses between the tries to drop one partition: most readers are done in between.
const LOCK_PAUSES: [Duration; 4] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// A script version's file that was used or written less long ago stays.
const FILE_AGE: Duration = Duration::from_secs(24 * 3600);

/// What a pass did, or would do.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    /// Days that were rolled up.
    pub days_rolled_up: usize,
    /// Partitions, oldest first.
    pub partitions: Vec<PrunedPartition>,
    /// Tasks that keep less than others.
    pub tasks: Vec<PrunedTask>,
    /// Nodes that were gone before the run log begins.
    pub nodes: usize,
    /// Settled deliveries.
    pub deliveries: usize,
    /// Script versions that no row names.
    pub script_versions: usize,
}

/// A partition that was to go.
#[derive(Debug, Serialize)]
pub struct PrunedPartition {
    /// Its name.
    pub partition: String,
    /// What it holds begins with this instant,
    pub begins_at: Timestamp,
    /// and ends before this one.
    pub ends_at: Timestamp,
    /// How many rows it has or had.
    pub rows: i64,
    /// How much of the disk it takes or took.
    pub bytes: i64,
    /// `due`, or what became of it: `dropped`, `unsettled`, `locked`, `in_the_way`.
    pub outcome: String,
    /// What is in the way.
    pub detail: Option<String>,
}

/// What a task lost that keeps less than others.
#[derive(Debug, Serialize)]
pub struct PrunedTask {
    /// Its name.
    pub task: String,
    /// Rows of the run log.
    pub runs: usize,
    /// Its runs are kept from this instant on.
    pub runs_kept_since: Option<Timestamp>,
    /// Chunks of output, of runs that are kept.
    pub output_chunks: usize,
    /// Output is kept of runs from this instant on.
    pub output_kept_since: Option<Timestamp>,
}

/// How long this process is to keep what.
pub fn keep(config: &Config) -> Keep {
    Keep {
        output: config.keep_output,
        runs: config.keep_runs,
    }
}

/// What would go, without touching it.
pub async fn survey(connection: &mut Connection, keep: Keep) -> anyhow::Result<Pruned> {
    retention::be_patient(connection).await?;
    let mut pruned = Pruned::default();
    for due in retention::due_partitions(connection, keep).await? {
        pruned.partitions.push(told(due, "due".to_owned(), None));
    }
    for task in retention::short_tasks(connection, keep).await? {
        let runs = match task.runs_until {
            Some(until) => retention::count_runs(connection, task.task_id, until).await?,
            None => 0,
        };
        let output_chunks = match task.output_until {
            Some(until) => retention::count_output(connection, task.task_id, task.output_from, until).await?,
            None => 0,
        };
        pruned.tasks.push(told_of(&task, runs, output_chunks));
    }
    pruned.tasks.retain(|task| task.runs + task.output_chunks > 0);
    Ok(pruned)
}

/// Does what is due, until told to stop: the rest is for another pass.
pub async fn prune(connection: &mut Connection, keep: Keep, stop: &CancellationToken) -> anyhow::Result<Pruned> {
    retention::be_patient(connection).await?;
    let mut pruned = Pruned::default();
    for day in retention::days(connection, CORRECTED_DAYS).await? {
        if stop.is_cancelled() {
            return Ok(pruned);
        }
        pruned.days_rolled_up += usize::from(retention::roll_up(connection, &day).await?);
    }
    for due in retention::due_partitions(connection, keep).await? {
        if stop.is_cancelled() {
            return Ok(pruned);
        }
        let (outcome, detail) = drop_patiently(connection, &due.partition).await?;
        pruned.partitions.push(told(due, outcome, detail));
    }
    for task in retention::short_tasks(connection, keep).await? {
        pruned.tasks.push(shorten(connection, &task, stop).await?);
    }
    pruned.tasks.retain(|task| task.runs + task.output_chunks > 0);
    retention::delete_trials(connection).await?;
    if let Some(runs) = keep.runs.filter(|_| !stop.is_cancelled()) {
        pruned.nodes = retention::delete_nodes(connection, runs).await?;
        loop {
            let deleted = retention::delete_deliveries(connection, runs).await?;
            pruned.deliveries += deleted;
            if deleted == 0 {
                break;
            }
        }
        pruned.script_versions = retention::delete_versions(connection, runs).await?;
    }
    Ok(pruned)
}

async fn drop_patiently(connection: &mut Connection, partition: &str) -> anyhow::Result<(String, Option<String>)> {
    let mut pauses = LOCK_PAUSES.iter();
    loop {
        let dropping = retention::drop_partition(connection, partition, LOCK_PATIENCE).await?;
        match pauses.next() {
            Some(pause) if dropping.outcome == "locked" => tokio::time::sleep(*pause).await,
            _ => return Ok((dropping.outcome, dropping.detail)),
        }
    }
}

async fn shorten(
    connection: &mut Connection,
    task: &ShortTask,
    stop: &CancellationToken,
) -> anyhow::Result<PrunedTask> {
    retention::shorten(connection, task).await?;
    let (mut runs, mut output_chunks) = (0, 0);
    while let Some(until) = task.runs_until.filter(|_| !stop.is_cancelled()) {
        match retention::delete_runs(connection, task.task_id, until).await? {
            0 => break,
            deleted => runs += deleted,
        }
    }
    while let Some(until) = task.output_until.filter(|_| !stop.is_cancelled()) {
        match retention::delete_output(connection, task.task_id, task.output_from, until).await? {
            0 => break,
            deleted => output_chunks += deleted,
        }
    }
    Ok(told_of(task, runs, output_chunks))
}

fn told(due: DuePartition, outcome: String, detail: Option<String>) -> PrunedPartition {
    PrunedPartition {
        partition: due.partition,
        begins_at: due.begins_at,
        ends_at: due.ends_at,
        rows: due.row_count,
        bytes: due.bytes,
        outcome,
        detail,
    }
}

fn told_of(task: &ShortTask, runs: usize, output_chunks: usize) -> PrunedTask {
    PrunedTask {
        task: task.name.clone(),
        runs,
        runs_kept_since: task.runs_until,
        output_chunks,
        output_kept_since: task.output_until,
    }
}

/// Runs passes; see the module.
pub struct Retention {
    context: Context,
    pulse: Pulse,
    worker: Arc<Worker>,
    /// What the last pass could not do, so that it is said once for as long as it is so.
    reported: HashSet<String>,
}

impl Retention {
    /// For the node of this context, whose script versions this worker keeps.
    pub fn new(context: Context, worker: Arc<Worker>) -> Retention {
        Retention {
            pulse: context.node.pulse("retention", LONGEST_PASS),
            context,
            worker,
            reported: HashSet::new(),
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.pulse.pass();
            self.run_once(&stop).await;
            self.pulse.rest(PASS);
            tokio::select! {
                () = tokio::time::sleep(PASS) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn run_once(&mut self, stop: &CancellationToken) {
        let mut to_report = HashSet::new();
        match self.prune_on_duty(stop).await {
            Ok(pruned) => to_report.extend(pruned.partitions.iter().filter_map(hindrance)),
            Err(error) => {
                to_report.insert(format!("{error:#}"));
            }
        }
        if let Err(error) = remove_unused_files(&self.context, self.worker.versions()).await {
            to_report.insert(format!("{error:#}"));
        }
        for problem in to_report.difference(&self.reported) {
            tracing::warn!(
                problem,
                "not all that is older than it is to be kept can be removed yet"
            );
        }
        self.reported = to_report;
    }

    async fn prune_on_duty(&self, stop: &CancellationToken) -> anyhow::Result<Pruned> {
        // One of its own: it waits longer for answers than those of the pool may.
        let mut connection = self.context.database.dedicated().await?;
        if !nodes::hold_duty(&mut connection, "retention", self.context.node.id(), DUTY).await? {
            return Ok(Pruned::default());
        }
        let pruned = prune(&mut connection, keep(&self.context.config), stop).await?;
        let dropped: Vec<&str> = pruned
            .partitions
            .iter()
            .filter(|partition| partition.outcome == "dropped")
            .map(|partition| partition.partition.as_str())
            .collect();
        if !dropped.is_empty() || !pruned.tasks.is_empty() {
            tracing::info!(
                partitions = dropped.join(", "),
                runs = pruned.tasks.iter().map(|task| task.runs).sum::<usize>(),
                "removed what is older than it is to be kept"
            );
        }
        Ok(pruned)
    }
}

/// What keeps a partition from going, and what to do about it.
pub fn hindrance(partition: &PrunedPartition) -> Option<String> {
    let name = &partition.partition;
    let detail = partition.detail.as_deref().unwrap_or("nobody knows what");
    match partition.outcome.as_str() {
        "locked" => Some(format!("`{name}` is in use: {detail}; it goes when that ends")),
        "in_the_way" => Some(format!(
            "`{name}` cannot be dropped: {detail}; drop that, or build it on `run_log`"
        )),
        "unsettled" => Some(format!("`{name}` cannot be dropped yet: {detail}")),
        _ => None,
    }
}

async fn remove_unused_files(context: &Context, versions: &Versions) -> anyhow::Result<()> {
    let candidates = versions.unused_for(FILE_AGE);
    if candidates.is_empty() {
        return Ok(());
    }
    let mut connection = context.database.connection().await?;
    // Read after the files were forgotten: what is asked for since is not removed.
    let used = retention::used_versions(&mut connection).await?;
    versions.remove(&candidates, &used.into_iter().collect());
    Ok(())
}
