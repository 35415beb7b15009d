//! Waiting for a device: the code that waits is written once, as `async`.
//!
//! On a native system the innermost calls block until the device is done, so these futures are
//! ready when they are first polled, and [`now`] returns their results: one poll, no executor, no
//! allocation. A browser cannot block; there the functions with names in `_async` are awaited.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::Error;

/// A future of a trait's method.
pub type Wait<'a, T> = Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>;

/// The result of a future that blocks where it has to wait.
///
/// # Errors
/// Its error; in a browser, that its device is not ready.
pub fn now<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => Err(Error::Unsupported(
            "a browser cannot wait for its GPU in a call; await the function whose name ends in \
             `_async`"
                .to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ready_is_an_error() {
        assert_eq!(now(async { Ok(3) }).unwrap(), 3);
        assert!(matches!(
            now(async { Err::<u8, _>(Error::Input("no".to_owned())) }),
            Err(Error::Input(_))
        ));
        let error = now(std::future::pending::<Result<u8, Error>>()).unwrap_err();
        assert!(error.to_string().contains("_async"), "{error}");
    }
}
