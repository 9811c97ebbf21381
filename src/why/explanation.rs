//! What became of an instant: the deciding, without a word of prose.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::facts::{Active, Event, Facts, NodeFact, RunFact, Scene, Story};
use super::plans::{Idle, Plan, Plans};
use crate::run::{Reason, Status, Trigger};

/// What became of an instant, or will.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Explanation {
    /// It was run, and the run has ended.
    Ran {
        /// Its last attempt.
        run: RunFact,
        /// Attempts before that.
        earlier: Vec<RunFact>,
        /// For one that was made up for: when nobody was there.
        outage: Option<Outage>,
    },
    /// Its run has not ended.
    Active {
        /// The attempt in hand.
        run: RunFact,
        /// Attempts before that.
        earlier: Vec<RunFact>,
        /// What it does or waits for.
        waiting: Waiting,
        /// The process that has it.
        node: Option<String>,
    },
    /// It was deliberately not run.
    Skipped {
        /// Its row.
        run: RunFact,
        /// Attempts before that.
        earlier: Vec<RunFact>,
        /// The run that was in the way.
        in_the_way: Option<RunFact>,
    },
    /// No node was there, or too many instants had been missed.
    Missed {
        /// The row, which stands for a span of instants.
        row: RunFact,
        /// When nobody was there.
        outage: Outage,
        /// The run that made up for the span.
        made_up_by: Option<RunFact>,
    },
    /// The task stood still.
    StoodStill {
        /// Why.
        idle: Idle,
        /// The pause, if it was one.
        pause: Option<Pause>,
        /// The row; none: it is written when the standstill ends.
        row: Option<RunFact>,
        /// Whether it has ended.
        is_over: bool,
    },
    /// It is due now, and nobody has settled it yet.
    Unsettled {
        /// How many nodes could.
        nodes: i64,
        /// When nobody was there.
        outage: Outage,
    },
    /// It is still to come.
    Pending {
        /// When its run should start.
        due_at: Timestamp,
        /// What keeps it from running, as things stand.
        hindrance: Option<Hindrance>,
    },
    /// The task was not due then.
    NotDue {
        /// The nearest instant before.
        before: Option<Neighbour>,
        /// The nearest instant after.
        after: Option<Neighbour>,
        /// It was due under another plan.
        other_plan: Option<OtherPlan>,
        /// The clock showed this time before, and fixed times fire the first time.
        is_second_pass: bool,
    },
    /// The task had no schedule: it ran on request only.
    OnRequest {
        /// Its file had never been good.
        never_good: Option<Problem>,
    },
    /// The task was not known yet.
    NotYetKnown {
        /// When it was first seen.
        created_at: Timestamp,
        /// Its first instant.
        first: Option<Timestamp>,
    },
    /// The task's file was gone.
    Retired {
        /// Since when.
        since: Timestamp,
        /// When it came back.
        until: Option<Timestamp>,
    },
    /// The run log does not reach back so far.
    Forgotten {
        /// How far it reaches.
        horizon: Timestamp,
    },
    /// It was due and is settled, and there is no row: this should not be.
    Unaccounted {
        /// Services that were there.
        nodes: Vec<NodeFact>,
        /// When nobody was there.
        outage: Outage,
    },
}

/// A time in which nobody was there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outage {
    /// The last one there.
    pub last: Option<NodeFact>,
    /// The first one to come.
    pub next: Option<NodeFact>,
    /// Services that were alive then, and yet did not fire it: they were leaving, or had lost contact.
    pub there: Vec<NodeFact>,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pause {
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub by: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Until when.
    pub until: Option<Timestamp>,
    /// Who ended it.
    pub ended_by: Option<String>,
}

/// What a run in flight does, or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Waiting {
    /// It runs.
    Runs,
    /// A node has it and starts it.
    Starts,
    /// Somebody asked that it be stopped.
    Stopping {
        /// Who.
        by: String,
    },
    /// The pause before a retry has not ended.
    RetryPause {
        /// When it ends.
        until: Timestamp,
    },
    /// No node is alive.
    AnyNode,
    /// No node serves its queue and offers its tags.
    ServingNode {
        /// The queue.
        queue: String,
        /// The tags.
        required_tags: Vec<String>,
    },
    /// Runs of the same task are in the way.
    Task {
        /// Their numbers.
        run_ids: Vec<i64>,
    },
    /// Runs of its concurrency group are in the way.
    Group {
        /// The group.
        group: String,
        /// Their numbers and tasks.
        runs: Vec<(i64, String)>,
    },
    /// All places of the nodes are taken, or it is about to be taken.
    Place,
}

