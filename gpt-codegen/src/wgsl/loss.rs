//! The cross entropy.

use gpt_plan::BufferId;
use gpt_shaders::files;

use super::training::{Tiling, TrainKernels};

/// Invocations that share a row of logits.
const WORKGROUP: u32 = 256;

impl TrainKernels<'_> {
    /// The loss, and the gradient of the logits.
    pub(super) fn cross_entropy(&mut self) -> u16 {
        let logits = self.buffer(BufferId::Logits);
        let mut header = self.header("the loss, and the gradient of the logits");
        header.size("VOCAB", logits.width, "tokens");
        header.size("VOCAB_STRIDE", logits.stride, "stride of a row of logits");
        header.size("WORKGROUP_SIZE", WORKGROUP, "invocations of a workgroup");
        let parts = vec![
            files::SHARED_ENTRY_PLAIN,
            files::SHARED_TRAIN_PASS,
            files::SHARED_SUM_SCRATCH,
            files::SHARED_SUM_MEMORY,
            files::SHARED_MAXIMUM_MEMORY,
            files::LOSS_CROSS_ENTROPY,
        ];
        let tiling = Tiling {
            workgroup: WORKGROUP,
            ..self.row()
        };
        self.add("cross_entropy", header, parts, tiling)
    }
}
