//! The keys and tensors that not every architecture has.
//!
//! An [`Own`] reads them into a spec, and writes the keys of a spec. Whether an architecture can
//! express a spec is not decided here: `write` reads back what was written.

use gpt_plan::{Block, NormGroups, Pattern, Positions, QkNorm, RopeScaling, RotaryPairs, Spec};
use serde_json::Value;

use super::Tensors;
use super::write::Keys;
use crate::fields::Fields;
use crate::layers;

/// The functions that read and write the keys that not every architecture has.
pub struct Own {
    pub read: fn(&mut Fields<'_>, &dyn Tensors, &mut Spec),
    pub write: fn(&Spec, &mut Keys),
}

/// No keys beyond the common ones.
pub const NONE: Own = Own { read: |_, _, _| {}, write: |_, _| {} };
pub const WINDOWS_OF_ALL: Own = Own { read: windows_of_all, write: write_window };
pub const NORMS_OF_HEADS: Own = Own { read: norms_of_heads, ..NONE };
pub const NORMS_OF_WIDTH: Own = Own { read: norms_of_width, ..NONE };
pub const GEMMA: Own = Own { read: gemma, ..NONE };
pub const GEMMA2: Own = Own { read: gemma2, write: write_gemma2 };
pub const GEMMA3: Own = Own { read: gemma3, write: write_gemma3 };
pub const COMMAND_R: Own = Own { read: command_r, write: write_logit_scale };
pub const GRANITE: Own = Own { read: granite, write: write_granite };
pub const SMOLLM3: Own = Own { read: smollm3, ..NONE };
pub const NO_CLAMP: Own = Own { read: no_clamp, ..NONE };
pub const STABLELM: Own = Own { read: stablelm, write: write_parallel };
pub const GPTNEOX: Own = Own { read: gptneox, write: write_parallel };
pub const FALCON: Own = Own { read: falcon, ..NONE };
pub const BLOOM: Own = Own { read: bloom, ..NONE };
pub const MPT: Own = Own { read: mpt, write: write_mpt };

/// Llama and Phi-3: each layer has the window. Mistral is converted as Llama.
fn windows_of_all(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    let size = window(fields);
    spec.window = layers::windows(fields, spec.layers, size, spec.context, |_| true);
}

/// Writes the window of the first layer that has one.
fn write_window(spec: &Spec, keys: &mut Keys) {
    if let Some(size) = spec.window.0.iter().flatten().next() {
        keys.set("attention.sliding_window", *size);
    }
}

/// Qwen 3: each head of queries and keys is normalised.
fn norms_of_heads(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Head });
}

/// OLMo 2: all queries are normalised together, and so are all keys.
fn norms_of_width(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::Width });
}

fn gemma(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_scale = Some(f64::from(spec.embed).sqrt());
}

fn gemma2(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    gemma(fields, tensors, spec);
    spec.attention_scale = Some(scale_of_gemma(spec, 46));
    spec.attention_softcap = Some(fields.number("attn_logit_softcapping").unwrap_or(50.0));
    spec.logit_softcap = Some(fields.number("final_logit_softcapping").unwrap_or(30.0));
    let size = window(fields).unwrap_or(4_096);
    let sliding = sliding(fields, spec.layers, 2);
    spec.window = windows(spec, size, &sliding);
    // All layers have the same base.
    let theta = spec.rope().and_then(|rope| rope.theta.of(0)).unwrap_or(10_000.0);
    fields.only("rope.freq_base_swa", theta);
}

fn write_gemma2(spec: &Spec, keys: &mut Keys) {
    write_window(spec, keys);
    keys.set_if("attn_logit_softcapping", spec.attention_softcap);
    keys.set_if("final_logit_softcapping", spec.logit_softcap);
}

