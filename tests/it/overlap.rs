//! Instants that are due while a run of their task is active.

use crate::support::{World, with_header};

/// A task of every second whose runs wait at a gate, under an overlap policy.
fn gated(world: &World, policy: &str, body: &str) {
    let header = format!("schedule = \"* * * * * *\"\n{policy}");
    world.script("busy.py", &with_header(&header, body));
}

#[test]
fn skip_names_the_run_in_the_way() {
    let world = World::new();
    let mut gate = world.gate("gate");
    gated(
        &world,
        "overlap = \"skip\"",
        &format!("def run():\n    {}", gate.wait()),
    );
    let serve = world.serve();
    world.wait_for("select count(*) >= 2 from run_log where status = 'skipped'");
    let rows = world.sql(
        "select distinct s.reason, s.blocking_run_id = r.run_id, s.detail = format('run %s was still running', r.run_id) \
                     or s.detail = format('run %s was still starting', r.run_id), s.started_at is null, s.finished_at is not null \
           from run_log s, run_log r where s.status = 'skipped' and r.status = 'running'",
    );
    assert_eq!(rows.len(), 1, "{}", world.run_log());
    let cells: Vec<&str> = rows[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(cells, ["overlap", "t", "t", "t", "t"]);
    gate.open();
    world.wait_for("select count(*) >= 2 from run_log where status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("busy");
}

#[test]
fn parallel_starts_as_many_as_the_task_allows() {
    let world = World::new();
    let mut gate = world.gate("gate");
    gated(
        &world,
        "overlap = \"parallel\"\nmax_running = 3",
        &format!("def run():\n    {}", gate.wait()),
    );
    let serve = world.serve();
    world.wait_for("select count(*) >= 2 from run_log where status = 'skipped' and reason = 'overlap'");
    world.wait_for("select count(*) = 3 from run_lease");
    assert_eq!(
        world.value("select string_agg(slot::text, ',' order by slot) from run_lease"),
        "1,2,3"
    );
    gate.open();
    world.wait_for("select count(*) >= 4 from run_log where status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("busy");
}

#[test]
fn queue_lets_one_wait_and_skips_the_others() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!("{}def run():\n    mark()\n    {}", world.marking(), gate.wait());
    gated(&world, "overlap = \"queue\"", &body);
    let serve = world.serve();
    world.wait_for("select count(*) >= 2 from run_log where status = 'skipped' and reason = 'overlap'");
    assert_eq!(world.value("select count(*) from run_lease"), "2");
    assert_eq!(world.value("select count(*) from run_log where status = 'queued'"), "1");
    let queued = world.value("select run_id from run_log where status = 'queued'");
    gate.open();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {queued}"
    ));
    serve.stop();
    let beside = "select count(*) from run_log a join run_log b on a.run_id < b.run_id \
                  where b.started_at < a.finished_at and a.started_at < b.finished_at";
    assert_eq!(world.value(beside), "0", "{}", world.run_log());
    world.assert_unbroken("busy");
}

#[test]
fn replace_stops_the_old_run_and_starts_the_new_one() {
    let world = World::new();
    let gate = world.gate("gate");
    gated(
        &world,
        "overlap = \"replace\"",
        &format!("def run():\n    {}", gate.wait()),
    );
    let serve = world.serve();
    world.wait_for("select count(*) >= 3 from run_log where status = 'cancelled' and reason = 'replaced' and started_at is not null");
    assert_eq!(
        world.value("select count(*) from run_log where status in ('skipped', 'failed', 'lost')"),
        "0"
    );
    let beside = "select count(*) from run_log a join run_log b on a.run_id < b.run_id \
                  where b.started_at < a.finished_at and a.started_at < b.started_at";
    assert_eq!(world.value(beside), "0", "{}", world.run_log());
    serve.signal(rustix::process::Signal::TERM);
    serve.wait_for_log("stopping");
    serve.stop();
    world.assert_unbroken("busy");
}

/// Writes leases of a task by hand: each is `scheduled_for, state, slot, serial, exempt`.
fn hold(world: &World, task: &str, rows: &[&str]) {
    for row in rows {
        world.sql(&format!(
            "insert into run_lease (run_id, task_id, attempt, trigger, queue, due_at, scheduled_for, state, slot, serial, exempt, node_id) \
             select nextval('run_id_sequence'), t.task_id, 1, 'catch_up', 'nobody', l.at, l.at, l.state, l.slot, l.serial, l.exempt, \
                    case when l.state <> 'queued' then gen_random_uuid() end \
               from task t, (values ({row})) l(at, state, slot, serial, exempt) where t.name = '{task}'"
        ));
    }
}

#[test]
fn what_is_made_up_for_turns_no_regular_instant_away() {
    let world = World::new();
    gated(&world, "overlap = \"skip\"\nmissed = \"all\"", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    hold(
        &world,
        "busy",
        &["now() - interval '2 h', 'queued', null::smallint, true, false"],
    );
    let since = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 1 from run_log where status = 'succeeded' and scheduled_for > '{since}'"
    ));
    assert_eq!(
        world.value("select count(*) from run_log where reason = 'overlap'"),
        "0",
        "{}",
        world.run_log()
    );
    serve.stop();
}

