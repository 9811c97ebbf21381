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
        "packages                    no locked packages",
        "the same                    python, dropcron, host, trigger, as of,",
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
    world.sql(
        "update node set python = '3.9.1', host = 'old' where node_id = (select node_id from run_log where run_id = 1)",
    );
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
