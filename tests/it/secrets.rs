//! Secrets: given only to tasks that name them, masked wherever what they say is stored or shown.

use crate::support::{World, text_of, with_header};

const SECRET: &str = "correct-horse-battery";

fn world_with_secret(body: &str) -> World {
    let world = World::new();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("API_KEY"), format!("{SECRET}\n")).unwrap();
    world.script("task.py", &with_header("secrets = [\"API_KEY\"]", body));
    world
}

fn run(world: &World) -> std::process::Output {
    let mut command = world.command(&["run", "task.py", "--json"]);
    command
        .env("DROPCRON_SECRETS_DIR", world.root.join("secrets"))
        .output()
        .unwrap()
}

#[test]
fn a_secret_is_given_and_masked_in_output_error_and_value() {
    let body = "import base64, os, sys\n\
                def run():\n\
                \x20   key = os.environ['API_KEY']\n\
                \x20   print('key', key, base64.b64encode(b'user:' + key.encode()).decode())\n\
                \x20   sys.stdout.write(key[:9]); sys.stdout.flush()\n\
                \x20   os.write(2, key[9:].encode() + b'\\n')\n\
                \x20   assert len(key) == 21\n\
                \x20   return {'key': key}\n";
    let world = world_with_secret(body);
    let output = run(&world);
    assert!(output.status.success(), "{}", text_of(&output));
    assert!(!text_of(&output).contains(SECRET), "{}", text_of(&output));
    assert_eq!(world.value("select return_value->>'key' from run_log"), "***");
    let stored = world.value("select string_agg(chunk, '' order by sequence) from run_output");
    let lines: Vec<&str> = stored.lines().collect();
    assert!(
        lines[0].starts_with("key *** ") && lines[0].contains("***") && !lines[0].contains("aG9yc2Ut"),
        "{stored}"
    );
    assert_eq!(lines[1], "***", "split over two writes: {stored}");
}

#[test]
fn a_secret_with_quotes_is_masked_in_a_value() {
    let body = "import json, os\ndef run():\n    key = os.environ['API_KEY']\n    print(json.dumps([key]))\n    \
                return {'key': key, 'two': [key + '!', 1]}\n";
    let world = world_with_secret(body);
    std::fs::write(
        world.root.join("secrets/API_KEY"),
        "a\"b\\cü🔑\tlong\nsecond \"line\"\n",
    )
    .unwrap();
    let output = run(&world);
    assert!(output.status.success(), "{}", text_of(&output));
    assert_eq!(
        world.value("select return_value::text from run_log"),
        r#"{"key": "***", "two": ["***!", 1]}"#
    );
    assert_eq!(
        world.value("select string_agg(chunk, '' order by sequence) from run_output"),
        "[\"***\"]\n"
    );
}

#[test]
fn an_error_that_quotes_a_secret_is_masked() {
    let world = world_with_secret("import os\ndef run():\n    raise ValueError('bad key ' + os.environ['API_KEY'])\n");
    let output = run(&world);
    assert_eq!(output.status.code(), Some(1));
    assert!(!text_of(&output).contains(SECRET));
    assert_eq!(world.value("select error from run_log"), "bad key ***");
    assert!(!world.value("select traceback from run_log").contains(SECRET));
}

#[test]
fn a_secret_that_is_missing_fails_the_run_before_it_starts() {
    let world = world_with_secret("def run():\n    open('ran', 'w')\n");
    std::fs::remove_file(world.root.join("secrets/API_KEY")).unwrap();
    assert_eq!(run(&world).status.code(), Some(1));
    let row = &world.sql("select status, reason, started_at is null, error from run_log")[0];
    let row: Vec<&str> = row.iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(row[..3], ["failed", "secret_missing", "t"]);
    assert!(row[3].contains("`API_KEY` is missing"), "{}", row[3]);
    assert!(!world.scripts.join("ran").exists());
    std::fs::create_dir(world.root.join("secrets/API_KEY")).unwrap();
    run(&world);
    assert!(
        world.holds("select bool_or(error like '%is a directory%') from run_log"),
        "{}",
        world.run_log()
    );
}

#[test]
fn a_task_that_does_not_name_a_secret_does_not_get_it() {
    let world = world_with_secret("def run():\n    pass\n");
    world.script("other.py", "import os\ndef run():\n    return sorted(os.environ)\n");
    let mut command = world.command(&["run", "other.py"]);
    let output = command
        .env("DROPCRON_SECRETS_DIR", world.root.join("secrets"))
        .env("API_KEY", "from outside")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let names = world.value("select return_value::text from run_log");
    assert!(
        names.contains("DROPCRON_RUN_DIR") && names.contains("TMPDIR"),
        "{names}"
    );
    assert_eq!(
        std::fs::read_dir(world.data.join("runs")).unwrap().count(),
        0,
        "a run's directory goes with it"
    );
    assert!(!names.contains("API_KEY") && names.contains("DROPCRON_TASK"), "{names}");
}
