//! The loops' health: which of them go round. A value that the heartbeat, the service manager's watchdog and the API read.
//!
//! Each loop has a pulse, and says with it until when it will say something again. One that says nothing by then hangs; one
//! whose pulse is dropped has ended. That the database is away is no fault of a loop: a pass that fails is a pass.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use serde::Serialize;

/// A loop may be so much later than it said: a machine that is busy is not a loop that hangs.
const SLACK: Duration = Duration::from_secs(30);

/// No bound: the loop waits for something that may never come.
const NO_BOUND: u64 = u64::MAX;

/// The loops of one process.
#[derive(Debug)]
pub struct Health {
    begun: Instant,
    beats: RwLock<Vec<Arc<Beat>>>,
}

#[derive(Debug)]
struct Beat {
    name: &'static str,
    begun: Instant,
    /// In milliseconds since `begun`, like `due`.
    heard_at: AtomicU64,
    due: AtomicU64,
    has_ended: AtomicBool,
}

/// What a loop holds for as long as it goes round.
#[derive(Debug)]
pub struct Pulse {
    beat: Arc<Beat>,
    longest_pass: Duration,
}

/// How one loop is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoopHealth {
    /// Which one.
    pub name: &'static str,
    /// How it is.
    pub state: LoopState,
    /// For how long nothing has been heard of it.
    pub silent_seconds: u64,
}

/// What can be said of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoopState {
    /// It goes round.
    Alive,
    /// It should have been heard of.
    Hangs,
    /// It is gone.
    Ended,
}

/// How this process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HealthReport {
    /// Whether its last heartbeat reached the database.
    pub is_in_contact: bool,
    /// Whether it leaves: its loops end in order.
    pub is_draining: bool,
    /// Its loops.
    pub loops: Vec<LoopHealth>,
}

impl Default for Health {
    fn default() -> Health {
        Health {
            begun: Instant::now(),
            beats: RwLock::default(),
        }
    }
}

impl Health {
    /// The pulse of a loop whose passes take no longer than `longest_pass`. Nothing is expected of it before its first pass.
    pub fn pulse(&self, name: &'static str, longest_pass: Duration) -> Pulse {
        let beat = Arc::new(Beat {
            name,
            begun: self.begun,
            heard_at: AtomicU64::new(0),
            due: AtomicU64::new(NO_BOUND),
            has_ended: AtomicBool::new(false),
        });
        let pulse = Pulse {
            beat: beat.clone(),
            longest_pass,
        };
        pulse.wait();
        self.beats.write().expect("no holder of this lock can panic").push(beat);
        pulse
    }

    /// How each loop is at a moment.
    pub fn loops(&self, now: Instant) -> Vec<LoopHealth> {
        let beats = self.beats.read().expect("no holder of this lock can panic");
        beats.iter().map(|beat| beat.at(now)).collect()
    }
}

impl Beat {
    fn at(&self, now: Instant) -> LoopHealth {
        let now = milliseconds(now.saturating_duration_since(self.begun));
        let state = if self.has_ended.load(Ordering::Acquire) {
            LoopState::Ended
        } else if now > self.due.load(Ordering::Acquire) {
            LoopState::Hangs
        } else {
            LoopState::Alive
        };
        LoopHealth {
            name: self.name,
            state,
            silent_seconds: now.saturating_sub(self.heard_at.load(Ordering::Acquire)) / 1000,
        }
    }
}

impl Pulse {
    /// A pass begins.
    pub fn pass(&self) {
        self.is_heard_again_within(Some(self.longest_pass));
    }

    /// A pass is over; the next begins after `pause` at the latest.
    pub fn rest(&self, pause: Duration) {
        self.is_heard_again_within(Some(pause));
    }

    /// A pass is over; the next begins when there is something to do.
    pub fn wait(&self) {
        self.is_heard_again_within(None);
    }

    fn is_heard_again_within(&self, bound: Option<Duration>) {
        let now = self.beat.begun.elapsed();
        let due = bound.map_or(NO_BOUND, |bound| milliseconds(now + bound + SLACK));
        self.beat.heard_at.store(milliseconds(now), Ordering::Release);
        self.beat.due.store(due, Ordering::Release);
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.beat.has_ended.store(true, Ordering::Release);
    }
}

impl HealthReport {
    /// Loops that have ended or hang, by name; none of those that end because the process leaves.
    pub fn stalled_loops(&self) -> Vec<&'static str> {
        let is_stalled = |state| match state {
            LoopState::Alive => false,
            LoopState::Hangs => true,
            LoopState::Ended => !self.is_draining,
        };
        let stalled = self.loops.iter().filter(|one| is_stalled(one.state));
        stalled.map(|one| one.name).collect()
    }

    /// Whether it works, apart from the database: a restart would help where it does not.
    pub fn is_live(&self) -> bool {
        self.stalled_loops().is_empty()
    }

    /// Whether it runs what falls due now.
    pub fn is_ready(&self) -> bool {
        self.is_live() && self.is_in_contact && !self.is_draining
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(NO_BOUND - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: Duration = Duration::from_secs(60);

    fn state(health: &Health, later: Duration) -> LoopState {
        health.loops(Instant::now() + later)[0].state
    }

    fn report(health: &Health, is_draining: bool) -> HealthReport {
        HealthReport {
            is_in_contact: true,
            is_draining,
            loops: health.loops(Instant::now()),
        }
    }

    #[test]
    fn a_pass_that_takes_too_long_hangs() {
        let health = Health::default();
        let pulse = health.pulse("judge", PASS);
        pulse.pass();
        assert_eq!(state(&health, PASS), LoopState::Alive);
        assert_eq!(state(&health, PASS + SLACK * 2), LoopState::Hangs);
        pulse.rest(Duration::ZERO);
        assert_eq!(state(&health, Duration::ZERO), LoopState::Alive);
    }

    #[test]
    fn a_loop_that_does_not_wake_up_hangs_and_one_that_waits_does_not() {
        let health = Health::default();
        let pulse = health.pulse("recorder", PASS);
        assert_eq!(state(&health, PASS * 1000), LoopState::Alive, "not begun yet");
        pulse.rest(Duration::from_secs(1));
        assert_eq!(state(&health, PASS * 1000), LoopState::Hangs);
        pulse.wait();
        assert_eq!(state(&health, PASS * 1000), LoopState::Alive);
    }

    #[test]
    fn a_loop_that_is_gone_is_said_unless_the_process_leaves() {
        let health = Health::default();
        let (gone, _here) = (health.pulse("scheduler", PASS), health.pulse("syncer", PASS));
        assert!(report(&health, false).is_ready());
        drop(gone);
        assert_eq!(report(&health, false).stalled_loops(), ["scheduler"]);
        assert!(!report(&health, false).is_live());
        assert!(report(&health, true).is_live());
        assert!(!report(&health, true).is_ready());
    }
}
