//! The input of the macro: the keys of a spec, as `--spec` takes them, and whole declarations.

use gpt_codegen::Diagnostic;

use crate::Target;
use crate::run::is_sentence;

/// The keys of one model, without `struct Name` and braces.
pub const KEYS: Target = Target {
    name: "spec",
    seeds: || {
        let known = SEEDS.map(str::to_owned).into_iter();
        let presets = gpt_codegen::presets::PRESETS.iter().map(|(_, body, _)| (*body).to_owned());
        known.chain(presets).map(String::into_bytes).collect()
    },
    words: WORDS,
    check: |place, input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
        match gpt_codegen::spec(text) {
            Ok(spec) => {
                if place.is_due(&format!("{spec:?}"), 8) {
                    gpt_codegen::plan::plan("it", &spec);
                }
                Ok(true)
            }
            Err(errors) => {
                check_errors(&errors)?;
                errors.iter().for_each(|error| drop(error.render(text)));
                Ok(false)
            }
        }
    },
};

/// The input of the macro: models, some of which use earlier ones as a base.
pub const DECLARATIONS: Target = Target {
    name: "declarations",
    seeds: || {
        let [first, second, third, ..] = SEEDS;
        let seeds = [
            format!("/// A model.\npub struct A {{ {first} }} struct B {{ layers: 2, ..A }}"),
            format!("pub(crate) struct C {{ {second} }}"),
            format!("struct D {{ {third} }} struct E {{ ..D }} struct F {{ embed: 64, ..E }}"),
        ];
        seeds.map(String::into_bytes).into()
    },
    words: WORDS,
    check: |_, input| {
        let Ok(text) = std::str::from_utf8(input) else { return Ok(false) };
        let Ok(tokens) = text.parse::<proc_macro2::TokenStream>() else { return Ok(false) };
        match gpt_codegen::specs(tokens) {
            Ok(_) => Ok(true),
            Err(errors) => check_errors(&errors).map(|()| false),
        }
    },
};

const SEEDS: [&str; 6] = [
    "vocab: 65, context: 64, layers: 4, heads: 4, embed: 128",
    "vocab: 1_000, context: 8 * 64, layers: 2, heads: 4, kv_heads: heads / 2, embed: 16 * heads, norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 4 * embed - 8, activation: Silu }, positions: Rope { theta: 1e4, dims: 8 }, bias: false",
    "vocab: 9, context: 4, layers: 3, heads: 1, embed: 4, mlp: Dense { hidden: 8, activation: |x| { let y = x * 0.5; y * (1.0 + tanh(y)) } }, window: [None, 2], mask: [Causal]",
    "layers: 6, dropout: 0.1, logit_softcap: 30.0, attention_scale: 1.0 / 8.0, ..GEMMA3_270M",
    "embed: 96, heads: 6, mlp: Dense { hidden: (2 + 2) * embed, activation: Gelu }, ..GPT2_SMALL",
    "block: Parallel { norms: 2 }, qkv_bias: true, tie_embeddings: false, positions: Rope { theta: [10_000.0, None], scaling: Yarn { factor: 4.0, original_context: 32 } }, vocab: 7, context: 128, layers: 2, heads: 2, embed: 8",
];

const WORDS: &[&str] = &[
    "vocab",
    "context",
    "layers",
    "heads",
    "kv_heads",
    "embed",
    "head_dim",
    "norm",
    "block",
    "mlp",
    "positions",
    "mask",
    "window",
    "bias",
    "dropout",
    "logit_softcap",
    "None",
    "true",
    "Rope",
    "Learned",
    "Sinusoidal",
    "..GPT2_SMALL",
    "..config(\"config.json\")",
    "..A",
    "struct G { ",
    "170141183460469231731687303715884105727",
    "4294967295",
    "65536",
    " / -1",
    " * ",
    " - ",
    " / 0",
    "-",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    ",",
    "|x| ",
    "|x: f32| ",
    "powi(x, 2147483647)",
    "powi(x, -2147483648)",
    "exp(exp(x))",
    "let y = x; ",
    "max(x, 0.0)",
    "1e400",
    "'",
    "\"",
    "r#",
    "#[",
    "//",
    "/*",
    "\u{e9}",
    "1u8",
    "0x1F",
    "1.0f32",
    "if x > 0.0 { x } else { 0.0 }",
    "as f32",
    "::",
    "((((((((((((((((",
    "| | | |",
    "- - - - - - - -",
];

fn check_errors(errors: &[Diagnostic]) -> Result<(), String> {
    if errors.is_empty() {
        return Err("it is refused without an error".to_owned());
    }
    errors.iter().try_for_each(|error| {
        is_sentence(error.message())?;
        is_sentence(&error.in_short().replace('\n', " "))
    })
}
