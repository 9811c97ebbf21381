//! Somebody who asks the API, as browsers do: over one connection, with compression.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Bench;

/// How long anybody waits for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Has the token of the first start.
#[derive(Clone)]
pub struct Visitor {
    address: String,
    token: String,
    agent: ureq::Agent,
}

/// What an answer took.
pub struct Answer {
    /// Until its last byte was here.
    pub milliseconds: f64,
    /// As it was sent, compressed.
    pub bytes: usize,
}

impl Visitor {
    /// Of a service that serves already.
    pub fn of(bench: &Bench) -> anyhow::Result<Visitor> {
        let log = std::fs::read_to_string(bench.root.join("log"))?;
        let address = log
            .split("http://")
            .nth(1)
            .and_then(|rest| rest.split('/').next())
            .context("the service says no address: is its port taken?")?;
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .max_idle_age(PATIENCE);
        Ok(Visitor {
            address: address.to_owned(),
            token: std::fs::read_to_string(bench.root.join("data/token"))?
                .trim()
                .to_owned(),
            agent: config.build().into(),
        })
    }

    /// The link that logs a browser in.
    pub fn link(&self) -> String {
        format!("http://{}/login#token={}", self.address, self.token)
    }

    /// Reads what stands at a path.
    pub fn get(&self, path: &str) -> anyhow::Result<Answer> {
        let begun = Instant::now();
        let mut response = self
            .agent
            .get(format!("http://{}{path}", self.address))
            .header("Authorization", format!("Bearer {}", self.token))
            .header("Accept-Encoding", "gzip")
            .call()
            .with_context(|| path.to_owned())?;
        let bytes = response.body_mut().with_config().limit(1 << 30).read_to_vec()?;
        Ok(Answer {
            milliseconds: begun.elapsed().as_secs_f64() * 1000.0,
            bytes: bytes.len(),
        })
    }

    /// The events of what a run prints.
    pub async fn watch(&self, run_id: i64) -> anyhow::Result<TcpStream> {
        let path = format!("/api/v1/runs/{run_id}/output/events");
        self.open(&path, "keep-alive").await
    }

    /// Reads what stands at a path beside everything else.
    pub async fn ask(&self, path: &str) -> anyhow::Result<()> {
        let mut stream = self.open(path, "close").await?;
        stream.read_to_end(&mut Vec::new()).await?;
        Ok(())
    }

    async fn open(&self, path: &str, connection: &str) -> anyhow::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let Visitor { address, token, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nAccept-Encoding: gzip\r\nConnection: {connection}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 12];
        stream.read_exact(&mut status).await?;
        let status = String::from_utf8_lossy(&status);
        anyhow::ensure!(status == "HTTP/1.1 200", "`{path}` is answered with `{status}`");
        Ok(stream)
    }
}
