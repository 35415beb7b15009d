//! The steps of a training pass, forward and back.
//!
//! A block is two halves, attention and MLP, and each half is the same: read the stream (through a norm), compute, add to the stream. In a
//! pre-norm block the stream itself is added to; in a post-norm block it is what the norm shows, so that the way back through the residual goes
//! through the norm as well. `Half` says which.

use gpt_plan::{
    Block, BufferName, Copies, Into, NormRef, Positions, Repeat, Site, Slot, Spec, TrainBuffer,
    TrainOp, TrainRows, TrainSection, TrainStep, Training, train_stride,
};

use super::tensors::{Projection, Table};
use crate::wgsl::training::Kernels;

use BufferName as B;

/// How a model learns.
pub fn training(model: &str, spec: &Spec, table: &Table) -> Training {
    let buffers = buffers(spec);
    let mut build = Builder {
        spec,
        table,
        kernels: Kernels::new(model, spec, &table.tensors, &buffers),
    };
    let forward = build.forward();
    let backward = build.backward();
    let (kernels, in_f16) = build.kernels.finish();
    Training {
        forward: forward.into(),
        backward: backward.into(),
        kernels: kernels.into(),
        in_f16: in_f16.into(),
        buffers: buffers.into(),
    }
}

/// The buffers of a training pass of `spec`, in the order of [`BufferName`].
pub fn buffers(spec: &Spec) -> Vec<TrainBuffer> {
    let up = if spec.mlp.gated {
        2 * spec.mlp.hidden.next_multiple_of(16)
    } else {
        spec.mlp.hidden
    };
    let wide = |name, width, copies| TrainBuffer {
        name,
        width,
        stride: train_stride(width),
        rows: TrainRows::All,
        copies,
    };
    let narrow = |name, width, copies| TrainBuffer {
        stride: width,
        ..wide(name, width, copies)
    };
    let (per_layer, and_one, one) = (Copies::PerLayer, Copies::PerLayerAndOne, Copies::One);
    vec![
        wide(B::X, spec.embed, and_one),
        wide(B::Middle, spec.embed, per_layer),
        narrow(B::StatsX, 2, and_one),
        narrow(B::StatsMiddle, 2, per_layer),
        wide(B::Qkv, spec.qkv_width(), per_layer),
        wide(B::A, spec.q_width(), per_layer),
        narrow(B::Lse, spec.heads, per_layer),
        wide(B::H, spec.mlp.hidden, per_layer),
        wide(B::Slopes, up, per_layer),
        wide(B::N, spec.embed, one),
        wide(B::DX, spec.embed, one),
        wide(B::DN, spec.embed, one),
        wide(B::DUp, up, one),
        wide(B::DA, spec.q_width(), one),
        narrow(B::Delta, spec.heads, one),
        wide(B::DQkv, spec.qkv_width(), one),
        TrainBuffer {
            rows: TrainRows::Chunk,
            ..wide(B::Logits, spec.vocab, one)
        },
        narrow(B::Losses, 1, one),
        narrow(B::Tokens, 1, one),
        narrow(B::Targets, 1, one),
    ]
}

/// One half of a block, as far as the stream is concerned.
#[derive(Clone, Copy)]
struct Half {
    /// Through which it reads, if through any.
    norm: Option<NormRef>,
    /// What it reads, and the statistics of that.
    x: Slot,
    stats: Slot,
    /// Whether what the norm shows is what it adds to.
    adds_to_norm: bool,
}

impl Half {
    /// What the first projection reads.
    fn input(&self) -> Slot {
        if self.norm.is_some() {
            B::N.here()
        } else {
            self.x
        }
    }

    /// What the last projection is added to.
    fn residual(&self) -> Slot {
        if self.adds_to_norm {
            self.input()
        } else {
            self.x
        }
    }
}

struct Builder<'a> {
    spec: &'a Spec,
    table: &'a Table,
    kernels: Kernels<'a>,
}

