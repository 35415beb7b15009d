//! Threads that live as long as the device, and mutable slices that their tasks share.
//!
//! A step of a forward pass takes tens of microseconds. Starting or waking threads for each step
//! would cost more than the work, so workers spin for a moment before they sleep. A job is cut into
//! tasks, and each thread has a range of neighbouring tasks that it takes one by one. A thread that
//! is done steals from the ends of other ranges, so an interrupted core does not delay the rest.
//!
//! Neighbouring tasks read neighbouring panels (32 rows of a matrix, stored together), so the data
//! that a thread prefetches at the end of one task is the start of its next. Two jobs with the same
//! number of tasks have the same ranges, so a thread finds the same rows and weights in its cache;
//! cores without a shared third-level cache would otherwise fetch them from each other.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use gpt_simd::prefetch;

use super::affinity::Sleeper;

/// Iterations of the waiting loop before a thread sleeps: tens of microseconds.
const SPINS: u32 = 4000;

/// A fixed set of threads that work on one job at a time.
pub struct Pool {
    shared: Arc<PoolState>,
    workers: Vec<JoinHandle<()>>,
    /// Held while workers run a job, so that jobs of two sessions exclude each other.
    exclusive: Mutex<()>,
}

/// A job, called with the number of a task and the number of the thread that runs it.
type Job = dyn Fn(usize, usize) + Sync;

struct PoolState {
    state: Mutex<RoundState>,
    wake: Condvar,
    /// The number of the current round. Each round runs one job. Workers wait for the number to
    /// change.
    round: AtomicUsize,
    /// The remaining tasks of each thread.
    remaining: Vec<CachePadded<TaskRange>>,
    /// Workers that have not finished the round.
    working: CachePadded<AtomicUsize>,
    panicked: AtomicBool,
    stop: AtomicBool,
}

/// A value in its own pair of cache lines, so that two threads never write to the same line.
/// Processors fetch lines in pairs.
#[repr(align(128))]
#[derive(Default)]
struct CachePadded<T>(T);

/// The remaining tasks of a thread. The thread takes them from the front; others steal from the
/// back. One word holds both ends and the low 16 bits of the round's number. If these bits are
/// those of an older round, no task of this round has been taken, so nothing is written when a
/// round starts.
#[derive(Default)]
struct TaskRange(AtomicU64);

/// Bits of each end in the word. The bits of the round are above both.
const END: u32 = 24;

/// The largest number of tasks of a job.
const MAX_TASKS: usize = (1 << END) - 1;

impl TaskRange {
    /// Takes a task if one remains. `whole` is the range with which its thread began the `round`.
    fn take(&self, round: usize, whole: Range<usize>, from_front: bool) -> Option<usize> {
        let tag = (round as u64) << (2 * END);
        let mut taken = None;
        let shorter = |word: u64| {
            let is_current = word >> (2 * END) == tag >> (2 * END);
            let ends = |word: u64| (word >> END & MAX_TASKS as u64, word & MAX_TASKS as u64);
            let (mut start, mut end) = match is_current {
                true => ends(word),
                false => (whole.start as u64, whole.end as u64),
            };
            taken = (start < end).then(|| {
                if from_front {
                    start += 1;
                    start - 1
                } else {
                    end -= 1;
                    end
                }
            });
            // An empty range is stored as well: an old word would match every 65,536th round.
            (taken.is_some() || !is_current).then_some(tag | start << END | end)
        };
        // `Relaxed` is enough: `round` and `working` order the memory that tasks read and write.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, shorter);
        taken.map(|task| task as usize)
    }

    /// Marks all tasks as taken.
    fn clear(&self, round: usize) {
        self.0.store((round as u64) << (2 * END), Ordering::Relaxed);
    }
}

/// State of a round, under a lock.
struct RoundState {
    /// The job of the current round; valid while `working` is not zero or the round's caller waits.
    job: Option<ErasedJob>,
    /// The workers that sleep. If there are none, `run` makes no system call to wake them.
    asleep: Vec<(usize, Sleeper)>,
}

/// A job with its lifetime erased.
#[derive(Clone, Copy)]
struct ErasedJob {
    job: *const Job,
    tasks: usize,
}

// SAFETY: the job is `Sync`, and `run` does not return before every worker is done with the
// pointer.
unsafe impl Send for ErasedJob {}

impl Pool {
    /// Starts a pool of `threads` threads. The caller of [`run`](Self::run) is one of them.
    pub fn new(threads: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(PoolState {
            state: Mutex::new(RoundState {
                job: None,
                asleep: Vec::with_capacity(threads.saturating_sub(1)),
            }),
            wake: Condvar::new(),
            round: AtomicUsize::new(0),
            remaining: (0..threads).map(|_| CachePadded::default()).collect(),
            working: CachePadded::default(),
            panicked: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        });
        let workers = (1..threads).map(|thread| {
            let shared = shared.clone();
            let name = format!("gpt-cpu-{thread}");
            std::thread::Builder::new().name(name).spawn(move || shared.serve(thread))
        });
        let workers = workers.collect::<Result<_, _>>()?;
        Ok(Pool { shared, workers, exclusive: Mutex::new(()) })
    }

