//! No loop of errors floods the journal: of the lines that one place in the source writes, a few pass in a while; the others
//! are counted and told in one line when the while is over.
//!
//! Lines for developers, `debug` and below, pass always: whoever asks for them wants them all. So do events that are
//! mirrored, whose sender counts them itself. The rate limit of systemd's unit does not do the same: it knows no places, so a
//! loop would silence urgent events and everything else with it, and it is not there where standard error is a file.

use std::{
    collections::HashMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

use super::message;
use crate::lock::lock;
use crate::order::Sorted as _;

/// Target of the events that are mirrored in the journal. They have a limit of their own, and standard error does not
/// take them.
pub const URGENT: &str = "urgent_events";
/// The most lines of one place in a [`WINDOW`].
pub const LINES_MAX: u32 = 20;
/// Begins with the first line of a place.
pub const WINDOW: Duration = Duration::from_secs(30);
/// The most places that are named where lines were left out.
const PLACES_MAX: usize = 8;

/// Lets a line pass, or counts it. Cheap to copy; every copy counts together.
#[derive(Clone, Default)]
pub struct Flood {
    shared: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    /// As many as the program has places that log.
    places: HashMap<Identifier, Place>,
    /// A thread waits to tell what was left out.
    is_watched: bool,
}

struct Place {
    metadata: &'static Metadata<'static>,
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Flood {
    /// Tells now what was left out.
    pub fn tell(&self) {
        // Not held while it is logged, for that comes back here.
        let left_out = self.counts().take();
        if let Some((lines, places)) = left_out {
            tracing::warn!(
                message_id = %message::LINES_LEFT_OUT,
                lines,
                places,
                "a message came too often; lines were left out"
            );
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        // What a panic leaves is counts that can be used.
        lock(&self.shared)
    }

    /// Whether a line passes. The first that does not starts a thread that lives until all is told: it logs, which must
    /// not happen in the middle of logging.
    fn passes(&self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let mut counts = self.counts();
        if counts.passes(metadata, now) {
            return true;
        }
        if !counts.is_watched {
            let flood = self.clone();
            let watch = move || {
                while flood.is_watching() {
                    thread::sleep(WINDOW);
                    flood.tell();
                }
            };
            // Without a thread it is tried with the next line, and what is counted is told at the end.
            counts.is_watched = thread::Builder::new().name("flood".to_owned()).spawn(watch).is_ok();
        }
        false
    }

    fn is_watching(&self) -> bool {
        let mut counts = self.counts();
        counts.is_watched = counts.places.values().any(|place| place.left_out > 0);
        counts.is_watched
    }
}

impl Counts {
    fn passes(&mut self, metadata: &'static Metadata<'static>, now: Instant) -> bool {
        let place =
            self.places.entry(metadata.callsite()).or_insert(Place { metadata, since: now, lines: 0, left_out: 0 });
        if now.saturating_duration_since(place.since) >= WINDOW {
            (place.since, place.lines) = (now, 0);
        }
        if place.lines >= LINES_MAX {
            place.left_out += 1;
            return false;
        }
        place.lines += 1;
        true
    }

    /// How many lines were left out since the last time, and where, the most first.
    fn take(&mut self) -> Option<(u64, String)> {
        let mut left_out: Vec<_> = self
            .places
            .values_mut()
            .filter(|place| place.left_out > 0)
            .map(|place| (std::mem::take(&mut place.left_out), place.metadata))
            .collect();
        left_out.order_by_key(|(lines, metadata)| (std::cmp::Reverse(*lines), metadata.line()));
        let lines = left_out.iter().map(|(lines, _)| lines).sum();
        let mut named = String::new();
        for (lines, metadata) in left_out.iter().take(PLACES_MAX) {
            let comma = if named.is_empty() { "" } else { ", " };
            let (file, line) = (metadata.file().unwrap_or(metadata.target()), metadata.line().unwrap_or(0));
            let _ = write!(named, "{comma}{file}:{line} ({lines})");
        }
        (lines > 0).then_some((lines, named))
    }
}

impl<S> Filter<S> for Flood {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        let has_own_limit = metadata.target() == URGENT;
        has_own_limit || *metadata.level() > Level::INFO || self.passes(metadata, Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::{Layer, layer::SubscriberExt as _};

    use super::*;

    /// Keeps what passes, with its fields.
    #[derive(Clone, Default)]
    struct Passed(Arc<Mutex<Vec<String>>>);

    impl<S: tracing::Subscriber> Layer<S> for Passed {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut line = String::new();
            event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                let _ = write!(line, "{}={value:?} ", field.name());
            });
            self.0.lock().unwrap().push(line);
        }
    }

    fn lines(log: impl FnOnce(&Flood)) -> Vec<String> {
        let (passed, flood) = (Passed::default(), Flood::default());
        let subscriber = tracing_subscriber::registry().with(passed.clone().with_filter(flood.clone()));
        tracing::subscriber::with_default(subscriber, || log(&flood));
        std::mem::take(&mut *passed.0.lock().unwrap())
    }

    #[test]
    fn a_loop_of_errors_passes_a_few_times_and_the_rest_is_told_once() {
        let passed = lines(|flood| {
            for attempt in 0..LINES_MAX + 7 {
                tracing::error!(attempt, "again");
            }
            tracing::error!("another place is heard");
            flood.tell();
            flood.tell();
        });
        assert_eq!(passed.len() as u32, LINES_MAX + 2);
        assert!(passed[LINES_MAX as usize].contains("another place"));
        let told = &passed[LINES_MAX as usize + 1];
        assert!(told.contains("lines=7 ") && told.contains(message::LINES_LEFT_OUT.id), "{told}");
        assert!(told.contains("src/telemetry/flood.rs:"), "{told}");
    }

    #[test]
    fn lines_for_developers_all_pass() {
        let passed = lines(|_| (0..LINES_MAX + 7).for_each(|attempt| tracing::debug!(attempt, "again")));
        assert_eq!(passed.len() as u32, LINES_MAX + 7);
    }

    #[test]
    fn a_place_is_heard_again_when_its_window_is_over() {
        let (mut counts, start) = (Counts::default(), Instant::now());
        let metadata = {
            let seen = Mutex::new(None);
            struct Seen<'a>(&'a Mutex<Option<&'static Metadata<'static>>>);
            impl<S: tracing::Subscriber> Layer<S> for Seen<'static> {
                fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                    *self.0.lock().unwrap() = Some(event.metadata());
                }
            }
            let seen: &'static _ = Box::leak(Box::new(seen));
            tracing::subscriber::with_default(tracing_subscriber::registry().with(Seen(seen)), || {
                tracing::error!("once");
            });
            seen.lock().unwrap().expect("it was logged")
        };
        assert_eq!((0..100).filter(|_| counts.passes(metadata, start)).count() as u32, LINES_MAX);
        assert!(!counts.passes(metadata, start + WINDOW - Duration::from_millis(1)));
        assert!(counts.passes(metadata, start + WINDOW));
        assert_eq!(counts.take().map(|(lines, _)| lines), Some(u64::from(100 - LINES_MAX) + 1));
        assert!(counts.take().is_none());
    }
}
