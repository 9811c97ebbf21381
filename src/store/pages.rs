//! What is read piece by piece, on from a key: tasks, runs, output, events and versions. Never by an offset, which would read
//! again what was skipped.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{Instant, MaybeHashColumn, MaybeInstant};
use super::observations::FIRST_INSTANT;
use super::runs::RunRow;
use super::statement::statement;
use super::{Connection, StoreError};
use crate::run::{Reason, Status, Trigger};
use crate::script::ContentHash;

/// A task with how it stands, and its newest runs.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct TaskCard {
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub source: String,
    #[diesel(sql_type = Text)]
    pub script_path: String,
    #[diesel(sql_type = Text)]
    pub script_kind: String,
    #[diesel(sql_type = Bool)]
    pub is_async: bool,
    #[diesel(sql_type = Array<Text>)]
    pub schedule: Vec<String>,
    #[diesel(sql_type = Text)]
    pub timezone: String,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub schedule_override: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Text>)]
    pub timezone_override: Option<String>,
    #[diesel(sql_type = Bool)]
    pub enabled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub paused_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub problem: Option<String>,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub owner: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    pub tags: Vec<String>,
    #[diesel(sql_type = Text)]
    pub overlap: String,
    #[diesel(sql_type = SmallInt)]
    pub max_running: i16,
    #[diesel(sql_type = Text)]
    pub missed: String,
    #[diesel(sql_type = Nullable<Double>)]
    pub timeout_seconds: Option<f64>,
    #[diesel(sql_type = Integer)]
    pub retry_max: i32,
    #[diesel(sql_type = Text)]
    pub args: String,
    #[diesel(sql_type = Text)]
    pub header: String,
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub script_sha256: Option<ContentHash>,
    #[diesel(sql_type = Integer)]
    pub notify_after: i32,
    #[diesel(sql_type = Bool)]
    pub notify_recovery: bool,
    #[diesel(sql_type = Array<Text>)]
    pub notify_to: Vec<String>,
    #[diesel(sql_type = Nullable<Double>)]
    pub late_after_seconds: Option<f64>,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub created_at: Timestamp,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub updated_at: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub next_fire_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub last_run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_scheduled_for: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_finished_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Double>)]
    pub last_duration_ms: Option<f64>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_success_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub consecutive_failures: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub active_run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub active_state: Option<String>,
    #[diesel(sql_type = Text)]
    pub recent: String,
}

/// Which tasks are wanted.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// The one of this name, whatever its source.
    pub name: Option<String>,
    /// With this text in name, description or owner.
    pub search: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// That stand like this; `failing` are those whose last runs failed.
    pub state: Option<String>,
    /// Behind this name.
    pub after_name: Option<String>,
}

statement! {
    struct PageOfTasks<'a> = "pages/tasks.sql" {
        name: Option<&'a str> => Nullable<Text>,
        search: Option<&'a str> => Nullable<Text>,
        tag: Option<&'a str> => Nullable<Text>,
        state: Option<&'a str> => Nullable<Text>,
        after_name: Option<&'a str> => Nullable<Text>,
        row_limit: i64 => BigInt,
        recent_limit: i32 => Integer,
    }
}

/// Tasks by name; of each at most so many of its newest runs, oldest first.
pub async fn tasks(
    connection: &mut Connection,
    filter: &TaskFilter,
    limit: i64,
    recent_limit: i32,
) -> Result<Vec<TaskCard>, StoreError> {
    let statement = PageOfTasks {
        name: filter.name.as_deref(),
        search: filter.search.as_deref(),
        tag: filter.tag.as_deref(),
        state: filter.state.as_deref(),
        after_name: filter.after_name.as_deref(),
        row_limit: limit,
        recent_limit,
    };
    statement.load(connection).await
}

/// A number inside of return values.
#[derive(Clone, Debug)]
pub struct ValueFilter {
    /// Keys and positions on the way to it.
    pub path: Vec<String>,
    /// The least that it may be.
    pub min: Option<f64>,
    /// The most.
    pub max: Option<f64>,
}

/// A tag.
#[derive(Clone, Debug, QueryableByName)]
pub struct TagRow {
    /// The tag.
    #[diesel(sql_type = Text)]
    pub tag: String,
    /// How many tasks have it.
    #[diesel(sql_type = BigInt)]
    pub tasks: i64,
}

