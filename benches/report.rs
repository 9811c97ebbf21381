//! `cargo bench --bench report`: what the views of `dropcron_report` take on a log of 400 days of 1,000 tasks.
//!
//! `cargo bench --bench report -- 1000000` takes so many rows instead of ten million, which take about eight minutes to make and 6 GB of
//! disk. A private Postgres with the settings that dropcron gives it. The medians of five are of what is in memory by then.

use std::path::PathBuf;
use std::time::Instant;

use dropcron::database::{Cluster, ClusterSettings, Database, migrate};
use dropcron::run::{Outcome, Reason, RunKey, Status};
use dropcron::store::runs::{self, End};
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use uuid::Uuid;

/// Rows of the run log, unless the command line says otherwise.
const ROWS: u64 = 10_000_000;

/// Tasks that they are of.
const TASKS: u64 = 1_000;

/// Days of the log.
const DAYS: u64 = 400;

/// Runs that are ended one after another, on the empty log and on the full one.
const ENDS: i64 = 500;

/// What is measured: a name, and the query.
const QUERIES: &[(&str, &str)] = &[
    ("tasks", "select * from dropcron_report.tasks"),
    (
        "tasks, one task",
        "select * from dropcron_report.tasks where task = 'group7/task507'",
    ),
    (
        "runs, one task",
        "select * from dropcron_report.runs where task = 'group7/task507'",
    ),
    (
        "runs, one day",
        "select * from dropcron_report.runs where scheduled_for >= {day} and scheduled_for < {day} + interval '1 day'",
    ),
    (
        "runs, newest 50 of one task",
        "select * from dropcron_report.runs where task = 'group7/task507' order by scheduled_for desc limit 50",
    ),
    (
        "runs, newest 50",
        "select * from dropcron_report.runs order by scheduled_for desc limit 50",
    ),
    ("latest", "select * from dropcron_report.latest"),
    ("failures_today", "select * from dropcron_report.failures_today"),
    (
        "missed, one task",
        "select * from dropcron_report.missed where task = 'group7/task507'",
    ),
    (
        "missed, one day",
        "select * from dropcron_report.missed where scheduled_for >= {day} and scheduled_for < {day} + interval '1 day'",
    ),
    (
        "late, one task",
        "select * from dropcron_report.late where task = 'group7/task507'",
    ),
    (
        "late, one day",
        "select * from dropcron_report.late where scheduled_for >= {day} and scheduled_for < {day} + interval '1 day'",
    ),
    (
        "gaps, one task",
        "select * from dropcron_report.gaps where task = 'group7/task507'",
    ),
    (
        "gaps, one day",
        "select * from dropcron_report.gaps where scheduled_for >= {day} and scheduled_for < {day} + interval '1 day'",
    ),
    (
        "daily, one task",
        "select * from dropcron_report.daily where task = 'group7/task507'",
    ),
    (
        "daily, one day",
        "select * from dropcron_report.daily where day = {day}::date",
    ),
    (
        "daily, today",
        "select * from dropcron_report.daily where day = (now() at time zone 'UTC')::date",
    ),
    (
        "daily, all tasks of 30 days",
        "select day, sum(runs) from dropcron_report.daily where day > {day}::date - 20 group by day",
    ),
    (
        "values, one task",
        "select * from dropcron_report.values where task = 'group10/task10' and series = 'price'",
    ),
    (
        "values, one day",
        "select * from dropcron_report.values where day = {day}::date",
    ),
    (
        "values, ten years of one series",
        "select * from dropcron_report.values where task = 'group1/task1' and series = 'years'",
    ),
    (
        "values_daily, one task",
        "select * from dropcron_report.values_daily where task = 'group10/task10'",
    ),
    (
        "values_daily, one day",
        "select * from dropcron_report.values_daily where day = {day}::date",
    ),
    (
        "script_versions, one task",
        "select * from dropcron_report.script_versions where task = 'group7/task507'",
    ),
    (
        "deliveries, one task",
        "select * from dropcron_report.deliveries where task = 'group7/task507'",
    ),
    (
        "deliveries, one day",
        "select * from dropcron_report.deliveries where created_at >= {day} and created_at < {day} + interval '1 day'",
    ),
    ("nodes", "select * from dropcron_report.nodes"),
    ("health", "select * from dropcron_report.health"),
];

fn main() -> anyhow::Result<()> {
    // `cargo bench` passes flags of its own; `cargo test --benches` must not run this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let rows = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(ROWS);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let root = std::env::temp_dir().join(format!("dropcron-bench-report-{}", std::process::id()));
    let result = measure(&runtime, &root, rows);
    std::fs::remove_dir_all(&root)?;
    result
}

fn measure(runtime: &tokio::runtime::Runtime, root: &PathBuf, rows: u64) -> anyhow::Result<()> {
    let cluster = Cluster::open(&ClusterSettings::new(root))?;
    let result = runtime.block_on(measure_on(cluster.url(), rows));
    cluster.close()?;
    result
}

