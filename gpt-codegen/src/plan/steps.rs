//! The steps of a forward pass, and the kernels they need.

use gpt_plan::{
    Block, ChoiceOp, Format, Kernel, KernelChoice, NO_KERNEL, NormRef, Op, Phase, Section, Spec,
    Split, Step,
};

use super::tensors::Table;
use crate::wgsl;

/// What a plan has of a forward pass.
pub struct Forward {
    /// In the order they run.
    pub sections: Vec<Section>,
    /// Every kernel that they may need, and those of the two below.
    pub kernels: Vec<Kernel>,
    pub split: Option<Split>,
    pub choice: [u16; ChoiceOp::ALL.len()],
}

/// Sections in the order they run, with every kernel they may need, and what follows them.
pub fn forward(model: &str, spec: &Spec, table: &Table) -> Forward {
    let mut build = Builder {
        model,
        spec,
        table,
        kernels: Vec::new(),
    };
    let embed = build.step(
        "embed",
        Op::Embed {
            table: table.token_embedding,
            positions: table.positions,
        },
    );
    let mut sections = vec![Section {
        layers: None,
        steps: vec![embed].into(),
    }];
    match spec.block {
        Block::PreNorm => {
            let block = build.block(
                ["qkv", "attention", "attention_out", "mlp_up", "mlp_down"],
                Some(table.attn_norm),
                None,
            );
            sections.push(Section {
                layers: Some((0, spec.layers)),
                steps: block.into(),
            });
        }
        Block::PostNorm => {
            // The first layer reads the embedding, which no norm stands behind; that makes two of its kernels different.
            let first = [
                "qkv_first",
                "attention",
                "attention_out_first",
                "mlp_up",
                "mlp_down",
            ];
            let first = build.block(first, None, Some(table.mlp_norm));
            sections.push(Section {
                layers: Some((0, 1)),
                steps: first.into(),
            });
            if spec.layers > 1 {
                let rest = ["qkv", "attention", "attention_out", "mlp_up", "mlp_down"];
                let rest = build.block(rest, Some(table.attn_norm), Some(table.mlp_norm));
                sections.push(Section {
                    layers: Some((1, spec.layers)),
                    steps: rest.into(),
                });
            }
        }
    }
    let head = build.step(
        "head",
        Op::Head {
            norm: Some(table.final_norm),
            weight: table.head,
        },
    );
    sections.push(Section {
        layers: None,
        steps: vec![head].into(),
    });
    let split = wgsl::split(model, spec).map(|[part, join]| Split {
        part: build.add(part),
        join: build.add(join),
    });
    let choice = ChoiceOp::ALL.map(|op| build.add(wgsl::choice(model, spec, op)));
    Forward {
        sections,
        kernels: build.kernels,
        split,
        choice,
    }
}

struct Builder<'a> {
    model: &'a str,
    spec: &'a Spec,
    table: &'a Table,
    kernels: Vec<Kernel>,
}

impl Builder<'_> {
    /// The five steps of a block. `input` is the norm through which its input is read; `middle` the one through which a
    /// post-norm block reads the residual of its MLP.
    fn block(
        &mut self,
        names: [&'static str; 5],
        input: Option<NormRef>,
        middle: Option<NormRef>,
    ) -> Vec<Step> {
        let Table {
            qkv,
            attn_out,
            mlp_norm,
            mlp_up,
            mlp_down,
            ..
        } = *self.table;
        let residual = if self.spec.block == Block::PostNorm {
            input
        } else {
            None
        };
        let ops = [
            Op::Qkv {
                norm: input,
                weight: qkv.weight,
                bias: qkv.bias,
            },
            Op::Attention,
            Op::AttentionOut {
                weight: attn_out.weight,
                bias: attn_out.bias,
                norm: residual,
            },
            Op::MlpUp {
                norm: Some(mlp_norm),
                weight: mlp_up.weight,
                bias: mlp_up.bias,
            },
            Op::MlpDown {
                weight: mlp_down.weight,
                bias: mlp_down.bias,
                norm: middle,
            },
        ];
        names
            .into_iter()
            .zip(ops)
            .map(|(name, op)| self.step(name, op))
            .collect()
    }

    fn step(&mut self, name: &'static str, op: Op) -> Step {
        let decode = self.choice(name, &op, Phase::Decode);
        let prefill = self.choice(name, &op, Phase::Prefill);
        Step {
            name,
            op,
            decode,
            prefill,
        }
    }

    fn choice(&mut self, name: &str, op: &Op, phase: Phase) -> KernelChoice {
        if *op == Op::Attention {
            return KernelChoice::Plain(self.kernel(name, op, phase, Format::F32));
        }
        KernelChoice::ByFormat(Format::ALL.map(|format| self.kernel(name, op, phase, format)))
    }

    /// The kernel's index, if there can be one; a kernel that two steps or phases share is made once.
    fn kernel(&mut self, name: &str, op: &Op, phase: Phase, format: Format) -> u16 {
        let kernel = wgsl::kernel(
            self.model,
            self.spec,
            &self.table.tensors,
            name,
            op,
            phase,
            format,
        );
        kernel.map_or(NO_KERNEL, |kernel| self.add(kernel))
    }

    fn add(&mut self, kernel: Kernel) -> u16 {
        let index = self
            .kernels
            .iter()
            .position(|k| k.name == kernel.name)
            .unwrap_or_else(|| {
                self.kernels.push(kernel);
                self.kernels.len() - 1
            });
        index as u16
    }
}
