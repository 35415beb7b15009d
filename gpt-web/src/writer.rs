//! A model that writes texts, one at a time.
//!
//! Its functions are `async`, because a browser's GPU signals its end by an event. The CPU engine
//! never yields within one.

use std::time::Duration;

use gpt_runtime::{Ended, Error, Format, Generation, LoadOptions, Model, Sampling, Stop, Untyped};
use wasm_bindgen::prelude::*;

use crate::device;
use crate::models;

/// A model on a device, and the text that it writes.
#[wasm_bindgen]
pub struct Writer {
    model: Model<Untyped>,
    reason: String,
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

#[wasm_bindgen]
impl Writer {
    /// Loads a GGUF file. `kind` is the device: `cpu`, `gpu`, or `auto` for a GPU that passes the
    /// test of the model's kernels, otherwise the CPU. `dtype` is a format to convert the matrices
    /// to, such as `f32`.
    ///
    /// # Errors
    /// The file is damaged or of another model, there is no memory for it, or no such device.
    pub async fn open(
        name: String,
        gguf: Vec<u8>,
        kind: String,
        dtype: Option<String>,
    ) -> Result<Writer, JsError> {
        let options = LoadOptions { dtype: dtype.map(format).transpose()?, ..Default::default() };
        let (device, reason) = device::open(&kind, models::plan(), models::FORMATS).await?;
        let model = models::load(&name, gguf, &device, &options)?;
        Ok(Writer { model, reason, text: None })
    }

    /// The name of the model.
    pub fn model(&self) -> String {
        self.model.plan().name.to_string()
    }

    /// The device that the model runs on.
    pub fn device(&self) -> String {
        self.model.device().name()
    }

    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.model.device().is_gpu()
    }

    /// Why it was chosen.
    pub fn reason(&self) -> String {
        self.reason.clone()
    }

    /// Tokens that a prompt and its continuation may have together.
    pub fn context(&self) -> u32 {
        self.model.plan().spec.context
    }

    /// Reads a prompt, for a text of at most `tokens` new tokens. A `temperature` of 0 always takes
    /// the likeliest. Call [`step`](Self::step) for the text. One in progress is dropped.
    ///
    /// # Errors
    /// A character that the model does not know, too long a prompt, or a device that fails.
    pub async fn start(
        &mut self,
        prompt: String,
        tokens: usize,
        temperature: f32,
        seed: u32,
    ) -> Result<(), JsError> {
        self.text = None;
        let prompt = self.model.tokenizer()?.encode_prompt(&prompt)?;
        let sampling = Sampling { temperature, seed: seed.into(), ..Sampling::default() };
        let stop = Stop::default().with_tokens(tokens);
        let capacity = prompt.len().saturating_add(tokens).clamp(1, self.context() as usize);
        let session = self.model.session().capacity(capacity as u32).open()?;
        self.text = Some(session.into_generation_async(&prompt, sampling, stop).await?);
        Ok(())
    }

    /// Writes for about `milliseconds`, at least one token.
    ///
    /// # Errors
    /// No text was started, or the device fails.
    pub async fn step(&mut self, milliseconds: f64) -> Result<Step, JsError> {
        let budget = Duration::from_secs_f64(milliseconds.clamp(0.0, 1e6) / 1e3);
        let text = self.text.as_mut().ok_or_else(|| JsError::new("no text was started"))?;
        let new = text.poll_async(budget).await?;
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
    /// See [`start`](Self::start).
    pub async fn logits(&self, text: String) -> Result<Vec<f32>, JsError> {
        let ids = self.model.tokenizer()?.encode_prompt(&text)?;
        let mut session = self.model.session().capacity(ids.len() as u32).open()?;
        let mut rows = Vec::new();
        for id in ids {
            rows.extend_from_slice(&session.push_async(&[id]).await?);
        }
        Ok(rows)
    }

    /// The logits after the last token of `text`, whose tokens are read at once.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub async fn last_logits(&self, text: String) -> Result<Vec<f32>, JsError> {
        let ids = self.model.tokenizer()?.encode_prompt(&text)?;
        let mut session = self.model.session().capacity(ids.len() as u32).open()?;
        Ok(session.push_async(&ids).await?.to_vec())
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
