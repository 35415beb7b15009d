//! `gpt shaders`: writes a model's WGSL to files.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::plan::Features;
use gpt_runtime::__private::shaders;
use gpt_runtime::Error;

use crate::options::ModelArgument;
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt shaders --model gpt2 --out wgsl
  gpt shaders --out wgsl --json")]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// The folder to write to, created if necessary
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = arguments.model.choose(None)?.plan;
    let io = |doing, path: &PathBuf| {
        let path = path.clone();
        move |source| Error::Io { doing, path, source }
    };
    std::fs::create_dir_all(&arguments.out).map_err(io("create the folder", &arguments.out))?;
    let mut files = Vec::new();
    let variants = plan.kernels.iter();
    let variants: Vec<_> = variants.filter_map(|k| shaders::variant(k, Features::ALL)).collect();
    for kernel in plan.kernels.iter().chain(&variants) {
        let path = arguments.out.join(format!("{}.wgsl", kernel.name));
        std::fs::write(&path, shaders::link(kernel)).map_err(io("write", &path))?;
        files.push(path.display().to_string());
    }
    if arguments.json {
        return output::json(&serde_json::json!({ "files": files }));
    }
    let text = format!("{} kernels of {} in {}", files.len(), plan.name, arguments.out.display());
    output::line(&mut output::stdout(), &text)
}
