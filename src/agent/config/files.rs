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

use crate::settings::{FILES_MAX, Faults, Variable};

/// The configuration, unless another is named.
pub const STANDARD_FILE: &str = "/etc/rodent/rodent.yml";

/// Directories of drop-ins, the weakest first. Not below `/run/rodent`: systemd removes that whenever the agent ends, and
/// its own user may write there.
const DROP_IN_DIRECTORIES: [&str; 3] = ["/usr/lib/rodent/rodent.d", "/run/rodent.d", ADMINISTRATOR_DIRECTORY];

/// Where an administrator puts them.
const ADMINISTRATOR_DIRECTORY: &str = "/etc/rodent/rodent.d";

/// Sections whose keys the environment may set: `RODENT_EVENTS__BATCH_SIZE` is `batch_size` in `events`.
const SECTIONS: [&str; 3] = ["EVENTS__", "SINKS__", "COLLECTORS__"];

/// What all of them begin with.
const PREFIX: &str = "RODENT_";

/// The most variables that are read.
const VARIABLES_MAX: usize = 256;

/// Two of these stand between a key and the one that it belongs to.
const WITHIN: &str = "__";

/// What the environment of this process sets, in the order of the names.
///
/// # Errors
/// When one is no text of one line, or there are more than [`VARIABLES_MAX`].
pub(super) fn variables() -> Result<Vec<Variable>, Faults> {
    of_environment(std::env::vars_os())
}

fn of_environment(all: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Variable>, Faults> {
    let mut named = BTreeMap::new();
    for (name, value) in all {
        let of_ours = |key: &&str| SECTIONS.iter().any(|section| key.starts_with(section));
        let Some(key) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).filter(of_ours) else { continue };
        let (key, name) = (key.to_lowercase(), format!("{PREFIX}{key}"));
        let value = value.into_string().ok().filter(|value| !value.contains(char::is_control));
        let value = value.ok_or_else(|| Faults::one(format!("{name}: no text of one line")))?;
        let key = key.split(WITHIN).map(str::to_owned).collect();
        named.insert(name.clone(), Variable { name, key, value });
    }
    if named.len() > VARIABLES_MAX {
        return Err(Faults::one(format!("{} variables set keys; {VARIABLES_MAX} are the most", named.len())));
    }
    Ok(named.into_values().collect())
}

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

/// An administrator's drop-in of the machine below `root`.
pub(super) fn drop_in(root: &Path, name: &str) -> PathBuf {
    below(root, ADMINISTRATOR_DIRECTORY).join(name)
}

/// These files, then the drop-ins that are there below `root`; `as_if` one of the administrator's were there, or were not.
///
/// # Errors
/// When a directory cannot be listed.
pub(super) fn with_drop_ins(files: Vec<PathBuf>, root: &Path, as_if: Option<(&Path, bool)>) -> Result<Found, Faults> {
    let (mut drop_ins, mut found) = (BTreeMap::new(), Found { files, ..Found::default() });
    for directory in DROP_IN_DIRECTORIES {
        let directory = below(root, directory);
        let listed = list(&directory, &mut found.ignored);
        drop_ins.extend(listed.map_err(|error| Faults::one(format!("list {}: {error}", directory.display())))?);
    }
    if let Some((path, is_there)) = as_if
        && let Some(name) = path.file_name()
    {
        match is_there {
            true => _ = drop_ins.insert(name.to_owned(), path.to_owned()),
            false if drop_ins.get(name).is_some_and(|found| found == path) => _ = drop_ins.remove(name),
            false => {}
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[(&str, &str)]) -> Result<Vec<Variable>, Faults> {
        of_environment(all.iter().map(|(name, value)| (name.into(), value.into())))
    }

    #[test]
    fn a_variable_names_the_key_part_by_part_and_others_are_nobodys() {
        let set = read(&[
            ("RODENT_SINKS__PHONE__URL", "http://ntfy.lan/nas"),
            ("RODENT_EVENTS__BATCH_SIZE", "200"),
            ("RODENT_EVENTS", "write"),
            ("RODENT_CONTROLLER__JWT", "secret"),
            ("EVENTS__BATCH_SIZE", "1"),
        ]);
        let set: Vec<_> = set.expect("read").into_iter().map(|it| (it.name, it.key.join("."), it.value)).collect();
        let expected = [
            ("RODENT_EVENTS__BATCH_SIZE", "events.batch_size", "200"),
            ("RODENT_SINKS__PHONE__URL", "sinks.phone.url", "http://ntfy.lan/nas"),
        ];
        assert_eq!(set, expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned())));
    }

    #[test]
    fn a_variable_of_two_lines_sets_nothing() {
        let refused = read(&[("RODENT_EVENTS__BATCH_SIZE", "200\nprofile: minimal")]).expect_err("refused");
        assert_eq!(refused.to_string(), "RODENT_EVENTS__BATCH_SIZE: no text of one line");
    }
}
