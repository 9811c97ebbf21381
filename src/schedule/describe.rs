//! A schedule in short words.
//!
//! Written from the values that croner parsed, not from the text: what is said is what will happen. (croner's own
//! description calls `0-20/5` "every 5 minutes".)

use std::time::Duration;

use croner::Cron;
use jiff::Timestamp;

use super::Schedule;
use super::duration::format_duration;
use super::expression::{Expression, compile, cron_fields};

/// Up to so many times of day are listed one by one.
const MAX_LISTED_TIMES: usize = 6;

const DAYS: [&str; 8] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// Month names; January is the first.
pub(super) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// The texts in words, joined, with the time zone.
pub(super) fn describe(schedule: &Schedule) -> String {
    let parts: Vec<String> = schedule
        .texts
        .iter()
        .zip(&schedule.expressions)
        .map(|(text, expression)| describe_expression(schedule, text, expression))
        .collect();
    format!("{} ({})", parts.join("; "), schedule.timezone_name())
}

fn describe_expression(schedule: &Schedule, text: &str, expression: &Expression) -> String {
    match expression {
        Expression::Cron { .. } => describe_cron(text).unwrap_or_else(|| text.to_owned()),
        Expression::Every(seconds) => {
            format!("every {}", format_duration(Duration::from_secs(seconds.unsigned_abs())))
        }
        Expression::At(second) => match Timestamp::from_second(*second) {
            Ok(instant) => format!(
                "once, at {}",
                schedule.zone.to_datetime(instant).strftime("%Y-%m-%d %H:%M:%S")
            ),
            Err(_) => text.to_owned(),
        },
    }
}

fn describe_cron(text: &str) -> Option<String> {
    let fields = cron_fields(text)?.ok()?;
    let cron = compile(text, &fields).ok()?;
    let (time, is_listed) = describe_time(&cron);
    let day = describe_day(&cron, &fields[3], &fields[5]);
    let months = describe_months(&cron);
    let day = if day.is_empty() && is_listed {
        "every day".to_owned()
    } else {
        day
    };
    Some(
        [time, day, months]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
    )
}

/// The times of day in words, and whether they are listed one by one.
fn describe_time(cron: &Cron) -> (String, bool) {
    let seconds = cron.pattern.seconds.values();
    let minutes = cron.pattern.minutes.values();
    let hours = cron.pattern.hours.values();
    if seconds.len() * minutes.len() * hours.len() <= MAX_LISTED_TIMES {
        return (
            format!("at {}", list(&times_of_day(&hours, &minutes, &seconds), "and")),
            true,
        );
    }
    (describe_cycles(&hours, &minutes, &seconds), false)
}

fn times_of_day(hours: &[u16], minutes: &[u16], seconds: &[u16]) -> Vec<String> {
    let mut times = Vec::new();
    for hour in hours {
        for minute in minutes {
            for second in seconds {
                times.push(time_of_day(*hour, *minute, *second));
            }
        }
    }
    times
}

fn time_of_day(hour: u16, minute: u16, second: u16) -> String {
    if second == 0 {
        format!("{hour:02}:{minute:02}")
    } else {
        format!("{hour:02}:{minute:02}:{second:02}")
    }
}

/// Such as `every 15 minutes of hours 9 to 17` or `at second 5 of every minute`.
fn describe_cycles(hours: &[u16], minutes: &[u16], seconds: &[u16]) -> String {
    let units = [("second", seconds, 60), ("minute", minutes, 60), ("hour", hours, 24)];
    let first = usize::from(seconds == [0]);
    let mut text = innermost(units[first].0, units[first].1, units[first].2);
    let mut is_every = text.starts_with("every");
    for (unit, values, size) in &units[first + 1..] {
        let step = even_step(values, *size);
        if step == Some(1) && is_every {
            continue;
        }
        text.push_str(" of ");
        text.push_str(&outer(unit, values, step));
        is_every = true;
    }
    text
}

fn innermost(unit: &str, values: &[u16], size: u16) -> String {
    match even_step(values, size) {
        Some(1) => format!("every {unit}"),
        Some(step) => format!("every {step} {unit}s"),
        None => format!("at {unit}{} {}", plural(values), ranges(values, u16::to_string)),
    }
}

fn outer(unit: &str, values: &[u16], step: Option<u16>) -> String {
    match step {
        Some(1) => format!("every {unit}"),
        Some(step) => format!("every {} {unit}", ordinal(step)),
        None => format!("{unit}{} {}", plural(values), ranges(values, u16::to_string)),
    }
}

/// The step of values that are evenly spread over the whole cycle, starting at 0.
fn even_step(values: &[u16], size: u16) -> Option<u16> {
    let step = match values {
        [0, second, ..] => *second,
        _ => return None,
    };
    let expected = (0..size).step_by(usize::from(step));
    (size.is_multiple_of(step) && expected.eq(values.iter().copied())).then_some(step)
}

fn describe_day(cron: &Cron, day_of_month: &str, day_of_week: &str) -> String {
    let month_days = describe_month_days(cron, day_of_month);
    let week_days = describe_week_days(day_of_week.trim_start_matches('+'));
    match (day_of_month, day_of_week) {
        ("*", "*") => String::new(),
        (_, "*") => format!("on {month_days}"),
        ("*", _) => format!("on {week_days}"),
        _ if day_of_week.starts_with('+') => format!("on {month_days} if it is {week_days}"),
        _ => format!("on {month_days} or on {week_days}"),
    }
}

