//! The scripts directory as it is on disk: which files there are, and what each of them is.
//!
//! `list` looks (by stat), `read` reads, `assess` says whether a file is a task, a library or a problem. Shared by the syncer and
//! by `check`, so that both say the same. Knows no database.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::executor::{InspectRequest, Inspection, Interpreter, Parameter};
use crate::packages::{Requirements, is_requirements_file};
use crate::schedule::Schedule;
use crate::script::{ContentHash, Header, Problem, ScriptKind, TaskName, parse_header, parse_sidecar, sidecar_of};

/// A script is text that people write, or a compiled module: what is larger got there by mistake.
pub const MAX_SCRIPT_BYTES: u64 = 10 * 1024 * 1024;

/// Directories deeper than this are not looked into.
const MAX_DEPTH: usize = 32;

/// What tells a changed file from an unchanged one without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    size: u64,
    modified: (i64, i64),
    inode: u64,
    device: u64,
    /// Of the sidecar, for compiled files.
    sidecar: Option<(u64, i64, i64)>,
    /// Of the files beside it that may name its packages.
    packages: BesideFiles,
}

/// What the files that may name packages looked like, in one directory.
type BesideFiles = [Option<(u64, i64, i64)>; 2];

impl Fingerprint {
    fn of(metadata: &Metadata, sidecar: Option<Metadata>, packages: BesideFiles) -> Fingerprint {
        Fingerprint {
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            inode: metadata.ino(),
            device: metadata.dev(),
            sidecar: sidecar.as_ref().map(looks),
            packages,
        }
    }

    /// The size of the file, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the file was last written, seconds since the epoch by the file system's clock.
    pub fn modified_seconds(&self) -> i64 {
        self.modified.0
    }
}

fn looks(metadata: &Metadata) -> (u64, i64, i64) {
    (metadata.size(), metadata.mtime(), metadata.mtime_nsec())
}

/// Of the files of a directory, those that may name packages.
fn beside<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> BesideFiles {
    let mut files = paths.filter(|path| is_requirements_file(path));
    [files.next(), files.next()].map(|path| std::fs::metadata(path?).ok().as_ref().map(looks))
}

/// A file that may be a script.
#[derive(Clone, Debug)]
pub struct Found {
    /// The task's name.
    pub name: TaskName,
    /// Relative to the scripts directory.
    pub relative: PathBuf,
    /// Where it is.
    pub path: PathBuf,
    /// How it is loaded.
    pub kind: ScriptKind,
    /// What it looked like.
    pub fingerprint: Fingerprint,
}

impl Found {
    /// The directory that `relative` is relative to.
    fn root(&self) -> &Path {
        let depth = self.relative.components().count();
        self.path.ancestors().nth(depth).unwrap_or(Path::new("/"))
    }

    /// A text that stands nowhere yet, as if it stood at a path.
    pub fn draft(root: &Path, name: TaskName, relative: PathBuf, size: u64) -> Found {
        Found {
            name,
            path: root.join(&relative),
            relative,
            kind: ScriptKind::Source,
            fingerprint: Fingerprint {
                size,
                modified: (0, 0),
                inode: 0,
                device: 0,
                sidecar: None,
                packages: BesideFiles::default(),
            },
        }
    }
}

/// What is in a scripts directory.
#[derive(Debug, Default)]
pub struct Listing {
    /// Files that may be scripts, by name.
    pub found: BTreeMap<String, Found>,
    /// Files and directories about which something is wrong, with what that is.
    pub refused: Vec<(PathBuf, String)>,
}

/// Looks at every file below a directory. `Err`: the directory itself cannot be read.
pub fn list(scripts_directory: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut seen = HashSet::new();
    let metadata = std::fs::metadata(scripts_directory)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is not a directory"));
    }
    seen.insert((metadata.dev(), metadata.ino()));
    let entries = std::fs::read_dir(scripts_directory)?;
    list_entries(scripts_directory, entries, &mut listing, &mut seen, 0);
    Ok(listing)
}

