//! `dropcron health`: whether the service of this data directory works. For people, for container engines, for scripts.
//!
//! It looks from outside: at the lock that a service holds, at what that has noted, and at the row that its heartbeat writes. It
//! starts nothing and migrates nothing.

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::access::Access;
use super::output::{instant, print, print_json};
use super::{Exit, ExitError};
use crate::cli::JsonArgs;
use crate::config::Config;
use crate::database::ServeLock;
use crate::service::node;
use crate::store::Connection;
use crate::store::nodes::{self, ServingNode};

/// What was seen.
#[derive(Debug, Serialize)]
struct Seen {
    healthy: bool,
    /// Each is a reason why it is not healthy.
    problems: Vec<String>,
    node: Option<SeenNode>,
}

/// The row of the service.
#[derive(Debug, Serialize)]
struct SeenNode {
    node_id: String,
    host: String,
    pid: i32,
    version: String,
    state: String,
    started_at: Timestamp,
    heartbeat_at: Timestamp,
    heartbeat_age_seconds: f64,
    stalled_loops: Vec<String>,
}

/// Says whether the service works.
pub(super) async fn health(arguments: &JsonArgs, config: &Config) -> anyhow::Result<Exit> {
    let (seen, exit) = look(config).await?;
    if arguments.json {
        print_json(&seen)?;
    } else {
        print(&for_people(&seen))?;
    }
    Ok(exit)
}

async fn look(config: &Config) -> anyhow::Result<(Seen, Exit)> {
    let directory = config.data_directory.display();
    // A private Postgres runs while the service does: without it there is nobody to ask, and nothing is to be started.
    if ServeLock::holder(&config.data_directory)?.is_none() {
        let problem = format!(
            "no `dropcron serve` runs on the data directory `{directory}`; start one, or name another with `--data`"
        );
        return Ok((Seen::unhealthy(problem), Exit::Failed));
    }
    let found = match find(config).await {
        Ok(found) => found,
        Err(error) if super::exit_of(&error) == Exit::Unreachable => {
            let problem = format!("the database cannot be reached: {error:#}");
            return Ok((Seen::unhealthy(problem), Exit::Unreachable));
        }
        Err(error) => return Err(error),
    };
    let seen = match found {
        None => Seen::unhealthy(format!(
            "the service on `{directory}` is not in its database yet, or was declared dead there; its log says more"
        )),
        Some(node) => judge(node, host(config)),
    };
    let exit = if seen.healthy { Exit::Ok } else { Exit::Failed };
    Ok((seen, exit))
}

/// The row of the service, if it has one.
async fn find(config: &Config) -> anyhow::Result<Option<ServingNode>> {
    let Some(data_directory_id) = node::data_directory_id(&config.data_directory) else {
        return Ok(None);
    };
    let Some(access) = Access::open_as_it_is(config).await? else {
        return Err(ExitError {
            exit: Exit::Unreachable,
            message: "the private Postgres does not run; the service starts it again, and its log says why that fails"
                .to_owned(),
        }
        .into());
    };
    let found = match access.database.connection().await {
        Ok(mut connection) => serving(&mut connection, data_directory_id, &host(config)).await,
        Err(error) => Err(error.into()),
    };
    access.close().await?;
    found
}

/// The host that the service entered under: this one may have another name by now.
fn host(config: &Config) -> String {
    config
        .service
        .as_ref()
        .map_or_else(node::host, |note| note.host.clone())
}

async fn serving(
    connection: &mut Connection,
    data_directory_id: Uuid,
    host: &str,
) -> anyhow::Result<Option<ServingNode>> {
    // Its first start may still be making the tables.
    if !nodes::are_there(connection).await? {
        return Ok(None);
    }
    Ok(nodes::serving(connection, data_directory_id, host).await?)
}

fn judge(node: ServingNode, host: String) -> Seen {
    let mut problems = Vec::new();
    if !node.has_lease {
        problems.push(format!(
            "its last heartbeat is {:.0} s old, and its lease has ended: it hangs, or cannot reach the database",
            node.heartbeat_age_seconds
        ));
    }
    if !node.stalled_loops.is_empty() {
        problems.push(format!(
            "parts of it do not go on: {}; restart it, and see its log",
            node.stalled_loops.join(", ")
        ));
    }
    Seen {
        healthy: problems.is_empty(),
        problems,
        node: Some(SeenNode::of(node, host)),
    }
}

impl Seen {
    fn unhealthy(problem: String) -> Seen {
        Seen {
            healthy: false,
            problems: vec![problem],
            node: None,
        }
    }
}

impl SeenNode {
    fn of(node: ServingNode, host: String) -> SeenNode {
        SeenNode {
            node_id: node.node_id.to_string(),
            host,
            pid: node.pid,
            version: node.version,
            state: node.state,
            started_at: node.started_at,
            heartbeat_at: node.heartbeat_at,
            heartbeat_age_seconds: node.heartbeat_age_seconds,
            stalled_loops: node.stalled_loops,
        }
    }
}

fn for_people(seen: &Seen) -> String {
    let mut text = String::new();
    if seen.healthy {
        text.push_str("healthy");
    } else {
        text.push_str("not healthy");
    }
    if let Some(node) = &seen.node {
        text.push_str(&format!(
            ": dropcron {} on {}, pid {}, {} since {}, last heartbeat {:.0} s ago",
            node.version,
            node.host,
            node.pid,
            node.state,
            instant(node.started_at),
            node.heartbeat_age_seconds
        ));
    }
    text.push('\n');
    for problem in &seen.problems {
        text.push_str(&format!("  {problem}\n"));
    }
    text
}