fn describe_month_days(cron: &Cron, field: &str) -> String {
    let days = cron.pattern.days.values();
    let mut parts = Vec::new();
    if !days.is_empty() {
        parts.push(format!(
            "day{} {} of the month",
            plural(&days),
            ranges(&days, u16::to_string)
        ));
    }
    for item in field.split(',') {
        match item {
            "L" => parts.push("the last day of the month".to_owned()),
            "LW" => parts.push("the last working day of the month".to_owned()),
            _ => parts.extend(
                item.strip_suffix('W')
                    .map(|day| format!("the working day nearest to day {day}")),
            ),
        }
    }
    list(&parts, "and")
}

fn describe_week_days(field: &str) -> String {
    let items: Vec<String> = field.split(',').map(describe_week_day).collect();
    list(&items, "and")
}

fn describe_week_day(item: &str) -> String {
    let (days, nth) = item
        .split_once('#')
        .map_or((item, None), |(days, nth)| (days, Some(nth)));
    let name = |day: &str| {
        day.parse::<usize>()
            .ok()
            .and_then(|day| DAYS.get(day))
            .copied()
            .unwrap_or("day")
    };
    let days = match days.split_once('/') {
        Some(("*", step)) => list(
            &(0..7)
                .step_by(step.parse().unwrap_or(1))
                .map(|day| DAYS[day].to_owned())
                .collect::<Vec<_>>(),
            "and",
        ),
        Some((range, step)) => format!(
            "every {} day of {}",
            ordinal(step.parse().unwrap_or(1)),
            named_range(range, name)
        ),
        None => named_range(days, name),
    };
    match nth {
        None => days,
        Some("L") => format!("the last {days} of the month"),
        Some(nth) => format!("the {} {days} of the month", ordinal(nth.parse().unwrap_or(1))),
    }
}

fn named_range<'a>(range: &str, name: impl Fn(&str) -> &'a str) -> String {
    range.split('-').map(name).collect::<Vec<_>>().join(" to ")
}

fn describe_months(cron: &Cron) -> String {
    let months = cron.pattern.months.values();
    if months.len() == MONTHS.len() {
        return String::new();
    }
    format!(
        "in {}",
        ranges(&months, |month| MONTHS[usize::from(*month) - 1].to_owned())
    )
}

fn plural(values: &[u16]) -> &'static str {
    if values.len() == 1 { "" } else { "s" }
}

/// `9 to 17 and 20`: three or more values in a row become a range.
fn ranges(values: &[u16], name: impl Fn(&u16) -> String) -> String {
    let parts: Vec<String> = values
        .chunk_by(|value, next| value + 1 == *next)
        .flat_map(|run| match run {
            [first, _, .., last] => vec![format!("{} to {}", name(first), name(last))],
            few => few.iter().map(&name).collect(),
        })
        .collect();
    list(&parts, "and")
}

/// `a`, `a and b`, `a, b and c`.
pub(super) fn list(items: &[String], conjunction: &str) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {conjunction} {last}", first.join(", ")),
    }
}

fn ordinal(number: u16) -> String {
    let suffix = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{suffix}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_put_in_words() {
        for (text, words) in [
            ("30 2 * * *", "at 02:30 every day"),
            ("@daily", "at 00:00 every day"),
            ("0,30 2 * * *", "at 02:00 and 02:30 every day"),
            ("15 30 2 * * *", "at 02:30:15 every day"),
            ("* * * * *", "every minute"),
            ("* * * * * *", "every second"),
            ("*/15 * * * *", "every 15 minutes"),
            ("0-20/5 * * * *", "at minutes 0, 5, 10, 15 and 20 of every hour"),
            (
                "*/7 * * * *",
                "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour",
            ),
            ("@hourly", "at minute 0 of every hour"),
            ("0 */2 * * *", "at minute 0 of every 2nd hour"),
            (
                "*/5 9-17 * * MON-FRI",
                "every 5 minutes of hours 9 to 17 on Monday to Friday",
            ),
            ("5 * * * * *", "at second 5 of every minute"),
            (
                "*/10 30 2 * * *",
                "at 02:30, 02:30:10, 02:30:20, 02:30:30, 02:30:40 and 02:30:50 every day",
            ),
            ("0 9 1 * *", "at 09:00 on day 1 of the month"),
            ("0 9 1,15 * FRI", "at 09:00 on days 1 and 15 of the month or on Friday"),
            ("0 9 1 * +MON", "at 09:00 on day 1 of the month if it is Monday"),
            ("0 9 LW * *", "at 09:00 on the last working day of the month"),
            (
                "0 9 15W,L * *",
                "at 09:00 on the working day nearest to day 15 and the last day of the month",
            ),
            ("0 9 * * 5#2", "at 09:00 on the 2nd Friday of the month"),
            ("0 9 * * 5L", "at 09:00 on the last Friday of the month"),
            ("0 9 * 1,6-8 *", "at 09:00 every day in January and June to August"),
            ("@every 90m", "every 1h30m"),
            ("@at 2027-01-01T09:00", "once, at 2027-01-01 09:00:00"),
        ] {
            let schedule = Schedule::parse(&[text], "Europe/Berlin").expect("well-formed");
            assert_eq!(schedule.describe(), format!("{words} (Europe/Berlin)"), "{text}");
        }
    }

    #[test]
    fn the_parts_of_a_union_are_joined() {
        let schedule = Schedule::parse(&["0 9 * * *", "@every 1h"], "UTC").expect("well-formed");
        assert_eq!(schedule.describe(), "at 09:00 every day; every 1h (UTC)");
    }
}
