//! Runs: the log with filters, one run, and what people ask: run it now, stop it, run it again.

use std::str::FromStr;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::{Body, Params, Segment, page_size, read_cursor, storable, write_cursor};
use super::identity::Identity;
use super::problem::Problem;
use super::{App, change};
use crate::run::{Arguments, Status, UnknownWord, text_of_arguments};
use crate::script::ContentHash;
use crate::store::Connection;
use crate::store::pages::{self, RunFilter, ValueFilter};
use crate::store::requests::{self, KeyState};
use crate::store::runs::{self as store_runs, Request, RunRow};
use crate::store::tasks;

/// How often a run is asked for whose place somebody else takes in the same moment.
const TRIES: u32 = 5;

/// A list has return values of so many bytes at most; of larger ones it says the size.
pub(super) const LARGEST_LISTED_VALUE: i32 = 16 * 1024;

/// A row of the run log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Run {
    /// Its number.
    pub run_id: i64,
    /// The number of its task.
    pub task_id: i64,
    /// The task's name when it was due.
    pub task: String,
    /// The instant that it stands for in the log.
    pub scheduled_for: Timestamp,
    /// 1 for the first try.
    pub attempt: i16,
    /// What asked for it: `schedule`, `catch_up`, `backfill`, `manual`.
    pub trigger: String,
    /// `queued`, `running`, `succeeded`, `failed`, `timed_out`, `cancelled`, `lost`, `skipped` or `missed`.
    pub status: String,
    /// Why it has that status.
    pub reason: Option<String>,
    /// The facts behind the reason, in words.
    pub detail: Option<String>,
    /// The instant that the script was told, where that is another.
    pub as_of: Option<Timestamp>,
    /// The node that owned it.
    pub node_id: Option<Uuid>,
    /// When the row was made.
    pub queued_at: Timestamp,
    /// When it should start.
    pub due_at: Timestamp,
    /// When the script was let go.
    pub started_at: Option<Timestamp>,
    /// When it ended, or when it was decided that it does not run.
    pub finished_at: Option<Timestamp>,
    /// How long it ran.
    pub duration_ms: Option<f64>,
    /// How much later than due it started.
    pub start_delay_ms: Option<f64>,
    /// The exit code of the process.
    pub exit_code: Option<i32>,
    /// The signal that ended the process.
    pub signal: Option<i16>,
    /// For `missed`: how many instants the row stands for.
    pub missed_count: Option<i64>,
    /// For `missed`: the last of them.
    pub missed_until: Option<Timestamp>,
    /// For `skipped`: the run that was in the way.
    pub blocking_run_id: Option<i64>,
    /// What `run()` returned, with every digit. A list leaves out what has more than 16 KiB; `GET /api/v1/runs/{run_id}` has it.
    #[schema(value_type = Option<Value>)]
    pub return_value: Option<Box<RawValue>>,
    /// The size of a return value that is left out here, in bytes, compressed as the database keeps it; none: nothing is left out.
    #[serde(default)]
    pub return_value_bytes: Option<i32>,
    /// What went wrong.
    pub error: Option<RunFailure>,
    /// What people should know although it ended well.
    pub warnings: Vec<String>,
    /// Peak resident memory of its largest process, KiB.
    pub max_rss_kb: Option<i64>,
    /// User and system time of all its processes, milliseconds.
    pub cpu_ms: Option<i64>,
    /// The script version that ran.
    #[schema(value_type = Option<String>)]
    pub script_sha256: Option<ContentHash>,
    /// First recorded as lost, then its node came back with this end.
    pub late_report: bool,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// What it was held to, and by whom.
    #[schema(value_type = Option<Value>)]
    pub limits: Option<Box<RawValue>>,
    /// The packages that it had; none: it needed none.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub lock_sha256: Option<ContentHash>,
    /// The version of the Python that ran it.
    #[serde(default)]
    pub python: Option<String>,
}

