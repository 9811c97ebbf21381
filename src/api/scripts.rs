//! Scripts: what is in the directory, read, checked, written, renamed, removed; and a text tried once without being there.
//!
//! Writing a script is running code as the user that scripts run as. Only admins may.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::change;
use super::directory::{self, Expected, LARGEST, ScriptPath, too_large};
use super::extract::{Body, Segment};
use super::given::{Assessed, Draft, ScriptFile, Standing};
use super::identity::Identity;
use super::problem::{Problem, ScriptProblem};
use super::runs::{Asked, Started, ask, idempotency_key};
use super::schedule::{FireTime, fire_times};
use super::tasks::words;
use super::work::{blocking, in_turn};
use super::{Api, App};
use crate::run::{Arguments, text_of_arguments};
use crate::schedule::Schedule;
use crate::script::{ContentHash, Header, ScriptKind};
use crate::store::audit;
use crate::store::environments;
use crate::store::tasks::{self, Version};

/// The body of a request that brings a script: JSON may write each of its bytes as six characters, but no text does.
pub const LARGEST_BODY: usize = 2 * LARGEST as usize;

/// A script that is only checked: whoever may read may ask, and Python takes a hundred times as much memory to read it.
const LARGEST_DRAFT: usize = 1024 * 1024;

/// Fire times that are told of a script that is checked.
const NEXT: usize = 5;

/// A file in the scripts directory.
#[derive(Debug, Serialize, ToSchema)]
pub struct Script {
    /// Relative to the scripts directory.
    pub path: String,
    /// The name that its task has or would have.
    pub name: Option<String>,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified_at: Option<Timestamp>,
    /// `source`, `bytecode` or `extension`.
    pub kind: Option<String>,
    /// What it is: `task`, `library` or `problem`.
    pub standing: Standing,
    /// What is wrong with it.
    pub problem: Option<String>,
    /// Whether its task is registered; a new file is looked at within seconds.
    pub registered: bool,
}

/// What is in the scripts directory.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptList {
    /// In the order of their paths.
    pub items: Vec<Script>,
    /// Whether scripts can be written here.
    pub writable: bool,
    /// Why not.
    pub note: Option<String>,
}

/// List the scripts directory of this node.
#[utoipa::path(get, path = "/api/v1/scripts", tag = "scripts", responses((status = 200, body = ScriptList), super::problem::Refusals))]
pub async fn list_scripts(State(api): App) -> Result<axum::Json<ScriptList>, Problem> {
    let registered: HashMap<String, Option<String>> = {
        let mut connection = api.database.connection().await?;
        let rows = tasks::registered(&mut connection).await?;
        rows.into_iter().map(|row| (row.script_path, row.problem)).collect()
    };
    let listed = in_turn(&api, move |api| {
        let files = (api.given.list_scripts)()
            .map_err(|error| Problem::internal(format!("the scripts directory cannot be read: {error}")))?;
        Ok(describe(api, files, &registered))
    });
    let note = directory::write_hindrance(&api.given.scripts_directory);
    Ok(axum::Json(ScriptList {
        items: listed.await?,
        writable: note.is_none(),
        note,
    }))
}

/// What each file is: as the database has it; of those that it has not, as Python says.
fn describe(api: &Api, files: Vec<ScriptFile>, registered: &HashMap<String, Option<String>>) -> Vec<Script> {
    let key = |file: &ScriptFile| file.path.to_string_lossy().into_owned();
    let unknown = files
        .iter()
        .filter(|file| file.refused.is_none() && file.size <= LARGEST && !registered.contains_key(&key(file)));
    let drafts: Vec<Draft> = unknown
        .filter_map(|file| {
            let path = ScriptPath::parse(file.path.to_str()?).ok()?;
            let content = directory::read(&api.given.scripts_directory, &path).ok()?.bytes;
            Some(Draft {
                path: file.path.clone(),
                content,
            })
        })
        .collect();
    let paths: Vec<_> = drafts.iter().map(|draft| draft.path.clone()).collect();
    let assessed: HashMap<_, Assessed> = match (api.given.assess_drafts)(drafts) {
        Ok(assessed) => paths.into_iter().zip(assessed).collect(),
        Err(_) => HashMap::new(),
    };
    let script = |file: ScriptFile| {
        let known = registered.get(&key(&file));
        let (standing, problem) = match (&file.refused, known, assessed.get(&file.path)) {
            (Some(refused), _, _) => (Standing::Problem, Some(refused.clone())),
            (None, Some(Some(problem)), _) => (Standing::Problem, Some(problem.clone())),
            (None, Some(None), _) => (Standing::Task, None),
            (None, None, Some(assessed)) => (assessed.standing, in_words(&assessed.problems)),
            (None, None, None) => (Standing::Library, None),
        };
        Script {
            path: key(&file),
            name: file.task,
            size: file.size,
            modified_at: file.modified_at,
            kind: file.kind.map(kind_word),
            standing,
            problem,
            registered: known.is_some(),
        }
    };
    files.into_iter().map(script).collect()
}

