//! Series as charts want them: which there are, and the points of one between two instants.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{Instant, MaybeInstant};
use super::statement::statement;
use super::{Connection, StoreError};

/// A series.
#[derive(Clone, Debug, QueryableByName)]
pub struct SeriesRow {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its name.
    #[diesel(sql_type = Text)]
    pub task: String,
    /// The series.
    #[diesel(sql_type = Text)]
    pub series: String,
    /// What the header expects of it, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub expectation: Option<String>,
    /// Its newest points, as a JSON array, oldest first.
    #[diesel(sql_type = Text)]
    pub recent: String,
    /// Whether no new number has come for too long.
    #[diesel(sql_type = Bool)]
    pub is_stale: bool,
    /// Whether a point is suspect and nobody has said anything of it.
    #[diesel(sql_type = Bool)]
    pub has_open: bool,
}

statement! {
    struct ListSeries<'a> = "series/list.sql" { task_name: Option<&'a str> => Nullable<Text>, recent_limit: i32 => Integer }
}

/// Series of all tasks or of one, each with so many of its newest points.
pub async fn list(
    connection: &mut Connection,
    task_name: Option<&str>,
    recent_limit: i32,
) -> Result<Vec<SeriesRow>, StoreError> {
    let statement = ListSeries {
        task_name,
        recent_limit,
    };
    statement.load(connection).await
}

/// What there is of a series in a span of time.
#[derive(Clone, Debug, QueryableByName)]
pub struct Summary {
    /// How many points, gaps included.
    #[diesel(sql_type = BigInt)]
    pub points: i64,
    /// How many of them are gaps.
    #[diesel(sql_type = BigInt)]
    pub gaps: i64,
    /// The lowest number, every digit; what was rejected does not count.
    #[diesel(sql_type = Nullable<Text>)]
    pub low: Option<String>,
    /// The highest.
    #[diesel(sql_type = Nullable<Text>)]
    pub high: Option<String>,
    /// The first point.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub first_at: Option<Timestamp>,
    /// The last point.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_at: Option<Timestamp>,
}

statement! {
    struct Summarize<'a> = "series/summary.sql" {
        task_id: i64 => BigInt, series: &'a str => Text, since: Instant => Timestamptz, until: Instant => Timestamptz,
    }
}

/// What there is of a series between two instants.
pub async fn summary(
    connection: &mut Connection,
    task_id: i64,
    series: &str,
    since: Timestamp,
    until: Timestamp,
) -> Result<Summary, StoreError> {
    let statement = Summarize {
        task_id,
        series,
        since: since.into(),
        until: until.into(),
    };
    statement.get_result(connection).await
}

/// A point as it is charted.
#[derive(Clone, Debug, QueryableByName)]
pub struct Charted {
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
    /// Whether it breaks an expectation.
    #[diesel(sql_type = Bool)]
    pub breach: bool,
    /// `accepted` or `rejected`.
    #[diesel(sql_type = Nullable<Text>)]
    pub verdict: Option<String>,
    /// Who said so.
    #[diesel(sql_type = Nullable<Text>)]
    pub verdict_by: Option<String>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub note: Option<String>,
}

statement! {
    struct Points<'a> = "series/points.sql" {
        task_id: i64 => BigInt, series: &'a str => Text, since: Instant => Timestamptz, until: Instant => Timestamptz,
        spans: Option<i32> => Nullable<Integer>,
    }
}

/// Points of a series between two instants, in order. `spans`: only the lowest, the highest and a gap of each of so many equal
/// spans; none: all of them.
pub async fn points(
    connection: &mut Connection,
    task_id: i64,
    series: &str,
    since: Timestamp,
    until: Timestamp,
    spans: Option<i32>,
) -> Result<Vec<Charted>, StoreError> {
    let statement = Points {
        task_id,
        series,
        since: since.into(),
        until: until.into(),
        spans,
    };
    statement.load(connection).await
}

/// An instant without a value.
#[derive(Clone, Debug, QueryableByName)]
pub struct FailureRow {
    /// The instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// The row of the run log.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// What became of it.
    #[diesel(sql_type = Text)]
    pub status: String,
}

statement! {
    struct Failures = "series/failures.sql" {
        task_id: i64 => BigInt, since: Instant => Timestamptz, until: Instant => Timestamptz, row_limit: i64 => BigInt,
    }
}

/// Instants of a task at which it failed or did not run, newest first.
pub async fn failures(
    connection: &mut Connection,
    task_id: i64,
    since: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<FailureRow>, StoreError> {
    let statement = Failures {
        task_id,
        since: since.into(),
        until: until.into(),
        row_limit: limit,
    };
    statement.load(connection).await
}
