//! `dropcron diff`: what changed between two runs of a task; without two, between the last that succeeded and the first that failed
//! after it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::access::with_connection;
use super::output::{flat, instant, maybe_instant, milliseconds, print, print_json, shorten, single_line};
use super::{Exit, not_found, usage};
use crate::cli::DiffArgs;
use crate::config::Config;
use crate::packages::{self, Lock};
use crate::script::ContentHash;
use crate::store::Connection;
use crate::store::history::{self, Side};

/// Lines around a change.
const CONTEXT: usize = 3;

/// Longer values are shown to people by their beginning.
const SHOWN: usize = 100;

/// Two runs and what is different.
#[derive(Serialize)]
struct Comparison<'a> {
    task: &'a str,
    before: Run<'a>,
    after: Run<'a>,
    script: Script,
    /// Keys of the header that differ.
    header: Vec<Change>,
    packages: Packages,
    /// Everything else that differs.
    changes: Vec<Change>,
    /// What is the same.
    same: Vec<&'static str>,
}

#[derive(Serialize)]
struct Run<'a> {
    run_id: i64,
    scheduled_for: jiff::Timestamp,
    status: &'a str,
    reason: Option<&'a str>,
    script_sha256: Option<ContentHash>,
}

#[derive(Serialize)]
struct Script {
    changed: bool,
    /// In the unified form; none: nothing changed, or it is not text.
    diff: Option<String>,
    /// Why there is none.
    note: Option<String>,
}

#[derive(Serialize)]
struct Packages {
    changed: bool,
    lock_before: Option<ContentHash>,
    lock_after: Option<ContentHash>,
    /// Packages whose versions differ, by name.
    changes: Vec<Change>,
    /// Why there are none although the locks differ.
    note: Option<String>,
}

#[derive(Serialize)]
struct Change {
    what: String,
    before: Option<String>,
    after: Option<String>,
}

/// Compares.
pub(super) async fn diff(arguments: &DiffArgs, config: &Config) -> anyhow::Result<Exit> {
    let task = &arguments.task;
    let (before, after) = with_connection(config, async |connection| {
        let story = history::story(connection, task).await?;
        let story =
            story.ok_or_else(|| not_found(format!("there is no task `{task}`; `dropcron tasks` lists them")))?;
        let task_id = story.task.task_id;
        let (before, after) = match arguments.runs.as_slice() {
            [before, after] => (*before, *after),
            _ => turning_point(connection, task, task_id).await?,
        };
        Ok((
            side(connection, task, task_id, before).await?,
            side(connection, task, task_id, after).await?,
        ))
    })
    .await?;
    let comparison = compare(task, &before, &after);
    if arguments.json {
        print_json(&comparison)?;
    } else {
        let is_coloured = std::io::stdout().is_terminal() && config.environment.get("NO_COLOR").is_none();
        print(&for_people(&comparison, is_coloured))?;
    }
    Ok(Exit::Ok)
}

async fn turning_point(connection: &mut Connection, task: &str, task_id: i64) -> anyhow::Result<(i64, i64)> {
    let advice = format!("name two of its runs, as `dropcron runs --task {task}` lists them");
    match history::turning_point(connection, task_id).await? {
        None => Err(usage(format!("no run of `{task}` that is known has failed: {advice}"))),
        Some(point) => point.good_run_id.zip(point.bad_run_id).ok_or_else(|| {
            let failed_at = instant(point.failed_at);
            usage(format!(
                "no run of `{task}` that is known succeeded before the failure at {failed_at}: {advice}"
            ))
        }),
    }
}

async fn side(connection: &mut Connection, task: &str, task_id: i64, run_id: i64) -> anyhow::Result<Side> {
    history::side(connection, task_id, run_id).await?.ok_or_else(|| {
        not_found(format!(
            "`{task}` has no run {run_id}; `dropcron runs --task {task}` lists them"
        ))
    })
}

