//! A log's directory by its names and sizes alone: what can be said at once, whether somebody works on it or not.
//!
//! Nothing is opened, and nobody is kept waiting.

use std::{fs, io, path::Path};

use crate::event_log::{
    disk::{files, generation, lock::Lock, quarantine},
    error::LogError,
    lane::Lane,
};

/// What lies in a log's directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Glance {
    /// Whether an agent or a command works on it.
    pub in_use: bool,
    /// Generations of both lanes.
    pub generations: u64,
    /// What they take on the disk, bytes.
    pub disk_bytes: u64,
    /// What damaged parts take that were put aside, bytes.
    pub quarantined_bytes: u64,
}

impl Glance {
    /// At the log in `directory`.
    ///
    /// # Errors
    /// When it is not there or cannot be listed.
    pub fn at(directory: &Path) -> Result<Glance, LogError> {
        fs::read_dir(directory).map_err(|error| LogError::io("list", directory, error))?;
        let quarantined = quarantine::list(directory);
        let mut glance = Glance {
            in_use: Lock::is_taken(directory)?,
            quarantined_bytes: quarantined.iter().map(|part| part.disk_bytes).sum(),
            ..Glance::default()
        };
        for row in Lane::ALL.map(|lane| directory.join(lane.name())) {
            let numbers = match generation::list(&row) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                numbers => numbers.map_err(|error| LogError::io("list", &row, error))?,
            };
            glance.generations += numbers.len() as u64;
            let paths = numbers.into_iter().map(|number| generation::directory(&row, number));
            glance.disk_bytes += paths.map(|path| files::disk_bytes(&path)).sum::<u64>();
        }
        Ok(glance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event_log::{log::EventLog, settings::Settings};

    #[test]
    fn a_log_in_use_is_told_from_one_that_is_not_and_neither_is_disturbed() {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().join("log");
        assert!(Glance::at(&root).is_err(), "there is none");
        let log = EventLog::open(Settings::new(root.clone())).expect("a log");
        let glance = Glance::at(&root).expect("a look");
        assert!(glance.in_use && glance.quarantined_bytes == 0, "{glance:?}");
        log.close();
        let glance = Glance::at(&root).expect("a look");
        assert!(!glance.in_use, "{glance:?}");
        EventLog::open(Settings::new(root)).expect("opens after the look").close();
    }
}
