//! `dropcron environments`: the packages of scripts as they are on this machine, and what of them nobody needs any more.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::json;

use super::access::Access;
use super::output::{maybe_instant, print, print_json, shorten, table};
use super::{Exit, usage};
use crate::cli::{EnvironmentsArgs, PruneEnvironmentsArgs};
use crate::config::Config;
use crate::packages::{Environment, UNUSED_FOR};
use crate::schedule::parse_duration;
use crate::script::ContentHash;
use crate::size::round_size;
use crate::store::environments::{self, EnvironmentRow};

/// What tasks ask for, and where on this machine it is; or what is on this machine and no task asks for.
#[derive(Serialize)]
struct Listed {
    state: String,
    tasks: Vec<String>,
    lock_sha256: Option<String>,
    problem: Option<String>,
    environment: Option<Environment>,
    path: Option<PathBuf>,
}

/// Lists them.
pub(super) async fn list(arguments: &EnvironmentsArgs, config: &Config) -> anyhow::Result<Exit> {
    let access = Access::open(config).await?;
    let listed = listed(config, &access).await;
    access.close().await?;
    let listed = listed?;
    if arguments.json {
        print_json(&listed)?;
        return Ok(Exit::Ok);
    }
    let columns = [
        "environment",
        "state",
        "python",
        "packages",
        "size",
        "own",
        "used",
        "tasks",
    ];
    print(&table(&columns, listed.iter().map(row)))?;
    for problem in listed
        .iter()
        .filter_map(|listed| Some((listed, listed.problem.as_ref()?)))
    {
        print(&format!("{}: {}\n", problem.0.tasks.join(", "), problem.1))?;
    }
    Ok(Exit::Ok)
}

async fn listed(config: &Config, access: &Access) -> anyhow::Result<Vec<Listed>> {
    let mut connection = access.database.connection().await?;
    let asked = environments::list(&mut connection, None).await?;
    drop(connection);
    let builder = super::packages::builder(config, access).await?;
    let here = builder.environments().list();
    let path_of = |environment: &Environment| builder.environments().directory().join(&environment.key);
    let mut listed: Vec<Listed> = Vec::new();
    for row in &asked {
        let lock = row.lock_sha256.map(|lock| lock.to_string());
        let mut found: Vec<&Environment> = here
            .iter()
            .filter(|environment| Some(&environment.lock_sha256) == lock.as_ref())
            .collect();
        // The one that was used last is in use; others are of interpreters that are gone.
        found.truncate(1);
        listed.push(of_tasks(
            row,
            found.first().map(|environment| (*environment).clone()),
            path_of,
        ));
    }
    let known: HashSet<&str> = listed
        .iter()
        .filter_map(|listed| Some(listed.environment.as_ref()?.key.as_str()))
        .collect();
    let unknown: Vec<&Environment> = here
        .iter()
        .filter(|environment| !known.contains(environment.key.as_str()))
        .collect();
    let unneeded: Vec<Listed> = unknown
        .into_iter()
        .map(|environment| Listed {
            state: "unneeded".to_owned(),
            tasks: Vec::new(),
            lock_sha256: Some(environment.lock_sha256.clone()),
            problem: None,
            path: Some(path_of(environment)),
            environment: Some(environment.clone()),
        })
        .collect();
    listed.extend(unneeded);
    Ok(listed)
}

fn of_tasks(
    row: &EnvironmentRow,
    environment: Option<Environment>,
    path_of: impl Fn(&Environment) -> PathBuf,
) -> Listed {
    Listed {
        state: row.state.clone(),
        tasks: row.task_names.clone(),
        lock_sha256: row.lock_sha256.map(|lock| lock.to_string()),
        problem: row.problem.clone(),
        path: environment.as_ref().map(path_of),
        environment,
    }
}

fn row(listed: &Listed) -> Vec<String> {
    let here = listed.environment.as_ref();
    let text = |of: fn(&Environment) -> String| here.map(of).unwrap_or_default();
    vec![
        here.map_or("-".to_owned(), |here| shorten_key(&here.key)),
        listed.state.replace('_', " "),
        text(|here| here.python.clone()),
        text(|here| here.packages.to_string()),
        text(|here| round_size(here.size_bytes)),
        text(|here| round_size(here.own_bytes)),
        match here {
            Some(here) if here.in_use => "now".to_owned(),
            _ => maybe_instant(here.map(|here| here.used_at)),
        },
        shorten(&listed.tasks.join(", "), 60),
    ]
}

fn shorten_key(key: &str) -> String {
    key.chars().take(12).collect()
}

/// Removes those that no task needs and no run has used for so long.
pub(super) async fn prune(arguments: &PruneEnvironmentsArgs, config: &Config) -> anyhow::Result<Exit> {
    let unused_for = match &arguments.unused_for {
        Some(text) => parse_duration(text).map_err(|error| usage(format!("`--unused-for`: {error}")))?,
        None => UNUSED_FOR,
    };
    let access = Access::open(config).await?;
    let pruned = async {
        let mut connection = access.database.connection().await?;
        let in_force = environments::locks_in_force(&mut connection).await?;
        drop(connection);
        let kept: HashSet<ContentHash> = in_force.iter().map(|lock| lock.lock_sha256).collect();
        let builder = super::packages::builder(config, &access).await?;
        builder.prune(kept, unused_for, arguments.dry_run).await
    }
    .await;
    access.close().await?;
    let pruned = pruned?;
    if arguments.json {
        print_json(&json!({ "dry_run": arguments.dry_run, "environments": pruned }))?;
        return Ok(Exit::Ok);
    }
    let gone = if arguments.dry_run { "would go" } else { "went" };
    for each in &pruned {
        print(&format!(
            "{} {gone}: {}\n",
            shorten_key(&each.key),
            round_size(each.own_bytes)
        ))?;
    }
    if pruned.is_empty() {
        print("every environment is needed by a task, in use, or was used not so long ago\n")?;
    }
    Ok(Exit::Ok)
}
