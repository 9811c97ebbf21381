//! The local times that a cron expression matches, as bit masks, without any time zone.
//!
//! Owns the search forwards and backwards through the calendar and the counting. croner has compiled the expression
//! (see [`super::expression`]) and answered once, for each of the 28 shapes that a month can have, which days match; so a
//! look-up costs a few machine instructions, and an expression takes less than 200 bytes.
//!
//! Local times are whole seconds since 1970-01-01T00:00 on the wall.

use croner::Cron;
use croner::time::{Weekday, days_in_month};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;

pub(super) const SECONDS_PER_DAY: i64 = 86_400;

const LAST_SECOND_OF_DAY: u32 = 86_399;

/// A year each for the two lengths of February: any will do, since only the length counts.
const COMMON_YEAR: i32 = 2023;
const LEAP_YEAR: i32 = 2024;

/// The shortest month; the table of days begins with it.
const SHORTEST_MONTH: u32 = 28;

/// A set of local times: every matching second of every matching minute of every matching hour of every matching day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LocalTimes {
    seconds: u64,
    minutes: u64,
    hours: u32,
    /// Bit 1 is January.
    months: u16,
    /// The matching days of a month by its length (28 to 31) and the weekday of its first day (0 is Sunday); bit 0 is the
    /// first. Day of month, day of week, `L`, `W` and `#` depend on nothing else.
    days: [[u32; 7]; 4],
    /// Whether any day matches at all; 30 February does not.
    ever: bool,
}

impl LocalTimes {
    /// Takes the fields of a parsed expression. The year field is not looked at.
    pub(super) fn of(cron: &Cron) -> LocalTimes {
        let pattern = &cron.pattern;
        let months = u16::try_from(mask(&pattern.months.values())).expect("croner bounds months by 12");
        let days = days_of(cron);
        LocalTimes {
            seconds: mask(&pattern.seconds.values()),
            minutes: mask(&pattern.minutes.values()),
            hours: u32::try_from(mask(&pattern.hours.values())).expect("croner bounds hours by 23"),
            months,
            days,
            ever: any_day(months, &days),
        }
    }

    /// Whether any local time matches at all.
    pub(super) fn ever(&self) -> bool {
        self.ever
    }

    /// Whether `local` matches.
    pub(super) fn contains(&self, local: i64) -> bool {
        self.next(local) == Some(local)
    }

    /// The first match at or after `local`; `None` if there is none before the end of the calendar. The search is short:
    /// what ever matches does so within 40 years (29 February on one weekday, across a century without a leap day).
    pub(super) fn next(&self, local: i64) -> Option<i64> {
        let day = local.div_euclid(SECONDS_PER_DAY);
        let time = second_of_day(local);
        if self.day_matches(day)
            && let Some(time) = self.next_time(time)
        {
            return Some(day * SECONDS_PER_DAY + i64::from(time));
        }
        let first_time = self.next_time(0)?;
        Some(self.next_day(day + 1)? * SECONDS_PER_DAY + i64::from(first_time))
    }

    /// The last match at or before `local`; `None` before the start of the calendar.
    pub(super) fn previous(&self, local: i64) -> Option<i64> {
        let day = local.div_euclid(SECONDS_PER_DAY);
        let time = second_of_day(local);
        if self.day_matches(day)
            && let Some(time) = self.previous_time(time)
        {
            return Some(day * SECONDS_PER_DAY + i64::from(time));
        }
        let last_time = self.previous_time(LAST_SECOND_OF_DAY)?;
        Some(self.previous_day(day - 1)? * SECONDS_PER_DAY + i64::from(last_time))
    }

    /// How many matches `from..until` holds: whole days by multiplication, month by month.
    pub(super) fn count(&self, from: i64, until: i64) -> u64 {
        if from >= until {
            return 0;
        }
        let (first_day, last_day) = (from.div_euclid(SECONDS_PER_DAY), until.div_euclid(SECONDS_PER_DAY));
        let before_from = self.count_on_day(first_day, second_of_day(from));
        let before_until = self.count_on_day(last_day, second_of_day(until));
        self.count_days(first_day, last_day) * self.times_per_day() + before_until - before_from
    }

    /// Whether the local day (counted from 1970-01-01) matches.
    pub(super) fn day_matches(&self, day: i64) -> bool {
        Month::of_day(day).is_some_and(|month| self.days_of(&month) & month.bit_of(day) != 0)
    }

