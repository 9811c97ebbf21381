//! The Python interpreter: finding one, giving it the shim, and asking it what script files hold.
//!
//! Owns the choice of the interpreter and the installed shim. Runs no script: files are inspected without being executed.
//! In the flow it stands before every run, once per start of dropcron, and beside the scan of the scripts directory.
//!
//! All of it blocks.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::dialogue::{Answer, DialogueError, converse};

/// The program that loads a script and reports its result, as this build of dropcron knows it.
const SHIM: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/runner_shim/runner_shim.py"));
/// The oldest Python that the shim is written for.
const OLDEST: (u32, u32) = (3, 9);
/// How long an interpreter may take to say which one it is.
const PROBE_PATIENCE: Duration = Duration::from_secs(10);
/// How long the inspection of files may make no progress.
const INSPECT_PATIENCE: Duration = Duration::from_secs(60);
/// Far more than a description of any directory of scripts takes.
const INSPECT_BYTES: usize = 256 * 1024 * 1024;

/// Any Python since 2.6 can answer this: first a word that only this program says, then a line for each fact.
const PROBE: &str = "\
import os, sys
try:
    import _frozen_importlib_external as bootstrap
    magic = ''.join('%02x' % byte for byte in bytearray(bootstrap.MAGIC_NUMBER))
    tag = sys.implementation.cache_tag or ''
except (ImportError, AttributeError):
    magic = tag = ''
encode = getattr(os, 'fsencode', lambda text: text)
facts = ['dropcron-probe', '%d.%d.%d' % tuple(sys.version_info[:3]), tag, magic, sys.executable or '']
getattr(sys.stdout, 'buffer', sys.stdout).write(encode('\\n'.join(facts) + '\\n'))
";
const PROBE_WORD: &str = "dropcron-probe";

/// Compiles the first argument into the second. The file's date does not count: the directory is named by the content.
const COMPILE: &str = "\
import py_compile, sys
py_compile.compile(sys.argv[1], cfile=sys.argv[2], doraise=True,
                   invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
";

/// A Python interpreter that scripts can run on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// The program itself, absolute; never a wrapper that looks for it anew each time.
    pub path: PathBuf,
    /// `3.11.7`.
    pub version: String,
    /// The same in numbers.
    pub version_info: (u32, u32, u32),
    /// What its compiled files are tagged with: `cpython-311`.
    pub cache_tag: String,
    /// The shim for this interpreter: compiled if possible, else its source.
    pub shim: PathBuf,
}

/// An interpreter that is there, and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    /// The program itself, absolute.
    pub path: PathBuf,
    /// `3.11.7`.
    pub version: String,
    /// The same in numbers.
    pub version_info: (u32, u32, u32),
}

/// No interpreter to run scripts on.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    /// What `DROPCRON_PYTHON` names is not there.
    #[error("`DROPCRON_PYTHON` is `{name}`, and there is no such program; give a path, or a name that is on PATH")]
    NotThere {
        /// What was given.
        name: String,
    },
    /// Nothing usable on PATH.
    #[error("no Python {}.{} or newer was found on PATH{rejected}; install one (Debian and Ubuntu: `apt install python3`) \
             or name one by `DROPCRON_PYTHON`", OLDEST.0, OLDEST.1)]
    NoneFound {
        /// What was found and could not be used, as the middle of a sentence; may be empty.
        rejected: String,
    },
    /// A Python from before the shim's time.
    #[error("`{}` is Python {found}, and {}.{} or newer is needed; name another one by `DROPCRON_PYTHON`", path.display(),
            OLDEST.0, OLDEST.1)]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// Something else.
    #[error("`{}` does not answer as a Python does{said}; name one by `DROPCRON_PYTHON`", path.display())]
    NotPython {
        /// The program.
        path: PathBuf,
        /// What it said instead, as the end of a clause; may be empty.
        said: String,
    },
    /// It hangs.
    #[error("`{}` did not say within {} s which Python it is; name another one by `DROPCRON_PYTHON`", path.display(),
            PROBE_PATIENCE.as_secs())]
    Silent {
        /// The program.
        path: PathBuf,
    },
    /// It cannot be started.
    #[error("`{}` could not be started: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The shim cannot be installed.
    #[error("the runner shim could not be written to `{}`: {source}", path.display())]
    Shim {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// A file to be inspected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectRequest {
    /// The script as people know it.
    pub path: PathBuf,
    /// The file with its bytes.
    pub code: PathBuf,
}

