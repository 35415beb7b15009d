//! Inference on a GPU: sessions on a loaded model.
//!
//! `sequence` owns the buffers and bind groups of one sequence and records its passes; `operands`
//! says which of the `buffers` an operand of a kernel is. `generate` runs many tokens in one
//! submission, `ahead` keeps how far the device has run. `trace` reads every step's output back,
//! `profile` times the steps. `fork` copies the cache into a second session and reads the stream.

mod ahead;
mod buffers;
mod fork;
mod generate;
mod operands;
mod profile;
mod sequence;
mod trace;

use std::collections::VecDeque;

use crate::Error;
use crate::engine::{
    Continue, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};

use super::model::GpuModel;
use sequence::GpuSession;

impl EngineModel for GpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(GpuSession::new(self.shared.clone(), options)?))
    }
}

impl EngineSession for GpuSession {
    fn forward(
        &mut self,
        tokens: &[u32],
        position: u32,
        want: LogitsRequest,
        logits: &mut [f32],
    ) -> Result<(), Error> {
        self.abandon()?;
        self.run(tokens, position, want, logits)
    }

    fn trace(&mut self, tokens: &[u32], position: u32) -> Result<Vec<Trace>, Error> {
        self.abandon()?;
        self.run_traced(tokens, position)
    }

    fn generate(&mut self, ask: &Continue<'_>, chosen: &mut VecDeque<u32>) -> Result<bool, Error> {
        self.run_ahead(ask, chosen)
    }

    fn fork(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(self.forked(options, positions)?))
    }

    fn stream(&mut self, tokens: &[u32], position: u32, out: &mut Vec<f32>) -> Result<(), Error> {
        self.abandon()?;
        self.read_stream(tokens, position, out)
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        self.abandon()?;
        self.time_steps(tokens, position)
    }
}
