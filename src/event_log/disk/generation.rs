//! A generation: one small sled directory that is written once, slot by slot, sealed, read, and removed whole.
//!
//! The writer is the only one who puts; readers share the open handle. Nothing is ever updated or deleted inside. While
//! the disk cannot be written a generation lies in memory instead: the same slots, and a flush that promises nothing.
//! What was written before, by this process or another, is read from the file alone: sled never opens a directory
//! that is there, so what it does to damaged ones cannot happen (see `salvage`).
//!
//! The layout makes sled write each frame once instead of four times. sled 0.34.7 rewrites a whole leaf when its tenth
//! change is linked to it, and splits a leaf of more than sixteen keys. So keys are slot numbers, and empty
//! placeholders are laid ahead of the writer: inserted in ascending order they split into leaves of nine keys, and each
//! key is then set exactly once, well behind the last placeholder. A leaf thus never takes more than nine changes
//! after its last split. Ten frames fit a quarter of a segment, so that no page becomes a file of its own, which sled
//! would not sync. Holds for exactly this version of sled, which is why it is pinned; a test measures it.

use std::{
    ffi::OsStr,
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use sled::IVec;

use crate::{
    event_log::{
        disk::{
            durable,
            files::{remove_if_there, remove_store, sync_directory, sync_tree},
            frame::{FRAME_BYTES_MAX, Frame, Header, Stored},
            salvage::Salvage,
            slots,
            store::{self, Store},
        },
        error::LogError,
        lane::Lane,
    },
    lock,
    order::Sorted as _,
};

/// Segment size of sled, bytes. See the file's head for the relation to a frame.
const SEGMENT_BYTES: usize = 1024 * 1024;
const _: () = assert!(10 * FRAME_BYTES_MAX * 4 <= SEGMENT_BYTES);

/// Placeholders laid at a time.
const PLACEHOLDERS: u32 = 96;

/// How far the writer stays behind the last placeholder: two leaves.
const PLACEHOLDER_DISTANCE: u32 = 18;

/// What is stored in a generation before it is sealed, bytes, unless told otherwise: just under a whole number of segments.
pub const GENERATION_BYTES: u64 = 8080 * 1024;

/// The most slots of a generation, for logs of many tiny frames: bounds what a search touches.
pub(in crate::event_log) const SLOTS_MAX: u32 = 32_768;

/// Where the slots are.
enum Slots {
    /// Being written.
    Disk {
        /// Goes first: the store guards what its last handle does.
        tree: sled::Tree,
        db: Store,
    },
    Memory(RwLock<Vec<IVec>>),
    /// Written before: only its file is read.
    Found(Salvage),
}

/// More generations than there will ever be.
const NUMBER_MAX: u64 = 1 << 48;

/// An open generation.
pub(in crate::event_log) struct Generation {
    path: PathBuf,
    slots: Slots,
    /// Slots that hold a frame; the first empty one is the next to be written.
    filled: AtomicU32,
    /// Slots that exist, placeholders included.
    laid: AtomicU32,
    /// The sequence from which on nothing here counts.
    cut: AtomicU64,
}

/// Name of the tree that holds the slots.
const TREE: &[u8] = b"frames";

impl Generation {
    /// Makes generation `number` of a lane, durably: under another name first, so that a directory named `gen-…` is
    /// always complete.
    ///
    /// # Errors
    /// When the storage fails.
    pub(in crate::event_log) fn create(lane: &Path, number: u64) -> Result<Generation, LogError> {
        let path = directory(lane, number);
        let failed = |e: io::Error| LogError::io("create", &path, e);
        let temporary = lane.join(format!("tmp-{number:010}"));
        remove_if_there(&temporary).map_err(failed)?;
        let mut generation = Generation::open_at(&temporary)?;
        generation.lay(PLACEHOLDERS)?;
        let syncs = durable::syncs();
        generation.flush()?;
        if durable::syncs() == syncs {
            let why = "flushes do not reach the disk: sync_file_range is not overridden in this program";
            return Err(failed(io::Error::other(why)));
        }
        sync_tree(&temporary).map_err(failed)?;
        fs::rename(&temporary, &path).map_err(failed)?;
        if let Err(error) = sync_directory(lane) {
            // Nobody will write to it. Where it stays, as without a disk, it is passed over as empty.
            let _ = remove(lane, number);
            return Err(failed(error));
        }
        generation.path = path;
        Ok(generation)
    }

    /// A generation in memory. Its path is only a name for messages.
    pub(in crate::event_log) fn in_memory(lane: &Path) -> Generation {
        Generation {
            path: lane.join("memory"),
            slots: Slots::Memory(RwLock::default()),
            filled: AtomicU32::new(0),
            laid: AtomicU32::new(u32::MAX),
            cut: AtomicU64::new(u64::MAX),
        }
    }

    /// Whether it lies in memory.
    pub(in crate::event_log) fn is_in_memory(&self) -> bool {
        matches!(self.slots, Slots::Memory(_))
    }

    /// Opens a generation that was written before, to be read: the frames in it that hold sequences of `range`. Those that
    /// are not intact are as if they had never been there.
    ///
    /// # Errors
    /// When the file cannot be opened for a reason that is not in the generation, or the disk gives nothing at all.
    pub(in crate::event_log) fn open(
        row: &Path,
        lane: Lane,
        number: u64,
        range: &Range<u64>,
    ) -> Result<Generation, LogError> {
        let path = directory(row, number);
        let failed = |e: io::Error| LogError::io("open", &path, e);
        let mut salvage = Salvage::search_or_nothing(&path, lane).map_err(failed)?;
        if salvage.is_refused() {
            // A disk that fails refuses what is intact too, and gives it when it is back. Only where it gives other things
            // and not this is this damaged.
            slots::probe(row.parent().unwrap_or(row)).map_err(failed)?;
            salvage = Salvage::search_or_nothing(&path, lane).map_err(failed)?;
        }
        salvage.keep(range);
        let filled = AtomicU32::new(salvage.frames());
        Ok(Generation {
            path,
            slots: Slots::Found(salvage),
            filled,
            laid: AtomicU32::new(0),
            cut: AtomicU64::new(u64::MAX),
        })
    }

    /// What was found in it, when it was written before.
    pub(in crate::event_log) fn found(&self) -> Option<&Salvage> {
        match &self.slots {
            Slots::Found(salvage) => Some(salvage),
            Slots::Disk { .. } | Slots::Memory(_) => None,
        }
    }

    fn open_at(path: &Path) -> Result<Generation, LogError> {
        let failed = |e: sled::Error| LogError::storage("open", path, e);
        let config = sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(64 * 1024)
            // A background flusher would wake the disk twice a second for nothing.
            .flush_every_ms(None);
        let db = store::make(&config).map_err(failed)?;
        let tree = db.open_tree(TREE).map_err(failed)?;
        let slots = Slots::Disk { tree, db };
        Ok(Generation {
            path: path.to_owned(),
            slots,
            filled: AtomicU32::new(0),
            laid: AtomicU32::new(0),
            cut: AtomicU64::new(u64::MAX),
        })
    }

    /// From `sequence` on nothing here counts: it was never known to be durable, and stands in another generation.
    pub(in crate::event_log) fn cut(&self, sequence: u64) {
        self.cut.store(sequence, Ordering::Release);
    }

    /// Whether what stands here under a sequence counts.
    pub(in crate::event_log) fn holds(&self, sequence: u64) -> bool {
        sequence < self.cut.load(Ordering::Acquire)
    }

    /// Number of frames.
    pub(in crate::event_log) fn frames(&self) -> u32 {
        self.filled.load(Ordering::Acquire)
    }

    /// Puts a frame into the next slot. Durable after [`Generation::flush`]. Only the writer calls it.
    ///
    /// # Errors
    /// When the storage fails.
    pub(in crate::event_log) fn put(&self, frame: IVec) -> Result<(), LogError> {
        let slot = self.filled.load(Ordering::Relaxed);
        match &self.slots {
            Slots::Memory(frames) => lock::write(frames).push(frame),
            Slots::Disk { tree, .. } => {
                if slot + PLACEHOLDER_DISTANCE > self.laid.load(Ordering::Relaxed) {
                    self.lay(PLACEHOLDERS)?;
                }
                tree.insert(slot.to_be_bytes(), frame).map_err(|e| self.failed("write", e))?;
            }
            Slots::Found(_) => {
                let refused = io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "it was written before");
                return Err(LogError::io("write", &self.path, refused));
            }
        }
        self.filled.store(slot + 1, Ordering::Release);
        Ok(())
    }

    /// Makes everything put so far durable.
    ///
    /// # Errors
    /// When the storage fails; what was put since the last flush may or may not be there.
    pub(in crate::event_log) fn flush(&self) -> Result<(), LogError> {
        match &self.slots {
            Slots::Memory(_) | Slots::Found(_) => Ok(()),
            Slots::Disk { db, .. } => db.flush().map(|_| ()).map_err(|e| self.failed("flush", e)),
        }
    }

    /// The header of the frame in a slot.
    ///
    /// # Errors
    /// When the storage fails or the slot holds no intact header.
    pub(in crate::event_log) fn header(&self, slot: u32) -> Result<Header, LogError> {
        if let Slots::Found(salvage) = &self.slots {
            return salvage.header(slot).map_err(|e| LogError::io("read", &self.path, e));
        }
        Header::parse(&self.slot(slot)?).map_err(|e| self.damaged(slot, e))
    }

    /// The frame in a slot.
    ///
    /// # Errors
    /// When the storage fails or the slot holds no intact frame.
    pub(in crate::event_log) fn frame(&self, slot: u32) -> Result<Frame, LogError> {
        Frame::decode(&self.slot(slot)?).map_err(|e| self.damaged(slot, e))
    }

    /// The frame in a slot as it is stored.
    ///
    /// # Errors
    /// As [`Generation::frame`].
    pub(in crate::event_log) fn stored(&self, slot: u32) -> Result<Stored, LogError> {
        Stored::check(Bytes::from_owner(self.slot(slot)?)).map_err(|e| self.damaged(slot, e))
    }

    /// The slot whose frame holds `sequence`, or the last one before it.
    ///
    /// # Errors
    /// As [`Generation::header`].
    pub(in crate::event_log) fn slot_of(&self, sequence: u64) -> Result<u32, LogError> {
        let (mut low, mut high) = (0, self.frames());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.first_sequence(middle)? <= sequence { low = middle } else { high = middle }
        }
        Ok(low)
    }

    fn first_sequence(&self, slot: u32) -> Result<u64, LogError> {
        match self.found().and_then(|salvage| salvage.sequences(slot)) {
            Some(sequences) => Ok(sequences.start),
            None => Ok(self.header(slot)?.first_sequence),
        }
    }

    /// The bytes in a slot; empty when there are none.
    ///
    /// # Errors
    /// When the storage fails.
    pub(in crate::event_log) fn slot(&self, slot: u32) -> Result<IVec, LogError> {
        let found = match &self.slots {
            Slots::Memory(frames) => lock::read(frames).get(slot as usize).cloned(),
            Slots::Disk { tree, .. } => tree.get(slot.to_be_bytes()).map_err(|e| self.failed("read", e))?,
            Slots::Found(salvage) => Some(salvage.frame(slot).map_err(|e| LogError::io("read", &self.path, e))?.into()),
        };
        Ok(found.unwrap_or_default())
    }

    fn lay(&self, count: u32) -> Result<(), LogError> {
        let Slots::Disk { tree, .. } = &self.slots else { return Ok(()) };
        let laid = self.laid.load(Ordering::Relaxed);
        for slot in laid..laid + count {
            tree.insert(slot.to_be_bytes(), &[][..]).map_err(|e| self.failed("write", e))?;
        }
        self.laid.store(laid + count, Ordering::Relaxed);
        Ok(())
    }

    fn failed(&self, action: &str, source: sled::Error) -> LogError {
        LogError::storage(action, &self.path, source)
    }

    /// What is wrong with the frame in a slot, as an error.
    pub(in crate::event_log) fn damaged(&self, slot: u32, source: super::frame::FrameError) -> LogError {
        LogError::damaged(format!("read frame {slot} of {}", self.path.display()), source)
    }
}

