//! The webhook: the sink that is a URL. Each event that its filter takes is posted, in its order, and is taken when the
//! receiver answers 2xx; or, with `tell: changes`, what is wrong and what is well again ([`teller`]).
//!
//! Gives nothing of the node but events. Always holds: an event has one identifier, its own, however often it is sent; a
//! record of what this consumer lost, or anybody may have, passes every filter; what the receiver answers moves nothing but
//! this consumer's cursor.

mod answer;
pub(super) mod beat;
mod body;
mod client;
mod connector;
mod courier;
mod credentials;
mod distrust;
mod expectation;
mod fields;
mod format;
mod free;
mod proxy;
mod refusals;
mod said;
mod settings;
mod signature;
mod target;
mod teller;
mod template;

use std::{
    any::Any,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::StatusCode;
use tokio::time::Instant;

pub use self::settings::TIMEOUT_BOUNDS;
use self::{
    answer::{Answer, NoAnswer},
    courier::{Courier, NotTaken},
    refusals::{Refusals, Refused},
    said::Said,
    settings::Settings,
    teller::Teller,
};
use super::{Configured, Consumer, NodeName, SinkRun, SinkSpec, SinkTest};
use crate::{
    consumers::{Batch, DeliveryFailure, Pacing, Packing, Reason, Sink, Taken, Then, Threshold, Verdict},
    event::{EventView, Filter, Head, LossRecord, may_be_loss_record},
    health::Pulse,
    settings::Table,
};

/// The entry in [`super::ALL`].
pub(super) const SPEC: SinkSpec = SinkSpec {
    name: "webhook",
    about: "posts events to a URL",
    sample: "url: https://example.com/hook",
    build: |table: &mut Table| Settings::read(table).map(|settings| Box::new(settings) as Box<dyn Configured>),
};

/// Events that are read at once; each goes in a request of its own.
const BATCH_EVENTS: usize = 100;

/// How long the first of fewer routine events waits.
const BATCH_TIMEOUT: Duration = Duration::from_secs(1);

/// The first bound of the pause between attempts.
const BACKOFF_FIRST: Duration = Duration::from_secs(1);

/// The longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

impl Configured for Settings {
    fn target(&self) -> String {
        self.target.to_string()
    }

    fn fallback(&self) -> Option<&str> {
        self.fallback.as_ref().map(|fallback| fallback.to.as_str())
    }

    fn is_of_states(&self) -> bool {
        self.rules.is_some()
    }

    fn stand_in(&mut self, other: &dyn Configured) {
        let other: &dyn Any = other;
        self.stand_in = other.downcast_ref::<Settings>().cloned().map(Box::new);
    }

    fn test(self: Box<Self>, node: &NodeName) -> Pin<Box<dyn Future<Output = SinkTest> + Send>> {
        let (node, target) = (node.clone(), self.target.clone());
        // The other one is another sink, with a test of its own.
        let mut courier = Courier::new(Settings { fallback: None, ..*self }, &node);
        Box::pin(async move {
            let begins = std::time::Instant::now();
            let now = unix_ms(SystemTime::now());
            let said = [Said::test(&node, now)];
            let outcome = match courier.prepare().await {
                Ok(()) => courier.post(&said, now).await.map_err(|why| failure(&target, why).error),
                Err(why) => Err(why),
            };
            SinkTest {
                took: begins.elapsed(),
                certificate_until: courier.client.certificate_until(),
                answer: outcome.clone().unwrap_or_default(),
                error: outcome.err(),
            }
        })
    }

    fn run(self: Box<Self>, consumer: Consumer) -> SinkRun {
        let threshold = Threshold { batch_size: BATCH_EVENTS, batch_timeout: BATCH_TIMEOUT };
        let pacing = Pacing::new(BACKOFF_FIRST.min(self.backoff_max), self.backoff_max);
        let pacing = pacing.with_schedule(self.schedule.clone());
        let webhook = Webhook::new(*self, &consumer);
        consumer.deliver(webhook, threshold, pacing)
    }
}

/// The sink.
struct Webhook {
    wanted: Wanted,
    courier: Courier,
    teller: Option<Arc<Teller>>,
    refusals: Refusals,
}

/// Which events are told of.
#[derive(Clone)]
struct Wanted {
    filter: Arc<Filter>,
    node: Arc<str>,
    consumer: Arc<str>,
    /// Whether states are told of, and no events but what this consumer has lost.
    is_of_states: bool,
    /// Of each lane: what is before this sequence has arrived, and does not go again when the batch is cut in two.
    arrived: [Arc<AtomicU64>; 2],
}

impl PartialEq for Wanted {
    /// Nothing of it changes while a webhook runs.
    fn eq(&self, _: &Wanted) -> bool {
        true
    }
}

/// What is to be said of a batch, and how much of its lane has arrived already.
#[derive(Clone)]
struct Sendings {
    said: Arc<[Said]>,
    /// Where that stands in the lane.
    sequences: Arc<[u64]>,
    arrived: Arc<AtomicU64>,
    bytes: usize,
}

impl Packing for Wanted {
    type Message = Sendings;
    type Packer = ();

    fn pack(&self, batch: &Batch<Wanted>, (): &mut (), _: i64) -> io::Result<Sendings> {
        let run = batch.run().plain()?;
        let (mut said, mut sequences, mut bytes) = (Vec::new(), Vec::new(), 0);
        for placed in run.events() {
            // The log holds only what was an event when it was accepted.
            let head = Head::read(&placed.event).map_err(io::Error::other)?;
            let may_be_lost = may_be_loss_record(&head);
            if !may_be_lost && (self.is_of_states || !self.filter.may_match(&head)) {
                continue;
            }
            let event = EventView::decode(&placed.event).map_err(io::Error::other)?;
            let is_told = || LossRecord::is_for(&event, &self.consumer);
            if may_be_lost && is_told() || !self.is_of_states && self.filter.matches(&event) {
                bytes += placed.event.len();
                said.push(Said::event(&event, &self.node));
                sequences.push(placed.sequence);
            }
        }
        let arrived = Arc::clone(&self.arrived[batch.lane.index()]);
        Ok(Sendings { said: said.into(), sequences: sequences.into(), arrived, bytes })
    }

    /// Of the events: how long they are in the format, only the receiver learns.
    fn wire_bytes(message: &Sendings) -> usize {
        message.bytes
    }
}

impl Webhook {
    fn new(mut settings: Settings, consumer: &Consumer) -> Webhook {
        let refusals = Refusals::new(settings.refusals_max);
        let (filter, node) = (Arc::new(std::mem::take(&mut settings.filter)), Arc::clone(&consumer.node.id));
        let teller = settings.rules.take().map(|rules| {
            let (states, now) = (Arc::clone(&consumer.states), Arc::clone(&consumer.now));
            Arc::new(Teller::new(
                rules,
                (consumer.log.clone(), consumer.cursor.clone()),
                (Arc::clone(&filter), Arc::clone(&node)),
                states,
                now,
            ))
        });
        let wanted = Wanted {
            filter,
            node,
            consumer: consumer.name.as_str().into(),
            is_of_states: teller.is_some(),
            arrived: Default::default(),
        };
        let courier = Courier::new(settings, &consumer.node).telling(consumer.state.clone());
        Webhook { wanted, courier, teller, refusals }
    }

    /// What is kept with the cursor, for a sink that tells of states.
    fn told(&self) -> Option<Vec<u8>> {
        self.teller.as_ref().map(|teller| teller.told())
    }
}

impl Sink for Webhook {
    type Packing = Wanted;
    type Outcome = Result<(), Refused>;

    async fn open(&mut self, pulse: &Pulse) -> Result<Wanted, DeliveryFailure> {
        pulse.await_disk(self.courier.prepare()).await.map_err(|error| DeliveryFailure {
            then: Then::Later(Duration::ZERO),
            error,
            code: String::new(),
            reason: Reason::Credentials,
            is_strain: false,
        })?;
        Ok(self.wanted.clone())
    }

    /// In order.
    fn window(&self) -> usize {
        1
    }

    fn deliver(
        &mut self,
        Sendings { said, sequences, arrived, .. }: Sendings,
    ) -> impl Future<Output = Self::Outcome> + Send + 'static {
        let (courier, teller, refusals) = (self.courier.clone(), self.teller.clone(), self.refusals.clone());
        async move {
            let from = sequences.partition_point(|sequence| *sequence < arrived.load(Ordering::Relaxed));
            let rest = (said.get(from..).unwrap_or_default(), sequences.get(from..).unwrap_or_default());
            let at_once = if courier.format.is_of_several() { BATCH_EVENTS } else { 1 };
            for (said, sequences) in rest.0.chunks(at_once).zip(rest.1.chunks(at_once)) {
                courier.take(said, 0).await.map_err(|why| refusals.note(said, why))?;
                if let Some(last) = sequences.last() {
                    arrived.store(last + 1, Ordering::Relaxed);
                }
            }
            match teller {
                Some(teller) => teller.tell(&courier).await.map_err(Refused::of_nobody),
                None => Ok(()),
            }
        }
    }

    fn judge(&mut self, _: u64, _: u32, outcome: Self::Outcome) -> Verdict {
        match outcome {
            Ok(()) => Ok(Taken { blob: self.told(), ..Taken::default() }),
            Err(Refused { why, times }) => {
                let failure = failure(self.courier.client.target(), why);
                Err(DeliveryFailure { then: self.refusals.then(times, failure.then), ..failure })
            }
        }
    }

    fn due(&self) -> Option<Instant> {
        self.teller.as_ref().and_then(|teller| teller.due())
    }

    async fn on_due(&mut self, _: &Pulse) -> Result<Option<Vec<u8>>, DeliveryFailure> {
        let Some(teller) = self.teller.clone() else { return Ok(None) };
        match teller.tell_unless_told(&self.courier).await {
            Ok(()) => Ok(self.told()),
            Err(outcome) => Err(failure(self.courier.client.target(), outcome)),
        }
    }

    async fn changed(&mut self) {
        self.courier.changed().await;
    }
}

