//! What the outcome of a run asks for: what follows it, its state, its place in a chord, its settlement.

use std::time::Duration;

use celeriac_broker::Address;
use celeriac_protocol::result::Exception;
use celeriac_protocol::{Embed, Signature, State, TaskHeaders, TaskMessage, TaskMeta, Value, repr};
use celeriac_results::ReplyTo;
use chrono::{DateTime, Utc};

use super::{Running, Tracer};
use crate::attempt::seconds;
use crate::backoff::random;
use crate::chord::{self, Part};
use crate::followup;
use crate::launch::patiently;
use crate::producer::expiration;
use crate::request::Policy;
use crate::task::{Failure, RetryOptions, TaskOptions};

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

    pub(super) async fn succeed(&mut self, tracer: &Tracer, value: Value) {
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
            let settled = self.facts.is_settled();
            if !tracer.end_part(&self.facts, body, &State::Success, &value, settled).await {
                return self.reject(tracer, true);
            }
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

    pub(super) async fn fail_or_retry(&mut self, tracer: &Tracer, failure: Failure) {
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

    pub(super) async fn retry(&mut self, tracer: &Tracer, options: RetryOptions) {
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
            return self.refuse(tracer, told);
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
        if self.undone {
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

    pub(super) async fn time_out(&mut self, tracer: &Tracer, limit: Duration) {
        tracing::error!("Hard time limit ({}s) exceeded for {}", seconds(limit), self.label());
        let module = Some("billiard.exceptions".to_owned());
        let failure = Failure { module, ..Failure::new("TimeLimitExceeded", seconds(limit)) };
        let told = self.fail(tracer, failure).await;
        if self.undone {
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

    pub(super) async fn terminate(&mut self, tracer: &Tracer, signal: i32) {
        tracer.counters.revoked.count();
        tracing::info!("Task {} terminated by remote control (signal {signal})", self.label());
        tracer.announce_revoked(&self.facts, "terminated", Some(signal), false).await;
        self.request.ack();
    }

    /// Does all of a failure that comes before the delivery is settled; returns what monitors are told after that.
    pub(super) async fn fail(&mut self, tracer: &Tracer, failure: Failure) -> [(&'static str, String); 2] {
        tracer.counters.failed.count();
        let (shown, traceback) = (failure.repr(), traceback(&self.label(), &tracer.hostname, &failure));
        tracing::error!("Task {} raised unexpected: {shown}\n{traceback}", self.label());
        let meta = TaskMeta::failure(self.task.id(), exception(&failure), Some(traceback.clone()));
        if self.policy().store_errors {
            self.store(tracer, meta.clone()).await;
        }
        let told = [("exception", shown), ("traceback", traceback)];
        if self.undone {
            return told;
        }
        let Embed { errbacks, chain, chord, .. } = std::mem::take(&mut self.embed);
        if let Some(body) = chord {
            let settled = self.facts.is_settled();
            self.undone = !tracer.end_part(&self.facts, body, &meta.state, &meta.result, settled).await;
        }
        for next in chain {
            if self.undone {
                break;
            }
            self.undone = !self.fail_next(tracer, next, &meta).await;
        }
        if self.undone {
            return told;
        }
        followup::after_failure(&tracer.launch(self.headers()), self.task.id(), errbacks).await;
        told
    }

    /// A task of the chain that is never run has failed too: somebody may wait for it, or a chord count on it
    /// (`celery/backends/base.py`, `mark_as_failure`). Returns false when this one should run again for that.
    async fn fail_next(&self, tracer: &Tracer, next: Signature, failure: &TaskMeta) -> bool {
        let text = |key: &str| next.options.get(key).and_then(Value::as_str).map(str::to_owned);
        let Some(id) = text("task_id") else { return true };
        let settled = self.facts.is_settled();
        if self.policy().store_errors {
            let headers = TaskHeaders {
                group: text("group_id"),
                parent_id: text("parent_id"),
                ..TaskHeaders::new(next.task.as_str(), id.as_str())
            };
            let reply_to = ReplyTo { correlation_id: id.clone(), ..self.facts.reply_to() };
            let meta = TaskMeta { id: id.clone(), ..failure.clone() };
            if !tracer.store(meta, &headers, &reply_to, settled).await && !settled {
                return false;
            }
        }
        let Some(part) = Part::of(&next, self.facts.origin.redelivered, settled) else { return true };
        let launch = tracer.launch(self.headers());
        chord::ended(tracer, &launch, part, &failure.state, &failure.result).await
    }

    fn tell_failed(&self, tracer: &Tracer, told: [(&'static str, String); 2]) {
        tracer.events.task("task-failed", &self.facts, |fields| {
            told.into_iter().for_each(|(key, value)| drop(fields.insert(key, value)));
        });
    }

    pub(super) fn reject(&mut self, tracer: &Tracer, requeue: bool) {
        if self.request.refuse(requeue) {
            tracer.events.task("task-rejected", &self.facts, |fields| {
                fields.insert("requeue", requeue);
            });
        }
    }

    /// Rejects what can never run here, and was told to have failed: a dead-letter exchange gets it.
    pub(super) fn refuse(&mut self, tracer: &Tracer, told: [(&'static str, String); 2]) {
        self.reject(tracer, self.undone);
        if !self.undone {
            self.tell_failed(tracer, told);
        }
    }

    pub(super) fn ignore(&mut self, tracer: &Tracer) {
        tracer.counters.rejected.count();
        tracing::info!("Task {} ignored", self.label());
        self.request.ack();
    }

    /// Stores a state; false when the task has to run again because it could not be.
    pub(super) async fn store(&mut self, tracer: &Tracer, mut meta: TaskMeta) -> bool {
        meta.extended = self.extended.clone();
        let settled = self.facts.is_settled();
        let stored = tracer.store(meta, self.headers(), &self.facts.reply_to(), settled).await || settled;
        self.undone = !stored;
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
