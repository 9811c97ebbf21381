//! Runs: claimed, fired, requested, started, finished, and read.
//!
//! The statements that every run passes (claim, fire, start, finish) take arrays: a batch is what gathered while the
//! previous statement ran.

use diesel::QueryableByName;
use diesel::sql_types::{
    Array, BigInt, Binary, Bool, Double, Integer, Nullable, SmallInt, Text, Timestamptz, Uuid as SqlUuid,
};
use diesel_async::RunQueryDsl;
use jiff::Timestamp;
use uuid::Uuid;

use super::column::{HashColumn, Instant, MaybeHashColumn, MaybeInstant, instants, maybe_instants};
use super::statement::statement;
use super::{Connection, StoreError, is_taken_by_another};
use crate::run::{LimitsInForce, Outcome, RunKey, Stop};
use crate::script::ContentHash;
use crate::series::Observation;

/// A run that a node has taken, with all that is needed to run it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Claim {
    /// The run.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// Its task.
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    /// The instant it stands for in the log.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub scheduled_for: Timestamp,
    /// 1 for the first try.
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    /// What asked for it.
    #[diesel(sql_type = Text)]
    pub trigger: String,
    /// When it should start.
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub due_at: Timestamp,
    /// The instant that the script is told, where that is not `scheduled_for`.
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub as_of: Option<Timestamp>,
    /// The task's name.
    #[diesel(sql_type = Text)]
    pub task_name: String,
    /// `directory` or `ad_hoc`.
    #[diesel(sql_type = Text)]
    pub source: String,
    /// The file, relative to the scripts directory or absolute.
    #[diesel(sql_type = Text)]
    pub script_path: String,
    /// `source`, `bytecode` or `extension`.
    #[diesel(sql_type = Text)]
    pub script_kind: String,
    /// The version to run.
    #[diesel(sql_type = Binary, deserialize_as = HashColumn)]
    pub script_sha256: ContentHash,
    /// Whether `run` is declared async.
    #[diesel(sql_type = Bool)]
    pub is_async: bool,
    /// Time limit from the go; none: no limit.
    #[diesel(sql_type = Nullable<Double>)]
    pub timeout_seconds: Option<f64>,
    /// How late it may start.
    #[diesel(sql_type = Nullable<Double>)]
    pub grace_seconds: Option<f64>,
    /// Names of environment variables to pass through.
    #[diesel(sql_type = Array<Text>)]
    pub env: Vec<String>,
    /// Names of secrets to give.
    #[diesel(sql_type = Array<Text>)]
    pub secrets: Vec<String>,
    /// Keyword arguments as a JSON object.
    #[diesel(sql_type = Text)]
    pub args: String,
    /// Whether the return value is stored.
    #[diesel(sql_type = Bool)]
    pub keep_return_value: bool,
    /// What it may take of the machine, as JSON; `Limits` reads it.
    #[diesel(sql_type = Text)]
    pub limits: String,
    /// The interpreter that its header names.
    #[diesel(sql_type = Nullable<Text>)]
    pub python: Option<String>,
    /// The Python versions that it works with.
    #[diesel(sql_type = Nullable<Text>)]
    pub requires_python: Option<String>,
    /// What it asks for; none: no packages.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub requirements_sha256: Option<ContentHash>,
    /// The packages in force; none: no packages, or they are not known yet.
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub lock_sha256: Option<ContentHash>,
}

impl Claim {
    /// The run's natural key.
    pub fn key(&self) -> RunKey {
        RunKey {
            run_id: self.run_id,
            task_id: self.task_id,
            scheduled_for: self.scheduled_for,
            attempt: self.attempt,
        }
    }
}

/// A run that `fire` or `request` made, and whether the asking node has claimed it.
#[derive(Clone, Debug, QueryableByName)]
pub struct Fired {
    /// The run; it is the node's own only if `claimed`.
    #[diesel(embed)]
    pub run: Claim,
    /// Whether the asking node owns it now.
    #[diesel(sql_type = Bool)]
    pub claimed: bool,
}

/// Who asks, and when it believes it to be: the statement itself refuses an estimate that runs ahead.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The node.
    pub node_id: Uuid,
    /// Its estimate of the database's clock.
    pub now: Timestamp,
    /// The uncertainty of that, seconds.
    pub error_seconds: f64,
}

