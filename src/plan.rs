//! What a task owes: schedule, policies and now, turned into the rows that its due instants ask for.
//!
//! Pure: `now` is a value. Decides which instants are run, and which are recorded as missed or skipped; whether a run may
//! start beside others is decided by the database, at the instant.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::run::{Reason, Trigger};
use crate::schedule::Schedule;
use crate::script::Missed;

/// Attended instants that one pass turns into rows; older ones count as missed. A node that is alive falls behind by its
/// lease at most, so a task that is due every second stays far below this.
const MAX_LATE_INSTANTS: u64 = 300;

/// What a task wants of instants that were not fired in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policies {
    /// Of those that were due while no node was there.
    pub missed: Missed,
    /// How late an instant may still start.
    pub grace: Option<Duration>,
    /// With `missed = all`: at most so many are run.
    pub catch_up_limit: u32,
}

/// Where a task stands when it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The first instant that is not settled.
    pub next_fire_at: Timestamp,
    /// The task's share of its jitter: a run is due so long after its instant.
    pub due_offset: SignedDuration,
    /// Now.
    pub now: Timestamp,
    /// What the plan in force asks for ends here, where a newer definition begins.
    pub ends_at: Option<Timestamp>,
    /// Since when a node has been there to fire.
    pub attended_since: Timestamp,
}

/// What is to be written, and where the cursor goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Debt {
    /// Rows, oldest first.
    pub lines: Vec<DebtLine>,
    /// The last instant that is settled thereby.
    pub last_fire_at: Timestamp,
    /// The next instant; none: the schedule has no further one.
    pub next_fire_at: Option<Timestamp>,
}

/// One row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DebtLine {
    /// A run is wanted.
    Run {
        /// Its instant.
        scheduled_for: Timestamp,
        /// On time, or made up for.
        trigger: Trigger,
        /// Waits for its turn, whatever the overlap policy says.
        serial: bool,
    },
    /// It could have been run, but is too late now.
    TooLate {
        /// Its instant.
        scheduled_for: Timestamp,
    },
    /// A span that is not run.
    Missed {
        /// Its first instant.
        from: Timestamp,
        /// Its last instant.
        until: Timestamp,
        /// How many instants.
        count: u64,
        /// Why.
        reason: Reason,
    },
}

/// What a task owes at `position`. `None`: nothing is due yet.
pub fn debt(schedule: &Schedule, policies: Policies, position: Position) -> Option<Debt> {
    let due_until = position.now.saturating_sub(position.due_offset).ok()?;
    let due_until = position.ends_at.map_or(due_until, |ends_at| due_until.min(ends_at));
    if position.next_fire_at > due_until {
        return None;
    }
    let before = just_before(position.next_fire_at);
    let attended_from = attended_from(schedule, position, before, due_until);
    let mut lines = missed_lines(schedule, policies, before, attended_from, position);
    lines.extend(late_lines(schedule, policies, attended_from, due_until, position));
    let last_fire_at = schedule.latest(before, due_until).unwrap_or(position.next_fire_at);
    Some(Debt {
        lines,
        last_fire_at,
        next_fire_at: schedule.next_after(last_fire_at.max(due_until)),
    })
}

/// What a task that stood still owes: one span in `(after, until]`, or nothing.
pub fn idle_span(schedule: &Schedule, after: Timestamp, until: Timestamp, reason: Reason) -> Option<DebtLine> {
    span(schedule, after, until, reason)
}

/// The instant such that those after it were attended, and those up to it were not.
fn attended_from(schedule: &Schedule, position: Position, before: Timestamp, due_until: Timestamp) -> Timestamp {
    let attended = position
        .attended_since
        .saturating_sub(position.due_offset)
        .unwrap_or(before);
    let mut boundary = just_before(attended).max(before).min(due_until);
    if schedule.count(boundary, due_until) > MAX_LATE_INSTANTS {
        boundary = nth_newest(schedule, boundary, due_until, MAX_LATE_INSTANTS as usize).map_or(boundary, just_before);
    }
    boundary
}

