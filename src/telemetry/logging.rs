//! Where the program's own messages go: to journald with their fields when systemd started it with its output connected
//! there, to standard error otherwise.
//!
//! Errors and changes of state only; nothing here scales with events. Who logs never waits for who reads, and no place
//! floods either of the two.

use std::{fmt, os::unix::fs::MetadataExt as _, path::PathBuf, sync::Arc};

use tracing::{
    Level,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer as _,
    field::{RecordFields, VisitOutput as _},
    filter::{FilterExt as _, LevelFilter, Targets, filter_fn},
    fmt::{
        FormatFields,
        format::{DefaultVisitor, Writer},
    },
    layer::SubscriberExt as _,
    reload,
    util::SubscriberInitExt as _,
};

pub use super::flood::URGENT;
use super::{
    error_chain::ErrorChain,
    flood::Flood,
    journal::{self, Journal},
    levels::{NotUnderstood, levels},
    message,
    outbox::Ending,
    stderr,
};
use crate::visible::visible;

/// Overrides the configured level, also module by module: `RODENT_LOG=debug,h2=warn`.
const VARIABLE: &str = "RODENT_LOG";
/// Where journald listens, when that is not [`journal::SOCKET`].
const SOCKET_VARIABLE: &str = "RODENT_JOURNAL_SOCKET";
/// What has a level of its own. Each urgent event is shown, and so is its end, however little the agent is to say about
/// itself; sled repeats at each attempt what the event log says once.
const OWN_LEVELS: [(&str, LevelFilter); 2] = [(URGENT, LevelFilter::INFO), ("sled", LevelFilter::OFF)];

/// Keeps the last lines: dropping it waits at most half a second for a journald that does not read.
#[must_use = "what is logged at the end is sent when this is dropped"]
pub struct Logging {
    flood: Flood,
    lines: Lines,
    level: LogLevel,
}

/// Where lines go, and what sends the last of them at the end. A terminal is written to at once.
#[expect(dead_code, reason = "dropping it is what it is for")]
enum Lines {
    Journal(Ending),
    Stderr(Option<Ending>),
}

/// Turns the level while the program runs. Cheap to copy.
#[derive(Clone)]
pub struct LogLevel(Arc<dyn Fn(Level) + Send + Sync>);

impl LogLevel {
    /// From now on the least important lines are those of `level`; what the environment says still beats it.
    pub fn set(&self, level: Level) {
        (self.0)(level);
    }
}

impl Logging {
    /// What turns the level.
    pub fn level(&self) -> LogLevel {
        self.level.clone()
    }

    /// Whether messages go to journald.
    pub fn is_journal(&self) -> bool {
        matches!(self.lines, Lines::Journal(_))
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.flood.tell();
    }
}

/// Starts logging for the process. A second call does nothing.
pub fn start(level: Level) -> Logging {
    let flood = Flood::default();
    let (filter, not_understood) = filter(level);
    let (filter, handle) = reload::Layer::new(filter);
    let path = std::env::var_os(SOCKET_VARIABLE).map_or_else(|| journal::SOCKET.into(), PathBuf::from);
    let journal = journal_is_listening().then(|| Journal::connect(&path).ok()).flatten();
    let (result, lines) = match journal {
        Some((layer, ending)) => {
            let layer = layer.with_filter(filter.and(flood.clone()));
            (tracing_subscriber::registry().with(layer).try_init(), Lines::Journal(ending))
        }
        None => {
            let (writer, ending) = stderr::writer();
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(writer)
                .with_target(false)
                .fmt_fields(Plain)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                .with_filter(filter.and(filter_fn(|metadata| metadata.target() != URGENT)).and(flood.clone()));
            (tracing_subscriber::registry().with(layer).try_init(), Lines::Stderr(ending))
        }
    };
    // Only a second call fails; the first one's subscriber stays.
    drop(result);
    not_understood.into_iter().for_each(|part| part.tell(VARIABLE));
    // What turns it stays without effect then.
    let level = LogLevel(Arc::new(move |level| drop(handle.reload(self::filter(level).0))));
    Logging { flood, lines, level }
}

/// What is written at this level, unless the environment says otherwise.
fn filter(level: Level) -> (Targets, Vec<NotUnderstood>) {
    levels(LevelFilter::from_level(level), &OWN_LEVELS, &std::env::var(VARIABLE).unwrap_or_default())
}

/// Whether standard error is the journal's own stream: systemd says so by its device and inode.
fn journal_is_listening() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}

/// The fields as people read them: without the identifier of the message, which is for the journal, and with what nobody sees
/// spelt out.
pub struct Plain;

impl<'writer> FormatFields<'writer> for Plain {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = PlainVisitor(DefaultVisitor::new(writer, true));
        fields.record(&mut visitor);
        visitor.0.finish()
    }
}

struct PlainVisitor<'writer>(DefaultVisitor<'writer>);

impl Visit for PlainVisitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != message::FIELD {
            self.0.record_str(field, value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.record_debug(field, &format_args!("{}", ErrorChain(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != message::FIELD {
            self.0.record_debug(field, &format_args!("{}", visible(&format!("{value:?}"))));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_identifier_of_a_message_is_for_the_journal_alone() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_target(false)
            .with_ansi(false)
            .without_time()
            .fmt_fields(Plain);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(message_id = %message::CONTROLLER_AWAY, controller = "hole:1", wait = 3, "nobody there");
        });
        let said = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert_eq!(said, " WARN nobody there controller=\"hole:1\" wait=3\n");
    }

    #[test]
    fn what_a_line_quotes_steers_no_terminal_and_makes_no_other_line() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .fmt_fields(Plain);
        let hostile = "\x1b[2J\r\n\u{9b}31m\u{202e}";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(error = %hostile, text = hostile, "it says {hostile}");
        });
        let said = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        assert!(said.trim_end().chars().all(|c| !crate::visible::is_hidden(c)), "{said:?}");
    }
}
