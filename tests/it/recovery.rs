//! Recovery: what becomes of runs and instants when dropcron, its database or both go away and come back.

use dropcron::database::Database;
use dropcron::store::nodes::{self, NewNode};
use rustix::process::Signal;

use crate::support::{Serve, World, wait_until, with_header};

/// A script that marks its start, waits at a gate, and returns 42.
fn gated(world: &World, gate: &crate::support::Gate) -> String {
    format!(
        "{}def run():\n    mark()\n    {}\n    return 42",
        world.marking(),
        gate.wait()
    )
}

/// Waits until the only script that runs has marked itself; its pid.
fn pid_of_the_script(world: &World) -> String {
    wait_until("a script marked itself", || !world.marks().is_empty());
    world.marks()[0][2].clone()
}

fn wait_until_gone(pid: &str) {
    wait_until("the script is gone", || {
        !std::path::Path::new("/proc").join(pid).join("fd/0").exists()
    });
}

#[test]
fn after_downtime_each_policy_has_its_rows_and_every_instant_is_accounted_for() {
    let world = World::new();
    for (name, policy) in [
        ("latest", "missed = \"latest\""),
        ("none", "missed = \"skip\""),
        (
            "all",
            "missed = \"all\"\ncatch_up_limit = 3\noverlap = \"parallel\"\nmax_running = 4",
        ),
    ] {
        let header = format!("schedule = \"* * * * * *\"\n{policy}");
        world.script(
            &format!("{name}.py"),
            &with_header(&header, "import time\ndef run(): time.sleep(0.3)"),
        );
    }
    let serve = world.serve();
    world.wait_for("select count(distinct task_name) = 3 from run_log where status = 'succeeded'");
    serve.stop();
    let stopped_at = world.value("select clock_timestamp()");
    world.let_pass(6);
    let started_at = world.value("select clock_timestamp()");
    let serve = world.serve();
    world.wait_for(&format!(
        "select count(distinct task_name) = 3 from run_log where status = 'succeeded' and trigger = 'schedule' and scheduled_for > '{started_at}'"
    ));
    world.wait_for("select count(*) = 0 from run_lease where trigger = 'catch_up'");
    serve.stop();
    let rows = |task: &str| {
        world.sql(&format!(
            "select trigger, status, reason, missed_count from run_log where task_name = '{task}' \
                and (status = 'missed' or trigger = 'catch_up') order by scheduled_for"
        ))
    };
    let kinds = |task: &str| -> Vec<String> {
        rows(task)
            .iter()
            .map(|row| {
                row[..3]
                    .iter()
                    .map(|cell| cell.as_deref().unwrap_or("-"))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect()
    };
    assert_eq!(
        kinds("latest"),
        ["schedule missed down", "catch_up succeeded -"],
        "{}",
        world.run_log()
    );
    assert_eq!(kinds("none"), ["schedule missed down"], "{}", world.run_log());
    let three = [
        "schedule missed limit",
        "catch_up succeeded -",
        "catch_up succeeded -",
        "catch_up succeeded -",
    ];
    assert_eq!(kinds("all"), three, "{}", world.run_log());
    for task in ["latest", "none", "all"] {
        world.assert_unbroken(task);
    }
    let fired_while_down = format!(
        "select count(*) from run_log where trigger = 'schedule' and started_at is not null \
            and scheduled_for between '{stopped_at}' and '{started_at}'"
    );
    assert_eq!(world.value(&fired_while_down), "0");
    let beside = "select count(*) from run_log a join run_log b on a.task_id = b.task_id and a.run_id < b.run_id \
                  where a.trigger = 'catch_up' and b.trigger = 'catch_up' and b.started_at < a.finished_at";
    assert_eq!(
        world.value(beside),
        "0",
        "catch-up runs are serial: {}",
        world.run_log()
    );
}

#[test]
fn three_days_down_are_few_rows_also_for_a_task_of_every_second() {
    let world = World::new();
    for (name, policy) in [
        ("all", "missed = \"all\"\ncatch_up_limit = 5"),
        ("graced", "missed = \"all\"\ncatch_up_limit = 10000\ngrace = \"4s\""),
        ("latest", "missed = \"latest\""),
        ("none", "missed = \"skip\""),
    ] {
        let header = format!("schedule = \"* * * * * *\"\noverlap = \"queue\"\n{policy}");
        world.script(&format!("{name}.py"), &with_header(&header, "def run(): pass"));
    }
    let serve = world.serve();
    world.wait_for("select count(*) = 4 from task_schedule where next_fire_at is not null");
    serve.stop();
    // As if nothing had run for three days.
    world.sql(
        "delete from run_log; delete from run_lease; \
         update task_schedule set next_fire_at = next_fire_at - interval '3 days', \
                next_due_at = next_due_at - interval '3 days', last_fire_at = last_fire_at - interval '3 days'",
    );
    let serve = world.serve();
    world.wait_for(
        "select count(distinct task_name) = 4 from run_log where trigger = 'schedule' and status = 'succeeded'",
    );
    world.wait_for("select count(*) = 0 from run_lease where trigger = 'catch_up'");
    serve.stop();
    let count = |task: &str, condition: &str| -> i64 {
        let query = format!("select count(*) from run_log where task_name = '{task}' and {condition}");
        world.value(&query).parse().unwrap()
    };
    for task in ["all", "graced", "latest", "none"] {
        world.assert_unbroken(task);
        let longest =
            "status = 'missed' and missed_count > 250000 and missed_until > clock_timestamp() - interval '10 min'";
        assert_eq!(
            count(task, longest),
            1,
            "{task}: one row for three days\n{}",
            world.run_log()
        );
        assert!(count(task, "status = 'missed'") <= 3, "{task}\n{}", world.run_log());
    }
    assert_eq!(count("all", "trigger = 'catch_up' and status = 'succeeded'"), 5);
    assert_eq!(count("latest", "trigger = 'catch_up' and status = 'succeeded'"), 1);
    assert_eq!(count("none", "trigger = 'catch_up'"), 0);
    assert!(
        count("graced", "trigger = 'catch_up'") <= 5,
        "no older than its grace\n{}",
        world.run_log()
    );
}

#[test]
fn a_killed_service_takes_its_scripts_along_and_its_successor_settles_them_at_once() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("steady.py", "* * * * * *", &gated(&world, &gate));
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let pid = pid_of_the_script(&world);
    serve.kill();
    wait_until_gone(&pid);
    gate.open();
    world.let_pass(3);
    let serve = world.serve();
    world.wait_for(&format!(
        "select status = 'lost' and reason = 'node_gone' from run_log where run_id = {run_id}"
    ));
    let at_once = format!(
        "select r.finished_at < n.lease_until and n.state = 'dead' from run_log r join node n using (node_id) where run_id = {run_id}"
    );
    assert_eq!(world.value(&at_once), "t", "its lease need not run out first");
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded' and trigger = 'schedule'");
    assert_eq!(world.value("select failures_total from task_stat"), "1");
    serve.stop();
    // What was due while nobody was there was missed, however young the dead node's heartbeat was.
    let late = "select count(*) from run_log, node n where n.state = 'stopped' and trigger = 'schedule' and status <> 'missed' \
                   and scheduled_for < n.connected_since and queued_at > n.connected_since";
    assert_eq!(world.value(late), "0", "{}", world.run_log());
    assert_eq!(
        world.value("select count(*) > 0 from run_log where status = 'missed' and reason = 'down'"),
        "t"
    );
    world.assert_unbroken("steady");
}

#[test]
fn a_dead_predecessor_on_the_data_directory_attended_nothing_since_its_death() {
    let world = World::new();
    let serve = world.serve();
    serve.kill();
    let row = world
        .sql("select host, data_directory_id, lease_until > clock_timestamp() + interval '10 s' from node")
        .remove(0);
    assert_eq!(row[2].as_deref(), Some("t"), "its lease still runs");
    let successor = |data_directory_id| NewNode {
        python: None,
        node_id: uuid::Uuid::now_v7(),
        kind: "serve",
        host: row[0].clone().unwrap(),
        pid: 1,
        data_directory_id,
        queues: Vec::new(),
        tags: Vec::new(),
        max_running: 1,
    };
    let lease = std::time::Duration::from_secs(30);
    let same_directory = successor(row[1].as_deref().unwrap().parse().unwrap());
    let other_directory = successor(uuid::Uuid::now_v7());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = Database::new(world.url.parse().unwrap(), None).unwrap();
        let mut connection = database.connection().await.unwrap();
        let other = nodes::register(&mut connection, &other_directory, lease).await.unwrap();
        assert!(
            other.attended_since < other.connected_since,
            "for all that others know it lives"
        );
        nodes::stop(&mut connection, other_directory.node_id).await.unwrap();
        let same = nodes::register(&mut connection, &same_directory, lease).await.unwrap();
        assert_eq!(same.attended_since, same.connected_since);
        let beat = nodes::heartbeat(
            &mut connection,
            nodes::Heartbeat {
                node_id: same_directory.node_id,
                lease,
                state: "live",
                clock_offset_ms: 0.0,
                clock_error_ms: 0.0,
                stalled_loops: &[],
            },
        )
        .await
        .unwrap();
        assert_eq!(beat.unwrap().attended_since, same.connected_since);
    });
}

