mod gpt;
use anyhow::{Result, bail, ensure};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData};
use gpt::{Cache, Gpt, Shape};
use std::time::Instant;

const VERSION: &str = "0.22.1";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["version"] => println!("{VERSION}"),
        ["infer", "gpt2", prefill, decode] => infer(prefill.parse()?, decode.parse()?)?,
        ["train", "nano", steps] => train(steps.parse()?)?,
        _ => bail!("infer gpt2 PREFILL DECODE or train nano STEPS were expected"),
    }
    Ok(())
}

fn tokens(n: usize, vocab: usize) -> Vec<i32> {
    let token = |i: u32| (i.wrapping_mul(2_654_435_761) % vocab as u32) as i32;
    (0..n as u32).map(token).collect()
}

fn infer(prefill: usize, decode: usize) -> Result<()> {
    let device = Device::wgpu(Default::default());
    eprintln!("{device:?}");
    let shape = Shape::GPT2;
    let model = Gpt::new(&shape, &device);
    let text = TensorData::new(tokens(prefill, shape.vocab), [1, prefill]);
    let prompt = Tensor::<2, Int>::from_data(text, &device);
    let sync = std::env::var("SYNC").ok();
    let (mut p, mut d) = (0.0, 0.0);
    for round in 0..3 {
        let mut cache = Cache::new(&shape);
        let start = Instant::now();
        let mut next = model.next(prompt.clone(), &mut cache).argmax(1);
        let first: i32 = next.clone().into_scalar();
        p = prefill as f64 / start.elapsed().as_secs_f64();
        eprintln!("{round}: prefill {p} first {first}");
        let mut all = vec![];
        let start = Instant::now();
        for i in 0..decode {
            next = model.next(next, &mut cache).argmax(1);
            match sync.as_deref() {
                None => all.push(next.clone().into_scalar::<i32>()),
                Some("last") => {
                    if i + 1 == decode {
                        all.push(next.clone().into_scalar::<i32>())
                    }
                }
                Some(_) => {
                    let s: i32 = next.clone().into_scalar();
                    all.push(s);
                    next = Tensor::from_data(TensorData::new(vec![s], [1, 1]), &device);
                }
            }
        }
        d = decode as f64 / start.elapsed().as_secs_f64();
        eprintln!("{round}: decode {d} {all:?}");
    }
    println!("{{\"prefill\": {p}, \"decode\": {d}}}");
    Ok(())
}

fn train(steps: usize) -> Result<()> {
    let device = Device::wgpu(Default::default()).autodiff();
    let shape = Shape::NANO;
    let mut model = Gpt::new(&shape, &device);
    let mut optimizer = AdamWConfig::new().with_beta_2(0.99).init();
    let (b, t) = (12, 64);
    let text = tokens(b * t + 1, shape.vocab);
    let inputs = TensorData::new(text[..b * t].to_vec(), [b, t]);
    let inputs = Tensor::<2, Int>::from_data(inputs, &device);
    let targets = TensorData::new(text[1..].to_vec(), [b * t]);
    let targets = Tensor::<1, Int>::from_data(targets, &device);
    let mask = gpt::mask(t, &device);
    let entropy = CrossEntropyLossConfig::new().init(&device);
    let mut times = vec![];
    let mut losses = vec![];
    for _ in 0..steps + 5 {
        let start = Instant::now();
        let loss = entropy.forward(model.logits(inputs.clone(), mask.clone()), targets.clone());
        let grads = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-3, model, grads);
        losses.push(loss.into_scalar::<f32>());
        times.push(start.elapsed().as_secs_f64());
    }
    eprintln!("{losses:?}\n{times:?}");
    let mut times = times[5..].to_vec();
    times.sort_by(f64::total_cmp);
    let speed = (b * t) as f64 / times[times.len() / 2];
    ensure!(losses[losses.len() - 1] < losses[0], "the loss did not fall");
    println!("{{\"train\": {speed}}}");
    Ok(())
}
