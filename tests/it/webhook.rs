//! Webhooks of an agent as built, towards a receiver that answers as the test says: every event arrives, in order, under its
//! own identifier, however often the agent or the receiver goes; and what a receiver can answer means what it should.

mod dropped;
mod free;
mod mistakes;
mod nasty;
mod orders;
mod proxied;
mod secured;
mod subscriptions;
mod telling;
mod trial;

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use nix::sys::signal::Signal;
use ring::hmac;
use serde_json::{Value, json};

use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

const KEY: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// What was posted.
#[derive(Clone, Debug)]
struct Posted {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    /// As it reads, once it is unpacked.
    body: String,
}

impl Posted {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    fn number(&self) -> Option<u64> {
        self.json()["data"]["metadata"]["number"].as_str().and_then(|number| number.parse().ok())
    }
}

/// What a receiver says to what was posted, whole: status line, headers and body.
type Script = dyn Fn(&Posted) -> String + Send + Sync;

/// A receiver that keeps what it was sent; its threads end with the test.
struct Receiver {
    address: String,
    taken: Arc<Mutex<Vec<Posted>>>,
}

fn answer(status: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")
}

impl Receiver {
    /// Keeps what it answers with 2xx.
    fn start(script: impl Fn(&Posted) -> String + Send + Sync + 'static) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let (taken, script): (Arc<Mutex<Vec<Posted>>>, Arc<Script>) = (Arc::default(), Arc::new(script));
        let kept = Arc::clone(&taken);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, script) = (Arc::clone(&kept), Arc::clone(&script));
                thread::spawn(move || _ = serve(stream, &kept, &*script));
            }
        });
        Receiver { address, taken }
    }

    fn taken(&self) -> Vec<Posted> {
        self.taken.lock().expect("no panic under the lock").clone()
    }

    /// What was taken of the events that the test has numbered, in order.
    fn numbers(&self) -> Vec<u64> {
        self.taken().iter().filter_map(Posted::number).collect()
    }
}

/// The next request of a connection; none when it has ended.
fn posted(reader: &mut impl BufRead) -> Option<Posted> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let mut bytes = vec![0; headers.get("content-length").map_or(Ok(0), |length| length.parse()).ok()?];
    reader.read_exact(&mut bytes).ok()?;
    let mut body = String::new();
    match headers.get("content-encoding").map(String::as_str) {
        Some("gzip") => _ = GzDecoder::new(bytes.as_slice()).read_to_string(&mut body).ok()?,
        _ => body = String::from_utf8(bytes).ok()?,
    }
    Some(Posted { method, path, headers, body })
}

fn serve<S: Read + Write>(stream: S, taken: &Mutex<Vec<Posted>>, script: &Script) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let posted = posted(&mut reader)?;
        let answer = script(&posted);
        if answer.starts_with("HTTP/1.1 2") {
            taken.lock().expect("no panic under the lock").push(posted);
        }
        reader.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}

/// The sink `hook`, with these further keys.
fn sink(receiver: &Receiver, more: &str) -> String {
    let url = format!("http://{}/in?of=nas", receiver.address);
    format!("sinks:\n  hook: {{type: webhook, url: \"{url}\", backoff_max: 1s, filter: ['sharing.*']{more}}}")
}

fn hook(status: &Value) -> Value {
    let consumers = status["consumers"].as_array().expect("a list");
    consumers.iter().find(|consumer| consumer["name"] == "hook").cloned().unwrap_or_default()
}

