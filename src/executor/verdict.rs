//! The verdict: from what was seen of a run to how it ended.
//!
//! Owns the order in which the signs count, and the sentences that people read about it. Pure: no process, no clock.
//! In the flow it stands between `process`, which gathers what was seen, and the row of the run log.
//!
//! The order: a value that was returned counts whatever came after it; then that we stopped the run; then what the shim
//! says went wrong; then a limit that it went beyond; then how the process ended. Success never comes from an exit code: `os._exit(0)` has one, too.

use std::time::Duration;

use super::envelope::{FailedRecord, Noise, SucceededRecord};
use super::keep_protocol::{Breach, ExitRecord};
use crate::run::{Enforcer, LimitsInForce, Outcome, Reason, RunError, Status, Stop};
use crate::script::{ContentHash, Limits};

/// The code that the shim leaves with when it could not write its result.
const RESULT_CHANNEL_LOST: i32 = 120;

/// What was seen of one run.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The shim said that it is up.
    pub ready: bool,
    /// The shim's result; the first one counts.
    pub result: Option<ScriptResult>,
    /// The keeper could not start the program.
    pub spawn_failed: Option<String>,
    /// The keeper's last word.
    pub exit: Option<ExitRecord>,
    /// We stopped the run while it had no result yet.
    pub stopped: Option<Stopped>,
    /// It had a result and would not end: we ended it, this long after.
    pub lingered: Option<Duration>,
    /// What else was on the result channel.
    pub noise: Noise,
}

/// What the shim says about `run()`.
#[derive(Debug)]
pub(super) enum ScriptResult {
    Succeeded(SucceededRecord),
    Failed(FailedRecord),
}

/// Why we stopped a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It reached its limit, which was this.
    AtLimit(Duration),
    /// It was asked for.
    Asked(Stop),
}

/// How a run ended that was to be held to these limits.
pub(super) fn verdict(seen: Seen, limits: Limits) -> Outcome {
    let exit = seen.exit.unwrap_or_default();
    let mut outcome = Outcome {
        status: Status::Succeeded,
        reason: None,
        exit_code: exit.code,
        signal: exit.signal,
        return_value: None,
        observations: Vec::new(),
        error: None,
        warnings: Vec::new(),
        max_rss_kb: seen.exit.map(|exit| exit.max_rss_kb),
        cpu_ms: seen.exit.map(|exit| exit.cpu_ms),
        script_sha256: None,
        limits: seen.exit.and_then(|exit| in_force(limits, exit)),
        // The worker knows, which chose them.
        lock_sha256: None,
        python: None,
    };
    let after_result = warnings_about_the_end(&seen, limits);
    let noise = warnings_about_noise(seen.noise);
    match seen.result {
        Some(ScriptResult::Succeeded(record)) => {
            outcome.script_sha256 = parse_hash(record.script_sha256);
            outcome.return_value = record.value.filter(|_| record.has_value);
            outcome.warnings = record.warnings;
            outcome.warnings.extend(after_result);
        }
        Some(ScriptResult::Failed(record)) => {
            outcome.script_sha256 = parse_hash(record.script_sha256);
            outcome.warnings = record.warnings;
            let (reason, error) = match seen.stopped {
                Some(stopped) => stop_error(stopped, record.error.and_then(|error| error.traceback)),
                None => (
                    record.reason,
                    record.error.unwrap_or_else(|| unexplained(record.reason)),
                ),
            };
            fail(&mut outcome, reason, error);
        }
        None => {
            let (reason, error) = match (seen.stopped, seen.spawn_failed, seen.exit) {
                (Some(stopped), ..) => stop_error(stopped, None),
                (None, Some(error), _) => (Reason::SpawnFailed, word("spawn_failed", error)),
                (None, None, Some(exit)) => match exit.breach {
                    Some(breach) => breach_error(breach, exit, limits),
                    None => end_error(exit, seen.ready, limits),
                },
                (None, None, None) => (Reason::KeeperGone, word("keeper_gone", KEEPER_GONE.to_owned())),
            };
            fail(&mut outcome, reason, error);
        }
    }
    if outcome.reason.is_some() {
        outcome.warnings.extend(leftovers(exit));
    }
    outcome.warnings.extend(noise);
    outcome
}

