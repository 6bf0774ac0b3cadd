//! The place of a mount: what makes it the same one after a restart.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::event::without_credentials;

/// What makes a mount the same one after a restart: its number does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Place {
    pub(super) mountpoint: String,
    /// Without user and password, which some type of file system is given here: nobody sees them, nor remembers them.
    pub(super) source: String,
    pub(super) fstype: String,
    /// The directory of the file system that is seen at the mount point: not `/` for a bind mount.
    pub(super) root: String,
}

impl Place {
    pub(super) fn new(mountpoint: String, source: &str, fstype: String, root: String) -> Place {
        // Their sources have an `@` of their own: `tank/home@daily`, `10.0.0.1@tcp:/fs`.
        let is_open = matches!(fstype.as_str(), "zfs" | "lustre");
        let source = if is_open { Cow::Borrowed(source) } else { without_credentials(source) }.into_owned();
        Place { mountpoint, source, fstype, root }
    }
}

/// As a key of JSON: four names with what no path contains between them.
impl From<Place> for String {
    fn from(place: Place) -> String {
        [place.mountpoint, place.source, place.fstype, place.root].join("\0")
    }
}

impl TryFrom<String> for Place {
    type Error = &'static str;

    fn try_from(key: String) -> Result<Place, Self::Error> {
        let mut names = key.split('\0').map(str::to_owned);
        let mut next = || names.next().ok_or("a mount has four names");
        let (mountpoint, source, fstype, root) = (next()?, next()?, next()?, next()?);
        Ok(Place::new(mountpoint, &source, fstype, root))
    }
}
