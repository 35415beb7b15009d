//! The names of tensors in each class of transformers: those of the modules in its `modeling_*.py`.

/// The names of one class. The names in a layer follow the prefix `layer`. A tensor that the class
/// does not have gets its name from Llama, or from the class on which the table is based.
pub struct Table {
    pub token_embedding: &'static str,
    pub positions: &'static str,
    /// Rows of the table of positions before the row of the first position.
    pub unused_positions: u32,
    pub token_types: &'static str,
    pub embedding_norm: &'static str,
    pub final_norm: &'static str,
    pub head: &'static str,
    /// The name of the head's bias, if it differs from that of the head's matrix.
    pub head_bias: Option<&'static str>,
    pub head_dense: &'static str,
    pub head_norm: &'static str,
    /// The prefix of the names in a layer, with `{layer}` for the layer's number.
    pub layer: &'static str,
    pub first_norm: &'static str,
    pub second_norm: &'static str,
    pub qkv: QkvNames,
    pub qk_norm: [&'static str; 2],
    pub attn_out: &'static str,
    pub gate: &'static str,
    pub up: &'static str,
    /// The tensor that has the rows of the gate, then those that it gates.
    pub gate_and_up: Option<&'static str>,
    pub down: &'static str,
    /// Whether the matrices of a layer are stored as `[inputs, outputs]`.
    pub is_conv1d: bool,
}

/// The projections to queries, keys and values.
pub enum QkvNames {
    /// One tensor.
    Fused {
        name: &'static str,
        /// Whether a head of keys and one of values follow the query heads that share them. If not,
        /// all queries come first, then all keys, then all values.
        by_group: bool,
    },
    /// One tensor each.
    Split([&'static str; 3]),
}

pub const LLAMA: Table = Table {
    token_embedding: "model.embed_tokens",
    positions: "model.embed_positions",
    unused_positions: 0,
    token_types: "model.token_types",
    embedding_norm: "model.embedding_norm",
    final_norm: "model.norm",
    head: "lm_head",
    head_bias: None,
    head_dense: "head.dense",
    head_norm: "head.norm",
    layer: "model.layers.{layer}.",
    first_norm: "input_layernorm",
    second_norm: "post_attention_layernorm",
    qkv: QkvNames::Split(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    qk_norm: ["self_attn.q_norm", "self_attn.k_norm"],
    attn_out: "self_attn.o_proj",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    gate_and_up: None,
    down: "mlp.down_proj",
    is_conv1d: false,
};

pub const STARCODER2: Table = Table { up: "mlp.c_fc", down: "mlp.c_proj", ..LLAMA };

pub const PHI: Table = Table {
    final_norm: "model.final_layernorm",
    qk_norm: ["self_attn.q_layernorm", "self_attn.k_layernorm"],
    attn_out: "self_attn.dense",
    up: "mlp.fc1",
    down: "mlp.fc2",
    ..LLAMA
};

pub const PHI3: Table = Table {
    qkv: QkvNames::Fused { name: "self_attn.qkv_proj", by_group: false },
    gate_and_up: Some("mlp.gate_up_proj"),
    ..LLAMA
};

pub const GPT2: Table = Table {
    token_embedding: "wte",
    positions: "wpe",
    final_norm: "ln_f",
    layer: "h.{layer}.",
    first_norm: "ln_1",
    second_norm: "ln_2",
    qkv: QkvNames::Fused { name: "attn.c_attn", by_group: false },
    attn_out: "attn.c_proj",
    up: "mlp.c_fc",
    down: "mlp.c_proj",
    is_conv1d: true,
    ..LLAMA
};

pub const GPT1: Table =
    Table { token_embedding: "tokens_embed", positions: "positions_embed", ..GPT2 };

/// StarCoder and SantaCoder, with one head of keys and values.
pub const GPT_BIGCODE: Table = Table { is_conv1d: false, ..GPT2 };

/// The same class with as many heads of keys and values as of queries.
pub const GPT_BIGCODE_BY_HEAD: Table =
    Table { qkv: QkvNames::Fused { name: "attn.c_attn", by_group: true }, ..GPT_BIGCODE };

pub const GPT_NEO: Table = Table {
    qkv: QkvNames::Split([
        "attn.attention.q_proj",
        "attn.attention.k_proj",
        "attn.attention.v_proj",
    ]),
    attn_out: "attn.attention.out_proj",
    is_conv1d: false,
    ..GPT2
};

pub const GPT_J: Table = Table {
    qkv: QkvNames::Split(["attn.q_proj", "attn.k_proj", "attn.v_proj"]),
    attn_out: "attn.out_proj",
    up: "mlp.fc_in",
    down: "mlp.fc_out",
    is_conv1d: false,
    ..GPT2
};

pub const GPT_NEOX: Table = Table {
    token_embedding: "gpt_neox.embed_in",
    final_norm: "gpt_neox.final_layer_norm",
    head: "embed_out",
    layer: "gpt_neox.layers.{layer}.",
    qkv: QkvNames::Fused { name: "attention.query_key_value", by_group: true },
    attn_out: "attention.dense",
    up: "mlp.dense_h_to_4h",
    down: "mlp.dense_4h_to_h",
    ..LLAMA
};

pub const BLOOM: Table = Table {
    token_embedding: "word_embeddings",
    embedding_norm: "word_embeddings_layernorm",
    final_norm: "ln_f",
    head: "lm_head",
    layer: "h.{layer}.",
    qkv: QkvNames::Fused { name: "self_attention.query_key_value", by_group: true },
    attn_out: "self_attention.dense",
    ..GPT_NEOX
};

/// Falcon with one norm for both halves of a parallel block, or with halves that run one after the
/// other.
pub const FALCON: Table = Table { ..BLOOM };

/// Falcon with a norm for each half of a parallel block.
pub const FALCON_TWO_NORMS: Table =
    Table { first_norm: "ln_attn", second_norm: "ln_mlp", ..FALCON };

pub const MPT: Table = Table {
    token_embedding: "wte",
    final_norm: "norm_f",
    layer: "blocks.{layer}.",
    first_norm: "norm_1",
    second_norm: "norm_2",
    qkv: QkvNames::Fused { name: "attn.Wqkv", by_group: false },
    attn_out: "attn.out_proj",
    up: "ffn.up_proj",
    down: "ffn.down_proj",
    ..LLAMA
};

pub const OPT: Table = Table {
    token_embedding: "model.decoder.embed_tokens",
    positions: "model.decoder.embed_positions",
    unused_positions: 2,
    final_norm: "model.decoder.final_layer_norm",
    layer: "model.decoder.layers.{layer}.",
    first_norm: "self_attn_layer_norm",
    second_norm: "final_layer_norm",
    attn_out: "self_attn.out_proj",
    up: "fc1",
    down: "fc2",
    ..LLAMA
};

pub const BERT: Table = Table {
    token_embedding: "bert.embeddings.word_embeddings",
    positions: "bert.embeddings.position_embeddings",
    token_types: "bert.embeddings.token_type_embeddings",
    embedding_norm: "bert.embeddings.LayerNorm",
    head: "cls.predictions.decoder",
    head_bias: Some("cls.predictions"),
    head_dense: "cls.predictions.transform.dense",
    head_norm: "cls.predictions.transform.LayerNorm",
    layer: "bert.encoder.layer.{layer}.",
    first_norm: "attention.output.LayerNorm",
    second_norm: "output.LayerNorm",
    qkv: QkvNames::Split(["attention.self.query", "attention.self.key", "attention.self.value"]),
    attn_out: "attention.output.dense",
    up: "intermediate.dense",
    down: "output.dense",
    ..LLAMA
};

pub const ROBERTA: Table = Table {
    token_embedding: "roberta.embeddings.word_embeddings",
    positions: "roberta.embeddings.position_embeddings",
    // Row 1 is that of the padding token, and row 2 that of position 0.
    unused_positions: 2,
    token_types: "roberta.embeddings.token_type_embeddings",
    embedding_norm: "roberta.embeddings.LayerNorm",
    head: "lm_head.decoder",
    head_bias: Some("lm_head"),
    head_dense: "lm_head.dense",
    head_norm: "lm_head.layer_norm",
    layer: "roberta.encoder.layer.{layer}.",
    ..BERT
};

pub const DISTILBERT: Table = Table {
    token_embedding: "distilbert.embeddings.word_embeddings",
    positions: "distilbert.embeddings.position_embeddings",
    embedding_norm: "distilbert.embeddings.LayerNorm",
    head: "vocab_projector",
    head_dense: "vocab_transform",
    head_norm: "vocab_layer_norm",
    layer: "distilbert.transformer.layer.{layer}.",
    first_norm: "sa_layer_norm",
    second_norm: "output_layer_norm",
    qkv: QkvNames::Split(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attn_out: "attention.out_lin",
    up: "ffn.lin1",
    down: "ffn.lin2",
    ..LLAMA
};

pub const MODERNBERT: Table = Table {
    token_embedding: "model.embeddings.tok_embeddings",
    embedding_norm: "model.embeddings.norm",
    final_norm: "model.final_norm",
    head: "decoder",
    first_norm: "attn_norm",
    second_norm: "mlp_norm",
    qkv: QkvNames::Fused { name: "attn.Wqkv", by_group: false },
    attn_out: "attn.Wo",
    gate_and_up: Some("mlp.Wi"),
    down: "mlp.Wo",
    ..LLAMA
};
