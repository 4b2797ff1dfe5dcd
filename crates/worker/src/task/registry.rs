use std::collections::HashMap;
use std::sync::Arc;

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
}

/// The tasks that a program has, by name.
#[derive(Clone, Default)]
pub struct Registry(HashMap<String, Arc<Registered>>);

impl Registry {
    /// Adds a task; one of the same name is replaced.
    pub fn add(&mut self, task: impl NativeTask) {
        let (name, options) = (task.name().to_owned(), task.options());
        self.0.insert(name, Arc::new(Registered { task: Box::new(task), options }));
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