/// A task's next instant, to be taken before it is due.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// The task.
    pub task_id: i64,
    /// Its next instant, as the cursor has it.
    pub scheduled_for: Timestamp,
    /// When that should start.
    pub due_at: Timestamp,
    /// The instant after it.
    pub next_fire_at: Option<Timestamp>,
    /// The revision that the instant after it was computed from; another one may ask for an earlier instant.
    pub planned_revision: i64,
}

statement! {
    struct ClaimAhead<'a> = "runs/claim_ahead.sql" {
        task_ids: &'a [i64] => Array<BigInt>,
        scheduled_for: &'a [Instant] => Array<Timestamptz>,
        due_at: &'a [Instant] => Array<Timestamptz>,
        next_fire_at: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        planned_revisions: &'a [i64] => Array<BigInt>,
        node_id: Uuid => SqlUuid,
        now: Instant => Timestamptz,
        lead_seconds: f64 => Double,
        error_seconds: f64 => Double,
    }
}

/// Takes instants a moment before they are due. What is not returned was not taken, and nothing about it has changed.
pub async fn claim_ahead(
    connection: &mut Connection,
    asker: Asker,
    lead_seconds: f64,
    ahead: &[Ahead],
) -> Result<Vec<Claim>, StoreError> {
    ClaimAhead {
        task_ids: &ahead.iter().map(|instant| instant.task_id).collect::<Vec<_>>(),
        scheduled_for: &instants(ahead.iter().map(|instant| instant.scheduled_for)),
        due_at: &instants(ahead.iter().map(|instant| instant.due_at)),
        next_fire_at: &maybe_instants(ahead.iter().map(|instant| instant.next_fire_at)),
        planned_revisions: &ahead.iter().map(|instant| instant.planned_revision).collect::<Vec<_>>(),
        node_id: asker.node_id,
        now: asker.now.into(),
        lead_seconds,
        error_seconds: asker.error_seconds,
    }
    .load(connection)
    .await
}

/// The movement of one task's cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The task.
    pub task_id: i64,
    /// Where the cursor must still be.
    pub expected: Timestamp,
    /// Where it goes; none: the schedule has no further instant.
    pub next_fire_at: Option<Timestamp>,
    /// The last instant that is settled thereby.
    pub last_fire_at: Timestamp,
    /// The revision that this was computed from.
    pub planned_revision: i64,
}

/// One row of the run log that a due instant, or a span of them, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The task.
    pub task_id: i64,
    /// The instant, or the first of a span.
    pub scheduled_for: Timestamp,
    /// When it should start, or should have started.
    pub due_at: Timestamp,
    /// `schedule` or `catch_up`.
    pub trigger: &'static str,
    /// `queued` for a run that is wanted, else `skipped` or `missed`.
    pub status: &'static str,
    /// The reason, for those that are not run.
    pub reason: Option<&'static str>,
    /// The facts behind it, in words.
    pub detail: Option<String>,
    /// For `missed`: how many instants.
    pub missed_count: Option<i64>,
    /// For `missed`: the last of them.
    pub missed_until: Option<Timestamp>,
    /// A run that waits for its turn whatever the overlap policy says.
    pub serial: bool,
}

statement! {
    struct Fire<'a> = "runs/fire.sql" {
        move_task_ids: &'a [i64] => Array<BigInt>,
        move_expected: &'a [Instant] => Array<Timestamptz>,
        move_next: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        move_last: &'a [Instant] => Array<Timestamptz>,
        move_revisions: &'a [i64] => Array<BigInt>,
        task_ids: &'a [i64] => Array<BigInt>,
        scheduled_for: &'a [Instant] => Array<Timestamptz>,
        due_at: &'a [Instant] => Array<Timestamptz>,
        triggers: &'a [&'a str] => Array<Text>,
        statuses: &'a [&'a str] => Array<Text>,
        reasons: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        details: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        missed_counts: &'a [Option<i64>] => Array<Nullable<BigInt>>,
        missed_until: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        serial: &'a [bool] => Array<Bool>,
        node_id: Uuid => SqlUuid,
        now: Instant => Timestamptz,
        error_seconds: f64 => Double,
        claim_limit: i32 => Integer,
    }
}

