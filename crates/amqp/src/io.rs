//! The runtime that serves every AMQP connection of the process: of a thread of its own, or the program's.

use std::future::Future;
use std::ops::Deref;
use std::sync::OnceLock;

use celeriac_broker::Error;
use tokio::runtime::{Builder, Handle};

/// Header tables are read by recursion, and one frame (128 KiB) may nest some 20,000 of them. Only the pages that
/// are touched cost memory.
pub const STACK: usize = 256 << 20;

static IO: OnceLock<Result<Handle, String>> = OnceLock::new();

/// Has the current runtime serve all connections, unless something does already. It must not be held up by anything, and
/// its thread needs a stack of [`STACK`] bytes. What was open when it ends is lost.
///
/// # Panics
/// Outside a runtime.
pub fn serve_here() {
    let _ = IO.set(Ok(Handle::current()));
}

fn handle() -> Result<&'static Handle, Error> {
    IO.get_or_init(start).as_ref().map_err(|reason| Error::Lost(format!("no AMQP thread: {reason}")))
}

fn start() -> Result<Handle, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("celeriac-amqp".to_owned())
        .stack_size(STACK)
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(|error| error.to_string())?;
    Ok(handle)
}

/// Runs a future on the thread and waits for it. It goes on when the caller stops waiting: the client library panics
/// when nobody waits for an answer.
pub(crate) async fn run<T: Send + 'static>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    // A panic in the client library must not spread: what it served is lost, no more.
    handle()?.spawn(future).await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))
}

/// Runs a future on the thread and does not wait.
pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    if let Ok(handle) = handle() {
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
