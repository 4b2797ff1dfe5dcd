//! What a result store keeps about a task (`celery/backends/base.py`, `_get_result_meta`).

mod exception;
mod meta;

pub use exception::Exception;
pub use meta::{Extended, MetaError, TaskMeta};

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
