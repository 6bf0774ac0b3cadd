//! The ledger's file: small bodies of bytes, each in two slots of which one is always whole.
//!
//! The log's ledger gives bodies, and gets back what the file held when it was opened. Body 0 is the ledger's header,
//! each further one a consumer's. A body is written into the slot that is not known to be durable, so a torn write, a
//! failed sync or a loss of power leaves the one before. The blocks are laid when the file is made: changing a body needs
//! no room on the disk, except where the file system never overwrites.
//!
//! Layout of a slot, big endian: magic 8 | counter 8 | length of the body 2 | body | zeros | CRC32C 4. The slot with the
//! higher counter holds.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use crate::event_log::{
    disk::{
        files::{LEDGER, sync_directory},
        quarantine,
    },
    error::{is_damage, is_refusal},
};

const MAGIC: [u8; 8] = *b"RODENTL\x01";

/// Bytes of a slot: what a disk writes at a time.
const SLOT_BYTES: usize = 4096;

/// Bytes before the body.
const HEAD_BYTES: usize = 8 + 8 + 2;

/// The most that a body may hold, bytes.
pub(in crate::event_log) const BODY_BYTES_MAX: usize = SLOT_BYTES - HEAD_BYTES - 4;

/// The most bodies of a file: the header, the agent's own consumers, and 64 of programs.
pub(in crate::event_log) const BODIES_MAX: usize = 1 + 36 + 64;

/// For how many bodies the file is laid at a time: the header and eight consumers take 72 KiB.
const LAID_AT_A_TIME: usize = 9;

/// How many slots are asked for to see whether the disk gives anything: a disk may take its time to refuse each. All of them
/// are laid with the file.
const PROBED: usize = 4;

/// A body, and where it is.
#[derive(Debug, Default)]
struct Pair {
    /// Which of the two slots is durable.
    durable: usize,
    body: Vec<u8>,
    counter: u64,
    /// Put into the other slot and not known to be durable.
    put: Option<Vec<u8>>,
}

/// The file.
#[derive(Debug)]
pub(in crate::event_log) struct Slots {
    root: PathBuf,
    /// Absent until it has to be opened, and after an error: the kernel may then have forgotten what was written.
    file: Option<File>,
    pairs: Vec<Pair>,
    unsynced: bool,
}

/// What the file held.
#[derive(Debug, Default)]
pub(in crate::event_log) struct Found {
    /// Whether there is a file at all.
    pub(in crate::event_log) exists: bool,
    /// By number; empty where nothing was ever put.
    pub(in crate::event_log) bodies: Vec<Vec<u8>>,
    /// Numbers of bodies of which neither slot is intact.
    pub(in crate::event_log) damaged: Vec<usize>,
}

impl Found {
    /// Of a file: its slots, and the bodies that hold.
    fn of(read: &[Read], pairs: &[Pair]) -> Found {
        let damaged = read.iter().enumerate().filter(|(_, read)| read.is_damaged());
        Found {
            exists: true,
            bodies: pairs.iter().map(|pair| pair.body.clone()).collect(),
            damaged: damaged.map(|(number, _)| number).collect(),
        }
    }
}

impl Slots {
    /// Reads what is there below the log's root. Nothing is changed, but that what is no file is moved out of the way.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(in crate::event_log) fn find(root: &Path) -> io::Result<(Slots, Found)> {
        let path = root.join(LEDGER);
        quarantine::make_way_for_file(root, &path)?;
        let mut slots = Slots { root: root.to_owned(), file: None, pairs: Vec::new(), unsynced: false };
        let found = match look(&path) {
            Ok(read) => {
                slots.pairs = read.iter().map(Pair::of).collect();
                Found::of(&read, &slots.pairs)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::default(),
            // A disk that does not give it up: what is read elsewhere goes on.
            Err(error) if is_damage(&error) => Found { exists: true, ..Found::default() },
            Err(error) => return Err(error),
        };
        Ok((slots, found))
    }

