//! The recorder: what runs say and how they end, on its way to Postgres.
//!
//! An end goes to the journal first; from then on it is safe. Writes go in batches: what gathered during the previous
//! statement, never a timer. While the database is away, ends wait without limit (their number is bounded by permits), output up
//! to a bound, then it is dropped and counted.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::clock::Clock;
use super::journal::{self, Journal};
use super::node::Node;
use crate::config::Config;
use crate::database::Database;
use crate::executor::Forget;
use crate::run::RunError;
use crate::store::runs::{self, Chunk, End, Forgotten, Start};
use crate::store::{Connection, StoreError, is_connection_lost, is_partition_missing};

/// Output that waits for the database, all runs together: all that is kept of as many runs as one node takes on by default. What
/// comes beyond is dropped, and said to be.
const MAX_PENDING_OUTPUT: usize = 64 * 1024 * 1024;

/// What a chunk takes beside its text.
const CHUNK_OVERHEAD: usize = 100;

/// Output of one statement.
const OUTPUT_BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The estimate of the database's clock may have become so much better between the writing of a chunk and its removal.
const CLOCK_SLACK: Duration = Duration::from_secs(60);

/// Ends of one statement: beyond this the planner's cost grows faster than the batch.
const END_BATCH: usize = 500;

/// Points of one statement, or those of a single end: more would take longer than a statement may.
const POINTS_BATCH: usize = 20_000;

/// A statement that takes longer than this has lost its connection. Longer than the server's `statement_timeout`.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A statement that is refused after so long was held up by somebody's lock (`lock_timeout` is 5 s), whatever language the
/// server says that in: what it was to write is not to blame.
const HELD_UP: Duration = Duration::from_secs(4);

/// Pauses between tries while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(3));

/// A batch that takes longer hangs: each of its statements has a limit.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// Takes what runs say; see the module.
pub struct Recorder {
    journal: Journal,
    pending: Mutex<Pending>,
    wanted: Notify,
    /// Counts batches of ends that Postgres has.
    written: watch::Sender<u64>,
    /// Ends that Postgres does not have yet.
    unwritten: watch::Sender<HashSet<i64>>,
}

#[derive(Default)]
struct Pending {
    starts: Vec<(Uuid, Start)>,
    output: VecDeque<(i64, Chunk)>,
    output_bytes: usize,
    forgotten: HashMap<i64, Forget>,
    dropped: HashMap<i64, usize>,
    ends: Vec<End>,
}

/// What one cycle writes.
#[derive(Default)]
struct Batch {
    starts: Vec<(Uuid, Start)>,
    output: Vec<(i64, Chunk)>,
    forgotten: Vec<(i64, Forget)>,
    /// When this output was first tried to be written: a second try has to be told from a second piece.
    written_at: Option<Timestamp>,
    last_written_at: Timestamp,
    ends: Vec<End>,
    /// Ends that Postgres did not take before. They come last: nobody waits for them.
    stuck: Vec<End>,
    /// When starts and ends that Postgres did not take are worth another try.
    again_at: Option<Instant>,
}

impl Recorder {
    /// With a new journal in the data directory.
    pub fn open(config: &Config) -> anyhow::Result<Arc<Recorder>> {
        Ok(Arc::new(Recorder {
            journal: Journal::open(&config.data_directory)?,
            pending: Mutex::default(),
            wanted: Notify::new(),
            written: watch::Sender::new(0),
            unwritten: watch::Sender::default(),
        }))
    }

    /// A run was let go. Nobody waits for this to be written.
    pub fn started(&self, node_id: Uuid, start: Start) {
        self.pending().starts.push((node_id, start));
        self.wanted.notify_one();
    }

    /// A run said something, and does not need some of what it said earlier any more.
    pub fn said(&self, run_id: i64, chunk: Chunk, forget: Option<Forget>) {
        let mut pending = self.pending();
        if let Some(forget) = forget {
            pending.forget(run_id, forget);
        }
        if !pending.say(run_id, chunk) {
            tracing::warn!(
                run.id = run_id,
                "output is dropped: the database has not taken {} MiB of output that came before it",
                MAX_PENDING_OUTPUT / 1024 / 1024
            );
        }
        drop(pending);
        self.wanted.notify_one();
    }

