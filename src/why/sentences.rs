//! Explanations in words: a verdict in one line, and the facts behind it, each with a label.
//!
//! Times are shown as the clock in the task's zone showed them; the date stands only where it is another day's.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::explanation::{Case, Explanation, Hindrance, Neighbour, OtherPlan, Outage, Pause, Waiting, lateness};
use super::facts::{NodeFact, RunFact};
use super::plans::{Cause, Evidence, Idle};
use super::time::Resolved;
use super::{InstantAnswer, is_gap, name_at};
use crate::run::{Reason, Status, Trigger};
use crate::schedule::{LocalTime, Named, Schedule, format_duration, timezone};

/// Text of an error or a problem is cut to so many characters: the rest stands in the log.
const MAX_TEXT: usize = 160;

/// A schedule whose description is longer is shown as it is written.
const MAX_DESCRIPTION: usize = 72;

/// Up to so many runs are named where several are in the way.
const MAX_NAMED_RUNS: usize = 3;

/// A label and a sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What it is about.
    pub label: &'static str,
    /// The sentence.
    pub text: String,
}

/// Writes local time, verdict and facts of an answer.
pub(super) fn say(case: &Case<'_>, answer: &mut InstantAnswer, resolved: &Resolved) {
    let words = Words::at(case, answer.at);
    answer.local = words.full(answer.at);
    answer.verdict = words.verdict(&answer.explanation);
    let mut facts = words.facts(&answer.explanation);
    facts.extend(
        answer
            .asked_for
            .iter()
            .map(|run| fact("asked for", words.asked_for(run, answer.at))),
    );
    facts.extend(words.plan(case, answer, resolved));
    if let Some(problem) = &answer.problem {
        let until = problem
            .until
            .map_or("still is".to_owned(), |until| format!("until {}", words.time(until)));
        let text = shorten(&problem.text);
        let since = words.time(problem.since);
        let in_force = match &answer.explanation {
            Explanation::OnRequest { never_good: Some(_) } => "",
            _ => "; the last good version was in force",
        };
        facts.push(fact("file broken", format!("since {since}, {until}: {text}{in_force}")));
    }
    if let Some(problem) = &answer.packages_problem {
        let until = problem
            .until
            .map_or("still is so".to_owned(), |until| format!("until {}", words.time(until)));
        let since = words.time(problem.since);
        facts.push(fact(
            "packages",
            format!("could not be had since {since}, {until}: {}", shorten(&problem.text)),
        ));
    }
    let name = name_at(&case.facts.story, answer.at);
    if name != case.facts.story.task.name {
        facts.push(fact(
            "name",
            format!(
                "it was called `{name}` then, and is `{}` now",
                case.facts.story.task.name
            ),
        ));
    }
    answer.facts = facts;
}

/// That a local time did not exist, or occurred twice, and what the schedule made of it.
pub(super) fn clock_change(case: &Case<'_>, resolved: &Resolved) -> Option<String> {
    let (local, found) = resolved.local?;
    let first = *resolved.instants.first()?;
    let plan = case.plans.at(first).or_else(|| case.plans.beside(first).1)?;
    let zone = &plan.timezone;
    let time = local.strftime(if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" });
    let clock = |from: jiff::civil::DateTime, to: jiff::civil::DateTime| {
        format!("{} to {}", from.strftime("%H:%M"), to.strftime("%H:%M"))
    };
    let date = local.date();
    let named = plan.read.as_ref().and_then(|schedule| schedule.names(local));
    match found {
        LocalTime::Once(_) => None,
        LocalTime::Never {
            clock_from, clock_to, ..
        } => {
            let first = clock_to.strftime("%H:%M");
            let consequence = match named {
                Some(Named::Fixed) => format!("; a schedule of fixed times fires at {first} instead, once"),
                Some(Named::Wildcard) => "; a schedule that begins with `*` skips it".to_owned(),
                None => format!("; this is about {first}, the first instant after it"),
            };
            Some(format!(
                "{time} did not exist on {date} in {zone}: clocks went from {}{consequence}",
                clock(clock_from, clock_to)
            ))
        }
        LocalTime::Twice {
            clock_from, clock_to, ..
        } => {
            let consequence = match named {
                Some(Named::Fixed) => "; a schedule of fixed times fires the first time only",
                Some(Named::Wildcard) => "; a schedule that begins with `*` fires both times",
                None => "",
            };
            Some(format!(
                "{time} occurred twice on {date} in {zone}: clocks went back from {}{consequence}",
                clock(clock_from, clock_to)
            ))
        }
    }
}

fn fact(label: &'static str, text: impl Into<String>) -> Fact {
    Fact {
        label,
        text: text.into(),
    }
}

/// A zone and a day to speak in.
struct Words<'a> {
    zone: TimeZone,
    day: Date,
    at: Timestamp,
    now: Timestamp,
    task: &'a str,
    missed: &'a str,
    grace: Option<Duration>,
}

