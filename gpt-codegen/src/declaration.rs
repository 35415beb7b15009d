//! Writes a spec in the language of `gpt_model!`.
//!
//! A row of the table of keys has functions that access the field that its key sets. Values are
//! read through these functions, so nothing here knows a key by its name. A key is left out if the
//! spec is the same without it.

use gpt_plan::{Activation, Formula, Node, Spec};

use crate::keys::{KEYS, Key, Kind};
use crate::{parse, resolve};

/// The keys of `spec` with values other than their defaults, as `gpt_model!` reads them. Lines have
/// at most 92 columns, so that they have at most 100 when they are indented. A key with a longer
/// value has a line of its own.
///
/// ```
/// let text = "vocab: 65, context: 64, layers: 4, heads: 4, embed: 128, \
///     norm: RmsNorm { eps: 1e-6 }, bias: false";
/// let spec = gpt_codegen::spec(text).unwrap();
/// assert_eq!(gpt_codegen::declaration(&spec).replace('\n', " "), text);
/// ```
pub fn declaration(spec: &Spec) -> String {
    let values = declared_values(spec);
    let mut text = String::new();
    let mut column = 0;
    for (i, (key, value)) in values.iter().enumerate() {
        let comma = if i + 1 == values.len() { "" } else { "," };
        let entry = format!("{key}: {value}{comma}");
        if column > 0 && column + 1 + entry.len() > WIDTH {
            text.push('\n');
            column = 0;
        } else if column > 0 {
            text.push(' ');
            column += 1;
        }
        text.push_str(&entry);
        column += entry.len();
    }
    text
}

/// The most columns of a line with several keys: 100, less an indentation of eight.
const WIDTH: usize = 92;

/// A key with its value, or with the values of a list that repeats over the layers.
#[derive(Clone)]
struct Entry {
    key: &'static Key,
    values: Vec<Text>,
}

/// A value, or the name of a variant and its fields.
#[derive(Clone)]
struct Text {
    text: String,
    fields: Vec<Entry>,
}

impl Entry {
    fn text(&self) -> String {
        format!("{}: {}", self.key.name, self.value())
    }

    fn value(&self) -> String {
        let values: Vec<String> = self.values.iter().map(Text::text).collect();
        match &values[..] {
            [value] => value.clone(),
            values => format!("[{}]", values.join(", ")),
        }
    }
}

impl Text {
    fn text(&self) -> String {
        let fields: Vec<String> = self.fields.iter().map(Entry::text).collect();
        match &fields[..] {
            [] => self.text.clone(),
            fields => format!("{} {{ {} }}", self.text, fields.join(", ")),
        }
    }
}

/// Every key with its value in `spec`, as a declaration would write it.
pub fn key_values(spec: &Spec) -> Vec<(&'static str, String)> {
    entries(&KEYS, spec).iter().map(|entry| (entry.key.name, entry.value())).collect()
}

/// The keys that a [`declaration`] of `spec` has, and their values.
pub fn declared_values(spec: &Spec) -> Vec<(&'static str, String)> {
    let mut entries = entries(&KEYS, spec);
    shorten(&mut entries, spec);
    entries.iter().map(|entry| (entry.key.name, entry.value())).collect()
}

/// An entry for each of `keys`, with its values in `spec`.
fn entries(keys: &'static [Key], spec: &Spec) -> Vec<Entry> {
    let mut copy = spec.clone();
    keys.iter().map(|key| Entry { key, values: texts(key.kind, &mut copy) }).collect()
}

/// A size with its digits in groups, or `None`.
fn optional_size(size: Option<u32>) -> String {
    size.map_or("None".to_owned(), |size| grouped(&size.to_string()))
}

