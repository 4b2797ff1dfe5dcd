//! One call of a task, as its caller describes it.

use std::time::Duration;

use celeriac_protocol::{Body, Embed, Map, Signature, TaskHeaders, Value, repr};
use chrono::{DateTime, Utc};

/// A call of a task by name. The options are Celery's `apply_async` ones.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Call {
    /// The task's name.
    pub task: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map,
    /// What follows it.
    pub embed: Embed,
    /// How it is sent.
    pub options: CallOptions,
}

/// How a call is sent; what is `None` is left to the task's options and the settings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CallOptions {
    /// The id; a random UUID by default.
    pub task_id: Option<String>,
    /// Run it after this long.
    pub countdown: Option<Duration>,
    /// Run it at this time.
    pub eta: Option<DateTime<Utc>>,
    /// Do not run it after this time.
    pub expires: Option<Expires>,
    /// The queue.
    pub queue: Option<String>,
    /// The exchange, instead of a queue.
    pub exchange: Option<String>,
    /// The routing key, with an exchange.
    pub routing_key: Option<String>,
    /// The priority.
    pub priority: Option<u8>,
    /// Further headers, which the task sees.
    pub headers: Map,
    /// Hard time limit.
    pub time_limit: Option<Duration>,
    /// Soft time limit.
    pub soft_time_limit: Option<Duration>,
    /// No result is wanted.
    pub ignore_result: Option<bool>,
    /// The serializer, by kombu's name.
    pub serializer: Option<String>,
    /// The compression, by kombu's name.
    pub compression: Option<String>,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// The queue that results go to, with the rpc store; the client's own by default.
    pub reply_to: Option<String>,
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sends this one.
    pub parent_id: Option<String>,
    /// The group that it is in.
    pub group_id: Option<String>,
    /// Its place in that group.
    pub group_index: Option<i64>,
}

/// When a call is no longer worth running.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Expires {
    /// So long after it was sent.
    After(Duration),
    /// At this time.
    At(DateTime<Utc>),
}

impl Call {
    /// A call with positional arguments.
    pub fn new(task: impl Into<String>, args: Vec<Value>) -> Self {
        Call { task: task.into(), args, ..Call::default() }
    }

    /// The call that a signature describes, with `result` before its own arguments unless it is immutable
    /// (`celery/canvas.py`, `Signature._merge`).
    pub fn from_signature(signature: Signature, result: Option<Value>) -> Self {
        let Signature { task, mut args, kwargs, options, immutable, .. } = signature;
        if let Some(result) = result.filter(|_| !immutable) {
            args.insert(0, result);
        }
        let mut call = Call { task, args, kwargs, ..Call::default() };
        call.apply(options);
        call
    }

    /// Takes over what a signature's options say; what we do not know becomes no header, as in Celery.
    fn apply(&mut self, options: Map) {
        let seconds = |value: &Value| {
            value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok())
        };
        let time = |value: &Value| match value {
            Value::String(text) | Value::DateTime(text) => celeriac_protocol::time::parse(text),
            _ => None,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let to = &mut self.options;
        for (key, value) in options {
            match key.as_ref() {
                "task_id" => to.task_id = text(&value),
                "countdown" => to.countdown = seconds(&value),
                "eta" => to.eta = time(&value),
                "expires" => {
                    to.expires =
                        seconds(&value).map(Expires::After).or_else(|| time(&value).map(Expires::At));
                }
                "queue" => to.queue = text(&value),
                "exchange" => to.exchange = text(&value),
                "routing_key" => to.routing_key = text(&value),
                "priority" => to.priority = value.as_i64().and_then(|number| number.try_into().ok()),
                "time_limit" => to.time_limit = seconds(&value),
                "soft_time_limit" => to.soft_time_limit = seconds(&value),
                "ignore_result" => to.ignore_result = value.as_bool(),
                "serializer" => to.serializer = text(&value),
                "compression" => to.compression = text(&value),
                "shadow" => to.shadow = text(&value),
                "reply_to" => to.reply_to = text(&value),
                "root_id" => to.root_id = text(&value),
                "parent_id" => to.parent_id = text(&value),
                "group_id" => to.group_id = text(&value),
                "group_index" => to.group_index = value.as_i64(),
                "headers" => {
                    if let Value::Map(headers) = value {
                        to.headers = headers;
                    }
                }
                "link" => self.embed.callbacks.extend(signatures(value)),
                "link_error" => self.embed.errbacks.extend(signatures(value)),
                "chain" => self.embed.chain = signatures(value),
                "chord" => self.embed.chord = Signature::from_value(value).ok(),
                _ => {}
            }
        }
    }

    /// The envelope and the body of the call, sent at `now` by `origin`.
    pub(crate) fn into_parts(self, id: String, now: DateTime<Utc>, origin: &str) -> (TaskHeaders, Body) {
        let Call { task, args, kwargs, embed, options } = self;
        let later = |time: Duration| {
            chrono::Duration::from_std(time).ok().and_then(|time| now.checked_add_signed(time))
        };
        let mut headers = TaskHeaders::new(task, id);
        headers.eta =
            options.eta.or_else(|| options.countdown.filter(|time| !time.is_zero()).and_then(later));
        headers.expires = options.expires.and_then(|expires| match expires {
            Expires::After(time) => later(time),
            Expires::At(time) => Some(time),
        });
        headers.shadow = options.shadow;
        headers.group = options.group_id;
        headers.group_index = options.group_index;
        headers.time_limit = options.time_limit.map(|limit| limit.as_secs_f64());
        headers.soft_time_limit = options.soft_time_limit.map(|limit| limit.as_secs_f64());
        headers.root_id = options.root_id.or(headers.root_id);
        headers.parent_id = options.parent_id;
        headers.ignore_result = options.ignore_result.unwrap_or_default();
        headers.argsrepr = Some(repr::args(&args));
        headers.kwargsrepr = Some(repr::kwargs(&kwargs));
        headers.origin = Some(origin.to_owned());
        headers.other = options.headers;
        (headers, Body { args, kwargs, embed })
    }
}

fn signatures(value: Value) -> Vec<Signature> {
    let items = match value {
        Value::List(items) => items,
        Value::Null => Vec::new(),
        single => vec![single],
    };
    items.into_iter().filter_map(|item| Signature::from_value(item).ok()).collect()
}
