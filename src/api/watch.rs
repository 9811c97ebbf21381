//! Runs whose output is watched: one statement reads what all of them printed, for all who watch, and one asks whether those still may.
//!
//! However many browsers look on, the database is asked five times a second, and what a run printed is made into bytes once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::{broadcast, watch};

use crate::database::Database;
use crate::run::Status;
use crate::store::pages::{self, ChunkRow, Watched};
use crate::store::tokens;

/// Between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Whoever may watch no more is told so after this time at the latest, and that of a look.
const RIGHTS_INTERVAL: Duration = Duration::from_secs(2);

/// After a look that failed.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Chunks of one run in one look. Who has more to read looks again at once.
const CHUNKS: i64 = 200;

/// Looks that a slow reader may be behind before it reads from the database itself.
const BEHIND: usize = 64;

/// A piece of the stream of one run.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The number of the chunk; none: it is the end.
    pub number: Option<i32>,
    /// As it goes over the wire.
    pub bytes: Bytes,
}

impl Frame {
    /// A chunk.
    pub fn of_chunk(number: i32, text: &str, at: Timestamp) -> Frame {
        let data = json!({ "number": number, "text": text, "at": at });
        Frame {
            number: Some(number),
            bytes: Bytes::from(format!("id: {number}\nevent: chunk\ndata: {data}\n\n")),
        }
    }

    /// The end of the run, and of the stream.
    pub fn of_end(status: &str) -> Frame {
        Frame {
            number: None,
            bytes: Bytes::from(format!("event: end\ndata: {}\n\n", json!({ "status": status }))),
        }
    }
}

impl From<ChunkRow> for Frame {
    fn from(row: ChunkRow) -> Frame {
        Frame::of_chunk(row.sequence, &row.chunk, row.written_at)
    }
}

/// What one look found of one run.
pub type Batch = Arc<[Frame]>;

/// Whether a run has ended; a word that nobody knows has not.
pub fn has_ended(status: &str) -> bool {
    status.parse::<Status>().is_ok_and(|status| !status.is_active())
}

struct Watch {
    /// The first chunk that one of those who watch has not seen yet.
    next: i32,
    since: Timestamp,
    batches: broadcast::Sender<Batch>,
}

/// The right to watch, of whoever holds a secret: a token's or that of a session.
pub struct Right(watch::Receiver<()>);

