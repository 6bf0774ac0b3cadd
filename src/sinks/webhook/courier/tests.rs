//! What a request carries, and when another receiver takes its place.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use hyper::StatusCode;

use super::*;
use crate::settings::{Document, Secret};

const AFTER: Duration = Duration::from_secs(600);
const MOMENT: Duration = Duration::from_millis(1);

fn settings(lines: &str) -> Settings {
    let document = Document::parse("f", lines);
    Settings::read(&mut document.root()).expect("nothing is wrong with it")
}

fn node() -> NodeName {
    NodeName::of_tests()
}

fn fallback() -> Fallback {
    let to = Courier::new(settings("url: http://127.0.0.1:9/"), &node());
    Fallback { to, name: "other".to_owned(), receiver: "first".to_owned(), after: AFTER, first: Mutex::default() }
}

#[tokio::test(start_paused = true)]
async fn another_takes_the_place_of_one_that_fails_for_long_and_the_first_is_tried_each_minute() {
    let (fallback, begun) = (fallback(), Instant::now());
    assert_eq!(fallback.turn(), None);
    assert!(!fallback.fails() && !fallback.is_in_place());
    assert_eq!(fallback.turn(), Some(begun + AFTER), "who waits for a longer pause waits no longer than that");
    tokio::time::advance(AFTER - MOMENT).await;
    assert!(!fallback.fails());
    tokio::time::advance(MOMENT).await;
    assert!(fallback.fails() && fallback.is_in_place());
    assert_eq!(fallback.turn(), None, "it has come");
    tokio::time::advance(PROBE_INTERVAL - MOMENT).await;
    assert!(fallback.is_in_place());
    tokio::time::advance(MOMENT).await;
    assert!(!fallback.is_in_place(), "the first is tried");
    assert!(fallback.fails() && fallback.is_in_place(), "and does not get as long as before");
    fallback.works();
    assert!(!fallback.is_in_place() && !fallback.fails(), "from then on it is as it was to begin with");
}

/// One that answers with this status, or where that is empty hangs up, and how often it was asked. Its threads end with the test.
fn receiver(status: &'static str) -> (String, Arc<AtomicUsize>) {
    answering(vec![status])
}

/// The same, with one status after the other, and the last one from then on.
fn answering(statuses: Vec<&'static str>) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("url: http://{}/", listener.local_addr().expect("bound"));
    let asked = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                let _ = reader.read_line(&mut line).expect("a head");
                length =
                    line.strip_prefix("content-length: ").map_or(length, |its| its.trim().parse().expect("a number"));
                if line.trim().is_empty() {
                    break;
                }
            }
            reader.read_exact(&mut vec![0; length]).expect("a body");
            let asked = counting.fetch_add(1, Ordering::SeqCst);
            let status = statuses[asked.min(statuses.len() - 1)];
            if status.is_empty() {
                continue;
            }
            let answer = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).expect("it listens");
        }
    });
    (url, asked)
}

/// To the first, and at once to the other where that does not take it.
fn courier(first: &str, other: &str) -> Courier {
    let fallback = super::super::settings::Fallback { to: "other".to_owned(), after: Duration::ZERO };
    let stand_in = Some(Box::new(settings(other)));
    Courier::new(Settings { fallback: Some(fallback), stand_in, ..settings(first) }, &node())
}

#[tokio::test]
async fn what_the_first_refuses_is_refused_and_what_it_cannot_take_goes_to_the_other_alone() {
    let said = [Said::test(&node(), 0)];
    let (other, taken) = receiver("200 OK");
    let (refuses, _) = receiver("422 Unprocessable Content");
    let outcome = courier(&refuses, &other).take(&said, 0).await;
    assert!(outcome.is_err_and(|why| why.is_ok_and(|answer| answer.status == StatusCode::UNPROCESSABLE_ENTITY)));
    assert_eq!(taken.load(Ordering::SeqCst), 0, "another one is not asked for what is at fault itself");
    let (fails, asked) = receiver("503 Service Unavailable");
    let courier = courier(&fails, &other);
    for number in 1..=3 {
        assert!(courier.take(&said, 0).await.is_ok());
        assert_eq!((asked.load(Ordering::SeqCst), taken.load(Ordering::SeqCst)), (1, number), "the first has a rest");
    }
}

