//! Logging in: a token becomes the cookie of a session, which scripts in a page cannot read and other sites cannot send.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::extract::Body;
use super::identity::Identity;
use super::problem::Problem;
use super::{App, Role, change, secret};
use crate::store::tokens;

/// The one path below `/api` that is open: it is the way in.
pub const PATH: &str = "/api/v1/session";

/// How long a browser stays logged in.
const LASTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Wrong tokens from one address before it has to wait, and how long until one more is allowed.
const TRIES: f64 = 10.0;
const ONE_MORE_AFTER: Duration = Duration::from_secs(6);

/// Addresses that are remembered: more at once are no people.
const ADDRESSES: usize = 10_000;

/// Wrong tokens of late, by address.
#[derive(Default)]
pub struct Logins(Mutex<HashMap<IpAddr, Bucket>>);

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, now: Instant) {
        let more = now.duration_since(self.at).as_secs_f64() / ONE_MORE_AFTER.as_secs_f64();
        self.left = (self.left + more).min(TRIES);
        self.at = now;
    }
}

/// The addresses of one household or data centre count as one: IPv6 gives everybody more of them than can be counted.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        address => address,
    }
}

impl Logins {
    /// How long an address has to wait before its next try; none: not at all.
    fn wait(&self, address: IpAddr, now: Instant) -> Option<Duration> {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        let bucket = buckets.get_mut(&neighbourhood(address))?;
        bucket.refill(now);
        (bucket.left < 1.0).then(|| ONE_MORE_AFTER.mul_f64(1.0 - bucket.left))
    }

    /// A token was wrong.
    fn note_wrong(&self, address: IpAddr, now: Instant) {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        if buckets.len() >= ADDRESSES {
            buckets.retain(|_, bucket| {
                bucket.refill(now);
                bucket.left < TRIES
            });
        }
        if buckets.len() >= ADDRESSES {
            return;
        }
        let bucket = buckets
            .entry(neighbourhood(address))
            .or_insert(Bucket { left: TRIES, at: now });
        bucket.refill(now);
        bucket.left -= 1.0;
    }
}

/// The cookie of a port: browsers send the cookies of a host to all of its ports.
fn cookie_name(port: u16) -> String {
    format!("dropcron_session_{port}")
}

/// The value of the session's cookie, if a browser sent one.
pub fn cookie(headers: &HeaderMap, port: u16) -> Option<String> {
    let name = cookie_name(port);
    let pairs = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().split_once('=').filter(|(key, _)| *key == name));
    let (_, value) = values.next()?;
    (!value.is_empty() && value.len() <= secret::LONGEST).then(|| value.to_owned())
}

/// What is brought to log in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogIn {
    /// A token.
    pub token: String,
}

/// Who is logged in.
#[derive(Debug, Serialize, ToSchema)]
pub struct Session {
    /// The name of the token.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// Log in with a token. The answer sets a cookie.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = LogIn, responses((status = 200, body = Session), super::router::Refusals))]
pub async fn log_in(
    State(api): App,
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Body(wanted): Body<LogIn>,
) -> Result<Response, Problem> {
    if let Some(wait) = api.logins.wait(address.ip(), Instant::now()) {
        let seconds = wait.as_secs() + 1;
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            format!("too many wrong tokens came from your address; try again in {seconds} s"),
        )
        .with_header(header::RETRY_AFTER, HeaderValue::from(seconds)));
    }
    let token = wanted.token.trim();
    let mut connection = api.database.connection().await?;
    let holder = match token.len() <= secret::LONGEST {
        true => tokens::holder_of_token(&mut connection, &secret::hash(token)).await?,
        false => None,
    };
    let known = holder.and_then(|holder| Role::of_word(&holder.role).map(|role| (holder, role)));
    let Some((holder, role)) = known else {
        api.logins.note_wrong(address.ip(), Instant::now());
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this token opens nothing here: it is mistyped, or was revoked; `dropcron token create NAME` makes another",
        ));
    };
    let value = secret::new_value().map_err(Problem::internal)?;
    tokens::begin_session(&mut connection, &secret::hash(&value), holder.token_id, LASTS).await?;
    let who = Identity {
        token_id: holder.token_id,
        name: holder.name.clone(),
        role,
        address: Some(address.ip().to_canonical().to_string()),
    };
    change::record(&mut connection, &who, "session.begin", &holder.name, None, None).await?;
    // A proxy that ends TLS says so; whoever claims it without one only shuts himself out.
    let is_secure = headers.get("x-forwarded-proto").is_some_and(|value| value == "https");
    let cookie = set_cookie(api.given.port, &value, LASTS, is_secure);
    let session = Session {
        name: holder.name,
        role,
    };
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(session)).into_response())
}

fn set_cookie(port: u16, value: &str, lasts: Duration, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!(
        "{}={value}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict{secure}",
        cookie_name(port),
        lasts.as_secs()
    )
}

/// Say who is logged in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = Session), super::router::Refusals))]
pub async fn read_session(who: Identity) -> axum::Json<Session> {
    axum::Json(Session {
        name: who.name,
        role: who.role,
    })
}

/// Log out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204), super::router::Refusals))]
pub async fn log_out(State(api): App, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(value) = cookie(&headers, api.given.port) {
        let mut connection = api.database.connection().await?;
        tokens::end_session(&mut connection, &secret::hash(&value)).await?;
    }
    let cookie = set_cookie(api.given.port, "", Duration::ZERO, false);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_tokens_make_their_address_wait_and_no_other() {
        let (logins, now) = (Logins::default(), Instant::now());
        let (one, other): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..10 {
            assert_eq!(logins.wait(one, now), None);
            logins.note_wrong(one, now);
        }
        assert!(logins.wait(one, now).is_some());
        assert_eq!(logins.wait(other, now), None);
        assert_eq!(logins.wait(one, now + ONE_MORE_AFTER), None);
    }

    #[test]
    fn addresses_of_one_network_wait_together() {
        let (logins, now) = (Logins::default(), Instant::now());
        for host in 1..=10_u16 {
            logins.note_wrong(format!("2001:db8::{host:x}").parse().unwrap(), now);
        }
        assert!(logins.wait("2001:db8::ffff".parse().unwrap(), now).is_some());
        assert_eq!(logins.wait("2001:db8:1::1".parse().unwrap(), now), None);
    }

    #[test]
    fn the_cookie_is_that_of_the_port() {
        let read = |text: &'static str| {
            let headers = [(header::COOKIE, HeaderValue::from_static(text))].into_iter().collect();
            cookie(&headers, 8642)
        };
        assert_eq!(read("a=b; dropcron_session_8642=x; c=d").as_deref(), Some("x"));
        assert_eq!(read("dropcron_session_1=x"), None);
        assert_eq!(read("dropcron_session_8642="), None);
        let set = set_cookie(8642, "x", LASTS, true);
        for part in ["HttpOnly", "SameSite=Strict", "Secure", "Path=/"] {
            assert!(set.contains(part), "{set}");
        }
    }
}
