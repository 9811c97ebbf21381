//! Amounts of bytes as people write them: `512KiB`, `1.5GiB`, `64MB`.
//!
//! Owns the text form of every size in headers and settings. What a size bounds (memory, output) is the business of whoever
//! asked for it.

use thiserror::Error;

/// The units, smallest first; bytes in each.
const UNITS: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// The largest size that is accepted (1 EiB): it fits wherever the kernel, Postgres or JSON take a signed number.
const MAX_BYTES: u64 = 1 << 60;

/// Digits behind a decimal point that are read; more would be finer than a byte of the largest unit.
const MAX_DECIMALS: usize = 9;

/// Why a text is not a size. The messages say what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SizeError {
    /// Nothing but white space.
    #[error("the size is empty: write a number with its unit, such as `512KiB` or `2GiB`")]
    Empty,
    /// A number that nothing follows.
    #[error("`{text}` has no unit: write `{text}B`, `{text}KiB`, `{text}MiB` or `{text}GiB`")]
    NoUnit {
        /// The whole text.
        text: String,
    },
    /// A leading minus sign.
    #[error("`{text}` is negative: a size is zero or more")]
    Negative {
        /// The whole text.
        text: String,
    },
    /// What stands before the unit is not a number.
    #[error(
        "`{text}` has no number before its unit: write whole numbers or one decimal point, such as `512MiB` or `1.5GiB`"
    )]
    NoNumber {
        /// The whole text.
        text: String,
    },
    /// A unit that is not known.
    #[error(
        "`{text}` has the unknown unit `{unit}`: use `B`, `KiB`, `MiB`, `GiB` (powers of 1024), or `KB`, `MB`, `GB` (powers of 1000)"
    )]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit that is not known.
        unit: String,
    },
    /// A fraction that is no whole number of bytes.
    #[error("`{text}` is not a whole number of bytes: write it in a smaller unit")]
    Fraction {
        /// The whole text.
        text: String,
    },
    /// More than the largest size accepted.
    #[error("`{text}` is too large: at most 1073741824GiB")]
    Overflow {
        /// The whole text.
        text: String,
    },
}

/// Reads a size such as `512KiB`, `2 MiB`, `1.5GiB` or `64MB`, in bytes.
///
/// # Errors
/// Says what is wrong with the text: no unit, a negative number, an unknown unit, a part of a byte, more than 1 EiB.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let owned = || text.to_owned();
    if text.is_empty() {
        return Err(SizeError::Empty);
    }
    if text.starts_with(['-', '\u{2212}']) {
        return Err(SizeError::Negative { text: owned() });
    }
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || decimals.is_empty() || decimals.contains('.') {
        return Err(SizeError::NoNumber { text: owned() });
    }
    let unit = unit.trim_start();
    if unit.is_empty() {
        return Err(SizeError::NoUnit { text: owned() });
    }
    let known = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, unit_bytes) = known.ok_or_else(|| SizeError::UnknownUnit {
        text: owned(),
        unit: unit.to_owned(),
    })?;
    in_bytes(text, whole, decimals, *unit_bytes)
}

fn in_bytes(text: &str, whole: &str, decimals: &str, unit_bytes: u64) -> Result<u64, SizeError> {
    let overflow = || SizeError::Overflow { text: text.to_owned() };
    let decimals = decimals.trim_end_matches('0');
    if decimals.len() > MAX_DECIMALS {
        return Err(SizeError::Fraction { text: text.to_owned() });
    }
    let scale = 10_u64.pow(u32::try_from(decimals.len()).unwrap_or(0));
    let whole: u64 = whole.parse().map_err(|_| overflow())?;
    let decimals: u64 = decimals.parse().unwrap_or(0);
    let of_decimals = u128::from(decimals) * u128::from(unit_bytes);
    if of_decimals % u128::from(scale) != 0 {
        return Err(SizeError::Fraction { text: text.to_owned() });
    }
    let bytes = u128::from(whole) * u128::from(unit_bytes) + of_decimals / u128::from(scale);
    u64::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= MAX_BYTES)
        .ok_or_else(overflow)
}

/// A size that people compare by looking, to one decimal: `3.9MiB`.
pub fn round_size(bytes: u64) -> String {
    let (name, unit) = UNITS[..4]
        .iter()
        .rev()
        .find(|(_, unit)| bytes >= *unit)
        .unwrap_or(&UNITS[0]);
    if *unit == 1 {
        return format!("{bytes}B");
    }
    // Tenths, rounded half up, in whole numbers.
    let tenths = (u128::from(bytes) * 10 + u128::from(*unit) / 2) / u128::from(*unit);
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

/// Writes a size as [`parse_size`] reads it, in the largest unit of 1024 that leaves no remainder: `512KiB`, `1536MiB`, `0B`.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    let (unit, unit_bytes) = UNITS[..4]
        .iter()
        .rev()
        .find(|(_, unit_bytes)| bytes >= *unit_bytes && bytes.is_multiple_of(*unit_bytes))
        .unwrap_or(&UNITS[0]);
    format!("{}{unit}", bytes / unit_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_as_written() {
        assert_eq!(parse_size("0B"), Ok(0));
        assert_eq!(parse_size("512KiB"), Ok(524_288));
        assert_eq!(parse_size(" 2 MiB "), Ok(2_097_152));
        assert_eq!(parse_size("1.5GiB"), Ok(1_610_612_736));
        assert_eq!(parse_size("1.50KB"), Ok(1_500));
        assert_eq!(parse_size("64MB"), Ok(64_000_000));
        assert_eq!(parse_size("3GB"), Ok(3_000_000_000));
        assert_eq!(parse_size("1073741824GiB"), Ok(MAX_BYTES));
    }

    #[test]
    fn a_text_that_is_no_size_is_told_what_to_write() {
        let message = |text| parse_size(text).expect_err("not a size").to_string();
        assert_eq!(
            message("512"),
            "`512` has no unit: write `512B`, `512KiB`, `512MiB` or `512GiB`"
        );
        assert_eq!(message("-1MiB"), "`-1MiB` is negative: a size is zero or more");
        assert!(message(" ").starts_with("the size is empty"));
        assert!(message("MiB").contains("no number before its unit"));
        assert!(message("1.2.3MiB").contains("no number before its unit"));
        assert!(message(".5MiB").contains("no number before its unit"));
        assert!(message("1,5MiB").contains("unknown unit `,5MiB`"));
        assert!(message("5M").contains("unknown unit `M`: use `B`, `KiB`"));
        assert!(message("5mib").contains("unknown unit `mib`"));
        assert!(message("1.5B").contains("not a whole number of bytes"));
        assert!(message("1.0000000001GiB").contains("not a whole number of bytes"));
        assert!(message("1073741825GiB").contains("too large"));
        assert!(message("99999999999999999999999B").contains("too large"));
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit_that_fits() {
        assert_eq!(format_size(0), "0B");
        assert_eq!(format_size(1_000), "1000B");
        assert_eq!(format_size(1_536), "1536B");
        assert_eq!(format_size(524_288), "512KiB");
        assert_eq!(format_size(1_610_612_736), "1536MiB");
        assert_eq!(format_size(2 << 30), "2GiB");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in 0..=MAX_BYTES) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC*") {
            let _ = parse_size(&text);
        }
    }
}