/// What a file holds, as its syntax shows it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Inspection {
    /// The script as people know it.
    pub path: String,
    /// Its `run`; none if it defines none that can be seen.
    #[serde(default)]
    pub run: Option<RunFunction>,
    /// The module's docstring.
    #[serde(default)]
    pub docstring: Option<String>,
    /// Why it could not be read.
    #[serde(default)]
    pub problem: Option<InspectionProblem>,
    /// The version of the Python that read it.
    #[serde(default)]
    pub python: Option<String>,
}

/// A script's `run`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct RunFunction {
    /// Whether it is `async def`; none if that cannot be seen.
    #[serde(rename = "async", default)]
    pub is_async: Option<bool>,
    /// Where it is defined, from 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// What it takes; none if that cannot be seen.
    #[serde(default)]
    pub parameters: Option<Vec<Parameter>>,
}

/// A parameter of `run`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// How it is passed, in the shim's words.
    pub kind: String,
    /// Whether it has no default.
    pub required: bool,
}

/// Why a file could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct InspectionProblem {
    /// Where, from 1.
    #[serde(default)]
    pub line: Option<u32>,
    /// Where in the line, from 1.
    #[serde(default)]
    pub column: Option<u32>,
    /// What.
    pub message: String,
}

/// An inspection that came to nothing, whatever the files hold.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The interpreter cannot be started.
    #[error("`{}` could not be started to inspect scripts: {source}", path.display())]
    Start {
        /// The program.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It hangs.
    #[error("no progress for {} s while `{file}` was inspected", INSPECT_PATIENCE.as_secs())]
    Silent {
        /// The file that it was at.
        file: String,
    },
    /// It said more than is sensible.
    #[error("the inspection of scripts gave more than {} MiB", INSPECT_BYTES / 1024 / 1024)]
    TooMuch,
    /// It fails without any file.
    #[error("`{}` cannot inspect scripts ({status}): {errors}", path.display())]
    Broken {
        /// The program.
        path: PathBuf,
        /// How it ended.
        status: String,
        /// What it said.
        errors: String,
    },
}

impl Interpreter {
    /// The interpreter that `explicit` names (a path, or a name on `search_path`), else the newest `python3` or
    /// `python3.x` on `search_path`, the first among equals. Installs the shim under `data_directory`.
    pub fn find(
        explicit: Option<&OsStr>,
        search_path: Option<&OsStr>,
        data_directory: &Path,
    ) -> Result<Interpreter, InterpreterError> {
        let probed = match explicit {
            Some(name) => probe(&locate(name, search_path)?)?,
            None => newest(candidates(search_path))?,
        };
        Interpreter::with_shim(probed, data_directory)
    }

    /// The interpreter at a path, and no other: an environment's `bin/python` stays that, whatever it is a link to.
    pub fn at(path: &Path, data_directory: &Path) -> Result<Interpreter, InterpreterError> {
        let interpreter = Interpreter::with_shim(probe(path)?, data_directory)?;
        Ok(Interpreter {
            path: path.to_path_buf(),
            ..interpreter
        })
    }

    /// The same interpreter under another path: that of an environment which was made with it.
    pub fn in_environment(&self, path: PathBuf) -> Interpreter {
        Interpreter { path, ..self.clone() }
    }

