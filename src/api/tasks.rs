//! Tasks: all of them as cards, one with its header explained, and what people change about when it runs.

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::extract::{Body, Params, Segment, bad_cursor, page_size};
use super::identity::Identity;
use super::problem::Problem;
use crate::schedule::{Schedule, parse_duration};
use crate::script::{BLOCK_KEYS, ContentHash, KEYS};
use crate::store::Connection;
use crate::store::pages::{self, TagRow, TaskCard, TaskFilter};
use crate::store::{history, requests, tasks as store_tasks};
use crate::why::nearest_names;

/// How many of its newest runs a task shows in a list.
const RECENT: i32 = 20;

/// How a task stands, as it can be asked for.
const STATES: [&str; 9] = [
    "problem", "building", "paused", "disabled", "running", "queued", "manual", "ready", "failing",
];

/// A task, how it stands, and its newest runs.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// Its number; kept over renames.
    pub task_id: i64,
    /// Its name: the path of its script without suffix.
    pub name: String,
    /// `problem`, `paused`, `disabled`, `running`, `building` (its packages), `queued`, `manual` (no schedule) or `ready`.
    pub state: String,
    /// `directory`, `ad_hoc` or `trial`.
    pub source: String,
    /// The file, relative to the scripts directory; absolute for `ad_hoc`.
    pub script_path: String,
    /// `source`, `bytecode` or `extension`.
    pub script_kind: String,
    /// Whether `run()` is declared async.
    pub is_async: bool,
    /// The version in force.
    #[schema(value_type = Option<String>)]
    pub script_sha256: Option<ContentHash>,
    /// When it runs: cron expressions, `@every`, `@at`; empty: on request only.
    pub schedule: Vec<String>,
    /// The same in words.
    pub schedule_words: String,
    /// The zone of the schedule.
    pub timezone: String,
    /// What a person put in place of the header's schedule.
    pub schedule_override: Option<Vec<String>>,
    /// What a person put in place of the header's zone.
    pub timezone_override: Option<String>,
    /// Whether the header enables it.
    pub enabled: bool,
    /// Whether it is paused.
    pub paused: bool,
    /// Since when.
    pub paused_at: Option<Timestamp>,
    /// By whom.
    pub paused_by: Option<String>,
    /// Why.
    pub paused_reason: Option<String>,
    /// What is wrong with its file, its plan or its packages.
    pub problem: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who to ask.
    pub owner: Option<String>,
    /// Words by which people find it.
    pub tags: Vec<String>,
    /// What a due instant does while a run is active.
    pub overlap: String,
    /// How many runs may be active at once.
    pub max_running: i16,
    /// What happens to instants that were due while no node was there.
    pub missed: String,
    /// Time limit of a run.
    pub timeout_seconds: Option<f64>,
    /// How often a failed run is tried again.
    pub retry_max: i32,
    /// Keyword arguments of `run()`.
    #[schema(value_type = Object)]
    pub args: Value,
    /// Failures in a row after which people are told.
    pub notify_after: i32,
    /// Whether they are told of the success after that.
    pub notify_recovery: bool,
    /// The channels.
    pub notify_to: Vec<String>,
    /// How late a run must be to be told of.
    pub late_after_seconds: Option<f64>,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When what runs or when last changed.
    pub updated_at: Timestamp,
    /// Its next instant; none: manual, paused, disabled, or past its last one.
    pub next_fire_at: Option<Timestamp>,
    /// Its newest run that has ended.
    pub last_run: Option<LastRun>,
    /// Failures since the last success.
    pub consecutive_failures: i32,
    /// The run that is in flight.
    pub active_run_id: Option<i64>,
    /// How that stands: `queued`, `claimed` or `running`.
    pub active_state: Option<String>,
    /// Its newest runs, oldest first.
    pub recent: Vec<RecentRun>,
    /// The header in force, where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Value>,
}

