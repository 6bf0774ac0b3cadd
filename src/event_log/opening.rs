//! What a log finds of itself when it is opened, in whatever state the disk has it: where numbering goes on and whether that
//! can be proved, and what is gone.
//!
//! Nothing has to be written for it, so that a log opens on a disk that is full or read-only as on any other; the writer
//! finds out what the disk takes.

use crate::order::Gather as _;
use std::{collections::BTreeSet, fs, io, ops::Range, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use uuid::Uuid;

use crate::{
    event_log::{
        disk::{
            files::{self, make_directory, sync_directory},
            lock::Lock,
            quarantine,
            row::Row,
            slots::{self, Slots},
            volume::{self, Known, Stranger},
        },
        error::LogError,
        lane::Lane,
        ledger::{
            Ledger,
            age::{AgeClock, Noted},
            header::{Extent, Header},
            loss::{Cause, Loss},
            numbering::{Numbering, Numbers},
        },
        ranges::without,
        settings::Settings,
    },
    telemetry::message,
};

/// What the disk holds.
pub(super) struct Found {
    /// Absent while the directory cannot be made.
    pub(super) lock: Option<Lock>,
    pub(super) slots: Slots,
    pub(super) ledger: Ledger,
    pub(super) rows: [Row; 2],
    /// As noted last.
    pub(super) extents: [Extent; 2],
    pub(super) age: AgeClock,
    pub(super) numbering: Numbering,
    /// Sequence of the next event of each lane.
    pub(super) next_sequences: [u64; 2],
    /// What is gone, and may not be recorded.
    pub(super) losses: Vec<Loss>,
    /// Whether the last process did not close the log.
    pub(super) unclean: bool,
    /// Whether where consumers stood has been lost.
    pub(super) cursors_are_lost: bool,
    /// Why the disk takes nothing.
    pub(super) fault: Option<LogError>,
}

impl Found {
    /// # Errors
    /// When another process works on the log, another version wrote it, or what is there cannot be read.
    pub(super) fn find(settings: &Settings) -> Result<Found, LogError> {
        let root = &settings.directory;
        let somebody_was_here = was_made(root);
        let made = make_directory(root);
        let fault = match made {
            // Nothing is there, and nothing can be put there: there is nothing to be taken for new.
            Err(error) if is_absent(root) => Some(LogError::io("create", root, error)),
            _ => None,
        };
        let lock = if fault.is_none() { Some(Lock::take(root)?) } else { None };
        let is_new = is_empty(root) && is_absent(&root.join("quarantine"));
        if !is_new {
            send_home(root)?;
        }
        let Noticed { mut slots, ledger, header, mut damage } = Noticed::read(root)?;
        let older = if header.is_none() && damage.is_none() { take_older(root) } else { None };
        if let (None, None, false, None) = (&header, &damage, is_new, older) {
            damage = Some("it is gone".to_owned());
        }
        if let Some(why) = &damage {
            set_aside(root, &mut slots, why);
        }
        let extents = header.as_ref().map_or_else(Default::default, |header| header.lanes);
        // Without a boot to tell by, the power may have been gone.
        let boot = Some(settings.boot_id).filter(|boot| !boot.is_nil());
        let exact = header.as_ref().is_some_and(|header| Some(header.age.boot_id) == boot);
        let known = Lane::ALL.map(|lane| {
            let extent = extents[lane.index()];
            Known { sealed: extent.sealed, end: extent.end.max(ledger.furthest(lane)), is_exact: exact }
        });
        let load = |lane: Lane| Row::load(root, lane, known[lane.index()]);
        let rows = [load(Lane::Urgent)?, load(Lane::Routine)?];
        let went_back = |row: &Row| {
            let sealed = row.list().last().map_or(0, |(_, summary)| summary.next_sequence);
            header.is_some() && sealed > extents[row.lane().index()].sealed
        };
        let went_back = rows.iter().any(went_back);
        let mut unproved = damage.is_some() || went_back;
        let age = age(settings, header.as_ref(), &rows);
        for row in &rows {
            unproved |= row.complete(age.milliseconds());
        }
        // Those that were just sealed would prove to the next start that the ledger has gone back.
        let extents = Lane::ALL.map(|lane| {
            let sealed = rows[lane.index()].list().last().map_or(0, |(_, summary)| summary.next_sequence);
            Extent { sealed: sealed.max(extents[lane.index()].sealed), ..extents[lane.index()] }
        });
        let held = rows.each_ref().map(Row::sequences);
        let next_sequences = Lane::ALL.map(|lane| {
            let stored = held[lane.index()].last().map_or(1, |range| range.end);
            unproved |= stored < known[lane.index()].end.max(extents[lane.index()].seen);
            stored.max(known[lane.index()].end).max(extents[lane.index()].seen)
        });
        let numbering = Numbering::new(header.as_ref().map_or_else(Numbers::fresh, |header| header.numbers.clone()));
        let losses = Lane::ALL
            .into_iter()
            .flat_map(|lane| {
                let gone = without(1..next_sequences[lane.index()], &held[lane.index()]);
                gone.into_iter().flat_map(move |range| by_cause(lane, range, extents[lane.index()]))
            })
            .flat_map(|loss| by_epoch(&numbering, loss))
            .collect();
        go_on(&numbering, settings, header.as_ref(), &ledger, next_sequences, unproved);
        Ok(Found {
            lock,
            slots,
            ledger,
            rows,
            extents,
            age,
            numbering,
            next_sequences,
            losses,
            unclean: (!is_new || somebody_was_here)
                && !older.unwrap_or_else(|| header.is_some_and(|header| header.closed)),
            cursors_are_lost: damage.is_some(),
            fault,
        })
    }
}

/// The ledger as it was read.
struct Noticed {
    slots: Slots,
    ledger: Ledger,
    header: Option<Header>,
    /// What is wrong with it.
    damage: Option<String>,
}

impl Noticed {
    fn read(root: &Path) -> Result<Noticed, LogError> {
        let (slots, found) = Slots::find(root).map_err(|e| LogError::io("read", &root.join(files::LEDGER), e))?;
        let header = header_of(root, &found)?;
        let consumers = found.bodies.iter().enumerate().skip(1).map(|(number, body)| (number, body.as_slice()));
        let (ledger, unknown) = Ledger::load(consumers);
        let damage = damage_of(&found, header.as_ref(), unknown.len());
        Ok(Noticed { slots, ledger, header, damage })
    }
}

/// The header, if it is intact.
///
/// # Errors
/// When another version wrote it.
pub(super) fn header_of(root: &Path, found: &slots::Found) -> Result<Option<Header>, LogError> {
    let Some(body) = found.bodies.first().filter(|body| !body.is_empty()) else { return Ok(None) };
    let path = root.display().to_string();
    Header::from_bytes(body).map_err(|found| LogError::Format { path, found, known: Header::KNOWN })
}

/// What is wrong with a ledger; `None` when nothing is, or it is not there.
pub(super) fn damage_of(found: &slots::Found, header: Option<&Header>, unknown: usize) -> Option<String> {
    match found.damaged.iter().filter(|number| **number > 0).count() + unknown {
        _ if !found.exists => None,
        _ if header.is_none() => Some("neither slot of its header is intact".to_owned()),
        0 => None,
        1 => Some("neither slot of a consumer is intact".to_owned()),
        more => Some(format!("neither slot of {more} consumers is intact")),
    }
}

fn set_aside(root: &Path, slots: &mut Slots, why: &str) {
    let moved = slots.set_aside();
    let kept = match &moved {
        Ok(Some(there)) => there.display().to_string(),
        Ok(None) => String::new(),
        Err(error) => format!("cannot be moved: {error}"),
    };
    tracing::error!(
        message_id = %message::LOG_REPAIRED,
        path = %root.join(files::LEDGER).display(),
        damage = why,
        kept,
        "the ledger of the event log is damaged; who has no cursor any more begins with the oldest event"
    );
}

/// Whether there is nothing of a log but empty directories, and that is certain.
pub(super) fn is_empty(root: &Path) -> bool {
    let is_empty =
        |path: &Path| is_absent(path) || fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    is_absent(&root.join(files::LEDGER)) && Lane::ALL.iter().all(|lane| is_empty(&root.join(lane.name())))
}

/// Whether a log's directory is there. Whoever made it may have put nothing in it, for the disk took nothing: what that
/// process had in memory is gone. Where a file system is mounted, whoever mounted it made it.
fn was_made(root: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|metadata| metadata.dev());
    device(root).is_some_and(|own| root.parent().and_then(device) == Some(own))
}

