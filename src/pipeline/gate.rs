//! Which events the configuration lets into the log.

use crate::event::{Level, kind};

/// Levels and categories that are let in. [`Level::Essential`] always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gate {
    /// One bit for each level's number on the wire.
    levels: u32,
    /// One bit for each category's number on the wire.
    categories: u32,
}

impl Gate {
    /// Lets everything in.
    pub const OPEN: Gate = Gate { levels: u32::MAX, categories: u32::MAX };

    /// Lets in events of one of these levels and one of these categories, by name; no names let all in.
    pub fn new(levels: &[Level], categories: &[String]) -> Gate {
        let mut gate = Gate { levels: bit(Level::Essential.to_wire() as i32), categories: 0 };
        for level in levels {
            gate.levels |= bit(level.to_wire() as i32);
        }
        for (number, name) in (1..).zip(kind::categories()) {
            if categories.contains(name) {
                gate.categories |= bit(number);
            }
        }
        Gate {
            levels: if levels.is_empty() { u32::MAX } else { gate.levels },
            categories: if categories.is_empty() { u32::MAX } else { gate.categories },
        }
    }

    /// Whether an event of this level and category passes. A category that this version does not know passes: the
    /// configuration cannot have meant it.
    pub(super) fn passes(self, level: Level, category: i32) -> bool {
        let known = usize::try_from(category).is_ok_and(|number| (1..=kind::categories().len()).contains(&number));
        level == Level::Essential
            || (self.levels & bit(level.to_wire() as i32) != 0 && (!known || self.categories & bit(category) != 0))
    }
}

fn bit(number: i32) -> u32 {
    u32::try_from(number).ok().and_then(|number| 1u32.checked_shl(number)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essential_events_pass_every_gate() {
        let gate = Gate::new(&[Level::Error], &["storage".to_owned()]);
        assert!(gate.passes(Level::Essential, 1));
        assert!(gate.passes(Level::Error, 2));
        assert!(!gate.passes(Level::Error, 1), "another category");
        assert!(!gate.passes(Level::Info, 2), "another level");
        assert!(!gate.passes(Level::Debug, 2) && !gate.passes(Level::Trace, 2));
    }

    #[test]
    fn no_names_let_everything_in() {
        let gate = Gate::new(&[], &[]);
        assert_eq!(gate, Gate::OPEN);
        assert!(Level::ALL.into_iter().all(|level| (0..20).all(|category| gate.passes(level, category))));
    }
}
