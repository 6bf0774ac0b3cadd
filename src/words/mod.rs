//! Words as people write them: names, the one that was meant, patterns, durations, sizes, counts and points in time. A ground room:
//! settings, filters, JSON and commands take from it, so that a word is read and written alike wherever it stands.
//!
//! Always holds: everything here is pure, and takes any text and any number without a panic.

mod hexadecimal;
mod name;
mod near;
mod pattern;
mod quantity;
mod time;

pub use hexadecimal::hexadecimal;
pub use name::is_name;
pub use near::{did_you_mean, nearest};
pub use pattern::{WILDCARDS, matches};
pub use quantity::{
    DURATION_EXPECTED, SIZE_EXPECTED, counted, exact_duration, exact_size, group, grouped, human_bytes, human_duration,
    parse_duration, parse_size,
};
pub use time::{parse_rfc3339, rfc3339, rfc3339_seconds, time_utc};
