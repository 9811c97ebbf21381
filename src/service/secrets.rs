//! Secrets: files of the operator, given to the tasks that name them, and masked in what these say.
//!
//! A secret is a file `NAME` in `DROPCRON_SECRETS_DIR`, as Docker mounts them. A masker replaces the value, its base64, and what
//! it is within JSON, in text that is stored or shown; also where a value is split over two pieces of output.

use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use serde_json::value::RawValue;

use crate::run::Outcome;

/// What stands in place of a secret.
const MASK: &str = "***";

/// A value shorter than this is not masked: it would eat ordinary text.
const SHORTEST_MASKED: usize = 4;

/// A secret, by its name in the header and in the script's environment.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// Its name.
    pub name: String,
    /// Its value, without a newline at its end.
    pub value: String,
}

/// Why a secret cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Nobody said where secrets are.
    #[error(
        "it names the secret `{name}`, but `DROPCRON_SECRETS_DIR` is not set: name the directory that holds the file `{name}`"
    )]
    NoDirectory {
        /// The secret.
        name: String,
    },
    /// There is no such file.
    #[error("the secret `{name}` is missing: there is no file `{name}` in `DROPCRON_SECRETS_DIR`")]
    Missing {
        /// The secret.
        name: String,
    },
    /// The file cannot be used.
    #[error("the secret `{name}` cannot be used: {problem}")]
    Unusable {
        /// The secret.
        name: String,
        /// What is wrong with its file.
        problem: String,
    },
}

/// Reads the named secrets.
pub fn read(directory: Option<&Path>, names: &[String]) -> Result<Vec<Secret>, SecretError> {
    names.iter().map(|name| read_one(directory, name)).collect()
}

fn read_one(directory: Option<&Path>, name: &str) -> Result<Secret, SecretError> {
    let name = name.to_owned();
    let Some(directory) = directory else {
        return Err(SecretError::NoDirectory { name });
    };
    let path = directory.join(&name);
    if path.is_dir() {
        return Err(SecretError::Unusable {
            name,
            problem: "it is a directory; it must be a file".to_owned(),
        });
    }
    match std::fs::read(&path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) if text.contains('\0') => Err(SecretError::Unusable {
                name,
                problem: "it holds a NUL, which an environment variable cannot".to_owned(),
            }),
            Ok(text) => Ok(Secret {
                name,
                value: text.trim_end_matches(['\n', '\r']).to_owned(),
            }),
            Err(_) => Err(SecretError::Unusable {
                name,
                problem: "it is not UTF-8".to_owned(),
            }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(SecretError::Missing { name }),
        Err(error) => Err(SecretError::Unusable {
            name,
            problem: format!("its file cannot be read: {error}"),
        }),
    }
}

/// Replaces secrets in text. The default one replaces nothing.
#[derive(Clone, Default)]
pub struct Masker {
    patterns: Option<AhoCorasick>,
    texts: Vec<String>,
}

impl Masker {
    /// For these secrets.
    pub fn new(secrets: &[Secret]) -> Masker {
        let mut texts: Vec<String> = secrets
            .iter()
            .filter(|secret| secret.value.len() >= SHORTEST_MASKED)
            .flat_map(|secret| {
                // A value of several lines is printed line by line more often than whole.
                let lines = secret
                    .value
                    .lines()
                    .filter(|line| line.len() >= SHORTEST_MASKED)
                    .map(str::to_owned);
                let encoded = encodings(secret.value.as_bytes());
                let plain: Vec<String> = std::iter::once(secret.value.clone()).chain(lines).collect();
                let escaped: Vec<String> = plain.iter().flat_map(|text| escapings(text)).collect();
                plain.into_iter().chain(escaped).chain(encoded).collect::<Vec<_>>()
            })
            .collect();
        texts.sort();
        texts.dedup();
        let patterns = (!texts.is_empty()).then(|| {
            AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(&texts)
                .expect("patterns of the size of secrets always build")
        });
        Masker { patterns, texts }
    }

    /// A text without secrets.
    pub fn mask(&self, text: &str) -> String {
        match &self.patterns {
            Some(patterns) => patterns.replace_all(text, &vec![MASK; self.texts.len()]),
            None => text.to_owned(),
        }
    }

