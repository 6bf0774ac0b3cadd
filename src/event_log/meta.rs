//! The small store beside the lanes: format, epoch, cursors, and what each sealed generation holds.
//!
//! Written by the writer thread only. Values are tiny and updated in place, so this one is an ordinary sled store with
//! small segments; everything that must survive is flushed explicitly.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Lane, LogError, age::Noted, durable, numbering::Numbers, scratch::Scratch, store, store::Store, summary::Summary,
};

/// The layout of the log's directory.
const FORMAT: u64 = 1;

/// Segment size of this store, bytes: 200,000 cursor updates leave a third of a megabyte.
const SEGMENT_BYTES: usize = 64 * 1024;

/// The most cursors that a log keeps.
pub(super) const CURSORS_MAX: usize = 64;

/// The open store.
pub(super) struct Meta {
    /// Absent after it could not be opened anew.
    db: Option<Store>,
    path: PathBuf,
}

impl Meta {
    /// Opens the store below `root`, makes it when it is not there, and checks that flushes are durable.
    ///
    /// # Errors
    /// When the storage fails, is in use by another process, or was written by another format.
    pub(super) fn open(root: &Path) -> Result<Meta, LogError> {
        let path = root.join("meta");
        let db = Some(open_store(&path)?);
        let meta = Meta { db, path };
        meta.check()?;
        Ok(meta)
    }

    /// A copy of the store below `root`, for as long as the disk is full: what is written to it goes no further.
    /// [`Meta::reopen`] opens the store itself.
    ///
    /// # Errors
    /// As [`Meta::open`].
    pub(super) fn open_copy(root: &Path, scratch: &Scratch) -> Result<Meta, LogError> {
        let path = root.join("meta");
        let copy = scratch.copy(&path).map_err(|e| LogError::io("copy", &path, e))?;
        Ok(Meta { db: Some(open_store(&copy)?), path })
    }

    /// Opens the store anew: after an error sled refuses everything until then.
    ///
    /// # Errors
    /// As [`Meta::open`]; until it has worked once, everything is refused.
    pub(super) fn reopen(&mut self) -> Result<(), LogError> {
        // The lock goes with the handle.
        self.db = None;
        self.db = Some(open_store(&self.path)?);
        self.check()
    }

    fn check(&self) -> Result<(), LogError> {
        let meta = self;
        match meta.number(b"format")? {
            None => meta.put(b"format", &FORMAT.to_be_bytes())?,
            Some(FORMAT) => {}
            Some(found) => {
                return Err(LogError::Format { path: meta.path.display().to_string(), found, known: FORMAT });
            }
        }
        durable::verify(meta.db()?).map_err(|e| LogError::io("flush", &meta.path, e))?;
        durable::sync_tree(&meta.path).map_err(|e| LogError::io("sync", &meta.path, e))
    }

