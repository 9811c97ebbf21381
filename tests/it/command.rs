//! The commands as people and scripts use them: what they print, and with which code they end.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{Gate, World, text_of, wait_until, with_header};

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", text_of(output)))
}

fn code(output: &Output) -> i32 {
    output
        .status
        .code()
        .unwrap_or_else(|| panic!("killed: {}", text_of(output)))
}

/// All that can be typed, also the verbs inside of others.
fn verbs() -> Vec<clap::Command> {
    use clap::CommandFactory;
    let command = dropcron::cli::Cli::command();
    // What is hidden is for those who make packages.
    let shown = command.get_subcommands().filter(|verb| !verb.is_hide_set());
    let mut verbs: Vec<clap::Command> = shown.cloned().collect();
    let inner: Vec<clap::Command> = verbs.iter().flat_map(|verb| verb.get_subcommands().cloned()).collect();
    verbs.extend(inner);
    verbs
}

#[test]
fn every_command_has_examples_and_those_that_print_data_take_json() {
    for verb in verbs() {
        let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:\n  "), "{}", verb.get_name());
        let takes_json = verb
            .get_arguments()
            .any(|argument| matches!(argument.get_long(), Some("json" | "format")));
        let prints_no_data =
            matches!(verb.get_name(), "serve" | "psql" | "dump" | "restore") || verb.is_subcommand_required_set();
        assert_eq!(takes_json, !prints_no_data, "{}", verb.get_name());
    }
}

#[test]
fn next_shows_what_a_gap_does_to_a_schedule() {
    let world = World::new();
    let arguments = [
        "next",
        "0,30 2 * * *",
        "--timezone",
        "America/New_York",
        "--from",
        "2027-03-13T12:00:00Z",
        "--count",
        "2",
        "--json",
    ];
    // Needs no database.
    let output = world.command_without_database(&arguments).output().unwrap();
    let answer = json(&output);
    assert_eq!(answer["next"][0]["utc"], "2027-03-14T07:00:00Z");
    assert_eq!(answer["next"][0]["local"], "2027-03-14 03:00:00 EDT (Sun)");
    assert_eq!(answer["next"][1]["utc"], "2027-03-15T06:00:00Z");
    let note = answer["notes"][0].as_str().unwrap();
    assert!(note.contains("2027-03-14") && note.contains("fire once"), "{note}");
}

#[test]
fn next_of_a_task_reads_its_schedule_and_says_that_it_is_paused() {
    let world = World::new();
    world.scheduled("nightly.py", "30 2 * * *", "def run():\n    pass");
    world.dropcron_ok(&["run", "nightly.py"]);
    let arguments = ["next", "nightly", "--from", "2027-01-01T00:00:00Z", "--count", "1"];
    assert!(world.dropcron_ok(&arguments).contains("2027-01-01T02:30:00Z"));
    world.dropcron_ok(&["pause", "nightly", "--reason", "disk"]);
    assert!(world.dropcron_ok(&arguments).contains("paused"));
    world.dropcron_ok(&["resume", "nightly"]);
    assert!(!world.dropcron_ok(&arguments).contains("paused"));
}

#[test]
fn a_run_prints_its_row_as_json_and_its_output_beside_it() {
    let world = World::new();
    let path = world.root.join("elsewhere.py");
    let body = "import sys\ndef run(city):\n    print('out', city)\n    print('err', file=sys.stderr)\n    \
                return {'big': 123456789012345678901234567890, 'small': 0.1, 'text': 'ü', 'third': 1/3}";
    std::fs::write(&path, body).unwrap();
    let output = world.dropcron(&["run", "elsewhere.py", "--json", "--arg", "city=Paris"]);
    assert_eq!(code(&output), 0, "{}", text_of(&output));
    let row = json(&output);
    for key in [
        "run_id",
        "task",
        "status",
        "reason",
        "trigger",
        "scheduled_for",
        "started_at",
        "finished_at",
        "duration_ms",
        "exit_code",
        "signal",
        "return_value",
        "error",
        "warnings",
        "max_rss_kb",
        "cpu_ms",
        "script_sha256",
    ] {
        assert!(row.get(key).is_some(), "{key} is not in {row}");
    }
    assert_eq!(row["task"], path.to_str().unwrap());
    assert_eq!(
        (&row["status"], &row["trigger"]),
        (&"succeeded".into(), &"manual".into())
    );
    assert!(row["max_rss_kb"].as_i64().unwrap() > 0 && row["cpu_ms"].as_i64().is_some());
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("123456789012345678901234567890"),
        "digits are lost: {stdout}"
    );
    assert!(
        stdout.contains("0.3333333333333333") && stdout.contains("0.1"),
        "{stdout}"
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("out Paris\nerr\n"), "{stderr}");
    assert_eq!(
        world.value(
            "select script_sha256 = sha256(content) from run_log join script_version v on v.sha256 = script_sha256"
        ),
        "t"
    );
    assert_eq!(
        world.value("select source || ' ' || cardinality(schedule) from task"),
        "ad_hoc 0"
    );
}

