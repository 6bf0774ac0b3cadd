//! Names of users and groups by their numbers, as far as the machine's own files tell them. Accounts of a directory service stand
//! in none; whoever asks says the number then.

use std::collections::{BTreeMap, BTreeSet};

use super::Host;
use crate::order::Gather as _;

/// Of users.
pub const PASSWD: &str = "/etc/passwd";
/// Of groups.
pub const GROUP: &str = "/etc/group";

/// The names of those of these numbers that stand in the file, [`PASSWD`] or [`GROUP`].
pub fn names(host: &Host, file: &str, numbers: &BTreeSet<u32>) -> BTreeMap<u32, String> {
    if numbers.is_empty() {
        return BTreeMap::new();
    }
    let text = host.read(file).unwrap_or_default();
    let named = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        numbers.contains(&number).then(|| (number, name.to_owned()))
    });
    named.gather()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_those_that_are_asked_for_are_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        std::fs::write(root.path().join("etc/group"), "root:x:0:\ngarbage\nstaff:x:50:alice\n").unwrap();
        let host = Host::at(root.path());
        assert_eq!(names(&host, GROUP, &BTreeSet::from([50, 51])), BTreeMap::from([(50, "staff".to_owned())]));
        assert_eq!(names(&host, PASSWD, &BTreeSet::from([0])), BTreeMap::new());
    }
}
