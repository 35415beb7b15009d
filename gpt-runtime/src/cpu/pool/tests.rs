//! Tests of the thread pool.

use super::*;

#[test]
fn every_task_runs_once_whatever_the_number_of_threads() {
    for threads in [1, 2, 5] {
        let pool = Pool::new(threads).unwrap();
        for tasks in [0, 1, 2, 7, 1000] {
            let counts: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            for _ in 0..20 {
                pool.run(tasks, &|task, thread| {
                    assert!(thread < threads);
                    counts[task].fetch_add(1, Ordering::Relaxed);
                });
            }
            assert!(counts.iter().all(|c| c.load(Ordering::Relaxed) == 20));
        }
    }
}

#[test]
fn a_range_is_taken_from_both_ends() {
    let range = TaskRange::default();
    let take = |round, from_front| range.take(round, 4..8, from_front);
    assert_eq!(take(1, true), Some(4));
    assert_eq!(take(1, false), Some(7));
    assert_eq!(take(1, true), Some(5));
    assert_eq!(take(1, true), Some(6));
    assert_eq!((take(1, true), take(1, false)), (None, None));
    // A new round starts with all tasks, whichever thread is first.
    assert_eq!(take(2, false), Some(7));
    range.clear(2);
    assert_eq!(take(2, true), None);
    // An empty range has no task, also in a later round with the same low 16 bits.
    assert_eq!(range.take(3, 8..8, true), None);
    assert_eq!(take(3 + (1 << 16), true), None);
}

/// With two tasks, one of the three threads has none.
fn rounds_do_not_mix(rounds: usize) {
    let pool = Pool::new(3).unwrap();
    for round in 0..rounds {
        let tasks = 2 + round % 3;
        let sum = AtomicUsize::new(0);
        pool.run(tasks, &|task, _| {
            sum.fetch_add(task + 1, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), tasks * (tasks + 1) / 2, "round {round}");
    }
}

#[test]
fn a_few_rounds_do_not_mix() {
    rounds_do_not_mix(3_000);
}

/// The number of a round is truncated to 16 bits.
#[test]
#[ignore = "long with more threads than cores; CI runs it"]
fn rounds_beyond_16_bits_do_not_mix() {
    rounds_do_not_mix(70_000);
}

/// Waits until all workers sleep.
fn wait_for_sleep(pool: &Pool) {
    while pool.shared.state.lock().unwrap().asleep.len() < pool.workers.len() {
        std::thread::yield_now();
    }
}

#[test]
fn workers_that_fell_asleep_wake_up() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..3 {
        wait_for_sleep(&pool);
        let sum = AtomicUsize::new(0);
        pool.run(10, &|task, _| {
            sum.fetch_add(task, Ordering::Relaxed);
        });
        assert_eq!(sum.into_inner(), 45);
    }
}

/// A worker is kept off the caller's CPU while it wakes. Afterwards it may use every CPU that it
/// could use before.
#[cfg(target_os = "linux")]
#[test]
fn workers_that_wake_keep_their_cpus() {
    use crate::cpu::affinity::allowed_cpus;

    let pool = Pool::new(2).unwrap();
    for _ in 0..3 {
        wait_for_sleep(&pool);
        // Each thread has one of the two tasks, because neither ends before both have begun.
        let both = std::sync::Barrier::new(2);
        let cpus = [const { AtomicUsize::new(0) }; 2];
        pool.run(2, &|_, thread| {
            both.wait();
            cpus[thread].store(allowed_cpus(), Ordering::Relaxed);
        });
        assert_eq!(cpus.map(AtomicUsize::into_inner), [allowed_cpus(); 2]);
    }
}

/// The waking thread removes its CPU from those of each sleeping worker. Another thread takes a
/// worker's place in the list, because a worker that wakes restores its own set.
#[cfg(target_os = "linux")]
#[test]
fn sleeping_workers_wake_on_other_cpus() {
    use crate::cpu::affinity::{allowed_cpus, pinned, with_waiting};

    let pool = Pool::new(2).unwrap();
    wait_for_sleep(&pool);
    with_waiting(|waiting| {
        let before = waiting.cpus();
        assert_eq!(before.len(), allowed_cpus());
        pool.shared.state.lock().unwrap().asleep[0].1 = *waiting;
        let own = pinned(|| pool.run(2, &|_, _| ()));
        let others: Vec<usize> = before.iter().copied().filter(|cpu| *cpu != own).collect();
        // A thread with one CPU keeps it.
        assert_eq!(waiting.cpus(), if before.len() > 1 { others } else { before });
    });
}

#[test]
fn two_callers_exclude_each_other() {
    let pool = Pool::new(2).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let sum = AtomicUsize::new(0);
                    pool.run(8, &|task, _| {
                        sum.fetch_add(task, Ordering::Relaxed);
                    });
                    assert_eq!(sum.into_inner(), 28);
                }
            });
        }
    });
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_survives() {
    let pool = Pool::new(2).unwrap();
    let run = || pool.run(50, &|task, _| assert!(task != 20, "on purpose"));
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_err());
    let sum = AtomicUsize::new(0);
    pool.run(4, &|task, _| {
        sum.fetch_add(task, Ordering::Relaxed);
    });
    assert_eq!(sum.into_inner(), 6);
}
