//! Checks whether a run fits in memory before it starts.

use gpt_plan::{Plan, TrainBytes, TrainShape};

use super::average;
use crate::Error;
use crate::device::{Device, EngineRef};
use crate::error::counted;

/// Bytes of main memory that are available now, from `/proc/meminfo`; none on systems other than
/// Linux.
pub fn available() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn parse(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Rejects a run that exceeds the available main memory, on a device that uses main memory. A
/// hardware GPU has its own memory; its driver reports an allocation that fails. `average` says
/// whether there is an average of the parameters, too.
pub(super) fn check(
    device: &Device,
    plan: &Plan,
    shape: &TrainShape,
    average: bool,
) -> Result<(), Error> {
    let in_main_memory = match device.engine() {
        EngineRef::Cpu(_) => true,
        EngineRef::Gpu(gpu) => gpu.is_software(),
    };
    match available() {
        Some(available) if in_main_memory => {
            let mut bytes = plan.train_bytes(shape);
            if average {
                bytes.parameters = bytes.parameters.saturating_add(average::bytes(plan));
            }
            fits(bytes, available, plan, shape)
        }
        _ => Ok(()),
    }
}

fn fits(bytes: TrainBytes, available: u64, plan: &Plan, shape: &TrainShape) -> Result<(), Error> {
    if bytes.total() <= available {
        return Ok(());
    }
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    let way_out = if shape.recompute.is_block() {
        "take fewer or shorter sequences at once"
    } else {
        "take fewer or shorter sequences at once, or recompute blocks"
    };
    let message = format!(
        "training {} on {} of {} at once takes {:.2} GiB ({:.2} of them for activations), and {:.2} GiB are free on this machine; {way_out}",
        plan.name,
        counted(shape.batch as usize, "sequence"),
        counted(shape.tokens as usize, "token"),
        gib(bytes.total()),
        gib(bytes.activations),
        gib(available)
    );
    Err(Error::OutOfMemory { message, bytes: bytes.total() })
}

#[cfg(test)]
mod tests {
    use gpt_plan::Recompute;

    use super::*;
    use crate::weights::testing;

    #[test]
    fn too_large_a_run_is_rejected() {
        let plan = testing::gpt2();
        let shape = TrainShape { batch: 4, tokens: 16, recompute: Recompute::Nothing };
        let bytes = plan.train_bytes(&shape);
        assert!(fits(bytes, bytes.total(), plan, &shape).is_ok());
        let error = fits(bytes, bytes.total() - 1, plan, &shape).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("4 sequences of 16 tokens"), "{message}");
        assert!(message.contains("recompute blocks"), "{message}");
    }

    #[test]
    fn batches_of_nothing_and_of_more_than_any_machine() {
        let plan = testing::gpt2();
        let total = |batch, tokens| {
            plan.train_bytes(&TrainShape { batch, tokens, recompute: Recompute::Nothing }).total()
        };
        assert_eq!(total(0, 16), total(16, 0));
        assert!(total(0, 16) < total(1, 1));
        assert_eq!(total(u32::MAX, u32::MAX), u64::MAX);
    }

    #[test]
    fn what_linux_says() {
        let text = "MemTotal:       16 kB\nMemFree:  1 kB\nMemAvailable:   12 kB\n";
        assert_eq!(parse(text), Some(12 * 1024));
        assert_eq!(parse("MemTotal: 16 kB\n"), None);
    }
}
