//! The scripts directory and the tasks that come of it: files made, edited, broken, renamed, removed, and odd ones.

use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{Serve, World, with_header};

const RUN: &str = "def run():\n    return 1\n";

/// A service that looks often: nothing is waited for longer than it takes.
fn serve(world: &World) -> Serve {
    world.serve_with(&world.data, &[("DROPCRON_SCAN_INTERVAL", "100ms")])
}

/// Comes back when the syncer has looked at the directory at least twice from now on.
fn let_it_look(world: &World) {
    use std::sync::atomic::AtomicU32;
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    for _ in 0..2 {
        let name = format!("mark{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = world.script(&format!("{name}.py"), &format!("{RUN}# {name}"));
        wait_for_task(world, &name);
        std::fs::remove_file(path).unwrap();
        world.wait_for(&format!(
            "select count(*) = 1 from task where name = '{name}' and retired_at is not null"
        ));
    }
}

fn wait_for_task(world: &World, name: &str) {
    world.wait_for(&format!(
        "select count(*) = 1 from task where name = '{name}' and retired_at is null"
    ));
}

fn of_task(world: &World, name: &str, column: &str) -> String {
    world.value(&format!(
        "select {column} from task where name = '{name}' order by retired_at nulls first limit 1"
    ))
}

/// What the task returns when it is run now.
fn returns(world: &World, name: &str) -> serde_json::Value {
    let output = world.dropcron(&["run", name, "--json"]);
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    row["return_value"].clone()
}

#[test]
fn an_edit_takes_effect_at_once_and_is_a_new_version() {
    let world = World::new();
    let serve = serve(&world);
    world.scheduled("prices/btc.py", "30 2 * * *", RUN);
    wait_for_task(&world, "prices/btc");
    let task_id = of_task(&world, "prices/btc", "task_id");
    assert_eq!(returns(&world, "prices/btc"), 1);
    world.scheduled("prices/btc.py", "45 3 * * *", "def run():\n    return 2\n");
    world.wait_for("select schedule = '{45 3 * * *}' from task where name = 'prices/btc'");
    assert_eq!(returns(&world, "prices/btc"), 2);
    assert_eq!(of_task(&world, "prices/btc", "task_id"), task_id);
    assert_eq!(world.value("select count(*) from script_version"), "2");
    world.wait_for("select to_char(next_fire_at at time zone 'UTC', 'HH24:MI') = '03:45' from task_schedule");
    let kinds = "select string_agg(kind, ' ' order by event_id) from task_event where kind in ('created', 'edited')";
    assert_eq!(world.value(kinds), "created edited");
    serve.stop();
}

#[test]
fn a_deleted_file_retires_its_task_and_a_restored_one_revives_it() {
    let world = World::new();
    let serve = serve(&world);
    let path = world.scheduled("gone.py", "30 2 * * *", RUN);
    wait_for_task(&world, "gone");
    let task_id = of_task(&world, "gone", "task_id");
    assert_eq!(returns(&world, "gone"), 1);
    std::fs::remove_file(&path).unwrap();
    world.wait_for("select retired_at is not null from task where name = 'gone'");
    world.wait_for("select next_fire_at is null from task_schedule");
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'gone'"),
        "1",
        "history stays"
    );
    world.scheduled("gone.py", "30 2 * * *", "def run():\n    return 'back'\n");
    wait_for_task(&world, "gone");
    assert_eq!(of_task(&world, "gone", "task_id"), task_id);
    assert_eq!(world.value("select count(*) from task"), "1");
    assert_eq!(returns(&world, "gone"), "back");
    world.wait_for("select next_fire_at is not null from task_schedule");
    serve.stop();
}

