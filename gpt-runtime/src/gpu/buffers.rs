//! What a session has on the device, all of it made when it is opened: what kernels read and write, and what goes there and comes back.

use bytemuck::{Pod, Zeroable};
use gpt_plan::{BufferId, MAX_BINDING, MAX_STOPS};
use wgpu::{Buffer, BufferUsages};

use super::layout::Slot;
use super::model::Shared;
use crate::engine::{CacheFormat, SessionOptions};
use crate::{Error, Sampling};

/// The struct of `run.wgsl`, padded to what a uniform needs.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub struct Run {
    position: u32,
    rows: u32,
    first: u32,
    padding: u32,
}

pub const RUN_BYTES: u64 = size_of::<Run>() as u64;

/// The struct of `sample/options.wgsl`.
#[derive(Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct SamplingNumbers {
    pub inverse_temperature: f32,
    pub top_k: u32,
    pub top_p: f32,
    pub min_p: f32,
    pub seed: [u32; 2],
    pub draws: u32,
    pub noise: u32,
    pub stops: [u32; MAX_STOPS],
}

impl SamplingNumbers {
    /// For tokens of `vocab`; the number of a draw is `draws` more than its position.
    pub fn new(sampling: &Sampling, ends: &[u32], draws: u32, vocab: u32) -> SamplingNumbers {
        let mut stops = [u32::MAX; MAX_STOPS];
        for (to, stop) in stops.iter_mut().zip(ends) {
            *to = *stop;
        }
        let all = sampling.top_k == 0 || sampling.top_k > vocab as usize;
        SamplingNumbers {
            inverse_temperature: sampling.inverse_temperature(),
            top_k: if all { vocab } else { sampling.top_k as u32 },
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            seed: [sampling.seed as u32, (sampling.seed >> 32) as u32],
            draws,
            noise: u32::from(sampling.temperature > 0.0 && !sampling.cuts(vocab)),
            stops,
        }
    }
}

const SAMPLING_BYTES: u64 = size_of::<SamplingNumbers>() as u64;

/// Where in `upload` what begins: both runs are first.
pub const SAMPLING_AT: u64 = 2 * RUN_BYTES;
pub const TOKENS_AT: u64 = SAMPLING_AT + SAMPLING_BYTES;

/// Most tokens that are submitted together.
pub const MOST_TOKENS: u32 = 32;

/// All buffers of a session.
pub struct Buffers {
    /// For all steps but the head, and for the head.
    pub run: [Buffer; 2],
    pub tokens: Buffer,
    pub sampling: Buffer,
    /// Both runs, how tokens are chosen, and the tokens: mapped, and copied to where kernels read them.
    pub upload: Buffer,
    pub stream: [Buffer; 2],
    pub q: Buffer,
    pub a: Buffer,
    pub h: Buffer,
    pub logits: Buffer,
    /// Logits on their way back.
    pub download: Buffer,
    /// What parts of the keys gathered.
    pub parts: Buffer,
    pub choice: Choice,
    /// Tokens that were chosen, on their way back; submits take turns.
    pub turns: [Buffer; 2],
    /// Keys and values of each layer.
    pub cache: Vec<[Buffer; 2]>,
}

/// What the choice of a token works on.
pub struct Choice {
    tops: Buffer,
    histogram: Buffer,
    listed: Buffer,
    pub drawn: Buffer,
}

