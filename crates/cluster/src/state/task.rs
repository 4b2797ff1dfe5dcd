use std::sync::Arc;

use celeriac_protocol::{Event, Map, State as TaskState, Value};

use super::names::Names;

/// The most bytes of a name: of a task, an exchange, a routing key; and of a task's id.
pub(super) const MAX_NAME: usize = 1024;
/// The most bytes kept of a text; what is longer is cut.
const MAX_TEXT: usize = 4096;

/// A task, as its events tell (`Task` of `celery/events/state.py`). Times are in seconds since 1970, by the clock of
/// who sent the event.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub uuid: Arc<str>,
    /// Its name.
    pub name: Option<Arc<str>>,
    /// Its state; that of a custom event is the event's name in capitals.
    pub state: TaskState,
    /// When a client sent it.
    pub sent: Option<f64>,
    /// When a worker received it.
    pub received: Option<f64>,
    /// When it started.
    pub started: Option<f64>,
    /// When it succeeded.
    pub succeeded: Option<f64>,
    /// When it failed.
    pub failed: Option<f64>,
    /// When it was to be retried.
    pub retried: Option<f64>,
    /// When it was revoked.
    pub revoked: Option<f64>,
    /// When it was rejected.
    pub rejected: Option<f64>,
    /// Its positional arguments, as Python shows them.
    pub args: Option<Box<str>>,
    /// Its keyword arguments, likewise.
    pub kwargs: Option<Box<str>>,
    /// Not to be run before, in ISO 8601.
    pub eta: Option<Box<str>>,
    /// Not to be run after, in ISO 8601.
    pub expires: Option<Box<str>>,
    /// How often it was retried.
    pub retries: Option<u64>,
    /// The node of the worker that has it.
    pub worker: Option<Arc<str>>,
    /// The node of the client that sent it.
    pub client: Option<Arc<str>>,
    /// Its result, as Python shows it.
    pub result: Option<Box<str>>,
    /// Its exception, likewise.
    pub exception: Option<Box<str>>,
    /// The traceback of that.
    pub traceback: Option<Box<str>>,
    /// How long it ran, in seconds.
    pub runtime: Option<f64>,
    /// The time of the event that told its state.
    pub timestamp: Option<f64>,
    /// The logical clock of that event.
    pub clock: u64,
    /// The exchange to which it was sent.
    pub exchange: Option<Arc<str>>,
    /// The routing key with which it was.
    pub routing_key: Option<Arc<str>>,
    /// The first task of the workflow that it is a part of.
    pub root_id: Option<Arc<str>>,
    /// The task that called it.
    pub parent_id: Option<Arc<str>>,
    /// Clock and time of its latest event, which need not be the last to arrive.
    pub(super) latest: (u64, f64),
}

impl Task {
    /// A task of which only the id is known.
    pub fn new(uuid: impl Into<Arc<str>>) -> Self {
        Task {
            uuid: uuid.into(),
            name: None,
            state: TaskState::Pending,
            sent: None,
            received: None,
            started: None,
            succeeded: None,
            failed: None,
            retried: None,
            revoked: None,
            rejected: None,
            args: None,
            kwargs: None,
            eta: None,
            expires: None,
            retries: None,
            worker: None,
            client: None,
            result: None,
            exception: None,
            traceback: None,
            runtime: None,
            timestamp: None,
            clock: 0,
            exchange: None,
            routing_key: None,
            root_id: None,
            parent_id: None,
            latest: (0, 0.0),
        }
    }

    /// Takes over what an event tells. One that comes late changes no state: of a `task-received` after later
    /// events only what was known at the start is taken (`merge_rules`).
    pub(super) fn update(&mut self, event: Event, names: &mut Names) {
        let node = names.share(&event.hostname);
        // A client sends, all else is told by the worker that has the task.
        *(if event.subject() == "sent" { &mut self.client } else { &mut self.worker }) = Some(node);
        let state = self.enter(event.subject(), event.timestamp);
        let Event { timestamp, clock, fields, .. } = event;
        let latest = (clock.unwrap_or_default(), timestamp);
        if latest > self.latest {
            self.latest = latest;
        }
        let retry = state == TaskState::Retry || self.state == TaskState::Retry;
        let late = !retry && precedence(&state) > precedence(&self.state);
        let only_first = late && state == TaskState::Received;
        if !late {
            self.state = state;
        }
        if !only_first {
            self.timestamp = Some(timestamp);
            self.clock = clock.unwrap_or(self.clock);
        }
        for (key, value) in fields {
            match key.as_ref() {
                "name" => self.name = name(value, names).unwrap_or(self.name.take()),
                "args" => self.args = text(value).unwrap_or(self.args.take()),
                "kwargs" => self.kwargs = text(value).unwrap_or(self.kwargs.take()),
                "eta" => self.eta = text(value).unwrap_or(self.eta.take()),
                "expires" => self.expires = text(value).unwrap_or(self.expires.take()),
                "retries" => self.retries = value.as_i64().and_then(|count| count.try_into().ok()),
                "root_id" => self.root_id = self.id(value).unwrap_or(self.root_id.take()),
                "parent_id" => self.parent_id = self.id(value).unwrap_or(self.parent_id.take()),
                _ if only_first => {}
                "result" => self.result = text(value).unwrap_or(self.result.take()),
                "exception" => self.exception = text(value).unwrap_or(self.exception.take()),
                "traceback" => self.traceback = text(value).unwrap_or(self.traceback.take()),
                "runtime" => self.runtime = value.as_f64().filter(|runtime| runtime.is_finite()),
                "exchange" => self.exchange = name(value, names).unwrap_or(self.exchange.take()),
                "routing_key" => self.routing_key = name(value, names).unwrap_or(self.routing_key.take()),
                _ => {}
            }
        }
    }

