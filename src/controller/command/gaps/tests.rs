//! The page that `gaps` prints: it is the one in docs/completeness.md.

use super::*;
use crate::{
    controller::store::{Node, Ranges, Stream},
    terminal::page::printed,
};

const HOUR: i64 = 3_600_000;

fn stream(lane: &str, epoch: &str, ranges: &[(u64, u64, i64)]) -> Stream {
    let mut received = Ranges::default();
    ranges.iter().for_each(|(first, last, since)| received.insert(*first..=*last, *since));
    Stream { epoch: epoch.into(), lane: lane.into(), events: received.count(), received }
}

fn loss(operation: &str, range: Option<(u64, u64)>, received_at: i64) -> Loss {
    Loss {
        event_id: operation.into(),
        received_at,
        epoch: "5ba4b8e1-6f0c".into(),
        lane: "routine".into(),
        consumer: "uplink".into(),
        operation: operation.into(),
        range,
        count: range.map_or(0, |(first, last)| last - first + 1),
        exact: range.is_some(),
        first_time: 0,
        last_time: 0,
    }
}

/// A node that was set back once, and whose log lost events; now its last batches come.
fn node() -> Node {
    let (one, two) = ("5ba4b8e1-6f0c", "c0ffee11-2b3d");
    Node {
        node: "nas-1".into(),
        organisation: "acme".into(),
        seen_at: 72 * HOUR,
        events: 9_999,
        streams: vec![
            stream("urgent", one, &[(1, 12, 0)]),
            stream("routine", one, &[(1, 500, 0), (601, 900, HOUR), (911, 1_000, 2 * HOUR)]),
            stream("routine", two, &[(801, 2_000, 48 * HOUR), (2_501, 2_600, 72 * HOUR - 2_000)]),
        ],
        losses: vec![
            loss("retention", Some((501, 599)), HOUR),
            loss("refused", Some((600, 600)), HOUR),
            loss("unclean_stop", None, 40 * HOUR),
        ],
        overlaps: vec![Overlap {
            lane: "routine".into(),
            epochs: [one.into(), two.into()],
            same: 50,
            differs_at: Some(851),
        }],
    }
}

const PRINTED: &str = "\
LANE     EPOCH     WHAT                FIRST  LAST  EVENTS  SINCE
routine  5ba4b8e1  received                1   500     500  3d ago
routine  5ba4b8e1  received              601   900     300  2d 23h ago
routine  5ba4b8e1  received              911  1000      90  2d 22h ago
routine  5ba4b8e1  lost: retention       501   599      99  2d 23h ago
routine  5ba4b8e1  lost: refused         600   600       1  2d 23h ago
routine  5ba4b8e1  lost: unclean_stop      -     -       ?  1d 8h ago
routine  5ba4b8e1  missing               901   910      10  2d 22h ago
routine  c0ffee11  received              801  2000    1200  1d ago
routine  c0ffee11  received             2501  2600     100  2s ago
routine  c0ffee11  also in 5ba4b8e1        -     -      50
routine  c0ffee11  not as in 5ba4b8e1    851     -       -
routine  c0ffee11  awaited              2001  2500     500  2s ago
routine  all       missing                 -     -     510
urgent   5ba4b8e1  received                1    12      12  3d ago
urgent   all       complete                -     -       0
";

#[test]
fn the_page_tells_per_epoch_and_for_the_lane_what_is_there_lost_and_missing() {
    let text = printed(Some(80), |screen| table(&Account::of(&node()), 72 * HOUR).print(screen));
    assert_eq!(text, PRINTED);
    let document = include_str!("../../../../docs/completeness.md");
    let quoted: String = PRINTED.lines().map(|line| format!("    {line}\n")).collect();
    assert!(document.contains(&quoted), "the page in the documentation is another");
}

#[test]
fn a_line_of_json_says_whose_it_is_and_what_is_missing() {
    let lines = lines(&Account::of(&node()));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["node"], "nas-1");
    assert_eq!(lines[0]["received"], serde_json::json!([[1, 500], [601, 900], [911, 1000]]));
    let hole = serde_json::json!([{ "first": 901, "last": 910, "since": 2 * HOUR, "awaited": false }]);
    assert_eq!((lines[0]["lane"].as_str(), &lines[0]["missing"]), (Some("routine"), &hole));
    assert_eq!(lines[0]["losses"][1]["operation"], "refused");
    assert_eq!(lines[1]["overlaps"][0]["differs_at"], 851);
}
