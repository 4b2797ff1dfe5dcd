//! Remote control by pidbox: the request that a client broadcasts (`kombu/pidbox.py`), and Celery's commands.

pub mod commands;
mod pattern;

use crate::{Map, Value};

/// The exchange of requests, a fanout: `celery.pidbox` for the namespace `celery` (`control_exchange`).
pub fn exchange(namespace: &str) -> String {
    format!("{namespace}.pidbox")
}

/// The exchange of replies, direct: `reply.celery.pidbox`.
pub fn reply_exchange(namespace: &str) -> String {
    format!("reply.{namespace}.pidbox")
}

/// The queue in which a node gets its requests: `w1@host.celery.pidbox`.
pub fn queue(hostname: &str, namespace: &str) -> String {
    format!("{hostname}.{namespace}.pidbox")
}

/// The queue in which a client gets its replies, by its id, which is also the routing key.
pub fn reply_queue(oid: &str, namespace: &str) -> String {
    format!("{oid}.reply.{namespace}.pidbox")
}

/// What a client asks of some or all workers.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// The command's name.
    pub method: String,
    /// Its keyword arguments.
    pub arguments: Map,
    /// The nodes that are meant; all when absent or empty.
    pub destination: Option<Vec<String>>,
    /// Without a destination: which nodes are meant, in the language of `matcher`.
    pub pattern: Option<String>,
    /// `glob` or `pcre`.
    pub matcher: Option<String>,
    /// The id of the question, repeated in a header of each answer.
    pub ticket: Option<String>,
    /// Where answers go; nobody waits for one when absent.
    pub reply_to: Option<ReplyTo>,
}

/// Where an answer is published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReplyTo {
    /// The exchange.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

/// A message that is no request. Nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Not a dict.
    #[error("a control request must be dict, not {0}")]
    NoDict(&'static str),
    /// A key that each request has is absent.
    #[error("the control request has no {0}")]
    Missing(&'static str),
    /// A key has a value of another type.
    #[error("{field} of the control request must be {wanted}, not {found}")]
    Type {
        /// The key.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
}

impl Request {
    /// Reads a decoded body. As in kombu, what is false in Python counts as absent, and unknown keys as well.
    ///
    /// # Errors
    /// When the value is no dict, has no method, or a key has the wrong type.
    pub fn read(value: Value) -> Result<Self, ControlError> {
        let Value::Map(body) = value else { return Err(ControlError::NoDict(value.type_name())) };
        let mut request = Request::default();
        for (key, value) in body.into_iter().filter(|(_, value)| value.is_true()) {
            match key.as_ref() {
                "method" => request.method = text("method", value)?,
                "arguments" => request.arguments = map("arguments", value)?,
                "destination" => request.destination = Some(destination(value)?),
                "pattern" => request.pattern = Some(text("pattern", value)?),
                "matcher" => request.matcher = Some(text("matcher", value)?),
                "ticket" => request.ticket = Some(text("ticket", value)?),
                "reply_to" => request.reply_to = Some(ReplyTo::read(value)?),
                _ => {}
            }
        }
        if request.method.is_empty() {
            return Err(ControlError::Missing("method"));
        }
        Ok(request)
    }

    /// The body that kombu sends, its keys in the same order.
    pub fn into_value(self) -> Value {
        let destination =
            self.destination.map(|names| Value::List(names.into_iter().map(Value::from).collect()));
        let mut body = Map::with_capacity(7);
        body.insert("method", self.method);
        body.insert("arguments", self.arguments);
        body.insert("destination", destination);
        body.insert("pattern", self.pattern);
        body.insert("matcher", self.matcher);
        if let Some(ticket) = self.ticket {
            body.insert("ticket", ticket);
        }
        if let Some(ReplyTo { exchange, routing_key }) = self.reply_to {
            let entries = [("exchange", exchange.into()), ("routing_key", routing_key.into())];
            body.insert("reply_to", Map::from_iter(entries));
        }
        Value::Map(body)
    }

    /// Whether a node is meant: by the destination, else by pattern and matcher, else everybody is.
    ///
    /// A matcher that is not known here, and a pattern that cannot be read or is too large, mean nobody.
    pub fn is_for(&self, hostname: &str) -> bool {
        match (&self.destination, &self.pattern, &self.matcher) {
            (Some(names), ..) if !names.is_empty() => names.iter().any(|name| name == hostname),
            (_, Some(pattern), Some(matcher)) if !pattern.is_empty() && !matcher.is_empty() => {
                pattern::matches(matcher, pattern, hostname)
            }
            _ => true,
        }
    }
}

impl ReplyTo {
    fn read(value: Value) -> Result<Self, ControlError> {
        let mut fields = map("reply_to", value)?;
        let mut take = |field| fields.remove(field).ok_or(ControlError::Missing(field));
        let (exchange, routing_key) = (take("exchange")?, take("routing_key")?);
        Ok(ReplyTo { exchange: text("exchange", exchange)?, routing_key: text("routing_key", routing_key)? })
    }
}

fn text(field: &'static str, value: Value) -> Result<String, ControlError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(field, "str", &other)),
    }
}

fn map(field: &'static str, value: Value) -> Result<Map, ControlError> {
    match value {
        Value::Map(map) => Ok(map),
        other => Err(wrong(field, "dict", &other)),
    }
}

/// One name for a list of one is what Python's `in` makes of a whole name as well.
fn destination(value: Value) -> Result<Vec<String>, ControlError> {
    match value {
        Value::List(names) => names.into_iter().map(|name| text("destination", name)).collect(),
        name @ Value::String(_) => Ok(vec![text("destination", name)?]),
        other => Err(wrong("destination", "list", &other)),
    }
}

fn wrong(field: &'static str, wanted: &'static str, found: &Value) -> ControlError {
    ControlError::Type { field, wanted, found: found.type_name() }
}
