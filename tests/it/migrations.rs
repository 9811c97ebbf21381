//! The schema: made, taken back, made again; by several processes at once; with a comment on everything.

use std::path::PathBuf;
use std::process::Stdio;

use dropcron::run::{Reason, Status};
use dropcron::script::Header;

use crate::support::{Row, World, with_header};

/// Everything in our schemas that is no partition, and not of diesel.
const OBJECTS: &str = "
  SELECT format('%s %s', c.relkind, c.oid::regclass) FROM pg_class c
   WHERE c.relnamespace::regnamespace::text IN ('dropcron', 'dropcron_report') AND NOT c.relispartition AND c.relname NOT LIKE '\\_\\_diesel%'
  UNION ALL
  SELECT format('column %s.%s %s %s', c.oid::regclass, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull)
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
   WHERE c.relnamespace::regnamespace::text IN ('dropcron', 'dropcron_report') AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
     AND c.relname NOT LIKE '\\_\\_diesel%'
  UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE pronamespace::regnamespace::text IN ('dropcron', 'dropcron_report')
  UNION ALL SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint
   WHERE connamespace = 'dropcron'::regnamespace AND conrelid::regclass::text NOT LIKE '%\\_\\_diesel%'
     AND NOT (SELECT relispartition FROM pg_class WHERE oid = conrelid)
  UNION ALL SELECT format('trigger %s %s', tgrelid::regclass, tgname) FROM pg_trigger WHERE NOT tgisinternal
  ORDER BY 1";

/// The `down.sql` of every migration, newest first.
fn downs() -> Vec<PathBuf> {
    let migrations = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut directories: Vec<PathBuf> = migrations
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    directories.sort();
    directories
        .into_iter()
        .rev()
        .map(|directory| directory.join("down.sql"))
        .collect()
}

fn names(rows: Vec<Row>) -> Vec<String> {
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect()
}

#[test]
fn migrations_run_up_and_down_and_up_again() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    let objects = names(world.sql(OBJECTS));
    assert!(objects.iter().any(|object| object == "p run_log"), "{objects:?}");
    // With something in them, partitions too.
    world.script("one.py", "def run():\n    print('x')");
    world.dropcron_ok(&["run", "one.py"]);
    for down in downs() {
        world.sql(&std::fs::read_to_string(&down).unwrap());
    }
    assert_eq!(
        names(world.sql(OBJECTS)),
        Vec::<String>::new(),
        "nothing of ours is left"
    );
    world.sql("delete from __diesel_schema_migrations");
    world.dropcron_ok(&["tasks"]);
    assert_eq!(names(world.sql(OBJECTS)), objects);
}

#[test]
fn processes_that_migrate_at_once_wait_for_each_other() {
    let world = World::new();
    let start = |_| {
        let mut command = world.command(&["tasks"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let children: Vec<_> = (0..4).map(start).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", crate::support::text_of(&output));
    }
    let migrations = downs().len().to_string();
    assert_eq!(
        world.value("select count(*) from __diesel_schema_migrations"),
        migrations
    );
}

#[test]
fn everything_has_a_comment() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    // Indexes of constraints say with their names what they are; so do sequences of identity columns.
    let silent = names(world.sql(
        "SELECT format('%s %s', c.relkind, c.relname) FROM pg_class c
          WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('dropcron', 'dropcron_report'))
            AND NOT c.relispartition AND c.relname NOT LIKE '\\_\\_diesel%'
            AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = c.oid)
            AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'i')
            AND obj_description(c.oid, 'pg_class') IS NULL
         UNION ALL
         SELECT format('column %s.%s', c.relname, a.attname)
           FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          WHERE c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('dropcron', 'dropcron_report'))
            AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition AND c.relname NOT LIKE '\\_\\_diesel%'
            AND col_description(c.oid, a.attnum) IS NULL
         UNION ALL
         SELECT 'function ' || p.oid::regprocedure FROM pg_proc p
          WHERE p.pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname IN ('dropcron', 'dropcron_report'))
            AND obj_description(p.oid, 'pg_proc') IS NULL",
    ));
    assert_eq!(silent, Vec::<String>::new());
}

