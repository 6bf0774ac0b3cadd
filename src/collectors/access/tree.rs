//! The paths that are followed, and how they are looked at: the named ones and all that is below them, what lies higher first.
//!
//! Stays on the file system of the named path: what is mounted below is named by itself, and snapshots are no data. Always holds: what
//! cannot be seen now is not gone, and a directory is watched before it is looked into.

use std::{
    collections::{BTreeMap, VecDeque},
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use super::{
    look::{self, Seen},
    rights::{ENTRIES_MAX, Rights},
};
use crate::host::{
    Host,
    tree_watch::{Touch, TreeChange, TreeWatch},
};

/// The most paths that are followed, with some 300 bytes each.
pub(super) const PATHS_MAX: usize = 8192;
/// The most directories that are watched: as many as the smallest bound of the kernel leaves others room for.
pub(super) const WATCHES_MAX: usize = 2048;
/// The most paths of which it is known why they are not seen.
const UNSEEN_MAX: usize = 256;
const RIGHT: &str = "locked-accounts.conf of the unit's drop-ins gives the right";

/// By path.
pub(super) type Known = BTreeMap<String, Rights>;

/// A path that is named.
#[derive(Debug)]
struct Root {
    told: String,
    /// Where it is looked for, and where it is: links are followed to it, and none below it.
    given: PathBuf,
    real: PathBuf,
    /// Device and number of the file; none where there is none.
    identity: Option<(u64, u64)>,
}

/// The paths that are followed.
#[derive(Debug)]
pub(super) struct Tree {
    roots: Vec<Root>,
    watch: TreeWatch,
    pub(super) known: Known,
    /// What is not seen, and why.
    unseen: BTreeMap<String, String>,
    /// Paths, and directories to watch, beyond the bounds.
    pub(super) beyond: usize,
}

/// Whether a path is another one, or lies below it.
pub(super) fn is_within(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || root == "/")
}

impl Tree {
    /// Of these paths; those that lie below another one are seen with it.
    pub(super) fn new(host: &Host, paths: &[String]) -> io::Result<Tree> {
        let mut roots: Vec<Root> = Vec::new();
        for path in paths {
            let told = if path == "/" { path.as_str() } else { path.trim_end_matches('/') };
            if paths.iter().any(|other| other != path && is_within(told, other.trim_end_matches('/')))
                || roots.iter().any(|root| root.told == told)
            {
                continue;
            }
            let given = host.path(told);
            roots.push(Root { told: told.to_owned(), real: given.clone(), given, identity: None });
        }
        let watch = TreeWatch::new(false)?;
        Ok(Tree { roots, watch, known: Known::new(), unseen: BTreeMap::new(), beyond: 0 })
    }

    #[cfg(test)]
    pub(super) fn watch(&mut self) -> &mut TreeWatch {
        &mut self.watch
    }

    /// Waits until something has changed that is followed, or that leads to it; `change` takes it in.
    pub(super) async fn changed(&mut self, change: &mut TreeChange) -> io::Result<()> {
        let roots = &self.roots;
        let leads_to_one =
            |path: &PathBuf| roots.iter().any(|root| path.starts_with(&root.real) || root.given.starts_with(path));
        let concerns = |change: &TreeChange| change.is_anew || change.paths.keys().any(leads_to_one);
        self.watch.concerned(change, concerns).await
    }

    /// Looks at what has changed; `before` is what is known.
    pub(super) fn look(&mut self, before: Option<&Known>, change: &TreeChange) {
        let empty = Known::new();
        let before = before.unwrap_or(&empty);
        self.known.clone_from(before);
        if change.is_anew {
            self.beyond = 0;
        }
        for at in 0..self.roots.len() {
            self.look_at_root(at, before, change);
        }
    }

    fn look_at_root(&mut self, at: usize, before: &Known, change: &TreeChange) {
        let Some(root) = self.roots.get_mut(at) else { return };
        let (real, identity) = match identity(&root.given) {
            Ok((real, identity)) => (real, Ok(identity)),
            Err(error) => (root.real.clone(), Err(error)),
        };
        let is_same = !change.is_anew && root.identity.is_some() && root.identity == identity.as_ref().ok().copied();
        let (told, given) = (root.told.clone(), root.given.clone());
        let left = std::mem::replace(&mut root.real, real.clone());
        root.identity = identity.as_ref().ok().copied();
        if let Some(parent) = given.parent()
            && !self.watch.watches(parent)
        {
            // That it comes, goes or is replaced is seen there; where that cannot be watched it is seen at the next turn.
            let _ = self.watch.add(parent);
        }
        match identity {
            Ok(_) if is_same => {
                for (path, touch) in change.paths.iter().filter(|(path, _)| path.starts_with(&real)) {
                    let Some(name) = told_of(path, &real, &told) else { continue };
                    match touch {
                        Touch::Altered => self.alter(path, &name, before),
                        Touch::Replaced => self.replace(path, &name, before),
                    }
                }
            }
            Ok(_) => {
                self.watch.forget_below(&left);
                self.replace(&real, &told, before);
            }
            Err(error) => {
                self.watch.forget_below(&left);
                self.forget(&told);
                self.is_unseen(&told, why(&error), before);
            }
        }
    }

