//! Everything at a glance: what runs, what comes, what failed and was missed today, and a day of tasks on one line each.

use axum::extract::State;
use jiff::civil::time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Params, bad_cursor, page_size, storable};
use super::problem::Problem;
use super::runs::{LARGEST_LISTED_VALUE, Run};
use super::{App, directory};
use crate::plan::just_before;
use crate::run::Status;
use crate::schedule::Schedule;
use crate::store::overview::{self, FailedRow, TimelineRow, TimelineSpan, UpcomingRow};
use crate::store::pages::{self, RunFilter};

/// What stands in one of the lists of the overview at most.
const SHOWN: i64 = 20;

/// Runs of one task in a timeline at most.
const TIMELINE_RUNS: i64 = 300;

/// Marks on a line that a chart can tell apart.
const TIMELINE_PLACES: i32 = 480;

/// Marks of one page of a timeline at most.
const TIMELINE_MARKS: usize = 20_000;

/// The span of a timeline at most.
const TIMELINE_SPAN: SignedDuration = SignedDuration::from_hours(31 * 24);

/// What goes on.
#[derive(Debug, Serialize, ToSchema)]
pub struct Overview {
    /// The clock of this service.
    pub now: Timestamp,
    /// What runs, and what is due and waits, the oldest first; at most 20.
    pub running: Vec<Run>,
    /// What is due next, in order; at most 20.
    pub upcoming: Vec<UpcomingInstant>,
    /// Since when is today.
    pub today_since: Timestamp,
    /// Tasks of which runs failed, timed out or were lost today, those that failed last first; at most 20.
    pub failed_today: Vec<FailedTask>,
    /// Instants that were missed today, the newest first; at most 20.
    pub missed_today: Vec<Run>,
    /// How many stand how.
    pub counts: OverviewCounts,
    /// Whether scripts can be written here.
    pub scripts_writable: bool,
    /// Why not.
    pub scripts_note: Option<String>,
    /// The zone of schedules that name none.
    pub timezone: String,
    /// The version of dropcron.
    pub version: &'static str,
}

/// An instant that is due next.
#[derive(Debug, Serialize, ToSchema)]
pub struct UpcomingInstant {
    /// The task.
    pub task: String,
    /// The instant.
    pub scheduled_for: Timestamp,
}

impl From<UpcomingRow> for UpcomingInstant {
    fn from(row: UpcomingRow) -> UpcomingInstant {
        UpcomingInstant {
            task: row.task,
            scheduled_for: row.scheduled_for,
        }
    }
}

/// A task that failed.
#[derive(Debug, Serialize, ToSchema)]
pub struct FailedTask {
    /// The newest run that did, without what it returned.
    pub run: Run,
    /// How many did.
    pub failures: i64,
}

impl From<FailedRow> for FailedTask {
    fn from(row: FailedRow) -> FailedTask {
        FailedTask {
            run: row.run.into(),
            failures: row.failures,
        }
    }
}

/// How many stand how.
#[derive(Debug, Serialize, ToSchema)]
pub struct OverviewCounts {
    /// Tasks whose file is there.
    pub tasks: i64,
    /// Those that are paused.
    pub paused: i64,
    /// Those that are disabled in their header.
    pub disabled: i64,
    /// Those whose file or plan has a problem.
    pub problems: i64,
    /// Those whose newest run failed.
    pub failing: i64,
    /// Runs that run.
    pub running: i64,
    /// Runs that are due and wait.
    pub queued: i64,
    /// Runs that failed, timed out or were lost today.
    pub failed_today: i64,
    /// Instants that were missed today.
    pub missed_today: i64,
    /// Instants that were skipped today.
    pub skipped_today: i64,
}

/// What counts as today.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OverviewQuery {
    /// The zone whose midnight begins today; that of `DROPCRON_TIMEZONE` unless said otherwise.
    timezone: Option<String>,
}

