//! SIGKILL at any moment: while both lanes are written, while generations are sealed and removed, while cursors move,
//! and while the log is being opened after the kill before.

use std::time::{Duration, Instant};

use crate::{
    child::{Order, Writer},
    dice::Dice,
    ledger::{self, Ledger},
    rounds::Rounds,
};

const KILLS: u64 = 60;
/// The longest that a child goes on after it has begun to open, or has written what it was to write.
const GOING_ON_MAX: Duration = Duration::from_millis(25);

#[test]
fn what_was_acknowledged_outlives_a_kill_at_any_moment() {
    kill_again_and_again("kill::what_was_acknowledged_outlives_a_kill_at_any_moment", false);
}

#[test]
fn what_was_acknowledged_outlives_a_kill_for_a_program_too() {
    kill_again_and_again("kill::what_was_acknowledged_outlives_a_kill_for_a_program_too", true);
}

fn kill_again_and_again(test: &str, is_program: bool) {
    Order::carry_out_if_given();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (log, errors) = (directory.path().join("log"), directory.path().join("errors"));
    let mut dice = Dice::of_this_run();
    let mut ledger = Ledger::new();
    ledger::begin(&log, is_program);
    let mut rounds = Rounds::new(log.clone(), KILLS);
    while let Some(round) = rounds.next(&mut dice, &ledger.tally) {
        let mut writer = Writer::start(test, &round.order, &errors);
        ledger.note_all(writer.wait_until_opening());
        // Otherwise it is killed while it opens.
        if !dice.once_in(4) || round.is_more {
            writer.let_write(round.events, &mut ledger);
        }
        let moment = Instant::now() + Duration::from_micros(dice.below(GOING_ON_MAX.as_micros() as u64));
        while Instant::now() < moment {
            ledger.note_all(writer.reports(moment));
        }
        ledger.note_all(writer.kill());
        // Otherwise the next child is the one that finds what the kill left.
        if !dice.once_in(4) {
            ledger::reopen(&log, &mut ledger);
        }
    }
    ledger::reopen(&log, &mut ledger);
    let tally = &ledger.tally;
    tally.show();
    assert!(tally.acknowledged > 0 && tally.lost > 0 && tally.committed > 0, "{tally:?}: the trial tried nothing");
}
