//! The desk where people decide about dead letters: look at them, have them sent again, or throw them away.
//!
//! Always holds: an event that is sent again is durable in the log before its letter goes, so what ends in between sends it
//! twice and never not at all; what is thrown away is told by a durable event before it is gone. One decision at a
//! time. A request that names a letter that is not there does nothing.

use bytes::Bytes;
use prost::Message as _;
use tokio::sync::Mutex;
use tonic::Status;

use crate::{
    dead_letters::{DeadLetterError, DeadLetters, LETTERS_BYTES_MAX, LETTERS_MAX, Letter, LetterId, LetterName},
    event::{EVENT_BYTES_MAX, Level, Metadata},
    event_log::{APPENDED_AGAIN, Draft, EventLog, Lane, LogError},
    pipeline::{EmitError, Emitter, Origin},
    schema::{
        events::{Event, SystemHostPayload, system_host_payload::SystemHostOperation},
        local::{
            ListDeadLettersRequest, ListDeadLettersResponse, ListedDeadLetter, PurgeDeadLettersRequest,
            PurgeDeadLettersResponse, RetryDeadLettersRequest, RetryDeadLettersResponse,
        },
    },
    telemetry::ErrorChain,
};

/// The most letters that a request may name.
const NAMES_MAX: usize = 1_000;

/// Letters of one page, and bytes of their files but for the last.
const PAGE_LETTERS_MAX: usize = 256;
const PAGE_BYTES_MAX: u64 = 256 * 1024;

/// Letters that share one commit when they are sent again; so many are in memory at once, and may be sent twice.
const GROUP_LETTERS_MAX: usize = 64;

/// Letters that the event of a purge names; of the others it gives the number.
const TOLD_MAX: usize = 20;

pub(super) struct Desk {
    letters: DeadLetters,
    log: EventLog,
    emitter: Emitter,
    /// Held by who decides.
    deciding: Mutex<()>,
}

impl Desk {
    pub(super) fn new(letters: DeadLetters, log: EventLog, emitter: Emitter) -> Desk {
        Desk { letters, log, emitter, deciding: Mutex::new(()) }
    }

