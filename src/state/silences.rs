//! Of what nobody is to be told for a while, because a person said so: of a thing, of several by a pattern, of all.
//!
//! Folded from the agent's own events, which say who asked and for how long. Always holds: at most [`SILENCES_MAX`] are kept, and
//! none holds for longer than [`SILENCE_MAX`]; it ends by the clock of whoever asks. One that is over is kept while there is room,
//! for what came and went within it is no news afterwards. Deliberately absent: what other programs emit. They have no say here.

use std::time::Duration;

use super::changes::OTHERS;
use crate::{
    event::EventView,
    order::Sorted as _,
    schema::{
        Payload as _,
        events::{SystemProblemPayload, system_problem_payload::SystemProblemOperation},
        local::Silence,
    },
    words::matches,
};

/// The most that are kept. Beyond them the one goes that is over first, or would be.
pub const SILENCES_MAX: usize = 64;

/// The longest: what is to be left alone for longer is known (`rodent ack`), and not forgotten.
pub const SILENCE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

const SILENCE_MAX_MS: i64 = 7 * 24 * 3600 * 1000;

/// What people have said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Silences(Vec<Silence>);

impl Silences {
    pub(super) fn of(mut kept: Vec<Silence>) -> Silences {
        kept.truncate(SILENCES_MAX);
        Silences(kept)
    }

    pub(super) fn into_kept(self) -> Vec<Silence> {
        self.0
    }

    /// Takes an event; gives whether it begins or ends a silence.
    pub(super) fn take(&mut self, event: &EventView) -> bool {
        let is = |operation| event.kind().as_str() == format!("{}.{operation}", SystemProblemPayload::SUBJECT);
        if event.source() == OTHERS || !(is("silenced") || is("silence_ended")) {
            return false;
        }
        let Some(Ok(said)) = event.payload().map(|payload| payload.transcode_to::<SystemProblemPayload>()) else {
            return false;
        };
        let (time, lasts) = (event.timestamp(), said.silenced_seconds.saturating_mul(1000).clamp(0, SILENCE_MAX_MS));
        let known = self.0.iter().position(|silence| silence.subject == said.subject);
        if said.operation() == SystemProblemOperation::SilenceEnded {
            if let Some(silence) = known.and_then(|at| self.0.get_mut(at)) {
                silence.until = silence.until.min(time);
            }
            return known.is_some();
        }
        let SystemProblemPayload { subject, actor, note, .. } = said;
        let silence = Silence { subject, actor, since: time, until: time.saturating_add(lasts), note };
        if let Some(at) = known {
            self.0.remove(at);
        } else if self.0.len() >= SILENCES_MAX {
            let first = (0..self.0.len()).min_by_key(|at| self.0.get(*at).map(|silence| silence.until));
            first.map(|at| self.0.remove(at));
        }
        self.0.push(silence);
        true
    }

    /// Until when nobody is told of a thing, or when that was over last, Unix milliseconds. A silence that lies further ahead than
    /// any may was said by a clock that was wrong, and counts for nothing.
    pub fn until(&self, subject: &str, now: i64) -> Option<i64> {
        let covers = |silence: &&Silence| silence.subject.is_empty() || matches(&silence.subject, subject);
        let meant = self.0.iter().filter(|silence| is_possible(silence, now));
        meant.filter(covers).map(|silence| silence.until).max()
    }

    /// Those that hold at this time, what ends first at the front.
    pub fn standing(&self, now: i64) -> Vec<Silence> {
        let holds = |silence: &&Silence| silence.until > now && is_possible(silence, now);
        let mut standing: Vec<_> = self.0.iter().filter(holds).cloned().collect();
        standing.order_by_key(|silence| silence.until);
        standing
    }
}

fn is_possible(silence: &Silence, now: i64) -> bool {
    silence.until.saturating_sub(now) <= SILENCE_MAX_MS
}
