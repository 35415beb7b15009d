//! `gpt new`: writes a crate with the model that a file describes.
//!
//! The crate is `templates/hello-gpt` of the repository, with another name and another model, and
//! without the lines that mention training.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use clap::Args;
use gpt_runtime::Error;

use crate::hub;
use crate::models;
use crate::output::Failure;
use crate::spec::{self, Declared};

#[derive(Args)]
#[command(after_help = "Examples:
  gpt new poet --from run
  gpt new apps/poet --from run/config.json")]
pub struct Arguments {
    /// The crate, a folder that does not exist yet or is empty
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// A config.json, a GGUF, safetensors, or a folder with them
    #[arg(long, value_name = "FILE", value_parser = hub::path())]
    from: PathBuf,
    /// A clone of gpt's repository to depend on [default: the published gpt-runtime]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

// The folder `assets/hello-gpt` has symbolic links to the template's files: a package contains no
// files outside its own folder, and no folders with a Cargo.toml.
const MANIFEST: &str = include_str!("../assets/hello-gpt/manifest.toml");
const README: &str = include_str!("../assets/hello-gpt/README.md");
const MAIN: &str = include_str!("../assets/hello-gpt/main.rs");
const _: () = assert!(
    MANIFEST.len() > 100 && README.len() > 100 && MAIN.len() > 100,
    "the symbolic links in assets/hello-gpt are text files; clone with `git -c core.symlinks=true`"
);

/// What is replaced in the template: the names of its crate and its model, and the weights and
/// prompt of its command.
const CRATE: &str = "hello-gpt";
const MODEL: &str = "Hello";
const RUN: &str = "model \"fn main\"";

pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments { folder, from, path } = arguments;
    let name = crate_name(folder)?;
    let model = spec::declared(from)?;
    models::check(from, &model.spec)?;
    let dependency = dependency(path.as_deref())?;
    let occupied = match fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_some(),
        Err(_) => folder.exists(),
    };
    if occupied {
        let folder = folder.display();
        return Err(Failure::Input(format!(
            "{folder} exists and is not an empty folder; name another"
        )));
    }
    let weights = weights_of(from).map_or("WEIGHTS".to_owned(), |path| quoted(&path));
    let files = [
        ("Cargo.toml", manifest(name, &dependency)),
        ("README.md", readme(name, &weights)),
        ("src/main.rs", program(&model)),
    ];
    let create = |path: &Path| fs::create_dir_all(path).map_err(error("create", path));
    create(&folder.join("src"))?;
    for (file, text) in files {
        let path = folder.join(file);
        fs::write(&path, text).map_err(error("write", &path))?;
    }
    let command = format!("cargo run --release -- {weights} \"{PROMPT}\"");
    eprintln!("wrote {0}; next: cd {0} && {command}", folder.display());
    Ok(())
}

/// The prompt of the commands in the README.
const PROMPT: &str = "Once upon a time";

fn error(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { doing, path, source }
}

/// Rust's keywords, which cargo refuses as names, and other names that it refuses. The crate must
/// not have the name of its dependency.
const REFUSED: &str = "abstract as async await become box break const continue crate do dyn else \
    enum extern false final fn for gen if impl in let loop macro match mod move mut override priv \
    pub ref return self static struct super trait true try type typeof unsafe unsized use virtual \
    where while yield alloc build core deps examples incremental proc_macro std test gpt_runtime";

/// The name of the crate in `folder`.
fn crate_name(folder: &Path) -> Result<&str, Failure> {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let name_of_crate = name.replace('-', "_");
    if !name.starts_with(|c: char| c.is_ascii_alphabetic())
        || !name.chars().all(allowed)
        || REFUSED.split(' ').any(|refused| refused == name_of_crate)
    {
        return Err(Failure::Input(format!(
            "{name:?} cannot be the name of a crate; use a letter, then letters, digits, - and _; keywords of Rust and names such as test are refused"
        )));
    }
    Ok(name)
}

/// The line of Cargo.toml that names the runtime: in the version of this program, or by its path in
/// a clone.
fn dependency(clone: Option<&Path>) -> Result<String, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let Some(clone) = clone else {
        return Ok(format!("gpt-runtime = \"{version}\""));
    };
    let runtime = clone.join("gpt-runtime");
    if !runtime.join("Cargo.toml").is_file() {
        return Err(Failure::Input(format!(
            "{} is not a clone of gpt's repository: it has no gpt-runtime/Cargo.toml",
            clone.display()
        )));
    }
    let runtime = absolute(&runtime).map_err(error("read", &runtime))?;
    // Slashes are valid in TOML strings and in Windows paths.
    let runtime = runtime.display().to_string().replace('\\', "/");
    Ok(format!("gpt-runtime = {{ path = {runtime:?} }}"))
}

