//! This node: its incarnation, its lease, and the heartbeat that renews it.
//!
//! The heartbeat has a connection and a thread of its own: neither a busy runtime nor an exhausted pool may cost the lease. What
//! the node may do follows from the lease, reckoned from the moment at which its renewal was sent, on the monotonic clock.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use anyhow::Context;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use uuid::Uuid;

use super::clock::Clock;
use super::health::{Health, HealthReport, Pulse};
use crate::config::Config;
use crate::database::{Connection, Database};
use crate::store::nodes::{self, Contact, Heartbeat, NewNode};
use crate::store::runs::Asker;

/// Heartbeats in a lease: five may be lost.
const HEARTBEATS: u32 = 6;

/// A heartbeat without an answer for this share of the lease has failed, but never sooner than `SHORTEST_TIMEOUT`.
const TIMEOUT_SHARE: u32 = 10;
const SHORTEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Pauses between tries while the database is away.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// By this share of it the lease counts as ended earlier here: the other side's clock starts a round trip later.
const MARGIN_SHARE: u32 = 15;

/// What a node knows of itself at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Incarnation {
    /// Its id; a node that was declared dead goes on under another.
    pub node_id: Uuid,
    /// Until when it may start scripts.
    pub lease_until: Instant,
    /// Since when at least one node has been there to fire.
    pub attended_since: Timestamp,
    /// How many nodes are alive, this one included.
    pub live_nodes: i64,
}

/// This node.
pub struct Node {
    /// Its estimate of the database's clock.
    pub clock: Clock,
    health: Health,
    entry: NewNode,
    incarnation: RwLock<Incarnation>,
    lease: Duration,
    draining: AtomicBool,
    in_contact: AtomicBool,
    has_left: AtomicBool,
    beat: Notify,
    fenced: watch::Sender<Uuid>,
}

impl Node {
    /// Enters this process as a node. `python`: the version of the interpreter that it runs scripts with.
    pub async fn enter(
        database: &Database,
        config: &Config,
        kind: &'static str,
        python: Option<&str>,
    ) -> anyhow::Result<Arc<Node>> {
        let entry = NewNode {
            node_id: Uuid::now_v7(),
            kind,
            host: host(),
            pid: i32::try_from(std::process::id()).unwrap_or(i32::MAX),
            data_directory_id: make_data_directory_id(&config.data_directory)?,
            queues: config.queues.clone(),
            tags: config.tags.clone(),
            max_running: i32::try_from(config.capacity.running).unwrap_or(i32::MAX),
            python: python.map(str::to_owned),
        };
        let mut connection = database.connection().await?;
        let sent = Instant::now();
        let contact = nodes::register(&mut connection, &entry, config.lease)
            .await
            .context("cannot register this node")?;
        let clock = Clock::new(sent, Instant::now(), contact.now);
        let incarnation = incarnation(entry.node_id, sent, config.lease, contact);
        let fenced = watch::Sender::new(entry.node_id);
        Ok(Arc::new(Node {
            clock,
            health: Health::default(),
            entry,
            incarnation: RwLock::new(incarnation),
            lease: config.lease,
            draining: AtomicBool::new(false),
            in_contact: AtomicBool::new(true),
            has_left: AtomicBool::new(false),
            beat: Notify::new(),
            fenced,
        }))
    }