fn in_words(problems: &[ScriptProblem]) -> Option<String> {
    let line = |problem: &ScriptProblem| match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("{line}:{column}: {}", problem.message),
        _ => problem.message.clone(),
    };
    (!problems.is_empty()).then(|| problems.iter().map(line).collect::<Vec<_>>().join("\n"))
}

fn kind_word(kind: ScriptKind) -> String {
    match kind {
        ScriptKind::Source => "source",
        ScriptKind::Bytecode => "bytecode",
        ScriptKind::Extension => "extension",
    }
    .to_owned()
}

/// The text of a script.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ScriptText {
    /// Relative to the scripts directory.
    pub path: String,
    /// The text.
    pub content: String,
    /// SHA-256 of the file: what `If-Match` wants.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
}

/// Read a script.
#[utoipa::path(get, path = "/api/v1/scripts/{path}", tag = "scripts",
    params(("path" = String, Path, description = "Relative to the scripts directory; `/` is written `%2F`")),
    responses((status = 200, body = ScriptText), super::problem::Refusals))]
pub async fn read_script(State(api): App, Segment(path): Segment<String>) -> Result<Response, Problem> {
    let path = ScriptPath::parse(&path)?;
    if ScriptKind::of(path.as_path()).is_none() {
        return Err(Problem::not_found(format!(
            "`{}` is no script; `GET /api/v1/scripts` lists them",
            path.as_str()
        )));
    }
    let found = path.clone();
    let content = blocking(&api, move |api| directory::read(&api.given.scripts_directory, &found)).await?;
    let text = String::from_utf8(content.bytes).map_err(|_| {
        Problem::unprocessable(format!(
            "`{}` is no text in UTF-8: it can be run, but not be edited here",
            path.as_str()
        ))
    })?;
    let body = ScriptText {
        path: path.as_str().to_owned(),
        content: text,
        sha256: content.sha256,
    };
    Ok((etag(content.sha256), axum::Json(body)).into_response())
}

fn etag(sha256: ContentHash) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("\"{sha256}\""));
    [(header::ETAG, value.unwrap_or(HeaderValue::from_static("")))]
}

/// A script that is to be checked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckScript {
    /// Where it would stand; a name decides what a file can be. `draft.py` unless said otherwise.
    #[serde(default)]
    pub path: Option<String>,
    /// Its text.
    pub content: String,
}

/// What is said of a script.
#[derive(Debug, Serialize, ToSchema)]
pub struct Validation {
    /// `task`, `library` or `problem`.
    pub standing: Standing,
    /// What is wrong with it, place by place.
    pub problems: Vec<ScriptProblem>,
    /// What it asks for; none unless it is a task.
    #[schema(value_type = Option<Value>)]
    pub header: Option<Header>,
    /// Its schedule in words.
    pub schedule_words: Option<String>,
    /// The zone that holds for it.
    pub timezone: Option<String>,
    /// Its next fire times.
    pub next: Vec<FireTime>,
    /// What people get wrong about such a schedule.
    pub notes: Vec<String>,
    /// SHA-256 of the text.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
}

