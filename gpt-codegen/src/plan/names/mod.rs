//! The names of tensors in weight files.
//!
//! Safetensors files have the names of a class of transformers; `tables` has a table for each. The
//! key `names` of a spec selects one. Without the key, the closest class gives the names, so that
//! every model can be saved and loaded. GGUF files have llama.cpp's names (`blk.0.attn_q.weight`).
//! These depend on the class only where it fuses tensors, and in the norms of Falcon.

mod tables;

use gpt_plan::{Block, FileTensor, Layout, NormKind, QkGroups, RotaryPairs, Spec, TensorNames};

pub use tables::QkvNames;
use tables::Table;

/// A tensor of a weight file: its number of rows, its names in Hugging Face's files and in GGUF
/// without `.weight` or `.bias`, and its layouts.
pub struct Names {
    pub rows: u32,
    hf: String,
    gguf: &'static str,
    hf_layout: Layout,
    gguf_layout: Layout,
}

impl Names {
    /// The file tensor with these names and the `suffix` `weight` or `bias`.
    pub fn source(&self, suffix: &str, layer_shift: i32) -> FileTensor {
        // A bias has no orientation, but its rows are reordered with those of its matrix.
        let hf_layout = match self.hf_layout {
            Layout::Transposed if suffix == "bias" => Layout::RowMajor,
            layout => layout,
        };
        FileTensor {
            rows: self.rows,
            hf: format!("{}.{suffix}", self.hf).into(),
            gguf: format!("{}.{suffix}", self.gguf).into(),
            layer_shift,
            hf_layout,
            gguf_layout: self.gguf_layout,
            hf_offset: 0.0,
        }
    }
}

/// The names of all tensors of one spec.
pub struct Scheme<'a> {
    spec: &'a Spec,
    table: &'static Table,
}

impl<'a> Scheme<'a> {
    pub fn new(spec: &'a Spec) -> Self {
        Scheme { spec, table: table(spec) }
    }

    /// A tensor of the model.
    fn model(&self, rows: u32, hf: &str, gguf: &'static str) -> Names {
        let (hf_layout, gguf_layout) = (Layout::RowMajor, Layout::RowMajor);
        Names { rows, hf: hf.to_owned(), gguf, hf_layout, gguf_layout }
    }

    /// A tensor of a layer.
    fn layer(&self, rows: u32, hf: &str, gguf: &'static str) -> Names {
        self.model(rows, &format!("{}{hf}", self.table.layer), gguf)
    }

    /// A matrix of a layer.
    fn matrix(&self, rows: u32, hf: &str, gguf: &'static str) -> Names {
        let hf_layout = match self.table.is_conv1d {
            true => Layout::Transposed,
            false => Layout::RowMajor,
        };
        Names { hf_layout, ..self.layer(rows, hf, gguf) }
    }

    pub fn token_embedding(&self) -> Names {
        self.model(self.spec.vocab, self.table.token_embedding, "token_embd")
    }

    pub fn positions(&self) -> Names {
        let names = self.model(self.spec.context, self.table.positions, "position_embd");
        match self.table.unused_positions {
            0 => names,
            rows => Names { hf_layout: Layout::Skip(rows), ..names },
        }
    }

    pub fn token_types(&self) -> Names {
        let rows = self.spec.token_types.unwrap_or(0);
        self.model(rows, self.table.token_types, "token_types")
    }

    pub fn embedding_norm(&self) -> Names {
        self.model(self.spec.embed, self.table.embedding_norm, "token_embd_norm")
    }

    pub fn head(&self) -> Names {
        self.model(self.spec.vocab, self.table.head, "output")
    }

    pub fn head_bias(&self) -> Names {
        let name = self.table.head_bias.unwrap_or(self.table.head);
        self.model(self.spec.vocab, name, "output")
    }

    /// The dense layer of the head.
    pub fn head_dense(&self) -> Names {
        self.model(self.spec.embed, self.table.head_dense, "output_dense")
    }

    /// The norm after the dense layer of the head.
    pub fn head_norm(&self) -> Names {
        self.model(self.spec.embed, self.table.head_norm, "output_dense_norm")
    }

