//! A `dropcron serve` elsewhere, which commands talk to over the API instead of a database.
//!
//! What it answers becomes the rows that the store would have read, so that a command prints the same either way.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::http;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
use uuid::Uuid;

use super::api::read_token_file;
use super::{Exit, ExitError, usage};
use crate::api::{
    Cancelled, Changed, OutputPage, Point, PointList, Problem, Run, Settled, StaleSeries, StartRun, Started, Task,
    TaskPage, Why,
};
use crate::cli::Verb;
use crate::config::Config;
use crate::store::observations::{PointRow, Stale};
use crate::store::pages::RunFilter;
use crate::store::runs::{Chunk, RunRow};
use crate::store::tasks::TaskRow;

/// A request takes so long at most: as long as the service gives its own statements, and the way there and back.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// An answer may have so many bytes: far more than any page of rows.
const LARGEST_ANSWER: u64 = 1024 * 1024 * 1024;

/// Rows of one page.
const PAGE: i64 = 1000;

/// A service elsewhere.
#[derive(Clone)]
pub(super) struct Server {
    agent: ureq::Agent,
    url: String,
    token: String,
}

/// The flags come before the variables.
pub(super) fn apply_flags(
    config: &mut Config,
    server: Option<String>,
    token_file: Option<&Path>,
) -> anyhow::Result<()> {
    config.server = server.or(config.server.take());
    if let Some(path) = token_file {
        config.token = Some(read_token_file(path)?);
    }
    Ok(())
}

/// Refuses what needs the database itself, where somebody asks for it from a service elsewhere.
pub(super) fn check_verb(verb: &Verb, config: &Config) -> anyhow::Result<()> {
    let name = match verb {
        Verb::Serve | Verb::Check(_) | Verb::Next(_) | Verb::Generate(_) => return Ok(()),
        Verb::Run(_) | Verb::Tasks(_) | Verb::Runs(_) | Verb::Logs(_) | Verb::Why(_) | Verb::Values(_) => return Ok(()),
        Verb::Pause(_) | Verb::Resume(_) | Verb::Cancel(_) => return Ok(()),
        Verb::Export(_) => "export",
        Verb::Import(_) => "import",
        Verb::Backfill(_) => "backfill",
        Verb::Report(_) => "report",
        Verb::Roles(_) => "roles",
        Verb::Diff(_) => "diff",
        Verb::Notify(_) => "notify",
        Verb::Prune(_) => "prune",
        Verb::Environments(_) => "environments",
        Verb::Lock(_) => "lock",
        Verb::Health(_) => "health",
        Verb::Doctor(_) => "doctor",
        Verb::Database(_) => "database",
        Verb::Token(_) => "token",
        Verb::Psql(_) => "psql",
        Verb::DatabaseUrl(_) => "database-url",
    };
    match &config.server {
        None => Ok(()),
        Some(_) => Err(usage(format!(
            "`{name}` needs the database itself: run it where that is, without `--server` and `DROPCRON_SERVER`"
        ))),
    }
}

