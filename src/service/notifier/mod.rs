//! The notifier: deliveries on their way to their channels.
//!
//! What is to be told is in `delivery`, written by the statements that wrote the fact; here it is sent. Each pass takes the next
//! delivery of every channel that nobody here is sending to: a channel that hangs holds up nothing but itself. A claim ends by
//! itself, so a node that dies while it sends leaves the delivery to others, who send it once more under the same id. No run
//! ever waits for any of this.

mod message;

mod signature;

mod template;

mod web;

mod email;

mod channels;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use channels::{Channel, Channels, ChannelsError, template_names};
pub use message::Message;

use super::health::Pulse;
use super::worker::Context;
use crate::database::Database;
use crate::store::deliveries::{self, Delivery};

/// Between looks at what is to be sent.
const LOOK: Duration = Duration::from_secs(1);

/// A pass that takes longer hangs: it only looks, and sending has tasks of its own.
const LONGEST_PASS: Duration = Duration::from_secs(300);

/// Between looks at runs that wait.
const LATE_LOOK: Duration = Duration::from_secs(2);

/// Between looks for channels that nobody here knows, and for what is to be given up.
const SWEEP: Duration = Duration::from_secs(10);

/// A delivery is held so long: longer than any try takes.
pub const HOLD: Duration = Duration::from_secs(60);

/// A delivery is given up so long after its making: a weekend and a day.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3600);

/// The pause before the second try; it doubles from try to try.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// How long a service that leaves waits for what it is sending: as long as that may take.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(25);

/// Sends deliveries; see the module.
pub struct Notifier {
    context: Context,
    pulse: Pulse,
    sending: JoinSet<String>,
    /// Channels that something is being sent to.
    busy: HashSet<String>,
    late_looked_at: Option<Instant>,
    swept_at: Option<Instant>,
    /// Channels that somebody was told of.
    unknown: HashSet<String>,
    /// What the last pass could not do, so that it is said once for as long as it is so.
    failing: bool,
}

impl Notifier {
    /// For the channels of this context.
    pub fn new(context: Context) -> Notifier {
        Notifier {
            pulse: context.node.pulse("notifier", LONGEST_PASS),
            context,
            sending: JoinSet::new(),
            busy: HashSet::new(),
            late_looked_at: None,
            swept_at: None,
            unknown: HashSet::new(),
            failing: false,
        }
    }

    /// Runs until cancelled, and then until what it is sending is sent.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.pulse.pass();
            match self.run_once().await {
                Ok(()) => self.failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut self.failing, true) {
                        tracing::warn!(
                            error = format!("{error:#}"),
                            "deliveries cannot be looked at; they wait"
                        );
                    }
                }
            }
            self.pulse.rest(LOOK);
            tokio::select! {
                Some(sent) = self.sending.join_next() => self.finished(sent),
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => break,
            }
        }
        while self.sending.join_next().await.is_some() {}
    }

    fn finished(&mut self, sent: Result<String, tokio::task::JoinError>) {
        match sent {
            Ok(channel) => {
                self.busy.remove(&channel);
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    /// One pass.
    async fn run_once(&mut self) -> anyhow::Result<()> {
        let idle: Vec<String> = self
            .context
            .channels
            .names()
            .filter(|name| !self.busy.contains(*name))
            .map(str::to_owned)
            .collect();
        let late = is_due(self.late_looked_at, LATE_LOOK);
        let sweep = is_due(self.swept_at, SWEEP);
        if idle.is_empty() && !late && !sweep {
            return Ok(());
        }
        let mut connection = self.context.database.connection().await?;
        if late {
            deliveries::add_late(&mut connection).await?;
            self.late_looked_at = Some(Instant::now());
        }
        if sweep {
            deliveries::give_up(&mut connection, PATIENCE).await?;
            let known: Vec<String> = self.context.channels.names().map(str::to_owned).collect();
            let unknown = deliveries::unknown_channels(&mut connection, &known).await?;
            self.report_unknown(&unknown);
            self.swept_at = Some(Instant::now());
        }
        if idle.is_empty() {
            return Ok(());
        }
        let node_id = self.context.node.id();
        for delivery in deliveries::claim(&mut connection, &idle, node_id, HOLD).await? {
            let Some(channel) = self.context.channels.get(&delivery.channel) else {
                continue;
            };
            self.busy.insert(delivery.channel.clone());
            let database = self.context.database.clone();
            self.sending.spawn(async move {
                let name = delivery.channel.clone();
                if let Err(error) = send(&database, &channel, &delivery, node_id).await {
                    tracing::warn!(
                        delivery.id = %delivery.delivery_id,
                        error = format!("{error:#}"),
                        "what became of a delivery cannot be recorded; it is sent again"
                    );
                }
                name
            });
        }
        Ok(())
    }

    /// Says once what no delivery of it would say for days.
    fn report_unknown(&mut self, unknown: &[deliveries::NamedChannel]) {
        for named in unknown {
            if self.unknown.insert(named.channel.clone()) {
                tracing::warn!(
                    channel = named.channel,
                    task.name = named.task_name,
                    "a task notifies a channel that this node does not know; put it into the file of `DROPCRON_NOTIFY_FILE`"
                );
            }
        }
    }
}

fn is_due(last: Option<Instant>, interval: Duration) -> bool {
    last.is_none_or(|last| last.elapsed() >= interval)
}

/// Sends a delivery that is held, and records how that went.
async fn send(database: &Database, channel: &Arc<Channel>, delivery: &Delivery, node_id: Uuid) -> anyhow::Result<()> {
    let sent = channel.send(&Message::of(delivery)).await;
    let pause = pause_after(delivery.attempts, delivery.delivery_id);
    let error = sent.err();
    let mut connection = database.connection().await?;
    let state = deliveries::settle(
        &mut connection,
        delivery.delivery_id,
        node_id,
        error.as_deref(),
        Some(pause),
        PATIENCE,
    )
    .await
    .context("the database refuses it")?;
    if let Some(error) = error {
        tracing::warn!(
            delivery.id = %delivery.delivery_id, delivery.attempts = delivery.attempts, channel = delivery.channel,
            task.name = delivery.task_name, state, %error, "a delivery was not taken by its channel"
        );
    }
    Ok(())
}

/// Until the try that follows the `attempts`th: doubling, with a fifth more or less, by the delivery, so that what failed together
/// does not come back together.
fn pause_after(attempts: i32, delivery_id: Uuid) -> Duration {
    let doublings = u32::try_from(attempts.clamp(1, 20) - 1).unwrap_or(0);
    let pause = FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE);
    let share = f64::from(delivery_id.as_bytes()[15]) / 255.0;
    pause.mul_f64(0.8 + 0.4 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_an_hour_and_differ_from_delivery_to_delivery() {
        let (low, high) = (Uuid::nil(), Uuid::max());
        let seconds = |attempts, id| pause_after(attempts, id).as_secs_f64();
        assert_eq!(seconds(1, low), 0.8);
        assert_eq!(seconds(1, high), 1.2);
        assert!((seconds(5, low) - 12.8).abs() < 1e-6);
        assert_eq!(seconds(13, low), 2880.0);
        assert_eq!(seconds(i32::MAX, high), 4320.0);
    }

    #[test]
    fn a_try_ends_before_its_hold_does() {
        assert!(web::TIME_LIMIT < HOLD / 2 && email::TIME_LIMIT < HOLD / 2);
        assert!(web::TIME_LIMIT < LEAVE_PATIENCE && email::TIME_LIMIT < LEAVE_PATIENCE);
    }
}
