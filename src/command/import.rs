//! `dropcron import values`: points of the past, from people who arrive with a file of them.
//!
//! The file is read line by line and written in batches, all in one transaction: no more than a batch of it is in memory, and
//! a bad line leaves everything as it was, unless it is to be left out.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::json;
use serde_json::value::RawValue;

use super::access::with_connection;
use super::output::{print, print_json, say, shorten};
use super::values::find_task;
use super::{Exit, ExitError, actor, usage};
use crate::cli::{Format, ImportValuesArgs};
use crate::config::Config;
use crate::series::{MAX_NAME_CHARACTERS, is_storable, parse_number};
use crate::store::Connection;
use crate::store::observations::{self, Imported};

/// Points of one statement.
const BATCH: usize = 5_000;

/// So many bad lines are named one by one.
const NAMED_LINES: usize = 20;

/// A line of JSON is at most so long; a CSV of one column of that length is none.
const LONGEST_LINE: u64 = 1024 * 1024;

/// Imports the points of a file.
pub(super) async fn values(arguments: &ImportValuesArgs, config: &Config) -> anyhow::Result<Exit> {
    let timezone = match &arguments.timezone {
        Some(name) => {
            Some(TimeZone::get(name).map_err(|_| usage(format!("`--timezone {name}`: there is no such time zone")))?)
        }
        None => None,
    };
    let reader = LineReader {
        series: arguments.series.clone(),
        timezone,
    };
    let lines = open(&arguments.file, arguments.format)?;
    let by = actor();
    let imported = with_connection(config, async |connection| {
        let task_id = find_task(connection, &arguments.task).await?;
        let target = Target {
            task_id,
            by: &by,
            replace: arguments.replace,
        };
        observations::all_or_nothing(connection, async |connection| {
            let import = import(connection, &target, &reader, lines).await?;
            match import.bad > 0 && !arguments.skip_bad {
                // Whatever was written goes with the transaction.
                true => Err(nothing_imported(&import)),
                false => Ok(import),
            }
        })
        .await
    })
    .await?;
    report(arguments, &imported)?;
    Ok(Exit::Ok)
}

fn nothing_imported(import: &Import) -> anyhow::Error {
    let message = format!(
        "{}\nnothing was imported: {} of {} lines are bad; correct them, or leave them out with `--skip-bad`",
        named(import),
        import.bad,
        import.bad + import.read
    );
    ExitError {
        exit: Exit::Failed,
        message,
    }
    .into()
}

fn named(import: &Import) -> String {
    let mut lines = import.problems.clone();
    if import.bad > lines.len() as u64 {
        lines.push(format!("and {} more", import.bad - lines.len() as u64));
    }
    lines.join("\n")
}

fn report(arguments: &ImportValuesArgs, import: &Import) -> anyhow::Result<()> {
    let kept = import.read - import.written;
    if import.bad > 0 {
        say(&format!("{}\n{} bad lines were left out\n", named(import), import.bad));
    }
    if arguments.json {
        return print_json(
            &json!({ "task": arguments.task, "imported": import.written, "kept": kept, "bad": import.bad }),
        );
    }
    let replaced = if arguments.replace {
        ""
    } else {
        "; `--replace` would replace those that were there"
    };
    let others = match kept {
        0 => String::new(),
        kept => format!(", {kept} were there already or stand twice in the file{replaced}"),
    };
    print(&format!(
        "{} points imported into `{}`{others}\n",
        import.written, arguments.task
    ))
}

/// Where points go.
struct Target<'a> {
    task_id: i64,
    by: &'a str,
    replace: bool,
}

/// What came of it.
#[derive(Default)]
struct Import {
    /// Good lines.
    read: u64,
    /// Points that were written.
    written: u64,
    /// Bad lines.
    bad: u64,
    /// The first of them, with what is bad about them.
    problems: Vec<String>,
}

async fn import(
    connection: &mut Connection,
    target: &Target<'_>,
    reader: &LineReader,
    lines: Lines,
) -> anyhow::Result<Import> {
    let mut import = Import::default();
    let mut batch = Vec::with_capacity(BATCH);
    for line in lines {
        let (number, line) = line?;
        match line.and_then(|line| reader.point(&line)) {
            Ok(point) => {
                import.read += 1;
                batch.push(point);
            }
            Err(problem) => {
                import.bad += 1;
                if import.problems.len() < NAMED_LINES {
                    import.problems.push(format!("line {number}: {problem}"));
                }
            }
        }
        if batch.len() == BATCH {
            import.written += write(connection, target, &batch).await?;
            batch.clear();
        }
    }
    import.written += write(connection, target, &batch).await?;
    Ok(import)
}