    /// What it knows of itself now.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.read().expect("no holder of this lock can panic")
    }

    /// Its present id.
    pub fn id(&self) -> Uuid {
        self.incarnation().node_id
    }

    /// Whether it may start scripts.
    pub fn may_start(&self) -> bool {
        Instant::now() < self.incarnation().lease_until
    }

    /// Who asks, for statements that refuse an early clock.
    pub fn asker(&self) -> Asker {
        Asker {
            node_id: self.id(),
            now: self.clock.now(),
            error_seconds: self.clock.error().as_secs_f64() + 0.001,
        }
    }

    /// Which data directory it works in.
    pub fn data_directory_id(&self) -> Uuid {
        self.entry.data_directory_id
    }

    /// The host that it is on.
    pub fn host(&self) -> &str {
        &self.entry.host
    }

    /// Queues that it serves.
    pub fn queues(&self) -> &[String] {
        &self.entry.queues
    }

    /// Tags that it offers.
    pub fn tags(&self) -> &[String] {
        &self.entry.tags
    }

    /// From now on it takes nothing new, and says so.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
        self.beat.notify_one();
    }

    /// Whether it takes nothing new.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Whether the last heartbeat reached the database.
    pub fn is_in_contact(&self) -> bool {
        self.in_contact.load(Ordering::Relaxed)
    }

    /// The pulse of a loop of this process; see `Health::pulse`.
    pub fn pulse(&self, name: &'static str, longest_pass: Duration) -> Pulse {
        self.health.pulse(name, longest_pass)
    }

    /// How this process is, for whoever asks: the heartbeat, a service manager, the API.
    pub fn health(&self) -> HealthReport {
        HealthReport {
            is_in_contact: self.is_in_contact(),
            is_draining: self.is_draining(),
            loops: self.health.loops(Instant::now()),
        }
    }

    /// Changes to the new id when the node was declared dead: what it runs under an older one is not its own any more.
    pub fn fenced(&self) -> watch::Receiver<Uuid> {
        self.fenced.subscribe()
    }

    /// Starts the heartbeat on a thread of its own. It ends with the process, or when `self` has left.
    pub fn start_heartbeat(self: &Arc<Self>, database: Database) -> anyhow::Result<()> {
        let node = self.clone();
        std::thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                match runtime {
                    Ok(runtime) => runtime.block_on(node.beat_for_ever(&database)),
                    Err(error) => {
                        tracing::error!(%error, "the heartbeat cannot start; this node will be declared dead")
                    }
                }
            })
            .context("cannot start the heartbeat thread")?;
        Ok(())
    }

    async fn beat_for_ever(&self, database: &Database) {
        let heartbeat = self.lease / HEARTBEATS;
        let patience = (self.lease / TIMEOUT_SHARE).max(SHORTEST_TIMEOUT);
        let mut connection = None;
        let mut pause = RETRY.0;
        let mut away_since: Option<Instant> = None;
        while !self.has_left.load(Ordering::Relaxed) {
            match tokio::time::timeout(patience, self.beat(database, &mut connection)).await {
                Ok(Ok(())) => {
                    self.in_contact.store(true, Ordering::Relaxed);
                    if let Some(since) = away_since.take() {
                        tracing::info!(duration_ms = since.elapsed().as_millis() as u64, "the database is back");
                    }
                    pause = RETRY.0;
                    let _ = tokio::time::timeout(heartbeat, self.beat.notified()).await;
                }
                failed => {
                    connection = None;
                    self.in_contact.store(false, Ordering::Relaxed);
                    if away_since.is_none() {
                        away_since = Some(Instant::now());
                        let error = match failed {
                            Ok(Err(error)) => format!("{error:#}"),
                            _ => format!("no answer within {} s", patience.as_secs()),
                        };
                        tracing::warn!(%error, "the database is away; running scripts go on, their ends are kept in the journal");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY.1);
                }
            }
        }
    }

    async fn beat(&self, database: &Database, connection: &mut Option<Connection>) -> anyhow::Result<()> {
        if connection.is_none() {
            *connection = Some(database.dedicated().await?);
        }
        let connection = connection.as_mut().expect("it was just made");
        let known = self.incarnation();
        let state = if self.is_draining() { "draining" } else { "live" };
        let offset = self.clock.now().duration_since(Timestamp::now()).as_secs_f64() * 1000.0;
        let error = self.clock.error().as_secs_f64() * 1000.0;
        let sent = Instant::now();
        let heartbeat = Heartbeat {
            node_id: known.node_id,
            lease: self.lease,
            state,
            clock_offset_ms: offset,
            clock_error_ms: error,
            stalled_loops: &self.health().stalled_loops(),
        };
        match nodes::heartbeat(connection, heartbeat).await? {
            Some(contact) => {
                self.clock.observe(sent, Instant::now(), contact.now);
                self.set(incarnation(known.node_id, sent, self.lease, contact));
            }
            None if self.has_left.load(Ordering::Relaxed) => {}
            None => self.enter_again(connection).await?,
        }
        Ok(())
    }

    /// Declared dead: what it held was settled by others, so it goes on as another node.
    async fn enter_again(&self, connection: &mut Connection) -> anyhow::Result<()> {
        let entry = NewNode {
            node_id: Uuid::now_v7(),
            ..self.entry.clone()
        };
        let sent = Instant::now();
        let contact = nodes::register(connection, &entry, self.lease).await?;
        tracing::warn!(
            node.was = %self.id(), node.id = %entry.node_id,
            "this node was declared dead while it was out of contact; it stops what it ran and goes on under a new id"
        );
        self.clock.observe(sent, Instant::now(), contact.now);
        self.set(incarnation(entry.node_id, sent, self.lease, contact));
        self.fenced.send_replace(entry.node_id);
        Ok(())
    }

    fn set(&self, incarnation: Incarnation) {
        *self.incarnation.write().expect("no holder of this lock can panic") = incarnation;
    }

    /// How long it is believed to live without a heartbeat.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Leaves in order; the heartbeat ends.
    pub async fn leave(&self, database: &Database) -> anyhow::Result<()> {
        // A heartbeat that found the row stopped would enter this process as another node.
        self.has_left.store(true, Ordering::Relaxed);
        self.beat.notify_one();
        let mut connection = database.connection().await?;
        nodes::stop(&mut connection, self.id())
            .await
            .context("cannot leave in order")
    }
}

fn incarnation(node_id: Uuid, sent: Instant, lease: Duration, contact: Contact) -> Incarnation {
    Incarnation {
        node_id,
        lease_until: sent + lease - lease / MARGIN_SHARE,
        attended_since: contact.attended_since,
        live_nodes: contact.live_nodes,
    }
}

/// The name of this host, as node rows have it.
pub fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// The id of a data directory that a node has worked in.
pub fn data_directory_id(data_directory: &Path) -> Option<Uuid> {
    let text = std::fs::read_to_string(data_directory.join("id")).ok()?;
    Uuid::parse_str(text.trim()).ok()
}

/// The same, made where there is none yet.
fn make_data_directory_id(data_directory: &Path) -> anyhow::Result<Uuid> {
    if let Some(id) = data_directory_id(data_directory) {
        return Ok(id);
    }
    let path = data_directory.join("id");
    let id = Uuid::now_v7();
    std::fs::create_dir_all(data_directory)
        .and_then(|()| std::fs::write(&path, format!("{id}\n")))
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(id)
}
