//! Which parts of a return value are points of which series.
//!
//! Numbers and booleans are points; where they stand names their series: keys and positions joined by dots, `value` for a
//! number alone. What stands in the place of a number that was there before (null, text, a list) is a gap: whether it was there
//! before, the database knows. A list of records with `at` and `value` is taken as given.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::number::{is_storable, parse_number};

/// How many series one run writes at most: more is a table, and belongs in one.
pub const MAX_SERIES: usize = 200;

/// How many points one run writes at most, all series together: one statement writes them.
pub const MAX_POINTS: usize = 10_000;

/// How long the name of a series may be: it stands in an index. A CHECK of `observation` says the same.
pub const MAX_NAME_CHARACTERS: usize = 200;

/// The series of a number that stands alone.
const ALONE: &str = "value";

/// How deep a value is looked into: what the shim sends is no deeper, what a script forges may be.
const MAX_DEPTH: usize = 64;

/// How many bad records are named one by one.
const NAMED_RECORDS: usize = 3;

/// What stood where a number was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A number.
    Number,
    /// `false` or `true`: 0 or 1.
    Boolean,
    /// Nothing: a gap.
    Null,
    /// Text: a gap.
    Text,
    /// A list: a gap.
    List,
    /// An object: a gap.
    Object,
}

impl Kind {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Number => "number",
            Kind::Boolean => "boolean",
            Kind::Null => "null",
            Kind::Text => "text",
            Kind::List => "list",
            Kind::Object => "object",
        }
    }

    /// The kind of a word in the database.
    pub fn of_word(word: &str) -> Option<Kind> {
        use Kind::*;
        [Number, Boolean, Null, Text, List, Object]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }

    /// Whether there is a number.
    pub fn is_number(self) -> bool {
        matches!(self, Kind::Number | Kind::Boolean)
    }
}

/// One point of a series, or the gap in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The series.
    pub series: String,
    /// The instant that its record names; none: the instant that the run stands for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
    /// What stood there.
    pub kind: Kind,
    /// The number as it was written, every digit; none for a gap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
}

/// What a return value holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observed {
    /// Points and gaps, each series and instant once.
    pub observations: Vec<Observation>,
    /// What was left out and why, for people.
    pub warnings: Vec<String>,
}

/// The points of a return value.
pub fn observe(value: &RawValue) -> Observed {
    let mut finder = Finder::default();
    match records(value) {
        Some(records) => records
            .iter()
            .enumerate()
            .for_each(|(index, record)| finder.take_record(index, record)),
        None => finder.walk(&mut String::new(), value, 0),
    }
    finder.finish()
}

#[derive(Default)]
struct Finder {
    points: Vec<Observation>,
    gaps: Vec<Observation>,
    /// Where each point is, so that a second one of the same series and instant takes its place.
    places: HashMap<(String, Option<Timestamp>), usize>,
    series: HashSet<String>,
    beyond_series: usize,
    beyond_points: usize,
    unnamed: usize,
    too_long: usize,
    too_deep: bool,
    repeated: Vec<String>,
    bad_records: usize,
    problems: Vec<String>,
}

impl Finder {
    fn walk(&mut self, path: &mut String, value: &RawValue, depth: usize) {
        if depth > MAX_DEPTH {
            self.too_deep = true;
            return;
        }
        let (kind, number) = leaf(value.get());
        match kind {
            Kind::Object => {
                self.gap(name_of(path), None, kind);
                let Ok(Fields(fields)) = serde_json::from_str(value.get()) else {
                    return;
                };
                for (key, value) in fields {
                    self.walk_part(path, &key, value, depth);
                }
            }
            Kind::List => {
                self.gap(name_of(path), None, kind);
                let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(value.get()) else {
                    return;
                };
                for (index, value) in items.into_iter().enumerate() {
                    self.walk_part(path, &index.to_string(), value, depth);
                }
            }
            _ => self.point(name_of(path), None, kind, number),
        }
    }

