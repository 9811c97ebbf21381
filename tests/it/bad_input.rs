//! What people get wrong: each mistake has its exit code and a line that says what to do. Nothing panics.

use std::process::Output;

use crate::support::{World, text_of, wait_until};

fn code(output: &Output) -> i32 {
    assert!(!text_of(output).contains("panicked"), "{}", text_of(output));
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("killed: {}", text_of(output)))
}

/// Runs a command with one variable more.
fn with(world: &World, arguments: &[&str], name: &str, value: &str) -> Output {
    world.command(arguments).env(name, value).output().unwrap()
}

/// An address where nobody listens.
const NOBODY: &str = "postgres://ada:hunter2@127.0.0.1:1/none";

#[test]
fn a_bad_value_of_a_variable_ends_with_2_and_names_it() {
    let world = World::new();
    for (name, value) in [
        ("DATABASE_URL", "mysql://db/ops"),
        ("DATABASE_URL", "postgres://db/ops?sslmode=perhaps"),
        ("DROPCRON_DIRECT_DATABASE_URL", "postgres://db:port/ops"),
        ("DROPCRON_TIMEZONE", "Europe/Atlantis"),
        ("DROPCRON_ONLY_BINARY", "yes"),
        ("DROPCRON_PYTHON_DOWNLOADS", "manual"),
        ("DROPCRON_BUILD_TIMEOUT", "15"),
        ("DROPCRON_DEFAULT_TIMEOUT", "soon"),
        ("DROPCRON_DEFAULT_TIMEOUT", "0s"),
        ("DROPCRON_MAX_RUNNING", "many"),
        ("DROPCRON_MAX_BOOTING", "0"),
        ("DROPCRON_MAX_EARLY", "-1"),
        ("DROPCRON_QUEUES", ","),
        ("DROPCRON_TAGS", " , "),
        ("DROPCRON_OUTPUT_HEAD", "1M"),
        ("DROPCRON_OUTPUT_TAIL", "17MiB"),
        ("DROPCRON_KEEP_OUTPUT", "30"),
        ("DROPCRON_KEEP_RUNS", "never"),
        ("DROPCRON_SHUTDOWN_GRACE", "30"),
        ("DROPCRON_CONNECT_PATIENCE", "forever"),
        ("DROPCRON_SCAN_INTERVAL", "0s"),
        ("DROPCRON_LEASE", "1s"),
        ("DROPCRON_LISTEN", "8642"),
        ("DROPCRON_LISTEN", "cron.example.org:80"),
        ("DROPCRON_HOSTS", " ,"),
        ("DROPCRON_BASE_PATH", "tools"),
        ("DROPCRON_BASE_PATH", "/a b"),
        ("DROPCRON_LOG_FORMAT", "xml"),
        ("DROPCRON_LOG", "loud"),
        ("DROPCRON_LOG", "info,[["),
    ] {
        for verb in ["tasks", "serve"] {
            let output = with(&world, &[verb], name, value);
            let text = text_of(&output);
            assert_eq!(code(&output), 2, "{verb} with {name}={value}: {text}");
            assert!(
                text.contains(&format!("`{name}`")),
                "{verb} with {name}={value}: {text}"
            );
        }
    }
}

#[test]
fn every_variable_with_a_grammar_is_tried_with_a_bad_value() {
    // Paths, programs, users and URLs have tests of their own.
    let free = [
        "DROPCRON_SCRIPTS_DIR",
        "DROPCRON_DATA_DIR",
        "DROPCRON_PYTHON",
        "DROPCRON_UV",
        "DROPCRON_SECRETS_DIR",
        "DROPCRON_NOTIFY_FILE",
        "DROPCRON_RUN_AS",
        "DROPCRON_CGROUP",
        "DROPCRON_TOKEN_FILE",
        "DROPCRON_SERVER",
        "DROPCRON_TOKEN",
    ];
    let source = include_str!("bad_input.rs");
    for variable in dropcron::config::VARIABLES {
        let tried = source.contains(&format!("(\"{}\", ", variable.name)) || free.contains(&variable.name);
        assert!(tried, "{} is not tried", variable.name);
    }
}

#[test]
fn what_the_machine_may_have_the_next_time_is_no_mistake_of_the_configuration() {
    // A service manager that is told 2 does not start the service again.
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let no_directory = world.root.join("file");
    std::fs::write(&no_directory, "").unwrap();
    for (name, value, said) in [
        ("DROPCRON_LISTEN", taken.as_str(), "cannot be had"),
        // An address for documentation, which no machine has.
        ("DROPCRON_LISTEN", "192.0.2.1:80", "cannot be had"),
        (
            "DATABASE_URL",
            "postgres://db/ops?sslmode=verify-full&sslrootcert=/nonexistent",
            "`/nonexistent`",
        ),
        ("DROPCRON_NOTIFY_FILE", "/nonexistent", "`DROPCRON_NOTIFY_FILE`"),
        ("DROPCRON_SCRIPTS_DIR", "/nonexistent", "`DROPCRON_SCRIPTS_DIR`"),
        ("DROPCRON_DATA_DIR", no_directory.to_str().unwrap(), "serve.lock"),
        ("DROPCRON_RUN_AS", "no-such-user-here", "`DROPCRON_RUN_AS`"),
    ] {
        let output = with(&world, &["serve"], name, value);
        let text = text_of(&output);
        assert_eq!(code(&output), 5, "{name}={value}: {text}");
        assert!(text.contains(said), "{name}={value}: {text}");
    }
    let mut command = world.command(&["serve"]);
    command
        .env("DROPCRON_LISTEN", "127.0.0.1:0")
        .env("DROPCRON_TOKEN_FILE", "/nonexistent");
    let output = command.output().unwrap();
    assert_eq!(code(&output), 5, "{}", text_of(&output));
}

