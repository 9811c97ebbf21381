//! `dropcron pause` and `dropcron resume`: a task that does not fire for a while.

use serde_json::json;

use super::access::with_connection;
use super::output::{print, print_json};
use super::remote::Server;
use super::{Exit, actor, not_found};
use crate::cli::{PauseArgs, TaskArgs};
use crate::config::Config;
use crate::store::Connection;
use crate::store::tasks::{self, TaskRow};

/// Pauses a task.
pub(super) async fn pause(arguments: &PauseArgs, config: &Config) -> anyhow::Result<Exit> {
    let reason = arguments.reason.as_deref();
    let (changed, task) = match Server::of(config)? {
        Some(server) => server.pause(&arguments.task, reason).await?,
        None => {
            with_connection(config, async |connection| {
                let changed = tasks::pause(connection, &arguments.task, &actor(), reason).await?;
                Ok((changed, find(connection, &arguments.task).await?))
            })
            .await?
        }
    };
    if arguments.json {
        print_json(
            &json!({ "task": task.name, "changed": changed, "paused_at": task.paused_at, "paused_by": task.paused_by }),
        )?;
    } else if changed {
        print(&format!(
            "`{}` is paused: what it owes until `dropcron resume {}` is recorded as missed, and not replayed\n",
            task.name, task.name
        ))?;
    } else {
        print(&format!(
            "`{}` has been paused since {} by {}\n",
            task.name,
            task.paused_at.map(|at| at.to_string()).unwrap_or_default(),
            task.paused_by.unwrap_or_default()
        ))?;
    }
    Ok(Exit::Ok)
}

/// Resumes a task.
pub(super) async fn resume(arguments: &TaskArgs, config: &Config) -> anyhow::Result<Exit> {
    let (changed, task) = match Server::of(config)? {
        Some(server) => server.resume(&arguments.task).await?,
        None => {
            with_connection(config, async |connection| {
                let changed = tasks::resume(connection, &arguments.task, &actor()).await?;
                Ok((changed, find(connection, &arguments.task).await?))
            })
            .await?
        }
    };
    if arguments.json {
        print_json(&json!({ "task": task.name, "changed": changed }))?;
    } else if changed {
        print(&format!("`{}` fires again, from now on\n", task.name))?;
    } else {
        print(&format!("`{}` was not paused\n", task.name))?;
    }
    Ok(Exit::Ok)
}

async fn find(connection: &mut Connection, name: &str) -> anyhow::Result<TaskRow> {
    let found = tasks::list(connection, Some(name)).await?.pop();
    found.ok_or_else(|| not_found(format!("there is no task `{name}`; `dropcron tasks` lists them")))
}
