//! Notifications: who is told what, once, whatever the channel does.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Serve, World, text_of, wait_until, with_header};

/// What a receiver was sent.
#[derive(Clone, Debug)]
struct Received {
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    fn delivery_id(&self) -> &str {
        &self.headers["idempotency-key"]
    }
}

/// How a receiver answers its requests, one after another; the last way stays. `None`: never.
type Answers = Vec<Option<&'static str>>;

const OK: Option<&str> = Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
const BROKEN: Option<&str> =
    Some("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 5\r\nConnection: close\r\n\r\nno\nro");

/// A real HTTP server.
struct Receiver {
    port: u16,
    received: Arc<Mutex<Vec<Received>>>,
    hanging: Arc<Mutex<Vec<TcpStream>>>,
}

impl Receiver {
    fn start(answers: Answers) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            received: Arc::default(),
            hanging: Arc::default(),
        };
        let (received, hanging) = (receiver.received.clone(), receiver.hanging.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read_request(&stream) else { continue };
                let mut received = received.lock().unwrap();
                let answer = answers[received.len().min(answers.len() - 1)];
                received.push(request);
                drop(received);
                match answer {
                    Some(answer) => drop(stream.write_all(answer.as_bytes())),
                    None => hanging.lock().unwrap().push(stream),
                }
            }
        });
        receiver
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// A channel of the name, of the type.
    fn channel(&self, name: &str, kind: &str) -> String {
        format!("[channels.{name}]\ntype = \"{kind}\"\nurl = \"{}\"\n", self.url())
    }

    fn all(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }

    /// The kinds of what was received, in order.
    fn kinds(&self) -> Vec<String> {
        let kind = |received: &Received| received.json()["kind"].as_str().unwrap().to_owned();
        self.all().iter().map(kind).collect()
    }

    fn wait_for(&self, count: usize) -> Vec<Received> {
        wait_until(&format!("{count} requests"), || self.all().len() >= count);
        self.all()
    }
}

fn read_request(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        path,
        headers,
        body: String::from_utf8(body).ok()?,
    })
}

/// Writes the file of channels.
fn channels(world: &World, text: &str) -> PathBuf {
    let path = world.root.join("notify.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn serve(world: &World, file: &std::path::Path) -> Serve {
    world.serve_with(&world.data, &[("DROPCRON_NOTIFY_FILE", file.to_str().unwrap())])
}

/// Runs a task as the service does: queued, and waited for.
fn run_now(world: &World, task: &str) {
    let ended = "select count(*) from run_log where status not in ('queued', 'running')";
    let before: i64 = world.value(ended).parse().unwrap();
    // A claim in somebody's terminal has no retries; this one is the service's.
    world.sql(&format!(
        "with run as (
           insert into run_lease (run_id, task_id, scheduled_for, attempt, trigger, state, due_at, queue)
           select nextval('run_id_sequence'), task_id, clock_timestamp(), 1, 'manual', 'queued', clock_timestamp(), queue
             from task where name = '{task}' returning *)
         insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at)
         select run_id, task_id, '{task}', scheduled_for, 'manual', 'queued', due_at, due_at from run"
    ));
    world.wait_for(&format!(
        "select count(*) > {before} from run_log where status not in ('queued', 'running')"
    ));
}

fn planned(world: &World, count: usize) {
    world.wait_for(&format!(
        "select count(*) = {count} from task where revision = planned_revision"
    ));
}

/// Fails as long as a file is there.
fn failing_while(world: &World, name: &str) -> String {
    let path = world.root.join(name);
    std::fs::write(&path, "").unwrap();
    format!(
        "import os\ndef run():\n    if os.path.exists({path:?}):\n        raise ValueError('disk \"full\"\\n\u{1f525}')\n"
    )
}

fn nothing_is_pending(world: &World) {
    world.wait_for("select count(*) = 0 from delivery where state = 'pending'");
}

