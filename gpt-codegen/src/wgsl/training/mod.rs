//! The kernels of a training pass.
//!
//! A step names the kernels that make it; steps of one shape share them, so nothing in a kernel says which step it was written for. `product`
//! has the linear layers, forward, back and their gradients; `attention` the two ways of attention; what works row by row or column by column is
//! here. All bind group 0 (`train/run.wgsl`) alike, and buffers of their own in group 1.

mod attention;
mod product;

use gpt_plan::{
    BufferName, Grid, Kernel, Norm, NormRef, Spec, Tensor, TensorId, TrainBuffer, TrainOp,
};
use gpt_shaders::{self as files, Source};

use super::bindings::bindings;
use super::header::Header;

/// Invocations that share a row, or a row of the vocabulary.
const LANES: u32 = 64;
const VOCAB_LANES: u32 = 256;

/// Columns that a workgroup sums, and its invocations.
const SUMMED: u32 = 64;
const SUM_LANES: u32 = 256;

/// Workgroups that share the columns of the embedding's gradient.
const REMAINDERS: u32 = 8;

/// Workgroups that a gradient's norm is summed by.
const NORM_GROUPS: u32 = 256;

/// The kernels that a model's training steps need, each once.
pub struct Kernels<'a> {
    model: &'a str,
    spec: &'a Spec,
    tensors: &'a [Tensor],
    buffers: &'a [TrainBuffer],
    kernels: Vec<Kernel>,
    /// See [`gpt_plan::Training::in_f16`].
    in_f16: Vec<u16>,
}

/// How many workgroups a kernel has, and how they cover its work.
struct Tiling {
    grid: Grid,
    lanes: u32,
    /// Rows of the pass, of a sequence, or of a matrix.
    rows: u32,
    /// Workgroups along x.
    groups: u32,
}

impl<'a> Kernels<'a> {
    pub fn new(
        model: &'a str,
        spec: &'a Spec,
        tensors: &'a [Tensor],
        buffers: &'a [TrainBuffer],
    ) -> Self {
        Kernels {
            model,
            spec,
            tensors,
            buffers,
            kernels: Vec::new(),
            in_f16: Vec::new(),
        }
    }

    /// Indices of the kernels that make a step, in order.
    pub fn of(&mut self, op: &TrainOp) -> Vec<u16> {
        match *op {
            TrainOp::Embed { positions, .. } => vec![self.embed(positions)],
            TrainOp::Norm { norm, .. } => vec![self.norm(norm, true)],
            TrainOp::NormAgain { norm, .. } => vec![self.norm(norm, false)],
            TrainOp::Qkv { .. }
            | TrainOp::Residual { .. }
            | TrainOp::MlpUp { .. }
            | TrainOp::Logits { .. } => vec![self.forward(op)],
            TrainOp::Attention => vec![self.attention()],
            TrainOp::AttentionInput => self.attention_back(),
            TrainOp::CrossEntropy => vec![self.cross_entropy()],
            TrainOp::Dropped { .. } => vec![self.dropped()],
            TrainOp::Add { .. } => {
                let header = self.rows("what comes back from two sides");
                vec![self.add("add", header, vec![&files::TRAIN_ADD], self.row())]
            }
            TrainOp::LinearInput { weight, dy, into } => {
                vec![self.backward(weight, dy.name, into)]
            }
            TrainOp::LinearWeight {
                weight,
                bias,
                dy,
                input,
            } => {
                let product = self.gradient(weight, dy.name, input.name);
                let bias = bias.map(|bias| self.bias(bias, dy.name));
                std::iter::once(product).chain(bias).collect()
            }
            TrainOp::NormInput {
                also, add, norm, ..
            } => vec![self.norm_input(norm, also.is_some(), add.is_some())],
            TrainOp::NormWeight { norm, also, .. } => vec![self.norm_weight(norm, also.is_some())],
            TrainOp::EmbedWeight { positions, .. } => self.embed_weight(positions.is_some()),
        }
    }

    /// All of them, with those of a step's end, which every model has; and which runs in place of which in f16.
    pub fn finish(mut self) -> (Vec<Kernel>, Vec<u16>) {
        let grid = |groups, grid| Tiling {
            grid,
            lanes: SUM_LANES,
            rows: 1,
            groups,
        };
        let header = self.header("the parameters' step");
        self.add(
            gpt_plan::ADAMW,
            header,
            vec![&files::TRAIN_ADAMW],
            grid(1, Grid::Elements(SUM_LANES)),
        );
        let mut header = self.header("the gradients' squares");
        header.size("LANES", SUM_LANES, "invocations of a workgroup");
        let parts = vec![
            &files::SUM_ROOM,
            &files::SUM_MEMORY,
            &files::TRAIN_GRADIENT_NORM,
        ];
        self.add(
            gpt_plan::GRADIENT_NORM,
            header,
            parts,
            grid(NORM_GROUPS, Grid::Fixed),
        );
        (self.kernels, self.in_f16)
    }