    /// A page of letters.
    pub(super) async fn list(&self, request: ListDeadLettersRequest) -> Result<ListDeadLettersResponse, Status> {
        let wanted = Wanted::new(&request.ids, request.consumer)?;
        let after = match request.after.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|_| Status::invalid_argument(format!("`{text}` is no letter")))?),
        };
        self.blocking(move |letters| page(letters, &wanted, after.as_ref())).await
    }

    /// Puts events into the log anew, each into the lane that it stood in.
    pub(super) async fn retry(&self, request: RetryDeadLettersRequest) -> Result<RetryDeadLettersResponse, Status> {
        let _deciding = self.deciding.lock().await;
        let ids = self.chosen(&request.ids, request.all, request.consumer).await?;
        if !request.all {
            // Before anything is done.
            self.check(&ids).await?;
        }
        let mut answer = RetryDeadLettersResponse::default();
        for group in ids.chunks(GROUP_LETTERS_MAX) {
            let group = group.to_vec();
            let (letters, damaged) = self.blocking(move |letters| intact(letters, &group)).await?;
            self.append(&letters).await?;
            let done: Vec<_> = letters.iter().map(Letter::id).collect();
            answer.retried += self.blocking(move |letters| letters.remove(&done).map_err(status_of)).await?;
            answer.damaged += damaged;
        }
        Ok(answer)
    }

    /// Throws letters away.
    pub(super) async fn purge(
        &self,
        request: PurgeDeadLettersRequest,
        origin: Origin,
    ) -> Result<PurgeDeadLettersResponse, Status> {
        let _deciding = self.deciding.lock().await;
        let ids = self.chosen(&request.ids, request.all, request.consumer).await?;
        if !ids.is_empty() {
            self.tell(&ids, origin).await?;
        }
        let purged = self.blocking(move |letters| letters.remove(&ids).map_err(status_of)).await?;
        Ok(PurgeDeadLettersResponse { purged })
    }

    /// The letters that a request means.
    async fn chosen(&self, ids: &[String], all: bool, consumer: String) -> Result<Vec<LetterId>, Status> {
        if all != ids.is_empty() {
            return Err(Status::invalid_argument("name the letters, or take all of them; not both"));
        }
        let wanted = Wanted::new(ids, consumer)?;
        let chosen = self.blocking(move |letters| wanted.of(letters)).await?;
        Ok(chosen.into_iter().map(|(id, _)| id).collect())
    }

    /// Whether each of the letters can be read.
    async fn check(&self, ids: &[LetterId]) -> Result<(), Status> {
        let ids = ids.to_vec();
        self.blocking(move |letters| {
            ids.iter().try_for_each(|id| letters.get(id).map(drop)).map_err(|error| match error {
                DeadLetterError::Damaged { .. } => Status::invalid_argument(ErrorChain(&error).to_string()),
                error => status_of(error),
            })
        })
        .await
    }

    /// Appends the events and makes them durable.
    async fn append(&self, letters: &[Letter]) -> Result<(), Status> {
        let unavailable = |error: LogError| Status::unavailable(ErrorChain(&error).to_string());
        if let Some(reason) = self.log.degraded() {
            return Err(not_durable(&reason));
        }
        let mut next = [None; 2];
        for letter in letters {
            let (event, bytes) = again(letter);
            let draft = Draft {
                event: &bytes,
                level: event.level,
                category: event.category,
                timestamp: event.timestamp,
                kind: None,
            };
            let appended = self.log.append(letter.lane, &[draft]).await.map_err(unavailable)?;
            for (lane, next) in Lane::ALL.into_iter().zip(&mut next) {
                if lane == letter.lane {
                    *next = Some(appended);
                }
            }
        }
        for (lane, next) in Lane::ALL.into_iter().zip(next) {
            let Some(next) = next else { continue };
            if let Some(reason) = self.log.secure(lane, next).await.map_err(unavailable)? {
                return Err(not_durable(&reason));
            }
        }
        Ok(())
    }

    /// Emits that letters are thrown away, and by whom.
    async fn tell(&self, ids: &[LetterId], origin: Origin) -> Result<(), Status> {
        let unavailable = |error: EmitError| Status::unavailable(error.to_string());
        let mut detail: Vec<_> = ids.iter().take(TOLD_MAX).map(LetterId::to_string).collect();
        if ids.len() > TOLD_MAX {
            detail.push(format!("and {} more", ids.len() - TOLD_MAX));
        }
        let payload = SystemHostPayload {
            subject: "dead_letters".to_owned(),
            detail: detail.join(", "),
            count: u64::try_from(ids.len()).unwrap_or(u64::MAX),
            actor: origin.actor(),
            operation: SystemHostOperation::DeadLettersPurged.into(),
            ..Default::default()
        };
        let metadata: Metadata = [
            ("component", "dead_letters".to_owned()),
            ("action", "purge".to_owned()),
            ("rodent.uid", origin.uid.to_string()),
            ("rodent.gid", origin.gid.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        // For the record: it passes every level, and is the last to go.
        self.emitter.emit(Level::Essential, payload, metadata).await.map_err(unavailable)?;
        match self.emitter.flush().await.map_err(unavailable)? {
            Some(reason) => Err(not_durable(&reason)),
            None => Ok(()),
        }
    }

    /// Does something with the letters away from the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        act: impl FnOnce(&DeadLetters) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        let letters = self.letters.clone();
        let done = tokio::task::spawn_blocking(move || act(&letters)).await;
        done.map_err(|_| Status::internal("the dead letters could not be looked at"))?
    }
}

/// What a request says of the letters that it means.
struct Wanted {
    /// None for all.
    names: Vec<LetterName>,
    /// Empty for all.
    consumer: String,
}

impl Wanted {
    fn new(ids: &[String], consumer: String) -> Result<Wanted, Status> {
        if ids.len() > NAMES_MAX {
            return Err(Status::invalid_argument(format!("at most {NAMES_MAX} letters can be named at once")));
        }
        let name = |text: &String| text.parse().map_err(|why| Status::invalid_argument(format!("`{text}` is {why}")));
        Ok(Wanted { names: ids.iter().map(name).collect::<Result<_, _>>()?, consumer })
    }

    fn is_of_consumer(&self, consumer: &str) -> bool {
        self.consumer.is_empty() || self.consumer == consumer
    }

