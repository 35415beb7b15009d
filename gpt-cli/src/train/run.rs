//! The training loop: steps, validation, samples, checkpoints.

mod report;

use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use gpt_runtime::train::{Objective, RandomWindows, SavedRun, Trainer};
use gpt_runtime::{Error, Sampling, Stop, Untyped, weights};

use super::lock::Lock;
use super::log::{self, Line, Log};
use super::options::Options;
use super::progress::Progress;
use super::text::Text;
use super::{Arguments, Best, Run, corpus, curve, validate};
use crate::interrupt;
use crate::output::{self, Failure};

/// Steps between lines of the log. A step with a validation or a checkpoint has a line, too.
const LOG_EVERY: u64 = 10;

/// A run in progress.
pub struct Loop {
    out: PathBuf,
    json: bool,
    trainer: Trainer<Untyped>,
    text: Text,
    run: Run,
    data: RandomWindows,
    /// The number of windows that the run has trained on.
    windows: u64,
    log: Log,
    progress: Progress,
    /// Totals since the previous line of the log.
    recent: Recent,
    /// The step of the newest checkpoint, and its path.
    saved: Option<(u64, PathBuf)>,
    /// The newest line.
    last: Option<Line>,
    /// The log line of the checkpoint from which the run resumes, if the log lacks it: the earlier
    /// run ended after it had saved the checkpoint and before it wrote the line.
    pending: Option<Line>,
    #[expect(dead_code, reason = "the folder is locked until the run ends")]
    lock: Lock,
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

/// What happens after a step. A step with any of it has a line of the log.
#[derive(Clone, Copy)]
struct Due {
    validate: bool,
    sample: bool,
    /// A checkpoint, which is already saved.
    save: bool,
}

/// The reason that a run ended.
enum Ended {
    Done,
    Interrupted,
    /// The last validations, as many as this, had no lower loss than the best one.
    Stopped(u64),
}

impl Loop {
    /// Prepares a run. `before` has the options that are stored in the checkpoint, if the run
    /// resumes from one.
    pub fn new(
        arguments: &Arguments,
        trainer: Trainer<Untyped>,
        text: Text,
        run: Run,
        before: Option<Options>,
        lock: Option<Lock>,
    ) -> Result<Loop, Failure> {
        let out = arguments.out();
        let done = trainer.steps();
        let steps = run.options.steps();
        let line = run.line.clone().filter(|line| line.step == done && done > 0);
        let has_line = log::has(out, done)?;
        let pending = line.filter(|_| !has_line);
        if done >= steps && pending.is_none() {
            return Err(Failure::Input(format!(
                "the run in {} has made all its steps ({done}); ask for more with --steps",
                out.display()
            )));
        }
        let (batch, tokens) = (trainer.settings().batch, trainer.tokens());
        let sequences = batch as usize * run.options.accumulate() as usize;
        let seed = run.options.seed();
        let objective = trainer.settings().objective;
        let cut_of = |text: &Text, sequences, tokens: u32| {
            let windows = RandomWindows::new(text.train.clone(), sequences, tokens as usize, seed)?;
            Ok::<_, Error>(match objective {
                Objective::Masked(masking) => windows.masked(masking),
                _ => windows,
            })
        };
        let cut = |sequences, tokens| cut_of(&text, sequences, tokens);
        let data = cut(sequences, tokens).map_err(|_| {
            Failure::Input(format!(
                "{} has {} to learn from, too few for a window of {tokens}; give more text or a smaller --context",
                corpus::names(run.data.paths()),
                output::counted(text.train.len(), "token")
            ))
        })?;
        let validates = text.validation.len() > 1 && run.options.eval_windows() > 0;
        if run.options.early_stop().is_some() && !validates {
            return Err(Failure::Input(
                "--early-stop needs validations; remove --eval-windows 0, give more text, or pass --early-stop 0"
                    .to_owned(),
            ));
        }
        let mut windows = run.windows.unwrap_or(0);
        if let Some(before) = before {
            // Checkpoints of earlier versions have no count. Their batch size could not change.
            windows = run.windows.unwrap_or(done * before.sequences());
            let earlier = before.tokens(trainer.plan());
            if earlier != tokens
                && let Ok(earlier) = cut(1, earlier)
            {
                eprintln!("note: the context has changed, so the run starts a new epoch");
                windows = windows.div_ceil(earlier.windows()) * data.windows();
            }
        }
        // From here on, the run writes files.
        std::fs::create_dir_all(out).map_err(|source| Error::Io {
            doing: "create",
            path: out.to_owned(),
            source,
        })?;
        let lock = match lock {
            Some(lock) => lock,
            None => Lock::new(out)?,
        };
        if SavedRun::latest(out)?.map_or(0, |saved| saved.step()) != done {
            return Err(Failure::Input(format!(
                "another gpt train wrote to {} in the meantime; run the command again",
                out.display()
            )));
        }
        // From here on the tokens are in files, not in memory.
        let text = text.save(out)?;
        let data = cut_of(&text, sequences, tokens).expect("the tokens are the same");
        let log = Log::open(out, done)?;
        // The checkpoint was saved before the validation of its step. A run that does not validate
        // replaces the best model.
        let newest = log.lines.last().filter(|line| line.step == done);
        let newest = newest.and_then(|line| Some(Best { step: done, loss: line.val_loss? }));
        let best = run.best.into_iter().chain(newest).filter(|_| validates);
        let best = best.min_by(|a, b| a.loss.total_cmp(&b.loss));
        Ok(Loop {
            data,
            windows,
            log,
            progress: Progress::new(done, steps),
            out: out.to_owned(),
            json: arguments.json,
            trainer,
            text,
            run: Run { best, ..run },
            recent: Recent::default(),
            saved: (done > 0).then(|| (done, out.join(format!("checkpoint-{done}")))),
            last: None,
            pending,
            lock,
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
        if let Some(line) = self.pending.take() {
            let validate = self.is_due(self.run.options.eval_every()) && self.validates();
            let sample = self.samples();
            if !self.validates() {
                self.save_model()?;
            }
            if let Some(ended) = self.conclude(line, Due { validate, sample, save: true })? {
                return Ok(ended);
            }
        }
        while self.trainer.steps() < steps {
            let start = Instant::now();
            let lr = self.trainer.learning_rate();
            let before = self.trainer.steps();
            let batch = self.data.batch_after(self.windows);
            let loss = self.trainer.step(&batch)?;
            if self.trainer.steps() == before {
                self.skipped(start.elapsed());
                continue;
            }
            self.windows = self.windows.saturating_add(batch.sequences() as u64);
            self.recent.lr = lr;
            self.recent.add(loss, batch.rows(), start.elapsed());
            let done = self.trainer.steps();
            self.progress.step(done, loss, self.recent.tokens_a_second());
            let stop = interrupt::take();
            let validate = self.is_due(self.run.options.eval_every()) && self.validates();
            let save = self.is_due(self.run.options.save_every()) || stop;
            let sample = self.samples();
            if validate || sample || save || self.is_due(LOG_EVERY) {
                let line = self.line();
                // Saved before the validation, during which the run may be killed.
                if save {
                    self.save(&line)?;
                }
                // The checkpoint has the line, so a resumed run does what is due and writes it.
                if stop && (validate || sample) {
                    self.last = Some(line);
                    return Ok(Ended::Interrupted);
                }
                if let Some(ended) = self.conclude(line, Due { validate, sample, save })? {
                    return Ok(ended);
                }
            }
            if stop {
                return Ok(Ended::Interrupted);
            }
        }
        Ok(Ended::Done)
    }

    /// Whether something is due that happens every `every` steps and after the last step.
    fn is_due(&self, every: u64) -> bool {
        let done = self.trainer.steps();
        done.is_multiple_of(every) || done >= self.run.options.steps()
    }

    /// Whether a sample is due.
    fn samples(&self) -> bool {
        self.run.options.sample_every().is_some_and(|every| self.is_due(every))
    }

    /// Whether the run validates. If not, the newest model counts as the best.
    fn validates(&self) -> bool {
        self.text.validation.len() > 1 && self.run.options.eval_windows() > 0
    }

    /// Validates and samples if that is due, and writes the log line. If Ctrl-C is pressed during
    /// that, the checkpoint has the line, and a resumed run does all of it again.
    fn conclude(&mut self, line: Line, due: Due) -> Result<Option<Ended>, Failure> {
        let Due { validate, sample, save: saved } = due;
        let val_loss = match validate {
            true => self.validate().or_else(|failure| self.keep(&line, failure))?,
            false => None,
        };
        let mut line = Line { val_loss, ..line };
        self.last = Some(line.clone());
        let mut stopped = validate && val_loss.is_none();
        if sample && !stopped {
            line.sample = if interrupt::pending() { None } else { self.sample()? };
            stopped = line.sample.is_none();
        }
        if stopped {
            interrupt::take();
            if !saved {
                self.save(&line)?;
            }
            return Ok(Some(Ended::Interrupted));
        }
        self.log.add(line)?;
        if val_loss.is_some() || saved {
            self.draw()?;
        }
        if val_loss.is_some()
            && let Some(validations) = self.is_no_better()
        {
            // A run that stops can be resumed from here.
            if !saved {
                let line = self.last.clone().expect("a line was written");
                self.save(&line)?;
            }
            return Ok(Some(Ended::Stopped(validations)));
        }
        Ok(None)
    }

    /// The number of validations since the best one, if it is time to stop early. It is counted in
    /// the log, so that a resumed run stops at the same step.
    fn is_no_better(&self) -> Option<u64> {
        let (patience, best) = (self.run.options.early_stop()?, self.run.best?);
        let since = self.log.lines.iter().filter(|line| line.step > best.step);
        let validations = since.filter(|line| line.val_loss.is_some()).count() as u64;
        let has_more = self.trainer.steps() < self.run.options.steps();
        (validations >= patience && has_more).then_some(validations)
    }

    /// Returns `failure`. If the validation diverged and the run has no checkpoint yet, first saves
    /// one, so that the weights are not lost. An earlier checkpoint stays, because a new one would
    /// replace it.
    fn keep(&mut self, line: &Line, failure: Failure) -> Result<Option<f64>, Failure> {
        if self.saved.is_none() && matches!(failure, Failure::Runtime(Error::Diverged(_))) {
            self.save(line)?;
        }
        Err(failure)
    }

    /// Reports that a gradient overflowed f16. The batch is repeated with a lower loss scale.
    fn skipped(&mut self, time: Duration) {
        self.recent.time += time;
        let (step, scale) = (self.trainer.steps() + 1, self.trainer.loss_scale());
        let scale = scale.unwrap_or(1.0);
        self.progress.say(&format!(
            "step {step}: the gradient overflowed f16; the step is repeated with a loss scale of {scale}"
        ));
    }

    /// Computes the validation loss, and saves the model if it is the best so far. None if Ctrl-C
    /// was pressed.
    fn validate(&mut self) -> Result<Option<f64>, Failure> {
        self.progress.doing("validating");
        let windows = self.run.options.eval_windows();
        let text = &self.text;
        let loss = self.trainer.with_average(|trainer| validate::loss(trainer, text, windows))?;
        let Some(loss) = loss else { return Ok(None) };
        let (step, loss) = (self.trainer.steps(), loss.mean);
        if !loss.is_finite() {
            return Err(Failure::Runtime(Error::Diverged(format!(
                "the training diverged: the validation loss of step {step} is {loss} (--eval-windows 0 continues without validation)"
            ))));
        }
        let text = format!("step {step}: validation loss {loss:.4}");
        self.progress.say(&text);
        if self.run.best.is_none_or(|best| loss < best.loss) {
            self.run.best = Some(Best { step, loss });
            self.save_model()?;
        }
        Ok(Some(loss))
    }

    /// The line of the log for the steps since the previous line.
    fn line(&mut self) -> Line {
        let recent = std::mem::take(&mut self.recent);
        Line {
            step: self.trainer.steps(),
            loss: recent.loss / recent.steps as f64,
            val_loss: None,
            lr: recent.lr,
            grad_norm: self.trainer.gradient_norm(),
            loss_scale: self.trainer.loss_scale(),
            tok_s: recent.tokens_a_second(),
            sample: None,
        }
    }

    fn draw(&self) -> Result<(), Failure> {
        let paths = self.run.data.paths();
        let text = paths.first().and_then(|path| path.file_name()).unwrap_or_default();
        let more = match paths.len() {
            0 | 1 => String::new(),
            count => format!(" and {} more", count - 1),
        };
        let title = format!("{}, {}{more}", self.trainer.plan().name, text.display());
        Ok(curve::draw(&self.out.join("loss.svg"), &title, &self.log.lines)?)
    }

    /// Saves a checkpoint with the line of its step, and then reports it.
    fn save(&mut self, line: &Line) -> Result<(), Failure> {
        self.run.line = Some(line.clone());
        self.run.windows = Some(self.windows);
        let caller = serde_json::to_value(&self.run).expect("names and numbers are JSON");
        let path = self.trainer.save(&self.out, &caller)?;
        if !self.validates() {
            self.save_model()?;
        }
        let step = self.trainer.steps();
        self.progress.say(&format!("step {step}: saved {}", path.display()));
        self.saved = Some((step, path));
        Ok(())
    }

    fn save_model(&mut self) -> Result<(), Failure> {
        let plan = self.trainer.plan();
        let path = self.out.join("model.safetensors");
        self.trainer.with_average(|trainer| weights::save(&path, plan, &trainer.weights()))?;
        weights::save_config(&self.out.join("config.json"), plan)?;
        Ok(())
    }

    /// Generates a sample that starts with the first token of the text, and prints it. The seed is
    /// the run's, so that samples of different steps differ by the model alone. None if Ctrl-C was
    /// pressed.
    fn sample(&mut self) -> Result<Option<String>, Failure> {
        let step = self.trainer.steps();
        self.progress.doing("sampling");
        let model = self.trainer.with_average(Trainer::model)?;
        let mut first = Vec::new();
        self.text.train.copy(0..1, &mut first);
        let mut session = model.session().open()?;
        let sampling = Sampling { seed: self.run.options.seed(), ..Sampling::default() };
        let stop = Stop { tokens: Some(self.run.options.sample_tokens()), ..Stop::default() };
        let generation = session.generate_from_tokens(&first, sampling, stop)?;
        let mut text = self.text.tokenizer.decode(&first)?;
        for piece in generation {
            text.push_str(&piece?);
            if interrupt::pending() {
                return Ok(None);
            }
        }
        let printed = self.progress.aside(|| {
            let mut out = output::stdout();
            output::line(&mut out, &format!("--- step {step}\n{text}"))?;
            Ok(out.flush()?)
        });
        match printed {
            // Standard output is a closed pipe. The run continues, and its log has the samples.
            Err(Failure::Output(error)) if error.kind() == ErrorKind::BrokenPipe => (),
            printed => printed?,
        }
        Ok(Some(text))
    }

    /// Appends the path of the newest checkpoint to a divergence error.
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
