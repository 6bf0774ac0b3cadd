//! How much a program says: a level, and what a variable of the environment says otherwise, as `debug` or `debug,h2=warn`.
//!
//! Deliberately absent: filters by span or field, which would bring an engine for regular expressions along.

use tracing_subscriber::filter::{LevelFilter, Targets};

/// What a variable said that is neither a level nor `MODULE=LEVEL`.
#[derive(Debug, PartialEq, Eq)]
pub struct NotUnderstood(String);

impl NotUnderstood {
    /// Says so in the log, once there is one.
    pub fn tell(self, variable: &str) {
        let part = self.0;
        tracing::warn!(part, "{variable} has a part that is neither a level nor MODULE=LEVEL; it changes nothing");
    }
}

/// Writes `level` and what is more important; modules of `own` at their own levels. What `said` names beats both, the later
/// the stronger; parts of it that cannot be read change nothing and are given back.
pub fn levels(level: LevelFilter, own: &[(&'static str, LevelFilter)], said: &str) -> (Targets, Vec<NotUnderstood>) {
    let mut targets = Targets::new().with_default(level).with_targets(own.iter().copied());
    let mut rest = Vec::new();
    for part in said.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.parse::<Targets>() {
            // A word that is no level is read as a module at every level: nobody means that.
            Ok(parsed) if part.contains('=') || part.parse::<LevelFilter>().is_ok() => {
                if let Some(level) = parsed.default_level() {
                    targets = targets.with_default(level);
                }
                targets.extend(parsed);
            }
            _ => rest.push(NotUnderstood(part.to_owned())),
        }
    }
    (targets, rest)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    const QUIET: &[(&str, LevelFilter)] = &[("sled", LevelFilter::OFF)];

    #[test]
    fn the_variable_beats_the_level_and_own_modules_where_it_names_them() {
        let (targets, rest) = levels(LevelFilter::INFO, QUIET, "");
        assert!(targets.would_enable("rodent::agent", &Level::INFO) && !targets.would_enable("rodent", &Level::DEBUG));
        assert!(!targets.would_enable("sled::tree", &Level::ERROR));
        assert_eq!(rest, []);

        let (targets, _) = levels(LevelFilter::INFO, QUIET, "debug,h2=warn");
        assert!(targets.would_enable("rodent", &Level::DEBUG) && !targets.would_enable("h2::codec", &Level::INFO));
        assert!(!targets.would_enable("sled", &Level::ERROR), "not named");

        let (targets, _) = levels(LevelFilter::INFO, QUIET, "h2=warn, sled=trace");
        assert!(targets.would_enable("rodent", &Level::INFO) && targets.would_enable("sled", &Level::TRACE));
        let (targets, _) = levels(LevelFilter::INFO, QUIET, "off");
        assert!(!targets.would_enable("rodent", &Level::ERROR));
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_is_told() {
        let (targets, rest) = levels(LevelFilter::INFO, QUIET, "lots,h2=much,,warn");
        let told: Vec<_> = rest.iter().map(|part| part.0.as_str()).collect();
        assert_eq!(told, ["lots", "h2=much"]);
        assert!(!targets.would_enable("rodent", &Level::INFO) && targets.would_enable("h2", &Level::WARN));
    }
}
