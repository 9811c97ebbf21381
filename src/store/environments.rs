//! Environments: what scripts ask for, what came of it, and the locks of packages.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{HashColumn, Instant, MaybeHashColumn, MaybeInstant};
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::ContentHash;

/// How it stands with something that scripts ask for.
#[derive(Clone, Debug, QueryableByName)]
pub struct EnvironmentState {
    /// What it is called by.
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    pub requirements_sha256: ContentHash,
    /// What is asked for, as JSON.
    #[diesel(sql_type = Text)]
    pub requirements: String,
    /// `building`, `ready` or `needs_attention`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why it needs attention.
    #[diesel(sql_type = Nullable<Text>)]
    pub problem: Option<String>,
    /// Its lock; of one that was never ready the lock of a task that waits for it.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub lock_sha256: Option<ContentHash>,
}

impl EnvironmentState {
    /// Whether it can be run with.
    pub fn is_ready(&self) -> bool {
        self.state == "ready"
    }
}

statement! {
    struct Ask<'a> = "environments/ask.sql" {
        requirements_sha256: &'a [&'a [u8]] => Array<Binary>,
        requirements: &'a [&'a str] => Array<Text>,
    }
}

/// Makes sure that there is a row for each of these; what is asked for is JSON.
pub async fn ask(connection: &mut Connection, requirements: &[(ContentHash, String)]) -> Result<(), StoreError> {
    Ask {
        requirements_sha256: &requirements
            .iter()
            .map(|(hash, _)| hash.as_bytes().as_slice())
            .collect::<Vec<_>>(),
        requirements: &requirements.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>(),
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct States<'a> = "environments/states.sql" { requirements_sha256: &'a [&'a [u8]] => Array<Binary> }
}

/// How it stands with these.
pub async fn states(
    connection: &mut Connection,
    requirements: &[ContentHash],
) -> Result<HashMap<ContentHash, EnvironmentState>, StoreError> {
    let hashes: Vec<&[u8]> = requirements.iter().map(|hash| hash.as_bytes().as_slice()).collect();
    let rows: Vec<EnvironmentState> = States {
        requirements_sha256: &hashes,
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.requirements_sha256, row)).collect())
}

statement! {
    struct Unsettled = "environments/unsettled.sql" {}
}

/// What live tasks ask for and is not ready.
pub async fn unsettled(connection: &mut Connection) -> Result<Vec<EnvironmentState>, StoreError> {
    Unsettled {}.load(connection).await
}

statement! {
    struct Begin<'a> = "environments/begin.sql" { requirements_sha256: &'a [u8] => Binary }
}

/// It is being resolved, once more.
pub async fn begin(connection: &mut Connection, requirements: ContentHash) -> Result<(), StoreError> {
    Begin {
        requirements_sha256: requirements.as_bytes(),
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct Say<'a> = "environments/say.sql" { requirements_sha256: &'a [u8] => Binary, log: &'a str => Text }
}

/// What was said so far.
pub async fn say(connection: &mut Connection, requirements: ContentHash, log: &str) -> Result<(), StoreError> {
    Say {
        requirements_sha256: requirements.as_bytes(),
        log,
    }
    .execute(connection)
    .await
    .map(drop)
}

/// A lock as it is kept.
#[derive(Clone, Debug, QueryableByName)]
pub struct LockRow {
    /// The requirements, pinned.
    #[diesel(sql_type = Text)]
    pub content: String,
    /// The oldest Python that it was resolved for.
    #[diesel(sql_type = Text)]
    pub python: String,
}

statement! {
    struct Settle<'a> = "environments/settle.sql" {
        requirements_sha256: &'a [u8] => Binary,
        lock_sha256: &'a [u8] => Binary,
        content: &'a str => Text,
        python: &'a str => Text,
        log: &'a str => Text,
        actor: &'a str => Text,
    }
}

/// It has this lock, and is ready.
pub async fn settle(
    connection: &mut Connection,
    requirements: ContentHash,
    lock_sha256: ContentHash,
    lock: &LockRow,
    log: &str,
    actor: &str,
) -> Result<(), StoreError> {
    Settle {
        requirements_sha256: requirements.as_bytes(),
        lock_sha256: lock_sha256.as_bytes(),
        content: &lock.content,
        python: &lock.python,
        log,
        actor,
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct Fail<'a> = "environments/fail.sql" {
        requirements_sha256: &'a [u8] => Binary,
        problem: &'a str => Text,
        log: &'a str => Text,
    }
}