/// The path of the weights: `from` itself, or the folder of the `config.json` that `from` names.
/// None if there are no weights.
fn weights_of(from: &Path) -> Option<PathBuf> {
    let path = absolute(from).ok()?;
    let is_config = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let path = if is_config { path.parent()?.to_owned() } else { path };
    let stored = |name: &str| path.join(name).is_file();
    let whole = ["model.safetensors", "model.safetensors.index.json"].into_iter().any(stored);
    (whole || path.is_file()).then_some(path)
}

/// Quotes a path for a shell of this system, unless it has only plain characters.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    if cfg!(windows) { quoted_for_windows(text) } else { quoted_for_unix(text) }
}

fn quoted_for_unix(text: String) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-:".contains(c));
    // Within quotes every character stands for itself, so a quote ends them, follows a backslash,
    // and begins them again.
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// In double quotes, which a path of Windows cannot contain; `cmd` does not know single ones.
fn quoted_for_windows(text: String) -> String {
    let plain = text.chars().all(|c| c.is_alphanumeric() || "/._-:\\".contains(c));
    if plain { text } else { format!("\"{text}\"") }
}

/// The template without its lines that mention training.
fn without_training(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.contains("train"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    text.replace("\n\n\n", "\n\n")
}

fn manifest(name: &str, dependency: &str) -> String {
    let mut text = String::new();
    for line in MANIFEST.lines().filter(|line| !line.starts_with("# The path of your clone")) {
        let line = if line.starts_with("gpt-runtime = ") { dependency } else { line };
        text.push_str(&line.replace(CRATE, name));
        text.push('\n');
    }
    text
}

fn readme(name: &str, weights: &str) -> String {
    let text = without_training(README).replace(CRATE, name);
    text.replace(RUN, &format!("{weights} \"{PROMPT}\""))
}

fn program(model: &Declared) -> String {
    let text = without_training(MAIN);
    let start = text.find("gpt_model! {").expect("the template declares a model");
    let len = text[start..].find("\n}\n").expect("the declaration ends") + 2;
    let (before, after) = (&text[..start], &text[start + len..]);
    // A type of the same name is imported.
    let taken = before.split(|c: char| !c.is_alphanumeric()).any(|word| word == model.name);
    let name = if taken { format!("{}Gpt", model.name) } else { model.name.clone() };
    let model = Declared { name, ..model.clone() };
    format!("{before}{model}{}", after.replace(MODEL, &model.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_crates() {
        for name in ["poet", "a-b_c2", "apps/Poet", "selfish"] {
            assert!(crate_name(Path::new(name)).is_ok(), "{name}");
        }
        for name in ["", "2d", "-a", "a b", "fn", "test", "gpt-runtime", "proc-macro", "ä", ".."] {
            assert!(crate_name(Path::new(name)).is_err(), "{name}");
        }
    }

    /// No name of the template is left, and a model with the name of an imported type is renamed.
    #[test]
    fn the_template_is_filled_in() {
        let model = |name: &str| Declared {
            name: name.to_owned(),
            keys: "vocab: 65,\nembed: 24".to_owned(),
            spec: Default::default(),
        };
        let text = program(&model("Poet"));
        assert!(text.contains("\n    pub struct Poet {\n        vocab: 65,\n        embed: 24\n"));
        assert!(text.contains("Poet::load(") && text.contains("Poet::CONTEXT"));
        let all = [text, readme("poet", "W"), manifest("poet", "gpt-runtime = \"1\"")].join("\n");
        for rest in ["train", "ello", "fn main\"", "path ="] {
            assert!(!all.contains(rest), "{rest}: {all}");
        }
        assert!(all.contains("poet W \"Once") && all.contains("name = \"poet\""));
        assert!(program(&model("Device")).contains("DeviceGpt::load"));
    }

    #[test]
    fn paths_are_quoted_for_shells() {
        assert_eq!(quoted(Path::new("/a/b-1.gguf")), "/a/b-1.gguf");
        let unix = |text: &str| quoted_for_unix(text.to_owned());
        assert_eq!(unix("a b"), "'a b'");
        assert_eq!(unix("it's"), r"'it'\''s'");
        assert_eq!(unix(r"a\b"), r"'a\b'");
        let windows = |text: &str| quoted_for_windows(text.to_owned());
        assert_eq!(windows(r"C:\a\b.gguf"), r"C:\a\b.gguf");
        assert_eq!(windows(r"C:\it's a\b"), r#""C:\it's a\b""#);
    }

    /// A POSIX shell reads a quoted path as the path.
    #[cfg(unix)]
    #[test]
    fn a_shell_reads_the_path() {
        for path in ["a b", "it's", "''", r"a\b", "$HOME `x` \"y\" *", "ü"] {
            let script = format!("printf %s {}", quoted(Path::new(path)));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), path);
        }
    }
}
