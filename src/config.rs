//! Configuration: environment variables, read once, checked, turned into values that cannot be wrong.
//!
//! Flags of the command line come before variables, variables before what the service of the data directory noted, that before
//! defaults.

mod service_note;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::schedule::{Schedule, parse_duration};
use crate::size::{format_size, parse_size};

pub use service_note::{NotedDatabase, ServiceNote};

/// A variable that this program reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Its default, in words.
    pub default: &'static str,
    /// What it says, in one sentence.
    pub meaning: &'static str,
}

/// Every variable, in the order of the documentation.
pub const VARIABLES: &[Variable] = &[
    variable(
        "DATABASE_URL",
        "a private Postgres",
        "Postgres to use; `DROPCRON_DATABASE_URL` comes before it",
    ),
    variable(
        "DROPCRON_DIRECT_DATABASE_URL",
        "DATABASE_URL",
        "The same Postgres without the pooler in between, for LISTEN and migrations",
    ),
    variable("DROPCRON_SCRIPTS_DIR", "./scripts", "Directory of scripts"),
    variable(
        "DROPCRON_DATA_DIR",
        "/var/lib/dropcron for root, else $XDG_DATA_HOME/dropcron",
        "Private Postgres, journal, script versions",
    ),
    variable("DROPCRON_TIMEZONE", "UTC", "Zone of schedules whose header names none"),
    variable(
        "DROPCRON_PYTHON",
        "the newest python3 on PATH",
        "Interpreter of the scripts",
    ),
    variable(
        "DROPCRON_UV",
        "uv on PATH",
        "The program uv, which installs the packages that scripts ask for",
    ),
    variable(
        "DROPCRON_ONLY_BINARY",
        "0; 1 with DROPCRON_RUN_AS",
        "`1` installs wheels only: no package's code runs while it is installed",
    ),
    variable(
        "DROPCRON_PYTHON_DOWNLOADS",
        "0",
        "`1` lets uv fetch an interpreter where no installed one fits a script",
    ),
    variable(
        "DROPCRON_BUILD_TIMEOUT",
        "15m",
        "How long resolving, or installing, the packages of a script may take",
    ),
    variable(
        "DROPCRON_DEFAULT_TIMEOUT",
        "24h",
        "Time limit of tasks whose header names none; `none` turns it off",
    ),
    variable("DROPCRON_MAX_RUNNING", "32", "Scripts that one node runs at once"),
    variable(
        "DROPCRON_MAX_BOOTING",
        "cores + 1",
        "Interpreters that one node starts at once",
    ),
    variable(
        "DROPCRON_MAX_EARLY",
        "32",
        "Interpreters that wait, started ahead of their instant",
    ),
    variable(
        "DROPCRON_QUEUES",
        "default",
        "Queues that this node serves, separated by commas",
    ),
    variable(
        "DROPCRON_TAGS",
        "none",
        "Tags that this node offers, separated by commas",
    ),
    variable(
        "DROPCRON_SECRETS_DIR",
        "none",
        "Directory of secrets: one file each, given to the tasks that name it, masked in what they say",
    ),
    variable(
        "DROPCRON_RUN_AS",
        "the user that dropcron runs as",
        "User that scripts run as; takes root, or capabilities on the program",
    ),
    variable(
        "DROPCRON_CGROUP",
        "the control group that dropcron was given",
        "Directory of a cgroup v2 hierarchy in which each run gets a group of its own; `none` turns it off",
    ),
    variable(
        "DROPCRON_OUTPUT_HEAD",
        "1MiB",
        "How much of each run's output is kept from its beginning; at most 1GiB",
    ),
    variable(
        "DROPCRON_OUTPUT_TAIL",
        "256KiB",
        "How much is kept from its end, where the output is longer than that; at most 16MiB",
    ),
    variable(
        "DROPCRON_KEEP_OUTPUT",
        "30d",
        "How long what runs print is kept; `none` keeps it for ever",
    ),
    variable(
        "DROPCRON_KEEP_RUNS",
        "400d",
        "How long rows of the run log are kept; `none` keeps them for ever",
    ),
    variable(
        "DROPCRON_NOTIFY_FILE",
        "none",
        "File of channels that are told when tasks fail, recover, miss instants or are late",
    ),
    variable(
        "DROPCRON_SHUTDOWN_GRACE",
        "30s",
        "How long running scripts may go on after SIGTERM",
    ),
    variable(
        "DROPCRON_CONNECT_PATIENCE",
        "1m",
        "How long `serve` tries to reach its database at the start before it gives up",
    ),
    variable(
        "DROPCRON_SCAN_INTERVAL",
        "5s",
        "Pause between scans of the scripts directory; changes are noticed earlier where the file system says so",
    ),
    variable(
        "DROPCRON_LEASE",
        "30s",
        "How long other nodes wait for this one's heartbeat before they give its runs up as lost; at least 2s",
    ),
    variable(
        "DROPCRON_LISTEN",
        "127.0.0.1:8642",
        "Address and port of the API and the page; port 0 takes a free one, `none` turns both off",
    ),
    variable(
        "DROPCRON_HOSTS",
        "none",
        "Names under which the API may be called besides `localhost` and addresses, by any port, separated by commas",
    ),
    variable(
        "DROPCRON_BASE_PATH",
        "none",
        "Path below which a proxy serves the page and the API, such as `/tools/cron`, where the proxy passes it on",
    ),
    variable(
        "DROPCRON_TOKEN_FILE",
        "none",
        "File with a token of at least 32 characters that `serve` puts in force with the role `admin`, for containers",
    ),
    variable(
        "DROPCRON_SERVER",
        "none",
        "URL of a `dropcron serve` elsewhere that commands talk to; `--server` comes before it",
    ),
    variable(
        "DROPCRON_TOKEN",
        "none",
        "Token that commands bring to that server; `--token-file` comes before it",
    ),
    variable("DROPCRON_LOG_FORMAT", "text", "`text` or `json`"),
    variable(
        "DROPCRON_LOG",
        "info for `serve`, else warn",
        "Which log lines: `error`, `warn`, `info`, `debug`, or filters as tracing-subscriber reads them",
    ),
];

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// What is wrong with the configuration.
#[derive(Debug, thiserror::Error)]
#[error("`{name}` is `{value}`: {problem}")]
pub struct ConfigError {
    /// The variable.
    pub name: &'static str,
    /// What it says.
    pub value: String,
    /// What is wrong with that, and what to write.
    pub problem: String,
}

