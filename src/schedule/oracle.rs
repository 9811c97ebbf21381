//! Property tests of the whole module against brute force.
//!
//! The oracle shares no code with what it judges: it reads fields with a matcher of its own, walks through every second,
//! minute or day, and asks jiff about one local time or one instant at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan};
use proptest::prelude::*;

use super::Schedule;

const HOUR: i64 = 3_600;
const DAY: i64 = 24 * HOUR;

/// Transitions by an hour and by half an hour, in both hemispheres, at midnight, over a whole day, with negative DST, and
/// none at all.
const ZONES: [&str; 16] = [
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/Sao_Paulo",
    "America/Havana",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Africa/Cairo",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "UTC",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone of the database")
}

fn instant(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("an instant of our time")
}

/// The instants from 1986 to 2042 at which the offset changes, to the minute, found by looking at every quarter of an hour.
fn transitions(name: &'static str) -> Vec<i64> {
    static FOUND: OnceLock<BTreeMap<&'static str, Vec<i64>>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        ZONES
            .iter()
            .map(|name| (*name, search_transitions(&zone(name))))
            .collect()
    });
    found[name].clone()
}

fn search_transitions(zone: &TimeZone) -> Vec<i64> {
    let (first, last, step) = (16 * 365 * DAY, 72 * 365 * DAY, 900);
    let mut found = Vec::new();
    let mut offset = zone.to_offset(instant(first));
    for second in (first..last).step_by(step) {
        let next = zone.to_offset(instant(second));
        if next != offset {
            found.push(second);
            offset = next;
        }
    }
    if found.is_empty() { vec![1_000_000_000] } else { found }
}

/// A cron expression, read by the oracle.
struct Fields {
    second: BTreeSet<i8>,
    minute: BTreeSet<i8>,
    hour: BTreeSet<i8>,
    day: String,
    month: BTreeSet<i8>,
    weekday: String,
    wildcard: bool,
    step: usize,
}

impl Fields {
    fn read(text: &str) -> Fields {
        let mut fields: Vec<&str> = text.split(' ').collect();
        let step = if fields.len() == 5 { 60 } else { 1 };
        if fields.len() == 5 {
            fields.insert(0, "0");
        }
        Fields {
            second: values(fields[0], 0, 59),
            minute: values(fields[1], 0, 59),
            hour: values(fields[2], 0, 23),
            day: fields[3].to_owned(),
            month: values(fields[4], 1, 12),
            weekday: fields[5].to_owned(),
            wildcard: fields[1].starts_with('*') || fields[2].starts_with('*'),
            step,
        }
    }

    fn matches(&self, local: DateTime) -> bool {
        self.second.contains(&local.second()) && self.matches_minute(local)
    }

    fn matches_minute(&self, local: DateTime) -> bool {
        self.minute.contains(&local.minute()) && self.hour.contains(&local.hour()) && self.matches_date(local.date())
    }

    fn matches_date(&self, date: Date) -> bool {
        if !self.month.contains(&date.month()) {
            return false;
        }
        let both = self.weekday.starts_with('+');
        let weekday = self.weekday.trim_start_matches('+');
        match (self.day.as_str(), weekday) {
            ("*", "*") => true,
            ("*", _) => matches_weekday(weekday, date),
            (_, "*") => matches_day(&self.day, date),
            _ if both => matches_day(&self.day, date) && matches_weekday(weekday, date),
            _ => matches_day(&self.day, date) || matches_weekday(weekday, date),
        }
    }
}

fn values(field: &str, lowest: i8, highest: i8) -> BTreeSet<i8> {
    field
        .split(',')
        .flat_map(|item| item_values(item, lowest, highest))
        .collect()
}

fn item_values(item: &str, lowest: i8, highest: i8) -> Vec<i8> {
    let (range, step) = item.split_once('/').unwrap_or((item, "1"));
    let (from, to) = match range.split_once('-') {
        Some((from, to)) => (from.parse().expect("a number"), to.parse().expect("a number")),
        None if range == "*" => (lowest, highest),
        None => (range.parse().expect("a number"), range.parse().expect("a number")),
    };
    (from..=to).step_by(step.parse().expect("a number")).collect()
}

