//! Observations: points of series, judged, read, judged by people, exported and imported. Runs write them as they end: see
//! `runs::finish`.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Double, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager};
use jiff::Timestamp;

use super::column::{Instant, MaybeHashColumn, MaybeInstant, instants};
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::ContentHash;

/// A point that is to be judged.
#[derive(Clone, Debug, QueryableByName)]
pub struct Unjudged {
    /// Its task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// Its instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// What stood there.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The number; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// When it was written: who judges it judges this writing.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub recorded_at: Timestamp,
    /// What its task expects of the series, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub expectation: Option<String>,
}

statement! {
    struct UnjudgedPoints = "observations/unjudged.sql" { limit: i64 => BigInt }
}

/// Points that nobody has judged yet, in the order of their series and instants.
pub async fn unjudged(connection: &mut Connection, limit: i64) -> Result<Vec<Unjudged>, StoreError> {
    UnjudgedPoints { limit }.load(connection).await
}

/// A point that others are compared with.
#[derive(Clone, Debug, QueryableByName)]
pub struct Before {
    /// Its instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// What stood there.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The number; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
}

statement! {
    struct PointsBefore<'a> = "observations/before.sql" {
        task_id: i64 => BigInt,
        series: &'a str => Text,
        at: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// The points of a series before an instant that count, newest first.
pub async fn before(
    connection: &mut Connection,
    task_id: i64,
    series: &str,
    at: Timestamp,
    limit: i64,
) -> Result<Vec<Before>, StoreError> {
    PointsBefore {
        task_id,
        series,
        at: at.into(),
        limit,
    }
    .load(connection)
    .await
}

statement! {
    struct Judge<'a> = "observations/judge.sql" {
        task_ids: &'a [i64] => Array<BigInt>,
        series: &'a [&'a str] => Array<Text>,
        at: &'a [Instant] => Array<Timestamptz>,
        recorded_at: &'a [Instant] => Array<Timestamptz>,
        suspects: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        breaches: &'a [bool] => Array<Bool>,
    }
}

/// A judgement that was written.
#[derive(Clone, Debug, QueryableByName)]
pub struct Judged {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name; none: it is gone.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_name: Option<String>,
    /// The series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// The instant of the point.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// The run that returned it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    /// The number; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// What is odd about it.
    #[diesel(sql_type = Nullable<Text>)]
    pub suspect: Option<String>,
    /// Whether an expectation is broken.
    #[diesel(sql_type = Bool)]
    pub breach: bool,
}

/// Writes what was found about points: what is odd about each, and whether that breaks an expectation. Gives those that this
/// call has judged, and nobody else before.
pub async fn judge(
    connection: &mut Connection,
    judgements: &[(&Unjudged, Option<&str>, bool)],
) -> Result<Vec<Judged>, StoreError> {
    let points = || judgements.iter().map(|(point, ..)| *point);
    Judge {
        task_ids: &points().map(|point| point.task_id).collect::<Vec<_>>(),
        series: &points().map(|point| point.series.as_str()).collect::<Vec<_>>(),
        at: &instants(points().map(|point| point.at)),
        recorded_at: &instants(points().map(|point| point.recorded_at)),
        suspects: &judgements.iter().map(|(_, suspect, _)| *suspect).collect::<Vec<_>>(),
        breaches: &judgements.iter().map(|(.., breach)| *breach).collect::<Vec<_>>(),
    }
    .load(connection)
    .await
}

/// A series without a new number for longer than its task expects.
#[derive(Clone, Debug, QueryableByName)]
pub struct Stale {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub task_name: String,
    /// The series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// The instant of its newest number; none: it never had one.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_at: Option<Timestamp>,
    /// What its task expects.
    #[diesel(sql_type = Double)]
    pub stale_after_seconds: f64,
}

statement! {
    struct NoteStale = "observations/note_stale.sql" {}
}

/// Brings the list of stale series in line with their newest numbers; gives those that have become stale.
pub async fn note_stale(connection: &mut Connection) -> Result<Vec<Stale>, StoreError> {
    NoteStale {}.load(connection).await
}

