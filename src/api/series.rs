//! Series of numbers: which there are, their points as a chart wants them, and what people say of a point.

use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::change;
use super::extract::{Body, Params, Segment, storable};
use super::identity::Identity;
use super::problem::Problem;
use super::tasks::{ago, find_id, no_task};
use crate::script::ContentHash;
use crate::series::largest_triangles;
use crate::store::observations::{self, FIRST_INSTANT, Filter, PointRow, Verdict};
use crate::store::series::{self, Charted};
use crate::store::{pages, requests};

/// Newest points that a series shows in the list.
const RECENT: i32 = 50;

/// Points of a chart unless said otherwise, and at most.
const POINTS: usize = 500;
const MOST_POINTS: usize = 5000;

/// So many are read one by one; of more, the lowest and the highest of each of many spans.
const READ_ALL: i64 = 20_000;

/// Marks of failures in a chart at most.
const FAILURES: i64 = 2000;

/// The newest versions of the script that a chart looks at.
const VERSIONS: i64 = 1000;

/// Rows of a list of points at most. A file of all points of a series is sent piece by piece.
const MOST_ROWS: i64 = 10_000;

/// A series.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// The task.
    pub task: String,
    /// Where the number stands in what it returns: keys and positions joined by dots; `value` for a bare number.
    pub series: String,
    /// What it counts.
    pub unit: Option<String>,
    /// What the header expects of it.
    #[schema(value_type = Option<Value>)]
    pub expectation: Option<Value>,
    /// Its newest number.
    pub last: Option<RecentPoint>,
    /// The number before that.
    pub previous: Option<RecentPoint>,
    /// Its newest points, oldest first, gaps included; at most 50.
    pub recent: Vec<RecentPoint>,
    /// Whether no new number has come for longer than the header allows.
    pub is_stale: bool,
    /// Whether a point is suspect and nobody has said anything of it.
    pub has_open: bool,
}

/// A point, in short.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RecentPoint {
    /// The instant.
    pub at: Timestamp,
    /// The number; none: a gap.
    #[schema(value_type = Option<f64>)]
    pub value: Option<Box<RawValue>>,
}

impl Clone for RecentPoint {
    fn clone(&self) -> RecentPoint {
        RecentPoint {
            at: self.at,
            value: self.value.clone(),
        }
    }
}

/// Series of numbers.
#[derive(Debug, Serialize, ToSchema)]
pub struct SeriesList {
    /// In the order of task and series.
    pub items: Vec<Series>,
}

/// Which series are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SeriesQuery {
    /// Of this task.
    task: Option<String>,
}

/// List series with their newest points.
#[utoipa::path(get, path = "/api/v1/series", tag = "series", params(SeriesQuery), responses((status = 200, body = SeriesList), super::problem::Refusals))]
pub async fn list_series(
    State(api): App,
    Params(query): Params<SeriesQuery>,
) -> Result<axum::Json<SeriesList>, Problem> {
    let mut connection = api.database.connection().await?;
    if let Some(task) = &query.task {
        find_id(&mut connection, task).await?;
    }
    let rows = series::list(&mut connection, query.task.as_deref(), RECENT).await?;
    let item = |row: series::SeriesRow| {
        let recent: Vec<RecentPoint> = serde_json::from_str(&row.recent).unwrap_or_default();
        let mut numbers = recent.iter().rev().filter(|point| point.value.is_some()).cloned();
        let expectation: Option<Value> = row.expectation.and_then(|text| serde_json::from_str(&text).ok());
        Series {
            task: row.task,
            series: row.series,
            unit: expectation
                .as_ref()
                .and_then(|expectation| expectation["unit"].as_str())
                .map(str::to_owned),
            expectation,
            last: numbers.next(),
            previous: numbers.next(),
            recent,
            is_stale: row.is_stale,
            has_open: row.has_open,
        }
    };
    Ok(axum::Json(SeriesList {
        items: rows.into_iter().map(item).collect(),
    }))
}

