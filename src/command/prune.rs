//! `dropcron prune`: what the service removes by itself, removed now, or only listed.

use tokio_util::sync::CancellationToken;

use super::Exit;
use super::access::with_connection;
use super::output::{instant, print, print_json, table};
use crate::cli::PruneArgs;
use crate::config::Config;
use crate::service::retention::{self, Pruned, hindrance};
use crate::size::format_size;

/// Removes what is older than it is to be kept.
pub(super) async fn prune(arguments: &PruneArgs, config: &Config) -> anyhow::Result<Exit> {
    let keep = retention::keep(config);
    let pruned = with_connection(config, async |connection| {
        if arguments.dry_run {
            return retention::survey(connection, keep).await;
        }
        retention::prune(connection, keep, &CancellationToken::new()).await
    })
    .await?;
    if arguments.json {
        print_json(&pruned)?;
    } else {
        print(&for_people(&pruned, arguments.dry_run))?;
    }
    let hindered = pruned.partitions.iter().any(|partition| hindrance(partition).is_some());
    Ok(if hindered { Exit::Failed } else { Exit::Ok })
}

fn for_people(pruned: &Pruned, is_dry: bool) -> String {
    let mut text = String::new();
    if !pruned.partitions.is_empty() {
        let row = |partition: &retention::PrunedPartition| {
            vec![
                partition.partition.clone(),
                instant(partition.begins_at),
                instant(partition.ends_at),
                partition.rows.to_string(),
                format_size(u64::try_from(partition.bytes).unwrap_or(0)),
                if is_dry {
                    "would go".to_owned()
                } else {
                    partition.outcome.clone()
                },
            ]
        };
        text.push_str(&table(
            &["partition", "from", "to", "rows", "size", ""],
            pruned.partitions.iter().map(row),
        ));
    }
    for task in &pruned.tasks {
        let gone = if is_dry { "would go" } else { "went" };
        text.push_str(&format!(
            "{}: {} runs and {} chunks of output {gone}, as its header asks\n",
            task.task, task.runs, task.output_chunks
        ));
    }
    for hindrance in pruned.partitions.iter().filter_map(hindrance) {
        text.push_str(&format!("{hindrance}\n"));
    }
    if pruned.partitions.is_empty() && pruned.tasks.is_empty() {
        text.push_str("nothing is older than it is to be kept\n");
    }
    if !is_dry {
        text.push_str(&format!(
            "{} days rolled up; {} nodes, {} deliveries and {} script versions removed\n",
            pruned.days_rolled_up, pruned.nodes, pruned.deliveries, pruned.script_versions
        ));
    }
    text
}
