//! What the API answers when it cannot do what it is asked: problem documents (RFC 9457).
//!
//! A problem has words for the person who asked. What only operators may know (the cause of an internal error) goes to the log.

use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::database::PoolError;
use crate::store::{StoreError, is_connection_lost, is_taken_by_another};

/// The media type of RFC 9457.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// When to ask again what the database did not answer, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A problem document (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(title = "Problem")]
pub struct Problem {
    /// What kind of problem it is; `about:blank` says that the status says it.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to which thing, and what to do next.
    pub detail: String,
    /// What is wrong with a script, place by place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ScriptProblem>,
    /// A header of the answer.
    #[serde(skip)]
    header: Option<Box<(HeaderName, HeaderValue)>>,
    /// Whether nothing was done because somebody else took the same place in the same moment: asking again helps.
    #[serde(skip)]
    pub(super) is_collision: bool,
}

/// How the API refuses.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "it stands for what handlers return as problem documents")]
pub enum Refusals {
    /// What was sent cannot be read, or makes no sense.
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(Problem),
    /// There was no token, or it opens nothing.
    #[response(status = 401, content_type = "application/problem+json")]
    Unauthorized(Problem),
    /// The token's role may not do this, or a page of another origin asked.
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(Problem),
    /// There is no such thing.
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(Problem),
    /// It is not as whoever asks believes it to be.
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(Problem),
    /// It was changed meanwhile.
    #[response(status = 412, content_type = "application/problem+json")]
    PreconditionFailed(Problem),
    /// It is larger than it may be.
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(Problem),
    /// The body is no JSON.
    #[response(status = 415, content_type = "application/problem+json")]
    UnsupportedMediaType(Problem),
    /// The service does not answer to this name.
    #[response(status = 421, content_type = "application/problem+json")]
    Misdirected(Problem),
    /// It was read, and is wrong.
    #[response(status = 422, content_type = "application/problem+json")]
    Unprocessable(Problem),
    /// It must be said what is there now.
    #[response(status = 428, content_type = "application/problem+json")]
    PreconditionRequired(Problem),
    /// Too many wrong tokens came from this address.
    #[response(status = 429, content_type = "application/problem+json")]
    TooManyRequests(Problem),
    /// dropcron failed; its log says why.
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(Problem),
    /// The database cannot be reached, or did not answer in time.
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(Problem),
}

/// One thing that is wrong with a script.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema, PartialEq, Eq)]
pub struct ScriptProblem {
    /// Line in the file, from 1; none: it is about the whole file.
    pub line: Option<u32>,
    /// Column in that line, in characters, from 1.
    pub column: Option<u32>,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl Problem {
    /// A problem of a status, in the words of whoever found it.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Problem").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            errors: Vec::new(),
            header: None,
            is_collision: false,
        }
    }

    /// What was sent cannot be read, or makes no sense.
    pub fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, detail)
    }

    /// It is not as whoever asks believes it to be.
    pub fn conflict(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::CONFLICT, detail)
    }

    /// It was read, and is wrong.
    pub fn unprocessable(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// dropcron failed. The cause goes to the log, once, here.
    pub fn internal(cause: impl std::fmt::Display) -> Problem {
        tracing::error!(error = format!("{cause:#}"), "a request could not be answered");
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "dropcron could not answer this; its log says why",
        )
    }

    /// Says what is wrong with a script, place by place.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<ScriptProblem>) -> Problem {
        self.errors = errors;
        self
    }

    /// With a header beside it.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.header = Some(Box::new((name, value)));
        self
    }

    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (
            self.status_code(),
            [(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE))],
            body,
        )
            .into_response();
        if let Some(header) = self.header {
            let (name, value) = *header;
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<PoolError> for Problem {
    fn from(error: PoolError) -> Problem {
        tracing::warn!(%error, "a request finds no database");
        unavailable()
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        if is_connection_lost(&error) {
            tracing::warn!(%error, "a request lost its database");
            return unavailable();
        }
        if is_taken_by_another(&error) {
            let mut problem = Problem::conflict("somebody else changed the same thing in the same moment; ask again");
            problem.is_collision = true;
            return problem;
        }
        let is_timeout = matches!(&error, StoreError::DatabaseError(_, information)
            // Of the statement, or of a lock that it waits for.
            if information.message().ends_with(" timeout"));
        if is_timeout {
            tracing::warn!(%error, "a request asked for too much at once");
            return Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database did not answer this in time; ask for less, for example for a shorter span of time",
            )
            .with_header(header::RETRY_AFTER, RETRY_AFTER);
        }
        Problem::internal(error)
    }
}

fn unavailable() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "the database cannot be reached at the moment; scripts that run go on, try again in a moment",
    )
    .with_header(header::RETRY_AFTER, RETRY_AFTER)
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Problem {
        let text = rejection.body_text();
        match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than it may be here")
            }
            _ if text.contains("timeout") => Problem::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come in time; send it again, in one go",
            ),
            status => Problem::new(status, text),
        }
    }
}

/// That a body is larger than it may be.
pub(super) fn too_large(largest: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        format!("the body may have at most {} KiB here", largest / 1024),
    )
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

impl From<PathRejection> for Problem {
    fn from(rejection: PathRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}
