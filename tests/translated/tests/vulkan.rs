//! Every kernel as SPIR-V, validated by `spirv-val` (Debian's `spirv-tools`) where it is installed.
//! `GPT_REQUIRE_SPIRV_VAL=1` makes its absence a failure.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use gpt_specs::{Cover, covering, odd};
use gpt_translated::{ENTRY, Parsed, UNCHECKED, built_in, kernels, on_all_cores, with_every_file};
use naga::back::spv;

/// A few kernels that have every file.
#[test]
fn every_file_is_valid_spirv() {
    let inference = covering(Cover::Files, |plan| &plan.kernels);
    let training = covering(Cover::Files, |plan| &plan.training.kernels);
    let all = kernels(inference.into_iter().chain(training));
    on_all_cores(&with_every_file(all), is_valid);
}

#[test]
#[ignore = "thousands of kernels"]
fn every_kernel_is_valid_spirv() {
    let odd = odd().into_iter().map(|(name, spec)| (name.to_owned(), spec));
    on_all_cores(&kernels(built_in().into_iter().chain(odd)), is_valid);
}

fn is_valid(kernel: &Parsed) -> Result<(), String> {
    // Subgroups need Vulkan 1.1, cooperative matrices the memory model of 1.2.
    let (version, environment) = match kernel.is_cooperative() {
        true => ((1, 6), "vulkan1.3"),
        false => ((1, 3), "vulkan1.1"),
    };
    let options = spv::Options {
        lang_version: version,
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: UNCHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        emit_int_div_checks: false,
        ..spv::Options::default()
    };
    let entry = spv::PipelineOptions { shader_stage: ENTRY.0, entry_point: ENTRY.1.to_owned() };
    let words = spv::write_vec(&kernel.module, &kernel.info, &options, Some(&entry))
        .map_err(|error| error.to_string())?;
    match has_validator() {
        true => validate(environment, &words),
        false => Ok(()),
    }
}

fn has_validator() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let found = Command::new("spirv-val").arg("--version").output().is_ok();
        let required = std::env::var("GPT_REQUIRE_SPIRV_VAL").is_ok_and(|value| value == "1");
        assert!(found || !required, "GPT_REQUIRE_SPIRV_VAL is set, but there is no spirv-val");
        if !found {
            eprintln!("NOT VALIDATED, as there is no spirv-val");
        }
        found
    })
}

fn validate(environment: &str, words: &[u32]) -> Result<(), String> {
    let mut validator = Command::new("spirv-val")
        .args(["--target-env", environment, "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let mut input = validator.stdin.take().expect("it is piped");
    input.write_all(&bytes).map_err(|error| error.to_string())?;
    drop(input);
    let output = validator.wait_with_output().map_err(|error| error.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    // Versions before 2023.4 do not know cooperative matrices.
    match output.status.success() || said.contains("Invalid capability operand: 6022") {
        true => Ok(()),
        false => Err(said.into()),
    }
}
