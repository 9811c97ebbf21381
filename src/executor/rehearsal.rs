//! A rehearsal: what every run of another user needs, tried before the first run.
//!
//! Owns one short process tree that loads no script. What fails here would fail at every instant, so the service says it at its
//! start.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::envelope::{Record, RecordReader};
use super::interpreter::Interpreter;
use super::keep_protocol::{GO, KeepOrder};
use super::process::Executor;

/// How long an interpreter may take to come up and open one file.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the interpreter is to do: read the shim, as every run does.
const CODE: &str = "import sys; open(sys.argv[1], 'rb').close()";

/// Far more than the records of one process take.
const LONGEST_RECORD: usize = 64 * 1024;

impl Executor {
    /// Starts the interpreter as the user of the scripts, in their directory. `Err` says what keeps it from that.
    pub async fn rehearse(&self, interpreter: &Interpreter, directory: &Path) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.try_start(interpreter, directory)).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(format!("the keeper cannot be started: {error}")),
            Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn try_start(&self, interpreter: &Interpreter, directory: &Path) -> io::Result<Result<(), String>> {
        let order = KeepOrder {
            grace: Duration::ZERO,
            directory: Some(directory.to_path_buf()),
            nice: None,
            no_new_privileges: true,
            limits: Vec::new(),
            memory_bytes: None,
            processes: None,
            control_group: None,
            identity: self.user().map(|user| user.identity.clone()),
            program: interpreter.path.clone().into(),
            arguments: ["-I", "-X", "utf8", "-c", CODE].map(Into::into).to_vec(),
        };
        let (leash_end, mut leash) = io::pipe()?;
        let mut keeper = Command::new(self.keeper());
        keeper.arg("keep").args(order.to_arguments()).arg(&interpreter.shim);
        keeper.env_clear().process_group(0).kill_on_drop(true);
        keeper.stdin(leash_end).stdout(std::process::Stdio::piped());
        let mut keeper = keeper.stderr(std::process::Stdio::piped()).spawn()?;
        leash.write_all(&[GO])?;
        let (mut records, mut said) = (Vec::new(), Vec::new());
        let (mut stdout, mut stderr) = (keeper.stdout.take(), keeper.stderr.take());
        let read_records = async {
            match &mut stdout {
                Some(pipe) => pipe.read_to_end(&mut records).await.map(drop),
                None => Ok(()),
            }
        };
        let read_said = async {
            match &mut stderr {
                Some(pipe) => pipe.read_to_end(&mut said).await.map(drop),
                None => Ok(()),
            }
        };
        tokio::try_join!(read_records, read_said)?;
        keeper.wait().await?;
        Ok(judge(&records, &String::from_utf8_lossy(&said)))
    }
}

/// What the records mean; `said` is what the interpreter printed, whose last line is the cause.
fn judge(records: &[u8], said: &str) -> Result<(), String> {
    let mut result = Err("the keeper ended without a word".to_owned());
    for record in RecordReader::new(LONGEST_RECORD).push(records) {
        match record {
            // The keeper's own report follows, and says less.
            Record::SpawnFailed { error } => return Err(error),
            Record::Exit(exit) if exit.code == Some(0) => result = Ok(()),
            Record::Exit(_) => {
                let cause = said.trim_end().lines().next_back().unwrap_or("it says nothing");
                result = Err(format!("the interpreter does not come up: {cause}"));
            }
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::super::keep_protocol::{ExitRecord, frame};
    use super::*;

    #[derive(serde::Serialize)]
    struct SpawnFailed {
        error: &'static str,
    }

    fn exit(code: i32) -> Vec<u8> {
        let report = ExitRecord {
            code: Some(code),
            ..ExitRecord::default()
        };
        frame("exit", &report)
    }

    #[test]
    fn the_first_cause_is_told() {
        assert_eq!(judge(&exit(0), ""), Ok(()));
        let failed = frame("spawn_failed", &SpawnFailed { error: "no way in" });
        assert_eq!(judge(&[failed, exit(127)].concat(), ""), Err("no way in".to_owned()));
        let said = "Fatal\nPermissionError: /shim\n";
        assert!(judge(&exit(1), said).unwrap_err().ends_with("PermissionError: /shim"));
        assert!(judge(b"", "").is_err());
    }
}