fn gemma3(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
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

fn write_gemma3(spec: &Spec, keys: &mut Keys) {
    write_window(spec, keys);
    keys.set_if("final_logit_softcapping", spec.logit_softcap);
    let slides = |layer: u32| spec.window.of(layer).is_some();
    let layers = || 0..spec.layers;
    if layers().any(slides) {
        let local = layers().find(|layer| slides(*layer));
        keys.set_if("rope.freq_base_swa", local.and_then(|layer| spec.rope()?.theta.of(layer)));
        if layers().any(|layer| slides(layer) != (layer % 6 != 5)) {
            let list: Vec<bool> = layers().map(slides).collect();
            keys.set("attention.sliding_window_pattern", list);
        }
    }
}

/// The scale of scores, which files leave out. It follows from the width of a head. In the largest
/// model of a generation, which has `layers_of_largest` layers, it follows from `embed / heads`.
fn scale_of_gemma(spec: &Spec, layers_of_largest: u32) -> f64 {
    let width = match spec.layers == layers_of_largest {
        true => spec.embed / spec.heads,
        false => spec.head_dim,
    };
    1.0 / f64::from(width).sqrt()
}

fn command_r(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    spec.logit_scale = scale(fields, "logit_scale");
    if tensors.has("blk.0.attn_q_norm.weight") {
        spec.qk_norm = Some(QkNorm { norm: spec.norm, over: NormGroups::EachHead });
    }
    if let Positions::Rope(rope) = &mut spec.positions {
        rope.pairs = RotaryPairs::Interleaved;
    }
}

fn write_logit_scale(spec: &Spec, keys: &mut Keys) {
    keys.set("logit_scale", spec.logit_scale.unwrap_or(1.0));
}

fn granite(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_scale = scale(fields, "embedding_scale");
    spec.residual_scale = scale(fields, "residual_scale");
    // The file has the divisor.
    spec.logit_scale = scale(fields, "logit_scale").map(|divisor| 1.0 / divisor);
    spec.attention_scale = fields.number("attention.scale");
    // If this key is false, llama.cpp does not rotate a Granite's queries and keys.
    fields.only("rope.scaling.finetuned", true);
}

fn write_granite(spec: &Spec, keys: &mut Keys) {
    keys.set("embedding_scale", spec.embedding_scale.unwrap_or(1.0));
    keys.set("residual_scale", spec.residual_scale.unwrap_or(1.0));
    keys.set("logit_scale", 1.0 / spec.logit_scale.unwrap_or(1.0));
    keys.set_if("attention.scale", spec.attention_scale);
}

fn smollm3(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    if let Positions::Rope(rope) = &mut spec.positions {
        let theta = rope.theta.of(0);
        let of = |layer: u32| theta.filter(|_| !(layer + 1).is_multiple_of(4));
        rope.theta = layers::pattern((0..spec.layers).map(of).collect());
    }
}

/// OLMo and MPT: some models limit queries, keys and values, which is not supported.
fn no_clamp(fields: &mut Fields<'_>, _tensors: &dyn Tensors, _spec: &mut Spec) {
    fields.only("attention.clamp_kqv", 0.0);
}

fn stablelm(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    // The tensors decide, because the converter writes true if a config.json has no such key.
    fields.ignore(&["use_parallel_residual"]);
    if !tensors.has("blk.0.ffn_norm.weight") {
        spec.block = Block::Parallel { norms: 1 };
    }
    if tensors.has("blk.0.attn_q_norm.weight") {
        fields.fail("norms of queries and keys of a StableLM are not supported");
    }
}

fn gptneox(fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    if fields.flag("use_parallel_residual").unwrap_or(true) {
        spec.block = Block::Parallel { norms: 2 };
    }
}

fn write_parallel(spec: &Spec, keys: &mut Keys) {
    keys.set("use_parallel_residual", spec.block.is_parallel());
}

fn falcon(_fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    let norms = if tensors.has("blk.0.attn_norm_2.weight") { 2 } else { 1 };
    spec.block = Block::Parallel { norms };
}

fn bloom(_fields: &mut Fields<'_>, _tensors: &dyn Tensors, spec: &mut Spec) {
    spec.embedding_norm = true;
}

fn mpt(fields: &mut Fields<'_>, tensors: &dyn Tensors, spec: &mut Spec) {
    no_clamp(fields, tensors, spec);
    let max_bias = fields.number("attention.max_alibi_bias").unwrap_or(8.0);
    spec.positions = Positions::Alibi { max_bias };
}

fn write_mpt(spec: &Spec, keys: &mut Keys) {
    if let Positions::Alibi { max_bias } = spec.positions {
        keys.set("attention.max_alibi_bias", max_bias);
    }
}

/// A factor, unless it is 1.
fn scale(fields: &mut Fields<'_>, key: &'static str) -> Option<f64> {
    fields.number(key).filter(|scale| *scale != 1.0)
}

/// The size of the window; 0 in a file means none.
fn window(fields: &mut Fields<'_>) -> Option<u32> {
    fields.index("attention.sliding_window").filter(|size| *size > 0)
}

/// Whether each layer has a sliding window, by a list in the file. Without a list, all layers have
/// one but the last of every `period`; a number in the file replaces `period`.
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
