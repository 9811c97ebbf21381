//! One field of a cron expression, checked strictly before croner sees it.
//!
//! Owns the grammar of a field and the messages about it. croner is lenient in places (`MON` in the minute field is 1,
//! `1,,2` is `1,2`, `L` as a day of the week never matches); here every such text is an error that names the field. What
//! passes is handed on in numbers only.

use std::fmt;

use thiserror::Error;

/// A field of a cron expression, in the order of the six-field form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CronField {
    /// 0 to 59, the first of six fields; 0 where there are five.
    Second,
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31, `L`, `LW`, `15W`.
    DayOfMonth,
    /// 1 to 12 or JAN to DEC.
    Month,
    /// 0 to 7 or SUN to SAT (0 and 7 are Sunday), `5#2`, `5L`, `+` as a prefix.
    DayOfWeek,
}

/// What is wrong with a field, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// Two commas in a row, or one at an end.
    #[error("there is nothing before or after a comma")]
    EmptyItem,
    /// `*` or `?` together with other items.
    #[error("`{item}` stands for every value and cannot be part of a list")]
    StarInList {
        /// The item.
        item: String,
    },
    /// Neither a number nor anything else the field knows.
    #[error("`{item}` is not understood: write {expected}")]
    NotUnderstood {
        /// The item.
        item: String,
        /// What the field accepts.
        expected: String,
    },
    /// A number out of bounds.
    #[error("`{number}` is out of range: write {expected}")]
    OutOfRange {
        /// The number.
        number: String,
        /// What the field accepts.
        expected: String,
    },
    /// A range whose end lies before its start.
    #[error("the range `{item}` runs backwards: write `{instead}`")]
    BackwardRange {
        /// The range.
        item: String,
        /// The same in two ranges.
        instead: String,
    },
    /// A step that is zero or not a number.
    #[error("the step of `{item}` must be a whole number from 1")]
    BadStep {
        /// The item.
        item: String,
    },
    /// A step that leaves the first value only.
    #[error(
        "the step of `{item}` is so large that only `{first}` is left: write `{first}`, or use `@every` for an interval"
    )]
    StepTooLarge {
        /// The item.
        item: String,
        /// The only value left.
        first: u16,
    },
    /// `5/15` or `/15`.
    #[error("`{item}` has a step without a range: write `{instead}`")]
    StepWithoutRange {
        /// The item.
        item: String,
        /// The same with a range.
        instead: String,
    },
    /// `#` without 1 to 5 or `L`.
    #[error("`{item}` must end in `#1` to `#5`, or in `#L` for the last one of the month")]
    BadOccurrence {
        /// The item.
        item: String,
    },
    /// A lone `L` as day of week.
    #[error("`L` alone does not say which day: write `5L` for the last Friday of the month")]
    LastOfWhat,
    /// `L` and `LW` in one list.
    #[error("`L` and `LW` cannot be combined: write them as two schedules")]
    LastTwice,
    /// `L-3` and the like.
    #[error("`{item}` is not supported: `L` (last day), `LW` (last working day) and `15W` stand alone")]
    LastCombined {
        /// The item.
        item: String,
    },
    /// `+` before nothing or `*`.
    #[error("`+` needs a day after it: `+MON` fires where both the day of month and the day of week match")]
    PlusWithoutDay,
}

const DAY_NAMES: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
const MONTH_NAMES: [&str; 12] = [
    "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
];

impl CronField {
    /// The fields of a five-field expression.
    pub(super) const FIVE: [CronField; 5] = [
        CronField::Minute,
        CronField::Hour,
        CronField::DayOfMonth,
        CronField::Month,
        CronField::DayOfWeek,
    ];
    /// The fields of a six-field expression.
    pub(super) const SIX: [CronField; 6] = [
        CronField::Second,
        CronField::Minute,
        CronField::Hour,
        CronField::DayOfMonth,
        CronField::Month,
        CronField::DayOfWeek,
    ];