    /// The norm after the last block (all blocks but post-norm).
    pub fn final_norm(&self) -> Names {
        self.model(self.spec.embed, self.table.final_norm, "output_norm")
    }

    /// The first norm of a block: before the attention, or after it (post-norm).
    pub fn first_norm(&self) -> Names {
        let gguf = match self.spec.block {
            Block::PostNorm => "blk.{layer}.attn_output_norm",
            Block::Parallel { norms: 2 } if self.spec.names == TensorNames::Falcon => {
                "blk.{layer}.attn_norm_2"
            }
            _ => "blk.{layer}.attn_norm",
        };
        self.layer(self.spec.embed, self.table.first_norm, gguf)
    }

    /// The second norm of a block: before the MLP, or after it (post-norm).
    pub fn second_norm(&self) -> Names {
        let gguf = match self.spec.block {
            Block::PostNorm => "blk.{layer}.layer_output_norm",
            // In Falcon's first models, attention and MLP share one norm, `attn_norm`. If each has
            // its own, llama.cpp keeps this name for the MLP's.
            Block::Parallel { .. } if self.spec.names == TensorNames::Falcon => {
                "blk.{layer}.attn_norm"
            }
            _ => "blk.{layer}.ffn_norm",
        };
        let hf = match self.spec.block {
            Block::Sandwich => "pre_feedforward_layernorm",
            _ => self.table.second_norm,
        };
        self.layer(self.spec.embed, hf, gguf)
    }

    /// The norm of the attention's output (sandwich, post-branch).
    pub fn attn_branch_norm(&self) -> Names {
        let gguf = "blk.{layer}.post_attention_norm";
        self.layer(self.spec.embed, "post_attention_layernorm", gguf)
    }

    /// The norm of the MLP's output (sandwich, post-branch).
    pub fn mlp_branch_norm(&self) -> Names {
        self.layer(self.spec.embed, "post_feedforward_layernorm", "blk.{layer}.post_ffw_norm")
    }

    /// The norms of queries and of keys.
    pub fn qk_norm(&self, groups: QkGroups) -> [Names; 2] {
        let rows = |heads: u32, width: u32| if groups.shared { width } else { heads * width };
        let names = |rows, hf, gguf| Names {
            hf_layout: self.rotated(self.dims_of_hf()),
            gguf_layout: self.rotated(self.dims_of_gguf()),
            ..self.layer(rows, hf, gguf)
        };
        let [q, k] = self.table.qk_norm;
        [
            names(rows(groups.q, groups.q_width), q, "blk.{layer}.attn_q_norm"),
            names(rows(groups.k, groups.k_width), k, "blk.{layer}.attn_k_norm"),
        ]
    }

    /// The layout of queries or keys in a file that stores the first `dims` elements of each head
    /// as two halves, with one element of each rotary pair in each half. Row-major if `dims` is 0.
    fn rotated(&self, dims: u32) -> Layout {
        match dims {
            0 => Layout::RowMajor,
            dims => Layout::RotaryHalves { head_dim: self.spec.head_dim, dims },
        }
    }

    /// Elements of a head whose order in safetensors files differs from the plan's; 0 if none does.
    fn dims_of_hf(&self) -> u32 {
        match self.spec.rope() {
            Some(rope) if rope.pairs == RotaryPairs::Halves => rope.dims,
            _ => 0,
        }
    }

    /// Elements of a head whose order differs from the plan's in a GGUF that does not keep rotary
    /// pairs side by side. The order in safetensors files does not matter.
    fn dims_of_gguf(&self) -> u32 {
        self.spec.rope().map_or(0, |rope| rope.dims)
    }

