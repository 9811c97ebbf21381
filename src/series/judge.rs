//! What is odd about a point: an expectation that it breaks, else what its series shows by itself.
//!
//! A broken expectation is a fact that people are told of. A hint is a guess: it marks the point, and nobody is told.
//! Numbers are compared as doubles here; what is stored keeps every digit.

use super::observe::Kind;
use crate::script::{Expectation, MaxChange, ValueType};

/// A point that counts: it is not rejected, and if it breaks an expectation, somebody has accepted it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Past {
    /// What stood there.
    pub kind: Kind,
    /// The number; none for a gap.
    pub number: Option<f64>,
}

/// What is to be said of a point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judgement {
    /// What is odd about it; none: nothing.
    pub suspect: Option<String>,
    /// Whether a declared expectation is broken.
    pub breach: bool,
}

/// So many points are needed before one can be an outlier among them.
const FEWEST_FOR_OUTLIERS: usize = 12;

/// An outlier is so many deviations (as of a normal distribution) away from the median.
const OUTLIER_DEVIATIONS: f64 = 5.0;

/// And further away than the furthest one seen, by this factor: a peak of every week is no outlier.
const BEYOND_SEEN: f64 = 1.2;

/// From a median absolute deviation to a standard deviation, of a normal distribution.
const MEDIAN_TO_STANDARD: f64 = 1.4826;

/// The same from a mean absolute deviation, for series of which more than half is one number.
const MEAN_TO_STANDARD: f64 = 1.2533;

/// So many equal points in a row are a streak, if the series has so many others before it.
const STREAK: usize = 12;
const FEWEST_BEFORE_STREAK: usize = 24;

/// And a streak is odd only if none before it had a quarter of its length.
const STREAK_FACTOR: usize = 4;

/// So many points of one kind make another kind odd.
const FEWEST_FOR_KINDS: usize = 3;

/// Judges a point by what is expected of its series and by the points before it, newest first.
pub fn judge(kind: Kind, number: Option<&str>, expectation: Option<&Expectation>, past: &[Past]) -> Judgement {
    let value = number.and_then(|number| number.parse::<f64>().ok());
    if let Some(expectation) = expectation.filter(|expectation| expectation.bounds_points()) {
        let broken = broken(kind, number, value, expectation, past);
        return Judgement {
            breach: !broken.is_empty(),
            suspect: (!broken.is_empty()).then(|| broken.join("; ")),
        };
    }
    Judgement {
        suspect: hint(kind, value, past),
        breach: false,
    }
}

/// Every expectation that a point breaks, in words.
fn broken(
    kind: Kind,
    number: Option<&str>,
    value: Option<f64>,
    expectation: &Expectation,
    past: &[Past],
) -> Vec<String> {
    let mut broken = Vec::new();
    let shown = shorten(number.unwrap_or_default());
    let wanted = match expectation.value_type {
        Some(ValueType::Boolean) if kind != Kind::Boolean => Some("false or true"),
        Some(ValueType::Number | ValueType::Integer) if kind != Kind::Number => Some("a number"),
        Some(ValueType::Integer) if value.is_some_and(|value| value.is_finite() && value.fract() != 0.0) => {
            broken.push(format!("{shown} is no whole number"));
            None
        }
        _ => None,
    };
    if let Some(wanted) = wanted {
        broken.push(format!("{} where {wanted} is expected", in_words(kind)));
    }
    let Some(value) = value else { return broken };
    let unit = expectation
        .unit
        .as_ref()
        .map(|unit| format!(" {unit}"))
        .unwrap_or_default();
    if let Some(min) = expectation.min.filter(|min| value < *min) {
        broken.push(format!("{shown}{unit} is below the least expected, {min}{unit}"));
    }
    if let Some(max) = expectation.max.filter(|max| value > *max) {
        broken.push(format!("{shown}{unit} is above the most expected, {max}{unit}"));
    }
    let before = past.iter().find_map(|past| past.number);
    if let (Some(limit), Some(before)) = (expectation.max_change, before) {
        let change = (value - before).abs();
        let (is_too_much, change) = match limit {
            MaxChange::By(limit) => (change > limit, format!("{change}{unit}")),
            // Of nothing there is no percentage.
            MaxChange::Percent(limit) => {
                let percent = change / before.abs() * 100.0;
                (before != 0.0 && percent > limit, format!("{}%", rounded(percent)))
            }
        };
        if is_too_much {
            broken.push(format!(
                "{shown}{unit} is a change of {change} from {before}{unit}, more than the {limit} expected"
            ));
        }
    }
    broken
}

