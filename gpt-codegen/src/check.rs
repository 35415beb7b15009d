//! Checks of a spec's numbers: divisibility, and the limits of GPU bindings and dispatches.

use gpt_plan::{
    Block, Format, MAX_BINDING, MAX_PARTS, MAX_PARTS_QKV, MAX_PARTS_RESIDUAL, MAX_ROWS,
    MatrixLayout, Positions, RopeScaling, Spec,
};
use proc_macro2::Span;

use crate::Diagnostic;
use crate::resolve::Merged;

/// The greatest width of a head. In inference, a workgroup of GPU attention has an invocation for
/// each column, and at most 256 invocations.
const MAX_HEAD_DIM: u32 = 256;

/// The greatest number of layers. The limit keeps loops over the layers short, and sums over them
/// within their types.
const MAX_LAYERS: u32 = 65_536;

/// All errors of `spec`, each on the token that caused it.
pub fn check(merged: &Merged, spec: &Spec) -> Vec<Diagnostic> {
    let mut check = Check { merged, errors: Vec::new() };
    check.divides("heads", spec.heads, "kv_heads", spec.kv_heads);
    if spec.head_dim > MAX_HEAD_DIM {
        check.fail(&["head_dim", "embed", "heads"], |span| {
            Diagnostic::new(span, "a head is too wide")
                .found(format!("head_dim is {}", spec.head_dim))
                .help(format!("use more heads, or a `head_dim` of at most {MAX_HEAD_DIM}"))
        });
    }
    if spec.layers > MAX_LAYERS {
        check.fail(&["layers"], |span| {
            Diagnostic::new(span, "the model has too many layers")
                .found(format!("layers is {}", spec.layers))
                .help(format!("it may have at most {MAX_LAYERS}"))
        });
    }
    check.pattern("mask", spec.mask.0.len(), spec.layers);
    check.pattern("window", spec.window.0.len(), spec.layers);
    if let Some(rope) = spec.rope() {
        check.pattern("positions", rope.theta.0.len(), spec.layers);
        check.pattern("positions", rope.scaling.0.len(), spec.layers);
        // An odd `head_dim` is reported below.
        let odd = rope.dims % 2 == 1 && rope.dims != spec.head_dim;
        if rope.dims > spec.head_dim || odd {
            check.fail(&["positions", "head_dim", "embed", "heads"], |span| {
                Diagnostic::new(span, "`dims` has to be even, and at most the width of a head")
                    .found(format!("dims is {}, head_dim is {}", rope.dims, spec.head_dim))
                    .help("`dims` is the number of elements of a head that rotate, in pairs")
            });
        }
    }
    check.scalings(spec);
    if spec.rotary() && spec.head_dim % 2 == 1 {
        check.fail(&["head_dim", "embed", "heads", "positions"], |span| {
            Diagnostic::new(span, "rotary positions rotate pairs, so `head_dim` has to be even")
                .found(format!("head_dim is {}", spec.head_dim))
                .help("change `embed` or `heads`, or give `head_dim` itself")
        });
    }
    if let Block::Parallel { norms } = spec.block
        && norms > 2
    {
        check.fail(&["block"], |span| {
            Diagnostic::new(span, "a parallel block has one norm or two")
                .found(format!("norms is {norms}"))
                .help("1: attention and MLP share it; 2: each has its own")
        });
    }
    if spec.first_attn_bare && !matches!(spec.block, Block::PreNorm | Block::Sandwich) {
        check.fail(&["first_attn_bare", "block"], |span| {
            Diagnostic::new(span, "`first_attn_bare` needs a pre-norm or a sandwich block")
                .found("`first_attn_bare: true` with another block")
                .help("remove `first_attn_bare`, or choose `block: PreNorm`")
        });
    }
    check.widths(spec);
    check.sizes(spec);
    check.errors
}

struct Check<'a> {
    merged: &'a Merged,
    errors: Vec<Diagnostic>,
}

