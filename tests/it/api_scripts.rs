//! Scripts over the API: checked before they are written, written whole, inside of their directory, once for each belief.

use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use crate::http::{Answer, Client};
use crate::support::World;

const GOOD: &str = "# /// script\n# [tool.dropcron]\n# schedule = \"@every 1s\"\n# ///\nimport helper\n\ndef run():\n    return helper.VALUE\n";

fn put(client: &Client, path: &str, content: &str, belief: (&str, &str)) -> Answer {
    let path = format!("/api/v1/scripts/{}", path.replace('/', "%2F"));
    client.send("PUT", &path, &[belief], &json!({ "content": content }).to_string())
}

const NEW: (&str, &str) = ("If-None-Match", "*");

#[test]
fn a_script_is_uploaded_fires_is_edited_renamed_and_removed() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let answer = put(&admin, "prices/helper.py", "VALUE = 1\n", NEW).must_be(201).json();
    assert_eq!(answer["standing"], "library");
    let first = put(&admin, "prices/btc.py", GOOD, NEW).must_be(201);
    let sha256 = first.json()["sha256"].as_str().unwrap().to_owned();
    assert_eq!(first.json()["task"], "prices/btc");
    assert_eq!(first.header("etag"), Some(format!("\"{sha256}\"").as_str()));
    world.wait_for("select count(*) > 0 from run_log where task_name = 'prices/btc' and status = 'succeeded'");
    // Somebody who has not seen the newest version changes nothing.
    assert_eq!(put(&admin, "prices/btc.py", GOOD, NEW).status, 412);
    assert_eq!(
        put(&admin, "prices/btc.py", GOOD, ("If-Match", &"0".repeat(64))).status,
        412
    );
    assert_eq!(put(&admin, "prices/btc.py", GOOD, ("X-Nothing", "1")).status, 428);
    let edited = format!("{GOOD}# edited\n");
    let second = put(&admin, "prices/btc.py", &edited, ("If-Match", &format!("\"{sha256}\"")))
        .must_be(200)
        .json();
    assert_eq!(put(&admin, "prices/btc.py", GOOD, ("If-Match", &sha256)).status, 412);
    let read = admin.get("/api/v1/scripts/prices%2Fbtc.py").must_be(200).json();
    assert_eq!(
        (read["content"].as_str(), &read["sha256"]),
        (Some(edited.as_str()), &second["sha256"])
    );
    world.wait_for("select count(*) = 1 from task t join script_version v on v.sha256 = t.script_sha256 where convert_from(v.content, 'utf8') like '%# edited%'");
    let versions = admin.get("/api/v1/tasks/prices%2Fbtc/versions").must_be(200).json();
    assert_eq!(versions["items"].as_array().unwrap().len(), 2, "{versions}");
    assert_eq!(versions["items"][0]["in_force"], true);
    let text = admin
        .get(&format!("/api/v1/tasks/prices%2Fbtc/versions/{sha256}"))
        .must_be(200);
    assert_eq!(text.body, GOOD);
    let diff = admin.get(&format!(
        "/api/v1/tasks/prices%2Fbtc/diff?from={sha256}&to={}",
        second["sha256"].as_str().unwrap()
    ));
    assert!(
        diff.must_be(200).json()["diff"]
            .as_str()
            .unwrap()
            .contains("\n+# edited\n")
    );
    admin
        .post(
            "/api/v1/scripts/prices%2Fbtc.py/rename",
            json!({ "to": "prices/bitcoin.py" }),
        )
        .must_be(200);
    world.wait_for("select count(*) = 1 from task where name = 'prices/bitcoin' and retired_at is null");
    let remove = |belief: (&str, &str)| {
        admin
            .send("DELETE", "/api/v1/scripts/prices%2Fbitcoin.py", &[belief], "")
            .status
    };
    assert_eq!(remove(("If-Match", &sha256)), 412);
    assert_eq!(remove(("X-Nothing", "1")), 428);
    assert_eq!(remove(("If-Match", second["sha256"].as_str().unwrap())), 204);
    world.wait_for("select count(*) = 1 from task where name = 'prices/bitcoin' and retired_at is not null");
    assert_eq!(
        world.value(
            "select string_agg(action || ' ' || subject, ', ' order by audit_id) from audit where action like 'script%'"
        ),
        "script.write prices/helper.py, script.write prices/btc.py, script.write prices/btc.py, script.rename prices/btc.py, \
         script.delete prices/bitcoin.py"
    );
    assert_eq!(world.value("select distinct address from audit"), "127.0.0.1");
    let audit = admin.get("/api/v1/audit?limit=2").must_be(200).json();
    assert_eq!(audit["items"][0]["action"], "script.delete");
    let cursor = audit["next_cursor"].as_str().unwrap();
    let rest = admin.get(&format!("/api/v1/audit?cursor={cursor}")).must_be(200).json();
    assert_eq!(rest["items"][0]["action"], "script.write", "{rest}");
    let left: Vec<_> = std::fs::read_dir(world.scripts.join("prices"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["helper.py"]);
}

