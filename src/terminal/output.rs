//! In which form a command prints what it found: the values of `-o`.

use clap::ValueEnum;

/// The form of a command's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns, for people.
    #[default]
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}

/// The form in which events are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum EventOutput {
    /// A sentence for each, for people.
    #[default]
    Table,
    /// The same with kind and all fields.
    Wide,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Jsonl,
}