/// Consumes due instants: moves cursors and writes their rows. At most `claim_limit` of the wanted runs are claimed.
pub async fn fire(
    connection: &mut Connection,
    asker: Asker,
    moves: &[Move],
    lines: &[Line],
    claim_limit: usize,
) -> Result<Vec<Fired>, StoreError> {
    Fire {
        move_task_ids: &moves.iter().map(|each| each.task_id).collect::<Vec<_>>(),
        move_expected: &instants(moves.iter().map(|each| each.expected)),
        move_next: &maybe_instants(moves.iter().map(|each| each.next_fire_at)),
        move_last: &instants(moves.iter().map(|each| each.last_fire_at)),
        move_revisions: &moves.iter().map(|each| each.planned_revision).collect::<Vec<_>>(),
        task_ids: &lines.iter().map(|line| line.task_id).collect::<Vec<_>>(),
        scheduled_for: &instants(lines.iter().map(|line| line.scheduled_for)),
        due_at: &instants(lines.iter().map(|line| line.due_at)),
        triggers: &lines.iter().map(|line| line.trigger).collect::<Vec<_>>(),
        statuses: &lines.iter().map(|line| line.status).collect::<Vec<_>>(),
        reasons: &lines.iter().map(|line| line.reason).collect::<Vec<_>>(),
        details: &lines.iter().map(|line| line.detail.as_deref()).collect::<Vec<_>>(),
        missed_counts: &lines.iter().map(|line| line.missed_count).collect::<Vec<_>>(),
        missed_until: &maybe_instants(lines.iter().map(|line| line.missed_until)),
        serial: &lines.iter().map(|line| line.serial).collect::<Vec<_>>(),
        node_id: asker.node_id,
        now: asker.now.into(),
        error_seconds: asker.error_seconds,
        claim_limit: i32::try_from(claim_limit).unwrap_or(i32::MAX),
    }
    .load(connection)
    .await
}

statement! {
    struct IsAnyQueued = "runs/is_any_queued.sql" { now: Instant => Timestamptz }
}

#[derive(QueryableByName)]
struct AnyQueuedRow {
    #[diesel(sql_type = Bool)]
    is_any_queued: bool,
}

/// Whether a run is queued and due, whoever may take it.
pub async fn is_any_queued(connection: &mut Connection, now: Timestamp) -> Result<bool, StoreError> {
    let row: AnyQueuedRow = IsAnyQueued { now: now.into() }.get_result(connection).await?;
    Ok(row.is_any_queued)
}

statement! {
    struct ClaimQueued<'a> = "runs/claim_queued.sql" {
        node_id: Uuid => SqlUuid,
        queues: &'a [String] => Array<Text>,
        tags: &'a [String] => Array<Text>,
        now: Instant => Timestamptz,
        limit: i64 => BigInt,
    }
}

/// Takes queued runs, oldest first, at most `limit`.
pub async fn claim_queued(
    connection: &mut Connection,
    node_id: Uuid,
    queues: &[String],
    tags: &[String],
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Claim>, StoreError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    ClaimQueued {
        node_id,
        queues,
        tags,
        now: now.into(),
        limit,
    }
    .load(connection)
    .await
}

/// What somebody asks for: one run of a task, now.
#[derive(Clone, Debug)]
pub struct Request {
    /// The task.
    pub task_id: i64,
    /// Who asks.
    pub requested_by: String,
    /// Keyword arguments of this run alone: the text of a JSON object.
    pub args: Option<String>,
    /// The instant that the script is told.
    pub as_of: Option<Timestamp>,
    /// A node that claims it at once; none: it is queued for all.
    pub claim_for: Option<Uuid>,
    /// Start it beside others whatever the limits say.
    pub force: bool,
}

statement! {
    struct RequestRun<'a> = "runs/request.sql" {
        task_id: i64 => BigInt,
        requested_by: &'a str => Text,
        args: Option<&'a str> => Nullable<Text>,
        as_of: Option<Instant> => Nullable<Timestamptz>,
        node_id: Option<Uuid> => Nullable<SqlUuid>,
        force: bool => Bool,
        now: Instant => Timestamptz,
    }
}

/// How often a request is made anew whose slot somebody else took in the same moment.
const REQUEST_ATTEMPTS: usize = 5;

