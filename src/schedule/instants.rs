//! One expression and a time zone -> instants.
//!
//! Owns the rule for local times that do not exist or occur twice. A wall clock reaches most local times once. In spring
//! it jumps over some (a gap), in autumn it shows some again (an overlap).
//!
//! * A fixed-time expression fires at the first instant at which the clock shows a matching time *or has passed it*:
//!   times in a gap fire once, at the first instant after it; repeated times fire the first time only.
//! * A wildcard expression (minute or hour field begins with `*`) fires whenever the clock shows a matching time: not for
//!   times in a gap, both times for repeated ones.
//!
//! Instants are whole seconds since the Unix epoch.

use jiff::tz::TimeZone;

use super::expression::Expression;
use super::local::LocalTimes;
use super::zone::{MAX_OFFSET, Stretch};

impl Expression {
    /// The first instant at or after `from`.
    pub(super) fn next(&self, zone: &TimeZone, from: i64) -> Option<i64> {
        match self {
            Expression::Cron { times, wildcard } => CronInstants {
                times,
                wildcard: *wildcard,
                zone,
            }
            .next(from),
            Expression::Every(interval) => from
                .checked_add(interval - 1)
                .map(|last| last.div_euclid(*interval) * interval),
            Expression::At(instant) => (*instant >= from).then_some(*instant),
        }
    }

    /// The last instant in `from..=until`.
    pub(super) fn latest(&self, zone: &TimeZone, from: i64, until: i64) -> Option<i64> {
        let latest = match self {
            Expression::Cron { times, wildcard } => CronInstants {
                times,
                wildcard: *wildcard,
                zone,
            }
            .latest(from, until),
            Expression::Every(interval) => Some(until.div_euclid(*interval) * interval),
            Expression::At(instant) => (*instant <= until).then_some(*instant),
        };
        latest.filter(|instant| *instant >= from)
    }

    /// How many instants `from..until` holds.
    pub(super) fn count(&self, zone: &TimeZone, from: i64, until: i64) -> u64 {
        match self {
            _ if from >= until => 0,
            Expression::Cron { times, wildcard } => CronInstants {
                times,
                wildcard: *wildcard,
                zone,
            }
            .count(from, until),
            Expression::Every(interval) => {
                let passed = |instant: i64| (instant - 1).div_euclid(*interval);
                u64::try_from(passed(until) - passed(from)).expect("`until` is not before `from`")
            }
            Expression::At(instant) => u64::from((from..until).contains(instant)),
        }
    }
}

/// A cron expression in its zone.
struct CronInstants<'a> {
    times: &'a LocalTimes,
    wildcard: bool,
    zone: &'a TimeZone,
}

impl CronInstants<'_> {
    fn next(&self, from: i64) -> Option<i64> {
        let mut from = from;
        loop {
            let stretch = Stretch::at(self.zone, from)?;
            let local = self.times.next(self.first_local(&stretch, from))?;
            if local < stretch.local_end() {
                return Some(stretch.start.max(local - stretch.offset));
            }
            // Whatever the clock does after this stretch, it shows nothing before `end - MAX_OFFSET`; and nothing fires
            // before it can show the first match after that.
            let local = self.times.next(stretch.end - MAX_OFFSET)?;
            from = stretch.end.max(local - MAX_OFFSET);
        }
    }

    fn latest(&self, from: i64, until: i64) -> Option<i64> {
        let mut until = until;
        while until >= from {
            let stretch = Stretch::at(self.zone, until)?;
            if let Some(local) = self.times.previous(until + stretch.offset)
                && local >= self.lowest_local(&stretch)
            {
                return Some(stretch.start.max(local - stretch.offset));
            }
            // Everything shown before this stretch lies below `reached`; nothing matches between `local` and there, so
            // nothing fires after the clock can have shown `local` in any zone.
            let local = self.times.previous((until + stretch.offset).max(stretch.reached - 1))?;
            until = (stretch.start - 1).min(local + MAX_OFFSET);
        }
        None
    }

    fn count(&self, from: i64, until: i64) -> u64 {
        let mut total = 0;
        let mut from = from;
        while from < until {
            let Some(stretch) = Stretch::at(self.zone, from) else {
                break;
            };
            let end = stretch.end.min(until);
            let first = self.first_local(&stretch, from).max(from + stretch.offset);
            total += self.times.count(first, end + stretch.offset);
            total += u64::from(from == stretch.start && self.fires_for_gap(&stretch));
            from = end;
        }
        total
    }

    /// Whether the first instant of a stretch fires because of the gap before it, and not anyway.
    fn fires_for_gap(&self, stretch: &Stretch) -> bool {
        fires_for_gap(self.times, self.wildcard, stretch) && !self.times.contains(stretch.local_start())
    }

    /// The first local time that counts when looking from `from` in its stretch.
    fn first_local(&self, stretch: &Stretch, from: i64) -> i64 {
        if from == stretch.start {
            self.lowest_local(stretch)
        } else if self.wildcard {
            from + stretch.offset
        } else {
            stretch.reached.max(from + stretch.offset)
        }
    }

    /// The first local time that counts in a stretch: for fixed times, those of the gap before it do, and those shown
    /// before do not.
    fn lowest_local(&self, stretch: &Stretch) -> i64 {
        if self.wildcard {
            stretch.local_start()
        } else {
            stretch.reached
        }
    }
}

