//! Faults: what becomes of runs and of the ledger when a process is killed or stopped, the server restarts, or a clock is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dropcron::database::Database;
use dropcron::store::{is_connection_lost, nodes};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Gate, Serve, Stopped, World, wait_until, with_header};

/// A script with a family: a child, and a daemon that has left the session and lost its parent. All mark themselves; the script
/// waits at a gate and returns 42.
fn family(world: &World, gate: &Gate) -> String {
    format!(
        "{}import subprocess, sys\n\
         def run():\n    mark()\n    \
             for code in ['', 'os.setsid()\\nif os.fork(): os._exit(0)\\n']:\n        \
                 code = 'import os\\n' + code + 'mark()\\nimport time\\ntime.sleep(1000)'\n        \
                 subprocess.Popen([sys.executable, '-c', MARK + code])\n    \
             {}\n    return 42\n",
        world.marking() + &format!("MARK = {:?}\n", world.marking()),
        gate.wait()
    )
}

/// A script that marks its start, waits at a gate, and returns 42.
fn gated(world: &World, gate: &Gate) -> String {
    format!(
        "{}def run():\n    mark()\n    {}\n    return 42",
        world.marking(),
        gate.wait()
    )
}

/// Waits until so many processes have marked themselves; the pids of the first ones.
fn pids(world: &World, count: usize) -> Vec<i32> {
    wait_until("processes marked themselves", || world.marks().len() >= count);
    let marks = world.marks();
    marks[..count].iter().map(|mark| mark[2].parse().unwrap()).collect()
}

fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = text.rsplit_once(") ")?;
    Some(rest.split(' ').map(str::to_owned).collect())
}

fn is_alive(pid: i32) -> bool {
    stat(pid).is_some_and(|fields| fields[0] != "Z")
}

fn parent_of(pid: i32) -> i32 {
    stat(pid).unwrap()[1].parse().unwrap()
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

fn wait_until_gone(pids: &[i32]) {
    wait_until("the processes are gone", || !pids.iter().any(|pid| is_alive(*pid)));
}

/// No instant ran twice: each attempt of each run marked itself once.
fn assert_nothing_ran_twice(world: &World) {
    let mut marks: Vec<_> = world
        .marks()
        .into_iter()
        .map(|[task, instant, _]| (task, instant))
        .collect();
    marks.sort();
    let count = marks.len();
    marks.dedup();
    assert_eq!(marks.len(), count, "{marks:?}\n{}", world.run_log());
}

#[test]
fn a_killed_keeper_costs_its_run_and_leaves_nothing_behind() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("family.py", "* * * * * *", &family(&world, &gate));
    let serve = world.serve();
    let family = pids(&world, 3);
    let run_id = world.value("select run_id from run_log where status in ('queued', 'running')");
    kill(parent_of(family[0]));
    wait_until_gone(&family);
    world.wait_for(&format!(
        "select status = 'lost' and reason = 'keeper_gone' and error is not null from run_log where run_id = {run_id}"
    ));
    gate.open();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded' and return_value = '42'");
    serve.stop();
    world.assert_unbroken("family");
}

#[test]
fn a_killed_interpreter_is_a_failure_by_that_signal() {
    let world = World::new();
    let gate = world.gate("gate");
    world.scheduled("family.py", "* * * * * *", &family(&world, &gate));
    let serve = world.serve();
    let family = pids(&world, 3);
    let run_id = world.value("select run_id from run_log where status in ('queued', 'running')");
    // The script is the one whose children the others are, or were.
    kill(family[0]);
    world.wait_for(&format!(
        "select status = 'failed' and reason = 'signal' and signal = 9 and error like '%not by dropcron%' \
           from run_log where run_id = {run_id}"
    ));
    wait_until_gone(&family);
    serve.stop();
    world.assert_unbroken("family");
}

/// Lets every task fire once, in two seconds at most.
fn fire_soon(world: &World) {
    world.sql(
        "update task_schedule set next_fire_at = date_trunc('second', clock_timestamp()) + interval '2 s', \
           next_due_at = date_trunc('second', clock_timestamp()) + interval '2 s', last_fire_at = last_fire_at - interval '1 day'",
    );
}

