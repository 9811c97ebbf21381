//! Facts -> findings: what is fine, what is worth knowing, and what must be mended.

use std::path::PathBuf;

use serde::Serialize;

use super::facts::{
    BoundOf, ControlGroupFacts, DatabaseFacts, DirectoryFacts, Facts, FirstProcess, ScriptUserFacts,
    ScriptUserObstacle, Secrecy, ServerFacts, UserFacts,
};
use crate::size::format_size;

/// The oldest major version of Postgres that the statements run on.
const OLDEST_POSTGRES: i32 = 13;

/// Connections of one node, four of them for its API; see `database/pool.rs` and `command/api.rs`.
const CONNECTIONS_OF_A_NODE: i64 = 12;

/// Scripts read this machine's clock, and dates of theirs are off by as much.
const NOTABLE_OFFSET_MS: f64 = 1_000.0;
const BAD_OFFSET_MS: f64 = 60_000.0;

/// With less than this free the journal and the private Postgres may fail any day; with less than that, any minute.
const LITTLE_SPACE: u64 = 2 << 30;
const NO_SPACE: u64 = 200 << 20;
const FEW_FILES: u64 = 10_000;

/// File systems of other machines: they tell nobody of changes, and their locks and syncs are as good as their servers.
const NETWORK_KINDS: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "9p",
    "fuse.sshfs",
    "ceph",
    "glusterfs",
    "fuse.glusterfs",
];

/// File systems that are gone with the machine or the container.
const FLEETING_KINDS: &[&str] = &["tmpfs", "ramfs", "overlay", "aufs"];

/// Programs that wait for what is left to process 1.
const REAPERS: &[&str] = &[
    "systemd",
    "init",
    "tini",
    "docker-init",
    "dumb-init",
    "catatonit",
    "s6-svscan",
    "runit",
    "openrc-init",
    "launchd",
    "podman-init",
    "conmon",
];

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The thing.
    pub about: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing; it may be meant.
    Note,
    /// It must be mended.
    Problem,
}

/// What is fine, what is worth knowing and what must be mended, in the order of a system from its machine to its database.
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![zones(facts)];
    findings.extend(scripts(&facts.scripts));
    findings.extend(data(
        &facts.data,
        matches!(&facts.database, DatabaseFacts::Reached(server) if !server.is_private),
    ));
    findings.extend(facts.secrets.iter().flat_map(secrets));
    findings.extend(interpreter(facts));
    findings.push(uv(facts));
    findings.push(first_process(&facts.first_process));
    findings.extend(user(&facts.user));
    findings.push(control_groups(&facts.control_groups));
    findings.extend(database(&facts.database));
    findings
}

fn ok(about: &'static str, what: impl Into<String>) -> Finding {
    Finding {
        about,
        level: Level::Ok,
        what: what.into(),
        remedy: None,
    }
}

fn note(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        about,
        level: Level::Note,
        what: what.into(),
        remedy: Some(remedy.into()),
    }
}

fn problem(about: &'static str, what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding {
        level: Level::Problem,
        ..note(about, what, remedy)
    }
}

fn zones(facts: &Facts) -> Finding {
    match &facts.zone_data {
        Some(path) => ok(
            "zones",
            format!(
                "zone data of `{}`; schedules without a zone are in {}",
                path.display(),
                facts.timezone
            ),
        ),
        None => note(
            "zones",
            "this system has no zone data: the copy inside of dropcron is used, which is as old as this version of it, and scripts \
             may find none",
            "install it: `apt-get install tzdata`",
        ),
    }
}

