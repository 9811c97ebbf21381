//! The words of one run as types: what asked for it, how it stands, how it ended.
//!
//! Owns the vocabulary that the store, the executor and the services share. Knows no clock, no SQL and no process. In the
//! flow it stands between a plan (`schedule`) and a row (`store`).

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::script::{ContentHash, Limits};
use crate::series::Observation;

/// Keyword arguments that somebody gives to one run: JSON as it was typed, so that no digit of a number is lost.
pub type Arguments = BTreeMap<String, Box<RawValue>>;

/// The text of a JSON object; none: there are no arguments.
pub fn text_of_arguments(arguments: &Arguments) -> Option<String> {
    (!arguments.is_empty()).then(|| serde_json::to_string(arguments).unwrap_or_default())
}

/// A closed set of words that stands as text in Postgres, JSON and on the command line.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant),+ }

        impl $name {
            /// Every word of this set, in the order of the documentation.
            pub const ALL: &[$name] = &[$($name::$variant),+];

            /// The word as it stands in the database.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|word| word.as_str() == text).ok_or_else(|| UnknownWord {
                    found: text.to_owned(),
                    known: Self::ALL.iter().map(|word| word.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

/// A word that is not one of a closed set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not one of {known}")]
pub struct UnknownWord {
    /// What was written.
    pub found: String,
    /// What could have been written.
    pub known: String,
}

words! {
    /// What asked for a run; kept over retries.
    Trigger {
        /// Its schedule, on time.
        Schedule = "schedule",
        /// Its schedule, after a time in which no node was there to fire it.
        CatchUp = "catch_up",
        /// A person who asked for past instants.
        Backfill = "backfill",
        /// A person who asked for a run now.
        Manual = "manual",
    }
}

words! {
    /// How a run stands.
    Status {
        /// Due and waiting for a place.
        Queued = "queued",
        /// Its process was started.
        Running = "running",
        /// `run()` returned.
        Succeeded = "succeeded",
        /// The script, or what it needed, failed.
        Failed = "failed",
        /// Stopped at its time limit.
        TimedOut = "timed_out",
        /// Stopped because somebody or something asked for it.
        Cancelled = "cancelled",
        /// Nobody knows: the node or the keeper that held it is gone.
        Lost = "lost",
        /// Deliberately not run.
        Skipped = "skipped",
        /// Due while nobody could fire it.
        Missed = "missed",
    }
}

impl Status {
    /// Whether the run has still to end.
    pub fn is_active(self) -> bool {
        matches!(self, Status::Queued | Status::Running)
    }
}

words! {
    /// Why a run has the status that it has.
    Reason {
        /// `run()` raised.
        Raised = "raised",
        /// The file could not be loaded.
        LoadFailed = "load_failed",
        /// The file defines no `run`.
        NoRun = "no_run",
        /// `run` is not callable.
        RunNotCallable = "run_not_callable",
        /// `run` wants arguments that nobody gives.
        RunNeedsArgs = "run_needs_args",
        /// The process left with a code, without a result.
        Exited = "exited",
        /// A signal ended the process.
        Signal = "signal",
        /// The kernel killed it for memory.
        OutOfMemory = "out_of_memory",
        /// It ended well, but its result did not arrive.
        ResultLost = "result_lost",
        /// Its interpreter or its packages were not there.
        Environment = "environment",
        /// A secret that it names was not there.
        SecretMissing = "secret_missing",
        /// The process could not be started.
        SpawnFailed = "spawn_failed",
        /// It ran longer than its limit.
        Timeout = "timeout",
        /// A person cancelled it.
        Requested = "requested",
        /// A newer run replaced it.
        Replaced = "replaced",
        /// The scheduler was shut down.
        Shutdown = "shutdown",
        /// Its task was removed before it started.
        Void = "void",
        /// The node that ran it is gone.
        NodeGone = "node_gone",
        /// The process that held it is gone.
        KeeperGone = "keeper_gone",
        /// A run of the task was still active.
        Overlap = "overlap",
        /// A newer run made it needless.
        Superseded = "superseded",
        /// Later than its task allows.
        Grace = "grace",
        /// No node was there.
        Down = "down",
        /// The task was paused.
        Paused = "paused",
        /// The task was disabled in its header.
        Disabled = "disabled",
        /// More instants were missed than `catch_up_limit` allows to run.
        Limit = "limit",
    }
}

impl Reason {
    /// The status that this reason belongs to.
    pub fn status(self) -> Status {
        use Reason::*;
        match self {
            Raised | LoadFailed | NoRun | RunNotCallable | RunNeedsArgs | Exited | Signal | OutOfMemory
            | ResultLost | Environment | SecretMissing | SpawnFailed => Status::Failed,
            Timeout => Status::TimedOut,
            Requested | Replaced | Shutdown | Void => Status::Cancelled,
            NodeGone | KeeperGone => Status::Lost,
            Overlap | Superseded | Grace => Status::Skipped,
            Down | Paused | Disabled | Limit => Status::Missed,
        }
    }
}

/// The natural key of a run: what the journal, the store and people call it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The run's number.
    pub run_id: i64,
    /// Its task.
    pub task_id: i64,
    /// The instant it stands for in the log.
    pub scheduled_for: Timestamp,
    /// 1 for the first try.
    pub attempt: i16,
}

/// Why a run is to be stopped from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A person asked.
    Requested,
    /// A newer run takes its place.
    Replaced,
    /// The scheduler leaves.
    Shutdown,
}

