//! What a task expects of the numbers that it returns, as its header says it and as the database keeps it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is expected of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expectation {
    /// The series; `value` is a number that is returned alone.
    pub series: String,
    /// What the numbers count, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What stands there.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub value_type: Option<ValueType>,
    /// The least number; finite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The largest number; finite, at least `min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The largest change from one point to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_change: Option<MaxChange>,
    /// Within this time a new number comes.
    #[serde(
        rename = "stale_after_seconds",
        default,
        with = "whole_seconds",
        skip_serializing_if = "Option::is_none"
    )]
    pub stale_after: Option<Duration>,
}

impl Default for Expectation {
    fn default() -> Self {
        Self {
            series: "value".to_owned(),
            unit: None,
            value_type: None,
            min: None,
            max: None,
            max_change: None,
            stale_after: None,
        }
    }
}

impl Expectation {
    /// Whether a point can break it: hints are for series of which nothing is said.
    pub fn bounds_points(&self) -> bool {
        self.value_type.is_some() || self.min.is_some() || self.max.is_some() || self.max_change.is_some()
    }
}

/// What kind of number stands there.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueType {
    /// Any number.
    Number,
    /// A number without a fraction.
    Integer,
    /// `false` or `true`.
    Boolean,
}

/// The largest change from one point to the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxChange {
    /// By so much; more than zero.
    By(f64),
    /// By so many percent of the point before; more than zero.
    Percent(f64),
}

/// A text that is no percentage.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{0}` is no percentage above 0, such as `30%`")]
pub struct PercentageError(pub String);

impl FromStr for MaxChange {
    type Err = PercentageError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        match number.filter(|number: &f64| number.is_finite() && *number > 0.0) {
            Some(number) => Ok(MaxChange::Percent(number)),
            None => Err(PercentageError(text.to_owned())),
        }
    }
}

impl fmt::Display for MaxChange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MaxChange::By(number) => write!(formatter, "{number}"),
            MaxChange::Percent(number) => write!(formatter, "{number}%"),
        }
    }
}

/// A number, or text with `%`.
impl Serialize for MaxChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            MaxChange::By(number) => serializer.serialize_f64(*number),
            MaxChange::Percent(_) => serializer.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for MaxChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Number(number) => Ok(MaxChange::By(number)),
            Written::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

/// A duration as a number of seconds.
mod whole_seconds {
    use super::*;

    pub(super) fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => super::super::header::seconds(duration, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<f64>::deserialize(deserializer)?;
        seconds
            .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(serde::de::Error::custom))
            .transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expectation_comes_back_from_the_database_as_it_went() {
        let expectation = Expectation {
            series: "price".to_owned(),
            unit: Some("EUR".to_owned()),
            value_type: Some(ValueType::Integer),
            min: Some(-0.5),
            max: Some(5000.0),
            max_change: Some(MaxChange::Percent(12.5)),
            stale_after: Some(Duration::from_secs(93_600)),
        };
        let json = serde_json::to_string(&expectation).expect("JSON");
        assert_eq!(
            json,
            r#"{"series":"price","unit":"EUR","type":"integer","min":-0.5,"max":5000.0,"max_change":"12.5%","stale_after_seconds":93600}"#
        );
        assert_eq!(serde_json::from_str::<Expectation>(&json).expect("JSON"), expectation);
    }

    #[test]
    fn a_percentage_is_a_number_above_zero() {
        assert_eq!("30%".parse(), Ok(MaxChange::Percent(30.0)));
        assert_eq!("0.5 %".parse(), Ok(MaxChange::Percent(0.5)));
        for text in ["30", "%", "-1%", "0%", "inf%", "NaN%"] {
            assert_eq!(text.parse::<MaxChange>(), Err(PercentageError(text.to_owned())));
        }
    }
}
