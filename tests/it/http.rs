//! A client of the API for tests: says exactly what the test wants said, over a socket of its own for each request.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::support::{PATIENCE, Serve, World, wait_until};

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with names in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The same answer, which must have this status.
    pub fn must_be(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "{}", self.body);
        self
    }
}

/// Whoever asks.
pub struct Client {
    /// Where the service listens.
    pub address: String,
    /// The token that it brings.
    pub token: Option<String>,
}

impl Client {
    /// Of a service, with the token of its first start.
    pub fn of(world: &World, serve: &Serve) -> Client {
        let address = address_of(serve);
        let token = std::fs::read_to_string(world.data.join("token")).unwrap();
        Client {
            address,
            token: Some(token.trim().to_owned()),
        }
    }

    /// The same with another token, or none.
    pub fn with_token(&self, token: Option<&str>) -> Client {
        Client {
            address: self.address.clone(),
            token: token.map(str::to_owned),
        }
    }

    /// A token of a role, made over the API.
    pub fn with_role(&self, role: &str) -> Client {
        let body = serde_json::json!({ "name": format!("a {role}"), "role": role });
        let made = self
            .send("POST", "/api/v1/tokens", &[], &body.to_string())
            .must_be(201)
            .json();
        self.with_token(made["secret"].as_str())
    }

    /// Asks without a body.
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    /// Asks with JSON.
    pub fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &[], &body.to_string())
    }

    /// Asks. `Host` and `Content-Type` are those of a program unless the test says otherwise.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = self.connect();
        stream.write_all(&self.request(method, path, headers, body)).unwrap();
        let mut bytes = Vec::new();
        // A server that refuses early closes before it has read all.
        if let Err(error) = stream.read_to_end(&mut bytes) {
            assert!(!bytes.is_empty(), "no answer to {method} {path}: {error}");
        }
        parse(&bytes)
    }

    /// A connection.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// The bytes of a request. In HTTP/1.0 an answer ends with its connection, in one piece.
    pub fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Vec<u8> {
        let says = |name: &str| headers.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let mut text = format!("{method} {path} HTTP/1.0\r\n");
        if !says("host") {
            text.push_str(&format!("Host: {}\r\n", self.address));
        }
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|_| !says("authorization") && !says("cookie"))
        {
            text.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if !says("content-type") {
            text.push_str("Content-Type: application/json\r\n");
        }
        if !says("content-length") {
            text.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        (text + "\r\n" + body).into_bytes()
    }
}

/// Where a service said that it listens.
pub fn address_of(serve: &Serve) -> String {
    const SAID: &str = "the API and the page are at http://";
    wait_until("the API is served", || serve.log().contains(SAID));
    let log = serve.log();
    let rest = log.split(SAID).nth(1).unwrap();
    rest.split('/').next().unwrap().to_owned()
}

/// An answer from its bytes.
pub fn parse(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text}"));
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    Answer {
        status,
        headers: lines.map(header).collect(),
        body: body.to_owned(),
    }
}

impl World {
    /// A service with the API on a free port, and whoever asks with the token of its first start.
    pub fn serve_api(&self) -> (Serve, Client) {
        self.serve_api_with(&[])
    }

    /// The same with other variables.
    pub fn serve_api_with(&self, variables: &[(&str, &str)]) -> (Serve, Client) {
        let mut all = vec![("DROPCRON_LISTEN", "127.0.0.1:0"), ("DROPCRON_SCAN_INTERVAL", "200ms")];
        all.extend(variables);
        let serve = self.serve_with(&self.data, &all);
        let client = Client::of(self, &serve);
        (serve, client)
    }
}
