//! The outcome journal: ends of runs, safe on this machine's disk before they go to Postgres.
//!
//! One file per process, locked by it: `<data>/journal/<id>.<number>.jsonl`, one JSON object a line, flushed to disk in groups.
//! An end leaves it once Postgres has it. A file whose lock is free was left by a process that is gone; whoever finds it
//! replays it. A torn last line was never acknowledged to anybody, and is ignored.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use anyhow::Context;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::run_directory::make_private;
use crate::store::runs::End;

/// A file that has grown to this is followed by another, so that old ends can go.
const SEGMENT_BYTES: u64 = 4 * 1024 * 1024;

/// The journal of this process.
pub struct Journal {
    orders: mpsc::Sender<Order>,
}

enum Order {
    Append {
        line: Vec<u8>,
        run_id: i64,
        done: oneshot::Sender<std::io::Result<()>>,
    },
    Acknowledge {
        run_ids: Vec<i64>,
    },
}

impl Journal {
    /// Opens a new journal in `<data>/journal`.
    pub fn open(data_directory: &Path) -> anyhow::Result<Journal> {
        let directory = directory(data_directory);
        make_private(&directory)
            .with_context(|| format!("cannot make the journal's directory `{}`", directory.display()))?;
        let segments = Segments::open(directory)?;
        let (orders, received) = mpsc::channel();
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write_for_ever(segments, &received))
            .context("cannot start the journal thread")?;
        Ok(Journal { orders })
    }

    /// Writes an end; returns once it is on the disk.
    pub async fn append(&self, end: &End) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(end).context("an end is not JSON")?;
        line.push(b'\n');
        let (done, written) = oneshot::channel();
        self.orders
            .send(Order::Append {
                line,
                run_id: end.key.run_id,
                done,
            })
            .map_err(|_| anyhow::anyhow!("the journal thread is gone"))?;
        written
            .await
            .context("the journal thread is gone")?
            .context("cannot write the journal")
    }

    /// Forgets ends that Postgres has.
    pub fn acknowledge(&self, run_ids: Vec<i64>) {
        // Without the thread nothing is lost: the next process replays them, and Postgres refuses what it has.
        let _ = self.orders.send(Order::Acknowledge { run_ids });
    }
}

fn directory(data_directory: &Path) -> PathBuf {
    data_directory.join("journal")
}

/// The files of this process.
struct Segments {
    directory: PathBuf,
    id: Uuid,
    number: u32,
    file: File,
    bytes: u64,
    /// Which file holds an end that is not acknowledged, by run.
    pending: HashMap<i64, u32>,
}

impl Segments {
    fn open(directory: PathBuf) -> anyhow::Result<Segments> {
        let id = Uuid::now_v7();
        let file = create(&path_of(&directory, id, 0))?;
        Ok(Segments {
            directory,
            id,
            number: 0,
            file,
            bytes: 0,
            pending: HashMap::new(),
        })
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.bytes > SEGMENT_BYTES {
            let next = create(&path_of(&self.directory, self.id, self.number + 1)).map_err(std::io::Error::other)?;
            self.file = next;
            self.number += 1;
            self.bytes = 0;
            self.remove_settled(self.number - 1);
        }
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.bytes += bytes.len() as u64,
            // Half a line must not swallow the next one.
            Err(_) => {
                let _ = self
                    .file
                    .set_len(self.bytes)
                    .and_then(|()| self.file.seek(std::io::SeekFrom::End(0)));
            }
        }
        written
    }

    fn acknowledge(&mut self, run_ids: &[i64]) {
        let touched: HashSet<u32> = run_ids
            .iter()
            .filter_map(|run_id| self.pending.remove(run_id))
            .collect();
        for number in touched {
            if number < self.number {
                self.remove_settled(number);
            }
        }
        if self.pending.is_empty() && self.bytes > 0 && self.file.set_len(0).is_ok() && self.file.rewind().is_ok() {
            self.bytes = 0;
        }
    }

    fn remove_settled(&self, number: u32) {
        if !self.pending.values().any(|pending| *pending == number) {
            let _ = std::fs::remove_file(path_of(&self.directory, self.id, number));
        }
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        if self.pending.is_empty() {
            let _ = std::fs::remove_file(path_of(&self.directory, self.id, self.number));
        }
    }
}

fn path_of(directory: &Path, id: Uuid, number: u32) -> PathBuf {
    directory.join(format!("{id}.{number}.jsonl"))
}