statement! {
    struct StaleSeries<'a> = "observations/stale.sql" {
        task_name: Option<&'a str> => Nullable<Text>,
        series: Option<&'a str> => Nullable<Text>,
    }
}

/// Series that are stale, of all tasks or those of a name.
pub async fn stale(
    connection: &mut Connection,
    task_name: Option<&str>,
    series: Option<&str>,
) -> Result<Vec<Stale>, StoreError> {
    StaleSeries { task_name, series }.load(connection).await
}

/// Which points to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only of tasks of this name.
    pub task_name: Option<String>,
    /// Only of this series.
    pub series: Option<String>,
    /// Only from this instant on.
    pub since: Timestamp,
    /// Only what is suspect and nobody has said anything about.
    pub open_only: bool,
}

/// A point as it stands.
#[derive(Clone, Debug, QueryableByName)]
pub struct PointRow {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub task_name: String,
    /// The series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// The instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// The number, every digit; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// What stood there.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The run that returned it; none: imported.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    /// Its attempt.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub attempt: Option<i16>,
    /// The script version that returned it.
    #[diesel(sql_type = Nullable<diesel::sql_types::Binary>, deserialize_as = MaybeHashColumn)]
    pub script_sha256: Option<ContentHash>,
    /// When it was written.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub recorded_at: Timestamp,
    /// When it was judged.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub judged_at: Option<Timestamp>,
    /// What is odd about it.
    #[diesel(sql_type = Nullable<Text>)]
    pub suspect: Option<String>,
    /// Whether it breaks an expectation.
    #[diesel(sql_type = Bool)]
    pub breach: bool,
    /// `accepted` or `rejected`.
    #[diesel(sql_type = Nullable<Text>)]
    pub verdict: Option<String>,
    /// Who said so.
    #[diesel(sql_type = Nullable<Text>)]
    pub verdict_by: Option<String>,
    /// When.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub verdict_at: Option<Timestamp>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub note: Option<String>,
    /// What it counts.
    #[diesel(sql_type = Nullable<Text>)]
    pub unit: Option<String>,
}

statement! {
    struct ListPoints<'a> = "observations/list.sql" {
        task_name: Option<&'a str> => Nullable<Text>,
        series: Option<&'a str> => Nullable<Text>,
        since: Instant => Timestamptz,
        open_only: bool => Bool,
        limit: i64 => BigInt,
    }
}

/// Points, newest first.
pub async fn list(connection: &mut Connection, filter: &Filter, limit: i64) -> Result<Vec<PointRow>, StoreError> {
    ListPoints {
        task_name: filter.task_name.as_deref(),
        series: filter.series.as_deref(),
        since: filter.since.into(),
        open_only: filter.open_only,
        limit,
    }
    .load(connection)
    .await
}

/// What a person says of a point.
#[derive(Clone, Copy, Debug)]
pub struct Verdict<'a> {
    /// The task's name.
    pub task_name: &'a str,
    /// The series.
    pub series: &'a str,
    /// The instant of the point.
    pub at: Timestamp,
    /// `accepted` or `rejected`.
    pub verdict: &'static str,
    /// Who says so.
    pub by: &'a str,
    /// Why.
    pub note: Option<&'a str>,
}

statement! {
    struct GiveVerdict<'a> = "observations/give_verdict.sql" {
        task_name: &'a str => Text,
        series: &'a str => Text,
        at: Instant => Timestamptz,
        verdict: &'a str => Text,
        by: &'a str => Text,
        note: Option<&'a str> => Nullable<Text>,
    }
}

/// A point of which somebody has said something.
#[derive(Clone, Debug, QueryableByName)]
pub struct Settled {
    /// The number; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// What was odd about it.
    #[diesel(sql_type = Nullable<Text>)]
    pub suspect: Option<String>,
}

/// Says something of a point; none: there is no such point.
pub async fn give_verdict(connection: &mut Connection, verdict: Verdict<'_>) -> Result<Option<Settled>, StoreError> {
    let rows: Vec<Settled> = GiveVerdict {
        task_name: verdict.task_name,
        series: verdict.series,
        at: verdict.at.into(),
        verdict: verdict.verdict,
        by: verdict.by,
        note: verdict.note,
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().next())
}