/// What went wrong in a run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunFailure {
    /// The type of the exception, or a word of dropcron's in small letters.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its message.
    pub message: String,
    /// Python's traceback, from the script's first frame on.
    pub traceback: Option<String>,
}

impl From<RunRow> for Run {
    fn from(row: RunRow) -> Run {
        let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
        let (kind, traceback) = (row.error_type, row.traceback.filter(|text| !text.is_empty()));
        Run {
            run_id: row.run_id,
            task_id: row.task_id,
            task: row.task_name,
            scheduled_for: row.scheduled_for,
            attempt: row.attempt,
            trigger: row.trigger,
            status: row.status,
            reason: row.reason,
            detail: row.detail,
            as_of: row.as_of,
            node_id: row.node_id,
            queued_at: row.queued_at,
            due_at: row.due_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            duration_ms: row.duration_ms,
            start_delay_ms: row.start_delay_ms,
            exit_code: row.exit_code,
            signal: row.signal,
            missed_count: row.missed_count,
            missed_until: row.missed_until,
            blocking_run_id: row.blocking_run_id,
            // What jsonb prints is JSON.
            return_value: raw(row.return_value),
            return_value_bytes: row.return_value_bytes,
            error: row.error.map(|message| RunFailure {
                kind,
                message,
                traceback,
            }),
            warnings: row.warnings,
            max_rss_kb: row.max_rss_kb,
            cpu_ms: row.cpu_ms,
            script_sha256: row.script_sha256,
            late_report: row.late_report,
            requested_by: row.requested_by,
            limits: raw(row.limits),
            lock_sha256: row.lock_sha256,
            python: row.python,
        }
    }
}

/// Rows of the run log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RunPage {
    /// Newest first.
    pub items: Vec<Run>,
    /// What to send as `cursor` for those behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// Which runs are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunQuery {
    /// Of this task.
    task: Option<String>,
    /// With this status, or with one of several, joined by commas.
    status: Option<String>,
    /// Asked for by this: `schedule`, `catch_up`, `backfill`, `manual`.
    trigger: Option<String>,
    /// Due at this instant or later.
    from: Option<Timestamp>,
    /// Due at this instant or earlier.
    to: Option<Timestamp>,
    /// Keys and positions in the return value, joined by dots, on the way to a number that is compared; `` is the value itself.
    /// Every run of `task`, or of all tasks, from `from` to `to` is looked at: name what you can.
    value_path: Option<String>,
    /// The least that this number may be.
    value_min: Option<f64>,
    /// The most that it may be.
    value_max: Option<f64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many; 100 unless said otherwise, 1000 at most.
    limit: Option<i64>,
}

impl RunQuery {
    fn filter(&self) -> Result<RunFilter, Problem> {
        for (name, bound) in [("value_min", self.value_min), ("value_max", self.value_max)] {
            if bound.is_some_and(|bound| !bound.is_finite()) {
                return Err(Problem::bad_request(format!("`{name}` must be a number with an end")));
            }
            if bound.is_some() && self.value_path.is_none() {
                return Err(Problem::bad_request(format!(
                    "`{name}` needs `value_path`, which says what number is compared; leave the path empty for the value itself"
                )));
            }
        }
        let path = self.value_path.as_ref().map(|path| match path.as_str() {
            "" | "value" => Vec::new(),
            path => path.split('.').map(str::to_owned).collect(),
        });
        let statuses = self.status.iter().flat_map(|text| text.split(','));
        Ok(RunFilter {
            task_name: self.task.clone(),
            statuses: statuses.map(|text| word("status", text)).collect::<Result<_, _>>()?,
            trigger: self.trigger.as_deref().map(|text| word("trigger", text)).transpose()?,
            since: self.from.map(storable),
            until: self.to.map(storable),
            value: path.map(|path| ValueFilter {
                path,
                min: self.value_min,
                max: self.value_max,
            }),
            before: self.cursor.as_deref().map(read_cursor).transpose()?,
            largest_value: Some(LARGEST_LISTED_VALUE),
        })
    }
}

