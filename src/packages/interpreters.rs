//! Which interpreter a script runs on: the one that its header names, the default, or another that is installed and fits.
//!
//! Owns the choice, and remembers it. All of it blocks, except for what is remembered.

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pep440_rs::{Version, VersionSpecifiers};

use super::uv::Uv;
use crate::executor::{Installed, Interpreter, InterpreterError};
use crate::script::parse_requires_python;

/// The interpreters of this machine.
pub struct Interpreters {
    default: Result<Interpreter, String>,
    search_path: Option<OsString>,
    data_directory: PathBuf,
    /// What was chosen, by what was asked for. A failure is never remembered: somebody may install what is missing.
    chosen: Mutex<HashMap<Wanted, (Interpreter, Stamp)>>,
}

/// What tells a program from the one that is put in its place: its inode and its date.
type Stamp = Option<(u64, i64)>;

/// What is asked of an interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Wanted {
    named: Option<PathBuf>,
    requires_python: Option<String>,
    at_least: Option<(u32, u32)>,
}

/// No interpreter to run a script on.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterChoiceError {
    /// There is not even a default.
    #[error("{0}")]
    NoDefault(String),
    /// What the header names is not there.
    #[error("its header says `python = \"{}\"`, and there is no such program on this machine", path.display())]
    NotThere {
        /// The program.
        path: PathBuf,
    },
    /// What the header names cannot run scripts.
    #[error("its header says `python = \"{}\"`, which cannot be used: {problem}", path.display())]
    Unusable {
        /// The program.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// What the header names is not what it requires.
    #[error("its header says `python = \"{}\"`, which is Python {version}, and `requires-python = \"{requires_python}\"`; change one of the two", path.display())]
    Contradiction {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: String,
        /// What is required.
        requires_python: String,
    },
    /// A requirement that is none.
    #[error("`requires-python` is `{requires_python}`: {problem}; write it as in `>=3.11` or `>=3.10,<3.13`")]
    NoRequirement {
        /// What it says.
        requires_python: String,
        /// What is wrong.
        problem: String,
    },
    /// None of those that are installed fits.
    #[error(
        "it needs Python {wanted}, and none of the installed interpreters is that: {installed}; install one, or let uv \
         fetch it with `DROPCRON_PYTHON_DOWNLOADS=1`"
    )]
    NoneFits {
        /// What is wanted.
        wanted: String,
        /// What there is, with versions and paths.
        installed: String,
    },
}

impl Interpreters {
    /// `default`: the interpreter of scripts that ask for nothing, or why there is none.
    pub fn new(
        default: Result<Interpreter, String>,
        search_path: Option<OsString>,
        data_directory: &Path,
    ) -> Interpreters {
        Interpreters {
            default,
            search_path,
            data_directory: data_directory.to_path_buf(),
            chosen: Mutex::default(),
        }
    }

    /// The interpreter of scripts that ask for nothing.
    pub fn default(&self) -> Result<&Interpreter, InterpreterChoiceError> {
        self.default
            .as_ref()
            .map_err(|problem| InterpreterChoiceError::NoDefault(problem.clone()))
    }

    /// Whether a script that asks for no more than this runs on the default.
    pub fn default_fits(&self, requires_python: Option<&str>) -> bool {
        match (&self.default, requires_python) {
            (_, None) => true,
            (Ok(default), Some(text)) => {
                parse_requires_python(text).is_ok_and(|wanted| contains(&wanted, default.version_info))
            }
            // Without any Python all tasks have the same problem, and it is not their requirement.
            (Err(_), Some(_)) => true,
        }
    }

    /// The interpreter that was chosen for the same before; none: `choose` has to look.
    pub fn remembered(
        &self,
        named: Option<&Path>,
        requires_python: Option<&str>,
        at_least: Option<(u32, u32)>,
    ) -> Option<Interpreter> {
        let wanted = Wanted::of(named, requires_python, at_least);
        if wanted == Wanted::default() {
            return self.default.as_ref().ok().cloned();
        }
        let (known, stamp) = self.chosen().get(&wanted).cloned()?;
        (stamp.is_some() && stamp_of(&known.path) == stamp).then_some(known)
    }

    /// The interpreter that a header names, else the default if it fits, else the newest of those that fit.
    pub fn choose(
        &self,
        named: Option<&Path>,
        requires_python: Option<&str>,
        at_least: Option<(u32, u32)>,
        uv: Option<&Uv>,
    ) -> Result<Interpreter, InterpreterChoiceError> {
        if let Some(known) = self.remembered(named, requires_python, at_least) {
            return Ok(known);
        }
        if named.is_none() && requires_python.is_none() && at_least.is_none() {
            return self.default().cloned();
        }
        let specifiers = match requires_python {
            Some(text) => parse_requires_python(text).map_err(|problem| InterpreterChoiceError::NoRequirement {
                requires_python: text.to_owned(),
                problem,
            })?,
            None => VersionSpecifiers::empty(),
        };
        let found = match named {
            Some(path) => self.named(path, &specifiers)?,
            None => self.fitting(&specifiers, at_least, uv)?,
        };
        let stamp = stamp_of(&found.path);
        self.chosen()
            .insert(Wanted::of(named, requires_python, at_least), (found.clone(), stamp));
        Ok(found)
    }

