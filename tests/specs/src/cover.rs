//! A few specs whose kernels have all files that the kernels of all odd specs have, for engines
//! whose driver compiles slowly.
//!
//! Most odd specs differ from a preset in one key, so that a failure names it. Most kernels of such
//! a spec differ from the preset's only in their sizes, and few are new. Crossed specs take their
//! keys from several odd specs, so a dozen of them cover the same files.

use std::collections::HashSet;

use gpt_plan::{Format, Kernel, Plan, Spec, hash};

use super::odd;

/// The unit of coverage. The kernels of the chosen specs have each unit that the kernels of all odd
/// specs have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Cover {
    /// Each pair of WGSL files of a kernel in f32, because one file calls functions that another
    /// defines.
    Pairs,
    /// Each WGSL file.
    Files,
}

/// Names and specs whose kernels have every file, or every pair of files, that the kernels of all
/// odd specs have. They are few, but not provably the fewest. The ragged sizes come first.
/// `kernels` returns the kernels of a plan to cover: those of inference or of training.
pub fn covering(cover: Cover, kernels: fn(&Plan) -> &[Kernel]) -> Vec<(String, Spec)> {
    const RAGGED: [&str; 4] = ["one_of_everything", "primes", "primes_gated", "wide_head"];
    let covered = |name: &str, spec: &Spec| -> HashSet<String> {
        let plan = gpt_codegen::plan::plan(name, spec);
        let kernels = kernels(&plan).iter().filter(|kernel| is_f32(kernel));
        match cover {
            Cover::Pairs => kernels.flat_map(|kernel| pairs(&kernel.files)).collect(),
            Cover::Files => {
                kernels.flat_map(|kernel| kernel.files.iter().map(ToString::to_string)).collect()
            }
        }
    };
    let odd = odd();
    let mut candidates: Vec<(String, Spec, HashSet<String>)> = Vec::new();
    for (name, spec) in &odd {
        candidates.push(((*name).to_owned(), spec.clone(), covered(name, spec)));
    }
    let mut missing: HashSet<String> = candidates.iter().flat_map(|c| c.2.clone()).collect();
    for number in 0..CROSSED {
        let (name, spec) = crossed(&odd, number);
        let covered = covered(&name, &spec);
        candidates.push((name, spec, covered));
    }
    let mut chosen = Vec::new();
    while !missing.is_empty() {
        // The spec that has the most of what is missing; among equals, the first one.
        let ragged = candidates.iter().position(|(name, ..)| RAGGED.contains(&name.as_str()));
        let gain = |at: &usize| candidates[*at].2.intersection(&missing).count();
        let best = ragged.or_else(|| (0..candidates.len()).rev().max_by_key(gain));
        let (name, spec, covered) = candidates.remove(best.expect("odd specs cover themselves"));
        missing.retain(|files| !covered.contains(files));
        chosen.push((name, spec));
    }
    chosen
}

/// Each pair of the files of a kernel.
fn pairs(files: &[impl std::fmt::Display]) -> Vec<String> {
    let after = |at: usize| files[at + 1..].iter().map(move |b| format!("{} {b}", files[at]));
    (0..files.len()).flat_map(after).collect()
}

/// Whether a kernel is the one of its kind in f32, or has no matrix.
fn is_f32(kernel: &Kernel) -> bool {
    let other = |format: &Format| *format != Format::F32 && kernel.name.ends_with(format.name());
    !Format::ALL.iter().any(other)
}

/// The number of crossed specs to choose from. More of them would not make the choice smaller.
const CROSSED: u32 = 400;

/// Keys that depend on each other come from one odd spec, other keys from others. The same number
/// gives the same spec.
fn crossed(odd: &[(&str, Spec)], number: u32) -> (String, Spec) {
    let mut names = Vec::new();
    let mut pick = |part: u32| {
        let (name, spec) = &odd[(hash(8 * number + part) % odd.len() as u32) as usize];
        names.push(*name);
        spec
    };
    let [sizes, attention, scores, block, mlp, biases, embedding, head] =
        [0, 1, 2, 3, 4, 5, 6, 7].map(&mut pick);
    let spec = Spec {
        heads: attention.heads,
        kv_heads: attention.kv_heads,
        head_dim: attention.head_dim,
        positions: attention.positions.clone(),
        qk_norm: attention.qk_norm,
        mask: scores.mask.clone(),
        window: scores.window.clone(),
        attention_scale: scores.attention_scale,
        attention_softcap: scores.attention_softcap,
        norm: block.norm,
        block: block.block,
        first_attn_bare: block.first_attn_bare,
        residual_scale: block.residual_scale,
        mlp: mlp.mlp.clone(),
        bias: biases.bias,
        qkv_bias: biases.qkv_bias,
        attn_out_bias: biases.attn_out_bias,
        mlp_bias: biases.mlp_bias,
        embedding_norm: embedding.embedding_norm,
        embedding_scale: embedding.embedding_scale,
        token_types: embedding.token_types,
        tie_embeddings: head.tie_embeddings,
        head_dense: head.head_dense,
        head_bias: head.head_bias,
        logit_scale: head.logit_scale,
        logit_softcap: head.logit_softcap,
        ..sizes.clone()
    };
    (format!("crossed {number} ({})", names.join(", ")), spec)
}
