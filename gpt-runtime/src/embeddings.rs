//! Embeddings of texts: one vector for each text, pooled from the hidden states of its tokens.
//!
//! [`EmbedOptions`] says how texts are embedded. [`EmbedOptions::beside`] reads the folder of a
//! sentence-transformers model, which lists its steps in `modules.json`. Texts may differ in
//! length, and none is padded: the CPU engine runs the rows of several texts in one pass. The
//! embedding of a text does not depend on the other texts.

use std::path::Path;

use serde_json::Value;

use crate::model::Model;
use crate::text::Tokenizer;
use crate::{Error, files};

/// How the hidden states of a text become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pooling {
    /// Their mean, special tokens included.
    #[default]
    Mean,
    /// The state of the first token, which encoders call `[CLS]`.
    Cls,
    /// The state of the last token, for models that predict the next one.
    Last,
}

/// How texts are embedded.
///
/// Fields may be added: build it with [`EmbedOptions::default`] or [`EmbedOptions::beside`], and
/// struct update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedOptions {
    /// How the hidden states of a text become one vector.
    pub pooling: Pooling,
    /// Whether vectors are divided by their Euclidean norm, so that products are cosines.
    pub normalize: bool,
    /// The largest number of tokens of a text, special tokens included. A longer text loses its
    /// last tokens, as in sentence-transformers. The model's context by default.
    pub max_tokens: Option<usize>,
}

impl Default for EmbedOptions {
    /// The mean of all tokens, normalised.
    fn default() -> EmbedOptions {
        EmbedOptions { pooling: Pooling::Mean, normalize: true, max_tokens: None }
    }
}

impl EmbedOptions {
    /// The options of the sentence-transformers model in the folder of the weights at `path`, a
    /// file or the folder: its `modules.json`, the configuration of its pooling, and
    /// `max_seq_length` in `sentence_bert_config.json`. None if the folder has no `modules.json`.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or if the model has steps or a kind of pooling that are not
    /// supported.
    pub fn beside(path: impl AsRef<Path>) -> Result<Option<EmbedOptions>, Error> {
        let path = path.as_ref();
        let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) };
        let list = folder.join("modules.json");
        let Some(modules) = read(&list)? else { return Ok(None) };
        let mut options = EmbedOptions { normalize: false, ..EmbedOptions::default() };
        let invalid = || unsupported(&list, "it is not a list of modules");
        for module in modules.as_array().ok_or_else(invalid)? {
            let of = |key: &str| module.get(key).and_then(Value::as_str).unwrap_or_default();
            match of("type").rsplit('.').next().unwrap_or_default() {
                "Transformer" => {
                    let file = folder.join(of("path")).join("sentence_bert_config.json");
                    options.max_tokens = max_tokens(&file)?;
                }
                "Pooling" => {
                    let file = folder.join(of("path")).join("config.json");
                    options.pooling = pooling(&file)?;
                }
                "Normalize" => options.normalize = true,
                // It has no effect in inference.
                "Dropout" => {}
                _ => {
                    let what = format!("its module {:?} is not supported", of("type"));
                    return Err(unsupported(&list, &what));
                }
            }
        }
        Ok(Some(options))
    }
}

/// The JSON of a file, if it exists.
fn read(path: &Path) -> Result<Option<Value>, Error> {
    if !path.try_exists().map_err(Error::io("read", path))? {
        return Ok(None);
    }
    let text = files::read_text(path)?;
    let damaged = |error| Error::weights(format!("{} is not JSON: {error}", path.display()));
    serde_json::from_str(&text).map(Some).map_err(damaged)
}

fn unsupported(path: &Path, what: &str) -> Error {
    Error::weights(format!("{} cannot be used: {what}", path.display()))
}

fn max_tokens(path: &Path) -> Result<Option<usize>, Error> {
    let Some(config) = read(path)? else { return Ok(None) };
    match config.get("max_seq_length") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let tokens = value.as_u64().and_then(|n| usize::try_from(n).ok()).filter(|n| *n > 0);
            tokens
                .map(Some)
                .ok_or_else(|| unsupported(path, "max_seq_length is not a positive integer"))
        }
    }
}

