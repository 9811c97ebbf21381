//! Health, for those who watch over the process: alive, and ready to do its work. Open without a token, so it tells little.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, App, Check};
use crate::store::overview;

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the service is ready.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether all of it works.
    pub ready: bool,
    /// Part by part.
    pub checks: Vec<Check>,
}

/// The process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health", responses((status = 200, body = String, content_type = "text/plain")))]
pub async fn read_alive() -> &'static str {
    "alive\n"
}

/// The service does its work: its loops run, it may start scripts, and the database answers.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn read_ready(State(api): App) -> (StatusCode, axum::Json<Readiness>) {
    let mut checks = (api.given.health)();
    checks.push(database(&api).await);
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(Readiness { ready, checks }))
}

async fn database(api: &Api) -> Check {
    let ask = async {
        let mut connection = api.database.connection().await?;
        Ok::<_, anyhow::Error>(overview::totals(&mut connection).await.map(drop)?)
    };
    let (ok, detail) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(())) => (true, "it answers".to_owned()),
        // What exactly is wrong is for the log: whoever asks here has no token.
        Ok(Err(_)) => (false, "it cannot be asked".to_owned()),
        Err(_) => (false, format!("no answer within {} s", PATIENCE.as_secs())),
    };
    Check {
        name: "database".to_owned(),
        ok,
        detail,
    }
}
