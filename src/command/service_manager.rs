//! Who started this process and watches it: systemd, or whatever speaks its protocol (`NOTIFY_SOCKET`, `WATCHDOG_USEC`).
//!
//! It is told when the service serves and when it leaves. Its watchdog is fed only while every loop goes round, so that a service
//! that hangs is started again; a database that is away is no reason to.

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use sd_notify::NotifyState;

use crate::service::node::Node;

/// Signs of life within the time that the watchdog allows: one may be lost.
const SIGNS: u32 = 3;

/// The service manager of this process, if there is one.
pub(super) struct ServiceManager {
    /// How long it waits for a sign of life.
    patience: Option<Duration>,
}

impl ServiceManager {
    /// As the environment says.
    pub(super) fn of_environment() -> ServiceManager {
        ServiceManager {
            patience: sd_notify::watchdog_enabled(),
        }
    }

    /// The service serves. From now on the watchdog is fed, by a thread of its own: a busy runtime is no service that hangs.
    pub(super) fn ready(&self, node: &Arc<Node>) -> anyhow::Result<()> {
        if let Some(patience) = self.patience {
            let node = node.clone();
            std::thread::Builder::new()
                .name("watchdog".to_owned())
                .spawn(move || feed_for_ever(&node, patience / SIGNS))
                .context("cannot start the watchdog thread")?;
        }
        say(&[
            NotifyState::Ready,
            NotifyState::Status("runs scripts on their schedules"),
        ]);
        Ok(())
    }

    /// The service leaves.
    pub(super) fn stopping(&self) {
        say(&[
            NotifyState::Stopping,
            NotifyState::Status("waits for running scripts to end"),
        ]);
    }
}

/// Whether what we say goes to the journal of systemd, which keeps it, for others too: no place for a secret.
pub(super) fn keeps_what_is_said() -> bool {
    let stream = std::env::var("JOURNAL_STREAM").ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    stream
        .zip(stderr)
        .is_some_and(|(stream, stderr)| is_stream(&stream, &stderr))
}

/// `JOURNAL_STREAM` is `device:inode`, and may come from a parent whose output went elsewhere.
fn is_stream(stream: &str, file: &std::fs::Metadata) -> bool {
    stream == format!("{}:{}", file.dev(), file.ino())
}

/// Ends with the process.
fn feed_for_ever(node: &Node, pause: Duration) {
    let mut reported = Vec::new();
    loop {
        let stalled = node.health().stalled_loops();
        if stalled.is_empty() {
            say(&[NotifyState::Watchdog]);
        } else if stalled != reported {
            tracing::error!(
                loops = stalled.join(", "),
                "parts of this service do not go on: the watchdog gets no sign of life, and will start it again"
            );
        }
        reported = stalled;
        std::thread::sleep(pause);
    }
}

/// Nobody listening is no error.
fn say(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_stream_that_is_ours_counts_as_the_journal() {
        let file = std::fs::metadata(env!("CARGO_MANIFEST_DIR")).unwrap();
        assert!(is_stream(&format!("{}:{}", file.dev(), file.ino()), &file));
        assert!(!is_stream(&format!("{}:{}", file.dev(), file.ino() + 1), &file));
        assert!(!is_stream("", &file));
    }
}
