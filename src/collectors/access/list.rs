//! Access lists as file systems keep them, by their bytes: those of POSIX, and that of NFSv4 as ZFS has it. Pure.
//!
//! A list that is not whole is passed over from there on.

use std::ffi::CStr;

use super::rights::{Entry, Kind, Rights, Who};

/// Where they are kept.
pub(super) const POSIX: &CStr = c"system.posix_acl_access";
pub(super) const POSIX_DEFAULT: &CStr = c"system.posix_acl_default";
pub(super) const NFS4: &CStr = c"system.nfs4_acl_xdr";

/// Of POSIX: the version, and tags of entries.
const VERSION: u32 = 2;
const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Of NFSv4: that the mode tells all of it, types, flags, and those who are no user or group of their own.
const IS_TRIVIAL: u32 = 0x1_0000;
const ALLOWED: u32 = 0;
const DENIED: u32 = 1;
const FLAGS_INHERIT: u32 = 0x0f;
const FLAG_GROUP: u32 = 0x40;
const SPECIAL: u32 = 1;

/// Letters of rights in an NFSv4 list, in the order in which they are written.
const NFS4_LETTERS: [(u32, char); 14] = [
    (0x1, 'r'),
    (0x2, 'w'),
    (0x20, 'x'),
    (0x4, 'p'),
    (0x1_0000, 'd'),
    (0x40, 'D'),
    (0x80, 'a'),
    (0x100, 'A'),
    (0x8, 'R'),
    (0x10, 'W'),
    (0x2_0000, 'c'),
    (0x4_0000, 'C'),
    (0x8_0000, 'o'),
    (0x10_0000, 's'),
];

/// The list of the file itself. Its mode has the mask where the owning group is expected.
pub(super) fn posix(bytes: &[u8], rights: &mut Rights) {
    let (entries, mask) = posix_entries(bytes);
    for (tag, may, number) in entries {
        let may = may & mask;
        match tag {
            GROUP_OBJ => rights.mode = (rights.mode & !0o070) | (may << 3),
            USER => rights.add(Entry { kind: Kind::Posix, who: Who::User(number), flags: 0, may }),
            GROUP => rights.add(Entry { kind: Kind::Posix, who: Who::Group(number), flags: 0, may }),
            _ => {}
        }
    }
}

/// The list that what is made in a directory begins with.
pub(super) fn posix_default(bytes: &[u8], rights: &mut Rights) {
    let (entries, mask) = posix_entries(bytes);
    for (tag, may, number) in entries {
        let (who, may) = match tag {
            USER_OBJ => (Who::Owner, may),
            USER => (Who::User(number), may & mask),
            GROUP_OBJ => (Who::OwningGroup, may & mask),
            GROUP => (Who::Group(number), may & mask),
            OTHER => (Who::Everyone, may),
            _ => continue,
        };
        rights.add(Entry { kind: Kind::PosixDefault, who, flags: 0, may });
    }
}

/// Tag, rights and number of each entry, and the mask.
fn posix_entries(bytes: &[u8]) -> (Vec<(u16, u32, u32)>, u32) {
    let mut mask = 0o7;
    let Some((version, rest)) = bytes.split_first_chunk::<4>() else { return (Vec::new(), mask) };
    if u32::from_le_bytes(*version) != VERSION {
        return (Vec::new(), mask);
    }
    let mut entries = Vec::new();
    for chunk in rest.as_chunks::<8>().0 {
        let [tag0, tag1, may0, may1, number @ ..] = *chunk;
        let (tag, may) = (u16::from_le_bytes([tag0, tag1]), u32::from(u16::from_le_bytes([may0, may1]) & 0o7));
        if tag == MASK {
            mask = may;
        }
        entries.push((tag, may, u32::from_le_bytes(number)));
    }
    (entries, mask)
}

/// The list of a file on ZFS with `acltype=nfsv4`: flags, the number of entries, and of each type, flags, what kind of name it
/// has, rights and number.
pub(super) fn nfs4(bytes: &[u8], rights: &mut Rights) {
    let mut words = bytes.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word));
    let (Some(flags), Some(count)) = (words.next(), words.next()) else { return };
    if flags & IS_TRIVIAL != 0 {
        return;
    }
    for _ in 0..count {
        let (Some(kind), Some(flags), Some(special), Some(may), Some(number)) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        let kind = match kind {
            ALLOWED => Kind::Allows,
            DENIED => Kind::Refuses,
            // Those that have something recorded give nobody anything.
            _ => continue,
        };
        let who = match (special & SPECIAL != 0, number) {
            (true, 1) => Who::Owner,
            (true, 2) => Who::OwningGroup,
            (true, 3) => Who::Everyone,
            (true, _) => continue,
            (false, number) if flags & FLAG_GROUP != 0 => Who::Group(number),
            (false, number) => Who::User(number),
        };
        rights.add(Entry { kind, who, flags: flags & FLAGS_INHERIT, may });
    }
}

