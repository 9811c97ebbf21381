//! What the page asks for, of a service with 1,000 tasks and a million runs, and how long its first screen takes in a browser.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;

use super::visitor::Visitor;
use super::{Bench, median, write};

/// Tasks.
const TASKS: usize = 1_000;

/// Rows of the run log.
const ROWS: usize = 1_000_000;

/// How often each request is sent after the first.
const ROUNDS: usize = 15;

/// What is asked for. `{..}` is filled in: instants, and a place in the middle of the log.
const REQUESTS: &[(&str, &str)] = &[
    ("home: what goes on", "/api/v1/overview?timezone=Europe/Berlin"),
    (
        "home: timeline, its first lines",
        "/api/v1/timeline?from={18h}&to={in 6h}&limit=40",
    ),
    ("home: series", "/api/v1/series"),
    ("tasks: the first 100", "/api/v1/tasks?limit=100"),
    ("tasks: all 1,000", "/api/v1/tasks?limit=1000"),
    ("tasks: found by a word", "/api/v1/tasks?limit=100&search=0507"),
    ("task", "/api/v1/tasks/group10%2Ftask0510"),
    (
        "task: chart of a series",
        "/api/v1/tasks/group10%2Ftask0510/series/price/points?points=600",
    ),
    (
        "task: its newest runs",
        "/api/v1/runs?task=group10%2Ftask0510&limit=100",
    ),
    (
        "task: what was lost",
        "/api/v1/runs?task=group10%2Ftask0510&status=lost&limit=100",
    ),
    (
        "task: by value",
        "/api/v1/runs?task=group10%2Ftask0510&value_path=price&value_min=9990&limit=100",
    ),
    (
        "task: instants",
        "/api/v1/tasks/group10%2Ftask0510/instants?from={7d}&limit=100",
    ),
    ("runs: the newest", "/api/v1/runs?limit=100"),
    ("runs: behind half a million", "/api/v1/runs?limit=100&cursor={middle}"),
    (
        "runs: of one day, 100 days ago",
        "/api/v1/runs?limit=100&from={2424h}&to={2400h}",
    ),
    ("runs: failed", "/api/v1/runs?status=failed&limit=100"),
    (
        "runs: failed in a day",
        "/api/v1/runs?status=failed&from={24h}&limit=100",
    ),
    ("runs: lost, a few and old", "/api/v1/runs?status=lost&limit=100"),
    ("runs: cancelled, none", "/api/v1/runs?status=cancelled&limit=100"),
    ("runs: running", "/api/v1/runs?status=running&limit=100"),
    ("runs: asked for by people", "/api/v1/runs?trigger=manual&limit=100"),
    (
        "runs: by value in a day",
        "/api/v1/runs?value_path=price&value_min=9990&from={24h}&limit=100",
    ),
    (
        "runs: by value, all of the log",
        "/api/v1/runs?value_path=price&value_min=1000000&limit=100",
    ),
    ("metrics", "/metrics"),
];

/// Each request, then the browser.
pub async fn measure() -> anyhow::Result<()> {
    let bench = Bench::start("page", write_scripts).await?;
    bench.registered(TASKS).await?;
    let begun = Instant::now();
    bench
        .client
        .batch_execute("set search_path = dropcron; set synchronous_commit = off; set maintenance_work_mem = '256MB'")
        .await?;
    let text = include_str!("fill_log.sql").replace("{rows}", &ROWS.to_string());
    for statement in text.split(";\n") {
        bench.client.batch_execute(statement).await?;
    }
    let made = &bench.rows("select count(*) from run_log").await?[0][0];
    println!(
        "the page with {TASKS} tasks and {made} runs, made in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let visitor = Visitor::of(&bench)?;
    for (name, path) in REQUESTS {
        let path = filled(&bench, path).await?;
        let first = visitor.get(&path)?;
        let mut again = Vec::new();
        for _ in 0..ROUNDS {
            again.push(visitor.get(&path)?.milliseconds);
        }
        println!(
            "  {name:<34} {:>8.1} ms, first {:>8.1} ms {:>8.1} kB",
            median(&mut again),
            first.milliseconds,
            first.bytes as f64 / 1000.0
        );
    }
    first_screen(&visitor)?;
    println!();
    bench.stop()
}

/// Some run every five minutes, some every hour, most once a day.
fn write_scripts(scripts: &std::path::Path) {
    for number in 0..TASKS {
        let schedule = match number % 10 {
            0 => "*/5 * * * *".to_owned(),
            1..4 => format!("{} * * * *", number % 60),
            _ => format!("{} {} * * *", number % 60, number % 24),
        };
        let header = format!(
            "schedule = \"{schedule}\"\n# timezone = \"Europe/Berlin\"\n# description = \"Fetches the price of thing {number}\"\n# tags = [\"prices\"]"
        );
        let body = format!("def run():\n    return {{'price': {number}}}\n");
        write(
            scripts,
            &format!("group{:02}/task{number:04}.py", number / 50),
            &body,
            &header,
        );
    }
}

/// The path with instants so long ago, or to come, in the place of their names.
async fn filled(bench: &Bench, path: &str) -> anyhow::Result<String> {
    let mut path = path.to_owned();
    while let Some((before, rest)) = path.split_once('{') {
        let (name, after) = rest.split_once('}').context("a name has no end")?;
        let value = match name {
            "middle" => {
                let row = &bench
                    .rows(&format!(
                        "select to_char(scheduled_for at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') || '_' || run_id
                           from run_log order by scheduled_for desc, run_id desc offset {} limit 1",
                        ROWS / 2
                    ))
                    .await?[0];
                row[0].clone()
            }
            name => {
                let (sign, length) = name.strip_prefix("in ").map_or(("-", name), |length| ("+", length));
                let row = &bench
                    .rows(&format!(
                        "select to_char((now() {sign} interval '{length}') at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
                    ))
                    .await?[0];
                row[0].clone()
            }
        };
        path = format!("{before}{value}{after}");
    }
    Ok(path)
}

/// From the address until all parts of the screen are there, in a browser.
fn first_screen(visitor: &Visitor) -> anyhow::Result<()> {
    const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
    let named = std::env::var_os("DROPCRON_TEST_BROWSER").map(PathBuf::from);
    let Some(browser) = named.or_else(|| BROWSERS.iter().find_map(|name| which::which(name).ok())) else {
        println!(
            "  first screen: not measured, since no browser was found ({})",
            BROWSERS.join(", ")
        );
        return Ok(());
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/web/tests/bench/first_screen.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(browser)
        .arg(visitor.link())
        .output();
    let output = match output {
        Ok(output) if output.status.success() => output.stdout,
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            println!("  first screen: not measured: {}", why.trim());
            return Ok(());
        }
        Err(error) => {
            println!("  first screen: not measured, since `node` does not start: {error}");
            return Ok(());
        }
    };
    for screen in String::from_utf8_lossy(&output).lines() {
        let screen: serde_json::Value = serde_json::from_str(screen)?;
        println!(
            "  first screen of {:<18} {:>8.1} ms, first {:>8.1} ms",
            screen["name"].as_str().unwrap_or_default(),
            screen["again"].as_f64().unwrap_or(f64::NAN),
            screen["first"].as_f64().unwrap_or(f64::NAN)
        );
    }
    Ok(())
}
