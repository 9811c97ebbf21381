//! Nodes: the incarnations of this program, their leases, and what they leave behind.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Double, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::column::Instant;
use super::statement::statement;
use super::{Connection, StoreError};

/// What a node says of itself when it enters.
#[derive(Clone, Debug)]
pub struct NewNode {
    /// A new one for every start of the process.
    pub node_id: Uuid,
    /// `serve` or `command`.
    pub kind: &'static str,
    /// Host name.
    pub host: String,
    /// Process id.
    pub pid: i32,
    /// Which data directory it works in.
    pub data_directory_id: Uuid,
    /// Queues it serves.
    pub queues: Vec<String>,
    /// Tags it offers.
    pub tags: Vec<String>,
    /// How many scripts it runs at once.
    pub max_running: i32,
    /// Version of the interpreter that it runs scripts with.
    pub python: Option<String>,
}

/// The database's answer to a node that enters or renews its lease.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Contact {
    /// The database's clock.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub now: Timestamp,
    /// Since when this node has been in unbroken contact.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub connected_since: Timestamp,
    /// Since when at least one node has been there to fire.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub attended_since: Timestamp,
    /// How many nodes are alive.
    #[diesel(sql_type = BigInt)]
    pub live_nodes: i64,
}

statement! {
    struct Register<'a> = "nodes/register.sql" {
        node_id: Uuid => SqlUuid,
        kind: &'a str => Text,
        host: &'a str => Text,
        pid: i32 => Integer,
        version: &'a str => Text,
        data_directory_id: Uuid => SqlUuid,
        queues: &'a [String] => Array<Text>,
        tags: &'a [String] => Array<Text>,
        max_running: i32 => Integer,
        lease_seconds: f64 => Double,
        python: Option<&'a str> => Nullable<Text>,
    }
}

/// Enters a new incarnation.
pub async fn register(connection: &mut Connection, node: &NewNode, lease: Duration) -> Result<Contact, StoreError> {
    Register {
        node_id: node.node_id,
        kind: node.kind,
        host: &node.host,
        pid: node.pid,
        version: env!("CARGO_PKG_VERSION"),
        data_directory_id: node.data_directory_id,
        queues: &node.queues,
        tags: &node.tags,
        max_running: node.max_running,
        lease_seconds: lease.as_secs_f64(),
        python: node.python.as_deref(),
    }
    .get_result(connection)
    .await
}

statement! {
    struct Renew<'a> = "nodes/heartbeat.sql" {
        node_id: Uuid => SqlUuid,
        lease_seconds: f64 => Double,
        state: &'a str => Text,
        clock_offset_ms: f64 => Double,
        clock_error_ms: f64 => Double,
        stalled_loops: &'a [&'a str] => Array<Text>,
    }
}

/// What a node says with each heartbeat.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat<'a> {
    /// Its id.
    pub node_id: Uuid,
    /// How long it is believed to live without another one.
    pub lease: Duration,
    /// `live` or `draining`.
    pub state: &'a str,
    /// Database clock less its own.
    pub clock_offset_ms: f64,
    /// Uncertainty of that.
    pub clock_error_ms: f64,
    /// Loops that have ended or hang.
    pub stalled_loops: &'a [&'a str],
}

/// Renews a lease. `None`: the node was declared dead.
pub async fn heartbeat(connection: &mut Connection, said: Heartbeat<'_>) -> Result<Option<Contact>, StoreError> {
    let renew = Renew {
        node_id: said.node_id,
        lease_seconds: said.lease.as_secs_f64(),
        state: said.state,
        clock_offset_ms: said.clock_offset_ms,
        clock_error_ms: said.clock_error_ms,
        stalled_loops: said.stalled_loops,
    };
    Ok(renew.load(connection).await?.pop())
}

statement! {
    struct Serving<'a> = "nodes/serving.sql" {
        data_directory_id: Uuid => SqlUuid,
        host: &'a str => Text,
    }
}

/// A service that has not left, as its row has it.
#[derive(Clone, Debug, QueryableByName)]
pub struct ServingNode {
    /// Its id.
    #[diesel(sql_type = SqlUuid)]
    pub node_id: Uuid,
    /// Its process on its host.
    #[diesel(sql_type = Integer)]
    pub pid: i32,
    /// Version of dropcron.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// `live` or `draining`.
    #[diesel(sql_type = Text)]
    pub state: String,
    /// Start of its process.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub started_at: Timestamp,
    /// Its last heartbeat.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub heartbeat_at: Timestamp,
    /// Whether it may start scripts, by the database's clock.
    #[diesel(sql_type = diesel::sql_types::Bool)]
    pub has_lease: bool,
    /// How old the heartbeat is, by the database's clock.
    #[diesel(sql_type = Double)]
    pub heartbeat_age_seconds: f64,
    /// Loops that had ended or hung by then.
    #[diesel(sql_type = Array<Text>)]
    pub stalled_loops: Vec<String>,
}

