//! One schedule text, parsed: cron with five or six fields, a nickname, `@every` or `@at`.
//!
//! Owns the dialect and its errors. A text that could be misread is an error; the dialect never changes under a text.
//!
//! * Five fields are minute, hour, day of month, month, day of week; six have the second first. No years, no `H`.
//! * A field is `*` or a list of values, ranges `a-b`, and steps `*/n` and `a-b/n`, with names for months and weekdays. 0
//!   and 7 are Sunday. `?` is `*` in the two day fields.
//! * Day of month and day of week, both other than `*`, mean either (as in Vixie cron; unlike there, `*/2` is other than
//!   `*`). `+` before the day of week means both.
//! * Day of month: `L` the last day, `LW` the last working day (Monday to Friday), `15W` the working day nearest to the
//!   15th within the month.
//! * Day of week: `5#2` the second Friday, `5#L` or `5L` the last Friday of the month.
//! * `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly` are cron fields written out.
//! * `@every` counts from the Unix epoch; `@at` is one instant, local in the time zone unless it has an offset.

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use thiserror::Error;

use super::duration::{DurationError, parse_duration};
use super::field::{CronField, FieldProblem};
use super::local::LocalTimes;
use super::zone;

/// An expression has so many bytes at most: one that lists each minute of the hour takes a fifth of it, and what is read here may
/// come from anybody.
const LONGEST: usize = 1000;

/// Why texts and a time zone are not a schedule. The messages name the text, the field, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ScheduleError {
    /// A list without a text.
    #[error(
        "the schedule is an empty list: write at least one, or leave the key out for a task that is only run by hand"
    )]
    NoTexts,
    /// More texts than anybody writes.
    #[error(
        "the schedule has {found} expressions: at most {most} are read; steps and lists such as `*/5` and `1,15` say more in one"
    )]
    TooManyTexts {
        /// How many there are.
        found: usize,
        /// How many there may be.
        most: usize,
    },
    /// A longer text than anybody writes.
    #[error(
        "`{start}...` has {characters} characters: an expression has at most {most}; ranges and steps such as `0-59/2` are shorter than lists"
    )]
    TooLong {
        /// How it begins.
        start: String,
        /// How long it is.
        characters: usize,
        /// How long it may be.
        most: usize,
    },
    /// A text of white space.
    #[error(
        "the schedule is empty: write a cron expression such as `30 2 * * *`, `@daily`, `@every 10m` or `@at 2027-01-01T09:00`"
    )]
    EmptyText,
    /// Too few or too many fields.
    #[error(
        "`{text}` has {found} fields: write 5 (minute hour day-of-month month day-of-week), or 6 with seconds first"
    )]
    FieldCount {
        /// The schedule text.
        text: String,
        /// How many fields it has.
        found: usize,
    },
    /// A seventh field.
    #[error(
        "`{text}` has 7 fields, but years are not supported: leave the last field out, or use `@at` for a single instant"
    )]
    Years {
        /// The schedule text.
        text: String,
    },
    /// A time zone inside the text.
    #[error("`{text}` sets a time zone: write it under `timezone` instead")]
    ZoneInText {
        /// The schedule text.
        text: String,
    },
    /// One field is wrong.
    #[error("`{text}`: the {field} field `{value}` is wrong: {problem}")]
    Field {
        /// The schedule text.
        text: String,
        /// Which field.
        field: CronField,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        problem: FieldProblem,
    },
    /// A field that croner refuses although the checks above let it pass.
    #[error("`{text}` is not a cron expression: {problem}")]
    Refused {
        /// The schedule text.
        text: String,
        /// croner's message.
        problem: String,
    },
    /// `@reboot`.
    #[error(
        "`{text}` is not supported, since a task belongs to no machine that boots: use `@every`, or start the run from a systemd unit with `dropcron run`"
    )]
    Reboot {
        /// The schedule text.
        text: String,
    },
    /// An unknown word after `@`.
    #[error("`{text}` is unknown{}: use @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly, `@every 10m` or `@at 2027-01-01T09:00`", did_you_mean(.suggestion.as_deref()))]
    UnknownNickname {
        /// The schedule text.
        text: String,
        /// The nearest known word.
        suggestion: Option<String>,
    },
    /// `@daily` and the like with something after it.
    #[error(
        "`{text}` has something after `{nickname}`, which stands alone: for a time of day write cron fields, such as `30 2 * * *`"
    )]
    NicknameWithMore {
        /// The schedule text.
        text: String,
        /// The nickname.
        nickname: String,
    },
    /// `@every` with something that is no duration.
    #[error("`{text}`: {problem}")]
    EveryDuration {
        /// The schedule text.
        text: String,
        /// What is wrong with the duration.
        problem: DurationError,
    },
    /// `@every` with a zero or a fraction of a second.
    #[error("`{text}` is not a number of whole seconds: the shortest interval is `@every 1s`")]
    EveryResolution {
        /// The schedule text.
        text: String,
    },
    /// `@at` with something that is no instant.
    #[error(
        "`{text}` is not an instant: write `@at 2027-01-01T09:00` (local in the task's time zone), or with an offset, `@at 2027-01-01T09:00Z`"
    )]
    At {
        /// The schedule text.
        text: String,
    },
    /// A time zone that the zone database does not have.
    #[error("unknown time zone `{name}`{}", zone_advice(.suggestion.as_deref()))]
    UnknownTimezone {
        /// The name asked for.
        name: String,
        /// The nearest name of the database.
        suggestion: Option<String>,
    },
}

