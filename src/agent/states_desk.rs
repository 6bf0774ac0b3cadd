//! Answers what is wrong with the machine, and takes a person's word that it is known.
//!
//! Given the states, the collectors and the agent's own conditions; gives `rodent state`, `problems`, `ack` and, in
//! [`silencing`](super::silencing), `silence` their answers, and
//! `status` and the metrics their numbers. Always holds: an answer fits a message of the socket; of a state that may be otherwise
//! by now it says why.

use std::sync::Arc;

use tonic::Status;

use super::{collecting::Collecting, states::States};
use crate::{
    event::{Level, Metadata},
    event_log::{EventLog, Lane},
    health::{Condition, ConditionLevel, Registry},
    local_api::{AcknowledgeDesk, Settling, StatesSource},
    pipeline::{Emitter, Origin},
    schema::{
        events::{SystemProblemPayload, system_problem_payload::SystemProblemOperation},
        local::{
            AcknowledgeRequest, AcknowledgeResponse, CollectorStatus, ConditionStatus, ProblemCounts, StateLevel,
            StateRequest, StateResponse, SubjectState,
        },
    },
    words::{self, counted, time_utc},
};

/// The most that an answer holds, bytes of its states.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// The longest note, bytes.
pub(super) const NOTE_BYTES_MAX: usize = 300;

/// How long somebody who acknowledges waits until it is folded.
const FOLD_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);

/// Whom to ask.
#[derive(Clone)]
pub(super) struct StatesDesk {
    pub(super) states: States,
    pub(super) collecting: Collecting,
    pub(super) registry: Registry,
    pub(super) emitter: Emitter,
    pub(super) log: EventLog,
    /// Unix milliseconds.
    pub(super) now: Arc<dyn Fn() -> i64 + Send + Sync>,
}

impl StatesDesk {
    /// For the socket.
    pub(super) fn settling(self: Arc<Self>) -> Settling {
        Arc::new(move || {
            let states = self.states.clone();
            Box::pin(async move { states.settle().await })
        })
    }

    /// For the socket.
    pub(super) fn source(self: Arc<Self>) -> StatesSource {
        Arc::new(move |asked| self.answer(&asked))
    }

    /// For the socket.
    pub(super) fn acknowledge_desk(self: Arc<Self>) -> AcknowledgeDesk {
        Arc::new(move |asked, origin| Box::pin(Arc::clone(&self).acknowledge(asked, origin)))
    }

    /// How things are, the worst first.
    pub(super) fn answer(&self, asked: &StateRequest) -> StateResponse {
        let is_asked = |state: &SubjectState| {
            asked.subjects.is_empty() || asked.subjects.iter().any(|wanted| words::matches(wanted, &state.subject))
        };
        let (found, problems, mut folding, silences) = self.states.with(|fold| {
            let all = fold.worst_first().into_iter().filter(|state| is_asked(state));
            let found: Vec<_> = all.filter(|state| !asked.problems_only || is_wrong(state)).cloned().collect();
            (found, fold.problems(), fold.folding(), fold.silences().standing((self.now)()))
        });
        folding.behind_events = self.states.behind();
        let (mut room, total) = (ANSWER_BYTES_MAX, found.len());
        let mut subjects: Vec<SubjectState> = Vec::new();
        let collectors = self.collecting.status();
        for mut state in found {
            if asked.subjects.is_empty() {
                state.changes.truncate(1);
            }
            state.doubt = self.doubt(&state, &collectors);
            let bytes = prost::Message::encoded_len(&state);
            if bytes > room {
                break;
            }
            room -= bytes;
            subjects.push(state);
        }
        let standing = self.registry.standing().into_iter();
        let conditions = standing.filter(|condition| condition.level > ConditionLevel::Notice).map(condition_status);
        StateResponse {
            more_subjects: (total - subjects.len()) as u64,
            subjects,
            problems: Some(problems),
            folding: Some(folding),
            conditions: conditions.collect(),
            silences,
        }
    }

    /// How much is wrong, and the worst of it, without its story.
    pub(super) fn problems(&self, most: usize) -> (ProblemCounts, Vec<SubjectState>) {
        let (counts, mut worst) = self.states.with(|fold| {
            let worst: Vec<SubjectState> = fold.worst(most).into_iter().cloned().collect();
            (fold.problems(), worst)
        });
        let collectors = if worst.is_empty() { Vec::new() } else { self.collecting.status() };
        for problem in &mut worst {
            problem.changes.truncate(1);
            problem.doubt = self.doubt(problem, &collectors);
        }
        (counts, worst)
    }

