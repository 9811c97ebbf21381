//! `dropcron export values`: the points of a task, as a stream: no more than a page of them is in memory.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::Exit;
use super::access::with_connection;
use super::runs::since;
use super::values::{find_task, raw_number};
use crate::cli::{ExportValuesArgs, Format};
use crate::config::Config;
use crate::store::observations::{self, Exported};

/// Points of one statement.
const PAGE: i64 = 5_000;

/// The columns of CSV and the fields of JSON; `import values` reads the first three and the last.
const HEADER: [&str; 6] = ["at", "series", "value", "run_id", "suspect", "verdict"];

/// Writes the points of a task to standard output.
pub(super) async fn values(arguments: &ExportValuesArgs, config: &Config) -> anyhow::Result<Exit> {
    let from = match &arguments.since {
        Some(text) => since(text)?,
        None => observations::FIRST_INSTANT,
    };
    let mut sink = Sink::new(arguments.format)?;
    with_connection(config, async |connection| {
        let task_id = find_task(connection, &arguments.task).await?;
        let mut last: Option<Exported> = None;
        loop {
            let series = arguments.series.as_deref();
            let points = observations::page(connection, task_id, series, from, last.as_ref(), PAGE).await?;
            for point in &points {
                sink.write(point)?;
            }
            let is_last = (points.len() as i64) < PAGE;
            last = points.into_iter().next_back();
            if is_last || sink.is_closed {
                return Ok(());
            }
        }
    })
    .await?;
    sink.finish()?;
    Ok(Exit::Ok)
}

/// Where points go. A reader that has gone (`| head`) is no error.
struct Sink {
    writer: Writing,
    is_closed: bool,
}

enum Writing {
    Csv(Box<csv::Writer<io::Stdout>>),
    Jsonl(BufWriter<io::Stdout>),
}

#[derive(Serialize)]
struct PointJson<'a> {
    at: Timestamp,
    series: &'a str,
    value: Option<Box<RawValue>>,
    run_id: Option<i64>,
    suspect: Option<&'a str>,
    verdict: Option<&'a str>,
}

impl Sink {
    fn new(format: Format) -> anyhow::Result<Sink> {
        let mut sink = Sink {
            writer: match format {
                Format::Csv => Writing::Csv(Box::new(csv::Writer::from_writer(io::stdout()))),
                Format::Jsonl => Writing::Jsonl(BufWriter::new(io::stdout())),
            },
            is_closed: false,
        };
        if let Writing::Csv(writer) = &mut sink.writer {
            writer.write_record(HEADER)?;
        }
        Ok(sink)
    }

    fn write(&mut self, point: &Exported) -> anyhow::Result<()> {
        let written = match &mut self.writer {
            Writing::Csv(writer) => {
                let run_id = point.run_id.map(|run_id| run_id.to_string()).unwrap_or_default();
                let cells = [
                    &point.at.to_string(),
                    &point.series,
                    point.number.as_deref().unwrap_or_default(),
                    &run_id,
                    point.suspect.as_deref().unwrap_or_default(),
                    point.verdict.as_deref().unwrap_or_default(),
                ];
                writer.write_record(cells).map_err(io::Error::from)
            }
            Writing::Jsonl(writer) => {
                let line = serde_json::to_string(&PointJson {
                    at: point.at,
                    series: &point.series,
                    value: raw_number(point.number.as_deref()),
                    run_id: point.run_id,
                    suspect: point.suspect.as_deref(),
                    verdict: point.verdict.as_deref(),
                })?;
                writeln!(writer, "{line}")
            }
        };
        self.unless_gone(written)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let flushed = match &mut self.writer {
            Writing::Csv(writer) => writer.flush(),
            Writing::Jsonl(writer) => writer.flush(),
        };
        self.unless_gone(flushed)
    }

    fn unless_gone(&mut self, result: io::Result<()>) -> anyhow::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(())
            }
            result => Ok(result?),
        }
    }
}