/// What one schedule text means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expression {
    /// Local times of the zone, brought to instants by the rule of [`super::instants`].
    Cron {
        /// The local times.
        times: LocalTimes,
        /// Whether the minute or the hour field begins with `*`.
        wildcard: bool,
    },
    /// Every so many seconds, counted from the Unix epoch.
    Every(i64),
    /// One instant, in seconds since the Unix epoch.
    At(i64),
}

const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const EVERY: &str = "@every";
const AT: &str = "@at";
const REBOOT: &str = "@reboot";

impl Expression {
    /// Parses one text; `zone` is what a local `@at` is read in.
    pub(super) fn parse(text: &str, zone: &TimeZone) -> Result<Expression, ScheduleError> {
        let text = text.trim();
        if text.len() > LONGEST {
            return Err(ScheduleError::TooLong {
                start: text.chars().take(40).collect(),
                characters: text.chars().count(),
                most: LONGEST,
            });
        }
        let first_word = text.split_whitespace().next().ok_or(ScheduleError::EmptyText)?;
        if !first_word.starts_with('@') {
            return parse_cron(text);
        }
        let argument = text[first_word.len()..].trim();
        match first_word.to_ascii_lowercase().as_str() {
            EVERY => parse_every(text, argument),
            AT => parse_at(text, argument, zone),
            REBOOT => Err(ScheduleError::Reboot { text: text.to_owned() }),
            nickname => parse_nickname(text, nickname, argument),
        }
    }
}

/// The checked cron fields of a text, in numbers, seconds first; `None` for `@every` and `@at`.
pub(super) fn cron_fields(text: &str) -> Option<Result<Vec<String>, ScheduleError>> {
    let text = text.trim();
    if !text.starts_with('@') {
        return Some(checked_fields(text));
    }
    let nickname = text.to_ascii_lowercase();
    NICKNAMES
        .iter()
        .find(|(name, _)| *name == nickname)
        .map(|(_, expansion)| checked_fields(expansion))
}

/// Lets croner compile fields that were checked before.
pub(super) fn compile(text: &str, fields: &[String]) -> Result<Cron, ScheduleError> {
    CronParser::builder()
        .seconds(Seconds::Required)
        .year(Year::Disallowed)
        .build()
        .parse(&fields.join(" "))
        .map_err(|error| ScheduleError::Refused {
            text: text.to_owned(),
            problem: error.to_string(),
        })
}

