//! A small log to be damaged, and what is found in it afterwards.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use prost::Message as _;
use rodent::{
    event_log::{Draft, EventLog, Lane, Read, Settings},
    schema::events::{
        Event, EventLossPayload, event::EventPayload, event_loss_payload::EventLossOperation, system_event::EventType,
    },
};
use tempfile::TempDir;
use uuid::Uuid;

/// Where copies lie: in memory where there is such a place, for what a disk makes of it is not the question here.
pub(crate) fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).expect("a directory"),
        false => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"),
    }
}

pub(crate) fn settings(root: &Path) -> Settings {
    Settings { generation_bytes: 4000, ..Settings::new(root.join("log")) }
}

/// A log as it was written, to be copied.
pub(crate) struct Original {
    directory: TempDir,
    pub(crate) events: [Vec<Vec<u8>>; 2],
    pub(crate) epoch: Uuid,
    pub(crate) closed: bool,
}

/// Events of a lane, different from all others, that zstd cannot shrink.
fn events(lane: Lane, count: usize) -> Vec<Vec<u8>> {
    let mut state = 0x9E37_79B9_7F4A_7C15 ^ lane as u64;
    let mut byte = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..count).map(|number| (0..60 + number % 50).map(|_| byte()).collect()).collect()
}

impl Original {
    /// Closed in good order, or as a kill leaves it.
    pub(crate) fn new(closed: bool) -> Original {
        let (work, directory) = (scratch(), scratch());
        let log = EventLog::open(settings(work.path())).expect("a log");
        let events = [events(Lane::Urgent, 56), events(Lane::Routine, 136)];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let cursor = log.cursor("uplink").expect("room");
            for (lane, events) in Lane::ALL.into_iter().zip(&events) {
                // A frame each.
                for events in events.chunks(4) {
                    let draft =
                        |event| Draft { event, level: 1, category: 2, timestamp: 1_700_000_000_000, kind: None };
                    let drafts: Vec<_> = events.iter().map(|event| draft(event)).collect();
                    let next = log.append(lane, &drafts).await.expect("appended");
                    log.commit(lane, next).await.expect("durable");
                }
            }
            cursor.commit(Lane::Routine, 1);
        });
        let epoch = log.epoch();
        if closed {
            log.close();
        }
        copy_directory(work.path(), directory.path());
        log.close();
        let original = Original { directory, events, epoch, closed };
        for lane in Lane::ALL {
            let manifest = original.directory.path().join(original.newest(lane)).with_file_name("manifest");
            assert_eq!(manifest.exists(), closed, "{lane:?}: what is not closed is not complete");
        }
        original
    }

    pub(crate) fn copy(&self) -> TempDir {
        let directory = scratch();
        copy_directory(self.directory.path(), directory.path());
        directory
    }

    /// Every file, by its path in a copy.
    pub(crate) fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        walk(self.directory.path(), &mut |path| {
            let below = path.strip_prefix(self.directory.path()).expect("below").to_owned();
            files.push((below, fs::metadata(path).expect("there").len()));
        });
        files.sort();
        files
    }

    /// The generations of a lane, oldest first, by their paths in a copy.
    pub(crate) fn generations(&self, lane: Lane) -> Vec<PathBuf> {
        let of_lane = |path: &PathBuf| path.starts_with(Path::new("log").join(lane.name())) && path.ends_with("db");
        let stores = self.files().into_iter().map(|(path, _)| path).filter(of_lane);
        stores.filter_map(|path| path.parent().map(Path::to_owned)).collect()
    }

    /// The newest generation of a lane.
    pub(crate) fn newest(&self, lane: Lane) -> PathBuf {
        let newest = self.files().into_iter().map(|(path, _)| path);
        let mut of_lane = newest.filter(|path| path.starts_with(Path::new("log").join(lane.name())));
        of_lane.rfind(|path| path.ends_with("db")).expect("a generation")
    }
}

pub(crate) fn copy_directory(from: &Path, to: &Path) {
    walk(from, &mut |path| {
        let to = to.join(path.strip_prefix(from).expect("below"));
        fs::create_dir_all(to.parent().expect("a parent")).expect("made");
        fs::copy(path, to).expect("copied");
    });
}

fn walk(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// A frame as it lies in a file.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) sequences: Range<u64>,
    pub(crate) bytes: Range<usize>,
}

