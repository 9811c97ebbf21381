//! The third-party packages of scripts: from what a script asks for, by way of a lock, to a directory that an interpreter runs with.
//!
//! Owns requirements, locks, the choice of an interpreter, and environments on disk; uv does the resolving and the installing.
//! Never knows SQL. In the flow it stands between a script's header and the invocation of a run:
//!
//! ```text
//! header, requirements.txt --resolve--> lock (in Postgres) --build--> environments/<key>/ (on each machine) --> bin/python
//! ```
//!
//! Nothing here upgrades by itself: a lock stays until somebody asks for another one.

// What is asked for ...
mod requirements;
// ... what exactly that means ...
mod lock;
// ... with which interpreter and by which program ...
mod interpreters;
mod uv;
// ... and where it then is.
mod environments;

pub use environments::{BuildError, Environment, Environments, Lease, Pruned, UNUSED_FOR};
pub use interpreters::{InterpreterChoiceError, Interpreters};
pub use lock::{Change, Lock, LockError, Package, changes, packages_of};
pub use requirements::{Requirements, RequirementsError, Source, is_requirements_file};
pub use uv::{Log, Uv, UvError, UvSettings};
