//! Migrations at start: the schema brought to what this binary knows, by one process at a time.
//!
//! Diesel takes no lock of its own. The advisory lock here is polled, never waited on: a waiting session holds a snapshot,
//! and an index built concurrently by the session that has the lock would wait for it for ever.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::migration::{Migration, MigrationSource, MigrationVersion};
use diesel::pg::Pg;
use diesel::sql_types::Bool;
use diesel_async::{AsyncMigrationHarness, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::{Connection, Database, PoolError, REPORT_SCHEMA, SCHEMA};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Between two tries for the lock.
const LOCK_POLL: Duration = Duration::from_millis(250);

/// Longest wait for another process that migrates.
const LOCK_PATIENCE: Duration = Duration::from_secs(600);

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// No connection.
    #[error(transparent)]
    Connect(#[from] PoolError),
    /// A statement was refused.
    #[error(
        "cannot prepare the schemas `{SCHEMA}` and `{REPORT_SCHEMA}`: {0}; the role needs the right to create a schema in this database once"
    )]
    Prepare(#[source] diesel::result::Error),
    /// A migration failed.
    #[error("migration failed: {0}; nothing of it was kept")]
    Run(String),
    /// Another process held the lock too long.
    #[error("another process has been migrating this database for {} s; see pg_locks for its advisory lock", LOCK_PATIENCE.as_secs())]
    Busy,
    /// The database is newer than this binary.
    #[error(
        "the database has migration `{version}`, which this dropcron {program} does not know: a newer dropcron has been here; use that one"
    )]
    TooNew {
        /// The unknown migration.
        version: String,
        /// This binary's version.
        program: &'static str,
    },
}

/// Brings the schema up to date. Without pending migrations no lock is taken.
pub async fn migrate(database: &Database) -> Result<(), MigrationError> {
    let mut connection = database.direct().await?;
    connection
        .batch_execute(&format!(
            "SET statement_timeout = 0; SET lock_timeout = '10s'; SET client_min_messages = warning; \
             DO $$ BEGIN \
             IF to_regnamespace('{SCHEMA}') IS NULL THEN CREATE SCHEMA IF NOT EXISTS {SCHEMA}; END IF; \
             IF to_regnamespace('{REPORT_SCHEMA}') IS NULL THEN CREATE SCHEMA IF NOT EXISTS {REPORT_SCHEMA}; END IF; \
             EXCEPTION WHEN unique_violation OR duplicate_schema THEN NULL; END $$"
        ))
        .await
        .map_err(MigrationError::Prepare)?;
    if is_current(&mut connection).await? {
        return Ok(());
    }
    lock(&mut connection).await?;
    // A migration takes as long as the table is large.
    connection.be_patient(None);
    let mut harness = AsyncMigrationHarness::new(connection);
    let versions = harness
        .run_pending_migrations(MIGRATIONS)
        .map_err(|error| MigrationError::Run(error.to_string()))?;
    for version in &versions {
        tracing::info!(migration = %version, "schema migrated");
    }
    Ok(())
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    answer: bool,
}

#[derive(QueryableByName)]
struct Applied {
    #[diesel(sql_type = diesel::sql_types::Text)]
    version: String,
}

/// Whether every known migration has run. A migration that this binary does not know is an error.
async fn is_current(connection: &mut Connection) -> Result<bool, MigrationError> {
    let there: Answer = diesel::sql_query(format!(
        "SELECT to_regclass('{SCHEMA}.__diesel_schema_migrations') IS NOT NULL AS answer"
    ))
    .get_result(connection)
    .await
    .map_err(MigrationError::Prepare)?;
    if !there.answer {
        return Ok(false);
    }
    let applied: Vec<Applied> = diesel::sql_query("SELECT version FROM __diesel_schema_migrations")
        .load(connection)
        .await
        .map_err(MigrationError::Prepare)?;
    let known = known_versions().map_err(MigrationError::Run)?;
    if let Some(unknown) = applied.iter().find(|row| !known.contains(&row.version)) {
        return Err(MigrationError::TooNew {
            version: unknown.version.clone(),
            program: env!("CARGO_PKG_VERSION"),
        });
    }
    Ok(known
        .iter()
        .all(|version| applied.iter().any(|row| &row.version == version)))
}

fn known_versions() -> Result<Vec<String>, String> {
    let migrations: Vec<Box<dyn Migration<Pg>>> = MIGRATIONS.migrations().map_err(|error| error.to_string())?;
    Ok(migrations
        .iter()
        .map(|migration| MigrationVersion::to_string(&migration.name().version()))
        .collect())
}

async fn lock(connection: &mut Connection) -> Result<(), MigrationError> {
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        let locked: Answer = diesel::sql_query(format!(
            "SELECT pg_try_advisory_lock(hashtextextended('{SCHEMA} migrations', 0)) AS answer"
        ))
        .get_result(connection)
        .await
        .map_err(MigrationError::Prepare)?;
        if locked.answer {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            return Err(MigrationError::Busy);
        }
        tokio::time::sleep(LOCK_POLL).await;
    }
}
