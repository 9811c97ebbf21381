//! What is known about a task and about the instants asked for, as plain values. The store reads them.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::Value;

use crate::run::{Reason, Status, Trigger};

/// A task and all that ever happened to it.
#[derive(Clone, Debug)]
pub struct Story {
    /// The database's clock when this was read.
    pub now: Timestamp,
    /// How it stands.
    pub task: Task,
    /// What happened to it, oldest first.
    pub events: Vec<Event>,
    /// The run log holds nothing from before this instant.
    pub horizon: Option<Timestamp>,
}

/// How a task stands now.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its number.
    pub task_id: i64,
    /// Its name.
    pub name: String,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// When its file was found gone.
    pub retired_at: Option<Timestamp>,
    /// The header's schedule.
    pub schedule: Vec<String>,
    /// The header's zone, resolved.
    pub timezone: String,
    /// What a person put in place of the schedule.
    pub schedule_override: Option<Vec<String>>,
    /// What a person put in place of the zone.
    pub timezone_override: Option<String>,
    /// Whether its header enables it.
    pub enabled: bool,
    /// Since when it is paused.
    pub paused_at: Option<Timestamp>,
    /// By whom.
    pub paused_by: Option<String>,
    /// Why.
    pub paused_reason: Option<String>,
    /// When what runs or when last changed.
    pub updated_at: Timestamp,
    /// Whether that change waits to be planned.
    pub changing: bool,
    /// The first instant that is not settled.
    pub next_fire_at: Option<Timestamp>,
    /// Its share of its jitter.
    pub due_offset: SignedDuration,
    /// What a due instant does while a run is active.
    pub overlap: String,
    /// What happens to instants that were due while no node was there.
    pub missed: String,
    /// How late an instant may still start.
    pub grace: Option<Duration>,
    /// How many runs may be active at once.
    pub max_running: i16,
    /// The queue that a node must serve.
    pub queue: String,
    /// The tags that a node must offer.
    pub required_tags: Vec<String>,
    /// The limit that it shares with other tasks, and how many runs that allows.
    pub group: Option<(String, i16)>,
    /// Why the packages that it asks for cannot be had.
    pub packages_problem: Option<String>,
    /// How many nodes are alive.
    pub live_nodes: i64,
    /// How many of them serve its queue and offer its tags.
    pub serving_nodes: i64,
}

/// One task event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number.
    pub event_id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What happened.
    pub kind: String,
    /// The columns that changed, as they were; of a header, the keys that say when it runs.
    pub before: Value,
    /// The same, as they became.
    pub after: Value,
}

/// One row of the run log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunFact {
    /// Its number.
    pub run_id: i64,
    /// Its task's name then.
    pub task: String,
    /// The instant it stands for in the log.
    pub scheduled_for: Timestamp,
    /// 1 for the first try.
    pub attempt: i16,
    /// What asked for it.
    pub trigger: Trigger,
    /// How it stands.
    pub status: Status,
    /// Why.
    pub reason: Option<Reason>,
    /// The facts behind the reason, in words.
    pub detail: Option<String>,
    /// The instant that the script was told, where that is another.
    pub as_of: Option<Timestamp>,
    /// When the row was made.
    pub queued_at: Timestamp,
    /// When it should start.
    pub due_at: Timestamp,
    /// The go.
    pub started_at: Option<Timestamp>,
    /// Its end, or when it was decided that it does not run.
    pub finished_at: Option<Timestamp>,
    /// What went wrong.
    pub error: Option<String>,
    /// For missed: how many instants.
    pub missed_count: Option<i64>,
    /// For missed: the last of them.
    pub missed_until: Option<Timestamp>,
    /// Who asked for it.
    pub requested_by: Option<String>,
    /// The process that owned it, such as `web-1 (pid 4711)`.
    pub node: Option<String>,
}

/// What is known around one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scene {
    /// The instant.
    pub at: Timestamp,
    /// The rows that stand for it: one for each attempt.
    pub rows: Vec<RunFact>,
    /// The missed span that it may lie in.
    pub span: Option<RunFact>,
    /// The first row after that span.
    pub after_span: Option<RunFact>,
    /// The run that was in its way.
    pub in_the_way: Option<RunFact>,
    /// Runs that somebody asked for later, to stand for this instant.
    pub stand_ins: Vec<RunFact>,
    /// Services that were there.
    pub nodes: Vec<NodeFact>,
    /// The one that was last there before.
    pub node_before: Option<NodeFact>,
    /// The one that came first after it.
    pub node_after: Option<NodeFact>,
}

impl Scene {
    /// One without anything.
    pub fn empty(at: Timestamp) -> Scene {
        Scene {
            at,
            rows: Vec::new(),
            span: None,
            after_span: None,
            in_the_way: None,
            stand_ins: Vec::new(),
            nodes: Vec::new(),
            node_before: None,
            node_after: None,
        }
    }
}

/// One incarnation of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeFact {
    /// Host and process, such as `web-1 (pid 4711)`.
    pub node: String,
    /// Its start.
    pub started_at: Timestamp,
    /// Start of its last unbroken contact with the database.
    pub connected_since: Timestamp,
    /// Its last sign of life; none: it is alive.
    pub seen_until: Option<Timestamp>,
}

/// A run in flight, of the task or of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// The run.
    pub run_id: i64,
    /// Its task's name.
    pub task: String,
    /// Whether it is a run of the task asked about.
    pub is_own: bool,
    /// `queued`, `claimed` or `running`.
    pub state: String,
    /// Whether it is made up for after a time without nodes.
    pub is_catch_up: bool,
    /// When it should start.
    pub due_at: Timestamp,
    /// Whether it holds a place under the task's limit.
    pub holds_slot: bool,
    /// Whether it holds a place under the group's limit.
    pub holds_group_slot: bool,
    /// Whether it runs beside all limits.
    pub exempt: bool,
    /// The process that owns it.
    pub node: Option<String>,
    /// Who asked that it be stopped.
    pub cancel_requested_by: Option<String>,
}

/// All that an answer is made from.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The task.
    pub story: Story,
    /// What is known around the instants that matter.
    pub scenes: Vec<Scene>,
    /// Runs in flight.
    pub active: Vec<Active>,
}
