//! `gpt convert`: writes a model's weights in another container or format.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::Format;
use gpt_runtime::Tokenizer;
use gpt_runtime::weights::{self, Recipe, save, save_config, save_gguf};

use crate::hub;
use crate::options::{self, ModelArgument, TokenizerArgument};
use crate::output::Failure;
use crate::progress::Watched;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt convert --model nano --weights run --out nano.gguf --dtype q8
  gpt convert --model nano --weights nano.gguf --out nano.safetensors")]
#[command(mut_arg("model", |model| {
    model.help("A model built into gpt [default: the model in --weights]")
}))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Safetensors (file, index or folder) or GGUF
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    weights: PathBuf,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// Output file: .gguf, or .safetensors (f32, with config.json)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[arg(long, value_name = "TYPE", value_parser = options::recipes(), hide_possible_values = true)]
    #[arg(help = format!("Format of matrices: {} [default: f32]", Recipe::names().join(", ")))]
    dtype: Option<Recipe>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = arguments.model.choose(Some(&arguments.weights))?.plan;
    let (from, to) = (&arguments.weights, &arguments.out);
    let opened = weights::open(from, plan, Some(Format::F32))?;
    let tokenizer = match &arguments.tokenizer.tokenizer {
        Some(path) => Some(Tokenizer::from_path(path)?),
        None => Tokenizer::of_weights(from, opened.gguf())?,
    };
    let watched = Watched::new(plan, &opened);
    let mut notes = Vec::new();
    match (to.extension().and_then(|e| e.to_str()), arguments.dtype) {
        (Some("gguf"), dtype) => {
            let recipe = dtype.unwrap_or(Format::F32.into());
            notes = save_gguf(to, plan, &watched, recipe, tokenizer.as_ref())?;
        }
        (Some("safetensors"), None | Some(Recipe::All(Format::F32))) => {
            save(to, plan, &watched)?;
            save_config(&to.with_file_name("config.json"), plan)?;
            if let Some(tokenizer) = tokenizer {
                tokenizer.save(&to.with_file_name("tokenizer.json"))?;
            }
        }
        (Some("safetensors"), Some(_)) => {
            return Err(Failure::Input(
                "safetensors are written in f32; remove --dtype, or name a .gguf file".to_owned(),
            ));
        }
        _ => {
            return Err(Failure::Input(format!(
                "{} ends neither in .gguf nor in .safetensors; name a file that does",
                to.display()
            )));
        }
    }
    drop(watched);
    for note in notes {
        eprintln!("note: {note}");
    }
    eprintln!("wrote {}", to.display());
    Ok(())
}