/// Whether what was said was refused, by somebody who takes what is said.
fn is_refusal(not_taken: &NotTaken) -> bool {
    not_taken.as_ref().is_ok_and(|answer| reason(answer) == Reason::Refused)
}

fn unix_ms(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// What an answer that is not 2xx means, or none at all.
///
/// | answer | meaning |
/// |---|---|
/// | none; 408, 425, 429, 5xx; one that is not as expected | again, later; not before it says (`retry-after`, at most an hour) |
/// | 3xx, 401, 403, 404, 405, 407, 410, 501 | hold: somebody has to act |
/// | every other 4xx, 413 among them | the event itself is refused |
///
/// How often it may be, where that is set, [`refusals`] knows.
fn failure(target: &target::Target, outcome: Result<Answer, NoAnswer>) -> DeliveryFailure {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(NoAnswer { is_timeout, why, .. }) => {
            return DeliveryFailure {
                then: Then::Later(Duration::ZERO),
                error: why,
                code: String::new(),
                reason: if is_timeout { Reason::Timeout } else { Reason::Unreachable },
                is_strain: false,
            };
        }
    };
    let (reason, text) = (reason(&answer), answer.text());
    let Answer { status, retry_after, misfit, .. } = answer;
    let later = || Then::Later(asked(retry_after.as_deref(), SystemTime::now()));
    let then = match reason {
        Reason::Refused => Then::Smaller,
        Reason::Credentials | Reason::Unsupported => Then::Hold,
        _ => later(),
    };
    let hint = match status {
        status if status.is_redirection() => "; redirects are not followed: give the URL that it leads to",
        StatusCode::GONE => "; the receiver wants no more: remove the sink, or correct its URL",
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => "; correct `http_proxy`",
        _ => "",
    };
    let said = match misfit {
        Some(misfit) => format!(", and {misfit}"),
        None if text.is_empty() => String::new(),
        None => format!(": {text}"),
    };
    DeliveryFailure {
        then,
        error: format!("{target} answered {status}{said}{hint}"),
        code: status.as_u16().to_string(),
        reason,
        is_strain: false,
    }
}

