//! The CPUs on which sleeping threads wake up.
//!
//! Linux wakes a thread on an idle CPU if it finds one. In a virtual machine a worker often woke on
//! the CPU of the thread that woke it, probably because the host reports a halted CPU as preempted.
//! Both threads then share that CPU until the scheduler balances its load, milliseconds later,
//! which is longer than a short pass. So the thread that wakes another one first removes its own
//! CPU from the set of CPUs that the sleeping thread may use; the woken thread restores its set.
//!
//! On other systems a [`Sleeper`] does nothing.

#[cfg(target_os = "linux")]
pub use linux::Sleeper;
#[cfg(all(test, target_os = "linux"))]
pub use linux::testing::{allowed_cpus, pinned, with_waiting};
#[cfg(not(target_os = "linux"))]
pub use other::Sleeper;

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::{size_of, zeroed};

    /// A thread that sleeps or is about to, and the CPUs on which it may run.
    #[derive(Clone, Copy)]
    pub struct Sleeper {
        thread: libc::pid_t,
        /// `None` if the system does not report them, or if there is only one.
        allowed: Option<libc::cpu_set_t>,
    }

    impl Sleeper {
        /// The calling thread.
        pub fn current() -> Sleeper {
            // SAFETY: the call takes no argument and cannot fail.
            let thread = unsafe { libc::gettid() };
            Sleeper { thread, allowed: allowed() }
        }

        /// Lets the thread wake on any of its CPUs except the caller's. Failures are ignored: the
        /// thread then wakes where the system chooses.
        pub fn wake_elsewhere(&self) {
            // SAFETY: the call takes no argument.
            let own = unsafe { libc::sched_getcpu() };
            let (Some(mut allowed), Ok(own)) = (self.allowed, usize::try_from(own)) else {
                return;
            };
            if own < libc::CPU_SETSIZE as usize {
                // SAFETY: `own` is in the bounds of the set.
                unsafe { libc::CPU_CLR(own, &mut allowed) };
                self.restrict(&allowed);
            }
        }

        /// Undoes [`wake_elsewhere`](Self::wake_elsewhere).
        pub fn restore(&self) {
            if let Some(allowed) = &self.allowed {
                self.restrict(allowed);
            }
        }

        fn restrict(&self, cpus: &libc::cpu_set_t) {
            // SAFETY: the set outlives the call and has the given size.
            unsafe { libc::sched_setaffinity(self.thread, size_of::<libc::cpu_set_t>(), cpus) };
        }
    }

    /// The CPUs on which the calling thread may run, if there are several.
    fn allowed() -> Option<libc::cpu_set_t> {
        // SAFETY: the type is a set of bits, for which zeros are valid.
        let mut cpus = unsafe { zeroed::<libc::cpu_set_t>() };
        // SAFETY: the set outlives the call and has the given size; 0 is the calling thread.
        let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut cpus) };
        // SAFETY: the call only reads the set.
        (failed == 0 && unsafe { libc::CPU_COUNT(&cpus) } > 1).then_some(cpus)
    }

    /// Helpers for the tests in this file and for those of the pool.
    #[cfg(test)]
    pub mod testing {
        use std::sync::mpsc::channel;

        use super::*;

        impl Sleeper {
            /// The CPUs on which the thread may run now.
            pub fn cpus(&self) -> Vec<usize> {
                // SAFETY: the type is a set of bits, for which zeros are valid.
                let mut cpus = unsafe { zeroed::<libc::cpu_set_t>() };
                let size = size_of::<libc::cpu_set_t>();
                // SAFETY: the set outlives the call and has the given size.
                let failed = unsafe { libc::sched_getaffinity(self.thread, size, &mut cpus) };
                assert_eq!(failed, 0);
                let all = 0..libc::CPU_SETSIZE as usize;
                // SAFETY: the numbers are in the bounds of the set, which is only read.
                all.filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &cpus) }).collect()
            }
        }

        /// The number of CPUs on which the calling thread may run.
        pub fn allowed_cpus() -> usize {
            Sleeper::current().cpus().len()
        }

        /// Calls `test` with a thread that waits until `test` returns.
        pub fn with_waiting(test: impl FnOnce(&Sleeper)) {
            std::thread::scope(|scope| {
                let (tell, told) = channel();
                let (end, ended) = channel::<()>();
                scope.spawn(move || {
                    tell.send(Sleeper::current()).unwrap();
                    // The other end is dropped, even if an assertion fails.
                    assert!(ended.recv().is_err());
                });
                let sleeper = told.recv().unwrap();
                let _end = end;
                test(&sleeper);
            });
        }

        /// Calls `test` in a thread that is pinned to one CPU, and returns the number of the CPU.
        pub fn pinned(test: impl FnOnce() + Send) -> usize {
            let pin = || {
                // SAFETY: the call takes no argument.
                let own = unsafe { libc::sched_getcpu() } as usize;
                // SAFETY: the type is a set of bits, for which zeros are valid.
                let mut only = unsafe { zeroed::<libc::cpu_set_t>() };
                // SAFETY: the system's CPUs are in the bounds of the set.
                unsafe { libc::CPU_SET(own, &mut only) };
                Sleeper::current().restrict(&only);
                assert_eq!(Sleeper::current().cpus(), [own]);
                test();
                own
            };
            std::thread::scope(|scope| scope.spawn(pin).join().unwrap())
        }
    }

    #[cfg(test)]
    mod tests {
        use super::Sleeper;
        use super::testing::{pinned, with_waiting};

        /// A thread with one CPU keeps it.
        #[test]
        fn a_thread_wakes_elsewhere_and_gets_its_cpus_back() {
            with_waiting(|waiting: &Sleeper| {
                let before = waiting.cpus();
                let own = pinned(|| waiting.wake_elsewhere());
                let others: Vec<usize> = before.iter().copied().filter(|cpu| *cpu != own).collect();
                assert_eq!(waiting.cpus(), if before.len() > 1 { others } else { before.clone() });
                waiting.restore();
                assert_eq!(waiting.cpus(), before);
            });
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    #[derive(Clone, Copy)]
    pub struct Sleeper;

    impl Sleeper {
        pub fn current() -> Sleeper {
            Sleeper
        }

        pub fn wake_elsewhere(&self) {}

        pub fn restore(&self) {}
    }
}
