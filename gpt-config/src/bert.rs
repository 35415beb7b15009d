//! Encoders: BERT, RoBERTa and DistilBERT (`BertConfig`, `RobertaConfig` and `DistilBertConfig` of
//! transformers).
//!
//! Every token attends to every other, and each half of a block ends with a norm. The spec has the
//! head for masked words if `architectures` names the class that has it (`BertForMaskedLM`), and
//! otherwise describes the encoder alone (`BertModel`).

use gpt_plan::{Activation, Block, Mask, Mlp, Norm, NormKind, Pattern, Positions};
use gpt_plan::{Spec, TensorNames};

use crate::fields::Fields;
use crate::gpt2::width_of_heads;

/// The number of rows at the start of RoBERTa's table of positions that no position uses: row 1,
/// whose number is the padding token's, and row 0.
const ROBERTA_UNUSED: u32 = 2;

/// The sizes of an encoder. Each class has its own keys for them.
struct Sizes {
    /// The default of `vocab_size`.
    vocab: u32,
    layers: u32,
    heads: u32,
    embed: u32,
    head_dim: u32,
    hidden: u32,
}

/// Reads the `config.json` of a BERT. Defaults are those of `BertConfig`.
pub fn bert(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let spec = keys_of_bert(fields, 30_522);
    let head = masked_words(fields, "BertForMaskedLM");
    Spec { names: TensorNames::Bert, head_dense: head, head_bias: head, ..spec }
}

/// Reads the `config.json` of a RoBERTa, which has BERT's keys. Defaults are those of
/// `RobertaConfig`.
pub fn roberta(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    // The row of the first position is the number of the padding token plus one.
    fields.only("pad_token_id", 1);
    let spec = keys_of_bert(fields, 50_265);
    if spec.context <= ROBERTA_UNUSED {
        let file = fields.file();
        fields.fail(format!(
            "max_position_embeddings is {} in {file}; a RoBERTa has more than {ROBERTA_UNUSED}",
            spec.context
        ));
    }
    let context = spec.context.saturating_sub(ROBERTA_UNUSED).max(1);
    let head = masked_words(fields, "RobertaForMaskedLM");
    if head && spec.mlp.activation != Activation::Gelu {
        let file = fields.file();
        fields.fail(format!(
            "hidden_act of {file} is not gelu, but the head for masked words needs it"
        ));
    }
    Spec { context, names: TensorNames::Roberta, head_dense: head, head_bias: head, ..spec }
}

/// Reads the `config.json` of a DistilBERT. Defaults are those of `DistilBertConfig`.
pub fn distilbert(fields: &mut Fields<'_>, _model_type: &str) -> Spec {
    let (embed, heads) = (fields.size("dim").unwrap_or(768), fields.size("n_heads").unwrap_or(12));
    // These keys set the initial table of positions, dropout, and heads for other tasks, or come
    // from old files.
    fields.ignore(&["sinusoidal_pos_embds", "tie_weights_", "qa_dropout", "seq_classif_dropout"]);
    fields.ignore(&["dropout", "attention_dropout", "output_past"]);
    let sizes = Sizes {
        vocab: 30_522,
        layers: fields.layers("n_layers").unwrap_or(6),
        heads,
        embed,
        head_dim: width_of_heads(fields, ("dim", embed), ("n_heads", heads)),
        hidden: fields.size("hidden_dim").unwrap_or(3_072),
    };
    let context = fields.size("max_position_embeddings").unwrap_or(512);
    let activation = fields.activation("activation", Activation::Gelu);
    // The class has no key for the epsilon.
    let spec = encoder(fields, &sizes, context, activation, 1e-12);
    let head = masked_words(fields, "DistilBertForMaskedLM");
    Spec { names: TensorNames::DistilBert, head_dense: head, head_bias: head, ..spec }
}

/// Whether the file names the class `name`, which has the head for masked words.
pub fn masked_words(fields: &mut Fields<'_>, name: &str) -> bool {
    let classes = fields.value("architectures").and_then(|value| value.as_array());
    classes.is_some_and(|classes| classes.iter().any(|class| class.as_str() == Some(name)))
}

/// Reads the spec by BERT's keys. `vocab` is the default of `vocab_size`. The context is the number
/// of rows of the table of positions.
fn keys_of_bert(fields: &mut Fields<'_>, vocab: u32) -> Spec {
    fields.only("position_embedding_type", "absolute");
    fields.only("is_decoder", false);
    fields.ignore(&["attention_probs_dropout_prob", "hidden_dropout_prob", "classifier_dropout"]);
    fields.ignore(&["pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers"]);
    fields.ignore(&["pooler_size_per_head", "pooler_type", "directionality"]);
    let embed = fields.size("hidden_size").unwrap_or(768);
    let heads = fields.size("num_attention_heads").unwrap_or(12);
    let sizes = Sizes {
        vocab,
        layers: fields.layers("num_hidden_layers").unwrap_or(12),
        heads,
        embed,
        head_dim: width_of_heads(fields, ("hidden_size", embed), ("num_attention_heads", heads)),
        hidden: fields.size("intermediate_size").unwrap_or(3_072),
    };
    let context = fields.size("max_position_embeddings").unwrap_or(512);
    let activation = fields.activation("hidden_act", Activation::Gelu);
    let eps = fields.number("layer_norm_eps").unwrap_or(1e-12);
    let token_types = Some(fields.size("type_vocab_size").unwrap_or(2));
    Spec { token_types, ..encoder(fields, &sizes, context, activation, eps) }
}

fn encoder(
    fields: &mut Fields<'_>,
    sizes: &Sizes,
    context: u32,
    activation: Activation,
    eps: f64,
) -> Spec {
    Spec {
        vocab: fields.size("vocab_size").unwrap_or(sizes.vocab),
        context,
        layers: sizes.layers,
        heads: sizes.heads,
        kv_heads: sizes.heads,
        embed: sizes.embed,
        head_dim: sizes.head_dim,
        norm: Norm { kind: NormKind::Layer, eps, ..Norm::default() },
        block: Block::PostNorm,
        mlp: Mlp { gated: false, hidden: sizes.hidden, activation },
        positions: Positions::Learned,
        mask: Pattern::all(Mask::Bidirectional),
        bias: true,
        tie_embeddings: fields.flag("tie_word_embeddings").unwrap_or(true),
        embedding_norm: true,
        ..Spec::default()
    }
}
