//! Outages of the way to the controller, by a proxy that the test spoils.

use std::{net::SocketAddr, time::Duration};

use crate::{
    address::own_address,
    process::{Process, wait},
    proxy::{Proxy, Way},
    site::{PATIENCE, Site},
    story::Story,
};

/// Agent, proxy and controller on the loopback.
struct Scene {
    site: Site,
    proxy: Proxy,
    listen: SocketAddr,
}

impl Scene {
    fn new() -> Scene {
        let listen = own_address();
        let proxy = Proxy::to(listen);
        Scene { site: Site::new(&proxy.address().to_string()), proxy, listen }
    }

    fn start_controller(&self) -> Process {
        self.site.start_controller(&self.site.controller(self.listen))
    }

    fn start_agent(&self) -> Process {
        self.site.start_agent(&self.site.agent())
    }

    /// Spoils the way for a while.
    fn survives(way: Way) {
        let scene = Scene::new();
        let (_controller, agent) = (scene.start_controller(), scene.start_agent());
        let mut story = Story::begin(&scene.site, agent);
        let connections = scene.proxy.connections();
        scene.proxy.set(way);
        story.suffer();
        assert!(scene.proxy.spoilt() > 0, "{way:?} has spoilt nothing");
        scene.proxy.set(Way::Open);
        story.end();
        // Attempts are paced: at a second each, a minute on a busy machine makes no more.
        let attempts = scene.proxy.connections() - connections;
        assert!((1..200).contains(&attempts), "{attempts} connections");
    }
}

#[test]
fn connections_that_are_reset_at_once() {
    Scene::survives(Way::Reset);
}

#[test]
fn resets_in_the_middle_of_an_answer() {
    Scene::survives(Way::ResetMidAnswer);
}

#[test]
fn acknowledgements_that_get_lost() {
    Scene::survives(Way::LoseAnswer);
}

#[test]
fn a_controller_that_takes_connections_and_never_answers() {
    Scene::survives(Way::Mute);
}

#[test]
fn a_connection_that_is_read_no_more() {
    Scene::survives(Way::Deaf);
}

#[test]
fn a_controller_that_is_killed_and_comes_back_later() {
    let scene = Scene::new();
    let (controller, agent) = (scene.start_controller(), scene.start_agent());
    let mut story = Story::begin(&scene.site, agent);
    // SIGKILL; the proxy finds nobody, and resets.
    drop(controller);
    story.suffer();
    let _controller = scene.start_controller();
    story.end();
}

/// No outage: it must not be made one.
#[test]
fn answers_that_come_byte_by_byte_are_waited_for() {
    let scene = Scene::new();
    let (_controller, mut agent) = (scene.start_controller(), scene.start_agent());
    scene.site.emit(0..100);
    wait("events are delivered", PATIENCE, || (scene.site.lag() == 0).then_some(()));
    scene.proxy.set(Way::Dribble(Duration::from_millis(2)));
    scene.site.emit(100..500);
    wait("events are delivered slowly", PATIENCE, || (scene.site.lag() == 0).then_some(()));
    assert!(scene.proxy.spoilt() > 0);
    assert_eq!(scene.site.stored_numbers(), (0..500).collect::<Vec<_>>());
    let uplink = scene.site.status()["uplink"].clone();
    assert_eq!((&uplink["state"], &uplink["failed_attempts"]), (&"connected".into(), &0.into()), "{uplink}");
    assert!(agent.terminate(PATIENCE), "the agent stops");
}