#[test]
fn every_event_arrives_in_order_and_signed_although_both_sides_go_and_come_back() {
    let seen = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let counting = Arc::clone(&seen);
    let receiver = Receiver::start(move |posted| {
        // What tells of the kill has no number.
        let Some(number) = posted.number() else { return answer("200 OK") };
        let mut seen = counting.lock().expect("no panic under the lock");
        let attempts = seen.entry(number).or_default();
        *attempts += 1;
        match (*attempts, number % 37) {
            (1, 0) => answer("503 Service Unavailable"),
            _ => answer("200 OK"),
        }
    });
    let mut site = Site::start("");
    site.write("key", KEY);
    site.configure(&sink(&receiver, ", secret_file: [HERE/key]"));
    assert!(site.rodent(&["reload"]).out.contains("sinks.hook.url"));
    site.put(1, 150);
    site.until("durable", |status| {
        status["log"]["lanes"].as_array().expect("lanes").iter().all(|lane| lane["waiting_events"] == 0)
    });
    wait("some have arrived", PATIENCE, || (receiver.numbers().len() > 40).then_some(()));
    site.signal(Signal::SIGKILL);
    site.start_again();
    wait("it answers", PATIENCE, || (site.rodent(&["status"]).code == Some(0)).then_some(()));
    site.put(151, 150);
    wait("all have arrived", PATIENCE, || receiver.numbers().contains(&300).then_some(()));

    let numbers = receiver.numbers();
    let mut first: Vec<u64> = Vec::new();
    numbers.iter().for_each(|number| {
        if !first.contains(number) {
            first.push(*number);
        }
    });
    let lost: Vec<_> = (1..=150).filter(|number| !first.contains(number)).collect();
    assert!(first.is_sorted(), "{first:?}");
    assert!(first.ends_with(&(151..=300).collect::<Vec<_>>()), "{first:?}");
    assert!(lost.is_empty(), "what was acknowledged and is not lost on the disk arrives: {lost:?}");
    let mut ids = BTreeMap::new();
    for posted in receiver.taken().into_iter().filter(|posted| posted.number().is_some()) {
        assert_eq!(posted.path, "/in?of=nas");
        let id = posted.headers["webhook-id"].clone();
        assert_eq!(id, posted.json()["data"]["id"], "the event's own");
        let number = posted.number();
        assert_eq!(*ids.entry(id.clone()).or_insert(number), number, "an identifier is of one event");
        let text = format!("{id}.{}.{}", posted.headers["webhook-timestamp"], posted.body);
        let key = STANDARD.decode(&KEY["whsec_".len()..]).expect("base64");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), text.as_bytes());
        assert_eq!(posted.headers["webhook-signature"], format!("v1,{}", STANDARD.encode(tag)));
        assert_eq!(posted.json()["type"], "sharing.connection.connected");
    }
}

#[test]
fn an_event_that_is_refused_is_a_dead_letter_and_what_is_behind_it_goes_on() {
    let receiver = Receiver::start(|posted| match posted.number() {
        Some(3) => "HTTP/1.1 422 Unprocessable Content\r\ncontent-length: 8\r\n\r\nbad\x1b[31m".to_owned(),
        _ => answer("200 OK"),
    });
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 5);
    wait("the last arrives", PATIENCE, || receiver.numbers().contains(&5).then_some(()));
    assert_eq!(receiver.numbers(), [1, 2, 4, 5], "each once, although the portion is cut up to find the third");
    let letters = site.rodent(&["dead-letters", "list", "-o", "jsonl"]).out;
    let letter: Value = serde_json::from_str(letters.lines().next().expect("a letter")).expect("JSON");
    let text = letter.to_string();
    assert_eq!(
        (&letter["consumer"], &letter["target"]),
        (&"hook".into(), &format!("http://{}", receiver.address).into())
    );
    assert!(text.contains("422") && text.contains(&receiver.address) && !text.contains("of=nas"), "{text}");
    let record = wait("the record of it passes the filter", PATIENCE, || {
        receiver.taken().iter().map(Posted::json).find(|body| body["type"] == "system.loss.refused")
    });
    assert_eq!(record["data"]["payload"]["consumer"], "hook", "it says whose loss it is");
}

#[test]
fn with_refusals_max_what_a_receiver_stumbles_over_is_put_aside_and_what_it_takes_in_the_end_is_not() {
    let attempts = Arc::new(Mutex::new(BTreeMap::<u64, u32>::new()));
    let counting = Arc::clone(&attempts);
    let receiver = Receiver::start(move |posted| {
        let Some(number) = posted.number() else { return answer("200 OK") };
        let mut attempts = counting.lock().expect("no panic under the lock");
        let attempt = attempts.entry(number).or_default();
        *attempt += 1;
        match (number, *attempt) {
            (2, 1) => answer("422 Unprocessable Content"),
            (3, _) => answer("500 Internal Server Error"),
            (4, 1..=3) => answer("502 Bad Gateway"),
            _ => answer("200 OK"),
        }
    });
    let site = Site::start(&sink(&receiver, ", refusals_max: 2"));
    site.put(1, 5);
    wait("the last arrives", PATIENCE, || receiver.numbers().contains(&5).then_some(()));
    let numbers: std::collections::BTreeSet<_> = receiver.numbers().into_iter().collect();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [1, 2, 4, 5]);
    let letters = site.rodent(&["dead-letters", "list", "-o", "jsonl"]).out;
    assert!(letters.lines().count() == 1 && letters.contains("500"), "{letters}");
    assert!(attempts.lock().expect("no panic under the lock")[&3] >= 2);
}

