//! The linker: joins a kernel's header and files into one shader, and maps line numbers of the
//! shader to source files.

use gpt_plan::Kernel;

use crate::{Source, files, source};

/// Returns the shader: the header, then the files, each under a comment with its name.
///
/// # Panics
///
/// If the kernel names a file that does not exist; the compiler generates no such kernel.
pub fn link(kernel: &Kernel) -> String {
    let mut text = format!("{}{}", kernel.opening, kernel.header);
    for file in sources(kernel) {
        text.push_str(&title(file));
        text.push_str(file.text);
    }
    text
}

/// Returns the shader for a browser. If it uses subgroups, browsers require two directives:
/// `enable subgroups;`, which naga rejects, and one that turns off the uniformity check of subgroup
/// functions. The check would fail, although the calls are safe: all invocations of a workgroup
/// call the sums and maxima, and the eight neighbours that exchange values in a loop have the same
/// loop bounds.
///
/// # Panics
///
/// See [`link`].
pub fn link_for_web(kernel: &Kernel) -> String {
    let directives = match kernel.files.contains(&files::SHARED_ENTRY_SUBGROUPS) {
        true => "enable subgroups;\ndiagnostic(off, subgroup_uniformity);\n",
        false => "",
    };
    format!("{directives}{}", link(kernel))
}

/// The source of line `line` (from 1) of the linked shader: a line of a file under `shaders/`, or
/// of the header.
pub fn locate(kernel: &Kernel, line: usize) -> String {
    let lines = |text: &str| text.matches('\n').count();
    let mut start = lines(&kernel.opening) + lines(&kernel.header);
    if line <= start {
        return format!("line {line} of the header");
    }
    for file in sources(kernel) {
        start += lines(&title(file));
        let end = start + lines(file.text);
        if line <= end {
            let within = line.saturating_sub(start).max(1);
            return format!("shaders/wgsl/{}.wgsl:{within}", file.name);
        }
        start = end;
    }
    format!("line {line}")
}

fn sources(kernel: &Kernel) -> impl Iterator<Item = &'static Source> {
    let find = |name: &&'static str| {
        source(name).unwrap_or_else(|| panic!("`{}` names the missing file `{name}`", kernel.name))
    };
    kernel.files.iter().map(find)
}

fn title(file: &Source) -> String {
    format!("\n// ---- {}.wgsl ----\n\n", file.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_enables_subgroups() {
        let plain = Kernel::new("some", "// Title.\n", vec![files::SHARED_ENTRY_PLAIN]);
        assert_eq!(link_for_web(&plain), link(&plain));
        let kernel = Kernel::new("some", "// Title.\n", vec![files::SHARED_ENTRY_SUBGROUPS]);
        let text = link_for_web(&kernel);
        assert!(text.starts_with("enable subgroups;\n"), "{text}");
        assert!(text.ends_with(&link(&kernel)), "{text}");
    }

    /// [`link_for_web`] recognises kernels with subgroups by their entry point.
    #[test]
    fn files_with_subgroups_have_their_entry_point() {
        let code = |file: &Source| -> String {
            file.text.lines().filter(|line| !line.starts_with("//")).collect()
        };
        let uses = |file: &Source| code(file).contains("subgroup");
        let entry = (files::SHARED_ENTRY_PLAIN, files::SHARED_ENTRY_SUBGROUPS);
        for row in crate::variants::VARIANTS.iter() {
            let files = row.replaces.iter().map(|(_, to)| to).chain(&row.adds);
            if files.filter_map(|name| source(name)).any(uses) {
                assert!(row.replaces.contains(&entry), "{row:?}");
            }
        }
    }

    #[test]
    fn lines_map_back_to_files() {
        let header = "// Title.\n\nconst A: u32 = 1u;\n";
        let kernel = Kernel::new("some", header, vec![files::NORM_NONE, files::ROPE_NONE]);
        let text = link(&kernel);
        assert_eq!(locate(&kernel, 3), "line 3 of the header");
        for name in kernel.files.iter() {
            let file = source(name).unwrap();
            let start = text.find(file.text).expect("files are linked as they are");
            let first = text[..start].matches('\n').count() + 1;
            for (i, line) in file.text.lines().enumerate() {
                assert_eq!(text.lines().nth(first + i - 1), Some(line));
                let place = format!("shaders/wgsl/{name}.wgsl:{}", i + 1);
                assert_eq!(locate(&kernel, first + i), place);
            }
        }
    }
}
