//! `dropcron notify`: channels tried, and what was sent to them.

use std::time::Instant;

use anyhow::Context as _;
use serde_json::json;
use uuid::Uuid;

use super::access::with_connection;
use super::output::{instant, maybe_instant, milliseconds, print, print_json, shorten, table};
use super::runs::since;
use super::serve::read_channels;
use super::{Exit, actor, not_found, usage};
use crate::cli::{NotifyListArgs, NotifyTestArgs};
use crate::config::Config;
use crate::service::notifier::{Channels, HOLD, Message};
use crate::store::Connection;
use crate::store::deliveries::{self, DeliveryRow};

/// How one channel took its test.
struct Tested {
    channel: String,
    kind: &'static str,
    delivery_id: Uuid,
    took_ms: f64,
    error: Option<String>,
}

/// Sends a test through every channel or one, from this process, one after another.
pub(super) async fn test(arguments: &NotifyTestArgs, config: &Config) -> anyhow::Result<Exit> {
    let channels = read_channels(config)?;
    let names = wanted(&channels, arguments.channel.as_deref(), config)?;
    let tested = with_connection(config, async |connection| {
        let mut tested = Vec::new();
        for name in &names {
            tested.push(test_one(connection, &channels, name).await?);
        }
        Ok(tested)
    })
    .await?;
    if arguments.json {
        let rows = tested.iter().map(|tested| {
            json!({
                "channel": tested.channel, "type": tested.kind, "delivery_id": tested.delivery_id,
                "delivered": tested.error.is_none(), "took_ms": tested.took_ms, "error": tested.error,
            })
        });
        print_json(&rows.collect::<Vec<_>>())?;
    } else {
        print(&table(&["channel", "type", "took", "what"], tested.iter().map(row)))?;
    }
    let all_well = tested.iter().all(|tested| tested.error.is_none());
    Ok(if all_well { Exit::Ok } else { Exit::Failed })
}

/// The channels that are to be tried.
fn wanted(channels: &Channels, name: Option<&str>, config: &Config) -> anyhow::Result<Vec<String>> {
    let known: Vec<String> = channels.names().map(str::to_owned).collect();
    if config.notify_file.is_none() {
        return Err(usage(
            "there are no channels: `DROPCRON_NOTIFY_FILE` is not set; see docs/notifications.md",
        ));
    }
    match name {
        None if known.is_empty() => Err(usage("the file of `DROPCRON_NOTIFY_FILE` has no channels")),
        None => Ok(known),
        Some(name) if known.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(not_found(format!(
            "there is no channel `{name}`; the file of `DROPCRON_NOTIFY_FILE` has {}",
            known
                .iter()
                .map(|known| format!("`{known}`"))
                .collect::<Vec<_>>()
                .join(", ")
        ))),
    }
}

/// A test is a delivery like any other, but for being tried once.
async fn test_one(connection: &mut Connection, channels: &Channels, name: &str) -> anyhow::Result<Tested> {
    let channel = channels.get(name).context("the channel was there a moment ago")?;
    let sender = Uuid::now_v7();
    let facts = json!({ "requested_by": actor() });
    let delivery = deliveries::add_test(connection, name, &facts, sender, HOLD).await?;
    let begun = Instant::now();
    let error = channel.send(&Message::of(&delivery)).await.err();
    let took_ms = begun.elapsed().as_secs_f64() * 1000.0;
    deliveries::settle(connection, delivery.delivery_id, sender, error.as_deref(), None, HOLD).await?;
    Ok(Tested {
        channel: name.to_owned(),
        kind: channel.kind,
        delivery_id: delivery.delivery_id,
        took_ms,
        error,
    })
}

fn row(tested: &Tested) -> Vec<String> {
    vec![
        tested.channel.clone(),
        tested.kind.to_owned(),
        milliseconds(Some(tested.took_ms)),
        match &tested.error {
            None => "delivered".to_owned(),
            Some(error) => format!("failed: {error}"),
        },
    ]
}

/// Prints a line for each delivery, newest first.
pub(super) async fn list(arguments: &NotifyListArgs, config: &Config) -> anyhow::Result<Exit> {
    let since = arguments.since.as_deref().map(since).transpose()?;
    let since = since.unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let rows = with_connection(config, async |connection| {
        Ok(deliveries::list(connection, since, arguments.limit).await?)
    })
    .await?;
    if arguments.json {
        print_json(&rows.iter().map(for_machines).collect::<Vec<_>>())?;
        return Ok(Exit::Ok);
    }
    let header = [
        "made",
        "state",
        "channel",
        "kind",
        "task",
        "run",
        "scheduled for",
        "tries",
        "last error",
    ];
    print(&table(&header, rows.iter().map(for_people)))?;
    Ok(Exit::Ok)
}

fn for_people(row: &DeliveryRow) -> Vec<String> {
    vec![
        instant(row.created_at),
        row.state.clone(),
        row.channel.clone(),
        row.kind.clone(),
        row.task_name.clone().unwrap_or_default(),
        row.run_id.map(|run_id| run_id.to_string()).unwrap_or_default(),
        maybe_instant(row.scheduled_for),
        row.attempts.to_string(),
        shorten(row.last_error.as_deref().unwrap_or_default(), 80),
    ]
}

fn for_machines(row: &DeliveryRow) -> serde_json::Value {
    let is_pending = row.state == "pending";
    json!({
        "delivery_id": row.delivery_id, "state": row.state, "channel": row.channel, "kind": row.kind, "task_id": row.task_id,
        "task": row.task_name, "run_id": row.run_id, "scheduled_for": row.scheduled_for, "attempt": row.attempt,
        "facts": serde_json::from_str::<serde_json::Value>(&row.facts).unwrap_or_default(),
        "attempts": row.attempts, "next_attempt_at": is_pending.then_some(row.next_attempt_at),
        "last_error": row.last_error, "created_at": row.created_at, "delivered_at": row.delivered_at,
    })
}