/// The class of an answer that does not mean that something was taken.
fn reason(answer: &Answer) -> Reason {
    match answer.status {
        _ if answer.misfit.is_some() => Reason::Error,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Reason::Credentials
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE | StatusCode::NOT_IMPLEMENTED => {
            Reason::Unsupported
        }
        StatusCode::REQUEST_TIMEOUT => Reason::Timeout,
        StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Reason::Busy,
        status if status.is_client_error() => Reason::Refused,
        status if status.is_server_error() => Reason::Error,
        _ => Reason::Unsupported,
    }
}

/// The wait that a receiver asks for, in seconds or as a date; zero where it asks for none.
fn asked(retry_after: Option<&str>, now: SystemTime) -> Duration {
    let Some(text) = retry_after.map(str::trim) else { return Duration::ZERO };
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok().and_then(|at| at.duration_since(now).ok()).unwrap_or_default(),
    };
    wait.min(RETRY_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn judged(status: u16, retry_after: Option<&str>, body: &str) -> DeliveryFailure {
        let status = StatusCode::from_u16(status).expect("a status");
        let (retry_after, body) = (retry_after.map(str::to_owned), body.as_bytes().to_vec());
        let target = target::Target::parse("https://example.com/secret").expect("a URL");
        failure(&target, Ok(Answer { retry_after, body, ..Answer::of(status) }))
    }

    #[test]
    fn an_answer_means_what_the_table_says() {
        let later = Then::Later(Duration::ZERO);
        for (statuses, then, reason) in [
            (&[408_u16][..], later, Reason::Timeout),
            (&[425, 429, 503], later, Reason::Busy),
            (&[500, 502, 504, 507, 599], later, Reason::Error),
            (&[401, 403, 407], Then::Hold, Reason::Credentials),
            (&[301, 302, 304, 307, 308, 404, 405, 410, 501], Then::Hold, Reason::Unsupported),
            (&[400, 402, 406, 409, 413, 422, 451], Then::Smaller, Reason::Refused),
        ] {
            for status in statuses {
                let judged = judged(*status, None, "");
                assert_eq!((judged.then, judged.reason), (then, reason), "{status}");
                assert_eq!(judged.code, status.to_string());
                assert!(!judged.error.contains("secret"), "{}", judged.error);
            }
        }
    }

    #[test]
    fn a_person_is_told_what_was_answered_and_what_to_do() {
        let long = "x".repeat(1000);
        let cut = format!("https://example.com answered 400 Bad Request: {}", "x".repeat(200));
        for (status, body, says) in [
            (500, "no\u{1b}[31m disk", "https://example.com answered 500 Internal Server Error: no[31m disk"),
            (400, long.as_str(), cut.as_str()),
            (302, "", "answered 302 Found; redirects are not followed: give the URL that it leads to"),
            (410, "", "answered 410 Gone; the receiver wants no more: remove the sink, or correct its URL"),
            (407, "", "answered 407 Proxy Authentication Required; correct `http_proxy`"),
        ] {
            let told = judged(status, None, body).error;
            assert!(told.ends_with(says), "{told}");
        }
    }

    #[test]
    fn a_receiver_is_waited_for_as_long_as_it_asks_and_an_hour_at_most() {
        let then = |asked: &str| judged(503, Some(asked), "").then;
        for (text, wait) in [("7", 7), (" 90 ", 90), ("3600", 3600), ("3601", 3600), ("999999999999", 3600)] {
            assert_eq!(then(text), Then::Later(Duration::from_secs(wait)), "{text}");
        }
        for none in ["", "soon", "-7", "1.5", "Thu, 01 Jan 1970 00:00:00 GMT"] {
            assert_eq!(then(none), Then::Later(Duration::ZERO), "{none}");
        }
        let now = SystemTime::UNIX_EPOCH + 10_000 * HOUR;
        let date = |ahead: Duration| asked(Some(&httpdate::fmt_http_date(now + ahead)), now);
        assert_eq!((date(Duration::from_secs(42)), date(2 * HOUR)), (Duration::from_secs(42), HOUR));
    }
}
