//! The webhook: the sink that is a URL. Each event that its filter takes is posted, in its order, and is taken when the
//! receiver answers 2xx; or, with `tell: changes`, what is wrong and what is well again ([`teller`]).
//!
//! Gives nothing of the node but events. Always holds: an event has one identifier, its own, however often it is sent; a
//! record of what this consumer lost passes every filter; what the receiver answers moves nothing but this consumer's cursor.

mod client;
mod credentials;
mod format;
mod settings;
mod signature;
mod target;
mod teller;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{
    Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT},
};
use tokio::time::Instant;

use self::{
    client::{Answer, Client, NoAnswer},
    credentials::{Credentials, Proof},
    format::{Format, Letter},
    settings::Settings,
    teller::Teller,
};
use super::{Configured, Consumer, SinkRun, SinkSpec};
use crate::{
    consumers::{Batch, DeliveryFailure, Pacing, Packing, Reason, Sink, Taken, Then, Threshold, Verdict},
    event::{EventView, Filter, Head, loss_record_consumer, may_be_loss_record},
    event_log::Lane,
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
    letters: Letters,
    courier: Courier,
    credentials: Credentials,
    teller: Option<Arc<Teller>>,
}

/// Which events become letters, and how.
#[derive(Clone)]
struct Letters {
    format: Format,
    filter: Arc<Filter>,
    node: Arc<str>,
    consumer: Arc<str>,
    /// Whether states are told of, and no events but what this consumer has lost.
    is_of_states: bool,
}

impl PartialEq for Letters {
    /// Nothing of it changes while a webhook runs.
    fn eq(&self, _: &Letters) -> bool {
        true
    }
}

/// The letters of a batch, and how many of them have arrived already.
#[derive(Clone)]
struct Sendings {
    letters: Arc<[Letter]>,
    arrived: Arc<AtomicUsize>,
    /// Lane and sequence behind the last event.
    until: (Lane, u64),
}

impl Packing for Letters {
    type Message = Sendings;
    type Packer = ();

    fn pack(&self, batch: &Batch<Letters>, (): &mut (), _: i64) -> io::Result<Sendings> {
        let run = batch.run().plain()?;
        let mut events = Vec::new();
        for placed in run.events() {
            // The log holds only what was an event when it was accepted.
            let head = Head::read(&placed.event).map_err(io::Error::other)?;
            if !may_be_loss_record(&head) && (self.is_of_states || !self.filter.may_match(&head)) {
                continue;
            }
            let event = EventView::decode(&placed.event).map_err(io::Error::other)?;
            let names = loss_record_consumer(&event).is_some_and(|consumer| consumer == *self.consumer);
            if names || !self.is_of_states && self.filter.matches(&event) {
                events.push(event);
            }
        }
        Ok(Sendings {
            letters: self.format.letters(&events, &self.node).into(),
            arrived: Arc::default(),
            until: (batch.lane, batch.last_sequence + 1),
        })
    }

    fn wire_bytes(message: &Sendings) -> usize {
        message.letters.iter().map(|letter| letter.body.len()).sum()
    }
}

/// Why a letter was not taken: what was answered, or why nothing was.
type NotTaken = Result<Answer, NoAnswer>;

/// Takes letters to the receiver. Cheap to copy.
#[derive(Clone)]
struct Courier {
    client: Arc<Client>,
    proof: Proof,
    timeout: Duration,
    format: Format,
    headers: Arc<[(HeaderName, HeaderValue)]>,
}

impl Courier {
    /// # Errors
    /// When the receiver does not answer 2xx.
    async fn send(&self, letter: &Letter) -> Result<(), NotTaken> {
        let request = self.request(letter).map_err(Err)?;
        match self.client.ask(request, self.proof.tls.as_ref(), self.timeout).await {
            Ok(answer) if answer.status.is_success() => Ok(()),
            other => Err(other),
        }
    }

    fn request(&self, letter: &Letter) -> Result<Request<String>, NoAnswer> {
        let (target, proof) = (self.client.target(), &self.proof);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&target.path)
            .header(HOST, target.authority())
            .header(USER_AGENT, concat!("rodent/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, letter.content_type)
            .header("webhook-id", &letter.id)
            .header("webhook-timestamp", now);
        for (name, value) in &letter.headers {
            request = request.header(name, value);
        }
        for (name, value) in self.headers.iter() {
            request = request.header(name, value);
        }
        for (name, secret) in &proof.headers {
            request = request.header(name, secret.reveal());
        }
        if let Some(bearer) = &proof.bearer {
            request = request.header(AUTHORIZATION, format!("Bearer {}", bearer.reveal()));
        }
        let mut body = letter.body.clone();
        match (&self.format, proof.keys.as_slice()) {
            (_, []) => {}
            (Format::Signed(signed), [key, ..]) => {
                request = request.header(format!("{}-Signature", signed.prefix), signature::of_body(key, &body));
            }
            (Format::PagerDuty, [key, ..]) => {
                let key = serde_json::Value::from(key.reveal());
                body = format!("{{\"routing_key\":{key},{}", body.get(1..).unwrap_or_default());
            }
            (_, keys) => {
                request = request.header("webhook-signature", signature::signatures(keys, &letter.id, now, &body));
            }
        }
        request.body(body).map_err(|error| NoAnswer::local(&error))
    }
}

impl Webhook {
    fn new(settings: Settings, consumer: &Consumer) -> Webhook {
        let Settings { target, format, filter, places, is_insecure, timeout, headers, rules, .. } = settings;
        let (filter, node): (Arc<Filter>, Arc<str>) = (Arc::new(filter), consumer.node_id.as_str().into());
        let teller = rules.map(|rules| {
            let to = (Arc::clone(&filter), format.clone(), Arc::clone(&node));
            let (states, now) = (Arc::clone(&consumer.states), Arc::clone(&consumer.now));
            Arc::new(Teller::new(rules, &consumer.cursor.blob(), to, states, now))
        });
        Webhook {
            letters: Letters {
                format: format.clone(),
                filter,
                node,
                consumer: consumer.name.as_str().into(),
                is_of_states: teller.is_some(),
            },
            courier: Courier {
                client: Arc::new(Client::new(target, is_insecure)),
                proof: Proof::default(),
                timeout,
                format,
                headers: headers.into(),
            },
            credentials: Credentials::new(places),
            teller,
        }
    }

