//! What a run printed: in pages, and live as a stream of events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, sleep, sleep_until};
use utoipa::{IntoParams, ToSchema};

use super::extract::{Params, Segment, page_size};
use super::identity::Identity;
use super::problem::Problem;
use super::runs::no_run;
use super::watch::{Batch, Frame, Right, has_ended};
use super::{Api, App};
use crate::store::pages::{self, ChunkRow, RunStatus};

/// A comment is sent so often, so that proxies keep the connection and dead ones are found.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A stream ends after so long without its end event; browsers come back by themselves.
const LONGEST_STREAM: Duration = Duration::from_secs(600);

/// Chunks that a stream reads at a time before it has caught up.
const BACKLOG: i64 = 200;

/// What the chunks of a page have together, in bytes; whoever reads goes on from there. One chunk is always there.
const PAGE_BYTES: usize = 4 * 1024 * 1024;

/// A piece of a run's output.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Chunk {
    /// Order within the run, from 0. A number that is missing is output that is missing.
    pub number: i32,
    /// Text; what was not UTF-8 is replaced. Standard output and standard error come in the order in which they were written.
    pub text: String,
    /// When it was stored.
    pub at: Timestamp,
}

/// What a run printed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct OutputPage {
    /// In order.
    pub chunks: Vec<Chunk>,
    /// The number to go on from.
    pub next: i32,
    /// Whether the run has ended and this is all from here on.
    pub complete: bool,
    /// How the run stands.
    pub status: String,
}

/// Which part of the output is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct OutputQuery {
    /// From this chunk on; from the first unless said otherwise.
    from_chunk: Option<i32>,
    /// At most so many chunks; 100 unless said otherwise, 1000 at most. Fewer where they have more than 4 MiB together.
    limit: Option<i64>,
}

/// Read what a run printed.
#[utoipa::path(get, path = "/api/v1/runs/{run_id}/output", tag = "output", params(("run_id" = i64, Path), OutputQuery), responses((status = 200, body = OutputPage), super::problem::Refusals))]
pub async fn read_output(
    State(api): App,
    Segment(run_id): Segment<i64>,
    Params(query): Params<OutputQuery>,
) -> Result<axum::Json<OutputPage>, Problem> {
    let limit = page_size(query.limit)?;
    let from = query.from_chunk.unwrap_or(0);
    // The status is read before the output: what a run said is stored before its end is.
    let run = status_of(&api, run_id).await?;
    let mut connection = api.database.connection().await?;
    let mut rows = pages::output(&mut connection, run_id, from, run.queued_at, limit).await?;
    drop(connection);
    let fitting = fitting(&rows);
    let is_full = rows.len() as i64 >= limit || fitting < rows.len();
    rows.truncate(fitting);
    Ok(axum::Json(OutputPage {
        next: rows.last().map_or(from, |row| row.sequence.saturating_add(1)),
        complete: has_ended(&run.status) && !is_full,
        status: run.status,
        chunks: rows
            .into_iter()
            .map(|row| Chunk {
                number: row.sequence,
                text: row.chunk,
                at: row.written_at,
            })
            .collect(),
    }))
}

/// How many chunks, from the first on, fit into a page.
fn fitting(rows: &[ChunkRow]) -> usize {
    let mut bytes = 0;
    let fits = |row: &&ChunkRow| {
        bytes += row.chunk.len();
        bytes <= PAGE_BYTES
    };
    rows.iter().take_while(fits).count().max(1)
}

async fn status_of(api: &Api, run_id: i64) -> Result<RunStatus, Problem> {
    let mut connection = api.database.connection().await?;
    pages::run_status(&mut connection, run_id)
        .await?
        .ok_or_else(|| no_run(run_id))
}

/// Where a stream begins.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// From this chunk on; `Last-Event-ID` comes before it.
    from_chunk: Option<i32>,
}

/// Watch what a run prints, as server-sent events: `chunk` for each piece, under its number as the event's id, and `end` with the
/// status. `Last-Event-ID` goes on behind what was seen; a stream without `end` has to be opened again: it ends after ten minutes, and
/// soon after its token was revoked or its session has ended.
#[utoipa::path(get, path = "/api/v1/runs/{run_id}/output/events", tag = "output",
    params(("run_id" = i64, Path), EventsQuery, ("Last-Event-ID" = Option<i32>, Header)),
    responses((status = 200, body = String, content_type = "text/event-stream"), super::problem::Refusals))]
