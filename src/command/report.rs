//! `dropcron report`: what people ask most, from the views of `dropcron_report`. `dropcron roles`: who else may read them.

use anyhow::Context as _;
use serde_json::json;
use serde_json::value::RawValue;

use super::access::with_connection;
use super::output::{csv, print, print_json, shorten, table};
use super::runs::since;
use super::{Exit, not_found};
use crate::cli::{ReportArgs, ReportKind, RolesArgs};
use crate::config::Config;
use crate::store::report::{self, Filter, ReportRow};
use crate::store::tasks;

/// The columns of a report, as its statement gives them.
fn columns(kind: ReportKind) -> &'static [&'static str] {
    match kind {
        ReportKind::Daily => &[
            "day",
            "task",
            "runs",
            "success_rate",
            "failures",
            "skipped",
            "missed",
            "duration_p50_ms",
            "duration_p95_ms",
            "start_delay_p50_ms",
            "start_delay_p95_ms",
        ],
        ReportKind::Failures => &[
            "scheduled_for",
            "run_id",
            "task",
            "status",
            "reason",
            "attempt",
            "duration_ms",
            "error_type",
            "error_line",
        ],
        ReportKind::Values => &[
            "day", "task", "series", "points", "low", "high", "mean", "last", "suspects",
        ],
        ReportKind::Missed => &[
            "scheduled_for",
            "missed_until",
            "task",
            "missed_count",
            "reason",
            "detail",
        ],
    }
}

/// Prints one report.
pub(super) async fn report(arguments: &ReportArgs, config: &Config) -> anyhow::Result<Exit> {
    let filter = Filter {
        task: arguments.task.clone(),
        since: since(&arguments.since)?,
    };
    let rows = with_connection(config, async |connection| {
        let rows = match arguments.kind {
            ReportKind::Daily => report::daily(connection, &filter).await?,
            ReportKind::Failures => report::failures(connection, &filter).await?,
            ReportKind::Values => report::values(connection, &filter).await?,
            ReportKind::Missed => report::missed(connection, &filter).await?,
        };
        if let (true, Some(task)) = (rows.is_empty(), &arguments.task)
            && tasks::list(connection, Some(task)).await?.is_empty()
        {
            return Err(not_found(format!(
                "there is no task `{task}`; `dropcron tasks` lists them"
            )));
        }
        Ok(rows)
    })
    .await?;
    let columns = columns(arguments.kind);
    if arguments.json {
        let rows: Vec<&RawValue> = rows
            .iter()
            .map(|row| serde_json::from_str(&row.json))
            .collect::<Result<_, _>>()
            .context("what Postgres says is JSON is not")?;
        print_json(&rows)?;
    } else if arguments.csv {
        print(&csv(columns, rows.iter().map(cells)))?;
    } else {
        let header: Vec<String> = columns.iter().map(|name| name.replace('_', " ")).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let short = |row: &ReportRow| cells(row).iter().map(|cell| shorten(cell, 80)).collect();
        print(&table(&header, rows.iter().map(short)))?;
    }
    Ok(Exit::Ok)
}

fn cells(row: &ReportRow) -> Vec<String> {
    row.cells.iter().map(|cell| cell.clone().unwrap_or_default()).collect()
}

/// Makes the roles of the reports, or prints how.
pub(super) async fn roles(arguments: &RolesArgs, config: &Config) -> anyhow::Result<Exit> {
    if arguments.sql {
        print(report::ROLES)?;
        return Ok(Exit::Ok);
    }
    with_connection(config, async |connection| {
        report::make_roles(connection).await.context(
            "the roles cannot be made by the role of `DATABASE_URL`; give what `dropcron roles --sql` prints to somebody who may",
        )
    })
    .await?;
    if arguments.json {
        print_json(&json!({ "roles": ["dropcron_reader", "dropcron_operator"] }))?;
    } else {
        print(
            "`dropcron_reader` may read the views of `dropcron_report`, `dropcron_operator` may call its functions; `grant dropcron_reader to ada` in psql passes that on\n",
        )?;
    }
    Ok(Exit::Ok)
}
