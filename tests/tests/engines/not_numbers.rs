//! NaN and infinities in weights are errors that name the tensor, on both engines.

use gpt_plan::{Component, Format, Role, TensorId};
use gpt_runtime::weights::{self, HostTensor, Weights};
use gpt_runtime::{Device, Error, LoadOptions, Model, Sampling, Stop, Untyped};
use gpt_tests::unit_gain::UnitGain;
use gpt_tests::{gpu, specs};

/// Weights with `value` as the fourth element of a tensor.
struct Broken {
    weights: UnitGain,
    tensor: TensorId,
    value: f32,
}

impl Weights for Broken {
    fn tensor(&self, id: TensorId, layer: u32) -> Result<HostTensor<'_>, Error> {
        let mut tensor = self.weights.tensor(id, layer)?;
        if id == self.tensor {
            tensor.data.to_mut()[12..16].copy_from_slice(&self.value.to_le_bytes());
        }
        Ok(tensor)
    }

    fn format(&self, id: TensorId, layer: u32) -> Format {
        self.weights.format(id, layer)
    }
}

fn broken(role: Role, value: f32) -> (&'static gpt_plan::Plan, Broken) {
    let plan = specs::plan("Broken", &specs::gpt2());
    let is = |t: &gpt_plan::Tensor| t.role == role && t.component == Component::Weight;
    let tensor = TensorId(plan.tensors.iter().position(is).unwrap() as u16);
    (plan, Broken { weights: UnitGain::new(plan, 3, Format::F32), tensor, value })
}

#[test]
fn a_model_says_where_it_has_no_numbers() {
    for (role, value, what) in [
        (Role::FinalNorm, f32::NAN, "final_norm.gamma has a NaN"),
        (Role::MlpUp, f32::INFINITY, "mlp.up.weight of layer 0 has an infinity"),
    ] {
        let (plan, weights) = broken(role, value);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        weights::save(&path, plan, &weights).unwrap();
        for device in gpu::devices() {
            let model = Model::<Untyped>::load_plan(plan, &path, &device, &LoadOptions::default());
            let model = model.unwrap();
            let mut session = model.session().all_logits().open().unwrap();
            let mut errors = Vec::new();
            errors.extend(session.push(&[1, 2]).map(drop).err());
            session.truncate(0);
            errors.extend(session.each_logits(&[1, 2], |_, _| {}).err());
            session.truncate(0);
            errors.extend(session.hidden(&[1, 2]).map(drop).err());
            session.truncate(0);
            errors.extend(session.observe(&[1, 2]).map(drop).err());
            session.truncate(0);
            let generation = session.generate_tokens(&[1, 2], Sampling::default(), Stop::default());
            errors.extend(generation.map(drop).err());
            assert_eq!(errors.len(), 5, "{what} on {}", device.name());
            for error in errors {
                assert!(matches!(error, Error::Diverged(_)), "{error}");
                assert!(error.to_string().ends_with(what), "{what}: {error}");
                assert!(error.to_string().contains("are not finite"), "{error}");
            }
        }
    }
}

/// A conversion neither hides nor spreads values that are not finite.
#[test]
fn conversions_refuse_what_a_format_cannot_hold() {
    let folder = tempfile::tempdir().unwrap();
    let (safetensors, gguf) = (folder.path().join("m.safetensors"), folder.path().join("m.gguf"));
    for (value, what) in
        [(f32::NAN, "a NaN"), (f32::INFINITY, "an infinity"), (1e30, "the value 1e30")]
    {
        let (plan, weights) = broken(Role::MlpUp, value);
        weights::save(&safetensors, plan, &weights).unwrap();
        let file = weights::open(&safetensors, plan, None).unwrap();
        for format in Format::ALL.into_iter().filter(|format| !format.is_k_quant()) {
            let holds = format == Format::F32 || (format == Format::Bf16 && value == 1e30);
            let expected = format!("mlp.up.weight of layer 0 has {what} in column 3, which");
            let saved = weights::save_gguf(&gguf, plan, &file, format, None).map(drop);
            let opened = weights::open(&safetensors, plan, Some(format)).unwrap();
            let loaded = Model::<Untyped>::from_plan(plan, &opened, &Device::cpu().unwrap());
            for result in [saved, loaded.map(drop)] {
                match result {
                    Ok(()) => assert!(holds, "{format:?} {what}"),
                    Err(error) => {
                        assert!(!holds, "{format:?}: {error}");
                        assert!(error.to_string().starts_with(&expected), "{error}");
                    }
                }
            }
        }
    }
}
