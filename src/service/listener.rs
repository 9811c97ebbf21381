//! The listener: wakes this node for what people do elsewhere (a pause in psql, a run asked for, a cancel).
//!
//! Notifications are hints; every loop also looks by itself each second. A lost connection costs no more than that.

use std::sync::Arc;
use std::time::Duration;

use diesel_async::SimpleAsyncConnection;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;

use super::health::Pulse;
use super::wake::Wake;
use crate::database::{Connection, Database, SCHEMA};

/// Pauses between tries while the database is away.
const RETRY: Duration = Duration::from_secs(1);

/// Without a notification for so long the connection is tried: a dead one says nothing.
const PROBE: Duration = Duration::from_secs(30);

/// Nothing heard, probe included, for longer than this hangs.
pub const LONGEST_PASS: Duration = Duration::from_secs(90);

/// Listens until cancelled. Each wait for a notification is a pass of `pulse`.
pub async fn run(database: Database, wake: Arc<Wake>, pulse: Pulse, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = listen(&database, &wake, &pulse) => {}
            () = stop.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Comes back when the connection is lost.
async fn listen(database: &Database, wake: &Wake, pulse: &Pulse) {
    pulse.pass();
    let Ok(mut connection) = database.direct().await else {
        return;
    };
    if connection
        .batch_execute(&format!("LISTEN {SCHEMA}_wake"))
        .await
        .is_err()
    {
        return;
    }
    // What happened while nobody listened.
    wake.plan();
    wake.queue();
    while next(&mut connection, wake).await {
        pulse.pass();
    }
}

async fn next(connection: &mut Connection, wake: &Wake) -> bool {
    let notification = {
        let mut notifications = std::pin::pin!(connection.notifications());
        tokio::time::timeout(PROBE, notifications.next()).await
    };
    match notification {
        Ok(Some(Ok(notification))) => {
            match notification.payload.as_str() {
                "task" => wake.plan(),
                "environment" => wake.syncer(),
                _ => {
                    wake.queue();
                    wake.stops();
                }
            }
            true
        }
        Ok(_) => false,
        Err(_) => {
            let probe = connection.batch_execute("SELECT 1");
            matches!(tokio::time::timeout(Duration::from_secs(5), probe).await, Ok(Ok(())))
        }
    }
}
