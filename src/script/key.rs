//! The keys of a header: the one table that the parser, its suggestions, the documentation's tests and `--help` share.
//!
//! To add a key, add a field to [`Header`] and an entry here: its name, its default in words, an example, its meaning in
//! one line, and how it is read. Everything else follows from the entry.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use pep440_rs::VersionSpecifiers;
use toml::de::{DeTable, DeValue};

use super::expectation::{Expectation, MaxChange, ValueType};
use super::header::{Header, RetryOn, Timeout};
use super::reader::{Reader, Setting, shorten};
use super::table::{NOTIFY, RETRIES, VALUE, read_table};
use crate::schedule::Schedule;
use crate::size::parse_size;

/// One key that a header may have.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The key as it is written.
    pub name: &'static str,
    /// What holds where the key is absent, in words.
    pub default: &'static str,
    /// A value as TOML: `name = example` is a valid line.
    pub example: &'static str,
    /// What the key is for, in one line.
    pub meaning: &'static str,
    /// Reads the value into the header, or notes what is wrong with it.
    pub(super) read: Read,
}

/// A jitter is less than this: starts that are spread over more belong to another schedule.
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) type Read = fn(&mut Reader<'_>, Setting<'_>, &mut Header);

/// The keys of `[tool.dropcron]`, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key {
        name: "schedule",
        default: "none: run by hand only",
        example: r#""30 2 * * *""#,
        meaning: "when it runs: a cron expression of 5 or 6 fields, `@daily` and its like, `@every 10m`, `@at 2027-01-01T09:00`, or a list of them",
        read: |reader, setting, header| set(&mut header.schedule, schedule(reader, setting)),
    },
    Key {
        name: "timezone",
        default: "`DROPCRON_TIMEZONE`, else UTC",
        example: r#""Europe/Berlin""#,
        meaning: "the time zone in which the schedule is meant",
        read: |reader, setting, header| set_some(&mut header.timezone, timezone(reader, setting)),
    },
    Key {
        name: "enabled",
        default: "true",
        example: "false",
        meaning: "whether the schedule is in force",
        read: |reader, setting, header| set(&mut header.enabled, reader.flag(setting)),
    },
    Key {
        name: "timeout",
        default: "24h, unless the scheduler is set otherwise",
        example: r#""5m""#,
        meaning: "how long a run may take, counted from its go; `none` for no limit",
        read: |reader, setting, header| set_some(&mut header.timeout, timeout(reader, setting)),
    },
    Key {
        name: "retries",
        default: "0",
        example: r#"{ max = 2, delay = "30s", backoff = 2.0 }"#,
        meaning: "how often and when a run that did not succeed is tried again; a plain number is its `max`",
        read: read_retries,
    },
    Key {
        name: "overlap",
        default: "skip",
        example: r#""queue""#,
        meaning: "what becomes of an instant that is due while a run is active: `skip`, `queue`, `parallel` or `replace`",
        read: |reader, setting, header| set(&mut header.overlap, reader.word(setting)),
    },
    Key {
        name: "max_running",
        default: "1",
        example: "1",
        meaning: "how many runs may be active at a time, at most 1000; more than 1 needs `overlap = \"parallel\"`",
        read: |reader, setting, header| set(&mut header.max_running, reader.whole(setting, 1..=Header::MAX_RUNNING)),
    },
    Key {
        name: "concurrency_group",
        default: "none",
        example: r#""db""#,
        meaning: "the group of tasks of which one runs at a time",
        read: |reader, setting, header| set_some(&mut header.concurrency_group, owned(reader.name(setting))),
    },
    Key {
        name: "queue",
        default: "default",
        example: r#""reports""#,
        meaning: "the queue that its runs wait in; nodes choose the queues that they serve",
        read: |reader, setting, header| set(&mut header.queue, owned(reader.name(setting))),
    },
    Key {
        name: "required_tags",
        default: "none: any node",
        example: r#"["gpu"]"#,
        meaning: "the tags that a node must have to run it",
        read: |reader, setting, header| set(&mut header.required_tags, names(reader, setting)),
    },
    Key {
        name: "missed",
        default: "latest",
        example: r#""all""#,
        meaning: "what becomes of instants for which no node was up: `skip`, `latest` or `all`",
        read: |reader, setting, header| set(&mut header.missed, reader.word(setting)),
    },
    Key {
        name: "grace",
        default: "none: any lateness",
        example: r#""6h""#,
        meaning: "how late a missed or queued instant may still start",
        read: |reader, setting, header| set_some(&mut header.grace, reader.some_time(setting)),
    },
    Key {
        name: "catch_up_limit",
        default: "100",
        example: "24",
        meaning: "how many missed instants `missed = \"all\"` makes up for at most; up to 10000",
        read: |reader, setting, header| {
            set(
                &mut header.catch_up_limit,
                reader.whole(setting, 1..=Header::MAX_CATCH_UP_LIMIT),
            )
        },
    },
    Key {
        name: "jitter",
        default: "0s",
        example: r#""30s""#,
        meaning: "the span over which starts are spread, by a hash of the task's name; less than a day",
        read: |reader, setting, header| set(&mut header.jitter, jitter(reader, setting)),
    },
    Key {
        name: "env",
        default: "none",
        example: r#"["HTTP_PROXY"]"#,
        meaning: "environment variables of the scheduler that the script sees, by name",
        read: |reader, setting, header| set(&mut header.env, variables(reader, setting)),
    },
    Key {
        name: "secrets",
        default: "none",
        example: r#"["PRICE_API_KEY"]"#,
        meaning: "secrets that the script sees as environment variables; their values come from files and are masked in output",
        read: |reader, setting, header| set(&mut header.secrets, variables(reader, setting)),
    },
    Key {
        name: "args",
        default: "none",
        example: r#"{ city = "Berlin" }"#,
        meaning: "keyword arguments of `run()`",
        read: |reader, setting, header| set(&mut header.args, reader.object(setting)),
    },
    Key {
        name: "keep_return_value",
        default: "true",
        example: "false",
        meaning: "whether the run log keeps what `run()` returns",
        read: |reader, setting, header| set(&mut header.keep_return_value, reader.flag(setting)),
    },
    Key {
        name: "value",
        default: "none: its series get hints",
        example: r#"{ series = "price", unit = "EUR", min = 0, max = 5000 }"#,
        meaning: "what is expected of a number that it returns, or a list of such tables; a number that breaks it is marked",
        read: read_value,
    },
    Key {
        name: "keep_output",
        default: "`DROPCRON_KEEP_OUTPUT`",
        example: r#""7d""#,
        meaning: "how long what its runs print is kept, where that is shorter than for all tasks",
        read: |reader, setting, header| set_some(&mut header.keep_output, reader.some_time(setting)),
    },
    Key {
        name: "keep_runs",
        default: "`DROPCRON_KEEP_RUNS`",
        example: r#""90d""#,
        meaning: "how long its rows of the run log are kept, where that is shorter than for all tasks",
        read: |reader, setting, header| set_some(&mut header.keep_runs, reader.some_time(setting)),
    },
    Key {
        name: "memory",
        default: "none",
        example: r#""512MiB""#,
        meaning: "how much memory all processes of a run may take together; beyond it the run is killed",
        read: |reader, setting, header| set_some(&mut header.limits.memory_bytes, memory(reader, setting)),
    },
    Key {
        name: "cpu_seconds",
        default: "none",
        example: "600",
        meaning: "how much CPU time each process of a run may use",
        read: |reader, setting, header| {
            set_some(
                &mut header.limits.cpu_seconds,
                reader.whole(setting, 1..=Header::MAX_CPU_SECONDS),
            )
        },
    },
    Key {
        name: "processes",
        default: "none",
        example: "50",
        meaning: "how many processes and threads a run may have at a time",
        read: |reader, setting, header| {
            set_some(
                &mut header.limits.processes,
                reader.whole(setting, 1..=Header::MAX_PROCESSES),
            )
        },
    },
    Key {
        name: "open_files",
        default: "none: as dropcron has it",
        example: "256",
        meaning: "how many files each process of a run may have open at a time; at least 16",
        read: |reader, setting, header| {
            let limits = Header::LEAST_OPEN_FILES..=Header::MAX_OPEN_FILES;
            set_some(&mut header.limits.open_files, reader.whole(setting, limits))
        },
    },
    Key {
        name: "nice",
        default: "none: as dropcron has it",
        example: "10",
        meaning: "the priority of a run, from -20 (first) to 19 (last); below 0 takes a privilege",
        read: |reader, setting, header| set_some(&mut header.limits.nice, reader.whole(setting, -20..=19)),
    },
    Key {
        name: "notify",
        default: "the `[default]` of `DROPCRON_NOTIFY_FILE`",
        example: r#"{ after = 1, recovery = true, to = ["ops"] }"#,
        meaning: "which channels are told when it fails, recovers, misses instants or is late; a plain list is its `to`",
        read: read_notify,
    },
    Key {
        name: "python",
        default: "none: one that fits `requires-python`",
        example: r#""/opt/app/bin/python""#,
        meaning: "the interpreter to run on, with whatever packages you have put there; not beside `dependencies`",
        read: |reader, setting, header| set_some(&mut header.python, program(reader, setting)),
    },
    Key {
        name: "description",
        default: "none",
        example: r#""Fetches the price of a coin""#,
        meaning: "what the task is for, for people",
        read: |reader, setting, header| set_some(&mut header.description, owned(reader.text(setting))),
    },
    Key {
        name: "owner",
        default: "none",
        example: r#""data@example.org""#,
        meaning: "who to ask about the task",
        read: |reader, setting, header| set_some(&mut header.owner, owned(reader.name(setting))),
    },
    Key {
        name: "tags",
        default: "none",
        example: r#"["prices"]"#,
        meaning: "words by which people find the task",
        read: |reader, setting, header| set(&mut header.tags, names(reader, setting)),
    },
];

