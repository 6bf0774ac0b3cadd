//! `Consume`: gives the events of the log to a program behind a cursor of its own, and moves the cursor by what the program
//! says that it has.
//!
//! Takes from the log, as the program reads; takes commits and conditions from the program whatever else goes on. Always
//! holds: nothing is read ahead of what the program takes from the socket; what is urgent goes first, and does not wait for
//! room among what is not; whoever is ousted commits nothing more. The cursor stays when the program or the agent ends.

mod giving;
mod start;
mod worker;

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, Stream, future::Either, stream};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use self::giving::{Buried, Form, Giving, Step, Terms};
pub(super) use self::start::find;
use super::{Rooms, page, shares::ReaderPlace, wanted::Wanted};
use crate::{
    consumers::{
        bury,
        programs::{AttachError, Attachment, Caller, Programs},
    },
    dead_letters::DeadLetters,
    event::Filter,
    event_log::{EventLog, Lane, LogError},
    health::{ConditionLevel, Fault},
    schema::local::{
        Attach, Attached, AttachedLane, CaughtUp, Commit, ConsumeRequest, ConsumeResponse, ConsumerCondition, Start,
        attach::{Bound, Encoding},
        consume_request::Request,
        consume_response::Response,
        consumer_condition::Level,
    },
    telemetry::message,
    visible::visible,
};

/// Events of a lane that are given and not committed: by default, and at the most.
const WINDOW_DEFAULT: u32 = 10_000;
/// How long a program waits for another that is attached, and between two looks.
const SEAT_WAIT: Duration = Duration::from_secs(2);
const SEAT_PAUSE: Duration = Duration::from_millis(20);

const WINDOW_MAX: u32 = 50_000;

/// Workers of a program.
const WORKERS_MAX: u32 = 64;

/// After which time without a commit events may come again, milliseconds.
const REDELIVER_MILLISECONDS: RangeInclusive<u32> = 100..=86_400_000;

/// Conditions that a program may tell in so long.
const CONDITIONS_MAX: u32 = 60;
const CONDITIONS_TIME: Duration = Duration::from_secs(60);

/// Gaps that are remembered, so that their records do not tell of them again.
const TOLD_MAX: usize = 32;

/// Bytes of what a program says of itself.
const CONDITION_BYTES_MAX: usize = 500;

/// A call in progress.
pub(super) struct Consuming {
    attachment: Attachment,
    lanes: Vec<Giving>,
    terms: Terms,
    log: EventLog,
    dead_letters: DeadLetters,
    /// What is to be said first.
    first: VecDeque<Response>,
    /// Lane and sequences of the gaps that were told last.
    told: VecDeque<(String, u64, u64)>,
    is_caught_up: bool,
    conditions: (Instant, u32),
}

/// What the program wants, checked.
pub(super) struct Asked {
    name: String,
    steal: bool,
    terms: Terms,
    /// Where a new consumer is to begin.
    from: Option<Start>,
    first: Option<[u64; 2]>,
}

/// The status that an answer of the programs' room becomes.
pub(super) fn status_of(error: &AttachError) -> Status {
    let words = error.to_string();
    match error {
        AttachError::Name(_) => Status::invalid_argument(words),
        AttachError::Absent(_) => Status::not_found(words),
        AttachError::NotYours { .. } => Status::permission_denied(words),
        AttachError::Taken(_) => Status::aborted(words),
        AttachError::TooMany => Status::resource_exhausted(words),
    }
}

