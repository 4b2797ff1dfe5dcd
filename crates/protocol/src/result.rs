//! What a result store keeps about a task (`celery/backends/base.py`, `_get_result_meta`).

use crate::{Map, Value};

/// A task's state (`celery/states.py`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum State {
    /// Not known to the store.
    #[default]
    Pending,
    /// Received by a worker.
    Received,
    /// Running (with `track_started`).
    Started,
    /// Done.
    Success,
    /// Raised an error.
    Failure,
    /// To be run again.
    Retry,
    /// Revoked or expired.
    Revoked,
    /// Rejected.
    Rejected,
    /// Anything that an application stores itself.
    Custom(String),
}

impl State {
    /// Reads Celery's name.
    pub fn from_name(name: &str) -> Self {
        match name {
            "PENDING" => State::Pending,
            "RECEIVED" => State::Received,
            "STARTED" => State::Started,
            "SUCCESS" => State::Success,
            "FAILURE" => State::Failure,
            "RETRY" => State::Retry,
            "REVOKED" => State::Revoked,
            "REJECTED" => State::Rejected,
            custom => State::Custom(custom.to_owned()),
        }
    }

    /// Celery's name.
    pub fn name(&self) -> &str {
        match self {
            State::Pending => "PENDING",
            State::Received => "RECEIVED",
            State::Started => "STARTED",
            State::Success => "SUCCESS",
            State::Failure => "FAILURE",
            State::Retry => "RETRY",
            State::Revoked => "REVOKED",
            State::Rejected => "REJECTED",
            State::Custom(name) => name,
        }
    }

    /// Whether nothing will follow: success, failure or revoked (`READY_STATES`).
    pub fn is_ready(&self) -> bool {
        matches!(self, State::Success | State::Failure | State::Revoked)
    }

    /// Whether the result is an error: failure, retry, revoked (`PROPAGATE_STATES` and `EXCEPTION_STATES`).
    pub fn is_exception(&self) -> bool {
        matches!(self, State::Failure | State::Retry | State::Revoked)
    }
}

/// An error as Celery stores it: `{"exc_type": ..., "exc_message": ..., "exc_module": ...}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Exception {
    /// The class, for example `ValueError`.
    pub kind: String,
    /// The arguments of the exception; one string, mostly.
    pub message: Value,
    /// The module of the class, for example `builtins`.
    pub module: Option<String>,
}

/// What a store keeps about one task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskMeta {
    /// The task's id.
    pub id: String,
    /// Its state.
    pub state: State,
    /// Its return value; for the exception states the dict of an [`Exception`].
    pub result: Value,
    /// The traceback of an error.
    pub traceback: Option<String>,
    /// The tasks that it sent, as `AsyncResult.as_tuple` writes them.
    pub children: Vec<Value>,
    /// When it was stored, as ISO 8601 text; set by the caller.
    pub date_done: Option<String>,
    /// The group that it is in.
    pub group_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// What `result_extended` adds.
    pub extended: Option<Extended>,
    /// Every other key, untouched.
    pub other: Map,
}

/// What `result_extended` adds to a result.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Extended {
    /// The task's name.
    pub name: Option<String>,
    /// Its positional arguments.
    pub args: Value,
    /// Its keyword arguments.
    pub kwargs: Value,
    /// The worker that ran it.
    pub worker: Option<String>,
    /// How often it was retried.
    pub retries: Option<u32>,
    /// The routing key that it came by.
    pub queue: Option<String>,
}