fn compare<'a>(task: &'a str, before: &'a Side, after: &'a Side) -> Comparison<'a> {
    let (mut changes, mut same) = (Vec::new(), Vec::new());
    for (what, field) in FIELDS {
        let (was, is) = (field(before), field(after));
        if was == is {
            same.push(*what);
        } else {
            changes.push(change(*what, was, is));
        }
    }
    let packages = compare_packages(before, after);
    if !packages.changed {
        same.insert(0, "packages");
    }
    let script = compare_scripts(before, after);
    if !script.changed {
        same.insert(0, "script");
    }
    Comparison {
        task,
        before: run(before),
        after: run(after),
        script,
        header: compare_headers(before, after),
        packages,
        changes,
        same,
    }
}

fn run(side: &Side) -> Run<'_> {
    Run {
        run_id: side.run_id,
        scheduled_for: side.scheduled_for,
        status: &side.status,
        reason: side.reason.as_deref(),
        script_sha256: side.script_sha256,
    }
}

fn change(what: impl Into<String>, before: Option<String>, after: Option<String>) -> Change {
    Change {
        what: what.into(),
        before,
        after,
    }
}

type Field = (&'static str, fn(&Side) -> Option<String>);

/// What is compared of a run, beside its script and its header.
const FIELDS: &[Field] = &[
    ("python", |side| side.python.clone()),
    ("dropcron", |side| side.version.clone()),
    ("host", |side| side.host.clone()),
    ("trigger", |side| {
        Some(match side.attempt {
            1 => side.trigger.clone(),
            attempt => format!("{}, attempt {attempt}", side.trigger),
        })
    }),
    ("as of", |side| side.as_of.map(instant)),
    ("args", |side| side.args.clone()),
    ("limits", |side| side.limits.clone()),
    ("started", |side| {
        side.start_delay_ms
            .map(|delay| format!("{} late", milliseconds(Some(delay.max(0.0)))))
    }),
    ("took", |side| {
        side.duration_ms.map(|duration| milliseconds(Some(duration)))
    }),
    ("CPU time", |side| side.cpu_ms.map(|cpu| milliseconds(Some(cpu as f64)))),
    ("memory", |side| {
        side.max_rss_kb.map(|peak| format!("{} MiB", peak / 1024))
    }),
    ("value", |side| side.return_value.clone()),
    ("error", |side| side.error.clone().or_else(|| side.detail.clone())),
    ("warnings", |side| {
        (!side.warnings.is_empty()).then(|| side.warnings.join("; "))
    }),
];

fn compare_headers(before: &Side, after: &Side) -> Vec<Change> {
    let keys = |side: &Side| -> BTreeMap<String, String> {
        let header = side.header.as_deref().unwrap_or("null");
        flat(&serde_json::from_str::<Value>(header).unwrap_or_default())
            .into_iter()
            .collect()
    };
    let (was, is) = (keys(before), keys(after));
    let all: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    all.into_iter()
        .filter(|key| was.get(*key) != is.get(*key))
        .map(|key| change(key.clone(), was.get(key).cloned(), is.get(key).cloned()))
        .collect()
}

fn compare_scripts(before: &Side, after: &Side) -> Script {
    let note = |text: String| Script {
        changed: true,
        diff: None,
        note: Some(text),
    };
    if before.script_sha256 == after.script_sha256 {
        return Script {
            changed: false,
            diff: None,
            note: None,
        };
    }
    let (Some(was), Some(is)) = (&before.content, &after.content) else {
        return note("one of the versions is not known any more".to_owned());
    };
    match (std::str::from_utf8(was), std::str::from_utf8(is)) {
        (Ok(was), Ok(is)) => Script {
            changed: true,
            diff: Some(
                TextDiff::from_lines(was, is)
                    .unified_diff()
                    .context_radius(CONTEXT)
                    .header(&format!("run {}", before.run_id), &format!("run {}", after.run_id))
                    .to_string(),
            ),
            note: None,
        },
        _ => note(format!("not text: {} and {} bytes", was.len(), is.len())),
    }
}

fn compare_packages(before: &Side, after: &Side) -> Packages {
    let (changes, note) = match (packages_of(before), packages_of(after)) {
        (Err(note), _) | (_, Err(note)) => (Vec::new(), Some(note)),
        (Ok(was), Ok(is)) => {
            let changes = packages::changes(&was, &is);
            let is_anew = before
                .lock_sha256
                .zip(after.lock_sha256)
                .is_some_and(|(was, is)| was != is);
            let note = (changes.is_empty() && is_anew).then(|| "the same versions, locked anew".to_owned());
            let changes = changes.into_iter();
            (
                changes.map(|one| change(one.name, one.before, one.after)).collect(),
                note,
            )
        }
    };
    Packages {
        changed: !changes.is_empty() || note.is_some(),
        lock_before: before.lock_sha256,
        lock_after: after.lock_sha256,
        changes,
        note,
    }
}

/// What a run had; `Err` says why that cannot be told.
fn packages_of(side: &Side) -> Result<Lock, String> {
    if !side.packages_known {
        return Err(format!("those of run {} are not known", side.run_id));
    }
    match (&side.lock_content, &side.lock_python) {
        (Some(content), Some(python)) => Lock::new(content.clone(), python).map_err(|error| error.to_string()),
        _ if side.lock_sha256.is_some() => Err(format!("the lock of run {} is not in the database", side.run_id)),
        _ => Ok(Lock {
            content: String::new(),
            python: (3, 0),
        }),
    }
}

fn for_people(comparison: &Comparison<'_>, is_coloured: bool) -> String {
    let named = |run: &Run<'_>| {
        let reason = run.reason.map_or(String::new(), |reason| format!(" ({reason})"));
        format!(
            "run {} of {} {}{reason}",
            run.run_id,
            maybe_instant(Some(run.scheduled_for)),
            run.status
        )
    };
    let mut text = format!(
        "{}: {}, then {}\n",
        comparison.task,
        named(&comparison.before),
        named(&comparison.after)
    );
    let mut rows: Vec<(String, String)> = Vec::new();
    if comparison.script.changed {
        let short =
            |hash: Option<ContentHash>| hash.map_or("none".to_owned(), |hash| hash.to_string()[..12].to_owned());
        let versions = (
            short(comparison.before.script_sha256),
            short(comparison.after.script_sha256),
        );
        let note = comparison
            .script
            .note
            .as_ref()
            .map_or(String::new(), |note| format!(" ({note})"));
        rows.push(("script".to_owned(), format!("{} -> {}{note}", versions.0, versions.1)));
    }
    rows.extend(
        comparison
            .header
            .iter()
            .map(|change| (format!("header {}", change.what), arrow(change))),
    );
    rows.extend(
        comparison
            .changes
            .iter()
            .map(|change| (change.what.clone(), arrow(change))),
    );
    let packages = &comparison.packages;
    rows.extend(
        packages
            .changes
            .iter()
            .map(|change| (format!("package {}", change.what), arrow(change))),
    );
    rows.extend(packages.note.iter().map(|note| ("packages".to_owned(), note.clone())));
    if !comparison.same.is_empty() {
        rows.push(("the same".to_owned(), comparison.same.join(", ")));
    }
    let width = rows.iter().map(|(what, _)| what.len()).max().unwrap_or(0);
    for (what, change) in &rows {
        text.push_str(&format!("  {what:width$}  {change}\n"));
    }
    if let Some(diff) = &comparison.script.diff {
        text.push('\n');
        for line in diff.lines() {
            text.push_str(&diff_line(line, is_coloured));
        }
    }
    text
}

fn arrow(change: &Change) -> String {
    let shown = |value: &Option<String>| value.as_ref().map_or("none".to_owned(), |value| shorten(value, SHOWN));
    format!("{} -> {}", shown(&change.before), shown(&change.after))
}

/// What a script holds must not write to the terminal; tabs are shown as such.
fn diff_line(line: &str, is_coloured: bool) -> String {
    let line: String = line.split('\t').map(single_line).collect::<Vec<_>>().join("\t");
    let colour = match line.as_bytes().first() {
        _ if !is_coloured => None,
        Some(b'+') => Some(32),
        Some(b'-') => Some(31),
        Some(b'@') => Some(36),
        _ => None,
    };
    match colour {
        Some(colour) => format!("\x1b[{colour}m{line}\x1b[0m\n"),
        None => format!("{line}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_coloured_on_request_and_never_write_to_the_terminal_themselves() {
        assert_eq!(diff_line("+\tx\u{1b}[2J", false), "+\tx [2J\n");
        assert_eq!(diff_line("-x", true), "\u{1b}[31m-x\u{1b}[0m\n");
        assert_eq!(diff_line(" x", true), " x\n");
    }
}
