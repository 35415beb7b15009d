//! Waiting for a device: the code that waits is written once, as `async`.
//!
//! On a native system the innermost calls block until the device is done, so these futures are
//! ready when they are first polled, and [`now`] returns their results: one poll, no executor, no
//! allocation. A browser cannot block; there a program awaits the functions whose names end in
//! `_async`. [`Wait`] is the future that the methods of an engine return.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use crate::Error;

/// Whether the program runs in a browser, which cannot block.
pub const BROWSER: bool = cfg!(all(target_family = "wasm", target_os = "unknown"));

/// The result of a pass of an engine, or, on a browser's GPU, a future that returns it.
///
/// Only a pass that has to be awaited is allocated on the heap, so a native program and the CPU
/// engine in a browser allocate nothing.
#[must_use = "the pass may not have run"]
pub enum Wait<'a, T> {
    /// The pass has run. The result is none after a poll has returned it.
    Done(Option<Result<T, Error>>),
    /// A browser's GPU runs the pass.
    Pending(Pin<Box<dyn Future<Output = Result<T, Error>> + 'a>>),
}

impl<'a, T> Wait<'a, T> {
    /// A pass that has run, with this result.
    pub fn done(result: Result<T, Error>) -> Self {
        Wait::Done(Some(result))
    }

    /// Runs `pass` on a native system. In a browser, `pass` runs when the result is awaited.
    pub fn on(pass: impl Future<Output = Result<T, Error>> + 'a) -> Self {
        if BROWSER { Wait::Pending(Box::pin(pass)) } else { Wait::done(now(pass)) }
    }
}

impl<T: Unpin> Wait<'_, T> {
    /// Like [`now`].
    ///
    /// # Errors
    /// See [`now`].
    pub fn now(self) -> Result<T, Error> {
        now(self)
    }
}

impl<T: Unpin> Future for Wait<'_, T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<T, Error>> {
        match self.get_mut() {
            Wait::Done(result) => Poll::Ready(result.take().expect("polled after it was ready")),
            Wait::Pending(pass) => pass.as_mut().poll(context),
        }
    }
}

/// Returns the result of a future that blocks where it has to wait.
///
/// # Errors
/// Fails with the error of the future, or, in a browser, if its result is not ready.
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

    fn input(text: &str) -> Error {
        Error::Input(text.to_owned())
    }

    #[test]
    fn a_future_that_is_not_ready_is_an_error() {
        assert_eq!(now(async { Ok(3) }).unwrap(), 3);
        assert!(matches!(now(async { Err::<u8, _>(input("no")) }), Err(Error::Input(_))));
        let error = now(std::future::pending::<Result<u8, Error>>()).unwrap_err();
        assert!(error.to_string().contains("_async"), "{error}");
    }

    #[test]
    fn a_pass_returns_its_result_whether_it_has_run_or_not() {
        assert_eq!(Wait::done(Ok(3)).now().unwrap(), 3);
        assert!(matches!(Wait::<u8>::done(Err(input("no"))).now(), Err(Error::Input(_))));
        assert!(matches!(Wait::on(async { Ok(4) }), Wait::Done(Some(Ok(4)))));
        assert_eq!(now(async { Wait::Pending(Box::pin(async { Ok(5) })).await }).unwrap(), 5);
        let pending = Wait::<u8>::Pending(Box::pin(std::future::pending()));
        assert!(pending.now().unwrap_err().to_string().contains("_async"));
    }
}
