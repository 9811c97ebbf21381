//! `dropcron generate`: shell completions and manual pages, for packages. They come from what `--help` comes from.

use std::fs;

use anyhow::Context;
use clap::CommandFactory;

use super::Exit;
use super::output::print;
use crate::cli::{Cli, GenerateVerb};

/// Generates what is asked for.
pub(super) fn generate(verb: &GenerateVerb) -> anyhow::Result<Exit> {
    let mut command = Cli::command();
    match verb {
        GenerateVerb::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut command, "dropcron", &mut text);
            print(&String::from_utf8_lossy(&text))?;
        }
        GenerateVerb::Man { directory } => {
            let failed = || format!("cannot write manual pages into `{}`", directory.display());
            fs::create_dir_all(directory).with_context(failed)?;
            clap_mangen::generate_to(command, directory).with_context(failed)?;
        }
    }
    Ok(Exit::Ok)
}
