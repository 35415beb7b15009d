//! `gpt bench --profile`: the time of each step of a forward pass, summed over layers, with its
//! roofline; and with `--train` the time of each kernel of a training step.
//!
//! A step's roofline is the time to read its bytes or to compute its operations at the measured
//! peak of the device, whichever is longer.

use gpt_runtime::__private::plan::{Format, Plan, Work};
use gpt_runtime::profile::{Clock, KernelTime, PeakRates, Profile, TrainProfile};
use gpt_runtime::{Error, Model, Session, Untyped};
use serde_json::{Value, json};

use crate::output::{self, Failure};

/// The profiles of two forward passes and of a training step.
pub struct Profiles {
    clock: Clock,
    limits: PeakRates,
    /// The first chunk of a prompt, and the last token of the prompt.
    passes: [Pass; 2],
    training: Option<Training>,
}

/// The times in a training step: of each kernel on a GPU, of each step of the plan on a CPU.
pub struct Training {
    rows: usize,
    times: Vec<KernelTime>,
}

struct Pass {
    name: &'static str,
    rows: usize,
    position: usize,
    steps: Vec<Step>,
}

/// A step, summed over layers.
struct Step {
    name: &'static str,
    times: usize,
    seconds: f64,
    work: Work,
    /// The format of its matrix.
    format: Format,
}

/// Profiles the first chunk of `tokens`, and the last token after all others, `reps` times each,
/// and takes the median of each step. `training` is included unchanged.
pub fn measure(
    model: &Model<Untyped>,
    tokens: &[u32],
    reps: usize,
    limits: PeakRates,
    training: Option<Training>,
) -> Result<Profiles, Failure> {
    let mut session = model.session().capacity(tokens.len() as u32).open()?;
    let chunk = tokens.len().min(session.options().chunk as usize);
    let last = tokens.len() - 1;
    let prompt = runs(&mut session, 0, &tokens[..chunk], reps)?;
    session.truncate(0);
    if last > 0 {
        session.push(&tokens[..last])?;
    }
    let token = runs(&mut session, last, &tokens[last..], reps)?;
    Ok(Profiles {
        clock: prompt[0].clock,
        limits,
        passes: [
            pass(model.plan(), "prefill", &prompt, 0, chunk),
            pass(model.plan(), "decode", &token, last, 1),
        ],
        training,
    })
}

impl Training {
    /// The median time of each kernel over `runs`, with batches of `rows` tokens.
    pub fn of(rows: usize, runs: &[TrainProfile]) -> Training {
        let times = runs[0].times.iter().map(|time| {
            let same = |run: &TrainProfile| {
                let mut times = run.times.iter();
                let found = times.find(|other| other.name == time.name);
                found.map_or(0.0, |other| other.seconds)
            };
            KernelTime {
                seconds: output::Spread::of(runs.iter().map(same).collect()).median,
                ..time.clone()
            }
        });
        Training { rows, times: times.collect() }
    }

    fn seconds(&self) -> f64 {
        self.times.iter().map(|time| time.seconds).sum()
    }

    fn json(&self) -> Value {
        let whole = self.seconds();
        let steps = self.times.iter().map(|time| {
            json!({
                "step": time.name,
                "times": time.runs,
                "ms": time.seconds * 1e3,
                "share": time.seconds / whole,
            })
        });
        json!({ "pass": "train", "tokens": self.rows, "ms": whole * 1e3, "steps": steps.collect::<Vec<_>>() })
    }

    fn lines(&self) -> Vec<String> {
        let whole = self.seconds();
        let runs: usize = self.times.iter().map(|time| time.runs).sum();
        let first =
            format!("training, {} tokens: {:.3} ms in {runs} steps", self.rows, whole * 1e3);
        let times = self.times.iter().map(|time| {
            format!(
                "  {:3} x {:28} {:9.3} ms {:5.1} %",
                time.runs,
                time.name,
                time.seconds * 1e3,
                100.0 * time.seconds / whole
            )
        });
        std::iter::once(first).chain(times).collect()
    }
}

fn runs(
    session: &mut Session<Untyped>,
    position: usize,
    tokens: &[u32],
    reps: usize,
) -> Result<Vec<Profile>, Error> {
    let mut run = || {
        session.truncate(position);
        session.profile(tokens)
    };
    // A warm-up pass.
    run()?;
    (0..reps).map(|_| run()).collect()
}

