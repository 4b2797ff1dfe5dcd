//! What becomes of a request: events, counters, and the word to the broker (`celery/worker/request.py`).

use celeriac_protocol::Value;
use celeriac_worker::{Facts, Parts, Request};

use crate::host::{Action, Answer, State};

/// The exit codes of children that end in order: `EX_OK`, and `EX_RECYCLE` at a limit.
const ORDERLY: [i32; 2] = [0, 155];

/// Tells that a request runs, and acknowledges it unless that comes late. One that is known to be short may wait for
/// others with its acknowledgement.
pub fn begin(parts: &Parts, request: &mut Request, is_short: bool, pid: u32) {
    let facts = request.facts.clone();
    if !facts.policy.acks_late {
        if is_short { request.ack() } else { request.ack_now() }
    }
    facts.progress.start(celeriac_worker::wall::now(), pid);
    facts.task.count_run();
    parts.counters.started.count();
    parts.events.task("task-started", &facts, |_| {});
    tracing::debug!("Task accepted: {} pid:{pid}", facts.label());
}

/// Does what a child's answer asks for; the tracer has stored and logged.
pub fn answered(parts: &Parts, request: &mut Request, answer: Answer) {
    let facts = request.facts.clone();
    let policy = &facts.policy;
    match answer.state {
        State::Ok => {
            parts.counters.succeeded.count();
            if policy.acks_late {
                request.ack();
            }
            parts.events.task("task-succeeded", &facts, |fields| {
                fields.insert("result", answer.text);
                fields.insert("runtime", answer.runtime);
            });
        }
        State::Retry => {
            parts.counters.retried.count();
            if policy.acks_late {
                request.ack();
            }
            raised(parts, &facts, "task-retried", answer);
        }
        State::Failure => {
            parts.counters.failed.count();
            match (policy.acks_late, policy.acks_on_failure_or_timeout) {
                (true, true) => request.ack(),
                (true, false) => reject(parts, request, false),
                (false, _) => {}
            }
            raised(parts, &facts, "task-failed", answer);
        }
        State::Ignore => {
            parts.counters.rejected.count();
            request.ack();
        }
        State::Reject { requeue } => {
            parts.counters.rejected.count();
            reject(parts, request, requeue);
        }
        // The service stores these first.
        State::Internal | State::Exit | State::Refused => {}
    }
}

/// Does what the service leaves to us.
pub fn act(parts: &Parts, request: &mut Request, actions: Vec<Action>) {
    for action in actions {
        match action {
            Action::Event { kind, fields } => parts.events.send(kind, fields),
            Action::Ack => request.ack(),
            Action::Reject { requeue } => {
                request.refuse(requeue);
            }
        }
    }
}

/// Rejects a request, and says so where that is news.
pub fn reject(parts: &Parts, request: &mut Request, requeue: bool) {
    if request.refuse(requeue) {
        let facts = request.facts.clone();
        parts.events.task("task-rejected", &facts, |fields| drop(fields.insert("requeue", requeue)));
    }
}

/// What Celery's `WorkerLostError` says.
pub fn worker_lost(status: i32, job: u64) -> String {
    format!("Worker exited prematurely: {} Job: {job}.", human(status))
}

/// An exit code in words, unless it is one of those that are expected.
pub fn unexpected(status: i32) -> Option<String> {
    (!ORDERLY.contains(&status)).then(|| human(status))
}

fn raised(parts: &Parts, facts: &Facts, kind: &'static str, answer: Answer) {
    parts.events.task(kind, facts, |fields| {
        fields.insert("exception", answer.text);
        fields.insert("traceback", Value::from(answer.traceback));
    });
}

/// `billiard/common.py`, `human_status`.
fn human(status: i32) -> String {
    match status.checked_neg().filter(|signal| *signal > 0) {
        Some(signal) => match celeriac_worker::control::signal_name(signal) {
            Some(name) => format!("signal {signal} (SIG{name})"),
            None => format!("signal {signal}"),
        },
        None => format!("exitcode {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_worker_is_told_in_celerys_words() {
        assert_eq!(worker_lost(-9, 3), "Worker exited prematurely: signal 9 (SIGKILL) Job: 3.");
        assert_eq!(worker_lost(-60, 3), "Worker exited prematurely: signal 60 Job: 3.");
        assert_eq!(worker_lost(1, 7), "Worker exited prematurely: exitcode 1 Job: 7.");
        assert_eq!((unexpected(0), unexpected(155)), (None, None));
    }
}
