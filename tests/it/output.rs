//! Output: stored while a run goes on, bounded, followed past what is kept, and readable whatever became of the run.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use dropcron::database::Database;
use dropcron::store::runs::{self, Chunk, Forgotten};
use jiff::Timestamp;

use crate::support::{World, text_of, wait_until, with_header};

/// Limits so small that a test fills them with little.
const SMALL: [(&str, &str); 2] = [("DROPCRON_OUTPUT_HEAD", "4KiB"), ("DROPCRON_OUTPUT_TAIL", "2KiB")];

/// Lines of 20 bytes: `line 000000000000123`.
const SAY: &str = "import os\n\ndef say(first, below):\n    text = ''.join(f'line {n:014}\\n' for n in range(first, below)).encode()\n    \
                   while text:\n        text = text[os.write(1, text):]\n";

fn said(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("line {number:014}\n")).collect()
}

/// A log that is followed.
struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Follower {
    fn new(world: &World, run_id: &str) -> Follower {
        let mut command = world.command(&["logs", run_id, "-f"]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Follower { child, lines }
    }

    /// Reads up to a line; all of them.
    fn read_to(&mut self, last: &str) -> Vec<String> {
        let mut read = Vec::new();
        while read.last().is_none_or(|line| line != last) {
            let line = self
                .lines
                .next()
                .unwrap_or_else(|| panic!("ended before `{last}`"))
                .unwrap();
            read.push(line);
        }
        read
    }

    fn read_to_end(mut self) -> Vec<String> {
        let lines = self.lines.by_ref().map(Result::unwrap).collect();
        assert!(self.child.wait().unwrap().success());
        lines
    }
}

/// Starts a run of a script, in a terminal of its own.
fn start_run(world: &World, file: &str, variables: &[(&str, &str)]) -> (Child, String) {
    let mut command = world.command(&["run", file]);
    command
        .envs(variables.iter().copied())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.spawn().unwrap();
    world.wait_for("select count(*) = 1 from run_log");
    (child, world.value("select run_id from run_log"))
}

/// The parts of a text in which something is left out, once: the head, how many bytes, the tail. Both are of what was said, and
/// nothing is unaccounted for.
fn parts_of(text: &str, said: &str) -> (usize, usize, usize) {
    assert_eq!(text.matches(" bytes of output were left out here]\n").count(), 1);
    let (head, rest) = text.split_once("[dropcron: ").unwrap();
    let (left_out, tail) = rest.split_once(" bytes of output were left out here]\n").unwrap();
    // The marker begins a line, also where the head ends within one.
    let head = if said.starts_with(head) {
        head
    } else {
        head.trim_end_matches('\n')
    };
    assert!(said.starts_with(head), "{head}");
    assert!(said.ends_with(tail), "{tail}");
    let left_out = left_out.parse().unwrap();
    assert_eq!(head.len() + left_out + tail.len(), said.len());
    (head.len(), left_out, tail.len())
}

#[test]
fn a_log_is_followed_past_what_is_kept_and_what_is_kept_stays_bounded() {
    let world = World::new();
    let mut gates: Vec<_> = (0..20).map(|number| world.gate(&format!("gate{number}"))).collect();
    let steps: String = gates
        .iter()
        .enumerate()
        .map(|(number, gate)| format!("    say({}, {})\n    {}\n", number * 50, number * 50 + 50, gate.wait()))
        .collect();
    world.script("wordy.py", &format!("{SAY}\ndef run():\n{steps}"));
    let (mut run, run_id) = start_run(&world, "wordy.py", &SMALL);
    let mut follower = Follower::new(&world, &run_id);
    for (number, gate) in gates.iter_mut().enumerate() {
        let number = u32::try_from(number).unwrap();
        let lines = follower.read_to(&format!("line {:014}", number * 50 + 49));
        let text = lines.join("\n") + "\n";
        assert_eq!(text, said(number * 50..number * 50 + 50), "all of it passes by");
        let stored = world
            .sql("select sum(length(chunk)), count(*) from run_output")
            .remove(0);
        let bytes: usize = stored[0].as_deref().unwrap().parse().unwrap();
        assert!(bytes <= 4096 + 2 * 2048 + 1000, "{stored:?} at {number}");
        gate.open();
    }
    assert!(follower.read_to_end().is_empty());
    assert!(run.wait().unwrap().success());
    // Once more, from the beginning: head, one marker, tail.
    let text = world.dropcron_ok(&["logs", &run_id]);
    let (head, _, tail) = parts_of(&text, &said(0..1000));
    assert!(
        head > 4096 - 20 && head <= 4096 && (2048..4096).contains(&tail),
        "{head} {tail}"
    );
    let json: serde_json::Value = serde_json::from_str(&world.dropcron_ok(&["logs", &run_id, "--json"])).unwrap();
    assert_eq!(json["output"], text.as_str());
}

#[test]
fn a_log_says_where_something_is_missing_while_the_run_goes_on_and_when_its_node_died() {
    let world = World::new();
    let gate = world.gate("gate");
    // In steps that are each written before the next: nothing is overwritten in the ring, and no marker tells of it.
    let steps: Vec<_> = (0..8).map(|number| world.gate(&format!("step{number}"))).collect();
    let body: String = steps
        .iter()
        .enumerate()
        .map(|(number, step)| {
            format!(
                "    say({}, {})\n    {}\n",
                number * 100,
                number * 100 + 100,
                step.wait()
            )
        })
        .collect();
    let body = format!("{SAY}\ndef run():\n{body}    {}\n", gate.wait());
    world.script("wordy.py", &with_header("schedule = \"* * * * * *\"", &body));
    let serve = world.serve_with(&world.data, &SMALL);
    for (number, mut step) in steps.into_iter().enumerate() {
        let last = format!("line {:014}", number * 100 + 99);
        world.wait_for(&format!(
            "select count(*) > 0 from run_output where chunk like '%{last}%'"
        ));
        step.open();
    }
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let check = |text: &str| {
        let (head, tail) = text
            .split_once("[dropcron: output is missing here]\n")
            .unwrap_or_else(|| panic!("nothing says that output is missing: {text}"));
        assert!(said(0..800).starts_with(head) && said(0..800).ends_with(tail), "{text}");
        assert!(head.len() > 4096 - 20 && tail.len() >= 2048, "{text}");
    };
    check(&world.dropcron_ok(&["logs", &run_id]));
    serve.kill();
    let serve = world.serve();
    world.wait_for(&format!("select status = 'lost' from run_log where run_id = {run_id}"));
    check(&world.dropcron_ok(&["logs", &run_id]));
    check(
        &Follower::new(&world, &run_id)
            .read_to_end()
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>(),
    );
    drop(gate);
    serve.stop();
}

#[test]
fn a_flood_leaves_its_beginning_and_its_end() {
    let world = World::new();
    world.script("flood.py", &format!("{SAY}\ndef run():\n    say(0, 500000)\n"));
    let output = world.dropcron(&["run", "flood.py"]);
    assert!(output.status.success(), "{}", text_of(&output));
    let run_id = world.value("select run_id from run_log");
    let text = world.dropcron_ok(&["logs", &run_id]);
    let (head, _, tail) = parts_of(&text, &said(0..500_000));
    assert!(
        head > 1024 * 1024 - 20 && tail > 256 * 1024 - 40 && tail < 2 * 256 * 1024,
        "{head} {tail}"
    );
}

#[test]
fn a_burst_that_fits_is_kept_whole() {
    let world = World::new();
    world.script("burst.py", &with_header("schedule = \"* * * * * *\"", &burst(640, "")));
    let serve = world.serve_with(&world.data, &[("DROPCRON_OUTPUT_HEAD", "64MiB")]);
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    serve.kill();
    let run_id = world.value("select min(run_id) from run_log where status = 'succeeded'");
    let text = world.dropcron_ok(&["logs", &run_id]);
    assert_eq!(text.len(), 640 * 65536);
    assert!(text == format!("{}\n", "x".repeat(63)).repeat(640 * 1024));
}

/// A script that prints so many blocks of 64 KiB, in lines of 64 bytes, as fast as they are taken.
fn burst(blocks: u32, first: &str) -> String {
    format!(
        "import os\n\ndef run():\n    {first}\n    block = (b'x' * 63 + b'\\n') * 1024\n    for n in range({blocks}):\n        \
             view = block\n        while view:\n            view = view[os.write(1, view):]\n    return 42\n"
    )
}

#[test]
fn a_secret_is_masked_behind_the_head_too() {
    let world = World::new();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("API_KEY"), "correct-horse-battery\n").unwrap();
    let body = format!(
        "{SAY}\nimport sys, time\n\
         def run():\n    key = os.environ['API_KEY']\n    say(0, 500)\n    \
             for n in range(20):\n        print('key', key, flush=True)\n        os.write(1, key[:9].encode())\n        \
             os.write(2, key[9:].encode() + b'\\n')\n        time.sleep(0.05)\n    say(0, 50000)\n    \
             os.write(1, (key * 50000).encode())\n    print('x', key)\n"
    );
    world.script("secretive.py", &with_header("secrets = [\"API_KEY\"]", &body));
    let mut command = world.command(&["run", "secretive.py"]);
    let output = command
        .env("DROPCRON_SECRETS_DIR", &secrets)
        .envs(SMALL)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
    let stored = world.value("select string_agg(chunk, '' order by sequence) from run_output");
    for part in ["correct-horse", "horse-battery", "battery", "correct-h"] {
        assert!(!text_of(&output).contains(part), "`{part}` was printed");
        assert!(!stored.contains(part), "`{part}` is stored: {stored}");
    }
    assert!(text_of(&output).contains("key ***\n***\n"));
}