/// Which points are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ChartQuery {
    /// From this instant on; from the first unless said otherwise.
    from: Option<Timestamp>,
    /// Up to this one; to the last unless said otherwise.
    to: Option<Timestamp>,
    /// At most so many; 500 unless said otherwise, 5000 at most. What is suspect comes on top.
    points: Option<usize>,
}

/// A point of a chart.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChartPoint {
    /// The instant.
    pub at: Timestamp,
    /// The number, with every digit; none: a gap.
    #[schema(value_type = Option<f64>)]
    pub value: Option<Box<RawValue>>,
    /// What stood there: `number`, `boolean`, or for a gap `null`, `text`, `list`, `object`.
    pub kind: String,
    /// The run that returned it; none: imported.
    pub run_id: Option<i64>,
    /// What is odd about it.
    pub suspect: Option<String>,
    /// Whether it breaks an expectation of the header; no, with `suspect`: a hint.
    pub breach: bool,
    /// `accepted` or `rejected` by a person.
    pub verdict: Option<String>,
    /// Who said so.
    pub verdict_by: Option<String>,
    /// Why.
    pub note: Option<String>,
}

impl From<Charted> for ChartPoint {
    fn from(row: Charted) -> ChartPoint {
        ChartPoint {
            at: row.at,
            value: row.number.and_then(|number| RawValue::from_string(number).ok()),
            kind: row.kind,
            run_id: row.run_id,
            suspect: row.suspect,
            breach: row.breach,
            verdict: row.verdict,
            verdict_by: row.verdict_by,
            note: row.note,
        }
    }
}

/// What a chart of a series shows.
#[derive(Debug, Serialize, ToSchema)]
pub struct Chart {
    /// The task.
    pub task: String,
    /// The series.
    pub series: String,
    /// What it counts.
    pub unit: Option<String>,
    /// The points, oldest first.
    pub points: Vec<ChartPoint>,
    /// How many points there are in this span, of which these were chosen.
    pub downsampled_from: i64,
    /// How many of those are gaps.
    pub gaps: i64,
    /// The lowest number of the span; what was rejected does not count.
    #[schema(value_type = Option<f64>)]
    pub min: Option<Box<RawValue>>,
    /// The highest.
    #[schema(value_type = Option<f64>)]
    pub max: Option<Box<RawValue>>,
    /// What the header expects of it.
    #[schema(value_type = Option<Value>)]
    pub expectation: Option<Value>,
    /// Instants at which the task failed or did not run, oldest first; the newest 2000.
    pub failures: Vec<Failure>,
    /// Changes of the script in this span, oldest first.
    pub versions: Vec<ChartVersion>,
}

/// An instant without a value.
#[derive(Debug, Serialize, ToSchema)]
pub struct Failure {
    /// The instant.
    pub at: Timestamp,
    /// The row of the run log.
    pub run_id: i64,
    /// What became of it.
    pub status: String,
}

/// A change of the script.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChartVersion {
    /// Since when it was in force.
    pub at: Timestamp,
    /// The version.
    pub sha256: String,
}

/// Read the points of a series as a chart wants them: so few that it can draw them, and so chosen that they look the same.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/series/{series}/points", tag = "series",
    params(("name" = String, Path), ("series" = String, Path), ChartQuery), responses((status = 200, body = Chart), super::problem::Refusals))]
