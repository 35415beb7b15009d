//! Scoped threads that fall back to the caller's thread. `Scope::spawn` of the standard library
//! panics if the system cannot start a thread; [`spawn`] then runs the work itself.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// The handle of work started by [`spawn`].
pub enum Spawned<'scope, T> {
    Thread(ScopedJoinHandle<'scope, T>),
    /// The result of work that ran on the caller's thread.
    Done(T),
}

impl<T> Spawned<'_, T> {
    /// Waits for the result. Fails if the work panicked on its thread.
    pub fn join(self) -> std::thread::Result<T> {
        match self {
            Spawned::Thread(thread) => thread.join(),
            Spawned::Done(result) => Ok(result),
        }
    }
}

/// Starts `work` on a thread of `scope`, or runs it on this thread if the system cannot start one.
pub fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Spawned<'scope, T> {
    spawn_with(Builder::new(), scope, work)
}

fn spawn_with<'scope, T: Send + 'scope>(
    builder: Builder,
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Spawned<'scope, T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<_>>| {
        let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
        work.take().expect("work is taken once")
    };
    let for_thread = work.clone();
    match builder.spawn_scoped(scope, move || take(&for_thread)()) {
        Ok(thread) => Spawned::Thread(thread),
        Err(_) => Spawned::Done(take(&work)()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_callers_thread_if_no_thread_starts() {
        let own = std::thread::current().id();
        std::thread::scope(|scope| {
            let id = || std::thread::current().id();
            assert_ne!(spawn(scope, id).join().unwrap(), own);
            // No address space has room for such a stack.
            let huge = Builder::new().stack_size(isize::MAX as usize / 2);
            assert_eq!(spawn_with(huge, scope, id).join().unwrap(), own);
        });
    }
}
