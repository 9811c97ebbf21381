//! Firing and recording: each due instant once, whatever happens around it.

use std::collections::BTreeSet;

use dropcron::database::Database;
use dropcron::store::runs;
use jiff::Timestamp;

use crate::support::{World, with_header};

#[test]
fn a_dropped_script_fires_and_its_row_says_what_it_returned() {
    let world = World::new();
    let serve = world.serve();
    world.scheduled(
        "answer.py",
        "* * * * * *",
        "def run():\n    print('hello')\n    return {'answer': 42}",
    );
    world.wait_for("select count(*) >= 2 from run_log where status = 'succeeded'");
    let row = &world.sql("select task_name, trigger, return_value->>'answer', started_at >= scheduled_for from run_log where status = 'succeeded' limit 1")[0];
    assert_eq!(
        row.iter().map(|cell| cell.as_deref().unwrap()).collect::<Vec<_>>(),
        ["answer", "schedule", "42", "t"]
    );
    let run_id = world.value("select min(run_id) from run_log where status = 'succeeded'");
    assert_eq!(world.dropcron_ok(&["logs", &run_id]), "hello\n");
    serve.stop();
}

#[test]
fn two_nodes_share_the_work_and_fire_no_instant_twice() {
    let world = World::new();
    let body = world.marking() + "def run():\n    mark()";
    for number in 0..8 {
        world.scheduled(&format!("task{number}.py"), "* * * * * *", &body);
    }
    let first = world.serve();
    let second = world.serve_with(&world.root.join("other"), &[]);
    world.wait_for("select count(distinct node_id) = 2 from run_log where status = 'succeeded'");
    world.wait_for(
        "select count(distinct scheduled_for) >= 6 and count(*) >= 40 from run_log where status = 'succeeded'",
    );
    first.stop();
    second.stop();
    let marks = world.marks();
    let marked: BTreeSet<(String, String)> = marks.iter().map(|[task, at, _]| (task.clone(), at.clone())).collect();
    assert_eq!(marked.len(), marks.len(), "an instant was fired twice: {marks:?}");
    let recorded: BTreeSet<(String, String)> = world
        .sql(
            "select task_name, to_char(scheduled_for at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') \
               from run_log where status = 'succeeded'",
        )
        .into_iter()
        .map(|row| (row[0].clone().unwrap(), row[1].clone().unwrap()))
        .collect();
    assert_eq!(recorded, marked);
    for number in 0..8 {
        world.assert_unbroken(&format!("task{number}"));
    }
}