/// Looks at one file below a directory, and at those beside it that make the same task.
pub fn list_one(scripts_directory: &Path, path: &Path) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let name_of = |path: &Path| {
        let relative = path.strip_prefix(scripts_directory).unwrap_or(path);
        TaskName::from_path(relative).ok().flatten()
    };
    let wanted = name_of(path);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(path.parent().unwrap_or(scripts_directory))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    let packages = beside(paths.iter());
    paths.retain(|other| other == path || (wanted.is_some() && name_of(other) == wanted));
    for other in paths {
        match std::fs::metadata(&other) {
            Ok(metadata) => list_file(scripts_directory, other, &metadata, packages, &mut listing),
            Err(error) => listing
                .refused
                .push((other, format!("the file cannot be read: {error}"))),
        }
    }
    listing.found.retain(|_, found| found.path == path);
    listing.refused.retain(|(refused, _)| refused == path);
    Ok(listing)
}

fn list_entries(
    root: &Path,
    entries: std::fs::ReadDir,
    listing: &mut Listing,
    seen: &mut HashSet<(u64, u64)>,
    depth: usize,
) {
    let mut paths: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    paths.sort();
    let packages = beside(paths.iter());
    for path in paths {
        let hidden = path.file_name().is_some_and(|name| {
            let name = name.to_string_lossy();
            name.starts_with('.') || name == "__pycache__"
        });
        if hidden {
            continue;
        }
        // Follows links: mounts of configuration maps are made of them.
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() && ScriptKind::of(&path).is_some() => {
                let message = "it is a directory with the name of a script; rename it";
                listing.refused.push((path, message.to_owned()));
            }
            Ok(metadata) if metadata.is_dir() => {
                // A link that leads back up would be walked for ever.
                if depth >= MAX_DEPTH || !seen.insert((metadata.dev(), metadata.ino())) {
                    continue;
                }
                match std::fs::read_dir(&path) {
                    Ok(entries) => list_entries(root, entries, listing, seen, depth + 1),
                    Err(error) => listing
                        .refused
                        .push((path, format!("the directory cannot be read: {error}"))),
                }
            }
            Ok(metadata) => list_file(root, path, &metadata, packages, listing),
            Err(error) if ScriptKind::of(&path).is_some() => {
                listing
                    .refused
                    .push((path, format!("the file cannot be read: {error}")));
            }
            Err(_) => {}
        }
    }
}

fn list_file(root: &Path, path: PathBuf, metadata: &Metadata, packages: BesideFiles, listing: &mut Listing) {
    let relative = path.strip_prefix(root).unwrap_or(&path).to_path_buf();
    let name = match TaskName::from_path(&relative) {
        Ok(Some(name)) => name,
        Ok(None) => return,
        Err(problem) => return listing.refused.push((path, problem.to_string())),
    };
    if !metadata.is_file() {
        return listing.refused.push((path, "it is not a regular file".to_owned()));
    }
    let Some(kind) = ScriptKind::of(&path) else { return };
    let sidecar = sidecar_of(&path).and_then(|sidecar| std::fs::metadata(sidecar).ok());
    let fingerprint = Fingerprint::of(metadata, sidecar, packages);
    let found = Found {
        name: name.clone(),
        relative,
        path,
        kind,
        fingerprint,
    };
    match listing.found.get(name.as_str()) {
        Some(other) if other.kind <= kind => {
            let message = format!(
                "`{}` makes the task `{name}` already, and comes first; rename one of the two",
                other.relative.display()
            );
            listing.refused.push((found.path, message));
        }
        Some(other) => {
            let message = format!(
                "`{}` makes the task `{name}`, and comes first; rename one of the two",
                found.relative.display()
            );
            listing.refused.push((other.path.clone(), message));
            listing.found.insert(name.as_str().to_owned(), found);
        }
        None => {
            listing.found.insert(name.as_str().to_owned(), found);
        }
    }
}

/// A file's content, as one moment had it.
#[derive(Clone, Debug)]
pub struct Content {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Their hash.
    pub sha256: ContentHash,
    /// The text of its sidecar, for compiled files that have one.
    pub sidecar: Option<String>,
}