    pub fn qkv(&self) -> Vec<Names> {
        let spec = self.spec;
        let fused = |dims, by_group| Layout::FusedHeads {
            heads: spec.heads,
            kv_heads: spec.kv_heads,
            head_dim: spec.head_dim,
            dims,
            by_group,
        };
        let (of_hf, of_gguf) = (self.dims_of_hf(), self.dims_of_gguf());
        match self.table.qkv {
            QkvNames::Fused { name, by_group } => {
                let names = self.matrix(spec.qkv_width(), name, "blk.{layer}.attn_qkv");
                let hf_layout = match names.hf_layout {
                    Layout::RowMajor if by_group || of_hf > 0 => fused(of_hf, by_group),
                    layout => layout,
                };
                let gguf_layout = match of_gguf {
                    0 => Layout::RowMajor,
                    dims => fused(dims, false),
                };
                vec![Names { hf_layout, gguf_layout, ..names }]
            }
            QkvNames::Split([q, k, v]) => {
                let rotated = |rows, hf, gguf| Names {
                    hf_layout: self.rotated(of_hf),
                    gguf_layout: self.rotated(of_gguf),
                    ..self.matrix(rows, hf, gguf)
                };
                vec![
                    rotated(spec.q_width(), q, "blk.{layer}.attn_q"),
                    rotated(spec.kv_width(), k, "blk.{layer}.attn_k"),
                    self.matrix(spec.kv_width(), v, "blk.{layer}.attn_v"),
                ]
            }
        }
    }

    pub fn attention_out(&self) -> Vec<Names> {
        vec![self.matrix(self.spec.embed, self.table.attn_out, "blk.{layer}.attn_output")]
    }

    pub fn mlp_up(&self) -> Vec<Names> {
        let hidden = self.spec.mlp.hidden;
        if !self.spec.mlp.gated {
            return vec![self.matrix(hidden, self.table.up, "blk.{layer}.ffn_up")];
        }
        if let Some(both) = self.table.gate_and_up {
            return vec![self.matrix(2 * hidden, both, "blk.{layer}.ffn_up")];
        }
        vec![
            self.matrix(hidden, self.table.gate, "blk.{layer}.ffn_gate"),
            self.matrix(hidden, self.table.up, "blk.{layer}.ffn_up"),
        ]
    }

    pub fn mlp_down(&self) -> Vec<Names> {
        vec![self.matrix(self.spec.embed, self.table.down, "blk.{layer}.ffn_down")]
    }
}

/// The table of a spec.
fn table(spec: &Spec) -> &'static Table {
    match spec.names {
        TensorNames::Closest => closest(spec),
        TensorNames::Phi => &tables::PHI,
        TensorNames::Phi3 => &tables::PHI3,
        TensorNames::GptNeoX => &tables::GPT_NEOX,
        TensorNames::GptJ => &tables::GPT_J,
        TensorNames::GptNeo => &tables::GPT_NEO,
        TensorNames::GptBigCode => match spec.kv_heads == spec.heads {
            true => &tables::GPT_BIGCODE_BY_HEAD,
            false => &tables::GPT_BIGCODE,
        },
        TensorNames::Falcon => match spec.block {
            Block::Parallel { norms: 2 } => &tables::FALCON_TWO_NORMS,
            _ => &tables::FALCON,
        },
        TensorNames::Bloom => &tables::BLOOM,
        TensorNames::Mpt => &tables::MPT,
        TensorNames::Opt => &tables::OPT,
        TensorNames::Bert => &tables::BERT,
        TensorNames::Roberta => &tables::ROBERTA,
        TensorNames::DistilBert => &tables::DISTILBERT,
        TensorNames::ModernBert => &tables::MODERNBERT,
    }
}

/// The names of GPT-2, GPT-1, StarCoder 2 or Llama. A GPT has LayerNorm, a dense MLP, as many
/// key/value heads as query heads, no rotary positions, and no norms of branches, queries or keys.
/// StarCoder 2 has rotary positions, a dense MLP and a LayerNorm that stores `gamma` itself, unlike
/// Nemotron's. Every other spec gets the names of Llama.
fn closest(spec: &Spec) -> &'static Table {
    let layer_norm = spec.norm.kind == NormKind::Layer;
    let gpt = layer_norm
        && !spec.mlp.gated
        && !spec.rotary()
        && spec.kv_heads == spec.heads
        && !spec.block.norms_branches()
        && spec.qk_norm.is_none();
    let starcoder = spec.rotary() && layer_norm && !spec.norm.unit_offset && !spec.mlp.gated;
    match (gpt, spec.block) {
        (true, Block::PostNorm) => &tables::GPT1,
        (true, _) => &tables::GPT2,
        _ if starcoder => &tables::STARCODER2,
        _ => &tables::LLAMA,
    }
}