/// Instants in `(after, until]` that nobody attended.
fn missed_lines(
    schedule: &Schedule,
    policies: Policies,
    after: Timestamp,
    until: Timestamp,
    position: Position,
) -> Vec<DebtLine> {
    // Instants that are older than the grace can only be missed.
    let too_old = policies
        .grace
        .map_or(after, |grace| oldest_in_grace(position, grace).max(after).min(until));
    let (wanted, reason) = match policies.missed {
        Missed::Skip => (0, Reason::Down),
        Missed::Latest => (1, Reason::Down),
        Missed::All => (policies.catch_up_limit as usize, Reason::Limit),
    };
    let mut runs: Vec<Timestamp> = newest(schedule, too_old, until, wanted);
    runs.reverse();
    let not_run_until = runs.first().map_or(until, |first| just_before(*first));
    let mut lines = Vec::new();
    if policies.missed == Missed::All {
        lines.extend(span(schedule, after, too_old, Reason::Down));
        lines.extend(span(schedule, too_old, not_run_until, reason));
    } else {
        lines.extend(span(schedule, after, not_run_until, reason));
    }
    let serial = policies.missed == Missed::All;
    lines.extend(runs.into_iter().map(|scheduled_for| DebtLine::Run {
        scheduled_for,
        trigger: Trigger::CatchUp,
        serial,
    }));
    lines
}

/// Instants in `(after, until]` that a node attended, but did not come to in time.
fn late_lines(
    schedule: &Schedule,
    policies: Policies,
    after: Timestamp,
    until: Timestamp,
    position: Position,
) -> Vec<DebtLine> {
    let oldest = policies.grace.map(|grace| oldest_in_grace(position, grace));
    schedule
        .between(after, until)
        .map(|scheduled_for| match oldest {
            Some(oldest) if scheduled_for <= oldest => DebtLine::TooLate { scheduled_for },
            _ => DebtLine::Run {
                scheduled_for,
                trigger: Trigger::Schedule,
                serial: false,
            },
        })
        .collect()
}

/// Instants up to this one are older than the grace.
fn oldest_in_grace(position: Position, grace: Duration) -> Timestamp {
    let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
    let oldest = position
        .now
        .saturating_sub(position.due_offset)
        .and_then(|now| now.saturating_sub(grace));
    oldest.map_or(Timestamp::MIN, just_before)
}

fn span(schedule: &Schedule, after: Timestamp, until: Timestamp, reason: Reason) -> Option<DebtLine> {
    let count = schedule.count(after, until);
    let from = schedule.next_after(after)?;
    let until = schedule.latest(after, until)?;
    (count > 0).then_some(DebtLine::Missed {
        from,
        until,
        count,
        reason,
    })
}

/// At most `wanted` instants in `(after, until]`, newest first.
fn newest(schedule: &Schedule, after: Timestamp, until: Timestamp, wanted: usize) -> Vec<Timestamp> {
    std::iter::successors(schedule.latest(after, until), |instant| {
        schedule.latest(after, just_before(*instant))
    })
    .take(wanted)
    .collect()
}

fn nth_newest(schedule: &Schedule, after: Timestamp, until: Timestamp, nth: usize) -> Option<Timestamp> {
    newest(schedule, after, until, nth).pop()
}

/// Instants of a schedule are whole seconds, so this excludes exactly the one.
pub fn just_before(instant: Timestamp) -> Timestamp {
    instant.saturating_sub(SignedDuration::from_nanos(1)).unwrap_or(instant)
}

