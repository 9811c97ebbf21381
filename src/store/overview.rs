//! What is read of everything at once: what runs, what comes, what failed, how nodes and tasks stand.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::column::{Instant, MaybeInstant};
use super::runs::RunRow;
use super::statement::statement;
use super::{Connection, StoreError};
use crate::run::{Reason, Status};

/// What is a failure.
const FAILED: [Status; 3] = [Status::Failed, Status::TimedOut, Status::Lost];

/// The reasons of some statuses, which have an index.
fn reasons(statuses: &[Status]) -> Vec<&'static str> {
    let reasons = statuses.iter().flat_map(|status| Reason::of(*status));
    reasons.map(Reason::as_str).collect()
}

statement! {
    struct Running = "overview/running.sql" { row_limit: i64 => BigInt }
}

/// Runs in flight that are due, those that run first.
pub async fn running(connection: &mut Connection, limit: i64) -> Result<Vec<RunRow>, StoreError> {
    Running { row_limit: limit }.load(connection).await
}

/// An instant that is due next.
#[derive(Clone, Debug, QueryableByName)]
pub struct UpcomingRow {
    /// The task.
    #[diesel(sql_type = Text)]
    pub task: String,
    /// The instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub scheduled_for: Timestamp,
}

statement! {
    struct Upcoming = "overview/upcoming.sql" { row_limit: i64 => BigInt }
}

/// What is due next.
pub async fn upcoming(connection: &mut Connection, limit: i64) -> Result<Vec<UpcomingRow>, StoreError> {
    Upcoming { row_limit: limit }.load(connection).await
}

/// How many stand how.
#[derive(Clone, Debug, QueryableByName)]
pub struct Counts {
    /// Tasks whose file is there.
    #[diesel(sql_type = BigInt)]
    pub tasks: i64,
    /// Those that are paused.
    #[diesel(sql_type = BigInt)]
    pub paused: i64,
    /// Those that are disabled in their header.
    #[diesel(sql_type = BigInt)]
    pub disabled: i64,
    /// Those whose file or plan has a problem.
    #[diesel(sql_type = BigInt)]
    pub problems: i64,
    /// Those whose newest run failed.
    #[diesel(sql_type = BigInt)]
    pub failing: i64,
    /// Runs that run.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
    /// Runs that are due and wait.
    #[diesel(sql_type = BigInt)]
    pub queued: i64,
    /// Runs that failed, timed out or were lost since.
    #[diesel(sql_type = BigInt)]
    pub failed: i64,
    /// Instants that were missed since.
    #[diesel(sql_type = BigInt)]
    pub missed: i64,
    /// Instants that were skipped since.
    #[diesel(sql_type = BigInt)]
    pub skipped: i64,
}

/// A task that failed.
#[derive(Clone, Debug, QueryableByName)]
pub struct FailedRow {
    /// Its newest run that failed, without what it returned.
    #[diesel(embed)]
    pub run: RunRow,
    /// How many there were.
    #[diesel(sql_type = BigInt)]
    pub failures: i64,
}

statement! {
    struct FailedTasks<'a> = "overview/failed.sql" {
        since: Instant => Timestamptz, reasons: &'a [&'a str] => Array<Text>, row_limit: i64 => BigInt,
    }
}

/// Tasks that failed since a time, those that failed last first.
pub async fn failed(connection: &mut Connection, since: Timestamp, limit: i64) -> Result<Vec<FailedRow>, StoreError> {
    let statement = FailedTasks {
        since: since.into(),
        reasons: &reasons(&FAILED),
        row_limit: limit,
    };
    statement.load(connection).await
}

statement! {
    struct CountAll<'a> = "overview/counts.sql" { since: Instant => Timestamptz, reasons: &'a [&'a str] => Array<Text> }
}

/// How many stand how; runs are counted since a time.
pub async fn counts(connection: &mut Connection, since: Timestamp) -> Result<Counts, StoreError> {
    let reasons = [reasons(&FAILED), reasons(&[Status::Missed, Status::Skipped])].concat();
    let statement = CountAll {
        since: since.into(),
        reasons: &reasons,
    };
    statement.get_result(connection).await
}

/// What ran of one task.
#[derive(Clone, Debug, QueryableByName)]
pub struct TimelineRow {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The schedule that its cursor follows.
    #[diesel(sql_type = Array<Text>)]
    pub schedule: Vec<String>,
    /// In this zone.
    #[diesel(sql_type = Text)]
    pub timezone: String,
    /// Its next instant; none: its cursor stands still.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub next_fire_at: Option<Timestamp>,
    /// Its runs, as a JSON array, oldest first.
    #[diesel(sql_type = Text)]
    pub runs: String,
    /// How many those are.
    #[diesel(sql_type = BigInt)]
    pub found: i64,
}

/// Which part of a timeline is wanted.
#[derive(Clone, Debug)]
pub struct TimelineSpan {
    /// Due at this instant or later.
    pub since: Timestamp,
    /// Due at this instant or earlier.
    pub until: Timestamp,
    /// Of tasks behind this name.
    pub after_name: Option<String>,
}

statement! {
    struct Timeline<'a> = "overview/timeline.sql" {
        since: Instant => Timestamptz, until: Instant => Timestamptz, after_name: Option<&'a str> => Nullable<Text>,
        task_limit: i64 => BigInt, run_limit: i64 => BigInt,
    }
}

