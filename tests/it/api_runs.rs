//! Tasks, runs, values and metrics over the API, and the same commands against a service elsewhere.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::http::Client;
use crate::support::{World, text_of};

fn items(client: &Client, path: &str) -> Vec<Value> {
    client.get(path).must_be(200).json()["items"]
        .as_array()
        .unwrap()
        .clone()
}

#[test]
fn a_run_that_is_asked_for_twice_with_one_key_is_one_run() {
    let world = World::new();
    world.script("one.py", "def run(x=0):\n    return {'x': x}");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let ask = |client: &Client, key: &str, body: Value| {
        client.send(
            "POST",
            "/api/v1/tasks/one/runs",
            &[("Idempotency-Key", key)],
            &body.to_string(),
        )
    };
    let first = ask(&admin, "a", json!({ "args": { "x": 5 } })).must_be(202).json();
    let again = ask(&admin, "a", json!({ "args": { "x": 5 } })).must_be(202).json();
    assert_eq!(
        (first["repeated"].clone(), again["repeated"].clone()),
        (json!(false), json!(true))
    );
    assert_eq!(first["run"]["run_id"], again["run"]["run_id"]);
    assert_eq!(ask(&admin, "a", json!({ "args": { "x": 6 } })).status, 422);
    // The key is the asker's own.
    let operator = admin.with_role("operator");
    assert_eq!(
        ask(&operator, "a", json!({ "force": true })).must_be(202).json()["repeated"],
        false
    );
    assert_eq!(ask(&admin, &"k".repeat(201), json!({})).status, 400);
    assert_eq!(ask(&admin, "b", json!({ "arg": 1 })).status, 422);
    // Many at once are one, too.
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| ask(&admin, "many", json!({ "force": true })).must_be(202).json()))
            .collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let mut numbers: Vec<i64> = answers
        .iter()
        .map(|answer| answer["run"]["run_id"].as_i64().unwrap())
        .collect();
    numbers.dedup();
    assert_eq!(numbers.len(), 1, "{answers:?}");
    world.wait_for("select count(*) = 3 from run_log where status = 'succeeded'");
    assert_eq!(
        world.value("select return_value->>'x' || ' ' || requested_by from run_log order by run_id limit 1"),
        "5 first start (token)"
    );
    assert_eq!(
        world.value("select count(*) from audit where action = 'run.request'"),
        "3"
    );
    // A day later the key may be used for something else.
    world.sql("update idempotency_key set created_at = created_at - interval '25 hours'");
    assert_eq!(
        ask(&admin, "a", json!({ "args": { "x": 6 } })).must_be(202).json()["repeated"],
        false
    );
}

#[test]
fn a_run_is_cancelled_and_run_again() {
    let world = World::new();
    let gate = world.gate("gate");
    world.script(
        "wait.py",
        &format!(
            "def run(x=0):\n    print('waiting', flush=True)\n    {}\n    return x",
            gate.wait()
        ),
    );
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let started = admin
        .post("/api/v1/tasks/wait/runs", json!({ "args": { "x": 3 } }))
        .must_be(202)
        .json();
    let run_id = started["run"]["run_id"].as_i64().unwrap();
    world.wait_for("select count(*) = 1 from run_lease where state = 'running'");
    assert_eq!(items(&admin, "/api/v1/tasks")[0]["state"], "running");
    assert_eq!(admin.get("/api/v1/overview").json()["running"][0]["run_id"], run_id);
    let listed = |query: &str| -> Vec<i64> {
        let items = items(&admin, &format!("/api/v1/runs?{query}"));
        items.iter().map(|run| run["run_id"].as_i64().unwrap()).collect()
    };
    assert_eq!(listed("status=running"), [run_id]);
    assert_eq!(listed("status=running&task=wait&trigger=manual"), [run_id]);
    for none in [
        "status=queued",
        "status=running&value_path=",
        "status=running&trigger=schedule",
    ] {
        assert_eq!(listed(none), [0_i64; 0], "{none}");
    }
    assert_eq!(
        admin.post(&format!("/api/v1/runs/{run_id}/retry"), json!({})).status,
        409
    );
    let cancel = || {
        admin
            .post(&format!("/api/v1/runs/{run_id}/cancel"), json!({}))
            .must_be(202)
            .json()
    };
    assert_eq!(cancel()["asked"], true);
    world.wait_for(&format!(
        "select status = 'cancelled' from run_log where run_id = {run_id}"
    ));
    assert_eq!(
        (cancel()["asked"].clone(), cancel()["status"].clone()),
        (json!(false), json!("cancelled"))
    );
    let mut gate = gate;
    gate.open();
    let again = admin
        .post(&format!("/api/v1/runs/{run_id}/retry"), json!({}))
        .must_be(202)
        .json();
    let again = again["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!(
        "select return_value = '3' from run_log where run_id = {again}"
    ));
    // One key for one request: another run that is to be repeated is another request.
    let repeat = |run_id: i64| {
        let path = format!("/api/v1/runs/{run_id}/retry");
        admin.send("POST", &path, &[("Idempotency-Key", "once")], "{}")
    };
    assert_eq!(repeat(run_id).must_be(202).json()["repeated"], false);
    assert_eq!(repeat(run_id).must_be(202).json()["repeated"], true);
    repeat(again).must_be(422);
    let detail = admin.get(&format!("/api/v1/runs/{again}")).must_be(200).json();
    assert_eq!(detail["args"], json!({ "x": 3 }));
    assert!(detail["node"].as_str().unwrap().contains("(pid "), "{detail}");
    assert_eq!(admin.get("/api/v1/runs/999999").status, 404);
    assert_eq!(admin.get("/api/v1/runs/x").status, 400);
}

