//! Running native tasks: so many at once as the worker's concurrency says.

use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Instant;

use async_trait::async_trait;
use celeriac_protocol::Map;
use futures_util::FutureExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use super::threads::Threads;
use super::{Executor, PoolStats};
use crate::queue::Queue;
use crate::request::{Facts, Request};
use crate::trace::Tracer;

/// Runners that take requests from one queue. A runner that is busy takes none, so no request waits behind a long one
/// while another runner is free. Tasks measured short share a runner while they last: to wake another costs more than
/// to run them.
pub(crate) struct NativeExecutor {
    shared: Arc<Common>,
    tracer: Arc<Tracer>,
    cancel_late: watch::Sender<()>,
    threads: Threads,
}

/// What the runners share.
struct Common {
    queue: Queue<Box<Request>>,
    load: Load,
    /// How many runners there are to be; one that finds itself too many ends.
    concurrency: AtomicUsize,
    /// How many there are.
    running: AtomicUsize,
    /// Held while either number changes, so that none ends that another resize counts on.
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

impl NativeExecutor {
    /// Starts the runners, as soon as there are threads for them.
    pub(crate) fn new(concurrency: usize, tracer: &Arc<Tracer>, threads: Threads) -> Self {
        let shared = Arc::new(Common {
            queue: Queue::new(),
            load: Load::default(),
            concurrency: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            runners: Mutex::default(),
        });
        let (cancel_late, _) = watch::channel(());
        let executor = NativeExecutor { shared, tracer: tracer.clone(), cancel_late, threads };
        executor.resize(concurrency);
        executor
    }
}

#[async_trait]
impl Executor for NativeExecutor {
    fn concurrency(&self) -> usize {
        self.shared.concurrency.load(Ordering::Acquire)
    }

    fn resize(&self, concurrency: usize) {
        let concurrency = concurrency.max(1);
        let mut runners = self.shared.runners();
        self.shared.concurrency.store(concurrency, Ordering::Release);
        let Some(threads) = self.threads.started() else { return };
        runners.retain(|runner| !runner.is_finished());
        while self.shared.running.load(Ordering::Acquire) < concurrency {
            self.shared.running.fetch_add(1, Ordering::AcqRel);
            let cancelled = self.cancel_late.subscribe();
            runners.push(threads.spawn(run(self.shared.clone(), self.tracer.clone(), cancelled)));
        }
        drop(runners);
        self.shared.queue.rouse();
    }

    fn submit(&self, request: Box<Request>) {
        self.shared.load.count.fetch_add(1, Ordering::AcqRel);
        if self.shared.queue.push(request).is_err() {
            // The runners were cancelled; the dropped request has given its delivery back.
            drop(Loaded(&self.shared.load));
        }
        if self.threads.start() {
            self.resize(self.concurrency());
        }
    }

    fn wake(&self) -> bool {
        self.shared.queue.wake()
    }

    fn load(&self) -> usize {
        self.shared.load.count.load(Ordering::Acquire)
    }

    fn discard_waiting(&self) {
        while let Some(request) = self.shared.queue.try_pop() {
            let _counted = Loaded(&self.shared.load);
            drop(request);
        }
    }

    async fn idle(&self) {
        loop {
            let empty = self.shared.load.empty.notified();
            tokio::pin!(empty);
            empty.as_mut().enable();
            if self.load() == 0 {
                return;
            }
            empty.await;
        }
    }

    fn terminate(&self, facts: &Facts, signal: i32) {
        facts.end.terminate(signal);
    }

    fn cancel_late(&self) {
        self.cancel_late.send_replace(());
    }

    async fn cancel(&self) {
        self.shared.queue.close();
        let runners = std::mem::take(&mut *self.shared.runners());
        for runner in &runners {
            runner.abort();
        }
        for runner in runners {
            let _ = runner.await;
        }
        self.discard_waiting();
    }

    /// Native tasks have no processes to restart and no modules to load again.
    fn restart(&self) {}

    /// One process, in which tasks share threads.
    fn stats(&self) -> PoolStats {
        PoolStats {
            implementation: "celeriac:native",
            processes: vec![std::process::id()],
            threads: None,
            max_tasks_per_child: None,
            writes: Map::new(),
        }
    }
}

impl Common {
    /// Whether a runner is one too many, which then has to end.
    fn is_surplus(&self) -> bool {
        let too_many = || self.running.load(Ordering::Acquire) > self.concurrency.load(Ordering::Acquire);
        if !too_many() {
            return false;
        }
        let _runners = self.runners();
        let is_surplus = too_many();
        if is_surplus {
            self.running.fetch_sub(1, Ordering::AcqRel);
        }
        is_surplus
    }

    fn runners(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(shared: Arc<Common>, tracer: Arc<Tracer>, mut cancelled: watch::Receiver<()>) {
    let Common { queue, load, .. } = &*shared;
    while let Some(request) = queue.pop(|| shared.is_surplus()).await {
        let _counted = Loaded(load);
        if request.is_void() {
            // Received over a connection that is lost: it is delivered again.
            continue;
        }
        let facts = request.facts.clone();
        let pace = &facts.task.task.pace;
        if !pace.is_short() {
            queue.wake();
        }
        let begun = Instant::now();
        let running = trace(&shared, &tracer, request, &mut cancelled);
        if !running.await {
            tracer.cancelled(&facts).await;
        }
        pace.note(begun.elapsed());
        // A queue that is never empty must not keep the thread from its other tasks.
        tokio::task::consume_budget().await;
    }
}

/// Runs a request to its end, or until it is cancelled, which is false.
async fn trace(
    shared: &Common,
    tracer: &Tracer,
    request: Box<Request>,
    cancelled: &mut watch::Receiver<()>,
) -> bool {
    let acks_late = request.facts.policy.acks_late;
    // A panic of ours must not end the runner. The dropped request gives its delivery back.
    let mut traced = pin!(AssertUnwindSafe(tracer.run(request)).catch_unwind().map(|caught| {
        if caught.is_err() {
            tracing::error!("a runner panicked");
        }
    }));
    let at_once = poll_fn(|context| Poll::Ready(traced.as_mut().poll(context).is_ready())).await;
    if at_once {
        return true;
    }
    // It waits for something: others need not.
    shared.queue.wake();
    if !acks_late {
        traced.await;
        return true;
    }
    cancelled.mark_unchanged();
    tokio::select! {
        () = traced => true,
        Ok(()) = cancelled.changed() => false,
    }
}
