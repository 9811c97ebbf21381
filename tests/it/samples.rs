//! The scripts in `scripts/`, run by the real program against targets that the test starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::support::{World, skip, text_of, uv};

/// Every sample has a test here with its path in it.
const SAMPLES: [&str; 10] = [
    "backup/directory.py",
    "fleet/async_fan_out.py",
    "hello.py",
    "host/load_and_disk.py",
    "logs/rotate.py",
    "postgres/query.py",
    "tables/csv_totals.py",
    "tls/certificate_expiry.py",
    "web/page_number.py",
    "web/response_times.py",
];

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts")
}

/// What a sample returns with these arguments.
fn run(world: &World, sample: &str, arguments: &[(&str, &str)], variables: &[(&str, &str)]) -> Value {
    let file = scripts().join(sample);
    let mut command = world.command(&["run", file.to_str().unwrap(), "--json"]);
    command
        .env("DROPCRON_SCRIPTS_DIR", scripts())
        .envs(variables.iter().copied());
    for (name, value) in arguments {
        command.arg("--arg").arg(format!("{name}={value}"));
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{sample}: {}", text_of(&output));
    let row: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(row["task"], sample.trim_end_matches(".py"));
    assert_eq!(row["warnings"], Value::Array(Vec::new()), "{sample}");
    row["return_value"].clone()
}

#[test]
fn every_sample_is_run_here_and_is_without_problems() {
    let mut found: Vec<String> = Vec::new();
    let mut directories = vec![scripts()];
    while let Some(directory) = directories.pop() {
        for entry in directory.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("__pycache__") {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "py") {
                found.push(path.strip_prefix(scripts()).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    assert_eq!(found, SAMPLES);
    let source = include_str!("samples.rs");
    for sample in SAMPLES {
        let mentions = source.matches(&format!("\"{sample}\"")).count();
        assert!(mentions >= 2, "{sample} is not run");
    }
    let world = World::new();
    let output = world
        .command(&["check"])
        .env("DROPCRON_SCRIPTS_DIR", scripts())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text_of(&output));
}

#[test]
fn samples_that_need_nothing_run() {
    let world = World::new();
    let hello = run(&world, "hello.py", &[("name", "ops")], &[]);
    assert_eq!(hello["greeting"], "hello, ops");
    let host = run(&world, "host/load_and_disk.py", &[], &[]);
    assert!(host["disk"]["free_gib"].as_f64().unwrap() > 0.0, "{host}");
}

/// A server that has one page, `/stock`, with the euro sign and an umlaut in their charset; its address.
fn serve_page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            let status = match request[..length].starts_with(b"GET /stock ") {
                true => "200 OK",
                false => "404 Not Found",
            };
            let head = format!(
                "HTTP/1.0 {status}\r\nContent-Type: text/html; charset=iso-8859-15\r\nConnection: close\r\n\r\n"
            );
            stream
                .write_all(&[head.as_bytes(), b"<b>\xdcbrig: 1.284,50 \xa4</b>"].concat())
                .unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn a_number_is_taken_from_a_page() {
    let url = format!("{}/stock", serve_page());
    let world = World::new();
    let arguments = [
        ("url", url.as_str()),
        ("pattern", "Übrig: ([\\d.,]+) €"),
        ("decimal_point", ","),
    ];
    assert_eq!(run(&world, "web/page_number.py", &arguments, &[])["number"], 1284.5);
}

/// Where uv keeps what samples need, over all test runs.
fn package_cache() -> String {
    let cache = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/uv-cache");
    cache.display().to_string()
}

/// Whether this machine can have the packages of a sample; if not, that is said. Asks uv, and not dropcron, so that no mistake of
/// dropcron passes for a missing network.
fn has_packages(world: &World, sample: &str) -> bool {
    let Some(uv) = uv() else {
        skip(&format!("`{sample}` is not run: there is no uv"));
        return false;
    };
    let asked = Command::new(uv)
        .args(["pip", "compile", "--quiet", "--no-header"])
        .arg(scripts().join(sample))
        .env("UV_CACHE_DIR", package_cache())
        .current_dir(&world.root)
        .output()
        .unwrap();
    if !asked.status.success() {
        let said = String::from_utf8_lossy(&asked.stderr);
        let last = said.lines().last().unwrap_or("uv failed").trim();
        skip(&format!(
            "`{sample}` is not run, since its packages cannot be had: {last}"
        ));
    }
    asked.status.success()
}

#[test]
fn pages_are_fetched_with_a_package_that_the_header_asks_for() {
    let world = World::new();
    if !has_packages(&world, "web/response_times.py") {
        return;
    }
    let page = serve_page();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = serde_json::json!([
        format!("{page}/stock"),
        format!("{page}/elsewhere"),
        format!("http://{closed}/")
    ])
    .to_string();
    let cache = package_cache();
    let variables = [("UV_CACHE_DIR", cache.as_str())];
    let returned = run(&world, "web/response_times.py", &[("urls", &urls)], &variables);
    assert_eq!(
        (&returned["pages"], &returned["ok"]),
        (&3.into(), &1.into()),
        "{returned}"
    );
    assert!(returned["slowest_ms"].as_f64().unwrap() > 0.0, "{returned}");
    let locked = world.value(
        "select count(*) from run_log join package_lock using (lock_sha256) where content like '%httpx==%--hash=sha256:%'",
    );
    assert_eq!(locked, "1", "the run names its lock");
}

#[test]
fn a_column_is_added_up_with_a_package_that_the_header_asks_for() {
    let world = World::new();
    if !has_packages(&world, "tables/csv_totals.py") {
        return;
    }
    let file = world.root.join("orders.csv");
    std::fs::write(
        &file,
        "order,country,amount\n1,DE,10.50\n2,FR,3\n3,DE,0.25\n4,,7\n5,FR,\n",
    )
    .unwrap();
    let file = file.display().to_string();
    let cache = package_cache();
    let variables = [("UV_CACHE_DIR", cache.as_str())];
    let returned = run(&world, "tables/csv_totals.py", &[("file", &file)], &variables);
    assert_eq!(
        returned,
        serde_json::json!({ "rows": 5, "total": 20.75, "groups": { "(none)": 7.0, "DE": 10.75, "FR": 3.0 } })
    );
}

/// A TLS server of the `openssl` program, with a certificate of its own.
struct TlsServer {
    child: Child,
    port: String,
    certificate: PathBuf,
}

impl TlsServer {
    fn start(directory: &Path) -> Option<TlsServer> {
        if which::which("openssl").is_err() {
            skip("there is no `openssl` on PATH");
            return None;
        }
        let request = "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=localhost \
                       -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem";
        let openssl = |line: &str| {
            let mut command = Command::new("openssl");
            command.args(line.split_whitespace()).current_dir(directory);
            command
        };
        let made = openssl(request).output().unwrap();
        assert!(made.status.success(), "{}", text_of(&made));
        let mut server = openssl("s_server -accept 127.0.0.1:0 -cert certificate.pem -key key.pem -www");
        let mut child = server
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .find_map(|line| Some(line.unwrap().strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.to_owned()))
            .unwrap();
        std::thread::spawn(move || lines.count());
        Some(TlsServer {
            child,
            port,
            certificate: directory.join("certificate.pem"),
        })
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_days_left_of_a_certificate_are_counted() {
    let world = World::new();
    let Some(server) = TlsServer::start(&world.root) else {
        return;
    };
    let certificate = server.certificate.display().to_string();
    let arguments = [("host", "localhost"), ("port", &server.port), ("ca_file", &certificate)];
    let returned = run(&world, "tls/certificate_expiry.py", &arguments, &[]);
    let days = returned["days_left"].as_f64().unwrap();
    assert!((29.0..=30.5).contains(&days), "{returned}");
}

#[test]
fn a_query_becomes_an_object_of_numbers() {
    let world = World::new();
    let variables = [("QUERY_DATABASE_URL", world.url.as_str())];
    let query = "SELECT 1.5 AS price, 7 AS orders";
    let returned = run(&world, "postgres/query.py", &[("query", query)], &variables);
    assert_eq!(returned, serde_json::json!({ "price": 1.5, "orders": 7 }));
    let returned = run(&world, "postgres/query.py", &[], &variables);
    assert!(returned["database_bytes"].as_i64().unwrap() > 0, "{returned}");
}

#[test]
fn open_and_closed_ports_of_a_fleet_are_told_apart() {
    let open = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let hosts = serde_json::json!([open.local_addr().unwrap().to_string(), closed.to_string()]).to_string();
    let world = World::new();
    let returned = run(&world, "fleet/async_fan_out.py", &[("hosts", &hosts)], &[]);
    let counts = ["checked", "reachable", "open"].map(|name| returned[name].as_i64());
    assert_eq!(counts, [Some(2), Some(2), Some(1)], "{returned}");
}

#[test]
fn large_logs_are_rotated() {
    let world = World::new();
    let logs = world.root.join("logs");
    std::fs::create_dir(&logs).unwrap();
    std::fs::write(logs.join("app.log"), "line\n".repeat(1000)).unwrap();
    let directory = logs.display().to_string();
    let arguments = [
        ("directory", directory.as_str()),
        ("over_mib", "0"),
        ("dry_run", "false"),
    ];
    assert_eq!(run(&world, "logs/rotate.py", &arguments, &[])["rotated"], 1);
    assert_eq!(std::fs::read(logs.join("app.log")).unwrap(), b"");
    assert_eq!(logs.read_dir().unwrap().count(), 2, "the log and its archive");
}

#[test]
fn a_directory_is_backed_up() {
    let world = World::new();
    let (source, destination) = (world.root.join("data-to-keep"), world.root.join("archives"));
    std::fs::create_dir(&source).unwrap();
    std::fs::write(source.join("note.txt"), "first").unwrap();
    let (source, destination) = (source.display().to_string(), destination.display().to_string());
    let arguments = [("source", source.as_str()), ("destination", &destination)];
    let returned = run(&world, "backup/directory.py", &arguments, &[]);
    assert_eq!(returned["files"], 1, "{returned}");
    assert!(Path::new(returned["archive"].as_str().unwrap()).is_file());
}