#[test]
fn after_two_failures_in_a_row_the_channel_is_told_once_and_of_the_recovery_once() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let header = "notify = { after = 2, to = [\"ops\"] }\nowner = \"ada\"\ntimezone = \"Asia/Tokyo\"";
    world.script("backup.py", &with_header(header, &failing_while(&world, "broken")));
    let _serve = serve(&world, &file);
    planned(&world, 1);
    run_now(&world, "backup");
    assert_eq!(
        world.value("select count(*) from delivery"),
        "0",
        "one failure is not two"
    );
    run_now(&world, "backup");
    assert_eq!(world.value("select count(*) from delivery"), "1");
    run_now(&world, "backup");
    run_now(&world, "backup");
    std::fs::remove_file(world.root.join("broken")).unwrap();
    run_now(&world, "backup");
    run_now(&world, "backup");
    nothing_is_pending(&world);
    assert_eq!(receiver.kinds(), ["failed", "recovered"]);
    let told = receiver.all();
    let failed = told[0].json();
    assert_eq!(
        failed["subject"],
        "backup failed: raised ValueError: disk \"full\" \u{1f525} (2 in a row)"
    );
    assert_eq!(failed["delivery_id"], told[0].delivery_id());
    assert_eq!(failed["error"], "disk \"full\"\n\u{1f525}");
    assert_eq!((&failed["owner"], &failed["failures"]), (&"ada".into(), &2.into()));
    assert!(failed["text"].as_str().unwrap().contains(" Asia/Tokyo ("), "{failed}");
    assert_eq!(
        told[1].json()["subject"],
        "backup has recovered after 4 failures in a row"
    );
    assert_eq!(told[0].headers["content-type"], "application/json; charset=utf-8");
    assert_ne!(told[0].delivery_id(), told[1].delivery_id());
    // The next row of failures is another one.
    std::fs::write(world.root.join("broken"), "").unwrap();
    run_now(&world, "backup");
    run_now(&world, "backup");
    assert_eq!(receiver.wait_for(3)[2].json()["kind"], "failed");
}

#[test]
fn an_instant_that_is_tried_again_fails_with_its_last_attempt() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let header = "notify = [\"ops\"]\nretries = { max = 2, delay = \"10ms\" }";
    world.script("bad.py", &with_header(header, "def run():\n    raise OSError('no')"));
    let _serve = serve(&world, &file);
    planned(&world, 1);
    run_now(&world, "bad");
    world.wait_for("select count(*) = 3 from run_log where status = 'failed'");
    nothing_is_pending(&world);
    let told = receiver.wait_for(1);
    assert_eq!(told.len(), 1);
    assert_eq!(
        (&told[0].json()["attempt"], &told[0].json()["failures"]),
        (&3.into(), &1.into())
    );
    assert_eq!(
        world.value("select format('%s %s %s', consecutive_failures, runs_total, failures_total) from task_stat"),
        "1 3 3"
    );
}

#[test]
fn a_retry_that_a_newer_instant_makes_needless_leaves_a_failure() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let header =
        "schedule = \"* * * * * *\"\nnotify = { after = 3, to = [\"ops\"] }\nretries = { max = 1, delay = \"10m\" }";
    world.script("bad.py", &with_header(header, "def run():\n    raise OSError('no')"));
    let _serve = serve(&world, &file);
    let told = receiver.wait_for(1);
    assert_eq!(
        (&told[0].json()["kind"], &told[0].json()["failures"]),
        (&"failed".into(), &3.into())
    );
    assert_eq!(told[0].json()["attempt"], 1);
    world.wait_for("select count(*) > 6 from run_log where status = 'skipped' and reason = 'superseded'");
    assert_eq!(world.value("select count(*) from delivery"), "1");
    assert_eq!(
        world.value(
            "select runs_total - (select count(*) from run_log where status = 'failed') between -2 and 2 from task_stat"
        ),
        "t",
        "an attempt is counted once"
    );
}

#[test]
fn a_default_of_the_file_holds_for_all_but_those_that_turn_it_off() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let text = format!(
        "[default]\nto = [\"ops\"]\nlate_after = \"1h\"\n{}",
        receiver.channel("ops", "webhook")
    );
    let file = channels(&world, &text);
    let raising = "def run():\n    raise OSError('no')";
    world.script("loud.py", raising);
    world.script("quiet.py", &with_header("notify = { to = [] }", raising));
    let service = serve(&world, &file);
    planned(&world, 2);
    run_now(&world, "quiet");
    run_now(&world, "loud");
    nothing_is_pending(&world);
    assert_eq!(world.value("select string_agg(task_name, ' ') from delivery"), "loud");
    assert_eq!(receiver.wait_for(1)[0].json()["task"], "loud");
    let listed: Value = serde_json::from_str(&world.dropcron_ok(&["tasks", "--json"])).unwrap();
    assert_eq!(listed[0]["notify_to"], serde_json::json!(["ops"]));
    assert_eq!(
        (&listed[0]["notify_after"], &listed[0]["late_after_seconds"]),
        (&1.into(), &3600.0.into())
    );
    assert_eq!(listed[1]["notify_to"], serde_json::json!([]));
    service.stop();
    // Another default reaches tasks whose files have not changed.
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let _serve = serve(&world, &file);
    world.wait_for("select bool_and(notify_to = '{}' and late_after_seconds is null) from task");
}

