//! A controller with TLS of its own: counts connections, remembers who came with which token and certificate, and keeps
//! what it is sent.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures_util::Stream;
use rodent::schema::wire::{
    EventBatch, EventBatchResponse, RegisterRequest, RegisterResponse, RodentRequest, ToggleRequest,
    rodent_service_server::{RodentService, RodentServiceServer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
        server::{ResolvesServerCert, WebPkiClientVerifier},
    },
    server::TlsStream,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::authority::{Authority, Issued};

/// Asks nothing of clients, or a certificate of this authority.
pub(super) enum Clients<'a> {
    Any,
    Of(&'a Authority),
    /// Without one they may come all the same.
    OfOrNone(&'a Authority),
}

/// What the server has seen and what it is told to do; shared with the test.
#[derive(Default)]
pub(super) struct Book {
    /// TCP connections.
    pub(super) accepted: AtomicUsize,
    pub(super) registered: AtomicUsize,
    pub(super) sent: Mutex<Vec<Sent>>,
    /// Tokens other than these are refused; none are when it is empty.
    pub(super) tokens: Mutex<Vec<String>>,
    /// What `Register` gives.
    pub(super) issues: Mutex<Option<Issued>>,
}

/// One batch.
pub(super) struct Sent {
    pub(super) events: Vec<String>,
    pub(super) token: String,
    /// Of the client, DER.
    pub(super) certificate: Option<Vec<u8>>,
}

pub(super) struct Peer {
    pub(super) address: SocketAddr,
    pub(super) book: Arc<Book>,
    certificate: Arc<Own>,
    _stop: DropGuard,
}

impl Peer {
    pub(super) async fn start(own: &Issued, clients: Clients<'_>) -> Peer {
        Peer::with_alpn(own, clients, &[b"h2"]).await
    }

    pub(super) async fn with_alpn(own: &Issued, clients: Clients<'_>, alpn: &[&[u8]]) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let certificate = Arc::new(Own(Mutex::new(certified(own))));
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions");
        let verifier = |authority: &Authority| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM")).expect("an authority");
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()))
        };
        let builder = match clients {
            Clients::Any => builder.with_no_client_auth(),
            Clients::Of(authority) => {
                builder.with_client_cert_verifier(verifier(authority).build().expect("a verifier"))
            }
            Clients::OfOrNone(authority) => builder
                .with_client_cert_verifier(verifier(authority).allow_unauthenticated().build().expect("a verifier")),
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        let (book, stop) = (Arc::<Book>::default(), CancellationToken::new());
        let (secured, connections) = mpsc::channel(16);
        start(stop.clone(), accept(listener, TlsAcceptor::from(Arc::new(config)), Arc::clone(&book), secured));
        let service = RodentServiceServer::new(Service(Arc::clone(&book)));
        start(
            stop.clone(),
            Server::builder().add_service(service).serve_with_incoming(ReceiverStream::new(connections)),
        );
        Peer { address, book, certificate, _stop: stop.drop_guard() }
    }

    /// Proves itself with another certificate from the next connection on.
    pub(super) fn renew(&self, own: &Issued) {
        *self.certificate.0.lock().expect("no panic") = certified(own);
    }

    pub(super) fn accepted(&self) -> usize {
        self.book.accepted.load(Ordering::SeqCst)
    }

    /// Numbers of the events that it has.
    pub(super) fn events(&self) -> BTreeSet<u64> {
        let sent = self.book.sent.lock().expect("no panic");
        let number = |id: &String| id.strip_prefix("event-").and_then(|number| number.parse().ok()).expect("a number");
        sent.iter().flat_map(|sent| &sent.events).map(number).collect()
    }

    /// The last batch's token and certificate.
    pub(super) fn last(&self) -> Option<(String, Option<Vec<u8>>)> {
        self.book.sent.lock().expect("no panic").last().map(|sent| (sent.token.clone(), sent.certificate.clone()))
    }
}

/// DER of a certificate.
pub(super) fn der(issued: &Issued) -> Vec<u8> {
    CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM").to_vec()
}

fn certified(issued: &Issued) -> Arc<tokio_rustls::rustls::sign::CertifiedKey> {
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("PEM");
    let key = default_provider().key_provider.load_private_key(key).expect("a key");
    Arc::new(tokio_rustls::rustls::sign::CertifiedKey::new(chain, key))
}

#[derive(Debug)]
struct Own(Mutex<Arc<tokio_rustls::rustls::sign::CertifiedKey>>);

impl ResolvesServerCert for Own {
    fn resolve(
        &self,
        _: tokio_rustls::rustls::server::ClientHello<'_>,
    ) -> Option<Arc<tokio_rustls::rustls::sign::CertifiedKey>> {
        Some(Arc::clone(&self.0.lock().expect("no panic")))
    }
}

#[expect(clippy::disallowed_methods, reason = "a test owns its tasks until its peer is dropped")]
pub(super) fn start<T: Send + 'static>(stop: CancellationToken, task: impl Future<Output = T> + Send + 'static) {
    tokio::spawn(async move { stop.run_until_cancelled(task).await });
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    book: Arc<Book>,
    secured: mpsc::Sender<Result<TlsStream<TcpStream>, std::io::Error>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        book.accepted.fetch_add(1, Ordering::SeqCst);
        let (acceptor, secured) = (acceptor.clone(), secured.clone());
        start(CancellationToken::new(), async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                let _ = secured.send(Ok(stream)).await;
            }
        });
    }
}

struct Service(Arc<Book>);

impl Service {
    fn admit<T>(&self, request: &Request<T>) -> Result<String, Status> {
        let header = request.metadata().get("authorization").and_then(|header| header.to_str().ok());
        let token = header.and_then(|header| header.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
        let tokens = self.0.tokens.lock().expect("no panic");
        if tokens.is_empty() || tokens.contains(&token) {
            Ok(token)
        } else {
            Err(Status::unauthenticated("unknown token"))
        }
    }
}

#[tonic::async_trait]
impl RodentService for Service {
    async fn register(&self, request: Request<RegisterRequest>) -> Result<Response<RegisterResponse>, Status> {
        self.admit(&request)?;
        self.0.registered.fetch_add(1, Ordering::SeqCst);
        let issued = self.0.issues.lock().expect("no panic").clone();
        let (certificate, private_key) = issued.map(|issued| (issued.certificate, issued.key)).unwrap_or_default();
        Ok(Response::new(RegisterResponse { success: true, certificate, private_key, ..RegisterResponse::default() }))
    }

    type ConnectStream = Pin<Box<dyn Stream<Item = Result<ToggleRequest, Status>> + Send>>;

    async fn connect(&self, _: Request<Streaming<RodentRequest>>) -> Result<Response<Self::ConnectStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn send_events(&self, request: Request<EventBatch>) -> Result<Response<EventBatchResponse>, Status> {
        let token = self.admit(&request)?;
        let certificate = request.peer_certs().and_then(|chain| chain.first().map(|leaf| leaf.to_vec()));
        let events = request.into_inner().events.into_iter().map(|event| event.event_id).collect();
        self.0.sent.lock().expect("no panic").push(Sent { events, token, certificate });
        Ok(Response::new(EventBatchResponse { success: true, ..EventBatchResponse::default() }))
    }
}