#[test]
fn carriage_returns_and_colours_stay_readable() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "import os\ndef run():\n    os.write(1, b'\\x1b[31mred\\x1b[0m\\n 10%\\r 20%\\r 30%')\n    {}\n    \
             os.write(1, b'\\r 40%\\r100%\\r\\ndone\\r\\n')\n",
        gate.wait()
    );
    world.script("bar.py", &body);
    let (mut run, run_id) = start_run(&world, "bar.py", &[]);
    world.wait_for("select count(*) > 0 from run_output");
    let shown = world.dropcron_ok(&["logs", &run_id]);
    assert_eq!(
        shown, "\u{1b}[31mred\u{1b}[0m\n 30%",
        "the state that a terminal would show"
    );
    gate.open();
    assert!(run.wait().unwrap().success());
    let shown = world.dropcron_ok(&["logs", &run_id]);
    assert_eq!(shown, "\u{1b}[31mred\u{1b}[0m\n 30%\r100%\ndone\n");
}

#[test]
fn two_floods_leave_a_quiet_task_alone() {
    let world = World::new();
    let mut gate = world.gate("gate");
    // Neither has a line's end; one is no text at all.
    for (file, bytes) in [("binary.py", "b'\\xfe\\x00' * 32768"), ("text.py", "b'x' * 65536")] {
        let body = format!(
            "import os, threading\ndef run():\n    stop = threading.Event()\n    \
                 threading.Thread(target=lambda: ({}, stop.set()), daemon=True).start()\n    \
                 block = {bytes}\n    while not stop.is_set():\n        os.write(1, block)\n",
            gate.wait()
        );
        world.script(file, &with_header("schedule = \"* * * * * *\"", &body));
    }
    world.scheduled("quiet.py", "* * * * * *", "def run(): print('quiet')");
    let serve = world.serve();
    world.wait_for("select count(*) = 2 from run_log where task_name <> 'quiet' and status = 'running'");
    let from = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 4 from run_log where task_name = 'quiet' and status = 'succeeded' and scheduled_for > '{from}'"
    ));
    let peak = peak_memory(serve.pid());
    assert!(peak < 150 << 20, "{peak} bytes");
    gate.open();
    world.wait_for("select count(*) >= 2 from run_log where task_name <> 'quiet' and status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("quiet");
    let said = "select count(*) from run_log r where task_name = 'quiet' and status = 'succeeded' \
                   and not exists (select 1 from run_output o where o.run_id = r.run_id and chunk = E'quiet\\n')";
    assert_eq!(world.value(said), "0", "none of its output is missing");
    let stored: u64 = world
        .value("select max(bytes) from (select sum(length(chunk)) as bytes from run_output group by run_id) runs")
        .parse()
        .unwrap();
    assert!(stored < 2 << 20, "{stored}");
}