#[test]
fn a_killed_service_takes_daemons_along_and_what_it_lost_is_tried_again_where_the_task_says_so() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let once = "schedule = \"@at 2100-01-01T00:00\"";
    let body = family(&world, &gate);
    world.script(
        "again.py",
        &with_header(
            &format!("{once}\nretries = {{ max = 2, delay = \"10ms\", on = [\"lost\"] }}"),
            &body,
        ),
    );
    world.script(
        "once.py",
        &with_header(&format!("{once}\nretries = {{ max = 2, delay = \"10ms\" }}"), &body),
    );
    let serve = world.serve();
    world.wait_for("select count(*) = 2 from task where revision = planned_revision");
    fire_soon(&world);
    let families = pids(&world, 6);
    world.wait_for("select count(*) = 2 from run_log where status = 'running'");
    serve.kill();
    wait_until_gone(&families);
    gate.open();
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from run_log where status = 'succeeded'");
    serve.stop();
    let rows = world.sql("select task_name, attempt, status, reason from run_log order by 1, 2");
    let rows: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        rows,
        ["again 1 lost node_gone", "again 2 succeeded -", "once 1 lost node_gone"]
    );
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_server_that_restarts_costs_no_run() {
    let (mut world, mut cluster) = World::with_server();
    let mut gate = world.gate("gate");
    world.scheduled("long.py", "* * * * * *", &gated(&world, &gate));
    world.scheduled("short.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'long' and status = 'running'");
    let run_id = world.value("select run_id from run_log where task_name = 'long' and status = 'running'");
    for signal in [Signal::INT, Signal::QUIT] {
        let file = world.root.join("server/postgres/data/postmaster.pid");
        let pid: i32 = fs::read_to_string(file)
            .unwrap()
            .lines()
            .next()
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // At once, with open sessions; the second time without a checkpoint, as a crash leaves it.
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
        wait_until_gone(&[pid]);
        if signal == Signal::QUIT {
            gate.open();
            wait_until("the run has ended without a server", || {
                let files = fs::read_dir(world.data.join("journal")).unwrap();
                files
                    .filter_map(|file| fs::read_to_string(file.unwrap().path()).ok())
                    .any(|text| text.contains(&format!("\"run_id\":{run_id},")))
            });
        }
        assert!(cluster.revive().unwrap());
        world.reconnect();
        let back_at = world.value("select clock_timestamp()");
        world.wait_for(&format!(
            "select count(*) > 1 from run_log where task_name = 'short' and status = 'succeeded' and scheduled_for > '{back_at}'"
        ));
    }
    world.wait_for(&format!(
        "select status = 'succeeded' and return_value = '42' and not late_report from run_log where run_id = {run_id}"
    ));
    serve.stop();
    assert_eq!(
        world.value("select count(*) from run_log where status in ('lost', 'queued', 'running')"),
        "0"
    );
    world.assert_unbroken("short");
    world.assert_unbroken("long");
    cluster.close().unwrap();
}

#[test]
fn a_node_that_was_stopped_for_longer_than_its_lease_fences_itself() {
    let world = World::new();
    let gate = world.gate("gate");
    world.scheduled("long.py", "* * * * * *", &gated(&world, &gate));
    world.scheduled(
        "short.py",
        "* * * * * *",
        &format!("{}def run(): mark()", world.marking()),
    );
    let lease = [("DROPCRON_LEASE", "2s")];
    let first = world.serve_with(&world.data, &lease);
    world.wait_for("select count(*) > 0 from run_log where task_name = 'long' and status = 'running'");
    let run_id = world.value("select run_id from run_log where task_name = 'long' and status = 'running'");
    wait_until("the script marked itself", || {
        world.marks().iter().any(|mark| mark[0] == "long")
    });
    let script: i32 = world.marks().iter().find(|mark| mark[0] == "long").unwrap()[2]
        .parse()
        .unwrap();
    // It has a claim, and an interpreter that waits for its go.
    world.wait_for(
        "select count(*) > 0 from run_lease where state = 'claimed' and due_at > clock_timestamp() + interval '200 ms'",
    );
    first.signal(Signal::STOP);
    let second = world.serve_with(&world.root.join("other"), &lease);
    world.wait_for("select count(*) = 1 from node where state = 'dead'");
    world.wait_for("select count(*) = 0 from run_lease l join node n using (node_id) where n.state = 'dead'");
    let dead_at = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where task_name = 'short' and status = 'succeeded' and scheduled_for > '{dead_at}'"
    ));
    first.signal(Signal::CONT);
    first.wait_for_log("this node was declared dead while it was out of contact");
    wait_until_gone(&[script]);
    world.wait_for("select count(*) = 2 from node where state = 'live' and lease_until > clock_timestamp()");
    let row = world
        .sql(&format!("select status, reason from run_log where run_id = {run_id}"))
        .remove(0);
    assert_eq!(row, [Some("lost".to_owned()), Some("node_gone".to_owned())]);
    // What ran on it meanwhile belongs to others, and goes on there.
    world.wait_for("select count(*) > 0 from run_log where task_name = 'long' and status = 'running'");
    drop(gate);
    world.sql("update task set enabled = false where name = 'long'");
    first.stop();
    second.stop();
    assert_nothing_ran_twice(&world);
    // What was claimed and not let go was not let go afterwards either: it would have corrected what others made of it.
    assert_eq!(
        world.value("select count(*) from run_log where late_report"),
        "0",
        "{}",
        world.run_log()
    );
    world.assert_unbroken("short");
    world.assert_unbroken("long");
}