impl Stop {
    /// The reason that the run's row will carry.
    pub fn reason(self) -> Reason {
        match self {
            Stop::Requested => Reason::Requested,
            Stop::Replaced => Reason::Replaced,
            Stop::Shutdown => Reason::Shutdown,
        }
    }
}

words! {
    /// Who holds a run to a limit of its whole process tree.
    Enforcer {
        /// The kernel, by a control group.
        ControlGroup = "control_group",
        /// The keeper, which looks at the tree now and then.
        Keeper = "keeper",
    }
}

/// What a run was held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitsInForce {
    /// The limits.
    #[serde(flatten)]
    pub limits: Limits,
    /// Who held it to its limit of memory, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_by: Option<Enforcer>,
    /// Who held it to its limit of processes, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processes_by: Option<Enforcer>,
}

/// What a script raised, or what kept it from running.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The exception's type, or a word of ours in small letters.
    #[serde(rename = "type")]
    pub kind: String,
    /// One or more lines for people.
    pub message: String,
    /// Python's traceback from the script's first frame on.
    pub traceback: Option<String>,
}

/// How one attempt ended: the value that becomes the end of a row of the run log.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// A status that has ended.
    pub status: Status,
    /// Why; none for `succeeded`.
    pub reason: Option<Reason>,
    /// The process's exit code, if it exited.
    pub exit_code: Option<i32>,
    /// The signal that ended the process, if one did.
    pub signal: Option<i32>,
    /// What `run()` returned, as the very text that the shim sent. None when nothing was returned or kept.
    pub return_value: Option<Box<RawValue>>,
    /// The numbers in what it returned, for the series; also where the value itself is not kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// What went wrong.
    pub error: Option<RunError>,
    /// What people should know although the run ended well.
    pub warnings: Vec<String>,
    /// Peak resident memory of the largest process, KiB.
    pub max_rss_kb: Option<i64>,
    /// User and system time of the whole process tree, milliseconds.
    pub cpu_ms: Option<i64>,
    /// SHA-256 of the bytes that ran, as the shim reports it.
    pub script_sha256: Option<ContentHash>,
    /// What it was held to; none if it had no limits, or never started.
    pub limits: Option<LimitsInForce>,
    /// The lock of the packages that it had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_sha256: Option<ContentHash>,
    /// The version of the Python that ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
}

impl Outcome {
    /// An outcome without a process: the reason says everything.
    pub fn without_process(reason: Reason, error: Option<RunError>) -> Outcome {
        Outcome {
            status: reason.status(),
            reason: Some(reason),
            exit_code: None,
            signal: None,
            return_value: None,
            observations: Vec::new(),
            error,
            warnings: Vec::new(),
            max_rss_kb: None,
            cpu_ms: None,
            script_sha256: None,
            limits: None,
            lock_sha256: None,
            python: None,
        }
    }
}
