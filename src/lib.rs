//! dropcron: drop a Python script into a directory; get a row in Postgres for every instant it was due.
//!
//! Modules in the order of the flow; imports go one way only (`tests/it/architecture.rs` holds it). ARCHITECTURE.md walks one run
//! through the house.

// `json!` goes one level deeper for each column of a task.
#![recursion_limit = "256"]

pub mod size;

pub mod schedule;

pub mod script;

pub mod series;

pub mod run;

pub mod plan;

pub mod why;

pub mod doctor;

pub mod database;

pub mod config;

pub mod telemetry;

pub mod store;

pub mod api;

pub mod executor;

pub mod packages;

pub mod service;

pub mod cli;

pub mod command;
