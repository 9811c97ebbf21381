//! A run log and a task's story made up for tests, and the proof that every due instant gets the answer that it should.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::explanation::Case;
use super::plans::Plans;
use super::{Active, Event, Facts, NodeFact, RunFact, Scene, Story, Task};
use crate::plan::{DebtLine, Policies, Position, debt, idle_span};
use crate::run::{Reason, Status, Trigger};
use crate::schedule::Schedule;
use crate::script::Missed;

/// A task and what happened to it, written as the program writes it.
pub(super) struct Ledger {
    pub story: Story,
    pub rows: Vec<RunFact>,
    pub nodes: Vec<NodeFact>,
    pub active: Vec<Active>,
    schedule: Schedule,
    settled: Timestamp,
    plan: Value,
}

pub(super) fn seconds(count: i64) -> SignedDuration {
    SignedDuration::from_secs(count)
}

impl Ledger {
    /// A task that was seen and planned at `created_at`, and a service that has been there since.
    pub fn new(schedule: &str, timezone: &str, created_at: Timestamp) -> Ledger {
        let task = Task {
            task_id: 1,
            name: "backup".to_owned(),
            created_at,
            retired_at: None,
            schedule: vec![schedule.to_owned()],
            timezone: timezone.to_owned(),
            schedule_override: None,
            timezone_override: None,
            enabled: true,
            paused_at: None,
            paused_by: None,
            paused_reason: None,
            updated_at: created_at,
            changing: false,
            next_fire_at: None,
            due_offset: SignedDuration::ZERO,
            overlap: "skip".to_owned(),
            missed: "latest".to_owned(),
            grace: None,
            max_running: 1,
            queue: "default".to_owned(),
            required_tags: Vec::new(),
            group: None,
            live_nodes: 1,
            packages_problem: None,
            serving_nodes: 1,
        };
        let mut ledger = Ledger {
            story: Story {
                now: created_at,
                task,
                events: Vec::new(),
                horizon: None,
            },
            rows: Vec::new(),
            nodes: Vec::new(),
            active: Vec::new(),
            schedule: Schedule::parse(&[schedule], timezone).expect("a valid schedule"),
            settled: created_at,
            plan: Value::Null,
        };
        ledger.starts(created_at);
        let header = json!({ "header": { "schedule": [schedule], "timezone": timezone }, "problem": null });
        ledger.tell(created_at, "syncer", "created", Value::Null, header);
        ledger.planned(json!({ "schedule": [schedule], "timezone": timezone, "idle": null, "problem": null }));
        ledger
    }

    pub fn tell(&mut self, at: Timestamp, actor: &str, kind: &str, before: Value, after: Value) {
        self.story.events.push(Event {
            event_id: self.story.events.len() as i64 + 1,
            at,
            actor: actor.to_owned(),
            kind: kind.to_owned(),
            before,
            after,
        });
    }

    /// The planner follows the last event.
    fn planned(&mut self, plan: Value) {
        let cause = self.story.events.len() as i64;
        let before = std::mem::replace(&mut self.plan, plan.clone());
        let mut after = plan;
        after["holds_after"] = json!(self.settled);
        after["cause"] = json!(cause);
        self.tell(self.settled, "planner", "planned", before, after);
    }

    pub fn idle(&mut self, at: Timestamp, kind: &str, idle: Option<&str>, after: Value) {
        self.settled = self.settled.max(at);
        self.tell(at, "eve@host", kind, json!({}), after);
        let mut plan = self.plan.clone();
        plan["idle"] = json!(idle);
        self.planned(plan);
    }

    pub fn edit(&mut self, schedule: &str, timezone: &str, at: Timestamp) {
        self.settled = self.settled.max(at);
        self.schedule = Schedule::parse(&[schedule], timezone).expect("a valid schedule");
        let header =
            |texts: &Value, zone: &Value| json!({ "header": { "schedule": texts, "timezone": zone }, "problem": null });
        let before = header(&self.plan["schedule"], &self.plan["timezone"]);
        let after = header(&json!([schedule]), &json!(timezone));
        self.tell(at, "syncer", "edited", before, after);
        let mut plan = self.plan.clone();
        (plan["schedule"], plan["timezone"]) = (json!([schedule]), json!(timezone));
        self.planned(plan);
        (self.story.task.schedule, self.story.task.timezone) = (vec![schedule.to_owned()], timezone.to_owned());
    }

    pub fn starts(&mut self, at: Timestamp) {
        self.nodes.push(NodeFact {
            node: format!("web-{}", self.nodes.len() + 1),
            started_at: at,
            connected_since: at,
            seen_until: None,
        });
    }

    pub fn stops(&mut self, at: Timestamp) {
        if let Some(node) = self.nodes.last_mut() {
            node.seen_until = Some(at);
        }
    }

