//! `dropcron database`: the database in use as a whole. Dumped to a file and restored from one; the private Postgres on a newer major
//! version.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use anyhow::Context as _;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::access::Access;
use super::output::{print, print_json, say};
use super::{Exit, ExitError, not_found, usage};
use crate::cli::{DatabaseDumpArgs, DatabaseRestoreArgs, DatabaseUpgradeArgs};
use crate::config::Config;
use crate::database::cluster::{Cluster, Upgrade};
use crate::database::{ClusterSettings, REPORT_SCHEMA, SCHEMA, ServeLock};
use crate::store::Connection;
use crate::store::nodes;
use crate::store::report;
use crate::store::server::{self, Vacancy};

/// Stands for standard input or output.
const STANDARD: &str = "-";

/// Writes all that dropcron has in the database to a file, in the custom format of `pg_dump`.
pub(super) async fn dump(arguments: &DatabaseDumpArgs, config: &Config) -> anyhow::Result<Exit> {
    let is_private =
        config.database_url.is_none() && config.service.as_ref().is_none_or(|note| note.database.is_none());
    if is_private && !Cluster::is_made(&config.data_directory) {
        return Err(not_found(format!(
            "there is no private Postgres in `{}` yet: nothing is to be dumped; name another data directory with `--data`, or a \
             database in `DATABASE_URL`",
            config.data_directory.display()
        )));
    }
    let target = DumpTarget::open(&arguments.file)?;
    let access = Access::connect(config).await?;
    let dumped = pg_dump(&access, &target).await;
    access.close().await?;
    match dumped {
        Ok(()) => target.keep()?,
        Err(error) => {
            target.discard();
            return Err(error);
        }
    }
    Ok(Exit::Ok)
}

async fn pg_dump(access: &Access, target: &DumpTarget) -> anyhow::Result<()> {
    let (mut command, url) = access.client("pg_dump")?;
    command.args([
        "--format=custom",
        "--no-password",
        "--schema",
        SCHEMA,
        "--schema",
        REPORT_SCHEMA,
    ]);
    command
        .args(["--dbname", &url])
        .stdin(Stdio::null())
        .stdout(target.output()?);
    let status = to_its_end(command, "pg_dump").await?;
    succeeded(status, "pg_dump", "nothing was written")
}

/// Where a dump goes: a file gets its name when all of it is there.
enum DumpTarget {
    Standard,
    File {
        unfinished: PathBuf,
        file: File,
        path: PathBuf,
    },
}

impl DumpTarget {
    fn open(path: &Path) -> anyhow::Result<DumpTarget> {
        if path.as_os_str() == STANDARD {
            if io::stdout().is_terminal() {
                return Err(usage(
                    "a dump is not for a terminal: send standard output into a file, or name one in place of `-`",
                ));
            }
            return Ok(DumpTarget::Standard);
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unfinished-{}", std::process::id()));
        let unfinished = path.with_file_name(name);
        // It holds everything: values, output, the hashes of tokens.
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished);
        let file = opened.map_err(|error| {
            usage(format!(
                "`{}` cannot be written: {error}; name a file where this user may write, or write to `-` and send that into a file",
                path.display()
            ))
        })?;
        Ok(DumpTarget::File {
            unfinished,
            file,
            path: path.to_owned(),
        })
    }

    fn output(&self) -> io::Result<Stdio> {
        match self {
            DumpTarget::Standard => Ok(Stdio::inherit()),
            DumpTarget::File { file, .. } => Ok(file.try_clone()?.into()),
        }
    }

    fn keep(self) -> anyhow::Result<()> {
        let DumpTarget::File { unfinished, file, path } = self else {
            return Ok(());
        };
        let kept = file.sync_all().and_then(|()| std::fs::rename(&unfinished, &path));
        kept.with_context(|| format!("the dump cannot be kept as `{}`", path.display()))
    }

    fn discard(self) {
        if let DumpTarget::File { unfinished, .. } = self {
            let _ = std::fs::remove_file(unfinished);
        }
    }
}

/// Puts what was dumped into a database that holds nothing of dropcron's yet.
pub(super) async fn restore(arguments: &DatabaseRestoreArgs, config: &Config) -> anyhow::Result<Exit> {
    let source = open_dump(&arguments.file)?;
    // A service would fill the database meanwhile.
    let _lock = ServeLock::acquire(&config.data_directory)?;
    let access = Access::connect(config).await?;
    let restored = restore_into(&access, config, source).await;
    access.close().await?;
    restored?;
    say("restored; the next `dropcron serve` brings the schema up to date where it is older, and goes on from there\n");
    Ok(Exit::Ok)
}

fn open_dump(path: &Path) -> anyhow::Result<Stdio> {
    if path.as_os_str() == STANDARD {
        return Ok(Stdio::inherit());
    }
    let file = File::open(path)
        .map_err(|error| not_found(format!("the dump `{}` cannot be read: {error}", path.display())))?;
    Ok(file.into())
}