/// Makes a run that somebody asks for. `None`: the task is not there.
pub async fn request(
    connection: &mut Connection,
    request: &Request,
    now: Timestamp,
) -> Result<Option<Fired>, StoreError> {
    let statement = RequestRun {
        task_id: request.task_id,
        requested_by: &request.requested_by,
        args: request.args.as_deref(),
        as_of: request.as_of.map(Instant::from),
        node_id: request.claim_for,
        force: request.force,
        now: now.into(),
    };
    for _ in 1..REQUEST_ATTEMPTS {
        match (&statement).load(connection).await {
            Err(error) if is_taken_by_another(&error) => {}
            fired => return fired.map(|mut fired: Vec<Fired>| fired.pop()),
        }
    }
    Ok(statement.load(connection).await?.pop())
}

/// That a run was let go.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The run.
    pub key: RunKey,
    /// The go.
    pub started_at: Timestamp,
}

statement! {
    struct StartRuns<'a> = "runs/start.sql" {
        run_ids: &'a [i64] => Array<BigInt>,
        task_ids: &'a [i64] => Array<BigInt>,
        scheduled_for: &'a [Instant] => Array<Timestamptz>,
        attempts: &'a [i16] => Array<SmallInt>,
        started_at: &'a [Instant] => Array<Timestamptz>,
        node_id: Uuid => SqlUuid,
        from: Instant => Timestamptz,
        until: Instant => Timestamptz,
    }
}

/// Writes that runs were let go. Those that have ended meanwhile stay as they are.
pub async fn start(connection: &mut Connection, node_id: Uuid, starts: &[Start]) -> Result<(), StoreError> {
    let (from, until) = bounds(starts.iter().map(|start| start.key.scheduled_for));
    let statement = StartRuns {
        run_ids: &starts.iter().map(|start| start.key.run_id).collect::<Vec<_>>(),
        task_ids: &starts.iter().map(|start| start.key.task_id).collect::<Vec<_>>(),
        scheduled_for: &instants(starts.iter().map(|start| start.key.scheduled_for)),
        attempts: &starts.iter().map(|start| start.key.attempt).collect::<Vec<_>>(),
        started_at: &instants(starts.iter().map(|start| start.started_at)),
        node_id,
        from: from.into(),
        until: until.into(),
    };
    statement.execute(connection).await.map(drop)
}

/// The end of a run, as it is journalled and written.
#[derive(Clone, Debug, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// The run.
    pub key: RunKey,
    /// The node that owned it.
    pub node_id: Uuid,
    /// The go; none if it never came to that.
    pub started_at: Option<Timestamp>,
    /// When its last process had ended.
    pub finished_at: Timestamp,
    /// How it ended.
    pub outcome: Outcome,
    /// Facts behind the reason, in words.
    pub detail: Option<String>,
}

statement! {
    struct FinishRuns<'a> = "runs/finish.sql" {
        run_ids: &'a [i64] => Array<BigInt>,
        task_ids: &'a [i64] => Array<BigInt>,
        scheduled_for: &'a [Instant] => Array<Timestamptz>,
        attempts: &'a [i16] => Array<SmallInt>,
        statuses: &'a [&'a str] => Array<Text>,
        reasons: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        details: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        started_at: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        finished_at: &'a [Instant] => Array<Timestamptz>,
        exit_codes: &'a [Option<i32>] => Array<Nullable<Integer>>,
        signals: &'a [Option<i16>] => Array<Nullable<SmallInt>>,
        return_values: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        error_types: &'a [Option<String>] => Array<Nullable<Text>>,
        errors: &'a [Option<String>] => Array<Nullable<Text>>,
        tracebacks: &'a [Option<String>] => Array<Nullable<Text>>,
        warnings: &'a [String] => Array<Text>,
        max_rss_kb: &'a [Option<i64>] => Array<Nullable<BigInt>>,
        cpu_ms: &'a [Option<i64>] => Array<Nullable<BigInt>>,
        script_sha256: &'a [Option<Vec<u8>>] => Array<Nullable<Binary>>,
        limits: &'a [Option<String>] => Array<Nullable<Text>>,
        lock_sha256: &'a [Option<Vec<u8>>] => Array<Nullable<Binary>>,
        pythons: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        node_id: Uuid => SqlUuid,
        from: Instant => Timestamptz,
        until: Instant => Timestamptz,
        found_in: &'a [i64] => Array<BigInt>,
        series: &'a [&'a str] => Array<Text>,
        own_at: &'a [Option<Instant>] => Array<Nullable<Timestamptz>>,
        kinds: &'a [&'a str] => Array<Text>,
        numbers: &'a [Option<&'a str>] => Array<Nullable<Text>>,
        with_observations: &'a [i64] => Array<BigInt>,
    }
}

