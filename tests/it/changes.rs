//! Changes: a pause, an edit, a cancel or a deletion shortly before an instant, by file, command line and psql.

use dropcron::database::Database;
use dropcron::store::runs::{self, Ahead, Asker, Move};

use crate::support::{World, with_header};

/// A task of every second that runs, and whose next instant a node has just claimed ahead.
fn about_to_fire(world: &World) {
    world.wait_for("select count(*) > 0 from run_log where task_name = 'steady' and status = 'succeeded'");
    world.wait_for(
        "select count(*) > 0 from run_lease join task using (task_id) where name = 'steady' and state = 'claimed' \
            and due_at > clock_timestamp() + interval '300 ms'",
    );
}

/// No instant was fired twice, and what was fired is recorded.
fn assert_fired_once(world: &World) {
    let mut marks = world.marks();
    let total = marks.len();
    marks.sort_by(|a, b| a[..2].cmp(&b[..2]));
    marks.dedup_by(|a, b| a[..2] == b[..2]);
    assert_eq!(marks.len(), total, "an instant was fired twice");
    let started = world.value("select count(*) from run_log where started_at is not null");
    assert_eq!(started, total.to_string(), "{}", world.run_log());
}

fn steady(world: &World) -> String {
    world.marking() + "def run():\n    mark()\n    return 1"
}

#[test]
fn a_pause_before_an_instant_is_one_span_and_never_replayed() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", &steady(&world));
    let serve = world.serve();
    about_to_fire(&world);
    world.dropcron_ok(&["pause", "steady", "--reason", "maintenance"]);
    world.wait_for("select planned_idle = 'paused' from task");
    let paused_at = world.value("select paused_at from task");
    world.let_pass(4);
    assert_eq!(
        world.value(&format!(
            "select count(*) from run_log where scheduled_for > '{paused_at}'::timestamptz + interval '1 s'"
        )),
        "0",
        "nothing is recorded of a pause before it ends"
    );
    let resumed_at = world.value("select clock_timestamp()");
    world.dropcron_ok(&["resume", "steady"]);
    world.wait_for(&format!(
        "select count(*) >= 2 from run_log where status = 'succeeded' and scheduled_for > '{resumed_at}'"
    ));
    serve.stop();
    let spans =
        world.sql("select reason, missed_count >= 3, missed_until is not null from run_log where status = 'missed'");
    assert_eq!(spans.len(), 1, "{}", world.run_log());
    assert_eq!(spans[0], [Some("paused".into()), Some("t".into()), Some("t".into())]);
    let replayed = format!(
        "select count(*) from run_log where started_at is not null and scheduled_for > '{paused_at}'::timestamptz + interval '1 s' \
            and scheduled_for < '{resumed_at}'"
    );
    assert_eq!(world.value(&replayed), "0", "{}", world.run_log());
    world.assert_unbroken("steady");
    assert_fired_once(&world);
}

#[test]
fn a_pause_and_an_edit_beside_a_drain_lose_and_double_nothing() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", &steady(&world));
    let serve = world.serve();
    about_to_fire(&world);
    // Planned by hand at once, as another node would: the claim that is given back must not undo that.
    world.sql(
        "begin; update task set paused_at = clock_timestamp(); \
         update task set planned_revision = revision, planned_idle = 'paused'; \
         update task_schedule set next_fire_at = null, next_due_at = null; commit",
    );
    serve.stop();
    assert_eq!(world.value("select next_fire_at is null from task_schedule"), "t");
    assert_eq!(
        world.value("select count(*) from run_lease where state <> 'queued'"),
        "0"
    );
    let serve = world.serve();
    world.wait_for("select count(*) = 0 from run_lease");
    let resumed_at = world.value("select clock_timestamp()");
    world.dropcron_ok(&["resume", "steady"]);
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where status = 'succeeded' and scheduled_for > '{resumed_at}'"
    ));
    serve.stop();
    world.assert_unbroken("steady");
    assert_fired_once(&world);
}