#[test]
fn replace_leaves_forced_runs_and_what_is_made_up_for() {
    let world = World::new();
    gated(&world, "overlap = \"replace\"", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    serve.stop();
    hold(
        &world,
        "busy",
        &[
            "now() - interval '2 h', 'running', 1::smallint, true, false",
            "now() - interval '3 h', 'queued', null::smallint, true, false",
            "now() - interval '4 h', 'running', null::smallint, false, true",
        ],
    );
    let _serve = world.serve();
    world.wait_for("select count(*) > 0 from run_lease where cancel_reason = 'replaced' or not serial and not exempt");
    world.let_pass(2);
    assert_eq!(
        world.value(
            "select count(*) from run_lease where (serial or exempt) and cancel_requested_at is not null \
                     and queue = 'nobody'"
        ),
        "0"
    );
}

#[test]
fn a_run_by_hand_keeps_to_its_group() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.script(
        "holds.py",
        &with_header(
            "concurrency_group = \"db\"\nschedule = \"* * * * * *\"",
            &format!("def run():\n    {}", gate.wait()),
        ),
    );
    world.script(
        "asks.py",
        &with_header("concurrency_group = \"db\"", "def run(): return 1"),
    );
    let _serve = world.serve();
    world.wait_for("select count(*) = 1 from run_log where status = 'running'");
    let holder = world.value("select run_id from run_log where status = 'running'");
    world.wait_for("select count(*) = 2 from task where revision = planned_revision");
    world.dropcron(&["run", "asks"]);
    assert_eq!(
        world.value("select format('%s %s %s', status, reason, blocking_run_id) from run_log where task_name = 'asks'"),
        format!("skipped overlap {holder}")
    );
    world.dropcron_ok(&["run", "asks", "--force"]);
    gate.open();
}

/// A task that waits at a gate for each of its runs, a service, and a run by hand that is under way in a terminal of its own.
fn held_by_hand(
    world: &World,
    overlap: &str,
) -> (crate::support::Gate, crate::support::Serve, std::process::Child, String) {
    let gate = world.gate("gate");
    let body = format!("def run():\n    {}\n    return 42", gate.wait());
    let header = format!("schedule = \"@at 2100-01-01T00:00\"\noverlap = \"{overlap}\"");
    world.script("asks.py", &with_header(&header, &body));
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from task where revision = planned_revision");
    let mut command = world.command(&["run", "asks"]);
    let first = command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    world.wait_for("select count(*) = 1 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log");
    (gate, serve, first, run_id)
}

fn rows_by_hand(world: &World) -> Vec<String> {
    let query = "select concat_ws(' ', trigger, status, reason, cancel.by) from run_log r \
                 left join lateral (select 'by ' || blocking_run_id) cancel(by) on true order by run_id";
    world
        .sql(query)
        .into_iter()
        .map(|row| row[0].clone().unwrap())
        .collect()
}

#[test]
fn a_run_by_hand_waits_where_its_task_queues_and_only_one_does() {
    let world = World::new();
    let (mut gate, serve, mut first, run_id) = held_by_hand(&world, "queue");
    let second = world.dropcron(&["run", "asks", "--json"]);
    assert!(
        crate::support::text_of(&second).contains("\"status\": \"queued\""),
        "{}",
        crate::support::text_of(&second)
    );
    world.dropcron(&["run", "asks"]);
    assert_eq!(
        rows_by_hand(&world)[1..],
        [
            "manual queued".to_owned(),
            format!("manual skipped overlap by {run_id}")
        ]
    );
    gate.open();
    assert!(first.wait().unwrap().success());
    world.wait_for("select count(*) = 2 from run_log where status = 'succeeded' and return_value = '42'");
    serve.stop();
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_run_by_hand_replaces_where_its_task_says_so() {
    let world = World::new();
    let (mut gate, serve, mut first, run_id) = held_by_hand(&world, "replace");
    world.dropcron(&["run", "asks"]);
    world.wait_for(&format!(
        "select status = 'cancelled' and reason = 'replaced' from run_log where run_id = {run_id}"
    ));
    assert_eq!(first.wait().unwrap().code(), Some(1));
    gate.open();
    world.wait_for("select count(*) = 1 from run_log where status = 'succeeded' and return_value = '42'");
    serve.stop();
    assert_eq!(world.value("select count(*) from run_log"), "2", "{}", world.run_log());
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_task_runs_only_on_nodes_that_serve_its_queue_and_offer_its_tags() {
    let world = World::new();
    world.scheduled("anywhere.py", "* * * * * *", "def run(): pass");
    for (file, header) in [
        ("heavy.py", "queue = \"heavy\""),
        ("graphic.py", "required_tags = [\"gpu\"]"),
    ] {
        let header = format!("schedule = \"* * * * * *\"\noverlap = \"queue\"\n{header}");
        world.script(file, &with_header(&header, "def run(): pass"));
    }
    let plain = world.serve();
    world.wait_for("select count(*) > 2 from run_log where task_name = 'anywhere' and status = 'succeeded'");
    for task in ["heavy", "graphic"] {
        world.wait_for(&format!(
            "select count(*) >= 1 from run_log where task_name = '{task}' and status = 'queued'"
        ));
        let started = format!("select count(*) from run_log where task_name = '{task}' and started_at is not null");
        assert_eq!(world.value(&started), "0");
    }
    let other = world.serve_with(
        &world.root.join("other"),
        &[("DROPCRON_QUEUES", "heavy,default"), ("DROPCRON_TAGS", "gpu,ssd")],
    );
    world.wait_for(
        "select count(distinct task_name) = 2 from run_log where task_name in ('heavy', 'graphic') and status = 'succeeded'",
    );
    let elsewhere = format!(
        "select count(*) from run_log r join node n using (node_id) \
          where task_name in ('heavy', 'graphic') and r.started_at is not null and n.pid <> {}",
        other.pid()
    );
    assert_eq!(world.value(&elsewhere), "0");
    plain.stop();
    other.stop();
    for task in ["anywhere", "heavy", "graphic"] {
        world.assert_unbroken(task);
    }
}
