//! Random specs from most of the space that the macro accepts, small enough for the oracle.

use gpt_plan::{
    Activation, Block, Mask, Mlp, Norm, NormGroups, NormKind, Pattern, Positions, QkNorm, Rope,
    RopeScaling, Spec,
};
use proptest::prelude::*;

/// A strategy that generates specs.
pub fn spec() -> impl Strategy<Value = Spec> {
    let sizes = (1..150u32, 1..49u32, 1..4u32, 1..80u32, 1..100u32);
    let attention = (1..4u32, 1..4u32, 1..40u32, 0..40u32);
    let kinds = (
        norm(),
        positions(),
        activation(),
        any::<[bool; 8]>(),
        (block(), qk_norm()),
        prop::option::of(0.1..50.0),
        any::<[Option<bool>; 3]>(),
        masks(),
        scores(),
        (
            [prop::option::of(0.1..4.0), prop::option::of(0.1..2.0), prop::option::of(0.1..3.0)],
            prop::option::of(1..4u32),
        ),
    );
    (sizes, attention, kinds).prop_map(|(sizes, attention, kinds)| {
        let (vocab, context, layers, embed, hidden) = sizes;
        let (kv_heads, group, head_dim, unrotated) = attention;
        let (
            norm,
            positions,
            activation,
            flags,
            (block, qk_norm),
            logit_softcap,
            biases,
            mask,
            scores,
            (scales, token_types),
        ) = kinds;
        let [gated, head_bias, bidirectional, bias, tie, embedding_norm, head_dense, bare] = flags;
        let rotary = matches!(positions, Positions::Rope(_));
        // Rotary positions rotate pairs.
        let head_dim = if rotary { head_dim.next_multiple_of(2) } else { head_dim };
        let mut positions = positions;
        if let Positions::Rope(rope) = &mut positions {
            rope.dims = (head_dim - unrotated % head_dim).next_multiple_of(2);
        }
        Spec {
            vocab,
            context,
            layers,
            heads: kv_heads * group,
            kv_heads,
            embed,
            head_dim,
            norm,
            block,
            // Few elements, normalised, are little more than signs, which rounding changes.
            qk_norm: qk_norm.filter(|_| head_dim >= 8),
            head_dense,
            head_bias,
            embedding_norm,
            first_attn_bare: bare && matches!(block, Block::PreNorm | Block::Sandwich),
            token_types,
            mlp: Mlp { gated, hidden, activation },
            positions,
            mask: if bidirectional { mask } else { Pattern::all(Mask::Causal) },
            bias,
            tie_embeddings: tie,
            logit_softcap,
            embedding_scale: scales[0],
            residual_scale: scales[1],
            logit_scale: scales[2],
            window: scores.0,
            attention_scale: scores.1,
            attention_softcap: scores.2,
            qkv_bias: biases[0],
            attn_out_bias: biases[1],
            mlp_bias: biases[2],
            ..Spec::default()
        }
    })
}

fn norm() -> impl Strategy<Value = Norm> {
    let eps = prop::sample::select(vec![1e-6, 1e-5, 1e-2]);
    let kind = prop::sample::select(vec![NormKind::Layer, NormKind::Rms]);
    (kind, eps, any::<bool>(), any::<Option<bool>>()).prop_map(|(kind, eps, affine, bias)| Norm {
        kind,
        eps,
        affine,
        bias,
        ..Norm::default()
    })
}

fn block() -> impl Strategy<Value = Block> {
    prop::sample::select(vec![
        Block::PreNorm,
        Block::PostNorm,
        Block::Sandwich,
        Block::PostBranch,
        Block::Parallel { norms: 1 },
        Block::Parallel { norms: 2 },
    ])
}

/// The norm of queries and keys; in half of the specs none.
fn qk_norm() -> impl Strategy<Value = Option<QkNorm>> {
    let groups = [NormGroups::Head, NormGroups::EachHead, NormGroups::Width];
    let own = (norm(), prop::sample::select(groups.to_vec()));
    prop::option::of(own.prop_map(|(norm, over)| QkNorm { norm, over }))
}

/// The number of rotated elements is 0 here; [`spec`] sets it.
fn positions() -> impl Strategy<Value = Positions> {
    let rope = |theta: Vec<Option<f64>>, scaling: Vec<RopeScaling>| {
        let scaling = Pattern(scaling.into());
        Positions::Rope(Rope { scaling, ..Rope::new(Pattern(theta.into()), 0) })
    };
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_context: 20,
    };
    let yarn = RopeScaling::Yarn {
        factor: 4.0,
        original_context: 15,
        beta_fast: 2.0,
        beta_slow: 0.5,
        attention_factor: None,
        truncate: false,
    };
    prop::sample::select(vec![
        Positions::Learned,
        Positions::Sinusoidal,
        Positions::Alibi { max_bias: 8.0 },
        rope(vec![Some(100.0)], vec![RopeScaling::None]),
        rope(vec![Some(500_000.0)], vec![RopeScaling::Linear { factor: 4.0 }]),
        rope(vec![Some(100.0), None], vec![llama3, RopeScaling::None, yarn]),
        rope(vec![None, Some(100.0), Some(10_000.0)], vec![yarn]),
    ])
}

/// The window, the scale and the soft cap of scores.
fn scores() -> impl Strategy<Value = (Pattern<Option<u32>>, Option<f64>, Option<f64>)> {
    let windows = prop::sample::select(vec![
        Pattern::all(None),
        Pattern::all(None),
        Pattern::all(Some(3)),
        Pattern(vec![Some(7), None].into()),
        Pattern(vec![Some(1), Some(20), Some(40)].into()),
    ]);
    (windows, prop::option::of(0.05..2.0), prop::option::of(0.5..30.0))
}

/// Masks with a bidirectional layer.
fn masks() -> impl Strategy<Value = Pattern<Mask>> {
    prop::sample::select(vec![
        Pattern::all(Mask::Bidirectional),
        Pattern(vec![Mask::Bidirectional, Mask::Causal].into()),
        Pattern(vec![Mask::Causal, Mask::Causal, Mask::Bidirectional].into()),
    ])
}

fn activation() -> impl Strategy<Value = Activation> {
    prop::sample::select(vec![
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Relu,
        Activation::Silu,
        crate::specs::relu_squared(),
    ])
}
