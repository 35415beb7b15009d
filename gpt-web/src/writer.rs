//! A model that writes: continuations of a text, or answers in a conversation, one at a time.
//!
//! The functions that run the model are `async`, because a browser reports by an event that a GPU
//! is done. With the CPU engine they never yield.

use std::time::Duration;

use gpt_runtime::{
    Ended, Error, Format, Generation, LoadOptions, Model, Plan, Sampling, Session, Stop, Untyped,
};
use wasm_bindgen::prelude::*;

use crate::chat::{Added, Chat};
use crate::file::ModelFile;
use crate::reader::Reader;
use crate::{device, models};

/// The most bytes of a session's keys and values. A model's context may be much longer than a text
/// on a page.
const CACHE: u64 = 128 << 20;

/// A model on a device, and the text that it writes.
#[wasm_bindgen]
pub struct Writer {
    model: Model<Untyped>,
    reason: String,
    text: Text,
    chat: Chat,
}

/// The text in progress.
enum Text {
    None,
    /// A prompt that is being read.
    Prompt(Box<Prompt>),
    Continuation(Box<Generation<'static, Untyped>>),
    Answer,
}

struct Prompt {
    session: Session,
    reader: Reader,
    sampling: Sampling,
    stop: Stop,
}

/// The result of a step.
#[wasm_bindgen(getter_with_clone)]
pub struct Step {
    /// The new text; may be empty.
    pub text: String,
    /// Tokens of the whole text so far, without the prompt.
    pub tokens: usize,
    /// Why the text ended; none if it continues.
    pub ended: Option<String>,
}

#[wasm_bindgen]
impl Writer {
    /// Loads a GGUF file and frees it. `kind` is the device: `cpu`, `gpu`, or `auto` for a GPU
    /// that passes the test of the model's kernels, otherwise the CPU. `dtype` is a format to
    /// convert the matrices to, such as `f32`.
    ///
    /// # Errors
    /// Fails if the file is damaged or its model unknown, if there is no memory for the model, or
    /// if there is no such device or format.
    pub async fn open(
        file: ModelFile,
        kind: String,
        dtype: Option<String>,
    ) -> Result<Writer, JsError> {
        let (name, gguf) = file.into_parts();
        let dtype = dtype.map(format).transpose()?;
        let found = models::find(&name, &gguf)?;
        let formats = dtype.map_or(found.formats, |format| vec![format]);
        let (device, reason) = device::open(&kind, found.plan, &formats).await?;
        let options = LoadOptions { dtype, ..Default::default() };
        let model = models::load(found.plan, &name, gguf, &device, &options)?;
        model.tokenizer()?;
        Ok(Writer { model, reason, text: Text::None, chat: Chat::default() })
    }

    /// The name of the model.
    pub fn model(&self) -> String {
        self.model.plan().name.to_string()
    }

    /// The device that the model runs on.
    pub fn device(&self) -> String {
        self.model.device().name()
    }

    /// Whether the device is a GPU.
    pub fn is_gpu(&self) -> bool {
        self.model.device().is_gpu()
    }

    /// Why the device was chosen.
    pub fn reason(&self) -> String {
        self.reason.clone()
    }

    /// The most tokens of a prompt and its continuation together: the model's context, or as much
    /// of it as fits in the memory that a page uses for a text.
    pub fn context(&self) -> u32 {
        capacity(self.model.plan())
    }

    /// Whether the model came with a template for conversations.
    pub fn can_chat(&self) -> bool {
        self.model.tokenizer().is_ok_and(|tokenizer| tokenizer.can_chat())
    }

    /// Begins a text of at most `tokens` new tokens after a prompt. A `temperature` of 0 always
    /// takes the likeliest token. Call [`step`](Self::step) for the text. A text in progress is
    /// dropped.
    ///
    /// # Errors
    /// Fails if the prompt has a character that the model does not know, or is too long.
    pub fn start(
        &mut self,
        prompt: String,
        tokens: usize,
        temperature: f32,
        seed: u32,
    ) -> Result<(), JsError> {
        self.stop();
        let prompt = self.model.tokenizer()?.encode_prompt(&prompt)?;
        let stop = Stop::default().with_tokens(tokens);
        let most = self.context() as usize;
        if prompt.len() > most {
            let what =
                format!("the prompt takes {} tokens, and there is room for {most}", prompt.len());
            return Err(JsError::new(&what));
        }
        let capacity = prompt.len().saturating_add(tokens).clamp(1, most);
        let session = self.model.session().capacity(capacity as u32).open()?;
        let (reader, sampling) = (Reader::new(prompt, 0), sampling(temperature, seed));
        self.text = Text::Prompt(Box::new(Prompt { session, reader, sampling, stop }));
        Ok(())
    }