/// How the newest run of a task ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct LastRun {
    /// The run.
    pub run_id: i64,
    /// How it ended.
    pub status: String,
    /// Its instant.
    pub scheduled_for: Timestamp,
    /// Its end.
    pub finished_at: Option<Timestamp>,
    /// How long it ran.
    pub duration_ms: Option<f64>,
}

/// A run, as a mark in a strip.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecentRun {
    /// The run.
    pub run_id: i64,
    /// How it stands.
    pub status: String,
    /// How long it ran.
    pub duration_ms: Option<f64>,
    /// Its instant.
    pub scheduled_for: Timestamp,
}

/// A schedule in words; what cannot be read says itself.
pub(super) fn words(schedule: &[String], timezone: &str) -> String {
    if schedule.is_empty() {
        return "on request only".to_owned();
    }
    Schedule::parse(schedule, timezone).map_or_else(|_| schedule.join(", "), |schedule| schedule.describe())
}

impl From<TaskCard> for Task {
    fn from(card: TaskCard) -> Task {
        let last_run = match (card.last_run_id, card.last_status, card.last_scheduled_for) {
            (Some(run_id), Some(status), Some(scheduled_for)) => Some(LastRun {
                run_id,
                status,
                scheduled_for,
                finished_at: card.last_finished_at,
                duration_ms: card.last_duration_ms,
            }),
            _ => None,
        };
        Task {
            schedule_words: words(&card.schedule, &card.timezone),
            last_run,
            recent: serde_json::from_str(&card.recent).unwrap_or_default(),
            args: serde_json::from_str(&card.args).unwrap_or_default(),
            paused: card.paused_at.is_some(),
            consecutive_failures: card.consecutive_failures.unwrap_or(0),
            task_id: card.task_id,
            name: card.name,
            state: card.state,
            source: card.source,
            script_path: card.script_path,
            script_kind: card.script_kind,
            is_async: card.is_async,
            script_sha256: card.script_sha256,
            schedule: card.schedule,
            timezone: card.timezone,
            schedule_override: card.schedule_override,
            timezone_override: card.timezone_override,
            enabled: card.enabled,
            paused_at: card.paused_at,
            paused_by: card.paused_by,
            paused_reason: card.paused_reason,
            problem: card.problem,
            description: card.description,
            owner: card.owner,
            tags: card.tags,
            overlap: card.overlap,
            max_running: card.max_running,
            missed: card.missed,
            timeout_seconds: card.timeout_seconds,
            retry_max: card.retry_max,
            notify_after: card.notify_after,
            notify_recovery: card.notify_recovery,
            notify_to: card.notify_to,
            late_after_seconds: card.late_after_seconds,
            created_at: card.created_at,
            updated_at: card.updated_at,
            next_fire_at: card.next_fire_at,
            active_run_id: card.active_run_id,
            active_state: card.active_state,
            header: None,
        }
    }
}

/// Tasks by name.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TaskPage {
    /// In the order of their names.
    pub items: Vec<Task>,
    /// What to send as `cursor` for those behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// Which tasks are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TaskQuery {
    /// With this text in name, description or owner.
    search: Option<String>,
    /// With this tag.
    tag: Option<String>,
    /// In this state; `failing` are those whose newest runs failed.
    status: Option<String>,
    /// With the header in force of each.
    headers: Option<bool>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many; 100 unless said otherwise, 1000 at most.
    limit: Option<i64>,
}

/// Tags at most.
const MOST_TAGS: i64 = 1000;

/// The tags of tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TagList {
    /// By name; at most 1,000.
    pub items: Vec<Tag>,
}

/// A tag.
#[derive(Debug, Serialize, ToSchema)]
pub struct Tag {
    /// The tag.
    pub tag: String,
    /// How many tasks have it.
    pub tasks: i64,
}

/// List the tags of tasks.
#[utoipa::path(get, path = "/api/v1/tags", tag = "tasks", responses((status = 200, body = TagList), super::problem::Refusals))]
pub async fn list_tags(State(api): App) -> Result<axum::Json<TagList>, Problem> {
    let mut connection = api.database.connection().await?;
    let rows = pages::tags(&mut connection, MOST_TAGS).await?;
    let tag = |row: TagRow| Tag {
        tag: row.tag,
        tasks: row.tasks,
    };
    Ok(axum::Json(TagList {
        items: rows.into_iter().map(tag).collect(),
    }))
}

