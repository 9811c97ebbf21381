//! `dropcron database upgrade`: the private Postgres on a newer major version.

use anyhow::Context as _;
use serde_json::json;

use super::access::Access;
use super::output::{print, print_json};
use super::{Exit, usage};
use crate::cli::DatabaseUpgradeArgs;
use crate::config::Config;
use crate::database::cluster::{Cluster, Upgrade};
use crate::database::{ClusterSettings, ServeLock};

/// Moves the private Postgres to a newer major version, and gathers its statistics anew.
pub(super) async fn upgrade(arguments: &DatabaseUpgradeArgs, config: &Config) -> anyhow::Result<Exit> {
    if config.database_url.is_some() {
        return Err(usage(
            "`DATABASE_URL` names a Postgres that is not dropcron's own; upgrade it as its operator does",
        ));
    }
    let lock = ServeLock::acquire(&config.data_directory)?;
    let (settings, to) = (ClusterSettings::new(config.data_directory.clone()), arguments.to);
    let upgraded = tokio::task::spawn_blocking(move || Cluster::upgrade(&settings, to)).await??;
    drop(lock);
    let is_analyzed = match &upgraded {
        Upgrade::Done { .. } => analyze(config).await?,
        Upgrade::NothingToDo { .. } => true,
    };
    if arguments.json {
        print_json(&for_machines(&upgraded))?;
    } else {
        print(&for_people(&upgraded))?;
    }
    Ok(if is_analyzed { Exit::Ok } else { Exit::Failed })
}

/// Without statistics every plan is a guess; a new major version begins with none. Whether it worked.
async fn analyze(config: &Config) -> anyhow::Result<bool> {
    let access = Access::open(config).await?;
    let cluster = access.cluster.as_ref().context("the private Postgres is not there")?;
    let program = cluster.binaries_directory()?.join("vacuumdb");
    let mut command = tokio::process::Command::new(&program);
    command.args(["--analyze-only", "--quiet", "--dbname", cluster.url()]);
    let status = command
        .status()
        .await
        .with_context(|| format!("cannot run `{}`", program.display()))?;
    access.close().await?;
    Ok(status.success())
}

fn for_machines(upgraded: &Upgrade) -> serde_json::Value {
    match upgraded {
        Upgrade::NothingToDo { version } => json!({"upgraded": false, "version": version}),
        Upgrade::Done { from, to, kept } => json!({"upgraded": true, "from": from, "version": to, "kept": kept}),
    }
}

fn for_people(upgraded: &Upgrade) -> String {
    match upgraded {
        Upgrade::NothingToDo { version } => format!("the private Postgres is of version {version} already\n"),
        Upgrade::Done { from, to, kept } => format!(
            "the private Postgres is of version {to} now\nthe cluster of version {from} is kept in `{}`; remove it once you are \
             sure\n",
            kept.display()
        ),
    }
}
