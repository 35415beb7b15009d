//! Measures all-MiniLM-L6-v2 for `peers/embed.py`. Reads a number and as many texts from standard
//! input, one per line, embeds them in one call and prints the seconds that the call took. Repeats
//! until the input ends. With the argument `--print`, prints the vectors instead.
//!
//!     cargo run --release -p gpt-benches --example embed -- FOLDER THREADS [--print]

use std::io::BufRead;
use std::time::Instant;

use gpt_runtime::{Device, DeviceKind, DeviceOptions, EmbedOptions, Error, gpt_model};

gpt_model! {
    /// all-MiniLM-L6-v2.
    pub struct MiniLm {
        vocab: 30_522, context: 512, layers: 6, heads: 12, embed: 384,
        norm: LayerNorm { eps: 1e-12 }, block: PostNorm, mask: Bidirectional,
        mlp: Dense { hidden: 4 * embed, activation: Gelu },
        token_types: 2, embedding_norm: true, names: Bert,
    }
}

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let expected = || Error::Input("expected arguments: FOLDER THREADS [--print]".to_owned());
    let [folder, threads, rest @ ..] = &arguments[..] else { return Err(expected()) };
    let threads = threads.parse().map_err(|_| expected())?;
    let options =
        DeviceOptions { kind: DeviceKind::Cpu, threads: Some(threads), ..DeviceOptions::default() };
    let model = MiniLm::load(folder, &Device::open(&options)?)?;
    let options = EmbedOptions::beside(folder)?.unwrap_or_default();
    let mut lines = std::io::stdin().lock().lines().map_while(Result::ok);
    while let Some(count) = lines.next() {
        let count = count.parse().map_err(|_| Error::Input(format!("{count} is not a number")))?;
        let texts: Vec<String> = lines.by_ref().take(count).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let start = Instant::now();
        let embeddings = model.embed(&texts, &options)?;
        let seconds = start.elapsed().as_secs_f64();
        match rest {
            [] => println!("{seconds}"),
            _ => println!("{:?}", embeddings.into_vec()),
        }
    }
    Ok(())
}
