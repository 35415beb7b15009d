//! `gpt convert`: writes a model's weights in another container or format.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::Format;
use gpt_runtime::Tokenizer;
use gpt_runtime::weights::{self, save, save_config, save_gguf};

use crate::options::{self, ModelArgument, TokenizerArgument};
use crate::output::Failure;

#[derive(Args)]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Safetensors (a file, the index of a sharded model, or its folder) or GGUF
    #[arg(long, value_name = "FILE")]
    weights: PathBuf,
    #[command(flatten)]
    tokenizer: TokenizerArgument,
    /// The file to write, .gguf or .safetensors; safetensors are f32, with config.json beside them
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Format of the matrices in a GGUF [default: f32]
    #[arg(long, value_name = "TYPE", value_parser = options::format)]
    dtype: Option<Format>,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = (arguments.model.model.plan)();
    let (from, to) = (&arguments.weights, &arguments.out);
    let opened = weights::open(from, plan, Some(Format::F32))?;
    let tokenizer = match &arguments.tokenizer.tokenizer {
        Some(path) => Some(Tokenizer::from_path(path)?),
        None => Tokenizer::beside(from, opened.gguf())?,
    };
    match (to.extension().and_then(|e| e.to_str()), arguments.dtype) {
        (Some("gguf"), dtype) => {
            let format = dtype.unwrap_or(Format::F32);
            save_gguf(to, plan, &opened, format, tokenizer.as_ref())?;
        }
        (Some("safetensors"), None | Some(Format::F32)) => {
            save(to, plan, &opened)?;
            save_config(&to.with_file_name("config.json"), plan)?;
            if let Some(tokenizer) = tokenizer {
                tokenizer.save(&to.with_file_name("tokenizer.json"))?;
            }
        }
        (Some("safetensors"), Some(_)) => {
            return Err(Failure::Input(
                "safetensors are written in f32; remove --dtype, or name a .gguf".to_owned(),
            ));
        }
        _ => {
            return Err(Failure::Input(format!(
                "{} ends neither in .gguf nor in .safetensors",
                to.display()
            )));
        }
    }
    eprintln!("wrote {}", to.display());
    Ok(())
}