fn scripts(directory: &DirectoryFacts) -> Vec<Finding> {
    const ABOUT: &str = "scripts";
    let path = directory.path.display();
    if let Some(error) = &directory.unreadable {
        return vec![problem(
            ABOUT,
            format!("the scripts directory `{path}` cannot be read: {error}"),
            "make it, give dropcron's user the right to read it, or name another with `--scripts` or `DROPCRON_SCRIPTS_DIR`",
        )];
    }
    let mut found = Vec::new();
    if directory.writing.all {
        found.push(problem(
            ABOUT,
            format!("everybody on this machine may write into `{path}`, and so run code by dropcron"),
            format!("`chmod o-w {path}`"),
        ));
    } else if directory.writing.scripts {
        found.push(note(
            ABOUT,
            format!("the user of the scripts may write into `{path}`: a script can change others and add new ones"),
            "give the directory another owner, unless that is meant",
        ));
    }
    let (by_all, by_scripts) = (&directory.open.written_by_all, &directory.open.written_by_scripts);
    if !by_all.is_empty() {
        found.push(problem(
            ABOUT,
            format!(
                "everybody on this machine may write {}, and so run code by dropcron",
                some_of(by_all)
            ),
            format!("`chmod -R o-w {path}`"),
        ));
    }
    if !by_scripts.is_empty() {
        found.push(note(
            ABOUT,
            format!(
                "the user of the scripts may write {}: a script can change others",
                some_of(by_scripts)
            ),
            "give them another owner and group, unless that is meant",
        ));
    }
    if NETWORK_KINDS.contains(&directory.mount.kind.as_str()) {
        found.push(note(
            ABOUT,
            format!(
                "`{path}` is on a network file system ({}), which does not tell of changes",
                directory.mount.kind
            ),
            "changes are seen with the next scan; `DROPCRON_SCAN_INTERVAL` says how often that is",
        ));
    }
    if found.is_empty() {
        found.push(ok(ABOUT, format!("`{path}`, on {}", directory.mount.kind)));
    }
    found
}

fn data(directory: &DirectoryFacts, has_database_elsewhere: bool) -> Vec<Finding> {
    const ABOUT: &str = "data";
    let path = directory.path.display();
    let kind = directory.mount.kind.as_str();
    let mut found = Vec::new();
    if !directory.writing.own {
        found.push(problem(
            ABOUT,
            format!("the data directory `{path}` cannot be written to"),
            "give it to dropcron's user, or name another with `--data` or `DROPCRON_DATA_DIR`",
        ));
    }
    if NETWORK_KINDS.contains(&kind) {
        found.push(problem(
            ABOUT,
            format!(
                "`{path}` is on a network file system ({kind}): locks and the journal are only as good as its server"
            ),
            "put the data directory on a disk of this machine",
        ));
    } else if FLEETING_KINDS.contains(&kind) {
        let lost = if has_database_elsewhere {
            "the ends of runs that the database has not taken yet"
        } else {
            "the private database, with everything that was recorded,"
        };
        found.push(problem(
            ABOUT,
            format!("`{path}` is on {kind}: {lost} would be gone with the container or at the next boot"),
            "mount a volume there, or name a directory on a disk with `DROPCRON_DATA_DIR`",
        ));
    }
    found.extend(space(directory));
    if found.is_empty() {
        let free = directory.space.map_or_else(String::new, |space| {
            format!(", {} of {} free", rounded(space.free_bytes), rounded(space.total_bytes))
        });
        found.push(ok(ABOUT, format!("`{path}`, on {kind}{free}")));
    }
    found
}

fn space(directory: &DirectoryFacts) -> Option<Finding> {
    const ABOUT: &str = "disk";
    let space = directory.space?;
    let point = directory.mount.point.display();
    let free = rounded(space.free_bytes);
    if space.free_bytes < NO_SPACE {
        return Some(problem(
            ABOUT,
            format!("{free} are free on `{point}`: ends of runs may not be recorded any more"),
            "make room; `dropcron prune --dry-run` says what the database could let go with a shorter `DROPCRON_KEEP_RUNS`",
        ));
    }
    if let Some(files) = space.free_files.filter(|files| *files < FEW_FILES) {
        return Some(problem(
            ABOUT,
            format!("only {files} more files can be made on `{point}`; each run makes some"),
            "remove files that nobody needs there",
        ));
    }
    (space.free_bytes < LITTLE_SPACE)
        .then(|| note(ABOUT, format!("{free} are free on `{point}`"), "watch it, or make room"))
}

/// To whole GiB or MiB: nobody counts further.
fn rounded(bytes: u64) -> String {
    let unit = if bytes >= 10 << 30 { 30 } else { 20 };
    format_size(bytes >> unit << unit)
}

