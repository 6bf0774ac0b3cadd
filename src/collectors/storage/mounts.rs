//! Mounts appearing and going, from the kernel's table of mounts.

use crate::order::Gather as _;
use std::{collections::BTreeMap, path::Path};

use serde::{Deserialize, Serialize};

use super::mount_rule::MountRule;
pub(super) use super::place::Place;
use crate::{
    collectors::{finding::Finding, listing::bytes},
    event::Level,
    host::space::Space,
    schema::events::{StorageDatasetPayload, storage_dataset_payload::StorageDatasetOperation as Operation},
};

const COMPONENT: &str = "mounts";
/// How many mounts are followed: more than a data set for each user of a large house. What comes beyond is a blind spot.
pub(super) const MOUNTS_MAX: usize = 16 * 1024;

/// The mounts that matter. Two of the same place in the tree that show the same thing count as one.
pub(super) type Mounts = BTreeMap<Place, Mount>;

/// Sizes of file systems, where they are known.
pub(super) type Spaces = BTreeMap<Place, Space>;

/// What may change of a mount while it stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mount {
    /// `major:minor`.
    pub(super) device: String,
    pub(super) read_only: bool,
    /// It has become read-only while it was mounted, and that was told.
    #[serde(default)]
    pub(super) told: bool,
}

/// Carries over what the table alone does not tell.
pub(super) fn follow(after: &mut Mounts, before: &Mounts) {
    for (place, mount) in after {
        let earlier = before.get(place);
        mount.told = mount.read_only && earlier.is_some_and(|earlier| earlier.told || !earlier.read_only);
    }
}

/// Parses `/proc/self/mountinfo`; lines that make no sense are passed over.
pub(super) fn parse(table: &str, rule: &MountRule) -> Mounts {
    let all: Vec<_> = table.lines().filter_map(parse_line).collect();
    // Of several at one mount point the last is seen.
    let seen: BTreeMap<_, _> = all.iter().map(|(place, mount)| (Path::new(&place.mountpoint), (place, mount))).gather();
    let taken = all.iter().filter(|(place, _)| rule.takes(place));
    let taken = taken.filter(|(place, mount)| !is_private(place) && !shows_nothing_new(&seen, place, mount));
    taken.cloned().gather()
}

/// At most [`MOUNTS_MAX`] of them, first those that are followed already; gives how many are left out, too.
pub(super) fn bounded(mut mounts: Mounts, before: Option<&Mounts>) -> (Mounts, usize) {
    let beyond = mounts.len().saturating_sub(MOUNTS_MAX);
    if beyond > 0 {
        let followed = |place: &Place| before.is_some_and(|before| before.contains_key(place));
        let strangers = mounts.keys().filter(|place| !followed(place)).rev();
        let left_out: Vec<_> = strangers.take(beyond).cloned().collect();
        left_out.iter().for_each(|place| drop(mounts.remove(place)));
    }
    (mounts, beyond)
}

/// Whether a file system is served by another machine, or by a program: such do not always answer.
pub(super) fn is_remote(fstype: &str) -> bool {
    const REMOTE: [&str; 16] = [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse",
        "fuseblk",
        "glusterfs",
        "lustre",
        "nfs",
        "nfs4",
        "orangefs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    ];
    REMOTE.contains(&fstype) || fstype.starts_with("fuse.")
}

/// Whether it is a directory that systemd gives a service for its temporary files (`PrivateTmp=`): the agent's own, for no other's is
/// seen, and another one at each start.
fn is_private(place: &Place) -> bool {
    place.root.contains("/systemd-private-")
}

/// Whether the mount below shows the same files at this place. So are the mounts of which a sandbox is made (a service's
/// own, with `ProtectSystem=`), and they say nothing of the machine.
fn shows_nothing_new(seen: &BTreeMap<&Path, (&Place, &Mount)>, place: &Place, mount: &Mount) -> bool {
    let mountpoint = Path::new(&place.mountpoint);
    let below = mountpoint.ancestors().skip(1).find_map(|above| Some((above, seen.get(above)?)));
    below.is_some_and(|(above, (lower, lower_mount))| {
        let shown = mountpoint.strip_prefix(above).map(|rest| Path::new(&lower.root).join(rest));
        lower_mount.device == mount.device && shown.is_ok_and(|shown| shown == Path::new(&place.root))
    })
}

/// `36 35 98:0 /root /mount/point rw,noatime master:1 - ext3 /dev/source rw,errors=continue`
fn parse_line(line: &str) -> Option<(Place, Mount)> {
    let (own, super_block) = line.split_once(" - ")?;
    let mut own = own.split(' ').skip(2);
    let (device, root, mountpoint) = (own.next()?, own.next()?, own.next()?);
    let mut super_block = super_block.split(' ');
    let (fstype, source) = (super_block.next()?, super_block.next()?);
    let super_options = super_block.next().unwrap_or_default();
    let place = Place::new(unescape(mountpoint), &unescape(source), unescape(fstype), unescape(root));
    // Not the mount's own options: a service that may not write (ProtectSystem=) sees every mount as read-only.
    let read_only = super_options.split(',').any(forbids_writing);
    Some((place, Mount { device: device.to_owned(), read_only, told: false }))
}

/// ext4 leaves `rw` standing when it has stopped writing after an error.
fn forbids_writing(option: &str) -> bool {
    matches!(option, "ro" | "emergency_ro" | "shutdown")
}

/// The kernel writes space, tab, newline, backslash and `#` as `\` and three octal digits.
fn unescape(field: &str) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| first == b'\\').and_then(octal);
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|text| !text.starts_with('+'))?, 8).ok()
}

