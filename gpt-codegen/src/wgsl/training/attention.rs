//! Attention, forward and back.

use gpt_plan::{BufferName, Mask};
use gpt_shaders::files;

use super::{Grid, Header, Kernels, LANES};

/// Queries, or keys, of a workgroup; the files are written for as many.
const TOGETHER: u32 = 4;

impl Kernels<'_> {
    pub(super) fn attention(&mut self) -> u16 {
        let (qkv, _) = self.read_parts();
        let parts = vec![
            files::SHARED_ENTRY_PLAIN,
            files::SHARED_TRAIN_PASS,
            self.mask_part(),
            self.drop_part(),
            qkv,
            files::SHARED_MAXIMUM_MEMORY,
            files::SHARED_READ_MEMORY,
            files::ATTENTION_SLICES,
            files::ATTENTION_FORWARD,
        ];
        let (header, grid) = self.heads("attention", self.spec.heads);
        self.add("attention", header, parts, grid)
    }

    /// What the softmax takes out; then queries; then keys and values.
    pub(super) fn attention_back(&mut self) -> Vec<u16> {
        let spec = self.spec;
        let (header, grid) = self.heads("what the softmax takes out of a gradient", 1);
        let delta = vec![files::ATTENTION_BACKWARD_DELTA];
        let delta = self.add("attention_delta", header, delta, Grid { rows: 1, ..grid });
        let rotary = if spec.rotary() {
            files::ROPE_PAIRS
        } else {
            files::ROPE_TRAIN_NONE
        };
        let parts = |kernel| {
            let (mask, drop) = (self.mask_part(), self.drop_part());
            let (qkv, da) = self.read_parts();
            vec![
                files::SHARED_ENTRY_PLAIN,
                files::SHARED_TRAIN_PASS,
                mask,
                drop,
                rotary,
                qkv,
                da,
                files::SHARED_READ_MEMORY,
                files::ATTENTION_SLICES,
                kernel,
            ]
        };
        let queries = parts(files::ATTENTION_BACKWARD_QUERIES);
        let keys = parts(files::ATTENTION_BACKWARD_KEYS);
        let (header, grid) = self.heads("the gradient of queries", spec.heads);
        let queries = self.add("attention_queries", header, queries, grid);
        let (header, grid) = self.heads("the gradient of keys and values", spec.kv_heads);
        let keys = self.add("attention_keys", header, keys, grid);
        vec![delta, queries, keys]
    }

    fn mask_part(&self) -> &'static str {
        match self.spec.mask {
            Mask::Causal => files::ATTENTION_MASK_TRAIN_CAUSAL,
            Mask::Bidirectional => files::ATTENTION_MASK_TRAIN_BIDIRECTIONAL,
        }
    }

    /// How rows of queries, keys and values, and of gradients, are read.
    fn read_parts(&self) -> (&'static str, &'static str) {
        if self.spec.head_dim.is_multiple_of(4) {
            (files::ATTENTION_QKV_QUADS, files::ATTENTION_DA_QUADS)
        } else {
            (files::ATTENTION_QKV_SINGLE, files::ATTENTION_DA_SINGLE)
        }
    }

    fn heads(&self, what: &str, groups: u32) -> (Header, Grid) {
        let spec = self.spec;
        // Heads are at most 256 wide (`check`), so a workgroup has an invocation for each quad. Eight neighbours are on the same row.
        let row_lanes = spec.head_dim.div_ceil(4).next_power_of_two().max(8);
        let mut header = self.header(what);
        let mut size = |name, value, doc| header.size(name, value, doc);
        size("HEAD_DIM", spec.head_dim, "width of a head");
        size("HEADS", spec.heads, "query heads");
        size(
            "GROUP",
            spec.heads / spec.kv_heads,
            "query heads that share a head of keys and values",
        );
        size("Q_WIDTH", spec.q_width(), "width of all query heads");
        size("KV_WIDTH", spec.kv_width(), "width of all key heads");
        let stride = |name| self.buffer(name).stride;
        size(
            "QKV_STRIDE",
            stride(BufferName::Qkv),
            "from a row to the next",
        );
        size(
            "A_STRIDE",
            stride(BufferName::A),
            "from a row of the output to the next",
        );
        size("WORKGROUP_SIZE", LANES, "invocations of a workgroup");
        size(
            "ROW_INVOCATIONS",
            row_lanes,
            "invocations side by side on a row of a head",
        );
        let scale = 1.0 / f64::from(spec.head_dim).sqrt();
        header.number("SCALE", scale, "1 / sqrt(HEAD_DIM)");
        let grid = Grid {
            lanes: LANES,
            rows: TOGETHER,
            groups,
        };
        (header, grid)
    }
}
