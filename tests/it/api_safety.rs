//! Who may do what over HTTP: nobody without a token, everybody what the role says, and no page of somebody else's.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::http::{Client, address_of, parse};
use crate::support::{World, text_of};

/// Every operation and the least role that may, written down once more: a role that is wrong where the route is registered is wrong in
/// the document too.
const OPERATIONS: &str = "\
GET /api/openapi.json reader
GET /api/v1/audit admin
GET /api/v1/environments reader
GET /api/v1/nodes reader
GET /api/v1/overview reader
GET /api/v1/points reader
GET /api/v1/runs reader
GET /api/v1/runs/{run_id} reader
POST /api/v1/runs/{run_id}/cancel operator
GET /api/v1/runs/{run_id}/output reader
GET /api/v1/runs/{run_id}/output/events reader
POST /api/v1/runs/{run_id}/retry operator
POST /api/v1/schedule/preview reader
GET /api/v1/scripts reader
POST /api/v1/scripts/try admin
POST /api/v1/scripts/validate reader
DELETE /api/v1/scripts/{path} admin
GET /api/v1/scripts/{path} reader
PUT /api/v1/scripts/{path} admin
POST /api/v1/scripts/{path}/rename admin
GET /api/v1/series reader
DELETE /api/v1/session reader
GET /api/v1/session reader
POST /api/v1/session none
GET /api/v1/tags reader
GET /api/v1/tasks reader
GET /api/v1/tasks/{name} reader
GET /api/v1/tasks/{name}/diff reader
GET /api/v1/tasks/{name}/events reader
GET /api/v1/tasks/{name}/instants reader
POST /api/v1/tasks/{name}/pause operator
POST /api/v1/tasks/{name}/resume operator
POST /api/v1/tasks/{name}/runs operator
DELETE /api/v1/tasks/{name}/schedule-override operator
PUT /api/v1/tasks/{name}/schedule-override operator
GET /api/v1/tasks/{name}/series/{series}/points reader
GET /api/v1/tasks/{name}/series/{series}/points.csv reader
POST /api/v1/tasks/{name}/series/{series}/verdict operator
GET /api/v1/tasks/{name}/versions reader
GET /api/v1/tasks/{name}/versions/{sha256} reader
POST /api/v1/tasks/{name}/versions/{sha256}/run operator
GET /api/v1/tasks/{name}/why reader
GET /api/v1/timeline reader
GET /api/v1/tokens admin
POST /api/v1/tokens admin
DELETE /api/v1/tokens/{token_id} admin
GET /healthz none
GET /metrics reader
GET /readyz none
";

/// Every operation of the document: method, path, role.
fn operations() -> Vec<(String, String, String)> {
    let document: Value = serde_json::from_str(&dropcron::api::document()).unwrap();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let role = operation["x-role"]
                .as_str()
                .unwrap_or_else(|| panic!("{method} {path} says no role"));
            found.push((method.to_uppercase(), path.clone(), role.to_owned()));
        }
    }
    found
}

/// A path that can be asked, with something in the place of each name.
fn filled(path: &str) -> String {
    let filled = path
        .replace("{run_id}", "1")
        .replace("{token_id}", "999")
        .replace("{sha256}", &"0".repeat(64));
    let mut parts = filled.split('{');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, part| text + "x" + part.split_once('}').unwrap().1)
}

fn ask(client: &Client, method: &str, path: &str) -> u16 {
    client.send(method, &filled(path), &[], "{}").status
}

#[test]
fn every_operation_has_the_role_that_was_meant() {
    let mut lines: Vec<(String, String)> = operations()
        .into_iter()
        .map(|(method, path, role)| (format!("{path} {method}"), format!("{method} {path} {role}\n")))
        .collect();
    lines.sort();
    let document: String = lines.into_iter().map(|(_, line)| line).collect();
    assert_eq!(document, OPERATIONS);
}

#[test]
fn without_a_token_everything_is_closed_but_health_and_the_way_in() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let nobody = admin.with_token(None);
    let stranger = admin.with_token(Some("dropcron_0000000000000000000000000000000000000000"));
    let operations = operations();
    assert!(operations.len() > 40, "{}", operations.len());
    let mut open = Vec::new();
    for (method, path, role) in &operations {
        if role == "none" {
            open.push(format!("{method} {path}"));
            continue;
        }
        for client in [&nobody, &stranger] {
            assert_eq!(ask(client, method, path), 401, "{method} {path}");
        }
    }
    assert_eq!(open, ["POST /api/v1/session", "GET /healthz", "GET /readyz"]);
    // What is not there is closed too: whoever has no token learns nothing of it.
    for path in ["/api", "/api/v1/nothing", "/api/v2/tasks", "/apix"] {
        assert_eq!(nobody.get(path).status, 401, "{path}");
        assert_eq!(admin.get(path).status, 404, "{path}");
    }
    assert_eq!(nobody.get("/healthz").must_be(200).body, "alive\n");
    assert_eq!(nobody.get("/readyz").must_be(200).json()["ready"], true);
    assert!(
        nobody
            .get("/login")
            .must_be(200)
            .header("content-type")
            .unwrap()
            .starts_with("text/html")
    );
    let refused = nobody.get("/api/v1/tasks").must_be(401);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"dropcron\""));
}