/// One of a closed set of words.
fn word<Word: FromStr<Err = UnknownWord>>(name: &str, text: &str) -> Result<Word, Problem> {
    text.parse()
        .map_err(|error| Problem::bad_request(format!("`{name}`: {error}")))
}

/// List runs, newest first.
#[utoipa::path(get, path = "/api/v1/runs", tag = "runs", params(RunQuery), responses((status = 200, body = RunPage), super::problem::Refusals))]
pub async fn list_runs(State(api): App, Params(query): Params<RunQuery>) -> Result<axum::Json<RunPage>, Problem> {
    let limit = page_size(query.limit)?;
    let filter = query.filter()?;
    let mut connection = api.database.connection().await?;
    let mut rows = pages::runs(&mut connection, &filter, limit + 1).await?;
    let next_cursor = (rows.len() as i64 > limit).then(|| {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows.last().map(|row| write_cursor(row.scheduled_for, row.run_id))
    });
    if let (true, Some(task), None) = (rows.is_empty(), &query.task, &query.cursor)
        && tasks::list(&mut connection, Some(task)).await?.is_empty()
    {
        return Err(super::tasks::no_task(&mut connection, task).await);
    }
    Ok(axum::Json(RunPage {
        items: rows.into_iter().map(Run::from).collect(),
        next_cursor: next_cursor.flatten(),
    }))
}

/// One run with all that is known of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RunDetail {
    /// The row.
    pub run: Run,
    /// The name of its task now; none: the task is gone.
    pub task_now: Option<String>,
    /// Keyword arguments of this run alone.
    #[schema(value_type = Option<Value>)]
    pub args: Option<Box<RawValue>>,
    /// The process that owned it, such as `web-1 (pid 4711)`.
    pub node: Option<String>,
    /// Who asked that it stop.
    pub cancel_requested_by: Option<String>,
    /// Whether somebody asked for its version of the script, whichever was in force.
    pub is_pinned: bool,
    /// The frames of the traceback, outermost first, where they can be told apart.
    pub frames: Vec<Frame>,
    /// All attempts at its instant, in order.
    pub attempts: Vec<Attempt>,
}

/// One frame of a traceback.
#[derive(Debug, Serialize, ToSchema, PartialEq, Eq)]
pub struct Frame {
    /// The file as Python names it.
    pub file: String,
    /// The line.
    pub line: u32,
    /// The function.
    pub function: String,
    /// Whether it is the script itself, so that the line is one of `script_sha256`.
    pub is_script: bool,
}

/// One attempt at an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attempt {
    /// Its run.
    pub run_id: i64,
    /// 1 for the first try.
    pub attempt: i16,
    /// How it stands.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The go.
    pub started_at: Option<Timestamp>,
    /// Its end.
    pub finished_at: Option<Timestamp>,
}

/// Frames in Python's own form: `  File "x.py", line 3, in run`.
fn frames(traceback: &str, script_path: Option<&str>) -> Vec<Frame> {
    let frame = |line: &str| {
        let rest = line.trim_start().strip_prefix("File \"")?;
        let (file, rest) = rest.split_once("\", line ")?;
        let (number, function) = rest.split_once(", in ").unwrap_or((rest, ""));
        Some(Frame {
            is_script: script_path.is_some_and(|path| std::path::Path::new(file).ends_with(path)),
            file: file.to_owned(),
            line: number.trim().parse().ok()?,
            function: function.trim().to_owned(),
        })
    };
    traceback.lines().filter_map(frame).collect()
}

