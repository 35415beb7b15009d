//! Draws the attention of every head to `attention.png`, a row of maps for each layer:
//! `cargo run --release -p gpt-runtime --example attention_maps -- "To be, or not to be"`.
//!
//! Pixel `(j, i)` of a map is the weight that token `i` gives to token `j`. Engines keep a running softmax
//! and never these probabilities, so they are computed from the queries and keys of a trace.

use gpt_runtime::{Device, gpt_model};

gpt_model! {
    /// The model whose weights are in `gpt-cli/assets`: characters of Shakespeare.
    struct Bard {
        vocab: 65, context: 256, layers: 6, heads: 6, embed: 192, bias: false, dropout: 0.05,
        norm: RmsNorm { eps: 1e-5 },
        mlp: Gated { hidden: 512, activation: Silu },
        positions: Rope { theta: 10_000.0 },
    }
}

const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gpt-cli/assets/bard.gguf");

/// Pixels of a probability, and between two maps.
const CELL: usize = 4;
const GAP: usize = 8;

/// `softmax(q kᵀ / sqrt(dim))` of one head, `[tokens, tokens]`. A row of `qkv` is q, then k, then v,
/// each `[HEADS, dim]`.
fn attention(qkv: &[f32], tokens: usize, head: usize) -> Vec<f32> {
    let (width, dim) = (qkv.len() / tokens, Bard::EMBED / Bard::HEADS);
    let query = |row: usize| &qkv[row * width + head * dim..][..dim];
    let key = |row: usize| &qkv[row * width + (Bard::HEADS + head) * dim..][..dim];
    let mut map = vec![0.0; tokens * tokens];
    for i in 0..tokens {
        // The mask is causal: token i sees tokens 0 to i.
        let pairs = (0..=i).map(|j| query(i).iter().zip(key(j)));
        let scores = pairs.map(|p| p.map(|(q, k)| q * k).sum::<f32>() / (dim as f32).sqrt());
        let scores: Vec<f32> = scores.collect();
        let max = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = scores.iter().map(|s| (s - max).exp()).sum();
        for (j, score) in scores.iter().enumerate() {
            map[i * tokens + j] = (score - max).exp() / sum;
        }
    }
    map
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1);
    let text = text
        .as_deref()
        .unwrap_or("To be, or not to be, that is the");
    let model = Bard::load(WEIGHTS, &Device::auto()?)?;
    let ids = model.tokenizer()?.encode(text)?;
    let mut session = model.session().all_logits().open()?;
    let steps = session.trace(&ids)?;

    let (n, layers) = (ids.len(), Bard::LAYERS);
    let side = n * CELL + GAP;
    let (width, height) = (Bard::HEADS * side + GAP, layers * side + GAP);
    let mut pixels = vec![255u8; width * height];
    for step in steps.iter().filter(|step| step.step == "qkv") {
        for head in 0..Bard::HEADS {
            let map = attention(&step.values, n, head);
            for (y, x) in (0..n * CELL).flat_map(|y| (0..n * CELL).map(move |x| (y, x))) {
                let at = (GAP + step.layer as usize * side + y) * width + GAP + head * side + x;
                pixels[at] = 255 - (255.0 * map[y / CELL * n + x / CELL]) as u8;
            }
        }
    }

    let file = std::fs::File::create("attention.png")?;
    let mut png = png::Encoder::new(file, width as u32, height as u32);
    png.set_color(png::ColorType::Grayscale);
    png.write_header()?.write_image_data(&pixels)?;
    println!(
        "attention.png: {layers} layers of {} heads over {n} tokens",
        Bard::HEADS
    );
    Ok(())
}
