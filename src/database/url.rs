//! `DATABASE_URL`, parsed into a value that cannot be wrong.
//!
//! tokio-postgres reads such text too, but it refuses `sslrootcert` and `sslmode=verify-full`, calls some keys by other
//! names than libpq, and counts `tcp_user_timeout` in another unit. Here the keys mean what they mean to libpq, so that
//! psql and dropcron understand the same text; those that dropcron cannot honour are refused, never ignored. Neither the
//! `PG*` variables nor the files in `~/.postgresql` are looked at. No message and no `Debug` shows the password.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslMode as Negotiation, SslNegotiation, TargetSessionAttrs};

/// The port where none is given.
const DEFAULT_PORT: u16 = 5432;

/// Where a socket is looked for if no host is given: Debian's and most other distributions' place, then Postgres's own.
const SOCKET_DIRECTORIES: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// Keys that are understood, for suggestions.
const KEYS: [&str; 27] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "application_name",
    "fallback_application_name",
    "options",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "target_session_attrs",
    "channel_binding",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslsni",
    "ssl_min_protocol_version",
    "client_encoding",
    "gssencmode",
];

/// libpq's keys that dropcron does not honour, and what to do instead.
const REFUSED_KEYS: [(&str, &str); 20] = [
    ("service", "write the keys of the service out"),
    ("servicefile", "write the keys of the service out"),
    (
        "sslpassword",
        "decrypt the key, for instance with `openssl pkey`, and protect the file by its mode",
    ),
    ("sslcrl", "leave it out; revocation lists are not read"),
    ("sslcrldir", "leave it out; revocation lists are not read"),
    (
        "sslcertmode",
        "leave it out; the certificate of `sslcert` is sent where the server asks for it",
    ),
    ("ssl_max_protocol_version", "leave it out"),
    (
        "requirepeer",
        "leave it out and use TLS, or a socket directory that only the server can write to",
    ),
    (
        "require_auth",
        "leave it out; use `channel_binding=require` or `sslmode=verify-full` against a false server",
    ),
    ("krbsrvname", "leave it out; Kerberos is not supported"),
    ("gsslib", "leave it out; Kerberos is not supported"),
    ("gssdelegation", "leave it out; Kerberos is not supported"),
    ("replication", "leave it out"),
    (
        "load_balance_hosts",
        "leave it out; hosts are tried in their order, which finds the primary",
    ),
    ("keepalives_retries", "libpq and dropcron call it `keepalives_count`"),
    (
        "pgbouncer",
        "leave it out; set `DROPCRON_DIRECT_DATABASE_URL` to a URL around the pooler",
    ),
    (
        "schema",
        "leave it out; dropcron's tables live in the schema `dropcron`",
    ),
    ("pool_size", "leave it out"),
    ("connection_limit", "leave it out"),
    ("sslidentity", "use `sslcert` and `sslkey`"),
];

/// A database to connect to, with everything that its URL said and a sane default for what it did not.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl {
    hosts: Vec<Host>,
    user: Option<String>,
    password: Option<String>,
    passfile: Option<PathBuf>,
    database: String,
    application_name: String,
    options: Option<String>,
    /// Bounds each attempt from the first packet to the end of the authentication; `None` waits for ever.
    connect_timeout: Option<Duration>,
    tcp_user_timeout: Option<Duration>,
    keepalives: Option<Keepalives>,
    needs_writable: bool,
    channel_binding: ChannelBinding,
    tls: TlsSettings,
}

/// One server to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// A name or a number for TCP, a directory for a Unix socket.
    pub place: Place,
    /// The address to use in place of resolving the name (`hostaddr`).
    pub address: Option<IpAddr>,
    /// The port; for a Unix socket a part of its file name.
    pub port: u16,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A host name or an IP address.
    Tcp(String),
    /// The directory of a Unix socket.
    Unix(PathBuf),
}

/// When and how an idle or dead connection is noticed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Keepalives {
    idle: Duration,
    interval: Duration,
    count: u32,
}

/// How connections are encrypted and whom they trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// `sslmode`.
    pub mode: SslMode,
    /// `sslrootcert`.
    pub roots: Option<Roots>,
    /// `sslcert` and `sslkey`.
    pub client_certificate: Option<ClientCertificate>,
    /// `sslsni`: whether the host's name is sent in clear text, for servers behind a shared address.
    pub sends_name: bool,
    /// `ssl_min_protocol_version=TLSv1.3`: whether version 1.2 is refused.
    pub only_tls13: bool,
    /// `sslnegotiation=direct`: TLS from the first byte on.
    pub is_direct: bool,
}

/// `sslmode`, as libpq defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only where the server insists.
    Allow,
    /// Encrypted where the server can; the default.
    Prefer,
    /// Always encrypted, towards anyone, unless `sslrootcert` is given.
    Require,
    /// Towards a server with a certificate of the given authority.
    VerifyCa,
    /// Towards the named server alone.
    VerifyFull,
}

