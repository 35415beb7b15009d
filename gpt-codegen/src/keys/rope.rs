//! The fields of `positions: Rope`.

use gpt_plan::{Positions, Rope, RopeScaling, RotaryPairs, Spec};

use super::{Key, Kind, Range, key, variant};

/// The fields of `Rope`.
pub const FIELDS: [Key; 4] = [
    key(
        "theta",
        Kind::NumberPattern(Range::Positive, |spec| &mut rope(spec).theta),
        Some("10_000.0"),
        "base of the rotary frequencies; a list repeats over the layers; `None` rotates nothing",
    ),
    key(
        "dims",
        Kind::Size(|spec| &mut rope(spec).dims),
        Some("head_dim"),
        "number of elements of a head that rotate, from the first on",
    ),
    key(
        "pairs",
        Kind::Choice(&[
            variant(
                "Halves",
                "an element and the one `dims / 2` after it: GPT-NeoX, Llama",
                |spec| rope(spec).pairs = RotaryPairs::Halves,
                |spec| spec.rope().is_some_and(|rope| rope.pairs == RotaryPairs::Halves),
                &[],
            ),
            variant(
                "Interleaved",
                "two neighbouring elements: GPT-J, Cohere",
                |spec| rope(spec).pairs = RotaryPairs::Interleaved,
                |spec| spec.rope().is_some_and(|rope| rope.pairs == RotaryPairs::Interleaved),
                &[],
            ),
        ]),
        Some("Halves"),
        "the elements that rotate together, as safetensors files order them",
    ),
    key(
        "scaling",
        Kind::ChoicePattern(
            |spec| rope(spec).scaling.0.to_mut().pop().is_some(),
            &[
                variant(
                    "None",
                    "the frequencies of pretraining",
                    |spec| rope(spec).scaling.0.to_mut().push(RopeScaling::None),
                    |spec| matches!(last_scaling(spec), Some(RopeScaling::None)),
                    &[],
                ),
                variant(
                    "Linear",
                    "all frequencies divided by `factor`",
                    |spec| {
                        let linear = RopeScaling::Linear { factor: 1.0 };
                        rope(spec).scaling.0.to_mut().push(linear);
                    },
                    |spec| matches!(last_scaling(spec), Some(RopeScaling::Linear { .. })),
                    &[FACTOR],
                ),
                variant(
                    "Llama3",
                    "low frequencies divided by `factor`, high ones unchanged",
                    |spec| {
                        rope(spec).scaling.0.to_mut().push(RopeScaling::Llama3 {
                            factor: 1.0,
                            low_freq_factor: 1.0,
                            high_freq_factor: 4.0,
                            original_context: 1,
                        });
                    },
                    |spec| matches!(last_scaling(spec), Some(RopeScaling::Llama3 { .. })),
                    &[
                        FACTOR,
                        ORIGINAL_CONTEXT,
                        key(
                            "low_freq_factor",
                            Kind::Number(Range::Positive, |spec| match scaling(spec) {
                                RopeScaling::Llama3 { low_freq_factor, .. } => low_freq_factor,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("1.0"),
                            "frequencies with wavelengths above `original_context / low_freq_factor` are divided",
                        ),
                        key(
                            "high_freq_factor",
                            Kind::Number(Range::Positive, |spec| match scaling(spec) {
                                RopeScaling::Llama3 { high_freq_factor, .. } => high_freq_factor,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("4.0"),
                            "frequencies with wavelengths below `original_context / high_freq_factor` are unchanged",
                        ),
                    ],
                ),
                variant(
                    "Yarn",
                    "YaRN: frequencies of pairs with few rotations in `original_context` are divided",
                    |spec| {
                        rope(spec).scaling.0.to_mut().push(RopeScaling::Yarn {
                            factor: 1.0,
                            original_context: 1,
                            beta_fast: 32.0,
                            beta_slow: 1.0,
                            attention_factor: None,
                            truncate: true,
                        });
                    },
                    |spec| matches!(last_scaling(spec), Some(RopeScaling::Yarn { .. })),
                    &[
                        FACTOR,
                        ORIGINAL_CONTEXT,
                        key(
                            "beta_fast",
                            Kind::Number(Range::Positive, |spec| match scaling(spec) {
                                RopeScaling::Yarn { beta_fast, .. } => beta_fast,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("32.0"),
                            "frequencies of pairs with more rotations than this are unchanged",
                        ),
                        key(
                            "beta_slow",
                            Kind::Number(Range::Positive, |spec| match scaling(spec) {
                                RopeScaling::Yarn { beta_slow, .. } => beta_slow,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("1.0"),
                            "frequencies of pairs with fewer rotations than this are divided",
                        ),
                        key(
                            "attention_factor",
                            Kind::OptionalNumber(Range::Positive, |spec| match scaling(spec) {
                                RopeScaling::Yarn { attention_factor, .. } => attention_factor,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("None"),
                            "multiplies rotated queries and keys; `None` is `0.1 ln(factor) + 1`",
                        ),
                        key(
                            "truncate",
                            Kind::Flag(|spec| match scaling(spec) {
                                RopeScaling::Yarn { truncate, .. } => truncate,
                                _ => unreachable!("the variant was just appended"),
                            }),
                            Some("true"),
                            "whether the bounds between these pairs are rounded to whole pairs",
                        ),
                    ],
                ),
            ],
        ),
        Some("None"),
        "a change of the frequencies, for contexts longer than in pretraining; a list repeats over \
         the layers",
    ),
];

const FACTOR: Key = key(
    "factor",
    Kind::Number(Range::Positive, |spec| match scaling(spec) {
        RopeScaling::Linear { factor }
        | RopeScaling::Llama3 { factor, .. }
        | RopeScaling::Yarn { factor, .. } => factor,
        RopeScaling::None => unreachable!("it has no fields"),
    }),
    None,
    "the divisor of frequencies",
);

const ORIGINAL_CONTEXT: Key = key(
    "original_context",
    Kind::Size(|spec| match scaling(spec) {
        RopeScaling::Llama3 { original_context, .. }
        | RopeScaling::Yarn { original_context, .. } => original_context,
        _ => unreachable!("it has no such field"),
    }),
    None,
    "the context of pretraining, in tokens",
);

/// The rotary embedding of a spec that has one.
fn rope(spec: &mut Spec) -> &mut Rope {
    match &mut spec.positions {
        Positions::Rope(rope) => rope,
        _ => unreachable!("these are fields of `Rope`"),
    }
}

/// The last scaling of the list.
fn scaling(spec: &mut Spec) -> &mut RopeScaling {
    rope(spec).scaling.0.to_mut().last_mut().expect("a variant was appended")
}

fn last_scaling(spec: &Spec) -> Option<&RopeScaling> {
    spec.rope()?.scaling.0.last()
}
