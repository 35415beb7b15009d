//! Renders conversations with a model's Jinja template.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, ErrorKind, context};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The speaker of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Who says it.
    pub role: Role,
    /// The text, without the marks of a template.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into() }
    }
}

/// A compiled template.
pub struct Template {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

impl Template {
    /// Compiles `source` with the options and functions that transformers provides.
    pub fn new(source: String, bos: String, eos: String) -> Result<Template, Error> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
        environment.set_syntax(syntax.expect("the usual delimiters"));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function(
            "raise_exception",
            |message: String| -> Result<String, minijinja::Error> {
                Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
            },
        );
        environment.add_template_owned("chat", source).map_err(|error| {
            Error::template(format!("the model's chat template cannot be read: {error}"))
                .caused_by(error)
        })?;
        Ok(Template { environment, bos, eos })
    }

    pub fn render(&self, messages: &[Message]) -> Result<String, Error> {
        let template = self.environment.get_template("chat").expect("it was added");
        let values = context! { messages => Serde(messages), add_generation_prompt => true, bos_token => self.bos.as_str(), eos_token => self.eos.as_str() };
        template.render(values).map_err(|error| {
            Error::template(format!(
                "the model's chat template does not accept the conversation: {error}"
            ))
            .caused_by(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(source: &str, messages: &[Message]) -> Result<String, Error> {
        Template::new(source.to_owned(), "<s>".to_owned(), "</s>".to_owned())?.render(messages)
    }

    #[test]
    fn a_typical_template_renders() {
        let source = "{% for m in messages %}\n  {% if loop.first and m['role'] != 'system' %}[sys]{% endif %}\n<{{ m.role }}>{{ m['content'].strip() }}{{ eos_token }}\n{% endfor %}\n{% if add_generation_prompt %}<assistant>{% endif %}";
        let messages = [Message::new(Role::User, " hello "), Message::new(Role::Assistant, "hi")];
        assert_eq!(
            render(source, &messages).unwrap(),
            "[sys]<user>hello</s>\n<assistant>hi</s>\n<assistant>"
        );
    }

    #[test]
    fn errors_of_templates_are_reported() {
        let error = render("{% if %}", &[]).unwrap_err().to_string();
        assert!(error.starts_with("the model's chat template cannot be read"), "{error}");
        let error =
            render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }
}
