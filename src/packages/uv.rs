//! The program uv: finding it, and having it resolve and install.
//!
//! Owns its command lines, what it may see of our environment, and the log of what it says. It runs under a keeper like a script does: it
//! ends with dropcron, with everything it started, and when its time is over.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use serde::Deserialize;

use crate::executor::{Executor, Held, HeldEnd, Interpreter, converse};

/// Without a word in this time uv hangs; it is asked for nothing that takes long here.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is kept of what uv and the builds under it say.
const LOG_BYTES: usize = 64 * 1024;

/// Where what is wrong is said, it is said in so many lines at most.
const WORDS_LINES: usize = 30;

/// What uv sees of our environment, beside everything that is named `UV_` or is a proxy's.
const PASSED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSL_CLIENT_CERT",
    "NETRC",
    "GIT_SSH_COMMAND",
    "SSH_AUTH_SOCK",
    "RUST_LOG",
];
const PROXIES: &[&str] = &["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// What keeps uv from being used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UvError {
    /// It is not there.
    #[error(
        "its packages are installed by uv, which was not found on PATH; install it (`pip install uv`, or see \
         docs.astral.sh/uv), or name it by `DROPCRON_UV`"
    )]
    NotFound,
    /// What `DROPCRON_UV` names is not there.
    #[error("`DROPCRON_UV` is `{name}`, and there is no such program; give a path, or a name that is on PATH")]
    NotThere {
        /// What was given.
        name: String,
    },
    /// It cannot be started.
    #[error("`{}` could not be started: {problem}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// It says what is wrong.
    #[error("{words}")]
    Refused {
        /// Its own words, without credentials.
        words: String,
    },
    /// It did not come to an end.
    #[error(
        "`uv {step}` was not done after {} s (`DROPCRON_BUILD_TIMEOUT`), and was stopped{said}",
        limit.as_secs()
    )]
    TimedOut {
        /// What it was at.
        step: &'static str,
        /// How long it had.
        limit: Duration,
        /// The last that it said, as the end of a sentence; may be empty.
        said: String,
    },
}

/// How uv is to work.
#[derive(Clone, Debug)]
pub struct UvSettings {
    /// Nothing is built from source: no code of a package runs before its script does.
    pub only_binary: bool,
    /// uv may fetch interpreters.
    pub python_downloads: bool,
    /// How long one resolution, or one installation, may take.
    pub time_limit: Duration,
    /// Where uv keeps what it has fetched, unless `UV_CACHE_DIR` says otherwise; on the file system of the environments.
    pub cache: PathBuf,
    /// Where it puts interpreters.
    pub pythons: PathBuf,
}

/// The program.
#[derive(Clone)]
pub struct Uv {
    path: PathBuf,
    settings: UvSettings,
    environment: Vec<(OsString, OsString)>,
    executor: Executor,
}

/// What is said while an environment comes about; others may read it meanwhile.
#[derive(Default)]
pub struct Log {
    said: Mutex<Said>,
    /// Whether it also goes to standard error, for somebody in a terminal.
    echoes: bool,
}

#[derive(Default)]
struct Said {
    text: String,
    /// The end of a line is not there yet: a credential in it would not be recognized.
    unfinished: Vec<u8>,
}

impl Log {
    /// One that somebody in a terminal sees.
    pub fn echoing() -> Log {
        Log {
            echoes: true,
            ..Log::default()
        }
    }

    /// All whole lines so far, without credentials; of a long log the end.
    pub fn text(&self) -> String {
        self.said().text.clone()
    }

    /// Adds a line of our own.
    pub fn line(&self, line: &str) {
        self.push(format!("{line}\n").as_bytes());
    }

    fn push(&self, bytes: &[u8]) {
        let mut said = self.said();
        said.unfinished.extend_from_slice(bytes);
        let Some(end) = said.unfinished.iter().rposition(|byte| *byte == b'\n') else {
            if said.unfinished.len() > LOG_BYTES {
                said.unfinished.clear();
            }
            return;
        };
        let rest = said.unfinished.split_off(end + 1);
        let lines = std::mem::replace(&mut said.unfinished, rest);
        let lines = hide_credentials(&String::from_utf8_lossy(&lines));
        if self.echoes {
            // A terminal that is gone does not concern what is being made.
            let _ = io::stderr().write_all(lines.as_bytes());
        }
        said.text.push_str(&lines);
        if said.text.len() > LOG_BYTES {
            let mut from = said.text.len() - LOG_BYTES;
            while !said.text.is_char_boundary(from) {
                from += 1;
            }
            said.text = format!("[dropcron: the beginning was left out]\n{}", &said.text[from..]);
        }
    }

    fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().expect("no holder of this lock can panic")
    }
}

impl Uv {
    /// The program that `explicit` names, else the one on `search_path`. `variable` reads our environment, `variables` are all of it.
    pub fn find(
        explicit: Option<&OsStr>,
        search_path: Option<&OsStr>,
        variables: impl Iterator<Item = (OsString, OsString)>,
        settings: UvSettings,
        executor: Executor,
    ) -> Result<Uv, UvError> {
        let name = explicit.unwrap_or(OsStr::new("uv"));
        let path = which::which_in(name, search_path, "/").map_err(|_| match explicit {
            Some(name) => UvError::NotThere {
                name: name.to_string_lossy().into_owned(),
            },
            None => UvError::NotFound,
        })?;
        let environment = environment(variables, &settings);
        Ok(Uv {
            path,
            settings,
            environment,
            executor,
        })
    }

