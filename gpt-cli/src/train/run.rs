//! The training loop: steps, validation, samples, checkpoints.

use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gpt_runtime::train::{RandomWindows, Trainer};
use gpt_runtime::{Error, Sampling, Stop, Untyped, weights};
use serde_json::{Value, json};

use super::log::{Line, Log};
use super::progress::Progress;
use super::text::Text;
use super::{Arguments, Best, Run, curve};
use crate::generate::stream;
use crate::interrupt;
use crate::models;
use crate::output::{self, Failure};

/// Steps between lines of the log. A validation or a checkpoint adds another line.
const LOG_EVERY: u64 = 10;

/// A run in progress.
pub struct Loop {
    out: PathBuf,
    json: bool,
    trainer: Trainer<Untyped>,
    text: Text,
    run: Run,
    data: RandomWindows,
    log: Log,
    progress: Progress,
    /// Totals since the last line of the log.
    recent: Recent,
    /// The newest checkpoint and its step.
    saved: Option<(u64, PathBuf)>,
    last: Option<Line>,
}

/// Totals over some steps.
#[derive(Default)]
struct Recent {
    steps: u64,
    loss: f64,
    tokens: u64,
    time: Duration,
    /// The learning rate of the last step.
    lr: f32,
}

/// The reason that a run ended.
enum Ended {
    Done,
    Interrupted,
}

impl Loop {
    pub fn new(
        arguments: &Arguments,
        trainer: Trainer<Untyped>,
        text: Text,
        run: Run,
    ) -> Result<Loop, Failure> {
        let done = trainer.steps();
        let steps = run.options.steps();
        if done >= steps {
            return Err(Failure::Input(format!(
                "the run in {} has made its {done} steps; ask for more with --steps",
                arguments.out.display()
            )));
        }
        let (batch, tokens) = (trainer.settings().batch, trainer.tokens() as usize);
        let sequences = batch as usize * run.options.accumulate() as usize;
        let data = RandomWindows::new(text.train.clone(), sequences, tokens, run.options.seed());
        let too_short = |_| {
            Failure::Input(format!(
                "{} has {} tokens to learn from, too few for a window of {tokens}; give more text or a smaller --context",
                run.data.display(),
                text.train.len()
            ))
        };
        let saved = (done > 0).then(|| (done, arguments.out.join(format!("checkpoint-{done}"))));
        let data = data.map_err(too_short)?;
        // Everything is checked. From here on, files of the run are written.
        text.save_tokenizer(&arguments.out)?;
        Ok(Loop {
            data,
            log: Log::open(&arguments.out, done)?,
            progress: Progress::new(done, steps),
            out: arguments.out.clone(),
            json: arguments.json,
            trainer,
            text,
            run,
            recent: Recent::default(),
            saved,
            last: None,
        })
    }

    pub fn run(mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let ended = self.learn();
        self.progress.end();
        let ended = ended.map_err(|failure| self.name_checkpoint(failure))?;
        self.report(&ended, start.elapsed())
    }