/// What of the server's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verification {
    /// Nothing: whoever sits between can read and change everything.
    Nothing,
    /// That a trusted authority signed it.
    Chain,
    /// That, and that it is the certificate of this host.
    ChainAndName,
}

/// `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Roots {
    /// The authorities that the operating system trusts.
    System,
    /// A file of PEM certificates.
    File(PathBuf),
}

/// The files by which this client proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// PEM certificates, the client's own first.
    pub certificate: PathBuf,
    /// The PEM key, not encrypted.
    pub key: PathBuf,
}

/// `DATABASE_URL` cannot be used. No message holds the password, or a part that may be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// Nothing was given.
    #[error("the database URL is empty; write `postgres://user:password@host:5432/database`")]
    Empty,
    /// The text is for another database, or for another driver.
    #[error("the database URL begins with `{scheme}://`; write `postgres://` or `postgresql://`")]
    WrongScheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// The text is neither a URL nor a list of `key=value`.
    #[error(
        "the database URL is neither `postgres://...` nor a list of `key=value`; put values with spaces in `'...'`"
    )]
    Unreadable,
    /// An unescaped character cuts the user or the password in two.
    #[error(
        "the user or password in the database URL holds a character that must be escaped: write `%40` for `@`, `%2F` for \
         `/`, `%3A` for `:`, `%3F` for `?`, `%23` for `#` and `%25` for `%`"
    )]
    Unescaped,
    /// A percent sign without two hexadecimal digits, or bytes that are not UTF-8.
    #[error("{part} of the database URL is not well escaped: write `%25` for `%`, and UTF-8 for what is not ASCII")]
    BadEscape {
        /// The part, such as "the password".
        part: &'static str,
    },
    /// No database.
    #[error("the database URL names no database; add one: `postgres://user:password@host:5432/database`")]
    MissingDatabase,
    /// A port that is none.
    #[error("a port in the database URL is not a number from 1 to 65535; escape `:` in passwords as `%3A`")]
    BadPort,
    /// The lists of hosts, addresses and ports do not go together.
    #[error("the database URL gives {hosts} hosts and {others} of `{key}`; give one for each host")]
    UnequalCounts {
        /// How many hosts.
        hosts: usize,
        /// How many of the key.
        others: usize,
        /// `hostaddr` or `port`.
        key: &'static str,
    },
    /// A value that a key cannot have.
    #[error("`{key}` in the database URL is `{value}`; it can be {expected}")]
    BadValue {
        /// The key.
        key: String,
        /// What was written.
        value: String,
        /// What can be written.
        expected: &'static str,
    },
    /// A key that libpq knows and dropcron does not honour.
    #[error("dropcron does not support `{key}` in the database URL: {advice}")]
    Refused {
        /// The key.
        key: &'static str,
        /// What to do instead.
        advice: &'static str,
    },
    /// A key that nobody knows.
    #[error("the database URL has an unknown key `{key}`{}", suggestion.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key.
        key: String,
        /// One that is spelled like it.
        suggestion: Option<&'static str>,
    },
    /// A key that nobody knows, behind a password that may have been cut in two.
    #[error(
        "the database URL has an unknown key behind `password`; escape `&` in a password as `%26`, and quote spaces"
    )]
    UnknownKeyBehindPassword,
    /// Settings that contradict each other.
    #[error("the database URL contradicts itself: {problem}")]
    Contradiction {
        /// What does, and what to write.
        problem: &'static str,
    },
}

impl FromStr for DatabaseUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<DatabaseUrl, UrlError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UrlError::Empty);
        }
        let parameters = match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) => parameters_of_url(rest)?,
            Some((scheme, _)) if is_scheme(scheme) => {
                return Err(UrlError::WrongScheme {
                    scheme: scheme.to_owned(),
                });
            }
            _ => parameters_of_list(text)?,
        };
        Draft::of(parameters)?.finish()
    }
}

impl DatabaseUrl {
    /// The servers to try, in their order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// How connections are encrypted and whom they trust.
    pub fn tls(&self) -> &TlsSettings {
        &self.tls
    }

    /// The bound on one attempt to connect, through authentication; `None` waits for ever.
    pub fn connect_timeout(&self) -> Option<Duration> {
        self.connect_timeout
    }

    /// The file to look the password up in, where the URL holds none.
    pub fn passfile(&self) -> Option<&Path> {
        self.passfile.as_deref().filter(|_| self.password.is_none())
    }

    /// The user, where the URL names one; else it is the operating system's.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The password, where the URL holds one.
    pub fn password(&self) -> Option<&str> {
        self.password.as_deref()
    }

    /// The URL without password and options: for logs and messages.
    pub fn redacted(&self) -> String {
        self.to_string()
    }

