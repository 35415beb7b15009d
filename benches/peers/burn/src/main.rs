//! Burn's part of `compare.py`: our benchmark, written as a user of burn would for its wgpu
//! backend. Prints one JSON object with rates in tokens per second.
//!
//! Burn generates, fuses and tunes its kernels at run time, so all shapes are warmed up first. A
//! prompt needs two passes: the first one tunes, and only a repeated sequence of operations is
//! replayed fused.

mod gpt;

use std::time::Instant;

use anyhow::{Result, bail, ensure};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::{Device, Int, Tensor, TensorData};

use gpt::{Cache, Gpt, Shape};

/// The version in `Cargo.toml`.
const VERSION: &str = "0.22.1";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["version"] => println!("{VERSION}"),
        ["infer", "gpt2", prefill, decode] => infer(prefill.parse()?, decode.parse()?)?,
        ["train", "nano", steps] => train(steps.parse()?)?,
        _ => bail!("expected version, infer gpt2 PREFILL DECODE or train nano STEPS"),
    }
    Ok(())
}

/// Burn's default adapter, or the one that `CUBECL_WGPU_DEFAULT_DEVICE` names.
///
/// By default burn submits after 32 kernels. A token of GPT-2 takes 258 kernels; with all of them
/// in one submission, decoding is a quarter faster on lavapipe.
fn device() -> Result<Device> {
    let options = Device::wgpu_options().graphics_api(WgpuBackend::Vulkan);
    let device = options.tasks_max(512).init()?;
    device.seed(1);
    Ok(device)
}

/// Pseudo-random tokens, the same in every run.
fn tokens(n: usize, vocab: usize) -> Vec<i32> {
    let token = |i: u32| (i.wrapping_mul(2_654_435_761) % vocab as u32) as i32;
    (0..n as u32).map(token).collect()
}

/// Times a prompt, and greedy decoding after it.
fn infer(prefill: usize, decode: usize) -> Result<()> {
    ensure!(
        prefill > 0 && decode > 0,
        "PREFILL and DECODE have to be at least 1"
    );
    let device = device()?;
    let shape = Shape::GPT2;
    let model = Gpt::new(&shape, &device);
    let prompt = TensorData::new(tokens(prefill, shape.vocab), [1, prefill]);
    let prompt = Tensor::<2, Int>::from_data(prompt, &device);
    let (mut prefilled, mut decoded) = (0.0, 0.0);
    // The first round warms up all lengths of the cache, because each may be tuned; the second
    // warms up the prompt's second pass, with a token or two after it; the third is measured.
    for n in [decode, decode.min(2), decode] {
        let mut cache = Cache::default();
        let start = Instant::now();
        let mut next = model.next(prompt.clone(), &mut cache).argmax(1);
        next.clone().into_scalar::<i32>();
        prefilled = prefill as f64 / start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..n {
            // The next token does not depend on the host, which reads it anyway, as a user
            // would.
            next = model.next(next, &mut cache).argmax(1);
            next.clone().into_scalar::<i32>();
        }
        decoded = n as f64 / start.elapsed().as_secs_f64();
    }
    println!("{{\"prefill\": {prefilled}, \"decode\": {decoded}}}");
    Ok(())
}

/// Times AdamW steps on one batch of 12 sequences of 64 tokens, after five warm-up steps.
fn train(steps: usize) -> Result<()> {
    ensure!(steps > 0, "STEPS has to be at least 1");
    let device = device()?.autodiff();
    let shape = Shape::NANO;
    let mut model = Gpt::new(&shape, &device);
    let mut optimizer = AdamWConfig::new().with_beta_2(0.99).init();
    let (sequences, length) = (12, 64);
    let batch = sequences * length;
    let text = tokens(batch + 1, shape.vocab);
    let inputs = TensorData::new(text[..batch].to_vec(), [sequences, length]);
    let inputs = Tensor::<2, Int>::from_data(inputs, &device);
    let targets = TensorData::new(text[1..].to_vec(), [batch]);
    let targets = Tensor::<1, Int>::from_data(targets, &device);
    let mask = gpt::mask(length, &device);
    let entropy = CrossEntropyLossConfig::new().init(&device);
    let (mut seconds, mut losses) = (Vec::new(), Vec::new());
    for _ in 0..steps + 5 {
        let start = Instant::now();
        let loss = entropy.forward(model.logits(inputs.clone(), &mask), targets.clone());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, gradients);
        losses.push(loss.into_scalar::<f32>());
        seconds.push(start.elapsed().as_secs_f64());
    }
    let (first, last) = (losses[0], losses[steps + 4]);
    ensure!(last < first, "the loss did not fall: {first}, then {last}");
    let seconds = &mut seconds[5..];
    seconds.sort_by(f64::total_cmp);
    let speed = batch as f64 / seconds[steps / 2];
    println!("{{\"train\": {speed}}}");
    Ok(())
}
