//! Root at the keyboard: a command works as the owner of the data directory, and only starts scripts as who the service starts
//! them as.

use anyhow::Context as _;

use crate::cli::Verb;
use crate::config::Config;
use crate::database::ServeLock;
use crate::executor::Owner;

/// Becomes the owner where this process is root, before it has a second thread. A service is what it was started as.
pub(super) fn become_owner(verb: &Verb, config: &mut Config) -> anyhow::Result<()> {
    let is_asked = !matches!(verb, Verb::Serve | Verb::Generate(_)) && config.server.is_none();
    if !is_asked || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let Some(owner) = Owner::of(&config.data_directory)
        .with_context(|| format!("cannot look up who owns `{}`", config.data_directory.display()))?
    else {
        return Ok(());
    };
    let starts_scripts = matches!(verb, Verb::Run(_) | Verb::Doctor(_)) && is_said(config, &owner);
    owner
        .assume(starts_scripts)
        .with_context(|| format!("cannot become the owner of `{}`", config.data_directory.display()))?;
    for (name, value) in owner.variables() {
        config.environment.set(name, value);
    }
    Ok(())
}

/// Whether root has said who scripts run as; or the service, which could start them as anybody without root. What is written in
/// the data directory is not enough: its owner may write there.
fn is_said(config: &Config, owner: &Owner) -> bool {
    let Some(name) = &config.run_as else { return false };
    if !config.is_run_as_noted {
        return true;
    }
    let holder = ServeLock::holder(&config.data_directory).ok().flatten();
    holder
        .and_then(|holder| holder.pid)
        .is_some_and(|process| owner.is_trusted_with(process, name))
}