/// Lets the only run end while nobody can write the run log, and comes back once its end is in the journal.
fn end_unwritten(world: &World, gate: &mut crate::support::Gate) -> (String, crate::support::Session) {
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let locker = world.session();
    locker.sql("begin; lock table run_log in share mode");
    gate.open();
    let journalled = || {
        let files = std::fs::read_dir(world.data.join("journal")).unwrap();
        files
            .filter_map(|file| std::fs::read_to_string(file.unwrap().path()).ok())
            .any(|text| text.contains(&format!("\"run_id\":{run_id},")))
    };
    wait_until("the end is in the journal", journalled);
    (run_id, locker)
}

#[test]
fn an_end_that_only_the_journal_has_is_written_by_the_next_process() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("steady.py", "* * * * * *", &gated(&world, &gate));
    let serve = world.serve();
    let (run_id, locker) = end_unwritten(&world, &mut gate);
    serve.kill();
    locker.sql("rollback");
    assert_eq!(
        world.value(&format!("select status from run_log where run_id = {run_id}")),
        "running"
    );
    let serve = world.serve();
    world.wait_for(&format!(
        "select status = 'succeeded' and return_value = '42' and not late_report from run_log where run_id = {run_id}"
    ));
    serve.stop();
    assert_eq!(
        world.value("select count(*) from run_log where status = 'lost' and started_at is not null"),
        "0"
    );
}

