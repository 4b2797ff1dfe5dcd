//! The runtime that serves every AMQP connection of the process: of a thread of its own, or the program's.

use std::future::Future;
use std::ops::Deref;

use celeriac_broker::{Error, Io};

/// Header tables are read by recursion, and one frame (128 KiB) may nest some 20,000 of them. Only the pages that
/// are touched cost memory.
pub const STACK: usize = 256 << 20;

static IO: Io = Io::new("celeriac-amqp", Some(STACK));

/// Has the current runtime serve all connections, unless something does already. It must not be held up by anything, and
/// its thread needs a stack of [`STACK`] bytes. What was open when it ends is lost.
///
/// # Panics
/// Outside a runtime.
pub fn serve_here() {
    IO.serve_here();
}

/// Runs a future on the thread and waits for it. It goes on when the caller stops waiting: the client library panics
/// when nobody waits for an answer. A panic of its own ends what it served, no more.
pub(crate) async fn run<T: Send + 'static>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    IO.run(future).await
}

/// Runs a future on the thread and does not wait.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = IO.handle() {
        handle.spawn(future);
    }
}

/// Drops its content on the thread: the client library closes a dropped channel by spawning a task, which panics
/// outside a runtime.
pub(crate) struct OnIo<T: Send + 'static>(Option<T>);

impl<T: Send + 'static> OnIo<T> {
    pub(crate) fn new(content: T) -> Self {
        OnIo(Some(content))
    }

    /// Takes the content out, to close it in order.
    pub(crate) fn into_inner(mut self) -> Option<T> {
        self.0.take()
    }
}

impl<T: Send + 'static> Deref for OnIo<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // Only `into_inner` and `drop` empty it, and both end it.
        self.0.as_ref().unwrap_or_else(|| unreachable!())
    }
}

impl<T: Send + 'static> Drop for OnIo<T> {
    fn drop(&mut self) {
        if let Some(content) = self.0.take() {
            spawn(async move { drop(content) });
        }
    }
}
