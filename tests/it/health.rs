//! `dropcron health`, and what a service manager is told.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use dropcron::config::{Config, Environment};
use dropcron::database::{Database, migrate};
use dropcron::service::node::Node;
use rustix::process::Signal;

use crate::support::{PATIENCE, World, skip, text_of};

/// What `dropcron health --json` says, with its exit code.
fn health(world: &World) -> (serde_json::Value, Option<i32>) {
    let output = world.dropcron(&["health", "--json"]);
    let seen = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text_of(&output)));
    (seen, output.status.code())
}

fn problems(seen: &serde_json::Value) -> String {
    seen["problems"].to_string()
}

#[test]
fn a_service_that_works_is_healthy() {
    let world = World::new();
    let serve = world.serve();
    // Another node of the same database, and a newer one.
    let _other = world.serve_with(&world.root.join("elsewhere"), &[]);
    let (seen, code) = health(&world);
    assert_eq!((seen["healthy"].as_bool(), code), (Some(true), Some(0)), "{seen}");
    assert_eq!(seen["node"]["pid"], serve.pid());
    assert_eq!(seen["node"]["stalled_loops"], serde_json::json!([]));
    assert!(world.dropcron_ok(&["health"]).starts_with("healthy: dropcron "));
}

#[test]
fn without_a_service_nothing_is_started_and_it_is_said() {
    let world = World::new();
    let output = world.command_without_database(&["health"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text_of(&output));
    assert!(
        text_of(&output).contains("no `dropcron serve` runs on"),
        "{}",
        text_of(&output)
    );
    assert!(
        !world.data.join("postgres").exists(),
        "no private Postgres is made to ask"
    );
    assert!(!world.data.join("serve.lock").exists());
}

#[test]
fn a_service_of_another_directory_does_not_count() {
    let world = World::new();
    let _serve = world.serve_with(&world.root.join("elsewhere"), &[]);
    let (seen, code) = health(&world);
    assert_eq!(code, Some(1), "{seen}");
}

#[test]
fn a_private_postgres_is_asked_too() {
    let world = World::new();
    let serve = world.serve_without_database(&[]);
    let output = world.command_without_database(&["health"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    serve.stop();
}

#[test]
fn a_service_is_found_by_what_it_noted() {
    let world = World::new();
    world.scheduled("tick.py", "30 2 * * *", "def run():\n    return 1");
    let serve = world.serve();
    let output = world.command_without_database(&["health"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    world.wait_for("select count(*) = 1 from task");
    serve.stop();
    // Also when it does not run: nobody wants a second database beside its own.
    let output = world.command_without_database(&["tasks"]).output().unwrap();
    assert!(text_of(&output).contains("tick"), "{}", text_of(&output));
    let note = world.data.join("service.json");
    assert_eq!(note.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let mut elsewhere = world.command_without_database(&["tasks"]);
    let output = elsewhere
        .env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(4),
        "what is said comes first: {}",
        text_of(&output)
    );
    assert!(!world.data.join("postgres").exists());
    std::fs::write(note, "{").unwrap();
    let output = world.command_without_database(&["tasks"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    assert!(text_of(&output).contains("service.json"), "{}", text_of(&output));
}

#[test]
fn a_password_that_is_not_noted_is_asked_for() {
    let world = World::new();
    let url = world.url.replacen('@', ":hunter2@", 1);
    let _serve = world.serve_with(&world.data, &[("DATABASE_URL", &url)]);
    for verb in ["health", "runs", "doctor"] {
        let output = world.command_without_database(&[verb]).output().unwrap();
        let said = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("say the whole URL in `DATABASE_URL`") && !said.contains("hunter2"),
            "{said}"
        );
    }
    assert!(!world.data.join("postgres").exists());
    let note = std::fs::read_to_string(world.data.join("service.json")).unwrap();
    assert!(!note.contains("hunter2"), "{note}");
}

#[test]
fn a_service_that_turns_to_a_private_postgres_says_so() {
    let world = World::new();
    world.serve().stop();
    let log = world.serve_without_database(&[]).stop();
    assert!(log.contains("used another database before"), "{log}");
    let log = world.serve_without_database(&[]).stop();
    assert!(!log.contains("used another database before"), "{log}");
}

#[test]
fn a_private_postgres_that_is_down_is_not_started_to_be_asked() {
    let world = World::new();
    let serve = world.serve_without_database(&[]);
    serve.signal(Signal::STOP);
    let pid_file = world.data.join("postgres/data/postmaster.pid");
    let server = std::fs::read_to_string(&pid_file).unwrap();
    let pid = server.lines().next().unwrap().parse().unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let is_gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('Z'))
    };
    crate::support::wait_until("it is gone", is_gone);
    let output = world.command_without_database(&["health"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text_of(&output));
    assert!(text_of(&output).contains("does not run"), "{}", text_of(&output));
    assert_eq!(std::fs::read_to_string(&pid_file).unwrap(), server);
    serve.signal(Signal::CONT);
}

#[test]
fn a_host_that_is_called_otherwise_now_has_the_same_service() {
    let world = World::new();
    let _serve = world.serve();
    let renamed = |program: &std::ffi::OsStr| {
        let mut command = std::process::Command::new("unshare");
        command.args([
            "--uts",
            "sh",
            "-c",
            "echo renamed > /proc/sys/kernel/hostname && exec \"$0\" health --json",
        ]);
        command.arg(program);
        command
    };
    if !renamed("true".as_ref()).status().is_ok_and(|status| status.success()) {
        skip("this takes root, and `unshare`");
        return;
    }
    let ours = world.command(&[]);
    let mut command = renamed(ours.get_program());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_ne!(seen["node"]["host"], "renamed", "it is named as its row has it");
}

#[test]
fn a_service_that_hangs_is_not_healthy() {
    let world = World::new();
    let serve = world.serve_with(&world.data, &[("DROPCRON_LEASE", "2s")]);
    serve.signal(Signal::STOP);
    world.wait_for("select lease_until < clock_timestamp() from node");
    let (seen, code) = health(&world);
    serve.signal(Signal::CONT);
    assert_eq!(code, Some(1), "{seen}");
    assert!(problems(&seen).contains("its lease has ended"), "{seen}");
}

#[test]
fn a_loop_that_does_not_go_on_is_named() {
    let world = World::new();
    // The next heartbeat, which would say the truth again, comes in 100 s.
    let _serve = world.serve_with(&world.data, &[("DROPCRON_LEASE", "10m")]);
    world.wait_for("select count(*) = 1 from node where heartbeat_at > started_at");
    world.sql("update node set stalled_loops = '{scheduler,judge}'");
    let (seen, code) = health(&world);
    assert_eq!(code, Some(1), "{seen}");
    assert!(problems(&seen).contains("scheduler, judge"), "{seen}");
}

#[test]
fn a_database_that_is_away_has_an_exit_code_of_its_own() {
    let (world, cluster) = World::with_server();
    let _serve = world.serve();
    cluster.close().unwrap();
    let (seen, code) = health(&world);
    assert_eq!(code, Some(4), "{seen}");
    assert!(problems(&seen).contains("cannot be reached"), "{seen}");
}

#[test]
fn the_heartbeat_says_which_loops_have_ended() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config::read(Environment::default(), Some(&world.scripts), Some(&world.data)).unwrap();
    let database = Database::new(world.url.parse().unwrap(), None).unwrap();
    let node: Arc<Node> = runtime.block_on(async {
        migrate(&database).await.unwrap();
        Node::enter(&database, &config, "serve", None).await.unwrap()
    });
    let (_here, gone) = (node.pulse("syncer", PATIENCE), node.pulse("scheduler", PATIENCE));
    drop(gone);
    node.start_heartbeat(database.clone()).unwrap();
    world.wait_for("select stalled_loops = '{scheduler}' from node");
    runtime.block_on(node.leave(&database)).unwrap();
}

/// A socket that plays systemd.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket }
    }

    /// Waits for a line, whatever else is said.
    fn wait_for(&self, wanted: &str) {
        let mut buffer = [0; 4096];
        loop {
            let length = self
                .socket
                .recv(&mut buffer)
                .unwrap_or_else(|error| panic!("never said {wanted}: {error}"));
            let said = String::from_utf8_lossy(&buffer[..length]);
            if said.lines().any(|line| line == wanted) {
                return;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_when_it_serves_lives_and_leaves() {
    let world = World::new();
    let path = world.root.join("notify");
    let manager = Manager::at(&path);
    let serve = world.start_serve(
        &world.data,
        &[("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "600000")],
    );
    manager.wait_for("READY=1");
    assert!(serve.log().contains(" serves"), "{}", serve.log());
    manager.wait_for("WATCHDOG=1");
    manager.wait_for("WATCHDOG=1");
    serve.signal(Signal::TERM);
    manager.wait_for("STOPPING=1");
    serve.stop();
}

#[test]
fn scripts_do_not_hear_of_the_service_manager() {
    let world = World::new();
    let path = world.root.join("notify");
    let manager = Manager::at(&path);
    world.scheduled(
        "seen.py",
        "* * * * * *",
        "import os\ndef run():\n    return sorted(name for name in os.environ if 'NOTIFY' in name or 'WATCHDOG' in name)",
    );
    let _serve = world.start_serve(&world.data, &[("NOTIFY_SOCKET", path.to_str().unwrap())]);
    manager.wait_for("READY=1");
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    assert_eq!(
        world.value("select return_value from run_log where status = 'succeeded' limit 1"),
        "[]"
    );
}
