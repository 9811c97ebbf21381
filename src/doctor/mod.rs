//! The doctor: what was seen of a system, and what of it must be mended or known.
//!
//! Owns the judgement alone: facts in, findings out. `command/doctor` gathers the facts. Each finding that is not fine says what to
//! do about it.

mod facts;
mod findings;

pub use facts::{
    BoundOf, ConnectionBound, ControlGroupFacts, DatabaseFacts, DirectoryFacts, Facts, FirstProcess, Mount,
    OpenEntries, ScriptUserFacts, ScriptUserObstacle, Secrecy, ServerFacts, Space, UserFacts, Writing,
};
pub use findings::{Finding, Level, diagnose};
