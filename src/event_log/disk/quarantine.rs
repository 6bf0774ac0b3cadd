//! Where damaged parts go, so that what is wrong with them can be looked at later: `log/quarantine`.
//!
//! Always holds: moved there is never changed there. The oldest go when it all becomes too much, and only files that
//! are known to be the log's are ever deleted.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    event_log::{
        disk::files::{self, make_directory, remove_store, sync_directory},
        lane::Lane,
    },
    order::Sorted as _,
    telemetry::message,
};

/// What the quarantine takes at the most, bytes. Beyond it the oldest go; the newest stays in any case.
const BYTES_MAX: u64 = 64 << 20;

/// Its name below the log's root.
const NAME: &str = "quarantine";

/// The most names that are tried for it.
const PLACES_MAX: u32 = 9;

/// A part in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it lies.
    pub path: PathBuf,
    /// What it takes on the disk, bytes.
    pub disk_bytes: u64,
    /// Counts up: the order in which they came.
    order: u64,
}

/// Moves what lies at `path` there, as `name` and a number. Gives where it lies now.
///
/// # Errors
/// As the file system says; it is then still where it was.
pub(in crate::event_log) fn take_in(root: &Path, path: &Path, name: &str) -> io::Result<PathBuf> {
    let quarantine = place(root);
    make_directory(&quarantine)?;
    if !fs::symlink_metadata(&quarantine)?.is_dir() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    let order = list(root).last().map_or(1, |newest| newest.order.saturating_add(1));
    let to = quarantine.join(format!("{name}-{order}"));
    if fs::symlink_metadata(&to).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AlreadyExists));
    }
    fs::rename(path, &to)?;
    sync_directory(&quarantine)?;
    if let Some(parent) = path.parent() {
        sync_directory(parent)?;
    }
    make_room(root);
    Ok(to)
}

/// Moves there what lies at `path` and is no directory, where the log needs one.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn make_way(root: &Path, path: &Path) -> io::Result<()> {
    if path.is_dir() || fs::symlink_metadata(path).is_err() {
        return Ok(());
    }
    move_away(root, path)
}

/// Moves there what lies at `path` and is no file, where the log needs one.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn make_way_for_file(root: &Path, path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.is_file() => move_away(root, path),
        _ => Ok(()),
    }
}

fn move_away(root: &Path, path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let there = take_in(root, path, &name)?;
    tracing::warn!(
        message_id = %message::LOG_REPAIRED,
        path = %path.display(),
        moved_to = %there.display(),
        "this was in the way of the event log"
    );
    Ok(())
}

/// The quarantine's directory, under another name where somebody has put something else. A link is something else: it would
/// have what is damaged moved, and the oldest of it deleted, where it leads.
fn place(root: &Path) -> PathBuf {
    let names = (2..=PLACES_MAX).map(|number| format!("{NAME}-{number}"));
    let mut places = std::iter::once(NAME.to_owned()).chain(names).map(|name| root.join(name));
    let is_taken = |place: &PathBuf| matches!(fs::symlink_metadata(place), Ok(found) if !found.is_dir());
    places.find(|place| !is_taken(place)).unwrap_or_else(|| root.join(NAME))
}

/// The name that a generation has there.
pub(in crate::event_log) fn generation_name(lane: Lane, number: u64) -> String {
    format!("{}-gen-{number:010}", lane.name())
}

/// What is there, oldest first. What is not called as the log calls it is not ours.
pub(in crate::event_log) fn list(root: &Path) -> Vec<Quarantined> {
    let Ok(entries) = fs::read_dir(place(root)) else { return Vec::new() };
    let mut list: Vec<_> = entries.flatten().filter_map(|entry| known(&entry.path())).collect();
    list.order_by_key(|quarantined| quarantined.order);
    list
}

