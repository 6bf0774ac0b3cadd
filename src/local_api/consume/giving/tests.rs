//! Which records come to a program whatever it asks for.

use uuid::Uuid;

use super::*;

fn record(consumer: &str) -> Vec<u8> {
    let lost = LossRecord {
        consumer,
        lane: "routine",
        epoch: Uuid::from_u128(7),
        sequences: None,
        count: 0,
        levels: &[0; 10],
        times: [10, 20],
        cause: "unclean_stop",
    };
    lost.encode(Uuid::now_v7()).0
}

#[test]
fn the_record_of_what_everybody_lost_comes_whatever_is_asked_for_and_is_nobodys_gap() {
    let told = |consumer: &str| record_for("program.backup", &record(consumer)).map(|record| lost(record).is_some());
    assert_eq!([told("program.backup"), told(""), told("program.other")], [Some(true), Some(false), None]);
}
