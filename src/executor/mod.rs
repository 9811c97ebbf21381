//! The executor: turns one invocation of a script into one outcome.
//!
//! Owns processes: starting them, holding them, ending them, and reading what they say. Never knows SQL or the store. In
//! the flow it stands between the worker, which knows what is to run, and the row that keeps how it went.
//!
//! ```text
//! worker --spawn--> dropcron keep --fork--> python runner_shim.py --exec_module--> the script
//!          leash ->                 stdin ->                          (G, T, K; end of file kills all)
//!          <- records               <- records                        (ready, result; exit)
//!          <- output                <- output                         (print, C code, child processes)
//! ```
//!
//! `Err` means that dropcron failed to start something; whatever a script does is an [`Outcome`](crate::run::Outcome).

// Before any run: which interpreter, and what the files hold.
mod dialogue;
mod interpreter;
// One run, from what is asked for ...
mod invocation;
mod process;
// ... by way of the process that holds it ...
mod capabilities;
mod control_group;
mod keep_protocol;
pub mod keeper;
mod process_tree;
mod script_user;
mod watch;
// ... to what was seen of it, and what that means.
mod envelope;
mod output;
mod verdict;
// What is left when a keeper itself dies.
mod orphans;
// Programs of our own, held the same way: what builds environments, and a trial whether any run could start at all.
mod held;
mod rehearsal;

pub use capabilities::withhold_capabilities;
pub use control_group::{ControlGroupError, ControlGroups};
pub use dialogue::converse;
pub use held::{Held, HeldEnd};
pub use interpreter::{
    InspectError, InspectRequest, Inspection, InspectionProblem, Installed, Interpreter, InterpreterError, Parameter,
    RunFunction,
};
pub use invocation::Invocation;
pub use orphans::become_subreaper;
pub use output::{
    FLUSH_INTERVAL as OUTPUT_FLUSH_INTERVAL, Forget, OutputChunk, OutputLimits, OutputSender, OutputSummary,
    channel as output_channel, is_marker,
};
pub use process::{Booting, Ended, Executor, SpawnError};
pub use script_user::{Identity, ScriptUser, ScriptUserError, can_hide_others};