#[test]
fn an_end_that_had_to_wait_for_a_lock_keeps_its_value() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("steady.py", "* * * * * *", &gated(&world, &gate));
    let serve = world.serve();
    let (run_id, locker) = end_unwritten(&world, &mut gate);
    // Three waits: the end, the same end again, and what would be next if the end itself were blamed.
    let mut waits = std::collections::BTreeSet::new();
    wait_until("the end was tried again and again", || {
        let waiting = "select query_start from pg_stat_activity where datname = current_database() \
                          and wait_event_type = 'Lock' and query like '%Ends runs%'";
        waits.extend(world.sql(waiting));
        waits.len() >= 3
    });
    locker.sql("rollback");
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {run_id}"
    ));
    let row = world
        .sql(&format!(
            "select return_value, warnings from run_log where run_id = {run_id}"
        ))
        .remove(0);
    assert_eq!(row, [Some("42".to_owned()), Some("{}".to_owned())]);
    serve.stop();
}

#[test]
fn a_database_that_goes_away_costs_no_run_that_is_running() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.script(
        "long.py",
        &with_header("schedule = \"* * * * * *\"", &gated(&world, &gate)),
    );
    world.scheduled("short.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'long' and status = 'running'");
    let run_id = world.value("select run_id from run_log where task_name = 'long' and status = 'running'");
    let name = world.value("select current_database()");
    let admin = world.admin_session();
    admin.sql(&format!("alter database {name} allow_connections false"));
    for _ in 0..3 {
        world.cut_connections();
        world.let_pass(1);
    }
    gate.open();
    world.let_pass(1);
    assert_eq!(
        world.value(&format!("select status from run_log where run_id = {run_id}")),
        "running"
    );
    admin.sql(&format!("alter database {name} allow_connections true"));
    world.wait_for(&format!(
        "select status = 'succeeded' and return_value = '42' from run_log where run_id = {run_id}"
    ));
    let back_at = world.value("select clock_timestamp()");
    world.wait_for(&format!("select count(*) > 1 from run_log where task_name = 'short' and status = 'succeeded' and scheduled_for > '{back_at}'"));
    // Cut again and again in the middle of its work, it forgets no claim.
    for _ in 0..5 {
        world.cut_connections();
        world.wait_for(
            "select count(*) > 2 from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()",
        );
    }
    let cut_at = world.value("select clock_timestamp()");
    world.wait_for(&format!("select count(*) > 1 from run_log where task_name = 'short' and status = 'succeeded' and scheduled_for > '{cut_at}'"));
    serve.stop();
    assert_eq!(
        world.value("select count(*) from run_log where status in ('lost', 'queued', 'running')"),
        "0",
        "{}",
        world.run_log()
    );
    world.assert_unbroken("short");
    world.assert_unbroken("long");
}

