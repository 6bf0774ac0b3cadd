//! Token, certificate and authorities change while events flow: nothing is lost, and there are no more connections than
//! changes.

use std::{fs, time::Duration};

use tokio::time::sleep;

use super::{
    authority::{Authority, Files},
    peer::{Clients, Peer, der},
    scene::{Agent, Scene},
};

/// Longer than the agent looks away from its files.
const LOOK: Duration = Duration::from_secs(3);

/// Appends events one after the other until `is_so`; gives how many there are then.
async fn flow(scene: &Scene, from: u64, what: &str, mut is_so: impl FnMut(u64) -> bool) -> u64 {
    let (mut next, start) = (from, tokio::time::Instant::now());
    while !is_so(from) {
        assert!(start.elapsed() < Duration::from_secs(60), "{what}: {:?}", scene.state.status());
        scene.append(next..next + 1).await;
        next += 1;
        sleep(Duration::from_millis(20)).await;
    }
    next
}

#[tokio::test]
async fn another_token_is_used_on_the_same_connection() {
    let (authority, files) = (Authority::new("ca"), Files::new());
    files.put("ca.pem", &authority.pem());
    let peer = Peer::start(&authority.for_controller(), Clients::Any).await;
    let token_file = Some(files.put("token", "first\n"));
    let scene = Agent { token_file, ..Agent::to(peer.address.port(), &files) }.run().await;
    let token = || peer.last().map(|(token, _)| token);
    let next = flow(&scene, 0, "the first token", |_| token().as_deref() == Some("first")).await;
    files.put("token", "second\n");
    let next = flow(&scene, next, "the second token", |_| token().as_deref() == Some("second")).await;
    fs::remove_file(files.path("token")).expect("removed");
    sleep(2 * LOOK).await;
    let next = flow(&scene, next, "what was there before", |from| peer.events().contains(&from)).await;
    scene.delivered().await;
    assert_eq!(peer.events(), (0..next).collect());
    assert_eq!((peer.accepted(), scene.state.status().failed_attempts), (1, 0));
    scene.end();
}

#[tokio::test]
async fn another_certificate_makes_one_new_connection_and_a_pair_between_two_makes_none() {
    let (authority, files) = (Authority::new("ca"), Files::new());
    files.put("ca.pem", &authority.pem());
    let [first, second] = ["first", "second"].map(|name| authority.issue(name, 2099));
    files.put_identity("node", &first);
    let peer = Peer::start(&authority.for_controller(), Clients::Of(&authority)).await;
    let scene = Agent::to(peer.address.port(), &files).run().await;
    let certificate = || peer.last().and_then(|(_, certificate)| certificate);
    let next = flow(&scene, 0, "the first certificate", |_| certificate() == Some(der(&first))).await;
    // Cut short, then whole without its key, each for longer than the agent looks away.
    for text in [&second.certificate[..200], &second.certificate] {
        files.put("node.pem", text);
        sleep(LOOK).await;
    }
    let next = flow(&scene, next, "still the first one", |from| peer.events().contains(&from)).await;
    assert_eq!((peer.accepted(), certificate()), (1, Some(der(&first))));
    files.put("node.key", &second.key);
    let next = flow(&scene, next, "the second certificate", |_| certificate() == Some(der(&second))).await;
    // Written again as it is; a new connection for it would come within ten seconds.
    files.put_identity("node", &second);
    sleep(LOOK).await;
    let next = flow(&scene, next, "the same files", |from| peer.events().contains(&from)).await;
    sleep(4 * LOOK).await;
    let next = flow(&scene, next, "nothing new", |from| peer.events().contains(&from)).await;
    scene.delivered().await;
    assert_eq!(peer.events(), (0..next).collect());
    assert_eq!((peer.accepted(), scene.state.status().failed_attempts), (2, 0));
    scene.end();
}

#[tokio::test]
async fn other_authorities_make_one_new_connection_to_a_controller_that_they_vouch_for() {
    let (old, new, files) = (Authority::new("old"), Authority::new("new"), Files::new());
    files.put("ca.pem", &old.pem());
    let peer = Peer::start(&old.for_controller(), Clients::Any).await;
    let scene = Agent::to(peer.address.port(), &files).run().await;
    let next = flow(&scene, 0, "events", |_| !peer.events().is_empty()).await;
    // First both are trusted, then the controller changes over: the order in which it is done.
    files.put("ca.pem", &(old.pem() + &new.pem()));
    let next = flow(&scene, next, "a connection that trusts both", |_| peer.accepted() == 2).await;
    peer.renew(&new.for_controller());
    files.put("ca.pem", &new.pem());
    let next = flow(&scene, next, "a connection that trusts the new one", |_| peer.accepted() == 3).await;
    scene.delivered().await;
    assert_eq!(peer.events(), (0..next).collect());
    assert_eq!((peer.accepted(), scene.state.status().failed_attempts), (3, 0));
    scene.end();
}

#[tokio::test]
async fn a_token_that_is_refused_can_be_replaced_without_waiting_for_the_next_attempt() {
    let (authority, files) = (Authority::new("ca"), Files::new());
    files.put("ca.pem", &authority.pem());
    let peer = Peer::start(&authority.for_controller(), Clients::Any).await;
    peer.book.tokens.lock().expect("no panic").push("right".to_owned());
    let token_file = Some(files.put("token", "wrong"));
    let scene = Agent { token_file, ..Agent::to(peer.address.port(), &files) }.run().await;
    scene.append(0..3).await;
    assert!(scene.error().await.contains("unknown token"));
    let status = scene.state.status();
    assert_eq!(status.state, "held");
    assert!(status.next_attempt_milliseconds > 100_000, "the next attempt is far away: {status:?}");
    files.put("token", "right");
    scene.delivered().await;
    assert_eq!(scene.state.status().failed_attempts, 1);
    scene.end();
}