    /// Writes a body, unless it is the one that is there. Durable after [`Slots::sync`].
    ///
    /// # Errors
    /// As the file system says; the durable one is untouched.
    pub(in crate::event_log) fn put(&mut self, number: usize, body: &[u8]) -> io::Result<()> {
        if body.len() > BODY_BYTES_MAX || number >= BODIES_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        if self.pairs.get(number).is_some_and(|pair| pair.put.as_ref().unwrap_or(&pair.body) == body) {
            return Ok(());
        }
        self.lay(number)?;
        let (Some(file), Some(pair)) = (&self.file, self.pairs.get_mut(number)) else {
            return Err(io::Error::from(io::ErrorKind::NotConnected));
        };
        let counter = pair.counter + 1;
        let written = file.write_all_at(&slot(counter, body), offset(number, 1 - pair.durable));
        if written.is_err() {
            self.forget();
            return written;
        }
        (pair.counter, pair.put, self.unsynced) = (counter, Some(body.to_owned()), true);
        Ok(())
    }

    /// Makes durable what was put.
    ///
    /// # Errors
    /// As the disk says. What was put counts as never written; the bodies before it are still there.
    pub(in crate::event_log) fn sync(&mut self) -> io::Result<()> {
        if !self.unsynced {
            return Ok(());
        }
        let synced = self.file.as_ref().map_or(Err(io::ErrorKind::NotConnected.into()), File::sync_data);
        if synced.is_err() {
            self.forget();
            return synced;
        }
        for pair in &mut self.pairs {
            if let Some(body) = pair.put.take() {
                (pair.body, pair.durable) = (body, 1 - pair.durable);
            }
        }
        self.unsynced = false;
        Ok(())
    }

    /// After an error nothing is known of what was written since the last sync, and the handle is not used again.
    fn forget(&mut self) {
        self.file = None;
        self.unsynced = false;
        self.pairs.iter_mut().for_each(|pair| pair.put = None);
    }

    /// Moves the file away, as [`Slots::set_aside`] does, if it is not what was written: after an error of the disk. Gives
    /// where it lies then.
    ///
    /// # Errors
    /// When there is a file that cannot be read.
    pub(in crate::event_log) fn verify(&mut self) -> io::Result<Option<PathBuf>> {
        let read = match look(&self.root.join(LEDGER)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let is_there = |number: usize, pair: &Pair| {
            let slot = read.get(number).and_then(|read| read.slots[pair.durable].as_ref());
            pair.body.is_empty() || slot.is_some_and(|(_, body)| *body == pair.body)
        };
        let is_whole = self.pairs.iter().enumerate().all(|(number, pair)| is_there(number, pair));
        if is_whole && !read.iter().any(Read::is_damaged) {
            return Ok(None);
        }
        self.set_aside()
    }

    /// Moves the file to quarantine: what is put from now on goes into a new one, also when there is none any more. Gives
    /// where it lies; `None` without a file.
    ///
    /// # Errors
    /// As the file system says; it is then still where it was, and is written over.
    pub(in crate::event_log) fn set_aside(&mut self) -> io::Result<Option<PathBuf>> {
        let path = self.root.join(LEDGER);
        let moved = path.exists().then(|| quarantine::take_in(&self.root, &path, LEDGER)).transpose();
        if !path.exists() {
            self.forget();
            self.pairs.clear();
        }
        moved
    }

    /// What it takes on the disk, bytes.
    pub(in crate::event_log) fn disk_bytes(&self) -> u64 {
        (laid_for(self.pairs.len()) * 2 * SLOT_BYTES) as u64
    }

    /// Opens the file, and makes it long enough for a body of this number, durably.
    fn lay(&mut self, number: usize) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = open(&self.root.join(LEDGER), OpenOptions::new().write(true).create(true))?;
                // Whoever wrote it last may have been killed before a sync: what is written next must not be all there is.
                file.sync_all()?;
                sync_directory(&self.root)?;
                file
            }
        };
        let bytes = laid_for(number + 1) * 2 * SLOT_BYTES;
        let there = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        if there < bytes {
            // Written and not only reserved: what is reserved may still need room.
            file.write_all_at(&vec![0; bytes - there], there as u64)?;
            file.sync_all()?;
        }
        self.file = Some(file);
        if self.pairs.len() <= number {
            self.pairs.resize_with(number + 1, Pair::default);
        }
        Ok(())
    }
}

/// The bodies of a log that somebody else may be writing: each as one of its slots has it.
///
/// # Errors
/// As the file system says.
pub(in crate::event_log) fn read(root: &Path) -> io::Result<Found> {
    let read = match look(&root.join(LEDGER)) {
        // What lies there and is no ledger.
        Err(error) if is_damage(&error) => Vec::new(),
        read => read?,
    };
    let pairs: Vec<_> = read.iter().map(Pair::of).collect();
    Ok(Found::of(&read, &pairs))
}

