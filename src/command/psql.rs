//! `dropcron psql` and `dropcron database-url`: the database in use, for people and for other tools.

use std::process::ExitStatus;

use anyhow::Context as _;
use serde_json::json;

use super::Exit;
use super::access::Access;
use super::output::{print, print_json};
use crate::cli::{JsonArgs, PsqlArgs};
use crate::config::Config;
use crate::database::SCHEMA;

/// Opens psql, with our schema in its search path.
pub(super) async fn psql(arguments: &PsqlArgs, config: &Config) -> anyhow::Result<Exit> {
    let access = Access::open(config).await?;
    // Ctrl-C is for psql, which cancels its query; this process must not leave before it.
    let _interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let (mut command, url) = access.client("psql")?;
    command.arg(url).args(&arguments.arguments);
    if let Some(home) = config.environment.get("HOME") {
        command.env("HOME", home);
    }
    command.env("PGOPTIONS", format!("-c search_path={SCHEMA},public"));
    let status = command.status().await.context("`psql` cannot be started")?;
    access.close().await?;
    Ok(exit_of(status))
}

fn exit_of(status: ExitStatus) -> Exit {
    if status.success() { Exit::Ok } else { Exit::Failed }
}

/// Prints the URL.
pub(super) async fn database_url(arguments: &JsonArgs, config: &Config) -> anyhow::Result<Exit> {
    let access = Access::open(config).await?;
    let url = &access.url;
    if arguments.json {
        print_json(&json!({ "url": url }))?
    } else {
        print(&format!("{url}\n"))?
    }
    access.close().await?;
    Ok(Exit::Ok)
}
