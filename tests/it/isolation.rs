//! What scripts cannot reach: the scheduler's secrets as the same user, and everything else as another one.
//!
//! Whoever is not root cannot become another user: these tests then say that they are skipped.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{World, skip, with_header};

/// A user that every system has, and that owns nothing.
const NOBODY: &str = "nobody";

/// An interpreter that every user can reach.
const PYTHON: &str = "/usr/bin/python3";

fn can_become_another() -> bool {
    let can = rustix::process::geteuid().is_root() && Path::new(PYTHON).exists();
    if !can {
        skip(&format!("this takes root and `{PYTHON}`"));
    }
    can
}

/// A copy of the program where every user can reach it.
fn reachable_program(world: &World) -> PathBuf {
    let program = world.root.join("dropcron");
    std::fs::copy(env!("CARGO_BIN_EXE_dropcron"), &program).unwrap();
    program
}

/// `dropcron` with these arguments, as a user that is not root, with a private Postgres of its own.
fn as_nobody(world: &World, program: &Path, arguments: &[&str]) -> Command {
    let ours = world.command_without_database(arguments);
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", "nogroup", "--clear-groups"]);
    command.arg(program).args(arguments).current_dir(&world.root);
    take_environment(&mut command, &ours);
    command.env("DROPCRON_PYTHON", PYTHON);
    command
}

/// Gives a command the environment of another.
fn take_environment(command: &mut Command, other: &Command) {
    for (name, value) in other.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

fn give_to_nobody(path: &Path) {
    let changed = Command::new("chown")
        .args(["-R", "nobody:nogroup"])
        .arg(path)
        .status()
        .unwrap();
    assert!(changed.success());
}

/// What a run that was started by hand returned.
fn value_of(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", crate::support::text_of(&output)));
    assert_eq!(row["status"], "succeeded", "{row}");
    row["return_value"].clone()
}

/// Python that tries each of some things, and returns how each went: the error's type, or `reached`.
const ATTEMPT: &str = "\
import os

def attempt(*steps):
    results = {}
    for name, step in steps:
        try:
            step()
            results[name] = 'reached'
        except OSError as error:
            results[name] = type(error).__name__
    return results

def read(path):
    return lambda: open(path, 'rb').read(1)

def memory(pid):
    def step():
        with open(f'/proc/{pid}/maps') as maps:
            start = int(maps.readline().split('-')[0], 16)
        with open(f'/proc/{pid}/mem', 'rb') as memory:
            memory.seek(start)
            memory.read(1)
    return step
";

#[test]
fn a_script_of_the_same_user_finds_no_password_in_the_scheduler() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let program = reachable_program(&world);
    world.script(
        "spy.py",
        &format!(
            "{ATTEMPT}\ndef run():\n    node = os.environ['DROPCRON_NODE_PID']\n    return attempt(('environment', read(f'/proc/{{node}}/environ')), \
             ('memory', memory(node)), ('files', lambda: os.listdir(f'/proc/{{node}}/fd')), ('own', read('/proc/self/environ')))"
        ),
    );
    give_to_nobody(&world.root);
    let found = value_of(&mut as_nobody(&world, &program, &["run", "spy.py", "--json"]));
    assert_eq!(
        found,
        serde_json::json!({ "environment": "PermissionError", "memory": "PermissionError", "files": "PermissionError", "own": "reached" })
    );
}

/// A world whose scripts run as another user: a secret, a private Postgres, and two tasks.
fn guarded(world: &World) -> PathBuf {
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::set_permissions(&secrets, std::fs::Permissions::from_mode(0o700)).unwrap();
    std::fs::write(secrets.join("TOKEN"), "hunter2hunter2").unwrap();
    secrets
}