async fn write(connection: &mut Connection, target: &Target<'_>, batch: &[Imported]) -> anyhow::Result<u64> {
    Ok(observations::import(connection, target.task_id, target.by, target.replace, batch).await?)
}

/// The texts of one line.
#[derive(Default)]
struct Line {
    at: String,
    series: Option<String>,
    value: String,
    verdict: Option<String>,
}

/// Lines with their numbers; what a line itself has wrong is inside, what the file has wrong is outside.
type Lines = Box<dyn Iterator<Item = anyhow::Result<(u64, Result<Line, String>)>>>;

fn open(path: &Path, format: Option<Format>) -> anyhow::Result<Lines> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(path).map_err(|error| usage(format!("`{}` cannot be read: {error}", path.display())))?)
    };
    let mut input = BufReader::new(input);
    let format = match format {
        Some(format) => format,
        None if input.fill_buf()?.trim_ascii_start().starts_with(b"{") => Format::Jsonl,
        None => Format::Csv,
    };
    match format {
        Format::Csv => csv_lines(input),
        Format::Jsonl => Ok(json_lines(input)),
    }
}

fn csv_lines(input: impl Read + 'static) -> anyhow::Result<Lines> {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::Headers)
        .flexible(true)
        .from_reader(input);
    let header = reader.headers()?.clone();
    let column = |name: &str| {
        let is_it = |cell: &str| cell.trim_start_matches('\u{feff}').eq_ignore_ascii_case(name);
        header.iter().position(is_it)
    };
    let needed = |name: &str| {
        column(name).ok_or_else(|| {
            usage(format!(
                "the first line must name the columns, and has no `{name}`: it is `{}`; write `at,series,value`",
                shorten(&header.iter().collect::<Vec<_>>().join(","), 60)
            ))
        })
    };
    let (at, value) = (needed("at")?, needed("value")?);
    let (series, verdict) = (column("series"), column("verdict"));
    let lines = reader.into_records().map(move |record| {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let number = error.position().map_or(0, csv::Position::line);
                return match error.into_kind() {
                    csv::ErrorKind::Io(error) => Err(error.into()),
                    csv::ErrorKind::Utf8 { .. } => Ok((number, Err("it is not UTF-8".to_owned()))),
                    other => Ok((number, Err(format!("it cannot be read: {other:?}")))),
                };
            }
        };
        let number = record.position().map_or(0, csv::Position::line);
        let cell = |at: Option<usize>| at.and_then(|at| record.get(at)).map(str::to_owned);
        let line = match (cell(Some(at)), cell(Some(value))) {
            (Some(at), Some(value)) => Ok(Line {
                at,
                value,
                series: cell(series).filter(|series| !series.is_empty()),
                verdict: cell(verdict).filter(|verdict| !verdict.is_empty()),
            }),
            _ => Err("it has fewer cells than the first line".to_owned()),
        };
        Ok((number, line))
    });
    Ok(Box::new(lines))
}

#[derive(serde::Deserialize)]
struct JsonLine<'a> {
    at: String,
    series: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    verdict: Option<String>,
}

fn json_lines(mut input: impl BufRead + 'static) -> Lines {
    let mut number = 0;
    Box::new(std::iter::from_fn(move || {
        loop {
            number += 1;
            let mut bytes = Vec::new();
            match input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
                Err(error) => return Some(Err(error.into())),
                Ok(0) => return None,
                Ok(read) if read as u64 == LONGEST_LINE => {
                    return Some(Err(usage(format!("line {number} is longer than {LONGEST_LINE} bytes"))));
                }
                Ok(_) => {}
            }
            if !bytes.trim_ascii().is_empty() {
                return Some(Ok((number, json_line(&bytes))));
            }
        }
    }))
}

fn json_line(bytes: &[u8]) -> Result<Line, String> {
    let line: JsonLine<'_> =
        serde_json::from_slice(bytes).map_err(|error| format!("it is no object with `at` and `value`: {error}"))?;
    Ok(Line {
        at: line.at,
        series: line.series,
        // As a line of CSV would have it: nothing for null.
        value: line.value.map(|value| value.get().to_owned()).unwrap_or_default(),
        verdict: line.verdict,
    })
}

