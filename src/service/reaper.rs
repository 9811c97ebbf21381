//! The reaper: settles what nodes that are gone left behind, and keeps partitions ahead of time.
//!
//! Nodes of other data directories are judged by the database alone, and only after this node has itself been in contact for a
//! whole lease: after an outage everybody's heartbeat is old. Earlier nodes of this data directory are gone for certain, since
//! this process holds its lock.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use tokio_util::sync::CancellationToken;

use super::health::Pulse;
use super::recorder;
use super::worker::Context;
use crate::store::{Connection, nodes, runs};

/// Passes in a lease.
const PASSES: u32 = 3;

/// A pass that takes longer hangs; a large journal takes a while.
const LONGEST_PASS: Duration = Duration::from_secs(900);

/// Settles what is left behind; see the module.
pub struct Reaper {
    context: Context,
    pulse: Pulse,
    /// What the last pass could not do, so that it is said once for as long as it is so.
    reported: HashSet<String>,
}

impl Reaper {
    /// For the node of this context.
    pub fn new(context: Context) -> Reaper {
        Reaper {
            pulse: context.node.pulse("reaper", LONGEST_PASS),
            context,
            reported: HashSet::new(),
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let pause = self.context.node.lease() / PASSES;
        loop {
            self.pulse.pass();
            self.run_once().await;
            self.pulse.rest(pause);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One pass: journals first, so that what ended is not called lost. A step that fails does not keep the next from being
    /// done.
    pub async fn run_once(&mut self) {
        let context = &self.context;
        let steps = [
            recorder::replay_left_journals(&context.database, &context.config).await,
            declare_dead(context).await,
            settle(context).await,
            ensure_partitions_of(context).await,
        ];
        let errors: HashSet<String> = steps
            .into_iter()
            .filter_map(|step| Some(format!("{:#}", step.err()?)))
            .collect();
        for error in errors.difference(&self.reported) {
            tracing::warn!(%error, "what is left behind cannot be settled yet");
        }
        self.reported = errors;
    }
}

async fn declare_dead(context: &Context) -> anyhow::Result<()> {
    let node = &context.node;
    let mut connection = context.database.connection().await?;
    let gone = nodes::declare_dead(
        &mut connection,
        node.id(),
        node.lease(),
        node.data_directory_id(),
        node.host(),
    )
    .await?;
    for node_id in gone {
        tracing::warn!(node.id = %node_id, "a node is gone");
    }
    Ok(())
}

async fn settle(context: &Context) -> anyhow::Result<()> {
    let mut connection = context.database.connection().await?;
    loop {
        let settled = nodes::settle_orphaned(&mut connection).await?;
        for run in &settled {
            tracing::warn!(
                run.id = run.run_id,
                task.name = run.task_name,
                run.status = run.status,
                "a run was left behind by a node that is gone"
            );
        }
        if settled.is_empty() {
            return Ok(());
        }
        context.wake.queue();
    }
}

async fn ensure_partitions_of(context: &Context) -> anyhow::Result<()> {
    let mut connection = context.database.connection().await?;
    ensure_partitions(&mut connection, context.node.clock.now()).await
}

/// This month's and the next's, today's and tomorrow's.
pub async fn ensure_partitions(connection: &mut Connection, now: Timestamp) -> anyhow::Result<()> {
    let utc = now.to_zoned(jiff::tz::TimeZone::UTC);
    for at in [utc.clone(), utc.saturating_add(1.month())] {
        runs::ensure_run_log_partition(connection, at.timestamp()).await?;
    }
    for at in [utc.clone(), utc.saturating_add(1.day())] {
        runs::ensure_run_output_partition(connection, at.timestamp()).await?;
    }
    Ok(())
}