const KEEPER_GONE: &str = "the process that held this run died before it could report how the run ended; the script was \
    killed with it. Look for the kernel's out-of-memory killer (`dmesg`), or for somebody who killed `dropcron keep`";

fn fail(outcome: &mut Outcome, reason: Reason, error: RunError) {
    outcome.status = reason.status();
    outcome.reason = Some(reason);
    outcome.error = Some(error);
}

/// An error of ours: `kind` is a word in small letters, where a script's is the exception's type.
fn word(kind: &str, message: String) -> RunError {
    RunError {
        kind: kind.to_owned(),
        message,
        traceback: None,
    }
}

fn unexplained(reason: Reason) -> RunError {
    word(
        reason.as_str(),
        "the script failed without saying how; its output may tell".to_owned(),
    )
}

fn stop_error(stopped: Stopped, traceback: Option<String>) -> (Reason, RunError) {
    let (reason, message) = match stopped {
        Stopped::AtLimit(limit) => (
            Reason::Timeout,
            format!(
                "stopped after {}, its time limit; `timeout` in the header sets it",
                seconds(limit)
            ),
        ),
        Stopped::Asked(stop) => (
            stop.reason(),
            match stop {
                Stop::Requested => "stopped because somebody asked for it",
                Stop::Replaced => "stopped because a newer run of the task took its place (`overlap = \"replace\"`)",
                Stop::Shutdown => "stopped because dropcron was shut down",
            }
            .to_owned(),
        ),
    };
    // The traceback shows what the script was at.
    (
        reason,
        RunError {
            traceback,
            ..word(reason.as_str(), message)
        },
    )
}

/// What the run was held to, if to anything.
fn in_force(limits: Limits, exit: ExitRecord) -> Option<LimitsInForce> {
    (limits != Limits::default()).then_some(LimitsInForce {
        limits,
        memory_by: exit.memory_by,
        processes_by: exit.processes_by,
    })
}

/// The run went beyond a limit of its whole tree, and was killed for it.
fn breach_error(breach: Breach, exit: ExitRecord, limits: Limits) -> (Reason, RunError) {
    match breach {
        Breach::Memory { .. } => (
            Reason::OutOfMemory,
            word(
                "out_of_memory",
                format!("killed: {}", breach_text(breach, exit, limits)),
            ),
        ),
        Breach::Processes { .. } => (
            Reason::Signal,
            word(
                "too_many_processes",
                format!("killed: {}", breach_text(breach, exit, limits)),
            ),
        ),
    }
}

/// What was beyond which limit, as people should know it.
fn breach_text(breach: Breach, exit: ExitRecord, limits: Limits) -> String {
    match breach {
        Breach::Memory { peak_kb } => {
            let peak = peak_kb.unwrap_or(exit.max_rss_kb).max(exit.max_rss_kb) / 1024;
            let limit = limits.memory_bytes.unwrap_or_default() / 1024 / 1024;
            let who = match exit.memory_by {
                Some(Enforcer::ControlGroup) => "the kernel",
                _ => "dropcron",
            };
            format!(
                "its processes took {peak} MiB together at their peak, and its limit is {limit} MiB (`memory` in the \
                 header, held to by {who})"
            )
        }
        Breach::Processes { count } => format!(
            "it had {count} processes and threads, and its limit is {} (`processes` in the header)",
            limits.processes.unwrap_or_default()
        ),
    }
}

