//! Which plan was in force when: from the planner's own events, and where those do not reach, from the story.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::facts::{Event, Story};
use crate::plan::just_before;
use crate::schedule::Schedule;

/// Why a cursor stood still.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Somebody paused the task.
    Paused,
    /// Its header disabled it.
    Disabled,
    /// Its file was gone.
    Retired,
    /// Its schedule could not be read any more.
    Unplannable,
}

/// How a plan is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The planner recorded it.
    Recorded,
    /// It is concluded from the other events of that time: the planner did not record its plans yet.
    Concluded,
    /// It is what the task wants now, and the planner will come to it.
    Awaited,
}

/// The change that brought a plan about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The kind of the task event: `edited`, `paused`, `overridden` and so on.
    pub kind: String,
    /// Who made it.
    pub actor: String,
    /// When.
    pub at: Timestamp,
}

/// A plan and the time in which it was in force.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The schedule texts; none: on request only.
    pub schedule: Vec<String>,
    /// The zone they are read in.
    pub timezone: String,
    /// Why the cursor stood still.
    pub idle: Option<Idle>,
    /// Why what was wanted could not be planned: the last good plan went on.
    pub problem: Option<String>,
    /// It holds for instants after this one.
    pub after: Timestamp,
    /// It holds for instants up to this one; none: it is in force.
    pub until: Option<Timestamp>,
    /// What brought it about.
    pub cause: Option<Cause>,
    /// How it is known.
    pub evidence: Evidence,
    /// The texts and the zone, read.
    #[serde(skip)]
    pub read: Option<Schedule>,
}

impl Plan {
    /// Whether it asks for an instant.
    pub fn asks_for(&self, at: Timestamp) -> bool {
        self.asking().is_some_and(|schedule| schedule.contains(at))
    }

    /// Whether it asks for any instants.
    pub fn asks(&self) -> bool {
        self.asking().is_some()
    }

    /// Its newest instant before another one.
    pub fn latest_before(&self, at: Timestamp) -> Option<Timestamp> {
        let until = self.until.map_or(just_before(at), |until| until.min(just_before(at)));
        self.asking()?.latest(self.after, until)
    }

    /// Its first instant after another one.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.asking()?.next_after(at.max(self.after))?;
        self.until.is_none_or(|until| next <= until).then_some(next)
    }

    fn asking(&self) -> Option<&Schedule> {
        self.read.as_ref().filter(|_| self.idle != Some(Idle::Retired))
    }
}

/// The plans of a task, one after another without a gap, from when it was first seen.
#[derive(Clone, Debug)]
pub struct Plans(Vec<Plan>);

impl Plans {
    /// Reads them out of a story.
    pub fn of(story: &Story) -> Plans {
        let recorded: Vec<Plan> = story
            .events
            .iter()
            .filter(|event| event.kind == "planned")
            .filter_map(|event| recorded_plan(story, event))
            .collect();
        let known_from = recorded.first().map(|plan| plan.after);
        // What was planned first is all there is to know, unless there was a plan before it.
        let first_is_new = story
            .events
            .iter()
            .find(|event| event.kind == "planned")
            .is_some_and(|event| event.before.is_null());
        let mut plans = if first_is_new {
            Vec::new()
        } else {
            concluded_plans(story, known_from)
        };
        plans.extend(recorded);
        plans.extend(awaited_plan(story, plans.last()));
        for at in 1..plans.len() {
            // A change holds at the earliest after what a node had claimed when the one before it was made.
            plans[at].after = plans[at].after.max(plans[at - 1].after);
            plans[at - 1].until = Some(plans[at].after);
        }
        Plans(plans)
    }

    /// The one that was in force at an instant. `None`: none yet.
    pub fn at(&self, at: Timestamp) -> Option<&Plan> {
        self.position(at).map(|position| &self.0[position])
    }

    /// The one that is in force.
    pub fn last(&self) -> Option<&Plan> {
        self.0.last()
    }

    /// The nearest instant before another one.
    pub fn latest_before(&self, at: Timestamp) -> Option<Timestamp> {
        self.0.iter().rev().find_map(|plan| plan.latest_before(at))
    }

    /// The nearest instant after another one.
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        self.0.iter().find_map(|plan| plan.next_after(at))
    }

    /// The instants from one to another, both included, oldest first: at most so many.
    pub fn between(&self, from: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        let next = |at: &Timestamp| self.next_after(*at);
        std::iter::successors(self.next_after(just_before(from)), next)
            .take_while(|at| *at <= until)
            .take(limit)
            .collect()
    }

    /// The nearest plans before and after the one in force at an instant which ask for other instants than it does.
    pub fn beside(&self, at: Timestamp) -> (Option<&Plan>, Option<&Plan>) {
        let Some(position) = self.position(at) else {
            return (None, self.0.first());
        };
        let plan = &self.0[position];
        let differs = |other: &&Plan| (&other.schedule, &other.timezone) != (&plan.schedule, &plan.timezone);
        (
            self.0[..position].iter().rev().find(differs),
            self.0[position + 1..].iter().find(differs),
        )
    }

    /// The plan whose definition first was that of the one in force at an instant: pauses in between do not count.
    pub fn since(&self, at: Timestamp) -> Option<&Plan> {
        let position = self.position(at)?;
        let plan = &self.0[position];
        let same = |other: &&Plan| (&other.schedule, &other.timezone) == (&plan.schedule, &plan.timezone);
        self.0[..=position].iter().rev().take_while(same).last()
    }

    fn position(&self, at: Timestamp) -> Option<usize> {
        self.0.iter().rposition(|plan| plan.after < at)
    }
}

