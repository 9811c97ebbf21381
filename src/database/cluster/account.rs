//! The OS account of the server: this process's own, or `postgres` where this process is root, because Postgres refuses
//! to run as root.

use std::path::Path;
use std::process::{Command, Stdio};

use std::os::unix::process::CommandExt;

use super::ClusterError;

/// Who the server runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether commands must change to it.
    is_another: bool,
}

/// The `PATH` of a command that runs as another account: nothing of root's own.
const PLAIN_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What an ordinary user's server keeps of the environment; anything `PG*` would change what the binaries do.
const KEPT_VARIABLES: [&str; 5] = ["PATH", "HOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"];

/// Whether this process is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

impl Account {
    /// The account for the server of this process. Runs `id`, which knows users that are not in `/etc/passwd`.
    pub(super) fn of_server() -> Result<Account, ClusterError> {
        if is_root() { Account::postgres() } else { Account::own() }
    }

    fn postgres() -> Result<Account, ClusterError> {
        let number = |flag| identity(&[flag, "postgres"]).and_then(|text| text.parse().ok());
        match (number("-u"), number("-g")) {
            (Some(uid), Some(gid)) if uid != 0 => Ok(Account {
                name: "postgres".to_owned(),
                uid,
                gid,
                is_another: true,
            }),
            _ => Err(ClusterError::NoPostgresUser),
        }
    }

    fn own() -> Result<Account, ClusterError> {
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        let name = identity(&["-un"]).ok_or(ClusterError::NamelessUser { uid })?;
        Ok(Account {
            name,
            uid,
            gid,
            is_another: false,
        })
    }

    /// A command that runs as this account, from `/`, with a clean environment and no standard input.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(self.environment())
            .current_dir("/")
            .stdin(Stdio::null());
        if self.is_another {
            // The standard library also drops root's supplementary groups when it changes the uid.
            command.uid(self.uid).gid(self.gid);
        }
        command
    }

    fn environment(&self) -> Vec<(String, std::ffi::OsString)> {
        let fixed = [("LC_ALL".to_owned(), "C".into()), ("TZ".to_owned(), "UTC".into())];
        if self.is_another {
            return fixed
                .into_iter()
                .chain([("PATH".to_owned(), PLAIN_PATH.into())])
                .collect();
        }
        let kept = KEPT_VARIABLES
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var_os(name)?)));
        fixed.into_iter().chain(kept).collect()
    }

    /// Gives a directory or file to this account. Does not follow a symbolic link.
    pub(super) fn own_path(&self, path: &Path) -> Result<(), ClusterError> {
        if self.is_another {
            std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid)).map_err(ClusterError::io("chown", path))?;
        }
        Ok(())
    }

    /// Checks that this account can enter `directory`, and names the uppermost directory that is in the way. The account
    /// itself is asked, so that access control lists and mounts count too.
    pub(super) fn check_reaches(&self, directory: &Path) -> Result<(), ClusterError> {
        if !self.is_another || self.can_enter(directory)? {
            return Ok(());
        }
        let mut ancestors: Vec<&Path> = directory.ancestors().collect();
        ancestors.reverse();
        for ancestor in ancestors {
            if !self.can_enter(ancestor)? {
                return Err(ClusterError::Unreachable {
                    account: self.name.clone(),
                    directory: ancestor.to_owned(),
                });
            }
        }
        Ok(())
    }

    fn can_enter(&self, directory: &Path) -> Result<bool, ClusterError> {
        let shell = Path::new("/bin/sh");
        let status = self
            .command(shell)
            .args(["-c", "test -x \"$1\"", "sh"])
            .arg(directory)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|source| ClusterError::Spawn {
                program: shell.to_owned(),
                source,
            })?;
        Ok(status.success())
    }
}

/// What `id` prints, or `None` where it knows nobody.
fn identity(arguments: &[&str]) -> Option<String> {
    let output = Command::new("id").args(arguments).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
