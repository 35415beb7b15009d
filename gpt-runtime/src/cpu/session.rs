//! Models and sessions of the CPU engine, typed and walked alike.

use std::sync::Arc;

use gpt_plan::{Plan, Step};

use super::device::CpuDevice;
use super::memory::Arena;
use super::parameters::Rotary;
use super::pass::{Pass, Scratch, Watch};
use super::typed::{BufferStore, Gpt, Store};
use crate::Error;
use crate::engine::{
    Clock, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};
use crate::weights::Weights;

/// Something with parameters that can run a pass.
pub(super) trait Forward: Send + Sync + 'static {
    type Buffers: Send;
    fn buffers(&self, store: &BufferStore) -> Result<Self::Buffers, Error>;
    fn forward(&self, buffers: &mut Self::Buffers, pass: &mut Pass<'_>);
}

/// What all sessions of a model share.
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

/// A model that `gpt_model!` wrote.
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

    fn buffers(&self, store: &BufferStore) -> Result<M::Buffers, Error> {
        M::buffers(store)
    }

    fn forward(&self, buffers: &mut M::Buffers, pass: &mut Pass<'_>) {
        self.0.forward(buffers, pass);
    }
}

/// What is to be kept of a pass besides its logits.
pub(super) enum Observe<'a> {
    Nothing,
    /// What each step left behind.
    Values(&'a mut Vec<Trace>),
    /// How long it took.
    Times(&'a mut Watch),
}

/// One sequence: its buffers, cache and scratch memory.
pub(super) struct Session<F: Forward> {
    shared: Arc<Shared<F>>,
    steps: Vec<(u32, &'static Step)>,
    buffers: F::Buffers,
    scratch: Scratch,
}

impl<F: Forward> Session<F> {
    pub fn new(shared: Arc<Shared<F>>, options: SessionOptions) -> Result<Self, Error> {
        let plan = shared.plan;
        Ok(Session {
            steps: plan.walk().collect(),
            buffers: shared.model.buffers(&BufferStore { plan, options })?,
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
        self.with_pass(tokens, position, want, logits, observe, F::forward);
    }

    /// Hands `run` the model, this sequence's buffers and a pass that is at its beginning.
    pub fn with_pass(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
        observe: Observe<'_>,
        run: impl FnOnce(&F, &mut F::Buffers, &mut Pass<'_>),
    ) {
        let (trace, watch) = match observe {
            Observe::Nothing => (None, None),
            Observe::Values(trace) => (Some(trace), None),
            Observe::Times(watch) => (None, Some(watch)),
        };
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
        };
        run(&self.shared.model, &mut self.buffers, &mut pass);
    }
}

impl<F: Forward> EngineSession for Session<F> {
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
