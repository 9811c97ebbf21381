//! `dropcron why`: what became of an instant, and the facts that decided it.

use super::access::with_connection;
use super::output::{print, print_json};
use super::remote::Server;
use super::{Exit, not_found, usage};
use crate::api::{Why, WhyInstant};
use crate::cli::WhyArgs;
use crate::config::Config;
use crate::store::history::{self, Found};
use crate::why::{self, Time};

/// Facts are set in from the verdict they belong to.
const INDENT: &str = "  ";

/// Prints the answer.
pub(super) async fn why(arguments: &WhyArgs, config: &Config) -> anyhow::Result<Exit> {
    // Unquoted, a date and a time of day are two words.
    let text = arguments.time.join(" ");
    let time = Time::parse(&text).map_err(|error| usage(error.to_string()))?;
    let answer = match Server::of(config)? {
        Some(server) => server.why(&arguments.task, &text).await?,
        None => ask_database(arguments, &text, time, config).await?,
    };
    if arguments.json {
        print_json(&answer)?
    } else {
        print(&for_people(&answer))?
    }
    Ok(Exit::Ok)
}

async fn ask_database(arguments: &WhyArgs, text: &str, time: Time, config: &Config) -> anyhow::Result<Why> {
    let found = with_connection(config, async |connection| {
        Ok(history::read(connection, &arguments.task, time).await?)
    })
    .await?;
    let facts = match found {
        Found::Facts(facts) => facts,
        Found::NoTask(names) => return Err(no_task(&arguments.task, &names)),
    };
    let answer = why::answer(&facts, time).ok_or_else(|| usage(format!("`{text}` is beyond the years 1 to 9999")))?;
    Ok(Why::of(&answer)?)
}

fn no_task(name: &str, names: &[String]) -> anyhow::Error {
    let nearest = why::nearest_names(name, names);
    let advice = match nearest.as_slice() {
        [] => "`dropcron tasks` lists them".to_owned(),
        nearest => format!("did you mean `{}`?", nearest.join("` or `")),
    };
    not_found(format!("there is no task `{name}`: {advice}"))
}

fn for_people(answer: &Why) -> String {
    let mut paragraphs: Vec<String> = answer.clock_change.iter().map(|text| format!("{text}\n")).collect();
    paragraphs.extend(answer.instants.iter().map(|instant| paragraph(answer, instant)));
    paragraphs.join("\n")
}

fn paragraph(answer: &Why, instant: &WhyInstant) -> String {
    let width = instant.facts.iter().map(|fact| fact.label.len()).max().unwrap_or(0);
    let mut text = format!("{}, {}: {}\n", answer.task, instant.local, instant.verdict);
    for fact in &instant.facts {
        text.push_str(&format!("{INDENT}{:width$}{INDENT}{}\n", fact.label, fact.text));
    }
    text
}