/// A point as it is exported.
#[derive(Clone, Debug, QueryableByName)]
pub struct Exported {
    /// The series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// The instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// The number, every digit; none for a gap.
    #[diesel(sql_type = Nullable<Text>)]
    pub number: Option<String>,
    /// What stood there.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The run that returned it; none: imported.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    /// What is odd about it.
    #[diesel(sql_type = Nullable<Text>)]
    pub suspect: Option<String>,
    /// `accepted` or `rejected`.
    #[diesel(sql_type = Nullable<Text>)]
    pub verdict: Option<String>,
}

statement! {
    struct PageOfPoints<'a> = "observations/page.sql" {
        task_id: i64 => BigInt,
        series: Option<&'a str> => Nullable<Text>,
        since: Instant => Timestamptz,
        after_series: &'a str => Text,
        after_at: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// The next points of a task, in the order of series and instant, after the last one that was read.
pub async fn page(
    connection: &mut Connection,
    task_id: i64,
    series: Option<&str>,
    since: Timestamp,
    after: Option<&Exported>,
    limit: i64,
) -> Result<Vec<Exported>, StoreError> {
    PageOfPoints {
        task_id,
        series,
        since: since.into(),
        after_series: after.map_or(series.unwrap_or_default(), |point| &point.series),
        after_at: after.map_or(FIRST_INSTANT, |point| point.at).into(),
        limit,
    }
    .load(connection)
    .await
}

/// Before everything that Postgres can hold and jiff can say.
pub const FIRST_INSTANT: Timestamp = Timestamp::constant(-210_866_803_200, 0);

/// A point of the past, as somebody has it.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The series.
    pub series: String,
    /// The instant.
    pub at: Timestamp,
    /// What stands there.
    pub kind: &'static str,
    /// The number; none for a gap.
    pub number: Option<String>,
    /// What somebody said of it: `accepted` or `rejected`.
    pub verdict: Option<&'static str>,
}

statement! {
    struct ImportPoints<'a> = "observations/import.sql" {
        task_id: i64 => BigInt,
        imported_by: &'a str => Text,
        replace: bool => Bool,
        series: &'a [&'a str] => Array<Text>,
        at: &'a [Instant] => Array<Timestamptz>,
        kinds: &'a [&'a str] => Array<Text>,
        numbers: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        verdicts: &'a [Option<&'a str>] => Array<Nullable<Text>>,
    }
}

#[derive(QueryableByName)]
struct Written {
    #[diesel(sql_type = BigInt)]
    written: i64,
}

/// Writes points of the past; how many. Those that are there stay, unless they are to be replaced.
pub async fn import(
    connection: &mut Connection,
    task_id: i64,
    imported_by: &str,
    replace: bool,
    points: &[Imported],
) -> Result<u64, StoreError> {
    let rows: Vec<Written> = ImportPoints {
        task_id,
        imported_by,
        replace,
        series: &points.iter().map(|point| point.series.as_str()).collect::<Vec<_>>(),
        at: &instants(points.iter().map(|point| point.at)),
        kinds: &points.iter().map(|point| point.kind).collect::<Vec<_>>(),
        numbers: &points.iter().map(|point| point.number.as_deref()).collect::<Vec<_>>(),
        verdicts: &points.iter().map(|point| point.verdict).collect::<Vec<_>>(),
    }
    .load(connection)
    .await?;
    Ok(rows.iter().map(|row| row.written.unsigned_abs()).sum())
}

/// Does all of it or nothing.
pub async fn all_or_nothing<T>(
    connection: &mut Connection,
    work: impl AsyncFnOnce(&mut Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    AnsiTransactionManager::begin_transaction(connection).await?;
    match work(connection).await {
        Ok(done) => {
            AnsiTransactionManager::commit_transaction(connection).await?;
            Ok(done)
        }
        Err(error) => {
            // A connection that is gone takes everything back by itself.
            let _ = AnsiTransactionManager::rollback_transaction(connection).await;
            Err(error)
        }
    }
}
