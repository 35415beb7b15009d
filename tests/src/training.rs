//! Compares an engine's training with the oracle, on a plan made at run time.
//!
//! Gradients are compared tensor by tensor, by the norm of the difference relative to the norm of
//! the expected gradient. Reused memory and recomputed activations must not change a bit.

use gpt_plan::{Format, Mlp, Plan, Recompute, Spec, TensorId, TrainShape};
use gpt_runtime::__private::engine::{
    EngineTrainer, IGNORED, Learn, Precision, Sequences, TensorState, TrainerOptions, Update,
};
use gpt_runtime::Error;
use gpt_runtime::weights::Weights;

use crate::oracle::Gpt;
use crate::unit_gain::UnitGain;
use crate::{adamw, specs, tokens};

/// The function with which an engine creates a trainer from weights.
pub type Engine<'a> = &'a dyn Fn(
    &'static Plan,
    &dyn Weights,
    TrainerOptions,
) -> Result<Box<dyn EngineTrainer>, Error>;

/// Sequences and their targets.
pub struct Batch {
    pub inputs: Vec<u32>,
    pub targets: Vec<u32>,
    pub tokens: u32,
}

impl Batch {
    /// `sequences` sequences of `length` pseudo-random tokens each. Another `seed` gives others.
    pub fn new(spec: &Spec, sequences: u32, length: u32, seed: u32) -> Batch {
        let rows = (sequences * length) as usize;
        let inputs = tokens(spec.vocab, rows + seed as usize).split_off(seed as usize);
        let targets = inputs.iter().map(|t| (t * 7 + 3 + seed) % spec.vocab);
        Batch { targets: targets.collect(), inputs, tokens: length }
    }

    /// Like [`new`](Self::new), with a target at each seventh row only, and none in the first of
    /// several sequences.
    pub fn masked(spec: &Spec, sequences: u32, length: u32, seed: u32) -> Batch {
        let mut batch = Batch::new(spec, sequences, length, seed);
        let without = if sequences > 1 { length as usize } else { 0 };
        for (row, target) in batch.targets.iter_mut().enumerate() {
            if row < without || row % 7 != 3 {
                *target = IGNORED;
            }
        }
        batch
    }

    pub fn sequences(&self) -> Sequences<'_> {
        Sequences { inputs: &self.inputs, targets: &self.targets, tokens: self.tokens }
    }

    /// The number of tokens in all sequences.
    pub fn rows(&self) -> u32 {
        self.inputs.len() as u32
    }

    /// The number of targets that count.
    pub fn counted(&self) -> u32 {
        self.targets.iter().filter(|target| **target != IGNORED).count() as u32
    }

    fn each(&self) -> impl Iterator<Item = (&[u32], &[u32])> {
        let tokens = self.tokens as usize;
        self.inputs.chunks(tokens).zip(self.targets.chunks(tokens))
    }
}

/// The options of a trainer in f32.
pub fn options(batch: u32, tokens: u32, recompute: Recompute) -> TrainerOptions {
    TrainerOptions { shape: TrainShape { batch, tokens, recompute }, precision: Precision::F32 }
}

/// The options for a batch in a step of `rows` rows whose targets count. `first` says whether it is
/// the step's first.
pub fn learn(first: bool, rows: u32) -> Learn {
    Learn { first, scale: 1.0 / rows as f32, dropout: None }
}

/// A trainer's values of one kind, in the order of [`Plan::trained`].
pub fn read(plan: &Plan, trainer: &mut dyn EngineTrainer, state: TensorState) -> Vec<Vec<f32>> {
    let read = plan.trained().map(|(id, layer)| {
        let mut values = vec![f32::NAN; plan.tensor(id).len() as usize];
        trainer.read(state, id, layer, &mut values).unwrap();
        values
    });
    read.collect()
}

/// The expected gradients of `batches` in one step, and their losses summed over the rows of each
/// batch whose targets count.
pub fn expected(plan: &Plan, gpt: &Gpt, batches: &[&Batch]) -> (Vec<Vec<f64>>, Vec<f64>) {
    let rows: u32 = batches.iter().map(|batch| batch.counted()).sum();
    let mut sums: Vec<Vec<f64>> =
        plan.trained().map(|(id, _)| vec![0.0; plan.tensor(id).len() as usize]).collect();
    let mut losses = Vec::new();
    for batch in batches {
        let mut loss = 0.0;
        for (inputs, targets) in batch.each() {
            let counted = targets.iter().filter(|target| **target != IGNORED).count() as f64;
            if counted == 0.0 {
                continue;
            }
            loss += gpt.loss(inputs, targets) * counted;
            let gradients = gpt.gradients(inputs, targets);
            let share = counted / f64::from(rows);
            for ((id, layer), sum) in plan.trained().zip(&mut sums) {
                let gradient = gradients.tensor(&gpt.spec, &plan.tensor(id).name, layer);
                for (sum, g) in sum.iter_mut().zip(gradient.iter()) {
                    *sum += share * g;
                }
            }
        }
        losses.push(loss);
    }
    (sums, losses)
}

