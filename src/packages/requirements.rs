//! What a script asks for: the packages of its header, else those of a file beside it, and the Python that it wants.
//!
//! Reads the file beside a script and those that it includes. What they come to is the business of a lock.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::script::{ContentHash, Header};

/// The files that name packages where a header does not, the first that is there.
const FILES: [&str; 2] = ["requirements.txt", "pyproject.toml"];

/// Files that include each other are followed so deep.
const MAX_DEPTH: usize = 8;

/// A list of packages is text that people write.
const MAX_BYTES: u64 = 1024 * 1024;

/// What one script asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// Where the packages are named.
    pub source: Source,
    /// They themselves, as PEP 508 writes them; for a file its whole text, with what it includes.
    pub packages: Vec<String>,
    /// The Python versions that it works with, as PEP 440 writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_python: Option<String>,
}

/// Where packages are named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// In the script's header.
    Header,
    /// In a file beside the script, named relative to the scripts directory.
    File(PathBuf),
}

/// A file of packages that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RequirementsError {
    /// The system does not let us.
    #[error("`{}`, which names the script's packages, cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Far too long.
    #[error("`{}`, which names the script's packages, is larger than {} MiB", path.display(), MAX_BYTES / 1024 / 1024)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no project.
    #[error("`{}`, which names the script's packages, is no TOML: {message}", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Where and what.
        message: String,
    },
}

impl Requirements {
    /// What a script asks for; none if it needs nothing but some Python. `directory` is that of the scripts, `script` is relative to it.
    pub fn of(header: &Header, directory: &Path, script: &Path) -> Result<Option<Requirements>, RequirementsError> {
        let requires_python = header.requires_python.clone();
        if !header.dependencies.is_empty() {
            return Ok(Some(Requirements {
                source: Source::Header,
                packages: header.dependencies.clone(),
                requires_python,
            }));
        }
        // Whoever names an interpreter manages its packages.
        let beside = match header.python {
            Some(_) => None,
            None => beside(directory, script)?,
        };
        Ok(match beside {
            Some((source, packages, project_python)) => Some(Requirements {
                source,
                packages,
                requires_python: requires_python.or(project_python),
            }),
            None => requires_python.is_some().then(|| Requirements {
                source: Source::Header,
                packages: Vec::new(),
                requires_python: requires_python.clone(),
            }),
        })
    }

    /// Whether some Python is all that it asks for.
    pub fn is_python_only(&self) -> bool {
        self.packages.is_empty()
    }

    /// What it is called by: the hash of all of it.
    pub fn sha256(&self) -> ContentHash {
        ContentHash::of(self.to_json().as_bytes())
    }

    /// As the database keeps it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts always become JSON")
    }
}

/// Whether a file beside a script names its packages: a change of it is a change of the script.
pub fn is_requirements_file(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| FILES.iter().any(|known| name == *known))
}

type Beside = (Source, Vec<String>, Option<String>);

fn beside(directory: &Path, script: &Path) -> Result<Option<Beside>, RequirementsError> {
    let beside = script.parent().unwrap_or(Path::new(""));
    for name in FILES {
        let relative = beside.join(name);
        let path = directory.join(&relative);
        let Some(text) = read(&path)? else { continue };
        if name == "pyproject.toml" {
            // One that only configures tools names no packages.
            if let Some((packages, python)) = project(&path, &text)? {
                return Ok(Some((Source::File(relative), packages, python)));
            }
            continue;
        }
        let mut texts = vec![text];
        let mut seen = BTreeSet::from([path.clone()]);
        include(&path, &mut texts, &mut seen, 0)?;
        return Ok(Some((Source::File(relative), texts, None)));
    }
    Ok(None)
}

/// The text of what a file includes by `-r` or `-c`, so that a change there is seen too.
fn include(
    path: &Path,
    texts: &mut Vec<String>,
    seen: &mut BTreeSet<PathBuf>,
    depth: usize,
) -> Result<(), RequirementsError> {
    let included: Vec<PathBuf> = texts
        .last()
        .map(String::as_str)
        .unwrap_or_default()
        .lines()
        .filter_map(included_file)
        .map(|name| path.parent().unwrap_or(Path::new("")).join(name))
        .collect();
    for path in included {
        if depth >= MAX_DEPTH || !seen.insert(path.clone()) {
            continue;
        }
        // One that is missing is uv's to complain of.
        if let Some(text) = read(&path)? {
            texts.push(text);
            include(&path, texts, seen, depth + 1)?;
        }
    }
    Ok(())
}

