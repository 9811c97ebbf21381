//! The file of channels: read once at the start, all that is wrong with it said at once, with its place.
//!
//! `[default]` has the keys of a header's `notify`; `[channels.NAME]` says what a channel is. URLs, passwords, signing secrets and
//! headers are credentials: they may stand in files of `DROPCRON_SECRETS_DIR`, and are masked in whatever a channel answers.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lettre::message::Mailbox;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use uuid::Uuid;

use super::email::Email;
use super::message::Message;
use super::template::Template;
use super::web::{self, Service, Web};
use crate::config::Config;
use crate::script::{Notify, Problem, nearest, read_notify};
use crate::service::secrets::{self, Masker, Secret};
use crate::store::deliveries::Delivery;

/// A part of a URL of this length or more is masked by itself.
const SHORTEST_PART: usize = 10;

/// The channels that this node knows, and what tasks ask for that say nothing of it themselves.
#[derive(Default)]
pub struct Channels {
    /// The default of the headers' `notify`.
    pub default: Notify,
    channels: BTreeMap<String, Arc<Channel>>,
}

/// A channel.
pub struct Channel {
    /// The word for what it is.
    pub kind: &'static str,
    transport: Transport,
    masker: Masker,
}

enum Transport {
    Web(Box<Web>),
    Email(Box<Email>),
}

/// What is wrong with the file of channels: a line for each problem.
#[derive(Debug, PartialEq, Eq)]
pub struct ChannelsError {
    path: PathBuf,
    problems: Vec<Problem>,
    is_unreadable: bool,
}

impl ChannelsError {
    /// Whether nothing is known of what the file says.
    pub fn is_unreadable(&self) -> bool {
        self.is_unreadable
    }
}

impl fmt::Display for ChannelsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "the file of `DROPCRON_NOTIFY_FILE` cannot be used:")?;
        for problem in &self.problems {
            write!(formatter, "\n  {}:{problem}", self.path.display())?;
        }
        Ok(())
    }
}

impl std::error::Error for ChannelsError {}

impl Channels {
    /// Those of the file that the configuration names; without one there are none.
    pub fn read(config: &Config) -> Result<Channels, ChannelsError> {
        let Some(path) = &config.notify_file else {
            return Ok(Channels::default());
        };
        let failed = |problems, is_unreadable| ChannelsError {
            path: path.clone(),
            problems,
            is_unreadable,
        };
        let text = std::fs::read_to_string(path).map_err(|error| {
            let problem = Problem {
                line: 1,
                column: 1,
                message: format!("it cannot be read: {error}"),
            };
            failed(vec![problem], true)
        })?;
        Channels::parse(&text, config.secrets_directory.as_deref()).map_err(|problems| failed(problems, false))
    }

    /// Those of a file's text.
    pub fn parse(text: &str, secrets_directory: Option<&Path>) -> Result<Channels, Vec<Problem>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reader = Reader {
            text,
            secrets_directory,
            problems: Vec::new(),
        };
        for error in &errors {
            reader.problem(
                error.span().unwrap_or(0..0),
                format!("this is not valid TOML: {}", error.message()),
            );
        }
        let mut channels = Channels::default();
        if errors.is_empty() {
            read_file(&mut reader, table.get_ref(), &mut channels);
        }
        reader.problems.sort();
        match reader.problems.is_empty() {
            true => Ok(channels),
            false => Err(reader.problems),
        }
    }

    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.channels.keys().map(String::as_str)
    }

    /// The one of a name.
    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.channels.get(name).cloned()
    }
}

impl Channel {
    /// Sends a message. The error says why it was not taken, and holds no credential.
    pub async fn send(&self, message: &Message) -> Result<(), String> {
        let sent = match &self.transport {
            Transport::Web(web) => web.send(message).await,
            Transport::Email(email) => email.send(message).await,
        };
        // Postgres keeps no NUL, which an answer may hold.
        sent.map_err(|error| self.masker.mask(&error).replace('\0', "\u{fffd}"))
    }
}

/// A key of a channel.
struct Key {
    name: &'static str,
    example: &'static str,
}