#[derive(QueryableByName)]
struct FinishedRow {
    #[diesel(sql_type = BigInt)]
    run_id: i64,
    #[diesel(sql_type = Bool)]
    accepted: bool,
}

/// Ends runs of one node. Returns the ids of those that were refused: given up as lost and reported already, or not its own.
pub async fn finish(connection: &mut Connection, node_id: Uuid, ends: &[End]) -> Result<Vec<i64>, StoreError> {
    let (from, until) = bounds(ends.iter().map(|end| end.key.scheduled_for));
    let error_field = |field: fn(&crate::run::RunError) -> Option<&str>| {
        ends.iter()
            .map(|end| end.outcome.error.as_ref().and_then(field).map(without_nul))
            .collect::<Vec<_>>()
    };
    let observed = || ends.iter().filter(|end| !end.outcome.observations.is_empty());
    let observations: Vec<(i64, &Observation)> = observed()
        .flat_map(|end| end.outcome.observations.iter().map(|it| (end.key.run_id, it)))
        .collect();
    let statement = FinishRuns {
        run_ids: &ends.iter().map(|end| end.key.run_id).collect::<Vec<_>>(),
        task_ids: &ends.iter().map(|end| end.key.task_id).collect::<Vec<_>>(),
        scheduled_for: &instants(ends.iter().map(|end| end.key.scheduled_for)),
        attempts: &ends.iter().map(|end| end.key.attempt).collect::<Vec<_>>(),
        statuses: &ends.iter().map(|end| end.outcome.status.as_str()).collect::<Vec<_>>(),
        reasons: &ends
            .iter()
            .map(|end| end.outcome.reason.map(|reason| reason.as_str()))
            .collect::<Vec<_>>(),
        details: &ends.iter().map(|end| end.detail.as_deref()).collect::<Vec<_>>(),
        started_at: &maybe_instants(ends.iter().map(|end| end.started_at)),
        finished_at: &instants(ends.iter().map(|end| end.finished_at)),
        exit_codes: &ends.iter().map(|end| end.outcome.exit_code).collect::<Vec<_>>(),
        signals: &ends
            .iter()
            .map(|end| end.outcome.signal.and_then(|signal| i16::try_from(signal).ok()))
            .collect::<Vec<_>>(),
        return_values: &ends
            .iter()
            .map(|end| end.outcome.return_value.as_ref().map(|value| value.get()))
            .collect::<Vec<_>>(),
        error_types: &error_field(|error| Some(&error.kind)),
        errors: &error_field(|error| Some(&error.message)),
        tracebacks: &error_field(|error| error.traceback.as_deref()),
        warnings: &ends
            .iter()
            .map(|end| warnings_json(&end.outcome.warnings))
            .collect::<Vec<_>>(),
        max_rss_kb: &ends.iter().map(|end| end.outcome.max_rss_kb).collect::<Vec<_>>(),
        cpu_ms: &ends.iter().map(|end| end.outcome.cpu_ms).collect::<Vec<_>>(),
        script_sha256: &ends
            .iter()
            .map(|end| end.outcome.script_sha256.map(|hash| hash.as_bytes().to_vec()))
            .collect::<Vec<_>>(),
        limits: &ends
            .iter()
            .map(|end| end.outcome.limits.as_ref().map(limits_json))
            .collect::<Vec<_>>(),
        lock_sha256: &ends
            .iter()
            .map(|end| end.outcome.lock_sha256.map(|hash| hash.as_bytes().to_vec()))
            .collect::<Vec<_>>(),
        pythons: &ends.iter().map(|end| end.outcome.python.as_deref()).collect::<Vec<_>>(),
        node_id,
        from: from.into(),
        until: until.into(),
        found_in: &observations.iter().map(|(run_id, _)| *run_id).collect::<Vec<_>>(),
        series: &observations
            .iter()
            .map(|(_, it)| it.series.as_str())
            .collect::<Vec<_>>(),
        own_at: &maybe_instants(observations.iter().map(|(_, it)| it.at)),
        kinds: &observations.iter().map(|(_, it)| it.kind.as_str()).collect::<Vec<_>>(),
        numbers: &observations
            .iter()
            .map(|(_, it)| it.number.as_deref())
            .collect::<Vec<_>>(),
        with_observations: &observed().map(|end| end.key.run_id).collect::<Vec<_>>(),
    };
    let rows: Vec<FinishedRow> = statement.load(connection).await?;
    Ok(rows
        .into_iter()
        .filter(|row| !row.accepted)
        .map(|row| row.run_id)
        .collect())
}

