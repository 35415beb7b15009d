//! Steps that take each row for itself: the embedding, norms, masks, the loss.

use gpt_plan::{BufferId as B, NormRef, Site, Slot, TensorId};

use super::Pass;
use crate::cpu::pool::Disjoint;
use crate::cpu::simd::{PANEL, Running};

/// Rows of a task: one takes less time than handing it to another thread.
const ROWS: usize = 16;

impl Pass<'_> {
    /// Calls `f` with each of `rows` rows, some of them to a task.
    fn each_row(&self, rows: usize, f: impl Fn(usize) + Sync) {
        self.device.pool.run(rows.div_ceil(ROWS), &|task, _| {
            (task * ROWS..((task + 1) * ROWS).min(rows)).for_each(&f)
        });
    }

    /// `x = drop(table[token] + positions[t])`.
    pub(super) fn embed(&mut self, table: TensorId, positions: Option<TensorId>, to: Slot) {
        let mut buffer = self.buffers.take(to, self.layer);
        let out = Disjoint::new(&mut buffer);
        let (width, stride) = (
            self.buffers.width(to.buffer),
            self.buffers.stride(to.buffer),
        );
        let table = self.parameters.matrix(table, 0).values;
        let positions = positions.map(|id| self.parameters.plain(id, 0));
        let (kernels, dropout) = (self.device.kernels, self.dropout(Site::Embedding));
        self.each_row(self.rows, |row| {
            // SAFETY: each row is written by one task.
            let out = unsafe { out.part(row * stride, width) };
            let token = self.buffers.tokens[row] as usize;
            let start = token / PANEL * width * PANEL + token % PANEL;
            for (x, value) in out.iter_mut().zip(table[start..].iter().step_by(PANEL)) {
                *x = *value;
            }
            if let Some(positions) = positions {
                let position = &positions[row % self.tokens * width..];
                for (x, p) in out.iter_mut().zip(position) {
                    *x += p;
                }
            }
            if let Some((dropout, key)) = &dropout {
                kernels.drop_row(out, (row * width) as u32, *key, dropout);
            }
        });
        self.buffers.put(to, self.layer, buffer);
    }

    /// `out = norm(x)`; the statistics are kept, or those that were kept are used.
    pub(super) fn norm(&mut self, norm: NormRef, x: Slot, stats: Slot, to: Slot, fresh: bool) {
        let mut buffer = self.buffers.take(to, self.layer);
        let mut kept = self.buffers.take(stats, self.layer);
        let (out, statistics) = (Disjoint::new(&mut buffer), Disjoint::new(&mut kept));
        let (width, stride) = (self.buffers.width(x.buffer), self.buffers.stride(x.buffer));
        let x = self.buffers.get(x, self.layer);
        let gamma = self.parameters.plain(norm.gamma, self.layer);
        let beta = norm
            .beta
            .map_or(&[][..], |id| self.parameters.plain(id, self.layer));
        let (kernels, kind) = (self.device.kernels, self.plan.spec.norm);
        self.each_row(self.rows, |row| {
            let x = &x[row * stride..][..width];
            // SAFETY: each row is written by one task.
            let (out, stats) =
                unsafe { (out.part(row * stride, width), statistics.part(2 * row, 2)) };
            if fresh {
                stats.copy_from_slice(&kernels.statistics(kind, x));
            }
            kernels.normalise(x, [stats[0], stats[1]], gamma, beta, out);
        });
        self.buffers.put(to, self.layer, buffer);
        self.buffers.put(stats, self.layer, kept);
    }

    /// `dx = (dx +) d(norm)/dx · dy`. What is added is what the output holds, and `also` is what `NormWeight` has added to `dy` by now.
    pub(super) fn norm_input(
        &mut self,
        norm: NormRef,
        [x, stats, dy, to]: [Slot; 4],
        also: Option<Slot>,
        add: Option<Slot>,
    ) {
        assert!(
            add.is_none_or(|add| add == to),
            "a stream's gradient is added to itself"
        );
        debug_assert!(also.is_none() || add.is_none());
        let mut buffer = self.buffers.take(to, self.layer);
        let out = Disjoint::new(&mut buffer);
        let (width, stride) = (self.buffers.width(x.buffer), self.buffers.stride(x.buffer));
        let (x, dy) = (
            self.buffers.get(x, self.layer),
            self.buffers.get(dy, self.layer),
        );
        let stats = self.buffers.get(stats, self.layer);
        let gamma = self.parameters.plain(norm.gamma, self.layer);
        let (kernels, kind) = (self.device.kernels, self.plan.spec.norm);
        self.each_row(self.rows, |row| {
            let at = row * stride;
            // SAFETY: each row is written by one task.
            let out = unsafe { out.part(at, width) };
            let stats = [stats[2 * row], stats[2 * row + 1]];
            let (x, dy) = (&x[at..][..width], &dy[at..][..width]);
            kernels.norm_backward(kind, x, dy, gamma, stats, out, add.is_some());
        });
        self.buffers.put(to, self.layer, buffer);
    }

    /// `d(gamma) += Σ dy x'`, `d(beta) += Σ dy`, after `also` is added to `dy`.
    pub(super) fn norm_weight(
        &mut self,
        norm: NormRef,
        [x, stats, dy]: [Slot; 3],
        also: Option<Slot>,
    ) {
        let (width, stride) = (self.buffers.width(x.buffer), self.buffers.stride(x.buffer));
        if let Some(also) = also {
            self.add(dy, also, dy);
        }
        let mut gradients = std::mem::take(&mut self.parameters.gradients);
        let out = Disjoint::new(&mut gradients);
        let (x, dy) = (
            self.buffers.get(x, self.layer),
            self.buffers.get(dy, self.layer),
        );
        let stats = &self.buffers.get(stats, self.layer)[..2 * self.rows];
        let place = |id| self.parameters.place(id, self.layer).start;
        let (gamma, beta) = (place(norm.gamma), norm.beta.map(place));
        let (kernels, adds) = (self.device.kernels, !self.how.first);
        self.device.pool.run(width.div_ceil(PANEL), &|task, _| {
            let first = task * PANEL;
            let len = PANEL.min(width - first);
            let (mut g, mut b) = ([0.0; PANEL], [0.0; PANEL]);
            kernels.norm_sums(&x[first..], &dy[first..], stride, stats, &mut g, &mut b);
            for (start, sums) in [(Some(gamma), g), (beta, b)] {
                let Some(start) = start else { continue };
                // SAFETY: each task has features of its own.
                let out = unsafe { out.part(start + first, len) };
                for (out, sum) in out.iter_mut().zip(sums) {
                    *out = if adds { *out + sum } else { sum };
                }
            }
        });
        self.parameters.gradients = gradients;
    }

    /// `out = a + b`, where `out` is `a`.
    pub(super) fn add(&mut self, a: Slot, b: Slot, to: Slot) {
        assert_eq!(a, to, "a gradient is added to itself");
        let mut buffer = self.buffers.take(to, self.layer);
        let out = Disjoint::new(&mut buffer);
        let (width, stride) = (
            self.buffers.width(to.buffer),
            self.buffers.stride(to.buffer),
        );
        let b = self.buffers.get(b, self.layer);
        self.each_row(self.rows, |row| {
            // SAFETY: each row is written by one task.
            let out = unsafe { out.part(row * stride, width) };
            for (out, b) in out.iter_mut().zip(&b[row * stride..]) {
                *out += b;
            }
        });
        self.buffers.put(to, self.layer, buffer);
    }

    /// `out = drop(dy)`.
    pub(super) fn dropped(&mut self, site: Site, dy: Slot, to: Slot) {
        let mut buffer = self.buffers.take(to, self.layer);
        let out = Disjoint::new(&mut buffer);
        let (width, stride) = (
            self.buffers.width(to.buffer),
            self.buffers.stride(to.buffer),
        );
        let dy = self.buffers.get(dy, self.layer);
        let (kernels, dropout) = (self.device.kernels, self.dropout(site));
        self.each_row(self.rows, |row| {
            // SAFETY: each row is written by one task.
            let out = unsafe { out.part(row * stride, width) };
            out.copy_from_slice(&dy[row * stride..][..width]);
            if let Some((dropout, key)) = &dropout {
                kernels.drop_row(out, (row * width) as u32, *key, dropout);
            }
        });
        self.buffers.put(to, self.layer, buffer);
    }

    /// Of the chunk's rows: the loss, and in place of the logits its gradient.
    pub(super) fn cross_entropy(&mut self) {
        let mut buffer = self.buffers.take(B::Logits.here(), 0);
        let mut kept = self.buffers.take(B::Losses.here(), 0);
        let (logits, losses) = (Disjoint::new(&mut buffer), Disjoint::new(&mut kept));
        let (width, stride) = (
            self.buffers.width(B::Logits),
            self.buffers.stride(B::Logits),
        );
        let (kernels, scale, first) = (self.device.kernels, self.how.scale, self.chunk.start);
        self.each_row(self.chunk.len(), |row| {
            // SAFETY: each row is written by one task.
            let (logits, loss) = unsafe {
                (
                    logits.part(row * stride, width),
                    losses.part(first + row, 1),
                )
            };
            let target = self.buffers.targets[first + row] as usize;
            let came = logits[target];
            let mut state = Running {
                max: f32::NEG_INFINITY,
                sum: 0.0,
            };
            kernels.softmax_block(logits, width, 1.0, &mut state);
            loss[0] = state.sum.ln() - (came - state.max);
            kernels.scale(logits, scale / state.sum);
            logits[target] -= scale;
        });
        self.buffers.put(B::Logits.here(), 0, buffer);
        self.buffers.put(B::Losses.here(), 0, kept);
    }

    /// `d(table)[token] += dx`, `d(positions)[t] += dx`. Tasks have columns of their own and take all rows in order.
    pub(super) fn embed_weight(&mut self, table: TensorId, positions: Option<TensorId>, dx: Slot) {
        let (width, stride) = (
            self.buffers.width(dx.buffer),
            self.buffers.stride(dx.buffer),
        );
        let own_table = !self.plan.spec.tie_embeddings;
        let table = self.parameters.place(table, 0);
        let positions = positions.map(|id| self.parameters.place(id, 0));
        let mut gradients = std::mem::take(&mut self.parameters.gradients);
        if self.how.first {
            if own_table {
                gradients[table.start..][..table.len].fill(0.0);
            }
            if let Some(positions) = positions {
                gradients[positions.start..][..positions.len].fill(0.0);
            }
        }
        let out = Disjoint::new(&mut gradients);
        let dx = self.buffers.get(dx, self.layer);
        let tokens = &self.buffers.tokens[..self.rows];
        self.device.pool.run(width.div_ceil(PANEL), &|task, _| {
            let columns = task * PANEL..((task + 1) * PANEL).min(width);
            for (row, &token) in tokens.iter().enumerate() {
                let token = token as usize;
                let panel = table.start + token / PANEL * width * PANEL + token % PANEL;
                let position = positions.map(|p| p.start + row % self.tokens * width);
                for column in columns.clone() {
                    let d = dx[row * stride + column];
                    // SAFETY: each task has columns of its own.
                    unsafe {
                        out.part(panel + column * PANEL, 1)[0] += d;
                        if let Some(position) = position {
                            out.part(position + column, 1)[0] += d;
                        }
                    }
                }
            }
        });
        self.parameters.gradients = gradients;
    }
}