    /// A run ended. Comes back once that is safe on this machine's disk.
    pub async fn ended(&self, mut end: End) {
        if let Some(bytes) = self.pending().dropped.remove(&end.key.run_id) {
            end.outcome.warnings.push(format!(
                "{bytes} bytes of output were dropped: the database was away, or too slow for them"
            ));
        }
        if let Err(error) = self.journal.append(&end).await {
            tracing::error!(
                run.id = end.key.run_id,
                error = format!("{error:#}"),
                "the end of a run is not in the journal; it is lost if this process dies before Postgres has it"
            );
        }
        self.unwritten.send_modify(|unwritten| {
            unwritten.insert(end.key.run_id);
        });
        self.pending().ends.push(end);
        self.wanted.notify_one();
    }

    /// Changes whenever Postgres has taken ends.
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Whether a run has ended and Postgres does not have its end yet.
    pub fn has(&self, run_id: i64) -> bool {
        self.unwritten.borrow().contains(&run_id)
    }

    /// Comes back when Postgres has every end.
    pub async fn flushed(&self) {
        let mut unwritten = self.unwritten.subscribe();
        // An error means that the recorder is gone, and then nothing more is written.
        let _ = unwritten.wait_for(HashSet::is_empty).await;
    }

    /// Writes until cancelled and nothing is left, or the database stays away.
    pub async fn write_for_ever(self: Arc<Self>, database: Database, node: Arc<Node>, stop: CancellationToken) {
        let mut connection: Option<Connection> = None;
        let mut pause = RETRY.0;
        let mut failing = false;
        let mut batch = Batch::default();
        let pulse = node.pulse("recorder", LONGEST_PASS);
        loop {
            self.fill(&mut batch);
            if !batch.is_due() {
                pulse.wait();
                tokio::select! {
                    () = self.wanted.notified() => {}
                    () = batch.due() => {}
                    () = stop.cancelled() => if self.next_is_empty() { return },
                }
                continue;
            }
            pulse.pass();
            match self.write(&database, &mut connection, &mut batch, &node).await {
                Ok(()) => {
                    pause = RETRY.0;
                    failing = !batch.stuck.is_empty();
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "runs cannot be recorded yet; their ends are kept in the journal"
                        );
                    }
                    failing = true;
                    batch.again_at = Some(Instant::now() + pause);
                    if is_unusable(&error) {
                        connection = None;
                    }
                    if connection.is_none() || batch.has_output() {
                        tokio::time::sleep(pause).await;
                    }
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    /// Writes what is there; what was written leaves the batch, so that a second try does not repeat it. Ends that cannot be
    /// written stay, as `stuck`, and keep nobody from being written.
    async fn write(
        &self,
        database: &Database,
        connection: &mut Option<Connection>,
        batch: &mut Batch,
        node: &Node,
    ) -> anyhow::Result<()> {
        if connection.is_none() {
            *connection = Some(database.dedicated().await?);
        }
        let connection = connection.as_mut().expect("it was just made");
        let is_time = batch.is_time();
        let mut refused = None;
        if is_time && !batch.starts.is_empty() {
            match within(write_starts(connection, &batch.starts)).await {
                Ok(()) => batch.starts.clear(),
                Err(error) if is_unusable(&error) => return Err(error),
                // Somebody's lock on one of them: ends do not wait for it.
                Err(error) => refused = Some(error),
            }
        }
        if batch.has_output() {
            let now = batch.stamp(node.clock.now());
            let forgotten = batch.forgotten(&node.clock);
            within(write_output(connection, &batch.output, &forgotten, now)).await?;
            batch.output.clear();
            batch.forgotten.clear();
            batch.written_at = None;
        }
        let mut ends = vec![std::mem::take(&mut batch.ends)];
        if is_time {
            // One by one: what is in the way of one is not in the way of the next.
            ends.extend(std::mem::take(&mut batch.stuck).into_iter().map(|end| vec![end]));
        }
        let mut groups = ends.into_iter().flat_map(by_node);
        for (node_id, mut ends) in groups.by_ref() {
            let result = finish(connection, node_id, &mut ends, |written| self.acknowledge(written)).await;
            batch.stuck.extend(ends);
            match result {
                Ok(()) => {}
                Err(error) if is_unusable(&error) => {
                    refused = Some(error);
                    break;
                }
                Err(error) => refused = Some(error),
            }
        }
        batch.stuck.extend(groups.flat_map(|(_, ends)| ends));
        refused.map_or(Ok(()), Err)
    }

    fn acknowledge(&self, written: &[End]) {
        let run_ids: Vec<i64> = written.iter().map(|end| end.key.run_id).collect();
        self.unwritten
            .send_modify(|unwritten| unwritten.retain(|run_id| !run_ids.contains(run_id)));
        self.journal.acknowledge(run_ids);
        self.written.send_modify(|count| *count += 1);
    }

    /// Adds what has gathered to what waits. Output and ends only behind output that is written.
    fn fill(&self, batch: &mut Batch) {
        let mut pending = self.pending();
        batch.starts.append(&mut pending.starts);
        if batch.has_output() {
            return;
        }
        batch.forgotten.extend(pending.forgotten.drain());
        let mut bytes = 0;
        while bytes < OUTPUT_BATCH_BYTES
            && let Some((run_id, chunk)) = pending.output.pop_front()
        {
            bytes += cost(&chunk);
            batch.output.push((run_id, chunk));
        }
        pending.output_bytes -= bytes;
        let room = END_BATCH.saturating_sub(batch.ends.len());
        batch.ends.extend(pending.take_ends(room));
    }

    fn next_is_empty(&self) -> bool {
        let pending = self.pending();
        pending.starts.is_empty()
            && pending.output.is_empty()
            && pending.forgotten.is_empty()
            && pending.ends.is_empty()
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        self.pending.lock().expect("no holder of this lock can panic")
    }
}

impl Pending {
    /// Takes a chunk; `false`: there is no room, and it is the first of its run that there is none for.
    fn say(&mut self, run_id: i64, chunk: Chunk) -> bool {
        let bytes = cost(&chunk);
        if self.output_bytes + bytes > MAX_PENDING_OUTPUT {
            let dropped = self.dropped.entry(run_id).or_default();
            let is_first = *dropped == 0;
            *dropped += chunk.chunk.len();
            return !is_first;
        }
        self.output_bytes += bytes;
        self.output.push_back((run_id, chunk));
        true
    }

    /// Ends that can be written. A run's end follows its output: who sees it ended can read all that it said. It does not follow
    /// that of others, which may never end.
    fn take_ends(&mut self, most: usize) -> Vec<End> {
        if self.ends.is_empty() {
            return Vec::new();
        }
        let speaking: HashSet<i64> = self.output.iter().map(|(run_id, _)| *run_id).collect();
        let (mut ready, waiting): (Vec<End>, Vec<End>) = std::mem::take(&mut self.ends)
            .into_iter()
            .partition(|end| !speaking.contains(&end.key.run_id));
        self.ends = ready.split_off(most.min(ready.len()));
        self.ends.extend(waiting);
        ready
    }

    /// What waits here need not be written at all; what was written is to be removed.
    fn forget(&mut self, run_id: i64, forget: Forget) {
        let mut bytes = 0;
        self.output.retain(|(of, chunk)| {
            let sequence = u32::try_from(chunk.sequence).unwrap_or(u32::MAX);
            let is_over = *of == run_id && (forget.from..forget.below).contains(&sequence);
            bytes += if is_over { cost(chunk) } else { 0 };
            !is_over
        });
        self.output_bytes -= bytes;
        self.forgotten
            .entry(run_id)
            .and_modify(|earlier| *earlier = earlier.with(forget))
            .or_insert(forget);
    }
}

/// What a chunk takes in memory.
fn cost(chunk: &Chunk) -> usize {
    chunk.chunk.len() + CHUNK_OVERHEAD
}

impl Batch {
    fn has_output(&self) -> bool {
        !self.output.is_empty() || !self.forgotten.is_empty()
    }

    /// The instant that its output is written with: the same at every try, and later than that of all output before it.
    fn stamp(&mut self, now: Timestamp) -> Timestamp {
        *self.written_at.get_or_insert_with(|| {
            self.last_written_at = now.max(self.last_written_at + Duration::from_micros(1));
            self.last_written_at
        })
    }

    fn forgotten(&self, clock: &Clock) -> Vec<Forgotten> {
        let number = |sequence| i32::try_from(sequence).unwrap_or(i32::MAX);
        self.forgotten
            .iter()
            .map(|(run_id, forget)| Forgotten {
                run_id: *run_id,
                from: number(forget.from),
                below: number(forget.below),
                since: clock.at(forget.since) - CLOCK_SLACK,
            })
            .collect()
    }

    /// Whether there is something to be written now.
    fn is_due(&self) -> bool {
        let again = !self.starts.is_empty() || !self.stuck.is_empty();
        self.has_output() || !self.ends.is_empty() || again && self.is_time()
    }

    /// Whether what was refused is worth another try.
    fn is_time(&self) -> bool {
        self.again_at.is_none_or(|at| at <= Instant::now())
    }

    /// Comes back when what was refused is worth another try.
    async fn due(&self) {
        match self.again_at {
            Some(at) if !self.starts.is_empty() || !self.stuck.is_empty() => tokio::time::sleep_until(at.into()).await,
            _ => std::future::pending().await,
        }
    }
}

/// Ends together with those of the same node, since a statement is of one node.
fn by_node(ends: Vec<End>) -> HashMap<Uuid, Vec<End>> {
    let mut by_node: HashMap<Uuid, Vec<End>> = HashMap::new();
    for end in ends {
        by_node.entry(end.node_id).or_default().push(end);
    }
    by_node
}

async fn within<T>(work: impl Future<Output = Result<T, StoreError>>) -> anyhow::Result<T> {
    Ok(tokio::time::timeout(STATEMENT_TIMEOUT, work).await??)
}

/// Whether the connection is gone, or in the middle of a statement that was given up.
fn is_unusable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<StoreError>().is_none_or(is_connection_lost)
}

/// Signs, in the server's English, of a server in need: disk, memory, limits, somebody's lock or order. Diesel does not tell
/// the SQLSTATE. On a server of another language such an end is written with less in it, which is better than not at all.
const IN_NEED: &[&str] = &[
    "No space left",
    "could not extend",
    "could not write",
    "could not open",
    "could not access",
    "Disk quota",
    "Input/output error",
    "out of memory",
    "out of shared memory",
    "memory exhausted",
    "canceling statement",
    "deadlock",
    "permission denied",
    "does not exist",
    "shutting down",
    "too many",
    "no partition of relation",
];

/// Whether what was to be written is to blame for its refusal, rather than the state of the server.
fn is_refused_for_its_content(error: &StoreError) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let message = information.message();
            !IN_NEED.iter().any(|sign| message.contains(sign))
        }
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::NotNullViolation
            | DatabaseErrorKind::CheckViolation
            | DatabaseErrorKind::ExclusionViolation,
            _,
        )
        | Error::SerializationError(_)
        | Error::QueryBuilderError(_) => true,
        _ => false,
    }
}

