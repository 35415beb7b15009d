//! A kernel in two forms, specialised and dynamic, and the first again as a control.

use gpt_runtime::__private::plan::Kernel;
use wgpu::{Buffer, BufferUsages};

use super::Gpu;
use super::kernel::{Bound, Sizes};
use crate::versus::{Form, Forms};

/// The largest difference of an output between the two forms, relative to the greatest output: a
/// compiler may contract multiplications and additions differently.
const CLOSE: f32 = 1e-4;

impl Gpu {
    /// Creates the specialised form of a kernel, its dynamic form, and the specialised form again.
    ///
    /// # Panics
    /// If the outputs of the two forms differ.
    pub fn forms(&self, kernel: &Kernel, sizes: &Sizes) -> Forms<'_> {
        let specialised = Bound::specialised(self, kernel, sizes);
        let dynamic = Bound::dynamic(self, kernel, sizes);
        self.agree(&kernel.name, &specialised, &dynamic);
        let control = Bound::specialised(self, kernel, sizes);
        let form = |bound: Bound| -> Form<'_> {
            Box::new(move |n| self.time(|pass| bound.record(pass, n)))
        };
        Forms { specialised: form(specialised), dynamic: form(dynamic), control: form(control) }
    }

    /// Runs both once, on fresh buffers, and compares their outputs.
    fn agree(&self, name: &str, one: &Bound, other: &Bound) {
        for bound in [one, other] {
            self.time(|pass| bound.record(pass, 1));
        }
        for ((what, one), (_, other)) in one.outputs.iter().zip(&other.outputs) {
            let (one, other) = (self.content(one), self.content(other));
            let greatest = one.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let wrong = one.iter().zip(&other).position(|(a, b)| {
                let difference = (a - b).abs();
                // NaN is never close.
                difference.is_nan() || difference > CLOSE * greatest
            });
            if let Some(at) = wrong {
                panic!(
                    "{name}: its dynamic form wrote {} to {what}[{at}] instead of {}",
                    other[at], one[at]
                );
            }
        }
    }

    /// The content of a whole buffer, as f32.
    fn content(&self, buffer: &Buffer) -> Vec<f32> {
        let back = self.buffer(buffer.size(), BufferUsages::MAP_READ | BufferUsages::COPY_DST);
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &back, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        bytemuck::pod_collect_to_vec(&self.read(&back, buffer.size()))
    }
}

#[cfg(test)]
mod tests {
    use gpt_runtime::Format;
    use gpt_runtime::Gpt as _;

    use super::*;
    use crate::gpu::{inference, training};
    use crate::{Bard, Nano};

    /// The GPU, if there is one. Without one, panics if `GPT_REQUIRE_GPU=1` is set.
    fn gpu() -> Option<Gpu> {
        let required = std::env::var("GPT_REQUIRE_GPU").is_ok_and(|v| v != "0" && !v.is_empty());
        match Gpu::open() {
            Ok(gpu) => Some(gpu),
            Err(error) => {
                assert!(!required, "GPT_REQUIRE_GPU is set, but {error}");
                eprintln!("NOT RUN, as there is no GPU: {error}");
                None
            }
        }
    }

    /// Fails if the forms of the kernel write different outputs.
    fn check(gpu: &Gpu, kernel: &Kernel, sizes: &Sizes) {
        let specialised = Bound::specialised(gpu, kernel, sizes);
        gpu.agree(&kernel.name, &specialised, &Bound::dynamic(gpu, kernel, sizes));
    }

    /// Checks steps of a training pass of `nano`.
    fn check_training(steps: &[&str]) {
        let Some(gpu) = gpu() else { return };
        let shape = training::Shape { sequences: 2, tokens: 16 };
        for step in steps {
            let job = training::step(Nano::plan(), step, 0, shape);
            check(&gpu, job.kernel, &job.sizes);
        }
    }

    // Several tests, so that no core is idle while a driver compiles their kernels.

    #[test]
    fn both_forms_of_inference_compute_the_same() {
        let Some(gpu) = gpu() else { return };
        let steps = ["qkv", "attention", "attention_out", "mlp_up", "mlp_down", "head"];
        for (step, format) in steps.into_iter().zip([Format::F32, Format::Q4].into_iter().cycle()) {
            for (rows, position) in [(1, 40), (17, 5)] {
                let job = inference::step(Bard::plan(), step, format, rows, position);
                check(&gpu, job.kernel, &job.sizes);
            }
        }
    }

    #[test]
    fn both_forms_of_a_training_step_compute_the_same() {
        check_training(&["attn_norm", "qkv", "qkv_input", "qkv_weight", "attention", "mlp_up"]);
    }

    #[test]
    fn both_forms_of_the_head_and_of_adamw_compute_the_same() {
        check_training(&["mlp_down_input", "head", "cross_entropy", "head_input", "head_weight"]);
        let Some(gpu) = gpu() else { return };
        let job = training::adamw(Nano::plan(), 1 << 12);
        check(&gpu, job.kernel, &job.sizes);
    }

    #[test]
    #[should_panic(expected = "its dynamic form wrote")]
    fn forms_that_differ_are_refused() {
        let Some(gpu) = gpu() else {
            panic!("its dynamic form wrote nothing, as there is no GPU");
        };
        let job = inference::step(Bard::plan(), "attention", Format::F32, 1, 40);
        let specialised = Bound::specialised(&gpu, job.kernel, &job.sizes);
        let mut wrong = job.kernel.clone();
        let header = wrong.header.replace("GROUP: u32 = 1u", "GROUP: u32 = 2u");
        assert_ne!(header, wrong.header);
        wrong.header = header.into();
        gpu.agree("attention", &specialised, &Bound::dynamic(&gpu, &wrong, &job.sizes));
    }
}