/// The library that gives one process another wall clock.
fn faketime() -> PathBuf {
    let directories = fs::read_dir("/usr/lib").unwrap().map(|entry| entry.unwrap().path());
    let candidates = directories.chain([PathBuf::from("/usr/lib"), PathBuf::from("/usr/lib64")]);
    candidates
        .map(|directory| directory.join("faketime/libfaketime.so.1"))
        .find(|path| path.is_file())
        .expect("`libfaketime.so.1` is not there: install `libfaketime`, or run `tools/setup.sh test`")
}

fn set_wall_clock(file: &Path, offset: &str) {
    let temporary = file.with_extension("new");
    fs::write(&temporary, offset).unwrap();
    fs::rename(temporary, file).unwrap();
}

#[test]
fn a_wall_clock_that_jumps_changes_nothing() {
    let world = World::new();
    world.scheduled(
        "steady.py",
        "* * * * * *",
        &format!("{}def run(): mark()", world.marking()),
    );
    let (library, file) = (faketime(), world.root.join("wall-clock"));
    set_wall_clock(&file, "+0");
    let variables = [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        // What is stepped on real machines is the wall clock alone.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DROPCRON_LEASE", "3s"),
    ];
    let serve: Serve = world.serve_with(&world.data, &variables);
    for (offset, is_seen) in [
        ("+3600", "clock_offset_ms < -3000000"),
        ("-3600", "clock_offset_ms > 3000000"),
        ("+0", "abs(clock_offset_ms) < 60000"),
    ] {
        world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
        set_wall_clock(&file, offset);
        world.wait_for(&format!("select {is_seen} from node"));
        let stepped_at = world.value("select clock_timestamp()");
        world.wait_for(&format!(
            "select count(*) > 2 from run_log where status = 'succeeded' and scheduled_for > '{stepped_at}'"
        ));
        assert_eq!(
            world.value("select next_fire_at > last_fire_at from task_schedule"),
            "t"
        );
        let ahead = "select count(*) from run_log where scheduled_for > clock_timestamp() + interval '2 s'";
        assert_eq!(world.value(ahead), "0", "{}", world.run_log());
    }
    serve.stop();
    world.assert_unbroken("steady");
    assert_nothing_ran_twice(&world);
    let odd = "select count(*) from run_log where status <> 'succeeded' or trigger <> 'schedule' \
                  or started_at < due_at or started_at > due_at + interval '10 min'";
    assert_eq!(world.value(odd), "0", "{}", world.run_log());
}

#[test]
fn a_statement_to_a_server_that_hangs_fails_and_its_connection_is_not_used_again() {
    let (world, _cluster) = World::with_server();
    let database = Database::new(world.url.parse().unwrap(), None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut connection = database.connection().await.unwrap();
        nodes::are_there(&mut connection).await.unwrap();
        let stopped = Stopped::server(&world);
        // However long it is: nobody answers.
        connection.be_patient(Some(Duration::from_millis(100)));
        for _ in 0..2 {
            let error = nodes::are_there(&mut connection).await.unwrap_err();
            assert!(is_connection_lost(&error), "{error:?}");
            assert!(error.to_string().contains("did not answer within 100ms"), "{error}");
        }
        drop(stopped);
        drop(connection);
        let mut connection = database.connection().await.unwrap();
        nodes::are_there(&mut connection).await.unwrap();
    });
}

#[test]
fn a_database_that_hung_is_one_that_was_away() {
    let (world, _cluster) = World::with_server();
    let serve = world.serve();
    world.script("first.py", "def run(): pass");
    world.wait_for("select count(*) = 1 from task");
    let stopped = Stopped::server(&world);
    // A pass of the syncer begins, and waits.
    world.script("hint.txt", "");
    // What waits for an answer does not wait for ever, so no part of the service seems to hang.
    serve.wait_for_log("the database did not answer within 30s");
    drop(stopped);
    serve.wait_for_log("the database is back");
    // The time that it was waited for says nothing of the directory.
    world.script("second.py", "def run(): pass");
    world.wait_for("select count(*) = 2 from task");
    assert!(!serve.log().contains("do not go on"), "{}", serve.log());
    serve.stop();
}