/// Whether nothing is there, and that is certain.
fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Takes away what a log of the time before ledgers had in its place; gives whether that was closed in good order, `None` when
/// there is no such. Its cursors begin with the oldest event.
fn take_older(root: &Path) -> Option<bool> {
    let (meta, mark) = (root.join("meta"), root.join("closed"));
    if !meta.is_dir() {
        return None;
    }
    tracing::info!(path = %root.display(), "the event log was written by an older version: delivery begins with its oldest event");
    let closed = fs::remove_file(&mark);
    if let Err(error) = files::remove_store(&meta) {
        tracing::warn!(%error, "what the older version kept beside its events stays");
    }
    Some(closed.is_ok())
}

/// Puts generations that somebody has renamed back to where they belong, and copies into quarantine. What cannot be moved is
/// left alone, and not read.
fn send_home(root: &Path) -> Result<(), LogError> {
    let mut stuck = BTreeSet::new();
    loop {
        let mut strangers = volume::strangers(root, Lane::Urgent)?;
        strangers.extend(volume::strangers(root, Lane::Routine)?);
        let homes: BTreeSet<_> = strangers.iter().map(|stranger| stranger.path.clone()).gather();
        // Each move brings at least one to where it stays.
        let Some(stranger) = strangers.into_iter().find(|stranger| !stuck.contains(&stranger.path)) else {
            return Ok(());
        };
        let Stranger { lane, number, path, home } = stranger;
        let (moved, to) = match is_absent(&home) {
            true => (fs::rename(&path, &home), "back to where it says that it belongs"),
            false if homes.contains(&home) => (exchange(&path, &home), "back, as what lay in its place"),
            false => {
                let name = quarantine::generation_name(lane, number);
                (quarantine::take_in(root, &path, &name).map(drop), "to quarantine, for what it is a copy of is there")
            }
        };
        let synced = moved.and_then(|()| path.parent().into_iter().chain(home.parent()).try_for_each(sync_directory));
        match synced {
            Ok(()) => {
                tracing::error!(
                    message_id = %message::LOG_REPAIRED,
                    path = %path.display(),
                    belongs_to = %home.display(),
                    "a generation of the event log bore another one's name; it is moved {to}"
                );
                // Also a damaged one, of which both lanes say that it is the other's.
                stuck.insert(home);
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a misplaced generation stays, and is not read");
                stuck.insert(path);
            }
        }
    }
}