fn secrets(directory: &DirectoryFacts) -> Vec<Finding> {
    const ABOUT: &str = "secrets";
    let path = directory.path.display();
    if let Some(error) = &directory.unreadable {
        return vec![problem(
            ABOUT,
            format!("the secrets directory `{path}` cannot be read: {error}; tasks that name a secret fail"),
            "make it, and give it to dropcron's user alone: mode 0700",
        )];
    }
    if directory.is_open_to_all {
        return vec![problem(
            ABOUT,
            format!("everybody on this machine may look into `{path}`"),
            format!("`chmod 700 {path}`"),
        )];
    }
    if !directory.open.read_by_scripts.is_empty() {
        return vec![problem(
            ABOUT,
            format!(
                "the user of the scripts may read {}: so every script has them, whatever its header names",
                some_of(&directory.open.read_by_scripts)
            ),
            format!("`chmod 700 {path}`, or a group that the user of the scripts is not in"),
        )];
    }
    vec![ok(ABOUT, format!("`{path}`"))]
}

/// The first paths of some, and how many others there are.
fn some_of(paths: &[PathBuf]) -> String {
    const NAMED: usize = 3;
    let named: Vec<String> = paths
        .iter()
        .take(NAMED)
        .map(|path| format!("`{}`", path.display()))
        .collect();
    let named = named.join(", ");
    match paths.len().saturating_sub(NAMED) {
        0 => named,
        1 => format!("{named} and one more"),
        more => format!("{named} and {more} more"),
    }
}

fn interpreter(facts: &Facts) -> Vec<Finding> {
    const ABOUT: &str = "python";
    match &facts.interpreter {
        Err(error) => vec![problem(
            ABOUT,
            format!("no script can run: {error}"),
            "install Python 3.9 or newer (`apt-get install python3`), or name one with `DROPCRON_PYTHON`",
        )],
        Ok(version) if !facts.has_venv && facts.uv.is_none() => vec![note(
            ABOUT,
            format!("Python {version}, without the module `venv`"),
            "scripts that declare dependencies need it, or uv: `apt-get install python3-venv`",
        )],
        Ok(version) => vec![ok(ABOUT, format!("Python {version}"))],
    }
}

fn uv(facts: &Facts) -> Finding {
    match &facts.uv {
        Some(path) => ok("uv", format!("`{}`", path.display())),
        None => note(
            "uv",
            "uv was not found",
            "scripts that declare `dependencies` need it: `pip install uv`, or name it with `DROPCRON_UV`",
        ),
    }
}

fn first_process(first: &FirstProcess) -> Finding {
    const ABOUT: &str = "init";
    let name = &first.name;
    if first.zombies > 0 {
        return problem(
            ABOUT,
            format!(
                "process 1 (`{name}`) does not wait for what is left to it: {} processes have ended and are still there",
                first.zombies
            ),
            "in a container start an init first: `init: true` in a compose file, `docker run --init`, or `tini --`; elsewhere process 1 \
             itself hangs, and the machine wants a restart",
        );
    }
    if REAPERS.contains(&name.as_str()) {
        return ok(ABOUT, format!("process 1 is `{name}`"));
    }
    note(
        ABOUT,
        format!("process 1 is `{name}`, which may not wait for what is left to it"),
        "in a container start an init first: `init: true` in a compose file, `docker run --init`, or `tini --`",
    )
}

