//! `dropcron why`: what became of an instant, told by the run log and the task's own story.

use serde_json::Value;

use crate::support::{World, text_of, with_header};

/// What is printed for people.
fn why(world: &World, arguments: &[&str]) -> String {
    let text = world.dropcron_ok(&[&["why"], arguments].concat());
    println!("$ dropcron why {}\n{text}", arguments.join(" "));
    text
}

/// The same as JSON.
fn answer(world: &World, arguments: &[&str]) -> Value {
    serde_json::from_str(&world.dropcron_ok(&[&["why"], arguments, &["--json"]].concat())).unwrap()
}

/// The instant of a query, as the command takes it.
fn instant(world: &World, query: &str) -> String {
    world.value(&format!(
        "select to_char(({query}) at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    ))
}

fn assert_has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is missing:\n{text}");
    }
}

#[test]
fn an_instant_that_ran_names_its_run_and_how_it_ended() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    let retried =
        "schedule = \"* * * * * *\"\nretries = { max = 1, delay = \"0s\" }\noverlap = \"parallel\"\nmax_running = 5";
    world.script(
        "shaky.py",
        &with_header(retried, "def run():\n    raise ValueError('the disk\\x1b is full')"),
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'steady' and status = 'succeeded'");
    world.wait_for("select count(*) > 0 from run_log where task_name = 'shaky' and status = 'failed' and attempt = 2");
    serve.stop();
    let row = "from run_log where task_name = 'steady' and status = 'succeeded' order by scheduled_for limit 1";
    let at = instant(&world, &format!("select scheduled_for {row}"));
    let run_id = world.value(&format!("select run_id {row}"));
    let text = why(&world, &["steady", &at]);
    assert!(
        text.lines().next().unwrap().contains("UTC: ran and succeeded after"),
        "{text}"
    );
    assert_has(
        &text,
        &[
            &format!("(run {run_id})"),
            "started",
            " late",
            "every second (UTC)",
            "(created by syncer)",
            &format!("dropcron logs {run_id}"),
        ],
    );
    let json = answer(&world, &["steady", &at]);
    assert_eq!(json["instants"][0]["explanation"]["kind"], "ran");
    assert_eq!(json["instants"][0]["explanation"]["run"]["run_id"].to_string(), run_id);
    assert_eq!(json["instants"][0]["plan"]["evidence"], "recorded");
    let at = instant(
        &world,
        "select min(scheduled_for) from run_log where task_name = 'shaky' and attempt = 2 and status = 'failed'",
    );
    let text = why(&world, &["shaky", &at]);
    assert_has(
        &text,
        &[
            "ran and failed",
            "at attempt 2",
            "ValueError: the disk  is full",
            "attempt",
            "1 (run ",
            "failed (raised)",
        ],
    );
}

#[test]
fn an_instant_that_was_skipped_names_the_run_in_the_way() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.scheduled("busy.py", "* * * * * *", &format!("def run():\n    {}", gate.wait()));
    let serve = world.serve();
    world.wait_for("select count(*) > 1 from run_log where status = 'skipped'");
    let running = world.value("select run_id from run_log where status = 'running'");
    let at = instant(
        &world,
        "select min(scheduled_for) from run_log where status = 'skipped'",
    );
    let text = why(&world, &["busy", &at]);
    assert_has(
        &text,
        &[
            &format!("skipped: run {running} was in the way"),
            "still active",
            &format!("because     run {running} was still"),
        ],
    );
    let begun = instant(&world, "select scheduled_for from run_log where status = 'running'");
    let text = why(&world, &["busy", &begun]);
    assert_has(
        &text,
        &[
            &format!("running (run {running}, for "),
            &format!("dropcron logs {running} -f"),
        ],
    );
    gate.open();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    serve.stop();
    let text = why(&world, &["busy", &at]);
    assert_has(&text, &["in the way", ", succeeded at "]);
}