#[test]
fn a_script_with_a_problem_is_refused_with_its_place() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let check = |content: &str| {
        admin
            .post("/api/v1/scripts/validate", json!({ "content": content }))
            .must_be(200)
            .json()
    };
    let good = check(GOOD);
    assert_eq!(
        (&good["standing"], &good["schedule_words"]),
        (&json!("task"), &json!("every 1s (UTC)"))
    );
    assert_eq!(good["next"].as_array().unwrap().len(), 5);
    let bad = check("x = 1\ndef run(:\n    pass\n");
    assert_eq!(
        (&bad["standing"], &bad["problems"][0]["line"]),
        (&json!("problem"), &json!(2)),
        "{bad}"
    );
    let bad = check("# /// script\n# [tool.dropcron]\n# schedul = \"@daily\"\n# ///\ndef run(): pass\n");
    assert_eq!(
        (&bad["problems"][0]["line"], bad["problems"].as_array().unwrap().len()),
        (&json!(3), 1),
        "{bad}"
    );
    assert_eq!(check("VALUE = 1\n")["standing"], "library");
    let refused = put(&admin, "bad.py", "def run(:\n", NEW).must_be(422).json();
    assert_eq!(refused["errors"][0]["line"], 1, "{refused}");
    assert!(!world.scripts.join("bad.py").exists());
    assert_eq!(
        world.value("select count(*) from audit where action = 'script.write'"),
        "0"
    );
    // What is in the directory is told with its problem, whoever put it there.
    world.script("broken.py", "def run(:\n");
    world.script("good.py", "def run():\n    return 1\n");
    world.script("library.py", "VALUE = 1\n");
    world.wait_for("select count(*) = 1 from task where name = 'good'");
    let list = admin.get("/api/v1/scripts").must_be(200).json();
    let standings: Vec<(&str, &str)> = list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["path"].as_str().unwrap(), item["standing"].as_str().unwrap()))
        .collect();
    assert_eq!(
        standings,
        [("broken.py", "problem"), ("good.py", "task"), ("library.py", "library")]
    );
    assert!(
        list["items"][0]["problem"].as_str().unwrap().contains("SyntaxError"),
        "{list}"
    );
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let outside = world.root.join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret.py"), "SECRET = 1\n").unwrap();
    symlink(&outside, world.scripts.join("way")).unwrap();
    symlink(outside.join("secret.py"), world.scripts.join("link.py")).unwrap();
    for path in [
        "..%2Foutside%2Fsecret.py",
        "way%2Fsecret.py",
        "way%2Fnew.py",
        "link.py",
        "%2Fetc%2Fpasswd.py",
        "a%2F..%2F..%2Foutside%2Fsecret.py",
        "a%0Ab.py",
        "a%07.py",
        ".hidden.py",
        "a.txt",
        "a.so",
        &format!("{}.py", "x".repeat(300)),
    ] {
        let path = format!("/api/v1/scripts/{path}");
        let read = admin.get(&path);
        assert!(
            matches!(read.status, 400 | 403 | 404),
            "{path}: {} {}",
            read.status,
            read.body
        );
        assert!(!read.body.contains("SECRET = 1"), "{path}");
        let written = admin.send("PUT", &path, &[NEW], &json!({ "content": "X = 1\n" }).to_string());
        assert!(
            matches!(written.status, 400 | 403),
            "{path}: {} {}",
            written.status,
            written.body
        );
        assert!(
            written.json()["detail"]
                .as_str()
                .is_some_and(|detail| !detail.is_empty())
        );
    }
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    assert_eq!(
        std::fs::read_to_string(outside.join("secret.py")).unwrap(),
        "SECRET = 1\n"
    );
}

