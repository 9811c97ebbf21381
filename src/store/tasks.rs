//! Tasks: registered from files, planned onto cursors, paused and read by people.

use std::collections::HashMap;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;

use super::column::{HashColumn, Instant, MaybeHashColumn, MaybeInstant, instants, maybe_instants};
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::{ContentHash, Header, Notify};

/// A script's content, to be kept.
#[derive(Clone, Debug)]
pub struct Version {
    /// Hash of `content`.
    pub sha256: ContentHash,
    /// The bytes of the file.
    pub content: Vec<u8>,
    /// What Python's parser says of it, as JSON.
    pub inspection: Option<String>,
}

statement! {
    struct StoreVersions<'a> = "tasks/store_versions.sql" {
        sha256: &'a [&'a [u8]] => Array<Binary>,
        contents: &'a [&'a [u8]] => Array<Binary>,
        inspections: &'a [Option<&'a str>] => Array<Nullable<Text>>,
    }
}

/// Keeps contents that are not known yet.
pub async fn store_versions(connection: &mut Connection, versions: &[Version]) -> Result<(), StoreError> {
    let mut distinct: Vec<&Version> = versions.iter().collect();
    distinct.sort_by_key(|version| version.sha256);
    distinct.dedup_by_key(|version| version.sha256);
    let statement = StoreVersions {
        sha256: &distinct
            .iter()
            .map(|version| version.sha256.as_bytes().as_slice())
            .collect::<Vec<_>>(),
        contents: &distinct
            .iter()
            .map(|version| version.content.as_slice())
            .collect::<Vec<_>>(),
        inspections: &distinct
            .iter()
            .map(|version| version.inspection.as_deref())
            .collect::<Vec<_>>(),
    };
    statement.execute(connection).await.map(drop)
}

statement! {
    struct Content<'a> = "tasks/content.sql" { sha256: &'a [u8] => Binary }
}

#[derive(QueryableByName)]
struct ContentRow {
    #[diesel(sql_type = Binary)]
    content: Vec<u8>,
}

/// The bytes of a version.
pub async fn content(connection: &mut Connection, sha256: ContentHash) -> Result<Option<Vec<u8>>, StoreError> {
    let rows: Vec<ContentRow> = Content {
        sha256: sha256.as_bytes(),
    }
    .load(connection)
    .await?;
    Ok(rows.into_iter().next().map(|row| row.content))
}

/// A task as its file wants it.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The task's name.
    pub name: String,
    /// `directory` or `ad_hoc`.
    pub source: &'static str,
    /// The file, relative to the scripts directory or absolute.
    pub script_path: String,
    /// `source`, `bytecode` or `extension`.
    pub script_kind: &'static str,
    /// The version in force.
    pub script_sha256: ContentHash,
    /// Whether `run` is declared async.
    pub is_async: bool,
    /// The header in force.
    pub header: Header,
    /// The zone of its schedule, resolved.
    pub timezone: String,
    /// Its time limit in seconds, resolved; none: no limit.
    pub timeout_seconds: Option<f64>,
    /// Who is told what, with the default for what the header leaves out.
    pub notify: Notify,
    /// What is wrong with the file as it is on disk.
    pub problem: Option<String>,
    /// The Python versions that it works with, wherever it says so.
    pub requires_python: Option<String>,
    /// What it asks for; there is a row for it. None: no packages.
    pub requirements_sha256: Option<ContentHash>,
}

impl Registration {
    /// The column `notify_after`.
    pub fn notify_after(&self) -> i32 {
        self.notify
            .after
            .and_then(|after| i32::try_from(after).ok())
            .unwrap_or(1)
    }

    /// The column `notify_recovery`.
    pub fn notify_recovery(&self) -> bool {
        self.notify.recovery.unwrap_or(true)
    }

    /// The column `notify_to`.
    pub fn notify_to(&self) -> &[String] {
        self.notify.to.as_deref().unwrap_or_default()
    }