fn user(user: &UserFacts) -> Vec<Finding> {
    const ABOUT: &str = "user";
    match &user.scripts {
        ScriptUserFacts::Impossible(error, obstacle) => vec![problem(
            ABOUT,
            error.clone(),
            match obstacle {
                ScriptUserObstacle::Unknown => "`getent passwd` lists the users that this system knows",
                ScriptUserObstacle::LookUp => {
                    "`getent passwd NAME` asks the system the same; its directory of users may be away"
                }
                ScriptUserObstacle::NotAllowed => {
                    "in a container neither drop these capabilities nor set `no-new-privileges`; under systemd \
                     `AmbientCapabilities` and `CapabilityBoundingSet` give them"
                }
            },
        )],
        ScriptUserFacts::Other {
            name,
            rehearsal: Err(error),
        } => vec![problem(
            ABOUT,
            format!("scripts cannot run as `{name}`: {error}"),
            "that user must be able to reach the interpreter, the scripts directory and the data directory",
        )],
        ScriptUserFacts::Other { name, .. } if user.secrecy == Secrecy::None => vec![note(
            ABOUT,
            format!(
                "scripts run as `{name}`, and can read each other's environment, secrets included: this kernel has no Landlock"
            ),
            "use Linux 5.19 or newer with Landlock, or trust all scripts with all secrets",
        )],
        ScriptUserFacts::Other { name, .. } => vec![ok(
            ABOUT,
            format!("scripts run as `{name}`, out of sight of each other"),
        )],
        ScriptUserFacts::Same if user.is_root => vec![problem(
            ABOUT,
            "scripts run as root: nothing on this machine is hidden from them",
            "make a user for them (`useradd --system runner`), and set `DROPCRON_RUN_AS=runner`",
        )],
        ScriptUserFacts::Same => vec![note(
            ABOUT,
            "scripts run as the user of dropcron: they can read its files, all secrets, and reach a private database",
            "`DROPCRON_RUN_AS` gives them a user of their own, where scripts are not trusted with that",
        )],
    }
}

fn control_groups(groups: &ControlGroupFacts) -> Finding {
    const ABOUT: &str = "limits";
    match groups {
        ControlGroupFacts::TurnedOff => ok(
            ABOUT,
            "control groups are turned off; the keeper of each run watches its limits",
        ),
        ControlGroupFacts::Named(path, Ok(())) => {
            ok(ABOUT, format!("runs get control groups below `{}`", path.display()))
        }
        ControlGroupFacts::Named(path, Err(error)) => problem(
            ABOUT,
            format!(
                "`DROPCRON_CGROUP` is `{}`, and no group can be made there: {error}",
                path.display()
            ),
            "name an empty directory of a cgroup v2 hierarchy that dropcron's user owns, or leave the variable unset",
        ),
        ControlGroupFacts::VersionTwo => ok(
            ABOUT,
            "control groups of version 2 are there; where the service was given one, the kernel enforces limits (its log says at the \
             start whether)",
        ),
        ControlGroupFacts::Absent => note(
            ABOUT,
            "no control groups of version 2: the keeper of each run watches its memory and processes, between looks",
            "nothing need be done; the kernel enforces limits on a system with cgroup v2 and `Delegate=yes` in the unit",
        ),
    }
}

fn database(facts: &DatabaseFacts) -> Vec<Finding> {
    const ABOUT: &str = "database";
    match facts {
        DatabaseFacts::NotMadeYet(Ok(path)) => vec![ok(
            ABOUT,
            format!(
                "none yet: the first command makes a private one with the programs in `{}`",
                path.display()
            ),
        )],
        DatabaseFacts::NotMadeYet(Err(error)) => vec![problem(
            ABOUT,
            format!("no private Postgres can be made: {error}"),
            "`apt-get install postgresql`, or set `DATABASE_URL` to a server that there is",
        )],
        DatabaseFacts::Unreachable(error) => vec![problem(
            ABOUT,
            error.clone(),
            "is the server up, the name right, the password too? `DATABASE_URL` says where it is looked for",
        )],
        DatabaseFacts::Pooled => vec![transaction_pooler()],
        DatabaseFacts::Reached(server) => {
            let found: Vec<Finding> = [
                clock(server),
                version(server),
                connections(server),
                writes(server),
                durability(server),
                text(server),
                network(server),
                pooler(server),
                nodes(server),
            ]
            .into_iter()
            .flatten()
            .collect();
            let ours = format!("Postgres {} at {}", server.version, server.url);
            std::iter::once(ok(ABOUT, ours)).chain(found).collect()
        }
    }
}

fn clock(server: &ServerFacts) -> Option<Finding> {
    const ABOUT: &str = "clock";
    let offset = server.clock_offset_ms.abs() - server.clock_error_ms;
    let what = format!(
        "the clocks of this machine and of the database differ by {:.1} s",
        server.clock_offset_ms.abs() / 1000.0
    );
    let remedy = "let both follow a time server (chrony, systemd-timesyncd); dropcron fires by the database's clock, scripts read this \
                  machine's";
    if offset >= BAD_OFFSET_MS {
        return Some(problem(ABOUT, what, remedy));
    }
    if offset >= NOTABLE_OFFSET_MS {
        return Some(note(ABOUT, what, remedy));
    }
    Some(ok(
        ABOUT,
        format!(
            "{:.1} ms from the database's, give or take {:.1}",
            server.clock_offset_ms, server.clock_error_ms
        ),
    ))
}

