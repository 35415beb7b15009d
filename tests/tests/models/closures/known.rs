//! Compares known activations, written as closures as in their papers, with f64.
//!
//! Three implementations are compared: the interpreter ([`gpt_plan::Formula::eval_f32`]), generated
//! Rust ([`Gpt::activate`]), and WGSL on the GPU. Every result is finite. Its relative error is at
//! most [`Bounds::relative`], or its absolute error at most [`Bounds::absolute`] where the true
//! number underflows or a formula subtracts nearly equal numbers.

use gpt_plan::Formula;
use gpt_runtime::{Gpt, gpt_model};
use gpt_tests::gpu;

struct Bounds {
    relative: f64,
    absolute: f64,
}

/// A rounded `u` gives `exp(u)` a relative error of `|u|` half ulps.
const CPU: Bounds = Bounds { relative: 1e-5, absolute: 1e-7 };

/// WGSL allows `exp` an error of `3 + 2 |u|` ulps.
const GPU: Bounds = Bounds { relative: 2e-5, absolute: 2e-7 };

struct Known {
    name: &'static str,
    closure: &'static str,
    activate: fn(&mut [f32], &mut [f32]),
    value: fn(f64) -> f64,
    slope: fn(f64) -> f64,
}

/// Declares a model for each closure, and lists them with their values and slopes in f64.
macro_rules! known {
    ($($name:ident: $closure:expr, $value:expr, $slope:expr;)*) => {
        gpt_model! {
            pub struct Base { vocab: 5, context: 4, layers: 1, heads: 1, embed: 8 }
            $(pub struct $name { mlp: Dense { hidden: 8, activation: $closure }, ..Base })*
        }
        const KNOWN: &[Known] = &[$(Known {
            name: stringify!($name),
            closure: stringify!($closure),
            activate: <$name as Gpt>::activate,
            value: $value,
            slope: $slope,
        }),*];
    };
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `1 - tanh(x)^2`, without the subtraction.
fn tanh_slope(x: f64) -> f64 {
    4.0 * sigmoid(2.0 * x) * sigmoid(-2.0 * x)
}

fn mish_slope(x: f64) -> f64 {
    softplus(x).tanh() + x * tanh_slope(softplus(x)) * sigmoid(x)
}

fn silu_slope(x: f64) -> f64 {
    sigmoid(x) * (1.0 + x * sigmoid(-x))
}

/// `sqrt(2 / pi)`, a constant of the tanh approximation of GELU.
const ROOT: f64 = 0.797_884_560_802_865_4;

fn gelu_slope(x: f64) -> f64 {
    let u = ROOT * (x + 0.044715 * x.powi(3));
    let inner = ROOT * (1.0 + 0.134145 * x * x);
    sigmoid(2.0 * u) + 2.0 * x * sigmoid(2.0 * u) * sigmoid(-2.0 * u) * inner
}

known! {
    QuickGelu: |x| x / (1.0 + exp(-1.702 * x)),
        |x| x * sigmoid(1.702 * x),
        |x| silu_slope(1.702 * x);
    Softplus: |x| ln(1.0 + exp(x)), softplus, sigmoid;
    Mish: |x| x * tanh(ln(1.0 + exp(x))), |x| x * softplus(x).tanh(), mish_slope;
    Elu: |x| max(x, 0.0) + min(exp(x) - 1.0, 0.0),
        |x| if x > 0.0 { x } else { x.exp_m1() },
        |x| if x > 0.0 { 1.0 } else { x.exp() };
    Selu: |x| 1.0507 * (max(x, 0.0) + min(1.67326 * exp(x) - 1.67326, 0.0)),
        |x| 1.0507 * if x > 0.0 { x } else { 1.67326 * x.exp_m1() },
        |x| 1.0507 * if x > 0.0 { 1.0 } else { 1.67326 * x.exp() };
    Sigmoid: |x| 1.0 / (1.0 + exp(-x)), sigmoid, |x| sigmoid(x) * sigmoid(-x);
    SigmoidByGrowth: |x| exp(x) / (exp(x) + 1.0), sigmoid, |x| sigmoid(x) * sigmoid(-x);
    Softsign: |x| x / (1.0 + abs(x)), |x| x / (1.0 + x.abs()), |x| (1.0 + x.abs()).powi(-2);
    HardSwish: |x| x * min(max(x + 3.0, 0.0), 6.0) / 6.0,
        |x| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        |x| if x <= -3.0 { 0.0 } else if x < 3.0 { (2.0 * x + 3.0) / 6.0 } else { 1.0 };
    SquaredRelu: |x| powi(max(x, 0.0), 2), |x| x.max(0.0).powi(2), |x| 2.0 * x.max(0.0);
    Gaussian: |x| exp(-x * x), |x| (-x * x).exp(), |x| -2.0 * x * (-x * x).exp();
    TanhGelu: |x| 0.5 * x * (1.0 + tanh(0.7978845608028654 * (x + 0.044715 * powi(x, 3)))),
        |x| x * sigmoid(2.0 * ROOT * (x + 0.044715 * x.powi(3))),
        gelu_slope;
    Silu: |x| x / (1.0 + exp(-x)), |x| x * sigmoid(x), silu_slope;
    SiluByGrowth: |x| x * exp(x) / (1.0 + exp(x)), |x| x * sigmoid(x), silu_slope;
    TanhByTwo: |x| (exp(x) - exp(-x)) / (exp(x) + exp(-x)), f64::tanh, tanh_slope;
    TanhByOne: |x| (exp(2.0 * x) - 1.0) / (exp(2.0 * x) + 1.0), f64::tanh, tanh_slope;
    // No rule rewrites the last three; saturating arithmetic keeps them finite.
    Bump: |x| 1.0 / (1.0 + powi(x, 16)),
        |x| 1.0 / (1.0 + x.powi(16)),
        |x| -16.0 * x.powi(15) / (1.0 + x.powi(16)).powi(2);
    Root: |x| sqrt(max(x, 0.0)),
        |x| x.max(0.0).sqrt(),
        |x| if x > 0.0 { 0.5 / x.sqrt() } else { 0.0 };
    Wavelet: |x| powi(x, 9) * exp(-x * x) / (1.0 + x * x),
        |x| x.powi(9) * (-x * x).exp() / (1.0 + x * x),
        |x| {
            let (square, e) = (x * x, (-x * x).exp());
            e * x.powi(8) * (9.0 + 5.0 * square - 2.0 * square * square) / (1.0 + square).powi(2)
        };
}

/// Numbers of both signs from 1e-6 to 1e4, zero, and steps of 0.37 up to where exponentials
/// overflow and underflow.
fn arguments() -> Vec<f32> {
    let decades = (-6..=3).map(|k| 10f64.powi(k));
    let magnitudes = decades.flat_map(|d| [1.0, 1.7, 2.3, 3.1, 4.9, 7.7].map(|m| m * d));
    let steps = (1..400).map(|i| f64::from(i) * 0.37);
    let sizes = magnitudes.chain([1e4]).chain(steps);
    let both = sizes.flat_map(|x| [x as f32, -x as f32]);
    both.chain([0.0]).collect()
}

/// The first results that break `bounds`, one line each.
fn wrong(
    what: String,
    bounds: &Bounds,
    exact: fn(f64) -> f64,
    arguments: &[f32],
    results: &[f32],
) -> Vec<String> {
    let mut lines = Vec::new();
    for (&x, &result) in arguments.iter().zip(results) {
        let exact = exact(f64::from(x));
        let error = (f64::from(result) - exact).abs();
        let fine = error <= bounds.relative * exact.abs() || error <= bounds.absolute;
        if !result.is_finite() || !fine {
            lines.push(format!("{what} at {x:e}: {result:e}, exactly {exact:e}"));
        }
    }
    lines.truncate(3);
    lines
}

#[test]
fn on_the_cpu() {
    let arguments = arguments();
    let mut lines = Vec::new();
    for known in KNOWN {
        let (value, derivative) = super::custom(known.closure);
        let mut values = arguments.clone();
        let mut slopes = vec![f32::NAN; arguments.len()];
        (known.activate)(&mut values, &mut slopes);
        let interpreted = |f: &Formula| arguments.iter().map(|&x| f.eval_f32(x)).collect();
        for (what, exact, results) in [
            ("interpreted value", known.value, interpreted(&value)),
            ("interpreted slope", known.slope, interpreted(&derivative)),
            ("generated value", known.value, values),
            ("generated slope", known.slope, slopes),
        ] {
            let what = format!("{} {what}", known.name);
            lines.extend(wrong(what, &CPU, exact, &arguments, &results));
        }
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

#[test]
fn on_the_gpu() {
    if gpu::device().is_none() {
        return;
    }
    let mut source = String::new();
    let mut stores = String::new();
    for (i, known) in KNOWN.iter().enumerate() {
        let (value, derivative) = super::custom(known.closure);
        source += &gpt_codegen::formula::wgsl(&format!("value{i}"), &value);
        source += &gpt_codegen::formula::wgsl(&format!("slope{i}"), &derivative);
        stores += &format!("    y[{}u * n + i] = value{i}(x[i]);\n", 2 * i);
        stores += &format!("    y[{}u * n + i] = slope{i}(x[i]);\n", 2 * i + 1);
    }
    source += &format!(
        "@group(0) @binding(0) var<storage, read> x: array<f32>;
        @group(0) @binding(1) var<storage, read_write> y: array<f32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3<u32>) {{
            let i = id.x;
            let n = arrayLength(&x);
            if i >= n {{ return; }}
            {stores}
        }}"
    );
    let arguments = arguments();
    let results = compute(&source, &arguments, 2 * KNOWN.len());
    let mut lines = Vec::new();
    for (known, results) in KNOWN.iter().zip(results.chunks_exact(2 * arguments.len())) {
        let (values, slopes) = results.split_at(arguments.len());
        for (what, exact, results) in
            [("value", known.value, values), ("slope", known.slope, slopes)]
        {
            let what = format!("{} {what}", known.name);
            lines.extend(wrong(what, &GPU, exact, &arguments, results));
        }
    }
    assert!(lines.is_empty(), "{}", lines.join("\n"));
}

fn entry(binding: u32, buffer: &wgpu::Buffer) -> wgpu::BindGroupEntry<'_> {
    wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() }
}

/// The result of `main` in `y`, which has `columns` elements for each in `x`.
fn compute(source: &str, x: &[f32], columns: usize) -> Vec<f32> {
    use wgpu::util::DeviceExt;
    let instance = wgpu::Instance::default();
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()));
    let adapter = adapter.expect("an adapter");
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).unwrap();
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: None,
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: None,
        layout: None,
        module: &module,
        entry_point: None,
        compilation_options: Default::default(),
        cache: None,
    });
    let bytes: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let input = device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: &bytes,
        usage: wgpu::BufferUsages::STORAGE,
    });
    let buffer = |usage| {
        device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: (bytes.len() * columns) as u64,
            usage,
            mapped_at_creation: false,
        })
    };
    let output = buffer(wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
    let read = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &[entry(0, &input), entry(1, &output)],
    });
    let mut encoder = device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(x.len().div_ceil(64) as u32, 1, 1);
    }
    encoder.copy_buffer_to_buffer(&output, 0, &read, 0, read.size());
    queue.submit([encoder.finish()]);
    read.slice(..).map_async(wgpu::MapMode::Read, |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let mapped = read.slice(..).get_mapped_range().unwrap();
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().expect("four bytes"));
    mapped.chunks_exact(4).map(float).collect()
}