/// Reads a file. `Ok(None)`: it changed while it was read, or is gone; the next look sees.
pub fn read(found: &Found) -> Result<Option<Content>, String> {
    if found.fingerprint.size > MAX_SCRIPT_BYTES {
        let megabytes = found.fingerprint.size / (1024 * 1024);
        return Err(format!(
            "it has {megabytes} MiB; a script may have at most {} MiB: keep data in other files",
            MAX_SCRIPT_BYTES / (1024 * 1024)
        ));
    }
    let bytes = match std::fs::read(&found.path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("it cannot be read: {error}")),
    };
    let sidecar_path = sidecar_of(&found.path);
    let sidecar = match sidecar_path.as_ref().map(std::fs::read_to_string) {
        Some(Ok(text)) => Some(text),
        Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => {
            return Err(format!("its sidecar cannot be read: {error}"));
        }
        _ => None,
    };
    let now = std::fs::metadata(&found.path).ok().map(|metadata| {
        Fingerprint::of(
            &metadata,
            sidecar_path.and_then(|sidecar| std::fs::metadata(sidecar).ok()),
            // What those hold is read later; a change is seen by the next look.
            found.fingerprint.packages,
        )
    });
    let stable = now == Some(found.fingerprint) && bytes.len() as u64 == found.fingerprint.size;
    let sha256 = ContentHash::of(&bytes);
    Ok(stable.then_some(Content { bytes, sha256, sidecar }))
}

/// What a file is.
#[derive(Clone, Debug)]
pub enum Assessment {
    /// It runs.
    Task(Box<TaskFile>),
    /// Others import it.
    Library,
    /// Something is wrong with it.
    Problem(Vec<FileProblem>),
}

/// A file that runs.
#[derive(Clone, Debug)]
pub struct TaskFile {
    /// What it asks for.
    pub header: Header,
    /// Whether `run` is declared async.
    pub is_async: bool,
    /// Its docstring's first line.
    pub summary: Option<String>,
    /// The packages that it asks for.
    pub requirements: Option<Requirements>,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileProblem {
    /// Line from 1, and column from 1, where they are known.
    pub place: Option<(u32, u32)>,
    /// What is wrong, and what to do.
    pub message: String,
}

impl FileProblem {
    /// Without a place.
    pub fn whole_file(message: impl Into<String>) -> FileProblem {
        FileProblem {
            place: None,
            message: message.into(),
        }
    }

    /// `file:line:column: message`.
    pub fn in_file(&self, file: &Path) -> String {
        match self.place {
            Some((line, column)) => format!("{}:{line}:{column}: {}", file.display(), self.message),
            None => format!("{}: {}", file.display(), self.message),
        }
    }
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Some((line, column)) => write!(formatter, "{line}:{column}: {}", self.message),
            None => formatter.write_str(&self.message),
        }
    }
}

impl From<Problem> for FileProblem {
    fn from(problem: Problem) -> Self {
        FileProblem {
            place: Some((problem.line, problem.column)),
            message: problem.message,
        }
    }
}

/// What Python says of files that are all of kind `Source`; for others nothing need be asked.
pub fn inspect(interpreter: &Interpreter, founds: &[&Found]) -> Result<Vec<Inspection>, String> {
    let requests: Vec<InspectRequest> = founds
        .iter()
        .map(|found| InspectRequest {
            path: found.path.clone(),
            code: found.path.clone(),
        })
        .collect();
    interpreter.inspect(&requests).map_err(|error| error.to_string())
}

/// What a file is. `inspection`: what Python says of it; none for compiled files, or where there is no Python.
pub fn assess(found: &Found, content: &Content, inspection: Option<&Inspection>, default_timezone: &str) -> Assessment {
    let header = match header_of(found, content) {
        Ok(header) => header,
        Err(problems) => return Assessment::Problem(problems),
    };
    if let Some(problem) = inspection.and_then(|inspection| inspection.problem.as_ref()) {
        let place = problem.line.map(|line| (line, problem.column.unwrap_or(1)));
        return Assessment::Problem(vec![FileProblem {
            place,
            message: problem.message.clone(),
        }]);
    }
    let run = inspection.and_then(|inspection| inspection.run.as_ref());
    let header = match (header, run) {
        (None, None) if found.kind == ScriptKind::Source && inspection.is_some() => return Assessment::Library,
        (None, None) if found.kind != ScriptKind::Source => return Assessment::Library,
        (None, None) if !seems_to_define_run(&content.bytes) => return Assessment::Library,
        (Some(_), None) if found.kind == ScriptKind::Source && inspection.is_some() => {
            let message =
                "it has a header, but no `run`: define `def run():` or `async def run():`, or remove the header";
            return Assessment::Problem(vec![FileProblem::whole_file(message)]);
        }
        (header, _) => header.unwrap_or_default(),
    };
    let mut problems = argument_problems(
        &header,
        run.and_then(|run| run.parameters.as_deref()),
        run.and_then(|run| run.line),
    );
    problems.extend(schedule_problem(&header, default_timezone));
    if !problems.is_empty() {
        return Assessment::Problem(problems);
    }
    let requirements = match Requirements::of(&header, found.root(), &found.relative) {
        Ok(requirements) => requirements,
        Err(error) => return Assessment::Problem(vec![FileProblem::whole_file(error.to_string())]),
    };
    let summary = inspection
        .and_then(|inspection| inspection.docstring.as_deref())
        .and_then(first_line);
    Assessment::Task(Box::new(TaskFile {
        header,
        is_async: run.and_then(|run| run.is_async).unwrap_or(false),
        summary,
        requirements,
    }))
}

