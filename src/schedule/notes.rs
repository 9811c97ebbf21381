//! What people get wrong about schedule texts, in sentences.
//!
//! Owns the warnings of the preview: each says what will happen, and where it helps, what to write instead. Looks 13
//! months ahead, so that every yearly clock change is seen.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::describe::{MONTHS, list};
use super::expression::{At, Expression, cron_fields};
use super::field::CronField;
use super::local::LocalTimes;
use super::zone::Stretch;
use super::{Schedule, second_after};

/// How far the notes look ahead.
const MONTHS_AHEAD: i32 = 13;

/// One sentence for each thing worth knowing.
pub(super) fn notes(schedule: &Schedule, from: Timestamp) -> Vec<String> {
    let view = View {
        schedule,
        from,
        until: end_of_view(schedule, from),
    };
    let mut notes: Vec<String> = schedule
        .texts
        .iter()
        .zip(&schedule.expressions)
        .flat_map(|(text, expression)| {
            view.notes_on(text, expression)
                .into_iter()
                .map(move |note| format!("`{text}` {note}"))
        })
        .collect();
    notes.extend(view.note_on_union());
    notes
}

fn end_of_view(schedule: &Schedule, from: Timestamp) -> Timestamp {
    from.to_zoned(schedule.zone.clone())
        .checked_add(MONTHS_AHEAD.months())
        .map_or(Timestamp::MAX, |end| end.timestamp())
}

/// A schedule and the span that is looked at.
struct View<'a> {
    schedule: &'a Schedule,
    from: Timestamp,
    until: Timestamp,
}

impl View<'_> {
    /// What to say about one text, each sentence without the text that begins it.
    fn notes_on(&self, text: &str, expression: &Expression) -> Vec<String> {
        match expression {
            Expression::Cron { times, .. } if !times.ever() => {
                vec!["never fires: none of its months has such a day".to_owned()]
            }
            Expression::Cron { times, wildcard } => {
                let mut notes = notes_on_fields(text);
                notes.extend(self.note_on_absence(expression));
                notes.extend(self.notes_on_clock_changes(times, *wildcard));
                notes
            }
            Expression::Every(interval) => vec![note_on_interval(*interval)],
            Expression::At(instant) => self.note_on_instant(text, *instant).into_iter().collect(),
        }
    }

    fn note_on_absence(&self, expression: &Expression) -> Option<String> {
        let next = expression.next(&self.schedule.zone, second_after(self.from));
        match next.and_then(|next| Timestamp::from_second(next).ok()) {
            Some(next) if next <= self.until => None,
            Some(next) => Some(format!(
                "does not fire in the next {MONTHS_AHEAD} months: the first time is {}",
                self.schedule.zone.to_datetime(next).strftime("%Y-%m-%d %H:%M")
            )),
            None => Some("does not fire any more before the year 9999".to_owned()),
        }
    }

    fn notes_on_clock_changes(&self, times: &LocalTimes, wildcard: bool) -> Vec<String> {
        let mut notes = Vec::new();
        let mut next = Stretch::at(&self.schedule.zone, self.from.as_second());
        while let Some(stretch) = next {
            next = Stretch::at(&self.schedule.zone, stretch.end).filter(|later| later.start < self.until.as_second());
            let Some(later) = next else { break };
            notes.extend(if later.follows_gap() {
                self.note_on_gap(times, wildcard, &later)
            } else {
                self.note_on_overlap(times, wildcard, &later)
            });
        }
        notes
    }

    fn note_on_gap(&self, times: &LocalTimes, wildcard: bool, stretch: &Stretch) -> Option<String> {
        let affected = Affected::find(times, stretch.reached, stretch.local_start())?;
        let zone = self.schedule.timezone_name();
        let change = format!(
            "the clocks go from {} to {}",
            time(stretch.reached),
            time(stretch.local_start())
        );
        let consequence = match (wildcard, affected.count) {
            (true, 1) => "it is skipped".to_owned(),
            (true, _) => "they are skipped".to_owned(),
            (false, 1) => format!(
                "it fires at {}, the first instant after the gap",
                time(stretch.local_start())
            ),
            (false, _) => format!(
                "they fire once, together, at {}, the first instant after the gap",
                time(stretch.local_start())
            ),
        };
        let (what, verb) = affected.words("does not exist", "do not exist");
        Some(format!(
            "on {}: {what} {verb} in {zone} ({change}); {consequence}",
            affected.date()
        ))
    }

    fn note_on_overlap(&self, times: &LocalTimes, wildcard: bool, stretch: &Stretch) -> Option<String> {
        let affected = Affected::find(times, stretch.local_start(), stretch.reached)?;
        let zone = self.schedule.timezone_name();
        let change = format!(
            "the clocks go back from {} to {}",
            time(stretch.reached),
            time(stretch.local_start())
        );
        let consequence = match (wildcard, affected.count) {
            (true, 1) => "it fires both times",
            (true, _) => "they fire both times",
            (false, 1) => "it fires once, the first time",
            (false, _) => "they fire once, the first time",
        };
        let (what, verb) = affected.words("occurs twice", "occur twice");
        Some(format!(
            "on {}: {what} {verb} in {zone} ({change}); {consequence}",
            affected.date()
        ))
    }

    fn note_on_instant(&self, text: &str, second: i64) -> Option<String> {
        let instant = Timestamp::from_second(second).ok()?;
        if instant <= self.from {
            return Some("lies in the past: it does not fire any more".to_owned());
        }
        let argument = text.split_once(char::is_whitespace)?.1.trim();
        let Some(At::Local(local)) = At::parse(argument) else {
            return None;
        };
        let zone = self.schedule.timezone_name();
        let stretch = Stretch::at(&self.schedule.zone, second)?;
        if second + stretch.offset != local {
            let shown = time(second + stretch.offset);
            return Some(format!(
                "does not exist in {zone}: it fires at {shown}, the first instant after the gap"
            ));
        }
        let later = Stretch::at(&self.schedule.zone, stretch.end)?;
        let occurs_twice = (later.local_start()..later.reached).contains(&local);
        occurs_twice.then(|| format!("occurs twice in {zone}: it fires the first time"))
    }

    fn note_on_union(&self) -> Option<String> {
        let schedule = self.schedule;
        let (from, until) = (second_after(self.from), second_after(self.until));
        if schedule.expressions.len() < 2 {
            return None;
        }
        let separate: u64 = schedule
            .expressions
            .iter()
            .map(|expression| expression.count(&schedule.zone, from, until))
            .sum();
        let coinciding = separate - schedule.count(self.from, self.until);
        (coinciding > 0).then(|| {
            format!(
                "the texts of this schedule coincide {coinciding} {} in the next {MONTHS_AHEAD} months: instants that coincide are one run",
                if coinciding == 1 { "time" } else { "times" }
            )
        })
    }
}

