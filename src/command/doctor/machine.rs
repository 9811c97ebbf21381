//! What the doctor sees of the machine: directories, mounts, processes, users, interpreters.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::Access;

use crate::config::{Config, ControlGroupPlace};
use crate::doctor::{
    ControlGroupFacts, DirectoryFacts, FirstProcess, Mount, OpenEntries, ScriptUserFacts, ScriptUserObstacle, Secrecy,
    Space, UserFacts, Writing,
};
use crate::executor::{Executor, Identity, Interpreter, ScriptUser, ScriptUserError, can_hide_others};

/// An init that waits for what is left to it does so at once; a machine that is busy may let it wait a moment.
const REAPING_PATIENCE: Duration = Duration::from_millis(500);

/// Where systems keep their zone data.
const ZONE_DIRECTORIES: [&str; 2] = ["/usr/share/zoneinfo", "/etc/zoneinfo"];

/// The system's zone data, if it has what scripts ask for.
pub(super) fn zone_data() -> Option<PathBuf> {
    let named = std::env::var_os("TZDIR").map(PathBuf::from);
    let directories = named.into_iter().chain(ZONE_DIRECTORIES.map(PathBuf::from));
    directories
        .into_iter()
        .find(|path| path.join("Europe/Berlin").is_file())
}

/// The interpreter of the scripts, or what is wrong with it.
pub(super) async fn interpreter(config: &Config) -> anyhow::Result<Result<Interpreter, String>> {
    let config = config.clone();
    let found = tokio::task::spawn_blocking(move || {
        let path = config.environment.get("PATH").map(|path| path.as_os_str());
        Interpreter::find(config.python.as_deref(), path, &config.data_directory)
    });
    Ok(found.await?.map_err(|error| error.to_string()))
}