/// Where generation `number` of a lane lies.
pub(in crate::event_log) fn directory(lane: &Path, number: u64) -> PathBuf {
    lane.join(format!("gen-{number:010}"))
}

/// The numbers of a lane's generations, ascending.
///
/// # Errors
/// When the directory cannot be read.
pub(in crate::event_log) fn list(lane: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(lane)? {
        let entry = entry?;
        if let Some(number) = number_of(&entry.file_name(), "gen-").filter(|_| entry.path().is_dir()) {
            numbers.push(number);
        }
    }
    numbers.order_by(Ord::cmp);
    Ok(numbers)
}

/// The highest number that anything in a lane's directory bears, whatever it is; 0 when there is none.
pub(in crate::event_log) fn highest(lane: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(lane) else { return 0 };
    entries.flatten().filter_map(|entry| number_of(&entry.file_name(), "gen-")).max().unwrap_or(0)
}

/// Clears away what a process that died left of ours, half made or half removed. What we do not know stays.
///
/// # Errors
/// When the directory cannot be read.
pub(in crate::event_log) fn clear_leftovers(lane: &Path) -> io::Result<()> {
    for entry in fs::read_dir(lane)? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if is_leftover(&name)
            && let Err(error) = remove_store(&entry)
        {
            tracing::warn!(path = %entry.display(), %error, "a leftover of the event log stays");
        }
    }
    Ok(())
}

/// Whether a directory of this name in a lane is one that was being made or removed.
pub(in crate::event_log) fn is_leftover(name: &OsStr) -> bool {
    ["tmp-", "del-"].iter().any(|prefix| number_of(name, prefix).is_some())
}

/// The number in a name that we have given. What is called otherwise, if only by a zero, is not ours.
pub(in crate::event_log) fn number_of(name: &OsStr, prefix: &str) -> Option<u64> {
    let name = name.to_str()?;
    let number = name.strip_prefix(prefix)?.parse().ok()?;
    (number < NUMBER_MAX && name == format!("{prefix}{number:010}")).then_some(number)
}

/// Removes a generation whole: renamed first, so that half a generation is never mistaken for one.
///
/// # Errors
/// When the file system refuses.
pub(in crate::event_log) fn remove(lane: &Path, number: u64) -> io::Result<()> {
    let condemned = lane.join(format!("del-{number:010}"));
    remove_if_there(&condemned)?;
    fs::rename(directory(lane, number), &condemned)?;
    sync_directory(lane)?;
    remove_store(&condemned).map(|_| ())
}
