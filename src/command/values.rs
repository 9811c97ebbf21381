//! `dropcron values`: points of series, and what people say of them.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::access::with_connection;
use super::output::{print, print_json, shorten, table};
use super::remote::{Server, encoded};
use super::runs::since;
use super::{Exit, actor, not_found};
use crate::cli::{ValuesArgs, ValuesVerb, VerdictArgs};
use crate::config::Config;
use crate::script::ContentHash;
use crate::store::Connection;
use crate::store::observations::{self, Filter, PointRow, Stale, Verdict};
use crate::store::tasks;

/// The columns for people and for CSV.
const HEADER: [&str; 8] = ["task", "series", "at", "value", "unit", "run", "suspect", "verdict"];

/// Lists points, or says something of one.
pub(super) async fn values(arguments: &ValuesArgs, config: &Config) -> anyhow::Result<Exit> {
    match &arguments.verb {
        None => list(arguments, config).await,
        Some(ValuesVerb::Accept(verdict)) => settle(verdict, "accepted", config).await,
        Some(ValuesVerb::Reject(verdict)) => settle(verdict, "rejected", config).await,
    }
}

async fn list(arguments: &ValuesArgs, config: &Config) -> anyhow::Result<Exit> {
    let filter = Filter {
        task_name: arguments.task.clone(),
        series: arguments.series.clone(),
        since: match &arguments.since {
            Some(text) => since(text)?,
            None => observations::FIRST_INSTANT,
        },
        open_only: arguments.suspect,
    };
    let (task, series) = (arguments.task.as_deref(), arguments.series.as_deref());
    let (rows, stale) = match Server::of(config)? {
        Some(server) => server.points(&query(arguments)).await?,
        None => {
            with_connection(config, async |connection| {
                let rows = observations::list(connection, &filter, arguments.last).await?;
                if let (true, Some(task)) = (rows.is_empty(), task) {
                    find_task(connection, task).await?;
                }
                Ok((rows, observations::stale(connection, task, series).await?))
            })
            .await?
        }
    };
    if arguments.json {
        print_json(&rows.iter().map(for_machines).collect::<Vec<_>>())?;
    } else if arguments.csv {
        print(&csv(&rows)?)?;
    } else {
        print(&table(&HEADER, rows.iter().map(|row| cells(row, true))))?;
        print(&stale.iter().map(stale_line).collect::<String>())?;
    }
    Ok(Exit::Ok)
}

/// The same for a service elsewhere.
fn query(arguments: &ValuesArgs) -> String {
    let mut query = format!("limit={}&suspect={}", arguments.last, arguments.suspect);
    for (name, value) in [
        ("task", &arguments.task),
        ("series", &arguments.series),
        ("since", &arguments.since),
    ] {
        if let Some(value) = value {
            query.push_str(&format!("&{name}={}", encoded(value)));
        }
    }
    query
}

/// The number of a task that there is; an error that says so if there is none.
pub(super) async fn find_task(connection: &mut Connection, name: &str) -> anyhow::Result<i64> {
    let found = tasks::list(connection, Some(name)).await?.pop();
    found
        .map(|task| task.task_id)
        .ok_or_else(|| not_found(format!("there is no task `{name}`; `dropcron tasks` lists them")))
}

fn stale_line(stale: &Stale) -> String {
    let last = match stale.last_at {
        Some(at) => format!("no number since that of {at}"),
        None => "no number yet".to_owned(),
    };
    format!(
        "stale: {} {}: {last}, and one is expected every {} s (`stale_after` in its header)\n",
        stale.task_name, stale.series, stale.stale_after_seconds
    )
}

fn cells(row: &PointRow, for_people: bool) -> Vec<String> {
    let number = row.number.clone().unwrap_or_default();
    let number = match for_people {
        true if row.number.is_none() => format!("({})", row.kind),
        true => shorten(&number, 40),
        false => number,
    };
    let suspect = row.suspect.clone().unwrap_or_default();
    let suspect = match (row.breach, &row.suspect) {
        (false, Some(hint)) if for_people => format!("hint: {hint}"),
        _ => suspect,
    };
    let verdict = match (&row.verdict, &row.verdict_by) {
        (Some(verdict), Some(by)) if for_people => {
            let note = row.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
            format!("{verdict} by {by}{note}")
        }
        (verdict, _) => verdict.clone().unwrap_or_default(),
    };
    let run = match row.run_id {
        Some(run_id) => run_id.to_string(),
        None if for_people => "imported".to_owned(),
        None => String::new(),
    };
    vec![
        row.task_name.clone(),
        row.series.clone(),
        row.at.to_string(),
        number,
        row.unit.clone().unwrap_or_default(),
        run,
        suspect,
        verdict,
    ]
}