    /// Checks a field and gives it with numbers for names, as croner is to read it.
    pub(super) fn check(self, text: &str) -> Result<String, FieldProblem> {
        let text = text.to_ascii_uppercase();
        if self == CronField::DayOfWeek
            && let Some(days) = text.strip_prefix('+')
        {
            return self.check_required_days(days);
        }
        if text == "*" || (text == "?" && self.is_day()) {
            return Ok("*".to_owned());
        }
        let items: Vec<&str> = text.split(',').collect();
        if items.contains(&"L") && items.contains(&"LW") {
            return Err(FieldProblem::LastTwice);
        }
        let checked: Result<Vec<String>, FieldProblem> = items.iter().map(|item| self.check_item(item)).collect();
        Ok(checked?.join(","))
    }

    /// The smallest and the largest value.
    pub(super) fn bounds(self) -> (u16, u16) {
        match self {
            CronField::Second | CronField::Minute => (0, 59),
            CronField::Hour => (0, 23),
            CronField::DayOfMonth => (1, 31),
            CronField::Month => (1, 12),
            CronField::DayOfWeek => (0, 7),
        }
    }

    fn is_day(self) -> bool {
        matches!(self, CronField::DayOfMonth | CronField::DayOfWeek)
    }

    fn check_required_days(self, days: &str) -> Result<String, FieldProblem> {
        if days.is_empty() || days == "*" || days == "?" || days.starts_with('+') {
            return Err(FieldProblem::PlusWithoutDay);
        }
        Ok(format!("+{}", self.check(days)?))
    }

    fn check_item(self, item: &str) -> Result<String, FieldProblem> {
        match (self, item) {
            (_, "") => Err(FieldProblem::EmptyItem),
            (_, "*" | "?") if item == "*" || self.is_day() => Err(FieldProblem::StarInList { item: item.to_owned() }),
            (CronField::DayOfMonth, "L" | "LW") => Ok(item.to_owned()),
            (CronField::DayOfWeek, "L") => Err(FieldProblem::LastOfWhat),
            _ if item.contains('/') => self.check_step(item),
            (CronField::DayOfMonth, _) if item.contains(['L', 'W']) => self.check_nearest_weekday(item),
            (CronField::DayOfWeek, _) if item.contains('#') => self.check_occurrence(item),
            (CronField::DayOfWeek, _) if item.ends_with('L') => self.check_last(item),
            _ => self.check_values(item),
        }
    }

    fn check_step(self, item: &str) -> Result<String, FieldProblem> {
        let bad_step = || FieldProblem::BadStep { item: item.to_owned() };
        let (values, step) = item.split_once('/').ok_or_else(bad_step)?;
        let step = parse_number(step).filter(|step| *step > 0).ok_or_else(bad_step)?;
        let (range, first, last) = self.check_stepped_range(item, values, step)?;
        if step > last - first {
            return Err(FieldProblem::StepTooLarge {
                item: item.to_owned(),
                first,
            });
        }
        Ok(format!("{range}/{step}"))
    }

    fn check_stepped_range(self, item: &str, values: &str, step: u16) -> Result<(String, u16, u16), FieldProblem> {
        let (first, last) = self.distinct_bounds();
        if values == "*" {
            return Ok(("*".to_owned(), first, last));
        }
        if values.is_empty() {
            let instead = format!("*/{step}");
            return Err(FieldProblem::StepWithoutRange {
                item: item.to_owned(),
                instead,
            });
        }
        let (from, to) = self.range(values)?;
        if let Some(to) = to {
            return Ok((format!("{from}-{to}"), from, to));
        }
        let instead = format!("{from}-{last}/{step}");
        Err(FieldProblem::StepWithoutRange {
            item: item.to_owned(),
            instead,
        })
    }

