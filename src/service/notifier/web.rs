//! Channels that are posted to: what is sent to which service, and what its answer means.
//!
//! One request, one answer: redirects are not followed (the body, and what authorises it, would go to somebody else), the whole
//! takes ten seconds at most, and of an answer a few KiB are read. Lark, DingTalk and WeCom answer 200 to what they refuse;
//! what counts is in the body.

use std::io::Read as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use jiff::Timestamp;
use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};

use super::message::Message;
use super::signature;
use super::template::{Extras, Template};

/// A request takes so long at most, from the look-up of the name to the end of the answer.
pub const TIME_LIMIT: Duration = Duration::from_secs(10);

/// So much of an answer is read.
const MAX_ANSWER_BYTES: u64 = 4096;

/// So much of it is kept where it says why.
const SHOWN_CHARACTERS: usize = 200;

/// A service that is posted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Anything that takes JSON.
    Webhook,
    /// Slack, and what understands its incoming webhooks.
    Slack,
    /// ntfy.
    Ntfy,
    /// Lark (飞书).
    Lark,
    /// DingTalk (钉钉).
    DingTalk,
    /// WeCom (企业微信).
    WeCom,
}

impl Service {
    /// The template of its messages.
    pub fn template(self) -> &'static str {
        match self {
            Service::Webhook => include_str!("templates/webhook.json"),
            Service::Slack => include_str!("templates/slack.json"),
            Service::Ntfy => include_str!("templates/ntfy.json"),
            Service::Lark => include_str!("templates/lark.json"),
            Service::DingTalk => include_str!("templates/dingtalk.json"),
            Service::WeCom => include_str!("templates/wecom.json"),
        }
    }
}

/// A channel that is posted to.
#[derive(Clone, Debug)]
pub struct Web {
    /// Whose rules hold.
    pub service: Service,
    /// Where to; a credential.
    pub url: String,
    /// Headers of the operator's own; credentials.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub template: Template,
    /// With which Lark and DingTalk know us.
    pub signing_secret: Option<String>,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// The body.
    pub body: String,
}

impl Web {
    /// What is sent at `now`.
    pub fn request(&self, message: &Message, now: Timestamp) -> Result<Request, String> {
        let mut extras = Extras::default();
        let mut url = self.url.clone();
        match (self.service, &self.signing_secret) {
            (Service::Lark, Some(secret)) => {
                extras.timestamp = Some(now.as_second().to_string());
                extras.sign = Some(signature::lark(now.as_second(), secret));
            }
            (Service::DingTalk, Some(secret)) => {
                let timestamp = now.as_millisecond();
                let sign = signature::percent_encode(&signature::dingtalk(timestamp, secret));
                let separator = if url.contains('?') { '&' } else { '?' };
                url.push_str(&format!("{separator}timestamp={timestamp}&sign={sign}"));
            }
            (Service::Ntfy, _) => {
                // Published as JSON, which takes any text, a message is posted to the server and names its topic.
                let (server, topic) = ntfy_topic(&self.url).ok_or("its URL names no topic")?;
                extras.topic = Some(topic.to_owned());
                url = server.to_owned();
            }
            _ => {}
        }
        let body = self.template.render(message, &extras)?;
        Ok(Request { url, body })
    }

    /// Whether the operator says what the body is; else it is JSON.
    pub fn has_content_type(&self) -> bool {
        self.headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
    }

    /// Sends a message. The error says why it was not taken.
    pub async fn send(&self, message: &Message) -> Result<(), String> {
        let request = self.request(message, Timestamp::now())?;
        let (web, delivery_id) = (self.clone(), message.delivery_id.clone());
        let posted = tokio::task::spawn_blocking(move || web.post(&request, &delivery_id));
        posted.await.map_err(|error| format!("it could not be sent: {error}"))?
    }

    fn post(&self, request: &Request, delivery_id: &str) -> Result<(), String> {
        let mut post = agent().post(&request.url).header("Idempotency-Key", delivery_id);
        if !self.has_content_type() {
            post = post.header("Content-Type", "application/json; charset=utf-8");
        }
        for (name, value) in &self.headers {
            post = post.header(name, value);
        }
        let mut response = post.send(&request.body).map_err(|error| unanswered(&error))?;
        let location = response
            .headers()
            .get("location")
            .map(|value| value.as_bytes().to_vec());
        let mut answer = Vec::new();
        let read = response
            .body_mut()
            .as_reader()
            .take(MAX_ANSWER_BYTES)
            .read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        let status = response.status();
        match status.as_u16() {
            200..=299 => {
                read.map_err(|error| format!("it answered {status}, and then broke off: {error}"))?;
                accepted(self.service, &answer)
            }
            300..=399 => {
                let location = location.map(|location| String::from_utf8_lossy(&location).into_owned());
                Err(format!(
                    "it answered {status} with a redirect to `{}`; redirects are not followed, so name the address itself",
                    shorten(location.as_deref().unwrap_or("nowhere"))
                ))
            }
            _ if answer.trim().is_empty() => Err(format!("it answered {status}")),
            _ => Err(format!("it answered {status}: {}", shorten(&answer))),
        }
    }
}

