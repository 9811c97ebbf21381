//! What the scheduler and a keeper say to each other: the keeper's command line, the bytes on its leash, its records.
//!
//! Owns both ends of each, so that they cannot drift apart. Starts nothing. Stands between `process` and `keeper`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::script_user::Identity;
use crate::run::Enforcer;

/// Opens a record (RFC 7464).
pub const RECORD_START: u8 = 0x1e;
/// Closes a record.
pub const RECORD_END: u8 = b'\n';
/// The version of every record; a breaking change raises it.
pub const PROTOCOL_VERSION: u32 = 1;

/// On the leash: the script may begin.
pub const GO: u8 = b'G';
/// On the leash: ask the whole tree to end, and kill what is left after the grace.
pub const TERMINATE: u8 = b'T';
/// On the leash: kill the whole tree now. The leash's end of file means the same.
pub const KILL: u8 = b'K';

/// The variable that marks every process of a run with the process id of the node that started it.
pub const NODE_MARK: &str = "DROPCRON_NODE_PID";

/// What stands before the name of each variable of the script on its way through the keeper. Where the program has capabilities
/// from its file, the C library takes names such as `TMPDIR` from the keeper's own environment before it begins.
pub const VARIABLE_PREFIX: &str = "DROPCRON_GIVE_";

/// What a keeper is told on its command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepOrder {
    /// From the request to end until the kill.
    pub grace: Duration,
    /// The directory that the program starts in; the keeper's own if none.
    pub directory: Option<PathBuf>,
    /// Scheduling priority, -20 (first) to 19 (last).
    pub nice: Option<i32>,
    /// Whether the program may not gain privileges (`sudo` and set-uid programs fail).
    pub no_new_privileges: bool,
    /// Resource limits of each process.
    pub limits: Vec<ResourceLimit>,
    /// How much memory the whole tree may take, bytes.
    pub memory_bytes: Option<u64>,
    /// How many processes and threads the whole tree may have.
    pub processes: Option<u32>,
    /// The control group to make for the tree; its parent is ours to use.
    pub control_group: Option<PathBuf>,
    /// Who the program runs as; the keeper's own user if none.
    pub identity: Option<Identity>,
    /// The program, absolute.
    pub program: OsString,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// One resource limit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: LimitedResource,
    /// The bound, in the unit of `setrlimit(2)`: bytes, seconds or a count.
    pub value: u64,
}

/// What can be limited per process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedResource {
    /// Memory that is private and writable, touched or not, bytes: Python raises MemoryError.
    Data,
    /// CPU time, seconds.
    Cpu,
    /// Open files.
    OpenFiles,
    /// Processes and threads of the whole user.
    Processes,
}

impl LimitedResource {
    const ALL: [(LimitedResource, &str); 4] = [
        (LimitedResource::Data, "data"),
        (LimitedResource::Cpu, "cpu"),
        (LimitedResource::OpenFiles, "nofile"),
        (LimitedResource::Processes, "nproc"),
    ];

    /// The name that `ulimit` and setrlimit(2) have for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(resource, _)| *resource == self)
            .map_or("", |(_, name)| name)
    }

    fn parse(name: &str) -> Option<LimitedResource> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(resource, _)| *resource)
    }
}

/// A keeper's command line that makes no sense; people only see it if they type the hidden command themselves.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeepOrderError {
    /// An option that is not one.
    #[error("unknown option `{0}`")]
    UnknownOption(String),
    /// An option without its value, or with a bad one.
    #[error("bad or missing value of `{0}`")]
    BadValue(&'static str),
    /// Nothing after `--`.
    #[error("no program after `--`")]
    NoProgram,
}

impl KeepOrder {
    /// The command line after `keep`.
    pub fn to_arguments(&self) -> Vec<OsString> {
        let mut line: Vec<OsString> = vec!["--grace-ms".into(), milliseconds(self.grace).to_string().into()];
        if let Some(directory) = &self.directory {
            line.extend(["--directory".into(), directory.into()]);
        }
        if let Some(nice) = self.nice {
            line.extend(["--nice".into(), nice.to_string().into()]);
        }
        if self.no_new_privileges {
            line.push("--no-new-privileges".into());
        }
        for limit in &self.limits {
            line.extend([
                "--rlimit".into(),
                format!("{}={}", limit.resource.as_str(), limit.value).into(),
            ]);
        }
        if let Some(bytes) = self.memory_bytes {
            line.extend(["--memory".into(), bytes.to_string().into()]);
        }
        if let Some(count) = self.processes {
            line.extend(["--processes".into(), count.to_string().into()]);
        }
        if let Some(path) = &self.control_group {
            line.extend(["--control-group".into(), path.into()]);
        }
        if let Some(identity) = &self.identity {
            line.extend(["--identity".into(), identity.to_string().into()]);
        }
        line.extend(["--".into(), self.program.clone()]);
        line.extend(self.arguments.iter().cloned());
        line
    }

