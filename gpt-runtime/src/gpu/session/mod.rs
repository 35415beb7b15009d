//! Inference on a GPU: sessions on a loaded model.
//!
//! `sequence` owns the buffers and bind groups of one sequence and records its passes; `operands`
//! assigns one of the `buffers` to each operand of a kernel. `generate` runs many tokens in one
//! submission, `in_flight` has the state of those submissions. `trace` reads every step's output
//! back, `profile` times the steps. `fork` copies the cache into a second session. `stream` reads
//! the residual stream, or runs the head on a stream that the caller passes.
//!
//! `generate` may leave submissions in flight, which write the session's buffers. Every other pass
//! first waits for them and drops their tokens (`cancel`).

mod buffers;
mod fork;
mod generate;
mod in_flight;
mod operands;
mod profile;
mod sequence;
mod stream;
mod trace;

use std::collections::VecDeque;

use crate::Error;
use crate::engine::{
    Continue, EngineModel, EngineSession, LogitsRequest, Profile, SessionOptions, Trace,
};

use super::model::GpuModel;
use crate::wait::{Wait, now};
use sequence::GpuSession;

impl EngineModel for GpuModel {
    fn session(&self, options: SessionOptions) -> Result<Box<dyn EngineSession>, Error> {
        let open = || GpuSession::new(self.shared.clone(), options);
        Ok(Box::new(self.shared.device.scoped(open)?))
    }
}

impl GpuSession {
    /// Waits for submissions in flight and runs `pass`.
    async fn alone<T>(
        &mut self,
        pass: impl AsyncFnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let shared = self.shared.clone();
        let calls = async {
            self.cancel().await?;
            pass(self).await
        };
        shared.device.scoped_async(calls).await
    }
}

impl EngineSession for GpuSession {
    fn forward<'a>(
        &'a mut self,
        tokens: &'a [u32],
        position: u32,
        logits_of: LogitsRequest,
        logits: &'a mut [f32],
    ) -> Wait<'a, ()> {
        let pass =
            async move |session: &mut Self| session.run(tokens, position, logits_of, logits).await;
        Wait::on(self.alone(pass))
    }

    fn trace<'a>(&'a mut self, tokens: &'a [u32], position: u32) -> Wait<'a, Vec<Trace>> {
        let pass = async move |session: &mut Self| session.run_traced(tokens, position).await;
        Wait::on(self.alone(pass))
    }

    fn generate<'a>(
        &'a mut self,
        request: &'a Continue<'_>,
        chosen: &'a mut VecDeque<u32>,
    ) -> Wait<'a, bool> {
        let shared = self.shared.clone();
        Wait::on(async move {
            shared.device.scoped_async(self.generate_on_device(request, chosen)).await
        })
    }

    fn fork(
        &self,
        options: SessionOptions,
        positions: u32,
    ) -> Result<Box<dyn EngineSession>, Error> {
        Ok(Box::new(self.shared.device.scoped(|| self.forked(options, positions))?))
    }

    fn stream(&mut self, tokens: &[u32], position: u32, out: &mut Vec<f32>) -> Result<(), Error> {
        now(self.alone(async |session| session.read_stream(tokens, position, out).await))
    }

    fn head(&mut self, stream: &[f32], logits: &mut [f32]) -> Result<(), Error> {
        now(self.alone(async |session| session.run_head(stream, logits).await))
    }

    fn profile(&mut self, tokens: &[u32], position: u32) -> Result<Profile, Error> {
        now(self.alone(async |session| session.time_steps(tokens, position)))
    }
}
