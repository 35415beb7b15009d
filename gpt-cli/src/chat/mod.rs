//! `gpt chat`: a conversation. The KV cache is kept between turns, so a turn runs only new tokens.
//!
//! `input` reads messages from a terminal or a pipe. `command` parses lines such as `/save FILE`.

mod command;
mod input;

use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;
use std::time::Instant;

use clap::Args;
use console::Style;
use gpt_runtime::__private::files;
use gpt_runtime::text::{Message, Role};
use gpt_runtime::{Session, Stop, Tokenizer, Untyped};

use self::command::Command;
use self::input::{Event, Input};
use crate::generate::stream;
use crate::interrupt;
use crate::options::{CacheArgument, LoadArguments, SamplingArguments, TokenizerArgument};
use crate::output::{self, Failure};
use crate::progress::Spinner;

/// The default limit on the tokens of an answer. Without a limit, a small model may never stop.
const LONGEST_ANSWER: usize = 512;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt chat --model smollm2-135m --weights SmolLM2-135M-Instruct.Q4_1.gguf
  gpt chat --model smollm2-135m --weights model.gguf --system \"Answer in one sentence.\"")]
pub struct Arguments {
    /// System message before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArguments,
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    cache: CacheArgument,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    arguments.sampling.check()?;
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let tokenizer = model.tokenizer()?.clone();
    // Fails before the first message if the chat template cannot be applied.
    tokenizer.apply_chat_template(&[Message::new(Role::User, "hello")])?;
    let mut chat = Chat {
        arguments,
        session: model.session().cache(arguments.cache.cache).open()?,
        tokenizer,
        messages: Vec::new(),
        interactive: stdin().is_terminal(),
    };
    chat.set_system(arguments.system.as_deref().unwrap_or_default());
    interrupt::listen();
    if chat.interactive {
        eprintln!("Ctrl-D ends the conversation, Ctrl-C an answer; /help lists commands");
    }
    let mut input = Input::open()?;
    loop {
        let line = match input.next()? {
            Event::Message(line) => line,
            Event::Interrupted => {
                eprintln!("Ctrl-D ends the conversation");
                continue;
            }
            Event::End => return Ok(()),
        };
        let done = match Command::parse(line.trim()) {
            _ if line.trim().is_empty() => Ok(()),
            Ok(Some(Command::Quit)) => return Ok(()),
            Ok(Some(command)) => chat.obey(&command),
            Ok(None) => chat.answer(line.trim()),
            Err(failure) => Err(failure),
        };
        match done {
            // In a terminal, the user can try again. A script has to fail.
            Err(failure @ (Failure::Input(_) | Failure::Runtime(_))) if chat.interactive => {
                failure.report();
            }
            done => done?,
        }
    }
}

/// A conversation in progress.
struct Chat<'a> {
    arguments: &'a Arguments,
    session: Session<Untyped>,
    tokenizer: Tokenizer,
    messages: Vec<Message>,
    /// Whether standard input is a terminal.
    interactive: bool,
}

