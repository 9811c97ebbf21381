//! The judge: looks at new points of series, and marks what is odd about them.
//!
//! A loop of its own, so that no run waits for it. Every node does this: a judgement is written only where none was before, so
//! that each is found once, by one of them. What is odd is decided by `series::judge`.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::health::Pulse;
use super::worker::Context;
use crate::script::Expectation;
use crate::series::{self, Judgement, Kind, Past};
use crate::store::Connection;
use crate::store::observations::{self, Judged, Stale, Unjudged};

/// Between two looks for new points.
const TICK: Duration = Duration::from_secs(1);

/// Between two looks for series that have become stale.
const STALE_TICK: Duration = Duration::from_secs(10);

/// A pass that takes longer hangs: each of its statements has a limit, and so have its points.
const LONGEST_PASS: Duration = Duration::from_secs(600);

/// Points of one pass.
const BATCH: i64 = 200;

/// So many points before it a point is compared with.
const HISTORY: i64 = 50;

/// Judges points; see the module.
pub struct Judge {
    context: Context,
    pulse: Pulse,
    looked_for_stale_at: Option<Instant>,
    /// What the last pass could not do, so that it is said once for as long as it is so.
    reported: Option<String>,
}

/// An expectation that a header declares and that does not hold: people are to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The task.
    pub task_id: i64,
    /// Its name.
    pub task_name: String,
    /// The series.
    pub series: String,
    /// The instant of the point; for a stale series that of its newest one, if it has any.
    pub at: Option<Timestamp>,
    /// The run that returned it; none for a stale series.
    pub run_id: Option<i64>,
    /// What does not hold, in words.
    pub what: String,
}

impl Judge {
    /// For the node of this context.
    pub fn new(context: Context) -> Judge {
        Judge {
            pulse: context.node.pulse("judge", LONGEST_PASS),
            context,
            looked_for_stale_at: None,
            reported: None,
        }
    }

    /// Runs until cancelled.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.pulse.pass();
            let is_more = match self.run_once().await {
                Ok(is_more) => {
                    self.reported = None;
                    is_more
                }
                Err(error) => {
                    self.report(format!("{error:#}"));
                    false
                }
            };
            self.pulse.rest(TICK);
            tokio::select! {
                () = tokio::time::sleep(if is_more { Duration::ZERO } else { TICK }) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// One pass: what it finds and nobody before it, people are told. Whether more points wait.
    pub async fn run_once(&mut self) -> anyhow::Result<bool> {
        let mut connection = self.context.database.connection().await?;
        let points = observations::unjudged(&mut connection, BATCH).await?;
        let judged = judge(&mut connection, &points).await?;
        // Points that somebody holds a lock on are no reason to hurry.
        let is_more = judged.len() as i64 >= BATCH;
        let breaches = judged.into_iter().filter(|point| point.breach);
        tell(&breaches.map(breach_of_point).collect::<Vec<_>>());
        if self.looked_for_stale_at.is_none_or(|at| at.elapsed() >= STALE_TICK) {
            let stale = observations::note_stale(&mut connection).await?;
            tell(&stale.into_iter().map(breach_of_stale).collect::<Vec<_>>());
            self.looked_for_stale_at = Some(Instant::now());
        }
        Ok(is_more)
    }

    fn report(&mut self, error: String) {
        if self.reported.as_ref() != Some(&error) {
            tracing::warn!(%error, "new values cannot be judged yet");
        }
        self.reported = Some(error);
    }
}

/// Judges points, those of a series in the order of their instants; what was judged here and by nobody before.
async fn judge(connection: &mut Connection, points: &[Unjudged]) -> anyhow::Result<Vec<Judged>> {
    let mut judgements: Vec<Judgement> = Vec::with_capacity(points.len());
    let mut not_counting: HashSet<(i64, &str, Timestamp)> = HashSet::new();
    for point in points {
        let before = observations::before(connection, point.task_id, &point.series, point.at, HISTORY).await?;
        // What this pass has found of the points before it is not written yet.
        let past: Vec<Past> = before
            .iter()
            .filter(|past| !not_counting.contains(&(point.task_id, point.series.as_str(), past.at)))
            .filter_map(|past| past_of(&past.kind, past.number.as_deref()))
            .collect();
        let expectation = point.expectation.as_deref().and_then(|json| read(point, json));
        let judgement = match Kind::of_word(&point.kind) {
            Some(kind) => series::judge(kind, point.number.as_deref(), expectation.as_ref(), &past),
            None => Judgement::default(),
        };
        if judgement.breach {
            not_counting.insert((point.task_id, &point.series, point.at));
        }
        judgements.push(judgement);
    }
    if points.is_empty() {
        return Ok(Vec::new());
    }
    let written: Vec<_> = points
        .iter()
        .zip(&judgements)
        .map(|(point, judgement)| (point, judgement.suspect.as_deref(), judgement.breach))
        .collect();
    Ok(observations::judge(connection, &written).await?)
}

fn past_of(kind: &str, number: Option<&str>) -> Option<Past> {
    Some(Past {
        kind: Kind::of_word(kind)?,
        number: number.and_then(|number| number.parse().ok()),
    })
}

/// What the column says is expected; what somebody wrote there in psql may be anything.
fn read(point: &Unjudged, json: &str) -> Option<Expectation> {
    serde_json::from_str(json)
        .inspect_err(|error| {
            tracing::warn!(
                task.id = point.task_id, series = point.series, %error,
                "what a task expects of a series cannot be read; edit the script's header, not the column `expectations`"
            );
        })
        .ok()
}

fn breach_of_point(point: Judged) -> Breach {
    Breach {
        task_id: point.task_id,
        task_name: point.task_name.unwrap_or_default(),
        series: point.series,
        at: Some(point.at),
        run_id: point.run_id,
        what: point.suspect.unwrap_or_default(),
    }
}

fn breach_of_stale(stale: Stale) -> Breach {
    let expected = format!("a new one is expected within {} s", stale.stale_after_seconds);
    Breach {
        what: match stale.last_at {
            Some(at) => format!("no number since that of {at}; {expected}"),
            None => format!("no number yet; {expected}"),
        },
        task_id: stale.task_id,
        task_name: stale.task_name,
        series: stale.series,
        at: stale.last_at,
        run_id: None,
    }
}

/// Says it in the log; the statements that found them have told the channels of their tasks.
fn tell(breaches: &[Breach]) {
    for breach in breaches {
        tracing::warn!(
            task.name = breach.task_name,
            series = breach.series,
            at = breach.at.map(tracing::field::display),
            run.id = breach.run_id,
            what = breach.what,
            "a value is not as expected"
        );
    }
}