    fn named(&self, path: &Path, specifiers: &VersionSpecifiers) -> Result<Interpreter, InterpreterChoiceError> {
        if !path.is_file() {
            return Err(InterpreterChoiceError::NotThere {
                path: path.to_path_buf(),
            });
        }
        let interpreter =
            Interpreter::at(path, &self.data_directory).map_err(|error| InterpreterChoiceError::Unusable {
                path: path.to_path_buf(),
                problem: unusable(&error),
            })?;
        if !contains(specifiers, interpreter.version_info) {
            return Err(InterpreterChoiceError::Contradiction {
                path: path.to_path_buf(),
                version: interpreter.version,
                requires_python: specifiers.to_string(),
            });
        }
        Ok(interpreter)
    }

    fn fitting(
        &self,
        specifiers: &VersionSpecifiers,
        at_least: Option<(u32, u32)>,
        uv: Option<&Uv>,
    ) -> Result<Interpreter, InterpreterChoiceError> {
        let fits = |version: (u32, u32, u32)| {
            contains(specifiers, version) && at_least.is_none_or(|least| (version.0, version.1) >= least)
        };
        if let Ok(default) = &self.default
            && fits(default.version_info)
        {
            return Ok(default.clone());
        }
        let installed = self.installed(uv);
        let fitting = installed.iter().filter(|installed| fits(installed.version_info));
        for candidate in fitting {
            match Interpreter::at(&candidate.path, &self.data_directory) {
                Ok(interpreter) => return Ok(interpreter),
                Err(error) => tracing::debug!(%error, "an interpreter that fits is not used"),
            }
        }
        let mut wanted = specifiers.to_string();
        if let Some((major, minor)) = at_least {
            wanted = match wanted.is_empty() {
                true => format!("{major}.{minor} or newer, which its lock was made for"),
                false => format!("{wanted} and {major}.{minor} or newer, which its lock was made for"),
            };
        }
        Err(InterpreterChoiceError::NoneFits {
            wanted,
            installed: listed(&installed),
        })
    }

    /// Those on PATH, and those that uv knows of, newest first.
    fn installed(&self, uv: Option<&Uv>) -> Vec<Installed> {
        let known_to_uv = match uv.map(Uv::interpreters) {
            Some(Ok(paths)) => paths,
            Some(Err(error)) => {
                tracing::debug!(%error, "uv does not list interpreters; those on PATH are looked at");
                Vec::new()
            }
            None => Vec::new(),
        };
        Interpreter::installed(self.search_path.as_deref(), &known_to_uv)
    }

    fn chosen(&self) -> std::sync::MutexGuard<'_, HashMap<Wanted, (Interpreter, Stamp)>> {
        self.chosen.lock().expect("no holder of this lock can panic")
    }
}

impl Wanted {
    fn of(named: Option<&Path>, requires_python: Option<&str>, at_least: Option<(u32, u32)>) -> Wanted {
        Wanted {
            named: named.map(Path::to_path_buf),
            requires_python: requires_python.map(str::to_owned),
            at_least,
        }
    }
}

fn stamp_of(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.ino(), metadata.mtime()))
}

fn contains(specifiers: &VersionSpecifiers, version: (u32, u32, u32)) -> bool {
    specifiers.contains(&Version::new([
        u64::from(version.0),
        u64::from(version.1),
        u64::from(version.2),
    ]))
}

/// What is wrong with a program, without the advice for another place to name one.
fn unusable(error: &InterpreterError) -> String {
    match error {
        InterpreterError::TooOld { found, .. } => format!("it is Python {found}, which is too old for dropcron"),
        InterpreterError::Silent { .. } => "it does not say which Python it is".to_owned(),
        InterpreterError::NotPython { said, .. } => format!("it does not answer as a Python does{said}"),
        other => other.to_string(),
    }
}

fn listed(installed: &[Installed]) -> String {
    if installed.is_empty() {
        return "there is none".to_owned();
    }
    let each = installed
        .iter()
        .map(|installed| format!("{} (`{}`)", installed.version, installed.path.display()));
    each.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_read_as_packages_read_it() {
        let fits = |text: &str, version| contains(&parse_requires_python(text).unwrap(), version);
        assert!(fits(">=3.11", (3, 11, 0)) && !fits(">=3.11", (3, 10, 9)));
        assert!(fits(">=3.9,<3.13,!=3.11.4", (3, 12, 1)) && !fits(">=3.9,<3.13,!=3.11.4", (3, 11, 4)));
        assert!(fits("==3.11.*", (3, 11, 7)) && !fits("~=3.11.2", (3, 12, 0)));
        assert!(parse_requires_python("3.11 or so").is_err());
        assert!(!parse_requires_python(">>3").unwrap_err().contains('\n'));
    }
}