/// What a series of which nothing is expected shows by itself.
fn hint(kind: Kind, value: Option<f64>, past: &[Past]) -> Option<String> {
    kind_hint(kind, past).or_else(|| {
        let value = value.filter(|value| value.is_finite() && kind == Kind::Number)?;
        let numbers: Vec<f64> = past
            .iter()
            .filter(|past| past.kind == Kind::Number)
            .filter_map(|past| past.number.filter(|number| number.is_finite()))
            .collect();
        outlier_hint(value, &numbers).or_else(|| streak_hint(value, &numbers))
    })
}

fn kind_hint(kind: Kind, past: &[Past]) -> Option<String> {
    if !kind.is_number() {
        let numbers = past.iter().filter(|past| past.kind.is_number()).count();
        return (numbers > 0).then(|| format!("{} where there were numbers", in_words(kind)));
    }
    let known: Vec<Kind> = past
        .iter()
        .map(|past| past.kind)
        .filter(|kind| kind.is_number())
        .collect();
    let is_new = known.len() >= FEWEST_FOR_KINDS && known.iter().all(|known| *known != kind);
    is_new.then(|| match kind {
        Kind::Boolean => "false or true where there were numbers".to_owned(),
        _ => "a number where there was false or true".to_owned(),
    })
}

fn in_words(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "a number",
        Kind::Boolean => "false or true",
        Kind::Null => "null",
        Kind::Text => "text",
        Kind::List => "a list",
        Kind::Object => "an object",
    }
}

/// Far from the median, by the deviation of the others from it, and further than any of them.
fn outlier_hint(value: f64, numbers: &[f64]) -> Option<String> {
    if numbers.len() < FEWEST_FOR_OUTLIERS {
        return None;
    }
    let middle = median(numbers.to_vec());
    let deviations: Vec<f64> = numbers.iter().map(|number| (number - middle).abs()).collect();
    let furthest = deviations.iter().copied().fold(0.0, f64::max);
    let mean = deviations
        .iter()
        .map(|deviation| deviation / deviations.len() as f64)
        .sum::<f64>();
    let scale = match median(deviations) {
        0.0 => mean * MEAN_TO_STANDARD,
        deviation => deviation * MEDIAN_TO_STANDARD,
    };
    let distance = (value - middle).abs();
    // A series that never moved says nothing about how far it may.
    let is_outlier = scale > 0.0 && distance > scale * OUTLIER_DEVIATIONS && distance > furthest * BEYOND_SEEN;
    is_outlier.then(|| {
        format!(
            "far from the last {} numbers: their median is {}, and they deviate by about {}",
            numbers.len(),
            rounded(middle),
            rounded(scale)
        )
    })
}

/// The same number for long, in a series that used to move.
fn streak_hint(value: f64, numbers: &[f64]) -> Option<String> {
    let before = numbers.iter().take_while(|number| **number == value).count();
    let (streak, others) = (before + 1, &numbers[before..]);
    if streak < STREAK || others.len() < FEWEST_BEFORE_STREAK {
        return None;
    }
    let longest = others
        .chunk_by(|one, next| one == next)
        .map(<[f64]>::len)
        .max()
        .unwrap_or(0);
    (longest * STREAK_FACTOR <= streak).then(|| format!("unchanged for {streak} points, and it used to move"))
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let middle = numbers.len() / 2;
    match numbers.len() % 2 {
        0 => numbers[middle - 1] / 2.0 + numbers[middle] / 2.0,
        _ => numbers[middle],
    }
}

