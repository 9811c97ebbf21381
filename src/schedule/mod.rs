//! Schedule texts and a time zone -> the instants at which a task is due.
//!
//! Stands between the header of a script (which brings the texts) and the scheduler (which asks for the next instants).
//! Pure: no clock, no I/O but the zone database, no SQL. Knows nothing about runs or policies.
//!
//! The way through: a text is parsed to an `expression` (its fields checked by `field`, compiled by croner, kept as the
//! `local` times it matches), which `instants` brings to instants stretch by stretch of the `zone`. Several texts
//! are one union (`union` counts it): instants that coincide are one.
//!
//! An instant is a whole second. A schedule that names several local times in a gap, or one that names a local time that
//! occurs twice, follows the rule in `instants`.

mod duration;

mod field;

mod expression;

mod local;

mod zone;

mod instants;

mod union;

mod wall_clock;

mod describe;

mod notes;

#[cfg(test)]
mod oracle;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use self::duration::{DurationError, format_duration, parse_duration};
use self::expression::Expression;
pub use self::expression::ScheduleError;
pub use self::field::{CronField, FieldProblem};
pub use self::wall_clock::{LocalTime, Named, local_time, timezone};

/// Expressions of one schedule at most.
const MOST_TEXTS: usize = 100;

/// When a task is due: the union of its schedule texts, in one time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// One per text, in order.
    expressions: Box<[Expression]>,
    texts: Box<[String]>,
    zone: TimeZone,
    zone_name: Box<str>,
}

impl Schedule {
    /// Parses one or several texts: five- or six-field cron (six: seconds first), `@yearly`, `@annually`, `@monthly`,
    /// `@weekly`, `@daily`, `@midnight`, `@hourly`, `@every 10m`, `@at 2027-01-01T09:00`. `timezone` is an IANA name.
    ///
    /// # Errors
    /// Names the text, the field and what to write instead; or the time zone that is unknown.
    pub fn parse(texts: &[impl AsRef<str>], timezone: &str) -> Result<Schedule, ScheduleError> {
        if texts.is_empty() {
            return Err(ScheduleError::NoTexts);
        }
        if texts.len() > MOST_TEXTS {
            return Err(ScheduleError::TooManyTexts {
                found: texts.len(),
                most: MOST_TEXTS,
            });
        }
        let (zone, zone_name) = zone::find(timezone)?;
        let expressions: Result<Box<[Expression]>, ScheduleError> = texts
            .iter()
            .map(|text| Expression::parse(text.as_ref(), &zone))
            .collect();
        Ok(Schedule {
            expressions: expressions?,
            texts: texts.iter().map(|text| text.as_ref().trim().to_owned()).collect(),
            zone,
            zone_name: zone_name.into(),
        })
    }

    /// The first instant strictly after `after`; `None` where there is none up to the year 9999.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let from = second_after(after);
        let next = self
            .expressions
            .iter()
            .filter_map(|expression| expression.next(&self.zone, from))
            .min()?;
        Timestamp::from_second(next).ok()
    }

    /// The instants in `(after, until]`, oldest first.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next_after(after), |instant| self.next_after(*instant))
            .take_while(move |instant| *instant <= until)
    }

    /// The newest instant in `(after, until]`. Looks backwards from `until`, so its cost does not grow with the span.
    #[must_use]
    pub fn latest(&self, after: Timestamp, until: Timestamp) -> Option<Timestamp> {
        let (from, until) = (second_after(after), second_after(until) - 1);
        let latest = self
            .expressions
            .iter()
            .filter_map(|expression| expression.latest(&self.zone, from, until))
            .max()?;
        Timestamp::from_second(latest).ok()
    }

    /// The exact number of instants in `(after, until]`. One text costs a few operations for every month and transition
    /// in the span; a union of several at most a pass over the minutes of every day (see `union`).
    #[must_use]
    pub fn count(&self, after: Timestamp, until: Timestamp) -> u64 {
        let (from, until) = (second_after(after), second_after(until));
        match &*self.expressions {
            [expression] => expression.count(&self.zone, from, until),
            expressions => union::count(expressions, &self.zone, from, until),
        }
    }

    /// The time zone in which local times are read.
    #[must_use]
    pub fn timezone(&self) -> &TimeZone {
        &self.zone
    }

    /// The IANA name of the time zone, spelt as the zone database spells it.
    #[must_use]
    pub fn timezone_name(&self) -> &str {
        &self.zone_name
    }

    /// The texts, as written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    /// What people get wrong about these texts, one sentence each, looking at the 13 months after `from`: what happens
    /// where the clocks change, day of month or day of week, steps that do not divide, months that are skipped, what
    /// never fires.
    #[must_use]
    pub fn notes(&self, from: Timestamp) -> Vec<String> {
        notes::notes(self, from)
    }

    /// The schedule in short words, such as `at 02:30 every day (Europe/Berlin)`.
    #[must_use]
    pub fn describe(&self) -> String {
        describe::describe(self)
    }
}

/// The first whole second strictly after an instant.
fn second_after(instant: Timestamp) -> i64 {
    let second = instant.as_second();
    if instant.subsec_nanosecond() < 0 {
        second
    } else {
        second + 1
    }
}