const fn key(name: &'static str, example: &'static str) -> Key {
    Key { name, example }
}

/// What each type of channel may say.
const WEB_KEYS: &[Key] = &[
    key("type", "\"webhook\""),
    key("url", "\"https://example.org/hook\""),
    key("url_secret", "\"OPS_WEBHOOK\""),
    key("headers", "{ X-Team = \"ops\" }"),
    key("header_secrets", "{ Authorization = \"OPS_TOKEN\" }"),
    key("body", "'{\"text\": {{ text | tojson }}}'"),
];
const SIGNED_KEYS: &[Key] = &[
    key("type", "\"lark\""),
    key("url", "\"https://example.org/hook\""),
    key("url_secret", "\"OPS_WEBHOOK\""),
    key("headers", "{ X-Team = \"ops\" }"),
    key("header_secrets", "{ Authorization = \"OPS_TOKEN\" }"),
    key("body", "'{\"text\": {{ text | tojson }}}'"),
    key("signing_secret", "\"OPS_SIGNING\""),
];
const EMAIL_KEYS: &[Key] = &[
    key("type", "\"email\""),
    key("url", "\"smtps://mail.example.org\""),
    key("url_secret", "\"OPS_MAIL\""),
    key("from", "\"dropcron <cron@example.org>\""),
    key("to", "[\"ops@example.org\"]"),
    key("username", "\"cron\""),
    key("password_secret", "\"OPS_MAIL_PASSWORD\""),
];

/// The types by their words.
const TYPES: &[(&str, Option<Service>, &[Key])] = &[
    ("webhook", Some(Service::Webhook), WEB_KEYS),
    ("slack", Some(Service::Slack), WEB_KEYS),
    ("ntfy", Some(Service::Ntfy), WEB_KEYS),
    ("lark", Some(Service::Lark), SIGNED_KEYS),
    ("dingtalk", Some(Service::DingTalk), SIGNED_KEYS),
    ("wecom", Some(Service::WeCom), WEB_KEYS),
    ("email", None, EMAIL_KEYS),
];

type Value<'toml> = Spanned<DeValue<'toml>>;

/// Notes problems while the file is read.
struct Reader<'text> {
    text: &'text str,
    secrets_directory: Option<&'text Path>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, message: String) {
        let before = &self.text[..self.text.floor_char_boundary(span.start)];
        let line_begins = before.rfind('\n').map_or(0, |at| at + 1);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        self.problems.push(Problem {
            line: count(before.matches('\n').count() + 1),
            column: count(before[line_begins..].chars().count() + 1),
            message,
        });
    }

    fn reject<T>(&mut self, value: &Value<'_>, message: String) -> Option<T> {
        self.problem(value.span(), message);
        None
    }

    /// A text that is not blank.
    fn text<'toml>(&mut self, key: &Key, value: &'toml Value<'toml>) -> Option<&'toml str> {
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Some(text),
            _ => self.reject(
                value,
                format!(
                    "`{0}` must be a text in quotes; for example `{0} = {1}`",
                    key.name, key.example
                ),
            ),
        }
    }

    /// A secret, by the name of its file. What is no such name may be the secret itself, and is not repeated.
    fn secret(&mut self, key: &Key, value: &Value<'_>) -> Option<String> {
        let name = self.text(key, value)?.to_owned();
        let is_name = name.len() <= 64
            && name
                .chars()
                .all(|character| character.is_ascii_alphanumeric() || "_-.".contains(character))
            && !name.starts_with('.');
        if !is_name {
            return self.reject(
                value,
                format!(
                    "`{0}` must be the name of a file in `DROPCRON_SECRETS_DIR`, not the secret itself; for example `{0} = {1}`",
                    key.name, key.example
                ),
            );
        }
        match secrets::read(self.secrets_directory, &[name]) {
            Ok(secrets) if secrets.iter().all(|secret| secret.value.is_empty()) => {
                self.reject(value, format!("`{}`: the file of this secret is empty", key.name))
            }
            Ok(secrets) => secrets.into_iter().next().map(|secret| secret.value),
            Err(error) => self.reject(value, format!("`{}`: {error}", key.name)),
        }
    }

    /// A table of texts.
    fn texts(&mut self, key: &Key, value: &Value<'_>, are_secrets: bool) -> Option<Vec<(String, String)>> {
        let DeValue::Table(table) = value.get_ref() else {
            return self.reject(
                value,
                format!("`{0}` must be a table; for example `{0} = {1}`", key.name, key.example),
            );
        };
        let mut texts = Vec::new();
        for (name, value) in table.iter() {
            let text = match are_secrets {
                true => self.secret(key, value)?,
                false => self.text(key, value)?.to_owned(),
            };
            let name = name.get_ref().to_string();
            let is_header = ureq::http::HeaderName::try_from(name.as_str()).is_ok()
                && ureq::http::HeaderValue::try_from(text.as_str()).is_ok();
            if !is_header {
                return self.reject(
                    value,
                    format!("`{name}` in `{}` cannot be an HTTP header with this value", key.name),
                );
            }
            texts.push((name, text));
        }
        Some(texts)
    }
}