#[test]
fn lists_are_read_page_by_page_and_filtered() {
    let world = World::new();
    world.script("a/one.py", "def run():\n    return {'n': {'deep': 2.50}}");
    world.script("b.py", "def run():\n    raise ValueError('no')");
    world.script("c.py", "# /// script\n# [tool.dropcron]\n# tags = [\"x\"]\n# description = \"Third of all\"\n# ///\ndef run():\n    pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 3 from task");
    for (task, count) in [("a%2Fone", 3), ("b", 2)] {
        for _ in 0..count {
            admin
                .post(&format!("/api/v1/tasks/{task}/runs"), json!({}))
                .must_be(202);
            world.wait_for("select count(*) = 0 from run_lease");
        }
    }
    let names = |path: &str| -> Vec<String> {
        items(&admin, path)
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("/api/v1/tasks"), ["a/one", "b", "c"]);
    assert_eq!(names("/api/v1/tasks?search=third"), ["c"]);
    assert_eq!(names("/api/v1/tasks?tag=x"), ["c"]);
    assert_eq!(
        admin.get("/api/v1/tags").json(),
        json!({ "items": [{ "tag": "x", "tasks": 1 }] })
    );
    assert_eq!(names("/api/v1/tasks?status=failing"), ["b"]);
    assert_eq!(names("/api/v1/tasks?status=manual&limit=2"), ["a/one", "b"]);
    let page = admin.get("/api/v1/tasks?limit=2").json();
    assert_eq!(
        names(&format!(
            "/api/v1/tasks?cursor={}",
            page["next_cursor"].as_str().unwrap()
        )),
        ["c"]
    );
    let task = &items(&admin, "/api/v1/tasks?search=one")[0];
    assert_eq!(
        (task["recent"].as_array().unwrap().len(), &task["last_run"]["status"]),
        (3, &json!("succeeded"))
    );
    // All runs, two at a time: each once, newest first.
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = admin.get(&format!("/api/v1/runs?limit=2{cursor}")).must_be(200).json();
        seen.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|run| run["run_id"].as_i64().unwrap()),
        );
        assert!(seen.len() <= 5, "the same rows come again: {seen:?}");
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    let runs = |query: &str| items(&admin, &format!("/api/v1/runs?{query}")).len();
    assert_eq!(
        (
            runs("task=b"),
            runs("status=failed"),
            runs("status=failed&task=a%2Fone"),
            runs("trigger=manual")
        ),
        (2, 2, 0, 5)
    );
    assert_eq!(
        (
            runs("value_path=n.deep&value_min=2.5"),
            runs("value_path=n.deep&value_min=2.51")
        ),
        (3, 0)
    );
    assert_eq!(
        (runs("status=failed,succeeded"), runs("status=failed,lost&task=b")),
        (5, 2)
    );
    let unknown = admin.get("/api/v1/runs?status=failed,bad").must_be(400).json();
    assert!(unknown["detail"].as_str().unwrap().contains("`bad`"), "{unknown}");
    assert_eq!(
        (runs("value_path=n&value_max=9"), runs("from=2100-01-01T00:00:00Z")),
        (0, 0)
    );
    // Digits stay as Python wrote them, and a traceback leads to its line.
    assert!(admin.get("/api/v1/runs/1").body.contains("{\"n\": {\"deep\": 2.5}}"));
    let failed = admin.get("/api/v1/runs/4").json();
    assert_eq!(
        (&failed["frames"][0]["line"], &failed["frames"][0]["is_script"]),
        (&json!(2), &json!(true)),
        "{failed}"
    );
    assert_eq!(failed["run"]["error"]["type"], "ValueError");
    let detail = admin.get("/api/v1/tasks/c").json();
    let key = |name: &str| {
        detail["header"]
            .as_array()
            .unwrap()
            .iter()
            .find(|key| key["key"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (&key("tags")["source"], &key("tags")["value"], &key("overlap")["source"]),
        (&json!("header"), &json!(["x"]), &json!("default"))
    );
    let missing = admin.get("/api/v1/tasks/on").must_be(404).json();
    assert!(
        missing["detail"].as_str().unwrap().contains("did you mean `a/one`?"),
        "{missing}"
    );
}

#[test]
fn every_filter_finds_what_the_log_has() {
    let world = World::new();
    for task in ["a/one", "b", "c"] {
        world.script(&format!("{task}.py"), "def run():\n    pass");
    }
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 3 from task");
    world.sql(
        "select ensure_run_log_partition(now() - n * interval '10 days') from generate_series(0, 10) n;
         insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at)
         select nextval('run_id_sequence'), task_id, name, at, (array['schedule', 'catch_up', 'backfill', 'manual'])[1 + n / 3 % 4],
                o.status, o.reason, at, at
           from generate_series(1, 90) n, lateral (select now() - n * interval '1 day' as at) i,
                (select task_id, name, row_number() over (order by name) as number from task) t,
                (values (1, 'succeeded', null), (2, 'failed', 'raised'), (3, 'failed', 'exited'), (4, 'timed_out', 'timeout'), (5, 'lost', 'node_gone'),
                        (6, 'cancelled', 'requested'), (7, 'skipped', 'overlap'), (8, 'missed', 'down'), (9, 'missed', 'limit'))
                  o(number, status, reason)
          where o.number = 1 + (n * t.number) % 9",
    );
    let listed = |query: &str| -> Vec<i64> {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = admin
                .get(&format!("/api/v1/runs?limit=7{query}{cursor}"))
                .must_be(200)
                .json();
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|run| run["run_id"].as_i64().unwrap()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return seen,
            }
        }
    };
    let there = |condition: &str| -> Vec<i64> {
        let rows = world.sql(&format!(
            "select run_id from run_log where {condition} order by scheduled_for desc, run_id desc"
        ));
        rows.iter()
            .map(|row| row[0].as_deref().unwrap().parse().unwrap())
            .collect()
    };
    let from = world.value("select to_char(now() - interval '50 days', 'YYYY-MM-DD\"T00:00:00Z\"')");
    for status in [
        "succeeded",
        "failed",
        "timed_out",
        "lost",
        "cancelled",
        "skipped",
        "missed",
    ] {
        let found = listed(&format!("&status={status}"));
        assert!(found.len() >= 20, "{status}: {found:?}");
        assert_eq!(found, there(&format!("status = '{status}'")), "{status}");
        for (query, condition) in [
            ("&task=a%2Fone".to_owned(), "task_name = 'a/one'".to_owned()),
            ("&trigger=backfill".to_owned(), "trigger = 'backfill'".to_owned()),
            (format!("&from={from}"), format!("scheduled_for >= '{from}'")),
            (
                format!("&task=c&trigger=schedule&to={from}"),
                format!("task_name = 'c' and trigger = 'schedule' and scheduled_for <= '{from}'"),
            ),
        ] {
            let condition = format!("status = '{status}' and {condition}");
            assert_eq!(
                listed(&format!("&status={status}{query}")),
                there(&condition),
                "{condition}"
            );
        }
    }
    for trigger in ["schedule", "catch_up", "backfill", "manual"] {
        let condition = format!("trigger = '{trigger}'");
        assert_eq!(listed(&format!("&trigger={trigger}")), there(&condition), "{condition}");
        let condition = format!("{condition} and task_name = 'b'");
        assert_eq!(
            listed(&format!("&trigger={trigger}&task=b")),
            there(&condition),
            "{condition}"
        );
    }
}