/// List tasks.
#[utoipa::path(get, path = "/api/v1/tasks", tag = "tasks", params(TaskQuery), responses((status = 200, body = TaskPage), super::problem::Refusals))]
pub async fn list_tasks(State(api): App, Params(query): Params<TaskQuery>) -> Result<axum::Json<TaskPage>, Problem> {
    let limit = page_size(query.limit)?;
    if let Some(state) = query.status.as_deref().filter(|state| !STATES.contains(state)) {
        return Err(Problem::bad_request(format!(
            "`status` is `{state}`: it must be one of {}",
            STATES.join(", ")
        )));
    }
    if query.cursor.as_deref().is_some_and(str::is_empty) {
        return Err(bad_cursor(""));
    }
    let filter = TaskFilter {
        name: None,
        search: query.search.filter(|text| !text.is_empty()),
        tag: query.tag,
        state: query.status,
        after_name: query.cursor,
    };
    let mut connection = api.database.connection().await?;
    let mut cards = pages::tasks(&mut connection, &filter, limit + 1, RECENT).await?;
    let next_cursor = (cards.len() as i64 > limit).then(|| {
        cards.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        cards.last().map(|card| card.name.clone())
    });
    let with_headers = query.headers.unwrap_or(false);
    let task = |card: TaskCard| {
        let header = with_headers.then(|| serde_json::from_str(&card.header).unwrap_or_default());
        Task {
            header,
            ..Task::from(card)
        }
    };
    Ok(axum::Json(TaskPage {
        items: cards.into_iter().map(task).collect(),
        next_cursor: next_cursor.flatten(),
    }))
}

/// One task with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskDetail {
    /// The task.
    pub task: Task,
    /// What holds for it, key by key.
    pub header: Vec<HeaderKey>,
    /// The header in force, as JSON.
    #[schema(value_type = Object)]
    pub header_json: Box<RawValue>,
    /// Series of the numbers that it returned.
    pub series: Vec<String>,
    /// The last success.
    pub last_success_at: Option<Timestamp>,
}

/// What holds for a task under one key of its header.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeaderKey {
    /// The key, as it is written in the header.
    pub key: String,
    /// What holds.
    #[schema(value_type = Option<Value>)]
    pub value: Value,
    /// `header`: it says so. `default`: it leaves it out. `override`: a person put something else in its place.
    pub source: String,
    /// What the key is for.
    pub words: String,
    /// What holds where it is left out.
    pub default: String,
}

/// The header's keys with what holds under each, as the table of keys has them.
fn explain(task: &Task, header: &Value, written: &[String]) -> Vec<HeaderKey> {
    let value_of = |key: &str| match key {
        "schedule" => json!(task.schedule),
        "timezone" => json!(task.timezone),
        "timeout" => json!(task.timeout_seconds),
        "value" => header["expectations"].clone(),
        "notify" => json!({ "after": task.notify_after, "recovery": task.notify_recovery, "to": task.notify_to,
                            "late_after_seconds": task.late_after_seconds }),
        "requires-python" => header["requires_python"].clone(),
        key if !header[key].is_null() => header[key].clone(),
        key if !header["limits"][key].is_null() => header["limits"][key].clone(),
        key if !header["limits"][format!("{key}_bytes")].is_null() => header["limits"][format!("{key}_bytes")].clone(),
        key => header[format!("{key}_seconds")].clone(),
    };
    let is_overridden = |key: &str| match key {
        "schedule" => task.schedule_override.is_some(),
        "timezone" => task.timezone_override.is_some(),
        _ => false,
    };
    let keys = KEYS.iter().chain(BLOCK_KEYS);
    keys.map(|key| HeaderKey {
        key: key.name.to_owned(),
        value: value_of(key.name),
        source: match () {
            () if is_overridden(key.name) => "override",
            () if written.iter().any(|other| other == key.name) => "header",
            () => "default",
        }
        .to_owned(),
        words: key.meaning.to_owned(),
        default: key.default.to_owned(),
    })
    .collect()
}