#[test]
fn the_run_log_takes_each_reason_with_its_status_only() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql(
        "select ensure_run_log_partition('2026-11-23');
         create function pg_temp.accepts(status text, reason text) returns boolean language plpgsql as $$
         begin
           insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at)
           values (1, 1, 'x', '2026-11-23', 'manual', status, reason, now(), now());
           delete from run_log where run_id = 1;
           return true;
         exception when check_violation then return false;
         end $$",
    );
    let accepts = |status: &str, reason: Option<&str>| {
        let reason = reason.map_or("null".to_owned(), |reason| format!("'{reason}'"));
        world.value(&format!("select pg_temp.accepts('{status}', {reason})")) == "t"
    };
    for status in Status::ALL {
        for reason in Reason::ALL {
            let belongs = reason.status() == *status;
            assert_eq!(
                accepts(status.as_str(), Some(reason.as_str())),
                belongs,
                "{status} {reason}"
            );
        }
        let needs_none = status.is_active() || *status == Status::Succeeded;
        assert_eq!(accepts(status.as_str(), None), needs_none, "{status} without a reason");
        assert!(!accepts(status.as_str(), Some("made_up")), "{status}");
    }
    assert!(!accepts("made_up", None));
}

#[test]
fn a_header_may_say_as_much_as_the_table_takes() {
    let world = World::new();
    let (running, catch_up, retries) = (Header::MAX_RUNNING, Header::MAX_CATCH_UP_LIMIT, Header::MAX_RETRIES);
    let header = format!(
        "overlap = \"parallel\"\nmax_running = {running}\nmissed = \"all\"\ncatch_up_limit = {catch_up}\nretries = {retries}"
    );
    world.script("most.py", &with_header(&header, "def run(): pass"));
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from task");
    serve.stop();
    assert_eq!(
        world.value("select format('%s %s %s', max_running, catch_up_limit, retry_max) from task"),
        format!("{running} {catch_up} {retries}")
    );
    world.sql(
        "create function pg_temp.takes_more(column_name text) returns boolean language plpgsql as $$
         begin
           execute format('update task set %1$I = %1$I + 1', column_name);
           return true;
         exception when check_violation then return false;
         end $$",
    );
    for column in ["max_running", "catch_up_limit", "retry_max"] {
        assert!(
            !world.holds(&format!("select pg_temp.takes_more('{column}')")),
            "{column}"
        );
    }
}

#[test]
fn an_override_of_a_paused_task_is_of_who_wrote_it() {
    let world = World::new();
    world.script("one.py", "def run(): pass");
    let path = world.scripts.join("one.py").display().to_string();
    world.dropcron_ok(&["run", &path]);
    world.sql("update task set paused_at = now(), paused_by = 'ada'");
    world.sql("set dropcron.actor = 'grace'; update task set schedule_override = '{@daily}'");
    assert_eq!(
        world.value("select string_agg(kind || ' ' || actor, ', ' order by event_id) from task_event where kind in ('paused', 'overridden')"),
        "paused ada, overridden grace"
    );
    world.sql("update task set name = repeat('x', 1000)");
}

