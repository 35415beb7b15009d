//! Encodes conversations. Control tokens come from the template only: text of a message that looks
//! like one is encoded as its characters.
//!
//! A template returns text, in which its own control tokens and a message's look alike. So a
//! control token in a message gets a mark after its first character: a character that occurs
//! nowhere else. The mark survives the template and is removed after control tokens have been
//! found.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::json;

use super::{Message, Role, Template};
use crate::Error;
use crate::text::{Tokenizer, source};

/// A tokenizer that removes `mark` from the text between control tokens.
pub struct Marked {
    mark: char,
    inner: tokenizers::Tokenizer,
}

/// The [`Marked`] tokenizer of the first conversation that needed one.
pub type Cache = OnceLock<Marked>;

/// The tokens that a message of a role must not produce.
struct Controls {
    /// For messages of people: control tokens, and all tokens that the template writes.
    people: Vec<String>,
    /// For messages of the model: control tokens. Templates search its text for other tokens, such
    /// as `</think>`.
    model: Vec<String>,
}

impl Tokenizer {
    /// Encodes a conversation as a prompt for the assistant's next turn, from the beginning of the
    /// model's context. Text of messages never makes control tokens.
    ///
    /// # Errors
    /// Fails if the model has no chat template, if the template cannot be read or rejects the
    /// conversation, or if a character has no token.
    pub fn encode_chat(&self, messages: &[Message]) -> Result<Vec<u32>, Error> {
        let template = self.template()?;
        let controls = self.controls(template);
        let forged = messages.iter().any(|message| {
            controls.of(message.role).iter().any(|token| message.content.contains(token.as_str()))
        });
        let mut ids = match forged {
            false => self.encode(&template.render(messages)?)?,
            true => self.encode_marked(template, messages, &controls)?,
        };
        self.begin(&mut ids);
        Ok(ids)
    }

    fn encode_marked(
        &self,
        template: &Template,
        messages: &[Message],
        controls: &Controls,
    ) -> Result<Vec<u32>, Error> {
        let source = template.source().unwrap_or_default();
        let is_free = |mark: &char| {
            let in_messages = messages.iter().any(|m| m.content.contains(*mark));
            let in_controls = controls.people.iter().any(|token| token.contains(*mark));
            !in_messages && !in_controls && !source.contains(*mark)
        };
        // Characters that no text is meant to have, then those for private use.
        let mark = ('\u{FDD0}'..='\u{FDEF}').chain('\u{100000}'..='\u{10FFFD}').find(is_free);
        let mark = mark.ok_or_else(|| {
            Error::Input("the conversation has every private-use character, so none is left to mark text that looks like control tokens".to_owned())
        })?;
        let marked = |message: &Message| {
            let content = broken(&message.content, controls.of(message.role), mark);
            Message::new(message.role, content)
        };
        let marked: Vec<Message> = messages.iter().map(marked).collect();
        let text = template.render(&marked)?;
        match self.marked.get() {
            Some(found) if found.mark == mark => self.run(&found.inner, &text, false),
            found => {
                let inner = self.without(mark, controls)?;
                let ids = self.run(&inner, &text, false);
                if found.is_none() {
                    // Another thread may have kept its own in the meantime.
                    let _ = self.marked.set(Marked { mark, inner });
                }
                ids
            }
        }
    }

    /// This tokenizer, with `mark` removed from text between control tokens.
    ///
    /// # Errors
    /// Fails if the crate cannot read the tokenizer as it wrote it.
    fn without(&self, mark: char, controls: &Controls) -> Result<tokenizers::Tokenizer, Error> {
        let mut json = serde_json::to_value(&*self.inner).expect("a tokenizer is JSON");
        for token in json["added_tokens"].as_array_mut().into_iter().flatten() {
            // A token that is found in normalised text would be found without its mark.
            if controls.people.iter().any(|control| token["content"] == **control) {
                token["normalized"] = false.into();
            }
        }
        let mut normalizers =
            vec![json!({ "type": "Replace", "pattern": { "String": mark }, "content": "" })];
        normalizers.extend(Some(json["normalizer"].take()).filter(|n| !n.is_null()));
        json["normalizer"] = json!({ "type": "Sequence", "normalizers": normalizers });
        source::parse(json.to_string().as_bytes(), "the tokenizer")
    }

    fn controls(&self, template: &Template) -> Controls {
        let source = template.source().unwrap_or_default();
        let mut controls = Controls { people: Vec::new(), model: Vec::new() };
        // Sorted, because the order of a hash map differs from run to run.
        let added = self.inner.get_added_tokens_decoder();
        let added: BTreeMap<u32, tokenizers::AddedToken> = added.into_iter().collect();
        for token in added.values() {
            // A single character cannot be divided.
            if token.content.chars().nth(1).is_none() {
                continue;
            }
            let is_control = token.special || looks_special(&token.content);
            if is_control {
                controls.model.push(token.content.clone());
            }
            if is_control || source.contains(&token.content) && !is_blank(&token.content) {
                controls.people.push(token.content.clone());
            }
        }
        controls
    }
}

impl Controls {
    fn of(&self, role: Role) -> &[String] {
        match role {
            Role::Assistant => &self.model,
            Role::System | Role::User => &self.people,
        }
    }
}

/// Whether a name is one that only control tokens have: some files do not mark all of them.
fn looks_special(name: &str) -> bool {
    let between = |first: &str, last: &str| name.starts_with(first) && name.ends_with(last);
    let pairs = [("<|", "|>"), ("<｜", "｜>"), ("<start_of_", ">"), ("<end_of_", ">")];
    pairs.iter().any(|(first, last)| between(first, last))
}

/// Tokens for blanks and line breaks are text.
fn is_blank(name: &str) -> bool {
    name.chars().all(|c| c.is_whitespace() || c == '▁')
}

/// Puts `mark` into each of the `controls` in `text`.
fn broken(text: &str, controls: &[String], mark: char) -> String {
    let mut text = text.to_owned();
    for control in controls {
        // A part of a token that was divided may begin the next one.
        while let Some(at) = text.find(control.as_str()) {
            let first = control.chars().next().map_or(0, char::len_utf8);
            text.insert(at + first, mark);
        }
    }
    text
}
