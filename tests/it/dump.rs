//! `dropcron database dump` and `restore`, with the real programs of Postgres.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::{World, text_of};

/// A database on another private Postgres.
fn elsewhere(world: &World, arguments: &[&str]) -> Command {
    let mut command = world.command_without_database(arguments);
    command.env("DROPCRON_DATA_DIR", world.root.join("elsewhere"));
    command
}

fn ok(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// A dump of a private Postgres with one run in it, which does not run.
fn dumped(world: &World) -> String {
    world.script("one.py", "def run():\n    print('said')\n    return {'value': 41.5}");
    ok(&mut world.command_without_database(&["run", "one.py"]));
    let file = world.root.join("a.dump").display().to_string();
    ok(&mut world.command_without_database(&["database", "dump", &file]));
    assert!(!world.data.join("postgres/data/postmaster.pid").exists());
    file
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().unwrap().permissions().mode() & 0o777
}

#[test]
fn what_was_dumped_is_there_after_a_restore() {
    let world = World::new();
    let file = dumped(&world);
    assert_eq!(mode(Path::new(&file)), 0o600);
    ok(&mut elsewhere(&world, &["database", "restore", &file]));
    assert!(ok(&mut elsewhere(&world, &["runs"])).contains("succeeded"));
    let query = "select (select return_value from dropcron_report.runs), \
                 (select count(*) from run_output), (select count(*) from script_version), \
                 has_table_privilege('dropcron_reader', 'dropcron_report.runs', 'select')";
    assert_eq!(
        ok(&mut elsewhere(&world, &["psql", "-qXAtc", query])).trim(),
        "{\"value\": 41.5}|1|1|t"
    );
    // What was restored goes on.
    ok(&mut elsewhere(&world, &["run", "one.py"]));
}

#[test]
fn a_dump_goes_through_a_pipe_into_a_database_of_somebody_else() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    ok(&mut world.command_without_database(&["run", "one.py"]));
    // The schemas of a database in which nothing has happened make room.
    world.dropcron_ok(&["tasks"]);
    let mut dump = world.command_without_database(&["database", "dump", "-"]);
    let mut dump = dump.stdout(Stdio::piped()).spawn().unwrap();
    let mut restore = world.command(&["database", "restore", "-"]);
    let output = restore.stdin(dump.stdout.take().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(dump.wait().unwrap().success());
    assert_eq!(
        world.value("select count(*) from run_log where status = 'succeeded'"),
        "1"
    );
}

fn refused(output: &Output, code: i32, words: &str) {
    let said = text_of(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(words), "{said}");
}

#[test]
fn a_database_in_use_is_left_as_it_is() {
    let world = World::new();
    let file = dumped(&world);
    let restore = |world: &World| {
        world
            .command_without_database(&["database", "restore", &file])
            .output()
            .unwrap()
    };
    refused(&restore(&world), 1, "is restored into an empty one");
    assert!(ok(&mut world.command_without_database(&["runs"])).contains("succeeded"));
    let serve = world.serve_without_database(&[]);
    refused(&restore(&world), 1, "already runs");
    serve.stop();
    // A service of another data directory on the same database.
    let shared = World::new();
    let _serve = shared.serve_with(&shared.root.join("elsewhere"), &[]);
    let output = shared.dropcron(&["database", "restore", &file]);
    refused(&output, 1, "is restored into an empty one");
}

#[test]
fn a_dump_that_fails_leaves_no_file() {
    let world = World::new();
    let file = world.root.join("a.dump");
    let arguments = ["database", "dump", file.to_str().unwrap()];
    let nothing_yet = world.command_without_database(&arguments).output().unwrap();
    refused(&nothing_yet, 3, "there is no private Postgres");
    let mut away = world.command(&arguments);
    away.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none");
    refused(&away.output().unwrap(), 1, "nothing was written");
    let output = world.dropcron(&["database", "dump", "/nonexistent/a.dump"]);
    refused(&output, 2, "`/nonexistent/a.dump` cannot be written");
    let left: Vec<_> = std::fs::read_dir(&world.root)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        left.iter().all(|name| !name.to_string_lossy().contains("dump")),
        "{left:?}"
    );
    std::fs::write(&file, "no dump").unwrap();
    let output = world.dropcron(&["database", "restore", file.to_str().unwrap()]);
    refused(&output, 1, "nothing of the dump was kept");
    refused(
        &world.dropcron(&["database", "restore", "/nonexistent"]),
        3,
        "cannot be read",
    );
}
