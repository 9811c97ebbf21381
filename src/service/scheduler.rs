//! The scheduler: takes what will be due, fires what is due, claims what is queued.
//!
//! No leader: every node does this, and the statements decide who gets what. An instant is claimed at most `LEAD` before it is
//! due, and only while no run of its task is active; all else is decided at the instant.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use super::health::Pulse;
use super::planner;
use super::wake::Called;
use super::worker::{ClaimPermit, Context, Worker};
use crate::plan::{Debt, DebtLine, Policies, Position, debt};
use crate::run::{Reason, Trigger};
use crate::schedule::Schedule;
use crate::store::runs::{self, Ahead, Asker, Claim, Fired, Line, Move};
use crate::store::tasks::{self, PlanRow, Upcoming};
use crate::store::{Connection, StoreError, is_connection_lost, is_partition_missing, is_taken_by_another};

/// A run is claimed at most so long before it is due: the time an interpreter may need to come up. A change of a task
/// holds for every instant that is further away than this.
pub const LEAD: Duration = Duration::from_secs(1);

/// With several nodes, those that are not a task's first choice ask so long before it is due.
const SECOND_LEAD: Duration = Duration::from_millis(500);

/// How far the look-ahead goes.
const HORIZON: Duration = Duration::from_secs(3);

/// Between looks at everything that people may have changed, and at the queue.
const TICK: Duration = Duration::from_secs(1);

/// Between looks that begin at the left edge of the index; all others begin shortly before now.
const FULL_LOOK: Duration = Duration::from_secs(10);

/// How far before now an ordinary look begins.
const LOOK_BACK: Duration = Duration::from_secs(5);

/// Most instants of one look, and of one statement.
const LOOK_LIMIT: i64 = 5_000;
const FIRE_BATCH: usize = 500;

/// Fewer free places than this share of all are few; and how long others may join them before a claim.
const FEW_PLACES: usize = 8;
const GATHER: Duration = Duration::from_millis(10);

/// A plan that was not needed for so long is dropped from memory.
const PLAN_IDLE: Duration = Duration::from_secs(60);

/// A pass that takes longer than this has lost its connection.
const PASS_TIMEOUT: Duration = Duration::from_secs(30);

/// Pauses between tries while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// The scheduler's memory; all of it can be read again.
pub struct Scheduler {
    context: Context,
    pulse: Pulse,
    worker: Arc<Worker>,
    plans: HashMap<i64, KnownPlan>,
    /// Instants within the horizon, in order.
    upcoming: Vec<Upcoming>,
    looked_at: Option<Instant>,
    looked_fully_at: Option<Instant>,
    planned_at: Option<Instant>,
    queue_looked_at: Option<Instant>,
    queue_may_hold: bool,
    /// Until when ends gather for a claim of several runs.
    gather_until: Option<Instant>,
    /// When runs that will never start were last ended.
    closed_at: Option<Instant>,
    /// What was last said to be wrong.
    reported: Option<String>,
}

struct KnownPlan {
    revision: i64,
    /// None: what is in force cannot be read; `look` says so and stops the cursor.
    schedule: Option<Schedule>,
    policies: Policies,
    used_at: Instant,
}

