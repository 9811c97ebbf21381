//! Retention: days rolled up, and what is older than it is to be kept removed.
//!
//! Statements and nothing else: what is to go when is asked of the database, whose clock counts. The order of things is the business
//! of `service::retention`.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Binary, Bool, Double, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{HashColumn, Instant, MaybeInstant};
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::ContentHash;

/// Rows that one statement removes at most: it holds their locks, and vacuum waits for it.
const BATCH: i64 = 1000;

/// How long an answer is waited for while the server has the limit of `be_patient.sql`, half an hour.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(31 * 60);

/// How long runs and their output are kept; none: for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// What runs print.
    pub output: Option<Duration>,
    /// Rows of the run log.
    pub runs: Option<Duration>,
}

fn seconds(duration: Option<Duration>) -> Option<f64> {
    duration.map(|duration| duration.as_secs_f64())
}

statement! {
    struct BePatient = "retention/be_patient.sql" {}
}

/// Lets what follows on a connection take its time: a day of a busy log takes longer to roll up than any other statement does.
pub async fn be_patient(connection: &mut Connection) -> Result<(), StoreError> {
    BePatient {}.execute(connection).await?;
    connection.be_patient(Some(ANSWER_TIMEOUT));
    Ok(())
}

#[derive(QueryableByName)]
struct RunIdRow {
    #[diesel(sql_type = BigInt)]
    run_id: i64,
}

#[derive(QueryableByName)]
struct DayRow {
    #[diesel(sql_type = Text)]
    day: String,
}

statement! {
    struct NewestRolledUp = "retention/newest_rolled_up.sql" {}
}

statement! {
    struct Days = "retention/days.sql" {
        newest_run_id: i64 => BigInt,
        corrected_days: i32 => Integer,
        later_than: i64 => BigInt,
    }
}

/// Days that are to be rolled up, oldest first, as `2026-11-23`. The last `corrected_days` always are.
pub async fn days(connection: &mut Connection, corrected_days: i32) -> Result<Vec<String>, StoreError> {
    let newest: RunIdRow = NewestRolledUp {}.get_result(connection).await?;
    // As a parameter of its own: the plan depends on how few rows are beyond it.
    let days = Days {
        newest_run_id: newest.run_id,
        corrected_days,
        later_than: newest.run_id,
    };
    let rows: Vec<DayRow> = days.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.day).collect())
}

statement! {
    struct RollUp<'a> = "retention/roll_up.sql" { day: &'a str => Text }
}

#[derive(QueryableByName)]
struct DoneRow {
    #[diesel(sql_type = Bool)]
    done: bool,
}

/// Rolls a day up. `false`: it is not over, or a run of it is active.
pub async fn roll_up(connection: &mut Connection, day: &str) -> Result<bool, StoreError> {
    let row: DoneRow = RollUp { day }.get_result(connection).await?;
    Ok(row.done)
}

statement! {
    struct DuePartitions = "retention/due_partitions.sql" {
        output_seconds: Option<f64> => Nullable<Double>,
        runs_seconds: Option<f64> => Nullable<Double>,
    }
}

/// A partition that holds only what is older than it is to be kept.
#[derive(Clone, Debug, QueryableByName)]
pub struct DuePartition {
    /// Its name.
    #[diesel(sql_type = Text)]
    pub partition: String,
    /// `run_log` or `run_output`.
    #[diesel(sql_type = Text)]
    pub log: String,
    /// What it holds begins with this instant,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub begins_at: Timestamp,
    /// and ends before this one.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub ends_at: Timestamp,
    /// How many rows it has.
    #[diesel(sql_type = BigInt)]
    pub row_count: i64,
    /// How much of the disk it takes, with its indexes.
    #[diesel(sql_type = BigInt)]
    pub bytes: i64,
}

/// Partitions that may go, oldest first.
pub async fn due_partitions(connection: &mut Connection, keep: Keep) -> Result<Vec<DuePartition>, StoreError> {
    DuePartitions {
        output_seconds: seconds(keep.output),
        runs_seconds: seconds(keep.runs),
    }
    .load(connection)
    .await
}

statement! {
    struct DropPartition<'a> = "retention/drop_partition.sql" {
        partition: &'a str => Text,
        patience_ms: i32 => Integer,
    }
}

/// What became of a partition that was to go.
#[derive(Clone, Debug, QueryableByName)]
pub struct Dropping {
    /// `dropped`, `gone`, `unsettled`, `locked` or `in_the_way`.
    #[diesel(sql_type = Text)]
    pub outcome: String,
    /// What is in the way.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
}

/// Drops a partition, if its days are rolled up and nobody uses it for longer than `patience`.
pub async fn drop_partition(
    connection: &mut Connection,
    partition: &str,
    patience: Duration,
) -> Result<Dropping, StoreError> {
    DropPartition {
        partition,
        patience_ms: i32::try_from(patience.as_millis()).unwrap_or(i32::MAX),
    }
    .get_result(connection)
    .await
}

statement! {
    struct ShortTasks = "retention/short_tasks.sql" {
        output_seconds: Option<f64> => Nullable<Double>,
        runs_seconds: Option<f64> => Nullable<Double>,
    }
}

/// A task that keeps less than all tasks do.
#[derive(Clone, Debug, QueryableByName)]
pub struct ShortTask {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its rows from before this instant go; none: none do.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub runs_until: Option<Timestamp>,
    /// Output of its runs from before this instant goes; none: none does.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub output_until: Option<Timestamp>,
    /// Output of its runs from before this instant went at earlier passes; none: there were none.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub output_from: Option<Timestamp>,
}

