//! Channels by email: one plain text to all recipients.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};

use super::message::Message;

/// A conversation with the server takes so long at most.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);

/// Each step of it takes so long at most.
const STEP_LIMIT: Duration = Duration::from_secs(10);

/// A channel by email.
#[derive(Clone)]
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
}

impl Email {
    /// By the server of an SMTP URL. The error does not repeat the URL, which may hold a password.
    pub fn new(
        url: &str,
        login: Option<(String, String)>,
        from: Mailbox,
        to: Vec<Mailbox>,
    ) -> Result<Email, &'static str> {
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::from_url(url).map_err(
            |_| "it must be a URL such as `smtps://mail.example.org` or `smtp://mail.example.org:587?tls=required`",
        )?;
        if let Some((username, password)) = login {
            builder = builder.credentials(Credentials::new(username, password));
        }
        Ok(Email {
            transport: builder.timeout(Some(STEP_LIMIT)).build(),
            from,
            to,
        })
    }

    /// The email itself.
    fn letter(&self, message: &Message) -> Result<lettre::Message, String> {
        let header = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let mut builder = MessageBuilder::new()
            .from(self.from.clone())
            .subject(&message.subject)
            // Mail servers and readers know repetitions by it.
            .message_id(Some(format!("<{}@dropcron>", message.delivery_id)))
            .raw_header(header("Idempotency-Key", &message.delivery_id))
            // RFC 3834: nobody shall answer that they are on holiday.
            .raw_header(header("Auto-Submitted", "auto-generated"));
        for mailbox in &self.to {
            builder = builder.to(mailbox.clone());
        }
        builder
            .header(ContentType::TEXT_PLAIN)
            .body(message.text.clone())
            .map_err(|error| format!("the email cannot be written: {error}"))
    }

    /// Sends a message. The error says why it was not taken.
    pub async fn send(&self, message: &Message) -> Result<(), String> {
        let letter = self.letter(message)?;
        match tokio::time::timeout(TIME_LIMIT, self.transport.send(letter)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) if error.is_timeout() => Err(format!("it did not answer within {} s", STEP_LIMIT.as_secs())),
            Ok(Err(error)) => Err(format!("the mail server did not take it: {}", with_causes(&error))),
            Err(_) => Err(format!("it did not answer within {} s", TIME_LIMIT.as_secs())),
        }
    }
}

/// An error with what is behind it, as far as that is not said already.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text.push_str(&format!(": {said}"));
        }
        cause = error.source();
    }
    text
}
