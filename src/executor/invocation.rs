//! One invocation: everything that starting one run of a script takes.
//!
//! Owns the command line that the shim and the keeper get from it. Starts nothing. First in the flow of the executor.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::interpreter::Interpreter;
use super::keep_protocol::{KeepOrder, LimitedResource, ResourceLimit};
use crate::script::Limits;

/// What is run, with what, and within which bounds. All paths are absolute.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// The script as people know it: its `__file__`.
    pub script_path: PathBuf,
    /// The file with the bytes that run.
    pub code_path: PathBuf,
    /// The scripts directory: where helper modules are looked for.
    pub scripts_root: PathBuf,
    /// The task's name.
    pub task_name: String,
    /// Keyword arguments of `run()`: the text of a JSON object. The kernel takes up to 128 KiB.
    pub arguments: String,
    /// Whether `run` is known to be `async`, so that asyncio is imported before the go.
    pub is_async: bool,
    /// The whole environment of the script; nothing is added from the scheduler's own but a mark of the node.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory that the script starts in.
    pub working_directory: PathBuf,
    /// From the go until the run is stopped.
    pub timeout: Option<Duration>,
    /// From the request to stop until the kill.
    pub grace: Duration,
    /// From the result until a process that will not end is stopped.
    pub linger: Duration,
    /// False if what `run()` returns is not to be kept.
    pub keep_return_value: bool,
    /// Longest return value that is kept, bytes of JSON.
    pub max_value_bytes: usize,
    /// What it may take of the machine.
    pub limits: Limits,
    /// Whether `sudo` and other set-uid programs fail inside of the script.
    pub no_new_privileges: bool,
}

impl Invocation {
    /// From the request to stop until the kill, where nobody says otherwise.
    pub const DEFAULT_GRACE: Duration = Duration::from_secs(10);
    /// From the result until a process that will not end is stopped, where nobody says otherwise.
    pub const DEFAULT_LINGER: Duration = Duration::from_secs(5);
    /// Longest return value that is kept, where nobody says otherwise.
    pub const DEFAULT_MAX_VALUE_BYTES: usize = 1024 * 1024;

    /// What the keeper is told. Whom the script runs as and where its group is, the executor adds.
    pub(super) fn keep_order(&self, interpreter: &Interpreter) -> KeepOrder {
        KeepOrder {
            grace: self.grace,
            directory: Some(self.working_directory.clone()),
            nice: self.limits.nice,
            no_new_privileges: self.no_new_privileges,
            limits: self.resource_limits(),
            memory_bytes: self.limits.memory_bytes,
            processes: self.limits.processes,
            control_group: None,
            identity: None,
            program: interpreter.path.clone().into(),
            arguments: self.shim_arguments(interpreter),
        }
    }

    /// The limits that the kernel holds each process to.
    fn resource_limits(&self) -> Vec<ResourceLimit> {
        let wanted = [
            (LimitedResource::Cpu, self.limits.cpu_seconds),
            (LimitedResource::OpenFiles, self.limits.open_files),
        ];
        wanted
            .into_iter()
            .filter_map(|(resource, value)| {
                let value = value?.into();
                Some(ResourceLimit { resource, value })
            })
            .collect()
    }

    fn shim_arguments(&self, interpreter: &Interpreter) -> Vec<OsString> {
        let mut line = interpreter.shim_arguments();
        line.push(self.script_path.clone().into());
        line.extend(["--code".into(), self.code_path.clone().into()]);
        line.extend(["--root".into(), self.scripts_root.clone().into()]);
        line.extend(["--name".into(), self.task_name.clone().into()]);
        line.extend(["--arguments".into(), self.arguments.clone().into()]);
        line.extend(["--max-value-bytes".into(), self.max_value_bytes.to_string().into()]);
        line.push("--wait".into());
        if self.is_async {
            line.push("--asyncio".into());
        }
        if !self.keep_return_value {
            line.push("--no-value".into());
        }
        line
    }
}