    /// Every interpreter on `search_path` that is named as a Python 3 is, and those of `others`, that answers; newest first.
    pub fn installed(search_path: Option<&OsStr>, others: &[PathBuf]) -> Vec<Installed> {
        let on_path = candidates(search_path).into_iter().map(|candidate| candidate.path);
        let mut found: Vec<Installed> = Vec::new();
        for path in on_path.chain(others.iter().cloned()) {
            if found.iter().any(|known| known.path == path) {
                continue;
            }
            match probe(&path) {
                Ok(probed) if found.iter().all(|known| known.path != probed.path) => found.push(Installed {
                    path: probed.path,
                    version: probed.version,
                    version_info: probed.version_info,
                }),
                Ok(_) => {}
                Err(error) => tracing::debug!(%error, "an interpreter does not answer"),
            }
        }
        found.sort_by_key(|installed| std::cmp::Reverse(installed.version_info));
        found
    }

    fn with_shim(probed: Probed, data_directory: &Path) -> Result<Interpreter, InterpreterError> {
        let shim = install_shim(&probed, data_directory)?;
        Ok(Interpreter {
            path: probed.path,
            version: probed.version,
            version_info: probed.version_info,
            cache_tag: probed.cache_tag,
            shim,
        })
    }

    /// What the files hold, in their order. None of them is executed. A file that brings the interpreter down has that as
    /// its problem, and the others are inspected all the same.
    pub fn inspect(&self, files: &[InspectRequest]) -> Result<Vec<Inspection>, InspectError> {
        let mut inspections = Vec::with_capacity(files.len());
        while inspections.len() < files.len() {
            let asked = &files[inspections.len()..];
            let answer = self.ask(asked)?;
            let answered = read_inspections(&answer.output, asked);
            let complete = answered.len() == asked.len();
            inspections.extend(answered);
            if complete {
                break;
            }
            self.check_inspection()?;
            let culprit = &files[inspections.len()];
            let message = format!(
                "the interpreter ended while it read this file ({}): {}",
                answer.status, answer.errors
            );
            inspections.push(Inspection::unreadable(&culprit.path, message));
        }
        Ok(inspections)
    }

    /// The interpreter's own arguments, up to the shim.
    pub(super) fn shim_arguments(&self) -> Vec<OsString> {
        vec!["-I".into(), "-X".into(), "utf8".into(), self.shim.clone().into()]
    }

    fn ask(&self, files: &[InspectRequest]) -> Result<Answer, InspectError> {
        let mut command = Command::new(&self.path);
        command.args(self.shim_arguments()).arg("--inspect");
        converse(&mut command, &questions(files), INSPECT_PATIENCE, INSPECT_BYTES).map_err(|error| match error {
            DialogueError::System(source) => InspectError::Start {
                path: self.path.clone(),
                source,
            },
            DialogueError::TooMuch { .. } => InspectError::TooMuch,
            DialogueError::Silent { output, .. } => {
                let at = files.get(read_inspections(&output, files).len());
                InspectError::Silent {
                    file: at.map_or_else(String::new, |file| file.path.display().to_string()),
                }
            }
        })
    }

    /// Tells an interpreter that cannot inspect at all from a file that cannot be inspected.
    fn check_inspection(&self) -> Result<(), InspectError> {
        let answer = self.ask(&[])?;
        if answer.status.success() {
            return Ok(());
        }
        let (path, status) = (self.path.clone(), answer.status.to_string());
        Err(InspectError::Broken {
            path,
            status,
            errors: answer.errors,
        })
    }
}

impl Inspection {
    fn unreadable(path: &Path, message: String) -> Inspection {
        Inspection {
            path: path.to_string_lossy().into_owned(),
            run: None,
            docstring: None,
            problem: Some(InspectionProblem {
                line: None,
                column: None,
                message,
            }),
            python: None,
        }
    }
}

/// One JSON line for each file, with its bytes: this process may have rights to read it that an interpreter has not.
fn questions(files: &[InspectRequest]) -> Vec<u8> {
    #[derive(Serialize)]
    struct Question<'a> {
        path: std::borrow::Cow<'a, str>,
        code: std::borrow::Cow<'a, str>,
        /// A character for each byte; none: the interpreter finds out why it cannot be read.
        source: Option<String>,
    }
    let mut lines = Vec::new();
    for file in files {
        let question = Question {
            path: file.path.to_string_lossy(),
            code: file.code.to_string_lossy(),
            source: fs::read(&file.code)
                .ok()
                .map(|bytes| bytes.into_iter().map(char::from).collect()),
        };
        serde_json::to_writer(&mut lines, &question).expect("two texts always become JSON");
        lines.push(b'\n');
    }
    lines
}

