//! Settings with positions: what a room reads its own part of `rodent.yml` from.
//!
//! A [`Document`] opens the files, lays them over each other and hands out the root [`Table`]; rooms read typed values
//! from tables. Reading never stops at the first fault: each is noted with file, line and column, the default stands
//! in, and closing the document reports them all, with the keys that nobody read. Every read is recorded, so that
//! `rodent config show` can tell each value and where it came from.
//!
//! Given by `agent::config`, taken by each room. Knows no key of any room. Files are bounded ([`FILE_BYTES_MAX`],
//! [`FILES_MAX`]) and so are nesting and the number of keys.

mod document;
mod fault;
mod line;
mod mistake;
mod record;
mod secret;
mod session;
mod shape;
mod table;
mod tree;
mod values;
mod yaml;

pub use document::{Document, FILE_BYTES_MAX, FILES_MAX, Variable};
pub use fault::{Faults, SettingFault};
pub use record::{Records, Section, SettingOrigin, SettingRecord};
pub use secret::Secret;
pub use shape::Shape;
pub use table::{Lowered, Part, Switch, Table, ValuePlace};

#[cfg(test)]
mod tests;