    /// The matching seconds of one minute of a day that matches.
    pub(super) fn seconds_of_minute(&self, minute_of_day: u32) -> u64 {
        let (hour, minute) = (minute_of_day / 60, minute_of_day % 60);
        if self.hours >> hour & 1 == 1 && self.minutes >> minute & 1 == 1 {
            self.seconds
        } else {
            0
        }
    }

    fn days_of(&self, month: &Month) -> u32 {
        if self.months >> month.number & 1 == 1 {
            self.days[table_row(month.length)][month.first_weekday as usize]
        } else {
            0
        }
    }

    fn next_day(&self, day: i64) -> Option<i64> {
        if !self.ever {
            return None;
        }
        let mut month = Month::of_day(day)?;
        let mut days = self.days_of(&month) & !(month.bit_of(day) - 1);
        while days == 0 {
            month = month.next()?;
            days = self.days_of(&month);
        }
        Some(month.first_day + i64::from(days.trailing_zeros()))
    }

    fn previous_day(&self, day: i64) -> Option<i64> {
        if !self.ever {
            return None;
        }
        let mut month = Month::of_day(day)?;
        let mut days = self.days_of(&month) & (month.bit_of(day) | (month.bit_of(day) - 1));
        while days == 0 {
            month = month.previous()?;
            days = self.days_of(&month);
        }
        Some(month.first_day + i64::from(days.ilog2()))
    }

    fn count_days(&self, from: i64, until: i64) -> u64 {
        let mut total = 0;
        let mut day = from;
        while day < until {
            let Some(month) = Month::of_day(day) else { break };
            let next_month = month.first_day + i64::from(month.length);
            let mut days = self.days_of(&month) & !(month.bit_of(day) - 1);
            if until < next_month {
                days &= month.bit_of(until) - 1;
            }
            total += u64::from(days.count_ones());
            day = next_month;
        }
        total
    }

    fn count_on_day(&self, day: i64, before: u32) -> u64 {
        if before > 0 && self.day_matches(day) {
            self.count_times(before)
        } else {
            0
        }
    }

    fn times_per_day(&self) -> u64 {
        u64::from(self.hours.count_ones()) * self.times_per_hour()
    }

    fn times_per_hour(&self) -> u64 {
        u64::from(self.minutes.count_ones()) * u64::from(self.seconds.count_ones())
    }

    /// How many times of a matching day lie before the given second of the day.
    fn count_times(&self, before: u32) -> u64 {
        let (hour, minute, second) = split_time(before);
        let mut total = u64::from(below(u64::from(self.hours), hour).count_ones()) * self.times_per_hour();
        if self.hours >> hour & 1 == 1 {
            total += u64::from(below(self.minutes, minute).count_ones()) * u64::from(self.seconds.count_ones());
            if self.minutes >> minute & 1 == 1 {
                total += u64::from(below(self.seconds, second).count_ones());
            }
        }
        total
    }

    fn next_time(&self, time: u32) -> Option<u32> {
        let (hour, minute, second) = split_time(time);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = lowest(from(self.seconds, second))
            {
                return Some(join_time(hour, minute, second));
            }
            if let Some(minute) = lowest(from(self.minutes, minute + 1)) {
                return Some(join_time(hour, minute, lowest(self.seconds)?));
            }
        }
        let hour = lowest(from(u64::from(self.hours), hour + 1))?;
        Some(join_time(hour, lowest(self.minutes)?, lowest(self.seconds)?))
    }

    fn previous_time(&self, time: u32) -> Option<u32> {
        let (hour, minute, second) = split_time(time);
        if self.hours >> hour & 1 == 1 {
            if self.minutes >> minute & 1 == 1
                && let Some(second) = highest(below(self.seconds, second + 1))
            {
                return Some(join_time(hour, minute, second));
            }
            if let Some(minute) = highest(below(self.minutes, minute)) {
                return Some(join_time(hour, minute, highest(self.seconds)?));
            }
        }
        let hour = highest(below(u64::from(self.hours), hour))?;
        Some(join_time(hour, highest(self.minutes)?, highest(self.seconds)?))
    }
}

/// A month, placed among the days since 1970-01-01.
struct Month {
    /// Its first day.
    first_day: i64,
    year: i32,
    /// 1 to 12.
    number: u32,
    /// In days.
    length: u32,
    /// Of its first day; 0 is Sunday.
    first_weekday: u32,
}

impl Month {
    fn of_day(day: i64) -> Option<Month> {
        let date = date_of(day)?;
        let (year, month) = (i32::from(date.year()), u32::from(date.month().unsigned_abs()));
        Some(Month::starting(day - i64::from(date.day()) + 1, year, month))
    }

