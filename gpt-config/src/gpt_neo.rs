//! GPT-Neo: `GPTNeoConfig` of transformers.

use gpt_plan::{Activation, Mlp, Norm, NormKind, Positions, Spec, TensorNames};
use serde_json::Value;

use crate::fields::{self, Fields};
use crate::gpt2::{HARMLESS, width_of_heads};
use crate::layers;

/// Reads a `config.json`. Defaults are those of `GPTNeoConfig`.
pub fn config(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let embed = fields.size("hidden_size").unwrap_or(2_048);
    let heads = fields.size("num_heads").unwrap_or(16);
    let layers = fields.layers("num_layers").unwrap_or(24);
    let context = fields.size("max_position_embeddings").unwrap_or(2_048);
    let window = fields.size("window_size").unwrap_or(256);
    let local = local_layers(fields, layers);
    fields.ignore(&HARMLESS);
    fields.ignore(&["attention_dropout", "embed_dropout", "resid_dropout", "classifier_dropout"]);
    // This is the list that `attention_types` abbreviates.
    fields.ignore(&["attention_layers"]);
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(50_257),
        context,
        layers,
        heads,
        kv_heads: heads,
        embed,
        head_dim: width_of_heads(fields, ("hidden_size", embed), ("num_heads", heads)),
        norm: Norm {
            kind: NormKind::Layer,
            eps: fields.number("layer_norm_epsilon").unwrap_or(1e-5),
            ..Norm::default()
        },
        mlp: Mlp {
            gated: false,
            hidden: fields.size("intermediate_size").unwrap_or(embed.saturating_mul(4)),
            activation: fields.activation("activation_function", Activation::GeluTanh),
        },
        positions: Positions::Learned,
        window: layers::windows(fields, layers, Some(window), context, |n| local[n as usize]),
        // Products of queries and keys are not scaled.
        attention_scale: Some(1.0),
        bias: true,
        qkv_bias: Some(false),
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        names: TensorNames::GptNeo,
        ..Spec::default()
    }
}

/// Whether each layer has a window. `attention_types` is a list of pairs: the kinds of some layers,
/// and how often they repeat.
fn local_layers(fields: &mut Fields<'_>, layers: u32) -> Vec<bool> {
    let layers = layers as usize;
    let Some(value) = fields.value("attention_types") else {
        return (0..layers).map(|layer| layer % 2 == 1).collect();
    };
    let kinds = expanded(value, layers).filter(|kinds| kinds.len() == layers);
    kinds.unwrap_or_else(|| {
        let (found, file) = (fields::text(value), fields.file());
        fields.fail(format!(
            "attention_types is {found} in {file}; it has to list global or local for each of \
             {layers} layers"
        ));
        vec![false; layers]
    })
}

fn expanded(value: &Value, layers: usize) -> Option<Vec<bool>> {
    let mut all = Vec::new();
    for pair in value.as_array()? {
        let [kinds, times] = pair.as_array()?.as_slice() else { return None };
        let local = |kind: &Value| match kind.as_str()? {
            "global" => Some(false),
            "local" => Some(true),
            _ => None,
        };
        let kinds = kinds.as_array()?.iter().map(local).collect::<Option<Vec<bool>>>()?;
        let times = usize::try_from(times.as_u64()?).ok()?;
        // A file cannot make the list longer than the model.
        if kinds.len().checked_mul(times).is_none_or(|more| more > layers - all.len()) {
            return None;
        }
        all.extend(kinds.repeat(times));
    }
    Some(all)
}
