//! The files of the GPU engine in the user's cache folder. Damaged ones are ignored.

use gpt_runtime::__private::gpu::{checksum, read_pipelines, read_tuning};

use crate::Target;

/// Compiled pipelines. A damaged file has a wrong checksum; the driver checks the rest.
pub const PIPELINES: Target = Target {
    name: "pipeline_cache",
    seeds: || {
        let data = b"WGPUPLCH and pipelines of a driver";
        let sum = checksum(data.iter().copied()).to_le_bytes();
        vec![[&b"gptpipe1"[..], &sum, data].concat()]
    },
    words: &["gptpipe1"],
    check: |place, input| {
        let path = place.write("pipelines.bin", input);
        match read_pipelines(&path) {
            Some(file) if file != input => Err("another file was read".to_owned()),
            file => Ok(file.is_some()),
        }
    },
};

/// The variants of kernels that were measured to be the fastest.
pub const TUNING: Target = Target {
    name: "tuning_cache",
    seeds: || {
        let file = r#"{"version":1,"adapter":"a GPU, driver 1","kernels":[{"kernel":"mlp_up_decode_f32","checksum":"00c0ffee00c0ffee","features":"subgroups"},{"kernel":"head","checksum":"1","features":"none"},{"kernel":"qkv","checksum":"2","features":"subgroups, double_buffers"}]}"#;
        vec![file.as_bytes().to_vec()]
    },
    words: &["subgroups", "double_buffers", "packed_dot", "f16", "none", ", "],
    check: |place, input| {
        let path = place.write("tuned.json", input);
        Ok(read_tuning(&path).is_some())
    },
};
