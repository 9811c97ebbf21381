//! The database's clock, as this node estimates it.
//!
//! Instants that are written or compared come from here; timers run on the monotonic clock. So a step of this machine's
//! wall clock changes nothing, and nodes with different clocks agree.

use std::collections::VecDeque;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

/// How many samples are looked at: the one with the shortest round trip counts.
const SAMPLES: usize = 16;

/// Two samples that differ by more than their errors and this contradict each other: a clock was stepped or is being slewed, or
/// this machine slept. The newer one is right.
const STEP: Duration = Duration::from_millis(1);

/// One comparison of the two clocks.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The middle of the round trip.
    instant: Instant,
    /// The database's clock then.
    database: Timestamp,
    /// Half of the round trip.
    error: Duration,
}

impl Sample {
    fn at(&self, instant: Instant) -> Timestamp {
        let shifted = match instant.checked_duration_since(self.instant) {
            Some(later) => self.database.saturating_add(signed(later)),
            None => self
                .database
                .saturating_sub(signed(self.instant.saturating_duration_since(instant))),
        };
        shifted.unwrap_or(self.database)
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// An estimate that is made better with every heartbeat.
#[derive(Debug)]
pub struct Clock {
    samples: RwLock<VecDeque<Sample>>,
}

impl Clock {
    /// From a first round trip.
    pub fn new(sent: Instant, received: Instant, database: Timestamp) -> Clock {
        let clock = Clock {
            samples: RwLock::default(),
        };
        clock.observe(sent, received, database);
        clock
    }

    /// Takes one more round trip into account.
    pub fn observe(&self, sent: Instant, received: Instant, database: Timestamp) {
        let error = received.saturating_duration_since(sent) / 2;
        let sample = Sample {
            instant: sent + error,
            database,
            error,
        };
        let mut samples = self.samples.write().expect("no holder of this lock can panic");
        let stepped = best(&samples).is_some_and(|known| {
            let difference = known.at(sample.instant).duration_since(sample.database).unsigned_abs();
            difference > known.error + sample.error + STEP
        });
        if stepped {
            samples.clear();
        }
        samples.push_back(sample);
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
    }

    /// The database's clock now.
    pub fn now(&self) -> Timestamp {
        self.at(Instant::now())
    }

    /// The database's clock at an instant of the monotonic one.
    pub fn at(&self, instant: Instant) -> Timestamp {
        self.estimate().at(instant)
    }

    /// When the database's clock will read `timestamp`, on the monotonic one; now, if it has.
    pub fn instant_of(&self, timestamp: Timestamp) -> Instant {
        let now = Instant::now();
        let wait = timestamp.duration_since(self.at(now));
        Duration::try_from(wait).map_or(now, |wait| {
            now.checked_add(wait).unwrap_or(now + Duration::from_secs(86_400))
        })
    }

    /// The uncertainty of the estimate.
    pub fn error(&self) -> Duration {
        self.estimate().error
    }

    fn estimate(&self) -> Sample {
        let samples = self.samples.read().expect("no holder of this lock can panic");
        *best(&samples).expect("a clock starts with a sample, and stays with one")
    }
}

fn best(samples: &VecDeque<Sample>) -> Option<&Sample> {
    samples.iter().min_by_key(|sample| sample.error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a valid instant")
    }

    #[test]
    fn the_shortest_round_trip_counts() {
        let start = Instant::now();
        let clock = Clock::new(start, start + Duration::from_millis(40), at("2026-01-01T00:00:00Z"));
        let sent = start + Duration::from_secs(1);
        clock.observe(sent, sent + Duration::from_millis(2), at("2026-01-01T00:00:01Z"));
        assert_eq!(clock.error(), Duration::from_millis(1));
        assert_eq!(clock.at(sent + Duration::from_millis(1)), at("2026-01-01T00:00:01Z"));
        let sent = start + Duration::from_secs(2);
        clock.observe(sent, sent + Duration::from_millis(30), at("2026-01-01T00:00:02.010Z"));
        assert_eq!(clock.error(), Duration::from_millis(1));
    }

    #[test]
    fn a_stepped_clock_is_followed_at_once() {
        let start = Instant::now();
        let clock = Clock::new(start, start, at("2026-01-01T00:00:00Z"));
        let later = start + Duration::from_secs(5);
        clock.observe(later, later + Duration::from_millis(10), at("2026-01-01T01:00:05Z"));
        assert_eq!(clock.at(later + Duration::from_millis(5)), at("2026-01-01T01:00:05Z"));
    }

    #[test]
    fn instants_before_a_sample_are_reckoned_back() {
        let start = Instant::now();
        let clock = Clock::new(
            start + Duration::from_secs(10),
            start + Duration::from_secs(10),
            at("2026-01-01T00:00:10Z"),
        );
        assert_eq!(clock.at(start), at("2026-01-01T00:00:00Z"));
    }
}
