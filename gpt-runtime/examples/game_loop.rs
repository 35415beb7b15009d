//! A model beside a game: one `wgpu` device for both, and two milliseconds a frame for the model.
//! `cargo run --release -p gpt-runtime --example game_loop`.
//!
//! `Generation::poll` returns when its budget is spent. A token that has begun is finished, so a
//! frame takes the budget and at most one token more; the first frame may also compile kernels.

use std::time::{Duration, Instant};

use gpt_runtime::{Device, Error, Sampling, Stop, gpt_model, wgpu};

gpt_model! {
    /// The model whose weights are in `gpt-cli/assets`: a character-level model of Shakespeare.
    struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 },
        mlp: Gated { hidden: 512, activation: Silu },
        positions: Rope { theta: 10_000.0 },
    }
}

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");
const FRAME: Duration = Duration::from_micros(16_667);
const BUDGET: Duration = Duration::from_millis(2);

/// The game's own GPU, as a game engine opens it; none on a machine without one.
fn gpu() -> Option<(wgpu::Adapter, wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
    let adapter = instance.request_adapter(&wgpu::RequestAdapterOptions::default());
    let adapter = pollster::block_on(adapter).ok()?;
    let device = adapter.request_device(&wgpu::DeviceDescriptor::default());
    let (device, queue) = pollster::block_on(device).ok()?;
    Some((adapter, device, queue))
}

/// Draws a frame. A real game renders here, with the device that it shares with the model.
fn draw(frame: usize, speech: &str) {
    if let Some(line) = speech.lines().last() {
        print!("\rframe {frame:4}: {line:60.60}");
    }
}

fn main() -> Result<(), Error> {
    let device = match gpu() {
        // A real game keeps clones of these handles, which are cheap to clone.
        Some((adapter, device, queue)) => Device::from_wgpu(adapter, device, queue)?,
        None => Device::cpu()?,
    };
    let model = Bard::load(WEIGHTS, &device)?;
    let mut session = model.session().open()?;
    let stop = Stop::default().with_tokens(200);
    // The prompt is read here, before the first frame.
    let mut generation = session.generate("GUARD:\nWho", Sampling::default(), stop)?;

    let (mut speech, mut frame, mut longest) = ("Who".to_owned(), 0, Duration::ZERO);
    while generation.ended().is_none() {
        let start = Instant::now();
        speech.push_str(&generation.poll(BUDGET)?);
        longest = longest.max(start.elapsed());
        draw(frame, &speech);
        frame += 1;
        std::thread::sleep(FRAME.saturating_sub(start.elapsed()));
    }
    println!("\n{speech}\n{frame} frames; the model took at most {longest:.1?} of one");
    Ok(())
}
