//! Sessions of the CPU engine.

use std::sync::Arc;

use gpt_plan::{Plan, Step};

use super::device::CpuDevice;
use super::interpreter::{ForwardPass, Interpreter, PassScratch, SessionBuffers, Stopwatch};
use super::kv_cache::CacheShape;
use super::memory::Arena;
use super::ops::rotary::RotaryTables;
use super::parameters::ParameterReader;
use super::sequences::Sequences;
use crate::Error;
use crate::engine::{
    Clock, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};
use crate::wait::Wait;
use crate::weights::Weights;

/// The most rows of a pass over several texts. The weights are read once for all rows of a pass.
/// More rows gain nothing, and their activations would not fit in the caches.
const BATCH_ROWS: usize = 512;
/// The most positions of the cache that such a pass takes. Short texts take whole panels.
const BATCH_POSITIONS: usize = 4 * BATCH_ROWS;

/// The data that all sessions of a model share.
pub(super) struct SharedModel {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    rotary: RotaryTables,
    model: Interpreter,
}

impl SharedModel {
    pub fn new(device: Arc<CpuDevice>, plan: &'static Plan, model: Interpreter) -> Self {
        SharedModel { device, plan, rotary: RotaryTables::new(plan), model }
    }
}

/// The values that a pass records in addition to its logits.
pub(super) enum Observe<'a> {
    Nothing,
    /// The output of each step.
    Values(&'a mut Vec<Trace>),
    /// The time of each step.
    Times(&'a mut Stopwatch),
    /// The residual stream that the head reads.
    Stream(&'a mut Vec<f32>),
}

/// One sequence: its buffers, cache and scratch memory.
pub(super) struct CpuSession {
    shared: Arc<SharedModel>,
    options: SessionOptions,
    steps: Vec<(u32, &'static Step)>,
    buffers: SessionBuffers,
    scratch: PassScratch,
    sequences: Sequences,
}

impl CpuSession {
    pub fn new(shared: Arc<SharedModel>, options: SessionOptions) -> Result<Self, Error> {
        let plan = shared.plan;
        let buffers = SessionBuffers::new(plan, &options)?;
        Ok(CpuSession {
            steps: plan.steps().collect(),
            scratch: PassScratch::new(plan, &shared.device, &options),
            sequences: Sequences::new(options.chunk as usize, buffers.cache_shape()),
            buffers,
            options,
            shared,
        })
    }

    fn run(
        &mut self,
        tokens: &[u32],
        position: u32,
        request: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
    ) {
        self.with_pass(tokens, position, request, logits, observe, Interpreter::forward);
    }

    /// Runs step `index` of a pass over `tokens` from `position` on. `logits` has a row for each
    /// token if the step belongs to the head.
    pub fn step(&mut self, index: usize, tokens: &[u32], position: u32, logits: &mut [f32]) {
        let run = |model: &Interpreter, buffers: &mut _, pass: &mut ForwardPass<'_>| {
            pass.next = index;
            model.step(index, buffers, pass);
        };
        self.with_pass(tokens, position, LogitsRequest::All, logits, Observe::Nothing, run);
    }

    /// Calls `run` with the model, the buffers of this sequence, and a pass at its first step.
    fn with_pass(
        &mut self,
        tokens: &[u32],
        position: u32,
        request: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&Interpreter, &mut SessionBuffers, &mut ForwardPass<'_>),
    ) {
        self.sequences.set_one(position as usize, tokens.len());
        self.with_sequences(tokens, request, logits, observe, run);
    }

    /// Like [`with_pass`](Self::with_pass), for the sequences in `self.sequences`.
    fn with_sequences(
        &mut self,
        tokens: &[u32],
        request: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&Interpreter, &mut SessionBuffers, &mut ForwardPass<'_>),
    ) {
        let (mut trace, mut stopwatch, mut stream) = (None, None, None);
        match observe {
            Observe::Nothing => {}
            Observe::Values(values) => trace = Some(values),
            Observe::Times(times) => stopwatch = Some(times),
            Observe::Stream(values) => stream = Some(values),
        }
        let mut pass = ForwardPass {
            plan: self.shared.plan,
            device: &self.shared.device,
            rotary: &self.shared.rotary,
            scratch: &mut self.scratch,
            tokens,
            sequences: &self.sequences,
            request,
            logits,
            steps: &self.steps,
            next: 0,
            trace,
            stopwatch,
            stream,
        };
        run(&self.shared.model, &mut self.buffers, &mut pass);
    }

    /// Runs whole texts together and leaves their residual streams in the stream's buffer.
    fn run_texts(&mut self, texts: &[&[u32]]) -> Result<(), Error> {
        let rows = texts.iter().map(|text| text.len()).sum::<usize>() as u32;
        let positions = positions_of(texts) as u32;
        let SessionOptions { chunk, capacity, .. } = self.options;
        if rows > chunk || positions > capacity {
            let (chunk, capacity) = (rows.max(chunk), positions.max(capacity));
            let options = SessionOptions { chunk, capacity, ..self.options };
            *self = CpuSession::new(self.shared.clone(), options)?;
        }
        self.sequences.set_texts(texts.iter().map(|text| text.len()));
        let (nothing, tokens) = (LogitsRequest::Nothing, texts.concat());
        let observe = Observe::Nothing;
        self.with_sequences(&tokens, nothing, &mut [], observe, Interpreter::forward);
        Ok(())
    }
}

/// Positions of the cache that texts take in a pass.
fn positions_of(texts: &[&[u32]]) -> usize {
    texts.iter().map(|text| CacheShape::padded_positions(text.len())).sum()
}

/// The number of texts at the front of `texts` that one pass runs. A text of one token runs alone,
/// because a product with one row has another order of sums.
fn batch_of(texts: &[&[u32]]) -> usize {
    let (mut rows, mut positions) = (0, 0);
    let fits = |text: &&&[u32]| {
        rows += text.len();
        positions += CacheShape::padded_positions(text.len());
        text.len() > 1 && rows <= BATCH_ROWS && positions <= BATCH_POSITIONS
    };
    texts.iter().take_while(fits).count().max(1)
}

impl EngineSession for CpuSession {
    fn forward<'a>(
        &'a mut self,
        tokens: &'a [u32],
        position: u32,
        request: LogitsRequest,
        logits: &'a mut [f32],
    ) -> Wait<'a, ()> {
        self.run(tokens, position, request, logits, Observe::Nothing);
        Wait::done(Ok(()))
    }

    fn fork(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<Box<dyn EngineSession>, Error> {
        let mut fork = CpuSession::new(self.shared.clone(), options)?;
        fork.buffers.copy_cache(&self.buffers, positions as usize);
        Ok(Box::new(fork))
    }

    fn stream(&mut self, tokens: &[u32], position: u32, out: &mut Vec<f32>) -> Result<(), Error> {
        let observe = Observe::Stream(out);
        self.run(tokens, position, LogitsRequest::Nothing, &mut [], observe);
        Ok(())
    }

    fn streams(
        &mut self,
        texts: &[&[u32]],
        sink: &mut dyn FnMut(usize, &mut [f32]),
    ) -> Result<(), Error> {
        let width = self.shared.plan.spec.embed as usize;
        let mut next = 0;
        while next < texts.len() {
            let batch = &texts[next..][..batch_of(&texts[next..])];
            self.run_texts(batch)?;
            let mut rest = self.buffers.stream_mut();
            for (i, text) in batch.iter().enumerate() {
                let (rows, later) = rest.split_at_mut(text.len() * width);
                sink(next + i, rows);
                rest = later;
            }
            next += batch.len();
        }
        Ok(())
    }

    fn head(&mut self, stream: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        self.buffers.stream_mut()[..stream.len()].copy_from_slice(stream);
        let rows = stream.len() / self.shared.plan.spec.embed as usize;
        // The head needs only the number of tokens.
        let tokens = vec![0; rows];
        let is_head = |(_, step): &(u32, &Step)| step.op.is_head();
        let first = self.steps.iter().position(is_head).unwrap_or(self.steps.len());
        for index in first..self.steps.len() {
            self.step(index, &tokens, 0, logits);
        }
        Ok(())
    }

    fn trace<'a>(&'a mut self, tokens: &'a [u32], position: u32) -> Wait<'a, Vec<Trace>> {
        let mut logits = vec![0.0; tokens.len() * self.shared.plan.spec.vocab as usize];
        let mut trace = Vec::new();
        self.run(tokens, position, LogitsRequest::All, &mut logits, Observe::Values(&mut trace));
        Wait::done(Ok(trace))
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        let mut logits = vec![0.0; self.shared.plan.spec.vocab as usize];
        let mut stopwatch = Stopwatch::start();
        self.run(
            tokens,
            position,
            LogitsRequest::Last,
            &mut logits,
            Observe::Times(&mut stopwatch),
        );
        // The host is the device, so its clock measures device time.
        Ok(Profile { clock: Clock::Device, steps: stopwatch.steps, sampling: Vec::new() })
    }
}

/// A model on the CPU.
pub struct CpuModel {
    pub(super) shared: Arc<SharedModel>,
}

impl CpuModel {
    /// Packs every tensor of `plan`. `activation` is the compiled activation of a declared model;
    /// without it, a closure is evaluated node by node.
    ///
    /// # Errors
    /// Fails if the weights cannot be read, or if there is too little memory.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        activation: Option<fn(&mut [f32])>,
        weights: &dyn Weights,
    ) -> Result<CpuModel, Error> {
        let reader = ParameterReader { plan, weights, device: &device, arena: &Arena::default() };
        let model = Interpreter::new(&reader, activation)?;
        Ok(CpuModel { shared: Arc::new(SharedModel::new(device, plan, model)) })
    }
}

impl EngineModel for CpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(CpuSession::new(self.shared.clone(), options)?))
    }
}