impl Buffers {
    pub fn new(shared: &Shared, options: &SessionOptions) -> Result<Buffers, Error> {
        let device = &*shared.device;
        let plan = shared.plan;
        let bytes = |id: BufferId| {
            let buffer = plan.buffer(id);
            let rows = options.rows(buffer.rows);
            (id.name(), u64::from(rows) * u64::from(buffer.width) * 4)
        };
        let storage = BufferUsages::STORAGE | BufferUsages::COPY_SRC | BufferUsages::COPY_DST;
        let make = |id: BufferId| {
            let (name, bytes) = bytes(id);
            if bytes > MAX_BINDING {
                return Err(Error::Input(format!(
                    "the session's {name} would take {} MiB, and an adapter binds {} MiB at once; ask for a smaller capacity or chunk",
                    bytes >> 20,
                    MAX_BINDING >> 20
                )));
            }
            device.buffer(name, bytes, storage)
        };
        if options.cache != CacheFormat::F32 {
            return Err(Error::Input(format!(
                "a cache in {} was asked for, and the GPU engine keeps keys and values in f32",
                options.cache.name()
            )));
        }
        if options.chunk > 65_535 {
            return Err(Error::Input(format!(
                "a chunk of {} tokens is more than a dispatch covers, which is 65535",
                options.chunk
            )));
        }
        let run = || {
            device.buffer(
                "run",
                RUN_BYTES,
                BufferUsages::UNIFORM | BufferUsages::STORAGE | BufferUsages::COPY_DST,
            )
        };
        let turn = || {
            device.buffer(
                "chosen tokens",
                4 * u64::from(MOST_TOKENS),
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            )
        };
        let tokens = u64::from(options.chunk) * 4;
        Ok(Buffers {
            run: [run()?, run()?],
            tokens: device.buffer("tokens", tokens, storage)?,
            sampling: device.buffer(
                "sampling",
                SAMPLING_BYTES,
                BufferUsages::UNIFORM | BufferUsages::COPY_DST,
            )?,
            upload: device.buffer(
                "upload",
                TOKENS_AT + tokens,
                BufferUsages::MAP_WRITE | BufferUsages::COPY_SRC,
            )?,
            stream: [make(BufferId::X)?, make(BufferId::X)?],
            q: make(BufferId::Q)?,
            a: make(BufferId::A)?,
            h: make(BufferId::H)?,
            logits: make(BufferId::Logits)?,
            download: device.buffer(
                "download",
                bytes(BufferId::Logits).1,
                BufferUsages::MAP_READ | BufferUsages::COPY_DST,
            )?,
            parts: make(BufferId::SplitSums)?,
            choice: Choice {
                tops: make(BufferId::TileMaxima)?,
                histogram: make(BufferId::Histogram)?,
                listed: make(BufferId::Candidates)?,
                drawn: make(BufferId::Sampled)?,
            },
            turns: [turn()?, turn()?],
            cache: (0..plan.spec.layers)
                .map(|_| Ok([make(BufferId::K)?, make(BufferId::V)?]))
                .collect::<Result<_, Error>>()?,
        })
    }

    fn get(&self, id: BufferId, layer: u32) -> &Buffer {
        match id {
            BufferId::X => &self.stream[0],
            BufferId::Q => &self.q,
            BufferId::A => &self.a,
            BufferId::H => &self.h,
            BufferId::Logits => &self.logits,
            BufferId::K => &self.cache[layer as usize][0],
            BufferId::V => &self.cache[layer as usize][1],
            BufferId::SplitSums => &self.parts,
            BufferId::TileMaxima => &self.choice.tops,
            BufferId::Histogram => &self.choice.histogram,
            BufferId::Candidates => &self.choice.listed,
            BufferId::Sampled => &self.choice.drawn,
            _ => unreachable!("{} is no buffer of a session", id.name()),
        }
    }

    /// What stands in `slot` of a step of `layer`, where `current` of the two stream buffers holds the stream.
    pub fn slot(&self, slot: Slot, layer: u32, current: usize) -> &Buffer {
        match slot {
            Slot::Run => &self.run[0],
            Slot::HeadRun => &self.run[1],
            Slot::Sampling => &self.sampling,
            Slot::Tokens => &self.tokens,
            Slot::StreamIn => &self.stream[current],
            Slot::StreamOut => &self.stream[1 - current],
            Slot::Buffer(id) => self.get(id, layer),
        }
    }
}

/// What the body and the head of a model run on.
pub fn runs(position: u32, rows: u32, wanted: u32) -> [Run; 2] {
    let run = |rows, first| Run {
        position,
        rows,
        first,
        padding: 0,
    };
    [run(rows, 0), run(wanted, rows - wanted)]
}