pub async fn chart_series(
    State(api): App,
    Segment((name, series)): Segment<(String, String)>,
    Params(query): Params<ChartQuery>,
) -> Result<axum::Json<Chart>, Problem> {
    let wanted = query.points.unwrap_or(POINTS);
    if !(2..=MOST_POINTS).contains(&wanted) {
        return Err(Problem::bad_request(format!(
            "`points` is {wanted}: it must be from 2 to {MOST_POINTS}"
        )));
    }
    let (from, to) = (
        storable(query.from.unwrap_or(Timestamp::MIN)),
        query.to.map_or(Timestamp::MAX, storable),
    );
    let mut connection = api.database.connection().await?;
    let task_id = find_id(&mut connection, &name).await?;
    let summary = series::summary(&mut connection, task_id, &series, from, to).await?;
    let known = series::list(&mut connection, Some(&name), 0).await?;
    let Some(known) = known.into_iter().find(|row| row.series == series) else {
        return Err(no_series(&name, &series));
    };
    let expectation: Option<Value> = known.expectation.and_then(|text| serde_json::from_str(&text).ok());
    let (first, last) = (summary.first_at.unwrap_or(from), summary.last_at.unwrap_or(to));
    let spans = (summary.points > READ_ALL && first < last).then(|| i32::try_from(2 * wanted).unwrap_or(i32::MAX));
    let rows = match summary.points {
        0 => Vec::new(),
        _ => series::points(&mut connection, task_id, &series, first, last, spans).await?,
    };
    let mut failures = series::failures(&mut connection, task_id, from, to, FAILURES).await?;
    failures.reverse();
    let versions = pages::versions(&mut connection, task_id, VERSIONS).await?;
    let raw = |text: Option<String>| text.and_then(|text| RawValue::from_string(text).ok());
    Ok(axum::Json(Chart {
        unit: expectation
            .as_ref()
            .and_then(|expectation| expectation["unit"].as_str())
            .map(str::to_owned),
        points: choose(rows, wanted).into_iter().map(ChartPoint::from).collect(),
        downsampled_from: summary.points,
        gaps: summary.gaps,
        min: raw(summary.low),
        max: raw(summary.high),
        expectation,
        failures: failures
            .into_iter()
            .map(|row| Failure {
                at: row.at,
                run_id: row.run_id,
                status: row.status,
            })
            .collect(),
        versions: versions
            .into_iter()
            .rev()
            .filter(|version| version.in_force_at >= from && version.in_force_at <= to)
            .map(|version| ChartVersion {
                at: version.in_force_at,
                sha256: version.sha256,
            })
            .collect(),
        task: name,
        series,
    }))
}

fn no_series(task: &str, series: &str) -> Problem {
    Problem::not_found(format!(
        "`{task}` has no series `{series}`; `GET /api/v1/series?task=…` lists them"
    ))
}

/// So many points as a chart wants, and what is suspect on top. A gap parts a line: it stays where numbers stand on both sides.
fn choose(rows: Vec<Charted>, wanted: usize) -> Vec<Charted> {
    if rows.len() <= wanted {
        return rows;
    }
    let numbers: Vec<(usize, (f64, f64))> = rows
        .iter()
        .enumerate()
        .filter_map(|(at, row)| {
            let value: f64 = row.number.as_ref()?.parse().ok()?;
            Some((at, (row.at.as_millisecond() as f64, value)))
        })
        .collect();
    let gaps: Vec<usize> = (0..rows.len())
        .filter(|at| rows[*at].number.is_none() && (*at == 0 || rows[at - 1].number.is_some()))
        .collect();
    let gap_step = gaps.len().div_ceil((wanted / 4).max(1)).max(1);
    let shown_gaps: Vec<usize> = gaps.into_iter().step_by(gap_step).collect();
    let xy: Vec<(f64, f64)> = numbers.iter().map(|(_, point)| *point).collect();
    let kept = largest_triangles(&xy, wanted.saturating_sub(shown_gaps.len()).max(2));
    let mut stays = vec![false; rows.len()];
    for at in kept.into_iter().map(|at| numbers[at].0).chain(shown_gaps) {
        stays[at] = true;
    }
    for (at, row) in rows.iter().enumerate() {
        stays[at] |= row.suspect.is_some();
    }
    rows.into_iter()
        .zip(stays)
        .filter_map(|(row, stays)| stays.then_some(row))
        .collect()
}

/// Which points a file is to have.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CsvQuery {
    /// From this instant on; from the first unless said otherwise.
    from: Option<Timestamp>,
}

/// Read all points of a series as comma-separated values, oldest first, with every digit; `dropcron import values` reads them.
#[utoipa::path(get, path = "/api/v1/tasks/{name}/series/{series}/points.csv", tag = "series",
    params(("name" = String, Path), ("series" = String, Path), CsvQuery),
    responses((status = 200, body = String, content_type = "text/csv"), super::problem::Refusals))]
