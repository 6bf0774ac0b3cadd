//! The connection to the servers and the stream in them. Reconnects by itself, for as long as it takes; that it is away
//! and back is logged once each.

use std::{fs, future::ready, sync::Arc, time::Duration};

use async_nats::{
    Client, ConnectOptions, Event,
    jetstream::{
        Context,
        context::ContextBuilder,
        stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream},
    },
};

use tokio::sync::watch;

use super::{NatsSettings, refused};
use crate::controller::store::{StoreError, space::Room};

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);

/// How long an answer may take, that a message is stored included.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// How often a silent server is asked whether it is there; after two questions without an answer the connection is given
/// up.
const PING_INTERVAL: Duration = Duration::from_secs(10);

/// The longest pause between two attempts to connect again.
const RECONNECT_PAUSE_MAX: Duration = Duration::from_secs(4);

/// Messages that wait for the socket; beyond them senders wait, and their agents with them.
const WAITING_MAX: usize = 4096;

/// Messages whose acknowledgement is awaited at once, over all batches; beyond them senders wait.
const UNACKNOWLEDGED_MAX: usize = 16 * 1024;

/// For how long a stream that this program creates knows the names of its messages: several times the longest pause
/// between two attempts of an agent. A server needs some 100 bytes of memory for each message within it.
const DUPLICATES_WINDOW: Duration = Duration::from_secs(10 * 60);

/// A credentials file is a page at most.
const CREDENTIALS_BYTES_MAX: u64 = 64 * 1024;

/// An open connection.
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) context: Context,
    pub(super) stream: Stream,
    /// First part of every subject.
    pub(super) prefix: String,
    /// Changes whenever the connection is lost.
    pub(super) losses: watch::Receiver<u64>,
}

impl Connection {
    /// Connects and finds the stream, or with `create` makes it where there is none.
    pub(super) async fn open(settings: &NatsSettings, create: bool) -> Result<Connection, StoreError> {
        let (lost, losses) = watch::channel(0);
        let client = options(settings, lost)?.connect(settings.servers()).await.map_err(refused("connect to"))?;
        let context = ContextBuilder::new()
            .timeout(ANSWER_MAX)
            // What a lost connection has taken along must not stand in the way for long.
            .ack_timeout(ANSWER_MAX)
            .max_ack_inflight(UNACKNOWLEDGED_MAX)
            .backpressure_on_inflight(true)
            .build(client.clone());
        let stream = match create {
            true => {
                let stream = context.get_or_create_stream(config(settings)).await.map_err(refused("create"))?;
                check(&stream, settings);
                stream
            }
            false => context.get_stream(&settings.stream).await.map_err(|error| missing(settings, error))?,
        };
        Ok(Connection { client, context, stream, prefix: settings.prefix(), losses })
    }

    /// How full the stream is: by its own bound, or by that of the account, whichever is nearer. None where it has neither,
    /// or lets go of its oldest events to make room.
    pub(super) async fn room(&self) -> Result<Option<Room>, StoreError> {
        let info = self.stream.get_info().await.map_err(refused("read"))?;
        let bound = u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0);
        let of_stream = bound
            .filter(|_| info.config.discard == DiscardPolicy::New)
            .map(|total| Room { free: total.saturating_sub(info.state.bytes), total });
        // Not every server tells it, nor everybody.
        let account = self.context.query_account().await.ok();
        let of_account = account.and_then(|account| {
            let total = u64::try_from(account.limits.max_storage?).ok().filter(|bytes| *bytes > 0)?;
            Some(Room { free: total.saturating_sub(account.storage), total })
        });
        Ok([of_stream, of_account].into_iter().flatten().min_by_key(|room| room.free))
    }
}

fn missing(settings: &NatsSettings, error: async_nats::jetstream::context::GetStreamError) -> StoreError {
    use async_nats::jetstream::{ErrorCode, context::GetStreamErrorKind};
    match error.kind() {
        GetStreamErrorKind::JetStream(answer) if answer.error_code() == ErrorCode::STREAM_NOT_FOUND => {
            StoreError::MissingStream { stream: settings.stream.clone() }
        }
        _ => refused("find")(error),
    }
}

fn options(settings: &NatsSettings, lost: watch::Sender<u64>) -> Result<ConnectOptions, StoreError> {
    let mut options = ConnectOptions::new()
        .name("rodent-controller")
        .connection_timeout(CONNECT_MAX)
        .request_timeout(Some(ANSWER_MAX))
        .ping_interval(PING_INTERVAL)
        .client_capacity(WAITING_MAX)
        .max_reconnects(None)
        .reconnect_delay_callback(|attempts| {
            let doublings = u32::try_from(attempts).unwrap_or(u32::MAX).min(8);
            (Duration::from_millis(50) * 2u32.pow(doublings)).min(RECONNECT_PAUSE_MAX)
        })
        .event_callback(move |event| {
            match event {
                Event::Connected => tracing::info!("connected to the event stream"),
                Event::Disconnected => {
                    lost.send_modify(|losses| *losses += 1);
                    tracing::error!("the event stream is away; batches are refused until it is back")
                }
                other => tracing::debug!(event = %other, "event stream"),
            }
            ready(())
        });
    if let Some(ca) = &settings.ca {
        options = options.add_root_certificates(ca.clone());
    }
    let Some(path) = &settings.credentials else { return Ok(options) };
    let failed = |source| StoreError::Io { action: "read credentials", path: path.clone(), source: Arc::new(source) };
    let length = fs::metadata(path).map_err(failed)?.len();
    if length > CREDENTIALS_BYTES_MAX {
        return Err(failed(std::io::Error::other(format!("{length} bytes are no credentials"))));
    }
    let text = fs::read_to_string(path).map_err(failed)?;
    if text.contains("BEGIN NATS USER JWT") {
        return options.credentials(&text).map_err(failed);
    }
    Ok(match text.trim().split_once(':') {
        Some((user, password)) => options.user_and_password(user.to_owned(), password.to_owned()),
        None => options.token(text.trim().to_owned()),
    })
}

/// Everything is kept, in files, until an operator says otherwise.
fn config(settings: &NatsSettings) -> Config {
    Config {
        name: settings.stream.clone(),
        description: Some("events of Rodent agents".to_owned()),
        subjects: vec![format!("{}.*.*", settings.prefix())],
        retention: RetentionPolicy::Limits,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        duplicate_window: DUPLICATES_WINDOW,
        // Without a bound there is nothing to discard.
        max_bytes: settings.bytes.and_then(|bytes| i64::try_from(bytes).ok()).unwrap_or(-1),
        discard: DiscardPolicy::New,
        ..Config::default()
    }
}

/// A stream that somebody else has made is taken as it is.
fn check(stream: &Stream, settings: &NatsSettings) {
    let config = &stream.cached_info().config;
    if config.duplicate_window < DUPLICATES_WINDOW {
        tracing::warn!(
            stream = settings.stream,
            window = ?config.duplicate_window,
            "the stream forgets the names of its messages early; repeats after that take space"
        );
    }
    if config.discard == DiscardPolicy::Old && (config.max_bytes > 0 || config.max_messages > 0) {
        tracing::warn!(
            stream = settings.stream,
            "the stream lets go of its oldest events when it is full: one node can push out those of all"
        );
    }
    if config.storage != StorageType::File {
        tracing::warn!(stream = settings.stream, "the stream is kept in memory; its events do not survive the servers");
    }
}