    /// The column `late_after_seconds`.
    pub fn late_after_seconds(&self) -> Option<f64> {
        self.notify.late_after.map(|late_after| late_after.as_secs_f64())
    }

    /// The columns of `task` that belong to the syncer, as one JSON object.
    fn columns(&self) -> serde_json::Value {
        let header = &self.header;
        let seconds = |duration: std::time::Duration| duration.as_secs_f64();
        serde_json::json!({
            "name": self.name, "source": self.source, "script_path": self.script_path, "script_kind": self.script_kind,
            "script_sha256": self.script_sha256.to_string(), "is_async": self.is_async, "schedule": header.schedule,
            "timezone": self.timezone, "enabled": header.enabled, "timeout_seconds": self.timeout_seconds,
            "retry_max": header.retries.max, "retry_delay_seconds": seconds(header.retries.delay),
            "retry_backoff": header.retries.backoff, "retry_cap_seconds": seconds(header.retries.cap),
            "retry_on": header.retries.on.iter().map(|on| on.as_str()).collect::<Vec<_>>(),
            "overlap": header.overlap.as_str(), "max_running": header.max_running,
            "concurrency_group": header.concurrency_group, "queue": header.queue, "required_tags": header.required_tags,
            "missed": header.missed.as_str(), "grace_seconds": header.grace.map(seconds),
            "catch_up_limit": header.catch_up_limit, "jitter_seconds": seconds(header.jitter), "env": header.env,
            "secrets": header.secrets, "args": header.args, "keep_return_value": header.keep_return_value,
            "limits": header.limits, "expectations": header.expectations,
            "keep_output_seconds": header.keep_output.map(seconds), "keep_runs_seconds": header.keep_runs.map(seconds),
            "description": header.description, "owner": header.owner, "tags": header.tags,
            "header": header, "problem": self.problem, "notify_after": self.notify_after(),
            "notify_recovery": self.notify_recovery(), "notify_to": self.notify_to(),
            "late_after_seconds": self.late_after_seconds(),
            "python": header.python, "requires_python": self.requires_python,
            "requirements_sha256": self.requirements_sha256.map(|hash| hash.to_string()),
        })
    }
}

statement! {
    struct Register<'a> = "tasks/register.sql" { tasks: &'a str => Text, actor: &'a str => Text }
}

/// A task's number and name.
#[derive(Clone, Debug, QueryableByName)]
pub struct Named {
    /// Number.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Name.
    #[diesel(sql_type = Text)]
    pub name: String,
}

/// Brings tasks in line with their files. Their versions must be stored.
pub async fn register(
    connection: &mut Connection,
    registrations: &[Registration],
    actor: &str,
) -> Result<Vec<Named>, StoreError> {
    let tasks: Vec<serde_json::Value> = registrations.iter().map(Registration::columns).collect();
    Register {
        tasks: &serde_json::Value::Array(tasks).to_string(),
        actor,
    }
    .load(connection)
    .await
}

/// A task of the scripts directory, as the syncer compares it with its file.
#[derive(Clone, Debug, QueryableByName)]
pub struct Registered {
    /// Number.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Name.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// Its file.
    #[diesel(sql_type = Text)]
    pub script_path: String,
    /// The version in force.
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    pub script_sha256: ContentHash,
    /// What is wrong with the file.
    #[diesel(sql_type = Nullable<Text>)]
    pub problem: Option<String>,
    /// The header in force, as JSON.
    #[diesel(sql_type = Text)]
    pub header: String,
    /// The zone of its schedule.
    #[diesel(sql_type = Text)]
    pub timezone: String,
    /// Its time limit; none: no limit.
    #[diesel(sql_type = Nullable<Double>)]
    pub timeout_seconds: Option<f64>,
    /// After how many failures in a row its channels are told.
    #[diesel(sql_type = Integer)]
    pub notify_after: i32,
    /// Whether a recovery is told.
    #[diesel(sql_type = Bool)]
    pub notify_recovery: bool,
    /// Its channels.
    #[diesel(sql_type = Array<Text>)]
    pub notify_to: Vec<String>,
    /// How late it may start before that is told.
    #[diesel(sql_type = Nullable<Double>)]
    pub late_after_seconds: Option<f64>,
    /// The Python versions that it works with.
    #[diesel(sql_type = Nullable<Text>)]
    pub requires_python: Option<String>,
    /// What the version in force asks for.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub requirements_sha256: Option<ContentHash>,
    /// What its file asks for while that is not ready.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub next_requirements_sha256: Option<ContentHash>,
}

