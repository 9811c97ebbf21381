//! A rehearsal: what every run of another user needs, tried before the first run.
//!
//! Owns one short process tree that loads no script. What fails here would fail at every instant, so the service says it at its
//! start.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::held::{Held, HeldEnd};
use super::interpreter::Interpreter;
use super::process::Executor;

/// How long an interpreter may take to come up and open one file.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the interpreter is to do: read the shim, as every run does.
const CODE: &str = "import sys; open(sys.argv[1], 'rb').close()";

impl Executor {
    /// Starts the interpreter as the user of the scripts, in their directory. `Err` says what keeps it from that.
    pub async fn rehearse(&self, interpreter: &Interpreter, directory: &Path) -> Result<(), String> {
        let mut said = Vec::new();
        let ended = self.try_start(interpreter, directory, &mut said).await;
        match ended.map_err(|error| format!("the keeper cannot be started: {error}"))? {
            HeldEnd::Exited { code: Some(0) } => Ok(()),
            HeldEnd::Exited { .. } => {
                // The last line is the cause.
                let said = String::from_utf8_lossy(&said);
                let cause = said.trim_end().lines().next_back().unwrap_or("it says nothing");
                Err(format!("the interpreter does not come up: {cause}"))
            }
            HeldEnd::NotStarted { problem } => Err(problem),
            HeldEnd::OutOfTime => Err(format!("no answer within {} s", PATIENCE.as_secs())),
        }
    }

    async fn try_start(&self, interpreter: &Interpreter, directory: &Path, said: &mut Vec<u8>) -> io::Result<HeldEnd> {
        let mut arguments: Vec<_> = ["-I", "-X", "utf8", "-c", CODE].map(Into::into).to_vec();
        arguments.push(interpreter.shim.clone().into());
        let held = Held {
            program: interpreter.path.clone().into(),
            arguments,
            environment: Vec::new(),
            directory: directory.to_path_buf(),
            identity: self.user().map(|user| user.identity.clone()),
            patience: PATIENCE,
        };
        self.hold(held, |bytes| said.extend_from_slice(bytes)).await
    }
}
