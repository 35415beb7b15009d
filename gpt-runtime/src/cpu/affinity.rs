//! The CPUs on which sleeping threads wake up.
//!
//! Linux wakes a thread on an idle CPU if it finds one. In a virtual machine a worker often woke on
//! the CPU of the thread that woke it, probably because the host reports a halted CPU as preempted.
//! Both threads then share that CPU until the scheduler balances its load, milliseconds later,
//! which is longer than a short pass. So the waking thread removes its own CPU from the set of the
//! sleeping thread, which restores its set when it runs.
//!
//! On other systems a [`Sleeper`] does nothing.

#[cfg(target_os = "linux")]
pub use linux::Sleeper;
#[cfg(all(test, target_os = "linux"))]
pub use linux::allowed_cpus;
#[cfg(not(target_os = "linux"))]
pub use other::Sleeper;

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::{size_of, zeroed};

    /// A thread that sleeps or is about to, and the CPUs on which it may run.
    #[derive(Clone, Copy)]
    pub struct Sleeper {
        thread: libc::pid_t,
        /// None if the system does not tell them, or if there is only one.
        allowed: Option<libc::cpu_set_t>,
    }

    impl Sleeper {
        /// The calling thread.
        pub fn current() -> Sleeper {
            // SAFETY: takes no argument and cannot fail.
            let thread = unsafe { libc::gettid() };
            Sleeper { thread, allowed: allowed() }
        }

        /// Lets the thread wake on any of its CPUs except the caller's. Failures are ignored: the
        /// thread then wakes where the system chooses.
        pub fn wake_elsewhere(&self) {
            // SAFETY: takes no argument.
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
        // SAFETY: a set of bits, for which zeros are valid.
        let mut cpus = unsafe { zeroed::<libc::cpu_set_t>() };
        // SAFETY: the set outlives the call and has the given size; 0 is the calling thread.
        let failed = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut cpus) };
        // SAFETY: only reads the set.
        (failed == 0 && unsafe { libc::CPU_COUNT(&cpus) } > 1).then_some(cpus)
    }

    /// The number of CPUs on which the calling thread may run.
    #[cfg(test)]
    pub fn allowed_cpus() -> usize {
        // SAFETY: only reads the set.
        allowed().map_or(1, |cpus| unsafe { libc::CPU_COUNT(&cpus) } as usize)
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
