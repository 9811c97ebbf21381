//! Logging in: a token becomes the cookie of a session, which scripts in a page cannot read and other sites cannot send.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::Client;
use super::extract::Body;
use super::identity::Identity;
use super::problem::Problem;
use super::{App, Role, change, cookie, secret};
use crate::store::{requests, tokens};

/// How long a browser stays logged in.
const LASTS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Wrong tokens from one address before it has to wait, and how long until one more is allowed.
const TRIES: f64 = 10.0;
const ONE_MORE_AFTER: Duration = Duration::from_secs(6);

/// Sources that are remembered: more at once are no people.
const ADDRESSES: usize = 10_000;

/// A proxy speaks for many: so many times more are allowed from all that are behind it.
const BEHIND_ONE: f64 = 20.0;

/// Wrong tokens of late, by where they came from.
#[derive(Default)]
pub struct Logins(Mutex<HashMap<Source, Bucket>>);

/// Those who wait together.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Source {
    /// An address, and whom it speaks for: nobody behind a proxy shuts out the others.
    Client(IpAddr, Option<IpAddr>),
    /// An address that speaks for others: whoever makes them up gets no further.
    Proxy(IpAddr),
}

impl Source {
    /// All that a client counts for.
    fn all_of(client: Client) -> impl Iterator<Item = Source> {
        let peer = neighbourhood(client.peer);
        let proxy = client.behind.map(|_| Source::Proxy(peer));
        [Source::Client(peer, client.behind.map(neighbourhood))]
            .into_iter()
            .chain(proxy)
    }

    /// How much more it may than a client.
    fn factor(self) -> f64 {
        match self {
            Source::Client(..) => 1.0,
            Source::Proxy(_) => BEHIND_ONE,
        }
    }
}

struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn refill(&mut self, source: Source, now: Instant) {
        let more = now.duration_since(self.at).as_secs_f64() / ONE_MORE_AFTER.as_secs_f64();
        self.left = (self.left + more * source.factor()).min(TRIES * source.factor());
        self.at = now;
    }
}

/// The addresses of one household or data centre count as one: IPv6 gives everybody more of them than can be counted.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let mut segments = address.segments();
            segments[4..].fill(0);
            IpAddr::V6(segments.into())
        }
        address => address,
    }
}

impl Logins {
    /// How long a client has to wait before its next try; none: not at all.
    fn wait(&self, client: Client, now: Instant) -> Option<Duration> {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        let waits = Source::all_of(client).filter_map(|source| {
            let bucket = buckets.get_mut(&source)?;
            bucket.refill(source, now);
            (bucket.left < 1.0).then(|| ONE_MORE_AFTER.mul_f64((1.0 - bucket.left) / source.factor()))
        });
        waits.max()
    }

    /// A token was wrong.
    fn note_wrong(&self, client: Client, now: Instant) {
        let mut buckets = self.0.lock().expect("no holder of this lock can panic");
        if buckets.len() >= ADDRESSES {
            buckets.retain(|source, bucket| {
                bucket.refill(*source, now);
                bucket.left < TRIES * source.factor()
            });
        }
        for source in Source::all_of(client) {
            if buckets.len() >= ADDRESSES && !buckets.contains_key(&source) {
                continue;
            }
            let fresh = Bucket {
                left: TRIES * source.factor(),
                at: now,
            };
            let bucket = buckets.entry(source).or_insert(fresh);
            bucket.refill(source, now);
            bucket.left -= 1.0;
        }
    }
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
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = LogIn, responses((status = 200, body = Session), super::problem::Refusals))]
pub async fn log_in(
    State(api): App,
    client: Client,
    headers: HeaderMap,
    Body(wanted): Body<LogIn>,
) -> Result<Response, Problem> {
    if let Some(wait) = api.logins.wait(client, Instant::now()) {
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
        api.logins.note_wrong(client, Instant::now());
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
        secret_sha256: secret::hash(&value),
        address: Some(client.to_string()),
    };
    change::record(&mut connection, &who, "session.begin", &holder.name, None, None).await?;
    // A proxy that ends TLS says so; whoever claims it without one only shuts himself out.
    let is_secure = headers.get("x-forwarded-proto").is_some_and(|value| value == "https");
    let cookie = cookie::write(&headers, &value, LASTS, is_secure);
    let session = Session {
        name: holder.name,
        role,
    };
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(session)).into_response())
}

/// Say who is logged in.
#[utoipa::path(get, path = "/api/v1/session", tag = "session", responses((status = 200, body = Session), super::problem::Refusals))]
pub async fn read_session(who: Identity) -> axum::Json<Session> {
    axum::Json(Session {
        name: who.name,
        role: who.role,
    })
}

/// Log out.
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", responses((status = 204), super::problem::Refusals))]
pub async fn log_out(State(api): App, who: Identity, headers: HeaderMap) -> Result<Response, Problem> {
    if let Some(value) = cookie::read(&headers) {
        let mut connection = api.database.connection().await?;
        requests::in_transaction(&mut connection, async |connection| {
            if tokens::end_session(connection, &secret::hash(&value)).await? {
                change::record(connection, &who, "session.end", &who.name, None, None).await?;
            }
            Ok::<_, Problem>(())
        })
        .await?;
    }
    let cookie = cookie::write(&headers, "", Duration::ZERO, false);
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, behind: Option<&str>) -> Client {
        Client {
            peer: peer.parse().unwrap(),
            behind: behind.map(|address| address.parse().unwrap()),
        }
    }

    #[test]
    fn wrong_tokens_make_their_address_wait_and_no_other() {
        let (logins, now) = (Logins::default(), Instant::now());
        let (one, other) = (client("10.0.0.1", None), client("10.0.0.2", None));
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
            logins.note_wrong(client(&format!("2001:db8::{host:x}"), None), now);
        }
        assert!(logins.wait(client("2001:db8::ffff", None), now).is_some());
        assert_eq!(logins.wait(client("2001:db8:1::1", None), now), None);
    }

    #[test]
    fn behind_a_proxy_nobody_shuts_out_the_others_and_nobody_gets_by_with_made_up_addresses() {
        let (logins, now) = (Logins::default(), Instant::now());
        let (one, other) = ("203.0.113.9", "203.0.113.10");
        for _ in 0..10 {
            logins.note_wrong(client("127.0.0.1", Some(one)), now);
        }
        assert!(logins.wait(client("127.0.0.1", Some(one)), now).is_some());
        assert_eq!(logins.wait(client("127.0.0.1", Some(other)), now), None);
        for number in 0..190 {
            logins.note_wrong(client("127.0.0.1", Some(&format!("10.0.{number}.1"))), now);
        }
        assert!(logins.wait(client("127.0.0.1", Some(other)), now).is_some());
    }
}
