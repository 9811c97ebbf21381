//! `dropcron backfill`: instants of the past that have no successful run, listed and then asked for.

use std::io::{BufRead as _, IsTerminal as _};

use jiff::Timestamp;
use serde::Serialize;

use super::access::with_connection;
use super::output::{instant, print, print_json, say, table};
use super::{Exit, actor, not_found, usage};
use crate::cli::BackfillArgs;
use crate::config::Config;
use crate::service::reaper;
use crate::store::history::{self, Became};
use crate::store::{Connection, runs};
use crate::why::{Plans, Story, Time, resolve};

/// So many runs may be asked for at once: what waits is looked at with every claim.
const MAX_RUNS: usize = 10_000;

/// So many instants are looked at: more than a day of every second.
const MAX_INSTANTS: usize = 200_000;

/// So many are asked about at once.
const BATCH: usize = 5_000;

/// Longer lists are shown to people by their ends.
const SHOWN: (usize, usize) = (20, 5);

/// What is to be run.
struct Found {
    story: Story,
    /// The first instant that is known of.
    horizon: Option<Timestamp>,
    open: Vec<Became>,
    /// Instants that a run has in hand.
    active: usize,
    /// Instants with a successful run.
    succeeded: usize,
}

#[derive(Serialize)]
struct Backfilled<'a> {
    task: &'a str,
    instants: Vec<OpenInstant<'a>>,
    succeeded: usize,
    active: usize,
    known_since: Option<Timestamp>,
    run_ids: &'a [i64],
}

#[derive(Serialize)]
struct OpenInstant<'a> {
    at: Timestamp,
    status: Option<&'a str>,
    reason: Option<&'a str>,
}

/// Lists, asks, and queues.
pub(super) async fn backfill(arguments: &BackfillArgs, config: &Config) -> anyhow::Result<Exit> {
    with_connection(config, async |connection| {
        if arguments.cancel {
            return cancel(connection, arguments).await;
        }
        let found = find(connection, arguments).await?;
        if !arguments.json {
            print(&for_people(&found))?;
        }
        let is_wanted = !found.open.is_empty() && (arguments.yes || is_confirmed(found.open.len())?);
        let mut run_ids = Vec::new();
        if is_wanted {
            let instants: Vec<Timestamp> = found.open.iter().map(|became| became.at).collect();
            reaper::ensure_partitions(connection, found.story.now).await?;
            run_ids = runs::backfill(connection, found.story.task.task_id, &instants, &actor()).await?;
        }
        if arguments.json {
            print_json(&for_machines(&found, &run_ids))?;
        } else if is_wanted {
            print(&queued(&found, &run_ids))?;
        }
        let is_unanswered = !found.open.is_empty() && !is_wanted && !std::io::stdin().is_terminal();
        if is_unanswered {
            return Err(usage(
                "nothing is run yet: nobody can be asked here; `--yes` runs these",
            ));
        }
        Ok(Exit::Ok)
    })
    .await
}

async fn story_of(connection: &mut Connection, task: &str) -> anyhow::Result<Story> {
    let story = history::story(connection, task).await?;
    story
        .filter(|story| story.task.retired_at.is_none())
        .ok_or_else(|| not_found(format!("there is no task `{task}`; `dropcron tasks` lists them")))
}

async fn cancel(connection: &mut Connection, arguments: &BackfillArgs) -> anyhow::Result<Exit> {
    let story = story_of(connection, &arguments.task).await?;
    let cancelled = runs::cancel_backfill(connection, story.task.task_id, &actor()).await?;
    if arguments.json {
        print_json(&serde_json::json!({ "task": arguments.task, "cancelled": cancelled }))?;
    } else {
        print(&format!(
            "{cancelled} runs of a backfill of `{}` that had not started are cancelled\n",
            arguments.task
        ))?;
    }
    Ok(Exit::Ok)
}

