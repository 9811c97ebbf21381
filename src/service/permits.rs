//! Permits: how much this node takes on at once. A permit is had before anything is claimed.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Capacity;

/// The three permits of a node.
#[derive(Clone, Debug)]
pub struct Permits {
    running: Arc<Semaphore>,
    booting: Arc<Semaphore>,
    early: Arc<Semaphore>,
    /// Fewer than `booting`: what is due waits for one boot at most, however many start early.
    early_booting: Arc<Semaphore>,
}

/// A place in the node's capacity; dropping it gives it back.
pub type Permit = OwnedSemaphorePermit;

/// A place to boot an interpreter; dropping it gives it back.
pub struct BootPermit {
    _booting: Permit,
    _early: Option<Permit>,
}

impl Permits {
    /// As the configuration says.
    pub fn new(capacity: Capacity) -> Permits {
        Permits {
            running: Arc::new(Semaphore::new(capacity.running)),
            booting: Arc::new(Semaphore::new(capacity.booting)),
            early: Arc::new(Semaphore::new(capacity.early)),
            early_booting: Arc::new(Semaphore::new(capacity.booting.saturating_sub(1).max(1))),
        }
    }

    /// Up to `wanted` places to run, as many as are free now.
    pub fn take_running(&self, wanted: usize) -> Vec<Permit> {
        take(&self.running, wanted)
    }

    /// Up to `wanted` places to wait for an instant, as many as are free now.
    pub fn take_early(&self, wanted: usize) -> Vec<Permit> {
        take(&self.early, wanted)
    }

    /// A place to run, when there is one.
    pub async fn running(&self) -> Permit {
        acquire(&self.running).await
    }

    /// A place to boot an interpreter, when there is one. Those whose instant is still ahead let others go first.
    pub async fn booting(&self, is_early: bool) -> BootPermit {
        let early = if is_early {
            Some(acquire(&self.early_booting).await)
        } else {
            None
        };
        BootPermit {
            _booting: acquire(&self.booting).await,
            _early: early,
        }
    }
}

fn take(semaphore: &Arc<Semaphore>, wanted: usize) -> Vec<Permit> {
    std::iter::from_fn(|| semaphore.clone().try_acquire_owned().ok())
        .take(wanted)
        .collect()
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Permit {
    semaphore
        .clone()
        .acquire_owned()
        .await
        .expect("these semaphores are never closed")
}