/// The answers, as far as they are whole lines. Each belongs to the file at its place.
fn read_inspections(output: &[u8], files: &[InspectRequest]) -> Vec<Inspection> {
    let whole = output
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(&[][..], |end| &output[..end]);
    let lines = whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = |(line, file): (&[u8], &InspectRequest)| {
        serde_json::from_slice(line).unwrap_or_else(|error| {
            Inspection::unreadable(
                &file.path,
                format!("what the interpreter says about this file is unreadable: {error}"),
            )
        })
    };
    lines.zip(files).map(read).collect()
}

/// A program that may be an interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    path: PathBuf,
    /// The `x` of `python3.x`.
    minor: Option<u32>,
    /// Its directory's place on the search path.
    place: usize,
}

/// An interpreter that has answered.
#[derive(Clone, Debug)]
struct Probed {
    path: PathBuf,
    version: String,
    version_info: (u32, u32, u32),
    cache_tag: String,
    /// The first bytes of its compiled files, in hexadecimal digits.
    magic: String,
}

fn locate(name: &OsStr, search_path: Option<&OsStr>) -> Result<PathBuf, InterpreterError> {
    let not_there = || InterpreterError::NotThere {
        name: name.to_string_lossy().into_owned(),
    };
    if Path::new(name).components().count() > 1 {
        let path = std::path::absolute(name).map_err(|_| not_there())?;
        return if path.is_file() { Ok(path) } else { Err(not_there()) };
    }
    directories(search_path)
        .map(|directory| directory.join(name))
        .find(|path| is_program(path))
        .ok_or_else(not_there)
}

/// The absolute directories of a search path. A relative one would mean another program in every working directory.
fn directories(search_path: Option<&OsStr>) -> impl Iterator<Item = PathBuf> {
    let directories: Vec<PathBuf> = search_path
        .map(|path| std::env::split_paths(path).collect())
        .unwrap_or_default();
    directories.into_iter().filter(|directory| directory.is_absolute())
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// All programs that are named as a Python 3 is.
fn candidates(search_path: Option<&OsStr>) -> Vec<Candidate> {
    let mut candidates = Vec::new();
    let mut seen = Vec::new();
    for (place, directory) in directories(search_path).enumerate() {
        // `/bin` is often `/usr/bin`.
        let Ok(real_directory) = fs::canonicalize(&directory) else {
            continue;
        };
        if seen.contains(&real_directory) {
            continue;
        }
        seen.push(real_directory);
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let path = entry.path();
            if let Some(minor) = name.to_str().and_then(python_minor).filter(|_| is_program(&path)) {
                candidates.push(Candidate { path, minor, place });
            }
        }
    }
    candidates
}

/// `python3` gives `Some(None)`, `python3.12` gives `Some(Some(12))`, `python3-config` gives `None`.
fn python_minor(name: &str) -> Option<Option<u32>> {
    match name.strip_prefix("python3")? {
        "" => Some(None),
        rest => Some(Some(rest.strip_prefix('.')?.parse().ok()?)),
    }
}

/// The newest interpreter that answers. What has its version in its name is asked from the newest on, until one answers; what
/// has not is asked in any case.
fn newest(mut candidates: Vec<Candidate>) -> Result<Probed, InterpreterError> {
    candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.minor), candidate.place));
    let mut best: Option<(Probed, usize)> = None;
    let mut rejected = Vec::new();
    for candidate in candidates {
        if best.is_some() && candidate.minor.is_some() {
            continue;
        }
        match probe(&candidate.path) {
            Ok(probed) => {
                let rank =
                    |probed: &Probed, place| (probed.version_info.0, probed.version_info.1, std::cmp::Reverse(place));
                let better = best
                    .as_ref()
                    .is_none_or(|(known, place)| rank(&probed, candidate.place) > rank(known, *place));
                if better {
                    best = Some((probed, candidate.place));
                }
            }
            Err(error) => {
                tracing::debug!(interpreter.path = %candidate.path.display(), %error, "an interpreter is not used");
                rejected.push(error);
            }
        }
    }
    best.map(|(probed, _)| probed).ok_or_else(|| none_found(&rejected))
}