#[test]
fn a_renamed_file_keeps_its_task() {
    let world = World::new();
    let serve = serve(&world);
    let path = world.scheduled("before.py", "30 2 * * *", RUN);
    wait_for_task(&world, "before");
    let task_id = of_task(&world, "before", "task_id");
    std::fs::create_dir(world.scripts.join("deep")).unwrap();
    std::fs::rename(path, world.scripts.join("deep/after.py")).unwrap();
    wait_for_task(&world, "deep/after");
    assert_eq!(of_task(&world, "deep/after", "task_id"), task_id);
    assert_eq!(world.value("select count(*) from task"), "1");
    assert_eq!(returns(&world, "deep/after"), 1);
    assert_eq!(
        world.value("select count(*) from task_event where kind = 'renamed'"),
        "1"
    );
    serve.stop();
}

#[test]
fn a_broken_edit_shows_and_the_last_good_version_goes_on() {
    let world = World::new();
    let serve = serve(&world);
    let good = with_header("schedule = \"30 2 * * *\"", RUN);
    for (broken, place) in [
        (
            with_header("schedule = \"30 2 * * *\"", "def run(:\n    return 2"),
            "job.py:5:",
        ),
        (
            with_header("shedule = \"30 2 * * *\"", "def run():\n    return 2"),
            "job.py:3:",
        ),
    ] {
        world.script("job.py", &good);
        world.wait_for("select count(*) = 1 from task where name = 'job' and problem is null");
        world.script("job.py", &broken);
        world.wait_for("select problem is not null from task where name = 'job'");
        let problem = of_task(&world, "job", "problem");
        assert!(problem.starts_with(place), "{problem}");
        assert_eq!(of_task(&world, "job", "schedule::text"), "{\"30 2 * * *\"}");
        assert_eq!(returns(&world, "job"), 1, "the last good code runs");
        assert_eq!(world.value("select next_fire_at is not null from task_schedule"), "t");
    }
    world.script(
        "job.py",
        &with_header("schedule = \"30 2 * * *\"", "def run():\n    return 3"),
    );
    world.wait_for("select problem is null from task where name = 'job'");
    assert_eq!(returns(&world, "job"), 3);
    assert_eq!(
        world.value("select count(*) from task_event where kind = 'healed'"),
        "2"
    );
    assert!(serve.stop().contains("its last good version stays in force"));
}

#[test]
fn a_file_that_was_never_good_is_shown_and_does_not_run_until_it_is_mended() {
    let world = World::new();
    let serve = serve(&world);
    world.scheduled("new.py", "* * * * * *", "def run(:\n");
    world.wait_for("select problem like 'new.py:5:%' from task where name = 'new'");
    assert_eq!(
        world.value("select count(*) from task_schedule where next_fire_at is not null"),
        "0"
    );
    world.scheduled("new.py", "30 2 * * *", RUN);
    world.wait_for("select problem is null from task where name = 'new'");
    world.wait_for("select next_fire_at is not null from task_schedule");
    serve.stop();
}

#[test]
fn names_are_what_people_type_and_some_files_are_no_scripts() {
    let world = World::new();
    for file in [
        "two words.py",
        "v1.2-final.py",
        "Übung/価格.py",
        "deep/er/and-deeper.py",
    ] {
        world.script(file, &format!("{RUN}# {file}"));
    }
    for file in [
        "_helper.py",
        ".hidden.py",
        "__pycache__/x.py",
        ".git/hook.py",
        "notes.txt",
        "__init__.py",
    ] {
        world.script(file, RUN);
    }
    let serve = serve(&world);
    world.wait_for("select count(*) >= 4 from task");
    let_it_look(&world);
    let names = "select string_agg(name, '|' order by name collate \"C\") from task where retired_at is null";
    assert_eq!(world.value(names), "deep/er/and-deeper|two words|v1.2-final|Übung/価格");
    assert_eq!(returns(&world, "two words"), 1);
    assert_eq!(returns(&world, "Übung/価格"), 1);
    serve.stop();
}

