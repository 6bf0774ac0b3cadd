//! Webhooks and the beat by way of a proxy that speaks plain HTTP: what it is asked, and what is shown of it.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Receiver, answer, hook, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

#[test]
fn a_proxy_is_asked_for_the_whole_url_by_name_and_password_that_stand_nowhere_else() {
    let proxy = Receiver::start(|_| answer("200 OK"));
    let through = format!("http_proxy: 'http://nas:XYZZY%40@{}'", proxy.address);
    // Nobody is there: only the proxy can have been asked.
    let away = Receiver { address: "127.0.0.1:9".to_owned(), taken: std::sync::Arc::default() };
    let beat = format!("beat: {{url: 'http://127.0.0.1:9/ping', every: 10s, {through}}}");
    let site = Site::start(&format!("{}\n{beat}", sink(&away, &format!(", {through}"))));
    site.put(1, 1);
    let asked = wait("both arrive", PATIENCE, || {
        let asked = proxy.taken();
        ["POST", "GET"].iter().all(|method| asked.iter().any(|it| it.method == *method)).then_some(asked)
    });
    let own = format!("Basic {}", STANDARD.encode("nas:XYZZY@"));
    for (method, url) in [("POST", "http://127.0.0.1:9/in?of=nas"), ("GET", "http://127.0.0.1:9/ping")] {
        let posted = asked.iter().find(|it| it.method == method).unwrap_or_else(|| panic!("{method}: {asked:?}"));
        assert_eq!((posted.path.as_str(), posted.headers["host"].as_str()), (url, "127.0.0.1:9"));
        assert_eq!(posted.headers["proxy-authorization"], own);
    }
    let shown = site.rodent(&["config", "show", &site.path("rodent.yml").display().to_string()]).out;
    assert!(shown.contains(&format!("http://{}", proxy.address)), "{shown}");
    let told = [site.log(), site.status().to_string(), shown].concat();
    assert!(!told.contains("XYZZY") && !told.contains(&own["Basic ".len()..]), "{told}");
}

#[test]
fn a_proxy_that_wants_another_password_holds_the_sink_and_says_so() {
    let proxy = Receiver::start(|_| answer("407 Proxy Authentication Required"));
    let site = Site::start(&sink(&proxy, &format!(", http_proxy: 'http://{}'", proxy.address)));
    site.put(1, 1);
    site.until("it is held", |is| {
        hook(is)["state"] == "STATE_HELD"
            && hook(is)["last_error"].as_str().is_some_and(|error| error.contains("correct `http_proxy`"))
    });
}
