//! Numbers as text, digit by digit.

/// The text of a number as Postgres reads it, if a text is one: decimal digits with a sign, a point and an exponent, as JSON,
/// spreadsheets and Python write them. `true` and `false` are 1 and 0.
pub fn parse_number(text: &str) -> Option<&str> {
    match text {
        "true" | "True" | "TRUE" => return Some("1"),
        "false" | "False" | "FALSE" => return Some("0"),
        _ => {}
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = |text: &str| digits(text.strip_prefix(['+', '-']).unwrap_or(text));
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let mantissa = mantissa.strip_prefix(['+', '-']).unwrap_or(mantissa);
    let is_mantissa = match mantissa.split_once('.') {
        Some(("", fraction)) => digits(fraction),
        Some((whole, "")) => digits(whole),
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(mantissa),
    };
    (is_mantissa && exponent.is_none_or(unsigned)).then_some(text)
}

/// Whether Postgres can keep a number: `numeric` has 131,072 digits before the point and 16,383 after it.
pub fn is_storable(number: &str) -> bool {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent = exponent.parse::<i64>().unwrap_or(i64::MAX).unsigned_abs();
    exponent.saturating_add(mantissa.len() as u64) <= MOST_DIGITS
}

/// Well within what Postgres takes on either side of the point.
const MOST_DIGITS: u64 = 16_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_what_only_looks_like_one() {
        for text in [
            "0",
            "-1",
            "+1.5",
            "1.",
            ".5",
            "1e400",
            "-2.50E-3",
            "12345678901234567890123",
        ] {
            assert_eq!(parse_number(text), Some(text));
        }
        assert!(
            is_storable("1e400")
                && is_storable("-1.5E-15000")
                && !is_storable("1e16000")
                && !is_storable("1e99999999999999999999")
        );
        assert_eq!(parse_number("true"), Some("1"));
        assert_eq!(parse_number("FALSE"), Some("0"));
        for text in [
            "", "-", ".", "e5", "1e", "1e+", "NaN", "inf", "1,5", "1_000", " 1", "0x10", "--1", "1.2.3", "1e5.5",
        ] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
