//! What a script asks for: the `[tool.dropcron]` table and the two keys of PEP 723, read into types that cannot be wrong.
//!
//! The keys themselves, one by one, are in the table [`KEYS`](super::KEYS). This file has the types, the two ways in, and
//! what only several keys together can get wrong.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use toml::de::DeTable;

use super::block;
use super::document::Document;
use super::expectation::{Expectation, ValueType};
use super::key;
use super::problem::Problem;
use super::reader::Reader;
use super::table;
use crate::schedule::parse_duration;

/// How many inline tables any stack has room for. The TOML parser takes 80 of them inside each other, each with a dotted
/// key of 80 parts, and builds and drops the 6400 levels by recursion: a small file could end the process.
const FEW_TABLES: usize = 10;

/// The stack for documents with more inline tables: several times what 6400 levels were seen to need in an unoptimised
/// build. Only what is touched takes memory.
const DEEP_STACK: usize = 64 * 1024 * 1024;

/// What a script asks for. Every field that the file does not set has the documented default.
///
/// As JSON the durations are numbers of seconds, in keys that end in `_seconds`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Header {
    /// Cron expressions and shorthands; the task is due whenever one of them is. Empty: run by hand only.
    pub schedule: Vec<String>,
    /// The time zone of the schedule by its IANA name; `None` is the scheduler's default.
    pub timezone: Option<String>,
    /// Whether the schedule is in force.
    pub enabled: bool,
    /// How long a run may take from the go; `None` is the scheduler's default.
    #[serde(rename = "timeout_seconds")]
    pub timeout: Option<Timeout>,
    /// Whether and when a run that did not succeed is tried again.
    pub retries: Retries,
    /// What becomes of an instant that is due while a run of the task is active.
    pub overlap: Overlap,
    /// How many runs of the task may be active at a time; more than one with [`Overlap::Parallel`] only.
    pub max_running: u32,
    /// The group of tasks of which one runs at a time.
    pub concurrency_group: Option<String>,
    /// The queue that the task's runs wait in.
    pub queue: String,
    /// The tags that a node must have, all of them, to run the task.
    pub required_tags: Vec<String>,
    /// What becomes of instants for which no node was up.
    pub missed: Missed,
    /// How late a missed or queued instant may still start; `None` is any lateness.
    #[serde(rename = "grace_seconds", serialize_with = "optional_seconds")]
    pub grace: Option<Duration>,
    /// How many missed instants [`Missed::All`] makes up for at most.
    pub catch_up_limit: u32,
    /// The width of the span over which starts are spread; less than a day.
    #[serde(rename = "jitter_seconds", serialize_with = "seconds")]
    pub jitter: Duration,
    /// Names of environment variables that the script sees.
    pub env: Vec<String>,
    /// Names of secrets that the script sees as environment variables; none of them is in `env`.
    pub secrets: Vec<String>,
    /// Keyword arguments of `run()`; date-times are text.
    pub args: Map<String, Value>,
    /// Whether the run log keeps what `run()` returns.
    pub keep_return_value: bool,
    /// What is expected of the numbers that `run()` returns, each series once.
    pub expectations: Vec<Expectation>,
    /// How long what its runs print is kept; `None` is as long as that of all tasks, which this can only shorten.
    #[serde(rename = "keep_output_seconds", serialize_with = "optional_seconds")]
    pub keep_output: Option<Duration>,
    /// The same for its rows of the run log.
    #[serde(rename = "keep_runs_seconds", serialize_with = "optional_seconds")]
    pub keep_runs: Option<Duration>,
    /// What a run may take of the machine.
    pub limits: Limits,
    /// Who is told of its failures, and when.
    pub notify: Notify,
    /// What the task is for, for people.
    pub description: Option<String>,
    /// Who to ask about the task.
    pub owner: Option<String>,
    /// Words by which people find the task.
    pub tags: Vec<String>,
    /// The interpreter to run on, whose packages are somebody else's business; absolute.
    pub python: Option<PathBuf>,
    /// The Python versions that the script works with, as PEP 440 writes them.
    pub requires_python: Option<String>,
    /// The packages that the script needs, as PEP 508 writes them.
    pub dependencies: Vec<String>,
}

impl Header {
    /// What `max_running` may be at most: a claim looks at every slot. A CHECK of `task` says the same.
    pub const MAX_RUNNING: u32 = 1000;

    /// What `catch_up_limit` may be at most: one statement queues so many runs. A CHECK of `task` says the same.
    pub const MAX_CATCH_UP_LIMIT: u32 = 10_000;

    /// What `max` of `retries` may be at most: more is a slip, and fits the number of an attempt. A CHECK of `task` says
    /// the same.
    pub const MAX_RETRIES: u32 = 1000;

    /// What `cpu_seconds` may be at most: a year and more is no limit.
    pub const MAX_CPU_SECONDS: u32 = 366 * 24 * 60 * 60;

    /// What `processes` may be at most: the most that Linux has ids for.
    pub const MAX_PROCESSES: u32 = 4_194_304;

    /// What `open_files` must be at least: an interpreter opens that many by itself.
    pub const LEAST_OPEN_FILES: u32 = 16;

    /// What `open_files` may be at most: the most that Linux grants.
    pub const MAX_OPEN_FILES: u32 = 1_048_576;

    /// What `memory` must be at least, bytes.
    pub const LEAST_MEMORY: u64 = 16 * 1024 * 1024;
    /// What `after` of `notify` may be at most. A CHECK of `task` says the same.
    pub const MAX_NOTIFY_AFTER: u32 = 1000;
}

impl Default for Header {
    fn default() -> Self {
        Self {
            schedule: Vec::new(),
            timezone: None,
            enabled: true,
            timeout: None,
            retries: Retries::default(),
            overlap: Overlap::Skip,
            max_running: 1,
            concurrency_group: None,
            queue: "default".to_owned(),
            required_tags: Vec::new(),
            missed: Missed::Latest,
            grace: None,
            catch_up_limit: 100,
            jitter: Duration::ZERO,
            env: Vec::new(),
            secrets: Vec::new(),
            args: Map::new(),
            keep_return_value: true,
            expectations: Vec::new(),
            keep_output: None,
            keep_runs: None,
            limits: Limits::default(),
            notify: Notify::default(),
            description: None,
            owner: None,
            tags: Vec::new(),
            python: None,
            requires_python: None,
            dependencies: Vec::new(),
        }
    }
}

/// What a run may take of the machine. What is absent has no limit.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// Memory of all its processes together, bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// CPU time of each of its processes, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<u32>,
    /// Processes and threads that it has at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub processes: Option<u32>,
    /// Files that each of its processes has open at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_files: Option<u32>,
    /// Priority, from -20 (first) to 19 (last).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i32>,
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timeout {
    /// As long as it likes: `"none"`.
    Never,
    /// This long, counted from the go; more than zero.
    After(Duration),
}