fn parse_cron(text: &str) -> Result<Expression, ScheduleError> {
    let fields = checked_fields(text)?;
    let cron = compile(text, &fields)?;
    let wildcard = fields[1].starts_with('*') || fields[2].starts_with('*');
    Ok(Expression::Cron {
        times: LocalTimes::of(&cron),
        wildcard,
    })
}

fn checked_fields(text: &str) -> Result<Vec<String>, ScheduleError> {
    let values: Vec<&str> = text.split_whitespace().collect();
    if values[0].to_ascii_uppercase().contains("TZ=") {
        return Err(ScheduleError::ZoneInText { text: text.to_owned() });
    }
    let names: &[CronField] = match values.len() {
        5 => &CronField::FIVE,
        6 => &CronField::SIX,
        7 => return Err(ScheduleError::Years { text: text.to_owned() }),
        found => {
            return Err(ScheduleError::FieldCount {
                text: text.to_owned(),
                found,
            });
        }
    };
    let mut fields = Vec::with_capacity(CronField::SIX.len());
    if names.len() == CronField::FIVE.len() {
        fields.push("0".to_owned());
    }
    for (field, value) in names.iter().zip(values) {
        fields.push(check_field(text, *field, value)?);
    }
    Ok(fields)
}

fn check_field(text: &str, field: CronField, value: &str) -> Result<String, ScheduleError> {
    field.check(value).map_err(|problem| ScheduleError::Field {
        text: text.to_owned(),
        field,
        value: value.to_owned(),
        problem,
    })
}

fn parse_nickname(text: &str, nickname: &str, argument: &str) -> Result<Expression, ScheduleError> {
    let expansion = NICKNAMES
        .iter()
        .find(|(name, _)| *name == nickname)
        .map(|(_, expansion)| *expansion);
    match expansion {
        Some(expansion) if argument.is_empty() => parse_cron(expansion),
        Some(_) => Err(ScheduleError::NicknameWithMore {
            text: text.to_owned(),
            nickname: nickname.to_owned(),
        }),
        None => Err(ScheduleError::UnknownNickname {
            text: text.to_owned(),
            suggestion: nearest_nickname(nickname),
        }),
    }
}

fn parse_every(text: &str, argument: &str) -> Result<Expression, ScheduleError> {
    let interval = parse_duration(argument).map_err(|problem| ScheduleError::EveryDuration {
        text: text.to_owned(),
        problem,
    })?;
    if interval < Duration::from_secs(1) || interval.subsec_nanos() != 0 {
        return Err(ScheduleError::EveryResolution { text: text.to_owned() });
    }
    let seconds = i64::try_from(interval.as_secs()).expect("a duration is at most 100 years");
    Ok(Expression::Every(seconds))
}

fn parse_at(text: &str, argument: &str, zone: &TimeZone) -> Result<Expression, ScheduleError> {
    instant_of(argument, zone)
        .map(Expression::At)
        .ok_or_else(|| ScheduleError::At { text: text.to_owned() })
}

fn instant_of(argument: &str, zone: &TimeZone) -> Option<i64> {
    match At::parse(argument)? {
        At::Instant(instant) => Some(instant),
        At::Local(local) => zone::first_instant_reaching(zone, local),
    }
}

/// The argument of `@at`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum At {
    /// With `Z` or an offset: seconds since the Unix epoch.
    Instant(i64),
    /// Without: local seconds.
    Local(i64),
}

impl At {
    /// Reads `2027-01-01T09:00`, with seconds or without, with `Z` or an offset or without.
    pub(super) fn parse(argument: &str) -> Option<At> {
        if !has_plain_shape(argument) {
            return None;
        }
        if let Ok(instant) = argument.parse::<Timestamp>() {
            return (instant.subsec_nanosecond() == 0).then(|| At::Instant(instant.as_second()));
        }
        if argument[11..].contains(['+', '-']) {
            return None;
        }
        let local = argument
            .parse::<DateTime>()
            .ok()
            .filter(|local| local.subsec_nanosecond() == 0)?;
        let instant = TimeZone::UTC.to_timestamp(local).ok()?;
        Some(At::Local(instant.as_second()))
    }
}

