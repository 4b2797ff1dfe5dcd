//! Events: what workers and clients tell about themselves and about tasks (`celery/events/`).

mod read;

use std::borrow::Cow;

use crate::{LamportClock, Map, Value};

/// The topic exchange of events, unless `event_exchange` names another.
pub const EXCHANGE: &str = "celeryev";

/// One event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// What happened: `task-received`, `worker-heartbeat`.
    pub kind: Cow<'static, str>,
    /// The node that says so.
    pub hostname: String,
    /// Its offset from UTC in hours, west of Greenwich positive; whole hours in all that Celery sends.
    pub utcoffset: Option<f64>,
    /// Its process id.
    pub pid: Option<i64>,
    /// Its logical clock; a client's tells nothing.
    pub clock: Option<u64>,
    /// When, in seconds since 1970 in UTC, by the sender's clock.
    pub timestamp: f64,
    /// What else is told.
    pub fields: Map,
}

/// A message, or a part of one, that is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Not a dict.
    #[error("an event must be dict, not {0}")]
    NoDict(&'static str),
    /// A field that each event has is absent.
    #[error("the event has no {0}")]
    Missing(&'static str),
    /// A field has a value of another type.
    #[error("{field} of the event must be {wanted}, not {found}")]
    Type {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A number or a text is larger than any that makes sense.
    #[error("{0} of the event is out of range")]
    OutOfRange(&'static str),
}

impl Event {
    /// The first part of the kind: `task`, `worker` or an application's own.
    pub fn group(&self) -> &str {
        group_from(&self.kind)
    }

    /// The rest of the kind: `received`, `elect-ack`.
    pub fn subject(&self) -> &str {
        self.kind.split_once('-').map_or("", |(_, subject)| subject)
    }

    /// The routing key of the event when it travels alone: `worker.elect.ack`.
    pub fn routing_key(&self) -> String {
        self.kind.replace('-', ".")
    }

    /// Brings our clock past that of a received event, and the event's to what it says here.
    ///
    /// Clients do not keep a clock: what they send happened just now (`celery/events/receiver.py`). The timestamp
    /// is left as it is; Celery shifts it by the sender's offset, though it counts in UTC.
    pub fn synchronize(&mut self, clock: &LamportClock) {
        match self.clock {
            _ if self.kind == "task-sent" => {
                let sent = clock.value().saturating_sub(1);
                clock.adjust(sent);
                self.clock = Some(sent);
            }
            Some(theirs) => drop(clock.adjust(theirs)),
            None => self.clock = Some(clock.forward()),
        }
    }

    /// The dict that travels, its keys in Celery's order. What is `None` is left out.
    pub fn into_value(self) -> Value {
        let head = [
            ("hostname", Some(self.hostname.into())),
            ("utcoffset", self.utcoffset.map(number)),
            ("pid", self.pid.map(Value::Int)),
            ("clock", self.clock.map(Value::from)),
        ];
        let tail = [("timestamp", self.timestamp.into()), ("type", Value::String(self.kind.into_owned()))];
        let head = head.into_iter().filter_map(|(key, value)| Some((Cow::Borrowed(key), value?)));
        let tail = tail.map(|(key, value)| (Cow::Borrowed(key), value));
        Value::Map(head.chain(self.fields).chain(tail).collect())
    }
}

/// The group of a kind of event (`celery/events/event.py`): `task` of `task-received`.
pub fn group_from(kind: &str) -> &str {
    kind.split_once('-').map_or(kind, |(group, _)| group)
}

/// Whole hours are an integer on the wire.
fn number(hours: f64) -> Value {
    if hours.fract() == 0.0 && hours.abs() < 1e6 { Value::Int(hours as i64) } else { Value::Float(hours) }
}