pub async fn watch_output(
    State(api): App,
    who: Identity,
    Segment(run_id): Segment<i64>,
    Params(query): Params<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let next = match headers.get("last-event-id") {
        Some(value) => {
            let number: Option<i32> = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            number
                .ok_or_else(|| Problem::bad_request("`Last-Event-ID` must be the number of a chunk"))?
                .saturating_add(1)
        }
        None => query.from_chunk.unwrap_or(0),
    };
    let run = status_of(&api, run_id).await?;
    let stream = Stream {
        right: api.watches.right(who.secret_sha256),
        api,
        run_id,
        next,
        since: run.queued_at,
        pending: VecDeque::new(),
        phase: Phase::Behind(None),
        ends_at: Instant::now() + LONGEST_STREAM,
    };
    let body = Body::from_stream(futures_util::stream::unfold(stream, Stream::step).fuse());
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        // nginx would gather the events otherwise.
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

enum Phase {
    /// Reads what is there; once it watches, it reads to the end once more, since something may have come in between.
    Behind(Option<broadcast::Receiver<Batch>>),
    /// Hears what comes.
    Live(broadcast::Receiver<Batch>),
    /// Says no more.
    Over,
}

struct Stream {
    api: Arc<Api>,
    right: Right,
    run_id: i64,
    next: i32,
    since: Timestamp,
    pending: VecDeque<Bytes>,
    phase: Phase,
    ends_at: Instant,
}

impl Stream {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Stream)> {
        loop {
            if !self.right.is_in_force() || Instant::now() >= self.ends_at {
                return None;
            }
            if let Some(bytes) = self.pending.pop_front() {
                return Some((Ok(bytes), self));
            }
            self.phase = match std::mem::replace(&mut self.phase, Phase::Over) {
                Phase::Behind(receiver) => self.catch_up(receiver).await,
                Phase::Live(receiver) => self.hear(receiver).await,
                Phase::Over => return None,
            };
        }
    }

    fn take(&mut self, frame: Frame) {
        if let Some(number) = frame.number {
            if number < self.next {
                return;
            }
            self.next = number.saturating_add(1);
        }
        self.pending.push_back(frame.bytes);
    }

    async fn catch_up(&mut self, receiver: Option<broadcast::Receiver<Batch>>) -> Phase {
        let Ok(run) = status_of(&self.api, self.run_id).await else {
            return Phase::Over;
        };
        let rows = match self.api.database.connection().await {
            Ok(mut connection) => pages::output(&mut connection, self.run_id, self.next, self.since, BACKLOG)
                .await
                .ok(),
            Err(_) => None,
        };
        // Whoever watches comes back, and finds the database again.
        let Some(rows) = rows else { return Phase::Over };
        let is_all = (rows.len() as i64) < BACKLOG;
        for row in rows {
            self.take(row.into());
        }
        match receiver {
            _ if is_all && has_ended(&run.status) => {
                self.take(Frame::of_end(&run.status));
                Phase::Over
            }
            Some(receiver) if is_all => Phase::Live(receiver),
            None if is_all => {
                let receiver = self.api.watches.watch(self.run_id, self.next, self.since);
                // So that whoever waits for the first words knows that it is heard.
                self.pending.push_back(Bytes::from_static(b": watching\n\n"));
                Phase::Behind(Some(receiver))
            }
            receiver => Phase::Behind(receiver),
        }
    }

    async fn hear(&mut self, mut receiver: broadcast::Receiver<Batch>) -> Phase {
        tokio::select! {
            batch = receiver.recv() => match batch {
                Ok(batch) => {
                    let is_over = batch.last().is_some_and(|frame| frame.number.is_none());
                    for frame in batch.iter() {
                        self.take(frame.clone());
                    }
                    if is_over { Phase::Over } else { Phase::Live(receiver) }
                }
                // Too slow: what was missed is read from the database.
                Err(RecvError::Lagged(_)) => Phase::Behind(Some(receiver)),
                Err(RecvError::Closed) => Phase::Behind(None),
            },
            () = sleep(KEEP_ALIVE) => {
                self.pending.push_back(Bytes::from_static(b": still there\n\n"));
                Phase::Live(receiver)
            }
            () = self.right.ended() => Phase::Over,
            () = sleep_until(self.ends_at) => Phase::Over,
            () = self.api.stopping.cancelled() => Phase::Over,
        }
    }
}
