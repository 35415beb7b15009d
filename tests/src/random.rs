//! Random specs from the whole space that the macro accepts, small enough for the oracle.

use gpt_plan::{Activation, Block, Mask, Mlp, Norm, NormKind, Pattern, Positions, Spec};
use proptest::prelude::*;

/// A strategy for all specs.
pub fn spec() -> impl Strategy<Value = Spec> {
    let sizes = (1..150u32, 1..49u32, 1..4u32, 1..80u32, 1..100u32);
    let attention = (1..4u32, 1..4u32, 1..40u32);
    let kinds = (
        norm(),
        positions(),
        activation(),
        any::<[bool; 5]>(),
        prop::option::of(0.1..50.0),
        any::<Option<bool>>(),
        masks(),
    );
    (sizes, attention, kinds).prop_map(|(sizes, attention, kinds)| {
        let (vocab, context, layers, embed, hidden) = sizes;
        let (kv_heads, group, head_dim) = attention;
        let (norm, positions, activation, flags, logit_softcap, qkv_bias, mask) = kinds;
        let [gated, post, bidirectional, bias, tie] = flags;
        let rotary = matches!(positions, Positions::Rope { .. });
        Spec {
            vocab,
            context,
            layers,
            heads: kv_heads * group,
            kv_heads,
            embed,
            // Rotary positions rotate pairs.
            head_dim: if rotary { head_dim.next_multiple_of(2) } else { head_dim },
            norm,
            block: if post { Block::PostNorm } else { Block::PreNorm },
            mlp: Mlp { gated, hidden, activation },
            positions,
            mask: if bidirectional { mask } else { Pattern::all(Mask::Causal) },
            bias,
            tie_embeddings: tie,
            logit_softcap,
            qkv_bias,
            ..Spec::default()
        }
    })
}

fn norm() -> impl Strategy<Value = Norm> {
    let eps = prop::sample::select(vec![1e-6, 1e-5, 1e-2]);
    let kind = prop::sample::select(vec![NormKind::Layer, NormKind::Rms]);
    (kind, eps, any::<bool>()).prop_map(|(kind, eps, affine)| Norm {
        kind,
        eps,
        affine,
        ..Norm::default()
    })
}

fn positions() -> impl Strategy<Value = Positions> {
    prop::sample::select(vec![
        Positions::Learned,
        Positions::Sinusoidal,
        Positions::Rope { theta: Pattern::all(Some(100.0)) },
        Positions::Rope { theta: Pattern::all(Some(500_000.0)) },
        Positions::Rope { theta: Pattern(vec![Some(100.0), None].into()) },
        Positions::Rope { theta: Pattern(vec![None, Some(100.0), Some(10_000.0)].into()) },
    ])
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
