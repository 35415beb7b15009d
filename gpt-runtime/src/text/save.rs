//! Writes a tokenizer and the settings that belong in the files beside it.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::Tokenizer;
use super::source::additional_templates;
use crate::{Error, files};

const CONFIG: &str = "tokenizer_config.json";
const GENERATION: &str = "generation_config.json";

impl Tokenizer {
    /// Writes a `tokenizer.json` at `path`. Beside it, special tokens, whether a text begins with
    /// BOS, and chat templates are written to `tokenizer_config.json`, and the tokens that end a
    /// text to `generation_config.json`, as transformers stores them. A `chat_template.jinja`, a
    /// `chat_template.json` and the templates in `additional_chat_templates` beside it are removed.
    /// Each file is replaced atomically.
    ///
    /// # Errors
    /// Fails if a file cannot be written or removed.
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        for name in ["chat_template.jinja", "chat_template.json"] {
            files::remove(&path.with_file_name(name))?;
        }
        for (_, template) in additional_templates(path.parent().unwrap_or(Path::new("")))? {
            files::remove(&template)?;
        }
        let (config, generation) = (path.with_file_name(CONFIG), path.with_file_name(GENERATION));
        write(&config, self.config())?;
        write(&generation, self.ends(&generation))?;
        files::write(path, &self.json(true)?)
    }

    /// The new contents of the `generation_config.json` at `path`. Its other settings are kept.
    fn ends(&self, path: &Path) -> Json {
        let old = std::fs::read(path).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let mut json = old.filter(Json::is_object).unwrap_or_else(|| json!({}));
        match (self.stop_ids.is_empty(), json.as_object_mut()) {
            (true, Some(keys)) => drop(keys.remove("eos_token_id")),
            _ => json["eos_token_id"] = json!(*self.stop_ids),
        }
        json
    }

    /// The `tokenizer.json`, indented if `pretty`.
    pub(super) fn json(&self, pretty: bool) -> Result<String, Error> {
        self.inner.to_string(pretty).map_err(|error| {
            Error::tokenizer(format!("the tokenizer cannot be written: {error}")).caused_by(error)
        })
    }

    /// The special tokens, and whether a text begins with BOS if the post-processor of the
    /// `tokenizer.json` does not say so.
    pub(super) fn special_tokens(&self) -> Json {
        let mut config = json!({});
        for (name, token) in &*self.special {
            config[name] = token.as_str().into();
        }
        if !self.adds {
            config["add_bos_token"] = (!self.prefix.is_empty()).into();
        }
        config
    }

    fn config(&self) -> Json {
        let mut config = self.special_tokens();
        if let Some(chat) = &self.chat {
            config["chat_template"] = match chat.templates() {
                [(name, template)] if name == "default" => template.as_str().into(),
                templates => templates
                    .iter()
                    .map(|(name, template)| json!({ "name": name, "template": template }))
                    .collect(),
            };
        }
        // Without a class, transformers cannot read the file.
        if config.as_object().is_some_and(|config| !config.is_empty()) {
            config["tokenizer_class"] = "PreTrainedTokenizerFast".into();
        }
        config
    }
}

/// Writes an object, or removes the file if the object is empty.
fn write(path: &Path, json: Json) -> Result<(), Error> {
    match json.as_object().is_some_and(serde_json::Map::is_empty) {
        true => files::remove(path),
        false => files::write(path, &format!("{json:#}\n")),
    }
}
