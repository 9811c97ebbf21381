//! Values and output: whatever a script returns or prints, its end is written.

use crate::support::World;

#[test]
fn a_value_that_cannot_be_kept_costs_a_warning_and_never_the_end() {
    let world = World::new();
    let odd = [
        ("nul", "'a\\0b'"),
        ("infinite", "float('inf')"),
        ("nan", "[float('nan')]"),
        ("large", "'x' * (2 * 1024 * 1024)"),
        ("object", "object()"),
    ];
    for (name, value) in odd {
        world.scheduled(
            &format!("{name}.py"),
            "* * * * * *",
            &format!("def run(): return {value}"),
        );
    }
    world.scheduled(
        "huge.py",
        "* * * * * *",
        "def run(): return [10 ** 400, -(10 ** 30), 0.1]",
    );
    world.scheduled("raises.py", "* * * * * *", "def run(): raise ValueError('a\\0b')");
    let serve = world.serve();
    for (name, _) in odd {
        world.wait_for(&format!(
            "select count(*) > 0 from run_log where task_name = '{name}' and finished_at is not null"
        ));
    }
    world.wait_for("select count(*) > 0 from run_log where task_name = 'huge' and return_value->>0 = '1' || repeat('0', 400) and return_value->>1 = '-1' || repeat('0', 30) and return_value->>2 = '0.1'");
    world.wait_for(
        "select count(*) > 0 from run_log where task_name = 'raises' and status = 'failed' and error like 'a_b'",
    );
    serve.stop();
    for (name, _) in odd {
        let row = world.value(&format!(
            "select string_agg(distinct format('%s %s', status, cardinality(warnings) > 0 or error is not null), ',') from run_log where task_name = '{name}'"
        ));
        assert!(
            row == "succeeded t" || row == "failed t",
            "{name}: {row}\n{}",
            world.run_log()
        );
    }
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_value_that_postgres_refuses_is_dropped_with_a_warning() {
    let world = World::new();
    world.scheduled("refused.py", "* * * * * *", "def run(): return 'refused'");
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where return_value = '\"refused\"'");
    world.sql("alter table run_log add constraint odd check (return_value is distinct from '\"refused\"') not valid");
    world.wait_for("select count(*) > 1 from run_log where task_name = 'refused' and status = 'succeeded' and return_value is null and warnings[1] like '%Postgres refused it%'");
    world.wait_for("select count(*) > 1 from run_log where task_name = 'steady' and return_value = '1'");
    serve.stop();
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'steady' and return_value is null"),
        "0"
    );
}

#[test]
fn of_long_output_head_and_tail_are_kept_and_can_be_read() {
    let world = World::new();
    world.scheduled(
        "talker.py",
        "*/5 * * * * *",
        "def run():\n    print('first line')\n    for number in range(50000): print('x' * 99 + str(number))\n    print('last line')",
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    let run_id = world.value("select min(run_id) from run_log where status = 'succeeded'");
    serve.stop();
    let text = world.dropcron_ok(&["logs", &run_id]);
    assert!(text.starts_with("first line\n"), "{}", &text[..100]);
    assert!(text.trim_end().ends_with("last line"), "{}", &text[text.len() - 100..]);
    assert!(text.len() < 5_000_000, "{}", text.len());
    let kept: usize = world
        .value(&format!(
            "select sum(octet_length(chunk)) from run_output where run_id = {run_id}"
        ))
        .parse()
        .unwrap();
    assert!(kept > 100_000, "{kept}");
}

#[test]
fn the_newest_end_of_a_task_and_its_failures_are_counted() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    // Each end: its run, how it ended, at which second, and whether it is a late report.
    let count = |ends: &[(i64, &str, u32, bool)]| {
        let rows: Vec<String> = ends
            .iter()
            .map(|(run, status, second, late)| format!("(7, {run}, '{status}', to_timestamp({second}), {late})"))
            .collect();
        world.sql(&format!(
            "select count_ends(array_agg(t::bigint), array_agg(r::bigint), array_agg(f), array_agg(s), array_agg(f), \
                               array_agg(1::float8), array_agg(l)) from (values {}) v(t, r, s, f, l)",
            rows.join(", ")
        ));
        world.value(
            "select format('%s %s, %s in a row, %s of %s', last_run_id, last_status, consecutive_failures, \
                           failures_total, runs_total) from task_stat",
        )
    };
    let two = [(1, "failed", 1, false), (2, "timed_out", 2, false)];
    assert_eq!(count(&two), "2 timed_out, 2 in a row, 2 of 2");
    let mixed = [(3, "succeeded", 3, false), (4, "lost", 4, false)];
    assert_eq!(count(&mixed), "4 lost, 1 in a row, 3 of 4");
    let none = [(5, "cancelled", 5, false), (6, "skipped", 6, false)];
    assert_eq!(count(&none), "6 skipped, 1 in a row, 3 of 6");
    assert_eq!(count(&[(0, "failed", 2, false)]), "6 skipped, 1 in a row, 4 of 7");
    assert_eq!(count(&[(7, "lost", 9, false)]), "7 lost, 2 in a row, 5 of 8");
    assert_eq!(count(&[(7, "succeeded", 8, true)]), "7 succeeded, 0 in a row, 4 of 8");
}
