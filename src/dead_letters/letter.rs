//! A dead letter: an event with its place in the log, the consumer that refuses it and what that said of it; what it is
//! called, and its bytes in a file. Pure.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use prost::Message as _;
use uuid::Uuid;

use crate::{
    event::EVENT_BYTES_MAX,
    event_log::{ClockState, Lane},
    schema::local::{DeadLetter, own_name},
    words::is_name,
};

/// Names the format, and its version.
const MAGIC: [u8; 8] = *b"RDNTLTR1";

/// Magic and checksum.
const HEAD_BYTES: usize = MAGIC.len() + 4;

/// The longest name of a consumer, characters.
const CONSUMER_CHARACTERS_MAX: usize = 64;

/// The most that is kept of a consumer's message, bytes; the rest is cut.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// The most that is kept of a code or an address, bytes.
const WORD_BYTES_MAX: usize = 256;

/// The most bytes of a letter's file: the largest event, with room for the rest. A larger file is none of ours.
pub(super) const LETTER_BYTES_MAX: usize = EVENT_BYTES_MAX + 4096;

/// An event that a consumer refuses by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Who refuses it.
    pub consumer: Arc<str>,
    /// The encoded event, as it stands in the log.
    pub event: Bytes,
    /// Lane that it stands in.
    pub lane: Lane,
    /// Epoch under which it was sent.
    pub epoch: Uuid,
    /// Its number in the lane.
    pub sequence: u64,
    /// Boot in which it was accepted.
    pub boot_id: Uuid,
    /// Whether the wall clock was in step when it was accepted.
    pub clock: ClockState,
    /// When it was refused, the last time, Unix milliseconds.
    pub refused_at: i64,
    /// How often it was refused before it came here.
    pub refusals: u32,
    /// The code of the answer, in words.
    pub code: String,
    /// The text of the answer; cut to [`MESSAGE_BYTES_MAX`] when it is stored.
    pub message: String,
    /// Where the consumer delivers to.
    pub target: String,
}

/// What a letter is called: who refuses the event, and its number. As text `CONSUMER/LANE-SEQUENCE-EPOCH`, which is also its
/// place in the directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterId {
    /// Who refuses the event.
    pub consumer: Arc<str>,
    /// Lane of the event.
    pub lane: Lane,
    /// Its number in the lane.
    pub sequence: u64,
    /// Epoch of the number.
    pub epoch: Uuid,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}-{}-{}", self.consumer, self.lane.name(), self.sequence, self.epoch.simple())
    }
}

impl FromStr for LetterId {
    type Err = NotALetter;

    /// The one way to write it, so that no two files are one letter.
    fn from_str(text: &str) -> Result<LetterId, NotALetter> {
        let (consumer, number) = text.split_once('/').ok_or(NotALetter)?;
        let mut parts = number.splitn(3, '-');
        let (Some(lane), Some(sequence), Some(epoch)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotALetter);
        };
        let id = LetterId {
            consumer: consumer_of(consumer)?.into(),
            lane: Lane::from_name(lane).ok_or(NotALetter)?,
            sequence: sequence.parse().map_err(|_| NotALetter)?,
            epoch: Uuid::try_parse(epoch).map_err(|_| NotALetter)?,
        };
        if id.to_string() == text { Ok(id) } else { Err(NotALetter) }
    }
}

/// A text is no identifier of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not CONSUMER/LANE-SEQUENCE, as `rodent dead-letters list` shows it")]
pub struct NotALetter;

/// A consumer whose letters have a place in the directory.
pub(super) fn consumer_of(name: &str) -> Result<&str, NotALetter> {
    if is_name(own_name(name), CONSUMER_CHARACTERS_MAX) { Ok(name) } else { Err(NotALetter) }
}

/// How people name a letter: its identifier, of which the consumer, and the end of the epoch or all of it, may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterName {
    consumer: Option<String>,
    lane: Lane,
    sequence: u64,
    epoch: String,
}

impl LetterName {
    /// Whether it names this letter.
    pub fn names(&self, id: &LetterId) -> bool {
        self.consumer.as_deref().is_none_or(|consumer| consumer == &*id.consumer)
            && self.lane == id.lane
            && self.sequence == id.sequence
            && id.epoch.simple().to_string().starts_with(self.epoch.as_str())
    }
}