    /// Them, with the bytes of their files.
    fn of(&self, letters: &DeadLetters) -> Result<Vec<(LetterId, u64)>, Status> {
        let mut all = letters.list().map_err(status_of)?;
        all.retain(|(id, _)| self.is_of_consumer(&id.consumer));
        for name in &self.names {
            let named: Vec<_> = all.iter().filter(|(id, _)| name.names(id)).map(|(id, _)| id.to_string()).collect();
            match named.len() {
                1 => {}
                0 => return Err(Status::invalid_argument(format!("there is no dead letter {name}"))),
                _ => return Err(Status::invalid_argument(format!("{name} is one of {}", named.join(", ")))),
            }
        }
        if !self.names.is_empty() {
            all.retain(|(id, _)| self.names.iter().any(|name| name.names(id)));
        }
        Ok(all)
    }
}

fn page(letters: &DeadLetters, wanted: &Wanted, after: Option<&LetterId>) -> Result<ListDeadLettersResponse, Status> {
    let chosen = wanted.of(letters)?;
    let kept: Vec<_> = letters.counts().into_iter().filter(|count| wanted.is_of_consumer(&count.consumer)).collect();
    let mut answer = ListDeadLettersResponse {
        total: kept.iter().map(|count| count.letters).sum(),
        total_bytes: kept.iter().map(|count| count.bytes).sum(),
        consumer_max: LETTERS_MAX,
        consumer_bytes_max: LETTERS_BYTES_MAX,
        ..Default::default()
    };
    let mut page_bytes = 0;
    let mut rest = chosen.into_iter().filter(|(id, _)| after.is_none_or(|after| id > after)).peekable();
    while let Some((id, bytes)) = rest.next() {
        page_bytes += bytes;
        let (letter, damage) = match letters.get(&id) {
            Ok(letter) => (Some(letter.to_message()), String::new()),
            // Somebody else has decided about it meanwhile.
            Err(DeadLetterError::Absent(_)) => continue,
            Err(error) => (None, ErrorChain(&error).to_string()),
        };
        answer.letters.push(ListedDeadLetter { id: id.to_string(), letter, damage, bytes });
        if rest.peek().is_some() && (answer.letters.len() >= PAGE_LETTERS_MAX || page_bytes >= PAGE_BYTES_MAX) {
            answer.next = id.to_string();
            break;
        }
    }
    Ok(answer)
}

/// The letters that can be read, and how many of the others are damaged.
fn intact(letters: &DeadLetters, ids: &[LetterId]) -> Result<(Vec<Letter>, u64), Status> {
    let (mut intact, mut damaged) = (Vec::new(), 0);
    for id in ids {
        match letters.get(id) {
            Ok(letter) => intact.push(letter),
            Err(DeadLetterError::Damaged { .. }) => damaged += 1,
            Err(error) => return Err(status_of(error)),
        }
    }
    Ok((intact, damaged))
}

/// The event of a letter, and its bytes with the mark that they are put into the log again: by that the states know that it has
/// not happened again. Where the mark has no room it is missing.
fn again(letter: &Letter) -> (Event, Bytes) {
    // What cannot be decoded was put into the log all the same.
    let Ok(event) = Event::decode(letter.event.clone()) else { return (Event::default(), letter.event.clone()) };
    let metadata = [(APPENDED_AGAIN.to_owned(), "true".to_owned())].into();
    let mark = Event { metadata, ..Event::default() }.encode_to_vec();
    let has_room = letter.event.len() + mark.len() <= EVENT_BYTES_MAX;
    let bytes = match has_room && !event.metadata.contains_key(APPENDED_AGAIN) {
        true => Bytes::from([&letter.event[..], &mark[..]].concat()),
        false => letter.event.clone(),
    };
    (event, bytes)
}

fn not_durable(reason: &str) -> Status {
    Status::unavailable(format!("the letters are kept, since the event log cannot write: {reason}"))
}

fn status_of(error: DeadLetterError) -> Status {
    let words = ErrorChain(&error).to_string();
    match error {
        DeadLetterError::Absent(_) => Status::invalid_argument(words),
        _ => Status::unavailable(words),
    }
}