fn read_file(reader: &mut Reader<'_>, table: &DeTable<'_>, channels: &mut Channels) {
    for (name, value) in table.iter() {
        match (name.get_ref().as_ref(), value.get_ref()) {
            ("default", DeValue::Table(default)) => match read_notify(reader.text, default) {
                Ok(default) => channels.default = default,
                Err(problems) => reader.problems.extend(problems),
            },
            ("channels", DeValue::Table(tables)) => {
                for (name, value) in tables.iter() {
                    let channel = read_channel(reader, name, value);
                    if let Some(channel) = channel {
                        channels.channels.insert(name.get_ref().to_string(), Arc::new(channel));
                    }
                }
            }
            ("default" | "channels", _) => {
                reader.problem(value.span(), format!("`{}` must be a table", name.get_ref()));
            }
            (other, _) => {
                let advice = match nearest(other, ["default", "channels"].into_iter()) {
                    Some(meant) => format!("did you mean `[{meant}]`?"),
                    None => "the tables are `[default]` and `[channels.NAME]`".to_owned(),
                };
                reader.problem(name.span(), format!("unknown key `{other}`; {advice}"));
            }
        }
    }
    check_default(reader, table, channels);
}

/// A default that names nobody here would be silent everywhere.
fn check_default(reader: &mut Reader<'_>, table: &DeTable<'_>, channels: &Channels) {
    let named = channels.default.to.clone().unwrap_or_default();
    let tables = table.get("channels").and_then(|value| value.get_ref().as_table());
    for name in named {
        let is_known = tables.is_some_and(|tables| tables.iter().any(|(known, _)| known.get_ref() == name.as_str()));
        if let (false, Some(default)) = (is_known, table.get("default")) {
            let message =
                format!("`to` names the channel `{name}`, which is not in this file; add `[channels.{name}]`");
            reader.problem(default.span(), message);
        }
    }
}

fn read_channel(reader: &mut Reader<'_>, name: &Spanned<impl AsRef<str>>, value: &Value<'_>) -> Option<Channel> {
    let name_text = name.get_ref().as_ref();
    let is_name = (1..=200).contains(&name_text.chars().count())
        && name_text.trim() == name_text
        && !name_text.contains(char::is_control);
    if !is_name {
        reader.problem(
            name.span(),
            "the name of a channel is one line of at most 200 characters, without blanks around it".to_owned(),
        );
        return None;
    }
    let words = || TYPES.iter().map(|(word, ..)| *word);
    let known = || words().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let DeValue::Table(table) = value.get_ref() else {
        return reader.reject(
            value,
            format!("`{name_text}` must be a table; write `[channels.{name_text}]`"),
        );
    };
    let Some(kind) = table.get("type") else {
        reader.problem(
            name.span(),
            format!("`[channels.{name_text}]` needs `type`, one of {}", known()),
        );
        return None;
    };
    let kind_text = reader.text(&WEB_KEYS[0], kind)?;
    let Some((word, service, keys)) = TYPES.iter().find(|(word, ..)| *word == kind_text) else {
        let advice = match nearest(kind_text, words()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("the types are {}", known()),
        };
        return reader.reject(kind, format!("unknown type `{kind_text}`; {advice}"));
    };
    let problems = reader.problems.len();
    for key in table.keys() {
        check_key(reader, key, word, keys);
    }
    let (transport, credentials) = match service {
        Some(service) => read_web(reader, name, table, *service, keys),
        None => read_email(reader, name, table),
    }?;
    (reader.problems.len() == problems).then(|| Channel {
        kind: word,
        transport,
        masker: masker(&credentials),
    })
}

