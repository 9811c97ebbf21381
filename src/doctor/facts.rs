//! What can be seen of a system. Values only: whoever gathers them decides nothing.

use std::path::PathBuf;

/// All that the doctor judges.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Where the system's zone data is; none: the copy inside of this program is used.
    pub zone_data: Option<PathBuf>,
    /// Zone of schedules that name none.
    pub timezone: String,
    /// Where scripts are.
    pub scripts: DirectoryFacts,
    /// Where the journal, script versions and a private Postgres are.
    pub data: DirectoryFacts,
    /// Where secrets are, if anywhere.
    pub secrets: Option<DirectoryFacts>,
    /// The version of the interpreter, or why there is none.
    pub interpreter: Result<String, String>,
    /// Whether that interpreter can make virtual environments.
    pub has_venv: bool,
    /// uv, if it is there.
    pub uv: Option<PathBuf>,
    /// Process 1, as this process sees it.
    pub first_process: FirstProcess,
    /// Who dropcron and its scripts are.
    pub user: UserFacts,
    /// What limits runs.
    pub control_groups: ControlGroupFacts,
    /// The database.
    pub database: DatabaseFacts,
}

/// A directory.
#[derive(Clone, Debug)]
pub struct DirectoryFacts {
    /// Its path.
    pub path: PathBuf,
    /// Why it cannot be read, if so.
    pub unreadable: Option<String>,
    /// Whether it is there.
    pub is_there: bool,
    /// Who may write into it.
    pub writing: Writing,
    /// Whether everybody may read it.
    pub is_open_to_all: bool,
    /// What of its contents others may touch.
    pub open: OpenEntries,
    /// The file system that it, or what is there of the way to it, is on.
    pub mount: Mount,
    /// What is free there.
    pub space: Option<Space>,
}

/// What others than dropcron may touch of a directory's contents: paths, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenEntries {
    /// Everybody may write these.
    pub written_by_all: Vec<PathBuf>,
    /// The user of the scripts may write these, and not everybody.
    pub written_by_scripts: Vec<PathBuf>,
    /// The user of the scripts may read these.
    pub read_by_scripts: Vec<PathBuf>,
}

/// Who may write into a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// This process.
    pub own: bool,
    /// The user of the scripts, where that is another.
    pub scripts: bool,
    /// Everybody.
    pub all: bool,
}

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted.
    pub point: PathBuf,
    /// Its type: `ext4`, `overlay`, `nfs4`.
    pub kind: String,
}

/// What is free on a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this process may still write.
    pub free_bytes: u64,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Files that may still be made; none: the file system does not count them.
    pub free_files: Option<u64>,
}

/// Process 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstProcess {
    /// Its name.
    pub name: String,
    /// Processes that ended a while ago and that it has not waited for.
    pub zombies: usize,
}

/// Who dropcron and its scripts are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserFacts {
    /// Whether this process is root.
    pub is_root: bool,
    /// The user of the scripts.
    pub scripts: ScriptUserFacts,
    /// Whether runs of one user can be kept from each other.
    pub secrecy: Secrecy,
}

/// The user of the scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptUserFacts {
    /// That of this process.
    Same,
    /// Another one, and the tried start of an interpreter by it.
    Other {
        /// Its name.
        name: String,
        /// What kept the interpreter from starting.
        rehearsal: Result<(), String>,
    },
    /// The wanted one cannot be had: why, in words and in kind.
    Impossible(String, ScriptUserObstacle),
}

/// What keeps scripts from running as the wanted user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptUserObstacle {
    /// There is no such user.
    Unknown,
    /// The system cannot look it up.
    LookUp,
    /// This process may not become another.
    NotAllowed,
}

/// Whether runs of one user can be kept from each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrecy {
    /// By Landlock.
    Landlock,
    /// This kernel cannot.
    None,
}

/// What limits runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlGroupFacts {
    /// Turned off.
    TurnedOff,
    /// A directory that was named, and whether groups can be made there.
    Named(PathBuf, Result<(), String>),
    /// The kernel has the hierarchy of version 2.
    VersionTwo,
    /// It has none, or an old one.
    Absent,
}

/// The database.
#[derive(Clone, Debug)]
pub enum DatabaseFacts {
    /// A private one that no command has made yet: the directory of the binaries that it would be made with.
    NotMadeYet(Result<PathBuf, String>),
    /// It cannot be reached.
    Unreachable(String),
    /// A pooler in between gives sessions no server process of their own: nothing else can be asked.
    Pooled,
    /// It was asked.
    Reached(Box<ServerFacts>),
}

/// A bound on connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionBound {
    /// Whose.
    pub of: BoundOf,
    /// Connections that it allows.
    pub allowed: i64,
    /// Those of them that there are.
    pub used: i64,
}

/// Who bounds connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BoundOf {
    /// The server: `max_connections`.
    Server,
    /// The database, by name: `CONNECTION LIMIT`.
    Database(String),
    /// Our role, by name: `CONNECTION LIMIT`.
    Role(String),
}

/// What the server said.
#[derive(Clone, Debug)]
pub struct ServerFacts {
    /// Where it is, without a password.
    pub url: String,
    /// Whether it is the private one.
    pub is_private: bool,
    /// Version, as it says.
    pub version: String,
    /// Its major version.
    pub major_version: i32,
    /// Database clock less this machine's.
    pub clock_offset_ms: f64,
    /// Uncertainty of that.
    pub clock_error_ms: f64,
    /// Whatever bounds our connections.
    pub connections: Vec<ConnectionBound>,
    /// Nodes that are alive.
    pub live_nodes: i64,
    /// Their versions.
    pub node_versions: Vec<String>,
    /// Whether it takes no writes.
    pub is_read_only: bool,
    /// Settings that make a commit survive a crash, as far as they are off.
    pub unsafe_settings: Vec<String>,
    /// Whether it vacuums by itself.
    pub has_autovacuum: bool,
    /// How it stores text.
    pub encoding: String,
    /// Whether what this process says crosses a network in the clear, be it to a pooler.
    pub is_in_the_clear: bool,
    /// Whether our schema is there, or this role may make it.
    pub has_schema: bool,
    /// Why the way past a pooler does not work, if so.
    pub direct_problem: Option<String>,
}