fn csv(rows: &[PointRow]) -> anyhow::Result<String> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER)?;
    for row in rows {
        writer.write_record(cells(row, false))?;
    }
    Ok(String::from_utf8(writer.into_inner()?)?)
}

/// A point as JSON; the number keeps every digit.
#[derive(Serialize)]
struct PointJson<'a> {
    task_id: i64,
    task: &'a str,
    series: &'a str,
    at: Timestamp,
    value: Option<Box<RawValue>>,
    kind: &'a str,
    unit: Option<&'a str>,
    run_id: Option<i64>,
    attempt: Option<i16>,
    script_sha256: Option<ContentHash>,
    recorded_at: Timestamp,
    judged_at: Option<Timestamp>,
    suspect: Option<&'a str>,
    breach: bool,
    verdict: Option<&'a str>,
    verdict_by: Option<&'a str>,
    verdict_at: Option<Timestamp>,
    note: Option<&'a str>,
}

fn for_machines(row: &PointRow) -> PointJson<'_> {
    PointJson {
        task_id: row.task_id,
        task: &row.task_name,
        series: &row.series,
        at: row.at,
        value: raw_number(row.number.as_deref()),
        kind: &row.kind,
        unit: row.unit.as_deref(),
        run_id: row.run_id,
        attempt: row.attempt,
        script_sha256: row.script_sha256,
        recorded_at: row.recorded_at,
        judged_at: row.judged_at,
        suspect: row.suspect.as_deref(),
        breach: row.breach,
        verdict: row.verdict.as_deref(),
        verdict_by: row.verdict_by.as_deref(),
        verdict_at: row.verdict_at,
        note: row.note.as_deref(),
    }
}

/// What numeric prints is a number of JSON.
pub(super) fn raw_number(number: Option<&str>) -> Option<Box<RawValue>> {
    RawValue::from_string(number?.to_owned()).ok()
}

async fn settle(arguments: &VerdictArgs, verdict: &'static str, config: &Config) -> anyhow::Result<Exit> {
    if let Some(server) = Server::of(config)? {
        let VerdictArgs {
            task, series, at, note, ..
        } = arguments;
        let wanted = json!({ "at": at, "verdict": verdict, "note": note });
        let settled = server.settle(task, series, wanted).await?;
        return report(arguments, verdict, settled.value.as_deref(), &settled.verdict_by);
    }
    let by = actor();
    let settled = with_connection(config, async |connection| {
        let given = Verdict {
            task_name: &arguments.task,
            series: &arguments.series,
            at: arguments.at,
            verdict,
            by: &by,
            note: arguments.note.as_deref(),
        };
        let settled = observations::give_verdict(connection, given).await?;
        if settled.is_none() {
            find_task(connection, &arguments.task).await?;
        }
        Ok(settled)
    })
    .await?;
    let VerdictArgs { task, series, at, .. } = arguments;
    let Some(settled) = settled else {
        return Err(not_found(format!(
            "`{task}` has no point of `{series}` at {at}; `dropcron values {task} {series}` lists them"
        )));
    };
    report(arguments, verdict, settled.number.as_deref(), &by)
}

fn report(arguments: &VerdictArgs, verdict: &str, number: Option<&str>, by: &str) -> anyhow::Result<Exit> {
    let VerdictArgs { task, series, at, .. } = arguments;
    if arguments.json {
        print_json(&json!({ "task": task, "series": series, "at": at, "verdict": verdict, "verdict_by": by }))?;
    } else {
        let number = number.unwrap_or("the gap");
        let meaning = match verdict {
            "accepted" => "it counts like any other",
            _ => "it stays stored, and does not count",
        };
        print(&format!(
            "{number} of {task} {series} at {at} is {verdict}: {meaning}\n"
        ))?;
    }
    Ok(Exit::Ok)
}