fn pass(
    plan: &'static Plan,
    name: &'static str,
    runs: &[Profile],
    position: usize,
    rows: usize,
) -> Pass {
    let mut steps: Vec<Step> = Vec::new();
    for (i, (_, step)) in plan.steps().enumerate() {
        let seconds = runs.iter().map(|run| run.steps[i].seconds);
        let seconds = output::Spread::of(seconds.collect()).median;
        // The head computes the logits of the last row only.
        let rows = if step.op.is_head() { 1 } else { rows };
        let work = plan.work(step, runs[0].steps[i].format, position as u64, rows as u64);
        let known = steps.iter().position(|s| s.name == step.name);
        let at = known.unwrap_or_else(|| {
            steps.push(Step {
                name: &step.name,
                times: 0,
                seconds: 0.0,
                work: Work::default(),
                format: runs[0].steps[i].format,
            });
            steps.len() - 1
        });
        steps[at].times += 1;
        steps[at].seconds += seconds;
        steps[at].work += work;
    }
    // Every step of sampling but the last reads all logits.
    for (i, (name, _)) in runs[0].sampling.iter().enumerate() {
        let seconds = runs.iter().map(|run| run.sampling[i].1);
        let read = if i + 1 < runs[0].sampling.len() { 4 * u64::from(plan.spec.vocab) } else { 0 };
        steps.push(Step {
            name,
            times: 1,
            seconds: output::Spread::of(seconds.collect()).median,
            work: Work { bytes: read, flops: 0 },
            format: Format::F32,
        });
    }
    Pass { name, rows, position, steps }
}

impl Step {
    /// The roofline in seconds, and whether memory or arithmetic bounds it.
    fn roofline(&self, limits: &PeakRates) -> (f64, &'static str) {
        let memory = self.work.bytes as f64 / limits.bytes;
        let arithmetic = self.work.flops as f64 / limits.of(self.format);
        if memory >= arithmetic { (memory, "memory") } else { (arithmetic, "arithmetic") }
    }

    fn json(&self, whole: f64, limits: &PeakRates) -> Value {
        let mut object = json!({
            "step": self.name, "times": self.times, "ms": self.seconds * 1e3, "share": self.seconds / whole,
            "bytes": self.work.bytes, "flops": self.work.flops,
        });
        let (seconds, bound) = self.roofline(limits);
        object["roofline_ms"] = json!(seconds * 1e3);
        object["bound"] = json!(bound);
        object
    }

    fn line(&self, whole: f64, limits: &PeakRates) -> String {
        let Step { name, times, seconds, work, .. } = self;
        let mut line = format!(
            "  {times:3} x {name:20} {:9.3} ms {:5.1} %  {:8.2} GB/s {:8.1} GFLOP/s",
            seconds * 1e3,
            100.0 * seconds / whole,
            work.bytes as f64 / seconds / 1e9,
            work.flops as f64 / seconds / 1e9,
        );
        let (least, bound) = self.roofline(limits);
        line.push_str(&format!("  {:5.1} % of the {bound} roofline", 100.0 * least / seconds));
        line
    }
}

impl Pass {
    fn seconds(&self) -> f64 {
        self.steps.iter().map(|step| step.seconds).sum()
    }
}

impl Profiles {
    pub fn json(&self) -> Value {
        let limits = &self.limits;
        let passes = self.passes.iter().map(|pass| {
            let whole = pass.seconds();
            let steps = pass.steps.iter().map(|step| step.json(whole, limits));
            json!({
                "pass": pass.name, "tokens": pass.rows, "position": pass.position, "ms": whole * 1e3,
                "steps": steps.collect::<Vec<_>>(),
            })
        });
        let passes = passes.chain(self.training.as_ref().map(Training::json));
        json!({
            "clock": match self.clock {
                Clock::Device => "device",
                _ => "host",
            },
            "limits": { "gb_s": limits.bytes / 1e9, "gflop_s": limits.of(Format::F32) / 1e9 },
            "passes": passes.collect::<Vec<_>>(),
        })
    }

    pub fn print(&self) -> Result<(), Failure> {
        let mut out = output::stdout();
        let mut line = |text: &str| output::line(&mut out, text);
        if self.clock == Clock::Host {
            line(
                "the device has no timestamps: each step was submitted alone and timed on the host, which includes the round trip",
            )?;
        }
        let limits = &self.limits;
        line(&format!(
            "the device reads {:.1} GB/s and computes {:.1} GFLOP/s, as measured now",
            limits.bytes / 1e9,
            limits.of(Format::F32) / 1e9
        ))?;
        for pass in &self.passes {
            let whole = pass.seconds();
            line(&format!(
                "{}, {} token{} from position {}: {:.3} ms in {} steps",
                pass.name,
                pass.rows,
                if pass.rows == 1 { "" } else { "s" },
                pass.position,
                whole * 1e3,
                pass.steps.iter().map(|step| step.times).sum::<usize>()
            ))?;
            for step in &pass.steps {
                line(&step.line(whole, limits))?;
            }
        }
        for text in self.training.iter().flat_map(Training::lines) {
            line(&text)?;
        }
        Ok(())
    }
}