fn pooling(path: &Path) -> Result<Pooling, Error> {
    let config = read(path)?.ok_or_else(|| unsupported(path, "it does not exist"))?;
    let modes = [
        ("pooling_mode_cls_token", Some(Pooling::Cls)),
        ("pooling_mode_mean_tokens", Some(Pooling::Mean)),
        ("pooling_mode_lasttoken", Some(Pooling::Last)),
        ("pooling_mode_max_tokens", None),
        ("pooling_mode_mean_sqrt_len_tokens", None),
        ("pooling_mode_weightedmean_tokens", None),
    ];
    let is_set = |key: &str| config.get(key).and_then(Value::as_bool).unwrap_or(false);
    let mut chosen = modes.iter().filter(|(key, _)| is_set(key));
    match (chosen.next(), chosen.next()) {
        (Some((_, Some(pooling))), None) => Ok(*pooling),
        _ => Err(unsupported(
            path,
            "only the mean of all tokens, the first token, or the last one is supported",
        )),
    }
}

/// Embeddings `[texts, embed]`, a row for each text.
#[derive(Clone, Debug, PartialEq)]
pub struct Embeddings {
    values: Vec<f32>,
    width: usize,
    truncated: usize,
}

impl Embeddings {
    /// Number of texts.
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// Whether there are no texts.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Width of a row: the model's `embed`.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Texts that lost tokens, because they were longer than
    /// [`max_tokens`](EmbedOptions::max_tokens) or the model's context.
    pub fn truncated(&self) -> usize {
        self.truncated
    }

    /// The embedding of text `at`, `[embed]`.
    ///
    /// # Panics
    /// Panics if `at` is not below [`len`](Self::len).
    pub fn row(&self, at: usize) -> &[f32] {
        &self.values[at * self.width..][..self.width]
    }

    /// The embeddings in the order of the texts.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.width)
    }

    /// The values, `[texts, embed]`.
    pub fn into_vec(self) -> Vec<f32> {
        self.values
    }
}

impl<M> Model<M> {
    /// Computes one vector for each text, `[texts, embed]`: its hidden states, pooled. Texts may
    /// differ in length; none is padded. A text that is too long loses its last tokens, and
    /// [`Embeddings::truncated`] counts such texts.
    ///
    /// ```no_run
    /// use gpt_runtime::{Device, EmbedOptions, gpt_model};
    ///
    /// gpt_model! {
    ///     /// An encoder with the sizes of all-MiniLM-L6.
    ///     pub struct MiniLm {
    ///         vocab: 30_522, context: 512, layers: 6, heads: 12, embed: 384,
    ///         norm: LayerNorm { eps: 1e-12 }, block: PostNorm, mask: Bidirectional,
    ///         mlp: Dense { hidden: 4 * embed, activation: Gelu },
    ///         token_types: 2, embedding_norm: true, names: Bert,
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), gpt_runtime::Error> {
    /// let folder = "all-MiniLM-L6-v2";
    /// let model = MiniLm::load(folder, &Device::auto()?)?;
    /// let options = EmbedOptions::beside(folder)?.unwrap_or_default();
    /// let embeddings = model.embed(&["A man is eating.", "Someone has a meal."], &options)?;
    /// let cosine: f32 = embeddings.row(0).iter().zip(embeddings.row(1)).map(|(a, b)| a * b).sum();
    /// # let _ = cosine;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Fails if the model has no tokenizer or its tokenizer cannot encode a text, if a text has no
    /// tokens, if a text is too long and `max_tokens` leaves no room for it beside the special
    /// tokens, or if the device fails.
    pub fn embed(&self, texts: &[&str], options: &EmbedOptions) -> Result<Embeddings, Error> {
        let spec = &self.plan().spec;
        let width = spec.embed as usize;
        let most = options.max_tokens.unwrap_or(usize::MAX).min(spec.context as usize);
        let tokenizer = self.tokenizer()?;
        let mut truncated = 0;
        let mut encoded = Vec::with_capacity(texts.len());
        for text in texts {
            let ids = tokenizer.encode_prompt(text)?;
            let is_long = ids.len() > most;
            truncated += usize::from(is_long);
            encoded.push(if is_long { truncate(tokenizer, text, ids, most)? } else { ids });
        }
        let mut values = vec![0.0; texts.len() * width];
        let longest = encoded.iter().map(Vec::len).max().unwrap_or(0);
        if longest > 0 {
            let mut session = self.session().capacity(longest as u32).open()?;
            let encoded: Vec<&[u32]> = encoded.iter().map(Vec::as_slice).collect();
            session.each_hidden(&encoded, |text, hidden| {
                pool(hidden, options, &mut values[text * width..][..width]);
            })?;
        }
        Ok(Embeddings { values, width, truncated })
    }
}

