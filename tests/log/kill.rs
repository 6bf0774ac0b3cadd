//! SIGKILL at any moment: while both lanes are written, while generations are sealed and removed, while cursors move,
//! and while the log is being opened after the kill before.

use std::time::{Duration, Instant};

use crate::{
    child::{Order, Writer},
    dice::{self, Dice},
    ledger::{self, Ledger},
};

const KILLS: u64 = 120;
/// The longest that a child writes, and the longest for one that is to be killed while it opens.
const WRITING_MAX: Duration = Duration::from_millis(350);
const OPENING_MAX: Duration = Duration::from_millis(25);

#[test]
fn what_was_acknowledged_outlives_a_kill_at_any_moment() {
    Order::carry_out_if_given();
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let (log, errors) = (directory.path().join("log"), directory.path().join("errors"));
    let mut dice = Dice::of_this_run();
    let mut ledger = Ledger::new();
    ledger::begin(&log);
    for run in 1..=dice::trials(KILLS) {
        let order = Order { directory: log.clone(), run, seed: dice.throw() };
        let mut writer = Writer::start("kill::what_was_acknowledged_outlives_a_kill_at_any_moment", &order, &errors);
        ledger.note_all(writer.wait_until_opening());
        let moment = Instant::now() + moment(&mut dice);
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

fn moment(dice: &mut Dice) -> Duration {
    let longest = if dice.once_in(4) { OPENING_MAX } else { WRITING_MAX };
    Duration::from_micros(dice.below(longest.as_micros() as u64))
}
