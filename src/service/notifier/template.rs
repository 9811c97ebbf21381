//! Bodies of messages: the templates of the services, and those of operators.
//!
//! The templates are data, in files of their own. Every value passes `tojson`, so that no text (quotes, line breaks, emoji, an
//! attempt to mention everybody) can end its string. A template of an operator is tried with such text before it is used.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

use super::message::Message;

/// What a template sees beside the message.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Extras {
    /// For Lark: seconds since 1970, as text.
    pub timestamp: Option<String>,
    /// For Lark: the signature.
    pub sign: Option<String>,
    /// For ntfy: the topic.
    pub topic: Option<String>,
}

#[derive(Serialize)]
struct View<'a> {
    #[serde(flatten)]
    message: &'a Message,
    #[serde(flatten)]
    extras: &'a Extras,
}

/// A template that is known to be well-formed.
#[derive(Clone, Debug)]
pub struct Template {
    environment: Environment<'static>,
}

const NAME: &str = "body";

impl Template {
    /// Reads a template. The error says what is wrong with it, and in which line.
    pub fn parse(source: &str) -> Result<Template, String> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.add_filter("cut", cut);
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| described(&error))?;
        Ok(Template { environment })
    }

    /// A name in it that no message has, such as one with a slip: filled in, it would be nothing.
    pub fn unknown_name(&self, message: &Message) -> Option<String> {
        let known = names(message);
        let template = self.environment.get_template(NAME).ok()?;
        let is_global = |name: &str| self.environment.globals().any(|(global, _)| global == name);
        let names = template.undeclared_variables(false);
        names
            .into_iter()
            .filter(|name| !known.contains(name) && !is_global(name))
            .min()
    }

    /// Fills it in.
    pub fn render(&self, message: &Message, extras: &Extras) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| described(&error))?;
        template
            .render(Serde(View { message, extras }))
            .map_err(|error| described(&error))
    }
}

/// What a template may name.
pub fn names(message: &Message) -> Vec<String> {
    let extras = &Extras::default();
    let view = serde_json::to_value(View { message, extras }).unwrap_or_default();
    view.as_object()
        .map(|view| view.keys().cloned().collect())
        .unwrap_or_default()
}

fn described(error: &minijinja::Error) -> String {
    let place = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(": {detail}")).unwrap_or_default();
    format!("{place}{}{detail}", error.kind())
}

/// The filter `cut`: at most so many bytes of a text, whole characters only, with a sign where something is missing. Services
/// count bytes.
fn cut(text: String, bytes: usize) -> String {
    const SIGN: &str = "…";
    if text.len() <= bytes {
        return text;
    }
    let end = text.floor_char_boundary(bytes.saturating_sub(SIGN.len()));
    text[..end].to_owned() + SIGN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("abc".to_owned(), 3), "abc");
        assert_eq!(cut("äöüß".to_owned(), 6), "ä…");
        assert_eq!(cut("日本語".to_owned(), 2), "…");
    }

    #[test]
    fn a_template_that_is_none_says_where() {
        let message = Template::parse("{\n{{ subject").unwrap_err();
        assert!(message.starts_with("line 2: "), "{message}");
    }
}