statement! {
    struct Inspections<'a> = "tasks/inspections.sql" { sha256: &'a [&'a [u8]] => Array<Binary> }
}

#[derive(QueryableByName)]
struct InspectionRow {
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    sha256: ContentHash,
    #[diesel(sql_type = Text)]
    inspection: String,
}

/// What is known of contents already, as JSON.
pub async fn inspections(
    connection: &mut Connection,
    hashes: &[ContentHash],
) -> Result<std::collections::HashMap<ContentHash, String>, StoreError> {
    let bytes: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_bytes().as_slice()).collect();
    let rows: Vec<InspectionRow> = Inspections { sha256: &bytes }.load(connection).await?;
    Ok(rows.into_iter().map(|row| (row.sha256, row.inspection)).collect())
}

statement! {
    struct RegisteredTasks = "tasks/registered.sql" {}
}

/// The tasks of the scripts directory.
pub async fn registered(connection: &mut Connection) -> Result<Vec<Registered>, StoreError> {
    RegisteredTasks {}.load(connection).await
}

statement! {
    struct SetProblem<'a> = "tasks/set_problem.sql" {
        task_ids: &'a [i64] => Array<BigInt>,
        problems: &'a [String] => Array<Text>,
    }
}

/// Shows what is wrong with files, or that nothing is any more (an empty text).
pub async fn set_problems(
    connection: &mut Connection,
    task_ids: &[i64],
    problems: &[String],
) -> Result<(), StoreError> {
    SetProblem { task_ids, problems }.execute(connection).await.map(drop)
}

statement! {
    struct Rename<'a> = "tasks/rename.sql" { task_id: i64 => BigInt, name: &'a str => Text, script_path: &'a str => Text }
}

/// Gives a task its file's new name.
pub async fn rename(
    connection: &mut Connection,
    task_id: i64,
    name: &str,
    script_path: &str,
) -> Result<(), StoreError> {
    Rename {
        task_id,
        name,
        script_path,
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct Retire<'a> = "tasks/retire.sql" { task_ids: &'a [i64] => Array<BigInt> }
}

/// Retires tasks whose files are gone.
pub async fn retire(connection: &mut Connection, task_ids: &[i64]) -> Result<(), StoreError> {
    Retire { task_ids }.execute(connection).await.map(drop)
}

/// A task whose cursor does not follow its definition yet.
#[derive(Clone, Debug, QueryableByName)]
pub struct ToPlan {
    /// Number.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Name: what its jitter is hashed from.
    #[diesel(sql_type = Text)]
    pub name: String,
    /// The revision to plan.
    #[diesel(sql_type = BigInt)]
    pub revision: i64,
    /// When the definition changed: the new one holds from then on.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub changed_at: Timestamp,
    /// The schedule wanted.
    #[diesel(sql_type = Array<Text>)]
    pub schedule: Vec<String>,
    /// The zone wanted.
    #[diesel(sql_type = Text)]
    pub timezone: String,
    /// Width of the jitter window.
    #[diesel(sql_type = Double)]
    pub jitter_seconds: f64,
    /// Whether it is paused.
    #[diesel(sql_type = Bool)]
    pub paused: bool,
    /// Whether its header enables it.
    #[diesel(sql_type = Bool)]
    pub enabled: bool,
    /// Whether its file is gone.
    #[diesel(sql_type = Bool)]
    pub retired: bool,
    /// The schedule that the cursor follows; none before the first plan.
    #[diesel(sql_type = Nullable<Array<Text>>)]
    pub planned_schedule: Option<Vec<String>>,
    /// The zone that the cursor follows.
    #[diesel(sql_type = Nullable<Text>)]
    pub planned_timezone: Option<String>,
    /// Why the cursor stands still.
    #[diesel(sql_type = Nullable<Text>)]
    pub planned_idle: Option<String>,
    /// The cursor.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub next_fire_at: Option<Timestamp>,
    /// All instants up to this one are settled.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_fire_at: Option<Timestamp>,
}

