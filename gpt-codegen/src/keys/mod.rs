//! The table of keys. Parsing, defaults, suggestions, the types that editors display and the
//! book's reference all read it.
//!
//! A row says which field of [`Spec`] it sets. A key that adds a field to a spec therefore takes a
//! row here, the field, and the code that uses it. `norm` has the fields of norms, `rope` those of
//! rotary positions, and `names` the values of the key `names`.

mod names;
mod norm;
mod rope;

use gpt_plan::{Activation, Block, Mask, Norm, NormKind, Pattern, Positions, Rope, Spec};

/// The kind of a key's value, and the field of a spec that it sets.
#[derive(Clone, Copy)]
pub enum Kind {
    /// A size: a positive integer, or an expression of other sizes.
    Size(fn(&mut Spec) -> &mut u32),
    /// A size, or `None`.
    OptionalSize(fn(&mut Spec) -> &mut Option<u32>),
    /// A number.
    Number(Range, fn(&mut Spec) -> &mut f64),
    /// A number, or `None`.
    OptionalNumber(Range, fn(&mut Spec) -> &mut Option<f64>),
    /// `true`, `false`, or the name of another key of this kind, whose value it takes.
    Flag(fn(&mut Spec) -> &mut bool),
    /// Like `Flag`, or `None`.
    OptionalFlag(fn(&mut Spec) -> &mut Option<bool>),
    /// A number or `None` for all layers, or a list of them that repeats over the layers.
    NumberPattern(Range, fn(&mut Spec) -> &mut Pattern<Option<f64>>),
    /// A size or `None` for all layers, or a list of them that repeats over the layers.
    SizePattern(fn(&mut Spec) -> &mut Pattern<Option<u32>>),
    /// One of several variants, which may have fields.
    Choice(&'static [Variant]),
    /// A variant for all layers, or a list of them that repeats over the layers. The function
    /// removes the last value of the list, and returns whether there was one. A variant's `choose`
    /// appends the variant to the list. Its `is` and its fields refer to the last value.
    ChoicePattern(fn(&mut Spec) -> bool, &'static [Variant]),
    /// The name of an activation, or a closure.
    Activation(fn(&mut Spec) -> &mut Activation),
}

/// The numbers that a key accepts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Above 0.
    Positive,
    /// From 0, below 1.
    Probability,
}

/// A variant of a choice.
pub struct Variant {
    /// The name as a spec spells it.
    pub name: &'static str,
    /// One phrase, for editors and the book.
    pub doc: &'static str,
    /// Sets the variant, before its fields are set.
    pub choose: fn(&mut Spec),
    /// Whether a spec has the variant.
    pub is: fn(&Spec) -> bool,
    /// The keys between its braces.
    pub fields: &'static [Key],
}

/// A key of a spec, or a field of a variant.
pub struct Key {
    /// The name as a spec spells it.
    pub name: &'static str,
    /// The values that it accepts, and the field that it sets.
    pub kind: Kind,
    /// As a spec would write it; none if the key is required.
    pub default: Option<&'static str>,
    /// One phrase, for editors and the book.
    pub doc: &'static str,
}

impl Kind {
    /// Whether expressions may use a key of this kind.
    pub fn is_size(self) -> bool {
        matches!(self, Kind::Size(_))
    }
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key { name, kind, default, doc }
}

const fn variant(
    name: &'static str,
    doc: &'static str,
    choose: fn(&mut Spec),
    is: fn(&Spec) -> bool,
    fields: &'static [Key],
) -> Variant {
    Variant { name, doc, choose, is, fields }
}

/// Every key, in the order of the documentation.
pub static KEYS: [Key; 32] = [
    key("vocab", Kind::Size(|spec| &mut spec.vocab), None, "number of tokens"),
    key("context", Kind::Size(|spec| &mut spec.context), None, "longest sequence, in tokens"),
    key("layers", Kind::Size(|spec| &mut spec.layers), None, "number of transformer blocks"),
    key("heads", Kind::Size(|spec| &mut spec.heads), None, "query heads in each layer"),
    key(
        "kv_heads",
        Kind::Size(|spec| &mut spec.kv_heads),
        Some("heads"),
        "key and value heads; fewer than `heads` is grouped-query attention",
    ),
    key("embed", Kind::Size(|spec| &mut spec.embed), None, "width of the residual stream"),
    key(
        "head_dim",
        Kind::Size(|spec| &mut spec.head_dim),
        Some("embed / heads"),
        "width of a head, at most 256",
    ),
    key(
        "norm",
        Kind::Choice(&[
            variant(
                "LayerNorm",
                "`(x - mean) / sqrt(variance + eps) * gamma + beta`",
                |spec| spec.norm = Norm { kind: NormKind::Layer, ..Norm::default() },
                |spec| spec.norm.kind == NormKind::Layer,
                &norm::STREAM_LAYER,
            ),
            variant(
                "RmsNorm",
                "`x / sqrt(mean of squares + eps) * gamma`",
                |spec| spec.norm = Norm { kind: NormKind::Rms, ..Norm::default() },
                |spec| spec.norm.kind == NormKind::Rms,
                &norm::STREAM_RMS,
            ),
        ]),
        Some("LayerNorm { eps: 1e-5 }"),
        "normalisation of the residual stream",
    ),
    key(
        "block",
        Kind::Choice(&[
            variant(
                "PreNorm",
                "norms before attention and MLP, and one before the head: GPT-2 and later models",
                |spec| spec.block = Block::PreNorm,
                |spec| spec.block == Block::PreNorm,
                &[],
            ),
            variant(
                "PostNorm",
                "norms after the residuals: the first GPT",
                |spec| spec.block = Block::PostNorm,
                |spec| spec.block == Block::PostNorm,
                &[],
            ),
            variant(
                "Sandwich",
                "norms before attention and MLP, and norms of their outputs: Gemma 2 and 3",
                |spec| spec.block = Block::Sandwich,
                |spec| spec.block == Block::Sandwich,
                &[],
            ),
            variant(
                "PostBranch",
                "norms of the outputs of attention and MLP: OLMo 2",
                |spec| spec.block = Block::PostBranch,
                |spec| spec.block == Block::PostBranch,
                &[],
            ),
            variant(
                "Parallel",
                "attention and MLP read the same stream: GPT-J, GPT-NeoX",
                |spec| spec.block = Block::Parallel { norms: 1 },
                |spec| spec.block.is_parallel(),
                &[key(
                    "norms",
                    Kind::Size(|spec| match &mut spec.block {
                        Block::Parallel { norms } => norms,
                        _ => unreachable!("a field of another block"),
                    }),
                    Some("1"),
                    "1 if attention and MLP share a norm, 2 if each has its own",
                )],
            ),
        ]),
        Some("PreNorm"),
        "where norms are, and whether attention and MLP follow each other",
    ),
    key(
        "mlp",
        Kind::Choice(&[
            variant(
                "Dense",
                "`down(activation(up(x)))`",
                |spec| spec.mlp.gated = false,
                |spec| !spec.mlp.gated,
                &[hidden(Some("4 * embed")), activation("GeluTanh", "the nonlinearity")],
            ),
            variant(
                "Gated",
                "`down(activation(gate(x)) * up(x))`",
                |spec| spec.mlp.gated = true,
                |spec| spec.mlp.gated,
                &[hidden(None), activation("Silu", "the nonlinearity of the gate")],
            ),
        ]),
        Some("Dense { hidden: 4 * embed, activation: GeluTanh }"),
        "the feed-forward half of a block",
    ),
    key(
        "positions",
        Kind::Choice(&[
            variant(
                "Learned",
                "a learned vector for each position",
                |spec| spec.positions = Positions::Learned,
                |spec| spec.positions == Positions::Learned,
                &[],
            ),
            variant(
                "Sinusoidal",
                "the fixed sines and cosines of the 2017 transformer",
                |spec| spec.positions = Positions::Sinusoidal,
                |spec| spec.positions == Positions::Sinusoidal,
                &[],
            ),
            variant(
                "Rope",
                "rotation of queries and keys",
                |spec| spec.positions = Positions::Rope(Rope::new(Pattern::default(), 0)),
                Spec::rotary,
                &rope::FIELDS,
            ),
            variant(
                "Alibi",
                "scores that fall with the distance: BLOOM, MPT",
                |spec| spec.positions = Positions::Alibi { max_bias: 0.0 },
                |spec| matches!(spec.positions, Positions::Alibi { .. }),
                &[key(
                    "max_bias",
                    Kind::Number(Range::Positive, |spec| match &mut spec.positions {
                        Positions::Alibi { max_bias } => max_bias,
                        _ => unreachable!("a field of other positions"),
                    }),
                    Some("8.0"),
                    "the exponent of the smallest slope, `2^-max_bias`",
                )],
            ),
        ]),
        Some("Learned"),
        "how the model encodes positions",
    ),
    key(
        "mask",
        Kind::ChoicePattern(
            |spec| spec.mask.0.to_mut().pop().is_some(),
            &[
                variant(
                    "Causal",
                    "a token attends to itself and to earlier tokens",
                    |spec| spec.mask.0.to_mut().push(Mask::Causal),
                    |spec| spec.mask.0.last() == Some(&Mask::Causal),
                    &[],
                ),
                variant(
                    "Bidirectional",
                    "a token attends to all tokens, as in BERT",
                    |spec| spec.mask.0.to_mut().push(Mask::Bidirectional),
                    |spec| spec.mask.0.last() == Some(&Mask::Bidirectional),
                    &[],
                ),
            ],
        ),
        Some("Causal"),
        "whether a token attends only to itself and earlier tokens, or to all; a list repeats over the layers",
    ),
    key(
        "window",
        Kind::SizePattern(|spec| &mut spec.window),
        Some("None"),
        "a token attends only to tokens at a distance below the window; a list repeats over the layers",
    ),
    key(
        "attention_scale",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.attention_scale),
        Some("None"),
        "the factor of products of queries and keys; `None` is `1 / sqrt(head_dim)`",
    ),
    key(
        "attention_softcap",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.attention_softcap),
        Some("None"),
        "`c` of `c tanh(score / c)`, which bounds the scores of attention (Gemma 2)",
    ),
    key(
        "qk_norm",
        Kind::Choice(&[
            variant(
                "None",
                "queries and keys as they are projected",
                |spec| spec.qk_norm = None,
                |spec| spec.qk_norm.is_none(),
                &[],
            ),
            variant(
                "LayerNorm",
                "as in `norm`",
                |spec| norm::set_qk(spec, NormKind::Layer),
                |spec| norm::is_qk(spec, NormKind::Layer),
                &norm::QK_LAYER,
            ),
            variant(
                "RmsNorm",
                "as in `norm`",
                |spec| norm::set_qk(spec, NormKind::Rms),
                |spec| norm::is_qk(spec, NormKind::Rms),
                &norm::QK_RMS,
            ),
        ]),
        Some("None"),
        "normalisation of queries and keys, before they are rotated (Qwen 3, Gemma 3)",
    ),
    key(
        "bias",
        Kind::Flag(|spec| &mut spec.bias),
        Some("true"),
        "whether linear layers and LayerNorm have a bias",
    ),
    key(
        "qkv_bias",
        Kind::OptionalFlag(|spec| &mut spec.qkv_bias),
        Some("None"),
        "whether queries, keys and values have a bias; `None` uses the value of `bias` (Qwen 2)",
    ),
    key(
        "attn_out_bias",
        Kind::OptionalFlag(|spec| &mut spec.attn_out_bias),
        Some("None"),
        "whether the attention's output has a bias; `None` uses the value of `bias`",
    ),
    key(
        "mlp_bias",
        Kind::OptionalFlag(|spec| &mut spec.mlp_bias),
        Some("None"),
        "whether the projections of the MLP have a bias; `None` uses the value of `bias`",
    ),
    key(
        "head_dense",
        Kind::Flag(|spec| &mut spec.head_dense),
        Some("false"),
        "whether a dense layer, the activation and a norm precede the head's matrix (BERT's masked words)",
    ),
    key(
        "head_bias",
        Kind::Flag(|spec| &mut spec.head_bias),
        Some("false"),
        "whether the head adds a bias to the logits (GPT-J, Phi, BERT)",
    ),
    key(
        "tie_embeddings",
        Kind::Flag(|spec| &mut spec.tie_embeddings),
        Some("true"),
        "whether the head shares the token embedding's weights",
    ),
    key(
        "token_types",
        Kind::OptionalSize(|spec| &mut spec.token_types),
        Some("None"),
        "number of token types (BERT has 2); the vector of type 0 is added to the embedding of every token",
    ),
    key(
        "embedding_norm",
        Kind::Flag(|spec| &mut spec.embedding_norm),
        Some("false"),
        "whether the stream begins with a norm of the embedding (BERT, BLOOM)",
    ),
    key(
        "first_attn_bare",
        Kind::Flag(|spec| &mut spec.first_attn_bare),
        Some("false"),
        "whether the first layer's attention has no norm before it (ModernBERT)",
    ),
    key(
        "embedding_scale",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.embedding_scale),
        Some("None"),
        "multiplies the token embedding (Gemma, Granite)",
    ),
    key(
        "residual_scale",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.residual_scale),
        Some("None"),
        "multiplies what attention and MLP add to the stream (Granite)",
    ),
    key(
        "logit_scale",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.logit_scale),
        Some("None"),
        "multiplies the logits (Granite, Cohere)",
    ),
    key(
        "logit_softcap",
        Kind::OptionalNumber(Range::Positive, |spec| &mut spec.logit_softcap),
        Some("None"),
        "`c` of `c tanh(logit / c)`, which bounds the logits (Gemma 2)",
    ),
    key(
        "dropout",
        Kind::Number(Range::Probability, |spec| &mut spec.dropout),
        Some("0.0"),
        "probability of dropping an activation in training",
    ),
    key(
        "names",
        Kind::Choice(&names::VARIANTS),
        Some("Closest"),
        "the names of tensors in safetensors files: those of a class of transformers",
    ),
];