pub async fn export_series(
    State(api): App,
    Segment((name, series)): Segment<(String, String)>,
    Params(query): Params<CsvQuery>,
) -> Result<Response, Problem> {
    let since = storable(query.from.unwrap_or(Timestamp::MIN));
    let task_id = {
        let mut connection = api.database.connection().await?;
        let task_id = find_id(&mut connection, &name).await?;
        let first = observations::page(&mut connection, task_id, Some(&series), FIRST_INSTANT, None, 1).await?;
        if first.is_empty() {
            return Err(no_series(&name, &series));
        }
        task_id
    };
    let pieces = futures_util::stream::unfold(Some((api, None)), move |state| {
        let series = series.clone();
        async move {
            let (api, after) = state?;
            piece(&api, task_id, &series, since, after)
                .await
                .map(|(text, after)| (text, after.map(|after| (api, Some(after)))))
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/csv; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"points.csv\""),
    ];
    // Whoever compresses it asks once more after the end.
    Ok((headers, HttpBody::from_stream(pieces.fuse())).into_response())
}

type Piece = (std::io::Result<String>, Option<observations::Exported>);

/// The next points as lines, behind the line of names. A failure breaks the answer off, so that nobody takes a part for all.
async fn piece(
    api: &super::Api,
    task_id: i64,
    series: &str,
    since: Timestamp,
    after: Option<observations::Exported>,
) -> Option<Piece> {
    const PIECE: i64 = 5000;
    let read = async {
        let mut connection = api.database.connection().await?;
        Ok::<_, anyhow::Error>(
            observations::page(&mut connection, task_id, Some(series), since, after.as_ref(), PIECE).await?,
        )
    };
    let rows = match read.await {
        Ok(rows) => rows,
        Err(error) => {
            tracing::warn!(error = format!("{error:#}"), "an export breaks off");
            return Some((Err(std::io::Error::other(error)), None));
        }
    };
    let text = csv_lines(&rows, after.is_none());
    let is_last = (rows.len() as i64) < PIECE;
    let last = rows.into_iter().next_back().filter(|_| !is_last);
    (!text.is_empty() || last.is_some()).then_some((Ok(text), last))
}

fn csv_lines(rows: &[observations::Exported], with_names: bool) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut lines: Vec<Vec<String>> = Vec::new();
    if with_names {
        lines.push(
            ["at", "series", "value", "kind", "run_id", "suspect", "verdict"]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    lines.extend(rows.iter().map(|row| {
        vec![
            row.at.to_string(),
            row.series.clone(),
            row.number.clone().unwrap_or_default(),
            row.kind.clone(),
            row.run_id.map(|run_id| run_id.to_string()).unwrap_or_default(),
            row.suspect.clone().unwrap_or_default(),
            row.verdict.clone().unwrap_or_default(),
        ]
    }));
    for line in lines {
        // Into memory nothing fails.
        let _ = writer.write_record(line);
    }
    writer
        .into_inner()
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_default()
}

/// What a person says of a point.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveVerdict {
    /// The instant of the point.
    pub at: Timestamp,
    /// `accepted`: it counts like any other. `rejected`: it stays stored, and does not count.
    pub verdict: VerdictWord,
    /// Why, for others who look.
    #[serde(default)]
    pub note: Option<String>,
}

/// What can be said of a point.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum VerdictWord {
    /// It counts like any other.
    Accepted,
    /// It stays stored, and does not count.
    Rejected,
}

impl VerdictWord {
    fn as_str(self) -> &'static str {
        match self {
            VerdictWord::Accepted => "accepted",
            VerdictWord::Rejected => "rejected",
        }
    }
}

/// A point of which somebody has said something.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Settled {
    /// The task.
    pub task: String,
    /// The series.
    pub series: String,
    /// The instant.
    pub at: Timestamp,
    /// The number, every digit; none: a gap.
    pub value: Option<String>,
    /// `accepted` or `rejected`.
    pub verdict: String,
    /// Who said so.
    pub verdict_by: String,
}