async fn restore_into(access: &Access, config: &Config, dump: Stdio) -> anyhow::Result<()> {
    let mut connection = access.database.direct().await?;
    let vacancy = server::vacancy(&mut connection).await?;
    make_room(&mut connection, vacancy, config).await?;
    let (mut command, url) = access.client("pg_restore")?;
    // Everything becomes this role's, whoever owned it where it comes from.
    command.args(["--single-transaction", "--exit-on-error", "--no-owner", "--no-password"]);
    if vacancy.has_roles {
        report::make_role_names(&mut connection)
            .await
            .context("the roles of the reports cannot be made")?;
    } else {
        command.arg("--no-privileges");
        say(
            "note: this role may not make the roles of the reports; `dropcron roles --sql` prints what somebody else may run\n",
        );
    }
    drop(connection);
    command.args(["--dbname", &url]).stdin(dump).stdout(Stdio::null());
    let status = to_its_end(command, "pg_restore").await?;
    succeeded(status, "pg_restore", "nothing of the dump was kept")
}

/// The schemas come with the dump. Those of a database in which dropcron has not run anything yet make room for them.
async fn make_room(connection: &mut Connection, vacancy: Vacancy, config: &Config) -> anyhow::Result<()> {
    if vacancy.has_tables && (nodes::alive(connection).await?.nodes > 0 || server::holds_rows(connection).await?) {
        let instead = if config.database_url.is_some() {
            "name an empty database in `DATABASE_URL` (`createdb`)".to_owned()
        } else {
            format!(
                "move `{}` away, and a new one is made",
                config.data_directory.join("postgres").display()
            )
        };
        return Err(ExitError {
            exit: Exit::Failed,
            message: format!("the database in use has tasks, runs or a service already, and a dump is restored into an empty one: {instead}"),
        }
        .into());
    }
    if !vacancy.may_create {
        return Err(usage(
            "this role may not make schemas in the database in use, which a dump begins with: `GRANT CREATE ON DATABASE ... TO ...`",
        ));
    }
    if vacancy.has_schemas {
        server::drop_schemas(connection)
            .await
            .context("the empty schemas cannot be removed")?;
    }
    Ok(())
}

/// Ctrl-C is for the program too; this process leaves after it.
async fn to_its_end(mut command: tokio::process::Command, name: &str) -> anyhow::Result<ExitStatus> {
    let _interrupt = signal(SignalKind::interrupt())?;
    command
        .status()
        .await
        .with_context(|| format!("`{name}` cannot be started"))
}

fn succeeded(status: ExitStatus, name: &str, consequence: &str) -> anyhow::Result<()> {
    if status.success() {
        return Ok(());
    }
    anyhow::bail!("`{name}` failed ({status}): {consequence}")
}

/// Moves the private Postgres to a newer major version, and gathers its statistics anew.
pub(super) async fn upgrade(arguments: &DatabaseUpgradeArgs, config: &Config) -> anyhow::Result<Exit> {
    if config.database_url.is_some() {
        return Err(usage(
            "`DATABASE_URL` names a Postgres that is not dropcron's own; upgrade it as its operator does",
        ));
    }
    let lock = ServeLock::acquire(&config.data_directory)?;
    let (settings, to) = (ClusterSettings::new(config.data_directory.clone()), arguments.to);
    let upgraded = tokio::task::spawn_blocking(move || Cluster::upgrade(&settings, to)).await??;
    drop(lock);
    // Before anything else can fail: it says where the old cluster is.
    if arguments.json {
        print_json(&for_machines(&upgraded))?;
    } else {
        print(&for_people(&upgraded))?;
    }
    // Also where nothing was moved: an earlier call may have been interrupted here.
    analyze(config)
        .await
        .context("the statistics are not gathered, without which every plan is a guess; `dropcron database upgrade` again does that")?;
    Ok(Exit::Ok)
}

/// A new major version begins without statistics.
async fn analyze(config: &Config) -> anyhow::Result<()> {
    let access = Access::open(config).await?;
    let (mut command, url) = access.client("vacuumdb")?;
    command.args(["--analyze-only", "--quiet", "--dbname", &url]);
    let status = to_its_end(command, "vacuumdb").await;
    access.close().await?;
    succeeded(status?, "vacuumdb", "the cluster itself is well")
}

fn for_machines(upgraded: &Upgrade) -> serde_json::Value {
    match upgraded {
        Upgrade::NothingToDo { version } => json!({"upgraded": false, "version": version}),
        Upgrade::Done { from, to, kept } => json!({"upgraded": true, "from": from, "version": to, "kept": kept}),
    }
}

fn for_people(upgraded: &Upgrade) -> String {
    match upgraded {
        Upgrade::NothingToDo { version } => format!("the private Postgres is of version {version} already\n"),
        Upgrade::Done { from, to, kept } => format!(
            "the private Postgres is of version {to} now\nthe cluster of version {from} is kept in `{}`; remove it once you are \
             sure\n",
            kept.display()
        ),
    }
}