/// The local times of a schedule that a clock change concerns.
struct Affected {
    first: i64,
    last: i64,
    count: u64,
}

impl Affected {
    fn find(times: &LocalTimes, from: i64, until: i64) -> Option<Affected> {
        let first = times.next(from).filter(|first| *first < until)?;
        let last = times.previous(until - 1)?;
        Some(Affected {
            first,
            last,
            count: times.count(from, until),
        })
    }

    fn date(&self) -> String {
        local_datetime(self.first).date().to_string()
    }

    /// The times in words, with the form of the verb that fits their number.
    fn words<'a>(&self, singular: &'a str, plural: &'a str) -> (String, &'a str) {
        match self.count {
            1 => (time(self.first), singular),
            2 => (format!("{} and {}", time(self.first), time(self.last)), plural),
            count => (
                format!("{count} times from {} to {}", time(self.first), time(self.last)),
                plural,
            ),
        }
    }
}

fn local_datetime(local: i64) -> DateTime {
    Timestamp::from_second(local).map_or(DateTime::MAX, |instant| TimeZone::UTC.to_datetime(instant))
}

fn time(local: i64) -> String {
    let local = local_datetime(local);
    let format = if local.second() == 0 { "%H:%M" } else { "%H:%M:%S" };
    local.strftime(format).to_string()
}

fn note_on_interval(interval: i64) -> String {
    const DAY: i64 = 86_400;
    let drift = if interval < DAY && DAY % interval != 0 || interval % DAY != 0 && interval > DAY {
        "; it does not divide into days, so its times of day move"
    } else {
        ""
    };
    format!("counts from 1970-01-01 00:00 UTC, not from the start of dropcron, and ignores clock changes{drift}")
}

