//! The server itself: what it says of itself.

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::Instant;
use super::statement::statement;
use super::{Connection, StoreError};

/// What a server says of itself.
#[derive(Clone, Debug, QueryableByName)]
pub struct ServerRow {
    /// Its version in words.
    #[diesel(sql_type = Text)]
    pub version: String,
    /// Its major version.
    #[diesel(sql_type = Integer)]
    pub major_version: i32,
    /// Its clock.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub now: Timestamp,
    /// Connections that it takes from ordinary roles.
    #[diesel(sql_type = BigInt)]
    pub connections_allowed: i64,
    /// Connections that there are.
    #[diesel(sql_type = BigInt)]
    pub connections_used: i64,
    /// The database.
    #[diesel(sql_type = Text)]
    pub database: String,
    /// Connections that it takes; none: as many as the server.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub database_connections_allowed: Option<i64>,
    /// Connections to it.
    #[diesel(sql_type = BigInt)]
    pub database_connections_used: i64,
    /// Our role.
    #[diesel(sql_type = Text)]
    pub role: String,
    /// Connections that it may have; none: as many as the server takes.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub role_connections_allowed: Option<i64>,
    /// Connections that it has.
    #[diesel(sql_type = BigInt)]
    pub role_connections_used: i64,
    /// Whether it takes no writes.
    #[diesel(sql_type = Bool)]
    pub is_read_only: bool,
    /// Settings without which a commit does not survive a crash, and that are off.
    #[diesel(sql_type = Array<Text>)]
    pub unsafe_settings: Vec<String>,
    /// Whether it vacuums by itself.
    #[diesel(sql_type = Bool)]
    pub has_autovacuum: bool,
    /// How it stores text.
    #[diesel(sql_type = Text)]
    pub encoding: String,
    /// Whether our schema is there or may be made.
    #[diesel(sql_type = Bool)]
    pub has_schema: bool,
}

statement! {
    struct Facts = "server/facts.sql" {}
}

/// Asks it.
pub async fn facts(connection: &mut Connection) -> Result<ServerRow, StoreError> {
    Facts {}.get_result(connection).await
}
