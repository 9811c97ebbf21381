//! Connections: a pool for short statements, and connections of their own for loops that must never wait for the pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use tokio_postgres::SimpleQueryMessage;

use super::SCHEMA;
use super::connection::Connection;
use super::tls::{Connector, TlsError};
use super::url::DatabaseUrl;

/// Connections in the pool of one process. With heartbeat, scheduler, recorder and listener this makes eight a node.
const POOL_SIZE: usize = 4;

/// How long anybody waits for a connection, new or pooled, before the database counts as away. Each attempt at a server has its
/// own, shorter bound in the URL; this one is for all of them together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// The database, once its URL is known. Cheap to clone.
#[derive(Clone)]
pub struct Database {
    pool: Pool<Connection>,
    connector: Arc<Connector>,
    direct_connector: Arc<Connector>,
}

/// A connection borrowed from the pool.
pub struct PooledConnection(Object<Connection>);

impl Deref for PooledConnection {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

/// No connection could be had.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// The server refused, or is not there.
    #[error("{message}")]
    Refused {
        /// What the server or the network said.
        message: String,
    },
    /// Nobody answered in time.
    #[error("cannot connect to {url}: no answer within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut {
        /// The URL without its password.
        url: String,
    },
}

impl Database {
    /// A way to the database at `url`; nothing is connected yet. `direct_url` bypasses a pooler, for LISTEN and migrations.
    pub fn new(url: DatabaseUrl, direct_url: Option<DatabaseUrl>) -> Result<Database, TlsError> {
        let connector = Arc::new(Connector::new(url)?);
        let direct_connector = match direct_url {
            Some(url) => Arc::new(Connector::new(url)?),
            None => connector.clone(),
        };
        Ok(Database {
            pool: pool(&connector, POOL_SIZE),
            connector,
            direct_connector,
        })
    }

    /// The same database by a pool of its own: whoever takes all of its connections takes none from anybody else.
    #[must_use]
    pub fn apart(&self, connections: usize) -> Database {
        Database {
            pool: pool(&self.connector, connections),
            connector: self.connector.clone(),
            direct_connector: self.direct_connector.clone(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> &DatabaseUrl {
        self.connector.url()
    }

    /// A connection for a few statements.
    pub async fn connection(&self) -> Result<PooledConnection, PoolError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.pool.get()).await {
            Ok(Ok(object)) => Ok(PooledConnection(object)),
            Ok(Err(error)) => Err(PoolError::Refused {
                message: message_of(&error),
            }),
            Err(_) => Err(PoolError::TimedOut {
                url: self.url().to_string(),
            }),
        }
    }

    /// A connection outside the pool, through a pooler if there is one.
    pub async fn dedicated(&self) -> Result<Connection, PoolError> {
        connect_within(&self.connector).await
    }

    /// Whether two sessions, both open, are served by one process: a pooler in between that pools transactions.
    pub async fn shares_backends(&self) -> Result<bool, PoolError> {
        let asked = async {
            let (one, other) = (self.bare_session().await?, self.bare_session().await?);
            let first = backend(&one, "").await?;
            // Within a transaction it is this session's alone, in any mode.
            Ok(first == backend(&other, "BEGIN; ").await?)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, asked).await.unwrap_or_else(|_| {
            Err(PoolError::TimedOut {
                url: self.url().to_string(),
            })
        })
    }

    /// Whether what this process says crosses a network without encryption; a pooler's way to the server is its own business.
    pub async fn is_in_the_clear(&self) -> Result<bool, PoolError> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.connector.way()).await {
            Ok(Ok(way)) => Ok(way.leaves_machine && !way.is_encrypted),
            Ok(Err(error)) => Err(PoolError::Refused {
                message: error.to_string(),
            }),
            Err(_) => Err(PoolError::TimedOut {
                url: self.url().to_string(),
            }),
        }
    }

    async fn bare_session(&self) -> Result<tokio_postgres::Client, PoolError> {
        let (client, driver) = self.connector.connect().await.map_err(|error| PoolError::Refused {
            message: error.to_string(),
        })?;
        tokio::spawn(driver);
        Ok(client)
    }

    /// A connection outside the pool that reaches the server itself.
    pub async fn direct(&self) -> Result<Connection, PoolError> {
        connect_within(&self.direct_connector).await
    }
}

/// The server process that serves a session, asked without a prepared statement: a pooler of transactions has trouble with those.
async fn backend(client: &tokio_postgres::Client, before: &str) -> Result<String, PoolError> {
    let answer = client.simple_query(&format!("{before}SELECT pg_backend_pid()")).await;
    let messages = answer.map_err(|error| PoolError::Refused {
        message: message_of(&error),
    })?;
    let pid = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    Ok(pid.unwrap_or_default())
}

fn pool(connector: &Arc<Connector>, connections: usize) -> Pool<Connection> {
    let mut config = ManagerConfig::default();
    config.recycling_method = RecyclingMethod::Fast;
    let target = connector.clone();
    config.custom_setup = Box::new(move |_| {
        let target = target.clone();
        async move { establish(&target).await }.boxed()
    });
    let manager = AsyncDieselConnectionManager::<Connection>::new_with_config("", config);
    Pool::builder(manager)
        .max_size(connections)
        .build()
        .expect("a pool without timeouts of its own needs no runtime to build")
}

async fn connect_within(connector: &Connector) -> Result<Connection, PoolError> {
    match tokio::time::timeout(CONNECT_TIMEOUT, establish(connector)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(PoolError::Refused { message: bare(&error) }),
        Err(_) => Err(PoolError::TimedOut {
            url: connector.url().to_string(),
        }),
    }
}

/// Connects and sets what every session of ours wants. No statement of ours may take long; plans are made for the values at
/// hand, since a generic plan locks every partition.
async fn establish(connector: &Connector) -> Result<Connection, ConnectionError> {
    let (client, driver) = connector
        .connect()
        .await
        .map_err(|error| ConnectionError::BadConnection(error.to_string()))?;
    let connection = AsyncPgConnection::try_from_client_and_connection(client, driver).await?;
    let mut connection = Connection::new(connection);
    connection
        .batch_execute(&format!(
            "SET search_path = {SCHEMA}; SET statement_timeout = '15s'; SET lock_timeout = '5s'; \
             SET idle_in_transaction_session_timeout = '30s'; SET plan_cache_mode = force_custom_plan"
        ))
        .await
        .map_err(ConnectionError::CouldntSetupConfiguration)?;
    Ok(connection)
}

/// The words of the cause: the connector's say what to do, and the wrappers around them only repeat.
fn message_of(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

fn bare(error: &ConnectionError) -> String {
    match error {
        ConnectionError::BadConnection(message) => message.clone(),
        other => other.to_string(),
    }
}
