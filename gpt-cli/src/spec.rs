//! `gpt spec`: prints the declaration of the model that a file describes.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::Args;
use gpt_runtime::__private::plan::Spec;
use gpt_runtime::weights;

use crate::hub;
use crate::models;
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt spec run
  gpt spec run --json")]
pub struct Arguments {
    /// A config.json, a GGUF, safetensors, or a folder with them
    #[arg(value_name = "FILE", value_parser = hub::path())]
    file: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// The model that a file describes, as a declaration.
#[derive(Clone)]
pub struct Declared {
    /// The name of the type.
    pub name: String,
    /// The keys, in lines of at most 92 columns.
    pub keys: String,
    pub spec: Spec,
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "gpt_model! {{\n    pub struct {} {{", self.name)?;
        for line in self.keys.lines() {
            writeln!(f, "        {line}")?;
        }
        f.write_str("    }\n}")
    }
}

/// The declaration of the model that `file` describes. The spec is not checked.
///
/// # Errors
/// See [`weights::read_spec`].
pub fn declared(file: &Path) -> Result<Declared, Failure> {
    let spec = weights::read_spec(file)?;
    let name = type_name(&models::name_of_file(file));
    Ok(Declared { name, keys: gpt_codegen::declaration(&spec), spec })
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let model = declared(&arguments.file)?;
    for problem in gpt_codegen::check_spec(&model.spec) {
        eprintln!("note: {problem}");
    }
    match arguments.json {
        true => output::json(&serde_json::json!({ "spec": model.keys.replace('\n', " ") })),
        false => output::line(&mut output::stdout(), &model.to_string()),
    }
}

/// `SmolLM2-135M` becomes `SmolLM2135M`, and `llama.q4` becomes `LlamaQ4`.
fn type_name(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let capital = |word: &str| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + rest,
        None => String::new(),
    };
    let name: String = words.map(capital).collect();
    // `Self` is the only keyword that is written like a type.
    match name.starts_with(|c: char| c.is_ascii_alphabetic()) && name != "Self" {
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
        assert_eq!(type_name("self"), "ModelSelf");
    }
}
