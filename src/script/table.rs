//! Reads the tables of a header key by key, and answers every key that should not be there.
//!
//! Which keys there are is said in [`key`](super::key); here is how a table is walked, and what a person may have meant by
//! a word that is no key: a slip, a key of another table, a word of another scheduler.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::header::Header;
use super::key::{BLOCK_KEYS, KEYS, Key, NOTIFY_KEYS, RETRIES_KEYS, VALUE_KEYS};
use super::reader::{Reader, Setting, shorten};

/// A table of the document that has keys of its own.
pub(super) struct Level {
    keys: &'static [Key],
    words: &'static [(&'static str, &'static str)],
    /// Where keys of this level stand, as a person is told.
    place: &'static str,
}

const BLOCK: Level = Level {
    keys: BLOCK_KEYS,
    words: FOREIGN_BLOCK_WORDS,
    place: "at the top of the block",
};
const DROPCRON: Level = Level {
    keys: KEYS,
    words: FOREIGN_WORDS,
    place: "under `[tool.dropcron]`",
};
pub(super) const RETRIES: Level = Level {
    keys: RETRIES_KEYS,
    words: FOREIGN_RETRIES_WORDS,
    place: "in `retries`",
};
pub(super) const NOTIFY: Level = Level {
    keys: NOTIFY_KEYS,
    words: FOREIGN_NOTIFY_WORDS,
    place: "in `notify`",
};
pub(super) const VALUE: Level = Level {
    keys: VALUE_KEYS,
    words: FOREIGN_VALUE_WORDS,
    place: "in `value`",
};

/// Reads the whole document of a block or a sidecar.
pub(super) fn read_document(reader: &mut Reader<'_>, table: &DeTable<'_>, header: &mut Header) {
    read_table(reader, table, &BLOCK, header, &["tool"]);
    if let Some(tool) = table.get("tool") {
        read_tool(reader, tool, header);
    }
}

/// Reads `[tool]`. The tables of other tools are none of our business, unless one is ours with a slip in its name.
fn read_tool(reader: &mut Reader<'_>, tool: &Spanned<DeValue<'_>>, header: &mut Header) {
    let DeValue::Table(tools) = tool.get_ref() else {
        return reader.problem(
            &tool.span(),
            "`tool` must be a table; write `[tool.dropcron]`".to_owned(),
        );
    };
    for (name, value) in tools.iter() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("dropcron", DeValue::Table(table)) => read_table(reader, table, &DROPCRON, header, &[]),
            ("dropcron", _) => {
                reader.problem(
                    &name.span(),
                    "`dropcron` must be one table; write `[tool.dropcron]`".to_owned(),
                );
            }
            (other, DeValue::Table(_)) if !is_near(other, "dropcron") => {}
            (other, DeValue::Table(_)) => {
                let message = format!(
                    "unknown table `[tool.{}]`, did you mean `[tool.dropcron]`?",
                    shorten(other)
                );
                reader.problem(&name.span(), message);
            }
            (other, _) => {
                let message = format!(
                    "`{}` stands in `[tool]` itself; did you mean to write it under `[tool.dropcron]`?",
                    shorten(other)
                );
                reader.problem(&name.span(), message);
            }
        }
    }
}

/// Reads the keys of one table in the order of the documentation, then notes those that it should not have.
pub(super) fn read_table(
    reader: &mut Reader<'_>,
    table: &DeTable<'_>,
    level: &Level,
    header: &mut Header,
    others: &[&str],
) {
    for key in level.keys {
        if let Some(value) = table.get(key.name) {
            let setting = Setting::of(key, value);
            reader.found(setting);
            (key.read)(reader, setting, header);
        }
    }
    for name in table.keys() {
        let text = name.get_ref().as_ref();
        if !others.contains(&text) && !level.keys.iter().any(|key| key.name == text) {
            reader.problem(&name.span(), unknown_key(text, level));
        }
    }
}

