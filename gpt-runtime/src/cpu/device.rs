//! The processor: its instruction set and its threads.

use std::num::NonZero;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::pool::Pool;
use super::scratch::ThreadScratch;
use crate::Error;
use gpt_simd::{Isa, Kernels};

/// The CPU engine's device: a pool of threads, their scratch memory, and the kernels of one
/// instruction set.
pub struct CpuDevice {
    pub(super) pool: Pool,
    pub(super) kernels: &'static Kernels,
    /// One for each thread, which takes its own. A lock is contended only if two sessions that run
    /// at the same time use the same thread number.
    thread_scratch: Vec<Mutex<ThreadScratch>>,
}

/// Rows in a task of [`CpuDevice::each_row`]. A single row takes less time than its transfer to
/// another thread.
const ROWS: usize = 8;
/// The largest number of threads that can be requested.
const MAX_THREADS: usize = 1024;
/// The largest CPU number at which a range in a list may end.
const MAX_CPUS: usize = 1 << 16;

impl CpuDevice {
    /// Opens this processor with its best instruction set, and with `threads` threads, or by
    /// default one for each core that the process may use.
    ///
    /// # Errors
    /// Fails if `threads` is 0 or too large, or if the system cannot start so many threads.
    pub fn new(threads: Option<usize>) -> Result<CpuDevice, Error> {
        CpuDevice::with_isa(Isa::available()[0], threads)
    }

    /// Like [`new`](Self::new) with a given instruction set, for tests and self-tests.
    ///
    /// # Errors
    /// See [`new`](Self::new). Also fails if the processor does not have the instruction set.
    pub fn with_isa(isa: Isa, threads: Option<usize>) -> Result<CpuDevice, Error> {
        let kernels = isa
            .kernels()
            .ok_or_else(|| Error::device(format!("this processor has no {}", isa.name())))?;
        let threads = threads.unwrap_or_else(physical_cores);
        if threads == 0 || threads > MAX_THREADS {
            return Err(Error::Input(format!(
                "{threads} threads were requested; the engine takes 1 to {MAX_THREADS}"
            )));
        }
        let pool = Pool::new(threads).map_err(|error| {
            Error::device(format!("cannot start {threads} threads: {error}; ask for fewer"))
                .caused_by(error)
        })?;
        Ok(CpuDevice {
            thread_scratch: (0..threads).map(|_| Mutex::new(ThreadScratch::new())).collect(),
            pool,
            kernels,
        })
    }

    /// The scratch memory of a thread. During a step, only tasks that run on this thread lock it.
    pub(super) fn scratch(&self, thread: usize) -> MutexGuard<'_, ThreadScratch> {
        self.thread_scratch[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `f` for each of `rows` rows, on all threads, with a few rows in each task.
    pub(super) fn each_row(&self, rows: usize, f: impl Fn(usize) + Sync) {
        self.pool.run(rows.div_ceil(ROWS), &|task, _| {
            (task * ROWS..((task + 1) * ROWS).min(rows)).for_each(&f)
        });
    }

    /// The instruction set whose kernels run.
    pub fn isa(&self) -> Isa {
        self.kernels.isa
    }

    /// The processor's name, the instruction set and the number of threads, for people.
    pub fn describe(&self) -> String {
        let threads = self.pool.threads();
        let plural = if threads == 1 { "" } else { "s" };
        format!("{}, {}, {threads} thread{plural}", processor(), self.kernels.isa.name())
    }
}

/// The number of physical cores that the process may run on, limited by its control group. Two
/// hyperthreads share a core's arithmetic units, and one thread keeps them busy. Where Linux does
/// not list the cores, and on other systems, this is the number of logical processors.
fn physical_cores() -> usize {
    let logical = std::thread::available_parallelism().map_or(1, NonZero::get);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let siblings = |cpu: usize| {
        let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/core_cpus_list");
        std::fs::read_to_string(path).ok()
    };
    let allowed = allowed.map_or_else(Vec::new, numbers);
    let mut cores: Vec<String> = allowed.into_iter().filter_map(siblings).collect();
    cores.sort();
    cores.dedup();
    if cores.is_empty() { logical } else { logical.min(cores.len()) }
}

/// The numbers in a list such as `0-2,7`, as Linux writes it.
fn numbers(list: &str) -> Vec<usize> {
    let ranges = list.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse().ok()?..=last.parse::<usize>().ok()?.min(MAX_CPUS))
    });
    ranges.flatten().collect()
}

/// The processor's name as Linux gives it; elsewhere, or if it is unknown, the architecture.
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
