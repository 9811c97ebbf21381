//! Who a command of root's works as: the owner of the data directory, as the service there does.
//!
//! Files that root made there would be in the way of the service. Starting scripts as `DROPCRON_RUN_AS` takes rights of root's;
//! they are kept where the kernel says that the service there has them too.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, getgrouplist};
use rustix::process::{Gid as RawGid, Uid as RawUid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::capabilities::withhold_capabilities;
use super::script_user::{NEEDED, may_become_another};

/// The owner of a directory, where that is somebody else than this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    name: Option<String>,
    home: Option<PathBuf>,
}

impl Owner {
    /// Who owns a directory, if it is there and not this process's own.
    pub fn of(directory: &Path) -> io::Result<Option<Owner>> {
        let Ok(found) = fs::metadata(directory) else {
            return Ok(None);
        };
        if found.uid() == rustix::process::geteuid().as_raw() {
            return Ok(None);
        }
        let user = User::from_uid(Uid::from_raw(found.uid()))?;
        let Some(user) = user else {
            return Ok(Some(Owner {
                uid: found.uid(),
                gid: found.gid(),
                groups: vec![found.gid()],
                name: None,
                home: None,
            }));
        };
        let name = std::ffi::CString::new(user.name.as_str())?;
        let groups = getgrouplist(&name, user.gid)?;
        Ok(Some(Owner {
            uid: found.uid(),
            gid: user.gid.as_raw(),
            groups: groups.into_iter().map(|group| group.as_raw()).collect(),
            name: Some(user.name),
            home: Some(user.dir),
        }))
    }

    /// Its name and its home, as variables have them.
    pub fn variables(&self) -> Vec<(&'static str, OsString)> {
        let name = self
            .name
            .iter()
            .flat_map(|name| ["USER", "LOGNAME"].map(|variable| (variable, name.into())));
        name.chain(self.home.iter().map(|home| ("HOME", home.into()))).collect()
    }

    /// Makes this process, which is root's and has one thread, the owner's for good. `starts_scripts`: with the rights that
    /// starting scripts as another user takes, as far as this root has them.
    pub fn assume(&self, starts_scripts: bool) -> io::Result<()> {
        let (uid, gid) = (RawUid::from_raw(self.uid), RawGid::from_raw(self.gid));
        let groups: Vec<RawGid> = self.groups.iter().map(|group| RawGid::from_raw(*group)).collect();
        let keeps = starts_scripts && may_become_another();
        rustix::thread::set_thread_groups(&groups)?;
        rustix::thread::set_thread_res_gid(gid, gid, gid)?;
        rustix::thread::set_keep_capabilities(keeps)?;
        rustix::thread::set_thread_res_uid(uid, uid, uid)?;
        if keeps {
            rustix::thread::set_keep_capabilities(false)?;
            let sets = CapabilitySets {
                effective: NEEDED,
                permitted: NEEDED,
                inheritable: NEEDED,
            };
            rustix::thread::set_capabilities(None, sets)?;
            // As a service manager lends them: to the keepers of runs alone.
            for capability in NEEDED.iter() {
                rustix::thread::configure_capability_in_ambient_set(capability, true)?;
            }
            withhold_capabilities()?;
        }
        Ok(())
    }

    /// Whether a process of this owner may start scripts as another user, and was told to start them as `name`. Nobody can pretend
    /// that who does not have these rights anyway: the rights, their namespace and the environment are the kernel's word.
    pub fn is_trusted_with(&self, process: u32, name: &str) -> bool {
        let place = PathBuf::from(format!("/proc/{process}"));
        let status = fs::read_to_string(place.join("status")).unwrap_or_default();
        let field = |name: &str| {
            status
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .unwrap_or_default()
        };
        let is_owners = field("Uid:").split_whitespace().all(|uid| uid == self.uid.to_string());
        let rights = u64::from_str_radix(field("CapEff:").trim(), 16).unwrap_or(0);
        let has_rights = CapabilitySet::from_bits_retain(rights).contains(NEEDED);
        let namespace = |process: &Path| fs::read_link(process.join("ns/user")).ok();
        let is_in_ours = namespace(&place).is_some_and(|found| Some(found) == namespace(Path::new("/proc/self")));
        let environment = fs::read(place.join("environ")).unwrap_or_default();
        let wanted = format!("DROPCRON_RUN_AS={name}");
        let was_told = environment
            .split(|&byte| byte == 0)
            .any(|variable| variable == wanted.as_bytes());
        !status.is_empty() && is_owners && has_rights && is_in_ours && was_told
    }
}