/// The keys that a header sets: lines of its block that begin with one. The block was read strictly before it came into force.
fn written_keys(content: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    let block = text
        .lines()
        .skip_while(|line| line.trim_end() != "# /// script")
        .skip(1)
        .take_while(|line| line.trim_end() != "# ///");
    let key_of = |line: &str| {
        let line = line.trim_start_matches('#').trim();
        if let Some(table) = line.strip_prefix("[tool.dropcron.") {
            return table.split([']', '.']).next().map(str::to_owned);
        }
        if let Some(table) = line.strip_prefix("[[tool.dropcron.") {
            return table.split([']', '.']).next().map(str::to_owned);
        }
        let key = line.split(['=', '.']).next()?.trim().trim_matches(['"', '\'']);
        (line.contains('=') && !key.is_empty()).then(|| key.to_owned())
    };
    block.filter_map(key_of).collect()
}

/// Read one task.
#[utoipa::path(get, path = "/api/v1/tasks/{name}", tag = "tasks",
    params(("name" = String, Path, description = "The task; `/` is written `%2F`")),
    responses((status = 200, body = TaskDetail), super::problem::Refusals))]
pub async fn read_task(State(api): App, Segment(name): Segment<String>) -> Result<axum::Json<TaskDetail>, Problem> {
    let mut connection = api.database.connection().await?;
    let card = find_card(&mut connection, &name).await?;
    let header_text = card.header.clone();
    let last_success_at = card.last_success_at;
    let task = Task::from(card);
    let content = match task.script_sha256 {
        Some(sha256) => store_tasks::content(&mut connection, sha256).await?.unwrap_or_default(),
        None => Vec::new(),
    };
    let header: Value = serde_json::from_str(&header_text).unwrap_or_default();
    let series = crate::store::series::list(&mut connection, Some(&name), 0).await?;
    Ok(axum::Json(TaskDetail {
        header: explain(&task, &header, &written_keys(&content)),
        header_json: RawValue::from_string(header_text).map_err(Problem::internal)?,
        series: series.into_iter().map(|row| row.series).collect(),
        last_success_at,
        task,
    }))
}

pub(super) async fn find_card(connection: &mut Connection, name: &str) -> Result<TaskCard, Problem> {
    let filter = TaskFilter {
        name: Some(name.to_owned()),
        ..TaskFilter::default()
    };
    match pages::tasks(connection, &filter, 1, RECENT).await?.pop() {
        Some(card) => Ok(card),
        None => Err(no_task(connection, name).await),
    }
}

/// The number of a task that there is.
pub(super) async fn find_id(connection: &mut Connection, name: &str) -> Result<i64, Problem> {
    match store_tasks::list(connection, Some(name)).await?.pop() {
        Some(row) => Ok(row.task_id),
        None => Err(no_task(connection, name).await),
    }
}

/// That there is no task of a name, and which were perhaps meant.
pub(super) async fn no_task(connection: &mut Connection, name: &str) -> Problem {
    let names = match history::names(connection).await {
        Ok(names) => names,
        Err(error) => return error.into(),
    };
    no_task_among(name, &names)
}

pub(super) fn no_task_among(name: &str, names: &[String]) -> Problem {
    let advice = match nearest_names(name, names).as_slice() {
        [] => "`GET /api/v1/tasks` lists them".to_owned(),
        nearest => format!("did you mean `{}`?", nearest.join("` or `")),
    };
    Problem::not_found(format!("there is no task `{name}`: {advice}"))
}

/// Why a task is to be paused.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseTask {
    /// For others who look.
    #[serde(default)]
    pub reason: Option<String>,
}

