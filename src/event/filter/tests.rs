//! Filters as people write them.

use super::*;
use crate::{
    event::{KindBloom, KindMark},
    schema::{Payload, events::*},
};

fn event(level: EventLevel, payload: impl Payload) -> EventView {
    EventView::from(&Event {
        event_id: "0199-a".into(),
        level: level.into(),
        source: "storage".into(),
        metadata: [("component".to_owned(), "zfs".to_owned())].into(),
        event_payload: Some(payload.into_event_payload()),
        ..Event::default()
    })
}

fn tank() -> EventView {
    let payload = StoragePoolPayload {
        pool_name: "tank".into(),
        devices: vec!["sda".into(), "sdb".into()],
        size_bytes: 1 << 40,
        operation: 4,
        ..Default::default()
    };
    event(EventLevel::Warn, payload)
}

#[track_caller]
fn takes(filter: &str, event: &EventView) -> bool {
    Filter::parse(&[filter]).expect("a filter").matches(event)
}

#[track_caller]
fn refusal(filter: &str) -> String {
    Filter::parse(&[filter]).expect_err("no filter").to_string()
}

#[test]
fn the_empty_filter_takes_every_event() {
    assert!(takes("", &tank()));
    assert!(Filter::parse::<&str>(&[]).expect("a filter").is_empty());
}

#[test]
fn patterns_are_alternatives_and_conditions_must_all_hold() {
    assert!(takes("storage.pool.* level>=warn pool_name=tank", &tank()));
    assert!(takes("network storage.pool", &tank()));
    assert!(takes("storage.*_started", &tank()));
    assert!(!takes("network service", &tank()));
    assert!(!takes("storage.pool level>=error", &tank()));
    assert!(!takes("storage.pool pool_name=tank pool_name=dozer", &tank()));
    let words = Filter::parse(&["storage.pool", "pool_name=tank"]).expect("a filter");
    assert!(words.matches(&tank()));
}

#[test]
fn levels_compare_by_severity() {
    for (filter, taken) in [
        ("level=warn", true),
        ("level=WARNING", true),
        ("level!=warn", false),
        ("level<error", true),
        ("level<=info", false),
        ("level>debug", true),
    ] {
        assert_eq!(takes(filter, &tank()), taken, "{filter}");
    }
    assert!(takes("level>=critical", &event(EventLevel::Essential, NetworkDnsPayload::default())));
}

#[test]
fn what_every_event_has_can_be_asked_for() {
    for filter in [
        "category=storage",
        "category=stor*",
        "category!=network",
        "kind=storage.pool.scrub_*",
        "kind!=storage.disk",
        "source=storage",
        "id=0199-*",
        "meta.component=zfs",
        "meta.component!=md",
        "meta.action!=x",
    ] {
        assert!(takes(filter, &tank()), "{filter}");
    }
    for filter in ["category!=storage", "source=local", "id=0199", "meta.action=*", "meta.component!=z*"] {
        assert!(!takes(filter, &tank()), "{filter}");
    }
}

#[test]
fn fields_of_the_payload_can_be_asked_for() {
    for filter in [
        "pool_name=t*k",
        "pool_name!=dozer",
        "raid_type=",
        "devices=sdb",
        "devices!=sdc",
        "size_bytes>=1099511627776",
        "size_bytes>=1TiB",
        "size_bytes<1.5TiB",
        "size_bytes>0.5",
        "size_bytes=1099*",
        "used_bytes=0",
        "operation=scrub_started",
        "operation=STORAGE_POOL_OPERATION_SCRUB_STARTED",
        "operation=4",
        "operation!=created",
        "payload.pool_name=tank",
        "username!=root",
    ] {
        assert!(takes(filter, &tank()), "{filter}");
    }
    for filter in ["pool_name!=tank", "devices!=sda", "size_bytes>1TiB", "username=", "operation=created", "pid<1"] {
        assert!(!takes(filter, &tank()), "{filter}");
    }
}

