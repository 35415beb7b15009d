//! Every shader is parsed and validated by naga before it becomes part of a program, with exactly the capabilities that its files need.

use gpt_plan::{Kernel, Plan};
use gpt_shaders::Source;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, SourceLocation};

/// What naga has against the kernels of `plan`, one sentence each. Kernels are independent, so all cores take part: this is most of
/// what an expansion costs.
pub fn validate_all(plan: &Plan) -> Vec<String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let kernels: Vec<&Kernel> = plan
        .kernels
        .iter()
        .chain(plan.training.kernels.iter())
        .collect();
    let share = kernels.len().div_ceil(threads).max(1);
    std::thread::scope(|scope| {
        let shares: Vec<_> = kernels
            .chunks(share)
            .map(|kernels| {
                scope.spawn(|| {
                    let errors = kernels.iter().filter_map(|kernel| validate(kernel).err());
                    errors.collect::<Vec<_>>()
                })
            })
            .collect();
        let errors = shares.into_iter().flat_map(|share| {
            share
                .join()
                .unwrap_or_else(|_| vec!["naga gave up on a kernel".to_owned()])
        });
        errors.collect()
    })
}

/// What naga has against `kernel`: the kernel, the line of the file under `shaders/`, and the reason.
pub fn validate(kernel: &Kernel) -> Result<(), String> {
    let text = kernel.wgsl();
    let fail = |location: Option<SourceLocation>, reason: String| {
        let place = location.map_or(String::new(), |l| {
            format!(" at {}", place(kernel, l.line_number as usize))
        });
        format!("the kernel `{}` is not valid{place}: {reason}", kernel.name)
    };
    let module = naga::front::wgsl::parse_str(&text)
        .map_err(|error| fail(error.location(&text), error.message().to_owned()))?;
    let mut validator = Validator::new(ValidationFlags::all(), capabilities(&kernel.parts));
    validator.validate(&module).map_err(|error| {
        let mut reason = error.as_inner().to_string();
        let mut source = std::error::Error::source(error.as_inner());
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        // The smallest piece of text that naga points at says most.
        let spans = error.spans().map(|(span, _)| *span);
        let smallest = spans
            .filter(naga::Span::is_defined)
            .min_by_key(|span| span.to_range().map_or(0, |range| range.len()));
        fail(smallest.map(|span| span.location(&text)), reason)
    })?;
    within_limits(&module).map_err(|reason| fail(None, reason))
}

/// The limits that every adapter of WebGPU has.
const WORKGROUP_MEMORY: u32 = 16_384;
const INVOCATIONS: u32 = 256;
const STORAGE_BUFFERS: usize = 8;

/// Whether the shader would run on an adapter that has no more than it must.
fn within_limits(module: &naga::Module) -> Result<(), String> {
    let memory: u32 = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx()))
        .sum();
    let storage = module
        .global_variables
        .iter()
        .filter(|(_, variable)| matches!(variable.space, AddressSpace::Storage { .. }))
        .count();
    let invocations = module
        .entry_points
        .iter()
        .map(|e| e.workgroup_size.iter().product());
    let invocations: u32 = invocations.max().unwrap_or(0);
    if memory > WORKGROUP_MEMORY {
        return Err(format!(
            "it takes {memory} bytes of workgroup memory, more than {WORKGROUP_MEMORY}"
        ));
    }
    if storage > STORAGE_BUFFERS {
        return Err(format!(
            "it binds {storage} storage buffers, more than {STORAGE_BUFFERS}"
        ));
    }
    if invocations > INVOCATIONS {
        return Err(format!(
            "its workgroups have {invocations} invocations, more than {INVOCATIONS}"
        ));
    }
    Ok(())
}

/// What these files need beyond plain arithmetic. Halves unpacked to f32 belong to core WebGPU, but not to every old driver.
fn capabilities(parts: &[&'static Source]) -> Capabilities {
    let has = |files: &[&'static Source]| parts.iter().any(|part| files.contains(part));
    let mut needs = Capabilities::empty();
    needs.set(
        Capabilities::SHADER_FLOAT16_IN_FLOAT32,
        has(&[&gpt_shaders::WEIGHT_F16, &gpt_shaders::WEIGHT_Q4]),
    );
    needs.set(
        Capabilities::SHADER_FLOAT16,
        has(&[&gpt_shaders::TRAIN_OPERANDS_F16]),
    );
    needs
}

/// Where line `line` of the whole shader (counted from 1) was written: a file and line under `shaders/`, or the header.
fn place(kernel: &Kernel, line: usize) -> String {
    let lines = |text: &str| text.matches('\n').count();
    let mut start = lines(&kernel.header);
    if line <= start {
        return format!("line {line} of its header");
    }
    for part in kernel.parts.iter() {
        let [title, essay, body] = Kernel::sections(part);
        start += lines(&title) + lines(&essay);
        if line <= start + lines(&body) {
            let within = line.saturating_sub(start + 1);
            return format!("shaders/wgsl/{}:{}", part.name, part.body_line() + within);
        }
        start += lines(&body);
    }
    format!("line {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_valid_alone() {
        for source in gpt_shaders::ALL {
            let module = match naga::front::wgsl::parse_str(source.text) {
                Ok(module) => module,
                Err(error) => panic!("{}: {}", source.name, error.emit_to_string(source.text)),
            };
            let mut validator = Validator::new(ValidationFlags::all(), capabilities(&[source]));
            if let Err(error) = validator.validate(&module) {
                panic!("{}: {}", source.name, error.emit_to_string(source.text));
            }
        }
    }

    #[test]
    fn a_complaint_names_the_kernel_and_the_line_in_the_file() {
        static BROKEN: gpt_shaders::Source = gpt_shaders::Source {
            name: "broken.wgsl",
            text: "const A: u32 = 1u;\n// ---- end of parameters ----\n\nfn f() -> u32 {\n    return A + 1.5;\n}\n",
        };
        let kernel = |header: &'static str, parts| Kernel {
            name: "qkv_decode_f32".into(),
            header: header.into(),
            parts,
            workgroup: 1,
            tile_rows: 1,
            groups: 1,
        };
        let parts = vec![&gpt_shaders::RUN, &BROKEN];
        let error = validate(&kernel("const A: u32 = 1u;\n", parts.into())).unwrap_err();
        assert!(
            error.starts_with(
                "the kernel `qkv_decode_f32` is not valid at shaders/wgsl/broken.wgsl:5: "
            ),
            "{error}"
        );
        let large = "var<workgroup> w: array<vec4<f32>, 1025>;\n@compute @workgroup_size(1)\nfn main() { w[0] = vec4<f32>(1.0); }\n";
        let error = validate(&kernel(large, Vec::new().into())).unwrap_err();
        assert!(
            error.ends_with("it takes 16400 bytes of workgroup memory, more than 16384"),
            "{error}"
        );
        let error = validate(&kernel("const A: u32 = 1.5;\n", Vec::new().into())).unwrap_err();
        assert!(error.contains("at line 1 of its header"), "{error}");
    }
}