/// Whether a text looks like `2027-01-01T09:00...`, without what jiff would read past: a zone in brackets, a leap second.
fn has_plain_shape(argument: &str) -> bool {
    let bytes = argument.as_bytes();
    argument.is_ascii()
        && bytes.len() >= "2027-01-01T09:00".len()
        && bytes[4] == b'-'
        && bytes[7] == b'-'
        && matches!(bytes[10], b'T' | b't' | b' ')
        && bytes[13] == b':'
        && !argument.contains('[')
        && !argument.contains(":60")
}

fn nearest_nickname(nickname: &str) -> Option<String> {
    const MAX_TYPING_ERRORS: usize = 3;
    let known = NICKNAMES.iter().map(|(name, _)| *name).chain([EVERY, AT]);
    known
        .map(|name| (strsim::damerau_levenshtein(nickname, name), name))
        .filter(|(distance, name)| *distance <= MAX_TYPING_ERRORS.min(name.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name.to_owned())
}

fn did_you_mean(suggestion: Option<&str>) -> String {
    suggestion.map_or_else(String::new, |name| format!(", did you mean `{name}`?"))
}

fn zone_advice(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(_) => did_you_mean(suggestion),
        None => ": write a name of the IANA database, such as `Europe/Berlin`, `America/New_York` or `UTC`".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        Schedule::parse(&[text], "Europe/Berlin")
    }

    fn error(text: &str) -> String {
        match parse(text) {
            Ok(_) => panic!("`{text}` should not be accepted"),
            Err(error) => error.to_string(),
        }
    }

    fn same(one: &str, other: &str) {
        let (one, other) = (parse(one).expect("well-formed"), parse(other).expect("well-formed"));
        assert_eq!(
            one.expressions,
            other.expressions,
            "{:?} {:?}",
            one.texts(),
            other.texts()
        );
    }

    #[test]
    fn different_spellings_mean_the_same() {
        same("@yearly", "0 0 1 1 *");
        same("@Annually", "@yearly");
        same("@monthly", "0 0 1 * *");
        same("@weekly", "0 0 * * 7");
        same("@midnight", "@daily");
        same("@hourly", "0 * * * *");
        same("  30\t2  * * * ", "0 30 2 * * *");
        same("0 9 ? jan-mar mon-fri", "0 9 * 1-3 1-5");
        same("0 9 * * FRI-SUN", "0 9 * * 5,6,0");
        same("0 9 * * 5L", "0 9 * * FRI#L");
        same("@every 90m", "@every 1h30m");
        same("@at 2027-01-01T09:00", "@at 2027-01-01T08:00:00Z");
        same("@at 2027-01-01 09:00", "@at 2027-01-01T09:00+01:00");
    }

    #[test]
    fn a_wrong_field_is_named_with_what_to_write() {
        assert_eq!(
            error("61 2 * * *"),
            "`61 2 * * *`: the minute field `61` is wrong: `61` is out of range: write 0 to 59"
        );
        assert!(error("2 30 * * *").contains("the hour field `30`"));
        assert!(error("60 * * * * *").contains("the second field `60`"));
        assert!(error("0 0 32 * *").contains("the day-of-month field `32`"));
        assert!(error("0 0 0 * *").contains("write 1 to 31"));
        assert!(error("0 0 * 13 *").contains("1 to 12, or JAN to DEC"));
        assert!(error("0 0 * * 8").contains("0 to 7 (0 and 7 are Sunday), or SUN to SAT"));
        assert!(error("0 0 * * MONDAY").contains("`MONDAY` is not understood"));
        assert!(error("MON * * * *").contains("the minute field `MON`"));
        assert!(error("0 0 * MON *").contains("the month field `MON`"));
        assert!(error("H * * * *").contains("the minute field `H`"));
        assert!(error("1,,2 * * * *").contains("nothing before or after a comma"));
        assert!(error("1,* * * * *").contains("cannot be part of a list"));
        assert!(error("? * * * *").contains("`?` is not understood"));
        assert!(error("0 22-2 * * *").contains("write `22-23,0-2`"));
        assert!(error("0 0 * * FRI-MON").contains("write `FRI-6,0-MON`"));
        assert!(error("0 0 * * SUN-SUN").contains("runs backwards"));
        assert!(error("5/15 * * * *").contains("write `5-59/15`"));
        assert!(error("/15 * * * *").contains("write `*/15`"));
        assert!(error("*/0 * * * *").contains("whole number from 1"));
        assert!(error("*/x * * * *").contains("whole number from 1"));
        assert!(error("*/90 * * * *").contains("only `0` is left"));
        assert!(error("0 0 L-3 * *").contains("stand alone"));
        assert!(error("0 0 L,LW * *").contains("as two schedules"));
        assert!(error("0 0 1-5W * *").contains("stand alone"));
        assert!(error("0 0 * * L").contains("write `5L`"));
        assert!(error("0 0 * * 5#6").contains("`#1` to `#5`"));
        assert!(error("0 0 1 * +*").contains("`+` needs a day"));
        assert!(error("+5 0 1 * *").contains("the minute field `+5`"));
    }

    #[test]
    fn a_text_of_the_wrong_shape_is_told_the_right_one() {
        assert!(error("* * * *").contains("has 4 fields: write 5"));
        assert!(error("0 0 0 1 1 * 2027").contains("years are not supported"));
        assert!(error("0 0 0 1 1 * 2027 x").contains("has 8 fields"));
        assert!(error("TZ=UTC 0 0 * * *").contains("under `timezone`"));
        assert!(error("CRON_TZ=UTC 0 0 * * *").contains("under `timezone`"));
        assert!(error("  ").contains("the schedule is empty"));
        assert!(error("@reboot").contains("use `@every`"));
        assert!(error("@dayly").contains("did you mean `@daily`?"));
        assert!(error("@fortnightly").contains("`@fortnightly` is unknown: use"));
        assert!(error("@daily 02:30").contains("something after `@daily`"));
        assert!(error("@every").contains("the duration is empty"));
        assert!(error("@every 10").contains("`10` has no unit"));
        assert!(error("@every 500ms").contains("whole seconds"));
        assert!(error("@every 1s500ms").contains("whole seconds"));
        assert!(error("@every 0s").contains("whole seconds"));
        let nothing: [&str; 0] = [];
        assert_eq!(
            Schedule::parse(&nothing, "UTC").expect_err("no texts"),
            ScheduleError::NoTexts
        );
    }

    #[test]
    fn an_instant_that_could_be_misread_is_refused() {
        for text in [
            "@at",
            "@at tomorrow",
            "@at 2027-01-01",
            "@at 09:00",
            "@at 2027-02-30T09:00",
            "@at 2027-01-01T25:00",
            "@at 2027-01-01T09:00:60",
            "@at 2027-01-01T09:00:00.5",
            "@at 2027-01-01T09:00[Asia/Tokyo]",
            "@at 2027-01-01T09:00+01:00[Asia/Tokyo]",
            "@at 2027-01-01T09:00 CET",
            "@at 2027-01-01T09:00+99:00",
        ] {
            assert!(error(text).contains("is not an instant"), "{text}");
        }
    }

    #[test]
    fn a_local_instant_follows_the_rule_for_fixed_times() {
        same("@at 2027-03-28T02:30", "@at 2027-03-28T03:00");
        same("@at 2027-10-31T02:30", "@at 2027-10-31T00:30Z");
    }
}
