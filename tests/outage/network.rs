//! Outages of the network: cables, routes, addresses, names.

mod as_root {
    use std::{
        fs,
        net::{Ipv4Addr, SocketAddr},
    };

    use crate::{
        dns::{Answer, NameServer},
        namespace::Namespace,
        process::Process,
        site::Site,
        story::Story,
    };

    const PORT: u16 = 7443;
    const AGENT: &str = "10.77.0.1/24";
    const CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 2);
    const NEW_CONTROLLER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 3);

    /// Agent and controller, each in a network of its own.
    struct Scene {
        // Its programs go before the site does.
        _controller: Process,
        site: Site,
        networks: [Namespace; 2],
    }

    impl Scene {
        fn new(address: &str) -> Scene {
            let networks = Namespace::joined(AGENT, &format!("{CONTROLLER}/24"));
            let site = Site::new(address);
            let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, PORT));
            let _controller = site.start_controller(&networks[1].within(&site.controller(listen)));
            Scene { _controller, site, networks }
        }

        fn start_agent(&self) -> Process {
            self.site.start_agent(&self.networks[0].within(&self.site.agent()))
        }

        /// With a resolver of its own, who asks nobody but the loopback, once.
        fn start_agent_that_asks(&self) -> Process {
            let resolver = self.site.path("resolv.conf");
            fs::write(&resolver, "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").expect("write a file");
            let words = self.networks[0].within_with(&resolver, "/etc/resolv.conf", &self.site.agent());
            self.site.start_agent(&words)
        }

        fn agent(&self) -> &Namespace {
            &self.networks[0]
        }

        fn controller(&self) -> &Namespace {
            &self.networks[1]
        }
    }

    #[test]
    fn a_black_hole_that_swallows_every_packet() {
        let scene = Scene::new(&format!("{CONTROLLER}:{PORT}"));
        let agent = scene.start_agent();
        let mut story = Story::begin(&scene.site, agent);
        // What comes is not answered, and nobody says why.
        scene.controller().ip("route add blackhole 10.77.0.1/32");
        story.suffer();
        scene.controller().ip("route del blackhole 10.77.0.1/32");
        story.end();
    }

    #[test]
    fn an_interface_that_goes_down() {
        let scene = Scene::new(&format!("{CONTROLLER}:{PORT}"));
        let agent = scene.start_agent();
        let mut story = Story::begin(&scene.site, agent);
        scene.agent().ip("link set wire down");
        story.suffer();
        scene.agent().ip("link set wire up");
        story.end();
    }

    #[test]
    fn a_cable_that_is_pulled_at_the_other_end() {
        let scene = Scene::new(&format!("{CONTROLLER}:{PORT}"));
        let agent = scene.start_agent();
        let mut story = Story::begin(&scene.site, agent);
        scene.controller().ip("link set wire down");
        story.suffer();
        scene.controller().ip("link set wire up");
        story.end();
    }

    #[test]
    fn a_controller_whose_address_changes_behind_its_name() {
        let scene = Scene::new(&format!("controller.test:{PORT}"));
        let names = NameServer::start(scene.agent(), Answer::Address(CONTROLLER));
        let agent = scene.start_agent_that_asks();
        let mut story = Story::begin(&scene.site, agent);
        scene.controller().ip(&format!("address del {CONTROLLER}/24 dev wire"));
        story.suffer();
        scene.controller().ip(&format!("address add {NEW_CONTROLLER}/24 dev wire"));
        names.set(Answer::Address(NEW_CONTROLLER));
        story.end();
    }

    #[test]
    fn names_that_cannot_be_resolved_for_a_while() {
        let scene = Scene::new(&format!("controller.test:{PORT}"));
        let names = NameServer::start(scene.agent(), Answer::Address(CONTROLLER));
        let agent = scene.start_agent_that_asks();
        let mut story = Story::begin(&scene.site, agent);
        // A connection that stands needs no name: it has to go first.
        scene.agent().ip("link set wire down");
        names.set(Answer::Silence);
        story.suffer();
        scene.agent().ip("link set wire up");
        story.suffer();
        names.set(Answer::Failure);
        story.suffer();
        names.set(Answer::Address(CONTROLLER));
        story.end();
    }
}