/// The keys of `retries` where it is a table.
pub const RETRIES_KEYS: &[Key] = &[
    Key {
        name: "max",
        default: "none: it must be given",
        example: "2",
        meaning: "how many attempts may follow the first, at most 1000",
        read: |reader, setting, header| set(&mut header.retries.max, reader.whole(setting, 0..=Header::MAX_RETRIES)),
    },
    Key {
        name: "delay",
        default: "30s",
        example: r#""30s""#,
        meaning: "how long after the end of the first attempt the second is due",
        read: |reader, setting, header| set(&mut header.retries.delay, reader.duration(setting)),
    },
    Key {
        name: "backoff",
        default: "2",
        example: "2.0",
        meaning: "by what the delay is multiplied for each further attempt; 1 or more",
        read: |reader, setting, header| set(&mut header.retries.backoff, reader.factor(setting)),
    },
    Key {
        name: "cap",
        default: "1h",
        example: r#""1h""#,
        meaning: "what the delay never exceeds",
        read: |reader, setting, header| set(&mut header.retries.cap, reader.duration(setting)),
    },
    Key {
        name: "on",
        default: "failed and timed_out",
        example: r#"["failed", "timed_out", "lost"]"#,
        meaning: "which ends of a run are tried again: `failed`, `timed_out`, `lost`",
        read: |reader, setting, header| set(&mut header.retries.on, retry_on(reader, setting)),
    },
];