#[test]
fn a_file_that_is_still_being_written_is_not_taken() {
    let world = World::new();
    let serve = serve(&world);
    let path = world.scripts.join("half.py");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Every state of the file is valid by itself, and none of them lasts.
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                number += 1;
                std::fs::write(&path, format!("def run():\n    return {number}\n")).unwrap();
            }
        });
        let_it_look(&world);
        let taken = world.value("select count(*) from task where name = 'half'");
        done.store(true, Ordering::Relaxed);
        assert_eq!(taken, "0");
    });
    std::fs::write(&path, "def run():\n    return 'whole'\n").unwrap();
    wait_for_task(&world, "half");
    assert_eq!(returns(&world, "half"), "whole");
    serve.stop();
}

#[test]
fn a_link_to_a_script_and_to_a_directory_of_scripts_work() {
    let world = World::new();
    let elsewhere = world.root.join("release");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("linked.py"), format!("{RUN}# linked")).unwrap();
    symlink(elsewhere.join("linked.py"), world.scripts.join("here.py")).unwrap();
    symlink(&elsewhere, world.scripts.join("current")).unwrap();
    // A link that leads back up ends nowhere.
    symlink(&world.scripts, world.scripts.join("again")).unwrap();
    let serve = serve(&world);
    wait_for_task(&world, "here");
    wait_for_task(&world, "current/linked");
    assert_eq!(returns(&world, "here"), 1);
    assert_eq!(world.value("select count(*) from task"), "2");
    std::fs::write(elsewhere.join("linked.py"), "def run():\n    return 'new'\n").unwrap();
    world.wait_for("select count(distinct script_sha256) = 1 and count(*) = 2 from task join script_version v on v.sha256 = script_sha256 where v.content like '%new%'::bytea");
    assert_eq!(returns(&world, "here"), "new");
    serve.stop();
}