#[test]
fn the_packages_of_a_task_are_told_with_what_they_came_to() {
    let world = World::new();
    world.script("bare.py", "def run(): pass");
    world.script("prices.py", "def run(): pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 2 from task");
    let environments = |task: &str| items(&admin, &format!("/api/v1/environments?task={task}"));
    assert_eq!(environments("bare"), [] as [Value; 0]);
    // As the builder leaves it: a lock, an environment of it here, and a file that wants something else by now.
    world.sql(
        "insert into package_lock (lock_sha256, content, python) values
           (sha256('lock'), e'colorama==0.4.6 ; sys_platform == ''win32'' \\\n    --hash=sha256:1\nattrs==26.1.0 \\\n    --hash=sha256:2\n', '3.11');
         insert into environment (requirements_sha256, requirements, state, problem, log, lock_sha256) values
           (sha256('ready'), '{\"source\": \"header\", \"packages\": [\"attrs\"]}', 'ready', null, 'Installed 1 package', sha256('lock')),
           (sha256('next'), '{\"source\": \"header\", \"packages\": [\"nosuch\"]}', 'needs_attention', 'there is no `nosuch`', '', null);
         update task set requirements_sha256 = sha256('ready'), next_requirements_sha256 = sha256('next'), lock_sha256 = sha256('lock')
          where name = 'prices'",
    );
    let directory = world.data.join("environments/0123");
    std::fs::create_dir_all(&directory).unwrap();
    let description = json!({ "format": 1, "lock_sha256": world.value("select encode(sha256('lock'), 'hex')"), "python": "3.11.7",
                              "interpreter": "/usr/bin/python3", "packages": 1, "size_bytes": 4096, "own_bytes": 1024,
                              "created_at": "2026-11-01T00:00:00Z" });
    std::fs::write(directory.join("environment.json"), description.to_string()).unwrap();
    let mut found = environments("prices");
    found.sort_by_key(|environment| environment["is_next"].as_bool());
    let [ready, next] = found.as_slice() else {
        panic!("{found:?}")
    };
    assert_eq!(
        ready["lock"]["packages"],
        json!([{ "name": "attrs", "version": "26.1.0", "marker": null },
               { "name": "colorama", "version": "0.4.6", "marker": "sys_platform == 'win32'" }])
    );
    assert_eq!(
        (
            &ready["lock"]["python"],
            &ready["installed"]["size_bytes"],
            &ready["installed"]["used_at"]
        ),
        (&json!("3.11"), &json!(4096), &json!("2026-11-01T00:00:00Z"))
    );
    assert_eq!((&ready["is_next"], &next["is_next"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&next["problem"], &next["lock"]),
        (&json!("there is no `nosuch`"), &Value::Null)
    );
    assert_eq!(admin.get("/api/v1/environments?task=none").status, 404);
}

#[test]
fn when_a_task_runs_is_changed_explained_and_previewed() {
    let world = World::new();
    world.scheduled("hourly.py", "0 * * * *", "def run():\n    pass");
    world.scheduled("other.py", "0 0 * * *", "def run():\n    pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 2 from task_schedule where next_fire_at is not null");
    let put = |body: Value| admin.send("PUT", "/api/v1/tasks/hourly/schedule-override", &[], &body.to_string());
    assert_eq!(put(json!({ "schedule": ["61 * * * *"] })).status, 422);
    assert_eq!(put(json!({ "schedule": [], "timezone": "Nowhere" })).status, 422);
    let changed = put(json!({ "schedule": ["30 2 * * *"], "timezone": "Europe/Berlin" }))
        .must_be(200)
        .json();
    assert_eq!(
        changed["task"]["schedule_words"], "at 02:30 every day (Europe/Berlin)",
        "{changed}"
    );
    world.wait_for("select planned_schedule = '{30 2 * * *}' from task where name = 'hourly'");
    let detail = admin.get("/api/v1/tasks/hourly").json();
    let schedule = detail["header"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["key"] == "schedule")
        .unwrap()
        .clone();
    assert_eq!(schedule["source"], "override");
    admin
        .send("DELETE", "/api/v1/tasks/hourly/schedule-override", &[], "")
        .must_be(200);
    world.wait_for("select planned_schedule = '{0 * * * *}' from task where name = 'hourly'");
    let pause = admin
        .post("/api/v1/tasks/hourly/pause", json!({ "reason": "disk" }))
        .must_be(200)
        .json();
    assert_eq!(
        (&pause["changed"], &pause["task"]["state"]),
        (&json!(true), &json!("paused"))
    );
    assert_eq!(
        admin.post("/api/v1/tasks/hourly/pause", json!({})).must_be(200).json()["changed"],
        false
    );
    world.wait_for("select planned_idle = 'paused' from task where name = 'hourly'");
    let why = admin
        .get("/api/v1/tasks/hourly/why?at=2100-01-01T00:00:00Z")
        .must_be(200)
        .json();
    assert!(
        why["instants"][0]["verdict"].as_str().unwrap().contains("paused"),
        "{why}"
    );
    assert_eq!(admin.get("/api/v1/tasks/hourly/why?at=yesterday").status, 400);
    admin.post("/api/v1/tasks/hourly/resume", json!({})).must_be(200);
    let actions: Vec<Value> = items(&admin, "/api/v1/audit")
        .iter()
        .map(|entry| entry["action"].clone())
        .collect();
    assert_eq!(actions, ["task.resume", "task.pause", "task.override", "task.override"]);
    let events = items(&admin, "/api/v1/tasks/hourly/events");
    assert!(
        events
            .iter()
            .any(|event| event["kind"] == "paused" && event["actor"] == "first start (token)"),
        "{events:?}"
    );
    let preview = admin.post(
        "/api/v1/schedule/preview",
        json!({ "schedule": ["0 0 * * *"], "count": 2, "task": "hourly" }),
    );
    let preview = preview.must_be(200).json();
    assert_eq!(
        (
            preview["next"].as_array().unwrap().len(),
            &preview["collisions"][0]["tasks"]
        ),
        (2, &json!(["other"]))
    );
    let berlin = json!({ "schedule": ["30 2 * * *"], "timezone": "Europe/Berlin", "from": "2027-03-27T12:00:00Z" });
    let preview = admin.post("/api/v1/schedule/preview", berlin).must_be(200).json();
    assert_eq!(preview["next"][0]["utc"], "2027-03-28T01:00:00Z", "{preview}");
    let timeline = admin.get("/api/v1/timeline").must_be(200).json();
    assert_eq!(timeline["tasks"][0]["name"], "hourly");
    assert!(
        timeline["tasks"][0]["fires"].as_array().unwrap().len() >= 11,
        "{timeline}"
    );
    // A page of it after another: each task once, in order.
    let first = admin.get("/api/v1/timeline?limit=1").must_be(200).json();
    assert_eq!(
        (first["tasks"].as_array().unwrap().len(), &first["tasks"][0]["name"]),
        (1, &json!("hourly"))
    );
    let next = first["next_cursor"].as_str().unwrap();
    let second = admin
        .get(&format!("/api/v1/timeline?limit=1&cursor={next}"))
        .must_be(200)
        .json();
    assert_eq!(
        (&second["tasks"][0]["name"], &second["next_cursor"]),
        (&json!("other"), &Value::Null)
    );
    for wrong in ["cursor=", "limit=0", "limit=1001"] {
        admin.get(&format!("/api/v1/timeline?{wrong}")).must_be(400);
    }
    let instants = admin.get("/api/v1/tasks/other/instants").must_be(200).json();
    assert_eq!(instants["to_come"].as_array().unwrap().len(), 10);
}

#[test]
fn a_series_is_charted_judged_and_exported() {
    let world = World::new();
    world.script("btc.py", "def run():\n    return 1");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    world.sql(
        "insert into observation (task_id, series, at, value, kind)
         select task_id, 'price', timestamptz '2026-01-01Z' + n * interval '1 minute', (sin(n / 500.0) * 100)::numeric(10, 4), 'number'
           from task, generate_series(1, 30000) n",
    );
    world.sql("update observation set suspect = 'odd', breach = true where at = timestamptz '2026-01-05 00:00Z'");
    let list = items(&admin, "/api/v1/series");
    assert_eq!(
        (
            list.len(),
            list[0]["recent"].as_array().unwrap().len(),
            &list[0]["has_open"]
        ),
        (1, 50, &json!(true))
    );
    let chart = admin
        .get("/api/v1/tasks/btc/series/price/points?points=200")
        .must_be(200)
        .json();
    let points = chart["points"].as_array().unwrap();
    assert!((150..=201).contains(&points.len()), "{}", points.len());
    assert_eq!(chart["downsampled_from"], 30000);
    assert!(points.iter().any(|point| point["suspect"] == "odd"));
    let highest = points
        .iter()
        .filter_map(|point| point["value"].as_f64())
        .fold(f64::MIN, f64::max);
    assert!((chart["max"].as_f64().unwrap() - highest).abs() < 1e-9, "{highest}");
    let few = "/api/v1/tasks/btc/series/price/points?from=2026-01-01T00:01:00Z&to=2026-01-01T00:10:00Z";
    assert_eq!(
        admin.get(few).must_be(200).json()["points"].as_array().unwrap().len(),
        10
    );
    assert_eq!(admin.get("/api/v1/tasks/btc/series/price/points?points=1").status, 400);
    assert_eq!(admin.get("/api/v1/tasks/btc/series/nothing/points").status, 404);
    let verdict = json!({ "at": "2026-01-05T00:00:00Z", "verdict": "rejected", "note": "sensor" });
    let settled = admin
        .post("/api/v1/tasks/btc/series/price/verdict", verdict)
        .must_be(200)
        .json();
    assert_eq!(settled["verdict_by"], "first start (token)");
    assert_eq!(items(&admin, "/api/v1/points?suspect=true").len(), 0);
    let csv = admin.get("/api/v1/tasks/btc/series/price/points.csv").must_be(200);
    assert_eq!(csv.body.lines().count(), 30001);
    let path = "/api/v1/tasks/btc/series/price/points.csv";
    let packed = admin.send("GET", path, &[("Accept-Encoding", "gzip")], "").must_be(200);
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(
        packed.body.len() > 10_000 && packed.body.starts_with('\u{1f}'),
        "{}",
        packed.body.len()
    );
    assert!(csv.body.starts_with("at,series,value,"), "{}", &csv.body[..100]);
    assert!(csv.body.contains("2026-01-05T00:00:00Z,price,") && csv.body.contains(",odd,rejected\n"));
}

/// A line of Prometheus' text format, as its documentation has it: name, labels, value.
fn is_sample(line: &str) -> bool {
    let (series, value) = line.rsplit_once(' ').unwrap();
    let name: String = series
        .chars()
        .take_while(|it| it.is_ascii_alphanumeric() || *it == '_')
        .collect();
    let labels = &series[name.len()..];
    name.starts_with("dropcron_")
        && (labels.is_empty() || (labels.starts_with('{') && labels.ends_with('}')))
        && value.parse::<f64>().is_ok()
}

#[test]
fn metrics_are_clean() {
    let world = World::new();
    world.script("a \"b\\.py", "def run():\n    return 1");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let answer = admin.get("/metrics").must_be(200);
    assert!(
        answer
            .header("content-type")
            .unwrap()
            .starts_with("text/plain; version=0.0.4")
    );
    for line in answer.body.lines().filter(|line| !line.starts_with('#')) {
        assert!(is_sample(line), "{line}");
    }
    assert!(
        answer.body.contains(r#"dropcron_task_runs_total{task="a \"b\\"} 0"#),
        "{}",
        answer.body
    );
    assert!(answer.body.contains("\ndropcron_nodes_live 1\n"), "{}", answer.body);
    for wanted in ["dropcron_nodes_stalled 0", "dropcron_nodes_dead 0"] {
        assert!(answer.body.contains(&format!("\n{wanted}\n")), "{}", answer.body);
    }
    // Three other nodes: one whose loops hang, one that died, and one that died and was started again, as this one.
    for (state, loops, place) in [
        ("live", "{judge}", "gen_random_uuid()"),
        ("dead", "{}", "gen_random_uuid()"),
        ("dead", "{}", "data_directory_id"),
    ] {
        world.sql(&format!(
            "insert into node select (jsonb_populate_record(n, jsonb_build_object('node_id', gen_random_uuid(), 'state', '{state}', \
             'stalled_loops', '{loops}'::text[], 'data_directory_id', {place}, 'started_at', started_at - interval '1 minute', \
             'lease_until', now() + interval '1 hour'))).* \
             from node n where state = 'live' and stalled_loops = '{{}}'"
        ));
    }
    let answer = admin.get("/metrics").must_be(200);
    for wanted in [
        "dropcron_nodes_stalled 1",
        "dropcron_nodes_dead 1",
        "dropcron_nodes_live 2",
    ] {
        assert!(answer.body.contains(&format!("\n{wanted}\n")), "{}", answer.body);
    }
    assert_eq!(
        world
            .value("select string_agg(stalled_loops::text, '') from dropcron_report.nodes where stalled_loops <> '{}'"),
        "{judge}"
    );
    // Prometheus' own judgement, where it is installed.
    let promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match promtool {
        Ok(mut promtool) => {
            promtool
                .stdin
                .take()
                .unwrap()
                .write_all(answer.body.as_bytes())
                .unwrap();
            let output = promtool.wait_with_output().unwrap();
            assert!(
                output.status.success() && output.stderr.is_empty(),
                "{}",
                text_of(&output)
            );
        }
        Err(_) => eprintln!("promtool is not installed: only the form of the lines was checked"),
    }
}

#[test]
fn commands_say_the_same_of_a_service_elsewhere() {
    let world = World::new();
    world.script(
        "a/one.py",
        "def run(x=1):\n    print('said')\n    return {'n': 1.10, 'x': x}",
    );
    world.scheduled("never.py", "0 0 29 2 *", "def run():\n    pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 2 from task where planned_revision = revision");
    let token_file = world.root.join("client-token");
    std::fs::write(&token_file, admin.token.as_deref().unwrap()).unwrap();
    let url = format!("http://{}", admin.address);
    let elsewhere = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        // A database that nobody can reach: whoever asked it would fail.
        command.env("DATABASE_URL", "postgres://nobody@127.0.0.1:1/nothing");
        command.args(["--server", &url, "--token-file", token_file.to_str().unwrap()]);
        command.output().unwrap()
    };
    let ok = |arguments: &[&str]| {
        let output = elsewhere(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let ran = elsewhere(&["run", "a/one", "--arg", "x=2", "--json"]);
    assert!(ran.status.success(), "{}", text_of(&ran));
    let row: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(
        (&row["status"], &row["return_value"]["x"]),
        (&json!("succeeded"), &json!(2))
    );
    assert!(
        String::from_utf8_lossy(&ran.stderr).contains("said"),
        "{}",
        text_of(&ran)
    );
    let compared: &[&[&str]] = &[
        &["tasks"],
        &["tasks", "--json"],
        &["tasks", "a/one"],
        &["runs"],
        &["runs", "--json"],
        &["runs", "--task", "a/one", "--status", "succeeded"],
        &["logs", "1"],
        &["values"],
        &["values", "--json"],
        &["next", "never", "--from", "2026-01-01T00:00:00Z"],
    ];
    for arguments in compared {
        assert_eq!(ok(arguments), world.dropcron_ok(arguments), "{arguments:?}");
    }
    // How long it is until then is another moment's affair.
    let facts = |text: &str| -> Vec<String> {
        let parts = text.lines().next().unwrap().split(", ");
        parts
            .filter(|part| !part.starts_with("in "))
            .map(str::to_owned)
            .collect()
    };
    let why = ["why", "never", "2028-02-29T00:00Z"];
    assert_eq!(facts(&ok(&why)), facts(&world.dropcron_ok(&why)));
    assert!(ok(&["pause", "never", "--reason", "x"]).contains("is paused"));
    assert!(ok(&["resume", "never"]).contains("fires again"));
    assert!(ok(&["cancel", "1"]).contains("is succeeded already"));
    let code = |arguments: &[&str]| elsewhere(arguments).status.code();
    assert_eq!(
        (code(&["tasks", "nothing"]), code(&["logs", "99"]), code(&["psql"])),
        (Some(3), Some(3), Some(2))
    );
    std::fs::write(&token_file, "x".repeat(40)).unwrap();
    assert_eq!(code(&["tasks"]), Some(2));
    let mut command = world.command(&["tasks", "--server", "http://127.0.0.1:1"]);
    command.env("DROPCRON_TOKEN", "x");
    assert_eq!(command.output().unwrap().status.code(), Some(4));
    assert_eq!(world.dropcron(&["tasks", "--server", &url]).status.code(), Some(2));
    assert_eq!(
        world.dropcron(&["tasks", "--server", "nonsense"]).status.code(),
        Some(2)
    );
}

#[test]
fn arguments_keep_every_digit() {
    let world = World::new();
    world.script("echo.py", "def run(n, x):\n    return str(n)");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let (n, x) = ("123456789012345678901234567890", "12345678901234567.25");
    let body = format!("{{\"args\":{{\"n\":{n},\"x\":{x}}}}}");
    let over_api = admin.send("POST", "/api/v1/tasks/echo/runs", &[], &body).must_be(202);
    let run_id = over_api.json()["run"]["run_id"].as_i64().unwrap();
    let printed = world.dropcron_ok(&["run", "echo", "--arg", &format!("n={n}"), "--arg", &format!("x={x}")]);
    assert!(printed.contains(n), "{printed}");
    world.wait_for("select count(*) = 2 from run_log where status = 'succeeded'");
    let kept = format!("{{\"n\": {n}, \"x\": {x}}}");
    assert_eq!(
        world.value(&format!("select count(*) from run_log where args::text = '{kept}'")),
        "2"
    );
    let again = admin
        .post(&format!("/api/v1/runs/{run_id}/retry"), json!({}))
        .must_be(202)
        .json();
    let again = again["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!(
        "select return_value = to_jsonb('{n}'::text) from run_log where run_id = {again}"
    ));
}

#[test]
fn a_schedule_that_nobody_would_write_is_refused_before_it_costs_anything() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let reader = admin.with_role("reader");
    let long = format!("0 0 1 1 {}", "1-7,".repeat(100_000));
    for schedule in [json!([long]), json!(vec!["@daily"; 101])] {
        let answer = reader
            .post("/api/v1/schedule/preview", json!({ "schedule": schedule }))
            .must_be(422);
        assert!(answer.body.contains("at most"), "{}", answer.body);
    }
    let script = format!("# /// script\n# [tool.dropcron]\n# schedule = \"{long}\"\n# ///\ndef run(): pass\n");
    let checked = reader
        .post("/api/v1/scripts/validate", json!({ "content": script }))
        .must_be(200)
        .json();
    assert_eq!(checked["standing"], "problem");
    let large = "x = 1\n".repeat(200_000);
    reader
        .post("/api/v1/scripts/validate", json!({ "content": large }))
        .must_be(413);
}

#[test]
fn the_overview_counts_what_went_wrong_today() {
    let world = World::new();
    world.script("quiet.py", "def run():\n    return 1\n");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    for (number, name, status, reason, missed_count) in [
        (1, "quiet", "succeeded", "null", "null"),
        (2, "quiet", "failed", "'raised'", "null"),
        (3, "quiet", "timed_out", "'timeout'", "null"),
        (4, "quiet", "lost", "'node_gone'", "null"),
        (5, "quiet", "cancelled", "'requested'", "null"),
        (6, "quiet", "skipped", "'overlap'", "null"),
        (7, "quiet", "missed", "'down'", "3"),
        (8, "/trial/x", "failed", "'raised'", "null"),
    ] {
        world.sql(&format!(
            "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, finished_at, \
             missed_count)
             select {number}, task_id, '{name}', at, 'schedule', '{status}', {reason}, at, at, at, {missed_count}
               from task, (select now() as at) t"
        ));
    }
    // Yesterday's, in every zone.
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, finished_at)
         select 9, task_id, 'quiet', at, 'schedule', 'failed', 'raised', at, at, at from task, (select now() - interval '49 hours' as at) t",
    );
    // Of the zones of the earth one is far from its midnight.
    let zone = world.value(
        "select case when extract(hour from now() at time zone 'UTC') between 1 and 22 then 'UTC' else 'Asia/Tokyo' end",
    );
    let overview = admin
        .get(&format!("/api/v1/overview?timezone={zone}"))
        .must_be(200)
        .json();
    let counts = &overview["counts"];
    assert_eq!(
        [
            &counts["failed_today"],
            &counts["missed_today"],
            &counts["skipped_today"]
        ],
        [3, 3, 1]
    );
    // A task that fails again and again is one.
    let [failed] = &overview["failed_today"].as_array().unwrap()[..] else {
        panic!("{overview}");
    };
    assert_eq!([&failed["run"]["run_id"], &failed["failures"]], [4, 3]);
    let missed = overview["missed_today"].as_array().unwrap();
    assert_eq!(missed.len(), 1);
    assert_eq!(missed[0]["run_id"], 7);
}