/// Text columns refuse NUL, which a Python message may hold.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn warnings_json(warnings: &[String]) -> String {
    let clean: Vec<String> = warnings.iter().map(|warning| without_nul(warning)).collect();
    serde_json::to_string(&clean).expect("a list of strings is JSON")
}

fn limits_json(limits: &LimitsInForce) -> String {
    serde_json::to_string(limits).expect("numbers and words are JSON")
}

/// The smallest and largest instant of a batch: what lets the planner see one partition.
fn bounds(instants: impl Iterator<Item = Timestamp> + Clone) -> (Timestamp, Timestamp) {
    let from = instants.clone().min().unwrap_or(Timestamp::UNIX_EPOCH);
    (from, instants.max().unwrap_or(from))
}

statement! {
    struct GiveBack<'a> = "runs/give_back.sql" {
        node_id: Uuid => SqlUuid,
        run_ids: &'a [i64] => Array<BigInt>,
        now: Instant => Timestamptz,
    }
}

/// Gives back claims that were not started.
pub async fn give_back(
    connection: &mut Connection,
    node_id: Uuid,
    run_ids: &[i64],
    now: Timestamp,
) -> Result<(), StoreError> {
    GiveBack {
        node_id,
        run_ids,
        now: now.into(),
    }
    .execute(connection)
    .await
    .map(drop)
}

statement! {
    struct Claimed = "runs/claimed.sql" { node_id: Uuid => SqlUuid }
}

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    run_id: i64,
}

/// What a node has claimed and not reported as started.
pub async fn claimed(connection: &mut Connection, node_id: Uuid) -> Result<Vec<i64>, StoreError> {
    let rows: Vec<NumberRow> = Claimed { node_id }.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.run_id).collect())
}

statement! {
    struct Stops = "runs/stops.sql" { node_id: Uuid => SqlUuid }
}

/// A run that is to be stopped.
#[derive(Clone, Debug, QueryableByName)]
pub struct StopRequest {
    /// The run.
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    /// The reason that its row will carry.
    #[diesel(sql_type = Text)]
    pub cancel_reason: String,
}

impl StopRequest {
    /// Why, as its executor is told.
    #[must_use]
    pub fn why(&self) -> Stop {
        if self.cancel_reason == "replaced" {
            Stop::Replaced
        } else {
            Stop::Requested
        }
    }
}

/// What a node is asked to stop.
pub async fn stops(connection: &mut Connection, node_id: Uuid) -> Result<Vec<StopRequest>, StoreError> {
    Stops { node_id }.load(connection).await
}

statement! {
    struct CloseUnclaimed = "runs/close_unclaimed.sql" { now: Instant => Timestamptz }
}

/// Ends queued runs that will never start. Returns how many.
pub async fn close_unclaimed(connection: &mut Connection, now: Timestamp) -> Result<usize, StoreError> {
    CloseUnclaimed { now: now.into() }.execute(connection).await
}

statement! {
    struct CancelRun<'a> = "runs/cancel.sql" { actor: &'a str => Text, run_id: i64 => BigInt }
}

/// Asks that a run be stopped. `false`: it is not active, or is being stopped already.
pub async fn cancel(connection: &mut Connection, run_id: i64, actor: &str) -> Result<bool, StoreError> {
    Ok(CancelRun { actor, run_id }.execute(connection).await? > 0)
}

statement! {
    struct Backfill<'a> = "runs/backfill.sql" {
        task_id: i64 => BigInt,
        instants: &'a [Instant] => Array<Timestamptz>,
        requested_by: &'a str => Text,
    }
}

