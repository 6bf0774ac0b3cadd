//! TLS at the controller's end: who gets in with which certificate, and how certificates change under open connections.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rodent::controller::{
    store::MemoryStore,
    tls::{ServerTls, TlsError, TlsFiles},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion,
        crypto::ring::default_provider,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};
use tonic::{
    Code, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use super::peer::{Agent, Controller, batch, token};
use crate::tls::authority::{Authority, Files, Issued};

/// An authority for servers, one for clients, and a directory.
struct Place {
    servers: Authority,
    nodes: Authority,
    files: Files,
}

impl Place {
    fn new() -> Place {
        let place = Place { servers: Authority::new("servers"), nodes: Authority::new("nodes"), files: Files::new() };
        place.put_certificate(&place.servers);
        place.files.put("nodes-ca.pem", &place.nodes.pem());
        place
    }

    fn put_certificate(&self, authority: &Authority) {
        self.files.put_identity("server", &authority.for_controller());
    }

    fn tls(&self, client_ca: bool) -> Result<ServerTls, TlsError> {
        let path = |name| self.files.path(name);
        let client_ca = client_ca.then(|| path("nodes-ca.pem"));
        ServerTls::read(TlsFiles { cert: path("server.pem"), key: path("server.key"), client_ca })
    }

    async fn controller(&self, client_ca: bool) -> Controller {
        let tls = Some(self.tls(client_ca).expect("certificates"));
        Controller::with(Arc::new(MemoryStore::default()), |settings| rodent::controller::server::ServerSettings {
            tls,
            ..settings
        })
        .await
    }
}

/// An agent that trusts this authority and shows this certificate.
async fn agent(
    address: SocketAddr,
    trusted: &Authority,
    shown: Option<&Issued>,
    node: &str,
) -> Result<Agent, tonic::transport::Error> {
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted.pem())).domain_name("localhost");
    let tls = match shown {
        Some(issued) => tls.identity(Identity::from_pem(&issued.certificate, &issued.key)),
        None => tls,
    };
    let endpoint = Endpoint::from_shared(format!("https://{address}")).expect("an address").tls_config(tls)?;
    Ok(Agent::on(endpoint.connect().await?, &token(node)))
}

#[tokio::test]
async fn events_travel_encrypted_and_a_plain_connection_gets_nowhere() {
    let place = Place::new();
    let controller = place.controller(false).await;
    let sender = agent(controller.address, &place.servers, None, "nas-1").await.expect("a connection");
    assert!(sender.send(&batch(1, 3)).await.expect("stored").success);
    assert!(agent(controller.address, &place.nodes, None, "nas-1").await.is_err(), "another authority");
    let plain = Agent::connect(controller.address, &token("nas-1")).await;
    assert!(plain.send(&batch(4, 3)).await.is_err());
    assert_eq!(controller.stored_ids().await, ["n1", "n2", "n3"]);
    controller.stop().await;
}

/// What becomes of a call on a connection with this certificate.
async fn tried(controller: &Controller, place: &Place, shown: Option<&Issued>, node: &str) -> Result<(), Status> {
    // Under TLS 1.3 a client learns only with its first call that its certificate is not wanted.
    let agent = agent(controller.address, &place.servers, shown, node).await;
    let agent = agent.map_err(|error| Status::unknown(error.to_string()))?;
    agent.send(&batch(1, 1)).await.map(|_| ())
}

#[tokio::test]
async fn with_an_authority_for_clients_only_its_certificates_get_in_and_only_as_their_node() {
    let place = Place::new();
    let controller = place.controller(true).await;
    let (own, foreign) = (place.nodes.issue("nas-1", 2099), Authority::new("nodes").issue("nas-1", 2099));
    let old = place.nodes.issue("nas-1", 2021);
    for (shown, what) in [(None, "no certificate"), (Some(&foreign), "another authority"), (Some(&old), "expired")] {
        assert!(tried(&controller, &place, shown, "nas-1").await.is_err(), "{what}");
    }
    let refusal = tried(&controller, &place, Some(&own), "nas-2").await.expect_err("the certificate of another");
    assert_eq!(refusal.code(), Code::PermissionDenied, "{refusal}");
    assert!(refusal.message().contains("\"nas-2\""), "{refusal}");
    assert!(controller.stored_ids().await.is_empty());
    tried(&controller, &place, Some(&own), "nas-1").await.expect("its own");
    assert_eq!(controller.stored_ids().await, ["n1"]);
    controller.stop().await;
}

