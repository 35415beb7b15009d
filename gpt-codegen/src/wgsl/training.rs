//! The kernels of a training pass, each once.
//!
//! A step names the kernels that it runs; steps of one shape share them, so a kernel does not
//! depend on the step. Most kernels bind group 0 alike (`shared/train_pass`), and their buffers in
//! group 1. The modules of the operations make the kernels.

use gpt_plan::{Buffer, BufferId, Grid, Kernel, Op, Spec, Statistics, Str, Tensor, TensorId};
use gpt_shaders::files;

use super::embed::Tables;
use super::header::{Files, Header};
use super::norm;

/// Most invocations that share a row.
pub(super) const WORKGROUP: u32 = 64;

/// Columns that a workgroup of `shared/column_sums` sums.
const SUMMED: u32 = 64;
/// Invocations of a workgroup that sums columns, and of the optimizer's workgroups.
pub(super) const SUM_WORKGROUP: u32 = 256;

impl Tiling {
    /// `kernel` with this tiling.
    pub fn kernel(self, kernel: Kernel) -> Kernel {
        let Tiling { grid, workgroup, rows, groups } = self;
        Kernel { grid, workgroup, tile_rows: rows, groups, ..kernel }
    }
}

/// Collects the kernels of a model's training steps.
pub struct TrainKernels<'a> {
    model: &'a str,
    pub(super) spec: &'a Spec,
    tensors: &'a [Tensor],
    buffers: &'a [Buffer],
    kernels: Vec<Kernel>,
    /// See [`gpt_plan::Training::in_f16`].
    pub(super) in_f16: Vec<u16>,
}

/// The workgroups of a kernel, and how they cover its work.
pub(super) struct Tiling {
    pub grid: Grid,
    /// Invocations of a workgroup.
    pub workgroup: u32,
    /// Rows of the pass, of a sequence, or of a matrix that a workgroup computes.
    pub rows: u32,
    /// Workgroups along x.
    pub groups: u32,
}

impl<'a> TrainKernels<'a> {
    /// Creates an empty collection, for the model called `model`.
    pub fn new(
        model: &'a str,
        spec: &'a Spec,
        tensors: &'a [Tensor],
        buffers: &'a [Buffer],
    ) -> Self {
        TrainKernels { model, spec, tensors, buffers, kernels: Vec::new(), in_f16: Vec::new() }
    }

    /// Indices of the kernels that a step runs, in order.
    pub fn of(&mut self, op: &Op) -> Vec<u16> {
        match *op {
            Op::Embed { positions, types, scale, .. } => {
                let tables = Tables { positions: positions.is_some(), types: types.is_some() };
                vec![self.embed(tables, scale)]
            }
            Op::Norm { norm, statistics, sum, .. } => match statistics {
                Statistics::Compute => vec![self.norm(norm, sum)],
                Statistics::Stored => vec![self.norm_recompute(norm)],
            },
            Op::NormHeads { norm, rotary, .. } => vec![self.norm_heads(norm, rotary)],
            Op::NormHeadsInput { norm, .. } => vec![self.norm_heads_input(norm)],
            Op::NormHeadsWeight { norm, .. } => vec![self.norm_heads_weight(norm)],
            Op::Project(ref projection) => vec![self.forward(projection)],
            Op::Attention { scores, .. } => vec![self.attention(&scores)],
            Op::AttentionBackward { scores, rotary, .. } => {
                self.attention_backward(&scores, rotary)
            }
            Op::CrossEntropy { ref slope, .. } => vec![self.cross_entropy(slope.as_ref())],
            Op::DropoutBackward { scale, .. } => vec![self.dropout_backward(scale)],
            Op::Add { .. } => vec![self.residual_add()],
            Op::Multiply { .. } => vec![self.multiply()],
            Op::ProjectInput { weight, dy, slopes, out } => {
                vec![self.backward_input(weight, dy.buffer, slopes.is_some(), out.buffer)]
            }
            Op::ProjectWeight { weight, bias, dy, input } => {
                let product = self.backward_weight(weight, dy.buffer, input.buffer);
                let bias = bias.map(|bias| self.backward_bias(self.tensor(bias).rows, dy.buffer));
                std::iter::once(product).chain(bias).collect()
            }
            Op::NormInput { norm, residual, .. } => {
                vec![self.norm_input(norm, residual.is_some())]
            }
            Op::NormWeight { norm, .. } => vec![self.norm_weight(norm)],
            Op::EmbedBackward { positions, types, scale, dx, .. } => {
                let tables = Tables { positions: positions.is_some(), types: types.is_some() };
                self.embed_weight(tables, scale, dx.buffer)
            }
        }
    }