/// A slot's bytes where the disk can put them past the page cache.
#[repr(align(4096))]
struct Aligned([u8; SLOT_BYTES]);

/// Asks the disk for the first slots of the ledger, past the page cache, which answers for a disk that is gone too. A ledger
/// that cannot be asked for another reason tells nothing, and counts as an answer.
///
/// # Errors
/// When it gives nothing.
pub(in crate::event_log) fn probe(root: &Path) -> io::Result<()> {
    let flags = libc::O_DIRECT | libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(root.join(LEDGER)) {
        Err(error) if is_refusal(&error) => return Err(error),
        Err(_) => return Ok(()),
        Ok(file) => file,
    };
    let mut bytes = Aligned([0; SLOT_BYTES]);
    // More than one, for one of them may be damaged.
    let mut last = Ok(());
    for slot in 0..PROBED {
        match file.read_at(&mut bytes.0, (slot * SLOT_BYTES) as u64) {
            Err(error) if is_refusal(&error) => last = Err(error),
            _ => return Ok(()),
        }
    }
    last
}

/// Both slots of a body, as they were read.
struct Read {
    slots: [Option<(u64, Vec<u8>)>; 2],
    is_blank: bool,
}

impl Read {
    fn is_damaged(&self) -> bool {
        !self.is_blank && self.slots.iter().all(Option::is_none)
    }
}

impl Pair {
    fn of(read: &Read) -> Pair {
        let counters = read.slots.each_ref().map(|slot| slot.as_ref().map(|(counter, _)| *counter));
        let durable = usize::from(counters[1] > counters[0]);
        let body = read.slots[durable].as_ref().map(|(_, body)| body.clone()).unwrap_or_default();
        Pair { durable, body, counter: counters[durable].unwrap_or(0), put: None }
    }
}

fn look(path: &Path) -> io::Result<Vec<Read>> {
    let file = open(path, OpenOptions::new().read(true))?;
    let bodies = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX).div_ceil(2 * SLOT_BYTES);
    (0..bodies.min(BODIES_MAX)).map(|number| read_pair(&file, number)).collect()
}

fn read_pair(file: &File, number: usize) -> io::Result<Read> {
    let mut bytes = [[0; SLOT_BYTES]; 2];
    let mut is_blank = true;
    let mut slots = [None, None];
    for (which, bytes) in bytes.iter_mut().enumerate() {
        // A slot that the disk refuses to give, or that is cut off, is not intact.
        let read = read_up_to(file, bytes, offset(number, which));
        is_blank &= read.is_ok() && bytes.iter().all(|byte| *byte == 0);
        slots[which] = read.ok().and_then(|()| body_of(bytes));
    }
    Ok(Read { slots, is_blank })
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    match file.read_exact_at(bytes, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        other => other,
    }
}

fn open(path: &Path, how: &mut OpenOptions) -> io::Result<File> {
    // What lies there and is a pipe or a link is not waited for, and not followed.
    let file = how.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).mode(0o600).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "is not a file")),
    }
}

fn laid_for(bodies: usize) -> usize {
    bodies.max(1).next_multiple_of(LAID_AT_A_TIME)
}

fn offset(number: usize, which: usize) -> u64 {
    ((2 * number + which) * SLOT_BYTES) as u64
}

/// A slot that holds a body of at most [`BODY_BYTES_MAX`] bytes.
fn slot(counter: u64, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SLOT_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&counter.to_be_bytes());
    bytes.extend_from_slice(&(body.len() as u16).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes.resize(SLOT_BYTES - 4, 0);
    bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_be_bytes());
    bytes
}

