//! Threads for one piece of work. The standard library's `spawn` panics where the system has no room
//! for a thread; here the work then runs on the caller's thread.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Work that may run on a thread of its own.
pub enum Spawned<'scope, T> {
    Thread(ScopedJoinHandle<'scope, T>),
    /// The result of work that ran on the caller's thread.
    Done(T),
}

impl<T> Spawned<'_, T> {
    /// Waits for the result; an error if the work panicked.
    pub fn join(self) -> std::thread::Result<T> {
        match self {
            Spawned::Thread(thread) => thread.join(),
            Spawned::Done(result) => Ok(result),
        }
    }
}

/// Starts `work` on a thread of `scope`, or runs it here if there is no room for a thread.
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
    let of_thread = work.clone();
    match builder.spawn_scoped(scope, move || take(&of_thread)()) {
        Ok(thread) => Spawned::Thread(thread),
        Err(_) => Spawned::Done(take(&work)()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_where_there_is_no_room_for_a_thread() {
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