statement! {
    struct ToPlanTasks = "tasks/to_plan.sql" {}
}

/// Tasks that are to be planned and owe nothing from before their change: at most 1,000 a call.
pub async fn to_plan(connection: &mut Connection) -> Result<Vec<ToPlan>, StoreError> {
    ToPlanTasks {}.load(connection).await
}

/// A span of instants in which a task stood still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first instant.
    pub from: Timestamp,
    /// Its last instant.
    pub until: Timestamp,
    /// How many there are.
    pub count: i64,
    /// `paused` or `disabled`.
    pub reason: &'static str,
}

/// A cursor that follows a definition.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The task.
    pub task_id: i64,
    /// The revision that was planned.
    pub revision: i64,
    /// Where the cursor must still be.
    pub expected_next: Option<Timestamp>,
    /// What it must still have settled.
    pub expected_last: Option<Timestamp>,
    /// Where it goes.
    pub next_fire_at: Option<Timestamp>,
    /// What is settled thereby.
    pub last_fire_at: Timestamp,
    /// The task's share of its jitter.
    pub due_offset_seconds: f64,
    /// The schedule that it follows.
    pub schedule: Vec<String>,
    /// The zone that it follows.
    pub timezone: String,
    /// Why it stands still.
    pub idle: Option<&'static str>,
    /// Why the wanted schedule could not be planned.
    pub problem: Option<String>,
    /// Instants in which it stood still and which are to be recorded.
    pub span: Option<Span>,
}

statement! {
    struct PlanTasks<'a> = "tasks/plan.sql" {
        task_ids: &'a [i64] => Array<BigInt>,
        revisions: &'a [i64] => Array<BigInt>,
        expected_next: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        expected_last: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        next_fire_at: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        last_fire_at: &'a [Instant] => Array<Timestamptz>,
        due_offset_seconds: &'a [f64] => Array<Double>,
        schedules: &'a [String] => Array<Text>,
        timezones: &'a [&'a str] => Array<Text>,
        idle: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        problems: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        span_from: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        span_counts: &'a [Option<i64>] => Array<Nullable<BigInt>>,
        span_until: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        span_reasons: &'a [Option<&'a str>] => Array<Nullable<Text>>,
    }
}

/// Sets cursors. Those whose task or cursor changed meanwhile are left for the next pass.
pub async fn plan(connection: &mut Connection, planned: &[Planned]) -> Result<usize, StoreError> {
    let spans = || planned.iter().map(|plan| plan.span.as_ref());
    let statement = PlanTasks {
        task_ids: &planned.iter().map(|plan| plan.task_id).collect::<Vec<_>>(),
        revisions: &planned.iter().map(|plan| plan.revision).collect::<Vec<_>>(),
        expected_next: &maybe_instants(planned.iter().map(|plan| plan.expected_next)),
        expected_last: &maybe_instants(planned.iter().map(|plan| plan.expected_last)),
        next_fire_at: &maybe_instants(planned.iter().map(|plan| plan.next_fire_at)),
        last_fire_at: &instants(planned.iter().map(|plan| plan.last_fire_at)),
        due_offset_seconds: &planned.iter().map(|plan| plan.due_offset_seconds).collect::<Vec<_>>(),
        schedules: &planned
            .iter()
            .map(|plan| serde_json::json!(plan.schedule).to_string())
            .collect::<Vec<_>>(),
        timezones: &planned.iter().map(|plan| plan.timezone.as_str()).collect::<Vec<_>>(),
        idle: &planned.iter().map(|plan| plan.idle).collect::<Vec<_>>(),
        problems: &planned.iter().map(|plan| plan.problem.as_deref()).collect::<Vec<_>>(),
        span_from: &maybe_instants(spans().map(|span| span.map(|span| span.from))),
        span_counts: &spans().map(|span| span.map(|span| span.count)).collect::<Vec<_>>(),
        span_until: &maybe_instants(spans().map(|span| span.map(|span| span.until))),
        span_reasons: &spans().map(|span| span.map(|span| span.reason)).collect::<Vec<_>>(),
    };
    statement.execute(connection).await
}