fn create(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new()
        .create_new(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create the journal `{}`", path.display()))?;
    file.try_lock()
        .with_context(|| format!("cannot lock the journal `{}`", path.display()))?;
    Ok(file)
}

/// One order starts a group; what has gathered meanwhile joins it; one flush serves all.
fn write_for_ever(mut segments: Segments, orders: &mpsc::Receiver<Order>) {
    while let Ok(first) = orders.recv() {
        let mut bytes = Vec::new();
        let mut waiting = Vec::new();
        for order in std::iter::once(first).chain(orders.try_iter()) {
            match order {
                Order::Append { line, run_id, done } => {
                    bytes.extend_from_slice(&line);
                    waiting.push((run_id, done));
                }
                Order::Acknowledge { run_ids } => segments.acknowledge(&run_ids),
            }
        }
        if waiting.is_empty() {
            continue;
        }
        let written = segments.write(&bytes);
        for (run_id, done) in waiting {
            if written.is_ok() {
                segments.pending.insert(run_id, segments.number);
            }
            let answer = written
                .as_ref()
                .copied()
                .map_err(|error| std::io::Error::new(error.kind(), error.to_string()));
            let _ = done.send(answer);
        }
    }
}

/// A journal that a process left behind, locked for us.
pub struct LeftJournal {
    path: PathBuf,
    // Holds the lock until the ends are written.
    _lock: File,
    /// What it holds.
    pub ends: Vec<End>,
}

impl LeftJournal {
    /// Removes it: everything in it is in Postgres.
    pub fn remove(self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(journal = %self.path.display(), %error, "a replayed journal cannot be removed; it is replayed again, which changes nothing");
        }
    }
}

/// The journals in a data directory whose processes are gone.
pub fn left_behind(data_directory: &Path) -> Vec<LeftJournal> {
    let Ok(entries) = std::fs::read_dir(directory(data_directory)) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
        .collect();
    paths.sort();
    paths.into_iter().filter_map(read_left).collect()
}

fn read_left(path: PathBuf) -> Option<LeftJournal> {
    let file = File::open(&path).ok()?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return None,
        Err(TryLockError::Error(error)) => {
            tracing::warn!(journal = %path.display(), %error, "a journal cannot be locked; it is left alone");
            return None;
        }
    }
    let mut ends = Vec::new();
    for line in BufReader::new(&file).split(b'\n').map_while(Result::ok) {
        match serde_json::from_slice::<End>(&line) {
            Ok(end) => ends.push(end),
            Err(error) => {
                tracing::warn!(journal = %path.display(), %error, "a line of a journal is torn; its run was never reported as ended")
            }
        }
    }
    Some(LeftJournal {
        path,
        _lock: file,
        ends,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::run::{Outcome, Reason, RunKey};

    fn end(run_id: i64) -> End {
        let key = RunKey {
            run_id,
            task_id: 1,
            scheduled_for: Timestamp::UNIX_EPOCH,
            attempt: 1,
        };
        let outcome = Outcome::without_process(Reason::Raised, None);
        End {
            key,
            node_id: Uuid::nil(),
            started_at: None,
            finished_at: Timestamp::UNIX_EPOCH,
            outcome,
            detail: None,
        }
    }

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dropcron-journal-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).expect("a directory");
        path
    }

    /// Waits until a process's journal is given up: its thread ends after the last sender.
    fn left(path: &Path, journal: Journal) -> Vec<LeftJournal> {
        drop(journal);
        loop {
            let left = left_behind(path);
            let files = std::fs::read_dir(directory(path)).expect("a directory").count();
            if left.len() == files {
                return left;
            }
            std::thread::yield_now();
        }
    }

    #[tokio::test]
    async fn what_is_not_acknowledged_is_found_by_the_next_process() {
        let path = scratch("replay");
        let journal = Journal::open(&path).expect("a journal");
        for run_id in 1..=3 {
            journal.append(&end(run_id)).await.expect("written");
        }
        assert!(left_behind(&path).is_empty(), "a living process's journal is its own");
        journal.acknowledge(vec![2]);
        let left = left(&path, journal);
        let run_ids: Vec<i64> = left
            .iter()
            .flat_map(|left| &left.ends)
            .map(|end| end.key.run_id)
            .collect();
        assert!(run_ids.contains(&1) && run_ids.contains(&3), "{run_ids:?}");
    }

    #[tokio::test]
    async fn nothing_is_left_when_all_is_acknowledged() {
        let path = scratch("acknowledged");
        let journal = Journal::open(&path).expect("a journal");
        journal.append(&end(1)).await.expect("written");
        journal.acknowledge(vec![1]);
        assert!(left(&path, journal).is_empty());
    }

    #[test]
    fn a_torn_line_is_passed_over() {
        let path = scratch("torn");
        std::fs::create_dir_all(directory(&path)).expect("a directory");
        let mut text = serde_json::to_string(&end(7)).expect("JSON");
        text.push_str("\n{\"key\":{\"run_id\":8");
        std::fs::write(directory(&path).join("torn.0.jsonl"), text).expect("written");
        let left = left_behind(&path);
        assert_eq!(left.len(), 1);
        assert_eq!(left[0].ends.iter().map(|end| end.key.run_id).collect::<Vec<_>>(), [7]);
    }
}
