//! The time that somebody asks about: read from text, and brought to instants by the zone of the plan that was in force.

use jiff::civil::{self, Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use thiserror::Error;

use super::plans::Plans;
use crate::schedule::{LocalTime, local_time, timezone};

/// Days that are looked back for a time of day: a zone may skip a whole one.
const DAYS_BACK: i32 = 3;

/// A time as it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// The latest instant that was due.
    Latest,
    /// An instant.
    Instant(Timestamp),
    /// A local time in the task's zone.
    Local(DateTime),
    /// The latest time at which the clock showed this.
    OfDay(civil::Time),
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` is not a time: write `02:30` (the latest one), `2026-11-01T02:30` (local in the task's zone), \
     or with an offset, `2026-11-01T02:30:00Z`; seconds may follow"
)]
pub struct TimeError {
    /// What was written.
    pub text: String,
}

impl Time {
    /// Reads `02:30`, `2026-11-01T02:30` or `2026-11-01T02:30:00Z`, each with seconds or without; a space may stand for the
    /// `T`. Nothing: the latest instant that was due.
    ///
    /// # Errors
    /// Says which forms there are.
    pub fn parse(text: &str) -> Result<Time, TimeError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Time::Latest);
        }
        read(trimmed).ok_or_else(|| TimeError { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<Time> {
    // jiff reads more than these forms, such as dates alone, week dates and zones in brackets.
    let plain = text
        .chars()
        .all(|each| each.is_ascii_digit() || ":-+.TtZz ".contains(each));
    if !plain {
        return None;
    }
    if text.as_bytes().get(2) == Some(&b':') || text.as_bytes().get(1) == Some(&b':') {
        let padded = if text.as_bytes()[1] == b':' {
            format!("0{text}")
        } else {
            text.to_owned()
        };
        return matches!(padded.len(), 5 | 8).then(|| padded.parse().ok().map(Time::OfDay))?;
    }
    let clock = text.get(11..)?;
    if clock.len() < 5 || text.as_bytes()[4] != b'-' {
        return None;
    }
    if clock.contains(['Z', 'z', '+', '-']) {
        return text.parse().ok().map(Time::Instant);
    }
    text.parse()
        .ok()
        .filter(|local: &DateTime| local.subsec_nanosecond() == 0)
        .map(Time::Local)
}

/// What the time asked for turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The local time, where one was asked for, and what it is.
    pub local: Option<(DateTime, LocalTime)>,
    /// The instants, oldest first.
    pub instants: Vec<Timestamp>,
    /// The same time of a day that is still to come, if the task is due then.
    pub to_come: Option<Timestamp>,
}

/// Brings a time to instants. `None`: it is beyond the calendar.
pub fn resolve(time: Time, plans: &Plans, now: Timestamp) -> Option<Resolved> {
    match time {
        Time::Instant(at) => Some(at_instants(vec![at])),
        Time::Latest => Some(at_instants(latest(plans, now)?)),
        Time::Local(local) => resolve_local(local, plans, now),
        Time::OfDay(time) => resolve_time_of_day(time, plans, now),
    }
}

/// The latest instant that was due, else the next. Where the plan in force asks for none, that is worth saying too: now.
fn latest(plans: &Plans, now: Timestamp) -> Option<Vec<Timestamp>> {
    let just_after = now.checked_add(1.nanosecond()).ok()?;
    let latest = plans.latest_before(just_after).or_else(|| plans.next_after(now));
    let asks_for_none = plans.last().is_none_or(|plan| !plan.asks());
    Some(latest.into_iter().chain(asks_for_none.then_some(now)).collect())
}

fn at_instants(instants: Vec<Timestamp>) -> Resolved {
    Resolved {
        local: None,
        instants,
        to_come: None,
    }
}

/// In the zone of the plan that was in force then; which one that was depends on the zone, hence the second look.
fn resolve_local(local: DateTime, plans: &Plans, now: Timestamp) -> Option<Resolved> {
    let found = local_time(&zone_at(plans, now), local)?;
    let zone = zone_at(plans, *instants_of(found).first()?);
    let found = local_time(&zone, local)?;
    Some(Resolved {
        local: Some((local, found)),
        ..at_instants(instants_of(found))
    })
}

fn resolve_time_of_day(time: civil::Time, plans: &Plans, now: Timestamp) -> Option<Resolved> {
    let today = now.to_zoned(zone_at(plans, now)).date();
    let days = std::iter::successors(Some(today), |day: &Date| day.yesterday().ok());
    let passed = days.take(1 + DAYS_BACK as usize).find_map(|day| {
        let resolved = resolve_local(day.to_datetime(time), plans, now)?;
        (*resolved.instants.first()? <= now).then_some((day, resolved))
    });
    let (day, resolved) = passed?;
    let to_come = day
        .tomorrow()
        .ok()
        .and_then(|day| resolve_local(day.to_datetime(time), plans, now))
        .and_then(|later| later.instants.first().copied())
        .filter(|at| day < today && *at > now && plans.at(*at).is_some_and(|plan| plan.asks_for(*at)));
    Some(Resolved { to_come, ..resolved })
}

/// The instants that a local time stands for: for one in a gap, the first after it.
fn instants_of(found: LocalTime) -> Vec<Timestamp> {
    match found {
        LocalTime::Once(at) => vec![at],
        LocalTime::Twice { first, second, .. } => vec![first, second],
        LocalTime::Never { after, .. } => vec![after],
    }
}

fn zone_at(plans: &Plans, at: Timestamp) -> TimeZone {
    let plan = plans.at(at).or_else(|| plans.beside(at).1).or_else(|| plans.last());
    plan.and_then(|plan| timezone(&plan.timezone).ok())
        .unwrap_or(TimeZone::UTC)
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("an instant")
    }

    /// A task of 02:30 in Berlin, known since the beginning of the year.
    fn nightly(now: &str) -> (Plans, Timestamp) {
        let ledger = Ledger::new("30 2 * * *", "Europe/Berlin", at("2026-01-01T00:00:00Z"));
        (Plans::of(&ledger.story), at(now))
    }

    fn instants(text: &str, now: &str) -> Vec<Timestamp> {
        let (plans, now) = nightly(now);
        let time = Time::parse(text).expect("a time");
        let resolved = resolve(time, &plans, now).expect("within the calendar");
        resolved.instants.into_iter().chain(resolved.to_come).collect()
    }

    #[test]
    fn a_time_is_read_in_each_form_that_is_promised() {
        let local = |text: &str| Ok(Time::Local(text.parse().expect("a local time")));
        assert_eq!(Time::parse(" "), Ok(Time::Latest));
        assert_eq!(Time::parse("02:30"), Ok(Time::OfDay(civil::time(2, 30, 0, 0))));
        assert_eq!(Time::parse("2:30"), Ok(Time::OfDay(civil::time(2, 30, 0, 0))));
        assert_eq!(Time::parse("02:30:05"), Ok(Time::OfDay(civil::time(2, 30, 5, 0))));
        assert_eq!(Time::parse("2026-11-01T02:30"), local("2026-11-01T02:30"));
        assert_eq!(Time::parse("2026-11-01 02:30:05"), local("2026-11-01T02:30:05"));
        let instant = Ok(Time::Instant(at("2026-11-01T02:30:00Z")));
        for text in [
            "2026-11-01T02:30:00Z",
            "2026-11-01 02:30:00Z",
            "2026-11-01T02:30Z",
            "2026-11-01T03:30+01:00",
            "2026-10-31T22:30:00-04:00",
        ] {
            assert_eq!(Time::parse(text), instant, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_there_are() {
        for text in [
            "tomorrow",
            "24:00",
            "2:3",
            "02:30:",
            "02:30Z",
            "2026-11-01",
            "2026-13-01T02:30",
            "2026-11-01T",
            "2026-W44-1",
            "2026-11-01T02:30[Europe/Berlin]",
            "1793500200",
            "20261101T0230",
            "é2:30",
            "2026-11-01é02:30",
        ] {
            let error = Time::parse(text).expect_err(text).to_string();
            assert!(
                error.starts_with(&format!("`{text}` is not a time: write `02:30`")),
                "{error}"
            );
        }
    }

    #[test]
    fn a_time_of_day_is_the_latest_one_and_the_next_one_if_it_is_due() {
        assert_eq!(
            instants("02:30", "2026-11-25T01:30:00Z"),
            [at("2026-11-25T01:30:00Z")],
            "now counts as passed"
        );
        assert_eq!(
            instants("02:30", "2026-11-25T01:00:00Z"),
            [at("2026-11-24T01:30:00Z"), at("2026-11-25T01:30:00Z")]
        );
        assert_eq!(
            instants("02:31", "2026-11-25T01:00:00Z"),
            [at("2026-11-24T01:31:00Z")],
            "nothing is due then"
        );
        // The gap's own day, once before and once after it.
        assert_eq!(
            instants("02:30", "2026-03-29T00:59:00Z"),
            [at("2026-03-28T01:30:00Z"), at("2026-03-29T01:00:00Z")]
        );
        assert_eq!(instants("02:30", "2026-03-29T01:05:00Z"), [at("2026-03-29T01:00:00Z")]);
    }

    #[test]
    fn nothing_is_to_come_of_a_task_whose_file_is_gone() {
        let mut ledger = Ledger::new("30 2 * * *", "Europe/Berlin", at("2026-01-01T00:00:00Z"));
        ledger.idle(
            at("2026-11-24T12:00:00Z"),
            "retired",
            Some("retired"),
            serde_json::json!({}),
        );
        let time = Time::parse("02:30").expect("a time");
        let resolved =
            resolve(time, &Plans::of(&ledger.story), at("2026-11-25T01:00:00Z")).expect("within the calendar");
        assert_eq!(resolved.instants, [at("2026-11-24T01:30:00Z")]);
        assert_eq!(resolved.to_come, None);
        let now = at("2026-11-25T01:00:00Z");
        let latest = resolve(Time::Latest, &Plans::of(&ledger.story), now).expect("within the calendar");
        assert_eq!(
            latest.instants,
            [at("2026-11-24T01:30:00Z"), now],
            "the last one, and that it is gone now"
        );
    }

    #[test]
    fn without_a_time_the_latest_instant_counts_or_the_next_one() {
        assert_eq!(instants("", "2026-11-25T01:30:00Z"), [at("2026-11-25T01:30:00Z")]);
        assert_eq!(instants("", "2026-11-25T01:29:59Z"), [at("2026-11-24T01:30:00Z")]);
        assert_eq!(instants("", "2026-01-01T00:10:00Z"), [at("2026-01-01T01:30:00Z")]);
    }

    #[test]
    fn a_local_time_is_read_in_the_zone_of_the_plan_that_was_in_force() {
        let mut ledger = Ledger::new("30 2 * * *", "Europe/Berlin", at("2026-01-01T00:00:00Z"));
        ledger.edit("30 2 * * *", "America/New_York", at("2026-06-01T12:00:00Z"));
        let plans = Plans::of(&ledger.story);
        let instants = |text: &str| {
            let time = Time::parse(text).expect("a time");
            resolve(time, &plans, at("2026-07-01T00:00:00Z"))
                .expect("within the calendar")
                .instants
        };
        assert_eq!(instants("2026-05-20T02:30"), [at("2026-05-20T00:30:00Z")]);
        assert_eq!(instants("2026-06-20T02:30"), [at("2026-06-20T06:30:00Z")]);
        assert_eq!(
            instants("2026-03-08T02:30"),
            [at("2026-03-08T01:30:00Z")],
            "no gap in Berlin"
        );
    }
}
