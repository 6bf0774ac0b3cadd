//! Uninterruptible power supplies as a domain: upsd of Network UPS Tools is asked on the loopback. It need not be there; where
//! it once was and does not answer, or somebody else listens in its place, that is a blind spot.

use crate::order::Gather as _;
use std::{collections::BTreeMap, io, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    collectors::{CollectError, Context, driver::Domain, finding::Finding, listing::counted},
    event::Level,
    host::nut::{Nut, Supply},
    schema::events::system_host_payload::SystemHostOperation as Operation,
};

/// The protocol has no way to be told. On battery every second counts little, minutes much.
const INTERVAL: Duration = Duration::from_secs(10);
const COMPONENT: &str = "ups";
/// What it is blind to, before the name.
const SUPPLY: &str = "UPS ";

/// By name.
type Known = BTreeMap<String, State>;

/// One supply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    power: Power,
    /// Why it would not hold in an outage.
    weakness: Vec<String>,
    /// `battery 60 %, 30 min left`, when the state was entered.
    #[serde(skip)]
    detail: String,
}

/// From where the load is fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Power {
    #[default]
    Mains,
    Battery,
    Low,
}

/// The look at them.
#[derive(Default)]
pub(super) struct Supplies {
    nut: Nut,
}

impl Domain for Supplies {
    const NAME: &'static str = "power supplies";
    type Known = Known;
    type Choice = ();

    fn choice(&self) {}

    async fn look(&mut self, context: &Context, before: Option<&Known>) -> Result<Option<Known>, CollectError> {
        if !context.host.is_live() {
            return Ok(None);
        }
        let answer = self.nut.supplies(&context.host).await;
        let is_missed = before.is_some_and(|before| !before.is_empty());
        let intruder = answer.as_ref().err().filter(|error| is_intruder(error) && !is_missed);
        context.sight.is_not_meant_to_see(Self::NAME, &intruder.map(ToString::to_string).unwrap_or_default());
        let supplies = match answer {
            Ok(supplies) => supplies,
            // It may be started later; and one that watches nothing is not missed.
            Err(error) if is_absent(&error) && !is_missed => return Ok(None),
            Err(error) => return Err(CollectError::failed("ask upsd", error)),
        };
        for (name, supply) in &supplies {
            let why = supply.as_ref().err().map(|why| format!("upsd has no data of it: {why}"));
            context.note(&format!("{SUPPLY}{name}"), why).await?;
        }
        context.sees_gone(SUPPLY, |name| supplies.contains_key(name)).await?;
        Ok(Some(follow(&supplies, before)))
    }

    fn first_sight(&self, known: &Known) -> Vec<Finding> {
        let well = known.keys().map(|name| (name.clone(), State::default())).gather();
        diff(&well, known)
    }

    fn diff(&self, before: &Known, after: &Known) -> Vec<Finding> {
        diff(before, after)
    }

    fn inventory(&self, known: &Known) -> String {
        let names: Vec<_> = known.keys().cloned().collect();
        if names.is_empty() { String::new() } else { counted(names, "UPS") }
    }

    fn interval(&self) -> Option<Duration> {
        Some(INTERVAL)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::PermissionDenied) || is_intruder(error)
}