#[test]
fn a_change_of_schedule_owes_nothing_that_it_did_not_owe() {
    let world = World::new();
    world.scheduled("steady.py", "*/2 * * * * *", &steady(&world));
    let serve = world.serve();
    about_to_fire(&world);
    world.scheduled("steady.py", "1-59/2 * * * * *", &steady(&world));
    world.wait_for("select count(*) >= 2 from run_log where status = 'succeeded' and extract(second from scheduled_for)::int % 2 = 1");
    serve.stop();
    let changed_at = world.value("select updated_at from task");
    let rows = world.sql(&format!(
        "select extract(second from scheduled_for)::int % 2, scheduled_for <= '{changed_at}', \
                scheduled_for > '{changed_at}'::timestamptz + interval '1 s', \
                extract(epoch from scheduled_for - lag(scheduled_for) over (order by scheduled_for))::int \
           from run_log order by scheduled_for"
    ));
    let mut odd = false;
    for row in &rows {
        let is_odd = row[0].as_deref() == Some("1");
        let before = row[1].as_deref() == Some("t");
        let well_after = row[2].as_deref() == Some("t");
        assert!(
            !(is_odd && before),
            "an instant of the new schedule before the change: {}",
            world.run_log()
        );
        assert!(
            !well_after || is_odd,
            "an instant of the old schedule after the change: {}",
            world.run_log()
        );
        let gap: i32 = row[3].as_deref().map_or(2, |gap| gap.parse().unwrap());
        assert!(
            gap == 2 || (gap <= 3 && is_odd && !odd),
            "a gap of {gap} s: {}",
            world.run_log()
        );
        odd = is_odd;
    }
    assert_fired_once(&world);
}

#[test]
fn a_change_of_code_costs_no_instant_and_holds_from_then_on() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", &steady(&world));
    let serve = world.serve();
    about_to_fire(&world);
    world.scheduled(
        "steady.py",
        "* * * * * *",
        &steady(&world).replace("return 1", "return 2"),
    );
    world.wait_for("select count(*) >= 2 from run_log where return_value = '2'");
    serve.stop();
    world.assert_unbroken("steady");
    assert_eq!(
        world.value("select count(*) from run_log where status <> 'succeeded'"),
        "0"
    );
    let order = "select max(scheduled_for) filter (where return_value = '1') < min(scheduled_for) filter (where return_value = '2') from run_log";
    assert_eq!(world.value(order), "t");
    let versions = "select count(*) = 2 and bool_and(n = 1) from \
                    (select script_sha256, count(distinct return_value) as n from run_log group by 1) x";
    assert_eq!(world.value(versions), "t");
    assert_fired_once(&world);
}

#[test]
fn a_broken_edit_leaves_the_last_good_version_in_force_until_it_is_healed() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): return 1");
    let serve = world.serve();
    about_to_fire(&world);
    world.scheduled("steady.py", "* * * * * *", "def run( return 2");
    world.wait_for("select problem like '%steady.py%' from task");
    let broken_at = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 1 from run_log where return_value = '1' and scheduled_for > '{broken_at}'"
    ));
    world.scheduled("steady.py", "* * * * * *", "def run(): return 3");
    world.wait_for("select count(*) > 0 from run_log where return_value = '3'");
    assert_eq!(world.value("select problem is null from task"), "t");
    serve.stop();
    world.assert_unbroken("steady");
}

