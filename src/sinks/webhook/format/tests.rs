//! What each receiver is given.

use super::*;

fn said(level: Level, is_over: bool) -> Said {
    Said {
        id: "e1".to_owned(),
        kind: "state.problem".to_owned(),
        subject: "tank".to_owned(),
        state: "pool health".to_owned(),
        title: "tank: pool health".to_owned(),
        level,
        is_over,
        ..Said::test(&NodeName::of_tests(), 0)
    }
}

fn letter(format: &Format, said: Said) -> Letter {
    format.letters(&[said], &NodeName::of_tests(), &[], 0).remove(0)
}

fn json_of(format: &Format, said: Said) -> Value {
    serde_json::from_str(&letter(format, said).body).expect("JSON")
}

fn header(letter: &Letter, name: &str) -> String {
    let found = letter.headers.iter().find(|(own, _)| own == name);
    found.map(|(_, value)| value.clone()).unwrap_or_else(|| panic!("{name} in {letter:?}"))
}

#[test]
fn what_is_longer_than_a_receiver_takes_is_cut_and_marked() {
    let long = || Said { text: "é".repeat(20_000), title: "t".repeat(20_000), ..said(Level::Error, false) };
    let of_ntfy = letter(&Format::Ntfy, long());
    assert!((4090..=4096).contains(&of_ntfy.body.len()) && of_ntfy.body.ends_with(CUT), "{}", of_ntfy.body.len());
    let title = header(&of_ntfy, "title");
    let title = title.strip_prefix("=?UTF-8?B?").and_then(|title| title.strip_suffix("?=")).expect("as RFC 2047");
    let title = String::from_utf8(STANDARD.decode(title).expect("base64")).expect("text");
    assert!(title.chars().count() == 250 && title.starts_with("attic: t") && title.ends_with(CUT), "{title}");
    for (format, path, most) in [
        (Format::Slack, "/text", 4000),
        (Format::Discord, "/content", 2000),
        (Format::Mattermost, "/text", 16_383),
        (Format::PagerDuty, "/payload/summary", 1024),
    ] {
        let body = json_of(&format, long());
        let text = body.pointer(path).and_then(Value::as_str).expect("a text");
        assert!(text.chars().count() == most && text.ends_with(CUT), "{path}: {}", text.chars().count());
    }
    let short = letter(&Format::Ntfy, said(Level::Error, false));
    assert!(!short.body.contains(CUT) && header(&short, "title") == "attic: tank: pool health", "{short:?}");
}

#[test]
fn nobody_is_called_by_what_somebody_else_wrote() {
    let said = |kind: &str| Said {
        text: "Login of <!channel> & @here failed".to_owned(),
        kind: kind.to_owned(),
        title: kind.to_owned(),
        ..said(Level::Warn, false)
    };
    let of_slack = json_of(&Format::Slack, said("a"));
    assert_eq!(of_slack["text"], "attic: Login of &lt;!channel&gt; &amp; @here failed");
    let of_discord = json_of(&Format::Discord, said("a"));
    assert_eq!(of_discord["content"], "attic: Login of <!channel> & @here failed");
    assert_eq!(of_discord["allowed_mentions"], json!({"parse": []}));
    let of_mattermost = json_of(&Format::Mattermost, said("a"));
    assert_eq!(of_mattermost["text"], "attic: Login of <!channel> & @\u{200b}here failed");
}

#[test]
fn a_receiver_is_as_loud_as_it_is_bad_and_quiet_when_it_is_over() {
    for (level, is_over, priority, tag, severity) in [
        (Level::Critical, false, 5, "rotating_light", "critical"),
        (Level::Error, false, 4, "rotating_light", "error"),
        (Level::Warn, false, 3, "warning", "warning"),
        (Level::Info, false, 3, "information_source", "info"),
        (Level::Debug, false, 1, "information_source", "info"),
        (Level::Critical, true, 3, "white_check_mark", "critical"),
    ] {
        let of_ntfy = letter(&Format::Ntfy, said(level, is_over));
        assert_eq!((header(&of_ntfy, "priority"), header(&of_ntfy, "tags")), (priority.to_string(), tag.to_owned()));
        assert_eq!(json_of(&Format::Gotify, said(level, is_over))["priority"], 2 * priority);
        let alarm = json_of(&Format::PagerDuty, said(level, is_over));
        assert_eq!(alarm["payload"]["severity"], severity);
        assert_eq!(alarm["event_action"], if is_over { "resolve" } else { "trigger" });
    }
}

#[test]
fn a_header_is_ascii_whatever_stands_in_it() {
    let said = Said { kind: "a b".to_owned(), subject: "p\"%é\r\n".to_owned(), ..said(Level::Info, false) };
    let letter = letter(&Format::CloudEventsBinary, said);
    assert_eq!(
        (header(&letter, "ce-type"), header(&letter, "ce-subject")),
        ("a%20b".into(), "p%22%25%C3%A9%0D%0A".into())
    );
}

#[test]
fn the_end_of_an_incident_has_the_key_of_its_beginning() {
    let key = |said: Said, node: &str| {
        let node = NodeName { id: node.into(), ..NodeName::of_tests() };
        let letter = Format::PagerDuty.letters(&[said], &node, &[], 0).remove(0);
        let body: Value = serde_json::from_str(&letter.body).expect("JSON");
        body["dedup_key"].as_str().expect("a key").to_owned()
    };
    let begun = key(said(Level::Error, false), "nas");
    let ended = Said { id: "e2".to_owned(), ..said(Level::Info, true) };
    assert_eq!(key(ended.clone(), "nas"), begun);
    for other in [
        key(ended.clone(), "other"),
        key(Said { subject: "pond".to_owned(), ..ended.clone() }, "nas"),
        key(Said { state: "scrub".to_owned(), ..ended.clone() }, "nas"),
    ] {
        assert_ne!(other, begun);
    }
    assert_eq!(key(Said { state: String::new(), ..ended }, "nas"), "e2", "what has no state is by itself");
}

#[test]
fn several_are_one_letter_that_is_called_alike_when_it_is_sent_again() {
    let all = [said(Level::Error, false), Said { subject: "pond".to_owned(), ..said(Level::Error, true) }];
    for format in [Format::CloudEventsBatch, Format::Alertmanager] {
        let [first] = &format.letters(&all, &NodeName::of_tests(), &[], 1000)[..] else { panic!("one letter") };
        let body: Value = serde_json::from_str(&first.body).expect("JSON");
        assert_eq!(body.as_array().map(Vec::len), Some(2));
        assert_eq!(format.letters(&all, &NodeName::of_tests(), &[], 2000)[0].id, first.id);
        assert_ne!(format.letters(&all[..1], &NodeName::of_tests(), &[], 1000)[0].id, first.id);
        assert_eq!(format.letters(&[], &NodeName::of_tests(), &[], 0), []);
    }
    let alerts: Value =
        serde_json::from_str(&Format::Alertmanager.letters(&all, &NodeName::of_tests(), &[], 60_000)[0].body)
            .expect("JSON");
    assert_eq!(alerts[0]["endsAt"], "1970-01-01T00:05:00Z", "believed for four minutes");
    assert_eq!(alerts[1]["endsAt"], "1970-01-01T00:01:00Z", "over now");
    assert_eq!(
        alerts[0]["labels"],
        json!({"alertname": "pool health", "instance": "nas", "host": "attic", "subject": "tank", "severity": "error"})
    );
}
