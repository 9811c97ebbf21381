//! What needs Postgres, Python or processes: one binary, so that it is linked once.
//!
//! `support` has the world of a test: a database of its own in a throw-away cluster, a scripts directory, a data directory,
//! and the real program. A test waits for what it expects with `World::wait_for`; nothing depends on how fast the machine is.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

mod http;

mod api_document;
mod api_limits;
mod api_output;
mod api_runs;
mod api_safety;
mod api_scripts;
mod architecture;
mod backfill;
mod bad_input;
mod changes;
mod cluster;
mod command;
mod connect;
mod diff;
mod doctor;
mod documents;
mod dump;
mod executor;
mod faults;
mod firing;
mod health;
mod isolation;
mod migrations;
mod notifications;
mod observations;
mod output;

mod overlap;
mod packages;
mod packaging;
mod private_postgres;
mod recovery;
mod reporting;
mod retention;
mod retries;
mod samples;
mod secrets;
mod syncer;
mod upgrade;
mod values;
mod why;