/// The process ended by itself and left no result.
fn end_error(exit: ExitRecord, was_ready: bool, limits: Limits) -> (Reason, RunError) {
    let peak = format!("its peak was {} MiB", exit.max_rss_kb / 1024);
    if let Some(signal) = exit.signal {
        let name = signal_name(signal);
        if signal == libc::SIGKILL && exit.machine_out_of_memory {
            let message = format!(
                "killed by the kernel: the machine or the container ran out of memory ({peak}); `memory` in the header gives \
                 a script a limit of its own"
            );
            return (Reason::OutOfMemory, word("out_of_memory", message));
        }
        let used_up = limits.cpu_seconds.filter(|seconds| {
            signal == libc::SIGXCPU || signal == libc::SIGKILL && exit.cpu_ms >= i64::from(*seconds) * 1000
        });
        if let Some(seconds) = used_up {
            let message =
                format!("killed: a process of it used up {seconds} s of CPU time (`cpu_seconds` in the header)");
            return (Reason::Signal, word("cpu_time", message));
        }
        let message = match signal {
            libc::SIGKILL => {
                format!(
                    "killed by SIGKILL, and not by dropcron: by somebody, or by what watches over memory here ({peak})"
                )
            }
            libc::SIGSEGV => "crashed with SIGSEGV (segmentation fault): a fault in a C extension or in the \
                 interpreter; `import faulthandler; faulthandler.enable()` shows where"
                .to_owned(),
            libc::SIGXCPU => "ended by SIGXCPU: it used up its limit of CPU time".to_owned(),
            libc::SIGABRT | libc::SIGBUS | libc::SIGFPE | libc::SIGILL => {
                format!("crashed with {name}: a fault in a C extension or in the interpreter ({peak})")
            }
            _ => format!("ended by {name}, which dropcron did not send"),
        };
        return (Reason::Signal, word("signal", message));
    }
    let code = exit.code.unwrap_or_default();
    if code == RESULT_CHANNEL_LOST {
        let message = "`run()` ended, but its result could not be handed over: the script closed or replaced file \
            descriptors that are not its own";
        return (Reason::ResultLost, word("result_lost", message.to_owned()));
    }
    let message = if was_ready {
        format!(
            "exited with code {code} before run() returned; look for `os._exit()` or a library that leaves the process"
        )
    } else {
        format!("the interpreter exited with code {code} before it could load the script; its output says why")
    };
    (Reason::Exited, word("exited", message))
}

/// What happened after a value was returned, as people should know it.
fn warnings_about_the_end(seen: &Seen, limits: Limits) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some((breach, exit)) = seen.exit.and_then(|exit| Some((exit.breach?, exit))) {
        warnings.push(format!(
            "the run was killed after run() had returned: {}",
            breach_text(breach, exit, limits)
        ));
    }
    match seen.stopped {
        Some(Stopped::AtLimit(limit)) => warnings.push(format!(
            "the run reached its time limit ({}) and was asked to stop, but run() returned a value",
            seconds(limit)
        )),
        Some(Stopped::Asked(stop)) => {
            warnings.push(format!(
                "the run was asked to stop ({}), but run() returned a value",
                stop.reason()
            ));
        }
        None => {}
    }
    if let Some(linger) = seen.lingered {
        warnings.push(format!(
            "the process had not ended {} after run() returned and was stopped; look for threads that are no daemons",
            seconds(linger)
        ));
    }
    let Some(exit) = seen.exit else {
        warnings.push("the process that held this run died after run() had returned".to_owned());
        return warnings;
    };
    // An end that we forced says nothing about the script.
    if seen.stopped.is_none() && seen.lingered.is_none() {
        match (exit.code, exit.signal) {
            (_, Some(signal)) => {
                warnings.push(format!(
                    "the process was ended by {} after run() had returned",
                    signal_name(signal)
                ));
            }
            (Some(code), _) if code != 0 => {
                warnings.push(format!("the process exited with code {code} after run() had returned"));
            }
            _ => {}
        }
    }
    warnings.extend(leftovers(exit));
    warnings
}