#[test]
fn a_span_that_was_missed_is_one_message() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let header = "schedule = \"* * * * * *\"\nmissed = \"skip\"\nnotify = [\"ops\"]";
    world.script("tick.py", &with_header(header, "def run(): pass"));
    let service = serve(&world, &file);
    world.wait_for("select count(*) > 1 from run_log where status = 'succeeded'");
    service.stop();
    world.let_pass(4);
    let _serve = serve(&world, &file);
    let told = receiver.wait_for(1);
    assert_eq!(told[0].json()["kind"], "missed");
    let row = &world.sql("select run_id, missed_count from run_log where status = 'missed' and reason = 'down'")[0];
    assert_eq!(told[0].json()["run_id"].to_string(), row[0].clone().unwrap());
    assert_eq!(told[0].json()["missed_count"].to_string(), row[1].clone().unwrap());
    assert!(
        told[0].json()["subject"]
            .as_str()
            .unwrap()
            .ends_with(": no dropcron was there")
    );
    // A pause is somebody's wish.
    world.dropcron_ok(&["pause", "tick"]);
    world.let_pass(3);
    world.dropcron_ok(&["resume", "tick"]);
    world.wait_for("select count(*) > 0 from run_log where reason = 'paused'");
    world.wait_for("select count(*) > 0 from run_log where status = 'succeeded' and scheduled_for > (select max(missed_until) from run_log)");
    assert_eq!(world.value("select count(*) from delivery"), "1");
}

#[test]
fn a_run_that_waits_too_long_for_its_place_is_late_once() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let mut gate = world.gate("gate");
    let header = "schedule = \"* * * * * *\"\noverlap = \"queue\"\nnotify = { to = [\"ops\"], late_after = \"1s\" }";
    world.script(
        "slow.py",
        &with_header(header, &format!("def run():\n    {}", gate.wait())),
    );
    let _serve = serve(&world, &file);
    let told = receiver.wait_for(1);
    assert_eq!(told[0].json()["kind"], "late");
    assert!(
        told[0].json()["subject"]
            .as_str()
            .unwrap()
            .ends_with(" late and has not started")
    );
    let waiting = world.value("select run_id from run_lease where state = 'queued'");
    assert_eq!(told[0].json()["run_id"].to_string(), waiting);
    gate.open();
    world.wait_for(&format!(
        "select status = 'succeeded' from run_log where run_id = {waiting}"
    ));
    assert_eq!(
        world.value("select count(*) from delivery"),
        "1",
        "its end does not tell it again"
    );
}

#[test]
fn a_run_that_started_late_and_ended_between_two_looks_is_told_with_its_end() {
    let world = World::new();
    world.script(
        "x.py",
        &with_header("notify = { to = [\"ops\"], late_after = \"1m\" }", "def run(): pass"),
    );
    let serve = world.serve();
    planned(&world, 1);
    serve.stop();
    // What `finish.sql` says, with no loop near that could have looked.
    let end = |minute: u32, started: u32| {
        world.sql(&format!(
            "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, queued_at, due_at, started_at, finished_at)
             select {minute}, task_id, name, date_trunc('month', now()) + interval '{minute} min', 'schedule', 'succeeded', now(),
                    date_trunc('month', now()) + interval '{minute} min',
                    date_trunc('month', now()) + interval '{minute} min {started} s',
                    date_trunc('month', now()) + interval '{minute} min {started} s' from task;
             select count_ends(array[task_id], array[run_id], array[scheduled_for], array[status], array[finished_at],
                               array[duration_ms], array[false]) from run_log where run_id = {minute}"
        ));
        world.value(
            "select coalesce(string_agg(run_id::text, ' ' order by run_id), '') from delivery where kind = 'late'",
        )
    };
    assert_eq!(end(1, 59), "");
    assert_eq!(end(2, 61), "2");
    assert_eq!(end(3, 90), "2", "late for the same cause");
    assert_eq!(end(4, 0), "2");
    assert_eq!(end(5, 300), "2 5");
    assert_eq!(
        world.value("select facts ->> 'late_seconds' from delivery where run_id = 5"),
        "300.000000"
    );
}