statement! {
    struct Tags = "pages/tags.sql" { row_limit: i64 => BigInt }
}

/// The tags of tasks, by name.
pub async fn tags(connection: &mut Connection, limit: i64) -> Result<Vec<TagRow>, StoreError> {
    Tags { row_limit: limit }.load(connection).await
}

/// Which runs are wanted.
#[derive(Clone, Debug, Default)]
pub struct RunFilter {
    /// Of this task.
    pub task_name: Option<String>,
    /// With one of these statuses; none: with any.
    pub statuses: Vec<Status>,
    /// Asked for by this.
    pub trigger: Option<Trigger>,
    /// Due at this instant or later.
    pub since: Option<Timestamp>,
    /// Due at this instant or earlier.
    pub until: Option<Timestamp>,
    /// With such a number in what they returned.
    pub value: Option<ValueFilter>,
    /// Behind this one in the order of the list.
    pub before: Option<(Timestamp, i64)>,
    /// Of larger return values, in bytes, only the size; none: all of them whole.
    pub largest_value: Option<i32>,
}

statement! {
    struct PageOfRuns<'a> = "pages/runs.sql" {
        task_name: Option<&'a str> => Nullable<Text>,
        statuses: Option<&'a [&'a str]> => Nullable<Array<Text>>,
        trigger: Option<&'a str> => Nullable<Text>,
        since: Instant => Timestamptz,
        until: Instant => Timestamptz,
        value_path: Option<&'a [String]> => Nullable<Array<Text>>,
        value_min: Option<f64> => Nullable<Double>,
        value_max: Option<f64> => Nullable<Double>,
        before_at: Option<Instant> => Nullable<Timestamptz>,
        before_run_id: Option<i64> => Nullable<BigInt>,
        row_limit: i64 => BigInt,
        largest_value: Option<i32> => Nullable<Integer>,
    }
}

statement! {
    struct PageOfRunsByReason<'a> = "pages/runs_by_reason.sql" {
        task_name: Option<&'a str> => Nullable<Text>,
        reasons: &'a [&'a str] => Array<Text>,
        trigger: Option<&'a str> => Nullable<Text>,
        since: Instant => Timestamptz,
        until: Instant => Timestamptz,
        value_path: Option<&'a [String]> => Nullable<Array<Text>>,
        value_min: Option<f64> => Nullable<Double>,
        value_max: Option<f64> => Nullable<Double>,
        before_at: Option<Instant> => Nullable<Timestamptz>,
        before_run_id: Option<i64> => Nullable<BigInt>,
        row_limit: i64 => BigInt,
        largest_value: Option<i32> => Nullable<Integer>,
    }
}

statement! {
    struct PageOfRunsInFlight<'a> = "pages/runs_in_flight.sql" {
        task_name: Option<&'a str> => Nullable<Text>,
        statuses: &'a [&'a str] => Array<Text>,
        trigger: Option<&'a str> => Nullable<Text>,
        since: Instant => Timestamptz,
        until: Instant => Timestamptz,
        before_at: Option<Instant> => Nullable<Timestamptz>,
        before_run_id: Option<i64> => Nullable<BigInt>,
        row_limit: i64 => BigInt,
    }
}

/// Rows of the run log, newest first. What is rare is found as fast as what is not: runs that did not succeed by their reasons, runs in
/// flight by their leases, what no schedule asked for by its trigger.
pub async fn runs(connection: &mut Connection, filter: &RunFilter, limit: i64) -> Result<Vec<RunRow>, StoreError> {
    let task_name = filter.task_name.as_deref();
    let trigger = filter.trigger.map(Trigger::as_str);
    let since = filter.since.unwrap_or(FIRST_INSTANT).into();
    let until = filter.until.unwrap_or(Timestamp::MAX).into();
    let value_path = filter.value.as_ref().map(|value| value.path.as_slice());
    let value_min = filter.value.as_ref().and_then(|value| value.min);
    let value_max = filter.value.as_ref().and_then(|value| value.max);
    let before_at = filter.before.map(|(at, _)| at.into());
    let before_run_id = filter.before.map(|(_, run_id)| run_id);
    let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
    let all = |is: fn(Status) -> bool| !filter.statuses.is_empty() && filter.statuses.iter().all(|status| is(*status));
    if all(Status::is_active) {
        // What has not ended has returned nothing.
        if value_path.is_some() {
            return Ok(Vec::new());
        }
        let statement = PageOfRunsInFlight {
            task_name,
            statuses: &statuses,
            trigger,
            since,
            until,
            before_at,
            before_run_id,
            row_limit: limit,
        };
        return statement.load(connection).await;
    }
    if all(|status| !status.is_active() && status != Status::Succeeded) {
        let reasons = filter.statuses.iter().flat_map(|status| Reason::of(*status));
        let statement = PageOfRunsByReason {
            task_name,
            reasons: &reasons.map(Reason::as_str).collect::<Vec<_>>(),
            trigger,
            since,
            until,
            value_path,
            value_min,
            value_max,
            before_at,
            before_run_id,
            row_limit: limit,
            largest_value: filter.largest_value,
        };
        return statement.load(connection).await;
    }
    let statement = PageOfRuns {
        task_name,
        statuses: (!statuses.is_empty()).then_some(statuses.as_slice()),
        trigger,
        since,
        until,
        value_path,
        value_min,
        value_max,
        before_at,
        before_run_id,
        row_limit: limit,
        largest_value: filter.largest_value,
    };
    statement.load(connection).await
}