fn known(path: &Path) -> Option<Quarantined> {
    let (name, order) = path.file_name()?.to_str()?.rsplit_once('-')?;
    let is_generation = |(lane, number): (&str, &str)| {
        Lane::from_name(lane).is_some() && number.len() == 10 && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let metadata = fs::symlink_metadata(path).ok()?;
    let is_ours = match metadata.is_dir() {
        true => name.split_once("-gen-").is_some_and(is_generation),
        false => metadata.is_file() && name == files::LEDGER,
    };
    let order = order.parse().ok().filter(|_| is_ours)?;
    let disk_bytes = if metadata.is_dir() { files::disk_bytes(path) } else { metadata.len() };
    Some(Quarantined { path: path.to_owned(), disk_bytes, order })
}

fn make_room(root: &Path) {
    let mut kept = list(root);
    let mut bytes: u64 = kept.iter().map(|quarantined| quarantined.disk_bytes).sum();
    kept.pop();
    for quarantined in kept {
        if bytes <= BYTES_MAX {
            return;
        }
        let removed = match quarantined.path.is_dir() {
            true => remove_store(&quarantined.path).map(|_| ()),
            false => fs::remove_file(&quarantined.path),
        };
        match removed {
            Ok(()) => bytes = bytes.saturating_sub(quarantined.disk_bytes),
            Err(error) => {
                tracing::warn!(path = %quarantined.path.display(), %error, "what is in quarantine cannot be removed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(root: &Path, name: &str, bytes: usize) -> PathBuf {
        let path = root.join(name);
        fs::create_dir_all(path.join("blobs")).expect("made");
        fs::write(path.join("db"), vec![1; bytes]).expect("written");
        path
    }

    fn names(root: &Path) -> Vec<String> {
        list(root).iter().map(|q| q.path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn what_is_taken_in_lies_there_unchanged_in_the_order_in_which_it_came() {
        let root = tempfile::tempdir().expect("a directory");
        for number in [9, 1, 9] {
            let name = generation_name(Lane::Urgent, number);
            let path = store(root.path(), "damaged", number as usize);
            let there = take_in(root.path(), &path, &name).expect("moved");
            assert_eq!(fs::read(there.join("db")).expect("there"), vec![1; number as usize]);
            assert!(!path.exists());
        }
        assert_eq!(
            names(root.path()),
            ["urgent-gen-0000000009-1", "urgent-gen-0000000001-2", "urgent-gen-0000000009-3"]
        );
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let (root, elsewhere) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("another"));
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join(NAME)).expect("linked");
        let path = store(root.path(), "damaged", 1);
        let there = take_in(root.path(), &path, &generation_name(Lane::Urgent, 1)).expect("moved");
        assert_eq!(there, root.path().join("quarantine-2/urgent-gen-0000000001-1"));
        fs::remove_dir_all(root.path().join("quarantine-2")).expect("removed");
        for number in 2..=PLACES_MAX {
            let place = root.path().join(format!("{NAME}-{number}"));
            std::os::unix::fs::symlink(elsewhere.path(), place).expect("linked");
        }
        let path = store(root.path(), "damaged", 1);
        take_in(root.path(), &path, &generation_name(Lane::Urgent, 1)).expect_err("there is no place for it");
        assert!(path.join("db").exists(), "it is where it was");
        assert_eq!(fs::read_dir(elsewhere.path()).expect("a directory").count(), 0);
    }

    #[test]
    fn beyond_the_bound_the_oldest_go_and_what_is_not_ours_stays() {
        let root = tempfile::tempdir().expect("a directory");
        let quarantine = root.path().join(NAME);
        fs::create_dir_all(quarantine.join("notes-1")).expect("made");
        fs::create_dir_all(quarantine.join("routine-gen-7-1")).expect("made");
        let bytes = usize::try_from(BYTES_MAX / 2).expect("fits");
        for number in 1..=3 {
            let path = store(root.path(), "damaged", bytes);
            if number == 2 {
                fs::write(path.join("letter.txt"), "mine").expect("written");
            }
            take_in(root.path(), &path, &generation_name(Lane::Routine, number)).expect("moved");
        }
        assert_eq!(names(root.path()), ["routine-gen-0000000002-2", "routine-gen-0000000003-3"]);
        let ledger = root.path().join(files::LEDGER);
        fs::write(&ledger, vec![1; bytes]).expect("written");
        take_in(root.path(), &ledger, files::LEDGER).expect("moved");
        let letter = quarantine.join("routine-gen-0000000002-2/letter.txt");
        assert_eq!(fs::read_to_string(letter).expect("still there"), "mine");
        assert!(!quarantine.join("routine-gen-0000000002-2/db").exists(), "what is ours went");
        assert!(quarantine.join("notes-1").exists() && quarantine.join("routine-gen-7-1").exists());
    }
}
