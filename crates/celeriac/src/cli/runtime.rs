//! The async runtime, no larger than what it has to do.

use std::future::Future;
use std::{panic, thread};

use tokio::runtime::{Builder, Runtime};

use super::Error;

/// Runs a worker whose tasks run elsewhere: on one thread, its connections included, so that a message passes on
/// without waking another.
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
