//! Errors that a pool counts of its devices.

use std::iter::Sum;

use serde::{Deserialize, Serialize};

/// Operations that went wrong since the counters were cleared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Errors {
    pub(super) read: u64,
    pub(super) write: u64,
    pub(super) checksum: u64,
}

impl Errors {
    pub(super) fn total(self) -> u64 {
        self.read.saturating_add(self.write).saturating_add(self.checksum)
    }

    /// ` (3 read, 12 checksum errors)`; nothing of none.
    pub(super) fn words(self) -> String {
        let kinds = [(self.read, "read"), (self.write, "write"), (self.checksum, "checksum")];
        let counted: Vec<_> = kinds.into_iter().filter(|(count, _)| *count > 0).collect();
        let words: Vec<_> = counted.iter().map(|(count, kind)| format!("{count} {kind}")).collect();
        match self.total() {
            0 => String::new(),
            1 => format!(" ({} error)", words.join(", ")),
            _ => format!(" ({} errors)", words.join(", ")),
        }
    }
}

impl Sum for Errors {
    fn sum<I: Iterator<Item = Errors>>(all: I) -> Errors {
        all.fold(Errors::default(), |sum, it| Errors {
            read: sum.read.saturating_add(it.read),
            write: sum.write.saturating_add(it.write),
            checksum: sum.checksum.saturating_add(it.checksum),
        })
    }
}