/// Somebody listens in the place of upsd: any user may. Where no UPS is known that is no more than a line of the status, for he
/// could make a blind spot come and go as he likes.
fn is_intruder(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// What is known after this answer; a supply without data is as it was.
fn follow(supplies: &BTreeMap<String, Supply>, before: Option<&Known>) -> Known {
    let states = supplies.iter().filter_map(|(name, supply)| {
        let was = before.and_then(|before| before.get(name));
        let state = match supply {
            Ok(variables) => State::of(variables, was),
            Err(_) => was?.clone(),
        };
        Some((name.clone(), state))
    });
    states.gather()
}

impl State {
    fn of(variables: &BTreeMap<String, String>, was: Option<&State>) -> State {
        /// Flags that tell that it would not hold, and how a person says it.
        const WEAKNESSES: [(&str, &str); 5] = [
            ("RB", "its battery has to be replaced"),
            ("OVER", "it is overloaded"),
            ("BYPASS", "the load is past it, on the mains"),
            ("OFF", "its output is off"),
            ("ALARM", "it has an alarm"),
        ];
        let status = variables.get("ups.status").map(String::as_str).unwrap_or_default();
        let has = |flag: &str| status.split_whitespace().any(|it| it == flag);
        let power = if has("FSD") || (has("LB") && !has("OL")) {
            Power::Low
        } else if has("OL") || has("CAL") {
            // While it is calibrated it runs on its battery by somebody's will.
            Power::Mains
        } else if has("OB") {
            Power::Battery
        } else {
            was.map_or(Power::Mains, |was| was.power)
        };
        let weakness = WEAKNESSES.iter().filter(|(flag, _)| has(flag)).map(|(_, words)| (*words).to_owned()).collect();
        let state = State { power, weakness, detail: detail(variables) };
        // Figures that go up and down are no news.
        match was.filter(|was| (was.power, &was.weakness) == (state.power, &state.weakness)) {
            Some(was) => was.clone(),
            None => state,
        }
    }
}

/// `battery 60 %, 30 min left, load 23 %`
fn detail(variables: &BTreeMap<String, String>) -> String {
    let number = |name: &str| variables.get(name)?.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number));
    let parts = [
        number("battery.charge").map(|percent| format!("battery {percent:.0} %")),
        number("battery.runtime").map(|seconds| format!("{:.0} min left", (seconds / 60.0).floor())),
        number("ups.load").map(|percent| format!("load {percent:.0} %")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn diff(before: &Known, after: &Known) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        findings.push(Finding::host(Level::Info, Operation::UpsGone, name, String::new(), COMPONENT, "gone"));
    }
    let unknown = State::default();
    for (name, is) in after {
        let was = before.get(name).unwrap_or(&unknown);
        if was.power != is.power {
            let (level, operation, action) = match is.power {
                Power::Mains => (Level::Info, Operation::UpsOnLine, "on line"),
                Power::Battery => (Level::Warn, Operation::UpsOnBattery, "on battery"),
                Power::Low => (Level::Critical, Operation::UpsBatteryLow, "battery low"),
            };
            findings.push(Finding::host(level, operation, name, is.detail.clone(), COMPONENT, action));
        }
        if was.weakness != is.weakness {
            let (level, operation, action) = match is.weakness.is_empty() {
                true => (Level::Info, Operation::UpsFit, "fit"),
                false => (Level::Warn, Operation::UpsWeak, "weak"),
            };
            findings.push(Finding::host(level, operation, name, is.weakness.join(", "), COMPONENT, action));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::collectors::finding::sentences;

    fn supply(status: &str, charge: &str) -> BTreeMap<String, Supply> {
        let variables = [("ups.status", status), ("battery.charge", charge), ("battery.runtime", "1805")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        BTreeMap::from([("rack".to_owned(), Ok(variables.into()))])
    }

    #[test]
    fn an_outage_is_told_when_it_begins_gets_dangerous_and_ends() {
        let stale = BTreeMap::from([("rack".to_owned(), Err("DATA-STALE".to_owned()))]);
        let answers = [
            ("on the mains", supply("OL", "100")),
            ("outage", supply("OB DISCHRG", "98")),
            ("it goes on", supply("OB DISCHRG", "60")),
            ("low", supply("OB LB", "15")),
            ("no data", stale),
            ("power is back, the battery still low", supply("OL CHRG LB", "16")),
            ("it has aged", supply("OL CHRG RB", "90")),
            ("and is overloaded", supply("OL OVER RB", "100")),
            ("a new one", supply("OL", "100")),
            ("calibration", supply("OB CAL DISCHRG", "70")),
            ("a word that nobody knows", supply("WAIT", "")),
            ("upsmon shuts down", supply("FSD OB LB", "3")),
            ("not watched any more", BTreeMap::new()),
        ];
        let (mut known, mut told) = (None::<Known>, Vec::new());
        for (what, answer) in answers {
            let after = follow(&answer, known.as_ref());
            let findings =
                known.as_ref().map_or_else(|| Supplies::default().first_sight(&after), |it| diff(it, &after));
            told.push(format!("{what}: {}", sentences(&findings).join("; ")));
            known = Some(after);
        }
        let expected = [
            "on the mains: ",
            "outage: UPS rack runs on its battery, mains power is away: battery 98 %, 30 min left",
            "it goes on: ",
            "low: UPS rack has a low battery, power fails soon: battery 15 %, 30 min left",
            "no data: ",
            "power is back, the battery still low: UPS rack has mains power again: battery 16 %, 30 min left",
            "it has aged: UPS rack would not hold in an outage: its battery has to be replaced",
            "and is overloaded: UPS rack would not hold in an outage: its battery has to be replaced, it is overloaded",
            "a new one: UPS rack is fit again",
            "calibration: ",
            "a word that nobody knows: ",
            "upsmon shuts down: UPS rack has a low battery, power fails soon: battery 3 %, 30 min left",
            "not watched any more: UPS rack is no longer watched by NUT",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn where_no_ups_is_known_neither_no_upsd_nor_somebody_in_its_place_is_a_blind_spot() {
        let absent = [io::ErrorKind::ConnectionRefused, io::ErrorKind::AddrInUse].map(io::Error::from);
        assert!(absent.iter().all(is_absent));
        assert_eq!(absent.each_ref().map(is_intruder), [false, true]);
        assert!(!is_absent(&io::ErrorKind::TimedOut.into()), "what listens there and is believed has to answer");
    }

    proptest! {
        #[test]
        fn no_status_makes_it_panic_and_the_same_again_is_no_news(status in ".{0,20}", charge in "[0-9.eE+-]{0,30}|NaN") {
            let known = follow(&supply(&status, &charge), None);
            prop_assert_eq!(diff(&known, &follow(&supply(&status, &charge), Some(&known))), vec![]);
        }
    }
}
