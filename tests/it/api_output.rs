//! Output over the API: in pages, and live to whoever watches, from the place where they were.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::http::Client;
use crate::support::{PATIENCE, World};

/// The events of a stream, as they come.
struct Events(BufReader<TcpStream>);

/// One event: its id, its name, its data.
type Event = (Option<i32>, String, Value);

impl Events {
    fn open(client: &Client, path: &str, headers: &[(&str, &str)]) -> Events {
        let mut stream = client.connect();
        stream.write_all(&client.request("GET", path, headers, "")).unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.contains(" 200 ") && head.contains("text/event-stream"), "{head}");
        Events(reader)
    }

    /// Waits for the comment that says that the stream is live.
    fn wait_until_watching(&mut self) {
        let mut line = String::new();
        while line != ": watching\n" {
            line.clear();
            assert!(self.0.read_line(&mut line).unwrap() > 0);
        }
    }

    /// The next event; none: the stream is over.
    fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), Value::Null);
        let deadline = Instant::now() + PATIENCE;
        loop {
            // Comments alone would go on for as long as the stream.
            assert!(Instant::now() < deadline, "neither an event nor the end");
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(": ") {
                Some(("id", text)) => id = text.parse().ok(),
                Some(("event", text)) => name = text.to_owned(),
                Some(("data", text)) => data = serde_json::from_str(text).unwrap(),
                None if line == "\n" && !name.is_empty() => return Some((id, name, data)),
                _ => {}
            }
        }
    }

    /// Everything up to the end, as text, with the status at the end.
    fn rest(mut self) -> (String, Vec<i32>, Option<String>) {
        let (mut text, mut numbers, mut status) = (String::new(), Vec::new(), None);
        while let Some((id, name, data)) = self.next() {
            match name.as_str() {
                "chunk" => {
                    text.push_str(data["text"].as_str().unwrap());
                    assert_eq!(data["number"].as_i64(), id.map(i64::from));
                    numbers.extend(id);
                }
                _ => status = data["status"].as_str().map(str::to_owned),
            }
        }
        (text, numbers, status)
    }
}

fn start(world: &World, client: &Client) -> i64 {
    let run = client.post("/api/v1/tasks/talk/runs", json!({})).must_be(202).json();
    let run_id = run["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!("select count(*) > 0 from run_output where run_id = {run_id}"));
    run_id
}

#[test]
fn output_is_watched_live_to_its_end_and_gone_on_with() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "def run():\n    print('first <b>&', flush=True)\n    {}\n    print('last')\n    raise SystemExit(3)",
        gate.wait()
    );
    world.script("talk.py", &body);
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let run_id = start(&world, &admin);
    let path = format!("/api/v1/runs/{run_id}/output/events");
    let mut early = Events::open(&admin, &path, &[]);
    let first = early.next().unwrap();
    assert_eq!(
        (first.0, first.1.as_str(), &first.2["text"]),
        (Some(0), "chunk", &json!("first <b>&\n"))
    );
    let page = admin.get(&format!("/api/v1/runs/{run_id}/output")).must_be(200).json();
    assert_eq!(
        (&page["complete"], &page["status"], &page["next"]),
        (&json!(false), &json!("running"), &json!(1))
    );
    // Whoever was there before goes on behind what was seen; fifty others look on as well.
    let mut late = Events::open(&admin, &path, &[("Last-Event-ID", "0")]);
    let mut others: Vec<Events> = (0..50).map(|_| Events::open(&admin, &path, &[])).collect();
    late.wait_until_watching();
    others.iter_mut().for_each(Events::wait_until_watching);
    gate.open();
    let (text, numbers, status) = late.rest();
    assert!(
        text == "last\n" && numbers.iter().all(|number| *number > 0),
        "{text} {numbers:?}"
    );
    assert_eq!(status.as_deref(), Some("failed"));
    let (text, _, status) = early.rest();
    assert_eq!((text.as_str(), status.as_deref()), ("last\n", Some("failed")));
    for other in others {
        let (text, _, status) = other.rest();
        // They had the first chunk before the comment that they waited for.
        assert_eq!((text.as_str(), status.as_deref()), ("last\n", Some("failed")));
    }
    let (text, _, status) = Events::open(&admin, &path, &[]).rest();
    assert_eq!(
        (text.as_str(), status.as_deref()),
        ("first <b>&\nlast\n", Some("failed"))
    );
    let page = admin
        .get(&format!("/api/v1/runs/{run_id}/output?from_chunk=1"))
        .must_be(200)
        .json();
    assert_eq!(
        (&page["complete"], &page["chunks"][0]["text"]),
        (&json!(true), &json!("last\n"))
    );
    assert_eq!(admin.send("GET", &path, &[("Last-Event-ID", "x")], "").status, 400);
    assert_eq!(admin.get("/api/v1/runs/9999/output/events").status, 404);
}