    /// Begins the answer to a message, of at most `tokens` tokens. Call [`step`](Self::step) for
    /// the answer. Returns the number of old messages that were dropped because they no longer fit.
    ///
    /// # Errors
    /// Fails if the model has no template for conversations, or if the message is too long.
    pub fn ask(
        &mut self,
        message: String,
        tokens: usize,
        temperature: f32,
        seed: u32,
    ) -> Result<usize, JsError> {
        self.stop();
        let (capacity, sampling) = (self.context(), sampling(temperature, seed));
        let dropped = self.chat.ask(&self.model, capacity, message, sampling, tokens.max(1))?;
        self.text = Text::Answer;
        Ok(dropped)
    }

    /// Forgets the conversation.
    pub fn forget(&mut self) {
        self.stop();
        self.chat = Chat::default();
    }

    /// Reads some tokens of the prompt, or writes for about `milliseconds`, at least one token.
    ///
    /// # Errors
    /// Fails if no text was started, or if the device fails.
    pub async fn step(&mut self, milliseconds: f64) -> Result<Step, JsError> {
        let budget = Duration::from_secs_f64(milliseconds.clamp(0.0, 1e6) / 1e3);
        let added = self.advance(budget).await?;
        if added.ended.is_some() {
            self.text = Text::None;
        }
        let Added { text, tokens, ended } = added;
        Ok(Step { text, tokens, ended: ended.map(|why| reason(why).to_owned()) })
    }

    /// Ends the text in progress, and returns the characters of it that were held back.
    pub fn stop(&mut self) -> String {
        match std::mem::replace(&mut self.text, Text::None) {
            Text::None | Text::Prompt(_) => String::new(),
            Text::Continuation(mut text) => text.finish(),
            Text::Answer => self.chat.stop(),
        }
    }

    /// The logits after each token of `text`, one row after another. The tokens are run one by one.
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

    /// The logits after the last token of `text`. The tokens are run together.
    ///
    /// # Errors
    /// See [`start`](Self::start).
    pub async fn last_logits(&self, text: String) -> Result<Vec<f32>, JsError> {
        let ids = self.model.tokenizer()?.encode_prompt(&text)?;
        let mut session = self.model.session().capacity(ids.len() as u32).open()?;
        Ok(session.push_async(&ids).await?.to_vec())
    }
}

impl Writer {
    async fn advance(&mut self, budget: Duration) -> Result<Added, Error> {
        if let Text::Prompt(prompt) = &mut self.text {
            // The generation runs the last token of the prompt itself.
            if !prompt.reader.read(&mut prompt.session, 1).await? {
                return Ok(Added { text: String::new(), tokens: 0, ended: None });
            }
        }
        self.text = match std::mem::replace(&mut self.text, Text::None) {
            Text::Prompt(prompt) => {
                let Prompt { session, reader, sampling, stop } = *prompt;
                let text = session.into_generation_async(reader.rest(), sampling, stop).await?;
                Text::Continuation(Box::new(text))
            }
            text => text,
        };
        match &mut self.text {
            Text::Continuation(text) => {
                let new = text.poll_async(budget).await?;
                Ok(Added { text: new, tokens: text.generated(), ended: text.ended() })
            }
            Text::Answer => self.chat.step(budget).await,
            Text::None | Text::Prompt(_) => Err(Error::Input("no text was started".to_owned())),
        }
    }
}

fn sampling(temperature: f32, seed: u32) -> Sampling {
    Sampling { temperature, seed: seed.into(), ..Sampling::default() }
}

/// Positions of a session whose keys and values take at most [`CACHE`] bytes in f32.
fn capacity(plan: &Plan) -> u32 {
    let spec = &plan.spec;
    let width = 2 * u64::from(spec.kv_heads) * u64::from(spec.head_dim);
    let position = 4 * width * u64::from(spec.layers);
    (CACHE / position).clamp(1, spec.context.into()) as u32
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