    /// All kernels, including the optimizer's, and for each kernel the index of the one that
    /// replaces it in f16.
    pub fn finish(mut self) -> (Vec<Kernel>, Vec<u16>) {
        self.optimizer();
        (self.kernels, self.in_f16)
    }

    /// The index of a kernel. Adds the kernel, unless an equal one was added before.
    pub(super) fn add(
        &mut self,
        name: impl std::fmt::Display,
        header: Header,
        files: Files,
        tiling: Tiling,
    ) -> u16 {
        let name = name.to_string();
        let mut kernel = tiling.kernel(header.kernel(name.clone(), files));
        // Layers of another kind may have another kernel of that name.
        for other in 2.. {
            match self.kernels.iter().position(|k| k.name == kernel.name) {
                Some(at) if self.kernels[at] == kernel => return at as u16,
                Some(_) => kernel.name = format!("{name}_{other}").into(),
                None => break,
            }
        }
        let at = self.kernels.len() as u16;
        self.kernels.push(kernel);
        self.in_f16.push(at);
        at
    }

    /// The name of a kernel: the one it was added with, and a number if another kernel has that
    /// name.
    pub(super) fn name(&self, kernel: u16) -> Str {
        self.kernels[usize::from(kernel)].name.clone()
    }

    pub(super) fn header(&self, what: &str) -> Header {
        Header::new(&format!("{}, training: {what}.", self.model))
    }

    /// The header of a kernel on rows of the stream.
    pub(super) fn rows(&self, what: &str) -> Header {
        let mut header = self.header(what);
        header.size("EMBED", self.spec.embed, "width of the residual stream");
        let stride = self.buffer(BufferId::X).stride;
        header.size("EMBED_STRIDE", stride, "stride of a row of the stream");
        let workgroup = self.row().workgroup;
        header.size("WORKGROUP_SIZE", workgroup, "invocations of a workgroup");
        header
    }

    /// A workgroup for each row of the stream.
    pub(super) fn row(&self) -> Tiling {
        norm::rows(self.spec.embed, 1)
    }

    pub(super) fn buffer(&self, id: BufferId) -> &'a Buffer {
        let found = self.buffers.iter().find(|buffer| buffer.id == id);
        found.expect("training has every buffer that its ops name")
    }

    pub(super) fn tensor(&self, id: TensorId) -> &'a Tensor {
        &self.tensors[usize::from(id.0)]
    }

    /// The gradient of the input of an activation whose output a norm reads.
    fn multiply(&mut self) -> u16 {
        let header = self.rows("the product of a gradient and slopes");
        let files = vec![files::SHARED_ENTRY_ELEMENTS, files::SHARED_MULTIPLY];
        self.add("multiply", header, files, self.row())
    }

    /// The gradient of a stream that is read without a norm.
    fn residual_add(&mut self) -> u16 {
        let header = self.rows("the sum of two gradients");
        let files = vec![files::SHARED_ENTRY_ELEMENTS, files::SHARED_ADD];
        self.add("add", header, files, self.row())
    }
}

/// The tiling of sums over rows, for `width` columns.
pub(super) fn summed(width: u32) -> Tiling {
    Tiling { grid: Grid::Fixed, workgroup: SUM_WORKGROUP, rows: 1, groups: width.div_ceil(SUMMED) }
}
