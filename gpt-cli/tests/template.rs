//! The template of a crate, and the crates that `gpt new` writes from it, build outside this
//! workspace.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Asserts that `cargo check` accepts a crate without a warning, with this workspace's
/// dependencies.
#[track_caller]
fn checks(folder: &Path) {
    // The versions of this workspace, which are downloaded already.
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    // The check uses this workspace's target folder and profile, so that dependencies that were
    // checked for the workspace are not checked again.
    let profile = Path::new(env!("CARGO_BIN_EXE_gpt")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .args(["--config", "profile.dev.debug = 'line-tables-only'"])
        .args(["--config", "profile.dev.package.'*'.debug = false"])
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", profile.parent().unwrap())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
}

fn gpt(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gpt"));
    command.args(arguments).stdin(Stdio::null()).current_dir(folder);
    command.output().expect("the binary runs")
}

/// Checks both crates in one test, because the second reuses the dependencies of the first.
#[test]
#[ignore = "builds all dependencies again; CI runs it"]
fn crates_build_outside_of_the_workspace() {
    let copy = tempfile::tempdir().unwrap();
    let template = workspace().join("templates/hello-gpt");
    fs::create_dir(copy.path().join("src")).unwrap();
    for file in ["Cargo.toml", "src/main.rs", "src/train.rs"] {
        fs::copy(template.join(file), copy.path().join(file)).unwrap();
    }
    let manifest = copy.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let path = workspace().join("gpt-runtime").display().to_string();
    let edited = text.replace("../../gpt-runtime", &path.replace('\\', "/"));
    assert_ne!(edited, text);
    fs::write(&manifest, edited).unwrap();
    checks(copy.path());

    let folder = tempfile::tempdir().unwrap();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tiny-llama.json");
    let from = ["--from", config.to_str().unwrap()];
    let path = ["--path", workspace().to_str().unwrap()];
    let output = gpt(folder.path(), &[&["new", "apps/tiny-llama"], &from[..], &path].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(errors.contains("next: cd apps/tiny-llama && cargo run"), "{errors}");
    checks(&folder.path().join("apps/tiny-llama"));
}

#[test]
fn a_crate_has_the_declaration_of_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tiny-llama.json");
    let written = |arguments: &[&str]| -> (PathBuf, String) {
        let output = gpt(folder, &[&["new"], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (folder.join(arguments[0]), String::from_utf8(output.stderr).unwrap())
    };
    let read = |path: &Path| fs::read_to_string(path).unwrap();

    let (poet, _) = written(&["poet", "--from", config]);
    let spec = gpt(folder, &["spec", config]).stdout;
    let program = read(&poet.join("src/main.rs"));
    assert!(program.contains(&String::from_utf8(spec).unwrap()), "{program}");
    let manifest = read(&poet.join("Cargo.toml"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(manifest.contains("name = \"poet\""), "{manifest}");
    assert!(manifest.contains(&format!("gpt-runtime = \"{version}\"")), "{manifest}");
    // Without weights, the README has a placeholder for their name.
    assert!(read(&poet.join("README.md")).contains("-- WEIGHTS \"Once upon a time\""));

    // A GGUF describes itself, and also has the weights.
    let bard = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/bard.gguf");
    let (bard_crate, message) = written(&["bard", "--from", bard]);
    assert!(read(&bard_crate.join("README.md")).contains("bard.gguf"));
    assert!(message.contains("bard.gguf \"Once upon a time\""), "{message}");
    assert!(read(&bard_crate.join("src/main.rs")).contains("pub struct Bard {"));

    fs::create_dir(folder.join("empty")).unwrap();
    written(&["empty", "--from", config]);
    for (arguments, message) in [
        (vec!["poet", "--from", config], "poet exists and is not an empty folder"),
        (vec!["fn", "--from", config], "\"fn\" cannot be the name of a crate"),
        (vec!["2d", "--from", config], "\"2d\" cannot be the name of a crate"),
        (vec!["new", "--from", "none.gguf"], "none.gguf"),
        (vec!["new", "--from", config, "--path", "poet"], "poet is not a clone"),
    ] {
        let output = gpt(folder, &[&["new"], &arguments[..]].concat());
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.starts_with("error: ") && errors.contains(message), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
    assert!(!folder.join("new").exists());
}
