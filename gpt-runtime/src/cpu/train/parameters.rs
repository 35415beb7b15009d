//! Parameters, gradients and moments: four flat buffers of one layout.
//!
//! Tensors follow each other in the order of [`Plan::trained`]. A matrix stands in panels of 32 rows, `[panel][column][32]`, as inference
//! packs it; of a gated MLP a panel holds 16 gates and the 16 rows that they gate. Rows that only fill up a panel are zeros for good: their
//! gradients are zero. Tables and vectors stand as they are.

use gpt_plan::{Plan, TensorId, TensorKind};

use crate::Error;
use crate::cpu::gemm::{Panels, Part, piece};
use crate::cpu::memory::{Arena, Floats};
use crate::cpu::pack::{Order, row_of};
use crate::cpu::pool::Pool;
use crate::cpu::simd::{Bf16Pair, Kernels, PANEL, Rounding, Strided, prefetch_all};
use crate::engine::State;
use crate::weights::{Weights, format};

pub struct Parameters {
    pub values: Floats,
    pub gradients: Floats,
    pub first: Floats,
    pub second: Floats,
    /// Where a tensor of a layer is, by tensor and then by layer.
    places: Vec<Vec<Place>>,
    /// Runs of the buffers that decay, and that do not: start, length, whether.
    pub runs: Vec<(usize, usize, bool)>,
    /// Whether products round their operands to bf16.
    pub rounds: bool,
    /// Tables that nothing learns, computed once.
    fixed: Vec<Vec<f32>>,
}

/// Where a tensor stands in the flat buffers, and how.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub start: usize,
    pub len: usize,
    pub rows: usize,
    pub columns: usize,
    pub order: Order,
    pub kind: TensorKind,
}

impl Place {
    /// Panels of a matrix.
    pub fn panels(&self) -> usize {
        match self.order {
            Order::Straight => self.rows.div_ceil(PANEL),
            Order::Gated => (self.rows / 2).div_ceil(PANEL / 2),
        }
    }

    /// The row that `lane` of a panel is, if it is one.
    pub fn row_of(&self, panel: usize, lane: usize) -> Option<usize> {
        row_of(self.order, self.rows, panel, lane)
    }
}

impl Parameters {
    pub fn new(
        pool: &Pool,
        arena: &Arena,
        plan: &'static Plan,
        weights: &dyn Weights,
        rounds: bool,
    ) -> Result<Self, Error> {
        let mut places: Vec<Vec<Place>> = vec![Vec::new(); plan.tensors.len()];
        let mut runs: Vec<(usize, usize, bool)> = Vec::new();
        let mut start = 0;
        for (id, layer) in plan.trained() {
            let tensor = plan.tensor(id);
            let gated = plan.is_gated(id);
            let len = plan.trained_len(id) as usize;
            let place = Place {
                start,
                len,
                rows: tensor.rows as usize,
                columns: tensor.columns as usize,
                order: if gated { Order::Gated } else { Order::Straight },
                kind: tensor.kind,
            };
            let of_tensor = &mut places[usize::from(id.0)];
            // A tensor that the first layers lack has a place there that no one asks for.
            while of_tensor.len() < layer as usize {
                of_tensor.push(place);
            }
            of_tensor.push(place);
            let decays = tensor.kind != TensorKind::Vector;
            match runs.last_mut() {
                Some(run) if run.2 == decays => run.1 += len,
                _ => runs.push((start, len, decays)),
            }
            start += len;
        }
        let mut parameters = Parameters {
            values: arena.floats(start)?,
            gradients: arena.floats(start)?,
            first: arena.floats(start)?,
            second: arena.floats(start)?,
            places,
            runs,
            rounds,
            fixed: vec![Vec::new(); plan.tensors.len()],
        };
        parameters.load(pool, plan, weights)?;
        Ok(parameters)
    }