impl Scheduler {
    /// With an empty memory.
    pub fn new(context: Context, worker: Arc<Worker>) -> Scheduler {
        Scheduler {
            pulse: context.node.pulse("scheduler", PASS_TIMEOUT),
            context,
            worker,
            plans: HashMap::new(),
            upcoming: Vec::new(),
            looked_at: None,
            looked_fully_at: None,
            planned_at: None,
            queue_looked_at: None,
            queue_may_hold: true,
            gather_until: None,
            closed_at: None,
            reported: None,
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut connection: Option<Connection> = None;
        let mut pause = RETRY.0;
        while !stop.is_cancelled() {
            self.pulse.pass();
            let pass = tokio::time::timeout(PASS_TIMEOUT, self.pass(&mut connection)).await;
            let failed = match pass {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(format!("{error:#}")),
                Err(_) => Some(format!("no answer within {} s", PASS_TIMEOUT.as_secs())),
            };
            if let Some(error) = failed {
                self.report(error);
                connection = None;
                self.forget();
                self.pulse.rest(pause);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
                pause = (pause * 2).min(RETRY.1);
                continue;
            }
            pause = RETRY.0;
            let wake_at = self.next_wake();
            self.pulse.rest(wake_at.saturating_duration_since(Instant::now()));
            tokio::select! {
                () = tokio::time::sleep_until(wake_at.into()) => {}
                () = self.context.wake.scheduler_woken() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Says once what keeps it from firing; that the database is away, the heartbeat says.
    fn report(&mut self, error: String) {
        if self.context.node.is_in_contact() && self.reported.as_ref() != Some(&error) {
            tracing::warn!(%error, "a pass of the scheduler failed; it is tried again");
            self.reported = Some(error);
        } else {
            tracing::debug!(%error, "a pass of the scheduler failed");
        }
    }

    /// What was read before contact was lost may be wrong now.
    fn forget(&mut self) {
        self.looked_at = None;
        self.looked_fully_at = None;
        self.planned_at = None;
        self.queue_may_hold = true;
        self.upcoming.clear();
    }

    async fn pass(&mut self, connection: &mut Option<Connection>) -> anyhow::Result<()> {
        if connection.is_none() {
            *connection = Some(self.context.database.dedicated().await?);
        }
        let connection = connection.as_mut().expect("it was just made");
        let called = self.context.wake.called();
        if called.stops || called.queue || is_due(self.queue_looked_at, TICK) {
            stop_what_is_asked(connection, &self.context, &self.worker).await?;
        }
        self.plan(connection, called).await?;
        if !self.context.node.may_start() || self.context.node.is_draining() {
            self.rest();
            return Ok(());
        }
        self.look(connection).await?;
        self.fire(connection).await?;
        self.claim_ahead(connection).await?;
        self.claim_queued(connection, called).await
    }

    /// Nothing may be started now: the next look is a tick away.
    fn rest(&mut self) {
        let now = Some(Instant::now());
        (self.looked_at, self.queue_looked_at, self.closed_at) = (now, now, now);
        self.upcoming.clear();
    }

    async fn plan(&mut self, connection: &mut Connection, called: Called) -> anyhow::Result<()> {
        if called.plan || is_due(self.planned_at, TICK) {
            self.planned_at = Some(Instant::now());
            if planner::run_once(connection).await? > 0 {
                self.looked_at = None;
            }
        }
        Ok(())
    }

    /// Reads what is due soon. A look begins shortly before now, so that dead index entries cost nothing; now and then it
    /// begins at the left edge, for what nobody took.
    async fn look(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        if !is_due(self.looked_at, TICK) {
            return Ok(());
        }
        let full = is_due(self.looked_fully_at, FULL_LOOK);
        if full {
            self.give_back_forgotten(connection).await?;
        }
        let node = &self.context.node;
        let now = node.clock.now();
        let from = if full { Timestamp::UNIX_EPOCH } else { now - LOOK_BACK };
        self.upcoming =
            tasks::upcoming(connection, node.queues(), node.tags(), from, now + HORIZON, LOOK_LIMIT).await?;
        self.looked_at = Some(Instant::now());
        if full {
            self.looked_fully_at = self.looked_at;
            self.plans.retain(|_, plan| plan.used_at.elapsed() < PLAN_IDLE);
        }
        let unknown: Vec<i64> = self
            .upcoming
            .iter()
            .filter(|instant| {
                self.plans
                    .get(&instant.task_id)
                    .is_none_or(|plan| plan.revision != instant.planned_revision)
            })
            .map(|instant| instant.task_id)
            .collect();
        if !unknown.is_empty() {
            for row in tasks::plans(connection, &unknown).await? {
                if let Err(error) = Schedule::parse(&row.planned_schedule, &row.planned_timezone) {
                    // Zone data or dialect changed under it.
                    tracing::error!(task.id = row.task_id, %error, "a plan in force cannot be read any more; the task stands still");
                    tasks::set_unplannable(connection, row.task_id, &error.to_string()).await?;
                }
                self.plans.insert(row.task_id, KnownPlan::read(&row));
            }
        }
        Ok(())
    }

    /// A claim whose answer was lost with its connection is ours, and nobody here knows of it: others shall have it.
    async fn give_back_forgotten(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let node = &self.context.node;
        let node_id = node.id();
        let mut claimed = runs::claimed(connection, node_id).await?;
        claimed.retain(|run_id| !self.worker.has(*run_id) && !self.context.recorder.has(*run_id));
        if !claimed.is_empty() {
            tracing::warn!(run.ids = ?claimed, "claims whose answer was lost on the way are given back");
            runs::give_back(connection, node_id, &claimed, node.clock.now()).await?;
            self.queue_may_hold = true;
        }
        Ok(())
    }

    /// Consumes what is due and was not claimed ahead: moves cursors and writes rows.
    async fn fire(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        loop {
            let now = self.context.node.clock.now();
            let due: Vec<Upcoming> = self
                .upcoming
                .iter()
                .take_while(|instant| instant.next_due_at <= now)
                .take(FIRE_BATCH)
                .copied()
                .collect();
            if due.is_empty() {
                return Ok(());
            }
            self.upcoming.drain(..due.len());
            let (served, others): (Vec<Upcoming>, Vec<Upcoming>) = due.into_iter().partition(|instant| instant.served);
            self.fire_or_split(connection, served, true).await?;
            // Instants that only other nodes may run still get their rows.
            self.fire_or_split(connection, others, false).await?;
        }
    }

    /// Fires; what Postgres refuses is split, so that one task's row does not keep the others from theirs.
    async fn fire_or_split(
        &mut self,
        connection: &mut Connection,
        due: Vec<Upcoming>,
        served: bool,
    ) -> Result<(), StoreError> {
        let mut batches = vec![due];
        while let Some(mut batch) = batches.pop() {
            let error = match self.fire_batch(connection, &batch, served).await {
                Ok(()) => continue,
                Err(error) if is_connection_lost(&error) => return Err(error),
                Err(error) => error,
            };
            if batch.len() > 1 {
                batches.push(batch.split_off(batch.len() / 2));
                batches.push(batch);
            } else if let Some(instant) = batch.first() {
                self.report(format!(
                    "the instant {} of task {} cannot be recorded: {error}",
                    instant.next_fire_at, instant.task_id
                ));
            }
        }
        Ok(())
    }

    async fn fire_batch(
        &mut self,
        connection: &mut Connection,
        due: &[Upcoming],
        served: bool,
    ) -> Result<(), StoreError> {
        let node = self.context.node.clone();
        let asker = node.asker();
        let attended_since = node.incarnation().attended_since;
        let mut moves = Vec::new();
        let mut lines = Vec::new();
        for instant in due {
            let Some(debt) = self.debt_of(instant, asker.now, attended_since) else {
                continue;
            };
            moves.push(Move {
                task_id: instant.task_id,
                expected: instant.next_fire_at,
                next_fire_at: debt.next_fire_at,
                last_fire_at: debt.last_fire_at,
                planned_revision: instant.planned_revision,
            });
            lines.extend(debt.lines.iter().map(|line| row_of(instant, line)));
        }
        if moves.is_empty() {
            return Ok(());
        }
        let wanted = lines
            .iter()
            .filter(|line| line.status == "queued" && !line.serial)
            .count();
        let mut permits = if served {
            self.worker.permits.take_running(wanted)
        } else {
            Vec::new()
        };
        let fired = match runs::fire(connection, asker, &moves, &lines, permits.len()).await {
            Err(error) if is_partition_missing(&error) => {
                for line in &lines {
                    runs::ensure_run_log_partition(connection, line.scheduled_for).await?;
                }
                runs::fire(connection, asker, &moves, &lines, permits.len()).await?
            }
            Err(error) if is_taken_by_another(&error) => {
                runs::fire(connection, asker, &moves, &lines, permits.len()).await?
            }
            result => result?,
        };
        // A cursor that another node moved, or a statement that found our clock ahead, moved nothing: the next look tells.
        let moved: HashSet<i64> = fired.iter().map(|fired| fired.run.task_id).collect();
        moves.retain(|each| moved.contains(&each.task_id));
        for Fired { run, claimed } in fired {
            match permits.pop() {
                Some(permit) if claimed => self.worker.take(run, asker.node_id, ClaimPermit::Running(permit)),
                other => permits.extend(other),
            }
        }
        self.queue_may_hold = true;
        self.remember(moves.iter().map(|each| (each.task_id, each.next_fire_at)), due);
        Ok(())
    }

    fn debt_of(&mut self, instant: &Upcoming, now: Timestamp, attended_since: Timestamp) -> Option<Debt> {
        let plan = self.plans.get_mut(&instant.task_id)?;
        plan.used_at = Instant::now();
        let schedule = plan
            .schedule
            .as_ref()
            .filter(|_| plan.revision == instant.planned_revision)?;
        let position = Position {
            next_fire_at: instant.next_fire_at,
            due_offset: offset(instant),
            now,
            ends_at: instant.changing.then_some(instant.changed_at),
            attended_since,
        };
        debt(schedule, plan.policies, position)
    }

    /// Claims what will be due within the lead, as far as there are places to wait.
    async fn claim_ahead(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let node = self.context.node.clone();
        let asker = node.asker();
        let wanted: Vec<Upcoming> = self
            .upcoming
            .iter()
            .filter(|instant| instant.served && !instant.grouped && !instant.changing)
            .filter(|instant| instant.next_due_at.duration_since(asker.now) <= signed(self.lead_of(instant.task_id)))
            .copied()
            .collect();
        let mut permits = self.worker.permits.take_early(wanted.len());
        let ahead: Vec<Ahead> = wanted
            .iter()
            .take(permits.len())
            .filter_map(|instant| {
                let plan = self.plans.get(&instant.task_id)?;
                let schedule = plan
                    .schedule
                    .as_ref()
                    .filter(|_| plan.revision == instant.planned_revision)?;
                Some(Ahead {
                    task_id: instant.task_id,
                    scheduled_for: instant.next_fire_at,
                    due_at: instant.next_due_at,
                    next_fire_at: schedule.next_after(instant.next_fire_at),
                    planned_revision: instant.planned_revision,
                })
            })
            .collect();
        if ahead.is_empty() {
            return Ok(());
        }
        let claimed = self.claim_or_split(connection, asker, &ahead).await?;
        let taken: HashMap<i64, Option<Timestamp>> = ahead
            .iter()
            .filter(|instant| claimed.iter().any(|claim| claim.task_id == instant.task_id))
            .map(|instant| (instant.task_id, instant.next_fire_at))
            .collect();
        self.upcoming.retain(|instant| !taken.contains_key(&instant.task_id));
        self.remember(taken, &wanted);
        for claim in claimed {
            let Some(permit) = permits.pop() else { break };
            self.worker.take(claim, asker.node_id, ClaimPermit::Early(permit));
        }
        Ok(())
    }

    /// Claims; if Postgres refuses, one by one: what it refuses then is fired, and reported, at its instant.
    async fn claim_or_split(
        &self,
        connection: &mut Connection,
        asker: Asker,
        ahead: &[Ahead],
    ) -> Result<Vec<Claim>, StoreError> {
        let lead = LEAD.as_secs_f64();
        match runs::claim_ahead(connection, asker, lead, ahead).await {
            Err(error) if !is_connection_lost(&error) => {}
            result => return result,
        }
        let mut claimed = Vec::new();
        for instant in ahead {
            runs::ensure_run_log_partition(connection, instant.scheduled_for).await?;
            match runs::claim_ahead(connection, asker, lead, std::slice::from_ref(instant)).await {
                Err(error) if is_connection_lost(&error) => return Err(error),
                result => claimed.extend(result.unwrap_or_default()),
            }
        }
        Ok(claimed)
    }

    /// How long before it is due this node asks for a task. Alone it has no need to leave others their share.
    fn lead_of(&self, task_id: i64) -> Duration {
        let incarnation = self.context.node.incarnation();
        let nodes = u64::try_from(incarnation.live_nodes).unwrap_or(1).max(1);
        let mark = incarnation.node_id.as_u128() as u64 ^ (task_id as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let first_choice = nodes == 1 || (mark.wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 32).is_multiple_of(nodes);
        if first_choice { LEAD } else { SECOND_LEAD }
    }

    /// Claims queued runs, oldest first, as many as there are places to run.
    async fn claim_queued(&mut self, connection: &mut Connection, called: Called) -> anyhow::Result<()> {
        let tick = is_due(self.queue_looked_at, TICK);
        if !(tick || called.queue || called.place || self.queue_may_hold) {
            return Ok(());
        }
        let node = self.context.node.clone();
        if is_due(self.closed_at, TICK) {
            runs::close_unclaimed(connection, node.clock.now()).await?;
            self.closed_at = Some(Instant::now());
        }
        // Most ends find nothing queued; this costs a tenth of the claim, and holds no permit meanwhile.
        if !called.queue && !runs::is_any_queued(connection, node.clock.now()).await? {
            self.queue_looked_at = Some(Instant::now());
            self.queue_may_hold = false;
            return Ok(());
        }
        self.queue_may_hold = true;
        let mut permits = self.worker.permits.take_running(usize::MAX);
        if self.is_to_gather(permits.len()) || permits.is_empty() {
            // A run that ends wakes us.
            return Ok(());
        }
        self.queue_looked_at = Some(Instant::now());
        let now = node.clock.now();
        let node_id = node.id();
        let claims = match runs::claim_queued(connection, node_id, node.queues(), node.tags(), now, permits.len()).await
        {
            Err(error) if is_taken_by_another(&error) => {
                self.queue_may_hold = true;
                return Ok(());
            }
            result => result?,
        };
        self.queue_may_hold = claims.len() == permits.len();
        for claim in claims {
            let Some(permit) = permits.pop() else { break };
            self.worker.take(claim, node_id, ClaimPermit::Running(permit));
        }
        Ok(())
    }

    /// With a queue to work off and most places taken, ends gather for a moment, so that a claim is for several runs.
    fn is_to_gather(&mut self, free: usize) -> bool {
        let few = free > 0 && free < self.context.config.capacity.running / FEW_PLACES;
        self.gather_until = self
            .queue_looked_at
            .map(|at| at + GATHER)
            .filter(|until| few && *until > Instant::now());
        self.gather_until.is_some()
    }

    /// Next instants within the horizon join the list without another look.
    fn remember(&mut self, moved: impl IntoIterator<Item = (i64, Option<Timestamp>)>, from: &[Upcoming]) {
        let horizon = self.context.node.clock.now() + HORIZON;
        let known: HashMap<i64, &Upcoming> = from.iter().map(|instant| (instant.task_id, instant)).collect();
        for (task_id, next_fire_at) in moved {
            let (Some(next_fire_at), Some(instant)) = (next_fire_at, known.get(&task_id)) else {
                continue;
            };
            let Ok(next_due_at) = next_fire_at.checked_add(offset(instant)) else {
                continue;
            };
            if next_due_at <= horizon {
                self.upcoming.push(Upcoming {
                    next_fire_at,
                    next_due_at,
                    ..**instant
                });
            }
        }
        self.upcoming
            .sort_by_key(|instant| (instant.next_due_at, instant.task_id));
    }

    /// When there is something to do again, if nobody wakes us earlier.
    fn next_wake(&self) -> Instant {
        let clock = &self.context.node.clock;
        let now = Instant::now();
        let tick = [
            self.looked_at,
            self.planned_at,
            self.queue_looked_at.max(self.closed_at),
        ]
        .iter()
        .map(|at| at.map_or(now, |at| at + TICK))
        .min()
        .unwrap_or(now);
        let instants = self.upcoming.iter().flat_map(|instant| {
            let due = clock.instant_of(instant.next_due_at);
            let ahead = due
                .checked_sub(self.lead_of(instant.task_id))
                .filter(|ahead| *ahead > now);
            [Some(due), ahead]
        });
        // A pass that could not do all there was is repeated soon, not at once.
        instants
            .flatten()
            .chain([tick])
            .chain(self.gather_until)
            .min()
            .unwrap_or(tick)
            .max(now + Duration::from_millis(1))
    }
}

/// Stops the runs of this node that somebody wants stopped, until dropped: for a node whose scheduler has ended already.
pub async fn stop_what_is_asked_for_ever(context: &Context, worker: &Worker) {
    loop {
        let pass = async {
            let mut connection = context.database.connection().await?;
            stop_what_is_asked(&mut connection, context, worker).await
        };
        if let Err(error) = pass.await {
            tracing::debug!(
                error = format!("{error:#}"),
                "nobody knows whether a run is to be stopped"
            );
        }
        tokio::time::sleep(TICK).await;
    }
}

async fn stop_what_is_asked(connection: &mut Connection, context: &Context, worker: &Worker) -> anyhow::Result<()> {
    if !worker.has_active() {
        return Ok(());
    }
    for request in runs::stops(connection, context.node.id()).await? {
        worker.stop(request.run_id, request.why());
    }
    Ok(())
}

impl KnownPlan {
    fn read(row: &PlanRow) -> KnownPlan {
        let schedule = Schedule::parse(&row.planned_schedule, &row.planned_timezone).ok();
        KnownPlan {
            revision: row.planned_revision,
            schedule,
            policies: Policies {
                missed: row.missed.parse().unwrap_or(crate::script::Missed::Latest),
                grace: row
                    .grace_seconds
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
                catch_up_limit: u32::try_from(row.catch_up_limit).unwrap_or(100),
            },
            used_at: Instant::now(),
        }
    }
}

fn row_of(instant: &Upcoming, line: &DebtLine) -> Line {
    let due_at = |scheduled_for: Timestamp| scheduled_for.checked_add(offset(instant)).unwrap_or(scheduled_for);
    let row = |scheduled_for, trigger: Trigger, status, reason: Option<Reason>| Line {
        task_id: instant.task_id,
        scheduled_for,
        due_at: due_at(scheduled_for),
        trigger: trigger.as_str(),
        status,
        reason: reason.map(Reason::as_str),
        detail: None,
        missed_count: None,
        missed_until: None,
        serial: false,
    };
    match *line {
        DebtLine::Run {
            scheduled_for,
            trigger,
            serial,
        } => Line {
            serial,
            ..row(scheduled_for, trigger, "queued", None)
        },
        DebtLine::TooLate { scheduled_for } => Line {
            detail: Some("no node came to it within its grace".to_owned()),
            ..row(scheduled_for, Trigger::Schedule, "skipped", Some(Reason::Grace))
        },
        DebtLine::Missed {
            from,
            until,
            count,
            reason,
        } => Line {
            missed_count: Some(i64::try_from(count).unwrap_or(i64::MAX)),
            missed_until: Some(until),
            ..row(from, Trigger::Schedule, "missed", Some(reason))
        },
    }
}

fn offset(instant: &Upcoming) -> SignedDuration {
    instant.next_due_at.duration_since(instant.next_fire_at)
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}
