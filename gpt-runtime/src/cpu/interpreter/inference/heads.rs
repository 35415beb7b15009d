//! The steps that write queries, keys and values: the projection, which writes them directly, or
//! the norms of queries and keys that follow a projection.

use super::ForwardPass;
use crate::cpu::kv_cache::{Cache, KeysAndValues, KvStorage, each_format, narrow};
use crate::cpu::ops::matmul::epilogue;
use crate::cpu::ops::norm::heads::forward as norm_heads;
use crate::cpu::ops::rotary::Rotary;
use crate::cpu::parameters::{NormParameters, ProjectionParameters};
use crate::cpu::pool::Disjoint;
use gpt_plan::BufferId;
use gpt_simd::{CacheElement, PANEL, Strided};

impl<'p> ForwardPass<'p> {
    /// `q, k, v = qkv · norm(x)`. q and k are rotated, then k and v are written to the cache.
    pub(in crate::cpu) fn qkv_rows(
        &mut self,
        x: &[f32],
        norm: Option<&NormParameters>,
        qkv: &ProjectionParameters,
        rotary: &Rotary,
        q: &mut Vec<f32>,
        cache: &mut Cache,
    ) {
        self.begin(Some(q));
        let sequences = self.sequences;
        each_format!(&mut cache.storage, kv => {
            let width = self.plan.spec.qkv_width() as usize;
            let sink = self.heads_sink(q, kv);
            let position = |row| sequences.position(row);
            let epilogue = epilogue::heads(qkv.bias.as_deref(), width, rotary, position, sink);
            self.project(x, self.rows(), norm, &qkv.weight, &epilogue);
        });
        self.end_heads(q, cache);
    }

    /// Normalises the queries and keys in `x`, the output of the projection. Then rotates and
    /// stores queries, keys and values as [`qkv_rows`](Self::qkv_rows) does.
    pub(in crate::cpu) fn norm_heads_rows(
        &mut self,
        x: &[f32],
        norm: &NormParameters,
        rotary: &Rotary,
        q: &mut Vec<f32>,
        cache: &mut Cache,
    ) {
        self.begin(Some(q));
        let spec = &self.plan.spec;
        let groups = spec.qk_groups().expect("the spec has a norm of queries and keys");
        let (sequences, width) = (self.sequences, spec.qkv_width() as usize);
        let rows = self.rows();
        each_format!(&mut cache.storage, kv => {
            let sink = self.heads_sink(q, kv);
            let x = Strided { data: x, stride: width };
            let position = |row| sequences.position(row);
            let norm = norm.operands();
            norm_heads(self.device, rows, &groups, norm, x, width, rotary, position, None, sink);
        });
        self.end_heads(q, cache);
    }

    /// Ends a step that writes queries, keys and values.
    fn end_heads(&mut self, q: &[f32], cache: &Cache) {
        self.end_with(|pass| {
            let width = pass.plan.buffer(BufferId::Q).width as usize;
            let mut values = Vec::new();
            for (row, q) in q.chunks(width).take(pass.rows()).enumerate() {
                values.extend_from_slice(q);
                let shape = &pass.sequences.span_of(row).cache;
                cache.gather(shape, pass.sequences.position(row), &mut values);
            }
            values
        });
    }

    /// Returns a function that stores queries in `q`, and keys and values in the cache. Its
    /// arguments are the row, the index of the first output of the projection, and the outputs.
    fn heads_sink<'a, E: CacheElement>(
        &self,
        q: &'a mut [f32],
        kv: &'a mut KeysAndValues<E>,
    ) -> impl Fn(usize, usize, &[f32]) + Sync + use<'a, 'p, E> {
        let spec = &self.plan.spec;
        let head_dim = spec.head_dim as usize;
        let (q_width, kv_width) = (spec.q_width() as usize, spec.kv_width() as usize);
        let (sequences, kernels) = (self.sequences, self.device.kernels);
        let (q_out, kv_out) = (Disjoint::new(q), Disjoint::new(kv.elements_mut()));
        move |row: usize, first: usize, outputs: &[f32]| {
            let (shape, position) = (&sequences.span_of(row).cache, sequences.position(row));
            let mut scratch = [E::default(); PANEL];
            // A panel may hold parts of several heads, so the outputs are stored head by head.
            let mut at = 0;
            while at < outputs.len() {
                let n = first + at;
                let d = n % head_dim;
                let part = &outputs[at..outputs.len().min(at + head_dim - d)];
                at += part.len();
                // SAFETY: each output of each row is written to its own element.
                unsafe {
                    if n < q_width {
                        q_out.part(row * q_width + n, part.len()).copy_from_slice(part);
                    } else if n < q_width + kv_width {
                        let to = shape.key_at((n - q_width) / head_dim, position, d);
                        for (i, &key) in narrow(kernels, part, &mut scratch).iter().enumerate() {
                            kv_out.part(to + i * PANEL, 1).fill(key);
                        }
                    } else {
                        let to = shape.value_at((n - q_width - kv_width) / head_dim, position) + d;
                        kv_out.part(to, part.len()).copy_from_slice(narrow(
                            kernels,
                            part,
                            &mut scratch,
                        ));
                    }
                }
            }
        }
    }
}
