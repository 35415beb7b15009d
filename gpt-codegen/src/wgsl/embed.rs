//! The embedding: look-up in inference, look-up and gradients in training.

use gpt_plan::{BufferId, Grid, Kernel, MatrixLayout, Op, TensorId};
use gpt_shaders::files;

use super::header::Header;
use super::training::{Tiling, TrainKernels};
use super::{Context, matmul};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// Workgroups that share a column of the embedding's gradient. Each sums the tokens of one
/// remainder.
const REMAINDERS: u32 = 8;

/// The tables whose rows are added to the token embeddings.
#[derive(Clone, Copy)]
pub struct Tables {
    pub positions: bool,
    pub types: bool,
}

impl Tables {
    fn files(self) -> [&'static str; 2] {
        [
            match self.positions {
                true => files::EMBED_POSITIONS_TABLE,
                false => files::EMBED_POSITIONS_NONE,
            },
            match self.types {
                true => files::EMBED_TYPES_TABLE,
                false => files::EMBED_TYPES_NONE,
            },
        ]
    }
}

/// The kernel that looks tokens up, for both phases.
pub fn kernel(
    context: &Context<'_>,
    op: &Op,
    table: TensorId,
    tables: Tables,
    scale: f64,
) -> Option<Kernel> {
    let spec = context.spec;
    let table = &context.tensors[usize::from(table.0)];
    let (rows, columns) = (u64::from(table.rows), u64::from(table.columns));
    let layout = MatrixLayout::new(context.format, rows, columns)?;
    if layout.parts > op.max_parts() {
        return None;
    }
    let quads = spec.embed.div_ceil(4);
    let mut header = Header::new(&format!(
        "{}: {} of {} tokens, weights in {}.",
        context.model,
        context.name,
        spec.vocab,
        context.format.name()
    ));
    header.size("EMBED", spec.embed, "width of the residual stream");
    header.size("QUADS", quads, "quads of columns of a row");
    header.size("WORKGROUP_SIZE", WORKGROUP, "invocations of a workgroup");
    header.number("EMBEDDING_SCALE", scale, "factor of the table");
    let mut files = vec![files::SHARED_PASS];
    matmul::weights(context.format, &layout, &mut header, &mut files);
    files.extend(tables.files());
    files.push(files::EMBED_PACKED);
    Some(Kernel {
        workgroup: WORKGROUP,
        groups: quads.div_ceil(WORKGROUP),
        ..header.kernel(format!("{}_{}", context.name, context.format.name()), files)
    })
}

impl TrainKernels<'_> {
    /// Looks tokens up.
    pub(super) fn embed(&mut self, tables: Tables, scale: f64) -> u16 {
        let mut header = self.rows("the embedding of tokens");
        header.number("EMBEDDING_SCALE", scale, "factor of the table");
        let mut files = vec![files::SHARED_TRAIN_PASS];
        files.extend(tables.files());
        files.extend([self.dropout_file(), files::EMBED_FORWARD]);
        self.add("embed", header, files, self.row())
    }

    /// The gradients of the table, of learned positions, and of token types.
    pub(super) fn embed_weight(&mut self, tables: Tables, scale: f64, dx: BufferId) -> Vec<u16> {
        let mut header = self.rows("the gradient of the embedding");
        header.number("EMBEDDING_SCALE", scale, "factor of the table");
        header.size("REMAINDERS", REMAINDERS, "workgroups that share a column");
        let workgroup = self.row().workgroup;
        let tiling = Tiling {
            grid: Grid::Fixed,
            workgroup,
            rows: REMAINDERS,
            groups: self.spec.embed.div_ceil(workgroup),
        };
        let files = vec![files::SHARED_TRAIN_PASS, files::EMBED_BACKWARD];
        let mut kernels = vec![self.add("embed_weight", header, files, tiling)];
        if tables.positions {
            let header = self.rows("the gradient of the positions");
            let files = vec![files::SHARED_TRAIN_PASS, files::EMBED_POSITIONS_BACKWARD];
            let tiling = Tiling { grid: Grid::Tokens, ..self.row() };
            kernels.push(self.add("positions_weight", header, files, tiling));
        }
        if tables.types {
            // Like a bias, the vector of the type is added to every row.
            kernels.push(self.backward_bias(self.spec.embed, dx));
        }
        kernels
    }
}