/// Accept or reject a point.
#[utoipa::path(post, path = "/api/v1/tasks/{name}/series/{series}/verdict", tag = "series",
    params(("name" = String, Path), ("series" = String, Path)), request_body = GiveVerdict,
    responses((status = 200, body = Settled), super::problem::Refusals))]
pub async fn give_verdict(
    State(api): App,
    who: Identity,
    Segment((name, series)): Segment<(String, String)>,
    Body(wanted): Body<GiveVerdict>,
) -> Result<axum::Json<Settled>, Problem> {
    let mut connection = api.database.connection().await?;
    let at = storable(wanted.at);
    let (by, verdict) = (who.actor(), wanted.verdict.as_str());
    let settled = requests::in_transaction(&mut connection, async |connection| {
        let given = Verdict {
            task_name: &name,
            series: &series,
            at,
            verdict,
            by: &by,
            note: wanted.note.as_deref(),
        };
        let settled = observations::give_verdict(connection, given).await?;
        if settled.is_some() {
            let subject = format!("{name} {series} {at}");
            let after = json!({ "verdict": verdict, "note": wanted.note });
            change::record(connection, &who, "value.judge", &subject, None, Some(after)).await?;
        }
        Ok::<_, Problem>(settled)
    })
    .await?;
    let Some(settled) = settled else {
        find_id(&mut connection, &name).await?;
        return Err(Problem::not_found(format!(
            "`{name}` has no point of `{series}` at {at}"
        )));
    };
    Ok(axum::Json(Settled {
        task: name,
        series,
        at,
        value: settled.number,
        verdict: verdict.to_owned(),
        verdict_by: by,
    }))
}

/// Which points are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PointQuery {
    /// Of this task.
    task: Option<String>,
    /// Of this series.
    series: Option<String>,
    /// Within this time back from now, such as `30d`.
    since: Option<String>,
    /// Only what is suspect and nobody has said anything of.
    suspect: Option<bool>,
    /// At most so many; 100 unless said otherwise, 10000 at most; `points.csv` of a series has all.
    limit: Option<i64>,
}

/// A point as it stands.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Point {
    /// The number of the task.
    pub task_id: i64,
    /// The task.
    pub task: String,
    /// The series.
    pub series: String,
    /// The instant.
    pub at: Timestamp,
    /// The number, with every digit; none: a gap.
    #[schema(value_type = Option<f64>)]
    pub value: Option<Box<RawValue>>,
    /// What stood there.
    pub kind: String,
    /// What it counts.
    pub unit: Option<String>,
    /// The run that returned it; none: imported.
    pub run_id: Option<i64>,
    /// Its attempt.
    pub attempt: Option<i16>,
    /// The script version that returned it.
    #[schema(value_type = Option<String>)]
    pub script_sha256: Option<ContentHash>,
    /// When it was written.
    pub recorded_at: Timestamp,
    /// When it was judged.
    pub judged_at: Option<Timestamp>,
    /// What is odd about it.
    pub suspect: Option<String>,
    /// Whether it breaks an expectation.
    pub breach: bool,
    /// `accepted` or `rejected`.
    pub verdict: Option<String>,
    /// Who said so.
    pub verdict_by: Option<String>,
    /// When.
    pub verdict_at: Option<Timestamp>,
    /// Why.
    pub note: Option<String>,
}

impl From<PointRow> for Point {
    fn from(row: PointRow) -> Point {
        Point {
            task_id: row.task_id,
            task: row.task_name,
            series: row.series,
            at: row.at,
            // What numeric prints is a number of JSON.
            value: row.number.and_then(|number| RawValue::from_string(number).ok()),
            kind: row.kind,
            unit: row.unit,
            run_id: row.run_id,
            attempt: row.attempt,
            script_sha256: row.script_sha256,
            recorded_at: row.recorded_at,
            judged_at: row.judged_at,
            suspect: row.suspect,
            breach: row.breach,
            verdict: row.verdict,
            verdict_by: row.verdict_by,
            verdict_at: row.verdict_at,
            note: row.note,
        }
    }
}