/// What ran between two instants: of so many tasks by name, so many of the newest runs each.
pub async fn timeline(
    connection: &mut Connection,
    span: &TimelineSpan,
    task_limit: i64,
    run_limit: i64,
) -> Result<Vec<TimelineRow>, StoreError> {
    let statement = Timeline {
        since: span.since.into(),
        until: span.until.into(),
        after_name: span.after_name.as_deref(),
        task_limit,
        run_limit,
    };
    statement.load(connection).await
}

/// An incarnation of the service.
#[derive(Clone, Debug, QueryableByName)]
pub struct NodeRow {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub node_id: Uuid,
    /// The host.
    #[diesel(sql_type = Text)]
    pub host: String,
    /// The process there.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// The version of dropcron.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// The version of Python that it runs scripts with.
    #[diesel(sql_type = Nullable<Text>)]
    pub python: Option<String>,
    /// `live`, `draining`, `stopped` or `dead`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Queues that it serves.
    #[diesel(sql_type = Array<Text>)]
    pub queues: Vec<String>,
    /// Tags that it offers.
    #[diesel(sql_type = Array<Text>)]
    pub tags: Vec<String>,
    /// How many scripts it runs at once.
    #[diesel(sql_type = Integer)]
    pub max_running: i32,
    /// Its start.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub started_at: Timestamp,
    /// Start of its unbroken contact with the database.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub connected_since: Timestamp,
    /// Its last heartbeat.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub heartbeat_at: Timestamp,
    /// Until then it may start scripts.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub lease_until: Timestamp,
    /// When it stopped, or was found dead.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub stopped_at: Option<Timestamp>,
    /// The clock of the database less its own.
    #[diesel(sql_type = Nullable<Double>)]
    pub clock_offset_ms: Option<f64>,
    /// The uncertainty of that.
    #[diesel(sql_type = Nullable<Double>)]
    pub clock_error_ms: Option<f64>,
    /// How many scripts it runs.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
}

statement! {
    struct Nodes = "overview/nodes.sql" { row_limit: i64 => BigInt }
}

/// Services that are there, and those that were.
pub async fn nodes(connection: &mut Connection, limit: i64) -> Result<Vec<NodeRow>, StoreError> {
    Nodes { row_limit: limit }.load(connection).await
}

/// The plan that a task's cursor follows.
#[derive(Clone, Debug, QueryableByName)]
pub struct ScheduleRow {
    /// The task.
    #[diesel(sql_type = Text)]
    pub task: String,
    /// The schedule.
    #[diesel(sql_type = Array<Text>)]
    pub schedule: Vec<String>,
    /// The zone.
    #[diesel(sql_type = Text)]
    pub timezone: String,
}

statement! {
    struct Schedules = "overview/schedules.sql" {}
}

/// The plans in force of all tasks whose cursor moves.
pub async fn schedules(connection: &mut Connection) -> Result<Vec<ScheduleRow>, StoreError> {
    Schedules {}.load(connection).await
}

/// What Prometheus is told of a task.
#[derive(Clone, Debug, QueryableByName)]
pub struct GaugeRow {
    /// The task.
    #[diesel(sql_type = Text)]
    pub task: String,
    /// Attempts that ended, ever.
    #[diesel(sql_type = BigInt)]
    pub runs_total: i64,
    /// Those that failed.
    #[diesel(sql_type = BigInt)]
    pub failures_total: i64,
    /// Failures since the last success.
    #[diesel(sql_type = Integer)]
    pub consecutive_failures: i32,
    /// End of the newest run that succeeded.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_success_at: Option<Timestamp>,
    /// End of the newest run.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_finished_at: Option<Timestamp>,
    /// How long that ran.
    #[diesel(sql_type = Nullable<Double>)]
    pub last_duration_ms: Option<f64>,
    /// How that ended.
    #[diesel(sql_type = Nullable<Text>)]
    pub last_status: Option<String>,
    /// Its next instant.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub next_fire_at: Option<Timestamp>,
    /// Whether it is paused.
    #[diesel(sql_type = Bool)]
    pub is_paused: bool,
    /// Whether its file or plan has a problem.
    #[diesel(sql_type = Bool)]
    pub has_problem: bool,
}

statement! {
    struct Gauges = "overview/gauges.sql" {}
}

/// What Prometheus is told of each task.
pub async fn gauges(connection: &mut Connection) -> Result<Vec<GaugeRow>, StoreError> {
    Gauges {}.load(connection).await
}

/// What Prometheus is told of the whole.
#[derive(Clone, Debug, QueryableByName)]
pub struct Totals {
    /// Runs that run.
    #[diesel(sql_type = BigInt)]
    pub running: i64,
    /// Runs that are due and wait.
    #[diesel(sql_type = BigInt)]
    pub queued: i64,
    /// Services that are there.
    #[diesel(sql_type = BigInt)]
    pub live_nodes: i64,
    /// Those of them of which a loop hangs or has ended.
    #[diesel(sql_type = BigInt)]
    pub stalled_nodes: i64,
    /// Services that died within a day, and were not started again.
    #[diesel(sql_type = BigInt)]
    pub dead_nodes: i64,
    /// Notifications that wait to be sent.
    #[diesel(sql_type = BigInt)]
    pub pending_deliveries: i64,
    /// How long the first of the runs that wait has been due.
    #[diesel(sql_type = Double)]
    pub oldest_queued_seconds: f64,
}

statement! {
    struct TotalsOfAll = "overview/totals.sql" {}
}

/// What Prometheus is told of the whole.
pub async fn totals(connection: &mut Connection) -> Result<Totals, StoreError> {
    TotalsOfAll {}.get_result(connection).await
}