    fn starting(first_day: i64, year: i32, number: u32) -> Month {
        Month {
            first_day,
            year,
            number,
            length: days_in_month(year, number),
            first_weekday: weekday_of(first_day),
        }
    }

    fn next(&self) -> Option<Month> {
        let first_day = self.first_day + i64::from(self.length);
        let (year, month) = if self.number == 12 {
            (self.year + 1, 1)
        } else {
            (self.year, self.number + 1)
        };
        (first_day * SECONDS_PER_DAY < Timestamp::MAX.as_second()).then(|| Month::starting(first_day, year, month))
    }

    fn previous(&self) -> Option<Month> {
        let (year, month) = if self.number == 1 {
            (self.year - 1, 12)
        } else {
            (self.year, self.number - 1)
        };
        let first_day = self.first_day - i64::from(days_in_month(year, month));
        (first_day * SECONDS_PER_DAY > Timestamp::MIN.as_second()).then(|| Month::starting(first_day, year, month))
    }

    /// The bit of a day of this month.
    fn bit_of(&self, day: i64) -> u32 {
        1 << (day - self.first_day)
    }
}

/// The date of a local day counted from 1970-01-01; `None` outside the calendar of jiff.
pub(super) fn date_of(day: i64) -> Option<Date> {
    let midnight = Timestamp::from_second(day.checked_mul(SECONDS_PER_DAY)?).ok()?;
    Some(Offset::UTC.to_datetime(midnight).date())
}

/// The weekday of a day counted from 1970-01-01, a Thursday; 0 is Sunday.
fn weekday_of(day: i64) -> u32 {
    u32::try_from((day + 4).rem_euclid(7)).expect("a remainder by 7 is small")
}

fn second_of_day(local: i64) -> u32 {
    u32::try_from(local.rem_euclid(SECONDS_PER_DAY)).expect("a remainder by 86400 is small")
}

fn split_time(time: u32) -> (u32, u32, u32) {
    (time / 3_600, time / 60 % 60, time % 60)
}

fn join_time(hour: u32, minute: u32, second: u32) -> u32 {
    hour * 3_600 + minute * 60 + second
}

fn mask(values: &[u16]) -> u64 {
    values.iter().fold(0, |mask, value| mask | 1 << value)
}

/// The bits of `mask` at `start` and above; `start` is at most 63.
fn from(mask: u64, start: u32) -> u64 {
    mask & !((1 << start) - 1)
}

/// The bits of `mask` below `end`; `end` is at most 63.
fn below(mask: u64, end: u32) -> u64 {
    mask & ((1 << end) - 1)
}

fn lowest(mask: u64) -> Option<u32> {
    (mask != 0).then(|| mask.trailing_zeros())
}

fn highest(mask: u64) -> Option<u32> {
    mask.checked_ilog2()
}

fn table_row(length: u32) -> usize {
    (length - SHORTEST_MONTH) as usize
}

/// Asks croner about every day of every shape of a month.
fn days_of(cron: &Cron) -> [[u32; 7]; 4] {
    let samples = [(COMMON_YEAR, 2), (LEAP_YEAR, 2), (COMMON_YEAR, 4), (COMMON_YEAR, 1)];
    samples.map(|(year, month)| {
        [0, 1, 2, 3, 4, 5, 6].map(|first_weekday| {
            (1..=days_in_month(year, month))
                .filter(|day| day_matches(cron, year, month, *day, first_weekday))
                .fold(0, |days, day| days | 1 << (day - 1))
        })
    })
}

/// Whether any month has a matching day. Exact: each of the 28 shapes of a month occurs in the 400 years after which the
/// calendar repeats, those of a leap February too.
fn any_day(months: u16, days: &[[u32; 7]; 4]) -> bool {
    (1..=12).filter(|month| months >> month & 1 == 1).any(|month| {
        let lengths = days_in_month(COMMON_YEAR, month)..=days_in_month(LEAP_YEAR, month);
        lengths
            .map(table_row)
            .any(|row| days[row].iter().any(|days| *days != 0))
    })
}

fn day_matches(cron: &Cron, year: i32, month: u32, day: u32, first_weekday: u32) -> bool {
    let weekday = Weekday::from_days_from_sunday((first_weekday + day - 1) % 7);
    cron.pattern
        .day_match(year, month, day, weekday)
        .expect("the day is one of the month")
}