/// One attempt at an instant.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct AttemptRow {
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub started_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub finished_at: Option<Timestamp>,
}

statement! {
    struct Attempts = "pages/attempts.sql" { task_id: i64 => BigInt, scheduled_for: Instant => Timestamptz }
}

/// The attempts of an instant.
pub async fn attempts(
    connection: &mut Connection,
    task_id: i64,
    scheduled_for: Timestamp,
) -> Result<Vec<AttemptRow>, StoreError> {
    let statement = Attempts {
        task_id,
        scheduled_for: scheduled_for.into(),
    };
    statement.load(connection).await
}

/// What is said of one run only.
#[derive(Clone, Debug, QueryableByName)]
pub struct RunExtra {
    /// Keyword arguments of this run alone, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub args: Option<String>,
    /// The host of its node.
    #[diesel(sql_type = Nullable<Text>)]
    pub host: Option<String>,
    /// The process there.
    #[diesel(sql_type = Nullable<Integer>)]
    pub pid: Option<i32>,
    /// Who asked that it stop.
    #[diesel(sql_type = Nullable<Text>)]
    pub cancel_requested_by: Option<String>,
    /// `queued`, `claimed` or `running`; none: it has ended.
    #[diesel(sql_type = Nullable<Text>)]
    pub lease_state: Option<String>,
    /// The name of its task now; none: the task is gone.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_now: Option<String>,
    /// The file of its task.
    #[diesel(sql_type = Nullable<Text>)]
    pub script_path: Option<String>,
    /// Whether somebody asked for its version.
    #[diesel(sql_type = Bool)]
    pub is_pinned: bool,
}

statement! {
    struct RunExtraOf = "pages/run_extra.sql" { run_id: i64 => BigInt }
}

/// What is said of one run only. None: there is no such run.
pub async fn run_extra(connection: &mut Connection, run_id: i64) -> Result<Option<RunExtra>, StoreError> {
    Ok(RunExtraOf { run_id }.load(connection).await?.pop())
}

/// A piece of a run's output.
#[derive(Clone, Debug, QueryableByName)]
pub struct ChunkRow {
    /// Order within the run, from 0.
    #[diesel(sql_type = Integer)]
    pub sequence: i32,
    /// Text.
    #[diesel(sql_type = Text)]
    pub chunk: String,
    /// When it was written.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub written_at: Timestamp,
}

statement! {
    struct PageOfOutput = "pages/output.sql" {
        run_id: i64 => BigInt, from_sequence: i32 => Integer, since: Instant => Timestamptz, row_limit: i64 => BigInt,
    }
}

/// Chunks of one run's output from a number on. `since`: no chunk is older.
pub async fn output(
    connection: &mut Connection,
    run_id: i64,
    from_sequence: i32,
    since: Timestamp,
    limit: i64,
) -> Result<Vec<ChunkRow>, StoreError> {
    let statement = PageOfOutput {
        run_id,
        from_sequence,
        since: since.into(),
        row_limit: limit,
    };
    statement.load(connection).await
}

/// How one run stands.
#[derive(Clone, Debug, QueryableByName)]
pub struct RunStatus {
    /// The word.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// When its row was made: its output is not older.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub queued_at: Timestamp,
}

statement! {
    struct RunStatusOf = "pages/run_status.sql" { run_id: i64 => BigInt }
}