fn included_file(line: &str) -> Option<&str> {
    let line = line.trim();
    let rest = ["--requirement", "--constraint", "-r", "-c"]
        .iter()
        .find_map(|option| line.strip_prefix(option))?;
    let name = rest.trim_start_matches(['=', ' ', '\t']);
    let name = name.split(" #").next().unwrap_or_default().trim();
    (!name.is_empty() && !name.contains("://")).then_some(name)
}

fn read(path: &Path) -> Result<Option<String>, RequirementsError> {
    let failed = |source: io::Error| RequirementsError::Read {
        path: path.to_path_buf(),
        source,
    };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.is_file() => return Ok(None),
        Ok(metadata) if metadata.len() > MAX_BYTES => {
            return Err(RequirementsError::TooLarge {
                path: path.to_path_buf(),
            });
        }
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map(Some).map_err(failed)
}

/// The packages of a project, and its Python.
type Project = (Vec<String>, Option<String>);

/// What a project asks for; none if it names no packages.
fn project(path: &Path, text: &str) -> Result<Option<Project>, RequirementsError> {
    #[derive(Deserialize)]
    struct Document {
        project: Option<Table>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "kebab-case")]
    struct Table {
        #[serde(default)]
        dependencies: Vec<String>,
        requires_python: Option<String>,
    }
    let document: Document = toml::from_str(text).map_err(|error| RequirementsError::Toml {
        path: path.to_path_buf(),
        message: error.to_string().trim_end().to_owned(),
    })?;
    Ok(document
        .project
        .filter(|project| !project.dependencies.is_empty())
        // All of it: uv reads its own settings there, such as indexes and sources.
        .map(|project| (vec![text.to_owned()], project.requires_python)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("dropcron-requirements-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(path.join("prices")).unwrap();
        path
    }

    fn of(header: &Header, directory: &Path) -> Option<Requirements> {
        Requirements::of(header, directory, Path::new("prices/btc.py")).unwrap()
    }

    #[test]
    fn a_header_comes_before_a_file_beside_the_script() {
        let directory = place("order");
        assert_eq!(of(&Header::default(), &directory), None);
        std::fs::write(directory.join("requirements.txt"), "not-beside\n").unwrap();
        assert_eq!(of(&Header::default(), &directory), None);
        std::fs::write(
            directory.join("prices/pyproject.toml"),
            "[project]\nname = \"a\"\nrequires-python = \">=3.10\"\ndependencies = [\"idna\"]\n",
        )
        .unwrap();
        let project = of(&Header::default(), &directory).unwrap();
        assert_eq!(project.source, Source::File("prices/pyproject.toml".into()));
        assert_eq!(project.requires_python.as_deref(), Some(">=3.10"));
        std::fs::write(directory.join("prices/requirements.txt"), "idna\n").unwrap();
        let list = of(&Header::default(), &directory).unwrap();
        assert_eq!(list.source, Source::File("prices/requirements.txt".into()));
        let header = Header {
            dependencies: vec!["httpx".to_owned()],
            ..Header::default()
        };
        assert_eq!(of(&header, &directory).unwrap().source, Source::Header);
        let managed = Header {
            python: Some("/opt/app/bin/python".into()),
            ..Header::default()
        };
        assert_eq!(of(&managed, &directory), None);
    }

    #[test]
    fn a_project_that_only_configures_tools_names_nothing() {
        let directory = place("tools");
        std::fs::write(
            directory.join("prices/pyproject.toml"),
            "[tool.ruff]\nline-length = 100\n",
        )
        .unwrap();
        assert_eq!(of(&Header::default(), &directory), None);
    }

    #[test]
    fn a_change_of_an_included_file_is_a_change() {
        let directory = place("include");
        std::fs::write(directory.join("prices/requirements.txt"), "-r ../base.txt\nidna\n").unwrap();
        std::fs::write(directory.join("base.txt"), "-c prices/requirements.txt\nhttpx==0.27\n").unwrap();
        let before = of(&Header::default(), &directory).unwrap().sha256();
        assert_eq!(of(&Header::default(), &directory).unwrap().sha256(), before);
        std::fs::write(directory.join("base.txt"), "httpx==0.28\n").unwrap();
        assert_ne!(of(&Header::default(), &directory).unwrap().sha256(), before);
    }

    #[test]
    fn includes_are_found_as_pip_finds_them() {
        assert_eq!(included_file("-r base.txt"), Some("base.txt"));
        assert_eq!(included_file("  --constraint=c.txt # why"), Some("c.txt"));
        assert_eq!(included_file("-rbase.txt"), Some("base.txt"));
        assert_eq!(included_file("-r https://example.org/r.txt"), None);
        assert_eq!(included_file("requests"), None);
    }
}
