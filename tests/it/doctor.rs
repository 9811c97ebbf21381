//! `dropcron doctor`: what it finds on this very machine.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::{World, skip, text_of, wait_until};

/// The findings about one thing: level and words.
fn findings(command: &mut Command, about: &str) -> Vec<(String, String)> {
    let output = command.output().unwrap();
    let all: Vec<serde_json::Value> =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)));
    let is_bad = all.iter().any(|finding| finding["level"] == "problem");
    assert_eq!(output.status.code(), Some(i32::from(is_bad)), "{all:?}");
    let text = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let wanted = all.iter().filter(|finding| finding["about"] == about);
    wanted
        .map(|finding| (text(finding, "level"), text(finding, "what")))
        .collect()
}

fn doctor(world: &World) -> Command {
    world.command(&["doctor", "--json"])
}

#[test]
fn what_works_is_said_to_work() {
    let world = World::new();
    let _serve = world.serve();
    for about in [
        "python",
        "database",
        "clock",
        "connections",
        "nodes",
        "scripts",
        "zones",
    ] {
        let found = findings(&mut doctor(&world), about);
        assert!(
            found.iter().all(|(level, _)| level == "ok") && !found.is_empty(),
            "{about}: {found:?}"
        );
    }
    let text = text_of(&world.dropcron(&["doctor"]));
    assert!(text.contains("must be mended"), "{text}");
}

#[test]
fn a_server_that_would_lose_commits_is_told_of() {
    let world = World::new();
    if world.value("show fsync") == "off" {
        let found = findings(&mut doctor(&world), "durability");
        assert!(
            found[0].0 == "problem" && found[0].1.contains("fsync = off"),
            "{found:?}"
        );
    }
    assert!(
        findings(&mut doctor(&world), "nodes")[0]
            .1
            .contains("no service is alive")
    );
}

#[test]
fn rights_that_are_too_wide_are_told_of() {
    let world = World::new();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    open(&world.scripts, 0o777);
    open(&secrets, 0o755);
    let with_secrets = || {
        let mut command = doctor(&world);
        command.env("DROPCRON_SECRETS_DIR", &secrets);
        command
    };
    assert_eq!(findings(&mut with_secrets(), "scripts")[0].0, "problem");
    assert_eq!(findings(&mut with_secrets(), "secrets")[0].0, "problem");
    open(&world.scripts, 0o755);
    open(&secrets, 0o700);
    assert_eq!(findings(&mut with_secrets(), "scripts")[0].0, "ok");
    assert_eq!(findings(&mut with_secrets(), "secrets")[0].0, "ok");
}

#[test]
fn what_is_too_open_below_a_directory_is_told_of() {
    let world = World::new();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let script = world.script("one.py", "def run(): pass");
    let helper = world.script("lib/helper.py", "X = 1");
    let level = || findings(&mut doctor(&world), "scripts");
    assert_eq!(level()[0].0, "ok", "{:?}", level());
    open(&script, 0o666);
    let found = level();
    assert!(found[0].0 == "problem" && found[0].1.contains("one.py`"), "{found:?}");
    open(&script, 0o644);
    open(helper.parent().unwrap(), 0o777);
    let found = level();
    assert!(found[0].0 == "problem" && found[0].1.contains("/lib`"), "{found:?}");
}

#[test]
fn a_secret_that_the_user_of_the_scripts_may_read_by_its_group_is_told_of() {
    if !rustix::process::geteuid().is_root() {
        skip("this takes root");
        return;
    }
    let world = World::new();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let token = secrets.join("TOKEN");
    std::fs::write(&token, "hunter2hunter2").unwrap();
    let open = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let of_nogroup = Command::new("chgrp").arg("nogroup").arg(&secrets).status().unwrap();
    assert!(of_nogroup.success());
    open(&token, 0o644);
    open(&secrets, 0o750);
    let found = || {
        let mut command = doctor(&world);
        command
            .env("DROPCRON_SECRETS_DIR", &secrets)
            .env("DROPCRON_RUN_AS", "nobody");
        findings(&mut command, "secrets")
    };
    assert!(
        found()[0].0 == "problem" && found()[0].1.contains("TOKEN`"),
        "{:?}",
        found()
    );
    open(&token, 0o640);
    assert_eq!(found()[0].0, "ok", "the file is another group's: {:?}", found());
    open(&token, 0o644);
    open(&secrets, 0o700);
    assert_eq!(found()[0].0, "ok", "nobody else gets there: {:?}", found());
}