    /// The kernel of these parts, which may be there already.
    fn add(
        &mut self,
        name: impl std::fmt::Display,
        header: Header,
        parts: Vec<&'static Source>,
        tiling: Tiling,
    ) -> u16 {
        let kernel = Kernel {
            name: name.to_string().into(),
            header: header.finish().into(),
            grid: tiling.grid,
            bindings: bindings(&parts),
            parts: parts.into(),
            workgroup: tiling.lanes,
            tile_rows: tiling.rows,
            groups: tiling.groups,
            strips: 0,
        };
        let known = self.kernels.iter().position(|k| *k == kernel);
        let at = known.unwrap_or_else(|| {
            let at = self.kernels.len();
            self.kernels.push(kernel);
            self.in_f16.push(at as u16);
            at
        });
        at as u16
    }

    fn header(&self, what: &str) -> Header {
        Header::new(&format!("{}, training: {what}.", self.model))
    }

    /// What a kernel on the stream's rows is told.
    fn rows(&self, what: &str) -> Header {
        let mut header = self.header(what);
        header.size("EMBED", self.spec.embed, "width of the residual stream");
        header.size(
            "EMBED_STRIDE",
            self.buffer(BufferName::X).stride,
            "from one of its rows to the next",
        );
        header.size("LANES", self.row().lanes, "invocations of a workgroup");
        header
    }

    /// A workgroup for each row of the stream: where that is narrow, of few invocations, as those wait for each other.
    fn row(&self) -> Tiling {
        Tiling {
            grid: Grid::Rows,
            lanes: (self.spec.embed / 4).next_power_of_two().clamp(16, LANES),
            rows: 1,
            groups: 1,
        }
    }

