//! Wake-ups: that a look may be worth it now. Losing one costs a second, since every loop also looks by itself.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// What loops are woken for.
#[derive(Debug, Default)]
pub struct Wake {
    scheduler: Notify,
    plan: AtomicBool,
    queue: AtomicBool,
    place: AtomicBool,
    stops: AtomicBool,
    syncer: Notify,
}

/// What the scheduler was woken for since it last asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Called {
    /// A definition may have changed.
    pub plan: bool,
    /// A run may be queued.
    pub queue: bool,
    /// A place for a queued run may be free.
    pub place: bool,
    /// A run may have to be stopped.
    pub stops: bool,
}

impl Wake {
    /// A definition changed.
    pub fn plan(&self) {
        self.plan.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    /// A run ended: there is a place for another, and its task may be claimed ahead again.
    pub fn place(&self) {
        self.place.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    /// A run is queued.
    pub fn queue(&self) {
        self.queue.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    /// A run is to be stopped.
    pub fn stops(&self) {
        self.stops.store(true, Ordering::Release);
        self.scheduler.notify_one();
    }

    /// A file changed.
    pub fn syncer(&self) {
        self.syncer.notify_one();
    }

    /// What the scheduler was woken for; asking forgets it.
    pub fn called(&self) -> Called {
        Called {
            plan: self.plan.swap(false, Ordering::AcqRel),
            queue: self.queue.swap(false, Ordering::AcqRel),
            place: self.place.swap(false, Ordering::AcqRel),
            stops: self.stops.swap(false, Ordering::AcqRel),
        }
    }

    /// Comes back at the scheduler's next wake-up.
    pub async fn scheduler_woken(&self) {
        self.scheduler.notified().await;
    }

    /// Comes back at the syncer's next wake-up.
    pub async fn syncer_woken(&self) {
        self.syncer.notified().await;
    }
}