fn check_key(reader: &mut Reader<'_>, key: &Spanned<impl AsRef<str>>, kind: &str, keys: &[Key]) {
    let text = key.get_ref().as_ref();
    if keys.iter().any(|known| known.name == text) {
        return;
    }
    let advice = match (text, nearest(text, keys.iter().map(|key| key.name))) {
        (_, Some(meant)) => format!("did you mean `{meant}`?"),
        ("password" | "token" | "secret" | "sign", None) => {
            "secrets stand in files: name the file in a key that ends in `_secret`".to_owned()
        }
        (_, None) => {
            let known: Vec<String> = keys.iter().map(|key| format!("`{}`", key.name)).collect();
            format!("the keys of `{kind}` are {}", known.join(", "))
        }
    };
    reader.problem(key.span(), format!("unknown key `{text}`; {advice}"));
}

/// The value of a key of a table.
fn setting<'table>(
    table: &'table DeTable<'table>,
    keys: &'static [Key],
    name: &str,
) -> Option<(&'static Key, &'table Value<'table>)> {
    Some((keys.iter().find(|key| key.name == name)?, table.get(name)?))
}

/// The URL: as it stands in the file, or in the file of a secret.
fn read_url(
    reader: &mut Reader<'_>,
    name: &Spanned<impl AsRef<str>>,
    table: &DeTable<'_>,
    keys: &'static [Key],
) -> Option<(String, Range<usize>)> {
    match (setting(table, keys, "url"), setting(table, keys, "url_secret")) {
        (Some((key, value)), None) => Some((reader.text(key, value)?.to_owned(), value.span())),
        (None, Some((key, value))) => Some((reader.secret(key, value)?, value.span())),
        (Some(_), Some((_, value))) => reader.reject(
            value,
            "`url` and `url_secret` say the same; keep one of them".to_owned(),
        ),
        (None, None) => {
            let message = format!(
                "`[channels.{}]` needs `url`, or `url_secret` with the name of a file in `DROPCRON_SECRETS_DIR`",
                name.get_ref().as_ref()
            );
            reader.problem(name.span(), message);
            None
        }
    }
}

fn read_web(
    reader: &mut Reader<'_>,
    name: &Spanned<impl AsRef<str>>,
    table: &DeTable<'_>,
    service: Service,
    keys: &'static [Key],
) -> Option<(Transport, Vec<String>)> {
    let url = read_url(reader, name, table, keys);
    let mut headers = Vec::new();
    for (which, are_secrets) in [("headers", false), ("header_secrets", true)] {
        if let Some((key, value)) = setting(table, keys, which) {
            headers.extend(reader.texts(key, value, are_secrets).unwrap_or_default());
        }
    }
    let signing_secret = setting(table, keys, "signing_secret").map(|(key, value)| reader.secret(key, value));
    let body = setting(table, keys, "body");
    let source = match body {
        Some((key, value)) => reader.text(key, value)?,
        None => service.template(),
    };
    let template = match Template::parse(source) {
        Ok(template) => template,
        Err(error) => return reader.reject(body?.1, format!("`body` is not a template: {error}")),
    };
    let (url, span) = url?;
    if let Err(problem) = check_url(&url, service) {
        reader.problem(span, problem);
        return None;
    }
    let mut credentials = url_parts(&url);
    credentials.push(url.clone());
    credentials.extend(headers.iter().map(|(_, value)| value.clone()));
    credentials.extend(signing_secret.iter().flatten().cloned());
    let web = Web {
        service,
        url,
        headers,
        template,
        signing_secret: signing_secret.flatten(),
    };
    if let (Some((_, value)), Err(problem)) = (body, try_body(&web)) {
        return reader.reject(value, problem);
    }
    Some((Transport::Web(Box::new(web)), credentials))
}

