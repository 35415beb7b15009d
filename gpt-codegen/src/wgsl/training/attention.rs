//! Attention, forward and back.

use gpt_plan::{BufferName, Grid, Mask};
use gpt_shaders as files;

use super::{Header, Kernels, LANES, Tiling};

/// Queries, or keys, of a workgroup; the files are written for as many.
const TOGETHER: u32 = 4;

impl Kernels<'_> {
    pub(super) fn attention(&mut self) -> u16 {
        let (qkv, _) = self.read_parts();
        let parts = vec![
            &files::ENTRY_PLAIN,
            &files::TRAIN_RUN,
            self.mask_part(),
            self.drop_part(),
            qkv,
            &files::MAXIMUM_MEMORY,
            &files::EIGHT_MEMORY,
            &files::TRAIN_ATTENTION_SLICES,
            &files::TRAIN_ATTENTION_FORWARD,
        ];
        let (header, grid) = self.heads("attention", self.spec.heads);
        self.add("attention", header, parts, grid)
    }

    /// What the softmax takes out; then queries; then keys and values.
    pub(super) fn attention_back(&mut self) -> Vec<u16> {
        let spec = self.spec;
        let (header, grid) = self.heads("what the softmax takes out of a gradient", 1);
        let delta = vec![&files::TRAIN_ATTENTION_DELTA];
        let delta = self.add(
            "attention_delta",
            header,
            delta,
            Tiling {
                grid: Grid::Rows,
                rows: 1,
                ..grid
            },
        );
        let rotary = if spec.rotary() {
            &files::TRAIN_ROTARY_PAIRS
        } else {
            &files::TRAIN_ROTARY_NONE
        };
        let parts = |kernel| {
            let (mask, drop) = (self.mask_part(), self.drop_part());
            let (qkv, da) = self.read_parts();
            vec![
                &files::ENTRY_PLAIN,
                &files::TRAIN_RUN,
                mask,
                drop,
                rotary,
                qkv,
                da,
                &files::EIGHT_MEMORY,
                &files::TRAIN_ATTENTION_SLICES,
                kernel,
            ]
        };
        let queries = parts(&files::TRAIN_ATTENTION_QUERIES);
        let keys = parts(&files::TRAIN_ATTENTION_KEYS);
        let (header, grid) = self.heads("the gradient of queries", spec.heads);
        let queries = self.add("attention_queries", header, queries, grid);
        let (header, grid) = self.heads("the gradient of keys and values", spec.kv_heads);
        let keys = self.add("attention_keys", header, keys, grid);
        vec![delta, queries, keys]
    }

    fn mask_part(&self) -> &'static files::Source {
        match self.spec.mask {
            Mask::Causal => &files::TRAIN_ATTENTION_CAUSAL,
            Mask::Bidirectional => &files::TRAIN_ATTENTION_BIDIRECTIONAL,
        }
    }

    /// How rows of queries, keys and values, and of gradients, are read.
    fn read_parts(&self) -> (&'static files::Source, &'static files::Source) {
        if self.spec.head_dim.is_multiple_of(4) {
            (
                &files::TRAIN_ATTENTION_QKV_QUADS,
                &files::TRAIN_ATTENTION_DA_QUADS,
            )
        } else {
            (
                &files::TRAIN_ATTENTION_QKV_SINGLE,
                &files::TRAIN_ATTENTION_DA_SINGLE,
            )
        }
    }

    fn heads(&self, what: &str, groups: u32) -> (Header, Tiling) {
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
        size("LANES", LANES, "invocations of a workgroup");
        size(
            "ROW_LANES",
            row_lanes,
            "invocations side by side on a row of a head",
        );
        let scale = 1.0 / f64::from(spec.head_dim).sqrt();
        header.number("SCALE", scale, "1 / sqrt(HEAD_DIM)");
        let grid = Tiling {
            grid: Grid::Sequences,
            lanes: LANES,
            rows: TOGETHER,
            groups,
        };
        (header, grid)
    }
}
