//! `dropcron runs`: rows of the run log. `dropcron cancel`: one of them asked to stop.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::access::with_connection;
use super::output::{instant, milliseconds, print, print_json, shorten, table};
use super::remote::Server;
use super::{Exit, actor, not_found, usage};
use crate::api::Cancelled;
use crate::cli::{CancelArgs, RunsArgs};
use crate::config::Config;
use crate::schedule::parse_duration;
use crate::script::ContentHash;
use crate::store::pages::{self, RunFilter};
use crate::store::runs::{self, RunRow};
use crate::store::tasks;

/// Prints a line for each row, newest first.
pub(super) async fn runs(arguments: &RunsArgs, config: &Config) -> anyhow::Result<Exit> {
    let filter = RunFilter {
        task_name: arguments.task.clone(),
        statuses: arguments.status.into_iter().collect(),
        since: arguments.since.as_deref().map(since).transpose()?,
        ..RunFilter::default()
    };
    let rows = match Server::of(config)? {
        Some(server) => server.runs(&filter, arguments.limit).await?,
        None => read(&filter, arguments, config).await?,
    };
    if arguments.json {
        print_json(&rows.iter().map(for_machines).collect::<Vec<_>>())?;
    } else {
        print(&table(&HEADER, rows.iter().map(row)))?;
    }
    Ok(Exit::Ok)
}

async fn read(filter: &RunFilter, arguments: &RunsArgs, config: &Config) -> anyhow::Result<Vec<RunRow>> {
    with_connection(config, async |connection| {
        let rows = pages::runs(connection, filter, arguments.limit).await?;
        if let (true, Some(task)) = (rows.is_empty(), &arguments.task)
            && tasks::list(connection, Some(task)).await?.is_empty()
        {
            return Err(not_found(format!(
                "there is no task `{task}`; `dropcron tasks` lists them"
            )));
        }
        Ok(rows)
    })
    .await
}

/// The instant that lies so long ago.
pub(super) fn since(text: &str) -> anyhow::Result<Timestamp> {
    let duration = parse_duration(text).map_err(|error| usage(format!("`--since {text}`: {error}")))?;
    let duration = SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX);
    Ok(Timestamp::now()
        .saturating_sub(duration)
        .unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The columns for people.
pub(super) const HEADER: [&str; 8] = [
    "run",
    "task",
    "scheduled for",
    "trigger",
    "status",
    "took",
    "late",
    "what",
];

/// One row for people.
pub(super) fn row(run: &RunRow) -> Vec<String> {
    let status = match &run.reason {
        Some(reason) => format!("{} ({reason})", run.status),
        None => run.status.clone(),
    };
    let attempt = if run.attempt > 1 {
        format!(" #{}", run.attempt)
    } else {
        String::new()
    };
    vec![
        run.run_id.to_string(),
        run.task_name.clone(),
        instant(run.scheduled_for),
        run.trigger.clone() + &attempt,
        status,
        milliseconds(run.duration_ms),
        milliseconds(run.start_delay_ms),
        what(run),
    ]
}

/// What a row has to say: its value, its error, or the facts behind its reason.
fn what(run: &RunRow) -> String {
    if let Some(count) = run.missed_count {
        let until = run.missed_until.map(instant).unwrap_or_default();
        return if count == 1 {
            "1 instant".to_owned()
        } else {
            format!("{count} instants until {until}")
        };
    }
    let error = run.error.as_ref().map(|error| match &run.error_type {
        Some(kind) => format!("{kind}: {error}"),
        None => error.clone(),
    });
    let left_out = |bytes: i32| format!("(a large value: {} KiB)", bytes / 1024);
    let text = error
        .or_else(|| run.return_value.clone())
        .or_else(|| run.return_value_bytes.map(left_out))
        .or_else(|| run.detail.clone())
        .unwrap_or_default();
    shorten(&text, 80)
}

/// A row as JSON: the columns of the run log, with the error as one object. The return value keeps every digit.
#[derive(Serialize)]
pub(super) struct RunJson<'a> {
    run_id: i64,
    task_id: i64,
    task: &'a str,
    scheduled_for: Timestamp,
    attempt: i16,
    trigger: &'a str,
    status: &'a str,
    reason: Option<&'a str>,
    detail: Option<&'a str>,
    as_of: Option<Timestamp>,
    node_id: Option<Uuid>,
    queued_at: Timestamp,
    due_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    duration_ms: Option<f64>,
    start_delay_ms: Option<f64>,
    exit_code: Option<i32>,
    signal: Option<i16>,
    missed_count: Option<i64>,
    missed_until: Option<Timestamp>,
    blocking_run_id: Option<i64>,
    return_value: Option<&'a RawValue>,
    /// The size of one that the service elsewhere left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    return_value_bytes: Option<i32>,
    error: Option<ErrorJson<'a>>,
    warnings: &'a [String],
    max_rss_kb: Option<i64>,
    cpu_ms: Option<i64>,
    script_sha256: Option<ContentHash>,
    late_report: bool,
    requested_by: Option<&'a str>,
    limits: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct ErrorJson<'a> {
    #[serde(rename = "type")]
    kind: Option<&'a str>,
    message: &'a str,
    traceback: Option<&'a str>,
}