#[test]
fn much_output_while_the_database_is_away_is_bounded_and_what_is_kept_arrives() {
    let world = World::new();
    let mut gate = world.gate("gate");
    // 10,000 lines a second, for a moment or as long as the machine takes.
    let body = format!(
        "{SAY}\nimport time\ndef run():\n    {}\n    for n in range(30):\n        say(n * 1000, n * 1000 + 1000)\n        \
             time.sleep(0.1)\n    return 42\n",
        gate.wait()
    );
    world.script(
        "wordy.py",
        &with_header("schedule = \"* * * * * *\"\nmissed = \"skip\"", &body),
    );
    let serve = world.serve_with(
        &world.data,
        &[("DROPCRON_OUTPUT_HEAD", "64KiB"), ("DROPCRON_OUTPUT_TAIL", "32KiB")],
    );
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let name = world.value("select current_database()");
    let admin = world.admin_session();
    admin.sql(&format!("alter database {name} allow_connections false"));
    world.cut_connections();
    gate.open();
    wait_until("the run has ended while the database is away", || {
        is_journalled(&world, &run_id)
    });
    assert_eq!(world.value("select count(*) from run_output"), "0");
    serve.wait_for_log("runs cannot be recorded yet; their ends are kept in the journal");
    admin.sql(&format!("alter database {name} allow_connections true"));
    world.wait_for(&format!(
        "select status = 'succeeded' and return_value = '42' and warnings = '{{}}' from run_log where run_id = {run_id}"
    ));
    let text = world.dropcron_ok(&["logs", &run_id]);
    let (head, _, tail) = parts_of(&text, &said(0..30_000));
    assert!(head > 64 * 1024 - 20 && tail > 32 * 1024 - 40, "{head} {tail}");
    let peak = peak_memory(serve.pid());
    assert!(peak < 150 << 20, "{peak} bytes");
    serve.stop();
}

