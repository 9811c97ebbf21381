//! Durations as people write them: `5m`, `1h30m`, `90s`, `2d`, `250ms`.
//!
//! Owns the text form of every duration in headers, settings and the CLI. What a duration means (a timeout, a delay, an
//! interval) is the business of whoever asked for it.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that is accepted, in days (100 years): more is a slip of the finger, and the sum of any instant
/// of our time and a duration below it stays representable.
const MAX_DAYS: u64 = 36_500;

const MILLISECONDS_PER_SECOND: u64 = 1_000;

/// The units, largest first: the order in which they must be written. Milliseconds in each.
const UNITS: [(&str, u64); 6] = [
    ("w", 7 * 86_400 * MILLISECONDS_PER_SECOND),
    ("d", 86_400 * MILLISECONDS_PER_SECOND),
    ("h", 3_600 * MILLISECONDS_PER_SECOND),
    ("m", 60 * MILLISECONDS_PER_SECOND),
    ("s", MILLISECONDS_PER_SECOND),
    ("ms", 1),
];

/// Why a text is not a duration. The messages say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// Nothing but white space.
    #[error("the duration is empty: write a number with its unit, such as `90s`, `5m` or `1h30m`")]
    Empty,
    /// A number that nothing follows.
    #[error("`{text}` has no unit: write `{number}s`, `{number}m` or `{number}h`")]
    NoUnit {
        /// The whole text.
        text: String,
        /// The number without a unit.
        number: String,
    },
    /// A leading minus sign.
    #[error("`{text}` is negative: a duration is zero or more")]
    Negative {
        /// The whole text.
        text: String,
    },
    /// A number with a decimal point or comma.
    #[error("`{text}` has a fraction: combine whole units, such as `1h30m` for one and a half hours")]
    Fraction {
        /// The whole text.
        text: String,
    },
    /// A unit where a number should stand.
    #[error("`{text}` has no number before `{unit}`: write a number with its unit, such as `90s`, `5m` or `1h30m`")]
    NoNumber {
        /// The whole text.
        text: String,
        /// What stands where the number should.
        unit: String,
    },
    /// A unit other than `w`, `d`, `h`, `m`, `s` and `ms`.
    #[error("`{text}` has the unknown unit `{unit}`: use `w`, `d`, `h`, `m` (minutes), `s` or `ms`")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit that is not known.
        unit: String,
    },
    /// Units twice, or smaller before larger ones.
    #[error("`{text}` has its units out of order: write every unit once, the largest first, such as `1h30m`")]
    UnitOrder {
        /// The whole text.
        text: String,
    },
    /// More than the longest duration accepted.
    #[error("`{text}` is too long: at most {MAX_DAYS}d (100 years)")]
    Overflow {
        /// The whole text.
        text: String,
    },
}

/// Reads a duration such as `5m`, `1h30m`, `90s`, `2d` or `250ms`: whole numbers, every unit once, the largest first.
///
/// # Errors
/// Says what is wrong with the text: no unit, a negative number, a fraction, an unknown unit, more than 100 years.
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let text = text.trim();
    reject_shape(text)?;
    let mut total: u64 = 0;
    let mut smallest_so_far = None;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, unit, tail) = split_component(text, rest)?;
        let position = unit_position(text, unit)?;
        if smallest_so_far.is_some_and(|smallest| position <= smallest) {
            return Err(DurationError::UnitOrder { text: text.to_owned() });
        }
        smallest_so_far = Some(position);
        total = add_component(total, number, UNITS[position].1)
            .ok_or_else(|| DurationError::Overflow { text: text.to_owned() })?;
        rest = tail;
    }
    Ok(Duration::from_millis(total))
}

/// Writes a duration as [`parse_duration`] reads it, in days and smaller: `1h30m`, `2d`, `250ms`, `0s`. What is smaller
/// than a millisecond is cut off.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, milliseconds) in UNITS.iter().skip(1) {
        let milliseconds = u128::from(*milliseconds);
        if rest >= milliseconds {
            text += &(rest / milliseconds).to_string();
            text += unit;
            rest %= milliseconds;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn reject_shape(text: &str) -> Result<(), DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    if text.starts_with(['-', '\u{2212}']) {
        return Err(DurationError::Negative { text: text.to_owned() });
    }
    if text.contains(['.', ',']) {
        return Err(DurationError::Fraction { text: text.to_owned() });
    }
    Ok(())
}

