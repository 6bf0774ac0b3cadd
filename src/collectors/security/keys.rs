//! Keys with which one may log in by ssh, as a domain: those in the `authorized_keys` of root and of each user with a shell.
//!
//! Read where sshd's configuration says they are, when a directory of them tells of a change and once a minute. Users whose file may
//! not be read are a blind spot that `rodent status` says; what is no ordinary file sshd does not read either. Keys that
//! `AuthorizedKeysCommand` gives are not seen, and of `Match` in the configuration nothing counts.

mod file;
mod places;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io::{self, ErrorKind, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use self::places::User;
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    files,
    host::{
        Host,
        tree_watch::{TreeChange, TreeWatch},
    },
    order::Gather as _,
    schema::events::{SecurityKeyPayload, security_key_payload::SecurityKeyOperation as Operation},
};

const INTERVAL: Duration = Duration::from_secs(60);
/// Some hundred keys; that there is more of a file is a blind spot.
const FILE_BYTES_MAX: u64 = 256 * 1024;
/// The most users whose keys are followed, and keys of one of them; that there are more is a blind spot.
const USERS_MAX: usize = 1024;
const KEYS_MAX: usize = 256;
const COMPONENT: &str = "keys";
const UNSEEN: &str = "authorized keys";
const BEYOND: &str = "all authorized keys";

/// By user, and by fingerprint.
type Known = BTreeMap<String, BTreeMap<String, file::Key>>;

/// The look at them.
#[derive(Default)]
pub(super) struct Keys {
    watch: Option<TreeWatch>,
    /// What to be woken by.
    paths: BTreeSet<PathBuf>,
    /// Those who are root by their number.
    roots: BTreeSet<String>,
    said_unseen: bool,
}

/// What a look finds.
#[derive(Default)]
struct Looked {
    known: Known,
    /// Users whose files may not be read, or cannot.
    unseen: BTreeSet<String>,
    /// Users of whose files not all was read.
    cut: BTreeSet<String>,
    roots: BTreeSet<String>,
    /// Files, and the directories that lead to them.
    paths: BTreeSet<PathBuf>,
    /// Users, keys and files beyond the bounds.
    beyond: usize,
}

impl Domain for Keys {
    const NAME: &'static str = "authorized keys";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let mut watch = self.watch.take().map_or_else(|| TreeWatch::new(true), Ok).ok();
        let look = move |host: &Host| {
            let looked = look(host);
            if let (Some(looked), Some(watch)) = (&looked, &mut watch) {
                follow(watch, &looked.paths);
            }
            Ok((looked, watch))
        };
        let (looked, watch) = context.look("look at the authorized keys", look).await?;
        self.watch = watch;
        // `/etc/passwd` is being written.
        let Some(mut looked) = looked else { return Ok(None) };
        self.note_unseen(context, looked.unseen.len());
        // What cannot be seen now is not gone; and what can be seen is, beside it.
        for (user, keys) in before.into_iter().flatten() {
            if looked.unseen.contains(user) || looked.cut.contains(user) {
                looked.keep(user, keys);
            }
        }
        let why = format!(
            "more than {USERS_MAX} users, {KEYS_MAX} keys of one or {} KiB of a file are there, {} are not followed",
            FILE_BYTES_MAX / 1024,
            looked.beyond
        );
        context.note(BEYOND, (looked.beyond > 0).then_some(why)).await?;
        (self.paths, self.roots) = (looked.paths, looked.roots);
        Ok(Some(looked.known))
    }

    fn first_sight(&self, _: &Known) -> Vec<Finding> {
        Vec::new()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (user, keys) in before {
            let now = after.get(user);
            for (print, key) in keys.iter().filter(|(print, _)| now.is_none_or(|now| !now.contains_key(*print))) {
                findings.push(self.finding(user, print, key, Operation::Removed));
            }
        }
        for (user, keys) in after {
            let then = before.get(user);
            for (print, key) in keys.iter().filter(|(print, _)| then.is_none_or(|then| !then.contains_key(*print))) {
                findings.push(self.finding(user, print, key, Operation::Installed));
            }
        }
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        let count: usize = known.values().map(BTreeMap::len).sum();
        if count == 0 { String::new() } else { format!("authorized keys: {count}") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }

    async fn wake(&mut self, _: &Context) -> Result<(), CollectError> {
        let Some(watch) = &mut self.watch else { return pending().await };
        let is_ours = |change: &TreeChange| change.is_anew || change.paths.keys().any(|path| self.paths.contains(path));
        let woken = watch.concerned(&mut TreeChange::default(), is_ours).await;
        woken.map_err(|error| CollectError::failed("watch the authorized keys", error))
    }
}

