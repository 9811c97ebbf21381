//! The identity of a version of a script: the sha256 of its bytes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

/// The sha256 of a script's bytes: equal hashes are the same version, whatever the file's name or date.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of a file's content.
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The hash as bytes, as `script_version` keeps it.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// 64 lower-case hexadecimal digits.
impl fmt::Display for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ContentHash({self})")
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// A text that is not 64 hexadecimal digits.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{text}` is not a content hash: expected 64 hexadecimal digits, as `sha256sum` prints them")]
pub struct ContentHashError {
    /// What was given.
    pub text: String,
}

impl FromStr for ContentHash {
    type Err = ContentHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_hex(text)
            .map(Self)
            .ok_or_else(|| ContentHashError { text: text.to_owned() })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = hex_digit(pair[0])? << 4 | hex_digit(pair[1])?;
    }
    Some(bytes)
}

fn hex_digit(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-2, appendix B.1.
    const OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn the_hash_is_sha256_in_hex() {
        assert_eq!(ContentHash::of(b"abc").to_string(), OF_ABC);
        assert_eq!(serde_json::to_value(ContentHash::of(b"abc")).unwrap(), OF_ABC);
    }

    #[test]
    fn a_hash_survives_its_text_and_its_bytes() {
        let hash = ContentHash::of(b"abc");
        assert_eq!(OF_ABC.parse(), Ok(hash));
        assert_eq!(OF_ABC.to_uppercase().parse(), Ok(hash));
        assert_eq!(ContentHash::from(*hash.as_bytes()), hash);
    }

    #[test]
    fn a_text_that_is_no_hash_is_refused_by_name() {
        for text in [
            "",
            "ba78",
            &OF_ABC[1..],
            &OF_ABC.replace('b', "g"),
            &"é".repeat(32),
            &"+1".repeat(32),
        ] {
            let error = text.parse::<ContentHash>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")));
        }
    }
}
