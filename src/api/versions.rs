//! Versions of a task's script: which there were, their text, what differs, and one of them run once more.

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::extract::{Body, Params, Segment};
use super::identity::Identity;
use super::problem::Problem;
use super::runs::{Asked, StartRun, Started, ask, idempotency_key};
use super::tasks::find_id;
use crate::run::text_of_arguments;
use crate::script::ContentHash;
use crate::store::pages::{self, VersionRow};
use crate::store::{Connection, tasks as store_tasks};

/// The newest versions that are listed; the older ones are in `events`.
const MOST: i64 = 1000;

/// Comparing takes time that grows with both texts; what is larger is not read by people.
const LARGEST_COMPARED: usize = 1024 * 1024;

/// A version that was in force for a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct Version {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Since when it was in force.
    pub in_force_at: Timestamp,
    /// Who brought it.
    pub actor: String,
    /// When this content was first seen; none: it is not kept any more.
    pub first_seen_at: Option<Timestamp>,
    /// Its size; none: it is not kept any more.
    pub size_bytes: Option<i32>,
    /// Whether it is the one that runs now.
    pub in_force: bool,
}

/// The versions that were in force for a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct VersionList {
    /// The newest first; a version that came back stands here again.
    pub items: Vec<Version>,
    /// Whether there are older ones, which stand in the events of the task only.
    pub truncated: bool,
}

/// List the versions of a task's script.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/versions", tag = "versions", params(("name" = String, Path)), responses((status = 200, body = VersionList), super::problem::Refusals))]
pub async fn list_versions(
    State(api): App,
    Segment(name): Segment<String>,
) -> Result<axum::Json<VersionList>, Problem> {
    let mut connection = api.database.connection().await?;
    let task_id = find_id(&mut connection, &name).await?;
    let mut rows = pages::versions(&mut connection, task_id, MOST + 1).await?;
    let truncated = rows.len() as i64 > MOST;
    rows.truncate(usize::try_from(MOST).unwrap_or(usize::MAX));
    let version = |row: VersionRow| Version {
        sha256: row.sha256,
        in_force_at: row.in_force_at,
        actor: row.actor,
        first_seen_at: row.first_seen_at,
        size_bytes: row.size_bytes,
        in_force: row.in_force.unwrap_or(false),
    };
    Ok(axum::Json(VersionList {
        items: rows.into_iter().map(version).collect(),
        truncated,
    }))
}

/// The content of a version that was in force for a task.
async fn content(
    connection: &mut Connection,
    name: &str,
    sha256: &str,
) -> Result<(i64, ContentHash, Vec<u8>), Problem> {
    let sha256: ContentHash = sha256
        .parse()
        .map_err(|error: crate::script::ContentHashError| Problem::bad_request(error.to_string()))?;
    let task_id = find_id(connection, name).await?;
    let known = pages::is_version_of(connection, task_id, sha256).await?;
    let missing = || {
        Problem::not_found(format!(
            "`{name}` has no version {sha256} that is kept; `GET /api/v1/tasks/{{name}}/versions` lists them"
        ))
    };
    if !known {
        return Err(missing());
    }
    let content = store_tasks::content(connection, sha256).await?.ok_or_else(missing)?;
    Ok((task_id, sha256, content))
}

/// Read the text of a version.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/versions/{sha256}", tag = "versions", params(("name" = String, Path), ("sha256" = String, Path)),
    responses((status = 200, body = String, content_type = "text/plain"), super::problem::Refusals))]
pub async fn read_version(
    State(api): App,
    Segment((name, sha256)): Segment<(String, String)>,
) -> Result<Response, Problem> {
    let mut connection = api.database.connection().await?;
    let (_, _, content) = content(&mut connection, &name, &sha256).await?;
    let text = String::from_utf8_lossy(&content).into_owned();
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// Which versions are compared.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    /// The earlier one.
    from: String,
    /// The later one.
    to: String,
}

/// What differs between two versions.
#[derive(Debug, Serialize, ToSchema)]
pub struct Diff {
    /// The earlier one.
    pub from: String,
    /// The later one.
    pub to: String,
    /// The unified difference; empty: they are the same.
    pub diff: String,
    /// The whole text of the earlier one.
    pub from_text: String,
    /// The whole text of the later one.
    pub to_text: String,
}

/// Compare two versions of a task's script.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/diff", tag = "versions", params(("name" = String, Path), DiffQuery), responses((status = 200, body = Diff), super::problem::Refusals))]
pub async fn compare_versions(
    State(api): App,
    Segment(name): Segment<String>,
    Params(query): Params<DiffQuery>,
) -> Result<axum::Json<Diff>, Problem> {
    let mut connection = api.database.connection().await?;
    let (_, from, was) = content(&mut connection, &name, &query.from).await?;
    let (_, to, is) = content(&mut connection, &name, &query.to).await?;
    drop(connection);
    if was.len().max(is.len()) > LARGEST_COMPARED {
        return Err(Problem::unprocessable(format!(
            "one of them is larger than {} KiB; read both and compare them yourself",
            LARGEST_COMPARED / 1024
        )));
    }
    let compared = tokio::task::spawn_blocking(move || {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (from_text, to_text) = (text(&was), text(&is));
        let diff = TextDiff::from_lines(&from_text, &to_text)
            .unified_diff()
            .header(&from.to_string(), &to.to_string())
            .to_string();
        Diff {
            from: from.to_string(),
            to: to.to_string(),
            diff,
            from_text,
            to_text,
        }
    });
    compared.await.map(axum::Json).map_err(Problem::internal)
}

/// Run a version once more, now. The header in force holds for it, not that of the version; its retries run the same version.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/versions/{sha256}/run", tag = "versions",
    params(("name" = String, Path), ("sha256" = String, Path), ("Idempotency-Key" = Option<String>, Header)),
    request_body = StartRun, responses((status = 202, body = Started), super::problem::Refusals))]
pub async fn run_version(
    State(api): App,
    who: Identity,
    Segment((name, sha256)): Segment<(String, String)>,
    headers: HeaderMap,
    Body(wanted): Body<StartRun>,
) -> Result<(StatusCode, axum::Json<Started>), Problem> {
    let key = idempotency_key(&headers)?;
    let mut connection = api.database.connection().await?;
    let (task_id, sha256, _) = content(&mut connection, &name, &sha256).await?;
    let asked = Asked {
        task_id,
        args: wanted.args.as_ref().and_then(text_of_arguments),
        as_of: wanted.as_of.map(super::extract::storable),
        force: wanted.force,
        script_sha256: Some(sha256),
        again: None,
        subject: &name,
        action: "run.request",
    };
    ask(&mut connection, &who, key, asked).await
}
