//! The contract for those who read: its views, who may read them and who may act, and the pages that are made of it.

use std::path::Path;

use crate::support::{Row, Session, World, wait_until};

/// Every view of the contract with its columns, in order. Within a major version lines and columns are only added.
const CONTRACT: &str = include_str!("reporting/contract.txt");

#[test]
fn within_a_major_version_views_and_columns_are_only_added() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    let contract = lines(world.sql(
        "select * from (
           select format('%s: %s', c.relname, string_agg(format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)) \
             from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 \
            where c.relnamespace = 'dropcron_report'::regnamespace group by c.relname order by c.relname) v
         union all
         select * from (
           select format('function %s(%s) %s', proname, pg_get_function_arguments(oid), pg_get_function_result(oid)) \
             from pg_proc where pronamespace = 'dropcron_report'::regnamespace order by proname) f",
    ));
    hold("tests/it/reporting/contract.txt", CONTRACT, &contract);
}

fn lines(rows: Vec<Row>) -> String {
    rows.into_iter()
        .map(|row| row.into_iter().flatten().collect::<String>() + "\n")
        .collect()
}

/// Asserts that a file of the repository says what is so. With `DROPCRON_WRITE_PAGES` set it is written instead: look at the
/// difference before you commit it.
fn hold(file: &str, written: &str, is: &str) {
    if std::env::var_os("DROPCRON_WRITE_PAGES").is_some() {
        std::fs::write(Path::new(env!("CARGO_MANIFEST_DIR")).join(file), is).unwrap();
        return;
    }
    for (number, (written, is)) in written.lines().zip(is.lines()).enumerate() {
        assert_eq!(is, written, "{file}, line {}", number + 1);
    }
    assert_eq!(is.lines().count(), written.lines().count(), "{file}");
}

/// A role of this world that may log in and is a member of another, and a session that it opened.
fn member_of(world: &World, role: &str) -> Session {
    let name = format!("{}_{role}", world.value("select current_database()"));
    world.sql(&format!(
        "drop role if exists {name}; create role {name} login; grant {role} to {name}"
    ));
    let session = world.session();
    session.sql(&format!("set session authorization {name}; set search_path = public"));
    session
}