impl Asked {
    /// Checks the first request. `scopes` is what the caller may have, and what is subscribed for the consumer. Where a new one
    /// begins is to be [found](Asked::find) then.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn check(
        attach: &Attach,
        scopes: [Option<Filter>; 2],
        programs: &Programs,
        caller: Caller,
    ) -> Result<Asked, Status> {
        let window = attach.bound.map_or(WINDOW_DEFAULT, |Bound::Window(window)| window);
        if !(1..=WINDOW_MAX).contains(&window) {
            return Err(Status::invalid_argument(format!(
                "a window of {window} events is asked for; expected 1 to {WINDOW_MAX}, or none for {WINDOW_DEFAULT}"
            )));
        }
        let form = match Encoding::try_from(attach.encoding) {
            Ok(Encoding::Events) => Form::Events,
            Ok(Encoding::Frames) if deals(attach) => {
                return Err(Status::invalid_argument(
                    "frames are given as they are stored; with workers, or for what is to come again by itself, ask for \
                     ENCODING_EVENTS",
                ));
            }
            Ok(Encoding::Frames) if attach.filter.is_empty() && scopes.iter().all(Option::is_none) => Form::Frames,
            Ok(Encoding::Frames) => {
                return Err(Status::invalid_argument(
                    "frames are given as they are stored; with a filter or a subscription, or for a user who may not read \
                     everything, ask for ENCODING_EVENTS",
                ));
            }
            Err(_) => return Err(Status::invalid_argument(format!("there is no encoding {}", attach.encoding))),
        };
        if attach.workers > WORKERS_MAX {
            let workers = attach.workers;
            return Err(Status::invalid_argument(format!("{workers} workers are asked for; at most {WORKERS_MAX}")));
        }
        let redeliver = attach.redeliver_milliseconds;
        if redeliver != 0 && !REDELIVER_MILLISECONDS.contains(&redeliver) {
            return Err(Status::invalid_argument(format!(
                "what is not committed is to come again after {redeliver} ms; expected {} to {}, or 0 for never",
                REDELIVER_MILLISECONDS.start(),
                REDELIVER_MILLISECONDS.end()
            )));
        }
        let wanted = scopes.into_iter().fold(Wanted::parse(&attach.filter, 0, 0)?, Wanted::within);
        let is_there = programs.is_there(&attach.consumer, caller).map_err(|error| status_of(&error))?;
        // Of one that is there it says nothing, and is not looked for: the event may be gone long since.
        let from = if is_there { None } else { attach.from.clone() };
        let terms = Terms {
            wanted,
            form,
            window: window.into(),
            workers: attach.workers.max(1) as usize,
            redeliver_after: (redeliver != 0).then(|| Duration::from_millis(redeliver.into())),
            deliveries_max: attach.deliveries_max,
        };
        Ok(Asked { name: attach.consumer.clone(), steal: attach.steal, terms, from, first: None })
    }

    /// Waits for a moment while another program is attached: that it was killed may not be known yet. Cancel safe.
    pub(super) async fn wait_for_seat(&self, programs: &Programs) {
        let until = Instant::now() + SEAT_WAIT;
        while !self.steal && programs.is_attached(&self.name) && Instant::now() < until {
            sleep(SEAT_PAUSE).await;
        }
    }

    /// Looks for where a new consumer begins. Cancel safe.
    ///
    /// # Errors
    /// When there is no such place, or the log cannot be read.
    pub(super) async fn find(self, log: &EventLog, slots: &Arc<Semaphore>) -> Result<Asked, Status> {
        Ok(Asked { first: start::find(log, slots, self.from.as_ref()).await?, ..self })
    }
}

impl Consuming {
    /// Attaches the program.
    ///
    /// # Errors
    /// When it may not.
    pub(super) fn begin(
        asked: Asked,
        Rooms { programs, log, dead_letters, .. }: &Rooms,
        caller: Caller,
    ) -> Result<Consuming, Status> {
        let Asked { name, steal, terms, first, .. } = asked;
        let first = first.unwrap_or_else(|| Lane::ALL.map(|lane| log.bounds(lane).0));
        let attachment = programs.attach(&name, caller, first, steal).map_err(|error| status_of(&error))?;
        let lanes: Vec<_> =
            Lane::ALL.into_iter().map(|lane| Giving::new(log, lane, &attachment, terms.workers)).collect();
        let attached = Attached {
            is_new: attachment.is_new,
            cursor: attachment.name().to_owned(),
            window: u32::try_from(terms.window).unwrap_or(u32::MAX),
            lanes: lanes.iter().map(attached_lane).collect(),
        };
        Ok(Consuming {
            attachment,
            lanes,
            terms,
            log: log.clone(),
            dead_letters: dead_letters.clone(),
            first: [Response::Attached(attached)].into(),
            told: VecDeque::new(),
            is_caught_up: false,
            conditions: (Instant::now(), 0),
        })
    }

