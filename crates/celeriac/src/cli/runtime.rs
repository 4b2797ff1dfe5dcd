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
    Builder::new_multi_thread().worker_threads(threads).enable_all().build().map_err(started)
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
