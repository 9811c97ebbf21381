//! What changed: between the last run that succeeded and the first that failed after it, or between two runs.

use crate::support::{World, text_of, with_header};

fn run(world: &World, arguments: &[&str]) {
    let path = world.scripts.join("prices.py").display().to_string();
    let mut all = vec!["run", path.as_str()];
    all.extend(arguments);
    world.dropcron(&all);
}

/// Runs of `prices`: three that succeed, the script and its header change, two that fail, and one that succeeds again.
fn changed() -> World {
    let world = World::new();
    world.script(
        "prices.py",
        &with_header("timeout = \"5m\"", "def run(city='Paris'):\n    return 42.5"),
    );
    (0..3).for_each(|_| run(&world, &[]));
    world.script(
        "prices.py",
        &with_header(
            "timeout = \"30s\"\nmemory = \"512MiB\"",
            "def run(city='Paris'):\n    raise ValueError('\\x1b[2J' + city)",
        ),
    );
    run(&world, &["--arg", "city=Rome"]);
    run(&world, &[]);
    world
}

#[test]
fn the_turn_for_the_worse_is_found_and_told() {
    let world = changed();
    let told = world.dropcron_ok(&["diff", &world.value("select name from task")]);
    assert!(
        told.contains("run 3 of") && told.contains("succeeded, then run 4 of") && told.contains("failed (raised)"),
        "{told}"
    );
    for line in [
        "header timeout_seconds      300 -> 30",
        "header limits.memory_bytes  none -> 536870912",
        "value                       42.5 -> none",
        "args                        none -> {\"city\": \"Rome\"}",
        "error                       none -> ValueError:  [2JRome",
        "the same                    packages, python, dropcron, host, trigger, as of,",
        "--- run 3\n+++ run 4\n@@ -1,6 +1,7 @@\n",
        "-# timeout = \"5m\"\n+# timeout = \"30s\"\n",
        "-    return 42.5\n+    raise ValueError(",
    ] {
        assert!(told.contains(line), "{line}\n---\n{told}");
    }
    assert!(
        !told.contains('\u{1b}'),
        "no colour and no escape where there is no terminal"
    );
    // It succeeds again: the turn is still the same one.
    world.script("prices.py", &with_header("", "def run(): return 1"));
    run(&world, &[]);
    let again = world.dropcron_ok(&["diff", &world.value("select name from task")]);
    assert_eq!(again, told);
}

#[test]
fn two_runs_are_compared_for_machines() {
    let world = changed();
    let name = world.value("select name from task");
    let python = world.value("select python from node limit 1");
    assert!(python.starts_with("3."), "{python}");
    world.sql("update node set host = 'old' where node_id = (select node_id from run_log where run_id = 1)");
    world.sql("update run_log set python = '3.9.1' where run_id = 1");
    let json: serde_json::Value =
        serde_json::from_str(&world.dropcron_ok(&["diff", &name, "1", "5", "--json"])).unwrap();
    assert_eq!(
        (&json["before"]["run_id"], &json["after"]["status"]),
        (&1.into(), &"failed".into())
    );
    let changes = json["changes"].as_array().unwrap();
    let change = |what: &str| {
        changes
            .iter()
            .find(|change| change["what"] == what)
            .unwrap_or_else(|| panic!("{what}: {json}"))
    };
    assert_eq!(
        (&change("python")["before"], &change("python")["after"]),
        (&"3.9.1".into(), &python.as_str().into())
    );
    assert_eq!(change("host")["before"], "old");
    assert_eq!(json["header"][1]["what"], "timeout_seconds");
    assert!(
        json["script"]["diff"]
            .as_str()
            .unwrap()
            .contains("+    raise ValueError")
    );
    let same: serde_json::Value =
        serde_json::from_str(&world.dropcron_ok(&["diff", &name, "1", "2", "--json"])).unwrap();
    assert_eq!(
        (&same["script"]["changed"], &same["header"]),
        (&false.into(), &serde_json::json!([]))
    );
}

/// Gives runs a lock, as a build would have.
fn lock(world: &World, name: &str, content: &str, runs: &str) {
    world.sql(&format!(
        "insert into package_lock (lock_sha256, content, python) values (sha256('{name}'), '{content}', '3.11');
         update run_log set lock_sha256 = sha256('{name}') where run_id in ({runs})"
    ));
}

#[test]
fn packages_are_compared_by_the_locks_of_the_runs() {
    let world = World::new();
    world.script("prices.py", "def run(): return 1");
    (0..5).for_each(|_| run(&world, &[]));
    lock(
        &world,
        "old",
        "anyio==4.9.0 \\\n    --hash=sha256:01\nhttpx==0.27.0 \\\n    --hash=sha256:02\n",
        "2",
    );
    lock(
        &world,
        "new",
        "httpx==0.28.1 \\\n    --hash=sha256:03\nidna==3.10 \\\n    --hash=sha256:04\n",
        "3",
    );
    lock(
        &world,
        "anew",
        "httpx==0.28.1 \\\n    --hash=sha256:05\nidna==3.10 \\\n    --hash=sha256:06\n",
        "4",
    );
    // A run that was lost has written down nothing.
    world.sql("update run_log set python = null, status = 'lost', reason = 'node_gone' where run_id = 5");
    let told = |before: &str, after: &str| world.dropcron_ok(&["diff", "prices", before, after]);
    let changed = told("2", "3");
    for line in [
        "package anyio  4.9.0 -> none",
        "package httpx  0.27.0 -> 0.28.1",
        "package idna   none -> 3.10",
    ] {
        assert!(changed.contains(line), "{line}\n---\n{changed}");
    }
    assert!(
        !changed.contains("packages") && changed.contains("the same       script, python,"),
        "{changed}"
    );
    assert!(told("1", "2").contains("package anyio  none -> 4.9.0"));
    assert!(told("3", "4").contains("packages  the same versions, locked anew"));
    assert!(told("3", "3").contains("the same  script, packages, python,"));
    assert!(told("4", "5").contains("packages  those of run 5 are not known"));
    let json: serde_json::Value =
        serde_json::from_str(&world.dropcron_ok(&["diff", "prices", "2", "3", "--json"])).unwrap();
    let packages = &json["packages"];
    assert_eq!(
        packages["changes"],
        serde_json::json!([
            { "what": "anyio", "before": "4.9.0", "after": null },
            { "what": "httpx", "before": "0.27.0", "after": "0.28.1" },
            { "what": "idna", "before": null, "after": "3.10" },
        ])
    );
    assert_eq!(
        packages["lock_after"],
        world.value("select encode(lock_sha256, 'hex') from run_log where run_id = 3")
    );
    assert_eq!(
        (&packages["changed"], &packages["note"]),
        (&true.into(), &serde_json::Value::Null)
    );
}

#[test]
fn what_cannot_be_compared_is_said() {
    let world = World::new();
    world.script("prices.py", "def run(): return 1");
    run(&world, &[]);
    let name = world.value("select name from task");
    for (arguments, code, wanted) in [
        (vec!["diff", &name], 2, "has failed: name two of its runs"),
        (vec!["diff", &name, "1", "99"], 3, "has no run 99"),
        (vec!["diff", &name, "1"], 2, "RUN"),
        (vec!["diff", "nothing"], 3, "there is no task `nothing`"),
    ] {
        let output = world.dropcron(&arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text_of(&output));
        assert!(text_of(&output).contains(wanted), "{}", text_of(&output));
    }
    world.sql("update run_log set status = 'failed', reason = 'raised'");
    let never = text_of(&world.dropcron(&["diff", &name]));
    assert!(never.contains("succeeded before the failure at"), "{never}");
}