/// How a task stands after a change.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Changed {
    /// Whether this request changed it; no: it was so already.
    pub changed: bool,
    /// The task.
    pub task: Task,
}

/// Stop a task from firing, until it is resumed. What is due meanwhile is recorded as missed and not replayed.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/pause", tag = "tasks", params(("name" = String, Path)),
    request_body = PauseTask, responses((status = 200, body = Changed), super::problem::Refusals))]
pub async fn pause_task(
    State(api): App,
    who: Identity,
    Segment(name): Segment<String>,
    Body(wanted): Body<PauseTask>,
) -> Result<axum::Json<Changed>, Problem> {
    let mut connection = api.database.connection().await?;
    let changed = store_tasks::pause(&mut connection, &name, &who.actor(), wanted.reason.as_deref()).await?;
    changed_task(&mut connection, &name, changed).await
}

/// Let a paused task fire again, from now on.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/resume", tag = "tasks", params(("name" = String, Path)), responses((status = 200, body = Changed), super::problem::Refusals))]
pub async fn resume_task(
    State(api): App,
    who: Identity,
    Segment(name): Segment<String>,
) -> Result<axum::Json<Changed>, Problem> {
    let mut connection = api.database.connection().await?;
    let changed = store_tasks::resume(&mut connection, &name, &who.actor()).await?;
    changed_task(&mut connection, &name, changed).await
}

async fn changed_task(connection: &mut Connection, name: &str, changed: bool) -> Result<axum::Json<Changed>, Problem> {
    let task = find_card(connection, name).await?.into();
    Ok(axum::Json(Changed { changed, task }))
}

/// What is to stand in the place of a header's schedule.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScheduleOverride {
    /// Cron expressions, `@every`, `@at`; empty: on request only.
    pub schedule: Vec<String>,
    /// The zone; none: that of the header.
    #[serde(default)]
    pub timezone: Option<String>,
}

/// Put another schedule in the place of that of the header. It holds until it is taken back, also over edits of the script.
#[utoipa::path(put, path = "/api/v1/tasks/{name}/schedule-override", tag = "tasks", params(("name" = String, Path)),
    request_body = ScheduleOverride, responses((status = 200, body = Changed), super::problem::Refusals))]
pub async fn override_schedule(
    State(api): App,
    who: Identity,
    Segment(name): Segment<String>,
    Body(wanted): Body<ScheduleOverride>,
) -> Result<axum::Json<Changed>, Problem> {
    let mut connection = api.database.connection().await?;
    let card = find_card(&mut connection, &name).await?;
    let timezone = wanted.timezone.as_deref().unwrap_or(&card.timezone);
    check_schedule(&wanted.schedule, timezone)?;
    let changed = requests::override_schedule(
        &mut connection,
        &name,
        Some(&wanted.schedule),
        wanted.timezone.as_deref(),
        &who.actor(),
    )
    .await?;
    changed_task(&mut connection, &name, changed).await
}

/// Schedules that a person typed; a list without one only needs its zone to be right.
pub(super) fn check_schedule(schedule: &[String], timezone: &str) -> Result<(), Problem> {
    let texts: Vec<&str> = match schedule {
        [] => vec!["@daily"],
        texts => texts.iter().map(String::as_str).collect(),
    };
    match Schedule::parse(&texts, timezone) {
        Ok(_) => Ok(()),
        Err(error) => Err(Problem::unprocessable(error.to_string())),
    }
}

/// Let the header's schedule hold again.
#[utoipa::path(delete, path = "/api/v1/tasks/{name}/schedule-override", tag = "tasks", params(("name" = String, Path)), responses((status = 200, body = Changed), super::problem::Refusals))]
pub async fn drop_override(
    State(api): App,
    who: Identity,
    Segment(name): Segment<String>,
) -> Result<axum::Json<Changed>, Problem> {
    let mut connection = api.database.connection().await?;
    let card = find_card(&mut connection, &name).await?;
    let is_overridden = card.schedule_override.is_some() || card.timezone_override.is_some();
    if is_overridden {
        requests::override_schedule(&mut connection, &name, None, None, &who.actor()).await?;
    }
    changed_task(&mut connection, &name, is_overridden).await
}