/// Two directories take each other's places.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).map_err(io::Error::from)
}

/// The log's time. When the ledger does not know it any more, it goes on from the youngest generation: so nothing is taken
/// for older than it is.
fn age(settings: &Settings, header: Option<&Header>, rows: &[Row; 2]) -> AgeClock {
    let youngest = rows.iter().flat_map(Row::list).map(|(_, summary)| summary.sealed_at).max();
    let restored = youngest.map(|age| Noted {
        age: Duration::from_millis(age),
        boot_id: settings.boot_id,
        since_boot: (settings.since_boot)(),
    });
    AgeClock::new(header.map(|header| header.age).or(restored), settings.boot_id, settings.since_boot)
}

/// Parts of what is gone, each with why.
fn by_cause(lane: Lane, gone: Range<u64>, extent: Extent) -> Vec<Loss> {
    let within = |from: u64, to: u64| gone.start.max(from)..gone.end.min(to);
    let parts = [
        (Cause::Retention, within(0, extent.first)),
        (Cause::Damage, within(extent.first, extent.end.max(extent.first))),
        (Cause::DiskFull, within(extent.end.max(extent.first), extent.seen)),
        (Cause::Damage, within(extent.end.max(extent.first).max(extent.seen), u64::MAX)),
    ];
    let parts = parts.into_iter().filter(|(_, range)| !range.is_empty());
    parts.map(|(cause, range)| Loss::of(lane, cause, Uuid::nil(), range)).collect()
}

/// The same, under the epochs that the events had when the ledger was written.
fn by_epoch(numbering: &Numbering, loss: Loss) -> Vec<Loss> {
    let parts = numbering.parts(loss.lane, &loss.sequences, numbering.epoch()).into_iter();
    parts.map(|(range, epoch)| Loss { times: loss.times, ..Loss::of(loss.lane, loss.cause, epoch, range) }).collect()
}

/// Lets the numbering go on as it has to. A log that was written for another owner is a copy, or has been moved: there may
/// be another one that goes on with the same numbers, so here what is not delivered and what comes gets others.
fn go_on(
    numbering: &Numbering,
    settings: &Settings,
    header: Option<&Header>,
    ledger: &Ledger,
    next_sequences: [u64; 2],
    unproved: bool,
) {
    if header.is_some_and(|header| !header.is_of(&settings.owner)) {
        numbering.renumber(Uuid::new_v4(), ledger.durably_passed().unwrap_or([1, 1]), next_sequences);
        tracing::warn!("the event log was written on another machine or for another node; it goes on in a new epoch");
    } else if unproved {
        numbering.begin(Uuid::new_v4());
        tracing::warn!(message_id = %message::LOG_REPAIRED, "it cannot be proved that the end of the event log is intact; it goes on in a new epoch");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_with_why_as_far_as_the_ledger_knows() {
        let extent = Extent { first: 10, sealed: 15, end: 20, seen: 30, ..Extent::default() };
        let told = |gone: Range<u64>| -> Vec<_> {
            by_cause(Lane::Routine, gone, extent).into_iter().map(|loss| (loss.cause, loss.sequences)).collect()
        };
        let all =
            [(Cause::Retention, 1..10), (Cause::Damage, 10..20), (Cause::DiskFull, 20..30), (Cause::Damage, 30..40)];
        assert_eq!(told(1..40), all);
        assert_eq!(told(12..13), [(Cause::Damage, 12..13)]);
        assert_eq!(told(25..25), []);
    }
}