#[test]
fn floats_flags_and_map_entries_compare_in_their_own_way() {
    let threshold = UsageThresholdPayload { current_value: 0.1, ..Default::default() };
    assert!(takes("current_value=0.1 current_value<0.2", &event(EventLevel::Info, threshold)));
    let shutdown = event(EventLevel::Info, SystemShutdownPayload::default());
    assert!(takes("graceful=false", &shutdown));
    assert!(!takes("graceful=true", &shutdown));
    let system_info = [("os.name".to_owned(), "Debian".to_owned())].into();
    let startup = event(EventLevel::Info, SystemStartupPayload { system_info, ..Default::default() });
    assert!(takes("system_info.os.name=Deb*", &startup));
    assert!(takes("system_info=os.name", &startup));
    assert!(!takes("system_info.cpu=4", &startup));
    let lost = EventLossPayload { count_by_level: [("error".to_owned(), 3)].into(), ..Default::default() };
    assert!(takes("count_by_level.error>=3", &event(EventLevel::Essential, lost)));
}

#[test]
fn times_and_percentages_are_compared_as_people_write_them() {
    let payload = SecurityCertificatePayload { expiry_time: 1_793_836_800, ..Default::default() };
    let certificate = event(EventLevel::Warn, payload);
    for filter in ["expiry_time<2027-01-01", "expiry_time=2026-11-05T00:00:00Z", "expiry_time>=2026-11-05"] {
        assert!(takes(filter, &certificate), "{filter}");
    }
    assert!(!takes("expiry_time>2026-11-06", &certificate));
    let milliseconds = EventLossPayload { first_time: 1_793_836_800_000, ..Default::default() };
    assert!(takes("first_time=2026-11-05", &event(EventLevel::Essential, milliseconds)));
    let full = StoragePoolPayload { used_percent: 91.5, ..Default::default() };
    assert!(takes("used_percent>90%", &event(EventLevel::Warn, full)));
}

#[test]
fn a_field_named_like_one_of_the_event_is_asked_for_through_payload() {
    let transfer = StorageTransferPayload { source: "/srv/a".into(), ..Default::default() };
    let transfer = event(EventLevel::Info, transfer);
    assert!(takes("payload.source=/srv/* source=storage", &transfer));
    assert!(!takes("source=/srv/a", &transfer));
}

