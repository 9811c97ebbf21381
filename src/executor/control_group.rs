//! Control groups (cgroup v2): the kernel's own limits for a run's whole process tree, and an end that no fork outruns.
//!
//! Owns finding a place in the hierarchy that is ours, and one group for each run below it. Knows no run. The scheduler prepares
//! the place once; the keeper makes, fills and removes the group of its run; the scheduler removes what a dead keeper left.
//!
//! A place is ours if somebody gave it to us: systemd with `Delegate=yes`, a container with a writable hierarchy, or the
//! operator by `DROPCRON_CGROUP`. Being root is not enough: the rest of the machine's tree belongs to its service manager.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::process_tree;

/// The controllers that limits take.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// A group whose last process is on its way out cannot be removed yet.
const REMOVAL_LIMIT: Duration = Duration::from_secs(2);
const REMOVAL_INTERVAL: Duration = Duration::from_millis(2);

/// Where runs get groups of their own.
#[derive(Clone, Debug)]
pub struct ControlGroups(Arc<Place>);

#[derive(Debug)]
struct Place {
    /// The parent of the groups of this process's runs; removed with this value.
    directory: PathBuf,
    /// Which controllers are at hand there.
    controllers: Vec<&'static str>,
    next: AtomicU64,
}

impl Drop for Place {
    fn drop(&mut self) {
        // Where a run's group is still inside, the next start removes both.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// The operator named a place that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`DROPCRON_CGROUP` is `{}`, which cannot be used: {source}; name an empty directory of a cgroup v2 hierarchy that this \
     user may write to, or `none`", path.display()
)]
pub struct ControlGroupError {
    path: PathBuf,
    source: io::Error,
}

impl ControlGroups {
    /// The place that `named` says, else the one that this process was given, if it was given one.
    pub fn prepare(named: Option<&Path>) -> Result<Option<ControlGroups>, ControlGroupError> {
        match named {
            Some(path) => ControlGroups::below(path)
                .map(Some)
                .map_err(|source| ControlGroupError {
                    path: path.to_path_buf(),
                    source,
                }),
            None => Ok(delegated().and_then(|place| {
                move_out(&place).ok()?;
                ControlGroups::below(&place).ok()
            })),
        }
    }

    fn below(place: &Path) -> io::Result<ControlGroups> {
        // Any file would take a write; this one is there in a hierarchy of version 2 only.
        fs::metadata(place.join("cgroup.procs"))?;
        let enabled = enable_controllers(place);
        remove_left_behind(place);
        let directory = place.join(format!("dropcron-{}", std::process::id()));
        make_directory(&directory)?;
        // What one level has, the next must be given.
        let controllers = enabled
            .into_iter()
            .filter(|name| enable(&directory, name).is_ok())
            .collect();
        Ok(ControlGroups(Arc::new(Place {
            directory,
            controllers,
            next: AtomicU64::default(),
        })))
    }

    /// The group of the next run; it is made by its keeper.
    pub(super) fn next(&self) -> PathBuf {
        let number = self.0.next.fetch_add(1, Ordering::Relaxed);
        self.0.directory.join(number.to_string())
    }

    /// Whether the kernel limits memory there.
    pub fn limits_memory(&self) -> bool {
        self.0.controllers.contains(&"memory")
    }

    /// Whether the kernel limits processes there.
    pub fn limits_processes(&self) -> bool {
        self.0.controllers.contains(&"pids")
    }

    /// The directory of this process's runs.
    pub fn directory(&self) -> &Path {
        &self.0.directory
    }
}

/// The group of this process, if it was given to it.
fn delegated() -> Option<PathBuf> {
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let place = mounts.lines().find_map(|line| place_in(line, path))?;
    // The root of the machine's own hierarchy has no such file, and is nobody's.
    fs::metadata(place.join("cgroup.type")).ok()?;
    let writable = ["", "cgroup.procs", "cgroup.subtree_control"]
        .iter()
        .all(|name| rustix::fs::access(place.join(name), rustix::fs::Access::WRITE_OK).is_ok());
    // Root may write anywhere; that it is meant to, a mark says, or that a container sees this group as its root.
    let meant = path == "/" || !rustix::process::geteuid().is_root() || is_marked(&place);
    (writable && meant).then_some(place)
}

/// Where a path of `/proc/self/cgroup` is, if a line of `/proc/self/mountinfo` (proc(5)) is of the hierarchy of version 2.
fn place_in(line: &str, path: &str) -> Option<PathBuf> {
    let (mount, kind) = line.split_once(" - ")?;
    if kind.split(' ').next() != Some("cgroup2") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, mount_point) = (fields.next()?, fields.next()?);
    let inside = if root == "/" { path } else { path.strip_prefix(root)? };
    Some(Path::new(mount_point).join(inside.trim_start_matches('/')))
}

/// What systemd marks a group with that it hands over (`Delegate=`).
fn is_marked(place: &Path) -> bool {
    let mut value = [0; 1];
    ["user.delegate", "trusted.delegate"].iter().any(|name| {
        rustix::fs::getxattr(place, *name, &mut value[..]).is_ok_and(|length| length == 1) && value == *b"1"
    })
}