impl<'a> Words<'a> {
    fn at(case: &'a Case<'_>, at: Timestamp) -> Words<'a> {
        let plan = case.plans.at(at).or_else(|| case.plans.beside(at).1);
        let zone = plan
            .and_then(|plan| timezone(&plan.timezone).ok())
            .unwrap_or(TimeZone::UTC);
        let story = &case.facts.story;
        Words {
            day: zone.to_datetime(at).date(),
            zone,
            at,
            now: story.now,
            task: &story.task.name,
            missed: &story.task.missed,
            grace: story.task.grace,
        }
    }

    /// Such as `2026-11-25 02:30:00 CET (01:30:00Z)`.
    fn full(&self, at: Timestamp) -> String {
        let local = at.to_zoned(self.zone.clone());
        let utc = if local.offset().is_zero() {
            String::new()
        } else {
            at.strftime(" (%H:%M:%SZ)").to_string()
        };
        local.strftime("%Y-%m-%d %H:%M:%S %Z").to_string() + &utc
    }

    /// Such as `02:30:00`, or with its date where that is another one.
    fn time(&self, at: Timestamp) -> String {
        let local = self.zone.to_datetime(at);
        let format = if local.date() == self.day {
            "%H:%M:%S"
        } else {
            "%Y-%m-%d %H:%M:%S"
        };
        local.strftime(format).to_string()
    }

    /// The answer in a few words.
    fn verdict(&self, explanation: &Explanation) -> String {
        match explanation {
            Explanation::Ran { run, earlier, .. } => verdict_of_run(run, earlier.len()),
            Explanation::Active { run, waiting, .. } => self.verdict_of_active(run, waiting),
            Explanation::Skipped { run, in_the_way, .. } => match (run.reason, in_the_way) {
                (Some(Reason::Overlap), Some(other)) => format!("skipped: run {} was in the way", other.run_id),
                (Some(Reason::Overlap), None) => "skipped: a run was in the way".to_owned(),
                (Some(Reason::Superseded), _) => "failed, and its retry was superseded by a newer run".to_owned(),
                _ => "skipped: later than its grace allows".to_owned(),
            },
            Explanation::Missed {
                row,
                outage,
                made_up_by,
            } => {
                let made_up = made_up_by
                    .as_ref()
                    .map(|run| format!("; run {} made up for it", run.run_id))
                    .unwrap_or_default();
                match row.reason {
                    Some(Reason::Limit) => format!("missed: more instants were missed than are made up for{made_up}"),
                    _ if outage.there.is_empty() => format!("missed: no dropcron service was running{made_up}"),
                    _ => format!("missed: no dropcron service attended{made_up}"),
                }
            }
            Explanation::StoodStill { idle, pause, .. } => self.verdict_of_standstill(*idle, pause.as_ref()),
            Explanation::Unsettled { nodes: 0, .. } => {
                "due, and nobody is there: no dropcron service is running".to_owned()
            }
            Explanation::Unsettled { .. } => "due, and about to be settled".to_owned(),
            Explanation::Pending { due_at, hindrance } => {
                let left = span(due_at.duration_since(self.now));
                match hindrance {
                    Some(Hindrance::Idle { idle, .. }) => {
                        format!("still to come, in {left}, and will not run: {}", idle_word(*idle))
                    }
                    Some(Hindrance::NoNode) => format!("still to come, in {left}, and nobody is there to run it"),
                    Some(Hindrance::NoServingNode { .. }) => {
                        format!("still to come, in {left}, and no node may run it")
                    }
                    Some(Hindrance::ActiveRun { .. }) | None => format!("still to come, in {left}"),
                }
            }
            Explanation::NotDue {
                other_plan: Some(other),
                ..
            } if other.is_earlier => {
                format!(
                    "not scheduled any more: the schedule had changed at {}",
                    self.time(other.changed_at)
                )
            }
            Explanation::NotDue {
                other_plan: Some(other),
                ..
            } => {
                format!(
                    "not scheduled yet: the schedule changed at {}",
                    self.time(other.changed_at)
                )
            }
            Explanation::NotDue {
                is_second_pass: true, ..
            } => "not scheduled: it fires the first time that the clock shows this".to_owned(),
            Explanation::NotDue { .. } if self.at > self.now => "not scheduled".to_owned(),
            Explanation::NotDue { .. } => "not scheduled then".to_owned(),
            Explanation::OnRequest { never_good: Some(_) } => "not scheduled: its file had never been good".to_owned(),
            Explanation::OnRequest { never_good: None } => "not scheduled: it runs on request only".to_owned(),
            Explanation::NotYetKnown { created_at, .. } => {
                format!(
                    "the task was not there yet: it was first seen at {}",
                    self.time(*created_at)
                )
            }
            Explanation::Retired { since, .. } => {
                format!(
                    "the task was not there: its file was found gone at {}",
                    self.time(*since)
                )
            }
            Explanation::Forgotten { .. } => "not known: the run log does not reach back so far".to_owned(),
            Explanation::Unaccounted { .. } => {
                "not known: it was due, and the run log has no row for it; this should not be".to_owned()
            }
        }
    }

    fn verdict_of_active(&self, run: &RunFact, waiting: &Waiting) -> String {
        match (run.status, waiting) {
            (_, Waiting::Stopping { .. }) => format!("being stopped (run {})", run.run_id),
            (Status::Running, _) => {
                let so_far = run
                    .started_at
                    .map(|at| format!(", for {} so far", span(self.now.duration_since(at))));
                format!("running (run {}{})", run.run_id, so_far.unwrap_or_default())
            }
            (_, Waiting::Runs | Waiting::Starts) => format!("starting (run {})", run.run_id),
            (_, Waiting::RetryPause { until }) => format!(
                "waits for its next attempt, in {} (run {})",
                span(until.duration_since(self.now)),
                run.run_id
            ),
            _ => format!("queued (run {})", run.run_id),
        }
    }

    fn verdict_of_standstill(&self, idle: Idle, pause: Option<&Pause>) -> String {
        match (idle, pause) {
            (Idle::Paused, Some(pause)) => {
                let by = pause.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                format!("did not run: paused{by} at {}", self.time(pause.since))
            }
            (idle, _) => format!("did not run: {}", idle_word(idle)),
        }
    }

    /// The facts that decided.
    fn facts(&self, explanation: &Explanation) -> Vec<Fact> {
        match explanation {
            Explanation::Ran { run, earlier, outage } => {
                let mut facts = self.facts_of_run(run, earlier);
                facts.extend(outage.iter().flat_map(|outage| self.outage(outage)));
                facts.push(fact("see", format!("dropcron logs {}", run.run_id)));
                facts
            }
            Explanation::Active {
                run,
                earlier,
                waiting,
                node,
            } => {
                let mut facts = self.facts_of_run(run, earlier);
                facts.extend(self.waiting(waiting).map(|text| fact("waits for", text)));
                facts.extend(
                    node.iter()
                        .filter(|_| run.node.is_none())
                        .map(|node| fact("node", node.clone())),
                );
                if run.status == Status::Running {
                    facts.push(fact("see", format!("dropcron logs {} -f", run.run_id)));
                }
                facts
            }
            Explanation::Skipped {
                run,
                earlier,
                in_the_way,
            } => {
                let mut facts = Vec::new();
                facts.extend(
                    in_the_way
                        .iter()
                        .map(|other| fact("in the way", self.in_the_way(other))),
                );
                facts.extend(run.detail.iter().map(|detail| fact("because", detail.clone())));
                facts.extend(self.earlier(earlier));
                facts.push(fact(
                    "row",
                    format!(
                        "run {}, decided at {}",
                        run.run_id,
                        self.time(run.finished_at.unwrap_or(run.queued_at))
                    ),
                ));
                facts
            }
            Explanation::Missed {
                row,
                outage,
                made_up_by,
            } => {
                let mut facts = self.outage(outage);
                facts.push(self.span(row));
                facts.push(fact(
                    "made up by",
                    match made_up_by {
                        Some(run) => format!(
                            "run {}, for {}: {}",
                            run.run_id,
                            self.time(run.scheduled_for),
                            self.fate_of_run(run)
                        ),
                        None => format!("nothing: {}", self.policy()),
                    },
                ));
                facts
            }
            Explanation::StoodStill {
                idle,
                pause,
                row,
                is_over,
            } => self.standstill(*idle, pause.as_ref(), row.as_ref(), *is_over),
            Explanation::Unsettled { nodes, outage } => {
                let mut facts = self.outage(outage);
                facts.push(fact(
                    "then",
                    match nodes {
                        0 => format!("when a service comes back, `missed = \"{}\"` speaks", self.missed),
                        _ => "ask again in a moment".to_owned(),
                    },
                ));
                facts
            }
            Explanation::Pending { due_at, hindrance } => {
                let mut facts = Vec::new();
                if *due_at != self.at {
                    facts.push(fact("due", format!("at {}, by its jitter", self.time(*due_at))));
                }
                facts.extend(hindrance.iter().map(|hindrance| fact("but", self.hindrance(hindrance))));
                facts
            }
            Explanation::NotDue {
                before,
                after,
                other_plan,
                ..
            } => {
                let mut facts: Vec<Fact> = other_plan.iter().map(|other| self.other_plan(other)).collect();
                facts.push(fact(
                    "before",
                    self.neighbour(before.as_ref(), "it had not been due yet"),
                ));
                facts.push(fact("after", self.neighbour(after.as_ref(), "it is not due any more")));
                facts
            }
            Explanation::OnRequest { .. } => vec![fact("see", format!("dropcron runs --task {}", self.task))],
            Explanation::NotYetKnown { first, .. } => {
                first.iter().map(|first| fact("first due", self.time(*first))).collect()
            }
            Explanation::Retired { until, .. } => vec![match until {
                Some(until) => fact("came back", self.time(*until)),
                None => fact(
                    "since then",
                    "it has not come back; what ran before is still in the run log",
                ),
            }],
            Explanation::Forgotten { horizon } => vec![fact("run log", format!("begins at {}", self.time(*horizon)))],
            Explanation::Unaccounted { outage, .. } => {
                let mut facts = self.outage(outage);
                facts.push(fact(
                    "please",
                    "report this, with this answer: every due instant has a row",
                ));
                facts
            }
        }
    }

    fn facts_of_run(&self, run: &RunFact, earlier: &[RunFact]) -> Vec<Fact> {
        let mut facts = Vec::new();
        facts.extend(match run.trigger {
            Trigger::Schedule => None,
            Trigger::CatchUp => Some(fact("catch-up", "made up for after a time without a service")),
            Trigger::Backfill | Trigger::Manual => Some(fact(
                "asked for",
                format!("by {}", run.requested_by.as_deref().unwrap_or("somebody")),
            )),
        });
        facts.extend(run.node.iter().map(|node| fact("node", node.clone())));
        if let Some(started_at) = run.started_at {
            facts.push(fact(
                "started",
                format!("{}{}", self.time(started_at), self.lateness(run)),
            ));
        }
        if let (Some(finished_at), false) = (run.finished_at, run.status.is_active()) {
            let took = run
                .started_at
                .map(|at| format!(", after {}", span(finished_at.duration_since(at))))
                .unwrap_or_default();
            facts.push(fact("ended", format!("{}{took}", self.time(finished_at))));
        }
        // That it raised shows in the error.
        let reason = run.reason.filter(|reason| *reason != Reason::Raised);
        facts.extend(reason.map(|reason| fact("reason", reason.to_string())));
        facts.extend(run.error.iter().map(|error| fact("error", shorten(error))));
        facts.extend(run.detail.iter().map(|detail| fact("because", shorten(detail))));
        facts.extend(self.earlier(earlier));
        facts
    }

    fn lateness(&self, run: &RunFact) -> String {
        let late = lateness(run).filter(|late| *late >= SignedDuration::from_millis(1));
        let due = if self.time(run.due_at) == self.time(run.scheduled_for) {
            String::new()
        } else {
            format!(", due at {}", self.time(run.due_at))
        };
        late.map_or(due.clone(), |late| format!("{due}, {} late", span(late)))
    }

    fn earlier(&self, earlier: &[RunFact]) -> Vec<Fact> {
        earlier
            .iter()
            .map(|run| {
                fact(
                    "attempt",
                    format!("{} (run {}): {}", run.attempt, run.run_id, self.fate_of_run(run)),
                )
            })
            .collect()
    }

    fn in_the_way(&self, other: &RunFact) -> String {
        let whose = if other.task == self.task {
            String::new()
        } else {
            format!(" of `{}`", other.task)
        };
        let started = other
            .started_at
            .map(|at| format!(", started at {}", self.time(at)))
            .unwrap_or_default();
        let ended = match (other.finished_at, other.status.is_active()) {
            (_, true) => ", still active".to_owned(),
            (Some(at), false) => format!(", {} at {}", other.status, self.time(at)),
            (None, false) => format!(", {}", other.status),
        };
        format!(
            "run {}{whose}, due at {}{started}{ended}",
            other.run_id,
            self.time(other.scheduled_for)
        )
    }

    /// What became of a run in one line.
    fn fate_of_run(&self, run: &RunFact) -> String {
        let reason = run.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let error = run
            .error
            .as_deref()
            .map(|error| format!(", {}", shorten(error)))
            .unwrap_or_default();
        format!("{}{reason}{error}", run.status)
    }

    fn span(&self, row: &RunFact) -> Fact {
        let count = row.missed_count.unwrap_or(1);
        let until = row.missed_until.unwrap_or(row.scheduled_for);
        let recorded = self.time(row.queued_at);
        fact(
            "row",
            match count {
                1 => format!("run {}, written at {recorded}", row.run_id),
                _ => format!(
                    "run {}, for {count} instants from {} to {}, written at {recorded}",
                    row.run_id,
                    self.time(row.scheduled_for),
                    self.time(until)
                ),
            },
        )
    }

    /// What the header says now of instants that nobody attended.
    fn policy(&self) -> String {
        let grace = self
            .grace
            .map(|grace| format!(", `grace` is {}", format_duration(grace)));
        format!("`missed` is `{}` now{}", self.missed, grace.unwrap_or_default())
    }

    /// When nobody was there, from the nodes' own rows.
    fn outage(&self, outage: &Outage) -> Vec<Fact> {
        if !outage.there.is_empty() {
            return outage
                .there
                .iter()
                .map(|node| fact("node", self.node_there(node)))
                .collect();
        }
        let gone = |node: &NodeFact| {
            format!(
                "{} was last seen at {}",
                node.node,
                self.time(node.seen_until.unwrap_or(self.at))
            )
        };
        let last = outage
            .last
            .as_ref()
            .map_or("no service had ever run before".to_owned(), gone);
        let next = match &outage.next {
            Some(node) => format!("{} came at {}", node.node, self.time(node.started_at)),
            None => "none has come since".to_owned(),
        };
        let length = match (&outage.last, &outage.next) {
            (Some(last), Some(next)) => last
                .seen_until
                .map(|from| format!(" ({} without a service)", span(next.started_at.duration_since(from))))
                .unwrap_or_default(),
            _ => String::new(),
        };
        vec![fact("down", format!("{last}, {next}{length}"))]
    }

    fn node_there(&self, node: &NodeFact) -> String {
        let until = node
            .seen_until
            .map(|at| format!(" to {}", self.time(at)))
            .unwrap_or_default();
        let contact = if node.connected_since > self.at {
            format!(
                ", out of contact with the database until {}",
                self.time(node.connected_since)
            )
        } else if node.seen_until.is_some() {
            ", leaving or about to be gone".to_owned()
        } else {
            String::new()
        };
        format!(
            "{} was alive, from {}{until}{contact}",
            node.node,
            self.time(node.started_at)
        )
    }

    fn standstill(&self, idle: Idle, pause: Option<&Pause>, row: Option<&RunFact>, is_over: bool) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(pause) = pause {
            facts.extend(pause.reason.iter().map(|reason| fact("reason", reason.clone())));
            facts.push(fact(
                "until",
                match (&pause.until, &pause.ended_by) {
                    (Some(until), by) => {
                        let by = by.as_deref().map(|by| format!(", resumed by {by}")).unwrap_or_default();
                        format!("{}{by}", self.time(*until))
                    }
                    (None, _) => format!("still paused; `dropcron resume {}` ends it", self.task),
                },
            ));
        }
        facts.push(match (row, is_over, idle) {
            (Some(row), _, _) => self.span(row),
            (None, true, Idle::Paused | Idle::Disabled) => {
                fact("row", "there is none, and there should be: the standstill is over")
            }
            (None, _, Idle::Unplannable) => fact("row", "none is written for such instants"),
            (None, _, _) => fact("row", "written when this ends; it is not replayed"),
        });
        facts
    }

    fn waiting(&self, waiting: &Waiting) -> Option<String> {
        Some(match waiting {
            Waiting::Runs | Waiting::Starts => return None,
            Waiting::Stopping { by } => format!("its end: {by} asked that it be stopped"),
            Waiting::RetryPause { until } => format!("the end of its retry's pause, at {}", self.time(*until)),
            Waiting::AnyNode => "a node: no dropcron service is running".to_owned(),
            Waiting::ServingNode { queue, required_tags } => serving(queue, required_tags),
            Waiting::Task { run_ids } => format!(
                "a place beside {}",
                named(run_ids.iter().map(|run_id| format!("run {run_id}")))
            ),
            Waiting::Group { group, runs } => format!(
                "a place in the group `{group}`, taken by {}",
                named(runs.iter().map(|(run_id, task)| format!("run {run_id} of `{task}`")))
            ),
            Waiting::Place => "a node with a free place".to_owned(),
        })
    }

    fn hindrance(&self, hindrance: &Hindrance) -> String {
        match hindrance {
            Hindrance::Idle {
                idle: Idle::Paused,
                pause: Some(pause),
            } => {
                let by = pause.by.as_deref().map(|by| format!(" by {by}")).unwrap_or_default();
                let reason = pause
                    .reason
                    .as_deref()
                    .map(|reason| format!(" ({reason})"))
                    .unwrap_or_default();
                format!(
                    "paused since {}{by}{reason}, until `dropcron resume {}`",
                    self.time(pause.since),
                    self.task
                )
            }
            Hindrance::Idle { idle, .. } => idle_word(*idle).to_owned(),
            Hindrance::NoNode => format!(
                "no dropcron service is running; when one comes back late, `missed = \"{}\"` speaks",
                self.missed
            ),
            Hindrance::NoServingNode { queue, required_tags } => format!("it needs {}", serving(queue, required_tags)),
            Hindrance::ActiveRun { run_id, overlap } => {
                format!("if run {run_id} is still active then, `overlap = \"{overlap}\"` speaks")
            }
        }
    }

    fn other_plan(&self, other: &OtherPlan) -> Fact {
        let plan = in_words(&other.schedule, &other.timezone);
        let by = other.cause.as_ref().map(cause_in_words).unwrap_or_default();
        fact(
            "schedule",
            if other.is_earlier {
                format!(
                    "until {} it was {plan}, which asked for it{by}",
                    self.time(other.changed_at)
                )
            } else {
                format!(
                    "since {} it is {plan}, which asks for it{by}",
                    self.time(other.changed_at)
                )
            },
        )
    }

    fn neighbour(&self, neighbour: Option<&Neighbour>, none: &str) -> String {
        neighbour.map_or(none.to_owned(), |neighbour| {
            format!("{}: {}", self.time(neighbour.at), self.verdict(&neighbour.explanation))
        })
    }

    fn asked_for(&self, run: &RunFact, at: Timestamp) -> String {
        let by = run.requested_by.as_deref().unwrap_or("somebody");
        let stands = if run.as_of == Some(at) {
            ", to stand for this instant"
        } else {
            ""
        };
        format!(
            "run {} by {by} at {}{stands}: {}",
            run.run_id,
            self.time(run.queued_at),
            self.fate_of_run(run)
        )
    }

    /// The plan that was in force, and since when.
    fn plan(&self, case: &Case<'_>, answer: &InstantAnswer, resolved: &Resolved) -> Vec<Fact> {
        let Some(plan) = answer.plan.as_ref().filter(|plan| plan.idle != Some(Idle::Retired)) else {
            return Vec::new();
        };
        let since = case.plans.since(answer.at).unwrap_or(plan);
        let by = since.cause.as_ref().map(cause_in_words).unwrap_or_default();
        let certainty = match plan.evidence {
            Evidence::Recorded => "",
            Evidence::Concluded => "; concluded from the task's events, since no plan was recorded then",
            Evidence::Awaited => "; no service has planned it yet",
        };
        let in_force = format!("since {}{by}{certainty}", self.time(since.after));
        let mut facts = vec![fact(
            "plan",
            format!("{}, {in_force}", in_words(&plan.schedule, &plan.timezone)),
        )];
        if is_gap(resolved) {
            facts.push(fact("clock", "this is the first instant after the gap".to_owned()));
        }
        if let Some(problem) = &plan.problem {
            facts.push(fact("not planned", shorten(problem)));
        }
        facts
    }
}