/// The values of a key, read through the functions that otherwise set the fields of a spec.
fn texts(kind: Kind, spec: &mut Spec) -> Vec<Text> {
    let text = match kind {
        Kind::Size(field) => grouped(&field(spec).to_string()),
        Kind::OptionalSize(field) => optional_size(*field(spec)),
        Kind::Number(_, field) => number(*field(spec)),
        Kind::OptionalNumber(_, field) => optional(*field(spec)),
        Kind::Flag(field) => field(spec).to_string(),
        Kind::OptionalFlag(field) => field(spec).map_or("None".to_owned(), |flag| flag.to_string()),
        Kind::Activation(field) => activation(field(spec)),
        Kind::NumberPattern(_, field) => {
            let values = field(spec).0.iter();
            return values.map(|v| Text { text: optional(*v), fields: Vec::new() }).collect();
        }
        Kind::SizePattern(field) => {
            let values = field(spec).0.iter();
            return values.map(|v| Text { text: optional_size(*v), fields: Vec::new() }).collect();
        }
        Kind::ChoicePattern(remove_last, variants) => {
            let mut rest = spec.clone();
            let mut texts = Vec::new();
            while let Some(variant) = variants.iter().find(|variant| (variant.is)(&rest)) {
                let fields = entries(variant.fields, &rest);
                texts.insert(0, Text { text: variant.name.to_owned(), fields });
                remove_last(&mut rest);
            }
            return texts;
        }
        Kind::Choice(variants) => {
            let variant = variants.iter().find(|variant| (variant.is)(spec));
            let variant = variant.expect("a spec has one of the variants");
            let fields = entries(variant.fields, spec);
            return vec![Text { text: variant.name.to_owned(), fields }];
        }
    };
    vec![Text { text, fields: Vec::new() }]
}

/// Removes every entry without which the spec is the same, whole keys before their fields.
fn shorten(entries: &mut Vec<Entry>, spec: &Spec) {
    let mut at = 0;
    loop {
        let mut skip = Some(at);
        let shorter = without(entries, &mut skip);
        if skip.is_some() {
            return;
        }
        if read(&shorter).as_ref() == Some(spec) {
            *entries = shorter;
        } else {
            at += 1;
        }
    }
}

/// Copies the entries, and leaves out one that is optional: the one with `skip` optional entries
/// before it. The fields of a key are counted after the key. Sets `skip` to `None` if an entry was
/// left out.
fn without(entries: &[Entry], skip: &mut Option<usize>) -> Vec<Entry> {
    let mut rest = Vec::new();
    for entry in entries {
        if entry.key.default.is_some() {
            match skip {
                Some(0) => {
                    *skip = None;
                    continue;
                }
                Some(n) => *n -= 1,
                None => {}
            }
        }
        let values = entry.values.iter();
        let values = values
            .map(|value| Text { text: value.text.clone(), fields: without(&value.fields, skip) });
        rest.push(Entry { key: entry.key, values: values.collect() });
    }
    rest
}

/// The spec of some entries, not yet checked.
fn read(entries: &[Entry]) -> Option<Spec> {
    let entries: Vec<String> = entries.iter().map(Entry::text).collect();
    let text = format!("struct Spec {{ {} }}", entries.join(", "));
    let (declared, errors) = parse::declarations(text.parse().ok()?);
    match (&declared[..], &errors[..]) {
        ([declared], []) => {
            let (resolved, errors) = resolve::resolve(declared, &resolve::Known::default());
            resolved.filter(|_| errors.is_empty()).map(|(_, spec)| spec)
        }
        _ => None,
    }
}

fn optional(value: Option<f64>) -> String {
    value.map_or("None".to_owned(), number)
}

fn number(x: f64) -> String {
    let text = format!("{x:?}");
    match text.split_once('.') {
        Some((whole, rest)) => format!("{}.{rest}", grouped(whole)),
        None => text,
    }
}

/// Digits in groups of three: `50_257`.
fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn activation(activation: &Activation) -> String {
    match (activation.name(), activation) {
        (Some(name), _) => name.to_owned(),
        (None, Activation::Custom { value, .. }) => closure(value),
        (None, _) => unreachable!("every other activation has a name"),
    }
}

