//! `dropcron database upgrade`. A move between two versions needs the programs of both, which `tests/packages` installs; here is
//! what one version can show.

use std::path::PathBuf;

use crate::support::{World, text_of};

fn upgrade(world: &World, arguments: &[&str]) -> (Option<i32>, String) {
    let arguments = [&["database", "upgrade"], arguments].concat();
    let output = world.command_without_database(&arguments).output().unwrap();
    (output.status.code(), text_of(&output))
}

/// Directories of server programs, oldest version first.
fn versions() -> Vec<(u32, PathBuf)> {
    let entries = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("pg_upgrade").is_file())
        .collect();
    found.sort();
    found
}

#[test]
fn without_a_private_postgres_there_is_nothing_to_upgrade() {
    let world = World::new();
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("nothing is to be upgraded"), "{said}");
    assert!(!world.data.join("postgres/data").exists());
}

#[test]
fn a_postgres_of_somebody_else_is_left_alone() {
    let world = World::new();
    let output = world.dropcron(&["database", "upgrade"]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
}

#[test]
fn the_newest_version_stays_as_it_is() {
    let world = World::new();
    let tasks = world.command_without_database(&["tasks"]).output().unwrap();
    assert!(tasks.status.success(), "{}", text_of(&tasks));
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("already"), "{said}");
    let (code, said) = upgrade(&world, &["--to", "99"]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("99") && said.contains("not installed"), "{said}");
}

#[test]
fn statistics_that_could_not_be_gathered_are_gathered_by_the_next_call() {
    let world = World::new();
    let psql = |statement: &str| {
        let output = world
            .command_without_database(&["psql", "-qXAtc", statement])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // ANALYZE looks at what an index is made of.
    psql(
        "create function picky(integer) returns integer immutable language plpgsql as 'begin return $1; end'; \
         create table stubborn as select * from generate_series(1, 9) number; create index on stubborn (picky(number)); \
         create or replace function picky(integer) returns integer immutable language plpgsql as 'begin raise ''not now''; end'",
    );
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("already") && said.contains("the statistics are not gathered"),
        "{said}"
    );
    psql(
        "create or replace function picky(integer) returns integer immutable language plpgsql as 'begin return $1; end'",
    );
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        psql("select count(*) > 0 from pg_stats where tablename = 'stubborn'").trim(),
        "t"
    );
}

#[test]
fn a_service_that_runs_is_in_the_way() {
    let world = World::new();
    let serve = world.serve_without_database(&[]);
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("already runs"), "{said}");
    serve.stop();
}

#[test]
fn a_command_that_uses_it_is_in_the_way() {
    let world = World::new();
    let mut psql = world.command_without_database(&["psql", "-qXAt", "-f", "-"]);
    let mut psql = psql
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, output) = (psql.stdin.take().unwrap(), psql.stdout.take().unwrap());
    std::io::Write::write_all(&mut input, b"select 'here';\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).unwrap();
    assert_eq!(line.trim(), "here");
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("is in use"), "{said}");
    drop(input);
    psql.wait().unwrap();
}

#[test]
fn a_cluster_moves_to_a_newer_version_with_all_that_is_in_it() {
    let versions = versions();
    let [(old, bin), .., (new, _)] = versions.as_slice() else {
        println!(
            "skipped: two versions of Postgres with pg_upgrade are needed, and there is {}",
            versions.len()
        );
        return;
    };
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    // A cluster takes the newest version there is: the older one is all that this command sees.
    let settings = dropcron::database::ClusterSettings {
        search_path: Some(bin.clone().into()),
        distribution_directories: Vec::new(),
        ..dropcron::database::ClusterSettings::new(&world.data)
    };
    let cluster = dropcron::database::Cluster::open(&settings).unwrap();
    assert_eq!(cluster.version().unwrap(), *old);
    let run = world.command_without_database(&["run", "one.py"]).output().unwrap();
    assert!(run.status.success(), "{}", text_of(&run));
    cluster.close().unwrap();
    let (code, said) = upgrade(&world, &[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("is of version {new} now")), "{said}");
    let version = std::fs::read_to_string(world.data.join("postgres/data/PG_VERSION")).unwrap();
    assert_eq!(version.trim(), new.to_string());
    assert!(world.data.join(format!("postgres/data.old-{old}/PG_VERSION")).exists());
    let runs = world.command_without_database(&["runs"]).output().unwrap();
    assert!(text_of(&runs).contains("succeeded"), "{}", text_of(&runs));
    let (code, said) = upgrade(&world, &["--to", &old.to_string()]);
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains("an older version cannot use it"), "{said}");
}
