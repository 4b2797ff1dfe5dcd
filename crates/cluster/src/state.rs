//! What the events of a cluster tell about its workers and tasks (`celery/events/state.py`).

mod index;
mod names;
mod task;
mod tasks;
#[cfg(test)]
mod tests;

mod worker;

use std::sync::Arc;

use celeriac_protocol::{Event, EventError, Value};
use lru::LruCache;

pub use task::Task;
pub use worker::{Drift, Worker};

use names::Names;
use tasks::Tasks;

/// How much is remembered. What nothing was heard of for the longest time is forgotten first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Tasks: 10,000, as in Celery.
    pub tasks: usize,
    /// Workers: 5,000, as in Celery.
    pub workers: usize,
    /// Bytes of the arguments, results, tracebacks and ids of all tasks: 32 MiB.
    pub text: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { tasks: 10_000, workers: 5_000, text: 32 << 20 }
    }
}

/// What an event changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// The worker or the task.
    pub change: Change,
    /// The clock of the worker's machine differs from ours; told once a worker.
    pub drift: Option<Drift>,
}

/// What happened to which worker (by its node's name) or task (by its id).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A worker is new, says that it is online, or speaks again after it said that it goes.
    Joined(Arc<str>),
    /// A known worker spoke.
    Heard(Arc<str>),
    /// A worker said that it goes.
    Left(Arc<str>),
    /// A task is new.
    TaskCreated(Arc<str>),
    /// A known task changed.
    TaskChanged(Arc<str>),
    /// An event of an application's own group; nothing changed.
    Other,
}

/// The workers and tasks of a cluster.
#[derive(Debug)]
pub struct State {
    workers: LruCache<Arc<str>, Worker>,
    max_workers: usize,
    tasks: Tasks,
    names: Names,
    event_count: u64,
    task_count: u64,
}

impl Default for State {
    /// Celery's limits.
    fn default() -> Self {
        State::new(Limits::default())
    }
}

impl State {
    /// Nothing known yet.
    pub fn new(limits: Limits) -> Self {
        State {
            workers: LruCache::unbounded(),
            max_workers: limits.workers,
            tasks: Tasks::new(limits.tasks, limits.text),
            names: Names::default(),
            event_count: 0,
            task_count: 0,
        }
    }

    /// Takes over what an event tells, received at `local_received`, in seconds since 1970.
    ///
    /// Events are to be synchronized first ([`Event::synchronize`]), or clients' tasks are out of order.
    ///
    /// # Errors
    /// When a task's event does not say which task it is about. Nothing is changed.
    pub fn event(&mut self, event: Event, local_received: f64) -> Result<Seen, EventError> {
        let seen = match event.group() {
            "worker" => self.worker_event(&event, local_received),
            "task" => self.task_event(event, local_received)?,
            _ => Seen { change: Change::Other, drift: None },
        };
        self.event_count += 1;
        Ok(seen)
    }

    fn worker_event(&mut self, event: &Event, local_received: f64) -> Seen {
        let hostname = self.names.share(&event.hostname);
        if event.subject() == "offline" {
            if let Some(worker) = self.workers.get_mut(&hostname) {
                worker.update(event, local_received, 0.0);
            }
            return Seen { change: Change::Left(hostname), drift: None };
        }
        let worker = self.workers.get_or_insert_mut(hostname.clone(), || Worker::new(hostname.clone()));
        let joins = worker.heartbeats.is_empty() || event.subject() == "online";
        let drift = worker.update(event, local_received, 0.0);
        self.bound();
        Seen { change: if joins { Change::Joined(hostname) } else { Change::Heard(hostname) }, drift }
    }

    fn task_event(&mut self, event: Event, local_received: f64) -> Result<Seen, EventError> {
        let uuid = uuid(&event)?;
        let mut drift = None;
        if event.subject() != "sent" {
            let hostname = self.names.share(&event.hostname);
            let worker = self.workers.get_or_insert_mut(hostname.clone(), || Worker::new(hostname));
            drift = worker.heard(event.timestamp, local_received, 0.0);
            self.bound();
        }
        self.task_count += u64::from(event.subject() == "received");
        let (uuid, created) = self.tasks.event(&uuid, event, &mut self.names);
        Ok(Seen {
            change: if created { Change::TaskCreated(uuid) } else { Change::TaskChanged(uuid) },
            drift,
        })
    }

    fn bound(&mut self) {
        if self.workers.len() > self.max_workers {
            self.workers.pop_lru();
        }
    }

    /// Events taken over.
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// `task-received` events among them.
    pub fn task_count(&self) -> u64 {
        self.task_count
    }

    /// A worker by its node's name.
    pub fn worker(&self, hostname: &str) -> Option<&Worker> {
        self.workers.peek(hostname)
    }

    /// All known workers, the one heard of last first.
    pub fn workers(&self) -> impl ExactSizeIterator<Item = &Worker> {
        self.workers.iter().map(|(_, worker)| worker)
    }

    /// The workers that were heard of lately.
    pub fn alive_workers(&self, now: f64) -> impl Iterator<Item = &Worker> {
        self.workers().filter(move |worker| worker.alive(now))
    }

    /// How many tasks are known.
    pub fn task_len(&self) -> usize {
        self.tasks.len()
    }

    /// A task by its id.
    pub fn task(&self, uuid: &str) -> Option<&Task> {
        self.tasks.find(uuid)
    }

    /// All known tasks, the one of the latest event first.
    pub fn tasks_by_time(&self) -> Vec<&Task> {
        self.tasks.by_time()
    }

    /// The tasks of a name, in the same order.
    pub fn tasks_by_type(&self, name: &str) -> Vec<&Task> {
        self.tasks.by_type(name)
    }

    /// The tasks that a worker has or had, in the same order.
    pub fn tasks_by_worker(&self, hostname: &str) -> Vec<&Task> {
        self.tasks.by_worker(hostname)
    }

    /// The known tasks that a task called, in the same order; the task itself need not be known.
    pub fn children(&self, uuid: &str) -> Vec<&Task> {
        self.tasks.children(uuid)
    }

    /// The task that called a task.
    pub fn parent(&self, task: &Task) -> Option<&Task> {
        self.task(task.parent_id.as_deref()?)
    }

    /// The first task of a task's workflow.
    pub fn root(&self, task: &Task) -> Option<&Task> {
        self.task(task.root_id.as_deref()?)
    }

    /// The names of all known tasks, sorted.
    pub fn task_types(&self) -> Vec<&str> {
        self.tasks.types()
    }

    /// Forgets tasks: those that are ready, or all.
    pub fn clear_tasks(&mut self, ready: bool) {
        self.tasks.clear(ready);
    }
}

fn uuid(event: &Event) -> Result<String, EventError> {
    match event.fields.get("uuid") {
        None | Some(Value::Null) => Err(EventError::Missing("uuid")),
        Some(Value::String(uuid)) if uuid.is_empty() => Err(EventError::Missing("uuid")),
        Some(Value::String(uuid)) if uuid.len() > task::MAX_NAME => Err(EventError::OutOfRange("uuid")),
        Some(Value::String(uuid)) => Ok(uuid.clone()),
        Some(other) => Err(EventError::Type { field: "uuid", wanted: "str", found: other.type_name() }),
    }
}