#[test]
fn runs_are_listed_without_reading_all() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.script("one.py", "def run(): pass");
    world.dropcron_ok(&["run", &world.scripts.join("one.py").display().to_string()]);
    // What is rare is as old as the log: whoever reads from the newest on reads everything before it.
    world.sql(
        "select ensure_run_log_partition(at) from generate_series(now() - interval '3 months', now(), '10 days') at;
         insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at)
         select nextval('run_id_sequence'), (select min(task_id) from task) + n % 1000, 'x', at, case n when 59990 then 'manual' else 'schedule' end,
                case when n % 50 = 0 then 'failed' when n > 59995 then 'lost' when n = 59980 then 'running' else 'succeeded' end,
                case when n % 50 = 0 then 'raised' when n > 59995 then 'node_gone' end, at, at
           from generate_series(1, 60000) n, lateral (select now() - n * interval '2 minutes' as at) i;
         insert into run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue, node_id)
         select run_id, task_id, scheduled_for, attempt, trigger, 'running', due_at, 'default', (select min(node_id::text)::uuid from node)
           from run_log where status = 'running';
         analyze run_log",
    );
    let one = world.value("select quote_literal(name) from task");
    let number = world.value("select max(run_id) from run_log");
    let log = include_str!("../../src/store/pages/runs.sql");
    let by_reason = include_str!("../../src/store/pages/runs_by_reason.sql");
    let in_flight = include_str!("../../src/store/pages/runs_in_flight.sql");
    let (first, last) = ("'-infinity'", "'infinity'");
    let page = |name, what, trigger, before| {
        let number = if before == "null" { "null" } else { "1" };
        [
            name, what, trigger, first, last, "null", "null", "null", before, number, "51", "16384",
        ]
    };
    let lost = "'{node_gone,keeper_gone}'";
    let failed = "'{raised,exited,load_failed,no_run}'";
    // A value, as the program sends it: the planner makes nothing of what it cannot reckon.
    let old = &world.value("select quote_literal(now() - interval '80 days')");
    let plans = [
        (log, page("null", "null", "null", "null").to_vec(), 51),
        (log, page("null", "null", "null", old).to_vec(), 51),
        (log, page("null", "'{succeeded}'", "null", "null").to_vec(), 51),
        (log, page("null", "null", "'manual'", "null").to_vec(), 2),
        (log, page("'another'", "null", "'manual'", "null").to_vec(), 0),
        (log, page("null", "null", "'backfill'", "null").to_vec(), 0),
        (log, page(&one, "null", "null", "null").to_vec(), 51),
        (by_reason, page("null", lost, "null", "null").to_vec(), 4),
        (by_reason, page("null", failed, "null", old).to_vec(), 49),
        (by_reason, page(&one, failed, "null", "null").to_vec(), 51),
        (by_reason, page(&one, lost, "null", "null").to_vec(), 0),
        (
            in_flight,
            vec!["null", "'{running}'", "null", first, last, "null", "null", "51"],
            1,
        ),
        (
            in_flight,
            vec!["null", "'{queued}'", "null", first, last, "null", "null", "51"],
            0,
        ),
        (include_str!("../../src/store/runs/find.sql"), vec![number.as_str()], 1),
    ];
    for (text, values, found) in plans {
        let numbered = values.iter().enumerate().rev();
        let text = numbered.fold(text.to_owned(), |text, (at, value)| {
            text.replace(&format!("${}", at + 1), value)
        });
        let plan = names(world.sql(&format!("explain (analyze, costs off, timing off) {text}"))).join("\n");
        let number_after =
            |line: &str, word: &str| -> Option<f64> { line.split(word).nth(1)?.split([' ', ')']).next()?.parse().ok() };
        let rows: Vec<f64> = plan.lines().filter_map(|line| number_after(line, "rows=")).collect();
        let dropped = plan
            .lines()
            .filter_map(|line| number_after(line, "Removed by Filter: "));
        assert_eq!(rows.first(), Some(&f64::from(found)), "{plan}");
        assert!(rows.iter().copied().chain(dropped).all(|rows| rows <= 130.0), "{plan}");
    }
}

#[test]
fn the_end_of_a_run_that_succeeds_writes_no_index() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    // Each of these is set when the row is made, or stays NULL from then until after a success.
    assert_eq!(
        world.value(
            "select string_agg(distinct attname, ' ' order by attname)
               from pg_depend d join pg_index i on i.indexrelid = d.objid join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
              where d.classid = 'pg_class'::regclass and d.refobjid = 'run_log'::regclass and i.indrelid = 'run_log'::regclass"
        ),
        "as_of reason run_id scheduled_for task_id trigger"
    );
}