#[test]
fn a_queued_run_says_what_it_waits_for() {
    let world = World::new();
    let gate = world.gate("gate");
    let header = "schedule = \"* * * * * *\"\noverlap = \"queue\"";
    world.script(
        "busy.py",
        &with_header(header, &format!("def run():\n    {}", gate.wait())),
    );
    world.script(
        "elsewhere.py",
        &with_header("schedule = \"* * * * * *\"\nqueue = \"gpu\"", "def run(): pass"),
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'busy' and status = 'running'");
    world.wait_for(
        "select count(*) > 0 from run_lease join task using (task_id) where name = 'busy' and state = 'queued'",
    );
    world.wait_for("select count(*) > 0 from run_log where task_name = 'elsewhere' and status = 'queued'");
    let running = world.value("select run_id from run_log where task_name = 'busy' and status = 'running'");
    let queued = |task: &str| {
        instant(
            &world,
            &format!("select max(scheduled_for) from run_log where task_name = '{task}' and status = 'queued'"),
        )
    };
    let text = why(&world, &["busy", &queued("busy")]);
    assert_has(
        &text,
        &["queued (run ", &format!("waits for  a place beside run {running}")],
    );
    let text = why(&world, &["elsewhere", &queued("elsewhere")]);
    assert_has(&text, &["a node that serves the queue `gpu`: none does"]);
    drop(serve);
}

#[test]
fn a_pause_says_since_when_by_whom_and_why_while_it_lasts_and_afterwards() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    world.dropcron_ok(&["pause", "steady", "--reason", "disk is being replaced"]);
    world.wait_for("select planned_idle = 'paused' from task");
    world.let_pass(4);
    let at = instant(
        &world,
        "select date_trunc('second', paused_at) + interval '2 s' from task",
    );
    let by = world.value("select paused_by from task");
    let open = why(&world, &["steady", &at]);
    assert_has(
        &open,
        &[
            &format!("did not run: paused by {by} at "),
            "disk is being replaced",
            "still paused; `dropcron resume steady` ends it",
            "written when this ends",
        ],
    );
    let latest = answer(&world, &["steady"]);
    assert_eq!(latest["instants"][0]["explanation"]["kind"], "stood_still");
    let next = instant(&world, "select date_trunc('minute', now()) + interval '1 hour'");
    assert_has(
        &why(&world, &["steady", &next]),
        &["and will not run: paused", "until `dropcron resume steady`"],
    );
    world.dropcron_ok(&["resume", "steady"]);
    world.wait_for("select count(*) > 0 from run_log where status = 'missed' and reason = 'paused'");
    serve.stop();
    let closed = why(&world, &["steady", &at]);
    assert_has(
        &closed,
        &[
            &format!("did not run: paused by {by} at "),
            &format!("resumed by {by}"),
            " instants from ",
        ],
    );
}

#[test]
fn an_instant_while_nothing_ran_says_from_when_to_when_and_what_made_up_for_it() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    let first = serve.pid();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    serve.stop();
    let stopped_at = world.value("select max(stopped_at) from node");
    world.let_pass(4);
    let now = why(&world, &["steady"]);
    assert_has(
        &now,
        &["due, and nobody is there", &format!("(pid {first}) was last seen at")],
    );
    let serve = world.serve();
    let second = serve.pid();
    world.wait_for("select count(*) > 0 from run_log where trigger = 'catch_up' and status = 'succeeded'");
    serve.stop();
    let at = instant(
        &world,
        &format!("select date_trunc('second', '{stopped_at}'::timestamptz) + interval '2 s'"),
    );
    let catch_up = world.value("select run_id from run_log where trigger = 'catch_up' limit 1");
    let text = why(&world, &["steady", &at]);
    assert_has(
        &text,
        &[
            &format!("missed: no dropcron service was running; run {catch_up} made up for it"),
            &format!("(pid {first}) was last seen at"),
            &format!("(pid {second}) came at"),
            "without a service",
        ],
    );
    let json = answer(&world, &["steady", &at]);
    let outage = &json["instants"][0]["explanation"]["outage"];
    let last: Value = outage["last"]["seen_until"].clone();
    assert_eq!(
        world.value(&format!(
            "select max(stopped_at) = '{}' from node where stopped_at <= '{stopped_at}'",
            last.as_str().unwrap()
        )),
        "t"
    );
    let made_up = instant(
        &world,
        "select scheduled_for from run_log where trigger = 'catch_up' limit 1",
    );
    assert_has(
        &why(&world, &["steady", &made_up]),
        &[
            "ran and succeeded",
            "made up for after a time without a service",
            "down",
        ],
    );
}