    /// An outcome without secrets: its error, its warnings, and its value where that holds one.
    pub fn mask_outcome(&self, outcome: &mut Outcome) {
        if self.patterns.is_none() {
            return;
        }
        if let Some(error) = &mut outcome.error {
            error.message = self.mask(&error.message);
            error.traceback = error.traceback.as_deref().map(|traceback| self.mask(traceback));
        }
        for warning in &mut outcome.warnings {
            *warning = self.mask(warning);
        }
        let Some(value) = outcome.return_value.take() else {
            return;
        };
        match RawValue::from_string(self.mask(value.get())) {
            Ok(masked) => outcome.return_value = Some(masked),
            // A secret that stands as a number leaves no JSON behind.
            Err(_) => outcome
                .warnings
                .push("the return value was dropped: it holds a secret".to_owned()),
        }
    }

    /// A stream of pieces without secrets.
    pub fn stream(&self) -> MaskedStream {
        MaskedStream {
            masker: self.clone(),
            held: String::new(),
            follows_gap: false,
        }
    }

    /// A text that something is missing ahead of: what it begins with may be the end of a secret.
    fn mask_unbegun(&self, text: &str) -> String {
        let ends = self.texts.iter().flat_map(|secret| {
            (1..secret.len())
                .filter(|at| secret.is_char_boundary(*at) && secret.len() - at >= SHORTEST_MASKED)
                .map(|at| &secret[at..])
        });
        let longest = ends.filter(|end| text.starts_with(end)).map(str::len).max();
        longest.map_or_else(|| text.to_owned(), |length| format!("{MASK}{}", &text[length..]))
    }

    /// The length of the longest end of `text` that may be the beginning of a secret.
    fn unfinished(&self, text: &str) -> usize {
        let longest = self
            .texts
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .saturating_sub(1)
            .min(text.len());
        (1..=longest)
            .rev()
            .filter(|length| text.is_char_boundary(text.len() - length))
            .find(|length| {
                let end = &text[text.len() - length..];
                self.texts
                    .iter()
                    .any(|secret| secret.len() > *length && secret.starts_with(end))
            })
            .unwrap_or(0)
    }
}

/// Masks pieces that follow each other; what may be the beginning of a secret waits for the next piece.
pub struct MaskedStream {
    masker: Masker,
    held: String,
    follows_gap: bool,
}

impl MaskedStream {
    /// What can be said of this piece now.
    pub fn push(&mut self, piece: &str) -> String {
        if self.masker.patterns.is_none() {
            return piece.to_owned();
        }
        if std::mem::take(&mut self.follows_gap) {
            self.held = self.masker.mask_unbegun(piece);
        } else {
            self.held.push_str(piece);
        }
        let masked = self.masker.mask(&self.held);
        let keep = self.masker.unfinished(&masked);
        self.held = masked[masked.len() - keep..].to_owned();
        masked[..masked.len() - keep].to_owned()
    }

    /// Something is missing here. What was held back; as much of a secret as cannot be ordinary text is masked, here and behind.
    pub fn break_off(&mut self) -> String {
        self.follows_gap = true;
        match self.finish() {
            held if held.len() >= SHORTEST_MASKED => MASK.to_owned(),
            held => held,
        }
    }

