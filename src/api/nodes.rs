//! Nodes: the services that share the work.

use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::problem::Problem;
use crate::store::overview::{self, NodeRow};

/// Incarnations that are listed, the newest of those that are gone.
const SHOWN: i64 = 200;

/// An incarnation of the service.
#[derive(Debug, Serialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub node_id: Uuid,
    /// The host.
    pub host: String,
    /// The process there.
    pub pid: i32,
    /// The version of dropcron.
    pub version: String,
    /// The version of Python that it runs scripts with.
    pub python: Option<String>,
    /// `live`, `draining`, `stopped` or `dead`.
    pub state: String,
    /// Queues that it serves.
    pub queues: Vec<String>,
    /// Tags that it offers.
    pub tags: Vec<String>,
    /// How many scripts it runs at once.
    pub max_running: i32,
    /// How many it runs.
    pub running: i64,
    /// Its start.
    pub started_at: Timestamp,
    /// Start of its unbroken contact with the database.
    pub connected_since: Timestamp,
    /// Its last heartbeat.
    pub heartbeat_at: Timestamp,
    /// Until then it may start scripts.
    pub lease_until: Timestamp,
    /// When it stopped, or was found dead.
    pub stopped_at: Option<Timestamp>,
    /// The clock of the database less its own.
    pub clock_offset_ms: Option<f64>,
    /// The uncertainty of that.
    pub clock_error_ms: Option<f64>,
}

impl From<NodeRow> for Node {
    fn from(row: NodeRow) -> Node {
        Node {
            node_id: row.node_id,
            host: row.host,
            pid: row.pid,
            version: row.version,
            python: row.python,
            state: row.state,
            queues: row.queues,
            tags: row.tags,
            max_running: row.max_running,
            running: row.running,
            started_at: row.started_at,
            connected_since: row.connected_since,
            heartbeat_at: row.heartbeat_at,
            lease_until: row.lease_until,
            stopped_at: row.stopped_at,
            clock_offset_ms: row.clock_offset_ms,
            clock_error_ms: row.clock_error_ms,
        }
    }
}

/// Services that are there, and those that were.
#[derive(Debug, Serialize, ToSchema)]
pub struct NodeList {
    /// Those that are there first; at most 200.
    pub items: Vec<Node>,
}

/// List nodes.
#[utoipa::path(get, path = "/api/v1/nodes", tag = "nodes", responses((status = 200, body = NodeList), super::problem::Refusals))]
pub async fn list_nodes(State(api): App) -> Result<axum::Json<NodeList>, Problem> {
    let mut connection = api.database.connection().await?;
    let rows = overview::nodes(&mut connection, SHOWN).await?;
    Ok(axum::Json(NodeList {
        items: rows.into_iter().map(Node::from).collect(),
    }))
}
