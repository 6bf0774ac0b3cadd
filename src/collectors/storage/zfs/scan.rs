//! Scrubs and resilvers: what the paragraph `scan:` of `zpool status` says.

use serde::{Deserialize, Serialize};

/// The last or current scan of a pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scan {
    pub(super) work: Work,
    pub(super) phase: Phase,
    /// When the phase began, in the words of zpool: tells one scan from the next.
    pub(super) date: String,
    /// `99.2M`; empty before the end.
    pub(super) amount: String,
    /// `00:00:16`; empty before the end.
    pub(super) duration: String,
    /// What could not be repaired.
    pub(super) errors: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Work {
    Scrub,
    Resilver,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Running,
    Paused,
    Finished,
    Cancelled,
}

/// What has happened between two looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Started,
    Resumed,
    Paused,
    Cancelled,
    Completed,
}

impl Scan {
    /// Parses the first line of the paragraph; none when there was no scan yet or it is not understood.
    pub(super) fn parse(line: &str) -> Option<Scan> {
        let (work, rest) = work(line.trim())?;
        let (phase, date) = phase(rest)?;
        let scan = Scan { work, phase, date, amount: String::new(), duration: String::new(), errors: 0 };
        Some(if phase == Phase::Finished { scan.with_result(rest) } else { scan })
    }

    /// `repaired 99.2M in 00:00:16 with 444 errors on …`, `322M in 0 days 00:00:06 with 0 errors on …`
    fn with_result(self, rest: &str) -> Scan {
        let (amount, after) = rest.split_once(" in ").unwrap_or_default();
        let (duration, after) = after.split_once(" with ").unwrap_or_default();
        let errors = after.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
        let amount = amount.rsplit(' ').next().unwrap_or_default().to_owned();
        Scan { amount, duration: duration.to_owned(), errors, ..self }
    }

    /// How long a scan took that has ended: `00:00:16`, `0 days 00:00:06`.
    pub(super) fn duration_seconds(&self) -> Option<i64> {
        let (days, clock) = self.duration.split_once(" days ").unwrap_or(("0", &self.duration));
        let mut parts = clock.split(':').map(|part| part.trim().parse::<i64>().ok().filter(|part| *part >= 0));
        let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
        let hours = days.trim().parse::<i64>().ok()?.checked_mul(24)?.checked_add(hours)?;
        hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60)?.checked_add(seconds)
    }

    /// What it has repaired or written: `99.2M`, `59K`, `1024`. None where zpool counts something else.
    pub(super) fn amount_bytes(&self) -> Option<i64> {
        let digits = self.amount.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let power = match self.amount.strip_prefix(digits)?.trim_end_matches("iB") {
            "" | "B" => 0,
            "K" => 1,
            "M" => 2,
            "G" => 3,
            "T" => 4,
            "P" => 5,
            "E" => 6,
            _ => return None,
        };
        let bytes = digits.parse::<f64>().ok()? * 1024_f64.powi(power);
        #[expect(clippy::cast_possible_truncation, reason = "an amount that zpool rounds has some bytes to spare")]
        (0.0..9e18).contains(&bytes).then_some(bytes as i64)
    }

    /// What has happened since an earlier look.
    pub(super) fn since(&self, before: Option<&Scan>) -> Option<Step> {
        let same_work = before.filter(|before| before.work == self.work);
        if same_work.is_some_and(|before| (before.phase, &before.date) == (self.phase, &self.date)) {
            return None;
        }
        Some(match self.phase {
            Phase::Running if same_work.is_some_and(|before| before.phase == Phase::Paused) => Step::Resumed,
            Phase::Running => Step::Started,
            Phase::Paused => Step::Paused,
            Phase::Finished => Step::Completed,
            Phase::Cancelled => Step::Cancelled,
        })
    }
}

