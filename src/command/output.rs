//! What commands print: tables for people, JSON for machines.

use std::io::Write;

use comfy_table::{ContentArrangement, Table};
use jiff::Timestamp;

/// A table without lines, for people and for `awk`.
pub(super) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_preset(comfy_table::presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().map(|name| name.to_uppercase()));
    for row in rows {
        table.add_row(row.iter().map(|cell| single_line(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// The same as comma-separated values, as RFC 4180 describes them but for the ends of lines.
pub(super) fn csv(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: Vec<String>| cells.iter().map(|cell| quoted(cell)).collect::<Vec<_>>().join(",") + "\n";
    let header = header.iter().map(|name| (*name).to_owned()).collect();
    std::iter::once(header).chain(rows).map(line).collect()
}

fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

/// A header as lines of a key and its value, for people: what it says and what it leaves at its default. Empty values are
/// left out.
pub(super) fn settings(header: &serde_json::Value) -> String {
    let rows = flat(header);
    let width = rows.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(key, value)| format!("{key:width$}  {}\n", single_line(value)))
        .collect()
}

/// The values inside of a header by their keys, joined by dots. Empty values are left out.
pub(super) fn flat(header: &serde_json::Value) -> Vec<(String, String)> {
    let mut rows = Vec::new();
    flatten("", header, &mut rows);
    rows
}

fn flatten(key: &str, value: &serde_json::Value, rows: &mut Vec<(String, String)>) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(&key, value, rows);
            }
        }
        Value::Null => {}
        Value::Array(items) if items.is_empty() => {}
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let texts: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            rows.push((key.to_owned(), texts.join(", ")));
        }
        Value::String(text) => rows.push((key.to_owned(), text.clone())),
        other => rows.push((key.to_owned(), other.to_string())),
    }
}

/// Prints; a reader that has gone (`| head`) is no error. `println!` would panic.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Says something to the person, past the output; nobody there to read it is no error.
pub(super) fn say(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}

/// Prints a value as JSON.
pub(super) fn print_json(value: &impl serde::Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// An instant in seconds, UTC.
pub(super) fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The same; nothing for none.
pub(super) fn maybe_instant(at: Option<Timestamp>) -> String {
    at.map(instant).unwrap_or_default()
}

/// Milliseconds as people read them.
pub(super) fn milliseconds(value: Option<f64>) -> String {
    match value {
        None => String::new(),
        Some(value) if value < 1_000.0 => format!("{value:.0}ms"),
        Some(value) if value < 60_000.0 => format!("{:.1}s", value / 1_000.0),
        Some(value) => {
            let seconds = (value / 1_000.0).round() as u64;
            crate::schedule::format_duration(std::time::Duration::from_secs(seconds))
        }
    }
}

/// The beginning of a text, on one line.
pub(super) fn shorten(text: &str, characters: usize) -> String {
    let line = single_line(text);
    if line.chars().count() <= characters {
        return line;
    }
    line.chars().take(characters.saturating_sub(1)).chain(['…']).collect()
}

/// Without control characters: what scripts return must not write to the terminal.
pub(super) fn single_line(text: &str) -> String {
    text.chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect()
}
