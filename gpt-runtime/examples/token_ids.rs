//! Prints the token ids of texts and what they decode to, one JSON object for each text.
//!
//! ```sh
//! cargo run --example token_ids -- TOKENIZER TEXTS
//! ```
//!
//! TOKENIZER is a `tokenizer.json`, a GGUF or a folder; TEXTS is a JSON list of strings.
//! `tests/fixtures/tokenizers/real.py` compares the ids with those of other libraries.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use gpt_runtime::Tokenizer;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [tokenizer, texts] = arguments.as_slice() else {
        return Err("usage: token_ids TOKENIZER TEXTS".into());
    };
    let tokenizer = Tokenizer::from_path(Path::new(tokenizer))?;
    let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(texts)?)?;
    let mut out = std::io::BufWriter::new(std::io::stdout());
    for text in texts {
        let ids = tokenizer.encode(&text)?;
        let mut stream = tokenizer.stream(&[]);
        let mut streamed: String = ids.iter().map(|&id| stream.push(id)).collect();
        streamed.push_str(&stream.flush());
        let prompt = tokenizer.encode_prompt(&text).unwrap_or_default();
        let line = serde_json::json!({
            "ids": ids, "prompt": prompt, "text": tokenizer.decode(&ids)?, "streamed": streamed,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}