/// One row for machines.
pub(super) fn for_machines(run: &RunRow) -> RunJson<'_> {
    RunJson {
        run_id: run.run_id,
        task_id: run.task_id,
        task: &run.task_name,
        scheduled_for: run.scheduled_for,
        attempt: run.attempt,
        trigger: &run.trigger,
        status: &run.status,
        reason: run.reason.as_deref(),
        detail: run.detail.as_deref(),
        as_of: run.as_of,
        node_id: run.node_id,
        queued_at: run.queued_at,
        due_at: run.due_at,
        started_at: run.started_at,
        finished_at: run.finished_at,
        duration_ms: run.duration_ms,
        start_delay_ms: run.start_delay_ms,
        exit_code: run.exit_code,
        signal: run.signal,
        missed_count: run.missed_count,
        missed_until: run.missed_until,
        blocking_run_id: run.blocking_run_id,
        // What jsonb prints is JSON.
        return_value: run
            .return_value
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
        return_value_bytes: run.return_value_bytes,
        error: run.error.as_deref().map(|message| ErrorJson {
            kind: run.error_type.as_deref(),
            message,
            traceback: run.traceback.as_deref().filter(|text| !text.is_empty()),
        }),
        warnings: &run.warnings,
        max_rss_kb: run.max_rss_kb,
        cpu_ms: run.cpu_ms,
        script_sha256: run.script_sha256,
        late_report: run.late_report,
        requested_by: run.requested_by.as_deref(),
        limits: run.limits.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}

/// Asks that a run be stopped.
pub(super) async fn cancel(arguments: &CancelArgs, config: &Config) -> anyhow::Result<Exit> {
    let run_id = arguments.run;
    let Cancelled {
        task, asked, status, ..
    } = match Server::of(config)? {
        Some(server) => server.cancel(run_id).await?,
        None => cancel_here(run_id, config).await?,
    };
    if arguments.json {
        print_json(&json!({ "run_id": run_id, "asked": asked, "status": status }))?;
    } else if asked {
        print(&format!("run {run_id} of `{task}` is asked to stop\n"))?;
    } else {
        print(&format!("run {run_id} of `{task}` is {status} already\n"))?;
    }
    Ok(Exit::Ok)
}

async fn cancel_here(run_id: i64, config: &Config) -> anyhow::Result<Cancelled> {
    let (asked, row) = with_connection(config, async |connection| {
        let asked = runs::cancel(connection, run_id, &actor()).await?;
        Ok((asked, runs::find(connection, run_id).await?))
    })
    .await?;
    let row = row.ok_or_else(|| not_found(format!("there is no run {run_id}; `dropcron runs` lists them")))?;
    Ok(Cancelled {
        run_id,
        task: row.task_name,
        asked,
        status: row.status,
    })
}
