//! What people ask for over the API, each request as one transaction: what is changed, who asked, and that it is done once.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz};
use diesel_async::{AnsiTransactionManager, RunQueryDsl, TransactionManager};

use super::column::Instant;
use super::runs::Request;
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::ContentHash;

/// Does all of it or nothing.
pub async fn in_transaction<T, E: From<StoreError>>(
    connection: &mut Connection,
    work: impl AsyncFnOnce(&mut Connection) -> Result<T, E>,
) -> Result<T, E> {
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

/// What is known of the key of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// It was not sent before, and is held now.
    New,
    /// It was sent with the same request, which made this run.
    Made(i64),
    /// It was sent with another request.
    ForSomethingElse,
}

statement! {
    struct HoldKey<'a> = "requests/hold_key.sql" {
        token_id: i64 => BigInt, key: &'a str => Text, request_sha256: &'a [u8] => Binary,
    }
}

statement! {
    struct ReadKey<'a> = "requests/read_key.sql" {
        token_id: i64 => BigInt, key: &'a str => Text, request_sha256: &'a [u8] => Binary,
    }
}

#[derive(QueryableByName)]
struct KeyRow {
    #[diesel(sql_type = Bool)]
    is_same: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    run_id: Option<i64>,
}

/// Holds the key of a request, within the transaction that does what it asks for.
pub async fn hold_key(
    connection: &mut Connection,
    token_id: i64,
    key: &str,
    request_sha256: &[u8; 32],
) -> Result<KeyState, StoreError> {
    let hold = HoldKey {
        token_id,
        key,
        request_sha256,
    };
    if hold.execute(connection).await? > 0 {
        return Ok(KeyState::New);
    }
    let read = ReadKey {
        token_id,
        key,
        request_sha256,
    };
    let row: KeyRow = read.get_result(connection).await?;
    Ok(match row {
        KeyRow {
            is_same: true,
            run_id: Some(run_id),
        } => KeyState::Made(run_id),
        _ => KeyState::ForSomethingElse,
    })
}

statement! {
    struct SettleKey<'a> = "requests/settle_key.sql" {
        token_id: i64 => BigInt, key: &'a str => Text, run_id: i64 => BigInt,
    }
}

/// Notes the run that a request has made.
pub async fn settle_key(connection: &mut Connection, token_id: i64, key: &str, run_id: i64) -> Result<(), StoreError> {
    let statement = SettleKey { token_id, key, run_id };
    statement.execute(connection).await.map(drop)
}

statement! {
    struct RequestRun<'a> = "requests/request.sql" {
        task_id: i64 => BigInt, requested_by: &'a str => Text, args: Option<&'a str> => Nullable<Text>,
        as_of: Option<Instant> => Nullable<Timestamptz>, force: bool => Bool,
    }
}

statement! {
    struct PinVersion<'a> = "requests/pin_version.sql" { run_id: i64 => BigInt, sha256: &'a [u8] => Binary }
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    run_id: i64,
}

/// Asks for a run, of another version than the one in force if one is named. None: the task is gone.
pub async fn request(
    connection: &mut Connection,
    request: &Request,
    version: Option<&ContentHash>,
) -> Result<Option<i64>, StoreError> {
    let statement = RequestRun {
        task_id: request.task_id,
        requested_by: &request.requested_by,
        args: request.args.as_deref(),
        as_of: request.as_of.map(Instant::from),
        force: request.force,
    };
    let rows: Vec<NumberRow> = statement.load(connection).await?;
    let Some(NumberRow { run_id }) = rows.into_iter().next() else {
        return Ok(None);
    };
    if let Some(version) = version {
        let sha256 = version.as_bytes();
        PinVersion { run_id, sha256 }.execute(connection).await?;
    }
    Ok(Some(run_id))
}

statement! {
    struct Override<'a> = "requests/override.sql" {
        name: &'a str => Text, schedule: Option<&'a [String]> => Nullable<Array<Text>>, timezone: Option<&'a str> => Nullable<Text>,
        actor: &'a str => Text,
    }
}

/// Replaces the schedule and the zone of a task, or takes that back. `false`: there is no such task.
pub async fn override_schedule(
    connection: &mut Connection,
    name: &str,
    schedule: Option<&[String]>,
    timezone: Option<&str>,
    actor: &str,
) -> Result<bool, StoreError> {
    let statement = Override {
        name,
        schedule,
        timezone,
        actor,
    };
    Ok(statement.execute(connection).await? > 0)
}