    /// Reads the command line after `keep`.
    pub fn parse(mut line: impl Iterator<Item = OsString>) -> Result<KeepOrder, KeepOrderError> {
        let mut order = KeepOrder {
            grace: Duration::from_secs(10),
            directory: None,
            nice: None,
            no_new_privileges: false,
            limits: Vec::new(),
            memory_bytes: None,
            processes: None,
            control_group: None,
            identity: None,
            program: OsString::new(),
            arguments: Vec::new(),
        };
        while let Some(option) = line.next() {
            match option.to_str() {
                Some("--") => {
                    order.program = line.next().ok_or(KeepOrderError::NoProgram)?;
                    order.arguments = line.collect();
                    return Ok(order);
                }
                Some("--grace-ms") => {
                    order.grace = Duration::from_millis(number::<u32>("--grace-ms", line.next())?.into());
                }
                Some("--directory") => {
                    order.directory = Some(line.next().ok_or(KeepOrderError::BadValue("--directory"))?.into());
                }
                Some("--nice") => order.nice = Some(number("--nice", line.next())?),
                Some("--no-new-privileges") => order.no_new_privileges = true,
                Some("--rlimit") => order.limits.push(parse_limit(line.next().as_deref())?),
                Some("--memory") => order.memory_bytes = Some(number("--memory", line.next())?),
                Some("--processes") => order.processes = Some(number("--processes", line.next())?),
                Some("--control-group") => {
                    let path = line.next().ok_or(KeepOrderError::BadValue("--control-group"))?;
                    order.control_group = Some(path.into());
                }
                Some("--identity") => order.identity = Some(number("--identity", line.next())?),
                _ => return Err(KeepOrderError::UnknownOption(option.to_string_lossy().into_owned())),
            }
        }
        Err(KeepOrderError::NoProgram)
    }
}

/// Seven weeks at most, which no clock overflows at.
fn milliseconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

fn number<T: FromStr>(option: &'static str, value: Option<OsString>) -> Result<T, KeepOrderError> {
    value
        .as_deref()
        .and_then(OsStr::to_str)
        .and_then(|text| text.parse().ok())
        .ok_or(KeepOrderError::BadValue(option))
}

fn parse_limit(value: Option<&OsStr>) -> Result<ResourceLimit, KeepOrderError> {
    let parse = || {
        let (name, value) = value?.to_str()?.split_once('=')?;
        Some(ResourceLimit {
            resource: LimitedResource::parse(name)?,
            value: value.parse().ok()?,
        })
    };
    parse().ok_or(KeepOrderError::BadValue("--rlimit"))
}

/// The keeper's last word: how the script's process ended and what its tree took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// The exit code, if it exited.
    pub code: Option<i32>,
    /// The signal, if one ended it.
    pub signal: Option<i32>,
    /// Processes that were still there when the script's own process ended.
    #[serde(default)]
    pub left: u32,
    /// Processes that the keeper could not kill, because they had become another user's.
    #[serde(default)]
    pub escaped: u32,
    /// Processes that the keeper killed.
    #[serde(default)]
    pub killed: u32,
    /// Peak resident memory of the largest process, KiB.
    #[serde(default)]
    pub max_rss_kb: i64,
    /// User and system time of all processes, milliseconds.
    #[serde(default)]
    pub cpu_ms: i64,
    /// The limit of the tree that it was ended for.
    #[serde(default)]
    pub breach: Option<Breach>,
    /// Who held the tree to its limit of memory, if it had one.
    #[serde(default)]
    pub memory_by: Option<Enforcer>,
    /// Who held it to its limit of processes.
    #[serde(default)]
    pub processes_by: Option<Enforcer>,
    /// The kernel killed some process of this machine for want of memory while the run lasted.
    #[serde(default)]
    pub machine_out_of_memory: bool,
}

/// A limit of the whole tree that a run went beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Breach {
    /// It took more memory than it may, at its peak so many KiB together; none if the kernel does not tell.
    Memory {
        /// KiB.
        peak_kb: Option<i64>,
    },
    /// It had so many processes and threads.
    Processes {
        /// How many were counted.
        count: u32,
    },
}

/// Frames one record of the keeper. `name` is its word, `fields` its body.
pub fn frame(name: &str, fields: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Record<'a, T> {
        v: u32,
        record: &'a str,
        #[serde(flatten)]
        fields: &'a T,
    }
    let mut bytes = vec![RECORD_START];
    serde_json::to_writer(
        &mut bytes,
        &Record {
            v: PROTOCOL_VERSION,
            record: name,
            fields,
        },
    )
    .expect("a struct of numbers and text always becomes JSON");
    bytes.push(RECORD_END);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> KeepOrder {
        KeepOrder {
            grace: Duration::from_millis(1500),
            directory: Some("/var/lib/scripts".into()),
            nice: Some(-5),
            no_new_privileges: true,
            limits: vec![
                ResourceLimit {
                    resource: LimitedResource::Data,
                    value: 1 << 30,
                },
                ResourceLimit {
                    resource: LimitedResource::OpenFiles,
                    value: 0,
                },
            ],
            memory_bytes: Some(512 << 20),
            processes: Some(40),
            control_group: Some("/sys/fs/cgroup/dropcron/7".into()),
            identity: Some("1001:1002:4,27".parse().unwrap()),
            program: "/usr/bin/python3".into(),
            arguments: vec!["-I".into(), "--".into(), "x y".into()],
        }
    }

    #[test]
    fn an_order_survives_its_command_line() {
        assert_eq!(KeepOrder::parse(order().to_arguments().into_iter()), Ok(order()));
    }

    #[test]
    fn a_broken_command_line_is_named() {
        let parse = |line: &[&str]| KeepOrder::parse(line.iter().map(OsString::from)).unwrap_err();
        assert_eq!(parse(&[]), KeepOrderError::NoProgram);
        assert_eq!(parse(&["--"]), KeepOrderError::NoProgram);
        assert_eq!(
            parse(&["--nice", "high", "--", "x"]),
            KeepOrderError::BadValue("--nice")
        );
        assert_eq!(
            parse(&["--rlimit", "data", "--", "x"]),
            KeepOrderError::BadValue("--rlimit")
        );
        assert_eq!(parse(&["--verbose"]), KeepOrderError::UnknownOption("--verbose".into()));
    }

    #[test]
    fn every_resource_has_a_name_of_its_own() {
        for (resource, name) in LimitedResource::ALL {
            assert_eq!(LimitedResource::parse(name), Some(resource));
            assert_eq!(resource.as_str(), name);
        }
    }
}
