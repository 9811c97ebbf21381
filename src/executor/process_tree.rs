//! Who descends from a process, as `/proc` shows it.
//!
//! Owns reading `/proc`; sends no signal and reaps nothing. Used by `keeper` for its run and by `orphans` for what a dead
//! keeper left. A walk is a snapshot: whoever needs certainty walks again until nothing is left.

use std::collections::{HashMap, HashSet};
use std::fs;

use rustix::process::Pid;

/// What `/proc/<pid>/stat` says about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessState {
    /// `R`, `S`, `D`, `Z` ...
    pub state: char,
    /// Who reaps it.
    pub parent: i32,
    /// Its process group.
    pub group: i32,
    /// Its session.
    pub session: i32,
    /// How many threads it has.
    pub threads: u32,
    /// It is on its way out: its memory may be gone already, its children not yet handed on.
    pub exiting: bool,
}

/// `PF_EXITING` of the kernel's `sched.h`.
const EXITING: u32 = 0x4;

impl ProcessState {
    /// The state of `pid`, or none if it is gone.
    pub fn of(pid: Pid) -> Option<ProcessState> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_pid())).ok()?;
        Self::parse(&String::from_utf8_lossy(&stat))
    }

    /// The name in parentheses is the process's own choice and may hold anything: what counts stands behind the last one.
    fn parse(stat: &str) -> Option<ProcessState> {
        let (_, rest) = stat.rsplit_once(')')?;
        let mut fields = rest.split_ascii_whitespace();
        Some(ProcessState {
            state: fields.next()?.chars().next()?,
            parent: fields.next()?.parse().ok()?,
            group: fields.next()?.parse().ok()?,
            session: fields.next()?.parse().ok()?,
            // Terminal and its foreground group come before the flags; page faults, times and priorities before the threads.
            exiting: fields.nth(2)?.parse::<u32>().ok()? & EXITING != 0,
            threads: fields.nth(10)?.parse().ok()?,
        })
    }
}

/// The user that a process really is.
pub fn uid(pid: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_pid())).ok()?;
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    ids.split_ascii_whitespace().next()?.parse().ok()
}

/// The living and dead, unreaped children of `pid`.
pub fn children(pid: Pid) -> Vec<Pid> {
    // The kernel's own list is quick but a build option; without it, every process names its parent.
    children_by_list(pid).unwrap_or_else(|| {
        parents()
            .into_iter()
            .filter(|(_, of)| *of == pid)
            .map(|(c, _)| c)
            .collect()
    })
}

/// All descendants of `pid`, parents before children.
pub fn descendants(pid: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut met = HashSet::from([pid]);
    let mut open = vec![pid];
    while let Some(parent) = open.pop() {
        for child in children(parent) {
            // A pid that is met twice was reused while we walked; following it again could go in circles.
            if met.insert(child) {
                found.push(child);
                open.push(child);
            }
        }
    }
    found
}

/// Children hang on the thread that made them. None if this kernel keeps no such list.
fn children_by_list(pid: Pid) -> Option<Vec<Pid>> {
    let mut pids = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{}/task", pid.as_raw_pid())) else {
        return Some(pids);
    };
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => pids.extend(list.split_ascii_whitespace().filter_map(parse_pid)),
            Err(_) if thread.path().exists() => return None,
            Err(_) => {}
        }
    }
    Some(pids)
}

fn parents() -> HashMap<Pid, Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| parse_pid(entry.file_name().to_str()?))
        .filter_map(|pid| Some((pid, Pid::from_raw(ProcessState::of(pid)?.parent)?)))
        .collect()
}

fn parse_pid(text: &str) -> Option<Pid> {
    text.parse().ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_name_cannot_forge_the_state() {
        let state =
            ProcessState::parse("17 (evil) Z 1 (x) 9) S 4 5 6 0 -1 4194308 0 0 0 0 1 2 0 0 20 0 3 0 99").unwrap();
        assert_eq!(
            state,
            ProcessState {
                state: 'S',
                parent: 4,
                group: 5,
                session: 6,
                threads: 3,
                exiting: true,
            }
        );
    }

    #[test]
    fn both_ways_of_looking_find_a_child() {
        let mut child = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let this = rustix::process::getpid();
        assert!(children(this).contains(&pid));
        assert_eq!(parents().get(&pid), Some(&this));
        assert!(descendants(this).contains(&pid));
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