#[test]
fn a_claim_whose_answer_was_lost_is_given_back_and_run() {
    let world = World::new();
    world.scheduled("steady.py", "0 0 1 1 *", "def run(): return 7");
    let serve = world.serve();
    world.wait_for("select revision = planned_revision from task");
    // What a claim leaves behind whose connection breaks after the commit and before the answer.
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, node_id, queued_at, due_at) \
           select nextval('run_id_sequence'), task_id, name, date_trunc('second', now()), 'schedule', 'queued', node_id, now(), now() from task, node; \
         insert into run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, node_id, slot, prior_fire_at) \
           select run_id, task_id, scheduled_for, 1, 'schedule', 'claimed', due_at, 'default', node_id, 1, last_fire_at \
             from run_log join task_schedule using (task_id)",
    );
    world.wait_for("select status = 'succeeded' and return_value = '7' from run_log");
    serve.stop();
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn the_runs_of_a_dead_node_are_left_alone_until_its_lease_has_ended() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("steady.py", "* * * * * *", &gated(&world, &gate));
    let lease = [("DROPCRON_LEASE", "3s")];
    let first = world.serve_with(&world.data, &lease);
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let second = world.serve_with(&world.root.join("other"), &lease);
    let run_id = world.value("select run_id from run_log where status = 'running'");
    let pid = pid_of_the_script(&world);
    first.kill();
    wait_until_gone(&pid);
    gate.open();
    world.wait_for(&format!(
        "select status = 'lost' and reason = 'node_gone' from run_log where run_id = {run_id}"
    ));
    let after = format!(
        "select r.finished_at >= n.lease_until and n.state = 'dead' and n.lease_until - n.heartbeat_at between '3 s' and '4 s' \
           from run_log r join node n using (node_id) where run_id = {run_id}"
    );
    assert_eq!(world.value(&after), "t");
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded'");
    second.stop();
    world.assert_unbroken("steady");
}

fn start_draining(serve: &Serve) {
    serve.signal(Signal::TERM);
    serve.wait_for_log("stopping");
}

