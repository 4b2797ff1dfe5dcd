use std::time::Duration;

use super::Rate;

/// A task's options, with the names and defaults of Celery's task attributes (`celery/app/task.py`).
#[derive(Debug, Clone, PartialEq)]
pub struct TaskOptions {
    /// Acknowledge after the task has run instead of just before; default is the app's `task_acks_late`.
    pub acks_late: Option<bool>,
    /// With `acks_late`, acknowledge also when it failed or timed out; default is the app's setting.
    pub acks_on_failure_or_timeout: Option<bool>,
    /// How often it may be retried; `None` is for ever.
    pub max_retries: Option<u32>,
    /// The countdown of a retry that names none.
    pub default_retry_delay: Duration,
    /// Retry by itself on every error that is no [`Reject`](crate::TaskError::Reject) or the like.
    pub autoretry: bool,
    /// Retries by `autoretry` wait this long times 2 to the power of the retries so far.
    pub retry_backoff: Option<Duration>,
    /// The longest wait by `retry_backoff`.
    pub retry_backoff_max: Duration,
    /// Wait a random part of the back-off, so that what failed together does not come back together.
    pub retry_jitter: bool,
    /// Store no result.
    pub ignore_result: Option<bool>,
    /// Store failures even when results are ignored.
    pub store_errors_even_if_ignored: Option<bool>,
    /// Store the state `STARTED`.
    pub track_started: Option<bool>,
    /// Hard time limit: the task is ended.
    pub time_limit: Option<Duration>,
    /// Soft time limit: the task is told.
    pub soft_time_limit: Option<Duration>,
    /// How often it may start on one worker.
    pub rate_limit: Option<Rate>,
    /// Whether events tell of it.
    pub send_events: bool,
    /// The queue that calls go to.
    pub queue: Option<String>,
    /// The priority of calls.
    pub priority: Option<u8>,
    /// Calls expire after this long.
    pub expires: Option<Duration>,
    /// The serializer of calls, by kombu's name.
    pub serializer: Option<String>,
    /// The compression of calls, by kombu's name.
    pub compression: Option<String>,
}

impl Default for TaskOptions {
    fn default() -> Self {
        TaskOptions {
            acks_late: None,
            acks_on_failure_or_timeout: None,
            max_retries: Some(3),
            default_retry_delay: Duration::from_secs(180),
            autoretry: false,
            retry_backoff: None,
            retry_backoff_max: Duration::from_secs(600),
            retry_jitter: true,
            ignore_result: None,
            store_errors_even_if_ignored: None,
            track_started: None,
            time_limit: None,
            soft_time_limit: None,
            rate_limit: None,
            send_events: true,
            queue: None,
            priority: None,
            expires: None,
            serializer: None,
            compression: None,
        }
    }
}
