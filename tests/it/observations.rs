//! Observations: the numbers that runs return, from the file of a script to years of points and back into a file.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{World, text_of, with_header};

/// `series at value`, in the order of the key.
fn points(world: &World, task: &str) -> Vec<String> {
    let rows = world.sql(&format!(
        "select format('%s %s %s', series, to_char(at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS'), coalesce(value::text, kind)) \
           from observation o join task t using (task_id) where t.name = '{task}' order by series, at"
    ));
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

fn warnings(world: &World) -> String {
    world.value("select array_to_string(warnings, E'\\n') from run_log order by run_id desc limit 1")
}

/// Runs a task as if at this instant.
fn run_as_of(world: &World, script: &str, at: &str) {
    world.dropcron_ok(&["run", script, "--as-of", at]);
}

/// Asks a service to judge; points must be written as if by runs.
fn wait_until_judged(world: &World) {
    world.wait_for("select count(*) filter (where judged_at is null) = 0 and count(*) > 0 from observation");
}

/// Writes points of the series `value` as runs would, one a day from 2026-01-01 on.
fn write_points(world: &World, task: &str, numbers: &str) {
    world.sql(&format!(
        "insert into observation (task_id, series, at, value, kind, run_id, attempt) \
         select t.task_id, 'value', timestamptz '2026-01-01T00:00:00Z' + (n.day - 1) * interval '1 day', n.number, 'number', n.day, 1 \
           from task t, unnest(array[{numbers}]::numeric[]) with ordinality as n(number, day) where t.name = '{task}'"
    ));
}

#[test]
fn every_run_of_a_schedule_adds_a_point_at_its_instant_with_run_and_version() {
    let world = World::new();
    world.scheduled(
        "price.py",
        "* * * * * *",
        "def run(): return {'price': 42.10, 'stock': {'berlin': 7, 'open': True}, 'name': 'x', 'odds': [1, None]}",
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 11 from observation");
    serve.stop();
    let wrong = "select count(*) from observation o left join run_log r on r.run_id = o.run_id and r.attempt = o.attempt \
                  and r.scheduled_for = o.at and r.script_sha256 = o.script_sha256 and r.status = 'succeeded' where r.run_id is null";
    assert_eq!(world.value(wrong), "0");
    let series = world.value("select string_agg(distinct series || ' ' || value || ' ' || kind, ', ' order by series || ' ' || value || ' ' || kind) from observation");
    assert_eq!(
        series,
        "odds.0 1 number, price 42.1 number, stock.berlin 7 number, stock.open 1 boolean"
    );
    let missing = "select count(*) from run_log r where r.status = 'succeeded' and not exists (select 1 from observation o \
                    where o.task_id = r.task_id and o.at = r.scheduled_for and o.series = 'price')";
    assert_eq!(world.value(missing), "0", "every run that succeeded has its points");
}

#[test]
fn a_run_by_hand_adds_a_point_only_for_the_instant_that_it_is_given() {
    let world = World::new();
    world.script("number.py", "def run(): return 12345678901234567890.10");
    world.script("exact.py", "def run(): return [10 ** 30 + 1, 0.1]");
    world.dropcron_ok(&["run", "number.py"]);
    assert_eq!(world.value("select count(*) from observation"), "0");
    run_as_of(&world, "exact.py", "2026-11-01T02:30:00Z");
    assert_eq!(
        points(&world, "exact"),
        [
            "0 2026-11-01T02:30:00 1000000000000000000000000000001",
            "1 2026-11-01T02:30:00 0.1"
        ]
    );
}

#[test]
fn a_newer_run_replaces_the_point_of_its_instant_and_an_older_one_does_not() {
    let world = World::new();
    let path = world.script("number.py", "def run(): return 1");
    run_as_of(&world, "number.py", "2026-11-01T00:00:00Z");
    let by = world.value("select run_id from observation");
    world.dropcron_ok(&["values", "reject", "number", "value", "2026-11-01T00:00:00Z"]);
    // The same number again: what was said of it holds, and it is the newer run's.
    run_as_of(&world, "number.py", "2026-11-01T00:00:00Z");
    assert_ne!(world.value("select run_id from observation"), by);
    assert_eq!(world.value("select verdict from observation"), "rejected");
    std::fs::write(&path, "def run(): return 2").unwrap();
    run_as_of(&world, "number.py", "2026-11-01T00:00:00Z");
    assert_eq!(points(&world, "number"), ["value 2026-11-01T00:00:00 2"]);
    assert_eq!(
        world.value("select concat(verdict, judged_at) from observation"),
        "",
        "another number is another point"
    );
    world.sql("update observation set run_id = 1000000");
    std::fs::write(&path, "def run(): return 3").unwrap();
    run_as_of(&world, "number.py", "2026-11-01T00:00:00Z");
    assert_eq!(points(&world, "number"), ["value 2026-11-01T00:00:00 2"]);
}

#[test]
fn only_the_attempt_that_succeeds_adds_a_point() {
    let world = World::new();
    let _serve = world.serve();
    let body = "import os\ndef run():\n    if os.environ['DROPCRON_ATTEMPT'] == '1': raise OSError('no')\n    return int(os.environ['DROPCRON_ATTEMPT'])";
    world.script(
        "flaky.py",
        &with_header(
            "schedule = \"*/2 * * * * *\"\nretries = { max = 1, delay = \"10ms\" }",
            body,
        ),
    );
    world.wait_for("select count(*) > 1 from observation");
    assert_eq!(
        world.value("select string_agg(distinct format('%s %s', value, attempt), ',') from observation"),
        "2 2"
    );
}

#[test]
fn a_number_is_kept_also_where_its_value_is_not() {
    let world = World::new();
    world.script(
        "forgetful.py",
        &with_header(
            "keep_return_value = false",
            "def run(): return {'n': 7, 'text': 'secret'}",
        ),
    );
    run_as_of(&world, "forgetful.py", "2026-11-01T00:00:00Z");
    assert_eq!(points(&world, "forgetful"), ["n 2026-11-01T00:00:00 7"]);
    assert_eq!(world.value("select return_value from run_log"), "");
}

#[test]
fn records_have_instants_of_their_own() {
    let world = World::new();
    world.script(
        "records.py",
        "def run(): return [{'at': '2020-01-01T01:00:00+01:00', 'series': 'a', 'value': 1.5}, \
         {'at': '2020-01-02T00:00:00Z', 'value': True}, {'at': 'yesterday', 'series': 'a', 'value': 2}]",
    );
    run_as_of(&world, "records.py", "2026-11-01T00:00:00Z");
    assert_eq!(
        points(&world, "records"),
        ["a 2020-01-01T00:00:00 1.5", "value 2020-01-02T00:00:00 1"]
    );
    assert!(
        warnings(&world).starts_with("record 3 of the return value is no point: `at` is no instant"),
        "{}",
        warnings(&world)
    );
}

#[test]
fn the_series_beyond_the_bound_are_counted_in_a_warning() {
    let world = World::new();
    world.script("many.py", "def run(): return {f's{n:03}': n for n in range(203)}");
    run_as_of(&world, "many.py", "2026-11-01T00:00:00Z");
    assert_eq!(world.value("select count(*) from observation"), "200");
    assert!(
        warnings(&world).starts_with("3 numbers were left out of the series: a run writes 200 series at most"),
        "{}",
        warnings(&world)
    );
}

#[test]
fn what_stands_in_the_place_of_a_number_is_a_gap_only_where_there_were_numbers() {
    let world = World::new();
    let path = world.script("gap.py", "def run(): return {'a': 1, 'b': 'text'}");
    run_as_of(&world, "gap.py", "2026-11-01T00:00:00Z");
    std::fs::write(&path, "def run(): return {'a': None, 'b': 'text', 'c': None}").unwrap();
    run_as_of(&world, "gap.py", "2026-11-02T00:00:00Z");
    assert_eq!(
        points(&world, "gap"),
        ["a 2026-11-01T00:00:00 1", "a 2026-11-02T00:00:00 null"]
    );
    let _serve = world.serve();
    wait_until_judged(&world);
    assert_eq!(
        world.value("select string_agg(suspect || ' ' || breach, ',') from observation where value is null"),
        "null where there were numbers false"
    );
}

#[test]
fn points_that_postgres_refuses_are_dropped_and_the_value_stays() {
    let world = World::new();
    world.script("number.py", "def run(): return {'n': 7}");
    run_as_of(&world, "number.py", "2026-11-01T00:00:00Z");
    world.sql("alter table observation add constraint odd check (value <> 7) not valid");
    run_as_of(&world, "number.py", "2026-11-02T00:00:00Z");
    assert_eq!(world.value("select count(*) from observation"), "1");
    let row = world.value(
        "select format('%s %s %s', status, return_value, array_to_string(warnings, ' ')) from run_log order by run_id desc limit 1",
    );
    assert!(
        row.starts_with(r#"succeeded {"n": 7} 1 numbers are missing in its series: Postgres refused them"#),
        "{row}"
    );
}

#[test]
fn a_broken_expectation_marks_the_point_and_people_settle_it() {
    let world = World::new();
    let header =
        "value = { series = \"price\", unit = \"EUR\", min = 0, max = 100, max_change = \"30%\", type = \"number\" }";
    world.script(
        "price.py",
        &with_header(header, "def run(price): return {'price': price}"),
    );
    let run = |price: &str, day: &str| {
        let at = format!("2026-11-{day}T00:00:00Z");
        world.dropcron_ok(&["run", "price.py", "--as-of", &at, "--arg", &format!("price={price}")]);
    };
    run("50", "01");
    run("101", "02");
    let serve = world.serve();
    wait_until_judged(&world);
    serve.wait_for_log("a value is not as expected");
    let marked = "101 EUR is above the most expected, 100 EUR; 101 EUR is a change of 102% from 50 EUR, more than the 30% expected";
    assert_eq!(world.value("select suspect from observation where breach"), marked);
    assert_eq!(
        world.value("select string_agg(distinct status, ',') from run_log"),
        "succeeded"
    );

    let listed = world.dropcron_ok(&["values", "--suspect"]);
    assert!(listed.contains(marked) && listed.lines().count() == 2, "{listed}");
    let said = world.dropcron_ok(&[
        "values",
        "accept",
        "price",
        "price",
        "2026-11-02T00:00:00Z",
        "--note",
        "it rose",
    ]);
    assert_eq!(
        said,
        "101 of price price at 2026-11-02T00:00:00Z is accepted: it counts like any other\n"
    );
    assert_eq!(world.dropcron_ok(&["values", "--suspect"]).lines().count(), 1);
    let row: serde_json::Value =
        serde_json::from_str(&world.dropcron_ok(&["values", "price", "price", "--last", "1", "--json"])).unwrap();
    assert_eq!(row[0]["verdict"], "accepted");
    assert_eq!(row[0]["note"], "it rose");
    assert!(row[0]["verdict_by"].as_str().unwrap().contains('@'), "{row}");
    assert_eq!(row[0]["unit"], "EUR");

    // What was accepted is what the next point is compared with.
    run("99", "03");
    wait_until_judged(&world);
    assert_eq!(world.value("select count(*) from observation where breach"), "1");
    world.dropcron_ok(&["values", "reject", "price", "price", "2026-11-03T00:00:00Z"]);
    assert_eq!(
        world.value("select format('%s %s', value, verdict) from observation order by at desc limit 1"),
        "99 rejected",
        "it stays stored"
    );
    let nothing = world.dropcron(&["values", "accept", "price", "price", "2026-11-09T00:00:00Z"]);
    assert_eq!(nothing.status.code(), Some(3), "{}", text_of(&nothing));
    let nobody = world.dropcron(&["values", "accept", "nobody", "price", "2026-11-09T00:00:00Z"]);
    assert!(
        text_of(&nobody).contains("there is no task `nobody`"),
        "{}",
        text_of(&nobody)
    );
}

#[test]
fn a_breach_does_not_count_for_the_points_after_it() {
    let world = World::new();
    world.script(
        "price.py",
        &with_header("value = { max_change = \"30%\" }", "def run(): return 1"),
    );
    run_as_of(&world, "price.py", "2025-01-01T00:00:00Z");
    world.sql("delete from observation");
    // All in one pass: what is found of the third holds for the fourth, and so on.
    write_points(&world, "price", "100, 110, 500, 510, 120");
    let serve = world.serve();
    wait_until_judged(&world);
    serve.stop();
    assert_eq!(
        world.value("select string_agg(value::text, ' ' order by at) from observation where breach"),
        "500 510"
    );
}

#[test]
fn without_expectations_there_are_hints_and_nobody_is_told() {
    let world = World::new();
    world.script("quiet.py", "def run(): return 1");
    run_as_of(&world, "quiet.py", "2025-01-01T00:00:00Z");
    world.sql("delete from observation");
    write_points(
        &world,
        "quiet",
        "10, 11, 12, 10, 11, 12, 10, 11, 12, 10, 11, 12, 9000, 11",
    );
    let serve = world.serve();
    wait_until_judged(&world);
    let log = serve.stop();
    assert!(!log.contains("a value is not as expected"), "{log}");
    let marked =
        world.value("select format('%s %s %s', value, breach, suspect) from observation where suspect is not null");
    assert!(
        marked.starts_with("9000 f far from the last 12 numbers: their median is 11"),
        "{marked}"
    );
    let listed = world.dropcron_ok(&["values", "quiet", "--suspect"]);
    assert!(listed.contains("hint: far from"), "{listed}");
}

#[test]
fn every_breach_is_found_once_by_whichever_node() {
    let world = World::new();
    world.script("price.py", &with_header("value = { max = 0 }", "def run(): return 1"));
    run_as_of(&world, "price.py", "2025-01-01T00:00:00Z");
    let one = world.serve();
    let other = world.serve_with(&world.root.join("other"), &[]);
    wait_until_judged(&world);
    write_points(&world, "price", "1, 2, 3, 4, 5");
    wait_until_judged(&world);
    // Again, and this time both have read the points and judged them before either can write.
    let holder = world.session();
    holder.sql(
        "begin; lock table dropcron.observation in share row exclusive mode; update dropcron.observation set judged_at = null; commit; \
         begin; lock table dropcron.observation in share mode",
    );
    world.wait_for(
        "select count(distinct pid) >= 2 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
    );
    holder.sql("commit");
    wait_until_judged(&world);
    let said = one.stop() + &other.stop();
    assert_eq!(said.matches("a value is not as expected").count(), 12, "{said}");
}

#[test]
fn a_series_without_a_new_number_becomes_stale_once_and_fresh_again() {
    let world = World::new();
    world.script(
        "price.py",
        &with_header("value = { stale_after = \"1h\" }", "def run(): return 1"),
    );
    run_as_of(&world, "price.py", "2025-01-01T00:00:00Z");
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from stale_series");
    serve.wait_for_log("no number since that of 2025-01-01T00:00:00Z; a new one is expected within 3600 s");
    assert!(
        world
            .dropcron_ok(&["values", "price"])
            .contains("stale: price value: no number since")
    );
    run_as_of(
        &world,
        "price.py",
        &world.value("select to_char(now() at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"),
    );
    world.wait_for("select count(*) = 0 from stale_series");
    assert_eq!(serve.stop().matches("no number since").count(), 1);
}

#[test]
fn what_somebody_wrote_into_the_column_of_expectations_stops_nobody_else() {
    let world = World::new();
    for task in ["odd", "price"] {
        world.script(
            &format!("{task}.py"),
            &with_header("value = { max = 0, stale_after = \"1h\" }", "def run(): return 1"),
        );
        run_as_of(&world, &format!("{task}.py"), "2025-01-01T00:00:00Z");
    }
    let serve = world.serve();
    wait_until_judged(&world);
    world.wait_for("select count(*) = 2 from stale_series");
    world.sql(
        "update task set expectations = '[1, {\"series\": 7}, {\"series\": \"value\", \"max\": \"x\", \"stale_after_seconds\": \"soon\"}]' \
          where name = 'odd'; delete from stale_series; update observation set judged_at = null, suspect = null, breach = false",
    );
    wait_until_judged(&world);
    world.wait_for("select count(*) = 1 from stale_series");
    let marked = "select string_agg(t.name, ',') from observation o join task t using (task_id) where o.breach";
    assert_eq!(world.value(marked), "price");
    serve.wait_for_log("edit the script's header, not the column `expectations`");
}

#[test]
fn expectations_are_read_strictly() {
    let world = World::new();
    let check = |line: &str| {
        world.script("bad.py", &with_header(line, "def run(): pass"));
        text_of(&world.dropcron(&["check"]))
    };
    for (line, problem) in [
        ("value = { serie = \"x\" }", "did you mean `series`?"),
        ("value = { minimum = 1 }", "write `min = 0`"),
        ("value = { min = 2, max = 1 }", "`min` is above `max`"),
        (
            "value = { max_change = \"30\" }",
            "`30` is no percentage above 0, such as `30%`",
        ),
        ("value = { max_change = 0 }", "`max_change` must be above 0"),
        ("value = { max = inf }", "`max` must be a finite number"),
        (
            "value = { type = \"int\" }",
            "It takes one of `number`, `integer`, `boolean`",
        ),
        (
            "value = [{ series = \"a\" }, { series = \"a\" }]",
            "names the series `a` twice",
        ),
        ("value = [1]", "must be a table"),
        ("values = { max = 1 }", "write `value = {"),
    ] {
        let said = check(line);
        assert!(said.contains(problem), "{line}: {said}");
    }
}

#[test]
fn what_is_exported_can_be_imported_and_is_the_same() {
    let world = World::new();
    world.script(
        "from.py",
        "def run(): return {'a,\"b\"\\n': 1.10, ' c ': -0.5, 'ß.日': 1e30, 'd': 10**40, 'ok': True}",
    );
    world.script("to.py", "def run(): pass");
    run_as_of(&world, "from.py", "2026-11-01T00:00:00.123456Z");
    run_as_of(&world, "from.py", "2026-11-02T00:00:00Z");
    world.dropcron_ok(&["run", "to.py"]);
    world.dropcron_ok(&["values", "reject", "from", "d", "2026-11-02T00:00:00Z"]);
    let content = |task: &str| {
        world.sql(&format!(
            "select o.series, o.at, o.value, o.verdict from observation o join task t using (task_id) where t.name = '{task}' order by 1, 2"
        ))
    };
    assert_eq!(content("from").len(), 10);
    for format in ["csv", "jsonl"] {
        let text = world.dropcron_ok(&["export", "values", "--task", "from", "--format", format]);
        let file = world.root.join("points");
        std::fs::write(&file, &text).unwrap();
        let said = world.dropcron_ok(&["import", "values", "--task", "to", file.to_str().unwrap()]);
        assert_eq!(said, "10 points imported into `to`\n");
        assert_eq!(content("to"), content("from"), "{format}: {text}");
        world.sql("delete from observation where task_id = (select task_id from task where name = 'to')");
    }
    let some = world.dropcron_ok(&["export", "values", "--task", "from", "--series", "d"]);
    assert_eq!(some.lines().count(), 3, "{some}");
}

fn import(world: &World, arguments: &[&str], text: &str) -> (Option<i32>, String) {
    let mut command = world.command(&[&["import", "values", "--task", "past"], arguments].concat());
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text_of(&output))
}

#[test]
fn a_bad_line_is_named_and_nothing_is_imported_unless_it_may_be_left_out() {
    let world = World::new();
    world.script("past.py", "def run(): pass");
    world.dropcron_ok(&["run", "past.py"]);
    let text = "at,series,value\n2026-01-01T00:00:00Z,a,1\n2026-01-02,a,2\n2026-01-03T00:00:00Z,a,\"1,5\"\n2026-01-04T00:00:00Z\n2026-01-05T00:00:00Z,a,5\n";
    let (code, said) = import(&world, &[], text);
    assert_eq!(code, Some(1), "{said}");
    for part in [
        "line 3: `2026-01-02` names no zone",
        "line 4: `1,5` is no number",
        "line 5: it has fewer cells",
        "nothing was imported: 3 of 5 lines are bad",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(world.value("select count(*) from observation"), "0");
    let (code, said) = import(&world, &["--timezone", "Europe/Berlin", "--skip-bad"], text);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("2 bad lines were left out") && said.contains("3 points imported"),
        "{said}"
    );
    assert_eq!(
        points(&world, "past"),
        [
            "a 2026-01-01T00:00:00 1",
            "a 2026-01-01T23:00:00 2",
            "a 2026-01-05T00:00:00 5"
        ]
    );
}

#[test]
fn points_that_are_there_stay_unless_they_are_to_be_replaced() {
    let world = World::new();
    world.script("past.py", "def run(): return 1");
    run_as_of(&world, "past.py", "2026-01-01T00:00:00Z");
    let text =
        "{\"at\": \"2026-01-01T00:00:00Z\", \"value\": 2.50}\n\n{\"at\": \"2026-01-02T00:00:00Z\", \"value\": 3}\n";
    let (_, said) = import(&world, &[], text);
    assert!(
        said.contains("1 points imported into `past`, 1 were there already"),
        "{said}"
    );
    assert_eq!(
        points(&world, "past"),
        ["value 2026-01-01T00:00:00 1", "value 2026-01-02T00:00:00 3"]
    );
    let (_, said) = import(&world, &["--replace"], text);
    assert!(said.contains("2 points imported into `past`\n"), "{said}");
    assert_eq!(points(&world, "past")[0], "value 2026-01-01T00:00:00 2.50");
    assert_eq!(
        world.value("select count(*) from observation where run_id is null and judged_at is not null"),
        "2"
    );
    let (code, said) = import(&world, &["--json"], "time,number\n");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("has no `at`: it is `time,number`"), "{said}");
    assert_eq!(import(&world, &["--series", ""], text).0, Some(1));
}