    pub fn row(&mut self, at: Timestamp, trigger: Trigger, status: Status, reason: Option<Reason>) -> &mut RunFact {
        let started = reason
            .is_none_or(|reason| reason.status() == status && !matches!(status, Status::Skipped | Status::Missed));
        self.rows.push(RunFact {
            run_id: self.rows.len() as i64 + 1,
            task: self.story.task.name.clone(),
            scheduled_for: at,
            attempt: 1,
            trigger,
            status,
            reason,
            detail: None,
            as_of: None,
            queued_at: at,
            due_at: at,
            started_at: started.then_some(at),
            finished_at: Some(at.saturating_add(seconds(3)).expect("within the calendar")),
            error: None,
            missed_count: None,
            missed_until: None,
            requested_by: None,
            node: None,
        });
        self.rows.last_mut().expect("just pushed")
    }

    fn line(&mut self, line: DebtLine) {
        match line {
            DebtLine::Run {
                scheduled_for, trigger, ..
            } => {
                self.row(scheduled_for, trigger, Status::Succeeded, None);
            }
            DebtLine::TooLate { scheduled_for } => {
                self.row(scheduled_for, Trigger::Schedule, Status::Skipped, Some(Reason::Grace));
            }
            DebtLine::Missed {
                from,
                until,
                count,
                reason,
            } => {
                let row = self.row(from, Trigger::Schedule, Status::Missed, Some(reason));
                (row.missed_count, row.missed_until) = (Some(count as i64), Some(until));
            }
        }
    }

    /// What the statements would read around an instant.
    pub fn scene(&self, at: Timestamp) -> Scene {
        let own: Vec<RunFact> = self
            .rows
            .iter()
            .filter(|row| row.scheduled_for == at)
            .cloned()
            .collect();
        let newest_before = self
            .rows
            .iter()
            .filter(|row| row.scheduled_for < at)
            .max_by_key(|row| row.scheduled_for);
        let span = newest_before
            .filter(|row| row.missed_until.is_some_and(|until| until >= at))
            .cloned();
        let missed_until = own.iter().chain(&span).find_map(|row| row.missed_until);
        let later = self
            .rows
            .iter()
            .filter(|row| missed_until.is_some_and(|until| row.scheduled_for > until));
        let is_there = |node: &&NodeFact| node.started_at <= at && node.seen_until.is_none_or(|until| until > at);
        let is_gone = |node: &&NodeFact| node.seen_until.is_some_and(|until| until <= at);
        Scene {
            span,
            after_span: later.min_by_key(|row| row.scheduled_for).cloned(),
            nodes: self.nodes.iter().filter(is_there).cloned().collect(),
            node_before: self.nodes.iter().rfind(is_gone).cloned(),
            node_after: self.nodes.iter().find(|node| node.started_at > at).cloned(),
            rows: own,
            ..Scene::empty(at)
        }
    }

    /// The facts for some instants and those nearby.
    pub fn facts(&self, instants: &[Timestamp]) -> Facts {
        let mut story = self.story.clone();
        story.task.next_fire_at = self.schedule.next_after(self.settled);
        let plans = Plans::of(&story);
        let near = instants
            .iter()
            .flat_map(|at| [Some(*at), plans.latest_before(*at), plans.next_after(*at)]);
        Facts {
            scenes: near.flatten().map(|at| self.scene(at)).collect(),
            story,
            active: self.active.clone(),
        }
    }

    /// The kind of the answer for an instant.
    fn kind(&self, at: Timestamp) -> String {
        let facts = self.facts(&[at]);
        let plans = Plans::of(&facts.story);
        let explanation = Case {
            facts: &facts,
            plans: &plans,
        }
        .explain(at);
        let value = serde_json::to_value(explanation).expect("an explanation is JSON");
        value["kind"].as_str().expect("with its kind").to_owned()
    }
}

/// What happens to a task for a while.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A service fires it.
    Attended,
    /// Every second instant finds a run in its way.
    Busy,
    /// No service is there; then `missed` speaks.
    Down(Missed),
    /// Somebody paused it.
    Paused,
    /// Its file is gone.
    Gone,
    /// Its schedule is another one from here on.
    Edited(usize),
}

const SCHEDULES: [(&str, &str); 6] = [
    ("30 2 * * *", "Europe/Berlin"),
    ("*/20 * * * *", "America/New_York"),
    ("0,30 0-6 * * *", "Australia/Lord_Howe"),
    ("@every 17m", "UTC"),
    ("15 * * * *", "UTC"),
    ("*/30 1-3 * * *", "Europe/Berlin"),
];

fn phase() -> impl Strategy<Value = (Phase, i64)> {
    let kind = prop_oneof![
        Just(Phase::Attended),
        Just(Phase::Busy),
        prop_oneof![Just(Missed::Skip), Just(Missed::Latest), Just(Missed::All)].prop_map(Phase::Down),
        Just(Phase::Paused),
        Just(Phase::Gone),
        (0..SCHEDULES.len()).prop_map(Phase::Edited),
    ];
    (kind, 1..200_000_i64)
}