fn matches_day(field: &str, date: Date) -> bool {
    field.split(',').any(|item| match item {
        "L" => date == date.last_of_month(),
        "LW" => date == nearest_working_day(date.last_of_month()),
        _ => match item.strip_suffix('W') {
            Some(day) => {
                let day: i8 = day.parse().expect("a number");
                day <= date.days_in_month()
                    && date == nearest_working_day(date.with().day(day).build().expect("a day of the month"))
            }
            None => item_values(item, 1, 31).contains(&date.day()),
        },
    })
}

/// The working day nearest to a date, within its month.
fn nearest_working_day(date: Date) -> Date {
    let is_working_day = |date: &Date| date.weekday().to_monday_one_offset() <= 5;
    [0, -1, 1, -2, 2]
        .iter()
        .map(|days| date + days.days())
        .find(|near| near.month() == date.month() && is_working_day(near))
        .expect("there is a working day within two days")
}

fn matches_weekday(field: &str, date: Date) -> bool {
    let number = date.weekday().to_sunday_zero_offset();
    let is = |days: &str| {
        let days = item_values(days, 0, 7);
        days.contains(&number) || (number == 0 && days.contains(&7))
    };
    field.split(',').any(|item| match item.split_once('#') {
        Some((days, "L")) => is(days) && (date + 7.days()).month() != date.month(),
        Some((days, nth)) => is(days) && (date.day() + 6) / 7 == nth.parse::<i8>().expect("a number"),
        None => is(item),
    })
}

/// All instants in `(after, until]`, by brute force.
fn instants(texts: &[String], zone: &TimeZone, after: i64, until: i64) -> Vec<i64> {
    let union: BTreeSet<i64> = texts
        .iter()
        .flat_map(|text| match text.split_once(' ') {
            Some(("@every", interval)) => every(interval, after, until),
            Some(("@at", local)) => vec![reach(zone, local.parse().expect("a local time"))],
            _ => cron(&Fields::read(text), zone, after, until),
        })
        .filter(|second| (after + 1..=until).contains(second))
        .collect();
    union.into_iter().collect()
}

fn every(interval: &str, after: i64, until: i64) -> Vec<i64> {
    let seconds: i64 = interval.trim_end_matches('s').parse().expect("an interval in seconds");
    (after..=until).filter(|second| second % seconds == 0).collect()
}

fn cron(fields: &Fields, zone: &TimeZone, after: i64, until: i64) -> Vec<i64> {
    let aligned = after.div_euclid(60) * 60;
    if fields.wildcard {
        return (aligned..=until)
            .step_by(fields.step)
            .filter(|second| fields.matches(zone.to_datetime(instant(*second))))
            .collect();
    }
    // A day is the longest gap, so what fires in the span is within two days of it on the wall.
    (aligned - 2 * DAY..=until + 2 * DAY)
        .step_by(60)
        .map(|second| TimeZone::UTC.to_datetime(instant(second)))
        .filter(|minute| fields.matches_minute(*minute))
        .flat_map(|minute| {
            fields
                .second
                .iter()
                .map(move |second| minute + i64::from(*second).seconds())
        })
        .map(|local| reach(zone, local))
        .collect()
}

/// The first instant at which the clock shows `local` or has jumped over it.
fn reach(zone: &TimeZone, local: DateTime) -> i64 {
    match zone.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => second_at(offset, local),
        AmbiguousOffset::Fold { before, .. } => second_at(before, local),
        AmbiguousOffset::Gap { before, after } => {
            let (mut low, mut high) = (second_at(after, local), second_at(before, local));
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                if zone.to_offset(instant(middle)) == after {
                    high = middle;
                } else {
                    low = middle;
                }
            }
            high
        }
    }
}