#[test]
fn each_role_does_what_the_document_says_and_no_more() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let (reader, operator) = (admin.with_role("reader"), admin.with_role("operator"));
    let mut changes_refused = 0;
    for (method, path, role) in operations() {
        let (by_reader, by_operator) = (ask(&reader, &method, &path), ask(&operator, &method, &path));
        let is_change = method != "GET"
            && !path.ends_with("/validate")
            && !path.ends_with("/preview")
            && !path.ends_with("/session");
        assert_eq!(
            by_reader == 403,
            matches!(role.as_str(), "operator" | "admin"),
            "{method} {path}: {by_reader}"
        );
        assert_eq!(by_operator == 403, role == "admin", "{method} {path}: {by_operator}");
        if is_change {
            assert_eq!(by_reader, 403, "{method} {path}");
            changes_refused += 1;
        }
    }
    assert!(changes_refused >= 14, "{changes_refused}");
    let refused = reader.post("/api/v1/tasks/x/pause", json!({})).json();
    assert!(refused["detail"].as_str().unwrap().contains("`operator`"), "{refused}");
}

/// Everything that stands in the database and in the scripts directory, but for what time alone changes: heartbeats, duties, and when
/// a token was last used.
fn state(world: &World) -> String {
    let tables = world.sql(
        "select c.relname from pg_class c where c.relnamespace = 'dropcron'::regnamespace and c.relkind in ('r', 'p') \
            and not c.relispartition and c.relname not in ('node', 'duty') order by 1",
    );
    let mut state = String::new();
    for table in tables.iter().filter_map(|row| row[0].as_ref()) {
        let rows = world.value(&format!(
            "select string_agg(row, E'\\n' order by row) from (select (to_jsonb(t) - 'last_used_at')::text as row from {table} t) t"
        ));
        state += &format!("{table}\n{rows}\n");
    }
    let mut files: Vec<_> = std::fs::read_dir(&world.scripts).unwrap().map(Result::unwrap).collect();
    files.sort_by_key(std::fs::DirEntry::path);
    for file in files {
        let (text, metadata) = (std::fs::read(file.path()).unwrap(), file.metadata().unwrap());
        state += &format!("{:?} {text:?} {:?}\n", file.path(), metadata.modified().unwrap());
    }
    state
}