#[test]
fn a_script_of_another_user_reaches_neither_secrets_nor_database_nor_other_runs() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let secrets = guarded(&world);
    std::fs::set_permissions(&world.data, std::fs::Permissions::from_mode(0o700)).unwrap();
    let mut gate = world.gate("gate");
    // A run of the same user that holds a secret, and can be looked for.
    world.script(
        "victim.py",
        &with_header(
            "secrets = [\"TOKEN\"]\nschedule = \"* * * * * *\"",
            &format!(
                "import os\ndef run():\n    with open(os.environ['DROPCRON_RUN_DIR'] + '/private', 'w') as file: file.write('x')\n    \
                 print('pid', os.getpid(), flush=True)\n    {}",
                gate.wait()
            ),
        ),
    );
    std::fs::set_permissions(world.root.join("gate"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let variables = [
        ("DROPCRON_RUN_AS", NOBODY),
        ("DROPCRON_PYTHON", PYTHON),
        ("DROPCRON_SECRETS_DIR", secrets.to_str().unwrap()),
    ];
    let mut serve = world.serve_without_database(&variables);
    serve.wait_for_log("each out of sight of the others");
    let run = |arguments: &[&str]| {
        let mut command = world.command_without_database(arguments);
        command.envs(variables);
        command
    };
    let text = |arguments: &[&str]| String::from_utf8(run(arguments).output().unwrap().stdout).unwrap();
    let mut victim = String::new();
    crate::support::wait_until("the victim prints its pid", || {
        victim = text(&[
            "psql",
            "-qAt",
            "-c",
            "select split_part(chunk, ' ', 2) from run_output limit 1",
        ])
        .trim()
        .to_owned();
        !victim.is_empty()
    });
    let socket = text(&["psql", "-qAt", "-c", "show unix_socket_directories"])
        .trim()
        .replace('"', "");
    let socket = std::fs::read_dir(&socket)
        .unwrap()
        .flatten()
        .map(|entry| entry.path())
        .find(|path| !path.to_string_lossy().ends_with(".lock"))
        .unwrap();
    let body = format!(
        "{ATTEMPT}\nimport socket\nfrom pathlib import Path\ndef run():\n    node = os.environ['DROPCRON_NODE_PID']\n    \
         keeper = open('/proc/self/stat').read().rsplit(') ')[1].split()[1]\n    \
         database = socket.socket(socket.AF_UNIX)\n    \
         return {{'uid': os.getuid(), 'home': os.environ['HOME'], 'capabilities': [line.split()[1] for line in open('/proc/self/status') if line.startswith('Cap') and not line.startswith('CapBnd')], \
         **attempt(('secrets', lambda: os.listdir({secrets:?})), ('secret', read({secrets:?} + '/TOKEN')), \
         ('socket', lambda: database.connect({socket:?})), ('scheduler', memory(node)), ('keeper', memory(keeper)), \
         ('environment', read('/proc/{victim}/environ')), ('victim', memory({victim})), \
         ('data', lambda: os.listdir({data:?})), ('journal', lambda: os.listdir({data:?} + '/journal')), ('runs', lambda: os.listdir({data:?} + '/runs')), \
         ('versions', lambda: os.listdir({data:?} + '/versions')), ('own', read('/proc/self/environ')), \
         ('stderr', lambda: open('/dev/stderr', 'w').write('said by name\\n')), \
         ('directory', lambda: Path(os.environ['TMPDIR'], 'file').write_text('x')))}}",
        data = world.data.to_str().unwrap(),
    );
    let spy = world.script("spy.py", &body);
    std::fs::set_permissions(&spy, std::fs::Permissions::from_mode(0o644)).unwrap();
    let found = value_of(&mut run(&["run", "spy.py", "--json"]));
    let denied = "PermissionError";
    assert_eq!(
        found,
        serde_json::json!({
            "uid": 65534, "home": "/nonexistent", "capabilities": ["0000000000000000", "0000000000000000", "0000000000000000", "0000000000000000"],
            "secrets": denied, "secret": denied, "socket": denied, "scheduler": denied, "keeper": denied, "environment": denied,
            "victim": denied, "data": denied, "journal": denied, "runs": denied, "versions": denied,
            "own": "reached", "stderr": "reached", "directory": "reached",
        })
    );
    gate.open();
    serve.signal(rustix::process::Signal::TERM);
    assert_eq!(serve.wait(), Some(0));
    // Files of another user are removed with the run.
    let left: Vec<_> = std::fs::read_dir(world.data.join("runs")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_keeps_scripts_from_running_as_another_user_is_said_at_the_start() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let start = |variables: &[(&str, &str)]| {
        let output = world
            .command(&["serve"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), crate::support::text_of(&output))
    };
    let (code, text) = start(&[("DROPCRON_RUN_AS", "no-such-user-here")]);
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("there is no such user"), "{text}");
    // A scripts directory that the user cannot enter.
    std::fs::set_permissions(&world.scripts, std::fs::Permissions::from_mode(0o700)).unwrap();
    let (code, text) = start(&[("DROPCRON_RUN_AS", NOBODY), ("DROPCRON_PYTHON", PYTHON)]);
    assert_eq!(code, Some(5), "{text}");
    assert!(
        text.contains("the working directory") && text.contains("must be able to reach"),
        "{text}"
    );
    // Somebody who is not root.
    std::fs::set_permissions(&world.scripts, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = reachable_program(&world);
    give_to_nobody(&world.root);
    let output = as_nobody(&world, &program, &["serve"])
        .env("DROPCRON_RUN_AS", "daemon")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = crate::support::text_of(&output);
    assert!(text.contains("setcap cap_setuid"), "{text}");
}

#[test]
fn capabilities_on_the_program_are_enough_and_do_not_reach_the_script() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let program = reachable_program(&world);
    let given = Command::new("setcap")
        .arg("cap_setuid,cap_setgid,cap_kill,cap_chown,cap_fowner,cap_dac_override=ep")
        .arg(&program)
        .status();
    if !given.is_ok_and(|status| status.success()) {
        skip("`setcap` is not here, or this file system takes no capabilities");
        return;
    }
    // It leaves a daemon and a file behind: both are another user's.
    let left = world.root.join("left");
    std::fs::create_dir(&left).unwrap();
    world.script(
        "who.py",
        "import os, signal\ndef run():\n    with open(os.environ['TMPDIR'] + '/file', 'w') as file: file.write('x')\n    \
         if os.fork() == 0:\n        os.setsid()\n        signal.pause()\n    return {'uid': os.getuid(), 'capabilities': \
         [line.split()[1] for line in open('/proc/self/status') if line.startswith('CapEff') or line.startswith('CapPrm')]}",
    );
    give_to_nobody(&world.scripts);
    give_to_nobody(&world.data);
    let mut command = as_nobody(&world, &program, &["run", "who.py", "--json"]);
    command.env("DROPCRON_RUN_AS", "daemon");
    let output = command.output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", crate::support::text_of(&output)));
    let daemon: u32 = String::from_utf8(Command::new("id").args(["-u", "daemon"]).output().unwrap().stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert_eq!(
        row["return_value"],
        serde_json::json!({ "uid": daemon, "capabilities": ["0000000000000000", "0000000000000000"] }),
        "{row}"
    );
    assert!(
        row["warnings"][0].as_str().unwrap().contains("left a process behind"),
        "{row}"
    );
    let left: Vec<_> = std::fs::read_dir(world.data.join("runs")).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// As the unit of the package starts it: another user, with capabilities that what it starts would inherit. One more is of no
/// use for changing the user: somebody means it for scripts.
fn with_lent_capabilities(world: &World, program: &Path, arguments: &[&str]) -> Command {
    const LENT: &str = "-all,+setuid,+setgid,+kill,+chown,+fowner,+dac_override,+net_raw";
    let ours = as_nobody(world, program, arguments);
    let mut command = Command::new("setpriv");
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.args([set, LENT]);
    }
    command
        .arg("--no-new-privs")
        .args(ours.get_args())
        .current_dir(&world.root);
    take_environment(&mut command, &ours);
    command
}

/// A script that asks for packages, and a uv that tells in a file what it may, and can do nothing.
fn telling_uv(world: &World) -> (PathBuf, PathBuf) {
    let (uv, seen) = (world.root.join("uv"), world.root.join("seen-by-uv"));
    let text = format!("#!/bin/sh\ngrep ^Cap /proc/self/status >>{}\nexit 1\n", seen.display());
    std::fs::write(&uv, text).unwrap();
    std::fs::set_permissions(&uv, std::fs::Permissions::from_mode(0o755)).unwrap();
    world.script(
        "packed.py",
        "# /// script\n# dependencies = [\"anything\"]\n# ///\ndef run(): pass",
    );
    (uv, seen)
}

/// The capabilities of a process, as `/proc` tells them; all but the bounding set, which gives nobody anything.
fn capabilities_in(status: &str) -> Vec<String> {
    let is_set = |line: &&str| line.starts_with("Cap") && !line.starts_with("CapBnd");
    let digits = |line: &str| line.split_whitespace().nth(1).unwrap().to_owned();
    status.lines().filter(is_set).map(digits).collect()
}

#[test]
fn capabilities_that_the_service_is_lent_reach_the_keepers_of_scripts_alone() {
    if !can_become_another() {
        return;
    }
    let none = vec!["0000000000000000".to_owned(); 4];
    let world = World::new();
    let program = reachable_program(&world);
    let (uv, seen) = telling_uv(&world);
    world.script(
        "who.py",
        "import os\ndef run():\n    return {'uid': os.getuid(), 'status': open('/proc/self/status').read()}",
    );
    give_to_nobody(&world.root);
    let variables = [("DROPCRON_RUN_AS", "daemon"), ("DROPCRON_UV", uv.to_str().unwrap())];
    let serve = world.spawn_serve(with_lent_capabilities(&world, &program, &["serve"]), &variables);
    serve.wait_for_log("each out of sight of the others");

    let server = std::fs::read_to_string(world.data.join("postgres/data/postmaster.pid")).unwrap();
    let server = server.lines().next().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    assert_eq!(capabilities_in(&status), none, "Postgres");

    let run = |arguments: &[&str]| {
        let mut command = with_lent_capabilities(&world, &program, arguments);
        command.envs(variables);
        command
    };
    let read = ["psql", "-Atc", "select pg_read_file('/etc/shadow')"];
    let refused = crate::support::text_of(&run(&read).output().unwrap());
    assert!(refused.contains("Permission denied"), "{refused}");

    serve.wait_for_log("packages that scripts ask for cannot be had");
    let asked = std::fs::read_to_string(&seen).unwrap();
    let asked = capabilities_in(&asked);
    assert!(
        !asked.is_empty() && asked.iter().all(|set| *set == none[0]),
        "uv: {asked:?}"
    );

    // The service may read what its interpreter may not.
    let closed = world.script("closed.py", "def run(): return 'ä'");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o600)).unwrap();
    let problem = "select coalesce(problem, 'none') from dropcron.task where name = 'closed'";
    crate::support::wait_until("a script of root's alone is registered", || {
        crate::support::text_of(&run(&["psql", "-Atc", problem]).output().unwrap()).trim() == "none"
    });

    // The keeper of a script has what it takes, and the script nothing of it.
    let found = value_of(&mut run(&["run", "who.py", "--json"]));
    assert_ne!(found["uid"], 65534, "{found}");
    assert_eq!(capabilities_in(found["status"].as_str().unwrap()), none, "a script");
    // One that runs as the service does has what was not given for that.
    let mut own = run(&["run", "who.py", "--json"]);
    // What the service does holds on its data directory alone.
    own.env("DROPCRON_DATA_DIR", world.root.join("elsewhere"));
    let found = value_of(own.env_remove("DROPCRON_RUN_AS"));
    assert_eq!(found["uid"], 65534, "{found}");
    assert_eq!(
        capabilities_in(found["status"].as_str().unwrap()),
        vec!["0000000000002000".to_owned(); 4],
        "a script of the same user"
    );
    drop(serve);
}

