//! Linear layers: forward, the gradient of what they read, the gradient of their weights.
//!
//! All three are `train/product.wgsl` and differ in how operands are staged (`train/product/`), in what these are rounded to (`train/operands/`), and
//! in what becomes of the products (`train/write/`).

use gpt_plan::{
    Activation, BufferName, Grid, Into, TRAIN_COLUMNS, TRAIN_ROWS, Tensor, TensorId, TrainOp,
};
use gpt_shaders::{self as files, Source};

use super::{Header, Kernels, Tiling};
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
            &files::TRAIN_RUN,
            &files::TRAIN_PRODUCT,
            &files::TRAIN_PRODUCT_SINGLE,
            &files::ENTRY_PLAIN,
            &files::HOLD_PLAIN,
            &files::TRAIN_PRODUCT_FORWARD,
            weight_part(matrix),
        ];
        if gated {
            parts.extend([second_part(matrix), &files::TRAIN_PRODUCT_HALVES]);
        } else {
            parts.extend([&files::TRAIN_PRODUCT_FEATURES, &files::TRAIN_PRODUCT_QUAD]);
        }
        if !matches!(op, TrainOp::Logits { .. }) {
            parts.push(if bias.is_some() {
                &files::TRAIN_BIAS_VECTOR
            } else {
                &files::TRAIN_BIAS_NONE
            });
        }
        parts.push(&files::TRAIN_MASKED);
        let name = match op {
            TrainOp::Qkv { .. } => {
                self.qkv_parts(&mut header, &mut parts);
                "qkv"
            }
            TrainOp::Residual { .. } => {
                parts.extend([self.drop_part(), &files::TRAIN_WRITE_RESIDUAL]);
                "residual"
            }
            TrainOp::MlpUp { .. } => {
                self.up_parts(&mut header, &mut parts);
                "mlp_up"
            }
            _ => {
                header.flag(
                    "BESIDE",
                    true,
                    "parts of the matrix make columns of their own",
                );
                parts.push(&files::TRAIN_WRITE_STORE);
                "logits"
            }
        };
        let features = if gated {
            (matrix.rows / 2).div_ceil(TRAIN_COLUMNS / 2)
        } else {
            matrix.rows.div_ceil(TRAIN_COLUMNS)
        };
        let name = format!("{name}_{}_{}", matrix.rows, matrix.columns);
        let each = if gated {
            TRAIN_COLUMNS / 2
        } else {
            TRAIN_COLUMNS
        };
        let grid = Grid::Features(each);
        self.product(name, header, parts, features, grid)
    }

    /// The kernel of a product, and its twin in f16.
    fn product(
        &mut self,
        name: String,
        header: Header,
        parts: Vec<&'static Source>,
        groups: u32,
        grid: Grid,
    ) -> u16 {
        let of = |operands| parts.iter().copied().chain([operands]).collect();
        let mut halves = header.clone();
        halves.enable("f16", "operands are rounded to it");
        let (f32, f16) = (&files::TRAIN_OPERANDS_F32, &files::TRAIN_OPERANDS_F16);
        let kernel = self.add(&name, header, of(f32), tiling(groups, grid));
        let twin = self.add(format!("{name}_f16"), halves, of(f16), tiling(groups, grid));
        self.in_f16[usize::from(kernel)] = twin;
        kernel
    }

    fn qkv_parts(&self, header: &mut Header, parts: &mut Vec<&'static Source>) {
        let spec = self.spec;
        header.size("HEAD_DIM", spec.head_dim, "width of a head");
        header.size(
            "TURNED",
            spec.q_width() + spec.kv_width(),
            "width of queries and keys",
        );
        parts.push(if spec.rotary() {
            &files::TRAIN_ROTARY_PAIRS
        } else {
            &files::TRAIN_ROTARY_NONE
        });
        parts.push(&files::TRAIN_WRITE_QKV);
    }

    fn up_parts(&self, header: &mut Header, parts: &mut Vec<&'static Source>) {
        let spec = self.spec;
        self.slope_sizes(header);
        parts.extend(match &spec.mlp.activation {
            Activation::Gelu => vec![&files::ACTIVATION_GELU, &files::TRAIN_SLOPE_GELU],
            Activation::GeluTanh => {
                vec![&files::ACTIVATION_GELU_TANH, &files::TRAIN_SLOPE_GELU_TANH]
            }
            Activation::Relu => vec![&files::ACTIVATION_RELU, &files::TRAIN_SLOPE_RELU],
            Activation::Silu => vec![&files::ACTIVATION_SILU, &files::TRAIN_SLOPE_SILU],
            Activation::Custom { value, derivative } => {
                let text = formula::wgsl("activation", value);
                header.function("activation", "The closure of the spec.", &text);
                let text = formula::wgsl("slope", derivative);
                header.function("slope", "Its derivative.", &text);
                Vec::new()
            }
        });
        parts.push(if spec.mlp.gated {
            &files::TRAIN_WRITE_GATED
        } else {
            &files::TRAIN_WRITE_ACTIVATION
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
            &files::TRAIN_RUN,
            &files::TRAIN_PRODUCT,
            &files::TRAIN_PRODUCT_SINGLE,
            &files::ENTRY_PLAIN,
            &files::HOLD_PLAIN,
            &files::TRAIN_PRODUCT_BACKWARD,
            weight_part(matrix),
            &files::TRAIN_PRODUCT_QUAD,
            &files::TRAIN_MASKED,
        ];
        let name = match into {
            Into::Store(out) => {
                header.size(
                    "OUT_QUADS",
                    self.buffer(out.name).stride / 4,
                    "quads from one of its rows to the next",
                );
                header.flag("BESIDE", false, "parts of the matrix add up");
                parts.push(&files::TRAIN_WRITE_STORE);
                "input"
            }
            Into::ThroughActivation => {
                self.slope_sizes(&mut header);
                parts.push(if self.spec.mlp.gated {
                    &files::TRAIN_WRITE_THROUGH_GATED
                } else {
                    &files::TRAIN_WRITE_THROUGH_DENSE
                });
                "through"
            }
        };
        let name = format!("{name}_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, parts, columns, Grid::Rows)
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
            &files::TRAIN_RUN,
            &files::TRAIN_PRODUCT,
            &files::TRAIN_PRODUCT_SINGLE,
            &files::ENTRY_PLAIN,
            &files::HOLD_PLAIN,
            &files::TRAIN_PRODUCT_GRADIENT,
            if has_quads(matrix) {
                &files::TRAIN_WEIGHT_GRADIENT_QUADS
            } else {
                &files::TRAIN_WEIGHT_GRADIENT_SINGLE
            },
            &files::TRAIN_PRODUCT_QUAD,
        ];
        let name = format!("weight_{}_{}", dy.width, matrix.columns);
        let columns = matrix.columns.div_ceil(TRAIN_COLUMNS);
        self.product(name, header, parts, columns, Grid::WeightRows)
    }
}

fn tiling(groups: u32, grid: Grid) -> Tiling {
    Tiling {
        grid,
        lanes: LANES,
        rows: TRAIN_ROWS,
        groups,
    }
}

fn has_quads(matrix: &Tensor) -> bool {
    matrix.columns.is_multiple_of(4)
}

fn weight_part(matrix: &Tensor) -> &'static Source {
    if has_quads(matrix) {
        &files::TRAIN_WEIGHT_QUADS
    } else {
        &files::TRAIN_WEIGHT_SINGLE
    }
}

fn second_part(matrix: &Tensor) -> &'static Source {
    if has_quads(matrix) {
        &files::TRAIN_WEIGHT_SECOND_QUADS
    } else {
        &files::TRAIN_WEIGHT_SECOND_SINGLE
    }
}