fn version(server: &ServerFacts) -> Option<Finding> {
    (server.major_version < OLDEST_POSTGRES).then(|| {
        problem(
            "database",
            format!("Postgres {} is too old", server.version),
            format!("upgrade the server to {OLDEST_POSTGRES} or newer"),
        )
    })
}

fn connections(server: &ServerFacts) -> Option<Finding> {
    const ABOUT: &str = "connections";
    let wanted = CONNECTIONS_OF_A_NODE * server.live_nodes.max(1);
    let lowest = server.connections.iter().min_by_key(|bound| bound.allowed)?;
    if lowest.allowed < wanted {
        return Some(problem(
            ABOUT,
            format!(
                "{} allows {} connections, and {wanted} are needed: {CONNECTIONS_OF_A_NODE} for each node",
                bounding(&lowest.of),
                lowest.allowed
            ),
            raise(&lowest.of),
        ));
    }
    let tightest = server
        .connections
        .iter()
        .min_by_key(|bound| bound.allowed - bound.used)?;
    let state = format!(
        "{} of {} connections that {} allows are in use",
        tightest.used,
        tightest.allowed,
        bounding(&tightest.of)
    );
    if tightest.allowed - tightest.used < CONNECTIONS_OF_A_NODE {
        return Some(note(
            ABOUT,
            format!("{state}; one more node needs {CONNECTIONS_OF_A_NODE}"),
            format!(
                "{}, or put a session pooler in front of other clients",
                raise(&tightest.of)
            ),
        ));
    }
    Some(ok(ABOUT, state))
}

fn bounding(of: &BoundOf) -> String {
    match of {
        BoundOf::Server => "the server".to_owned(),
        BoundOf::Database(name) => format!("the database `{name}`"),
        BoundOf::Role(name) => format!("the role `{name}`"),
    }
}

fn raise(of: &BoundOf) -> String {
    match of {
        BoundOf::Server => "raise `max_connections`".to_owned(),
        BoundOf::Database(name) => format!("raise it: `ALTER DATABASE \"{name}\" CONNECTION LIMIT ...`, -1 for none"),
        BoundOf::Role(name) => format!("raise it: `ALTER ROLE \"{name}\" CONNECTION LIMIT ...`, -1 for none"),
    }
}

fn writes(server: &ServerFacts) -> Option<Finding> {
    if server.is_read_only {
        return Some(problem(
            "database",
            "the server takes no writes: it is a standby, or its default is read-only",
            "name the primary in `DATABASE_URL` (several hosts with `target_session_attrs=read-write` find it)",
        ));
    }
    (!server.has_schema).then(|| {
        problem(
            "database",
            "there is no schema `dropcron`, and this role may not make one",
            "`GRANT CREATE ON DATABASE ... TO ...`, or make the schemas `dropcron` and `dropcron_report` for it",
        )
    })
}

fn durability(server: &ServerFacts) -> Option<Finding> {
    if !server.unsafe_settings.is_empty() {
        return Some(problem(
            "durability",
            format!(
                "{} of the server: a crash may cost rows, or the whole database",
                server.unsafe_settings.join(", ")
            ),
            "turn them on; they are what makes a commit last",
        ));
    }
    (!server.has_autovacuum).then(|| {
        problem(
            "durability",
            "`autovacuum` is off: tables that change often grow without bound",
            "turn it on",
        )
    })
}

fn text(server: &ServerFacts) -> Option<Finding> {
    (server.encoding != "UTF8").then(|| {
        problem(
            "encoding",
            format!(
                "the database stores text as {}: output and values with other characters cannot be written",
                server.encoding
            ),
            "make a database with `ENCODING 'UTF8' TEMPLATE template0`",
        )
    })
}

