use std::marker::PhantomData;
use std::time::Duration;

use celeriac_protocol::{Map, Signature, Value, ValueError, time, to_value};
use celeriac_worker::{Call, CallOptions, Expires, NativeTask, SendError};
use chrono::{DateTime, Utc};
use serde::Serialize;

/// A call of a task that returns a `T`, with the options of Celery's `apply_async`.
///
/// `add::new(1, 2)` makes one of a task of this program; [`TaskCall::new`] makes one by name, for tasks that other
/// programs have:
///
/// ```
/// use std::time::Duration;
/// use celeriac::TaskCall;
///
/// let call = TaskCall::<i64>::new("tasks.add").arg(&1).kwarg("y", &2).countdown(Duration::from_secs(10));
/// ```
#[derive(Debug, Clone)]
#[must_use = "a call does nothing until it is sent with `app.send(call)`"]
pub struct TaskCall<T = Value> {
    call: Call,
    immutable: bool,
    /// The first argument that is no data; told when the call is sent.
    error: Option<ValueError>,
    value: PhantomData<fn() -> T>,
}

impl<T> TaskCall<T> {
    /// A call without arguments of the task with this name.
    pub fn new(task: impl Into<String>) -> Self {
        Call::new(task, Vec::new()).into()
    }

    /// A call without arguments of a task, with the task's options.
    #[doc(hidden)]
    pub fn of(task: &impl NativeTask) -> Self {
        let options = task.options();
        let options = CallOptions {
            queue: options.queue,
            priority: options.priority,
            expires: options.expires.map(Expires::After),
            serializer: options.serializer,
            compression: options.compression,
            time_limit: options.time_limit,
            soft_time_limit: options.soft_time_limit,
            ignore_result: options.ignore_result,
            ..CallOptions::default()
        };
        Call { options, ..Call::new(task.name(), Vec::new()) }.into()
    }

    /// Adds a positional argument.
    pub fn arg<A: Serialize + ?Sized>(mut self, value: &A) -> Self {
        if let Some(value) = self.encode(value) {
            self.call.args.push(value);
        }
        self
    }

    /// Adds positional arguments.
    pub fn args(mut self, values: Vec<Value>) -> Self {
        self.call.args.extend(values);
        self
    }

    /// Adds a keyword argument.
    pub fn kwarg<A: Serialize + ?Sized>(mut self, name: impl Into<String>, value: &A) -> Self {
        if let Some(value) = self.encode(value) {
            self.call.kwargs.insert(name.into(), value);
        }
        self
    }

    /// Adds keyword arguments.
    pub fn kwargs(mut self, entries: Map) -> Self {
        self.call.kwargs = std::mem::take(&mut self.call.kwargs).into_iter().chain(entries).collect();
        self
    }

    /// Runs it so long after it was sent.
    pub fn countdown(self, countdown: Duration) -> Self {
        self.with(|options| options.countdown = Some(countdown))
    }

    /// Runs it at this time.
    pub fn eta(self, eta: DateTime<Utc>) -> Self {
        self.with(|options| options.eta = Some(eta))
    }

    /// Does not run it when so long has gone since it was sent.
    pub fn expires(self, after: Duration) -> Self {
        self.with(|options| options.expires = Some(Expires::After(after)))
    }

    /// Does not run it after this time.
    pub fn expires_at(self, time: DateTime<Utc>) -> Self {
        self.with(|options| options.expires = Some(Expires::At(time)))
    }

