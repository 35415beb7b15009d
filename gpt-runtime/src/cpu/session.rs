//! Sessions of the CPU engine.

use std::sync::Arc;

use gpt_plan::{Plan, Step};

use super::device::CpuDevice;
use super::interpreter::{Buffers, Model};
use super::parameters::Rotary;
use super::pass::{Pass, Scratch, Watch};
use crate::Error;
use crate::engine::{Clock, EngineSession, LogitsRequest, Profile, SessionOptions, Trace};

/// What all sessions of a model share.
pub(super) struct Shared {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    rotary: Rotary,
    model: Model,
}

impl Shared {
    pub fn new(device: Arc<CpuDevice>, plan: &'static Plan, model: Model) -> Self {
        Shared {
            device,
            plan,
            rotary: Rotary::new(plan),
            model,
        }
    }
}

/// What is to be kept of a pass besides its logits.
pub(super) enum Observe<'a> {
    Nothing,
    /// What each step left behind.
    Values(&'a mut Vec<Trace>),
    /// How long it took.
    Times(&'a mut Watch),
    /// The residual stream that the head reads.
    Stream(&'a mut Vec<f32>),
}

/// One sequence: its buffers, cache and scratch memory.
pub(super) struct Session {
    shared: Arc<Shared>,
    steps: Vec<(u32, &'static Step)>,
    buffers: Buffers,
    scratch: Scratch,
}

impl Session {
    pub fn new(shared: Arc<Shared>, options: SessionOptions) -> Result<Self, Error> {
        let plan = shared.plan;
        Ok(Session {
            steps: plan.steps().collect(),
            buffers: Buffers::new(plan, &options)?,
            scratch: Scratch::new(plan, &shared.device, &options),
            shared,
        })
    }

    fn run(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
    ) {
        self.with_pass(tokens, position, want, logits, observe, Model::forward);
    }

    /// Hands `run` the model, this sequence's buffers and a pass that is at its beginning.
    pub fn with_pass(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&Model, &mut Buffers, &mut Pass<'_>),
    ) {
        let (mut trace, mut watch, mut stream) = (None, None, None);
        match observe {
            Observe::Nothing => {}
            Observe::Values(values) => trace = Some(values),
            Observe::Times(times) => watch = Some(times),
            Observe::Stream(values) => stream = Some(values),
        }
        let mut pass = Pass {
            plan: self.shared.plan,
            device: &self.shared.device,
            rotary: &self.shared.rotary,
            scratch: &mut self.scratch,
            tokens,
            position: position as usize,
            want,
            logits,
            steps: &self.steps,
            next: 0,
            trace,
            watch,
            stream,
        };
        run(&self.shared.model, &mut self.buffers, &mut pass);
    }
}

impl EngineSession for Session {
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        self.run(tokens, position, want, logits, Observe::Nothing);
        Ok(())
    }

    fn trace(&mut self, tokens: &[u32], position: u32) -> Result<Vec<Trace>, Error> {
        let mut logits = vec![0.0; tokens.len() * self.shared.plan.spec.vocab as usize];
        let mut trace = Vec::new();
        self.run(
            tokens,
            position,
            LogitsRequest::All,
            &mut logits,
            Observe::Values(&mut trace),
        );
        Ok(trace)
    }

    fn fork(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<Box<dyn EngineSession>, Error> {
        let mut fork = Session::new(self.shared.clone(), options)?;
        fork.buffers.copy_cache(&self.buffers, positions as usize);
        Ok(Box::new(fork))
    }

    fn stream(&mut self, tokens: &[u32], position: u32, out: &mut Vec<f32>) -> Result<(), Error> {
        let observe = Observe::Stream(out);
        self.run(tokens, position, LogitsRequest::Nothing, &mut [], observe);
        Ok(())
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        let mut logits = vec![0.0; self.shared.plan.spec.vocab as usize];
        let mut watch = Watch::start();
        self.run(
            tokens,
            position,
            LogitsRequest::Last,
            &mut logits,
            Observe::Times(&mut watch),
        );
        // Nobody else is asked to do anything here: a step has no way there and back.
        Ok(Profile {
            clock: Clock::Device,
            steps: watch.steps,
            choice: Vec::new(),
        })
    }
}
