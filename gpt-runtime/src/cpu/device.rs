//! The processor: its instruction set, its threads.

use std::sync::Mutex;

use super::gemm::ThreadScratch;
use super::pool::Pool;
use super::simd::{Isa, Kernels};
use crate::Error;

/// The CPU engine's device: a pool of threads, what each of them works on, and the kernels of one instruction set.
pub struct CpuDevice {
    pub(super) pool: Pool,
    pub(super) kernels: &'static Kernels,
    /// One for each thread; a lock is never contended, as a thread takes its own.
    pub(super) thread_scratch: Vec<Mutex<ThreadScratch>>,
}

/// Threads beyond which a request is a mistake.
const MAX_THREADS: usize = 1024;
/// Numbers of processors beyond which a list is none of Linux's.
const MAX_CPUS: usize = 1 << 16;

impl CpuDevice {
    /// The best instruction set of this processor, with `threads` threads or as many as it has physical cores.
    pub fn new(threads: Option<usize>) -> Result<CpuDevice, Error> {
        CpuDevice::with_isa(Isa::available()[0], threads)
    }

    /// A set of one's choice, for tests and comparisons.
    pub fn with_isa(isa: Isa, threads: Option<usize>) -> Result<CpuDevice, Error> {
        let kernels = isa
            .kernels()
            .ok_or_else(|| Error::device(format!("this processor has no {}", isa.name())))?;
        let threads = threads.unwrap_or_else(physical_cores);
        if threads == 0 || threads > MAX_THREADS {
            return Err(Error::Input(format!(
                "{threads} threads were asked for; it takes 1 to {MAX_THREADS}"
            )));
        }
        let pool = Pool::new(threads).map_err(|error| {
            Error::device(format!(
                "cannot start {threads} threads: {error}; ask for fewer"
            ))
            .caused_by(error)
        })?;
        Ok(CpuDevice {
            thread_scratch: (0..threads).map(|_| ThreadScratch::new()).collect(),
            pool,
            kernels,
        })
    }

    /// The instruction set whose kernels run.
    pub fn isa(&self) -> Isa {
        self.kernels.isa
    }

    /// Processor, instruction set and threads.
    pub fn describe(&self) -> String {
        let threads = self.pool.threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!(
            "{}, {}, {threads} thread{plural}",
            processor(),
            self.kernels.isa.name()
        )
    }
}

/// Cores available to the process: no more than its control group lets it use, and of those that it may run on. Two hyperthreads of a core share its
/// arithmetic units, which one keeps busy.
fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, |n| n.get());
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let siblings = |cpu: usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        std::fs::read_to_string(path).ok()
    };
    let allowed = allowed.map_or_else(Vec::new, numbers);
    let mut cores: Vec<String> = allowed.into_iter().filter_map(siblings).collect();
    cores.sort();
    cores.dedup();
    if cores.is_empty() {
        logical
    } else {
        logical.min(cores.len())
    }
}

/// The numbers of a list like `0-2,7`, as Linux writes it.
fn numbers(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?.min(MAX_CPUS))
    });
    ranges.flatten().collect()
}

/// What the operating system calls the processor, or its architecture.
fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name"));
    match model.and_then(|line| line.split_once(':')) {
        Some((_, name)) => name.trim().to_owned(),
        None => std::env::consts::ARCH.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert_eq!(numbers("\t0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(numbers("5"), [5]);
        assert_eq!(numbers(""), [0usize; 0]);
        assert_eq!(numbers("x-3,4"), [4]);
    }

    #[test]
    fn no_more_threads_than_the_process_may_use() {
        let cores = physical_cores();
        assert!(cores >= 1);
        assert!(cores <= std::thread::available_parallelism().unwrap().get());
    }
}