fn network(server: &ServerFacts) -> Option<Finding> {
    server.is_in_the_clear.then(|| {
        note(
            "network",
            "what is said to the database, values and output included, crosses a network in the clear",
            "`sslmode=verify-full` in `DATABASE_URL`, unless that network is private",
        )
    })
}

fn transaction_pooler() -> Finding {
    problem(
        "pooler",
        "a pooler in between gives sessions no server process of their own (transaction pooling)",
        "`pool_mode = session` for this database; `DROPCRON_DIRECT_DATABASE_URL` names the server itself",
    )
}

fn pooler(server: &ServerFacts) -> Option<Finding> {
    server.direct_problem.as_ref().map(|error| {
        problem(
            "pooler",
            format!("the way past the pooler (`DROPCRON_DIRECT_DATABASE_URL`) does not work: {error}"),
            "migrations and LISTEN take it; name the server itself",
        )
    })
}

fn nodes(server: &ServerFacts) -> Option<Finding> {
    const ABOUT: &str = "nodes";
    match server.live_nodes {
        0 => Some(note(ABOUT, "no service is alive: nothing fires", "`dropcron serve`")),
        _ if server.node_versions.len() > 1 => Some(note(
            ABOUT,
            format!(
                "nodes of several versions are alive: {}",
                server.node_versions.join(", ")
            ),
            "bring all of them to the newest; two versions side by side are meant for the time of an upgrade",
        )),
        count => Some(ok(
            ABOUT,
            format!("{count} alive, version {}", server.node_versions.join(", ")),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::facts::{ConnectionBound, Mount, OpenEntries, Space, Writing};
    use super::*;

    /// A system with nothing to say about.
    fn healthy() -> Facts {
        let directory = |path: &str, own| DirectoryFacts {
            path: path.into(),
            unreadable: None,
            is_there: true,
            writing: Writing {
                own,
                ..Writing::default()
            },
            is_open_to_all: false,
            open: OpenEntries::default(),
            mount: Mount {
                point: "/".into(),
                kind: "ext4".to_owned(),
            },
            space: Some(Space {
                free_bytes: 50 << 30,
                total_bytes: 100 << 30,
                free_files: Some(1 << 20),
            }),
        };
        Facts {
            zone_data: Some("/usr/share/zoneinfo".into()),
            timezone: "UTC".to_owned(),
            scripts: directory("/scripts", false),
            data: directory("/data", true),
            secrets: Some(directory("/secrets", false)),
            interpreter: Ok("3.13.5".to_owned()),
            has_venv: true,
            uv: Some("/usr/local/bin/uv".into()),
            first_process: FirstProcess {
                name: "tini".to_owned(),
                zombies: 0,
            },
            user: UserFacts {
                is_root: false,
                scripts: ScriptUserFacts::Other {
                    name: "runner".to_owned(),
                    rehearsal: Ok(()),
                },
                secrecy: Secrecy::Landlock,
            },
            control_groups: ControlGroupFacts::VersionTwo,
            database: DatabaseFacts::Reached(Box::new(server())),
        }
    }

    fn bound(of: BoundOf, allowed: i64, used: i64) -> ConnectionBound {
        ConnectionBound { of, allowed, used }
    }

    fn server() -> ServerFacts {
        ServerFacts {
            url: "postgres://dropcron@db/dropcron".to_owned(),
            is_private: false,
            version: "17.6".to_owned(),
            major_version: 17,
            clock_offset_ms: 0.4,
            clock_error_ms: 0.2,
            connections: vec![bound(BoundOf::Server, 97, 8)],
            live_nodes: 1,
            node_versions: vec!["0.1.0".to_owned()],
            is_read_only: false,
            unsafe_settings: Vec::new(),
            has_autovacuum: true,
            encoding: "UTF8".to_owned(),
            is_in_the_clear: false,
            has_schema: true,
            direct_problem: None,
        }
    }

    /// What is not fine about a system that was changed in one thing.
    fn after(change: impl FnOnce(&mut Facts)) -> Vec<(&'static str, Level)> {
        let mut facts = healthy();
        change(&mut facts);
        let findings = diagnose(&facts);
        for finding in &findings {
            assert_eq!(finding.remedy.is_some(), finding.level > Level::Ok, "{finding:?}");
        }
        let bad = findings.into_iter().filter(|finding| finding.level > Level::Ok);
        bad.map(|finding| (finding.about, finding.level)).collect()
    }

    fn after_server(change: impl FnOnce(&mut ServerFacts)) -> Vec<(&'static str, Level)> {
        after(|facts| {
            let mut changed = server();
            change(&mut changed);
            facts.database = DatabaseFacts::Reached(Box::new(changed));
        })
    }

    #[test]
    fn a_system_that_is_as_it_should_be_has_nothing_to_mend() {
        assert_eq!(after(|_| {}), []);
    }

    #[test]
    fn directories_are_judged_by_what_is_kept_in_them() {
        use Level::{Note, Problem};
        let nfs = || Mount {
            point: "/mnt".into(),
            kind: "nfs4".to_owned(),
        };
        let overlay = || Mount {
            point: "/".into(),
            kind: "overlay".to_owned(),
        };
        assert_eq!(after(|facts| facts.scripts.mount = nfs()), [("scripts", Note)]);
        assert_eq!(after(|facts| facts.data.mount = nfs()), [("data", Problem)]);
        assert_eq!(after(|facts| facts.scripts.mount = overlay()), []);
        assert_eq!(after(|facts| facts.data.mount = overlay()), [("data", Problem)]);
        assert_eq!(after(|facts| facts.data.writing.own = false), [("data", Problem)]);
        assert_eq!(after(|facts| facts.scripts.writing.all = true), [("scripts", Problem)]);
        assert_eq!(after(|facts| facts.scripts.writing.scripts = true), [("scripts", Note)]);
        assert_eq!(
            after(|facts| facts.scripts.unreadable = Some("gone".to_owned())),
            [("scripts", Problem)]
        );
        let secrets = |facts: &mut Facts| facts.secrets.as_mut().unwrap().is_open_to_all = true;
        assert_eq!(after(secrets), [("secrets", Problem)]);
        let one = || vec![PathBuf::from("/x/y")];
        assert_eq!(
            after(|facts| facts.scripts.open.written_by_all = one()),
            [("scripts", Problem)]
        );
        assert_eq!(
            after(|facts| facts.scripts.open.written_by_scripts = one()),
            [("scripts", Note)]
        );
        let secrets = |facts: &mut Facts| facts.secrets.as_mut().unwrap().open.read_by_scripts = one();
        assert_eq!(after(secrets), [("secrets", Problem)]);
    }

    #[test]
    fn of_many_paths_a_few_are_named() {
        let paths: Vec<PathBuf> = (0..5).map(|number| format!("/{number}").into()).collect();
        assert_eq!(some_of(&paths), "`/0`, `/1`, `/2` and 2 more");
        assert_eq!(some_of(&paths[..4]), "`/0`, `/1`, `/2` and one more");
        assert_eq!(some_of(&paths[..1]), "`/0`");
    }

    #[test]
    fn a_disk_that_is_nearly_full_is_noted_and_one_that_is_full_is_a_problem() {
        let free = |bytes| after(|facts| facts.data.space.as_mut().unwrap().free_bytes = bytes);
        assert_eq!(free(LITTLE_SPACE), []);
        assert_eq!(free(LITTLE_SPACE - 1), [("disk", Level::Note)]);
        assert_eq!(free(NO_SPACE - 1), [("disk", Level::Problem)]);
        let files = after(|facts| facts.data.space.as_mut().unwrap().free_files = Some(9));
        assert_eq!(files, [("disk", Level::Problem)]);
    }

    #[test]
    fn what_runs_scripts_is_looked_at() {
        use Level::{Note, Problem};
        assert_eq!(after(|facts| facts.zone_data = None), [("zones", Note)]);
        assert_eq!(
            after(|facts| facts.interpreter = Err("none".to_owned())),
            [("python", Problem)]
        );
        assert_eq!(after(|facts| facts.uv = None), [("uv", Note)]);
        let bare = |facts: &mut Facts| (facts.uv, facts.has_venv) = (None, false);
        assert_eq!(after(bare), [("python", Note), ("uv", Note)]);
        assert_eq!(
            after(|facts| facts.first_process.name = "dropcron".to_owned()),
            [("init", Note)]
        );
        assert_eq!(after(|facts| facts.first_process.zombies = 2), [("init", Problem)]);
    }

    #[test]
    fn who_scripts_run_as_decides() {
        use Level::{Note, Problem};
        assert_eq!(
            after(|facts| facts.user.scripts = ScriptUserFacts::Same),
            [("user", Note)]
        );
        let root = |facts: &mut Facts| (facts.user.scripts, facts.user.is_root) = (ScriptUserFacts::Same, true);
        assert_eq!(after(root), [("user", Problem)]);
        assert_eq!(after(|facts| facts.user.secrecy = Secrecy::None), [("user", Note)]);
        let impossible = ScriptUserFacts::Impossible("no such user".to_owned(), ScriptUserObstacle::Unknown);
        assert_eq!(after(|facts| facts.user.scripts = impossible), [("user", Problem)]);
        let stuck = ScriptUserFacts::Other {
            name: "runner".to_owned(),
            rehearsal: Err("no way in".to_owned()),
        };
        assert_eq!(after(|facts| facts.user.scripts = stuck), [("user", Problem)]);
        let named = ControlGroupFacts::Named(PathBuf::from("/x"), Err("read-only".to_owned()));
        assert_eq!(after(|facts| facts.control_groups = named), [("limits", Problem)]);
        assert_eq!(
            after(|facts| facts.control_groups = ControlGroupFacts::Absent),
            [("limits", Note)]
        );
    }

    #[test]
    fn the_server_is_judged() {
        use Level::{Note, Problem};
        assert_eq!(
            after_server(|server| server.clock_offset_ms = -2_000.0),
            [("clock", Note)]
        );
        assert_eq!(
            after_server(|server| server.clock_offset_ms = 90_000.0),
            [("clock", Problem)]
        );
        let unsure = |server: &mut ServerFacts| (server.clock_offset_ms, server.clock_error_ms) = (1_500.0, 1_000.0);
        assert_eq!(after_server(unsure), []);
        assert_eq!(
            after_server(|server| server.major_version = 12),
            [("database", Problem)]
        );
        assert_eq!(
            after_server(|server| server.connections[0].allowed = 11),
            [("connections", Problem)]
        );
        assert_eq!(
            after_server(|server| server.connections[0].used = 90),
            [("connections", Note)]
        );
        // Whatever bounds them most counts.
        let role = |allowed, used| bound(BoundOf::Role("ops".to_owned()), allowed, used);
        assert_eq!(
            after_server(|server| server.connections.push(role(5, 0))),
            [("connections", Problem)]
        );
        assert_eq!(
            after_server(|server| server.connections.push(role(20, 9))),
            [("connections", Note)]
        );
        assert_eq!(after_server(|server| server.connections.push(role(200, 9))), []);
        assert_eq!(
            after_server(|server| server.is_read_only = true),
            [("database", Problem)]
        );
        assert_eq!(
            after_server(|server| server.has_schema = false),
            [("database", Problem)]
        );
        assert_eq!(
            after_server(|server| server.unsafe_settings.push("fsync = off".to_owned())),
            [("durability", Problem)]
        );
        assert_eq!(
            after_server(|server| server.has_autovacuum = false),
            [("durability", Problem)]
        );
        assert_eq!(
            after_server(|server| server.encoding = "LATIN1".to_owned()),
            [("encoding", Problem)]
        );
        assert_eq!(
            after_server(|server| server.is_in_the_clear = true),
            [("network", Note)]
        );
        assert_eq!(
            after(|facts| facts.database = DatabaseFacts::Pooled),
            [("pooler", Problem)]
        );
        assert_eq!(
            after_server(|server| server.direct_problem = Some("refused".to_owned())),
            [("pooler", Problem)]
        );
        assert_eq!(after_server(|server| server.live_nodes = 0), [("nodes", Note)]);
        assert_eq!(
            after_server(|server| server.node_versions.push("0.2.0".to_owned())),
            [("nodes", Note)]
        );
        assert_eq!(
            after(|facts| facts.database = DatabaseFacts::Unreachable("no".to_owned())),
            [("database", Problem)]
        );
    }
}
