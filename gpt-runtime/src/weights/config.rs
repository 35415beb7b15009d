//! Reads a file's description of its model, and compares it with a declared spec: `config.json`
//! beside safetensors, or the metadata of a GGUF.
//!
//! `gpt-config` turns a description into a spec, with the architecture's defaults for what is
//! absent, and refuses what it does not know. Names and shapes of tensors reveal most differences
//! between two specs. They do not reveal an epsilon, an activation, a rotary base or the number of
//! heads, which are compared here.

use std::collections::BTreeMap;
use std::path::Path;

use gpt_plan::{Block, Format, NormKind, Positions, QkNorm, Rope, Scores, Spec};
use serde_json::{Map, Value as Json};

use super::archive::{Archive, ArchiveEntry, Mapped};
use super::container::{self, Kind};
use super::gguf::{self, Gguf, Value};
use super::safetensors;
use crate::{Error, files};

/// The spec of a file, or all problems of its description.
type Found = Result<Spec, Vec<String>>;

/// The spec that a file describes: a GGUF, a `config.json`, or safetensors (a file, the index of a
/// sharded model, or a folder) with a `config.json` beside them. The values of tensors are not
/// read, except the divisors of rotary frequencies in a GGUF.
///
/// # Errors
/// Fails if the file cannot be read, has no description, or describes a model that no spec can
/// express; one message lists all problems.
pub fn read_spec(path: &Path) -> Result<Spec, Error> {
    let config = path.join("config.json");
    let path = if config.is_file() { config } else { container::find(path)? };
    let mapped = Mapped::open(&path)?;
    let kind = Kind::of(mapped.bytes(), &path)?;
    let json = (kind == Kind::Json).then(|| parse(mapped.bytes(), &path)).transpose()?;
    let (path, described) = match (kind, json) {
        (Kind::Json, Some(json)) if json.get(safetensors::MAP).is_none() => {
            (path, gpt_config::description(&json))
        }
        (Kind::Gguf, _) => {
            let (archive, gguf) = container::open_gguf(&path)?;
            (path, describe_gguf(&gguf, &archive))
        }
        _ => {
            let config = read_beside(&path)?.ok_or_else(|| {
                Error::weights(format!(
                    "{} does not say what model it is: there is no config.json beside it; put it there, or name the model",
                    path.display()
                ))
            })?;
            (path.with_file_name("config.json"), gpt_config::description(&config))
        }
    };
    described.map_err(|problems| unfit(&path.display().to_string(), &problems))
}

/// The description of a model in a GGUF.
pub struct Described {
    /// The spec that the GGUF describes.
    pub spec: Spec,
    /// The formats that its matrices have in an engine.
    pub formats: Vec<Format>,
}

/// Like [`read_spec`], for a GGUF that was read into memory. Messages call it `name`.
///
/// # Errors
/// Fails as [`read_spec`] does, or if the GGUF is one of several parts.
pub fn describe_bytes(name: &str, gguf: &[u8]) -> Result<Described, Error> {
    let (metadata, entries) = gguf::read_table(gguf, name)?;
    let parts = metadata.unsigned("split.count").unwrap_or_default();
    if parts > 1 {
        return Err(Error::weights(format!(
            "{name} is one of {parts} parts of a GGUF; use a file that has all of it"
        )));
    }
    let spec = describe_gguf(&metadata, &Table { bytes: gguf, entries: &entries });
    let spec = spec.map_err(|problems| unfit(name, &problems))?;
    let matrices = entries.values().filter(|entry| entry.shape.len() > 1);
    let found: Vec<Format> = matrices.map(|entry| entry.stored.format()).collect();
    let formats = Format::ALL.into_iter().filter(|format| found.contains(format)).collect();
    Ok(Described { spec, formats })
}

fn unfit(name: &str, problems: &[String]) -> Error {
    let lines: String = problems.iter().map(|p| format!("\n  {p}")).collect();
    Error::weights(format!("{name} describes a model that cannot be run:{lines}"))
}

