//! Writes the metadata of a spec.
//!
//! As for a `config.json`, a candidate is written for each architecture, with the values that it
//! can express. The first one that reads back as the spec is written to the file, so a value that
//! an architecture cannot express is never lost. An architecture whose file llama.cpp refuses is
//! the last choice.

use gpt_plan::{Positions, RopeScaling, Spec};
use serde_json::{Map, Value};

use super::architectures::{ARCHITECTURES, Architecture};
use super::{Tensors, ZERO_BIASES, eps_key, gguf_description, loader, rope};
use crate::write::{activation_name, same};

/// The parts of a GGUF that follow from a spec, other than the tensors of the model.
pub struct GgufMetadata {
    /// The value of `general.architecture`.
    pub architecture: &'static str,
    /// Keys and values. A number is an integer or, if it is an `f64`, a float.
    pub values: Map<String, Value>,
    /// The divisors of rotary frequencies for the tensor `rope_freqs.weight`; empty if there is no
    /// such tensor.
    pub divisors: Vec<f32>,
    /// The names of biases that the model lacks and llama.cpp requires, which are written as zeros.
    /// `{layer}` stands for the number of a layer.
    pub zeros: &'static [&'static str],
    /// Sentences that say why llama.cpp will compute other logits, or why it will refuse the file.
    pub notes: Vec<String>,
}

/// The keys of one architecture.
pub struct Keys {
    architecture: &'static str,
    values: Map<String, Value>,
}

impl Keys {
    /// Sets the key of this architecture called `name`.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.values.insert(format!("{}.{name}", self.architecture), value.into());
    }

    /// Sets a key if there is a value.
    pub fn set_if(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }
}

/// The metadata of `spec`, whose file has `tensors`; `None` if no architecture of llama.cpp can
/// express it. If llama.cpp refuses the file of every architecture that can, a note says why.
pub fn gguf_metadata(spec: &Spec, tensors: &dyn Tensors) -> Option<GgufMetadata> {
    let mut refused = None;
    for mut found in ARCHITECTURES.iter().filter_map(|known| candidate(spec, tensors, known)) {
        let tensors = WithDivisors { tensors, divisors: &found.divisors };
        if !gguf_description(&found.values, &tensors).is_ok_and(|read| same(&read, spec)) {
            continue;
        }
        let Some(note) = loader::refusal(found.architecture, spec, &tensors, found.zeros) else {
            return Some(found);
        };
        if refused.is_none() {
            found.notes.insert(0, note);
            refused = Some(found);
        }
    }
    refused
}

fn candidate(
    spec: &Spec,
    tensors: &dyn Tensors,
    architecture: &'static Architecture,
) -> Option<GgufMetadata> {
    let mut keys = Keys { architecture: architecture.name, values: Map::new() };
    keys.values.insert("general.architecture".to_owned(), architecture.name.into());
    keys.set("context_length", spec.context);
    keys.set("embedding_length", spec.embed);
    keys.set("block_count", spec.layers);
    keys.set("feed_forward_length", spec.mlp.hidden);
    keys.set("attention.head_count", spec.heads);
    keys.set("attention.head_count_kv", spec.kv_heads);
    keys.set("attention.key_length", spec.head_dim);
    keys.set("attention.value_length", spec.head_dim);
    keys.set("vocab_size", spec.vocab);
    keys.set(eps_key(spec.norm.kind), spec.norm.eps);
    let mut notes = Vec::new();
    let own = (architecture.activation)();
    if spec.mlp.activation != own {
        let name = activation_name(spec)?;
        keys.set("hidden_activation", name);
        notes.push(format!(
            "llama.cpp computes {} for the architecture {}, but the model has {name}: llama.cpp's logits will differ",
            own.name().unwrap_or("another activation"),
            architecture.name
        ));
    }
    if matches!(architecture.name, "llama" | "phi3") && spec.window.0.iter().any(Option::is_some) {
        notes.push(format!(
            "llama.cpp has no attention window for the architecture {}: its logits will differ for longer texts",
            architecture.name
        ));
    }
    let mut divisors = Vec::new();
    if let Positions::Rope(_) = spec.positions {
        divisors = write_rope(spec, &mut keys)?;
    }
    (architecture.own.write)(spec, &mut keys);
    let lacks = |name: &&str| !tensors.has(&name.replace("{layer}", "0"));
    let zeros = match architecture.biases.iter().all(lacks) {
        true => architecture.biases,
        false => &[],
    };
    if !zeros.is_empty() {
        keys.set(ZERO_BIASES, true);
    }
    let (architecture, values) = (architecture.name, keys.values);
    Some(GgufMetadata { architecture, values, divisors, zeros, notes })
}

/// Writes the rotary embedding of the layers without a window, or of all layers if each has a
/// window. Returns the divisors of frequencies, which are empty unless its scaling needs them.
fn write_rope(spec: &Spec, keys: &mut Keys) -> Option<Vec<f32>> {
    let rope = spec.rope()?;
    let rotates = |layer: &u32| rope.theta.of(*layer).is_some();
    let global = (0..spec.layers).find(|at| rotates(at) && spec.window.of(*at).is_none());
    let layer = global.or_else(|| (0..spec.layers).find(rotates))?;
    let (theta, scaling) = rope.of(layer)?;
    keys.set("rope.dimension_count", rope.dims);
    keys.set("rope.freq_base", theta);
    match scaling {
        RopeScaling::None => {}
        RopeScaling::Linear { factor } => {
            keys.set("rope.scaling.type", "linear");
            keys.set("rope.scaling.factor", factor);
        }
        RopeScaling::Yarn {
            factor,
            original_context,
            beta_fast,
            beta_slow,
            attention_factor,
            ..
        } => {
            keys.set("rope.scaling.type", "yarn");
            keys.set("rope.scaling.factor", factor);
            keys.set("rope.scaling.original_context_length", original_context);
            keys.set("rope.scaling.yarn_beta_fast", beta_fast);
            keys.set("rope.scaling.yarn_beta_slow", beta_slow);
            keys.set_if("rope.scaling.yarn_attn_factor", attention_factor);
        }
        RopeScaling::Llama3 { .. } => return rope::divisors(scaling, theta, rope.dims),
    }
    Some(Vec::new())
}

/// The tensors of a model, and the divisors of rotary frequencies as one more tensor.
struct WithDivisors<'a> {
    tensors: &'a dyn Tensors,
    divisors: &'a [f32],
}

impl Tensors for WithDivisors<'_> {
    fn shape(&self, name: &str) -> Option<Vec<u64>> {
        match name {
            rope::DIVISORS if !self.divisors.is_empty() => Some(vec![self.divisors.len() as u64]),
            name => self.tensors.shape(name),
        }
    }

    fn vector(&self, name: &str, most: u32) -> Option<Vec<f32>> {
        match name {
            rope::DIVISORS if !self.divisors.is_empty() => Some(self.divisors.to_vec()),
            name => self.tensors.vector(name, most),
        }
    }
}
