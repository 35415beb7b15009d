//! Sessions of the CPU engine.

use std::sync::Arc;

use gpt_plan::{Plan, Step};

use super::device::CpuDevice;
use super::interpreter::{Buffers, ForwardPass, Interpreter, PassScratch, Stopwatch};
use super::memory::Arena;
use super::ops::rotary::Rotary;
use super::parameters::Reader;
use crate::Error;
use crate::weights::Weights;
use crate::engine::{Clock, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace};

/// What all sessions of a model share.
pub(super) struct Shared {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    rotary: Rotary,
    model: Interpreter,
}

impl Shared {
    pub fn new(device: Arc<CpuDevice>, plan: &'static Plan, model: Interpreter) -> Self {
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
    Times(&'a mut Stopwatch),
}

/// One sequence: its buffers, cache and scratch memory.
pub(super) struct Session {
    shared: Arc<Shared>,
    steps: Vec<(u32, &'static Step)>,
    buffers: Buffers,
    scratch: PassScratch,
}

impl Session {
    pub fn new(shared: Arc<Shared>, options: SessionOptions) -> Result<Self, Error> {
        let plan = shared.plan;
        Ok(Session {
            steps: plan.steps().collect(),
            buffers: Buffers::new(plan, &options)?,
            scratch: PassScratch::new(plan, &shared.device, &options),
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

    /// Hands `run` the model, this sequence's buffers and a pass that is at its beginning.
    pub fn with_pass(
        &mut self,
        tokens: &[u32],
        position: u32,
        request: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&Interpreter, &mut Buffers, &mut ForwardPass<'_>),
    ) {
        let (trace, stopwatch) = match observe {
            Observe::Nothing => (None, None),
            Observe::Values(trace) => (Some(trace), None),
            Observe::Times(stopwatch) => (None, Some(stopwatch)),
        };
        let mut pass = ForwardPass {
            plan: self.shared.plan,
            device: &self.shared.device,
            rotary: &self.shared.rotary,
            scratch: &mut self.scratch,
            tokens,
            position: position as usize,
            request,
            logits,
            steps: &self.steps,
            next: 0,
            trace,
            stopwatch,
        };
        run(&self.shared.model, &mut self.buffers, &mut pass);
    }
}

impl EngineSession for Session {
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        request: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        self.run(tokens, position, request, logits, Observe::Nothing);
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
        // Nobody else is asked to do anything here: a step has no way there and back.
        Ok(Profile {
            clock: Clock::Device,
            steps: stopwatch.steps,
            choice: Vec::new(),
        })
    }
}

/// A model on the CPU.
pub struct CpuModel {
    pub(super) shared: Arc<Shared>,
}

impl CpuModel {
    /// Packs every tensor of `plan`. `activation` is the compiled activation of a declared model;
    /// without it a closure is evaluated node by node.
    ///
    /// # Errors
    /// Weights that cannot be read; no memory for them.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        activation: Option<fn(&mut [f32])>,
        weights: &dyn Weights,
    ) -> Result<CpuModel, Error> {
        let reader = Reader {
            plan,
            weights,
            device: &device,
            arena: &Arena::default(),
        };
        let model = Interpreter::new(&reader, activation)?;
        Ok(CpuModel {
            shared: Arc::new(Shared::new(device, plan, model)),
        })
    }
}

impl EngineModel for CpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(Session::new(self.shared.clone(), options)?))
    }
}