#[test]
fn what_several_ends_in_one_statement_tell_is_what_they_would_tell_one_by_one() {
    let world = World::new();
    let header = "notify = { after = 2, to = [\"ops\", \"dev\"] }";
    world.script("x.py", &with_header(header, "def run(): pass"));
    let serve = world.serve();
    planned(&world, 1);
    serve.stop();
    world.sql(
        "insert into run_log (run_id, task_id, task_name, scheduled_for, trigger, status, reason, queued_at, due_at, finished_at)
         select n, task_id, name, date_trunc('month', now()) + n * interval '1 s', 'schedule', s,
                case s when 'failed' then 'raised' end, now(), now(), date_trunc('month', now()) + n * interval '1 s'
           from task, unnest(array['failed', 'succeeded', 'failed', 'failed', 'failed', 'succeeded', 'failed', 'failed'])
                        with ordinality as e(s, n);
         select count_ends(array_agg(task_id), array_agg(run_id), array_agg(scheduled_for), array_agg(status), array_agg(finished_at),
                           array_agg(0::float8), array_agg(false)) from run_log",
    );
    let told = world
        .value("select string_agg(kind || ' ' || run_id, ', ' order by run_id) from delivery where channel = 'ops'");
    assert_eq!(told, "failed 4, recovered 6, failed 8");
    assert_eq!(world.value("select count(*) from delivery where channel = 'dev'"), "3");
    assert_eq!(
        world.value("select format('%s %s %s', consecutive_failures, runs_total, failures_total) from task_stat"),
        "2 8 6"
    );
    // The same ends again, as after an answer that was lost, make nothing twice.
    world.sql("select add_deliveries(array['failed'], array_agg(task_id), array_agg(run_id), array_agg(scheduled_for), null) from run_log where run_id = 8");
    assert_eq!(world.value("select count(*) from delivery"), "6");
}

#[test]
fn channels_that_cannot_be_do_not_cost_the_end_of_a_run() {
    let world = World::new();
    world.script(
        "bad.py",
        &with_header("notify = [\"ops\"]", "def run():\n    raise OSError('no')"),
    );
    let _serve = world.serve();
    planned(&world, 1);
    world.sql("update task set notify_to = array['ops', '', 'ops', repeat('x', 300)]");
    run_now(&world, "bad");
    assert_eq!(world.value("select string_agg(channel, ' ') from delivery"), "ops");
    assert_eq!(world.value("select error from run_log"), "no");
}

#[test]
fn two_services_deliver_each_row_once() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    world.script("x.py", "def run(): pass");
    let variables = [("DROPCRON_NOTIFY_FILE", file.to_str().unwrap())];
    let other = world.root.join("other");
    let _one = world.serve_with(&world.data, &variables);
    let _two = world.serve_with(&other, &variables);
    // Until both have taken part.
    let mut made = 0;
    wait_until("both send", || {
        world.sql("insert into delivery (channel, kind, facts) select 'ops', 'test', '{}' from generate_series(1, 50)");
        made += 50;
        world.holds("select count(distinct claimed_by) = 2 from delivery")
    });
    nothing_is_pending(&world);
    let mut ids: Vec<String> = receiver
        .all()
        .iter()
        .map(|told| told.delivery_id().to_owned())
        .collect();
    assert_eq!(ids.len(), made);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), made);
    assert_eq!(
        world.value("select count(*) from delivery where state = 'delivered' and attempts = 1"),
        made.to_string()
    );
}