impl Check<'_> {
    /// Adds an error about `keys`, on the first of them in the model's own declaration.
    fn fail(&mut self, keys: &[&str], make: impl FnOnce(Span) -> Diagnostic) {
        let mut error = make(self.merged.blame(keys));
        for source in keys.iter().filter_map(|key| self.merged.source(key)) {
            error = error.note(source);
        }
        self.errors.push(error);
    }

    fn divides(&mut self, whole: &str, n: u32, part: &str, by: u32) {
        if !n.is_multiple_of(by) {
            self.fail(&[part, whole], |span| {
                Diagnostic::new(span, format!("`{whole}` has to be a multiple of `{part}`"))
                    .found(format!("{n} and {by}"))
                    .help(format!("each key and value head serves `{whole} / {part}` query heads"))
            });
        }
    }

    /// Checks that the pattern of `key` has at most as many values as the model has layers.
    fn pattern(&mut self, key: &str, values: usize, layers: u32) {
        if values > layers as usize {
            self.fail(&[key, "layers"], |span| {
                Diagnostic::new(span, format!("`{key}` lists more values than there are layers"))
                    .found(format!("{values} values for {layers} layers"))
                    .help("a list repeats over the layers; shorten it")
            });
        }
    }

    /// Checks the numbers of rotary scalings, so that their formulas do not divide by zero.
    fn scalings(&mut self, spec: &Spec) {
        for (theta, scaling) in spec.rotary_tables() {
            match scaling {
                RopeScaling::Llama3 { low_freq_factor: low, high_freq_factor: high, .. }
                    if high <= low =>
                {
                    self.fail(&["positions"], |span| {
                        Diagnostic::new(
                            span,
                            "`high_freq_factor` has to be greater than `low_freq_factor`",
                        )
                        .found(format!("{high:?} and {low:?}"))
                        .help("Llama 3 has 4.0 and 1.0")
                    });
                }
                RopeScaling::Yarn { .. } if theta <= 1.0 => self.fail(&["positions"], |span| {
                    Diagnostic::new(span, "YaRN needs a `theta` above 1")
                        .found(format!("{theta:?}"))
                        .help("most models have 10_000.0 or more")
                }),
                _ => {}
            }
        }
    }

    /// Checks that the width of all heads together fits an index.
    fn widths(&mut self, spec: &Spec) {
        let wide = |a: u32, b: u32| u64::from(a) * u64::from(b) > 1 << 24;
        if wide(spec.heads, spec.head_dim) {
            self.fail(&["heads", "head_dim", "embed"], |span| {
                Diagnostic::new(span, "the heads together are too wide")
                    .found(format!("{} heads of {}", spec.heads, spec.head_dim))
                    .help("all heads together may be at most 16,777,216 wide")
            });
        }
    }

    /// Checks that every matrix, in the smallest format, fits in the bindings of a kernel, and that
    /// each table, a row of logits, and a layer's vectors fit in one binding each.
    fn sizes(&mut self, spec: &Spec) {
        if spec.heads.checked_mul(spec.head_dim).and_then(|w| w.checked_mul(3)).is_none() {
            return; // reported by `widths`
        }
        let kv = u64::from(spec.kv_heads) * u64::from(spec.head_dim);
        let q = u64::from(spec.heads) * u64::from(spec.head_dim);
        let up = u64::from(spec.mlp.hidden) * if spec.mlp.gated { 2 } else { 1 };
        let (embed, hidden) = (u64::from(spec.embed), u64::from(spec.mlp.hidden));
        self.matrix(
            &["vocab", "embed"],
            "the token embedding",
            u64::from(spec.vocab),
            embed,
            MAX_PARTS,
        );
        self.matrix(
            &["embed", "heads", "head_dim"],
            "the projection to queries, keys and values",
            q + 2 * kv,
            embed,
            MAX_PARTS_QKV,
        );
        self.matrix(
            &["embed", "heads", "head_dim"],
            "the attention's output projection",
            embed,
            q,
            MAX_PARTS_RESIDUAL,
        );
        self.matrix(&["mlp", "embed"], "the MLP's first projection", up, embed, MAX_PARTS);
        self.matrix(
            &["mlp", "embed"],
            "the MLP's second projection",
            embed,
            hidden,
            MAX_PARTS_RESIDUAL,
        );
        if spec.head_dense {
            let keys = ["head_dense", "embed"];
            self.matrix(&keys, "the dense layer of the head", embed, embed, MAX_PARTS);
        }
        if spec.rotary() {
            self.one_binding(
                &["context", "head_dim", "embed", "heads"],
                "the table of rotary angles",
                u64::from(spec.context)
                    * u64::from(spec.head_dim)
                    * spec.rotary_tables().len() as u64,
            );
        }
        if matches!(spec.positions, Positions::Learned | Positions::Sinusoidal) {
            self.one_binding(
                &["context", "embed"],
                "the table of positions",
                u64::from(spec.context) * embed,
            );
        }
        if let Some(types) = spec.token_types {
            let floats = u64::from(types) * embed;
            self.one_binding(&["token_types", "embed"], "the table of token types", floats);
        }
        self.one_binding(&["vocab"], "a row of logits", u64::from(spec.vocab));
        self.one_binding(&["embed", "mlp"], "a layer's vectors", 4 * (embed + up + q + 2 * kv));
    }

    fn matrix(&mut self, keys: &[&str], what: &str, rows: u64, columns: u64, parts: u32) {
        if rows > u64::from(MAX_ROWS) {
            self.fail(keys, |span| {
                Diagnostic::new(span, format!("{what} has more rows than a dispatch can cover"))
                    .found(format!("{rows} x {columns}"))
                    .help(format!("it may have at most {MAX_ROWS} rows"))
            });
            return;
        }
        let format = Format::smallest();
        if MatrixLayout::new(format, rows, columns).is_none_or(|l| l.parts > parts) {
            let bytes = u128::from(rows) * format.row_bytes(columns as usize) as u128;
            self.fail(keys, |span| {
                Diagnostic::new(span, format!("{what} is too large for WebGPU's default limits"))
                    .found(format!(
                        "{rows} x {columns}, {} MiB even in {}",
                        bytes >> 20,
                        format.name()
                    ))
                    .help(format!("it may have at most {parts} parts of {} MiB", MAX_BINDING >> 20))
            });
        }
    }

    fn one_binding(&mut self, keys: &[&str], what: &str, elements: u64) {
        let bytes = elements.saturating_mul(4);
        if bytes > MAX_BINDING {
            self.fail(keys, |span| {
                Diagnostic::new(span, format!("{what} is too large for WebGPU's default limits"))
                    .found(format!("{} MiB", bytes >> 20))
                    .help(format!("it may take at most {} MiB", MAX_BINDING >> 20))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    /// The sizes of MPT-30B, whose context would make a table of 224 MiB.
    #[test]
    fn only_a_table_of_positions_has_to_fit_a_binding() {
        let spec = |positions| {
            crate::spec(&format!(
                "context: 8192, layers: 48, heads: 64, embed: 7168, positions: {positions}, ..GPT2_SMALL"
            ))
        };
        assert!(spec("Alibi").is_ok());
        for positions in ["Learned", "Sinusoidal"] {
            let errors = spec(positions).unwrap_err();
            let text = errors.iter().map(|error| error.render("")).collect::<String>();
            assert!(text.contains("the table of positions is too large"), "{positions}: {text}");
        }
    }
}
