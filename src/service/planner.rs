//! The planner: cursors brought in line with definitions, whoever changed them: syncer, CLI, or a person in psql.
//!
//! A task whose `revision` differs from its `planned_revision` is planned anew, once it owes nothing from before the change. A
//! definition that cannot be planned (a cron expression mistyped in psql) is shown as a problem, and the last good plan goes on.

use jiff::Timestamp;

use crate::plan::{DebtLine, due_offset, idle_span, just_before};
use crate::run::Reason;
use crate::schedule::{Schedule, ScheduleError};
use crate::store::tasks::{self, Planned, Span, ToPlan};
use crate::store::{Connection, StoreError, is_partition_missing, runs};

/// One pass: plans every task that waits for it. Returns how many cursors were set.
pub async fn run_once(connection: &mut Connection) -> Result<usize, StoreError> {
    let mut total = 0;
    loop {
        let waiting = tasks::to_plan(connection).await?;
        let plans: Vec<Planned> = waiting.iter().map(plan).collect();
        for plan in &plans {
            if let Some(problem) = &plan.problem {
                tracing::warn!(task.id = plan.task_id, %problem, "a schedule cannot be planned; the last good one goes on");
            }
        }
        let set = write(connection, &plans).await?;
        total += set;
        // What was not set has changed meanwhile and is seen by the next pass.
        if set == 0 || waiting.len() < 1000 {
            return Ok(total);
        }
    }
}

async fn write(connection: &mut Connection, plans: &[Planned]) -> Result<usize, StoreError> {
    if plans.is_empty() {
        return Ok(0);
    }
    match tasks::plan(connection, plans).await {
        Err(error) if is_partition_missing(&error) => {
            for span in plans.iter().filter_map(|plan| plan.span.as_ref()) {
                runs::ensure_run_log_partition(connection, span.from).await?;
            }
            tasks::plan(connection, plans).await
        }
        result => result,
    }
}

/// The cursor that a task's definition asks for.
fn plan(task: &ToPlan) -> Planned {
    let idle = idle(task);
    let wanted = parse(&task.schedule, &task.timezone);
    let (schedule, texts, timezone, problem) = match wanted {
        Ok(schedule) => (schedule, task.schedule.clone(), task.timezone.clone(), None),
        Err(error) => last_good(task, &error),
    };
    let settled = settled(task, idle);
    let unchanged = task.planned_schedule.as_ref() == Some(&texts)
        && task.planned_timezone.as_ref() == Some(&timezone)
        && task.planned_idle.as_deref() == idle;
    // A cursor whose definition stays as it was is left where it is: a claim may have moved it ahead. One that stands although
    // nothing holds it could not be read for a while, or is past its last instant.
    let (next_fire_at, last_fire_at) = match (unchanged, task.last_fire_at, idle) {
        (true, Some(last), idle) if task.next_fire_at.is_some() || idle.is_some() => (task.next_fire_at, last),
        (_, _, Some(_)) => (None, settled),
        (_, _, None) => (
            schedule.as_ref().and_then(|schedule| schedule.next_after(settled)),
            settled,
        ),
    };
    Planned {
        task_id: task.task_id,
        revision: task.revision,
        expected_next: task.next_fire_at,
        expected_last: task.last_fire_at,
        next_fire_at,
        last_fire_at,
        due_offset_seconds: due_offset(&task.name, task.jitter_seconds),
        schedule: texts,
        timezone,
        idle,
        problem,
        span: (!unchanged).then(|| span_of_standstill(task)).flatten(),
    }
}

/// Up to when all is settled once the new plan holds. An instant before the change that jitter makes due after it counts as
/// part of the standstill that begins.
fn settled(task: &ToPlan, idle: Option<&str>) -> Timestamp {
    let open = idle.and(task.next_fire_at).map(just_before);
    let changed = open.map_or(task.changed_at, |open| open.min(task.changed_at));
    task.last_fire_at.map_or(changed, |last| last.max(changed))
}

/// Why a cursor stands still, if it does.
fn idle(task: &ToPlan) -> Option<&'static str> {
    match () {
        () if task.retired => Some("retired"),
        () if task.paused => Some("paused"),
        () if !task.enabled => Some("disabled"),
        () => None,
    }
}

/// No texts: runs on request only.
fn parse(texts: &[String], timezone: &str) -> Result<Option<Schedule>, ScheduleError> {
    if texts.is_empty() {
        Ok(None)
    } else {
        Schedule::parse(texts, timezone).map(Some)
    }
}

type Chosen = (Option<Schedule>, Vec<String>, String, Option<String>);

fn last_good(task: &ToPlan, error: &ScheduleError) -> Chosen {
    let texts = task.planned_schedule.clone().unwrap_or_default();
    let timezone = task.planned_timezone.clone().unwrap_or_else(|| "UTC".to_owned());
    let schedule = parse(&texts, &timezone).ok().flatten();
    (schedule, texts, timezone, Some(error.to_string()))
}

