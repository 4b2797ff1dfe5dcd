//! The runtime that serves every Redis connection of the process: of a thread of its own, or the program's. A task that
//! holds up the program's own threads keeps no sign of life, renewal or acknowledgement from Redis.

use std::future::Future;
use std::sync::OnceLock;

use celeriac_broker::Error;
use tokio::runtime::{Builder, Handle};

static IO: OnceLock<Result<Handle, String>> = OnceLock::new();

/// Has the current runtime serve all connections, unless something does already. It must not be held up by anything:
/// who is not heard of for 6 s is taken for dead. What was open when it ends is lost.
///
/// # Panics
/// Outside a runtime.
pub fn serve_here() {
    let _ = IO.set(Ok(Handle::current()));
}

/// # Errors
/// [`Error::Lost`] when the system gives no thread.
pub(crate) fn handle() -> Result<&'static Handle, Error> {
    IO.get_or_init(start).as_ref().map_err(|reason| Error::Lost(format!("no Redis thread: {reason}")))
}

fn start() -> Result<Handle, String> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("celeriac-redis".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(|error| error.to_string())?;
    Ok(handle)
}

/// Runs a future there and waits for it.
pub(crate) async fn run<T: Send + 'static>(
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    handle()?.spawn(future).await.unwrap_or_else(|error| Err(Error::Lost(error.to_string())))
}