/// What has come and gone.
pub(super) fn diff(before: &Mounts, after: &Mounts, spaces: &Spaces) -> Vec<Finding> {
    let mut findings = Vec::new();
    // Going first: a file system that is mounted elsewhere is told in the order in which it happened.
    for place in before.keys().filter(|place| !after.contains_key(place)) {
        findings.push(finding(Level::Info, place, 0, Operation::Unmounted, "unmounted"));
        // That ends what was told of the file system, which may still be mounted elsewhere and be as it was.
        let others = after.iter().filter(|(other, mount)| other.source == place.source && mount.told);
        let still = others.filter(|(other, _)| before.get(other).is_some_and(|mount| mount.told)).take(1);
        findings.extend(still.map(|(other, _)| writability(other, 0, true)));
    }
    for (place, mount) in after {
        let size = spaces.get(place).map_or(0, |space| space.total_bytes);
        match before.get(place) {
            None => findings.push(finding(Level::Info, place, size, Operation::Mounted, "mounted")),
            Some(earlier) if earlier.read_only != mount.read_only => {
                findings.push(writability(place, size, mount.read_only));
            }
            Some(_) => {}
        }
    }
    findings
}

fn writability(place: &Place, size: u64, read_only: bool) -> Finding {
    match read_only {
        true => finding(Level::Error, place, size, Operation::ReadOnly, "became read-only"),
        false => finding(Level::Info, place, size, Operation::Writable, "became writable"),
    }
}

