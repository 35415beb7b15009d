//! The names of tensors in weight files.
//!
//! Safetensors files use the names of one of two families: GPT (`h.0.attn.c_attn.weight`, `Conv1D`
//! matrices stored `[in, out]`) or Llama (`model.layers.0.self_attn.q_proj.weight`, `[out, in]`). A
//! spec of neither architecture gets the names of the closer family, so that every model can be
//! saved and loaded. GGUF files use llama.cpp's names (`blk.0.attn_q.weight`).

use gpt_plan::{Block, FileTensor, Layout, NormKind, RotaryPairs, Spec};

/// The family of names that a spec uses in safetensors files.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Gpt,
    Llama,
}

impl Family {
    /// The family of a spec. GPT is LayerNorm, a dense MLP, as many key/value heads as query heads,
    /// and no rotary positions; every other spec is Llama.
    pub fn of(spec: &Spec) -> Family {
        let gpt = spec.norm.kind == NormKind::Layer
            && !spec.mlp.gated
            && !spec.rotary()
            && spec.kv_heads == spec.heads;
        if gpt { Family::Gpt } else { Family::Llama }
    }
}

/// Hugging Face's and GGUF's names of a tensor without `.weight` or `.bias`, and its number of rows
/// in a file.
pub struct Names {
    pub rows: u32,
    pub hf: &'static str,
    pub gguf: &'static str,
    pub layout: Layout,
}

impl Names {
    fn new(rows: u32, hf: &'static str, gguf: &'static str, layout: Layout) -> Self {
        Names { rows, hf, gguf, layout }
    }

    /// The file tensor with these names and the `suffix` `weight` or `bias`.
    pub fn source(&self, suffix: &str, layer_shift: i32) -> FileTensor {
        // A bias has no orientation, but its rows are reordered with its matrix's.
        let hf_layout = match self.layout {
            Layout::Transposed if suffix == "bias" => Layout::RowMajor,
            layout => layout,
        };
        FileTensor {
            rows: self.rows,
            hf: format!("{}.{suffix}", self.hf).into(),
            gguf: format!("{}.{suffix}", self.gguf).into(),
            layer_shift,
            hf_layout,
            hf_offset: 0.0,
        }
    }
}

/// The names of all tensors of one spec.
pub struct Scheme<'a> {
    spec: &'a Spec,
    family: Family,
}

impl<'a> Scheme<'a> {
    pub fn new(spec: &'a Spec) -> Self {
        Scheme { spec, family: Family::of(spec) }
    }

    /// Whether the MLP has StarCoder 2's names: that of a rotary model with a dense MLP and an
    /// ordinary LayerNorm. (Nemotron's norm stores `gamma - 1`.)
    fn starcoder(&self) -> bool {
        let Spec { norm, mlp, .. } = self.spec;
        self.spec.rotary() && norm.kind == NormKind::Layer && !norm.unit_offset && !mlp.gated
    }

    pub fn token_embedding(&self) -> Names {
        let hf = match (self.family, self.spec.block) {
            (Family::Gpt, Block::PreNorm) => "wte",
            (Family::Gpt, Block::PostNorm) => "tokens_embed",
            (Family::Llama, _) => "model.embed_tokens",
        };
        Names::new(self.spec.vocab, hf, "token_embd", Layout::RowMajor)
    }

    pub fn positions(&self) -> Names {
        let hf = match (self.family, self.spec.block) {
            (Family::Gpt, Block::PreNorm) => "wpe",
            (Family::Gpt, Block::PostNorm) => "positions_embed",
            (Family::Llama, _) => "model.embed_positions",
        };
        Names::new(self.spec.context, hf, "position_embd", Layout::RowMajor)
    }

    pub fn head(&self) -> Names {
        Names::new(self.spec.vocab, "lm_head", "output", Layout::RowMajor)
    }

    /// The norm after the last block (pre-norm only).
    pub fn final_norm(&self) -> Names {
        let hf = match self.family {
            Family::Gpt => "ln_f",
            Family::Llama => "model.norm",
        };
        Names::new(self.spec.embed, hf, "output_norm", Layout::RowMajor)
    }