    fn buffer(&self, name: BufferName) -> &'a TrainBuffer {
        &self.buffers[name as usize]
    }

    fn tensor(&self, id: TensorId) -> &'a Tensor {
        &self.tensors[usize::from(id.0)]
    }

    /// The file that knows which elements are left out.
    fn drop_part(&self) -> &'static Source {
        if self.spec.dropout > 0.0 {
            &files::TRAIN_DROP_MASK
        } else {
            &files::TRAIN_DROP_NONE
        }
    }

    fn embed(&mut self, positions: Option<TensorId>) -> u16 {
        let header = self.rows("the stream's beginning");
        let parts = vec![
            &files::TRAIN_RUN,
            if positions.is_some() {
                &files::TRAIN_POSITIONS_TABLE
            } else {
                &files::TRAIN_POSITIONS_NONE
            },
            self.drop_part(),
            &files::TRAIN_EMBED,
        ];
        self.add("embed", header, parts, self.row())
    }

    fn norm(&mut self, norm: NormRef, made: bool) -> u16 {
        let mut header = self.rows(if made { "a norm" } else { "a norm, once more" });
        let mut parts = vec![&files::ENTRY_PLAIN];
        if made {
            let (file, eps) = match self.spec.norm {
                Norm::LayerNorm { eps } => (&files::TRAIN_NORM_LAYER, eps),
                Norm::RmsNorm { eps } => (&files::TRAIN_NORM_RMS, eps),
            };
            header.number("EPSILON", eps, "added to the variance");
            parts.extend([
                &files::SUM_ROOM,
                &files::SUM_MEMORY,
                file,
                &files::TRAIN_NORM_MADE,
            ]);
        } else {
            parts.push(&files::TRAIN_NORM_KEPT);
        }
        parts.push(if norm.beta.is_some() {
            &files::TRAIN_NORM_SHIFT
        } else {
            &files::TRAIN_NORM_NO_SHIFT
        });
        parts.push(&files::TRAIN_NORM);
        let name = if made { "norm" } else { "norm_again" };
        self.add(name, header, parts, self.row())
    }

    fn norm_input(&mut self, _: NormRef, also: bool, add: bool) -> u16 {
        let mut header = self.rows("the gradient of what a norm read");
        let centred = match self.spec.norm {
            Norm::LayerNorm { .. } => 1.0,
            Norm::RmsNorm { .. } => 0.0,
        };
        header.number("CENTRED", centred, "1 where the norm takes the mean out");
        let (name, stream) = match (also, add) {
            (true, _) => ("norm_input_also", &files::TRAIN_STREAM_ALSO),
            (_, true) => ("norm_input_adds", &files::TRAIN_STREAM_ADDS),
            _ => ("norm_input_ends", &files::TRAIN_STREAM_ENDS),
        };
        let parts = vec![
            &files::ENTRY_PLAIN,
            &files::SUM_ROOM,
            &files::SUM_MEMORY,
            stream,
            &files::TRAIN_NORM_INPUT,
        ];
        self.add(name, header, parts, self.row())
    }

    fn norm_weight(&mut self, norm: NormRef, also: bool) -> u16 {
        let mut header = self.rows("the gradients of what a norm scales and shifts by");
        header.size("WIDTH", self.spec.embed, "columns");
        let came = if also {
            &files::TRAIN_COLUMNS_CAME_ALSO
        } else {
            &files::TRAIN_COLUMNS_CAME
        };
        let shift = if norm.beta.is_some() {
            &files::TRAIN_COLUMNS_SHIFT
        } else {
            &files::TRAIN_COLUMNS_NO_SHIFT
        };
        let norm = &files::TRAIN_COLUMNS_NORM;
        let parts = vec![&files::TRAIN_RUN, came, shift, norm, &files::TRAIN_COLUMNS];
        let name = if also {
            "norm_weight_also"
        } else {
            "norm_weight"
        };
        self.add(name, header, parts, summed(self.spec.embed))
    }

    fn bias(&mut self, bias: TensorId, dy: BufferName) -> u16 {
        let dy = self.buffer(dy);
        let width = self.tensor(bias).rows;
        let mut header = self.header(&format!("the gradient of {width} biases"));
        // A gated layer's halves are padded one by one.
        let half = if dy.width == width { width } else { width / 2 };
        let second = if dy.width == width {
            width
        } else {
            dy.width / 2
        };
        header.size("WIDTH", width, "columns");
        header.size("DY_STRIDE", dy.stride, "from a row of dy to the next");
        header.size("HALF", half, "columns of a half");
        header.size("SECOND", second, "where the second one begins in dy");
        let bias = &files::TRAIN_COLUMNS_BIAS;
        let parts = vec![&files::TRAIN_RUN, bias, &files::TRAIN_COLUMNS];
        let name = format!("bias_{width}_{}", dy.stride);
        self.add(name, header, parts, summed(width))
    }

    fn cross_entropy(&mut self) -> u16 {
        let logits = self.buffer(BufferName::Logits);
        let mut header = self.header("the loss, and the logits' gradient");
        header.size("VOCAB", logits.width, "tokens");
        header.size("VOCAB_STRIDE", logits.stride, "from a row to the next");
        header.size("LANES", VOCAB_LANES, "invocations of a workgroup");
        let parts = vec![
            &files::ENTRY_PLAIN,
            &files::TRAIN_RUN,
            &files::SUM_ROOM,
            &files::SUM_MEMORY,
            &files::MAXIMUM_MEMORY,
            &files::TRAIN_CROSS_ENTROPY,
        ];
        let grid = Tiling {
            lanes: VOCAB_LANES,
            ..self.row()
        };
        self.add("cross_entropy", header, parts, grid)
    }

    fn dropped(&mut self) -> u16 {
        let header = self.rows("a gradient through a mask");
        let parts = vec![&files::TRAIN_RUN, self.drop_part(), &files::TRAIN_DROPPED];
        self.add("dropped", header, parts, self.row())
    }

    fn embed_weight(&mut self, positions: bool) -> Vec<u16> {
        let mut header = self.rows("the gradient of the embedding");
        header.size("REMAINDERS", REMAINDERS, "workgroups that share a column");
        let lanes = self.row().lanes;
        let grid = Tiling {
            grid: Grid::Fixed,
            lanes,
            rows: REMAINDERS,
            groups: self.spec.embed.div_ceil(lanes),
        };
        let parts = vec![&files::TRAIN_RUN, &files::TRAIN_EMBED_WEIGHT];
        let mut kernels = vec![self.add("embed_weight", header, parts, grid)];
        if positions {
            let header = self.rows("the gradient of the positions");
            let parts = vec![&files::TRAIN_RUN, &files::TRAIN_POSITIONS_GRADIENT];
            let grid = Tiling {
                grid: Grid::Tokens,
                ..self.row()
            };
            kernels.push(self.add("positions_weight", header, parts, grid));
        }
        kernels
    }
}

fn summed(width: u32) -> Tiling {
    Tiling {
        grid: Grid::Fixed,
        lanes: SUM_LANES,
        rows: 1,
        groups: width.div_ceil(SUMMED),
    }
}