const fn hidden(default: Option<&'static str>) -> Key {
    key(
        "hidden",
        Kind::Size(|spec| &mut spec.mlp.hidden),
        default,
        "width between the two projections",
    )
}

const fn activation(default: &'static str, doc: &'static str) -> Key {
    key("activation", Kind::Activation(|spec| &mut spec.mlp.activation), Some(default), doc)
}

/// The key called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The keys as a Markdown table, for the book and the documentation of `gpt_model!`.
pub fn reference() -> String {
    let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in &KEYS {
        let default = key.default.map_or("required".to_owned(), |d| format!("`{d}`"));
        table.push_str(&format!(
            "| `{}` | {} | {default} | {} |\n",
            key.name,
            values(key.kind),
            key.doc
        ));
    }
    table
}

fn values(kind: Kind) -> String {
    match kind {
        Kind::Size(_) => "size".to_owned(),
        Kind::OptionalSize(_) => "size, `None`".to_owned(),
        Kind::Number(..) => "number".to_owned(),
        Kind::OptionalNumber(..) => "number, `None`".to_owned(),
        Kind::Flag(_) => "`true`, `false`".to_owned(),
        Kind::OptionalFlag(_) => "`true`, `false`, `None`".to_owned(),
        Kind::Activation(_) => "activation".to_owned(),
        Kind::NumberPattern(..) => "number, `None`, or a list".to_owned(),
        Kind::SizePattern(..) => "size, `None`, or a list".to_owned(),
        Kind::Choice(variants) | Kind::ChoicePattern(_, variants) => {
            let variant = |v: &Variant| {
                let fields: Vec<&str> = v.fields.iter().map(|f| f.name).collect();
                if fields.is_empty() {
                    format!("`{}`", v.name)
                } else {
                    format!("`{} {{ {} }}`", v.name, fields.join(", "))
                }
            };
            variants.iter().map(variant).collect::<Vec<_>>().join(", ")
        }
    }
}

/// The type that documents the variants of `key` to editors: `kv_heads` would be `KvHeads`.
pub fn type_name(key: &str) -> String {
    let word = |word: &str| word[..1].to_uppercase() + &word[1..];
    key.split('_').map(word).collect()
}
