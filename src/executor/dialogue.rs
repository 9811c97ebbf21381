//! A short conversation with a helper program: all input in, all output out, and never for ever.
//!
//! Owns pipes and patience for programs that dropcron itself starts to ask them something. Blocking. Used for interpreters, and for uv.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, PidfdFlags, Signal};

/// What one read or write moves at most.
const STEP_BYTES: usize = 64 * 1024;
/// What is kept of standard error: enough for a traceback.
const ERROR_BYTES: usize = 64 * 1024;

/// What a program said.
#[derive(Debug)]
pub struct Answer {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub output: Vec<u8>,
    /// Its standard error, as text, cut at 64 KiB.
    pub errors: String,
}

/// A conversation that came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum DialogueError {
    /// The program could not be started, or the system failed.
    #[error(transparent)]
    System(#[from] io::Error),
    /// The program said nothing for too long, and was killed.
    #[error("no sign of life for {} s", silence.as_secs())]
    Silent {
        /// How long it was waited for.
        silence: Duration,
        /// What it had said until then.
        output: Vec<u8>,
    },
    /// The program said more than anybody wants to hear, and was killed.
    #[error("more than {limit} bytes of output")]
    TooMuch {
        /// How much is accepted.
        limit: usize,
    },
}

/// Starts `command`, gives it all of `input`, and takes all it says, up to `most` bytes. Without a byte in either
/// direction for `silence`, it is killed with its process group.
pub fn converse(command: &mut Command, input: &[u8], silence: Duration, most: usize) -> Result<Answer, DialogueError> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut dialogue = Dialogue::begin(command.spawn()?)?;
    let result = dialogue.hold(input, silence, most);
    match result {
        Ok(()) => {
            let status = dialogue.program.0.wait()?;
            let errors = String::from_utf8_lossy(&dialogue.errors).into_owned();
            Ok(Answer {
                status,
                output: std::mem::take(&mut dialogue.output),
                errors,
            })
        }
        Err(error) => Err(error),
    }
}

/// Ends the program, and what it started, when the conversation is over, however that came.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        if let Ok(None) = self.0.try_wait() {
            let _ = rustix::process::kill_process_group(Pid::from_child(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

struct Dialogue {
    program: Program,
    /// Becomes readable when the program ends: a child of it could hold its pipes open.
    ended: OwnedFd,
    to_program: Option<OwnedFd>,
    from_program: Option<OwnedFd>,
    from_errors: Option<OwnedFd>,
    output: Vec<u8>,
    errors: Vec<u8>,
}

impl Dialogue {
    fn begin(child: Child) -> io::Result<Dialogue> {
        let mut program = Program(child);
        let ended = rustix::process::pidfd_open(Pid::from_child(&program.0), PidfdFlags::empty())?;
        let to_program: Option<OwnedFd> = program.0.stdin.take().map(Into::into);
        let from_program: Option<OwnedFd> = program.0.stdout.take().map(Into::into);
        let from_errors: Option<OwnedFd> = program.0.stderr.take().map(Into::into);
        for end in [&to_program, &from_program, &from_errors].into_iter().flatten() {
            fcntl_setfl(end, fcntl_getfl(end)? | OFlags::NONBLOCK)?;
        }
        Ok(Dialogue {
            program,
            ended,
            to_program,
            from_program,
            from_errors,
            output: Vec::new(),
            errors: Vec::new(),
        })
    }

    fn hold(&mut self, mut input: &[u8], silence: Duration, most: usize) -> Result<(), DialogueError> {
        let mut silent_since = Instant::now();
        loop {
            if input.is_empty() {
                self.to_program = None;
            }
            let left = silence.saturating_sub(silent_since.elapsed());
            if left.is_zero() {
                return Err(DialogueError::Silent {
                    silence,
                    output: std::mem::take(&mut self.output),
                });
            }
            let ended = self.wait(left)?;
            let moved = self.exchange(&mut input)?;
            if self.output.len() > most {
                return Err(DialogueError::TooMuch { limit: most });
            }
            if moved {
                silent_since = Instant::now();
            } else if ended {
                return Ok(());
            }
        }
    }

    /// Sleeps until something can be moved. Says whether the program has ended.
    fn wait(&self, longest: Duration) -> io::Result<bool> {
        let mut waited_for = vec![PollFd::new(&self.ended, PollFlags::IN)];
        waited_for.extend(self.to_program.iter().map(|end| PollFd::new(end, PollFlags::OUT)));
        let readers = [&self.from_program, &self.from_errors].into_iter().flatten();
        waited_for.extend(readers.map(|end| PollFd::new(end, PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: i64::try_from(longest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(longest.subsec_nanos()),
        };
        match poll(&mut waited_for, Some(&timeout)) {
            Ok(_) => Ok(!waited_for[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Moves what can be moved. Says whether anything was.
    fn exchange(&mut self, input: &mut &[u8]) -> io::Result<bool> {
        let mut moved = false;
        if let Some(end) = &self.to_program {
            match rustix::io::write(end, &input[..input.len().min(STEP_BYTES)]) {
                Ok(count) => {
                    *input = &input[count..];
                    moved = true;
                }
                // It does not want to hear more; what it says then is its answer.
                Err(rustix::io::Errno::PIPE) => *input = &[],
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        moved |= read_some(&mut self.from_program, &mut self.output)?;
        moved |= read_some(&mut self.from_errors, &mut self.errors)?;
        self.errors.truncate(ERROR_BYTES);
        Ok(moved)
    }
}

fn read_some(from: &mut Option<OwnedFd>, into: &mut Vec<u8>) -> io::Result<bool> {
    let Some(end) = from else { return Ok(false) };
    let mut buffer = vec![0; STEP_BYTES];
    match rustix::io::read(end.as_fd(), &mut buffer) {
        Ok(0) => *from = None,
        Ok(count) => {
            into.extend_from_slice(&buffer[..count]);
            return Ok(true);
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUARD: Duration = Duration::from_secs(30);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn full_pipes_in_both_directions_do_not_block() {
        let input = vec![b'x'; 3_000_000];
        let answer = converse(&mut shell("tee /dev/stderr"), &input, GUARD, usize::MAX).unwrap();
        assert!(answer.status.success());
        assert_eq!(answer.output, input);
        assert_eq!(answer.errors.len(), ERROR_BYTES);
    }

    #[test]
    fn a_program_that_does_not_listen_is_heard() {
        let answer = converse(&mut shell("exec <&-; echo done; exit 3"), &[0; 1_000_000], GUARD, 100).unwrap();
        assert_eq!(
            (answer.status.code(), answer.output.as_slice()),
            (Some(3), &b"done\n"[..])
        );
    }

    #[test]
    fn a_silent_program_is_killed() {
        let error = converse(&mut shell("echo a; sleep 1000"), b"", Duration::from_millis(300), 100).unwrap_err();
        assert!(matches!(error, DialogueError::Silent { output, .. } if output == b"a\n"));
    }

    #[test]
    fn a_child_that_holds_the_pipes_is_not_waited_for() {
        let answer = converse(&mut shell("sleep 1000 & echo $!"), b"", GUARD, 100).unwrap();
        let pid = String::from_utf8(answer.output)
            .unwrap()
            .trim()
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn endless_output_is_cut_off() {
        let error = converse(&mut shell("yes"), b"", GUARD, 1_000_000).unwrap_err();
        assert!(matches!(error, DialogueError::TooMuch { limit: 1_000_000 }));
    }
}
