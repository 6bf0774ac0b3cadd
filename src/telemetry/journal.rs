//! The agent's own messages as entries of the systemd journal, each with its fields.
//!
//! Takes events of `tracing`, gives datagrams of journald's native protocol to the [`Outbox`], whose thread sends them: who
//! logs never waits for journald. Names of fields and priorities are those of `tracing-journald`, whose own layer sends
//! from the thread that logs and waits there as long as journald does not read.
//!
//! Always holds: an entry is smaller than a datagram may be. Deliberately absent: spans, for the agent has none.

mod socket;

use std::{fmt, io, path::Path};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{Layer, layer::Context};

use socket::Socket;

pub use super::outbox::{BYTES_MAX, Ending, LINES_MAX, missing_lines};
use super::{
    message::{self, Message},
    outbox::Outbox,
};
use crate::visible::visible_lines;

/// Where journald listens.
pub const SOCKET: &str = "/run/systemd/journal/socket";
/// Name under which messages stand in the journal: `journalctl -t rodent`.
pub const IDENTIFIER: &str = "rodent";
/// A field of this name says which priority an entry has, by RFC 5424, instead of the level of the line.
const PRIORITY_FIELD: &str = "priority";
/// Before the names of the fields of a message.
const PREFIX: &str = "RODENT_";
/// The most bytes of a field's value; the rest is cut off.
const VALUE_BYTES_MAX: usize = 16 << 10;
/// When an entry is longer than this, fields that follow are left out. With one more value it is still below what a
/// datagram may be, 208 KiB where nobody has changed it.
const ENTRY_BYTES_MAX: usize = 64 << 10;
/// The longest name of a field that journald takes.
const NAME_BYTES_MAX: usize = 64;

/// The levels of `tracing` as RFC 5424 has them: what is informational there is so here.
const PRIORITIES: PriorityMappings = PriorityMappings {
    error: Priority::Error,
    warn: Priority::Warning,
    info: Priority::Informational,
    debug: Priority::Debug,
    trace: Priority::Debug,
};

/// A layer that gives every event to journald.
pub struct Journal {
    outbox: Outbox,
}

impl Journal {
    /// Starts the thread that sends to the journald at `path`. Dropping the [`Ending`] waits a moment for what is not sent.
    ///
    /// # Errors
    /// When nobody listens there, or no thread can be started. A journald that does not read is no error.
    pub fn connect(path: &Path) -> io::Result<(Journal, Ending)> {
        let (outbox, ending) = Outbox::start(Socket::open(path)?, lines_missing)?;
        Ok((Journal { outbox }, ending))
    }
}

impl<S: Subscriber> Layer<S> for Journal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::new(priority(event.metadata()));
        entry.put_origin(event.metadata());
        event.record(&mut entry);
        self.outbox.put(entry.bytes);
    }
}

/// Says in the journal that lines are missing there.
fn lines_missing(lines: u64) -> Vec<u8> {
    let mut entry = Entry::new(Priority::Warning);
    entry.put_message_id(message::LINES_MISSING);
    entry.put("MESSAGE", &format!("the journal did not read for a while; {lines} lines of the agent are missing here"));
    entry.put("RODENT_LINES", &lines.to_string());
    entry.bytes
}

fn priority(metadata: &Metadata<'_>) -> Priority {
    match *metadata.level() {
        Level::ERROR => PRIORITIES.error,
        Level::WARN => PRIORITIES.warn,
        Level::INFO => PRIORITIES.info,
        Level::DEBUG => PRIORITIES.debug,
        Level::TRACE => PRIORITIES.trace,
    }
}

/// An entry as journald's native protocol has it.
struct Entry {
    bytes: Vec<u8>,
}

impl Entry {
    fn new(priority: Priority) -> Entry {
        let mut entry = Entry { bytes: Vec::with_capacity(512) };
        entry.put("PRIORITY", char::from(priority as u8).encode_utf8(&mut [0; 4]));
        entry.put("SYSLOG_IDENTIFIER", IDENTIFIER);
        entry
    }

    /// It stands first in each entry.
    fn set_priority(&mut self, digit: u8) {
        let first = "PRIORITY\n".len() + size_of::<u64>();
        if let Some(byte) = self.bytes.get_mut(first) {
            *byte = digit;
        }
    }

    fn put_origin(&mut self, metadata: &Metadata<'_>) {
        self.put("TARGET", metadata.target());
        if let Some(file) = metadata.file() {
            self.put("CODE_FILE", file);
        }
        if let Some(line) = metadata.line() {
            self.put("CODE_LINE", &line.to_string());
        }
    }

    fn put_message_id(&mut self, message: Message) {
        self.put("MESSAGE_ID", message.id);
    }

    /// A value with its length before it. Its lines stay lines, which the journal shows as such; what nobody else sees in it
    /// is spelt out.
    fn put(&mut self, name: &str, value: &str) {
        if self.bytes.len() > ENTRY_BYTES_MAX {
            return;
        }
        let value = visible_lines(value);
        let mut end = value.len().min(VALUE_BYTES_MAX);
        while !value.is_char_boundary(end) {
            end -= 1;
        }
        let value = &value[..end];
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(b'\n');
        self.bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(b'\n');
    }
}

impl Visit for Entry {
    fn record_u64(&mut self, field: &Field, value: u64) {
        match (field.name(), u8::try_from(value)) {
            (PRIORITY_FIELD, Ok(digit @ 0..=7)) => self.set_priority(b'0' + digit),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(&name(field.name()), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(&name(field.name()), &format!("{value:?}"));
    }
}

/// What a field is called in the journal.
fn name(field: &str) -> String {
    match field {
        "message" => "MESSAGE".to_owned(),
        message::FIELD => "MESSAGE_ID".to_owned(),
        _ => {
            let dots = field.chars().map(|c| if c == '.' { '_' } else { c.to_ascii_uppercase() });
            let allowed = dots.filter(|c| *c == '_' || c.is_ascii_alphanumeric());
            PREFIX.chars().chain(allowed).take(NAME_BYTES_MAX).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_sees_is_spelt_out_in_an_entry_and_lines_stay_lines() {
        let mut entry = Entry::new(Priority::Warning);
        entry.put("MESSAGE", "one\ntwo\u{202e}\x1b[2J");
        let text = String::from_utf8_lossy(&entry.bytes);
        assert!(text.contains("one\ntwo\\u{202e}\\u{1b}[2J\n"), "{text:?}");
    }
}
