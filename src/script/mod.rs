//! A file on disk: whether it is a script, the name of its task, its header, and the hash that identifies its version.
//!
//! This module reads text that it is given; it opens no file, and knows neither the clock nor the database. It stands at the
//! start of the flow: the syncer finds a file, [`TaskName::from_path`] says which task it is, [`parse_header`] (or, for
//! compiled files, [`parse_sidecar`]) says what the task asks for, and [`ContentHash::of`] says which version that was.
//!
//! A header is read strictly: an unknown key, a bad value or a broken block is a [`Problem`] with a line and a column, and all
//! problems of a file are reported at once. Nothing is guessed, and nothing falls back to a default in silence.
//!
//! A new header key is one field of [`Header`] and one entry in [`KEYS`].

mod problem;

mod name;

mod hash;

mod document;

mod block;

mod reader;

mod key;

mod table;

mod expectation;

mod header;

pub use expectation::{Expectation, MaxChange, PercentageError, ValueType};
pub use hash::{ContentHash, ContentHashError};
pub use header::{
    Header, Limits, Missed, Notify, Overlap, Retries, RetryOn, Timeout, TimeoutError, UnknownWord, parse_header,
    parse_sidecar, read_notify,
};
pub use key::{BLOCK_KEYS, KEYS, Key, NOTIFY_KEYS, RETRIES_KEYS, VALUE_KEYS, parse_requires_python};
pub use name::{MAX_NAME_CHARACTERS, NameProblem, ScriptKind, TaskName, is_deceptive, sidecar_of};
pub use problem::Problem;
pub use table::nearest;