    /// What was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// A text as it stands in a string of JSON: with what lies beyond ASCII as it is, and escaped, as Python's `json` does it.
fn escapings(text: &str) -> [String; 2] {
    let quoted = serde_json::to_string(text).expect("a text is JSON");
    let utf8 = quoted[1..quoted.len() - 1].to_owned();
    let mut ascii = String::with_capacity(utf8.len());
    for character in utf8.chars() {
        // DEL is the one of ASCII that Python escapes, and serde_json does not.
        if character.is_ascii() && character != '\u{7f}' {
            ascii.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    [utf8, ascii]
}

/// The base64 of a value as it stands inside of a longer text: for each of the three places at which it may begin, the
/// characters that depend on the value alone, in both alphabets.
fn encodings(value: &[u8]) -> Vec<String> {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut texts = Vec::new();
    for shift in 0..3 {
        let bits = value.len() * 8;
        // The first character that holds bits of the value only, and how many of these there are.
        let skipped_bits = (6 - (shift * 8) % 6) % 6;
        let characters = bits.saturating_sub(skipped_bits) / 6;
        for alphabet in [STANDARD, URL_SAFE] {
            let text: String = (0..characters)
                .map(|at| char::from(alphabet[six_bits(value, skipped_bits + at * 6)]))
                .collect();
            if text.len() >= SHORTEST_MASKED * 2 {
                texts.push(text);
            }
        }
    }
    texts
}

/// Six bits of a value, from a bit on.
fn six_bits(value: &[u8], bit: usize) -> usize {
    (bit..bit + 6).fold(0, |sum, bit| {
        sum << 1 | usize::from(value[bit / 8] >> (7 - bit % 8) & 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masker(values: &[&str]) -> Masker {
        let secret = |value: &&str| Secret {
            name: "S".to_owned(),
            value: (*value).to_owned(),
        };
        Masker::new(&values.iter().map(secret).collect::<Vec<_>>())
    }

    #[test]
    fn a_secret_is_replaced_wherever_it_stands() {
        assert_eq!(masker(&["hunter2!"]).mask("a hunter2! b hunter2!"), "a *** b ***");
        assert_eq!(masker(&[]).mask("hunter2!"), "hunter2!");
        assert_eq!(
            masker(&["abc"]).mask("abc"),
            "abc",
            "too short to be masked without eating ordinary text"
        );
    }

    #[test]
    fn a_secret_that_is_split_over_pieces_is_replaced() {
        for split in 1..8 {
            let (left, right) = "hunter2!".split_at(split);
            let mut stream = masker(&["hunter2!"]).stream();
            let text = stream.push(&format!("x {left}")) + &stream.push(&format!("{right} y")) + &stream.finish();
            assert_eq!(text, "x *** y", "split at {split}");
        }
    }

    #[test]
    fn a_half_of_a_secret_beside_a_gap_is_masked() {
        let mut stream = masker(&["hunter2!"]).stream();
        assert_eq!(stream.push("x hunter"), "x ");
        assert_eq!(stream.break_off(), "***");
        assert_eq!(stream.push("nter2! y"), "*** y");
        assert_eq!(stream.push("nter2! "), "nter2! ", "ordinary text elsewhere");
        assert_eq!(stream.push("x hu") + &stream.break_off(), "x hu");
        assert_eq!(stream.push("2! y"), "2! y", "too short to be told from ordinary text");
    }

    #[test]
    fn what_only_looks_like_a_beginning_is_kept() {
        let mut stream = masker(&["hunter2!"]).stream();
        assert_eq!(stream.push("hun"), "");
        assert_eq!(stream.push("gry"), "hungry");
        assert_eq!(stream.finish(), "");
        assert_eq!(stream.push("hunt") + &stream.finish(), "hunt");
    }

    #[test]
    fn its_base64_is_replaced_at_every_offset() {
        // python3 -c "import base64; print(base64.b64encode(b'x' * n + b'correct horse battery' + b'y').decode())"
        let encoded = [
            "Y29ycmVjdCBob3JzZSBiYXR0ZXJ5eQ==",
            "eGNvcnJlY3QgaG9yc2UgYmF0dGVyeXk=",
            "eHhjb3JyZWN0IGhvcnNlIGJhdHRlcnl5",
        ];
        for text in encoded {
            let masked = masker(&["correct horse battery"]).mask(text);
            assert!(masked.contains("***") && masked.len() < 12, "{text} became {masked}");
        }
    }

    #[test]
    fn it_is_replaced_in_json_of_either_kind() {
        let masker = masker(&["p\"a\\s\tsü🔑"]);
        assert_eq!(
            masker.mask(r#"{"a": "p\"a\\s\tsü🔑", "b": 1}"#),
            r#"{"a": "***", "b": 1}"#
        );
        assert_eq!(masker.mask(r#""x p\"a\\s\ts\u00fc\ud83d\udd11 y""#), r#""x *** y""#);
    }

    #[test]
    fn each_line_of_a_secret_is_one() {
        let masker = masker(&["-----BEGIN KEY-----\nMIIEvQIBADAN\n-----END KEY-----"]);
        assert_eq!(masker.mask("  MIIEvQIBADAN\n"), "  ***\n");
    }
}