    /// The first norm of a block: before the attention (pre-norm), or after it (post-norm).
    pub fn first_norm(&self) -> Names {
        let hf = match self.family {
            Family::Gpt => "h.{layer}.ln_1",
            Family::Llama => "model.layers.{layer}.input_layernorm",
        };
        let gguf = match self.spec.block {
            Block::PreNorm => "blk.{layer}.attn_norm",
            Block::PostNorm => "blk.{layer}.attn_output_norm",
        };
        Names::new(self.spec.embed, hf, gguf, Layout::RowMajor)
    }

    /// The second norm of a block: before the MLP (pre-norm), or after it (post-norm).
    pub fn second_norm(&self) -> Names {
        let hf = match self.family {
            Family::Gpt => "h.{layer}.ln_2",
            Family::Llama => "model.layers.{layer}.post_attention_layernorm",
        };
        let gguf = match self.spec.block {
            Block::PreNorm => "blk.{layer}.ffn_norm",
            Block::PostNorm => "blk.{layer}.layer_output_norm",
        };
        Names::new(self.spec.embed, hf, gguf, Layout::RowMajor)
    }

    pub fn qkv(&self) -> Vec<Names> {
        let spec = self.spec;
        if self.family == Family::Gpt {
            let fused = Names::new(
                spec.qkv_width(),
                "h.{layer}.attn.c_attn",
                "blk.{layer}.attn_qkv",
                Layout::Transposed,
            );
            return vec![fused];
        }
        let rotated = match spec.rope() {
            Some(rope) if rope.pairs == RotaryPairs::Halves => {
                Layout::RotaryHalves { head_dim: spec.head_dim, dims: rope.dims }
            }
            _ => Layout::RowMajor,
        };
        vec![
            Names::new(
                spec.q_width(),
                "model.layers.{layer}.self_attn.q_proj",
                "blk.{layer}.attn_q",
                rotated,
            ),
            Names::new(
                spec.kv_width(),
                "model.layers.{layer}.self_attn.k_proj",
                "blk.{layer}.attn_k",
                rotated,
            ),
            Names::new(
                spec.kv_width(),
                "model.layers.{layer}.self_attn.v_proj",
                "blk.{layer}.attn_v",
                Layout::RowMajor,
            ),
        ]
    }

    pub fn attention_out(&self) -> Vec<Names> {
        let (hf, layout) = match self.family {
            Family::Gpt => ("h.{layer}.attn.c_proj", Layout::Transposed),
            Family::Llama => ("model.layers.{layer}.self_attn.o_proj", Layout::RowMajor),
        };
        vec![Names::new(self.spec.embed, hf, "blk.{layer}.attn_output", layout)]
    }

    pub fn mlp_up(&self) -> Vec<Names> {
        let hidden = self.spec.mlp.hidden;
        let up = match self.family {
            Family::Gpt => {
                Names::new(hidden, "h.{layer}.mlp.c_fc", "blk.{layer}.ffn_up", Layout::Transposed)
            }
            Family::Llama => Names::new(
                hidden,
                match self.starcoder() {
                    true => "model.layers.{layer}.mlp.c_fc",
                    false => "model.layers.{layer}.mlp.up_proj",
                },
                "blk.{layer}.ffn_up",
                Layout::RowMajor,
            ),
        };
        if !self.spec.mlp.gated {
            return vec![up];
        }
        let gate = Names::new(
            hidden,
            "model.layers.{layer}.mlp.gate_proj",
            "blk.{layer}.ffn_gate",
            Layout::RowMajor,
        );
        vec![gate, up]
    }

    pub fn mlp_down(&self) -> Vec<Names> {
        let (hf, layout) = match self.family {
            Family::Gpt => ("h.{layer}.mlp.c_proj", Layout::Transposed),
            Family::Llama if self.starcoder() => {
                ("model.layers.{layer}.mlp.c_proj", Layout::RowMajor)
            }
            Family::Llama => ("model.layers.{layer}.mlp.down_proj", Layout::RowMajor),
        };
        vec![Names::new(self.spec.embed, hf, "blk.{layer}.ffn_down", layout)]
    }
}
