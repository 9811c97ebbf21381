//! What a command needs to make environments: interpreters, uv, and the builder that has both.

use std::sync::Arc;

use super::access::Access;
use crate::config::Config;
use crate::executor::{Executor, Interpreter};
use crate::service::builder::Builder;
use crate::service::wake::Wake;

/// The interpreter of scripts that ask for nothing, or what to tell everybody whose run needs one.
pub(super) async fn default_interpreter(config: &Arc<Config>) -> anyhow::Result<Result<Interpreter, String>> {
    let config = config.clone();
    let found = tokio::task::spawn_blocking(move || {
        Interpreter::find(
            config.python.as_deref(),
            config.environment.get("PATH").map(|path| path.as_os_str()),
            &config.data_directory,
        )
    })
    .await?;
    Ok(found.map_err(|error| error.to_string()))
}

/// The builder of somebody in a terminal.
pub(super) async fn builder(config: &Config, access: &Access) -> anyhow::Result<Arc<Builder>> {
    let config = Arc::new(config.clone());
    let interpreter = default_interpreter(&config).await?;
    let user = super::isolation::script_user(&config)?;
    let executor = Executor::new()?.run_as(user);
    let (database, wake) = (access.database.clone(), Arc::new(Wake::default()));
    Ok(Builder::new(config, database, wake, executor, interpreter, true))
}
