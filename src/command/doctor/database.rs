//! What the doctor sees of the database. It migrates nothing, and makes no private Postgres where there is none.

use std::time::Instant;

use jiff::Timestamp;

use crate::command::Exit;
use crate::command::access::Access;
use crate::config::Config;
use crate::database::{Cluster, ClusterSettings, Database};
use crate::doctor::{BoundOf, ConnectionBound, DatabaseFacts, ServerFacts};
use crate::store::nodes::{self, AliveNodes};
use crate::store::server::{self, ServerRow};

/// Looks at the database in use.
pub(super) async fn look(config: &Config) -> anyhow::Result<DatabaseFacts> {
    if config.database_url.is_none() && !Cluster::is_made(&config.data_directory) {
        let settings = ClusterSettings::new(config.data_directory.clone());
        let binaries = tokio::task::spawn_blocking(move || Cluster::newest_binaries(&settings)).await?;
        return Ok(DatabaseFacts::NotMadeYet(binaries.map_err(|error| error.to_string())));
    }
    let access = match Access::open_as_it_is(config).await {
        Ok(access) => access,
        Err(error) if crate::command::exit_of(&error) == Exit::Usage => return Err(error),
        Err(error) => return Ok(DatabaseFacts::Unreachable(format!("{error:#}"))),
    };
    let asked = ask(&access).await;
    access.close().await?;
    Ok(asked.unwrap_or_else(|error| DatabaseFacts::Unreachable(format!("{error:#}"))))
}

async fn ask(access: &Access) -> anyhow::Result<DatabaseFacts> {
    let database = &access.database;
    if database.shares_backends().await? {
        return Ok(DatabaseFacts::Pooled);
    }
    let mut connection = database.dedicated().await?;
    // The first answer takes a plan and a cold cache; the second one's time is the network's.
    server::facts(&mut connection).await?;
    let sent = (Instant::now(), Timestamp::now());
    let said = server::facts(&mut connection).await?;
    let half = sent.0.elapsed() / 2;
    let offset = said.now.duration_since(sent.1).as_secs_f64() - half.as_secs_f64();
    let alive = if nodes::are_there(&mut connection).await? {
        nodes::alive(&mut connection).await?
    } else {
        AliveNodes::default()
    };
    let connections = bounds(&said);
    Ok(DatabaseFacts::Reached(Box::new(ServerFacts {
        url: database.url().to_string(),
        is_private: access.cluster.is_some(),
        version: said.version,
        major_version: said.major_version,
        clock_offset_ms: offset * 1000.0,
        clock_error_ms: half.as_secs_f64() * 1000.0,
        connections,
        live_nodes: alive.nodes,
        node_versions: alive.versions,
        is_read_only: said.is_read_only,
        unsafe_settings: said.unsafe_settings,
        has_autovacuum: said.has_autovacuum,
        encoding: said.encoding,
        is_in_the_clear: database.is_in_the_clear().await?,
        has_schema: said.has_schema,
        direct_problem: direct_problem(database).await,
    })))
}

fn bounds(said: &ServerRow) -> Vec<ConnectionBound> {
    let bound = |of, allowed: Option<i64>, used| allowed.map(|allowed| ConnectionBound { of, allowed, used });
    let (database, role) = (
        BoundOf::Database(said.database.clone()),
        BoundOf::Role(said.role.clone()),
    );
    [
        bound(BoundOf::Server, Some(said.connections_allowed), said.connections_used),
        bound(
            database,
            said.database_connections_allowed,
            said.database_connections_used,
        ),
        bound(role, said.role_connections_allowed, said.role_connections_used),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Why the way past a pooler does not work, if so.
async fn direct_problem(database: &Database) -> Option<String> {
    database.direct().await.err().map(|error| error.to_string())
}
