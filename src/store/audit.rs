//! The audit: who changed what.

use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Jsonb, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use serde_json::Value;

use super::column::Instant;
use super::statement::statement;
use super::{Connection, StoreError};

/// A change, as it is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// Who.
    pub actor: &'a str,
    /// From where; none: the command line.
    pub address: Option<&'a str>,
    /// What was done, such as `script.write`.
    pub action: &'a str,
    /// To what.
    pub subject: &'a str,
    /// What was.
    pub before: Option<&'a Value>,
    /// What is.
    pub after: Option<&'a Value>,
}

statement! {
    struct WriteAudit<'a> = "audit/write.sql" {
        actor: &'a str => Text, address: Option<&'a str> => Nullable<Text>, action: &'a str => Text, subject: &'a str => Text,
        before: Option<&'a Value> => Nullable<Jsonb>, after: Option<&'a Value> => Nullable<Jsonb>,
    }
}

statement! {
    struct TakeBack = "audit/take_back.sql" { audit_id: i64 => BigInt }
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    audit_id: i64,
}

/// Records a change; the number of the record.
pub async fn write(connection: &mut Connection, change: Change<'_>) -> Result<i64, StoreError> {
    let statement = WriteAudit {
        actor: change.actor,
        address: change.address,
        action: change.action,
        subject: change.subject,
        before: change.before,
        after: change.after,
    };
    let row: NumberRow = statement.get_result(connection).await?;
    Ok(row.audit_id)
}

/// Removes the record of a change that was not made.
pub async fn take_back(connection: &mut Connection, audit_id: i64) -> Result<(), StoreError> {
    TakeBack { audit_id }.execute(connection).await.map(drop)
}

/// An entry of the audit.
#[derive(Clone, Debug, QueryableByName)]
pub struct Entry {
    /// When.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// Where it is recorded: `audit` or `task_event`.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// Its number there.
    #[diesel(sql_type = BigInt)]
    pub number: i64,
    /// Who.
    #[diesel(sql_type = Text)]
    pub actor: String,
    /// From where.
    #[diesel(sql_type = Nullable<Text>)]
    pub address: Option<String>,
    /// What was done.
    #[diesel(sql_type = Text)]
    pub action: String,
    /// To what.
    #[diesel(sql_type = Text)]
    pub subject: String,
    /// What was, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub before: Option<String>,
    /// What is, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub after: Option<String>,
}

/// A place in the order of the audit.
#[derive(Clone, Debug)]
pub struct Place {
    /// When.
    pub at: Timestamp,
    /// `audit` or `task_event`.
    pub source: String,
    /// The number there.
    pub number: i64,
}

statement! {
    struct ListAudit<'a> = "audit/list.sql" {
        before_at: Option<Instant> => Nullable<Timestamptz>, before_source: Option<&'a str> => Nullable<Text>,
        before_number: Option<i64> => Nullable<BigInt>, row_limit: i64 => BigInt,
    }
}

/// What people changed, newest first, on from a place.
pub async fn list(connection: &mut Connection, before: Option<&Place>, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let statement = ListAudit {
        before_at: before.map(|place| place.at.into()),
        before_source: before.map(|place| place.source.as_str()),
        before_number: before.map(|place| place.number),
        row_limit: limit,
    };
    statement.load(connection).await
}