#[test]
fn a_claimed_run_that_is_cancelled_is_recorded_once() {
    let world = World::new();
    let gate = world.gate("gate");
    let body = format!("def run():\n    {}", gate.wait());
    world.scheduled("steady.py", "*/3 * * * * *", &body);
    let serve = world.serve();
    let claimed = "state = 'claimed' and due_at > clock_timestamp() + interval '300 ms'";
    let run_id = loop {
        world.wait_for(&format!(
            "select count(*) > 0 from run_lease where ({claimed}) or state = 'running'"
        ));
        if let Some(row) = world
            .sql(&format!("select run_id from run_lease where {claimed}"))
            .first()
        {
            break row[0].clone().unwrap();
        }
        // Nobody looked while it was claimed, and now it waits at the gate: the next one.
        if let Some(row) = world
            .sql("select run_id from run_lease where state = 'running'")
            .first()
        {
            let missed = row[0].clone().unwrap();
            world.dropcron_ok(&["cancel", &missed]);
            world.wait_for(&format!("select count(*) = 0 from run_lease where run_id = {missed}"));
        }
    };
    world.dropcron_ok(&["cancel", &run_id]);
    world.wait_for(&format!(
        "select status = 'cancelled' and reason = 'requested' from run_log where run_id = {run_id}"
    ));
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where run_id > {run_id} and status = 'running'"
    ));
    assert_eq!(
        world.value(&format!(
            "select count(*) from run_log where scheduled_for = (select scheduled_for from run_log where run_id = {run_id})"
        )),
        "1"
    );
    let running = world.value("select run_id from run_log where status = 'running'");
    world.dropcron_ok(&["pause", "steady"]);
    world.dropcron_ok(&["cancel", &running]);
    serve.stop();
}

#[test]
fn a_file_that_goes_takes_its_later_instants_with_it() {
    let world = World::new();
    let path = world.scheduled("steady.py", "* * * * * *", &steady(&world));
    let serve = world.serve_with(&world.data, &[("DROPCRON_SCAN_INTERVAL", "500ms")]);
    about_to_fire(&world);
    std::fs::remove_file(path).unwrap();
    world.wait_for("select retired_at is not null from task");
    world.let_pass(3);
    world.wait_for("select count(*) = 0 from run_lease");
    let late = "select count(*) from run_log, task where scheduled_for > retired_at + interval '1 s'";
    assert_eq!(world.value(late), "0", "{}", world.run_log());
    // The same file comes back: the same task, and nothing of the meantime.
    let retired_at = world.value("select retired_at from task");
    world.scheduled("steady.py", "* * * * * *", &steady(&world));
    world.wait_for(&format!("select count(*) > 1 from run_log where status = 'succeeded' and scheduled_for > '{retired_at}'::timestamptz + interval '2 s'"));
    assert_eq!(world.value("select count(*) from task"), "1");
    assert_eq!(world.value("select count(*) from run_log where status = 'missed'"), "0");
    serve.stop();
    assert_fired_once(&world);
}

#[test]
fn a_disabled_task_owes_one_span_when_it_is_enabled_again() {
    let world = World::new();
    let serve = world.serve();
    let enabled = |yes: bool| {
        let header = format!("schedule = \"* * * * * *\"\nenabled = {yes}");
        world.script("steady.py", &with_header(&header, "def run(): pass"));
    };
    enabled(true);
    about_to_fire(&world);
    enabled(false);
    world.wait_for("select planned_idle = 'disabled' from task");
    world.let_pass(3);
    enabled(true);
    world.wait_for(
        "select count(*) = 1 from run_log where status = 'missed' and reason = 'disabled' and missed_count >= 2",
    );
    let resumed = "select count(*) > 0 from run_log r, (select missed_until from run_log where status = 'missed') m \
                    where r.status = 'succeeded' and scheduled_for > m.missed_until";
    world.wait_for(resumed);
    serve.stop();
    world.assert_unbroken("steady");
}