#[test]
fn a_receiver_that_wants_something_else_is_held_and_told_of_and_goes_on_by_itself() {
    let says = Arc::new(Mutex::new("401 Unauthorized"));
    let script = Arc::clone(&says);
    let receiver = Receiver::start(move |_| answer(*script.lock().expect("no panic under the lock")));
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 2);
    for (status, reason, state) in [
        ("401 Unauthorized", "credentials", "STATE_HELD"),
        ("410 Gone", "unsupported", "STATE_HELD"),
        ("302 Found", "unsupported", "STATE_HELD"),
        ("503 Service Unavailable", "busy", "STATE_WAITING"),
        ("500 Internal Server Error", "error", "STATE_WAITING"),
    ] {
        *says.lock().expect("no panic under the lock") = status;
        site.until(status, |is| {
            let hook = hook(is);
            hook["state"] == state
                && hook["failed_attempts_by_reason"][reason].as_u64() > Some(0)
                && hook["last_error"].as_str().is_some_and(|error| error.contains(status))
        });
    }
    *says.lock().expect("no panic under the lock") = "200 OK";
    wait("both arrive", PATIENCE, || (receiver.numbers() == [1, 2]).then_some(()));
    site.until("connected", |status| hook(status)["state"] == "STATE_CONNECTED");
    site.says("events reach the sink hook");
    assert!(!site.log().contains("of=nas"), "what may be a password stands in no line");
}

#[test]
fn a_sink_that_is_not_configured_any_more_holds_nothing_up() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").to_string();
    let receiver = Receiver { address: gone, taken: Arc::default() };
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 3);
    site.until("waiting", |status| hook(status)["state"] == "STATE_WAITING");
    let cursors = |site: &Site| site.status()["log"]["cursors"].to_string();
    assert!(cursors(&site).contains("hook"));
    assert!(site.reload("").contains("sinks.hook.url"));
    assert_eq!(hook(&site.status()), Value::Null);
    assert!(!cursors(&site).contains("hook"), "nothing is kept for it");
    site.says("the sink is not configured any more");
}

#[test]
fn each_format_is_as_its_receivers_know_it() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let of = |format: &str| sink(&receiver, &format!(", format: {format}")).replace("'sharing.*'", "'storage.pool.*'");
    let site = Site::start("");
    site.write("key", "R0UT1NG");
    let formats = [
        "cloudevents",
        "cloudevents-binary",
        "cloudevents-batch",
        "signed",
        "ntfy",
        "gotify",
        "slack",
        "discord",
        "mattermost",
        "pagerduty",
    ];
    for format in formats {
        let more = match format {
            "signed" => "signed, secret_file: [HERE/key], header_prefix: X-ESP, kind_key: event_type",
            "pagerduty" => "pagerduty, secret_file: [HERE/key]",
            "gotify" => "gotify, header_files: ['X-Gotify-Key: HERE/key'], headers: ['X-From: nas']",
            _ => format,
        };
        site.reload(&of(more));
        let before = receiver.taken().len();
        let told = site.rodent(&["emit", "storage.pool.degraded", "pool_name=tank", "reason=sdb ist wég"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        let posted = wait(format, PATIENCE, || receiver.taken().get(before).cloned());
        let header = |name: &str| posted.headers.get(name).map_or("", String::as_str);
        let body = serde_json::from_str::<Value>(&posted.body).unwrap_or_default();
        let says =
            |text: &Value| text.as_str().is_some_and(|text| text.contains("tank") && text.contains("sdb ist wég"));
        match format {
            "cloudevents" => {
                assert_eq!(header("content-type"), "application/cloudevents+json");
                assert_eq!((&body["specversion"], &body["type"]), (&json!("1.0"), &json!("storage.pool.degraded")));
                assert_eq!(body["id"], header("webhook-id"));
                assert_eq!(body["subject"], "tank");
            }
            "cloudevents-binary" => {
                assert_eq!((header("ce-specversion"), header("ce-type")), ("1.0", "storage.pool.degraded"));
                assert_eq!((header("ce-subject"), header("ce-id")), ("tank", header("webhook-id")));
                assert!(says(&body["text"]), "{posted:?}");
            }
            "cloudevents-batch" => {
                assert_eq!(header("content-type"), "application/cloudevents-batch+json");
                assert!(body[0]["specversion"] == "1.0" && says(&body[0]["data"]["text"]), "{posted:?}");
            }
            "signed" => {
                let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"R0UT1NG"), posted.body.as_bytes());
                let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
                assert_eq!(header("x-esp-signature"), format!("sha256={tag}"));
                assert_eq!(
                    (header("x-esp-event"), header("x-esp-delivery")),
                    ("storage.pool.degraded", header("webhook-id"))
                );
                assert!(body["event_type"] == "storage.pool.degraded" && says(&body["data"]["text"]), "{posted:?}");
            }
            "ntfy" => {
                assert_eq!(header("priority"), "4", "{posted:?}");
                assert!(header("title").ends_with(": storage.pool.degraded"), "{posted:?}");
                assert!(says(&json!(posted.body)), "{}", posted.body);
            }
            "gotify" => {
                assert!(body["priority"] == 8 && says(&body["message"]), "{posted:?}");
                assert_eq!((header("x-gotify-key"), header("x-from")), ("R0UT1NG", "nas"));
            }
            "discord" => assert!(says(&body["content"]), "{posted:?}"),
            "pagerduty" => {
                assert_eq!((&body["routing_key"], &body["event_action"]), (&json!("R0UT1NG"), &json!("trigger")));
                assert!(body["payload"]["severity"] == "error" && says(&body["payload"]["summary"]), "{posted:?}");
                let ended = site.rodent(&["emit", "storage.pool.online", "pool_name=tank"]);
                assert_eq!(ended.code, Some(0), "{ended:?}");
                let resolved = wait("resolved", PATIENCE, || receiver.taken().get(before + 1).map(Posted::json));
                assert_eq!(
                    (&resolved["event_action"], &resolved["dedup_key"]),
                    (&json!("resolve"), &body["dedup_key"])
                );
            }
            _ => assert!(says(&body["text"]), "{posted:?}"),
        }
    }
    assert!(!site.log().contains("R0UT1NG"));
}