statement! {
    struct Alive = "nodes/alive.sql" {}
}

/// The services that are alive.
#[derive(Clone, Debug, Default, QueryableByName)]
pub struct AliveNodes {
    /// How many.
    #[diesel(sql_type = BigInt)]
    pub nodes: i64,
    /// Their versions, each once.
    #[diesel(sql_type = Array<Text>)]
    pub versions: Vec<String>,
}

/// Counts the services that are alive.
pub async fn alive(connection: &mut Connection) -> Result<AliveNodes, StoreError> {
    Alive {}.get_result(connection).await
}

statement! {
    struct AreThere = "nodes/are_there.sql" {}
}

#[derive(QueryableByName)]
struct AreThereRow {
    #[diesel(sql_type = diesel::sql_types::Bool)]
    are_there: bool,
}

/// Whether there is a table of nodes at all: `false` in a database that no dropcron has migrated yet.
pub async fn are_there(connection: &mut Connection) -> Result<bool, StoreError> {
    let row: AreThereRow = AreThere {}.get_result(connection).await?;
    Ok(row.are_there)
}

/// The service of a data directory on a host, if it has not left.
pub async fn serving(
    connection: &mut Connection,
    data_directory_id: Uuid,
    host: &str,
) -> Result<Option<ServingNode>, StoreError> {
    let rows: Vec<ServingNode> = Serving {
        data_directory_id,
        host,
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().next())
}

statement! {
    struct StopNode = "nodes/stop.sql" { node_id: Uuid => SqlUuid }
}

/// Leaves in order.
pub async fn stop(connection: &mut Connection, node_id: Uuid) -> Result<(), StoreError> {
    StopNode { node_id }.execute(connection).await.map(drop)
}

statement! {
    struct DeclareDead<'a> = "nodes/declare_dead.sql" {
        node_id: Uuid => SqlUuid,
        lease_seconds: f64 => Double,
        data_directory_id: Uuid => SqlUuid,
        host: &'a str => Text,
    }
}

#[derive(QueryableByName)]
struct NodeRow {
    #[diesel(sql_type = SqlUuid)]
    node_id: Uuid,
}

/// Declares dead the nodes whose lease has ended, and earlier ones of the same data directory. Returns their ids.
pub async fn declare_dead(
    connection: &mut Connection,
    node_id: Uuid,
    lease: Duration,
    data_directory_id: Uuid,
    host: &str,
) -> Result<Vec<Uuid>, StoreError> {
    let rows: Vec<NodeRow> = DeclareDead {
        node_id,
        lease_seconds: lease.as_secs_f64(),
        data_directory_id,
        host,
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().map(|row| row.node_id).collect())
}

statement! {
    struct Orphaned = "nodes/orphaned.sql" {}
}

/// A run that its node left behind, and what became of it.
#[derive(Clone, Debug, QueryableByName)]
pub struct OrphanedRun {
    /// The run.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// Its task.
    #[diesel(sql_type = Text)]
    pub task_name: String,
    /// Its instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub scheduled_for: Timestamp,
    /// `lost`, or `queued` if it cannot have been started.
    #[diesel(sql_type = Text)]
    pub status: String,
}

/// Settles what dead nodes held: at most 500 runs a call.
pub async fn settle_orphaned(connection: &mut Connection) -> Result<Vec<OrphanedRun>, StoreError> {
    Orphaned {}.load(connection).await
}

statement! {
    struct HoldDuty<'a> = "nodes/hold_duty.sql" {
        duty: &'a str => Text,
        node_id: Uuid => SqlUuid,
        hold_seconds: f64 => Double,
    }
}

#[derive(QueryableByName)]
struct DutyRow {
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    #[expect(dead_code, reason = "only its presence is asked for")]
    held_until: Timestamp,
}

/// Takes or renews a duty that one node does for all. `false`: another node has it.
pub async fn hold_duty(
    connection: &mut Connection,
    duty: &str,
    node_id: Uuid,
    hold: Duration,
) -> Result<bool, StoreError> {
    let rows: Vec<DutyRow> = HoldDuty {
        duty,
        node_id,
        hold_seconds: hold.as_secs_f64(),
    }
    .load(connection)
    .await?;
    Ok(!rows.is_empty())
}
