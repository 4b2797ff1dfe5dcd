//! A task message on its way through the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use celeriac_broker::Delivery;
use celeriac_protocol::codec::Accept;
use celeriac_protocol::{EncodedBody, Properties, TaskError as MessageError, TaskHeaders, TaskMessage};
use celeriac_results::ReplyTo;
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::acks::Ticket;
use crate::requests::Listed;
use crate::served::Served;
use crate::settings::Settings;
use crate::task::TaskOptions;

/// A task that was received and is to be run.
pub(crate) struct Request {
    /// What is known of it, shared with those who are asked about it.
    pub(crate) facts: Arc<Facts>,
    /// Its place with the broker.
    pub(crate) ticket: Ticket,
    /// Its place among the worker's requests.
    _listed: Listed,
}

/// What is known of a request, by everybody who may be asked.
pub(crate) struct Facts {
    pub(crate) headers: Arc<TaskHeaders>,
    pub(crate) properties: Properties,
    /// The body as it came.
    pub(crate) body: EncodedBody,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The task that it calls.
    pub(crate) task: Arc<Served>,
    /// What holds for this call: the message's word, the task's options, the settings, in this order.
    pub(crate) policy: Policy,
    /// How far it is.
    pub(crate) progress: Progress,
    /// Whether it is to end.
    pub(crate) end: End,
}

/// How a message reached us.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) queue: Arc<str>,
    pub(crate) redelivered: bool,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Waits for its time.
    Scheduled,
    /// Waits for its rate limit or a runner.
    Reserved,
    /// Runs.
    Active,
}

/// How far a request is; read by others while it goes on.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    stage: AtomicU8,
    /// Seconds since 1970 as the bits of a float; zero is not started.
    started: AtomicU64,
    pub(crate) acknowledged: AtomicBool,
}

impl Progress {
    pub(crate) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Relaxed) {
            1 => Stage::Scheduled,
            2 => Stage::Active,
            _ => Stage::Reserved,
        }
    }

    pub(crate) fn set_stage(&self, stage: Stage) {
        let stage = match stage {
            Stage::Reserved => 0,
            Stage::Scheduled => 1,
            Stage::Active => 2,
        };
        self.stage.store(stage, Ordering::Relaxed);
    }

    /// When it started to run, in seconds since 1970.
    pub(crate) fn started(&self) -> Option<f64> {
        let started = f64::from_bits(self.started.load(Ordering::Relaxed));
        (started > 0.0).then_some(started)
    }

    pub(crate) fn start(&self, now: f64) {
        self.started.store(now.to_bits(), Ordering::Relaxed);
        self.set_stage(Stage::Active);
    }
}

/// Tells a request to end before it is done.
#[derive(Debug, Default)]
pub(crate) struct End {
    signal: AtomicI32,
    told: Notify,
}

impl End {
    /// Has it end as by this signal, now or when it starts.
    pub(crate) fn terminate(&self, signal: i32) {
        self.signal.store(signal.max(1), Ordering::Release);
        self.told.notify_one();
    }

    /// The signal by which it is to end.
    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Acquire)).filter(|signal| *signal > 0)
    }

    /// Waits until it is to end.
    pub(crate) async fn told(&self) -> i32 {
        loop {
            if let Some(signal) = self.signal() {
                return signal;
            }
            self.told.notified().await;
        }
    }
}

/// The options that hold for one call.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) acks_late: bool,
    pub(crate) acks_on_failure_or_timeout: bool,
    pub(crate) ignore_result: bool,
    pub(crate) store_errors: bool,
    pub(crate) track_started: bool,
    pub(crate) time_limit: Option<Duration>,
    pub(crate) soft_time_limit: Option<Duration>,
}

impl Policy {
    pub(crate) fn new(headers: &TaskHeaders, served: &Served, settings: &Settings) -> Self {
        let task: &TaskOptions = &served.task.options;
        let seconds = |limit: Option<f64>| limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
        let ignore_result =
            headers.ignore_result || task.ignore_result.unwrap_or(settings.task_ignore_result);
        let store_errors =
            task.store_errors_even_if_ignored.unwrap_or(settings.task_store_errors_even_if_ignored);
        let (time_limit, soft_time_limit) = served.time_limits();
        Policy {
            acks_late: task.acks_late.unwrap_or(settings.task_acks_late),
            acks_on_failure_or_timeout: task
                .acks_on_failure_or_timeout
                .unwrap_or(settings.task_acks_on_failure_or_timeout),
            ignore_result,
            store_errors: !ignore_result || store_errors,
            track_started: task.track_started.unwrap_or(settings.task_track_started) && !ignore_result,
            time_limit: seconds(headers.time_limit).or(time_limit),
            soft_time_limit: seconds(headers.soft_time_limit).or(soft_time_limit),
        }
    }
}

/// Reads a delivery as a task.
pub(crate) fn read(delivery: Delivery, accept: &Accept) -> (Origin, Result<TaskMessage, MessageError>) {
    let Delivery { redelivered, exchange, routing_key, queue, message, .. } = delivery;
    (Origin { exchange, routing_key, queue, redelivered }, TaskMessage::decode(message, accept))
}

impl Facts {
    pub(crate) fn new(
        message: TaskMessage,
        origin: Origin,
        task: Arc<Served>,
        settings: &Settings,
    ) -> Arc<Self> {
        let TaskMessage { headers, properties, body } = message;
        let policy = Policy::new(&headers, &task, settings);
        Arc::new(Facts {
            headers: Arc::new(headers),
            properties,
            body,
            origin,
            task,
            policy,
            progress: Progress::default(),
            end: End::default(),
        })
    }

    /// `tasks.add[d9c7…]`.
    pub(crate) fn label(&self) -> String {
        label(&self.headers)
    }

    /// Whether it is too late to run it.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.headers.expires.is_some_and(|expires| now > expires)
    }

    /// Where its caller wants to hear of it.
    pub(crate) fn reply_to(&self) -> ReplyTo {
        reply_to(&self.headers, &self.properties)
    }
}

impl Request {
    pub(crate) fn new(facts: Arc<Facts>, ticket: Ticket, listed: Listed) -> Box<Self> {
        Box::new(Request { facts, ticket, _listed: listed })
    }

    /// Settles its delivery: done.
    pub(crate) fn ack(&mut self) {
        self.facts.progress.acknowledged.store(true, Ordering::Relaxed);
        self.ticket.ack();
    }

    /// The same, told at once.
    pub(crate) fn ack_now(&mut self) {
        self.facts.progress.acknowledged.store(true, Ordering::Relaxed);
        self.ticket.ack_now();
    }

    /// Settles its delivery: back to the queue, or to the dead-letter exchange. False when it was settled before.
    pub(crate) fn refuse(&mut self, requeue: bool) -> bool {
        let first = !self.facts.progress.acknowledged.swap(true, Ordering::Relaxed);
        self.ticket.refuse(requeue);
        first
    }
}

/// `tasks.add[d9c7…]`.
pub(crate) fn label(headers: &TaskHeaders) -> String {
    format!("{}[{}]", headers.name(), headers.id)
}

/// Where the caller of a task wants to hear of it.
pub(crate) fn reply_to(headers: &TaskHeaders, properties: &Properties) -> ReplyTo {
    ReplyTo {
        queue: properties.reply_to.clone().unwrap_or_default(),
        correlation_id: properties.correlation_id.clone().unwrap_or_else(|| headers.id.clone()),
    }
}