/// Check a script without running or keeping it.
#[utoipa::path(post, path = "/api/v1/scripts/validate", tag = "scripts", request_body = CheckScript, responses((status = 200, body = Validation), super::problem::Refusals))]
pub async fn validate_script(
    State(api): App,
    Body(wanted): Body<CheckScript>,
) -> Result<axum::Json<Validation>, Problem> {
    let path = ScriptPath::parse_for_writing(wanted.path.as_deref().unwrap_or("draft.py"))?;
    if wanted.content.len() > LARGEST_DRAFT {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!(
                "the draft has {} KiB: at most {} are checked; keep data in other files",
                wanted.content.len() / 1024,
                LARGEST_DRAFT / 1024
            ),
        ));
    }
    let sha256 = ContentHash::of(wanted.content.as_bytes());
    let assessed = assess(&api, &path, wanted.content.into_bytes()).await?;
    let validation = in_turn(&api, move |_| Ok(validation(assessed, sha256, Timestamp::now())));
    validation.await.map(axum::Json)
}

fn validation(assessed: Assessed, sha256: ContentHash, now: Timestamp) -> Validation {
    let registration = assessed.registration.as_ref();
    let timezone = registration.map(|registration| registration.timezone.clone());
    let schedule = assessed
        .header
        .as_ref()
        .filter(|header| !header.schedule.is_empty())
        .zip(timezone.as_deref())
        .and_then(|(header, timezone)| Schedule::parse(&header.schedule, timezone).ok());
    Validation {
        schedule_words: assessed
            .header
            .as_ref()
            .zip(timezone.as_deref())
            .map(|(header, timezone)| words(&header.schedule, timezone)),
        next: schedule
            .as_ref()
            .map(|schedule| fire_times(schedule, now, NEXT))
            .unwrap_or_default(),
        notes: schedule.map(|schedule| schedule.notes(now)).unwrap_or_default(),
        standing: assessed.standing,
        problems: assessed.problems,
        header: assessed.header,
        timezone,
        sha256,
    }
}

async fn assess(api: &Arc<Api>, path: &ScriptPath, content: Vec<u8>) -> Result<Assessed, Problem> {
    if content.len() as u64 > LARGEST {
        return Err(too_large(path.as_str()));
    }
    let path = path.as_path().to_owned();
    in_turn(api, move |api| {
        let assessed = (api.given.assess_drafts)(vec![Draft { path, content }]).map_err(|error| {
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no Python can be asked about this script: {error}"),
            )
        })?;
        assessed
            .into_iter()
            .next()
            .ok_or_else(|| Problem::internal("a draft was not assessed"))
    })
    .await
}

/// A script that is to be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteScript {
    /// Its text.
    pub content: String,
}

/// A script that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct Written {
    /// Relative to the scripts directory.
    pub path: String,
    /// SHA-256 of the file.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
    /// What it is.
    pub standing: Standing,
    /// The name that its task has, or will have in a moment; none: it is a library.
    pub task: Option<String>,
}

/// What the request believes to be there.
fn expected(headers: &HeaderMap) -> Result<Expected, Problem> {
    let text = |name: HeaderName| {
        headers
            .get(name)
            .map(|value| value.to_str().unwrap_or_default().trim().to_owned())
    };
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (Some(hash), None) => read_hash(&hash).map(Expected::Content),
        (None, Some(star)) if star == "*" => Ok(Expected::Nothing),
        (None, None) => Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "say what is there now: send `If-None-Match: *` for a new script, or `If-Match` with the hash of the one that is replaced",
        )),
        _ => Err(Problem::bad_request(
            "send `If-None-Match: *` for a new script, or `If-Match` with one hash, and not both",
        )),
    }
}

fn read_hash(text: &str) -> Result<ContentHash, Problem> {
    text.trim_matches('"')
        .parse()
        .map_err(|error: crate::script::ContentHashError| Problem::bad_request(format!("`If-Match`: {error}")))
}

fn check_writable(api: &Api) -> Result<(), Problem> {
    match directory::write_hindrance(&api.given.scripts_directory) {
        None => Ok(()),
        Some(hindrance) => Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("{hindrance}; change them where they come from"),
        )),
    }
}