#[test]
fn an_edit_divides_the_old_instants_from_the_new() {
    let world = World::new();
    world.scheduled("steady.py", "*/2 * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded'");
    world.scheduled("steady.py", "1-59/2 * * * * *", "def run(): pass");
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded' and extract(second from scheduled_for)::int % 2 = 1");
    serve.stop();
    let even = instant(&world, "select min(scheduled_for) from run_log");
    let odd = instant(&world, "select max(scheduled_for) from run_log");
    let odd_before = instant(&world, "select min(scheduled_for) + interval '1 s' from run_log");
    let even_after = instant(&world, "select max(scheduled_for) - interval '1 s' from run_log");
    assert_has(
        &why(&world, &["steady", &even]),
        &["ran and succeeded", "(created by syncer)"],
    );
    assert_has(
        &why(&world, &["steady", &odd]),
        &["ran and succeeded", "(edited by syncer)"],
    );
    assert_has(
        &why(&world, &["steady", &odd_before]),
        &[
            "not scheduled yet: the schedule changed at",
            "which asks for it (edited by syncer)",
            "before",
            "after",
        ],
    );
    assert_has(
        &why(&world, &["steady", &even_after]),
        &[
            "not scheduled any more: the schedule had changed at",
            "which asked for it (edited by syncer)",
        ],
    );
}

#[test]
fn the_planner_tells_of_changes_of_the_plan_and_of_nothing_else() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where return_value = '1'");
    world.scheduled("steady.py", "* * * * * *", "def run(): return 2");
    world.wait_for("select count(*) > 0 from run_log where return_value = '2'");
    world.sql("update task set schedule_override = '{*/2 * * * * *}'");
    world.wait_for("select planned_schedule = '{*/2 * * * * *}' from task");
    world.sql("update task set schedule_override = '{99 * * * *}'");
    world.wait_for("select planned_problem <> '' from task");
    world.dropcron_ok(&["pause", "steady"]);
    world.wait_for("select planned_idle = 'paused' from task");
    world.let_pass(4);
    serve.stop();
    let told = world.sql(
        "select p.after ->> 'schedule', p.after ->> 'idle', p.after ->> 'problem' <> '', c.kind, \
                (p.after ->> 'holds_after')::timestamptz <= p.at + interval '1 s', p.before is null \
           from task_event p left join task_event c on c.event_id = (p.after ->> 'cause')::bigint \
          where p.kind = 'planned' order by p.event_id",
    );
    let told: Vec<Vec<&str>> = told
        .iter()
        .map(|row| row.iter().map(|cell| cell.as_deref().unwrap_or("-")).collect())
        .collect();
    let every_second = "[\"* * * * * *\"]";
    let every_other = "[\"*/2 * * * * *\"]";
    assert_eq!(
        told,
        [
            [every_second, "-", "-", "created", "t", "t"],
            [every_other, "-", "-", "overridden", "t", "f"],
            [every_other, "-", "t", "overridden", "t", "f"],
            [every_other, "paused", "t", "paused", "t", "f"],
        ]
    );
    let text = why(&world, &["steady"]);
    assert_has(&text, &["not planned", "99", "every 2 seconds", "(overridden by "]);
}