fn check_url(url: &str, service: Service) -> Result<(), String> {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    let is_web = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    match service {
        _ if !is_web => Err("the URL must be one with `http://` or `https://` and a host".to_owned()),
        Service::Ntfy if web::ntfy_topic(url).is_none() => {
            Err("the URL must end in the topic, as in `https://ntfy.sh/ops`".to_owned())
        }
        _ => Ok(()),
    }
}

/// What of a URL is secret by itself: its path with its query, and long parts of these.
fn url_parts(url: &str) -> Vec<String> {
    let Some((_, rest)) = url.split_once("://") else {
        return Vec::new();
    };
    let after_host = rest.split_once('/').map_or("", |(_, path)| path);
    let login = rest.split_once('@').map(|(login, _)| login).into_iter();
    let parts = after_host
        .split(['/', '?', '&', '=', '#'])
        .chain(login.flat_map(|login| login.split(':').skip(1)));
    parts
        .chain([after_host])
        .filter(|part| part.len() >= SHORTEST_PART)
        .map(str::to_owned)
        .collect()
}

fn masker(credentials: &[String]) -> Masker {
    let secrets: Vec<Secret> = credentials
        .iter()
        .map(|value| Secret {
            name: String::new(),
            value: value.clone(),
        })
        .collect();
    Masker::new(&secrets)
}

/// Tries a body with every kind of message, whose texts hold what breaks careless templates.
fn try_body(web: &Web) -> Result<(), String> {
    for message in samples() {
        if let Some(name) = web.template.unknown_name(&message) {
            return Err(format!(
                "`body` names `{name}`, which no message has; docs/notifications.md lists what they have"
            ));
        }
        let request = web
            .request(&message, message.created_at)
            .map_err(|error| format!("`body` cannot be filled in for `{}`: {error}", message.kind))?;
        if web.has_content_type() {
            continue;
        }
        if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&request.body) {
            return Err(format!(
                "`body` is not JSON once it is filled in ({error}); write `{{{{ text | tojson }}}}` without quotes around it, or \
                 name another `Content-Type` in `headers`"
            ));
        }
    }
    Ok(())
}

/// The names that a template may use.
pub fn template_names() -> Vec<String> {
    samples().first().map(super::template::names).unwrap_or_default()
}

/// A message of each kind.
fn samples() -> Vec<Message> {
    let nasty = "a \"quoted\" \\back\\slash\nline, {{ braces }} <tag> & 'single' \u{1f525} \u{2028}";
    let facts = serde_json::json!({
        "status": "failed", "reason": "raised", "error_type": "E", "error": nasty, "detail": nasty, "trigger": "schedule",
        "failures": 2, "late_seconds": 61.5, "missed_count": 3, "timezone": "UTC", "owner": nasty, "description": nasty,
    });
    ["failed", "recovered", "missed", "late", "test"]
        .into_iter()
        .map(|kind| {
            let has_task = kind != "test";
            Message::of(&Delivery {
                delivery_id: Uuid::nil(),
                channel: "sample".to_owned(),
                kind: kind.to_owned(),
                task_name: has_task.then(|| nasty.to_owned()),
                run_id: has_task.then_some(1),
                scheduled_for: has_task.then_some(jiff::Timestamp::UNIX_EPOCH),
                attempt: has_task.then_some(1),
                facts: if has_task { facts.to_string() } else { "{}".to_owned() },
                attempts: 1,
                created_at: jiff::Timestamp::UNIX_EPOCH,
            })
        })
        .collect()
}