/// The `config.json` beside `weights`. None if there is no such file.
pub fn read_beside(weights: &Path) -> Result<Option<Json>, Error> {
    let path = weights.with_file_name("config.json");
    if path.try_exists().map_err(Error::io("read", &path))? {
        parse(&files::read(&path)?, &path).map(Some)
    } else {
        Ok(None)
    }
}

/// Parses `text`, the contents of the file at `path`, as JSON. It may begin with a byte order mark.
pub fn parse(text: &[u8], path: &Path) -> Result<Json, Error> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    serde_json::from_slice(text).map_err(|error| {
        Error::weights(format!("{} is not JSON: {error}", path.display())).caused_by(error)
    })
}

/// Lists the differences between a Hugging Face configuration and the spec.
pub fn check_config(json: &Json, spec: &Spec) -> Vec<String> {
    let described = match (json, json.get("model_type")) {
        (Json::Object(part), None) => {
            // A part of a configuration: what is absent is as in the spec.
            let Some(Json::Object(mut whole)) = gpt_config::config(spec) else {
                return Vec::new();
            };
            whole.extend(part.clone());
            gpt_config::description(&Json::Object(whole))
        }
        _ => gpt_config::description(json),
    };
    match described {
        Ok(found) => differences("config.json", &found, spec),
        Err(problems) => problems,
    }
}

/// Lists the differences between a GGUF's metadata and the spec.
pub fn check_gguf(gguf: &Gguf, archive: &Archive, spec: &Spec) -> Vec<String> {
    match describe_gguf(gguf, archive) {
        Ok(mut found) => {
            let architecture = gguf.text("general.architecture").unwrap_or_default();
            // llama.cpp has one activation for each architecture, which files need not name.
            if gguf.get(&format!("{architecture}.hidden_activation")).is_none() {
                found.mlp.activation = spec.mlp.activation.clone();
            }
            // The tensors show whether the head is tied.
            found.tie_embeddings = spec.tie_embeddings;
            // Files store gamma itself, and the architecture implies the order of rotary pairs.
            found.norm.unit_offset = spec.norm.unit_offset;
            if let (Positions::Rope(found), Some(rope)) = (&mut found.positions, spec.rope()) {
                found.pairs = rope.pairs;
            }
            differences("the metadata", &found, spec)
        }
        Err(problems) => problems,
    }
}

/// The spec that a GGUF describes.
pub fn describe_gguf(gguf: &Gguf, tensors: &dyn gpt_config::Tensors) -> Found {
    let architecture = gguf.text("general.architecture").unwrap_or_default();
    let prefix = format!("{architecture}.");
    let values = gguf.iter().filter(|(key, _)| {
        *key == "general.architecture" || (!architecture.is_empty() && key.starts_with(&prefix))
    });
    let metadata: Map<String, Json> =
        values.map(|(key, value)| (key.to_owned(), json(value))).collect();
    gpt_config::gguf_description(&metadata, tensors)
}

impl gpt_config::Tensors for Archive {
    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        Some(self.entries.get(name)?.shape.clone())
    }

    fn vector(&self, name: &str, most: u32) -> Option<Vec<f32>> {
        let entry = self.entries.get(name)?;
        vector(entry, self.data(entry), most)
    }
}

/// The tensors of a single file in memory.
struct Table<'a> {
    bytes: &'a [u8],
    entries: &'a BTreeMap<String, ArchiveEntry>,
}

impl gpt_config::Tensors for Table<'_> {
    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        Some(self.entries.get(name)?.shape.clone())
    }

    fn vector(&self, name: &str, most: u32) -> Option<Vec<f32>> {
        let entry = self.entries.get(name)?;
        vector(entry, &self.bytes[entry.start..][..entry.len], most)
    }
}

/// The values of `entry`, whose bytes are `data`, if it is a vector of at most `most` elements.
fn vector(entry: &ArchiveEntry, data: &[u8], most: u32) -> Option<Vec<f32>> {
    let [length] = entry.shape[..] else { return None };
    let mut values = vec![0.0; usize::try_from(length).ok().filter(|n| *n <= most as usize)?];
    entry.stored.decode(data, &mut values);
    Some(values)
}