fn notes_on_fields(text: &str) -> Vec<String> {
    let Some(Ok(fields)) = cron_fields(text) else {
        return Vec::new();
    };
    let mut notes: Vec<String> = note_on_either_day(text).into_iter().collect();
    for (field, value) in CronField::SIX.iter().zip(&fields) {
        notes.extend(value.split(',').filter_map(|item| note_on_step(*field, item)));
    }
    notes.extend(
        fields[3]
            .split(',')
            .filter_map(|item| note_on_short_months(item, &fields[4])),
    );
    notes
}

fn note_on_either_day(text: &str) -> Option<String> {
    let [.., day_of_month, _, day_of_week] = *text.split_whitespace().collect::<Vec<_>>() else {
        return None;
    };
    let is_any = |field: &str| matches!(field, "*" | "?");
    let is_either = !is_any(day_of_month) && !is_any(day_of_week) && !day_of_week.starts_with('+');
    is_either.then(|| {
        format!(
            "fires on days that match either the day of month (`{day_of_month}`) or the day of week (`{day_of_week}`); \
             for days that match both write `+{day_of_week}`"
        )
    })
}

fn note_on_step(field: CronField, item: &str) -> Option<String> {
    let step: u16 = item.trim_start_matches('+').strip_prefix("*/")?.parse().ok()?;
    let (cycle, size, unit) = match field {
        CronField::Second => ("minute", 60, "s"),
        CronField::Minute => ("hour", 60, "m"),
        CronField::Hour => ("day", 24, "h"),
        CronField::Month => ("year", 12, ""),
        CronField::DayOfMonth if step > 1 => return Some(restart(item, field, "month", "on day 1")),
        CronField::DayOfWeek if step > 1 => return Some(restart(item, field, "week", "on Sunday")),
        CronField::DayOfMonth | CronField::DayOfWeek => return None,
    };
    if size % step == 0 {
        return None;
    }
    let (first, _) = field.bounds();
    let last = (size - 1) / step * step + first;
    let after_last = size + first - last;
    let advice = if unit.is_empty() {
        String::new()
    } else {
        format!("; for an even interval write `@every {step}{unit}`")
    };
    let with = format!("with {first}: {after_last} after {last} instead of {step}");
    Some(format!("{}{advice}", restart(item, field, cycle, &with)))
}

fn restart(item: &str, field: CronField, cycle: &str, with: &str) -> String {
    let item = item.trim_start_matches('+');
    format!("starts over every {cycle} {with}, since `{item}` in the {field} field does not divide it")
}

fn note_on_short_months(item: &str, months: &str) -> Option<String> {
    let day: u32 = item.trim_end_matches('W').parse().ok()?;
    let longest = |month: u32| croner::time::days_in_month(2024, month);
    let without: Vec<String> = (1..=12)
        .filter(|month| has_month(months, *month) && longest(*month) < day)
        .map(|month| MONTHS[month as usize - 1].to_owned())
        .collect();
    if !without.is_empty() {
        return Some(format!(
            "has no day {day} in {}; `L` is the last day of every month",
            list(&without, "and")
        ));
    }
    (day == 29 && has_month(months, 2))
        .then(|| "has a day 29 in February in leap years only; `L` is the last day of every month".to_owned())
}

fn has_month(field: &str, month: u32) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let range = if range == "*" { "1-12" } else { range };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last, step) = (number(first), number(last), number(step).max(1));
        (first..=last).contains(&month) && (month - first).is_multiple_of(step)
    })
}