/// Splits `1h 30m` into `1`, `h` and `30m`.
fn split_component<'a>(text: &str, rest: &'a str) -> Result<(&'a str, &'a str, &'a str), DurationError> {
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, after_number) = rest.split_at(digits);
    let after_number = after_number.trim_start();
    let letters = after_number
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
        .unwrap_or(after_number.len());
    let (unit, tail) = after_number.split_at(letters);
    if number.is_empty() {
        return Err(DurationError::NoNumber {
            text: text.to_owned(),
            unit: unit.to_owned(),
        });
    }
    if unit.is_empty() {
        return Err(DurationError::NoUnit {
            text: text.to_owned(),
            number: number.to_owned(),
        });
    }
    Ok((number, unit, tail.trim_start()))
}

fn unit_position(text: &str, unit: &str) -> Result<usize, DurationError> {
    UNITS
        .iter()
        .position(|(name, _)| *name == unit)
        .ok_or_else(|| DurationError::UnknownUnit {
            text: text.to_owned(),
            unit: unit.to_owned(),
        })
}

fn add_component(total: u64, number: &str, unit_milliseconds: u64) -> Option<u64> {
    let number: u64 = number.parse().ok()?;
    let sum = number.checked_mul(unit_milliseconds)?.checked_add(total)?;
    (sum <= MAX_DAYS * 86_400 * MILLISECONDS_PER_SECOND).then_some(sum)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_written() {
        let seconds = |text| parse_duration(text).map(|duration| duration.as_secs());
        assert_eq!(seconds("5m"), Ok(300));
        assert_eq!(seconds("1h30m"), Ok(5_400));
        assert_eq!(seconds(" 1h 30m "), Ok(5_400));
        assert_eq!(seconds("90s"), Ok(90));
        assert_eq!(seconds("2d"), Ok(172_800));
        assert_eq!(seconds("1w"), Ok(604_800));
        assert_eq!(seconds("0s"), Ok(0));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1s250ms"), Ok(Duration::from_millis(1_250)));
    }

    #[test]
    fn a_text_that_is_no_duration_is_told_what_to_write() {
        let message = |text| parse_duration(text).expect_err("not a duration").to_string();
        assert_eq!(message("5"), "`5` has no unit: write `5s`, `5m` or `5h`");
        assert_eq!(message("1h30"), "`1h30` has no unit: write `30s`, `30m` or `30h`");
        assert_eq!(message("-5m"), "`-5m` is negative: a duration is zero or more");
        assert!(message("").starts_with("the duration is empty"));
        assert!(message("  ").starts_with("the duration is empty"));
        assert!(message("1.5h").contains("combine whole units"));
        assert!(message("5min").contains("unknown unit `min`"));
        assert!(message("5M").contains("unknown unit `M`"));
        assert!(message("h").contains("no number before `h`"));
        assert!(message("30m1h").contains("out of order"));
        assert!(message("1h1h").contains("out of order"));
        assert!(message("101y").contains("unknown unit `y`"));
        assert!(message("36501d").contains("too long"));
        assert!(message("99999999999999999999999s").contains("too long"));
    }

    #[test]
    fn durations_are_written_in_the_largest_units() {
        let text = |milliseconds| format_duration(Duration::from_millis(milliseconds));
        assert_eq!(text(0), "0s");
        assert_eq!(text(250), "250ms");
        assert_eq!(text(90_000), "1m30s");
        assert_eq!(text(5_400_000), "1h30m");
        assert_eq!(text(14 * 86_400_000), "14d");
        assert_eq!(format_duration(Duration::from_micros(10)), "0s");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(milliseconds in 0..MAX_DAYS * 86_400_000) {
            let duration = Duration::from_millis(milliseconds);
            prop_assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = parse_duration(&text);
        }
    }
}
