//! The REST API, the events and the page: what people and programs see of dropcron over HTTP.
//!
//! A request passes, in this order: the limits of its connection (`server`, `places`, `patience`), the path of a proxy (`base_path`), the names that the
//! service answers to and the origin of changes (`origin`), who asks (`identity`), what that role may do (`router`), and its
//! handler. It knows the store and pure code; what it needs of the loops is given to it (`given`).

mod audit;
mod base_path;
mod change;
mod client;
mod cookie;
mod directory;
mod environments;
mod extract;
mod given;
mod health;
mod identity;
mod instants;
mod metrics;
mod nodes;
mod origin;
mod output;
mod overview;
mod page;
mod patience;
mod places;
mod problem;
mod role;
mod router;
mod runs;
mod schedule;
mod scripts;
pub mod secret;
mod series;
mod server;
mod session;
mod tasks;
mod tokens;
mod versions;
mod watch;
mod work;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::database::Database;

pub use given::{Assessed, Check, Draft, Given, InstalledEnvironment, LockedPackage, ScriptFile, Standing};
pub use instants::{Why, WhyInstant};
pub use output::{Chunk as OutputChunk, OutputPage};
pub use problem::{Problem, ScriptProblem};
pub use role::Role;
pub use router::document;
pub use runs::{Cancelled, Run, RunPage, StartRun, Started};
pub use series::{Point, PointList, Settled, StaleSeries};
pub use server::serve;
pub use tasks::{Changed, Task, TaskPage};
pub use tokens::{Token, check_name as check_token_name};

/// What every handler can reach.
pub struct Api {
    /// Connections of its own: whoever asks much takes none from the scheduler.
    database: Database,
    given: Given,
    watches: watch::Watches,
    logins: session::Logins,
    /// One change of a file at a time.
    writing: Arc<tokio::sync::Mutex<()>>,
    /// One piece of work that costs at a time.
    working: Arc<tokio::sync::Semaphore>,
    /// Streams end when the service does.
    stopping: CancellationToken,
}

impl Api {
    /// On a database whose pool nobody else uses.
    pub fn new(database: Database, given: Given) -> Arc<Api> {
        Arc::new(Api {
            watches: watch::Watches::new(database.clone()),
            logins: session::Logins::default(),
            writing: Arc::default(),
            working: Arc::new(tokio::sync::Semaphore::new(1)),
            stopping: CancellationToken::new(),
            database,
            given,
        })
    }
}

/// The state of the router.
type App = axum::extract::State<Arc<Api>>;
