//! Which sinks a person has paused, in a small file in the state directory.
//!
//! Given by whoever delivers; read at the start. Always holds: a pause is on the disk before it is said to hold, and so is its end. A
//! file that is of no use pauses nothing: it is better to tell too much. All of it blocks.

use crate::order::Gather as _;
use std::{collections::BTreeMap, io, path::PathBuf};

use crate::files;

/// The file in the state directory.
const FILE: &str = "paused-sinks";

/// A line for each of the sinks that there may be takes less.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// What is paused, by the names of sinks. Made anew for each change, and kept once it is on the disk.
#[derive(Clone, Debug)]
pub(super) struct Paused {
    path: PathBuf,
    by_name: BTreeMap<String, Pause>,
}

/// Since when, Unix milliseconds, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    pub(super) since: i64,
    pub(super) actor: String,
}

impl Paused {
    /// As the file says.
    pub(super) fn read(state_directory: &std::path::Path) -> Paused {
        let path = state_directory.join(FILE);
        let by_name = match files::read_bounded(&path, FILE_BYTES_MAX) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).lines().filter_map(parse).gather(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "which sinks are paused cannot be read; none is");
                BTreeMap::new()
            }
        };
        Paused { path, by_name }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Pause> {
        self.by_name.get(name)
    }

    /// The same with another pause of this sink, or none.
    #[must_use]
    pub(super) fn with(&self, name: &str, pause: Option<Pause>) -> Paused {
        let mut other = self.clone();
        match pause {
            Some(pause) => _ = other.by_name.insert(name.to_owned(), pause),
            None => _ = other.by_name.remove(name),
        }
        other
    }

    /// Puts it on the disk.
    ///
    /// # Errors
    /// As the file system says; what was there is then still there.
    pub(super) fn write(&self) -> io::Result<()> {
        let line = |(name, Pause { since, actor }): (&String, &Pause)| format!("{name} {since} {actor}\n");
        let text: String = self.by_name.iter().map(line).collect();
        match text.is_empty() {
            true => files::remove(&self.path),
            false => files::replace(&self.path, text.as_bytes()),
        }
    }
}

/// `phone 1790000000000 user 1000`.
fn parse(line: &str) -> Option<(String, Pause)> {
    let (name, rest) = line.split_once(' ')?;
    let (since, actor) = rest.split_once(' ')?;
    Some((name.to_owned(), Pause { since: since.parse().ok()?, actor: actor.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paused_is_there_after_a_restart_and_a_file_that_is_none_pauses_nothing() {
        let directory = tempfile::tempdir().expect("a directory");
        let pause = |since| Some(Pause { since, actor: "user 1000".to_owned() });
        let paused = Paused::read(directory.path()).with("phone", pause(7)).with("bridge", pause(8));
        paused.write().expect("written");
        let again = Paused::read(directory.path());
        assert_eq!((again.get("phone"), again.get("bridge")), (pause(7).as_ref(), pause(8).as_ref()));
        again.with("phone", None).write().expect("written");
        let again = Paused::read(directory.path());
        assert_eq!((again.get("phone"), again.get("bridge")), (None, pause(8).as_ref()));
        again.with("bridge", None).write().expect("written");
        assert!(!directory.path().join(FILE).exists());
        std::fs::write(directory.path().join(FILE), b"phone\n\xff 3\nbridge soon root\n").expect("written");
        assert!(Paused::read(directory.path()).by_name.is_empty());
    }
}
