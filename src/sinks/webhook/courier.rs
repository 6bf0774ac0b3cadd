//! Takes what is to be said to the receiver, in its format; and to another one, where that has taken nothing for long
//! (`fallback`).
//!
//! Always holds: something is taken when one of the two has answered 2xx, and then once; the first is tried again every
//! [`PROBE_INTERVAL`], and has all of it from its first answer on.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use hyper::{
    Request,
    header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue},
};
use tokio::time::Instant;

use super::{
    answer::{Answer, NoAnswer},
    body::{self, Whole},
    client::Client,
    connector::Connector,
    credentials::{Credentials, Proof},
    expectation::Expectation,
    fields::Fields,
    format::{Format, Letter},
    is_refusal,
    said::Said,
    settings::Settings,
    signature::{self, Key},
    unix_ms,
};
use crate::{consumers::ConsumerState, lock::lock, order::Sorted as _, sinks::NodeName};

/// How often a receiver is tried whose place another one has taken.
const PROBE_INTERVAL: Duration = Duration::from_secs(60);

/// A part of a URL that is at least so long may be a secret by itself.
const SECRET_BYTES_MIN: usize = 16;
/// Stands where a secret would.
const HIDDEN: &str = "…";

/// Why something was not taken: what was answered, or why nothing was.
pub(super) type NotTaken = Result<Answer, NoAnswer>;

/// Of one receiver. Cheap to copy.
#[derive(Clone)]
pub(super) struct Courier {
    pub(super) client: Arc<Client>,
    credentials: Credentials,
    proof: Proof,
    timeout: Duration,
    pub(super) format: Format,
    headers: Arc<[(HeaderName, HeaderValue)]>,
    fields: Arc<Fields>,
    is_compressed: bool,
    expectation: Arc<Expectation>,
    node: NodeName,
    fallback: Option<Arc<Fallback>>,
    /// Where it says that it posts, and whether that was taken.
    state: Option<ConsumerState>,
}

/// Who takes what the first has not taken for long.
struct Fallback {
    to: Courier,
    name: String,
    /// The first, as people may see it.
    receiver: String,
    after: Duration,
    first: Mutex<First>,
}

/// How the first does.
#[derive(Default)]
struct First {
    fails_since: Option<Instant>,
    /// Until then it is not tried.
    rests_until: Option<Instant>,
}

impl Courier {
    pub(super) fn new(settings: Settings, node: &NodeName) -> Courier {
        let Settings { target, format, places, is_insecure, timeout, headers, fallback, stand_in, .. } = settings;
        let Settings { fields, is_compressed, expectation, proxy, .. } = settings;
        let fallback = fallback.zip(stand_in).map(|(fallback, settings)| {
            let to = Courier::new(Settings { stand_in: None, ..*settings }, node);
            let receiver = target.to_string();
            Arc::new(Fallback { to, name: fallback.to, receiver, after: fallback.after, first: Mutex::default() })
        });
        Courier {
            client: Arc::new(Client::new(Connector::new(target, proxy, is_insecure))),
            credentials: Credentials::new(places),
            proof: Proof::default(),
            timeout,
            format,
            headers: headers.into(),
            fields: Arc::new(fields),
            is_compressed,
            expectation: Arc::new(expectation),
            node: node.clone(),
            fallback,
            state: None,
        }
    }

    /// Says of a consumer when something is posted for it.
    pub(super) fn telling(self, state: ConsumerState) -> Courier {
        Courier { state: Some(state), ..self }
    }

    /// Gets what it proves itself with.
    ///
    /// # Errors
    /// Why it has nothing to prove itself with.
    pub(super) async fn prepare(&mut self) -> Result<(), String> {
        self.proof = self.credentials.read().await?;
        Ok(())
    }

    /// Waits until what was not taken may be: other credentials, or the other one's turn. Cancel safe.
    pub(super) async fn changed(&self) {
        let turn = self.fallback.as_ref().and_then(|fallback| fallback.turn());
        tokio::select! {
            () = self.credentials.changed() => {}
            () = tokio::time::sleep_until(turn.unwrap_or_else(Instant::now)), if turn.is_some() => {}
        }
    }

