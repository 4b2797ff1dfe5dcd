//! Running requests: so many at once as the worker's concurrency says.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Instant;

use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::queue::Queue;
use crate::request::Request;
use crate::trace::Tracer;

/// A fixed number of runners that take requests from one queue. A runner that is busy takes none, so no request
/// waits behind a long one while another runner is free. Tasks measured short share a runner while they last: to
/// wake another costs more than to run them.
pub(crate) struct Executor {
    queue: Arc<Queue<Box<Request>>>,
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
        let queue = Arc::new(Queue::new());
        let (cancel_late, cancelled) = watch::channel(());
        let load = Arc::new(Load::default());
        let runners = (0..concurrency.max(1))
            .map(|_| tokio::spawn(run(queue.clone(), tracer.clone(), load.clone(), cancelled.clone())))
            .collect();
        Executor { queue, load, cancel_late, runners: Mutex::new(runners) }
    }

    /// Takes a request; the prefetch count bounds how many wait. It starts after the next [`wake`](Self::wake).
    pub(crate) fn submit(&self, request: Box<Request>) {
        self.load.count.fetch_add(1, Ordering::AcqRel);
        if self.queue.push(request).is_err() {
            // The runners were cancelled; the dropped request has given its delivery back.
            drop(Loaded(&self.load));
        }
    }

    /// Has what was submitted run. While this says true, more could run at once: say it again soon, lest short
    /// tasks wait behind one that turns out to be long.
    pub(crate) fn wake(&self) -> bool {
        self.queue.wake()
    }

    /// How many requests wait or run.
    pub(crate) fn load(&self) -> usize {
        self.load.count.load(Ordering::Acquire)
    }

    /// Gives back every request that has not started.
    pub(crate) fn discard_waiting(&self) {
        while let Some(request) = self.queue.try_pop() {
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
    queue: Arc<Queue<Box<Request>>>,
    tracer: Arc<Tracer>,
    load: Arc<Load>,
    mut cancelled: watch::Receiver<()>,
) {
    while let Some(request) = queue.pop().await {
        let _counted = Loaded(&load);
        if request.ticket.is_void() {
            // Received over a connection that is lost: it is delivered again.
            continue;
        }
        let (task, acks_late) = (request.task.clone(), request.policy.acks_late);
        if !task.pace.is_short() {
            queue.wake();
        }
        let begun = Instant::now();
        // A panic of ours must not end the runner. The dropped request gives its delivery back.
        let mut traced = pin!(AssertUnwindSafe(tracer.run(request)).catch_unwind().map(|caught| {
            if caught.is_err() {
                tracing::error!("a runner panicked");
            }
        }));
        let at_once = poll_fn(|context| Poll::Ready(traced.as_mut().poll(context).is_ready())).await;
        if !at_once {
            // It waits for something: others need not.
            queue.wake();
            if acks_late {
                cancelled.mark_unchanged();
                tokio::select! {
                    () = traced => {}
                    Ok(()) = cancelled.changed() => {}
                }
            } else {
                traced.await;
            }
        }
        task.pace.note(begun.elapsed());
        // A queue that is never empty must not keep the thread from its other tasks.
        tokio::task::consume_budget().await;
    }
}
