//! Reads single TOML values into Rust values, and keeps a list of everything that is wrong with them.
//!
//! Each reading method returns `None` after it has noted a problem, so that the caller goes on with the next key.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeFloat, DeInteger, DeTable, DeValue};

use super::document::Document;
use super::header::{Word, in_backticks, words};
use super::key::Key;
use super::problem::Problem;
use super::table;
use crate::schedule::parse_duration;

/// How many characters of a wrong value a message repeats.
const SHOWN_CHARACTERS: usize = 40;

/// How deep lists and tables may be nested: well below the 128 levels that readers of JSON stop at, and shallow enough
/// for the stack of any thread (dotted keys make hundreds of levels in a line).
const MAX_DEPTH: usize = 64;

/// How many characters a name (queue, group, tag) may have: it stands in indexes and in columns of a page.
const MAX_WORD_CHARACTERS: usize = 200;

/// A value of the document and the key that it is for.
#[derive(Clone, Copy)]
pub(super) struct Setting<'toml> {
    pub(super) key: &'static Key,
    pub(super) value: &'toml Spanned<DeValue<'toml>>,
    /// How many lists and tables of the key's value this one is inside of; 0 is the key's own value.
    depth: usize,
}

impl<'toml> Setting<'toml> {
    /// A key and its own value.
    pub(super) fn of(key: &'static Key, value: &'toml Spanned<DeValue<'toml>>) -> Self {
        Self { key, value, depth: 0 }
    }

    /// A value inside this one's list or table.
    pub(super) fn part(self, value: &'toml Spanned<DeValue<'toml>>) -> Self {
        Self {
            value,
            depth: self.depth + 1,
            ..self
        }
    }

    /// What a message is about.
    fn subject(self) -> String {
        let name = self.key.name;
        if self.depth > 0 {
            format!("each of `{name}`")
        } else {
            format!("`{name}`")
        }
    }

    fn span(self) -> Range<usize> {
        self.value.span()
    }
}

/// Notes problems with a document while its values are read.
pub(super) struct Reader<'document> {
    document: &'document Document,
    problems: Vec<Problem>,
    /// Where the values of the keys stand that were found: for a list its elements, else the value itself.
    spans: BTreeMap<&'static str, Vec<Range<usize>>>,
    /// The keys whose values are wrong.
    failed: BTreeSet<&'static str>,
}

impl<'document> Reader<'document> {
    pub(super) fn new(document: &'document Document) -> Self {
        Self {
            document,
            problems: Vec::new(),
            spans: BTreeMap::new(),
            failed: BTreeSet::new(),
        }
    }

    /// What was read, or all that is wrong with it in the order of the file.
    pub(super) fn finish<T>(mut self, read: T) -> Result<T, Vec<Problem>> {
        self.problems.sort();
        self.problems.dedup();
        match self.problems.is_empty() {
            true => Ok(read),
            false => Err(self.problems),
        }
    }

    /// Remembers where the value of a key stands.
    pub(super) fn found(&mut self, setting: Setting<'_>) {
        self.spans.insert(setting.key.name, vec![setting.span()]);
    }

    /// Whether the document sets a key, to a good value.
    pub(super) fn has_read(&self, name: &str) -> bool {
        self.spans.contains_key(name) && !self.has_failed(name)
    }

    /// Whether the document sets a key to a bad value.
    pub(super) fn has_failed(&self, name: &str) -> bool {
        self.failed.contains(name)
    }

    /// Notes a problem at a place of the document.
    pub(super) fn problem(&mut self, span: &Range<usize>, message: String) {
        self.problems.push(self.document.problem(span, message));
    }

    /// Notes a problem with a value that was read before, or with one element of its list.
    pub(super) fn problem_with(&mut self, name: &'static str, element: usize, message: String) {
        let spans = self.spans.get(name).map_or(&[][..], Vec::as_slice);
        let span = spans.get(element).or(spans.first()).cloned().unwrap_or(0..0);
        self.failed.insert(name);
        self.problem(&span, message);
    }

    /// Notes what is wrong with the TOML itself.
    pub(super) fn syntax_error(&mut self, error: &toml::de::Error) {
        let span = error.span().unwrap_or(0..0);
        let message = match self.document.line_of(&span).starts_with("///") {
            true => {
                "the block goes on past this line, because comments follow it directly and another `# ///` ends them; \
                     leave a line without `#` after the first end"
                    .to_owned()
            }
            false => format!("this is not valid TOML: {}", error.message()),
        };
        self.problem(&span, message);
    }

