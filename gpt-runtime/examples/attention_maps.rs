//! Draws the attention of every head to `attention.png`, a row of maps for each layer:
//! `cargo run --release -p gpt-runtime --example attention_maps -- "To be, or not to be"`.
//! `gpt explain` draws these maps, and more, on a page.

use gpt_runtime::{Device, gpt_model};

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

/// Side of the square that shows one weight, in pixels.
const CELL: usize = 4;
/// Pixels between two maps.
const GAP: usize = 8;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1);
    let text = text.as_deref().unwrap_or("To be, or not to be, that is the");
    let model = Bard::load(WEIGHTS, &Device::auto()?)?;
    let ids = model.tokenizer()?.encode(text)?;
    let mut session = model.session().all_logits().open()?;
    let observation = session.observe(&ids)?;

    let (n, layers, heads) = (ids.len(), observation.layers(), observation.heads());
    let side = n * CELL + GAP;
    let (width, height) = (heads * side + GAP, layers * side + GAP);
    let mut pixels = vec![255u8; width * height];
    for (layer, head) in (0..layers).flat_map(|layer| (0..heads).map(move |head| (layer, head))) {
        // Pixel (x, y) is the weight that token y gives to token x.
        let map = observation.attention(layer, head);
        for (y, x) in (0..n * CELL).flat_map(|y| (0..n * CELL).map(move |x| (y, x))) {
            let at = (GAP + layer * side + y) * width + GAP + head * side + x;
            pixels[at] = 255 - (255.0 * map[y / CELL * n + x / CELL]) as u8;
        }
    }

    let file = std::fs::File::create("attention.png")?;
    let mut png = png::Encoder::new(file, width as u32, height as u32);
    png.set_color(png::ColorType::Grayscale);
    png.write_header()?.write_image_data(&pixels)?;
    println!("attention.png: {layers} layers of {heads} heads over {n} tokens");
    Ok(())
}
