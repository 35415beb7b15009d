//! Checks of the shapes of each op: of its tensors, and of the buffers that it reads and writes.

use super::Fault;
use super::attempt;
use super::checker::{Checker, text};
use crate::{
    Epilogue, Heads, NormRef, Op, Projection, Role, Slot, Statistics, Tensor, TensorId, TensorKind,
};

impl<'a> Checker<'a> {
    pub const fn op(mut self, op: &'a Op) -> Result<Self, Fault<'a>> {
        let spec = &self.plan.spec;
        match *op {
            Op::Embed { table, positions, types, out, .. } => {
                let width = attempt!(self.write(out));
                attempt!(self.tables(table, positions, types, width));
            }
            Op::Norm { norm, x, sum, stats, out, statistics } => {
                let width = attempt!(self.read(x));
                attempt!(self.norm(norm, width));
                if let Some(sum) = sum {
                    attempt!(self.read_of(sum.residual, width));
                }
                match (statistics, stats) {
                    (_, None) => {}
                    (Statistics::Compute, Some(stats)) => attempt!(self.write_of(stats, 2)),
                    (Statistics::Stored, Some(stats)) => attempt!(self.read_of(stats, 2)),
                }
                attempt!(self.write_of(out, width));
            }
            Op::NormHeads { norm, x, stats, heads, .. } => {
                let groups = attempt!(self.qk_groups(norm));
                attempt!(self.read_of(x, spec.qkv_width()));
                if let Some(stats) = stats {
                    attempt!(self.write_of(stats, 2 * groups));
                }
                return self.write_heads(heads);
            }
            Op::NormHeadsInput { norm, x, stats, dy, out } => {
                attempt!(self.norm_heads_backward(norm, [x, dy], stats));
                attempt!(self.write_of(out, spec.qkv_width()));
            }
            Op::NormHeadsWeight { norm, x, stats, dy } => {
                attempt!(self.norm_heads_backward(norm, [x, dy], stats));
            }
            Op::Project(ref projection) => return self.project(projection),
            Op::Attention { heads, out, lse, .. } => {
                match heads {
                    Heads::Cached { q, k, v } => {
                        attempt!(self.read_of(q, spec.q_width()));
                        attempt!(self.read_of(k, spec.kv_width()));
                        attempt!(self.read_of(v, spec.kv_width()));
                    }
                    Heads::Fused { qkv } => attempt!(self.read_of(qkv, spec.qkv_width())),
                }
                attempt!(self.write_of(out, spec.q_width()));
                if let Some(lse) = lse {
                    attempt!(self.write_of(lse, spec.heads));
                }
            }
            Op::CrossEntropy { logits, losses, .. } => {
                attempt!(self.read_of(logits, spec.vocab));
                attempt!(self.write_of(losses, 1));
            }
            Op::EmbedBackward { table, positions, types, dx, .. } => {
                let width = attempt!(self.read(dx));
                attempt!(self.tables(table, positions, types, width));
            }
            Op::DropoutBackward { dy, out, .. } => {
                let width = attempt!(self.read(dy));
                attempt!(self.write_of(out, width));
            }
            Op::ProjectInput { weight, dy, slopes, out } => {
                let weight = attempt!(self.matrix(weight));
                attempt!(self.read_of(dy, self.product_width(weight)));
                let width = match slopes {
                    None => weight.columns,
                    // The gradient flows back through the activation, whose input is twice as wide
                    // if it is gated.
                    Some(slopes) => {
                        let rows = match spec.mlp.gated {
                            true => 2 * weight.columns,
                            false => weight.columns,
                        };
                        let width = self.slopes_width(rows);
                        attempt!(self.read_of(slopes, width));
                        width
                    }
                };
                attempt!(self.write_of(out, width));
            }
            Op::ProjectWeight { weight, bias, dy, input } => {
                let weight = attempt!(self.matrix(weight));
                attempt!(self.optional_vector(bias, weight.rows));
                attempt!(self.read_of(dy, self.product_width(weight)));
                attempt!(self.read_of(input, weight.columns));
            }
            Op::NormInput { norm, x, stats, dy, residual, out } => {
                let width = attempt!(self.norm_backward(norm, x, stats, dy));
                attempt!(self.read_optional(residual, width));
                attempt!(self.write_of(out, width));
            }
            Op::NormWeight { norm, x, stats, dy } => {
                attempt!(self.norm_backward(norm, x, stats, dy));
            }
            Op::Add { a, b, out } | Op::Multiply { a, b, out } => {
                let width = attempt!(self.read(a));
                attempt!(self.read_of(b, width));
                attempt!(self.write_of(out, width));
            }
            Op::AttentionBackward { qkv, out, lse, dout, delta, dqkv, .. } => {
                attempt!(self.read_of(qkv, spec.qkv_width()));
                attempt!(self.read_of(out, spec.q_width()));
                attempt!(self.read_of(lse, spec.heads));
                attempt!(self.read_of(dout, spec.q_width()));
                attempt!(self.write_of(delta, spec.heads));
                attempt!(self.write_of(dqkv, spec.qkv_width()));
            }
        }
        Ok(self)
    }

    /// The width of the gradient of a projection's product. Training pads the rows of a gate, and
    /// the rows that it gates, to multiples of 16.
    const fn product_width(&self, weight: &Tensor) -> u32 {
        match weight.role {
            Role::MlpUp => self.slopes_width(weight.rows),
            _ => weight.rows,
        }
    }

    /// The width of the MLP's slopes, for a first projection of `rows` rows.
    const fn slopes_width(&self, rows: u32) -> u32 {
        if self.plan.spec.mlp.gated { 2 * (rows / 2).next_multiple_of(16) } else { rows }
    }

    /// Checks the tables of an embedding of `width` columns.
    const fn tables(
        &self,
        table: TensorId,
        positions: Option<TensorId>,
        types: Option<TensorId>,
        width: u32,
    ) -> Result<(), Fault<'a>> {
        let spec = &self.plan.spec;
        let table = attempt!(self.matrix(table));
        attempt!(self.rows(table, spec.vocab));
        attempt!(self.columns(table, width));
        attempt!(self.table(positions, spec.context, width));
        let types_rows = match spec.token_types {
            Some(types) => types,
            None => 0,
        };
        self.table(types, types_rows, width)
    }

