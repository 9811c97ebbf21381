//! Environments: the packages that tasks ask for, and what came of that.

use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::App;
use super::problem::Problem;
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
    #[schema(value_type = Option<String>)]
    pub lock_sha256: Option<ContentHash>,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// The tasks that ask for it, or will once it is ready.
    pub tasks: Vec<String>,
}

impl From<EnvironmentRow> for Environment {
    fn from(row: EnvironmentRow) -> Environment {
        Environment {
            requirements_sha256: row.requirements_sha256,
            // What jsonb prints is JSON.
            requirements: serde_json::from_str(&row.requirements).unwrap_or_default(),
            state: row.state,
            problem: row.problem,
            log: row.log,
            lock_sha256: row.lock_sha256,
            changed_at: row.changed_at,
            tasks: row.task_names,
        }
    }
}

/// What tasks ask for, by their names.
#[derive(Debug, Serialize, ToSchema)]
pub struct EnvironmentList {
    /// All of it.
    pub items: Vec<Environment>,
}

/// List what tasks ask for, with its state.
#[utoipa::path(get, path = "/api/v1/environments", tag = "environments",
    responses((status = 200, body = EnvironmentList), super::router::Refusals))]
pub async fn list_environments(State(api): App) -> Result<axum::Json<EnvironmentList>, Problem> {
    let mut connection = api.database.connection().await?;
    let rows = environments::list(&mut connection, None).await?;
    Ok(axum::Json(EnvironmentList {
        items: rows.into_iter().map(Environment::from).collect(),
    }))
}
