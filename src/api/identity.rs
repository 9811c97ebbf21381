//! Who asks: by a token in `Authorization`, or by the cookie of a session.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::client::Client;
use super::places::Place;
use super::problem::Problem;
use super::{Api, Role, cookie, secret};
use crate::store::tokens::{self, Holder};

/// Who asks.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The token.
    pub token_id: i64,
    /// Its name.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The hash of what it brought: a token, or the secret of a session.
    pub secret_sha256: [u8; 32],
    /// The address that it comes from.
    pub address: Option<String>,
}

impl Identity {
    /// Who did it, as it stands in rows.
    pub fn actor(&self) -> String {
        format!("{} (token)", self.name)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get().cloned().ok_or_else(unauthorized)
    }
}

/// The one path below `/api` that is open: logging in.
const WAY_IN: &str = "/api/v1/session";

/// Whether a path is closed to those of whom nothing is known, whatever the router has there.
fn is_closed(path: &str) -> bool {
    path.starts_with("/api") && path != WAY_IN || path == super::metrics::PATH
}

/// Finds out who asks. Whatever is not known to be open is refused here, before any handler.
pub async fn identify(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    // Everything that there is of the page is open, and asks the database nothing.
    if !request.uri().path().starts_with("/api") && !is_closed(request.uri().path()) {
        return next.run(request).await;
    }
    let address = Client::of(request.extensions(), request.headers()).map(|client| client.to_string());
    let found = match find(&api, request.headers()).await {
        Ok(found) => found,
        Err(problem) => return problem.into_response(),
    };
    if let Some(place) = request.extensions().get::<Arc<Place>>() {
        place.note(found.is_some());
    }
    match found {
        Some((holder, secret_sha256)) => {
            let Some(role) = Role::of_word(&holder.role) else {
                return unauthorized().into_response();
            };
            request.extensions_mut().insert(Identity {
                token_id: holder.token_id,
                name: holder.name,
                role,
                secret_sha256,
                address,
            });
        }
        None if is_closed(request.uri().path()) => return unauthorized().into_response(),
        None => {}
    }
    next.run(request).await
}

/// Whose the token or the session is, and the hash of its secret.
async fn find(api: &Api, headers: &HeaderMap) -> Result<Option<(Holder, [u8; 32])>, Problem> {
    let (value, is_token) = match bearer(headers) {
        Some(token) => (Some(token.to_owned()), true),
        None => (cookie::read(headers), false),
    };
    let Some(value) = value.filter(|value| !value.is_empty() && value.len() <= secret::LONGEST) else {
        return Ok(None);
    };
    let sha256 = secret::hash(&value);
    let mut connection = api.database.connection().await?;
    let holder = match is_token {
        true => tokens::holder_of_token(&mut connection, &sha256).await?,
        false => tokens::holder_of_session(&mut connection, &sha256).await?,
    };
    Ok(holder.map(|holder| (holder, sha256)))
}

/// What stands for a token in `Authorization: Bearer …`, which comes before a cookie. Every other scheme is for a proxy in front: browsers
/// and proxies pass on what they have said to each other.
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut bearers = headers.get_all(header::AUTHORIZATION).iter().filter_map(|value| {
        let text = value.to_str().ok()?;
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    bearers.next_back()
}

/// Nobody is known here.
pub fn unauthorized() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "this needs a token: send `Authorization: Bearer TOKEN`, or log in on the page; `dropcron token create NAME` makes one",
    )
    .with_header(
        header::WWW_AUTHENTICATE,
        HeaderValue::from_static("Bearer realm=\"dropcron\""),
    )
}

/// Known, but may not.
pub fn forbidden(has: Role, needs: Role) -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        format!(
            "this token has the role `{}`, and this needs `{}`; somebody who may makes another with `dropcron token create NAME \
             --role {}`",
            has.as_str(),
            needs.as_str(),
            needs.as_str()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_from_its_header() {
        let read = |text: &'static str| {
            let headers = [(header::AUTHORIZATION, HeaderValue::from_static(text))];
            bearer(&headers.into_iter().collect()).map(str::to_owned)
        };
        assert_eq!(read("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(read("bearer  abc ").as_deref(), Some("abc"));
        // A token that is empty is one that opens nothing, and no cookie takes its place.
        for empty in ["Bearer ", "Bearer"] {
            assert_eq!(read(empty).as_deref(), Some(""), "{empty}");
        }
        for other in ["abc", "Basic abc", "Bearerabc x"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_not_known_to_be_open_is_closed() {
        for open in [
            "/",
            "/index.html",
            "/healthz",
            "/readyz",
            "/assets/a.js",
            "/api/v1/session",
        ] {
            assert!(!is_closed(open), "{open}");
        }
        for closed in [
            "/api",
            "/api/",
            "/api/v1/tasks",
            "/api/openapi.json",
            "/metrics",
            "/api/v1/session/x",
            "/apiary",
        ] {
            assert!(is_closed(closed), "{closed}");
        }
    }
}