#[test]
fn whoever_asks_for_what_is_far_away_takes_nothing_from_the_others() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!(
        "def run():\n    print('first', flush=True)\n    {}\n    print('last')",
        gate.wait()
    );
    world.script("talk.py", &body);
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let run_id = start(&world, &admin);
    let path = format!("/api/v1/runs/{run_id}/output/events");
    let mut far = Events::open(&admin, &path, &[("Last-Event-ID", "2147483640")]);
    far.wait_until_watching();
    let mut farther = Events::open(&admin, &format!("{path}?from_chunk=2147483647"), &[]);
    farther.wait_until_watching();
    let mut plain = Events::open(&admin, &path, &[]);
    plain.wait_until_watching();
    gate.open();
    let (text, numbers, status) = plain.rest();
    assert_eq!((text.as_str(), status.as_deref()), ("last\n", Some("succeeded")));
    assert!(!numbers.is_empty());
    for other in [far, farther] {
        assert_eq!(other.rest(), (String::new(), Vec::new(), Some("succeeded".to_owned())));
    }
}

#[test]
fn a_stream_ends_with_the_token_or_the_session_that_opened_it() {
    let world = World::new();
    let mut gate = world.gate("gate");
    let body = format!("def run():\n    print('first', flush=True)\n    {}", gate.wait());
    world.script("talk.py", &body);
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let reader = admin.with_role("reader");
    let logged_in = reader
        .with_token(None)
        .post("/api/v1/session", json!({ "token": admin.token }))
        .must_be(200);
    let cookie = logged_in.header("set-cookie").unwrap().split(';').next().unwrap();
    let origin = format!("http://{}", admin.address);
    let headers = [("Cookie", cookie), ("Origin", origin.as_str())];
    let run_id = start(&world, &admin);
    let path = format!("/api/v1/runs/{run_id}/output/events");
    let mut by_token = Events::open(&reader, &path, &[]);
    let mut by_session = Events::open(&reader.with_token(None), &path, &headers);
    let mut by_admin = Events::open(&admin, &path, &[]);
    for events in [&mut by_token, &mut by_session, &mut by_admin] {
        events.wait_until_watching();
    }
    world.dropcron_ok(&["token", "revoke", "a reader"]);
    assert_eq!(by_token.next(), None);
    reader
        .with_token(None)
        .send("DELETE", "/api/v1/session", &headers, "")
        .must_be(204);
    assert_eq!(by_session.next(), None);
    gate.open();
    assert_eq!(by_admin.rest().2.as_deref(), Some("succeeded"));
}

#[test]
fn output_that_is_longer_than_a_page_comes_whole_and_in_order() {
    let world = World::new();
    world.script("talk.py", "def run():\n    pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let run_id = admin.post("/api/v1/tasks/talk/runs", json!({})).must_be(202).json()["run"]["run_id"]
        .as_i64()
        .unwrap();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {run_id}"
    ));
    world.sql(&format!(
        "insert into run_output select {run_id}, n, clock_timestamp(), n || E'\\n' from generate_series(0, 999) n"
    ));
    let wanted: String = (0..1000).map(|number| format!("{number}\n")).collect();
    let (text, numbers, _) = Events::open(&admin, &format!("/api/v1/runs/{run_id}/output/events"), &[]).rest();
    assert_eq!(text, wanted);
    assert_eq!(numbers, (0..1000).collect::<Vec<i32>>());
    let (mut text, mut next) = (String::new(), 0);
    loop {
        let page = admin
            .get(&format!("/api/v1/runs/{run_id}/output?from_chunk={next}&limit=300"))
            .must_be(200)
            .json();
        for chunk in page["chunks"].as_array().unwrap() {
            text.push_str(chunk["text"].as_str().unwrap());
        }
        next = page["next"].as_i64().unwrap();
        if page["complete"] == true {
            break;
        }
    }
    assert_eq!(text, wanted);
}

#[test]
fn a_page_of_output_has_an_end_in_bytes() {
    let world = World::new();
    world.script("talk.py", "def run():\n    pass");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task");
    let run = admin.post("/api/v1/tasks/talk/runs", json!({})).must_be(202).json();
    let run_id = run["run"]["run_id"].as_i64().unwrap();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {run_id}"
    ));
    world.sql(&format!(
        "insert into run_output select {run_id}, n, clock_timestamp(), repeat('x', 65536) from generate_series(0, 99) n"
    ));
    let (mut counts, mut next, mut is_complete) = (Vec::new(), 0, false);
    while !is_complete {
        let page = admin
            .get(&format!("/api/v1/runs/{run_id}/output?from_chunk={next}&limit=1000"))
            .must_be(200)
            .json();
        counts.push(page["chunks"].as_array().unwrap().len());
        next = page["next"].as_i64().unwrap();
        is_complete = page["complete"] == true;
    }
    assert_eq!(counts, [64, 36]);
}

#[test]
fn a_stream_ends_when_the_service_does() {
    let world = World::new();
    let gate = world.gate("gate");
    world.script(
        "talk.py",
        &format!("def run():\n    print('x', flush=True)\n    {}", gate.wait()),
    );
    let (mut serve, admin) = world.serve_api_with(&[("DROPCRON_SHUTDOWN_GRACE", "1s")]);
    world.wait_for("select count(*) = 1 from task");
    let run_id = start(&world, &admin);
    let mut events = Events::open(&admin, &format!("/api/v1/runs/{run_id}/output/events"), &[]);
    events.wait_until_watching();
    serve.signal(Signal::TERM);
    let mut rest = Vec::new();
    // Its end is told if it comes in time; the stream ends either way, and with it the service.
    let _ = events.0.read_to_end(&mut rest);
    assert_eq!(serve.wait(), Some(0));
    drop(gate);
}
