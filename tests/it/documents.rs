//! The documentation and the code say the same: variables, commands, header keys, examples, links.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use dropcron::cli::Cli;
use dropcron::config::VARIABLES;
use dropcron::database::DatabaseUrl;
use dropcron::script::parse_header;
use dropcron::script::{BLOCK_KEYS, KEYS, Key, NOTIFY_KEYS, RETRIES_KEYS, VALUE_KEYS};

use crate::support::World;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

fn page(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap()
}

/// The text below a heading, up to the next one of its level or above.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let level = heading.chars().take_while(|character| *character == '#').count();
    let begin = page
        .find(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no section `{heading}`"));
    let body = &page[begin + heading.len() + 2..];
    let end = (1..=level)
        .filter_map(|level| body.find(&format!("\n{} ", "#".repeat(level))))
        .min();
    &body[..end.unwrap_or(body.len())]
}

/// The rows of the tables in a text, cell by cell; without heads. `\|` is a bar inside of a cell.
fn rows(text: &str) -> Vec<Vec<String>> {
    let lines: Vec<&str> = text.lines().collect();
    let is_rule = |line: &str| line.starts_with("|--") || line.starts_with("| --");
    let mut rows = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let is_head = lines.get(at + 1).is_some_and(|next| is_rule(next));
        if line.starts_with('|') && !is_rule(line) && !is_head {
            let cells = line.trim_matches('|').replace("\\|", "\u{1}");
            rows.push(cells.split('|').map(|cell| cell.trim().replace('\u{1}', "|")).collect());
        }
    }
    rows
}

#[test]
fn the_page_of_variables_has_each_of_them_and_nothing_else() {
    let written = rows(&page("configuration.md"));
    let wanted: Vec<Vec<String>> = VARIABLES
        .iter()
        .map(|variable| {
            let name = format!("`{}`", variable.name);
            vec![name, variable.default.to_owned(), variable.meaning.to_owned()]
        })
        .collect();
    assert_eq!(written, wanted);
}

#[test]
fn every_variable_that_the_code_reads_is_a_known_one() {
    let source = include_str!("../../src/config.rs").to_owned() + include_str!("../../src/telemetry.rs");
    let named = source
        .split('"')
        .filter(|text| text.starts_with("DROPCRON_") && !text.contains(' '));
    let known: BTreeSet<&str> = VARIABLES.iter().map(|variable| variable.name).collect();
    for name in named.filter(|name| *name != "DROPCRON_DATABASE_URL") {
        assert!(known.contains(name), "{name} is not in `config::VARIABLES`");
    }
}

/// Long flags and positional arguments, as they are written.
fn arguments(command: &clap::Command) -> BTreeSet<String> {
    let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
    shown
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .filter(|flag| flag != "--help" && flag != "--version")
        .collect()
}

/// Flags in the first cells of the tables of a text.
fn written_flags(text: &str) -> BTreeSet<String> {
    let first_cells = rows(text).into_iter().map(|row| row[0].clone());
    let words = first_cells.flat_map(|cell| {
        let words = cell.split(|character: char| character.is_whitespace() || character == '`' || character == ',');
        words.map(str::to_owned).collect::<Vec<_>>()
    });
    words.filter(|word| word.starts_with("--")).collect()
}

/// What can be typed, verb by verb, those inside of others behind them.
fn verbs<'a>(command: &'a clap::Command, within: &str) -> Vec<(String, &'a clap::Command)> {
    let level = "#".repeat(within.split(' ').count() + 1);
    let mut found = Vec::new();
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = format!("{within} {}", verb.get_name());
        found.push((format!("{level} {name}"), verb));
        found.extend(verbs(verb, &name));
    }
    found
}

#[test]
fn the_page_of_commands_has_each_verb_with_its_flags_and_nothing_else() {
    let page = page("commands.md");
    let command = Cli::command();
    let verbs = verbs(&command, "dropcron");
    let headings: Vec<&str> = page
        .lines()
        .filter(|line| line.trim_start_matches('#').starts_with(" dropcron "))
        .collect();
    assert_eq!(
        headings,
        verbs.iter().map(|(heading, _)| heading.as_str()).collect::<Vec<_>>()
    );
    assert_eq!(written_flags(section(&page, "## Every command")), arguments(&command));
    for (heading, verb) in &verbs {
        // The verbs inside of one have sections of their own.
        let body = section(&page, heading).split("\n### dropcron ").next().unwrap();
        assert_eq!(written_flags(body), arguments(verb), "{heading}");
        for flag in verb.get_arguments().filter(|argument| !argument.is_hide_set()) {
            if let Some(short) = flag.get_short().filter(|short| *short != 'h') {
                assert!(body.contains(&format!("`-{short}`")), "-{short} of {heading}");
            }
        }
    }
}

#[test]
fn the_page_of_scripts_has_each_key_with_its_default_and_an_example() {
    let page = page("writing-scripts.md");
    let wanted = |keys: &[Key]| -> Vec<Vec<String>> {
        let cells = |key: &Key| {
            vec![
                format!("`{}`", key.name),
                key.default.to_owned(),
                format!("`{} = {}`", key.name, key.example),
            ]
        };
        keys.iter().map(cells).collect()
    };
    for (heading, keys) in [
        ("### Keys of `[tool.dropcron]`", KEYS),
        ("### Keys of `retries`", RETRIES_KEYS),
        ("### Keys of `notify`", NOTIFY_KEYS),
        ("### Keys of `value`", VALUE_KEYS),
        ("### Keys beside it", BLOCK_KEYS),
    ] {
        let written: Vec<Vec<String>> = rows(section(&page, heading))
            .into_iter()
            .map(|row| row[..3].to_vec())
            .collect();
        assert_eq!(written, wanted(keys), "{heading}");
    }
}

