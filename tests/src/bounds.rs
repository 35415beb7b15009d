//! Kernels that report an access beyond the end of an array: [`checked`] rewrites their WGSL so
//! that each index that is not a constant passes through a function, which compares it with the
//! length of the array. The arrays come from naga's types, and the text of an index from naga's
//! spans.

use std::sync::{Arc, Mutex, PoisonError};

use gpt_plan::Features;
use gpt_runtime::__private::gpu::GpuDevice;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{ArraySize, Expression, Handle, Module, ScalarKind, TypeInner};

use crate::gpu;

/// A device whose kernels check every index.
pub struct Checked {
    pub device: Arc<GpuDevice>,
    /// The accesses of all kernels that were compiled, by their numbers.
    accesses: Arc<Mutex<Vec<String>>>,
}

impl Checked {
    /// The adapter with the variants of `features`; none without an adapter.
    pub fn open(features: Features) -> Option<Checked> {
        gpu::device()?;
        let accesses: Arc<Mutex<Vec<String>>> = Arc::default();
        let of_kernels = accesses.clone();
        let rewrite = Box::new(move |text: &str| {
            let mut all = of_kernels.lock().unwrap_or_else(PoisonError::into_inner);
            checked(text, &mut all)
        });
        let device = GpuDevice::open_reporting(features, rewrite).unwrap();
        Some(Checked { device: Arc::new(device), accesses })
    }

    /// Asserts that all accesses stayed in their arrays. Returns the number of accesses that
    /// kernels have.
    #[track_caller]
    pub fn stayed(&self, what: &str) -> usize {
        let reports = self.device.reports().unwrap();
        let [within, beyond, index, length] = reports[..] else { panic!("{reports:?}") };
        let accesses = self.accesses.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(within, 1, "{what}: no index was checked");
        if beyond != 0 {
            let access = &accesses[beyond as usize - 1];
            panic!("{what}: index {index} of an array of {length}: {access}");
        }
        accesses.len()
    }
}

const REPORT: &str = "
@group(2) @binding(0) var<storage, read_write> reports_: array<u32>;

fn reach_(access: u32, index: u32, length: u32) -> u32 {
    if index < length {
        reports_[0] = 1u;
    } else {
        reports_[1] = access;
        reports_[2] = index;
        reports_[3] = length;
    }
    return index;
}

fn reach_signed_(access: u32, index: i32, length: u32) -> i32 {
    return i32(reach_(access, u32(index), length));
}
";

/// An access in the source. The text of its index is at `start..end`.
struct Access {
    start: usize,
    end: usize,
    signed: bool,
    length: String,
}

/// Returns the WGSL `text` with a check of every index that is not a constant, and appends a
/// description of each access to `accesses`.
pub fn checked(text: &str, accesses: &mut Vec<String>) -> String {
    let found = find(text);
    let title = text.lines().next().unwrap_or_default();
    // Insertions are made from the end, so that positions before them stay valid. At one position,
    // the end of an index comes before the start of another.
    let mut insertions = Vec::new();
    for access in &found {
        accesses.push(format!("{} in {title}", &text[access.start..access.end]));
        let function = if access.signed { "reach_signed_" } else { "reach_" };
        insertions.push((access.start, 1, format!("{function}({}u, ", accesses.len())));
        insertions.push((access.end, 0, format!(", {})", access.length)));
    }
    insertions.sort_by_key(|insertion| std::cmp::Reverse((insertion.0, insertion.1)));
    let mut rewritten = text.to_owned();
    for (at, _, inserted) in insertions {
        rewritten.insert_str(at, &inserted);
    }
    rewritten + REPORT
}

/// All accesses whose index is not a constant.
fn find(text: &str) -> Vec<Access> {
    let module = naga::front::wgsl::parse_str(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).unwrap();
    let entries = module.entry_points.iter().enumerate();
    let functions = module.functions.iter().map(|(handle, function)| (function, &info[handle]));
    let entries = entries.map(|(i, entry)| (&entry.function, info.get_entry_point(i)));
    let mut found: Vec<Access> = Vec::new();
    for (function, info) in functions.chain(entries) {
        let inner = |handle: Handle<Expression>| info[handle].ty.inner_with(&module.types);
        for (handle, expression) in function.expressions.iter() {
            let Expression::Access { base, index } = *expression else { continue };
            let span = function.expressions.get_span(handle).to_range().expect("a place");
            let of_access = &text[span.clone()];
            let open = opening(of_access).unwrap_or_else(|| panic!("`{of_access}` is no access"));
            let array = &of_access[..open];
            let length = length(&module, inner(base), array)
                .unwrap_or_else(|| panic!("`{array}` is no array: {:?}", inner(base)));
            found.push(Access {
                start: span.start + open + 1,
                end: span.end - 1,
                signed: inner(index).scalar_kind() == Some(ScalarKind::Sint),
                length,
            });
        }
    }
    found
}

/// The position of the bracket that the last bracket of `access` closes.
fn opening(access: &str) -> Option<usize> {
    if !access.ends_with(']') {
        return None;
    }
    let mut depth = 0;
    for (at, c) in access.char_indices().rev() {
        match c {
            ']' => depth += 1,
            '[' if depth == 1 => return Some(at),
            '[' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The length of the array, vector or matrix that `text` names, in WGSL.
fn length(module: &Module, inner: &TypeInner, text: &str) -> Option<String> {
    match *inner {
        TypeInner::Pointer { base, .. } => length(module, &module.types[base].inner, text),
        TypeInner::Array { size: ArraySize::Constant(length), .. } => Some(format!("{length}u")),
        TypeInner::Array { size: ArraySize::Dynamic, .. } => Some(format!("arrayLength(&{text})")),
        TypeInner::Vector { size, .. } | TypeInner::ValuePointer { size: Some(size), .. } => {
            Some(format!("{}u", size as u8))
        }
        TypeInner::Matrix { columns, .. } => Some(format!("{}u", columns as u8)),
        _ => None,
    }
}