    /// What is kept with the cursor, for a sink that tells of states.
    fn told(&self) -> Option<Vec<u8>> {
        self.teller.as_ref().map(|teller| teller.told())
    }
}

impl Sink for Webhook {
    type Packing = Letters;
    type Outcome = Result<(), NotTaken>;

    async fn open(&mut self, pulse: &Pulse) -> Result<Letters, DeliveryFailure> {
        self.courier.proof = pulse.await_disk(self.credentials.read()).await.map_err(|error| DeliveryFailure {
            then: Then::Later(Duration::ZERO),
            error,
            code: String::new(),
            reason: Reason::Credentials,
            is_strain: false,
        })?;
        Ok(self.letters.clone())
    }

    /// In order.
    fn window(&self) -> usize {
        1
    }

    fn deliver(
        &mut self,
        Sendings { letters, arrived, until }: Sendings,
    ) -> impl Future<Output = Self::Outcome> + Send + 'static {
        let (courier, teller) = (self.courier.clone(), self.teller.clone());
        async move {
            for letter in letters.iter().skip(arrived.load(Ordering::Relaxed)) {
                courier.send(letter).await?;
                arrived.fetch_add(1, Ordering::Relaxed);
            }
            match teller {
                Some(teller) => teller.tell_after(until, &courier).await,
                None => Ok(()),
            }
        }
    }

    fn judge(&mut self, _: u64, _: u32, outcome: Self::Outcome) -> Verdict {
        match outcome {
            Ok(()) => Ok(Taken { blob: self.told(), ..Taken::default() }),
            Err(outcome) => Err(failure(self.courier.client.target(), outcome)),
        }
    }

    fn due(&self) -> Option<Instant> {
        self.teller.as_ref().and_then(|teller| teller.due())
    }

    async fn on_due(&mut self, _: &Pulse) -> Result<Option<Vec<u8>>, DeliveryFailure> {
        let Some(teller) = self.teller.clone() else { return Ok(None) };
        match teller.tell(&self.courier).await {
            Ok(()) => Ok(self.told()),
            Err(outcome) => Err(failure(self.courier.client.target(), outcome)),
        }
    }

    async fn changed(&mut self) {
        self.credentials.changed().await;
    }
}

/// What an answer that is not 2xx means, or none at all.
///
/// | answer | meaning |
/// |---|---|
/// | none; 408, 425, 429, 5xx | again, later; not before it says (`retry-after`, at most an hour) |
/// | 3xx, 401, 403, 404, 405, 407, 410, 501 | hold: somebody has to act |
/// | every other 4xx, 413 among them | the event itself is refused |
fn failure(target: &target::Target, outcome: Result<Answer, NoAnswer>) -> DeliveryFailure {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(NoAnswer { is_timeout, why }) => {
            return DeliveryFailure {
                then: Then::Later(Duration::ZERO),
                error: why,
                code: String::new(),
                reason: if is_timeout { Reason::Timeout } else { Reason::Unreachable },
                is_strain: false,
            };
        }
    };
    let Answer { status, retry_after, text } = answer;
    let later = || Then::Later(asked(retry_after.as_deref(), SystemTime::now()));
    let (then, reason) = match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            (Then::Hold, Reason::Credentials)
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE | StatusCode::NOT_IMPLEMENTED => {
            (Then::Hold, Reason::Unsupported)
        }
        StatusCode::REQUEST_TIMEOUT => (later(), Reason::Timeout),
        StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            (later(), Reason::Busy)
        }
        status if status.is_client_error() => (Then::Smaller, Reason::Refused),
        status if status.is_server_error() => (later(), Reason::Error),
        _ => (Then::Hold, Reason::Unsupported),
    };
    let hint = match status {
        status if status.is_redirection() => "; redirects are not followed: give the URL that it leads to",
        StatusCode::GONE => "; the receiver wants no more: remove the sink, or correct its URL",
        _ => "",
    };
    let said = if text.is_empty() { String::new() } else { format!(": {text}") };
    DeliveryFailure {
        then,
        error: format!("{target} answered {status}{said}{hint}"),
        code: status.as_u16().to_string(),
        reason,
        is_strain: false,
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
