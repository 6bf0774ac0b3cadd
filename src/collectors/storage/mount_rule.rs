//! Which mounts matter: those that store something. A rule and not a list of names to ignore, so that the next pseudo
//! file system of the kernel is ignored too.

use serde::{Deserialize, Serialize};

use super::place::Place;
use crate::{collectors::pattern::Patterns, settings::Table};

/// Types that store elsewhere or name no device as their source.
const STORING: &[&str] = &[
    "9p",
    "afs",
    "bcachefs",
    "beegfs",
    "btrfs",
    "ceph",
    "cifs",
    "gfs2",
    "glusterfs",
    "jffs2",
    "lustre",
    "nfs",
    "nfs4",
    "ocfs2",
    "orangefs",
    "smb3",
    "smbfs",
    "ubifs",
    "vboxsf",
    "virtiofs",
    "vmhgfs",
    "zfs",
];
/// What is said to be FUSE and stores nothing.
const FUSE_VIEWS: &[&str] = &["fuse.gvfsd-fuse", "fuse.lxcfs", "fuse.portal", "fuse.rofiles-fuse", "fuse.snapfuse"];
/// Types that show another file system again, whatever their source is called.
const VIEWS: &[&str] = &["autofs", "overlay", "tmpfs", "ramfs", "devtmpfs", "squashfs"];
/// Mount points of containers and services come and go with them; the collector of services tells of those.
const EXCLUDED: &[&str] = &[
    "/var/lib/docker/*",
    "/var/lib/containers/*",
    "/var/lib/kubelet/*",
    "/run/credentials/*",
    "/run/containerd/*",
    "/run/user/*",
];
/// Types that are written once and full by nature.
const IMAGES: &[&str] = &["squashfs", "iso9660", "udf", "erofs", "cramfs", "romfs", "composefs"];

/// Patterns that widen and narrow the rule. One that begins with `/` is compared with the mount point, any other with
/// the type; `*` stands for anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct MountRule {
    include: Selection,
    exclude: Selection,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Selection {
    mountpoints: Patterns,
    types: Patterns,
}

impl MountRule {
    /// Reads `include` and `exclude` of the table `mounts`.
    pub(super) fn read(table: &mut Table) -> MountRule {
        MountRule {
            include: Selection::new(table.strings(
                "include",
                &[],
                "mount points (/srv/*) or types (tmpfs) to report although they store nothing",
            )),
            exclude: Selection::new(table.strings(
                "exclude",
                EXCLUDED,
                "mount points (/srv/*) or types (nfs*) never to report",
            )),
        }
    }

    /// Whether a mount is reported.
    pub(super) fn takes(&self, Place { source, mountpoint, fstype, .. }: &Place) -> bool {
        !self.exclude.has(mountpoint, fstype) && (self.include.has(mountpoint, fstype) || stores(source, fstype))
    }
}

impl Selection {
    fn new(patterns: Vec<String>) -> Selection {
        let (mountpoints, types) = patterns.into_iter().partition(|pattern| pattern.starts_with('/'));
        Selection { mountpoints: Patterns::new(mountpoints), types: Patterns::new(types) }
    }

    fn has(&self, mountpoint: &str, fstype: &str) -> bool {
        self.mountpoints.matches(mountpoint) || self.types.matches(fstype)
    }
}

/// Whether a file system of this type can fill up.
pub(super) fn can_fill_up(fstype: &str) -> bool {
    !IMAGES.contains(&fstype)
}

fn stores(source: &str, fstype: &str) -> bool {
    if VIEWS.contains(&fstype) || FUSE_VIEWS.contains(&fstype) {
        return false;
    }
    source.starts_with('/') || STORING.contains(&fstype) || fstype.starts_with("fuse.")
}

#[cfg(test)]
pub(super) fn rule(include: &[&str], exclude: &[&str]) -> MountRule {
    let selection = |list: &[&str]| Selection::new(list.iter().map(|&text| text.to_owned()).collect());
    MountRule { include: selection(include), exclude: selection(exclude) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(source: &str, mountpoint: &str, fstype: &str) -> Place {
        Place { source: source.into(), mountpoint: mountpoint.into(), fstype: fstype.into(), root: "/".into() }
    }

    #[test]
    fn what_stores_is_taken_and_what_the_kernel_makes_up_is_not() {
        let rule = rule(&[], EXCLUDED);
        for (source, mountpoint, fstype) in [
            ("/dev/sda1", "/", "ext4"),
            ("tank/data", "/tank/data", "zfs"),
            ("nas:/export", "/mnt/nas", "nfs4"),
            ("//nas/share", "/mnt/share", "cifs"),
            ("me@host:", "/mnt/host", "fuse.sshfs"),
            ("/dev/sr0", "/media/cd", "iso9660"),
        ] {
            assert!(rule.takes(&place(source, mountpoint, fstype)), "{source} {mountpoint} {fstype}");
        }
        for (source, mountpoint, fstype) in [
            ("proc", "/proc", "proc"),
            ("tmpfs", "/run", "tmpfs"),
            ("overlay", "/var/lib/docker/overlay2/1/merged", "overlay"),
            ("/dev/sda1", "/var/lib/docker/volumes/1", "ext4"),
            ("/dev/loop0", "/snap/core/1", "squashfs"),
            ("gvfsd-fuse", "/home/a/.gvfs", "fuse.gvfsd-fuse"),
            ("/etc/auto.misc", "/misc", "autofs"),
            ("some-new-thing", "/sys/thing", "thingfs"),
        ] {
            assert!(!rule.takes(&place(source, mountpoint, fstype)), "{source} {mountpoint} {fstype}");
        }
    }

    #[test]
    fn settings_widen_and_narrow_the_rule_and_exclusion_wins() {
        let rule = rule(&["tmpfs", "/srv/*"], &["/srv/private*", "nfs*"]);
        assert!(rule.takes(&place("tmpfs", "/tmp", "tmpfs")));
        assert!(rule.takes(&place("proc", "/srv/jail/proc", "proc")));
        assert!(!rule.takes(&place("/dev/sda1", "/srv/private/a", "ext4")));
        assert!(!rule.takes(&place("nas:/export", "/mnt", "nfs4")));
    }
}
