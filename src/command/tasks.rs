//! `dropcron tasks`: every task, how it stands, when it is due next.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::access::with_connection;
use super::output::{maybe_instant, milliseconds, print, print_json, settings, single_line, table};
use super::remote::Server;
use super::{Exit, not_found};
use crate::cli::TasksArgs;
use crate::config::Config;
use crate::store::tasks::{self, TaskRow};

/// Prints a line for each task; of one task also what its header says.
pub(super) async fn tasks(arguments: &TasksArgs, config: &Config) -> anyhow::Result<Exit> {
    let name = arguments.task.as_deref();
    let (rows, headers) = match Server::of(config)? {
        Some(server) => ask(&server, name).await?,
        None => {
            with_connection(config, async |connection| {
                let headers = if arguments.json || name.is_some() {
                    tasks::headers(connection, name).await?
                } else {
                    HashMap::new()
                };
                Ok((tasks::list(connection, name).await?, headers))
            })
            .await?
        }
    };
    if let Some(name) = name.filter(|_| rows.is_empty()) {
        return Err(not_found(format!(
            "there is no task `{name}`; `dropcron tasks` lists them"
        )));
    }
    let header_of = |task: &TaskRow| -> Value {
        let text = headers.get(&task.task_id).map_or("null", String::as_str);
        serde_json::from_str(text).unwrap_or_default()
    };
    if arguments.json {
        let tasks: Vec<Value> = rows.iter().map(|task| for_machines(task, header_of(task))).collect();
        print_json(&tasks)?;
        return Ok(Exit::Ok);
    }
    let columns = [
        "task",
        "state",
        "schedule",
        "next",
        "last",
        "last status",
        "took",
        "failures",
    ];
    print(&table(&columns, rows.iter().map(row)))?;
    for task in &rows {
        if let Some(problem) = &task.problem {
            print(&problem_of(task, problem))?;
        }
        if name.is_some() {
            print(&format!("\n{}", settings(&in_force(task, header_of(task)))))?;
        }
    }
    Ok(Exit::Ok)
}

/// A problem with the task that has it: those of files begin with the file, those of packages do not say whose they are.
fn problem_of(task: &TaskRow, problem: &str) -> String {
    let whose = match problem.starts_with(&task.script_path) {
        true => String::new(),
        false => format!("{}: ", task.name),
    };
    let lines: Vec<String> = problem.lines().map(single_line).collect();
    format!("problem: {whose}{}\n", lines.join("\n  "))
}

/// Tasks of a service elsewhere, with their headers as JSON by the number of the task.
async fn ask(server: &Server, name: Option<&str>) -> anyhow::Result<(Vec<TaskRow>, HashMap<i64, String>)> {
    let found = match name {
        Some(name) => vec![server.task(name).await?],
        None => server.tasks().await?,
    };
    let headers = found
        .iter()
        .map(|(task, header)| (task.task_id, header.to_string()))
        .collect();
    Ok((found.into_iter().map(|(task, _)| task).collect(), headers))
}

/// A task's header with what it leaves to others filled in.
fn in_force(task: &TaskRow, mut header: Value) -> Value {
    if let Some(fields) = header.as_object_mut() {
        fields.insert("schedule".to_owned(), json!(task.schedule));
        fields.insert("timezone".to_owned(), json!(task.timezone));
        let timeout = task.timeout_seconds.map_or(json!("none"), |seconds| json!(seconds));
        fields.insert("timeout_seconds".to_owned(), timeout);
    }
    header
}

/// One word for how a task stands.
fn state(task: &TaskRow) -> &'static str {
    match task {
        TaskRow { problem: Some(_), .. } => "problem",
        TaskRow { paused_at: Some(_), .. } => "paused",
        TaskRow { enabled: false, .. } => "disabled",
        TaskRow { is_building: true, .. } => "building",
        TaskRow {
            active_state: Some(state),
            ..
        } if state == "running" => "running",
        TaskRow {
            active_state: Some(_), ..
        } => "queued",
        TaskRow { schedule, .. } if schedule.is_empty() => "manual only",
        _ => "ready",
    }
}

fn row(task: &TaskRow) -> Vec<String> {
    vec![
        task.name.clone(),
        state(task).to_owned(),
        task.schedule.join(", "),
        maybe_instant(task.next_fire_at),
        maybe_instant(task.last_scheduled_for),
        task.last_status.clone().unwrap_or_default(),
        milliseconds(task.last_duration_ms),
        task.consecutive_failures
            .filter(|count| *count > 0)
            .map(|count| count.to_string())
            .unwrap_or_default(),
    ]
}

fn for_machines(task: &TaskRow, header: Value) -> Value {
    json!({
        "task_id": task.task_id, "name": task.name, "state": state(task), "source": task.source, "script_path": task.script_path,
        "script_sha256": task.script_sha256, "schedule": task.schedule, "timezone": task.timezone, "enabled": task.enabled,
        "paused_at": task.paused_at, "paused_by": task.paused_by, "paused_reason": task.paused_reason,
        "problem": task.problem, "description": task.description, "owner": task.owner, "tags": task.tags,
        "overlap": task.overlap, "max_running": task.max_running, "missed": task.missed,
        "timeout_seconds": task.timeout_seconds, "retry_max": task.retry_max, "notify_after": task.notify_after,
        "notify_recovery": task.notify_recovery, "notify_to": task.notify_to, "late_after_seconds": task.late_after_seconds,
        "args": serde_json::from_str::<Value>(&task.args).unwrap_or_default(),
        "next_fire_at": task.next_fire_at, "last_run_id": task.last_run_id, "last_status": task.last_status,
        "last_scheduled_for": task.last_scheduled_for, "last_finished_at": task.last_finished_at,
        "last_duration_ms": task.last_duration_ms, "consecutive_failures": task.consecutive_failures,
        "active_run_id": task.active_run_id, "header": header,
    })
}
