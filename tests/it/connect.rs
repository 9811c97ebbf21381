//! Connections with each `sslmode` to a real server that speaks TLS, with certificates made by `openssl`.
//!
//! The server is a private cluster that `ALTER SYSTEM` has opened to a TCP port. Needed: Postgres server binaries; where
//! `openssl` is missing the tests say so and pass.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use dropcron::database::cluster::{Cluster, ClusterSettings};
use dropcron::database::{ConnectError, Connector};

/// A server with TLS, its certificates, and the directory of both.
struct SecureServer {
    directory: PathBuf,
    /// A loopback address of its own, because every private cluster has the same port.
    address: Ipv4Addr,
    cluster: Option<Cluster>,
}

impl SecureServer {
    /// `None` where `openssl` is missing. `hba` says who may connect over TCP.
    fn start(name: &str, hba: &str) -> Option<SecureServer> {
        if Command::new("openssl")
            .arg("version")
            .stdout(Stdio::null())
            .status()
            .is_err()
        {
            println!("skipped: there is no openssl to make certificates with");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("dropcron-it-{}-{name}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        fs::set_permissions(&directory, Permissions::from_mode(0o755)).unwrap();
        make_certificates(&directory);

        let settings = ClusterSettings::new(directory.join("data"));
        let cluster = Cluster::open(&settings).unwrap();
        let address = own_address();
        let at = |file: &str| directory.join(file).display().to_string();
        fs::write(at("hba"), format!("local all dropcron peer map=dropcron\n{hba}")).unwrap();
        let owner = directory.join("data/postgres/data").metadata().unwrap();
        std::os::unix::fs::chown(at("server.key"), Some(owner.uid()), Some(owner.gid())).unwrap();
        for statement in [
            "CREATE ROLE ada LOGIN PASSWORD 'secret'".to_owned(),
            format!("ALTER SYSTEM SET listen_addresses = '{address}'"),
            "ALTER SYSTEM SET ssl = on".to_owned(),
            format!("ALTER SYSTEM SET ssl_cert_file = '{}'", at("server.crt")),
            format!("ALTER SYSTEM SET ssl_key_file = '{}'", at("server.key")),
            format!("ALTER SYSTEM SET ssl_ca_file = '{}'", at("ca.crt")),
            format!("ALTER SYSTEM SET hba_file = '{}'", at("hba")),
        ] {
            psql(&cluster, &statement);
        }
        cluster.close().unwrap();
        let cluster = Some(Cluster::open(&settings).unwrap());
        Some(SecureServer {
            directory,
            address,
            cluster,
        })
    }

    fn path(&self, file: &str) -> String {
        self.directory.join(file).display().to_string()
    }

    /// Connects over TCP under a host name that resolves to the server, and says whether TLS is in use.
    fn connect(&self, host: &str, query: &str) -> Result<bool, ConnectError> {
        let url = format!(
            "postgres://ada:secret@{host}/dropcron?hostaddr={}&{query}",
            self.address
        );
        let connector = Connector::new(url.parse().unwrap()).unwrap();
        runtime().block_on(async {
            let (client, connection) = connector.connect().await?;
            tokio::spawn(connection);
            let statement = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
            let is_encrypted = client.query_one(statement, &[]).await.unwrap().get(0);
            // What is seen from here is what the server sees.
            assert_eq!(connector.way().await?.is_encrypted, is_encrypted, "{query}");
            Ok(is_encrypted)
        })
    }

    fn refusal(&self, host: &str, query: &str) -> String {
        self.connect(host, query)
            .expect_err("the connection should be refused")
            .to_string()
    }
}

impl Drop for SecureServer {
    fn drop(&mut self) {
        drop(self.cluster.take());
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// An address of 127.0.0.0/8 that no other test process uses at the same time.
fn own_address() -> Ipv4Addr {
    static NUMBER: AtomicU8 = AtomicU8::new(1);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + NUMBER.fetch_add(1, Ordering::Relaxed), high, low.clamp(1, 254))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

fn psql(cluster: &Cluster, statement: &str) {
    let output = Command::new(cluster.psql().unwrap())
        .args(["-qXc", statement, cluster.url()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, a server certificate for `db.test`, a client certificate for `ada`, and an authority of strangers.
fn make_certificates(directory: &Path) {
    let openssl = |arguments: &str| {
        let output = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(directory)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let new_key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    for authority in ["ca", "stranger"] {
        openssl(&format!(
            "req -x509 {new_key} -subj /CN={authority} -keyout {authority}.key -out {authority}.crt"
        ));
    }
    let signed = "-CA ca.crt -CAkey ca.key";
    let names = "-addext subjectAltName=DNS:db.test -addext basicConstraints=critical,CA:FALSE";
    openssl(&format!(
        "req -x509 {new_key} {signed} {names} -subj /CN=db.test -keyout server.key -out server.crt"
    ));
    let client = "-addext basicConstraints=critical,CA:FALSE";
    openssl(&format!(
        "req -x509 {new_key} {signed} {client} -subj /CN=ada -keyout ada.key -out ada.crt"
    ));
}

#[test]
fn each_mode_trusts_whom_it_says_it_trusts() {
    let Some(server) = SecureServer::start("modes", "host all all 127.0.0.0/8 scram-sha-256\n") else {
        return;
    };
    let own = format!("sslrootcert={}", server.path("ca.crt"));
    let strangers = format!("sslrootcert={}", server.path("stranger.crt"));
    let with_own = |mode: &str| format!("sslmode={mode}&{own}");

    assert!(!server.connect("db.test", "sslmode=disable").unwrap());
    assert!(!server.connect("db.test", "sslmode=allow").unwrap());
    assert!(server.connect("db.test", "sslmode=prefer").unwrap());
    assert!(
        server.connect("any.test", "sslmode=require").unwrap(),
        "it trusts anyone"
    );
    assert!(
        server.connect("any.test", &with_own("verify-ca")).unwrap(),
        "it does not look at the name"
    );
    assert!(server.connect("db.test", &with_own("verify-full")).unwrap());
    assert!(
        server
            .connect("db.test", &format!("sslmode=require&channel_binding=require&{own}"))
            .unwrap()
    );

    assert!(
        server
            .refusal("any.test", &with_own("verify-full"))
            .contains("use the name in the server's certificate")
    );
    assert!(
        server
            .refusal("db.test", "sslmode=verify-full")
            .contains("`sslrootcert=/path/to/ca.crt`")
    );
    let refused = server.refusal("db.test", &format!("sslmode=verify-ca&{strangers}"));
    assert!(refused.contains("sslrootcert"), "{refused}");
    assert!(
        server
            .connect("db.test", &format!("sslmode=require&{strangers}"))
            .is_err()
    );
    assert!(
        !server
            .connect("db.test", &format!("sslmode=prefer&{strangers}"))
            .unwrap(),
        "libpq goes on in clear too"
    );

    let itself = format!("sslmode=verify-full&sslrootcert={}", server.path("server.crt"));
    assert!(
        server.connect("db.test", &itself).unwrap(),
        "the server's own certificate can be trusted by itself"
    );
}

#[test]
fn a_client_certificate_proves_who_we_are() {
    let Some(server) = SecureServer::start("client", "hostssl all all 127.0.0.0/8 cert\n") else {
        return;
    };
    let (certificate, key) = (server.path("ada.crt"), server.path("ada.key"));
    assert!(
        server
            .connect(
                "db.test",
                &format!("sslmode=require&sslcert={certificate}&sslkey={key}")
            )
            .unwrap()
    );
    assert!(server.connect("db.test", "sslmode=require").is_err());
    // The server has no rule for clear text, so `allow` goes on with TLS.
    assert!(
        server
            .connect("db.test", &format!("sslmode=allow&sslcert={certificate}&sslkey={key}"))
            .unwrap()
    );
}

#[test]
fn a_server_that_accepts_and_stays_silent_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://ada:secret@127.0.0.1:{port}/log?connect_timeout=1");
    let connector = Connector::new(url.parse().unwrap()).unwrap();
    let error = runtime().block_on(connector.connect()).err().unwrap();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn the_second_host_is_tried_where_the_first_is_down() {
    let Some(server) = SecureServer::start("second", "host all all 127.0.0.0/8 scram-sha-256\n") else {
        return;
    };
    let closed = own_address();
    let passfile = server.path("passfile");
    fs::write(&passfile, "*:*:dropcron:ada:secret\n").unwrap();
    let url = format!(
        "postgres://ada@{closed},{}/dropcron?passfile={passfile}",
        server.address
    );
    let connector = Connector::new(url.parse().unwrap()).unwrap();

    let open_to_all = runtime().block_on(connector.connect()).err().unwrap().to_string();
    assert!(open_to_all.contains("`chmod 0600` it"), "{open_to_all}");
    fs::set_permissions(&passfile, Permissions::from_mode(0o600)).unwrap();
    runtime().block_on(async {
        let (client, connection) = connector.connect().await.unwrap();
        tokio::spawn(connection);
        let pid: i32 = client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
        assert!(pid > 0);
    });
}

#[test]
fn diesel_takes_the_connection() {
    let Some(server) = SecureServer::start("diesel", "host all all 127.0.0.0/8 scram-sha-256\n") else {
        return;
    };
    let url = format!("postgres://ada:secret@{}/dropcron?sslmode=require", server.address);
    let connector = Connector::new(url.parse().unwrap()).unwrap();
    runtime().block_on(async {
        let (client, connection) = connector.connect().await.unwrap();
        diesel_async::AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .unwrap();
    });
}