#[test]
fn output_that_is_written_twice_because_an_answer_was_lost_is_there_once() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    let chunk = |sequence, text: &str| {
        let chunk = text.to_owned();
        (7, Chunk { sequence, chunk })
    };
    let at = |second| Timestamp::now() + Duration::from_millis(second);
    let (first, second) = (at(0), at(1));
    let forgotten = Forgotten {
        run_id: 7,
        from: 1,
        below: 3,
        since: first,
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = Database::new(world.url.parse().unwrap(), None).unwrap();
        let mut connection = database.connection().await.unwrap();
        for at in [first, second] {
            runs::ensure_run_output_partition(&mut connection, at).await.unwrap();
        }
        for _ in 0..2 {
            let chunks = [chunk(0, "head "), chunk(1, "old "), chunk(2, "old "), chunk(3, "tail")];
            runs::write_output(&mut connection, &chunks, &[], first).await.unwrap();
        }
        for _ in 0..2 {
            // The marker has the number of a chunk that the same statement removes.
            runs::write_output(&mut connection, &[chunk(1, "marker ")], &[forgotten], second)
                .await
                .unwrap();
            let text: String = runs::read_output(&mut connection, 7, 0, first)
                .await
                .unwrap()
                .into_iter()
                .map(|chunk| chunk.chunk)
                .collect();
            assert_eq!(text, "head marker tail");
        }
    });
}

#[test]
fn what_no_room_was_left_for_while_the_database_was_away_is_named_on_the_row() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = burst(1600, &gate.wait());
    world.script(
        "wordy.py",
        &with_header("schedule = \"* * * * * *\"\nmissed = \"skip\"", &body),
    );
    let serve = world.serve_with(&world.data, &[("DROPCRON_OUTPUT_HEAD", "1GiB")]);
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let name = world.value("select current_database()");
    let admin = world.admin_session();
    admin.sql(&format!("alter database {name} allow_connections false"));
    world.cut_connections();
    gate.open();
    serve.wait_for_log("output is dropped: the database has not taken 64 MiB of output that came before it");
    wait_until("the run has ended while the database is away", || {
        is_journalled(&world, &run_id)
    });
    admin.sql(&format!("alter database {name} allow_connections true"));
    world.wait_for(&format!(
        "select status = 'succeeded' and return_value = '42' and warnings[1] like '% bytes of output were dropped: the database was away%' \
           from run_log where run_id = {run_id}"
    ));
    let peak = peak_memory(serve.pid());
    assert!(peak < 150 << 20, "{peak} bytes");
    serve.stop();
}

/// Whether a run's end is in the journal.
fn is_journalled(world: &World, run_id: &str) -> bool {
    let files = std::fs::read_dir(world.data.join("journal")).unwrap();
    files
        .filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok())
        .any(|text| text.contains(&format!("\"run_id\":{run_id},")))
}

/// The most memory that a process had at once, in bytes.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

#[test]
fn a_size_that_is_none_is_told_what_to_write() {
    let world = World::new();
    for (value, answer) in [
        ("1048576", "`1048576` has no unit: write `1048576B`"),
        ("1M", "unknown unit `M`"),
        ("-1KiB", "a size is zero or more"),
        ("2GiB", "it must be at most `1GiB`"),
    ] {
        let output = world
            .command(&["tasks"])
            .env("DROPCRON_OUTPUT_HEAD", value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{value}");
        let text = text_of(&output);
        assert!(
            text.contains("`DROPCRON_OUTPUT_HEAD` is") && text.contains(answer),
            "{text}"
        );
    }
}
