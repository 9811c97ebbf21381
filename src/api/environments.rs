//! Environments: the packages that tasks ask for, and what came of that.

use std::sync::Arc;

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::extract::Params;
use super::given::{InstalledEnvironment, LockedPackage, ReadLock};
use super::problem::Problem;
use super::tasks::find_id;
use crate::script::ContentHash;
use crate::store::environments::{self, EnvironmentRow};

/// What tasks ask for.
#[derive(Debug, Serialize, ToSchema)]
pub struct Environment {
    /// What it is called by: the hash of what is asked for.
    #[schema(value_type = String)]
    pub requirements_sha256: ContentHash,
    /// What is asked for: where it is named, packages, versions of Python.
    #[schema(value_type = Object)]
    pub requirements: Value,
    /// `building`, `ready` or `needs_attention`.
    pub state: String,
    /// Why it needs attention, in the words of the resolver.
    pub problem: Option<String>,
    /// What was said while it was last resolved and installed.
    pub log: String,
    /// The lock in force.
    pub lock: Option<LockInForce>,
    /// It on the machine that is asked; none: it is not there, or not yet.
    pub installed: Option<InstalledEnvironment>,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// The tasks that ask for it, or will once it is ready.
    pub tasks: Vec<String>,
    /// Whether one of them, or the one that was named, waits for it and has another one until then.
    pub is_next: bool,
}

/// What requirements came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct LockInForce {
    /// What it is called by.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
    /// The oldest Python that it holds for, such as `3.11`.
    pub python: String,
    /// When it was resolved.
    pub locked_at: Option<Timestamp>,
    /// Its packages, by name.
    pub packages: Vec<LockedPackage>,
}

impl Environment {
    fn of(row: EnvironmentRow, read_lock: &ReadLock, installed: &[InstalledEnvironment]) -> Environment {
        let name = row.lock_sha256.map(|sha256| sha256.to_string());
        let here = installed.iter().find(|here| Some(&here.lock_sha256) == name.as_ref());
        Environment {
            requirements_sha256: row.requirements_sha256,
            // What jsonb prints is JSON.
            requirements: serde_json::from_str(&row.requirements).unwrap_or_default(),
            state: row.state,
            problem: row.problem,
            log: row.log,
            lock: row.lock_sha256.map(|sha256| LockInForce {
                sha256,
                python: row.lock_python.unwrap_or_default(),
                locked_at: row.locked_at,
                packages: read_lock(row.lock.as_deref().unwrap_or_default()),
            }),
            installed: here.cloned(),
            changed_at: row.changed_at,
            tasks: row.task_names,
            is_next: row.is_next,
        }
    }
}

/// What tasks ask for, by their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnvironmentList {
    /// All of it.
    pub items: Vec<Environment>,
}

/// Which environments are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EnvironmentQuery {
    /// What this task asks for: at most what is in force, and what its file wants next.
    task: Option<String>,
}

/// List what tasks ask for, with its state.
#[utoipa::path(get, path = "/api/v1/environments", tag = "environments", params(EnvironmentQuery),
    responses((status = 200, body = EnvironmentList), super::problem::Refusals))]
pub async fn list_environments(
    State(api): App,
    Params(query): Params<EnvironmentQuery>,
) -> Result<axum::Json<EnvironmentList>, Problem> {
    let mut connection = api.database.connection().await?;
    if let Some(task) = &query.task {
        find_id(&mut connection, task).await?;
    }
    let rows = environments::list(&mut connection, query.task.as_deref()).await?;
    drop(connection);
    let list = Arc::clone(&api.given.list_environments);
    let installed = tokio::task::spawn_blocking(move || list())
        .await
        .map_err(Problem::internal)?;
    Ok(axum::Json(EnvironmentList {
        items: rows
            .into_iter()
            .map(|row| Environment::of(row, &api.given.read_lock, &installed))
            .collect(),
    }))
}
