//! History: what is known about a task and about instants of it, read for `why`.
//!
//! Reads in two looks: the stories of the tasks that have or had a name, and then what is around the instants that matter.
//! Decides nothing; which instants those are is the business of `why`.

use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Binary, Bool, Double, Jsonb, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::RunQueryDsl;
use jiff::{SignedDuration, Timestamp};

use super::column::{Instant, MaybeHashColumn, MaybeInstant, instants};
use super::statement::statement;
use super::{Connection, StoreError};
use crate::script::ContentHash;
use crate::why::{self, Active, Event, Facts, NodeFact, RunFact, Scene, Story, Task, Time};

/// What is known of a name, and of the instants that a time asks about.
#[derive(Debug)]
pub enum Found {
    /// All that an answer is made from.
    Facts(Box<Facts>),
    /// No task has or had the name; the names there are.
    NoTask(Vec<String>),
}

/// Reads all that `why::answer` wants to know.
pub async fn read(connection: &mut Connection, name: &str, time: Time) -> Result<Found, StoreError> {
    let stories = stories(connection, name).await?;
    let Some(story) = why::choose(stories, name, time) else {
        return Ok(Found::NoTask(names(connection).await?));
    };
    let instants = why::instants_that_matter(&story, time);
    let scenes = scenes(connection, story.task.task_id, &instants).await?;
    let active = active(connection, story.task.task_id).await?;
    Ok(Found::Facts(Box::new(Facts { story, scenes, active })))
}

/// The story of the task that has a name: the one that is there, else the last that was.
pub async fn story(connection: &mut Connection, name: &str) -> Result<Option<Story>, StoreError> {
    let stories = stories(connection, name).await?;
    Ok(stories.into_iter().find(|story| story.task.name == name))
}

statement! {
    struct TurningPointOf = "history/turning_point.sql" { task_id: i64 => BigInt }
}

/// When a task began to fail.
#[derive(Clone, Debug, QueryableByName)]
pub struct TurningPoint {
    /// The instant of its newest failure.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub failed_at: Timestamp,
    /// The last run that succeeded before that; none is known.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub good_run_id: Option<i64>,
    /// The first that failed after it.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub bad_run_id: Option<i64>,
}

/// When a task began to fail last. `None`: no run of it failed.
pub async fn turning_point(connection: &mut Connection, task_id: i64) -> Result<Option<TurningPoint>, StoreError> {
    Ok(TurningPointOf { task_id }.load(connection).await?.pop())
}

statement! {
    struct SideOf = "history/side.sql" { run_id: i64 => BigInt, task_id: i64 => BigInt }
}

/// A run, to be compared with another.
#[derive(Clone, Debug, QueryableByName)]
pub struct Side {
    /// Its number.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// Its instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub scheduled_for: Timestamp,
    /// 1 for the first try.
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    /// What asked for it.
    #[diesel(sql_type = Text)]
    pub trigger: String,
    /// The instant that the script was told, where that is another.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub as_of: Option<Timestamp>,
    /// How it stands.
    #[diesel(sql_type = Text)]
    pub status: String,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    /// The facts behind the reason.
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
    /// What went wrong.
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    /// How long it ran.
    #[diesel(sql_type = Nullable<Double>)]
    pub duration_ms: Option<f64>,
    /// How late it started.
    #[diesel(sql_type = Nullable<Double>)]
    pub start_delay_ms: Option<f64>,
    /// Its peak of memory.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub max_rss_kb: Option<i64>,
    /// Its CPU time.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cpu_ms: Option<i64>,
    /// What it returned, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub return_value: Option<String>,
    /// What people should know.
    #[diesel(sql_type = Array<Text>)]
    pub warnings: Vec<String>,
    /// Keyword arguments given for it alone, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub args: Option<String>,
    /// What it was held to, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub limits: Option<String>,
    /// The version that ran.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub script_sha256: Option<ContentHash>,
    /// The bytes of it.
    #[diesel(sql_type = Nullable<Binary>)]
    pub content: Option<Vec<u8>>,
    /// The header of it, as JSON.
    #[diesel(sql_type = Nullable<Text>)]
    pub header: Option<String>,
    /// The version of the interpreter; of a run that never started, that of its node.
    #[diesel(sql_type = Nullable<Text>)]
    pub python: Option<String>,
    /// Whether it was written down which packages it had: not of runs that never started, and of lost ones.
    #[diesel(sql_type = Bool)]
    pub packages_known: bool,
    /// The lock of its packages; none: it had none.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub lock_sha256: Option<ContentHash>,
    /// What is in the lock.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock_content: Option<String>,
    /// The oldest Python that it was resolved for.
    #[diesel(sql_type = Nullable<Text>)]
    pub lock_python: Option<String>,
    /// The host that it ran on.
    #[diesel(sql_type = Nullable<Text>)]
    pub host: Option<String>,
    /// The version of dropcron there.
    #[diesel(sql_type = Nullable<Text>)]
    pub version: Option<String>,
}