#[test]
fn a_run_whose_packages_cannot_be_had_says_why() {
    let world = World::new();
    let header = "# /// script\n# dependencies = [\"httpx\"]\n# [tool.dropcron]\n# schedule = \"* * * * * *\"\n# ///\n";
    world.script("fetch.py", &format!("{header}def run(): pass"));
    let serve = world.serve_with(&world.data, &[("DROPCRON_UV", "/nonexistent/uv")]);
    world.wait_for("select count(*) > 0 from run_log where reason = 'environment'");
    world.wait_for("select count(*) > 0 from task_event where kind = 'environment'");
    let told_at = world.value("select at from task_event where kind = 'environment'");
    let later = format!("from run_log where reason = 'environment' and scheduled_for > '{told_at}'");
    world.wait_for(&format!("select count(*) > 0 {later}"));
    serve.stop();
    let at = instant(&world, &format!("select min(scheduled_for) {later}"));
    let text = why(&world, &["fetch", &at]);
    assert_has(
        &text,
        &[
            "failed before it started",
            "reason    environment",
            "packages  could not be had since ",
            "still is so: `DROPCRON_UV` is `/nonexistent/uv`, and there is no such program",
        ],
    );
    assert!(!text.contains("file broken"), "{text}");
}

#[test]
fn a_broken_header_is_told_beside_what_ran_all_the_same() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    world.script(
        "hopeless.py",
        "# /// script\n# [tool.dropcron]\n# schedule = \"99 * * * *\"\n# ///\ndef run(): pass",
    );
    let serve = world.serve();
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    world.scheduled("steady.py", "61 * * * *", "def run(): return 2");
    world.wait_for("select problem <> '' from task where name = 'steady'");
    let broken_at = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where status = 'succeeded' and scheduled_for > '{broken_at}'"
    ));
    serve.stop();
    let at = instant(
        &world,
        &format!("select min(scheduled_for) from run_log where status = 'succeeded' and scheduled_for > '{broken_at}'"),
    );
    let text = why(&world, &["steady", &at]);
    assert_has(
        &text,
        &[
            "ran and succeeded",
            "file broken",
            "still is: ",
            "steady.py",
            "61",
            "the last good version was in force",
        ],
    );
    let before = instant(
        &world,
        "select min(scheduled_for) from run_log where status = 'succeeded'",
    );
    assert!(!why(&world, &["steady", &before]).contains("broken"));
    let text = why(&world, &["hopeless"]);
    assert_has(
        &text,
        &["not scheduled: its file had never been good", "hopeless.py", "99"],
    );
}

