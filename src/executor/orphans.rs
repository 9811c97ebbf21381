//! What a keeper leaves behind when it dies itself: found, killed and reaped by the scheduler.
//!
//! Owns the scheduler's side of subreaping. Knows no run: what a keeper still holds is the keeper's. Used by `process`, once
//! a keeper has ended without its record.
//!
//! The scheduler has children of other kinds (interpreters that inspect files, a private Postgres that it may itself have
//! adopted), and tokio waits for its own. So nothing is done by `waitpid(-1)`, nothing to a child in the scheduler's own
//! session, and no signal goes to a process that neither has our mark in its environment nor runs as the user of the scripts,
//! whose environment a scheduler that is not root cannot read.

use std::fs;
use std::io;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions};

use super::keep_protocol::NODE_MARK;
use super::process_tree::{self, ProcessState};

/// How long adopted processes are chased. Each look takes what the one before uncovered; only a process in
/// uninterruptible sleep outlives this, and it dies when it wakes.
const CHASE_LIMIT: Duration = Duration::from_secs(5);
const CHASE_INTERVAL: Duration = Duration::from_millis(2);
/// Looks in a row that must find nothing: the kernel's list of children may skip one while another is reaped elsewhere.
const QUIET_LOOKS: u32 = 2;

/// Makes this process the parent of whatever its dead keepers leave, in place of init.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// Kills and reaps what came to this process from keepers that died. `script_uid`: a user that only scripts run as. Blocks for
/// a moment.
pub(super) fn kill_adopted(script_uid: Option<u32>) {
    let Some(own_session) = ProcessState::of(rustix::process::getpid()).map(|state| state.session) else {
        return;
    };
    let give_up_at = Instant::now() + CHASE_LIMIT;
    let mut quiet_looks = 0;
    while quiet_looks < QUIET_LOOKS && Instant::now() < give_up_at {
        quiet_looks = if kill_adopted_once(own_session, script_uid) {
            0
        } else {
            quiet_looks + 1
        };
        std::thread::sleep(CHASE_INTERVAL);
    }
}

/// One look at all children. Says whether another one is due: whoever dies hands on children that this look has not seen.
fn kill_adopted_once(own_session: i32, script_uid: Option<u32>) -> bool {
    let mut look_again = false;
    for child in process_tree::children(rustix::process::getpid()) {
        let Some(state) = ProcessState::of(child).filter(|state| state.session != own_session) else {
            continue;
        };
        if state.state == 'Z' {
            // Adopted and dead: nobody else will ask for its end.
            look_again |= matches!(rustix::process::waitpid(Some(child), WaitOptions::NOHANG), Ok(Some(_)));
        } else if state.exiting {
            // Its mark is gone with its memory.
            look_again = true;
        } else if is_marked(child) || script_uid.is_some_and(|uid| process_tree::uid(child) == Some(uid)) {
            look_again = true;
            if let Some(group) = Pid::from_raw(state.group) {
                let _ = rustix::process::kill_process_group(group, Signal::KILL);
            }
            let _ = rustix::process::kill_process(child, Signal::KILL);
        } else {
            // It may have lost its memory, and the mark with it, since its state was read.
            look_again |= ProcessState::of(child).is_none_or(|state| state.exiting);
        }
    }
    look_again
}

/// Whether a process was started by a run of this node.
fn is_marked(pid: Pid) -> bool {
    let mark = format!("{NODE_MARK}={}", std::process::id());
    let environment = fs::read(format!("/proc/{}/environ", pid.as_raw_pid())).unwrap_or_default();
    environment
        .split(|byte| *byte == 0)
        .any(|variable| variable == mark.as_bytes())
}
