//! Receivers that do what none should: one line says what is the matter, nothing is lost, and nobody beside is held up.

use std::{
    io::{BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{Posted, Receiver, answer, hook, posted, serve, sink};
use crate::{
    process::wait,
    site::{PATIENCE, Site},
};

/// What a receiver does once it was asked; until `is_over` where it would go on for ever.
type Nastiness = fn(&mut TcpStream, is_over: &dyn Fn() -> bool) -> std::io::Result<()>;

/// Nasty for as long as it is set, then as it should be.
struct Nasty {
    address: String,
    does: Arc<Mutex<Option<Nastiness>>>,
    taken: Arc<Mutex<Vec<Posted>>>,
}

impl Nasty {
    fn start() -> Nasty {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let does: Arc<Mutex<Option<Nastiness>>> = Arc::default();
        let taken: Arc<Mutex<Vec<Posted>>> = Arc::default();
        let own = (Arc::clone(&does), Arc::clone(&taken));
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (does, taken) = own.clone();
                thread::spawn(move || {
                    let now = *does.lock().expect("no panic under the lock");
                    let Some(now) = now else {
                        serve(stream, &taken, &|_| WELL.to_owned());
                        return;
                    };
                    let copy = stream.try_clone().expect("a copy");
                    let _ = posted(&mut BufReader::new(copy));
                    let is_over = || does.lock().expect("no panic under the lock").is_none();
                    let _ = now(&mut stream, &is_over);
                });
            }
        });
        Nasty { address, does, taken }
    }

    fn set(&self, does: Option<Nastiness>) {
        *self.does.lock().expect("no panic under the lock") = does;
    }

    fn numbers(&self) -> Vec<u64> {
        self.taken.lock().expect("no panic under the lock").iter().filter_map(Posted::number).collect()
    }
}

/// Each request has a connection of its own, so that none goes on as before.
const WELL: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

const STALLS: Nastiness = |_, is_over| {
    while !is_over() {
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
};

const STALLS_MIDWAY: Nastiness = |stream, is_over| {
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")?;
    STALLS(stream, is_over)
};

const DRIPS: Nastiness = |stream, is_over| {
    stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")?;
    while !is_over() {
        stream.write_all(b"1\r\nx\r\n")?;
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
};

const ENDLESS_HEAD: Nastiness = |stream, is_over| {
    stream.write_all(b"HTTP/1.1 200 OK\r\n")?;
    while !is_over() {
        stream.write_all(&b"x-more: and more\r\n".repeat(100))?;
    }
    Ok(())
};

const GARBAGE: Nastiness = |stream, _| stream.write_all(b"\x00\xffSSH-2.0-OpenSSH_9.9\r\n\r\n\r\n");

const CLOSES: Nastiness = |_, _| Ok(());

const CLOSES_MIDWAY: Nastiness =
    |stream, _| stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of the ans");

const REDIRECTS: Nastiness = |stream, _| {
    stream
        .write_all(b"HTTP/1.1 307 Temporary Redirect\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
};

const PAINTS: Nastiness = |stream, _| {
    stream.write_all(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 15\r\n\r\n\x1b[31mred\nand on")
};

/// The conditions of the sink.
fn conditions(status: &Value) -> Vec<String> {
    let all = status["conditions"].as_array().cloned().unwrap_or_default();
    all.iter().map(Value::to_string).filter(|condition| condition.contains("the sink hook")).collect()
}

#[test]
fn each_nasty_receiver_is_one_condition_of_one_line_and_nothing_is_lost_or_held_up_beside_it() {
    let (nasty, healthy) = (Nasty::start(), Receiver::start(|_| answer("200 OK")));
    let beside =
        format!(", timeout: 1s}}\n  fine: {{type: webhook, url: 'http://{}/', filter: ['sharing.*']", healthy.address);
    let receiver = Receiver { address: nasty.address.clone(), taken: Arc::default() };
    let site = Site::start(&sink(&receiver, &beside));
    let mut sent = 0;
    for (does, why) in [
        (STALLS, "no answer from http://"),
        (STALLS_MIDWAY, "no answer from http://"),
        (DRIPS, "no answer from http://"),
        (ENDLESS_HEAD, "speak HTTP: "),
        (GARBAGE, "speak HTTP: "),
        (CLOSES, "speak HTTP: "),
        (CLOSES_MIDWAY, "answered 200 OK and broke off"),
        (REDIRECTS, "answered 307 Temporary Redirect; redirects are not followed"),
        (PAINTS, "answered 500 Internal Server Error: [31mredand on"),
    ] {
        nasty.set(Some(does));
        site.put(sent + 1, 3);
        sent += 3;
        site.until(why, |is| hook(is)["last_error"].as_str().is_some_and(|error| error.contains(why)));
        site.until("one condition", |is| {
            let conditions = conditions(is);
            conditions.len() == 1 && conditions[0].contains(why) && !conditions[0].contains("\\n")
        });
        wait("the one beside it has all", PATIENCE, || healthy.numbers().contains(&sent).then_some(()));
        nasty.set(None);
        wait("it has all once it is well", PATIENCE, || nasty.numbers().contains(&sent).then_some(()));
        site.until("nothing is wrong", |is| conditions(is).is_empty());
    }
    let mut numbers = nasty.numbers();
    numbers.dedup();
    assert_eq!(numbers, (1..=sent).collect::<Vec<_>>(), "each, in order");
    assert_eq!(healthy.numbers(), (1..=sent).collect::<Vec<_>>());
    let letters = site.rodent(&["dead-letters", "list", "-o", "jsonl"]).out;
    assert_eq!(letters, "", "none of it is the events' fault");
}

#[test]
fn an_answer_without_end_is_read_to_a_bound_and_its_status_counts() {
    let nasty = Nasty::start();
    let endless: Nastiness = |stream, is_over| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        while !is_over() {
            stream.write_all(&[b'x'; 65_536])?;
        }
        Ok(())
    };
    nasty.set(Some(endless));
    let receiver = Receiver { address: nasty.address.clone(), taken: Arc::default() };
    let site = Site::start(&sink(&receiver, ""));
    site.put(1, 20);
    site.until("all are taken", |is| {
        let lanes = hook(is)["lanes"].as_array().cloned().unwrap_or_default();
        lanes.iter().filter_map(|lane| lane["delivered_events"].as_u64()).sum::<u64>() >= 20
    });
    assert_eq!(hook(&site.status())["state"], "STATE_CONNECTED");
    site.configure(&sink(&receiver, ", expect: {json: {ok: true}}"));
    assert_eq!(site.rodent(&["reload"]).code, Some(0));
    site.put(21, 1);
    site.until("its JSON is not looked for without end", |is| {
        hook(is)["last_error"].as_str().is_some_and(|error| error.contains("its JSON is longer than is read"))
    });
}