#[test]
fn a_time_at_which_nothing_was_due_shows_the_nearest_instants() {
    let world = World::new();
    world.scheduled("steady.py", "*/5 * * * * *", "def run(): pass");
    world.script("by_hand.py", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded'");
    let run_id = world.value("select run_id from run_log order by scheduled_for limit 1");
    let at = instant(&world, "select min(scheduled_for) + interval '2 s' from run_log");
    let before = world.value("select to_char(min(scheduled_for) at time zone 'UTC', 'HH24:MI:SS') from run_log");
    let text = why(&world, &["steady", &at]);
    assert!(text.lines().next().unwrap().ends_with("not scheduled then"), "{text}");
    assert_has(
        &text,
        &[
            &format!("before  {before}: ran and succeeded"),
            &format!("(run {run_id})"),
            "after",
        ],
    );
    assert_has(
        &why(&world, &["by_hand"]),
        &["it runs on request only", "dropcron runs --task by_hand"],
    );
    let next = instant(
        &world,
        "select to_timestamp(ceil(extract(epoch from now()) / 5) * 5 + 3600)",
    );
    let text = why(&world, &["steady", &next]);
    assert_has(&text, &["still to come, in "]);
    serve.stop();
}

#[test]
fn a_task_is_found_under_each_name_it_had_and_after_it_is_gone() {
    let world = World::new();
    let path = world.scheduled("old.py", "* * * * * *", "def run(): return 'the very one'");
    let serve = world.serve_with(&world.data, &[("DROPCRON_SCAN_INTERVAL", "500ms")]);
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded'");
    let at = instant(&world, "select min(scheduled_for) from run_log");
    std::fs::rename(&path, world.scripts.join("new.py")).unwrap();
    world.wait_for("select count(*) > 0 from run_log where task_name = 'new' and status = 'succeeded'");
    for name in ["old", "new"] {
        let text = why(&world, &[name, &at]);
        assert_has(
            &text,
            &["ran and succeeded", "it was called `old` then, and is `new` now"],
        );
    }
    std::fs::remove_file(world.scripts.join("new.py")).unwrap();
    world.wait_for("select planned_idle = 'retired' from task");
    world.let_pass(2);
    let gone = instant(&world, "select date_trunc('second', clock_timestamp())");
    assert_has(
        &why(&world, &["new", &gone]),
        &["the task was not there: its file was found gone at"],
    );
    assert_has(&why(&world, &["new", &at]), &["ran and succeeded"]);
    let early = instant(&world, "select created_at - interval '1 h' from task");
    assert_has(
        &why(&world, &["new", &early]),
        &["the task was not there yet: it was first seen at", "first due"],
    );
    serve.stop();
}

/// A task whose plan is in force since long ago, as if dropcron had run all the time.
fn of_old(world: &World, schedule: &str) {
    let header = format!("schedule = \"{schedule}\"\ntimezone = \"Europe/Berlin\"");
    world.script("nightly.py", &with_header(&header, "def run(): pass"));
    let serve = world.serve();
    world.wait_for("select planned_schedule is not null from task");
    serve.stop();
    world.sql(
        "update task set created_at = '2024-01-01 00:00Z'; \
         update task_event set at = '2024-01-01 00:00:01Z', after = after || case when kind = 'planned' \
                then '{\"holds_after\": \"2024-01-01T00:00:00Z\"}'::jsonb else '{}' end; \
         select ensure_run_log_partition(m) from generate_series('2024-01-01'::timestamptz, '2024-12-01', '1 month') m",
    );
}

fn ran_at(world: &World, at: &str) {
    world.sql(&format!(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at, started_at, finished_at) \
         select nextval('run_id_sequence'), task_id, name, '{at}', 'schedule', 'succeeded', '{at}', '{at}', '{at}', \
                '{at}'::timestamptz + interval '3 s' from task where name = 'nightly'"
    ));
}

#[test]
fn a_local_time_that_did_not_exist_says_what_was_done_instead() {
    let world = World::new();
    of_old(&world, "30 2 * * *");
    ran_at(&world, "2024-03-30 01:30Z");
    ran_at(&world, "2024-03-31 01:00Z");
    let text = why(&world, &["nightly", "2024-03-31T02:30"]);
    assert!(
        text.starts_with(
            "02:30 did not exist on 2024-03-31 in Europe/Berlin: clocks went from 02:00 to 03:00; \
             a schedule of fixed times fires at 03:00 instead, once\n"
        ),
        "{text}"
    );
    assert_has(
        &text,
        &["nightly, 2024-03-31 03:00:00 CEST (01:00:00Z): ran and succeeded after 3.0s"],
    );
    // Unquoted, it is two words.
    assert_eq!(why(&world, &["nightly", "2024-03-31", "02:30"]), text);
    let ordinary = why(&world, &["nightly", "2024-03-30 02:30"]);
    assert_has(
        &ordinary,
        &["nightly, 2024-03-30 02:30:00 CET (01:30:00Z): ran and succeeded"],
    );
    world.sql("delete from run_log where scheduled_for = '2024-03-31 01:00Z'; \
               update task_event set after = jsonb_set(after, '{schedule}', '[\"*/30 2 * * *\"]') where kind = 'planned'",
    );
    let text = why(&world, &["nightly", "2024-03-31T02:30"]);
    assert_has(
        &text,
        &[
            "a schedule that begins with `*` skips it",
            "03:00:00 CEST (01:00:00Z): not scheduled then",
            "before",
        ],
    );
}