/// Asks that instants of the past be run, oldest first, one at a time. Returns the runs; those that wait already are not asked for
/// again. None: the task is not there.
pub async fn backfill(
    connection: &mut Connection,
    task_id: i64,
    as_of: &[Timestamp],
    requested_by: &str,
) -> Result<Vec<i64>, StoreError> {
    let statement = Backfill {
        task_id,
        instants: &instants(as_of.iter().copied()),
        requested_by,
    };
    let rows: Vec<NumberRow> = statement.load(connection).await?;
    Ok(rows.into_iter().map(|row| row.run_id).collect())
}

statement! {
    struct CancelBackfill<'a> = "runs/cancel_backfill.sql" { actor: &'a str => Text, task_id: i64 => BigInt }
}

/// Asks that the runs of a task's backfill that have not started be cancelled. Returns how many that are.
pub async fn cancel_backfill(connection: &mut Connection, task_id: i64, actor: &str) -> Result<usize, StoreError> {
    CancelBackfill { actor, task_id }.execute(connection).await
}

/// A piece of a run's output.
#[derive(Clone, Debug, QueryableByName)]
pub struct Chunk {
    /// Order within the run, from 0.
    #[diesel(sql_type = Integer)]
    pub sequence: i32,
    /// Text.
    #[diesel(sql_type = Text)]
    pub chunk: String,
}

/// Chunks of a run's output that are not needed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// The run.
    pub run_id: i64,
    /// The first of them.
    pub from: i32,
    /// The first behind them.
    pub below: i32,
    /// None of them was written before.
    pub since: Timestamp,
}

statement! {
    struct WriteOutput<'a> = "runs/write_output.sql" {
        run_ids: &'a [i64] => Array<BigInt>,
        sequences: &'a [i32] => Array<Integer>,
        chunks: &'a [&'a str] => Array<Text>,
        now: Instant => Timestamptz,
    }
}

statement! {
    struct ReplaceOutput<'a> = "runs/replace_output.sql" {
        run_ids: &'a [i64] => Array<BigInt>,
        sequences: &'a [i32] => Array<Integer>,
        chunks: &'a [&'a str] => Array<Text>,
        forgotten_run_ids: &'a [i64] => Array<BigInt>,
        from: &'a [i32] => Array<Integer>,
        below: &'a [i32] => Array<Integer>,
        since: Instant => Timestamptz,
        until: Instant => Timestamptz,
        now: Instant => Timestamptz,
    }
}

/// Appends chunks of output, of any runs, and removes those that are forgotten. To be called again with the same `now` if the
/// answer is lost, and with a later one each time otherwise: what was written earlier is told by it from what is written here.
pub async fn write_output(
    connection: &mut Connection,
    chunks: &[(i64, Chunk)],
    forgotten: &[Forgotten],
    now: Timestamp,
) -> Result<(), StoreError> {
    let run_ids = &chunks.iter().map(|(run_id, _)| *run_id).collect::<Vec<_>>();
    let sequences = &chunks.iter().map(|(_, chunk)| chunk.sequence).collect::<Vec<_>>();
    let texts = &chunks.iter().map(|(_, chunk)| chunk.chunk.as_str()).collect::<Vec<_>>();
    let Some(since) = forgotten.iter().map(|forgotten| forgotten.since).min() else {
        let statement = WriteOutput {
            run_ids,
            sequences,
            chunks: texts,
            now: now.into(),
        };
        return statement.execute(connection).await.map(drop);
    };
    let statement = ReplaceOutput {
        run_ids,
        sequences,
        chunks: texts,
        forgotten_run_ids: &forgotten.iter().map(|forgotten| forgotten.run_id).collect::<Vec<_>>(),
        from: &forgotten.iter().map(|forgotten| forgotten.from).collect::<Vec<_>>(),
        below: &forgotten.iter().map(|forgotten| forgotten.below).collect::<Vec<_>>(),
        since: since.into(),
        until: now.into(),
        now: now.into(),
    };
    statement.execute(connection).await.map(drop)
}

statement! {
    struct ReadOutput = "runs/read_output.sql" {
        run_id: i64 => BigInt,
        from_sequence: i32 => Integer,
        since: Instant => Timestamptz,
    }
}

