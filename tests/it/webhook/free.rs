//! What a webhook says in a form of the receiver's own, with which fields, compressed, and proven by a password; and which answer
//! it takes for a yes.

use std::sync::{Arc, Mutex};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::hmac;
use serde_json::{Value, json};

use super::{KEY, Posted, Receiver, answer, hook, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

fn degraded(site: &Site, pool: &str) {
    let done = site.rodent(&["emit", "storage.pool.degraded", &format!("pool_name={pool}"), "-m", "ticket=A7"]);
    assert_eq!(done.code, Some(0), "{done:?}");
}

fn shown(site: &Site) -> String {
    site.rodent(&["config", "show", &site.path("rodent.yml").display().to_string()]).out
}

fn first(receiver: &Receiver) -> Posted {
    wait("it arrives", PATIENCE, || receiver.taken().first().cloned())
}

#[test]
fn a_free_form_is_sent_as_it_is_written_with_what_an_event_says_in_its_places() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let form = r#"
    format: free
    method: PUT
    content_type: application/vnd.nas+json
    headers: ['X-Pool: {pool_name}', 'X-What: {kind} on {node}', 'X-Braces: {{kind}}']
    drop: [origin]
    add: {site: berlin}
    filter: ['storage.pool.*']
    secrets: {token: HERE/token}
    body: |
      {"text": "{node}: {text}", "token": "{secret.token}", "pool": {pool_name}, "size": {size_bytes}, "ticket": "{meta.ticket}",
       "nothing": "{dataset_name}", "event": {json}}
"#;
    let url = format!("http://{}/in", receiver.address);
    let site = Site::start("");
    site.write("token", "XYZZY\n");
    site.reload(&format!("sinks:\n  hook:\n    type: webhook\n    url: {url}{form}"));
    degraded(&site, "a \"tank\"\\ wég");
    let posted = first(&receiver);
    let header = |name: &str| posted.headers.get(name).map_or("", String::as_str);
    assert_eq!((posted.method.as_str(), header("content-type")), ("PUT", "application/vnd.nas+json"));
    let node = posted.json()["event"]["node"].as_str().expect("a name").to_owned();
    assert_eq!(header("x-pool"), "a \"tank\"\\ wég");
    assert_eq!(header("x-what"), format!("storage.pool.degraded on {node}"));
    assert_eq!(header("x-braces"), "{kind}");
    let body = posted.json();
    assert_eq!((&body["pool"], &body["size"]), (&json!("a \"tank\"\\ wég"), &Value::Null));
    assert_eq!((&body["ticket"], &body["nothing"]), (&json!("A7"), &json!("")));
    assert!(
        body["text"].as_str().is_some_and(|text| text.starts_with(&format!("{node}: Pool a \"tank\"\\ wég"))),
        "{body}"
    );
    assert_eq!(header("webhook-id"), body["event"]["id"], "the event's own");
    assert_eq!((&body["event"]["site"], &body["event"]["origin"]), (&json!("berlin"), &Value::Null));

    assert_eq!(body["token"], "XYZZY", "of a file");
    let told = [site.log(), site.status().to_string(), shown(&site)].concat();
    assert!(!told.contains("XYZZY") && !told.contains("{json}") && told.contains(" bytes)"), "{told}");

    let tried = site.rodent(&["sinks", "test", "hook"]);
    assert_eq!(tried.code, Some(0), "also of a test, which has no pool: {tried:?}");
}

#[test]
fn what_is_sent_has_the_fields_that_are_wanted_and_no_others() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let more = ", drop: [origin, source], rename: {pool_name: pool, metadata: labels}, add: {rack: 7}";
    let of =
        |format: &str| sink(&receiver, &format!("{more}, format: {format}")).replace("'sharing.*'", "'storage.pool.*'");
    let site = Site::start(&of("standard"));
    for (number, format) in
        ["standard", "signed", "cloudevents", "cloudevents-binary", "cloudevents-batch"].iter().enumerate()
    {
        site.configure(&of(format));
        assert_eq!(site.rodent(&["reload"]).code, Some(0));
        degraded(&site, "tank");
        let body = wait(format, PATIENCE, || receiver.taken().get(number).map(Posted::json));
        let data = match *format {
            "cloudevents-binary" => &body,
            "cloudevents-batch" => &body[0]["data"],
            _ => &body["data"],
        };
        assert_eq!((&data["payload"]["pool"], &data["rack"]), (&json!("tank"), &json!(7)), "{format}: {body}");
        assert_eq!(data["labels"]["ticket"], "A7", "{format}: {body}");
        let object = data.as_object().expect("an object");
        let gone = ["origin", "source", "metadata"].iter().any(|name| object.contains_key(*name));
        assert!(!gone && data["payload"]["pool_name"] == Value::Null, "{format}: {body}");
    }
}

