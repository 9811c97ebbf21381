//! Where a request comes from: names that the service answers to, and pages that may change something.
//!
//! A page of somebody else's can make a browser send requests here: under a name of theirs that they let point to this machine
//! (DNS rebinding), or with the browser's cookie (CSRF). The first is met by the names in `Host`, the second by `Origin` and
//! `Sec-Fetch-Site`, which pages cannot set.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::identity::bearer;
use super::problem::Problem;

/// Refuses requests that come under a strange name, and changes that a strange page asks for.
pub async fn check(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let Some(host) = host_of(&request) else {
        return Problem::bad_request("the request names no host; send one `Host` header").into_response();
    };
    if !answers_to(&host, &api.given.hosts) {
        return Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!(
                "dropcron does not answer to the name `{}`: call it by its address or `localhost`, or add the name to `DROPCRON_HOSTS`",
                name_of(&host)
            ),
        )
        .into_response();
    }
    if !is_safe(request.method())
        && let Err(problem) = check_origin(request.headers(), &host)
    {
        return problem.into_response();
    }
    if request.uri().path().contains("%00") || request.uri().query().is_some_and(|query| query.contains("%00")) {
        return Problem::bad_request("the URL has the character NUL (`%00`) in it; leave it out").into_response();
    }
    next.run(request).await
}

/// Methods that change nothing here; a test holds the handlers to it.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

fn host_of(request: &Request) -> Option<String> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok()?.to_owned(),
        (None, _) => request.uri().authority()?.to_string(),
        (Some(_), Some(_)) => return None,
    };
    (!host.is_empty()).then_some(host)
}

/// The name in `name:port`, `[::1]:port` or `name`, in small letters, without the dot that may end it.
fn name_of(host: &str) -> String {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split(':').next().unwrap_or(host),
    };
    name.trim_end_matches('.').to_ascii_lowercase()
}

/// An address cannot be made to point elsewhere, and `localhost` is this machine; every other name somebody must have allowed.
fn answers_to(host: &str, allowed: &[String]) -> bool {
    let name = name_of(host);
    name.parse::<IpAddr>().is_ok() || name == "localhost" || allowed.contains(&name)
}

/// Whoever is no browser sends neither header. A browser sends at least one with every change.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let text = |name| {
        headers
            .get(name)
            .map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"))
    };
    let strange = || {
        Problem::new(
            StatusCode::FORBIDDEN,
            "this change was asked for by a page of another origin; use the page that dropcron itself serves (a proxy in front must \
             pass the `Host` of the browser on, with its port)",
        )
    };
    if let Some(site) = text("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(strange());
    }
    if let Some(origin) = text("origin") {
        let from = origin.split_once("://").map(|(_, from)| from).ok_or_else(strange)?;
        // Another port is another page, which has the cookie too. A proxy that tells its own host and port tells them here; a page
        // cannot.
        let is_same = from.eq_ignore_ascii_case(host)
            || text("x-forwarded-host").is_some_and(|forwarded| from.eq_ignore_ascii_case(forwarded));
        return if is_same { Ok(()) } else { Err(strange()) };
    }
    let has_cookie = headers.contains_key(header::COOKIE) && bearer(headers).is_none();
    let from_browser = text("sec-fetch-site").is_some();
    if has_cookie && !from_browser {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a change with a cookie must say where it comes from: send `Origin`, or a token instead of the cookie",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn allowed() -> Vec<String> {
        vec!["cron.example.org".to_owned()]
    }

    #[test]
    fn it_answers_to_addresses_localhost_and_names_that_are_allowed() {
        for host in [
            "127.0.0.1:8642",
            "[::1]:8642",
            "localhost",
            "LOCALHOST:1",
            "10.0.0.7",
            "cron.example.org",
            "Cron.Example.Org.:443",
        ] {
            assert!(answers_to(host, &allowed()), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8642",
            "xcron.example.org",
            "cron.example.org.evil",
        ] {
            assert!(!answers_to(host, &allowed()), "{host}");
        }
    }

    fn origin(pairs: &[(&'static str, &'static str)], host: &str) -> bool {
        let headers = pairs
            .iter()
            .map(|(name, value)| {
                let name: header::HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_static(value))
            })
            .collect();
        check_origin(&headers, host).is_ok()
    }

    #[test]
    fn a_change_comes_from_the_page_itself_or_from_no_browser() {
        let host = "127.0.0.1:8642";
        assert!(origin(&[], host));
        assert!(origin(&[("authorization", "Bearer x")], host));
        assert!(origin(&[("origin", "http://127.0.0.1:8642"), ("cookie", "x=y")], host));
        let proxied = [
            ("origin", "https://cron.example.org"),
            ("x-forwarded-host", "cron.example.org"),
        ];
        assert!(origin(&proxied, "127.0.0.1:8642"));
        assert!(!origin(
            &[("origin", "http://cron.example.org:9999")],
            "cron.example.org"
        ));
        assert!(!origin(&[("origin", "http://127.0.0.1:9999")], host));
        assert!(!origin(&[("origin", "http://evil.example")], host));
        assert!(!origin(&[("origin", "null")], host));
        assert!(!origin(&[("sec-fetch-site", "cross-site")], host));
        assert!(!origin(
            &[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8642")],
            host
        ));
        assert!(!origin(&[("cookie", "x=y")], host));
        assert!(origin(&[("cookie", "x=y"), ("authorization", "Bearer x")], host));
        // What a proxy in front was told is no token of ours.
        assert!(!origin(&[("cookie", "x=y"), ("authorization", "Basic x")], host));
    }
}