#[test]
fn a_filter_that_can_take_nothing_is_refused_with_what_would_be_right() {
    for (filter, message) in [
        ("storage.pol", "no kind is called \"storage.pol\"; did you mean \"storage.pool\"?"),
        ("storage.pool.craeted", "no kind is called \"storage.pool.craeted\"; did you mean \"storage.pool.created\"?"),
        ("weather", "no kind is called \"weather\"; what sentences say is asked for by text~weather"),
        (
            "pol_name=tank",
            "\"pol_name=tank\": no payload has a field \"pol_name\" (metadata is asked for as meta.KEY); did you mean \"pool_name\"?",
        ),
        (
            "level>=loud",
            "\"level>=loud\": no level is called `loud`; use trace, debug, info, warn, error, critical or essential",
        ),
        (
            "size_bytes>lots",
            "\"size_bytes>lots\": size_bytes is a number, and \"lots\" is none: expected a size such as 64MiB, 1GiB or 500MB (a bare number is bytes)",
        ),
        (
            "size_bytes>1M",
            "\"size_bytes>1M\": size_bytes is a number, and \"1M\" is none: unclear unit: write 1MiB (binary) or 1MB (decimal)",
        ),
        ("pool_name>tank", "\"pool_name>tank\": pool_name is no number: compare with = or !=, not >"),
        ("source<=a", "\"source<=a\": source is text: compare with =, != or ~, not <="),
        ("stroage.*", "no kind is called \"stroage.*\"; did you mean \"storage.*\"?"),
        ("storage.pol.*", "no kind is called \"storage.pol.*\"; did you mean \"storage.pool.*\"?"),
        ("plasma.*", "no kind is called \"plasma.*\""),
        ("system,stroage", "no kind is called \"stroage\"; did you mean \"storage\"?"),
        ("storage.pool username=root", "no event of storage.pool has a field username"),
        ("storage.pool !storage.*", "no kind meets what is asked of it; write `or` between alternatives"),
        (
            "lane=urgent",
            "\"lane=urgent\": an event does not say in which lane it lies: level>=error comes close, and payload.lane is that of a loss record",
        ),
        ("level~warn", "\"level~warn\": a level is compared with =, !=, <, <=, > or >="),
        ("size_bytes~1", "\"size_bytes~1\": size_bytes is no text: ~ looks for a part of one"),
        ("level=warn or", "`or` stands between conditions: a condition is missing beside it"),
        ("or level=warn", "`or` stands between conditions: a condition is missing beside it"),
        ("level=warn not", "`not` stands before a condition: it is missing"),
        ("level=warn and", "`and` stands between conditions: a condition is missing beside it"),
        ("and level=warn", "`and` stands between conditions: a condition is missing beside it"),
        ("level=warn and or storage", "`and` stands between conditions: a condition is missing beside it"),
        ("storage and network", "no event is of two kinds, storage and network: write `or`, or a comma"),
        ("level=warn level=error", "no level meets what is asked of it; write `or` between alternatives"),
        ("category=storage network", "no kind meets what is asked of it; write `or` between alternatives"),
        ("kind=storage.pool network", "no kind meets what is asked of it; write `or` between alternatives"),
        (
            "system.host.event_log_degradd",
            "no kind is called \"system.host.event_log_degradd\"; did you mean \"system.host.event_log_degraded\"?",
        ),
        (
            "pool_name==tank",
            "\"pool_name==tank\": write pool_name=tank for the whole text, pool_name~tank for a part of it",
        ),
        ("pool_name!=~tank", "\"pool_name!=~tank\": write !pool_name~tank"),
        ("pool_name!~tank", "\"pool_name!~tank\": write !pool_name~tank"),
        ("||", "no kind is called \"||\"; write `or`"),
        (
            "level",
            "no kind is called \"level\"; a comparison has no spaces in it and stands in quotes, for the shell: 'level=…'",
        ),
        ("warn", "no kind is called \"warn\"; a level is asked for by 'level>=warn'"),
        (
            "(storage",
            "no kind is called \"(storage\"; there are no parentheses: write the alternatives out, with `or` between them",
        ),
        ("since=1h", "\"since=1h\": times are asked for by --since and --until"),
        ("used_percent=nan", "\"used_percent=nan\": used_percent is a number, and \"nan\" is none"),
        ("graceful=maybe", "\"graceful=maybe\": graceful is true or false"),
        ("=tank", "\"=tank\": what is compared is missing"),
        ("pool_name=\"tank", "a quote is not closed: \" in: pool_name=\"tank"),
    ] {
        assert_eq!(refusal(filter), message);
    }
    assert!(refusal("category=storag").contains("did you mean \"storage\"?"));
    assert!(refusal("operation=craeted").contains("did you mean \"created\"?"));
    assert!(refusal(&"x".repeat(2000)).contains("at most 1024"));
    assert!(Filter::parse(&["level=info"; 65]).expect_err("too long").to_string().contains("at most 64"));
}

#[test]
fn words_can_be_turned_round_and_filters_be_alternatives() {
    for filter in [
        "!system.*",
        "not network",
        "!pool_name=dozer",
        "not level<warn",
        "not !storage.pool",
        "storage.*,network.*",
        "system,storage.pool.scrub_started",
        "storage !storage.disk",
        "network or storage.pool",
        "level>=error or pool_name=tank and level=warn",
        "storage.pool AND NOT pool_name=dozer",
        "!!storage",
        "network, storage",
        "network,,storage",
        "!username=root",
    ] {
        assert!(takes(filter, &tank()), "{filter}");
    }
    for filter in [
        "!storage.*",
        "storage !storage.pool.scrub_*",
        "not pool_name=tank",
        "network or level>=error",
        "network or storage.pool pool_name=dozer",
        "system.*,network.*",
    ] {
        assert!(!takes(filter, &tank()), "{filter}");
    }
}

