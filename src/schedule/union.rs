//! How many instants a union of expressions has, those that coincide counted once.
//!
//! Counting cannot be multiplication here, since expressions overlap. Nor may it walk from instant to instant: a union can
//! fire every second for years. So it goes minute by minute over a day, joining the matching seconds as bit masks, and
//! remembers the result: days on which the same expressions match, at the same phase of every `@every`, have equally many.
//! At worst that is one pass over 1,440 minutes for each day of the span.
//!
//! Two kinds of instants are no matches of a local time and are looked at one by one: those that follow a gap, and `@at`.

use std::collections::{BTreeSet, HashMap};

use jiff::tz::TimeZone;

use super::expression::Expression;
use super::instants::fires_for_gap;
use super::local::SECONDS_PER_DAY;
use super::zone::Stretch;

const MINUTES_PER_DAY: u32 = 1_440;

/// The exact number of instants in `from..until`.
pub(super) fn count(expressions: &[Expression], zone: &TimeZone, from: i64, until: i64) -> u64 {
    let mut counter = Counter {
        expressions,
        days: HashMap::new(),
    };
    let mut single = at_instants(expressions, from, until);
    let mut total = 0;
    let mut from = from;
    while from < until {
        let Some(stretch) = Stretch::at(zone, from) else { break };
        let end = stretch.end.min(until);
        if from == stretch.start && expressions.iter().any(|expression| expression.fires_for_gap(&stretch)) {
            single.insert(stretch.start);
        }
        total += counter.count_stretch(&stretch, from, end);
        total += counter.count_others(&stretch, single.range(from..end));
        from = end;
    }
    total
}

fn at_instants(expressions: &[Expression], from: i64, until: i64) -> BTreeSet<i64> {
    expressions
        .iter()
        .filter_map(|expression| match expression {
            Expression::At(instant) if (from..until).contains(instant) => Some(*instant),
            _ => None,
        })
        .collect()
}

impl Expression {
    fn fires_for_gap(&self, stretch: &Stretch) -> bool {
        match self {
            Expression::Cron { times, wildcard } => fires_for_gap(times, *wildcard, stretch),
            Expression::Every(_) | Expression::At(_) => false,
        }
    }
}

/// What tells the days apart: for each expression, whether it takes part on that day, and its phase.
type DayKey = Vec<Option<i64>>;

struct Counter<'a> {
    expressions: &'a [Expression],
    /// The counts of whole days seen so far.
    days: HashMap<DayKey, u64>,
}

impl Counter<'_> {
    /// The instants in `from..until`, all within `stretch`, that match a local time or an interval.
    fn count_stretch(&mut self, stretch: &Stretch, from: i64, until: i64) -> u64 {
        let first_time = (stretch.reached - stretch.offset).clamp(from, until);
        self.count_days(stretch, from, first_time, true) + self.count_days(stretch, first_time, until, false)
    }

    /// Likewise; where local times are `repeated`, fixed-time expressions stay out.
    fn count_days(&mut self, stretch: &Stretch, from: i64, until: i64, repeated: bool) -> u64 {
        let mut total = 0;
        let mut from = from;
        while from < until {
            let day = (from + stretch.offset).div_euclid(SECONDS_PER_DAY);
            let midnight = day * SECONDS_PER_DAY - stretch.offset;
            let end = until.min(midnight + SECONDS_PER_DAY);
            let key = self.key(day, midnight, repeated);
            total += if end - from == SECONDS_PER_DAY {
                self.count_whole_day(key)
            } else {
                count_minutes(self.expressions, &key, from - midnight, end - midnight)
            };
            from = end;
        }
        total
    }

    fn count_whole_day(&mut self, key: DayKey) -> u64 {
        if let Some(count) = self.days.get(&key) {
            return *count;
        }
        let count = count_minutes(self.expressions, &key, 0, SECONDS_PER_DAY);
        self.days.insert(key, count);
        count
    }

    fn key(&self, day: i64, midnight: i64, repeated: bool) -> DayKey {
        self.expressions
            .iter()
            .map(|expression| match expression {
                Expression::Cron { wildcard: false, .. } if repeated => None,
                Expression::Cron { times, .. } => times.day_matches(day).then_some(0),
                Expression::Every(interval) => Some((-midnight).rem_euclid(*interval)),
                Expression::At(_) => None,
            })
            .collect()
    }

    /// How many of these instants of `stretch` are not among those that [`Counter::count_stretch`] counts.
    fn count_others<'b>(&mut self, stretch: &Stretch, instants: impl Iterator<Item = &'b i64>) -> u64 {
        instants
            .map(|instant| 1 - self.count_stretch(stretch, *instant, *instant + 1))
            .sum()
    }
}

/// The matching seconds in `from..until` of a day, minute by minute.
fn count_minutes(expressions: &[Expression], key: &DayKey, from: i64, until: i64) -> u64 {
    (0..MINUTES_PER_DAY)
        .map(|minute| {
            let start = i64::from(minute) * 60;
            let window = low_bits((until - start).clamp(0, 60)) & !low_bits((from - start).clamp(0, 60));
            if window == 0 {
                return 0;
            }
            let seconds = expressions
                .iter()
                .zip(key)
                .filter_map(|(expression, phase)| phase.map(|phase| seconds_of_minute(expression, phase, minute)))
                .fold(0, |joined, seconds| joined | seconds);
            u64::from((seconds & window).count_ones())
        })
        .sum()
}

fn seconds_of_minute(expression: &Expression, phase: i64, minute: u32) -> u64 {
    match expression {
        Expression::Cron { times, .. } => times.seconds_of_minute(minute),
        Expression::Every(interval) => {
            let first = (phase - i64::from(minute) * 60).rem_euclid(*interval);
            let step = usize::try_from(*interval).expect("an interval is positive");
            (first..60)
                .step_by(step)
                .fold(0, |seconds, second| seconds | 1 << second)
        }
        Expression::At(_) => 0,
    }
}

fn low_bits(count: i64) -> u64 {
    (1 << count) - 1
}
