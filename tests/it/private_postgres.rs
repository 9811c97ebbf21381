//! The private Postgres as commands use it: made, shared, stopped by the last one, taken over after kill -9.

use std::path::PathBuf;

use rustix::process::Pid;

use crate::support::{Serve, World, skip, text_of, wait_until};

/// A service with a private Postgres.
fn start_serve(world: &World) -> Serve {
    // A variable that is empty counts as not set.
    world.start_serve(&world.data, &[("DATABASE_URL", "")])
}

fn serve(world: &World) -> Serve {
    let serve = start_serve(world);
    serve.wait_for_log(" serves");
    serve
}

fn dropcron_ok(world: &World, arguments: &[&str]) -> String {
    let output = world.command_without_database(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn pid_file(world: &World) -> PathBuf {
    world.data.join("postgres/data/postmaster.pid")
}

fn postmaster(world: &World) -> Option<Pid> {
    let text = std::fs::read_to_string(pid_file(world)).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// Whether a process has ended. One that nobody has waited for yet (its parent may be this test) has.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_pid())).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
}

#[test]
fn a_command_makes_the_cluster_and_stops_it_behind_itself() {
    let world = World::new();
    assert!(dropcron_ok(&world, &["tasks"]).starts_with("TASK"));
    assert!(!pid_file(&world).exists(), "the last one out stops it");
    world.script("one.py", "def run():\n    return 1");
    dropcron_ok(&world, &["run", "one.py"]);
    assert!(
        dropcron_ok(&world, &["runs"]).contains("succeeded"),
        "what was recorded is still there"
    );
    assert!(!pid_file(&world).exists());
}

#[test]
fn commands_share_it_with_a_service_and_the_last_one_stops_it() {
    let world = World::new();
    world.scheduled("tick.py", "30 2 * * *", "def run():\n    return 1");
    let serve = serve(&world);
    let postmaster = postmaster(&world).unwrap();
    wait_until("the task is there", || dropcron_ok(&world, &["tasks"]).contains("tick"));
    let text = dropcron_ok(&world, &["psql", "-XAtc", "select count(*) from task"]);
    assert_eq!(text.trim(), "1");
    let url = dropcron_ok(&world, &["database-url"]);
    let psql = std::process::Command::new("psql")
        .args([url.trim(), "-XAtc", "select name from dropcron.task"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
        .unwrap();
    assert_eq!(text_of(&psql).trim(), "tick");
    let commands: Vec<_> = (0..3)
        .map(|_| {
            world
                .command_without_database(&["runs"])
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut command in commands {
        assert!(command.wait().unwrap().success());
    }
    assert_eq!(
        self::postmaster(&world),
        Some(postmaster),
        "nobody stopped it under the others"
    );
    serve.stop();
    assert!(!pid_file(&world).exists());
    wait_until("the postmaster is gone", || is_gone(postmaster));
}

#[test]
fn a_killed_service_leaves_a_cluster_that_the_next_one_takes_over() {
    let world = World::new();
    let first = serve(&world);
    let server = postmaster(&world).unwrap();
    first.kill();
    assert!(!is_gone(server), "nobody was left to stop it");
    let second = serve(&world);
    dropcron_ok(&world, &["runs"]);
    let log = second.stop();
    assert!(!log.contains("panicked"), "{log}");
    assert!(!pid_file(&world).exists());
    wait_until("the postmaster is gone", || is_gone(server));
}

#[test]
fn a_command_after_a_killed_service_stops_what_that_left() {
    let world = World::new();
    let first = serve(&world);
    let server = postmaster(&world).unwrap();
    first.kill();
    dropcron_ok(&world, &["runs"]);
    assert!(!pid_file(&world).exists());
    wait_until("the postmaster is gone", || is_gone(server));
}

#[test]
fn a_second_service_on_the_data_directory_is_refused() {
    let world = World::new();
    let first = serve(&world);
    let mut second = start_serve(&world);
    assert_eq!(second.wait(), Some(1));
    let log = second.log();
    assert!(
        log.contains(&format!(
            "another `dropcron serve` (pid {}) already runs on",
            first.pid()
        )),
        "{log}"
    );
    assert!(!log.contains("panicked"), "{log}");
    first.stop();
}

/// The program as it is run in another container on the same volume: with process numbers of its own.
fn in_another_container(world: &World, arguments: &[&str]) -> Option<std::process::Output> {
    let ours = world.command_without_database(arguments);
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--ipc", "--mount", "--fork", "--mount-proc"]);
    if !rustix::process::geteuid().is_root() || !command.arg("true").status().is_ok_and(|status| status.success()) {
        skip("this takes root, and `unshare`");
        return None;
    }
    let mut command = std::process::Command::new("unshare");
    command.args(["--pid", "--ipc", "--mount", "--fork", "--mount-proc"]);
    command.arg(ours.get_program()).args(ours.get_args());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Some(command.stdin(std::process::Stdio::null()).output().unwrap())
}

#[test]
fn a_command_in_another_container_joins_the_server_of_the_service() {
    let world = World::new();
    let serve = serve(&world);
    let server = std::fs::read(pid_file(&world)).unwrap();
    let query = "select pg_postmaster_start_time() from node";
    let Some(output) = in_another_container(&world, &["psql", "-XAtc", query]) else {
        return;
    };
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        dropcron_ok(&world, &["psql", "-XAtc", query]),
        "one server for both"
    );
    assert_eq!(std::fs::read(pid_file(&world)).unwrap(), server);
    serve.stop();
    assert!(!pid_file(&world).exists());
}

#[test]
fn a_command_in_another_container_leaves_the_server_running() {
    let world = World::new();
    let first = serve(&world);
    let server = postmaster(&world).unwrap();
    first.kill();
    if in_another_container(&world, &["runs"]).is_none() {
        return;
    }
    assert!(
        !is_gone(server),
        "no signal from there reaches it, or anybody else of its number"
    );
    dropcron_ok(&world, &["runs"]);
    assert!(!pid_file(&world).exists());
    wait_until("the postmaster is gone", || is_gone(server));
}
