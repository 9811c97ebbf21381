//! Metrics for Prometheus, in its text format.
//!
//! Each node tells of the whole, since all share one database: scrape one of them, or any, and aggregate with `max`.

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;

use super::App;
use super::problem::Problem;
use crate::store::overview::{self, GaugeRow, Totals};

/// Where they are.
pub const PATH: &str = "/metrics";

/// The media type of the text format.
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Read metrics for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String, content_type = "text/plain"), super::problem::Refusals))]
pub async fn read_metrics(State(api): App) -> Result<Response, Problem> {
    let mut connection = api.database.connection().await?;
    let totals = overview::totals(&mut connection).await?;
    let tasks = overview::gauges(&mut connection).await?;
    drop(connection);
    let text = text(&totals, &tasks);
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

/// One metric: its name, type, help, and how to read it from a task.
type Gauge = (&'static str, &'static str, &'static str, fn(&GaugeRow) -> Option<f64>);

const OF_TASKS: &[Gauge] = &[
    (
        "dropcron_task_runs_total",
        "counter",
        "Attempts of the task that ended, ever.",
        |row| Some(row.runs_total as f64),
    ),
    (
        "dropcron_task_failures_total",
        "counter",
        "Attempts of the task that failed, timed out or were lost, ever.",
        |row| Some(row.failures_total as f64),
    ),
    (
        "dropcron_task_consecutive_failures",
        "gauge",
        "Failures of the task since its last success.",
        |row| Some(f64::from(row.consecutive_failures)),
    ),
    (
        "dropcron_task_last_success_timestamp_seconds",
        "gauge",
        "End of the newest run that succeeded.",
        |row| row.last_success_at.map(seconds),
    ),
    (
        "dropcron_task_last_end_timestamp_seconds",
        "gauge",
        "End of the newest run.",
        |row| row.last_finished_at.map(seconds),
    ),
    (
        "dropcron_task_last_duration_seconds",
        "gauge",
        "How long the newest run took.",
        |row| row.last_duration_ms.map(|milliseconds| milliseconds / 1000.0),
    ),
    (
        "dropcron_task_next_fire_timestamp_seconds",
        "gauge",
        "When the task is due next.",
        |row| row.next_fire_at.map(seconds),
    ),
    ("dropcron_task_paused", "gauge", "Whether the task is paused.", |row| {
        Some(f64::from(u8::from(row.is_paused)))
    }),
    (
        "dropcron_task_problem",
        "gauge",
        "Whether the file or the plan of the task has a problem.",
        |row| Some(f64::from(u8::from(row.has_problem))),
    ),
];

fn seconds(at: Timestamp) -> f64 {
    at.as_microsecond() as f64 / 1e6
}

fn text(totals: &Totals, tasks: &[GaugeRow]) -> String {
    let mut text = String::new();
    head(
        &mut text,
        "dropcron_build_info",
        "gauge",
        "The version of dropcron that answers.",
    );
    line(
        &mut text,
        "dropcron_build_info",
        &[("version", env!("CARGO_PKG_VERSION"))],
        1.0,
    );
    let whole = [
        ("dropcron_runs_running", "Runs that run.", totals.running as f64),
        (
            "dropcron_runs_queued",
            "Runs that are due and wait.",
            totals.queued as f64,
        ),
        (
            "dropcron_oldest_queued_seconds",
            "How long the first of the runs that wait has been due.",
            totals.oldest_queued_seconds,
        ),
        (
            "dropcron_nodes_live",
            "Services that are there.",
            totals.live_nodes as f64,
        ),
        (
            "dropcron_nodes_stalled",
            "Services of which a loop hangs or has ended.",
            totals.stalled_nodes as f64,
        ),
        (
            "dropcron_nodes_dead",
            "Services that died within a day, and were not started again on their data directory.",
            totals.dead_nodes as f64,
        ),
        (
            "dropcron_deliveries_pending",
            "Notifications that wait to be sent.",
            totals.pending_deliveries as f64,
        ),
        ("dropcron_tasks", "Tasks whose file is there.", tasks.len() as f64),
    ];
    for (name, help, value) in whole {
        head(&mut text, name, "gauge", help);
        line(&mut text, name, &[], value);
    }
    for (name, kind, help, read) in OF_TASKS {
        head(&mut text, name, kind, help);
        for task in tasks {
            if let Some(value) = read(task) {
                line(&mut text, name, &[("task", &task.task)], value);
            }
        }
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Into memory nothing fails.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: f64) {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    let labels = if labels.is_empty() {
        String::new()
    } else {
        format!("{{{}}}", labels.join(","))
    };
    let _ = writeln!(text, "{name}{labels} {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_tasks_cannot_break_a_line() {
        let mut text = String::new();
        line(&mut text, "x", &[("task", "a\"b\\c\nd")], 1.5);
        assert_eq!(text, "x{task=\"a\\\"b\\\\c\\nd\"} 1.5\n");
    }

    #[test]
    fn counters_end_in_total_and_gauges_do_not() {
        for (name, kind, help, _) in OF_TASKS {
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }
}