/// Where no Python can be asked: whether a line of the text begins as a definition or an import of `run` does.
fn seems_to_define_run(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).lines().any(|line| {
        let mut words = line.split(|character: char| !(character.is_alphanumeric() || character == '_'));
        match words.next() {
            Some("def") => words.next() == Some("run"),
            Some("async") => words.next() == Some("def") && words.next() == Some("run"),
            Some("run") => true,
            Some("from" | "import") => words.any(|word| word == "run"),
            _ => false,
        }
    })
}

fn header_of(found: &Found, content: &Content) -> Result<Option<Header>, Vec<FileProblem>> {
    let problems = |problems: Vec<Problem>| problems.into_iter().map(FileProblem::from).collect();
    match (found.kind, &content.sidecar) {
        (ScriptKind::Source, _) => {
            // Python itself says what it thinks of other encodings; the header must be readable in any of them.
            parse_header(&String::from_utf8_lossy(&content.bytes)).map_err(problems)
        }
        (_, Some(sidecar)) => parse_sidecar(sidecar).map(Some).map_err(problems),
        (_, None) => Ok(None),
    }
}

/// Arguments that `run` does not know; for scheduled tasks also those that it needs and nobody gives.
fn argument_problems(header: &Header, parameters: Option<&[Parameter]>, line: Option<u32>) -> Vec<FileProblem> {
    let Some(parameters) = parameters else {
        return Vec::new();
    };
    let place = line.map(|line| (line, 1));
    let takes_any = parameters.iter().any(|parameter| parameter.kind == "var_keyword");
    let named: Vec<&str> = parameters
        .iter()
        .filter(|parameter| !parameter.kind.starts_with("var_"))
        .map(|parameter| parameter.name.as_str())
        .collect();
    let unknown = header
        .args
        .keys()
        .filter(|name| !takes_any && !named.contains(&name.as_str()))
        .map(|name| {
            let known = if named.is_empty() {
                "it takes no arguments".to_owned()
            } else {
                format!("it knows `{}`", named.join("`, `"))
            };
            FileProblem {
                place,
                message: format!("`args` gives `{name}`, which `run()` does not take: {known}"),
            }
        });
    let missing = parameters
        .iter()
        .filter(|parameter| !header.schedule.is_empty() && parameter.required && !header.args.contains_key(&parameter.name))
        .filter(|parameter| !parameter.kind.starts_with("var_"))
        .map(|parameter| FileProblem {
            place,
            message: format!(
                "`run()` needs `{0}`, and nobody gives it when the schedule fires: add it under `args`, or give it a default",
                parameter.name
            ),
        });
    unknown.chain(missing).collect()
}

/// The schedule in the zone that applies: `@at` and zones can only be checked together.
fn schedule_problem(header: &Header, default_timezone: &str) -> Option<FileProblem> {
    if header.schedule.is_empty() {
        return None;
    }
    let timezone = header.timezone.as_deref().unwrap_or(default_timezone);
    Schedule::parse(&header.schedule, timezone)
        .err()
        .map(|error| FileProblem::whole_file(error.to_string()))
}

fn first_line(text: &str) -> Option<String> {
    text.lines()
        .map(str::trim)
        .find(|line| !line.is_empty())
        .map(str::to_owned)
}