#[test]
fn a_service_that_leaves_lets_its_scripts_finish_and_gives_its_claims_back() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = gated(&world, &gate);
    world.script(
        "long.py",
        &with_header("schedule = \"* * * * * *\"\nmissed = \"skip\"", &body),
    );
    world.scheduled("short.py", "* * * * * *", "def run(): pass");
    let mut serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'long' and status = 'running'");
    world.wait_for("select count(*) > 0 from run_lease join task using (task_id) where name = 'short' and state = 'claimed' and due_at > clock_timestamp() + interval '300 ms'");
    start_draining(&serve);
    let draining_at = world.value("select clock_timestamp()");
    world.wait_for("select state = 'draining' from node");
    world.let_pass(2);
    gate.open();
    assert_eq!(serve.wait(), Some(0));
    assert_eq!(
        world.value("select string_agg(status, ',') from run_log where task_name = 'long' and started_at is not null"),
        "succeeded"
    );
    assert_eq!(world.value("select string_agg(state, ',') from node"), "stopped");
    assert_eq!(
        world.value("select count(*) from run_lease"),
        "0",
        "{}",
        world.run_log()
    );
    // Nothing was let go once the claims were given back.
    let new = format!("select count(*) from run_log where started_at > '{draining_at}'");
    assert_eq!(world.value(&new), "0", "{}", world.run_log());
    let rewound = "select next_fire_at = (select max(scheduled_for) + interval '1 s' from run_log r where r.task_id = t.task_id) \
                     from task_schedule s join task t using (task_id) where name = 'short'";
    assert_eq!(world.value(rewound), "t", "{}", world.run_log());
}

#[test]
fn beyond_the_grace_scripts_are_stopped() {
    let world = World::new();
    let gate = world.gate("gate");
    world.scheduled("long.py", "* * * * * *", &gated(&world, &gate));
    let mut serve = world.serve_with(&world.data, &[("DROPCRON_SHUTDOWN_GRACE", "1s")]);
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    start_draining(&serve);
    assert_eq!(serve.wait(), Some(0));
    let row = world
        .sql("select status, reason from run_log where started_at is not null")
        .remove(0);
    assert_eq!(row, [Some("cancelled".to_owned()), Some("shutdown".to_owned())]);
    assert_eq!(world.value("select string_agg(state, ',') from node"), "stopped");
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_second_signal_hurries_and_a_cancel_still_counts_while_draining() {
    let world = World::new();
    let gate = world.gate("gate");
    world.scheduled("first.py", "* * * * * *", &gated(&world, &gate));
    world.scheduled("second.py", "* * * * * *", &gated(&world, &gate));
    let mut serve = world.serve_with(&world.data, &[("DROPCRON_SHUTDOWN_GRACE", "1h")]);
    world.wait_for("select count(*) = 2 from run_log where status = 'running'");
    start_draining(&serve);
    let run_id = world.value("select run_id from run_log where task_name = 'first' and status = 'running'");
    world.dropcron_ok(&["cancel", &run_id]);
    world.wait_for(&format!(
        "select status = 'cancelled' and reason = 'requested' from run_log where run_id = {run_id}"
    ));
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'second' and status = 'running'"),
        "1"
    );
    serve.signal(Signal::TERM);
    assert_eq!(serve.wait(), Some(0));
    let row = world
        .sql("select status, reason from run_log where task_name = 'second' and started_at is not null")
        .remove(0);
    assert_eq!(row, [Some("cancelled".to_owned()), Some("shutdown".to_owned())]);
}

#[test]
fn a_cursor_that_another_plan_has_placed_is_not_moved() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): return 7");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    // What a plan looks like whose commit a firing node has not seen yet.
    world.sql("update task_schedule set planned_revision = planned_revision + 1");
    let fire_at = world.value("select next_fire_at from task_schedule");
    world.let_pass(3);
    assert_eq!(world.value("select next_fire_at from task_schedule"), fire_at);
    world.sql("update task_schedule set planned_revision = planned_revision - 1");
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("steady");
}
