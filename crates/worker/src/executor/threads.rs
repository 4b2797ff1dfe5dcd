//! What native tasks run on.

use std::sync::OnceLock;
use std::thread::available_parallelism;

use tokio::runtime::{Builder, Handle, Runtime};

/// The worker's own runtime, or threads apart from it: those are made when there is something to run, and end with this.
pub(crate) struct Threads {
    worker: Handle,
    apart: Option<Apart>,
}

struct Apart {
    concurrency: usize,
    /// Empty when the system gave no threads.
    runtime: OnceLock<Option<Runtime>>,
}

impl Threads {
    /// The current runtime; or threads apart from it, for so many tasks at once.
    pub(crate) fn new(apart: Option<usize>) -> Self {
        let apart = apart.map(|concurrency| Apart { concurrency, runtime: OnceLock::new() });
        Threads { worker: Handle::current(), apart }
    }

    /// What is there already.
    pub(crate) fn started(&self) -> Option<&Handle> {
        match &self.apart {
            None => Some(&self.worker),
            Some(apart) => apart.runtime.get().map(|runtime| self.or_worker(runtime.as_ref())),
        }
    }

    /// Makes them, unless they are there; whether that was now.
    pub(crate) fn start(&self) -> bool {
        let mut is_new = false;
        if let Some(apart) = &self.apart {
            apart.runtime.get_or_init(|| {
                is_new = true;
                apart.start()
            });
        }
        is_new
    }

    fn or_worker<'a>(&'a self, runtime: Option<&'a Runtime>) -> &'a Handle {
        runtime.map_or(&self.worker, Runtime::handle)
    }
}

impl Apart {
    fn start(&self) -> Option<Runtime> {
        let cores = available_parallelism().map_or(1, usize::from);
        // Every slot may hold a blocking task; some threads more are for those past their time limit.
        let blocking = self.concurrency.saturating_add(64).max(512);
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(cores.min(self.concurrency.max(1))).max_blocking_threads(blocking);
        let runtime = builder.thread_name("celeriac-task").enable_all().build();
        if let Err(error) = &runtime {
            tracing::error!("no threads for tasks, which run beside all else: {error}");
        }
        runtime.ok()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // A blocking task that runs on cannot be waited for.
        let runtime = self.apart.take().and_then(|apart| apart.runtime.into_inner().flatten());
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}
