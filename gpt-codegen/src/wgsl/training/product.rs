//! Linear layers: forward, the gradient of what they read, the gradient of their weights.
//!
//! All three are `train/product.wgsl` and differ in how operands are staged (`train/product/`), in what these are rounded to (`train/operands/`), and
//! in what becomes of the products (`train/write/`).

use gpt_plan::{
    Activation, BufferName, Into, TRAIN_COLUMNS, TRAIN_ROWS, Tensor, TensorId, TrainOp,
};
use gpt_shaders::files;

use super::{Grid, Header, Kernels};
use crate::formula;

/// Invocations of a workgroup; `train/product.wgsl` is written for as many.
const LANES: u32 = 32;

impl Kernels<'_> {
    /// `y = x W^T`, and what follows.
    pub(super) fn forward(&mut self, op: &TrainOp) -> u16 {
        use BufferName as B;
        let spec = self.spec;
        let gated = matches!(op, TrainOp::MlpUp { .. }) && spec.mlp.gated;
        let (weight, bias, input, out) = match *op {
            TrainOp::Qkv {
                weight,
                bias,
                input,
            } => (weight, bias, input.name, B::Qkv),
            TrainOp::Residual {
                weight,
                bias,
                input,
                out,
                ..
            } => (weight, bias, input.name, out.name),
            TrainOp::MlpUp {
                weight,
                bias,
                input,
            } => (weight, bias, input.name, B::H),
            TrainOp::Logits { weight } => (weight, None, B::N, B::Logits),
            _ => unreachable!("no linear layer"),
        };
        let matrix = self.tensor(weight);
        let (input, out) = (self.buffer(input), self.buffer(out));
        let mut header = self.header(&format!("{} features from {}", matrix.rows, matrix.columns));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("X_STRIDE", input.stride, "from a row of x to the next");
        header.size("WIDTH", out.width, "width of the output");
        header.size(
            "OUT_QUADS",
            out.stride / 4,
            "quads from one of its rows to the next",
        );
        let mut parts = vec![
            files::SHARED_TRAIN_PASS,
            files::MATMUL_GEMM,
            files::MATMUL_GEMM_SINGLE_BUFFER,
            files::SHARED_ENTRY_PLAIN,
            files::MATMUL_ROW_BROADCAST_MEMORY,
            files::MATMUL_GEMM_FORWARD,
            weight_part(matrix),
        ];
        if gated {
            parts.extend([second_part(matrix), files::MATMUL_GEMM_GATED_FEATURES]);
        } else {
            parts.extend([files::MATMUL_GEMM_FEATURES, files::MATMUL_GEMM_QUAD]);
        }
        if !matches!(op, TrainOp::Logits { .. }) {
            parts.push(if bias.is_some() {
                files::MATMUL_BIAS_TENSOR
            } else {
                files::MATMUL_BIAS_TRAIN_NONE
            });
        }
        parts.push(files::MATMUL_EPILOGUE_PADDING);
        let name = match op {
            TrainOp::Qkv { .. } => {
                self.qkv_parts(&mut header, &mut parts);
                "qkv"
            }
            TrainOp::Residual { .. } => {
                parts.extend([self.drop_part(), files::MATMUL_EPILOGUE_TRAIN_RESIDUAL]);
                "residual"
            }
            TrainOp::MlpUp { .. } => {
                self.up_parts(&mut header, &mut parts);
                "mlp_up"
            }
            _ => {
                header.flag(
                    "PARTS_ARE_COLUMNS",
                    true,
                    "parts of the matrix make columns of their own",
                );
                parts.push(files::MATMUL_EPILOGUE_STORE);
                "logits"
            }
        };
        let features = if gated {
            (matrix.rows / 2).div_ceil(TRAIN_COLUMNS / 2)
        } else {
            matrix.rows.div_ceil(TRAIN_COLUMNS)
        };
        let name = format!("{name}_{}_{}", matrix.rows, matrix.columns);
        self.product(name, header, parts, features)
    }

    /// The kernel of a product, and its twin in f16.
    fn product(
        &mut self,
        name: String,
        header: Header,
        parts: Vec<&'static str>,
        groups: u32,
    ) -> u16 {
        let of = |operands| parts.iter().copied().chain([operands]).collect();
        let mut halves = header.clone();
        halves.enable("f16", "operands are rounded to it");
        let (f32, f16) = (
            files::MATMUL_GEMM_OPERANDS_F32,
            files::MATMUL_GEMM_OPERANDS_F16,
        );
        let kernel = self.add(&name, header, of(f32), grid(groups));
        let twin = self.add(format!("{name}_f16"), halves, of(f16), grid(groups));
        self.in_f16[usize::from(kernel)] = twin;
        kernel
    }

    fn qkv_parts(&self, header: &mut Header, parts: &mut Vec<&'static str>) {
        let spec = self.spec;
        header.size("HEAD_DIM", spec.head_dim, "width of a head");
        header.size(
            "ROTATED_WIDTH",
            spec.q_width() + spec.kv_width(),
            "width of queries and keys",
        );
        parts.push(if spec.rotary() {
            files::ROPE_PAIRS
        } else {
            files::ROPE_TRAIN_NONE
        });
        parts.push(files::MATMUL_EPILOGUE_TRAIN_QKV);
    }

    fn up_parts(&self, header: &mut Header, parts: &mut Vec<&'static str>) {
        let spec = self.spec;
        self.slope_sizes(header);
        parts.extend(match &spec.mlp.activation {
            Activation::Gelu => vec![files::ACTIVATION_GELU, files::ACTIVATION_SLOPE_GELU],
            Activation::GeluTanh => {
                vec![
                    files::ACTIVATION_GELU_TANH,
                    files::ACTIVATION_SLOPE_GELU_TANH,
                ]
            }
            Activation::Relu => vec![files::ACTIVATION_RELU, files::ACTIVATION_SLOPE_RELU],
            Activation::Silu => vec![files::ACTIVATION_SILU, files::ACTIVATION_SLOPE_SILU],
            Activation::Custom { value, derivative } => {
                let text = formula::wgsl("activation", value);
                header.function("activation", "The closure of the spec.", &text);
                let text = formula::wgsl("slope", derivative);
                header.function("slope", "Its derivative.", &text);
                Vec::new()
            }
        });
        parts.push(if spec.mlp.gated {
            files::MATMUL_EPILOGUE_TRAIN_GATED
        } else {
            files::MATMUL_EPILOGUE_TRAIN_ACTIVATION
        });
    }

    fn slope_sizes(&self, header: &mut Header) {
        let slopes = self.buffer(BufferName::Slopes);
        header.size(
            "SLOPE_QUADS",
            slopes.stride / 4,
            "quads from a row of slopes to the next",
        );
        if self.spec.mlp.gated {
            header.size("HALF", slopes.width / 2, "where their second half begins");
            header.size("HALF_QUADS", slopes.width / 8, "the same in quads");
            header.size("SLOPE_STRIDE", slopes.stride, "from a row to the next");
            let out = self.buffer(BufferName::H).stride;
            header.size("OUT_STRIDE", out, "from a row of the output to the next");
        }
    }

    /// `dx = dy W`.
    pub(super) fn backward(&mut self, weight: TensorId, dy: BufferName, into: Into) -> u16 {
        let matrix = self.tensor(weight);
        let dy = self.buffer(dy);
        let mut header = self.header(&format!(
            "the gradient of {} inputs from that of {} outputs",
            matrix.columns, matrix.rows
        ));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("DY_STRIDE", dy.stride, "from a row of dy to the next");
        header.size("WIDTH", matrix.columns, "width of the output");
        let mut parts = vec![
            files::SHARED_TRAIN_PASS,
            files::MATMUL_GEMM,
            files::MATMUL_GEMM_SINGLE_BUFFER,
            files::SHARED_ENTRY_PLAIN,
            files::MATMUL_ROW_BROADCAST_MEMORY,
            files::MATMUL_GEMM_BACKWARD_INPUT,
            weight_part(matrix),
            files::MATMUL_GEMM_QUAD,
            files::MATMUL_EPILOGUE_PADDING,
        ];
        let name = match into {
            Into::Store(out) => {
                header.size(
                    "OUT_QUADS",
                    self.buffer(out.name).stride / 4,
                    "quads from one of its rows to the next",
                );
                header.flag("PARTS_ARE_COLUMNS", false, "parts of the matrix add up");
                parts.push(files::MATMUL_EPILOGUE_STORE);
                "input"
            }
            Into::ThroughActivation => {
                self.slope_sizes(&mut header);
                parts.push(if self.spec.mlp.gated {
                    files::MATMUL_EPILOGUE_BACKWARD_GATED
                } else {
                    files::MATMUL_EPILOGUE_BACKWARD_ACTIVATION
                });
                "through"
            }
        };
        let name = format!("{name}_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, parts, columns)
    }

    /// `dW += dy^T x`.
    pub(super) fn gradient(&mut self, weight: TensorId, dy: BufferName, x: BufferName) -> u16 {
        let matrix = self.tensor(weight);
        let (dy, x) = (self.buffer(dy), self.buffer(x));
        let mut header = self.header(&format!(
            "the gradient of {} rows by {} columns",
            dy.width, matrix.columns
        ));
        header.size("COLUMNS", matrix.columns, "columns of the matrix");
        header.size("DY_QUADS", dy.stride / 4, "quads from a row to the next");
        header.size("X_QUADS", x.stride / 4, "the same of x");
        let parts = vec![
            files::SHARED_TRAIN_PASS,
            files::MATMUL_GEMM,
            files::MATMUL_GEMM_SINGLE_BUFFER,
            files::SHARED_ENTRY_PLAIN,
            files::MATMUL_ROW_BROADCAST_MEMORY,
            files::MATMUL_GEMM_BACKWARD_WEIGHT,
            if has_quads(matrix) {
                files::MATMUL_GEMM_WEIGHT_GRADIENT_QUADS
            } else {
                files::MATMUL_GEMM_WEIGHT_GRADIENT_SINGLE
            },
            files::MATMUL_GEMM_QUAD,
        ];
        let name = format!("weight_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, parts, columns)
    }
}

fn grid(groups: u32) -> Grid {
    Grid {
        lanes: LANES,
        rows: TRAIN_ROWS,
        groups,
    }
}

fn has_quads(matrix: &Tensor) -> bool {
    matrix.columns.is_multiple_of(4)
}

fn weight_part(matrix: &Tensor) -> &'static str {
    if has_quads(matrix) {
        files::MATMUL_GEMM_WEIGHT_QUADS
    } else {
        files::MATMUL_GEMM_WEIGHT_SINGLE
    }
}

fn second_part(matrix: &Tensor) -> &'static str {
    if has_quads(matrix) {
        files::MATMUL_GEMM_SECOND_WEIGHT_QUADS
    } else {
        files::MATMUL_GEMM_SECOND_WEIGHT_SINGLE
    }
}
