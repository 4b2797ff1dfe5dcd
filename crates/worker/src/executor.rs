//! Running requests: so many at once as the worker's concurrency says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::request::Request;
use crate::trace::Tracer;

/// A fixed number of runners that take requests from one queue. A runner that is busy takes none, so no request
/// waits behind a long one while another runner is free.
pub(crate) struct Executor {
    queue: async_channel::Sender<Box<Request>>,
    waiting: async_channel::Receiver<Box<Request>>,
    load: Arc<Load>,
    cancel_late: watch::Sender<()>,
    runners: Mutex<Vec<JoinHandle<()>>>,
}

/// Requests that were submitted and are not finished.
#[derive(Default)]
struct Load {
    count: AtomicUsize,
    empty: Notify,
}

/// Counts a request until it is dropped, also when its runner is aborted.
struct Loaded<'a>(&'a Load);

impl Drop for Loaded<'_> {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.empty.notify_waiters();
        }
    }
}

impl Executor {
    /// Starts the runners on the current runtime.
    pub(crate) fn new(concurrency: usize, tracer: &Arc<Tracer>) -> Self {
        let (queue, waiting) = async_channel::unbounded();
        let (cancel_late, cancelled) = watch::channel(());
        let load = Arc::new(Load::default());
        let runners = (0..concurrency.max(1))
            .map(|_| tokio::spawn(run(waiting.clone(), tracer.clone(), load.clone(), cancelled.clone())))
            .collect();
        Executor { queue, waiting, load, cancel_late, runners: Mutex::new(runners) }
    }

    /// Takes a request. The prefetch count bounds how many wait.
    pub(crate) fn submit(&self, request: Box<Request>) {
        self.load.count.fetch_add(1, Ordering::AcqRel);
        if self.queue.try_send(request).is_err() {
            // The runners were cancelled; the dropped request has given its delivery back.
            drop(Loaded(&self.load));
        }
    }

    /// How many requests wait or run.
    pub(crate) fn load(&self) -> usize {
        self.load.count.load(Ordering::Acquire)
    }

    /// Gives back every request that has not started.
    pub(crate) fn discard_waiting(&self) {
        while let Ok(request) = self.waiting.try_recv() {
            let _counted = Loaded(&self.load);
            drop(request);
        }
    }

    /// Waits until nothing waits or runs.
    pub(crate) async fn idle(&self) {
        loop {
            let empty = self.load.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.load() == 0 {
                return;
            }
            empty.await;
        }
    }

    /// Ends the running tasks that are acknowledged late: their messages come again.
    pub(crate) fn cancel_late(&self) {
        self.cancel_late.send_replace(());
    }

    /// Ends everything that runs, for good. Deliveries that are not settled go back; what runs on a thread of its
    /// own cannot be stopped, and nothing is heard of it any more.
    pub(crate) async fn cancel(&self) {
        self.queue.close();
        let runners = std::mem::take(&mut *self.runners.lock().unwrap_or_else(PoisonError::into_inner));
        for runner in &runners {
            runner.abort();
        }
        for runner in runners {
            let _ = runner.await;
        }
        self.discard_waiting();
    }
}

async fn run(
    waiting: async_channel::Receiver<Box<Request>>,
    tracer: Arc<Tracer>,
    load: Arc<Load>,
    mut cancelled: watch::Receiver<()>,
) {
    while let Ok(request) = waiting.recv().await {
        let _counted = Loaded(&load);
        if request.ticket.is_void() {
            // Received over a connection that is lost: it is delivered again.
            continue;
        }
        if request.policy.acks_late {
            cancelled.mark_unchanged();
            tokio::select! {
                () = tracer.run(request) => {}
                Ok(()) = cancelled.changed() => {}
            }
        } else {
            tracer.run(request).await;
        }
        // A queue that is never empty must not keep the thread from its other tasks.
        tokio::task::consume_budget().await;
    }
}
