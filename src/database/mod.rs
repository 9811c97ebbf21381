//! The database: its URL, the way to it, the private cluster, the migrations.
//!
//! Owns connections and nothing that is said over them; `store` says it. Opening is the one place where the choice between
//! `DATABASE_URL` and the private cluster is made.

mod url;

mod tls;

pub mod cluster;

mod connection;

mod pool;

mod migrations;

pub use cluster::{Cluster, ClusterSettings, ServeLock};
pub use connection::Connection;
pub use migrations::{MigrationError, migrate};
pub use pool::{Database, PoolError, PooledConnection};
pub use tls::{ConnectError, Connector, Driver, TlsError, Way};
pub use url::{DatabaseUrl, UrlError};

/// The schema that holds every table of ours.
pub const SCHEMA: &str = "dropcron";

/// The schema of the views that others build on.
pub const REPORT_SCHEMA: &str = "dropcron_report";
