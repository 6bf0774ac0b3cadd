//! Timers as a domain: whether each starts its job at its times. systemd is asked in turn.
//!
//! Overdue is a timer whose time has passed while nothing was started: it is late, or its last job still runs when the next was to
//! begin. That a job fails the service says that it is. Timers of a moment (`systemd-run --on-active`) are not followed, and while the
//! machine starts or stops nobody is judged.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, pattern::Patterns},
    event::Level,
    host::{
        clock::Clock,
        systemd_bus::{BusError, Properties, SystemdBus, Value},
    },
    schema::events::{ServiceTimerPayload, service_timer_payload::ServiceTimerOperation as Operation},
};

const INTERVAL: Duration = Duration::from_secs(30);
/// The most timers that are followed; that there are more is a blind spot.
const TIMERS_MAX: usize = 1024;
const BEYOND: &str = "all of the timers";
/// How late one may be, in seconds: a tenth of the time between two runs, within these, and as inaccurate as it is set to be.
const LATE_MIN: i64 = 30;
const LATE_MAX: i64 = 3600;
const COMPONENT: &str = "timers";
/// What systemd says where there is no time.
const NEVER: i64 = i64::MAX;

/// By name.
type Known = BTreeMap<String, Timer>;

/// What is known of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Timer {
    is: Condition,
    /// Seconds between two runs, as seen last; 0 where that is not known.
    span: i64,
    /// What it starts.
    unit: String,
    /// What is only told of it.
    #[serde(skip)]
    told: Told,
}

/// Unix seconds, 0 for never; and why it is as it is.
#[derive(Clone, Debug, Default, Eq)]
struct Told {
    due: i64,
    last: i64,
    result: String,
}

/// That time goes on is no news.
impl PartialEq for Told {
    fn eq(&self, _: &Told) -> bool {
        true
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Condition {
    #[default]
    OnTime,
    Overdue,
    Failed,
    Stopped,
}

/// The time, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Now {
    unix: i64,
    monotonic: i64,
}

/// The look at them.
pub(super) struct Timers {
    exclude: Patterns,
    bus: Option<SystemdBus>,
}

impl Timers {
    pub(super) fn new(exclude: Patterns) -> Timers {
        Timers { exclude, bus: None }
    }

    /// None while the machine starts or stops.
    async fn list(&mut self) -> Result<Option<BTreeMap<String, Properties>>, BusError> {
        let bus = match self.bus.take() {
            Some(bus) => bus,
            None => SystemdBus::to_ask(None, ".timer").await?,
        };
        if matches!(bus.system_state().await?.as_str(), "initializing" | "starting" | "stopping") {
            self.bus = Some(bus);
            return Ok(None);
        }
        let mut all = BTreeMap::new();
        for unit in bus.units().await?.into_iter().filter(|unit| !self.exclude.matches(&unit.name)) {
            if let Some(properties) = bus.properties(&unit).await? {
                all.insert(unit.name, properties);
            }
        }
        // One that has failed is not used again.
        self.bus = Some(bus);
        Ok(Some(all))
    }
}

impl Domain for Timers {
    const NAME: &'static str = "timers";
    type Known = Known;
    /// What is excluded.
    type Choice = Patterns;

    fn choice(&self) -> Patterns {
        self.exclude.clone()
    }

