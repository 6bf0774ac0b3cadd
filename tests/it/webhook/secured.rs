//! Webhooks over TLS: whom they trust, what they prove the node with, and what is said where that does not suffice.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};

use super::{Posted, Receiver, answer, hook, serve, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
    tls::authority::{Authority, Issued},
};

/// A receiver with this certificate; clients need one of `clients`, if any are named.
fn receiver(issued: &Issued, clients: Option<&Authority>) -> Receiver {
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = builder.expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut authorities = RootCertStore::empty();
            let certificate = CertificateDer::from_pem_slice(authority.pem().as_bytes()).expect("PEM");
            authorities.add(certificate).expect("an authority");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).expect("PEM")];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("PEM");
    let config = Arc::new(builder.with_single_cert(chain, key).expect("a pair"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("localhost:{}", listener.local_addr().expect("bound").port());
    let taken: Arc<Mutex<Vec<Posted>>> = Arc::default();
    let kept = Arc::clone(&taken);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (kept, config) = (Arc::clone(&kept), Arc::clone(&config));
            thread::spawn(move || {
                let connection = ServerConnection::new(config).expect("a configuration");
                serve(StreamOwned::new(connection, stream), &kept, &|_| answer("200 OK"))
            });
        }
    });
    Receiver { address, taken }
}

/// One that speaks HTTP alone, and says so as servers do.
fn plain() -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("localhost:{}", listener.local_addr().expect("bound").port());
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]).and_then(|_| stream.write_all(answer("400 Bad Request").as_bytes()));
        }
    });
    Receiver { address, taken: Arc::default() }
}

fn secured(receiver: &Receiver, more: &str) -> String {
    sink(receiver, more).replace("http://", "https://")
}

#[test]
fn whom_an_authority_of_its_own_vouches_for_is_trusted_and_of_others_it_is_said_why_not() {
    let (authority, other) = (Authority::new("ours"), Authority::new("others"));
    let good = receiver(&authority.issue("localhost", 2099), None);
    let expired = receiver(&authority.issue("localhost", 2024), None);
    let elsewhere = receiver(&authority.issue("elsewhere.example", 2099), None);
    let strange = receiver(&other.issue("localhost", 2099), None);
    let plain = plain();
    let site = Site::start("");
    site.write("ca.pem", &authority.pem());
    let ca = ", ca_file: HERE/ca.pem";
    site.reload(&secured(&good, ca));
    site.put(1, 1);
    wait("it arrives", PATIENCE, || (good.numbers() == [1]).then_some(()));
    let tried = site.rodent(&["sinks", "test", "hook"]);
    assert!(tried.code == Some(0) && tried.out.contains("its certificate is valid until 2099-12-31"), "{tried:?}");
    for (number, receiver, why) in [
        (2, &expired, "has expired (at 2024-12-31T00:00:00Z); the receiver needs a new one"),
        (3, &elsewhere, "is not for the name localhost; correct `url`"),
        (
            4,
            &strange,
            "comes from an authority that is not trusted here; name the file with the authority's own as `ca_file`",
        ),
        (5, &plain, "it does not speak TLS there; correct the port, or write http://"),
    ] {
        site.reload(&secured(receiver, ca));
        site.put(number, 1);
        site.until(why, |is| {
            hook(is)["last_error"]
                .as_str()
                .is_some_and(|error| error.contains(why) && error.contains(&receiver.address))
        });
        assert!(receiver.numbers().is_empty());
    }
    site.reload(&secured(&good, ca));
    wait("what was kept arrives", PATIENCE, || (good.numbers() == [1, 2, 3, 4, 5]).then_some(()));
}

/// Has the agent of `site` prove itself to one that wants a certificate, with `trust` in the settings of the sink.
fn is_shown_certificates(site: &Site, authority: &Authority, trust: &str) {
    let receiver = receiver(&authority.issue("localhost", 2099), Some(authority));
    let write = |issued: &Issued| {
        site.write("key.pem", &issued.key);
        site.write("cert.pem", &issued.certificate);
    };
    site.reload(&secured(&receiver, trust));
    site.put(1, 1);
    let wants = "it wants a certificate of this node; set `cert_file` and `key_file`";
    site.until(wants, |is| hook(is)["last_error"].as_str().is_some_and(|error| error.contains(wants)));
    write(&authority.issue("nas", 2020));
    site.reload(&secured(&receiver, &format!("{trust}, cert_file: HERE/cert.pem, key_file: HERE/key.pem")));
    let expired = "it says that this node's certificate has expired; put a new one into `cert_file`";
    site.until(expired, |is| hook(is)["last_error"].as_str().is_some_and(|error| error.contains(expired)));
    write(&authority.issue("nas", 2099));
    wait("the next one is taken", PATIENCE, || receiver.numbers().contains(&1).then_some(()));
    assert!(!site.log().contains("PRIVATE KEY"));
}

#[test]
fn who_wants_a_certificate_is_shown_the_nodes_and_the_next_one_once_it_is_there() {
    let authority = Authority::new("ours");
    let site = Site::start("");
    site.write("ca.pem", &authority.pem());
    is_shown_certificates(&site, &authority, ", ca_file: HERE/ca.pem");
}

#[test]
fn the_same_holds_for_one_that_the_system_trusts() {
    let authority = Authority::new("the system's");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("written");
    let site = Site::start_with("", |command| _ = command.env("SSL_CERT_FILE", file.path()));
    is_shown_certificates(&site, &authority, "");
}
