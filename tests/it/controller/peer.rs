//! A controller on the loopback and an agent's end of the connection, with nothing of the agent in it.

use std::{net::SocketAddr, sync::Arc, time::SystemTime};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use rodent::{
    controller::{
        server::{Server, ServerSettings},
        store::{EventPage, MemoryStore, Query, Store},
        token::{Keys, NodeIdentity, SigningSecret, issue},
    },
    event::Filter,
    schema::{
        Payload,
        events::{Event, EventLevel, StoragePoolPayload},
        wire::{EventBatch, EventBatchResponse, rodent_service_client::RodentServiceClient},
    },
};
use tokio::{sync::oneshot, task::JoinHandle};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};

/// A controller that serves until it is stopped.
pub(crate) struct Controller {
    pub(crate) address: SocketAddr,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) store: Arc<dyn Store>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Controller {
    pub(crate) async fn start(store: Arc<dyn Store>) -> Controller {
        Controller::with(store, |settings| settings).await
    }

    /// With other settings than the defaults.
    pub(crate) async fn with(
        store: Arc<dyn Store>,
        change: impl FnOnce(ServerSettings) -> ServerSettings,
    ) -> Controller {
        let listen = "127.0.0.1:0".parse().expect("an address");
        let settings = change(ServerSettings::new(listen, Keys::hs256(&secret()), Arc::clone(&store)));
        let server = Server::bind(settings).await.expect("a free port");
        let (address, http) = (server.address(), server.http_address());
        let (stop, stopped) = oneshot::channel::<()>();
        #[expect(clippy::disallowed_methods, reason = "the test owns this task and waits for it")]
        let served = tokio::spawn(async move {
            let told = async { stopped.await.unwrap_or(()) };
            server.run(told).await.expect("served until told to stop");
        });
        Controller { address, http, store, stop, served }
    }

    pub(crate) async fn in_memory() -> Controller {
        Controller::start(Arc::new(MemoryStore::default())).await
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).expect("it serves");
        self.served.await.expect("a clean end");
    }

    /// An agent's connection.
    pub(crate) async fn agent(&self, token: &str) -> Agent {
        Agent::connect(self.address, token).await
    }

    /// The connection of the agent of this node.
    pub(crate) async fn agent_named(&self, node: String) -> Agent {
        self.agent(&token(&node)).await
    }

    pub(crate) async fn stored(&self) -> EventPage {
        let query = Query { filter: Filter::default(), from: i64::MIN, node: None, since: None, limit: usize::MAX };
        self.store.query(&query).await.expect("a page")
    }

    pub(crate) async fn stored_ids(&self) -> Vec<String> {
        self.stored().await.events.iter().map(|event| event.view().expect("an event").id().to_owned()).collect()
    }
}

/// The agent's end.
#[derive(Clone)]
pub(crate) struct Agent {
    channel: Channel,
    token: String,
    compression: Option<CompressionEncoding>,
}

impl Agent {
    pub(crate) async fn connect(address: SocketAddr, token: &str) -> Agent {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
        Agent::on(endpoint.connect().await.expect("a connection"), token)
    }

    /// On a connection that is there.
    pub(crate) fn on(channel: Channel, token: &str) -> Agent {
        Agent { channel, token: token.to_owned(), compression: None }
    }

    pub(crate) fn compressing(self, encoding: CompressionEncoding) -> Agent {
        Agent { compression: Some(encoding), ..self }
    }

    pub(crate) async fn send(&self, batch: &EventBatch) -> Result<EventBatchResponse, Status> {
        self.send_bytes(batch.encode_to_vec()).await
    }

    /// SendEvents with these bytes as the request.
    pub(crate) async fn send_bytes(&self, request: Vec<u8>) -> Result<EventBatchResponse, Status> {
        let mut grpc = Grpc::new(self.channel.clone());
        if let Some(encoding) = self.compression {
            grpc = grpc.send_compressed(encoding);
        }
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/rodent.RodentService/SendEvents");
        let answer = grpc.unary(self.request(Bytes::from(request)), path, Raw).await?;
        Ok(EventBatchResponse::decode(answer.into_inner()).expect("an answer"))
    }

    pub(crate) fn client(&self) -> RodentServiceClient<Channel> {
        RodentServiceClient::new(self.channel.clone())
    }

    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if !self.token.is_empty() {
            let value = format!("Bearer {}", self.token).parse().expect("a header");
            request.metadata_mut().insert("authorization", value);
        }
        request
    }
}

/// Bytes as they are, both ways.
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }
    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

pub(crate) const SECRET: &str = "the secret of a controller under test";

fn secret() -> SigningSecret {
    SigningSecret::from_bytes(SECRET.as_bytes().to_vec()).expect("long enough")
}

/// A token for a node, valid for an hour.
pub(crate) fn token(node: &str) -> String {
    token_until(node, SECRET, 3600)
}

/// A token that is valid for so many seconds from now.
pub(crate) fn token_until(node: &str, secret: &str, seconds: i64) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs();
    let expires_at = i64::try_from(now).expect("before the end of time") + seconds;
    let identity = NodeIdentity { node: node.into(), organisation: "acme".into(), private: false };
    let secret = SigningSecret::from_bytes(secret.as_bytes().to_vec()).expect("long enough");
    issue(&secret, &identity, Some(expires_at)).expect("a token")
}

pub(crate) fn event(id: &str) -> Event {
    let pool = StoragePoolPayload { pool_name: "tank".into(), ..Default::default() };
    Event {
        event_id: id.into(),
        level: EventLevel::Info as i32,
        timestamp: 1_800_000_000_000,
        source: "storage".into(),
        event_payload: Some(pool.into_event_payload()),
        ..Default::default()
    }
}

/// Events from the sequence `first` on in the lane `routine` of the epoch `e1`; their identifiers are `n<sequence>`.
pub(crate) fn batch(first: u64, count: u64) -> EventBatch {
    EventBatch {
        events: (first..first + count).map(|sequence| event(&format!("n{sequence}"))).collect(),
        batch_id: format!("e1-{first}"),
        lane: "routine".into(),
        log_epoch: "e1".into(),
        first_sequence: first,
        last_sequence: first + count - 1,
        ..Default::default()
    }
}
