//! `dropcron next`: the next fire times of a schedule or a task, and what people get wrong about it.

use jiff::Timestamp;
use serde::Serialize;

use super::access::with_connection;
use super::output::{print, print_json};
use super::remote::Server;
use super::{Exit, not_found, usage};
use crate::cli::NextArgs;
use crate::config::Config;
use crate::schedule::Schedule;
use crate::store::tasks;

/// One fire time.
#[derive(Debug, Serialize)]
struct FireTime {
    utc: Timestamp,
    local: String,
}

/// What is printed as JSON.
#[derive(Debug, Serialize)]
struct Answer {
    schedule: Vec<String>,
    timezone: String,
    next: Vec<FireTime>,
    notes: Vec<String>,
}

/// Prints the next fire times.
pub(super) async fn next(arguments: &NextArgs, config: &Config) -> anyhow::Result<Exit> {
    let (schedule, standstill) = schedule_of(arguments, config).await?;
    let from = arguments.from.unwrap_or_else(Timestamp::now);
    let zone = schedule.timezone().clone();
    let next: Vec<FireTime> = std::iter::successors(schedule.next_after(from), |at| schedule.next_after(*at))
        .take(usize::from(arguments.count))
        .map(|utc| FireTime {
            utc,
            local: utc
                .to_zoned(zone.clone())
                .strftime("%Y-%m-%d %H:%M:%S %Z (%a)")
                .to_string(),
        })
        .collect();
    let mut notes = schedule.notes(from);
    notes.extend(standstill);
    let answer = Answer {
        schedule: schedule.texts().to_vec(),
        timezone: schedule.timezone_name().to_owned(),
        next,
        notes,
    };
    if arguments.json {
        print_json(&answer)?
    } else {
        print(&for_people(&schedule, &answer))?
    }
    Ok(Exit::Ok)
}

fn for_people(schedule: &Schedule, answer: &Answer) -> String {
    let mut text = format!("{}\n", schedule.describe());
    for time in &answer.next {
        text.push_str(&format!("  {}   {}\n", time.utc, time.local));
    }
    if answer.next.is_empty() {
        text.push_str("  never fires again\n");
    }
    for note in &answer.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// The schedule that was typed, or that of the task; and, for a task, why it stands still.
async fn schedule_of(arguments: &NextArgs, config: &Config) -> anyhow::Result<(Schedule, Option<String>)> {
    let subject = &arguments.subject;
    let timezone = || arguments.timezone.clone().unwrap_or_else(|| config.timezone.clone());
    if subject.starts_with('@') || subject.trim().contains(char::is_whitespace) {
        let schedule = Schedule::parse(&[subject], &timezone()).map_err(|error| usage(error.to_string()))?;
        return Ok((schedule, None));
    }
    let row = match Server::of(config)? {
        Some(server) => Some(server.task(subject).await?.0),
        None => {
            with_connection(config, async |connection| {
                Ok(tasks::list(connection, Some(subject)).await?.pop())
            })
            .await?
        }
    };
    let Some(task) = row else {
        return Err(not_found(format!(
            "there is no task `{subject}`; `dropcron tasks` lists them; a schedule has five or six fields, or begins with `@`"
        )));
    };
    if task.schedule.is_empty() {
        return Err(usage(format!(
            "the task `{subject}` has no schedule: it runs on request only"
        )));
    }
    let timezone = arguments.timezone.clone().unwrap_or(task.timezone);
    let schedule = Schedule::parse(&task.schedule, &timezone).map_err(|error| usage(error.to_string()))?;
    let standstill = match (task.paused_at, task.enabled) {
        (Some(at), _) => Some(format!(
            "the task has been paused since {at} by {}: it does not fire until `dropcron resume {subject}`",
            task.paused_by.as_deref().unwrap_or("somebody")
        )),
        (None, false) => Some("the task is disabled in its header: it does not fire".to_owned()),
        (None, true) => None,
    };
    Ok((schedule, standstill))
}