/// Shortens `ids`, the tokens of `text`, to `most`. The tokens that the tokenizer adds at the ends
/// stay; the last tokens of the text itself are dropped.
fn truncate(
    tokenizer: &Tokenizer,
    text: &str,
    ids: Vec<u32>,
    most: usize,
) -> Result<Vec<u32>, Error> {
    let own = tokenizer.encode(text)?;
    let added = ids.len().saturating_sub(own.len());
    let start = (0..=added).find(|start| ids[*start..].starts_with(&own));
    let Some(start) = start.filter(|_| added < most) else {
        return Err(Error::Input(format!(
            "a text cannot be shortened to {most} tokens, because the tokenizer adds {added} tokens"
        )));
    };
    let kept = own.iter().take(most - added);
    let end = &ids[start + own.len()..];
    Ok(ids[..start].iter().chain(kept).chain(end).copied().collect())
}

/// Pools `hidden`, rows of the width of `out`. Sums are in f64.
fn pool(hidden: &[f32], options: &EmbedOptions, out: &mut [f32]) {
    let width = out.len();
    let rows = hidden.len() / width;
    match options.pooling {
        Pooling::Mean => {
            let mut sums = vec![0.0; width];
            for row in hidden.chunks_exact(width) {
                for (sum, x) in sums.iter_mut().zip(row) {
                    *sum += f64::from(*x);
                }
            }
            for (out, sum) in out.iter_mut().zip(sums) {
                *out = (sum / rows as f64) as f32;
            }
        }
        Pooling::Cls => out.copy_from_slice(&hidden[..width]),
        Pooling::Last => out.copy_from_slice(&hidden[(rows - 1) * width..]),
    }
    if options.normalize {
        let norm = out.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
        // A vector of zeros stays one (`torch.nn.functional.normalize`).
        let norm = norm.max(1e-12);
        out.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    const MODULES: &str = r#"[
        { "path": "", "type": "sentence_transformers.models.Transformer" },
        { "path": "1_Pooling", "type": "sentence_transformers.models.Pooling" },
        { "path": "2_Normalize", "type": "sentence_transformers.models.Normalize" }
    ]"#;

    #[test]
    fn a_folder_says_how_texts_are_pooled() {
        let mean = r#"{ "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true }"#;
        let limit = ("sentence_bert_config.json", r#"{ "max_seq_length": 256 }"#);
        let whole = folder(&[("modules.json", MODULES), ("1_Pooling/config.json", mean), limit]);
        let expected =
            EmbedOptions { pooling: Pooling::Mean, normalize: true, max_tokens: Some(256) };
        assert_eq!(EmbedOptions::beside(whole.path()).unwrap(), Some(expected));
        let first = MODULES.replace("Normalize", "Dropout");
        let cls = r#"{ "pooling_mode_cls_token": true }"#;
        let plain = folder(&[("modules.json", first.as_str()), ("1_Pooling/config.json", cls)]);
        let expected = EmbedOptions { pooling: Pooling::Cls, normalize: false, max_tokens: None };
        let weights = plain.path().join("model.safetensors");
        assert_eq!(EmbedOptions::beside(weights).unwrap(), Some(expected));
        assert_eq!(EmbedOptions::beside(folder(&[]).path()).unwrap(), None);
        for (files, part) in [
            (vec![("modules.json", MODULES)], "does not exist"),
            (vec![("modules.json", "{}")], "not a list of modules"),
            (vec![("modules.json", "[")], "not JSON"),
            (
                vec![("modules.json", MODULES), ("1_Pooling/config.json", "{}")],
                "only the mean of all tokens",
            ),
            (
                vec![("modules.json", r#"[{ "path": "", "type": "a.Dense" }]"#)],
                "its module \"a.Dense\" is not supported",
            ),
        ] {
            let error = EmbedOptions::beside(folder(&files).path()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn pooling_is_exact_on_small_vectors() {
        let hidden = [3.0, 4.0, -1.0, 0.0, 4.0, -1.0];
        let pooled = |pooling, normalize| {
            let mut out = [0.0; 2];
            pool(&hidden, &EmbedOptions { pooling, normalize, max_tokens: None }, &mut out);
            out
        };
        assert_eq!(pooled(Pooling::Mean, false), [2.0, 1.0]);
        assert_eq!(pooled(Pooling::Cls, true), [0.6, 0.8]);
        assert_eq!(pooled(Pooling::Last, false), [4.0, -1.0]);
    }

    #[test]
    fn long_texts_lose_their_last_tokens() {
        let tokenizer = Tokenizer::characters("abc").unwrap();
        let ids = tokenizer.encode_prompt("abcab").unwrap();
        let kept = truncate(&tokenizer, "abcab", ids.clone(), 3).unwrap();
        assert_eq!(kept, tokenizer.encode("abc").unwrap());
        assert!(truncate(&tokenizer, "abcab", ids, 0).is_err());
    }
}
