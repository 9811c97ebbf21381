//! Instants of a task: what became of each, and why.

use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::extract::{Params, Segment, page_size, read_cursor, storable, write_cursor};
use super::problem::Problem;
use super::runs::LARGEST_LISTED_VALUE;
use super::tasks::{find_card, no_task_among};
use crate::schedule::Schedule;
use crate::store::history::{self, Found};
use crate::store::pages::{self, RunFilter};
use crate::why::{self, Time};

/// How many instants to come are told.
const TO_COME: usize = 10;

/// What became of an instant, or of a span of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct BecameOf {
    /// The instant; the first one of a span.
    pub at: Timestamp,
    /// The last one of a span.
    pub until: Option<Timestamp>,
    /// How many instants it is.
    pub count: i64,
    /// What asked for it.
    pub trigger: String,
    /// How it stands.
    pub status: String,
    /// Why.
    pub reason: Option<String>,
    /// The facts behind the reason, in words.
    pub detail: Option<String>,
    /// The row of the run log.
    pub run_id: i64,
    /// 1 for the first try.
    pub attempt: i16,
    /// The instant that it stands for, where that is another.
    pub as_of: Option<Timestamp>,
    /// How much later than due it started.
    pub start_delay_ms: Option<f64>,
    /// How long it ran.
    pub duration_ms: Option<f64>,
    /// For `skipped`: the run that was in the way.
    pub blocking_run_id: Option<i64>,
}

/// What became of the instants of a task.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstantPage {
    /// Newest first.
    pub items: Vec<BecameOf>,
    /// The next instants, in order, if nothing changes.
    pub to_come: Vec<Timestamp>,
    /// What to send as `cursor` for those behind; none: these are the last.
    pub next_cursor: Option<String>,
}

/// Which instants are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct InstantQuery {
    /// This instant or later.
    from: Option<Timestamp>,
    /// This instant or earlier.
    to: Option<Timestamp>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// At most so many; 100 unless said otherwise, 1000 at most.
    limit: Option<i64>,
}

/// List what became of the instants of a task, newest first.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/instants", tag = "tasks", params(("name" = String, Path), InstantQuery), responses((status = 200, body = InstantPage), super::problem::Refusals))]
pub async fn list_instants(
    State(api): App,
    Segment(name): Segment<String>,
    Params(query): Params<InstantQuery>,
) -> Result<axum::Json<InstantPage>, Problem> {
    let limit = page_size(query.limit)?;
    let filter = RunFilter {
        task_name: Some(name.clone()),
        since: query.from.map(storable),
        until: query.to.map(storable),
        before: query.cursor.as_deref().map(read_cursor).transpose()?,
        largest_value: Some(LARGEST_LISTED_VALUE),
        ..RunFilter::default()
    };
    let mut connection = api.database.connection().await?;
    let card = find_card(&mut connection, &name).await?;
    let mut rows = pages::runs(&mut connection, &filter, limit + 1).await?;
    let next_cursor = (rows.len() as i64 > limit).then(|| {
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        rows.last().map(|row| write_cursor(row.scheduled_for, row.run_id))
    });
    let items = rows
        .into_iter()
        .map(|row| BecameOf {
            at: row.scheduled_for,
            until: row.missed_until,
            count: row.missed_count.unwrap_or(1),
            trigger: row.trigger,
            status: row.status,
            reason: row.reason,
            detail: row.detail,
            run_id: row.run_id,
            attempt: row.attempt,
            as_of: row.as_of,
            start_delay_ms: row.start_delay_ms,
            duration_ms: row.duration_ms,
            blocking_run_id: row.blocking_run_id,
        })
        .collect();
    let to_come = match (card.next_fire_at, Schedule::parse(&card.schedule, &card.timezone)) {
        (Some(next), Ok(schedule)) => std::iter::successors(Some(next), |at| schedule.next_after(*at))
            .take(TO_COME)
            .collect(),
        _ => Vec::new(),
    };
    Ok(axum::Json(InstantPage {
        items,
        to_come,
        next_cursor: next_cursor.flatten(),
    }))
}

/// Which instant is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WhyQuery {
    /// `02:30` (the latest one), `2026-11-01T02:30` (local in the task's zone) or `2026-11-01T02:30:00Z`; none: the latest
    /// instant that was due.
    at: Option<String>,
}

/// What became of the instants that a time stands for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The task's name now.
    pub task: String,
    /// Its number.
    pub task_id: i64,
    /// When this was true.
    pub now: Timestamp,
    /// The local time that was asked for, if it was one.
    pub local: Option<String>,
    /// That this local time did not exist, or occurred twice.
    pub clock_change: Option<String>,
    /// One for each instant, oldest first.
    pub instants: Vec<WhyInstant>,
}

impl Why {
    /// The same as the command line says it, in the same order.
    ///
    /// # Errors
    /// None that is known: an answer is JSON.
    pub fn of(answer: &why::Answer) -> serde_json::Result<Why> {
        serde_json::from_str(&serde_json::to_string(answer)?)
    }
}

/// What became of one instant.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyInstant {
    /// The instant.
    pub at: Timestamp,
    /// What the clock showed then in the task's zone.
    pub local: String,
    /// The answer in a few words.
    pub verdict: String,
    /// The facts that decided it.
    pub facts: Vec<WhyFact>,
    /// The same for machines.
    #[schema(value_type = serde_json::Value)]
    pub explanation: Box<RawValue>,
    /// The plan that was in force; none: the task was not known yet.
    #[schema(value_type = Option<serde_json::Value>)]
    pub plan: Option<Box<RawValue>>,
    /// What was wrong with the file then.
    #[schema(value_type = Option<serde_json::Value>)]
    pub problem: Option<Box<RawValue>>,
    /// Runs that somebody asked for, to stand for this instant or at it.
    #[schema(value_type = Vec<serde_json::Value>)]
    pub asked_for: Vec<Box<RawValue>>,
}

/// One fact.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhyFact {
    /// What it is about.
    pub label: String,
    /// The sentence.
    pub text: String,
}

/// Say what became of an instant, and the facts that decided it.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/why", tag = "tasks", params(("name" = String, Path), WhyQuery), responses((status = 200, body = Why), super::problem::Refusals))]
pub async fn explain_instant(
    State(api): App,
    Segment(name): Segment<String>,
    Params(query): Params<WhyQuery>,
) -> Result<axum::Json<Why>, Problem> {
    let text = query.at.unwrap_or_default();
    let time = Time::parse(&text).map_err(|error| Problem::bad_request(error.to_string()))?;
    let mut connection = api.database.connection().await?;
    let facts = match history::read(&mut connection, &name, time).await? {
        Found::Facts(facts) => facts,
        Found::NoTask(names) => return Err(no_task_among(&name, &names)),
    };
    let answer = why::answer(&facts, time)
        .ok_or_else(|| Problem::bad_request(format!("`{text}` is beyond the years 1 to 9999")))?;
    Why::of(&answer).map(axum::Json).map_err(Problem::internal)
}