    /// What tokio-postgres needs to connect to one of the hosts.
    pub fn config(&self, host: &Host, negotiation: Negotiation) -> tokio_postgres::Config {
        let mut config = tokio_postgres::Config::new();
        match &host.place {
            Place::Tcp(name) => config.host(name),
            Place::Unix(directory) => config.host_path(directory),
        };
        config
            .port(host.port)
            .dbname(&self.database)
            .application_name(&self.application_name);
        config.channel_binding(self.channel_binding);
        // Postgres has no TLS on Unix sockets, whatever the mode.
        config.ssl_mode(if matches!(host.place, Place::Unix(_)) {
            Negotiation::Disable
        } else {
            negotiation
        });
        if self.tls.is_direct && negotiation == Negotiation::Require {
            config.ssl_negotiation(SslNegotiation::Direct);
        }
        if self.needs_writable {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        host.address.map(|address| config.hostaddr(address));
        self.user.as_ref().map(|user| config.user(user));
        self.password.as_ref().map(|password| config.password(password));
        self.options.as_ref().map(|options| config.options(options));
        self.apply_timeouts(&mut config);
        config
    }

    fn apply_timeouts(&self, config: &mut tokio_postgres::Config) {
        self.connect_timeout.map(|limit| config.connect_timeout(limit));
        self.tcp_user_timeout.map(|limit| config.tcp_user_timeout(limit));
        config.keepalives(self.keepalives.is_some());
        if let Some(Keepalives { idle, interval, count }) = &self.keepalives {
            config
                .keepalives_idle(*idle)
                .keepalives_interval(*interval)
                .keepalives_retries(*count);
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(Host::to_string).collect();
        let user = self
            .user
            .as_ref()
            .map(|user| format!("{}@", escaped(user.as_bytes())))
            .unwrap_or_default();
        write!(
            formatter,
            "postgres://{user}{}/{}",
            hosts.join(","),
            escaped(self.database.as_bytes())
        )?;
        if self.hosts.iter().any(|host| matches!(host.place, Place::Tcp(_))) {
            write!(formatter, "?sslmode={}", self.tls.mode.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "DatabaseUrl({self})")
    }
}

impl fmt::Display for Host {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Tcp(name) if name.contains(':') => write!(formatter, "[{name}]:{}", self.port),
            Place::Tcp(name) => write!(formatter, "{name}:{}", self.port),
            Place::Unix(path) => write!(formatter, "{}:{}", escaped(path.as_os_str().as_bytes()), self.port),
        }
    }
}

impl SslMode {
    /// The word in the URL.
    pub fn as_str(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    fn parse(value: &str) -> Option<SslMode> {
        use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
        [Disable, Allow, Prefer, Require, VerifyCa, VerifyFull]
            .into_iter()
            .find(|mode| mode.as_str() == value)
    }
}

impl TlsSettings {
    /// What is checked. As with libpq, a given `sslrootcert` is always put to use.
    pub fn verification(&self) -> Verification {
        match (self.mode, &self.roots) {
            (SslMode::VerifyFull, _) => Verification::ChainAndName,
            (SslMode::VerifyCa, _) | (_, Some(_)) => Verification::Chain,
            _ => Verification::Nothing,
        }
    }

    /// The negotiations to try with one server: libpq's order.
    pub fn negotiations(&self) -> &'static [Negotiation] {
        match self.mode {
            SslMode::Disable => &[Negotiation::Disable],
            SslMode::Allow => &[Negotiation::Disable, Negotiation::Require],
            SslMode::Prefer => &[Negotiation::Prefer, Negotiation::Disable],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Negotiation::Require],
        }
    }

    /// The same, with no try that may end either way.
    pub fn decided_negotiations(&self) -> &'static [Negotiation] {
        match self.mode {
            SslMode::Prefer => &[Negotiation::Require, Negotiation::Disable],
            _ => self.negotiations(),
        }
    }
}

/// The key of a password that stood before the `@`, where it can be told from what follows.
const LOGIN_PASSWORD: &str = "password@";

/// A key and its value, decoded.
type Parameter = (String, Vec<u8>);

fn is_scheme(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+-.".contains(character))
}

/// Takes apart `user:password@host:port,host:port/database?key=value&key=value`.
fn parameters_of_url(rest: &str) -> Result<Vec<Parameter>, UrlError> {
    let end_of_authority = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end_of_authority);
    let (database, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut parameters = Vec::new();
    let hosts = match authority.split_once('@') {
        // A second one, or one behind the authority, belongs to a password; what precedes it must not be shown.
        Some((_, hosts)) if hosts.contains('@') => return Err(UrlError::Unescaped),
        None if database.contains('@') || (query.contains('@') && !has_numeric_port(authority)) => {
            return Err(UrlError::Unescaped);
        }
        Some((login, hosts)) => {
            parameters.extend(parameters_of_login(login)?);
            hosts
        }
        None => authority,
    };
    parameters.extend(parameters_of_hosts(hosts)?);
    let database = decoded(database.trim_start_matches('/'), "the database's name")?;
    if !database.is_empty() {
        parameters.push(("dbname".to_owned(), database));
    }
    parameters.extend(parameters_of_query(query)?);
    Ok(parameters)
}

