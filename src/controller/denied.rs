//! Nodes that are shut out although their tokens are valid: a file of names, one a line, that is followed. Asked by
//! `service` at each call, and by each control stream from time to time.
//!
//! What holds: a file that cannot be used changes nothing, so that nobody gets back in by its being damaged or removed.

use crate::order::Gather as _;
use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::fresh::{Fresh, Refreshed};
use crate::files;

/// Bytes of the file; a longer one is a mistake. A hundred thousand nodes have room.
const BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The nodes that are shut out.
#[derive(Clone)]
pub struct Denied {
    names: Arc<Fresh<BTreeSet<String>>>,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
#[error("read the list of denied nodes {path}")]
pub struct DeniedError {
    path: PathBuf,
    source: io::Error,
}

impl Default for Denied {
    /// Nobody.
    fn default() -> Denied {
        Denied { names: Arc::new(Fresh::fixed(BTreeSet::new())) }
    }
}

impl Denied {
    /// Reads the file: a name a line; empty lines and those that begin with `#` are nobody's. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read, or is too long or no text.
    pub fn read(path: PathBuf) -> Result<Denied, DeniedError> {
        let make = {
            let path = path.clone();
            move || names(&path).map_err(|source| DeniedError { path: path.clone(), source })
        };
        Ok(Denied { names: Arc::new(Fresh::read("list of denied nodes", vec![path], make)?) })
    }

    pub(super) fn has(&self, node: &str) -> bool {
        self.names.current().contains(node)
    }

    /// Reads the file again if it has changed. Blocks.
    pub(super) fn refresh(&self) -> Refreshed {
        self.names.refresh()
    }
}

fn names(path: &Path) -> io::Result<BTreeSet<String>> {
    let text = String::from_utf8(files::read_bounded(path, BYTES_MAX)?).map_err(io::Error::other)?;
    let lines = text.lines().map(str::trim);
    Ok(lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).gather())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_list_follows_its_file_and_a_damaged_or_removed_one_lets_nobody_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("denied");
        assert!(Denied::read(path.clone()).is_err());
        fs::write(&path, "# stolen\nnas-1\r\n\n  nas-2\n").unwrap();
        let denied = Denied::read(path.clone()).unwrap();
        let has = || ["nas-1", "nas-2", "NAS-1", "# stolen", ""].map(|node| denied.has(node));
        assert_eq!(has(), [true, true, false, false, false]);
        fs::write(&path, [0xff, 0xfe, 0xfd]).unwrap();
        // It may just be being written: told when it is still so at the next look.
        assert_eq!((denied.refresh(), has()), (Refreshed::Same, [true, true, false, false, false]));
        assert_eq!((denied.refresh(), has()), (Refreshed::Failed, [true, true, false, false, false]));
        fs::remove_file(&path).unwrap();
        denied.refresh();
        assert_eq!((denied.refresh(), has()), (Refreshed::Failed, [true, true, false, false, false]));
        fs::write(&path, "nas-2").unwrap();
        assert_eq!((denied.refresh(), has()), (Refreshed::Renewed, [false, true, false, false, false]));
        assert!(!Denied::default().has("nas-1"));
    }
}