impl fmt::Display for LetterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(consumer) = &self.consumer {
            write!(f, "{consumer}/")?;
        }
        write!(f, "{}-{}", self.lane.name(), self.sequence)?;
        if self.epoch.is_empty() { Ok(()) } else { write!(f, "-{}", self.epoch) }
    }
}

impl FromStr for LetterName {
    type Err = NotALetter;

    fn from_str(text: &str) -> Result<LetterName, NotALetter> {
        let (consumer, number) = match text.split_once('/') {
            Some((consumer, number)) => (Some(consumer_of(consumer)?.to_owned()), number),
            None => (None, text),
        };
        let mut parts = number.splitn(3, '-');
        let (Some(lane), Some(sequence)) = (parts.next(), parts.next()) else { return Err(NotALetter) };
        Ok(LetterName {
            consumer,
            lane: Lane::from_name(lane).ok_or(NotALetter)?,
            sequence: sequence.parse().map_err(|_| NotALetter)?,
            epoch: parts.next().unwrap_or_default().to_ascii_lowercase(),
        })
    }
}

impl Letter {
    /// What it is called.
    pub fn id(&self) -> LetterId {
        LetterId { consumer: Arc::clone(&self.consumer), lane: self.lane, sequence: self.sequence, epoch: self.epoch }
    }

    /// As the local socket gives it; texts from outside are cut to their bounds.
    pub fn to_message(&self) -> DeadLetter {
        DeadLetter {
            event: self.event.clone(),
            lane: self.lane.name().to_owned(),
            log_epoch: self.epoch.to_string(),
            sequence: self.sequence,
            boot_id: self.boot_id.to_string(),
            clock_state: self.clock.name().to_owned(),
            refused_at: self.refused_at,
            refusals: self.refusals,
            code: cut(&self.code, WORD_BYTES_MAX),
            message: cut(&self.message, MESSAGE_BYTES_MAX),
            target: cut(&self.target, WORD_BYTES_MAX),
            consumer: self.consumer.to_string(),
        }
    }

    fn from_message(message: DeadLetter, consumer: &Arc<str>) -> Option<Letter> {
        // Letters of earlier versions name none: their place says it.
        let is_of_place = message.consumer.is_empty() || *message.consumer == **consumer;
        is_of_place.then_some(())?;
        Some(Letter {
            consumer: Arc::clone(consumer),
            lane: Lane::from_name(&message.lane)?,
            epoch: Uuid::try_parse(&message.log_epoch).ok()?,
            sequence: message.sequence,
            boot_id: Uuid::try_parse(&message.boot_id).ok()?,
            clock: ClockState::from_name(&message.clock_state).unwrap_or(ClockState::Unknown),
            refused_at: message.refused_at,
            refusals: message.refusals,
            event: message.event,
            code: message.code,
            message: message.message,
            target: message.target,
        })
    }

    /// What its file holds: magic, CRC32C of the rest, and an encoded `rodent.local.DeadLetter`.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let message = self.to_message().encode_to_vec();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + message.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&crc32c::crc32c(&message).to_be_bytes());
        bytes.extend_from_slice(&message);
        bytes
    }

    /// The opposite, of a file among those of a consumer.
    ///
    /// # Errors
    /// What is wrong with the bytes.
    pub(super) fn from_bytes(bytes: &[u8], consumer: &Arc<str>) -> Result<Letter, &'static str> {
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("it is cut short")?;
        let (crc, message) = rest.split_first_chunk::<4>().ok_or("it is cut short")?;
        if *magic != MAGIC {
            return Err("it does not begin like a letter");
        }
        if crc32c::crc32c(message) != u32::from_be_bytes(*crc) {
            return Err("its checksum is wrong");
        }
        let message = DeadLetter::decode(message).map_err(|_| "it cannot be decoded")?;
        Letter::from_message(message, consumer).ok_or("it does not say where it belongs")
    }
}

/// The beginning of a text, at most so many bytes.
fn cut(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default().to_owned()
}
