//! The map of logits and the cross entropy.

use gpt_plan::{BufferId, Formula, LogitMap};
use gpt_shaders::files;

use super::header::{Files, Header};
use super::training::{Tiling, TrainKernels};
use crate::formula;

/// Invocations that share a row of logits.
const WORKGROUP: u32 = 256;

/// Adds the function that turns a product of the head into a logit.
pub fn logit_map(map: Option<&LogitMap>, header: &mut Header, files: &mut Files) {
    match map {
        Some(map) => {
            let text = formula::wgsl("logit", &map.value);
            header.function("logit", "A logit from a product of the head.", &text);
        }
        None => files.push(files::LOSS_LOGIT_PRODUCT),
    }
}

impl TrainKernels<'_> {
    /// The loss, and the gradient of the products that became logits.
    pub(super) fn cross_entropy(&mut self, slope: Option<&Formula>) -> u16 {
        let logits = self.buffer(BufferId::Logits);
        let mut header = self.header("the loss, and the gradient of the logits");
        header.size("VOCAB", logits.width, "tokens");
        header.size("VOCAB_STRIDE", logits.stride, "stride of a row of logits");
        header.size("WORKGROUP_SIZE", WORKGROUP, "invocations of a workgroup");
        let mut files = vec![
            files::SHARED_ENTRY_PLAIN,
            files::SHARED_TRAIN_PASS,
            files::SHARED_SUM_SCRATCH,
            files::SHARED_SUM_MEMORY,
            files::SHARED_MAXIMUM_MEMORY,
            files::LOSS_CROSS_ENTROPY,
        ];
        match slope {
            Some(slope) => {
                let doc = "The derivative of a logit with respect to its product.";
                let text = formula::wgsl("logit_slope", slope);
                header.function("logit_slope", doc, &text);
            }
            None => files.push(files::LOSS_SLOPE_ONE),
        }
        let tiling = Tiling { workgroup: WORKGROUP, ..self.row() };
        self.add("cross_entropy", header, files, tiling)
    }
}
