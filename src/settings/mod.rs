//! A table of settings with positions: what a room reads its own part of `rodent.yml` from. Reading never stops at the
//! first fault: each is noted with file, line and column, the default stands in, and whoever opened the table reports
//! them all. Every read is recorded, so that `rodent config show` can tell each value and where it came from.
//!
//! Given by `agent::config`, taken by each room's `Settings`. Knows no key of any room.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

/// A part of the configuration, open for reading. Keys that nobody reads are faults when it is closed.
pub struct Table {}

impl Table {
    /// A table with nothing in it: every read gives its default. For tests and for rooms used as a library.
    pub fn empty() -> Table {
        unimplemented!()
    }
    /// The part under `key`; an empty one where the key is absent.
    pub fn table(&mut self, _key: &'static str, _about: &'static str) -> Table {
        unimplemented!()
    }
    /// Text.
    pub fn string(&mut self, _key: &'static str, _default: &str, _about: &'static str) -> String {
        unimplemented!()
    }
    /// Text that may be absent.
    pub fn optional_string(&mut self, _key: &'static str, _about: &'static str) -> Option<String> {
        unimplemented!()
    }
    /// One of a closed set of words.
    pub fn one_of(
        &mut self,
        _key: &'static str,
        _default: &'static str,
        _allowed: &[&'static str],
        _about: &'static str,
    ) -> &'static str {
        unimplemented!()
    }
    /// A list of texts.
    pub fn strings(&mut self, _key: &'static str, _default: &[&str], _about: &'static str) -> Vec<String> {
        unimplemented!()
    }
    /// `true` or `false`.
    pub fn boolean(&mut self, _key: &'static str, _default: bool, _about: &'static str) -> bool {
        unimplemented!()
    }
    /// A whole number within bounds.
    pub fn integer(
        &mut self,
        _key: &'static str,
        _default: u64,
        _bounds: RangeInclusive<u64>,
        _about: &'static str,
    ) -> u64 {
        unimplemented!()
    }
    /// `30s`, `5m`, or a bare number of seconds.
    pub fn duration(
        &mut self,
        _key: &'static str,
        _default: Duration,
        _bounds: RangeInclusive<Duration>,
        _about: &'static str,
    ) -> Duration {
        unimplemented!()
    }
    /// The same, or `off`/absent for none.
    pub fn optional_duration(
        &mut self,
        _key: &'static str,
        _bounds: RangeInclusive<Duration>,
        _about: &'static str,
    ) -> Option<Duration> {
        unimplemented!()
    }
    /// `64MiB`, `1GiB`, bytes.
    pub fn size(
        &mut self,
        _key: &'static str,
        _default: u64,
        _bounds: RangeInclusive<u64>,
        _about: &'static str,
    ) -> u64 {
        unimplemented!()
    }
    /// An absolute path.
    pub fn path(&mut self, _key: &'static str, _default: &str, _about: &'static str) -> PathBuf {
        unimplemented!()
    }
    /// An absolute path that may be absent.
    pub fn optional_path(&mut self, _key: &'static str, _about: &'static str) -> Option<PathBuf> {
        unimplemented!()
    }
    /// Notes a fault at a key that was read: for rules between keys.
    pub fn fault(&mut self, _key: &'static str, _message: String) {
        unimplemented!()
    }
}