#[test]
fn a_directory_that_is_read_only_says_so() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1\n");
    let (_serve, admin) = world.serve_api();
    assert_eq!(
        admin.get("/api/v1/overview").must_be(200).json()["scripts_writable"],
        true
    );
    std::fs::set_permissions(&world.scripts, std::fs::Permissions::from_mode(0o555)).unwrap();
    let overview = admin.get("/api/v1/overview").must_be(200).json();
    assert_eq!(overview["scripts_writable"], false);
    assert!(
        overview["scripts_note"]
            .as_str()
            .unwrap()
            .contains("cannot be changed here")
    );
    let refused = put(&admin, "two.py", "X = 1\n", NEW).must_be(403).json();
    assert!(
        refused["detail"].as_str().unwrap().contains("cannot be changed here"),
        "{refused}"
    );
    std::fs::set_permissions(&world.scripts, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(!world.scripts.join("two.py").exists());
}

#[test]
fn a_script_is_tried_once_and_stands_in_no_list() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let code = GOOD.replace("import helper\n", "").replace("helper.VALUE", "{'n': 7}");
    let try_it = || {
        admin
            .post("/api/v1/scripts/try", json!({ "content": code, "args": {} }))
            .must_be(202)
            .json()
    };
    let run_id = try_it()["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {run_id}"
    ));
    let run: Value = admin.get(&format!("/api/v1/runs/{run_id}")).must_be(200).json();
    assert_eq!(run["run"]["return_value"], json!({ "n": 7 }));
    // The same text is the same task, and its schedule does not count.
    assert_ne!(try_it()["run"]["run_id"], run_id);
    assert_eq!(
        world.value("select count(*) || ' ' || max(cardinality(schedule)) from task where source = 'trial'"),
        "1 0"
    );
    for list in ["tasks", "runs", "series"] {
        let items = admin.get(&format!("/api/v1/{list}")).must_be(200).json();
        assert_eq!(items["items"], json!([]), "{list}");
    }
    assert_eq!(admin.get("/api/v1/overview").json()["counts"]["tasks"], 0);
    assert!(!world.dropcron_ok(&["tasks"]).contains("/trial/"));
    assert!(!world.dropcron_ok(&["runs"]).contains("/trial/"));
    let refused = admin
        .post("/api/v1/scripts/try", json!({ "content": "X = 1" }))
        .must_be(422)
        .json();
    assert!(
        refused["detail"].as_str().unwrap().contains("defines no `run`"),
        "{refused}"
    );
    assert_eq!(std::fs::read_dir(&world.scripts).unwrap().count(), 0);
    // Nor in what others report from, failures included.
    let broken = code.replace("return", "raise ValueError(7) #");
    let failed = admin
        .post("/api/v1/scripts/try", json!({ "content": broken }))
        .must_be(202)
        .json();
    let failed = failed["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!(
        "select status = 'failed' from run_log where run_id = {failed}"
    ));
    for view in [
        "tasks",
        "runs",
        "latest",
        "failures_today",
        "late",
        "daily",
        "script_versions",
        "values",
    ] {
        let rows = world.value(&format!("select count(*) from dropcron_report.\"{view}\""));
        assert_eq!(rows, "0", "{view}");
    }
    assert_eq!(
        world.value("select tasks || ' ' || tasks_failing || ' ' || runs_active from dropcron_report.health"),
        "0 0 0"
    );
    // After a week it goes.
    world.wait_for("select count(*) = 0 from run_lease");
    world.sql(
        "update task set created_at = created_at - interval '8 days', updated_at = updated_at - interval '8 days'",
    );
    assert_eq!(world.value("select count(*) from task where source = 'trial'"), "2");
    world.dropcron_ok(&["prune"]);
    assert_eq!(world.value("select count(*) from task where source = 'trial'"), "0");
}

