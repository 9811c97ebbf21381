//! The house: which room may import which. A module of a room must not name a room that stands later in the flow.

use std::fs;
use std::path::{Path, PathBuf};

/// Rooms and what each may import, besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("size", &[]),
    ("schedule", &[]),
    ("script", &["size", "schedule"]),
    ("series", &["script"]),
    ("run", &["script", "series"]),
    ("plan", &["schedule", "script", "run"]),
    ("why", &["schedule", "script", "run", "plan"]),
    ("doctor", &["size"]),
    ("database", &[]),
    ("config", &["size", "schedule", "database"]),
    ("telemetry", &["config"]),
    ("store", &["script", "series", "run", "why", "database"]),
    (
        "api",
        &[
            "script", "run", "schedule", "size", "series", "plan", "why", "store", "database",
        ],
    ),
    ("executor", &["script", "run"]),
    ("packages", &["script", "executor"]),
    (
        "service",
        &[
            "schedule", "script", "series", "run", "plan", "config", "database", "store", "executor", "packages",
        ],
    ),
    ("cli", &["config", "run"]),
    (
        "command",
        &[
            "size",
            "schedule",
            "script",
            "series",
            "run",
            "plan",
            "why",
            "doctor",
            "config",
            "telemetry",
            "database",
            "store",
            "api",
            "executor",
            "packages",
            "service",
            "cli",
        ],
    ),
];

fn files_of(room: &str) -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = source.join(format!("{room}.rs"));
    let mut files = Vec::new();
    if file.is_file() {
        files.push(file);
    }
    let mut directories = vec![source.join(room)];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            match path.is_dir() {
                true => directories.push(path),
                false if path.extension().is_some_and(|suffix| suffix == "rs") => files.push(path),
                false => {}
            }
        }
    }
    files
}

#[test]
fn every_room_imports_only_what_stands_before_it() {
    let mut wrong = Vec::new();
    for (room, allowed) in MAY_IMPORT {
        let files = files_of(room);
        assert!(
            !files.is_empty(),
            "the room `{room}` is gone; change the plan here and in ARCHITECTURE.md"
        );
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                for (other, _) in MAY_IMPORT {
                    let names_it = line.contains(&format!("crate::{other}::")) && !line.trim_start().starts_with("//");
                    if names_it && other != room && !allowed.contains(other) {
                        wrong.push(format!("{}:{}: {}", file.display(), number + 1, line.trim()));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run back up:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_owns() {
    let rooms: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    for file in rooms.into_iter().flat_map(files_of) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//!"), "{} does not open with `//!`", file.display());
    }
}

#[test]
fn sql_stands_in_the_store_only() {
    for room in [
        "script", "schedule", "why", "doctor", "api", "executor", "service", "command",
    ] {
        for file in files_of(room) {
            let text = fs::read_to_string(&file).unwrap();
            assert!(!text.contains("diesel::sql_query"), "{} speaks SQL", file.display());
        }
    }
}