async fn write_starts(connection: &mut Connection, starts: &[(Uuid, Start)]) -> Result<(), StoreError> {
    let mut by_node: HashMap<Uuid, Vec<Start>> = HashMap::new();
    for (node_id, start) in starts {
        by_node.entry(*node_id).or_default().push(*start);
    }
    for (node_id, starts) in by_node {
        runs::start(connection, node_id, &starts).await?;
    }
    Ok(())
}

/// Output must never stand in the way of ends: what Postgres refuses is dropped with a line in the log.
async fn write_output(
    connection: &mut Connection,
    chunks: &[(i64, Chunk)],
    forgotten: &[Forgotten],
    now: Timestamp,
) -> Result<(), StoreError> {
    let asked = Instant::now();
    match runs::write_output(connection, chunks, forgotten, now).await {
        Err(error) if is_partition_missing(&error) => {
            runs::ensure_run_output_partition(connection, now).await?;
            runs::write_output(connection, chunks, forgotten, now).await
        }
        Err(error) if is_connection_lost(&error) || asked.elapsed() >= HELD_UP => Err(error),
        Err(error) => {
            let runs = chunks
                .iter()
                .map(|(run_id, _)| *run_id)
                .collect::<std::collections::BTreeSet<_>>();
            tracing::error!(%error, run.ids = ?runs, "output cannot be stored and is dropped");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Ends runs of one node. A batch that is refused is split; a single end that is refused for its content goes without its
/// points, then without its value, then without its texts, each with a warning: an outcome must never be unwritable. What was written leaves `ends` and
/// is shown to `written`; an error means that the rest has to wait.
pub async fn finish(
    connection: &mut Connection,
    node_id: Uuid,
    ends: &mut Vec<End>,
    written: impl Fn(&[End]),
) -> anyhow::Result<()> {
    let mut size = ends.len();
    let mut stuck = None;
    let mut passed = 0;
    while passed < ends.len() {
        let batch = with_few_points(&ends[passed..(passed + size).min(ends.len())]);
        let error = match within(runs::finish(connection, node_id, batch)).await {
            Ok(refused) => {
                report_refused(batch, &refused);
                written(batch);
                ends.drain(passed..passed + batch.len());
                continue;
            }
            Err(error) if is_unusable(&error) => return Err(error),
            Err(error) => error,
        };
        if batch.len() > 1 {
            size = batch.len() / 2;
            continue;
        }
        match finish_alone(connection, node_id, ends[passed].clone()).await {
            Ok(()) => {
                written(&ends[passed..=passed]);
                ends.remove(passed);
            }
            Err(alone) if is_unusable(&alone) => return Err(alone),
            Err(_) => {
                // It waits; those behind it do not wait for it.
                stuck = Some(error);
                passed += 1;
            }
        }
    }
    stuck.map_or(Ok(()), Err)
}

/// The ends from the first on whose points fit into one statement.
fn with_few_points(ends: &[End]) -> &[End] {
    let mut points = 0;
    let fits = |end: &&End| {
        points += end.outcome.observations.len();
        points <= POINTS_BATCH
    };
    &ends[..ends.iter().take_while(fits).count().max(1)]
}

fn report_refused(ends: &[End], refused: &[i64]) {
    for end in ends.iter().filter(|end| refused.contains(&end.key.run_id)) {
        tracing::warn!(
            run.id = end.key.run_id, run.status = %end.outcome.status,
            "the end of a run was not taken: its row has ended already, or belongs to another node"
        );
    }
}

/// An end that was refused: once more as it is, since what was in the way may be gone, then with less and less in it. An error:
/// nothing in it is to blame.
async fn finish_alone(connection: &mut Connection, node_id: Uuid, mut end: End) -> anyhow::Result<()> {
    loop {
        let asked = Instant::now();
        let error = match within(runs::finish(connection, node_id, std::slice::from_ref(&end))).await {
            Ok(refused) => {
                report_refused(std::slice::from_ref(&end), &refused);
                return Ok(());
            }
            Err(error) => error,
        };
        let Some(refusal) = error
            .downcast_ref::<StoreError>()
            .filter(|error| asked.elapsed() < HELD_UP && is_refused_for_its_content(error))
        else {
            return Err(error);
        };
        match without_what_was_refused(end, refusal) {
            Some(poorer) => {
                tracing::warn!(run.id = poorer.key.run_id, error = %refusal, "the end of a run was refused as it is");
                end = poorer;
            }
            None => return Err(error),
        }
    }
}

/// The same end with less to refuse; none: nothing is left to take away.
fn without_what_was_refused(mut end: End, error: &StoreError) -> Option<End> {
    let outcome = &mut end.outcome;
    if !outcome.observations.is_empty() {
        let points = std::mem::take(&mut outcome.observations);
        let count = points.iter().filter(|point| point.number.is_some()).count();
        // Gaps alone tell nobody anything that the value does not.
        if count > 0 {
            outcome.warnings.push(format!(
                "{count} numbers are missing in its series: Postgres refused them ({error})"
            ));
        }
        return Some(end);
    }
    if outcome.return_value.take().is_some() {
        outcome
            .warnings
            .push(format!("the return value was dropped: Postgres refused it ({error})"));
        return Some(end);
    }
    if outcome.error.as_ref().is_some_and(|error| error.kind != UNWRITABLE) {
        outcome.error = Some(RunError {
            kind: UNWRITABLE.to_owned(),
            message: format!("the error was dropped: Postgres refused it ({error})"),
            traceback: None,
        });
        outcome.warnings.clear();
        return Some(end);
    }
    None
}

/// Marks an error text that stands for one that could not be written.
const UNWRITABLE: &str = "unwritable";

/// Writes the ends that processes of this data directory left in their journals. A journal with an end that cannot be written
/// is kept for the next time, and holds nobody up; it is an error only after all others.
pub async fn replay_left_journals(database: &Database, config: &Config) -> anyhow::Result<()> {
    let directory = config.data_directory.clone();
    let left = tokio::task::spawn_blocking(move || journal::left_behind(&directory)).await?;
    let mut kept = None;
    for journal in left {
        match replay(database, &journal.ends).await {
            Ok(()) => journal.remove(),
            Err(error) => kept = Some(error.context("ends in the journal of an earlier process cannot be written yet")),
        }
    }
    kept.map_or(Ok(()), Err)
}

async fn replay(database: &Database, ends: &[End]) -> anyhow::Result<()> {
    if ends.is_empty() {
        return Ok(());
    }
    let mut connection = database.connection().await?;
    let mut stuck = None;
    for chunk in ends.chunks(END_BATCH) {
        for (node_id, mut ends) in by_node(chunk.to_vec()) {
            match finish(&mut connection, node_id, &mut ends, |_| {}).await {
                Ok(()) => {}
                Err(error) if is_unusable(&error) => return Err(error),
                Err(error) => stuck = Some(error),
            }
        }
    }
    if stuck.is_none() {
        tracing::info!(
            run.count = ends.len(),
            "ends that an earlier process left in its journal are written"
        );
    }
    stuck.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Outcome, Reason, RunKey};
    use crate::series::{Kind, Observation};

    fn chunk(sequence: i32, bytes: usize) -> Chunk {
        Chunk {
            sequence,
            chunk: "x".repeat(bytes),
        }
    }

    fn forget(from: u32, below: u32) -> Forget {
        Forget {
            from,
            below,
            since: Instant::now(),
        }
    }

    #[test]
    fn output_that_waits_is_bounded_and_what_is_dropped_is_counted_by_run() {
        let mut pending = Pending::default();
        let fits = MAX_PENDING_OUTPUT / (1 << 20) - 1;
        for number in 0..fits {
            assert!(pending.say(1, chunk(i32::try_from(number).unwrap(), 1 << 20)));
        }
        assert!(!pending.say(1, chunk(1000, 1 << 20)), "worth a line in the log");
        assert!(pending.say(1, chunk(1001, 1 << 20)), "the log has it");
        assert!(!pending.say(2, chunk(0, 2 << 20)));
        assert_eq!(pending.dropped, HashMap::from([(1, 2 << 20), (2, 2 << 20)]));
        assert!(pending.output_bytes <= MAX_PENDING_OUTPUT);
    }

    #[test]
    fn what_is_forgotten_before_it_was_written_makes_room() {
        let mut pending = Pending::default();
        for run_id in [1, 2] {
            assert!((0..5).all(|sequence| pending.say(run_id, chunk(sequence, 1000))));
        }
        pending.forget(1, forget(2, 4));
        pending.forget(1, forget(4, 5));
        let left: Vec<(i64, i32)> = pending
            .output
            .iter()
            .map(|(run, chunk)| (*run, chunk.sequence))
            .collect();
        assert_eq!(left, [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3), (2, 4)]);
        assert_eq!(pending.output_bytes, 7 * cost(&chunk(0, 1000)));
        assert_eq!((pending.forgotten[&1].from, pending.forgotten[&1].below), (2, 5));
    }

    fn end(run_id: i64) -> End {
        End {
            key: RunKey {
                run_id,
                task_id: 1,
                scheduled_for: Timestamp::UNIX_EPOCH,
                attempt: 1,
            },
            node_id: Uuid::nil(),
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
            outcome: Outcome::without_process(Reason::Raised, None),
            detail: None,
        }
    }

    #[test]
    fn an_end_waits_for_its_own_output_and_not_for_that_of_others() {
        let mut pending = Pending::default();
        assert!(pending.say(1, chunk(0, 1000)));
        pending.ends = vec![end(1), end(2), end(3)];
        let taken = |ends: Vec<End>| ends.iter().map(|end| end.key.run_id).collect::<Vec<_>>();
        assert_eq!(taken(pending.take_ends(1)), [2]);
        assert_eq!(taken(pending.take_ends(9)), [3]);
        assert!(pending.take_ends(9).is_empty());
        pending.output.clear();
        assert_eq!(taken(pending.take_ends(9)), [1]);
    }

    #[test]
    fn a_second_try_writes_with_the_same_instant_and_the_next_batch_with_a_later_one() {
        let mut batch = Batch::default();
        let now = Timestamp::from_second(1_000_000).unwrap();
        let first = batch.stamp(now);
        assert_eq!(batch.stamp(now + Duration::from_secs(9)), first);
        batch.written_at = None;
        assert!(
            batch.stamp(now - Duration::from_secs(1)) > first,
            "whatever the estimate of the clock does"
        );
    }

    fn end_with(points: usize) -> End {
        let point = Observation {
            series: "value".to_owned(),
            at: None,
            kind: Kind::Number,
            number: Some("1".to_owned()),
        };
        let mut outcome = Outcome::without_process(Reason::Raised, None);
        outcome.observations = vec![point; points];
        End {
            key: RunKey {
                run_id: 1,
                task_id: 1,
                scheduled_for: jiff::Timestamp::UNIX_EPOCH,
                attempt: 1,
            },
            node_id: Uuid::nil(),
            started_at: None,
            finished_at: jiff::Timestamp::UNIX_EPOCH,
            outcome,
            detail: None,
        }
    }

    #[test]
    fn a_statement_takes_as_many_points_as_it_has_time_for_and_one_end_at_least() {
        let taken = |points: &[usize]| {
            let ends: Vec<End> = points.iter().map(|points| end_with(*points)).collect();
            with_few_points(&ends).len()
        };
        assert_eq!(taken(&[0, 1, POINTS_BATCH - 1, 0, 1]), 4);
        assert_eq!(taken(&[POINTS_BATCH + 1, 0]), 1);
        assert_eq!(taken(&[0; 500]), 500);
    }

    #[test]
    fn points_go_before_the_value_and_gaps_go_in_silence() {
        let error = StoreError::NotFound;
        let mut full = end_with(2);
        full.outcome.return_value = serde_json::from_str("[1, 2]").ok();
        let poorer = without_what_was_refused(full, &error).expect("something to take away");
        assert!(poorer.outcome.return_value.is_some() && poorer.outcome.observations.is_empty());
        assert!(poorer.outcome.warnings[0].starts_with("2 numbers are missing in its series"));
        let mut gap = end_with(1);
        gap.outcome.observations[0].number = None;
        let poorer = without_what_was_refused(gap, &error).expect("something to take away");
        assert_eq!(poorer.outcome.warnings, Vec::<String>::new());
    }

    #[test]
    fn an_end_that_was_journalled_without_points_is_read() {
        let json = serde_json::to_string(&end_with(0)).expect("JSON");
        assert!(!json.contains("observations"));
        assert!(serde_json::from_str::<End>(&json).is_ok_and(|end| end.outcome.observations.is_empty()));
        let json = serde_json::to_string(&end_with(1)).expect("JSON");
        assert!(serde_json::from_str::<End>(&json).is_ok_and(|end| end.outcome.observations.len() == 1));
    }
}