fn second_at(offset: jiff::tz::Offset, local: DateTime) -> i64 {
    offset
        .to_timestamp(local)
        .expect("a local time of our time")
        .as_second()
}

fn number_field(lowest: u8, highest: u8) -> impl Strategy<Value = String> {
    let number = lowest..=highest;
    let range = (number.clone(), number.clone()).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let stepped = (lowest..=highest - 4, 1..=4u8).prop_map(move |(a, step)| format!("{a}-{highest}/{step}"));
    prop_oneof![
        3 => Just("*".to_owned()),
        3 => (2..=(highest - lowest)).prop_map(|step| format!("*/{step}")),
        6 => number.clone().prop_map(|number| number.to_string()),
        3 => prop::collection::vec(number, 2..4).prop_map(|numbers| numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(",")),
        2 => range,
        1 => stepped,
    ]
}

fn hour_field() -> impl Strategy<Value = String> {
    prop_oneof![2 => number_field(0, 23), 2 => number_field(0, 4), 1 => Just("2,3".to_owned())]
}

fn day_field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("*".to_owned()),
        3 => number_field(1, 31),
        1 => Just("L".to_owned()),
        1 => Just("LW".to_owned()),
        2 => (1..=31u8).prop_map(|day| format!("{day}W")),
        1 => (1..=28u8, 1..=31u8).prop_map(|(day, near)| format!("{day},{near}W,L")),
    ]
}

fn month_field() -> impl Strategy<Value = String> {
    prop_oneof![4 => Just("*".to_owned()), 1 => number_field(1, 12)]
}

fn weekday_field() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => Just("*".to_owned()),
        3 => (0..=7u8).prop_map(|day| day.to_string()),
        1 => Just("1-5".to_owned()),
        1 => Just("5-7".to_owned()),
        2 => (0..=7u8, 1..=5u8).prop_map(|(day, nth)| format!("{day}#{nth}")),
        1 => (0..=7u8).prop_map(|day| format!("{day}#L")),
        1 => (0..=6u8).prop_map(|day| format!("+{day}")),
    ]
}