/// Chunks of one run's output from a sequence number on, at most 1,000 a call. `since`: no chunk is older.
pub async fn read_output(
    connection: &mut Connection,
    run_id: i64,
    from_sequence: i32,
    since: Timestamp,
) -> Result<Vec<Chunk>, StoreError> {
    ReadOutput {
        run_id,
        from_sequence,
        since: since.into(),
    }
    .load(connection)
    .await
}

/// One row of the run log.
#[derive(Clone, Debug, QueryableByName)]
#[expect(
    missing_docs,
    reason = "each field is the column of its name, which the database documents"
)]
pub struct RunRow {
    #[diesel(sql_type = BigInt)]
    pub run_id: i64,
    #[diesel(sql_type = BigInt)]
    pub task_id: i64,
    #[diesel(sql_type = Text)]
    pub task_name: String,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub scheduled_for: Timestamp,
    #[diesel(sql_type = SmallInt)]
    pub attempt: i16,
    #[diesel(sql_type = Text)]
    pub trigger: String,
    #[diesel(sql_type = Text)]
    pub status: String,
    #[diesel(sql_type = Nullable<Text>)]
    pub reason: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub detail: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub as_of: Option<Timestamp>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub node_id: Option<Uuid>,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub queued_at: Timestamp,
    #[diesel(sql_type = Timestamptz, deserialize_as = Instant)]
    pub due_at: Timestamp,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub started_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub finished_at: Option<Timestamp>,
    #[diesel(sql_type = Nullable<Integer>)]
    pub exit_code: Option<i32>,
    #[diesel(sql_type = Nullable<SmallInt>)]
    pub signal: Option<i16>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub missed_count: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>, deserialize_as = MaybeInstant)]
    pub missed_until: Option<Timestamp>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub blocking_run_id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub return_value: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub error_type: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub error: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub traceback: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    pub warnings: Vec<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub max_rss_kb: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub cpu_ms: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub script_sha256: Option<ContentHash>,
    #[diesel(sql_type = Bool)]
    pub late_report: bool,
    #[diesel(sql_type = Nullable<Double>)]
    pub duration_ms: Option<f64>,
    #[diesel(sql_type = Nullable<Double>)]
    pub start_delay_ms: Option<f64>,
    #[diesel(sql_type = Nullable<Text>)]
    pub requested_by: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    pub limits: Option<String>,
    #[diesel(sql_type = Nullable<Binary>, deserialize_as = MaybeHashColumn)]
    pub lock_sha256: Option<ContentHash>,
    #[diesel(sql_type = Nullable<Text>)]
    pub python: Option<String>,
    /// The size of a return value that was left out for it; none: it is whole.
    #[diesel(sql_type = Nullable<Integer>)]
    pub return_value_bytes: Option<i32>,
}

statement! {
    struct FindRun = "runs/find.sql" { run_id: i64 => BigInt }
}

/// One row of the run log. None: there is no such run.
pub async fn find(connection: &mut Connection, run_id: i64) -> Result<Option<RunRow>, StoreError> {
    Ok(FindRun { run_id }.load(connection).await?.pop())
}

statement! {
    struct EnsureRunLogPartition = "runs/ensure_run_log_partition.sql" { at: Instant => Timestamptz }
}

statement! {
    struct EnsureRunOutputPartition = "runs/ensure_run_output_partition.sql" { at: Instant => Timestamptz }
}

/// Makes the partition of the run log that holds an instant, if it is not there. Not within a transaction.
pub async fn ensure_run_log_partition(connection: &mut Connection, at: Timestamp) -> Result<(), StoreError> {
    let statement = || EnsureRunLogPartition { at: at.into() };
    // As for the output, below.
    match statement().execute(connection).await {
        Err(StoreError::DatabaseError(..)) => statement().execute(connection).await.map(drop),
        result => result.map(drop),
    }
}

/// Makes the partition of the output that holds an instant, if it is not there. Not within a transaction.
pub async fn ensure_run_output_partition(connection: &mut Connection, at: Timestamp) -> Result<(), StoreError> {
    let statement = || EnsureRunOutputPartition { at: at.into() };
    // Whoever waited for somebody who made it does not see it within the same transaction: its session has looked the name up
    // before, and keeps the answer until the next one begins.
    match statement().execute(connection).await {
        Err(StoreError::DatabaseError(..)) => statement().execute(connection).await.map(drop),
        result => result.map(drop),
    }
}