/// Tasks whose headers keep less.
pub async fn short_tasks(connection: &mut Connection, keep: Keep) -> Result<Vec<ShortTask>, StoreError> {
    ShortTasks {
        output_seconds: seconds(keep.output),
        runs_seconds: seconds(keep.runs),
    }
    .load(connection)
    .await
}

statement! {
    struct Shorten = "retention/shorten.sql" {
        task_id: i64 => BigInt,
        runs_until: Option<Instant> => Nullable<Timestamptz>,
        output_until: Option<Instant> => Nullable<Timestamptz>,
    }
}

/// Records what is not kept of a task, before it goes.
pub async fn shorten(connection: &mut Connection, task: &ShortTask) -> Result<(), StoreError> {
    Shorten {
        task_id: task.task_id,
        runs_until: task.runs_until.map(Instant::from),
        output_until: task.output_until.map(Instant::from),
    }
    .execute(connection)
    .await
    .map(drop)
}

#[derive(QueryableByName)]
struct CountRow {
    #[diesel(sql_type = BigInt)]
    row_count: i64,
}

statement! {
    struct CountRuns = "retention/count_runs.sql" { task_id: i64 => BigInt, until: Instant => Timestamptz }
}

statement! {
    struct DeleteRuns = "retention/delete_runs.sql" {
        task_id: i64 => BigInt,
        until: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// How many rows of a task are from before an instant.
pub async fn count_runs(connection: &mut Connection, task_id: i64, until: Timestamp) -> Result<usize, StoreError> {
    let until = until.into();
    let row: CountRow = CountRuns { task_id, until }.get_result(connection).await?;
    Ok(usize::try_from(row.row_count).unwrap_or(0))
}

/// Deletes a batch of them, with their output. Returns how many; none are left when it is none.
pub async fn delete_runs(connection: &mut Connection, task_id: i64, until: Timestamp) -> Result<usize, StoreError> {
    let (until, limit) = (until.into(), BATCH);
    DeleteRuns { task_id, until, limit }.execute(connection).await
}

statement! {
    struct CountOutput = "retention/count_output.sql" {
        task_id: i64 => BigInt,
        from: Instant => Timestamptz,
        until: Instant => Timestamptz,
    }
}

statement! {
    struct DeleteOutput = "retention/delete_output.sql" {
        task_id: i64 => BigInt,
        from: Instant => Timestamptz,
        until: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// How many chunks of output a task's runs that were due between two instants have.
pub async fn count_output(
    connection: &mut Connection,
    task_id: i64,
    from: Option<Timestamp>,
    until: Timestamp,
) -> Result<usize, StoreError> {
    let (from, until) = (from.unwrap_or(Timestamp::UNIX_EPOCH).into(), until.into());
    let row: CountRow = CountOutput { task_id, from, until }.get_result(connection).await?;
    Ok(usize::try_from(row.row_count).unwrap_or(0))
}

/// Deletes a batch of them. Returns how many; none are left when it is none.
pub async fn delete_output(
    connection: &mut Connection,
    task_id: i64,
    from: Option<Timestamp>,
    until: Timestamp,
) -> Result<usize, StoreError> {
    DeleteOutput {
        task_id,
        from: from.unwrap_or(Timestamp::UNIX_EPOCH).into(),
        until: until.into(),
        limit: BATCH,
    }
    .execute(connection)
    .await
}

statement! {
    struct DeleteTrials = "retention/delete_trials.sql" {}
}

/// Removes trials that are a week old.
pub async fn delete_trials(connection: &mut Connection) -> Result<usize, StoreError> {
    DeleteTrials {}.execute(connection).await
}

statement! {
    struct DeleteNodes = "retention/delete_nodes.sql" { runs_seconds: f64 => Double }
}

/// Deletes nodes that were gone before the run log begins. Returns how many.
pub async fn delete_nodes(connection: &mut Connection, keep_runs: Duration) -> Result<usize, StoreError> {
    DeleteNodes {
        runs_seconds: keep_runs.as_secs_f64(),
    }
    .execute(connection)
    .await
}

statement! {
    struct DeleteDeliveries = "retention/delete_deliveries.sql" { runs_seconds: f64 => Double, limit: i64 => BigInt }
}

/// Deletes a batch of deliveries that are older than runs are kept. Returns how many.
pub async fn delete_deliveries(connection: &mut Connection, keep_runs: Duration) -> Result<usize, StoreError> {
    DeleteDeliveries {
        runs_seconds: keep_runs.as_secs_f64(),
        limit: BATCH,
    }
    .execute(connection)
    .await
}

statement! {
    struct DeleteVersions = "retention/delete_versions.sql" { runs_seconds: f64 => Double }
}

/// Deletes script versions that no row names and that were last used before runs are kept. Returns how many.
pub async fn delete_versions(connection: &mut Connection, keep_runs: Duration) -> Result<usize, StoreError> {
    DeleteVersions {
        runs_seconds: keep_runs.as_secs_f64(),
    }
    .execute(connection)
    .await
}

statement! {
    struct UsedVersions = "retention/used_versions.sql" {}
}

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    script_sha256: ContentHash,
}

/// Script versions that a run may need.
pub async fn used_versions(connection: &mut Connection) -> Result<Vec<ContentHash>, StoreError> {
    let rows: Vec<VersionRow> = UsedVersions {}.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.script_sha256).collect())
}