/// Reads lines into points.
struct LineReader {
    /// The series of lines that name none.
    series: String,
    /// The zone of times that name none.
    timezone: Option<TimeZone>,
}

impl LineReader {
    fn point(&self, line: &Line) -> Result<Imported, String> {
        let series = line.series.as_ref().unwrap_or(&self.series);
        if !(1..=MAX_NAME_CHARACTERS).contains(&series.chars().count()) || series.contains('\0') {
            return Err(format!(
                "the name of its series does not have 1 to {MAX_NAME_CHARACTERS} characters: `{}`",
                shorten(series, 40)
            ));
        }
        let text = line.value.trim();
        let number = match text {
            "" | "null" => None,
            text => Some(parse_number(text).filter(|number| is_storable(number)).ok_or_else(|| {
                format!(
                    "`{}` is no number; write it with a point and without separators, such as `-1234.5`",
                    shorten(text, 40)
                )
            })?),
        };
        Ok(Imported {
            series: series.clone(),
            at: self.instant(line.at.trim())?,
            kind: match text {
                "" | "null" => "null",
                text if text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false") => "boolean",
                _ => "number",
            },
            number: number.map(str::to_owned),
            verdict: match line.verdict.as_deref() {
                None => None,
                Some("accepted") => Some("accepted"),
                Some("rejected") => Some("rejected"),
                Some(other) => {
                    return Err(format!(
                        "its verdict is `{}`, not `accepted` or `rejected`",
                        shorten(other, 40)
                    ));
                }
            },
        })
    }

    /// An instant with its offset; or a local time of the zone, where one is named. Of a time that a clock shows twice it is
    /// the first, and of one that it skips the one after the gap.
    fn instant(&self, text: &str) -> Result<Timestamp, String> {
        let shown = shorten(text, 40);
        if let Ok(at) = text.parse::<Timestamp>() {
            return match at >= observations::FIRST_INSTANT {
                true => Ok(at),
                false => Err(format!("`{shown}` is earlier than Postgres knows")),
            };
        }
        let local: DateTime = text.parse().map_err(|_| {
            format!("`{shown}` is no instant; write it as `2027-01-01T09:00:00Z` or `2027-01-01T09:00:00+01:00`")
        })?;
        let Some(timezone) = &self.timezone else {
            return Err(format!(
                "`{shown}` names no zone; write `{shown}Z` or an offset, or give the zone of all with `--timezone`"
            ));
        };
        let zoned = local.to_zoned(timezone.clone());
        zoned
            .map(|zoned| zoned.timestamp())
            .map_err(|error| format!("`{shown}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(timezone: Option<&str>) -> LineReader {
        LineReader {
            series: "value".to_owned(),
            timezone: timezone.map(|name| TimeZone::get(name).expect("a zone")),
        }
    }

    #[test]
    fn times_without_a_zone_need_one() {
        let instant = |zone, text| reader(zone).instant(text).map(|at| at.to_string());
        assert_eq!(
            instant(None, "2026-01-01T01:00:00+01:00").as_deref(),
            Ok("2026-01-01T00:00:00Z")
        );
        assert!(instant(None, "2026-01-01").is_err_and(|problem| problem.contains("names no zone")));
        assert_eq!(
            instant(Some("Europe/Berlin"), "2026-01-01").as_deref(),
            Ok("2025-12-31T23:00:00Z")
        );
        assert_eq!(
            instant(Some("Europe/Berlin"), "2026-07-01 12:00").as_deref(),
            Ok("2026-07-01T10:00:00Z")
        );
        assert!(instant(Some("Europe/Berlin"), "1.7.2026").is_err_and(|problem| problem.contains("is no instant")));
    }

    #[test]
    fn lines_are_read_strictly() {
        let point = |value: &str| {
            let line = Line {
                at: "2026-01-01T00:00:00Z".to_owned(),
                value: value.to_owned(),
                ..Line::default()
            };
            reader(None).point(&line).map(|point| (point.kind, point.number))
        };
        assert_eq!(point(" 1.50 "), Ok(("number", Some("1.50".to_owned()))));
        assert_eq!(point("TRUE"), Ok(("boolean", Some("1".to_owned()))));
        assert_eq!(point(""), Ok(("null", None)));
        for bad in ["1,5", "NaN", "12 EUR"] {
            assert!(
                point(bad).is_err_and(|problem| problem.contains("is no number")),
                "{bad}"
            );
        }
    }
}