#[test]
fn nothing_is_changed_by_get() {
    let world = World::new();
    world.script("one.py", "def run():\n    print('said')\n    return 1");
    let (_serve, admin) = world.serve_api();
    world.wait_for("select count(*) = 1 from task where planned_revision = revision");
    // A run by hand is one of a series where it stands for an instant.
    let wanted = json!({ "as_of": "2026-11-01T00:00:00Z" });
    let run = admin.post("/api/v1/tasks/one/runs", wanted).must_be(202).json();
    world.wait_for("select count(*) = 1 from run_log where status = 'succeeded'");
    world.wait_for("select count(*) > 0 from run_output");
    world.wait_for("select count(*) = 1 from observation where judged_at is not null");
    world.wait_for("select count(*) = 0 from run_lease");
    let sha256 = world.value("select encode(script_sha256, 'hex') from task");
    let before = state(&world);
    assert!(before.contains("\"said") && before.contains("one.py"), "{before}");
    for (method, path, _) in operations() {
        if method != "GET" {
            continue;
        }
        let path = path
            .replace("{run_id}", &run["run"]["run_id"].to_string())
            .replace("{name}", "one")
            .replace("{path}", "one.py")
            .replace("{series}", "value")
            .replace("{sha256}", &sha256);
        let path = match path.as_str() {
            path if path.ends_with("/diff") => format!("{path}?from={sha256}&to={sha256}"),
            path if path.ends_with("/why") => format!("{path}?at=00:00"),
            path => path.to_owned(),
        };
        let answer = admin.get(&path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    }
    assert_eq!(state(&world), before);
    // It would be seen.
    admin.post("/api/v1/tasks/one/pause", json!({})).must_be(200);
    assert_ne!(state(&world), before);
}

#[test]
fn a_name_or_an_origin_that_is_not_ours_is_refused() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    let (_serve, admin) = world.serve_api_with(&[("DROPCRON_HOSTS", "cron.example.org:443")]);
    world.wait_for("select count(*) = 1 from task");
    let get = |host: &str| admin.send("GET", "/api/v1/tasks", &[("Host", host)], "").status;
    let port = admin.address.rsplit(':').next().unwrap();
    assert_eq!(get(&format!("localhost:{port}")), 200);
    assert_eq!(get("cron.example.org"), 200);
    assert_eq!(get("evil.example"), 421);
    assert_eq!(get("127.0.0.1.evil.example"), 421);
    assert_eq!(admin.send("GET", "/", &[("Host", "evil.example")], "").status, 421);
    let pause = |headers: &[(&str, &str)]| admin.send("POST", "/api/v1/tasks/one/pause", headers, "{}").status;
    assert_eq!(pause(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(pause(&[("Origin", "null")]), 403);
    assert_eq!(pause(&[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(pause(&[("Content-Type", "text/plain")]), 415);
    assert_eq!(
        world.value("select count(*) from task where paused_at is not null"),
        "0"
    );
    assert_eq!(
        pause(&[
            ("Origin", &format!("http://{}", admin.address)),
            ("Sec-Fetch-Site", "same-origin")
        ]),
        200
    );
    assert_eq!(world.value("select paused_by from task"), "first start (token)");
}

#[test]
fn a_browser_logs_in_with_a_token_and_out_again() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let nobody = admin.with_token(None);
    let log_in = |token: &str| nobody.post("/api/v1/session", json!({ "token": token }));
    let answer = log_in(admin.token.as_deref().unwrap()).must_be(200);
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!answer.body.contains(admin.token.as_deref().unwrap()));
    let cookie = cookie.split(';').next().unwrap();
    let origin = format!("http://{}", admin.address);
    let with = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let mut all = vec![("Cookie", cookie)];
        all.extend(headers);
        nobody.send(method, path, &all, "{}")
    };
    let session = with("GET", "/api/v1/session", &[]).must_be(200).json();
    assert_eq!(session, json!({ "name": "first start", "role": "admin" }));
    // What a proxy in front asks for is not for us, though browsers and proxies pass it on; a token is.
    let basic = [("Authorization", "Basic dTpw")];
    with("GET", "/api/v1/session", &basic).must_be(200);
    with("GET", "/api/v1/session", &[("Authorization", "Bearer x")]).must_be(401);
    assert_eq!(with("DELETE", "/api/v1/session", &basic).status, 403);
    // A change by cookie says where it comes from, or is not made.
    let body = [("Origin", origin.as_str())];
    assert_eq!(with("DELETE", "/api/v1/session", &[]).status, 403);
    assert_eq!(with("DELETE", "/api/v1/session", &body).status, 204);
    assert_eq!(with("GET", "/api/v1/session", &[]).status, 401);
    // A token that is revoked takes its sessions with it.
    let reader = admin.with_role("reader");
    let answer = log_in(reader.token.as_deref().unwrap()).must_be(200);
    let cookie = answer
        .header("set-cookie")
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let read = || nobody.send("GET", "/api/v1/tasks", &[("Cookie", &cookie)], "").status;
    assert_eq!(read(), 200);
    world.dropcron_ok(&["token", "revoke", "a reader"]);
    assert_eq!(read(), 401);
    assert_eq!(reader.get("/api/v1/tasks").status, 401);
    // Who tries many gets to wait; whoever is known does not.
    let tries: Vec<u16> = (0..30).map(|_| log_in("wrong").status).collect();
    assert!(tries.contains(&401) && tries.ends_with(&[429]), "{tries:?}");
    assert_eq!(admin.get("/api/v1/session").status, 200);
    assert_eq!(
        world.value("select string_agg(action, ' ' order by audit_id) from audit where action like 'session%'"),
        "session.begin session.end session.begin"
    );
}

#[test]
fn every_answer_tells_browsers_to_trust_nothing_else() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    for path in ["/", "/api/v1/tasks", "/api/v1/nothing", "/healthz", "/x.js"] {
        let answer = admin.get(path);
        let policy = answer.header("content-security-policy").unwrap();
        assert!(
            policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{path}");
    }
    assert_eq!(admin.get("/api/v1/tasks").header("cache-control"), Some("no-store"));
    // A missing script must not come back as a page.
    assert_eq!(admin.get("/x.js").status, 404);
}

#[test]
fn what_is_too_large_or_too_slow_is_refused() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    // The length alone is enough: nothing of it is read.
    let huge = [("Content-Length", "1073741824"), ("If-None-Match", "*")];
    let answer = admin.send("PUT", "/api/v1/scripts/huge.py", &huge, "{");
    assert_eq!(answer.status, 413, "{}", answer.body);
    let answer = admin.send("POST", "/api/v1/tasks/x/pause", &[("Content-Length", "2000000")], "{");
    assert_eq!(answer.status, 413, "{}", answer.body);
    // A body that never ends is given up, and so is a head.
    let mut slow = admin.connect();
    slow.write_all(&admin.request("POST", "/api/v1/schedule/preview", &[("Content-Length", "1000")], "{"))
        .unwrap();
    let mut slower = admin.connect();
    slower.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
    let mut bytes = Vec::new();
    slow.read_to_end(&mut bytes).unwrap();
    assert_eq!(parse(&bytes).status, 408, "{}", String::from_utf8_lossy(&bytes));
    let mut bytes = Vec::new();
    let _ = slower.read_to_end(&mut bytes);
    assert!(
        bytes.is_empty() || parse(&bytes).status == 408,
        "{}",
        String::from_utf8_lossy(&bytes)
    );
    assert_eq!(admin.get("/healthz").status, 200);
}

#[test]
fn text_that_postgres_cannot_hold_is_refused_with_a_reason() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    assert_eq!(admin.get("/api/v1/tasks?search=%00").status, 400);
    assert_eq!(admin.get("/api/v1/tasks/a%00b").status, 400);
    let answer = admin.send(
        "POST",
        "/api/v1/tokens",
        &[],
        r#"{"name": "a\u0000", "role": "reader"}"#,
    );
    assert_eq!(answer.status, 400, "{}", answer.body);
    for query in [
        "from=-009999-01-02T00:00:00Z&to=9999-12-30T22:00:00Z",
        "limit=0",
        "limit=1001",
        "cursor=x",
        "status=x",
        "trigger=x",
        "value_min=1",
        "value_path=a&value_min=NaN",
        "value_path=a.b.c&value_max=1e308",
        "task=nothing",
    ] {
        let answer = admin.get(&format!("/api/v1/runs?{query}"));
        assert!(matches!(answer.status, 200 | 400 | 404), "{query}: {}", answer.body);
    }
}

