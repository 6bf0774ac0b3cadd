//! Where a connection goes, with a resolver that says what the test wants, and over real sockets.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        crypto::ring::default_provider,
        pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
    },
};

use super::*;

/// One whose names lead where `answers` says, look-up by look-up; how often it was asked stands beside it.
fn connector_to(url: &str, proxy: Option<&str>, answers: &[&[SocketAddr]]) -> (Connector, Arc<AtomicUsize>) {
    let (asked, answers) = (Arc::new(AtomicUsize::new(0)), answers.iter().map(|its| its.to_vec()).collect::<Vec<_>>());
    let target = Target::parse(url).expect("a URL");
    let proxy = proxy.map(|proxy| Proxy::parse(proxy).expect("a proxy"));
    let counting = Arc::clone(&asked);
    let look_up: Box<LookUp> = Box::new(move |_, _| {
        let number = counting.fetch_add(1, Ordering::SeqCst);
        let answer = answers.get(number).or(answers.last()).cloned().unwrap_or_default();
        Box::pin(async move { Ok(answer) })
    });
    (Connector { look_up, ..Connector::new(target, proxy, false) }, asked)
}

async fn refused(connector: &Connector) -> String {
    connector.connect(&Trust::default()).await.err().expect("no connection").why
}

async fn listener(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(address).await.expect("a port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Whether nobody has connected to it.
fn is_left_alone(listener: TcpListener) -> bool {
    let listener = listener.into_std().expect("a listener");
    listener.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_or_its_hypervisor_is_connected_to_in_no_form() {
    let (listener, here) = listener("127.0.0.1:0").await;
    let forms = [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "::ffff:127.0.0.1",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "0.0.0.0",
        "::",
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "2002:a9fe:a9fe::",
        "fe80::1",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
    ];
    for form in forms {
        let address = SocketAddr::new(form.parse().expect("an address"), here.port());
        let (connector, asked) = connector_to("http://hook.example.com/", None, &[&[address]]);
        let why = refused(&connector).await;
        assert!(
            why.starts_with("hook.example.com leads to ") && why.contains("where only this machine answers"),
            "{why}"
        );
        assert_eq!(asked.load(Ordering::SeqCst), 1, "{form}");
    }
    assert!(is_left_alone(listener));
}

#[tokio::test]
async fn the_address_that_was_judged_is_connected_to_although_the_name_leads_elsewhere_a_moment_later() {
    let (right, here) = listener("127.0.0.1:0").await;
    let (wrong, elsewhere) = listener("127.0.0.2:0").await;
    let (connector, asked) = connector_to("http://127.0.0.1/", None, &[&[here], &[elsewhere]]);
    connector.connect(&Trust::default()).await.expect("it was judged");
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a second look-up would lead elsewhere");
    assert!(!is_left_alone(right), "the one that was judged");
    let why = refused(&connector).await;
    assert!(why.contains("leads to 127.0.0.2"), "the next connection is judged anew: {why}");
    assert!(is_left_alone(wrong));
}

#[tokio::test]
async fn of_many_addresses_only_those_are_tried_that_may_be_reached() {
    let (right, here) = listener("127.0.0.1:0").await;
    let (wrong, elsewhere) = listener("127.0.0.2:0").await;
    let (connector, _) = connector_to("http://127.0.0.1/", None, &[&[elsewhere, here]]);
    connector.connect(&Trust::default()).await.expect("one of them may be");
    assert!(is_left_alone(wrong) && !is_left_alone(right));
}

#[tokio::test]
async fn in_plain_text_nobody_beyond_private_networks_is_connected_to() {
    let far = "93.184.216.34:80".parse().expect("an address");
    let (connector, _) = connector_to("http://example.com/", None, &[&[far]]);
    let why = refused(&connector).await;
    assert!(why.starts_with("example.com: 93.184.216.34 is beyond private networks"), "{why}");
    let (connector, _) = connector_to("https://example.com/", Some("http://proxy.example.com:3128"), &[&[far]]);
    let why = refused(&connector).await;
    assert!(
        why.starts_with("proxy.example.com: 93.184.216.34 is beyond"),
        "a proxy is told of user and password: {why}"
    );
}

/// The head of a request, and an answer to it.
async fn answer(listener: &TcpListener, answer: &[u8]) -> (String, TcpStream) {
    let (mut stream, _) = listener.accept().await.expect("somebody connects");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a head"));
    }
    // Who answers without end may be left.
    let _ = stream.write_all(answer).await;
    (String::from_utf8(head).expect("text"), stream)
}

#[tokio::test]
async fn a_proxy_leads_to_a_receiver_that_only_it_finds_and_the_certificate_is_the_receivers() {
    let (listener, here) = listener("127.0.0.1:0").await;
    let issued = rcgen::generate_simple_self_signed(vec!["hook.example.com".to_owned()]).expect("a certificate");
    let (certificate, key) = (issued.cert.der().clone(), issued.signing_key.serialize_der());
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("a pair");
    let receiver = async {
        let (head, stream) = answer(&listener, b"HTTP/1.1 200 Connection established\r\n\r\n").await;
        let mut secured = TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("it trusts");
        secured.write_all(b"here").await.expect("written");
        head
    };
    let mut authorities = RootCertStore::empty();
    authorities.add(certificate).expect("an authority");
    let own = secured_by(authorities, None).expect("a configuration");
    let trust = Trust { own: Some(own), ..Trust::default() };
    let (connector, asked) =
        connector_to("https://hook.example.com/x", Some("http://nas:p%40ss@127.0.0.1:3128"), &[&[here]]);
    let (head, connected) = tokio::join!(receiver, async {
        let mut stream = connector.connect(&trust).await.map_err(|error| error.why)?;
        let mut said = [0; 4];
        stream.read_exact(&mut said).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(said)
    });
    assert_eq!(connected.as_ref().map(|said| &said[..]), Ok(&b"here"[..]));
    let credentials = "bmFzOnBAc3M=";
    assert_eq!(
        head,
        format!(
            "CONNECT hook.example.com:443 HTTP/1.1\r\nhost: hook.example.com:443\r\nproxy-authorization: Basic {credentials}\r\n\r\n"
        )
    );
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the receiver's name is the proxy's to look up");
    assert!(connector.certificate_until().is_some());
}

#[tokio::test]
async fn a_proxy_that_does_not_lead_there_is_told_in_a_line_without_its_password() {
    let endless = [b"HTTP/1.1 200 OK\r\n".as_slice(), &b"x: y\r\n".repeat(10_000)].concat();
    for (says, why) in [
        (
            &b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"[..],
            "wants another user or password (407); correct `http_proxy`",
        ),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "does not lead to hook.example.com:443: 502 Bad Gateway"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
        (&endless, "answers without end"),
    ] {
        let (listener, here) = listener("127.0.0.1:0").await;
        let (connector, _) =
            connector_to("https://hook.example.com/", Some("http://nas:hidden@127.0.0.1:3128"), &[&[here]]);
        let (told, _) = tokio::join!(refused(&connector), answer(&listener, says));
        assert!(told.starts_with("the proxy http://127.0.0.1:3128 ") && told.contains(why), "{told}");
        assert!(!told.contains("hidden"), "{told}");
    }
}
