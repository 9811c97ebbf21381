//! What packages bring beside the program: the systemd unit, manual pages, completions, rules for Prometheus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{World, text_of};

/// The exposure that `systemd-analyze security` may find, of 10. What is left is what the service is for: running any code,
/// as another user, with the network.
const EXPOSURE: &str = "40";

fn packaging(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(file)
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// The unit with a program that is there, in a directory of its own.
fn unit(world: &World) -> PathBuf {
    let text = std::fs::read_to_string(packaging("dropcron.service")).unwrap();
    let installed = "ExecStart=/usr/bin/dropcron ";
    assert!(text.contains(installed), "{text}");
    // What is not the unit's own need not be there: its manual pages, the users that a package makes.
    let text = text
        .replace(installed, &format!("ExecStart={} ", env!("CARGO_BIN_EXE_dropcron")))
        .lines()
        .filter(|line| !line.starts_with("Documentation="))
        .map(|line| format!("{line}\n"))
        .collect::<String>();
    let path = world.root.join("dropcron.service");
    std::fs::write(&path, text).unwrap();
    path
}

/// Runs `systemd-analyze`. None where it is not installed.
fn systemd_analyze(arguments: &[&str], unit: &Path) -> Option<(bool, String)> {
    let mut command = Command::new("systemd-analyze");
    command.args(arguments).arg(unit).env("SYSTEMD_LOG_LEVEL", "warning");
    match command.output() {
        Ok(output) => Some((output.status.success(), text_of(&output))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no systemd-analyze");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_unit_is_understood_by_systemd() {
    let world = World::new();
    let unit = unit(&world);
    let Some((is_good, said)) = systemd_analyze(&["verify", "--man=no"], &unit) else {
        return;
    };
    // Of other units of this machine it may say anything.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("dropcron.service")).collect();
    assert!(is_good && ours.is_empty(), "{said}");
}

#[test]
fn the_unit_keeps_the_service_from_what_it_does_not_need() {
    let world = World::new();
    let unit = unit(&world);
    let threshold = format!("--threshold={EXPOSURE}");
    if let Some((is_good, said)) = systemd_analyze(&["security", "--offline=true", "--no-pager", &threshold], &unit) {
        assert!(is_good, "{said}");
    }
}

#[test]
fn the_unit_waits_for_as_long_as_the_service_may_take() {
    let text = std::fs::read_to_string(packaging("dropcron.service")).unwrap();
    let setting = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
    // 30 s of grace, 10 s of the scripts' own, the last rows; see `command/serve.rs`.
    assert_eq!(setting("TimeoutStopSec"), Some("2min"));
    assert_eq!(setting("KillMode"), Some("mixed"), "scripts are ended by the service");
    assert_eq!(
        setting("OOMPolicy"),
        Some("continue"),
        "a script that is killed for memory ends alone"
    );
    assert_eq!(setting("Type"), Some("notify"));
    assert_eq!(setting("Delegate"), Some("yes"));
}

#[test]
fn each_command_has_a_manual_page() {
    let world = World::new();
    let directory = world.root.join("man");
    world.dropcron_ok(&["generate", "man", directory.to_str().unwrap()]);
    for page in [
        "dropcron.1",
        "dropcron-serve.1",
        "dropcron-health.1",
        "dropcron-notify-test.1",
    ] {
        let text = std::fs::read_to_string(directory.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(
            text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"),
            "{page}: {text}"
        );
    }
    assert!(
        !directory.join("dropcron-generate.1").exists(),
        "what is hidden has none"
    );
}

#[test]
fn shells_complete_its_commands() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        let text = world.dropcron_ok(&["generate", "completions", shell]);
        assert!(text.contains("backfill") && text.contains("dry-run"), "{shell}");
    }
    let script = world.root.join("completions.bash");
    std::fs::write(&script, world.dropcron_ok(&["generate", "completions", "bash"])).unwrap();
    let ask = "source \"$0\"; COMP_WORDS=(dropcron hea); COMP_CWORD=1; _dropcron dropcron hea dropcron; echo \"${COMPREPLY[*]}\"";
    let output = Command::new("bash").args(["-c", ask]).arg(&script).output().unwrap();
    assert_eq!(text_of(&output).trim(), "health");
}

/// Runs `promtool`. None where it is not installed.
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    match Command::new("promtool").args(arguments).output() {
        Ok(output) => Some((output.status.success(), text_of(&output))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: there is no promtool");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_rules_for_prometheus_fire_when_they_should() {
    let world = World::new();
    let rules = packaging("prometheus-rules.yml");
    let Some((is_good, said)) = promtool(&["check", "rules", rules.to_str().unwrap()]) else {
        return;
    };
    assert!(is_good, "{said}");
    let cases = include_str!("packaging/prometheus-rules.test.yml").replace("RULES", rules.to_str().unwrap());
    let path = world.root.join("rules.test.yml");
    std::fs::write(&path, cases).unwrap();
    let (is_good, said) = promtool(&["test", "rules", path.to_str().unwrap()]).unwrap();
    assert!(is_good, "{said}");
}

/// Names before which `before` stands in a text, up to the first character that no name has.
fn names_after<'text>(text: &'text str, before: &str) -> BTreeSet<&'text str> {
    let is_of_name = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    let found = text.split(before).skip(1);
    found
        .map(|rest| &rest[..rest.find(|letter| !is_of_name(letter)).unwrap_or(rest.len())])
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn the_compose_files_and_their_sample_speak_of_the_same_settings() {
    let (one, two) = (read("docker-compose.yml"), read("compose.two-nodes.yml"));
    let both = format!("{one}{two}");
    // `NAME:` alone passes the variable of that name on.
    let passed_on = both.lines().filter_map(|line| line.trim().strip_suffix(':'));
    let is_variable = |name: &&str| name.chars().all(|letter| letter.is_ascii_uppercase() || letter == '_');
    let mut wanted = names_after(&both, "${");
    wanted.extend(passed_on.filter(is_variable));
    let sample = read(".env.sample");
    assert_eq!(wanted, names_after(&sample, "\n#"));

    // What one node is told, the other is too.
    let told = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("      "));
        let names = lines.filter_map(|line| line.split_once(':').map(|(name, _)| name.to_owned()));
        names
            .filter(|name| {
                ["DROPCRON_", "UV_", "HTTPS_", "SSL_", "NO_"]
                    .iter()
                    .any(|start| name.starts_with(start))
            })
            .collect()
    };
    let mut first = told(&one);
    first.insert("DROPCRON_DIRECT_DATABASE_URL".to_owned());
    assert_eq!(told(&two), first);
    let variables = read("docs/configuration.md");
    for name in first.iter().filter(|name| name.starts_with("DROPCRON_")) {
        assert!(variables.contains(&format!("| `{name}` |")), "{name} is no setting");
    }
}

#[test]
fn the_image_has_the_version_of_the_program() {
    assert!(read("Dockerfile").contains(&format!("\nARG VERSION={}\n", env!("CARGO_PKG_VERSION"))));
}