#[test]
fn a_compressed_body_reads_as_any_other_and_is_signed_as_it_reads() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let site = Site::start("");
    site.write("key", KEY);
    site.reload(&sink(&receiver, ", compress: gzip, secret_file: [HERE/key]"));
    site.put(1, 1);
    let posted = first(&receiver);
    assert_eq!((posted.headers["content-encoding"].as_str(), posted.number()), ("gzip", Some(1)));
    let key = STANDARD.decode(&KEY["whsec_".len()..]).expect("base64");
    let signed = format!("{}.{}.{}", posted.headers["webhook-id"], posted.headers["webhook-timestamp"], posted.body);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), signed.as_bytes());
    assert_eq!(posted.headers["webhook-signature"], format!("v1,{}", STANDARD.encode(tag)));
}

#[test]
fn an_answer_that_is_not_what_is_expected_is_no_yes_and_says_why() {
    let says = Arc::new(Mutex::new(("200 OK", r#"{"ok": false}"#)));
    let script = Arc::clone(&says);
    let receiver = Receiver::start(move |_| {
        let (status, body) = *script.lock().expect("no panic under the lock");
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    });
    let site = Site::start(&sink(&receiver, ", expect: {status: [200, 409], json: {ok: true}}"));
    site.put(1, 2);
    for (status, body, why) in [
        ("200 OK", r#"{"ok": false}"#, "answered 200 OK, and `ok` in it is false, and not true"),
        ("200 OK", "<html>", "and what it says is no JSON, which `expect.json` asks for"),
        ("202 Accepted", r#"{"ok": true}"#, "answered 202 Accepted, and not 200 or 409, as `expect.status` has it"),
    ] {
        *says.lock().expect("no panic under the lock") = (status, body);
        site.until(why, |is| {
            hook(is)["state"] == "STATE_WAITING"
                && hook(is)["last_error"].as_str().is_some_and(|error| error.contains(why))
        });
    }
    // What was answered with 2xx the receiver has kept; all of it under the identifier of the first event.
    assert!(receiver.numbers().iter().all(|number| *number == 1), "nothing goes on: {:?}", receiver.numbers());
    *says.lock().expect("no panic under the lock") = ("409 Conflict", r#"{"ok": true}"#);
    site.until("it goes on", |is| hook(is)["state"] == "STATE_CONNECTED");
    let letters = site.rodent(&["dead-letters", "list", "-o", "jsonl"]).out;
    assert_eq!(letters, "", "none was refused");
}

#[test]
fn user_and_password_of_a_file_are_sent_and_followed_and_stand_nowhere_else() {
    let receiver = Receiver::start(|_| answer("200 OK"));
    let site = Site::start("");
    site.write("basic", "nas:XYZZY one\n");
    site.reload(&sink(&receiver, ", basic_file: HERE/basic"));
    site.put(1, 1);
    let of = |text: &str| format!("Basic {}", STANDARD.encode(text));
    assert_eq!(first(&receiver).headers["authorization"], of("nas:XYZZY one"));
    site.write("basic", "nas:XYZZY two");
    let mut number = 1;
    wait("the next one is sent", PATIENCE, || {
        number += 1;
        site.put(number, 1);
        let taken = wait("it arrives", PATIENCE, || {
            receiver.taken().into_iter().find(|posted| posted.number() == Some(number))
        });
        (taken.headers["authorization"] == of("nas:XYZZY two")).then_some(())
    });
    let told = [site.log(), site.status().to_string(), shown(&site)].concat();
    assert!(!told.contains("XYZZY") && !told.contains(&STANDARD.encode("nas:XYZZY two")), "{told}");
}
