//! What the API can be made to do by those who want too much: slow clients, many of them, and large answers.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::{Client, parse};
use crate::support::{PATIENCE, World, text_of, wait_until};

/// Between two bytes of a client that trickles.
const TRICKLE: Duration = Duration::from_secs(1);

/// Begins to log in, and leaves most of the body out.
fn half_login(client: &Client) -> TcpStream {
    let mut stream = client.connect();
    let head = client.request("POST", "/api/v1/session", &[("Content-Length", "4000")], "{");
    stream.write_all(&head).unwrap();
    stream
}

#[test]
fn strangers_neither_close_the_api_nor_keep_the_service() {
    let world = World::new();
    let (mut serve, admin) = world.serve_api();
    let nobody = admin.with_token(None);
    let mut strangers: Vec<TcpStream> = (0..1100).map(|_| half_login(&nobody)).collect();
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        // One byte of each now and then: none of them stands still.
        scope.spawn(move || {
            while is_done.recv_timeout(TRICKLE) == Err(mpsc::RecvTimeoutError::Timeout) {
                for stream in &mut strangers {
                    let _ = stream.write_all(b" ");
                }
            }
        });
        // Dropped by a panic as well, so that the other thread ends.
        let done = done;
        assert_eq!(nobody.get("/healthz").must_be(200).body, "alive\n");
        nobody.get("/readyz").must_be(200);
        admin.get("/api/v1/tasks").must_be(200);
        nobody
            .post("/api/v1/session", json!({ "token": admin.token }))
            .must_be(200);
        serve.signal(Signal::TERM);
        assert_eq!(serve.wait(), Some(0));
        drop(done);
    });
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let mut stream = half_login(&admin.with_token(None));
    stream.set_read_timeout(Some(TRICKLE)).unwrap();
    let (mut bytes, deadline) = (Vec::new(), Instant::now() + PATIENCE);
    while bytes.is_empty() {
        assert!(Instant::now() < deadline, "it may go on for ever");
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(count) => {
                assert!(count > 0, "no answer");
                bytes.extend(&buffer[..count]);
            }
            Err(_) => stream.write_all(b" ").unwrap(),
        }
    }
    let answer = parse(&bytes);
    assert_eq!(answer.status, 408, "{}", answer.body);
}

#[test]
fn a_login_and_headers_have_a_size() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let body = json!({ "token": "x".repeat(5000) });
    admin.with_token(None).post("/api/v1/session", body).must_be(413);
    for (count, status) in [(30_000, 200), (33_000, 431), (40_000, 431), (100_000, 431)] {
        let long = "x".repeat(count);
        let answer = admin.send("GET", "/healthz", &[("X-Long", &long)], "");
        assert_eq!(answer.status, status, "{count}");
    }
}

#[test]
fn a_database_that_is_busy_for_readers_makes_no_scheduler_unready() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let somebody = world.session();
    somebody.sql("begin; lock table run_log in access exclusive mode");
    std::thread::scope(|scope| {
        let asking: Vec<_> = (0..12).map(|_| scope.spawn(|| admin.get("/api/v1/runs"))).collect();
        // All connections of the API wait.
        world.wait_for(
            "select count(*) >= 4 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
        );
        let ready = admin.with_token(None).get("/readyz").must_be(200).json();
        let names: Vec<&str> = ready["checks"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|check| check["name"].as_str())
            .collect();
        assert_eq!(names, ["loops", "lease", "database"]);
        let refused = asking.into_iter().map(|thread| thread.join().unwrap());
        let refused: Vec<_> = refused.filter(|answer| answer.status != 200).collect();
        assert!(!refused.is_empty());
        for answer in refused {
            assert_eq!(answer.status, 503, "{}", answer.body);
            assert_eq!(answer.header("retry-after"), Some("5"));
        }
    });
    somebody.sql("rollback");
}