fn text(rows: Vec<Row>) -> String {
    let cells = rows.into_iter().flatten().map(Option::unwrap_or_default);
    cells.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_reader_sees_every_view_and_nothing_else() {
    let world = World::new();
    world.script("one.py", "def run():\n    print('printed')\n    return {'price': 4.5}");
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from task");
    serve.stop();
    world.dropcron_ok(&["run", "one"]);
    let reader = member_of(&world, "dropcron_reader");
    for line in CONTRACT.lines().filter(|line| !line.starts_with("function ")) {
        let view = line.split(':').next().unwrap();
        reader.rows(&format!("select * from dropcron_report.\"{view}\""));
    }
    assert_eq!(
        text(reader.rows("select task, status, return_value from dropcron_report.runs")),
        "one succeeded {\"price\": 4.5}"
    );
    assert_eq!(
        text(reader.rows("select chunk from dropcron_report.output")).trim(),
        "printed"
    );
    for query in [
        "select * from dropcron.run_log",
        "select content from dropcron.script_version",
        "select * from dropcron.task",
        "update dropcron_report.deliveries set channel = 'x'",
        "delete from dropcron_report.output",
        "select dropcron_report.run_now('one')",
        "select dropcron_report.pause('one')",
        "select dropcron_report.resume('one')",
        "select dropcron_report.cancel(1)",
        "select dropcron.request_run(1, 'x', null, null, null, true, now())",
    ] {
        let said = reader.refused(query);
        assert!(
            said.starts_with("permission denied") || said.contains("cannot"),
            "{query}: {said}"
        );
    }
}

#[test]
fn an_operator_runs_pauses_resumes_and_cancels_from_psql() {
    let world = World::new();
    let mut gate = world.gate("gate");
    world.script("reports/weekly.py", "def run(week=1):\n    return {'week': week}");
    world.script("slow.py", &format!("def run():\n    {}", gate.wait()));
    world.scheduled("often.py", "* * * * * *", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) = 3 from task where revision = planned_revision");
    let operator = member_of(&world, "dropcron_operator");
    let name = text(operator.rows("select session_user"));
    let one = |query: &str| text(operator.rows(query));

    let run_id = one("select dropcron_report.run_now('reports/weekly', '{\"week\": 10}')");
    world.wait_for(&format!(
        "select count(*) = 1 from run_log where run_id = {run_id} and status = 'succeeded' and trigger = 'manual' \
            and return_value = '{{\"week\": 10}}' and requested_by = '{name}'"
    ));

    // Whatever it calls itself.
    operator.sql("set dropcron.actor = 'somebody else'");
    assert_eq!(one("select dropcron_report.pause('often', 'disk')"), "t");
    assert_eq!(one("select dropcron_report.pause('often')"), "f");
    world.wait_for("select planned_idle = 'paused' from task where name = 'often'");
    assert_eq!(one("select dropcron_report.resume('often')"), "t");
    assert_eq!(one("select dropcron_report.resume('often')"), "f");
    assert_eq!(one("show dropcron.actor"), "somebody else");
    assert_eq!(
        world.value("select string_agg(kind || ' ' || actor, ', ' order by event_id) from task_event where kind in ('paused', 'resumed')"),
        format!("paused {name}, resumed {name}")
    );
    world.wait_for("select planned_idle is null from task where name = 'often'");

    let run_id = one("select dropcron_report.run_now('slow')");
    world.wait_for(&format!(
        "select state = 'running' from run_lease where run_id = {run_id}"
    ));
    // The overlap policy speaks, as for a due instant.
    let skipped = one("select dropcron_report.run_now('slow')");
    assert_eq!(
        world.value(&format!(
            "select format('%s %s %s', status, reason, blocking_run_id) from run_log where run_id = {skipped}"
        )),
        format!("skipped overlap {run_id}")
    );
    assert_eq!(one(&format!("select dropcron_report.cancel({run_id})")), "t");
    world.wait_for(&format!(
        "select status = 'cancelled' and reason = 'requested' from run_log where run_id = {run_id}"
    ));
    assert_eq!(one(&format!("select dropcron_report.cancel({run_id})")), "f");
    gate.open();
    serve.stop();

    for (query, wanted) in [
        (
            "select dropcron_report.run_now('weekly')",
            "there is no task `weekly`; did you mean `reports/weekly`?",
        ),
        (
            "select dropcron_report.pause('nothing')",
            "there is no task `nothing`; dropcron_report.tasks lists them",
        ),
        ("select dropcron_report.resume(null)", "there is no task `NULL`"),
        (
            "select dropcron_report.run_now('slow', '[1]')",
            "args is a JSON array, not an object",
        ),
        (
            "select dropcron_report.cancel(0)",
            "there is no run 0; dropcron_report.runs lists them",
        ),
        ("select * from dropcron_report.tasks", "permission denied"),
        ("select * from dropcron.task", "permission denied"),
        ("update dropcron.task set paused_at = now()", "permission denied"),
    ] {
        let said = operator.refused(query);
        assert!(said.contains(wanted), "{query}: {said}");
    }
}

#[test]
fn a_function_of_the_contract_is_not_fooled_by_a_search_path() {
    let world = World::new();
    world.script("one.py", "def run(): pass");
    let serve = world.serve();
    world.wait_for("select count(*) = 1 from task");
    serve.stop();
    let operator = member_of(&world, "dropcron_operator");
    operator.sql(
        "create temp table task (task_id bigint, name text, retired_at timestamptz, paused_at timestamptz, paused_by text, paused_reason text);
         insert into task values (1, 'one'), (1, 'made up'); set search_path = pg_temp",
    );
    assert!(
        operator
            .refused("select dropcron_report.pause('made up')")
            .contains("there is no task")
    );
    assert_eq!(text(operator.rows("select dropcron_report.pause('one')")), "t");
    assert_eq!(world.value("select paused_at is not null from task"), "t");
}

/// Who may do what to the contract, role by role.
const RIGHTS: &str = "
  select r.rolname, c.oid::regclass::text, p.right from pg_roles r, pg_class c, unnest('{SELECT,INSERT,UPDATE,DELETE}'::text[]) p(\"right\")
   where r.rolname in ('dropcron_reader', 'dropcron_operator') and c.relnamespace::regnamespace::text in ('dropcron', 'dropcron_report')
     and has_table_privilege(r.oid, c.oid, p.right)
  union all
  select r.rolname, f.oid::regprocedure::text, 'EXECUTE' from pg_roles r, pg_proc f
   where r.rolname in ('dropcron_reader', 'dropcron_operator') and f.pronamespace::regnamespace::text = 'dropcron_report'
     and has_function_privilege(r.oid, f.oid, 'EXECUTE')
   order by 1, 2, 3";

#[test]
fn where_nobody_may_make_roles_their_sql_is_printed() {
    let (mut world, _cluster) = World::with_server();
    world.sql("create role plain login");
    let access = world.root.join("server/postgres/pg_hba.conf");
    std::fs::write(&access, "local all all trust\n").unwrap();
    world.sql("select pg_reload_conf()");
    world.sql("create database managed owner plain");
    let superuser = world.url.clone();
    let managed = superuser.rsplit_once('/').unwrap().0.to_owned() + "/managed";
    world.url = managed.clone();
    world.reconnect();
    let as_plain = managed.replace("dropcron@", "plain@");
    assert_ne!(as_plain, managed);
    // The server reads its rules anew in its own time.
    let as_managed = |arguments: &[&str]| {
        world
            .command(arguments)
            .env("DATABASE_URL", &as_plain)
            .output()
            .unwrap()
    };
    wait_until("its owner may use the managed database", || {
        as_managed(&["tasks"]).status.success()
    });
    assert_eq!(world.sql(RIGHTS).len(), 0);
    let output = world
        .command(&["roles"])
        .env("DATABASE_URL", &as_plain)
        .output()
        .unwrap();
    let said = crate::support::text_of(&output);
    assert!(
        said.contains("`dropcron roles --sql`") && !output.status.success(),
        "{said}"
    );

    let printed = world.dropcron_ok(&["roles", "--sql"]);
    world.session().sql(&printed);
    let rights = world.sql(RIGHTS);
    assert_eq!(rights.len(), CONTRACT.lines().count());
    assert!(
        rights
            .iter()
            .all(|row| row[1].as_ref().unwrap().starts_with("dropcron_report.")),
        "{rights:?}"
    );
    // Again, and for another database of the same server, whose migration finds them there.
    world.session().sql(&printed);
    world.dropcron_ok(&["roles"]);
    world.url = superuser;
    world.reconnect();
    world.dropcron_ok(&["tasks"]);
    assert_eq!(world.sql(RIGHTS), rights);
}

/// The SQL of the questions in docs/reporting.md.
fn questions(page: &str) -> Vec<&str> {
    let questions = page.split("\n## Questions\n").nth(1).unwrap();
    questions
        .split("```sql\n")
        .skip(1)
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_page_of_reports_prints_what_its_queries_give() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reporting.md");
    let page = std::fs::read_to_string(path).unwrap();
    let questions = questions(&page);
    assert!(questions.len() >= 15, "{}", questions.len());
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    // One transaction: today stays today.
    let mut file = format!(
        "begin;\n{}\nset search_path = public; set role dropcron_reader;\n\\o\n",
        include_str!("reporting/world.sql")
    );
    for question in &questions {
        file += &format!("\\echo <answer>\n{question}");
    }
    let path = world.root.join("questions.sql");
    std::fs::write(&path, "\\o /dev/null\n".to_owned() + &file).unwrap();
    let mut command = world.command(&["psql", "-Xqv", "ON_ERROR_STOP=1", "-P", "pager=off", "-f"]);
    let output = command.arg(&path).env("PGTZ", "UTC").output().unwrap();
    assert!(output.status.success(), "{}", crate::support::text_of(&output));
    let printed = String::from_utf8(output.stdout).unwrap();
    let mut answers = printed.split("<answer>\n").skip(1);
    let mut parts = page.split("```text\n");
    let mut wanted = parts.next().unwrap().to_owned();
    for part in parts {
        let answer = answers.next().unwrap();
        let lines: String = answer
            .trim_end()
            .lines()
            .map(|line| line.trim_end().to_owned() + "\n")
            .collect();
        let rest = part.split_once("```").unwrap().1;
        wanted += &format!("```text\n{lines}```{rest}");
    }
    assert_eq!(answers.count(), 0, "each query has an answer below it");
    hold("docs/reporting.md", &page, &wanted);
}

#[test]
fn the_page_of_reports_lists_every_view() {
    let page = include_str!("../../docs/reporting.md");
    let views = CONTRACT.lines().filter(|line| !line.starts_with("function "));
    let views: std::collections::BTreeSet<&str> = views.map(|line| line.split(':').next().unwrap()).collect();
    let table = page
        .split("| View | A row for each |")
        .nth(1)
        .unwrap()
        .split("\n\n")
        .next()
        .unwrap();
    let listed = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect();
    assert_eq!(views, listed);
}

/// A query of the dashboard as Grafana sends it.
fn as_grafana_sends_it(query: &str) -> String {
    let mut text = String::new();
    let mut rest = query;
    while let Some((before, after)) = rest.split_once("$__timeFilter(") {
        let (column, after) = after.split_once(')').unwrap();
        text += &format!("{before}{column} BETWEEN '2026-03-01T00:00:00Z' AND '2026-03-07T00:00:00Z'");
        rest = after;
    }
    (text + rest)
        .replace("$__timeFrom()", "'2026-03-01T00:00:00Z'")
        .replace("$__timeTo()", "'2026-03-07T00:00:00Z'")
        .replace(
            "${task:sqlstring}",
            "'backup','prices/btc','sync/orders','legacy/import'",
        )
}

#[test]
fn every_panel_of_the_dashboard_shows_something() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql(include_str!("reporting/world.sql"));
    let reader = member_of(&world, "dropcron_reader");
    let dashboard: serde_json::Value = serde_json::from_str(include_str!("../../docs/grafana-dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() >= 10);
    for panel in panels {
        for target in panel["targets"].as_array().unwrap() {
            let query = as_grafana_sends_it(target["rawSql"].as_str().unwrap());
            assert!(!query.contains('$'), "{query}");
            let rows = reader.rows(&query);
            assert!(!rows.is_empty(), "{}: {query}", panel["title"]);
            let is_series = target["format"] == "time_series";
            assert_eq!(is_series, query.contains(" as time"), "{query}");
        }
    }
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        if variable["type"] == "query" {
            assert_eq!(reader.rows(variable["query"].as_str().unwrap()).len(), 6);
        }
    }
}

#[test]
fn days_that_are_not_rolled_up_are_read_from_the_log() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql(include_str!("reporting/world.sql"));
    let days = |world: &World| {
        world.sql(
            "select * from dropcron_report.daily where day between '2026-03-02' and '2026-03-06' order by day, task",
        )
    };
    let with_four = days(&world);
    assert!(with_four.len() > 10, "{with_four:?}");
    world.sql("delete from run_daily; delete from rolled_up_day");
    assert_eq!(days(&world), with_four, "the same from the log alone");
    world.sql("insert into run_daily select * from run_days('2026-03-02', '2026-03-07'); insert into rolled_up_day select '2026-03-02'::date + n, now(), 1 from generate_series(0, 4) n");
    assert_eq!(days(&world), with_four, "and from roll-ups alone");
    world.sql("delete from run_log where scheduled_for < '2026-03-06'");
    assert_eq!(days(&world), with_four, "also when the log has gone");
}

#[test]
fn reports_are_printed_as_tables_csv_and_json() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    world.sql(include_str!("reporting/world.sql"));
    let since = "36500d";
    let json = |kind: &str| -> Vec<serde_json::Value> {
        serde_json::from_str(&world.dropcron_ok(&["report", kind, "--json", "--since", since])).unwrap()
    };
    for kind in ["daily", "failures", "values", "missed"] {
        let rows = json(kind);
        let table = world.dropcron_ok(&["report", kind, "--since", since]);
        let csv = world.dropcron_ok(&["report", kind, "--since", since, "--csv"]);
        assert_eq!(table.lines().count(), rows.len() + 1, "{kind}\n{table}");
        assert_eq!(csv.lines().count(), rows.len() + 1, "{kind}\n{csv}");
        let names: std::collections::BTreeSet<&str> = csv.lines().next().unwrap().split(',').collect();
        let keys: std::collections::BTreeSet<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, keys, "{kind}");
        let head = table.lines().next().unwrap();
        assert!(
            names
                .iter()
                .all(|name| head.contains(&name.replace('_', " ").to_uppercase())),
            "{head}"
        );
    }
    assert_eq!(json("failures").len(), 3, "112 was tried again");
    let csv = world.dropcron_ok(&["report", "values", "--task", "backup", "--since", since, "--csv"]);
    assert_eq!(
        csv.lines().nth(1).unwrap(),
        "2026-03-06,backup,gib,1,42.3,42.3,42.3000,42.3,0"
    );
    // Today alone, unless they say more.
    assert_eq!(world.dropcron_ok(&["report", "failures"]).lines().count(), 2);
    let output = world.dropcron(&["report", "--task", "nothing"]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn successes_in_a_row_are_counted_until_a_failure_that_counts() {
    let world = World::new();
    world.dropcron_ok(&["tasks"]);
    // Each end: its run, how it ended, and whether it is a late report or another attempt follows.
    let count = |ends: &[(i64, &str, bool, Option<&str>)]| {
        let rows: Vec<String> = ends
            .iter()
            .map(|(run, status, late, followed)| {
                let followed = followed.map_or("null".to_owned(), |followed| format!("'{followed}'"));
                format!("({run}, '{status}', to_timestamp({run}), {late}, {followed})")
            })
            .collect();
        world.sql(&format!(
            "select count_ends(array_agg(7::bigint), array_agg(r::bigint), array_agg(f), array_agg(s), array_agg(f), \
                               array_agg(1::float8), array_agg(l), array_agg(n::text)) from (values {}) v(r, s, f, l, n)",
            rows.join(", ")
        ));
        world.value("select format('%s %s', consecutive_successes, consecutive_failures) from task_stat")
    };
    assert_eq!(
        count(&[(1, "succeeded", false, None), (2, "succeeded", false, None)]),
        "2 0"
    );
    assert_eq!(count(&[(3, "succeeded", false, None)]), "3 0");
    assert_eq!(count(&[(4, "skipped", false, None)]), "3 0");
    assert_eq!(
        count(&[(5, "failed", false, Some("queued"))]),
        "3 0",
        "it is tried again"
    );
    assert_eq!(
        count(&[(6, "succeeded", false, None), (7, "succeeded", false, None)]),
        "5 0"
    );
    assert_eq!(count(&[(8, "lost", false, None)]), "0 1");
    assert_eq!(count(&[(8, "succeeded", true, None)]), "1 0");
    assert_eq!(count(&[(9, "timed_out", false, None)]), "0 1");
    assert_eq!(
        count(&[(10, "succeeded", false, None), (11, "succeeded", false, None)]),
        "2 0"
    );
}
