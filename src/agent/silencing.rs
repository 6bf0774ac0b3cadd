//! Takes a person's word that nobody is to be told of something for a while, and that this is over.
//!
//! Given what is asked and by whom; gives an event, which the states are told by as everybody else is. Always holds: an answer says
//! what is durable and folded; how many silences there are and how long each may be is bounded, and what is beyond is refused.

use std::sync::Arc;

use tonic::Status;

use super::states_desk::{NOTE_BYTES_MAX, StatesDesk};
use crate::{
    event::{Level, Metadata},
    local_api::SilenceDesk,
    pipeline::Origin,
    schema::{
        events::{SystemProblemPayload, system_problem_payload::SystemProblemOperation},
        local::{Silence, SilenceRequest, SilenceResponse},
    },
    state::{SILENCE_MAX, SILENCES_MAX},
    words::{self, WILDCARDS, human_duration},
};

/// Shorter is over before anybody has acted, seconds.
const SECONDS_MIN: u64 = 60;

/// The longest name or pattern, bytes: no thing has a longer one.
const SUBJECT_BYTES_MAX: usize = 300;

impl StatesDesk {
    /// For the socket.
    pub(super) fn silence_desk(self: Arc<Self>) -> SilenceDesk {
        Arc::new(move |asked, origin| Box::pin(Arc::clone(&self).silence(asked, origin)))
    }

    async fn silence(self: Arc<Self>, asked: SilenceRequest, origin: Origin) -> Result<SilenceResponse, Status> {
        self.check(&asked)?;
        let is_end = asked.seconds == 0;
        let operation = if is_end { SystemProblemOperation::SilenceEnded } else { SystemProblemOperation::Silenced };
        let payload = SystemProblemPayload {
            subject: asked.subject.clone(),
            note: asked.note.trim().to_owned(),
            actor: origin.actor(),
            silenced_seconds: i64::try_from(asked.seconds).unwrap_or(i64::MAX),
            operation: operation.into(),
            ..SystemProblemPayload::default()
        };
        let emitted = self.emitter.emit(Level::Essential, payload, Metadata::new()).await;
        emitted.map_err(|error| Status::unavailable(error.to_string()))?;
        self.settle_own().await?;
        let silences = self.silences();
        if !is_end && !silences.iter().any(|silence| silence.subject == asked.subject) {
            return Err(Status::unavailable(
                "the event that says so is left out, see `events.categories`: it is told as ever",
            ));
        }
        Ok(SilenceResponse { silences })
    }

    /// Of what nobody is told now.
    fn silences(&self) -> Vec<Silence> {
        self.states.with(|fold| fold.silences().standing((self.now)()))
    }

    fn check(&self, SilenceRequest { subject, seconds, note }: &SilenceRequest) -> Result<(), Status> {
        let refused = |why: String| Err(Status::invalid_argument(why));
        if subject.len() > SUBJECT_BYTES_MAX || note.len() > NOTE_BYTES_MAX {
            return refused(format!("a name has at most {SUBJECT_BYTES_MAX} bytes, a note at most {NOTE_BYTES_MAX}"));
        }
        let standing = self.silences();
        let is_standing = standing.iter().any(|silence| silence.subject == *subject);
        if *seconds == 0 {
            let near = words::nearest(subject, standing.iter().map(|silence| silence.subject.as_str()));
            return match (is_standing, subject.as_str()) {
                (true, _) => Ok(()),
                (false, "") => refused("there is no silence of all of this machine".to_owned()),
                (false, subject) => refused(format!("there is no silence of `{subject}`{}", words::did_you_mean(near))),
            };
        }
        if !(SECONDS_MIN..=SILENCE_MAX.as_secs()).contains(seconds) {
            return refused(format!(
                "a silence lasts from a minute to {}; what may stay so for longer is known: `rodent ack`",
                human_duration(SILENCE_MAX)
            ));
        }
        if !is_standing && standing.len() >= SILENCES_MAX {
            return refused(format!("there are {SILENCES_MAX} silences, the most there may be: end one of them first"));
        }
        if subject.is_empty() || subject.contains(WILDCARDS) {
            return Ok(());
        }
        let unknown = self.states.with(|fold| {
            let is_known = fold.of_subject(subject).next().is_some();
            let known = || fold.worst_first().into_iter().map(|state| state.subject.as_str());
            (!is_known).then(|| words::did_you_mean(words::nearest(subject, known())))
        });
        match unknown {
            None => Ok(()),
            Some(near) => refused(format!(
                "nothing is known of `{subject}`{near}; what is yet to come takes a pattern, `{subject}*`"
            )),
        }
    }
}
