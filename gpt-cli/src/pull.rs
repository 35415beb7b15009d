//! `gpt pull`: downloads a model from the Hugging Face hub.

use clap::Args;

use crate::hub::Name;
use crate::output::Failure;

#[derive(Args)]
#[command(after_help = "Examples:
  gpt pull HuggingFaceTB/SmolLM2-135M-Instruct
  gpt pull bartowski/SmolLM2-135M-Instruct-GGUF:Q8_0")]
pub struct Arguments {
    /// A model on the hub, or one of its files by part of its name
    #[arg(value_name = "ORG/REPO[:FILE]", value_parser = name)]
    name: Name,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

fn name(text: &str) -> Result<Name, String> {
    let example = "HuggingFaceTB/SmolLM2-135M";
    Name::parse(text).ok_or_else(|| format!("expected a name such as {example}"))
}

#[cfg(not(feature = "hub"))]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { name, json: _ } = arguments;
    Err(Failure::Input(format!(
        "this gpt was built without the feature hub; build it with `cargo build --release --features hub`, or download with `hf download {}`",
        name.repo
    )))
}

#[cfg(feature = "hub")]
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    use serde_json::json;

    use crate::hub::{Folder, Hub, Pulled, choose};
    use crate::output;
    use crate::progress::{Bar, Spinner};

    let name = &arguments.name;
    let hub = Hub::from_env()?;
    let folder = Folder::of(&name.repo)?;
    let spinner = Spinner::new(format!("reading the list of files of {}", name.repo));
    let listing = hub.list(name)?;
    drop(spinner);
    let files = choose(&name.repo, name.file.as_deref(), &listing.files).map_err(Failure::Input)?;
    let total = files.iter().map(|file| file.size).sum();
    let bar = Bar::new(total, "pulling {bar:30} {bytes} of {total_bytes}, {eta} left");
    let pulled = folder.pull(&hub, name, &listing, &files, &|done| bar.set(done));
    drop(bar);
    let Pulled { folder, kept } = pulled?;
    if arguments.json {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        return output::json(&json!({
            "path": folder, "commit": listing.commit, "files": names, "bytes": total, "kept": kept,
        }));
    }
    let (count, size) = (files.len(), output::bytes(total));
    let files = if count == 1 { "file" } else { "files" };
    eprintln!(
        "{name} is in the cache: {count} {files}, {size}, {} of it new",
        output::bytes(total - kept)
    );
    output::line(&mut output::stdout(), &folder.display().to_string())?;
    eprintln!("next: gpt generate --weights {name} --prompt TEXT");
    Ok(())
}
