//! Work that takes a core, or an interpreter, for longer than an answer should: one piece at a time, whoever asks.
//!
//! The scheduler runs on the same cores. However many readers look at schedules and drafts, it loses one of them at most.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};

use super::Api;
use super::problem::Problem;

/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(15);

/// Does something that blocks, elsewhere.
pub async fn blocking<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let api = api.clone();
    match tokio::task::spawn_blocking(move || work(&api)).await {
        Ok(result) => result,
        Err(panic) => Err(Problem::internal(panic)),
    }
}

/// Does something that costs, in its turn. Whoever goes away meanwhile lets nobody else begin before it is done.
pub async fn in_turn<T: Send + 'static>(
    api: &Arc<Api>,
    work: impl FnOnce(&Api) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let turn = tokio::time::timeout(PATIENCE, api.working.clone().acquire_owned()).await;
    let Ok(Ok(turn)) = turn else {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "dropcron looks at other people's scripts and schedules at the moment; ask again in a few seconds",
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from_static("5")));
    };
    blocking(api, move |api| {
        let done = work(api);
        drop(turn);
        done
    })
    .await
}