/// The environment as it was at the start: read once, so that nothing changes underneath.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Of this process.
    pub fn of_process() -> Environment {
        Environment(std::env::vars_os().collect())
    }

    /// A variable that is set and not empty.
    pub fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name)).filter(|value| !value.is_empty())
    }

    /// Gives a variable a value, whatever it was before.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    fn set_default(&mut self, name: &str, value: &str) {
        if self.get(name).is_none() {
            self.set(name, value);
        }
    }

    /// All variables.
    pub fn variables(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.0.iter().map(|(name, value)| (name.clone(), value.clone()))
    }

    fn text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        value.clone().into_string().map(Some).map_err(|value| ConfigError {
            name,
            value: value.to_string_lossy().into_owned(),
            problem: "it is not UTF-8".to_owned(),
        })
    }
}

/// How this process is to work.
#[derive(Clone, Debug)]
pub struct Config {
    /// What scripts may see by name.
    pub environment: Environment,
    /// Where the scripts are; absolute.
    pub scripts_directory: PathBuf,
    /// Where the private Postgres, the journal and script versions are; absolute.
    pub data_directory: PathBuf,
    /// Postgres to use; none: a private one.
    pub database_url: Option<String>,
    /// The same without a pooler.
    pub direct_database_url: Option<String>,
    /// Zone of schedules that name none.
    pub timezone: String,
    /// Interpreter of the scripts; none: the newest on PATH.
    pub python: Option<OsString>,
    /// The program uv; none: the one on PATH.
    pub uv: Option<OsString>,
    /// Nothing is built from source.
    pub only_binary: bool,
    /// uv may fetch interpreters.
    pub python_downloads: bool,
    /// How long one step of making an environment may take.
    pub build_timeout: Duration,
    /// Where secrets are.
    pub secrets_directory: Option<PathBuf>,
    /// User that scripts run as, if not as this process does.
    pub run_as: Option<String>,
    /// Where runs get control groups.
    pub control_groups: ControlGroupPlace,
    /// Where the channels of notifications are.
    pub notify_file: Option<PathBuf>,
    /// Time limit of tasks that name none; none: no limit.
    pub default_timeout: Option<Duration>,
    /// How much of a run's output is kept.
    pub output: KeptOutput,
    /// How long what runs print is kept; none: for ever.
    pub keep_output: Option<Duration>,
    /// How long rows of the run log are kept; none: for ever.
    pub keep_runs: Option<Duration>,
    /// Permits of this node.
    pub capacity: Capacity,
    /// Queues that it serves.
    pub queues: Vec<String>,
    /// Tags that it offers.
    pub tags: Vec<String>,
    /// How long running scripts may go on after SIGTERM.
    pub shutdown_grace: Duration,
    /// How long a service tries to reach its database at the start.
    pub connect_patience: Duration,
    /// Pause between scans.
    pub scan_interval: Duration,
    /// How long this node is believed to live without a heartbeat.
    pub lease: Duration,
    /// Where the API listens; none: nowhere.
    pub listen: Option<Listen>,
    /// Names under which the API may be called, in small letters.
    pub hosts: Vec<String>,
    /// The path below which a proxy serves the API, without a `/` at its end; empty: none.
    pub base_path: String,
    /// A file with a token that is to be in force.
    pub token_file: Option<PathBuf>,
    /// The URL of a service elsewhere that commands talk to.
    pub server: Option<String>,
    /// The token that they bring.
    pub token: Option<String>,
    /// Of a command: what the service of its data directory noted.
    pub service: Option<ServiceNote>,
    /// `run_as` is what that service noted, and nobody else has said so.
    pub is_run_as_noted: bool,
}

