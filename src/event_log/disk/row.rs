//! A lane's row of generations, oldest first: which there are, what they hold, which of them are open.
//!
//! The writer adds and removes, readers look up. A generation is open only while the writer writes it or somebody reads
//! it; readers of the same one share the handle.

use std::{
    collections::BTreeMap,
    io,
    ops::{Deref, DerefMut, Range},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::{
    event_log::{
        disk::{
            damage::{Damage, News},
            files::{self, make_directory, sync_tree},
            generation::{self, Generation},
            manifest::Manifest,
            quarantine, repair,
            summary::Summary,
            volume::{self, Known},
        },
        error::LogError,
        lane::Lane,
        ranges::joined,
    },
    lock::lock,
    telemetry::ErrorChain,
};

/// One generation of the row.
#[derive(Clone)]
struct Volume {
    summary: Summary,
    /// Measured when it was sealed; 0 for the one being written.
    disk_bytes: u64,
    sealed: bool,
    open: Weak<Generation>,
    /// The generation itself, when it lies in memory.
    memory: Option<Arc<Generation>>,
    /// The epoch when it was sealed, if its manifest tells.
    epoch: Option<Uuid>,
    /// What of it is gone.
    damage: Damage,
    /// Whether it may have held more than is known, when it was found.
    is_suspect: bool,
}

impl Volume {
    fn new(summary: Summary, generation: Option<&Arc<Generation>>) -> Volume {
        Volume {
            summary,
            disk_bytes: 0,
            sealed: generation.is_none(),
            open: generation.map_or_else(Weak::new, Arc::downgrade),
            memory: generation.filter(|generation| generation.is_in_memory()).cloned(),
            epoch: None,
            damage: Damage::default(),
            is_suspect: false,
        }
    }

    fn sequences(&self) -> Range<u64> {
        self.summary.first_sequence..self.summary.next_sequence
    }
}

/// A sealed generation, for deciding what may go.
#[derive(Clone, Debug)]
pub(in crate::event_log) struct Sealed {
    pub(in crate::event_log) number: u64,
    pub(in crate::event_log) summary: Summary,
    pub(in crate::event_log) disk_bytes: u64,
}

pub(in crate::event_log) struct Row {
    lane: Lane,
    path: PathBuf,
    volumes: Mutex<BTreeMap<u64, Volume>>,
    /// First stored sequence, [`NOTHING`] when there is none. For those who do not wait for a look at the disk.
    first: AtomicU64,
    /// The highest number that was ever given to a generation.
    highest: AtomicU64,
    /// Some volume has news of damage.
    news: AtomicBool,
}

/// Where the first stored sequence would stand.
const NOTHING: u64 = u64::MAX;

/// The volumes, for as long as nobody else has them. What of them is known without is said when they are let go of.
struct Volumes<'a> {
    volumes: MutexGuard<'a, BTreeMap<u64, Volume>>,
    first: &'a AtomicU64,
    is_changed: bool,
}

impl Deref for Volumes<'_> {
    type Target = BTreeMap<u64, Volume>;

    fn deref(&self) -> &Self::Target {
        &self.volumes
    }
}

impl DerefMut for Volumes<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.is_changed = true;
        &mut self.volumes
    }
}

impl Drop for Volumes<'_> {
    fn drop(&mut self) {
        if self.is_changed {
            // One without events may lie anywhere: its making was given up.
            let first =
                self.volumes.values().find(|volume| volume.summary.events() > 0).or(self.volumes.values().next());
            self.first.store(first.map_or(NOTHING, |volume| volume.summary.first_sequence), Ordering::Release);
        }
    }
}

/// Where a sequence is to be found.
pub(in crate::event_log) enum Located {
    /// In this generation.
    In(Arc<Generation>),
    /// Not any more; the first that is there is this one.
    Gone(u64),
    /// Not yet.
    Ahead,
}

impl Row {
    /// The row of a lane below the log's root. What cannot be made or cleared away now is told, and stays: a log opens on a
    /// disk that takes nothing.
    ///
    /// # Errors
    /// When what is there cannot be read.
    pub(in crate::event_log) fn load(root: &Path, lane: Lane, known: Known) -> Result<Row, LogError> {
        let path = root.join(lane.name());
        let (first, highest, news) = (AtomicU64::new(NOTHING), AtomicU64::new(0), AtomicBool::new(false));
        let row = Row { lane, path, volumes: Mutex::default(), first, highest, news };
        let cleared = row.make().and_then(|()| generation::clear_leftovers(&row.path));
        if let Err(error) = cleared.and_then(|()| repair::adopt(root, lane)) {
            tracing::warn!(path = %row.path.display(), %error, "leftovers in the event log stay");
        }
        for found in volume::volumes(root, lane, known)? {
            let sealed = found.manifest.is_some();
            let mut volume = Volume { sealed, ..Volume::new(found.summary(), None) };
            volume.disk_bytes = files::disk_bytes(&found.path);
            volume.epoch = found.epoch();
            volume.is_suspect = found.is_suspect;
            volume.damage = Damage::recorded(found.manifest.map_or_else(Vec::new, |manifest| manifest.missing));
            row.lock().insert(found.number, volume);
        }
        // What bears a higher number and is no generation keeps its number.
        row.highest.store(generation::highest(&row.path), Ordering::Relaxed);
        Ok(row)
    }

