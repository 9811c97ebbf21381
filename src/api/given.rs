//! What the API is given by whoever starts it: values and functions, so that it needs to know neither the loops nor Python.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::ScriptProblem;
use crate::script::{ContentHash, Header, ScriptKind};
use crate::store::tasks::Registration;

/// How one part of the service is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Check {
    /// The part.
    pub name: String,
    /// Whether it works.
    pub ok: bool,
    /// What is known of it.
    pub detail: String,
}

/// A script that nobody has registered yet.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Where it would stand, relative to the scripts directory.
    pub path: PathBuf,
    /// Its bytes.
    pub content: Vec<u8>,
}

/// What a draft is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It runs.
    Task,
    /// Others import it.
    Library,
    /// Something is wrong with it.
    Problem,
}

/// What is said of a draft.
#[derive(Clone, Debug)]
pub struct Assessed {
    /// What it is.
    pub standing: Standing,
    /// What is wrong with it.
    pub problems: Vec<ScriptProblem>,
    /// What it asks for; none unless it is a task.
    pub header: Option<Header>,
    /// How it would be registered; none unless it is a task.
    pub registration: Option<Registration>,
    /// The packages that it asks for, by their hash and as JSON; none if it needs none.
    pub requirements: Option<(ContentHash, String)>,
    /// What Python's own parser says of it, as JSON.
    pub inspection: Option<String>,
}

/// A file in the scripts directory.
#[derive(Clone, Debug)]
pub struct ScriptFile {
    /// Relative to the scripts directory.
    pub path: PathBuf,
    /// The name of its task.
    pub task: Option<String>,
    /// How it is loaded.
    pub kind: Option<ScriptKind>,
    /// Bytes.
    pub size: u64,
    /// When it was last written.
    pub modified_at: Option<Timestamp>,
    /// Why it cannot be a script; none: nothing is in the way.
    pub refused: Option<String>,
}

/// A package of a lock.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct LockedPackage {
    /// Its name.
    pub name: String,
    /// Its version, or where it comes from.
    pub version: String,
    /// On which machines it is wanted, where not on all.
    pub marker: Option<String>,
}

/// An environment on the machine that is asked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InstalledEnvironment {
    /// The lock that it was made from.
    #[serde(skip)]
    pub lock_sha256: String,
    /// The version of its Python.
    pub python: String,
    /// What its files hold, bytes.
    pub size_bytes: u64,
    /// What would be free if it went, bytes: the rest is shared with others.
    pub own_bytes: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a run last used it, to the hour.
    pub used_at: Timestamp,
    /// Whether a run uses it now.
    pub in_use: bool,
}

/// Reads the packages of a lock.
pub type ReadLock = Box<dyn Fn(&str) -> Vec<LockedPackage> + Send + Sync>;

/// Looks at the environments on this machine, the one that was used last first. Blocks.
pub type ListEnvironments = Arc<dyn Fn() -> Vec<InstalledEnvironment> + Send + Sync>;

/// Looks at the scripts directory. Blocks.
pub type ListScripts = Arc<dyn Fn() -> io::Result<Vec<ScriptFile>> + Send + Sync>;

/// Says what drafts are, in their order; `Err`: Python cannot be asked. Blocks.
pub type AssessDrafts = Arc<dyn Fn(Vec<Draft>) -> Result<Vec<Assessed>, String> + Send + Sync>;

/// What the API is given.
pub struct Given {
    /// How the loops and the database are, without asking either.
    pub health: Box<dyn Fn() -> Vec<Check> + Send + Sync>,
    /// Looks at the scripts directory.
    pub list_scripts: ListScripts,
    /// Says what drafts are.
    pub assess_drafts: AssessDrafts,
    /// Looks at the environments on this machine.
    pub list_environments: ListEnvironments,
    /// Reads the packages of a lock.
    pub read_lock: ReadLock,
    /// Says that the scripts directory has changed.
    pub scripts_changed: Box<dyn Fn() + Send + Sync>,
    /// Where scripts are.
    pub scripts_directory: PathBuf,
    /// The zone of schedules that name none.
    pub timezone: String,
    /// Names under which the service may be called, besides `localhost` and addresses.
    pub hosts: Vec<String>,
    /// The path below which a proxy serves it and that the proxy passes on, such as `/tools/cron`; empty: none.
    pub base_path: String,
}