/// Where the API listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// Whether somebody has said so: then it must be had.
    pub is_configured: bool,
}

/// Where runs get control groups of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlGroupPlace {
    /// Where this process was given one.
    Delegated,
    /// In this directory; absolute.
    Directory(PathBuf),
    /// Nowhere.
    Nowhere,
}

/// How much of a run's output is kept, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptOutput {
    /// From its beginning.
    pub head: usize,
    /// From its end, where the output is longer than that.
    pub tail: usize,
}

/// How much one node takes on at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Scripts that run.
    pub running: usize,
    /// Interpreters that boot.
    pub booting: usize,
    /// Interpreters that wait for their instant.
    pub early: usize,
}

impl Config {
    /// Reads the configuration. `scripts_directory` and `data_directory` are what flags say.
    pub fn read(
        environment: Environment,
        scripts_directory: Option<&Path>,
        data_directory: Option<&Path>,
    ) -> Result<Config, ConfigError> {
        let data_directory = data_directory_of(&environment, data_directory);
        let scripts_directory = named_directory(&environment, scripts_directory, "DROPCRON_SCRIPTS_DIR")
            .unwrap_or_else(|| PathBuf::from("scripts"));
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Ok(Config {
            scripts_directory: absolute(&scripts_directory),
            data_directory: absolute(&data_directory),
            database_url: match environment.text("DROPCRON_DATABASE_URL")? {
                Some(url) => Some(url),
                None => environment.text("DATABASE_URL")?,
            },
            direct_database_url: environment.text("DROPCRON_DIRECT_DATABASE_URL")?,
            timezone: timezone(&environment)?,
            python: environment.get("DROPCRON_PYTHON").cloned(),
            uv: environment.get("DROPCRON_UV").cloned(),
            // What is built as this user could do what this user can, which is what scripts are kept from.
            only_binary: switch(
                &environment,
                "DROPCRON_ONLY_BINARY",
                environment.get("DROPCRON_RUN_AS").is_some(),
            )?,
            python_downloads: switch(&environment, "DROPCRON_PYTHON_DOWNLOADS", false)?,
            build_timeout: duration(&environment, "DROPCRON_BUILD_TIMEOUT", Duration::from_secs(15 * 60))?,
            secrets_directory: environment
                .get("DROPCRON_SECRETS_DIR")
                .map(|path| absolute(Path::new(path))),
            run_as: environment.text("DROPCRON_RUN_AS")?,
            control_groups: control_groups(&environment),
            notify_file: environment
                .get("DROPCRON_NOTIFY_FILE")
                .map(|path| absolute(Path::new(path))),
            default_timeout: default_timeout(&environment)?,
            output: KeptOutput {
                head: size(&environment, "DROPCRON_OUTPUT_HEAD", 1 << 20, 1 << 30)?,
                // Each run holds as much in memory.
                tail: size(&environment, "DROPCRON_OUTPUT_TAIL", 256 << 10, 16 << 20)?,
            },
            keep_output: kept_for(&environment, "DROPCRON_KEEP_OUTPUT", 30)?,
            keep_runs: kept_for(&environment, "DROPCRON_KEEP_RUNS", 400)?,
            capacity: Capacity {
                running: count(&environment, "DROPCRON_MAX_RUNNING", 32)?,
                booting: count(&environment, "DROPCRON_MAX_BOOTING", cores + 1)?,
                early: count(&environment, "DROPCRON_MAX_EARLY", 32)?,
            },
            queues: list(&environment, "DROPCRON_QUEUES")?.unwrap_or_else(|| vec!["default".to_owned()]),
            tags: list(&environment, "DROPCRON_TAGS")?.unwrap_or_default(),
            shutdown_grace: duration(&environment, "DROPCRON_SHUTDOWN_GRACE", Duration::from_secs(30))?,
            connect_patience: duration(&environment, "DROPCRON_CONNECT_PATIENCE", Duration::from_secs(60))?,
            scan_interval: duration(&environment, "DROPCRON_SCAN_INTERVAL", Duration::from_secs(5))?,
            lease: lease(&environment)?,
            listen: listen(&environment)?,
            hosts: hosts(&environment)?,
            base_path: base_path(&environment)?,
            token_file: environment
                .get("DROPCRON_TOKEN_FILE")
                .map(|path| absolute(Path::new(path))),
            server: environment.text("DROPCRON_SERVER")?,
            token: environment.text("DROPCRON_TOKEN")?,
            service: None,
            is_run_as_noted: false,
            environment,
        })
    }