/// An instant that is due soon.
#[derive(Clone, Copy, Debug, QueryableByName)]
pub struct Upcoming {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// Its cursor.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub next_fire_at: Timestamp,
    /// When that instant's run should start.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub next_due_at: Timestamp,
    /// The task's share of its jitter.
    #[diesel(sql_type = Double)]
    pub due_offset_seconds: f64,
    /// The revision of the plan in force.
    #[diesel(sql_type = BigInt)]
    pub planned_revision: i64,
    /// Whether a newer revision waits to be planned.
    #[diesel(sql_type = Bool)]
    pub changing: bool,
    /// When the definition last changed.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub changed_at: Timestamp,
    /// Whether the asking node may run it.
    #[diesel(sql_type = Bool)]
    pub served: bool,
    /// Whether it counts in a concurrency group.
    #[diesel(sql_type = Bool)]
    pub grouped: bool,
}

statement! {
    struct UpcomingInstants<'a> = "tasks/upcoming.sql" {
        queues: &'a [String] => Array<Text>,
        tags: &'a [String] => Array<Text>,
        from: Instant => Timestamptz,
        until: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// Instants that are due between two instants, in order.
pub async fn upcoming(
    connection: &mut Connection,
    queues: &[String],
    tags: &[String],
    from: Timestamp,
    until: Timestamp,
    limit: i64,
) -> Result<Vec<Upcoming>, StoreError> {
    UpcomingInstants {
        queues,
        tags,
        from: from.into(),
        until: until.into(),
        limit,
    }
    .load(connection)
    .await
}

/// The plan that a task's cursor follows.
#[derive(Clone, Debug, QueryableByName)]
pub struct PlanRow {
    /// The task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// The revision of the plan.
    #[diesel(sql_type = BigInt)]
    pub planned_revision: i64,
    /// The schedule.
    #[diesel(sql_type = Array<Text>)]
    pub planned_schedule: Vec<String>,
    /// The zone.
    #[diesel(sql_type = Text)]
    pub planned_timezone: String,
    /// What happens to missed instants.
    #[diesel(sql_type = Text)]
    pub missed: String,
    /// How late an instant may still start.
    #[diesel(sql_type = Nullable<Double>)]
    pub grace_seconds: Option<f64>,
    /// At most so many missed instants are run.
    #[diesel(sql_type = Integer)]
    pub catch_up_limit: i32,
}

statement! {
    struct Plans<'a> = "tasks/plans.sql" { task_ids: &'a [i64] => Array<BigInt> }
}

/// The plans in force of some tasks.
pub async fn plans(connection: &mut Connection, task_ids: &[i64]) -> Result<Vec<PlanRow>, StoreError> {
    Plans { task_ids }.load(connection).await
}

statement! {
    struct SetUnplannable<'a> = "tasks/set_unplannable.sql" { task_id: i64 => BigInt, problem: &'a str => Text }
}

