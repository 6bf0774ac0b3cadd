//! Where the program's own messages go: to journald with their fields when systemd started it with its output connected
//! there, to standard error otherwise.
//!
//! Errors and changes of state only; nothing here scales with events. Levels follow RFC 5424 in the journal.

use std::os::unix::fs::MetadataExt as _;

use tracing::Level;
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::LevelFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Name under which messages stand in the journal.
const IDENTIFIER: &str = "rodent";

/// Overrides the configured level, also module by module: `RODENT_LOG=debug,h2=warn`.
const VARIABLE: &str = "RODENT_LOG";

/// Starts logging for the process. A second call does nothing.
pub fn start(level: Level) {
    let filter = || {
        let filter = EnvFilter::builder()
            .with_default_directive(LevelFilter::from_level(level).into())
            .with_env_var(VARIABLE)
            .from_env_lossy();
        match std::env::var(VARIABLE).is_ok_and(|directives| directives.contains("sled")) {
            true => filter,
            // It repeats at each attempt what the event log says once.
            false => filter.add_directive("sled=off".parse().expect("a directive")),
        }
    };
    let journal = journal_is_listening().then(|| tracing_journald::layer().ok()).flatten();
    let result = match journal {
        Some(layer) => {
            let layer = layer
                .with_syslog_identifier(IDENTIFIER.to_owned())
                .with_field_prefix(Some("RODENT".to_owned()))
                .with_priority_mappings(PriorityMappings {
                    error: Priority::Error,
                    warn: Priority::Warning,
                    info: Priority::Informational,
                    debug: Priority::Debug,
                    trace: Priority::Debug,
                });
            tracing_subscriber::registry().with(layer.with_filter(filter())).try_init()
        }
        None => {
            let layer = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_target(false)
                .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
            tracing_subscriber::registry().with(layer.with_filter(filter())).try_init()
        }
    };
    // Only a second call fails; the first one's subscriber stays.
    drop(result);
}

/// Whether standard error is the journal's own stream: systemd says so by its device and inode.
fn journal_is_listening() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stderr) = std::fs::metadata("/proc/self/fd/2") else { return false };
    stream == format!("{}:{}", stderr.dev(), stderr.ino())
}