#[test]
fn an_override_typed_in_psql_takes_effect_and_a_bad_one_is_shown() {
    let world = World::new();
    world.scheduled("steady.py", "*/2 * * * * *", "def run(): pass");
    let serve = world.serve();
    about_to_fire(&world);
    world.sql("update task set schedule_override = '{99 * * * *}'");
    world.wait_for("select planned_problem <> '' from task");
    let broken_at = world.value("select clock_timestamp()");
    world.wait_for(&format!(
        "select count(*) > 1 from run_log where status = 'succeeded' and scheduled_for > '{broken_at}'"
    ));
    assert_eq!(
        world.value("select count(*) from run_log where extract(second from scheduled_for)::int % 2 = 1"),
        "0"
    );
    world.sql("update task set schedule_override = '{1-59/2 * * * * *}'");
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded' and extract(second from scheduled_for)::int % 2 = 1");
    assert_eq!(world.value("select planned_problem is null from task"), "t");
    assert_eq!(
        world.value("select count(*) from task_event where kind = 'overridden' and actor = session_user"),
        "2"
    );
    serve.stop();
}

#[test]
fn what_somebody_spoils_in_psql_is_refused_or_shown_and_heals_when_it_is_mended() {
    let world = World::new();
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    about_to_fire(&world);
    world.sql(
        "create function pg_temp.refuses(change text) returns boolean language plpgsql as $$
         begin
           execute 'update task set ' || change;
           return false;
         exception when check_violation then return true;
         end $$",
    );
    for change in [
        "timeout_seconds = -5",
        "retry_max = -1",
        "grace_seconds = -1",
        "keep_runs_seconds = -1",
        "keep_runs_seconds = 'NaN'",
        "keep_output_seconds = 'infinity'",
        "schedule_override = '{null}'",
        "notify_to = '{{a},{b}}'",
        "overlap = 'maybe'",
        "max_running = 0",
    ] {
        assert!(
            world.holds(&format!("select pg_temp.refuses($a${change}$a$)")),
            "{change}"
        );
    }
    // Columns of the header too, although they are the syncer's.
    for (spoilt, mended, shown) in [
        ("schedule = '{99 * * * *}'", "schedule = '{* * * * * *}'", "99"),
        ("timezone = 'Europe/Atlantis'", "timezone = 'UTC'", "Europe/Atlantis"),
        ("timezone_override = 'Mars'", "timezone_override = null", "Mars"),
        ("schedule_override = '{}'", "schedule_override = null", ""),
        (
            "timeout_seconds = 'NaN', grace_seconds = 'infinity'",
            "timeout_seconds = null, grace_seconds = null",
            "",
        ),
        (
            "notify_to = '{\"\"}', args = '{\"a b\": null}'",
            "notify_to = '{}', args = '{}'",
            "",
        ),
    ] {
        world.sql(&format!("update task set {spoilt}"));
        world.wait_for("select revision = planned_revision or planned_problem is not null from task");
        if !shown.is_empty() {
            world.wait_for(&format!("select planned_problem like '%{shown}%' from task"));
            let tasks = world.dropcron_ok(&["tasks"]);
            assert!(tasks.contains("problem:") && tasks.contains(shown), "{tasks}");
        }
        let spoilt_at = world.value("select clock_timestamp()");
        world.let_pass(2);
        world.sql(&format!("update task set {mended}"));
        world.wait_for("select revision = planned_revision and planned_problem is null from task");
        world.wait_for(&format!(
            "select count(*) > 1 from run_log where status = 'succeeded' and scheduled_for > '{spoilt_at}'::timestamptz + interval '2 s'"
        ));
    }
    let log = serve.stop();
    assert!(!log.contains("panicked"), "{log}");
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_task_deleted_with_a_run_in_flight_breaks_nothing() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!("def run():\n    {}\n    return 'done'", gate.wait());
    world.script(
        "doomed.py",
        &with_header("schedule = \"* * * * * *\"\noverlap = \"queue\"", &body),
    );
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) = 2 from run_lease join task using (task_id) where name = 'doomed'");
    world.sql("delete from task where name = 'doomed'");
    let deleted_at = world.value("select clock_timestamp()");
    gate.open();
    world.wait_for("select count(*) = 1 from run_log where task_name = 'doomed' and status = 'succeeded' and return_value = '\"done\"'");
    world.wait_for(
        "select count(*) = 1 from run_log where task_name = 'doomed' and status = 'cancelled' and reason = 'void'",
    );
    world.wait_for(&format!("select count(*) > 1 from run_log where task_name = 'steady' and status = 'succeeded' and scheduled_for > '{deleted_at}'"));
    serve.stop();
    assert_eq!(world.value("select count(*) from run_lease"), "0");
}

