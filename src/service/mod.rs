//! The loops: reconcilers that bring the database, the scripts directory and the processes in line.
//!
//! Each loop's pass is idempotent and is told nothing of what changed; a wake-up only says that a look may be worth it now.
//! Loops share `Node` (who we are, what time it is), `Recorder` (ends on their way to Postgres) and `Wake`, nothing else.

pub mod clock;

pub mod health;

pub mod node;

pub mod wake;

pub mod journal;

pub mod recorder;

pub mod permits;

pub mod versions;

pub mod secrets;

pub mod run_directory;

pub mod builder;

pub mod worker;

pub mod planner;

pub mod scheduler;

pub mod scan;

pub mod syncer;

pub mod listener;

pub mod reaper;

pub mod judge;
pub mod retention;

pub mod notifier;