/// Asserts that the error of each tensor is at most `bound`. If a tensor's elements cancel, its
/// rounding errors are as large as the summands', so its norm counts as at least a thousandth of
/// the norm of all gradients.
#[track_caller]
pub fn check_tensors(
    what: &str,
    plan: &Plan,
    found: &[Vec<f32>],
    expected: &[Vec<f64>],
    bound: f64,
) {
    let size = |values: &[f64]| values.iter().map(|x| x * x).sum::<f64>().sqrt();
    let whole = size(&expected.concat());
    let mut far = Vec::new();
    for ((found, expected), (id, layer)) in found.iter().zip(expected).zip(plan.trained()) {
        let difference = found.iter().zip(expected).map(|(f, e)| f64::from(*f) - e);
        let error = size(&difference.collect::<Vec<_>>());
        let size = size(expected).max(1e-3 * whole);
        // NaN is rejected, too.
        if error.is_nan() || error > bound * size {
            let name = &plan.tensor(id).name;
            far.push(format!("{name} of layer {layer} by {:.1e}", error / size));
        }
    }
    assert!(far.is_empty(), "{what}: far off: {}", far.join(", "));
}

/// Asserts that the values of two trainers are equal bit for bit.
#[track_caller]
pub fn check_same(what: &str, plan: &Plan, a: &[Vec<f32>], b: &[Vec<f32>]) {
    let bits = |values: &[f32]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    for ((a, b), (id, layer)) in a.iter().zip(b).zip(plan.trained()) {
        assert!(bits(a) == bits(b), "{what}: {} of layer {layer} differs", plan.tensor(id).name);
    }
}