/// The frames of a `db`, by the layout that `frame.rs` documents.
pub(crate) fn frames(db: &[u8]) -> Vec<Frame> {
    const MAGIC: &[u8] = b"\xF7RODENT\x01";
    let number = |at: usize| u32::from_le_bytes(db[at..at + 4].try_into().expect("four bytes"));
    let frame = |at: usize| {
        let first = u64::from_le_bytes(db[at + 16..at + 24].try_into().expect("eight bytes"));
        let header = u16::from_le_bytes(db[at + 14..at + 16].try_into().expect("two bytes"));
        let end = at + usize::from(header) + number(at + 32) as usize;
        Frame { sequences: first..first + u64::from(number(at + 24)), bytes: at..end }
    };
    (0..db.len() - MAGIC.len()).filter(|at| db[*at..].starts_with(MAGIC)).map(frame).collect()
}

/// What is found in a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// By lane and sequence, without the log's own records.
    pub(crate) events: [BTreeMap<u64, Vec<u8>>; 2],
    /// In gaps.
    pub(crate) gone: [BTreeSet<u64>; 2],
    /// In records of damage, each as often as it is recorded.
    pub(crate) recorded: [Vec<u64>; 2],
    /// Records of damage that name no sequence.
    pub(crate) unnumbered: usize,
    pub(crate) epoch: Uuid,
}

/// Opens a log, reads all of it until nothing new is recorded, and closes it in good order.
pub(crate) fn read(settings: Settings) -> Found {
    let log = EventLog::open(settings).expect("a damaged log opens");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut found = Found::default();
    // Reading finds the damage, and is told of it by the second reading.
    for _ in 0..2 {
        found = Found { epoch: log.epoch(), ..Found::default() };
        for lane in Lane::ALL {
            runtime.block_on(log.commit(lane, log.next_sequence(lane))).expect("durable");
            found.read_lane(&log, lane);
        }
    }
    log.close();
    found
}

impl Found {
    fn read_lane(&mut self, log: &EventLog, lane: Lane) {
        let (mut reader, mut position) = (log.reader(lane, 1), 1);
        loop {
            match reader.read(50, 1 << 16).expect("a damaged log can be read") {
                Read::Run(run) => {
                    assert_eq!(run.first_sequence, position, "no hole without a gap");
                    position = run.next_sequence();
                    for stored in run.events() {
                        match loss(&stored.event) {
                            Some(loss) => self.note(&loss),
                            None => _ = self.events[lane as usize].insert(stored.sequence, stored.event.to_vec()),
                        }
                    }
                }
                Read::Gap(gap) => {
                    assert!(gap.from == position && gap.to > gap.from, "{gap:?} at {position}");
                    self.gone[lane as usize].extend(gap.from..gap.to);
                    position = gap.to;
                }
                Read::End => return,
            }
        }
    }

    fn note(&mut self, loss: &EventLossPayload) {
        if loss.operation != EventLossOperation::Damage as i32 {
            assert_eq!(loss.operation, EventLossOperation::UncleanStop as i32, "{loss:?}");
        } else if loss.first_sequence == 0 {
            self.unnumbered += 1;
        } else {
            let lane = Lane::from_name(&loss.lane).expect("a lane");
            assert!(loss.count_exact && loss.count == loss.last_sequence - loss.first_sequence + 1, "{loss:?}");
            self.recorded[lane as usize].extend(loss.first_sequence..=loss.last_sequence);
        }
    }

    /// Sequences of what was written and is not there; what is there is what was written.
    pub(crate) fn missing(&self, original: &Original, lane: Lane) -> BTreeSet<u64> {
        let (found, written) = (&self.events[lane as usize], &original.events[lane as usize]);
        assert!(found.len() <= written.len());
        for (sequence, event) in found {
            assert_eq!(written.get(*sequence as usize - 1), Some(event), "{lane:?} {sequence} is what was written");
        }
        (1..=written.len() as u64).filter(|sequence| !found.contains_key(sequence)).collect()
    }
}

fn loss(event: &[u8]) -> Option<EventLossPayload> {
    match Event::decode(event).ok()?.event_payload? {
        EventPayload::SystemEvent(system) => match system.event_type? {
            EventType::LossEvent(loss) => Some(loss),
            _ => None,
        },
        _ => None,
    }
}