#[test]
fn what_is_answered_500_is_sent_again_under_the_same_id() {
    let world = World::new();
    let receiver = Receiver::start(vec![BROKEN, OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    world.script(
        "bad.py",
        &with_header("notify = [\"ops\"]", "def run():\n    raise OSError('no')"),
    );
    let serve = serve(&world, &file);
    planned(&world, 1);
    run_now(&world, "bad");
    serve.wait_for_log("it answered 500 Internal Server Error: no ro");
    let told = receiver.wait_for(2);
    assert_eq!(told[0].delivery_id(), told[1].delivery_id());
    assert_eq!(told[0].body, told[1].body);
    nothing_is_pending(&world);
    assert_eq!(
        world.value("select format('%s %s', state, attempts) from delivery"),
        "delivered 2"
    );
}

#[test]
fn a_receiver_that_hangs_holds_up_neither_another_channel_nor_a_run() {
    let world = World::new();
    let hanging = Receiver::start(vec![None]);
    let healthy = Receiver::start(vec![OK]);
    let file = channels(
        &world,
        &format!("{}{}", hanging.channel("a", "webhook"), healthy.channel("b", "webhook")),
    );
    world.script(
        "bad.py",
        &with_header("notify = [\"a\", \"b\"]", &failing_while(&world, "broken")),
    );
    let serve = serve(&world, &file);
    planned(&world, 1);
    run_now(&world, "bad");
    hanging.wait_for(1);
    let trying = || {
        world.value(
            "select format('%s %s', attempts, claimed_until is not null) from delivery where channel = 'a' and kind = 'failed'",
        )
    };
    wait_until("the other channel is sent to while this one hangs", || {
        let before = trying();
        world.sql("insert into delivery (channel, kind, facts) values ('b', 'test', '{}')");
        world.wait_for("select count(*) = 0 from delivery where channel = 'b' and state = 'pending'");
        before.ends_with(" t") && trying() == before
    });
    std::fs::remove_file(world.root.join("broken")).unwrap();
    run_now(&world, "bad");
    wait_until("the recovery", || {
        healthy.kinds().last().is_some_and(|kind| kind == "recovered")
    });
    serve.wait_for_log("it did not answer within 10 s");
    world.wait_for(
        "select last_error = 'it did not answer within 10 s' from delivery where channel = 'a' and kind = 'failed'",
    );
    assert!(
        hanging.kinds().iter().all(|kind| kind == "failed"),
        "the recovery does not overtake the failure"
    );
    // A service that leaves does not wait for the next hour.
    serve.stop();
}

#[test]
fn a_redirect_is_named_and_not_followed() {
    let world = World::new();
    let there = Receiver::start(vec![OK]);
    for status in ["302 Found", "307 Temporary Redirect"] {
        let answer = format!(
            "HTTP/1.1 {status}\r\nLocation: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            there.url()
        );
        let here = Receiver::start(vec![Some(answer.leak())]);
        let file = channels(&world, &here.channel("ops", "webhook"));
        let output = world
            .command(&["notify", "test"])
            .env("DROPCRON_NOTIFY_FILE", &file)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = text_of(&output);
        let wanted = format!("it answered {status} with a redirect to `{}`", there.url());
        assert!(text.contains(&wanted), "{text}");
        assert_eq!(here.all().len(), 1);
    }
    assert_eq!(there.all().len(), 0);
    assert_eq!(
        world.value("select string_agg(distinct state, ' ') from delivery"),
        "given_up"
    );
}

#[test]
fn a_service_that_dies_before_it_has_recorded_sends_again_under_the_same_id() {
    let world = World::new();
    let receiver = Receiver::start(vec![None, OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    world.script(
        "bad.py",
        &with_header("notify = [\"ops\"]", "def run():\n    raise OSError('no')"),
    );
    let service = serve(&world, &file);
    planned(&world, 1);
    run_now(&world, "bad");
    let first = receiver.wait_for(1)[0].delivery_id().to_owned();
    service.kill();
    assert_eq!(
        world.value("select claimed_until > clock_timestamp() from delivery"),
        "t"
    );
    let service = serve(&world, &file);
    world.let_pass(3);
    assert_eq!(
        receiver.all().len(),
        1,
        "nobody else sends it while it may still be on its way"
    );
    world.sql("update delivery set claimed_until = clock_timestamp()");
    let told = receiver.wait_for(2);
    assert_eq!(told[1].delivery_id(), first);
    nothing_is_pending(&world);
    service.stop();
}

#[test]
fn a_channel_that_nobody_knows_is_said_and_its_deliveries_wait() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    world.script(
        "bad.py",
        &with_header("notify = [\"nobody\"]", "def run():\n    raise OSError('no')"),
    );
    let service = world.serve();
    service.wait_for_log("a task notifies a channel that this node does not know");
    assert!(service.log().contains("nobody"));
    run_now(&world, "bad");
    assert_eq!(
        world.value("select format('%s %s', state, attempts) from delivery"),
        "pending 0"
    );
    // For too long: with its reason.
    world.sql("insert into delivery (channel, kind, facts, created_at) values ('none', 'test', '{}', now() - interval '73 h')");
    world.wait_for("select state = 'given_up' and last_error = 'no running node knows the channel `none`' from delivery where channel = 'none'");
    service.stop();
    // A node that knows it sends it.
    let file = channels(&world, &receiver.channel("nobody", "webhook"));
    let _serve = serve(&world, &file);
    receiver.wait_for(1);
}

#[test]
fn services_are_posted_to_as_they_document() {
    let world = World::new();
    let zero = "HTTP/1.1 200 OK\r\nContent-Length: 13\r\nConnection: close\r\n\r\n{\"errcode\":0}";
    let receiver = Receiver::start(vec![Some(zero)]);
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("SIGNING"), "SECabc\n").unwrap();
    std::fs::write(
        secrets.join("HOOK"),
        receiver.url() + "?access_token=0123456789abcdef\n",
    )
    .unwrap();
    std::fs::write(secrets.join("TOKEN"), "Bearer tk_abcdef\n").unwrap();
    let file = channels(
        &world,
        "[channels.ding]\ntype = \"dingtalk\"\nurl_secret = \"HOOK\"\nsigning_secret = \"SIGNING\"\n\
         [channels.ntfy]\ntype = \"ntfy\"\nurl_secret = \"HOOK\"\nheader_secrets = { Authorization = \"TOKEN\" }\n",
    );
    let test = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command
            .env("DROPCRON_NOTIFY_FILE", &file)
            .env("DROPCRON_SECRETS_DIR", &secrets);
        command.output().unwrap()
    };
    // A token is no topic.
    let output = test(&["notify", "test"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text_of(&output).contains("notify.toml:7:14: the URL must end in the topic"),
        "{}",
        text_of(&output)
    );
    std::fs::write(secrets.join("TOPIC"), receiver.url()).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    channels(
        &world,
        &text.replace(
            "type = \"ntfy\"\nurl_secret = \"HOOK\"",
            "type = \"ntfy\"\nurl_secret = \"TOPIC\"",
        ),
    );
    let output = test(&["notify", "test", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
    let told = receiver.all();
    let query: HashMap<&str, &str> = told[0]
        .path
        .split_once('?')
        .unwrap()
        .1
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .collect();
    let computed = std::process::Command::new("python3")
        .args(["-c", "import base64, hmac, sys, urllib.parse\nsign = base64.b64encode(hmac.new(b'SECabc', (sys.argv[1] + '\\nSECabc').encode(), 'sha256').digest())\nprint(urllib.parse.quote(sign, safe=''), end='')", query["timestamp"]])
        .output()
        .unwrap();
    assert_eq!(query["sign"], String::from_utf8(computed.stdout).unwrap());
    assert_eq!(query["access_token"], "0123456789abcdef");
    assert_eq!(told[1].path, "/");
    assert_eq!(told[1].json()["topic"], "hook");
    assert_eq!(told[1].headers["authorization"], "Bearer tk_abcdef");
    let listed: Value = serde_json::from_slice(&test(&["notify", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert!(
        listed
            .as_array()
            .unwrap()
            .iter()
            .all(|row| row["state"] == "delivered" && row["kind"] == "test")
    );
}

#[test]
fn what_a_channel_answers_shows_no_credential() {
    let world = World::new();
    let answer = "HTTP/1.1 404 Not Found\r\nContent-Length: 41\r\nConnection: close\r\n\r\nno hook /services/T0/B0/XXXXXXXXXXXX here!";
    let receiver = Receiver::start(vec![Some(answer)]);
    let url = receiver.url().replace("hook", "services/T0/B0/XXXXXXXXXXXX");
    let file = channels(&world, &format!("[channels.ops]\ntype = \"slack\"\nurl = \"{url}\"\n"));
    let output = world
        .command(&["notify", "test", "ops"])
        .env("DROPCRON_NOTIFY_FILE", &file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text_of(&output).contains("it answered 404 Not Found: no hook /***"),
        "{}",
        text_of(&output)
    );
    let kept = world.value("select last_error from delivery");
    assert!(kept.contains("404") && !kept.contains("XXXX"), "{kept}");
    // Nobody there at all.
    let file = channels(
        &world,
        "[channels.ops]\ntype = \"slack\"\nurl = \"http://127.0.0.1:1/services/XXXXXXXXXXXX\"\n",
    );
    let output = world
        .command(&["notify", "test", "ops"])
        .env("DROPCRON_NOTIFY_FILE", &file)
        .output()
        .unwrap();
    assert!(
        text_of(&output).contains("it cannot be reached"),
        "{}",
        text_of(&output)
    );
    assert!(!text_of(&output).contains("XXXX"), "{}", text_of(&output));
}

#[test]
fn secrets_of_a_task_are_not_told() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("API_KEY"), "hunter2-hunter2").unwrap();
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let body = "import os\ndef run():\n    raise ValueError('key ' + os.environ['API_KEY'])";
    world.script(
        "bad.py",
        &with_header("notify = [\"ops\"]\nsecrets = [\"API_KEY\"]", body),
    );
    let variables = [
        ("DROPCRON_NOTIFY_FILE", file.to_str().unwrap()),
        ("DROPCRON_SECRETS_DIR", secrets.to_str().unwrap()),
    ];
    let _serve = world.serve_with(&world.data, &variables);
    planned(&world, 1);
    run_now(&world, "bad");
    assert_eq!(receiver.wait_for(1)[0].json()["error"], "key ***");
    assert_eq!(
        world.value("select count(*) from delivery where facts::text like '%hunter2%'"),
        "0"
    );
}

/// A mail server: takes one letter after another, and says what it was told.
fn mail_server() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let letters: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = letters.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            stream.write_all(b"220 test\r\n").unwrap();
            let (mut letter, mut is_data) = (String::new(), false);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    break;
                }
                letter.push_str(&line);
                let answer: &[u8] = match line.trim_end() {
                    "." if is_data => {
                        is_data = false;
                        taken.lock().unwrap().push(std::mem::take(&mut letter));
                        b"250 taken\r\n"
                    }
                    _ if is_data => continue,
                    "DATA" => {
                        is_data = true;
                        b"354 go on\r\n"
                    }
                    "QUIT" => b"221 bye\r\n",
                    command if command.starts_with("EHLO") => {
                        b"250-test\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 AUTH PLAIN\r\n"
                    }
                    command if command.starts_with("AUTH") => b"235 welcome\r\n",
                    _ => b"250 ok\r\n",
                };
                if stream.write_all(answer).is_err() {
                    break;
                }
            }
        }
    });
    (port, letters)
}