#[test]
fn a_local_time_that_occurred_twice_is_answered_twice() {
    let world = World::new();
    of_old(&world, "30 2 * * *");
    ran_at(&world, "2024-10-27 00:30Z");
    let text = why(&world, &["nightly", "2024-10-27T02:30"]);
    assert_has(
        &text,
        &[
            "02:30 occurred twice on 2024-10-27 in Europe/Berlin: clocks went back from 03:00 to 02:00; a schedule of fixed times fires the first time only",
            "2024-10-27 02:30:00 CEST (00:30:00Z): ran and succeeded",
            "2024-10-27 02:30:00 CET (01:30:00Z): not scheduled: it fires the first time that the clock shows this",
        ],
    );
    assert_eq!(
        answer(&world, &["nightly", "2024-10-27T02:30"])["instants"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn an_instant_without_a_row_that_should_have_one_is_admitted() {
    let world = World::new();
    of_old(&world, "30 2 * * *");
    let text = why(&world, &["nightly", "2024-06-01T02:30"]);
    assert_has(
        &text,
        &[
            "the run log has no row for it; this should not be",
            "no service had ever run before",
        ],
    );
    world.dropcron_ok(&["run", "nightly", "--as-of", "2024-06-01T00:30:00Z"]);
    let text = why(&world, &["nightly", "2024-06-01T02:30"]);
    assert_has(
        &text,
        &["asked for  run 1 by ", ", to stand for this instant: succeeded"],
    );
    world.sql("drop table run_log_2024_01; drop table run_log_2024_02");
    let text = why(&world, &["nightly", "2024-01-15T02:30"]);
    assert_has(
        &text,
        &[
            "not known: the run log does not reach back so far",
            "begins at 2024-03-01",
        ],
    );
}

#[test]
fn a_task_from_before_plans_were_recorded_is_told_by_its_events() {
    let world = World::new();
    of_old(&world, "30 2 * * *");
    world.sql(
        "delete from task_event where kind = 'planned'; \
         insert into task_event (task_id, task_name, at, actor, kind, before, after) \
         select task_id, name, '2024-05-01 12:00Z', 'syncer', 'edited', \
                '{\"header\": {\"schedule\": [\"15 4 * * *\"], \"timezone\": \"Europe/Berlin\", \"enabled\": true}}', \
                jsonb_build_object('header', header) from task",
    );
    ran_at(&world, "2024-04-01 02:15Z");
    let text = why(&world, &["nightly", "2024-04-02T04:15"]);
    assert_has(
        &text,
        &[
            "this should not be",
            "at 04:15 every day (Europe/Berlin)",
            "no plan was recorded then",
        ],
    );
    let text = why(&world, &["nightly", "2024-05-02T04:15"]);
    assert_has(
        &text,
        &[
            "not scheduled any more: the schedule had changed at 2024-05-01 14:00:00",
            "(edited by syncer)",
        ],
    );
}

#[test]
fn text_that_is_no_time_and_names_of_no_task_are_refused_with_what_to_write() {
    let world = World::new();
    world.scheduled("backup.py", "30 2 * * *", "def run(): pass");
    world.dropcron_ok(&["run", "backup.py"]);
    for text in [
        "yesterday",
        "25:00",
        "2:3",
        "2026-02-30T02:30",
        "2026-11-01",
        "02:30 CET",
        "-1",
    ] {
        let output = world.dropcron(&["why", "backup", "--", text]);
        assert_eq!(output.status.code(), Some(2), "{text}: {}", text_of(&output));
        assert_has(&text_of(&output), &["is not a time", "2026-11-01T02:30:00Z"]);
    }
    let output = world.dropcron(&["why", "bakcup"]);
    assert_eq!(output.status.code(), Some(3), "{}", text_of(&output));
    assert_has(
        &text_of(&output),
        &["there is no task `bakcup`", "did you mean `backup`?"],
    );
    // No service has ever run: nothing is due yet, and nobody is there.
    assert_has(&why(&world, &["backup"]), &["still to come"]);
}