    fn load(&mut self, pool: &Pool, plan: &Plan, weights: &dyn Weights) -> Result<(), Error> {
        let values = |id, layer| -> Result<Vec<f32>, Error> {
            let tensor = weights.tensor(id, layer)?;
            let row_bytes = tensor.format.row_bytes(tensor.columns);
            let mut values = vec![0.0; tensor.rows * tensor.columns];
            let shared = crate::cpu::pool::Disjoint::new(&mut values);
            pool.run(tensor.rows, &|row, _| {
                let bytes = &tensor.data[row * row_bytes..][..row_bytes];
                // SAFETY: each task writes the row of its own number.
                let out = unsafe { shared.part(row * tensor.columns, tensor.columns) };
                format::decode(tensor.format, bytes, out);
            });
            Ok(values)
        };
        for (id, layer) in plan.trained() {
            self.write(plan, State::Parameter, id, layer, &values(id, layer)?);
        }
        for (i, tensor) in plan.tensors.iter().enumerate() {
            if tensor.sources.is_empty() {
                self.fixed[i] = values(TensorId(i as u16), 0)?;
            }
        }
        Ok(())
    }

    /// Bytes of each of the four.
    pub fn bytes(&self) -> [u64; 4] {
        [&self.values, &self.gradients, &self.first, &self.second].map(|b| 4 * b.len() as u64)
    }

    pub fn place(&self, id: TensorId, layer: usize) -> Place {
        let places = &self.places[usize::from(id.0)];
        places[layer.min(places.len() - 1)]
    }

    /// The values of a vector or a table; of one that is computed as well.
    pub fn plain(&self, id: TensorId, layer: usize) -> &[f32] {
        let fixed = &self.fixed[usize::from(id.0)];
        if !fixed.is_empty() {
            return fixed;
        }
        let place = self.place(id, layer);
        &self.values[place.start..][..place.rows * place.columns]
    }

    /// A matrix as the forward product reads it.
    pub fn matrix(&self, id: TensorId, layer: usize) -> Forward<'_> {
        let place = self.place(id, layer);
        Forward {
            place,
            rounds: self.rounds,
            values: &self.values[place.start..][..place.len],
        }
    }

    /// A matrix as the gradient of its input reads it.
    pub fn turned(&self, id: TensorId, layer: usize) -> Turned<'_> {
        Turned(self.matrix(id, layer))
    }

    fn state(&mut self, state: State) -> &mut [f32] {
        match state {
            State::Parameter => &mut self.values,
            State::Gradient => &mut self.gradients,
            State::FirstMoment => &mut self.first,
            State::SecondMoment => &mut self.second,
        }
    }

    pub fn read(
        &mut self,
        plan: &Plan,
        state: State,
        id: TensorId,
        layer: u32,
        values: &mut [f32],
    ) {
        let place = self.checked(plan, id, layer, values.len());
        let from = &self.state(state)[place.start..][..place.len];
        visit(&place, |at, value| values[value] = from[at]);
    }

    pub fn write(&mut self, plan: &Plan, state: State, id: TensorId, layer: u32, values: &[f32]) {
        let place = self.checked(plan, id, layer, values.len());
        let to = &mut self.state(state)[place.start..][..place.len];
        visit(&place, |at, value| to[at] = values[value]);
    }

    fn checked(&self, plan: &Plan, id: TensorId, layer: u32, len: usize) -> Place {
        let place = self.place(id, layer as usize);
        let name = &plan.tensor(id).name;
        assert_eq!(len, place.rows * place.columns, "elements of {name}");
        place
    }
}

/// Calls `f(index in the flat buffer, index in [rows, columns])` for each element of a tensor.
fn visit(place: &Place, mut f: impl FnMut(usize, usize)) {
    let Place { rows, columns, .. } = *place;
    if place.kind != TensorKind::Matrix {
        (0..rows * columns).for_each(|i| f(i, i));
        return;
    }
    for panel in 0..place.panels() {
        for lane in 0..PANEL {
            if let Some(row) = place.row_of(panel, lane) {
                for column in 0..columns {
                    f(
                        (panel * columns + column) * PANEL + lane,
                        row * columns + column,
                    );
                }
            }
        }
    }
}

/// A matrix as it stands: outputs are its rows.
pub struct Forward<'a> {
    pub place: Place,
    rounds: bool,
    pub values: &'a [f32],
}