    /// The program.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How long one step may take.
    pub fn time_limit(&self) -> Duration {
        self.settings.time_limit
    }

    /// The interpreters that it finds installed.
    pub fn interpreters(&self) -> Result<Vec<PathBuf>, UvError> {
        #[derive(Deserialize)]
        struct Listed {
            path: Option<PathBuf>,
        }
        let mut command = Command::new(&self.path);
        command
            .args(["python", "list", "--only-installed", "--output-format", "json"])
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir("/");
        let failed = |problem: String| UvError::Start {
            path: self.path.clone(),
            problem,
        };
        let answer =
            converse(&mut command, b"", PATIENCE, 16 * 1024 * 1024).map_err(|error| failed(error.to_string()))?;
        let listed: Vec<Listed> = serde_json::from_slice(&answer.output).map_err(|error| failed(error.to_string()))?;
        Ok(listed.into_iter().filter_map(|listed| listed.path).collect())
    }

    /// Fetches an interpreter, if that is allowed; whether it is.
    pub async fn fetch_python(&self, requires_python: &str, log: &Log) -> Result<bool, UvError> {
        if !self.settings.python_downloads {
            return Ok(false);
        }
        self.run(
            "python install",
            &["python", "install", requires_python].map(Into::into),
            Path::new("/"),
            log,
        )
        .await?;
        Ok(true)
    }

    /// Finds versions of everything that the file `requirements` asks for, and writes them to `lock`. Versions that stand there
    /// already are kept where they still fit, unless `upgrade`.
    pub async fn resolve(
        &self,
        requirements: &Path,
        interpreter: &Interpreter,
        lock: &Path,
        upgrade: bool,
        log: &Log,
    ) -> Result<(), UvError> {
        let mut line: Vec<OsString> = vec!["pip".into(), "compile".into(), requirements.into()];
        line.extend(["--output-file".into(), lock.into()]);
        line.extend(["--python".into(), interpreter.path.clone().into()]);
        let (major, minor, _) = interpreter.version_info;
        line.extend(["--python-version".into(), format!("{major}.{minor}").into()]);
        line.extend(
            [
                "--universal",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
                "--quiet",
            ]
            .map(Into::into),
        );
        if upgrade {
            line.push("--upgrade".into());
        }
        self.may_build(&mut line);
        let directory = requirements.parent().unwrap_or(Path::new("/"));
        self.run("pip compile", &line, directory, log).await
    }

    /// Makes an environment at `path`, with what `lock` names. `hashed`: each file must be one that the lock knows.
    pub async fn install(
        &self,
        path: &Path,
        interpreter: &Interpreter,
        lock: &Path,
        hashed: bool,
        log: &Log,
    ) -> Result<(), UvError> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        let mut line: Vec<OsString> = ["venv", "--quiet", "--relocatable", "--no-project", "--python"]
            .map(Into::into)
            .to_vec();
        line.extend([interpreter.path.clone().into(), path.into()]);
        self.run("venv", &line, directory, log).await?;
        let mut line: Vec<OsString> = vec!["pip".into(), "sync".into(), lock.into()];
        line.extend([
            "--python".into(),
            path.join("bin/python").into(),
            "--no-progress".into(),
        ]);
        line.push(if hashed { "--require-hashes" } else { "--verify-hashes" }.into());
        self.may_build(&mut line);
        self.run("pip sync", &line, directory, log).await
    }

    /// Removes from uv's cache what no environment needs.
    pub async fn tidy(&self, log: &Log) -> Result<(), UvError> {
        self.run(
            "cache prune",
            &["cache", "prune", "--quiet"].map(Into::into),
            Path::new("/"),
            log,
        )
        .await
    }

    fn may_build(&self, line: &mut Vec<OsString>) {
        if self.settings.only_binary {
            line.push("--no-build".into());
        }
    }

    async fn run(&self, step: &'static str, line: &[OsString], directory: &Path, log: &Log) -> Result<(), UvError> {
        let mut heard = Vec::new();
        let held = Held {
            program: self.path.clone().into(),
            arguments: line.to_vec(),
            environment: self.environment.clone(),
            directory: directory.to_path_buf(),
            identity: None,
            patience: self.settings.time_limit,
        };
        let ended = self.executor.hold(held, |bytes| {
            log.push(bytes);
            heard.extend_from_slice(bytes);
        });
        let start_failed = |problem: String| UvError::Start {
            path: self.path.clone(),
            problem,
        };
        let ended = ended
            .await
            .map_err(|error: io::Error| start_failed(error.to_string()))?;
        let words = words(&heard);
        match ended {
            HeldEnd::Exited { code: Some(0) } => Ok(()),
            HeldEnd::Exited { .. } if !words.is_empty() => Err(UvError::Refused { words }),
            HeldEnd::Exited { code } => Err(UvError::Refused {
                words: match code {
                    Some(code) => format!("`uv {step}` ended with exit code {code}, and said nothing"),
                    None => format!("`uv {step}` was ended by a signal, and said nothing"),
                },
            }),
            HeldEnd::NotStarted { problem } => Err(start_failed(problem)),
            HeldEnd::OutOfTime => {
                log.line(&format!(
                    "[dropcron: stopped after {} s]",
                    self.settings.time_limit.as_secs()
                ));
                let last = words.lines().next_back().unwrap_or_default().trim();
                Err(UvError::TimedOut {
                    step,
                    limit: self.settings.time_limit,
                    said: if last.is_empty() {
                        String::new()
                    } else {
                        format!("; it last said: {last}")
                    },
                })
            }
        }
    }
}

