//! What is subscribed by event goes the way of sinks, and the trace that an event belongs to goes with it.

use std::process::Command;

use serde_json::Value;

use super::{Receiver, answer};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn emit(site: &Site, words: &[&str], trace: &str) -> String {
    let mut emit = Command::new(env!("CARGO_BIN_EXE_rodent"));
    emit.args(words).arg("--socket").arg(site.path("rodent.sock")).env("TRACEPARENT", trace);
    let output = emit.output().expect("start rodent");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn one_kind_goes_to_many_by_name_and_by_url_and_another_does_not() {
    let [named, by_url] = [(); 2].map(|()| Receiver::start(|_| answer("200 OK")));
    let url = format!("http://{}/hooks/of-nobody-else", by_url.address);
    let site = Site::start(&format!(
        "sinks:\n  ops: {{type: webhook, url: 'http://{}/'}}\nsubscriptions:\n  - on: storage.pool.*\n    \
         to: [ops, '{url}']\n    timeout: 5s\n  - on: service.status.failed\n    to: ops\n",
        named.address
    ));
    for (kind, field) in [
        ("storage.pool.created", "pool_name=tank"),
        ("service.status.failed", "service_name=smbd"),
        ("sharing.share.created", "share_name=home"),
    ] {
        emit(&site, &["emit", kind, field], "");
    }
    let kinds = |receiver: &Receiver| {
        receiver.taken().iter().map(|it| it.json()["type"].as_str().expect("a kind").to_owned()).collect::<Vec<_>>()
    };
    wait("both have what is theirs", PATIENCE, || {
        let mut of_named = kinds(&named);
        of_named.sort();
        (of_named == ["service.status.failed", "storage.pool.created"] && kinds(&by_url) == ["storage.pool.created"])
            .then_some(())
    });
    assert!(by_url.taken().iter().all(|posted| posted.path == "/hooks/of-nobody-else"));
    let listed = site.rodent(&["sinks", "list", "-o", "jsonl"]).out;
    let names: Vec<_> = listed
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["name"].as_str().expect("a name").to_owned())
        .collect();
    assert!(names.contains(&"ops".to_owned()) && names.iter().any(|name| name.starts_with("url-")), "{names:?}");
    assert!(!listed.contains("of-nobody-else"), "{listed}");
    let shown = Command::new(env!("CARGO_BIN_EXE_rodent"))
        .args(["config", "show"])
        .arg(site.path("rodent.yml"))
        .output()
        .expect("start rodent");
    let shown = String::from_utf8(shown.stdout).expect("text");
    let filter = shown.lines().find(|line| line.contains("sinks.ops.filter")).expect("a line");
    assert!(filter.contains("storage.pool.* or service.status.failed") && filter.contains("rodent.yml:4"), "{filter}");
    assert!(!shown.contains("of-nobody-else"), "{shown}");
}

#[test]
fn a_trace_goes_with_its_event_as_a_header_and_what_is_none_is_left_out_and_said() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let sink = |name: &str, format: &str| {
        let address = &receiver.address;
        format!("  {name}: {{type: webhook, url: 'http://{address}/{name}', format: {format}, filter: ['storage']}}\n")
    };
    let sinks = ["standard", "cloudevents", "cloudevents-binary", "cloudevents-batch", "signed"];
    let site = Site::start(&format!("sinks:\n{}", sinks.map(|name| sink(name, name)).concat()));
    // Two events may be in one list.
    let posted = |count: usize| {
        wait("all have it", PATIENCE, || {
            let taken = receiver.taken();
            (taken.iter().filter(|posted| posted.path != "/cloudevents-batch").count() >= count).then_some(taken)
        })
    };
    let others = sinks.len() - 1;
    let said = emit(&site, &["emit", "storage.pool.created", "pool_name=tank"], TRACE);
    assert!(!said.contains("TRACEPARENT"), "{said}");
    let first = wait("all have it", PATIENCE, || Some(posted(others)).filter(|taken| taken.len() == sinks.len()));
    for posted in first {
        let expected = (posted.path != "/cloudevents-batch").then_some(TRACE);
        assert_eq!(posted.headers.get("traceparent").map(String::as_str), expected, "{posted:?}");
        let body = posted.json();
        match posted.path.as_str() {
            "/cloudevents" => assert_eq!(body["traceparent"], TRACE),
            "/cloudevents-batch" => assert_eq!(body[0]["traceparent"], TRACE),
            "/cloudevents-binary" => assert_eq!(posted.headers["ce-traceparent"], TRACE),
            _ => assert_eq!(body["data"]["metadata"]["traceparent"], TRACE),
        }
    }
    let said = emit(&site, &["emit", "storage.pool.created", "pool_name=tank"], "00-none");
    assert!(said.contains("TRACEPARENT is no trace context"), "{said}");
    posted(2 * others);
    // What an event says of itself counts, in JSON, too.
    site.write("events", r#"{"kind": "storage.pool.created", "metadata": {"traceparent": "00-11112f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}}
{"kind": "storage.pool.created"}"#);
    let file = site.path("events").display().to_string();
    emit(&site, &["emit", "--json", &file], TRACE);
    let all = posted(4 * others);
    let of = |path: &str| -> Vec<_> {
        let own = all.iter().filter(|posted| posted.path == path);
        own.map(|posted| posted.headers.get("traceparent").cloned().unwrap_or_default()).collect()
    };
    let own = "00-11112f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    assert_eq!(of("/standard"), [TRACE, "", own, TRACE]);
}
