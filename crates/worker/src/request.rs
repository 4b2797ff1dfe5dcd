//! A task message on its way through the worker.

use std::sync::Arc;
use std::time::Duration;

use celeriac_broker::Delivery;
use celeriac_protocol::codec::Accept;
use celeriac_protocol::{TaskError as MessageError, TaskMessage};
use celeriac_results::ReplyTo;
use chrono::{DateTime, Utc};

use crate::acks::Ticket;
use crate::settings::Settings;
use crate::task::{Registered, TaskOptions};

/// A task that was received and is to be run.
pub(crate) struct Request {
    /// The message as it came.
    pub(crate) message: TaskMessage,
    /// Where it came from.
    pub(crate) origin: Origin,
    /// The task that it calls.
    pub(crate) task: Arc<Registered>,
    /// What holds for this call: the message's word, the task's options, the settings, in this order.
    pub(crate) policy: Policy,
    /// Its place with the broker.
    pub(crate) ticket: Ticket,
}

/// How a message reached us.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) exchange: String,
    pub(crate) routing_key: String,
    pub(crate) queue: Arc<str>,
    pub(crate) redelivered: bool,
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
    pub(crate) fn new(message: &TaskMessage, task: &TaskOptions, settings: &Settings) -> Self {
        let seconds = |limit: Option<f64>| limit.and_then(|limit| Duration::try_from_secs_f64(limit).ok());
        let ignore_result =
            message.headers.ignore_result || task.ignore_result.unwrap_or(settings.task_ignore_result);
        let store_errors =
            task.store_errors_even_if_ignored.unwrap_or(settings.task_store_errors_even_if_ignored);
        Policy {
            acks_late: task.acks_late.unwrap_or(settings.task_acks_late),
            acks_on_failure_or_timeout: task
                .acks_on_failure_or_timeout
                .unwrap_or(settings.task_acks_on_failure_or_timeout),
            ignore_result,
            store_errors: !ignore_result || store_errors,
            track_started: task.track_started.unwrap_or(settings.task_track_started) && !ignore_result,
            time_limit: seconds(message.headers.time_limit).or(task.time_limit).or(settings.task_time_limit),
            soft_time_limit: seconds(message.headers.soft_time_limit)
                .or(task.soft_time_limit)
                .or(settings.task_soft_time_limit),
        }
    }
}

/// Reads a delivery as a task.
pub(crate) fn read(delivery: Delivery, accept: &Accept) -> (Origin, Result<TaskMessage, MessageError>) {
    let Delivery { redelivered, exchange, routing_key, queue, message, .. } = delivery;
    (Origin { exchange, routing_key, queue, redelivered }, TaskMessage::decode(message, accept))
}

impl Request {
    /// `tasks.add[d9c7…]`.
    pub(crate) fn label(&self) -> String {
        label(&self.message)
    }

    /// Whether it is too late to run it.
    pub(crate) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.message.headers.expires.is_some_and(|expires| now > expires)
    }

    /// Where its caller wants to hear of it.
    pub(crate) fn reply_to(&self) -> ReplyTo {
        reply_to(&self.message)
    }
}

/// `tasks.add[d9c7…]`.
pub(crate) fn label(message: &TaskMessage) -> String {
    format!("{}[{}]", message.headers.name(), message.headers.id)
}

/// Where the caller of a task wants to hear of it.
pub(crate) fn reply_to(message: &TaskMessage) -> ReplyTo {
    let properties = &message.properties;
    ReplyTo {
        queue: properties.reply_to.clone().unwrap_or_default(),
        correlation_id: properties.correlation_id.clone().unwrap_or_else(|| message.headers.id.clone()),
    }
}