fn parameters_of_login(login: &str) -> Result<Vec<Parameter>, UrlError> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let user = ("user".to_owned(), decoded(user, "the user")?);
    let password = (LOGIN_PASSWORD.to_owned(), decoded(password, "the password")?);
    Ok([user, password]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .collect())
}

/// Hosts and ports as two lists with commas, which is how the keys `host` and `port` spell them.
fn parameters_of_hosts(hosts: &str) -> Result<Vec<Parameter>, UrlError> {
    if hosts.is_empty() {
        return Ok(Vec::new());
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = split_port(host).ok_or(UrlError::BadPort)?;
        names.push(decoded(name, "a host")?);
        ports.push(port);
    }
    let ports_if_any = ports.iter().any(|port| !port.is_empty()).then(|| ports.join(","));
    let hosts = Some(names.join(&b','))
        .filter(|names| !names.is_empty())
        .map(|names| ("host".to_owned(), names));
    Ok(hosts
        .into_iter()
        .chain(ports_if_any.map(|ports| ("port".to_owned(), ports.into_bytes())))
        .collect())
}

/// Splits `name:port`, `name` or `[address]:port`.
fn split_port(host: &str) -> Option<(&str, &str)> {
    if let Some(bracketed) = host.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']')?;
        return if rest.is_empty() {
            Some((address, ""))
        } else {
            Some((address, rest.strip_prefix(':')?))
        };
    }
    Some(host.split_once(':').unwrap_or((host, "")))
}

/// Whether what follows the colon, if there is one, can be a port; else it is the first half of a password.
fn has_numeric_port(authority: &str) -> bool {
    let mut hosts = authority.split(',').map(split_port);
    hosts.all(|host| host.is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit())))
}

fn parameters_of_query(query: &str) -> Result<Vec<Parameter>, UrlError> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').ok_or(UrlError::Unreadable)?;
            let key = String::from_utf8_lossy(&decoded(key, "a key")?).into_owned();
            let value = decoded(value, "the value of a key")?;
            // The spelling of JDBC, which libpq takes too.
            if key == "ssl" && value == b"true" {
                return Ok(("sslmode".to_owned(), b"require".to_vec()));
            }
            Ok((key, value))
        })
        .collect()
}

/// Takes apart `key=value key='a value'`, where a backslash escapes the next character.
fn parameters_of_list(text: &str) -> Result<Vec<Parameter>, UrlError> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=').ok_or(UrlError::Unreadable)?;
        let key = key.trim_end();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(UrlError::Unreadable);
        }
        let (value, after) = take_value(after.trim_start())?;
        parameters.push((key.to_owned(), value.into_bytes()));
        rest = after.trim_start();
    }
    Ok(parameters)
}

fn take_value(text: &str) -> Result<(String, &str), UrlError> {
    let is_quoted = text.starts_with('\'');
    let text = if is_quoted { &text[1..] } else { text };
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if is_quoted => return Ok((value, &text[index + 1..])),
            _ if !is_quoted && character.is_whitespace() => return Ok((value, &text[index..])),
            _ => value.push(character),
        }
    }
    if is_quoted {
        Err(UrlError::Unreadable)
    } else {
        Ok((value, ""))
    }
}

/// What has been read so far; a later key replaces an earlier one, as in libpq.
#[derive(Default)]
struct Draft {
    hosts: Vec<Vec<u8>>,
    addresses: Vec<String>,
    ports: Vec<String>,
    user: Option<String>,
    password: Option<String>,
    passfile: Option<PathBuf>,
    database: Option<String>,
    application_name: Option<String>,
    fallback_application_name: Option<String>,
    options: Option<String>,
    connect_timeout: Option<i64>,
    tcp_user_timeout_ms: Option<i64>,
    has_no_keepalives: bool,
    keepalives_idle: Option<i64>,
    keepalives_interval: Option<i64>,
    keepalives_count: Option<i64>,
    needs_writable: Option<bool>,
    channel_binding: Option<ChannelBinding>,
    mode: Option<SslMode>,
    roots: Option<Roots>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    hides_name: bool,
    only_tls13: bool,
    is_direct: bool,
}

impl Draft {
    fn of(parameters: Vec<Parameter>) -> Result<Draft, UrlError> {
        let mut draft = Draft::default();
        let mut is_behind_password = false;
        for (key, value) in parameters {
            draft.take(&key, value).map_err(|error| match error {
                // The key may be the second half of the password, and must not be shown.
                UrlError::UnknownKey { .. } if is_behind_password => UrlError::UnknownKeyBehindPassword,
                error => error,
            })?;
            is_behind_password |= key == "password";
        }
        Ok(draft)
    }

