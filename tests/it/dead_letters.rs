//! Dead letters as people decide about them: the built program against the socket, with letters and a log on disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use bytes::Bytes;
use prost::Message as _;
use rodent::{
    client::{ListDeadLettersRequest, RetryDeadLettersRequest},
    dead_letters::Letter,
    event::{EventView, Summary},
    event_log::{ClockState, Lane},
    schema::{
        Payload as _,
        events::{Event, StoragePoolPayload},
    },
};
use serde_json::Value;

use crate::local_socket::Site;

fn event(name: &str) -> Bytes {
    let pool = StoragePoolPayload { pool_name: name.to_owned(), ..Default::default() };
    let event = Event {
        event_id: format!("event-{name}"),
        timestamp: 1_762_767_000_000,
        event_payload: Some(pool.into_event_payload()),
        ..Default::default()
    };
    // A field of a later version, which must not get lost.
    [event.encode_to_vec(), vec![0xf8, 0x3f, 0x07]].concat().into()
}

fn letter(lane: Lane, sequence: u64, name: &str) -> Letter {
    Letter {
        consumer: "uplink".into(),
        event: event(name),
        lane,
        epoch: uuid::Uuid::from_u128(9),
        sequence,
        boot_id: uuid::Uuid::from_u128(1),
        clock: ClockState::Synchronised,
        refused_at: 1_762_767_000_000,
        refusals: 1,
        code: "InvalidArgument".to_owned(),
        message: format!("no {name} here"),
        target: "ctl:8443".to_owned(),
    }
}

/// A site with letters `a` (routine 5), `b` (routine 6) and `c` (urgent 5).
async fn site() -> Site {
    filled(Site::new().await)
}

fn filled(site: Site) -> Site {
    for (lane, sequence, name) in [(Lane::Routine, 5, "a"), (Lane::Routine, 6, "b"), (Lane::Urgent, 5, "c")] {
        site.dead_letters.add(&letter(lane, sequence, name)).expect("added");
    }
    site
}

async fn rodent(site: &Site, words: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rodent"));
    command.arg("--socket").arg(&site.socket).arg("dead-letters").args(words).env_remove("RODENT_SOCKET");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("started");
    parts(&output)
}

