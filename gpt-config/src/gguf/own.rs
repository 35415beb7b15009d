//! The keys and tensors that not every architecture has.

use gpt_plan::{Block, NormGroups, Pattern, Positions, QkNorm, RopeScaling, RotaryPairs, Spec};
use serde_json::Value;

use super::Tensors;
use crate::fields::Fields;
use crate::layers;

/// Nothing of its own.
pub fn none(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, _spec: &mut Spec) {}

/// Llama, as which Mistral is converted, and Phi-3: each layer has the window.
pub fn windows_of_all(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    let size = window(fields);
    spec.window = layers::windows(fields, spec.layers, size, spec.context, |_| true);
}

/// Qwen 3: each head of queries and keys is normalised.
pub fn norms_of_heads(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Head });
}

/// OLMo 2: all queries are normalised together, and all keys.
pub fn norms_of_width(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Width });
}

pub fn gemma(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_scale = Some(f64::from(spec.embed).sqrt());
}

pub fn gemma2(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    gemma(fields, tensors, spec);
    spec.attention_scale = Some(scale_of_gemma(spec, 46));
    spec.attention_softcap = Some(fields.number("attn_logit_softcapping").unwrap_or(50.0));
    spec.logit_softcap = Some(fields.number("final_logit_softcapping").unwrap_or(30.0));
    let size = window(fields).unwrap_or(4_096);
    let sliding = sliding(fields, spec.layers, 2);
    spec.window = windows(spec, size, &sliding);
    // All layers have one base.
    let theta = spec.rope().and_then(|rope| rope.theta.of(0)).unwrap_or(10_000.0);
    fields.only("rope.freq_base_swa", theta);
}

pub fn gemma3(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    gemma(fields, tensors, spec);
    norms_of_heads(fields, tensors, spec);
    spec.attention_scale = Some(scale_of_gemma(spec, 62));
    spec.logit_softcap = fields.number("final_logit_softcapping");
    let local = fields.number("rope.freq_base_swa").unwrap_or(10_000.0);
    let size = window(fields);
    let sliding = sliding(fields, spec.layers, 6);
    let Some(size) = size else { return };
    spec.window = windows(spec, size, &sliding);
    if let Positions::Rope(rope) = &mut spec.positions {
        let global = (rope.theta.of(0), rope.scaling.of(0));
        let of = |slides: &bool| if *slides { (Some(local), RopeScaling::None) } else { global };
        let (theta, scaling) = sliding.iter().map(of).unzip();
        (rope.theta, rope.scaling) = (layers::pattern(theta), layers::pattern(scaling));
    }
}

/// The scale of scores, which files leave out: the largest model of a generation, which its number
/// of layers distinguishes, has that of another width.
fn scale_of_gemma(spec: &Spec, layers_of_largest: u32) -> f64 {
    let width = match spec.layers == layers_of_largest {
        true => spec.embed / spec.heads,
        false => spec.head_dim,
    };
    1.0 / f64::from(width).sqrt()
}

pub fn command_r(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    spec.logit_scale = scale(fields, "logit_scale");
    if tensors.has("blk.0.attn_q_norm.weight") {
        spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::EachHead });
    }
    if let Positions::Rope(rope) = &mut spec.positions {
        rope.pairs = RotaryPairs::Interleaved;
    }
}

pub fn granite(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_scale = scale(fields, "embedding_scale");
    spec.residual_scale = scale(fields, "residual_scale");
    // The file has the divisor.
    spec.logit_scale = scale(fields, "logit_scale").map(|divisor| 1.0 / divisor);
    spec.attention_scale = fields.number("attention.scale");
    // Granite switches rotation off by this key.
    fields.only("rope.scaling.finetuned", true);
}

pub fn smollm3(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    if let Positions::Rope(rope) = &mut spec.positions {
        let theta = rope.theta.of(0);
        let of = |layer: u32| theta.filter(|_| !(layer + 1).is_multiple_of(4));
        rope.theta = layers::pattern((0..spec.layers).map(of).collect());
    }
}

/// OLMo and MPT, of which some limit queries, keys and values.
pub fn no_clamp(fields: &mut Fields<'_>, _tensors: &dyn Tensors, _spec: &mut Spec) {
    fields.only("attention.clamp_kqv", 0.0);
}

pub fn stablelm(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    // The tensors decide, as the converter says true if a config.json does not say.
    fields.ignore(&["use_parallel_residual"]);
    if !tensors.has("blk.0.ffn_norm.weight") {
        spec.block = Block::Parallel { norms: 1 };
    }
    if tensors.has("blk.0.attn_q_norm.weight") {
        fields.fail("norms of queries and keys of a StableLM are not supported");
    }
}

pub fn gptneox(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    if fields.flag("use_parallel_residual").unwrap_or(true) {
        spec.block = Block::Parallel { norms: 2 };
    }
}

pub fn falcon(_fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    let norms = if tensors.has("blk.0.attn_norm_2.weight") { 2 } else { 1 };
    spec.block = Block::Parallel { norms };
}

pub fn bloom(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_norm = true;
}

pub fn mpt(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    no_clamp(fields, tensors, spec);
    let max_bias = fields.number("attention.max_alibi_bias").unwrap_or(8.0);
    spec.positions = Positions::Alibi { max_bias };
}

/// A factor, if it changes anything.
fn scale(fields: &mut Fields<'_>, key: &'static str) -> Option<f64> {
    fields.number(key).filter(|scale| *scale != 1.0)
}

/// The size of the window; 0 is none.
fn window(fields: &mut Fields<'_>) -> Option<u32> {
    fields.index("attention.sliding_window").filter(|size| *size > 0)
}

/// Whether each layer slides: by a list, or all but the last of each `period` layers.
fn sliding(fields: &mut Fields<'_>, layers: u32, period: u32) -> Vec<bool> {
    const KEY: &str = "attention.sliding_window_pattern";
    let listed = match fields.value(KEY) {
        Some(Value::Array(_)) => layers::flags(fields, KEY, layers),
        _ => None,
    };
    listed.unwrap_or_else(|| {
        let own = fields.value(KEY).filter(|value| !value.is_array());
        let period = own.and_then(|_| fields.size(KEY)).unwrap_or(period);
        (0..layers).map(|layer| layer % period != period - 1).collect()
    })
}

fn windows(spec: &Spec, size: u32, sliding: &[bool]) -> Pattern<Option<u32>> {
    let size = Some(size).filter(|size| *size < spec.context);
    layers::pattern(sliding.iter().map(|slides| size.filter(|_| *slides)).collect())
}
