//! `dropcron check`: reads every script without running it, and says what the scheduler would make of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{instant, print, print_json, say, settings, table};
use super::{Exit, not_found};
use crate::cli::CheckArgs;
use crate::config::Config;
use crate::executor::{Inspection, Interpreter};
use crate::packages::{Interpreters, Source};
use crate::schedule::Schedule;
use crate::script::ScriptKind;
use crate::service::scan::{self, Assessment, FileProblem, Found, Listing};

/// One file, as it is reported.
#[derive(Debug, Serialize)]
struct Report {
    path: PathBuf,
    task: Option<String>,
    state: &'static str,
    schedule: Vec<String>,
    timezone: Option<String>,
    next: Option<Timestamp>,
    summary: String,
    problems: Vec<String>,
    /// What it asks for, of a task.
    header: Option<Value>,
    /// The file beside it that names its packages, relative to the scripts directory.
    packages_from: Option<PathBuf>,
}

/// Prints a line for each script.
pub(super) fn check(arguments: &CheckArgs, config: Config) -> anyhow::Result<Exit> {
    let path = arguments
        .path
        .clone()
        .unwrap_or_else(|| config.scripts_directory.clone());
    let path = std::path::absolute(&path)?;
    let (root, listing) = listing_of(&path, &config)?;
    let interpreter = Interpreter::find(
        config.python.as_deref(),
        config.environment.get("PATH").map(|path| path.as_os_str()),
        &shim_directory(&config),
    );
    let reports = reports(&listing, interpreter.as_ref().ok(), &config);
    if arguments.json {
        print_json(&reports)?;
    } else {
        print(&table(
            &["state", "script", "schedule", "what"],
            reports.iter().map(row),
        ))?;
        for problem in reports.iter().flat_map(|report| &report.problems) {
            print(&format!("{problem}\n"))?;
        }
        if let (
            true,
            [
                Report {
                    header: Some(header),
                    packages_from,
                    ..
                },
            ],
        ) = (path.is_file(), reports.as_slice())
        {
            let mut header = header.clone();
            if let (Some(file), Some(fields)) = (packages_from, header.as_object_mut()) {
                fields.insert("dependencies".to_owned(), json!(format!("those of {}", file.display())));
            }
            print(&format!("\n{}", settings(&header)))?;
        }
        if reports.is_empty() {
            print(&format!("no scripts in {}\n", root.display()))?;
        }
    }
    if let Err(error) = &interpreter {
        say(&format!("error: {error}\n"));
    }
    let found = interpreter.is_err() || reports.iter().any(|report| report.state == "problem");
    Ok(if found { Exit::Failed } else { Exit::Ok })
}

/// Checking must work where the data directory cannot be written, in a CI for example.
fn shim_directory(config: &Config) -> PathBuf {
    let writable = rustix::fs::access(&config.data_directory, rustix::fs::Access::WRITE_OK).is_ok();
    if writable {
        config.data_directory.clone()
    } else {
        std::env::temp_dir().join(format!("dropcron-check-{}", rustix::process::getuid().as_raw()))
    }
}

/// What is to be checked: a directory, or one file of one.
fn listing_of(path: &Path, config: &Config) -> anyhow::Result<(PathBuf, Listing)> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        not_found(format!(
            "`{}` cannot be read: {error}; name a script or a directory of scripts",
            path.display()
        ))
    })?;
    if metadata.is_dir() {
        return Ok((path.to_path_buf(), scan::list(path)?));
    }
    let root = if path.starts_with(&config.scripts_directory) {
        config.scripts_directory.clone()
    } else {
        path.parent().unwrap_or(Path::new("/")).to_path_buf()
    };
    if ScriptKind::of(path).is_none() {
        return Err(super::usage(format!(
            "`{}` is no script: scripts end in `.py`, `.pyc` or `.so`",
            path.display()
        )));
    }
    let listing = scan::list_one(&root, path)?;
    Ok((root, listing))
}

fn reports(listing: &Listing, interpreter: Option<&Interpreter>, config: &Config) -> Vec<Report> {
    let sources: Vec<&Found> = listing
        .found
        .values()
        .filter(|found| found.kind == ScriptKind::Source && found.fingerprint.size() <= scan::MAX_SCRIPT_BYTES)
        .collect();
    let inspections = match interpreter.map(|interpreter| scan::inspect(interpreter, &sources)) {
        Some(Ok(inspections)) => sources
            .iter()
            .map(|found| found.path.clone())
            .zip(inspections)
            .collect(),
        Some(Err(error)) => {
            say(&format!("error: {error}\n"));
            HashMap::new()
        }
        None => HashMap::new(),
    };
    let mut reports: Vec<Report> = listing
        .found
        .values()
        .map(|found| report(found, inspections.get(&found.path), interpreter, config))
        .collect();
    for (path, message) in &listing.refused {
        reports.push(problem_report(path, None, &[FileProblem::whole_file(message.clone())]));
    }
    reports
}