async fn measure_on(url: &str, rows: u64) -> anyhow::Result<()> {
    let database = Database::new(url.parse()?, None)?;
    migrate(&database).await?;
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    // Only the making of the log: what is measured does not write.
    client
        .batch_execute("set search_path = dropcron; set synchronous_commit = off; set maintenance_work_mem = '256MB'")
        .await?;
    let before = closing(&database, &client).await?;
    let per_day = (rows / TASKS / DAYS).max(1);
    let begun = Instant::now();
    for statement in include_str!("report/generate.sql")
        .replace("{per_day}", &per_day.to_string())
        .split(";\n")
    {
        client.batch_execute(statement).await?;
    }
    let made: i64 = client.query_one("select count(*) from run_log", &[]).await?.get(0);
    println!(
        "{made} rows of {TASKS} tasks over {DAYS} days, made in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let after = closing(&database, &client).await?;
    println!(
        "  ending one run: {before:.2} ms on an empty log, {after:.2} ms on this one, {:.2} times as long",
        after / before
    );
    for (name, query) in QUERIES {
        let query = query.replace(
            "{day}",
            "(date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' - interval '15 days')",
        );
        let answered = median_of_five(async || answered(&client, &query).await).await?;
        let sent = median_of_five(async || sent(&client, &query).await).await?;
        println!("  {name:<36} {answered:>8.1} ms answered {sent:>8.1} ms with the last row here");
    }
    Ok(())
}

/// What the statement takes that ends one run, to its commit: the median of many runs of one task, milliseconds. They are
/// gone again afterwards.
async fn closing(database: &Database, client: &Client) -> anyhow::Result<f64> {
    let node_id = Uuid::now_v7();
    client
        .batch_execute(&format!(
            "insert into script_version (sha256, content) values (sha256('closing'), 'closing') on conflict do nothing;
             insert into task (name, source, script_path, script_kind, script_sha256, timezone)
               values ('closing', 'directory', 'closing.py', 'source', sha256('closing'), 'UTC');
             select ensure_run_log_partition(now());
             with run as (
               insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, node_id, queued_at, due_at, started_at)
               select nextval('run_id_sequence'), task_id, name, now() + n * interval '1 microsecond', 'schedule', 'running',
                      '{node_id}', now(), now(), now()
                 from task, generate_series(1, {ENDS}) n where name = 'closing' returning *)
             insert into run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, node_id)
             select run_id, task_id, scheduled_for, attempt, trigger, 'running', due_at, 'default', node_id from run"
        ))
        .await?;
    let rows = client
        .query(
            "select run_id, task_id, (extract(epoch from scheduled_for) * 1000000)::bigint from run_log
              where task_name = 'closing' order by run_id",
            &[],
        )
        .await?;
    // As autovacuum keeps it, also on a log that has just begun.
    client.batch_execute("analyze").await?;
    let mut connection = database.dedicated().await?;
    let mut times = Vec::new();
    for row in &rows {
        let scheduled_for = Timestamp::from_microsecond(row.get(2))?;
        let end = End {
            key: RunKey {
                run_id: row.get(0),
                task_id: row.get(1),
                scheduled_for,
                attempt: 1,
            },
            node_id,
            started_at: Some(scheduled_for),
            finished_at: scheduled_for + SignedDuration::from_millis(20),
            // Any outcome without a value does; this one counts as a success.
            outcome: Outcome {
                status: Status::Succeeded,
                reason: None,
                ..Outcome::without_process(Reason::Shutdown, None)
            },
            detail: None,
        };
        let begun = Instant::now();
        let refused = runs::finish(&mut connection, node_id, std::slice::from_ref(&end)).await?;
        times.push(begun.elapsed().as_secs_f64() * 1000.0);
        anyhow::ensure!(refused.is_empty(), "an end was refused");
    }
    client
        .batch_execute(
            "delete from run_log where task_name = 'closing'; delete from task_stat where task_id in
               (select task_id from task where name = 'closing'); delete from task where name = 'closing';
             -- Tasks that are made after it have the numbers that they would have without it.
             select setval(pg_get_serial_sequence('task', 'task_id'), coalesce((select max(task_id) from task), 0) + 1, false)",
        )
        .await?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// The median of five, after one that does not count: milliseconds.
async fn median_of_five(measure: impl AsyncFn() -> anyhow::Result<f64>) -> anyhow::Result<f64> {
    measure().await?;
    let mut times = Vec::new();
    for _ in 0..5 {
        times.push(measure().await?);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[2])
}

/// How long the server plans and executes a query, as it says itself: without sending rows.
async fn answered(client: &Client, query: &str) -> anyhow::Result<f64> {
    let lines = client
        .simple_query(&format!("explain (analyze, timing off) {query}"))
        .await?;
    let times = lines.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            let (name, time) = row.get(0)?.split_once(" Time: ")?;
            let milliseconds = time.strip_suffix(" ms")?.parse::<f64>().ok()?;
            matches!(name, "Planning" | "Execution").then_some(milliseconds)
        }
        _ => None,
    });
    Ok(times.sum())
}

/// How long it takes until its last row is here, as text.
async fn sent(client: &Client, query: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    client.simple_query(query).await?;
    Ok(begun.elapsed().as_secs_f64() * 1000.0)
}