#[test]
fn a_run_prints_lines_while_it_goes_on() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "def run():\n    print('first', flush=True)\n    {}\n    return 'went'",
        gate.wait()
    );
    std::fs::write(world.root.join("slow.py"), body).unwrap();
    let mut command = world.command(&["run", "slow.py", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "first\n");
    assert!(child.try_wait().unwrap().is_none(), "the script waits for us");
    gate.open();
    assert_eq!(json(&child.wait_with_output().unwrap())["return_value"], "went");
}

#[test]
fn a_run_that_raises_ends_with_1_and_says_where() {
    let world = World::new();
    world.script("bad.py", "def run():\n    raise ValueError('no such price')\n");
    let output = world.dropcron(&["run", "bad.py", "--json"]);
    assert_eq!(code(&output), 1);
    let row = json(&output);
    assert_eq!((&row["status"], &row["reason"]), (&"failed".into(), &"raised".into()));
    assert_eq!(row["error"]["type"], "ValueError");
    assert_eq!(row["error"]["message"], "no such price");
    assert!(
        row["error"]["traceback"].as_str().unwrap().contains("bad.py\", line 2"),
        "{row}"
    );
    let text = text_of(&world.dropcron(&["run", "bad.py"]));
    assert!(text.contains("failed (raised)") && text.contains("line 2"), "{text}");
}

#[test]
fn a_run_is_told_for_which_instant_it_stands() {
    let world = World::new();
    world.script(
        "told.py",
        "import os\ndef run():\n    return os.environ['DROPCRON_SCHEDULED_AT']\n",
    );
    let output = world.dropcron(&["run", "told.py", "--json", "--as-of", "2026-11-01T02:30:00Z"]);
    let row = json(&output);
    assert_eq!(row["return_value"], "2026-11-01T02:30:00Z");
    assert_eq!(row["as_of"], "2026-11-01T02:30:00Z");
}

fn start_waiting_run(world: &World, gate: &Gate) -> std::process::Child {
    let body = format!("def run():\n    {}\n    return 'went'", gate.wait());
    std::fs::write(world.root.join("wait.py"), body).unwrap();
    let mut command = world.command(&["run", "wait.py", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.wait_for("select count(*) = 1 from run_log where status = 'running'");
    child
}

#[test]
fn ctrl_c_cancels_a_run() {
    let world = World::new();
    let gate = world.gate("gate");
    let child = start_waiting_run(&world, &gate);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(code(&output), 1, "{}", text_of(&output));
    let row = json(&output);
    assert_eq!(
        (&row["status"], &row["reason"]),
        (&"cancelled".into(), &"requested".into())
    );
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

/// A Python that says which one it is and what files hold, and hangs before any script, as one whose `sitecustomize` waits for
/// a mount does. It notes that in the file `hangs`.
fn hanging_python(world: &World) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let arguments = ["-c", "import sys; print(sys.executable)"];
    let real = std::process::Command::new("python3").args(arguments).output().unwrap();
    let (real, path) = (String::from_utf8(real.stdout).unwrap(), world.root.join("python"));
    let (real, own, noted) = (real.trim(), path.display(), world.root.join("hangs"));
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in\n\
         *dropcron-probe*) {real} \"$@\" | sed '$s|.*|{own}|' ;;\n\
         *--inspect*|*py_compile*) exec {real} \"$@\" ;;\n\
         *) echo >> {}; exec sleep 600 ;;\nesac\n",
        noted.display()
    );
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    own.to_string()
}