/// What keeps an instant that is still to come from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "hindrance", rename_all = "snake_case")]
pub enum Hindrance {
    /// The task stands still.
    Idle {
        /// Why.
        idle: Idle,
        /// The pause, if it is one.
        pause: Option<Pause>,
    },
    /// No node is alive.
    NoNode,
    /// No node serves its queue and offers its tags.
    NoServingNode {
        /// The queue.
        queue: String,
        /// The tags.
        required_tags: Vec<String>,
    },
    /// Runs are active, and the overlap policy will speak if they still are.
    ActiveRun {
        /// The first of them.
        run_id: i64,
        /// The policy.
        overlap: String,
    },
}

/// An instant nearby, and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Neighbour {
    /// The instant.
    pub at: Timestamp,
    /// What became of it.
    pub explanation: Box<Explanation>,
}

/// A plan that asked for the instant, but was not in force.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OtherPlan {
    /// Its schedule.
    pub schedule: Vec<String>,
    /// Its zone.
    pub timezone: String,
    /// Whether it is the one before (`true`) or the one after.
    pub is_earlier: bool,
    /// When the plan changed.
    pub changed_at: Timestamp,
    /// What changed it: `edited`, `overridden` and so on, and who.
    pub cause: Option<super::plans::Cause>,
}

/// Something that was wrong with the task's file, or with the packages that it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Since when.
    pub since: Timestamp,
    /// Until when; none: it still is.
    pub until: Option<Timestamp>,
    /// What is wrong, in words.
    pub text: String,
}

/// What the deciding looks at.
pub(super) struct Case<'a> {
    pub facts: &'a Facts,
    pub plans: &'a Plans,
}