/// `dropcron` as root, beside the service of somebody else.
fn as_root(world: &World, program: &Path, arguments: &[&str]) -> Command {
    let ours = world.command_without_database(arguments);
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(&world.root)
        .stdin(std::process::Stdio::null());
    for (name, value) in ours.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Where the scripts are the service knows.
    command.env_remove("DROPCRON_SCRIPTS_DIR");
    command
}

/// The service as a unit of systemd starts it: with these rights, and nothing of root.
fn service_with_rights(world: &World, program: &Path) -> crate::support::Serve {
    const RIGHTS: &str = "-all,+setuid,+setgid,+kill,+chown,+fowner,+dac_override";
    let plain = as_nobody(world, program, &["serve"]);
    let mut command = Command::new("setpriv");
    for set in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        command.args([set, RIGHTS]);
    }
    command.args(plain.get_args()).current_dir(&world.root);
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let serve = world.spawn_serve(command, &[("DROPCRON_RUN_AS", "daemon")]);
    serve.wait_for_log(" serves");
    serve
}

fn uid_of(user: &str) -> u32 {
    let output = Command::new("id").args(["-u", user]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// A script that says who it runs as.
fn who(world: &World) {
    world.script("who.py", "import os\ndef run():\n    return os.getuid()");
}

fn files_of_root(directory: &Path) -> String {
    let found = Command::new("find")
        .arg(directory)
        .args(["-uid", "0"])
        .output()
        .unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn root_works_beside_a_service_as_that_does() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let program = reachable_program(&world);
    who(&world);
    give_to_nobody(&world.root);
    let serve = service_with_rights(&world, &program);
    for verb in ["runs", "health", "tasks"] {
        let output = as_root(&world, &program, &[verb]).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", crate::support::text_of(&output));
    }
    let row = value_of(&mut as_root(&world, &program, &["run", "who.py", "--json"]));
    assert_eq!(row, uid_of("daemon"), "as the service runs it");
    let findings = as_root(&world, &program, &["doctor", "--json"]).output().unwrap();
    let findings: Vec<Value> = serde_json::from_slice(&findings.stdout).unwrap();
    let user = findings.iter().find(|finding| finding["about"] == "user").unwrap();
    assert_eq!(user["level"], "ok", "{user}");
    // The service's own user in a shell, which has none of its rights.
    let own = |arguments: &[&str]| crate::support::text_of(&as_nobody(&world, &program, arguments).output().unwrap());
    let said = own(&["run", "who.py"]);
    assert!(
        said.contains("runs scripts as `daemon`") && said.contains("`sudo dropcron run`"),
        "{said}"
    );
    let said = own(&["doctor"]);
    assert!(said.contains("`sudo dropcron doctor` tries it"), "{said}");
    serve.stop();
    assert_eq!(files_of_root(&world.data), "", "nothing is in the way of the service");
    // What stands in the data directory alone is not the word of a service.
    let said = crate::support::text_of(&as_root(&world, &program, &["run", "who.py"]).output().unwrap());
    assert!(said.contains("while that service runs"), "{said}");
    let mut root = as_root(&world, &program, &["run", "who.py", "--json"]);
    assert_eq!(
        value_of(root.env("DROPCRON_RUN_AS", "daemon")),
        uid_of("daemon"),
        "root's own word is enough"
    );
    // What it keeps for that is for nothing else.
    let (uv, seen) = telling_uv(&world);
    let mut root = as_root(&world, &program, &["run", "packed.py"]);
    root.env("DROPCRON_RUN_AS", "daemon").env("DROPCRON_UV", uv);
    assert!(!root.output().unwrap().status.success());
    let seen = capabilities_in(&std::fs::read_to_string(seen).unwrap());
    assert!(
        !seen.is_empty() && seen.iter().all(|set| set.trim_start_matches('0').is_empty()),
        "{seen:?}"
    );
    assert_eq!(files_of_root(&world.data), "");
}

#[test]
fn root_starts_nothing_as_somebody_whom_only_a_file_names() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let program = reachable_program(&world);
    who(&world);
    give_to_nobody(&world.root);
    // Its scripts are its own user's, and can write what it noted.
    let serve = world.spawn_serve(as_nobody(&world, &program, &["serve"]), &[]);
    serve.wait_for_log(" serves");
    let run = || as_root(&world, &program, &["run", "who.py", "--json"]);
    assert_eq!(value_of(&mut run()), uid_of(NOBODY));
    let note = world.data.join("service.json");
    let mut forged: Value = serde_json::from_slice(&std::fs::read(&note).unwrap()).unwrap();
    for name in ["root", "daemon"] {
        forged["variables"]["DROPCRON_RUN_AS"] = name.into();
        std::fs::write(&note, forged.to_string()).unwrap();
        let output = run().output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", crate::support::text_of(&output));
    }
    serve.stop();
}

#[test]
fn processes_that_double_at_every_turn_are_stopped() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    world.script(
        "bomb.py",
        &with_header(
            "processes = 20\ntimeout = \"1m\"",
            "import os\ndef run():\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass",
        ),
    );
    let mut command = world.command(&["run", "bomb.py", "--json"]);
    command.envs([
        ("DROPCRON_RUN_AS", NOBODY),
        ("DROPCRON_PYTHON", PYTHON),
        ("DROPCRON_CGROUP", "none"),
    ]);
    let output = command.output().unwrap();
    let row: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", crate::support::text_of(&output)));
    assert_eq!(row["error"]["type"], "too_many_processes", "{row}");
    assert_eq!(row["reason"], "signal", "{row}");
}