    fn take(&mut self, key: &str, value: Vec<u8>) -> Result<(), UrlError> {
        let path = || Some(PathBuf::from(OsString::from_vec(value.clone())));
        match key {
            "host" => self.hosts = value.split(|&byte| byte == b',').map(<[u8]>::to_vec).collect(),
            "passfile" => self.passfile = path(),
            "sslrootcert" if value == b"system" => self.roots = Some(Roots::System),
            "sslrootcert" => self.roots = path().map(Roots::File),
            "sslcert" => self.certificate = path(),
            "sslkey" => self.key = path(),
            "password" | LOGIN_PASSWORD => self.password = Some(text(value, "the password")?),
            _ => self.take_text(key, text(value, "the value of a key")?)?,
        }
        Ok(())
    }

    fn take_text(&mut self, key: &str, value: String) -> Result<(), UrlError> {
        match key {
            "hostaddr" => self.addresses = split_list(&value),
            "port" => self.ports = split_list(&value),
            "dbname" => self.database = Some(value),
            "user" => self.user = Some(value),
            "application_name" => self.application_name = Some(value),
            "fallback_application_name" => self.fallback_application_name = Some(value),
            "options" => self.options = Some(value),
            "connect_timeout" => self.connect_timeout = Some(number(key, &value)?),
            "tcp_user_timeout" => self.tcp_user_timeout_ms = Some(number(key, &value)?),
            "keepalives" => self.has_no_keepalives = number(key, &value)? == 0,
            "keepalives_idle" => self.keepalives_idle = Some(number(key, &value)?),
            "keepalives_interval" => self.keepalives_interval = Some(number(key, &value)?),
            "keepalives_count" => self.keepalives_count = Some(number(key, &value)?),
            _ => self.take_word(key, &value)?,
        }
        Ok(())
    }

    fn take_word(&mut self, key: &str, value: &str) -> Result<(), UrlError> {
        let bad = |expected| UrlError::BadValue {
            key: key.to_owned(),
            value: value.to_owned(),
            expected,
        };
        match (key, value) {
            ("sslmode", _) => {
                let expected = "`disable`, `allow`, `prefer`, `require`, `verify-ca` or `verify-full`";
                self.mode = Some(SslMode::parse(value).ok_or_else(|| bad(expected))?);
            }
            ("target_session_attrs", "any") => self.needs_writable = Some(false),
            ("target_session_attrs", "read-write" | "primary") => self.needs_writable = Some(true),
            ("target_session_attrs", _) => {
                return Err(bad("`any`, `read-write` or `primary`, because dropcron writes"));
            }
            ("channel_binding", "disable") => self.channel_binding = Some(ChannelBinding::Disable),
            ("channel_binding", "prefer") => self.channel_binding = Some(ChannelBinding::Prefer),
            ("channel_binding", "require") => self.channel_binding = Some(ChannelBinding::Require),
            ("channel_binding", _) => return Err(bad("`disable`, `prefer` or `require`")),
            ("sslnegotiation", "postgres") => self.is_direct = false,
            ("sslnegotiation", "direct") => self.is_direct = true,
            ("sslnegotiation", _) => return Err(bad("`postgres` or `direct`")),
            ("sslsni", "0" | "1") => self.hides_name = value == "0",
            ("sslsni", _) => return Err(bad("`0` or `1`")),
            // Older versions than 1.2 are never spoken, so asking for less changes nothing.
            ("ssl_min_protocol_version", "" | "TLSv1" | "TLSv1.1" | "TLSv1.2") => self.only_tls13 = false,
            ("ssl_min_protocol_version", "TLSv1.3") => self.only_tls13 = true,
            ("ssl_min_protocol_version", _) => return Err(bad("`TLSv1.2` or `TLSv1.3`")),
            ("client_encoding", _) if ["auto", "utf8", "utf-8"].contains(&value.to_lowercase().as_str()) => {}
            ("client_encoding", _) => return Err(bad("`UTF8`")),
            ("gssencmode", "disable" | "prefer") | ("sslcompression", "0" | "1") => {}
            ("gssencmode", _) => return Err(bad("`disable` or `prefer`, because Kerberos is not supported")),
            ("sslcompression", _) => return Err(bad("`0`")),
            _ => return Err(unknown(key)),
        }
        Ok(())
    }

