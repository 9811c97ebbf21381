//! Log lines: for people on a terminal, JSON for machines.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config::{ConfigError, Environment};

/// Whether a reader of standard error expects JSON, also in the very last line.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// Sets up logging to standard error, as `DROPCRON_LOG` and `DROPCRON_LOG_FORMAT` say. `default_level` holds where nothing is said.
pub fn init(environment: &Environment, default_level: &str) -> Result<(), ConfigError> {
    let filter = filter(environment, default_level)?;
    // Who reads the log may go away at any time: what cannot be written is dropped. The subscriber would say so on
    // standard error, and panic where that is what is gone.
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .log_internal_errors(false)
        .with_target(false);
    const NAME: &str = "DROPCRON_LOG_FORMAT";
    match text(environment, NAME).as_deref() {
        None | Some("text") => builder
            .with_ansi(std::io::stderr().is_terminal() && environment.get("NO_COLOR").is_none())
            .init(),
        Some("json") => {
            IS_JSON.store(true, Ordering::Relaxed);
            builder.json().flatten_event(true).init();
        }
        Some(other) => {
            return Err(ConfigError {
                name: NAME,
                value: other.to_owned(),
                problem: "write `text` or `json`".to_owned(),
            });
        }
    }
    Ok(())
}

/// The last words of a command that failed; shown whatever the filter says.
pub fn report_fatal(message: &str) {
    let line = if IS_JSON.load(Ordering::Relaxed) {
        let timestamp = jiff::Timestamp::now().to_string();
        serde_json::json!({ "timestamp": timestamp, "level": "ERROR", "message": message }).to_string()
    } else {
        format!("error: {message}")
    };
    // Nobody there to read it is no reason to panic.
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn filter(environment: &Environment, default_level: &str) -> Result<EnvFilter, ConfigError> {
    const NAME: &str = "DROPCRON_LOG";
    let Some(text) = text(environment, NAME) else {
        return Ok(EnvFilter::new(default_level));
    };
    let refused = |problem: String| ConfigError {
        name: NAME,
        value: text.clone(),
        problem: format!("{problem}; write a level such as `info`"),
    };
    // A mistyped level would be taken for the name of a module, and turn all lines off.
    let is_bare_word = text.chars().all(char::is_alphanumeric);
    if is_bare_word && text != "dropcron" && text.parse::<LevelFilter>().is_err() {
        return Err(refused("it is no level".to_owned()));
    }
    EnvFilter::try_new(&text).map_err(|error| refused(error.to_string()))
}

fn text(environment: &Environment, name: &str) -> Option<String> {
    environment.get(name).map(|text| text.to_string_lossy().into_owned())
}
