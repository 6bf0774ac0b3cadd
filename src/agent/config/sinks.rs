//! Who events are delivered to besides the controller, each under a name of its own.

use std::fmt;

use crate::{
    settings::{Part, Table},
    sinks::{self, Configured, SinkSpec, uplink::UPLINK},
    words,
};

/// The most sinks. Each is a cursor that the log's ledger has a place for.
const SINKS_MAX: usize = 32;

/// The longest name, characters.
const NAME_CHARACTERS_MAX: usize = 32;

/// What the part is about.
const ABOUT: &str = "who else events are delivered to, each under a name of its own";

/// One sink and the keys that are its own.
#[derive(Clone)]
pub struct SinkSettings {
    /// What the configuration calls it; the name of its consumer.
    pub name: String,
    /// What it is and how it is made.
    pub spec: &'static SinkSpec,
    settings: Part,
    /// The sink that takes what this one has not taken for long.
    fallback: Option<Box<SinkSettings>>,
    is_enabled: bool,
}

impl SinkSettings {
    /// Makes the sink, anew with each call; none where its settings were refused.
    pub fn build(&self) -> Option<Box<dyn Configured>> {
        let mut sink = (self.spec.build)(&mut self.settings.open())?;
        if let Some(other) = self.fallback.as_ref().and_then(|other| other.build()) {
            sink.stand_in(&*other);
        }
        Some(sink)
    }

    /// The same without the sink that takes what this one has not taken for long, unless that `may_be_told`.
    pub fn relying_on(&self, may_be_told: impl Fn(&str) -> bool) -> SinkSettings {
        let fallback = self.fallback.clone().filter(|other| may_be_told(&other.name));
        SinkSettings { fallback, ..self.clone() }
    }

    /// The names of the sinks that it is made of: its own, and that of its fallback.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name.as_str()).chain(self.fallback.as_ref().map(|other| other.name.as_str()))
    }
}

impl fmt::Debug for SinkSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(self.spec.name).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads the part `sinks` of the root.
pub(super) fn read(root: &mut Table) -> Vec<SinkSettings> {
    let mut settings: Vec<SinkSettings> = Vec::new();
    let mut fallbacks = Vec::new();
    let tables = root.named("sinks", ABOUT, is_name);
    let names: Vec<_> = tables.iter().map(|(name, _)| name.clone()).collect();
    for (name, mut table) in tables {
        let types: Vec<_> = sinks::ALL.iter().map(|spec| spec.name).collect();
        let Some(first) = types.first() else { continue };
        let has_type = table.has("type");
        let kind = table.one_of("type", first, &types, "what it is");
        if !has_type {
            table.fault("type", format!("missing; expected {}", types.join(" or ")));
        }
        let is_enabled = table.boolean("enabled", true, "whether it is told; where not, nothing is kept for it");
        if settings.len() >= SINKS_MAX {
            table.fault("type", format!("at most {SINKS_MAX} sinks are taken"));
        }
        for spec in sinks::ALL.iter().filter(|spec| spec.name == kind) {
            // Made once here, and dropped, so that its own keys are checked.
            let sink = (spec.build)(&mut table);
            if let Some(other) = sink.as_ref().and_then(|sink| sink.fallback()) {
                let others = names.iter().map(String::as_str).filter(|its| *its != name);
                match others.clone().any(|its| its == other) {
                    true => fallbacks.push((settings.len(), other.to_owned())),
                    false => {
                        let near = words::did_you_mean(words::nearest(other, others));
                        table.fault("fallback", format!("no other sink is called `{other}`{near}"));
                    }
                }
            }
            settings.push(SinkSettings {
                name: name.clone(),
                spec,
                settings: table.part(),
                fallback: None,
                is_enabled,
            });
        }
    }
    for (at, other) in fallbacks {
        let other = settings.iter().find(|its| its.name == other).cloned();
        if let Some(sink) = settings.get_mut(at) {
            // Of that one's own fallback nothing is used.
            sink.fallback = other.map(|other| Box::new(SinkSettings { fallback: None, ..other }));
        }
    }
    // One that is off may take what another one cannot deliver.
    settings.retain(|sink| sink.is_enabled);
    settings
}

/// What is wrong with a name of a sink.
pub(super) fn is_name(name: &str) -> Result<(), String> {
    match name {
        UPLINK => Err("the controller's own name; give the sink another one".to_owned()),
        name if words::is_name(name, NAME_CHARACTERS_MAX) => Ok(()),
        _ => Err(format!(
            "a name of a sink has at most {NAME_CHARACTERS_MAX} of the characters a to z, 0 to 9, `-` and `_`"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::SINKS_MAX;
    use crate::agent::config::Config;

    #[test]
    fn there_are_as_many_sinks_as_the_log_has_places_for() {
        let parsed = |count: usize| {
            let sink = |number: usize| format!("  s{number}: {{type: webhook, url: 'http://ops.lan/'}}\n");
            Config::parse("f", &format!("sinks:\n{}", (0..count).map(sink).collect::<String>()))
        };
        assert_eq!(parsed(SINKS_MAX).expect("right").config.sinks.len(), SINKS_MAX);
        let refused = parsed(SINKS_MAX + 1).expect_err("one too many").to_string();
        assert!(refused.contains("sinks.s32.type: webhook: at most 32 sinks are taken"), "{refused}");
    }

    #[test]
    fn one_that_may_not_be_told_takes_nothing_for_another() {
        let sink = "type: webhook, url: 'http://ops.lan/'";
        let lines = format!("sinks:\n  a: {{{sink}, fallback: {{to: b, after: 10m}}}}\n  b: {{{sink}}}\n");
        let parsed = Config::parse("f", &lines).expect("right");
        let first = parsed.config.sinks.iter().find(|sink| sink.name == "a").expect("it is there");
        let (with, without) = (first.relying_on(|other| other == "b"), first.relying_on(|other| other != "b"));
        assert_eq!(with.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(without.names().collect::<Vec<_>>(), ["a"]);
        assert!(without.build().is_some(), "all else is as it was");
    }
}
