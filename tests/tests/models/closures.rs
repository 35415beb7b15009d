//! Activations as closures: values and symbolic derivatives as the interpreter, WGSL on the GPU and
//! generated Rust compute them. `known` compares known activations with f64 at many magnitudes.
//! gpt-codegen's own tests check that a derivative is the slope of its value.

mod known;

use std::sync::Arc;

use gpt_plan::{Activation, Format, Mlp, Spec};
use gpt_runtime::__private::cpu::{CpuDevice, CpuModel};
use gpt_runtime::__private::gpu::GpuModel;
use gpt_runtime::{Device, Gpt, Model, gpt_model};
use gpt_tests::compare::nmse;
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, parity, specs, tokens};

const CLOSURES: [&str; 7] = [
    "|x| x / (1.0 + exp(-1.702 * x))",
    "|x| x * tanh(ln(1.0 + exp(x)))",
    "|x| { let y = max(x, 0.0); y * y }",
    "|x| x + sin(3.0 * x).powi(2) / 3.0",
    "|x| sqrt(x * x + 1.0) + cos(x) - abs(x) / 2.0",
    "|x| min(max(x, -1.5), 1.5) * powi(x, 3)",
    "|x| -exp(-(x.powi(4))) + 3.0 * (1.0 + x * x).powi(-2)",
];

fn custom(closure: &str) -> (gpt_plan::Formula, gpt_plan::Formula) {
    let declared =
        format!("struct M {{ mlp: Dense {{ hidden: 8, activation: {closure} }}, ..GPT2_SMALL }}");
    let specs = gpt_codegen::specs(declared.parse().unwrap()).expect("a valid closure");
    match specs[0].1.mlp.activation.clone() {
        Activation::Custom { value, derivative, .. } => (value, derivative),
        known => panic!("{closure} became {known:?}"),
    }
}

fn check(name: &str, value: gpt_plan::Formula, derivative: gpt_plan::Formula) {
    let spec = Spec {
        layers: 1,
        mlp: Mlp {
            gated: false,
            hidden: 90,
            activation: Activation::Custom { name: None, value, derivative },
        },
        ..specs::gpt2()
    };
    let cpu = Arc::new(CpuDevice::new(Some(2)).unwrap());
    let engine: parity::Engine<'_> =
        &|plan, weights| Ok(Box::new(CpuModel::new(cpu.clone(), plan, None, weights)?));
    parity::check(name, &spec, Format::F32, engine, 1e-10);
    if let Some(device) = gpu::device() {
        let engine: parity::Engine<'_> =
            &|plan, weights| Ok(Box::new(GpuModel::new(device.clone(), plan, weights)?));
        parity::check(name, &spec, Format::F32, engine, 1e-10);
    }
}

#[test]
fn values_and_derivatives_on_both_engines() {
    for closure in CLOSURES {
        let (value, derivative) = custom(closure);
        check(closure, value, derivative.clone());
        // A derivative is a formula like any other, so it can take the place of an activation.
        let name = format!("the derivative of {closure}");
        check(&name, derivative.clone(), derivative);
    }
}

gpt_model! {
    pub struct Small { vocab: 101, context: 64, layers: 2, heads: 4, embed: 64, ..GPT2_SMALL }
    pub struct Sigmoid { mlp: Dense { hidden: 90, activation: |x| x / (1.0 + exp(-1.702 * x)) }, ..Small }
    pub struct Mish { mlp: Gated { hidden: 90, activation: |x| x * tanh(ln(1.0 + exp(x))) }, ..Small }
    pub struct Snake { mlp: Dense { hidden: 90, activation: |x| x + sin(3.0 * x).powi(2) / 3.0 }, ..Small }
    pub struct Rest {
        mlp: Dense { hidden: 90, activation: |x| { let y = sqrt(x * x + 1.0); min(y, 2.0) + cos(x) - max(abs(x), 0.5) } },
        ..Small
    }
}

fn check_generated<M: Gpt>() {
    let plan = M::plan();
    let weights = UnitGain::new(plan, 2, Format::F32);
    let device = Device::cpu().unwrap();
    let tokens = tokens(plan.spec.vocab, 20);
    let typed = Model::<M>::from_weights(&weights, &device).unwrap().erase();
    let interpreted = Model::from_plan(plan, &weights, &device).unwrap();
    let logits = |model: Model| model.session().open().unwrap().push(&tokens).unwrap().to_vec();
    let interpreted: Vec<f64> = logits(interpreted).into_iter().map(f64::from).collect();
    let error = nmse(&logits(typed), &interpreted);
    assert!(error < 1e-12, "{}: {error:e}", plan.name);
}

#[test]
fn generated_rust() {
    check_generated::<Sigmoid>();
    check_generated::<Mish>();
    check_generated::<Snake>();
    check_generated::<Rest>();
}
