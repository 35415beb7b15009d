//! The bindings of a kernel, read off the declarations in its files.
//!
//! Plans are made far more often than their kernels are validated (almost every test makes some),
//! so the declarations are found in the text of each file, once. naga parses every kernel when a
//! model is expanded, and [`check`] then compares its global variables with this list.

use std::cell::RefCell;
use std::collections::HashMap;

use gpt_plan::{Access, Binding, Kernel, List, Operand};
use gpt_shaders::source;
use naga::{AddressSpace, GlobalVariable, StorageAccess};

thread_local! {
    /// The bindings of each file that was read, by the file's name.
    static READ: RefCell<HashMap<&'static str, Vec<Binding>>> = RefCell::default();
}

/// The bindings that `files` declare, by group and binding. A variable whose name or whose
/// declaration is not understood is left out, which [`check`] reports.
pub fn bindings(files: &[&'static str]) -> List<Binding> {
    let mut all = Vec::new();
    READ.with_borrow_mut(|read| {
        for &file in files {
            let own = read.entry(file).or_insert_with(|| {
                let lines = source(file).map_or("", |file| file.text).lines();
                lines.filter_map(declaration).collect()
            });
            all.extend_from_slice(own);
        }
    });
    all.sort_unstable();
    all.dedup();
    all.into()
}

/// `@group(0) @binding(2) var<storage, read_write> h: array<f32>;`
fn declaration(line: &str) -> Option<Binding> {
    let (group, rest) = line.strip_prefix("@group(")?.split_once(") @binding(")?;
    let (binding, rest) = rest.split_once(") var")?;
    let (access, rest) = match rest.strip_prefix('<') {
        Some(rest) => rest.split_once("> ")?,
        None => ("", rest.strip_prefix(' ')?),
    };
    let access = match access {
        "uniform" => Access::Uniform,
        "storage, read" | "storage" => Access::Read,
        "storage, read_write" => Access::ReadWrite,
        "" => Access::Texture,
        _ => return None,
    };
    let operand = Operand::named(rest.split_once(':')?.0)?;
    let (group, binding) = (group.parse().ok()?, binding.parse().ok()?);
    Some(Binding::new(group, binding, operand, access))
}

/// Whether `kernel` lists exactly the bindings that `module` declares.
pub fn check(kernel: &Kernel, module: &naga::Module) -> Result<(), String> {
    let mut declared = module
        .global_variables
        .iter()
        .filter_map(|(_, variable)| of_naga(variable).transpose())
        .collect::<Result<Vec<_>, _>>()?;
    declared.sort_unstable();
    if *declared == *kernel.bindings {
        return Ok(());
    }
    Err(format!(
        "its files declare the bindings {declared:?}, and the plan has {:?}",
        kernel.bindings
    ))
}

/// The binding of a global variable, if it is bound.
fn of_naga(variable: &GlobalVariable) -> Result<Option<Binding>, String> {
    let Some(at) = variable.binding else {
        return Ok(None);
    };
    let name = variable.name.as_deref().unwrap_or_default();
    let operand = Operand::named(name)
        .ok_or_else(|| format!("its variable `{name}` is not an operand of `gpt_plan::Operand`"))?;
    let access = match variable.space {
        AddressSpace::Uniform => Access::Uniform,
        AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => {
            Access::ReadWrite
        }
        AddressSpace::Storage { .. } => Access::Read,
        _ => Access::Texture,
    };
    Ok(Some(Binding::new(at.group, at.binding, operand, access)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_read_as_naga_reads_them() {
        for source in gpt_shaders::sources::SOURCES {
            for line in source.text.lines().filter(|l| l.starts_with("@group(")) {
                assert!(declaration(line).is_some(), "{}: {line}", source.name);
            }
        }
        let read = |line| declaration(line);
        assert_eq!(
            read("@group(1) @binding(3) var<storage, read> weight_2: array<u32>;"),
            Some(Binding::new(1, 3, Operand::Weight(2), Access::Read))
        );
        assert_eq!(
            read("@group(1) @binding(1) var weight_texture: Texels;"),
            Some(Binding::new(1, 1, Operand::Weight(0), Access::Texture))
        );
        assert_eq!(read("@group(0) @binding(0) var<uniform> nothing: Run;"), None);
    }

    #[test]
    fn a_different_list_is_rejected() {
        let kernel = |text: &'static str, bindings: Vec<Binding>| {
            let module = naga::front::wgsl::parse_str(text).unwrap();
            let kernel =
                Kernel { bindings: bindings.into(), ..Kernel::new("some", "", Vec::new()) };
            check(&kernel, &module)
        };
        let text = "@group(0) @binding(2) var<storage, read_write> h: array<f32>;";
        let right = Binding::new(0, 2, Operand::H, Access::ReadWrite);
        assert_eq!(kernel(text, vec![right]), Ok(()));
        for wrong in [
            vec![],
            vec![right, right],
            vec![Binding::new(0, 2, Operand::H, Access::Read)],
            vec![Binding::new(0, 1, Operand::H, Access::ReadWrite)],
            vec![Binding::new(0, 2, Operand::Q, Access::ReadWrite)],
        ] {
            let error = kernel(text, wrong).unwrap_err();
            assert!(error.starts_with("its files declare the bindings [Binding"));
        }
        let text = "@group(0) @binding(2) var<storage> nothing: array<f32>;";
        let error = kernel(text, vec![]).unwrap_err();
        assert_eq!(error, "its variable `nothing` is not an operand of `gpt_plan::Operand`");
    }
}