fn verdict_of_run(run: &RunFact, earlier: usize) -> String {
    let took = match (run.started_at, run.finished_at) {
        (Some(from), Some(until)) => format!(" after {}", span(until.duration_since(from))),
        _ => String::new(),
    };
    let attempts = if earlier > 0 {
        format!(", at attempt {}", run.attempt)
    } else {
        String::new()
    };
    let what = match run.status {
        Status::Succeeded => format!("ran and succeeded{took}"),
        Status::Failed if run.started_at.is_none() => "failed before it started".to_owned(),
        Status::Failed => format!("ran and failed{took}"),
        Status::TimedOut => format!("ran into its time limit{took}"),
        Status::Cancelled if run.started_at.is_none() => "cancelled before it started".to_owned(),
        Status::Cancelled => format!("was stopped{took}"),
        Status::Lost => "was lost: the process that ran it is gone".to_owned(),
        status => status.to_string(),
    };
    format!("{what}{attempts} (run {})", run.run_id)
}

fn idle_word(idle: Idle) -> &'static str {
    match idle {
        Idle::Paused => "paused",
        Idle::Disabled => "disabled in its header",
        Idle::Retired => "its file is gone",
        Idle::Unplannable => "its schedule cannot be read any more",
    }
}

fn serving(queue: &str, tags: &[String]) -> String {
    let tags = if tags.is_empty() {
        String::new()
    } else {
        format!(" and offers {}", tags.join(", "))
    };
    format!("a node that serves the queue `{queue}`{tags}: none does")
}

