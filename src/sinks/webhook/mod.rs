//! The webhook: the sink that is a URL. Each event that its filter takes is posted, in its order, and is taken when the
//! receiver answers 2xx.
//!
//! Gives nothing of the node but events. Always holds: an event has one identifier, its own, however often it is sent; a
//! record of what this consumer lost passes every filter; what the receiver answers moves nothing but this consumer's cursor.

mod client;
mod credentials;
mod format;
mod settings;
mod signature;
mod target;

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
    header::{AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT},
};

use self::{
    client::{Answer, Client, NoAnswer},
    credentials::{Credentials, Proof},
    format::{Format, Letter},
    settings::Settings,
};
use super::{Configured, Consumer, SinkRun, SinkSpec};
use crate::{
    consumers::{Batch, DeliveryFailure, Pacing, Packing, Reason, Sink, Taken, Then, Threshold, Verdict},
    event::{EventView, Filter, loss_record_consumer},
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
        let webhook = Webhook::new(*self, &consumer.name, &consumer.node_id);
        consumer.deliver(webhook, threshold, pacing)
    }
}

/// The sink.
struct Webhook {
    letters: Letters,
    client: Arc<Client>,
    credentials: Credentials,
    proof: Proof,
    timeout: Duration,
}

/// Which events become letters, and how.
#[derive(Clone)]
struct Letters {
    format: Format,
    filter: Arc<Filter>,
    node: Arc<str>,
    consumer: Arc<str>,
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
}

impl Packing for Letters {
    type Message = Sendings;
    type Packer = ();

    fn pack(&self, batch: &Batch<Letters>, (): &mut (), _: i64) -> io::Result<Sendings> {
        let run = batch.run().plain()?;
        let mut letters = Vec::new();
        for placed in run.events() {
            // The log holds only what was an event when it was accepted.
            let event = EventView::decode(&placed.event).map_err(io::Error::other)?;
            let names = loss_record_consumer(&event).is_some_and(|consumer| consumer == *self.consumer);
            if names || self.filter.matches(&event) {
                letters.push(self.format.letter(&event, &self.node));
            }
        }
        Ok(Sendings { letters: letters.into(), arrived: Arc::default() })
    }

    fn wire_bytes(message: &Sendings) -> usize {
        message.letters.iter().map(|letter| letter.body.len()).sum()
    }
}

impl Webhook {
    fn new(settings: Settings, name: &str, node: &str) -> Webhook {
        let Settings { target, format, filter, secret_files, bearer_file, ca_file, is_insecure, timeout, .. } =
            settings;
        Webhook {
            letters: Letters { format, filter: Arc::new(filter), node: node.into(), consumer: name.into() },
            client: Arc::new(Client::new(target, is_insecure)),
            credentials: Credentials::new(secret_files, bearer_file, ca_file),
            proof: Proof::default(),
            timeout,
        }
    }
}

impl Sink for Webhook {
    type Packing = Letters;
    type Outcome = Result<(), Result<Answer, NoAnswer>>;

    async fn open(&mut self, pulse: &Pulse) -> Result<Letters, DeliveryFailure> {
        self.proof = pulse.await_disk(self.credentials.read()).await.map_err(|error| DeliveryFailure {
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
        Sendings { letters, arrived }: Sendings,
    ) -> impl Future<Output = Self::Outcome> + Send + 'static {
        let (client, proof, timeout) = (Arc::clone(&self.client), self.proof.clone(), self.timeout);
        async move {
            for letter in letters.iter().skip(arrived.load(Ordering::Relaxed)) {
                let request = request(&client, letter, &proof).map_err(Err)?;
                match client.ask(request, proof.tls.as_ref(), timeout).await {
                    Ok(answer) if answer.status.is_success() => _ = arrived.fetch_add(1, Ordering::Relaxed),
                    other => return Err(other),
                }
            }
            Ok(())
        }
    }

    fn judge(&mut self, _: u64, _: u32, outcome: Self::Outcome) -> Verdict {
        match outcome {
            Ok(()) => Ok(Taken::default()),
            Err(outcome) => Err(failure(self.client.target(), outcome)),
        }
    }

    async fn changed(&mut self) {
        self.credentials.changed().await;
    }
}

fn request(client: &Client, letter: &Letter, proof: &Proof) -> Result<Request<String>, NoAnswer> {
    let target = client.target();
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
        request = request.header(*name, value);
    }
    if !proof.keys.is_empty() {
        request =
            request.header("webhook-signature", signature::signatures(&proof.keys, &letter.id, now, &letter.body));
    }
    if let Some(bearer) = &proof.bearer {
        request = request.header(AUTHORIZATION, format!("Bearer {}", bearer.reveal()));
    }
    request.body(letter.body.clone()).map_err(|error| NoAnswer::local(&error))
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
