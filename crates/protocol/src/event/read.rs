use std::borrow::Cow;

use super::{Event, EventError};
use crate::{Map, Value};

/// The most bytes of a kind or a hostname: routing keys and queue names end at 255.
const MAX_NAME: usize = 255;
/// The last second that Python's `datetime` can show.
const MAX_TIMESTAMP: f64 = 253_402_300_799.0;

impl Event {
    /// Reads a decoded event.
    ///
    /// # Errors
    /// When it is no dict, or type, hostname or timestamp are absent, or one of the fields that every event has is
    /// of another type or makes no sense. What is in `fields` is not looked at.
    pub fn read(value: Value) -> Result<Self, EventError> {
        let Value::Map(body) = value else { return Err(EventError::NoDict(value.type_name())) };
        let (mut kind, mut hostname, mut timestamp) = (None, None, None);
        let mut event = Event::default();
        let mut fields = Vec::with_capacity(body.len());
        for (key, value) in body {
            match key.as_ref() {
                "type" => kind = Some(name("type", value)?),
                "hostname" => hostname = Some(name("hostname", value)?),
                "timestamp" => timestamp = Some(seconds(&value)?),
                "utcoffset" => event.utcoffset = hours(&value)?,
                "pid" => event.pid = integer("pid", &value)?,
                "clock" => {
                    event.clock = integer("clock", &value)?
                        .map(|clock| u64::try_from(clock).map_err(|_| EventError::OutOfRange("clock")))
                        .transpose()?;
                }
                _ => fields.push((key, value)),
            }
        }
        event.kind = Event::known(kind.ok_or(EventError::Missing("type"))?);
        event.hostname = hostname.ok_or(EventError::Missing("hostname"))?;
        event.timestamp = timestamp.ok_or(EventError::Missing("timestamp"))?;
        event.fields = Map::from_iter(fields);
        Ok(event)
    }

    /// Reads the body of a message: one event, or a list of them (`task.multi`).
    ///
    /// Each is read for itself, so that one that is wrong does not take the others with it.
    pub fn read_all(value: Value) -> impl Iterator<Item = Result<Self, EventError>> {
        let events = match value {
            Value::List(events) => events,
            event => vec![event],
        };
        events.into_iter().map(Event::read)
    }

    fn known(kind: String) -> Cow<'static, str> {
        KINDS.iter().find(|known| **known == kind).map_or(Cow::Owned(kind), |known| Cow::Borrowed(known))
    }
}

/// What Celery sends, the frequent ones first; these cost no allocation.
const KINDS: &[&str] = &[
    "task-received",
    "task-started",
    "task-succeeded",
    "worker-heartbeat",
    "task-sent",
    "task-failed",
    "task-retried",
    "task-revoked",
    "task-rejected",
    "worker-online",
    "worker-offline",
    "worker-elect",
    "worker-elect-ack",
];

fn name(field: &'static str, value: Value) -> Result<String, EventError> {
    match value {
        Value::String(text) if text.is_empty() => Err(EventError::Missing(field)),
        Value::String(text) if text.len() > MAX_NAME => Err(EventError::OutOfRange(field)),
        Value::String(text) => Ok(text),
        other => Err(wrong(field, "str", &other)),
    }
}

fn seconds(value: &Value) -> Result<f64, EventError> {
    let seconds = value.as_f64().ok_or_else(|| wrong("timestamp", "float", value))?;
    if (0.0..=MAX_TIMESTAMP).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(EventError::OutOfRange("timestamp"))
    }
}

fn hours(value: &Value) -> Result<Option<f64>, EventError> {
    if value.is_null() {
        return Ok(None);
    }
    let hours = value.as_f64().ok_or_else(|| wrong("utcoffset", "int", value))?;
    // A zero is written as an integer, which has no sign.
    if (-24.0..=24.0).contains(&hours) {
        Ok(Some(hours + 0.0))
    } else {
        Err(EventError::OutOfRange("utcoffset"))
    }
}

fn integer(field: &'static str, value: &Value) -> Result<Option<i64>, EventError> {
    match value {
        Value::Null => Ok(None),
        Value::Int(number) => Ok(Some(*number)),
        Value::BigInt(_) => Err(EventError::OutOfRange(field)),
        other => Err(wrong(field, "int", other)),
    }
}

fn wrong(field: &'static str, wanted: &'static str, found: &Value) -> EventError {
    EventError::Type { field, wanted, found: found.type_name() }
}