#[test]
fn the_first_start_makes_one_token_and_tells_it_once() {
    let world = World::new();
    let (serve, admin) = world.serve_api();
    let path = world.data.join("token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let token = admin.token.clone().unwrap();
    assert!(
        serve.log().contains(&format!("/login#token={token}")),
        "{}",
        serve.log()
    );
    assert_eq!(
        world.value("select count(*) from token where encode(secret_sha256, 'escape') like '%dropcron_%'"),
        "0"
    );
    serve.stop();
    let (serve, again) = world.serve_api();
    assert!(!serve.log().contains("#token="), "{}", serve.log());
    assert_eq!(again.get("/api/v1/session").status, 200);
    assert_eq!(world.value("select count(*) from token"), "1");
    // Nobody is let in by a restart after the last token was revoked.
    world.dropcron_ok(&["token", "revoke", "first start"]);
    serve.stop();
    let (serve, again) = world.serve_api();
    assert!(serve.log().contains("no token is in force"), "{}", serve.log());
    assert_eq!(again.get("/api/v1/session").status, 401);
}

#[test]
fn a_container_brings_its_token_in_a_file() {
    let world = World::new();
    let file = world.root.join("admin-token");
    let (one, two) = ("a".repeat(40), "b".repeat(40));
    let serve = |token: &str| {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        let serve = world.serve_with(
            &world.data,
            &[
                ("DROPCRON_LISTEN", "127.0.0.1:0"),
                ("DROPCRON_TOKEN_FILE", file.to_str().unwrap()),
            ],
        );
        let address = address_of(&serve);
        (serve, address)
    };
    let status = |address: &str, token: &str| {
        let client = Client {
            address: address.to_owned(),
            token: Some(token.to_owned()),
        };
        client.get("/api/v1/tokens").status
    };
    let (running, address) = serve(&one);
    assert_eq!(status(&address, &one), 200);
    assert!(!world.data.join("token").exists());
    running.stop();
    let (running, address) = serve(&two);
    assert_eq!((status(&address, &one), status(&address, &two)), (401, 200));
    running.stop();
    std::fs::write(&file, "short\n").unwrap();
    let mut command = world.command(&["serve"]);
    command
        .env("DROPCRON_LISTEN", "127.0.0.1:0")
        .env("DROPCRON_TOKEN_FILE", &file);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    assert!(
        text_of(&output).contains("32 to 512 plain characters"),
        "{}",
        text_of(&output)
    );
}

#[test]
fn a_busy_port_that_somebody_chose_is_an_error() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = world.command(&["serve"]);
    command.env("DROPCRON_LISTEN", &address);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text_of(&output));
    assert!(text_of(&output).contains(&address), "{}", text_of(&output));
    for wrong in ["8642", "nowhere", "127.0.0.1", "127.0.0.1:99999"] {
        let mut command = world.command(&["serve"]);
        command.env("DROPCRON_LISTEN", wrong);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", text_of(&output));
    }
}

