//! Retention: days are rolled up before their runs go, partitions go whole, and nothing that somebody does in psql stops it for good.

use crate::support::{World, text_of, wait_until, with_header};

/// A world with a task `old` that has 10 runs on each of the first three days of a month 14 months ago: 7 succeeded, 2 failed, and a
/// span of 5 missed instants. And a fresh one.
fn aged() -> World {
    let world = World::new();
    world.script(
        "old.py",
        &with_header("schedule = \"@yearly\"", "def run(): print('x')"),
    );
    let serve = world.serve();
    world.wait_for("select planned_revision = revision from task where name = 'old'");
    serve.stop();
    world.sql(
        "create table public.month as
           select (date_trunc('month', now() at time zone 'UTC') - interval '15 months')::timestamp as begins_at;
         select ensure_run_log_partition(begins_at at time zone 'UTC') from month;
         select ensure_run_output_partition(begins_at at time zone 'UTC') from month;
         insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, started_at,
                              finished_at, script_sha256, missed_count, missed_until)
         select nextval('run_id_sequence'), t.task_id, t.name, at, 'schedule',
                case when n < 7 then 'succeeded' when n < 9 then 'failed' else 'missed' end,
                case when n between 7 and 8 then 'raised' when n = 9 then 'down' end, at, at,
                case when n < 9 then at + interval '10 ms' end, at + n * interval '1 s', t.script_sha256,
                case when n = 9 then 5 end, case when n = 9 then at + interval '5 hours' end
           from task t, month, generate_series(0, 2) day, generate_series(0, 9) n,
                lateral (select (begins_at + day * interval '1 day' + n * interval '1 hour') at time zone 'UTC' as at) i;
         insert into run_output select run_id, 0, begins_at at time zone 'UTC', 'x' from run_log, month;
         update task set created_at = begins_at at time zone 'UTC' - interval '1 year' from month;
         update task_event set at = begins_at at time zone 'UTC' - interval '1 year' from month where kind = 'created'",
    );
    world
}

/// The name of the old partition of the run log.
fn old_partition(world: &World) -> String {
    world.value("select 'run_log_' || to_char(begins_at, 'YYYY_MM') from public.month")
}

fn partitions(world: &World) -> Vec<String> {
    let rows = world.sql("select partition from partitions() order by 1");
    rows.into_iter().map(|row| row[0].clone().unwrap()).collect()
}

#[test]
fn a_month_goes_when_it_is_old_and_leaves_a_row_for_each_task_and_day() {
    let world = aged();
    let old = old_partition(&world);
    let before = partitions(&world);
    let survey = world.dropcron_ok(&["prune", "--dry-run"]);
    assert!(survey.contains(&old) && survey.contains("30"), "{survey}");
    assert_eq!(partitions(&world), before, "a dry run touches nothing");
    assert_eq!(world.value("select count(*) from run_daily"), "0");

    let pruned = world.dropcron_ok(&["prune"]);
    assert!(pruned.contains("dropped"), "{pruned}");
    assert!(!partitions(&world).contains(&old), "{pruned}");
    assert!(
        !partitions(&world)
            .iter()
            .any(|name| name.contains("run_output") && before[0] == *name)
    );
    let days = world.sql(
        "select day - (select begins_at::date from month), succeeded, failed, missed, skipped, duration_p50_ms, start_delay_p95_ms,
                last_scheduled_for - first_scheduled_for
           from run_daily order by day",
    );
    assert_eq!(days.len(), 3, "{days:?}");
    for (number, day) in days.iter().enumerate() {
        let day: Vec<&str> = day.iter().map(|cell| cell.as_deref().unwrap()).collect();
        assert_eq!(day, [&number.to_string(), "7", "2", "5", "0", "3990", "10", "09:00:00"]);
    }
    let horizon =
        world.value("select to_char(begins_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from month");
    // Again: nothing is due, and nothing changes.
    assert!(world.dropcron_ok(&["prune"]).contains("nothing is older"));
    assert_eq!(world.value("select count(*) from run_daily"), "3");
    let why = world.dropcron_ok(&["why", "old", &horizon.replace("-01T", "-02T")]);
    assert!(!why.contains("should not be"), "{why}");
}

#[test]
fn a_month_with_a_run_in_flight_stays() {
    let world = aged();
    world.sql(
        "insert into run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue)
         select run_id, task_id, scheduled_for, attempt, trigger, 'queued', due_at, 'elsewhere' from run_log order by 1 desc limit 1",
    );
    let output = world.dropcron(&["prune"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text_of(&output).contains("cannot be dropped yet: a day of it is not rolled up, or a run of it is active"));
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'old'"),
        "30"
    );
    assert_eq!(
        world.value("select count(*) from run_daily"),
        "2",
        "the other days are over"
    );
    world.sql("delete from run_lease");
    world.dropcron_ok(&["prune"]);
    assert_eq!(world.value("select count(*) from run_log"), "0");
    assert_eq!(world.value("select sum(succeeded) from run_daily"), "21");
}