#[test]
fn a_script_of_another_user_dies_with_its_keeper() {
    if !can_become_another() {
        return;
    }
    let world = World::new();
    let gate = world.gate("gate");
    std::fs::set_permissions(world.root.join("gate"), std::fs::Permissions::from_mode(0o666)).unwrap();
    world.script(
        "daemon.py",
        &with_header(
            "schedule = \"* * * * * *\"\nretries = 0",
            &format!(
                "import os, signal\ndef run():\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            print('daemon', os.getpid(), os.getpid(), flush=True)\n            \
                 signal.pause()\n        os._exit(0)\n    os.wait()\n    print('script', os.getppid(), flush=True)\n    {}",
                gate.wait()
            ),
        ),
    );
    let serve = world.serve_with(&world.data, &[("DROPCRON_RUN_AS", NOBODY), ("DROPCRON_PYTHON", PYTHON)]);
    world.wait_for("select string_agg(chunk, '') ~ 'daemon' and string_agg(chunk, '') ~ 'script' from run_output");
    let said = world.value(
        "select string_agg(chunk, '' order by sequence) from run_output group by run_id order by run_id limit 1",
    );
    let number = |word: &str| {
        said.lines()
            .find_map(|line| line.strip_prefix(word)?.split(' ').next()?.parse::<i32>().ok())
            .unwrap()
    };
    let (daemon, keeper) = (number("daemon "), number("script "));
    let run_id = world.value("select run_id from run_output limit 1");
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(keeper).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    world.wait_for(&format!(
        "select status = 'lost' and reason = 'keeper_gone' from run_log where run_id = {run_id}"
    ));
    crate::support::wait_until("the daemon is gone", || !Path::new(&format!("/proc/{daemon}")).exists());
    drop(serve);
}
