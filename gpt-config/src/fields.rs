//! The values of a file by key. A getter checks the type of a value. If the type is wrong, the
//! getter notes a problem and treats the key as absent, so that all problems of a file are found
//! together.

use std::collections::BTreeSet;

use gpt_plan::Spec;
use serde_json::{Map, Value};

/// Keys of any `config.json` that do not change what a model computes: special tokens, the type of
/// stored numbers, and settings of training, of the output and of generation (`PretrainedConfig`
/// of transformers).
const HARMLESS: &[&str] = &[
    "_attn_implementation_autoset",
    "_commit_hash",
    "_name_or_path",
    "architectures",
    "bos_token_id",
    "chunk_size_feed_forward",
    "decoder_start_token_id",
    "do_sample",
    "dtype",
    "early_stopping",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "initializer_range",
    "is_decoder",
    "label2id",
    "length_penalty",
    "max_length",
    "min_length",
    "no_repeat_ngram_size",
    "num_beams",
    "num_return_sequences",
    "output_attentions",
    "output_hidden_states",
    "pad_token_id",
    "prefix",
    "problem_type",
    "repetition_penalty",
    "return_dict",
    "sep_token_id",
    "task_specific_params",
    "temperature",
    "tokenizer_class",
    "top_k",
    "top_p",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "typical_p",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
];

/// The values of a file, the keys read so far, and the problems found.
pub struct Fields<'a> {
    /// The name of the file, or of the object within it, in messages.
    file: &'static str,
    /// The prefix of every key that is read. Keys without it are ignored.
    prefix: String,
    values: &'a Map<String, Value>,
    read: BTreeSet<&'static str>,
    problems: Vec<String>,
}

/// The compiler's limit. A file with more layers is refused before anything is allocated for each
/// layer.
const MOST_LAYERS: u32 = 65_536;

impl<'a> Fields<'a> {
    pub fn new(file: &'static str, prefix: String, values: &'a Map<String, Value>) -> Fields<'a> {
        Fields { file, prefix, values, read: BTreeSet::new(), problems: Vec::new() }
    }

    /// The spec, or all problems. Keys that nothing has read are problems.
    pub fn finish(mut self, spec: Spec) -> Result<Spec, Vec<String>> {
        if self.prefix.is_empty() {
            self.ignore(HARMLESS);
            // These add a second attention or another model, so they have to be false.
            self.only("add_cross_attention", false);
            self.only("is_encoder_decoder", false);
            self.only("tie_encoder_decoder", false);
        }
        let names = self.values.keys().filter_map(|key| key.strip_prefix(&self.prefix));
        for name in names.filter(|name| !self.read.contains(name)) {
            self.problems.push(format!(
                "the key {} of {} is unknown; remove it if it does not change what the model computes",
                short(&format!("{}{name}", self.prefix)),
                self.file
            ));
        }
        if self.problems.is_empty() { Ok(spec) } else { Err(self.problems) }
    }

    /// The problems found so far, or `problem` if there are none.
    pub fn problem_or(self, problem: String) -> Vec<String> {
        if self.problems.is_empty() { vec![problem] } else { self.problems }
    }

    /// Notes `problem`, a sentence.
    pub fn fail(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    /// Marks `keys`, which do not change what the model computes, as read.
    pub fn ignore(&mut self, keys: &[&'static str]) {
        self.read.extend(keys);
    }

    /// The name of the file in messages.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The value of `key`; null counts as absent.
    pub fn value(&mut self, key: &'static str) -> Option<&'a Value> {
        self.read.insert(key);
        self.values.get(&format!("{}{key}", self.prefix)).filter(|value| !value.is_null())
    }

    /// Whether the file has `key`, null or not.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(&format!("{}{key}", self.prefix))
    }

    fn wrong(&mut self, key: &str, value: &Value, expected: &str) {
        let (prefix, file) = (&self.prefix, self.file);
        let problem =
            format!("{prefix}{key} is {} in {file}; it has to be {expected}", text(value));
        self.problems.push(problem);
    }

    /// A size, if there is one.
    pub fn size(&mut self, key: &'static str) -> Option<u32> {
        let value = self.value(key)?;
        let size = value.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0);
        if size.is_none() {
            self.wrong(key, value, "an integer from 1 to 4294967295");
        }
        size
    }

    /// A number of layers, if there is one.
    pub fn layers(&mut self, key: &'static str) -> Option<u32> {
        let layers = self.size(key)?;
        if layers > MOST_LAYERS {
            let (prefix, file) = (&self.prefix, self.file);
            let problem =
                format!("{prefix}{key} is {layers} in {file}; the limit is {MOST_LAYERS}");
            self.problems.push(problem);
            return None;
        }
        Some(layers)
    }

    /// A number of layers that the file must have.
    pub fn required_layers(&mut self, key: &'static str) -> u32 {
        if self.value(key).is_none() {
            return self.required(key);
        }
        self.layers(key).unwrap_or(1)
    }

    /// An index or a number that may be zero, if there is one.
    pub fn index(&mut self, key: &'static str) -> Option<u32> {
        let value = self.value(key)?;
        let index = value.as_u64().and_then(|n| u32::try_from(n).ok());
        if index.is_none() {
            self.wrong(key, value, "an integer from 0 to 4294967295");
        }
        index
    }

    /// A size that the file must have.
    pub fn required(&mut self, key: &'static str) -> u32 {
        if self.value(key).is_none() {
            let problem = format!("{} has no {}{key}", self.file, self.prefix);
            self.problems.push(problem);
        }
        self.size(key).unwrap_or(1)
    }

    /// A number above 0 that fits in an f32, if there is one.
    pub fn number(&mut self, key: &'static str) -> Option<f64> {
        let value = self.value(key)?;
        let number = value.as_f64().filter(|x| (*x as f32).is_finite() && *x as f32 > 0.0);
        if number.is_none() {
            self.wrong(key, value, "a number above 0 that fits in an f32");
        }
        number
    }

    /// A flag, `true` or `false`, if there is one.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.wrong(key, value, "true or false");
        }
        flag
    }

    /// A string, if there is one.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        let value = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            self.wrong(key, value, "a string");
        }
        text
    }

    /// Reads a key whose only supported value is its default, `value`.
    pub fn only(&mut self, key: &'static str, value: impl Into<Value>) {
        let supported = value.into();
        let Some(found) = self.value(key) else { return };
        let same = match (found.as_f64(), supported.as_f64()) {
            (Some(a), Some(b)) => a == b,
            _ => *found == supported,
        };
        if !same {
            let (prefix, file) = (&self.prefix, self.file);
            let (found, supported) = (text(found), text(&supported));
            let problem =
                format!("{prefix}{key} is {found} in {file}; only {supported} is supported");
            self.problems.push(problem);
        }
    }
}

/// `value` as messages show it.
pub fn text(value: &Value) -> String {
    match value {
        Value::String(text) => short(text),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        value => value.to_string(),
    }
}

/// `text` of a file as messages show it: on one line, with at most 60 of its characters.
pub fn short(text: &str) -> String {
    let mut line: String = text.chars().take(60).filter(|c| !c.is_control()).collect();
    if text.chars().nth(60).is_some() {
        line.push_str("...");
    }
    line
}
