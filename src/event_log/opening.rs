//! What a log finds of itself when it is opened, in whatever state the disk has it.
//!
//! Gives the log what it goes on with. What is damaged has been set aside by then (`recovery`); what cannot be opened because the
//! disk is full is looked at in copies.

use uuid::Uuid;

use super::{
    Lane, LogError, Settings,
    ballast::Ballast,
    cursor::Cursors,
    meta::Meta,
    numbering::{Numbering, Numbers, Stretch},
    recovery,
    row::Row,
    scratch::Scratch,
    tail::Tails,
};
use crate::telemetry::message;

/// What the disk holds.
pub(super) struct Found {
    pub(super) meta: Meta,
    /// Whether where the cursors stood has been lost.
    pub(super) cursors_are_lost: bool,
    pub(super) cursors: Cursors,
    pub(super) rows: [Row; 2],
    pub(super) tails: Tails,
    /// Why nothing can be written; then all of this comes from copies.
    pub(super) full: Option<LogError>,
}

impl Found {
    /// On a full disk sled opens nothing: then the reserve goes, and if that does not help the log begins in memory.
    pub(super) fn find(settings: &Settings) -> Result<Found, LogError> {
        let mut found = Found::load(settings, None);
        let is_full = |found: &Result<Found, LogError>| found.as_ref().is_err_and(LogError::is_out_of_space);
        if is_full(&found)
            && Ballast::find(&settings.directory, settings.disk_bytes_max, settings.ballast_bytes_max).release()
        {
            found = Found::load(settings, None);
        }
        match found {
            Err(error) if error.is_out_of_space() => {
                let scratch = Scratch::new().map_err(|e| LogError::io("copy", &settings.directory, e))?;
                Found::load(settings, Some(&scratch)).map(|found| Found { full: Some(error), ..found })
            }
            other => other,
        }
    }

    fn load(settings: &Settings, scratch: Option<&Scratch>) -> Result<Found, LogError> {
        let root = &settings.directory;
        let (meta, damage) = match scratch {
            None => recovery::open_meta(settings)?,
            Some(scratch) => (Meta::open_copy(root, scratch)?, None),
        };
        let rows = [Row::load(root, Lane::Urgent, &meta)?, Row::load(root, Lane::Routine, &meta)?];
        let cursors = Cursors::load(&meta)?;
        let tails = Tails::find(&rows, &meta, &cursors, settings)?;
        Ok(Found { meta, cursors_are_lost: damage.is_some(), rows, cursors, tails, full: None })
    }
}

/// The numbering that the log goes on with. A log that was written for another owner is a copy, or has been moved: there may
/// be another one that goes on with the same numbers, so here what is not delivered and what comes gets others.
pub(super) fn numbers(settings: &Settings, meta: &Meta, cursors: &Cursors, tails: &Tails) -> Result<Numbers, LogError> {
    let stored = meta.numbers()?;
    let (is_new, numbering) = (stored.is_none(), Numbering::new(stored.unwrap_or_else(Numbers::fresh)));
    let owner = meta.owner()?;
    let foreign = owner.as_ref().is_some_and(|owner| *owner != settings.owner);
    if foreign {
        let epoch = Uuid::new_v4();
        numbering.begin(epoch);
        let passed = cursors.durably_passed().unwrap_or([1, 1]);
        for lane in Lane::ALL {
            let (from, to) = (passed[lane.index()], tails.next_sequences[lane.index()]);
            if from < to {
                numbering.renumber(Stretch { lane, from, to, epoch });
            }
        }
        tracing::warn!("the event log was written on another machine or for another node; it goes on in a new epoch");
    }
    if tails.unproved && !foreign {
        numbering.begin(Uuid::new_v4());
        tracing::warn!(message_id = %message::LOG_REPAIRED, "it cannot be proved that the end of the event log is intact; it goes on in a new epoch");
    }
    if is_new || foreign || tails.unproved || owner.is_none() {
        meta.set_owner(&settings.owner)?;
        meta.set_numbers(&numbering.numbers())?;
    }
    Ok(numbering.numbers())
}