#[test]
fn a_task_of_every_second_fills_its_ledger_with_successes_and_no_gaps() {
    let world = World::new();
    world.scheduled(
        "steady.py",
        "* * * * * *",
        "import time\ndef run():\n    time.sleep(0.2)",
    );
    let serve = world.serve();
    world.wait_for("select count(*) >= 8 from run_log where status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("steady");
    assert_eq!(
        world.value("select string_agg(distinct status, ',') from run_log"),
        "succeeded"
    );
    assert_eq!(
        world.value("select count(*) from run_log where started_at < scheduled_for"),
        "0"
    );
}

#[test]
fn three_hundred_tasks_of_one_instant_all_run_in_four_places() {
    let world = World::new();
    let at = world.value(
        "select to_char(date_trunc('second', now() at time zone 'UTC') + interval '12 s', 'YYYY-MM-DD\"T\"HH24:MI:SS')",
    );
    for number in 0..300 {
        world.scheduled(
            &format!("t{number}.py"),
            &format!("@at {at}"),
            &format!("def run(): return {number}"),
        );
    }
    let serve = world.serve_with(&world.data, &[("DROPCRON_MAX_RUNNING", "4")]);
    for enough in [1, 100, 200, 300] {
        world.wait_for(&format!(
            "select count(*) >= {enough} from run_log where status = 'succeeded'"
        ));
    }
    assert_eq!(
        world.value(
            "select count(*) || ' ' || count(distinct task_id) || ' ' || count(distinct scheduled_for) from run_log"
        ),
        "300 300 1"
    );
    let most = "select max(beside) from (select count(*) as beside from run_log a join run_log b \
                on b.started_at <= a.started_at and b.finished_at > a.started_at group by a.run_id) x";
    assert!(world.value(most).parse::<u32>().unwrap() <= 4);
    serve.stop();
}

#[test]
fn a_script_is_told_of_its_run_and_sees_only_what_it_is_allowed() {
    let world = World::new();
    let body = "import os\ndef run(city, *, days=1):\n    return {'city': city, 'days': days, 'env': dict(os.environ)}";
    let header = "schedule = \"* * * * * *\"\nenv = [\"PASSED\"]\nargs = { city = \"Berlin\", days = 3 }";
    world.script("told.py", &with_header(header, body));
    let variables = [("PASSED", "yes"), ("HELD_BACK", "no"), ("DROPCRON_MAX_RUNNING", "5")];
    let serve = world.serve_with(&world.data, &variables);
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    let query = "select return_value->>'city', return_value->>'days', e->>'PASSED', e ? 'HELD_BACK', e ? 'DATABASE_URL', \
                        e ? 'DROPCRON_MAX_RUNNING', e->>'DROPCRON_TASK', (e->>'DROPCRON_SCHEDULED_AT')::timestamptz = scheduled_for, \
                        e->>'DROPCRON_RUN_ID' = run_id::text, e->>'DROPCRON_ATTEMPT', e->>'DROPCRON_TRIGGER' \
                   from (select *, return_value->'env' as e from run_log where status = 'succeeded' limit 1) r";
    let row: Vec<String> = world.sql(query).remove(0).into_iter().map(Option::unwrap).collect();
    assert_eq!(
        row,
        ["Berlin", "3", "yes", "f", "f", "f", "told", "t", "t", "1", "schedule"]
    );
    serve.stop();
}

#[test]
fn the_header_decides_on_timeout_value_and_jitter() {
    let world = World::new();
    let mut serve = world.serve();
    let slow = "import time\ndef run():\n    while True: time.sleep(1)";
    world.script(
        "slow.py",
        &with_header("schedule = \"* * * * * *\"\ntimeout = \"1s\"", slow),
    );
    let forgetful = "schedule = \"* * * * * *\"\nkeep_return_value = false";
    world.script("forgetful.py", &with_header(forgetful, "def run(): return 'secret'"));
    let spread = "schedule = \"*/2 * * * * *\"\njitter = \"4s\"";
    world.script("spread.py", &with_header(spread, "def run(): pass"));
    world.wait_for(
        "select count(*) > 0 from run_log where task_name = 'slow' and status = 'timed_out' and reason = 'timeout'",
    );
    world.wait_for("select count(*) > 0 from run_log where task_name = 'forgetful' and status = 'succeeded'");
    world.wait_for("select count(*) > 1 from run_log where task_name = 'spread' and status = 'succeeded'");
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'forgetful' and return_value is not null"),
        "0"
    );
    let offsets = world.sql(
        "select distinct due_at - scheduled_for = make_interval(secs => s.due_offset_seconds), due_at > scheduled_for, \
                         extract(second from scheduled_for)::int % 2, coalesce(started_at >= due_at, true) \
           from run_log r join task_schedule s using (task_id) where task_name = 'spread'",
    );
    assert_eq!(offsets.len(), 1, "{offsets:?}");
    assert_eq!(
        offsets[0]
            .iter()
            .map(|cell| cell.as_deref().unwrap())
            .collect::<Vec<_>>(),
        ["t", "t", "0", "t"]
    );
    serve.signal(rustix::process::Signal::INT);
    assert_eq!(serve.wait(), Some(0));
}

#[test]
fn an_instant_that_waits_longer_than_its_grace_is_skipped() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let blocker = format!("def run():\n    {}", gate.wait());
    world.scheduled("blocker.py", "* * * * * *", &blocker);
    let serve = world.serve_with(&world.data, &[("DROPCRON_MAX_RUNNING", "1")]);
    world.wait_for("select count(*) > 0 from run_log where task_name = 'blocker' and status = 'running'");
    world.script(
        "late.py",
        &with_header("schedule = \"* * * * * *\"\ngrace = \"1s\"", "def run(): pass"),
    );
    world.wait_for("select count(*) > 0 from run_log where task_name = 'late' and status = 'skipped' and reason = 'grace' and detail <> ''");
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'late' and started_at is not null"),
        "0"
    );
    gate.open();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'late' and status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("late");
}

