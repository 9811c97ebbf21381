//! The capabilities that a service manager lends this process (the ambient set), and who of those that it starts gets them.
//!
//! Owns taking them out of what every child inherits, and lending them to the keeper of a run, which is the only one that needs any.
//! A private Postgres, uv and whatever else is started would be as good as root with them. Capabilities that this program has from
//! its own file are not inherited by anything in the first place.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, configure_capability_in_ambient_set,
    set_capabilities,
};

use super::script_user::NEEDED;

/// What the ambient set was before it was withheld, as bits.
static LENT: AtomicU64 = AtomicU64::new(0);

/// Takes the ambient capabilities out of what this process's children inherit. To be called while there is one thread: each has
/// sets of its own, and begins with those of the thread that makes it.
pub fn withhold_capabilities() -> io::Result<()> {
    let found = ambient_set();
    if found.is_empty() {
        return Ok(());
    }
    LENT.store(found.bits(), Ordering::Relaxed);
    inherit(CapabilitySet::empty())
}

/// Does `work`, which starts the keeper of a run on this thread, with the capabilities that this keeper takes. Where it is to
/// become another user those are all; else those that are of no use for that, and so were meant for scripts.
pub(super) fn lending_capabilities<T>(to_another_user: bool, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let lent = CapabilitySet::from_bits_retain(LENT.load(Ordering::Relaxed));
    let lent = if to_another_user { lent } else { lent.difference(NEEDED) };
    if lent.is_empty() {
        return work();
    }
    // Other threads notice nothing.
    let _loan = Loan::give(lent)?;
    work()
}

/// Capabilities that what this thread starts inherits, until it is dropped.
struct Loan;

impl Loan {
    fn give(lent: CapabilitySet) -> io::Result<Loan> {
        inherit(lent)?;
        let loan = Loan;
        for capability in each_of(lent) {
            configure_capability_in_ambient_set(capability, true)?;
        }
        Ok(loan)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        // The kernel refuses nobody who gives something away.
        let _ = inherit(CapabilitySet::empty());
    }
}

/// Makes this the thread's inheritable set; whatever is not in it leaves the ambient set too.
fn inherit(inheritable: CapabilitySet) -> io::Result<()> {
    let sets = capabilities(None)?;
    Ok(set_capabilities(None, CapabilitySets { inheritable, ..sets })?)
}

fn ambient_set() -> CapabilitySet {
    // A number that the kernel does not know is refused, and so is every one by a kernel without such a set.
    let is_ambient = |capability: &CapabilitySet| capability_is_in_ambient_set(*capability).unwrap_or(false);
    each_of(CapabilitySet::from_bits_retain(u64::MAX))
        .filter(is_ambient)
        .fold(CapabilitySet::empty(), CapabilitySet::union)
}

/// One by one, those that have no name yet too.
fn each_of(set: CapabilitySet) -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .filter(move |capability| set.contains(*capability))
}