    fn split(known: Known, exclude: &Patterns) -> (Known, Option<Known>) {
        let (left_out, taken) = known.into_iter().partition(|(name, _)| exclude.matches(name));
        (taken, Some(left_out))
    }

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if !context.host.is_live() {
            return Err(CollectError::Absent("timers are only those of the running machine".to_owned()));
        }
        let listed = self.list().await.map_err(|error| CollectError::failed("ask systemd for its timers", error))?;
        let Some(listed) = listed else { return Ok(None) };
        let clock = Clock::of(&context.host);
        let now = Now {
            unix: clock.unix_milliseconds().saturating_mul(1000),
            monotonic: i64::try_from(clock.awake_since_boot().as_micros()).unwrap_or(i64::MAX),
        };
        let beyond = listed.len().saturating_sub(TIMERS_MAX);
        let why = format!("more than {TIMERS_MAX} are loaded, {beyond} are not followed");
        context.note(BEYOND, (beyond > 0).then_some(why)).await?;
        let timer = |(name, properties): (String, Properties)| {
            let timer = judge(before.and_then(|before| before.get(&name)), &properties, now)?;
            Some((name, timer))
        };
        Ok(Some(listed.into_iter().take(TIMERS_MAX).filter_map(timer).collect()))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        let is_wrong = |timer: &Timer| matches!(timer.is, Condition::Overdue | Condition::Failed);
        known.iter().filter(|(_, timer)| is_wrong(timer)).map(|(name, timer)| finding(name, timer)).collect()
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (name, was) in
            before.iter().filter(|(name, was)| !after.contains_key(*name) && was.is != Condition::Stopped)
        {
            findings.push(finding(name, &Timer { is: Condition::Stopped, ..was.clone() }));
        }
        for (name, is) in after {
            let was = before.get(name).map_or(Condition::OnTime, |was| was.is);
            let is_new = !before.contains_key(name);
            if was != is.is && !(is_new && is.is == Condition::Stopped) {
                findings.push(finding(name, is));
            }
        }
        findings
    }

    fn inventory(&self, known: &Known) -> String {
        if known.is_empty() { String::new() } else { format!("timers: {}", known.len()) }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

/// What a timer amounts to; none where it is one of a moment.
fn judge(before: Option<&Timer>, properties: &Properties, now: Now) -> Option<Timer> {
    let text = |name: &str| match properties.get(name) {
        Some(Value::Text(text)) => text.as_str(),
        _ => "",
    };
    let number = |name: &str| match properties.get(name) {
        Some(Value::Number(number)) if *number != NEVER => *number,
        _ => 0,
    };
    if number("Transient") != 0 {
        return None;
    }
    let seconds = |microseconds: i64| microseconds / 1_000_000;
    let by_wall = Some(number("NextElapseUSecRealtime")).filter(|at| *at > 0);
    let by_boot = Some(number("NextElapseUSecMonotonic")).filter(|at| *at > 0);
    let by_boot = by_boot.map(|at| now.unix.saturating_add(at.saturating_sub(now.monotonic)));
    let due = seconds(by_wall.into_iter().chain(by_boot).min().unwrap_or_default());
    let last = seconds(number("LastTriggerUSec"));
    let mut timer = Timer {
        is: Condition::OnTime,
        span: before.map_or(0, |before| before.span),
        unit: text("Unit").to_owned(),
        told: Told { due, last, result: String::new() },
    };
    let late = |span: i64| (span / 10).clamp(LATE_MIN, LATE_MAX).saturating_add(seconds(number("AccuracyUSec")));
    match (text("ActiveState"), text("SubState")) {
        ("failed", _) => {
            timer.is = Condition::Failed;
            timer.told = Told { due: 0, last, result: text("Result").to_owned() };
        }
        ("inactive" | "deactivating", _) => {
            timer.is = Condition::Stopped;
            timer.told.due = 0;
        }
        (_, "running") if timer.span > 0 && last > 0 => {
            timer.told.due = last.saturating_add(timer.span);
            if seconds(now.unix) > timer.told.due.saturating_add(late(timer.span)) {
                timer.is = Condition::Overdue;
                "it still runs".clone_into(&mut timer.told.result);
            }
        }
        (_, "waiting") if due > 0 => {
            if last > 0 && due > last {
                timer.span = due - last;
            }
            if seconds(now.unix) > due.saturating_add(late(timer.span)) {
                timer.is = Condition::Overdue;
            }
        }
        _ => {}
    }
    Some(timer)
}

fn finding(name: &str, timer: &Timer) -> Finding {
    let (level, operation, action) = match timer.is {
        Condition::Overdue => (Level::Warn, Operation::Overdue, "overdue"),
        Condition::Failed => (Level::Error, Operation::Failed, "failed"),
        Condition::OnTime => (Level::Info, Operation::OnTime, "on time"),
        Condition::Stopped => (Level::Info, Operation::Stopped, "stopped"),
    };
    let payload = ServiceTimerPayload {
        timer_name: name.to_owned(),
        unit_name: timer.unit.clone(),
        due_time: timer.told.due,
        last_time: timer.told.last,
        result: timer.told.result.clone(),
        operation: operation.into(),
    };
    Finding::new(level, payload, COMPONENT, action)
}

#[cfg(test)]
mod tests;