fn json(value: &Value) -> Json {
    match value {
        Value::Unsigned(n) => (*n).into(),
        Value::Signed(n) => (*n).into(),
        Value::Float(x) => decimal(*x).into(),
        Value::Bool(flag) => (*flag).into(),
        Value::Text(text) => text.as_str().into(),
        // Keys of an architecture have at most a value for each layer.
        Value::List(list) => list.iter().map(json).collect(),
    }
}

/// A float, which the file stores as an f32, as its shortest decimal: 1e-5, not 9.99999974e-6.
fn decimal(x: f64) -> f64 {
    let short = x as f32;
    if f64::from(short) == x { short.to_string().parse().unwrap_or(x) } else { x }
}

/// The values in which two specs differ, as sentences of a message. Biases and the untied head of a
/// GGUF are not compared, because tensors reveal them. Masks are not compared, because files do not
/// state them.
fn differences(file: &str, found: &Spec, spec: &Spec) -> Vec<String> {
    let mut compare = Compare { file, problems: Vec::new() };
    compare.equal("the vocabulary", found.vocab, spec.vocab);
    compare.equal("the number of layers", found.layers, spec.layers);
    compare.equal("the number of heads", found.heads, spec.heads);
    // By default there are as many as query heads.
    if found.kv_heads != found.heads || spec.kv_heads != spec.heads {
        compare.equal("the number of key/value heads", found.kv_heads, spec.kv_heads);
    }
    compare.equal("the width", found.embed, spec.embed);
    let follows = |spec: &Spec| spec.head_dim == spec.embed / spec.heads;
    if !follows(found) || !follows(spec) {
        compare.equal("the width of a head", found.head_dim, spec.head_dim);
    }
    compare.equal("the MLP's width", found.mlp.hidden, spec.mlp.hidden);
    compare.context(found, spec);
    compare.equal("the norm", norm_name(found.norm.kind), norm_name(spec.norm.kind));
    compare.close("the norm's epsilon", found.norm.eps, spec.norm.eps);
    compare.equal("the norm's unit_offset", found.norm.unit_offset, spec.norm.unit_offset);
    compare.equal("the block", block(found.block), block(spec.block));
    compare.equal("the norm of queries and keys", qk_norm(found.qk_norm), qk_norm(spec.qk_norm));
    compare.rope(found, spec);
    let cap = |spec: &Spec| spec.logit_softcap.map_or("none".to_owned(), |cap| cap.to_string());
    compare.equal("the soft cap of the logits", cap(found), cap(spec));
    compare.scores(found, spec);
    let scales = |spec: &Spec| [spec.embedding_scale, spec.residual_scale, spec.logit_scale];
    let names = ["the embedding's scale", "the residual scale", "the scale of the logits"];
    for ((name, found), declared) in names.into_iter().zip(scales(found)).zip(scales(spec)) {
        compare.close(name, found.unwrap_or(1.0), declared.unwrap_or(1.0));
    }
    compare.equal("tie_word_embeddings", found.tie_embeddings, spec.tie_embeddings);
    compare.equal("the MLP", mlp(found.mlp.gated), mlp(spec.mlp.gated));
    // A closure may compute any activation.
    if let (Some(found), Some(declared)) = (found.mlp.activation.name(), spec.mlp.activation.name())
    {
        compare.equal("the activation", found, declared);
    }
    compare.problems
}

fn norm_name(kind: NormKind) -> &'static str {
    match kind {
        NormKind::Layer => "LayerNorm",
        NormKind::Rms => "RmsNorm",
    }
}

fn block(block: Block) -> String {
    format!("{block:?}")
}

/// A norm of queries and keys; whether it has a shift is not said, as tensors reveal it.
fn qk_norm(norm: Option<QkNorm>) -> String {
    norm.map_or("none".to_owned(), |QkNorm { norm: own, over }| {
        format!("{} over {over:?}, eps {:?}", norm_name(own.kind), own.eps)
    })
}