/// Read one run.
#[utoipa::path(get, path = "/api/v1/runs/{run_id}", tag = "runs", params(("run_id" = i64, Path)), responses((status = 200, body = RunDetail), super::problem::Refusals))]
pub async fn read_run(State(api): App, Segment(run_id): Segment<i64>) -> Result<axum::Json<RunDetail>, Problem> {
    let mut connection = api.database.connection().await?;
    detail(&mut connection, run_id).await.map(axum::Json)
}

pub(super) async fn find(connection: &mut Connection, run_id: i64) -> Result<RunRow, Problem> {
    store_runs::find(connection, run_id)
        .await?
        .ok_or_else(|| no_run(run_id))
}

pub(super) fn no_run(run_id: i64) -> Problem {
    Problem::not_found(format!(
        "there is no run {run_id}; `GET /api/v1/runs` lists them, and what is older than `DROPCRON_KEEP_RUNS` is removed"
    ))
}

async fn detail(connection: &mut Connection, run_id: i64) -> Result<RunDetail, Problem> {
    let row = find(connection, run_id).await?;
    let extra = pages::run_extra(connection, run_id)
        .await?
        .ok_or_else(|| no_run(run_id))?;
    let attempts = pages::attempts(connection, row.task_id, row.scheduled_for).await?;
    let frames = frames(
        row.traceback.as_deref().unwrap_or_default(),
        extra.script_path.as_deref(),
    );
    Ok(RunDetail {
        run: row.into(),
        task_now: extra.task_now,
        args: extra.args.and_then(|text| RawValue::from_string(text).ok()),
        node: extra
            .host
            .zip(extra.pid)
            .map(|(host, pid)| format!("{host} (pid {pid})")),
        cancel_requested_by: extra.cancel_requested_by,
        is_pinned: extra.is_pinned,
        frames,
        attempts: attempts
            .into_iter()
            .map(|row| Attempt {
                run_id: row.run_id,
                attempt: row.attempt,
                status: row.status,
                reason: row.reason,
                started_at: row.started_at,
                finished_at: row.finished_at,
            })
            .collect(),
    })
}

/// What a run is to be started with.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRun {
    /// Keyword arguments of this run alone, laid over those of the header.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub args: Option<Arguments>,
    /// The instant that the script is told it stands for.
    #[serde(default)]
    pub as_of: Option<Timestamp>,
    /// Start it beside a run that is still active, whatever the overlap policy says.
    #[serde(default)]
    pub force: bool,
}

/// A run that was asked for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Started {
    /// Its row: `queued`, or `skipped` where the overlap policy says so.
    pub run: Run,
    /// Whether the same request had been sent before, so that this is the run that it made.
    pub repeated: bool,
}

/// Run a task now. With the header `Idempotency-Key`, the same request sent again makes no second run.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/runs", tag = "runs",
    params(("name" = String, Path, description = "The task; `/` is written `%2F`"),
           ("Idempotency-Key" = Option<String>, Header, description = "Any text of at most 200 characters, new for each run that is wanted; kept for a day")),
    request_body = StartRun, responses((status = 202, body = Started), super::problem::Refusals))]
pub async fn start_run(
    State(api): App,
    who: Identity,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    Body(wanted): Body<StartRun>,
) -> Result<(StatusCode, axum::Json<Started>), Problem> {
    let key = idempotency_key(&headers)?;
    let mut connection = api.database.connection().await?;
    let task_id = super::tasks::find_id(&mut connection, &name).await?;
    let asked = Asked {
        task_id,
        args: wanted.args.as_ref().and_then(text_of_arguments),
        as_of: wanted.as_of.map(storable),
        force: wanted.force,
        script_sha256: None,
        again: None,
        subject: &name,
        action: "run.request",
    };
    ask(&mut connection, &who, key, asked).await
}

/// A run that somebody asks for.
pub(super) struct Asked<'a> {
    /// The task.
    pub task_id: i64,
    /// Arguments: the text of a JSON object.
    pub args: Option<String>,
    /// The instant it stands for.
    pub as_of: Option<Timestamp>,
    /// Beside others.
    pub force: bool,
    /// Another version than the one in force.
    pub script_sha256: Option<ContentHash>,
    /// The run that it repeats.
    pub again: Option<i64>,
    /// The task's name.
    pub subject: &'a str,
    /// As the audit calls it.
    pub action: &'a str,
}

