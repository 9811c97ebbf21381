//! The way to the database of a command: `DATABASE_URL`, else the private cluster, which lives as long as somebody uses it.

use std::time::{Duration, Instant};

use anyhow::Context;

use super::{hindered, usage};
use crate::config::Config;
use crate::database::{Cluster, ClusterSettings, Database, DatabaseUrl, TlsError, migrate};

/// Pause between a service's first two tries to reach the database at its start; it doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause between two tries: who repairs the database does not want to wait longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A database that is open, and the private cluster if it is one.
pub(super) struct Access {
    /// The database, with its schema up to date.
    pub database: Database,
    /// The URL as psql and other tools take it, password included.
    pub url: String,
    /// The private cluster; it stops when its last user is done.
    pub cluster: Option<Cluster>,
}

impl Access {
    /// Opens the database in use, and brings its schema up to date.
    pub async fn open(config: &Config) -> anyhow::Result<Access> {
        let access = Access::connect(config).await?;
        migrate(&access.database).await?;
        Ok(access)
    }

    /// Opens the database in use as it is, for who only looks. A private Postgres that does not run is started.
    pub async fn open_as_it_is(config: &Config) -> anyhow::Result<Access> {
        Access::connect(config).await
    }

    /// The same, for a service that may come up before its database: several tries, one line each.
    pub async fn open_patiently(config: &Config) -> anyhow::Result<Access> {
        let begun = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match Access::open(config).await {
                Ok(access) => return Ok(access),
                Err(error) => error,
            };
            let may_come = config.database_url.is_some() && super::exit_of(&error) == super::Exit::Unreachable;
            if !may_come || begun.elapsed() + pause > config.connect_patience {
                return Err(error);
            }
            tracing::warn!(
                error = format!("{error:#}"),
                retry_in_ms = pause.as_millis() as u64,
                "the database cannot be reached yet"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(config: &Config) -> anyhow::Result<Access> {
        let direct_url = match &config.direct_database_url {
            Some(url) => Some(parse("DROPCRON_DIRECT_DATABASE_URL", url)?),
            None => None,
        };
        if let Some(url) = &config.database_url {
            let database_url = parse("DATABASE_URL", url)?;
            let database = Database::new(database_url, direct_url).map_err(|error| match &error {
                TlsError::Setup { .. } => usage(error.to_string()),
                // Certificates that the URL names and that cannot be read.
                _ => hindered(error.to_string()),
            })?;
            return Ok(Access {
                database,
                url: url.clone(),
                cluster: None,
            });
        }
        let settings = ClusterSettings::new(config.data_directory.clone());
        let cluster = tokio::task::spawn_blocking(move || Cluster::open(&settings)).await??;
        let url = cluster.url().to_owned();
        Ok(Access {
            database: Database::new(url.parse()?, None)?,
            url,
            cluster: Some(cluster),
        })
    }

    /// Leaves; the last user of the private cluster stops it.
    pub async fn close(self) -> anyhow::Result<()> {
        drop(self.database);
        if let Some(cluster) = self.cluster {
            tokio::task::spawn_blocking(move || cluster.close())
                .await?
                .context("the private Postgres cannot be stopped")?;
        }
        Ok(())
    }
}

/// The message names the variable, and not the URL: that has a password in it.
fn parse(variable: &str, url: &str) -> anyhow::Result<DatabaseUrl> {
    url.parse::<DatabaseUrl>()
        .map_err(|error| usage(format!("`{variable}`: {error}")))
}

/// Opens the database, does something with a connection, and leaves.
pub(super) async fn with_connection<T>(
    config: &Config,
    work: impl AsyncFnOnce(&mut crate::store::Connection) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let access = Access::open(config).await?;
    let result = match access.database.connection().await {
        Ok(mut connection) => work(&mut connection).await,
        Err(error) => Err(error.into()),
    };
    access.close().await?;
    result
}