    /// Looks into a part of a list or an object; the path comes back as it was.
    fn walk_part(&mut self, path: &mut String, key: &str, value: &RawValue, depth: usize) {
        let length = path.len();
        // An empty key at the top is no beginning of a path.
        if depth > 0 {
            path.push('.');
        }
        path.push_str(key);
        if depth == 0 && key.is_empty() {
            self.unnamed += 1;
        } else {
            self.walk(path, value, depth + 1);
        }
        path.truncate(length);
    }

    fn take_record(&mut self, index: usize, text: &RawValue) {
        match record(text) {
            Ok((at, series, kind, number)) => self.point(&series, Some(at), kind, number),
            Err(problem) => {
                self.bad_records += 1;
                if self.problems.len() < NAMED_RECORDS {
                    self.problems.push(format!(
                        "record {} of the return value is no point: {problem}",
                        index + 1
                    ));
                }
            }
        }
    }

    fn point(&mut self, series: &str, at: Option<Timestamp>, kind: Kind, number: Option<String>) {
        match &number {
            None => return self.gap(series, at, kind),
            Some(number) if !is_storable(number) => {
                self.too_long += 1;
                return;
            }
            Some(_) => {}
        }
        let Some(series) = storable(series) else {
            self.unnamed += 1;
            return;
        };
        let observation = Observation {
            series: series.clone(),
            at,
            kind,
            number,
        };
        if let Some(place) = self.places.get(&(series.clone(), at)) {
            self.points[*place] = observation;
            self.repeated.push(series);
            return;
        }
        if !self.series.contains(&series) && self.series.len() >= MAX_SERIES {
            self.beyond_series += 1;
            return;
        }
        if self.points.len() >= MAX_POINTS {
            self.beyond_points += 1;
            return;
        }
        self.series.insert(series.clone());
        self.places.insert((series, at), self.points.len());
        self.points.push(observation);
    }

    /// Something else in the place of a number. As many are looked at as there can be series.
    fn gap(&mut self, series: &str, at: Option<Timestamp>, kind: Kind) {
        if self.gaps.len() >= MAX_SERIES {
            return;
        }
        if let Some(series) = storable(series) {
            self.gaps.push(Observation {
                series,
                at,
                kind,
                number: None,
            });
        }
    }

    fn finish(mut self) -> Observed {
        let mut warnings = std::mem::take(&mut self.problems);
        if self.bad_records > warnings.len() {
            warnings.push(format!(
                "{} records of the return value are no points, all in all",
                self.bad_records
            ));
        }
        if self.beyond_series > 0 {
            warnings.push(format!(
                "{} numbers were left out of the series: a run writes {MAX_SERIES} series at most; return fewer numbers, or write \
                 them to a table of your own",
                self.beyond_series
            ));
        }
        if self.beyond_points > 0 {
            warnings.push(format!(
                "{} points were left out: a run writes {MAX_POINTS} at most; `dropcron import values` takes more",
                self.beyond_points
            ));
        }
        if self.unnamed > 0 {
            warnings.push(format!(
                "{} numbers were left out of the series: the name of a series has 1 to {MAX_NAME_CHARACTERS} characters",
                self.unnamed
            ));
        }
        if self.too_long > 0 {
            warnings.push(format!(
                "{} numbers were left out of the series: they have more digits than Postgres keeps",
                self.too_long
            ));
        }
        if self.too_deep {
            warnings.push(format!(
                "numbers that stand more than {MAX_DEPTH} levels deep were left out of the series"
            ));
        }
        if let Some(series) = self.repeated.first() {
            warnings.push(format!(
                "{} numbers stand for a point that another one has too, for example of `{series}`; the last one counts",
                self.repeated.len()
            ));
        }
        let places = &self.places;
        let mut gaps: BTreeMap<(String, Option<Timestamp>), Observation> = BTreeMap::new();
        for gap in self.gaps {
            let place = (gap.series.clone(), gap.at);
            if !places.contains_key(&place) {
                gaps.insert(place, gap);
            }
        }
        let mut observations = self.points;
        observations.extend(gaps.into_values());
        Observed { observations, warnings }
    }
}