    /// Notes that a value is not what its key expects.
    pub(super) fn refuse<T>(&mut self, setting: Setting<'_>, expected: &str) -> Option<T> {
        let Key { name, example, .. } = setting.key;
        let found = describe(setting.value.get_ref());
        self.reject(
            setting,
            format!(
                "{} must be {expected}, found {found}; for example `{name} = {example}`",
                setting.subject()
            ),
        )
    }

    /// Notes a problem with a value in words of one's own.
    pub(super) fn reject<T>(&mut self, setting: Setting<'_>, message: String) -> Option<T> {
        self.note(setting, message);
        None
    }

    /// Notes a problem with a value of which something can be read all the same.
    pub(super) fn note(&mut self, setting: Setting<'_>, message: String) {
        self.failed.insert(setting.key.name);
        self.problem(&setting.span(), message);
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, setting: Setting<'_>) -> Option<bool> {
        match setting.value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            _ => self.refuse(setting, "`true` or `false`"),
        }
    }

    /// A whole number within limits.
    pub(super) fn whole<N>(&mut self, setting: Setting<'_>, limits: RangeInclusive<N>) -> Option<N>
    where
        N: TryFrom<i64> + PartialOrd + Display,
    {
        let number = match setting.value.get_ref() {
            DeValue::Integer(integer) => as_i64(integer).and_then(|number| N::try_from(number).ok()),
            _ => None,
        };
        match number.filter(|number| limits.contains(number)) {
            Some(number) => Some(number),
            None => {
                let (least, most) = limits.into_inner();
                self.refuse(setting, &format!("a whole number from {least} to {most}"))
            }
        }
    }

    /// A finite number from 1 up, whole or not.
    pub(super) fn factor(&mut self, setting: Setting<'_>) -> Option<f64> {
        let number = match setting.value.get_ref() {
            DeValue::Integer(integer) => integer.to_string().parse().ok(),
            DeValue::Float(float) => as_f64(float),
            _ => None,
        };
        match number.filter(|number| number.is_finite() && *number >= 1.0) {
            Some(number) => Some(number),
            None => self.refuse(setting, "a number of 1 or more"),
        }
    }

    /// A finite number, whole or not.
    pub(super) fn number(&mut self, setting: Setting<'_>) -> Option<f64> {
        let number = match setting.value.get_ref() {
            DeValue::Integer(integer) => as_i64(integer).map(|number| number as f64),
            DeValue::Float(float) => as_f64(float),
            _ => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => Some(number),
            None => self.refuse(setting, "a finite number"),
        }
    }

    /// A text that is not blank.
    pub(super) fn text<'toml>(&mut self, setting: Setting<'toml>) -> Option<&'toml str> {
        let DeValue::String(text) = setting.value.get_ref() else {
            return self.refuse(setting, "a text in quotes");
        };
        if text.trim().is_empty() {
            let name = setting.key.name;
            return self.reject(
                setting,
                format!("a text in `{name}` is empty; write something, or leave it out"),
            );
        }
        self.storable(setting, text)
    }

    /// A text that Postgres can store: without NUL.
    fn storable<'toml>(&mut self, setting: Setting<'toml>, text: &'toml str) -> Option<&'toml str> {
        if !text.contains('\0') {
            return Some(text);
        }
        let name = setting.key.name;
        self.reject(
            setting,
            format!("a text in `{name}` has the character NUL, which Postgres cannot store; remove it"),
        )
    }

    /// A short text on one line, without blanks around it, by which something is found.
    pub(super) fn name<'toml>(&mut self, setting: Setting<'toml>) -> Option<&'toml str> {
        let text = self.text(setting)?;
        let is_short = text.chars().count() <= MAX_WORD_CHARACTERS;
        if is_short && text.trim() == text && !text.contains(char::is_control) {
            return Some(text);
        }
        self.refuse(
            setting,
            &format!("one line of at most {MAX_WORD_CHARACTERS} characters, without blanks around it"),
        )
    }

    /// The name of an environment variable that a script may be given.
    pub(super) fn variable<'toml>(&mut self, setting: Setting<'toml>) -> Option<&'toml str> {
        let name = self.text(setting)?;
        if name.to_ascii_uppercase().starts_with("DROPCRON_") {
            let key = setting.key.name;
            let shown = shorten(name);
            return self.reject(
                setting,
                format!("`{shown}` in `{key}` is dropcron's own; give the variable another name"),
            );
        }
        match is_variable(name) {
            true => Some(name),
            false => self.refuse(
                setting,
                "the name of an environment variable (letters, digits and `_`, no digit first)",
            ),
        }
    }

    /// One of the words of a type.
    pub(super) fn word<W: Word>(&mut self, setting: Setting<'_>) -> Option<W> {
        let known = words::<W>();
        let DeValue::String(text) = setting.value.get_ref() else {
            return self.refuse(setting, &format!("one of {}", in_backticks(&known)));
        };
        if let Some(value) = W::ALL.iter().find(|value| value.word() == text) {
            return Some(*value);
        }
        let name = setting.key.name;
        let meant = table::nearest(text, known.iter().copied()).map(|word| format!(", did you mean `{word}`?"));
        let message = format!(
            "`{name}` does not know `{}`{} It takes one of {}",
            shorten(text),
            meant.as_deref().unwrap_or("."),
            in_backticks(&known)
        );
        self.reject(setting, message)
    }

    /// A duration: text with units.
    pub(super) fn duration(&mut self, setting: Setting<'_>) -> Option<Duration> {
        let text = self.duration_text(setting)?;
        match parse_duration(text) {
            Ok(duration) => Some(duration),
            Err(error) => self.reject(setting, format!("`{}`: {error}", setting.key.name)),
        }
    }

    /// A duration that is longer than zero.
    pub(super) fn some_time(&mut self, setting: Setting<'_>) -> Option<Duration> {
        let duration = self.duration(setting)?;
        match duration.is_zero() {
            true => self.refuse(setting, "longer than zero"),
            false => Some(duration),
        }
    }

    /// The text of a duration; a bare number is answered with the same number and a unit.
    pub(super) fn duration_text<'toml>(&mut self, setting: Setting<'toml>) -> Option<&'toml str> {
        let name = setting.key.name;
        match setting.value.get_ref() {
            DeValue::String(text) if text.trim().is_empty() => self.refuse(setting, "a duration with a unit"),
            DeValue::String(text) => Some(text),
            DeValue::Integer(number) if as_i64(number).is_some_and(|number| number > 0) => self.reject(
                setting,
                format!("`{name}` is a duration and needs a unit and quotes, found {number}; for seconds write `{name} = \"{number}s\"`"),
            ),
            _ => self.refuse(setting, "a duration with a unit"),
        }
    }

    /// A list in which nothing may stand twice.
    pub(super) fn list<'toml, T: PartialEq>(
        &mut self,
        setting: Setting<'toml>,
        read: impl Fn(&mut Self, Setting<'toml>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let elements = self.elements(setting, read)?;
        let mut values = Vec::with_capacity(elements.len());
        let mut spans = Vec::with_capacity(elements.len());
        for (element, value) in elements {
            if values.contains(&value) {
                let found = describe(element.value.get_ref());
                self.note(element, format!("`{}` has {found} twice; remove one", element.key.name));
            } else {
                values.push(value);
                spans.push(element.span());
            }
        }
        self.found_elements(setting, spans);
        Some(values)
    }

    /// A list in which the same may stand more than once.
    pub(super) fn list_with_repeats<'toml, T>(
        &mut self,
        setting: Setting<'toml>,
        read: impl Fn(&mut Self, Setting<'toml>) -> Option<T>,
    ) -> Option<Vec<T>> {
        let elements = self.elements(setting, read)?;
        Some(elements.into_iter().map(|(_, value)| value).collect())
    }

    /// The good elements of a list; what is wrong with the others is noted for each.
    fn elements<'toml, T>(
        &mut self,
        setting: Setting<'toml>,
        read: impl Fn(&mut Self, Setting<'toml>) -> Option<T>,
    ) -> Option<Vec<(Setting<'toml>, T)>> {
        let DeValue::Array(array) = setting.value.get_ref() else {
            return self.refuse(setting, "a list");
        };
        let elements = array.iter().map(|value| setting.part(value));
        Some(
            elements
                .filter_map(|element| Some((element, read(self, element)?)))
                .collect(),
        )
    }

    /// Remembers where the elements of a list stand, in the order of the values that were read from it.
    fn found_elements(&mut self, setting: Setting<'_>, spans: Vec<Range<usize>>) {
        if !spans.is_empty() {
            self.spans.insert(setting.key.name, spans);
        }
    }

    /// A table, as the JSON object that it becomes.
    pub(super) fn object(&mut self, setting: Setting<'_>) -> Option<Map<String, Value>> {
        match setting.value.get_ref() {
            DeValue::Table(table) => self.json_object(setting, table),
            _ => self.refuse(setting, "a table"),
        }
    }

    fn json_object<'toml>(
        &mut self,
        setting: Setting<'toml>,
        table: &'toml DeTable<'toml>,
    ) -> Option<Map<String, Value>> {
        let mut object = Map::new();
        for (name, value) in table.iter() {
            let value = self.json(setting.part(value));
            if name.get_ref().contains('\0') {
                self.problem(
                    &name.span(),
                    format!("a key in `{}` has the character NUL; remove it", setting.key.name),
                );
                self.failed.insert(setting.key.name);
            }
            object.insert(name.get_ref().clone().into_owned(), value.unwrap_or_default());
        }
        Some(object)
    }

    fn json(&mut self, setting: Setting<'_>) -> Option<Value> {
        if setting.depth > MAX_DEPTH {
            let name = setting.key.name;
            let message =
                format!("`{name}` is nested more than {MAX_DEPTH} deep; make it flatter, or pass it as a text");
            return self.reject(setting, message);
        }
        match setting.value.get_ref() {
            DeValue::String(text) => self.storable(setting, text).map(Value::from),
            DeValue::Integer(integer) => match as_i64(integer) {
                Some(number) => Some(Value::from(number)),
                None => self.refuse_part(setting, "whole numbers of at most 64 bits"),
            },
            DeValue::Float(float) => match as_f64(float).and_then(Number::from_f64) {
                Some(number) => Some(Value::Number(number)),
                None => self.refuse_part(setting, "finite numbers"),
            },
            DeValue::Boolean(flag) => Some(Value::Bool(*flag)),
            DeValue::Datetime(datetime) => Some(Value::String(datetime.to_string())),
            DeValue::Array(array) => Some(
                array
                    .iter()
                    .filter_map(|value| self.json(setting.part(value)))
                    .collect(),
            ),
            DeValue::Table(table) => self.json_object(setting, table).map(Value::Object),
        }
    }

    /// Notes that something inside a table has no place in JSON.
    fn refuse_part<T>(&mut self, setting: Setting<'_>, allowed: &str) -> Option<T> {
        let name = setting.key.name;
        let found = describe(setting.value.get_ref());
        self.reject(
            setting,
            format!("`{name}` can hold {allowed} only, found {found}; write it as a text in quotes"),
        )
    }
}