    fn learn(&mut self) -> Result<Ended, Failure> {
        let steps = self.run.options.steps();
        while self.trainer.steps() < steps {
            let start = Instant::now();
            let lr = self.trainer.learning_rate();
            let before = self.trainer.steps();
            let batch = self.data.batch(before);
            let loss = self.trainer.step(&batch)?;
            if self.trainer.steps() == before {
                self.skipped(start.elapsed());
                continue;
            }
            self.recent.lr = lr;
            self.recent.add(loss, batch.rows(), start.elapsed());
            let done = self.trainer.steps();
            self.progress.step(done, loss, self.recent.tokens_a_second());
            let due = |every: u64| done.is_multiple_of(every) || done == steps;
            let stop = interrupt::take();
            let options = self.run.options.clone();
            let val_loss = match due(options.eval_every()) && !stop {
                true => self.validate()?,
                false => None,
            };
            let save = due(options.save_every()) || stop;
            if val_loss.is_some() || save || due(LOG_EVERY) {
                self.note(val_loss)?;
            }
            if save {
                self.save()?;
            }
            if options.sample_every().is_some_and(due) && !stop {
                self.sample()?;
            }
            if stop {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Done)
    }

    /// Reports that a gradient overflowed f16. The batch is repeated with a lower loss scale.
    fn skipped(&mut self, time: Duration) {
        self.recent.time += time;
        let (step, scale) = (self.trainer.steps() + 1, self.trainer.loss_scale());
        let scale = scale.unwrap_or(1.0);
        self.progress.say(&format!(
            "step {step}: the gradient overflows f16; skipped, and repeated with a loss scale of {scale}"
        ));
    }

    /// Computes the validation loss and saves the model if it is the best so far. None if the text
    /// is too short or Ctrl-C was pressed.
    fn validate(&mut self) -> Result<Option<f64>, Failure> {
        let (batch, tokens) = (self.trainer.settings().batch as usize, self.trainer.tokens());
        let mut windows = self.run.options.eval_windows();
        let (mut sum, mut rows) = (0.0, 0);
        self.progress.doing("validating");
        for batch in self.text.validation.windows(batch, tokens as usize) {
            if windows == 0 || interrupt::pending() {
                break;
            }
            windows = windows.saturating_sub(batch.sequences());
            sum += self.trainer.loss(&batch)? * batch.rows() as f64;
            rows += batch.rows();
        }
        if rows == 0 || interrupt::pending() {
            return Ok(None);
        }
        let (step, loss) = (self.trainer.steps(), sum / rows as f64);
        let text = format!("step {step}: validation loss {loss:.4}");
        self.progress.say(&text);
        if self.run.best.is_none_or(|best| loss < best.loss) {
            self.run.best = Some(Best { step, loss });
            self.save_model()?;
        }
        Ok(Some(loss))
    }

    /// Writes a line of the log, and with a validation loss draws the curve.
    fn note(&mut self, val_loss: Option<f64>) -> Result<(), Failure> {
        let recent = std::mem::take(&mut self.recent);
        let line = Line {
            step: self.trainer.steps(),
            loss: recent.loss / recent.steps as f64,
            val_loss,
            lr: recent.lr,
            grad_norm: self.trainer.gradient_norm(),
            loss_scale: self.trainer.loss_scale(),
            tok_s: recent.tokens_a_second(),
        };
        self.log.add(line.clone())?;
        self.last = Some(line);
        if val_loss.is_some() {
            self.draw()?;
        }
        Ok(())
    }

    fn draw(&self) -> Result<(), Failure> {
        let text = self.run.data.file_name().unwrap_or_default();
        let title = format!("{}, {}", self.trainer.plan().name, text.display());
        Ok(curve::draw(&self.out.join("loss.svg"), &title, &self.log.lines)?)
    }

    /// Saves a checkpoint, and reports it when it is on disk.
    fn save(&mut self) -> Result<(), Failure> {
        let caller = serde_json::to_value(&self.run).expect("names and numbers are JSON");
        let path = self.trainer.save(&self.out, &caller)?;
        // Without validation the newest model counts as the best.
        if self.text.validation.len() < 2 {
            self.save_model()?;
        }
        self.draw()?;
        let step = self.trainer.steps();
        self.progress.say(&format!("step {step}: saved {}", path.display()));
        self.saved = Some((step, path));
        Ok(())
    }

    fn save_model(&mut self) -> Result<(), Failure> {
        let plan = self.trainer.plan();
        let weights = self.trainer.weights();
        weights::save(&self.out.join("model.safetensors"), plan, &weights)?;
        weights::save_config(&self.out.join("config.json"), plan)?;
        Ok(())
    }

    /// Prints a sample that starts with the first token of the text.
    fn sample(&mut self) -> Result<(), Failure> {
        let step = self.trainer.steps();
        let model = self.trainer.model()?;
        let mut first = Vec::new();
        self.text.train.copy(0..1, &mut first);
        let mut session = model.session().open()?;
        let sampling = Sampling { seed: step, ..Sampling::default() };
        let stop = Stop { tokens: Some(self.run.options.sample_tokens()), ..Stop::default() };
        let mut generation = session.generate_from_tokens(&first, sampling, stop)?;
        let mut text = self.text.tokenizer.decode(&first)?;
        stream(&mut generation, |piece| {
            text.push_str(piece);
            Ok(())
        })?;
        self.progress.aside(|| {
            let mut out = output::stdout();
            output::line(&mut out, &format!("--- step {step}\n{text}"))?;
            Ok(out.flush()?)
        })
    }

    /// If the training diverged, adds the newest checkpoint to the message.
    fn name_checkpoint(&self, failure: Failure) -> Failure {
        match (failure, &self.saved) {
            (Failure::Runtime(Error::Diverged(message)), Some((step, path))) => {
                Failure::Runtime(Error::Diverged(format!(
                    "{message}; the checkpoint of step {step} is kept: {}",
                    path.display()
                )))
            }
            (failure, _) => failure,
        }
    }

    fn report(&self, ended: &Ended, time: Duration) -> Result<(), Failure> {
        let last = self.last.as_ref().expect("a finished run has done a step");
        let out = self.out.display();
        if self.json {
            return output::json(&self.figures(last, ended, time));
        }
        if let Ended::Interrupted = ended {
            eprintln!(
                "stopped after step {}; go on with: gpt train --resume --out {out}",
                last.step
            );
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
            &format!("{saved} is in {out}: gpt generate {model}--weights {out} --prompt TEXT"),
        )
    }

    fn figures(&self, last: &Line, ended: &Ended, time: Duration) -> Value {
        let batch =
            u64::from(self.trainer.settings().batch) * u64::from(self.run.options.accumulate());
        let lines = self.log.lines.iter();
        let speeds: Vec<f64> = lines.map(|line| line.tok_s).collect();
        json!({
            "steps": last.step, "loss": last.loss, "val_loss": last.val_loss,
            "best_val_loss": self.run.best.map(|best| best.loss), "best_step": self.run.best.map(|best| best.step),
            "tokens": last.step * batch * u64::from(self.trainer.tokens()),
            "tok_s": output::Spread::of(speeds).median, "seconds": time.as_secs_f64(),
            "interrupted": matches!(ended, Ended::Interrupted),
            "checkpoint": self.saved.as_ref().map(|(_, path)| path),
            "device": self.trainer.device().name(),
        })
    }
}

impl Recent {
    fn add(&mut self, loss: f64, tokens: usize, time: Duration) {
        self.steps += 1;
        self.loss += loss;
        self.tokens += tokens as u64;
        self.time += time;
    }

    fn tokens_a_second(&self) -> f64 {
        self.tokens as f64 / self.time.as_secs_f64().max(1e-9)
    }
}
