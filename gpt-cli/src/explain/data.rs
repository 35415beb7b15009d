//! Runs a model on a prompt, and builds the JSON object of the page from the observation.

use std::collections::HashMap;

use gpt_runtime::{Model, Observation, Session, Tokenizer, Untyped};
use serde_json::{Value, json};

use super::labels;
use crate::output::{self, Failure};
use crate::progress::{Bar, Spinner};

/// The number of likeliest next tokens in each cell of the lens.
const LIKELIEST: usize = 5;

/// Builds the JSON object for the tokens of a prompt.
pub fn of(model: &Model<Untyped>, tokens: &[u32]) -> Result<Value, Failure> {
    let spec = &model.plan().spec;
    let tokenizer = model.tokenizer()?;
    let session = model.session().capacity(tokens.len() as u32);
    let mut session = session.all_logits().open()?;
    let spinner = Spinner::new(format!("reading {}", output::counted(tokens.len(), "token")));
    let observation = session.observe(tokens)?;
    drop(spinner);

    let prompt = tokens.iter().enumerate().map(|(position, &id)| {
        let surprise = observation.surprise(position).map(|s| rounded(s, 4));
        json!({ "id": id, "label": label(tokenizer, id), "surprise": surprise })
    });
    let depths = 0..=observation.layers();
    let norms = depths.map(|depth| {
        let norms = observation.stream_norms(depth).into_iter();
        norms.map(|norm| rounded(norm, 3)).collect::<Value>()
    });
    let mut vocabulary = Vocabulary::default();
    let lens = lens(&mut session, &observation, &mut vocabulary)?;
    let named = vocabulary.ids.iter();
    let named = named.map(|&id| json!({ "id": id, "label": label(tokenizer, id) }));
    Ok(json!({
        "layers": spec.layers,
        "heads": spec.heads,
        "vocab": spec.vocab,
        "tokens": prompt.collect::<Value>(),
        "vocabulary": named.collect::<Value>(),
        "lens": lens,
        "norms": norms.collect::<Value>(),
        "attention": base64(&attention(&observation)),
    }))
}

/// A token's label. An id that has no token is shown as its number: a model's vocabulary may be
/// larger than its tokenizer's.
fn label(tokenizer: &Tokenizer, id: u32) -> String {
    match tokenizer.token_bytes(id) {
        Some(bytes) => labels::label(&bytes),
        None => format!("<{id}>"),
    }
}

/// Rounds to `decimals` decimals, which makes the file smaller.
fn rounded(x: f32, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (f64::from(x) * scale).round() / scale
}

/// The distinct tokens in the lens.
#[derive(Default)]
struct Vocabulary {
    ids: Vec<u32>,
    index: HashMap<u32, usize>,
}

impl Vocabulary {
    fn index(&mut self, id: u32) -> usize {
        *self.index.entry(id).or_insert_with(|| {
            self.ids.push(id);
            self.ids.len() - 1
        })
    }
}

/// For each depth and position, the likeliest next tokens and their probabilities.
fn lens(
    session: &mut Session,
    observation: &Observation,
    vocabulary: &mut Vocabulary,
) -> Result<Value, Failure> {
    let layers = observation.layers();
    let bar = Bar::new(layers as u64, "{bar:30} {pos}/{len} layers through the head");
    let mut lens = Vec::with_capacity(layers + 1);
    for depth in 0..=layers {
        let mut rows = Vec::with_capacity(observation.tokens().len());
        session.lens(observation.stream(depth), |_, logits| {
            let best = logits.likeliest(LIKELIEST).into_iter();
            let pairs = best.flat_map(|(id, log_prob)| {
                let probability = rounded(log_prob.exp(), 4);
                [json!(vocabulary.index(id)), json!(probability)]
            });
            rows.push(pairs.collect::<Value>());
        })?;
        lens.push(Value::from(rows));
        bar.set(depth as u64);
    }
    Ok(lens.into())
}

/// All attention maps as bytes, with runs of zeros replaced by their lengths.
fn attention(observation: &Observation) -> Vec<u8> {
    let mut bytes = Vec::new();
    for layer in 0..observation.layers() {
        for head in 0..observation.heads() {
            let weights = observation.attention(layer, head);
            bytes.extend(weights.iter().map(|w| (255.0 * w.sqrt()).round() as u8));
        }
    }
    zero_runs(&bytes)
}

/// Replaces each run of zeros with a zero and the length of the run. A run of more than 255 zeros
/// is split.
fn zero_runs(bytes: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(bytes.len());
    for run in bytes.chunk_by(|a, b| (*a == 0) == (*b == 0)) {
        if run[0] != 0 {
            coded.extend_from_slice(run);
            continue;
        }
        for part in run.chunks(255) {
            coded.extend([0, part.len() as u8]);
        }
    }
    coded
}

/// RFC 4648's base64, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let index = bits >> (18 - 6 * digit) & 63;
            let is_padding = digit > group.len();
            text.push(if is_padding { '=' } else { char::from(DIGITS[index as usize]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        let texts = ["", "f", "fo", "foo", "foob", "fooba", "foobar"];
        let expected = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        assert_eq!(texts.map(|text| base64(text.as_bytes())), expected);
        assert_eq!(base64(&[0xFB, 0xFF]), "+/8=");
    }

    #[test]
    fn runs_of_zeros_are_their_length() {
        assert!(zero_runs(&[]).is_empty());
        assert_eq!(zero_runs(&[7, 0, 0, 0, 9, 0]), [7, 0, 3, 9, 0, 1]);
        assert_eq!(zero_runs(&[0; 300]), [0, 255, 0, 45]);
    }
}
