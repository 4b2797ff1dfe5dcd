//! The async runtime, no larger than what it has to do.

use tokio::runtime::{Builder, Runtime};

use super::Error;

/// For a worker with this many tasks at once.
///
/// # Errors
/// When the system gives no threads.
pub(super) fn worker(concurrency: usize) -> Result<Runtime, Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(concurrency.max(2));
    // Every slot may hold a blocking task; some threads more are for those past their time limit.
    let blocking = concurrency.saturating_add(64).max(512);
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).max_blocking_threads(blocking).enable_all().build().map_err(started)
}

/// For a single command.
///
/// # Errors
/// When the system gives no file descriptors.
pub(super) fn client() -> Result<Runtime, Error> {
    Builder::new_current_thread().enable_all().build().map_err(started)
}

fn started(error: std::io::Error) -> Error {
    Error::system("cannot start the async runtime", error)
}
