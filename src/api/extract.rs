//! What a request brings, read or refused with a problem document that says what is wrong with it.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use crate::store::observations::FIRST_INSTANT;

/// What a page has at most where nobody says how much.
pub const PAGE: i64 = 100;

/// What a page has at most.
pub const LARGEST_PAGE: i64 = 1000;

/// A JSON body.
pub struct Body<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let media_type = request.headers().get(header::CONTENT_TYPE);
        let is_json = media_type
            .and_then(|value| value.to_str().ok())
            .and_then(|text| text.split(';').next())
            .is_some_and(|text| text.trim().eq_ignore_ascii_case("application/json"));
        if !is_json {
            return Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be JSON; send it with `Content-Type: application/json`",
            ));
        }
        let bytes = Bytes::from_request(request, state).await?;
        if has_nul_escape(&bytes) {
            return Err(Problem::bad_request(
                "the body has the character NUL (`\\u0000`) in it, which text in Postgres cannot hold; leave it out",
            ));
        }
        match serde_json::from_slice(&bytes) {
            Ok(value) => Ok(Body(value)),
            Err(error) if error.is_data() => Err(Problem::unprocessable(format!("the body cannot be used: {error}"))),
            Err(error) => Err(Problem::bad_request(format!("the body is no JSON: {error}"))),
        }
    }
}

/// Whether a string of a JSON text has the escape of NUL in it; `\\u0000` is a backslash and five letters.
fn has_nul_escape(json: &[u8]) -> bool {
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &json[at..]) {
        let escape = &json[at + found + 1..];
        if escape.starts_with(b"u0000") {
            return true;
        }
        at += found + 2;
        if at >= json.len() {
            return false;
        }
    }
    false
}

/// What stands behind the `?` of the URL.
pub struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Query(value) = Query::from_request_parts(parts, state).await?;
        Ok(Params(value))
    }
}

/// What stands in the path of the URL.
pub struct Segment<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(value) = Path::from_request_parts(parts, state).await?;
        Ok(Segment(value))
    }
}

/// How many rows are wanted.
pub fn page_size(limit: Option<i64>) -> Result<i64, Problem> {
    match limit {
        None => Ok(PAGE),
        Some(limit) if (1..=LARGEST_PAGE).contains(&limit) => Ok(limit),
        Some(limit) => Err(Problem::bad_request(format!(
            "`limit` is {limit}: it must be from 1 to {LARGEST_PAGE}; what comes behind is had with `cursor`"
        ))),
    }
}

/// An instant that Postgres can hold: earlier ones are before everything that there is.
pub fn storable(at: Timestamp) -> Timestamp {
    at.max(FIRST_INSTANT)
}

/// A cursor that some other list gave, or nobody.
pub fn bad_cursor(cursor: &str) -> Problem {
    Problem::bad_request(format!(
        "`cursor` is `{cursor}`: send `next_cursor` of the page before, as it was, or none"
    ))
}

/// A place in a list by time: an instant and a number, joined by `_`.
pub fn read_cursor(cursor: &str) -> Result<(Timestamp, i64), Problem> {
    let read = || {
        let (at, number) = cursor.split_once('_')?;
        Some((storable(at.parse().ok()?), number.parse().ok()?))
    };
    read().ok_or_else(|| bad_cursor(cursor))
}

/// The cursor of a place in a list by time.
pub fn write_cursor(at: Timestamp, number: i64) -> String {
    format!("{at}_{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_escape_of_nul_is_told_from_a_backslash_before_letters() {
        assert!(has_nul_escape(br#"{"a":"x\u0000"}"#));
        assert!(has_nul_escape(br#"{"a":"\\\u0000"}"#));
        assert!(!has_nul_escape(br#"{"a":"\\u0000"}"#));
        assert!(!has_nul_escape(br#"{"a":"\n"}"#));
        assert!(!has_nul_escape(b"\\"));
    }

    #[test]
    fn a_cursor_is_read_as_it_was_written() {
        let at: Timestamp = "2026-11-01T02:30:00.123456Z".parse().unwrap();
        assert_eq!(read_cursor(&write_cursor(at, 4711)).unwrap(), (at, 4711));
        for wrong in ["", "_", "4711", "2026-11-01T02:30:00Z", "2026-11-01T02:30:00Z_x"] {
            assert!(read_cursor(wrong).is_err(), "{wrong}");
        }
    }
}
