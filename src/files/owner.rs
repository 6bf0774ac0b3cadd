//! Root among files of others. Whoever owns a directory decides what the paths in it mean, at any moment; root that acts by
//! such a path does what that user wants. So root goes on as that user, with whom nothing is gained by being deceived.

use std::{
    collections::BTreeMap,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, geteuid, setgroups, setresgid, setresuid};

/// Why root does nothing there.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// It cannot be looked at.
    #[error("look at {path}")]
    Look {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Everybody may change what lies there.
    #[error("{path}: others may write there, so root does nothing in it; `chmod go-w` it")]
    Open {
        /// Which directory.
        path: PathBuf,
    },
    /// Two users decide.
    #[error(
        "{} belongs to user {} and {} to user {}; root does nothing where several users decide what lies there",
        one.1.display(), one.0, two.1.display(), two.0
    )]
    Several {
        /// One of them, and what is his.
        one: (Uid, PathBuf),
        /// Another.
        two: (Uid, PathBuf),
    },
    /// It leads elsewhere, where root would act as well.
    #[error(
        "{path}: a link, and root follows none that somebody may have left there; remove it, or put there what it leads to"
    )]
    Link {
        /// Which one.
        path: PathBuf,
    },
    /// Another user decides, and who asks is to stay root.
    #[error(
        "{} belongs to user {uid}, and root does nothing where another user decides what lies there: \
         run it as that user (setpriv --reuid={uid} --regid={uid} --init-groups), or make the directory root's",
        path.display()
    )]
    Other {
        /// Who.
        uid: Uid,
        /// What is his.
        path: PathBuf,
    },
    /// The kernel refuses.
    #[error("become user {uid}, who owns {path}")]
    Become {
        /// Who.
        uid: Uid,
        /// What is his.
        path: PathBuf,
        /// Why not.
        source: nix::Error,
    },
}

/// Has root go on, for good, as the one user who can change what lies at `path` or where it lies: its owner, or that of a
/// directory on the way to it. `path` is one without links. Gives who that is; `None` where nobody but root decides, or who
/// asks is not root. For a program that has one thread yet or needs it in this one alone.
///
/// # Errors
/// When several users decide, or anybody.
pub fn become_owner(path: &Path) -> Result<Option<Uid>, OwnerError> {
    if !geteuid().is_root() {
        return Ok(None);
    }
    let Some((uid, gid, place)) = decides(path)? else { return Ok(None) };
    setgroups(&[gid])
        .and_then(|()| setresgid(gid, gid, gid))
        .and_then(|()| setresuid(uid, uid, uid))
        .map_err(|source| OwnerError::Become { uid, path: place, source })?;
    Ok(Some(uid))
}

/// For what is to go on as root: that nobody else decides what lies at `path`, or will, where it is not there yet.
///
/// # Errors
/// When somebody does, and who asks is root.
pub fn refuse_others(path: &Path) -> Result<(), OwnerError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let there = path.ancestors().chain([Path::new(".")]).find_map(|place| fs::canonicalize(place).ok());
    match decides(&there.unwrap_or_default())? {
        Some((uid, _, path)) => Err(OwnerError::Other { uid, path }),
        None => Ok(()),
    }
}

/// For what goes on as root in a directory of its own, of which another user may have made the contents: that no directory
/// in it is another's or open to others, and that no link leads out of it. A copy keeps all three.
///
/// # Errors
/// When something is, and who asks is root.
pub fn refuse_others_within(directory: &Path) -> Result<(), OwnerError> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let mut directories = vec![directory.to_owned()];
    while let Some(place) = directories.pop() {
        let unseen = |source| OwnerError::Look { path: place.clone(), source };
        for entry in fs::read_dir(&place).map_err(unseen)? {
            let path = entry.map_err(unseen)?.path();
            let found = match fs::symlink_metadata(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                found => found.map_err(unseen)?,
            };
            match found.uid() {
                _ if found.is_symlink() => return Err(OwnerError::Link { path }),
                _ if !found.is_dir() => {}
                0 if is_open(&found) => return Err(OwnerError::Open { path }),
                0 => directories.push(path),
                uid => return Err(OwnerError::Other { uid: Uid::from_raw(uid), path }),
            }
        }
    }
    Ok(())
}

/// Whether others may put into a directory what they like, and take away what is there.
fn is_open(found: &Metadata) -> bool {
    found.mode() & 0o022 != 0 && found.mode() & 0o1000 == 0
}

/// The one user beside root who decides what lies at `path`, his group, and the nearest of his.
fn decides(path: &Path) -> Result<Option<(Uid, Gid, PathBuf)>, OwnerError> {
    let mut owners = BTreeMap::new();
    for place in path.ancestors() {
        let found = fs::metadata(place).map_err(|source| OwnerError::Look { path: place.to_owned(), source })?;
        if found.is_dir() && found.uid() == 0 && is_open(&found) {
            return Err(OwnerError::Open { path: place.to_owned() });
        }
        owners.entry(found.uid()).or_insert((found.gid(), place.to_owned()));
    }
    owners.remove(&0);
    let mut owners = owners.into_iter();
    let Some((uid, (gid, place))) = owners.next() else { return Ok(None) };
    let uid = Uid::from_raw(uid);
    if let Some((other, (_, theirs))) = owners.next() {
        return Err(OwnerError::Several { one: (uid, place), two: (Uid::from_raw(other), theirs) });
    }
    Ok(Some((uid, Gid::from_raw(gid), place)))
}
