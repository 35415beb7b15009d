//! Rotary embeddings: `rope_theta` and `partial_rotary_factor` of a `config.json`, and the objects
//! `rope_scaling` (old files) and `rope_parameters` (new ones), which may repeat both
//! (`modeling_rope_utils.py` of transformers).

use gpt_plan::{Pattern, Rope, RopeScaling, Spec};
use serde_json::{Map, Value};

use crate::fields::{self, Fields};
use crate::layers;

/// The defaults of a class.
#[derive(Clone, Copy)]
pub struct Defaults {
    pub theta: f64,
    /// The share of a head's elements that rotate.
    pub partial: f64,
    /// The keys of `theta` and `partial` at the top level of the file.
    pub keys: [&'static str; 2],
}

/// The defaults of most classes.
pub const USUAL: Defaults =
    Defaults { theta: 10_000.0, partial: 1.0, keys: ["rope_theta", "partial_rotary_factor"] };

/// Reads the rotary embedding of all layers, or of the layers without a window if the layers with a
/// window have another one (see [`local`]). `context` is the model's, in tokens.
pub fn read(fields: &mut Fields<'_>, head_dim: u32, context: u32, defaults: Defaults) -> Rope {
    let [theta, partial] = defaults.keys.map(|key| fields.number(key));
    let outer = Parameters { theta, partial, scaling: RopeScaling::None };
    // Phi-3 has this key at the top level, where it takes precedence over the key of an object.
    let original = fields.size("original_max_position_embeddings");
    let objects = ["rope_scaling", "rope_parameters"];
    inner(fields, &objects, "full_attention", outer, (original, context)).rope(
        head_dim,
        defaults.theta,
        defaults.partial,
    )
}

/// Reads the rotary embedding of layers with a window. `key` is the key of their base at the top
/// level, `theta` the default of the base.
pub fn local(
    fields: &mut Fields<'_>,
    head_dim: u32,
    context: u32,
    key: &'static str,
    theta: f64,
) -> Rope {
    let own = fields.number(key);
    let outer = Parameters { theta: own, ..Parameters::default() };
    inner(fields, &["rope_parameters"], "sliding_attention", outer, (None, context))
        .rope(head_dim, theta, 1.0)
}

/// The rotary embedding of layers of two kinds: `local` for layers with a window, otherwise
/// `global`.
pub fn by_kind(global: Rope, local: &Rope, sliding: &[bool]) -> Rope {
    let of = |rope: &Rope| (rope.theta.of(0), rope.scaling.of(0));
    let of = sliding.iter().map(|sliding| if *sliding { of(local) } else { of(&global) });
    let (theta, scaling) = of.unzip();
    Rope { theta: layers::pattern(theta), scaling: layers::pattern(scaling), ..global }
}

/// Reads `objects` into `outer` for layers of `kind`. Each of them may have an object for each kind
/// of layer, or values for all layers.
fn inner(
    fields: &mut Fields<'_>,
    objects: &[&'static str],
    kind: &str,
    mut outer: Parameters,
    (original, context): (Option<u32>, u32),
) -> Parameters {
    for &key in objects {
        let by_kind = |values: &Map<String, Value>| {
            ["full_attention", "sliding_attention"].iter().any(|kind| values.contains_key(*kind))
        };
        match fields.value(key) {
            None => {}
            Some(Value::Object(values)) if by_kind(values) => match values.get(kind) {
                None | Some(Value::Null) => {}
                Some(Value::Object(values)) => {
                    let inner = parameters(fields, key, values, original, context);
                    outer.merge(fields, key, inner);
                }
                Some(other) => {
                    let (other, file) = (fields::text(other), fields.file());
                    fields.fail(format!(
                        "{kind} of {key} is {other} in {file}; it has to be an object"
                    ));
                }
            },
            Some(Value::Object(values)) => {
                let inner = parameters(fields, key, values, original, context);
                outer.merge(fields, key, inner);
            }
            Some(other) => {
                let (other, file) = (fields::text(other), fields.file());
                fields.fail(format!("{key} is {other} in {file}; it has to be an object"));
            }
        }
    }
    outer
}

/// The values of an object; `None` for absent ones.
#[derive(Clone, Copy, Default)]
struct Parameters {
    theta: Option<f64>,
    partial: Option<f64>,
    scaling: RopeScaling,
}

impl Parameters {
    /// The rotary embedding. `theta` and `partial` replace absent values.
    fn rope(self, head_dim: u32, theta: f64, partial: f64) -> Rope {
        let theta = self.theta.unwrap_or(theta);
        // transformers also truncates this number.
        let dims = (f64::from(head_dim) * self.partial.unwrap_or(partial)) as u32;
        Rope { scaling: Pattern::all(self.scaling), ..Rope::new(Pattern::all(Some(theta)), dims) }
    }

    /// Takes the values of the object `key`, which may not contradict those outside it.
    fn merge(&mut self, fields: &mut Fields<'_>, key: &str, inner: Parameters) {
        let file = fields.file();
        let pairs = [
            ("rope_theta", &mut self.theta, inner.theta),
            ("partial_rotary_factor", &mut self.partial, inner.partial),
        ];
        for (name, own, inner) in pairs {
            if let (Some(own), Some(inner)) = (*own, inner)
                && own != inner
            {
                fields.fail(format!(
                    "{name} is {own} in {file}, and {inner} in its {key}; remove one of them"
                ));
            }
            *own = inner.or(*own);
        }
        if inner.scaling != RopeScaling::None {
            self.scaling = inner.scaling;
        }
    }
}

/// Reads an object of rotary parameters.
fn parameters(
    fields: &mut Fields<'_>,
    key: &'static str,
    values: &Map<String, Value>,
    original: Option<u32>,
    context: u32,
) -> Parameters {
    // The keys of an object are checked like the file's.
    let mut within = Fields::new(key, String::new(), values);
    within.ignore(&["type"]);
    let name = match values.get("rope_type").filter(|kind| !kind.is_null()) {
        Some(_) => "rope_type",
        None => "type",
    };
    let kind = within.text(name).unwrap_or("default");
    within.ignore(&["rope_type"]);
    let theta = within.number("rope_theta");
    let partial = within.number("partial_rotary_factor");
    // Without the key, the context was not extended.
    let mut original_context =
        || original.or(within.size("original_max_position_embeddings")).unwrap_or(context);
    let scaling = match kind {
        "default" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: factor(&mut within) },
        "llama3" => RopeScaling::Llama3 {
            original_context: original_context(),
            factor: factor(&mut within),
            low_freq_factor: needed(&mut within, "low_freq_factor"),
            high_freq_factor: needed(&mut within, "high_freq_factor"),
        },
        "yarn" => {
            let original_context = original_context();
            let extended = f64::from(context) / f64::from(original_context);
            let factor = within.number("factor").unwrap_or(extended);
            let scales = (within.number("mscale"), within.number("mscale_all_dim"));
            let attention_factor = within.number("attention_factor").or(match scales {
                (Some(over), Some(under)) => {
                    Some(magnitude(factor, over) / magnitude(factor, under))
                }
                _ => None,
            });
            RopeScaling::Yarn {
                factor,
                original_context,
                beta_fast: within.number("beta_fast").unwrap_or(32.0),
                beta_slow: within.number("beta_slow").unwrap_or(1.0),
                attention_factor,
                truncate: within.flag("truncate").unwrap_or(true),
            }
        }
        other => {
            let (kind, file) = (fields::short(other), fields.file());
            fields.fail(format!("rotary scaling of type {kind} in {file} is not supported"));
            return Parameters { theta, partial, ..Parameters::default() };
        }
    };
    if let Err(problems) = within.finish(Spec::default()) {
        problems.into_iter().for_each(|problem| fields.fail(problem));
    }
    Parameters { theta, partial, scaling }
}

/// YaRN's multiplier of rotated queries and keys for contexts that are `factor` times as long.
fn magnitude(factor: f64, scale: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * scale * factor.ln() + 1.0 }
}

fn factor(within: &mut Fields<'_>) -> f64 {
    needed(within, "factor")
}

/// A number that the object must have.
fn needed(within: &mut Fields<'_>, key: &'static str) -> f64 {
    if within.value(key).is_none() {
        let file = within.file();
        within.fail(format!("{file} has no {key}"));
    }
    within.number(key).unwrap_or(1.0)
}
