//! A request's life from its runner to its end: run it, follow it up, store what came of it, settle it.
//!
//! The order is that of `celery/app/trace.py`: what follows is sent before the result is stored, and a late
//! acknowledgement comes last, so that a worker that dies between two steps repeats rather than loses.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_broker::Address;
use celeriac_protocol::codec::Accept;
use celeriac_protocol::result::{Exception, Extended};
use celeriac_protocol::{
    Embed, Map, Signature, State, TaskHeaders, TaskMessage, TaskMeta, Value, repr, time,
};
use celeriac_results::{ReplyTo, ResultStore, Retry};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::attempt::{self, Ended, seconds};
use crate::backend::Backend;
use crate::backoff::random;
use crate::chord::{self, Part};
use crate::counters::Counters;
use crate::events::Dispatcher;
use crate::followup;
use crate::launch::{Launch, patiently};
use crate::producer::{Producer, expiration};
use crate::request::{Facts, Policy, Request};
use crate::revokes::Revokes;
use crate::task::{ArgumentError, Context, Failure, Overtime, RetryOptions, Task, TaskError, TaskOptions};
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
    /// Its result could not be stored: its message goes back if it still can.
    unstored: bool,
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
            Running { task, facts, request, embed, extended, started: Instant::now(), unstored: false };
        let run = match prepared {
            Ok(run) => run,
            Err(error) => {
                // It can never run here: a dead-letter exchange gets it, whatever the ack mode.
                let told = running.fail(self, Failure::new("TypeError", error.to_string())).await;
                running.reject(self, false);
                return running.tell_failed(self, told);
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
            self.end_part(facts, body, &state, &result).await;
        }
    }

    /// Counts a task in the chord that it is a part of.
    async fn end_part(&self, facts: &Facts, body: Signature, state: &State, result: &Value) {
        let headers = &*facts.headers;
        let Some(group) = headers.group.as_deref() else { return };
        let redelivered = facts.origin.redelivered;
        let part = Part { id: &headers.id, group, index: headers.group_index, redelivered, body };
        chord::ended(self, &self.launch(headers), part, state, result).await;
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

impl Running {
    fn headers(&self) -> &TaskHeaders {
        &self.facts.headers
    }

    fn policy(&self) -> &Policy {
        &self.facts.policy
    }

    fn options(&self) -> &TaskOptions {
        &self.facts.task.task.options
    }

    fn label(&self) -> String {
        self.facts.label()
    }

    async fn succeed(&mut self, tracer: &Tracer, value: Value) {
        let runtime = self.started.elapsed().as_secs_f64();
        let shown = (tracing::enabled!(tracing::Level::INFO) || tracer.events.wants_tasks())
            .then(|| repr::value(&value));
        let mut embed = std::mem::take(&mut self.embed);
        let followed = followup::after_success(&tracer.launch(self.headers()), &mut embed, &value).await;
        let chord = embed.chord.take();
        let children = match followed {
            Ok(children) => children,
            Err(error) => {
                self.embed = Embed { chord, ..embed };
                return self.fail_and_settle(tracer, Failure::from_error(&error)).await;
            }
        };
        tracer.counters.succeeded.count();
        let part = chord.map(|body| (body, value.clone()));
        if !self.policy().ignore_result {
            let mut meta = TaskMeta::success(self.task.id(), value);
            meta.children = children;
            if !self.store(tracer, meta).await {
                return self.reject(tracer, true);
            }
        }
        if let Some((body, value)) = part {
            tracer.end_part(&self.facts, body, &State::Success, &value).await;
        }
        if let Some(shown) = shown {
            tracing::info!("Task {} succeeded in {runtime:.6}s: {shown}", self.label());
            tracer.events.task("task-succeeded", &self.facts, |fields| {
                fields.insert("result", shown);
                fields.insert("runtime", runtime);
            });
        }
        if self.policy().acks_late {
            self.request.ack();
        }
    }

    async fn fail_or_retry(&mut self, tracer: &Tracer, failure: Failure) {
        let options = self.options();
        let left = options.max_retries.is_none_or(|limit| self.task.retries() < limit);
        if !options.autoretry || !left {
            return self.fail_and_settle(tracer, failure).await;
        }
        let countdown = match options.retry_backoff {
            Some(first) => {
                let whole = exponential(first, options.retry_backoff_max, self.task.retries());
                if options.retry_jitter { whole.mul_f64(random()) } else { whole }
            }
            None => options.default_retry_delay,
        };
        let retry =
            RetryOptions { countdown: Some(countdown), cause: Some(failure), ..RetryOptions::default() };
        self.retry(tracer, retry).await;
    }

    async fn retry(&mut self, tracer: &Tracer, options: RetryOptions) {
        let limit = options.max_retries.or(self.options().max_retries);
        if limit.is_some_and(|limit| self.task.retries() >= limit) {
            let failure = options.cause.unwrap_or_else(|| self.retries_exceeded());
            return self.fail_and_settle(tracer, failure).await;
        }
        let countdown = options.countdown.unwrap_or(self.options().default_retry_delay);
        let eta = options.eta.unwrap_or_else(|| later(Utc::now(), countdown));
        // The body goes back as it came, untouched.
        let mut message = TaskMessage {
            headers: self.headers().clone(),
            properties: self.facts.properties.clone(),
            body: self.facts.body.clone(),
        };
        message.headers.retries = message.headers.retries.saturating_add(1);
        message.headers.eta = Some(eta);
        // What is left of its time is counted from now on.
        let left = message.headers.expires.map(|expires| (expires - Utc::now()).to_std().unwrap_or_default());
        message.properties.expiration = left.and_then(expiration);
        let origin = &self.facts.origin;
        let address = Address::exchange(&origin.exchange, &origin.routing_key);
        let sent = patiently(|| tracer.producer.forward(address.clone(), message.clone())).await;
        if let Err(error) = sent {
            // As Celery: what cannot be tried again is rejected (`celery/app/task.py`, `retry`).
            let told = self.fail(tracer, Failure::from_error(&error)).await;
            self.reject(tracer, false);
            return self.tell_failed(tracer, told);
        }
        tracer.counters.retried.count();

        let wait = seconds((eta - Utc::now()).to_std().unwrap_or_default());
        let traceback = options.cause.as_ref().map(|cause| traceback(&self.label(), &tracer.hostname, cause));
        let cause = options.cause.map(|cause| cause.repr());
        let reason = cause.as_ref().map(|cause| format!(": {cause}")).unwrap_or_default();
        if !self.policy().ignore_result {
            let exception = Exception::new("Retry", "celery.exceptions", format!("Retry in {wait}s{reason}"));
            self.store(tracer, TaskMeta::retry(self.task.id(), exception, None)).await;
        }
        tracing::info!("Task {} retry: Retry in {wait}s{reason}", self.label());
        if self.policy().acks_late {
            self.request.ack();
        }
        tracer.events.task("task-retried", &self.facts, |fields| {
            fields.insert("exception", cause.unwrap_or_else(|| "None".to_owned()));
            fields.insert("traceback", traceback.unwrap_or_default());
        });
    }

    fn retries_exceeded(&self) -> Failure {
        let headers = self.headers();
        let text = format!(
            "Can't retry {} args:{} kwargs:{}",
            self.label(),
            headers.argsrepr.as_deref().unwrap_or("()"),
            headers.kwargsrepr.as_deref().unwrap_or("{}"),
        );
        Failure::celery("MaxRetriesExceededError", text)
    }

    async fn fail_and_settle(&mut self, tracer: &Tracer, failure: Failure) {
        let told = self.fail(tracer, failure).await;
        if self.unstored {
            return self.reject(tracer, true);
        }
        if self.policy().acks_late {
            if self.policy().acks_on_failure_or_timeout {
                self.request.ack();
            } else {
                self.reject(tracer, false);
            }
        }
        self.tell_failed(tracer, told);
    }

    async fn time_out(&mut self, tracer: &Tracer, limit: Duration) {
        tracing::error!("Hard time limit ({}s) exceeded for {}", seconds(limit), self.label());
        let module = Some("billiard.exceptions".to_owned());
        let failure = Failure { module, ..Failure::new("TimeLimitExceeded", seconds(limit)) };
        let told = self.fail(tracer, failure).await;
        if self.unstored {
            return self.reject(tracer, true);
        }
        if self.policy().acks_late && !self.policy().acks_on_failure_or_timeout {
            // It runs again: no monitor hears of the failure (`celery/worker/request.py`, `on_failure`).
            return self.reject(tracer, true);
        }
        if self.policy().acks_late {
            self.request.ack();
        }
        self.tell_failed(tracer, told);
    }

    async fn terminate(&mut self, tracer: &Tracer, signal: i32) {
        tracer.counters.revoked.count();
        tracing::info!("Task {} terminated by remote control (signal {signal})", self.label());
        tracer.announce_revoked(&self.facts, "terminated", Some(signal), false).await;
        self.request.ack();
    }

    /// Does all of a failure that comes before the delivery is settled; returns what monitors are told after that.
    async fn fail(&mut self, tracer: &Tracer, failure: Failure) -> [(&'static str, String); 2] {
        tracer.counters.failed.count();
        let (shown, traceback) = (failure.repr(), traceback(&self.label(), &tracer.hostname, &failure));
        tracing::error!("Task {} raised unexpected: {shown}\n{traceback}", self.label());
        let meta = TaskMeta::failure(self.task.id(), exception(&failure), Some(traceback.clone()));
        if self.policy().store_errors {
            self.store(tracer, meta.clone()).await;
        }
        let told = [("exception", shown), ("traceback", traceback)];
        if self.unstored {
            return told;
        }
        let Embed { errbacks, chain, chord, .. } = std::mem::take(&mut self.embed);
        if let Some(body) = chord {
            tracer.end_part(&self.facts, body, &meta.state, &meta.result).await;
        }
        for next in chain {
            self.fail_next(tracer, next, &meta).await;
        }
        followup::after_failure(&tracer.launch(self.headers()), self.task.id(), errbacks).await;
        told
    }

    /// A task of the chain that is never run has failed too: somebody may wait for it, or a chord count on it
    /// (`celery/backends/base.py`, `mark_as_failure`).
    async fn fail_next(&self, tracer: &Tracer, next: Signature, failure: &TaskMeta) {
        let text = |key: &str| next.options.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(id) = text("task_id") else { return };
        let group = text("group_id");
        if self.policy().store_errors {
            let headers = TaskHeaders {
                group: group.clone(),
                parent_id: text("parent_id"),
                ..TaskHeaders::new(next.task.as_str(), id.as_str())
            };
            let reply_to = ReplyTo { correlation_id: id.clone(), ..self.facts.reply_to() };
            let meta = TaskMeta { id: id.clone(), ..failure.clone() };
            tracer.store(meta, &headers, &reply_to, self.facts.is_settled()).await;
        }
        let body = next.options.get("chord").cloned().map(Signature::from_value);
        if let (Some(group), Some(Ok(body))) = (group, body) {
            let index = next.options.get("group_index").and_then(Value::as_i64);
            let redelivered = self.facts.origin.redelivered;
            let part = Part { id: &id, group: &group, index, redelivered, body };
            let launch = tracer.launch(self.headers());
            chord::ended(tracer, &launch, part, &failure.state, &failure.result).await;
        }
    }

    fn tell_failed(&self, tracer: &Tracer, told: [(&'static str, String); 2]) {
        tracer.events.task("task-failed", &self.facts, |fields| {
            told.into_iter().for_each(|(key, value)| drop(fields.insert(key, value)));
        });
    }

    fn reject(&mut self, tracer: &Tracer, requeue: bool) {
        if self.request.refuse(requeue) {
            tracer.events.task("task-rejected", &self.facts, |fields| {
                fields.insert("requeue", requeue);
            });
        }
    }

    fn ignore(&mut self, tracer: &Tracer) {
        tracer.counters.rejected.count();
        tracing::info!("Task {} ignored", self.label());
        self.request.ack();
    }

    /// Stores a state; false when the task has to run again because it could not be.
    async fn store(&mut self, tracer: &Tracer, mut meta: TaskMeta) -> bool {
        meta.extended = self.extended.clone();
        let settled = self.facts.is_settled();
        let stored = tracer.store(meta, self.headers(), &self.facts.reply_to(), settled).await || settled;
        self.unstored = !stored;
        stored
    }
}

fn later(now: DateTime<Utc>, countdown: Duration) -> DateTime<Utc> {
    let countdown = chrono::Duration::from_std(countdown).unwrap_or(chrono::Duration::MAX);
    now.checked_add_signed(countdown).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// `celery/utils/time.py`, `get_exponential_backoff_interval`, without its jitter.
fn exponential(first: Duration, limit: Duration, retries: u32) -> Duration {
    first.checked_mul(2u32.saturating_pow(retries)).unwrap_or(limit).min(limit)
}

fn exception(failure: &Failure) -> Exception {
    Exception::new(&failure.kind, failure.module.as_deref().unwrap_or("celery.exceptions"), &failure.message)
}

/// What a Python traceback would tell, as far as Rust knows it.
fn traceback(label: &str, hostname: &str, failure: &Failure) -> String {
    let mut text = format!("Traceback (most recent call last):\n  Task {label} on {hostname}\n");
    for cause in failure.causes.iter().rev() {
        text.push_str(&format!("  caused by: {cause}\n"));
    }
    text.push_str(&format!("{}: {}", failure.kind, failure.message));
    text
}
