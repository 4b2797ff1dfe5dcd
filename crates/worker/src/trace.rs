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
use celeriac_protocol::{Embed, Map, TaskHeaders, TaskMeta, Value, repr, time};
use celeriac_results::{ReplyTo, ResultStore};
use chrono::{DateTime, Utc};
use tokio::sync::watch;

use crate::attempt::{self, Ended, seconds};
use crate::backoff::random;
use crate::counters::Counters;
use crate::followup;
use crate::producer::{Producer, expiration};
use crate::request::{Origin, Policy, Request};
use crate::task::{ArgumentError, Context, Failure, Overtime, RetryOptions, Task, TaskError, TaskOptions};

/// Runs requests and does what their outcome asks for.
pub(crate) struct Tracer {
    pub(crate) hostname: Arc<str>,
    pub(crate) accept: Accept,
    pub(crate) result_extended: bool,
    pub(crate) store: Arc<dyn ResultStore>,
    pub(crate) producer: Arc<Producer>,
    pub(crate) counters: Arc<Counters>,
}

/// A request that was opened: its arguments went to its task, the rest is here.
struct Running {
    task: Task,
    request: Box<Request>,
    embed: Embed,
    extended: Option<Extended>,
    started: Instant,
}

impl Tracer {
    pub(crate) async fn run(&self, mut request: Box<Request>) {
        if request.is_expired(Utc::now()) {
            return self.expire(request).await;
        }
        let body = match request.message.body.decode(&self.accept) {
            Ok(body) => body,
            Err(error) => return self.refuse_body(request, &error.to_string()).await,
        };
        let over = request.policy.soft_time_limit.map(|_| watch::channel(false));
        let (over, overtime) = over.map(|(over, watch)| (over, Overtime::new(watch))).unzip();
        let extended = self.extended(&request, &body.args, &body.kwargs);
        let task = Task::new(Context {
            headers: std::mem::take(&mut request.message.headers),
            queue: request.origin.queue.clone(),
            routing_key: request.origin.routing_key.clone(),
            redelivered: request.origin.redelivered,
            priority: request.message.properties.priority,
            hostname: self.hostname.clone(),
            overtime,
        });
        // The task's own types read the arguments: their panic is its failure.
        let prepare = || request.task.task.prepare(&task, body.args, body.kwargs);
        let prepared = catch_unwind(AssertUnwindSafe(prepare))
            .unwrap_or_else(|_| Err(ArgumentError::new("reading the arguments panicked")));
        let mut running = Running { task, request, embed: body.embed, extended, started: Instant::now() };
        let run = match prepared {
            Ok(run) => run,
            Err(error) => {
                // It can never run here: a dead-letter exchange gets it, whatever the ack mode.
                running.fail(self, Failure::new("TypeError", error.to_string())).await;
                return running.request.ticket.refuse(false);
            }
        };
        if !running.request.policy.acks_late {
            if running.request.task.pace.is_short() {
                running.request.ticket.ack();
            } else {
                running.request.ticket.ack_now();
            }
        }
        if running.request.policy.track_started {
            let meta = TaskMeta::started(running.task.id(), std::process::id(), &*self.hostname);
            running.store(self, meta).await;
        }
        running.started = Instant::now();
        match attempt::run(&running.task, run, &running.request.policy, over).await {
            Ended::Returned(Ok(value)) => running.succeed(self, value).await,
            Ended::Returned(Err(TaskError::Failure(failure))) => running.fail_or_retry(self, failure).await,
            Ended::Returned(Err(TaskError::Retry(options))) => running.retry(self, *options).await,
            Ended::Returned(Err(TaskError::Reject { requeue, reason })) => {
                running.reject(self, requeue, &reason);
            }
            Ended::Returned(Err(TaskError::Ignore)) => running.ignore(self),
            Ended::TimedOut(limit) => running.time_out(self, limit).await,
        }
    }

    async fn expire(&self, mut request: Box<Request>) {
        self.counters.expired.count();
        tracing::info!("Discarding revoked task: {}", request.label());
        if request.policy.store_errors {
            let meta = TaskMeta::revoked(&request.message.headers.id, "expired");
            self.store(meta, &request.message.headers, &request.reply_to()).await;
        }
        request.ticket.ack();
    }

    /// A body that cannot be read will not be better next time.
    async fn refuse_body(&self, mut request: Box<Request>, reason: &str) {
        self.counters.invalid.count();
        tracing::error!("Received invalid task message: {}: {reason}", request.label());
        if request.policy.store_errors {
            let exception = Exception::new("InvalidTaskError", "celery.exceptions", reason);
            let meta = TaskMeta::failure(&request.message.headers.id, exception, None);
            self.store(meta, &request.message.headers, &request.reply_to()).await;
        }
        request.ticket.refuse(false);
    }

    /// Stores what became of a task. The stores try again by themselves; what they give up is told here.
    pub(crate) async fn store(&self, mut meta: TaskMeta, headers: &TaskHeaders, reply_to: &ReplyTo) {
        meta.date_done = meta.state.is_ready().then(|| time::iso(Utc::now()));
        meta.group_id = headers.group.clone();
        meta.parent_id = headers.parent_id.clone();
        if let Err(error) = self.store.store(&meta, Some(reply_to)).await {
            tracing::error!("Cannot store the result of {}[{}]: {error}", headers.task, headers.id);
        }
    }