fn cause_in_words(cause: &Cause) -> String {
    format!(" ({} by {})", cause.kind, cause.actor)
}

/// A schedule in words, or as it is written where that is shorter to read.
fn in_words(texts: &[String], zone: &str) -> String {
    if texts.is_empty() {
        return "on request only".to_owned();
    }
    let described = Schedule::parse(texts, zone).map(|schedule| schedule.describe());
    match described {
        Ok(words) if words.chars().count() <= MAX_DESCRIPTION => words,
        _ => format!("`{}` ({zone})", texts.join("`, `")),
    }
}

fn named(runs: impl Iterator<Item = String>) -> String {
    let runs: Vec<String> = runs.collect();
    let more = runs.len().saturating_sub(MAX_NAMED_RUNS);
    let shown = runs[..runs.len() - more].join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// A duration as people read it: `350ms`, `4.2s`, `1h12m41s`.
fn span(duration: SignedDuration) -> String {
    let duration = Duration::try_from(duration.max(SignedDuration::ZERO)).unwrap_or_default();
    match duration.as_millis() {
        milliseconds @ 0..1_000 => format!("{milliseconds}ms"),
        milliseconds @ 1_000..60_000 => format!("{:.1}s", milliseconds as f64 / 1_000.0),
        milliseconds => format_duration(Duration::from_secs((milliseconds / 1_000) as u64)),
    }
}

/// The beginning of a text on one line; what scripts say must not write to the terminal.
fn shorten(text: &str) -> String {
    let clean = text.chars().map(|each| if each.is_control() { ' ' } else { each });
    let line: String = clean.clone().take(MAX_TEXT).collect();
    if clean.count() > MAX_TEXT { line + "…" } else { line }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::ledger::{Ledger, seconds};
    use super::super::{Active, Answer, Time, answer};
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    /// Hourly in UTC since the morning; it is past noon.
    fn hourly() -> Ledger {
        let mut ledger = Ledger::new("0 * * * *", "UTC", at("2026-05-04T06:30:00Z"));
        ledger.story.now = at("2026-05-04T12:30:00Z");
        ledger
    }

    fn asked(ledger: &Ledger, time: &str) -> Answer {
        let instants: Vec<Timestamp> = time.parse().into_iter().collect();
        let time = Time::parse(time).expect("a time");
        answer(&ledger.facts(&instants), time).expect("within the calendar")
    }

    /// The verdict, and each fact as `label: text`.
    fn said(ledger: &Ledger, time: &str) -> (String, Vec<String>) {
        let answer = asked(ledger, time);
        let first = &answer.instants[0];
        let facts = first.facts.iter().map(|fact| format!("{}: {}", fact.label, fact.text));
        (first.verdict.clone(), facts.collect())
    }

    fn verdict(ledger: &Ledger, time: &str) -> String {
        said(ledger, time).0
    }

    const TEN: &str = "2026-05-04T10:00:00Z";

    #[test]
    fn each_end_of_a_run_has_its_verdict() {
        for (status, reason, words) in [
            (Status::Succeeded, None, "ran and succeeded after 3.0s (run 1)"),
            (
                Status::Failed,
                Some(Reason::Raised),
                "ran and failed after 3.0s (run 1)",
            ),
            (
                Status::TimedOut,
                Some(Reason::Timeout),
                "ran into its time limit after 3.0s (run 1)",
            ),
            (
                Status::Cancelled,
                Some(Reason::Requested),
                "was stopped after 3.0s (run 1)",
            ),
            (
                Status::Lost,
                Some(Reason::NodeGone),
                "was lost: the process that ran it is gone (run 1)",
            ),
        ] {
            let mut ledger = hourly();
            ledger.row(at(TEN), Trigger::Schedule, status, reason);
            assert_eq!(verdict(&ledger, TEN), words);
        }
        let mut ledger = hourly();
        let row = ledger.row(at(TEN), Trigger::Schedule, Status::Failed, Some(Reason::SecretMissing));
        row.started_at = None;
        row.error = Some("secret_missing: there is no `KEY`\n".to_owned());
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "failed before it started (run 1)");
        assert!(
            facts.contains(&"error: secret_missing: there is no `KEY` ".to_owned()),
            "{facts:?}"
        );
        assert!(facts.contains(&"reason: secret_missing".to_owned()), "{facts:?}");
    }

    #[test]
    fn attempts_and_lateness_are_told() {
        let mut ledger = hourly();
        let first = ledger.row(at(TEN), Trigger::Schedule, Status::Failed, Some(Reason::Raised));
        first.error = Some("ValueError: no".to_owned());
        let second = ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        second.attempt = 2;
        second.due_at = at("2026-05-04T10:00:30Z");
        second.started_at = Some(at("2026-05-04T10:00:31.5Z"));
        second.finished_at = Some(at("2026-05-04T11:10:32Z"));
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "ran and succeeded after 1h10m, at attempt 2 (run 2)");
        assert!(
            facts.contains(&"started: 10:00:31, due at 10:00:30, 1.5s late".to_owned()),
            "{facts:?}"
        );
        assert!(
            facts.contains(&"attempt: 1 (run 1): failed (raised), ValueError: no".to_owned()),
            "{facts:?}"
        );
    }

    #[test]
    fn a_run_in_flight_says_what_it_does_or_waits_for() {
        let lease = Active {
            run_id: 1,
            task: "backup".to_owned(),
            is_own: true,
            state: "queued".to_owned(),
            is_catch_up: false,
            due_at: at(TEN),
            holds_slot: false,
            holds_group_slot: false,
            exempt: false,
            node: None,
            cancel_requested_by: None,
        };
        let other = Active {
            run_id: 7,
            task: "restore".to_owned(),
            state: "running".to_owned(),
            holds_slot: true,
            holds_group_slot: true,
            ..lease.clone()
        };
        let told = |status: Status, active: Vec<Active>, change: &dyn Fn(&mut Ledger)| {
            let mut ledger = hourly();
            ledger.row(at(TEN), Trigger::Schedule, status, None).finished_at = None;
            ledger.active = active;
            change(&mut ledger);
            let (verdict, facts) = said(&ledger, TEN);
            let waits = facts
                .iter()
                .find_map(|fact| fact.strip_prefix("waits for: "))
                .unwrap_or_default()
                .to_owned();
            (verdict, waits)
        };
        let waits = |active: Vec<Active>, change: &dyn Fn(&mut Ledger)| told(Status::Queued, active, change).1;
        let running = Active {
            state: "running".to_owned(),
            ..lease.clone()
        };
        assert_eq!(
            told(Status::Running, vec![running], &|_| {}).0,
            "running (run 1, for 2h30m so far)"
        );
        let claimed = Active {
            state: "claimed".to_owned(),
            ..lease.clone()
        };
        assert_eq!(
            told(Status::Queued, vec![claimed.clone()], &|_| {}).0,
            "starting (run 1)"
        );
        let stopping = Active {
            cancel_requested_by: Some("eve".to_owned()),
            ..claimed
        };
        assert_eq!(waits(vec![stopping], &|_| {}), "its end: eve asked that it be stopped");
        let retry = Active {
            due_at: at("2026-05-04T12:31:00Z"),
            ..lease.clone()
        };
        assert_eq!(
            told(Status::Queued, vec![retry], &|_| {}),
            (
                "waits for its next attempt, in 1m (run 1)".to_owned(),
                "the end of its retry's pause, at 12:31:00".to_owned()
            )
        );
        let own = vec![lease.clone(), other.clone()];
        assert_eq!(waits(own, &|_| {}), "a place beside run 7");
        let foreign = vec![
            lease.clone(),
            Active {
                is_own: false,
                ..other.clone()
            },
        ];
        let grouped = |ledger: &mut Ledger| ledger.story.task.group = Some(("db".to_owned(), 1));
        assert_eq!(
            waits(foreign, &grouped),
            "a place in the group `db`, taken by run 7 of `restore`"
        );
        let catch_up = Active {
            is_catch_up: true,
            ..lease.clone()
        };
        let made_up = Active {
            is_catch_up: true,
            holds_slot: true,
            ..other
        };
        let roomy = |ledger: &mut Ledger| ledger.story.task.max_running = 5;
        assert_eq!(waits(vec![catch_up, made_up], &roomy), "a place beside run 7");
        assert_eq!(waits(vec![lease.clone()], &|_| {}), "a node with a free place");
        assert_eq!(
            waits(vec![lease.clone()], &|ledger| (
                ledger.story.task.live_nodes,
                ledger.story.task.serving_nodes
            ) = (0, 0)),
            "a node: no dropcron service is running"
        );
        let tagged = |ledger: &mut Ledger| {
            ledger.story.task.serving_nodes = 0;
            ledger.story.task.required_tags = vec!["gpu".to_owned()];
        };
        assert_eq!(
            waits(vec![lease], &tagged),
            "a node that serves the queue `default` and offers gpu: none does"
        );
    }

    #[test]
    fn what_was_skipped_says_why() {
        for (reason, words) in [
            (Reason::Overlap, "skipped: a run was in the way"),
            (Reason::Grace, "skipped: later than its grace allows"),
            (
                Reason::Superseded,
                "failed, and its retry was superseded by a newer run",
            ),
        ] {
            let mut ledger = hourly();
            ledger
                .row(at(TEN), Trigger::Schedule, Status::Skipped, Some(reason))
                .detail = Some("facts".to_owned());
            let (verdict, facts) = said(&ledger, TEN);
            assert_eq!(verdict, words);
            assert!(facts.contains(&"because: facts".to_owned()), "{facts:?}");
        }
        let mut ledger = hourly();
        ledger.row(at(TEN), Trigger::Schedule, Status::Skipped, Some(Reason::Overlap));
        let mut facts = ledger.facts(&[at(TEN)]);
        let mut other = ledger.rows[0].clone();
        (other.run_id, other.status, other.started_at) = (9, Status::Succeeded, Some(at("2026-05-04T09:00:01Z")));
        other.scheduled_for = at("2026-05-04T09:00:00Z");
        other.finished_at = Some(at("2026-05-04T10:20:00Z"));
        facts
            .scenes
            .iter_mut()
            .for_each(|scene| scene.in_the_way = Some(other.clone()));
        let answer = answer(&facts, Time::Instant(at(TEN))).expect("an answer");
        assert_eq!(answer.instants[0].verdict, "skipped: run 9 was in the way");
        assert_eq!(
            answer.instants[0].facts[0].text,
            "run 9, due at 09:00:00, started at 09:00:01, succeeded at 10:20:00"
        );
    }

    #[test]
    fn downtime_says_from_when_to_when_and_what_made_up_for_it() {
        let mut ledger = hourly();
        ledger.stops(at("2026-05-04T08:10:00Z"));
        ledger.starts(at("2026-05-04T11:15:00Z"));
        let row = ledger.row(
            at("2026-05-04T09:00:00Z"),
            Trigger::Schedule,
            Status::Missed,
            Some(Reason::Down),
        );
        (row.missed_count, row.missed_until) = (Some(2), Some(at(TEN)));
        row.queued_at = at("2026-05-04T11:15:01Z");
        ledger.row(at("2026-05-04T11:00:00Z"), Trigger::CatchUp, Status::Succeeded, None);
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "missed: no dropcron service was running; run 2 made up for it");
        assert_eq!(
            facts[..3],
            [
                "down: web-1 was last seen at 08:10:00, web-2 came at 11:15:00 (3h5m without a service)",
                "row: run 1, for 2 instants from 09:00:00 to 10:00:00, written at 11:15:01",
                "made up by: run 2, for 11:00:00: succeeded",
            ]
        );
        let (verdict, facts) = said(&ledger, "2026-05-04T11:00:00Z");
        assert_eq!(verdict, "ran and succeeded after 3.0s (run 2)");
        assert!(
            facts
                .iter()
                .any(|fact| fact.starts_with("down: web-1 was last seen at 08:10:00")),
            "{facts:?}"
        );
        ledger.rows.pop();
        ledger.rows[0].reason = Some(Reason::Limit);
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "missed: more instants were missed than are made up for");
        assert!(
            facts.contains(&"made up by: nothing: `missed` is `latest` now".to_owned()),
            "{facts:?}"
        );
    }

    #[test]
    fn a_node_that_was_alive_and_out_of_contact_is_named() {
        let mut ledger = hourly();
        ledger.nodes[0].connected_since = at("2026-05-04T10:30:00Z");
        let row = ledger.row(at(TEN), Trigger::Schedule, Status::Missed, Some(Reason::Down));
        row.missed_until = Some(at(TEN));
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "missed: no dropcron service attended");
        assert_eq!(
            facts[0],
            "node: web-1 was alive, from 06:30:00, out of contact with the database until 10:30:00"
        );
    }

    #[test]
    fn a_pause_that_lasts_and_one_that_is_over_are_told_apart() {
        let mut ledger = hourly();
        let pause = json!({ "paused_by": "eve@host", "paused_reason": "disk" });
        ledger.idle(at("2026-05-04T09:30:00Z"), "paused", Some("paused"), pause);
        let (told, facts) = said(&ledger, TEN);
        assert_eq!(told, "did not run: paused by eve@host at 09:30:00");
        assert_eq!(
            facts[..3],
            [
                "reason: disk",
                "until: still paused; `dropcron resume backup` ends it",
                "row: written when this ends; it is not replayed"
            ]
        );
        let (to_come, facts) = said(&ledger, "2026-05-04T13:00:00Z");
        assert_eq!(to_come, "still to come, in 30m, and will not run: paused");
        assert_eq!(
            facts[0],
            "but: paused since 09:30:00 by eve@host (disk), until `dropcron resume backup`"
        );
        ledger.idle(at("2026-05-04T11:30:00Z"), "resumed", None, json!({}));
        let (_, facts) = said(&ledger, TEN);
        assert_eq!(facts[1], "until: 11:30:00, resumed by eve@host");
        assert_eq!(
            facts[2],
            "row: there is none, and there should be: the standstill is over"
        );
        let again = json!({ "paused_by": "bob@host" });
        ledger.idle(at("2026-05-04T11:35:00Z"), "paused", Some("paused"), again);
        assert_eq!(
            verdict(&ledger, "2026-05-04T12:00:00Z"),
            "did not run: paused by eve@host at 11:35:00"
        );
        assert_eq!(
            said(&ledger, "2026-05-04T12:00:00Z").1[0],
            "until: still paused; `dropcron resume backup` ends it"
        );
        ledger.idle(at("2026-05-04T11:40:00Z"), "edited", Some("disabled"), json!({}));
        assert_eq!(
            verdict(&ledger, "2026-05-04T12:00:00Z"),
            "did not run: disabled in its header"
        );
    }

    #[test]
    fn a_schedule_that_cannot_be_read_any_more_is_told_as_a_standstill() {
        let mut ledger = hourly();
        let plan = ledger.story.events.last_mut().expect("planned");
        plan.after["timezone"] = json!("Middle-earth/Shire");
        (plan.after["idle"], plan.after["problem"]) = (json!("unplannable"), json!("unknown time zone"));
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "did not run: its schedule cannot be read any more");
        assert_eq!(facts[0], "row: none is written for such instants");
        assert!(
            facts.contains(&"not planned: unknown time zone".to_owned()),
            "{facts:?}"
        );
    }

    #[test]
    fn what_is_still_to_come_says_what_stands_in_its_way() {
        let one = "2026-05-04T13:00:00Z";
        let mut ledger = hourly();
        assert_eq!(verdict(&ledger, one), "still to come, in 30m");
        ledger.story.task.due_offset = seconds(90);
        assert_eq!(said(&ledger, one).1[0], "due: at 13:01:30, by its jitter");
        ledger.story.task.serving_nodes = 0;
        assert_eq!(
            verdict(&ledger, one),
            "still to come, in 31m30s, and no node may run it"
        );
        ledger.story.task.live_nodes = 0;
        assert_eq!(
            verdict(&ledger, one),
            "still to come, in 31m30s, and nobody is there to run it"
        );
        // Due, and by its jitter not yet.
        let mut jittered = hourly();
        (jittered.story.task.due_offset, jittered.story.now) = (seconds(90), at("2026-05-04T10:01:00Z"));
        assert_eq!(verdict(&jittered, TEN), "still to come, in 30.0s");
    }

    #[test]
    fn what_is_due_and_not_settled_is_told_apart_from_what_is_lost() {
        let mut ledger = hourly();
        assert_eq!(verdict(&ledger, TEN), "due, and about to be settled");
        ledger.story.task.live_nodes = 0;
        assert_eq!(
            verdict(&ledger, TEN),
            "due, and nobody is there: no dropcron service is running"
        );
        let lost = hourly();
        let mut facts = lost.facts(&[at(TEN)]);
        facts.story.task.next_fire_at = Some(at("2026-05-04T13:00:00Z"));
        let told = answer(&facts, Time::Instant(at(TEN))).expect("an answer");
        assert_eq!(
            told.instants[0].verdict,
            "not known: it was due, and the run log has no row for it; this should not be"
        );
        assert_eq!(told.instants[0].facts[0].text, "web-1 was alive, from 06:30:00");
        facts.story.horizon = Some(at("2026-05-04T11:00:00Z"));
        let told = answer(&facts, Time::Instant(at(TEN))).expect("an answer");
        assert_eq!(
            told.instants[0].verdict,
            "not known: the run log does not reach back so far"
        );
    }

    #[test]
    fn a_change_of_schedule_is_named_on_both_sides() {
        let mut ledger = hourly();
        ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        ledger.edit("30 * * * *", "UTC", at("2026-05-04T10:10:00Z"));
        let (verdict, facts) = said(&ledger, "2026-05-04T11:00:00Z");
        assert_eq!(verdict, "not scheduled any more: the schedule had changed at 10:10:00");
        assert_eq!(
            facts[0],
            "schedule: until 10:10:00 it was at minute 0 of every hour (UTC), which asked for it (edited by syncer)"
        );
        let (verdict, facts) = said(&ledger, "2026-05-04T09:30:00Z");
        assert_eq!(verdict, "not scheduled yet: the schedule changed at 10:10:00");
        assert_eq!(
            facts[0],
            "schedule: since 10:10:00 it is at minute 30 of every hour (UTC), which asks for it (edited by syncer)"
        );
        assert_eq!(facts[2], "after: 10:00:00: ran and succeeded after 3.0s (run 1)");
    }

    #[test]
    fn an_instant_that_was_claimed_before_a_change_belongs_to_the_old_schedule() {
        let mut ledger = hourly();
        // Changed half a second before ten o'clock, when a node had it already: the new plan holds after it.
        ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        ledger.edit("*/20 * * * *", "UTC", at(TEN));
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "ran and succeeded after 3.0s (run 1)");
        let plan = facts.iter().find(|fact| fact.starts_with("plan: ")).expect("the plan");
        assert!(
            plan.starts_with("plan: at minute 0 of every hour (UTC), since 06:30:00"),
            "{plan}"
        );
    }

    #[test]
    fn a_change_that_nobody_has_planned_yet_counts_as_made() {
        let mut ledger = hourly();
        let task = &mut ledger.story.task;
        (task.changing, task.updated_at, task.retired_at) =
            (true, at("2026-05-04T09:10:00Z"), Some(at("2026-05-04T09:10:00Z")));
        assert_eq!(
            verdict(&ledger, TEN),
            "the task was not there: its file was found gone at 09:10:00"
        );
        let mut ledger = hourly();
        let task = &mut ledger.story.task;
        (task.changing, task.updated_at) = (true, at("2026-05-04T09:10:00Z"));
        task.schedule_override = Some(vec!["5 * * * *".to_owned()]);
        ledger.tell(
            at("2026-05-04T09:10:00Z"),
            "eve@host",
            "overridden",
            json!({}),
            json!({}),
        );
        // What becomes of its packages changes no plan.
        ledger.tell(
            at("2026-05-04T09:20:00Z"),
            "syncer",
            "environment",
            json!({}),
            json!({}),
        );
        let (verdict, facts) = said(&ledger, "2026-05-04T10:05:00Z");
        assert_eq!(verdict, "due, and about to be settled");
        assert!(
            facts
                .iter()
                .any(|fact| fact.ends_with("(overridden by eve@host); no service has planned it yet")),
            "{facts:?}"
        );
    }

    #[test]
    fn two_changes_within_the_moment_of_a_claim_follow_one_another() {
        let mut ledger = hourly();
        ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        ledger.edit("20 * * * *", "UTC", at(TEN));
        let task = &mut ledger.story.task;
        (task.changing, task.updated_at) = (true, at("2026-05-04T09:59:59.8Z"));
        task.schedule_override = Some(vec!["40 * * * *".to_owned()]);
        let (verdict, facts) = said(&ledger, "2026-05-04T10:20:00Z");
        assert_eq!(verdict, "not scheduled any more: the schedule had changed at 10:00:00");
        assert_eq!(facts[1], "before: 10:00:00: ran and succeeded after 3.0s (run 1)");
        assert_eq!(facts[2], "after: 10:40:00: due, and about to be settled");
    }

    #[test]
    fn before_it_was_known_and_while_it_was_gone_there_was_no_task() {
        let mut ledger = hourly();
        ledger.idle(at("2026-05-04T09:30:00Z"), "retired", Some("retired"), json!({}));
        ledger.idle(at("2026-05-04T10:30:00Z"), "revived", None, json!({}));
        let (verdict, facts) = said(&ledger, TEN);
        assert_eq!(verdict, "the task was not there: its file was found gone at 09:30:00");
        assert_eq!(facts, ["came back: 10:30:00"]);
        let (verdict, facts) = said(&ledger, "2026-05-04T06:00:00Z");
        assert_eq!(verdict, "the task was not there yet: it was first seen at 06:30:00");
        assert_eq!(facts, ["first due: 07:00:00"]);
    }

    #[test]
    fn a_broken_file_is_told_with_its_time_and_what_was_in_force() {
        let mut ledger = hourly();
        let problem = |text: Option<&str>| json!({ "problem": text });
        ledger.tell(
            at("2026-05-04T09:30:00Z"),
            "syncer",
            "problem",
            problem(None),
            problem(Some("backup.py:3: no")),
        );
        ledger.tell(
            at("2026-05-04T11:30:00Z"),
            "syncer",
            "healed",
            problem(Some("backup.py:3: no")),
            problem(None),
        );
        ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        let told = "file broken: since 09:30:00, until 11:30:00: backup.py:3: no; the last good version was in force";
        assert!(
            said(&ledger, TEN).1.contains(&told.to_owned()),
            "{:?}",
            said(&ledger, TEN)
        );
        for time in ["2026-05-04T09:00:00Z", "2026-05-04T12:00:00Z"] {
            assert!(!said(&ledger, time).1.concat().contains("broken"));
        }
    }

    #[test]
    fn packages_that_cannot_be_had_are_told_apart_from_a_broken_file() {
        let problem = |text: Option<&str>| json!({ "state": "any", "problem": text });
        let tell = |ledger: &mut Ledger, time: &str, kind: &str, after: serde_json::Value| {
            ledger.tell(at(time), "syncer", kind, json!({}), after);
        };
        let mut ledger = hourly();
        tell(
            &mut ledger,
            "2026-05-04T08:10:00Z",
            "problem",
            problem(Some("backup.py:3: no")),
        );
        tell(
            &mut ledger,
            "2026-05-04T09:10:00Z",
            "environment",
            problem(Some("no such package")),
        );
        tell(
            &mut ledger,
            "2026-05-04T09:20:00Z",
            "environment",
            problem(Some("no `nosuch`")),
        );
        tell(&mut ledger, "2026-05-04T10:30:00Z", "environment", problem(None));
        ledger.row(at(TEN), Trigger::Schedule, Status::Succeeded, None);
        let facts = said(&ledger, TEN).1;
        for fact in [
            "packages: could not be had since 09:10:00, until 10:30:00: no `nosuch`",
            "file broken: since 08:10:00, still is: backup.py:3: no; the last good version was in force",
        ] {
            assert!(facts.contains(&fact.to_owned()), "{facts:?}");
        }
        assert!(
            facts.iter().all(|fact| !fact.contains("environment")),
            "what packages do is no change of plan: {facts:?}"
        );
        for time in ["2026-05-04T09:00:00Z", "2026-05-04T11:00:00Z"] {
            assert!(!said(&ledger, time).1.concat().contains("packages"), "{time}");
        }
    }

    #[test]
    fn packages_that_are_not_asked_for_any_more_are_not_missing() {
        let mut ledger = hourly();
        let problem = json!({ "state": "needs_attention", "problem": "no `nosuch`" });
        ledger.tell(at("2026-05-04T09:10:00Z"), "syncer", "environment", json!({}), problem);
        ledger.edit("0 * * * *", "UTC", at("2026-05-04T10:30:00Z"));
        let told = |ledger: &Ledger, time: &str| {
            let facts = said(ledger, time).1;
            facts.into_iter().find(|fact| fact.starts_with("packages"))
        };
        let missing = "packages: could not be had since 09:10:00, until 10:30:00: no `nosuch`";
        assert_eq!(told(&ledger, TEN).as_deref(), Some(missing));
        assert_eq!(told(&ledger, "2026-05-04T11:00:00Z"), None);
        // The edit asked for the same.
        ledger.story.task.packages_problem = Some("no `nosuch`".to_owned());
        let missing = "packages: could not be had since 09:10:00, still is so: no `nosuch`";
        assert_eq!(told(&ledger, "2026-05-04T11:00:00Z").as_deref(), Some(missing));
    }

    #[test]
    fn a_run_that_somebody_asked_for_is_told_beside_what_was_due() {
        let mut ledger = hourly();
        let row = ledger
            .row(at(TEN), Trigger::Schedule, Status::Failed, Some(Reason::Raised))
            .clone();
        let mut facts = ledger.facts(&[at(TEN)]);
        let mut again = row;
        (again.run_id, again.trigger, again.status, again.reason) = (8, Trigger::Manual, Status::Succeeded, None);
        (again.as_of, again.queued_at) = (Some(at(TEN)), at("2026-05-04T11:00:00Z"));
        again.requested_by = Some("eve@host".to_owned());
        facts
            .scenes
            .iter_mut()
            .for_each(|scene| scene.stand_ins = vec![again.clone()]);
        let told = answer(&facts, Time::Instant(at(TEN))).expect("an answer");
        let fact = told.instants[0]
            .facts
            .iter()
            .find(|fact| fact.label == "asked for")
            .expect("told");
        assert_eq!(
            fact.text,
            "run 8 by eve@host at 11:00:00, to stand for this instant: succeeded"
        );
    }
}