fn parts(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn file_of(site: &Site, letter: &Letter) -> PathBuf {
    site.socket.parent().unwrap_or(Path::new("/")).join("dead-letters").join(format!("{}.letter", letter.id()))
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_listed_and_shown_with_their_events() {
    let site = site().await;
    let (code, table, _) = rodent(&site, &["list"]).await;
    let ids: Vec<_> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((code, ids), (Some(0), vec!["uplink/urgent-5", "uplink/routine-5", "uplink/routine-6"]));
    let (code, shown, _) = rodent(&site, &["show", "routine-6", "-o", "json"]).await;
    let shown: Value = serde_json::from_str(&shown).expect("one object");
    assert_eq!(
        (code, &shown["message"], &shown["event"]["payload"]["pool_name"]),
        (Some(0), &"no b here".into(), &"b".into())
    );
    assert_eq!(shown["event"]["node"], "nas-1");
    let (code, nothing, said) = rodent(&site, &["show", "routine-7"]).await;
    assert_eq!((code, nothing.as_str(), said.as_str()), (Some(65), "", "rodent: there is no dead letter routine-7\n"));
    let (code, _, said) = rodent(&site, &["show", "seven"]).await;
    assert_eq!((code, said.contains("LANE-SEQUENCE")), (Some(65), true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retried_event_is_in_its_lane_again_with_every_byte_and_a_mark_under_a_new_number_and_its_letter_is_gone() {
    let site = site().await;
    let (code, printed, said) = rodent(&site, &["retry", "routine-6", "urgent-5"]).await;
    assert_eq!(
        (code, printed.as_str(), said.as_str()),
        (Some(0), "2 events are back in the log, to be sent once more\n", "")
    );
    for (lane, name) in [(Lane::Urgent, "c"), (Lane::Routine, "b")] {
        let rodent::event_log::Read::Run(run) = site.log.reader(lane, 1).read(9, 9999).expect("durable") else {
            panic!("{name} is not in its lane")
        };
        let stored: Vec<_> = run.events().map(|stored| (stored.sequence, stored.event)).collect();
        let [(1, bytes)] = &stored[..] else { panic!("{stored:?}") };
        let view = EventView::decode(bytes).expect("an event");
        assert!(bytes.starts_with(&event(name)) && view.metadata("rodent.retried").is_some());
    }
    assert_eq!(site.dead_letters.count(), 1);
    let (code, printed, _) = rodent(&site, &["retry", "--all"]).await;
    assert_eq!((code, printed.as_str()), (Some(0), "1 event is back in the log, to be sent once more\n"));
    assert_eq!(site.dead_letters.count(), 0);
    assert_eq!(rodent(&site, &["retry", "--all"]).await.0, Some(0), "nothing is left to do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_a_letter_that_is_not_there_or_damaged_does_nothing_and_all_takes_the_others() {
    let site = site().await;
    let damaged = letter(Lane::Routine, 5, "a");
    fs::write(file_of(&site, &damaged), "damaged").expect("written");
    for second in ["routine-99", "routine-5"] {
        let (code, _, said) = rodent(&site, &["retry", "routine-6", second]).await;
        assert_eq!((code, site.dead_letters.count()), (Some(65), 3), "{said}");
    }
    assert_eq!(rodent(&site, &["purge", "routine-6", "routine-99"]).await.0, Some(65));
    assert_eq!((site.dead_letters.count(), site.log.next_sequence(Lane::Routine)), (3, 1));
    let (code, table, said) = rodent(&site, &["list"]).await;
    assert_eq!((code, table.contains("does not begin like a letter")), (Some(0), false), "{table}{said}");
    assert!(table.contains("it is cut short"), "{table}");
    let (code, printed, said) = rodent(&site, &["retry", "--all"]).await;
    assert_eq!((code, printed.as_str()), (Some(65), "2 events are back in the log, to be sent once more\n"));
    assert_eq!(said, "rodent: 1 event is damaged and kept\n");
    assert!(file_of(&site, &damaged).exists(), "what cannot be read is kept");
    assert_eq!(rodent(&site, &["purge", "--all"]).await.1, "1 event is thrown away\n");
    assert!(!file_of(&site, &damaged).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_threw_what_away_is_told_by_an_event() {
    let site = site().await;
    let (code, printed, _) = rodent(&site, &["purge", "routine-5", "urgent-5-0000"]).await;
    assert_eq!((code, printed.as_str(), site.dead_letters.count()), (Some(0), "2 events are thrown away\n", 1));
    let rodent::event_log::Read::Run(run) = site.log.reader(Lane::Urgent, 1).read(9, 9999).expect("durable") else {
        panic!("nothing told")
    };
    let told: Vec<_> = run.events().map(|stored| EventView::decode(&stored.event).expect("an event")).collect();
    assert_eq!((told.len(), told[0].kind().as_str()), (1, "system.host.dead_letters_purged"));
    let uid = nix::unistd::geteuid();
    let who = if uid.is_root() { "root".to_owned() } else { format!("user {uid}") };
    let sentence = Summary::of(&told[0]).text;
    assert!(sentence.starts_with(&format!("Dead letters were thrown away: 2, by {who}, ")), "{sentence}");
    assert!(sentence.contains("routine-5") && sentence.contains("urgent-5-0000"), "{sentence}");
    assert_eq!(told[0].metadata("rodent.uid"), Some(uid.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_letters_of_one_consumer_are_listed_and_retried_and_those_of_another_are_left() {
    let site = site().await;
    for (sequence, name) in [(5, "a"), (9, "d")] {
        let of_phone = Letter { consumer: "phone".into(), ..letter(Lane::Routine, sequence, name) };
        site.dead_letters.add(&of_phone).expect("added");
    }
    let (code, table, _) = rodent(&site, &["list", "--consumer", "phone"]).await;
    let ids: Vec<_> = table.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!((code, ids), (Some(0), vec!["phone/routine-5", "phone/routine-9"]));
    let (code, _, said) = rodent(&site, &["retry", "routine-5"]).await;
    assert!(code == Some(65) && said.contains("one of phone/routine-5") && said.contains("uplink/routine-5"), "{said}");
    let (code, _, said) = rodent(&site, &["retry", "--consumer", "phone", "routine-6"]).await;
    assert_eq!((code, said.contains("there is no dead letter routine-6")), (Some(65), true), "{said}");
    let (code, printed, _) = rodent(&site, &["retry", "--consumer", "phone"]).await;
    assert_eq!((code, printed.as_str()), (Some(0), "2 events are back in the log, to be sent once more\n"));
    let left = rodent(&site, &["list", "-o", "jsonl"]).await.1;
    let left: Vec<Value> = left.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((left.len(), left.iter().all(|letter| letter["consumer"] == "uplink")), (3, true));
    assert_eq!(rodent(&site, &["purge", "--consumer", "uplink", "routine-5"]).await.1, "1 event is thrown away\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_letters_are_meant_only_in_so_many_words() {
    let site = site().await;
    for words in [&["purge"][..], &["retry"], &["purge", "--all", "routine-5"], &["show"]] {
        assert_eq!(rodent(&site, words).await.0, Some(64), "{words:?}");
    }
    // Whoever speaks gRPC by hand is asked the same.
    site.client.retry_dead_letters(RetryDeadLettersRequest::default()).await.expect_err("nothing named");
    assert_eq!((site.dead_letters.count(), site.log.next_sequence(Lane::Routine)), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_comes_in_pages_without_a_hole() {
    let site = Site::new().await;
    let large = Letter { event: vec![b'x'; 16_000].into(), ..letter(Lane::Routine, 1, "a") };
    for sequence in 1..=60 {
        site.dead_letters.add(&Letter { sequence, ..large.clone() }).expect("added");
    }
    let (mut pages, mut seen, mut after) = (0, Vec::new(), String::new());
    loop {
        let request = ListDeadLettersRequest { after, ..Default::default() };
        let page = site.client.dead_letters(request).await.expect("a page");
        assert_eq!((page.total, page.total_bytes), (60, site.dead_letters.bytes()));
        seen.extend(page.letters.iter().filter_map(|letter| letter.letter.as_ref().map(|letter| letter.sequence)));
        pages += 1;
        after = page.next;
        if after.is_empty() {
            break;
        }
    }
    assert_eq!((pages > 2, seen), (true, (1..=60).collect()));
}

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::os::unix::{fs::PermissionsExt as _, process::CommandExt as _};

    use rodent::pipeline::Gate;

    use super::*;
    use crate::copied::copy_program;

    const GROUP: &str = "daemon";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_member_of_the_group_may_retry_and_not_purge() {
        assert!(nix::unistd::geteuid().is_root(), "only root can become somebody else: run `make test` as root");
        // A group that every machine has, in place of ours.
        let group = nix::unistd::Group::from_name(GROUP).expect("readable").expect("every machine has it");
        let site = filled(Site::of_group(GROUP, Gate::open(), 1 << 30).await);
        let directory = site.socket.parent().expect("a directory");
        let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
        open(directory, 0o755);
        let program = directory.join("rodent");
        copy_program(&program);
        let member = |words: &'static [&'static str]| {
            let mut command = Command::new(&program);
            command
                .uid(65_534)
                .gid(group.gid.as_raw())
                .arg("--socket")
                .arg(&site.socket)
                .arg("dead-letters")
                .args(words);
            tokio::task::spawn_blocking(move || parts(&command.output().expect("started")))
        };
        let (code, _, said) = member(&["purge", "--all"]).await.expect("no panic");
        assert_eq!((code, site.dead_letters.count()), (Some(77), 3), "{said}");
        assert!(said.contains("only root and the agent's own user may"), "{said}");
        let (code, _, said) = member(&["retry", "--all"]).await.expect("no panic");
        assert_eq!((code, site.dead_letters.count()), (Some(0), 0), "{said}");
    }
}