impl Builder<'_> {
    fn attention_half(&self, is_first: bool) -> Half {
        let post = self.spec.block == Block::PostNorm;
        Half {
            norm: (!post || !is_first).then_some(self.table.attn_norm),
            x: B::X.here(),
            stats: B::StatsX.here(),
            adds_to_norm: post,
        }
    }

    fn mlp_half(&self) -> Half {
        Half {
            norm: Some(self.table.mlp_norm),
            x: B::Middle.here(),
            stats: B::StatsMiddle.here(),
            adds_to_norm: self.spec.block == Block::PostNorm,
        }
    }

    fn head(&self) -> Half {
        Half {
            norm: Some(self.table.final_norm),
            x: B::X.shifted(self.spec.layers),
            stats: B::StatsX.shifted(self.spec.layers),
            adds_to_norm: false,
        }
    }

    /// The layers whose steps are alike, with whether they are the first: a post-norm model's first block reads the embedding bare.
    fn kinds(&self) -> Vec<(u32, u32, bool)> {
        let layers = self.spec.layers;
        match self.spec.block {
            Block::PreNorm => vec![(0, layers, false)],
            Block::PostNorm if layers == 1 => vec![(0, 1, true)],
            Block::PostNorm => vec![(0, 1, true), (1, layers, false)],
        }
    }

    fn positions(&self) -> Option<gpt_plan::TensorId> {
        self.table.positions
    }

    fn forward(&mut self) -> Vec<TrainSection> {
        let embed = TrainOp::Embed {
            table: self.table.token_embedding,
            positions: self.positions(),
            out: B::X.here(),
        };
        let mut sections = vec![self.section(Repeat::Once, vec![("embed", embed)])];
        for (from, to, is_first) in self.kinds() {
            let steps = self.block(is_first);
            sections.push(self.section(Repeat::Layers(from, to), steps));
        }
        let head = self.read("final_norm", &self.head());
        sections.push(self.section(Repeat::Once, head));
        sections
    }

    fn read(&self, name: &'static str, half: &Half) -> Vec<(&'static str, TrainOp)> {
        let norm = half.norm.map(|norm| TrainOp::Norm {
            norm,
            x: half.x,
            stats: half.stats,
            out: B::N.here(),
        });
        norm.into_iter().map(|op| (name, op)).collect()
    }

    fn block(&self, is_first: bool) -> Vec<(&'static str, TrainOp)> {
        let Table {
            qkv,
            attn_out,
            mlp_up,
            mlp_down,
            ..
        } = *self.table;
        let half = self.attention_half(is_first);
        let mut steps = self.read("attn_norm", &half);
        steps.push((
            "qkv",
            TrainOp::Qkv {
                weight: qkv.weight,
                bias: qkv.bias,
                input: half.input(),
            },
        ));
        steps.push(("attention", TrainOp::Attention));
        steps.push((
            "attention_out",
            TrainOp::Residual {
                weight: attn_out.weight,
                bias: attn_out.bias,
                input: B::A.here(),
                residual: half.residual(),
                out: B::Middle.here(),
                site: Site::AttentionOut,
            },
        ));
        let half = self.mlp_half();
        steps.extend(self.read("mlp_norm", &half));
        steps.push((
            "mlp_up",
            TrainOp::MlpUp {
                weight: mlp_up.weight,
                bias: mlp_up.bias,
                input: half.input(),
            },
        ));
        steps.push((
            "mlp_down",
            TrainOp::Residual {
                weight: mlp_down.weight,
                bias: mlp_down.bias,
                input: B::H.here(),
                residual: half.residual(),
                out: B::X.shifted(1),
                site: Site::MlpDown,
            },
        ));
        steps
    }

    fn backward(&mut self) -> Vec<TrainSection> {
        let head = self.table.head;
        let chunk = vec![
            ("logits", TrainOp::Logits { weight: head }),
            ("cross_entropy", TrainOp::CrossEntropy),
            (
                "head_input",
                TrainOp::LinearInput {
                    weight: head,
                    dy: B::Logits.here(),
                    into: Into::Store(B::DN.here()),
                },
            ),
            (
                "head_weight",
                TrainOp::LinearWeight {
                    weight: head,
                    bias: None,
                    dy: B::Logits.here(),
                    input: B::N.here(),
                },
            ),
        ];
        let mut sections = vec![self.section(Repeat::Chunks, chunk)];
        // The stream ends at the head: its gradient begins here.
        let mut steps = Vec::new();
        let half = self.head();
        through_norm(
            &mut steps,
            ["final_norm_weight", "final_norm_input"],
            &half,
            false,
        );
        sections.push(self.section(Repeat::Once, steps));
        for (from, to, is_first) in self.kinds().into_iter().rev() {
            let steps = self.block_back(is_first);
            sections.push(self.section(Repeat::LayersBack(from, to), steps));
        }
        let mut steps = Vec::new();
        let dx = self.through_mask(&mut steps, "embed_drop", Site::Embedding);
        steps.push((
            "embed_weight",
            TrainOp::EmbedWeight {
                table: self.table.token_embedding,
                // A computed table learns nothing.
                positions: self
                    .positions()
                    .filter(|_| self.spec.positions == Positions::Learned),
                dx,
            },
        ));
        sections.push(self.section(Repeat::Once, steps));
        sections
    }

    fn block_back(&self, is_first: bool) -> Vec<(&'static str, TrainOp)> {
        let Table {
            qkv,
            attn_out,
            mlp_up,
            mlp_down,
            ..
        } = *self.table;
        let mut steps = Vec::new();

        let half = self.mlp_half();
        let dy = self.through_mask(&mut steps, "mlp_down_drop", Site::MlpDown);
        steps.push(weight("mlp_down_weight", mlp_down, dy, B::H.here()));
        steps.push((
            "mlp_down_input",
            TrainOp::LinearInput {
                weight: mlp_down.weight,
                dy,
                into: Into::ThroughActivation,
            },
        ));
        read_again(&mut steps, "mlp_norm_again", &half);
        steps.push(weight("mlp_up_weight", mlp_up, B::DUp.here(), half.input()));
        steps.push(input("mlp_up_input", mlp_up, B::DUp.here(), B::DN.here()));
        through_norm(
            &mut steps,
            ["mlp_norm_weight", "mlp_norm_input"],
            &half,
            true,
        );

        let half = self.attention_half(is_first);
        let dy = self.through_mask(&mut steps, "attention_out_drop", Site::AttentionOut);
        steps.push(weight("attention_out_weight", attn_out, dy, B::A.here()));
        steps.push(input("attention_out_input", attn_out, dy, B::DA.here()));
        steps.push(("attention_input", TrainOp::AttentionInput));
        read_again(&mut steps, "attn_norm_again", &half);
        steps.push(weight("qkv_weight", qkv, B::DQkv.here(), half.input()));
        steps.push(input("qkv_input", qkv, B::DQkv.here(), B::DN.here()));
        through_norm(
            &mut steps,
            ["attn_norm_weight", "attn_norm_input"],
            &half,
            true,
        );
        steps
    }

    /// The stream's gradient as a site that drops lets it through.
    fn through_mask(
        &self,
        steps: &mut Vec<(&'static str, TrainOp)>,
        name: &'static str,
        site: Site,
    ) -> Slot {
        if self.spec.dropout == 0.0 {
            return B::DX.here();
        }
        steps.push((
            name,
            TrainOp::Dropped {
                site,
                dy: B::DX.here(),
                out: B::DN.here(),
            },
        ));
        B::DN.here()
    }

    fn section(&mut self, repeat: Repeat, steps: Vec<(&'static str, TrainOp)>) -> TrainSection {
        let steps = steps.into_iter().map(|(name, op)| TrainStep {
            name,
            kernels: self.kernels.of(&op).into(),
            op,
        });
        TrainSection {
            repeat,
            steps: steps.collect(),
        }
    }
}

fn weight(name: &'static str, layer: Projection, dy: Slot, input: Slot) -> (&'static str, TrainOp) {
    let op = TrainOp::LinearWeight {
        weight: layer.weight,
        bias: layer.bias,
        dy,
        input,
    };
    (name, op)
}

fn input(name: &'static str, layer: Projection, dy: Slot, out: Slot) -> (&'static str, TrainOp) {
    let op = TrainOp::LinearInput {
        weight: layer.weight,
        dy,
        into: Into::Store(out),
    };
    (name, op)
}

fn read_again(steps: &mut Vec<(&'static str, TrainOp)>, name: &'static str, half: &Half) {
    if let Some(norm) = half.norm {
        steps.push((
            name,
            TrainOp::NormAgain {
                norm,
                x: half.x,
                stats: half.stats,
                out: B::N.here(),
            },
        ));
    }
}

/// From the gradient of what a half read, `DN`, to that of the stream, `DX`; `goes_on` where the stream goes on past the half.
fn through_norm(
    steps: &mut Vec<(&'static str, TrainOp)>,
    [weight, input]: [&'static str; 2],
    half: &Half,
    goes_on: bool,
) {
    let (dn, dx) = (B::DN.here(), B::DX.here());
    let Some(norm) = half.norm else {
        let op = TrainOp::Add {
            a: dx,
            b: dn,
            out: dx,
        };
        steps.push((input, op));
        return;
    };
    let also = (goes_on && half.adds_to_norm).then_some(dx);
    let add = (goes_on && !half.adds_to_norm).then_some(dx);
    let (x, stats) = (half.x, half.stats);
    steps.push((
        weight,
        TrainOp::NormWeight {
            norm,
            x,
            stats,
            dy: dn,
            also,
        },
    ));
    steps.push((
        input,
        TrainOp::NormInput {
            norm,
            x,
            stats,
            dy: dn,
            also,
            add,
            out: dx,
        },
    ));
}