    fn finish(self) -> Result<DatabaseUrl, UrlError> {
        let hosts = self.all_hosts()?;
        let tls = self.tls_settings()?;
        let seconds =
            |given: Option<i64>, default: u64| Duration::from_secs(given.and_then(positive).unwrap_or(default));
        let keepalives = Keepalives {
            idle: seconds(self.keepalives_idle, 10),
            interval: seconds(self.keepalives_interval, 5),
            count: self
                .keepalives_count
                .and_then(|count| u32::try_from(count).ok())
                .filter(|&count| count > 0)
                .unwrap_or(3),
        };
        let needs_writable = self.needs_writable.unwrap_or(hosts.len() > 1);
        let name = self
            .application_name
            .or(self.fallback_application_name)
            .filter(|name| !name.is_empty());
        Ok(DatabaseUrl {
            hosts,
            user: self.user.filter(|user| !user.is_empty()),
            password: self.password.filter(|password| !password.is_empty()),
            passfile: self.passfile,
            database: self
                .database
                .filter(|name| !name.is_empty())
                .ok_or(UrlError::MissingDatabase)?,
            application_name: name.unwrap_or_else(|| "dropcron".to_owned()),
            options: self.options,
            connect_timeout: self.connect_timeout.map_or(Some(5), positive).map(Duration::from_secs),
            tcp_user_timeout: self
                .tcp_user_timeout_ms
                .map_or(Some(15_000), positive)
                .map(Duration::from_millis),
            keepalives: (!self.has_no_keepalives).then_some(keepalives),
            // With several hosts the reason is nearly always a standby among them.
            needs_writable,
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
            tls,
        })
    }

    fn all_hosts(&self) -> Result<Vec<Host>, UrlError> {
        let count = self.hosts.len().max(self.addresses.len()).max(1);
        for (key, others) in [("hostaddr", self.addresses.len()), ("port", self.ports.len())] {
            let is_shared_port = key == "port" && others == 1;
            if others != 0 && others != count && !is_shared_port {
                return Err(UrlError::UnequalCounts {
                    hosts: count,
                    others,
                    key,
                });
            }
        }
        (0..count).map(|index| self.host(index)).collect()
    }

    fn host(&self, index: usize) -> Result<Host, UrlError> {
        let port = port(self.ports.get(index).or(self.ports.first()))?;
        let address: Option<IpAddr> = match self.addresses.get(index).filter(|address| !address.is_empty()) {
            None => None,
            Some(value) => Some(value.parse().map_err(|_| UrlError::BadValue {
                key: "hostaddr".to_owned(),
                value: value.clone(),
                expected: "an IP address",
            })?),
        };
        let place = match (self.hosts.get(index).filter(|host| !host.is_empty()), address) {
            (Some(host), _) if host.starts_with(b"/") => Place::Unix(PathBuf::from(OsString::from_vec(host.clone()))),
            (Some(host), _) => Place::Tcp(text(host.clone(), "a host")?),
            (None, Some(address)) => Place::Tcp(address.to_string()),
            (None, None) => Place::Unix(default_socket_directory(port)),
        };
        Ok(Host { place, address, port })
    }

    fn tls_settings(&self) -> Result<TlsSettings, UrlError> {
        let contradiction = |problem| Err(UrlError::Contradiction { problem });
        // As in libpq, trust in every public authority means nothing without a look at the name.
        let default = if self.roots == Some(Roots::System) {
            SslMode::VerifyFull
        } else {
            SslMode::Prefer
        };
        let mode = self.mode.unwrap_or(default);
        if mode == SslMode::VerifyCa && self.roots.is_none() {
            return contradiction("`sslmode=verify-ca` needs `sslrootcert=/path/to/ca.crt`, or use `verify-full`");
        }
        if self.roots == Some(Roots::System) && mode != SslMode::VerifyFull {
            return contradiction("`sslrootcert=system` needs `sslmode=verify-full`");
        }
        if self.is_direct && !matches!(mode, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) {
            return contradiction("`sslnegotiation=direct` needs `sslmode=require` or stronger");
        }
        let client_certificate = match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Some(ClientCertificate {
                certificate: certificate.clone(),
                key: key.clone(),
            }),
            (None, None) => None,
            _ => return contradiction("`sslcert` and `sslkey` go together; give both"),
        };
        Ok(TlsSettings {
            mode,
            roots: self.roots.clone(),
            client_certificate,
            sends_name: !self.hides_name,
            only_tls13: self.only_tls13,
            is_direct: self.is_direct,
        })
    }
}

fn default_socket_directory(port: u16) -> PathBuf {
    let has_socket = |directory: &&&str| Path::new(directory).join(format!(".s.PGSQL.{port}")).exists();
    PathBuf::from(
        SOCKET_DIRECTORIES
            .iter()
            .find(has_socket)
            .unwrap_or(&SOCKET_DIRECTORIES[0]),
    )
}

fn port(value: Option<&String>) -> Result<u16, UrlError> {
    match value.filter(|value| !value.is_empty()) {
        None => Ok(DEFAULT_PORT),
        Some(value) => value.parse().ok().filter(|&port| port > 0).ok_or(UrlError::BadPort),
    }
}

