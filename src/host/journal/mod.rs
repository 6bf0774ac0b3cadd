//! What programs have said in journald's journal, read from its files: those of the system and of its users.
//!
//! Files are read and not `journalctl`: that would be a program to run for every look, or one that never ends. Nothing is locked,
//! and journald knows nothing of it. What was read is kept as a place in each file; files that have been put aside since
//! (rotated) are read to their end first. Only fields that journald itself writes say who has spoken: `_UID` is the kernel's
//! word; `_EXE` is what ran under that process number a moment later, and so worth something only beside a user whom one trusts.

mod file;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use self::file::{Id, JournalFile, Object};
pub use self::watch::JournalWatch;
use super::Host;

/// Where it is kept over boots, and where it is when it is not.
const DIRECTORIES: [&str; 2] = ["/var/log/journal", "/run/log/journal"];
const SYSTEM: &str = "system.journal";
/// The most files that are followed: the system's, and those of users, in which su and sudo speak.
pub const FILES_MAX: usize = 64;
/// The most files that were put aside since, and are caught up with. Older ones are left.
const ASIDE_MAX: usize = 64;
/// The most that is passed in one look; what follows comes with the next.
const LOOK_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The most that is given of one look.
const RECORDS_MAX: usize = 10_000;
/// So much is read again in no time.
const FAR_BYTES: u64 = 16 * 1024 * 1024;
/// An entry that is not whole is waited for in so many looks, then the file is gone on with at its end.
const UNREADY_MAX: u8 = 5;

/// How far the files have been read, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPlaces(BTreeMap<String, Place>);

/// How far one of them has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    file: Id,
    at: u64,
    /// Of the last entry: when, in which boot, and how far into it, microseconds.
    realtime: u64,
    boot: Id,
    monotonic: u64,
    #[serde(skip)]
    unready: u8,
}

impl JournalPlaces {
    /// Whether it would cost something to read what lies between once more, or there are other files.
    pub fn is_far_from(&self, other: &JournalPlaces) -> bool {
        let is_near = |(name, place): (&String, &Place)| {
            let other = other.0.get(name).filter(|other| other.file == place.file);
            other.is_some_and(|other| place.at.saturating_sub(other.at) < FAR_BYTES)
        };
        self.0.len() != other.0.len() || !self.0.iter().all(is_near)
    }
}

/// One message of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalRecord {
    /// When it came, Unix milliseconds.
    pub at: i64,
    /// By the kernel's word, the user as whom the process ran.
    pub uid: u32,
    /// The number of the process.
    pub process: u32,
    /// What ran there.
    pub executable: String,
    /// The service of systemd, or the session, that it belongs to: systemd's word.
    pub unit: String,
    /// What it calls itself. Anybody may call himself anything.
    pub tag: String,
    /// What it said; bytes that are no UTF-8 are replaced.
    pub message: String,
}

/// What a look finds.
#[derive(Debug, Default)]
pub struct JournalLook {
    /// What these programs have said since, oldest first in each file.
    pub records: Vec<JournalRecord>,
    /// There is more: look again.
    pub has_more: bool,
    /// Files of users that are not followed, for there are too many.
    pub beyond: usize,
}

/// What there is to see of it.
#[derive(Debug)]
pub enum JournalSight {
    /// What was said since.
    Open(JournalLook),
    /// There is no journal; or journald puts its file aside at this moment.
    Absent,
    /// What [`CLOSED`] says.
    Closed,
}

/// What is missing without the right to read the journal, and what helps.
pub const CLOSED: &str = "the journal may not be read; with journal.conf of the unit's drop-ins it may";

/// What the programs with these executables have said since the last look. Where nothing has been read yet, the end of the
/// journal is where it begins.
///
/// # Errors
/// `NotFound` where there is no journal, `PermissionDenied` where it may not be read.
fn look(host: &Host, places: &mut JournalPlaces, wanted: &[&str]) -> io::Result<JournalLook> {
    let (directory, mut names) = directory(host)?;
    let is_first = places.0.is_empty();
    let mut look = Looking { wanted, bytes_left: LOOK_BYTES_MAX, found: JournalLook::default() };
    let live: Vec<String> = names.iter().filter(|name| is_of_user(name)).cloned().collect();
    look.found.beyond = (live.len() + 1).saturating_sub(FILES_MAX);
    names.retain(|name| name.contains('@'));
    for name in std::iter::once(SYSTEM.to_owned()).chain(live).take(FILES_MAX) {
        let mut file = match JournalFile::open(&directory.join(&name)) {
            Ok(file) => file,
            Err(error) if name == SYSTEM => return Err(error),
            // It was put aside just now, or is not ours to read.
            Err(_) => continue,
        };
        let place = match places.0.get(&name) {
            Some(place) => *place,
            None if is_first => Place::end_of(&mut file),
            None => Place { file: file.id, at: file.first, ..Place::default() },
        };
        let place = look.file(&directory, &names, &name, file, place)?;
        places.0.insert(name, place);
    }
    Ok(look.found)
}