fn minute_expression() -> impl Strategy<Value = String> {
    (
        number_field(0, 59),
        hour_field(),
        day_field(),
        month_field(),
        weekday_field(),
    )
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

/// Expressions for days in detail, at one time of day.
fn day_expression() -> impl Strategy<Value = String> {
    (0..60u8, 0..24u8, day_field(), month_field(), weekday_field())
        .prop_map(|(minute, hour, day, month, weekday)| format!("{minute} {hour} {day} {month} {weekday}"))
}

fn second_expression() -> impl Strategy<Value = String> {
    (
        number_field(0, 59),
        number_field(0, 59),
        hour_field(),
        Just("*".to_owned()),
        weekday_field(),
    )
        .prop_map(|(second, minute, hour, day, weekday)| format!("{second} {minute} {hour} {day} * {weekday}"))
}

/// A zone and one of its transitions.
fn transition() -> impl Strategy<Value = (&'static str, i64)> {
    prop::sample::select(&ZONES[..]).prop_flat_map(|name| (Just(name), prop::sample::select(transitions(name))))
}

/// An expression whose times lie close to a local time: those are what a transition can lose or double.
fn expression_near(local: DateTime) -> impl Strategy<Value = String> {
    let minute = prop::sample::select(vec![
        "0", "15", "30", "45", "0,30", "15,45", "*/15", "0-59/10", "*", "59", "1",
    ]);
    let hour = prop::sample::select(vec![-2i64, -1, 0, 0, 1, 2]).prop_map(move |away| local + away.hours());
    let hours = prop_oneof![
        4 => hour.clone().prop_map(|hour| hour.hour().to_string()),
        3 => (hour.clone(), hour).prop_map(|(one, other)| format!("{},{}", one.hour(), other.hour())),
        1 => Just("*".to_owned()),
        1 => Just("*/2".to_owned()),
    ];
    let weekday = local.weekday().to_sunday_zero_offset();
    let days = prop::sample::select(vec![
        "* * *".to_owned(),
        format!("{} * *", local.day()),
        format!("{} {} *", local.day(), local.month()),
        format!("* * {weekday}"),
        format!("* * {weekday}#L"),
    ]);
    (minute, hours, days).prop_map(|(minute, hours, days)| format!("{minute} {hours} {days}"))
}

/// A zone, one of its transitions, and expressions of which half have their times close to it.
fn place() -> impl Strategy<Value = (&'static str, i64, Vec<String>)> {
    transition().prop_flat_map(|(name, around)| {
        let local = zone(name).to_datetime(instant(around));
        let expression = prop_oneof![expression_near(local), minute_expression()];
        (Just(name), Just(around), prop::collection::vec(expression, 1..4))
    })
}

/// The same with seconds.
fn place_by_the_second() -> impl Strategy<Value = (&'static str, i64, Vec<String>)> {
    transition().prop_flat_map(|(name, around)| {
        let local = zone(name).to_datetime(instant(around));
        let near = (number_field(0, 59), expression_near(local)).prop_map(|(second, near)| format!("{second} {near}"));
        let expression = prop_oneof![near, second_expression()];
        (Just(name), Just(around), prop::collection::vec(expression, 1..3))
    })
}

/// `@at` a local time near `around`.
fn at_text(around: i64, away_minutes: i64) -> String {
    let local = TimeZone::UTC.to_datetime(instant(around.div_euclid(60) * 60 + away_minutes * 60));
    format!("@at {local}")
}

/// Compares every answer of a schedule about `(after, until]` and parts of it with brute force.
fn check(texts: &[String], name: &str, after: i64, until: i64, probes: &[i64]) -> Result<(), TestCaseError> {
    let schedule = Schedule::parse(texts, name).expect("a generated text is well-formed");
    let expected = instants(texts, &zone(name), after, until);
    let between: Vec<i64> = schedule
        .between(instant(after), instant(until))
        .map(Timestamp::as_second)
        .collect();
    prop_assert_eq!(&between, &expected, "between");
    let borders = [&[after, until], probes].concat();
    for start in &borders {
        let next = expected.iter().find(|second| *second > start).copied();
        let found = schedule.next_after(instant(*start)).map(Timestamp::as_second);
        prop_assert!(found.is_none_or(|found| found > *start), "next_after must move on");
        prop_assert_eq!(found.filter(|found| *found <= until), next, "next_after {}", start);
        for end in &borders {
            let inside: Vec<i64> = expected
                .iter()
                .copied()
                .filter(|second| second > start && second <= end)
                .collect();
            let (start, end) = (instant(*start), instant(*end));
            prop_assert_eq!(
                schedule.count(start, end),
                inside.len() as u64,
                "count {} {}",
                start,
                end
            );
            let latest = schedule.latest(start, end).map(Timestamp::as_second);
            prop_assert_eq!(latest, inside.last().copied(), "latest {} {}", start, end);
        }
    }
    Ok(())
}

/// Shares of a span, in thousandths.
fn probes(count: usize) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(0..=1_000i64, count)
}

