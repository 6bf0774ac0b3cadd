//! Which files the agent's user may not read: what root sees says nothing about that.
//!
//! Given a user and paths of root's own configuration. Root asks a child that has become that user, with all its groups, so that
//! owners, modes, access lists and directories on the way count as they do for the agent. Anybody else looks as himself.

use std::{
    ffi::CString,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use nix::{
    libc,
    unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid},
};

use super::super::Failure;

/// The program itself.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Why the agent's user may not read a file, in words; nothing where it may.
pub(super) type Seen = Option<String>;

/// What each file is to the agent's user.
///
/// # Errors
/// When the child could not be asked.
pub(super) async fn seen_by(user: Uid, paths: Vec<PathBuf>) -> io::Result<Vec<Seen>> {
    if !Uid::effective().is_root() || user.is_root() {
        return Ok(paths.iter().map(|path| look(path)).collect());
    }
    let mut child = tokio::process::Command::new(OWN_PROGRAM);
    child.args(["doctor", "--as-user", &user.to_string()]);
    for path in &paths {
        child.arg("--file").arg(path);
    }
    // Dropped when the check's time is over: a disk that hangs is not waited for.
    let child = child.stdin(Stdio::null()).stderr(Stdio::null()).current_dir("/").kill_on_drop(true).output().await?;
    let told: Vec<Seen> = serde_json::from_slice(&child.stdout)?;
    if !child.status.success() || told.len() != paths.len() {
        return Err(io::Error::other(format!("a child of another user gave no answer ({})", child.status)));
    }
    Ok(told)
}

/// In the child: becomes the user, for good, and tells what it sees.
pub(super) fn tell(user: u32, paths: &[PathBuf]) -> Result<ExitCode, Failure> {
    become_user(Uid::from_raw(user)).map_err(|error| Failure::other(format!("become user {user}: {error}")))?;
    let seen: Vec<Seen> = paths.iter().map(|path| look(path)).collect();
    let told = serde_json::to_string(&seen).map_err(|error| Failure::other(error.to_string()))?;
    super::quiet_end(io::Write::write_all(&mut io::stdout(), told.as_bytes()))?;
    Ok(ExitCode::SUCCESS)
}

fn become_user(uid: Uid) -> nix::Result<()> {
    let (gid, groups) = match User::from_uid(uid)? {
        Some(user) => {
            let name = CString::new(user.name).map_err(|_| nix::Error::EINVAL)?;
            (user.gid, getgrouplist(&name, user.gid)?)
        }
        // A user without a name is in no group but one of the same number.
        None => (Gid::from_raw(uid.as_raw()), Vec::new()),
    };
    setgroups(&groups)?;
    setresgid(gid, gid, gid)?;
    setresuid(uid, uid, uid)
}

fn look(path: &Path) -> Seen {
    let opened: io::Result<File> = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
    opened.err().map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_looks_as_himself_sees_what_is_there_and_what_is_not() {
        let directory = tempfile::tempdir().expect("a directory");
        let (there, absent) = (directory.path().join("token"), directory.path().join("absent"));
        std::fs::write(&there, "t").expect("written");
        let seen = seen_by(Uid::from_raw(0), vec![there, absent]).await.expect("an answer");
        assert_eq!(seen[0], None);
        assert!(seen[1].as_ref().is_some_and(|why| why.starts_with("No such file")), "{seen:?}");
    }
}