/// A formula as a closure, with a `let` for each operation.
fn closure(formula: &Formula) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut lets = String::new();
    for (i, node) in formula.nodes.iter().enumerate() {
        let a = |a: u16| texts[usize::from(a)].as_str();
        let text = match *node {
            Node::X => "x".to_owned(),
            Node::Const(c) if c < 0.0 => format!("(-{:?})", -c),
            Node::Const(c) => format!("{c:?}"),
            Node::Add(x, y) => format!("{} + {}", a(x), a(y)),
            Node::Sub(x, y) => format!("{} - {}", a(x), a(y)),
            Node::Mul(x, y) => format!("{} * {}", a(x), a(y)),
            Node::Div(x, y) => format!("{} / {}", a(x), a(y)),
            Node::Neg(x) => format!("-{}", a(x)),
            Node::Exp(x) => format!("exp({})", a(x)),
            Node::ExpM1(x) => format!("exp({}) - 1.0", a(x)),
            Node::Ln(x) => format!("ln({})", a(x)),
            Node::Sigmoid(x) => format!("1.0 / (1.0 + exp(-{}))", a(x)),
            Node::Softplus(x) => format!("ln(1.0 + exp({}))", a(x)),
            Node::Sqrt(x) => format!("sqrt({})", a(x)),
            Node::Tanh(x) => format!("tanh({})", a(x)),
            Node::Sin(x) => format!("sin({})", a(x)),
            Node::Cos(x) => format!("cos({})", a(x)),
            Node::Abs(x) => format!("abs({})", a(x)),
            Node::Max(x, y) => format!("max({}, {})", a(x), a(y)),
            Node::Min(x, y) => format!("min({}, {})", a(x), a(y)),
            Node::Powi(x, n) => format!("powi({}, {n})", a(x)),
            Node::Greater(..) | Node::Select(..) => unreachable!("only derivatives have these"),
        };
        let atom = matches!(node, Node::X | Node::Const(_));
        let last = i + 1 == formula.nodes.len();
        texts.push(if atom || last {
            text
        } else {
            lets.push_str(&format!("let v{i} = {text}; "));
            format!("v{i}")
        });
    }
    let value = texts.last().expect("a formula is never empty");
    if lets.is_empty() { format!("|x| {value}") } else { format!("|x| {{ {lets}{value} }}") }
}

#[cfg(test)]
mod tests {
    use gpt_plan::{Positions, Rope};

    use super::*;
    use crate::presets::{self, PRESETS};

    #[track_caller]
    fn spec(text: &str) -> Spec {
        crate::spec(text).unwrap_or_else(|errors| panic!("{text}: {errors:?}"))
    }

    #[test]
    fn a_declaration_declares_the_same_spec() {
        const SIZES: &str = "vocab: 65, context: 32, layers: 4, heads: 4, embed: 64";
        let rest = [
            "kv_heads: 2, head_dim: 32, tie_embeddings: false, logit_softcap: 30.0, dropout: 0.1",
            "norm: RmsNorm { eps: 1e-6, affine: false }, qkv_bias: true, bias: false",
            "norm: LayerNorm { unit_offset: true }, block: PostNorm, positions: Sinusoidal",
            "mlp: Gated { hidden: 100 }, positions: Rope { theta: [10_000.0, None, 1e6] }",
            "mlp: Dense { activation: ReluSquared }, mask: [Causal, Causal, Bidirectional]",
            "mask: Bidirectional, positions: Rope",
            "positions: Rope { dims: 8, pairs: Interleaved, scaling: Linear { factor: 4.0 } }",
            "positions: Rope { scaling: [None, Llama3 { factor: 8.0, original_context: 16 }] }",
            "positions: Rope { scaling: Yarn { factor: 4.0, original_context: 8, beta_slow: 2.0 } }",
            "attention_scale: 0.5, attention_softcap: 50.0, window: [8, None], mlp_bias: false",
            "norm: LayerNorm { bias: false }, embedding_scale: 8.0, logit_scale: 0.25",
        ];
        for rest in rest {
            let spec = spec(&format!("{SIZES}, {rest}"));
            let text = declaration(&spec);
            assert_eq!(self::spec(&text), spec, "{text}");
            assert!(text.lines().all(|line| line.len() <= 100), "{text}");
        }
        for (name, text, _) in PRESETS {
            let spec = spec(text);
            assert_eq!(self::spec(&declaration(&spec)), spec, "{name}");
        }
    }

