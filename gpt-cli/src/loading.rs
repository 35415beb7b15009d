//! Progress of loading a model: a bar on a terminal, after a second.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gpt_runtime::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// The time before the bar appears. Most models load faster.
const PATIENCE: Duration = Duration::from_secs(1);

/// The callback of [`LoadOptions`](gpt_runtime::LoadOptions).
pub fn bar() -> Progress {
    let start = Instant::now();
    let bar = OnceLock::new();
    Progress::new(move |done, total| {
        if start.elapsed() < PATIENCE {
            return;
        }
        let bar = bar.get_or_init(|| shown(total));
        bar.set_position(done);
        if done == total {
            bar.finish_and_clear();
        }
    })
}

fn shown(total: u64) -> ProgressBar {
    let template = "loading {bar:30} {bytes} of {total_bytes}";
    let style = ProgressStyle::with_template(template).expect("the template is valid");
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr())
        .with_style(style)
        .with_finish(ProgressFinish::AndClear)
}
