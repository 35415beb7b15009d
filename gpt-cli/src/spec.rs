//! `gpt spec`: prints the declaration of the model that a file describes.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::weights;

use crate::models;
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt spec run
  gpt spec run --json")]
pub struct Arguments {
    /// A config.json, a GGUF, safetensors, or a folder with them
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let spec = weights::read_spec(&arguments.file)?;
    let keys = gpt_codegen::declaration(&spec);
    for problem in gpt_codegen::check_spec(&spec) {
        eprintln!("note: {problem}");
    }
    if arguments.json {
        return output::json(&serde_json::json!({ "spec": keys.replace('\n', " ") }));
    }
    let name = type_name(&models::name_of_file(&arguments.file));
    let mut out = output::stdout();
    output::line(&mut out, &format!("gpt_model! {{\n    pub struct {name} {{"))?;
    for line in keys.lines() {
        output::line(&mut out, &format!("        {line}"))?;
    }
    output::line(&mut out, "    }\n}")
}

/// `SmolLM2-135M` becomes `SmolLM2135M`, and `llama.q4` becomes `LlamaQ4`.
fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let capital = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    let name: String = words.map(capital).collect();
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) {
        true => name,
        false => format!("Model{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::type_name;

    #[test]
    fn names_are_types() {
        assert_eq!(type_name("SmolLM2-135M"), "SmolLM2135M");
        assert_eq!(type_name("llama.q4"), "LlamaQ4");
        assert_eq!(type_name("3b_"), "Model3b");
        assert_eq!(type_name(""), "Model");
    }
}