/// A text that is not a time limit.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TimeoutError {
    /// Neither `none` nor a duration.
    #[error("{0}, or `none` for no limit")]
    Duration(String),
    /// No time at all.
    #[error("`{0}` is no time at all; write `none` for no limit")]
    Zero(String),
}

impl FromStr for Timeout {
    type Err = TimeoutError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "none" {
            return Ok(Self::Never);
        }
        let limit = parse_duration(text).map_err(|error| TimeoutError::Duration(error.to_string()))?;
        match limit.is_zero() {
            true => Err(TimeoutError::Zero(text.to_owned())),
            false => Ok(Self::After(limit)),
        }
    }
}

/// Seconds, or the text `none`.
impl Serialize for Timeout {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("none"),
            Self::After(limit) => seconds(limit, serializer),
        }
    }
}

/// Whether and when a run that did not succeed is tried again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retries {
    /// How many attempts may follow the first.
    pub max: u32,
    /// How long after the end of the first attempt the second is due.
    #[serde(rename = "delay_seconds", serialize_with = "seconds")]
    pub delay: Duration,
    /// By what the delay is multiplied for each further attempt; finite, 1 or more.
    pub backoff: f64,
    /// What the delay never exceeds; at least `delay`.
    #[serde(rename = "cap_seconds", serialize_with = "seconds")]
    pub cap: Duration,
    /// Which ends of a run are tried again.
    pub on: Vec<RetryOn>,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            max: 0,
            delay: Duration::from_secs(30),
            backoff: 2.0,
            cap: Duration::from_secs(60 * 60),
            on: vec![RetryOn::Failed, RetryOn::TimedOut],
        }
    }
}

/// Who is told of a task's failures, and when. What is `None` is the scheduler's default.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub struct Notify {
    /// After how many failures in a row; 1 or more.
    pub after: Option<u32>,
    /// Whether the success that ends them is told too.
    pub recovery: Option<bool>,
    /// The channels by name; empty: nobody.
    pub to: Option<Vec<String>>,
    /// How late a run may start before that is told; more than zero.
    #[serde(rename = "late_after_seconds", serialize_with = "optional_seconds")]
    pub late_after: Option<Duration>,
}

impl Notify {
    /// What is asked for here, and for the rest the default.
    pub fn or(self, default: &Notify) -> Notify {
        Notify {
            after: self.after.or(default.after),
            recovery: self.recovery.or(default.recovery),
            to: self.to.or_else(|| default.to.clone()),
            late_after: self.late_after.or(default.late_after),
        }
    }
}

/// A type whose values are words of the header; the same words stand in the database and in JSON.
pub(super) trait Word: Copy + Sized + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The word.
    fn word(self) -> &'static str;
}

/// A text that is none of the words it could be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not one of {}", in_backticks(words))]
pub struct UnknownWord {
    /// What was given.
    pub text: String,
    /// What would have been understood.
    pub words: Vec<&'static str>,
}

/// The words of a type, in the order of its values.
pub(super) fn words<W: Word>() -> Vec<&'static str> {
    W::ALL.iter().map(|value| value.word()).collect()
}

/// `a`, `b`, `c`, each in backticks.
pub(super) fn in_backticks(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Gives an enum of words its public face: `ALL`, `as_str`, `Display` and `FromStr`.
macro_rules! word {
    ($type:ident { $($value:ident => $word:literal),+ $(,)? }) => {
        impl $type {
            /// Every value, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$value),+];

            /// The word for it in headers, tables and JSON.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $word),+
                }
            }
        }

        impl Word for $type {
            const ALL: &'static [Self] = $type::ALL;

            fn word(self) -> &'static str {
                self.as_str()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let unknown = || UnknownWord { text: text.to_owned(), words: words::<Self>() };
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or_else(unknown)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// An end of a run that may be tried again.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RetryOn {
    /// The script failed.
    Failed,
    /// The run took longer than its timeout.
    TimedOut,
    /// The node or the keeper went away; the script may have done its work.
    Lost,
}

word!(RetryOn { Failed => "failed", TimedOut => "timed_out", Lost => "lost" });

/// What becomes of an instant that is due while a run of the task is active.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Overlap {
    /// It is skipped, and the run log says so.
    Skip,
    /// It waits for the active run to end; one waits at most.
    Queue,
    /// It runs beside the active ones, up to `max_running`.
    Parallel,
    /// The active run is ended in its favour.
    Replace,
}

word!(Overlap { Skip => "skip", Queue => "queue", Parallel => "parallel", Replace => "replace" });

/// What becomes of instants for which no node was up.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Missed {
    /// None of them is made up for.
    Skip,
    /// The latest of them is run.
    Latest,
    /// Each of them is run, one after another, up to `catch_up_limit`.
    All,
}

word!(Missed { Skip => "skip", Latest => "latest", All => "all" });

word!(ValueType { Number => "number", Integer => "integer", Boolean => "boolean" });

/// Whole seconds as an integer, others as a fraction.
pub(super) fn seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    match duration.subsec_nanos() {
        0 => serializer.serialize_u64(duration.as_secs()),
        _ => serializer.serialize_f64(duration.as_secs_f64()),
    }
}

fn optional_seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => seconds(duration, serializer),
        None => serializer.serialize_none(),
    }
}

/// The header of a Python file.
///
/// `Ok(None)` is a file without a `script` block. A block without `[tool.dropcron]` is a header too: it makes a task that
/// is run by hand only, with the dependencies that it names. `Err` has every problem of the header, in the order of the
/// file; where the block or its TOML is broken, the values are not looked at yet.
pub fn parse_header(source: &str) -> Result<Option<Header>, Vec<Problem>> {
    block::find(source)?.map(|document| read(&document)).transpose()
}

/// The header of a compiled file, from its sidecar `<stem>.toml`.
///
/// The sidecar is the very document that a comment block holds, without the comment prefix: `dependencies` and
/// `requires-python` at the top, everything else under `[tool.dropcron]`. A header can so be moved from one to the other
/// as it is. An empty sidecar is a task that is run by hand only.
pub fn parse_sidecar(toml: &str) -> Result<Header, Vec<Problem>> {
    read(&Document::whole(toml))
}

/// Reads a document, on a deep stack of its own where its nesting might need one.
fn read(document: &Document) -> Result<Header, Vec<Problem>> {
    if document.text().matches('{').count() <= FEW_TABLES {
        return read_here(document);
    }
    let outcome = thread::scope(|scope| {
        let reader = thread::Builder::new().stack_size(DEEP_STACK);
        reader.spawn_scoped(scope, || read_here(document)).ok()?.join().ok()
    });
    outcome.unwrap_or_else(|| {
        let message = "the header could not be read for want of a thread; have fewer threads, or fewer inline tables";
        Err(vec![document.problem(&(0..0), message.to_owned())])
    })
}