/// Whether it can make virtual environments; Debian leaves out what that takes.
pub(super) fn has_venv(interpreter: &Interpreter) -> bool {
    let mut command = Command::new(&interpreter.path);
    command.args(["-I", "-S", "-c", "import ensurepip, venv"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// uv, where `DROPCRON_UV` says or on PATH.
pub(super) fn uv(config: &Config) -> Option<PathBuf> {
    let name = config
        .environment
        .get("DROPCRON_UV")
        .cloned()
        .unwrap_or_else(|| "uv".into());
    which::which(name).ok()
}

/// Process 1, and what it has not waited for a while after its end.
pub(super) async fn first_process() -> FirstProcess {
    let name = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    let proc = Path::new("/proc");
    let before = zombies_of_first(proc);
    if !before.is_empty() {
        tokio::time::sleep(REAPING_PATIENCE).await;
    }
    FirstProcess {
        name: name.trim().to_owned(),
        zombies: zombies_of_first(proc).intersection(&before).count(),
    }
}

/// Processes that have ended and that process 1 has not waited for: pid and start, since a pid may pass to another.
fn zombies_of_first(proc: &Path) -> HashSet<(OsString, String)> {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let zombie = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The name in parentheses may hold anything; the state is the third field of proc(5), the start the 22nd.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let started = fields.get(19)?;
        (fields[0] == "Z" && fields[1] == "1").then(|| (entry.file_name(), (*started).to_owned()))
    };
    processes.filter_map(zombie).collect()
}

/// The numbers of the user of the scripts, where that is another and can be had.
pub(super) fn identity(config: &Config) -> Option<Identity> {
    let user = ScriptUser::find(config.run_as.as_deref()?).ok()??;
    Some(user.identity)
}

/// Who dropcron and its scripts are; another user's start of an interpreter is tried.
pub(super) async fn script_user(config: &Config, interpreter: Option<&Interpreter>) -> anyhow::Result<UserFacts> {
    let found = config.run_as.as_deref().map_or(Ok(None), ScriptUser::find);
    let scripts = match found {
        Err(error) => ScriptUserFacts::Impossible(error.to_string(), obstacle(&error)),
        Ok(None) => ScriptUserFacts::Same,
        Ok(Some(user)) => ScriptUserFacts::Other {
            name: user.name.clone(),
            rehearsal: match interpreter {
                Some(interpreter) => {
                    let executor = Executor::new()?.run_as(Some(user));
                    executor.rehearse(interpreter, &config.scripts_directory).await
                }
                // That there is none is a finding of its own.
                None => Ok(()),
            },
        },
    };
    Ok(UserFacts {
        is_root: rustix::process::geteuid().is_root(),
        scripts,
        secrecy: if can_hide_others() {
            Secrecy::Landlock
        } else {
            Secrecy::None
        },
    })
}

fn obstacle(error: &ScriptUserError) -> ScriptUserObstacle {
    match error {
        ScriptUserError::Unknown(_) => ScriptUserObstacle::Unknown,
        ScriptUserError::LookUp { .. } => ScriptUserObstacle::LookUp,
        ScriptUserError::NotAllowed { .. } => ScriptUserObstacle::NotAllowed,
    }
}

/// What limits runs.
pub(super) fn control_groups(config: &Config) -> ControlGroupFacts {
    match &config.control_groups {
        ControlGroupPlace::Nowhere => ControlGroupFacts::TurnedOff,
        ControlGroupPlace::Directory(path) => ControlGroupFacts::Named(path.clone(), can_divide(path)),
        ControlGroupPlace::Delegated if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() => {
            ControlGroupFacts::VersionTwo
        }
        ControlGroupPlace::Delegated => ControlGroupFacts::Absent,
    }
}

/// Whether groups can be made in a directory; nothing is made.
fn can_divide(path: &Path) -> Result<(), String> {
    fs::metadata(path.join("cgroup.procs")).map_err(|error| error.to_string())?;
    rustix::fs::access(path, Access::WRITE_OK).map_err(|error| error.to_string())
}

/// A directory, as this process and the user of the scripts see it.
pub(super) fn directory(path: &Path, scripts: Option<&Identity>) -> DirectoryFacts {
    let unreadable = fs::read_dir(path).err().map(|error| error.to_string());
    let there = nearest(path);
    let metadata = fs::metadata(path).ok();
    let mode = metadata.as_ref().map_or(0, MetadataExt::mode);
    let scripts_may = |identity: &Identity| metadata.as_ref().is_some_and(|metadata| may(identity, WRITE, metadata));
    DirectoryFacts {
        path: path.to_path_buf(),
        unreadable,
        is_there: metadata.is_some(),
        writing: Writing {
            own: rustix::fs::access(&there, Access::WRITE_OK).is_ok(),
            scripts: scripts.is_some_and(scripts_may),
            // A sticky directory lets nobody replace what others put there, and everybody add.
            all: mode & 0o002 != 0,
        },
        is_open_to_all: mode & 0o005 != 0,
        open: OpenEntries::default(),
        mount: mount_of(&there),
        space: space(&there),
    }
}

/// The directory itself, or what is there of the way to it.
fn nearest(path: &Path) -> PathBuf {
    let there = path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    there.canonicalize().unwrap_or_else(|_| there.to_path_buf())
}

/// What is done to a file or directory, as the bit for others in its mode.
const READ: u32 = 0o4;
const WRITE: u32 = 0o2;
const SEARCH: u32 = 0o1;

fn may(identity: &Identity, what: u32, metadata: &fs::Metadata) -> bool {
    let mode = metadata.mode();
    if metadata.uid() == identity.uid {
        return mode & (what << 6) != 0;
    }
    if metadata.gid() == identity.gid || identity.groups.contains(&metadata.gid()) {
        return mode & (what << 3) != 0;
    }
    mode & what != 0
}

/// The directory of the scripts, and whatever below it others may write: helper modules, lists of packages and compiled files
/// are code as well.
pub(super) fn scripts_directory(path: &Path, scripts: Option<&Identity>) -> DirectoryFacts {
    let mut facts = directory(path, scripts);
    let mut directories = vec![path.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path.clone());
            }
            // Of a link what it leads to.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.mode() & WRITE != 0 {
                facts.open.written_by_all.push(path);
            } else if scripts.is_some_and(|identity| may(identity, WRITE, &metadata)) {
                facts.open.written_by_scripts.push(path);
            }
        }
    }
    facts.open.written_by_all.sort();
    facts.open.written_by_scripts.sort();
    facts
}

