//! Fills the blanks of a text: what a bidirectional model predicts for its mask tokens.
//!
//! One pass reads the whole text. Each blank gets the probabilities of all tokens in its place, as
//! if the other blanks stayed blank.

use crate::Error;
use crate::model::Model;
use crate::session::likeliest;

/// A text with filled blanks.
#[derive(Clone, Debug, PartialEq)]
pub struct Filled {
    /// The text with the likeliest token in each blank, as the tokenizer decodes it.
    pub text: String,
    /// The blanks, in the order of the text.
    pub blanks: Vec<Blank>,
}

/// What may stand in a blank.
#[derive(Clone, Debug, PartialEq)]
pub struct Blank {
    /// The position of the mask token among the tokens of the text.
    pub position: usize,
    /// The likeliest tokens, the likeliest first.
    pub candidates: Vec<Candidate>,
}

/// A token that may stand in a blank.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Its id.
    pub token: u32,
    /// Its text. For a special token, this is its name.
    pub text: String,
    /// Its probability among all tokens.
    pub probability: f32,
}

impl<M> Model<M> {
    /// Fills the mask tokens in `text`, such as `[MASK]`, and returns the `candidates` likeliest
    /// tokens of each, apart from the mask token. The tokenizer says what its mask token is called
    /// ([`Tokenizer::mask_token`](crate::Tokenizer::mask_token)).
    ///
    /// # Errors
    /// Fails if the model is causal, if its tokenizer has no mask token, if the text has no mask
    /// token or is longer than the context, if `candidates` is 0, or if the device fails.
    pub fn fill(&self, text: &str, candidates: usize) -> Result<Filled, Error> {
        let plan = self.plan();
        if plan.spec.is_causal() {
            return Err(Error::Input(format!(
                "{} is causal: it continues texts and does not read what follows a blank; take a bidirectional model",
                plan.name
            )));
        }
        if candidates == 0 {
            return Err(Error::Input(
                "0 tokens were requested for each blank; request at least 1".to_owned(),
            ));
        }
        let tokenizer = self.tokenizer()?;
        let (name, mask) = tokenizer.mask_token().ok_or_else(|| {
            Error::tokenizer(format!(
                "the tokenizer of {} has no mask token, so it has no blanks to fill",
                plan.name
            ))
        })?;
        let mut ids = tokenizer.encode_prompt(text)?;
        if !ids.contains(&mask) {
            return Err(Error::Input(format!(
                "the text has no {name}; write {name} where a token is missing"
            )));
        }
        let capacity = ids.len().min(plan.spec.context as usize) as u32;
        let mut session = self.session().capacity(capacity).all_logits().open()?;
        // The vocabulary of a model may be larger than that of its tokenizer.
        let is_token = |token: u32| token != mask && tokenizer.has(token);
        let others = (0..plan.spec.vocab).filter(|token| !is_token(*token)).count();
        let most = candidates.saturating_add(others).min(plan.spec.vocab as usize);
        let mut found = Vec::new();
        session.each_logits(&ids, |position, logits| {
            if ids[position] == mask {
                let mut tokens = likeliest(logits, most);
                tokens.retain(|(token, _)| is_token(*token));
                tokens.truncate(candidates);
                found.push((position, tokens));
            }
        })?;
        let mut blanks = Vec::with_capacity(found.len());
        for (position, tokens) in found {
            let candidate = |(token, log_probability): (u32, f32)| -> Result<Candidate, Error> {
                Ok(Candidate {
                    token,
                    text: tokenizer.text_of(token)?,
                    probability: log_probability.exp(),
                })
            };
            let candidates = tokens.into_iter().map(candidate).collect::<Result<Vec<_>, _>>()?;
            let Some(likeliest) = candidates.first() else {
                return Err(Error::tokenizer(format!(
                    "the tokenizer of {} has no token but {name}",
                    plan.name
                )));
            };
            ids[position] = likeliest.token;
            blanks.push(Blank { position, candidates });
        }
        Ok(Filled { text: tokenizer.decode(&ids)?, blanks })
    }
}