/// A value of TOML as a message names it.
fn describe(value: &DeValue<'_>) -> Cow<'static, str> {
    match value {
        DeValue::String(text) => format!("the text `\"{}\"`", shorten(text)).into(),
        DeValue::Integer(number) => format!("the number `{number}`").into(),
        DeValue::Float(number) => format!("the number `{}`", number.as_str()).into(),
        DeValue::Boolean(flag) => format!("`{flag}`").into(),
        DeValue::Datetime(datetime) => format!("the date or time `{datetime}`").into(),
        DeValue::Array(array) if array.is_empty() => "an empty list".into(),
        DeValue::Array(_) => "a list".into(),
        DeValue::Table(_) => "a table".into(),
    }
}

/// The start of a text, on one line, as a message repeats it.
pub(super) fn shorten(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_CHARACTERS).flat_map(visible).collect();
    if text.chars().nth(SHOWN_CHARACTERS).is_some() {
        shown.push_str("...");
    }
    shown
}

fn visible(character: char) -> Vec<char> {
    match character.is_control() {
        true => character.escape_default().collect(),
        false => vec![character],
    }
}

fn as_i64(integer: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(integer.as_str(), integer.radix()).ok()
}

fn as_f64(float: &DeFloat<'_>) -> Option<f64> {
    float.as_str().parse().ok()
}

fn is_variable(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
