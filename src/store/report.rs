//! Reports: what the views of `dropcron_report` say, as rows of text and as JSON; and the roles that may read them.
//!
//! Reads the contract only, as everybody does.

use diesel::QueryableByName;
use diesel::sql_types::{Array, Nullable, Text, Timestamptz};
use diesel_async::methods::LoadQuery;
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};
use jiff::Timestamp;

use super::column::Instant;
use super::statement::statement;
use super::{Connection, StoreError};

/// The SQL that makes the roles and gives them their rights. It may be run any number of times.
pub const ROLES: &str = concat!(include_str!("report/role_names.sql"), include_str!("report/roles.sql"));

/// Makes the roles, as far as this connection's own role may.
pub async fn make_roles(connection: &mut Connection) -> Result<(), StoreError> {
    connection.batch_execute(ROLES).await
}

/// Makes the roles alone, before there is anything that they could read.
pub async fn make_role_names(connection: &mut Connection) -> Result<(), StoreError> {
    connection.batch_execute(include_str!("report/role_names.sql")).await
}

/// Which rows of a report are wanted.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Only of this task.
    pub task: Option<String>,
    /// From this instant on, or from its day.
    pub since: Timestamp,
}

/// One row of a report.
#[derive(Clone, Debug, QueryableByName)]
pub struct ReportRow {
    /// All of it, as a JSON object with the columns in order.
    #[diesel(sql_type = Text)]
    pub json: String,
    /// Its cells as text.
    #[diesel(sql_type = Array<Nullable<Text>>)]
    pub cells: Vec<Option<String>>,
}

statement! { struct Daily<'a> = "report/daily.sql" { task: Option<&'a str> => Nullable<Text>, since: Instant => Timestamptz } }
statement! { struct Failures<'a> = "report/failures.sql" { task: Option<&'a str> => Nullable<Text>, since: Instant => Timestamptz } }
statement! { struct Missed<'a> = "report/missed.sql" { task: Option<&'a str> => Nullable<Text>, since: Instant => Timestamptz } }
statement! { struct Values<'a> = "report/values.sql" { task: Option<&'a str> => Nullable<Text>, since: Instant => Timestamptz } }

/// Days and what became of each task on them, newest first.
pub async fn daily(connection: &mut Connection, filter: &Filter) -> Result<Vec<ReportRow>, StoreError> {
    let (task, since) = (filter.task.as_deref(), filter.since.into());
    load(connection, Daily { task, since }).await
}

/// Runs that failed for good, newest first.
pub async fn failures(connection: &mut Connection, filter: &Filter) -> Result<Vec<ReportRow>, StoreError> {
    let (task, since) = (filter.task.as_deref(), filter.since.into());
    load(connection, Failures { task, since }).await
}

/// Spans of instants that nobody ran, newest first.
pub async fn missed(connection: &mut Connection, filter: &Filter) -> Result<Vec<ReportRow>, StoreError> {
    let (task, since) = (filter.task.as_deref(), filter.since.into());
    load(connection, Missed { task, since }).await
}

/// The numbers of each series, day by day, newest first.
pub async fn values(connection: &mut Connection, filter: &Filter) -> Result<Vec<ReportRow>, StoreError> {
    let (task, since) = (filter.task.as_deref(), filter.since.into());
    load(connection, Values { task, since }).await
}

async fn load<'a, Q>(connection: &mut Connection, statement: Q) -> Result<Vec<ReportRow>, StoreError>
where
    Q: LoadQuery<'a, Connection, ReportRow> + Send + 'a,
{
    statement.load(connection).await
}