/// What to say about a key that a table does not have: the likeliest reading comes first.
fn unknown_key(name: &str, level: &Level) -> String {
    let shown = shorten(name);
    let respelled = |level: &Level| {
        level
            .keys
            .iter()
            .find(|key| plain(key.name) == plain(name))
            .map(|key| key.name)
    };
    let elsewhere = [&DROPCRON, &BLOCK, &RETRIES, &NOTIFY, &VALUE]
        .into_iter()
        .filter(|other| other.place != level.place);
    let near = |level: &Level| nearest(name, level.keys.iter().map(|key| key.name));

    if let Some(meant) = respelled(level) {
        return format!("unknown key `{shown}`, did you mean `{meant}`?");
    }
    if let Some((meant, place)) = elsewhere
        .clone()
        .find_map(|other| Some((respelled(other)?, other.place)))
    {
        return format!("`{meant}` belongs {place}, not {}", level.place);
    }
    if let Some(advice) = advice_for(name, level) {
        return format!("unknown key `{shown}`; {advice}");
    }
    if let Some(meant) = near(level) {
        return format!("unknown key `{shown}`, did you mean `{meant}`?");
    }
    if let Some((meant, place)) = elsewhere.clone().find_map(|other| Some((near(other)?, other.place))) {
        return format!("unknown key `{shown}`, did you mean `{meant}`? It belongs {place}");
    }
    let known = level
        .keys
        .iter()
        .map(|key| format!("`{}`", key.name))
        .collect::<Vec<_>>()
        .join(", ");
    format!("unknown key `{shown}`; the keys {} are {known}", level.place)
}

/// What to write instead of a word from elsewhere; at the top of the block also for words that belong further down.
fn advice_for(name: &str, level: &Level) -> Option<String> {
    let look_up = |words: &[(&str, &'static str)]| {
        let entry = words
            .iter()
            .find(|(words, _)| words.split(' ').any(|word| plain(word) == plain(name)));
        entry.map(|(_, advice)| *advice)
    };
    if let Some(advice) = look_up(level.words) {
        return Some(advice.to_owned());
    }
    let advice = look_up(DROPCRON.words)?;
    match advice.starts_with("write") && !advice.ends_with("block") {
        true => Some(format!("{advice} {}", DROPCRON.place)),
        false => Some(advice.to_owned()),
    }
}

/// The candidate that a text was probably meant to be: the nearest by edit distance, if it is near.
pub fn nearest<'word>(text: &str, candidates: impl Iterator<Item = &'word str>) -> Option<&'word str> {
    candidates
        .filter(|candidate| is_near(text, candidate))
        .min_by_key(|candidate| distance(text, candidate))
}

/// Whether a text is a word but for slips: one in short words, two in longer ones, and always fewer than half its letters.
fn is_near(text: &str, word: &str) -> bool {
    let allowed = match word.chars().count() {
        0..=2 => 0,
        3..=5 => 1,
        _ => 2,
    };
    // The distance is at least the difference of the lengths; this keeps monstrous keys out of the quadratic algorithm.
    text.chars().count().abs_diff(word.chars().count()) <= allowed + 3 && distance(text, word) <= allowed
}

fn distance(text: &str, word: &str) -> usize {
    strsim::osa_distance(&plain(text), &plain(word))
}

