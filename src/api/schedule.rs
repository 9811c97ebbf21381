//! Schedules before they are used: what they mean, when they fire, and what else is due then.

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::extract::{Body, storable};
use super::problem::Problem;
use super::tasks::check_schedule;
use super::work::in_turn;
use crate::plan::just_before;
use crate::schedule::Schedule;
use crate::store::overview::{self, ScheduleRow};

/// Fire times that are told at most.
const MOST: usize = 100;

/// Fire times for which it is told what else is due then: each asks all tasks.
const COMPARED: usize = 10;

/// Tasks that are named at one instant.
const NAMED: usize = 20;

/// A fire time.
#[derive(Debug, Serialize, ToSchema)]
pub struct FireTime {
    /// The instant.
    pub utc: Timestamp,
    /// What the clock shows then in the zone.
    pub local: String,
}

/// The next fire times of a schedule.
pub(super) fn fire_times(schedule: &Schedule, from: Timestamp, count: usize) -> Vec<FireTime> {
    let zone = schedule.timezone().clone();
    std::iter::successors(schedule.next_after(from), |at| schedule.next_after(*at))
        .take(count)
        .map(|utc| FireTime {
            utc,
            local: utc
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S %Z (%a)")
                .to_string(),
        })
        .collect()
}

/// A schedule that somebody thinks of.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PreviewSchedule {
    /// Cron expressions, `@every`, `@at`; several are one union.
    pub schedule: Vec<String>,
    /// The zone; that of `DROPCRON_TIMEZONE` unless said otherwise.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Behind this instant; now unless said otherwise.
    #[serde(default)]
    pub from: Option<Timestamp>,
    /// How many fire times; 5 unless said otherwise, 100 at most.
    #[serde(default)]
    pub count: Option<usize>,
    /// The task that it is for, which does not collide with itself.
    #[serde(default)]
    pub task: Option<String>,
}

/// What a schedule means.
#[derive(Debug, Serialize, ToSchema)]
pub struct Preview {
    /// In words.
    pub words: String,
    /// The zone.
    pub timezone: String,
    /// The next fire times; fewer than asked for: it never fires again.
    pub next: Vec<FireTime>,
    /// What clock changes do to it, and what people get wrong about such a schedule.
    pub notes: Vec<String>,
    /// What else is due at the first ten of them.
    pub collisions: Vec<Collision>,
}

/// What else is due at an instant.
#[derive(Debug, Serialize, ToSchema)]
pub struct Collision {
    /// The instant.
    pub at: Timestamp,
    /// The tasks; at most 20 are named.
    pub tasks: Vec<String>,
    /// How many they are.
    pub count: usize,
}

/// Say what a schedule means, when it fires, and what else is due then.
#[utoipa::path(post, path = "/api/v1/schedule/preview", tag = "schedule", request_body = PreviewSchedule, responses((status = 200, body = Preview), super::problem::Refusals))]
pub async fn preview_schedule(
    State(api): App,
    Body(wanted): Body<PreviewSchedule>,
) -> Result<axum::Json<Preview>, Problem> {
    let count = wanted.count.unwrap_or(5);
    if !(1..=MOST).contains(&count) {
        return Err(Problem::bad_request(format!(
            "`count` is {count}: it must be from 1 to {MOST}"
        )));
    }
    let timezone = wanted.timezone.unwrap_or_else(|| api.given.timezone.clone());
    check_schedule(&wanted.schedule, &timezone)?;
    if wanted.schedule.is_empty() {
        return Err(Problem::unprocessable(
            "`schedule` is empty: a task without one runs on request only",
        ));
    }
    let schedule =
        Schedule::parse(&wanted.schedule, &timezone).map_err(|error| Problem::unprocessable(error.to_string()))?;
    let others = {
        let mut connection = api.database.connection().await?;
        overview::schedules(&mut connection).await?
    };
    let from = wanted.from.map_or_else(Timestamp::now, storable);
    let own = wanted.task;
    let answer = in_turn(&api, move |_| {
        let next = fire_times(&schedule, from, count);
        let instants: Vec<Timestamp> = next.iter().take(COMPARED).map(|time| time.utc).collect();
        Ok(Preview {
            words: schedule.describe(),
            timezone,
            notes: schedule.notes(from),
            collisions: collisions(&others, own.as_deref(), &instants),
            next,
        })
    });
    answer.await.map(axum::Json)
}

fn collisions(others: &[ScheduleRow], own: Option<&str>, instants: &[Timestamp]) -> Vec<Collision> {
    let others: Vec<(&str, Schedule)> = others
        .iter()
        .filter(|row| own != Some(row.task.as_str()))
        .filter_map(|row| Some((row.task.as_str(), Schedule::parse(&row.schedule, &row.timezone).ok()?)))
        .collect();
    let at = |instant: &Timestamp| {
        let due = others
            .iter()
            .filter(|(_, schedule)| schedule.next_after(just_before(*instant)) == Some(*instant));
        let tasks: Vec<&str> = due.map(|(task, _)| *task).collect();
        (!tasks.is_empty()).then(|| Collision {
            at: *instant,
            count: tasks.len(),
            tasks: tasks.into_iter().take(NAMED).map(str::to_owned).collect(),
        })
    };
    instants.iter().filter_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_at_the_same_instant_is_named() {
        let row = |task: &str, schedule: &str| ScheduleRow {
            task: task.to_owned(),
            schedule: vec![schedule.to_owned()],
            timezone: "UTC".to_owned(),
        };
        let others = [
            row("hourly", "0 * * * *"),
            row("own", "0 * * * *"),
            row("late", "30 2 * * *"),
        ];
        let schedule = Schedule::parse(&["0,30 2 * * *"], "UTC").unwrap();
        let from = "2026-11-28T00:00:00Z".parse().unwrap();
        let instants: Vec<Timestamp> = fire_times(&schedule, from, 2).iter().map(|time| time.utc).collect();
        let found = collisions(&others, Some("own"), &instants);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].tasks, ["hourly"]);
        assert_eq!(
            (found[1].tasks.as_slice(), found[1].count),
            (&["late".to_owned()][..], 1)
        );
    }
}