/// What the planner wrote.
fn recorded_plan(story: &Story, event: &Event) -> Option<Plan> {
    let after = event.after["holds_after"].as_str()?.parse().ok()?;
    let cause = event.after["cause"]
        .as_i64()
        .and_then(|cause| story.events.iter().find(|event| event.event_id == cause));
    let idle = event.after["idle"].as_str().and_then(|idle| match idle {
        "paused" => Some(Idle::Paused),
        "disabled" => Some(Idle::Disabled),
        "retired" => Some(Idle::Retired),
        "unplannable" => Some(Idle::Unplannable),
        _ => None,
    });
    let definition = (
        texts(&event.after["schedule"]).unwrap_or_default(),
        text(&event.after["timezone"])?,
    );
    Some(Plan {
        problem: text(&event.after["problem"]),
        cause: cause.map(cause_of),
        evidence: Evidence::Recorded,
        ..plan(definition, idle, after)
    })
}

fn plan((schedule, timezone): (Vec<String>, String), idle: Option<Idle>, after: Timestamp) -> Plan {
    Plan {
        read: Schedule::parse(&schedule, &timezone).ok(),
        schedule,
        timezone,
        idle,
        problem: None,
        after,
        until: None,
        cause: None,
        evidence: Evidence::Concluded,
    }
}

fn cause_of(event: &Event) -> Cause {
    Cause {
        kind: event.kind.clone(),
        actor: event.actor.clone(),
        at: event.at,
    }
}

/// What a task wanted at some time.
struct Definition {
    schedule: Vec<String>,
    timezone: String,
    schedule_override: Option<Vec<String>>,
    timezone_override: Option<String>,
    enabled: bool,
    paused: bool,
    retired: bool,
}

impl Definition {
    fn of(story: &Story) -> Definition {
        let task = &story.task;
        Definition {
            schedule: task.schedule.clone(),
            timezone: task.timezone.clone(),
            schedule_override: task.schedule_override.clone(),
            timezone_override: task.timezone_override.clone(),
            enabled: task.enabled,
            paused: task.paused_at.is_some(),
            retired: task.retired_at.is_some(),
        }
    }

    /// Goes back to what it was before an event.
    fn undo(&mut self, event: &Event) {
        let before = &event.before;
        match event.kind.as_str() {
            "paused" => self.paused = false,
            "resumed" => self.paused = true,
            "retired" => self.retired = false,
            "overridden" => {
                if before.get("schedule_override").is_some() {
                    self.schedule_override = texts(&before["schedule_override"]);
                }
                if before.get("timezone_override").is_some() {
                    self.timezone_override = text(&before["timezone_override"]);
                }
            }
            _ => {
                self.retired |= event.kind == "revived";
                let header = &before["header"];
                self.schedule = texts(&header["schedule"]).unwrap_or_else(|| std::mem::take(&mut self.schedule));
                self.timezone = text(&header["timezone"]).unwrap_or_else(|| std::mem::take(&mut self.timezone));
                self.enabled = header["enabled"].as_bool().unwrap_or(self.enabled);
            }
        }
    }

    fn plan(&self, after: Timestamp) -> Plan {
        let idle = match () {
            () if self.retired => Some(Idle::Retired),
            () if self.paused => Some(Idle::Paused),
            () if !self.enabled => Some(Idle::Disabled),
            () => None,
        };
        let schedule = self.schedule_override.as_ref().unwrap_or(&self.schedule);
        let timezone = self.timezone_override.as_ref().unwrap_or(&self.timezone);
        plan((schedule.clone(), timezone.clone()), idle, after)
    }
}

/// The planner's own events follow a change, and those of packages have nothing to do with when a task is due.
fn changes_plan(event: &Event) -> bool {
    event.kind != "planned" && event.kind != "environment"
}

/// What the other events and the task as it stands tell about the time before the planner recorded its plans. It may be wrong
/// about moments: a plan follows its definition a little later, and one that cannot be planned does not.
fn concluded_plans(story: &Story, until: Option<Timestamp>) -> Vec<Plan> {
    let mut definition = Definition::of(story);
    let mut plans = Vec::new();
    for event in story.events.iter().rev().filter(|event| changes_plan(event)) {
        if until.is_none_or(|until| event.at < until) && event.kind != "created" {
            let plan = definition.plan(event.at);
            plans.push(Plan {
                cause: Some(cause_of(event)),
                ..plan
            });
        }
        definition.undo(event);
    }
    let is_before = |plan: &Plan| until.is_none_or(|until| plan.after < until);
    plans.push(definition.plan(story.task.created_at));
    plans.retain(is_before);
    plans.reverse();
    plans.dedup_by(|later, earlier| {
        (&later.schedule, &later.timezone, later.idle) == (&earlier.schedule, &earlier.timezone, earlier.idle)
    });
    plans
}

/// What the planner has still to come to. A definition that cannot be planned will leave the schedule as it is.
fn awaited_plan(story: &Story, last: Option<&Plan>) -> Option<Plan> {
    let mut awaited = Definition::of(story).plan(story.task.updated_at);
    if let (None, Some(last)) = (&awaited.read, last)
        && !awaited.schedule.is_empty()
    {
        (awaited.schedule, awaited.timezone) = (last.schedule.clone(), last.timezone.clone());
        awaited.read = last.read.clone();
    }
    awaited.evidence = Evidence::Awaited;
    let differs = |last: &Plan| {
        (&last.schedule, &last.timezone, last.idle) != (&awaited.schedule, &awaited.timezone, awaited.idle)
    };
    let last_change = story
        .events
        .iter()
        .rfind(|event| changes_plan(event) && event.at >= story.task.updated_at);
    awaited.cause = last_change.map(cause_of);
    (story.task.changing && last.is_none_or(differs)).then_some(awaited)
}

/// A list of texts; none: null.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    Some(list.filter_map(|each| each.as_str().map(str::to_owned)).collect())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