    /// The state of an event's subject; notes when it was reached.
    fn enter(&mut self, subject: &str, timestamp: f64) -> TaskState {
        let (time, state) = match subject {
            "sent" => (&mut self.sent, TaskState::Pending),
            "received" => (&mut self.received, TaskState::Received),
            "started" => (&mut self.started, TaskState::Started),
            "succeeded" => (&mut self.succeeded, TaskState::Success),
            "failed" => (&mut self.failed, TaskState::Failure),
            "retried" => (&mut self.retried, TaskState::Retry),
            "revoked" => (&mut self.revoked, TaskState::Revoked),
            "rejected" => (&mut self.rejected, TaskState::Rejected),
            custom => return TaskState::from_name(&custom.to_uppercase()),
        };
        *time = Some(timestamp);
        state
    }

    /// A task's id; most tasks are their own root.
    fn id(&self, value: Value) -> Option<Option<Arc<str>>> {
        match value {
            Value::Null => Some(None),
            Value::String(id) if *id == *self.uuid => Some(Some(self.uuid.clone())),
            Value::String(id) if id.len() <= MAX_NAME => Some(Some(id.into())),
            _ => None,
        }
    }

    /// The node that told of it last: its worker, or the client while it has none.
    pub fn origin(&self) -> Option<&str> {
        self.worker.as_deref().or(self.client.as_deref())
    }

    /// The fields that `celery events` shows of a task, without those that are not known.
    pub fn info(&self) -> Map {
        let text = |text: &Option<Box<str>>| text.as_deref().map(Value::from);
        let name = |name: &Option<Arc<str>>| name.as_deref().map(Value::from);
        let fields = [
            ("args", text(&self.args)),
            ("kwargs", text(&self.kwargs)),
            ("retries", self.retries.map(Value::from)),
            ("result", text(&self.result)),
            ("eta", text(&self.eta)),
            ("runtime", self.runtime.map(Value::from)),
            ("expires", text(&self.expires)),
            ("exception", text(&self.exception)),
            ("exchange", name(&self.exchange)),
            ("routing_key", name(&self.routing_key)),
            ("root_id", name(&self.root_id)),
            ("parent_id", name(&self.parent_id)),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    /// How many bytes its texts take.
    pub(super) fn text_size(&self) -> usize {
        let texts = [
            &self.args,
            &self.kwargs,
            &self.eta,
            &self.expires,
            &self.result,
            &self.exception,
            &self.traceback,
        ];
        let ids = [&self.root_id, &self.parent_id];
        self.uuid.len()
            + texts.into_iter().flatten().map(|text| text.len()).sum::<usize>()
            + ids.into_iter().flatten().map(|id| id.len()).sum::<usize>()
    }
}

/// Which state is the later one; lower is later (`PRECEDENCE` in `celery/states.py`).
fn precedence(state: &TaskState) -> u8 {
    match state {
        TaskState::Success => 0,
        TaskState::Failure => 1,
        TaskState::Custom(_) => 2,
        TaskState::Revoked => 3,
        TaskState::Started => 4,
        TaskState::Received => 5,
        TaskState::Rejected => 6,
        TaskState::Retry => 7,
        TaskState::Pending => 8,
    }
}

/// `None` for what is no text, which changes nothing; in it, `None` for null.
fn text(value: Value) -> Option<Option<Box<str>>> {
    match value {
        Value::Null => Some(None),
        Value::String(mut text) => {
            if text.len() > MAX_TEXT {
                let end = (0..=MAX_TEXT).rev().find(|end| text.is_char_boundary(*end));
                text.truncate(end.unwrap_or(0));
            }
            Some(Some(text.into()))
        }
        _ => None,
    }
}

fn name(value: Value, names: &mut Names) -> Option<Option<Arc<str>>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) if text.len() <= MAX_NAME => Some(Some(names.share(&text))),
        _ => None,
    }
}
