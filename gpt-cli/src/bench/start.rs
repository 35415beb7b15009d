//! The time to the first token: opening the device, loading the model, opening a session, and
//! reading a prompt of one token.

use std::time::{Duration, Instant};

use gpt_runtime::{LoadTimes, Model, Untyped};
use serde_json::json;

use crate::output::Failure;

/// Positions of the session, enough for a short question and its answer.
const CAPACITY: u32 = 256;

/// The time to the first token by phase. Measured once, because later runs are warm.
#[derive(Clone, Copy)]
pub struct Start {
    /// Opening the device.
    device: Duration,
    load: LoadTimes,
    /// Opening a session and reading a prompt of one token.
    token: Duration,
}

impl Start {
    /// Measures `model`, which was just loaded on a device that took `device` to open.
    pub fn measure(model: &Model<Untyped>, device: Duration) -> Result<Start, Failure> {
        let start = Instant::now();
        let capacity = model.plan().spec.context.min(CAPACITY);
        let mut session = model.session().capacity(capacity).open()?;
        session.push(&[0])?;
        Ok(Start { device, load: model.load_times(), token: start.elapsed() })
    }

    fn total(&self) -> Duration {
        self.device + self.load.file + self.load.engine + self.token
    }

    pub fn json(&self) -> serde_json::Value {
        json!({
            "device_s": self.device.as_secs_f64(),
            "file_s": self.load.file.as_secs_f64(),
            "engine_s": self.load.engine.as_secs_f64(),
            "first_token_s": self.token.as_secs_f64(),
            "total_s": self.total().as_secs_f64(),
        })
    }

    pub fn text(&self) -> String {
        format!(
            "start    {:.3} s to the first token: device {:.3}, file {:.3}, weights, kernels and tokenizer {:.3}, token {:.3}",
            self.total().as_secs_f64(),
            self.device.as_secs_f64(),
            self.load.file.as_secs_f64(),
            self.load.engine.as_secs_f64(),
            self.token.as_secs_f64()
        )
    }
}