/// The task's share of its jitter: stable, by a hash of its name.
pub fn due_offset(task_name: &str, jitter_seconds: f64) -> f64 {
    if jitter_seconds <= 0.0 {
        return 0.0;
    }
    let hash = crate::script::ContentHash::of(task_name.as_bytes());
    let mut head = [0; 8];
    head.copy_from_slice(&hash.as_bytes()[..8]);
    let share = u64::from_be_bytes(head) as f64 / u64::MAX as f64;
    // Whole milliseconds: people read and compare them.
    (share * jitter_seconds * 1000.0).floor() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid instant")
    }

    fn schedule(text: &str) -> Schedule {
        Schedule::parse(&[text], "UTC").expect("a valid schedule")
    }

    fn policies(missed: Missed) -> Policies {
        Policies {
            missed,
            grace: None,
            catch_up_limit: 100,
        }
    }

    fn position(next: &str, now: &str, attended_since: &str) -> Position {
        Position {
            next_fire_at: at(next),
            due_offset: SignedDuration::ZERO,
            now: at(now),
            ends_at: None,
            attended_since: at(attended_since),
        }
    }

    fn run(instant: &str, trigger: Trigger, serial: bool) -> DebtLine {
        DebtLine::Run {
            scheduled_for: at(instant),
            trigger,
            serial,
        }
    }

    #[test]
    fn nothing_is_owed_before_the_instant() {
        let position = position(
            "2026-05-01T10:00:00Z",
            "2026-05-01T09:59:59.999Z",
            "2026-05-01T09:00:00Z",
        );
        assert_eq!(debt(&schedule("0 * * * *"), policies(Missed::Latest), position), None);
    }

    #[test]
    fn an_attended_instant_is_run_as_scheduled() {
        let position = position("2026-05-01T10:00:00Z", "2026-05-01T10:00:00Z", "2026-05-01T09:00:00Z");
        let debt = debt(&schedule("0 * * * *"), policies(Missed::Latest), position).expect("due");
        assert_eq!(debt.lines, [run("2026-05-01T10:00:00Z", Trigger::Schedule, false)]);
        assert_eq!(debt.last_fire_at, at("2026-05-01T10:00:00Z"));
        assert_eq!(debt.next_fire_at, Some(at("2026-05-01T11:00:00Z")));
    }

    #[test]
    fn after_downtime_the_latest_is_run_and_the_rest_is_one_span() {
        let position = position("2026-05-01T10:00:00Z", "2026-05-01T15:30:00Z", "2026-05-01T15:29:59Z");
        let debt = debt(&schedule("0 * * * *"), policies(Missed::Latest), position).expect("due");
        let missed = DebtLine::Missed {
            from: at("2026-05-01T10:00:00Z"),
            until: at("2026-05-01T14:00:00Z"),
            count: 5,
            reason: Reason::Down,
        };
        assert_eq!(
            debt.lines,
            [missed, run("2026-05-01T15:00:00Z", Trigger::CatchUp, false)]
        );
        assert_eq!(debt.next_fire_at, Some(at("2026-05-01T16:00:00Z")));
    }

    #[test]
    fn skip_runs_none_and_counts_all() {
        let position = position("2026-05-01T10:00:00Z", "2026-05-01T15:30:00Z", "2026-05-01T15:29:59Z");
        let debt = debt(&schedule("0 * * * *"), policies(Missed::Skip), position).expect("due");
        let missed = DebtLine::Missed {
            from: at("2026-05-01T10:00:00Z"),
            until: at("2026-05-01T15:00:00Z"),
            count: 6,
            reason: Reason::Down,
        };
        assert_eq!(debt.lines, [missed]);
    }

    #[test]
    fn all_runs_the_newest_up_to_the_limit_one_after_the_other() {
        let position = position("2026-05-01T10:00:00Z", "2026-05-01T15:30:00Z", "2026-05-01T15:29:59Z");
        let policies = Policies {
            catch_up_limit: 2,
            ..policies(Missed::All)
        };
        let debt = debt(&schedule("0 * * * *"), policies, position).expect("due");
        let missed = DebtLine::Missed {
            from: at("2026-05-01T10:00:00Z"),
            until: at("2026-05-01T13:00:00Z"),
            count: 4,
            reason: Reason::Limit,
        };
        assert_eq!(
            debt.lines,
            [
                missed,
                run("2026-05-01T14:00:00Z", Trigger::CatchUp, true),
                run("2026-05-01T15:00:00Z", Trigger::CatchUp, true)
            ]
        );
    }

    #[test]
    fn the_grace_turns_late_instants_away() {
        let grace = Policies {
            grace: Some(Duration::from_secs(600)),
            ..policies(Missed::Latest)
        };
        let down = position("2026-05-01T10:00:00Z", "2026-05-01T10:30:00Z", "2026-05-01T10:29:59Z");
        let missed = DebtLine::Missed {
            from: at("2026-05-01T10:00:00Z"),
            until: at("2026-05-01T10:00:00Z"),
            count: 1,
            reason: Reason::Down,
        };
        assert_eq!(debt(&schedule("0 * * * *"), grace, down).expect("due").lines, [missed]);
        let busy = position("2026-05-01T10:00:00Z", "2026-05-01T10:30:00Z", "2026-05-01T09:00:00Z");
        let too_late = DebtLine::TooLate {
            scheduled_for: at("2026-05-01T10:00:00Z"),
        };
        assert_eq!(
            debt(&schedule("0 * * * *"), grace, busy).expect("due").lines,
            [too_late]
        );
        let within = Position {
            now: at("2026-05-01T10:10:00Z"),
            ..busy
        };
        let run = run("2026-05-01T10:00:00Z", Trigger::Schedule, false);
        assert_eq!(debt(&schedule("0 * * * *"), grace, within).expect("due").lines, [run]);
    }

    #[test]
    fn three_days_down_cost_one_row_and_one_run_for_a_task_of_every_second() {
        let position = position("2026-05-01T00:00:00Z", "2026-05-04T00:00:00Z", "2026-05-04T00:00:00Z");
        let debt = debt(&schedule("* * * * * *"), policies(Missed::Latest), position).expect("due");
        let counted: u64 = debt
            .lines
            .iter()
            .map(|line| match line {
                DebtLine::Missed { count, .. } => *count,
                _ => 1,
            })
            .sum();
        assert_eq!(counted, 3 * 86_400 + 1, "the instants at both ends count");
        assert!(debt.lines.len() <= 3, "{:?}", debt.lines);
    }

    #[test]
    fn jitter_moves_when_a_run_is_due_not_what_it_stands_for() {
        let mut position = position("2026-05-01T10:00:00Z", "2026-05-01T10:00:10Z", "2026-05-01T09:00:00Z");
        position.due_offset = SignedDuration::from_secs(15);
        assert_eq!(debt(&schedule("0 * * * *"), policies(Missed::Latest), position), None);
        position.now = at("2026-05-01T10:00:15Z");
        let debt = debt(&schedule("0 * * * *"), policies(Missed::Latest), position).expect("due");
        assert_eq!(debt.lines, [run("2026-05-01T10:00:00Z", Trigger::Schedule, false)]);
    }

    #[test]
    fn an_instant_before_a_change_is_owed_although_its_jitter_ends_after_it() {
        let changed = Position {
            due_offset: SignedDuration::from_secs(15),
            ends_at: Some(at("2026-05-01T10:00:05Z")),
            ..position("2026-05-01T10:00:00Z", "2026-05-01T11:30:00Z", "2026-05-01T09:00:00Z")
        };
        let debt = debt(&schedule("0 * * * *"), policies(Missed::Latest), changed).expect("due");
        assert_eq!(debt.lines, [run("2026-05-01T10:00:00Z", Trigger::Schedule, false)]);
        assert_eq!(debt.last_fire_at, at("2026-05-01T10:00:00Z"));
    }

    #[test]
    fn the_share_of_the_jitter_is_stable_and_within_the_window() {
        assert_eq!(due_offset("prices/btc", 0.0), 0.0);
        let offset = due_offset("prices/btc", 30.0);
        assert_eq!(offset, due_offset("prices/btc", 30.0));
        assert!((0.0..30.0).contains(&offset));
        assert_ne!(offset, due_offset("prices/eth", 30.0));
    }
}
