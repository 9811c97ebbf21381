//! Places for connections: so many at a time, and none of them lost to those of whom nothing is known.
//!
//! Whoever brings no token costs nothing to be sent away, and may come back. So where all places are taken, the stranger who has been
//! there longest makes room for whoever comes; those who are known keep their places, and more of them wait. Addresses say nothing here:
//! behind a proxy everybody has the same.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Places for connections.
pub struct Places {
    free: Arc<Semaphore>,
    strangers: Arc<Strangers>,
    /// How many have come, ever.
    count: std::sync::atomic::AtomicU64,
}

/// Connections of whom nothing is known, the oldest first, each with what ends it.
#[derive(Default)]
struct Strangers(Mutex<BTreeMap<u64, CancellationToken>>);

impl Strangers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, CancellationToken>> {
        self.0.lock().expect("no holder of this lock can panic")
    }
}

/// The place of one connection.
pub struct Place {
    number: u64,
    wanted: CancellationToken,
    strangers: Arc<Strangers>,
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// So many.
    pub fn new(count: usize) -> Places {
        Places {
            free: Arc::new(Semaphore::new(count)),
            strangers: Arc::default(),
            count: std::sync::atomic::AtomicU64::new(0),
        }
    }

    /// Takes a place, from the oldest stranger where none is free. Waits where all are taken by those who are known.
    pub async fn take(&self) -> Arc<Place> {
        let permit = match self.free.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let oldest = self.strangers.lock().pop_first();
                if let Some((_, wanted)) = oldest {
                    wanted.cancel();
                }
                let free = self.free.clone().acquire_owned().await;
                free.expect("places are never closed")
            }
        };
        let number = self.count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let wanted = CancellationToken::new();
        self.strangers.lock().insert(number, wanted.clone());
        Arc::new(Place {
            number,
            wanted,
            strangers: self.strangers.clone(),
            _permit: permit,
        })
    }
}

impl Place {
    /// Notes whether its newest request came from somebody who is known.
    pub fn note(&self, is_known: bool) {
        let mut strangers = self.strangers.lock();
        if is_known {
            strangers.remove(&self.number);
        } else if !self.wanted.is_cancelled() {
            strangers.insert(self.number, self.wanted.clone());
        }
    }

    /// Waits until somebody else needs it.
    pub async fn wanted(&self) {
        self.wanted.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.strangers.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn the_oldest_stranger_makes_room_and_nobody_who_is_known() {
        let places = Places::new(3);
        let (known, oldest, other) = (places.take().await, places.take().await, places.take().await);
        known.note(true);
        let mut comes = Box::pin(places.take());
        assert!(comes.as_mut().now_or_never().is_none());
        assert!(known.wanted().now_or_never().is_none() && other.wanted().now_or_never().is_none());
        oldest.wanted().await;
        drop(oldest);
        comes.await.note(true);
    }

    #[tokio::test]
    async fn who_is_known_waits_for_a_place_and_loses_it_with_the_token() {
        let places = Places::new(1);
        let known = places.take().await;
        known.note(true);
        assert!(places.take().now_or_never().is_none());
        assert!(known.wanted().now_or_never().is_none());
        known.note(false);
        let mut comes = Box::pin(places.take());
        assert!(comes.as_mut().now_or_never().is_none());
        known.wanted().await;
        drop(known);
        comes.await;
    }
}
