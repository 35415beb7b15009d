//! The kernels in WGSL, one family a file; those of training in a folder of their own.
//!
//! A file is ordinary WGSL and valid alone. After a comment that says what it does come its parameters (sizes, aliases, functions that
//! vary) with example values, GPT-2's mostly; the compiler writes those anew for each model and keeps the rest as it stands. So a line
//! of a generated shader is a line here, shifted by a known number.

/// One file of WGSL.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// Path below this package's `wgsl` folder, `linear.wgsl`.
    pub name: &'static str,
    /// The whole file.
    pub text: &'static str,
}

/// The line that ends the parameters of a file.
pub const END_OF_PARAMETERS: &str = "// ---- end of parameters ----\n";

impl Source {
    /// The comment that opens the file: what it does and why.
    pub fn essay(&self) -> &'static str {
        let lines = self.text.split_inclusive('\n');
        let len = lines
            .take_while(|line| line.starts_with("//"))
            .map(str::len);
        &self.text[..len.sum()]
    }

    /// The code: what follows the parameters, or the opening comment where there are none.
    pub fn body(&self) -> &'static str {
        let rest = match self.text.find(END_OF_PARAMETERS) {
            Some(at) => &self.text[at + END_OF_PARAMETERS.len()..],
            None => &self.text[self.essay().len()..],
        };
        rest.trim_start_matches('\n')
    }

    /// Line of the file, counted from 1, on which [`body`](Source::body) begins.
    pub fn body_line(&self) -> usize {
        let before = &self.text[..self.text.len() - self.body().len()];
        1 + before.matches('\n').count()
    }

    /// The name of its static in this package: `norm/layer.wgsl` is `NORM_LAYER`.
    pub fn constant(&self) -> String {
        self.name
            .trim_end_matches(".wgsl")
            .replace(['/', '-'], "_")
            .to_uppercase()
    }
}

macro_rules! sources {
    ($($constant:ident = $file:literal,)*) => {
        $(
            #[doc = concat!("`", $file, "`")]
            pub static $constant: Source = Source {
                name: $file,
                text: include_str!(concat!("../wgsl/", $file)),
            };
        )*

        /// Every file.
        pub static ALL: &[&Source] = &[$(&$constant),*];
    };
}