/// A table with the keys of `notify`, as another file than a script may have it, somewhere in its text.
pub fn read_notify(text: &str, table: &DeTable<'_>) -> Result<Notify, Vec<Problem>> {
    let document = Document::whole(text);
    let mut reader = Reader::new(&document);
    let mut header = Header::default();
    table::read_table(&mut reader, table, &table::NOTIFY, &mut header, &[]);
    reader.finish(header.notify)
}

fn read_here(document: &Document) -> Result<Header, Vec<Problem>> {
    let (table, errors) = DeTable::parse_recoverable(document.text());
    let mut reader = Reader::new(document);
    let mut header = Header::default();
    if errors.is_empty() {
        table::read_document(&mut reader, table.get_ref(), &mut header);
        check_together(&mut reader, &header);
    } else {
        errors.iter().for_each(|error| reader.syntax_error(error));
    }
    reader.finish(header)
}

/// Finds what each key may say for itself, but not beside the others.
fn check_together(reader: &mut Reader<'_>, header: &Header) {
    check_schedule(reader, header);
    check_max_running(reader, header);
    check_retries(reader, header);
    check_secrets(reader, header);
    check_python(reader, header);
}

/// Two places for packages, of which one would be forgotten.
fn check_python(reader: &mut Reader<'_>, header: &Header) {
    if header.python.is_some() && !header.dependencies.is_empty() {
        let message = "`python` names an interpreter whose packages you manage, so `dependencies` would not be installed; \
                       remove one of the two";
        reader.problem_with("python", 0, message.to_owned());
    }
}

/// Each schedule is tried by itself, so that a problem stands at the text that has it.
fn check_schedule(reader: &mut Reader<'_>, header: &Header) {
    let timezone = header.timezone.as_deref().unwrap_or("UTC");
    for (index, text) in header.schedule.iter().enumerate() {
        if let Some(message) = key::schedule_problem(text, timezone) {
            reader.problem_with("schedule", index, format!("`schedule`: {message}"));
        }
    }
}

fn check_max_running(reader: &mut Reader<'_>, header: &Header) {
    let parallel = header.overlap == Overlap::Parallel;
    if header.max_running > 1 && !parallel && !reader.has_failed("overlap") {
        let message = format!(
            "`max_running = {}` needs `overlap = \"parallel\"`, but `overlap` is `{}`",
            header.max_running, header.overlap
        );
        reader.problem_with("max_running", 0, message);
    }
    if header.max_running == 1 && parallel && !reader.has_failed("max_running") {
        let message = "`overlap = \"parallel\"` needs a `max_running` of 2 or more, as in `max_running = 2`";
        reader.problem_with("overlap", 0, message.to_owned());
    }
}

/// A delay that the cap would cut does not do what it says.
fn check_retries(reader: &mut Reader<'_>, header: &Header) {
    let retries = &header.retries;
    if retries.delay > retries.cap {
        let (place, advice) = match reader.has_read("cap") {
            true => ("cap", "`cap` is shorter than `delay`; make it as long or longer"),
            false => (
                "delay",
                "`delay` is longer than `cap`, which is `1h` unless set; set `cap` too, as in `cap = \"6h\"`",
            ),
        };
        reader.problem_with(place, 0, advice.to_owned());
    }
}

