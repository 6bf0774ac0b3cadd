//! An open sled store that is let go of without a panic, and sled's panics kept off standard error.
//!
//! sled is only ever asked to make a new store, never to open one that is there.

use std::{
    ops::Deref,
    panic::{self, AssertUnwindSafe, catch_unwind},
    sync::Once,
};

/// An open store. Trees of it are dropped before it.
///
/// sled 0.34.7 syncs once more when the last handle goes, and panics when that fails. Whatever was to be durable has been
/// flushed by then, so the failure is no news; the panic stays in here.
pub(in crate::event_log) struct Store(Option<sled::Db>);

impl Deref for Store {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        self.0.as_ref().expect("taken only when it is dropped")
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let db = self.0.take();
        if catch_unwind(AssertUnwindSafe(|| drop(db))).is_err() {
            tracing::warn!("a store of the event log could not be synced when it was let go of");
        }
    }
}

/// Makes a store.
///
/// # Errors
/// As sled says.
pub(in crate::event_log) fn make(config: &sled::Config) -> sled::Result<Store> {
    quieten();
    config.open().map(|db| Store(Some(db)))
}

/// sled's threads panic when a write fails, and the failure comes back as an error of the next flush, which says it in words.
/// The panic itself, with its backtrace, would stand on standard error as if the program had a fault.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            match info.location().map(panic::Location::file).filter(|file| is_of_sled(file)) {
                Some(place) => tracing::debug!(place, "the storage of the event log gave up a write"),
                None => before(info),
            }
        }));
    });
}

fn is_of_sled(file: &str) -> bool {
    file.split('/').any(|part| part.starts_with("sled-0."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sleds_own_panics_are_kept_quiet() {
        assert!(is_of_sled("/somewhere/registry/src/sled-0.34.7/src/pagecache/logger.rs"));
        assert!(!is_of_sled("src/event_log/generation.rs") && !is_of_sled("/sled/src/main.rs"));
    }
}