    #[test]
    fn only_what_differs_from_the_defaults_is_written() {
        for (_, text, _) in PRESETS {
            // Presets repeat some defaults of variants.
            let text = text.replace(", activation: Silu", "").replace(" { eps: 1e-5 }", "");
            assert_eq!(declaration(&spec(&text)).replace('\n', " "), text.replace("  ", " "));
        }
    }

    /// The compiler accepts the specs of files, and writes them as declarations.
    #[test]
    fn specs_of_files_are_written() {
        for (file, expected) in [
            (r#"{ "model_type": "gpt2" }"#, presets::find("GPT2_SMALL").unwrap()),
            (
                r#"{ "model_type": "openai-gpt", "afn": "relu", "n_layer": 3, "bias": false }"#,
                "vocab: 40_478, context: 512, layers: 3, heads: 12, embed: 768, block: PostNorm, \
                 mlp: Dense { activation: Relu }, bias: false",
            ),
            (
                r#"{ "model_type": "llama", "num_hidden_layers": 8, "hidden_act": "relu2",
                     "final_logit_softcapping": 30.0, "head_dim": 64 }"#,
                "vocab: 32_000, context: 2_048, layers: 8, heads: 32, embed: 4_096, head_dim: 64, \
                 norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 11_008, activation: ReluSquared }, \
                 positions: Rope, bias: false, tie_embeddings: false, logit_softcap: 30.0",
            ),
            (
                r#"{ "model_type": "qwen2", "rope_theta": 1e6, "hidden_size": 896,
                     "num_attention_heads": 14, "num_key_value_heads": 2, "num_hidden_layers": 2,
                     "intermediate_size": 4864, "tie_word_embeddings": true }"#,
                "vocab: 151_936, context: 32_768, layers: 2, heads: 14, kv_heads: 2, embed: 896, \
                 norm: RmsNorm { eps: 1e-6 }, mlp: Gated { hidden: 4_864 }, \
                 positions: Rope { theta: 1_000_000.0 }, bias: false, qkv_bias: true",
            ),
        ] {
            let spec = gpt_config::description(&serde_json::from_str(file).unwrap()).unwrap();
            let text = declaration(&spec);
            assert_eq!(text.replace('\n', " "), expected);
            assert_eq!(self::spec(&text), spec);
        }
    }

    #[test]
    fn closures_are_written_as_closures() {
        for closure in [
            "|x| x",
            "|x| x / (1.0 + exp(-1.702 * x))",
            "|x| { let a = powi(max(x, -0.5), 3); a * tanh(ln(1.0 + exp(x))) - sin(abs(a)) }",
            "|x| min(exp(x) - 1.0, sqrt(x * x + 1.0)) - cos(x) / 2.0",
        ] {
            let keys = "vocab: 65, context: 32, layers: 4, heads: 4, embed: 64";
            let spec = spec(&format!("{keys}, mlp: Dense {{ activation: {closure} }}"));
            let text = declaration(&spec);
            let again = self::spec(&text);
            let (Activation::Custom { value: a, .. }, Activation::Custom { value: b, .. }) =
                (&spec.mlp.activation, &again.mlp.activation)
            else {
                panic!("{text}");
            };
            for x in [-20.0, -1.0, 0.0, 0.3, 5.0] {
                assert!((a.eval(x) - b.eval(x)).abs() < 1e-12, "{text}");
            }
        }
    }

    /// A spec of a file may have any numbers.
    #[test]
    fn specs_that_break_the_rules_are_written_and_refused() {
        let good = spec("vocab: 65, context: 32, layers: 4, heads: 4, embed: 64");
        let bad = Spec { kv_heads: 3, ..good.clone() };
        assert!(declaration(&bad).contains("kv_heads: 3"));
        let found = crate::check_spec(&bad);
        assert_eq!(found, ["`heads` has to be a multiple of `kv_heads` (4 and 3)"]);
        let huge = Spec { vocab: u32::MAX, embed: u32::MAX, ..good.clone() };
        assert!(!crate::check_spec(&huge).is_empty());
        assert!(crate::check_spec(&good).is_empty());
        let deep = Spec { layers: u32::MAX, ..good };
        let found = crate::check_spec(&deep);
        assert_eq!(found, ["the model has too many layers (layers is 4294967295)"]);
    }

    /// A spec that passes the checks has a plan, whatever its numbers are.
    #[test]
    fn every_checked_spec_has_a_plan() {
        const SIZES: [u32; 12] =
            [1, 2, 3, 8, 64, 100, 256, 1_000, 65_536, 1 << 20, 1 << 28, u32::MAX];
        let mut state = 1_u64;
        let mut random = |n: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % n
        };
        let mut planned = 0;
        for case in 0..300 {
            // Most sizes are small, so that some specs pass.
            let mut size = |most: usize| match random(8) {
                0 => SIZES[random(SIZES.len())],
                _ => SIZES[random(most)],
            };
            let head_dim = size(7);
            let kv_heads = size(3);
            let mut spec = spec("vocab: 65, context: 32, layers: 4, heads: 4, embed: 64");
            spec.vocab = size(12);
            spec.context = size(9);
            spec.layers = size(9);
            spec.kv_heads = kv_heads;
            spec.heads = kv_heads.saturating_mul(size(3));
            spec.embed = size(9);
            spec.head_dim = head_dim;
            spec.mlp.hidden = size(9);
            spec.mlp.gated = case % 2 == 0;
            if case % 3 == 0 {
                let theta = gpt_plan::Pattern::all(Some(10_000.0));
                spec.positions = Positions::Rope(Rope::new(theta, spec.head_dim));
            }
            if crate::check_spec(&spec).is_empty() {
                let plan = crate::plan::plan("X", &spec);
                assert!(plan.params() > 0 && plan.flops_per_token() > 0);
                planned += 1;
            }
        }
        assert!(planned > 10, "{planned} specs passed");
    }

    #[test]
    fn errors_are_shown_in_the_text() {
        let text = "vocab: 65, context: 32,\n  layers: 4, heads: 4, embd: 64";
        let errors = crate::spec(text).unwrap_err();
        let unknown = errors.iter().find(|error| error.message().contains("embd")).unwrap();
        let expected = "unknown key `embd`
  |
2 |   layers: 4, heads: 4, embd: 64
  |                        ^^^^
  = help: did you mean `embed`?";
        assert_eq!(unknown.render(text), expected);
        // No token of the text is to blame for a key that is missing.
        let missing = errors.iter().find(|error| error.message().starts_with("missing")).unwrap();
        assert!(missing.render(text).starts_with("missing key `embed`\nhelp: "));
        // Keys with values are checked beside the key that does not exist. An error in a default
        // points at the divisor.
        let text = "vocab: 65, context: 32, layers: 4, heads: 4, embed: 64, kv_heads: 3, embd: 1";
        let errors = crate::spec(text).unwrap_err();
        let messages: Vec<_> = errors.iter().map(crate::Diagnostic::message).collect();
        assert!(messages[0].contains("embd") && messages[1].contains("kv_heads"), "{messages:?}");
        let text = "vocab: 65, context: 32, layers: 4, heads: 3, embed: 64";
        let errors = crate::spec(text).unwrap_err();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].render(text).contains(&format!("\n  | {}^", " ".repeat(42))));
        for text in ["vocab: 65 }, struct B {", "vocab: (", "", "}", "\"", "vocab 65"] {
            let errors = crate::spec(text).unwrap_err();
            assert!(errors.iter().all(|error| !error.render(text).is_empty()), "{text}");
        }
    }
}