#[test]
fn an_old_version_runs_once_more() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let first = put(&admin, "one.py", "def run():\n    return 1\n", NEW)
        .must_be(201)
        .json();
    let old = first["sha256"].as_str().unwrap();
    world.wait_for("select count(*) = 1 from task");
    put(&admin, "one.py", "def run():\n    return 2\n", ("If-Match", old)).must_be(200);
    world.wait_for(&format!("select encode(script_sha256, 'hex') <> '{old}' from task"));
    let path = format!("/api/v1/tasks/one/versions/{old}/run");
    let run_id = admin.post(&path, json!({})).must_be(202).json()["run"]["run_id"]
        .as_i64()
        .unwrap();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {run_id}"
    ));
    let row = format!(
        "select return_value::text || ' ' || encode(script_sha256, 'hex') from run_log where run_id = {run_id}"
    );
    assert_eq!(world.value(&row), format!("1 {old}"));
    let run_id = admin.post("/api/v1/tasks/one/runs", json!({})).must_be(202).json()["run"]["run_id"]
        .as_i64()
        .unwrap();
    world.wait_for(&format!(
        "select return_value = '2' from run_log where run_id = {run_id}"
    ));
    assert_eq!(admin.get(&format!("/api/v1/runs/{run_id}")).json()["is_pinned"], false);
    let unknown = format!("/api/v1/tasks/one/versions/{}/run", "0".repeat(64));
    assert_eq!(admin.post(&unknown, json!({})).status, 404);
    assert_eq!(admin.post("/api/v1/tasks/one/versions/xyz/run", json!({})).status, 400);
}

#[test]
fn a_change_is_made_and_recorded_though_whoever_asked_is_gone() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let session = world.session();
    session.sql("begin; lock table dropcron.audit in share mode");
    let body = json!({ "content": "def run():\n    return 1\n" }).to_string();
    let mut stream = admin.connect();
    let request = admin.request("PUT", "/api/v1/scripts/left.py", &[("If-None-Match", "*")], &body);
    stream.write_all(&request).unwrap();
    world.wait_for("select count(*) = 1 from pg_locks where relation = 'dropcron.audit'::regclass and not granted");
    assert!(
        !world.scripts.join("left.py").exists(),
        "nothing is changed before it is recorded"
    );
    drop(stream);
    session.sql("commit");
    world.wait_for("select count(*) = 1 from task where name = 'left'");
    assert_eq!(
        world.value("select count(*) from audit where action = 'script.write'"),
        "1"
    );
    // What could not be done is not recorded.
    admin
        .send("PUT", "/api/v1/scripts/left.py", &[("If-None-Match", "*")], &body)
        .must_be(412);
    assert_eq!(
        world.value("select count(*) from audit where action = 'script.write'"),
        "1"
    );
}

#[test]
fn what_is_hidden_is_not_shown() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    for file in [".git/hook.py", ".hidden.py", "__pycache__/a.py"] {
        let path = world.scripts.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "SECRET = 1\n").unwrap();
        let answer = admin
            .get(&format!("/api/v1/scripts/{}", file.replace('/', "%2F")))
            .must_be(400);
        assert!(answer.body.contains("is hidden"), "{}", answer.body);
    }
}

#[test]
fn an_old_version_stays_the_same_in_every_attempt() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let header = "# /// script\n# [tool.dropcron]\n# retries = { max = 1, delay = \"0s\" }\n# ///\n";
    let fails = format!("{header}def run():\n    raise ValueError('old')\n");
    let first = put(&admin, "one.py", &fails, NEW).must_be(201).json();
    let old = first["sha256"].as_str().unwrap();
    world.wait_for("select count(*) = 1 from task");
    let works = format!("{header}def run():\n    return 2\n");
    put(&admin, "one.py", &works, ("If-Match", old)).must_be(200);
    world.wait_for(&format!("select encode(script_sha256, 'hex') <> '{old}' from task"));
    let asked = admin
        .post(&format!("/api/v1/tasks/one/versions/{old}/run"), json!({}))
        .must_be(202);
    let run_id = asked.json()["run"]["run_id"].as_i64().unwrap();
    // It is tried again of itself, and again by a person: each time it is the one that was asked for.
    let ends = |count: u32| {
        world.wait_for(&format!(
            "select count(*) = {count} from run_log where status in ('succeeded', 'failed') and not exists (select from run_lease)"
        ));
        world.value(
            "select string_agg(format('%s %s %s', attempt, status, encode(script_sha256, 'hex')), ', ' order by run_id) from run_log",
        )
    };
    let both = format!("1 failed {old}, 2 failed {old}");
    assert_eq!(ends(2), both);
    assert_eq!(admin.get(&format!("/api/v1/runs/{run_id}")).json()["is_pinned"], true);
    let last = world.value("select max(run_id) from run_log");
    admin
        .post(&format!("/api/v1/runs/{last}/retry"), json!({}))
        .must_be(202);
    assert_eq!(ends(4), format!("{both}, {both}"));
}