impl Case<'_> {
    /// What became of an instant.
    pub fn explain(&self, at: Timestamp) -> Explanation {
        self.explain_by_row(at).unwrap_or_else(|| self.explain_without_row(at))
    }

    fn scene(&self, at: Timestamp) -> Scene {
        let found = self.facts.scenes.iter().find(|scene| scene.at == at);
        found.cloned().unwrap_or_else(|| Scene::empty(at))
    }

    fn story(&self) -> &Story {
        &self.facts.story
    }

    /// What the run log says.
    fn explain_by_row(&self, at: Timestamp) -> Option<Explanation> {
        let scene = self.scene(at);
        let mut earlier = scene.rows.clone();
        let Some(run) = earlier.pop() else {
            let plan = self.plans.at(at)?;
            return plan.asks_for(at).then(|| self.explain_span(&scene)).flatten();
        };
        Some(match run.status {
            Status::Queued | Status::Running => self.explain_active(run, earlier),
            Status::Skipped => Explanation::Skipped {
                run,
                earlier,
                in_the_way: scene.in_the_way,
            },
            Status::Missed => self.explain_missed(run, &scene),
            _ => {
                let is_made_up = run.trigger == Trigger::CatchUp;
                Explanation::Ran {
                    run,
                    earlier,
                    outage: is_made_up.then(|| outage(&scene)),
                }
            }
        })
    }

    fn explain_span(&self, scene: &Scene) -> Option<Explanation> {
        let row = scene.span.clone()?;
        let covers = row.scheduled_for <= scene.at && row.missed_until.is_some_and(|until| scene.at <= until);
        covers.then(|| self.explain_missed(row, scene))
    }

    fn explain_missed(&self, row: RunFact, scene: &Scene) -> Explanation {
        let idle = match row.reason {
            Some(Reason::Paused) => Some(Idle::Paused),
            Some(Reason::Disabled) => Some(Idle::Disabled),
            _ => None,
        };
        match idle {
            Some(idle) => Explanation::StoodStill {
                idle,
                pause: self.pause(scene.at).filter(|_| idle == Idle::Paused),
                row: Some(row),
                is_over: true,
            },
            None => Explanation::Missed {
                row,
                outage: outage(scene),
                made_up_by: scene.after_span.clone().filter(|run| run.trigger == Trigger::CatchUp),
            },
        }
    }

    fn explain_active(&self, run: RunFact, earlier: Vec<RunFact>) -> Explanation {
        let lease = self.facts.active.iter().find(|active| active.run_id == run.run_id);
        Explanation::Active {
            waiting: lease.map_or(Waiting::Place, |lease| self.waiting(lease)),
            node: lease.and_then(|lease| lease.node.clone()).or_else(|| run.node.clone()),
            run,
            earlier,
        }
    }

    /// Why a run in flight does not run: the conditions of claiming, in the order in which a person would ask.
    fn waiting(&self, lease: &Active) -> Waiting {
        let task = &self.story().task;
        let others = || self.facts.active.iter().filter(|other| other.run_id != lease.run_id);
        if let Some(by) = &lease.cancel_requested_by {
            return Waiting::Stopping { by: by.clone() };
        }
        if lease.state != "queued" {
            return if lease.state == "running" {
                Waiting::Runs
            } else {
                Waiting::Starts
            };
        }
        if lease.due_at > self.story().now {
            return Waiting::RetryPause { until: lease.due_at };
        }
        if let Some(hindrance) = self.no_node() {
            return match hindrance {
                Hindrance::NoServingNode { queue, required_tags } => Waiting::ServingNode { queue, required_tags },
                _ => Waiting::AnyNode,
            };
        }
        let own: Vec<&Active> = others().filter(|other| other.is_own).collect();
        let slots: Vec<i64> = own
            .iter()
            .filter(|other| other.holds_slot)
            .map(|other| other.run_id)
            .collect();
        if !lease.exempt && !lease.holds_slot && slots.len() >= usize::try_from(task.max_running).unwrap_or(1) {
            return Waiting::Task { run_ids: slots };
        }
        let made_up: Vec<i64> = own
            .iter()
            .filter(|other| lease.is_catch_up && other.is_catch_up && other.state != "queued")
            .map(|other| other.run_id)
            .collect();
        if !made_up.is_empty() {
            return Waiting::Task { run_ids: made_up };
        }
        if let Some((group, limit)) = &task.group {
            let runs: Vec<(i64, String)> = others()
                .filter(|other| other.holds_group_slot)
                .map(|other| (other.run_id, other.task.clone()))
                .collect();
            if !lease.exempt && runs.len() >= usize::try_from(*limit).unwrap_or(1) {
                return Waiting::Group {
                    group: group.clone(),
                    runs,
                };
            }
        }
        Waiting::Place
    }

    /// What is to be said where the run log says nothing.
    fn explain_without_row(&self, at: Timestamp) -> Explanation {
        let story = self.story();
        let scene = self.scene(at);
        let Some(plan) = self.plans.at(at) else {
            if at > story.task.created_at {
                return self.not_due(at);
            }
            return Explanation::NotYetKnown {
                created_at: story.task.created_at,
                first: self.plans.next_after(at),
            };
        };
        match plan.idle {
            Some(Idle::Retired) => return self.retired(plan),
            _ if plan.read.is_none() && !plan.schedule.is_empty() => {
                return Explanation::StoodStill {
                    idle: Idle::Unplannable,
                    pause: None,
                    row: None,
                    is_over: plan.until.is_some(),
                };
            }
            _ if at > story.now => return self.to_come(at, plan),
            _ if plan.schedule.is_empty() => return self.on_request(at),
            _ if !plan.asks_for(at) => return self.not_due(at),
            _ => {}
        }
        let offset = story.task.due_offset;
        let due_at = at.saturating_add(offset).unwrap_or(at);
        if let Some(horizon) = story.horizon.filter(|horizon| at < *horizon) {
            return Explanation::Forgotten { horizon };
        }
        match plan.idle {
            Some(idle) => Explanation::StoodStill {
                idle,
                pause: self.pause(at).filter(|_| idle == Idle::Paused),
                row: None,
                is_over: plan.until.is_some(),
            },
            None if due_at > story.now => Explanation::Pending {
                due_at,
                hindrance: self.hindrance(),
            },
            None if story.task.next_fire_at.is_some_and(|next| next <= at) => Explanation::Unsettled {
                nodes: story.task.live_nodes,
                outage: outage(&scene),
            },
            None => Explanation::Unaccounted {
                nodes: scene.nodes.clone(),
                outage: outage(&scene),
            },
        }
    }

    fn to_come(&self, at: Timestamp, plan: &Plan) -> Explanation {
        if plan.schedule.is_empty() {
            return self.on_request(at);
        }
        if !plan.asks_for(at) {
            return self.not_due(at);
        }
        Explanation::Pending {
            due_at: at.saturating_add(self.story().task.due_offset).unwrap_or(at),
            hindrance: self.hindrance(),
        }
    }

    fn retired(&self, plan: &Plan) -> Explanation {
        Explanation::Retired {
            since: plan.cause.as_ref().map_or(plan.after, |cause| cause.at),
            until: plan.until,
        }
    }

    fn on_request(&self, at: Timestamp) -> Explanation {
        if self.other_plan(at).is_some() {
            return self.not_due(at);
        }
        Explanation::OnRequest {
            never_good: self.problem(at).filter(|problem| self.is_first_told(problem)),
        }
    }

    /// Whether a problem is the first thing that was ever known of the file.
    fn is_first_told(&self, problem: &Problem) -> bool {
        let first = self.story().events.iter().find(|event| event.kind == "created");
        first.is_some_and(|first| first.at == problem.since)
    }

    fn not_due(&self, at: Timestamp) -> Explanation {
        let neighbour = |at: Option<Timestamp>| {
            at.map(|at| Neighbour {
                at,
                explanation: Box::new(self.explain(at)),
            })
        };
        Explanation::NotDue {
            before: neighbour(self.plans.latest_before(at)),
            after: neighbour(self.plans.next_after(at)),
            other_plan: self.other_plan(at),
            is_second_pass: self.is_second_pass(at),
        }
    }

    /// Whether the clock shows a time for the second time that fixed times of the plan fired the first time.
    fn is_second_pass(&self, at: Timestamp) -> bool {
        use crate::schedule::{LocalTime, Named, local_time};
        let schedule = self.plans.at(at).and_then(|plan| plan.read.as_ref());
        schedule.is_some_and(|schedule| {
            let local = schedule.timezone().to_datetime(at);
            let found = local_time(schedule.timezone(), local);
            matches!(found, Some(LocalTime::Twice { second, .. }) if second == at)
                && schedule.names(local) == Some(Named::Fixed)
        })
    }

    fn other_plan(&self, at: Timestamp) -> Option<OtherPlan> {
        let (before, after) = self.plans.beside(at);
        let asks = |plan: &&Plan| plan.read.as_ref().is_some_and(|schedule| schedule.contains(at));
        let other = |plan: &Plan, is_earlier, change: &Plan| OtherPlan {
            schedule: plan.schedule.clone(),
            timezone: plan.timezone.clone(),
            is_earlier,
            changed_at: change.after,
            cause: change.cause.clone(),
        };
        // What was asked before is over since the plan in force began; what is asked after, since that other plan began.
        let earlier = before
            .filter(asks)
            .zip(self.plans.since(at))
            .map(|(plan, since)| other(plan, true, since));
        earlier.or_else(|| after.filter(asks).map(|plan| other(plan, false, plan)))
    }

    /// What keeps the next instants from running, as things stand.
    fn hindrance(&self) -> Option<Hindrance> {
        let now = self.story().now;
        if let Some(idle) = self.plans.last().and_then(|plan| plan.idle) {
            return Some(Hindrance::Idle {
                idle,
                pause: self.pause(now).filter(|_| idle == Idle::Paused),
            });
        }
        let active = || {
            self.facts
                .active
                .iter()
                .find(|active| active.is_own && active.holds_slot)
        };
        self.no_node().or_else(|| {
            active().map(|active| Hindrance::ActiveRun {
                run_id: active.run_id,
                overlap: self.story().task.overlap.clone(),
            })
        })
    }

    fn no_node(&self) -> Option<Hindrance> {
        let task = &self.story().task;
        if task.live_nodes == 0 {
            return Some(Hindrance::NoNode);
        }
        (task.serving_nodes == 0).then(|| Hindrance::NoServingNode {
            queue: task.queue.clone(),
            required_tags: task.required_tags.clone(),
        })
    }

    /// The pause that an instant fell into. Jitter and a claim ahead let it begin a moment before or after the event, so that
    /// the plan decides whether there was one, and the events say which.
    fn pause(&self, at: Timestamp) -> Option<Pause> {
        let story = self.story();
        let until = self
            .plans
            .at(at)
            .and_then(|plan| plan.cause.as_ref())
            .map_or(at, |cause| cause.at.max(at));
        let begun = story
            .events
            .iter()
            .rfind(|event| event.kind == "paused" && event.at <= until);
        let ended = |since| {
            story
                .events
                .iter()
                .find(move |event| event.kind == "resumed" && event.at >= since)
        };
        match begun {
            Some(event) => Some(Pause {
                since: event.at,
                by: Some(event.actor.clone()),
                reason: event.after["paused_reason"].as_str().map(str::to_owned),
                until: ended(event.at).map(|event| event.at),
                ended_by: ended(event.at).map(|event| event.actor.clone()),
            }),
            None => story.task.paused_at.map(|since| Pause {
                since,
                by: story.task.paused_by.clone(),
                reason: story.task.paused_reason.clone(),
                until: None,
                ended_by: None,
            }),
        }
    }

    /// What was wrong with the file at an instant.
    pub fn problem(&self, at: Timestamp) -> Option<Problem> {
        let events = &self.story().events;
        let tells = |event: &&Event| {
            event.after.get("problem").is_some() && !["planned", "environment"].contains(&event.kind.as_str())
        };
        let text = |event: &Event| event.after["problem"].as_str().map(str::to_owned);
        let last = events.iter().rev().filter(tells).find(|event| event.at <= at)?;
        let wrong = text(last)?;
        // The same problem may be told several times, by edits that did not cure it.
        let told = events.iter().rev().filter(tells).filter(|event| event.at <= at);
        let since = told
            .take_while(|event| text(event).is_some())
            .last()
            .map_or(last.at, |event| event.at);
        let later = events.iter().filter(tells).filter(|event| event.at > at);
        Some(Problem {
            since,
            until: later
                .into_iter()
                .find(|event| text(event).is_none())
                .map(|event| event.at),
            text: wrong,
        })
    }

    /// Why the packages that the task asked for could not be had at an instant.
    pub fn packages_problem(&self, at: Timestamp) -> Option<Problem> {
        let story = self.story();
        let told: Vec<&Event> = story
            .events
            .iter()
            .filter(|event| event.kind == "environment")
            .collect();
        let (earlier, later) = told.split_at(told.partition_point(|event| event.at <= at));
        let text = |event: &Event| event.after["problem"].as_str().map(str::to_owned);
        let last = *earlier.last()?;
        let wrong = text(last)?;
        let failed = earlier.iter().rev().take_while(|event| text(event).is_some());
        let cured = later.iter().find(|event| text(event).is_none()).map(|event| event.at);
        // Where an edit asks for nothing that is missing, no event says that what was missing is not wanted any more.
        let is_over = cured.is_none() && story.task.packages_problem.is_none();
        let edit = story
            .events
            .iter()
            .find(|event| ["edited", "healed"].contains(&event.kind.as_str()) && event.at > last.at);
        let until = cured.or(edit.filter(|_| is_over).map(|event| event.at));
        (until.is_none_or(|until| until > at)).then_some(Problem {
            since: failed.last().map_or(last.at, |event| event.at),
            until,
            text: wrong,
        })
    }
}

fn outage(scene: &Scene) -> Outage {
    Outage {
        last: scene.node_before.clone(),
        next: scene.node_after.clone(),
        there: scene.nodes.clone(),
    }
}

/// How late a run was let go.
pub fn lateness(run: &RunFact) -> Option<SignedDuration> {
    run.started_at.map(|at| at.duration_since(run.due_at))
}
