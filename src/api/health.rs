//! Health, for those who watch over the process: alive, and ready to do its work. Open without a token, so it tells little.

use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{App, Check};

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

/// The service does its work: its loops run, it may start scripts, and the database answered its last heartbeat.
#[utoipa::path(get, path = "/readyz", tag = "health", responses((status = 200, body = Readiness), (status = 503, body = Readiness)))]
pub async fn read_ready(State(api): App) -> (StatusCode, axum::Json<Readiness>) {
    // From memory alone: whoever keeps the database busy for the API must not make the scheduler look sick, and anybody may ask.
    let checks = (api.given.health)();
    let ready = checks.iter().all(|check| check.ok);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, axum::Json(Readiness { ready, checks }))
}