/// A group that hands controllers on may hold no processes itself: they move to one of their own. Only ours do, and a
/// container's init; where there are others, the place is not ours.
fn move_out(place: &Path) -> io::Result<()> {
    let inside: HashSet<i32> = fs::read_to_string(place.join("cgroup.procs"))?
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    let own = rustix::process::getpid();
    let ours: HashSet<i32> = process_tree::descendants(own)
        .iter()
        .map(|pid| pid.as_raw_pid())
        .chain([own.as_raw_pid(), 1])
        .collect();
    if !inside.is_subset(&ours) {
        return Err(io::ErrorKind::ResourceBusy.into());
    }
    if inside.is_empty() {
        return Ok(());
    }
    let leaf = place.join("dropcron");
    make_directory(&leaf)?;
    for pid in inside {
        match fs::write(leaf.join("cgroup.procs"), pid.to_string()) {
            // It has ended meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
            result => result?,
        }
    }
    Ok(())
}

/// The controllers that the groups below this one have.
fn enable_controllers(place: &Path) -> Vec<&'static str> {
    CONTROLLERS
        .into_iter()
        .filter(|name| enable(place, name).is_ok())
        .collect()
}

fn enable(place: &Path, controller: &str) -> io::Result<()> {
    fs::write(place.join("cgroup.subtree_control"), format!("+{controller}"))
}

/// Ends and removes the groups of processes that are gone.
fn remove_left_behind(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let owner = entry
            .file_name()
            .to_str()
            .and_then(|name| name.strip_prefix("dropcron-")?.parse::<i32>().ok());
        let is_gone = |pid: i32| Pid::from_raw(pid).is_none_or(|pid| process_tree::ProcessState::of(pid).is_none());
        if owner.is_some_and(|pid| pid == std::process::id() as i32 || is_gone(pid)) {
            ControlGroup { path: entry.path() }.end();
        }
    }
}

fn make_directory(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// One run's group.
#[derive(Debug)]
pub(super) struct ControlGroup {
    path: PathBuf,
}

impl ControlGroup {
    /// A group that may or may not be there.
    pub fn at(path: PathBuf) -> ControlGroup {
        ControlGroup { path }
    }

    /// Makes it.
    pub fn make(path: &Path) -> io::Result<ControlGroup> {
        make_directory(path)?;
        Ok(ControlGroup {
            path: path.to_path_buf(),
        })
    }

    /// Limits the memory of all processes in it together; beyond it they die together. An error if the kernel cannot.
    pub fn limit_memory(&self, bytes: u64) -> io::Result<()> {
        self.write("memory.max", &bytes.to_string())?;
        // Without it a run would go on in the swap space instead. There may be none.
        let _ = self.write("memory.swap.max", "0");
        self.write("memory.oom.group", "1")
    }

    /// Limits the number of processes and threads in it; beyond it none can be started. An error if the kernel cannot.
    pub fn limit_processes(&self, count: u32) -> io::Result<()> {
        self.write("pids.max", &count.to_string())
    }

    /// Takes in the calling process.
    pub fn join(&self) -> io::Result<()> {
        self.write("cgroup.procs", "0")
    }

    /// Kills everything in it, in one stroke.
    pub fn kill(&self) {
        // Kernels before 5.14 have no such file; signals one by one must do.
        let _ = self.write("cgroup.kill", "1");
    }

    /// Whether something in it was killed for memory.
    pub fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.path.join("memory.events")).unwrap_or_default();
        events_of(&events, "oom_kill") > 0
    }

    /// The most memory that was in use at once, KiB; none if the kernel does not tell (before 5.19).
    pub fn peak_kb(&self) -> Option<i64> {
        let bytes: i64 = fs::read_to_string(self.path.join("memory.peak"))
            .ok()?
            .trim()
            .parse()
            .ok()?;
        Some(bytes / 1024)
    }

    /// Kills what is in it and removes it, with the groups that were made inside.
    pub fn end(self) {
        self.kill();
        self.remove();
    }

    /// Removes it once it is empty, with the groups that were made inside.
    pub fn remove(self) {
        let give_up_at = Instant::now() + REMOVAL_LIMIT;
        while let Err(error) = remove_directories(&self.path) {
            if error.kind() != io::ErrorKind::ResourceBusy || Instant::now() >= give_up_at {
                return;
            }
            std::thread::sleep(REMOVAL_INTERVAL);
        }
    }

    fn write(&self, file: &str, value: &str) -> io::Result<()> {
        fs::write(self.path.join(file), value)
    }
}

/// Files of a group go with its directory; directories in it must go first.
fn remove_directories(path: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        remove_directories(&entry.path())?;
    }
    fs::remove_dir(path)
}

/// A figure of a file of `name value` lines.
fn events_of(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    const CONTAINER: &str = "999 998 0:26 /docker/abc /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw";

    #[test]
    fn the_own_group_is_found_by_its_mount() {
        let place = |line, path| place_in(line, path).map(|place| place.display().to_string());
        assert_eq!(
            place(HOST, "/system.slice/dropcron.service").unwrap(),
            "/sys/fs/cgroup/system.slice/dropcron.service"
        );
        assert_eq!(place(CONTAINER, "/docker/abc/x").unwrap(), "/sys/fs/cgroup/x");
        assert_eq!(place(CONTAINER, "/elsewhere"), None);
        assert_eq!(place("24 1 0:5 / /proc rw - proc proc rw", "/"), None);
    }

    #[test]
    fn a_figure_is_read_by_its_whole_name() {
        let events = "low 0\nmax 7\noom 2\noom_kill 1\noom_group_kill 3\n";
        assert_eq!(events_of(events, "oom_kill"), 1);
        assert_eq!(events_of(events, "oom"), 2);
        assert_eq!(events_of("", "oom_kill"), 0);
    }
}
