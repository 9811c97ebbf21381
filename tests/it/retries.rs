//! Retries: every attempt a row of its own, the next one's time stored.

use crate::support::{World, with_header};

/// Fails until a file has as many lines as `attempts`.
fn failing_until(attempts: u32) -> String {
    format!(
        "import os, pathlib\n\
         def run():\n\
         \x20   log = pathlib.Path(__file__).with_suffix('.attempts')\n\
         \x20   with log.open('a') as file:\n\
         \x20       file.write(os.environ['DROPCRON_ATTEMPT'] + '\\n')\n\
         \x20   if len(log.read_text().split()) < {attempts}:\n\
         \x20       raise ValueError('not yet')\n\
         \x20   return 'done'\n"
    )
}

/// Lets the only task fire once, in two seconds at most.
fn fire_soon(world: &World) {
    world.wait_for("select count(*) = 1 from task where revision = planned_revision");
    world.sql("update task_schedule set next_fire_at = date_trunc('second', clock_timestamp()) + interval '2 s', \
               next_due_at = date_trunc('second', clock_timestamp()) + interval '2 s', last_fire_at = last_fire_at - interval '1 day'");
}

#[test]
fn a_failed_run_is_tried_again_after_its_pause_until_it_succeeds() {
    let world = World::new();
    let _serve = world.serve();
    let header = "schedule = \"@at 2100-01-01T00:00\"\nretries = { max = 3, delay = \"100ms\", backoff = 2.0 }";
    world.script("flaky.py", &with_header(header, &failing_until(3)));
    fire_soon(&world);
    world.wait_for("select count(*) = 1 from run_log where status = 'succeeded'");
    let rows = world.sql("select attempt, status, reason, trigger, count(*) over () from run_log order by attempt");
    let text: Vec<String> = rows
        .iter()
        .map(|row| {
            row.iter()
                .map(|cell| cell.as_deref().unwrap_or("-"))
                .collect::<Vec<_>>()
                .join(" ")
        })
        .collect();
    assert_eq!(
        text,
        [
            "1 failed raised schedule 3",
            "2 failed raised schedule 3",
            "3 succeeded - schedule 3"
        ]
    );
    assert_eq!(world.value("select count(distinct scheduled_for) from run_log"), "1");
    let pauses = world.value(
        "select bool_and(due_at >= ended) from (select due_at, attempt, lag(finished_at) over (order by attempt) \
         + make_interval(secs => 0.1 * 2 ^ (attempt - 2)) as ended from run_log) a where attempt > 1",
    );
    assert_eq!(pauses, "t", "{}", world.run_log());
    assert_eq!(
        std::fs::read_to_string(world.scripts.join("flaky.attempts")).unwrap(),
        "1\n2\n3\n"
    );
}

#[test]
fn the_last_attempt_is_the_last() {
    let world = World::new();
    let _serve = world.serve();
    world.script(
        "bad.py",
        &with_header(
            "schedule = \"* * * * * *\"\nretries = { max = 1, delay = \"10m\" }",
            "def run():\n    raise OSError('no')",
        ),
    );
    // The next instant comes long before the pause ends: the retry is superseded, and says by which run.
    world.wait_for(
        "select count(*) > 2 from run_log where status = 'skipped' and reason = 'superseded' and attempt = 2",
    );
    assert_eq!(world.value("select count(*) from run_log where attempt > 2"), "0");
    assert!(world.holds(
        "select bool_and(detail like 'run % came before the end of its pause') from run_log where reason = 'superseded'"
    ));
}

#[test]
fn what_is_not_to_be_tried_again_is_not() {
    let world = World::new();
    let _serve = world.serve();
    let header = "retries = { max = 5, delay = \"10ms\", on = [\"timed_out\"] }";
    world.script("bad.py", &with_header(header, "def run():\n    raise OSError('no')"));
    world.wait_for("select count(*) = 1 from task where revision = planned_revision");
    let output = world.dropcron(&["run", "bad"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(world.value("select count(*) from run_log"), "1");
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_pause_grows_up_to_its_cap_whatever_the_numbers() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    let pause = |arguments: &str| world.value(&format!("select extract(epoch from retry_pause({arguments}))::float8"));
    assert_eq!(pause("30, 2, 3600, 1"), "30");
    assert_eq!(pause("30, 2, 3600, 3"), "120");
    assert_eq!(pause("30, 2, 3600, 8"), "3600");
    assert_eq!(pause("30, 1, 3600, 1000"), "30");
    assert_eq!(pause("0, 2, 3600, 1000"), "0");
    assert_eq!(pause("30, 2, 0, 1"), "0");
    assert_eq!(pause("0.001, 1e308, 3600, 1000"), "3600");
}

#[test]
fn a_steep_backoff_costs_no_end_of_a_run() {
    let world = World::new();
    let _serve = world.serve();
    let header = "schedule = \"@at 2100-01-01T00:00\"\nretries = { max = 1000, delay = \"10ms\", backoff = 1e300, cap = \"20ms\" }";
    world.script("steep.py", &with_header(header, "def run():\n    raise OSError('no')"));
    fire_soon(&world);
    world.wait_for("select count(*) > 0 from run_log where attempt >= 4 and status = 'failed'");
}
