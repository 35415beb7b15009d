//! Models and sessions of the CPU engine: declared models and plans made at run time.

use std::sync::Arc;

use gpt_plan::{Plan, Step};

use super::device::CpuDevice;
use super::interpreter::{Buffers, ForwardPass, Interpreter, PassScratch, Stopwatch};
use super::memory::Arena;
use super::ops::rotary::Rotary;
use super::parameters::Reader;
use super::typed::{BufferStore, Gpt, Store};
use crate::Error;
use crate::engine::{
    Clock, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};
use crate::weights::Weights;

/// A model known only by its plan.
pub struct CpuModel {
    pub(super) shared: Arc<Shared<Interpreter>>,
}

impl CpuModel {
    /// Packs every tensor of `plan`. A closure activation is evaluated node by node.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn new(
        device: Arc<CpuDevice>,
        plan: &'static Plan,
        weights: &dyn Weights,
    ) -> Result<CpuModel, Error> {
        CpuModel::with_activation(device, plan, None, weights)
    }

    /// As [`new`](Self::new) with the compiled activation of a declared model.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub fn with_activation(
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

impl Forward for Interpreter {
    type Buffers = Buffers;

    fn buffers(&self, plan: &'static Plan, options: SessionOptions) -> Result<Buffers, Error> {
        Buffers::new(plan, &options)
    }

    fn forward(&self, buffers: &mut Buffers, pass: &mut ForwardPass<'_>) {
        Interpreter::forward(self, buffers, pass);
    }
}

/// Parameters that can run a pass.
pub(super) trait Forward: Send + Sync + 'static {
    type Buffers: Send;
    fn buffers(&self, plan: &'static Plan, options: SessionOptions)
    -> Result<Self::Buffers, Error>;
    fn forward(&self, buffers: &mut Self::Buffers, pass: &mut ForwardPass<'_>);
}

/// A model and its device, shared by all sessions.
pub(super) struct Shared<F> {
    device: Arc<CpuDevice>,
    plan: &'static Plan,
    rotary: Rotary,
    model: F,
}

impl<F> Shared<F> {
    pub fn new(device: Arc<CpuDevice>, plan: &'static Plan, model: F) -> Self {
        Shared {
            device,
            plan,
            rotary: Rotary::new(plan),
            model,
        }
    }
}

/// A model that `gpt_model!` declared.
pub struct TypedCpuModel<M: Gpt> {
    shared: Arc<Shared<Typed<M>>>,
}

impl<M: Gpt> TypedCpuModel<M> {
    /// Packs every parameter.
    pub fn new(device: Arc<CpuDevice>, weights: &dyn Weights) -> Result<Self, Error> {
        let model = M::parameters(&mut Store::new(
            M::plan(),
            weights,
            &device,
            &Arena::default(),
        ))?;
        Ok(TypedCpuModel {
            shared: Arc::new(Shared::new(device, M::plan(), Typed(model))),
        })
    }
}

impl<M: Gpt> EngineModel for TypedCpuModel<M> {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(Session::new(self.shared.clone(), options)?))
    }
}

struct Typed<M>(M);

impl<M: Gpt> Forward for Typed<M> {
    type Buffers = M::Buffers;

    fn buffers(&self, plan: &'static Plan, options: SessionOptions) -> Result<M::Buffers, Error> {
        M::buffers(&BufferStore { plan, options })
    }

    fn forward(&self, buffers: &mut M::Buffers, pass: &mut ForwardPass<'_>) {
        self.0.forward(buffers, pass);
    }
}

/// Observations of a pass besides its logits.
pub(super) enum Observe<'a> {
    Nothing,
    /// Each step's output.
    Values(&'a mut Vec<Trace>),
    /// Each step's time.
    Times(&'a mut Stopwatch),
}

/// One sequence: its buffers, cache and scratch memory.
pub(super) struct Session<F: Forward> {
    shared: Arc<Shared<F>>,
    steps: Vec<(u32, &'static Step)>,
    buffers: F::Buffers,
    scratch: PassScratch,
}

impl<F: Forward> Session<F> {
    pub fn new(shared: Arc<Shared<F>>, options: SessionOptions) -> Result<Self, Error> {
        let plan = shared.plan;
        Ok(Session {
            steps: plan.walk().collect(),
            buffers: shared.model.buffers(plan, options)?,
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
        self.with_pass(tokens, position, request, logits, observe, F::forward);
    }

    /// Hands `run` the model, this sequence's buffers and a new pass.
    pub fn with_pass(
        &mut self,
        tokens: &[u32],
        position: u32,
        request: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&F, &mut F::Buffers, &mut ForwardPass<'_>),
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

impl<F: Forward> EngineSession for Session<F> {
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
        // Steps run on this thread, so their times are device times.
        Ok(Profile {
            clock: Clock::Device,
            steps: stopwatch.steps,
            choice: Vec::new(),
        })
    }
}