async fn find(connection: &mut Connection, arguments: &BackfillArgs) -> anyhow::Result<Found> {
    let story = story_of(connection, &arguments.task).await?;
    let plans = Plans::of(&story);
    let from = time(
        "--from",
        arguments.from.as_deref().unwrap_or_default(),
        &plans,
        story.now,
    )?;
    let until = match arguments.to.as_deref() {
        Some(to) => time("--to", to, &plans, story.now)?,
        None => story.now,
    };
    if until < from {
        return Err(usage("`--to` lies before `--from`"));
    }
    let horizon = story.horizon.filter(|horizon| *horizon > from);
    // What is not settled yet is the schedule's, not ours.
    let settled = story.task.next_fire_at.map_or(story.now, crate::plan::just_before);
    let instants = plans.between(
        horizon.unwrap_or(from).max(from),
        until.min(settled).min(story.now),
        MAX_INSTANTS + 1,
    );
    if instants.len() > MAX_INSTANTS {
        return Err(too_many("looked at", MAX_INSTANTS, instants[MAX_INSTANTS - 1]));
    }
    let (mut open, mut active, mut succeeded) = (Vec::new(), 0, 0);
    for batch in instants.chunks(BATCH) {
        for became in history::became(connection, story.task.task_id, batch).await? {
            match became {
                Became { succeeded: true, .. } => succeeded += 1,
                Became { active: true, .. } => active += 1,
                became => open.push(became),
            }
        }
        if open.len() > MAX_RUNS {
            return Err(too_many("run", MAX_RUNS, open[MAX_RUNS - 1].at));
        }
    }
    Ok(Found {
        story,
        horizon,
        open,
        active,
        succeeded,
    })
}

fn too_many(what: &str, limit: usize, last: Timestamp) -> anyhow::Error {
    usage(format!(
        "these are more than the {limit} instants that are {what} at a time: take `--to {}` first",
        instant(last)
    ))
}

fn time(flag: &str, text: &str, plans: &Plans, now: Timestamp) -> anyhow::Result<Timestamp> {
    let wrong = || {
        usage(format!(
            "`{flag} {text}` is no such time: write `2026-11-01T02:30` (local in the task's zone), or with an offset, `2026-11-01T02:30:00Z`"
        ))
    };
    let time = Time::parse(text).map_err(|_| wrong())?;
    if !matches!(time, Time::Instant(_) | Time::Local(_)) {
        return Err(wrong());
    }
    let resolved = resolve(time, plans, now).ok_or_else(wrong)?;
    resolved.instants.first().copied().ok_or_else(wrong)
}

/// Asks on a terminal. Elsewhere the answer is no.
fn is_confirmed(count: usize) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    say(&format!("run {}? [y/N] ", counted(count, "instant")));
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn for_people(found: &Found) -> String {
    let mut text = String::new();
    let name = &found.story.task.name;
    if let Some(horizon) = found.horizon {
        text.push_str(&format!(
            "what was before {} is beyond what is kept of `{name}`: it is not known, and not run\n",
            instant(horizon)
        ));
    }
    if found.active > 0 {
        text.push_str(&format!(
            "{} of `{name}` have a run already that has not ended\n",
            counted(found.active, "instant")
        ));
    }
    if found.open.is_empty() {
        text.push_str(&format!(
            "nothing is to be run: {} with a successful run\n",
            counted(found.succeeded, "instant")
        ));
        return text;
    }
    let (first, last) = SHOWN;
    let row = |became: &Became| {
        let status = became.status.as_deref().unwrap_or("no row");
        let reason = became
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(" ({reason})"));
        vec![instant(became.at), format!("{status}{reason}")]
    };
    let mut rows: Vec<Vec<String>> = found.open.iter().map(row).collect();
    if rows.len() > first + last + 1 {
        let hidden = rows.len() - first - last;
        let cells = vec!["...".to_owned(), format!("{hidden} more")];
        rows.splice(first..first + hidden, [cells]);
    }
    text.push_str(&table(&["instant", "now"], rows));
    text.push_str(&format!(
        "{} without a successful run, {} with one\n",
        counted(found.open.len(), "instant"),
        found.succeeded
    ));
    text
}

fn queued(found: &Found, run_ids: &[i64]) -> String {
    let task = &found.story.task;
    let mut text = format!("{} queued", counted(run_ids.len(), "run"));
    if let (Some(first), Some(last)) = (run_ids.first(), run_ids.last()) {
        text.push_str(&format!(": {first} to {last}"));
    }
    text.push_str(&match (task.live_nodes, task.serving_nodes) {
        (0, _) => "; no service is running, so they wait for one\n".to_owned(),
        (_, 0) => format!(
            "; no running service serves the queue `{}` with the tags that `{}` requires, so they wait for one\n",
            task.queue, task.name
        ),
        _ => format!("; `dropcron runs --task {}` shows how they go\n", task.name),
    });
    text
}

fn for_machines<'a>(found: &'a Found, run_ids: &'a [i64]) -> Backfilled<'a> {
    Backfilled {
        task: &found.story.task.name,
        instants: found
            .open
            .iter()
            .map(|became| OpenInstant {
                at: became.at,
                status: became.status.as_deref(),
                reason: became.reason.as_deref(),
            })
            .collect(),
        succeeded: found.succeeded,
        active: found.active,
        known_since: found.horizon,
        run_ids,
    }
}