/// The directory of the secrets, and those that the user of the scripts may read by itself.
pub(super) fn secrets_directory(path: &Path, scripts: Option<&Identity>) -> DirectoryFacts {
    let mut facts = directory(path, scripts);
    let Some(identity) = scripts else { return facts };
    let may_pass = |path: &Path| fs::metadata(path).is_ok_and(|metadata| may(identity, SEARCH, &metadata));
    let absolute = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    if !absolute.ancestors().all(may_pass) {
        return facts;
    }
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if fs::metadata(&path).is_ok_and(|metadata| metadata.is_file() && may(identity, READ, &metadata)) {
            facts.open.read_by_scripts.push(path);
        }
    }
    facts.open.read_by_scripts.sort();
    facts
}

fn space(path: &Path) -> Option<Space> {
    let found = rustix::fs::statvfs(path).ok()?;
    Some(Space {
        free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
        // File systems that make them as they need them say 0 of 0.
        free_files: (found.f_files > 0).then_some(found.f_favail),
    })
}

fn mount_of(path: &Path) -> Mount {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    mount_in(&table, path).unwrap_or_default()
}

/// The mount that a path is on, by the table of proc(5): the longest point that it is below; of several on one point the last.
fn mount_in(table: &[u8], path: &Path) -> Option<Mount> {
    let mounts = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let separator = line.windows(3).position(|three| three == b" - ")?;
        let point = line[..separator].split(|byte| *byte == b' ').nth(4)?;
        let kind = line[separator + 3..].split(|byte| *byte == b' ').next()?;
        Some(Mount {
            point: PathBuf::from(std::ffi::OsString::from_vec(unescape(point))),
            kind: String::from_utf8_lossy(kind).into_owned(),
        })
    });
    mounts
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count())
}

/// `\040` stands for a space, and so on.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_on_the_mount_that_reaches_furthest_towards_it() {
        let table = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw\n\
                      40 22 0:35 / /data rw - nfs4 server:/data rw\n\
                      41 40 0:36 / /data/two\\040words rw,nosuid master:2 - tmpfs tmpfs rw\n\
                      42 22 0:37 / /data rw - xfs /dev/sdb rw\n";
        let kind = |path: &str| mount_in(table, Path::new(path)).unwrap().kind;
        assert_eq!(kind("/etc"), "ext4");
        assert_eq!(kind("/data/one"), "xfs", "mounted over the other");
        assert_eq!(kind("/data/two words/x"), "tmpfs");
        assert_eq!(kind("/database"), "ext4", "by whole names");
    }

    #[test]
    fn what_process_1_has_not_waited_for_is_known_by_its_start_too() {
        let proc = std::env::temp_dir().join(format!("dropcron-proc-{}", std::process::id()));
        let process = |pid: &str, state: &str, parent: &str, started: u32| {
            fs::create_dir_all(proc.join(pid)).unwrap();
            // Real fields, with a name that looks like the end of one.
            let between = "1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0";
            let stat = format!("{pid} (a) Z 1 b) {state} {parent} {between} {started} 0 0\n");
            fs::write(proc.join(pid).join("stat"), stat).unwrap();
        };
        process("7", "Z", "1", 100);
        process("8", "Z", "7", 100);
        process("9", "S", "1", 100);
        fs::create_dir_all(proc.join("self")).unwrap();
        let before = zombies_of_first(&proc);
        assert_eq!(before, HashSet::from([("7".into(), "100".to_owned())]));
        process("7", "Z", "1", 101);
        assert_eq!(zombies_of_first(&proc).intersection(&before).count(), 0);
        fs::remove_dir_all(&proc).unwrap();
    }

    #[test]
    fn the_way_of_writing_decides_which_bits_count() {
        let directory = std::env::temp_dir();
        let metadata = fs::metadata(&directory).unwrap();
        let stranger = Identity {
            uid: 3_999_999,
            gid: 3_999_999,
            groups: Vec::new(),
        };
        assert_eq!(may(&stranger, WRITE, &metadata), metadata.mode() & 0o002 != 0);
        let owner = Identity {
            uid: metadata.uid(),
            ..stranger.clone()
        };
        assert_eq!(may(&owner, WRITE, &metadata), metadata.mode() & 0o200 != 0);
        let member = Identity {
            groups: vec![metadata.gid()],
            ..stranger
        };
        assert_eq!(may(&member, WRITE, &metadata), metadata.mode() & 0o020 != 0);
    }
}
