//! What somebody was told, in so few bytes that it moves with their cursor.

use crate::order::Gather as _;
use std::collections::{BTreeMap, BTreeSet};

use ring::digest::{SHA256, digest};

use crate::schema::local::{StateLevel, SubjectState};

/// The most things of which it is remembered that they were told; what goes wrong beyond it is told as a number.
pub(super) const TOLD_MAX: usize = 300;

/// Format, when the last look was, how many more there were.
const HEAD_BYTES: usize = 1 + 4 + 2;
/// Name, level and flag, when.
const ENTRY_BYTES: usize = 6 + 1 + 3;
const FORMAT: u8 = 1;
/// The same with when the weekly message was sent behind the head.
const FORMAT_WEEKLY: u8 = 2;
const WEEKLY_BYTES: usize = 4;
const FLAPPING: u8 = 0x80;
const PENDING: u8 = 0x40;

/// Times are kept in minutes since this, Unix milliseconds: 2020 began. Three bytes last for thirty years.
const SINCE: i64 = 1_577_836_800_000;
const MINUTE: i64 = 60_000;
const MINUTES_MAX: i64 = 0xff_ffff;

/// That somebody knows of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The worst that was told.
    pub(super) level: StateLevel,
    pub(super) is_flapping: bool,
    /// It is being told, or was when the agent was killed.
    pub(super) is_pending: bool,
    minute: u32,
}

impl Entry {
    pub(super) fn at(level: StateLevel, is_flapping: bool, now: i64) -> Entry {
        let minute = ((now - SINCE) / MINUTE).clamp(0, MINUTES_MAX);
        Entry { level, is_flapping, is_pending: false, minute: u32::try_from(minute).unwrap_or_default() }
    }

    /// When it was told last, Unix milliseconds.
    pub(super) fn told_at(self) -> i64 {
        SINCE + i64::from(self.minute) * MINUTE
    }
}

/// What is to be known of a thing from now on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) key: u64,
    pub(super) entry: Option<Entry>,
}

/// The whole of it.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Told {
    entries: BTreeMap<u64, Entry>,
    /// When the first look was after the last quiet hours, Unix milliseconds; 0 before any.
    pub(super) looked_at: i64,
    /// How many more things than have room were told to be wrong.
    pub(super) more: u16,
    /// When the weekly message was sent last, or an hour before it was first waited for, Unix milliseconds; 0 where nobody wants
    /// it.
    pub(super) weekly_at: i64,
}

/// What a thing's state is known by here: 48 bits.
pub(super) fn key(subject: &str, state: &str) -> u64 {
    let whole = digest(&SHA256, format!("{subject}\0{state}").as_bytes());
    whole.as_ref().iter().take(6).fold(0, |key, byte| key << 8 | u64::from(*byte))
}

impl Told {
    pub(super) fn get(&self, key: u64) -> Option<Entry> {
        self.entries.get(&key).copied()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn mark(&mut self, marks: &[Mark], more: Option<u16>) {
        for Mark { key, entry } in marks {
            match entry {
                Some(entry) => _ = self.entries.insert(*key, *entry),
                None => _ = self.entries.remove(key),
            }
        }
        match more {
            Some(more) => self.more = more,
            None if self.entries.len() < TOLD_MAX => self.more = 0,
            None => {}
        }
    }

    /// Of what is not known yet it is noted that it is being told; gives what that is.
    pub(super) fn announce(&mut self, marks: &[Mark]) -> Vec<u64> {
        let mut new = Vec::new();
        for Mark { key, entry } in marks {
            if let (Some(entry), None) = (entry, self.entries.get(key)) {
                self.entries.insert(*key, Entry { is_pending: true, ..*entry });
                new.push(*key);
            }
        }
        new
    }

    /// It was not told after all.
    pub(super) fn withdraw(&mut self, new: &[u64]) {
        for key in new {
            if self.entries.get(key).is_some_and(|entry| entry.is_pending) {
                self.entries.remove(key);
            }
        }
    }

    pub(super) fn forget_all_but<'a>(&mut self, states: impl IntoIterator<Item = &'a SubjectState>) -> bool {
        let kept: BTreeSet<_> = states.into_iter().map(|state| key(&state.subject, &state.state)).gather();
        let before = self.entries.len();
        self.entries.retain(|key, _| kept.contains(key));
        self.entries.len() < before
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES + self.entries.len() * ENTRY_BYTES);
        let minutes = |at: i64| {
            let minutes = if at == 0 { 0 } else { (at - SINCE) / MINUTE + 1 };
            u32::try_from(minutes).unwrap_or_default().to_be_bytes()
        };
        // As before there was such a message, where nobody wants it.
        bytes.push(if self.weekly_at == 0 { FORMAT } else { FORMAT_WEEKLY });
        bytes.extend(minutes(self.looked_at));
        bytes.extend(self.more.to_be_bytes());
        if self.weekly_at != 0 {
            bytes.extend(minutes(self.weekly_at));
        }
        for (key, entry) in &self.entries {
            let flapping = if entry.is_flapping { FLAPPING } else { 0 };
            let pending = if entry.is_pending { PENDING } else { 0 };
            let level = u8::try_from(i32::from(entry.level)).unwrap_or_default();
            bytes.extend(key.to_be_bytes().iter().skip(2));
            bytes.push(level | flapping | pending);
            bytes.extend(entry.minute.to_be_bytes().iter().skip(1));
        }
        bytes
    }

    /// None of what is no such thing.
    pub(super) fn decode(bytes: &[u8]) -> Option<Told> {
        let number = |bytes: &[u8]| bytes.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let (head, rest) = bytes.split_at_checked(HEAD_BYTES)?;
        let (format, head) = head.split_first()?;
        let (looked, more) = head.split_at_checked(4)?;
        let (weekly, entries) = match *format {
            FORMAT => (&[] as &[u8], rest),
            FORMAT_WEEKLY => rest.split_at_checked(WEEKLY_BYTES)?,
            _ => return None,
        };
        let entry = |entry: &[u8]| {
            let (key, rest) = entry.split_at_checked(6)?;
            let (flags, minute) = rest.split_first()?;
            let level = StateLevel::try_from(i32::from(flags & !(FLAPPING | PENDING))).ok()?;
            let minute = u32::try_from(number(minute)).ok()?;
            Some((
                number(key),
                Entry { level, is_flapping: flags & FLAPPING != 0, is_pending: flags & PENDING != 0, minute },
            ))
        };
        let chunks = entries.chunks_exact(ENTRY_BYTES);
        if !chunks.remainder().is_empty() {
            return None;
        }
        let time = |bytes: &[u8]| match i64::try_from(number(bytes)).ok()? {
            0 => Some(0),
            minutes => Some(SINCE + (minutes - 1) * MINUTE),
        };
        Some(Told {
            entries: chunks.map(entry).collect::<Option<_>>()?,
            looked_at: time(looked)?,
            weekly_at: time(weekly)?,
            more: u16::try_from(number(more)).ok()?,
        })
    }
}