impl Panels for Forward<'_> {
    fn count(&self) -> usize {
        self.place.panels()
    }

    fn depth(&self) -> usize {
        self.place.columns
    }

    fn rounding(&self, _: &Kernels) -> Rounding {
        match self.rounds {
            true => Rounding::Bf16,
            false => Rounding::None,
        }
    }

    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> Part<'a> {
        let start = (panel * self.place.columns + from) * PANEL;
        let stands = &self.values[start..][..(to - from) * PANEL];
        if !self.rounds {
            return Part::Plain(stands);
        }
        if kernels.has_pairs() {
            let pairs: &mut [Bf16Pair] = bytemuck::cast_slice_mut(room);
            pair_steps(kernels, stands, to - from, pairs);
            return Part::Pairs(pairs);
        }
        let room = &mut room[..stands.len()];
        room.copy_from_slice(stands);
        kernels.round(room);
        Part::Plain(room)
    }

    fn piece(&self, panel: usize, from: usize, to: usize, which: [usize; 2]) -> &[u8] {
        let start = (panel * self.place.columns + from) * PANEL;
        let stands = &self.values[start..][..(to - from) * PANEL];
        piece(bytemuck::cast_slice(stands), which)
    }
}

/// A matrix turned over: outputs are its columns. Of a gated matrix the input is in the order of its panels.
pub struct Turned<'a>(Forward<'a>);

impl Panels for Turned<'_> {
    fn count(&self) -> usize {
        self.0.place.columns.div_ceil(PANEL)
    }

    fn depth(&self) -> usize {
        match self.0.place.order {
            Order::Straight => self.0.place.rows,
            Order::Gated => self.0.place.panels() * PANEL,
        }
    }

    fn rounding(&self, kernels: &Kernels) -> Rounding {
        self.0.rounding(kernels)
    }

    fn part<'a>(
        &'a self,
        kernels: &Kernels,
        panel: usize,
        from: usize,
        to: usize,
        room: &'a mut [f32],
    ) -> Part<'a> {
        let count = PANEL.min(self.0.place.columns - panel * PANEL);
        let blocks = from / PANEL..to.div_ceil(PANEL);
        let stands = |block: usize| self.block(panel, block);
        // Blocks lie as far apart as the matrix has columns, and hardware does not see the next one coming.
        let ask = |block: usize| {
            if block < blocks.end {
                prefetch_all(stands(block));
            }
        };
        ask(blocks.start);
        if self.0.rounds && kernels.has_pairs() {
            // What becomes a pair stands side by side, and half as much is to be turned over.
            const PAIRS: usize = PANEL / 2;
            let mut flat = [0.0; PANEL * PAIRS];
            let rooms = room.chunks_exact_mut(PAIRS * PANEL);
            for (block, out) in blocks.clone().zip(rooms) {
                ask(block + 1);
                let stands = Strided {
                    data: stands(block),
                    stride: count * PANEL,
                };
                let pairs = &mut bytemuck::cast_slice_mut(&mut flat)[..count * PAIRS];
                kernels.pair_columns(stands, [1, count * PANEL], pairs);
                kernels.transpose(&flat, PAIRS, [count, PAIRS], out, PANEL);
            }
            return Part::Pairs(bytemuck::cast_slice(room));
        }
        for (block, out) in blocks.clone().zip(room.chunks_exact_mut(PANEL * PANEL)) {
            ask(block + 1);
            kernels.transpose(stands(block), PANEL, [count, PANEL], out, PANEL);
        }
        if self.0.rounds {
            kernels.round(room);
        }
        Part::Plain(room)
    }

    /// Of as many blocks as there are pieces, one for each; whoever makes a part asks for the others itself.
    fn piece(&self, panel: usize, from: usize, to: usize, [i, n]: [usize; 2]) -> &[u8] {
        let (first, last) = (from / PANEL, to.div_ceil(PANEL));
        bytemuck::cast_slice(self.block(panel, first + (last - first) * i / n))
    }
}

impl Turned<'_> {
    /// What turned over is the block `block` of 32 steps of a panel.
    fn block(&self, panel: usize, block: usize) -> &[f32] {
        let columns = self.0.place.columns;
        let count = PANEL.min(columns - panel * PANEL);
        let start = (block * columns + panel * PANEL) * PANEL;
        &self.0.values[start..][..count * PANEL]
    }
}

/// `depth` steps of a panel rounded to bf16, two steps a pair.
fn pair_steps(kernels: &Kernels, steps: &[f32], depth: usize, pairs: &mut [Bf16Pair]) {
    let steps = Strided {
        data: steps,
        stride: PANEL,
    };
    kernels.pair_rows(steps, [depth, PANEL], pairs);
}