#[test]
fn a_run_is_cancelled_from_another_process() {
    let world = World::new();
    let gate = world.gate("gate");
    world.scheduled("stuck.py", "* * * * * *", &format!("def run():\n    {}", gate.wait()));
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'running'");
    let run_id = world.value("select run_id from run_log where status = 'running'");
    world.dropcron_ok(&["cancel", &run_id]);
    world.wait_for(&format!(
        "select status = 'cancelled' and reason = 'requested' from run_log where run_id = {run_id}"
    ));
    serve.stop();
}

#[test]
fn a_missing_partition_is_made_when_it_is_needed() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    let month = world.value("select 'run_log_' || to_char(now() at time zone 'UTC', 'YYYY_MM')");
    let day = world.value("select 'run_output_' || to_char(now() at time zone 'UTC', 'YYYY_MM_DD')");
    world.sql(&format!("drop table {month}; drop table {day}"));
    world.wait_for("select count(*) >= 2 from run_log where status = 'succeeded'");
    world.scheduled("speaker.py", "* * * * * *", "def run(): print('hello')");
    world.wait_for("select count(*) > 0 from run_output");
    serve.stop();
}

#[test]
fn a_partition_is_made_beside_a_transaction_that_reads_the_run_log() {
    let world = World::new();
    world.serve().stop();
    let reader = world.session();
    reader.sql("begin; select count(*) from run_log; select count(*) from run_output");
    world.sql(
        "set lock_timeout = '2s'; select ensure_run_log_partition('2031-02-03'); select ensure_run_output_partition('2031-02-03')",
    );
    assert_eq!(
        world.value("select count(*) from pg_inherits where inhrelid::regclass::text in ('run_log_2031_02', 'run_output_2031_02_03')"),
        "2"
    );
    let differences = "select count(*) from pg_attribute a join pg_attribute b using (attname) \
                        where a.attrelid = 'run_log'::regclass and b.attrelid = 'run_log_2031_02'::regclass \
                          and (a.attnum <> b.attnum or a.attgenerated <> b.attgenerated or a.attnotnull <> b.attnotnull)";
    assert_eq!(world.value(differences), "0");
}

#[test]
fn a_partition_that_several_processes_make_in_the_same_moment_is_made_for_all() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let database = Database::new(world.url.parse().unwrap(), None).unwrap();
        let mut makers = Vec::new();
        for _ in 0..4 {
            let mut connection = database.dedicated().await.unwrap();
            makers.push(tokio::spawn(async move {
                for day in 0..60 {
                    let at = Timestamp::from_second(2_000_000_000 + day * 31 * 86_400).unwrap();
                    runs::ensure_run_output_partition(&mut connection, at).await.unwrap();
                    runs::ensure_run_log_partition(&mut connection, at).await.unwrap();
                }
            }));
        }
        for maker in makers {
            maker.await.unwrap();
        }
    });
}

#[test]
fn a_task_whose_row_is_refused_does_not_keep_others_from_firing() {
    let world = World::new();
    let serve = world.serve();
    world.wait_for("select count(*) = 0 from task");
    world.sql(
        "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not this one'; end $$; \
         create trigger refuse before insert on run_log for each row when (new.task_name = 'cursed') execute function refuse()",
    );
    for name in ["a", "cursed", "z"] {
        world.scheduled(&format!("{name}.py"), "* * * * * *", "def run():\n    return 1");
    }
    world.wait_for("select count(*) = 2 from (select task_name from run_log where status = 'succeeded' group by 1 having count(*) > 2) a");
    serve.wait_for_log("not this one");
    // Dropping the trigger would need locks that a writer holds in another order.
    world.sql("create or replace function refuse() returns trigger language plpgsql as $$ begin return new; end $$");
    world.wait_for("select count(*) > 0 from run_log where task_name = 'cursed' and status = 'succeeded'");
}
