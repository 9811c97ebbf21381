//! Makes a new cluster, and reads which version made an old one.
//!
//! A cluster is made under a temporary name, with its database in it, and renamed into place: `postgres/data` is either
//! whole or absent.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::account::Account;
use super::layout::Layout;
use super::{Binaries, ClusterError, ROLE_AND_DATABASE};

/// Names of clusters in the making begin with this; the pid of their maker follows.
pub(super) const UNFINISHED_PREFIX: &str = "data.new-";

/// The major version of the cluster, from its `PG_VERSION`.
pub(super) fn cluster_version(layout: &Layout) -> Result<u32, ClusterError> {
    let cluster = layout.cluster();
    let not_a_cluster = |problem: String| ClusterError::NotACluster {
        cluster: cluster.clone(),
        problem,
    };
    let text = fs::read_to_string(cluster.join("PG_VERSION"))
        .map_err(|error| not_a_cluster(format!("cannot read its `PG_VERSION`: {error}")))?;
    // "9.6" was the last version with a point in it.
    let major = text.trim().split('.').next().unwrap_or_default();
    major
        .parse()
        .map_err(|_| not_a_cluster(format!("its `PG_VERSION` says `{}`", text.trim())))
}

/// Whether a cluster is there, whole or broken.
pub(super) fn exists(layout: &Layout) -> bool {
    layout.cluster().symlink_metadata().is_ok()
}

/// Makes the cluster. Only under the control lock.
pub(super) fn initialize(layout: &Layout, binaries: &Binaries, account: &Account) -> Result<(), ClusterError> {
    remove_unfinished(layout);
    let unfinished = layout.root().join(format!("{UNFINISHED_PREFIX}{}", std::process::id()));
    tracing::info!(
        postgres.version = binaries.version,
        "making a private Postgres cluster in `{}`",
        layout.cluster().display()
    );
    let made = make(layout, &unfinished, binaries, account);
    if made.is_err() {
        remove(&unfinished);
    }
    made
}

fn make(layout: &Layout, unfinished: &Path, binaries: &Binaries, account: &Account) -> Result<(), ClusterError> {
    DirBuilder::new()
        .mode(0o700)
        .create(unfinished)
        .map_err(ClusterError::io("create", unfinished))?;
    account.own_path(unfinished)?;
    account.check_reaches(unfinished)?;
    run_initdb(layout, unfinished, binaries, account)?;
    create_database(layout, unfinished, binaries, account)?;

    fs::rename(unfinished, layout.cluster()).map_err(ClusterError::io("rename", unfinished))?;
    sync_directory(layout.root())
}

/// Makes a cluster without our database under a temporary name, for `pg_upgrade`, which fills it. Only under the control lock.
pub(super) fn make_empty(layout: &Layout, binaries: &Binaries, account: &Account) -> Result<PathBuf, ClusterError> {
    remove_unfinished(layout);
    let directory = layout.root().join(format!("{UNFINISHED_PREFIX}{}", std::process::id()));
    DirBuilder::new()
        .mode(0o700)
        .create(&directory)
        .map_err(ClusterError::io("create", &directory))?;
    let made = account
        .own_path(&directory)
        .and_then(|()| run_initdb(layout, &directory, binaries, account));
    match made {
        Ok(()) => Ok(directory),
        Err(error) => {
            remove(&directory);
            Err(error)
        }
    }
}

/// The C locale: sorting that no update of the system's libraries can change under an index.
fn run_initdb(layout: &Layout, directory: &Path, binaries: &Binaries, account: &Account) -> Result<(), ClusterError> {
    let mut initdb = account.command(&binaries.program("initdb"));
    initdb
        .arg("--pgdata")
        .arg(directory)
        .args(["--username", ROLE_AND_DATABASE]);
    initdb.args([
        "--encoding=UTF8",
        "--no-locale",
        "--data-checksums",
        "--auth=peer",
        "--no-instructions",
    ]);
    run(initdb, "", layout)
}

/// Creates the database before any server runs, so that a cluster in place has it for certain.
fn create_database(
    layout: &Layout,
    directory: &Path,
    binaries: &Binaries,
    account: &Account,
) -> Result<(), ClusterError> {
    let mut postgres = account.command(&binaries.program("postgres"));
    postgres
        .args(["--single", "-c", "exit_on_error=true", "-D"])
        .arg(directory)
        .arg("postgres");
    run(postgres, &format!("CREATE DATABASE {ROLE_AND_DATABASE};\n"), layout)
}

/// How a program ended, and the end of what it said.
pub(super) struct ProgramOutput {
    pub(super) is_success: bool,
    pub(super) text: String,
}

/// Runs a program to its end, without input.
pub(super) fn output_of(mut command: Command) -> Result<ProgramOutput, ClusterError> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|source| ClusterError::Spawn {
            program: Path::new(command.get_program()).to_owned(),
            source,
        })?;
    let said = [output.stdout, output.stderr].concat();
    let said = format!("{}\n({})", String::from_utf8_lossy(&said).trim(), output.status);
    Ok(ProgramOutput {
        is_success: output.status.success(),
        text: super::server::last_lines(&said),
    })
}

/// Runs one step to its end. It stays in our process group, so that Ctrl-C ends it too.
fn run(mut command: Command, input: &str, layout: &Layout) -> Result<(), ClusterError> {
    let program = Path::new(command.get_program()).to_owned();
    let spawn_error = |source| ClusterError::Spawn {
        program: program.clone(),
        source,
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(spawn_error)?;
    // A program that ends early does not read this; its exit status then tells why.
    let _ = child.stdin.take().map(|mut stdin| stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().map_err(spawn_error)?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let output = super::server::last_lines(&format!(
        "{}\n({})",
        String::from_utf8_lossy(&said).trim(),
        output.status
    ));
    Err(ClusterError::InitializationFailed {
        cluster: layout.cluster(),
        program,
        output,
    })
}

pub(super) fn sync_directory(directory: &Path) -> Result<(), ClusterError> {
    File::open(directory)
        .and_then(|opened| opened.sync_all())
        .map_err(ClusterError::io("sync", directory))
}

/// Removes what makers that were killed left behind.
fn remove_unfinished(layout: &Layout) {
    for entry in fs::read_dir(layout.root()).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED_PREFIX) {
            remove(&entry.path());
        }
    }
}

/// Leftovers cost room and nothing else, so a failure is only told.
pub(super) fn remove(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(error = %error, "could not remove the unfinished cluster `{}`", directory.display())
        }
    }
}