fn name_of(path: &str) -> &str {
    if path.is_empty() { ALONE } else { path }
}

/// A name as Postgres stores it; none if it is empty or too long.
fn storable(series: &str) -> Option<String> {
    let is_short = (1..=MAX_NAME_CHARACTERS).contains(&series.chars().count());
    is_short.then(|| series.replace('\0', "\u{fffd}"))
}

/// What stands in a text of JSON, and the number if it is one.
fn leaf(json: &str) -> (Kind, Option<String>) {
    match json.as_bytes().first() {
        Some(b'{') => (Kind::Object, None),
        Some(b'[') => (Kind::List, None),
        Some(b'"') => (Kind::Text, None),
        Some(b't') => (Kind::Boolean, Some("1".to_owned())),
        Some(b'f') => (Kind::Boolean, Some("0".to_owned())),
        _ => match parse_number(json) {
            Some(number) => (Kind::Number, Some(number.to_owned())),
            None => (Kind::Null, None),
        },
    }
}

/// The elements of a list of records, if the value is one: its first element has an instant and a value.
fn records(value: &RawValue) -> Option<Vec<&RawValue>> {
    if !value.get().starts_with('[') {
        return None;
    }
    let items: Vec<&RawValue> = serde_json::from_str(value.get()).ok()?;
    let Fields(first) = serde_json::from_str(items.first()?.get()).ok()?;
    let has = |name: &str| first.iter().any(|(key, _)| key == name);
    (has("at") && has("value")).then_some(items)
}

type Record = (Timestamp, String, Kind, Option<String>);

fn record(text: &RawValue) -> Result<Record, String> {
    let Ok(Fields(fields)) = serde_json::from_str(text.get()) else {
        return Err("it is no object".to_owned());
    };
    let text_of = |name: &str| -> Result<Option<String>, String> {
        let Some((_, value)) = fields.iter().rev().find(|(key, _)| key == name) else {
            return Ok(None);
        };
        serde_json::from_str(value.get())
            .map(Some)
            .map_err(|_| format!("`{name}` is no text"))
    };
    let at = text_of("at")?.ok_or("it has no `at`")?;
    let at = at
        .parse()
        .map_err(|_| "`at` is no instant with its offset, such as `2027-01-01T09:00:00+01:00`")?;
    let series = text_of("series")?.unwrap_or_else(|| ALONE.to_owned());
    let Some((_, value)) = fields.iter().rev().find(|(key, _)| key == "value") else {
        return Err("it has no `value`".to_owned());
    };
    match leaf(value.get()) {
        (Kind::Text | Kind::List | Kind::Object, _) => Err("`value` is no number".to_owned()),
        (kind, number) => Ok((at, series, kind, number)),
    }
}

