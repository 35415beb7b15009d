//! The fields of norms: of the stream (`norm`), and of queries and keys (`qk_norm`).

use gpt_plan::{Norm, NormGroups, NormKind, QkNorm, Spec};

use super::{Key, Kind, Range, key, variant};

/// The fields of a norm that `$norm`, a function of a spec, returns.
macro_rules! fields {
    ($norm:ident: $($field:ident),*) => {
        [$(fields!(@ $norm $field)),*]
    };
    (@ $norm:ident eps) => {
        key(
            "eps",
            Kind::Number(Range::Positive, |spec| &mut $norm(spec).eps),
            Some("1e-5"),
            "added to the variance, or to the mean of squares",
        )
    };
    (@ $norm:ident affine) => {
        key(
            "affine",
            Kind::Flag(|spec| &mut $norm(spec).affine),
            Some("true"),
            "whether the norm has parameters (OLMo's has none)",
        )
    };
    (@ $norm:ident bias) => {
        key(
            "bias",
            Kind::OptionalFlag(|spec| &mut $norm(spec).bias),
            Some("None"),
            "whether the norm has a shift; `None` uses the value of the key `bias`",
        )
    };
    (@ $norm:ident unit_offset) => {
        key(
            "unit_offset",
            Kind::Flag(|spec| &mut $norm(spec).unit_offset),
            Some("false"),
            "whether safetensors files store `gamma - 1` (Gemma)",
        )
    };
    (@ $norm:ident over) => {
        OVER
    };
}

/// The fields of `norm: LayerNorm`.
pub const STREAM_LAYER: [Key; 4] = fields!(stream: eps, affine, bias, unit_offset);

/// The fields of `norm: RmsNorm`.
pub const STREAM_RMS: [Key; 3] = fields!(stream: eps, affine, unit_offset);

/// The fields of `qk_norm: LayerNorm`.
pub const QK_LAYER: [Key; 5] = fields!(qk: over, eps, affine, bias, unit_offset);

/// The fields of `qk_norm: RmsNorm`.
pub const QK_RMS: [Key; 4] = fields!(qk: over, eps, affine, unit_offset);

const OVER: Key = key(
    "over",
    Kind::Choice(&[
        variant(
            "Head",
            "each head, with parameters that all heads share: Qwen 3, Gemma 3",
            |spec| own(spec).over = NormGroups::Head,
            |spec| is_over(spec, NormGroups::Head),
            &[],
        ),
        variant(
            "EachHead",
            "each head, with its own parameters: Cohere",
            |spec| own(spec).over = NormGroups::EachHead,
            |spec| is_over(spec, NormGroups::EachHead),
            &[],
        ),
        variant(
            "Width",
            "all heads of queries together, and all heads of keys: OLMo 2",
            |spec| own(spec).over = NormGroups::Width,
            |spec| is_over(spec, NormGroups::Width),
            &[],
        ),
    ]),
    Some("Head"),
    "the elements that are normalised together",
);

/// Gives a spec a norm of queries and keys.
pub fn set_qk(spec: &mut Spec, kind: NormKind) {
    let norm = Norm { kind, ..Norm::default() };
    spec.qk_norm = Some(QkNorm { norm, over: NormGroups::Head });
}

/// Whether a spec has a norm of queries and keys of this kind.
pub fn is_qk(spec: &Spec, kind: NormKind) -> bool {
    spec.qk_norm.is_some_and(|own| own.norm.kind == kind)
}

fn is_over(spec: &Spec, over: NormGroups) -> bool {
    spec.qk_norm.is_some_and(|own| own.over == over)
}

fn stream(spec: &mut Spec) -> &mut Norm {
    &mut spec.norm
}

fn qk(spec: &mut Spec) -> &mut Norm {
    &mut own(spec).norm
}

fn own(spec: &mut Spec) -> &mut QkNorm {
    spec.qk_norm.as_mut().expect("a field of a norm that the spec has")
}
