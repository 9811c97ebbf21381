//! What keeps scripts from the scheduler, from each other and within their limits: set up at the start, and said.

use super::{hindered, usage};
use crate::config::{Config, ControlGroupPlace};
use crate::executor::{ControlGroups, Executor, Interpreter, ScriptUser, ScriptUserError, can_hide_others};
use crate::service::run_directory::make_passable;

/// The executor that the configuration asks for.
pub(super) fn executor(config: &Config) -> anyhow::Result<Executor> {
    let user = script_user(config)?;
    let groups = match &config.control_groups {
        ControlGroupPlace::Nowhere => None,
        ControlGroupPlace::Delegated => ControlGroups::prepare(None)?,
        ControlGroupPlace::Directory(path) => {
            ControlGroups::prepare(Some(path)).map_err(|error| hindered(error.to_string()))?
        }
    };
    if user.is_some() {
        make_passable(&config.data_directory)?;
    }
    Ok(Executor::new()?.run_as(user).in_groups(groups))
}

/// Who scripts run as, if not as this process does.
pub(super) fn script_user(config: &Config) -> anyhow::Result<Option<ScriptUser>> {
    match &config.run_as {
        Some(name) => ScriptUser::find(name).map_err(|error| match &error {
            // Rights come with the start.
            ScriptUserError::NotAllowed { .. } => usage(error.to_string()),
            // A directory of users elsewhere may not answer yet.
            ScriptUserError::Unknown(_) | ScriptUserError::LookUp { .. } => hindered(error.to_string()),
        }),
        None => Ok(None),
    }
}

/// Tries what every run as another user needs; an error names what is in the way.
pub(super) async fn rehearse(executor: &Executor, interpreter: &Interpreter, config: &Config) -> anyhow::Result<()> {
    let Some(user) = executor.user() else { return Ok(()) };
    executor
        .rehearse(interpreter, &config.scripts_directory)
        .await
        .map_err(|error| {
            hindered(format!(
                "scripts cannot run as `{}` (`DROPCRON_RUN_AS`): {error}; that user must be able to reach the interpreter `{}`, the \
                 scripts directory `{}` and the data directory `{}`",
                user.name,
                interpreter.path.display(),
                config.scripts_directory.display(),
                config.data_directory.display()
            ))
        })
}

/// Says what protects what, and what does not.
pub(super) fn report(executor: &Executor) {
    match executor.user() {
        Some(user) if can_hide_others() => {
            tracing::info!(
                script.user = user.name,
                "scripts run as another user, each out of sight of the others"
            );
        }
        Some(user) => tracing::warn!(
            script.user = user.name,
            "scripts run as another user; they can read each other's environment, secrets included, since this kernel has no Landlock"
        ),
        None if rustix::process::geteuid().is_root() => tracing::warn!(
            "scripts run as root: nothing on this machine is hidden from them, the credentials of the database and all secrets \
             included; `DROPCRON_RUN_AS` gives them another user"
        ),
        None => tracing::info!(
            "scripts run as this user: they can read its files, the secrets directory and each other's environment, and reach a \
             private database; `DROPCRON_RUN_AS` gives them another user"
        ),
    }
    match executor.groups() {
        Some(groups) => tracing::info!(
            path = %groups.directory().display(),
            memory = enforcer(groups.limits_memory()),
            processes = enforcer(groups.limits_processes()),
            "each run has a control group"
        ),
        None => {
            tracing::debug!("no control group was given to this process; limits are watched by the keeper of each run")
        }
    }
}

fn enforcer(by_kernel: bool) -> &'static str {
    if by_kernel {
        "limited by the kernel"
    } else {
        "watched by the keeper"
    }
}
