//! What a run prints at its end: a sentence and the command that uses the model, or figures in JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ended, Line, Loop};
use crate::models;
use crate::output::{self, Failure};

impl Loop {
    pub(super) fn report(&self, ended: &Ended, time: Duration) -> Result<(), Failure> {
        let last = self.last.as_ref().expect("a finished run has done a step");
        let out = self.out.display();
        if self.json {
            return output::json(&self.figures(last, ended, time));
        }
        let goes_on = format!("continue with: gpt train --resume --out {out}");
        match ended {
            Ended::Done => (),
            Ended::Interrupted => eprintln!("stopped after step {}; {goes_on}", last.step),
            Ended::Stopped(validations) => eprintln!(
                "stopped early after step {}, because the last {} had no lower loss than the best one; {goes_on} --early-stop 0",
                last.step,
                output::counted(*validations as usize, "validation")
            ),
        }
        let saved = match self.run.best {
            Some(best) => {
                format!("the best model, validation loss {:.4} at step {},", best.loss, best.step)
            }
            None if self.out.join("model.safetensors").exists() => {
                "the newest model, not validated,".to_owned()
            }
            None => return Ok(()),
        };
        let plan = self.trainer.plan();
        // A model that is not built in is described by the `config.json` beside its weights, if
        // that can express it.
        let model = match &self.run.keys {
            None => format!("--model {} ", models::name_of(plan)),
            Some(_) if self.out.join("config.json").exists() => String::new(),
            Some(keys) => format!("--spec '{}' ", keys.replace('\n', " ")),
        };
        let mut stdout = output::stdout();
        output::line(
            &mut stdout,
            &match self.run.options.masks() {
                false => format!(
                    "{saved} is in {out}: gpt generate {model}--weights {out} --prompt TEXT"
                ),
                true => format!("{saved} is in {out}: gpt fill {model}--weights {out} TEXT"),
            },
        )
    }

    fn figures(&self, last: &Line, ended: &Ended, time: Duration) -> Value {
        let lines = self.log.lines.iter();
        let mut speeds: Vec<f64> = lines.map(|line| line.tok_s).collect();
        if speeds.is_empty() {
            speeds.push(last.tok_s);
        }
        json!({
            "steps": last.step, "loss": last.loss, "val_loss": last.val_loss,
            "best_val_loss": self.run.best.map(|best| best.loss), "best_step": self.run.best.map(|best| best.step),
            "tokens": self.windows.saturating_mul(self.trainer.tokens().into()),
            "tok_s": output::Spread::of(speeds).median, "seconds": time.as_secs_f64(),
            "interrupted": matches!(ended, Ended::Interrupted),
            "early_stopped": matches!(ended, Ended::Stopped(_)),
            "checkpoint": self.saved.as_ref().map(|(_, path)| path),
            "device": self.trainer.device().name(),
        })
    }
}