#[tokio::test]
async fn what_the_other_may_have_taken_is_not_said_to_be_taken_by_nobody() {
    let (said, fails) = ([Said::test(&node(), 0)], receiver("503 Service Unavailable").0);
    let outcome = courier(&fails, &receiver("").0).take(&said, 0).await;
    assert!(outcome.as_ref().is_err_and(may_be_taken), "it hung up: {outcome:?}");
    let outcome = courier(&fails, &receiver("500 Internal Server Error").0).take(&said, 0).await;
    let of_first = |why: NotTaken| why.is_ok_and(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(outcome.is_err_and(of_first), "what the first says counts");
}

#[tokio::test]
async fn once_the_other_has_taken_one_of_several_it_is_not_said_that_nobody_has_taken_any() {
    let said = [0, 1].map(|time| Said::test(&node(), time));
    let (fails, _) = receiver("503 Service Unavailable");
    // One letter for all to the first, one for each to the other.
    let fails = format!("{fails}\nformat: cloudevents-batch");
    let busy = "429 Too Many Requests";
    let to = courier(&fails, &answering(vec!["200 OK", busy]).0);
    let outcome = to.take(&said, 0).await;
    assert!(outcome.as_ref().is_err_and(may_be_taken), "the first of them: {outcome:?}");
    let of_first = |why: NotTaken| why.is_ok_and(|answer| answer.status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(outcome.is_err_and(of_first), "what the first says counts");
    let outcome = to.take(&said, 0).await;
    assert!(outcome.is_err_and(|why| !may_be_taken(&why)), "of another attempt that says nothing");
    let to = courier(&fails, &answering(vec!["200 OK", "200 OK", busy]).0);
    assert!(to.take(&said[..1], 0).await.is_ok());
    let outcome = to.take(&said, 0).await;
    assert!(outcome.as_ref().is_err_and(may_be_taken), "when it was in its place already: {outcome:?}");
}

#[test]
fn what_a_receiver_repeats_of_what_it_was_asked_shows_neither_its_path_nor_a_secret() {
    let mut courier = Courier::new(settings("url: http://127.0.0.1:9/hook/T0?of=nas"), &node());
    courier.proof.authorization = Some(Secret::new("Bearer T0KEN"));
    courier.proof.headers = vec![(HeaderName::from_static("x-key"), Secret::new("KEY"))];
    courier.proof.words = vec![("word".to_owned(), Secret::new("W0RD"))];
    courier.proof.keys = vec![Key::of(b"R0UT1NG".to_vec())];
    let says = |courier: &Courier, body: &str| {
        let answer = Answer { body: body.into(), ..Answer::of(StatusCode::NOT_FOUND) };
        courier.without_secrets(answer).text()
    };
    assert_eq!(says(&courier, "Cannot POST /hook/T0?of=nas"), "Cannot POST …");
    assert_eq!(says(&courier, "/hook/T0: Bearer T0KEN, KEY, W0RD, R0UT1NG?"), "…: Bearer …, …, …, …?");
    let of_token = Courier::new(settings("url: http://127.0.0.1:9/api/0123456789abcdef"), &node());
    assert_eq!(says(&of_token, r#"{"path": "\/api\/0123456789abcdef"}"#), r#"{"path": "\/api\/…"}"#);
    let of_none = Courier::new(settings("url: http://127.0.0.1:9/"), &node());
    assert_eq!(says(&of_none, "/ is not here"), "/ is not here");
}

#[test]
fn a_request_carries_what_was_set_and_what_proves_the_node() {
    let headers = "headers: ['X-Site: berlin']";
    let mut courier = Courier::new(settings(&format!("url: http://127.0.0.1:9/in\n{headers}\nformat: ntfy")), &node());
    courier.proof.authorization = Some(Secret::new("Bearer token"));
    courier.proof.headers = vec![(HeaderName::from_static("x-key"), Secret::new("key"))];
    courier.proof.keys = vec![signature::Key::of(vec![7; 24])];
    let letter =
        courier.format.letters(&[Said::test(&NodeName::of_tests(), 0)], &NodeName::of_tests(), &[], 0).remove(0);
    let request = courier.request(&letter).expect("a request");
    let header = |name: &str| request.headers()[name].to_str().expect("text").to_owned();
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("webhook-id", letter.id.as_str()),
        ("x-site", "berlin"),
        ("x-key", "key"),
        ("authorization", "Bearer token"),
        ("title", "attic: test"),
        ("host", "127.0.0.1:9"),
    ] {
        assert_eq!(header(name), value, "{name}");
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later").as_secs();
    let sent_at: u64 = header("webhook-timestamp").parse().expect("a number");
    assert!(now.abs_diff(sent_at) < 60, "seconds: {sent_at}");
    assert!(header("webhook-signature").starts_with("v1,"));
}