impl Server {
    /// The service that commands are to talk to. None: they open the database themselves.
    pub fn of(config: &Config) -> anyhow::Result<Option<Server>> {
        let Some(url) = &config.server else {
            return Ok(None);
        };
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()));
        if !is_url {
            return Err(usage(format!(
                "the server `{url}` is no URL; write it like `https://cron.example.org` or `http://127.0.0.1:8642`"
            )));
        }
        let Some(token) = &config.token else {
            return Err(usage(
                "a server wants a token: name its file with `--token-file`, or put it into `DROPCRON_TOKEN`",
            ));
        };
        Ok(Some(Server {
            agent: agent(),
            url: url.trim_end_matches('/').to_owned(),
            token: token.trim().to_owned(),
        }))
    }

    async fn get<T: DeserializeOwned + Send + 'static>(&self, path: String) -> anyhow::Result<T> {
        self.ask(http::Method::GET, path, None, None).await
    }

    async fn post<T: DeserializeOwned + Send + 'static>(&self, path: String, body: Value) -> anyhow::Result<T> {
        self.ask(http::Method::POST, path, Some(body.to_string()), None).await
    }

    async fn ask<T: DeserializeOwned + Send + 'static>(
        &self,
        method: http::Method,
        path: String,
        body: Option<String>,
        idempotency_key: Option<Uuid>,
    ) -> anyhow::Result<T> {
        let server = self.clone();
        tokio::task::spawn_blocking(move || server.ask_and_wait(method, &path, body, idempotency_key)).await?
    }

    fn ask_and_wait<T: DeserializeOwned>(
        &self,
        method: http::Method,
        path: &str,
        body: Option<String>,
        idempotency_key: Option<Uuid>,
    ) -> anyhow::Result<T> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("{}/api/v1/{path}", self.url))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Content-Type", "application/json");
        if let Some(key) = idempotency_key {
            request = request.header("Idempotency-Key", key.to_string());
        }
        let text = body.unwrap_or_default();
        let request = request
            .body(text)
            .map_err(|error| usage(format!("the server `{}` cannot be asked: {error}", self.url)))?;
        let unreachable = |error: ureq::Error| {
            exit(
                Exit::Unreachable,
                format!("the server `{}` cannot be reached: {error}", self.url),
            )
        };
        let mut response = self.agent.run(request).map_err(unreachable)?;
        let status = response.status().as_u16();
        let text = response
            .body_mut()
            .with_config()
            .limit(LARGEST_ANSWER)
            .read_to_string()
            .map_err(unreachable)?;
        if !(200..300).contains(&status) {
            return Err(self.refusal(status, &text));
        }
        serde_json::from_str(&text).map_err(|error| {
            exit(
                Exit::Failed,
                format!(
                    "`{}` answers what this dropcron {} does not understand ({error}); is it another version?",
                    self.url,
                    env!("CARGO_PKG_VERSION")
                ),
            )
        })
    }

    fn refusal(&self, status: u16, text: &str) -> anyhow::Error {
        let Ok(problem) = serde_json::from_str::<Problem>(text) else {
            return exit(
                Exit::Failed,
                format!(
                    "`{}` answers {status}, and not as dropcron does; is the URL right?",
                    self.url
                ),
            );
        };
        let code = match status {
            404 => Exit::NotFound,
            400 | 401 | 403 | 421 | 422 => Exit::Usage,
            503 => Exit::Unreachable,
            _ => Exit::Failed,
        };
        exit(code, problem.detail)
    }

    /// The task of a name.
    pub async fn task(&self, name: &str) -> anyhow::Result<(TaskRow, Value)> {
        let mut detail: Value = self.get(format!("tasks/{}", encoded(name))).await?;
        let header = detail["header_json"].take();
        let task: Task = serde_json::from_value(detail["task"].take())?;
        Ok((task.into(), header))
    }

    /// All tasks, with their headers.
    pub async fn tasks(&self) -> anyhow::Result<Vec<(TaskRow, Value)>> {
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let page: TaskPage = self.get(format!("tasks?headers=true&limit={PAGE}{cursor}")).await?;
            rows.extend(page.items.into_iter().map(|mut task| {
                let header = task.header.take().unwrap_or_default();
                (task.into(), header)
            }));
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={}", encoded(&next)),
                None => return Ok(rows),
            }
        }
    }

    /// Rows of the run log, newest first.
    pub async fn runs(&self, filter: &RunFilter, limit: i64) -> anyhow::Result<Vec<RunRow>> {
        let statuses: Vec<&str> = filter.statuses.iter().map(|status| status.as_str()).collect();
        let statuses = statuses.join(",");
        let mut query = String::new();
        for (name, value) in [
            ("task", filter.task_name.clone()),
            ("status", (!statuses.is_empty()).then_some(statuses)),
            ("from", filter.since.map(|since| since.to_string())),
        ] {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encoded(&value)));
            }
        }
        let (mut rows, mut cursor) = (Vec::new(), String::new());
        loop {
            let left = limit - rows.len() as i64;
            let page: crate::api::RunPage = self
                .get(format!("runs?limit={}{query}{cursor}", left.min(PAGE)))
                .await?;
            rows.extend(page.items.into_iter().map(RunRow::from));
            match page.next_cursor {
                Some(next) if (rows.len() as i64) < limit => cursor = format!("&cursor={}", encoded(&next)),
                _ => return Ok(rows),
            }
        }
    }

    /// One run.
    pub async fn run(&self, run_id: i64) -> anyhow::Result<RunRow> {
        #[derive(serde::Deserialize)]
        struct Detail {
            run: Run,
        }
        let detail: Detail = self.get(format!("runs/{run_id}")).await?;
        Ok(detail.run.into())
    }

    /// The next chunks of a run's output.
    pub async fn output(&self, run_id: i64, from_chunk: i32) -> anyhow::Result<Vec<Chunk>> {
        let page: OutputPage = self
            .get(format!("runs/{run_id}/output?from_chunk={from_chunk}&limit={PAGE}"))
            .await?;
        let chunk = |chunk: crate::api::OutputChunk| Chunk {
            sequence: chunk.number,
            chunk: chunk.text,
        };
        Ok(page.chunks.into_iter().map(chunk).collect())
    }

    /// Asks for a run.
    pub async fn start(&self, task: &str, wanted: &StartRun) -> anyhow::Result<RunRow> {
        let wanted = serde_json::to_string(wanted)?;
        let path = format!("tasks/{}/runs", encoded(task));
        let key = Some(Uuid::now_v7());
        let started: Started = match self
            .ask(http::Method::POST, path.clone(), Some(wanted.clone()), key)
            .await
        {
            // It may have been asked for all the same: the key keeps it from being asked for twice.
            Err(error) if super::exit_of(&error) == Exit::Unreachable => {
                self.ask(http::Method::POST, path, Some(wanted), key).await?
            }
            result => result?,
        };
        Ok(started.run.into())
    }

    /// Asks that a run be stopped.
    pub async fn cancel(&self, run_id: i64) -> anyhow::Result<Cancelled> {
        self.post(format!("runs/{run_id}/cancel"), json!({})).await
    }

    /// Pauses a task.
    pub async fn pause(&self, task: &str, reason: Option<&str>) -> anyhow::Result<(bool, TaskRow)> {
        let path = format!("tasks/{}/pause", encoded(task));
        let changed: Changed = self.post(path, json!({ "reason": reason })).await?;
        Ok((changed.changed, changed.task.into()))
    }

    /// Resumes a task.
    pub async fn resume(&self, task: &str) -> anyhow::Result<(bool, TaskRow)> {
        let changed: Changed = self.post(format!("tasks/{}/resume", encoded(task)), json!({})).await?;
        Ok((changed.changed, changed.task.into()))
    }

    /// What became of an instant.
    pub async fn why(&self, task: &str, at: &str) -> anyhow::Result<Why> {
        self.get(format!("tasks/{}/why?at={}", encoded(task), encoded(at)))
            .await
    }

    /// Points, newest first, and which series are stale.
    pub async fn points(&self, query: &str) -> anyhow::Result<(Vec<PointRow>, Vec<Stale>)> {
        let list: PointList = self.get(format!("points?{query}")).await?;
        let points = list.items.into_iter().map(PointRow::from).collect();
        Ok((points, list.stale.into_iter().map(Stale::from).collect()))
    }

    /// Accepts or rejects a point.
    pub async fn settle(&self, task: &str, series: &str, wanted: Value) -> anyhow::Result<Settled> {
        self.post(
            format!("tasks/{}/series/{}/verdict", encoded(task), encoded(series)),
            wanted,
        )
        .await
    }
}

