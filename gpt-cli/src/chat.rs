//! `gpt chat`: a conversation. The KV cache is kept between turns, so a turn reads only new tokens.

use std::io::{BufRead, IsTerminal, Write};

use clap::Args;
use gpt_runtime::text::{Message, Role};
use gpt_runtime::{Session, Stop, Tokenizer, Untyped};

use crate::generate::stream;
use crate::interrupt;
use crate::options::{CacheArgument, LoadArguments, SamplingArguments, TokenizerArgument};
use crate::output::{self, Failure};

/// Default limit of an answer in tokens, because a small model may never stop.
const LONGEST_ANSWER: usize = 512;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    load: LoadArguments,
    #[command(flatten)]
    cache: CacheArgument,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// System message before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    #[command(flatten)]
    sampling: SamplingArguments,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let model = arguments.load.load(arguments.tokenizer.tokenizer.clone())?;
    let tokenizer = model.tokenizer()?.clone();
    // Reports a template that cannot be applied before the first question.
    tokenizer.apply_chat_template(&[Message::new(Role::User, "hello")])?;
    let mut session = model.session().cache(arguments.cache.cache).open()?;
    interrupt::listen();
    let interactive = std::io::stdin().is_terminal();
    if interactive {
        eprintln!("an empty line or Ctrl-D ends the conversation, Ctrl-C an answer");
    }
    let system = arguments
        .system
        .clone()
        .map(|text| Message::new(Role::System, text));
    let mut messages: Vec<Message> = system.into_iter().collect();
    let mut input = std::io::stdin().lock();
    loop {
        if interactive {
            eprint!("> ");
        }
        let mut line = String::new();
        let read = input.read_line(&mut line);
        if !read.is_ok_and(|bytes| bytes > 0) || line.trim().is_empty() {
            return Ok(());
        }
        messages.push(Message::new(Role::User, line.trim()));
        let prompt = fitting(&tokenizer, &mut messages, &session)?;
        let known = prompt
            .iter()
            .zip(session.tokens())
            .take_while(|(a, b)| a == b)
            .count();
        // The last token is read again if the cache holds it, because its logits are not kept.
        let known = known.min(prompt.len() - 1);
        session.truncate(known);
        let stop = Stop {
            tokens: Some(arguments.sampling.tokens.unwrap_or(LONGEST_ANSWER)),
            strings: arguments.sampling.stop.clone(),
            ..Stop::default()
        };
        let mut generation =
            session.generate_ids(&prompt[known..], arguments.sampling.sampling(), stop)?;
        let mut answer = String::new();
        stream(&mut generation, |piece| {
            answer.push_str(piece);
            let mut out = output::stdout();
            out.write_all(piece.as_bytes())?;
            Ok(out.flush()?)
        })?;
        output::line(&mut output::stdout(), "")?;
        messages.push(Message::new(Role::Assistant, answer.trim()));
    }
}

/// The tokens of the conversation. Drops the oldest turns while it fills more than three quarters
/// of the context.
fn fitting(
    tokenizer: &Tokenizer,
    messages: &mut Vec<Message>,
    session: &Session<Untyped>,
) -> Result<Vec<u32>, Failure> {
    let capacity = session.options().capacity as usize;
    let mut forgotten = 0;
    loop {
        let text = tokenizer.apply_chat_template(messages)?;
        let prompt = tokenizer.encode(&text)?;
        let first = usize::from(messages.first().is_some_and(|m| m.role == Role::System));
        if prompt.len() <= capacity / 4 * 3 || messages.len() - first <= 2 {
            if forgotten > 0 {
                eprintln!("note: the context is full; the oldest {forgotten} turns were forgotten");
            }
            if prompt.len() >= capacity {
                return Err(Failure::Input(format!(
                    "the message takes {} tokens, and the context has {capacity}; shorten it",
                    prompt.len()
                )));
            }
            return Ok(prompt);
        }
        messages.drain(first..first + 2);
        forgotten += 2;
    }
}