fn none_found(rejected: &[InterpreterError]) -> InterpreterError {
    let mut text = String::new();
    for error in rejected {
        let (path, why) = match error {
            InterpreterError::TooOld { path, found } => (path, format!("is {found}")),
            InterpreterError::Silent { path } => (path, "hangs".to_owned()),
            InterpreterError::NotPython { path, .. } | InterpreterError::Start { path, .. } => {
                (path, "does not work".to_owned())
            }
            _ => continue,
        };
        text.push_str(if text.is_empty() { " (" } else { ", " });
        text.push_str(&format!("`{}` {why}", path.display()));
    }
    if !text.is_empty() {
        text.push(')');
    }
    InterpreterError::NoneFound { rejected: text }
}

/// Asks a program which Python it is. The answer names the program itself, where the one asked may be a wrapper (pyenv has
/// shell scripts that cost each start a tenth of a second).
fn probe(path: &Path) -> Result<Probed, InterpreterError> {
    let mut command = Command::new(path);
    // In `/`, as `-c` puts the working directory on Python's path; -I does not exist in every Python that is to be named.
    command.args(["-E", "-s", "-S", "-c", PROBE]).current_dir("/");
    let answer = converse(&mut command, b"", PROBE_PATIENCE, 1024 * 1024).map_err(|error| match error {
        DialogueError::System(source) => InterpreterError::Start {
            path: path.to_owned(),
            source,
        },
        DialogueError::Silent { .. } => InterpreterError::Silent { path: path.to_owned() },
        DialogueError::TooMuch { .. } => InterpreterError::NotPython {
            path: path.to_owned(),
            said: String::new(),
        },
    })?;
    let facts = answer
        .output
        .split(|byte| *byte == b'\n')
        .skip_while(|line| *line != PROBE_WORD.as_bytes())
        .skip(1);
    let facts: Vec<Vec<u8>> = facts.map(<[u8]>::to_vec).collect();
    read_facts(path, &facts).unwrap_or_else(|| Err(not_python(path, &answer)))
}

/// None if the facts are not there.
fn read_facts(path: &Path, facts: &[Vec<u8>]) -> Option<Result<Probed, InterpreterError>> {
    let [version, cache_tag, magic, executable, ..] = facts else {
        return None;
    };
    let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).ok();
    let version = text(version)?;
    let numbers: Vec<u32> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
    let [major, minor, micro] = numbers[..] else {
        return None;
    };
    if (major, minor) < OLDEST {
        return Some(Err(InterpreterError::TooOld {
            path: path.to_owned(),
            found: version,
        }));
    }
    let executable = PathBuf::from(OsString::from_vec(executable.clone()));
    Some(Ok(Probed {
        path: if executable.is_absolute() && is_program(&executable) {
            executable
        } else {
            path.to_owned()
        },
        version_info: (major, minor, micro),
        cache_tag: text(cache_tag)?,
        magic: text(magic)?,
        version,
    }))
}

fn not_python(path: &Path, answer: &Answer) -> InterpreterError {
    let said = answer.errors.lines().next().unwrap_or_default();
    let said = if said.is_empty() {
        format!(" ({})", answer.status)
    } else {
        format!(" (it says: {said})")
    };
    InterpreterError::NotPython {
        path: path.to_owned(),
        said,
    }
}

