//! One kernel in two forms, and the first of them once more.

use gpt_runtime::plan::Kernel;
use wgpu::{Buffer, BufferUsages};

use super::Gpu;
use super::kernel::{Bound, Sizes};
use crate::versus::{Form, Forms};

/// Most that an output of the dynamic form may differ from that of the specialised one, relative to the greatest of all: compilers may contract
/// multiplications and additions differently.
const CLOSE: f32 = 1e-4;

impl Gpu {
    /// A kernel, its rival, and the kernel once more.
    ///
    /// # Panics
    /// If the two do not compute the same.
    pub fn forms(&self, kernel: &Kernel, sizes: &Sizes) -> Forms<'_> {
        let specialised = Bound::specialised(self, kernel, sizes);
        let dynamic = Bound::dynamic(self, kernel, sizes);
        self.agree(&kernel.name, &specialised, &dynamic);
        let control = Bound::specialised(self, kernel, sizes);
        let form = |bound: Bound| -> Form<'_> {
            Box::new(move |n| self.time(|pass| bound.record(pass, n)))
        };
        Forms {
            specialised: form(specialised),
            dynamic: form(dynamic),
            control: form(control),
        }
    }

    /// Runs both once, on buffers that no one has written to, and compares what they wrote.
    fn agree(&self, name: &str, one: &Bound, other: &Bound) {
        for bound in [one, other] {
            self.time(|pass| bound.record(pass, 1));
        }
        for ((what, one), (_, other)) in one.outputs.iter().zip(&other.outputs) {
            let (one, other) = (self.content(one), self.content(other));
            let greatest = one.iter().fold(0.0f32, |most, x| most.max(x.abs()));
            let wrong = one.iter().zip(&other).position(|(a, b)| {
                let difference = (a - b).abs();
                // Not a number is not close to anything.
                difference.is_nan() || difference > CLOSE * greatest
            });
            if let Some(at) = wrong {
                panic!(
                    "{name}: its rival wrote {} to {what}[{at}], and not {}",
                    other[at], one[at]
                );
            }
        }
    }

    /// All of a buffer, as f32.
    fn content(&self, buffer: &Buffer) -> Vec<f32> {
        let back = self.buffer(
            buffer.size(),
            BufferUsages::MAP_READ | BufferUsages::COPY_DST,
        );
        let mut encoder = self.device.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(buffer, 0, &back, 0, buffer.size());
        self.queue.submit([encoder.finish()]);
        bytemuck::pod_collect_to_vec(&self.read(&back, buffer.size()))
    }
}