/// Asks for a run, once for each key, and records who did: all of it or nothing.
pub(super) async fn ask(
    connection: &mut Connection,
    who: &Identity,
    key: Option<String>,
    asked: Asked<'_>,
) -> Result<(StatusCode, axum::Json<Started>), Problem> {
    let mut tries = 1;
    let (run_id, repeated) = loop {
        match ask_once(connection, who, key.as_deref(), &asked).await {
            Err(problem) if problem.is_collision && tries < TRIES => tries += 1,
            result => break result?,
        }
    };
    let run = find(connection, run_id).await?.into();
    Ok((StatusCode::ACCEPTED, axum::Json(Started { run, repeated })))
}

async fn ask_once(
    connection: &mut Connection,
    who: &Identity,
    key: Option<&str>,
    asked: &Asked<'_>,
) -> Result<(i64, bool), Problem> {
    requests::in_transaction(connection, async |connection| {
        if let Some(key) = key {
            match requests::hold_key(connection, who.token_id, key, &fingerprint(asked)).await? {
                KeyState::New => {}
                KeyState::Made(run_id) => return Ok((run_id, true)),
                KeyState::ForSomethingElse => {
                    return Err(Problem::unprocessable(format!(
                        "the `Idempotency-Key` `{key}` was sent with another request before; send a new one"
                    )));
                }
            }
        }
        let request = Request {
            task_id: asked.task_id,
            requested_by: who.actor(),
            args: asked.args.clone(),
            as_of: asked.as_of,
            claim_for: None,
            force: asked.force,
        };
        let run_id = requests::request(connection, &request, asked.script_sha256.as_ref())
            .await?
            .ok_or_else(|| Problem::not_found(format!("the task `{}` is gone", asked.subject)))?;
        if let Some(key) = key {
            requests::settle_key(connection, who.token_id, key, run_id).await?;
        }
        // Its arguments stand in its row, with every digit.
        let after = json!({ "run_id": run_id, "as_of": asked.as_of, "force": asked.force, "again": asked.again,
                            "script_sha256": asked.script_sha256 });
        change::record(connection, who, asked.action, asked.subject, None, Some(after)).await?;
        Ok((run_id, false))
    })
    .await
}

fn fingerprint(asked: &Asked<'_>) -> [u8; 32] {
    let text = json!([
        asked.action,
        asked.task_id,
        asked.args,
        asked.as_of,
        asked.force,
        asked.script_sha256,
        asked.again
    ])
    .to_string();
    Sha256::digest(text.as_bytes()).into()
}

/// The header `Idempotency-Key`, if it was sent.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    const LONGEST: usize = 200;
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    match value.to_str() {
        Ok(key) if !key.trim().is_empty() && key.len() <= LONGEST => Ok(Some(key.trim().to_owned())),
        _ => Err(Problem::bad_request(format!(
            "`Idempotency-Key` must be text of 1 to {LONGEST} plain characters, such as a UUID"
        ))),
    }
}

/// What became of a request to stop a run.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Cancelled {
    /// The run.
    pub run_id: i64,
    /// Its task.
    pub task: String,
    /// Whether this request is the one that stops it; no: it has ended, or was asked to stop before.
    pub asked: bool,
    /// How it stood then.
    pub status: String,
}