    /// Says of what is wrong with a thing that it is known.
    pub(super) async fn acknowledge(
        self: Arc<Self>,
        asked: AcknowledgeRequest,
        origin: Origin,
    ) -> Result<AcknowledgeResponse, Status> {
        let note = asked.note.trim();
        if note.is_empty() || note.len() > NOTE_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a note says why it may stay so, in 1 to {NOTE_BYTES_MAX} bytes"
            )));
        }
        let of_subject: Vec<SubjectState> = self.states.with(|fold| fold.of_subject(&asked.subject).cloned().collect());
        let is_meant = |state: &&SubjectState| asked.state.is_empty() || state.state == asked.state;
        let wrong: Vec<_> = of_subject.iter().filter(is_meant).filter(|state| is_wrong(state)).collect();
        if wrong.is_empty() {
            return Err(Status::invalid_argument(self.nothing_wrong(&asked, &of_subject)));
        }
        for state in &wrong {
            let payload = SystemProblemPayload {
                subject: state.subject.clone(),
                state: state.state.clone(),
                note: note.to_owned(),
                actor: origin.actor(),
                known_level: Level::from(state.level()).to_wire().into(),
                operation: SystemProblemOperation::Acknowledged.into(),
                ..SystemProblemPayload::default()
            };
            let emitted = self.emitter.emit(Level::Essential, payload, Metadata::new()).await;
            emitted.map_err(|error| Status::unavailable(error.to_string()))?;
        }
        self.settle_own().await?;
        let (subject, collectors) = (&asked.subject, self.collecting.status());
        let mut subjects: Vec<SubjectState> = self.states.with(|fold| fold.of_subject(subject).cloned().collect());
        subjects.retain(|state| state.acknowledgement.is_some() && is_meant(&state));
        subjects.iter_mut().for_each(|state| state.doubt = self.doubt(state, &collectors));
        Ok(AcknowledgeResponse { subjects })
    }

    /// Until what was emitted is durable and folded.
    pub(super) async fn settle_own(&self) -> Result<(), Status> {
        let next = Lane::ALL.map(|lane| self.log.next_sequence(lane));
        for (lane, next) in Lane::ALL.into_iter().zip(next) {
            let secured = self.log.secure(lane, next).await;
            secured.map_err(|error| Status::unavailable(format!("it is not durable: {error}")))?;
        }
        let folded = tokio::time::timeout(FOLD_TIME_MAX, self.states.folded(next)).await;
        folded.map_err(|_| {
            Status::unavailable("it is noted in the log, and not folded yet: the agent still reads what the log holds")
        })
    }

    fn nothing_wrong(&self, asked: &AcknowledgeRequest, of_subject: &[SubjectState]) -> String {
        let AcknowledgeRequest { subject, state, .. } = asked;
        if of_subject.is_empty() {
            let problems = self.states.with(|fold| {
                let wrong = fold.worst_first().into_iter().filter(|state| is_wrong(state));
                wrong.map(|state| state.subject.clone()).collect::<Vec<_>>()
            });
            let near = words::did_you_mean(words::nearest(subject, problems.iter().map(String::as_str)));
            return format!("nothing is known of `{subject}`{near}");
        }
        match state.as_str() {
            "" => format!("nothing is wrong with `{subject}`"),
            state => format!("`{state}` of `{subject}` is not wrong"),
        }
    }

    /// Why a state may be otherwise by now, in a sentence.
    fn doubt(&self, state: &SubjectState, collectors: &[CollectorStatus]) -> String {
        let Some(now) = state.changes.first() else { return String::new() };
        if state.carried_from != 0 {
            return format!("it was so at {} and is not known since", time_utc(state.carried_from));
        }
        if state.lost_since != 0 {
            let were = if state.lost_since == 1 { "was" } else { "were" };
            return format!("{} {were} lost since", counted(state.lost_since, "event"));
        }
        if self.states.is_unseen(&now.source, &now.lane, now.sequence) && is_wrong(state) {
            return format!("the collector {} has looked anew since, and not told of it again", now.source);
        }
        match collectors.iter().find(|collector| collector.name == now.source).map(|collector| collector.state.as_str())
        {
            Some("off") => format!("the collector {} is off, and tells of no change", now.source),
            Some("absent") => format!("the collector {} finds nothing to look at, and tells of no change", now.source),
            Some("failed") => format!("the collector {} has failed, and tells of no change", now.source),
            _ => String::new(),
        }
    }
}

/// A condition of the agent, as the socket tells it.
pub(super) fn condition_status(condition: Condition) -> ConditionStatus {
    let (id, advice) = (condition.id(), condition.message.advice.to_owned());
    let Condition { part, level, since, text, .. } = condition;
    ConditionStatus { part, id, level: level.name().to_owned(), since, text, advice }
}

/// What is wrong now.
pub(super) fn is_wrong(state: &SubjectState) -> bool {
    state.level() != StateLevel::Ok
}