    /// Sends it to this queue.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        self.with(|options| options.queue = Some(queue.into()))
    }

    /// Sends it to this exchange, which must exist, with [`routing_key`](Self::routing_key).
    pub fn exchange(self, exchange: impl Into<String>) -> Self {
        self.with(|options| options.exchange = Some(exchange.into()))
    }

    /// The routing key; without an exchange it is the queue's name.
    pub fn routing_key(self, routing_key: impl Into<String>) -> Self {
        self.with(|options| options.routing_key = Some(routing_key.into()))
    }

    /// On RabbitMQ a higher number goes first, in a queue that has priorities.
    pub fn priority(self, priority: u8) -> Self {
        self.with(|options| options.priority = Some(priority))
    }

    /// Adds a header, which the task sees.
    pub fn header(self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.with(|options| {
            options.headers.insert(name.into(), value);
        })
    }

    /// Adds headers, which the task sees.
    pub fn headers(self, headers: Map) -> Self {
        self.with(|options| {
            options.headers = std::mem::take(&mut options.headers).into_iter().chain(headers).collect();
        })
    }

    /// Ends the task when it has run so long.
    pub fn time_limit(self, limit: Duration) -> Self {
        self.with(|options| options.time_limit = Some(limit))
    }

    /// Tells the task when it has run so long.
    pub fn soft_time_limit(self, limit: Duration) -> Self {
        self.with(|options| options.soft_time_limit = Some(limit))
    }

    /// Whether no result is to be stored.
    pub fn ignore_result(self, ignore: bool) -> Self {
        self.with(|options| options.ignore_result = Some(ignore))
    }

    /// Encodes the arguments by this serializer: `json`, `msgpack`, `yaml`.
    pub fn serializer(self, name: impl Into<String>) -> Self {
        self.with(|options| options.serializer = Some(name.into()))
    }

    /// Compresses the arguments: `zlib` (`gzip`), `bzip2`, `lzma`, `zstd`, `brotli`.
    pub fn compression(self, name: impl Into<String>) -> Self {
        self.with(|options| options.compression = Some(name.into()))
    }

    /// The id; a random UUID by default. Two calls of one id share one result.
    pub fn task_id(self, id: impl Into<String>) -> Self {
        self.with(|options| options.task_id = Some(id.into()))
    }

    /// A name to show in logs instead of the task's.
    pub fn shadow(self, name: impl Into<String>) -> Self {
        self.with(|options| options.shadow = Some(name.into()))
    }

    /// Calls `next` when this one succeeds, with its result before `next`'s own arguments.
    pub fn link<U>(mut self, next: TaskCall<U>) -> Self {
        match next.into_signature() {
            Ok(signature) => self.call.embed.callbacks.push(signature),
            Err(error) => self.fail(error),
        }
        self
    }

    /// Calls `next` when this one fails, with its id before `next`'s own arguments.
    pub fn link_error<U>(mut self, next: TaskCall<U>) -> Self {
        match next.into_signature() {
            Ok(signature) => self.call.embed.errbacks.push(signature),
            Err(error) => self.fail(error),
        }
        self
    }

    /// As a link, it is called with its own arguments only (Celery's `si`).
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// The call without its type.
    ///
    /// # Errors
    /// [`SendError::Encode`] when an argument is no data, such as a map whose keys are lists.
    pub fn into_call(self) -> Result<Call, SendError> {
        match self.error {
            None => Ok(self.call),
            Some(error) => Err(SendError::Encode(format!("{}: {error}", self.call.task))),
        }
    }

    /// The signature that a link carries.
    ///
    /// # Errors
    /// When an argument is no data.
    pub fn into_signature(self) -> Result<Signature, ValueError> {
        let TaskCall { call, immutable, error, .. } = self;
        match error {
            Some(error) => Err(error),
            None => Ok(Signature {
                kwargs: call.kwargs,
                options: options(call.options, call.embed.callbacks, call.embed.errbacks),
                immutable,
                ..Signature::new(call.task, call.args)
            }),
        }
    }

    fn with(mut self, set: impl FnOnce(&mut CallOptions)) -> Self {
        set(&mut self.call.options);
        self
    }

    fn encode<A: Serialize + ?Sized>(&mut self, value: &A) -> Option<Value> {
        to_value(value).map_err(|error| self.fail(error)).ok()
    }

    fn fail(&mut self, error: ValueError) {
        self.error.get_or_insert(error);
    }
}

impl<T> From<Call> for TaskCall<T> {
    fn from(call: Call) -> Self {
        TaskCall { call, immutable: false, error: None, value: PhantomData }
    }
}

/// The options of a signature, by the names of `apply_async`'s parameters.
fn options(options: CallOptions, callbacks: Vec<Signature>, errbacks: Vec<Signature>) -> Map {
    let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
    let moment = |time| Value::DateTime(time::iso(time));
    let signatures = |signatures: Vec<Signature>| {
        (!signatures.is_empty())
            .then(|| signatures.into_iter().map(Signature::into_value).collect::<Vec<_>>())
    };
    let entries = [
        ("task_id", options.task_id.into()),
        ("countdown", seconds(options.countdown).into()),
        ("eta", options.eta.map(moment).into()),
        (
            "expires",
            options
                .expires
                .map(|expires| match expires {
                    Expires::After(time) => Value::Float(time.as_secs_f64()),
                    Expires::At(time) => moment(time),
                })
                .into(),
        ),
        ("queue", options.queue.into()),
        ("exchange", options.exchange.into()),
        ("routing_key", options.routing_key.into()),
        ("priority", options.priority.map(u32::from).into()),
        ("headers", (!options.headers.is_empty()).then_some(options.headers).into()),
        ("time_limit", seconds(options.time_limit).into()),
        ("soft_time_limit", seconds(options.soft_time_limit).into()),
        ("ignore_result", options.ignore_result.into()),
        ("serializer", options.serializer.into()),
        ("compression", options.compression.into()),
        ("shadow", options.shadow.into()),
        ("reply_to", options.reply_to.into()),
        ("root_id", options.root_id.into()),
        ("parent_id", options.parent_id.into()),
        ("group_id", options.group_id.into()),
        ("group_index", options.group_index.into()),
        ("link", signatures(callbacks).into()),
        ("link_error", signatures(errbacks).into()),
    ];
    entries.into_iter().filter(|(_, value): &(_, Value)| !value.is_null()).collect()
}
