//! Points in time for people: as the clock on the wall shows them, or in UTC.
//!
//! JSON is not printed through this: it has RFC 3339 in UTC, whoever reads it.

use std::mem::MaybeUninit;

use super::time_utc;

/// In which time people are told when something was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TimeZone {
    /// Of the machine, or as `TZ` says.
    #[default]
    Local,
    /// As it is everywhere.
    Utc,
}

impl TimeZone {
    /// UTC where that is asked for.
    pub fn utc(utc: bool) -> TimeZone {
        if utc { TimeZone::Utc } else { TimeZone::Local }
    }

    /// [`TimeZone::time`] of this one.
    pub fn writer(self) -> fn(i64) -> String {
        match self {
            TimeZone::Local => |unix_ms| TimeZone::Local.time(unix_ms),
            TimeZone::Utc => |unix_ms| TimeZone::Utc.time(unix_ms),
        }
    }

    /// Columns that [`TimeZone::time`] takes.
    pub fn width(self) -> usize {
        match self {
            TimeZone::Local => "2026-11-10 09:30:00".len(),
            TimeZone::Utc => "2026-11-10T09:30:00Z".len(),
        }
    }

    /// `2026-11-10 09:30:00`, or in UTC `2026-11-10T09:30:00Z`, of Unix milliseconds. What no calendar has is given as the number.
    pub fn time(self, unix_ms: i64) -> String {
        match self.parts(unix_ms) {
            Some([year, month, day, hour, minute, second]) => {
                format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
            }
            None => time_utc(unix_ms),
        }
    }

    /// The time of day: `09:30:00`.
    pub fn time_of_day(self, unix_ms: i64) -> String {
        match self.parts(unix_ms) {
            Some([_, _, _, hour, minute, second]) => format!("{hour:02}:{minute:02}:{second:02}"),
            None => {
                let time = time_utc(unix_ms);
                time.get(11..19).map(str::to_owned).unwrap_or(time)
            }
        }
    }

    /// The day of the week; 0 is Sunday.
    pub fn day_of_week(self, unix_ms: i64) -> u8 {
        let local = (self == TimeZone::Local).then(|| local_of(unix_ms.div_euclid(1000))).flatten();
        // 1970 began on a Thursday.
        let in_utc = || (unix_ms.div_euclid(86_400_000) + 4).rem_euclid(7);
        u8::try_from(local.map_or_else(in_utc, |local| local.tm_wday.into())).unwrap_or_default()
    }

    /// Unix milliseconds of a date and a time of day, both as [`TimeZone::time`] gives them; `None` for one that is none.
    pub fn parse(self, date: &str, time_of_day: &str) -> Option<i64> {
        let utc = humantime::parse_rfc3339(&format!("{date}T{time_of_day}Z")).ok()?;
        let seconds = utc.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        let seconds = match self {
            TimeZone::Utc => i64::try_from(seconds).ok()?,
            TimeZone::Local => seconds_of_local(i64::try_from(seconds).ok()?)?,
        };
        seconds.checked_mul(1000)
    }

    /// Year to second on the wall; `None` in UTC, and where there is no such time.
    fn parts(self, unix_ms: i64) -> Option<[i32; 6]> {
        let local = (self == TimeZone::Local && unix_ms >= 0).then(|| local_of(unix_ms / 1000)).flatten()?;
        let parts = [
            local.tm_year.checked_add(1900)?,
            local.tm_mon + 1,
            local.tm_mday,
            local.tm_hour,
            local.tm_min,
            local.tm_sec,
        ];
        (parts[0] <= 9999).then_some(parts)
    }
}

#[expect(unsafe_code, reason = "nix has no wrapper for localtime_r, which knows the rules of the machine's time zone")]
fn local_of(seconds: i64) -> Option<libc::tm> {
    let mut local = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are valid for the call; what is zeroed is a valid `tm`, also when nothing is written.
    unsafe {
        let made = libc::localtime_r(&raw const seconds, local.as_mut_ptr());
        (!made.is_null()).then(|| local.assume_init())
    }
}

/// The seconds since 1970 at which the wall shows what these seconds would show in UTC. Of an hour that comes twice, the first.
fn seconds_of_local(shown: i64) -> Option<i64> {
    let offset = |at: i64| local_of(at).map(|local| local.tm_gmtoff);
    // The offset is looked up near the moment, then at it: so a change between the two does not count.
    let guess = shown.checked_sub(offset(shown)?)?;
    let seconds = shown.checked_sub(offset(guess)?)?;
    Some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever the machine's time zone is.
    #[test]
    fn a_local_time_is_read_back_as_the_moment_that_it_shows() {
        for unix_ms in [0, 1_762_767_000_000, 1_785_000_000_000, 4_102_444_800_000] {
            let shown = TimeZone::Local.time(unix_ms);
            let (date, time) = shown.split_once(' ').expect("date and time");
            assert_eq!(TimeZone::Local.parse(date, time), Some(unix_ms), "{shown}");
            assert_eq!(TimeZone::Local.time_of_day(unix_ms), time);
            assert_eq!(shown.len(), TimeZone::Local.width());
            // What the wall shows is in UTC on the same day of the week.
            let as_utc = TimeZone::Utc.parse(date, time).expect("a time");
            assert_eq!(TimeZone::Local.day_of_week(unix_ms), TimeZone::Utc.day_of_week(as_utc));
        }
    }

    #[test]
    fn utc_is_as_it_is_everywhere_and_what_no_calendar_has_is_a_number() {
        assert_eq!(TimeZone::Utc.time(1_762_767_000_000), "2025-11-10T09:30:00Z");
        assert_eq!(TimeZone::Utc.time_of_day(1_762_767_000_000), "09:30:00");
        assert_eq!(TimeZone::Utc.day_of_week(1_762_767_000_000), 1, "a Monday");
        assert_eq!(TimeZone::Utc.parse("2025-11-10", "09:30:00"), Some(1_762_767_000_000));
        for clock in [TimeZone::Utc, TimeZone::Local] {
            assert_eq!((clock.time(-5), clock.time(i64::MAX)), ("-5ms".to_owned(), format!("{}ms", i64::MAX)));
            assert_eq!(clock.parse("2025-13-10", "09:30:00"), None);
        }
    }
}
