//! `dropcron lock`: the packages that a task has, and how it gets newer ones, on purpose.

use std::sync::Arc;

use serde_json::{Value, json};

use super::access::Access;
use super::output::{print, print_json, say, table};
use super::{Exit, actor, not_found, usage};
use crate::cli::LockArgs;
use crate::config::Config;
use crate::packages::{Change, Lock, changes};
use crate::store::environments::{self, EnvironmentRow, EnvironmentState};
use crate::store::tasks;

/// Shows the lock of a task; with `--upgrade` it resolves it anew.
pub(super) async fn lock(arguments: &LockArgs, config: &Config) -> anyhow::Result<Exit> {
    let access = Access::open(config).await?;
    let result = lock_on(arguments, config, &access).await;
    access.close().await?;
    result
}

async fn lock_on(arguments: &LockArgs, config: &Config, access: &Access) -> anyhow::Result<Exit> {
    let mut connection = access.database.connection().await?;
    let rows = environments::list(&mut connection, Some(&arguments.task)).await?;
    // What the file asks for now comes before what the version in force has.
    let Some(row) = rows.iter().find(|row| row.is_next).or(rows.first()) else {
        let is_known = !tasks::list(&mut connection, Some(&arguments.task)).await?.is_empty();
        return Err(match is_known {
            true => usage(format!(
                "`{}` asks for no packages: it runs on the interpreter as it is; name them by `dependencies` in its header",
                arguments.task
            )),
            false => not_found(format!(
                "there is no task `{}`; `dropcron tasks` lists them",
                arguments.task
            )),
        });
    };
    if arguments.upgrade {
        drop(connection);
        return upgrade(row, arguments, config, access).await;
    }
    let lock = match row.lock_sha256 {
        Some(sha256) => environments::lock(&mut connection, sha256).await?,
        None => None,
    };
    let lock = lock.map(|lock| Lock::new(lock.content, &lock.python)).transpose()?;
    if arguments.json {
        print_json(&for_machines(row, lock.as_ref()))?;
    } else {
        print(&for_people(row, lock.as_ref()))?;
    }
    Ok(if row.state == "needs_attention" {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

async fn upgrade(row: &EnvironmentRow, arguments: &LockArgs, config: &Config, access: &Access) -> anyhow::Result<Exit> {
    let builder = super::packages::builder(config, access).await?;
    if row.task_names.len() > 1 {
        say(&format!(
            "note: this is for all that ask for the same: {}\n",
            row.task_names.join(", ")
        ));
    }
    let state = EnvironmentState {
        requirements_sha256: row.requirements_sha256,
        requirements: row.requirements.clone(),
        state: row.state.clone(),
        problem: row.problem.clone(),
        lock_sha256: row.lock_sha256,
    };
    let renewed = match builder.resolve(&state, true, &actor()).await {
        Ok(renewed) => renewed,
        Err(problem) => {
            let stays = match row.lock_sha256 {
                Some(_) => "; what it had stays in force",
                None => "",
            };
            anyhow::bail!("{problem}{stays}");
        }
    };
    let changed = match &renewed.before {
        Some(before) => changes(before, &renewed.after),
        None => changes(
            &Lock {
                content: String::new(),
                python: renewed.after.python,
            },
            &renewed.after,
        ),
    };
    report(&changed, &renewed.after, arguments.json)?;
    Ok(Exit::Ok)
}

fn report(changed: &[Change], after: &Arc<Lock>, json: bool) -> anyhow::Result<()> {
    if json {
        return print_json(&json!({
            "lock_sha256": after.sha256().to_string(),
            "changes": changed.iter().map(|change| json!({
                "package": change.name, "before": change.before, "after": change.after,
            })).collect::<Vec<Value>>(),
        }));
    }
    if changed.is_empty() {
        return print("nothing is newer: the lock stays as it is\n");
    }
    let word = |version: &Option<String>| version.clone().unwrap_or_else(|| "-".to_owned());
    let rows = changed
        .iter()
        .map(|change| vec![change.name.clone(), word(&change.before), word(&change.after)]);
    print(&table(&["package", "before", "after"], rows))
}

fn for_machines(row: &EnvironmentRow, lock: Option<&Lock>) -> Value {
    json!({
        "tasks": row.task_names, "state": row.state, "problem": row.problem, "log": row.log,
        "requirements": serde_json::from_str::<Value>(&row.requirements).unwrap_or_default(),
        "lock_sha256": row.lock_sha256.map(|lock| lock.to_string()),
        "python": lock.map(Lock::python_text),
        "packages": lock.map(|lock| lock.packages().iter().map(|package| json!({
            "name": package.name, "version": package.version, "marker": package.marker,
        })).collect::<Vec<Value>>()),
    })
}

fn for_people(row: &EnvironmentRow, lock: Option<&Lock>) -> String {
    let mut text = format!(
        "{} since {}\n",
        row.state.replace('_', " "),
        super::output::instant(row.changed_at)
    );
    if let Some(problem) = &row.problem {
        text.push_str(&format!("{problem}\n"));
    } else if row.state == "building" && !row.log.is_empty() {
        text.push_str(&row.log);
    }
    if let Some(lock) = lock {
        text.push_str(&format!("for Python {} and newer\n\n", lock.python_text()));
        let rows = lock
            .packages()
            .into_iter()
            .map(|package| vec![package.name, package.version, package.marker.unwrap_or_default()]);
        text.push_str(&table(&["package", "version", "where"], rows));
    }
    text
}