sources! {
    ACTIVATION_GELU = "activation/gelu.wgsl",
    ACTIVATION_GELU_TANH = "activation/gelu_tanh.wgsl",
    ACTIVATION_RELU = "activation/relu.wgsl",
    ACTIVATION_SILU = "activation/silu.wgsl",
    ATTENTION = "attention.wgsl",
    ATTENTION_BIDIRECTIONAL = "attention/bidirectional.wgsl",
    ATTENTION_CAUSAL = "attention/causal.wgsl",
    ATTENTION_JOIN = "attention/join.wgsl",
    ATTENTION_KEYS_1 = "attention/keys_1.wgsl",
    ATTENTION_KEYS_4 = "attention/keys_4.wgsl",
    ATTENTION_PART = "attention/part.wgsl",
    ATTENTION_QUERIES_1 = "attention/queries_1.wgsl",
    ATTENTION_QUERIES_4 = "attention/queries_4.wgsl",
    ATTENTION_WHOLE = "attention/whole.wgsl",
    BIAS_NONE = "bias/none.wgsl",
    BIAS_VECTOR = "bias/vector.wgsl",
    BYTES = "bytes.wgsl",
    EIGHT_MEMORY = "eight/memory.wgsl",
    EIGHT_NEIGHBOURS = "eight/neighbours.wgsl",
    ELEMENT_PAIRS = "element/pairs.wgsl",
    ELEMENT_QUADS = "element/quads.wgsl",
    ELEMENT_WORDS = "element/words.wgsl",
    EMBED = "embed.wgsl",
    ENTRY_PLAIN = "entry/plain.wgsl",
    ENTRY_SUBGROUPS = "entry/subgroups.wgsl",
    FINISH_ACTIVATION = "finish/activation.wgsl",
    FINISH_GATED = "finish/gated.wgsl",
    FINISH_LOGITS = "finish/logits.wgsl",
    FINISH_QKV = "finish/qkv.wgsl",
    FINISH_RESIDUAL = "finish/residual.wgsl",
    HOLD_BROADCAST = "hold/broadcast.wgsl",
    HOLD_NONE = "hold/none.wgsl",
    HOLD_PLAIN = "hold/plain.wgsl",
    INPUT_ACTIVATIONS = "input/activations.wgsl",
    INPUT_STREAM = "input/stream.wgsl",
    LANES_256 = "lanes/256.wgsl",
    LANES_64 = "lanes/64.wgsl",
    LINEAR = "linear.wgsl",
    MATRIX_PARTS_1 = "matrix/parts_1.wgsl",
    MATRIX_PARTS_2 = "matrix/parts_2.wgsl",
    MATRIX_PARTS_3 = "matrix/parts_3.wgsl",
    MATRIX_PARTS_4 = "matrix/parts_4.wgsl",
    MATRIX_PARTS_5 = "matrix/parts_5.wgsl",
    MATRIX_TEXTURE = "matrix/texture.wgsl",
    MAXIMUM_MEMORY = "maximum/memory.wgsl",
    MAXIMUM_SUBGROUPS = "maximum/subgroups.wgsl",
    MEASURE_MULTIPLY = "measure/multiply.wgsl",
    MEASURE_READ = "measure/read.wgsl",
    MEASURE_READ_TEXTURE = "measure/read_texture.wgsl",
    NORM_LAYER = "norm/layer.wgsl",
    NORM_NONE = "norm/none.wgsl",
    NORM_RMS = "norm/rms.wgsl",
    NORM_SCALE = "norm/scale.wgsl",
    NORM_SCALE_SHIFT = "norm/scale_shift.wgsl",
    POSITIONS_NONE = "positions/none.wgsl",
    POSITIONS_TABLE = "positions/table.wgsl",
    ROTARY_NONE = "rotary/none.wgsl",
    ROTARY_PAIRS = "rotary/pairs.wgsl",
    RUN = "run.wgsl",
    SAMPLE_ADVANCE = "sample/advance.wgsl",
    SAMPLE_BEST = "sample/best.wgsl",
    SAMPLE_BINS = "sample/bins.wgsl",
    SAMPLE_COLLECT = "sample/collect.wgsl",
    SAMPLE_COUNT = "sample/count.wgsl",
    SAMPLE_CUTS = "sample/cuts.wgsl",
    SAMPLE_DRAW = "sample/draw.wgsl",
    SAMPLE_GREATEST = "sample/greatest.wgsl",
    SAMPLE_NOISE = "sample/noise.wgsl",
    SAMPLE_OPTIONS = "sample/options.wgsl",
    SAMPLE_ORDER = "sample/order.wgsl",
    SAMPLE_TAKE = "sample/take.wgsl",
    SAMPLE_THRESHOLD = "sample/threshold.wgsl",
    SAMPLE_TOPS = "sample/tops.wgsl",
    STRIPS_1 = "strips/1.wgsl",
    STRIPS_16 = "strips/16.wgsl",
    STRIPS_2 = "strips/2.wgsl",
    STRIPS_4 = "strips/4.wgsl",
    STRIPS_8 = "strips/8.wgsl",
    SUM_MEMORY = "sum/memory.wgsl",
    SUM_ROOM = "sum/room.wgsl",
    SUM_SUBGROUPS = "sum/subgroups.wgsl",
    TILE_DECODE = "tile/decode.wgsl",
    TILE_DECODE_PACKED = "tile/decode_packed.wgsl",
    TILE_PREFILL = "tile/prefill.wgsl",
    TILE_PREFILL_COOPERATIVE = "tile/prefill/cooperative.wgsl",
    TILE_PREFILL_COOPERATIVE_SUMS = "tile/prefill/cooperative_sums.wgsl",
    TILE_PREFILL_DOUBLE = "tile/prefill/double.wgsl",
    TILE_PREFILL_F16 = "tile/prefill/f16.wgsl",
    TILE_PREFILL_PACKED = "tile/prefill/packed.wgsl",
    TILE_PREFILL_SINGLE = "tile/prefill/single.wgsl",
    TILE_PREFILL_SUMS = "tile/prefill/sums.wgsl",
    TRAIN_ADAMW = "train/adamw.wgsl",
    TRAIN_ADD = "train/add.wgsl",
    TRAIN_ATTENTION_BIDIRECTIONAL = "train/attention/bidirectional.wgsl",
    TRAIN_ATTENTION_CAUSAL = "train/attention/causal.wgsl",
    TRAIN_ATTENTION_DA_QUADS = "train/attention/da_quads.wgsl",
    TRAIN_ATTENTION_DA_SINGLE = "train/attention/da_single.wgsl",
    TRAIN_ATTENTION_DELTA = "train/attention/delta.wgsl",
    TRAIN_ATTENTION_FORWARD = "train/attention/forward.wgsl",
    TRAIN_ATTENTION_KEYS = "train/attention/keys.wgsl",
    TRAIN_ATTENTION_QKV_QUADS = "train/attention/qkv_quads.wgsl",
    TRAIN_ATTENTION_QKV_SINGLE = "train/attention/qkv_single.wgsl",
    TRAIN_ATTENTION_QUERIES = "train/attention/queries.wgsl",
    TRAIN_ATTENTION_SLICES = "train/attention/slices.wgsl",
    TRAIN_BIAS_NONE = "train/bias/none.wgsl",
    TRAIN_BIAS_VECTOR = "train/bias/vector.wgsl",
    TRAIN_COLUMNS = "train/columns.wgsl",
    TRAIN_COLUMNS_BIAS = "train/columns/bias.wgsl",
    TRAIN_COLUMNS_CAME = "train/columns/came.wgsl",
    TRAIN_COLUMNS_CAME_ALSO = "train/columns/came_also.wgsl",
    TRAIN_COLUMNS_NORM = "train/columns/norm.wgsl",
    TRAIN_COLUMNS_NO_SHIFT = "train/columns/no_shift.wgsl",
    TRAIN_COLUMNS_SHIFT = "train/columns/shift.wgsl",
    TRAIN_CROSS_ENTROPY = "train/cross_entropy.wgsl",
    TRAIN_DROPPED = "train/dropped.wgsl",
    TRAIN_DROP_MASK = "train/drop/mask.wgsl",
    TRAIN_DROP_NONE = "train/drop/none.wgsl",
    TRAIN_EMBED = "train/embed.wgsl",
    TRAIN_EMBED_WEIGHT = "train/embed_weight.wgsl",
    TRAIN_GRADIENT_NORM = "train/gradient_norm.wgsl",
    TRAIN_MASKED = "train/masked.wgsl",
    TRAIN_NORM = "train/norm.wgsl",
    TRAIN_NORM_INPUT = "train/norm/input.wgsl",
    TRAIN_NORM_KEPT = "train/norm/kept.wgsl",
    TRAIN_NORM_LAYER = "train/norm/layer.wgsl",
    TRAIN_NORM_MADE = "train/norm/made.wgsl",
    TRAIN_NORM_NO_SHIFT = "train/norm/no_shift.wgsl",
    TRAIN_NORM_RMS = "train/norm/rms.wgsl",
    TRAIN_NORM_SHIFT = "train/norm/shift.wgsl",
    TRAIN_OPERANDS_F16 = "train/operands/f16.wgsl",
    TRAIN_OPERANDS_F32 = "train/operands/f32.wgsl",
    TRAIN_POSITIONS_GRADIENT = "train/positions/gradient.wgsl",
    TRAIN_POSITIONS_NONE = "train/positions/none.wgsl",
    TRAIN_POSITIONS_TABLE = "train/positions/table.wgsl",
    TRAIN_PRODUCT = "train/product.wgsl",
    TRAIN_PRODUCT_BACKWARD = "train/product/backward.wgsl",
    TRAIN_PRODUCT_DOUBLE = "train/product/double.wgsl",
    TRAIN_PRODUCT_FEATURES = "train/product/features.wgsl",
    TRAIN_PRODUCT_FORWARD = "train/product/forward.wgsl",
    TRAIN_PRODUCT_GRADIENT = "train/product/gradient.wgsl",
    TRAIN_PRODUCT_HALVES = "train/product/halves.wgsl",
    TRAIN_PRODUCT_QUAD = "train/product/quad.wgsl",
    TRAIN_PRODUCT_SINGLE = "train/product/single.wgsl",
    TRAIN_ROTARY_NONE = "train/rotary/none.wgsl",
    TRAIN_ROTARY_PAIRS = "train/rotary/pairs.wgsl",
    TRAIN_RUN = "train/run.wgsl",
    TRAIN_SLOPE_GELU = "train/slope/gelu.wgsl",
    TRAIN_SLOPE_GELU_TANH = "train/slope/gelu_tanh.wgsl",
    TRAIN_SLOPE_RELU = "train/slope/relu.wgsl",
    TRAIN_SLOPE_SILU = "train/slope/silu.wgsl",
    TRAIN_STREAM_ADDS = "train/stream/adds.wgsl",
    TRAIN_STREAM_ALSO = "train/stream/also.wgsl",
    TRAIN_STREAM_ENDS = "train/stream/ends.wgsl",
    TRAIN_WEIGHT_GRADIENT_QUADS = "train/weight/gradient_quads.wgsl",
    TRAIN_WEIGHT_GRADIENT_SINGLE = "train/weight/gradient_single.wgsl",
    TRAIN_WEIGHT_QUADS = "train/weight/quads.wgsl",
    TRAIN_WEIGHT_SECOND_QUADS = "train/weight/second_quads.wgsl",
    TRAIN_WEIGHT_SECOND_SINGLE = "train/weight/second_single.wgsl",
    TRAIN_WEIGHT_SINGLE = "train/weight/single.wgsl",
    TRAIN_WRITE_ACTIVATION = "train/write/activation.wgsl",
    TRAIN_WRITE_GATED = "train/write/gated.wgsl",
    TRAIN_WRITE_QKV = "train/write/qkv.wgsl",
    TRAIN_WRITE_RESIDUAL = "train/write/residual.wgsl",
    TRAIN_WRITE_STORE = "train/write/store.wgsl",
    TRAIN_WRITE_THROUGH_DENSE = "train/write/through_dense.wgsl",
    TRAIN_WRITE_THROUGH_GATED = "train/write/through_gated.wgsl",
    VECTORS = "vectors.wgsl",
    WEIGHT_BF16 = "weight/bf16.wgsl",
    WEIGHT_F16 = "weight/f16.wgsl",
    WEIGHT_F32 = "weight/f32.wgsl",
    WEIGHT_PACKED_Q4 = "weight/packed_q4.wgsl",
    WEIGHT_PACKED_Q8 = "weight/packed_q8.wgsl",
    WEIGHT_PLAIN = "weight/plain.wgsl",
    WEIGHT_Q4 = "weight/q4.wgsl",
    WEIGHT_Q8 = "weight/q8.wgsl",
}