/// The instants in which a task that now moves, or stands still for another reason, stood still under its last plan.
fn span_of_standstill(task: &ToPlan) -> Option<Span> {
    let reason = match task.planned_idle.as_deref()? {
        "paused" => Reason::Paused,
        "disabled" => Reason::Disabled,
        _ => return None,
    };
    let since: Timestamp = task.last_fire_at?;
    let schedule = parse(task.planned_schedule.as_deref()?, task.planned_timezone.as_deref()?)
        .ok()
        .flatten()?;
    match idle_span(&schedule, since, task.changed_at, reason)? {
        DebtLine::Missed {
            from,
            until,
            count,
            reason,
        } => Some(Span {
            from,
            until,
            count: i64::try_from(count).unwrap_or(i64::MAX),
            reason: reason.as_str(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid instant")
    }

    fn task() -> ToPlan {
        ToPlan {
            task_id: 1,
            name: "hello".to_owned(),
            revision: 1,
            changed_at: at("2026-05-01T10:20:00Z"),
            schedule: vec!["0 * * * *".to_owned()],
            timezone: "UTC".to_owned(),
            jitter_seconds: 0.0,
            paused: false,
            enabled: true,
            retired: false,
            planned_schedule: None,
            planned_timezone: None,
            planned_idle: None,
            next_fire_at: None,
            last_fire_at: None,
        }
    }

    fn planned(task: ToPlan) -> ToPlan {
        let plan = plan(&task);
        ToPlan {
            planned_schedule: Some(plan.schedule),
            planned_timezone: Some(plan.timezone),
            planned_idle: plan.idle.map(str::to_owned),
            next_fire_at: plan.next_fire_at,
            last_fire_at: Some(plan.last_fire_at),
            ..task
        }
    }

    #[test]
    fn a_new_task_owes_nothing_from_before_it_was_seen() {
        let plan = plan(&task());
        assert_eq!(plan.next_fire_at, Some(at("2026-05-01T11:00:00Z")));
        assert_eq!(plan.last_fire_at, at("2026-05-01T10:20:00Z"));
        assert_eq!(plan.span, None);
    }

    #[test]
    fn a_change_of_code_alone_leaves_the_cursor_where_it_is() {
        let before = planned(task());
        let claimed_ahead = ToPlan {
            next_fire_at: Some(at("2026-05-01T12:00:00Z")),
            last_fire_at: Some(at("2026-05-01T11:00:00Z")),
            ..before
        };
        let edited = ToPlan {
            revision: 2,
            changed_at: at("2026-05-01T10:59:59.5Z"),
            ..claimed_ahead
        };
        let plan = plan(&edited);
        assert_eq!(plan.next_fire_at, Some(at("2026-05-01T12:00:00Z")));
        assert_eq!(plan.last_fire_at, at("2026-05-01T11:00:00Z"));
    }

    #[test]
    fn a_new_schedule_holds_from_the_change_on() {
        let edited = ToPlan {
            revision: 2,
            changed_at: at("2026-05-01T10:30:00Z"),
            schedule: vec!["*/5 * * * *".to_owned()],
            ..planned(task())
        };
        assert_eq!(plan(&edited).next_fire_at, Some(at("2026-05-01T10:35:00Z")));
    }

    #[test]
    fn a_pause_becomes_one_span_when_it_ends() {
        let paused = planned(ToPlan {
            paused: true,
            changed_at: at("2026-05-01T10:30:00Z"),
            ..planned(task())
        });
        assert_eq!(paused.next_fire_at, None);
        let resumed = ToPlan {
            paused: false,
            changed_at: at("2026-05-01T14:30:00Z"),
            ..paused
        };
        let plan = plan(&resumed);
        let span = Span {
            from: at("2026-05-01T11:00:00Z"),
            until: at("2026-05-01T14:00:00Z"),
            count: 4,
            reason: "paused",
        };
        assert_eq!(plan.span, Some(span));
        assert_eq!(plan.next_fire_at, Some(at("2026-05-01T15:00:00Z")));
    }

    #[test]
    fn an_instant_that_jitter_delays_beyond_a_pause_is_part_of_the_pause() {
        let due_later = ToPlan {
            jitter_seconds: 1800.0,
            ..planned(task())
        };
        let paused = planned(ToPlan {
            paused: true,
            changed_at: at("2026-05-01T11:00:10Z"),
            ..due_later
        });
        let resumed = ToPlan {
            paused: false,
            changed_at: at("2026-05-01T11:30:00Z"),
            ..paused
        };
        let span = plan(&resumed).span.expect("one instant");
        assert_eq!((span.from, span.count), (at("2026-05-01T11:00:00Z"), 1));
    }

    #[test]
    fn a_plan_that_could_not_be_read_for_a_while_moves_again_with_the_next_change() {
        let stopped = ToPlan {
            next_fire_at: None,
            ..planned(task())
        };
        let edited = ToPlan {
            revision: 2,
            changed_at: at("2026-05-01T14:30:00Z"),
            ..stopped
        };
        let plan = plan(&edited);
        assert_eq!(plan.next_fire_at, Some(at("2026-05-01T15:00:00Z")));
        assert_eq!(plan.last_fire_at, at("2026-05-01T14:30:00Z"));
    }

    #[test]
    fn a_mistyped_override_is_a_problem_and_the_last_good_plan_goes_on() {
        let mistyped = ToPlan {
            schedule: vec!["99 * * * *".to_owned()],
            revision: 2,
            ..planned(task())
        };
        let plan = plan(&mistyped);
        assert!(plan.problem.is_some());
        assert_eq!(plan.next_fire_at, Some(at("2026-05-01T11:00:00Z")));
        assert_eq!(plan.schedule, ["0 * * * *"]);
    }
}