fn leftovers(exit: ExitRecord) -> Vec<String> {
    let mut warnings = Vec::new();
    match exit.left - exit.escaped.min(exit.left) {
        0 => {}
        1 => warnings.push("the script left a process behind, which was ended with the run".to_owned()),
        left => warnings.push(format!(
            "the script left {left} processes behind, which were ended with the run"
        )),
    }
    if exit.escaped > 0 {
        warnings.push(format!(
            "{} processes of the run could not be ended, because they had become another user's (by `sudo`?); they are \
             still there",
            exit.escaped
        ));
    }
    warnings
}

fn warnings_about_noise(noise: Noise) -> Vec<String> {
    let mut warnings = Vec::new();
    if noise.overlong_records > 0 {
        warnings.push(format!(
            "{} records on the result channel were too long and were left out",
            noise.overlong_records
        ));
    }
    if noise.broken_records > 0 || noise.stray_bytes > 0 {
        warnings.push(format!(
            "something wrote to the result channel, which belongs to dropcron: {} stray bytes, {} broken records",
            noise.stray_bytes, noise.broken_records
        ));
    }
    warnings
}

/// A hash that is none is a forgery, and as good as no hash.
fn parse_hash(text: Option<String>) -> Option<ContentHash> {
    text.and_then(|text| text.parse().ok())
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::value::RawValue;

    fn value(text: &str) -> Option<ScriptResult> {
        Some(ScriptResult::Succeeded(SucceededRecord {
            value: Some(RawValue::from_string(text.to_owned()).unwrap()),
            has_value: true,
            warnings: Vec::new(),
            script_sha256: None,
        }))
    }

    fn raised() -> Option<ScriptResult> {
        Some(ScriptResult::Failed(FailedRecord {
            reason: Reason::Raised,
            error: Some(RunError {
                kind: "KeyError".into(),
                message: "'x'".into(),
                traceback: Some("line 3".into()),
            }),
            warnings: Vec::new(),
            script_sha256: None,
        }))
    }

    fn code(code: i32) -> Option<ExitRecord> {
        Some(ExitRecord {
            code: Some(code),
            max_rss_kb: 20 * 1024,
            ..ExitRecord::default()
        })
    }

    fn signal(signal: i32) -> Option<ExitRecord> {
        Some(ExitRecord {
            signal: Some(signal),
            max_rss_kb: 20 * 1024,
            ..ExitRecord::default()
        })
    }

    const LIMIT: Option<Stopped> = Some(Stopped::AtLimit(Duration::from_secs(300)));
    const CANCEL: Option<Stopped> = Some(Stopped::Asked(Stop::Requested));

    /// Every line: what was seen, the status and reason, and a part of each sentence that people are to read.
    #[test]
    fn the_signs_count_in_their_order() {
        let left = Some(ExitRecord {
            left: 2,
            killed: 2,
            ..code(0).unwrap()
        });
        let escaped = Some(ExitRecord {
            left: 1,
            escaped: 1,
            ..code(0).unwrap()
        });
        #[rustfmt::skip]
        let table: Vec<(Seen, Option<Reason>, &[&str])> = vec![
            // A value counts, whatever came after it.
            (Seen { result: value("1"), exit: code(0), ..Seen::default() }, None, &[]),
            (Seen { result: value("1"), exit: code(3), ..Seen::default() }, None, &["exited with code 3 after"]),
            (Seen { result: value("1"), exit: signal(11), ..Seen::default() }, None, &["SIGSEGV after"]),
            (Seen { result: value("1"), exit: left, ..Seen::default() }, None, &["left 2 processes"]),
            (Seen { result: value("1"), exit: escaped, ..Seen::default() }, None, &["1 processes of the run could not be ended"]),
            (Seen { result: value("1"), exit: signal(9), stopped: LIMIT, ..Seen::default() }, None, &["time limit (300 s)"]),
            (Seen { result: value("1"), exit: code(0), stopped: CANCEL, ..Seen::default() }, None, &["asked to stop (requested)"]),
            (Seen { result: value("1"), exit: signal(15), lingered: Some(Duration::from_secs(5)), ..Seen::default() }, None, &["5 s after run() returned"]),
            (Seen { result: value("1"), exit: None, ..Seen::default() }, None, &["died after run() had returned"]),
            // Then our own doing.
            (Seen { result: raised(), exit: code(1), stopped: LIMIT, ..Seen::default() }, Some(Reason::Timeout), &["after 300 s"]),
            (Seen { exit: signal(9), stopped: LIMIT, ..Seen::default() }, Some(Reason::Timeout), &["time limit"]),
            (Seen { exit: signal(15), stopped: CANCEL, ..Seen::default() }, Some(Reason::Requested), &["somebody"]),
            (Seen { exit: code(0), stopped: Some(Stopped::Asked(Stop::Replaced)), ..Seen::default() }, Some(Reason::Replaced), &["newer run"]),
            (Seen { exit: None, stopped: Some(Stopped::Asked(Stop::Shutdown)), ..Seen::default() }, Some(Reason::Shutdown), &["shut down"]),
            // Then what the shim says.
            (Seen { result: raised(), exit: code(1), ..Seen::default() }, Some(Reason::Raised), &["'x'"]),
            (Seen { result: raised(), exit: signal(15), lingered: Some(Duration::from_secs(5)), ..Seen::default() }, Some(Reason::Raised), &["'x'"]),
            (Seen { result: raised(), exit: left, ..Seen::default() }, Some(Reason::Raised), &["'x'", "left 2 processes"]),
            // Then the process.
            (Seen { exit: signal(9), ..Seen::default() }, Some(Reason::Signal), &["not by dropcron: by somebody, or by what watches over memory here (its peak was 20 MiB)"]),
            (Seen { exit: signal(11), ..Seen::default() }, Some(Reason::Signal), &["segmentation fault"]),
            (Seen { exit: signal(6), ..Seen::default() }, Some(Reason::Signal), &["SIGABRT"]),
            (Seen { exit: signal(40), ..Seen::default() }, Some(Reason::Signal), &["signal 40"]),
            (Seen { exit: code(120), ..Seen::default() }, Some(Reason::ResultLost), &["file descriptors"]),
            (Seen { exit: code(0), ready: true, ..Seen::default() }, Some(Reason::Exited), &["code 0 before run() returned"]),
            (Seen { exit: code(3), ready: true, ..Seen::default() }, Some(Reason::Exited), &["code 3 before run() returned"]),
            (Seen { exit: code(1), ..Seen::default() }, Some(Reason::Exited), &["before it could load the script"]),
            (Seen { exit: code(127), spawn_failed: Some("no python".into()), ..Seen::default() }, Some(Reason::SpawnFailed), &["no python"]),
            (Seen { spawn_failed: Some("no fork".into()), ..Seen::default() }, Some(Reason::SpawnFailed), &["no fork"]),
            (Seen::default(), Some(Reason::KeeperGone), &["dmesg"]),
            // Noise is told and decides nothing.
            (Seen { result: value("1"), exit: code(0), noise: Noise { stray_bytes: 7, ..Noise::default() }, ..Seen::default() }, None, &["7 stray bytes"]),
            (Seen { result: raised(), exit: code(1), noise: Noise { overlong_records: 1, ..Noise::default() }, ..Seen::default() }, Some(Reason::Raised), &["'x'", "too long"]),
        ];
        for (seen, reason, sentences) in table {
            let shown = format!("{seen:?}");
            let outcome = verdict(seen, Limits::default());
            assert_eq!(outcome.reason, reason, "{shown}");
            assert_eq!(
                outcome.status,
                reason.map_or(Status::Succeeded, Reason::status),
                "{shown}"
            );
            assert_eq!(outcome.error.is_some(), reason.is_some(), "{shown}");
            assert_eq!(outcome.return_value.is_some(), reason.is_none(), "{shown}");
            let told: Vec<&String> = outcome
                .error
                .iter()
                .map(|error| &error.message)
                .chain(&outcome.warnings)
                .collect();
            assert_eq!(told.len(), sentences.len(), "{shown}: {told:?}");
            for sentence in sentences {
                assert!(
                    told.iter().any(|text| text.contains(sentence)),
                    "{shown}: `{sentence}` in {told:?}"
                );
            }
        }
    }

    #[test]
    fn a_limit_that_was_gone_beyond_is_named_with_its_figures() {
        let limits = Limits {
            memory_bytes: Some(512 << 20),
            cpu_seconds: Some(60),
            processes: Some(8),
            ..Limits::default()
        };
        let killed = signal(9).unwrap();
        let memory = Some(Breach::Memory {
            peak_kb: Some(530 * 1024),
        });
        let by_kernel = ExitRecord {
            breach: Some(Breach::Memory { peak_kb: None }),
            memory_by: Some(Enforcer::ControlGroup),
            max_rss_kb: 511 * 1024,
            ..killed
        };
        let cases = [
            (
                ExitRecord {
                    breach: memory,
                    ..killed
                },
                Reason::OutOfMemory,
                "took 530 MiB together at their peak, and its limit is 512 MiB (`memory` in the header, held to by dropcron)",
            ),
            (
                by_kernel,
                Reason::OutOfMemory,
                "took 511 MiB together at their peak, and its limit is 512 MiB (`memory` in the header, held to by the kernel)",
            ),
            (
                ExitRecord {
                    breach: Some(Breach::Processes { count: 11 }),
                    ..killed
                },
                Reason::Signal,
                "it had 11 processes and threads, and its limit is 8",
            ),
            (
                ExitRecord {
                    signal: Some(libc::SIGXCPU),
                    ..killed
                },
                Reason::Signal,
                "used up 60 s of CPU time",
            ),
            (
                ExitRecord {
                    cpu_ms: 65_000,
                    ..killed
                },
                Reason::Signal,
                "used up 60 s of CPU time",
            ),
            (
                ExitRecord {
                    machine_out_of_memory: true,
                    ..killed
                },
                Reason::OutOfMemory,
                "the machine or the container ran out of memory (its peak was 20 MiB)",
            ),
        ];
        for (exit, reason, sentence) in cases {
            let outcome = verdict(
                Seen {
                    exit: Some(exit),
                    ..Seen::default()
                },
                limits,
            );
            assert_eq!(outcome.reason, Some(reason), "{sentence}");
            let message = outcome.error.unwrap().message;
            assert!(message.contains(sentence), "`{sentence}` in `{message}`");
        }
        let returned = Seen {
            result: value("1"),
            exit: Some(by_kernel),
            ..Seen::default()
        };
        let outcome = verdict(returned, limits);
        assert_eq!(outcome.reason, None);
        assert!(
            outcome.warnings[0].contains("after run() had returned: its processes took 511 MiB"),
            "{:?}",
            outcome.warnings
        );
    }

    #[test]
    fn a_stopped_run_shows_what_it_was_at() {
        let outcome = verdict(
            Seen {
                result: raised(),
                stopped: LIMIT,
                exit: code(1),
                ..Seen::default()
            },
            Limits::default(),
        );
        assert_eq!(outcome.error.unwrap().traceback.as_deref(), Some("line 3"));
    }

    #[test]
    fn a_null_is_a_value_and_nothing_is_not() {
        let nothing = ScriptResult::Succeeded(SucceededRecord {
            value: Some(RawValue::from_string("null".to_owned()).unwrap()),
            has_value: false,
            warnings: vec!["too large".into()],
            script_sha256: Some("00".repeat(32)),
        });
        let outcome = verdict(
            Seen {
                result: Some(nothing),
                exit: code(0),
                ..Seen::default()
            },
            Limits::default(),
        );
        assert!(outcome.return_value.is_none());
        assert_eq!(outcome.warnings, ["too large"]);
        assert!(outcome.script_sha256.is_some());
        let outcome = verdict(
            Seen {
                result: value("null"),
                exit: code(0),
                ..Seen::default()
            },
            Limits::default(),
        );
        assert_eq!(outcome.return_value.unwrap().get(), "null");
    }
}
