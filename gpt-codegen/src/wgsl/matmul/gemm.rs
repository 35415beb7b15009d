//! Linear layers in training: forward, the gradient of their input, the gradient of their weights.
//!
//! All three run the loop of `matmul/gemm.wgsl`. They differ in the files that read the operands
//! (`matmul/gemm/`), in the precision (`operands_f32`, `operands_f16`), and in the epilogue
//! (`matmul/epilogue/`). A quad is four neighbouring columns, read as one vector.

use gpt_plan::{
    BufferId, Epilogue, Grid, Heads, Projection, TRAIN_COLUMNS, TRAIN_ROWS, Tensor, TensorId,
};
use gpt_shaders::files;

use super::rope;
use crate::wgsl::header::{Files, Header};
use crate::wgsl::training::{Tiling, TrainKernels, summed};
use crate::wgsl::{activation, loss};

/// Invocations of a workgroup. `matmul/gemm.wgsl` has this number built in.
const WORKGROUP: u32 = 32;

impl TrainKernels<'_> {
    /// `y = x Wᵀ`, with an epilogue.
    pub(in crate::wgsl) fn forward(&mut self, projection: &Projection) -> u16 {
        let Projection { input, weight, bias, ref epilogue, .. } = *projection;
        let gated = matches!(epilogue, Epilogue::Activation { gated: true, .. });
        let (name, out) = match *epilogue {
            Epilogue::Store { out, .. } if out.buffer == BufferId::Logits => ("logits", out),
            Epilogue::Store { out, .. } => ("store", out),
            Epilogue::Activation { out, .. } => ("mlp_up", out),
            Epilogue::Residual { out, .. } => ("residual", out),
            Epilogue::Heads { heads: Heads::Fused { qkv }, .. } => ("qkv", qkv),
            Epilogue::Heads { .. } => unreachable!("training has no cache"),
        };
        let (input, out) = (input.buffer, out.buffer);
        let matrix = self.tensor(weight);
        let (input, out) = (self.buffer(input), self.buffer(out));
        let mut header = self.header(&format!("{} features from {}", matrix.rows, matrix.columns));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("X_STRIDE", input.stride, "stride of a row of x");
        header.size("WIDTH", out.width, "width of the output");
        output_stride(&mut header, out.stride);
        let mut files = product_files();
        files.extend([files::MATMUL_GEMM_STAGE, files::MATMUL_GEMM_FORWARD, weight_file(matrix)]);
        if gated {
            let second = if has_quads(matrix) {
                files::MATMUL_GEMM_SECOND_WEIGHT_QUADS
            } else {
                files::MATMUL_GEMM_SECOND_WEIGHT_SINGLE
            };
            files.extend([second, files::MATMUL_GEMM_GATED_FEATURES]);
        } else {
            files.extend([files::MATMUL_GEMM_FEATURES, files::MATMUL_GEMM_QUAD]);
        }
        let bias = match bias {
            Some(_) => files::MATMUL_BIAS_TENSOR,
            None => files::MATMUL_BIAS_NONE,
        };
        files.extend([bias, files::MATMUL_BIAS_QUAD]);
        files.push(files::MATMUL_EPILOGUE_PADDING);
        self.epilogue(epilogue, &mut header, &mut files);
        let features = if gated {
            (matrix.rows / 2).div_ceil(TRAIN_COLUMNS / 2)
        } else {
            matrix.rows.div_ceil(TRAIN_COLUMNS)
        };
        let name = format!("{name}_{}_{}", matrix.rows, matrix.columns);
        let each = if gated { TRAIN_COLUMNS / 2 } else { TRAIN_COLUMNS };
        self.product(name, header, files, features, Grid::Features(each))
    }

    /// The kernel of a product, and its twin in f16.
    fn product(
        &mut self,
        name: String,
        header: Header,
        files: Files,
        groups: u32,
        grid: Grid,
    ) -> u16 {
        let tiling = || Tiling { grid, workgroup: WORKGROUP, rows: TRAIN_ROWS, groups };
        let with = |operands| files.iter().copied().chain([operands]).collect();
        let mut f16_header = header.clone();
        f16_header.enable("f16", "operands are rounded to f16");
        let f32_files = with(files::MATMUL_GEMM_OPERANDS_F32);
        let f16_files = with(files::MATMUL_GEMM_OPERANDS_F16);
        let kernel = self.add(&name, header, f32_files, tiling());
        let name = self.name(kernel);
        let twin = self.add(format!("{name}_f16"), f16_header, f16_files, tiling());
        self.in_f16[usize::from(kernel)] = twin;
        kernel
    }

    fn epilogue(&self, epilogue: &Epilogue, header: &mut Header, files: &mut Files) {
        let spec = self.spec;
        let file = match *epilogue {
            Epilogue::Heads { rotary, .. } => {
                header.size("HEAD_DIM", spec.head_dim, "width of a head");
                let rotated = spec.q_width() + spec.kv_width();
                header.size("ROTATED_WIDTH", rotated, "width of queries and keys");
                rope(spec, rotary, header, files);
                files::MATMUL_EPILOGUE_TRAIN_QKV
            }
            Epilogue::Residual { scale, .. } => {
                header.number("BRANCH_SCALE", scale, "factor of the branch");
                files.push(self.dropout_file());
                files::MATMUL_EPILOGUE_TRAIN_RESIDUAL
            }
            Epilogue::Activation { gated, out, slopes } => {
                let slopes = slopes.expect("training stores slopes").buffer;
                self.slope_sizes(gated, [slopes, out.buffer], header);
                activation::add(&spec.mlp.activation, true, header, files);
                if gated {
                    files::MATMUL_EPILOGUE_TRAIN_GATED
                } else {
                    files::MATMUL_EPILOGUE_TRAIN_ACTIVATION
                }
            }
            Epilogue::Store { ref map, .. } => {
                loss::logit_map(map.as_ref(), header, files);
                let doc = "parts of the matrix compute different columns";
                header.flag("PARTS_ARE_COLUMNS", true, doc);
                files::MATMUL_EPILOGUE_STORE
            }
        };
        files.push(file);
    }

    /// Adds the stride of the buffer of slopes. For a `gated` activation, also adds the offset of
    /// the second half of a row of slopes and the stride of the activation's output.
    fn slope_sizes(&self, gated: bool, [slopes, out]: [BufferId; 2], header: &mut Header) {
        let slopes = self.buffer(slopes);
        let doc = "stride of a row of slopes, in quads";
        header.size("SLOPE_QUADS", slopes.stride / 4, doc);
        if gated {
            header.size("HALF", slopes.width / 2, "offset of the second half of slopes");
            header.size("HALF_QUADS", slopes.width / 8, "offset of the second half, in quads");
            header.size("SLOPE_STRIDE", slopes.stride, "stride of a row of slopes");
            let out = self.buffer(out).stride;
            header.size("OUT_STRIDE", out, "stride of a row of the output");
        }
    }

    /// `dx = dy W`. With `slopes`, `x` is the output of the activation, and the epilogue continues
    /// to the gradient of the activation's input.
    pub(in crate::wgsl) fn backward_input(
        &mut self,
        weight: TensorId,
        dy: BufferId,
        slopes: bool,
        out: BufferId,
    ) -> u16 {
        let matrix = self.tensor(weight);
        let dy = self.buffer(dy);
        let mut header = self.header(&format!(
            "the gradient of {} inputs from {} outputs",
            matrix.columns, matrix.rows
        ));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("DY_STRIDE", dy.stride, "stride of a row of dy");
        header.size("WIDTH", matrix.columns, "width of the output");
        let mut files = product_files();
        files.extend([
            files::MATMUL_GEMM_STAGE,
            files::MATMUL_GEMM_BACKWARD_INPUT,
            weight_file(matrix),
            files::MATMUL_GEMM_QUAD,
            files::MATMUL_EPILOGUE_PADDING,
        ]);
        let name = match slopes {
            false => {
                output_stride(&mut header, self.buffer(out).stride);
                let doc = "parts of the matrix add up";
                header.flag("PARTS_ARE_COLUMNS", false, doc);
                loss::logit_map(None, &mut header, &mut files);
                files.extend([files::MATMUL_BIAS_NONE, files::MATMUL_BIAS_QUAD]);
                files.push(files::MATMUL_EPILOGUE_STORE);
                "input"
            }
            true => {
                let gated = self.spec.mlp.gated;
                self.slope_sizes(gated, [BufferId::Slopes, BufferId::H], &mut header);
                files.push(files::MATMUL_EPILOGUE_SLOPES);
                files.push(if gated {
                    files::MATMUL_EPILOGUE_BACKWARD_GATED
                } else {
                    files::MATMUL_EPILOGUE_BACKWARD_ACTIVATION
                });
                "through"
            }
        };
        let name = format!("{name}_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, files, columns, Grid::Rows)
    }

    /// `dW += dyᵀ x`.
    pub(in crate::wgsl) fn backward_weight(
        &mut self,
        weight: TensorId,
        dy: BufferId,
        x: BufferId,
    ) -> u16 {
        let matrix = self.tensor(weight);
        let (dy, x) = (self.buffer(dy), self.buffer(x));
        let mut header = self
            .header(&format!("the gradient of {} rows by {} columns", dy.width, matrix.columns));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("DY_QUADS", dy.stride / 4, "stride of a row of dy, in quads");
        header.size("X_QUADS", x.stride / 4, "stride of a row of x, in quads");
        let mut files = product_files();
        files.extend([
            files::MATMUL_GEMM_BACKWARD_WEIGHT,
            if has_quads(matrix) {
                files::MATMUL_GEMM_WEIGHT_GRADIENT_QUADS
            } else {
                files::MATMUL_GEMM_WEIGHT_GRADIENT_SINGLE
            },
            files::MATMUL_GEMM_QUAD,
        ]);
        let name = format!("weight_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, files, columns, Grid::WeightRows)
    }

    /// The gradient of a bias of `width` elements.
    pub(in crate::wgsl) fn backward_bias(&mut self, width: u32, dy: BufferId) -> u16 {
        let dy = self.buffer(dy);
        let mut header = self.header(&format!("the gradient of {width} biases"));
        // The halves of a gated layer are padded separately.
        let (half, second) =
            if dy.width == width { (width, width) } else { (width / 2, dy.width / 2) };
        header.size("WIDTH", width, "columns");
        header.size("DY_STRIDE", dy.stride, "stride of a row of dy");
        header.size("HALF", half, "columns of a half");
        header.size("SECOND_HALF", second, "offset of the second half in dy");
        let files =
            vec![files::SHARED_TRAIN_PASS, files::MATMUL_BIAS_BACKWARD, files::SHARED_COLUMN_SUMS];
        let name = format!("bias_{width}_{}", dy.stride);
        self.add(name, header, files, summed(width))
    }
}

/// The files of every product.
fn product_files() -> Files {
    vec![
        files::SHARED_TRAIN_PASS,
        files::MATMUL_SUMS,
        files::MATMUL_GEMM,
        files::MATMUL_GEMM_SINGLE_BUFFER,
        files::SHARED_ENTRY_PLAIN,
        files::MATMUL_ROW_BROADCAST_MEMORY,
    ]
}

fn output_stride(header: &mut Header, stride: u32) {
    let doc = "stride of a row of the output, in quads";
    header.size("OUT_QUADS", stride / 4, doc);
}

fn has_quads(matrix: &Tensor) -> bool {
    matrix.columns.is_multiple_of(4)
}

fn weight_file(matrix: &Tensor) -> &'static str {
    if has_quads(matrix) {
        files::MATMUL_GEMM_WEIGHT_QUADS
    } else {
        files::MATMUL_GEMM_WEIGHT_SINGLE
    }
}