fn within(after: i64, until: i64, shares: &[i64]) -> Vec<i64> {
    shares
        .iter()
        .map(|share| after + (until - after) * share / 1_000)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn schedules_by_the_minute_agree_with_brute_force_around_transitions(
        (name, around, texts) in place(),
        (before, length) in (0..3 * DAY, HOUR..9 * DAY),
        every in prop::option::weighted(0.3, 1..3_000i64),
        at in prop::option::weighted(0.3, -1_500..1_500i64),
        shares in probes(4),
    ) {
        let mut texts = texts;
        texts.extend(every.map(|minutes| format!("@every {}s", minutes * 60)));
        texts.extend(at.map(|minutes| at_text(around, minutes)));
        let (after, until) = (around - before, around - before + length);
        let mut probes = within(after, until, &shares);
        probes.extend([-1, 0, 1_300, HOUR].map(|away| (around + away).clamp(after, until)));
        check(&texts, name, after, until, &probes)?;
    }

    #[test]
    fn schedules_by_the_second_agree_with_brute_force_around_transitions(
        (name, around, texts) in place_by_the_second(),
        (before, length) in (0..8 * HOUR, 1..14 * HOUR),
        every in prop::option::weighted(0.3, 1..200_000i64),
        shares in probes(2),
    ) {
        let mut texts = texts;
        texts.extend(every.map(|seconds| format!("@every {seconds}s")));
        let (after, until) = (around - before, around - before + length);
        check(&texts, name, after, until, &within(after, until, &shares))?;
    }

    #[test]
    fn days_agree_with_brute_force_over_the_years(
        text in day_expression(),
        name in prop::sample::select(&ZONES[..]),
        (start, length) in (16 * 365 * DAY..68 * 365 * DAY, DAY..4 * 365 * DAY),
        shares in probes(3),
    ) {
        let (fields, zone) = (Fields::read(&text), zone(name));
        let schedule = Schedule::parse(&[&text], name).expect("a generated text is well-formed");
        let (minute, hour) = (fields.minute.first().expect("one minute"), fields.hour.first().expect("one hour"));
        let first = TimeZone::UTC.to_datetime(instant(start - 2 * DAY)).date();
        let expected: BTreeSet<i64> = (0..length / DAY + 5)
            .map(|day| first + day.days())
            .filter(|date| fields.matches_date(*date))
            .map(|date| reach(&zone, date.at(*hour, *minute, 0, 0)))
            .collect();
        for (share, until) in shares.iter().zip(within(start, start + length, &shares)) {
            let after = start + length * share / 1_000 * share / 1_000;
            let inside: Vec<i64> = expected.iter().copied().filter(|second| *second > after && *second <= until).collect();
            let (after, until) = (instant(after), instant(until));
            let between: Vec<i64> = schedule.between(after, until).map(Timestamp::as_second).collect();
            prop_assert_eq!(&between, &inside);
            prop_assert_eq!(schedule.count(after, until), inside.len() as u64);
            prop_assert_eq!(schedule.latest(after, until).map(Timestamp::as_second), inside.last().copied());
        }
    }

    #[test]
    fn counting_agrees_with_walking_over_months(
        (name, after, texts) in place(),
        days in 1..200i64,
        every in prop::option::weighted(0.5, 301..200_000i64),
    ) {
        let mut texts = texts;
        texts.extend(every.map(|seconds| format!("@every {seconds}s")));
        let schedule = Schedule::parse(&texts, name).expect("a generated text is well-formed");
        let (after, until) = (instant(after), instant(after + days * DAY));
        let walked: Vec<Timestamp> = schedule.between(after, until).collect();
        prop_assert!(walked.is_sorted_by(|one, next| one < next));
        prop_assert_eq!(schedule.count(after, until), walked.len() as u64);
        prop_assert_eq!(schedule.latest(after, until), walked.last().copied());
    }

    #[test]
    fn an_instant_within_a_second_is_after_that_second(second in -100_000..100_000i64, nanosecond in 0..1_000_000_000i64) {
        let schedule = Schedule::parse(&["@every 1s"], "UTC").expect("well-formed");
        let after = instant(second) + SignedDuration::from_nanos(nanosecond);
        prop_assert_eq!(schedule.next_after(after), Some(instant(second + 1)));
        prop_assert_eq!(schedule.latest(instant(second - 5), after), Some(instant(second)));
        prop_assert_eq!(schedule.count(instant(second - 5), after), 5);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[-@0-9*/,LW#?+ A-Za-z:T]{0,30}|\\PC*") {
        if let Ok(schedule) = Schedule::parse(&[&text], "Europe/Berlin") {
            let from = instant(1_800_000_000);
            let _ = (schedule.next_after(from), schedule.describe(), schedule.notes(from));
        }
    }
}