/// A rebuild of one vdev reads `resilver (mirror-0) in progress since …`.
fn work(line: &str) -> Option<(Work, &str)> {
    const BEGINNINGS: [(&str, Work); 5] = [
        ("error scrubbed ", Work::Scrub),
        ("error scrub ", Work::Scrub),
        ("scrub ", Work::Scrub),
        ("resilvered ", Work::Resilver),
        ("resilver ", Work::Resilver),
    ];
    let (work, rest) =
        BEGINNINGS.iter().find_map(|(beginning, work)| line.strip_prefix(beginning).map(|rest| (*work, rest)))?;
    let after_vdev = rest.strip_prefix('(').and_then(|rest| rest.split_once(") ")).map(|(_, rest)| rest);
    Some((work, after_vdev.unwrap_or(rest)))
}

fn phase(rest: &str) -> Option<(Phase, String)> {
    const BEGINNINGS: [(&str, Phase); 4] = [
        ("in progress since ", Phase::Running),
        ("paused since ", Phase::Paused),
        ("canceled on ", Phase::Cancelled),
        ("cancelled on ", Phase::Cancelled),
    ];
    let begins =
        BEGINNINGS.iter().find_map(|(beginning, phase)| rest.strip_prefix(beginning).map(|date| (*phase, date)));
    let finished = || rest.rsplit_once(" errors on ").map(|(_, date)| (Phase::Finished, date));
    begins.or_else(finished).map(|(phase, date)| (phase, date.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_scrub_tells_how_much_it_repaired_and_what_it_could_not() {
        let scan = Scan::parse("scrub repaired 59K in 00:00:03 with 444 errors on Fri Nov 20 23:02:49 2026").unwrap();
        assert_eq!((scan.work, scan.phase, scan.errors), (Work::Scrub, Phase::Finished, 444));
        assert_eq!((scan.amount.as_str(), scan.duration.as_str()), ("59K", "00:00:03"));
        assert_eq!(scan.date, "Fri Nov 20 23:02:49 2026");
    }

    #[test]
    fn durations_and_amounts_are_numbers() {
        let result = |words: &str| {
            let scan = Scan::parse(&format!("scrub repaired {words} with 0 errors on Fri")).unwrap();
            (scan.amount_bytes(), scan.duration_seconds())
        };
        assert_eq!(result("59K in 00:00:03"), (Some(60_416), Some(3)));
        assert_eq!(result("99.2M in 05:02:16"), (Some(104_018_739), Some(18_136)));
        assert_eq!(result("0B in 0 days 00:00:06"), (Some(0), Some(6)));
        assert_eq!(result("1024 in 2 days 01:00:00"), (Some(1024), Some(176_400)));
        assert_eq!(result("-1Q in -1 days 1:2"), (None, None));
        assert_eq!(result("999999999999E in 9223372036854775807 days 00:00:00"), (None, None));
    }

    #[test]
    fn older_and_newer_words_are_understood() {
        for (line, work, phase) in [
            ("resilvered 322M in 0 days 00:00:06 with 0 errors on Fri", Work::Resilver, Phase::Finished),
            ("resilver (mirror-0) in progress since Fri", Work::Resilver, Phase::Running),
            ("resilvered (mirror-0) 1.2G in 00:01:00 with 0 errors on Fri", Work::Resilver, Phase::Finished),
            ("error scrub paused since Fri", Work::Scrub, Phase::Paused),
            ("error scrubbed 3 blocks in 00:00:01 with 0 errors on Fri", Work::Scrub, Phase::Finished),
            ("scrub canceled on Fri", Work::Scrub, Phase::Cancelled),
        ] {
            let scan = Scan::parse(line).expect(line);
            assert_eq!((scan.work, scan.phase, scan.date.as_str()), (work, phase, "Fri"), "{line}");
        }
        assert_eq!(Scan::parse("none requested"), None);
    }

    #[test]
    fn a_scan_that_goes_on_after_a_pause_is_resumed_and_not_started() {
        let at = |line: &str| Scan::parse(line);
        let running = at("scrub in progress since 1").unwrap();
        assert_eq!(running.since(None), Some(Step::Started));
        assert_eq!(running.since(at("scrub paused since 2").as_ref()), Some(Step::Resumed));
        assert_eq!(running.since(at("resilvered 1K in 00:00:01 with 0 errors on 1").as_ref()), Some(Step::Started));
        assert_eq!(running.since(Some(&running)), None);
    }
}