impl Keys {
    fn note_unseen(&mut self, context: &Context, unseen: usize) {
        let why = match unseen {
            0 => String::new(),
            _ => format!(
                "of {unseen} users they may not be read; with locked-accounts.conf of the unit's drop-ins they may"
            ),
        };
        context.sight.is_not_meant_to_see(UNSEEN, &why);
        if unseen > 0 && !self.said_unseen {
            tracing::info!(why, "authorized keys are not seen");
        }
        self.said_unseen = unseen > 0;
    }

    fn finding(&self, user: &str, print: &str, key: &file::Key, operation: Operation) -> Finding {
        let (action, is_installed) =
            if operation == Operation::Installed { ("installed", true) } else { ("removed", false) };
        // Whoever has it may do everything.
        let level = if is_installed && self.roots.contains(user) { Level::Warn } else { Level::Info };
        let payload = SecurityKeyPayload {
            key_id: print.to_owned(),
            key_type: key.kind.clone(),
            username: user.to_owned(),
            comment: key.comment.clone(),
            operation: operation.into(),
            ..Default::default()
        };
        Finding::new(level, payload, COMPONENT, action)
    }
}

/// None while the accounts are not whole.
fn look(host: &Host) -> Option<Looked> {
    let users = places::users(&host.read("/etc/passwd").unwrap_or_default())?;
    let files = places::files(host);
    let mut looked = Looked { beyond: users.len().saturating_sub(USERS_MAX), ..Looked::default() };
    for user in users.into_iter().take(USERS_MAX) {
        looked.take(host, &user, &files);
    }
    Some(looked)
}

impl Looked {
    fn take(&mut self, host: &Host, user: &User, files: &[String]) {
        let mut keys = BTreeMap::new();
        for path in files.iter().map(|file| host.path(&user.path(file))) {
            match read(&path) {
                Ok((text, is_whole)) => {
                    if !is_whole {
                        self.cut.insert(user.name.clone());
                        self.beyond += 1;
                    }
                    for (print, key) in text.lines().filter_map(file::key) {
                        if keys.len() < KEYS_MAX {
                            keys.insert(print, key);
                        } else {
                            self.beyond += 1;
                        }
                    }
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(_) => drop(self.unseen.insert(user.name.clone())),
            }
            let directory = path.parent().map(Path::to_owned);
            self.paths.extend(directory.into_iter().chain([path]));
        }
        if user.number == 0 {
            self.roots.insert(user.name.clone());
        }
        if !keys.is_empty() {
            self.known.insert(user.name.clone(), keys);
        }
    }

    /// Keys that were known of a user of whom not everything is seen now.
    fn keep(&mut self, user: &str, keys: &BTreeMap<String, file::Key>) {
        let known = self.known.entry(user.to_owned()).or_default();
        for (print, key) in keys {
            let is_missing = !known.contains_key(print);
            if is_missing && known.len() < KEYS_MAX {
                known.insert(print.clone(), key.clone());
            } else if is_missing {
                self.beyond += 1;
            }
        }
    }
}

/// As far as the bound, and whether that is all. What is no ordinary file is not there for sshd either; a pipe that somebody has
/// put there is not even opened.
fn read(path: &Path) -> io::Result<(String, bool)> {
    if !path.metadata()?.is_file() {
        return Err(ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::new();
    files::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    let is_whole = bytes.len() as u64 <= FILE_BYTES_MAX;
    Ok((String::from_utf8_lossy(&bytes).into_owned(), is_whole))
}

/// Watches the directories of these paths, and of a directory that is not there yet the one that it would be in.
fn follow(watch: &mut TreeWatch, paths: &BTreeSet<PathBuf>) {
    let wanted: BTreeSet<&Path> = paths.iter().filter_map(|path| path.parent()).gather();
    for directory in wanted {
        // Where it may not be watched, it is looked at once a minute.
        if !watch.watches(directory) {
            let _ = watch.add(directory);
        }
    }
}

#[cfg(test)]
mod tests;
