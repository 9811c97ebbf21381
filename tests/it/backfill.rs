//! Backfill: exactly the instants without a successful run, oldest first, and no regular instant turned away for them.

use crate::support::{World, text_of, with_header};

/// A service's task `daily`, due at midnight, as if it had been there for 40 days; nothing of it is in the log.
fn grown(world: &World, header: &str, body: &str) {
    let schedule = format!("schedule = \"0 0 * * *\"\n{header}");
    world.script("daily.py", &with_header(&schedule, body));
    let serve = world.serve();
    world.wait_for("select planned_revision = revision from task where name = 'daily'");
    serve.stop();
    age(world);
}

fn age(world: &World) {
    world.sql(
        "select ensure_run_log_partition(now() - interval '2 months'), ensure_run_log_partition(now() - interval '1 month');
         update task set created_at = now() - interval '40 days';
         update task_event set at = now() - interval '40 days',
                after = case kind when 'planned' then after || jsonb_build_object('holds_after', now() - interval '40 days') else after end",
    );
}

/// Midnight so many days ago, UTC.
fn midnight(world: &World, days: i32) -> String {
    world.value(&format!(
        "select to_char(date_trunc('day', now()) - {days} * interval '1 day', 'YYYY-MM-DD\"T00:00:00Z\"')"
    ))
}

/// A row of the run log for that midnight.
fn row(world: &World, days: i32, columns: &str, values: &str) {
    world.sql(&format!(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, queued_at, due_at, {columns})
         select nextval('run_id_sequence'), task_id, name, date_trunc('day', now()) - {days} * interval '1 day', 'schedule', now(), now(), {values}
           from task where name = 'daily'"
    ));
}

#[test]
fn exactly_the_instants_without_a_successful_run_are_run_oldest_first() {
    let world = World::new();
    let body = world.marking() + "def run():\n    mark()\n    return os.environ['DROPCRON_TRIGGER']";
    grown(&world, "", &body);
    row(&world, 9, "status", "'succeeded'");
    row(&world, 8, "status, reason", "'failed', 'raised'");
    row(
        &world,
        7,
        "status, reason, missed_count, missed_until",
        "'missed', 'down', 2, date_trunc('day', now()) - interval '6 days'",
    );
    row(&world, 5, "status, reason", "'skipped', 'overlap'");
    // Somebody made up for it by hand.
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, as_of, queued_at, due_at)
         select nextval('run_id_sequence'), task_id, name, now(), 'manual', 'succeeded', date_trunc('day', now()) - interval '4 days', now(), now() from task",
    );
    let (from, to) = (midnight(&world, 9), midnight(&world, 3));
    let listed = world.dropcron(&["backfill", "daily", "--from", &from, "--to", &to]);
    assert_eq!(listed.status.code(), Some(2), "nobody can be asked");
    let text = text_of(&listed);
    for line in [
        "failed (raised)",
        "missed (down)",
        "skipped (overlap)",
        "no row",
        "5 instants without a successful run, 2 with one",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(world.value("select count(*) from run_lease"), "0");

    let asked = world.dropcron_ok(&["backfill", "daily", "--from", &from, "--to", &to, "--yes"]);
    assert!(
        asked.contains("5 runs queued") && asked.contains("no service is running, so they wait"),
        "{asked}"
    );
    let again = world.dropcron_ok(&["backfill", "daily", "--from", &from, "--to", &to, "--yes"]);
    assert!(
        again.contains("5 instants of `daily` have a run already") && again.contains("nothing is to be run"),
        "{again}"
    );
    let serve = world.serve();
    world.wait_for("select count(*) = 5 from run_log where trigger = 'backfill' and status = 'succeeded' and return_value = '\"backfill\"'");
    serve.stop();
    let told: Vec<String> = world.marks().into_iter().map(|[_, at, _]| at).collect();
    let wanted: Vec<String> = [8, 7, 6, 5, 3].iter().map(|days| midnight(&world, *days)).collect();
    assert_eq!(told, wanted);
    // One at a time, and each a row of its own.
    let serial = "select bool_and(coalesce(started_at >= before, true)) from (select started_at, lag(finished_at) over (order by as_of) as before \
                    from run_log where trigger = 'backfill') r";
    assert_eq!(world.value(serial), "t");
    let left = world.dropcron_ok(&["backfill", "daily", "--from", &from, "--to", &to]);
    assert!(
        left.contains("nothing is to be run: 7 instants with a successful run"),
        "{left}"
    );
    let why = world.dropcron_ok(&["why", "daily", &midnight(&world, 8)]);
    assert!(why.contains("to stand for this instant: succeeded"), "{why}");
}

#[test]
fn regular_instants_are_not_turned_away_by_a_backfill() {
    let world = World::new();
    world.scheduled(
        "steady.py",
        "* * * * * *",
        "import time\ndef run():\n    time.sleep(0.5)",
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    serve.stop();
    age(&world);
    let from = world
        .value("select to_char(min(scheduled_for) - interval '20 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from run_log");
    let to = world
        .value("select to_char(min(scheduled_for) - interval '1 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from run_log");
    let serve = world.serve();
    let before = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where status = 'succeeded' and scheduled_for > '{before}'"
    ));
    let asked = world.dropcron_ok(&["backfill", "steady", "--from", &from, "--to", &to, "--yes"]);
    assert!(asked.contains("20 runs queued"), "{asked}");
    let asked_at = world.value("select min(queued_at) from run_log where trigger = 'backfill'");
    world.wait_for("select count(*) >= 20 from run_log where trigger = 'backfill' and status = 'succeeded'");
    serve.stop();
    world.assert_unbroken("steady");
    let turned_away = format!(
        "select count(*) from run_log where scheduled_for > '{asked_at}' and trigger = 'schedule' and status in ('skipped', 'missed')"
    );
    assert_eq!(world.value(&turned_away), "0", "{}", world.run_log());
    let together = "select count(*) from run_log a join run_log b on a.run_id < b.run_id and a.started_at < b.finished_at and b.started_at < a.finished_at";
    assert_eq!(world.value(together), "0", "the task's limit holds");
}