    fn check_nearest_weekday(self, item: &str) -> Result<String, FieldProblem> {
        let day = item.strip_suffix('W').filter(|day| !day.contains(['L', 'W', '-']));
        let day = day.ok_or_else(|| FieldProblem::LastCombined { item: item.to_owned() })?;
        Ok(format!("{}W", self.value(day, false)?))
    }

    fn check_occurrence(self, item: &str) -> Result<String, FieldProblem> {
        let bad_occurrence = || FieldProblem::BadOccurrence { item: item.to_owned() };
        let (days, occurrence) = item.split_once('#').ok_or_else(bad_occurrence)?;
        if !matches!(occurrence, "1" | "2" | "3" | "4" | "5" | "L") {
            return Err(bad_occurrence());
        }
        Ok(format!("{}#{occurrence}", self.check_values(days)?))
    }

    fn check_last(self, item: &str) -> Result<String, FieldProblem> {
        let days = item.strip_suffix('L').unwrap_or(item);
        Ok(format!("{}#L", self.check_values(days)?))
    }

    /// A value or a range.
    fn check_values(self, item: &str) -> Result<String, FieldProblem> {
        Ok(match self.range(item)? {
            (from, Some(to)) => format!("{from}-{to}"),
            (value, None) => value.to_string(),
        })
    }

    fn range(self, item: &str) -> Result<(u16, Option<u16>), FieldProblem> {
        let Some((from, to)) = item.split_once('-') else {
            return Ok((self.value(item, false)?, None));
        };
        let (first, last) = (self.value(from, false)?, self.value(to, true)?);
        let both_sunday = self == CronField::DayOfWeek && (first, last) == (0, 7) && from == to;
        if first > last || both_sunday {
            let (lowest, highest) = self.distinct_bounds();
            let instead = format!("{from}-{highest},{lowest}-{to}");
            return Err(FieldProblem::BackwardRange {
                item: item.to_owned(),
                instead,
            });
        }
        Ok((first, Some(last)))
    }

    /// Reads one value. `SUN` is 7 where it ends a range, so that `FRI-SUN` is one.
    fn value(self, text: &str, ends_range: bool) -> Result<u16, FieldProblem> {
        if let Some(value) = self.named(text) {
            return Ok(if ends_range && self == CronField::DayOfWeek && value == 0 {
                7
            } else {
                value
            });
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FieldProblem::NotUnderstood {
                item: text.to_owned(),
                expected: self.expected(),
            });
        }
        let (first, last) = self.bounds();
        parse_number(text)
            .filter(|value| (first..=last).contains(value))
            .ok_or_else(|| FieldProblem::OutOfRange {
                number: text.to_owned(),
                expected: self.expected(),
            })
    }

    fn named(self, text: &str) -> Option<u16> {
        let (names, first): (&[&str], usize) = match self {
            CronField::Month => (&MONTH_NAMES, 1),
            CronField::DayOfWeek => (&DAY_NAMES, 0),
            _ => return None,
        };
        let position = names.iter().position(|name| *name == text)?;
        u16::try_from(position + first).ok()
    }

    /// The bounds without Sunday's second number.
    fn distinct_bounds(self) -> (u16, u16) {
        match self {
            CronField::DayOfWeek => (0, 6),
            other => other.bounds(),
        }
    }

    fn expected(self) -> String {
        let (first, last) = self.bounds();
        match self {
            CronField::Month => format!("{first} to {last}, or JAN to DEC"),
            CronField::DayOfWeek => format!("{first} to {last} (0 and 7 are Sunday), or SUN to SAT"),
            CronField::DayOfMonth => format!("{first} to {last}, or `L` for the last day"),
            _ => format!("{first} to {last}"),
        }
    }
}

impl fmt::Display for CronField {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            CronField::Second => "second",
            CronField::Minute => "minute",
            CronField::Hour => "hour",
            CronField::DayOfMonth => "day-of-month",
            CronField::Month => "month",
            CronField::DayOfWeek => "day-of-week",
        })
    }
}

fn parse_number(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}