fn number(key: &str, value: &str) -> Result<i64, UrlError> {
    value.trim().parse().map_err(|_| UrlError::BadValue {
        key: key.to_owned(),
        value: value.to_owned(),
        expected: "a whole number",
    })
}

/// Zero and less mean "no limit" or "the default", as in libpq.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|&number| number > 0)
}

fn split_list(value: &str) -> Vec<String> {
    value.split(',').map(|item| item.trim().to_owned()).collect()
}

fn unknown(key: &str) -> UrlError {
    if let Some(&(key, advice)) = REFUSED_KEYS.iter().find(|(refused, _)| *refused == key) {
        return UrlError::Refused { key, advice };
    }
    let near = |known: &&&str| strsim::osa_distance(known, &key.to_lowercase()) <= 2;
    UrlError::UnknownKey {
        key: key.to_owned(),
        suggestion: KEYS.iter().find(near).copied(),
    }
}

fn text(value: Vec<u8>, part: &'static str) -> Result<String, UrlError> {
    // The error of the conversion would hold the value.
    String::from_utf8(value).map_err(|_| UrlError::BadEscape { part })
}

/// Undoes percent-encoding. A plus stays a plus, as in libpq.
fn decoded(text: &str, part: &'static str) -> Result<Vec<u8>, UrlError> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        let value = high.zip(low).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(value.filter(|&value| value != 0).ok_or(UrlError::BadEscape { part })?);
    }
    Ok(decoded)
}