/// The directory that is in use, and the names in it.
fn directory(host: &Host) -> io::Result<(PathBuf, Vec<String>)> {
    let machine = host.machine_id().ok_or(ErrorKind::NotFound)?;
    for directory in DIRECTORIES {
        let directory = format!("{directory}/{machine}");
        let names = host.names(&directory)?;
        if names.iter().any(|name| name == SYSTEM) {
            return Ok((host.path(&directory), names));
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// `user-1000.journal`
fn is_of_user(name: &str) -> bool {
    let uid = name.strip_prefix("user-").and_then(|name| name.strip_suffix(".journal"));
    uid.is_some_and(|uid| !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()))
}

impl Place {
    fn end_of(file: &mut JournalFile) -> Place {
        let (realtime, boot, monotonic) = file.tail;
        Place { file: file.id, at: file.end(), realtime, boot, monotonic, unready: 0 }
    }
}

struct Looking<'a> {
    wanted: &'a [&'a str],
    bytes_left: u64,
    found: JournalLook,
}

impl Looking<'_> {
    /// Reads on in a file, first in those that had its name before; gives how far it came.
    fn file(
        &mut self,
        directory: &Path,
        aside: &[String],
        name: &str,
        live: JournalFile,
        mut place: Place,
    ) -> io::Result<Place> {
        if live.id != place.file {
            for file in put_aside(directory, aside, name, &place) {
                place = self.read(file, place)?;
                if self.found.has_more {
                    return Ok(place);
                }
            }
        }
        self.read(live, place)
    }

    fn read(&mut self, mut file: JournalFile, before: Place) -> io::Result<Place> {
        let mut place = before;
        if place.file != file.id {
            place = Place { file: file.id, at: file.first, unready: 0, ..place };
        }
        loop {
            if self.bytes_left == 0 || self.found.records.len() >= RECORDS_MAX {
                self.found.has_more = true;
                return Ok(place);
            }
            let (object, next) = file.object(place.at)?;
            match object {
                Object::End => break,
                Object::Unready if place.unready < UNREADY_MAX => {
                    place.unready += 1;
                    return Ok(place);
                }
                Object::Unready => {
                    tracing::debug!(at = place.at, "the journal is damaged here; what follows is passed over");
                    place = Place { at: file.end().max(place.at), unready: 0, ..place };
                    break;
                }
                Object::Other => {}
                Object::Entry(entry) => {
                    // In another file some may be known: what was in /run is written anew into /var at a boot.
                    let is_new = match (before.file == file.id, entry.boot == before.boot) {
                        (true, _) => true,
                        (false, true) => entry.monotonic > before.monotonic,
                        (false, false) => entry.realtime > before.realtime,
                    };
                    if is_new {
                        (place.realtime, place.boot, place.monotonic) = (entry.realtime, entry.boot, entry.monotonic);
                        self.found.records.extend(record(&file, &entry, self.wanted)?);
                    }
                }
            }
            self.bytes_left = self.bytes_left.saturating_sub(next.saturating_sub(place.at));
            (place.at, place.unready) = (next, 0);
        }
        Ok(place)
    }
}

/// Files that had this name since, oldest first: the one that was read last, and those that came after it.
fn put_aside(directory: &Path, aside: &[String], name: &str, place: &Place) -> Vec<JournalFile> {
    let stem = name.strip_suffix(".journal").unwrap_or(name);
    let is_of_it = |other: &&String| other.strip_prefix(stem).is_some_and(|rest| rest.starts_with('@'));
    let files = aside.iter().filter(is_of_it).filter_map(|name| JournalFile::open(&directory.join(name)).ok());
    let is_due = |file: &JournalFile| file.id == place.file || (place.realtime > 0 && file.since > place.realtime);
    let mut files: Vec<JournalFile> = files.filter(is_due).collect();
    crate::order::Sorted::order_by_key(files.as_mut_slice(), |file| file.since);
    let older = files.len().saturating_sub(ASIDE_MAX);
    files.drain(..older);
    files
}

/// What an entry says, if one of these programs has said it.
fn record(file: &JournalFile, entry: &file::JournalEntry, wanted: &[&str]) -> io::Result<Option<JournalRecord>> {
    let (mut executable, mut uid, mut message, mut is_spoken) = (None, None, None, None);
    let (mut process, mut unit, mut tag) = (None, None, None);
    file.fields(entry, |field| {
        let Some(equals) = field.iter().take(32).position(|byte| *byte == b'=') else { return true };
        let (name, value) = field.split_at(equals);
        let value = value.get(1..).unwrap_or_default();
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"_EXE" if wanted.iter().any(|wanted| wanted.as_bytes() == value) => executable = Some(text()),
            b"_EXE" => return false,
            b"_UID" => uid = text().parse().ok(),
            b"_PID" => process = text().parse().ok(),
            b"_SYSTEMD_UNIT" => unit = Some(text()),
            b"SYSLOG_IDENTIFIER" if tag.is_none() => tag = Some(text()),
            // Not what a program has inherited to write to.
            b"_TRANSPORT" => is_spoken = Some(matches!(value, b"syslog" | b"journal")),
            b"MESSAGE" if message.is_none() => message = Some(text()),
            _ => {}
        }
        let is_whole = executable.is_some() && uid.is_some() && message.is_some() && is_spoken.is_some();
        is_spoken != Some(false) && !(is_whole && process.is_some() && unit.is_some() && tag.is_some())
    })?;
    let at = i64::try_from(entry.realtime / 1000).unwrap_or(i64::MAX);
    Ok(match (executable, uid, message, is_spoken) {
        (Some(executable), Some(uid), Some(message), Some(true)) => {
            let (process, unit, tag) = (process.unwrap_or_default(), unit.unwrap_or_default(), tag.unwrap_or_default());
            Some(JournalRecord { at, uid, process, executable, unit, tag, message })
        }
        _ => None,
    })
}