#[test]
fn odd_files_are_told_of_and_others_go_on() {
    let world = World::new();
    symlink("nowhere", world.scripts.join("dangling.py")).unwrap();
    std::fs::create_dir_all(world.scripts.join("folder.py/inner")).unwrap();
    std::fs::write(world.scripts.join("empty.py"), "").unwrap();
    std::fs::File::create(world.scripts.join("large.py"))
        .unwrap()
        .set_len(50 << 20)
        .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        world.scripts.join("pipe.py"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    world.script("twin.py", RUN);
    world.script("twin.pyc", "");
    world.script("fine.py", &format!("{RUN}# fine"));
    let serve = serve(&world);
    wait_for_task(&world, "fine");
    serve.wait_for_log("dangling.py` is left out: the file cannot be read");
    serve.wait_for_log("folder.py` is left out: it is a directory");
    serve.wait_for_log("pipe.py` is left out: it is not a regular file");
    serve.wait_for_log("large.py: it has 50 MiB; a script may have at most 10 MiB");
    serve.wait_for_log("twin.pyc` is left out: `twin.py` makes the task `twin` already");
    let_it_look(&world);
    let names = "select string_agg(name, ' ' order by name) from task where retired_at is null";
    assert_eq!(world.value(names), "fine twin", "an empty file is a library");
    // Said once, however often it looks.
    assert_eq!(serve.log().matches("50 MiB").count(), 1, "{}", serve.log());
    // What was not to be read is read once it can be, without a new date.
    std::fs::File::options()
        .write(true)
        .open(world.scripts.join("large.py"))
        .unwrap()
        .set_len(0)
        .unwrap();
    std::fs::write(world.scripts.join("large.py"), RUN).unwrap();
    wait_for_task(&world, "large");
    serve.stop();
}

#[test]
fn a_file_that_cannot_be_reached_is_not_gone() {
    let world = World::new();
    let serve = serve(&world);
    let path = world.scheduled("kept.py", "30 2 * * *", RUN);
    wait_for_task(&world, "kept");
    let aside = world.root.join("aside.py");
    std::fs::rename(&path, &aside).unwrap();
    symlink("kept.py", &path).unwrap();
    world.wait_for("select problem like 'kept.py: the file cannot be read%' from task where name = 'kept'");
    let_it_look(&world);
    assert_eq!(of_task(&world, "kept", "retired_at is null"), "t");
    assert_eq!(
        world.value(
            "select next_fire_at is not null from task_schedule s join task using (task_id) where name = 'kept'"
        ),
        "t"
    );
    std::fs::rename(&aside, &path).unwrap();
    world.wait_for("select problem is null from task where name = 'kept'");
    serve.stop();
}

#[test]
fn a_scripts_directory_that_vanishes_retires_nothing_and_is_told_of_each_time() {
    let world = World::new();
    let serve = serve(&world);
    world.scheduled("kept.py", "30 2 * * *", RUN);
    wait_for_task(&world, "kept");
    let aside = world.root.join("aside");
    for times in 1..=2 {
        std::fs::rename(&world.scripts, &aside).unwrap();
        let said = "cannot be read; tasks stay as they are";
        crate::support::wait_until("it is told of", || serve.log().matches(said).count() >= times);
        assert_eq!(of_task(&world, "kept", "retired_at is null"), "t");
        assert_eq!(returns(&world, "kept"), 1, "the registered version still runs");
        std::fs::rename(&aside, &world.scripts).unwrap();
        let_it_look(&world);
        assert_eq!(serve.log().matches(said).count(), times);
    }
    assert_eq!(of_task(&world, "kept", "retired_at is null"), "t");
    serve.stop();
}

#[test]
fn a_second_node_says_where_its_directory_differs() {
    let world = World::new();
    world.script("same.py", RUN);
    world.script("other.py", "def run():\n    return 'first'\n");
    world.script("only_first.py", "def run():\n    return 'only first'\n");
    let first = serve(&world);
    wait_for_task(&world, "same");
    wait_for_task(&world, "other");
    wait_for_task(&world, "only_first");
    let (data, scripts) = (world.root.join("data2"), world.root.join("scripts2"));
    std::fs::create_dir(&scripts).unwrap();
    for (file, text) in [
        ("same.py", RUN),
        ("other.py", "def run():\n    return 'second'\n"),
        ("only_second.py", "def run():\n    return 'only second'\n"),
        ("library.py", "VALUE = 1\n"),
    ] {
        std::fs::write(scripts.join(file), text).unwrap();
        // Deployed long ago: a difference is not a deployment that is under way.
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        std::fs::File::options()
            .write(true)
            .open(scripts.join(file))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    }
    let scripts = scripts.display().to_string();
    let variables = [
        ("DROPCRON_SCRIPTS_DIR", scripts.as_str()),
        ("DROPCRON_SCAN_INTERVAL", "100ms"),
    ];
    let second = world.serve_with(&data, &variables);
    second.wait_for_log("other.py` differs from what the node that reads the scripts has registered");
    second.wait_for_log("only_second.py` is not among the scripts of the node that reads them");
    second.wait_for_log("1 registered tasks have no file here, for example `only_first`");
    assert_eq!(world.value("select count(*) from task"), "3", "one node reads for all");
    // The file here stays, the one there changes: that is a difference too.
    world.script("same.py", "def run():\n    return 'changed'\n");
    second.wait_for_log("same.py` differs");
    let log = second.stop();
    assert!(!log.contains("library.py"), "{log}");
    first.stop();
}

#[test]
fn without_python_files_without_a_run_stay_libraries() {
    let world = World::new();
    world.script("library.py", "VALUE = 1\n");
    world.script("task.py", RUN);
    let variables = [("DROPCRON_PYTHON", "/nonexistent"), ("DROPCRON_SCAN_INTERVAL", "100ms")];
    let serve = world.serve_with(&world.data, &variables);
    wait_for_task(&world, "task");
    let_it_look(&world);
    assert_eq!(
        world.value("select string_agg(name, ' ') from task where retired_at is null"),
        "task"
    );
    serve.stop();
}
