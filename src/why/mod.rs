//! Why a task ran at an instant, or did not: facts of the run log and of the task's story, turned into an explanation.
//!
//! Pure: the facts are plain values, and `now` is one of them. A time is read (`time`), the plans that were in force are told
//! from the planner's events (`plans`), and what became of each instant is decided (`explanation`) and said (`sentences`).
//! The store reads the facts in two looks: the story, and, once it is known which instants matter, what is around them.

mod facts;

mod plans;

mod time;

mod explanation;

mod sentences;

#[cfg(test)]
mod ledger;

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Serialize;

use self::explanation::Case;
pub use self::explanation::{Explanation, Hindrance, Neighbour, OtherPlan, Outage, Pause, Problem, Waiting};
pub use self::facts::{Active, Event, Facts, NodeFact, RunFact, Scene, Story, Task};
pub use self::plans::{Cause, Evidence, Idle, Plan, Plans};
pub use self::sentences::Fact;
pub use self::time::{Resolved, Time, TimeError, resolve};
use crate::schedule::LocalTime;

/// How alike a name must be to one that exists to be suggested (1 is equal).
const SUGGESTION_THRESHOLD: f64 = 0.6;

/// How many names are suggested at most.
const MAX_SUGGESTIONS: usize = 3;

/// What became of the instants that a time stands for.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// The task's name now.
    pub task: String,
    /// Its number.
    pub task_id: i64,
    /// When this was true.
    pub now: Timestamp,
    /// The local time that was asked for, if it was one.
    pub local: Option<DateTime>,
    /// That this local time did not exist, or occurred twice.
    pub clock_change: Option<String>,
    /// One for each instant, oldest first.
    pub instants: Vec<InstantAnswer>,
}

/// What became of one instant.
#[derive(Clone, Debug, Serialize)]
pub struct InstantAnswer {
    /// The instant.
    pub at: Timestamp,
    /// What the clock showed then in the task's zone.
    pub local: String,
    /// The answer in a few words.
    pub verdict: String,
    /// The facts that decided it.
    pub facts: Vec<Fact>,
    /// The same for machines.
    pub explanation: Explanation,
    /// The plan that was in force; none: the task was not known yet.
    pub plan: Option<Plan>,
    /// What was wrong with the file then.
    pub problem: Option<Problem>,
    /// Why the packages that it asked for could not be had then.
    pub packages_problem: Option<Problem>,
    /// Runs that somebody asked for, to stand for this instant or at it.
    pub asked_for: Vec<RunFact>,
}

/// Of several tasks that have or had a name, the one that had it at the time asked about; else the first.
pub fn choose(mut stories: Vec<Story>, name: &str, time: Time) -> Option<Story> {
    let had_it = |story: &Story| {
        let plans = Plans::of(story);
        let resolved = resolve(time, &plans, story.now);
        let first = resolved.and_then(|resolved| resolved.instants.first().copied());
        first.is_some_and(|at| {
            let is_known =
                at > story.task.created_at && plans.at(at).is_none_or(|plan| plan.idle != Some(Idle::Retired));
            is_known && name_at(story, at) == name
        })
    };
    let chosen = stories.iter().position(had_it).unwrap_or(0);
    (chosen < stories.len()).then(|| stories.swap_remove(chosen))
}

/// The instants whose surroundings decide: those asked for, and for those at which the task was not due, the nearest.
pub fn instants_that_matter(story: &Story, time: Time) -> Vec<Timestamp> {
    let plans = Plans::of(story);
    let Some(resolved) = resolve(time, &plans, story.now) else {
        return Vec::new();
    };
    let mut instants = Vec::new();
    for at in asked(&resolved) {
        instants.extend(
            [Some(at), plans.latest_before(at), plans.next_after(at)]
                .into_iter()
                .flatten(),
        );
    }
    instants.sort();
    instants.dedup();
    instants
}

/// The answer. `None`: the time is beyond the calendar.
pub fn answer(facts: &Facts, time: Time) -> Option<Answer> {
    let plans = Plans::of(&facts.story);
    let now = facts.story.now;
    let resolved = resolve(time, &plans, now)?;
    let case = Case { facts, plans: &plans };
    let instants = asked(&resolved)
        .map(|at| answer_instant(&case, at, &resolved))
        .collect();
    Some(Answer {
        task: facts.story.task.name.clone(),
        task_id: facts.story.task.task_id,
        now,
        local: resolved.local.map(|(local, _)| local),
        clock_change: sentences::clock_change(&case, &resolved),
        instants,
    })
}

/// Names that are like one that does not exist, the most alike first.
pub fn nearest_names<'a>(name: &str, known: &'a [String]) -> Vec<&'a str> {
    let wanted = name.to_lowercase();
    let likeness = |candidate: &str| {
        let candidate = candidate.to_lowercase();
        // The last part alone counts as almost the whole: `btc` finds `prices/btc`.
        let last = candidate.rsplit('/').next().unwrap_or(&candidate);
        strsim::normalized_damerau_levenshtein(&wanted, &candidate)
            .max(0.99 * strsim::normalized_damerau_levenshtein(&wanted, last))
    };
    let mut ranked: Vec<(f64, &str)> = known
        .iter()
        .map(|candidate| (likeness(candidate), candidate.as_str()))
        .collect();
    ranked.retain(|(likeness, _)| *likeness >= SUGGESTION_THRESHOLD);
    ranked.sort_by(|(left, a), (right, b)| right.total_cmp(left).then_with(|| a.cmp(b)));
    ranked.into_iter().take(MAX_SUGGESTIONS).map(|(_, name)| name).collect()
}

/// What is answered for.
fn asked(resolved: &Resolved) -> impl Iterator<Item = Timestamp> {
    resolved.instants.iter().copied().chain(resolved.to_come)
}

fn answer_instant(case: &Case<'_>, at: Timestamp, resolved: &Resolved) -> InstantAnswer {
    let explanation = case.explain(at);
    let scene = case.facts.scenes.iter().find(|scene| scene.at == at);
    let mut answer = InstantAnswer {
        at,
        local: String::new(),
        verdict: String::new(),
        facts: Vec::new(),
        plan: case.plans.at(at).cloned(),
        problem: case.problem(at),
        packages_problem: case.packages_problem(at),
        asked_for: scene.map(|scene| scene.stand_ins.clone()).unwrap_or_default(),
        explanation,
    };
    sentences::say(case, &mut answer, resolved);
    answer
}

fn name_at(story: &Story, at: Timestamp) -> &str {
    let mut later = story
        .events
        .iter()
        .filter(|event| event.kind == "renamed" && event.at > at);
    let before = later.next().and_then(|event| event.before["name"].as_str());
    before.unwrap_or(&story.task.name)
}

/// Whether a local time is one that no clock showed.
fn is_gap(resolved: &Resolved) -> bool {
    matches!(resolved.local, Some((_, LocalTime::Never { .. })))
}