#[test]
fn an_email_arrives_with_its_headers() {
    let world = World::new();
    let (port, letters) = mail_server();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("MAIL"), "pw-of-mail").unwrap();
    let file = channels(
        &world,
        &format!(
            "[channels.mail]\ntype = \"email\"\nurl = \"smtp://127.0.0.1:{port}\"\nfrom = \"dropcron <cron@example.org>\"\n\
             to = [\"ops@example.org\", \"Ada <ada@example.org>\"]\nusername = \"cron\"\npassword_secret = \"MAIL\"\n"
        ),
    );
    world.script(
        "bäckup.py",
        &with_header(
            "notify = [\"mail\"]",
            "def run():\n    raise OSError('no: ü\\n.\\n\u{1f525}')",
        ),
    );
    let variables = [
        ("DROPCRON_NOTIFY_FILE", file.to_str().unwrap()),
        ("DROPCRON_SECRETS_DIR", secrets.to_str().unwrap()),
    ];
    let _serve = world.serve_with(&world.data, &variables);
    planned(&world, 1);
    run_now(&world, "bäckup");
    nothing_is_pending(&world);
    let letter = letters.lock().unwrap().concat();
    let id = world.value("select delivery_id from delivery");
    for line in [
        "MAIL FROM:<cron@example.org>",
        "RCPT TO:<ops@example.org>",
        "RCPT TO:<ada@example.org>",
        "From: dropcron <cron@example.org>",
        &format!("Message-ID: <{id}@dropcron>"),
        &format!("Idempotency-Key: {id}"),
        "Auto-Submitted: auto-generated",
    ] {
        assert!(
            letter.contains(&format!("{line}\r\n")) || letter.contains(&format!("{line} ")),
            "{line} in\n{letter}"
        );
    }
    // As a mail server stores it: RFC 5321 doubles a dot that begins a line, and ends the letter with one.
    let data = letter.split_once("DATA\r\n").unwrap().1.trim_end_matches(".\r\n");
    let data = data.replace("\r\n..", "\r\n.").replace("\r\n", "\n");
    let python = "import email, email.policy, sys\nletter = email.message_from_string(sys.stdin.read(), policy=email.policy.default)\n\
                  print(letter['subject'])\nprint(letter.get_content())";
    let mut reader = std::process::Command::new("python3")
        .args(["-c", python])
        .env("PYTHONIOENCODING", "utf-8")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    reader.stdin.take().unwrap().write_all(data.as_bytes()).unwrap();
    let read = String::from_utf8(reader.wait_with_output().unwrap().stdout).unwrap();
    assert!(
        read.starts_with("bäckup failed: raised OSError: no: ü . \u{1f525}\n"),
        "{read}"
    );
    assert!(read.contains("\nError: OSError: no: ü\n.\n\u{1f525}\n"), "{read}");
    assert!(read.contains(&format!("Delivery: {id}")), "{read}");
}