fn check_secrets(reader: &mut Reader<'_>, header: &Header) {
    for (index, name) in header.secrets.iter().enumerate() {
        if header.env.contains(name) {
            let message = format!("`{name}` is in `env` and in `secrets`; keep it in one of them");
            reader.problem_with("secrets", index, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::MaxChange;
    use proptest::prelude::*;
    use serde_json::json;

    /// A Python file whose block has these lines.
    fn file(toml: &str) -> String {
        let comment = |line: &str| {
            if line.is_empty() {
                "#\n".to_owned()
            } else {
                format!("# {line}\n")
            }
        };
        let comments: String = toml.split('\n').map(comment).collect();
        format!("#!/usr/bin/env python3\n# /// script\n{comments}# ///\n\ndef run():\n    return 1\n")
    }

    fn read(lines: &str) -> Result<Header, Vec<Problem>> {
        parse_header(&file(&format!("[tool.dropcron]\n{lines}"))).map(Option::unwrap)
    }

    fn header(lines: &str) -> Header {
        read(lines).unwrap()
    }

    fn messages(lines: &str) -> Vec<String> {
        read(lines)
            .unwrap_err()
            .into_iter()
            .map(|problem| problem.message)
            .collect()
    }

    /// The one message that these lines give.
    fn message(lines: &str) -> String {
        let messages = messages(lines);
        assert_eq!(messages.len(), 1, "{lines}: {messages:?}");
        messages.concat()
    }

    #[test]
    fn a_file_without_a_block_has_no_header() {
        assert_eq!(parse_header("def run():\n    pass\n"), Ok(None));
        assert_eq!(parse_header(""), Ok(None));
    }

    #[test]
    fn a_block_without_our_table_is_a_header_that_runs_by_hand_only() {
        let header = parse_header(&file("dependencies = [\"httpx\"]")).unwrap().unwrap();
        assert_eq!(
            header,
            Header {
                dependencies: vec!["httpx".to_owned()],
                ..Header::default()
            }
        );
        assert_eq!(parse_header(&file("[tool.uv]")).unwrap(), Some(Header::default()));
        assert_eq!(parse_header(&file("[tool.dropcron]")).unwrap(), Some(Header::default()));
    }

    /// The header of the documentation, with every key.
    const FULL: &str = r#"requires-python = ">=3.11"
dependencies = ["httpx>=0.27"]

[tool.dropcron]
schedule = ["30 2 * * *", "@every 10m"]
timezone = "Europe/Berlin"
enabled = false
timeout = "5m"
retries = { max = 2, delay = "10s", backoff = 3, cap = "2h", on = ["lost"] }
overlap = "parallel"
max_running = 4
concurrency_group = "db"
queue = "reports"
required_tags = ["gpu"]
missed = "all"
grace = "6h"
catch_up_limit = 24
jitter = "30s"
env = ["HTTP_PROXY"]
secrets = ["PRICE_API_KEY"]
args = { city = "Berlin", since = 2026-01-02, limits = [1, 2.5, { deep = true }] }
keep_return_value = false
value = [{ series = "price", unit = "EUR", min = 0, max = 5000.5, max_change = "30%", stale_after = "26h", type = "number" }, { max_change = 2 }]
keep_output = "7d"
keep_runs = "90d"
memory = "1.5GiB"
cpu_seconds = 600
processes = 50
open_files = 256
nice = -5
notify = { after = 3, recovery = false, to = ["ops"], late_after = "10m" }
description = "Price of a coin"
owner = "data@example.org"
tags = ["prices"]"#;

    fn full() -> Header {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let seconds = Duration::from_secs;
        Header {
            schedule: texts(&["30 2 * * *", "@every 10m"]),
            timezone: Some("Europe/Berlin".to_owned()),
            enabled: false,
            timeout: Some(Timeout::After(seconds(300))),
            retries: Retries {
                max: 2,
                delay: seconds(10),
                backoff: 3.0,
                cap: seconds(7200),
                on: vec![RetryOn::Lost],
            },
            overlap: Overlap::Parallel,
            max_running: 4,
            concurrency_group: Some("db".to_owned()),
            queue: "reports".to_owned(),
            required_tags: texts(&["gpu"]),
            missed: Missed::All,
            grace: Some(seconds(6 * 3600)),
            catch_up_limit: 24,
            jitter: seconds(30),
            env: texts(&["HTTP_PROXY"]),
            secrets: texts(&["PRICE_API_KEY"]),
            args: json!({ "city": "Berlin", "since": "2026-01-02", "limits": [1, 2.5, { "deep": true }] })
                .as_object()
                .unwrap()
                .clone(),
            keep_return_value: false,
            expectations: vec![
                Expectation {
                    series: "price".to_owned(),
                    unit: Some("EUR".to_owned()),
                    min: Some(0.0),
                    max: Some(5000.5),
                    max_change: Some(MaxChange::Percent(30.0)),
                    stale_after: Some(seconds(26 * 3600)),
                    value_type: Some(ValueType::Number),
                },
                Expectation {
                    max_change: Some(MaxChange::By(2.0)),
                    ..Expectation::default()
                },
            ],
            keep_output: Some(seconds(7 * 86_400)),
            keep_runs: Some(seconds(90 * 86_400)),
            limits: Limits {
                memory_bytes: Some(3 << 29),
                cpu_seconds: Some(600),
                processes: Some(50),
                open_files: Some(256),
                nice: Some(-5),
            },
            notify: Notify {
                after: Some(3),
                recovery: Some(false),
                to: Some(texts(&["ops"])),
                late_after: Some(seconds(600)),
            },
            description: Some("Price of a coin".to_owned()),
            owner: Some("data@example.org".to_owned()),
            tags: texts(&["prices"]),
            python: None,
            requires_python: Some(">=3.11".to_owned()),
            dependencies: texts(&["httpx>=0.27"]),
        }
    }

    #[test]
    fn every_key_is_read() {
        assert_eq!(parse_header(&file(FULL)), Ok(Some(full())));
        // `python` stands beside no `dependencies`; it has a test of its own.
        let others = key::KEYS.iter().filter(|key| key.name != "python");
        assert!(
            others
                .into_iter()
                .all(|key| FULL.contains(&format!("\n{} = ", key.name)))
        );
    }

    #[test]
    fn an_interpreter_of_ones_own_comes_without_packages() {
        let header = parse_header(&file("[tool.dropcron]\npython = \"/opt/app/bin/python\""))
            .unwrap()
            .unwrap();
        assert_eq!(header.python, Some(PathBuf::from("/opt/app/bin/python")));
        let both = "dependencies = [\"httpx\"]\n[tool.dropcron]\npython = \"/opt/app/bin/python\"";
        let problem = &parse_header(&file(both)).unwrap_err()[0];
        assert!(problem.message.contains("remove one of the two"), "{problem:?}");
        assert_eq!(problem.line, 5);
        let relative = &parse_header(&file("[tool.dropcron]\npython = \"python3\"")).unwrap_err()[0];
        assert!(relative.message.contains("absolute path"), "{relative:?}");
    }

    #[test]
    fn versions_and_packages_that_are_none_are_refused() {
        let python = &parse_header(&file("requires-python = \"3.11 or so\"")).unwrap_err()[0];
        assert!(python.message.contains("write it as in `>=3.11`"), "{python:?}");
        for text in ["--index-url https://example.org", "httpx\\n-r x"] {
            let package = &parse_header(&file(&format!("dependencies = [\"{text}\"]"))).unwrap_err()[0];
            assert!(package.message.contains("is no package"), "{package:?}");
        }
    }

    #[test]
    fn a_sidecar_is_the_same_document_without_the_comment_prefix() {
        assert_eq!(parse_sidecar(FULL), Ok(full()));
        assert_eq!(
            parse_sidecar(&format!("\u{feff}{}", FULL.replace('\n', "\r\n"))),
            Ok(full())
        );
        assert_eq!(parse_sidecar(""), Ok(Header::default()));
        let problem = &parse_sidecar("# comment\nschedule = \"@daily\"").unwrap_err()[0];
        assert_eq!((problem.line, problem.column), (2, 1));
    }

    #[test]
    fn windows_line_ends_change_neither_header_nor_places() {
        assert_eq!(parse_header(&file(FULL).replace('\n', "\r\n")), Ok(Some(full())));
        let broken = file("[tool.dropcron]\n\nshedule = 1");
        assert_eq!(parse_header(&broken.replace('\n', "\r\n")), parse_header(&broken));
        assert_eq!(
            parse_header(&broken).unwrap_err()[0].to_string(),
            "5:3: unknown key `shedule`, did you mean `schedule`?"
        );
    }

    #[test]
    fn a_header_as_json_has_seconds_and_words() {
        let json = serde_json::to_value(full()).unwrap();
        assert_eq!(json["timeout_seconds"], 300);
        assert_eq!(json["grace_seconds"], 21_600);
        assert_eq!(json["jitter_seconds"], 30);
        assert_eq!(
            json["retries"],
            json!({ "max": 2, "delay_seconds": 10, "backoff": 3.0, "cap_seconds": 7200, "on": ["lost"] })
        );
        assert_eq!(json["overlap"], "parallel");
        let json = serde_json::to_value(header("timeout = \"none\"\njitter = \"1500ms\"")).unwrap();
        assert_eq!(
            (&json["timeout_seconds"], &json["jitter_seconds"]),
            (&json!("none"), &json!(1.5))
        );
        let json = serde_json::to_value(Header::default()).unwrap();
        assert_eq!(
            (&json["timeout_seconds"], &json["grace_seconds"]),
            (&json!(null), &json!(null))
        );
    }

    #[test]
    fn all_problems_are_reported_in_the_order_of_the_file() {
        let problems = read(
            "timeout = 5\nshedule = \"@daily\"\nschedule = \"rubbish\"\noverlap = \"skp\"\nretries = { max = -1, x = 1 }",
        );
        let problems = problems.unwrap_err();
        let lines: Vec<u32> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [4, 5, 6, 7, 8, 8], "{problems:?}");
    }

    #[test]
    fn broken_toml_is_reported_where_it_is_broken() {
        let problems = read("schedule = \"@daily\ntimeout = \"5m\"").unwrap_err();
        assert!(
            problems
                .iter()
                .all(|problem| problem.message.starts_with("this is not valid TOML: ")),
            "{problems:?}"
        );
        assert_eq!(problems[0].line, 4);
        assert_eq!(read("schedule = */5 * * * *").unwrap_err()[0].line, 4);
        assert_eq!(read("enabled = true\nenabled = true").unwrap_err()[0].line, 5);
        let problems = parse_sidecar("\n\nx = = 1").unwrap_err();
        assert_eq!(problems[0].line, 3);
    }

    #[test]
    fn comments_that_swallow_the_end_of_a_block_are_named() {
        let source = "# /// script\n# [tool.dropcron]\n# ///\n# a comment\n# /// other\n# x = 1\n# ///\n";
        let problems = parse_header(source).unwrap_err();
        assert_eq!(problems[0].line, 3);
        assert!(
            problems[0].message.starts_with("the block goes on past this line"),
            "{problems:?}"
        );
    }

    #[test]
    fn one_schedule_or_a_list_of_them() {
        assert_eq!(header("schedule = \"@daily\"").schedule, ["@daily"]);
        assert_eq!(header("schedule = [\"@daily\", \"0 12 * * *\"]").schedule.len(), 2);
        assert_eq!(
            header("jitter = \"5m\"\nschedule = \"@at 2027-01-01T09:00\"").schedule,
            ["@at 2027-01-01T09:00"]
        );
        assert!(message("schedule = []").contains("leave the key out"));
        assert!(message("schedule = \"\"").contains("is empty"));
        assert!(message("schedule = [\"@daily\", \"@daily\"]").contains("twice"));
        assert!(message("schedule = [\"@daily\", 5]").starts_with("each of `schedule` must be a text in quotes"));
        assert!(message("schedule = \"61 * * * *\"").starts_with("`schedule`: "));
        assert_eq!(messages("schedule = [\"a\", \"b\"]").len(), 2);
    }

    #[test]
    fn an_unknown_zone_is_reported_once() {
        assert!(
            message("timezone = \"Europe/Berln\"\nschedule = [\"@daily\", \"@hourly\"]").starts_with("`timezone`: ")
        );
        assert!(message("timezone = \"\"").contains("is empty"));
    }

    #[test]
    fn durations_have_a_unit_and_a_sense() {
        assert_eq!(header("timeout = \"none\"").timeout, Some(Timeout::Never));
        assert_eq!(header("jitter = \"0s\"").jitter, Duration::ZERO);
        assert_eq!(
            message("timeout = 300"),
            "`timeout` is a duration and needs a unit and quotes, found 300; for seconds write `timeout = \"300s\"`"
        );
        assert!(message("timeout = \"300\"").starts_with("`timeout`: `300` "));
        assert!(message("timeout = \"0s\"").ends_with("write `none` for no limit"));
        assert!(message("timeout = -5").contains("found the number `-5`"));
        assert!(message("grace = \"0s\"").starts_with("`grace` must be longer than zero"));
        assert!(message("grace = \"none\"").starts_with("`grace`: "));
        assert!(message("keep_runs = \"0d\"").starts_with("`keep_runs` must be longer than zero"));
        assert!(message("keep_output = \"forever\"").starts_with("`keep_output`: "));
        assert!(message("jitter = \"24h\"").starts_with("`jitter` must be shorter than a day"));
        assert!(message("retries = { max = 1, delay = \"soon\" }").starts_with("`delay`: "));
        assert!(message("timeout = \"\"").starts_with("`timeout` must be a duration with a unit"));
    }

    #[test]
    fn a_value_is_a_table_or_a_list_of_tables_each_of_another_series() {
        let price = Expectation {
            series: "price".to_owned(),
            max: Some(5.0),
            ..Expectation::default()
        };
        assert_eq!(header("value = { series = \"price\", max = 5 }").expectations, [price]);
        assert_eq!(header("value = {}").expectations, [Expectation::default()]);
        assert_eq!(header("value.max = 5").expectations.len(), 1);
        assert_eq!(header("value = []").expectations, []);
        assert_eq!(
            header("value = [{ series = \"a\" }, { max = 1 }]").expectations.len(),
            2
        );
        assert!(message("value = [{}, { max = 1 }]").contains("names the series `value` twice"));
        assert!(message("value = { min = 1, max = 0 }").contains("`min` is above `max`"));
        assert!(message("value = { stale_after = \"0s\" }").contains("must be longer than zero"));
        assert_eq!(messages("value = [1, { min = \"x\" }]").len(), 2);
    }

    #[test]
    fn retries_are_a_number_or_a_table_with_max() {
        assert_eq!(
            header("retries = 2").retries,
            Retries {
                max: 2,
                ..Retries::default()
            }
        );
        assert_eq!(header("retries = { max = 0 }").retries, Retries::default());
        assert_eq!(header("retries.max = 3").retries.max, 3);
        assert_eq!(header("retries = { max = 1, backoff = 1 }").retries.backoff, 1.0);
        assert!(message("retries = { delay = \"1m\" }").contains("needs `max`"));
        for wrong in [
            "-1",
            "1.5",
            "\"2\"",
            "true",
            "1001",
            "9999999999",
            "99999999999999999999999",
        ] {
            assert!(!messages(&format!("retries = {wrong}")).is_empty());
            assert!(message(&format!("retries = {{ max = {wrong} }}")).contains("a whole number from 0 to 1000"));
        }
        for wrong in ["0.5", "nan", "inf", "-inf", "-2", "\"2\"", "1e999"] {
            assert!(message(&format!("retries = {{ max = 1, backoff = {wrong} }}")).contains("a number of 1 or more"));
        }
        assert!(message("retries = { max = 1, on = [] }").contains("empty list"));
        assert!(message("retries = { max = 1, on = [\"failed\", \"failed\"] }").contains("twice"));
        assert!(message("retries = { max = 1, on = [\"timeout\"] }").contains("`failed`, `timed_out`, `lost`"));
    }

    #[test]
    fn a_cap_below_the_delay_is_a_contradiction() {
        assert!(message("retries = { max = 1, delay = \"2h\" }").starts_with("`delay` is longer than `cap`"));
        assert!(message("retries = { max = 1, delay = \"2m\", cap = \"1m\" }").starts_with("`cap` is shorter"));
        assert_eq!(
            header("retries = { max = 1, delay = \"2h\", cap = \"2h\" }")
                .retries
                .max,
            1
        );
    }

    #[test]
    fn max_running_and_parallel_need_each_other() {
        assert_eq!(header("overlap = \"parallel\"\nmax_running = 2").max_running, 2);
        assert_eq!(header("max_running = 1").max_running, 1);
        assert_eq!(
            message("max_running = 2"),
            "`max_running = 2` needs `overlap = \"parallel\"`, but `overlap` is `skip`"
        );
        assert!(message("max_running = 2\noverlap = \"queue\"").ends_with("but `overlap` is `queue`"));
        assert!(message("overlap = \"parallel\"").contains("needs a `max_running` of 2 or more"));
        assert!(message("overlap = \"parallel\"\nmax_running = 0").contains("from 1 to 1000,"));
        assert!(message("overlap = \"parallel\"\nmax_running = 1001").contains("from 1 to 1000,"));
        assert!(message("overlap = \"paralel\"\nmax_running = 2").contains("did you mean `parallel`?"));
    }

    #[test]
    fn words_are_known_or_suggested() {
        assert_eq!(
            message("overlap = \"skp\""),
            "`overlap` does not know `skp`, did you mean `skip`? It takes one of `skip`, `queue`, `parallel`, `replace`"
        );
        assert_eq!(
            message("missed = \"none\""),
            "`missed` does not know `none`. It takes one of `skip`, `latest`, `all`"
        );
        assert_eq!("queue".parse(), Ok(Overlap::Queue));
        assert_eq!(
            "never".parse::<Missed>().unwrap_err().to_string(),
            "`never` is not one of `skip`, `latest`, `all`"
        );
    }

    #[test]
    fn limits_are_at_least_one() {
        assert!(message("catch_up_limit = 0").contains("from 1 to 10000,"));
        assert!(message("catch_up_limit = 10001").contains("from 1 to 10000,"));
        assert_eq!(
            header("missed = \"skip\"\ngrace = \"1h\"\ncatch_up_limit = 5").catch_up_limit,
            5
        );
    }

    #[test]
    fn variables_have_names_that_are_not_ours() {
        assert_eq!(header("env = [\"_A\", \"b2\"]").env, ["_A", "b2"]);
        for wrong in ["", "2A", "A-B", "A=B", "Ä", "A B", "A\\u0000"] {
            assert!(!messages(&format!("env = [\"{wrong}\"]")).is_empty(), "{wrong}");
            assert!(!messages(&format!("secrets = [\"{wrong}\"]")).is_empty(), "{wrong}");
        }
        assert!(message("env = [\"DROPCRON_X\"]").contains("dropcron's own"));
        assert!(message("secrets = [\"dropcron_x\"]").contains("dropcron's own"));
        assert!(message("env = [\"A\", \"A\"]").contains("twice"));
        assert!(message("env = \"A\"").starts_with("`env` must be a list"));
        let problems = read("env = [\"A\"]\nsecrets = [\"B\", \"A\"]").unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "5:19: `A` is in `env` and in `secrets`; keep it in one of them"
        );
    }

    #[test]
    fn args_become_json_or_a_problem() {
        let args = |toml: &str| Value::Object(header(&format!("args = {toml}")).args);
        assert_eq!(
            args("{ t = 07:32:00, d = 1979-05-27T07:32:00Z }"),
            json!({ "t": "07:32:00", "d": "1979-05-27T07:32:00Z" })
        );
        assert_eq!(
            args("{ n = 0xff, m = -9223372036854775808, f = 1e3 }"),
            json!({ "n": 255, "m": i64::MIN, "f": 1000.0 })
        );
        assert_eq!(args("{ a.b = [[], {}] }"), json!({ "a": { "b": [[], {}] } }));
        assert!(message("args = { a = [nan] }").contains("finite numbers"));
        assert!(message("args = { a = 9223372036854775808 }").contains("at most 64 bits"));
        assert!(message("args = { a = \"x\\u0000\" }").contains("NUL"));
        assert!(message("args = { \"a\\u0000\" = 1 }").contains("NUL"));
    }

    #[test]
    fn args_are_nested_within_reason() {
        let nested = |levels| format!("args = {{ {}a = 1 }}", "a.".repeat(levels));
        assert_eq!(header(&nested(63)).args.len(), 1);
        assert!(message(&nested(64)).contains("nested more than 64 deep"));
        let dotted = format!("{{ {}a = ", "a.".repeat(70)).repeat(79);
        assert!(message(&format!("args = {dotted}1{}", " }".repeat(79))).contains("nested more than 64 deep"));
    }

    #[test]
    fn texts_say_something_that_can_be_stored() {
        assert_eq!(
            header("description = \"\"\"\ntwo\nlines\"\"\"").description.as_deref(),
            Some("two\nlines")
        );
        for key in ["description", "owner", "queue", "concurrency_group", "timezone"] {
            assert!(message(&format!("{key} = \" \"")).contains("is empty"));
            assert!(message(&format!("{key} = \"a\\u0000\"")).contains("NUL"));
        }
        for wrong in ["\" a\"", "\"a\\nb\"", &format!("\"{}\"", "x".repeat(201))] {
            assert!(message(&format!("queue = {wrong}")).contains("one line of at most 200 characters"));
            assert!(message(&format!("tags = [{wrong}]")).contains("one line of at most 200 characters"));
        }
        assert!(message("tags = [\"a\", \"a\"]").contains("twice"));
    }

    #[test]
    fn notify_is_a_table_or_its_channels() {
        assert_eq!(header("notify = [\"ops\"]").notify.to, Some(vec!["ops".to_owned()]));
        assert_eq!(header("notify = []").notify.to, Some(Vec::new()));
        assert_eq!(header("notify = { after = 2 }").notify.to, None);
        assert!(message("notify = \"ops\"").starts_with("`notify` must be a table or a list of channels"));
        assert!(message("notify = { after = 0 }").contains("a whole number from 1 to 1000"));
        assert!(message("notify = { late_after = \"0s\" }").contains("longer than zero"));
        assert!(message("notify = { late_after = \"10\" }").contains("has no unit"));
        assert!(message("late_after = \"10m\"").starts_with("`late_after` belongs in `notify`"));
        assert!(message("notify = { on_failure = 2 }").ends_with("write `after = 1`"));
        assert!(message("on_failure = \"me\"").contains("`notify = { to = [\"ops\"] }`"));
    }

    #[test]
    fn what_notify_leaves_out_is_the_default() {
        let default = Notify {
            after: Some(3),
            to: Some(vec!["ops".to_owned()]),
            ..Notify::default()
        };
        let asked = header("notify = { to = [], recovery = false }").notify.or(&default);
        assert_eq!(
            (asked.after, asked.recovery, asked.to),
            (Some(3), Some(false), Some(Vec::new()))
        );
        assert_eq!(Notify::default().or(&default), default);
    }

    #[test]
    fn dependencies_may_stand_twice() {
        let header = parse_sidecar("dependencies = [\"a\", \"a\"]").unwrap();
        assert_eq!(header.dependencies, ["a", "a"]);
    }

    #[test]
    fn a_limit_that_no_interpreter_fits_in_is_refused() {
        assert_eq!(header("memory = \"16MiB\"").limits.memory_bytes, Some(16 << 20));
        for (line, part) in [
            ("memory = \"15MiB\"", "at least 16MiB"),
            ("memory = \"512\"", "no unit"),
            ("memory = \"-1GiB\"", "negative"),
            ("memory = 512", "a text in quotes"),
            ("cpu_seconds = 0", "a whole number from 1"),
            ("cpu_seconds = \"5m\"", "a whole number from 1"),
            ("processes = -3", "a whole number from 1"),
            ("open_files = 3", "a whole number from 16"),
            ("nice = 20", "a whole number from -20 to 19"),
            ("memory_limit = \"1GiB\"", "write `memory = \"512MiB\"`"),
            ("priority = 3", "write `nice = 10`"),
        ] {
            assert!(message(line).contains(part), "{line}: {}", message(line));
        }
    }

    #[test]
    fn time_limits_are_read_from_text_anywhere() {
        assert_eq!("5m".parse(), Ok(Timeout::After(Duration::from_secs(300))));
        assert_eq!("none".parse(), Ok(Timeout::Never));
        assert_eq!("0s".parse::<Timeout>(), Err(TimeoutError::Zero("0s".to_owned())));
    }

    fn list(items: Vec<String>) -> Vec<String> {
        let mut distinct: Vec<String> = Vec::new();
        for item in items {
            if !distinct.contains(&item) {
                distinct.push(item);
            }
        }
        distinct
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[a-zA-Zäß日#'\"\\\\/.]([a-z #'\"\\\\/.]{0,8}[a-z])?"
    }

    fn any_duration() -> impl Strategy<Value = Duration> {
        (1..80_000_u64).prop_map(Duration::from_secs)
    }

    fn any_retries() -> impl Strategy<Value = Retries> {
        let on = proptest::sample::subsequence(RetryOn::ALL.to_vec(), 1..=3);
        (0..9_u32, any_duration(), any_duration(), 1.0..99.0_f64, on).prop_map(|(max, one, other, backoff, on)| {
            Retries {
                max,
                delay: one.min(other),
                backoff,
                cap: one.max(other),
                on,
            }
        })
    }

    fn any_limits() -> impl Strategy<Value = Limits> {
        let maybe = |most: u32| proptest::option::of(16..most);
        (
            proptest::option::of(Header::LEAST_MEMORY..1 << 40),
            maybe(9999),
            maybe(9999),
            maybe(9999),
            proptest::option::of(-20..=19_i32),
        )
            .prop_map(|(memory_bytes, cpu_seconds, processes, open_files, nice)| Limits {
                memory_bytes,
                cpu_seconds,
                processes,
                open_files,
                nice,
            })
    }

    fn any_expectations() -> impl Strategy<Value = Vec<Expectation>> {
        let change = proptest::option::of(prop_oneof![
            (0.1..99.0_f64).prop_map(MaxChange::By),
            (0.1..99.0_f64).prop_map(MaxChange::Percent),
        ]);
        let expectation = (
            any_name(),
            proptest::option::of(any_name()),
            proptest::option::of((-9e9..0.0_f64, 0.0..9e9_f64)),
            change,
            proptest::option::of(any_duration()),
            proptest::option::of(proptest::sample::select(ValueType::ALL.to_vec())),
        )
            .prop_map(
                |(series, unit, bounds, max_change, stale_after, value_type)| Expectation {
                    series,
                    unit,
                    value_type,
                    min: bounds.map(|(min, _)| min),
                    max: bounds.map(|(_, max)| max),
                    max_change,
                    stale_after,
                },
            );
        proptest::collection::vec(expectation, 0..3).prop_map(|mut expectations| {
            expectations.dedup_by(|one, other| one.series == other.series);
            expectations
        })
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            "[^\u{0}]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("[^\u{0}]{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn any_notify() -> impl Strategy<Value = Notify> {
        let to = proptest::option::of(proptest::collection::vec(any_name(), 0..3).prop_map(list));
        let after = proptest::option::of(1..=Header::MAX_NOTIFY_AFTER);
        let recovery = proptest::option::of(any::<bool>());
        (after, recovery, to, proptest::option::of(any_duration())).prop_map(|(after, recovery, to, late_after)| {
            Notify {
                after,
                recovery,
                to,
                late_after,
            }
        })
    }

    prop_compose! {
        fn any_header()(
            schedule in proptest::sample::subsequence(vec!["30 2 * * *", "@daily", "@every 10m"], 0..=3),
            timezone in proptest::option::of(proptest::sample::select(vec!["UTC", "Europe/Berlin"])),
            timeout in proptest::option::of(prop_oneof![Just(Timeout::Never), any_duration().prop_map(Timeout::After)]),
            retries in any_retries(),
            (overlap, max_running) in prop_oneof![
                proptest::sample::select(vec![Overlap::Skip, Overlap::Queue, Overlap::Replace]).prop_map(|it| (it, 1)),
                (2..100_u32).prop_map(|max| (Overlap::Parallel, max)),
            ],
            (concurrency_group, queue) in (proptest::option::of(any_name()), any_name()),
            (required_tags, tags) in (
                proptest::collection::vec(any_name(), 0..3).prop_map(list),
                proptest::collection::vec(any_name(), 0..3).prop_map(list),
            ),
            missed in proptest::sample::select(Missed::ALL.to_vec()),
            (grace, jitter) in (proptest::option::of(any_duration()), any_duration()),
            (keep_output, keep_runs) in (proptest::option::of(any_duration()), proptest::option::of(any_duration())),
            catch_up_limit in 1..=10_000_u32,
            (enabled, keep_return_value) in any::<(bool, bool)>(),
            (limits, expectations) in (any_limits(), any_expectations()),
            (env, secrets) in (
                proptest::collection::vec("E[A-Z0-9_]{0,4}", 0..3).prop_map(list),
                proptest::collection::vec("S[a-z0-9_]{0,4}", 0..3).prop_map(list),
            ),
            args in proptest::collection::hash_map("[^\u{0}]{1,5}", any_value(), 0..4),
            notify in any_notify(),
            (description, owner) in (proptest::option::of("[^\u{0}]{0,9}[a-z]"), proptest::option::of(any_name())),
            (requires_python, (python, dependencies)) in (
                proptest::option::of(prop_oneof![Just(">=3.11"), Just("==3.12.*"), Just(">=3.9, <4")]),
                prop_oneof![
                    proptest::option::of("/[^\u{0}]{0,5}").prop_map(|path| (path.map(PathBuf::from), Vec::new())),
                    proptest::collection::vec("[a-z][a-z0-9>=. ]{0,5}[a-z0-9]", 0..3).prop_map(|list| (None, list)),
                ],
            ),
        ) -> Header {
            Header {
                schedule: schedule.into_iter().map(str::to_owned).collect(),
                timezone: timezone.map(str::to_owned),
                enabled, timeout, retries, overlap, max_running, concurrency_group, queue, required_tags, missed, grace,
                catch_up_limit, jitter, env, secrets,
                args: args.into_iter().collect(),
                keep_return_value, expectations, keep_output, keep_runs, limits, notify, description, owner, tags, python, requires_python: requires_python.map(str::to_owned), dependencies,
            }
        }
    }

    /// A TOML value as a header would have it.
    fn toml(value: &Value) -> String {
        match value {
            Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
            Value::Object(map) => {
                let pairs: Vec<String> = map
                    .iter()
                    .map(|(name, value)| format!("{} = {}", quoted(name), toml(value)))
                    .collect();
                format!("{{ {} }}", pairs.join(", "))
            }
            Value::String(text) => quoted(text),
            other => other.to_string(),
        }
    }

    fn quoted(text: &str) -> String {
        let escaped: String = text
            .chars()
            .map(|character| format!("\\U{:08X}", u32::from(character)))
            .collect();
        format!("\"{escaped}\"")
    }

    /// An expectation as a header would have it.
    fn written_expectation(expectation: &Expectation) -> Value {
        let mut json = json!(expectation);
        let fields = json.as_object_mut().unwrap();
        if let Some(seconds) = fields.remove("stale_after_seconds") {
            fields.insert("stale_after".to_owned(), json!(format!("{seconds}s")));
        }
        json
    }

    /// The document that asks for a header, all keys written out.
    fn written(header: &Header) -> String {
        let duration = |duration: &Duration| json!(format!("{}s", duration.as_secs()));
        let timeout = header.timeout.map(|timeout| match timeout {
            Timeout::Never => json!("none"),
            Timeout::After(limit) => duration(&limit),
        });
        let schedule = (!header.schedule.is_empty()).then(|| json!(header.schedule));
        let retries = &header.retries;
        let keys = [
            ("schedule", schedule),
            ("timezone", header.timezone.as_ref().map(|it| json!(it))),
            ("enabled", Some(json!(header.enabled))),
            ("timeout", timeout),
            ("overlap", Some(json!(header.overlap))),
            ("max_running", Some(json!(header.max_running))),
            (
                "concurrency_group",
                header.concurrency_group.as_ref().map(|it| json!(it)),
            ),
            ("queue", Some(json!(header.queue))),
            ("required_tags", Some(json!(header.required_tags))),
            ("missed", Some(json!(header.missed))),
            ("grace", header.grace.as_ref().map(duration)),
            ("catch_up_limit", Some(json!(header.catch_up_limit))),
            ("jitter", Some(duration(&header.jitter))),
            ("env", Some(json!(header.env))),
            ("secrets", Some(json!(header.secrets))),
            ("args", Some(Value::Object(header.args.clone()))),
            ("keep_return_value", Some(json!(header.keep_return_value))),
            ("keep_output", header.keep_output.as_ref().map(duration)),
            ("keep_runs", header.keep_runs.as_ref().map(duration)),
            (
                "value",
                Some(Value::Array(
                    header.expectations.iter().map(written_expectation).collect(),
                )),
            ),
            (
                "memory",
                header.limits.memory_bytes.map(|bytes| json!(format!("{bytes}B"))),
            ),
            ("cpu_seconds", header.limits.cpu_seconds.map(|it| json!(it))),
            ("processes", header.limits.processes.map(|it| json!(it))),
            ("open_files", header.limits.open_files.map(|it| json!(it))),
            ("nice", header.limits.nice.map(|it| json!(it))),
            ("description", header.description.as_ref().map(|it| json!(it))),
            ("owner", header.owner.as_ref().map(|it| json!(it))),
            ("tags", Some(json!(header.tags))),
            ("python", header.python.as_ref().map(|it| json!(it))),
            (
                "retries",
                Some(json!({
                    "max": retries.max, "delay": duration(&retries.delay), "backoff": retries.backoff,
                    "cap": duration(&retries.cap), "on": retries.on,
                })),
            ),
        ];
        let notify = &header.notify;
        let notify = [
            ("after", notify.after.map(|it| json!(it))),
            ("recovery", notify.recovery.map(|it| json!(it))),
            ("to", notify.to.as_ref().map(|it| json!(it))),
            ("late_after", notify.late_after.as_ref().map(duration)),
        ];
        let notify: Map<String, Value> = notify
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect();
        let notify = (!notify.is_empty()).then_some(Value::Object(notify));
        let lines: String = keys
            .iter()
            .chain(&[("notify", notify)])
            .filter_map(|(name, value)| Some(format!("{name} = {}\n", toml(value.as_ref()?))))
            .collect();
        let python = header
            .requires_python
            .as_ref()
            .map(|it| format!("requires-python = {}\n", quoted(it)));
        let dependencies = toml(&json!(header.dependencies));
        format!(
            "{}dependencies = {dependencies}\n\n[tool.dropcron]\n{lines}",
            python.unwrap_or_default()
        )
    }

    /// Text that is likely to be nearly a header.
    fn any_near_header() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            proptest::sample::select(vec![
                "# /// script\n",
                "# ///\n",
                "# ",
                "#",
                "\n",
                "\r\n",
                "\r",
                "\t",
                " ",
                "[tool.dropcron]",
                "[tool]",
                "[[",
                "schedule = ",
                "retries = ",
                "max = ",
                "args",
                " = ",
                "{",
                "}",
                "[",
                "]",
                ",",
                "\"",
                "'''",
                "\"\"\"",
                "1",
                "\"5m\"",
                "nan",
                ".",
                "\u{feff}",
                "é",
                "日",
                "\u{0}",
                "\u{2028}",
                "timeout",
                "tool",
                "dependencies",
                "-",
                "\\u0000",
            ])
            .prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    /// Whether each problem points at a character of the source, or right after the last one of a line.
    fn assert_inside(source: &str, problems: &[Problem]) {
        let lines = crate::script::document::lines(source);
        for problem in problems {
            let line = lines.get(problem.line as usize - 1).expect("the line is in the file");
            assert!(
                (1..=line.chars().count() + 1).contains(&(problem.column as usize)),
                "{problem} in {source:?}"
            );
            assert!(!problem.message.is_empty());
        }
    }

    fn check_any(source: &str) {
        if let Err(problems) = parse_header(source) {
            assert_inside(source, &problems);
        }
        if let Err(problems) = parse_sidecar(source) {
            assert_inside(source, &problems);
        }
    }

    proptest! {
        #[test]
        fn a_header_survives_being_written_and_read(header in any_header()) {
            let toml = written(&header);
            prop_assert_eq!(parse_sidecar(&toml), Ok(header.clone()));
            prop_assert_eq!(parse_header(&file(toml.trim_end())), Ok(Some(header)));
        }

        #[test]
        fn any_text_is_read_without_panic_and_problems_stand_inside_it(source in any::<String>()) {
            check_any(&source);
        }

        #[test]
        fn any_text_in_a_block_is_read_without_panic(text in any_near_header()) {
            check_any(&text);
            check_any(&format!("[tool.dropcron]\n{text}"));
            let lines = crate::script::document::lines(&text).join("\n");
            check_any(&file(&lines));
            check_any(&file(&format!("[tool.dropcron]\n{lines}")));
        }

        #[test]
        fn a_damaged_header_is_read_without_panic(header in any_header(), at in 0..4000_usize, character in any::<char>()) {
            let mut source: Vec<char> = file(&written(&header)).chars().collect();
            let index = at % source.len();
            source[index] = character;
            check_any(&source.into_iter().collect::<String>());
        }
    }
}