    fn extended(&self, request: &Request, args: &[Value], kwargs: &Map) -> Option<Extended> {
        self.result_extended.then(|| Extended {
            name: Some(request.message.headers.task.clone()),
            args: Value::List(args.to_vec()),
            kwargs: Value::Map(kwargs.clone()),
            worker: Some(self.hostname.to_string()),
            retries: Some(request.message.headers.retries),
            queue: Some(request.origin.routing_key.clone()),
        })
    }
}

impl Running {
    fn headers(&self) -> &TaskHeaders {
        &self.task.request().headers
    }

    fn policy(&self) -> &Policy {
        &self.request.policy
    }

    fn options(&self) -> &TaskOptions {
        &self.request.task.options
    }

    fn label(&self) -> String {
        format!("{}[{}]", self.headers().name(), self.headers().id)
    }

    async fn succeed(&mut self, tracer: &Tracer, value: Value) {
        let runtime = self.started.elapsed().as_secs_f64();
        let shown = tracing::enabled!(tracing::Level::INFO).then(|| repr::value(&value));
        let embed = std::mem::take(&mut self.embed);
        let children = match followup::after_success(&tracer.producer, self.headers(), embed, &value).await {
            Ok(children) => children,
            Err(error) => return self.fail_and_settle(tracer, Failure::from_error(&error)).await,
        };
        tracer.counters.succeeded.count();
        if !self.policy().ignore_result {
            let mut meta = TaskMeta::success(self.task.id(), value);
            meta.children = children;
            self.store(tracer, meta).await;
        }
        if let Some(shown) = shown {
            tracing::info!("Task {} succeeded in {runtime:.6}s: {shown}", self.label());
        }
        if self.policy().acks_late {
            self.request.ticket.ack();
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
        let mut message = self.request.message.clone();
        message.headers = self.headers().clone();
        message.headers.retries = message.headers.retries.saturating_add(1);
        message.headers.eta = Some(eta);
        // What is left of its time is counted from now on.
        let left = message.headers.expires.map(|expires| (expires - Utc::now()).to_std().unwrap_or_default());
        message.properties.expiration = left.and_then(expiration);
        let Origin { exchange, routing_key, .. } = self.request.origin.clone();
        let address = Address { exchange, routing_key, mandatory: false };
        let sent = followup::patiently(|| tracer.producer.forward(address.clone(), message.clone())).await;
        if let Err(error) = sent {
            // As Celery: what cannot be tried again is rejected (`celery/app/task.py`, `retry`).
            self.fail(tracer, Failure::from_error(&error)).await;
            return self.request.ticket.refuse(false);
        }
        tracer.counters.retried.count();

        let wait = seconds((eta - Utc::now()).to_std().unwrap_or_default());
        let reason = options.cause.map(|cause| format!(": {}", cause.repr())).unwrap_or_default();
        if !self.policy().ignore_result {
            let exception = Exception::new("Retry", "celery.exceptions", format!("Retry in {wait}s{reason}"));
            self.store(tracer, TaskMeta::retry(self.task.id(), exception, None)).await;
        }
        tracing::info!("Task {} retry: Retry in {wait}s{reason}", self.label());
        if self.policy().acks_late {
            self.request.ticket.ack();
        }
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
        self.fail(tracer, failure).await;
        if self.policy().acks_late {
            if self.policy().acks_on_failure_or_timeout {
                self.request.ticket.ack();
            } else {
                self.request.ticket.refuse(false);
            }
        }
    }

    async fn time_out(&mut self, tracer: &Tracer, limit: Duration) {
        tracing::error!("Hard time limit ({}s) exceeded for {}", seconds(limit), self.label());
        let module = Some("billiard.exceptions".to_owned());
        let failure = Failure { module, ..Failure::new("TimeLimitExceeded", seconds(limit)) };
        self.fail(tracer, failure).await;
        if self.policy().acks_late {
            if self.policy().acks_on_failure_or_timeout {
                self.request.ticket.ack();
            } else {
                self.request.ticket.refuse(true);
            }
        }
    }

    async fn fail(&mut self, tracer: &Tracer, failure: Failure) {
        tracer.counters.failed.count();
        let traceback = traceback(&self.label(), &tracer.hostname, &failure);
        tracing::error!("Task {} raised unexpected: {}\n{traceback}", self.label(), failure.repr());
        if self.policy().store_errors {
            let exception = exception(&failure);
            self.store(tracer, TaskMeta::failure(self.task.id(), exception, Some(traceback))).await;
        }
        let errbacks = std::mem::take(&mut self.embed.errbacks);
        followup::after_failure(&tracer.producer, self.headers(), errbacks).await;
    }

    fn reject(&mut self, tracer: &Tracer, requeue: bool, reason: &str) {
        tracer.counters.rejected.count();
        tracing::info!("Task {} rejected: {reason}", self.label());
        self.request.ticket.refuse(requeue);
    }

    fn ignore(&mut self, tracer: &Tracer) {
        tracer.counters.rejected.count();
        tracing::info!("Task {} ignored", self.label());
        self.request.ticket.ack();
    }

    async fn store(&self, tracer: &Tracer, mut meta: TaskMeta) {
        meta.extended = self.extended.clone();
        let reply_to = ReplyTo {
            queue: self.request.message.properties.reply_to.clone().unwrap_or_default(),
            correlation_id: self
                .request
                .message
                .properties
                .correlation_id
                .clone()
                .unwrap_or_else(|| self.headers().id.clone()),
        };
        tracer.store(meta, self.headers(), &reply_to).await;
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
