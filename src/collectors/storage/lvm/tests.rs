//! What a real lvm says, changed step by step, and what is told.

use proptest::prelude::*;

use super::*;
use crate::collectors::{finding::sentences, storage::fullness::DEFAULT};

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../../tests/fixtures/lvm/", $name))
    };
}

const ALL: [&str; 3] = [
    fixture!("fullreport.healthy.json"),
    fixture!("fullreport.missing.json"),
    fixture!("fullreport.thin-and-raid.json"),
];

/// Reports one after the other, and what is told at each.
fn told(reports: &[String]) -> Vec<String> {
    let (mut known, mut told) = (Groups::new(), Vec::new());
    for json in reports {
        let mut after = group::parse(json).expect("a report");
        group::follow(&mut after, Some(&known), &DEFAULT);
        let findings = diff(&known, &after, &DEFAULT);
        let pairs = findings.iter().zip(sentences(&findings));
        told.push(
            pairs.map(|(finding, said)| format!("{}: {said}", finding.level.name())).collect::<Vec<_>>().join("; "),
        );
        known = after;
    }
    told
}

#[test]
fn a_group_that_misses_a_disk_is_told_and_when_it_is_back_or_gone() {
    let reports = [
        fixture!("fullreport.healthy.json"),
        fixture!("fullreport.missing.json"),
        fixture!("fullreport.missing.json"),
        fixture!("fullreport.healthy.json"),
        "{\"report\": []}",
    ];
    let expected = [
        "",
        "error: Pool vg0 is degraded, 1 of its disks missing",
        "",
        "info: Pool vg0 is online again",
        "info: Pool vg0 is gone: exported or destroyed",
    ];
    assert_eq!(told(&reports.map(str::to_owned)), expected);
}

#[test]
fn a_thin_pool_that_fills_up_and_an_array_that_fails_are_told_once() {
    let well = fixture!("fullreport.thin-and-raid.json");
    let full = |data: &str, metadata: &str| well.replace("\"0.00\"", data).replace("\"10.84\"", metadata);
    let raid = |trouble: &str, mismatches: &str| {
        well.replace(
            "\"lv_health_status\":\"\", \"raid_mismatch_count\":\"0\"",
            &format!("\"lv_health_status\":\"{trouble}\", \"raid_mismatch_count\":\"{mismatches}\""),
        )
    };
    let reports = [
        well.to_owned(),
        full("\"81.20\"", "\"10.84\""),
        full("\"78.00\"", "\"91.00\""),
        full("\"\"", "\"\""),
        full("\"70.00\"", "\"12.00\""),
        raid("partial", "0"),
        raid("", "128"),
        well.to_owned(),
        fixture!("fullreport.healthy.json").to_owned(),
    ];
    let expected = [
        "",
        "warn: Thin pool vg0/tp is near its limit: 81.2 % full, warning from 80",
        "error: Metadata of thin pool vg0/tp is over its limit: 91 % full, limit 90",
        "",
        "info: Thin pool vg0/tp is no longer near its limit: 70 % full, warning from 80; \
         info: Metadata of thin pool vg0/tp is no longer near its limit: 12 % full, warning from 80",
        "error: Pool vg0/r1 is degraded: partial",
        "info: Pool vg0/r1 is online again; warn: Pool vg0/r1 was scrubbed, mismatches: 128",
        "info: Pool vg0/r1 was scrubbed",
        "",
    ];
    assert_eq!(told(&reports), expected);
}

proptest! {
    #[test]
    fn a_report_that_is_cut_or_doubled_is_none_and_no_text_makes_it_panic(of in 0..ALL.len(), at in 0.0..0.99, junk in ".{0,80}") {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let at = (ALL[of].len() as f64 * at) as usize;
        // The last bracket closes it all.
        prop_assert!(group::parse(&ALL[of].trim_end()[..at.min(ALL[of].trim_end().len() - 1)]).is_none());
        prop_assert!(group::parse(&ALL[of].repeat(2)).is_none());
        let _ = group::parse(&junk);
    }

    #[test]
    fn whatever_percents_are_told_the_same_again_is_no_news(data in "-?[0-9]{0,4}(\\.[0-9]{0,3})?|NaN|inf", metadata in "[0-9.]{0,5}") {
        let json = fixture!("fullreport.thin-and-raid.json").replace("0.00", &data).replace("10.84", &metadata);
        let mut known = group::parse(&json).expect("a report");
        group::follow(&mut known, None, &DEFAULT);
        let mut again = group::parse(&json).expect("a report");
        group::follow(&mut again, Some(&known), &DEFAULT);
        prop_assert_eq!(diff(&known, &again, &DEFAULT), vec![]);
    }
}
