//! What keeps a connection from being secure: each in one line that says which it is and what to do.

use std::net::SocketAddr;

use rodent::sinks::uplink::Tls;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::sync::CancellationToken;

use super::{
    authority::{Authority, Files, Issued},
    peer::{Clients, Peer, start},
    scene::Agent,
};
use crate::address::own_address;

/// What an agent says that trusts `authority` and was given `identity`.
async fn told(peer: SocketAddr, authority: &Authority, identity: Option<&Issued>) -> String {
    let files = Files::new();
    files.put("ca.pem", &authority.pem());
    identity.map(|identity| files.put_identity("node", identity));
    told_by(Agent::to(peer.port(), &files)).await
}

async fn told_by(agent: Agent) -> String {
    let scene = agent.run().await;
    scene.append(0..1).await;
    let error = scene.error().await;
    scene.end();
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

fn assert_says(error: &str, words: &[&str]) {
    for words in words {
        assert!(error.contains(words), "`{words}` is not in: {error}");
    }
}

#[tokio::test]
async fn an_expired_certificate_of_the_controller() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.issue("localhost", 2021), Clients::Any).await;
    let error = told(peer.address, &authority, None).await;
    assert_says(&error, &["connect to localhost:", "the controller's certificate expired at 2021-12-31T00:00:00Z"]);
}

#[tokio::test]
async fn a_certificate_for_another_name() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.issue("toggle.example.com", 2099), Clients::Any).await;
    let error = told(peer.address, &authority, None).await;
    assert_says(&error, &["is not for localhost but for toggle.example.com", "`controller.tls.server_name`"]);
}

#[tokio::test]
async fn a_name_of_the_controller_that_differs_from_its_address_is_taken_from_the_settings() {
    let (authority, files) = (Authority::new("ca"), Files::new());
    files.put("ca.pem", &authority.pem());
    let peer = Peer::start(&authority.issue("toggle.example.com", 2099), Clients::Any).await;
    let mut agent = Agent::to(peer.address.port(), &files);
    agent.tls = Tls::On {
        ca_file: Some(files.path("ca.pem")),
        cert_file: None,
        key_file: None,
        server_name: Some("toggle.example.com".to_owned()),
    };
    let scene = agent.run().await;
    scene.append(0..3).await;
    scene.delivered().await;
    scene.end();
}

#[tokio::test]
async fn an_authority_that_is_not_trusted() {
    let (authority, other) = (Authority::new("ca"), Authority::new("another ca"));
    let peer = Peer::start(&authority.for_controller(), Clients::Any).await;
    let error = told(peer.address, &other, None).await;
    assert_says(&error, &["comes from an authority that is not trusted here", "`controller.tls.ca_file`"]);
}

#[tokio::test]
async fn a_controller_that_wants_a_certificate_and_gets_none() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.for_controller(), Clients::Of(&authority)).await;
    let error = told(peer.address, &authority, None).await;
    assert_says(&error, &["the controller wants a certificate of this node", "`controller.tls.cert_file`"]);
}

#[tokio::test]
async fn an_expired_certificate_of_the_node() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.for_controller(), Clients::Of(&authority)).await;
    let error = told(peer.address, &authority, Some(&authority.issue("node", 2022))).await;
    assert_says(&error, &["this node's certificate has expired", "expired at 2022-12-31T00:00:00Z"]);
}

#[tokio::test]
async fn a_certificate_of_the_node_that_the_controller_does_not_trust() {
    let (authority, other) = (Authority::new("ca"), Authority::new("another ca"));
    let peer = Peer::start(&authority.for_controller(), Clients::Of(&authority)).await;
    let error = told(peer.address, &authority, Some(&other.issue("node", 2099))).await;
    assert_says(&error, &["the controller does not trust the authority of this node's certificate"]);
}

#[tokio::test]
async fn a_key_that_does_not_belong_to_its_certificate() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.for_controller(), Clients::Any).await;
    let key = authority.issue("other", 2099).key;
    let error = told(peer.address, &authority, Some(&Issued { key, ..authority.issue("node", 2099) })).await;
    assert_says(&error, &["node.pem with key ", "node.key: the key does not belong to the certificate"]);
    assert_eq!(peer.accepted(), 0, "nothing is tried with it");
}

#[tokio::test]
async fn files_that_are_missing_or_hold_something_else() {
    let files = Files::new();
    let error = told_by(Agent::to(1, &files)).await;
    assert_says(&error, &["read ", "ca.pem: No such file"]);
    files.put("ca.pem", "-----BEGIN CERTIFICATE-----\nMIIB");
    let error = told_by(Agent::to(1, &files)).await;
    assert_says(&error, &["ca.pem holds no certificate of an authority in PEM form"]);
    files.put("ca.pem", &Authority::new("ca").pem());
    let error = told_by(Agent { token_file: Some(files.path("token")), ..Agent::to(1, &files) }).await;
    assert_says(&error, &["read the token from ", "No such file"]);
}

#[tokio::test]
async fn a_controller_without_tls() {
    let address = plaintext_server().await;
    let error = told(address, &Authority::new("ca"), None).await;
    assert_says(&error, &["does not speak TLS there", "`controller.tls: off`"]);
}

#[tokio::test]
async fn an_agent_without_tls_at_a_controller_with_tls() {
    let authority = Authority::new("ca");
    let peer = Peer::start(&authority.for_controller(), Clients::Any).await;
    let agent = Agent { tls: Tls::Off, ..Agent::to(peer.address.port(), &Files::new()) };
    assert_says(&told_by(agent).await, &["the controller wants TLS, but `controller.tls` is off"]);
}

#[tokio::test]
async fn a_web_server_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    start(CancellationToken::new(), async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    let agent = Agent { tls: Tls::Off, ..Agent::to(address.port(), &Files::new()) };
    assert_says(&told_by(agent).await, &["speaks HTTP/1 and no gRPC"]);
}

#[tokio::test]
async fn tls_without_http2() {
    let authority = Authority::new("ca");
    for alpn in [&[b"http/1.1" as &[u8]] as &[&[u8]], &[]] {
        let peer = Peer::with_alpn(&authority.for_controller(), Clients::Any, alpn).await;
        let error = told(peer.address, &authority, None).await;
        assert_says(&error, &["does not offer HTTP/2 (ALPN h2)"]);
    }
}

#[tokio::test]
async fn a_controller_that_hangs_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    start(CancellationToken::new(), async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    let error = told(address, &Authority::new("ca"), None).await;
    assert_says(&error, &["hung up during the TLS handshake"]);
}

#[tokio::test]
async fn a_port_where_nobody_listens_and_a_name_that_nobody_has() {
    let off = |address: String| Agent { address, tls: Tls::Off, ..Agent::to(1, &Files::new()) };
    assert_says(&told_by(off(own_address().to_string())).await, &["connect to 127.0.0.1:", "Connection refused"]);
    assert_says(&told_by(off("nobody.invalid:443".to_owned())).await, &["connect to nobody.invalid:443: dns error"]);
}

/// A gRPC server that knows nothing of TLS.
async fn plaintext_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let connections = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let router = tonic::transport::Server::builder().add_routes(tonic::service::Routes::default());
    start(CancellationToken::new(), router.serve_with_incoming(connections));
    address
}