#[test]
fn a_transaction_that_is_held_open_stops_no_other_task() {
    let world = World::new();
    world.scheduled("held.py", "* * * * * *", "def run(): pass");
    world.scheduled("steady.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    about_to_fire(&world);
    world.wait_for("select count(*) > 0 from run_log where task_name = 'held' and status = 'succeeded'");
    let person = world.session();
    person.sql("set search_path = dropcron; begin; select * from task_schedule join task using (task_id) where name = 'held' for update of task_schedule");
    world.sql("update task set schedule_override = '{*/2 * * * * *}' where name = 'held'");
    let held_at = world.value("select clock_timestamp()");
    let fires = |count: u32| {
        format!(
            "select count(*) >= {count} from run_log where task_name = 'steady' and status = 'succeeded' and scheduled_for > '{held_at}'"
        )
    };
    world.wait_for(&fires(3));
    assert_eq!(
        world.value("select revision <> planned_revision from task where name = 'held'"),
        "t"
    );
    person.sql("commit");
    world.wait_for("select revision = planned_revision from task where name = 'held'");
    serve.stop();
    world.assert_unbroken("steady");
    // Nobody waited for the lock: every instant was on time.
    let late = "select count(*) from run_log where task_name = 'steady' and status <> 'succeeded'";
    assert_eq!(world.value(late), "0", "{}", world.run_log());
}

#[test]
fn a_plan_that_is_no_longer_in_force_moves_nothing() {
    let world = World::new();
    world.scheduled("later.py", "0 0 1 1 *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select revision = planned_revision from task");
    let row = world.sql(
        "select task_id, planned_revision, node_id, to_char(date_trunc('second', now() at time zone 'UTC'), 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') from task, node",
    )
    .remove(0);
    serve.stop();
    let [task_id, revision, node_id, at] = <[Option<String>; 4]>::try_from(row).unwrap().map(Option::unwrap);
    world.sql(&format!(
        "update node set state = 'live', lease_until = now() + interval '1 hour'; \
         update task_schedule set last_fire_at = '{at}'::timestamptz - interval '1 s', next_fire_at = '{at}', next_due_at = '{at}'"
    ));
    let at: jiff::Timestamp = at.parse().unwrap();
    let asker = Asker {
        node_id: node_id.parse().unwrap(),
        now: at,
        error_seconds: 1.0,
    };
    let (task_id, revision): (i64, i64) = (task_id.parse().unwrap(), revision.parse().unwrap());
    let ahead = |planned_revision| Ahead {
        task_id,
        scheduled_for: at,
        due_at: at,
        next_fire_at: None,
        planned_revision,
    };
    let moved = |planned_revision| Move {
        task_id,
        expected: at,
        next_fire_at: None,
        last_fire_at: at,
        planned_revision,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let database = Database::new(world.url.parse().unwrap(), None).unwrap();
        let mut connection = database.connection().await.unwrap();
        let stale = runs::claim_ahead(&mut connection, asker, 1.0, &[ahead(revision - 1)])
            .await
            .unwrap();
        assert!(stale.is_empty());
        runs::fire(&mut connection, asker, &[moved(revision - 1)], &[], 0)
            .await
            .unwrap();
    });
    assert_eq!(world.value("select next_fire_at is not null from task_schedule"), "t");
    runtime.block_on(async {
        let database = Database::new(world.url.parse().unwrap(), None).unwrap();
        let mut connection = database.connection().await.unwrap();
        let taken = runs::claim_ahead(&mut connection, asker, 1.0, &[ahead(revision)])
            .await
            .unwrap();
        assert_eq!(taken.len(), 1);
    });
    assert_eq!(world.value("select next_fire_at is null from task_schedule"), "t");
}