#[test]
fn a_bad_file_of_channels_ends_with_2_and_says_all_at_once() {
    let world = World::new();
    let file = channels(
        &world,
        "[channels.a]\ntype = \"slak\"\n[channels.b]\ntype = \"email\"\nurl = \"smtp://h\"\n[default]\nto = [\"a\"]\nafter = 0\n",
    );
    for arguments in [&["serve"][..], &["notify", "test"]] {
        let output = world
            .command(arguments)
            .env("DROPCRON_NOTIFY_FILE", &file)
            .output()
            .unwrap();
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        for line in [
            "notify.toml:2:8: unknown type `slak`; did you mean `slack`?",
            "notify.toml:3:11: `[channels.b]` needs `from`",
            "notify.toml:3:11: `[channels.b]` needs `to`",
            "notify.toml:8:9: `after` must be a whole number from 1 to 1000",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
    let missing = world.root.join("none.toml");
    let output = world
        .command(&["serve"])
        .env("DROPCRON_NOTIFY_FILE", &missing)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(
        text_of(&output).contains("none.toml:1:1: it cannot be read: "),
        "{}",
        text_of(&output)
    );
    let output = world.dropcron(&["notify", "test"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text_of(&output).contains("`DROPCRON_NOTIFY_FILE` is not set"),
        "{}",
        text_of(&output)
    );
    let file = channels(&world, "[channels.a]\ntype = \"slack\"\nurl = \"http://127.0.0.1:1\"\n");
    let output = world
        .command(&["notify", "test", "b"])
        .env("DROPCRON_NOTIFY_FILE", &file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text_of(&output).contains("there is no channel `b`; the file of `DROPCRON_NOTIFY_FILE` has `a`"));
    // What a header says is checked without any of that.
    world.script(
        "x.py",
        &with_header("notify = { after = 0, mail = 1, to = \"ops\" }", "def run(): pass"),
    );
    let output = world.dropcron(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    for part in [
        "`after` must be a whole number",
        "unknown key `mail`",
        "`to` must be a list",
    ] {
        assert!(text_of(&output).contains(part), "{part} in\n{}", text_of(&output));
    }
}

/// Python that answers one POST after another over TLS, and says its port first.
const TLS_SERVER: &str = "\
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers['content-length']))
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain('server.pem', 'server.key')
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
";

#[test]
fn a_channel_over_tls_must_show_a_certificate_that_this_machine_trusts() {
    if which::which("openssl").is_err() {
        println!("skipped: no `openssl` on PATH");
        return;
    }
    let world = World::new();
    let openssl = |line: &str| {
        let made = std::process::Command::new("openssl")
            .args(line.split(' '))
            .current_dir(&world.root)
            .output();
        let made = made.unwrap();
        assert!(made.status.success(), "{line}: {}", text_of(&made));
    };
    std::fs::write(world.root.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority");
    openssl("req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost");
    openssl("x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile names");
    let mut server = std::process::Command::new("python3")
        .args(["-c", TLS_SERVER])
        .current_dir(&world.root)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.as_mut().unwrap())
        .read_line(&mut port)
        .unwrap();
    let url = format!("https://localhost:{}/hook", port.trim());
    let file = channels(
        &world,
        &format!("[channels.ops]\ntype = \"webhook\"\nurl = \"{url}\"\n"),
    );
    let test = |trusted: Option<&str>| {
        let mut command = world.command(&["notify", "test"]);
        command.env("DROPCRON_NOTIFY_FILE", &file).env_remove("SSL_CERT_DIR");
        command.env("SSL_CERT_FILE", world.root.join(trusted.unwrap_or("names")));
        command.output().unwrap()
    };
    let refused = test(None);
    assert_eq!(refused.status.code(), Some(1), "{}", text_of(&refused));
    assert!(text_of(&refused).contains("certificate"), "{}", text_of(&refused));
    let taken = test(Some("ca.pem"));
    assert_eq!(taken.status.code(), Some(0), "{}", text_of(&taken));
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_number_that_breaks_what_is_expected_is_told_at_its_beginning_and_a_series_without_one_once() {
    let world = World::new();
    let receiver = Receiver::start(vec![OK]);
    let file = channels(&world, &receiver.channel("ops", "webhook"));
    let header = "notify = [\"ops\"]\nvalue = [{ series = \"price\", max = 100 }, { series = \"depth\", max = 100 }, { series = \"never\", stale_after = \"1s\" }]";
    world.script(
        "price.py",
        &with_header(header, "def run(price): return {'price': price, 'depth': price}"),
    );
    let _serve = serve(&world, &file);
    planned(&world, 1);
    for (day, price) in [(1, 50), (2, 101), (3, 102), (4, 60), (5, 103)] {
        let at = format!("2026-11-{day:02}T00:00:00Z");
        world.dropcron_ok(&["run", "price", "--as-of", &at, "--arg", &format!("price={price}")]);
        world.wait_for(&format!(
            "select count(*) = 2 from observation where at = '{at}' and judged_at is not null"
        ));
    }
    world.wait_for("select count(*) = 1 from delivery where kind = 'stale'");
    nothing_is_pending(&world);
    let told: Vec<Value> = receiver.all().iter().map(Received::json).collect();
    let of = |kind: &str| told.iter().filter(|told| told["kind"] == kind).collect::<Vec<_>>();
    // Both series of a run are one message; the second of two breaches in a row is none.
    let breaches = of("breach");
    let days: Vec<&str> = breaches
        .iter()
        .map(|told| told["scheduled_for"].as_str().unwrap())
        .collect();
    assert_eq!(days, ["2026-11-02T00:00:00Z", "2026-11-05T00:00:00Z"], "{told:?}");
    let subject = breaches[0]["subject"].as_str().unwrap();
    assert!(
        subject.starts_with("price: depth: 101 is above the most expected, 100; price: 101 is above"),
        "{subject}"
    );
    let stale = of("stale");
    assert_eq!(stale.len(), 1, "{told:?}");
    assert_eq!(
        stale[0]["subject"],
        "price: never: no new number for longer than 00:00:01"
    );
    assert_eq!(stale[0]["run_id"], Value::Null);
}