#[test]
fn a_part_of_a_text_is_found_whatever_its_case_also_in_the_sentence() {
    for filter in ["pool_name~AN", "text~'pool TANK'", "devices~SDB", "source~ora", "meta.component~ZF", "kind~scrub"] {
        assert!(takes(filter, &tank()), "{filter}");
    }
    for filter in ["pool_name~dozer", "text~dozer", "!text~tank", "pool_name~t*k"] {
        assert!(!takes(filter, &tank()), "{filter}");
    }
}

#[test]
fn a_kind_beyond_the_schema_can_be_asked_for() {
    let unknown = StoragePoolPayload { operation: 9_107, ..Default::default() };
    let unknown = event(EventLevel::Info, unknown);
    assert!(takes("storage.pool.op_9107", &unknown) && takes("kind=storage.pool.op_9107", &unknown));
    assert!(!takes("kind!=storage.pool.op_9107", &unknown), "which is a filter, and not one that nothing meets");
    assert!(Filter::parse(&["event_20*", "storage.event_102", "unknown"]).is_ok());
}

#[test]
fn what_a_head_or_a_frame_rules_out_matches_no_filter() {
    let catalogue = Catalogue::compiled();
    let filters = [
        "level>=error",
        "!level>=warn storage.*",
        "level=info or security.*",
        "storage.pool.*,network.* level!=debug",
        "category!=storage",
        "kind~disk",
        "not storage.*",
        "storage.pool.op_107",
        "unknown",
        "text~a level<=warn",
        "",
        "storage.pool.scrub_started",
        "*.failed",
        "!*.failed",
        "storage.*_started or network.interface",
        "storage.pool,service.status.failed",
        "kind=storage.pool.scrub_* level>=info",
        "kind!=storage.disk category=storage",
        "pool_name=",
        "!pool_name!= storage.pool",
        "pool_name!=tank",
        "meta.component=zfs",
    ];
    let filters = filters.map(|text| (text, Filter::parse(&[text]).unwrap_or_else(|error| panic!("{text}: {error}"))));
    let (mut matched, mut ruled_out) = (0, 0);
    let unnamed = ["storage.pool.op_9107", "network.interface.op_-3"];
    for kind in catalogue.kinds().iter().map(Kind::as_str).chain(unnamed) {
        for level in Level::ALL {
            let text = format!(
                r#"{{"kind": "{kind}", "level": "{}", "payload": {{}}, "metadata": {{"component": "zfs"}}}}"#,
                level.name()
            );
            let event = crate::event::json::from_str(&text).expect("an event");
            let bytes = prost::Message::encode_to_vec(&event);
            let (view, head) = (EventView::from(&event), Head::read(&bytes).expect("an event"));
            let kinds = KindBloom::of([Some(head.kind_mark())]);
            for (text, filter) in &filters {
                let in_frame = filter.levels() >> (event.level as u32) & 1 == 1
                    && filter.categories(catalogue) >> (event.category as u32) & 1 == 1
                    && filter.kind_marks(catalogue).is_none_or(|marks| marks.iter().any(|mark| kinds.may_hold(*mark)))
                    && filter.may_stand_in(&bytes);
                let may = in_frame && filter.may_match(&head);
                assert!(may || !filter.matches(&view), "{text:?} takes {kind} {level:?}");
                matched += usize::from(filter.matches(&view));
                ruled_out += usize::from(!may);
            }
        }
    }
    assert!(matched > 1000 && ruled_out > 1000, "{matched} and {ruled_out}");
}

