use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use celeriac_protocol::{Map, Value};
use futures_util::future::BoxFuture;

use super::{ArgumentError, Task, TaskError, TaskOptions};

/// A task written in Rust. The attribute `#[celeriac::task]` implements this.
pub trait NativeTask: Send + Sync + 'static {
    /// The name that messages call it by.
    fn name(&self) -> &str;

    /// Its options.
    fn options(&self) -> TaskOptions;

    /// Fits the arguments to the parameters; nothing of the task runs yet.
    ///
    /// # Errors
    /// When one is missing, too many, or of the wrong type.
    fn prepare(&self, task: &Task, args: Vec<Value>, kwargs: Map) -> Result<Run, ArgumentError>;
}

/// A task with its arguments, ready to go.
pub enum Run {
    /// Runs on the async runtime, and is dropped when it is cancelled.
    Async(BoxFuture<'static, Result<Value, TaskError>>),
    /// Runs on a thread of its own, and cannot be stopped from outside.
    Blocking(Box<dyn FnOnce() -> Result<Value, TaskError> + Send>),
}

/// A task and its options, asked for once.
pub struct Registered {
    /// The task.
    pub task: Box<dyn NativeTask>,
    /// Its options.
    pub options: TaskOptions,
    /// How long it takes.
    pub(crate) pace: Pace,
}

/// How long a task takes, as far as it was seen.
#[derive(Default)]
pub(crate) struct Pace {
    /// A moving average in nanoseconds; zero is not known yet.
    average: AtomicU64,
}

impl Pace {
    /// Waking another runner costs about this much.
    const SHORT: u64 = 50_000;

    pub(crate) fn is_short(&self) -> bool {
        (1..Self::SHORT).contains(&self.average.load(Ordering::Relaxed))
    }

    /// Two runs that are noted at once may count as one: it is an estimate.
    pub(crate) fn note(&self, run: Duration) {
        let run = u64::try_from(run.as_nanos()).unwrap_or(u64::MAX).max(1);
        let old = self.average.load(Ordering::Relaxed);
        // One long run makes it long at once; it takes some short ones to make it short again.
        let new = if old == 0 || run > old { run } else { old - (old - run) / 8 };
        self.average.store(new.max(1), Ordering::Relaxed);
    }
}

/// A task that native executors cannot run.
struct Elsewhere(String, TaskOptions);

impl NativeTask for Elsewhere {
    fn name(&self) -> &str {
        &self.0
    }

    fn options(&self) -> TaskOptions {
        self.1.clone()
    }

    fn prepare(&self, _: &Task, _: Vec<Value>, _: Map) -> Result<Run, ArgumentError> {
        Err(ArgumentError::new(format!("{} is no native task", self.0)))
    }
}

/// The tasks that a program has, by name.
#[derive(Clone, Default)]
pub struct Registry(HashMap<String, Arc<Registered>>);

impl Registry {
    /// Adds a task; one of the same name is replaced.
    pub fn add(&mut self, task: impl NativeTask) {
        let (name, options) = (task.name().to_owned(), task.options());
        self.0.insert(name, Arc::new(Registered { task: Box::new(task), options, pace: Pace::default() }));
    }

    /// Adds a task by its name and options, which another executor runs.
    pub fn declare(&mut self, name: impl Into<String>, options: TaskOptions) {
        self.add(Elsewhere(name.into(), options));
    }

    /// The task of a name.
    pub fn task(&self, name: &str) -> Option<&Arc<Registered>> {
        self.0.get(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        names
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Registry").field(&self.names()).finish()
    }
}