/// Whether a fixed-time expression has local times in the gap before a stretch.
pub(super) fn fires_for_gap(times: &LocalTimes, wildcard: bool, stretch: &Stretch) -> bool {
    !wildcard
        && stretch.follows_gap()
        && times
            .next(stretch.reached)
            .is_some_and(|local| local < stretch.local_start())
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;
    use jiff::{SignedDuration, Timestamp};

    use crate::schedule::Schedule;

    /// All instants of a local day, as local times with their offsets.
    fn day(text: &str, zone: &str, date: &str) -> Vec<String> {
        let schedule = Schedule::parse(&[text], zone).expect("well-formed");
        let zone = schedule.timezone();
        let date: Date = date.parse().expect("a date");
        let next_date = date.tomorrow().expect("within the calendar");
        let last_before = |date: Date| {
            let midnight = date.to_zoned(zone.clone()).expect("within the calendar").timestamp();
            midnight - SignedDuration::from_secs(1)
        };
        let (after, until) = (last_before(date), last_before(next_date));
        let instants: Vec<Timestamp> = schedule.between(after, until).collect();
        assert_eq!(schedule.count(after, until), instants.len() as u64);
        assert_eq!(schedule.latest(after, until), instants.last().copied());
        instants
            .iter()
            .map(|instant| instant.to_zoned(zone.clone()).strftime("%H:%M %:z").to_string())
            .collect()
    }

    fn next(text: &str, zone: &str, after: &str) -> Option<String> {
        let schedule = Schedule::parse(&[text], zone).expect("well-formed");
        let next = schedule.next_after(after.parse().expect("an instant"))?;
        Some(
            next.to_zoned(schedule.timezone().clone())
                .strftime("%Y-%m-%d %H:%M %:z")
                .to_string(),
        )
    }

    #[test]
    fn fixed_times_in_a_gap_fire_once_right_after_it() {
        assert_eq!(day("30 2 * * *", "Europe/Berlin", "2027-03-28"), ["03:00 +02:00"]);
        assert_eq!(day("0,30 2 * * *", "America/New_York", "2027-03-14"), ["03:00 -04:00"]);
        assert_eq!(day("15 2 * * *", "Australia/Lord_Howe", "2027-10-03"), ["02:30 +11:00"]);
        assert_eq!(day("*/10 30 2 * * *", "Europe/Berlin", "2027-03-28"), ["03:00 +02:00"]);
    }

    #[test]
    fn a_regular_time_right_after_the_gap_is_the_same_instant() {
        assert_eq!(
            day("30 2,3 * * *", "Europe/Berlin", "2027-03-28"),
            ["03:00 +02:00", "03:30 +02:00"]
        );
        assert_eq!(day("0 2,3 * * *", "Europe/Berlin", "2027-03-28"), ["03:00 +02:00"]);
    }

    #[test]
    fn wildcard_times_in_a_gap_are_skipped() {
        assert_eq!(day("*/30 2 * * *", "Europe/Berlin", "2027-03-28"), Vec::<String>::new());
        assert_eq!(day("30 * * * *", "Europe/Berlin", "2027-03-28").len(), 23);
    }

    #[test]
    fn fixed_times_in_an_overlap_fire_the_first_time_only() {
        assert_eq!(day("30 2 * * *", "Europe/Berlin", "2027-10-31"), ["02:30 +02:00"]);
        assert_eq!(day("30 1 * * *", "America/New_York", "2027-11-07"), ["01:30 -04:00"]);
        assert_eq!(day("30 0-23 * * *", "Europe/Berlin", "2027-10-31").len(), 24);
    }

    #[test]
    fn wildcard_times_in_an_overlap_fire_both_times() {
        assert_eq!(
            day("*/30 2 * * *", "Europe/Berlin", "2027-10-31"),
            ["02:00 +02:00", "02:30 +02:00", "02:00 +01:00", "02:30 +01:00"]
        );
        assert_eq!(day("30 * * * *", "Europe/Berlin", "2027-10-31").len(), 25);
    }

    #[test]
    fn a_gap_at_midnight_and_a_whole_skipped_day_fire_at_their_end() {
        assert_eq!(day("@daily", "America/Sao_Paulo", "2018-11-04"), ["01:00 -02:00"]);
        assert_eq!(
            next("0 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00Z").as_deref(),
            Some("2011-12-31 00:00 +14:00")
        );
        assert_eq!(
            next("* 9 30 12 *", "Pacific/Apia", "2011-12-01T00:00Z").as_deref(),
            Some("2012-12-30 09:00 +14:00")
        );
    }

    #[test]
    fn a_rare_wildcard_is_found_in_the_second_pass_too() {
        let second_pass = next("* 2 31 10 *", "Europe/Berlin", "2027-10-31T00:59:30Z");
        assert_eq!(second_pass.as_deref(), Some("2027-10-31 02:00 +01:00"));
    }

    #[test]
    fn the_latest_of_a_rare_fixed_time_is_found_from_within_the_second_pass() {
        let schedule = Schedule::parse(&["45 2 31 10 *"], "Europe/Berlin").expect("well-formed");
        let instant = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let latest = schedule.latest(instant("2027-01-01T00:00Z"), instant("2027-10-31T01:15Z"));
        assert_eq!(latest, Some(instant("2027-10-31T00:45Z")));
    }

    #[test]
    fn what_never_fires_has_no_instants() {
        let schedule = Schedule::parse(&["0 0 30 2 *"], "Europe/Berlin").expect("well-formed");
        assert_eq!(schedule.next_after(Timestamp::MIN), None);
        assert_eq!(schedule.latest(Timestamp::MIN, Timestamp::MAX), None);
        assert_eq!(schedule.count(Timestamp::MIN, Timestamp::MAX), 0);
    }

    #[test]
    fn a_leap_day_on_a_weekday_is_found_across_a_century() {
        assert_eq!(
            next("0 0 29 2 +MON", "UTC", "2072-03-01T00:00Z").as_deref(),
            Some("2112-02-29 00:00 +00:00")
        );
    }

    #[test]
    fn the_ends_of_the_calendar_are_ends() {
        for text in ["* * * * *", "30 2 * * *", "@every 7s", "@at 2027-01-01T00:00"] {
            let schedule = Schedule::parse(&[text], "Europe/Berlin").expect("well-formed");
            assert_eq!(schedule.next_after(Timestamp::MAX), None, "{text}");
            assert!(schedule.next_after(Timestamp::MIN).is_some(), "{text}");
            assert_eq!(schedule.latest(Timestamp::MIN, Timestamp::MIN), None, "{text}");
            assert!(schedule.latest(Timestamp::MIN, Timestamp::MAX).is_some(), "{text}");
        }
    }

    #[test]
    fn long_spans_are_counted_without_walking() {
        let instant = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let (after, until) = (instant("2020-01-01T00:00Z"), instant("2030-01-01T00:00Z"));
        let seconds = until.as_second().abs_diff(after.as_second());
        let count = |texts: &[&str]| {
            Schedule::parse(texts, "Europe/Berlin")
                .expect("well-formed")
                .count(after, until)
        };
        assert_eq!(count(&["* * * * * *"]), seconds);
        assert_eq!(count(&["* * * * * *", "@every 7s"]), seconds);
        assert_eq!(
            count(&["@every 2s", "@every 3s"]),
            seconds / 2 + seconds / 3 - seconds / 6
        );
        let multiples = |interval| until.as_second() / interval - after.as_second() / interval;
        let both = multiples(60) + multiples(86_399) - multiples(60 * 86_399);
        assert_eq!(count(&["* * * * *", "@every 86399s"]), both.unsigned_abs());
    }
}