#[test]
fn a_payload_that_has_a_name_only_where_it_was_written_is_left_out_of_no_frame_that_may_hold_it() {
    let catalogue = Catalogue::compiled();
    // Of a category and of payloads that this version does not know, written by one that does.
    let events: [(&[u8], KindMark); 2] = [
        (&[0x5a, 0x05, 0xb2, 0x06, 0x02, 0x08, 0x01], KindMark::of(11, 102, 1)),
        (&[0xa2, 0x01, 0x02, 0x0a, 0x00], KindMark::of(20, 1, 0)),
    ];
    for filter in [
        "storage",
        "storage.event_*",
        "event_20",
        "!network",
        "!*.failed",
        "category=storage",
        "level=info",
        "kind~event",
    ] {
        let parsed = Filter::parse(&[filter]).expect("a filter");
        for (bytes, mark) in events {
            let kinds = KindBloom::of([Some(mark)]);
            let may = parsed.kind_marks(catalogue).is_none_or(|marks| marks.iter().any(|mark| kinds.may_hold(*mark)))
                && parsed.categories(catalogue) >> 20 & 1 == 1;
            assert!(may || !parsed.matches(&EventView::decode(bytes).expect("an event")), "{filter}");
        }
    }
    let marks = Filter::parse(&["storage.pool.scrub_*"]).expect("a filter").kind_marks(catalogue).expect("few");
    assert!(marks.len() < 10, "{marks:?}");
}

proptest::proptest! {
    #[test]
    fn what_must_stand_in_the_bytes_of_whatever_matches_does_stand_there(
        value in "[a-z\\u{e4}\"\\\\\n0-9 ]{0,6}",
        key in "[a-zK.]{0,3}",
        pattern in "[a-z\\u{e4}*?0-9]{0,4}",
        cut in proptest::prelude::any::<proptest::sample::Index>(),
        hole in proptest::prelude::any::<proptest::sample::Index>(),
    ) {
        // A part of the value, so that it matches now and then.
        let places: Vec<_> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        let (from, to) = (places[cut.index(places.len())], places[hole.index(places.len())]);
        let part = format!("{}*{}", &value[..from.min(to)], &value[from.max(to)..]);
        let metadata = [(key.clone(), value.clone()), ("other".to_owned(), pattern.clone())].into();
        let pool = StoragePoolPayload { pool_name: value.clone(), devices: vec![pattern.clone(), value.clone()], operation: 4, ..Default::default() };
        let event = Event {
            event_id: value.clone(),
            source: value.clone(),
            metadata,
            event_payload: Some(pool.into_event_payload()),
            ..Event::default()
        };
        let (bytes, view) = (prost::Message::encode_to_vec(&event), EventView::from(&event));
        let head = Head::read(&bytes).expect("an event");
        let mut matched = 0;
        for wanted in [&value, &part, &pattern] {
            for field in ["pool_name", "devices", "id", "source", &format!("meta.{key}"), "meta.other", "operation", "size_bytes", "raid_type"] {
                for (sign, not) in [("=", ""), ("!=", ""), ("=", "!"), ("!=", "!"), ("~", "")] {
                    let Ok(filter) = Filter::parse(&[format!("'{not}{field}{sign}{wanted}'")]) else { continue };
                    let may = filter.may_stand_in(&bytes) && filter.may_match(&head);
                    proptest::prop_assert!(may || !filter.matches(&view), "{not}{field}{sign}{wanted}");
                    matched += usize::from(filter.matches(&view) && filter.asks_for_texts());
                }
            }
        }
        proptest::prop_assert!(matched > 0 || value.contains('\'') || value.is_empty());
    }
}

#[test]
fn bytes_tell_that_a_text_is_not_among_events_and_nothing_of_numbers_and_names() {
    let bytes = prost::Message::encode_to_vec(tank().message());
    for filter in
        ["pool_name=dozer", "meta.component=md", "id=0199-b", "pool_name=t*x", "!pool_name!=dozer", "meta.no=zfs"]
    {
        let filter = Filter::parse(&[filter]).expect("a filter");
        assert!(filter.asks_for_texts() && !filter.may_stand_in(&bytes));
    }
    for filter in [
        "operation=created",
        "size_bytes=7",
        "raid_type=",
        "pool_name!=x",
        "!pool_name=x",
        "pool_name=x or storage",
        "pool_name~X",
    ] {
        assert!(!Filter::parse(&[filter]).expect("a filter").asks_for_texts(), "{filter}");
    }
}