/// How one run stands. None: there is no such run.
pub async fn run_status(connection: &mut Connection, run_id: i64) -> Result<Option<RunStatus>, StoreError> {
    Ok(RunStatusOf { run_id }.load(connection).await?.pop())
}

/// An event of a task.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct EventRow {
    #[diesel(sql_type = BigInt)]
    pub event_id: i64,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    #[diesel(sql_type = Text)]
    pub actor: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub before: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub after: Option<String>,
}

statement! {
    struct PageOfEvents = "pages/events.sql" {
        task_id: i64 => BigInt, before_id: Option<i64> => Nullable<BigInt>, row_limit: i64 => BigInt,
    }
}

/// What happened to a task, newest first, on from an event.
pub async fn events(
    connection: &mut Connection,
    task_id: i64,
    before_id: Option<i64>,
    limit: i64,
) -> Result<Vec<EventRow>, StoreError> {
    let statement = PageOfEvents {
        task_id,
        before_id,
        row_limit: limit,
    };
    statement.load(connection).await
}

/// A version that was in force for a task.
#[derive(Clone, Debug, QueryableByName)]
pub struct VersionRow {
    /// Since when.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub in_force_at: Timestamp,
    /// Who brought it.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// Its hash.
    #[diesel(sql_type = Text)]
    pub sha256: String,
    /// When the content was first registered; none: it is not kept any more.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub first_seen_at: Option<Timestamp>,
    /// Its size in bytes; none: it is not kept any more.
    #[diesel(sql_type = Nullable<Integer>)]
    pub size_bytes: Option<i32>,
    /// Whether it is the one that runs now.
    #[diesel(sql_type = Nullable<Bool>)]
    pub in_force: Option<bool>,
}

statement! {
    struct Versions = "pages/versions.sql" { task_id: i64 => BigInt, row_limit: i64 => BigInt }
}

/// The versions that were in force for a task, newest first.
pub async fn versions(connection: &mut Connection, task_id: i64, limit: i64) -> Result<Vec<VersionRow>, StoreError> {
    let statement = Versions {
        task_id,
        row_limit: limit,
    };
    statement.load(connection).await
}

statement! {
    struct IsVersionOf<'a> = "pages/is_version_of.sql" { task_id: i64 => BigInt, sha256: &'a [u8] => Binary }
}

#[derive(QueryableByName)]
struct IsVersionRow {
    #[diesel(sql_type = Bool)]
    is_version: bool,
}

/// Whether a content was in force for a task, or is.
pub async fn is_version_of(connection: &mut Connection, task_id: i64, sha256: ContentHash) -> Result<bool, StoreError> {
    let sha256 = sha256.as_bytes();
    let row: IsVersionRow = IsVersionOf { task_id, sha256 }.get_result(connection).await?;
    Ok(row.is_version)
}

/// Where somebody watches a run's output.
#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// The run.
    pub run_id: i64,
    /// The next chunk.
    pub from_sequence: i32,
    /// No chunk is older.
    pub since: Timestamp,
}

/// What a watched run printed; a run that printed nothing new has one row without a chunk.
#[derive(Clone, Debug, QueryableByName)]
pub struct WatchedRow {
    /// The run.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// How it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// The number of the chunk.
    #[diesel(sql_type = Nullable<Integer>)]
    pub sequence: Option<i32>,
    /// Its text.
    #[diesel(sql_type = Nullable<Text>)]
    pub chunk: Option<String>,
    /// When it was written.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub written_at: Option<Timestamp>,
}

statement! {
    struct WatchRuns<'a> = "pages/watch.sql" {
        run_ids: &'a [i64] => Array<BigInt>, from_sequences: &'a [i32] => Array<Integer>, since: &'a [Instant] => Array<Timestamptz>,
        row_limit: i64 => BigInt,
    }
}

/// What watched runs printed, at most so many chunks each, and how they stand at the same moment.
pub async fn watch(
    connection: &mut Connection,
    watched: &[Watched],
    limit: i64,
) -> Result<Vec<WatchedRow>, StoreError> {
    let statement = WatchRuns {
        run_ids: &watched.iter().map(|each| each.run_id).collect::<Vec<_>>(),
        from_sequences: &watched.iter().map(|each| each.from_sequence).collect::<Vec<_>>(),
        since: &super::column::instants(watched.iter().map(|each| each.since)),
        row_limit: limit,
    };
    statement.load(connection).await
}