#[test]
fn the_headers_in_the_documents_are_accepted() {
    let mut headers = 0;
    for name in ["writing-scripts.md", "values.md", "commands.md", "../README.md"] {
        for block in page(name).split("```python\n").skip(1) {
            let code = block.split("```").next().unwrap();
            if code.contains("# /// script") {
                headers += 1;
                let header = parse_header(code).unwrap_or_else(|problems| panic!("{name}: {problems:?}\n{code}"));
                assert!(header.is_some(), "{name}:\n{code}");
            }
        }
    }
    assert!(headers >= 3, "{headers}");
}

#[test]
fn a_script_sees_the_variables_that_its_page_lists_and_no_others() {
    let page = page("writing-scripts.md");
    let written: BTreeSet<String> = rows(section(&page, "## What a script sees"))
        .into_iter()
        .map(|row| row[0].trim_matches('`').to_owned())
        .collect();
    let world = World::new();
    world.script("seen.py", "import os\ndef run():\n    return sorted(os.environ)");
    let mut command = world.command(&["run", "seen.py", "--json"]);
    for name in ["LANG", "LC_ALL", "TZ", "HOME"] {
        command.env(name, if name == "TZ" { "UTC" } else { "C.UTF-8" });
    }
    command.env("HOME", &world.root).env("PASSWORD_OF_OPS", "hunter2");
    let row: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
    let seen: BTreeSet<String> = serde_json::from_value(row["return_value"].clone()).unwrap();
    assert_eq!(seen, written);
}

#[test]
fn values_are_converted_as_their_page_says() {
    let page = page("writing-scripts.md");
    let world = World::new();
    let conversions = rows(section(&page, "## What it may return"));
    assert!(conversions.len() >= 8, "{conversions:?}");
    let values: Vec<String> = conversions
        .iter()
        .map(|row| row[1].trim_matches('`').to_owned())
        .collect();
    let imports = "import collections, dataclasses, datetime, decimal, enum, pathlib, uuid\n";
    let types = "Point = collections.namedtuple('Point', 'x y')\nclass Color(enum.Enum):\n    RED = 'red'\n";
    world.script(
        "values.py",
        &format!("{imports}{types}def run():\n    return [{}]", values.join(", ")),
    );
    let output = world.dropcron(&["run", "values.py", "--json"]);
    let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let stored = row["return_value"].as_array().unwrap_or_else(|| panic!("{row}"));
    for (conversion, stored) in conversions.iter().zip(stored) {
        let written: serde_json::Value = serde_json::from_str(conversion[2].trim_matches('`')).unwrap();
        assert_eq!(&written, stored, "{conversion:?}");
    }
}

#[test]
fn the_file_of_channels_in_the_documents_is_accepted() {
    use dropcron::service::notifier::Channels;
    let world = World::new();
    let secrets = world.root.join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    let mut files = 0;
    for block in page("notifications.md").split("```toml\n").skip(1) {
        let text = block.split("```").next().unwrap();
        for line in text.lines().filter(|line| line.contains("_secret")) {
            let name = line.split('"').nth(1).unwrap();
            let value = if name.contains("TOKEN") {
                "Bearer x"
            } else {
                "https://example.org/x"
            };
            std::fs::write(secrets.join(name), value).unwrap();
        }
        files += 1;
        // A channel of another block may be a default's.
        let channels = Channels::parse(text, Some(&secrets)).map_err(|problems| format!("{problems:?}"));
        assert!(channels.is_ok_and(|channels| channels.names().count() > 0), "{text}");
    }
    assert_eq!(files, 2);
}

#[test]
fn the_names_of_a_body_are_those_of_its_page() {
    let page = page("notifications.md");
    let written: BTreeSet<String> = rows(section(&page, "## A body of your own"))
        .into_iter()
        .flat_map(|row| {
            row[0]
                .split(", ")
                .map(|name| name.trim_matches('`').to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let known: BTreeSet<String> = dropcron::service::notifier::template_names().into_iter().collect();
    assert_eq!(written, known);
}

#[test]
fn relative_links_of_the_documents_lead_somewhere() {
    let mut links = 0;
    for entry in docs().read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "md") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if target.contains("://") || file.is_empty() {
                continue;
            }
            links += 1;
            assert!(
                docs().join(file).exists(),
                "{}: `{target}` leads nowhere",
                path.display()
            );
        }
    }
    assert!(links > 0);
}

#[test]
fn the_words_of_libpq_about_tls_are_understood_or_refused_as_the_document_says() {
    let page = page("operating.md");
    let text = page.split("With TLS, ").nth(1).unwrap().split("```").next().unwrap();
    let (understood, refused) = text.split_once("`passfile`. ").unwrap();
    let words = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let parse = |key: &str, value: &str| format!("postgres://db/ops?{key}={value}").parse::<DatabaseUrl>();
    for word in words(understood) {
        let value = match word.as_str() {
            "sslmode" => "verify-full",
            "sslcert" => "/c&sslkey=/k",
            "sslkey" => "/k&sslcert=/c",
            "sslnegotiation" => "direct&sslmode=require",
            "sslsni" => "1",
            "ssl_min_protocol_version" => "TLSv1.3",
            "channel_binding" => "require",
            "sslrootcert" => "/r",
            // A value, which stands behind its word.
            "system" => continue,
            _ => panic!("`{word}` is not tried"),
        };
        assert!(parse(&word, value).is_ok(), "{word}: {:?}", parse(&word, value).err());
    }
    let refused = words(refused.split(" are refused").next().unwrap());
    assert_eq!(refused.len(), 4);
    for word in refused {
        assert!(parse(&word, "x").is_err(), "{word}");
    }
}
