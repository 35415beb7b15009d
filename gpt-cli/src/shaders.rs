//! `gpt shaders`: writes a model's WGSL to files.

use std::path::PathBuf;

use clap::Args;
use gpt_runtime::__private::plan::{Feature, Features};
use gpt_runtime::__private::shaders;
use gpt_runtime::Error;

use crate::options::ModelArgument;
use crate::output::{self, Failure};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt shaders --model gpt2 --out wgsl
  gpt shaders --out wgsl --features subgroups --web --json")]
#[command(mut_arg("model", |model| model.help("A model built into gpt [default: bard]")))]
pub struct Arguments {
    #[command(flatten)]
    model: ModelArgument,
    /// The folder to write to, created if necessary
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also writes the variants of these features [default: all; with --web, all that browsers
    /// have]
    #[arg(long, value_name = "LIST", value_parser = features)]
    features: Option<Features>,
    /// Adds the directives that browsers require
    #[arg(long)]
    web: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

fn features(names: &str) -> Result<Features, String> {
    Features::parse(names).ok_or_else(|| {
        format!("expected names from this list, separated by commas: {}", Features::ALL.names())
    })
}

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = arguments.model.choose(None)?.plan;
    let io = |doing, path: &PathBuf| {
        let path = path.clone();
        move |source| Error::Io { doing, path, source }
    };
    std::fs::create_dir_all(&arguments.out).map_err(io("create the folder", &arguments.out))?;
    let features = arguments.features.unwrap_or(match arguments.web {
        // Browsers have no cooperative matrices.
        true => Features::ALL.without(Feature::CooperativeMatrices),
        false => Features::ALL,
    });
    let link = if arguments.web { shaders::link_for_web } else { shaders::link };
    let mut files = Vec::new();
    let plain = plan.kernels.iter().chain(plan.training.kernels.iter());
    let variants: Vec<_> = plain.clone().filter_map(|k| shaders::variant(k, features)).collect();
    for kernel in plain.chain(&variants) {
        let path = arguments.out.join(format!("{}.wgsl", kernel.name));
        std::fs::write(&path, link(kernel)).map_err(io("write", &path))?;
        files.push(path.display().to_string());
    }
    if arguments.json {
        return output::json(&serde_json::json!({ "files": files }));
    }
    let text = format!("{} kernels of {} in {}", files.len(), plan.name, arguments.out.display());
    output::line(&mut output::stdout(), &text)
}
