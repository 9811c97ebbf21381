//! A local time that somebody names -> the instants at which the wall clock shows it, or the gap that it fell into.
//!
//! The other way round from `instants`: there a schedule asks for instants, here a person asks about one. Says too what a
//! schedule makes of such a local time, by the rule in `instants`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::expression::Expression;
use super::zone::{Stretch, first_instant_reaching};
use super::{Schedule, ScheduleError, zone};

/// What a local time is in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalTime {
    /// The clock shows it once.
    Once(Timestamp),
    /// The clock shows it twice, since it goes back.
    Twice {
        /// The first time.
        first: Timestamp,
        /// The second time.
        second: Timestamp,
        /// What the clock shows when it goes back.
        clock_from: DateTime,
        /// What it shows then.
        clock_to: DateTime,
    },
    /// The clock never shows it, since it jumps over it.
    Never {
        /// The first instant after the gap.
        after: Timestamp,
        /// What the clock shows when it jumps.
        clock_from: DateTime,
        /// What it shows then.
        clock_to: DateTime,
    },
}

/// How a schedule asks for a local time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By fixed times: in a gap it fires at the first instant after it, and of two passes in the first.
    Fixed,
    /// By a wildcard: never in a gap, and in both of two passes.
    Wildcard,
}

/// What a local time (whole seconds) is in a zone. `None`: beyond the calendar.
#[must_use]
pub fn local_time(zone: &TimeZone, local: DateTime) -> Option<LocalTime> {
    let local = seconds(local)?;
    let first = first_instant_reaching(zone, local)?;
    let stretch = Stretch::at(zone, first)?;
    if first + stretch.offset != local {
        return Some(LocalTime::Never {
            after: Timestamp::from_second(first).ok()?,
            clock_from: datetime(stretch.reached)?,
            clock_to: datetime(stretch.local_start())?,
        });
    }
    let shown_first = Timestamp::from_second(first).ok()?;
    let Some(later) = Stretch::at(zone, stretch.end).filter(|later| later.start > first) else {
        return Some(LocalTime::Once(shown_first));
    };
    let is_repeated = (later.local_start()..later.reached.min(later.local_end())).contains(&local);
    Some(match is_repeated {
        false => LocalTime::Once(shown_first),
        true => LocalTime::Twice {
            first: shown_first,
            second: Timestamp::from_second(local - later.offset).ok()?,
            clock_from: datetime(later.reached)?,
            clock_to: datetime(later.local_start())?,
        },
    })
}

/// The zone of an IANA name.
///
/// # Errors
/// Names the zone that is unknown.
pub fn timezone(name: &str) -> Result<TimeZone, ScheduleError> {
    zone::find(name).map(|(zone, _)| zone)
}

impl Schedule {
    /// Whether an instant is one of the schedule's.
    #[must_use]
    pub fn contains(&self, instant: Timestamp) -> bool {
        let before = Timestamp::from_second(instant.as_second() - 1);
        before.is_ok_and(|before| self.next_after(before) == Some(instant))
    }

    /// Whether a local time is one that the schedule names, and how; whether the clock ever shows it is another matter.
    /// Where some texts name it as a fixed time and others by a wildcard, the fixed one counts.
    #[must_use]
    pub fn names(&self, local: DateTime) -> Option<Named> {
        let local = seconds(local)?;
        let named = self.expressions.iter().filter_map(|expression| match expression {
            Expression::Cron { times, wildcard } if times.contains(local) => Some(*wildcard),
            _ => None,
        });
        named
            .min()
            .map(|wildcard| if wildcard { Named::Wildcard } else { Named::Fixed })
    }
}

fn seconds(local: DateTime) -> Option<i64> {
    TimeZone::UTC
        .to_timestamp(local)
        .ok()
        .map(|instant| instant.as_second())
}

fn datetime(local: i64) -> Option<DateTime> {
    Some(TimeZone::UTC.to_datetime(Timestamp::from_second(local).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    fn local(text: &str) -> DateTime {
        text.parse().expect("a local time")
    }

    fn berlin(text: &str) -> LocalTime {
        let zone = timezone("Europe/Berlin").expect("a zone");
        local_time(&zone, local(text)).expect("within the calendar")
    }

    #[test]
    fn most_local_times_are_shown_once() {
        assert_eq!(berlin("2026-11-25T02:30"), LocalTime::Once(at("2026-11-25T01:30:00Z")));
        assert_eq!(berlin("2026-03-29T03:00"), LocalTime::Once(at("2026-03-29T01:00:00Z")));
        assert_eq!(berlin("2026-10-25T03:00"), LocalTime::Once(at("2026-10-25T02:00:00Z")));
        let utc = local_time(&TimeZone::UTC, local("2026-11-25T02:30"));
        assert_eq!(utc, Some(LocalTime::Once(at("2026-11-25T02:30:00Z"))));
    }

    #[test]
    fn a_local_time_in_a_gap_says_how_the_clock_goes() {
        let never = LocalTime::Never {
            after: at("2026-03-29T01:00:00Z"),
            clock_from: local("2026-03-29T02:00"),
            clock_to: local("2026-03-29T03:00"),
        };
        assert_eq!(berlin("2026-03-29T02:00"), never);
        assert_eq!(berlin("2026-03-29T02:59:59"), never);
    }

    #[test]
    fn a_repeated_local_time_has_two_instants() {
        let twice = |first, second| LocalTime::Twice {
            first: at(first),
            second: at(second),
            clock_from: local("2026-10-25T03:00"),
            clock_to: local("2026-10-25T02:00"),
        };
        assert_eq!(
            berlin("2026-10-25T02:30"),
            twice("2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z")
        );
        assert_eq!(
            berlin("2026-10-25T02:00"),
            twice("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z")
        );
    }

    #[test]
    fn a_schedule_says_how_it_names_a_local_time() {
        let schedule = |texts: &[&str]| Schedule::parse(texts, "Europe/Berlin").expect("well-formed");
        let gap = local("2026-03-29T02:30");
        assert_eq!(schedule(&["30 2 * * *"]).names(gap), Some(Named::Fixed));
        assert_eq!(schedule(&["*/10 2 * * *"]).names(gap), Some(Named::Wildcard));
        assert_eq!(schedule(&["*/10 2 * * *", "30 2 * * *"]).names(gap), Some(Named::Fixed));
        assert_eq!(schedule(&["40 2 * * *"]).names(gap), None);
        assert_eq!(schedule(&["@every 10m"]).names(gap), None);
    }

    #[test]
    fn a_schedule_contains_its_instants_and_no_others() {
        let schedule = Schedule::parse(&["30 2 * * *"], "Europe/Berlin").expect("well-formed");
        assert!(schedule.contains(at("2026-11-25T01:30:00Z")));
        assert!(schedule.contains(at("2026-03-29T01:00:00Z")), "right after the gap");
        assert!(!schedule.contains(at("2026-11-25T01:30:00.5Z")));
        assert!(!schedule.contains(at("2026-11-25T02:30:00Z")));
        assert!(!schedule.contains(at("2026-10-25T01:30:00Z")), "the second time");
    }
}