/// Puts the shim into a directory that is named by its content, so that versions of dropcron do not meet, and compiles it
/// for this interpreter: compiling it anew would cost every run some milliseconds.
fn install_shim(interpreter: &Probed, data_directory: &Path) -> Result<PathBuf, InterpreterError> {
    let hash: String = Sha256::digest(SHIM.as_bytes())
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let source = data_directory.join("shim").join(hash).join("runner_shim.py");
    let write = || {
        let source = std::path::absolute(&source)?;
        if fs::read(&source).is_ok_and(|content| content == SHIM.as_bytes()) {
            return Ok(source);
        }
        fs::create_dir_all(source.parent().unwrap_or(data_directory))?;
        let unfinished = unfinished(&source);
        fs::write(&unfinished, SHIM)?;
        fs::rename(&unfinished, &source)?;
        Ok(source)
    };
    // It is no secret, and scripts may run as another user; a strict umask would keep it from them.
    let let_all_read = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    let source = write().map_err(|error| InterpreterError::Shim {
        path: source.clone(),
        source: error,
    })?;
    let shim = compile_shim(interpreter, &source).unwrap_or(source);
    for directory in shim.ancestors().skip(1).take(2) {
        let _ = let_all_read(directory, 0o755);
    }
    let _ = let_all_read(&shim, 0o644);
    Ok(shim)
}

/// None if the interpreter keeps no compiled files, or this one cannot be made; the source serves as well, if slower.
fn compile_shim(interpreter: &Probed, source: &Path) -> Option<PathBuf> {
    if interpreter.cache_tag.is_empty() || interpreter.magic.is_empty() {
        return None;
    }
    let compiled = source.with_extension(format!("{}.pyc", interpreter.cache_tag));
    // Pre-releases share a tag and differ in their format; a power cut may leave an empty file.
    let is_valid = || fs::read(&compiled).is_ok_and(|bytes| bytes.len() > 16 && hex(&bytes[..4]) == interpreter.magic);
    if is_valid() {
        return Some(compiled);
    }
    let unfinished = unfinished(&compiled);
    let mut command = Command::new(&interpreter.path);
    command.args(["-I", "-c", COMPILE]).arg(source).arg(&unfinished);
    let failure = match converse(&mut command, b"", INSPECT_PATIENCE, 1024 * 1024) {
        Ok(answer) if answer.status.success() => {
            fs::rename(&unfinished, &compiled).err().map(|error| error.to_string())
        }
        Ok(answer) => Some(answer.errors),
        Err(error) => Some(error.to_string()),
    };
    if let Some(error) = failure {
        tracing::warn!(interpreter.path = %interpreter.path.display(), error, "the shim could not be compiled");
        let _ = fs::remove_file(&unfinished);
    }
    is_valid().then_some(compiled)
}

/// A name of this process's own beside `path`: other processes may install at the same time.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_versions() {
        assert_eq!(python_minor("python3"), Some(None));
        assert_eq!(python_minor("python3.12"), Some(Some(12)));
        for other in [
            "python",
            "python2.7",
            "python3-config",
            "python3.12-config",
            "python3.12t",
            "python3.",
        ] {
            assert_eq!(python_minor(other), None, "{other}");
        }
    }

    #[test]
    fn an_old_python_is_named_with_its_version() {
        let facts = ["3.8.10", "cpython-38", "550d0d0a", "/usr/bin/python3.8"].map(|fact| fact.as_bytes().to_vec());
        let error = read_facts(Path::new("/usr/bin/python3"), &facts).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "`/usr/bin/python3` is Python 3.8.10, and 3.9 or newer is needed; name another one by `DROPCRON_PYTHON`"
        );
    }

    #[test]
    fn half_a_line_is_no_answer() {
        let file = |name: &str| InspectRequest {
            path: name.into(),
            code: name.into(),
        };
        let output =
            b"{\"path\":\"a.py\",\"run\":{\"async\":true,\"line\":3,\"parameters\":null}}\nnonsense\n{\"path\":\"c";
        let read = read_inspections(output, &[file("a.py"), file("b.py"), file("c.py")]);
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].run.as_ref().unwrap().is_async, Some(true));
        assert!(read[1].problem.as_ref().unwrap().message.contains("unreadable"));
    }
}
