//! The rights on a file or directory: mode, owner, group, and its access lists. How they are compared and remembered. Pure.
//!
//! What counts is what somebody may do: entries of a list of POSIX are kept as its mask lets them through. An access list of which
//! the mode tells all is none. Remembered in one text a path, for there are many.

use serde::{Deserialize, Serialize};

/// The most entries of the lists of one path that are followed, those that stand first.
pub(super) const ENTRIES_MAX: usize = 64;

/// Rights on one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Rights {
    /// Without the type of the file. Its group is what the owning group may do, also where a list says so.
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    /// In order.
    pub(super) list: Vec<Entry>,
}

/// An entry of an access list, and what it lets somebody do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    pub(super) who: Who,
    /// Of NFSv4, how it goes on to what is made below.
    pub(super) flags: u32,
    pub(super) may: u32,
}

/// Which list it stands in, and how it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Of POSIX.
    Posix,
    /// Of POSIX, for what is made below.
    PosixDefault,
    /// Of NFSv4.
    Allows,
    /// Of NFSv4, and first of all.
    Refuses,
}

/// Whom it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Owner,
    OwningGroup,
    Everyone,
    User(u32),
    Group(u32),
}

impl Entry {
    /// Whether it is the same entry, whatever it lets do.
    pub(super) fn is_of(&self, other: &Entry) -> bool {
        (self.kind, self.who, self.flags) == (other.kind, other.who, other.flags)
    }
}

impl Rights {
    /// Adds an entry where it belongs; what two entries let the same one do is put together. Of those beyond the bound one stays, as a
    /// sign of them: whoever can set a list may make it long.
    pub(super) fn add(&mut self, entry: Entry) {
        if self.list.len() > ENTRIES_MAX {
            return;
        }
        match self.list.iter_mut().find(|other| other.is_of(&entry)) {
            Some(other) => other.may |= entry.may,
            None => {
                let at = self.list.partition_point(|other| *other < entry);
                self.list.insert(at, entry);
            }
        }
    }

    /// Leaves the entries that are followed; whether there were more.
    pub(super) fn cut(&mut self) -> bool {
        let is_too_long = self.list.len() > ENTRIES_MAX;
        self.list.truncate(ENTRIES_MAX);
        is_too_long
    }
}

impl From<Rights> for String {
    /// `2770 0 100 au1000.0:7`: mode, owner, group, and entries.
    fn from(rights: Rights) -> String {
        let mut text = format!("{:o} {} {}", rights.mode, rights.user, rights.group);
        for Entry { kind, who, flags, may } in rights.list {
            let kind = match kind {
                Kind::Posix => 'a',
                Kind::PosixDefault => 'd',
                Kind::Allows => 'n',
                Kind::Refuses => 'x',
            };
            let (who, number) = match who {
                Who::Owner => ('o', 0),
                Who::OwningGroup => ('p', 0),
                Who::Everyone => ('e', 0),
                Who::User(number) => ('u', number),
                Who::Group(number) => ('g', number),
            };
            text.push_str(&format!(" {kind}{who}{number}.{flags}:{may}"));
        }
        text
    }
}

/// What was remembered is none of it.
#[derive(Debug, thiserror::Error)]
#[error("no rights: {0}")]
pub(super) struct NoRights(String);

impl TryFrom<String> for Rights {
    type Error = NoRights;

    fn try_from(text: String) -> Result<Rights, NoRights> {
        read(&text).ok_or(NoRights(text))
    }
}

fn read(text: &str) -> Option<Rights> {
    let mut words = text.split(' ');
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let (user, group) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Rights { mode, user, group, list: words.map(entry).collect::<Option<_>>()? })
}

fn entry(word: &str) -> Option<Entry> {
    let (head, may) = word.split_once(':')?;
    let (head, flags) = head.split_once('.')?;
    let mut letters = head.chars();
    let kind = match letters.next()? {
        'a' => Kind::Posix,
        'd' => Kind::PosixDefault,
        'n' => Kind::Allows,
        'x' => Kind::Refuses,
        _ => return None,
    };
    let who = letters.next()?;
    let number = letters.as_str().parse().ok()?;
    let who = match who {
        'o' => Who::Owner,
        'p' => Who::OwningGroup,
        'e' => Who::Everyone,
        'u' => Who::User(number),
        'g' => Who::Group(number),
        _ => return None,
    };
    Some(Entry { kind, who, flags: flags.parse().ok()?, may: may.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_entry() -> impl Strategy<Value = Entry> {
        let kind = prop_oneof![Just(Kind::Posix), Just(Kind::PosixDefault), Just(Kind::Allows), Just(Kind::Refuses)];
        let who = prop_oneof![
            Just(Who::Owner),
            Just(Who::OwningGroup),
            Just(Who::Everyone),
            any::<u32>().prop_map(Who::User),
            any::<u32>().prop_map(Who::Group)
        ];
        (kind, who, any::<u32>(), any::<u32>()).prop_map(|(kind, who, flags, may)| Entry { kind, who, flags, may })
    }

    proptest! {
        #[test]
        fn what_is_remembered_is_what_was_known_and_no_text_makes_it_panic(
            mode in 0_u32..0o10000, user: u32, group: u32, list in prop::collection::vec(any_entry(), 0..5), noise in ".{0,40}",
        ) {
            let rights = Rights { mode, user, group, list };
            let text = String::from(rights.clone());
            prop_assert_eq!(Rights::try_from(text.clone()).unwrap(), rights);
            let _ = Rights::try_from(noise.clone());
            let _ = Rights::try_from(format!("{text}{noise}"));
        }

        #[test]
        fn the_same_entries_in_another_order_are_the_same_list(mut entries in prop::collection::vec(any_entry(), 0..8)) {
            let put = |entries: &[Entry]| {
                let mut rights = Rights::default();
                entries.iter().for_each(|entry| rights.add(*entry));
                rights
            };
            let one = put(&entries);
            entries.reverse();
            prop_assert_eq!(one, put(&entries));
        }
    }
}
