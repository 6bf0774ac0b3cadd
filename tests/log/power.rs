//! A power cut right after an acknowledgement: the writer is frozen, what has reached the device is copied, and the copy
//! is the disk from then on.
//!
//! The log lies on ext4 on a loop device. The device is its backing file as the kernel shows it; the page cache of the ext4
//! above is what a power cut loses, and it is lost because only the copy goes on. A drive's own cache and reordering
//! are not modelled.

/// What only root can try; `make check` leaves this module out by its name, `make test` runs it.
mod as_root {
    use std::{
        fs,
        path::Path,
        time::{Duration, Instant},
    };

    use crate::{
        child::{Order, Writer},
        dice::Dice,
        disk::{Mounted, copy_image, make_image},
        ledger::{self, Ledger},
        rounds::Rounds,
    };

    const CUTS: u64 = 30;
    /// The device's size; the log's own limit is a fifth of it.
    const IMAGE_MEGABYTES: u64 = 64;
    /// A disk may be slow, but a writer that is never acknowledged anything is none.
    const PATIENCE: Duration = Duration::from_secs(60);
    const NAME: &str = "power::as_root::what_was_acknowledged_outlives_a_power_cut";

    #[test]
    fn what_was_acknowledged_outlives_a_power_cut() {
        Order::carry_out_if_given();
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let (point, errors) = (directory.path().join("disk"), directory.path().join("errors"));
        let image = |run: u64| directory.path().join(format!("device-{run}"));
        let mut dice = Dice::of_this_run();
        let mut ledger = Ledger::new();
        make_image(&image(0), IMAGE_MEGABYTES);
        let mut disk = Mounted::image(&image(0), &point);
        ledger::begin(&point.join("log"), dice.once_in(2));
        let mut rounds = Rounds::new(point.join("log"), CUTS);
        while let Some(round) = rounds.next(&mut dice, &ledger.tally) {
            let mut writer = Writer::start(NAME, &round.order, &errors);
            write_until_acknowledged(&mut writer, &mut ledger, round.events);
            let run = round.order.run;
            disk = cut(disk, writer, &image(run - 1), &image(run));
            if !dice.once_in(4) {
                ledger::reopen(&point.join("log"), &mut ledger);
            }
        }
        ledger::reopen(&point.join("log"), &mut ledger);
        ledger.tally.show();
        assert!(ledger.tally.acknowledged > 0 && ledger.tally.lost > 0, "{:?}: nothing was tried", ledger.tally);
        drop(disk);
    }

    /// Lets it write so many events, then up to its next acknowledgement, and freezes it there.
    fn write_until_acknowledged(writer: &mut Writer, ledger: &mut Ledger, events: u64) {
        ledger.note_all(writer.wait_until_opening());
        writer.let_write(events, ledger);
        let latest = Instant::now() + PATIENCE;
        while !ledger.note_all(writer.reports(latest)) {
            assert!(Instant::now() < latest, "the writer was acknowledged nothing within {PATIENCE:?}");
        }
        ledger.note_all(writer.freeze());
    }

    /// Puts the copy in the place of the disk. It is a file of its own: whatever still holds the old one writes to that.
    fn cut(disk: Mounted, writer: Writer, before: &Path, after: &Path) -> Mounted {
        copy_image(before, after);
        drop(writer);
        let point = disk.point.clone();
        drop(disk);
        fs::remove_file(before).expect("the disk that nobody has any more");
        Mounted::image(after, &point)
    }
}
