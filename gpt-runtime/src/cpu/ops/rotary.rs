//! Rotary position embedding: pairs of neighbouring elements of a head are rotated by an angle
//! that grows with the position (Su et al. 2021).

use gpt_plan::Plan;

/// The rotations of a model's layers, one for each table of angles.
pub struct RotaryTables {
    tables: Vec<Rotary>,
    /// The empty table of layers that rotate nothing.
    none: Rotary,
}

impl RotaryTables {
    pub fn new(plan: &Plan) -> RotaryTables {
        let spec = &plan.spec;
        let head_dim = spec.head_dim as usize;
        let angles = crate::weights::rotary(spec);
        let count = spec.rotary_tables().len();
        let rotated = (spec.q_width() + spec.kv_width()) as usize;
        let table = |table: usize| {
            let pairs = (head_dim / 2).max(1);
            let rows = angles.chunks_exact(pairs).skip(table).step_by(count.max(1));
            let (cos, sin) = rows.flatten().map(|[cos, sin]| (*cos, *sin)).unzip();
            Rotary { cos, sin, head_dim, rotated }
        };
        RotaryTables {
            tables: (0..count).map(table).collect(),
            none: Rotary { cos: Vec::new(), sin: Vec::new(), head_dim, rotated: 0 },
        }
    }

    /// The rotation by table `index`; without an index, nothing is rotated.
    pub fn of(&self, index: Option<u16>) -> &Rotary {
        index.map_or(&self.none, |index| &self.tables[usize::from(index)])
    }
}

/// Cosine and sine of every angle; empty where nothing is rotated.
pub struct Rotary {
    /// `[positions][head_dim / 2]`.
    cos: Vec<f32>,
    sin: Vec<f32>,
    head_dim: usize,
    /// Width of the queries and keys, which precede the values in the fused projection.
    rotated: usize,
}

impl Rotary {
    /// Rotates outputs of the fused q, k, v projection for the token at `position`. `outputs`
    /// starts at output `first`, an even number. Rotated heads have an even width, so pairs are
    /// never split.
    #[inline(always)]
    pub fn forward(&self, position: usize, first: usize, outputs: &mut [f32]) {
        let end = outputs.len().min(self.rotated.saturating_sub(first));
        let mut at = 0;
        while at < end {
            let d = (first + at) % self.head_dim;
            let head = &mut outputs[at..end.min(at + self.head_dim - d)];
            at += head.len();
            for (pair, (cos, sin)) in pairs(head).zip(self.angles(position, d)) {
                *pair = [pair[0] * cos - pair[1] * sin, pair[0] * sin + pair[1] * cos];
            }
        }
    }

    /// Converts the gradient of a rotated head at `position` to the gradient before rotation. The
    /// inverse of a rotation is its transpose.
    pub fn backward(&self, position: usize, head: &mut [f32]) {
        if self.rotated == 0 {
            return;
        }
        for (pair, (cos, sin)) in pairs(head).zip(self.angles(position, 0)) {
            *pair = [pair[0] * cos + pair[1] * sin, pair[1] * cos - pair[0] * sin];
        }
    }

    /// Cosines and sines at `position` for the elements of a head from `d` on.
    fn angles(&self, position: usize, d: usize) -> impl Iterator<Item = (&f32, &f32)> {
        let start = position * (self.head_dim / 2) + d / 2;
        self.cos[start..].iter().zip(&self.sin[start..])
    }
}

fn pairs(head: &mut [f32]) -> impl Iterator<Item = &mut [f32; 2]> {
    head.as_chunks_mut::<2>().0.iter_mut()
}