fn number(text: &str) -> u32 {
    text.parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes_in(zone: &str, texts: &[&str]) -> Vec<String> {
        let from = "2027-01-10T00:00:00Z".parse().expect("an instant");
        Schedule::parse(texts, zone).expect("well-formed").notes(from)
    }

    fn notes_on(text: &str) -> Vec<String> {
        notes_in("UTC", &[text])
    }

    #[test]
    fn clock_changes_are_foretold_for_fixed_times() {
        assert_eq!(
            notes_in("Europe/Berlin", &["30 2 * * *"]),
            [
                "`30 2 * * *` on 2027-03-28: 02:30 does not exist in Europe/Berlin (the clocks go from 02:00 to 03:00); it fires at 03:00, the first instant after the gap",
                "`30 2 * * *` on 2027-10-31: 02:30 occurs twice in Europe/Berlin (the clocks go back from 03:00 to 02:00); it fires once, the first time",
            ]
        );
        assert_eq!(
            notes_in("America/New_York", &["0,30 2 * * *"]),
            [
                "`0,30 2 * * *` on 2027-03-14: 02:00 and 02:30 do not exist in America/New_York (the clocks go from 02:00 to 03:00); they fire once, together, at 03:00, the first instant after the gap"
            ]
        );
    }

    #[test]
    fn clock_changes_are_foretold_for_wildcards() {
        assert_eq!(
            notes_in("Australia/Lord_Howe", &["*/10 * * * *"]),
            [
                "`*/10 * * * *` on 2027-04-04: 3 times from 01:30 to 01:50 occur twice in Australia/Lord_Howe (the clocks go back from 02:00 to 01:30); they fire both times",
                "`*/10 * * * *` on 2027-10-03: 3 times from 02:00 to 02:20 do not exist in Australia/Lord_Howe (the clocks go from 02:00 to 02:30); they are skipped",
            ]
        );
    }

    #[test]
    fn a_schedule_without_a_trap_has_no_notes() {
        assert_eq!(notes_in("Europe/Berlin", &["0 9 * * MON-FRI"]), Vec::<String>::new());
        assert_eq!(notes_on("*/15 */6 1-31 */3 *"), Vec::<String>::new());
        assert_eq!(notes_on("0 9 L * *"), Vec::<String>::new());
    }

    #[test]
    fn two_day_fields_are_either_or() {
        assert_eq!(
            notes_on("0 9 1 * MON"),
            [
                "`0 9 1 * MON` fires on days that match either the day of month (`1`) or the day of week (`MON`); for days that match both write `+MON`"
            ]
        );
        assert_eq!(notes_on("0 9 1 * +MON"), Vec::<String>::new());
    }

    #[test]
    fn steps_that_do_not_divide_start_over() {
        assert_eq!(
            notes_on("*/7 * * * *"),
            [
                "`*/7 * * * *` starts over every hour with 0: 4 after 56 instead of 7, since `*/7` in the minute field does not divide it; for an even interval write `@every 7m`"
            ]
        );
        assert!(notes_on("0 */5 * * *")[0].contains("with 0: 4 after 20 instead of 5"));
        assert!(notes_on("0 0 1 */5 *")[0].contains("with 1: 2 after 11 instead of 5"));
        assert!(notes_on("0 0 */2 * *")[0].contains("starts over every month on day 1"));
        assert!(notes_on("0 0 * * */2")[0].contains("starts over every week on Sunday"));
    }

    #[test]
    fn months_without_the_day_are_named() {
        assert_eq!(
            notes_on("0 0 31 * *"),
            [
                "`0 0 31 * *` has no day 31 in February, April, June, September and November; `L` is the last day of every month"
            ]
        );
        assert!(notes_on("0 0 29 * *")[0].contains("in leap years only"));
        assert_eq!(notes_on("0 0 31 JAN,MAR *"), Vec::<String>::new());
    }

    #[test]
    fn what_never_or_rarely_fires_is_said() {
        assert_eq!(
            notes_on("0 0 30 2 *"),
            ["`0 0 30 2 *` never fires: none of its months has such a day"]
        );
        assert!(
            notes_on("0 0 29 2 *")
                .iter()
                .any(|note| note.ends_with("the first time is 2028-02-29 00:00"))
        );
        assert_eq!(
            notes_on("@at 2026-01-01T09:00"),
            ["`@at 2026-01-01T09:00` lies in the past: it does not fire any more"]
        );
    }

    #[test]
    fn a_single_instant_near_a_clock_change_is_explained() {
        assert!(notes_in("Europe/Berlin", &["@at 2027-03-28T02:30"])[0].contains("it fires at 03:00"));
        assert!(notes_in("Europe/Berlin", &["@at 2027-10-31T02:30"])[0].contains("it fires the first time"));
        assert_eq!(
            notes_in("Europe/Berlin", &["@at 2027-10-31T02:30Z"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn intervals_count_from_the_epoch() {
        assert_eq!(
            notes_on("@every 10m"),
            [
                "`@every 10m` counts from 1970-01-01 00:00 UTC, not from the start of dropcron, and ignores clock changes"
            ]
        );
        assert!(notes_on("@every 7h")[0].contains("its times of day move"));
        assert!(notes_on("@every 36h")[0].contains("its times of day move"));
    }

    #[test]
    fn coinciding_instants_of_a_union_are_counted() {
        assert!(notes_in("UTC", &["0 0 * * *", "0 0 1 1 *"])[0].contains("coincide 1 time in the next 13 months"));
        assert_eq!(notes_in("UTC", &["0 0 * * *", "0 12 * * *"]), Vec::<String>::new());
    }
}
