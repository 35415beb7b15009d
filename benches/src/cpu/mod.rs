//! Steps and inner loops of the CPU engine, one by one.
//!
//! Steps are measured as the engine runs them, on all threads, with sizes that are known at run
//! time only. Inner loops are also compiled here with constant sizes, and the two forms are
//! compared on one thread: `products` has the loops over matrices, `rows` the loops over single
//! rows. `memory` has their operands.

mod memory;
pub mod products;
pub mod rows;

use std::sync::Arc;

use gpt_runtime::__private::cpu::CpuDevice;
use gpt_runtime::__private::cpu::bench::Steps;
use gpt_runtime::__private::engine::SessionOptions;
use gpt_runtime::{Format, Plan};

use crate::tokens;
use crate::weights::Filled;

/// A model whose steps can be run one by one.
pub struct Model {
    plan: &'static Plan,
    steps: Steps,
    tokens: Vec<u32>,
}

impl Model {
    /// Creates a model whose cache is filled up to `capacity`, for passes of at most `chunk`
    /// tokens.
    pub fn new(plan: &'static Plan, format: Format, capacity: u32, chunk: u32) -> Model {
        let device = Arc::new(CpuDevice::new(None).expect("the CPU engine starts"));
        let options =
            SessionOptions { capacity, chunk, all_logits: false, cache: Default::default() };
        let weights = Filled::new(plan, format);
        let steps = Steps::new(&device, plan, &weights, options).expect("weights that fit");
        let mut model = Model { plan, steps, tokens: tokens(plan.spec.vocab, chunk as usize) };
        // Every step but the head runs once, because steps read the outputs of others. `qkv` runs
        // at every position to fill the cache.
        let steps: Vec<&str> = plan.steps().map(|(_, step)| &*step.name).collect();
        for position in (0..capacity).step_by(chunk as usize) {
            let rows = chunk.min(capacity - position);
            for (index, name) in steps.iter().enumerate() {
                if *name != "head" && (*name == "qkv" || position == 0) {
                    model.steps.run(index, &model.tokens[..rows as usize], position);
                }
            }
        }
        model
    }

    /// Returns a function that runs the step called `name` on `rows` rows from `position` on. Each
    /// call runs the step of the next layer, as a pass does.
    pub fn step(&mut self, name: &str, rows: u32, position: u32) -> impl FnMut() + '_ {
        let walk = self.plan.steps().enumerate();
        let indices: Vec<usize> =
            walk.filter(|(_, (_, step))| step.name == name).map(|(index, _)| index).collect();
        assert!(!indices.is_empty(), "no step is called {name}");
        let (steps, tokens) = (&mut self.steps, &self.tokens[..rows as usize]);
        let mut call = 0;
        move || {
            steps.run(indices[call % indices.len()], tokens, position);
            call += 1;
        }
    }
}
