//! Pressure as a domain: how much of the time work of the machine stands still for want of memory, disks or processors, as the
//! kernel counts it (`/proc/pressure`). A state is entered at its limit and left at half of it.

use crate::order::Gather as _;
use std::{collections::BTreeMap, io, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::Host,
    schema::events::{UsageThresholdPayload, usage_threshold_payload::UsageThresholdOperation as Operation},
};

const DIRECTORY: &str = "/proc/pressure";
/// The shortest mean that is judged is one of a minute.
const INTERVAL: Duration = Duration::from_secs(15);
const COMPONENT: &str = "pressure";

/// What may be short, which of the kernel's means is judged, and from which percents on it is told and an error.
struct Measure {
    file: &'static str,
    /// As a sentence begins with it.
    name: &'static str,
    line: &'static str,
    mean: &'static str,
    warn: f32,
    error: f32,
}

/// Everything waits: of memory a little is grave. Disks are waited for while a pool is scrubbed, and processors while
/// something is compressed; there only what lasts counts.
const MEASURES: [Measure; 3] = [
    Measure { file: "memory", name: "Wait for memory", line: "full", mean: "avg60", warn: 10.0, error: 40.0 },
    Measure { file: "io", name: "Wait for disks", line: "full", mean: "avg300", warn: 60.0, error: 95.0 },
    Measure { file: "cpu", name: "Wait for processors", line: "some", mean: "avg300", warn: 80.0, error: 101.0 },
];

/// By file; what is not in it is well, or not told.
type Known = BTreeMap<String, Strain>;

/// How bad it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Strain {
    state: State,
    /// As last read; not what is compared from run to run.
    #[serde(skip)]
    percent: f32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum State {
    #[default]
    Normal,
    Warn,
    Error,
}

/// The look at it.
pub(super) struct Pressure;

impl Domain for Pressure {
    const NAME: &'static str = "pressure";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let Some(seen) = context.look(&format!("read {DIRECTORY}"), look).await? else {
            return Err(CollectError::Absent(format!("the kernel counts no pressure: no {DIRECTORY}")));
        };
        Ok(Some(follow(&seen, before)))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// The means, by file; none where the kernel has none.
fn look(host: &Host) -> io::Result<Option<BTreeMap<&'static str, f32>>> {
    if !host.path(DIRECTORY).exists() {
        return Ok(None);
    }
    let mut seen = BTreeMap::new();
    for measure in &MEASURES {
        // Where pressure is switched off, the file is there and reading it is refused.
        let Ok(text) = host.read(&format!("{DIRECTORY}/{}", measure.file)) else { continue };
        seen.extend(parse(&text, measure.line, measure.mean).map(|percent| (measure.file, percent)));
    }
    Ok(Some(seen))
}

/// `full avg10=0.00 avg60=0.01 avg300=0.16 total=4235608`
fn parse(text: &str, line: &str, mean: &str) -> Option<f32> {
    let mut words = text.lines().find(|it| it.split(' ').next() == Some(line))?.split_whitespace();
    let value = words.find_map(|word| word.strip_prefix(mean)?.strip_prefix('='))?;
    value.parse().ok().filter(|percent: &f32| (0.0..=100.0).contains(percent))
}

/// The states that follow; what is not told keeps its own.
fn follow(seen: &BTreeMap<&'static str, f32>, before: Option<&Known>) -> Known {
    let next = |measure: &Measure| {
        let was = before.and_then(|before| before.get(measure.file)).copied().unwrap_or_default();
        let Some(&percent) = seen.get(measure.file) else { return (measure.file.to_owned(), was) };
        let reaches = |limit: f32, state: State| percent >= limit || (was.state >= state && percent >= limit / 2.0);
        let state = if reaches(measure.error, State::Error) {
            State::Error
        } else if reaches(measure.warn, State::Warn) {
            State::Warn
        } else {
            State::Normal
        };
        // A state that stays is the same state, whatever the figure does.
        let percent = if state == was.state { was.percent } else { percent };
        (measure.file.to_owned(), Strain { state, percent })
    };
    MEASURES.iter().map(next).gather()
}

fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let state = |known: &Known, file: &str| known.get(file).map_or(State::Normal, |strain| strain.state);
    let changed = MEASURES.iter().filter(|measure| state(before, measure.file) != state(after, measure.file));
    changed.map(|measure| finding(measure, after.get(measure.file).copied().unwrap_or_default())).collect()
}

fn finding(measure: &Measure, strain: Strain) -> Finding {
    let (level, operation, action, limit) = match strain.state {
        State::Normal => (Level::Info, Operation::Cleared, "cleared", measure.warn),
        State::Warn => (Level::Warn, Operation::Approached, "approached", measure.warn),
        State::Error => (Level::Error, Operation::Exceeded, "exceeded", measure.error),
    };
    let payload = UsageThresholdPayload {
        threshold_name: format!("pressure:{}", measure.file),
        metric_name: format!("pressure.{}.{}.{}", measure.file, measure.line, measure.mean),
        current_value: strain.percent,
        threshold_value: limit,
        operation: operation.into(),
        resource: measure.name.to_owned(),
        unit: "% of the time".to_owned(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, action)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    const MEMORY: &str = "some avg10=91.13 avg60=91.39 avg300=68.09 total=379901075\n\
                          full avg10=0.00 avg60=12.50 avg300=0.16 total=4235608\n";

    #[test]
    fn the_mean_that_is_judged_is_read() {
        assert_eq!(parse(MEMORY, "full", "avg60"), Some(12.5));
        assert_eq!(parse(MEMORY, "some", "avg300"), Some(68.09));
        assert_eq!(parse("some avg10=0.00 avg60=0.00", "full", "avg60"), None, "an old kernel's cpu");
        assert_eq!(parse("full avg60=NaN", "full", "avg60"), None);
    }

    #[test]
    fn what_waits_too_long_is_told_when_it_gets_worse_and_when_it_is_over() {
        let mut known = None;
        let mut told = Vec::new();
        for percent in [0.0, 9.9, 12.0, 9.0, 39.0, 40.0, 21.0, 19.0, 4.9, 9.0] {
            let after = follow(&BTreeMap::from([("memory", percent)]), known.as_ref());
            let findings = diff(&known.unwrap_or_default(), &after);
            told.extend(sentences(&findings).iter().map(|sentence| format!("{percent}: {sentence}")));
            known = Some(after);
        }
        let expected = [
            "12: Wait for memory is near its limit: 12 % of the time, warning from 10",
            "40: Wait for memory is over its limit: 40 % of the time, limit 40",
            "19: Wait for memory is near its limit: 19 % of the time, warning from 10",
            "4.9: Wait for memory is no longer near its limit: 4.9 % of the time, warning from 10",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn a_kernel_that_counts_none_has_none_and_one_that_refuses_keeps_what_was_known() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::at(root.path());
        assert_eq!(look(&host).unwrap(), None);
        std::fs::create_dir_all(root.path().join("proc/pressure/memory")).unwrap();
        assert_eq!(look(&host).unwrap(), Some(BTreeMap::new()));
        let strained = follow(&BTreeMap::from([("memory", 50.0)]), None);
        assert_eq!(diff(&strained, &follow(&BTreeMap::new(), Some(&strained))), []);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_is_read_is_a_percentage(text in "((some|full|avg60|=|[0-9.]{1,30}|NaN|-|inf| |\n)){0,30}") {
            prop_assert!(parse(&text, "full", "avg60").is_none_or(|percent| (0.0..=100.0).contains(&percent)));
        }

        #[test]
        fn the_same_figure_again_is_never_news(figures in proptest::collection::vec(0f32..=100.0, 1..20)) {
            let mut known = None;
            for figure in figures {
                let after = follow(&BTreeMap::from([("io", figure)]), known.as_ref());
                prop_assert_eq!(diff(&after, &follow(&BTreeMap::from([("io", figure)]), Some(&after))), vec![]);
                known = Some(after);
            }
        }
    }
}