/// It cannot be had, for this reason. What was ready before stays so.
pub async fn fail(
    connection: &mut Connection,
    requirements: ContentHash,
    problem: &str,
    log: &str,
) -> Result<(), StoreError> {
    Fail {
        requirements_sha256: requirements.as_bytes(),
        problem,
        log,
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct Follow = "environments/follow.sql" {}
}

/// Gives tasks the lock of what they ask for, where they have another one.
pub async fn follow(connection: &mut Connection) -> Result<(), StoreError> {
    Follow {}.execute(connection).await.map(drop)
}

statement! {
    struct Hold<'a> = "environments/hold.sql" {
        task_ids: &'a [i64] => Array<BigInt>,
        requirements_sha256: &'a [Option<&'a [u8]>] => Array<Nullable<Binary>>,
    }
}

/// What the files of tasks ask for, while it is not ready; none: nothing more than what is in force.
pub async fn hold(connection: &mut Connection, next: &[(i64, Option<ContentHash>)]) -> Result<(), StoreError> {
    Hold {
        task_ids: &next.iter().map(|(task_id, _)| *task_id).collect::<Vec<_>>(),
        requirements_sha256: &next
            .iter()
            .map(|(_, hash)| hash.as_ref().map(|hash| hash.as_bytes().as_slice()))
            .collect::<Vec<_>>(),
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct LockOf<'a> = "environments/lock.sql" { lock_sha256: &'a [u8] => Binary }
}

/// The packages of a lock.
pub async fn lock(connection: &mut Connection, lock_sha256: ContentHash) -> Result<Option<LockRow>, StoreError> {
    let rows: Vec<LockRow> = LockOf {
        lock_sha256: lock_sha256.as_bytes(),
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().next())
}

/// A lock that live tasks have.
#[derive(Clone, Debug, QueryableByName)]
pub struct LockInForce {
    /// The lock.
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    pub lock_sha256: ContentHash,
    /// The Python versions that those tasks work with.
    #[diesel(sql_type = Nullable<Text>)]
    pub requires_python: Option<String>,
}

statement! {
    struct LocksInForce = "environments/locks_in_force.sql" {}
}

/// The locks that live tasks have, or will have.
pub async fn locks_in_force(connection: &mut Connection) -> Result<Vec<LockInForce>, StoreError> {
    LocksInForce {}.load(connection).await
}

/// What tasks ask for, as people read it.
#[derive(Clone, Debug, QueryableByName)]
pub struct EnvironmentRow {
    /// What it is called by.
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    pub requirements_sha256: ContentHash,
    /// What is asked for, as JSON.
    #[diesel(sql_type = Text)]
    pub requirements: String,
    /// `building`, `ready` or `needs_attention`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Why it needs attention.
    #[diesel(sql_type = Nullable<Text>)]
    pub problem: Option<String>,
    /// What was said while it was last made.
    #[diesel(sql_type = Text)]
    pub log: String,
    /// Its lock.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub lock_sha256: Option<ContentHash>,
    /// The requirements of its lock, pinned.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock: Option<String>,
    /// The oldest Python that its lock holds for.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock_python: Option<String>,
    /// When that was resolved.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub locked_at: Option<Timestamp>,
    /// When its state last changed.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub changed_at: Timestamp,
    /// The tasks that ask for it, or will.
    #[diesel(sql_type = Array<Text>)]
    pub task_names: Vec<String>,
    /// Whether one of them waits for it, and has another one until then.
    #[diesel(sql_type = Bool)]
    pub is_next: bool,
}

statement! {
    struct List<'a> = "environments/list.sql" { task_name: Option<&'a str> => Nullable<Text> }
}

/// What tasks ask for; of one task, if it is named.
pub async fn list(connection: &mut Connection, task_name: Option<&str>) -> Result<Vec<EnvironmentRow>, StoreError> {
    List { task_name }.load(connection).await
}
