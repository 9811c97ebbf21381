//! One file per verb of the command line: the only place where the rooms of the house are wired together.

mod access;

mod output;

mod isolation;

mod packages;

mod service_manager;

mod serve;

mod health;

mod doctor;

mod generate;

mod api;

mod token;

mod remote;

mod check;

mod next;

mod run;

mod tasks;

mod runs;

mod logs;

mod why;

mod values;

mod export;

mod import;

mod backfill;

mod diff;

mod report;

mod pause;

mod notify;

mod prune;

mod environments;

mod lock;

mod psql;

mod database;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, DatabaseVerb, EnvironmentsVerb, ExportVerb, ImportVerb, NotifyVerb, TokenVerb, Verb};
use crate::config::{Config, Environment};
use crate::database::cluster::ClusterError;
use crate::database::cluster::ServeLockError;
use crate::database::{MigrationError, PoolError};
use crate::executor::withhold_capabilities;
use crate::telemetry;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// All is well.
    Ok,
    /// The run failed, or problems were found.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// There is no such thing.
    NotFound,
    /// The database cannot be reached.
    Unreachable,
    /// Something on this machine is in the way, and may be mended without an edit: another try may succeed.
    Hindered,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::Unreachable => 4,
            Exit::Hindered => 5,
        })
    }
}

/// An error that says which exit code it stands for.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct ExitError {
    exit: Exit,
    message: String,
}

/// The command line or the configuration is wrong. A service that ends with this is not started again: only an edit helps.
fn usage(message: impl Into<String>) -> anyhow::Error {
    ExitError {
        exit: Exit::Usage,
        message: message.into(),
    }
    .into()
}

/// Something on this machine is in the way.
fn hindered(message: impl Into<String>) -> anyhow::Error {
    ExitError {
        exit: Exit::Hindered,
        message: message.into(),
    }
    .into()
}

/// There is no such thing.
fn not_found(message: impl Into<String>) -> anyhow::Error {
    ExitError {
        exit: Exit::NotFound,
        message: message.into(),
    }
    .into()
}

/// The exit code of an error.
fn exit_of(error: &anyhow::Error) -> Exit {
    let unreachable = error.chain().any(|cause| {
        cause.is::<PoolError>()
            || cause.is::<ClusterError>()
            || matches!(cause.downcast_ref(), Some(MigrationError::Connect(_)))
    });
    // A disk that is full or not mounted yet; that somebody else serves on it is nothing of that kind.
    let unusable = error
        .chain()
        .any(|cause| matches!(cause.downcast_ref(), Some(ServeLockError::Io { .. })));
    match error.downcast_ref::<ExitError>() {
        Some(error) => error.exit,
        None if unusable => Exit::Hindered,
        None if unreachable => Exit::Unreachable,
        None => Exit::Failed,
    }
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    hide_from_scripts();
    if let Err(error) = withhold_capabilities() {
        telemetry::report_fatal(&format!(
            "the ambient capabilities cannot be kept from other programs: {error}"
        ));
        return Exit::Failed.into();
    }
    match run_command_line(Cli::parse()) {
        Ok(exit) => exit.into(),
        Err(error) => {
            telemetry::report_fatal(&format!("{error:#}"));
            exit_of(&error).into()
        }
    }
}

/// Keeps this process's memory and environment, with the database's password in it, from other processes of the same user:
/// the kernel lets nobody but root look into what leaves no core dump. What it starts begins anew.
fn hide_from_scripts() {
    // Refused by no Linux that there is; elsewhere there is nothing to hide behind.
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

fn run_command_line(cli: Cli) -> anyhow::Result<Exit> {
    let environment = Environment::of_process();
    let default_level = if matches!(cli.verb, Verb::Serve) {
        "info"
    } else {
        "warn"
    };
    telemetry::init(&environment, default_level).map_err(|error| usage(error.to_string()))?;
    let mut config = Config::read(environment, cli.common.scripts.as_deref(), cli.common.data.as_deref())
        .map_err(|error| usage(error.to_string()))?;
    remote::apply_flags(&mut config, cli.common.server, cli.common.token_file.as_deref())?;
    remote::check_verb(&cli.verb, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let exit = runtime.block_on(dispatch(cli.verb, config));
    // A thread that still reads a terminal must not hold the process.
    runtime.shutdown_background();
    exit
}

/// Does what a verb says.
async fn dispatch(verb: Verb, config: Config) -> anyhow::Result<Exit> {
    match verb {
        Verb::Serve => serve::serve(config).await,
        Verb::Health(arguments) => health::health(&arguments, &config).await,
        Verb::Doctor(arguments) => doctor::doctor(&arguments, config).await,
        Verb::Generate(verb) => generate::generate(&verb),
        Verb::Check(arguments) => check::check(&arguments, config),
        Verb::Next(arguments) => next::next(&arguments, &config).await,
        Verb::Run(arguments) => run::run(&arguments, config).await,
        Verb::Tasks(arguments) => tasks::tasks(&arguments, &config).await,
        Verb::Runs(arguments) => runs::runs(&arguments, &config).await,
        Verb::Logs(arguments) => logs::logs(&arguments, &config).await,
        Verb::Why(arguments) => why::why(&arguments, &config).await,
        Verb::Values(arguments) => values::values(&arguments, &config).await,
        Verb::Export(ExportVerb::Values(arguments)) => export::values(&arguments, &config).await,
        Verb::Import(ImportVerb::Values(arguments)) => import::values(&arguments, &config).await,
        Verb::Backfill(arguments) => backfill::backfill(&arguments, &config).await,
        Verb::Report(arguments) => report::report(&arguments, &config).await,
        Verb::Roles(arguments) => report::roles(&arguments, &config).await,
        Verb::Diff(arguments) => diff::diff(&arguments, &config).await,
        Verb::Pause(arguments) => pause::pause(&arguments, &config).await,
        Verb::Resume(arguments) => pause::resume(&arguments, &config).await,
        Verb::Cancel(arguments) => runs::cancel(&arguments, &config).await,
        Verb::Notify(NotifyVerb::Test(arguments)) => notify::test(&arguments, &config).await,
        Verb::Notify(NotifyVerb::List(arguments)) => notify::list(&arguments, &config).await,
        Verb::Prune(arguments) => prune::prune(&arguments, &config).await,
        Verb::Environments(arguments) => match &arguments.verb {
            Some(EnvironmentsVerb::Prune(arguments)) => environments::prune(arguments, &config).await,
            None => environments::list(&arguments, &config).await,
        },
        Verb::Lock(arguments) => lock::lock(&arguments, &config).await,
        Verb::Token(TokenVerb::Create(arguments)) => token::create(&arguments, &config).await,
        Verb::Token(TokenVerb::List(arguments)) => token::list(&arguments, &config).await,
        Verb::Token(TokenVerb::Revoke(arguments)) => token::revoke(&arguments, &config).await,
        Verb::Psql(arguments) => psql::psql(&arguments, &config).await,
        Verb::Database(DatabaseVerb::Upgrade(arguments)) => database::upgrade(&arguments, &config).await,
        Verb::DatabaseUrl(arguments) => psql::database_url(&arguments, &config).await,
    }
}

/// Who is at the keyboard, for the audit.
fn actor() -> String {
    let name = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .or_else(|_| std::env::var("LOGNAME"));
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!(
        "{}@{host}",
        name.unwrap_or_else(|_| format!("uid {}", rustix::process::getuid().as_raw()))
    )
}