/// Compares losses and gradients with the oracle: a whole batch, two batches of different shapes in
/// one step, and a single token. The whole batch is also run a second time, and with recomputed
/// activations. Then compares some steps of AdamW.
#[track_caller]
pub fn check(name: &str, spec: &Spec, engine: Engine<'_>, bound: f64) {
    let plan = specs::plan(name, spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let gpt = Gpt::new(plan, &weights).unwrap();
    let most = spec.context.min(33);
    let options = |recompute| options(3, most, recompute);
    let mut trainer = engine(plan, &weights, options(Recompute::Nothing)).unwrap();
    let bytes = plan.train_bytes(&options(Recompute::Nothing).shape);
    assert_eq!(trainer.allocated(), bytes, "{name}: bytes allocated");

    let whole = Batch::new(spec, 3, most, 0);
    let (gradients, losses) = expected(plan, &gpt, &[&whole]);
    let loss = trainer.learn(&whole.sequences(), &learn(true, whole.rows()));
    check_loss(name, loss.unwrap(), losses[0]);
    let found = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(name, plan, &found, &gradients, bound);
    check_loss(name, trainer.evaluate(&whole.sequences()).unwrap(), losses[0]);

    let again = trainer.learn(&whole.sequences(), &learn(true, whole.rows()));
    check_loss(name, again.unwrap(), losses[0]);
    let what = format!("{name}, the same batch again");
    check_same(&what, plan, &found, &read(plan, &mut *trainer, TensorState::Gradient));

    // The smaller batch runs first, among stale values of the larger one in the buffers.
    let small = Batch::new(spec, 2, most / 2 + 1, 11);
    let (gradients, losses) = expected(plan, &gpt, &[&small, &whole]);
    let rows = small.rows() + whole.rows();
    let loss = trainer.learn(&small.sequences(), &learn(true, rows));
    check_loss(name, loss.unwrap(), losses[0]);
    let loss = trainer.learn(&whole.sequences(), &learn(false, rows));
    check_loss(name, loss.unwrap(), losses[1]);
    let what = format!("{name}, two batches");
    let found_two = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(&what, plan, &found_two, &gradients, bound);

    let one = Batch::new(spec, 1, 1, 3);
    let (gradients, losses) = expected(plan, &gpt, &[&one]);
    let loss = trainer.learn(&one.sequences(), &learn(true, 1));
    check_loss(name, loss.unwrap(), losses[0]);
    let what = format!("{name}, one token");
    let found_one = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(&what, plan, &found_one, &gradients, bound);

    let mut recomputing = engine(plan, &weights, options(Recompute::Block)).unwrap();
    let bytes = plan.train_bytes(&options(Recompute::Block).shape);
    assert_eq!(recomputing.allocated(), bytes, "{name}: bytes allocated with recomputation");
    recomputing.learn(&whole.sequences(), &learn(true, whole.rows())).unwrap();
    let what = format!("{name}, recomputed activations");
    check_same(&what, plan, &found, &read(plan, &mut *recomputing, TensorState::Gradient));

    adamw::check(name, plan, &mut *recomputing, &whole);
}

/// Compares losses and gradients with the oracle where few targets count: one batch, and two
/// batches of a step with different numbers of targets. A batch without any adds nothing.
#[track_caller]
pub fn check_ignored(name: &str, spec: &Spec, engine: Engine<'_>, bound: f64) {
    let plan = specs::plan(name, spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let gpt = Gpt::new(plan, &weights).unwrap();
    let most = spec.context.min(33);
    let mut trainer = engine(plan, &weights, options(3, most, Recompute::Nothing)).unwrap();

    let masked = Batch::masked(spec, 3, most, 0);
    let (gradients, losses) = expected(plan, &gpt, &[&masked]);
    let loss = trainer.learn(&masked.sequences(), &learn(true, masked.counted())).unwrap();
    check_loss(name, loss, losses[0]);
    let found = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(name, plan, &found, &gradients, bound);
    check_loss(name, trainer.evaluate(&masked.sequences()).unwrap(), losses[0]);

    let small = Batch::masked(spec, 1, most / 2 + 1, 11);
    let none = Batch { targets: vec![IGNORED; most as usize], ..Batch::new(spec, 1, most, 2) };
    let (gradients, losses) = expected(plan, &gpt, &[&small, &none, &masked]);
    let rows = small.counted() + masked.counted();
    for (i, batch) in [&small, &none, &masked].into_iter().enumerate() {
        let loss = trainer.learn(&batch.sequences(), &learn(i == 0, rows)).unwrap();
        check_loss(name, loss, losses[i]);
    }
    assert_eq!(losses[1], 0.0);
    let what = format!("{name}, three batches");
    let found = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(&what, plan, &found, &gradients, bound);
}

/// Specs for [`check_ignored`]: a causal and a bidirectional one, the head for masked words, logits
/// with a slope, and a head that computes logits in several steps.
pub fn ignoring() -> Vec<(&'static str, Spec)> {
    let names = ["encoder", "masked_words", "gpt2", "softcap"];
    let odd = specs::odd().into_iter().filter(|(name, _)| names.contains(name));
    let [.., (wide, spec, _)] = large_shapes();
    odd.chain([(wide, Spec { context: 40, ..spec })]).collect()
}

/// A spec, and the sequences and tokens of a batch, with a name.
pub type Shape = (&'static str, Spec, [u32; 2]);

/// Shapes larger than one block: sequences of several key blocks, depths that products split, more
/// rows than a tile, and logits that are computed in several steps.
pub fn large_shapes() -> [Shape; 4] {
    let mlp = |hidden| Mlp { hidden, ..specs::gpt2().mlp };
    let long = |spec: Spec| Spec { context: 150, ..spec };
    let deep = Spec { vocab: 700, embed: 24, head_dim: 6, mlp: mlp(1100), ..long(specs::gpt2()) };
    let wide = Spec {
        vocab: 60_000,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        embed: 8,
        head_dim: 8,
        mlp: mlp(16),
        ..specs::gpt2()
    };
    let mask = gpt_plan::Pattern::all(gpt_plan::Mask::Bidirectional);
    [
        ("deep", deep, [3, 150]),
        ("long", long(specs::smollm2()), [1, 150]),
        ("long_bidirectional", Spec { mask, ..long(specs::gpt2()) }, [2, 129]),
        ("wide", wide, [2, 50]),
    ]
}

/// Compares the loss and gradients of one batch with the oracle.
#[track_caller]
pub fn check_shape((name, spec, [sequences, tokens]): &Shape, engine: Engine<'_>, bound: f64) {
    let plan = specs::plan(name, spec);
    let weights = UnitGain::new(plan, 5, Format::F32);
    let gpt = Gpt::new(plan, &weights).unwrap();
    let options = options(*sequences, *tokens, Recompute::Nothing);
    let mut trainer = engine(plan, &weights, options).unwrap();
    let batch = Batch::new(spec, *sequences, *tokens, 0);
    let (gradients, losses) = expected(plan, &gpt, &[&batch]);
    let loss = trainer.learn(&batch.sequences(), &learn(true, batch.rows()));
    check_loss(name, loss.unwrap(), losses[0]);
    let found = read(plan, &mut *trainer, TensorState::Gradient);
    check_tensors(name, plan, &found, &gradients, bound);
}

#[track_caller]
fn check_loss(name: &str, found: f64, expected: f64) {
    assert!(
        (found - expected).abs() <= 3e-6 * expected.abs() + 1e-9,
        "{name}: the loss is {found}, not {expected}"
    );
}

/// The AdamW update of step `step`, without clipping.
pub fn update(step: u64) -> Update {
    Update {
        step,
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        clip: None,
        scale: 1.0,
    }
}

/// The first trained tensor.
pub fn first(plan: &Plan) -> (TensorId, u32) {
    plan.trained().next().expect("every model learns something")
}