    /// Takes all of this in one letter. `now` is in Unix milliseconds.
    ///
    /// # Errors
    /// When it was not taken.
    pub(super) async fn take(&self, said: &[Said], now: i64) -> Result<(), NotTaken> {
        let Some(fallback) = &self.fallback else { return self.post(said, now).await.map(drop) };
        if !fallback.is_in_place() {
            return self.take_or_pass_on(fallback, said, now).await;
        }
        let Err(not_taken) = fallback.take(said, now).await else { return Ok(()) };
        let outcome = self.take_or_pass_on(fallback, said, now).await;
        outcome.map_err(|why| if may_be_taken(&not_taken) { perhaps_taken(why) } else { why })
    }

    async fn take_or_pass_on(&self, fallback: &Fallback, said: &[Said], now: i64) -> Result<(), NotTaken> {
        let outcome = self.post(said, now).await.map(drop);
        match &outcome {
            Err(not_taken) if !is_refusal(not_taken) => match fallback.fails() {
                // Who may have taken it is asked again, and told of its end, whatever the first has said.
                true => match fallback.take(said, now).await {
                    Err(Ok(answer)) if answer.may_be_taken => outcome.map_err(perhaps_taken),
                    Err(not_taken) if !may_be_taken(&not_taken) => outcome,
                    taken => taken,
                },
                false => outcome,
            },
            _ => {
                fallback.works();
                outcome
            }
        }
    }

    /// Takes it to this receiver; gives what that said last.
    ///
    /// # Errors
    /// When it was not taken.
    pub(super) async fn post(&self, said: &[Said], now: i64) -> Result<String, NotTaken> {
        let mut text = String::new();
        let letters = self.format.letters(&self.fields.of(said), &self.node, &self.proof.words, now);
        for (number, letter) in letters.iter().enumerate() {
            // Those before it are taken.
            let posted = self.post_letter(letter).await;
            let answer = posted.map_err(|why| if number > 0 { perhaps_taken(why) } else { why })?;
            text = format!("{} {}", answer.status, answer.text());
        }
        Ok(text)
    }

    async fn post_letter(&self, letter: &Letter) -> Result<Answer, NotTaken> {
        let request = self.request(letter).map_err(Err)?;
        let posts = |is_taken| self.state.iter().for_each(|state| state.posts(is_taken, unix_ms(SystemTime::now())));
        posts(false);
        let answer = self.client.ask(request, &self.proof.trust, self.timeout).await.map_err(Err)?;
        let judged = self.expectation.judge(&answer);
        let answer = self.without_secrets(answer);
        if let Err(misfit) = judged {
            // In words that quote no secret either.
            let misfit = misfit.map(|misfit| self.expectation.judge(&answer).err().flatten().unwrap_or(misfit));
            return Err(Ok(Answer { misfit, ..answer }));
        }
        posts(true);
        Ok(answer)
    }

    /// What a receiver says, without what it may repeat of the question and nobody is to see: path and query, and what the node
    /// proves itself with.
    fn without_secrets(&self, answer: Answer) -> Answer {
        let Proof { keys, authorization, headers, words, .. } = &self.proof;
        let path = self.client.target().path.as_str();
        let without_query = path.split_once('?').map(|(path, _)| path);
        // However the rest of it is escaped.
        let parts = path.split(['/', '?', '&', '=']).filter(|part| part.len() >= SECRET_BYTES_MIN);
        let of_headers = headers.iter().map(|(_, secret)| secret.reveal());
        let of_words = words.iter().map(|(_, secret)| secret.reveal());
        // `Bearer` in front of it is none.
        let tokens = authorization.iter().filter_map(|secret| Some(secret.reveal().split_once(' ')?.1));
        let keys: Vec<String> = keys.iter().map(Key::reveal).collect();
        let keys = keys.iter().map(String::as_str);
        let all = [path].into_iter().chain(without_query).chain(parts).chain(of_headers).chain(of_words);
        let all = all.chain(tokens).chain(keys);
        let mut hidden: Vec<&str> = all.filter(|secret| !matches!(*secret, "" | "/")).collect();
        // What is a part of another one comes behind it.
        hidden.order_by_key(|secret| std::cmp::Reverse(secret.len()));
        let said = String::from_utf8_lossy(&answer.body).into_owned();
        let body = hidden.iter().fold(said, |said, secret| said.replace(*secret, HIDDEN)).into_bytes();
        Answer { body, ..answer }
    }

