//! The async runtime, no larger than what it has to do.

use std::future::Future;
use std::{panic, thread};

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

/// Runs a worker whose tasks run in other processes: on one thread, its connections included, so that a message passes
/// from socket to socket without waking another.
///
/// # Errors
/// When the system gives no thread.
pub fn on_one_thread<T: Send, F: Future<Output = T>>(work: impl FnOnce() -> F + Send) -> Result<T, Error> {
    let run = || {
        let runtime = Builder::new_current_thread().enable_all().build().map_err(started)?;
        let done = runtime.block_on(async {
            #[cfg(feature = "amqp")]
            celeriac_amqp::serve_here();
            #[cfg(feature = "redis")]
            celeriac_redis::serve_here();
            work().await
        });
        runtime.shutdown_background();
        Ok(done)
    };
    thread::scope(|scope| {
        let named = thread::Builder::new().name("celeriac".to_owned());
        #[cfg(feature = "amqp")]
        let named = named.stack_size(celeriac_amqp::STACK);
        let running = named.spawn_scoped(scope, run).map_err(started)?;
        running.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    })
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
