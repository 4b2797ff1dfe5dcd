//! A task message on its way through the worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU32, AtomicU64, Ordering};
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

/// A task that was received and is to be run. Dropped before it is settled, its delivery goes back to its queue.
pub struct Request {
    /// What is known of it, shared with those who are asked about it.
    pub facts: Arc<Facts>,
    /// Its place with the broker.
    ticket: Ticket,
    /// Its place among the worker's requests.
    _listed: Listed,
}

/// What is known of a request, by everybody who may be asked.
pub struct Facts {
    /// The envelope.
    pub headers: Arc<TaskHeaders>,
    /// Where its results go, and its priority.
    pub properties: Properties,
    /// The body as it came.
    pub body: EncodedBody,
    /// Where it came from.
    pub origin: Origin,
    /// The task that it calls.
    pub task: Arc<Served>,
    /// What holds for this call: the message's word, the task's options, the settings, in this order.
    pub policy: Policy,
    /// How far it is.
    pub progress: Progress,
    /// Whether it is to end.
    pub(crate) end: End,
}

/// How a message reached us.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// The queue that it came from.
    pub queue: Arc<str>,
    /// Whether it was delivered before.
    pub redelivered: bool,
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Waits for its time.
    Scheduled,
    /// Waits for its rate limit or a runner.
    Reserved,
    /// Runs.
    Active,
}

/// How far a request is; read by others while it goes on.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicU8,
    /// Seconds since 1970 as the bits of a float; zero is not started.
    started: AtomicU64,
    /// The process that runs it; zero is none yet.
    pid: AtomicU32,
    pub(crate) acknowledged: AtomicBool,
}

impl Progress {
    /// Where it is.
    pub fn stage(&self) -> Stage {
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
    pub fn started(&self) -> Option<f64> {
        let started = f64::from_bits(self.started.load(Ordering::Relaxed));
        (started > 0.0).then_some(started)
    }

    /// The process that runs it.
    pub fn pid(&self) -> Option<u32> {
        Some(self.pid.load(Ordering::Relaxed)).filter(|pid| *pid > 0)
    }

    /// It runs since `now`, in seconds since 1970, in this process.
    pub fn start(&self, now: f64, pid: u32) {
        self.pid.store(pid, Ordering::Relaxed);
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
pub struct Policy {
    /// Acknowledge after it has run instead of just before.
    pub acks_late: bool,
    /// With `acks_late`, acknowledge also when it failed or timed out.
    pub acks_on_failure_or_timeout: bool,
    pub(crate) ignore_result: bool,
    pub(crate) store_errors: bool,
    pub(crate) track_started: bool,
    /// Hard time limit: it is ended.
    pub time_limit: Option<Duration>,
    /// Soft time limit: it is told.
    pub soft_time_limit: Option<Duration>,
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
    pub fn label(&self) -> String {
        label(&self.headers)
    }

    /// Whether it is too late to run it.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.headers.expires.is_some_and(|expires| now > expires)
    }

    /// Whether its message is acknowledged or rejected.
    pub(crate) fn is_settled(&self) -> bool {
        self.progress.acknowledged.load(Ordering::Relaxed)
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

    /// Whether its delivery comes again, whatever is said of it: the connection that it came by is lost.
    pub fn is_void(&self) -> bool {
        self.ticket.is_void()
    }

    /// Settles its delivery: done.
    pub fn ack(&mut self) {
        self.facts.progress.acknowledged.store(true, Ordering::Relaxed);
        self.ticket.ack();
    }

    /// The same, told at once.
    pub fn ack_now(&mut self) {
        self.facts.progress.acknowledged.store(true, Ordering::Relaxed);
        self.ticket.ack_now();
    }

    /// Settles its delivery: back to the queue, or to the dead-letter exchange. False when it was settled before.
    pub fn refuse(&mut self, requeue: bool) -> bool {
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
