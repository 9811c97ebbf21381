//! `dropcron logs`: what a run printed, also while it goes on.

use std::time::Duration;

use serde_json::json;

use super::access::with_connection;
use super::output::{print, print_json};
use super::remote::Server;
use super::{Exit, not_found};
use crate::cli::LogsArgs;
use crate::config::Config;
use crate::executor::is_marker;
use crate::run::Status;
use crate::store::Connection;
use crate::store::runs::{self, Chunk, RunRow};

/// Between looks while a run goes on. Half a second is promised from a print to its line here; see the test below.
pub(super) const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// Stands where chunks are missing and nothing in the output says how much that is.
const MISSING: &str = "[dropcron: output is missing here]\n";

/// Prints a run's output.
pub(super) async fn logs(arguments: &LogsArgs, config: &Config) -> anyhow::Result<Exit> {
    match Server::of(config)? {
        Some(server) => print_output(arguments, &mut Source::Server(&server)).await?,
        None => {
            with_connection(config, async |connection| {
                print_output(arguments, &mut Source::Database(connection)).await
            })
            .await?;
        }
    }
    Ok(Exit::Ok)
}

async fn print_output(arguments: &LogsArgs, source: &mut Source<'_>) -> anyhow::Result<()> {
    let run = source.find(arguments.run).await?;
    if arguments.json {
        let mut text = String::new();
        let take = |chunk: &str| {
            text.push_str(chunk);
            Ok(())
        };
        Reader::new().read(source, &run, take).await?;
        return print_json(
            &json!({ "run_id": run.run_id, "task": run.task_name, "status": run.status, "output": text }),
        );
    }
    let mut reader = Reader::new();
    let mut run = run;
    loop {
        // The status is read before the output: what a run said is stored before its end is.
        let ended = !is_active(&run);
        reader.read(source, &run, print).await?;
        if ended || !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(FOLLOW_INTERVAL).await;
        run = source.find(arguments.run).await?;
    }
}

/// Whether a run has still to end.
pub(super) fn is_active(run: &RunRow) -> bool {
    run.status.parse::<Status>().is_ok_and(Status::is_active)
}

/// Where a run and its output are read.
pub(super) enum Source<'a> {
    /// Here.
    Database(&'a mut Connection),
    /// Elsewhere.
    Server(&'a Server),
}

impl Source<'_> {
    /// The row of a run.
    pub async fn find(&mut self, run_id: i64) -> anyhow::Result<RunRow> {
        match self {
            Source::Database(connection) => find(connection, run_id).await,
            Source::Server(server) => server.run(run_id).await,
        }
    }

    async fn chunks(&mut self, run: &RunRow, from: i32) -> anyhow::Result<Vec<Chunk>> {
        match self {
            Source::Database(connection) => Ok(runs::read_output(connection, run.run_id, from, run.queued_at).await?),
            Source::Server(server) => server.output(run.run_id, from).await,
        }
    }
}

async fn find(connection: &mut Connection, run_id: i64) -> anyhow::Result<RunRow> {
    let found = runs::find(connection, run_id).await?;
    found.ok_or_else(|| not_found(format!("there is no run {run_id}; `dropcron runs` lists them")))
}

/// How far a run's output was read.
pub(super) struct Reader {
    /// The number of the next chunk.
    next: i32,
    follows_marker: bool,
    follows_line: bool,
}

impl Reader {
    /// At its beginning.
    pub fn new() -> Reader {
        Reader {
            next: 0,
            follows_marker: false,
            follows_line: true,
        }
    }

    /// Hands on everything that is there and was not read yet.
    pub async fn read(
        &mut self,
        source: &mut Source<'_>,
        run: &RunRow,
        mut take: impl FnMut(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        loop {
            let chunks = source.chunks(run, self.next).await?;
            if chunks.is_empty() {
                return Ok(());
            }
            for chunk in &chunks {
                if let Some(notice) = self.pass(chunk) {
                    take(&notice)?;
                }
                take(&chunk.chunk)?;
            }
        }
    }

    /// Goes on behind a chunk. What is to be said ahead of it: a number that is missing is output that is missing, and where no
    /// marker stands, the run still goes on, its node died, or the database did not take it.
    fn pass(&mut self, chunk: &Chunk) -> Option<String> {
        let is_marker = is_marker(&chunk.chunk);
        let is_missing = chunk.sequence > self.next && !is_marker && !self.follows_marker;
        let line_end = if self.follows_line { "" } else { "\n" };
        let notice = is_missing.then(|| format!("{line_end}{MISSING}"));
        self.next = chunk.sequence.saturating_add(1);
        self.follows_marker = is_marker;
        if !chunk.chunk.is_empty() {
            self.follows_line = chunk.chunk.ends_with('\n');
        }
        notice
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::OUTPUT_FLUSH_INTERVAL;

    fn read(chunks: &[(i32, &str)]) -> String {
        let mut reader = Reader::new();
        let said = |(sequence, text): &(i32, &str)| {
            let chunk = Chunk {
                sequence: *sequence,
                chunk: (*text).to_owned(),
            };
            reader.pass(&chunk).unwrap_or_default() + text
        };
        chunks.iter().map(said).collect()
    }

    #[test]
    fn the_pauses_between_a_print_and_its_line_leave_room_for_two_statements() {
        let pauses = OUTPUT_FLUSH_INTERVAL + FOLLOW_INTERVAL;
        assert!(
            pauses <= Duration::from_millis(350),
            "half a second is promised: {pauses:?}"
        );
    }

    #[test]
    fn a_number_that_is_missing_is_said_once() {
        assert_eq!(read(&[(0, "a"), (1, "b\n"), (2, "c\n")]), "ab\nc\n");
        assert_eq!(read(&[(0, "a"), (2, "c\n")]), format!("a\n{MISSING}c\n"));
        assert_eq!(read(&[(3, "c\n"), (4, "d\n")]), format!("{MISSING}c\nd\n"));
        let marker = "[dropcron: 12 bytes of output were left out here]\n";
        assert_eq!(read(&[(0, "a\n"), (1, marker), (7, "c\n")]), format!("a\n{marker}c\n"));
        assert_eq!(read(&[(0, "a\n"), (6, marker), (7, "c\n")]), format!("a\n{marker}c\n"));
    }
}
