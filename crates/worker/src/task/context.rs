use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use celeriac_protocol::TaskHeaders;
use tokio::sync::watch;

use super::{Failure, RetryOptions, TaskError};

/// What a task is told of its call (Celery's `self` and `self.request`). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Task(Arc<Context>);

/// The facts of one call.
#[derive(Debug)]
pub struct Context {
    /// The envelope: id, retries, custom headers in `other`, root and parent, ...
    pub headers: Arc<TaskHeaders>,
    /// The queue that it came from.
    pub queue: Arc<str>,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Whether it was delivered before.
    pub redelivered: bool,
    /// Its priority.
    pub priority: Option<u8>,
    /// The worker that runs it, `name@host`.
    pub hostname: Arc<str>,
    /// Tells of the soft time limit, where there is one.
    pub(crate) overtime: Option<Overtime>,
}

/// The soft time limit as the task sees it.
#[derive(Debug)]
pub(crate) struct Overtime {
    over: watch::Receiver<bool>,
    /// Whether the task ever asked: one that does not cannot end by itself.
    asked: AtomicBool,
}

impl Overtime {
    pub(crate) fn new(over: watch::Receiver<bool>) -> Self {
        Overtime { over, asked: AtomicBool::new(false) }
    }

    pub(crate) fn is_watched(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Task {
    pub(crate) fn new(context: Context) -> Self {
        Task(Arc::new(context))
    }

    /// The task's id.
    pub fn id(&self) -> &str {
        &self.0.headers.id
    }

    /// The task's name.
    pub fn name(&self) -> &str {
        &self.0.headers.task
    }

    /// How often it was retried before this run.
    pub fn retries(&self) -> u32 {
        self.0.headers.retries
    }

    /// Everything else.
    pub fn request(&self) -> &Context {
        &self.0
    }

    /// Asks to be run again after the task's `default_retry_delay`: `return Err(task.retry())`.
    pub fn retry(&self) -> TaskError {
        self.retry_with(RetryOptions::default())
    }

    /// Asks to be run again after `countdown`.
    pub fn retry_in(&self, countdown: Duration) -> TaskError {
        self.retry_with(RetryOptions { countdown: Some(countdown), ..RetryOptions::default() })
    }

    /// Asks to be run again because of an error, which is the failure when no retry is left.
    pub fn retry_for<E: std::error::Error>(&self, error: &E) -> TaskError {
        self.retry_with(RetryOptions { cause: Some(Failure::from_error(error)), ..RetryOptions::default() })
    }

    /// Asks to be run again as the options say.
    pub fn retry_with(&self, options: RetryOptions) -> TaskError {
        TaskError::Retry(Box::new(options))
    }

    /// Waits until the soft time limit is over; for ever if there is none.
    ///
    /// An async task selects on it to end tidily. One that asks neither here nor by
    /// [`is_over_soft_time_limit`](Task::is_over_soft_time_limit) is dropped at the limit and fails with
    /// `SoftTimeLimitExceeded`, as a Python task does that does not catch it.
    pub async fn soft_time_limit(&self) {
        if let Some(overtime) = &self.0.overtime {
            overtime.asked.store(true, Ordering::Relaxed);
            let mut over = overtime.over.clone();
            if over.wait_for(|over| *over).await.is_ok() {
                return;
            }
        }
        std::future::pending::<()>().await;
    }

    /// Whether the soft time limit is over. A blocking task asks from time to time.
    pub fn is_over_soft_time_limit(&self) -> bool {
        self.0.overtime.as_ref().is_some_and(|overtime| {
            overtime.asked.store(true, Ordering::Relaxed);
            *overtime.over.borrow()
        })
    }
}