/// A series without a new number for too long.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct StaleSeries {
    /// The number of the task.
    pub task_id: i64,
    /// The task.
    pub task: String,
    /// The series.
    pub series: String,
    /// The instant of its newest number; none: it never had one.
    pub last_at: Option<Timestamp>,
    /// How long may pass without one.
    pub stale_after_seconds: f64,
}

/// Points of series.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PointList {
    /// Newest first.
    pub items: Vec<Point>,
    /// Series that are stale, of those asked for.
    pub stale: Vec<StaleSeries>,
}

/// List points, newest first.
#[utoipa::path(get, path = "/api/v1/points", tag = "series", params(PointQuery), responses((status = 200, body = PointList), super::problem::Refusals))]
pub async fn list_points(State(api): App, Params(query): Params<PointQuery>) -> Result<axum::Json<PointList>, Problem> {
    let limit = query.limit.unwrap_or(super::extract::PAGE);
    if !(1..=MOST_ROWS).contains(&limit) {
        return Err(Problem::bad_request(format!(
            "`limit` is {limit}: it must be from 1 to {MOST_ROWS}; `points.csv` of a series has all of its points, however many"
        )));
    }
    let filter = Filter {
        task_name: query.task.clone(),
        series: query.series.clone(),
        since: storable(query.since.as_deref().map_or(Ok(FIRST_INSTANT), ago)?),
        open_only: query.suspect.unwrap_or(false),
    };
    let mut connection = api.database.connection().await?;
    let rows = observations::list(&mut connection, &filter, limit).await?;
    if let (true, Some(task)) = (rows.is_empty(), &query.task)
        && crate::store::tasks::list(&mut connection, Some(task)).await?.is_empty()
    {
        return Err(no_task(&mut connection, task).await);
    }
    let stale = observations::stale(&mut connection, query.task.as_deref(), query.series.as_deref()).await?;
    Ok(axum::Json(PointList {
        items: rows.into_iter().map(Point::from).collect(),
        stale: stale
            .into_iter()
            .map(|row| StaleSeries {
                task_id: row.task_id,
                task: row.task_name,
                series: row.series,
                last_at: row.last_at,
                stale_after_seconds: row.stale_after_seconds,
            })
            .collect(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(second: i64, number: Option<&str>, suspect: bool) -> Charted {
        Charted {
            at: Timestamp::from_second(second).unwrap(),
            number: number.map(str::to_owned),
            kind: "number".to_owned(),
            run_id: None,
            suspect: suspect.then(|| "odd".to_owned()),
            breach: false,
            verdict: None,
            verdict_by: None,
            note: None,
        }
    }

    #[test]
    fn a_chart_keeps_gaps_and_what_is_suspect() {
        let rows: Vec<Charted> = (0..1000)
            .map(|at| row(at, (at != 500).then_some("1.5"), at == 123))
            .collect();
        let chosen = choose(rows, 20);
        assert!(chosen.len() <= 21, "{}", chosen.len());
        assert!(chosen.iter().any(|point| point.number.is_none()));
        assert!(chosen.iter().any(|point| point.suspect.is_some()));
        assert_eq!(choose(vec![row(1, Some("1"), false)], 20).len(), 1);
    }

    #[test]
    fn lines_have_names_once_and_quote_what_must_be_quoted() {
        let exported = observations::Exported {
            series: "a,b".to_owned(),
            at: Timestamp::UNIX_EPOCH,
            number: Some("1.50".to_owned()),
            kind: "number".to_owned(),
            run_id: Some(7),
            suspect: None,
            verdict: None,
        };
        assert_eq!(
            csv_lines(std::slice::from_ref(&exported), true),
            "at,series,value,kind,run_id,suspect,verdict\n1970-01-01T00:00:00Z,\"a,b\",1.50,number,7,,\n"
        );
        assert!(csv_lines(&[exported], false).starts_with("1970"));
        assert_eq!(csv_lines(&[], false), "");
    }
}