#[test]
fn another_sink_takes_what_one_has_not_taken_for_long_and_no_more_once_it_does() {
    let says = Arc::new(Mutex::new("503 Service Unavailable"));
    let script = Arc::clone(&says);
    let first = Receiver::start(move |_| answer(*script.lock().expect("no panic under the lock")));
    let other = Receiver::start(|_| answer("200 OK"));
    let fallback = format!(
        ", fallback: {{to: other, after: 1s}}}}\n  other: {{type: webhook, url: 'http://{}/', filter: ['level>=critical']",
        other.address
    );
    let site = Site::start(&sink(&first, &fallback));
    site.put(1, 3);
    wait("the other takes all", PATIENCE, || (other.numbers() == [1, 2, 3]).then_some(()));
    site.says("has taken nothing for 1s");
    *says.lock().expect("no panic under the lock") = "200 OK";
    // It is tried again when its rest is over, or anew.
    site.reload(&sink(&first, &fallback).replace("backoff_max: 1s", "backoff_max: 2s"));
    site.put(4, 2);
    wait("the first takes what comes", PATIENCE, || (first.numbers() == [4, 5]).then_some(()));
    assert_eq!(other.numbers(), [1, 2, 3], "each is taken once");
}

#[test]
fn a_test_goes_the_way_of_events_and_says_what_was_answered() {
    let says = Arc::new(Mutex::new(answer("200 OK")));
    let script = Arc::clone(&says);
    let receiver = Receiver::start(move |_| script.lock().expect("no panic under the lock").clone());
    let site = Site::start(&sink(&receiver, ", format: ntfy"));
    let tried = site.rodent(&["sinks", "test", "hook"]);
    assert_eq!(tried.code, Some(0), "{tried:?}");
    let said = format!("taken by http://{} in ", receiver.address);
    assert!(tried.out.starts_with(&said) && tried.out.ends_with("ms: 200 OK\n"), "{tried:?}");
    let posted = receiver.taken().pop().expect("a message");
    assert!(posted.body.starts_with("This is a test of ") && posted.headers["title"].ends_with(": test"), "{posted:?}");
    *says.lock().expect("no panic under the lock") =
        "HTTP/1.1 401 Unauthorized\r\ncontent-length: 8\r\n\r\nno token".to_owned();
    let tried = site.rodent(&["sinks", "test", "hook"]);
    assert_eq!(tried.code, Some(1), "{tried:?}");
    assert!(
        tried.out.starts_with("not taken, after ") && tried.out.contains("401 Unauthorized: no token"),
        "{tried:?}"
    );
    let tried = site.rodent(&["sinks", "test", "hok"]);
    assert_eq!(tried.code, Some(65), "{tried:?}");
    assert!(tried.err.contains("no sink is called `hok`; did you mean \"hook\"?"), "{tried:?}");
}
