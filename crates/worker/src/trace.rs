//! A request's life from its runner to its end: run it, follow it up, store what came of it, settle it.
//!
//! The order is that of `celery/app/trace.py`: what follows is sent before the result is stored, and a late
//! acknowledgement comes last, so that a worker that dies between two steps repeats rather than loses.

mod running;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_protocol::codec::Accept;
use celeriac_protocol::result::{Exception, Extended};
use celeriac_protocol::{Embed, Map, Signature, State, TaskHeaders, TaskMeta, Value, time};
use celeriac_results::{ReplyTo, ResultStore, Retry};
use chrono::Utc;
use tokio::sync::watch;

use crate::attempt::{self, Ended};
use crate::backend::Backend;
use crate::chord::{self, Part};
use crate::counters::Counters;
use crate::events::Dispatcher;
use crate::launch::Launch;
use crate::producer::Producer;
use crate::request::{Facts, Request};
use crate::revokes::Revokes;
use crate::task::{ArgumentError, Context, Failure, Overtime, Task, TaskError};
use crate::wall::now;

/// Runs requests and does what their outcome asks for.
pub(crate) struct Tracer {
    pub(crate) hostname: Arc<str>,
    pub(crate) accept: Accept,
    pub(crate) result_extended: bool,
    pub(crate) chord_join_timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) store: Arc<dyn ResultStore>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) events: Arc<Dispatcher>,
    pub(crate) revokes: Arc<Revokes>,
}

/// A request that was opened: its arguments went to its task, the rest is here.
struct Running {
    task: Task,
    facts: Arc<Facts>,
    request: Box<Request>,
    embed: Embed,
    extended: Option<Extended>,
    started: Instant,
    /// Its result could not be stored, or not counted in its chord: its message goes back.
    undone: bool,
}

impl Tracer {
    pub(crate) async fn run(&self, mut request: Box<Request>) {
        let facts = request.facts.clone();
        if let Some(revocation) = self.revokes.check(&facts, Utc::now()) {
            return self.discard(request, revocation).await;
        }
        let body = match facts.body.decode(&self.accept) {
            Ok(body) => body,
            Err(error) => return self.refuse_body(request, &error.to_string()).await,
        };
        let over = facts.policy.soft_time_limit.map(|_| watch::channel(false));
        let (over, overtime) = over.map(|(over, watch)| (over, Overtime::new(watch))).unzip();
        let extended = self.extended(&facts, &body.args, &body.kwargs);
        let task = Task::new(Context {
            headers: facts.headers.clone(),
            queue: facts.origin.queue.clone(),
            routing_key: facts.origin.routing_key.clone(),
            redelivered: facts.origin.redelivered,
            priority: facts.properties.priority,
            hostname: self.hostname.clone(),
            overtime,
        });
        // The task's own types read the arguments: their panic is its failure.
        let prepare = || facts.task.task.task.prepare(&task, body.args, body.kwargs);
        let prepared = catch_unwind(AssertUnwindSafe(prepare))
            .unwrap_or_else(|_| Err(ArgumentError::new("reading the arguments panicked")));
        let embed = body.embed;
        if !facts.policy.acks_late && prepared.is_ok() {
            if facts.task.task.pace.is_short() { request.ack() } else { request.ack_now() }
        }
        let mut running =
            Running { task, facts, request, embed, extended, started: Instant::now(), undone: false };
        let run = match prepared {
            Ok(run) => run,
            Err(error) => {
                // It can never run here: a dead-letter exchange gets it, whatever the ack mode.
                let told = running.fail(self, Failure::new("TypeError", error.to_string())).await;
                return running.refuse(self, told);
            }
        };
        running.facts.progress.start(now(), std::process::id());
        running.facts.task.count_run();
        self.counters.started.count();
        self.events.task("task-started", &running.facts, |_| {});
        if running.facts.policy.track_started {
            let meta = TaskMeta::started(running.task.id(), std::process::id(), &*self.hostname);
            running.store(self, meta).await;
        }
        running.started = Instant::now();
        match attempt::run(&running.task, run, &running.facts, over).await {
            Ended::Returned(Ok(value)) => running.succeed(self, value).await,
            Ended::Returned(Err(TaskError::Failure(failure))) => running.fail_or_retry(self, failure).await,
            Ended::Returned(Err(TaskError::Retry(options))) => running.retry(self, *options).await,
            Ended::Returned(Err(TaskError::Reject { requeue, reason })) => {
                self.counters.rejected.count();
                tracing::info!("Task {} rejected: {reason}", running.facts.label());
                running.reject(self, requeue);
            }
            Ended::Returned(Err(TaskError::Ignore)) => running.ignore(self),
            Ended::TimedOut(limit) => running.time_out(self, limit).await,
            Ended::Terminated(signal) => running.terminate(self, signal).await,
        }
    }