/// The keys of `notify` where it is a table.
pub const NOTIFY_KEYS: &[Key] = &[
    Key {
        name: "after",
        default: "1",
        example: "3",
        meaning: "after how many failures in a row, at most 1000; an instant that is tried again fails with its last attempt",
        read: |reader, setting, header| {
            set_some(
                &mut header.notify.after,
                reader.whole(setting, 1..=Header::MAX_NOTIFY_AFTER),
            )
        },
    },
    Key {
        name: "recovery",
        default: "true",
        example: "false",
        meaning: "whether the success that ends such failures is told too",
        read: |reader, setting, header| set_some(&mut header.notify.recovery, reader.flag(setting)),
    },
    Key {
        name: "to",
        default: "none: nobody is told",
        example: r#"["ops"]"#,
        meaning: "channels, by their names in `DROPCRON_NOTIFY_FILE`; an empty list turns a default off",
        read: |reader, setting, header| set_some(&mut header.notify.to, names(reader, setting)),
    },
    Key {
        name: "late_after",
        default: "none: lateness is not told",
        example: r#""10m""#,
        meaning: "how long after it was due a run may start before that is told",
        read: |reader, setting, header| set_some(&mut header.notify.late_after, reader.some_time(setting)),
    },
];

/// The keys of `value`: what is expected of one series.
pub const VALUE_KEYS: &[Key] = &[
    Key {
        name: "series",
        default: "value",
        example: r#""price""#,
        meaning: "the series: where the number stands in the return value, keys and positions joined by dots",
        read: |reader, setting, header| set(&mut expectation(header).series, owned(reader.name(setting))),
    },
    Key {
        name: "unit",
        default: "none",
        example: r#""EUR""#,
        meaning: "what it counts, for people",
        read: |reader, setting, header| set_some(&mut expectation(header).unit, owned(reader.name(setting))),
    },
    Key {
        name: "type",
        default: "none: any",
        example: r#""number""#,
        meaning: "what stands there: `number`, `integer` (without a fraction) or `boolean`; null breaks it too",
        read: |reader, setting, header| {
            set_some(&mut expectation(header).value_type, reader.word::<ValueType>(setting))
        },
    },
    Key {
        name: "min",
        default: "none",
        example: "0",
        meaning: "the least number",
        read: |reader, setting, header| set_some(&mut expectation(header).min, reader.number(setting)),
    },
    Key {
        name: "max",
        default: "none",
        example: "5000",
        meaning: "the largest number",
        read: |reader, setting, header| set_some(&mut expectation(header).max, reader.number(setting)),
    },
    Key {
        name: "max_change",
        default: "none",
        example: r#""30%""#,
        meaning: "the largest change from the number before: a percentage of that, or a number",
        read: |reader, setting, header| set_some(&mut expectation(header).max_change, max_change(reader, setting)),
    },
    Key {
        name: "stale_after",
        default: "none",
        example: r#""26h""#,
        meaning: "within this time a new number comes",
        read: |reader, setting, header| set_some(&mut expectation(header).stale_after, reader.some_time(setting)),
    },
];

