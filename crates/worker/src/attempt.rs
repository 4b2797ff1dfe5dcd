//! One run of a task's code: its time limits, and its panics.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use celeriac_protocol::Value;
use futures_util::FutureExt;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use crate::request::Facts;
use crate::task::{Failure, Run, Task, TaskError};

/// How a run ended.
pub(crate) enum Ended {
    /// By itself.
    Returned(Result<Value, TaskError>),
    /// By the hard time limit.
    TimedOut(Duration),
    /// By remote control, as by this signal.
    Terminated(i32),
}

/// Runs a task within its limits, until it is told to end. `over` tells it of the soft limit.
pub(crate) async fn run(task: &Task, run: Run, facts: &Facts, over: Option<watch::Sender<bool>>) -> Ended {
    let policy = &facts.policy;
    match run {
        Run::Async(future) => {
            let guarded = AssertUnwindSafe(future).catch_unwind();
            if policy.time_limit.is_none() && policy.soft_time_limit.is_none() {
                return tokio::select! {
                    biased;
                    caught = guarded => Ended::Returned(caught.unwrap_or_else(|panic| Err(panicked(panic.as_ref())))),
                    signal = facts.end.told() => Ended::Terminated(signal),
                };
            }
            within(task, facts, over, true, guarded).await
        }
        Run::Blocking(code) => {
            let (started, has_started) = oneshot::channel();
            let mut thread = Unstarted(tokio::task::spawn_blocking(move || {
                let _ = started.send(());
                std::panic::catch_unwind(AssertUnwindSafe(code))
            }));
            // The time that it waits for a thread is not its own.
            let _ = has_started.await;
            let joined =
                async { (&mut thread.0).await.unwrap_or_else(|error| Err(Box::new(error.to_string()) as _)) };
            within(task, facts, over, false, joined).await
        }
    }
}

/// Code that still waits for a thread when it is dropped does not run any more.
struct Unstarted(JoinHandle<Caught>);

impl Drop for Unstarted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

type Caught = Result<Result<Value, TaskError>, Box<dyn Any + Send>>;

async fn within(
    task: &Task,
    facts: &Facts,
    over: Option<watch::Sender<bool>>,
    can_be_dropped: bool,
    run: impl Future<Output = Caught>,
) -> Ended {
    let (start, policy) = (Instant::now(), &facts.policy);
    let at = |limit: Option<Duration>| async move {
        match limit.and_then(|limit| start.checked_add(limit)) {
            Some(end) => sleep_until(end).await,
            None => std::future::pending().await,
        }
    };
    let (soft, hard) = (at(policy.soft_time_limit), at(policy.time_limit));
    tokio::pin!(run, soft, hard);
    let mut told = false;
    loop {
        tokio::select! {
            biased;
            caught = &mut run => {
                return Ended::Returned(caught.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))));
            }
            signal = facts.end.told() => return Ended::Terminated(signal),
            () = &mut hard => return Ended::TimedOut(policy.time_limit.unwrap_or_default()),
            () = &mut soft, if !told => {
                told = true;
                let seconds = seconds(policy.soft_time_limit.unwrap_or_default());
                tracing::warn!("Soft time limit ({seconds}s) exceeded for {}[{}]", task.name(), task.id());
                if let Some(over) = &over {
                    over.send_replace(true);
                }
                let watched = task.request().overtime.as_ref().is_some_and(|overtime| overtime.is_watched());
                if can_be_dropped && !watched {
                    let failure = Failure::celery("SoftTimeLimitExceeded", seconds);
                    return Ended::Returned(Err(TaskError::Failure(failure)));
                }
            }
        }
    }
}

/// Seconds as Python prints them: `30`, `0.5`.
pub(crate) fn seconds(time: Duration) -> String {
    time.as_secs_f64().to_string()
}

fn panicked(panic: &(dyn Any + Send)) -> TaskError {
    let message = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "the task panicked".to_owned());
    TaskError::Failure(Failure { module: None, ..Failure::new("Panic", message) })
}
