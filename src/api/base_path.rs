//! The path below which a proxy serves dropcron, where the proxy passes it on.
//!
//! A proxy that takes the path away itself often decodes the rest, and `prices%2Fbtc` is then two segments. One that passes on what it
//! was asked for, as it was, needs somebody here who knows the path.

use axum::extract::Request;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

/// Takes the path away; requests without it pass as they are, so that health checks need not know of it.
///
/// # Errors
/// The path alone was asked for, without a `/` at its end: the page's relative addresses would lead beside it.
pub fn take(base: &str, mut request: Request) -> Result<Request, Box<Response>> {
    if base.is_empty() {
        return Ok(request);
    }
    let Some(rest) = request
        .uri()
        .path_and_query()
        .and_then(|asked| asked.as_str().strip_prefix(base))
    else {
        return Ok(request);
    };
    if rest.is_empty() || rest.starts_with('?') {
        let to = format!("{base}/{rest}");
        let elsewhere = (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, to)]).into_response();
        return Err(Box::new(elsewhere));
    }
    if rest.starts_with('/')
        && let Ok(rest) = rest.parse::<PathAndQuery>()
    {
        *request.uri_mut() = Uri::from(rest);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn taken(base: &str, asked: &str) -> Result<String, String> {
        let request = Request::builder().uri(asked).body(Body::empty()).unwrap();
        take(base, request)
            .map(|request| request.uri().to_string())
            .map_err(|response| response.headers()[header::LOCATION].to_str().unwrap().to_owned())
    }

    #[test]
    fn the_rest_stays_as_it_was_asked_for() {
        let base = "/tools/cron";
        assert_eq!(
            taken(base, "/tools/cron/api/v1/tasks/a%2Fb?x=%2F").unwrap(),
            "/api/v1/tasks/a%2Fb?x=%2F"
        );
        assert_eq!(taken(base, "/tools/cron/").unwrap(), "/");
        assert_eq!(taken(base, "/healthz").unwrap(), "/healthz");
        assert_eq!(taken(base, "/tools/cronicle/api").unwrap(), "/tools/cronicle/api");
        assert_eq!(taken("", "/tools/cron/").unwrap(), "/tools/cron/");
        assert_eq!(taken(base, "/tools/cron").unwrap_err(), "/tools/cron/");
        assert_eq!(taken(base, "/tools/cron?a=b").unwrap_err(), "/tools/cron/?a=b");
    }
}