/// A key without case, `-` and `_`, by which other people's spelling of it is recognised.
fn plain(name: &str) -> String {
    name.chars()
        .filter(|character| !matches!(character, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Words of other schedulers, or from the lips of people, and what to write here instead.
///
/// The words of an entry are separated by blanks, and looked up without regard to case, `-` and `_`.
const FOREIGN_WORDS: &[(&str, &str)] = &[
    (
        "cron crontab cron_expression schedules when trigger",
        r#"write `schedule = "30 2 * * *"`"#,
    ),
    (
        "every interval period frequency seconds minutes hours",
        r#"write `schedule = "@every 10m"`"#,
    ),
    (
        "at run_at date run_date start_date",
        r#"write `schedule = "@at 2027-01-01T09:00"`"#,
    ),
    ("tz zone cron_tz", r#"write `timezone = "Europe/Berlin"`"#),
    (
        "retry max_retries num_retries attempts max_attempts retry_delay retry_policy backoff_limit",
        r#"write `retries = { max = 2, delay = "30s" }`"#,
    ),
    (
        "timeout_seconds timeout_sec time_limit max_runtime max_duration execution_timeout max_time",
        r#"write `timeout = "5m"`"#,
    ),
    (
        "max_instances max_parallel max_concurrency max_concurrent parallelism max_active_runs",
        r#"write `overlap = "parallel"` and `max_running = 2`"#,
    ),
    (
        "concurrency concurrency_policy allow_overlap no_overlap singleton exclusive overlap_policy",
        r#"write `overlap` with `"skip"`, `"queue"`, `"parallel"` or `"replace"`"#,
    ),
    ("group pool mutex lock", r#"write `concurrency_group = "db"`"#),
    (
        "misfire_grace_time starting_deadline_seconds deadline max_delay max_lateness",
        r#"write `grace = "6h"`"#,
    ),
    (
        "coalesce catch_up misfire misfire_policy persistent backfill",
        r#"write `missed` with `"skip"`, `"latest"` or `"all"`"#,
    ),
    ("splay random_delay randomized_delay_sec", r#"write `jitter = "30s"`"#),
    (
        "environment env_vars environment_variables env_file vars",
        r#"name the variables: `env = ["HTTP_PROXY"]`"#,
    ),
    (
        "kwargs arguments params parameters",
        r#"write `args = { city = "Berlin" }`"#,
    ),
    (
        "disabled disable active paused suspend suspended",
        "write `enabled` with `true` or `false`",
    ),
    ("labels label tag keywords", r#"write `tags = ["prices"]`"#),
    (
        "node nodes host hosts runs_on node_selector",
        r#"write `required_tags = ["gpu"]`"#,
    ),
    (
        "memory_limit mem_limit max_memory memory_mb ram max_rss mem",
        r#"write `memory = "512MiB"`"#,
    ),
    ("cpu_limit cpu_time max_cpu cpu", "write `cpu_seconds = 600`"),
    (
        "max_processes process_limit pids_limit nproc threads max_threads",
        "write `processes = 50`",
    ),
    ("nofile max_open_files file_limit ulimit", "write `open_files = 256`"),
    ("priority niceness", "write `nice = 10`"),
    (
        "on_failure on_success alert alerts alerting notification notifications email emails mailto webhook webhooks slack channels sla",
        r#"write `notify = { to = ["ops"] }` with the channels of `DROPCRON_NOTIFY_FILE`"#,
    ),
    ("help doc docs summary title comment", r#"write `description = "..."`"#),
    ("author maintainer contact team", r#"write `owner = "..."`"#),
    (
        "values expect expectation expectations series validate validation checks observation observations",
        r#"write `value = { series = "price", min = 0, max = 5000 }`"#,
    ),
    (
        "store_result save_result log_result ignore_result",
        "write `keep_return_value = false`",
    ),
    (
        "cwd chdir working_dir working_directory workdir directory",
        "there is no such key; call `os.chdir()` in the script",
    ),
    (
        "user run_as uid",
        "there is no such key; `DROPCRON_RUN_AS` sets the user of all scripts",
    ),
    (
        "command cmd exec script entrypoint function",
        "there is no such key; dropcron calls the script's `run()`",
    ),
    ("name id task", "there is no such key; a task has the name of its file"),
    (
        "python_version python_requires",
        r#"write `requires-python = ">=3.11"` at the top of the block"#,
    ),
    (
        "requirements requires packages deps install_requires",
        r#"write `dependencies = ["httpx>=0.27"]` at the top of the block"#,
    ),
];

/// Words for the keys inside `retries`.
const FOREIGN_RETRIES_WORDS: &[(&str, &str)] = &[
    (
        "count limit attempts max_attempts max_retries retries times",
        "write `max = 2`",
    ),
    ("wait interval initial_delay min_delay", r#"write `delay = "30s"`"#),
    (
        "factor multiplier exponential backoff_factor backoff_rate",
        "write `backoff = 2.0`",
    ),
    ("max_delay max_wait max_interval", r#"write `cap = "1h"`"#),
    ("when if statuses retry_on", r#"write `on = ["failed", "timed_out"]`"#),
];

/// Words for the keys inside `notify`.
const FOREIGN_NOTIFY_WORDS: &[(&str, &str)] = &[
    (
        "on_failure failures consecutive threshold count consecutive_failures",
        "write `after = 1`",
    ),
    (
        "on_recovery on_success resolved recovered success",
        "write `recovery = true`",
    ),
    (
        "channel channels email emails webhook webhooks url urls slack receivers recipients target targets",
        r#"name channels: `to = ["ops"]`"#,
    ),
    (
        "late lateness delay max_delay overdue sla on_late",
        r#"write `late_after = "10m"`"#,
    ),
];

/// Words for the keys inside `value`.
const FOREIGN_VALUE_WORDS: &[(&str, &str)] = &[
    ("key path column field metric", r#"write `series = "price"`"#),
    ("units currency dimension", r#"write `unit = "EUR"`"#),
    ("minimum least lower lower_bound at_least gt ge", "write `min = 0`"),
    ("maximum most upper upper_bound at_most lt le", "write `max = 5000`"),
    (
        "change max_delta delta max_jump jump tolerance max_change_percent",
        r#"write `max_change = "30%"`"#,
    ),
    (
        "max_age fresh_for freshness stale expires ttl expected_every",
        r#"write `stale_after = "26h"`"#,
    ),
    ("kind dtype value_type", r#"write `type = "number"`"#),
];

/// Words for the table itself.
const FOREIGN_BLOCK_WORDS: &[(&str, &str)] = &[
    ("dropcron tools", "write `[tool.dropcron]`"),
    (
        "project",
        "`[project]` is for packages; write its keys at the top of the block",
    ),
];

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
    fn no_word_from_elsewhere_is_a_key_or_stands_twice() {
        for level in [&BLOCK, &DROPCRON, &RETRIES, &NOTIFY, &VALUE] {
            let words: Vec<String> = level
                .words
                .iter()
                .flat_map(|(words, _)| words.split(' '))
                .map(plain)
                .collect();
            let distinct: BTreeSet<&String> = words.iter().collect();
            assert_eq!(distinct.len(), words.len());
            assert!(
                !level.keys.iter().any(|key| words.contains(&plain(key.name))),
                "{words:?}"
            );
        }
    }

    #[test]
    fn a_misspelt_key_gets_a_suggestion() {
        for (wrong, right) in [
            ("shedule", "schedule"),
            ("scheduel", "schedule"),
            ("Schedule", "schedule"),
            ("time-zone", "timezone"),
            ("maxRunning", "max_running"),
            ("ovrlap", "overlap"),
            ("catch-up-limit", "catch_up_limit"),
            ("secret", "secrets"),
        ] {
            assert_eq!(
                message(&format!("{wrong} = 1")),
                format!("unknown key `{wrong}`, did you mean `{right}`?")
            );
        }
    }

    #[test]
    fn a_misspelt_key_of_retries_gets_a_suggestion() {
        assert_eq!(
            message("retries = { max = 1, dealy = \"1s\" }"),
            "unknown key `dealy`, did you mean `delay`?"
        );
        assert_eq!(
            message("retries = { max = 1, factor = 2 }"),
            "unknown key `factor`; write `backoff = 2.0`"
        );
    }

    #[test]
    fn a_word_of_another_scheduler_is_answered_with_ours() {
        assert_eq!(
            message("cron = \"* * * * *\""),
            "unknown key `cron`; write `schedule = \"30 2 * * *\"`"
        );
        for (word, part) in [
            ("every", "@every 10m"),
            ("tz", "`timezone = \"Europe/Berlin\"`"),
            ("cwd", "os.chdir()"),
            ("retry", "`retries = { max = 2"),
            ("max_instances", "`max_running = 2`"),
            ("concurrencyPolicy", "`overlap`"),
            ("misfire_grace_time", "`grace = \"6h\"`"),
            ("requirements", "at the top of the block"),
        ] {
            let message = message(&format!("{word} = 1"));
            assert!(
                message.starts_with(&format!("unknown key `{word}`; ")) && message.contains(part),
                "{message}"
            );
        }
    }

    #[test]
    fn a_key_at_the_wrong_level_is_sent_where_it_belongs() {
        let top = |toml: &str| one(source_problems(toml)).message;
        assert_eq!(
            top("schedule = \"@daily\""),
            "`schedule` belongs under `[tool.dropcron]`, not at the top of the block"
        );
        assert_eq!(
            message("dependencies = []"),
            "`dependencies` belongs at the top of the block, not under `[tool.dropcron]`"
        );
        assert_eq!(
            message("backoff = 2"),
            "`backoff` belongs in `retries`, not under `[tool.dropcron]`"
        );
        assert_eq!(
            message("[tool.dropcron.retries]\nmax = 1\ntimeout = \"5m\""),
            "`timeout` belongs under `[tool.dropcron]`, not in `retries`"
        );
        assert!(top("shedule = \"@daily\"").ends_with("did you mean `schedule`? It belongs under `[tool.dropcron]`"));
        assert!(top("cron = \"@daily\"").ends_with("write `schedule = \"30 2 * * *\"` under `[tool.dropcron]`"));
        assert!(top("requires_python = \">=3\"").ends_with("did you mean `requires-python`?"));
        assert!(top("[dropcron]\nschedule = \"@daily\"").ends_with("write `[tool.dropcron]`"));
        assert!(top("[tool]\nschedule = \"@daily\"").contains("under `[tool.dropcron]`"));
    }

    #[test]
    fn a_key_like_no_other_is_answered_with_all_of_them() {
        let message = message("flavour = \"sweet\"");
        assert!(
            message.starts_with("unknown key `flavour`; the keys under `[tool.dropcron]` are `schedule`, `timezone`")
        );
        assert!(message.ends_with("`tags`"));
    }

    #[test]
    fn the_tables_of_other_tools_are_left_alone_but_for_misspelt_ours() {
        assert_eq!(source_problems("[tool.uv]\nexclude-newer = 1\n[tool.ruff]\nx = 1"), []);
        let problem = one(source_problems("[tool.dropcorn]\nschedule = \"@daily\""));
        assert_eq!(
            problem.message,
            "unknown table `[tool.dropcorn]`, did you mean `[tool.dropcron]`?"
        );
        assert_eq!((problem.line, problem.column), (2, 9));
        assert!(
            one(source_problems("[[tool.dropcron]]"))
                .message
                .contains("must be one table")
        );
        assert!(
            one(source_problems("tool = 1"))
                .message
                .contains("write `[tool.dropcron]`")
        );
    }

    #[test]
    fn a_problem_stands_where_the_mistake_is() {
        let place = |lines: &str| {
            let problem = one(problems(lines));
            (problem.line, problem.column)
        };
        assert_eq!(place("owner = \"me\"\nshedule = \"@daily\""), (4, 3));
        assert_eq!(place("enabled = \"yes\""), (3, 13));
        assert_eq!(place("schedule = [\n  \"@daily\",\n  \"rubbish\",\n]"), (5, 5));
        assert_eq!(place("retries = { max = -1 }"), (3, 21));
        assert_eq!(place("timezone = \"Mars/Base\"\nschedule = \"@daily\""), (3, 14));
    }

    #[test]
    fn a_monstrous_key_is_shown_short() {
        let message = message(&format!("{} = 1", "x".repeat(100_000)));
        assert!(message.len() < 1_000, "{}", message.len());
    }

    #[test]
    fn near_is_one_slip_in_a_short_word_and_two_in_a_long_one() {
        assert_eq!(nearest("ened", ["env", "enabled"].into_iter()), None);
        assert_eq!(nearest("evn", ["env", "on"].into_iter()), Some("env"));
        assert_eq!(nearest("overlpa", ["overlap", "owner"].into_iter()), Some("overlap"));
        assert_eq!(nearest("x", ["on"].into_iter()), None);
    }
}