fn mlp(gated: bool) -> &'static str {
    if gated { "Gated" } else { "Dense" }
}

struct Compare<'a> {
    file: &'a str,
    problems: Vec<String>,
}

impl Compare<'_> {
    fn equal<T: PartialEq + std::fmt::Display>(&mut self, what: &str, found: T, declared: T) {
        if found != declared {
            let file = self.file;
            self.problems.push(format!("{what} is {found} in {file} and {declared} in the spec"));
        }
    }

    fn close(&mut self, what: &str, found: f64, declared: f64) {
        if (found - declared).abs() > 1e-6 * declared {
            self.equal(what, found, declared);
        }
    }

    /// Compares contexts. A rotary model may be declared with a shorter context than the one it was
    /// trained for, and sinusoidal positions have no end.
    fn context(&mut self, found: &Spec, spec: &Spec) {
        let longer = spec.rotary() && spec.context <= found.context;
        if !longer && spec.positions != Positions::Sinusoidal {
            self.equal("the context", found.context, spec.context);
        }
    }

    /// Compares the scores of attention, and reports the first layer that differs.
    fn scores(&mut self, found: &Spec, spec: &Spec) {
        // Without `attention_scale`, the scale follows from the width of a head, which is compared
        // above.
        let own = found.attention_scale.or(spec.attention_scale).is_some();
        let differs = |a: &Scores, b: &Scores| {
            let number = |x: Option<f64>, y: Option<f64>| match (x, y) {
                (Some(x), Some(y)) => (x - y).abs() > 1e-6 * y,
                (x, y) => x != y,
            };
            // A window as long as the context hides nothing.
            let window = |scores: &Scores| scores.window.filter(|window| *window < spec.context);
            window(a) != window(b)
                || (own && number(Some(a.scale), Some(b.scale)))
                || number(a.softcap, b.softcap)
        };
        let layers = || 0..spec.layers;
        if let Some(at) = layers().find(|at| differs(&found.scores(*at), &spec.scores(*at))) {
            let text = |spec: &Spec| {
                let Scores { window, scale, softcap, .. } = spec.scores(at);
                let none = || "none".to_owned();
                let window = window.map_or_else(none, |window| window.to_string());
                let cap = softcap.map_or_else(none, |cap| cap.to_string());
                format!("window {window}, scale {scale}, soft cap {cap}")
            };
            self.equal(&format!("the attention of layer {at}"), text(found), text(spec));
        }
    }

    /// Compares rotary positions. Tensors reveal the other kinds.
    fn rope(&mut self, found: &Spec, spec: &Spec) {
        let (found, declared) = match (found.rope(), spec.rope()) {
            (Some(found), Some(declared)) => (found, declared),
            (None, Some(_)) => {
                return self.problems.push(format!(
                    "the positions are not rotary in {}, but are in the spec",
                    self.file
                ));
            }
            _ => return,
        };
        self.equal("the number of rotated elements of a head", found.dims, declared.dims);
        let pairs = |rope: &Rope| format!("{:?}", rope.pairs);
        self.equal("the order of rotary pairs", pairs(found), pairs(declared));
        // The first layer whose base differs, and the first whose scaling differs.
        let layers = || 0..spec.layers;
        let differs = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() > 1e-6 * b,
            (a, b) => a != b,
        };
        let of = |rope: &Rope, layer| rope.theta.of(layer);
        if let Some(at) = layers().find(|at| differs(of(found, *at), of(declared, *at))) {
            let text = |rope| of(rope, at).map_or("none".to_owned(), |theta| theta.to_string());
            self.equal(&format!("the rotary base of layer {at}"), text(found), text(declared));
        }
        let of = |rope: &Rope, layer| format!("{:?}", rope.scaling.of(layer));
        if let Some(at) = layers().find(|at| of(found, *at) != of(declared, *at)) {
            let what = format!("the rotary scaling of layer {at}");
            self.equal(&what, of(found, at), of(declared, at));
        }
    }
}