fn read_email(
    reader: &mut Reader<'_>,
    name: &Spanned<impl AsRef<str>>,
    table: &DeTable<'_>,
) -> Option<(Transport, Vec<String>)> {
    let url = read_url(reader, name, table, EMAIL_KEYS);
    let mut needed = |which: &'static str| {
        let found = setting(table, EMAIL_KEYS, which);
        if found.is_none() {
            let example = EMAIL_KEYS
                .iter()
                .find(|key| key.name == which)
                .map_or("", |key| key.example);
            let message = format!(
                "`[channels.{}]` needs `{which}`; for example `{which} = {example}`",
                name.get_ref().as_ref()
            );
            reader.problem(name.span(), message);
        }
        found
    };
    let (from, to) = (needed("from"), needed("to"));
    let from = from.and_then(|(key, value)| mailbox(reader, key, value));
    let to = to.and_then(|(key, value)| mailboxes(reader, key, value));
    let username = setting(table, EMAIL_KEYS, "username");
    let password = setting(table, EMAIL_KEYS, "password_secret");
    let login = match (username, password) {
        (Some((key, value)), Some((secret_key, secret))) => {
            Some((reader.text(key, value)?.to_owned(), reader.secret(secret_key, secret)?))
        }
        (Some((_, value)), None) | (None, Some((_, value))) => {
            return reader.reject(value, "`username` and `password_secret` need each other".to_owned());
        }
        (None, None) => None,
    };
    let (url, span) = url?;
    let has_login = login.is_some() || url.contains('@');
    let is_clear = url.starts_with("smtp://") && !url.contains("tls=required");
    let is_near = ["localhost", "127.0.0.1", "[::1]"]
        .iter()
        .any(|host| url.contains(host));
    if has_login && is_clear && !is_near {
        let advice =
            "a password would go to the mail server in the clear; write `smtps://`, or `?tls=required` behind the URL";
        reader.problem(span, advice.to_owned());
        return None;
    }
    let mut credentials = url_parts(&url);
    credentials.extend(login.iter().map(|(_, password)| password.clone()));
    match Email::new(&url, login, from?, to?) {
        Ok(email) => Some((Transport::Email(Box::new(email)), credentials)),
        Err(problem) => {
            reader.problem(span, format!("the URL of the mail server cannot be used: {problem}"));
            None
        }
    }
}

fn mailbox(reader: &mut Reader<'_>, key: &Key, value: &Value<'_>) -> Option<Mailbox> {
    let text = reader.text(key, value)?;
    match text.parse() {
        Ok(mailbox) => Some(mailbox),
        Err(error) => reader.reject(
            value,
            format!("`{}`: `{text}` is not an email address: {error}", key.name),
        ),
    }
}