    /// Tells monitors and the result store that a task was revoked.
    pub(crate) async fn announce_revoked(
        &self,
        facts: &Facts,
        reason: &str,
        signal: Option<i32>,
        expired: bool,
    ) {
        self.events.task("task-revoked", facts, |fields| {
            fields.insert("terminated", signal.is_some());
            fields.insert("signum", signal.map_or(Value::Null, |signal| Value::Int(signal.into())));
            fields.insert("expired", expired);
        });
        let meta = TaskMeta::revoked(&facts.headers.id, reason);
        let (state, result) = (meta.state.clone(), meta.result.clone());
        if facts.policy.store_errors {
            self.store(meta, &facts.headers, &facts.reply_to(), true).await;
        }
        // Only what is in a group may be in a chord: other bodies need not be read.
        let body = facts.headers.group.as_ref().and_then(|_| facts.body.decode(&self.accept).ok());
        if let Some(body) = body.and_then(|body| body.embed.chord) {
            self.end_part(facts, body, &state, &result, true).await;
        }
    }

    /// Counts a task in the chord that it is a part of; false when it should run again for that.
    async fn end_part(
        &self,
        facts: &Facts,
        body: Signature,
        state: &State,
        result: &Value,
        settled: bool,
    ) -> bool {
        let headers = &*facts.headers;
        let Some(group) = headers.group.clone() else { return true };
        let (id, index, redelivered) = (headers.id.clone(), headers.group_index, facts.origin.redelivered);
        let part = Part { id, group, index, redelivered, settled, body };
        chord::ended(self, &self.launch(headers), part, state, result).await
    }

    fn launch<'a>(&'a self, parent: &'a TaskHeaders) -> Launch<'a> {
        Launch { producer: &self.producer, store: &*self.store, parent }
    }

    /// Tells of a task that was ended because the broker is lost, and runs again (`celery/worker/request.py`,
    /// `_announce_cancelled`).
    pub(crate) async fn cancelled(&self, facts: &Facts) {
        self.events.task("task-cancelled", facts, |_| {});
        if !facts.policy.ignore_result {
            let exception = Exception::new("Retry", "celery.exceptions", "cancelled by Celery");
            let meta = TaskMeta::retry(&facts.headers.id, exception, None);
            self.store(meta, &facts.headers, &facts.reply_to(), true).await;
        }
    }

    /// A body that cannot be read will not be better next time.
    async fn refuse_body(&self, mut request: Box<Request>, reason: &str) {
        let facts = request.facts.clone();
        self.counters.invalid.count();
        tracing::error!("Received invalid task message: {}: {reason}", facts.label());
        if facts.policy.store_errors {
            let exception = Exception::new("InvalidTaskError", "celery.exceptions", reason);
            let meta = TaskMeta::failure(&facts.headers.id, exception, None);
            self.store(meta, &facts.headers, &facts.reply_to(), true).await;
        }
        request.refuse(false);
    }

    /// Stores what became of a task; what cannot be stored is logged. `settled` says that its message is, so that there
    /// is no use in waiting for a store that is away: the others wait, and are given back if it was in vain, which is
    /// false.
    pub(crate) async fn store(
        &self,
        mut meta: TaskMeta,
        headers: &TaskHeaders,
        reply_to: &ReplyTo,
        settled: bool,
    ) -> bool {
        meta.date_done = meta.state.is_ready().then(|| time::iso(Utc::now()));
        meta.group_id = headers.group.clone();
        meta.parent_id = headers.parent_id.clone();
        let stored = if settled {
            self.store.hold(&meta, Some(reply_to)).await
        } else {
            self.retry.insist(&meta.id, || self.store.store(&meta, Some(reply_to))).await
        };
        match stored {
            Ok(()) => true,
            Err(error) => {
                tracing::error!("Cannot store the result of {}[{}]: {error}", headers.task, headers.id);
                !error.is_recoverable()
            }
        }
    }

    fn extended(&self, facts: &Facts, args: &[Value], kwargs: &Map) -> Option<Extended> {
        self.result_extended.then(|| Extended {
            name: Some(facts.headers.task.clone()),
            args: Value::List(args.to_vec()),
            kwargs: Value::Map(kwargs.clone()),
            worker: Some(self.hostname.to_string()),
            retries: Some(facts.headers.retries),
            queue: Some(facts.origin.routing_key.clone()),
        })
    }
}