/// The keys at the top of the block, which PEP 723 defines and other tools read too.
pub const BLOCK_KEYS: &[Key] = &[
    Key {
        name: "requires-python",
        default: "none: any version",
        example: r#"">=3.11""#,
        meaning: "the Python versions that the script works with",
        read: |reader, setting, header| set_some(&mut header.requires_python, python_versions(reader, setting)),
    },
    Key {
        name: "dependencies",
        default: "none",
        example: r#"["httpx>=0.27"]"#,
        meaning: "the packages that the script needs",
        read: |reader, setting, header| set(&mut header.dependencies, packages(reader, setting)),
    },
];

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_some<T>(field: &mut Option<T>, value: Option<T>) {
    set(field, value.map(Some));
}

fn owned(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

fn names(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Vec<String>> {
    reader.list(setting, |reader, element| owned(reader.name(element)))
}

/// Packages, of which one may stand there twice, under different conditions. Whether they exist is for uv to find out.
fn packages(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Vec<String>> {
    reader.list_with_repeats(setting, |reader, element| {
        let text = reader.text(element)?.trim();
        if text.starts_with('-') || text.contains(char::is_control) {
            let message = format!(
                "`{}` is no package; write one as in `httpx>=0.27`, and options for uv in its environment variables, such as \
                 `UV_INDEX`",
                shorten(text)
            );
            return reader.reject(element, message);
        }
        Some(text.to_owned())
    })
}

/// Versions of Python, as PEP 440 writes them.
fn python_versions(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<String> {
    let text = reader.name(setting)?;
    match parse_requires_python(text) {
        Ok(_) => Some(text.to_owned()),
        Err(message) => reader.reject(
            setting,
            format!(
                "`requires-python` does not understand `{}`: {message}; write it as in `>=3.11` or `>=3.10,<3.13`",
                shorten(text)
            ),
        ),
    }
}

/// Reads versions of Python as PEP 440 writes them; `Err` says what is wrong.
pub fn parse_requires_python(text: &str) -> Result<VersionSpecifiers, String> {
    VersionSpecifiers::from_str(text).map_err(|error| {
        // The library draws the text with marks below; its first line says it.
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        line.trim_end_matches(':').to_owned()
    })
}

/// The path of a program on the machines that run the script.
fn program(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<PathBuf> {
    let text = reader.text(setting)?;
    match text.starts_with('/') {
        true => Some(PathBuf::from(text)),
        false => reader.refuse(
            setting,
            "the absolute path of an interpreter, such as `/opt/app/bin/python`",
        ),
    }
}

fn variables(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Vec<String>> {
    reader.list(setting, |reader, element| owned(reader.variable(element)))
}

/// A schedule, or a list of them. What they say is checked once the time zone is known.
fn schedule(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Vec<String>> {
    match setting.value.get_ref() {
        DeValue::String(_) => reader.text(setting).map(|text| vec![text.to_owned()]),
        DeValue::Array(array) if array.is_empty() => reader.reject(
            setting,
            "`schedule` is an empty list; leave the key out for a task that is run by hand only".to_owned(),
        ),
        DeValue::Array(_) => reader.list(setting, |reader, element| owned(reader.text(element))),
        _ => reader.refuse(setting, "a text in quotes or a list of them"),
    }
}

/// A time zone, tried with a schedule that every zone understands.
fn timezone(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<String> {
    let zone = reader.text(setting)?;
    match schedule_problem("@daily", zone) {
        None => Some(zone.to_owned()),
        Some(message) => reader.reject(setting, format!("`timezone`: {message}")),
    }
}

/// What is wrong with a schedule in a time zone.
pub(super) fn schedule_problem(text: &str, timezone: &str) -> Option<String> {
    Schedule::parse(&[text], timezone).err().map(|error| error.to_string())
}

fn timeout(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Timeout> {
    let text = reader.duration_text(setting)?;
    match text.parse::<Timeout>() {
        Ok(timeout) => Some(timeout),
        Err(error) => reader.reject(setting, format!("`timeout`: {error}")),
    }
}

/// A size that an interpreter fits in.
fn memory(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<u64> {
    let text = reader.text(setting)?;
    match parse_size(text) {
        Ok(bytes) if bytes >= Header::LEAST_MEMORY => Some(bytes),
        Ok(_) => {
            let least = Header::LEAST_MEMORY / 1024 / 1024;
            reader.refuse(
                setting,
                &format!("at least {least}MiB, which an interpreter alone may take"),
            )
        }
        Err(error) => reader.reject(setting, format!("`memory`: {error}")),
    }
}

fn jitter(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Duration> {
    let jitter = reader.duration(setting)?;
    match jitter < DAY {
        true => Some(jitter),
        false => reader.refuse(setting, "shorter than a day"),
    }
}

/// A table of its own keys, or the number of retries alone.
fn read_retries(reader: &mut Reader<'_>, setting: Setting<'_>, header: &mut Header) {
    match setting.value.get_ref() {
        DeValue::Integer(_) => set(&mut header.retries.max, reader.whole(setting, 0..=Header::MAX_RETRIES)),
        DeValue::Table(table) => {
            read_table(reader, table, &RETRIES, header, &[]);
            if !table.contains_key("max") {
                let message = "`retries` needs `max`, how many attempts may follow the first; for example `max = 2`";
                reader.note(setting, message.to_owned());
            }
        }
        _ => set(
            &mut header.retries.max,
            reader.refuse(setting, "a whole number or a table"),
        ),
    }
}

/// A table of its own keys, or the channels alone.
fn read_notify(reader: &mut Reader<'_>, setting: Setting<'_>, header: &mut Header) {
    match setting.value.get_ref() {
        DeValue::Table(table) => read_table(reader, table, &NOTIFY, header, &[]),
        DeValue::Array(_) => set_some(&mut header.notify.to, names(reader, setting)),
        _ => set_some(
            &mut header.notify.to,
            reader.refuse(setting, "a table or a list of channels"),
        ),
    }
}

/// What is expected of one series, or a list of that.
fn read_value(reader: &mut Reader<'_>, setting: Setting<'_>, header: &mut Header) {
    match setting.value.get_ref() {
        DeValue::Table(table) => read_expectation(reader, setting, table, header),
        DeValue::Array(array) => {
            for element in array.iter().map(|value| setting.part(value)) {
                match element.value.get_ref() {
                    DeValue::Table(table) => read_expectation(reader, element, table, header),
                    _ => set(&mut header.expectations, reader.refuse(element, "a table")),
                }
            }
        }
        _ => set(
            &mut header.expectations,
            reader.refuse(setting, "a table or a list of tables"),
        ),
    }
}

fn read_expectation(reader: &mut Reader<'_>, setting: Setting<'_>, table: &DeTable<'_>, header: &mut Header) {
    header.expectations.push(Expectation::default());
    read_table(reader, table, &VALUE, header, &[]);
    let (expectation, others) = header.expectations.split_last().expect("it was just pushed");
    if expectation.min > expectation.max && expectation.max.is_some() {
        reader.note(setting, "`min` is above `max` in `value`; exchange them".to_owned());
    }
    if others.iter().any(|other| other.series == expectation.series) {
        let series = &expectation.series;
        let message = format!("`value` names the series `{series}` twice; write one table for it");
        reader.note(setting, message);
    }
}

/// The expectation that is being read.
fn expectation(header: &mut Header) -> &mut Expectation {
    header
        .expectations
        .last_mut()
        .expect("a table of `value` is read into one")
}

/// A percentage of the number before, or a number.
fn max_change(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<MaxChange> {
    match setting.value.get_ref() {
        DeValue::String(text) => match text.parse() {
            Ok(change) => Some(change),
            Err(error) => reader.reject(setting, format!("`max_change`: {error}")),
        },
        DeValue::Integer(_) | DeValue::Float(_) => match reader.number(setting)? {
            number if number > 0.0 => Some(MaxChange::By(number)),
            _ => reader.refuse(setting, "above 0"),
        },
        _ => reader.refuse(setting, "a percentage in quotes or a number"),
    }
}

fn retry_on(reader: &mut Reader<'_>, setting: Setting<'_>) -> Option<Vec<RetryOn>> {
    let ends = reader.list(setting, Reader::word)?;
    match ends.is_empty() && !reader.has_failed("on") {
        true => reader.reject(
            setting,
            "`on` is an empty list, so that nothing is tried again; leave it out, or write `max = 0`".to_owned(),
        ),
        false => Some(ends),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::script::{Problem, parse_header};

    /// The problems of a header whose `[tool.dropcron]` has these lines, from line 3 on.
    fn problems(lines: &str) -> Vec<Problem> {
        source_problems(&format!("[tool.dropcron]\n{lines}"))
    }

    fn source_problems(toml: &str) -> Vec<Problem> {
        let comments: Vec<String> = toml.lines().map(|line| format!("# {line}")).collect();
        parse_header(&format!("# /// script\n{}\n# ///\n", comments.join("\n")))
            .err()
            .unwrap_or_default()
    }

    fn message(lines: &str) -> String {
        one(problems(lines)).message
    }

    fn one(problems: Vec<Problem>) -> Problem {
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn every_example_is_accepted() {
        for Key { name, example, .. } in KEYS {
            assert_eq!(problems(&format!("{name} = {example}")), [], "{name}");
        }
        for Key { name, example, .. } in RETRIES_KEYS {
            let max = if *name == "max" { "" } else { "max = 1, " };
            assert_eq!(
                problems(&format!("retries = {{ {max}{name} = {example} }}")),
                [],
                "{name}"
            );
        }
        for Key { name, example, .. } in NOTIFY_KEYS {
            assert_eq!(problems(&format!("notify = {{ {name} = {example} }}")), [], "{name}");
        }
        for Key { name, example, .. } in VALUE_KEYS {
            assert_eq!(problems(&format!("value = {{ {name} = {example} }}")), [], "{name}");
        }
        for Key { name, example, .. } in BLOCK_KEYS {
            assert_eq!(source_problems(&format!("{name} = {example}")), [], "{name}");
        }
    }

    #[test]
    fn every_key_refuses_a_value_of_another_type_by_name_and_with_an_example() {
        for key in KEYS {
            let wrong = if key.example.starts_with('"') {
                "[[1]]"
            } else {
                "1979-05-27"
            };
            let message = message(&format!("{} = {wrong}", key.name));
            assert!(message.contains(&format!("`{}` must be ", key.name)), "{message}");
            assert!(
                message.ends_with(&format!("for example `{} = {}`", key.name, key.example)),
                "{message}"
            );
        }
    }

    #[test]
    fn the_keys_differ_and_say_what_they_are_for() {
        for table in [KEYS, RETRIES_KEYS, NOTIFY_KEYS, VALUE_KEYS, BLOCK_KEYS] {
            let names: BTreeSet<&str> = table.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), table.len());
            let says = |text: &str| !text.is_empty() && !text.contains('\n');
            assert!(table.iter().all(|key| says(key.default) && says(key.meaning)));
        }
    }
}