#[test]
fn a_partition_whose_days_are_not_rolled_up_is_not_dropped_by_anybody() {
    let world = aged();
    let old = old_partition(&world);
    let outcome = |world: &World| world.value(&format!("select outcome from drop_partition('{old}', 1000)"));
    assert_eq!(outcome(&world), "unsettled");
    world.sql("select roll_up(day::date) from month, generate_series(begins_at, begins_at + interval '1 month' - interval '1 day', '1 day') day");
    // A row that came after the roll-up.
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at)
         select nextval('run_id_sequence'), 1, 'old', begins_at at time zone 'UTC' + interval '30 minutes', 'catch_up', 'succeeded', now(), now()
           from month",
    );
    assert_eq!(outcome(&world), "unsettled");
    world.dropcron_ok(&["prune"]);
    assert_eq!(outcome(&world), "gone");
    assert_eq!(world.value("select succeeded from run_daily order by day limit 1"), "8");
}

#[test]
fn an_open_transaction_delays_a_partition_and_nothing_else() {
    let world = aged();
    let old = old_partition(&world);
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    let serve = world.serve_with(&world.data, &[("DROPCRON_KEEP_RUNS", "none")]);
    world.wait_for("select count(*) > 1 from run_log where task_name = 'steady' and status = 'succeeded'");
    let reader = world.session();
    reader.sql("set application_name = 'report'; begin; select count(*) from dropcron.run_log");
    // What the service of this data directory keeps is not what is kept here.
    let prune = || {
        let mut command = world.command(&["prune"]);
        command.env("DROPCRON_KEEP_RUNS", "400d").output().unwrap()
    };
    let output = prune();
    assert_eq!(output.status.code(), Some(1));
    let text = text_of(&output);
    assert!(
        text.contains(&format!("`{old}` is in use: process"))
            && text.contains("(report) has had a transaction open since"),
        "{text}"
    );
    assert_eq!(
        world.value("select sum(succeeded) from run_daily where task_name = 'old'"),
        "21",
        "rolled up all the same"
    );
    let held_until = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 1 from run_log where task_name = 'steady' and status = 'succeeded' and scheduled_for > '{held_until}'"
    ));
    reader.sql("commit");
    assert!(prune().status.success());
    assert!(!partitions(&world).contains(&old));
    serve.stop();
    world.assert_unbroken("steady");
    assert_eq!(
        world.value("select count(*) from run_log where task_name = 'steady' and status <> 'succeeded'"),
        "0"
    );
}

#[test]
fn what_a_person_built_on_a_partition_is_named_and_stops_no_other() {
    let world = aged();
    let old = old_partition(&world);
    world.sql(&format!(
        "select ensure_run_log_partition(begins_at at time zone 'UTC' + interval '1 month') from month;
         create view public.mine as select * from {old};
         create index by_status on {old} (status)"
    ));
    let next = world.value("select 'run_log_' || to_char(begins_at + interval '1 month', 'YYYY_MM') from public.month");
    let output = world.dropcron(&["prune"]);
    assert_eq!(output.status.code(), Some(1));
    let text = text_of(&output);
    assert!(
        text.contains(&format!("`{old}` cannot be dropped: view public.mine depends on")),
        "{text}"
    );
    assert!(
        partitions(&world).contains(&old) && !partitions(&world).contains(&next),
        "{text}"
    );
    assert_eq!(
        world.value("select count(*) from run_log"),
        "30",
        "it is still part of the log"
    );
    world.sql(
        "drop view public.mine;
         create table public.notes (task_id bigint, scheduled_for timestamptz, attempt smallint,
                                    foreign key (task_id, scheduled_for, attempt) references run_log);
         insert into public.notes select task_id, scheduled_for, attempt from run_log limit 1",
    );
    let output = world.dropcron(&["prune"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text_of(&output).contains("foreign key constraint"),
        "{}",
        text_of(&output)
    );
    world.sql("drop table public.notes");
    world.dropcron_ok(&["prune"]);
    assert!(!partitions(&world).contains(&old));
}

#[test]
fn a_header_shortens_what_is_kept_and_roll_ups_outlive_that() {
    let world = aged();
    world.script(
        "old.py",
        &with_header(
            "schedule = \"0 0 * * *\"\nkeep_runs = \"90d\"\nkeep_output = \"7d\"",
            "def run(): print('x')",
        ),
    );
    let serve = world.serve_with(
        &world.data,
        &[("DROPCRON_KEEP_RUNS", "none"), ("DROPCRON_KEEP_OUTPUT", "none")],
    );
    // The loop of the service does it by itself, with the header that it reads next to it.
    world.wait_for("select keep_runs_seconds = 90 * 86400 and keep_output_seconds = 7 * 86400 from task");
    serve.stop();
    let mut prune = world.command(&["prune", "--json"]);
    prune
        .env("DROPCRON_KEEP_RUNS", "none")
        .env("DROPCRON_KEEP_OUTPUT", "none");
    let output = prune.output().unwrap();
    let pruned: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(pruned["tasks"][0]["task"], "old", "{pruned}");
    assert_eq!(pruned["tasks"][0]["runs"], 30, "{pruned}");
    assert_eq!(world.value("select count(*) from run_log where task_name = 'old'"), "0");
    assert_eq!(world.value("select count(*) from run_output"), "0");
    assert!(
        partitions(&world).contains(&old_partition(&world)),
        "partitions are kept for ever"
    );
    assert_eq!(world.value("select sum(succeeded) from run_daily"), "21");
    // A day that is rolled up again keeps what was written before its rows went.
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at)
         select nextval('run_id_sequence'), task_id, 'old', begins_at at time zone 'UTC', 'schedule', 'succeeded', now(), now() from month, task;
         select roll_up(day) from run_daily",
    );
    assert_eq!(world.value("select sum(succeeded) from run_daily"), "21");
    let since = world
        .value("select extract(epoch from now() - runs_kept_since) between 90 * 86400 and 91 * 86400 + 1 from task");
    assert_eq!(since, "t");
}

