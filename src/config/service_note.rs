//! What `serve` notes in its data directory for the commands there: on which database it works, and how.
//!
//! A command beside a service sees neither its unit nor its container. What a variable does not say to it, the note says, so that
//! both work on one database and run scripts the same way. Passwords are never noted.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Config, Environment};
use crate::database::{DatabaseUrl, without_password};

/// Its file in the data directory.
const FILE: &str = "service.json";

/// Variables that hold for a command as they do for the service. Those of the database are looked at one by one.
const SHARED: [&str; 12] = [
    "DROPCRON_TIMEZONE",
    "DROPCRON_PYTHON",
    "DROPCRON_UV",
    "DROPCRON_ONLY_BINARY",
    "DROPCRON_PYTHON_DOWNLOADS",
    "DROPCRON_BUILD_TIMEOUT",
    "DROPCRON_DEFAULT_TIMEOUT",
    "DROPCRON_RUN_AS",
    "DROPCRON_OUTPUT_HEAD",
    "DROPCRON_OUTPUT_TAIL",
    "DROPCRON_KEEP_OUTPUT",
    "DROPCRON_KEEP_RUNS",
];

/// What the last service of a data directory was told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNote {
    /// The host that it is on, as its row has it.
    pub host: String,
    /// The database that it was given; none: a private one.
    pub database: Option<NotedDatabase>,
    /// Variables, checked when it started.
    variables: BTreeMap<String, String>,
}

/// A database that a service was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotedDatabase {
    /// Where it is, for people.
    pub place: String,
    /// The URL; none: it is of no use without the password that stood in it.
    url: Option<String>,
    /// The URL past a pooler.
    direct_url: Option<String>,
}

impl ServiceNote {
    /// Of a service with this configuration, on this host.
    pub fn of(config: &Config, host: String) -> ServiceNote {
        let path = |path: &Path| path.to_str().map(str::to_owned);
        let directories = [
            ("DROPCRON_SCRIPTS_DIR", path(&config.scripts_directory)),
            (
                "DROPCRON_SECRETS_DIR",
                config.secrets_directory.as_deref().and_then(path),
            ),
            ("DROPCRON_NOTIFY_FILE", config.notify_file.as_deref().and_then(path)),
        ];
        let given = SHARED.map(|name| {
            (
                name,
                config.environment.get(name).and_then(|value| path(value.as_ref())),
            )
        });
        let variables = given.into_iter().chain(directories);
        ServiceNote {
            host,
            database: config.database_url.as_deref().map(|url| NotedDatabase {
                place: url
                    .parse()
                    .map_or_else(|_| String::new(), |url: DatabaseUrl| url.redacted()),
                url: usable_without_password(url),
                direct_url: config.direct_database_url.as_deref().and_then(usable_without_password),
            }),
            variables: variables
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect(),
        }
    }

    /// That of a data directory, if a service has ever run there. What this user may not read is not for it.
    pub fn read(data_directory: &Path) -> io::Result<Option<ServiceNote>> {
        match fs::read(data_directory.join(FILE)) {
            Ok(content) => Ok(Some(serde_json::from_slice(&content)?)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes it, whole or not at all.
    pub fn write(&self, data_directory: &Path) -> io::Result<()> {
        let beside = data_directory.join(format!("{FILE}.new"));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        fs::rename(&beside, ServiceNote::file(data_directory))
    }

    /// Where it stands.
    pub fn file(data_directory: &Path) -> PathBuf {
        data_directory.join(FILE)
    }

    /// What a command is to work with: its own variables, and where it has none those of the service.
    pub(super) fn complete(&self, mut environment: Environment) -> Environment {
        for (name, value) in &self.variables {
            environment.set_default(name, value);
        }
        let is_given = |name| environment.get(name).is_some();
        // Who names a database of their own gets none of the other's ways.
        if is_given("DATABASE_URL") || is_given("DROPCRON_DATABASE_URL") {
            return environment;
        }
        if let Some(NotedDatabase {
            url: Some(url),
            direct_url,
            ..
        }) = &self.database
        {
            environment.set_default("DATABASE_URL", url);
            if let Some(url) = direct_url {
                environment.set_default("DROPCRON_DIRECT_DATABASE_URL", url);
            }
        }
        environment
    }
}

/// The URL, if no password stood in it: with `passfile`, a certificate or a socket it leads there as it is.
fn usable_without_password(url: &str) -> Option<String> {
    let parsed: DatabaseUrl = url.parse().ok()?;
    parsed.password().is_none().then(|| without_password(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        let mut environment = Environment::default();
        for (name, value) in pairs {
            environment.set_default(name, value);
        }
        environment
    }

    fn note(pairs: &[(&str, &str)]) -> ServiceNote {
        let config = Config::read(environment(pairs), None, None).unwrap();
        ServiceNote::of(&config, "here".to_owned())
    }

    #[test]
    fn a_command_takes_what_it_was_not_told() {
        let note = note(&[
            ("DATABASE_URL", "postgres://db/ops?passfile=/etc/p"),
            ("DROPCRON_DIRECT_DATABASE_URL", "postgres://db:5433/ops"),
            ("DROPCRON_RUN_AS", "runner"),
            ("DROPCRON_TIMEZONE", "Europe/Berlin"),
        ]);
        let told = note.complete(environment(&[("DROPCRON_TIMEZONE", "Asia/Tokyo")]));
        let text = |environment: &Environment, name: &str| environment.get(name).cloned().unwrap_or_default();
        assert_eq!(text(&told, "DATABASE_URL"), "postgres://db/ops?passfile=/etc/p");
        assert_eq!(text(&told, "DROPCRON_DIRECT_DATABASE_URL"), "postgres://db:5433/ops");
        assert_eq!(text(&told, "DROPCRON_RUN_AS"), "runner");
        assert_eq!(text(&told, "DROPCRON_TIMEZONE"), "Asia/Tokyo");
        let own = note.complete(environment(&[("DROPCRON_DATABASE_URL", "postgres://elsewhere/ops")]));
        assert_eq!(text(&own, "DATABASE_URL"), "");
        assert_eq!(text(&own, "DROPCRON_DIRECT_DATABASE_URL"), "");
    }

    #[test]
    fn a_password_is_not_noted() {
        for url in [
            "postgres://ada:hunter2@db/ops",
            "postgres://db/ops?user=ada&password=hunter2",
            "host=db password='hunter2' dbname=ops",
        ] {
            let note = note(&[("DATABASE_URL", url), ("DROPCRON_DIRECT_DATABASE_URL", url)]);
            let text = serde_json::to_string(&note).unwrap();
            assert!(!text.contains("hunter2"), "{text}");
            assert!(note.database.unwrap().place.starts_with("postgres://"), "{text}");
        }
    }
}
