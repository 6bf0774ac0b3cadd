use super::{line::tests::records, *};
use crate::collectors::finding::sentences;

const SSHD: &str = include_str!("../../../../tests/fixtures/logins/sshd.jsonl");
const SMBD: &str = include_str!("../../../../tests/fixtures/logins/smbd.jsonl");

fn told(records: Vec<JournalRecord>) -> Vec<String> {
    let (mut logins, mut fold) = (Logins::default(), Fold::default());
    let now = records.last().map_or(0, |record| record.at);
    logins.take(&mut fold, records, &BTreeMap::from([(1000, "alice".to_owned())]), now);
    sentences(&logins.diff(&Known::default(), &Known::default()))
}

fn sshd(messages: &[String]) -> Vec<JournalRecord> {
    let record = |(at, message): (i64, &String)| JournalRecord {
        at: at * 1000,
        uid: 0,
        executable: "/usr/sbin/sshd".to_owned(),
        message: message.clone(),
        process: 7,
        ..JournalRecord::default()
    };
    (1..).zip(messages).map(record).collect()
}

#[test]
fn logins_are_told_in_sentences_and_a_connection_that_fails_is_one_failure() {
    let expected = [
        "User alice failed to log in, from 127.0.0.1, ssh password",
        "User nosuch failed to log in, from 127.0.0.1, ssh password: no such user",
    ];
    assert_eq!(told(records(SSHD)), expected);
    let expected = [
        "User alice has logged in, from 127.0.0.1, smb",
        "User alice failed to log in, from 127.0.0.1, smb",
        "User mallory failed to log in, from 127.0.0.1, smb: no such user",
    ];
    assert_eq!(told(records(SMBD)), expected);
    // With keys alone nothing but the end of the connection tells.
    let closed = "Connection closed by authenticating user root 10.0.0.7 port 5 [preauth]".to_owned();
    assert_eq!(told(sshd(&[closed.clone(), closed])), ["User root failed to log in, from 10.0.0.7, ssh"]);
}

#[test]
fn who_leaves_is_told_where_the_login_was_and_by_the_word_of_that_process_alone() {
    let login = "Accepted password for alice from 10.0.0.7 port 10 ssh2".to_owned();
    let left = |user: &str| format!("pam_unix(sshd:session): session closed for user {user}");
    let expected = [
        "User alice has logged in, from 10.0.0.7, ssh password",
        "User alice has logged out, from 10.0.0.7, ssh password",
    ];
    assert_eq!(told(sshd(&[login.clone(), left("bob"), left("alice"), left("alice")])), expected);
    assert_eq!(told(sshd(&[login.clone(), left("bob")])), expected[..1]);
    // A second login within the hour only counts, and so does its end.
    assert_eq!(told(sshd(&[login.clone(), left("alice"), login.clone(), left("alice")])), expected);
    let mut records = sshd(&[login, left("alice")]);
    records[1].process = 8;
    assert_eq!(told(records), expected[..1]);
}

#[test]
fn who_gets_in_after_trying_again_and_again_is_an_error() {
    let failed = |port: i64| format!("Failed password for root from 10.0.0.7 port {port} ssh2");
    let mut messages: Vec<_> = (1..=9).map(failed).collect();
    messages.push("Accepted password for root from 10.0.0.7 port 10 ssh2".to_owned());
    let (mut logins, mut fold) = (Logins::default(), Fold::default());
    logins.take(&mut fold, sshd(&messages), &BTreeMap::new(), 10_000);
    let findings = logins.diff(&Known::default(), &Known::default());
    let last = findings.last().unwrap();
    assert_eq!(last.line(), "error security.auth.login_success root");
    assert_eq!(last.sentence(), "User root has logged in, from 10.0.0.7, ssh password, after failures: 9");
    let begins = &findings[5];
    assert!(
        begins.sentence().starts_with("Logins from 10.0.0.7 fail again and again, ssh password, failures: 6, from ")
    );
    let known = Known { fold, ..Known::default() };
    assert_eq!(logins.first_sight(&known)[0].line(), "warn security.auth.brute_force");
}

#[test]
fn who_goes_on_in_what_is_still_to_be_read_has_not_ceased() {
    let failed = |port: i64| format!("Failed password for root from 10.0.0.7 port {port} ssh2");
    let (mut logins, mut fold) = (Logins::default(), Fold::default());
    let (mut told, day) = (Vec::new(), 24 * 3600 * 1000);
    for has_more in [true, false] {
        logins.has_more = has_more;
        logins.take(&mut fold, sshd(&(1..=9).map(failed).collect::<Vec<_>>()), &BTreeMap::new(), day);
        told.extend(logins.diff(&Known::default(), &Known::default()).iter().map(Finding::line));
    }
    let expected = ["warn security.auth.brute_force", "info security.auth.brute_force_ceased"];
    assert_eq!(told[5..], expected);
}

/// Each ten times, as a machine on the open network sees it.
#[test]
fn ten_thousand_failures_a_minute_from_a_thousand_addresses_are_some_events_and_little_to_remember() {
    let failed = |number: i64| {
        let (address, user) = (format!("10.1.{}.{}", number % 1000 / 250, number % 250), number % 77);
        format!("Failed password for invalid user u{user} from {address} port {} ssh2", 1024 + number)
    };
    let mut records = sshd(&(0..10_000).map(failed).collect::<Vec<_>>());
    records.iter_mut().for_each(|record| record.at = record.at * 6 / 1000);
    let (mut logins, mut fold, mut told) = (Logins::default(), Fold::default(), Vec::new());
    for records in records.chunks(512) {
        let now = records.last().map_or(0, |record| record.at);
        logins.take(&mut fold, records.to_vec(), &BTreeMap::new(), now);
        told.extend(logins.diff(&Known::default(), &Known::default()));
    }
    let many = told.iter().filter(|it| it.sentence().starts_with("Logins from many addresses fail again and again"));
    assert_eq!(many.count(), 1);
    assert!(told.len() < 64, "{}", told.len());
    assert!(logins.connections.len() <= CONNECTIONS_MAX);
    assert!(serde_json::to_string(&fold).unwrap().len() < 64 * 1024);
}

#[test]
fn a_name_with_what_nobody_sees_does_not_get_onto_a_screen() {
    let failed = "Failed password for invalid user a\u{1b}[2J\u{202e}b from 10.0.0.7 port 5 ssh2".to_owned();
    let told = told(sshd(&[failed]));
    assert!(told[0].chars().all(|c| !crate::visible::is_hidden(c)), "{told:?}");
}