#[test]
fn a_backfill_is_retried_for_its_own_instant_and_what_has_not_started_can_be_cancelled() {
    let world = World::new();
    let first = world.root.join("first");
    let body = format!(
        "import os\ndef run():\n    if not os.path.exists({first:?}):\n        open({first:?}, 'w').close()\n        raise ValueError('once')\n    return os.environ['DROPCRON_SCHEDULED_AT']"
    );
    grown(&world, "retries = { max = 1, delay = \"1s\" }", &body);
    let at = midnight(&world, 3);
    world.dropcron_ok(&["backfill", "daily", "--from", &at, "--to", &at, "--yes"]);
    let serve = world.serve();
    world.wait_for(
        "select count(*) = 1 from run_log where trigger = 'backfill' and attempt = 2 and status = 'succeeded'",
    );
    assert_eq!(
        world.value("select return_value #>> '{}' from run_log where attempt = 2"),
        at
    );
    assert_eq!(
        world.value("select count(distinct as_of) from run_log where trigger = 'backfill'"),
        "1"
    );
    serve.stop();
    world.dropcron_ok(&[
        "backfill",
        "daily",
        "--from",
        &midnight(&world, 9),
        "--to",
        &midnight(&world, 5),
        "--yes",
    ]);
    let cancelled = world.dropcron_ok(&["backfill", "daily", "--cancel"]);
    assert!(cancelled.contains("5 runs"), "{cancelled}");
    let serve = world.serve();
    world.wait_for(
        "select count(*) = 5 from run_log where trigger = 'backfill' and status = 'cancelled' and reason = 'requested'",
    );
    serve.stop();
}

#[test]
fn a_retry_of_a_backfill_is_not_given_up_for_a_regular_instant() {
    let world = World::new();
    let header = "schedule = \"* * * * * *\"\nretries = { max = 1, delay = \"4s\" }";
    let body = "import os\ndef run():\n    if os.environ['DROPCRON_TRIGGER'] == 'backfill' and os.environ['DROPCRON_ATTEMPT'] == '1':\n        raise ValueError('once')";
    world.script("steady.py", &with_header(header, body));
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    age(&world);
    let at = world
        .value("select to_char(min(scheduled_for) - interval '5 s', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from run_log");
    world.dropcron_ok(&["backfill", "steady", "--from", &at, "--to", &at, "--yes"]);
    world.wait_for(
        "select count(*) = 1 from run_log where trigger = 'backfill' and attempt = 2 and status = 'succeeded'",
    );
    serve.stop();
    world.assert_unbroken("steady");
}

#[test]
fn a_backfill_is_bounded_by_what_is_known_and_by_a_number() {
    let world = World::new();
    grown(&world, "", "def run(): pass");
    world.sql("update task set runs_kept_since = date_trunc('day', now()) - interval '3 days'");
    let listed = text_of(&world.dropcron(&[
        "backfill",
        "daily",
        "--from",
        &midnight(&world, 20),
        "--to",
        &midnight(&world, 1),
    ]));
    assert!(
        listed.contains("is beyond what is kept of `daily`") && listed.contains("3 instants without"),
        "{listed}"
    );
    // Another schedule, as it was all the time.
    world.sql("update task_event set after = after || '{\"schedule\": [\"* * * * * *\"]}' where kind = 'planned'; update task set runs_kept_since = null");
    let most = world.dropcron(&[
        "backfill",
        "daily",
        "--from",
        &midnight(&world, 2),
        "--to",
        &midnight(&world, 1),
        "--yes",
    ]);
    assert_eq!(most.status.code(), Some(2));
    let day = midnight(&world, 2);
    let wanted = format!(
        "these are more than the 10000 instants that are run at a time: take `--to {}",
        &day[..10]
    );
    assert!(
        text_of(&most).contains(&wanted) && text_of(&most).contains("02:46:39Z` first"),
        "{}",
        text_of(&most)
    );
    let too_far = world.dropcron(&["backfill", "daily", "--from", &midnight(&world, 20), "--yes"]);
    assert!(
        text_of(&too_far).contains("more than the 10000 instants")
            || text_of(&too_far).contains("more than the 200000")
    );
    for (arguments, wanted) in [
        (vec!["backfill", "daily", "--from", "yesterday"], "is no such time"),
        (vec!["backfill", "daily", "--from", "02:30"], "is no such time"),
        (
            vec!["backfill", "daily", "--from", &day, "--to", "2001-01-01T00:00Z"],
            "`--to` lies before `--from`",
        ),
        (vec!["backfill", "daily"], "--from"),
    ] {
        let output = world.dropcron(&arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(text_of(&output).contains(wanted), "{}", text_of(&output));
    }
    assert_eq!(
        world.dropcron(&["backfill", "nothing", "--from", &day]).status.code(),
        Some(3)
    );
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}
