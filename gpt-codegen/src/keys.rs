//! The table of keys. Parsing, defaults, suggestions and the book's reference all read it.

/// The kind of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A size: a positive integer, or an expression of other sizes.
    Size,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// One of several variants, which may have fields.
    Choice(&'static [Variant]),
    /// A variant, or a closure.
    Activation,
}

/// A variant of a choice.
#[derive(Debug, PartialEq, Eq)]
pub struct Variant {
    pub name: &'static str,
    pub fields: &'static [Key],
}

/// A key of a spec, or a field of a variant.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    /// As a spec would write it; none if the key is required.
    pub default: Option<&'static str>,
    pub doc: &'static str,
}

const fn key(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

const fn plain(name: &'static str) -> Variant {
    Variant { name, fields: &[] }
}

const EPS: [Key; 1] = [key(
    "eps",
    Kind::Number,
    Some("1e-5"),
    "added to the variance",
)];

/// Every key, in the order of the documentation.
pub static KEYS: [Key; 15] = [
    key("vocab", Kind::Size, None, "number of tokens"),
    key("context", Kind::Size, None, "longest sequence, in tokens"),
    key("layers", Kind::Size, None, "number of transformer blocks"),
    key("heads", Kind::Size, None, "query heads in each attention"),
    key(
        "kv_heads",
        Kind::Size,
        Some("heads"),
        "key and value heads; fewer than `heads` is grouped-query attention",
    ),
    key("embed", Kind::Size, None, "width of the residual stream"),
    key(
        "head_dim",
        Kind::Size,
        Some("embed / heads"),
        "width of a head, at most 256",
    ),
    key(
        "norm",
        Kind::Choice(&[
            Variant {
                name: "LayerNorm",
                fields: &EPS,
            },
            Variant {
                name: "RmsNorm",
                fields: &EPS,
            },
        ]),
        Some("LayerNorm { eps: 1e-5 }"),
        "normalisation of the residual stream",
    ),
    key(
        "block",
        Kind::Choice(&[plain("PreNorm"), plain("PostNorm")]),
        Some("PreNorm"),
        "norm before attention and MLP (GPT-2), or after their residuals (the first GPT)",
    ),
    key(
        "mlp",
        Kind::Choice(&[
            Variant {
                name: "Dense",
                fields: &[
                    key(
                        "hidden",
                        Kind::Size,
                        Some("4 * embed"),
                        "width between the two projections",
                    ),
                    key(
                        "activation",
                        Kind::Activation,
                        Some("GeluTanh"),
                        "the nonlinearity",
                    ),
                ],
            },
            Variant {
                name: "Gated",
                fields: &[
                    key("hidden", Kind::Size, None, "width between the projections"),
                    key(
                        "activation",
                        Kind::Activation,
                        Some("Silu"),
                        "the nonlinearity of the gate",
                    ),
                ],
            },
        ]),
        Some("Dense { hidden: 4 * embed, activation: GeluTanh }"),
        "the feed-forward half of a block",
    ),
    key(
        "positions",
        Kind::Choice(&[
            plain("Learned"),
            plain("Sinusoidal"),
            Variant {
                name: "Rope",
                fields: &[key(
                    "theta",
                    Kind::Number,
                    Some("10_000.0"),
                    "base of the rotary frequencies",
                )],
            },
        ]),
        Some("Learned"),
        "how the model encodes positions",
    ),
    key(
        "mask",
        Kind::Choice(&[plain("Causal"), plain("Bidirectional")]),
        Some("Causal"),
        "whether a token attends to earlier tokens only, or to all",
    ),
    key(
        "bias",
        Kind::Flag,
        Some("true"),
        "whether linear layers and LayerNorm have a bias",
    ),
    key(
        "tie_embeddings",
        Kind::Flag,
        Some("true"),
        "whether the head shares the token embedding's weights",
    ),
    key(
        "dropout",
        Kind::Number,
        Some("0.0"),
        "probability of dropping an activation in training",
    ),
];

/// The key called `name`.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// The reference of the book: a Markdown table.
pub fn reference() -> String {
    let mut table = String::from("| key | value | default | meaning |\n|---|---|---|---|\n");
    for key in &KEYS {
        let default = key
            .default
            .map_or("required".to_owned(), |d| format!("`{d}`"));
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
        Kind::Size => "size".to_owned(),
        Kind::Number => "number".to_owned(),
        Kind::Flag => "`true`, `false`".to_owned(),
        Kind::Activation => "activation".to_owned(),
        Kind::Choice(variants) => {
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
