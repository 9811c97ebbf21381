//! The only SQL: what is said to the database, as verbs on its tables.
//!
//! Each statement is a `.sql` file and a struct (see `statement`). Functions take a connection and values, and return rows as
//! plain types. Knows nothing of processes and loops; decides nothing that the statements do not enforce.

mod statement;

mod column;

pub mod server;

pub mod nodes;

pub mod tasks;

pub mod environments;

pub mod runs;

pub mod deliveries;

pub mod observations;

pub mod history;
pub mod report;

pub mod overview;
pub mod pages;
pub mod series;

pub mod requests;

pub mod audit;
pub mod tokens;

pub mod retention;

pub use crate::database::Connection;

/// What a statement can answer instead of rows.
pub type StoreError = diesel::result::Error;

/// Whether an error says that the connection is gone, as opposed to the statement's content being refused.
pub fn is_connection_lost(error: &StoreError) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    match error {
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection, _) => true,
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let message = information.message();
            [
                "terminating connection",
                "the database system is",
                "connection closed",
                "error communicating",
                "Connection refused",
            ]
            .iter()
            .any(|sign| message.contains(sign))
        }
        _ => false,
    }
}

/// Whether an error says that somebody else took the same place in the same moment: nothing was done, and asking again helps.
pub fn is_taken_by_another(error: &StoreError) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    matches!(
        error,
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::SerializationFailure,
            _
        )
    )
}

/// Whether an error says that a partition of the run log or the output is missing: a check violation (SQLSTATE 23514) that
/// names no constraint. The message would say so too, in the server's language.
pub fn is_partition_missing(error: &StoreError) -> bool {
    use diesel::result::{DatabaseErrorKind, Error};
    matches!(error, Error::DatabaseError(DatabaseErrorKind::CheckViolation, information)
        if information.constraint_name().is_none())
}
