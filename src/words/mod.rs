//! Words as people write them: the name that was meant. A ground room: settings, filters, JSON and commands take from it,
//! so that a word is judged alike wherever it is given.
//!
//! Always holds: everything here is pure, and takes any text and any number without a panic.

mod near;

pub use near::{did_you_mean, nearest};