/// A client that resumes its sessions where it may.
fn resuming(place: &Place, own: &Issued, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("PEM");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(&place.servers.pem())).expect("an authority");
    let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate(&own.certificate)], key)
        .expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// How the handshake of another connection went.
async fn handshake(connector: &TlsConnector, address: SocketAddr) -> Option<HandshakeKind> {
    let stream = TcpStream::connect(address).await.expect("accepted");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut stream = connector.connect(name, stream).await.expect("a handshake");
    // HTTP/2 begins, with no settings: the tickets, where there are any, come before the answer.
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("sent");
    stream.flush().await.expect("sent");
    stream.read_u8().await.expect("an answer");
    stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn a_session_is_resumed_only_where_no_certificate_would_escape_its_check() {
    for (client_ca, again) in [(false, HandshakeKind::Resumed), (true, HandshakeKind::Full)] {
        let place = Place::new();
        let controller = place.controller(client_ca).await;
        let own = place.nodes.issue("nas-1", 2099);
        for &version in rustls::ALL_VERSIONS {
            let connector = resuming(&place, &own, version);
            for expected in [HandshakeKind::Full, again] {
                let kind = handshake(&connector, controller.address).await;
                assert_eq!(kind, Some(expected), "{version:?}, asked for certificates: {client_ca}");
            }
        }
        controller.stop().await;
    }
}

#[tokio::test]
async fn a_changed_certificate_is_shown_to_new_connections_and_old_ones_stay() {
    let place = Place::new();
    let controller = place.controller(false).await;
    let before = agent(controller.address, &place.servers, None, "nas-1").await.expect("a connection");
    before.send(&batch(1, 1)).await.expect("stored");
    let next = Authority::new("next");
    place.put_certificate(&next);
    let seen = async {
        loop {
            match agent(controller.address, &next, None, "nas-1").await {
                Ok(agent) => break agent,
                Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    };
    let after = tokio::time::timeout(Duration::from_secs(60), seen).await.expect("the new one is shown");
    after.send(&batch(2, 1)).await.expect("stored");
    before.send(&batch(3, 1)).await.expect("the old connection is as good as before");
    // Half a change is none.
    place.files.put("server.key", &Authority::new("x").for_controller().key);
    tokio::time::sleep(Duration::from_secs(3)).await;
    agent(controller.address, &next, None, "nas-1").await.expect("what was there before is still shown");
    controller.stop().await;
}

#[tokio::test]
async fn peers_that_do_not_finish_their_handshake_hold_nobody_up() {
    let place = Place::new();
    let controller = place.controller(false).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(TcpStream::connect(controller.address).await.expect("accepted"));
    }
    let agent = agent(controller.address, &place.servers, None, "nas-1").await.expect("a connection");
    agent.send(&batch(1, 1)).await.expect("stored");
    tokio::time::timeout(Duration::from_secs(5), controller.stop()).await.expect("nor the end of the controller");
}

#[test]
fn files_that_do_not_go_together_are_named() {
    let place = Place::new();
    let told = |file: &str, text: &str| {
        let place = Place { servers: Authority::new("x"), nodes: Authority::new("y"), files: Files::new() };
        place.put_certificate(&place.servers);
        place.files.put("nodes-ca.pem", &place.nodes.pem());
        let path: PathBuf = place.files.put(file, text);
        let error = place.tls(true).err().expect("refused");
        (error.to_string().contains(&path.display().to_string()), error.to_string())
    };
    let other = place.servers.for_controller();
    let cases = [
        ("server.pem", "no PEM", "holds no certificate"),
        ("server.key", "no PEM", "holds no private key"),
        ("nodes-ca.pem", "no PEM", "holds no certificate authority"),
        ("server.key", &other.key, "use certificate"),
    ];
    for (file, text, part) in cases {
        let (named, error) = told(file, text);
        assert!(named && error.contains(part), "{error}");
    }
}