fn body_of(bytes: &[u8; SLOT_BYTES]) -> Option<(u64, Vec<u8>)> {
    let (checked, crc) = bytes.split_last_chunk::<4>()?;
    if crc32c::crc32c(checked) != u32::from_be_bytes(*crc) {
        return None;
    }
    let (magic, rest) = checked.split_first_chunk::<8>()?;
    let (counter, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let body = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    (*magic == MAGIC).then(|| (u64::from_be_bytes(*counter), body.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn bodies(root: &Path) -> Vec<Vec<u8>> {
        Slots::find(root).expect("readable").1.bodies
    }

    #[test]
    fn what_was_synced_is_found_again_and_what_is_the_same_is_not_written() {
        let root = tempfile::tempdir().expect("a directory");
        let (mut slots, found) = Slots::find(root.path()).expect("nothing");
        assert!(!found.exists);
        for round in 0..5_u8 {
            slots.put(0, &[round; 9]).expect("written");
            slots.put(3, &[round; BODY_BYTES_MAX]).expect("written");
            slots.sync().expect("durable");
            assert!(
                bodies(root.path())[..4] == [vec![round; 9], vec![], vec![], vec![round; BODY_BYTES_MAX]],
                "round {round}"
            );
        }
        let before = fs::metadata(root.path().join(LEDGER)).expect("there").modified().expect("a time");
        slots.put(0, &[4; 9]).expect("nothing to do");
        slots.sync().expect("nothing to do");
        assert_eq!(fs::metadata(root.path().join(LEDGER)).expect("there").modified().expect("a time"), before);
        assert!(slots.put(0, &[0; BODY_BYTES_MAX + 1]).is_err());
        assert!(slots.put(BODIES_MAX, &[]).is_err());
    }

    #[test]
    fn a_slot_torn_at_any_byte_leaves_the_body_before() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(LEDGER);
        let (mut slots, _) = Slots::find(root.path()).expect("nothing");
        for body in [&b"before"[..], b"and after"] {
            slots.put(1, body).expect("written");
            slots.sync().expect("durable");
        }
        let old = fs::read(&path).expect("there");
        slots.put(1, &[7; BODY_BYTES_MAX]).expect("written");
        let new = fs::read(&path).expect("there");
        let at = (0..old.len()).find(|at| old[*at] != new[*at]).expect("a change") / SLOT_BYTES * SLOT_BYTES;
        for torn in 0..SLOT_BYTES {
            let mut bytes = old.clone();
            bytes[at..at + torn].copy_from_slice(&new[at..at + torn]);
            fs::write(&path, &bytes).expect("torn");
            assert_eq!(bodies(root.path())[1], b"and after", "torn at byte {torn}");
        }
        fs::write(&path, &new).expect("whole");
        assert_eq!(bodies(root.path())[1], [7; BODY_BYTES_MAX]);
    }

    #[test]
    fn what_was_put_again_and_again_without_a_sync_never_touches_the_durable_slot() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(LEDGER);
        let (mut slots, _) = Slots::find(root.path()).expect("nothing");
        slots.put(0, b"durable").expect("written");
        slots.sync().expect("durable");
        let durable = fs::read(&path).expect("there");
        for round in 0..7_u8 {
            slots.put(0, &[round]).expect("written");
        }
        let now = fs::read(&path).expect("there");
        let changed: Vec<_> = (0..2)
            .filter(|which| now[which * SLOT_BYTES..][..SLOT_BYTES] != durable[which * SLOT_BYTES..][..SLOT_BYTES])
            .collect();
        assert_eq!(changed.len(), 1, "one slot takes them all");
        assert_eq!(bodies(root.path())[0], [6]);
    }

    #[test]
    fn a_file_of_which_nothing_is_intact_says_so_and_one_without_a_body_does_not() {
        let root = tempfile::tempdir().expect("a directory");
        let (mut slots, _) = Slots::find(root.path()).expect("nothing");
        slots.put(0, b"header").expect("written");
        slots.sync().expect("durable");
        assert!(Slots::find(root.path()).expect("readable").1.damaged.is_empty());
        let path = root.path().join(LEDGER);
        let length = fs::metadata(&path).expect("there").len() as usize;
        fs::write(&path, vec![0xA5; length]).expect("written");
        let found = Slots::find(root.path()).expect("readable").1;
        assert_eq!(found.damaged.len(), LAID_AT_A_TIME);
        fs::write(&path, b"short").expect("written");
        assert_eq!(Slots::find(root.path()).expect("readable").1.damaged, [0]);
    }

    #[test]
    fn a_file_that_somebody_has_removed_is_written_anew_with_every_body() {
        let root = tempfile::tempdir().expect("a directory");
        let (mut slots, _) = Slots::find(root.path()).expect("nothing");
        let write = |slots: &mut Slots, header: &[u8]| {
            slots.put(0, header).and_then(|()| slots.put(1, b"consumer")).and_then(|()| slots.sync()).expect("durable");
        };
        write(&mut slots, b"one");
        fs::remove_file(root.path().join(LEDGER)).expect("removed");
        assert_eq!(slots.verify().expect("readable"), None);
        write(&mut slots, b"two");
        assert_eq!(bodies(root.path())[..2], [b"two".to_vec(), b"consumer".to_vec()]);
    }
}