impl Right {
    /// Whether it holds still.
    pub fn is_in_force(&self) -> bool {
        self.0.has_changed().is_ok()
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

#[derive(Default)]
struct Watching {
    runs: HashMap<i64, Watch>,
    /// By the hash of a secret: those who watch with it. They hear it when this goes.
    rights: HashMap<[u8; 32], watch::Sender<()>>,
    /// Whether somebody looks.
    is_looked_at: bool,
}

/// Runs whose output is watched.
pub struct Watches {
    database: Database,
    watching: Arc<Mutex<Watching>>,
}

impl Watches {
    /// Of nothing yet.
    pub fn new(database: Database) -> Watches {
        Watches {
            database,
            watching: Arc::default(),
        }
    }

    /// Watches a run, whose chunks from `next` on are still to come. What is written before the first look that follows may be
    /// missed: whoever watches reads from the database once more after this.
    pub fn watch(&self, run_id: i64, next: i32, since: Timestamp) -> broadcast::Receiver<Batch> {
        let mut watching = self.watching.lock().expect("no holder of this lock can panic");
        let receiver = match watching.runs.get_mut(&run_id) {
            Some(watch) => {
                // Whoever came before may have asked for what is still far away.
                watch.next = watch.next.min(next);
                watch.batches.subscribe()
            }
            None => {
                let (batches, receiver) = broadcast::channel(BEHIND);
                watching.runs.insert(run_id, Watch { next, since, batches });
                receiver
            }
        };
        self.look(&mut watching);
        receiver
    }

    /// The right of whoever holds a secret that is in force now.
    pub fn right(&self, secret_sha256: [u8; 32]) -> Right {
        let mut watching = self.watching.lock().expect("no holder of this lock can panic");
        let right = watching.rights.entry(secret_sha256).or_default().subscribe();
        self.look(&mut watching);
        Right(right)
    }

    fn look(&self, watching: &mut Watching) {
        if !watching.is_looked_at {
            watching.is_looked_at = true;
            tokio::spawn(look_on(self.database.clone(), self.watching.clone()));
        }
    }
}

/// Looks until nobody watches any more.
async fn look_on(database: Database, watching: Arc<Mutex<Watching>>) {
    let mut asked_at = Instant::now();
    loop {
        let Some(watched) = still_watched(&watching) else {
            return;
        };
        let is_time = asked_at.elapsed() >= RIGHTS_INTERVAL;
        let looked = async {
            if is_time {
                end_rights(&database, &watching).await?;
                asked_at = Instant::now();
            }
            look(&database, &watching, &watched).await
        };
        let pause = match looked.await {
            Ok(true) => Duration::ZERO,
            Ok(false) => LOOK_INTERVAL,
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "watched output cannot be read now");
                AGAIN_AFTER
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// What is watched; none: nobody watches, and nobody looks from now on.
fn still_watched(watching: &Mutex<Watching>) -> Option<Vec<Watched>> {
    let mut watching = watching.lock().expect("no holder of this lock can panic");
    watching.runs.retain(|_, watch| watch.batches.receiver_count() > 0);
    watching.rights.retain(|_, right| right.receiver_count() > 0);
    if watching.runs.is_empty() && watching.rights.is_empty() {
        watching.is_looked_at = false;
        return None;
    }
    let watched = watching.runs.iter().map(|(run_id, watch)| Watched {
        run_id: *run_id,
        from_sequence: watch.next,
        since: watch.since,
    });
    Some(watched.collect())
}

/// Ends the rights of those whose token was revoked, or whose session has ended.
async fn end_rights(database: &Database, watching: &Mutex<Watching>) -> anyhow::Result<()> {
    let held: Vec<[u8; 32]> = {
        let watching = watching.lock().expect("no holder of this lock can panic");
        watching.rights.keys().copied().collect()
    };
    let in_force = {
        let mut connection = database.connection().await?;
        tokens::in_force(&mut connection, &held).await?
    };
    let mut watching = watching.lock().expect("no holder of this lock can panic");
    for secret in held.iter().filter(|secret| !in_force.contains(*secret)) {
        watching.rights.remove(secret);
    }
    Ok(())
}

/// One look; whether there was more than it took.
async fn look(database: &Database, watching: &Mutex<Watching>, watched: &[Watched]) -> anyhow::Result<bool> {
    if watched.is_empty() {
        return Ok(false);
    }
    let rows = {
        let mut connection = database.connection().await?;
        pages::watch(&mut connection, watched, CHUNKS).await?
    };
    let mut more = false;
    let mut watching = watching.lock().expect("no holder of this lock can panic");
    for rows in rows.chunk_by(|one, other| one.run_id == other.run_id) {
        let run_id = rows[0].run_id;
        let Some(watch) = watching.runs.get_mut(&run_id) else {
            continue;
        };
        // Somebody came during this look who has seen less: the next one reads for all.
        if watched
            .iter()
            .all(|one| one.run_id != run_id || one.from_sequence != watch.next)
        {
            more = true;
            continue;
        }
        let chunks = rows.iter().filter_map(|row| {
            let (number, text, at) = (row.sequence?, row.chunk.as_ref()?, row.written_at?);
            Some(Frame::of_chunk(number, text, at))
        });
        let mut frames: Vec<Frame> = chunks.collect();
        watch.next = frames
            .last()
            .and_then(|frame| frame.number)
            .map_or(watch.next, |last| last.saturating_add(1));
        let is_full = frames.len() as i64 >= CHUNKS;
        more |= is_full;
        let is_over = !is_full && has_ended(&rows[0].status);
        if is_over {
            frames.push(Frame::of_end(&rows[0].status));
        }
        if !frames.is_empty() {
            // Nobody there any more: the next look forgets it.
            let _ = watch.batches.send(frames.into());
        }
        if is_over {
            watching.runs.remove(&run_id);
        }
    }
    Ok(more)
}
