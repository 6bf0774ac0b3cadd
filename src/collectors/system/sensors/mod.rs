//! Temperatures and fans as a domain: polled, for nothing tells when they change. A temperature is told from its limit on,
//! and as over some degrees below it; a fan that stands still or is too slow when it was seen to be so twice.

mod chip;
#[cfg(test)]
mod tests;

use crate::order::Gather as _;
use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use self::chip::{Fan, Readings, SENSORS_MAX, Temperature, Work};
use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding},
    event::Level,
    host::Host,
    schema::events::{
        UsageThresholdPayload, system_host_payload::SystemHostOperation,
        usage_threshold_payload::UsageThresholdOperation as Operation,
    },
};

const INTERVAL: Duration = Duration::from_secs(30);
/// Thousandths of a degree below a limit at which it is left again.
const HYSTERESIS: i64 = 3_000;
/// In how many looks in a row a fan is too slow before it is told: one that starts is at first.
const SLOW_LOOKS: u32 = 2;
const COMPONENT: &str = "sensors";
/// What it is blind to beyond the bound.
const BEYOND: &str = "all of the sensors";

/// What is known of the sensors, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Known {
    heat: BTreeMap<String, Heat>,
    fans: BTreeMap<String, Turning>,
}

/// Of a temperature, where it is not normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Heat {
    state: State,
    /// Thousandths of a degree, when the state was entered; and the limit.
    #[serde(skip)]
    now: i64,
    #[serde(skip)]
    limit: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum State {
    #[default]
    Normal,
    Warm,
    Hot,
}

/// Of a fan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Turning {
    /// It has been seen to turn: a socket without a fan never has.
    has_turned: bool,
    is_slow: bool,
    #[serde(skip)]
    slow_looks: u32,
}

/// The look at them.
#[derive(Default)]
pub(super) struct Sensors {
    work: Work,
    /// As last read, for what is told.
    readings: Readings,
}

impl Domain for Sensors {
    const NAME: &'static str = "sensors";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        let mut work = std::mem::take(&mut self.work);
        let look = move |host: &Host| Ok((chip::look(host, &mut work)?, work));
        (self.readings, self.work) = context.look("read /sys/class/hwmon", look).await?;
        let beyond = self.readings.beyond;
        let why = (beyond > 0).then(|| format!("more than {SENSORS_MAX} are there, {beyond} are not followed"));
        context.note(BEYOND, why).await?;
        Ok(Some(follow(&self.readings, before)))
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after, &self.readings)
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// What is known after these readings.
fn follow(readings: &Readings, before: Option<&Known>) -> Known {
    let none = Known::default();
    let before = before.unwrap_or(&none);
    let heat = readings.temperatures.iter().filter_map(|(name, temperature)| {
        let was = before.heat.get(name).copied().unwrap_or_default();
        let heat = temperature.next(was);
        (heat.state != State::Normal).then(|| (name.clone(), heat))
    });
    let fans = readings.fans.iter().map(|(name, fan)| {
        let was = before.fans.get(name).copied().unwrap_or_default();
        (name.clone(), fan.next(was))
    });
    Known { heat: heat.gather(), fans: fans.gather() }
}

impl Temperature {
    /// One that rests, or gives no answer, is as it was.
    fn next(&self, was: Heat) -> Heat {
        let Some(now) = self.now else { return was };
        let reaches = |limit: Option<i64>, state: State| {
            limit.filter(|limit| now >= *limit || (was.state >= state && now > limit.saturating_sub(HYSTERESIS)))
        };
        let (state, limit) = if let Some(limit) = reaches(self.critical, State::Hot) {
            (State::Hot, limit)
        } else if let Some(limit) = reaches(self.warn, State::Warm) {
            (State::Warm, limit)
        } else {
            return Heat::default();
        };
        if state == was.state { was } else { Heat { state, now, limit } }
    }
}

impl Fan {
    /// One that gives no answer is as it was.
    fn next(&self, was: Turning) -> Turning {
        let Some(speed) = self.speed else { return was };
        // A limit that the board was delivered with often fits no fan: a fan is slow when the chip says so, and turns less
        // than it should, or not at all.
        let is_slow = (speed == 0 && was.has_turned)
            || (self.has_alarm && speed > 0 && self.least.is_some_and(|least| speed < least));
        let slow_looks = if is_slow { was.slow_looks.saturating_add(1).min(SLOW_LOOKS) } else { 0 };
        Turning {
            has_turned: was.has_turned || speed > 0,
            is_slow: is_slow && (was.is_slow || slow_looks >= SLOW_LOOKS),
            slow_looks,
        }
    }
}

/// What to tell. A sensor that is there no more is told as well: else it would be too hot for ever.
fn diff(before: &Known, after: &Known, readings: &Readings) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, was) in before.heat.iter().filter(|(name, _)| !after.heat.contains_key(*name)) {
        let now = readings.temperatures.get(name).and_then(|temperature| temperature.now);
        findings.push(heat(name, Heat { state: State::Normal, now: now.unwrap_or_default(), limit: was.limit }));
    }
    for (name, is) in &after.heat {
        if before.heat.get(name).is_none_or(|was| was.state != is.state) {
            findings.push(heat(name, *is));
        }
    }
    let is_slow = |known: &Known, name: &String| known.fans.get(name).is_some_and(|fan| fan.is_slow);
    let names = before.fans.keys().filter(|name| !after.fans.contains_key(*name)).chain(after.fans.keys());
    for name in names.filter(|name| is_slow(before, name) != is_slow(after, name)) {
        findings.push(turning(name, is_slow(after, name), readings.fans.get(name)));
    }
    findings
}

fn heat(name: &str, heat: Heat) -> Finding {
    let (level, operation, action) = match heat.state {
        State::Normal => (Level::Info, Operation::Cleared, "cleared"),
        State::Warm => (Level::Warn, Operation::Approached, "approached"),
        State::Hot => (Level::Error, Operation::Exceeded, "exceeded"),
    };
    let payload = UsageThresholdPayload {
        threshold_name: format!("temperature:{name}"),
        metric_name: "temperature".to_owned(),
        current_value: degrees(heat.now),
        threshold_value: degrees(heat.limit),
        operation: operation.into(),
        resource: format!("Temperature of {name}"),
        unit: "°C".to_owned(),
        ..Default::default()
    };
    Finding::new(level, payload, COMPONENT, action)
}

/// To one decimal.
fn degrees(thousandths: i64) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "no temperature needs more than 24 bits")]
    let tenths = (thousandths / 100) as f32;
    tenths / 10.0
}

fn turning(name: &str, is_slow: bool, fan: Option<&Fan>) -> Finding {
    let (level, operation, action) = match is_slow {
        true => (Level::Error, SystemHostOperation::FanStopped, "too slow"),
        false => (Level::Info, SystemHostOperation::FanTurns, "turns"),
    };
    let detail = fan.and_then(|fan| {
        let speed = fan.speed?;
        Some(match fan.least.filter(|_| is_slow) {
            Some(least) => format!("{speed} turns a minute, at least {least} are wanted"),
            None => format!("{speed} turns a minute"),
        })
    });
    Finding::host(level, operation, name, detail.unwrap_or_default(), COMPONENT, action)
}
