//! Programs that consume events: how long the log waits for one that does not come, and which users read less than everything.

use std::{ops::RangeInclusive, time::Duration};

use crate::{consumers::programs::Absence, event::Filter, local_api::Scopes, settings::Table};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// Shorter is a test; longer than ten years is as good as never.
const BOUNDS: RangeInclusive<Duration> = SECOND..=Duration::from_secs(3650 * 86_400);

/// The most users that are limited.
const SCOPES_MAX: usize = 64;

/// What the section `consumers` says.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// For how long a program may stay away.
    pub absence: Absence,
    /// What users may read, and what is subscribed for programs.
    pub scopes: Scopes,
}

impl ConsumerSettings {
    /// `of_consumers` is what is subscribed for the consumers of programs.
    pub(super) fn read(table: &mut Table, of_consumers: Vec<(String, Filter)>) -> ConsumerSettings {
        let absence = Absence {
            warn_after: table.duration(
                "warn_after",
                7 * DAY,
                BOUNDS,
                "how long a program may stay away before somebody is told",
            ),
            release_after: table.duration_or_off(
                "release_after",
                Some(30 * DAY),
                BOUNDS,
                "how long until nothing is kept for it any more",
            ),
        };
        if absence.release_after.is_some_and(|release| release < absence.warn_after) {
            table.exceeds("warn_after", "release_after");
        }
        let about = "users who read only some events: the number of each, and a filter";
        let mut of_users: Vec<(u32, Filter)> = Vec::new();
        for text in table.strings("allow", &[], about) {
            match scope(&text) {
                Ok((uid, _)) if of_users.iter().any(|(user, _)| *user == uid) => {
                    table.fault("allow", format!("user {uid} is named twice; write one filter, with `or` if need be"));
                }
                Ok(_) if of_users.len() >= SCOPES_MAX => {
                    table.fault("allow", format!("at most {SCOPES_MAX} users are taken"));
                }
                Ok(scope) => of_users.push(scope),
                Err(message) => table.fault("allow", message),
            }
        }
        ConsumerSettings { absence, scopes: Scopes::new(of_users, of_consumers) }
    }
}

fn scope(text: &str) -> Result<(u32, Filter), String> {
    let (uid, filter) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
    let uid = uid.parse().ok().filter(|_| !filter.trim().is_empty()).ok_or_else(|| {
        format!(
            "`{}` is not a user's number and a filter, such as `1001 storage level>=warn`; `id -u NAME` tells the number",
            crate::visible::visible(text)
        )
    })?;
    Ok((uid, Filter::parse(&[filter]).map_err(|error| error.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::config::Config;

    #[test]
    fn a_program_is_waited_for_a_month_and_told_of_after_a_week_unless_it_is_said_otherwise() {
        let of = |text: &str| Config::parse("rodent.yml", text).map(|loaded| loaded.config.consumers.absence);
        let default = of("").expect("valid");
        assert_eq!((default.warn_after, default.release_after), (7 * DAY, Some(30 * DAY)));
        let other = of("consumers: {warn_after: 1h, release_after: off}").expect("valid");
        assert_eq!((other.warn_after, other.release_after), (3600 * SECOND, None));
        let fault = of("consumers: {warn_after: 2days, release_after: 1day}").expect_err("refused").to_string();
        assert!(fault.contains("warn_after"), "{fault}");
    }

    #[test]
    fn a_limit_is_a_number_and_a_filter_that_can_take_something() {
        for (wrong, says) in [
            ("'backup storage'", "`backup storage` is not a user's number and a filter"),
            ("'1001'", "such as `1001 storage level>=warn`"),
            ("'1001 storage.nothing'", "storage.nothing"),
            ("'1001 storage', '1001 system'", "user 1001 is named twice"),
        ] {
            let text = format!("consumers: {{allow: [{wrong}]}}");
            let fault = Config::parse("rodent.yml", &text).expect_err("refused").to_string();
            assert!(fault.contains(says), "{fault}");
        }
    }
}