    /// Epoch and renumbered stretches; `None` in a new log.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn numbers(&self) -> Result<Option<Numbers>, LogError> {
        Ok(self.get(b"epoch")?.and_then(|bytes| Numbers::from_bytes(&bytes)))
    }

    /// Durable when it returns.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn set_numbers(&self, numbers: &Numbers) -> Result<(), LogError> {
        self.put(b"epoch", &numbers.to_bytes())?;
        self.flush()
    }

    /// Whose log it is; `None` when that was never said.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn owner(&self) -> Result<Option<String>, LogError> {
        Ok(self.get(b"owner")?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_owner(&self, owner: &str) -> Result<(), LogError> {
        self.put(b"owner", owner.as_bytes())
    }

    /// Events of a lane that were lost so far, by the log's own count.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn lost(&self, lane: Lane) -> Result<u64, LogError> {
        Ok(self.number(&[b"lost/", lane.name().as_bytes()].concat())?.unwrap_or(0))
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_lost(&self, lane: Lane, events: u64) -> Result<(), LogError> {
        self.put(&[b"lost/", lane.name().as_bytes()].concat(), &events.to_be_bytes())
    }

    /// The log's age as noted last.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn age(&self) -> Result<Option<Noted>, LogError> {
        Ok(self.get(b"age")?.and_then(|bytes| Noted::from_bytes(&bytes)))
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_age(&self, noted: Noted) -> Result<(), LogError> {
        self.put(b"age", &noted.to_bytes())
    }

    /// Sequence that a lane's newest generation begins with: a floor for the next sequence, also when nothing of the
    /// lane is stored any more.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn floor(&self, lane: Lane) -> Result<u64, LogError> {
        Ok(self.number(&[b"floor/", lane.name().as_bytes()].concat())?.unwrap_or(1))
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_floor(&self, lane: Lane, sequence: u64) -> Result<(), LogError> {
        self.put(&[b"floor/", lane.name().as_bytes()].concat(), &sequence.to_be_bytes())
    }

    /// Every cursor: name, lane, next sequence.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn cursors(&self) -> Result<Vec<(String, Lane, u64)>, LogError> {
        let mut cursors = Vec::new();
        for pair in self.db()?.scan_prefix(b"cursor/") {
            let (key, value) = pair.map_err(|e| self.failed("read", e))?;
            let Ok(key) = std::str::from_utf8(&key) else { continue };
            let mut parts = key.splitn(3, '/').skip(1);
            if let (Some(lane), Some(name), Ok(bytes)) =
                (parts.next().and_then(Lane::from_name), parts.next(), <[u8; 8]>::try_from(&value[..]))
            {
                cursors.push((name.to_owned(), lane, u64::from_be_bytes(bytes)));
            }
        }
        Ok(cursors)
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_cursor(&self, name: &str, lane: Lane, next: u64) -> Result<(), LogError> {
        self.put(format!("cursor/{}/{name}", lane.name()).as_bytes(), &next.to_be_bytes())
    }

    /// What a sealed generation holds, as noted when it was sealed.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn summary(&self, lane: Lane, number: u64) -> Result<Option<Summary>, LogError> {
        Ok(self.get(&summary_key(lane, number))?.and_then(|bytes| Summary::from_bytes(&bytes)))
    }

    /// Numbers of the sealed generations that were noted, ascending; some may be gone.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn summary_numbers(&self, lane: Lane) -> Result<Vec<u64>, LogError> {
        let keys = self.db()?.scan_prefix(summary_prefix(lane)).keys();
        let number = |key: sled::IVec| Some(u64::from_be_bytes(*key.last_chunk()?));
        keys.filter_map(|key| key.map(number).transpose()).collect::<Result<_, _>>().map_err(|e| self.failed("read", e))
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn set_summary(&self, lane: Lane, number: u64, summary: &Summary) -> Result<(), LogError> {
        self.put(&summary_key(lane, number), &summary.to_bytes())
    }

    /// # Errors
    /// When the storage fails.
    pub(super) fn remove_summary(&self, lane: Lane, number: u64) -> Result<(), LogError> {
        self.db()?.remove(summary_key(lane, number)).map(|_| ()).map_err(|e| self.failed("write", e))
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// When the storage fails.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.db()?.flush().map(|_| ()).map_err(|e| self.failed("flush", e))
    }

    /// What it takes on the disk.
    pub(super) fn disk_bytes(&self) -> u64 {
        super::generation::disk_bytes(&self.path)
    }

    fn db(&self) -> Result<&sled::Db, LogError> {
        self.db.as_deref().ok_or_else(|| LogError::io("use", &self.path, io::Error::from(io::ErrorKind::NotConnected)))
    }

    fn number(&self, key: &[u8]) -> Result<Option<u64>, LogError> {
        Ok(self.get(key)?.and_then(|bytes| Some(u64::from_be_bytes(bytes[..].try_into().ok()?))))
    }

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, LogError> {
        self.db()?.get(key).map_err(|e| self.failed("read", e))
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<(), LogError> {
        self.db()?.insert(key, value).map(|_| ()).map_err(|e| self.failed("write", e))
    }

    fn failed(&self, action: &str, source: sled::Error) -> LogError {
        LogError::storage(action, &self.path, source)
    }
}

fn open_store(path: &Path) -> Result<Store, LogError> {
    let config =
        sled::Config::new().path(path).segment_size(SEGMENT_BYTES).cache_capacity(1024 * 1024).flush_every_ms(None);
    store::open(&config).map_err(|e| LogError::storage("open", path, e))
}

/// Opens a store as [`Meta`] does and reads everything in it, to see whether that works.
///
/// # Errors
/// As sled says. It may also panic.
pub(super) fn read_through(store: &Path) -> sled::Result<()> {
    let config =
        sled::Config::new().path(store).segment_size(SEGMENT_BYTES).cache_capacity(1024 * 1024).flush_every_ms(None);
    config.open()?.iter().try_for_each(|pair| pair.map(|_| ()))
}

fn summary_prefix(lane: Lane) -> Vec<u8> {
    [b"generation/", lane.name().as_bytes(), b"/"].concat()
}

fn summary_key(lane: Lane, number: u64) -> Vec<u8> {
    [&summary_prefix(lane)[..], &number.to_be_bytes()].concat()
}

/// Makes the log's directory, for its owner only, and its entry durable.
///
/// # Errors
/// As the file system says.
pub(super) fn make_root(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if !root.is_dir() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        if let Some(parent) = root.parent() {
            durable::sync_directory(parent)?;
        }
    }
    Ok(())
}