    /// The same for a command beside a service: what it was not told is as the service of its data directory has it.
    pub fn read_beside_service(
        environment: Environment,
        scripts_directory: Option<&Path>,
        data_directory: Option<&Path>,
    ) -> Result<Config, ConfigError> {
        let place = data_directory_of(&environment, data_directory);
        let note = ServiceNote::read(&place).map_err(|error| ConfigError {
            name: "DROPCRON_DATA_DIR",
            value: place.display().to_string(),
            problem: format!(
                "what its service has noted in `{}` cannot be read: {error}; start the service again, or remove that file",
                ServiceNote::file(&place).display()
            ),
        })?;
        let Some(note) = note else {
            return Config::read(environment, scripts_directory, data_directory);
        };
        let is_run_as_noted = environment.get("DROPCRON_RUN_AS").is_none();
        let config = Config::read(note.complete(environment), scripts_directory, data_directory)?;
        Ok(Config {
            is_run_as_noted: is_run_as_noted && config.run_as.is_some(),
            service: Some(note),
            ..config
        })
    }
}

fn named_directory(environment: &Environment, flag: Option<&Path>, name: &str) -> Option<PathBuf> {
    flag.map(Path::to_path_buf)
        .or_else(|| environment.get(name).map(PathBuf::from))
}

fn data_directory_of(environment: &Environment, flag: Option<&Path>) -> PathBuf {
    named_directory(environment, flag, "DROPCRON_DATA_DIR").unwrap_or_else(|| {
        let is_root = rustix::process::geteuid().is_root();
        crate::database::cluster::default_data_directory(is_root, |name| environment.get(name).cloned())
    })
}

fn switch(environment: &Environment, name: &'static str, default: bool) -> Result<bool, ConfigError> {
    match environment.text(name)?.as_deref() {
        None => Ok(default),
        Some("1") => Ok(true),
        Some("0") => Ok(false),
        Some(value) => Err(ConfigError {
            name,
            value: value.to_owned(),
            problem: "write `1` for yes, or `0` for no".to_owned(),
        }),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}

fn control_groups(environment: &Environment) -> ControlGroupPlace {
    match environment.get("DROPCRON_CGROUP") {
        None => ControlGroupPlace::Delegated,
        Some(word) if word == "none" => ControlGroupPlace::Nowhere,
        Some(path) => ControlGroupPlace::Directory(absolute(Path::new(path))),
    }
}

/// Names without their ports: what is asked for may come by any.
fn hosts(environment: &Environment) -> Result<Vec<String>, ConfigError> {
    let names = list(environment, "DROPCRON_HOSTS")?.unwrap_or_default();
    let name = |text: &String| {
        let (name, _) = text.split_once(':').unwrap_or((text, ""));
        name.trim_end_matches('.').to_lowercase()
    };
    Ok(names.iter().map(name).collect())
}

fn base_path(environment: &Environment) -> Result<String, ConfigError> {
    const NAME: &str = "DROPCRON_BASE_PATH";
    let Some(value) = environment.text(NAME)? else {
        return Ok(String::new());
    };
    let path = value.trim_end_matches('/');
    let is_of_path = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
    if !value.starts_with('/') || path.contains("//") || !path.chars().all(is_of_path) {
        return Err(ConfigError {
            name: NAME,
            problem: "it must be a path such as `/tools/cron`, of letters, digits, `-`, `.`, `_`, `~` and `/`"
                .to_owned(),
            value,
        });
    }
    Ok(path.to_owned())
}

fn listen(environment: &Environment) -> Result<Option<Listen>, ConfigError> {
    const NAME: &str = "DROPCRON_LISTEN";
    const DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8642);
    let Some(text) = environment.text(NAME)? else {
        return Ok(Some(Listen {
            address: DEFAULT,
            is_configured: false,
        }));
    };
    if text == "none" {
        return Ok(None);
    }
    match text.replacen("localhost:", "127.0.0.1:", 1).parse() {
        Ok(address) => Ok(Some(Listen {
            address,
            is_configured: true,
        })),
        Err(_) => Err(ConfigError {
            name: NAME,
            value: text,
            problem:
                "it must be an address and a port, such as `127.0.0.1:8642`, `0.0.0.0:80` or `[::]:8642`, or `none`"
                    .to_owned(),
        }),
    }
}