#[test]
fn a_run_whose_interpreter_does_not_come_up_can_be_cancelled() {
    let world = World::new();
    let python = hanging_python(&world);
    world.script("task.py", "def run():\n    pass");
    for from_elsewhere in [false, true] {
        let mut command = world.command(&["run", "task.py", "--json"]);
        command.env("DROPCRON_PYTHON", &python).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        wait_until("the interpreter hangs", || world.root.join("hangs").exists());
        std::fs::remove_file(world.root.join("hangs")).unwrap();
        if from_elsewhere {
            let run_id = world.value("select max(run_id) from run_log");
            world.dropcron_ok(&["cancel", &run_id]);
        } else {
            kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        assert_eq!(code(&output), 1, "{}", text_of(&output));
        assert_eq!(json(&output)["reason"], "requested");
        assert_eq!(json(&output)["started_at"], Value::Null, "nothing of it ran");
    }
}

#[test]
fn a_service_leaves_although_an_interpreter_does_not_come_up() {
    let world = World::new();
    let python = hanging_python(&world);
    world.scheduled("tick.py", "* * * * * *", "def run():\n    pass");
    let serve = world.serve_with(&world.data, &[("DROPCRON_PYTHON", &python)]);
    wait_until("the interpreter hangs", || world.root.join("hangs").exists());
    serve.stop();
    assert_eq!(
        world.value("select count(*) from run_log where status = 'claimed'"),
        "0"
    );
    for (directory, is_file) in [
        ("journal", false),
        ("versions", false),
        ("versions", true),
        ("runs", false),
    ] {
        let directory = world.data.join(directory);
        let mut looked_at = vec![directory.clone()];
        if is_file {
            looked_at = std::fs::read_dir(directory)
                .unwrap()
                .map(|file| file.unwrap().path())
                .collect();
        }
        for path in looked_at {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner only", path.display());
        }
    }
}

#[test]
fn a_run_is_cancelled_from_another_terminal_and_may_clean_up() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "import signal\ndef clean(*_):\n    {}\n    open('cleaned', 'w').close()\n    raise SystemExit(0)\n\
         def run():\n    signal.signal(signal.SIGTERM, clean)\n    while True:\n        signal.pause()",
        gate.wait()
    );
    std::fs::write(world.root.join("careful.py"), body).unwrap();
    let mut command = world.command(&["run", "careful.py", "--json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.wait_for("select count(*) = 1 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log");
    let asked = json(&world.dropcron(&["cancel", &run_id, "--json"]));
    assert_eq!(asked["asked"], true);
    // The terminal looks for requests twice a second; a second look must not count as a second request.
    let looks = "coalesce(seq_scan, 0) + coalesce(idx_scan, 0) from pg_stat_user_tables where relname = 'run_lease'";
    let seen: i64 = world.value(&format!("select {looks}")).parse().unwrap();
    world.wait_for(&format!("select {looks}").replace("select coalesce", &format!("select {} <= coalesce", seen + 4)));
    gate.open();
    let output = child.wait_with_output().unwrap();
    assert!(
        world.root.join("cleaned").exists(),
        "it was killed: {}",
        text_of(&output)
    );
}

#[test]
fn a_run_beside_an_active_one_is_skipped_unless_forced() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let first = start_waiting_run(&world, &gate);
    let output = world.dropcron(&["run", "wait.py", "--json"]);
    assert_eq!(code(&output), 1);
    let row = json(&output);
    assert_eq!((&row["status"], &row["reason"]), (&"skipped".into(), &"overlap".into()));
    assert_eq!(
        row["blocking_run_id"].to_string(),
        world.value("select min(run_id) from run_log")
    );
    let mut command = world.command(&["run", "wait.py", "--json", "--force"]);
    let forced = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.wait_for("select count(*) = 2 from run_log where status = 'running'");
    gate.open();
    for child in [first, forced] {
        assert_eq!(json(&child.wait_with_output().unwrap())["status"], "succeeded");
    }
}

