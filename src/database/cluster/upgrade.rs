//! Moves the private cluster to another major version, by `pg_upgrade` of the new one.
//!
//! The new cluster is made beside the old one and takes its place in one step, so that `postgres/data` is whole at every
//! moment; the old one stays beside it, untouched, until somebody removes it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::account::Account;
use super::layout::{Layout, PORT};
use super::locks::{Control, Users};
use super::server::{Server, hba, ident, write_whole};
use super::{Binaries, Cluster, ClusterError, ClusterSettings, ROLE_AND_DATABASE, initialize, postmaster};

/// What became of a cluster that was to be upgraded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// It was of that version.
    NothingToDo {
        /// The version.
        version: u32,
    },
    /// It is of another version now.
    Done {
        /// The version it was of.
        from: u32,
        /// The version it is of.
        to: u32,
        /// Where the old cluster is kept.
        kept: PathBuf,
    },
}

impl Cluster {
    /// Moves the cluster to the version `to`, or to the newest that is installed. Nobody may use it meanwhile. Blocks for as long
    /// as copying the data takes.
    pub fn upgrade(settings: &ClusterSettings, to: Option<u32>) -> Result<Upgrade, ClusterError> {
        let layout = Layout::prepare(&settings.data_directory)?;
        if !initialize::exists(&layout) {
            return Err(ClusterError::NothingToUpgrade {
                cluster: layout.cluster(),
            });
        }
        let control = Control::open(&layout)?;
        let users = Users::open(&layout)?;
        let _held = control.acquire()?;
        if !users.leave_as_last()? {
            return Err(ClusterError::InUse {
                cluster: layout.cluster(),
            });
        }
        let from = initialize::cluster_version(&layout)?;
        let new = match to {
            Some(version) => Binaries::of_version(version, &layout.cluster(), settings)?,
            None => Binaries::newest(settings)?,
        };
        if new.version == from {
            return Ok(Upgrade::NothingToDo { version: from });
        }
        if new.version < from {
            return Err(ClusterError::Downgrade { from, to: new.version });
        }
        let old = Binaries::of_version(from, &layout.cluster(), settings)?;
        let kept = layout.root().join(format!("data.old-{from}"));
        if kept.symlink_metadata().is_ok() {
            return Err(ClusterError::OldClusterInTheWay { directory: kept });
        }
        // Up and down once: a cluster that crashed is recovered by its own version, and one that is broken is left as it is.
        let mut server = Server::new(layout.clone(), settings.clone());
        server.ensure_ready()?;
        server.stop()?;
        if postmaster::find(&layout).is_some() {
            return Err(ClusterError::InUse {
                cluster: layout.cluster(),
            });
        }
        move_to(&layout, &old, &new, &kept)?;
        Ok(Upgrade::Done {
            from,
            to: new.version,
            kept,
        })
    }
}

fn move_to(layout: &Layout, old: &Binaries, new: &Binaries, kept: &Path) -> Result<(), ClusterError> {
    let account = Account::of_server()?;
    let made = initialize::make_empty(layout, new, &account)?;
    if let Err(error) = copy_into(layout, old, new, &made, &account) {
        initialize::remove(&made);
        return Err(error);
    }
    // Under a name that nobody clears away, then both names change hands at once: a crash leaves the one cluster or the other in
    // place, never none, and removes neither.
    fs::rename(&made, kept).map_err(ClusterError::io("rename", &made))?;
    rustix::fs::renameat_with(CWD, kept, CWD, layout.cluster(), RenameFlags::EXCHANGE)
        .map_err(|error| ClusterError::io("exchange", kept)(error.into()))?;
    initialize::sync_directory(layout.root())
}

/// Runs `pg_upgrade`, from a directory of its own: it writes logs and scripts to where it is.
fn copy_into(
    layout: &Layout,
    old: &Binaries,
    new: &Binaries,
    made: &Path,
    account: &Account,
) -> Result<(), ClusterError> {
    let place = layout.root().join(format!("{}upgrade", initialize::UNFINISHED_PREFIX));
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&place)
        .map_err(ClusterError::io("create", &place))?;
    account.own_path(&place)?;
    let socket_directory = layout.prepare_socket_directory(account)?;
    // The files that `initdb` wrote let nobody in under another name; both servers are reached as ours is.
    for directory in [&layout.cluster(), made] {
        for (file, content) in [("pg_hba.conf", hba()), ("pg_ident.conf", ident(&account.name))] {
            let path = directory.join(file);
            write_whole(&path, content.as_bytes())?;
            account.own_path(&path)?;
        }
    }
    let mut command = account.command(&new.program("pg_upgrade"));
    command.current_dir(&place);
    // Neither listens on the network, and the socket is in a directory of ours: the port is free.
    let (username, port) = (ROLE_AND_DATABASE, PORT.to_string());
    command.args(["--username", username, "--old-port", &port, "--new-port", &port]);
    for (name, path) in [
        ("--old-bindir", &old.directory),
        ("--new-bindir", &new.directory),
        ("--old-datadir", &layout.cluster()),
        ("--new-datadir", &made.to_path_buf()),
        ("--socketdir", &socket_directory),
    ] {
        command.arg(name).arg(path);
    }
    let output = initialize::output_of(command)?;
    initialize::remove(&place);
    if output.is_success {
        return Ok(());
    }
    Err(ClusterError::UpgradeFailed {
        cluster: layout.cluster(),
        version: new.version,
        output: output.text,
    })
}