#[test]
fn a_missing_scripts_directory_is_not_made_silently() {
    let world = World::new();
    let output = world.dropcron(&["serve", "--scripts", "nowhere"]);
    let text = text_of(&output);
    assert_eq!(code(&output), 5, "{text}");
    assert!(
        text.contains("nowhere` cannot be read") && text.contains("`--scripts` or `DROPCRON_SCRIPTS_DIR`"),
        "{text}"
    );
    assert!(!world.root.join("nowhere").exists());
}

#[test]
fn an_unreachable_database_ends_a_command_at_once() {
    let world = World::new();
    for arguments in [
        &["tasks"][..],
        &["runs"],
        &["run", "x"],
        &["database-url"],
        &["psql"],
        &["logs", "1"],
    ] {
        let output = with(&world, arguments, "DATABASE_URL", NOBODY);
        let text = text_of(&output);
        assert_eq!(code(&output), 4, "{arguments:?}: {text}");
        assert!(text.contains("127.0.0.1") && !text.contains("hunter2"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

#[test]
fn a_service_tries_to_reach_its_database_with_one_line_each_then_gives_up() {
    let world = World::new();
    let variables = [("DATABASE_URL", NOBODY), ("DROPCRON_CONNECT_PATIENCE", "1s")];
    let mut serve = world.start_serve(&world.data, &variables);
    let ended = serve.wait();
    let log = serve.log();
    assert_eq!(ended, Some(4), "{log}");
    let tries = log
        .lines()
        .filter(|line| line.contains("the database cannot be reached yet"))
        .count();
    // After 0, 250 and 750 ms; on a slow machine fewer.
    assert!((1..=2).contains(&tries), "{log}");
    assert_eq!(log.lines().count(), tries + 1, "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}

#[test]
fn a_service_that_waits_for_its_database_serves_once_it_is_there() {
    let world = World::new();
    let name = world.url.rsplit_once('/').unwrap().1.to_owned();
    let late = format!("late_{name}");
    let later = world.url.replace(&name, &late);
    let serve = world.start_serve(&world.data, &[("DATABASE_URL", &later)]);
    serve.wait_for_log("the database cannot be reached yet");
    world.sql(&format!("create database {late}"));
    serve.wait_for_log(" serves");
    serve.stop();
}

#[test]
fn a_database_of_a_newer_version_is_left_alone() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql("insert into __diesel_schema_migrations (version) values ('29991231000000')");
    for verb in ["tasks", "serve"] {
        let output = world.dropcron(&[verb]);
        let text = text_of(&output);
        assert_eq!(code(&output), 1, "{text}");
        assert!(
            text.contains("migration `29991231000000`") && text.contains("a newer dropcron has been here"),
            "{text}"
        );
    }
}

#[test]
fn a_role_without_the_right_to_create_is_told_which_right_it_needs() {
    let world = World::new();
    let name = format!("limited_{}", world.url.rsplit_once('/').unwrap().1);
    world.sql(&format!("create role {name}"));
    let mark = if world.url.contains('?') { '&' } else { '?' };
    let url = format!("{}{mark}options=-c%20role%3D{name}", world.url);
    let output = with(&world, &["tasks"], "DATABASE_URL", &url);
    let text = text_of(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(
        text.contains("permission denied") && text.contains("the right to create a schema in this database once"),
        "{text}"
    );
    // With schemas of its own it needs nothing in `public`, nor elsewhere.
    world.sql(&format!(
        "create schema dropcron authorization {name}; create schema dropcron_report authorization {name}"
    ));
    let output = with(&world, &["tasks"], "DATABASE_URL", &url);
    assert_eq!(code(&output), 0, "{}", text_of(&output));
    world.sql(&format!("drop owned by {name} cascade; drop role {name}"));
}

#[test]
fn without_python_a_service_goes_on_and_runs_say_why_they_fail() {
    let world = World::new();
    world.scheduled("tick.py", "* * * * * *", "def run():\n    return 1");
    let serve = world.serve_with(&world.data, &[("DROPCRON_PYTHON", "/nonexistent")]);
    serve.wait_for_log("no script can run");
    world.wait_for("select count(*) >= 1 from run_log where status = 'failed' and reason = 'environment' and error like '%`/nonexistent`%'");
    let log = serve.stop();
    assert!(!log.contains("panicked"), "{log}");
    let output = with(&world, &["run", "tick", "--json"], "DROPCRON_PYTHON", "/nonexistent");
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), row["reason"].as_str()), (1, Some("environment")));
}

#[test]
fn a_python_that_is_too_old_is_named() {
    // Distributions have none that is old enough any more; pyenv has.
    let root = std::env::var("PYENV_ROOT").unwrap_or_default();
    let versions = std::fs::read_dir(std::path::Path::new(&root).join("versions"))
        .into_iter()
        .flatten()
        .flatten();
    let old = versions
        .map(|entry| entry.path().join("bin/python3"))
        .find(|path| path.to_string_lossy().contains("/3.6."));
    let Some(old) = old else {
        println!("skipped: pyenv has no Python 3.6 here");
        return;
    };
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    let output = with(
        &world,
        &["run", "one.py", "--json"],
        "DROPCRON_PYTHON",
        old.to_str().unwrap(),
    );
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((code(&output), row["reason"].as_str()), (1, Some("environment")));
    let message = row["error"]["message"].as_str().unwrap();
    assert!(
        message.contains("is Python 3.6.") && message.contains("3.9 or newer is needed"),
        "{message}"
    );
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let world = World::new();
    // Nobody can make anything there, root included.
    for (verb, wanted) in [("serve", 5), ("tasks", 4)] {
        let mut command = world.command_without_database(&[verb]);
        let output = command.env("DROPCRON_DATA_DIR", "/proc/dropcron").output().unwrap();
        let text = text_of(&output);
        assert_eq!(code(&output), wanted, "{verb}: {text}");
        assert!(text.contains("/proc/dropcron"), "{verb}: {text}");
    }
    let output = with(&world, &["tasks"], "DROPCRON_DATA_DIR", "/proc/dropcron");
    assert_eq!(
        code(&output),
        0,
        "what needs no data directory goes on: {}",
        text_of(&output)
    );
}

#[test]
fn each_line_of_a_json_log_is_json() {
    let world = World::new();
    world.script("bad.py", "def run(:\n");
    world.scheduled("tick.py", "* * * * * *", "def run():\n    1 / 0");
    let serve = world.serve_with(
        &world.data,
        &[("DROPCRON_LOG_FORMAT", "json"), ("DROPCRON_LOG", "debug")],
    );
    serve.wait_for_log("did not succeed");
    serve.wait_for_log("a script has a problem");
    let mut failing = world.start_serve(
        &world.root.join("other"),
        &[
            ("DROPCRON_LOG_FORMAT", "json"),
            ("DATABASE_URL", NOBODY),
            ("DROPCRON_CONNECT_PATIENCE", "1ms"),
        ],
    );
    assert_eq!(failing.wait(), Some(4));
    for log in [serve.stop(), failing.log()] {
        assert!(!log.is_empty());
        for line in log.lines() {
            let value: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(
                value["level"].is_string() && value["message"].is_string() && value["timestamp"].is_string(),
                "{line}"
            );
        }
    }
}

#[test]
fn a_service_whose_log_nobody_reads_goes_on() {
    let world = World::new();
    world.scheduled("tick.py", "* * * * * *", "def run():\n    return 1");
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = world.command(&["serve"]).stderr(writer).spawn().unwrap();
    drop(reader);
    world.wait_for("select count(*) >= 2 from run_log where status = 'succeeded'");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut ended = None;
    wait_until("it ends", || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    assert_eq!(ended.unwrap().code(), Some(0));
}

#[test]
fn an_end_that_cannot_be_written_holds_up_neither_others_nor_the_next_start() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql(
        "create function no_space() returns trigger language plpgsql as \
           $$ begin raise exception 'could not extend file: No space left on device'; end $$; \
         create trigger no_space before update on run_log for each row \
           when (new.task_name = 'bad' and new.status = 'succeeded') execute function no_space()",
    );
    for name in ["bad", "good"] {
        world.scheduled(&format!("{name}.py"), "* * * * * *", "def run():\n    return 42");
    }
    let serve = world.serve();
    serve.wait_for_log("runs cannot be recorded yet");
    let good = "select count(*) from run_log where task_name = 'good' and status = 'succeeded'";
    let before = world.value(good);
    world.wait_for(&format!("select ({good}) > {before} + 2"));
    serve.kill();
    let serve = world.serve();
    assert!(serve.log().contains("cannot be written yet"), "{}", serve.log());
    // Dropping the trigger would need locks that a writer holds in another order.
    world.sql("create or replace function no_space() returns trigger language plpgsql as $$ begin return new; end $$");
    world.wait_for("select count(*) > 0 from run_log where task_name = 'bad' and status = 'succeeded' and late_report");
    serve.stop();
    let stripped = "select count(*) from run_log where status = 'succeeded' and return_value is distinct from '42'";
    assert_eq!(world.value(stripped), "0", "nothing in it was to blame");
}
