//! A lane's row of generations, oldest first: which there are, what they hold, which of them are open.
//!
//! The writer adds and removes, readers look up. A generation is open only while the writer writes it or somebody reads
//! it; readers of the same one share the handle.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::{
    Lane, LogError, generation, generation::Generation, manifest::Manifest, meta::Meta, repair, summary::Summary,
};

/// One generation of the row.
#[derive(Clone)]
struct Volume {
    summary: Summary,
    /// Measured when it was sealed; 0 for the one being written.
    disk_bytes: u64,
    sealed: bool,
    /// Recorded as lost, and to be removed as soon as that record is durable.
    condemned: bool,
    open: Weak<Generation>,
    /// The generation itself, when it lies in memory.
    memory: Option<Arc<Generation>>,
}

/// A sealed generation, for deciding what may go.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) number: u64,
    pub(super) summary: Summary,
    pub(super) disk_bytes: u64,
}

/// The row.
pub(super) struct Row {
    lane: Lane,
    path: PathBuf,
    volumes: Mutex<BTreeMap<u64, Volume>>,
    /// The highest number that was ever given to a generation.
    highest: AtomicU64,
}

/// Where a sequence is to be found.
pub(super) enum Located {
    /// In this generation.
    In(Arc<Generation>),
    /// Not any more; the first that is there is this one.
    Gone(u64),
    /// Not yet.
    Ahead,
}

impl Row {
    /// The row of a lane below the log's root; its directory is made when it is not there.
    ///
    /// # Errors
    /// When the directory cannot be read or made, or a generation without a summary cannot be opened.
    pub(super) fn load(root: &Path, lane: Lane, meta: &Meta) -> Result<Row, LogError> {
        let path = root.join(lane.name());
        super::meta::make_root(&path).map_err(|e| LogError::io("create", &path, e))?;
        generation::clear_leftovers(&path).map_err(|e| LogError::io("list", &path, e))?;
        repair::adopt(root, lane).map_err(|e| LogError::io("repair", &path, e))?;
        let numbers = generation::list(&path).map_err(|e| LogError::io("list", &path, e))?;
        let newest = numbers.last().copied();
        let mut volumes = BTreeMap::new();
        for number in numbers {
            // The newest one is opened by the writer, which then tells what it holds.
            let noted = || Some(Manifest::read(&generation::directory(&path, number), lane, number)?.summary);
            let summary = match meta.summary(lane, number)?.or_else(noted) {
                Some(summary) => summary,
                None if Some(number) == newest => continue,
                None => summarise(&Generation::open(&path, number)?, 1)?,
            };
            let disk_bytes = generation::disk_bytes(&generation::directory(&path, number));
            volumes.insert(
                number,
                Volume { summary, disk_bytes, sealed: true, condemned: false, open: Weak::new(), memory: None },
            );
        }
        // That a generation is gone may have been forgotten in a crash. Its number is not given again: what `meta` says of
        // it would be taken for what the new one holds.
        let noted = meta.summary_numbers(lane)?;
        let highest = newest.max(noted.last().copied()).unwrap_or(0);
        let first = volumes.keys().next().copied().unwrap_or(highest);
        noted.into_iter().filter(|number| *number < first).try_for_each(|number| meta.remove_summary(lane, number))?;
        let highest = AtomicU64::new(highest);
        Ok(Row { lane, path, volumes: Mutex::new(volumes), highest })
    }

    /// The lane's directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The lane.
    pub(super) fn lane(&self) -> Lane {
        self.lane
    }

    /// The number of a new generation: above all others.
    pub(super) fn next_number(&self) -> u64 {
        self.highest.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Number of the newest generation on the disk, sealed or not.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(super) fn newest(&self) -> Result<Option<u64>, LogError> {
        Ok(generation::list(&self.path).map_err(|e| LogError::io("list", &self.path, e))?.last().copied())
    }

    /// Whether a generation is sealed.
    pub(super) fn is_sealed(&self, number: u64) -> bool {
        self.lock().get(&number).is_some_and(|volume| volume.sealed)
    }

    /// First stored sequence; `None` when there is no generation.
    pub(super) fn first_sequence(&self) -> Option<u64> {
        self.lock().values().next().map(|volume| volume.summary.first_sequence)
    }

    /// Where to read a sequence.
    ///
    /// # Errors
    /// When the generation cannot be opened.
    pub(super) fn locate(&self, sequence: u64) -> Result<Located, LogError> {
        let mut volumes = self.lock();
        let Some((&number, volume)) = volumes.iter_mut().find(|(_, volume)| volume.summary.next_sequence > sequence)
        else {
            return Ok(Located::Ahead);
        };
        if volume.summary.first_sequence > sequence {
            return Ok(Located::Gone(volume.summary.first_sequence));
        }
        if let Some(open) = volume.open.upgrade() {
            return Ok(Located::In(open));
        }
        let open = Arc::new(Generation::open(&self.path, number)?);
        volume.open = Arc::downgrade(&open);
        Ok(Located::In(open))
    }

    /// Notes the generation that is being written and what it holds so far.
    pub(super) fn set_active(&self, number: u64, generation: &Arc<Generation>, summary: &Summary) {
        self.lock().insert(
            number,
            Volume {
                summary: summary.clone(),
                disk_bytes: 0,
                sealed: false,
                condemned: false,
                open: Arc::downgrade(generation),
                memory: generation.is_in_memory().then(|| Arc::clone(generation)),
            },
        );
    }

    /// Updates what the active generation holds.
    pub(super) fn update_active(&self, number: u64, summary: &Summary) {
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.summary = summary.clone();
        }
    }