/// Write a script, new or in the place of one. It is checked first; one with a problem is refused. It runs as the user that
/// scripts run as, as soon as its schedule says.
#[utoipa::path(put, path = "/api/v1/scripts/{path}", tag = "scripts",
    params(("path" = String, Path), ("If-Match" = Option<String>, Header, description = "SHA-256 of the script that is replaced"),
           ("If-None-Match" = Option<String>, Header, description = "`*` for a new script")),
    request_body = WriteScript, responses((status = 200, body = Written), (status = 201, body = Written), super::problem::Refusals))]
pub async fn write_script(
    State(api): App,
    who: Identity,
    Segment(path): Segment<String>,
    headers: HeaderMap,
    Body(wanted): Body<WriteScript>,
) -> Result<Response, Problem> {
    let path = ScriptPath::parse_for_writing(&path)?;
    let expected = expected(&headers)?;
    check_writable(&api)?;
    let bytes = wanted.content.into_bytes();
    let assessed = assess(&api, &path, bytes.clone()).await?;
    if assessed.standing == Standing::Problem {
        return Err(
            Problem::unprocessable(format!("`{}` was not written: it has a problem", path.as_str()))
                .with_errors(assessed.problems),
        );
    }
    let sha256 = ContentHash::of(&bytes);
    let change = Change {
        action: "script.write",
        subject: path.as_str().to_owned(),
        before: match expected {
            Expected::Content(hash) => Some(json!({ "sha256": hash })),
            Expected::Nothing => None,
        },
        after: Some(json!({ "sha256": sha256, "size": bytes.len() })),
    };
    make(&api, &who, change, {
        let path = path.clone();
        move |api| directory::write(&api.given.scripts_directory, &path, &bytes, expected)
    })
    .await?;
    let task = assessed.registration.map(|registration| registration.name);
    let body = Written {
        path: path.as_str().to_owned(),
        sha256,
        standing: assessed.standing,
        task,
    };
    let status = match expected {
        Expected::Nothing => StatusCode::CREATED,
        Expected::Content(_) => StatusCode::OK,
    };
    Ok((status, etag(sha256), axum::Json(body)).into_response())
}

/// A change of the directory, as the audit has it.
struct Change {
    action: &'static str,
    subject: String,
    before: Option<Value>,
    after: Option<Value>,
}

/// Records a change and makes it, one at a time and to its end, though whoever asked may leave: nothing is changed without a record
/// of it. A record of what then failed is taken back.
async fn make<T: Send + 'static>(
    api: &Arc<Api>,
    who: &Identity,
    change: Change,
    work: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let (api, who) = (api.clone(), who.clone());
    let made = tokio::spawn(async move {
        let _turn = api.writing.lock().await;
        let mut connection = api.database.connection().await?;
        let number = change::record(
            &mut connection,
            &who,
            change.action,
            &change.subject,
            change.before,
            change.after,
        )
        .await?;
        let done = blocking(&api, work).await;
        match &done {
            Ok(_) => (api.given.scripts_changed)(),
            Err(_) => audit::take_back(&mut connection, number).await?,
        }
        done
    });
    made.await.map_err(Problem::internal)?
}

/// Where a script is to go.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameScript {
    /// Relative to the scripts directory.
    pub to: String,
}

/// Rename a script. Its task keeps its history.
#[utoipa::path(post, path = "/api/v1/scripts/{path}/rename", tag = "scripts",
    params(("path" = String, Path), ("If-Match" = Option<String>, Header)), request_body = RenameScript,
    responses((status = 200, body = ScriptPlace), super::problem::Refusals))]
pub async fn rename_script(
    State(api): App,
    who: Identity,
    Segment(path): Segment<String>,
    headers: HeaderMap,
    Body(wanted): Body<RenameScript>,
) -> Result<axum::Json<ScriptPlace>, Problem> {
    let from = ScriptPath::parse_for_writing(&path)?;
    let to = ScriptPath::parse_for_writing(&wanted.to)?;
    check_writable(&api)?;
    let expected = match headers.get(header::IF_MATCH) {
        Some(value) => Some(read_hash(value.to_str().unwrap_or_default())?),
        None => None,
    };
    let change = Change {
        action: "script.rename",
        subject: from.as_str().to_owned(),
        before: Some(json!({ "path": from.as_str() })),
        after: Some(json!({ "path": to.as_str() })),
    };
    let content = make(&api, &who, change, {
        let (from, to) = (from.clone(), to.clone());
        move |api| directory::rename(&api.given.scripts_directory, &from, &to, expected)
    })
    .await?;
    Ok(axum::Json(ScriptPlace {
        path: to.as_str().to_owned(),
        sha256: content.sha256,
    }))
}

