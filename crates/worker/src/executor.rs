//! What runs requests, and how a program brings an executor of its own.

mod autoscale;
mod native;
mod threads;

use std::sync::Arc;

use async_trait::async_trait;
use celeriac_protocol::{Map, Value};
use tokio::sync::watch;

use crate::backend::Backend;
use crate::counters::Counters;
use crate::events::Dispatcher;
pub use crate::executor::autoscale::Autoscale;
pub(crate) use crate::executor::autoscale::Autoscaler;
pub(crate) use crate::executor::native::NativeExecutor;
pub(crate) use crate::executor::threads::Threads;
use crate::request::{Facts, Request};
use crate::revokes::Revokes;
use crate::settings::Settings;

/// Runs requests, so many at once as its concurrency says (Celery's pool). It checks each for a revoke as late as it
/// can, tells the events and counters of what it runs, and settles every request; one that it drops comes again.
#[async_trait]
pub trait Executor: Send + Sync {
    /// How many requests run at once at most.
    fn concurrency(&self) -> usize;

    /// Has so many requests run at once, as far as it can. Those that run already are not touched.
    fn resize(&self, concurrency: usize);

    /// Takes a request; the prefetch count bounds how many wait. It starts after the next [`wake`](Self::wake).
    fn submit(&self, request: Box<Request>);

    /// Has what was submitted run. While this says true, more could run at once: say it again soon, lest short
    /// tasks wait behind one that turns out to be long.
    fn wake(&self) -> bool;

    /// How many deliveries it would have in stock, where that is more than the prefetch count; it changes with what runs.
    /// When it is less again, [`discard_waiting`](Self::discard_waiting) follows.
    fn stock(&self) -> watch::Receiver<usize> {
        watch::channel(0).1
    }

    /// How many requests wait or run.
    fn load(&self) -> usize;

    /// Gives back every request that has not started.
    fn discard_waiting(&self);

    /// Waits until nothing waits or runs.
    async fn idle(&self);

    /// Ends a request that runs, as by this signal; one that waits is found to be revoked in its turn.
    fn terminate(&self, facts: &Facts, signal: i32);

    /// Ends the running tasks that are acknowledged late: their messages come again.
    fn cancel_late(&self);

    /// Ends everything that runs, for good. Deliveries that are not settled go back; what runs on a thread of its
    /// own cannot be stopped, and nothing is heard of it any more.
    async fn cancel(&self);

    /// Begins anew, as far as there is something to restart (`pool_restart`).
    fn restart(&self);

    /// What it tells of itself.
    fn stats(&self) -> PoolStats;
}

/// What `inspect stats` says of a pool besides its concurrency and its limits.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolStats {
    /// By what it is implemented.
    pub implementation: &'static str,
    /// The ids of its processes.
    pub processes: Vec<u32>,
    /// How many threads its tasks have, where these are what they run in.
    pub threads: Option<usize>,
    /// After how many tasks a process is replaced.
    pub max_tasks_per_child: Option<u64>,
    /// How many requests each process was given, as Celery shows it; empty when that is not counted.
    pub writes: Map,
}

impl PoolStats {
    /// By Celery's names (`celery/concurrency/prefork.py`, `_get_info`).
    pub(crate) fn into_map(self, concurrency: usize, timeouts: Value) -> Map {
        let or_none = |known: bool, value: Value| if known { value } else { "N/A".into() };
        let max_tasks = self.max_tasks_per_child;
        let mut map = Map::from_iter([
            ("implementation", Value::from(self.implementation)),
            ("max-concurrency", (concurrency as u64).into()),
            ("processes", Value::List(self.processes.into_iter().map(Value::from).collect())),
            ("max-tasks-per-child", or_none(max_tasks.is_some(), max_tasks.into())),
            ("put-guarded-by-semaphore", false.into()),
            ("timeouts", timeouts),
            ("writes", or_none(!self.writes.is_empty(), self.writes.into())),
        ]);
        if let Some(threads) = self.threads {
            map.insert("threads", threads as u64);
        }
        map
    }
}

/// What an executor is made of.
pub struct Parts {
    /// What the worker was started with; `hostname` and `concurrency` among it.
    pub settings: Settings,
    /// What sends events.
    pub events: Arc<Dispatcher>,
    /// What was revoked.
    pub revokes: Arc<Revokes>,
    /// What counts what is done.
    pub counters: Arc<Counters>,
}

/// An executor, and who stores what the worker itself decides.
pub struct Hosted {
    /// Runs the requests.
    pub executor: Arc<dyn Executor>,
    /// Stores what never runs.
    pub backend: Arc<dyn Backend>,
}

/// Makes an executor on the worker's runtime, when the worker starts.
pub(crate) type Factory = Box<dyn FnOnce(Parts) -> Hosted + Send>;