    /// Number of threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `job(task, thread)` once for each task in `0..tasks`, on all threads, and returns when
    /// all tasks are done.
    ///
    /// # Panics
    /// Panics if a task panics, or if a pool of several threads is given 2^24 tasks or more.
    pub fn run(&self, tasks: usize, job: &(dyn Fn(usize, usize) + Sync)) {
        if tasks <= 1 || self.workers.is_empty() {
            (0..tasks).for_each(|task| job(task, 0));
            return;
        }
        assert!(tasks <= MAX_TASKS, "tasks of a job");
        // The mutex protects no data, so poisoning by a panic in a job is ignored.
        let _guard = self.exclusive.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The guard below waits until no worker can call the job
        // any more, even when this thread unwinds, so the reference outlives its last use.
        let job =
            unsafe { std::mem::transmute::<&(dyn Fn(usize, usize) + Sync), &'static Job>(job) };
        let asleep = {
            let mut state = shared.state.lock().expect("nothing panics under this lock");
            state.job = Some(ErasedJob { job, tasks });
            shared.working.0.store(self.workers.len(), Ordering::Relaxed);
            shared.round.fetch_add(1, Ordering::Release);
            // Keeps the workers off the CPU of this thread when they wake.
            state.asleep.iter().for_each(|(_, sleeper)| sleeper.wake_elsewhere());
            !state.asleep.is_empty()
        };
        if asleep {
            shared.wake.notify_all();
        }
        let guard = RoundGuard(shared);
        let round = shared.round.load(Ordering::Relaxed);
        shared.work(job, round, tasks, 0);
        drop(guard);
        assert!(
            !shared.panicked.swap(false, Ordering::Relaxed),
            "a task panicked on another thread"
        );
    }
}

/// Waits for the workers when it goes out of scope.
struct RoundGuard<'a>(&'a PoolState);

impl Drop for RoundGuard<'_> {
    fn drop(&mut self) {
        // After a panic on this thread, its remaining tasks must not run: mark them as taken.
        if std::thread::panicking() {
            let round = self.0.round.load(Ordering::Relaxed);
            self.0.remaining.iter().for_each(|range| range.0.clear(round));
        }
        let mut spins = 0u32;
        while self.0.working.0.load(Ordering::Acquire) != 0 {
            spins += 1;
            if spins < SPINS { std::hint::spin_loop() } else { std::thread::yield_now() }
        }
    }
}

impl PoolState {
    fn work(&self, job: &Job, round: usize, tasks: usize, thread: usize) {
        let threads = self.remaining.len();
        for owner in (thread..threads).chain(0..thread) {
            let whole = tasks * owner / threads..tasks * (owner + 1) / threads;
            let range = &self.remaining[owner].0;
            while let Some(task) = range.take(round, whole.clone(), owner == thread) {
                job(task, thread);
            }
        }
    }

    fn serve(&self, thread: usize) {
        let mut seen = 0;
        while let Some((round, erased)) = self.await_round(seen, thread) {
            seen = round;
            // SAFETY: `run` waits for `working` to reach zero before the job's borrow ends, and
            // `working` counts this thread until `fetch_sub` below.
            let job = unsafe { &*erased.job };
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.work(job, round, erased.tasks, thread)
            }));
            if done.is_err() {
                self.panicked.store(true, Ordering::Relaxed);
            }
            self.working.0.fetch_sub(1, Ordering::Release);
        }
    }

    /// Waits for the round after `seen`: spins for a while, then sleeps. Returns `None` when the
    /// pool ends.
    fn await_round(&self, seen: usize, thread: usize) -> Option<(usize, ErasedJob)> {
        for spin in 0..SPINS {
            if self.round.load(Ordering::Acquire) != seen || self.stop.load(Ordering::Relaxed) {
                break;
            }
            // With fewer cores than threads, a spinning thread would starve those it waits for.
            if spin % 64 == 63 { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
        let mut state = self.state.lock().expect("nothing panics under this lock");
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            let round = self.round.load(Ordering::Acquire);
            if round != seen {
                return state.job.map(|job| (round, job));
            }
            let sleeper = Sleeper::current();
            state.asleep.push((thread, sleeper));
            state = self.wake.wait(state).expect("nothing panics under this lock");
            state.asleep.retain(|(asleep, _)| *asleep != thread);
            sleeper.restore();
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let _state = self.shared.state.lock();
            self.shared.stop.store(true, Ordering::Relaxed);
        }
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker cannot have panicked: jobs run under `catch_unwind`.
            let _ = worker.join();
        }
    }
}

/// A mutable slice whose disjoint parts are written by different tasks.
pub struct Disjoint<'a, T = f32> {
    start: *mut T,
    len: usize,
    borrow: PhantomData<&'a mut [T]>,
}

// SAFETY: slices are only handed out by `part`, whose caller promises that they do not overlap.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl Disjoint<'_> {
    /// Prefetches the panel from `start` on, which will be written soon; see [`prefetch`].
    #[inline(always)]
    pub fn prefetch(&self, start: usize) {
        prefetch(self.start, self.len, start);
    }
}

impl<'a, T> Disjoint<'a, T> {
    pub fn new(slice: &'a mut [T]) -> Self {
        Disjoint { start: slice.as_mut_ptr(), len: slice.len(), borrow: PhantomData }
    }

    /// Returns the elements `start..start + len`.
    ///
    /// # Safety
    /// No other part that is alive may share an element with this one.
    #[allow(clippy::mut_from_ref)]
    // SAFETY: the contract is the caller's; bounds are checked here.
    pub unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "part of a shared slice");
        // SAFETY: the part is in bounds, and exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}

#[cfg(test)]
mod tests;
