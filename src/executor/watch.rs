//! The keeper's own eye on its tree: memory and processes, where no control group holds the tree to its limits.
//!
//! Owns measuring; ends nothing. A look is a snapshot and comes now and then, so a tree can go beyond its limit for a moment; a
//! resource limit on each process (`Watch::data_limit`) bounds what one may take in such a moment.

use std::fs;
use std::time::Duration;

use rustix::process::Pid;

use super::keep_protocol::Breach;
use super::process_tree::ProcessState;

/// Between two looks.
pub(super) const INTERVAL: Duration = Duration::from_millis(50);

/// What is watched; nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Watch {
    /// Memory of the tree, bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads of the tree.
    pub processes: Option<u32>,
}

impl Watch {
    /// Whether there is anything to look at.
    pub fn is_needed(self) -> bool {
        self.memory_bytes.is_some() || self.processes.is_some()
    }

    /// What one process may take between two looks, bytes of data: far more than the limit, since much of it may never be
    /// touched (the stacks of threads, say).
    pub fn data_limit(self) -> Option<u64> {
        const ROOM: u64 = 512 * 1024 * 1024;
        self.memory_bytes
            .map(|bytes| bytes.saturating_mul(2).saturating_add(ROOM))
    }

    /// How many processes and threads the script's user may have on this machine before the kernel starts no more for the
    /// run: all that there are now, of whomever, and some room. What doubles at every turn would otherwise be a million
    /// between two looks. The kernel does not hold root to it.
    pub fn process_limit(self) -> Option<u64> {
        const ROOM: u64 = 1024;
        let limit = self.processes?;
        // The fourth field: tasks that run, and all tasks.
        let load = fs::read_to_string("/proc/loadavg").ok()?;
        let all: u64 = load.split(' ').nth(3)?.split_once('/')?.1.parse().ok()?;
        Some(all + u64::from(limit) + ROOM)
    }

    /// The limit that this tree goes beyond.
    pub fn look(self, tree: &[Pid]) -> Option<Breach> {
        self.memory_breach(tree).or_else(|| self.process_breach(tree))
    }

    fn memory_breach(self, tree: &[Pid]) -> Option<Breach> {
        let limit = self.memory_bytes? / 1024;
        // Cheap, and too much where processes share pages; only then is it worth the exact figure.
        let resident: u64 = tree.iter().filter_map(|pid| resident_kb(*pid)).sum();
        if resident <= limit {
            return None;
        }
        let used: u64 = tree
            .iter()
            .filter_map(|pid| proportional_kb(*pid).or_else(|| resident_kb(*pid)))
            .sum();
        (used > limit).then(|| Breach::Memory {
            peak_kb: i64::try_from(used).ok(),
        })
    }

    fn process_breach(self, tree: &[Pid]) -> Option<Breach> {
        let limit = self.processes?;
        let states = tree.iter().filter_map(|pid| ProcessState::of(*pid));
        let count: u32 = states.map(|state| state.threads).sum();
        (count > limit).then_some(Breach::Processes { count })
    }
}

/// Memory that is mapped and present, KiB.
fn resident_kb(pid: Pid) -> Option<u64> {
    figure(pid, "status", "VmRSS:")
}

/// The same, with shared pages divided by those who share them. Refused to those who may not look into the process.
fn proportional_kb(pid: Pid) -> Option<u64> {
    figure(pid, "smaps_rollup", "Pss:")
}

fn figure(pid: Pid, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_pid())).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().trim_end_matches(" kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> [Pid; 1] {
        [rustix::process::getpid()]
    }

    #[test]
    fn memory_beyond_the_limit_is_seen() {
        let watch = |bytes| Watch {
            memory_bytes: Some(bytes),
            processes: None,
        };
        assert_eq!(watch(1 << 40).look(&own()), None);
        let Some(Breach::Memory { peak_kb: Some(peak) }) = watch(1024).look(&own()) else {
            panic!("this process takes more than a KiB");
        };
        assert!(peak > 500, "{peak}");
    }

    #[test]
    fn threads_count_like_processes() {
        let watch = |count| Watch {
            memory_bytes: None,
            processes: Some(count),
        };
        assert_eq!(watch(100_000).look(&own()), None);
        assert!(watch(7).process_limit().is_some_and(|limit| limit > 1031));
        let barrier = std::sync::Barrier::new(3);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| barrier.wait());
            }
            let Some(Breach::Processes { count }) = watch(2).look(&own()) else {
                panic!("this process has at least three threads");
            };
            assert!(count >= 3, "{count}");
            barrier.wait();
        });
    }

    #[test]
    fn nothing_is_watched_unless_asked_for() {
        assert!(!Watch::default().is_needed());
        assert_eq!(Watch::default().look(&own()), None);
        assert_eq!(Watch::default().data_limit(), None);
        assert_eq!(Watch::default().process_limit(), None);
    }
}