impl Chat<'_> {
    /// Adds a message, and prints the model's answer while it is generated.
    fn answer(&mut self, message: &str) -> Result<(), Failure> {
        self.messages.push(Message::new(Role::User, message));
        let answered = self.generate();
        if answered.is_err() {
            // The failed message is removed, so that the user can send it again.
            self.messages.pop();
        }
        let answer = answered?;
        self.messages.push(Message::new(Role::Assistant, answer.trim()));
        Ok(())
    }

    fn generate(&mut self) -> Result<String, Failure> {
        // Discards a Ctrl-C from before this answer.
        interrupt::take();
        let prompt = self.fitting_prompt()?;
        let known = prompt.iter().zip(self.session.tokens()).take_while(|(a, b)| a == b).count();
        // If the cache holds the whole prompt, the last token is run again to compute its logits.
        let known = known.min(prompt.len() - 1);
        self.session.truncate(known);
        let sampling = &self.arguments.sampling;
        let stop = Stop {
            tokens: Some(sampling.tokens.unwrap_or(LONGEST_ANSWER)),
            strings: sampling.stop.clone(),
            ..Stop::default()
        };
        let new = &prompt[known..];
        let spinner = Spinner::new(format!("reading {}", output::counted(new.len(), "token")));
        let generation = self.session.generate_from_tokens(new, sampling.sampling(), stop);
        drop(spinner);
        let mut generation = generation?;
        let start = Instant::now();
        let mut answer = String::new();
        stream(&mut generation, |piece| {
            answer.push_str(piece);
            let mut out = output::stdout();
            out.write_all(piece.as_bytes())?;
            Ok(out.flush()?)
        })?;
        output::line(&mut output::stdout(), "")?;
        if self.interactive && stderr().is_terminal() {
            let (tokens, seconds) = (generation.generated(), start.elapsed().as_secs_f64());
            let speed = tokens as f64 / seconds.max(1e-9);
            let text = format!("{}, {speed:.1} tokens/s", output::counted(tokens, "token"));
            eprintln!("{}", Style::new().for_stderr().dim().apply_to(text));
        }
        Ok(answer)
    }

    fn obey(&mut self, command: &Command) -> Result<(), Failure> {
        match command {
            Command::Help => {
                eprint!("{}", command::HELP);
                Ok(())
            }
            Command::Reset => {
                self.messages.retain(|m| m.role == Role::System);
                eprintln!("the conversation was cleared");
                Ok(())
            }
            Command::System(text) => {
                self.set_system(text);
                match text.as_str() {
                    "" => eprintln!("the system message was removed"),
                    _ => eprintln!("the system message was set"),
                }
                Ok(())
            }
            Command::Save(path) => self.save(path),
            Command::Load(path) => self.load(path),
            Command::Quit => Ok(()),
        }
    }

    /// Replaces the system message. An empty text removes it.
    fn set_system(&mut self, text: &str) {
        self.messages.retain(|m| m.role != Role::System);
        if !text.is_empty() {
            self.messages.insert(0, Message::new(Role::System, text));
        }
    }

    /// Writes the messages as JSON, in the layout of chat APIs.
    fn save(&self, path: &Path) -> Result<(), Failure> {
        let json = serde_json::to_string_pretty(&self.messages).expect("messages are JSON");
        files::write(path, &(json + "\n"))?;
        let messages = output::counted(self.messages.len(), "message");
        eprintln!("saved {messages} in {}", path.display());
        Ok(())
    }

    /// Replaces the conversation with a saved one.
    fn load(&mut self, path: &Path) -> Result<(), Failure> {
        let json = files::read(path)?;
        let invalid =
            |why: &str| Failure::Input(format!("{} is not a conversation: {why}", path.display()));
        let messages: Vec<Message> =
            serde_json::from_slice(&json).map_err(|error| invalid(&error.to_string()))?;
        let first = messages.first();
        let first = usize::from(first.is_some_and(|m| m.role == Role::System));
        let in_turn = |turn: &[Message]| matches!(turn, [q, a] if q.role == Role::User && a.role == Role::Assistant);
        if !messages[first..].chunks(2).all(in_turn) {
            return Err(invalid(
                "after a system message, messages of the user and the assistant must alternate and end with the assistant's",
            ));
        }
        self.messages = messages;
        let messages = output::counted(self.messages.len(), "message");
        eprintln!("loaded {messages} from {}", path.display());
        Ok(())
    }

    /// The tokens of the conversation. Drops the oldest turns until the rest fills at most three
    /// quarters of the context.
    fn fitting_prompt(&mut self) -> Result<Vec<u32>, Failure> {
        let capacity = self.session.options().capacity as usize;
        let mut dropped = 0;
        loop {
            let prompt = self.tokenizer.encode_chat(&self.messages)?;
            let first = self.messages.first();
            let first = usize::from(first.is_some_and(|m| m.role == Role::System));
            if prompt.len() <= capacity / 4 * 3 || self.messages.len() - first <= 2 {
                if dropped > 0 {
                    eprintln!(
                        "note: the context is nearly full; the oldest {dropped} messages were dropped"
                    );
                }
                if prompt.len() >= capacity {
                    return Err(Failure::Input(format!(
                        "the message takes {} tokens, and the context has {capacity}; shorten the message",
                        prompt.len()
                    )));
                }
                return Ok(prompt);
            }
            self.messages.drain(first..first + 2);
            dropped += 2;
        }
    }
}