    /// Checks that a table, if there is one, is `[rows, width]`.
    const fn table(&self, table: Option<TensorId>, rows: u32, width: u32) -> Result<(), Fault<'a>> {
        let Some(table) = table else {
            return Ok(());
        };
        let table = attempt!(self.tensor(table));
        let TensorKind::Table = table.kind else {
            return self.fault(text(&table.name), "is not a table");
        };
        attempt!(self.rows(table, rows));
        self.columns(table, width)
    }

    const fn columns(&self, tensor: &'a Tensor, columns: u32) -> Result<(), Fault<'a>> {
        self.expect(text(&tensor.name), "the number of columns", tensor.columns, columns)
    }

    const fn rows(&self, tensor: &'a Tensor, rows: u32) -> Result<(), Fault<'a>> {
        self.expect(text(&tensor.name), "the number of rows", tensor.rows, rows)
    }

    /// Checks the inputs of either backward op of a norm. Returns the width of the norm.
    const fn norm_backward(
        &self,
        norm: NormRef,
        x: Slot,
        stats: Slot,
        dy: Slot,
    ) -> Result<u32, Fault<'a>> {
        let width = attempt!(self.read(x));
        attempt!(self.norm(norm, width));
        attempt!(self.read_of(stats, 2));
        attempt!(self.read_of(dy, width));
        Ok(width)
    }

    /// The number of groups that `norm` normalises in a row of queries and keys.
    const fn qk_groups(&self, norm: NormRef) -> Result<u32, Fault<'a>> {
        let Some(groups) = self.plan.spec.qk_groups() else {
            return self.fault("the norm of queries and keys", "is not in the spec");
        };
        attempt!(self.norm(norm, groups.parameters));
        Ok(groups.count())
    }

    /// Checks the inputs of either backward op of a norm of queries and keys.
    const fn norm_heads_backward(
        &self,
        norm: NormRef,
        rows: [Slot; 2],
        stats: Slot,
    ) -> Result<(), Fault<'a>> {
        let groups = attempt!(self.qk_groups(norm));
        let width = self.plan.spec.qkv_width();
        attempt!(self.read_of(rows[0], width));
        attempt!(self.read_of(rows[1], width));
        self.read_of(stats, 2 * groups)
    }

    /// Checks the buffers to which queries, keys and values are written.
    const fn write_heads(mut self, heads: Heads) -> Result<Self, Fault<'a>> {
        let spec = &self.plan.spec;
        match heads {
            Heads::Cached { q, k, v } => {
                attempt!(self.write_of(q, spec.q_width()));
                attempt!(self.write_of(k, spec.kv_width()));
                attempt!(self.write_of(v, spec.kv_width()));
            }
            Heads::Fused { qkv } => attempt!(self.write_of(qkv, spec.qkv_width())),
        }
        Ok(self)
    }

    const fn project(mut self, projection: &'a Projection) -> Result<Self, Fault<'a>> {
        let spec = &self.plan.spec;
        let weight = attempt!(self.matrix(projection.weight));
        let width = attempt!(self.read(projection.input));
        attempt!(self.columns(weight, width));
        if let Some(norm) = projection.norm {
            attempt!(self.norm(norm, width));
        }
        attempt!(self.optional_vector(projection.bias, weight.rows));
        match projection.epilogue {
            Epilogue::Store { out, .. } => {
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, out));
            }
            Epilogue::Heads { heads, .. } => {
                attempt!(self.rows(weight, spec.qkv_width()));
                return self.write_heads(heads);
            }
            Epilogue::Activation { gated, out, slopes } => {
                let of_mlp = matches!(weight.role, Role::MlpUp);
                if gated != (spec.mlp.gated && of_mlp) {
                    let problem = "is gated and the spec's is not, or the other way round";
                    return self.fault("the activation", problem);
                }
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, if gated { 2 * out } else { out }));
                if let Some(slopes) = slopes {
                    attempt!(self.write_of(slopes, self.product_width(weight)));
                }
            }
            Epilogue::Residual { residual, norm, out, .. } => {
                attempt!(self.read_of(residual, weight.rows));
                if let Some(norm) = norm {
                    attempt!(self.norm(norm, weight.rows));
                }
                let out = attempt!(self.write(out));
                attempt!(self.rows(weight, out));
            }
        }
        Ok(self)
    }
}