#[test]
fn the_limit_of_a_role_counts_where_it_is_lower_than_that_of_the_server() {
    let (world, _cluster) = World::with_server();
    world.sql("create role narrow login connection limit 7");
    let access = world.root.join("server/postgres/pg_hba.conf");
    std::fs::write(&access, "local all all trust\n").unwrap();
    world.sql("select pg_reload_conf()");
    let url = world.url.replace("dropcron@", "narrow@");
    assert_ne!(url, world.url);
    let mut found = Vec::new();
    // The server reads its rules anew in its own time.
    wait_until("the role may come in", || {
        found = findings(doctor(&world).env("DATABASE_URL", &url), "connections");
        !found.is_empty()
    });
    assert!(
        found[0].0 == "problem" && found[0].1.contains("the role `narrow` allows 7 connections"),
        "{found:?}"
    );
}

#[test]
fn it_changes_nothing_where_nothing_was_set_up() {
    let world = World::new();
    let mut command = world.command_without_database(&["doctor", "--json"]);
    let found = findings(&mut command, "database");
    assert!(found[0].0 == "ok" && found[0].1.contains("none yet"), "{found:?}");
    assert!(!world.data.join("postgres").exists());
    findings(&mut doctor(&world), "database");
    assert_eq!(
        world.value("select to_regnamespace('dropcron') is null"),
        "t",
        "no schema is made"
    );
}

#[test]
fn what_is_not_there_is_told_with_its_remedy() {
    let world = World::new();
    let mut command = doctor(&world);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    command.env("DROPCRON_SCRIPTS_DIR", "/nonexistent");
    command.env("DROPCRON_RUN_AS", "no-such-user-here");
    for about in ["database", "scripts", "user"] {
        assert_eq!(findings(&mut command, about)[0].0, "problem", "{about}");
    }
    let text = text_of(&command.output().unwrap());
    assert!(text.contains("remedy") && text.contains("getent passwd"), "{text}");
    assert!(!text.contains("no-new-privileges"), "nothing was taken from it: {text}");
}

#[test]
fn a_clock_that_is_wrong_is_told_of() {
    let library = [
        "/usr/lib/faketime/libfaketime.so.1",
        "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
    ];
    let Some(library) = library.into_iter().find(|path| Path::new(path).exists()) else {
        println!("skipped: there is no libfaketime");
        return;
    };
    let world = World::new();
    let mut command = doctor(&world);
    command
        .env("LD_PRELOAD", library)
        .env("FAKETIME", "+90s")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let found = findings(&mut command, "clock");
    assert_eq!(found[0].0, "problem", "{found:?}");
}

/// A pooler in front of a server; killed at the end.
struct Pooler(Child);

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts pgbouncer in front of the test's server. None where it is not installed.
fn pooler(world: &World, mode: &str) -> Option<(Pooler, String)> {
    let program = which::which("pgbouncer").ok()?;
    let directory = world.root.join(mode);
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o777)).unwrap();
    // Postgres puts names with other than letters in quotes.
    let host = world.value("show unix_socket_directories").replace('"', "");
    let role = world.value("select current_user");
    let database = world.value("select current_database()");
    let settings = format!(
        "[databases]\n{database} = host={host} port={} user={role}\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = {}\nlisten_port = 6432\n\
         auth_type = any\npool_mode = {mode}\nignore_startup_parameters = extra_float_digits,options\nuser = postgres\n",
        world.value("show port"),
        directory.display()
    );
    let file = directory.join("pgbouncer.ini");
    std::fs::write(&file, settings).unwrap();
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let mut command = Command::new(program);
    command
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    let pooler = Pooler(command.spawn().unwrap());
    let socket = directory.join(".s.PGSQL.6432");
    wait_until("pgbouncer listens", || socket.exists());
    let host = directory.display().to_string().replace('/', "%2F");
    Some((pooler, format!("postgres://{role}@{host}:6432/{database}")))
}

#[test]
fn a_pooler_that_pools_transactions_is_told_from_one_that_pools_sessions() {
    for (mode, wanted) in [("transaction", Some("problem")), ("session", None)] {
        let world = World::new();
        let Some((_pooler, url)) = pooler(&world, mode) else {
            println!("skipped: there is no pgbouncer");
            return;
        };
        let mut command = doctor(&world);
        command.env("DATABASE_URL", url);
        // Twice: what one left behind in the server process must not mislead the next.
        for _ in 0..2 {
            let found = findings(&mut command, "pooler");
            assert_eq!(
                found.first().map(|(level, _)| level.as_str()),
                wanted,
                "{mode}: {found:?}"
            );
            let reached = findings(&mut command, "connections");
            assert_eq!(reached.is_empty(), wanted.is_some(), "{mode}: {reached:?}");
        }
    }
}