#[test]
fn what_is_not_kept_of_one_task_is_not_called_a_row_that_should_be_there() {
    let world = World::new();
    world.scheduled("daily.py", "0 0 * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select planned_revision = revision from task");
    serve.stop();
    world.sql(
        "select ensure_run_log_partition(now() - interval '2 months');
         update task set created_at = now() - interval '40 days';
         update task_event set at = now() - interval '40 days',
                after = case kind when 'planned' then after || jsonb_build_object('holds_after', now() - interval '40 days') else after end",
    );
    let day = world.value("select to_char(now() - interval '5 days', 'YYYY-MM-DD\"T00:00:00Z\"')");
    let answer = world.dropcron_ok(&["why", "daily", &day]);
    assert!(answer.contains("this should not be"), "{answer}");
    world.sql("update task set runs_kept_since = date_trunc('day', now() - interval '3 days')");
    let answer = world.dropcron_ok(&["why", "daily", &day]);
    assert!(answer.contains("does not reach back so far"), "{answer}");
}

#[test]
fn what_no_row_names_any_more_goes_with_the_log() {
    let world = aged();
    world.sql(
        "insert into script_version (sha256, content, first_seen_at)
         select sha256(convert_to(name, 'UTF8')), convert_to(name, 'UTF8'), now() - interval '3 years'
           from unnest('{unused, observed, recent, running}'::text[]) name;
         update script_version set first_seen_at = now() where content = 'recent';
         insert into observation (task_id, series, at, value, kind, script_sha256)
         values (1, 'value', now() - interval '3 years', 1, 'number', sha256('observed'));
         insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at, script_sha256)
         values (nextval('run_id_sequence'), 1, 'x', now(), 'manual', 'running', now(), now(), sha256('running'));
         insert into node (node_id, kind, host, pid, version, data_directory_id, max_running, state, lease_until, stopped_at, heartbeat_at)
         select gen_random_uuid(), 'serve', host, 1, '0', gen_random_uuid(), 1, 'stopped', at, at, at
           from (values ('ancient', now() - interval '3 years'), ('young', now())) n(host, at);
         insert into delivery (channel, kind, facts, state, created_at)
         select channel, 'test', '{}', state, now() - interval '3 years' from (values ('a', 'given_up'), ('b', 'pending')) d(channel, state)",
    );
    world.dropcron_ok(&["prune"]);
    assert_eq!(
        world.value("select string_agg(convert_from(content, 'UTF8'), ' ' order by content) from script_version where length(content) < 10"),
        "observed recent running"
    );
    assert_eq!(
        world.value("select count(*) from task join script_version on script_sha256 = sha256"),
        "1"
    );
    assert_eq!(
        world.value("select string_agg(host, ' ') from node where host in ('ancient', 'young')"),
        "young"
    );
    assert_eq!(world.value("select string_agg(channel, ' ') from delivery"), "b");
}

#[test]
fn the_service_does_it_by_itself_and_looks_after_its_files() {
    let world = aged();
    let versions = world.data.join("versions");
    std::fs::create_dir_all(&versions).unwrap();
    let used = world.value("select encode(script_sha256, 'hex') from task");
    let unused = "0".repeat(64);
    for name in [&used, &unused] {
        let path = versions.join(format!("{name}.py"));
        std::fs::write(&path, "x").unwrap();
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(2 * 86_400))
            .unwrap();
    }
    let serve = world.serve();
    serve.wait_for_log("removed what is older than it is to be kept");
    wait_until("the unused file is gone", || {
        !versions.join(format!("{unused}.py")).exists()
    });
    assert!(versions.join(format!("{used}.py")).exists());
    assert!(!partitions(&world).contains(&old_partition(&world)));
    assert_eq!(world.value("select count(*) from duty where duty = 'retention'"), "1");
    serve.stop();
}