/// The fields of an object, in their order.
struct Fields<'json>(Vec<(String, &'json RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(json: &str) -> Observed {
        let value: Box<RawValue> = serde_json::from_str(json).expect("JSON");
        observe(&value)
    }

    /// `series number`, one for each point.
    fn points(json: &str) -> Vec<String> {
        let observed = seen(json);
        let points = observed
            .observations
            .iter()
            .filter_map(|observation| Some(format!("{} {}", observation.series, observation.number.as_deref()?)));
        points.collect()
    }

    #[test]
    fn a_number_alone_is_the_series_value() {
        assert_eq!(points("42.10"), ["value 42.10"]);
        assert_eq!(points("true"), ["value 1"]);
        assert_eq!(points("null"), Vec::<String>::new());
        assert_eq!(points("\"42\""), Vec::<String>::new());
    }

    #[test]
    fn keys_and_positions_name_the_series() {
        let json = r#"{"price": 42.1, "stock": {"berlin": 7, "open": false}, "odds": [1, [2, null]], "name": "x"}"#;
        assert_eq!(
            points(json),
            ["price 42.1", "stock.berlin 7", "stock.open 0", "odds.0 1", "odds.1.0 2"]
        );
        assert_eq!(points("[1, 2]"), ["0 1", "1 2"]);
    }

    #[test]
    fn every_digit_stays() {
        let json = r#"[12345678901234567890123, 1e400, 0.10, -0, 1E+5]"#;
        assert_eq!(
            points(json),
            ["0 12345678901234567890123", "1 1e400", "2 0.10", "3 -0", "4 1E+5"]
        );
    }

    #[test]
    fn what_stands_in_the_place_of_a_number_is_a_gap() {
        let observed = seen(r#"{"a": null, "b": "x", "c": []}"#);
        let gaps: Vec<_> = observed
            .observations
            .iter()
            .map(|gap| (gap.series.as_str(), gap.kind))
            .collect();
        assert_eq!(
            gaps,
            [
                ("a", Kind::Null),
                ("b", Kind::Text),
                ("c", Kind::List),
                ("value", Kind::Object)
            ]
        );
    }

    #[test]
    fn records_are_taken_as_given() {
        let observed = seen(
            r#"[{"at": "2026-01-01T01:00:00+01:00", "series": "price", "value": 1.50}, {"at": "2026-01-02T00:00:00Z", "value": null}]"#,
        );
        assert_eq!(observed.warnings, Vec::<String>::new());
        let [price, gap] = &observed.observations[..] else {
            panic!("{observed:?}")
        };
        assert_eq!(price.at, "2026-01-01T00:00:00Z".parse().ok());
        assert_eq!(
            (price.series.as_str(), price.number.as_deref()),
            ("price", Some("1.50"))
        );
        assert_eq!((gap.series.as_str(), gap.kind), ("value", Kind::Null));
    }

    #[test]
    fn bad_records_are_named_and_counted_and_cost_nobody_else_anything() {
        let good = r#"{"at": "2026-01-01T00:00:00Z", "value": 1}"#;
        let bad = [
            r#"{"at": "2026-01-01T00:00:00", "value": 1}"#,
            r#"{"at": 5, "value": 1}"#,
            r#"{"at": "2026-01-02T00:00:00Z", "value": "1"}"#,
            "7",
        ];
        let observed = seen(&format!("[{good}, {}]", bad.join(", ")));
        assert_eq!(observed.observations.len(), 1);
        assert_eq!(
            observed.warnings,
            [
                "record 2 of the return value is no point: `at` is no instant with its offset, such as `2027-01-01T09:00:00+01:00`",
                "record 3 of the return value is no point: `at` is no text",
                "record 4 of the return value is no point: `value` is no number",
                "4 records of the return value are no points, all in all",
            ]
        );
    }

    #[test]
    fn what_is_beyond_the_bounds_is_counted() {
        let numbers: Vec<String> = (0..MAX_SERIES + 3).map(|number| number.to_string()).collect();
        let observed = seen(&format!("[{}]", numbers.join(",")));
        assert_eq!(points(&format!("[{}]", numbers.join(","))).len(), MAX_SERIES);
        assert!(
            observed.warnings[0].starts_with("3 numbers were left out of the series: a run writes 200 series at most"),
            "{:?}",
            observed.warnings
        );
        let long = "x".repeat(MAX_NAME_CHARACTERS + 1);
        let observed = seen(&format!(r#"{{"{long}": 1, "": 2, "y": {{"": 3}}}}"#));
        assert_eq!(observed.warnings.len(), 1);
        assert!(
            observed.warnings[0].starts_with("2 numbers were left out"),
            "{observed:?}"
        );
        assert_eq!(points(r#"{"y": {"": 3}}"#), ["y. 3"]);
    }

    #[test]
    fn a_number_that_postgres_cannot_keep_is_left_out_with_a_warning() {
        let observed = seen(r#"{"a": 1e200000, "b": 2}"#);
        assert_eq!(points(r#"{"a": 1e200000, "b": 2}"#), ["b 2"]);
        assert_eq!(
            observed.warnings,
            ["1 numbers were left out of the series: they have more digits than Postgres keeps"]
        );
    }

    #[test]
    fn two_numbers_of_one_name_are_one_point_and_a_warning() {
        let json = r#"{"a.b": 1, "a": {"b": 2}}"#;
        assert_eq!(points(json), ["a.b 2"]);
        assert!(seen(json).warnings[0].contains("for example of `a.b`"));
    }

    #[test]
    fn a_forged_value_of_any_depth_is_no_danger() {
        let deep = 200_000;
        let json = "[".repeat(deep) + "1" + &"]".repeat(deep);
        let value = RawValue::from_string(json);
        if let Ok(value) = value {
            assert_eq!(
                observe(&value)
                    .observations
                    .iter()
                    .filter(|it| it.number.is_some())
                    .count(),
                0
            );
        }
    }

    /// A value with the points that it holds, in order.
    #[derive(Clone, Debug)]
    enum Tree {
        Number(String),
        Text(String),
        Null,
        List(Vec<Tree>),
        Object(Vec<(String, Tree)>),
    }

    impl Tree {
        fn json(&self) -> String {
            match self {
                Tree::Number(text) => text.clone(),
                Tree::Text(text) => serde_json::to_string(text).expect("text"),
                Tree::Null => "null".to_owned(),
                Tree::List(items) => format!("[{}]", items.iter().map(Tree::json).collect::<Vec<_>>().join(" , ")),
                Tree::Object(fields) => {
                    let fields = fields
                        .iter()
                        .map(|(key, value)| format!("{}: {}", serde_json::to_string(key).expect("text"), value.json()));
                    format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
                }
            }
        }

        fn points(&self, path: &str, found: &mut Vec<(String, String)>) {
            let inner = |key: &str| {
                if path.is_empty() {
                    key.to_owned()
                } else {
                    format!("{path}.{key}")
                }
            };
            match self {
                Tree::Number(text) => found.push((name_of(path).to_owned(), text.clone())),
                Tree::Text(_) | Tree::Null => {}
                Tree::List(items) => {
                    for (index, item) in items.iter().enumerate() {
                        item.points(&inner(&index.to_string()), found);
                    }
                }
                Tree::Object(fields) => fields.iter().for_each(|(key, value)| value.points(&inner(key), found)),
            }
        }
    }

    fn any_tree() -> impl Strategy<Value = Tree> {
        let leaf = prop_oneof![
            "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?".prop_map(Tree::Number),
            any::<String>().prop_map(Tree::Text),
            Just(Tree::Null),
        ];
        leaf.prop_recursive(4, 400, 80, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..80).prop_map(Tree::List),
                proptest::collection::btree_map("[a-zäß\"\\\\]{1,3}", inner, 0..80)
                    .prop_map(|fields| Tree::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn numbers_are_found_exactly_and_their_bound_holds(tree in any_tree()) {
            let mut wanted = Vec::new();
            tree.points("", &mut wanted);
            let observed = seen(&tree.json());
            let found: Vec<(String, String)> = observed.observations.into_iter()
                .filter_map(|it| Some((it.series, it.number?))).collect();
            let left_out = wanted.len().saturating_sub(MAX_SERIES);
            wanted.truncate(MAX_SERIES);
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(observed.warnings.len(), usize::from(left_out > 0));
        }

        #[test]
        fn any_json_and_any_text_is_taken_without_a_panic(text in any::<String>(), tree in any_tree()) {
            for text in [text, format!("[{{\"at\": {0}, \"series\": {0}, \"value\": {0}}}]", tree.json())] {
                if let Ok(value) = RawValue::from_string(text) {
                    let observed = observe(&value);
                    prop_assert!(observed.observations.iter().all(|it| it.kind.is_number() == it.number.is_some()));
                }
            }
        }
    }
}
