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
fn what_cannot_be_done_to_the_page_says_what_can() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let refused = admin.send("DELETE", "/index.html", &[], "").must_be(405);
    assert_eq!(refused.header("allow"), Some("GET, HEAD"));
}