/// Stops the cursor of a task whose plan in force cannot be read any more, and says why.
pub async fn set_unplannable(connection: &mut Connection, task_id: i64, problem: &str) -> Result<(), StoreError> {
    SetUnplannable { task_id, problem }.execute(connection).await.map(drop)
}

statement! {
    struct Pause<'a> = "tasks/pause.sql" {
        actor: &'a str => Text, reason: Option<&'a str> => Nullable<Text>, name: &'a str => Text,
    }
}

/// Pauses a task. `false`: it is not there, or was paused already.
pub async fn pause(
    connection: &mut Connection,
    name: &str,
    actor: &str,
    reason: Option<&str>,
) -> Result<bool, StoreError> {
    Ok(Pause { actor, reason, name }.execute(connection).await? > 0)
}

statement! {
    struct Resume<'a> = "tasks/resume.sql" { actor: &'a str => Text, name: &'a str => Text }
}

/// Resumes a task. `false`: it is not there, or was not paused.
pub async fn resume(connection: &mut Connection, name: &str, actor: &str) -> Result<bool, StoreError> {
    Ok(Resume { actor, name }.execute(connection).await? > 0)
}

/// A task with how it stands.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct TaskRow {
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = Text)]
    pub source: String,
    #[diesel(sql_type = Text)]
    pub script_path: String,
    #[diesel(sql_type = Array<Text>)]
    pub schedule: Vec<String>,
    #[diesel(sql_type = Text)]
    pub timezone: String,
    #[diesel(sql_type = Bool)]
    pub enabled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub paused_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub paused_reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub problem: Option<String>,
    #[diesel(sql_type = Bool)]
    pub is_building: bool,
    #[diesel(sql_type = Nullable<Text>)]
    pub description: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub owner: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    pub tags: Vec<String>,
    #[diesel(sql_type = Text)]
    pub overlap: String,
    #[diesel(sql_type = SmallInt)]
    pub max_running: i16,
    #[diesel(sql_type = Text)]
    pub missed: String,
    #[diesel(sql_type = Nullable<Double>)]
    pub timeout_seconds: Option<f64>,
    #[diesel(sql_type = Integer)]
    pub retry_max: i32,
    #[diesel(sql_type = Text)]
    pub args: String,
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub script_sha256: Option<ContentHash>,
    #[diesel(sql_type = Integer)]
    pub notify_after: i32,
    #[diesel(sql_type = Bool)]
    pub notify_recovery: bool,
    #[diesel(sql_type = Array<Text>)]
    pub notify_to: Vec<String>,
    #[diesel(sql_type = Nullable<Double>)]
    pub late_after_seconds: Option<f64>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub next_fire_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub last_run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub last_status: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_scheduled_for: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub last_finished_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Double>)]
    pub last_duration_ms: Option<f64>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub consecutive_failures: Option<i32>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub active_run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub active_state: Option<String>,
}

statement! {
    struct ListTasks<'a> = "tasks/list.sql" { name: Option<&'a str> => Nullable<Text> }
}

/// Tasks that are not retired: all, or the one of a name.
pub async fn list(connection: &mut Connection, name: Option<&str>) -> Result<Vec<TaskRow>, StoreError> {
    ListTasks { name }.load(connection).await
}

statement! {
    struct Headers<'a> = "tasks/headers.sql" { name: Option<&'a str> => Nullable<Text> }
}

#[derive(QueryableByName)]
struct HeaderRow {
    #[diesel(sql_type = BigInt)]
    task_id: i64,
    #[diesel(sql_type = Text)]
    header: String,
}

/// Headers in force as JSON, by the number of the task: of all that are not retired, or of the one of a name.
pub async fn headers(connection: &mut Connection, name: Option<&str>) -> Result<HashMap<i64, String>, StoreError> {
    let rows: Vec<HeaderRow> = Headers { name }.load(connection).await?;
    Ok(rows.into_iter().map(|row| (row.task_id, row.header)).collect())
}
