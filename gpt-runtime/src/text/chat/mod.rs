//! Renders conversations with a model's Jinja template.
//!
//! `functions` has what transformers adds to Jinja. `plain` encodes conversations so that the text
//! of a message never becomes a control token.

mod functions;
mod plain;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use minijinja::value::Serde;
use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};

use crate::Error;

pub use plain::Cache;

/// The speaker of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions for the whole conversation.
    System,
    /// The user.
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

/// The chat templates of a model: names and sources. The one that is used is `default`, or the
/// only one.
#[derive(Clone, Default)]
pub struct Templates(pub Vec<(String, String)>);

/// A template, which is compiled when it is first used: a model whose template cannot be read
/// still generates text.
pub struct Template {
    templates: Templates,
    /// The special tokens that templates name: `bos_token`, `eos_token`, ..
    tokens: Vec<(String, String)>,
    environment: OnceLock<Result<Environment<'static>, String>>,
}

impl Template {
    /// A template; none if `templates` is empty.
    pub fn new(templates: Templates, tokens: Vec<(String, String)>) -> Option<Template> {
        let environment = OnceLock::new();
        (!templates.0.is_empty()).then_some(Template { templates, tokens, environment })
    }

    /// All templates: names and sources.
    pub fn templates(&self) -> &[(String, String)] {
        &self.templates.0
    }

    /// The source of the template.
    fn source(&self) -> Result<&str, String> {
        let templates = &self.templates.0;
        let default = templates.iter().find(|(name, _)| name == "default");
        if let Some((_, source)) = default.or(templates.first().filter(|_| templates.len() == 1)) {
            return Ok(source);
        }
        let names: Vec<&str> = templates.iter().map(|(name, _)| name.as_str()).collect();
        Err(format!(
            "the model has the chat templates {}, but none of them is the default",
            names.join(", ")
        ))
    }

    fn environment(&self) -> Result<&Environment<'static>, Error> {
        let compile = || {
            let source = self.source()?;
            caught(|| functions::environment(source)).unwrap_or_else(|| {
                Err("the model's chat template cannot be read: its engine panicked".to_owned())
            })
        };
        let environment = self.environment.get_or_init(compile);
        environment.as_ref().map_err(Error::template)
    }

    pub fn render(&self, messages: &[Message]) -> Result<String, Error> {
        let mut environment = self.environment()?.clone();
        environment.set_fuel(Some(functions::fuel(messages)));
        let template = environment.get_template(functions::NAME).expect("it was added");
        let tokens = self.tokens.iter().map(|(name, token)| (name.as_str(), token.as_str()));
        let tokens: BTreeMap<&str, &str> =
            [("bos_token", ""), ("eos_token", "")].into_iter().chain(tokens).collect();
        let values = context! {
            messages => Serde(messages), add_generation_prompt => true,
            tools => Value::from(()), documents => Value::from(()),
            ..Value::from_pairs(tokens)
        };
        const REFUSED: &str = "the model's chat template does not accept the conversation";
        match caught(|| template.render(values)) {
            Some(Ok(text)) => Ok(text),
            Some(Err(error)) => {
                Err(Error::template(format!("{REFUSED}: {error}")).caused_by(error))
            }
            None => Err(Error::template(format!("{REFUSED}: its engine panicked"))),
        }
    }
}

/// Returns the result of `work`; none if it panics. A template comes from a file, so it must not
/// end the program. In builds with overflow checks, minijinja panics for a slice whose step is the
/// least integer.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    // State that a panic leaves half done is dropped: the environment that was being compiled, or a
    // copy of it.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(named: &[(&str, &str)]) -> Template {
        let named = named.iter().map(|(name, source)| ((*name).to_owned(), (*source).to_owned()));
        let tokens = [("bos_token", "<s>"), ("eos_token", "</s>"), ("pad_token", "<pad>")];
        let tokens = tokens.map(|(name, token)| (name.to_owned(), token.to_owned()));
        Template::new(Templates(named.collect()), tokens.into()).unwrap()
    }

    fn render(source: &str, messages: &[Message]) -> Result<String, Error> {
        template(&[("default", source)]).render(messages)
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
        let error = render("{%}", &[]).unwrap_err().to_string();
        assert!(error.starts_with("the model's chat template cannot be read"), "{error}");
        let error =
            render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err().to_string();
        assert!(error.contains("roles must alternate"), "{error}");
    }

    /// A slice whose step is the least integer. Its negation panics in builds with overflow checks.
    #[test]
    fn a_panic_of_the_engine_is_an_error() {
        let list = [Message::new(Role::User, "a"), Message::new(Role::User, "b")];
        for least in
            ["-9223372036854775808", "(-9223372036854775807 - 1)", "-9223372036854775807.5"]
        {
            for sliced in ["messages", "'ab'", "range(2)", "(1, 2)"] {
                let source = format!("{{{{ {sliced}[::{least}] | list | length }}}}");
                match render(&source, &list) {
                    // One element, the last one.
                    Ok(text) => assert_eq!(text, "1", "{source}"),
                    Err(error) => {
                        let error = error.to_string();
                        assert!(error.contains("its engine panicked"), "{source}: {error}");
                    }
                }
            }
        }
        assert_eq!(caught(|| -> u8 { panic!("of all things") }), None);
    }

    #[test]
    fn a_template_is_chosen_by_its_name() {
        let named = [("rag", "documents"), ("default", "{{ bos_token }}{{ pad_token }}")];
        assert_eq!(template(&named).render(&[]).unwrap(), "<s><pad>");
        assert_eq!(template(&named[..1]).render(&[]).unwrap(), "documents");
        let error = template(&[named[0], ("tool_use", "")]).render(&[]).unwrap_err().to_string();
        assert!(error.contains("chat templates rag, tool_use"), "{error}");
        assert!(Template::new(Templates::default(), Vec::new()).is_none());
    }

    #[test]
    fn a_template_that_does_not_end_is_stopped() {
        let many =
            "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}";
        let doubled = "{% set ns = namespace(t='a') %}{% for i in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}";
        for source in
            [many, doubled, "{{ 'a' * 90000000 }}", "{{ [1] | tojson(indent=4294967295) }}"]
        {
            let error = render(source, &[]).unwrap_err().to_string();
            assert!(error.contains("ran out of fuel"), "{source}: {error}");
        }
        // A long conversation gets more fuel.
        let source =
            "{% for m in messages %}{{ m.content | trim | replace('x', 'y') }}{% endfor %}";
        let messages = vec![Message::new(Role::User, "text ".repeat(10_000)); 400];
        assert!(render(source, &messages).unwrap().len() > 19_000_000);
    }

    #[test]
    fn tags_of_transformers_are_known() {
        let source = "{% for m in messages %}\n{%- generation %}\n{{ m.content }}\n{%- endgeneration -%}\n{% if loop.index == 1 %}{% break %}{% endif %}{% endfor %}|{{ tools is none }}";
        let messages = [Message::new(Role::User, "a"), Message::new(Role::User, "b")];
        assert_eq!(render(source, &messages).unwrap(), "a|True");
    }
}
