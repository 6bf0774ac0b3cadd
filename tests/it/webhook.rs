//! Webhooks of an agent as built, towards a receiver that answers as the test says: every event arrives, in order, under its
//! own identifier, however often the agent or the receiver goes; and what a receiver can answer means what it should.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
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
    path: String,
    headers: BTreeMap<String, String>,
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
                thread::spawn(move || _ = serve(&stream, &kept, &*script));
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

fn serve(stream: &TcpStream, taken: &Mutex<Vec<Posted>>, script: &Script) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|bytes| *bytes > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = BTreeMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.insert(name.to_lowercase(), value.to_owned());
        }
        let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
        reader.read_exact(&mut body).ok()?;
        let posted = Posted { path, headers, body: String::from_utf8(body).ok()? };
        let answer = script(&posted);
        if answer.starts_with("HTTP/1.1 2") {
            taken.lock().expect("no panic under the lock").push(posted);
        }
        let mut stream = stream;
        stream.write_all(answer.as_bytes()).ok()?;
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
        let number = posted.number().expect("a number");
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
    for posted in receiver.taken() {
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
    let numbers: std::collections::BTreeSet<_> = receiver.numbers().into_iter().collect();
    assert_eq!(numbers.into_iter().collect::<Vec<_>>(), [1, 2, 4, 5]);
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
    for format in ["cloudevents", "ntfy", "slack"] {
        site.reload(&of(format));
        let before = receiver.taken().len();
        let told = site.rodent(&["emit", "storage.pool.degraded", "pool_name=tank", "reason=sdb is gone"]);
        assert_eq!(told.code, Some(0), "{told:?}");
        let posted = wait(format, PATIENCE, || receiver.taken().get(before).cloned());
        let kind = &posted.headers["content-type"];
        match format {
            "cloudevents" => {
                let body = posted.json();
                assert_eq!(kind, "application/cloudevents+json");
                assert_eq!((&body["specversion"], &body["type"]), (&json!("1.0"), &json!("storage.pool.degraded")));
                assert_eq!(body["id"], posted.headers["webhook-id"]);
                assert_eq!(body["subject"], "tank");
            }
            "ntfy" => {
                assert_eq!(posted.headers["priority"], "4", "{posted:?}");
                assert!(posted.headers["title"].ends_with(": storage.pool.degraded"), "{posted:?}");
                assert!(posted.body.contains("tank") && posted.body.contains("sdb is gone"), "{}", posted.body);
            }
            _ => assert!(posted.json()["text"].as_str().is_some_and(|text| text.contains("tank")), "{}", posted.body),
        }
    }
}

#[test]
fn what_is_wrong_with_a_sink_is_told_with_its_place_and_without_its_url() {
    let site = Site::start("");
    for (lines, fault) in [
        ("sinks:\n  a: {type: webhook}", "2:3: sinks.a.url: missing; expected a URL"),
        ("sinks:\n  a: {url: 'https://x/'}", "2:3: sinks.a.type: missing; expected "),
        ("sinks:\n  a: {type: webhok, url: 'https://x/'}", "2:13: sinks.a.type: webhok: expected "),
        ("sinks:\n  a: {type: webhook, url: 'https://u:secret@x/'}", "sinks.a.url: a user or password in a URL"),
        ("sinks:\n  a: {type: webhook, url: 'ftp://x/secret'}", "sinks.a.url: only http:// and https:// are spoken"),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', filter: ['storag.*']}", "sinks.a.filter: "),
        ("sinks:\n  a: {type: webhook, url: 'https://x/', formt: ntfy}", "did you mean `format`?"),
        ("sinks:\n  uplink: {type: webhook, url: 'https://x/'}", "2:3: sinks.uplink: the controller's own name"),
        ("sinks:\n  A B: {type: webhook, url: 'https://x/'}", "2:3: sinks.A B: a name of a sink"),
        ("sinks: [a]", "1:8: sinks: a list: expected keys with values below it"),
    ] {
        site.configure(lines);
        let told = site.rodent(&["config", "check", &site.path("rodent.yml").display().to_string()]);
        assert_eq!(told.code, Some(78), "{lines}: {told:?}");
        assert!(told.err.contains(fault), "{lines}: {}", told.err);
        assert!(!told.err.contains("secret"), "{}", told.err);
    }
    site.configure("sinks:\n  a: {type: webhook, url: 'https://hooks.example.com/XYZZY'}");
    let shown = site.rodent(&["config", "show", &site.path("rodent.yml").display().to_string()]);
    let text = format!("{}{}", shown.out, shown.err);
    assert!(text.contains("https://hooks.example.com") && !text.contains("XYZZY"), "{text}");
}
