//! `dropcron doctor`: looks this system over, and says what must be mended, and how.

mod database;
mod machine;

use super::Exit;
use super::output::{print, print_json};
use crate::cli::JsonArgs;
use crate::config::Config;
use crate::doctor::{Facts, Finding, Level, diagnose};

/// Looks the system over.
pub(super) async fn doctor(arguments: &JsonArgs, config: Config) -> anyhow::Result<Exit> {
    let findings = diagnose(&gather(&config).await?);
    if arguments.json {
        print_json(&findings)?;
    } else {
        print(&for_people(&findings))?;
    }
    let is_bad = findings.iter().any(|finding| finding.level == Level::Problem);
    Ok(if is_bad { Exit::Failed } else { Exit::Ok })
}

async fn gather(config: &Config) -> anyhow::Result<Facts> {
    let interpreter = machine::interpreter(config).await?;
    let scripts_user = machine::script_user(config, interpreter.as_ref().ok()).await?;
    let identity = machine::identity(config);
    Ok(Facts {
        zone_data: machine::zone_data(),
        timezone: config.timezone.clone(),
        scripts: machine::scripts_directory(&config.scripts_directory, identity.as_ref()),
        data: machine::directory(&config.data_directory, identity.as_ref()),
        secrets: config
            .secrets_directory
            .as_deref()
            .map(|path| machine::secrets_directory(path, identity.as_ref())),
        has_venv: interpreter.as_ref().is_ok_and(machine::has_venv),
        interpreter: interpreter.map(|interpreter| interpreter.version),
        uv: machine::uv(config),
        first_process: machine::first_process().await,
        user: scripts_user,
        control_groups: machine::control_groups(config),
        database: database::look(config).await?,
    })
}

fn for_people(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.len()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let word = match finding.level {
            Level::Ok => "ok     ",
            Level::Note => "note   ",
            Level::Problem => "PROBLEM",
        };
        text.push_str(&format!("{word}  {:width$}  {}\n", finding.about, finding.what));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("         {:width$}  -> {remedy}\n", ""));
        }
    }
    let problems = findings
        .iter()
        .filter(|finding| finding.level == Level::Problem)
        .count();
    text.push_str(&match problems {
        0 => "nothing must be mended\n".to_owned(),
        1 => "1 thing must be mended\n".to_owned(),
        more => format!("{more} things must be mended\n"),
    });
    text
}