fn exit(exit: Exit, message: String) -> anyhow::Error {
    ExitError { exit, message }.into()
}

/// A text as one part of a URL.
pub(super) fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn agent() -> ureq::Agent {
    let loaded = rustls_native_certs::load_native_certs();
    let roots: Vec<Certificate<'static>> = loaded
        .certs
        .iter()
        .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
        .collect();
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    ureq::Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        // A token goes to the server that was named, and to no other.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_global(Some(TIME_LIMIT))
        .user_agent(concat!("dropcron/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

impl From<Run> for RunRow {
    fn from(run: Run) -> RunRow {
        let (error_type, error, traceback) = match run.error {
            Some(failure) => (failure.kind, Some(failure.message), failure.traceback),
            None => (None, None, None),
        };
        RunRow {
            run_id: run.run_id,
            task_id: run.task_id,
            task_name: run.task,
            scheduled_for: run.scheduled_for,
            attempt: run.attempt,
            trigger: run.trigger,
            status: run.status,
            reason: run.reason,
            detail: run.detail,
            as_of: run.as_of,
            node_id: run.node_id,
            queued_at: run.queued_at,
            due_at: run.due_at,
            started_at: run.started_at,
            finished_at: run.finished_at,
            exit_code: run.exit_code,
            signal: run.signal,
            missed_count: run.missed_count,
            missed_until: run.missed_until,
            blocking_run_id: run.blocking_run_id,
            return_value: run.return_value.map(|value| value.get().to_owned()),
            return_value_bytes: run.return_value_bytes,
            error_type,
            error,
            traceback,
            warnings: run.warnings,
            max_rss_kb: run.max_rss_kb,
            cpu_ms: run.cpu_ms,
            script_sha256: run.script_sha256,
            late_report: run.late_report,
            duration_ms: run.duration_ms,
            start_delay_ms: run.start_delay_ms,
            requested_by: run.requested_by,
            limits: run.limits.map(|limits| limits.get().to_owned()),
            lock_sha256: run.lock_sha256,
            python: run.python,
        }
    }
}

impl From<Task> for TaskRow {
    fn from(task: Task) -> TaskRow {
        let last = task.last_run;
        TaskRow {
            task_id: task.task_id,
            name: task.name,
            source: task.source,
            script_path: task.script_path,
            schedule: task.schedule,
            timezone: task.timezone,
            enabled: task.enabled,
            paused_at: task.paused_at,
            paused_by: task.paused_by,
            paused_reason: task.paused_reason,
            problem: task.problem,
            is_building: task.state == "building",
            description: task.description,
            owner: task.owner,
            tags: task.tags,
            overlap: task.overlap,
            max_running: task.max_running,
            missed: task.missed,
            timeout_seconds: task.timeout_seconds,
            retry_max: task.retry_max,
            args: task.args.to_string(),
            script_sha256: task.script_sha256,
            notify_after: task.notify_after,
            notify_recovery: task.notify_recovery,
            notify_to: task.notify_to,
            late_after_seconds: task.late_after_seconds,
            next_fire_at: task.next_fire_at,
            // Both are counted with the first end.
            consecutive_failures: last.as_ref().map(|_| task.consecutive_failures),
            last_run_id: last.as_ref().map(|last| last.run_id),
            last_scheduled_for: last.as_ref().map(|last| last.scheduled_for),
            last_finished_at: last.as_ref().and_then(|last| last.finished_at),
            last_duration_ms: last.as_ref().and_then(|last| last.duration_ms),
            last_status: last.map(|last| last.status),
            active_run_id: task.active_run_id,
            active_state: task.active_state,
        }
    }
}

impl From<Point> for PointRow {
    fn from(point: Point) -> PointRow {
        PointRow {
            task_id: point.task_id,
            task_name: point.task,
            series: point.series,
            at: point.at,
            number: point.value.map(|value| value.get().to_owned()),
            kind: point.kind,
            run_id: point.run_id,
            attempt: point.attempt,
            script_sha256: point.script_sha256,
            recorded_at: point.recorded_at,
            judged_at: point.judged_at,
            suspect: point.suspect,
            breach: point.breach,
            verdict: point.verdict,
            verdict_by: point.verdict_by,
            verdict_at: point.verdict_at,
            note: point.note,
            unit: point.unit,
        }
    }
}

impl From<StaleSeries> for Stale {
    fn from(stale: StaleSeries) -> Stale {
        Stale {
            task_id: stale.task_id,
            task_name: stale.task,
            series: stale.series,
            last_at: stale.last_at,
            stale_after_seconds: stale.stale_after_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_url() {
        assert_eq!(encoded("prices/btc ü"), "prices%2Fbtc%20%C3%BC");
        assert_eq!(encoded("a-b_c.d~e"), "a-b_c.d~e");
    }
}