    /// The same thing, with other rights.
    fn alter(&mut self, path: &Path, name: &str, before: &Known) {
        match look::look(path) {
            // What could not be looked into may be open now.
            Ok(Some(seen)) if seen.is_directory && !self.watch.watches(path) => self.replace(path, name, before),
            Ok(Some(seen)) if self.known.contains_key(name) || self.known.len() < PATHS_MAX => {
                self.take(name, seen, before)
            }
            _ => self.replace(path, name, before),
        }
    }

    /// Something else, or nothing: it is looked at with all that is below.
    fn replace(&mut self, path: &Path, name: &str, before: &Known) {
        self.watch.forget_below(path);
        self.forget(name);
        self.scan(path.to_owned(), name.to_owned(), before);
    }

    fn forget(&mut self, name: &str) {
        self.known.retain(|known, _| !is_within(known, name));
        self.unseen.retain(|unseen, _| !is_within(unseen, name));
    }

    pub(super) fn take(&mut self, name: &str, seen: Seen, before: &Known) {
        if seen.is_too_long {
            self.is_unseen(name, format!("its access list has more than {ENTRIES_MAX} entries"), before);
        }
        self.known.insert(name.to_owned(), seen.rights);
    }

    /// All of a path and below, what lies higher first.
    fn scan(&mut self, path: PathBuf, name: String, before: &Known) {
        let mut device = None;
        let mut queue = VecDeque::from([(path, name)]);
        while let Some((path, name)) = queue.pop_front() {
            let seen = match look::look(&path) {
                Ok(Some(seen)) => seen,
                Ok(None) => continue,
                Err(error) if is_gone(&error) => continue,
                Err(error) => {
                    self.is_unseen(&name, why(&error), before);
                    continue;
                }
            };
            // An overlay has files of other devices than its directories.
            if seen.is_directory && *device.get_or_insert(seen.device) != seen.device {
                continue;
            }
            let is_directory = seen.is_directory;
            self.take(&name, seen, before);
            if !is_directory {
                continue;
            }
            if self.watch.count() >= WATCHES_MAX {
                self.beyond += 1;
                continue;
            }
            match self.watch.add(&path).and_then(|()| names(&path)) {
                Ok(names) => {
                    let room = PATHS_MAX.saturating_sub(self.known.len() + queue.len());
                    self.beyond += names.len().saturating_sub(room);
                    let base = name.trim_end_matches('/');
                    let named = names.into_iter().take(room);
                    queue.extend(named.map(|below| (path.join(&below), format!("{base}/{}", below.to_string_lossy()))));
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => self.is_unseen(&name, why(&error), before),
            }
        }
    }

    fn is_unseen(&mut self, name: &str, why: String, before: &Known) {
        for (path, rights) in before.iter().filter(|(path, _)| is_within(path, name)) {
            self.known.entry(path.clone()).or_insert_with(|| rights.clone());
        }
        if self.unseen.len() < UNSEEN_MAX {
            self.unseen.insert(name.to_owned(), why);
        }
    }

    /// By named path: what is not seen of it, and why.
    pub(super) fn blind(&self) -> BTreeMap<String, String> {
        let mut blind = BTreeMap::new();
        for root in &self.roots {
            let mut unseen = self.unseen.iter().filter(|(path, _)| is_within(path, &root.told));
            let Some((path, why)) = unseen.next() else { continue };
            let text = match unseen.count() {
                0 if *path == root.told => why.clone(),
                0 => format!("{path}: {why}"),
                more => format!("{path}: {why}; and {more} more below it"),
            };
            blind.insert(root.told.clone(), text);
        }
        blind
    }

    /// The named path that one lies in.
    pub(super) fn root_of<'a>(&'a self, path: &'a str) -> &'a str {
        self.roots.iter().find(|root| is_within(path, &root.told)).map_or(path, |root| &root.told)
    }
}

/// It, or a directory that led to it, has gone since.
fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => format!("it may not be read; {RIGHT}"),
        _ if is_gone(error) => "it is not there".to_owned(),
        ErrorKind::StorageFull => "the kernel takes no more watches: raise fs.inotify.max_user_watches".to_owned(),
        _ => error.to_string(),
    }
}

fn identity(given: &Path) -> io::Result<(PathBuf, (u64, u64))> {
    let real = fs::canonicalize(given)?;
    let found = fs::symlink_metadata(&real)?;
    Ok((real, (found.dev(), found.ino())))
}

fn told_of(path: &Path, real: &Path, told: &str) -> Option<String> {
    let below = path.strip_prefix(real).ok()?;
    if below.as_os_str().is_empty() {
        return Some(told.to_owned());
    }
    Some(format!("{}/{}", told.trim_end_matches('/'), below.to_string_lossy()))
}

fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}
