//! Compares logits of small models with Hugging Face's transformers in f64 (written by
//! fixtures/transformers_models.py).

use std::path::Path;

use gpt_runtime::{Device, DeviceKind, DeviceOptions, Gpt, Model};
use gpt_tests::compare::nmse;
use gpt_tests::gpu;

use crate::{Gpt1, Gpt2, Llama};

fn check<M: Gpt>(name: &str, bounds: [f64; 2]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    let expected = std::fs::read_to_string(folder.join("expected.json")).unwrap();
    let expected: serde_json::Value = serde_json::from_str(&expected).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
    };
    let ids: Vec<u32> = numbers(&expected["ids"]).into_iter().map(|x| x as u32).collect();
    let rows = expected["logits"].as_array().unwrap();
    let expected: Vec<f64> = rows.iter().flat_map(&numbers).collect();

    let mut devices = vec![(Device::cpu().unwrap(), bounds[0])];
    if gpu::device().is_some() {
        let options = DeviceOptions { kind: DeviceKind::Gpu, ..DeviceOptions::default() };
        devices.push((Device::open(&options).unwrap(), bounds[1]));
    }
    for (device, bound) in devices {
        let model = Model::<M>::load(&folder, &device).unwrap();
        let mut logits = Vec::new();
        let mut session = model.session().all_logits().open().unwrap();
        session.each_logits(&ids, |_, row| logits.extend_from_slice(row)).unwrap();
        let error = nmse(&logits, &expected);
        assert!(error < bound, "{name} on {}: NMSE {error:e}", device.name());
    }
}

#[test]
fn gpt2() {
    check::<Gpt2>("gpt2", [1e-11, 1e-10]);
}

#[test]
fn gpt1() {
    check::<Gpt1>("gpt1", [1e-11, 1e-10]);
}

/// transformers computes rotary angles in f32.
#[test]
fn llama() {
    check::<Llama>("llama", [1e-9, 1e-9]);
}

/// One message lists all mismatches and names the file.
#[test]
fn a_file_of_another_model() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/llama");
    let error = Model::<Gpt2>::load(folder, &Device::cpu().unwrap()).map(drop);
    let message = error.unwrap_err().to_string();
    for part in ["llama", "layers.{0-1}.self_attn.q_proj.weight", "wte.weight"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
}
