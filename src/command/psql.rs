//! `dropcron psql` and `dropcron database-url`: the database in use, for people and for other tools.

use std::process::ExitStatus;

use anyhow::Context as _;
use serde_json::json;

use super::Exit;
use super::access::Access;
use super::output::{print, print_json};
use crate::cli::{JsonArgs, PsqlArgs};
use crate::config::Config;
use crate::database::{DatabaseUrl, SCHEMA};

/// Opens psql, with our schema in its search path.
pub(super) async fn psql(arguments: &PsqlArgs, config: &Config) -> anyhow::Result<Exit> {
    let access = Access::open(config).await?;
    let program = match &access.cluster {
        Some(cluster) => cluster.psql()?,
        None => {
            which::which("psql").context("`psql` is not on PATH: install it (`apt-get install postgresql-client`)")?
        }
    };
    // Ctrl-C is for psql, which cancels its query; this process must not leave before it.
    let _interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
    let mut command = tokio::process::Command::new(program);
    // Everybody on this machine can read a command line.
    command.arg(without_password(&access.url)).args(&arguments.arguments);
    if let Ok(Some(password)) = access
        .url
        .parse()
        .map(|url: DatabaseUrl| url.password().map(str::to_owned))
    {
        command.env("PGPASSWORD", password);
    }
    command.env("PGOPTIONS", format!("-c search_path={SCHEMA},public"));
    let status = command.status().await.context("`psql` cannot be started")?;
    access.close().await?;
    Ok(exit_of(status))
}

/// A URL without the password that stands before its host or among its keys; a list of `key=value` likewise.
fn without_password(url: &str) -> String {
    let is_password = |pair: &str| pair.trim_start().starts_with("password=");
    let Some((scheme, rest)) = url.split_once("://") else {
        // A quoted value may hold spaces: then it stays as it is.
        let is_quoted = url.contains('\'');
        let pairs = url.split_whitespace().filter(|pair| is_quoted || !is_password(pair));
        return if is_quoted {
            url.to_owned()
        } else {
            pairs.collect::<Vec<_>>().join(" ")
        };
    };
    let (place, keys) = rest.split_once('?').unwrap_or((rest, ""));
    let place = match place.split_once('@') {
        Some((login, host)) => format!("{}@{host}", login.split(':').next().unwrap_or_default()),
        None => place.to_owned(),
    };
    let keys: Vec<&str> = keys
        .split('&')
        .filter(|pair| !pair.is_empty() && !is_password(pair))
        .collect();
    let mark = if keys.is_empty() { "" } else { "?" };
    format!("{scheme}://{place}{mark}{}", keys.join("&"))
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

#[cfg(test)]
mod tests {
    use super::without_password;

    #[test]
    fn a_password_does_not_get_onto_a_command_line() {
        for (url, clean) in [
            (
                "postgres://ada:s%40cret@db:5433/ops?sslmode=require",
                "postgres://ada@db:5433/ops?sslmode=require",
            ),
            (
                "postgres://db/ops?user=ada&password=secret",
                "postgres://db/ops?user=ada",
            ),
            ("postgres://db/ops", "postgres://db/ops"),
            ("host=db password=secret dbname=ops", "host=db dbname=ops"),
        ] {
            assert_eq!(without_password(url), clean);
        }
    }
}