fn timezone(environment: &Environment) -> Result<String, ConfigError> {
    const NAME: &str = "DROPCRON_TIMEZONE";
    let Some(zone) = environment.text(NAME)? else {
        return Ok("UTC".to_owned());
    };
    match Schedule::parse(&["@daily"], &zone) {
        Ok(_) => Ok(zone),
        Err(error) => Err(ConfigError {
            name: NAME,
            value: zone,
            problem: error.to_string(),
        }),
    }
}

fn default_timeout(environment: &Environment) -> Result<Option<Duration>, ConfigError> {
    const NAME: &str = "DROPCRON_DEFAULT_TIMEOUT";
    match environment.text(NAME)?.as_deref() {
        Some("none") => Ok(None),
        _ => duration(environment, NAME, Duration::from_secs(24 * 3600)).map(Some),
    }
}

fn kept_for(environment: &Environment, name: &'static str, days: u64) -> Result<Option<Duration>, ConfigError> {
    match environment.text(name)?.as_deref() {
        Some("none" | "forever") => Ok(None),
        _ => duration(environment, name, Duration::from_secs(days * 24 * 3600)).map(Some),
    }
}

fn duration(environment: &Environment, name: &'static str, default: Duration) -> Result<Duration, ConfigError> {
    let Some(text) = environment.text(name)? else {
        return Ok(default);
    };
    match parse_duration(&text) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(ConfigError {
            name,
            value: text,
            problem: "it must be longer than nothing, for example `30s`".to_owned(),
        }),
        Err(error) => Err(ConfigError {
            name,
            value: text,
            problem: error.to_string(),
        }),
    }
}

fn size(environment: &Environment, name: &'static str, default: usize, most: usize) -> Result<usize, ConfigError> {
    let Some(text) = environment.text(name)? else {
        return Ok(default);
    };
    let problem = match parse_size(&text).map(usize::try_from) {
        Ok(Ok(size)) if size <= most => return Ok(size),
        Ok(_) => format!("it must be at most `{}`", format_size(most as u64)),
        Err(error) => error.to_string(),
    };
    Err(ConfigError {
        name,
        value: text,
        problem,
    })
}

fn lease(environment: &Environment) -> Result<Duration, ConfigError> {
    const NAME: &str = "DROPCRON_LEASE";
    // Below this a slow answer of the database would cost a healthy node its runs.
    const SHORTEST: Duration = Duration::from_secs(2);
    let lease = duration(environment, NAME, Duration::from_secs(30))?;
    if lease >= SHORTEST {
        return Ok(lease);
    }
    Err(ConfigError {
        name: NAME,
        value: environment.text(NAME)?.unwrap_or_default(),
        problem: "it must be `2s` or longer".to_owned(),
    })
}

fn count(environment: &Environment, name: &'static str, default: usize) -> Result<usize, ConfigError> {
    let Some(text) = environment.text(name)? else {
        return Ok(default);
    };
    match text.parse() {
        Ok(count) if (1..=10_000).contains(&count) => Ok(count),
        _ => Err(ConfigError {
            name,
            value: text,
            problem: "it must be a whole number from 1 to 10000".to_owned(),
        }),
    }
}

fn list(environment: &Environment, name: &'static str) -> Result<Option<Vec<String>>, ConfigError> {
    let Some(text) = environment.text(name)? else {
        return Ok(None);
    };
    let words: Vec<String> = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    if words.is_empty() {
        return Err(ConfigError {
            name,
            value: text,
            problem: "it names nothing; write words separated by commas, or leave it unset".to_owned(),
        });
    }
    Ok(Some(words))
}