    /// Makes the lane's directory, durably, unless it is there.
    ///
    /// # Errors
    /// As the file system says.
    pub(in crate::event_log) fn make(&self) -> io::Result<()> {
        let root = self.path.parent().unwrap_or(&self.path);
        quarantine::make_way(root, &self.path)?;
        make_directory(&self.path)
    }

    /// Seals the generations that the last process left open, as they were found; gives whether one may have held more.
    pub(in crate::event_log) fn complete(&self, age: u64) -> bool {
        let unsealed: Vec<_> = {
            let mut volumes = self.lock();
            let unsealed = volumes.iter_mut().filter(|(_, volume)| !volume.sealed);
            unsealed
                .map(|(number, volume)| {
                    (volume.summary.begun_at, volume.summary.sealed_at, volume.sealed) = (age, age, true);
                    (*number, volume.summary.clone(), volume.epoch, volume.is_suspect)
                })
                .collect()
        };
        for (number, summary, epoch, _) in &unsealed {
            let directory = generation::directory(&self.path, *number);
            // Frames that were written but never synced would otherwise be taken for durable.
            match sync_tree(&directory) {
                Ok(()) => self.write_manifest(*number, summary, epoch.unwrap_or_default()),
                // The next start finds it as this one did.
                Err(error) => {
                    tracing::warn!(directory = %directory.display(), %error, "what the last process wrote cannot be synced");
                }
            }
            if summary.events() > 0
                && let Err(error) = self.locate(summary.first_sequence)
            {
                tracing::warn!(error = %ErrorChain(&error), "a generation of the event log cannot be read");
            }
        }
        unsealed.iter().any(|(.., is_suspect)| *is_suspect)
    }

    /// The sequences that the row holds or should hold, ascending.
    pub(in crate::event_log) fn sequences(&self) -> Vec<Range<u64>> {
        joined(self.lock().values().map(Volume::sequences).collect())
    }

    /// Stretches of these sequences with the epoch that each was written with; what is not there has none.
    pub(in crate::event_log) fn epochs(&self, sequences: &Range<u64>) -> Vec<(Range<u64>, Option<Uuid>)> {
        let mut epochs: Vec<(Range<u64>, Option<Uuid>)> = Vec::new();
        let mut at = sequences.start;
        while at < sequences.end {
            let (end, epoch) = match self.locate(at) {
                Ok(Located::In(generation)) => self.epoch_at(&generation, at),
                Ok(Located::Gone(next)) => (next, None),
                Ok(Located::Ahead) | Err(_) => (sequences.end, None),
            };
            let end = end.clamp(at + 1, sequences.end);
            match epochs.last_mut() {
                Some((range, same)) if *same == epoch => range.end = end,
                _ => epochs.push((at..end, epoch)),
            }
            at = end;
        }
        epochs
    }

    fn epoch_at(&self, generation: &Generation, at: u64) -> (u64, Option<Uuid>) {
        let header = generation.slot_of(at).and_then(|slot| generation.header(slot));
        match header {
            Ok(header) if header.next_sequence() > at => (header.next_sequence(), Some(header.epoch)),
            // A frame is gone there: the one before it says what it was written with.
            Ok(header) => (at + 1, Some(header.epoch)),
            Err(_) => (self.end_of(at).unwrap_or(at + 1), None),
        }
    }

    /// The lane's directory.
    pub(in crate::event_log) fn path(&self) -> &Path {
        &self.path
    }

    pub(in crate::event_log) fn lane(&self) -> Lane {
        self.lane
    }

