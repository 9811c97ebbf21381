//! Signatures that Lark and DingTalk ask of whoever posts to a bot, as their documentation defines them.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Lark: `timestamp` in seconds, a newline and the secret are the key, and nothing is signed with it
/// (<https://open.larksuite.com/document/client-docs/bot-v3/add-custom-bot>).
pub fn lark(timestamp: i64, secret: &str) -> String {
    base64(&hmac_sha256(format!("{timestamp}\n{secret}").as_bytes(), b""))
}

/// DingTalk: `timestamp` in milliseconds, a newline and the secret are signed with the secret
/// (<https://open.dingtalk.com/document/robots/customize-robot-security-settings>). Not yet encoded for a URL.
pub fn dingtalk(timestamp_ms: i64, secret: &str) -> String {
    base64(&hmac_sha256(
        secret.as_bytes(),
        format!("{timestamp_ms}\n{secret}").as_bytes(),
    ))
}

fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is one");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            match place <= chunk.len() {
                true => text.push(char::from(ALPHABET[(bits >> (18 - 6 * place) & 63) as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

/// A text as the value of a parameter of a URL.
pub fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_that_python_computes() {
        // base64.b64encode(hmac.new(b"1599360473\nabc", b"", "sha256").digest())
        assert_eq!(
            lark(1_599_360_473, "abc"),
            "cgtpJzI2j6bUDggbdGYjskCK3FPgKpTkwosfWsMzKqM="
        );
        // base64.b64encode(hmac.new(b"SECabc", b"1577262236757\nSECabc", "sha256").digest())
        assert_eq!(
            dingtalk(1_577_262_236_757, "SECabc"),
            "I5TKCOTTj6fad4sJ4q9RsIffw0PAChVQZQGTdtRbNEQ="
        );
    }

    #[test]
    fn base64_is_padded() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn what_a_url_would_misread_is_encoded() {
        assert_eq!(percent_encode("a+b/c=ü"), "a%2Bb%2Fc%3D%C3%BC");
    }
}
