use std::time::Duration;

use celeriac_protocol::{Value, ValueError};
use chrono::{DateTime, Utc};

/// How a task ends when it does not return a value.
#[derive(Debug, Clone, PartialEq)]
pub enum TaskError {
    /// It failed; the failure is stored.
    Failure(Failure),
    /// It is to be run again ([`Task::retry`](crate::Task::retry) makes this).
    Retry(Box<RetryOptions>),
    /// Its message is rejected; no state is stored (`celery.exceptions.Reject`).
    Reject {
        /// Back to the queue, rather than to the dead-letter exchange.
        requeue: bool,
        /// For the log.
        reason: String,
    },
    /// No state is stored: the task did that itself, or wants none (`celery.exceptions.Ignore`).
    Ignore,
}

/// An error as Python clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The exception's class. Python clients get that very class where `module` has it.
    pub kind: String,
    /// The exception's module, for example `builtins`; without one Celery makes up a class.
    pub module: Option<String>,
    /// The exception's text.
    pub message: String,
    /// What led to it, outermost first, for the traceback.
    pub causes: Vec<String>,
}

/// How and when a task is to be run again.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RetryOptions {
    /// Run it after this long; without it or `eta`, after the task's `default_retry_delay`.
    pub countdown: Option<Duration>,
    /// Run it at this time.
    pub eta: Option<DateTime<Utc>>,
    /// Another limit than the task's `max_retries`.
    pub max_retries: Option<u32>,
    /// Why: stored with the state `RETRY`, and as the failure when no retry is left.
    pub cause: Option<Failure>,
}

/// Arguments that do not fit a task; a `TypeError` to Python clients.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ArgumentError(String);

impl TaskError {
    /// A failure that Python clients see as the built-in exception `kind`, for example `ValueError`.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        TaskError::Failure(Failure::new(kind, message))
    }
}

impl Failure {
    /// A failure by one of Python's built-in exceptions.
    pub fn new(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Failure {
            kind: kind.into(),
            module: Some("builtins".to_owned()),
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// A failure by one of Celery's exceptions.
    pub fn celery(kind: impl Into<String>, message: impl Into<String>) -> Self {
        Failure { module: Some("celery.exceptions".to_owned()), ..Failure::new(kind, message) }
    }

    /// A failure by a Rust error: its type's name, its text, and its sources.
    pub fn from_error<E: std::error::Error>(error: &E) -> Self {
        let path = std::any::type_name::<E>();
        let path = path.split('<').next().unwrap_or(path);
        let (module, kind) = path.rsplit_once("::").unwrap_or(("", path));
        let causes = std::iter::successors(error.source(), |cause| cause.source());
        Failure {
            kind: kind.to_owned(),
            module: Some(module.replace("::", ".")).filter(|module| !module.is_empty()),
            message: error.to_string(),
            causes: causes.map(ToString::to_string).collect(),
        }
    }

    /// What Python's `repr` shows: `ValueError('it broke')`.
    pub fn repr(&self) -> String {
        let message = celeriac_protocol::repr::value(&Value::String(self.message.clone()));
        format!("{}({message})", self.kind)
    }
}

/// Any Rust error fails a task.
impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        TaskError::Failure(Failure::from_error(&error))
    }
}

impl ArgumentError {
    /// With Python's words: `add() missing 1 required positional argument: 'y'`. Cut at 1,024 characters: what did
    /// not fit may be as large as the message.
    pub fn new(message: impl Into<String>) -> Self {
        let mut message = message.into();
        if let Some((end, _)) = message.char_indices().nth(1024) {
            message.truncate(end);
            message.push_str("...");
        }
        ArgumentError(message)
    }

    /// An argument of the wrong type.
    pub fn invalid(task: &str, parameter: &str, error: &ValueError) -> Self {
        ArgumentError::new(format!("{task}() argument '{parameter}': {error}"))
    }
}
