//! The installed server binaries: which directories hold them and which version they are.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ClusterError, ClusterSettings};

/// The oldest major version that dropcron's schema and statements run on.
pub(super) const OLDEST_VERSION: u32 = 13;

/// The programs without which a directory is of no use.
const PROGRAMS: [&str; 3] = ["initdb", "pg_ctl", "postgres"];

/// Directories that distributions use; one `*` stands for a version.
const PATTERNS: [&str; 9] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/lib/postgresql*/bin",
    "/usr/libexec/postgresql*",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
    "/usr/local/pgsql/bin",
    "/opt/local/lib/postgresql*/bin",
];

/// A directory of server binaries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) directory: PathBuf,
    /// The major version.
    pub(super) version: u32,
}

impl Binaries {
    /// The path of one of the programs.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The newest binaries: what a new cluster takes. Between equals the `PATH` wins.
    pub(super) fn newest(settings: &ClusterSettings) -> Result<Binaries, ClusterError> {
        let newest = installed(settings).into_iter().rev().max_by_key(|found| found.version);
        let newest = newest.ok_or(ClusterError::NoBinaries)?;
        if newest.version < OLDEST_VERSION {
            let Binaries {
                directory,
                version: found,
            } = newest;
            return Err(ClusterError::BinariesTooOld {
                directory,
                found,
                oldest: OLDEST_VERSION,
            });
        }
        Ok(newest)
    }

    /// The binaries of the version that made a cluster; Postgres starts a cluster with no other.
    pub(super) fn of_version(
        version: u32,
        cluster: &Path,
        settings: &ClusterSettings,
    ) -> Result<Binaries, ClusterError> {
        let installed = installed(settings);
        let found = in_words(&installed);
        installed
            .into_iter()
            .find(|found| found.version == version)
            .ok_or_else(|| ClusterError::VersionNotInstalled {
                cluster: cluster.to_owned(),
                version,
                found,
            })
    }
}

/// The default directories that exist on this machine.
pub(super) fn distribution_directories() -> Vec<PathBuf> {
    PATTERNS.iter().flat_map(|pattern| expand(pattern)).collect()
}

/// Every usable directory, in the order of looking.
fn installed(settings: &ClusterSettings) -> Vec<Binaries> {
    let mut seen = BTreeSet::new();
    candidates(settings)
        .into_iter()
        .filter_map(|directory| complete(&directory))
        .filter(|directory| seen.insert(directory.clone()))
        .filter_map(|directory| {
            Some(Binaries {
                version: version_of(&directory.join("postgres"))?,
                directory,
            })
        })
        .collect()
}

fn candidates(settings: &ClusterSettings) -> Vec<PathBuf> {
    let path = settings
        .search_path
        .clone()
        .or_else(|| std::env::var_os("PATH"))
        .unwrap_or_default();
    let on_path = std::env::split_paths(&path).filter(|directory| directory.is_absolute());
    on_path
        .chain(settings.distribution_directories.iter().cloned())
        .collect()
}

/// The real directory behind one that has all programs. Links on the `PATH` are followed, because the server finds its
/// libraries by where it lies.
fn complete(directory: &Path) -> Option<PathBuf> {
    let has_all = |directory: &Path| PROGRAMS.iter().all(|program| is_executable(&directory.join(program)));
    if !has_all(directory) {
        return None;
    }
    let real = directory.join("postgres").canonicalize().ok()?.parent()?.to_owned();
    if has_all(&real) {
        Some(real)
    } else {
        directory.canonicalize().ok()
    }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Asks the program: a directory's name can lie. What does not answer is no server.
fn version_of(postgres: &Path) -> Option<u32> {
    let output = Command::new(postgres)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout))
}

/// The major version in the likes of `postgres (PostgreSQL) 15.8 (Debian 15.8-1)` or `17beta1`.
fn parse_version(text: &str) -> Option<u32> {
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    number
        .split(|character: char| !character.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

fn in_words(installed: &[Binaries]) -> String {
    if installed.is_empty() {
        return "none are".to_owned();
    }
    let each: Vec<String> = installed
        .iter()
        .map(|found| format!("{} in `{}`", found.version, found.directory.display()))
        .collect();
    format!("found {}", each.join(", "))
}

/// Expands the one `*` of a pattern to the entries that exist, the highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return Some(PathBuf::from(pattern))
            .filter(|path| path.is_dir())
            .into_iter()
            .collect();
    };
    let (parent, prefix) = before.rsplit_once('/').expect("every pattern is an absolute path");
    let rest = after.trim_start_matches('/');
    let mut found: Vec<PathBuf> = fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(prefix)))
        .map(|entry| {
            if rest.is_empty() {
                entry.path()
            } else {
                entry.path().join(rest)
            }
        })
        .filter(|path| path.is_dir())
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(number_in(path.as_os_str())));
    found
}

/// The first number in a path, by which versions are put in order.
fn number_in(path: &OsStr) -> u32 {
    let text = path.to_string_lossy();
    let digits = text
        .split(|character: char| !character.is_ascii_digit())
        .find(|digits| !digits.is_empty());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_the_program_prints() {
        assert_eq!(
            parse_version("postgres (PostgreSQL) 15.8 (Debian 15.8-0+deb12u1)\n"),
            Some(15)
        );
        assert_eq!(parse_version("postgres (PostgreSQL) 19devel\n"), Some(19));
        assert_eq!(parse_version("postgres (PostgreSQL) 9.6.24\n"), Some(9));
        assert_eq!(parse_version("command not found\n"), None);
    }

    #[test]
    fn no_directories_mean_no_binaries() {
        let settings = ClusterSettings {
            search_path: Some("".into()),
            distribution_directories: vec![PathBuf::from("/nonexistent")],
            ..ClusterSettings::new("/nonexistent")
        };
        let message = Binaries::newest(&settings)
            .expect_err("there is nothing to find")
            .to_string();
        assert!(message.contains("`apt-get install postgresql`"), "{message}");
        assert!(message.contains("`DATABASE_URL`"), "{message}");
    }

    #[test]
    fn binaries_of_another_version_do_not_serve() {
        let settings = ClusterSettings::new("/nonexistent");
        let error = Binaries::of_version(8, Path::new("/data/postgres/data"), &settings);
        let message = error.expect_err("nobody has version 8 any more").to_string();
        assert!(message.contains("`apt-get install postgresql-8`"), "{message}");
        assert!(message.contains("`dropcron database upgrade`"), "{message}");
        assert!(message.contains("`DATABASE_URL`"), "{message}");
    }
}