fn mailboxes(reader: &mut Reader<'_>, key: &Key, value: &Value<'_>) -> Option<Vec<Mailbox>> {
    match value.get_ref() {
        DeValue::Array(array) if !array.is_empty() => array.iter().map(|value| mailbox(reader, key, value)).collect(),
        DeValue::String(_) => Some(vec![mailbox(reader, key, value)?]),
        _ => reader.reject(
            value,
            format!(
                "`{0}` must be a list of email addresses; for example `{0} = {1}`",
                key.name, key.example
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value as Json;

    fn problems(text: &str) -> Vec<String> {
        let problems = Channels::parse(text, None).err().unwrap_or_default();
        problems.iter().map(Problem::to_string).collect()
    }

    fn problem(text: &str) -> String {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.concat()
    }

    fn web(service: Service, signing_secret: Option<&str>) -> Web {
        Web {
            service,
            url: "https://example.org/topic".to_owned(),
            headers: Vec::new(),
            template: Template::parse(service.template()).unwrap(),
            signing_secret: signing_secret.map(str::to_owned),
        }
    }

    fn bodies(service: Service, signing_secret: Option<&str>) -> Vec<(Message, Json)> {
        let web = web(service, signing_secret);
        let body = |message: Message| {
            let request = web.request(&message, "2027-01-01T00:00:00Z".parse().unwrap()).unwrap();
            let json = serde_json::from_str(&request.body).unwrap_or_else(|error| panic!("{error}: {}", request.body));
            (message, json)
        };
        samples().into_iter().map(body).collect()
    }

    #[test]
    fn the_body_of_each_service_has_the_shape_that_it_documents() {
        for (message, body) in bodies(Service::Webhook, None) {
            assert_eq!(body["delivery_id"], Json::from(message.delivery_id));
            assert_eq!(body["kind"], Json::from(message.kind));
            assert_eq!(body["error"], Json::from(message.error));
            assert_eq!(body["scheduled_for"], serde_json::json!(message.scheduled_for));
            assert_eq!(body["missed_count"], Json::from(message.missed_count));
        }
        for (message, body) in bodies(Service::Slack, None) {
            assert!(!body["text"].as_str().unwrap().contains('<'), "{body}");
            assert_eq!(body["blocks"][0]["type"], "section");
            assert_eq!(body["blocks"][0]["text"]["type"], "plain_text");
            assert_eq!(body["blocks"][0]["text"]["text"], Json::from(message.text));
        }
        for (message, body) in bodies(Service::Ntfy, None) {
            assert_eq!(body["topic"], "topic");
            assert_eq!(body["title"], Json::from(message.subject));
            assert_eq!(body["message"], Json::from(message.text));
            assert!((1..=5).contains(&body["priority"].as_i64().unwrap()));
            assert!(body["tags"][0].is_string());
        }
        for (message, body) in bodies(Service::DingTalk, None) {
            assert_eq!(
                body,
                serde_json::json!({ "msgtype": "text", "text": { "content": message.text } })
            );
        }
        for (_, body) in bodies(Service::WeCom, None) {
            assert_eq!(body["msgtype"], "text");
            assert!(body["text"]["content"].as_str().unwrap().len() <= 2048);
        }
        for (message, body) in bodies(Service::Lark, None) {
            assert_eq!(body["msg_type"], "post");
            let post = &body["content"]["post"]["zh_cn"];
            assert_eq!(post["title"], Json::from(message.subject));
            let lines: Vec<Json> = message
                .lines
                .iter()
                .map(|line| serde_json::json!([{ "tag": "text", "text": line }]))
                .collect();
            assert_eq!(post["content"], Json::from(lines));
            assert!(body.get("sign").is_none());
        }
    }

    #[test]
    fn lark_and_dingtalk_are_sent_their_signatures() {
        for (_, body) in bodies(Service::Lark, Some("abc")) {
            assert_eq!(body["timestamp"], "1798761600");
            // base64.b64encode(hmac.new(b"1798761600\nabc", b"", "sha256").digest())
            assert_eq!(body["sign"], "pfxNHkqwXe5ZRU+mJmpi83Ua+6Dk2gG6ngo2+svxTV4=");
        }
        let request =
            web(Service::DingTalk, Some("SECabc")).request(&samples()[0], "2027-01-01T00:00:00Z".parse().unwrap());
        // quote(base64.b64encode(hmac.new(b"SECabc", b"1798761600000\nSECabc", "sha256").digest()), safe="")
        assert_eq!(
            request.unwrap().url,
            "https://example.org/topic?timestamp=1798761600000&sign=lTXMQGpuy7HqSOaU2vyttBqOQp3AL5a%2FKyE0UCGkpBs%3D"
        );
    }

    #[test]
    fn a_file_of_every_type_is_read() {
        let channels = Channels::parse(
            "[default]\nto = [\"a\"]\nafter = 2\nlate_after = \"5m\"\n\
             [channels.a]\ntype = \"webhook\"\nurl = \"https://h/x\"\nbody = '{\"text\": {{ text | tojson }}}'\nheaders = { X-A = \"b\" }\n\
             [channels.b]\ntype = \"slack\"\nurl = \"https://h/x\"\n\
             [channels.\"日本\"]\ntype = \"ntfy\"\nurl = \"https://h/x\"\n\
             [channels.d]\ntype = \"lark\"\nurl = \"https://h/x\"\n\
             [channels.e]\ntype = \"dingtalk\"\nurl = \"https://h/x?access_token=y\"\n\
             [channels.f]\ntype = \"wecom\"\nurl = \"https://h/x\"\n\
             [channels.g]\ntype = \"email\"\nurl = \"smtp://localhost:25\"\nfrom = \"cron <c@example.org>\"\nto = \"o@example.org\"\n",
            None,
        )
        .unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(
            channels.names().collect::<Vec<_>>(),
            ["a", "b", "d", "e", "f", "g", "日本"]
        );
        assert_eq!(channels.default.after, Some(2));
        assert_eq!(channels.get("g").unwrap().kind, "email");
    }

    #[test]
    fn every_mistake_is_said_at_once_with_its_place() {
        assert_eq!(
            problems(
                "[defaults]\n[default]\nafer = 1\nto = [\"nobody\"]\n[channels.a]\ntype = \"slak\"\n[channels.b]\ntype = \"webhook\"\n\
                 urll = \"x\"\n[channels.c]\nurl = \"http://h\"\n"
            ),
            [
                "1:2: unknown key `defaults`; did you mean `[default]`?",
                "3:1: unknown key `afer`, did you mean `after`?",
                "6:8: unknown type `slak`; did you mean `slack`?",
                "7:11: `[channels.b]` needs `url`, or `url_secret` with the name of a file in `DROPCRON_SECRETS_DIR`",
                "9:1: unknown key `urll`; did you mean `url`?",
                "10:11: `[channels.c]` needs `type`, one of `webhook`, `slack`, `ntfy`, `lark`, `dingtalk`, `wecom`, `email`",
            ]
        );
    }

    #[test]
    fn a_default_names_channels_of_its_file() {
        assert!(problem("[default]\nto = [\"ops\"]\n").ends_with("add `[channels.ops]`"));
    }

    #[test]
    fn a_body_is_tried_before_it_is_used() {
        let body = |body: &str| {
            problem(&format!(
                "[channels.a]\ntype = \"webhook\"\nurl = \"http://h\"\nbody = '''{body}'''\n"
            ))
        };
        assert!(body("{\"text\": \"{{ text }}\"}").contains("write `{{ text | tojson }}` without quotes around it"));
        assert!(body("{\"text\": {{ txt | tojson }}}").contains("names `txt`, which no message has"));
        assert!(body("{\"text\": {{ text.more.still | tojson }}}").contains("cannot be filled in for `failed`"));
        assert!(body("{{ text").contains("is not a template"));
        let plain = "[channels.a]\ntype = \"webhook\"\nurl = \"http://h\"\nheaders = { content-type = \"text/plain\" }\nbody = '{{ text }}'\n";
        assert_eq!(problems(plain), Vec::<String>::new());
    }

    #[test]
    fn what_looks_like_a_secret_is_not_repeated() {
        let long = "x".repeat(65);
        let message = problem(&format!(
            "[channels.a]\ntype = \"lark\"\nurl = \"http://h\"\nsigning_secret = \"{long}\"\n"
        ));
        assert!(
            message.contains("not the secret itself") && !message.contains(&long),
            "{message}"
        );
    }

    #[test]
    fn a_password_is_not_sent_in_the_clear() {
        let email = |url: &str| {
            problems(&format!(
                "[channels.a]\ntype = \"email\"\nurl = \"{url}\"\nfrom = \"a@example.org\"\nto = [\"b@example.org\"]\n"
            ))
        };
        assert!(email("smtp://u:pw@mail.example.org")[0].contains("in the clear"));
        assert_eq!(
            email("smtp://u:pw@mail.example.org:587?tls=required"),
            Vec::<String>::new()
        );
        assert_eq!(email("smtps://u:pw@mail.example.org"), Vec::<String>::new());
        assert_eq!(email("smtp://mail.example.org"), Vec::<String>::new());
        assert!(email("https://mail.example.org")[0].contains("smtps://"));
    }

    #[test]
    fn credentials_of_a_channel_are_masked_in_what_it_answers() {
        let url = "https://hooks.example.org/services/T0000/B0000/XXXXXXXXXXXX?token=abcdefghijkl";
        let masker = masker(&[url_parts(url), vec![url.to_owned()]].concat());
        for text in [
            url,
            "no such hook: XXXXXXXXXXXX",
            "/services/T0000/B0000/XXXXXXXXXXXX?token=abcdefghijkl",
        ] {
            let masked = masker.mask(text);
            assert!(!masked.contains("XXXX") && !masked.contains("abcdef"), "{masked}");
        }
    }
}
