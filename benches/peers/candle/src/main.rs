//! Candle's part of `compare.py`: our benchmark, written like candle's own examples. Prints one
//! JSON object with rates in tokens per second.
//!
//! GPT-2 is implemented in `gpt`, because candle has none; the Llama of SmolLM2 is candle's.

mod gpt;

use std::fs::File;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use candle_core::quantized::gguf_file;
use candle_core::{DType, Device, Tensor};
use candle_nn::{AdamW, Optimizer, ParamsAdamW, VarBuilder, VarMap, loss};
use candle_transformers::models::quantized_llama::ModelWeights;

use gpt::{Gpt, Shape};

/// The version in `Cargo.toml`.
const VERSION: &str = "0.11.1";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["version"] => println!("{VERSION}"),
        ["infer", dtype, prefill, decode] => {
            let dtype = match dtype {
                "f32" => DType::F32,
                "f16" => DType::F16,
                "bf16" => DType::BF16,
                _ => bail!("unknown dtype {dtype}; expected f32, f16 or bf16"),
            };
            let variables = VarMap::new();
            let builder = VarBuilder::from_varmap(&variables, dtype, &Device::Cpu);
            let mut model = Gpt::new(&Shape::GPT2, builder)?;
            infer([prefill, decode], Shape::GPT2.vocab, |tokens, position| {
                if position == 0 {
                    model.forget();
                }
                model.next(tokens, position)
            })?;
        }
        ["quantised", path, prefill, decode] => {
            let mut file = File::open(path).with_context(|| format!("cannot open {path}"))?;
            let content = gguf_file::Content::read(&mut file)?;
            let mut model = ModelWeights::from_gguf(content, &mut file, &Device::Cpu)?;
            // A pass at position 0 starts a new sequence.
            infer([prefill, decode], 49_152, |tokens, position| model.forward(tokens, position))?;
        }
        ["train", model, shape] => train(model, shape)?,
        _ => bail!(
            "expected version, infer DTYPE PREFILL DECODE, quantised FILE PREFILL DECODE or train \
             MODEL BxT"
        ),
    }
    Ok(())
}

/// Pseudo-random tokens, the same in every run.
fn tokens(n: usize, vocab: usize) -> Vec<u32> {
    let token = |i: u32| i.wrapping_mul(2_654_435_761) % vocab as u32;
    (0..n as u32).map(token).collect()
}

/// Times a prompt, and decoding from an empty cache, each after a warm-up.
fn infer(
    sizes: [&str; 2],
    vocab: usize,
    mut forward: impl FnMut(&Tensor, usize) -> candle_core::Result<Tensor>,
) -> Result<()> {
    let (prefill, decode): (usize, usize) = (sizes[0].parse()?, sizes[1].parse()?);
    let text = tokens(prefill.max(decode), vocab);
    let part = |from: usize, to: usize| Tensor::new(&text[from..to], &Device::Cpu)?.unsqueeze(0);
    let prompt = part(0, prefill)?;
    forward(&prompt, 0)?;
    let start = Instant::now();
    forward(&prompt, 0)?;
    let prefilled = prefill as f64 / start.elapsed().as_secs_f64();
    let mut decoded = 0.0;
    for n in [decode.min(4), decode] {
        let start = Instant::now();
        for i in 0..n {
            forward(&part(i, i + 1)?, i)?;
        }
        decoded = n as f64 / start.elapsed().as_secs_f64();
    }
    println!("{{\"prefill\": {prefilled}, \"decode\": {decoded}}}");
    Ok(())
}

/// Times AdamW steps on one batch for at least a second and three steps, after three warm-up steps.
/// Gradients are not clipped, because candle does not support it.
fn train(model: &str, shape: &str) -> Result<()> {
    let sizes = match model {
        "gpt2" => Shape::GPT2,
        "nano" => Shape::NANO,
        _ => bail!("unknown model {model}; expected gpt2 or nano"),
    };
    let (sequences, length) = shape.split_once('x').context("expected BxT")?;
    let (sequences, length): (usize, usize) = (sequences.parse()?, length.parse()?);
    let variables = VarMap::new();
    let builder = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
    let model = Gpt::new(&sizes, builder)?;
    let settings = ParamsAdamW { lr: 1e-6, beta2: 0.99, ..ParamsAdamW::default() };
    let mut optimizer = AdamW::new(variables.all_vars(), settings)?;
    let text = tokens(sequences * length + 1, sizes.vocab);
    let inputs = Tensor::new(&text[..sequences * length], &Device::Cpu)?;
    let inputs = inputs.reshape((sequences, length))?;
    let targets = Tensor::new(&text[1..], &Device::Cpu)?;
    let mut step = || -> Result<f32> {
        let loss = loss::cross_entropy(&model.logits(&inputs)?, &targets)?;
        optimizer.backward_step(&loss)?;
        Ok(loss.to_scalar()?)
    };
    let first = step()?;
    step()?;
    step()?;
    let (start, mut steps, mut last) = (Instant::now(), 0, first);
    while start.elapsed().as_secs_f64() < 1.0 || steps < 3 {
        last = step()?;
        steps += 1;
    }
    let speed = (steps * sequences * length) as f64 / start.elapsed().as_secs_f64();
    ensure!(last < first, "the loss did not fall: {first}, then {last}");
    println!("{{\"train\": {speed}}}");
    Ok(())
}