/// One run of a task. `None`: the task has no such run.
pub async fn side(connection: &mut Connection, task_id: i64, run_id: i64) -> Result<Option<Side>, StoreError> {
    Ok(SideOf { run_id, task_id }.load(connection).await?.pop())
}

statement! {
    struct OpenInstants<'a> = "history/open.sql" { task_id: i64 => BigInt, instants: &'a [Instant] => Array<Timestamptz> }
}

/// What became of an instant, in short.
#[derive(Clone, Debug, QueryableByName)]
pub struct Became {
    /// The instant.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub at: Timestamp,
    /// A run of it succeeded, or one that stands for it.
    #[diesel(sql_type = Bool)]
    pub succeeded: bool,
    /// One is queued or running.
    #[diesel(sql_type = Bool)]
    pub active: bool,
    /// What its last row says; none: it has none.
    #[diesel(sql_type = Nullable<Text>)]
    pub status: Option<String>,
    /// Why.
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
}

/// What became of each of these instants of a task, in order.
pub async fn became(connection: &mut Connection, task_id: i64, asked: &[Timestamp]) -> Result<Vec<Became>, StoreError> {
    let instants = &instants(asked.iter().copied());
    OpenInstants { task_id, instants }.load(connection).await
}

statement! {
    struct NamedTasks<'a> = "history/tasks.sql" { name: &'a str => Text }
}

#[derive(QueryableByName)]
struct TaskRow {
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    now: Timestamp,
    #[diesel(sql_type = BigInt)]
    task_id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    created_at: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    retired_at: Option<Timestamp>,
    #[diesel(sql_type = Array<Text>)]
    schedule: Vec<String>,
    #[diesel(sql_type = Text)]
    timezone: String,
    #[diesel(sql_type = Nullable<Array<Text>>)]
    schedule_override: Option<Vec<String>>,
    #[diesel(sql_type = Nullable<Text>)]
    timezone_override: Option<String>,
    #[diesel(sql_type = Bool)]
    enabled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    paused_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    paused_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    paused_reason: Option<String>,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    updated_at: Timestamp,
    #[diesel(sql_type = Bool)]
    changing: bool,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    next_fire_at: Option<Timestamp>,
    #[diesel(sql_type = Double)]
    due_offset_seconds: f64,
    #[diesel(sql_type = Text)]
    overlap: String,
    #[diesel(sql_type = Text)]
    missed: String,
    #[diesel(sql_type = Nullable<Double>)]
    grace_seconds: Option<f64>,
    #[diesel(sql_type = SmallInt)]
    max_running: i16,
    #[diesel(sql_type = Text)]
    queue: String,
    #[diesel(sql_type = Array<Text>)]
    required_tags: Vec<String>,
    #[diesel(sql_type = Nullable<Text>)]
    concurrency_group: Option<String>,
    #[diesel(sql_type = SmallInt)]
    group_max_running: i16,
    #[diesel(sql_type = Nullable<Text>)]
    packages_problem: Option<String>,
    #[diesel(sql_type = BigInt)]
    live_nodes: i64,
    #[diesel(sql_type = BigInt)]
    serving_nodes: i64,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    horizon: Option<Timestamp>,
}

