//! The cookie of a session: scripts in a page cannot read it, and other sites cannot send it.

use std::time::Duration;

use axum::http::{HeaderMap, header};

use super::secret;

/// The port that a client names; none: it names none, as at the port of the scheme.
fn port_of(headers: &HeaderMap) -> Option<u16> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    let (_, port) = host.rsplit_once(':')?;
    // That of `[::1]` is no port, and does not read as one.
    port.parse().ok()
}

/// The cookie of the port that the browser talks to, which may be a proxy's: browsers send the cookies of a host to all of its ports.
fn name(headers: &HeaderMap) -> String {
    match port_of(headers) {
        Some(port) => format!("dropcron_session_{port}"),
        None => "dropcron_session".to_owned(),
    }
}

/// The value of the session's cookie, if a browser sent one.
pub fn read(headers: &HeaderMap) -> Option<String> {
    let name = name(headers);
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name));
    let (_, value) = values.next()?;
    (!value.is_empty() && value.len() <= secret::LONGEST).then(|| value.to_owned())
}

/// What sets it, for so long.
pub fn write(headers: &HeaderMap, value: &str, lasts: Duration, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        name(headers),
        lasts.as_secs()
    )
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn the_cookie_is_that_of_the_port() {
        let headers = |cookie: &'static str, host: &'static str| -> HeaderMap {
            let pairs = [
                (header::COOKIE, HeaderValue::from_static(cookie)),
                (header::HOST, HeaderValue::from_static(host)),
            ];
            pairs.into_iter().collect()
        };
        let read = |text, host| read(&headers(text, host));
        let both = "a=b; dropcron_session_8642=x; dropcron_session=y";
        assert_eq!(read(both, "127.0.0.1:8642").as_deref(), Some("x"));
        assert_eq!(read(both, "cron.example.org").as_deref(), Some("y"));
        assert_eq!(read(both, "[::1]:8643"), None);
        assert_eq!(read("dropcron_session_8642=", "[::1]:8642"), None);
        let set = write(&headers("", "[::1]:8642"), "x", Duration::from_secs(60), true);
        for part in [
            "dropcron_session_8642=x; ",
            "Max-Age=60",
            "HttpOnly",
            "SameSite=Strict",
            "Secure",
            "Path=/",
        ] {
            assert!(set.contains(part), "{set}");
        }
    }
}