/// To four digits, as people read numbers.
fn rounded(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return number.to_string();
    }
    let digits = 3 - number.abs().log10().floor() as i32;
    let scale = 10f64.powi(digits.clamp(-300, 300));
    ((number * scale).round() / scale).to_string()
}

/// A number as a sentence can hold it.
fn shorten(number: &str) -> String {
    match number.len() {
        0..=40 => number.to_owned(),
        _ => format!("{}...", number.chars().take(40).collect::<String>()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn past(numbers: impl IntoIterator<Item = f64>) -> Vec<Past> {
        let point = |number| Past {
            kind: Kind::Number,
            number: Some(number),
        };
        numbers.into_iter().map(point).collect()
    }

    fn hint_of(number: &str, past: &[Past]) -> Option<String> {
        let judgement = judge(Kind::Number, Some(number), None, past);
        assert!(!judgement.breach, "a hint is never a breach");
        judgement.suspect
    }

    fn breach_of(number: &str, expectation: Expectation, past: &[Past]) -> Option<String> {
        let judgement = judge(Kind::Number, Some(number), Some(&expectation), past);
        assert_eq!(judgement.breach, judgement.suspect.is_some());
        judgement.suspect
    }

    #[test]
    fn bounds_hold_and_their_ends_belong_to_them() {
        let expectation = Expectation {
            unit: Some("EUR".to_owned()),
            min: Some(0.0),
            max: Some(5000.0),
            ..Expectation::default()
        };
        for number in ["0", "-0", "5000", "5000.000"] {
            assert_eq!(breach_of(number, expectation.clone(), &[]), None);
        }
        let message = |number| breach_of(number, expectation.clone(), &[]).unwrap_or_default();
        assert_eq!(message("5001"), "5001 EUR is above the most expected, 5000 EUR");
        assert_eq!(message("-0.5"), "-0.5 EUR is below the least expected, 0 EUR");
        assert!(message("1e400").contains("above"));
    }

    #[test]
    fn a_change_is_measured_from_the_newest_point_that_counts() {
        let limit = |max_change| Expectation {
            max_change: Some(max_change),
            ..Expectation::default()
        };
        let before = past([100.0, 1.0]);
        assert_eq!(breach_of("130", limit(MaxChange::Percent(30.0)), &before), None);
        assert_eq!(
            breach_of("131", limit(MaxChange::Percent(30.0)), &before).as_deref(),
            Some("131 is a change of 31% from 100, more than the 30% expected")
        );
        assert_eq!(breach_of("-90", limit(MaxChange::By(200.0)), &before), None);
        assert!(breach_of("-101", limit(MaxChange::By(200.0)), &before).is_some());
        assert_eq!(breach_of("5", limit(MaxChange::Percent(1.0)), &past([0.0])), None);
        assert_eq!(breach_of("5", limit(MaxChange::Percent(1.0)), &[]), None);
        let gap = Past {
            kind: Kind::Null,
            number: None,
        };
        let behind_a_gap = [vec![gap], before].concat();
        assert!(breach_of("131", limit(MaxChange::Percent(30.0)), &behind_a_gap).is_some());
    }

    #[test]
    fn a_type_is_a_promise() {
        let of_type = |value_type| Expectation {
            value_type: Some(value_type),
            ..Expectation::default()
        };
        let said = |kind, number, value_type| judge(kind, number, Some(&of_type(value_type)), &[]);
        assert_eq!(said(Kind::Number, Some("1.5"), ValueType::Number), Judgement::default());
        assert!(said(Kind::Number, Some("1.5"), ValueType::Integer).breach);
        assert_eq!(
            said(Kind::Number, Some("1.0"), ValueType::Integer),
            Judgement::default()
        );
        assert!(said(Kind::Boolean, Some("1"), ValueType::Number).breach);
        assert_eq!(
            said(Kind::Null, None, ValueType::Number).suspect.as_deref(),
            Some("null where a number is expected")
        );
    }

    #[test]
    fn a_series_that_only_has_a_unit_still_gets_hints() {
        let expectation = Expectation {
            unit: Some("EUR".to_owned()),
            ..Expectation::default()
        };
        let judgement = judge(Kind::Null, None, Some(&expectation), &past([1.0]));
        assert_eq!(judgement.suspect.as_deref(), Some("null where there were numbers"));
        assert!(!judgement.breach);
    }

    #[test]
    fn an_outlier_is_far_from_the_median_and_from_all_that_was_seen() {
        let numbers: Vec<f64> = (0..20).map(|number| 100.0 + f64::from(number % 5)).collect();
        assert_eq!(hint_of("103", &past(numbers.clone())), None);
        assert!(
            hint_of("500", &past(numbers.clone()))
                .is_some_and(|hint| hint.starts_with("far from the last 20 numbers: their median is 102"))
        );
        assert_eq!(
            hint_of("500", &past(numbers[..11].to_vec())),
            None,
            "too few to judge by"
        );
        let weekly: Vec<f64> = (0..42)
            .map(|day| {
                if day % 7 == 0 {
                    900.0
                } else {
                    100.0 + f64::from(day % 3)
                }
            })
            .collect();
        assert_eq!(hint_of("910", &past(weekly)), None, "a peak that was seen before");
    }

    #[test]
    fn a_series_that_never_moved_has_no_outliers_and_one_that_rarely_does_has() {
        assert_eq!(hint_of("7", &past(vec![5.0; 50])), None);
        let rarely = [vec![5.0; 40], vec![6.0, 4.0, 6.0]].concat();
        assert!(hint_of("90", &past(rarely)).is_some());
    }

    #[test]
    fn a_trend_is_no_outlier() {
        let rising: Vec<f64> = (0..50).rev().map(f64::from).collect();
        assert_eq!(hint_of("50", &past(rising)), None);
    }

    #[test]
    fn a_number_that_stands_still_is_odd_only_where_it_used_to_move() {
        let moving = || (0..38).map(|number| f64::from(number) * 1.5);
        let still = |count: usize| past(std::iter::repeat_n(60.0, count).chain(moving()));
        assert_eq!(hint_of("60", &still(10)), None);
        assert_eq!(
            hint_of("60", &still(11)).as_deref(),
            Some("unchanged for 12 points, and it used to move")
        );
        assert_eq!(hint_of("5", &past(vec![5.0; 50])), None, "it never moved");
        let steps = (0..50).map(|number| f64::from(number / 12));
        assert_eq!(hint_of("0", &past(steps)), None, "it always stood still for long");
    }

    #[test]
    fn another_kind_of_value_is_odd() {
        let numbers = past([1.0, 2.0, 3.0]);
        let said = |kind, number, past: &[Past]| judge(kind, number, None, past).suspect;
        assert_eq!(
            said(Kind::Boolean, Some("1"), &numbers).as_deref(),
            Some("false or true where there were numbers")
        );
        assert_eq!(said(Kind::Boolean, Some("1"), &numbers[..2]), None);
        assert_eq!(
            said(Kind::Text, None, &numbers).as_deref(),
            Some("text where there were numbers")
        );
        let gap = Past {
            kind: Kind::Text,
            number: None,
        };
        assert_eq!(
            said(Kind::Text, None, &[gap; 50]),
            None,
            "there have been none for long"
        );
    }

    proptest! {
        #[test]
        fn any_history_is_judged(numbers in proptest::collection::vec(any::<f64>(), 0..60), number in any::<f64>()) {
            judge(Kind::Number, Some(&number.to_string()), None, &past(numbers));
        }
    }
}