fn escaped(bytes: &[u8]) -> String {
    let one = |&byte: &u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    bytes.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> DatabaseUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn message(text: &str) -> String {
        match text.parse::<DatabaseUrl>() {
            Ok(url) => panic!("{text} was taken as {url}"),
            Err(error) => error.to_string(),
        }
    }

    fn tcp(name: &str, port: u16) -> Host {
        Host {
            place: Place::Tcp(name.to_owned()),
            address: None,
            port,
        }
    }

    #[test]
    fn a_full_url_and_a_list_of_keys_mean_the_same() {
        let url = parsed("postgresql://ada:s%20%27c@db.example:6432/log?sslmode=require&connect_timeout=7");
        let list = parsed(
            r"host=db.example port = 6432 user=ada password='s \'c' dbname=log sslmode=require connect_timeout=7",
        );
        assert_eq!(url, list);
        assert!(url == list && url.password.as_deref() == Some("s 'c"));
        assert_eq!(url.hosts(), [tcp("db.example", 6432)]);
        assert_eq!(url.connect_timeout(), Some(Duration::from_secs(7)));
        assert_eq!(url.tls().mode, SslMode::Require);
    }

    #[test]
    fn what_is_not_given_has_a_sane_default() {
        let url = parsed("postgres://db/log");
        let config = url.config(&url.hosts()[0], Negotiation::Prefer);
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(5)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(10));
        assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(5)));
        assert_eq!(config.get_keepalives_retries(), Some(3));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(15)));
        assert_eq!(config.get_application_name(), Some("dropcron"));
        assert_eq!(config.get_ports(), [5432]);
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn units_and_zeros_are_those_of_libpq() {
        let url = parsed("postgres://db/log?tcp_user_timeout=2500&connect_timeout=0&keepalives=0");
        let config = url.config(&url.hosts()[0], Negotiation::Prefer);
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(2500)));
        assert_eq!(config.get_connect_timeout(), None);
        assert!(!config.get_keepalives());
    }

    #[test]
    fn several_hosts_look_for_the_one_that_can_be_written() {
        let url = parsed("postgres://a:1,b,[::1]:3/log");
        assert_eq!(url.hosts(), [tcp("a", 1), tcp("b", 5432), tcp("::1", 3)]);
        let config = url.config(&url.hosts()[1], Negotiation::Prefer);
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert!(!parsed("postgres://a,b/log?target_session_attrs=any").needs_writable);
    }

    #[test]
    fn socket_directories_come_escaped_or_as_a_key() {
        let unix = Host {
            place: Place::Unix(PathBuf::from("/run/my sql")),
            address: None,
            port: 5432,
        };
        assert_eq!(
            parsed("postgres://ada@%2Frun%2Fmy%20sql/log").hosts(),
            std::slice::from_ref(&unix)
        );
        assert_eq!(
            parsed("postgres:///log?host=/run/my%20sql").hosts(),
            std::slice::from_ref(&unix)
        );
        assert_eq!(
            parsed("host='/run/my sql' dbname=log").hosts(),
            std::slice::from_ref(&unix)
        );
        let url = parsed("postgres://ada@%2Frun%2Fmy%20sql/log?sslmode=verify-full");
        assert_eq!(
            url.config(&unix, Negotiation::Require).get_ssl_mode(),
            Negotiation::Disable
        );
    }

    #[test]
    fn no_host_means_a_local_socket() {
        assert!(matches!(parsed("postgres:///log").hosts()[0].place, Place::Unix(_)));
        assert!(matches!(parsed("dbname=log").hosts()[0].place, Place::Unix(_)));
    }

    #[test]
    fn an_address_takes_the_place_of_a_look_up() {
        let url = parsed("postgres://db.example/log?hostaddr=10.0.0.7&sslmode=verify-full");
        assert_eq!(url.hosts()[0].address, Some(IpAddr::from([10, 0, 0, 7])));
        assert_eq!(url.hosts()[0].place, Place::Tcp("db.example".to_owned()));
    }

    #[test]
    fn the_modes_verify_what_libpq_verifies() {
        let verification = |query: &str| parsed(&format!("postgres://db/log?{query}")).tls().verification();
        assert_eq!(verification(""), Verification::Nothing);
        assert_eq!(verification("sslmode=require"), Verification::Nothing);
        assert_eq!(verification("ssl=true"), Verification::Nothing);
        assert_eq!(verification("sslmode=require&sslrootcert=/ca"), Verification::Chain);
        assert_eq!(verification("sslmode=verify-ca&sslrootcert=/ca"), Verification::Chain);
        assert_eq!(verification("sslmode=verify-full"), Verification::ChainAndName);
        assert_eq!(verification("sslrootcert=system"), Verification::ChainAndName);
    }

    #[test]
    fn contradictions_are_refused() {
        for query in [
            "sslmode=verify-ca",
            "sslmode=require&sslrootcert=system",
            "sslcert=/c",
            "sslkey=/k",
            "sslnegotiation=direct",
        ] {
            assert!(
                message(&format!("postgres://db/log?{query}")).contains("contradicts itself"),
                "{query}"
            );
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_write() {
        for (text, expected) in [
            ("", "is empty"),
            ("mysql://u:secret@db/log", "begins with `mysql://`; write `postgres://`"),
            (
                "postgresql+psycopg2://u:secret@db/log",
                "begins with `postgresql+psycopg2://`",
            ),
            ("postgres", "neither"),
            ("postgres://u:secret@db", "names no database"),
            ("postgres://u:secret@db/", "names no database"),
            ("postgres://u:secret@db:port/log", "not a number from 1 to 65535"),
            ("postgres://u:secret@db:70000/log", "not a number from 1 to 65535"),
            (
                "postgres://u:secret@a,b/log?port=1,2,3",
                "gives 2 hosts and 3 of `port`",
            ),
            (
                "postgres://u:secret@db/log?sslmode=on",
                "`sslmode` in the database URL is `on`",
            ),
            ("postgres://u:secret@db/log?connect_timeout=5s", "a whole number"),
            ("postgres://u:secret@db/log?sslmod=require", "did you mean `sslmode`?"),
            ("postgres://u:secret@db/log?service=main", "does not support `service`"),
            ("postgres://u:secret@db/log?keepalives_retries=3", "`keepalives_count`"),
            (
                "postgres://u:secret@db/log?target_session_attrs=standby",
                "because dropcron writes",
            ),
            ("postgres://u:secret@db/log?hostaddr=db", "an IP address"),
            (
                "postgres://u:secret%zz@db/log",
                "the password of the database URL is not well escaped",
            ),
            ("postgres://u:secret%ff@db/log", "not well escaped"),
        ] {
            let message = message(text);
            assert!(message.contains(expected), "{text}: {message}");
            assert!(!message.contains("secret"), "{text}: {message}");
        }
    }

    #[test]
    fn no_half_of_a_password_is_ever_shown() {
        for text in [
            "postgres://u:sec@ret@db/log",
            "postgres://u:sec/ret@db/log",
            "postgres://u:sec?ret@db/log",
            "postgres://u:sec#ret",
            "postgres://u:sec:ret@db:ret/log",
            "postgres://db/log?password=sec&ret=1",
            "host=db dbname=log password=sec ret",
            "host=db dbname=log password=sec ret=1",
            "host=db dbname=log password='sec ret",
        ] {
            let message = message(text);
            assert!(
                !message.contains("sec") && !message.contains("ret"),
                "{text}: {message}"
            );
        }
    }

    #[test]
    fn neither_display_nor_debug_shows_the_password() {
        let url = parsed("postgres://ada:secret@a,b:7/log?options=-c%20x=secret");
        assert_eq!(url.redacted(), "postgres://ada@a:5432,b:7/log?sslmode=prefer");
        assert_eq!(
            format!("{url:?}"),
            "DatabaseUrl(postgres://ada@a:5432,b:7/log?sslmode=prefer)"
        );
    }

    #[test]
    fn every_known_key_is_understood_or_refused_by_name() {
        for key in KEYS {
            let error = parameters_of_query(&format!("{key}=")).and_then(Draft::of).err();
            assert!(!matches!(error, Some(UrlError::UnknownKey { .. })), "{key}");
        }
    }
}