/// The stories of the tasks that have or had a name.
async fn stories(connection: &mut Connection, name: &str) -> Result<Vec<Story>, StoreError> {
    let rows: Vec<TaskRow> = NamedTasks { name }.load(connection).await?;
    let mut stories = Vec::new();
    for row in rows {
        let events = events(connection, row.task_id).await?;
        stories.push(Story {
            now: row.now,
            horizon: row.horizon,
            events,
            task: task_of(row),
        });
    }
    Ok(stories)
}

fn task_of(row: TaskRow) -> Task {
    let group_max_running = row.group_max_running;
    Task {
        task_id: row.task_id,
        name: row.name,
        created_at: row.created_at,
        retired_at: row.retired_at,
        schedule: row.schedule,
        timezone: row.timezone,
        schedule_override: row.schedule_override,
        timezone_override: row.timezone_override,
        enabled: row.enabled,
        paused_at: row.paused_at,
        paused_by: row.paused_by,
        paused_reason: row.paused_reason,
        updated_at: row.updated_at,
        changing: row.changing,
        next_fire_at: row.next_fire_at,
        due_offset: SignedDuration::try_from_secs_f64(row.due_offset_seconds).unwrap_or_default(),
        overlap: row.overlap,
        missed: row.missed,
        grace: row
            .grace_seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        max_running: row.max_running,
        queue: row.queue,
        required_tags: row.required_tags,
        group: row.concurrency_group.map(|group| (group, group_max_running)),
        packages_problem: row.packages_problem,
        live_nodes: row.live_nodes,
        serving_nodes: row.serving_nodes,
    }
}

statement! {
    struct TaskEvents = "history/events.sql" { task_id: i64 => BigInt }
}

#[derive(QueryableByName)]
struct EventRow {
    #[diesel(sql_type = BigInt)]
    event_id: i64,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    at: Timestamp,
    #[diesel(sql_type = Text)]
    actor: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Nullable<Jsonb>)]
    before: Option<serde_json::Value>,
    #[diesel(sql_type = Nullable<Jsonb>)]
    after: Option<serde_json::Value>,
}

async fn events(connection: &mut Connection, task_id: i64) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<EventRow> = TaskEvents { task_id }.load(connection).await?;
    let event = |row: EventRow| Event {
        event_id: row.event_id,
        at: row.at,
        actor: row.actor,
        kind: row.kind,
        before: row.before.unwrap_or_default(),
        after: row.after.unwrap_or_default(),
    };
    Ok(rows.into_iter().map(event).collect())
}

statement! {
    struct TaskNames = "history/names.sql" {}
}

#[derive(QueryableByName)]
struct NameRow {
    #[diesel(sql_type = Text)]
    name: String,
}

/// The names that tasks have or had.
pub async fn names(connection: &mut Connection) -> Result<Vec<String>, StoreError> {
    let rows: Vec<NameRow> = TaskNames {}.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.name).collect())
}

statement! {
    struct RowsAround<'a> = "history/rows.sql" { task_id: i64 => BigInt, instants: &'a [Instant] => Array<Timestamptz> }
}

#[derive(QueryableByName)]
struct RunRow {
    #[diesel(sql_type = Text)]
    part: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    at: Timestamp,
    #[diesel(sql_type = BigInt)]
    run_id: i64,
    #[diesel(sql_type = Text)]
    task_name: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    scheduled_for: Timestamp,
    #[diesel(sql_type = SmallInt)]
    attempt: i16,
    #[diesel(sql_type = Text)]
    trigger: String,
    #[diesel(sql_type = Text)]
    status: String,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    detail: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    as_of: Option<Timestamp>,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    queued_at: Timestamp,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    due_at: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    started_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    finished_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<BigInt>)]
    missed_count: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    missed_until: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Text>)]
    requested_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    error: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    node: Option<String>,
}

statement! {
    struct NodesAround<'a> = "history/nodes.sql" { instants: &'a [Instant] => Array<Timestamptz> }
}

#[derive(QueryableByName)]
struct NodeRow {
    #[diesel(sql_type = Text)]
    part: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    at: Timestamp,
    #[diesel(sql_type = Text)]
    node: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    started_at: Timestamp,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    connected_since: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    seen_until: Option<Timestamp>,
}

