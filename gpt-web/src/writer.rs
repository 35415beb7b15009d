//! A model that writes texts, one at a time.

use std::time::Duration;

use gpt_runtime::{
    Device, Ended, Error, Format, Generation, LoadOptions, Model, Sampling, Stop, Untyped,
};
use wasm_bindgen::prelude::*;

use crate::models;

/// A model on a device, and the text that it writes.
#[wasm_bindgen]
pub struct Writer {
    model: Model<Untyped>,
    text: Option<Generation<'static, Untyped>>,
}

/// What a step wrote.
#[wasm_bindgen(getter_with_clone)]
pub struct Step {
    /// The new text; may be empty.
    pub text: String,
    /// Tokens of the whole text so far, without the prompt.
    pub tokens: usize,
    /// Why the text ended; none if it goes on.
    pub ended: Option<String>,
}

/// How to choose tokens.
#[wasm_bindgen]
pub struct Choice {
    sampling: Sampling,
    tokens: usize,
}

#[wasm_bindgen]
impl Choice {
    /// At most `tokens` new tokens at `temperature`; 0 always takes the likeliest.
    #[wasm_bindgen(constructor)]
    pub fn new(tokens: usize, temperature: f32, seed: u32) -> Choice {
        let sampling = Sampling { temperature, seed: seed.into(), ..Sampling::default() };
        Choice { sampling, tokens }
    }
}

#[wasm_bindgen]
impl Writer {
    /// Loads a GGUF file. `dtype` is a format to convert its matrices to, such as `f32`.
    ///
    /// # Errors
    /// The file is damaged or of another model, or there is no memory for it.
    pub fn open(name: &str, gguf: Vec<u8>, dtype: Option<String>) -> Result<Writer, JsError> {
        let options = LoadOptions { dtype: dtype.map(format).transpose()?, ..Default::default() };
        let device = Device::cpu()?;
        let model = models::load(name, gguf, &device, &options)?;
        Ok(Writer { model, text: None })
    }

    /// The name of the model.
    pub fn model(&self) -> String {
        self.model.plan().name.to_string()
    }

    /// The device that the model runs on.
    pub fn device(&self) -> String {
        self.model.device().name()
    }

    /// Why it was chosen.
    pub fn reason(&self) -> String {
        "the CPU engine is the only one in this build".to_owned()
    }

    /// Tokens that a prompt and its continuation may have together.
    pub fn context(&self) -> u32 {
        self.model.plan().spec.context
    }

    /// Reads a prompt. Call [`step`](Self::step) for the text. A text that was in progress is
    /// dropped.
    ///
    /// # Errors
    /// A character that the model does not know, or too long a prompt.
    pub fn start(&mut self, prompt: &str, choice: &Choice) -> Result<(), JsError> {
        self.text = None;
        let prompt = self.model.tokenizer()?.encode_prompt(prompt)?;
        let stop = Stop::default().with_tokens(choice.tokens);
        let capacity = prompt.len().saturating_add(choice.tokens);
        let capacity = capacity.clamp(1, self.context() as usize);
        let session = self.model.session().capacity(capacity as u32).open()?;
        self.text = Some(session.into_generation(&prompt, choice.sampling.clone(), stop)?);
        Ok(())
    }

    /// Writes for about `milliseconds`, at least one token.
    ///
    /// # Errors
    /// No text was started, or the engine fails.
    pub fn step(&mut self, milliseconds: f64) -> Result<Step, JsError> {
        let budget = Duration::from_secs_f64(milliseconds.clamp(0.0, 1e6) / 1e3);
        let text = self.text.as_mut().ok_or_else(|| JsError::new("no text was started"))?;
        let new = text.poll(budget)?;
        let (tokens, ended) = (text.generated(), text.ended());
        if ended.is_some() {
            self.text = None;
        }
        Ok(Step { text: new, tokens, ended: ended.map(|why| reason(why).to_owned()) })
    }

    /// Ends the text, and returns what was held back of it.
    pub fn stop(&mut self) -> String {
        self.text.take().map_or_else(String::new, |mut text| text.finish())
    }

    /// The logits after each token of `text`, a row after the other.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn logits(&self, text: &str) -> Result<Vec<f32>, JsError> {
        let ids = self.model.tokenizer()?.encode_prompt(text)?;
        let mut session = self.model.session().capacity(ids.len() as u32).all_logits().open()?;
        let mut rows = Vec::new();
        session.each_logits(&ids, |_, logits| rows.extend_from_slice(logits))?;
        Ok(rows)
    }
}

fn format(name: String) -> Result<Format, Error> {
    let found = Format::ALL.into_iter().find(|format| format.name() == name);
    found.ok_or_else(|| Error::Input(format!("there is no format {name}")))
}

fn reason(ended: Ended) -> &'static str {
    match ended {
        Ended::EndOfText => "end",
        Ended::StopString | Ended::Length => "length",
        Ended::Full => "full",
        _ => "failed",
    }
}