fn report(
    found: &Found,
    inspection: Option<&Inspection>,
    interpreter: Option<&Interpreter>,
    config: &Config,
) -> Report {
    let name = found.name.as_str().to_owned();
    let content = match scan::read(found) {
        Ok(Some(content)) => content,
        Ok(None) => {
            return problem_report(
                &found.path,
                Some(name),
                &[FileProblem::whole_file("it changed while it was read")],
            );
        }
        Err(message) => return problem_report(&found.path, Some(name), &[FileProblem::whole_file(message)]),
    };
    match scan::assess(found, &content, inspection, &config.timezone) {
        Assessment::Problem(problems) => problem_report(&found.path, Some(name), &problems),
        Assessment::Library => Report {
            path: found.path.clone(),
            task: None,
            state: "library",
            schedule: Vec::new(),
            timezone: None,
            next: None,
            summary: "neither a header nor a `run`: others may import it".to_owned(),
            problems: Vec::new(),
            header: None,
            packages_from: None,
        },
        Assessment::Task(task) => {
            let header = &task.header;
            let timezone = header.timezone.clone().unwrap_or_else(|| config.timezone.clone());
            let schedule = Schedule::parse(&header.schedule, &timezone).ok();
            let next = schedule
                .as_ref()
                .and_then(|schedule| schedule.next_after(Timestamp::now()));
            Report {
                path: found.path.clone(),
                task: Some(name),
                state: match (header.schedule.is_empty(), header.enabled) {
                    (true, _) => "manual only",
                    (false, true) => "ready",
                    (false, false) => "disabled",
                },
                summary: summary(&task, schedule.as_ref(), next, interpreter),
                schedule: header.schedule.clone(),
                timezone: schedule.map(|_| timezone),
                next,
                problems: Vec::new(),
                header: serde_json::to_value(header).ok(),
                packages_from: packages_from(&task),
            }
        }
    }
}

fn summary(
    task: &scan::TaskFile,
    schedule: Option<&Schedule>,
    next: Option<Timestamp>,
    interpreter: Option<&Interpreter>,
) -> String {
    let mut parts = Vec::new();
    if let Some(schedule) = schedule {
        parts.push(schedule.describe());
        parts.push(next.map_or("never fires".to_owned(), |next| format!("next {}", instant(next))));
    }
    parts.extend(python(task, interpreter));
    if !task.header.dependencies.is_empty() {
        parts.push(format!("needs {}", task.header.dependencies.join(", ")));
    }
    parts.extend(packages_from(task).map(|file| format!("needs what `{}` names", file.display())));
    parts.join("; ")
}

/// Which Python it runs on, where that is not simply the one that all scripts run on.
fn python(task: &scan::TaskFile, interpreter: Option<&Interpreter>) -> Option<String> {
    if let Some(path) = &task.header.python {
        let there = if path.is_file() {
            ""
        } else {
            ", which is not on this machine"
        };
        return Some(format!("runs on `{}`{there}", path.display()));
    }
    let wanted = task.requirements.as_ref()?.requires_python.as_deref()?;
    let default = interpreter?;
    let fits = Interpreters::new(Ok(default.clone()), None, Path::new("")).default_fits(Some(wanted));
    (!fits).then(|| {
        format!(
            "needs Python {wanted}, and not {}, on which scripts run by default",
            default.version
        )
    })
}

fn packages_from(task: &scan::TaskFile) -> Option<PathBuf> {
    match &task.requirements.as_ref()?.source {
        Source::File(file) => Some(file.clone()),
        Source::Header => None,
    }
}

fn problem_report(path: &Path, task: Option<String>, problems: &[FileProblem]) -> Report {
    Report {
        path: path.to_path_buf(),
        task,
        state: "problem",
        schedule: Vec::new(),
        timezone: None,
        next: None,
        summary: match problems {
            [_] => "see below".to_owned(),
            _ => format!("{} problems, see below", problems.len()),
        },
        problems: problems.iter().map(|problem| problem.in_file(path)).collect(),
        header: None,
        packages_from: None,
    }
}

fn row(report: &Report) -> Vec<String> {
    let name = report.task.clone().unwrap_or_else(|| report.path.display().to_string());
    vec![
        report.state.to_owned(),
        name,
        report.schedule.join(", "),
        report.summary.clone(),
    ]
}