/// Where a script is.
#[derive(Debug, Serialize, ToSchema)]
pub struct ScriptPlace {
    /// Relative to the scripts directory.
    pub path: String,
    /// SHA-256 of the file.
    #[schema(value_type = String)]
    pub sha256: ContentHash,
}

/// Remove a script. Its task is retired; its history and its versions stay.
#[utoipa::path(delete, path = "/api/v1/scripts/{path}", tag = "scripts",
    params(("path" = String, Path), ("If-Match" = String, Header, description = "SHA-256 of the script")),
    responses((status = 204), super::problem::Refusals))]
pub async fn remove_script(
    State(api): App,
    who: Identity,
    Segment(path): Segment<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let path = ScriptPath::parse_for_writing(&path)?;
    let Expected::Content(sha256) = expected(&headers)? else {
        return Err(Problem::bad_request(
            "send `If-Match` with the hash of the script that is removed",
        ));
    };
    check_writable(&api)?;
    let change = Change {
        action: "script.delete",
        subject: path.as_str().to_owned(),
        before: Some(json!({ "sha256": sha256 })),
        after: None,
    };
    make(&api, &who, change, {
        let path = path.clone();
        move |api| directory::remove(&api.given.scripts_directory, &path, sha256)
    })
    .await?;
    Ok(super::tasks::DONE)
}

/// A text that is to be tried.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TryScript {
    /// Its text.
    pub content: String,
    /// Keyword arguments of `run()`, laid over those of the header.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub args: Option<Arguments>,
}

/// Try a script once, now, without keeping it: a run of a task that stands in no list. Its schedule does not count.
#[utoipa::path(post, path = "/api/v1/scripts/try", tag = "scripts", params(("Idempotency-Key" = Option<String>, Header)),
    request_body = TryScript, responses((status = 202, body = Started), super::problem::Refusals))]
pub async fn try_script(
    State(api): App,
    who: Identity,
    headers: HeaderMap,
    Body(wanted): Body<TryScript>,
) -> Result<(StatusCode, axum::Json<Started>), Problem> {
    let key = idempotency_key(&headers)?;
    let path = ScriptPath::parse_for_writing("trial.py")?;
    let bytes = wanted.content.into_bytes();
    let assessed = assess(&api, &path, bytes.clone()).await?;
    let Some(mut registration) = assessed.registration else {
        let detail = match assessed.standing {
            Standing::Problem => "this cannot be tried: it has a problem",
            _ => "this cannot be tried: it defines no `run`; write `def run():` or `async def run():`",
        };
        return Err(Problem::unprocessable(detail).with_errors(assessed.problems));
    };
    let sha256 = ContentHash::of(&bytes);
    registration.source = "trial";
    registration.name = format!("/trial/{sha256}");
    registration.header.schedule = Vec::new();
    registration.header.retries.max = 0;
    registration.notify.to = Some(Vec::new());
    let version = Version {
        sha256,
        content: bytes,
        inspection: assessed.inspection,
    };
    let mut connection = api.database.connection().await?;
    tasks::store_versions(&mut connection, &[version]).await?;
    if let Some(wanted) = assessed.requirements {
        environments::ask(&mut connection, &[wanted]).await?;
        (api.given.scripts_changed)();
    }
    let name = registration.name.clone();
    let named = tasks::register(&mut connection, &[registration], &who.actor()).await?;
    let task_id = match named.into_iter().next() {
        Some(named) => named.task_id,
        None => super::tasks::find_id(&mut connection, &name).await?,
    };
    let asked = Asked {
        task_id,
        args: wanted.args.as_ref().and_then(text_of_arguments),
        as_of: None,
        force: true,
        script_sha256: None,
        again: None,
        subject: &name,
        action: "script.try",
    };
    ask(&mut connection, &who, key, asked).await
}
