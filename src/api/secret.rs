//! Secrets that open the API: made from the kernel's randomness, stored as their SHA-256 only.

use sha2::{Digest, Sha256};

/// What a token begins with, so that people and scanners of leaked secrets know one when they see it.
const PREFIX: &str = "dropcron_";

/// Random bytes of a secret: 256 bits cannot be guessed, so a plain hash of them is as good as a slow one.
const RANDOM_BYTES: usize = 32;

/// A token from a file must have so many characters: somebody may have made it up.
pub const SHORTEST: usize = 32;

/// A longer one is no token, and is not hashed.
pub const LONGEST: usize = 512;

/// A new token, such as `dropcron_3f…`.
///
/// # Errors
/// The kernel gives no randomness.
pub fn new_token() -> Result<String, getrandom::Error> {
    Ok(format!("{PREFIX}{}", new_value()?))
}

/// A new random value for a cookie.
///
/// # Errors
/// The kernel gives no randomness.
pub fn new_value() -> Result<String, getrandom::Error> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What the database keeps of a secret. Looking it up by this tells nothing by its time: whoever tries cannot choose the hash.
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_and_never_the_same() {
        let (one, other) = (new_token().unwrap(), new_token().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with(PREFIX) && one.len() == PREFIX.len() + 2 * RANDOM_BYTES);
        assert!(one.len() >= SHORTEST && one.len() <= LONGEST);
    }

    #[test]
    fn a_hash_is_that_of_sha256sum() {
        let hex: String = hash("abc").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