fn finding(level: Level, place: &Place, size: u64, operation: Operation, action: &str) -> Finding {
    let pool = place.source.split('/').next().filter(|_| place.fstype == "zfs").unwrap_or_default();
    // Anybody may mount such, and say that it is any disk.
    let is_of_user = place.fstype == "fuse" || place.fstype.starts_with("fuse.");
    let payload = StorageDatasetPayload {
        dataset_name: if is_of_user { place.mountpoint.clone() } else { place.source.clone() },
        pool_name: pool.to_owned(),
        r#type: place.fstype.clone(),
        mountpoint: place.mountpoint.clone(),
        size_bytes: bytes(size),
        operation: operation.into(),
        root: if place.root == "/" { String::new() } else { place.root.clone() },
        ..Default::default()
    };
    let finding = Finding::new(level, payload, COMPONENT, action);
    if is_of_user { finding.with("source", place.source.as_str()) } else { finding }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        collectors::{finding::lines, storage::mount_rule::rule},
        host::space::Space,
    };

    const TABLE: &str = include_str!("../../../tests/fixtures/mounts/mountinfo");

    fn mounts(table: &str) -> Mounts {
        parse(table, &rule(&[], &[]))
    }

    #[test]
    fn beyond_the_bound_those_that_are_followed_stay_followed_whatever_comes_and_goes() {
        let place = |number: usize| Place {
            mountpoint: format!("/at/{number:05}"),
            source: "/dev/a".into(),
            fstype: "ext4".into(),
            root: format!("/{number}"),
        };
        let mounts = |numbers: std::ops::Range<usize>| -> Mounts {
            numbers
                .map(|number| (place(number), Mount { device: "8:1".into(), read_only: false, told: false }))
                .collect()
        };
        let (followed, beyond) = bounded(mounts(0..MOUNTS_MAX + 7), None);
        assert_eq!((followed.len(), beyond), (MOUNTS_MAX, 7));
        let mut after = mounts(0..MOUNTS_MAX + 7);
        after.remove(&place(3));
        let (later, beyond) = bounded(after, Some(&followed));
        assert_eq!((later.len(), beyond), (MOUNTS_MAX, 6));
        assert_eq!(followed.keys().filter(|place| !later.contains_key(place)).count(), 1, "only the one that went");
    }

    #[test]
    fn a_real_table_gives_only_what_stores_something() {
        let mounts = mounts(TABLE);
        let seen: Vec<_> = mounts.keys().map(|place| format!("{} {}", place.mountpoint, place.fstype)).collect();
        assert_eq!(seen, ["/ ext4", "/boot ext4", "/mnt/tape archive 1 xfs", "/tank zfs", "/tank/data zfs"]);
        assert!(mounts.iter().all(|(place, mount)| mount.read_only == (place.mountpoint == "/boot")));
    }

    #[test]
    fn a_mount_that_comes_and_goes_is_told_each_time_with_its_pool_and_size() {
        let (none, all) = (Mounts::new(), mounts(TABLE));
        let data: Mounts = all.clone().into_iter().filter(|(place, _)| place.mountpoint == "/tank/data").collect();
        let spaces: Spaces =
            data.keys().map(|place| (place.clone(), Space { total_bytes: 42, ..Space::default() })).collect();
        let come = diff(&none, &data, &spaces);
        assert_eq!(lines(&come), ["info storage.dataset.mounted /tank/data"]);
        let payload: StorageDatasetPayload = come[0].payload();
        assert_eq!(
            (payload.pool_name.as_str(), payload.dataset_name.as_str(), payload.size_bytes),
            ("tank", "tank/data", 42)
        );
        assert_eq!(lines(&diff(&data, &none, &spaces)), ["info storage.dataset.unmounted /tank/data"]);
    }

    #[test]
    fn a_file_system_that_turns_read_only_is_an_error_and_its_recovery_is_not() {
        let rw = "29 1 8:1 / /srv rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro";
        let ro = "29 1 8:1 / /srv rw,relatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro";
        let emergency = "29 1 8:1 / /srv rw,relatime shared:1 - ext4 /dev/sda1 rw,emergency_ro";
        for ro in [ro, emergency] {
            let change = |a, b| lines(&diff(&mounts(a), &mounts(b), &BTreeMap::new()));
            assert_eq!(change(rw, ro), ["error storage.dataset.read_only /srv"]);
            assert_eq!(change(ro, rw), ["info storage.dataset.writable /srv"]);
        }
    }

    #[test]
    fn a_file_system_that_is_still_read_only_elsewhere_stays_so_when_one_of_its_mounts_goes() {
        let bind = "30 1 8:1 /media /export/media rw - ext4 /dev/sda1";
        let table = |options: &str| format!("29 1 8:1 / /srv rw - ext4 /dev/sda1 {options}\n{bind} {options}");
        let before = mounts(&table("rw"));
        let mut stopped = mounts(&table("ro"));
        follow(&mut stopped, &before);
        assert_eq!(diff(&before, &stopped, &BTreeMap::new()).len(), 2);
        let mut left = mounts("29 1 8:1 / /srv rw - ext4 /dev/sda1 ro");
        follow(&mut left, &stopped);
        let told = lines(&diff(&stopped, &left, &BTreeMap::new()));
        assert_eq!(told, ["info storage.dataset.unmounted /export/media", "error storage.dataset.read_only /srv"]);
        // One that was mounted so from the beginning is as it was meant to be.
        let (both, mut one) = (mounts(&table("ro")), mounts("29 1 8:1 / /srv rw - ext4 /dev/sda1 ro"));
        follow(&mut one, &both);
        assert_eq!(lines(&diff(&both, &one, &BTreeMap::new())), ["info storage.dataset.unmounted /export/media"]);
    }

    #[test]
    fn what_a_user_mounts_under_the_name_of_a_disk_says_nothing_of_that_disk() {
        let table = "30 1 0:50 / /home/eve/mnt rw - fuse.anything /dev/sda1 ro";
        let findings = diff(&mounts(table), &Mounts::new(), &BTreeMap::new());
        assert_eq!(findings[0].payload::<StorageDatasetPayload>().dataset_name, "/home/eve/mnt");
    }

    #[test]
    fn no_event_and_no_memory_holds_the_password_of_a_mounts_source() {
        let table = "29 1 0:50 / /mnt/ftp rw - fuse.curlftpfs curlftpfs\\043ftp://bob:S3CRET@nas/share rw\n\
                     30 1 0:51 / /mnt/smb rw - cifs //bob:S3CRET@nas/share rw\n\
                     31 1 0:52 / /tank/.zfs/snapshot/s1 rw - zfs tank@s1 rw\n\
                     32 1 0:53 / /mnt/fs rw - lustre 10.0.0.1@tcp:/fs rw";
        let mounts = mounts(table);
        let findings = diff(&Mounts::new(), &mounts, &BTreeMap::new());
        let sources: Vec<_> =
            findings.iter().map(|finding| finding.payload::<StorageDatasetPayload>().dataset_name).collect();
        assert_eq!(sources, ["10.0.0.1@tcp:/fs", "/mnt/ftp", "//nas/share", "tank@s1"]);
        assert_eq!(findings[1].metadata["source"], "curlftpfs#ftp://nas/share");
        let memory = serde_json::to_string(&mounts).unwrap();
        assert!(!memory.contains("S3CRET") && !memory.contains("bob"), "{memory}");
        // An agent that has learnt it remembers such a mount as the same.
        let older = "\"/mnt/smb\\u0000//bob:S3CRET@nas/share\\u0000cifs\\u0000/\"";
        assert!(mounts.contains_key(&serde_json::from_str::<Place>(older).unwrap()));
    }

    #[test]
    fn a_bind_mount_tells_which_directory_it_shows() {
        let table = "29 1 8:1 /media /export/media rw - ext4 /dev/sda1 rw";
        let [finding] = diff(&Mounts::new(), &mounts(table), &BTreeMap::new()).try_into().expect("one");
        assert_eq!(finding.payload::<StorageDatasetPayload>().root, "/media");
        let sentence = "File system /dev/sda1 was mounted at /export/media, only its directory /media, ext4";
        assert_eq!(finding.sentence(), sentence);
    }

    #[test]
    fn a_new_mount_number_is_no_change() {
        let a = "29 1 8:1 / /srv rw - ext4 /dev/sda1 rw";
        let b = "77 30 8:1 / /srv rw,noatime shared:9 master:2 - ext4 /dev/sda1 rw";
        assert_eq!(diff(&mounts(a), &mounts(b), &BTreeMap::new()), []);
    }

    #[test]
    fn what_only_the_agents_own_sandbox_may_not_write_is_not_read_only() {
        let host = "29 1 7:0 / /srv rw,relatime shared:1 - ext4 /dev/loop0 rw";
        let sandbox = "47 9 7:0 / /srv ro,relatime shared:58 master:1 - ext4 /dev/loop0 rw";
        assert_eq!(diff(&mounts(host), &mounts(sandbox), &BTreeMap::new()), []);
    }

    #[test]
    fn a_mount_that_shows_what_is_there_without_it_is_none() {
        let host = "29 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 29 8:2 / /var rw - xfs /dev/sda2 rw";
        let sandbox =
            "40 29 8:1 /usr /usr ro - ext4 /dev/sda1 rw\n41 30 8:2 /lib/rodent /var/lib/rodent rw - xfs /dev/sda2 rw";
        assert_eq!(mounts(&format!("{host}\n{sandbox}")), mounts(host));
        let elsewhere =
            "40 29 8:1 /usr /srv/usr ro - ext4 /dev/sda1 rw\n41 30 8:1 /var/lib /var/lib rw - ext4 /dev/sda1 rw";
        assert_eq!(mounts(&format!("{host}\n{elsewhere}")).len(), 4);
    }

    #[test]
    fn the_agents_own_directories_for_temporary_files_are_no_mounts_of_the_machine() {
        let host = "29 1 8:1 / / rw - ext4 /dev/sda1 rw";
        let private = "40 29 8:1 /tmp/systemd-private-44db7ab8-rodent.service-ntjjzZ/tmp /tmp rw - ext4 /dev/sda1 rw";
        assert_eq!(mounts(&format!("{host}\n{private}")), mounts(host));
    }

    #[test]
    fn octal_escapes_are_decoded_and_other_backslashes_kept() {
        assert_eq!(unescape(r"/mnt/tape\040archive\0111"), "/mnt/tape archive\t1");
        assert_eq!(unescape(r"a\134040b\9\12"), r"a\040b\9\12");
        assert_eq!(unescape(r"\777\+12"), r"\777\+12");
    }

    #[test]
    fn mounts_are_remembered_as_they_were() {
        let all = mounts(TABLE);
        let text = serde_json::to_string(&all).unwrap();
        assert_eq!(serde_json::from_str::<Mounts>(&text).unwrap(), all);
        assert!(serde_json::from_str::<Place>("\"/srv\"").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic_and_no_table_differs_from_itself(text in "(?s).{0,400}") {
            let mounts = parse(&text, &rule(&["*"], &[]));
            prop_assert_eq!(diff(&mounts, &mounts, &BTreeMap::new()), vec![]);
        }

        #[test]
        fn any_table_like_text_is_parsed_without_a_panic(text in r"([a-z0-9/:,\\-]{0,4} ?){0,20}( - )?([a-z\\0-9 ]{0,20}\n?){0,9}") {
            parse(&text, &rule(&["*"], &[]));
        }
    }
}