#[test]
fn the_database_is_unready_while_it_is_away() {
    let (world, cluster) = World::with_server();
    let (_serve, admin) = world.serve_api_with(&[("DROPCRON_LEASE", "6s")]);
    let ready = || admin.with_token(None).get("/readyz");
    ready().must_be(200);
    cluster.close().unwrap();
    wait_until("the database is seen to be away", || ready().status == 503);
    let checks = ready().must_be(503).json()["checks"].clone();
    let database = checks
        .as_array()
        .unwrap()
        .iter()
        .find(|check| check["name"] == "database");
    assert_eq!(database.unwrap()["ok"], false, "{checks}");
}

#[test]
fn lists_leave_out_large_values_and_say_so() {
    let world = World::new();
    world.script("big.py", "def run():\n    return 'small'");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let runs: Vec<i64> = (0..4)
        .map(|_| {
            let body = json!({ "force": true });
            let made = admin.post("/api/v1/tasks/big/runs", body).must_be(202).json();
            made["run"]["run_id"].as_i64().unwrap()
        })
        .collect();
    world.wait_for("select count(*) = 4 from run_log where status = 'succeeded'");
    let returns = |run: i64, value: &str| {
        world.sql(&format!(
            "update run_log set return_value = {value} where run_id = {run}"
        ));
    };
    // Large as it is stored; large as a text, and small as it is stored; nothing at all.
    returns(
        runs[1],
        "(select jsonb_agg(md5(n::text)) from generate_series(1, 1000) n)",
    );
    returns(runs[2], "to_jsonb(repeat('x', 500000))");
    returns(runs[3], "null");
    let page = admin.get("/api/v1/runs?task=big").must_be(200);
    assert!(page.body.len() < 20_000, "{}", page.body.len());
    let page = page.json();
    let listed = |run: i64| -> Value {
        let items = page["items"].as_array().unwrap();
        items.iter().find(|item| item["run_id"] == run).unwrap().clone()
    };
    assert_eq!(listed(runs[0])["return_value"], "small");
    assert_eq!(listed(runs[0])["return_value_bytes"], Value::Null);
    assert_eq!(listed(runs[3])["return_value_bytes"], Value::Null);
    for run in &runs[1..3] {
        let row = listed(*run);
        assert_eq!(row["return_value"], Value::Null);
        assert!(row["return_value_bytes"].as_i64().unwrap() > 16 * 1024, "{row}");
        // One run by its number is whole.
        let whole = admin.get(&format!("/api/v1/runs/{run}")).must_be(200).json()["run"].clone();
        assert!(whole["return_value"].to_string().len() > 30_000);
        assert_eq!(whole["return_value_bytes"], Value::Null);
    }
    let remote = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command
            .env("DROPCRON_SERVER", format!("http://{}", admin.address))
            .env("DROPCRON_TOKEN", admin.token.as_deref().unwrap());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text_of(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(
        remote(&["runs"]).contains("(a large value: 488 KiB)"),
        "{}",
        remote(&["runs"])
    );
    let rows: Value = serde_json::from_str(&remote(&["runs", "--json"])).unwrap();
    let left_out = rows
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["return_value_bytes"].is_i64());
    assert_eq!(left_out.count(), 2);
    // Without a service in between nothing is left out.
    let rows: Value = serde_json::from_str(&world.dropcron_ok(&["runs", "--json"])).unwrap();
    let longest = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["return_value"].to_string().len());
    assert_eq!(longest.max(), Some(500_002));
}

#[test]
fn a_list_of_points_has_an_end() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    admin.get("/api/v1/points?limit=10000").must_be(200);
    let refused = admin.get("/api/v1/points?limit=10001").must_be(400).json();
    assert!(refused["detail"].as_str().unwrap().contains("points.csv"), "{refused}");
}

#[test]
fn what_cannot_be_done_to_the_page_says_what_can() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let refused = admin.send("DELETE", "/index.html", &[], "").must_be(405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
}