/// Read what goes on.
#[utoipa::path(get, path = "/api/v1/overview", tag = "overview", params(OverviewQuery), responses((status = 200, body = Overview), super::problem::Refusals))]
pub async fn read_overview(
    State(api): App,
    Params(query): Params<OverviewQuery>,
) -> Result<axum::Json<Overview>, Problem> {
    let name = query.timezone.as_deref().unwrap_or(&api.given.timezone);
    let zone = crate::schedule::timezone(name).map_err(|error| Problem::bad_request(error.to_string()))?;
    let now = Timestamp::now();
    let since = midnight(now, &zone);
    let mut connection = api.database.connection().await?;
    let running = overview::running(&mut connection, SHOWN).await?;
    let upcoming = overview::upcoming(&mut connection, SHOWN).await?;
    let failed = overview::failed(&mut connection, since, SHOWN).await?;
    let missed = RunFilter {
        statuses: vec![Status::Missed],
        since: Some(since),
        largest_value: Some(LARGEST_LISTED_VALUE),
        ..RunFilter::default()
    };
    let missed = pages::runs(&mut connection, &missed, SHOWN).await?;
    let counts = overview::counts(&mut connection, since).await?;
    drop(connection);
    let scripts_note = directory::write_hindrance(&api.given.scripts_directory);
    Ok(axum::Json(Overview {
        now,
        running: running.into_iter().map(Run::from).collect(),
        upcoming: upcoming.into_iter().map(UpcomingInstant::from).collect(),
        today_since: since,
        failed_today: failed.into_iter().map(FailedTask::from).collect(),
        missed_today: missed.into_iter().map(Run::from).collect(),
        counts: OverviewCounts {
            tasks: counts.tasks,
            paused: counts.paused,
            disabled: counts.disabled,
            problems: counts.problems,
            failing: counts.failing,
            running: counts.running,
            queued: counts.queued,
            failed_today: counts.failed,
            missed_today: counts.missed,
            skipped_today: counts.skipped,
        },
        scripts_writable: scripts_note.is_none(),
        scripts_note,
        timezone: api.given.timezone.clone(),
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// The beginning of the day; where a clock change leaves it out, the first instant after it.
fn midnight(now: Timestamp, zone: &TimeZone) -> Timestamp {
    let midnight = now.to_zoned(zone.clone()).date().to_datetime(time(0, 0, 0, 0));
    zone.to_ambiguous_timestamp(midnight)
        .compatible()
        .map_or(now, |at| at.min(now))
}

/// The span of a timeline.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TimelineQuery {
    /// Its beginning; 12 hours ago unless said otherwise.
    from: Option<Timestamp>,
    /// Its end; 12 hours from now unless said otherwise.
    to: Option<Timestamp>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many tasks; 100 unless said otherwise, 1000 at most.
    limit: Option<i64>,
}

/// Tasks on one line each.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// The clock of this service.
    pub now: Timestamp,
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// In the order of their names.
    pub tasks: Vec<TimelineTask>,
    /// Whether marks are left out: a page has 20000 at most, and the first tasks have theirs.
    pub truncated: bool,
    /// What to send as `cursor` for the tasks behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// One line.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineTask {
    /// The task.
    pub name: String,
    /// What ran, oldest first.
    pub runs: Vec<TimelineRun>,
    /// The instants to come, in order; of those that are nearer to each other than a 480th of the span, the first.
    pub fires: Vec<Timestamp>,
    /// Whether earlier runs are left out: 300 are shown.
    pub truncated: bool,
}

/// A run on the line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TimelineRun {
    /// The run.
    pub run_id: i64,
    /// Its instant.
    pub scheduled_for: Timestamp,
    /// The go.
    pub started_at: Option<Timestamp>,
    /// Its end.
    pub finished_at: Option<Timestamp>,
    /// For `missed`: the last instant of the span.
    pub missed_until: Option<Timestamp>,
    /// How it stands.
    pub status: String,
}

/// Read a timeline: what ran, and what is to come.
#[utoipa::path(get, path = "/api/v1/timeline", tag = "overview", params(TimelineQuery), responses((status = 200, body = Timeline), super::problem::Refusals))]
pub async fn read_timeline(
    State(api): App,
    Params(query): Params<TimelineQuery>,
) -> Result<axum::Json<Timeline>, Problem> {
    const HALF_A_DAY: SignedDuration = SignedDuration::from_hours(12);
    let limit = page_size(query.limit)?;
    if query.cursor.as_deref().is_some_and(str::is_empty) {
        return Err(bad_cursor(""));
    }
    let now = Timestamp::now();
    let from = query.from.map_or_else(|| now - HALF_A_DAY, storable);
    let to = query.to.map_or_else(|| now + HALF_A_DAY, storable);
    if from >= to || to.duration_since(from) > TIMELINE_SPAN {
        return Err(Problem::bad_request(
            "`from` must be before `to`, by 31 days at most; ask for a shorter span",
        ));
    }
    let span = TimelineSpan {
        since: from,
        until: to,
        after_name: query.cursor,
    };
    let mut connection = api.database.connection().await?;
    let mut rows = overview::timeline(&mut connection, &span, limit + 1, TIMELINE_RUNS).await?;
    drop(connection);
    let next_cursor = (rows.len() as i64 > limit).then(|| {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows.last().map(|row| row.name.clone())
    });
    let drawn = tokio::task::spawn_blocking(move || draw(rows, now, from, to));
    let (tasks, truncated) = drawn.await.map_err(Problem::internal)?;
    Ok(axum::Json(Timeline {
        now,
        from,
        to,
        tasks,
        truncated,
        next_cursor: next_cursor.flatten(),
    }))
}

/// One line for each task; whether marks are left out since there are too many in all.
fn draw(rows: Vec<TimelineRow>, now: Timestamp, from: Timestamp, to: Timestamp) -> (Vec<TimelineTask>, bool) {
    let most = usize::try_from(TIMELINE_RUNS).unwrap_or(usize::MAX);
    let (mut left, mut is_cut) = (TIMELINE_MARKS, false);
    let tasks = rows
        .into_iter()
        .map(|row| {
            let mut runs: Vec<TimelineRun> = serde_json::from_str(&row.runs).unwrap_or_default();
            let mut fires = fires(&row, now.max(from), to, to.duration_since(from) / TIMELINE_PLACES);
            let truncated = runs.len() == most;
            is_cut |= runs.len() + fires.len() > left;
            // The newest runs and the next instants are those that matter.
            runs.drain(..runs.len().saturating_sub(left));
            left -= runs.len();
            fires.truncate(left);
            left -= fires.len();
            TimelineTask {
                name: row.name,
                runs,
                fires,
                truncated,
            }
        })
        .collect();
    (tasks, is_cut)
}

/// The instants to come, at least `apart` from each other: more than that lies on each other in any chart.
fn fires(row: &TimelineRow, from: Timestamp, to: Timestamp, apart: SignedDuration) -> Vec<Timestamp> {
    let (Some(next), Ok(schedule)) = (row.next_fire_at, Schedule::parse(&row.schedule, &row.timezone)) else {
        return Vec::new();
    };
    let first = schedule.next_after(just_before(next.max(from)));
    std::iter::successors(first, |at| schedule.next_after(just_before(*at + apart).max(*at)))
        .take_while(|at| *at <= to)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn today_begins_at_midnight_in_the_zone() {
        let zone = crate::schedule::timezone("Europe/Berlin").unwrap();
        let begins = midnight(at("2026-11-28T12:00:00Z"), &zone);
        assert_eq!(begins, at("2026-11-27T23:00:00Z"));
        // Clocks went from 24:00 to 01:00 there.
        let zone = crate::schedule::timezone("Asia/Beirut").unwrap();
        assert_eq!(midnight(at("2022-03-27T10:00:00Z"), &zone), at("2022-03-26T22:00:00Z"));
    }

    #[test]
    fn a_line_has_the_instants_to_come_up_to_its_end_as_densely_as_they_can_be_told_apart() {
        let row = |schedule: &str| TimelineRow {
            task_id: 1,
            name: "a".to_owned(),
            schedule: vec![schedule.to_owned()],
            timezone: "UTC".to_owned(),
            next_fire_at: Some(at("2026-11-28T12:00:00Z")),
            runs: "[]".to_owned(),
            found: 0,
        };
        let (now, until) = (at("2026-11-28T12:00:00Z"), at("2026-11-28T23:59:59Z"));
        let (tasks, is_cut) = draw(vec![row("0 * * * *")], now, now, until);
        assert_eq!((tasks[0].fires.len(), tasks[0].truncated, is_cut), (12, false, false));
        let (tasks, is_cut) = draw(vec![row("* * * * * *")], now, now, until);
        let fires = &tasks[0].fires;
        assert_eq!((fires.len(), is_cut), (480, false));
        assert!(
            until.duration_since(fires[479]) < SignedDuration::from_secs(90),
            "{}",
            fires[479]
        );
        let (tasks, is_cut) = draw((0..100).map(|_| row("* * * * *")).collect(), now, now, until);
        assert_eq!(tasks.iter().map(|task| task.fires.len()).sum::<usize>(), TIMELINE_MARKS);
        assert!(is_cut);
    }
}