/// Stop a run, wherever it runs.
#[utoipa::path(post, path = "/api/v1/runs/{run_id}/cancel", tag = "runs", params(("run_id" = i64, Path)), responses((status = 202, body = Cancelled), super::problem::Refusals))]
pub async fn cancel_run(
    State(api): App,
    who: Identity,
    Segment(run_id): Segment<i64>,
) -> Result<(StatusCode, axum::Json<Cancelled>), Problem> {
    let mut connection = api.database.connection().await?;
    let asked = requests::in_transaction(&mut connection, async |connection| {
        let asked = store_runs::cancel(connection, run_id, &who.actor()).await?;
        if asked {
            let subject = format!("run {run_id}");
            change::record(connection, &who, "run.cancel", &subject, None, None).await?;
        }
        Ok::<_, Problem>(asked)
    })
    .await?;
    let row = find(&mut connection, run_id).await?;
    let cancelled = Cancelled {
        run_id,
        task: row.task_name,
        asked,
        status: row.status,
    };
    Ok((StatusCode::ACCEPTED, axum::Json(cancelled)))
}

/// Run again what a run stood for: the same task, arguments and instant, with the version in force now; with its own if somebody had asked for that.
#[utoipa::path(post, path = "/api/v1/runs/{run_id}/retry", tag = "runs",
    params(("run_id" = i64, Path), ("Idempotency-Key" = Option<String>, Header)),
    responses((status = 202, body = Started), super::problem::Refusals))]
pub async fn retry_run(
    State(api): App,
    who: Identity,
    Segment(run_id): Segment<i64>,
    headers: HeaderMap,
) -> Result<(StatusCode, axum::Json<Started>), Problem> {
    let key = idempotency_key(&headers)?;
    let mut connection = api.database.connection().await?;
    let row = find(&mut connection, run_id).await?;
    let status: Result<Status, _> = row.status.parse();
    if status.is_ok_and(Status::is_active) {
        return Err(Problem::conflict(format!(
            "run {run_id} is {}; it can be run again when it has ended, or `POST /api/v1/runs/{run_id}/cancel` stops it",
            row.status
        )));
    }
    let extra = pages::run_extra(&mut connection, run_id)
        .await?
        .ok_or_else(|| no_run(run_id))?;
    let Some(task) = extra.task_now else {
        return Err(Problem::conflict(format!(
            "the task of run {run_id} is gone; it cannot be run again"
        )));
    };
    // A manual run stood for the moment at which somebody asked; so does this one.
    let stood_for = (row.trigger != "manual").then_some(row.scheduled_for);
    let asked = Asked {
        task_id: row.task_id,
        args: extra.args,
        as_of: row.as_of.or(stood_for),
        force: false,
        script_sha256: row.script_sha256.filter(|_| extra.is_pinned),
        again: Some(run_id),
        subject: &task,
        action: "run.retry",
    };
    ask(&mut connection, &who, key, asked).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_from_a_traceback() {
        let text = "Traceback (most recent call last):\n  File \"/srv/scripts/prices/btc.py\", line 12, in run\n    x()\n  \
                    File \"/usr/lib/python3/json/decoder.py\", line 355, in raw_decode\nValueError: \"File \\\"x\"\n";
        let found = frames(text, Some("prices/btc.py"));
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].line, found[0].function.as_str(), found[0].is_script),
            (12, "run", true)
        );
        assert_eq!((found[1].line, found[1].is_script), (355, false));
        assert!(frames("", None).is_empty());
    }

    #[test]
    fn a_filter_says_what_it_cannot_be() {
        let query = |change: fn(&mut RunQuery)| {
            let mut query = RunQuery::default();
            change(&mut query);
            query.filter().map_err(|problem| problem.detail)
        };
        assert!(query(|_| {}).is_ok());
        assert!(
            query(|query| query.status = Some("bad".to_owned()))
                .unwrap_err()
                .contains("`bad`")
        );
        assert!(
            query(|query| query.value_min = Some(1.0))
                .unwrap_err()
                .contains("value_path")
        );
        let nan = query(|query| {
            query.value_path = Some("a".to_owned());
            query.value_max = Some(f64::NAN);
        });
        assert!(nan.unwrap_err().contains("value_max"));
    }
}