/// `rwx`, and of NFSv4 the letters that its tools write.
pub(super) fn letters(entry: &Entry) -> String {
    match entry.kind {
        Kind::Posix | Kind::PosixDefault => [(4, 'r'), (2, 'w'), (1, 'x')]
            .map(|(bit, letter)| if entry.may & bit == 0 { '-' } else { letter })
            .iter()
            .collect(),
        Kind::Allows | Kind::Refuses => {
            NFS4_LETTERS.iter().filter(|(bit, _)| entry.may & bit != 0).map(|(_, letter)| *letter).collect()
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A list of POSIX in the kernel's bytes.
    pub(in crate::collectors::access) fn posix_bytes(entries: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, may, number) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(may.to_le_bytes());
            bytes.extend(number.to_le_bytes());
        }
        bytes
    }

    fn nfs4_bytes(flags: u32, entries: &[[u32; 5]]) -> Vec<u8> {
        let count = u32::try_from(entries.len()).unwrap();
        [flags, count].into_iter().chain(entries.iter().flatten().copied()).flat_map(u32::to_be_bytes).collect()
    }

    const NOBODY: u32 = u32::MAX;

    #[test]
    fn of_a_list_counts_what_its_mask_lets_through_and_the_owning_group_is_that_of_the_list() {
        // user::rw-, user:1000:rwx, group::r-x, group:50:-w-, mask::rw-, other::---
        let entries = [(1, 6, NOBODY), (2, 7, 1000), (4, 5, NOBODY), (8, 2, 50), (16, 6, NOBODY), (32, 0, NOBODY)];
        let mut rights = Rights { mode: 0o660, ..Rights::default() };
        posix(&posix_bytes(&entries), &mut rights);
        assert_eq!(rights.mode, 0o640);
        let said: Vec<_> = rights.list.iter().map(|entry| (entry.who, letters(entry))).collect();
        assert_eq!(said, [(Who::User(1000), "rw-".to_owned()), (Who::Group(50), "-w-".to_owned())]);
        let mut rights = Rights::default();
        posix_default(&posix_bytes(&entries), &mut rights);
        let said: Vec<_> = rights.list.iter().map(|entry| (entry.who, letters(entry))).collect();
        let expected = [
            (Who::Owner, "rw-"),
            (Who::OwningGroup, "r--"),
            (Who::Everyone, "---"),
            (Who::User(1000), "rw-"),
            (Who::Group(50), "-w-"),
        ];
        assert_eq!(said, expected.map(|(who, letters)| (who, letters.to_owned())));
        assert!(rights.list.iter().all(|entry| entry.kind == Kind::PosixDefault));
        let mut other = posix_bytes(&entries);
        other[0] = 3;
        let mut rights = Rights::default();
        posix(&other, &mut rights);
        assert_eq!(rights, Rights::default(), "of another version nothing is known");
    }

    #[test]
    fn a_list_of_nfs4_is_read_and_one_of_which_the_mode_tells_all_is_none() {
        let entries = [
            [0, 0, 1, 0x1f_01ff, 1],
            [0, 0x43, 0, 0x12_00a9, 100],
            [1, 0x0b, 0, 0x2, 1000],
            [2, 0, 1, 1, 3],
            [0, 0, 1, 0x1, 9],
        ];
        let mut rights = Rights::default();
        nfs4(&nfs4_bytes(0, &entries), &mut rights);
        let said: Vec<_> = rights.list.iter().map(|it| (it.kind, it.who, it.flags, letters(it))).collect();
        let expected = [
            (Kind::Allows, Who::Owner, 0, "rwxpdDaARWcCos".to_owned()),
            (Kind::Allows, Who::Group(100), 3, "rxaRcs".to_owned()),
            (Kind::Refuses, Who::User(1000), 11, "w".to_owned()),
        ];
        assert_eq!(said, expected);
        let mut twice = Rights::default();
        nfs4(&nfs4_bytes(0, &[[0, 0, 0, 0x1, 1000], [0, 0, 0, 0x2, 1000]]), &mut twice);
        assert_eq!(twice.list.iter().map(letters).collect::<Vec<_>>(), ["rw"], "what two entries let one do is one");
        let mut trivial = Rights::default();
        nfs4(&nfs4_bytes(IS_TRIVIAL, &entries), &mut trivial);
        assert_eq!(trivial.list, []);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_a_list_that_is_cut_has_no_entry_that_it_had_not(
            bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..60,
        ) {
            let mut rights = Rights::default();
            posix(&bytes, &mut rights);
            posix_default(&bytes, &mut rights);
            nfs4(&bytes, &mut rights);
            let whole = posix_bytes(&[(1, 7, NOBODY), (2, 5, 1), (2, 4, 2), (4, 5, NOBODY), (32, 0, NOBODY)]);
            let (mut all, mut some) = (Rights::default(), Rights::default());
            posix(&whole, &mut all);
            posix(&whole[..cut.min(whole.len())], &mut some);
            prop_assert!(some.list.iter().all(|entry| all.list.contains(entry)));
        }
    }
}