    /// Notes that a generation is sealed, and measures it.
    pub(super) fn seal(&self, number: u64) {
        let disk_bytes = generation::disk_bytes(&generation::directory(&self.path, number));
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.sealed = true;
            volume.disk_bytes = disk_bytes;
        }
    }

    /// Notes beside the frames of a sealed generation what it holds. When that fails `meta` still knows.
    pub(super) fn write_manifest(&self, number: u64, summary: &Summary, epoch: Uuid) {
        let directory = generation::directory(&self.path, number);
        if let Err(error) = Manifest::new(self.lane, number, epoch, summary.clone()).write(&directory) {
            tracing::warn!(directory = %directory.display(), %error, "the manifest cannot be written");
        }
    }

    /// Marks a sealed generation as one that will be removed.
    pub(super) fn condemn(&self, number: u64) {
        if let Some(volume) = self.lock().get_mut(&number) {
            volume.condemned = true;
        }
    }

    /// What is about to be removed takes on the disk.
    pub(super) fn condemned_bytes(&self) -> u64 {
        self.lock().values().filter(|volume| volume.condemned).map(|volume| volume.disk_bytes).sum()
    }

    /// The sealed generations that stay for now, oldest first.
    pub(super) fn sealed(&self) -> Vec<Sealed> {
        self.lock()
            .iter()
            .filter(|(_, volume)| volume.sealed && !volume.condemned && volume.memory.is_none())
            .map(|(&number, volume)| Sealed { number, summary: volume.summary.clone(), disk_bytes: volume.disk_bytes })
            .collect()
    }

    /// The same of those that lie in memory; what they take is what is stored in them.
    pub(super) fn sealed_in_memory(&self) -> Vec<Sealed> {
        self.lock()
            .iter()
            .filter(|(_, volume)| volume.sealed && !volume.condemned && volume.memory.is_some())
            .map(|(&number, Volume { summary, .. })| Sealed {
                number,
                disk_bytes: summary.stored_bytes,
                summary: summary.clone(),
            })
            .collect()
    }

    /// Every generation in memory, less those that are recorded as lost.
    pub(super) fn in_memory(&self) -> Vec<(Summary, Arc<Generation>)> {
        let volumes = self.lock();
        let kept = volumes.values().filter(|volume| !volume.condemned);
        kept.filter_map(|volume| Some((volume.summary.clone(), Arc::clone(volume.memory.as_ref()?)))).collect()
    }

    /// Whether a generation lies in memory; `None` when there is none of this number.
    pub(super) fn is_in_memory(&self, number: u64) -> Option<bool> {
        self.lock().get(&number).map(|volume| volume.memory.is_some())
    }

    /// Events that are nowhere but in memory.
    pub(super) fn memory_events(&self) -> u64 {
        self.lock().values().filter(|volume| volume.memory.is_some()).map(|volume| volume.summary.events()).sum()
    }

    /// Lets go of everything in memory: it is on the disk now.
    pub(super) fn forget_memory(&self) {
        self.lock().retain(|_, volume| volume.memory.is_none());
    }

    /// Takes a generation out of the row and removes its directory. Readers that have it open keep what they opened.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(super) fn remove(&self, number: u64) -> Result<(), LogError> {
        let removed = self.lock().remove(&number);
        if removed.is_none_or(|volume| volume.memory.is_some()) {
            return Ok(());
        }
        generation::remove(&self.path, number)
            .map_err(|e| LogError::io("remove", &generation::directory(&self.path, number), e))
    }

    /// Counts over the whole row: generations, events, stored bytes, time of the oldest event.
    pub(super) fn totals(&self) -> (u64, u64, u64, i64) {
        let volumes = self.lock();
        let oldest =
            volumes.values().find(|volume| volume.summary.frames > 0).map_or(0, |volume| volume.summary.min_time);
        volumes.values().fold((0, 0, 0, oldest), |(generations, events, bytes, oldest), volume| {
            (generations + 1, events + volume.summary.events(), bytes + volume.summary.stored_bytes, oldest)
        })
    }

    /// Time of the newest stored event, Unix milliseconds; 0 when there is none.
    pub(super) fn newest_time(&self) -> i64 {
        self.lock().values().rev().find(|volume| volume.summary.frames > 0).map_or(0, |volume| volume.summary.max_time)
    }

    /// What the row takes on the disk: sealed generations as measured, the others measured now.
    pub(super) fn disk_bytes(&self) -> u64 {
        let volumes = self.lock().clone();
        volumes
            .iter()
            .filter(|(_, volume)| volume.memory.is_none())
            .map(|(&number, volume)| match volume.sealed {
                true => volume.disk_bytes,
                false => generation::disk_bytes(&generation::directory(&self.path, number)),
            })
            .sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Volume>> {
        self.volumes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a generation holds, from the headers of its frames.
///
/// # Errors
/// When a frame cannot be read.
pub(super) fn summarise(generation: &Generation, first_sequence: u64) -> Result<Summary, LogError> {
    let mut summary = Summary::empty(first_sequence);
    for slot in 0..generation.frames() {
        let header = generation.header(slot)?;
        summary.add(&header, header.frame_bytes());
    }
    Ok(summary)
}
