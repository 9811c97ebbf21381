//! Where a request comes from: the address at the other end, and what a proxy there says of whoever is behind it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName};

use super::problem::Problem;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// What the last proxy wrote down as the address of whoever asked it. Without a proxy anybody writes it himself.
    pub behind: Option<IpAddr>,
}

impl Client {
    /// Of a request; none: it came over no connection.
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Option<Client> {
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(Client::new(peer.ip(), headers))
    }

    fn new(peer: IpAddr, headers: &HeaderMap) -> Client {
        // Each proxy appends: only the last entry is the word of the one that we talk to.
        let last = headers.get_all(FORWARDED_FOR).iter().next_back();
        let last = last.and_then(|value| value.to_str().ok()?.rsplit(',').next()?.trim().parse().ok());
        Client {
            peer: peer.to_canonical(),
            behind: last.map(|address: IpAddr| address.to_canonical()),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Client::of(&parts.extensions, &parts.headers)
            .ok_or_else(|| Problem::internal("a request came over no connection"))
    }
}

impl fmt::Display for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.behind {
            Some(behind) => write!(formatter, "{behind} via {}", self.peer),
            None => write!(formatter, "{}", self.peer),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn it_is_who_the_nearest_proxy_says() {
        let of = |values: &[&'static str]| {
            let headers = values
                .iter()
                .map(|value| (FORWARDED_FOR, HeaderValue::from_static(value)))
                .collect();
            Client::new("::ffff:127.0.0.1".parse().unwrap(), &headers).to_string()
        };
        assert_eq!(of(&[]), "127.0.0.1");
        assert_eq!(of(&["203.0.113.9"]), "203.0.113.9 via 127.0.0.1");
        assert_eq!(of(&["10.9.9.9, 203.0.113.9"]), "203.0.113.9 via 127.0.0.1");
        assert_eq!(of(&["10.9.9.9", "203.0.113.9"]), "203.0.113.9 via 127.0.0.1");
        assert_eq!(of(&["nobody"]), "127.0.0.1");
    }
}
