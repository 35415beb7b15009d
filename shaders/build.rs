//! Generates the list of all files below `wgsl/`, so that a new file needs no entry in a table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by Cargo")).join("wgsl");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut paths = Vec::new();
    list(&root, &mut paths);
    let name = |path: PathBuf| {
        let name = path.strip_prefix(&root).expect("below the root");
        let name = name.to_str().expect("names are ASCII").replace('\\', "/");
        (name.trim_end_matches(".wgsl").to_owned(), path)
    };
    let mut files: Vec<(String, PathBuf)> = paths.into_iter().map(name).collect();
    files.sort();

    let mut names = String::new();
    let mut table = String::new();
    for (name, path) in &files {
        let constant = name.replace('/', "_").to_uppercase();
        writeln!(names, "/// `{name}.wgsl`").unwrap();
        writeln!(names, "pub const {constant}: &str = {name:?};").unwrap();
        let text = format!("include_str!({path:?})");
        writeln!(table, "Source {{ name: {name:?}, text: {text} }},").unwrap();
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by Cargo"));
    fs::write(out.join("names.rs"), names).expect("OUT_DIR is writable");
    fs::write(out.join("sources.rs"), format!("&[\n{table}]")).expect("OUT_DIR is writable");
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "wgsl") {
            files.push(path);
        }
    }
}
