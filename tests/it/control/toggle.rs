//! A controller whose control stream the test holds in its hands.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use rodent::schema::{
    events::event::EventPayload,
    wire::{
        EventBatch, EventBatchResponse, RegisterRequest, RegisterResponse, RodentRequest, ToggleRequest,
        rodent_service_server::{RodentService, RodentServiceServer},
    },
};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

const PATIENCE: Duration = Duration::from_secs(60);

/// What becomes of a control stream.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connect {
    Serve,
    Unknown,
}

pub(crate) struct Toggle {
    pub(crate) address: String,
    book: Arc<Book>,
    streams: mpsc::Receiver<Stream>,
}

struct Book {
    connect: Connect,
    opened: AtomicUsize,
    registered: AtomicUsize,
    /// A word for each event.
    events: Mutex<Vec<String>>,
    streams: mpsc::Sender<Stream>,
}

/// An open control stream; dropped, it is closed.
pub(crate) struct Stream {
    pub(crate) token: String,
    questions: mpsc::Sender<Result<ToggleRequest, Status>>,
    answers: Streaming<RodentRequest>,
}

impl Stream {
    pub(crate) async fn say(&mut self, question: ToggleRequest) {
        self.questions.send(Ok(question)).await.expect("the stream is open");
    }

    pub(crate) async fn hear(&mut self) -> RodentRequest {
        let heard = timeout(PATIENCE, self.answers.message()).await.expect("an answer in time");
        heard.expect("no error").expect("an answer")
    }

    pub(crate) async fn ask(&mut self, question: ToggleRequest) -> RodentRequest {
        self.say(question).await;
        self.hear().await
    }
}

impl Toggle {
    pub(crate) async fn start(connect: Connect) -> Toggle {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (opened, streams) = mpsc::channel(16);
        let book = Arc::new(Book {
            connect,
            opened: AtomicUsize::new(0),
            registered: AtomicUsize::new(0),
            events: Mutex::default(),
            streams: opened,
        });
        let service = RodentServiceServer::new(Service(Arc::clone(&book)));
        let serving = Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener));
        #[expect(clippy::disallowed_methods, reason = "a test owns its tasks until the runtime ends")]
        tokio::spawn(serving);
        Toggle { address, book, streams }
    }

    /// The next control stream that the agent opens.
    pub(crate) async fn stream(&mut self) -> Stream {
        timeout(PATIENCE, self.streams.recv()).await.expect("a stream in time").expect("a stream")
    }

    pub(crate) fn opened(&self) -> usize {
        self.book.opened.load(Ordering::SeqCst)
    }

    pub(crate) fn registered(&self) -> usize {
        self.book.registered.load(Ordering::SeqCst)
    }

    /// `config` for each change of the configuration, `sharing` for each event of that category, `other` for the rest.
    pub(crate) fn events(&self) -> Vec<String> {
        self.book.events.lock().expect("no panic").clone()
    }
}

struct Service(Arc<Book>);

#[tonic::async_trait]
impl RodentService for Service {
    async fn register(&self, _: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        self.0.registered.fetch_add(1, Ordering::SeqCst);
        Ok(Response::new(RegisterResponse { success: true, ..RegisterResponse::default() }))
    }

    type ConnectStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<ToggleRequest, Status>> + Send>>;

    async fn connect(
        &self,
        request: Request<Streaming<RodentRequest>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        self.0.opened.fetch_add(1, Ordering::SeqCst);
        if self.0.connect == Connect::Unknown {
            return Err(Status::unimplemented("no such method"));
        }
        let token = request.metadata().get("authorization").and_then(|token| token.to_str().ok()).unwrap_or_default();
        let (token, (questions, asked)) = (token.to_owned(), mpsc::channel(1));
        let stream = Stream { token, questions, answers: request.into_inner() };
        let _ = self.0.streams.send(stream).await;
        Ok(Response::new(Box::pin(ReceiverStream::new(asked))))
    }

    async fn send_events(&self, request: Request<EventBatch>) -> Result<Response<EventBatchResponse>, Status> {
        let word = |payload: Option<EventPayload>| match payload {
            Some(EventPayload::SystemEvent(event)) if format!("{event:?}").contains("ConfigChanged") => "config",
            Some(EventPayload::SharingEvent(_)) => "sharing",
            _ => "other",
        };
        let words = request.into_inner().events.into_iter().map(|event| word(event.event_payload).to_owned());
        self.0.events.lock().expect("no panic").extend(words);
        Ok(Response::new(EventBatchResponse { success: true, ..EventBatchResponse::default() }))
    }
}