    fn step(&mut self) -> Result<Step, LogError> {
        let mut is_over = true;
        for lane in &mut self.lanes {
            if !lane.is_due(&self.terms) {
                continue;
            }
            match lane.step(&self.attachment, &self.terms)? {
                Step::End => {}
                Step::Again => is_over = false,
                Step::Give(responses) => {
                    let recorded = lane.take_recorded().into_iter().map(Response::Gap);
                    let mut given: Vec<_> = responses.into_iter().chain(recorded).collect();
                    given.retain(|response| self.is_news(response));
                    return Ok(Step::Give(given));
                }
                bury @ Step::Bury(_) => return Ok(bury),
            }
        }
        if !self.is_caught_up && self.lanes.iter().all(Giving::is_through) {
            self.is_caught_up = true;
            return Ok(Step::Give(vec![Response::CaughtUp(CaughtUp {})]));
        }
        Ok(if is_over { Step::End } else { Step::Again })
    }

    /// A gap is found on the way, and a record says it, too, in whichever lane is read first: it is told once.
    fn is_news(&mut self, response: &Response) -> bool {
        let Response::Gap(gap) = response else { return true };
        let place = (gap.lane.clone(), gap.first_sequence, gap.last_sequence);
        let is_told =
            self.told.iter().any(|(lane, first, last)| *lane == place.0 && *first <= place.1 && place.2 <= *last);
        if !is_told {
            self.told.truncate(TOLD_MAX - 1);
            self.told.push_front(place);
        }
        !is_told
    }

    /// What came as often as it may is kept where people find it, with a record of it; where that fails it comes once more.
    async fn bury(&mut self, Buried { lane, worker, letter }: Buried) {
        let (id, deliveries) = (letter.id(), letter.refusals);
        let kept = bury(letter, &self.dead_letters, &self.log).await;
        let (letter, error) = (id.to_string(), kept.as_ref().err());
        match error {
            None => tracing::warn!(letter, deliveries, "a program does not commit an event; it is a dead letter now"),
            Some(error) => {
                tracing::warn!(letter, error, "an event cannot be kept as a dead letter; the program gets it again");
            }
        }
        if let Some(giving) = self.lanes.iter_mut().find(|giving| giving.lane == lane) {
            giving.buried(worker, kept.is_ok(), &self.attachment);
        }
    }

    /// Waits until a lane can go on. Cancel safe.
    async fn ready(&self) {
        let ready = self.lanes.iter().map(|lane| Box::pin(lane.ready(&self.terms)));
        futures_util::future::select_all(ready).await;
    }

    /// Does what the program says.
    fn hear(&mut self, request: ConsumeRequest) -> Result<(), Status> {
        match request.request {
            Some(Request::Commit(commit)) => self.commit(&commit),
            Some(Request::Condition(condition)) => self.condition(&condition),
            Some(Request::Attach(_)) => Err(Status::invalid_argument("`attach` is the first request, and only that")),
            None => Err(Status::invalid_argument("a request says nothing that this agent knows")),
        }
    }

    fn commit(&mut self, Commit { lane, sequence, worker }: &Commit) -> Result<(), Status> {
        let Some(giving) = self.lanes.iter_mut().find(|giving| giving.lane.name() == lane) else {
            let lane = visible(lane);
            return Err(Status::invalid_argument(format!("`{lane}` is no lane; expected urgent or routine")));
        };
        match giving.commit(&self.attachment, *worker, *sequence) {
            true => Ok(()),
            false => Err(Status::invalid_argument(format!(
                "the event {sequence} of the {lane} lane is committed, and was not given on this call to worker {worker}"
            ))),
        }
    }