    fn request(&self, letter: &Letter) -> Result<Request<Whole>, NoAnswer> {
        let proof = &self.proof;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let mut request = self
            .client
            .request(self.format.method())
            .header(CONTENT_TYPE, letter.content_type.as_ref())
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
        if let Some(authorization) = &proof.authorization {
            request = request.header(AUTHORIZATION, authorization.reveal());
        }
        let mut body = letter.body.clone().into_bytes();
        if let (Format::PagerDuty, [key, ..]) = (&self.format, proof.keys.as_slice()) {
            let key = serde_json::Value::from(key.reveal());
            body = format!("{{\"routing_key\":{key},{}", letter.body.get(1..).unwrap_or_default()).into_bytes();
        }
        // As it reads: compressed it goes over the wire, and the receivers' libraries verify what their server has unpacked.
        match (&self.format, proof.keys.as_slice()) {
            (_, []) | (Format::PagerDuty, _) => {}
            (Format::Signed(signed), [key, ..]) => {
                request = request.header(format!("{}-Signature", signed.prefix), signature::of_body(key, &body));
            }
            (_, keys) => {
                request = request.header("webhook-signature", signature::signatures(keys, &letter.id, now, &body));
            }
        }
        if self.is_compressed {
            request = request.header(CONTENT_ENCODING, "gzip");
            body = body::gzip(&body).map_err(|error| NoAnswer::local(&error))?;
        }
        request.body(Whole::new(body)).map_err(|error| NoAnswer::local(&error))
    }
}

/// Whether somebody has perhaps taken it all the same, or some of it.
pub(super) fn may_be_taken(not_taken: &NotTaken) -> bool {
    match not_taken {
        Ok(answer) => answer.may_be_taken,
        Err(why) => why.may_be_taken,
    }
}

fn perhaps_taken(not_taken: NotTaken) -> NotTaken {
    match not_taken {
        Ok(answer) => Ok(Answer { may_be_taken: true, ..answer }),
        Err(why) => Err(NoAnswer { may_be_taken: true, ..why }),
    }
}

impl Fallback {
    async fn take(&self, said: &[Said], now: i64) -> Result<(), NotTaken> {
        let mut to = self.to.clone();
        to.prepare().await.map_err(|why| Err(NoAnswer::new(why)))?;
        to.post(said, now).await.map(drop)
    }

    fn is_in_place(&self) -> bool {
        lock(&self.first).rests_until.is_some_and(|until| Instant::now() < until)
    }

    /// The first was tried in vain; gives whether it has failed for long enough.
    fn fails(&self) -> bool {
        let (mut first, now) = (lock(&self.first), Instant::now());
        let since = *first.fails_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.after {
            return false;
        }
        if first.rests_until.replace(now + PROBE_INTERVAL).is_none() {
            tracing::warn!(
                receiver = %self.receiver,
                "a receiver has taken nothing for {}; what is for it goes to the sink {} until it does",
                humantime::format_duration(self.after),
                self.name
            );
        }
        true
    }

    fn works(&self) {
        let first = std::mem::take(&mut *lock(&self.first));
        if first.rests_until.is_some() {
            tracing::info!(
                receiver = %self.receiver,
                "a receiver takes what is for it again; nothing more of it goes to the sink {}",
                self.name
            );
        }
    }

    /// When the other one's turn comes, while the first fails and it has not come yet.
    fn turn(&self) -> Option<Instant> {
        let first = lock(&self.first);
        first.fails_since.filter(|_| first.rests_until.is_none()).map(|since| since + self.after)
    }
}

#[cfg(test)]
mod tests;
