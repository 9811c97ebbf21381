//! A program of ours that is held by a keeper as a script is: it ends with dropcron, and so does everything that it started.
//!
//! Owns one process tree that is no run: no shim, no records of its own, no row. Used to build environments, and by `rehearsal`.

use std::ffi::OsString;
use std::future::pending;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use super::capabilities::lending_capabilities;
use super::envelope::{Record, RecordReader};
use super::keep_protocol::{GO, KILL, KeepOrder, VARIABLE_PREFIX};
use super::process::Executor;
use super::script_user::Identity;

/// Far more than the records of one process take; what else the program prints to its standard output is not read.
const LONGEST_RECORD: usize = 64 * 1024;

/// Not to be in the way of runs.
const NICE: i32 = 5;

/// After the kill: how long the keeper may take to see everything gone.
const KILL_PATIENCE: Duration = Duration::from_secs(10);

/// What is started, with what, and for how long.
#[derive(Clone, Debug)]
pub struct Held {
    /// The program, absolute.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory that it starts in.
    pub directory: PathBuf,
    /// Who it runs as, if not as this process does.
    pub identity: Option<Identity>,
    /// How long it may take.
    pub patience: Duration,
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldEnd {
    /// By itself.
    Exited {
        /// Its exit code; none: a signal ended it.
        code: Option<i32>,
    },
    /// It never ran.
    NotStarted {
        /// Why.
        problem: String,
    },
    /// It took too long, and was killed with everything it started.
    OutOfTime,
}

impl Executor {
    /// Runs a program to its end; `said` takes what it prints to standard error, as it comes. Whoever drops the future kills it.
    pub async fn hold(&self, held: Held, mut said: impl FnMut(&[u8])) -> io::Result<HeldEnd> {
        let order = KeepOrder {
            grace: Duration::ZERO,
            directory: Some(held.directory),
            nice: Some(NICE),
            no_new_privileges: true,
            limits: Vec::new(),
            memory_bytes: None,
            processes: None,
            control_group: None,
            identity: held.identity,
            program: held.program,
            arguments: held.arguments,
        };
        let (leash_end, mut leash) = io::pipe()?;
        let mut keeper = Command::new(self.keeper());
        keeper.arg("keep").args(order.to_arguments()).env_clear();
        for (name, value) in held.environment {
            let mut prefixed = OsString::from(VARIABLE_PREFIX);
            prefixed.push(name);
            keeper.env(prefixed, value);
        }
        keeper.stdin(leash_end).stdout(Stdio::piped()).stderr(Stdio::piped());
        // The leash ends with us, which kills the tree; not the keeper, which would leave it behind.
        keeper.process_group(0);
        let mut keeper = match order.identity {
            Some(_) => lending_capabilities(true, || keeper.spawn())?,
            // No script, and what it starts comes from anywhere.
            None => keeper.spawn()?,
        };
        leash.write_all(&[GO])?;
        let (mut stdout, mut stderr) = (keeper.stdout.take(), keeper.stderr.take());
        let mut end = RecordedEnd::default();
        let out_of_time = {
            let read = async {
                tokio::try_join!(
                    read_all(&mut stdout, |bytes| end.take(bytes)),
                    read_all(&mut stderr, &mut said)
                )?;
                keeper.wait().await
            };
            tokio::pin!(read);
            let out_of_time = tokio::select! {
                result = &mut read => {
                    result?;
                    false
                }
                () = tokio::time::sleep(held.patience) => true,
            };
            if out_of_time {
                leash.write_all(&[KILL])?;
                let _ = tokio::time::timeout(KILL_PATIENCE, &mut read).await;
            }
            out_of_time
        };
        if out_of_time {
            return Ok(HeldEnd::OutOfTime);
        }
        Ok(end.into_end())
    }
}

async fn read_all(pipe: &mut Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let Some(pipe) = pipe else { return pending().await };
    let mut buffer = vec![0; 8 * 1024];
    loop {
        match pipe.read(&mut buffer).await? {
            0 => return Ok(()),
            count => take(&buffer[..count]),
        }
    }
}

/// What the keeper's records mean, whatever else stands between them.
struct RecordedEnd {
    reader: RecordReader,
    end: Option<HeldEnd>,
}

impl Default for RecordedEnd {
    fn default() -> Self {
        RecordedEnd {
            reader: RecordReader::new(LONGEST_RECORD),
            end: None,
        }
    }
}

impl RecordedEnd {
    fn take(&mut self, bytes: &[u8]) {
        for record in self.reader.push(bytes) {
            let end = match record {
                Record::SpawnFailed { error } => HeldEnd::NotStarted { problem: error },
                Record::Exit(exit) => HeldEnd::Exited { code: exit.code },
                _ => continue,
            };
            // After a failed start the keeper's own report follows, and says less.
            self.end.get_or_insert(end);
        }
    }

    fn into_end(self) -> HeldEnd {
        self.end.unwrap_or_else(|| HeldEnd::NotStarted {
            problem: "the keeper ended without a word".to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::keep_protocol::{ExitRecord, frame};
    use super::*;

    fn end_of(pieces: &[&[u8]]) -> HeldEnd {
        let mut end = RecordedEnd::default();
        pieces.iter().for_each(|piece| end.take(piece));
        end.into_end()
    }

    #[test]
    fn the_first_cause_is_told() {
        #[derive(serde::Serialize)]
        struct SpawnFailed {
            error: &'static str,
        }
        let exit = |code| {
            let report = ExitRecord {
                code: Some(code),
                ..ExitRecord::default()
            };
            frame("exit", &report)
        };
        assert_eq!(end_of(&[b"printed", &exit(0)]), HeldEnd::Exited { code: Some(0) });
        let failed = frame("spawn_failed", &SpawnFailed { error: "no way in" });
        let problem = "no way in".to_owned();
        assert_eq!(end_of(&[&failed, &exit(127)]), HeldEnd::NotStarted { problem });
        assert!(matches!(end_of(&[b""]), HeldEnd::NotStarted { .. }));
    }
}