/// Something that happened to a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct Event {
    /// Its number.
    pub event_id: i64,
    /// When.
    pub at: Timestamp,
    /// Who: `syncer`, `planner`, a token, or a person as the command line or the database knows them.
    pub actor: String,
    /// `created`, `edited`, `problem`, `healed`, `renamed`, `retired`, `revived`, `paused`, `resumed`, `overridden`, `planned`.
    pub kind: String,
    /// What was, as far as it changed.
    #[schema(value_type = Option<Value>)]
    pub before: Option<Box<RawValue>>,
    /// What is.
    #[schema(value_type = Option<Value>)]
    pub after: Option<Box<RawValue>>,
}

/// What happened to a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// Newest first.
    pub items: Vec<Event>,
    /// What to send as `cursor` for those behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// Which events are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// At most so many; 100 unless said otherwise, 1000 at most.
    pub limit: Option<i64>,
}

/// List what happened to a task, newest first.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/events", tag = "tasks", params(("name" = String, Path), PageQuery), responses((status = 200, body = EventPage), super::problem::Refusals))]
pub async fn list_events(
    State(api): App,
    Segment(name): Segment<String>,
    Params(query): Params<PageQuery>,
) -> Result<axum::Json<EventPage>, Problem> {
    let limit = page_size(query.limit)?;
    let before = match &query.cursor {
        Some(cursor) => Some(cursor.parse().map_err(|_| bad_cursor(cursor))?),
        None => None,
    };
    let mut connection = api.database.connection().await?;
    let task_id = find_id(&mut connection, &name).await?;
    let mut rows = pages::events(&mut connection, task_id, before, limit + 1).await?;
    let next_cursor = (rows.len() as i64 > limit).then(|| {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows.last().map(|row| row.event_id.to_string())
    });
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    let items = rows
        .into_iter()
        .map(|row| Event {
            event_id: row.event_id,
            at: row.at,
            actor: row.actor,
            kind: row.kind,
            before: raw(row.before),
            after: raw(row.after),
        })
        .collect();
    Ok(axum::Json(EventPage {
        items,
        next_cursor: next_cursor.flatten(),
    }))
}

/// A span of time back from now, such as `30d`, as an instant.
pub(super) fn ago(text: &str) -> Result<Timestamp, Problem> {
    let duration = parse_duration(text).map_err(|error| Problem::bad_request(error.to_string()))?;
    let duration = jiff::SignedDuration::try_from(duration).unwrap_or(jiff::SignedDuration::MAX);
    Ok(Timestamp::now()
        .saturating_sub(duration)
        .unwrap_or(Timestamp::UNIX_EPOCH))
}

/// The status of an answer that has nothing to say.
pub(super) const DONE: StatusCode = StatusCode::NO_CONTENT;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_that_a_header_sets_are_told_from_those_it_leaves_out() {
        let script =
            b"import os\n# /// script\n# requires-python = \">=3.9\"\n# [tool.dropcron]\n# schedule = \"@daily\"\n\
                       # retries = { max = 2 }\n# [tool.dropcron.notify]\n# after = 2\n# ///\nx = 1\n# timeout = 1\n";
        assert_eq!(
            written_keys(script),
            ["requires-python", "schedule", "retries", "notify", "after"]
        );
        assert!(written_keys(b"def run(): pass").is_empty());
    }

    #[test]
    fn schedules_that_people_type_are_checked_with_their_zone() {
        assert!(check_schedule(&[], "UTC").is_ok());
        assert!(check_schedule(&["@daily".to_owned()], "Europe/Berlin").is_ok());
        assert!(check_schedule(&[], "Nowhere/At_All").is_err());
        assert!(check_schedule(&["61 * * * *".to_owned()], "UTC").is_err());
        assert!(check_schedule(&vec!["@daily".to_owned(); 101], "UTC").is_err());
    }
}
