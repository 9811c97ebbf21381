//! Deliveries: messages to channels, claimed, settled, and read.
//!
//! They are made by the statements that write what they tell of, and by [`add_late`] for what nobody writes: that a run has
//! not started.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Double, Integer, Jsonb, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::column::{Instant, MaybeInstant};
use super::statement::statement;
use super::{Connection, StoreError};

/// A delivery that somebody has taken to send it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Delivery {
    /// What the receiver tells repetitions by.
    #[diesel(sql_type = SqlUuid)]
    pub delivery_id: Uuid,
    /// The channel.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// `failed`, `recovered`, `missed`, `late` or `test`.
    #[diesel(sql_type = Text)]
    pub kind: String,
    /// The task's name; none for `test`.
    #[diesel(sql_type = Nullable<Text>)]
    pub task_name: Option<String>,
    /// The run that it tells of.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    /// The instant of that.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub scheduled_for: Option<Timestamp>,
    /// The attempt of that.
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub attempt: Option<i16>,
    /// What the message is made of, as a JSON object.
    #[diesel(sql_type = Text)]
    pub facts: String,
    /// How often it was tried, this time included.
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    /// When what it tells was written.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub created_at: Timestamp,
}

statement! {
    struct Claim<'a> = "deliveries/claim.sql" {
        channels: &'a [String] => Array<Text>,
        claimed_by: Uuid => SqlUuid,
        hold_seconds: f64 => Double,
    }
}

/// Takes the next delivery of each channel, for as long as `hold`.
pub async fn claim(
    connection: &mut Connection,
    channels: &[String],
    claimed_by: Uuid,
    hold: Duration,
) -> Result<Vec<Delivery>, StoreError> {
    let hold_seconds = hold.as_secs_f64();
    Claim {
        channels,
        claimed_by,
        hold_seconds,
    }
    .load(connection)
    .await
}

statement! {
    struct Settle<'a> = "deliveries/settle.sql" {
        delivery_id: Uuid => SqlUuid,
        claimed_by: Uuid => SqlUuid,
        error: Option<&'a str> => Nullable<Text>,
        pause_seconds: Option<f64> => Nullable<Double>,
        patience_seconds: f64 => Double,
    }
}

#[derive(QueryableByName)]
struct StateRow {
    #[diesel(sql_type = Text)]
    state: String,
}

/// Writes how a try went, and returns the state that follows. `pause`: until the next try; none: there is none. `None`: whoever
/// tried did not hold it any more, and somebody else has it.
pub async fn settle(
    connection: &mut Connection,
    delivery_id: Uuid,
    claimed_by: Uuid,
    error: Option<&str>,
    pause: Option<Duration>,
    patience: Duration,
) -> Result<Option<String>, StoreError> {
    let settle = Settle {
        delivery_id,
        claimed_by,
        error,
        pause_seconds: pause.map(|pause| pause.as_secs_f64()),
        patience_seconds: patience.as_secs_f64(),
    };
    let rows: Vec<StateRow> = settle.load(connection).await?;
    Ok(rows.into_iter().next().map(|row| row.state))
}

statement! {
    struct GiveUp = "deliveries/give_up.sql" { patience_seconds: f64 => Double }
}

/// Gives up what nobody has sent for longer than `patience`. Returns how many.
pub async fn give_up(connection: &mut Connection, patience: Duration) -> Result<usize, StoreError> {
    let patience_seconds = patience.as_secs_f64();
    GiveUp { patience_seconds }.execute(connection).await
}

statement! {
    struct AddLate = "deliveries/late.sql" {}
}

/// Tells of runs that should have started and still wait.
pub async fn add_late(connection: &mut Connection) -> Result<(), StoreError> {
    AddLate {}.execute(connection).await.map(drop)
}

statement! {
    struct UnknownChannels<'a> = "deliveries/unknown_channels.sql" { known: &'a [String] => Array<Text> }
}

/// A channel that a task names.
#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
pub struct NamedChannel {
    /// The channel.
    #[diesel(sql_type = Text)]
    pub channel: String,
    /// One of the tasks that name it.
    #[diesel(sql_type = Text)]
    pub task_name: String,
}

/// Channels that tasks name and that are not among the known ones: at most 100.
pub async fn unknown_channels(connection: &mut Connection, known: &[String]) -> Result<Vec<NamedChannel>, StoreError> {
    UnknownChannels { known }.load(connection).await
}

statement! {
    struct AddTest<'a> = "deliveries/add_test.sql" {
        channel: &'a str => Text,
        facts: &'a serde_json::Value => Jsonb,
        claimed_by: Uuid => SqlUuid,
        hold_seconds: f64 => Double,
    }
}

/// Makes a delivery with which somebody tries a channel; it is theirs to send.
pub async fn add_test(
    connection: &mut Connection,
    channel: &str,
    facts: &serde_json::Value,
    claimed_by: Uuid,
    hold: Duration,
) -> Result<Delivery, StoreError> {
    let hold_seconds = hold.as_secs_f64();
    AddTest {
        channel,
        facts,
        claimed_by,
        hold_seconds,
    }
    .get_result(connection)
    .await
}

/// A row of `delivery`.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct DeliveryRow {
    #[diesel(sql_type = SqlUuid)]
    pub delivery_id: Uuid,
    #[diesel(sql_type = Text)]
    pub channel: String,
    #[diesel(sql_type = Text)]
    pub kind: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub task_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub task_name: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub scheduled_for: Option<Timestamp>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub attempt: Option<i16>,
    #[diesel(sql_type = Text)]
    pub facts: String,
    #[diesel(sql_type = Text)]
    pub state: String,
    #[diesel(sql_type = Integer)]
    pub attempts: i32,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub next_attempt_at: Timestamp,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_error: Option<String>,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub created_at: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub delivered_at: Option<Timestamp>,
}

statement! {
    struct ListDeliveries = "deliveries/list.sql" { since: Instant => Timestamptz, limit: i64 => BigInt }
}

/// Deliveries made at or after an instant, newest first.
pub async fn list(connection: &mut Connection, since: Timestamp, limit: i64) -> Result<Vec<DeliveryRow>, StoreError> {
    let since = since.into();
    ListDeliveries { since, limit }.load(connection).await
}
