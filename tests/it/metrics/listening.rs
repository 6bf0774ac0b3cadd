//! Where the agent listens: nowhere, somewhere, somewhere else, and where it cannot.

use std::{fs, net::TcpListener};

use super::site::{PATIENCE, Site, get, page, sample};
use crate::process::wait;

#[test]
fn the_agent_is_alive_and_ready_without_a_controller_and_ends_within_its_time() {
    let site = Site::new();
    site.configure(None, "{listen: '127.0.0.1:0'}");
    let mut agent = site.agent();
    let address = site.listening(0);
    let livez = get(address, "/livez", "*/*").expect("an answer");
    assert_eq!((livez.status, livez.body.as_str()), (200, "alive\n"));
    wait("the agent is ready", PATIENCE, || {
        let readyz = get(address, "/readyz", "*/*")?;
        assert!(readyz.status == 200 || readyz.body.contains("starting"), "{}", readyz.body);
        (readyz.status == 200).then_some(())
    });
    assert_eq!(get(address, "/", "*/*").expect("an answer").status, 404);
    assert_eq!(sample(&page(address), "rodent_consumer_state{consumer=\"uplink\",state=\"off\"}"), Some(1.0));
    assert!(agent.terminate(PATIENCE));
    assert!(get(address, "/livez", "*/*").is_none(), "the address is free again");
}

#[test]
fn an_address_that_is_taken_does_not_keep_the_agent_from_running_and_is_tried_again() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    site.configure(None, &format!("{{listen: '{address}'}}"));
    let _agent = site.agent();
    wait("it is said", PATIENCE, || site.said().contains("metrics cannot be answered here").then_some(()));
    wait("the agent runs", PATIENCE, || site.rodent().args(["status"]).output().ok()?.status.success().then_some(()));
    drop(taken);
    assert_eq!(site.listening(0), address);
    assert_eq!(get(address, "/readyz", "*/*").expect("an answer").status, 200);
    assert_eq!(site.said().matches("metrics cannot be answered here").count(), 1, "said once");
}

#[test]
fn a_reload_turns_it_on_and_elsewhere_and_off() {
    let site = Site::new();
    site.configure(None, "off");
    let _agent = site.agent();
    wait("the agent runs", PATIENCE, || site.rodent().args(["status"]).output().ok()?.status.success().then_some(()));
    assert!(!site.said().contains("/metrics"), "nothing listens: {}", site.said());
    site.configure(None, "{listen: '127.0.0.1:0'}");
    site.run(&["reload"]);
    let first = site.listening(0);
    assert_eq!(sample(&page(first), "rodent_config_last_reload_successful"), Some(1.0));
    site.configure(None, "{listen: '[::1]:0'}");
    site.run(&["reload"]);
    let second = site.listening(1);
    assert!(second.is_ipv6() && get(second, "/livez", "*/*").is_some());
    wait("the first is given up", PATIENCE, || get(first, "/livez", "*/*").is_none().then_some(()));
    let file = site.path("rodent.yml");
    let right = fs::read_to_string(&file).expect("text");
    fs::write(&file, right.replace("events:", "evnets:")).expect("written");
    let refused = site.rodent().arg("reload").output().expect("started");
    assert!(!refused.status.success());
    assert_eq!(sample(&page(second), "rodent_config_last_reload_successful"), Some(0.0));
    site.configure(None, "off");
    site.run(&["reload"]);
    wait("nothing listens", PATIENCE, || get(second, "/livez", "*/*").is_none().then_some(()));
}
