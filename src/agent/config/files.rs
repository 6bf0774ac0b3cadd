//! Which files make up the configuration: the standard one and its drop-ins.
//!
//! Drop-ins lie in three directories and are laid over the standard file in the order of their names, whichever
//! directory they are in. Of two with one name the administrator's (`/etc`) counts, then the running system's (`/run`),
//! then the package's (`/usr/lib`); a link to `/dev/null` turns one off.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use crate::settings::{FILES_MAX, Faults};

/// The configuration, unless another is named.
pub const STANDARD_FILE: &str = "/etc/rodent/rodent.yml";

/// Directories of drop-ins, the weakest first. Not below `/run/rodent`: systemd removes that whenever the agent ends, and
/// its own user may write there.
const DROP_IN_DIRECTORIES: [&str; 3] = ["/usr/lib/rodent/rodent.d", "/run/rodent.d", "/etc/rodent/rodent.d"];

/// The standard file of the machine below `root`.
pub(super) fn standard_file(root: &Path) -> PathBuf {
    below(root, STANDARD_FILE)
}

/// The standard file unless it is missing; one that cannot be looked at is there, and a fault later.
pub(super) fn standard_if_there(root: &Path) -> Vec<PathBuf> {
    let file = standard_file(root);
    match file.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        _ => vec![file],
    }
}

/// What there is to read, and what looks like it and is not read.
#[derive(Default)]
pub(super) struct Found {
    /// The weakest first.
    pub(super) files: Vec<PathBuf>,
    /// Drop-ins whose names end in `.yaml`.
    pub(super) ignored: Vec<PathBuf>,
}

/// These files, then the drop-ins that are there below `root`.
///
/// # Errors
/// When a directory cannot be listed.
pub(super) fn with_drop_ins(files: Vec<PathBuf>, root: &Path) -> Result<Found, Faults> {
    let (mut drop_ins, mut found) = (BTreeMap::new(), Found { files, ..Found::default() });
    for directory in DROP_IN_DIRECTORIES {
        let directory = below(root, directory);
        let listed = list(&directory, &mut found.ignored);
        drop_ins.extend(listed.map_err(|error| Faults::one(format!("list {}: {error}", directory.display())))?);
    }
    found.files.extend(drop_ins.into_values());
    Ok(found)
}

/// Files named `*.yml` in a directory, by name; those named `*.yaml` are `ignored`. Stops one beyond what a document takes,
/// which then refuses them.
fn list(directory: &Path, ignored: &mut Vec<PathBuf>) -> io::Result<Vec<(OsString, PathBuf)>> {
    let entries = match directory.read_dir() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let path = directory.join(&name);
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let is = |wanted| path.extension().is_some_and(|extension| extension == wanted);
        if !hidden && is("yml") && files.len() <= FILES_MAX {
            files.push((name, path));
        } else if !hidden && is("yaml") && ignored.len() < FILES_MAX {
            ignored.push(path);
        }
    }
    Ok(files)
}

fn below(root: &Path, absolute: &str) -> PathBuf {
    root.join(absolute.trim_start_matches('/'))
}
