//! A lock: every package that a script's requirements come to, with its version and the hashes of its files.
//!
//! Pure. The text is what `uv pip compile --universal --generate-hashes` writes, in the format of requirements files: one lock holds on
//! every platform, and for every Python from `python` on.

use std::collections::BTreeMap;

use crate::script::ContentHash;

/// A resolved set of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// The requirements, pinned; empty if no package is needed.
    pub content: String,
    /// The oldest Python that it was resolved for: `3.11`.
    pub python: (u32, u32),
}

/// A lock that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{python}` is no Python version of a lock; it is written as `3.11`")]
pub struct LockError {
    /// What stands there.
    pub python: String,
}

/// One package of a lock.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version, or where it comes from.
    pub version: String,
    /// On which machines it is wanted, where not on all.
    pub marker: Option<String>,
}

/// What has become of a package between two locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The package.
    pub name: String,
    /// Its version before; none: it was not there.
    pub before: Option<String>,
    /// Its version after; none: it is not there any more.
    pub after: Option<String>,
}

impl Lock {
    /// From what the database keeps.
    pub fn new(content: String, python: &str) -> Result<Lock, LockError> {
        let python = parse_python(python).ok_or_else(|| LockError {
            python: python.to_owned(),
        })?;
        Ok(Lock { content, python })
    }

    /// What it is called by: the hash of all of it.
    pub fn sha256(&self) -> ContentHash {
        ContentHash::of(format!("python {}\n{}", self.python_text(), self.content).as_bytes())
    }

    /// `3.11`.
    pub fn python_text(&self) -> String {
        format!("{}.{}", self.python.0, self.python.1)
    }

    /// Whether the interpreter itself is all that is needed.
    pub fn is_empty(&self) -> bool {
        self.packages().is_empty()
    }

    /// Its packages, by name.
    pub fn packages(&self) -> Vec<Package> {
        packages_of(&self.content)
    }

    /// Whether each requirement has a hash. What is installed from a repository, or a directory, has none.
    pub fn is_hashed(&self) -> bool {
        let mut requirements = 0;
        let mut hashed = 0;
        for line in logical_lines(&self.content) {
            requirements += usize::from(package_of(line.split(" --hash").next().unwrap_or_default()).is_some());
            hashed += usize::from(line.contains(" --hash="));
        }
        requirements > 0 && requirements == hashed
    }
}

/// The packages of a lock's text, by name.
pub fn packages_of(content: &str) -> Vec<Package> {
    let mut packages: Vec<Package> = requirement_lines(content).filter_map(package_of).collect();
    packages.sort();
    packages
}

/// Which packages are other ones, by name.
pub fn changes(before: &Lock, after: &Lock) -> Vec<Change> {
    let (before, after) = (versions(before), versions(after));
    let mut names: Vec<&String> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| Change {
            name: name.clone(),
            before: before.get(name).cloned(),
            after: after.get(name).cloned(),
        })
        .collect()
}

/// A package may stand there once for each kind of machine.
fn versions(lock: &Lock) -> BTreeMap<String, String> {
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    for package in lock.packages() {
        let known = versions.entry(package.name).or_default();
        if !known.is_empty() {
            known.push_str(", ");
        }
        known.push_str(&package.version);
        if let Some(marker) = package.marker {
            known.push_str(&format!(" where {marker}"));
        }
    }
    versions
}

fn parse_python(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Lines that end in a backslash go on in the next.
fn logical_lines(content: &str) -> impl Iterator<Item = String> + '_ {
    let mut lines = content.lines();
    std::iter::from_fn(move || {
        let mut line = lines.next()?.to_owned();
        while let Some(begun) = line.strip_suffix('\\') {
            line = format!("{begun}{}", lines.next().unwrap_or_default());
        }
        Some(line)
    })
}

/// The requirements without their hashes.
fn requirement_lines(content: &str) -> impl Iterator<Item = &str> {
    content
        .lines()
        .filter(|line| !line.starts_with([' ', '\t', '#', '-']))
        .map(|line| line.trim_end_matches('\\').trim())
}

/// `name==1.2 ; marker`, or `name @ where`.
fn package_of(line: &str) -> Option<Package> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '-']) {
        return None;
    }
    let (requirement, marker) = match line.split_once(" ; ") {
        Some((requirement, marker)) => (requirement, Some(marker.trim().to_owned())),
        None => (line, None),
    };
    let (name, version) = match requirement.split_once("==") {
        Some((name, version)) => (name, version.to_owned()),
        None => match requirement.split_once(" @ ") {
            Some((name, place)) => (name, place.to_owned()),
            None => (requirement, String::new()),
        },
    };
    Some(Package {
        name: name.trim().to_owned(),
        version: version.trim().to_owned(),
        marker,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = "\
anyio==4.16.0 \\
    --hash=sha256:59bb \\
    --hash=sha256:c66a
colorama==0.4.6 ; sys_platform == 'win32' \\
    --hash=sha256:08695
";

    fn lock(content: &str) -> Lock {
        Lock::new(content.to_owned(), "3.11").unwrap()
    }

    #[test]
    fn packages_are_read_without_their_hashes() {
        let packages = lock(LOCK).packages();
        let names: Vec<(&str, &str)> = packages
            .iter()
            .map(|package| (package.name.as_str(), package.version.as_str()))
            .collect();
        assert_eq!(names, [("anyio", "4.16.0"), ("colorama", "0.4.6")]);
        assert_eq!(packages[1].marker.as_deref(), Some("sys_platform == 'win32'"));
        assert!(lock(LOCK).is_hashed());
        assert!(!lock("tool @ git+https://example.org/tool@abc\n").is_hashed());
        assert!(!lock(&format!("{LOCK}tool @ file:///opt/tool\n")).is_hashed());
        assert!(lock("").is_empty() && !lock("").is_hashed());
    }

    #[test]
    fn changes_say_what_came_went_and_moved() {
        let after = "anyio==4.17.0 \\\n    --hash=sha256:1\nidna==3.20 \\\n    --hash=sha256:2\n";
        let said: Vec<String> = changes(&lock(LOCK), &lock(after))
            .into_iter()
            .map(|change| format!("{} {:?} {:?}", change.name, change.before, change.after))
            .collect();
        assert_eq!(
            said,
            [
                "anyio Some(\"4.16.0\") Some(\"4.17.0\")",
                "colorama Some(\"0.4.6 where sys_platform == 'win32'\") None",
                "idna None Some(\"3.20\")",
            ]
        );
        assert!(changes(&lock(LOCK), &lock(LOCK)).is_empty());
    }

    #[test]
    fn the_python_of_a_lock_is_part_of_its_name() {
        let other = Lock::new(LOCK.to_owned(), "3.12").unwrap();
        assert_ne!(lock(LOCK).sha256(), other.sha256());
        assert!(Lock::new(String::new(), "3").is_err());
    }
}
