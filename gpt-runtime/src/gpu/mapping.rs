//! Maps buffers for the host. Waiting for a mapping blocks the thread, except in a browser: there
//! it yields to the event loop.

use wgpu::{Buffer, MapMode, SubmissionIndex};

use super::device::GpuDevice;
use crate::Error;

/// A buffer that is being mapped.
pub struct Mapping {
    #[cfg(all(target_family = "wasm", target_os = "unknown"))]
    done: std::sync::Arc<browser::Done>,
}

impl GpuDevice {
    /// Maps the first `bytes` bytes of `buffer` when the submissions before this call are done.
    pub(super) fn map(&self, buffer: &Buffer, mode: MapMode, bytes: u64) -> Mapping {
        #[cfg(all(target_family = "wasm", target_os = "unknown"))]
        return browser::map(buffer, mode, bytes);
        #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
        {
            buffer.map_async(mode, ..bytes, |_| {});
            Mapping {}
        }
    }

    /// Waits for `mapping`. `submission` is the last one that writes the buffer; without it, this
    /// waits for all submissions.
    pub(super) async fn mapped(
        &self,
        mapping: Mapping,
        submission: Option<SubmissionIndex>,
    ) -> Result<(), Error> {
        #[cfg(all(target_family = "wasm", target_os = "unknown"))]
        {
            let _ = submission;
            mapping.done.await_it().await;
            self.check()
        }
        #[cfg(not(all(target_family = "wasm", target_os = "unknown")))]
        {
            let Mapping {} = mapping;
            match submission {
                Some(submission) => self.wait_for(submission),
                None => self.wait(),
            }
        }
    }
}

#[cfg(all(target_family = "wasm", target_os = "unknown"))]
mod browser {
    use std::future::poll_fn;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::task::{Poll, Waker};

    use wgpu::{Buffer, MapMode};

    use super::Mapping;

    /// Whether mapping is done, successfully or not, and the waker of the task that waits for it.
    #[derive(Default)]
    pub struct Done(Mutex<(bool, Option<Waker>)>);

    pub fn map(buffer: &Buffer, mode: MapMode, bytes: u64) -> Mapping {
        let done = Arc::new(Done::default());
        let end = done.clone();
        // A buffer that could not be mapped has no range; the code that reads it reports that.
        buffer.map_async(mode, ..bytes, move |_| {
            let mut state = end.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        Mapping { done }
    }

    impl Done {
        pub async fn await_it(&self) {
            poll_fn(|context| {
                let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                if state.0 {
                    return Poll::Ready(());
                }
                state.1 = Some(context.waker().clone());
                Poll::Pending
            })
            .await
        }
    }
}