/// Whether a service took what it answered 200 to.
fn accepted(service: Service, answer: &str) -> Result<(), String> {
    let codes: &[&str] = match service {
        Service::Lark => &["code", "StatusCode"],
        Service::DingTalk | Service::WeCom => &["errcode"],
        Service::Webhook | Service::Slack | Service::Ntfy => return Ok(()),
    };
    let parsed: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    match codes.iter().find_map(|code| parsed.get(code)?.as_i64()) {
        Some(0) => Ok(()),
        Some(_) => Err(format!("it refused the message: {}", shorten(answer))),
        None => Err(format!("it answered what its service does not: {}", shorten(answer))),
    }
}

/// The server and the topic of an ntfy URL.
pub fn ntfy_topic(url: &str) -> Option<(&str, &str)> {
    let path_begins = url.find("://")? + 3;
    let (server, topic) = url.split_at(path_begins + url[path_begins..].trim_end_matches('/').rfind('/')?);
    let topic = topic.trim_matches('/');
    let is_topic = |character: char| character.is_ascii_alphanumeric() || character == '_' || character == '-';
    (!topic.is_empty() && topic.chars().all(is_topic)).then_some((server, topic))
}

fn unanswered(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(_) => format!("it did not answer within {} s", TIME_LIMIT.as_secs()),
        // Its text is the whole URL.
        ureq::Error::BadUri(_) => "its URL cannot be used".to_owned(),
        error => format!("it cannot be reached: {error}"),
    }
}

/// The beginning of an answer on one line.
fn shorten(text: &str) -> String {
    let line: String = text
        .trim()
        .chars()
        .take(SHOWN_CHARACTERS)
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    if text.trim().chars().nth(SHOWN_CHARACTERS).is_some() {
        line + "…"
    } else {
        line
    }
}

/// One for the process. Connections are not kept: messages are rare, and a stale one would cost a try.
fn agent() -> &'static ureq::Agent {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    AGENT.get_or_init(|| {
        let loaded = rustls_native_certs::load_native_certs();
        let roots: Vec<Certificate<'static>> = loaded
            .certs
            .iter()
            .map(|certificate| Certificate::from_der(certificate.as_ref()).to_owned())
            .collect();
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        ureq::Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIME_LIMIT))
            .max_idle_connections(0)
            .user_agent(concat!("dropcron/", env!("CARGO_PKG_VERSION")))
            .build()
            .new_agent()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_answered_with_200_may_be_refused_all_the_same() {
        assert_eq!(accepted(Service::Slack, "ok"), Ok(()));
        assert_eq!(accepted(Service::Lark, r#"{"code":0,"msg":"success"}"#), Ok(()));
        assert_eq!(
            accepted(Service::Lark, r#"{"StatusCode":0,"StatusMessage":"success"}"#),
            Ok(())
        );
        assert_eq!(accepted(Service::DingTalk, r#"{"errcode":0,"errmsg":"ok"}"#), Ok(()));
        assert_eq!(
            accepted(Service::WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#).unwrap_err(),
            r#"it refused the message: {"errcode":93000,"errmsg":"invalid webhook url"}"#
        );
        assert!(
            accepted(Service::DingTalk, "<html>")
                .unwrap_err()
                .contains("what its service does not")
        );
    }

    #[test]
    fn the_topic_is_the_last_part_of_the_url() {
        assert_eq!(ntfy_topic("https://ntfy.sh/ops"), Some(("https://ntfy.sh", "ops")));
        assert_eq!(
            ntfy_topic("http://h:80/behind/ops_1/"),
            Some(("http://h:80/behind", "ops_1"))
        );
        for none in [
            "https://ntfy.sh",
            "https://ntfy.sh/",
            "ntfy.sh/ops",
            "https://ntfy.sh/a b",
        ] {
            assert_eq!(ntfy_topic(none), None, "{none}");
        }
    }

    #[test]
    fn an_answer_is_shown_short_and_on_one_line() {
        assert_eq!(shorten(" a\nb\u{1b}[0m "), "a b [0m");
        assert_eq!(shorten(&"x".repeat(300)).chars().count(), SHOWN_CHARACTERS + 1);
    }
}
