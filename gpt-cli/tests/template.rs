//! The template of a crate builds where a user copies it, outside of this workspace.

use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_template_builds_outside_of_the_workspace() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let template = workspace.join("templates/hello-gpt");
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("src")).unwrap();
    for file in ["Cargo.toml", "src/main.rs"] {
        fs::copy(template.join(file), copy.path().join(file)).unwrap();
    }
    // The versions of this workspace, which are downloaded already.
    fs::copy(workspace.join("Cargo.lock"), copy.path().join("Cargo.lock")).unwrap();
    let manifest = copy.path().join("Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    let path = workspace.join("gpt-runtime").display().to_string();
    let edited = text.replace("../../gpt-runtime", &path.replace('\\', "/"));
    assert_ne!(edited, text);
    fs::write(&manifest, edited).unwrap();
    // In the target folder and with the profile of this workspace, dependencies that were checked
    // there are not checked again.
    let profile = Path::new(env!("CARGO_BIN_EXE_gpt")).parent().unwrap();
    let output = Command::new(env!("CARGO"))
        .args(["check", "--offline", "--quiet"])
        .args(["--config", "profile.dev.debug = 'line-tables-only'"])
        .args(["--config", "profile.dev.package.'*'.debug = false"])
        .current_dir(copy.path())
        .env("CARGO_TARGET_DIR", profile.parent().unwrap())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors, "");
}
