//! Who scripts run as, where that is not who dropcron runs as (`DROPCRON_RUN_AS`).
//!
//! Owns looking the user up, and the change of identity in the process that becomes the script. In the flow it stands between
//! the configuration and the keeper. Another user is what keeps the scheduler's credentials, its files and the database's
//! socket from scripts; Landlock keeps the runs of this one user apart.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use landlock::{
    AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, make_bitflags,
};
use nix::unistd::{Gid, User, getgrouplist};
use rustix::process::{Gid as RawGid, Uid as RawUid};
use rustix::thread::{CapabilitySet, CapabilitySets};

/// The user of the scripts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptUser {
    /// Its name.
    pub name: String,
    /// Its home, as the system knows it.
    pub home: PathBuf,
    /// Its numbers.
    pub identity: Identity,
}

/// The numbers that a process becomes. As text: `uid:gid:group,group`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub uid: u32,
    /// Its main group.
    pub gid: u32,
    /// All its groups.
    pub groups: Vec<u32>,
}

/// Scripts cannot run as the wanted user.
#[derive(Debug, thiserror::Error)]
pub enum ScriptUserError {
    /// Nobody has this name.
    #[error(
        "`DROPCRON_RUN_AS` is `{0}`, and there is no such user; make one (`useradd --system {0}`), or name another"
    )]
    Unknown(String),
    /// The system does not answer.
    #[error("`DROPCRON_RUN_AS` is `{name}`, and the system cannot look that user up: {source}")]
    LookUp {
        /// The user.
        name: String,
        /// What it says.
        source: io::Error,
    },
    /// This process may not become somebody else.
    #[error(
        "`DROPCRON_RUN_AS` is `{name}`, but this process may not become another user; start it as root, or once give the \
         program what it takes: `setcap cap_setuid,cap_setgid,cap_kill,cap_chown,cap_fowner,cap_dac_override=ep {program}`"
    )]
    NotAllowed {
        /// The user.
        name: String,
        /// This program.
        program: String,
    },
}

/// What a process needs to run scripts as another user, to clean up behind them and to end them.
pub(super) const NEEDED: CapabilitySet = CapabilitySet::SETUID
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::DAC_OVERRIDE);

impl ScriptUser {
    /// The user of this name. None if that is who this process is anyway.
    pub fn find(name: &str) -> Result<Option<ScriptUser>, ScriptUserError> {
        let failed = |error: nix::errno::Errno| ScriptUserError::LookUp {
            name: name.to_owned(),
            source: error.into(),
        };
        let user = User::from_name(name)
            .map_err(failed)?
            .ok_or_else(|| ScriptUserError::Unknown(name.to_owned()))?;
        if user.uid.as_raw() == rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        if !may_become_another() {
            return Err(ScriptUserError::NotAllowed {
                name: name.to_owned(),
                program: std::env::current_exe().unwrap_or_default().display().to_string(),
            });
        }
        // A name with a NUL has been refused above: it is nobody's.
        let c_name = std::ffi::CString::new(name).map_err(|_| ScriptUserError::Unknown(name.to_owned()))?;
        let groups = getgrouplist(&c_name, user.gid).map_err(failed)?;
        Ok(Some(ScriptUser {
            name: user.name,
            home: user.dir,
            identity: Identity {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
                groups: groups.into_iter().map(Gid::as_raw).collect(),
            },
        }))
    }
}

fn may_become_another() -> bool {
    rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(NEEDED))
}

impl Identity {
    /// Makes this process the user's, for good. It must have one thread.
    pub(super) fn assume(&self) -> io::Result<()> {
        let (uid, gid) = (RawUid::from_raw(self.uid), RawGid::from_raw(self.gid));
        let groups: Vec<RawGid> = self.groups.iter().map(|group| RawGid::from_raw(*group)).collect();
        // The pipe of its output is its own then: what opens `/dev/stderr` by name asks for the right to.
        rustix::fs::fchown(rustix::stdio::stderr(), Some(uid), Some(gid))?;
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        // The kernel takes them from a root that leaves, not from a program that had them from its file.
        let none = CapabilitySet::empty();
        rustix::thread::set_capabilities(
            None,
            CapabilitySets {
                effective: none,
                permitted: none,
                inheritable: none,
            },
        )?;
        Ok(())
    }
}

/// Puts this process and all that comes from it into a domain of its own: it cannot look into processes outside of it
/// (environment, memory, open files), though they be the same user's. `false` where the kernel cannot do that.
pub(super) fn hide_others() -> bool {
    let enter = || {
        let root = PathFd::new("/").ok()?;
        let domain = domain().ok()?.add_rule(PathBeneath::new(root, RESTRICTED)).ok()?;
        domain.restrict_self().ok()
    };
    enter().is_some()
}

/// Whether this kernel has what `hide_others` takes.
pub fn can_hide_others() -> bool {
    domain().is_ok()
}

/// Landlock must be told of some right to restrict. It is the making of block devices, which takes a privilege that no script
/// has; and the moving of files between directories, which is allowed everywhere, since Landlock would forbid it otherwise.
const RESTRICTED: BitFlags<AccessFs> = make_bitflags!(AccessFs::{MakeBlock | Refer});

fn domain() -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(RESTRICTED)?
        .create()
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<String> = self.groups.iter().map(u32::to_string).collect();
        write!(formatter, "{}:{}:{}", self.uid, self.gid, groups.join(","))
    }
}

impl FromStr for Identity {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Identity, Self::Err> {
        let mut parts = text.splitn(3, ':');
        let mut next = || parts.next().unwrap_or_default();
        Ok(Identity {
            uid: next().parse()?,
            gid: next().parse()?,
            groups: next()
                .split(',')
                .filter(|group| !group.is_empty())
                .map(str::parse)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_text() {
        for text in ["1001:1002:4,27", "7:8:"] {
            assert_eq!(text.parse::<Identity>().unwrap().to_string(), text);
        }
        for text in ["", "1", "1:x:", "1:2:3,y", "-1:2:"] {
            assert!(text.parse::<Identity>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_user_that_is_not_there_is_named() {
        let error = ScriptUser::find("no-such-user-here").unwrap_err().to_string();
        assert!(
            error.contains("`no-such-user-here`") && error.contains("useradd"),
            "{error}"
        );
    }
}
