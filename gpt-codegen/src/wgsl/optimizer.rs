//! The optimizer, whose kernels depend on no size of a model.

use gpt_plan::{ADAMW, GRADIENT_NORM, Grid};
use gpt_shaders::files;

use super::training::{SUM_WORKGROUP, Tiling, TrainKernels};

/// Workgroups that sum the squares of the gradients.
const NORM_GROUPS: u32 = 256;

impl TrainKernels<'_> {
    pub(super) fn optimizer(&mut self) {
        let tiling = |groups, grid| Tiling { grid, workgroup: SUM_WORKGROUP, rows: 1, groups };
        let header = self.header("the optimizer step");
        let elements = tiling(1, Grid::Elements(SUM_WORKGROUP));
        self.add(ADAMW, header, vec![files::OPTIMIZER_ADAMW], elements);
        let mut header = self.header("the norm of the gradients");
        let doc = "invocations of a workgroup";
        header.size("WORKGROUP_SIZE", SUM_WORKGROUP, doc);
        let files = vec![
            files::SHARED_SUM_SCRATCH,
            files::SHARED_SUM_MEMORY,
            files::OPTIMIZER_GRADIENT_NORM,
        ];
        let fixed = tiling(NORM_GROUPS, Grid::Fixed);
        self.add(GRADIENT_NORM, header, files, fixed);
    }
}