    fn condition(&mut self, condition: &ConsumerCondition) -> Result<(), Status> {
        let (since, count) = &mut self.conditions;
        if since.elapsed() >= CONDITIONS_TIME {
            (*since, *count) = (Instant::now(), 0);
        }
        *count += 1;
        if *count > CONDITIONS_MAX {
            return Err(Status::resource_exhausted(format!("more than {CONDITIONS_MAX} conditions in a minute")));
        }
        if condition.text.len() > CONDITION_BYTES_MAX {
            return Err(Status::invalid_argument(format!(
                "a condition has {} bytes; at most {CONDITION_BYTES_MAX}",
                condition.text.len()
            )));
        }
        let level = match Level::try_from(condition.level) {
            Ok(Level::Ok) => None,
            Ok(Level::Notice) => Some(ConditionLevel::Notice),
            Ok(Level::Warning) => Some(ConditionLevel::Warning),
            Ok(Level::Error) => Some(ConditionLevel::Error),
            Err(_) => return Err(Status::invalid_argument(format!("a condition has no level {}", condition.level))),
        };
        let fault = level.map(|level| Fault::new(level, visible(&condition.text).into_owned()));
        self.attachment.conditions().put(message::CONSUMER_SAYS, fault);
        Ok(())
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.leave(&self.attachment));
    }
}

/// Whether events are dealt out, or come again, one by one.
fn deals(attach: &Attach) -> bool {
    attach.workers > 1 || attach.redeliver_milliseconds > 0 || attach.deliveries_max > 0
}

fn attached_lane(lane: &Giving) -> AttachedLane {
    let (next_sequence, end_sequence) = lane.way();
    AttachedLane { lane: lane.lane.name().to_owned(), next_sequence, end_sequence }
}

/// What the program is answered, until it ends its requests, another takes over, or `shutdown`. The place is held until then.
pub(super) fn responses(
    consuming: Consuming,
    requests: Streaming<ConsumeRequest>,
    place: ReaderPlace,
    shutdown: CancellationToken,
) -> impl Stream<Item = Result<ConsumeResponse, Status>> {
    stream::unfold(Some((consuming, requests, place, shutdown)), |state| async move {
        let (mut consuming, mut requests, place, shutdown) = state?;
        loop {
            // First whatever the program has said.
            match heard(&mut consuming, &mut requests, &shutdown).await {
                Heard::Nothing => {}
                Heard::End => return None,
                Heard::Refused(status) => return Some((Err(status), None)),
            }
            if let Some(first) = consuming.first.pop_front() {
                let response = ConsumeResponse { response: Some(first) };
                return Some((Ok(response), Some((consuming, requests, place, shutdown))));
            }
            let mut step = Step::End;
            if !consuming.is_caught_up || consuming.lanes.iter().any(|lane| lane.is_due(&consuming.terms)) {
                (consuming, step) = match page::on_disk(&place.slots, consuming, Consuming::step).await {
                    Ok(done) => done,
                    Err(status) => return Some((Err(status), None)),
                };
            }
            match step {
                Step::Give(responses) => consuming.first.extend(responses),
                Step::Bury(buried) => consuming.bury(*buried).await,
                Step::Again => {}
                Step::End => {
                    let ousted = consuming.attachment.ousted().clone();
                    let request = tokio::select! {
                        biased;
                        () = ousted.cancelled() => continue,
                        () = shutdown.cancelled() => continue,
                        request = requests.message() => Either::Left(request),
                        () = consuming.ready() => Either::Right(()),
                    };
                    let Either::Left(request) = request else { continue };
                    match request {
                        Ok(Some(request)) => {
                            if let Err(status) = consuming.hear(request) {
                                return Some((Err(status), None));
                            }
                        }
                        Ok(None) => return None,
                        Err(status) => return Some((Err(status), None)),
                    }
                }
            }
        }
    })
}

enum Heard {
    Nothing,
    /// It says nothing more.
    End,
    Refused(Status),
}

/// Does what the program has said so far, without waiting.
async fn heard(
    consuming: &mut Consuming,
    requests: &mut Streaming<ConsumeRequest>,
    shutdown: &CancellationToken,
) -> Heard {
    loop {
        if consuming.attachment.ousted().is_cancelled() {
            return Heard::Refused(Status::aborted("another program has taken over from this one"));
        }
        if shutdown.is_cancelled() {
            return Heard::Refused(Status::unavailable("the agent is stopping"));
        }
        match requests.message().now_or_never() {
            None => return Heard::Nothing,
            Some(Ok(Some(request))) => {
                if let Err(status) = consuming.hear(request) {
                    return Heard::Refused(status);
                }
            }
            Some(Ok(None)) => return Heard::End,
            Some(Err(status)) => return Heard::Refused(status),
        }
    }
}
