//! The book's reference of keys is the compiler's table. The pages of the repository and the book
//! must fit together: links lead to files, WGSL is what the compiler generates, and every Rust
//! block is tested.

use std::path::{Path, PathBuf};

use gpt_codegen::keys::reference;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The pages in Markdown, relative to the root: in the root, in published crates, and in the book.
fn pages() -> Vec<PathBuf> {
    let names = [
        "README",
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "SECURITY",
        "gpt-cli/README",
        "gpt-codegen/README",
        "gpt-config/README",
        "gpt-macros/README",
        "gpt-plan/README",
        "gpt-runtime/README",
        "shaders/README",
    ];
    let mut pages: Vec<PathBuf> = names.map(|n| format!("{n}.md").into()).to_vec();
    for folder in ["docs/src", "docs/src/decisions"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name();
            if Path::new(&name).extension().is_some_and(|e| e == "md") {
                pages.push(Path::new(folder).join(name));
            }
        }
    }
    pages.sort();
    pages
}

/// The fenced blocks of a page whose info string begins with `language`.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            continue;
        };
        let text: Vec<&str> = lines.by_ref().take_while(|l| *l != "```").collect();
        if info.split(' ').next() == Some(language) {
            blocks.push(text.join("\n"));
        }
    }
    blocks
}

/// The lines of a page outside fenced blocks.
fn prose(page: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    page.lines().enumerate().filter(move |(_, line)| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    })
}

#[test]
fn the_book_has_the_table_of_keys() {
    assert!(
        read("docs/src/spec.md").contains(&reference()),
        "docs/src/spec.md has to contain this table:\n\n{}",
        reference()
    );
}

#[test]
fn the_readme_is_short() {
    assert!(read("README.md").lines().count() <= 150);
}

#[test]
fn lines_have_at_most_100_columns() {
    let mut long = Vec::new();
    for page in pages() {
        for (number, line) in prose(&read(&page)) {
            // Tables, pictures and lists of links cannot be wrapped.
            let whole = ["|", "![", "<", "- [", "  - ["].iter().any(|s| line.starts_with(s));
            if line.chars().count() > 100 && !whole {
                long.push(format!("{}:{}", page.display(), number + 1));
            }
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

/// The targets of the links and pictures of a line.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let images = line.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next());
    links.chain(images)
}

#[test]
fn links_lead_to_files() {
    let mut broken = Vec::new();
    let mut count = 0;
    for page in pages() {
        let folder = root().join(page.parent().unwrap());
        for (number, line) in prose(&read(&page)) {
            for target in targets(line) {
                let file = target.split('#').next().unwrap();
                if file.is_empty() || file.contains("://") {
                    continue;
                }
                count += 1;
                if !folder.join(file).exists() {
                    broken.push(format!("{}:{}: {target}", page.display(), number + 1));
                }
            }
        }
    }
    assert!(count > 100, "only {count} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Paths in the prose exist, such as `cpu/ops/matmul` of the runtime. Those in the tables of
/// ARCHITECTURE.md are left out, because files may have moved since the commits that it names.
#[test]
fn named_files_exist() {
    let folders = ["", "gpt-runtime/src", "shaders/wgsl", "gpt-cli", "tests", "benches", "docs"];
    let extensions = ["", ".rs", ".wgsl"];
    let exists = |name: &str| {
        folders.iter().any(|folder| {
            let file = |extension| root().join(folder).join(format!("{name}{extension}"));
            extensions.iter().any(|extension| file(extension).exists())
        })
    };
    let is_path = |name: &&str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/_-.".contains(c);
        name.contains('/') && name.chars().all(plain) && !name.starts_with(['/', '-', '.'])
    };
    let (mut missing, mut count) = (Vec::new(), 0);
    for page in pages() {
        let costs = page == Path::new("ARCHITECTURE.md");
        for (number, line) in prose(&read(&page)) {
            if costs && line.starts_with('|') {
                continue;
            }
            for name in line.split('`').skip(1).step_by(2).filter(is_path) {
                count += 1;
                if !exists(name) && !name.starts_with("target/") {
                    missing.push(format!("{}:{}: {name}", page.display(), number + 1));
                }
            }
        }
    }
    assert!(count > 30, "only {count} paths were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn the_summary_lists_every_page_of_the_book() {
    let summary = read("docs/src/SUMMARY.md");
    let listed: Vec<&str> = summary.lines().flat_map(targets).collect();
    let decisions = read("docs/src/decisions/README.md");
    for page in pages() {
        let Ok(page) = page.strip_prefix("docs/src") else {
            continue;
        };
        let name = page.to_str().unwrap().replace('\\', "/");
        assert!(name == "SUMMARY.md" || listed.contains(&&*name), "{name}");
        if let Some(decision) = name.strip_prefix("decisions/") {
            let indexed = decision == "README.md" || decisions.contains(&format!("({decision})"));
            assert!(indexed, "{name} is not in the index of decisions");
        }
    }
}

#[test]
fn every_rust_block_is_a_doctest() {
    let tested = read("tests/src/book.rs");
    for page in pages() {
        if !blocks(&read(&page), "rust").is_empty() {
            let name = page.to_str().unwrap().replace('\\', "/");
            assert!(tested.contains(&format!("\"{name}\"")), "{name} is not in book.rs");
        }
    }
}

/// The shaders of every model that a page declares, linked.
fn shaders(page: &str) -> Vec<String> {
    let mut shaders = Vec::new();
    for block in blocks(page, "rust") {
        let Some(at) = block.find("gpt_model! {") else {
            continue;
        };
        let body = &block[at + "gpt_model! {".len()..];
        let body = &body[..body.find("\n}").expect("the end of the invocation")];
        let tokens = body.parse().expect("tokens of Rust");
        for (name, spec) in gpt_codegen::specs(tokens).expect("valid specs") {
            let plan = gpt_codegen::plan::plan(&name, &spec);
            let kernels = plan.kernels.iter().chain(plan.training.kernels.iter());
            shaders.extend(kernels.map(gpt_runtime::__private::shaders::link));
        }
    }
    shaders
}

#[test]
fn wgsl_in_the_documentation_is_generated() {
    let mut count = 0;
    for page in pages() {
        let text = read(&page);
        let quoted = blocks(&text, "wgsl");
        if quoted.is_empty() {
            continue;
        }
        let shaders = shaders(&text);
        for block in quoted {
            count += 1;
            // `// ...` stands for lines that are left out.
            let parts: Vec<&str> = block.split("// ...\n").collect();
            let generated = shaders.iter().any(|s| parts.iter().all(|part| s.contains(part)));
            assert!(generated, "{}: no shader has\n{block}", page.display());
        }
    }
    assert!(count >= 5, "only {count} blocks were found");
}

/// Messages about an unknown architecture refer to the table of this page.
#[test]
fn the_page_of_weights_lists_every_architecture() {
    let page = read("docs/src/weights.md");
    let row = |start: &str| page.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    let of_config = row("| `config.json` | ");
    for model_type in gpt_config::model_types() {
        assert!(of_config.contains(&format!("`{model_type}`")), "{model_type}");
    }
    let of_gguf = row("| GGUF | ");
    for architecture in gpt_config::architectures() {
        assert!(of_gguf.contains(&format!("`{architecture}`")), "{architecture}");
    }
}