#[test]
fn what_is_not_there_ends_with_3_and_what_is_mistyped_with_2() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    for (arguments, wanted) in [
        (&["run", "nothing"][..], 3),
        (&["next", "nothing"], 3),
        (&["runs", "--task", "nothing"], 3),
        (&["logs", "4711"], 3),
        (&["cancel", "4711"], 3),
        (&["pause", "nothing"], 3),
        (&["resume", "nothing"], 3),
        (&["check", "nothing.py"], 3),
        (&["frobnicate"], 2),
        (&["runs", "--status", "unheard-of"], 2),
        (&["runs", "--since", "yesterday"], 2),
        (&["next", "61 * * * *"], 2),
        (&["next", "@daily", "--timezone", "Europe/Atlantis"], 2),
        (&["next", "@daily", "--from", "soon"], 2),
        (&["next", "@daily", "--count", "0"], 2),
        (&["run", "nothing", "--arg", "novalue"], 2),
        (&["logs", "first"], 2),
    ] {
        let output = world.dropcron(arguments);
        assert_eq!(code(&output), wanted, "{arguments:?}: {}", text_of(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn lists_show_tasks_and_runs_to_people_and_machines() {
    let world = World::new();
    world.scheduled(
        "prices/btc.py",
        "30 2 * * *",
        "def run():\n    print('hello')\n    return 1.50",
    );
    world.script("bad.py", "def run():\n    1 / 0");
    assert_eq!(code(&world.dropcron(&["run", "prices/btc.py"])), 0);
    assert_eq!(code(&world.dropcron(&["run", "bad.py"])), 1);
    let text = world.dropcron_ok(&["tasks"]);
    assert!(
        text.contains("prices/btc") && text.contains("30 2 * * *") && text.contains("ready"),
        "{text}"
    );
    let tasks = json(&world.dropcron(&["tasks", "--json"]));
    assert_eq!(tasks[0]["name"], "bad");
    assert_eq!(
        (&tasks[0]["state"], &tasks[0]["last_status"]),
        (&"manual only".into(), &"failed".into())
    );
    assert!(
        tasks[1]["next_fire_at"].as_str().unwrap().contains("T02:30:00Z"),
        "{tasks}"
    );

    let runs = json(&world.dropcron(&["runs", "--json"]));
    assert_eq!(
        (&runs[0]["task"], &runs[1]["task"]),
        (&"bad".into(), &"prices/btc".into()),
        "newest first"
    );
    let failed = json(&world.dropcron(&["runs", "--json", "--status", "failed", "--since", "1h"]));
    assert_eq!(
        (failed.as_array().unwrap().len(), &failed[0]["task"]),
        (1, &"bad".into())
    );
    let btc = json(&world.dropcron(&["runs", "--json", "--task", "prices/btc", "--limit", "1"]));
    assert_eq!(
        (btc.as_array().unwrap().len(), &btc[0]["task"]),
        (1, &"prices/btc".into())
    );
    assert!(world.dropcron_ok(&["runs"]).contains("ZeroDivisionError"));

    let run_id = btc[0]["run_id"].to_string();
    assert_eq!(world.dropcron_ok(&["logs", &run_id]), "hello\n");
    let log = json(&world.dropcron(&["logs", &run_id, "--json"]));
    assert_eq!(
        (&log["output"], &log["status"]),
        (&"hello\n".into(), &"succeeded".into())
    );
    let cancelled = json(&world.dropcron(&["cancel", &run_id, "--json"]));
    assert_eq!(
        (&cancelled["asked"], &cancelled["status"]),
        (&false.into(), &"succeeded".into())
    );
}

#[test]
fn what_holds_for_a_task_is_shown_key_by_key() {
    let world = World::new();
    let header = "schedule = \"@daily\"\nmemory = \"64MiB\"\nprocesses = 20\noverlap = \"queue\"\nretries = { max = 2, on = [\"lost\"] }";
    let path = world.script("limited.py", &with_header(header, "def run(): return 1"));
    let checked = world.dropcron_ok(&["check", path.to_str().unwrap()]);
    let _serve = world.serve();
    world.wait_for("select count(*) = 1 from task where revision = planned_revision");
    let listed = world.dropcron_ok(&["tasks", "limited"]);
    for text in [&checked, &listed] {
        let has = |key: &str, value: &str| {
            assert!(
                text.lines().any(|line| line
                    .split_once("  ")
                    .is_some_and(|(name, rest)| name == key && rest.trim() == value)),
                "{key} {value} in:\n{text}"
            );
        };
        has("limits.memory_bytes", "67108864");
        has("limits.processes", "20");
        has("overlap", "queue");
        has("retries.max", "2");
        has("retries.on", "lost");
        has("catch_up_limit", "100");
    }
    let tasks = json(&world.dropcron(&["tasks", "--json"]));
    assert_eq!(tasks[0]["header"]["limits"]["memory_bytes"], 64 << 20);
    assert_eq!(code(&world.dropcron(&["tasks", "nowhere"])), 3);
    let by_hand = world
        .command(&["run", "limited", "--json"])
        .env("DROPCRON_CGROUP", "none")
        .output();
    let run = json(&by_hand.unwrap());
    assert_eq!(
        run["limits"],
        serde_json::json!({ "memory_bytes": 64 << 20, "processes": 20, "memory_by": "keeper", "processes_by": "keeper" })
    );
}

#[test]
fn a_log_is_followed_to_the_end_of_its_run() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "def run():\n    print('begins', flush=True)\n    {}\n    print('ends')",
        gate.wait()
    );
    world.script("slow.py", &body);
    let run = world
        .command(&["run", "slow.py"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut run = run.unwrap();
    world.wait_for("select count(*) = 1 from run_output");
    let run_id = world.value("select run_id from run_log");
    let mut command = world.command(&["logs", &run_id, "-f"]);
    let mut follower = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begins");
    gate.open();
    assert_eq!(lines.next().unwrap().unwrap(), "ends");
    assert!(lines.next().is_none(), "it ends with the run");
    assert!(follower.wait().unwrap().success() && run.wait().unwrap().success());
}

#[test]
fn pause_and_resume_say_who_and_why() {
    let world = World::new();
    world.scheduled("backup.py", "30 2 * * *", "def run():\n    pass");
    world.dropcron_ok(&["run", "backup.py"]);
    let mut command = world.command(&["pause", "backup", "--reason", "new disk", "--json"]);
    let paused = json(&command.env("USER", "ada").env_remove("SUDO_USER").output().unwrap());
    assert_eq!((&paused["task"], &paused["changed"]), (&"backup".into(), &true.into()));
    assert!(paused["paused_by"].as_str().unwrap().starts_with("ada@"), "{paused}");
    assert_eq!(json(&world.dropcron(&["pause", "backup", "--json"]))["changed"], false);
    assert_eq!(
        world.value("select paused_reason from task where name = 'backup'"),
        "new disk"
    );
    assert_eq!(json(&world.dropcron(&["tasks", "--json"]))[0]["state"], "paused");
    assert_eq!(json(&world.dropcron(&["resume", "backup", "--json"]))["changed"], true);
    assert_eq!(json(&world.dropcron(&["resume", "backup", "--json"]))["changed"], false);
    assert_eq!(
        world.value(
            "select string_agg(kind, ' ' order by event_id) from task_event where kind in ('paused', 'resumed')"
        ),
        "paused resumed"
    );
}

#[test]
fn a_broken_file_that_is_run_leaves_its_task_as_it_was() {
    let world = World::new();
    world.scheduled("report.py", "30 2 * * *", "def run():\n    return 1");
    world.dropcron_ok(&["run", "report.py"]);
    world.scheduled("report.py", "30 2 * * *", "def run(:\n    return 2");
    let output = world.dropcron(&["run", "report.py", "--json"]);
    assert_eq!(
        (code(&output), json(&output)["reason"].as_str()),
        (1, Some("load_failed"))
    );
    assert_eq!(
        world.value("select schedule::text from task where name = 'report'"),
        "{\"30 2 * * *\"}"
    );
    assert_eq!(json(&world.dropcron(&["run", "report", "--json"]))["return_value"], 1);
}

#[test]
fn a_file_that_a_service_has_registered_runs_as_registered() {
    let world = World::new();
    world.scheduled("report.py", "30 2 * * *", "def run():\n    return 1");
    let serve = world.serve_with(&world.data, &[("DROPCRON_SCAN_INTERVAL", "1h")]);
    world.wait_for("select count(*) = 1 from task where name = 'report'");
    let settings = "select concat_ws(' ', timezone, timeout_seconds, revision) from task where name = 'report'";
    let before = world.value(settings);
    let mut command = world.command(&["run", "scripts/report.py", "--json"]);
    command
        .env("DROPCRON_TIMEZONE", "Asia/Tokyo")
        .env("DROPCRON_DEFAULT_TIMEOUT", "7s")
        .env("DROPCRON_DATA_DIR", world.root.join("elsewhere"));
    let output = command.output().unwrap();
    assert_eq!(json(&output)["return_value"], 1, "{}", text_of(&output));
    assert!(!text_of(&output).contains("note:"), "{}", text_of(&output));
    assert_eq!(world.value(settings), before);
    // The same from other scripts: nothing here takes them over, so that it is certain what is registered.
    let scripts = world.root.join("others");
    std::fs::create_dir(&scripts).unwrap();
    for name in ["report.py", "new.py"] {
        std::fs::write(
            scripts.join(name),
            with_header("schedule = \"1 1 * * *\"", "def run():\n    return 2"),
        )
        .unwrap();
    }
    let run = |file: &str| {
        let mut command = world.command(&["run", file, "--json"]);
        command.env("DROPCRON_SCRIPTS_DIR", &scripts).output().unwrap()
    };
    let output = run("others/report.py");
    assert_eq!(json(&output)["return_value"], 1, "{}", text_of(&output));
    assert!(
        text_of(&output).contains("runs the registered version"),
        "{}",
        text_of(&output)
    );
    assert_eq!(world.value(settings), before);
    let output = run("others/new.py");
    assert_eq!(
        (&json(&output)["return_value"], &json(&output)["task"]),
        (&2.into(), &"new".into())
    );
    serve.stop();
    // Without a service this terminal is who registers.
    assert_eq!(json(&run("others/report.py"))["return_value"], 2);
}

#[test]
fn runs_of_one_task_may_be_asked_for_in_the_same_moment() {
    let world = World::new();
    world.script("task.py", "def run():\n    pass");
    world.dropcron_ok(&["tasks"]);
    let children: Vec<_> = (0..4)
        .map(|_| {
            let mut command = world.command(&["run", "task.py", "--force", "--json"]);
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert_eq!(json(&output)["status"], "succeeded", "{}", text_of(&output));
    }
    assert_eq!(world.value("select count(*) from task"), "1");
}

#[test]
fn a_run_waits_for_its_version_while_the_database_does_not_give_it() {
    let world = World::new();
    world.script("task.py", "def run():\n    return 1");
    world.dropcron_ok(&["run", "task.py"]);
    world.sql("alter table script_version rename to away");
    let mut command = world.command(&["run", "task", "--json"]);
    command.env("DROPCRON_DATA_DIR", world.root.join("other"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    world.wait_for("select count(*) = 2 from run_log");
    world.let_pass(1);
    world.sql("alter table away rename to script_version");
    let output = child.wait_with_output().unwrap();
    assert_eq!(json(&output)["return_value"], 1, "{}", text_of(&output));
}

#[test]
fn check_says_what_each_file_is_and_what_to_mend() {
    let world = World::new();
    world.scheduled("ready.py", "30 2 * * *", "def run():\n    pass");
    world.script("manual.py", "def run():\n    pass");
    world.script("library.py", "VALUE = 1");
    world.script(
        "off.py",
        &with_header("schedule = \"@daily\"\nenabled = false", "def run():\n    pass"),
    );
    let clean = world.dropcron(&["check"]);
    assert_eq!(code(&clean), 0, "{}", text_of(&clean));
    world.script("typo.py", &with_header("shedule = \"@daily\"", "def run():\n    pass"));
    world.script("syntax.py", "def run():\n    return (1\n");
    world.script(
        "args.py",
        &with_header("args = { town = \"Rome\" }", "def run(city='x'):\n    pass"),
    );
    world.script("headeronly.py", &with_header("schedule = \"@daily\"", ""));
    world.script("twin.py", "def run():\n    pass");
    world.script("twin.pyc", "");
    let output = world.dropcron(&["check"]);
    assert_eq!(code(&output), 1);
    let text = text_of(&output);
    let line = |name: &str| {
        let found = text
            .lines()
            .find(|line| line.split_whitespace().any(|word| word == name));
        found.unwrap_or_else(|| panic!("{name} is missing:\n{text}")).to_owned()
    };
    assert!(line("ready").starts_with("ready"), "{text}");
    assert!(line("manual").starts_with("manual only"), "{text}");
    assert!(line("off").starts_with("disabled"), "{text}");
    assert!(
        text.lines()
            .any(|line| line.starts_with("library") && line.contains("library.py")),
        "{text}"
    );
    for (name, place, fix) in [
        ("typo", "typo.py:3:", "`schedule`"),
        ("syntax", "syntax.py:2:", "never closed"),
        (
            "args",
            "args.py:5:1: ",
            "`args` gives `town`, which `run()` does not take: it knows `city`",
        ),
        ("headeronly", "headeronly.py: ", "define `def run():`"),
    ] {
        assert!(line(name).starts_with("problem"), "{text}");
        assert!(
            text.lines().any(|line| line.contains(place) && line.contains(fix)),
            "{name}:\n{text}"
        );
    }
    assert!(
        text.contains("twin.pyc: `twin.py` makes the task `twin` already"),
        "{text}"
    );

    let reports = json(&world.dropcron(&["check", "--json"]));
    let typo = reports
        .as_array()
        .unwrap()
        .iter()
        .find(|report| report["task"] == "typo")
        .unwrap();
    assert_eq!(typo["state"], "problem");
    assert!(typo["problems"][0].as_str().unwrap().contains("typo.py:3:"));
    let one = json(&world.dropcron(&["check", "scripts/ready.py", "--json"]));
    assert_eq!((one.as_array().unwrap().len(), &one[0]["state"]), (1, &"ready".into()));
    assert_eq!(code(&world.dropcron(&["check", "scripts/typo.py"])), 1);
}

#[test]
fn a_task_shows_that_its_packages_are_made_or_cannot_be_had() {
    let world = World::new();
    world.scheduled("prices.py", "30 2 * * *", "def run():\n    pass");
    world.scheduled("other.py", "30 2 * * *", "def run():\n    pass");
    world.dropcron_ok(&["run", "prices.py"]);
    world.dropcron_ok(&["run", "other.py"]);
    let states = || {
        let tasks = json(&world.dropcron(&["tasks", "--json"]));
        let mut states = tasks.as_array().unwrap().iter().map(|task| &task["state"]);
        let states = [states.next().unwrap().clone(), states.next().unwrap().clone()];
        let reported = world.sql("select state from dropcron_report.tasks order by task");
        let reported: Vec<&str> = reported.iter().map(|row| row[0].as_deref().unwrap()).collect();
        assert_eq!(states, [reported[0], reported[1]], "the contract says the same");
        states
    };
    // As a builder writes them.
    world.sql(
        "insert into environment (requirements_sha256, requirements) values (sha256('asked'), '{}');
         update task set requirements_sha256 = sha256('asked') where name = 'prices'",
    );
    assert_eq!(states(), ["ready", "building"]);
    // Of a file that is to replace a version which has all that it needs.
    world.sql(
        "update task set requirements_sha256 = null, next_requirements_sha256 = sha256('asked') where name = 'prices'",
    );
    assert_eq!(states(), ["ready", "building"]);
    world.sql(
        "update environment set state = 'needs_attention', problem = e'No solution:\n  there is no \x1b[2J`nosuch`'",
    );
    assert_eq!(states(), ["ready", "problem"]);
    let text = world.dropcron_ok(&["tasks"]);
    assert!(
        text.contains("problem: prices: No solution:\n    there is no  [2J`nosuch`\n"),
        "{text}"
    );
    let health = world.value("select tasks_with_problem from dropcron_report.health");
    assert_eq!(health, "1");
    world.sql(
        "insert into package_lock (lock_sha256, content, python) values (sha256('lock'), '', '3.11');
         update environment set state = 'ready', problem = null, lock_sha256 = sha256('lock')",
    );
    assert_eq!(states(), ["ready", "ready"]);
}

#[test]
fn check_says_which_python_and_which_packages_a_script_asks_for() {
    let world = World::new();
    let header = |lines: &str| format!("# /// script\n{lines}# ///\ndef run():\n    pass\n");
    world.script(
        "header.py",
        &header("# requires-python = \">=3.9\"\n# dependencies = [\"httpx>=0.27\", \"rich\"]\n"),
    );
    world.script("later.py", &header("# requires-python = \">=3.99\"\n"));
    world.script(
        "managed.py",
        &header("# [tool.dropcron]\n# python = \"/opt/app/bin/python\"\n"),
    );
    world.script("shop/orders.py", "def run():\n    pass\n");
    world.script("shop/requirements.txt", "idna==3.10\n");
    let text = world.dropcron_ok(&["check"]);
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
    for (name, said) in [
        ("header", "needs httpx>=0.27, rich"),
        ("later", "needs Python >=3.99, and not 3."),
        ("managed", "runs on `/opt/app/bin/python`, which is not on this machine"),
        ("shop/orders", "needs what `shop/requirements.txt` names"),
    ] {
        assert!(line(name).contains(said), "{name}: {text}");
    }
    assert!(!line("header").contains("Python"), "{text}");
    let settings = |file: &str| {
        let text = world.dropcron_ok(&["check", &format!("scripts/{file}")]);
        let (_, settings) = text.split_once("\n\n").unwrap();
        settings
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect::<Vec<_>>()
    };
    for (file, wanted) in [
        ("header.py", "dependencies httpx>=0.27, rich"),
        ("header.py", "requires_python >=3.9"),
        ("managed.py", "python /opt/app/bin/python"),
        ("shop/orders.py", "dependencies those of shop/requirements.txt"),
    ] {
        assert!(settings(file).contains(&wanted.to_owned()), "{:?}", settings(file));
    }
    let reports = json(&world.dropcron(&["check", "scripts/shop/orders.py", "--json"]));
    assert_eq!(reports[0]["packages_from"], "shop/requirements.txt");
}

#[test]
fn check_needs_neither_database_nor_data_directory_nor_python() {
    let world = World::new();
    world.scheduled("ready.py", "30 2 * * *", "def run():\n    pass");
    world.script("library.py", "import os");
    let mut command = world.command(&["check"]);
    command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    // Nobody can write there, root included.
    command.env("DROPCRON_DATA_DIR", "/proc/dropcron");
    let output = command.output().unwrap();
    assert_eq!(code(&output), 0, "{}", text_of(&output));
    let output = command.env("DROPCRON_PYTHON", "/nonexistent").output().unwrap();
    let text = text_of(&output);
    assert_eq!(code(&output), 1, "{text}");
    assert!(text.contains("ready") && text.contains("library"), "{text}");
    assert!(text.contains("`DROPCRON_PYTHON` is `/nonexistent`"), "{text}");
}

#[test]
fn a_file_is_looked_at_without_everything_beside_it() {
    let world = World::new();
    // A loop of links, a file that never ends, and a neighbour that is broken.
    std::os::unix::fs::symlink("/proc", world.root.join("huge")).unwrap();
    std::fs::write(world.root.join("alone.py"), "def run():\n    return 1").unwrap();
    std::fs::write(world.root.join("broken.py"), "def run(:").unwrap();
    let checked = world.dropcron(&["check", "alone.py", "--json"]);
    assert_eq!(code(&checked), 0, "{}", text_of(&checked));
    assert_eq!(json(&checked).as_array().unwrap().len(), 1);
    assert_eq!(json(&world.dropcron(&["run", "alone.py", "--json"]))["return_value"], 1);
}

#[test]
fn a_reader_that_has_gone_is_no_panic() {
    let world = World::new();
    for number in 0..20 {
        world.script(&format!("bad{number}.py"), "def run(:\n");
    }
    for verb in [&["check"][..], &["tasks"], &["runs"], &["database-url"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.command(verb);
        let output = command.stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(!text_of(&output).contains("panicked"), "{verb:?}: {}", text_of(&output));
        assert!(code(&output) <= 1, "{verb:?}");
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = world.command(&["run", "nothing"]);
    let output = command.stdout(Stdio::null()).stderr(writer).output().unwrap();
    assert_eq!(code(&output), 3, "a panic would end with 101");
}

#[test]
fn psql_and_the_url_lead_to_the_database_in_use() {
    let world = World::new();
    assert_eq!(world.dropcron_ok(&["database-url"]).trim(), world.url);
    assert_eq!(
        json(&world.dropcron(&["database-url", "--json"]))["url"],
        world.url.as_str()
    );
    let text = world.dropcron_ok(&["psql", "-XAtc", "select count(*) from task"]);
    assert_eq!(text.trim(), "0", "our schema is in the search path");
    assert_eq!(code(&world.dropcron(&["psql", "-Xc", "select nothing"])), 1);
}

#[test]
fn psql_does_not_show_a_password_to_other_users() {
    let world = World::new();
    let directory = world.root.join("bin");
    std::fs::create_dir(&directory).unwrap();
    let fake = directory.join("psql");
    std::fs::write(&fake, "#!/bin/sh\necho \"$*\"\necho \"$PGPASSWORD\"\n").unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut command = world.command(&["psql"]);
    let mark = if world.url.contains('?') { '&' } else { '?' };
    command.env("DATABASE_URL", format!("{}{mark}password=top%20secret", world.url));
    command.env("PATH", &directory);
    let text = text_of(&command.output().unwrap());
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && !lines[0].contains("secret"), "{text}");
    assert_eq!(lines[1], "top secret");
}

#[test]
fn a_manual_run_needs_no_service_and_leaves_no_node_behind() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    world.dropcron_ok(&["run", "one.py"]);
    assert_eq!(
        world.value("select string_agg(kind || ' ' || state, ',') from node"),
        "command stopped"
    );
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}