/// A made-up history, and what became of each instant that was due in it.
fn lived(first: usize, created_at: Timestamp, phases: &[(Phase, i64)]) -> (Ledger, Vec<(Timestamp, &'static str)>) {
    let (schedule, zone) = SCHEDULES[first];
    let mut ledger = Ledger::new(schedule, zone, created_at);
    let mut expected = Vec::new();
    let mut now = created_at;
    for (position, (phase, length)) in phases.iter().enumerate() {
        let from = now;
        now = now.saturating_add(seconds(*length)).expect("within the calendar");
        let is_last = position + 1 == phases.len();
        let due: Vec<Timestamp> = ledger.schedule.between(ledger.settled, now).collect();
        match *phase {
            Phase::Attended | Phase::Busy => attend(&mut ledger, &due, matches!(phase, Phase::Busy), &mut expected),
            Phase::Edited(other) => {
                let (schedule, zone) = SCHEDULES[other];
                ledger.edit(schedule, zone, from);
                let due: Vec<Timestamp> = ledger.schedule.between(from, now).collect();
                attend(&mut ledger, &due, false, &mut expected);
            }
            Phase::Down(missed) => {
                ledger.stops(from);
                if is_last {
                    // Nobody has come back: what is due stays unsettled.
                    expected.extend(due.iter().map(|at| (*at, "unsettled")));
                    ledger.story.task.live_nodes = 0;
                    break;
                }
                ledger.starts(now);
                come_back(&mut ledger, missed, now, &mut expected);
            }
            Phase::Paused => {
                ledger.idle(from, "paused", Some("paused"), json!({ "paused_by": "eve@host" }));
                expected.extend(due.iter().map(|at| (*at, "stood_still")));
                if is_last {
                    ledger.story.task.paused_at = Some(from);
                    break;
                }
                if let Some(span) = idle_span(&ledger.schedule, from, now, Reason::Paused) {
                    ledger.line(span);
                }
                ledger.idle(now, "resumed", None, json!({}));
            }
            Phase::Gone => {
                ledger.idle(from, "retired", Some("retired"), json!({}));
                expected.extend(due.iter().map(|at| (*at, "retired")));
                ledger.idle(now, "revived", None, json!({}));
            }
        }
        ledger.settled = ledger.settled.max(now);
    }
    ledger.story.now = now;
    (ledger, expected)
}

fn attend(ledger: &mut Ledger, due: &[Timestamp], busy: bool, expected: &mut Vec<(Timestamp, &'static str)>) {
    for (position, at) in due.iter().enumerate() {
        if busy && position % 2 == 1 {
            ledger.row(*at, Trigger::Schedule, Status::Skipped, Some(Reason::Overlap));
            expected.push((*at, "skipped"));
        } else {
            ledger.row(*at, Trigger::Schedule, Status::Succeeded, None);
            expected.push((*at, "ran"));
        }
    }
}

fn come_back(ledger: &mut Ledger, missed: Missed, now: Timestamp, expected: &mut Vec<(Timestamp, &'static str)>) {
    let Some(next_fire_at) = ledger.schedule.next_after(ledger.settled) else {
        return;
    };
    let policies = Policies {
        missed,
        grace: None,
        catch_up_limit: 3,
    };
    let position = Position {
        next_fire_at,
        due_offset: SignedDuration::ZERO,
        now,
        ends_at: None,
        attended_since: now,
    };
    let lines = debt(&ledger.schedule, policies, position).map(|debt| debt.lines);
    for line in lines.into_iter().flatten() {
        ledger.line(line);
        match line {
            DebtLine::Run { scheduled_for, .. } => expected.push((scheduled_for, "ran")),
            DebtLine::TooLate { scheduled_for } => expected.push((scheduled_for, "skipped")),
            DebtLine::Missed { from, until, .. } => {
                let before = crate::plan::just_before(from);
                expected.extend(ledger.schedule.between(before, until).map(|at| (at, "missed")));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_instant_gets_the_answer_that_the_history_asks_for(
        first in 0..SCHEDULES.len(),
        // Around the clock changes of March and October, and elsewhere.
        start in prop_oneof![Just(1_774_656_000_i64), Just(1_792_800_000), Just(1_772_920_000), 1_767_225_600_i64..1_798_761_600],
        phases in proptest::collection::vec(phase(), 1..8),
        probes in proptest::collection::vec(0..400_000_i64, 20),
    ) {
        let created_at = Timestamp::from_second(start).expect("an instant");
        let (ledger, expected) = lived(first, created_at, &phases);
        // All of them would take long for what is due every few minutes.
        let step = 1 + expected.len() / 60;
        for (at, kind) in expected.iter().step_by(step) {
            prop_assert_eq!(&ledger.kind(*at), kind, "{}", at);
        }
        for probe in probes {
            let at = created_at.saturating_add(seconds(probe - 50_000)).expect("within the calendar");
            let kind = ledger.kind(at);
            match expected.iter().find(|(due, _)| *due == at) {
                Some((_, due)) => prop_assert_eq!(&kind, due, "{}", at),
                None if at <= created_at => prop_assert_eq!(kind, "not_yet_known", "{}", at),
                None if at > ledger.story.now => prop_assert!(["not_due", "pending"].contains(&kind.as_str()), "{at}: {kind}"),
                None => prop_assert!(["not_due", "retired"].contains(&kind.as_str()), "{at}: {kind}"),
            }
        }
    }
}
