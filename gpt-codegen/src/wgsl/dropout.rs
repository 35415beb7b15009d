//! Dropout.

use gpt_shaders::files;

use super::training::TrainKernels;

impl TrainKernels<'_> {
    /// The file that scales elements by dropout.
    pub(super) fn dropout_file(&self) -> &'static str {
        if self.spec.dropout > 0.0 { files::DROPOUT_MASK } else { files::DROPOUT_NONE }
    }

    /// The gradient through dropout.
    pub(super) fn dropout_backward(&mut self, scale: f64) -> u16 {
        let mut header = self.rows("a gradient through dropout");
        header.number("BRANCH_SCALE", scale, "factor of the branch");
        let files = vec![
            files::SHARED_ENTRY_ELEMENTS,
            files::SHARED_TRAIN_PASS,
            self.dropout_file(),
            files::DROPOUT_BACKWARD,
        ];
        self.add("dropout_backward", header, files, self.row())
    }
}