#[test]
fn a_busy_default_port_costs_the_page_and_nothing_else() {
    let world = World::new();
    world.script("one.py", "def run():\n    return 1");
    // Somebody else may have it already, which is just as well.
    let _taken = std::net::TcpListener::bind("127.0.0.1:8642");
    let mut command = world.command(&["serve"]);
    command.env_remove("DROPCRON_LISTEN");
    let serve = world.spawn_serve(command, &[]);
    serve.wait_for_log(" serves");
    assert!(
        serve.log().contains("the API and the page are not served"),
        "{}",
        serve.log()
    );
    world.wait_for("select count(*) = 1 from task");
}

#[test]
fn tokens_are_made_listed_and_revoked_on_the_command_line() {
    let world = World::new();
    let token = world.dropcron_ok(&["token", "create", "ci", "--role", "operator"]);
    assert!(token.starts_with("dropcron_") && token.trim().len() > 60, "{token}");
    let output = world.dropcron(&["token", "create", "ci"]);
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    for name in [" ", "a\u{202e}b"] {
        assert_eq!(
            world.dropcron(&["token", "create", name]).status.code(),
            Some(2),
            "{name:?}"
        );
    }
    let listed: Value = serde_json::from_str(&world.dropcron_ok(&["token", "list", "--json"])).unwrap();
    assert_eq!(
        (listed[0]["name"].as_str(), listed[0]["role"].as_str()),
        (Some("ci"), Some("operator"))
    );
    assert!(!listed.to_string().contains(token.trim()));
    assert!(world.dropcron_ok(&["token", "list"]).contains("ci"));
    world.dropcron_ok(&["token", "revoke", "ci"]);
    assert_eq!(world.dropcron(&["token", "revoke", "ci"]).status.code(), Some(3));
    world.dropcron_ok(&["token", "create", "ci"]);
    assert_eq!(
        world.value("select string_agg(action || ' ' || subject, ', ' order by audit_id) from audit"),
        "token.create ci, token.revoke ci, token.create ci"
    );
}

#[test]
fn below_the_path_of_a_proxy_names_with_a_slash_are_found() {
    let world = World::new();
    world.script("prices/btc.py", "def run():\n    return 1");
    let (_serve, admin) = world.serve_api_with(&[("DROPCRON_BASE_PATH", "/tools/cron/")]);
    world.wait_for("select count(*) = 1 from task where name = 'prices/btc'");
    for path in ["/tools/cron/api/v1/tasks/prices%2Fbtc", "/api/v1/tasks/prices%2Fbtc"] {
        assert!(admin.get(path).must_be(200).body.contains("\"prices/btc\""));
    }
    assert_eq!(admin.with_token(None).get("/tools/cron/api/v1/tasks").status, 401);
    // The page's relative addresses need the `/`.
    let answer = admin.get("/tools/cron").must_be(308);
    assert_eq!(answer.header("location"), Some("/tools/cron/"));
}

#[test]
fn behind_a_proxy_nobody_keeps_the_others_from_logging_in() {
    let world = World::new();
    let (_serve, admin) = world.serve_api();
    let log_in = |token: &str, from: &str| {
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", from)];
        let body = json!({ "token": token }).to_string();
        admin.with_token(None).send("POST", "/api/v1/session", &headers, &body)
    };
    let tries: Vec<u16> = (0..30).map(|_| log_in("wrong", "203.0.113.9").status).collect();
    assert!(tries.ends_with(&[429]), "{tries:?}");
    let token = admin.token.as_deref().unwrap();
    log_in(token, "203.0.113.9").must_be(429);
    log_in(token, "203.0.113.10").must_be(200);
    assert_eq!(
        world.value("select address from audit where action = 'session.begin'"),
        "203.0.113.10 via 127.0.0.1"
    );
}
