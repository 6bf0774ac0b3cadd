//! What `Register` returns becomes the node's own certificate.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use tokio::time::sleep;

use super::{
    authority::{Authority, Files, Issued},
    peer::{Clients, Peer, der},
    scene::{Agent, Scene},
};

/// A controller that issues certificates and takes nodes with and without one, and an agent's files.
struct Office {
    authority: Authority,
    files: Files,
    peer: Peer,
}

impl Office {
    async fn open() -> Office {
        let (authority, files) = (Authority::new("ca"), Files::new());
        files.put("ca.pem", &authority.pem());
        let peer = Peer::start(&authority.for_controller(), Clients::OfOrNone(&authority)).await;
        Office { authority, files, peer }
    }

    /// What it gives from now on to each that registers.
    fn issue(&self, issued: &Issued) {
        *self.peer.book.issues.lock().expect("no panic") = Some(issued.clone());
    }

    async fn agent(&self) -> Scene {
        let to = Agent::to(self.peer.address.port(), &self.files);
        Agent { issued: Some(self.files.path("identity")), ..to }.run().await
    }

    fn kept(&self) -> PathBuf {
        self.files.path("identity/issued.pem")
    }

    /// Sends one more event; gives the certificate that it came with.
    async fn certificate(&self, scene: &Scene) -> Option<Vec<u8>> {
        let next = self.peer.events().len() as u64;
        scene.append(next..next + 1).await;
        scene.delivered().await;
        self.peer.last().expect("it has arrived").1
    }
}

#[tokio::test]
async fn an_issued_certificate_is_kept_for_the_agent_alone_and_used_after_one_new_connection() {
    let office = Office::open().await;
    let [first, second] = ["first", "second"].map(|name| office.authority.issue(name, 2099));
    office.issue(&first);
    let scene = office.agent().await;
    assert_eq!(office.certificate(&scene).await, None);
    let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode(office.files.path("identity")), mode(office.kept())), (0o700, 0o600));
    // From now on each registration gives another one.
    office.issue(&second);
    while office.certificate(&scene).await != Some(der(&first)) {
        sleep(Duration::from_millis(50)).await;
    }
    assert!(fs::read_to_string(office.kept()).expect("kept").contains(&second.key));
    // It is used when there is a new connection for another reason, and makes none.
    sleep(Duration::from_secs(13)).await;
    assert_eq!(office.certificate(&scene).await, Some(der(&first)));
    assert_eq!((office.peer.accepted(), scene.state.status().failed_attempts), (2, 0));
    scene.end();

    let scene = office.agent().await;
    assert_eq!(office.certificate(&scene).await, Some(der(&second)));
    assert_eq!(office.peer.accepted(), 3, "from its first connection on");
    scene.end();
}

#[tokio::test]
async fn an_issued_certificate_that_has_expired_is_not_used() {
    let office = Office::open().await;
    office.issue(&office.authority.issue("node", 2021));
    for connections in [1, 2] {
        let scene = office.agent().await;
        assert_eq!(office.certificate(&scene).await, None);
        assert!(office.kept().exists());
        assert_eq!((office.peer.accepted(), scene.state.status().failed_attempts), (connections, 0));
        scene.end();
    }
}

#[tokio::test]
async fn a_certificate_in_the_settings_beats_what_is_issued() {
    let office = Office::open().await;
    let configured = office.authority.issue("configured", 2099);
    office.files.put_identity("node", &configured);
    office.issue(&office.authority.issue("issued", 2099));
    let scene = office.agent().await;
    assert_eq!(office.certificate(&scene).await, Some(der(&configured)));
    assert!(!office.kept().exists());
    scene.end();
}

#[tokio::test]
async fn an_issued_pair_that_does_not_belong_together_is_not_kept() {
    let office = Office::open().await;
    let [one, other] = ["one", "other"].map(|name| office.authority.issue(name, 2099));
    office.issue(&Issued { key: other.key, ..one });
    let scene = office.agent().await;
    assert_eq!(office.certificate(&scene).await, None);
    assert!(!office.kept().exists());
    scene.end();
}