#[test]
fn every_change_of_a_task_leaves_an_event_with_its_actor() {
    let world = World::new();
    let serve = world.serve_with(&world.data, &[("DROPCRON_SCAN_INTERVAL", "500ms")]);
    let happened = |kind: &str, name: &str| {
        world.wait_for(&format!(
            "select count(*) > 0 from task_event where kind = '{kind}' and task_name = '{name}'"
        ));
    };
    let first = world.scheduled("first.py", "0 0 1 1 *", "def run(): return 1");
    happened("created", "first");
    world.scheduled("first.py", "0 0 1 1 *", "def run(): return 2");
    happened("edited", "first");
    world.scheduled("first.py", "0 0 99 1 *", "def run(): return 2");
    happened("problem", "first");
    world.scheduled("first.py", "0 0 1 1 *", "def run(): return 2");
    happened("healed", "first");
    world.dropcron_ok(&["pause", "first"]);
    happened("paused", "first");
    world.dropcron_ok(&["resume", "first"]);
    happened("resumed", "first");
    std::fs::rename(&first, world.scripts.join("second.py")).unwrap();
    happened("renamed", "second");
    std::fs::remove_file(world.scripts.join("second.py")).unwrap();
    happened("retired", "second");
    serve.stop();
    let kinds = world.value("select string_agg(kind, ' ' order by event_id) from task_event where kind <> 'planned'");
    assert_eq!(kinds, "created edited problem healed paused resumed renamed retired");
    let by_syncer =
        "select string_agg(distinct actor, ' ') from task_event where kind not in ('paused', 'resumed', 'planned')";
    assert_eq!(world.value(by_syncer), "syncer");
    let people = "select count(distinct actor), bool_and(actor <> '' and actor <> 'syncer') from task_event where kind in ('paused', 'resumed')";
    assert_eq!(world.sql(people), [[Some("1".to_owned()), Some("t".to_owned())]]);
    assert_eq!(world.value("select count(distinct task_id) from task_event"), "1");
}

#[test]
fn a_plan_that_cannot_be_read_any_more_stands_still_visibly_until_it_is_repaired() {
    let world = World::new();
    world.scheduled("broken.py", "* * * * * *", "def run():\n    return 1");
    world.scheduled("steady.py", "* * * * * *", "def run():\n    return 1");
    let serve = world.serve();
    world.wait_for("select count(distinct task_name) = 2 from run_log where status = 'succeeded'");
    serve.stop();
    // As after an upgrade of the system's zone data that dropped the zone.
    world.sql("update task set planned_timezone = 'Europe/Atlantis' where name = 'broken'");
    let before = world.value("select max(run_id) from run_log");
    let _serve = world.serve();
    world.wait_for("select planned_problem like '%Atlantis%' from task where name = 'broken'");
    world.wait_for(&format!(
        "select count(*) > 1 from run_log where task_name = 'steady' and run_id > {before} and trigger = 'schedule'"
    ));
    assert!(
        world.holds(&format!(
            "select count(*) = 0 from run_log where task_name = 'broken' and run_id > {before}"
        )),
        "{}",
        world.run_log()
    );
    let why = world.dropcron_ok(&["why", "broken"]);
    assert!(
        why.contains("did not run: its schedule cannot be read any more"),
        "{why}"
    );
    world.scheduled("broken.py", "*/2 * * * * *", "def run():\n    return 2");
    world.wait_for(&format!(
        "select count(*) > 0 from run_log where task_name = 'broken' and run_id > {before} and status = 'succeeded'"
    ));
    assert_eq!(
        world.value("select planned_problem from task where name = 'broken'"),
        ""
    );
}