/// What is around each of these instants.
async fn scenes(connection: &mut Connection, task_id: i64, around: &[Timestamp]) -> Result<Vec<Scene>, StoreError> {
    let mut scenes: Vec<Scene> = around.iter().copied().map(Scene::empty).collect();
    let around = instants(around.iter().copied());
    let rows: Vec<RunRow> = RowsAround {
        task_id,
        instants: &around,
    }
    .load(connection)
    .await?;
    let nodes: Vec<NodeRow> = NodesAround { instants: &around }.load(connection).await?;
    for row in rows {
        let Some(scene) = scene_at(&mut scenes, row.at) else {
            continue;
        };
        let part = row.part.clone();
        let run = run_fact(row)?;
        match part.as_str() {
            "own" => scene.rows.push(run),
            "span" => scene.span = Some(run),
            "after_span" => scene.after_span = Some(run),
            "in_the_way" => scene.in_the_way = Some(run),
            _ => scene.stand_ins.push(run),
        }
    }
    for row in nodes {
        let Some(scene) = scene_at(&mut scenes, row.at) else {
            continue;
        };
        let node = NodeFact {
            node: row.node,
            started_at: row.started_at,
            connected_since: row.connected_since,
            seen_until: row.seen_until,
        };
        match row.part.as_str() {
            "there" => scene.nodes.push(node),
            "before" => scene.node_before = Some(node),
            _ => scene.node_after = Some(node),
        }
    }
    Ok(scenes)
}

/// Postgres keeps microseconds: what was asked more finely comes back cut off.
fn scene_at(scenes: &mut [Scene], at: Timestamp) -> Option<&mut Scene> {
    scenes
        .iter_mut()
        .find(|scene| scene.at.as_microsecond() == at.as_microsecond())
}

fn run_fact(row: RunRow) -> Result<RunFact, StoreError> {
    Ok(RunFact {
        run_id: row.run_id,
        task: row.task_name,
        scheduled_for: row.scheduled_for,
        attempt: row.attempt,
        trigger: word(&row.trigger)?,
        status: word(&row.status)?,
        reason: row.reason.as_deref().map(word).transpose()?,
        detail: row.detail,
        as_of: row.as_of,
        queued_at: row.queued_at,
        due_at: row.due_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        error: row.error,
        missed_count: row.missed_count,
        missed_until: row.missed_until,
        requested_by: row.requested_by,
        node: row.node,
    })
}

/// A word that a newer version wrote is not ours to guess.
fn word<T: std::str::FromStr<Err = crate::run::UnknownWord>>(text: &str) -> Result<T, StoreError> {
    text.parse()
        .map_err(|error| StoreError::DeserializationError(Box::new(error)))
}

statement! {
    struct ActiveRuns = "history/active.sql" { task_id: i64 => BigInt }
}

#[derive(QueryableByName)]
struct ActiveRow {
    #[diesel(sql_type = BigInt)]
    run_id: i64,
    #[diesel(sql_type = Text)]
    task_name: String,
    #[diesel(sql_type = Bool)]
    is_own: bool,
    #[diesel(sql_type = Text)]
    state: String,
    #[diesel(sql_type = Bool)]
    is_catch_up: bool,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    due_at: Timestamp,
    #[diesel(sql_type = Bool)]
    holds_slot: bool,
    #[diesel(sql_type = Nullable<Bool>)]
    holds_group_slot: Option<bool>,
    #[diesel(sql_type = Bool)]
    exempt: bool,
    #[diesel(sql_type = Nullable<Text>)]
    node: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    cancel_requested_by: Option<String>,
}

async fn active(connection: &mut Connection, task_id: i64) -> Result<Vec<Active>, StoreError> {
    let rows: Vec<ActiveRow> = ActiveRuns { task_id }.load(connection).await?;
    let active = |row: ActiveRow| Active {
        run_id: row.run_id,
        task: row.task_name,
        is_own: row.is_own,
        state: row.state,
        is_catch_up: row.is_catch_up,
        due_at: row.due_at,
        holds_slot: row.holds_slot,
        holds_group_slot: row.holds_group_slot.unwrap_or(false),
        exempt: row.exempt,
        node: row.node,
        cancel_requested_by: row.cancel_requested_by,
    };
    Ok(rows.into_iter().map(active).collect())
}