/// What uv sees. Nothing of a script's secrets, and nothing of the database.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
    settings: &UvSettings,
) -> Vec<(OsString, OsString)> {
    let is_passed = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("UV_")
            || PASSED.contains(&name.as_ref())
            || PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy))
    };
    let mut passed: Vec<(OsString, OsString)> = variables.filter(|(name, _)| is_passed(name)).collect();
    let mut set = |name: &str, value: OsString, is_ours: bool| {
        let known = passed.iter().position(|(known, _)| known == name);
        match known {
            Some(at) if is_ours => passed[at].1 = value,
            Some(_) => {}
            None => passed.push((name.into(), value)),
        }
    };
    set("UV_CACHE_DIR", settings.cache.clone().into(), false);
    set("UV_PYTHON_INSTALL_DIR", settings.pythons.clone().into(), false);
    let downloads = if settings.python_downloads { "manual" } else { "never" };
    set("UV_PYTHON_DOWNLOADS", downloads.into(), true);
    // A terminal's colours and moving bars have no place in a log.
    set("NO_COLOR", "1".into(), true);
    set("UV_NO_PROGRESS", "1".into(), true);
    passed
}

/// The end of what was said, as an error message.
fn words(heard: &[u8]) -> String {
    let text = hide_credentials(&String::from_utf8_lossy(heard));
    let lines: Vec<&str> = text.trim().lines().map(str::trim_end).collect();
    let from = lines.len().saturating_sub(WORDS_LINES);
    lines[from..].join("\n")
}

/// `https://user:password@host` without what stands before the `@`.
fn hide_credentials(text: &str) -> String {
    let mut hidden = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(found) = rest.find("://") {
        let (before, after) = rest.split_at(found + 3);
        hidden.push_str(before);
        let authority_end = after
            .find(|character: char| {
                matches!(character, '/' | '?' | '#' | '"' | '`' | '\'') || character.is_whitespace()
            })
            .unwrap_or(after.len());
        let (authority, tail) = after.split_at(authority_end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                hidden.push_str("***@");
                hidden.push_str(host);
            }
            None => hidden.push_str(authority),
        }
        rest = tail;
    }
    hidden.push_str(rest);
    hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_hidden_wherever_they_stand() {
        assert_eq!(
            hide_credentials("from `https://me:pa@ss@host:8/simple` and http://t0ken@h/ but not https://h/a@b"),
            "from `https://***@host:8/simple` and http://***@h/ but not https://h/a@b"
        );
    }

    #[test]
    fn a_credential_that_comes_in_two_pieces_is_hidden() {
        let log = Log::default();
        log.push(b"reading https://me:sec");
        assert_eq!(log.text(), "");
        log.push(b"ret@host/simple\n");
        assert_eq!(log.text(), "reading https://***@host/simple\n");
    }

    #[test]
    fn a_long_log_keeps_its_end() {
        let log = Log::default();
        for number in 0..20_000 {
            log.line(&format!("line {number} é"));
        }
        let text = log.text();
        assert!(text.len() < LOG_BYTES + 100 && text.ends_with("line 19999 é\n"));
        assert!(text.starts_with("[dropcron: the beginning was left out]"));
    }

    #[test]
    fn uv_sees_its_own_settings_and_nothing_of_ours() {
        let settings = UvSettings {
            only_binary: false,
            python_downloads: false,
            time_limit: Duration::from_secs(1),
            cache: "/data/uv-cache".into(),
            pythons: "/data/pythons".into(),
        };
        let variables = [
            ("DATABASE_URL", "postgres://secret"),
            ("UV_INDEX_URL", "https://mirror"),
            ("UV_PYTHON_DOWNLOADS", "automatic"),
            ("https_proxy", "http://proxy"),
            ("API_KEY", "secret"),
        ];
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        let seen = environment(variables, &settings);
        let value = |name: &str| {
            seen.iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(value("UV_INDEX_URL"), Some("https://mirror".into()));
        assert_eq!(value("https_proxy"), Some("http://proxy".into()));
        assert_eq!(value("UV_PYTHON_DOWNLOADS"), Some("never".into()));
        assert_eq!(value("UV_CACHE_DIR"), Some("/data/uv-cache".into()));
        assert_eq!((value("DATABASE_URL"), value("API_KEY")), (None, None));
    }
}