    /// The number of a new generation: above all others.
    pub(in crate::event_log) fn next_number(&self) -> u64 {
        self.highest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// First stored sequence; `None` when there is no generation. Does not wait for the disk.
    pub(in crate::event_log) fn first_sequence(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Acquire)).filter(|first| *first != NOTHING)
    }

    /// The sequence after the sealed generation that holds this one, where nothing in it is wanted, as its summary tells; without
    /// a look into it. One of which something is gone, or may be, is looked into.
    pub(in crate::event_log) fn end_of_unwanted(
        &self,
        sequence: u64,
        is_wanted: impl Fn(&Summary) -> bool,
    ) -> Option<u64> {
        let volumes = self.lock();
        let volume = volumes.values().find(|volume| volume.sequences().contains(&sequence))?;
        let is_told = volume.summary.marks.levels != 0;
        let is_whole = volume.sealed && is_told && !volume.is_suspect && volume.damage.is_none();
        (is_whole && !is_wanted(&volume.summary)).then_some(volume.summary.next_sequence)
    }

    /// Where to read a sequence.
    ///
    /// # Errors
    /// When the generation cannot be opened.
    pub(in crate::event_log) fn locate(&self, sequence: u64) -> Result<Located, LogError> {
        let mut volumes = self.lock();
        let holds = |summary: &Summary| summary.next_sequence > sequence && summary.events() > 0;
        let Some((&number, volume)) = volumes.iter_mut().find(|(_, volume)| holds(&volume.summary)) else {
            return Ok(Located::Ahead);
        };
        if volume.summary.first_sequence > sequence {
            return Ok(Located::Gone(volume.summary.first_sequence));
        }
        if let Some(open) = volume.open.upgrade() {
            return Ok(Located::In(open));
        }
        let open = Arc::new(Generation::open(&self.path, self.lane, number, &volume.sequences())?);
        volume.open = Arc::downgrade(&open);
        if volume.damage.look(&open, volume.sequences(), volume.epoch) {
            self.news.store(true, Ordering::Release);
        }
        Ok(Located::In(open))
    }

    /// Where the generation ends that holds a sequence, or held it.
    pub(in crate::event_log) fn end_of(&self, sequence: u64) -> Option<u64> {
        let next = |volume: &Volume| volume.summary.next_sequence;
        self.lock().values().map(next).find(|next| *next > sequence)
    }

    /// Has the generation of a sequence looked at again: something in it is not what it was.
    pub(in crate::event_log) fn distrust(&self, sequence: u64) {
        let mut volumes = self.lock();
        let found = volumes.values_mut().find(|volume| volume.sequences().contains(&sequence));
        if let Some(volume) = found.filter(|volume| volume.sealed) {
            volume.open = Weak::new();
        }
    }

    /// The sealed generations, ascending, each with what it holds.
    pub(in crate::event_log) fn list(&self) -> Vec<(u64, Summary)> {
        let volumes = self.lock();
        volumes.iter().filter(|(_, volume)| volume.sealed).map(|(n, volume)| (*n, volume.summary.clone())).collect()
    }

    /// What of a generation is gone, and is recorded or about to be.
    pub(in crate::event_log) fn missing(&self, number: u64) -> Vec<Range<u64>> {
        self.lock().get(&number).map_or_else(Vec::new, |volume| volume.damage.missing().to_vec())
    }

    /// What is gone, and recorded for whoever comes.
    pub(in crate::event_log) fn told_to_all(&self) -> Vec<Range<u64>> {
        joined(self.lock().values_mut().flat_map(|volume| volume.damage.told_to_all().clone()).collect())
    }

    /// Notes that this is.
    pub(in crate::event_log) fn set_told_to_all(&self, number: u64, gone: &[Range<u64>]) {
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.damage.told_to_all().extend_from_slice(gone);
        }
    }

    /// What has been found to be gone since this was asked last.
    pub(in crate::event_log) fn take_news(&self) -> Vec<News> {
        if !self.news.swap(false, Ordering::Acquire) {
            return Vec::new();
        }
        let mut volumes = self.lock();
        volumes.iter_mut().filter_map(|(number, volume)| volume.damage.take_news(*number, &volume.summary)).collect()
    }

    /// Notes that what is gone of a generation is recorded before this sequence of the records' lane.
    pub(in crate::event_log) fn set_recorded(&self, number: u64, recorded: u64) {
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.damage.set_recorded(recorded);
        }
    }

    /// Notes beside the frames what is gone, where the record of it is durable.
    pub(in crate::event_log) fn note_damage(&self, durable: u64, epoch: Uuid) {
        let mut due = Vec::new();
        for (number, volume) in self.lock().iter_mut() {
            if volume.sealed && volume.damage.is_due(durable) {
                due.push((*number, volume.summary.clone()));
            }
        }
        due.into_iter().for_each(|(number, summary)| self.write_manifest(number, &summary, epoch));
    }

    /// Notes the generation that is being written and what it holds so far.
    pub(in crate::event_log) fn set_active(&self, number: u64, generation: &Arc<Generation>, summary: &Summary) {
        self.lock().insert(number, Volume::new(summary.clone(), Some(generation)));
    }

    /// Updates what the active generation holds.
    pub(in crate::event_log) fn update_active(&self, number: u64, summary: &Summary) {
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.summary = summary.clone();
        }
    }

    /// Notes that a generation is sealed, and measures it.
    pub(in crate::event_log) fn seal(&self, number: u64) {
        let disk_bytes = files::disk_bytes(&generation::directory(&self.path, number));
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.sealed = true;
            volume.disk_bytes = disk_bytes;
        }
    }

    /// Notes beside the frames of a sealed generation what it holds. Where that fails the next start searches the frames.
    pub(in crate::event_log) fn write_manifest(&self, number: u64, summary: &Summary, epoch: Uuid) {
        let directory = generation::directory(&self.path, number);
        let noted = self.lock().get(&number).map(|volume| (volume.damage.noted(), volume.epoch));
        let (missing, noted_epoch) = noted.unwrap_or_default();
        let epoch = noted_epoch.unwrap_or(epoch);
        let manifest = Manifest { lane: self.lane, number, epoch, summary: summary.clone(), missing };
        if let Err(error) = manifest.write(&directory) {
            tracing::warn!(directory = %directory.display(), %error, "the manifest cannot be written");
        }
    }

    /// The sealed generations on the disk, oldest first.
    pub(in crate::event_log) fn sealed(&self) -> Vec<Sealed> {
        self.lock()
            .iter()
            .filter(|(_, volume)| volume.sealed && volume.memory.is_none())
            .map(|(&number, volume)| Sealed { number, summary: volume.summary.clone(), disk_bytes: volume.disk_bytes })
            .collect()
    }

    /// The same of those that lie in memory; what they take is what is stored in them.
    pub(in crate::event_log) fn sealed_in_memory(&self) -> Vec<Sealed> {
        self.lock()
            .iter()
            .filter(|(_, volume)| volume.sealed && volume.memory.is_some())
            .map(|(&number, Volume { summary, .. })| Sealed {
                number,
                disk_bytes: summary.stored_bytes,
                summary: summary.clone(),
            })
            .collect()
    }

    /// Every generation in memory.
    pub(in crate::event_log) fn in_memory(&self) -> Vec<(Summary, Arc<Generation>)> {
        let volumes = self.lock();
        volumes
            .values()
            .filter_map(|volume| Some((volume.summary.clone(), Arc::clone(volume.memory.as_ref()?))))
            .collect()
    }

    /// Events that are nowhere but in memory.
    pub(in crate::event_log) fn memory_events(&self) -> u64 {
        self.lock().values().filter(|volume| volume.memory.is_some()).map(|volume| volume.summary.events()).sum()
    }

    /// Lets go of everything in memory: it is on the disk now.
    pub(in crate::event_log) fn forget_memory(&self) {
        self.lock().retain(|_, volume| volume.memory.is_none());
    }

    /// Takes a generation out of the row and removes its directory; a damaged one goes to quarantine. Readers that have it
    /// open keep what they opened.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(in crate::event_log) fn remove(&self, number: u64) -> Result<(), LogError> {
        let Some(volume) = self.lock().remove(&number).filter(|volume| volume.memory.is_none()) else { return Ok(()) };
        let directory = generation::directory(&self.path, number);
        let removed = match (volume.damage.is_none(), self.path.parent()) {
            (false, Some(root)) => {
                quarantine::take_in(root, &directory, &quarantine::generation_name(self.lane, number)).map(|_| ())
            }
            _ => generation::remove(&self.path, number),
        };
        removed.map_err(|e| LogError::io("remove", &directory, e))
    }

    /// Counts over the whole row: generations, events, stored bytes, time of the oldest event.
    pub(in crate::event_log) fn totals(&self) -> (u64, u64, u64, i64) {
        let volumes = self.lock();
        let oldest =
            volumes.values().find(|volume| volume.summary.frames > 0).map_or(0, |volume| volume.summary.min_time);
        volumes.values().fold((0, 0, 0, oldest), |(generations, events, bytes, oldest), volume| {
            let there = volume.summary.events().saturating_sub(volume.damage.events());
            (generations + 1, events + there, bytes + volume.summary.stored_bytes, oldest)
        })
    }

    /// Time of the newest stored event, Unix milliseconds; 0 when there is none.
    pub(in crate::event_log) fn newest_time(&self) -> i64 {
        self.lock().values().rev().find(|volume| volume.summary.frames > 0).map_or(0, |volume| volume.summary.max_time)
    }

    /// What the row takes on the disk: sealed generations as measured, the others measured now.
    pub(in crate::event_log) fn disk_bytes(&self) -> u64 {
        let volumes = self.lock().clone();
        volumes
            .iter()
            .filter(|(_, volume)| volume.memory.is_none())
            .map(|(&number, volume)| match volume.sealed {
                true => volume.disk_bytes,
                false => files::disk_bytes(&generation::directory(&self.path, number)),
            })
            .sum()
    }

    /// As a look at a disk that hangs does.
    #[cfg(test)]
    pub(in crate::event_log) fn hold(&self) -> impl Drop + '_ {
        self.lock()
    }

    fn lock(&self) -> Volumes<'_> {
        Volumes { volumes: lock(&self.volumes), first: &self.first, is_changed: false }
    }
}
