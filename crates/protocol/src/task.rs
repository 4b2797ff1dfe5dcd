//! Task messages of protocol 2 (headers carry the envelope) and 1 (the body carries everything).
//! Source: `celery/app/amqp.py` (`as_task_v2`, `as_task_v1`) and `celery/worker/strategy.py`.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::codec::{self, Accept, Compression, DecodeError, EncodeError, Node, Serializer};
use crate::{Map, Message, Properties, Signature, Value, time};

/// A message that is no task, or a task that cannot be run as it stands.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TaskError {
    /// Neither protocol: there is no `task` header and the body is no dict with `task`.
    #[error("the message is no task: {0}")]
    Unknown(String),
    /// A task, but a field of it has the wrong type or cannot be understood.
    #[error("invalid task: {0}")]
    Invalid(String),
    /// The body could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The envelope of a task: everything that Celery tells about a call besides its arguments.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TaskHeaders {
    /// The sender's language, `py` in all that Celery sends.
    pub lang: String,
    /// The task's name.
    pub task: String,
    /// The task's id, a UUID as text by custom.
    pub id: String,
    /// A name to show instead of the task's.
    pub shadow: Option<String>,
    /// Not to be run before.
    pub eta: Option<DateTime<Utc>>,
    /// Not to be run after.
    pub expires: Option<DateTime<Utc>>,
    /// The group that this task is a part of.
    pub group: Option<String>,
    /// Its place in that group.
    pub group_index: Option<i64>,
    /// How often it was retried.
    pub retries: u32,
    /// Hard time limit in seconds.
    pub time_limit: Option<f64>,
    /// Soft time limit in seconds.
    pub soft_time_limit: Option<f64>,
    /// The first task of the workflow.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// The positional arguments as Python would print them, for people only.
    pub argsrepr: Option<String>,
    /// The keyword arguments likewise.
    pub kwargsrepr: Option<String>,
    /// The process that sent it, `gen123@host`.
    pub origin: Option<String>,
    /// The caller wants no result stored.
    pub ignore_result: bool,
    /// How often `Task.replace` was nested.
    pub replaced_task_nesting: u32,
    /// The names of the stamps; Celery sends `None` and an empty list for none.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps.
    pub stamps: Map,
    /// Every other header, untouched: the caller's own.
    pub other: Map,
}

/// A task's arguments and what is to be called after it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Body {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map,
    /// What follows it.
    pub embed: Embed,
}

/// What is to be called after a task (the third item of a protocol 2 body).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Embed {
    /// Called with the result when it succeeds (`link`).
    pub callbacks: Vec<Signature>,
    /// Called when it fails (`link_error`).
    pub errbacks: Vec<Signature>,
    /// The rest of the chain, the next one *last*.
    pub chain: Vec<Signature>,
    /// The chord body, when this task is in a chord's header.
    pub chord: Option<Signature>,
}

/// A body as it travelled; decoding it may be left to whoever runs the task.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EncodedBody {
    /// The serializer's content type.
    pub content_type: String,
    /// `utf-8` or `binary`.
    pub content_encoding: String,
    /// The compression's content type (header `compression`).
    pub compression: Option<String>,
    /// The bytes.
    pub data: Bytes,
}

/// A message that was understood as a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskMessage {
    /// The envelope.
    pub headers: TaskHeaders,
    /// Where its results go with the rpc store, and its priority.
    pub properties: Properties,
    /// The body as it travelled. What came by protocol 1 is encoded anew by protocol 2.
    pub body: EncodedBody,
}

impl TaskMessage {
    /// A new call of a task, its body encoded.
    ///
    /// # Errors
    /// When the serializer cannot hold a value of the body.
    pub fn new(
        headers: TaskHeaders,
        body: &Body,
        serializer: Serializer,
        compression: Option<Compression>,
    ) -> Result<Self, EncodeError> {
        let body = body.encode(serializer, compression)?;
        let properties = Properties {
            correlation_id: Some(headers.id.clone()),
            delivery_mode: Some(2),
            ..Properties::default()
        };
        Ok(TaskMessage { headers, properties, body })
    }

    /// Reads a message of either protocol. The body of protocol 2 is not looked at.
    ///
    /// # Errors
    /// When it is no task, a field has the wrong type, or (protocol 1) the body cannot be decoded.
    pub fn decode(message: Message, accept: &Accept) -> Result<Self, TaskError> {
        let Message { mut headers, properties, body: data } = message;
        let compression = match headers.remove("compression") {
            Some(Value::String(name)) => Some(name).filter(|name| !name.is_empty()),
            Some(Value::Null) | None => None,
            Some(other) => return Err(invalid("compression", "str", &other)),
        };
        let body = EncodedBody {
            content_type: properties.content_type.clone().unwrap_or_default(),
            content_encoding: properties.content_encoding.clone().unwrap_or_default(),
            compression,
            data,
        };
        if headers.get("task").is_some() {
            let headers = TaskHeaders::from_map(headers)?;
            return Ok(TaskMessage { headers, properties, body });
        }
        Self::decode_v1(headers, properties, &body, accept)
    }

    fn decode_v1(
        custom: Map,
        properties: Properties,
        body: &EncodedBody,
        accept: &Accept,
    ) -> Result<Self, TaskError> {
        let Value::Map(mut fields) = codec::decode(body, accept)? else {
            return Err(TaskError::Unknown("no `task` header, and the body is no dict".to_owned()));
        };
        if fields.get("task").is_none() || fields.get("id").is_none() {
            return Err(TaskError::Unknown("neither headers nor body name a task and its id".to_owned()));
        }
        let mut take = |key: &str| fields.remove(key).unwrap_or_default();
        let embed = Embed {
            callbacks: signatures("callbacks", take("callbacks"))?,
            errbacks: signatures("errbacks", take("errbacks"))?,
            chain: Vec::new(),
            chord: signature("chord", take("chord"))?,
        };
        let args = match take("args") {
            Value::Null => Vec::new(),
            Value::List(args) => args,
            other => return Err(invalid("args", "list", &other)),
        };
        let kwargs = match take("kwargs") {
            Value::Null => Map::new(),
            Value::Map(kwargs) => kwargs,
            other => return Err(invalid("kwargs", "dict", &other)),
        };
        take("utc");
        if let group @ Value::String(_) = take("taskset") {
            fields.insert("group", group);
        }
        let mut headers = TaskHeaders::from_map(fields)?;
        headers.other = headers.other.into_iter().chain(custom).collect();
        headers.argsrepr.get_or_insert_with(|| crate::repr::args(&args));
        headers.kwargsrepr.get_or_insert_with(|| crate::repr::kwargs(&kwargs));
        let serializer = Serializer::from_content_type(&body.content_type)
            .ok_or_else(|| TaskError::Invalid(format!("cannot encode {} again", body.content_type)))?;
        let body = Body { args, kwargs, embed }
            .encode(serializer, None)
            .map_err(|error| TaskError::Invalid(error.to_string()))?;
        Ok(TaskMessage { headers, properties, body })
    }

    /// The message of protocol 2 that a broker carries.
    pub fn into_message(self) -> Message {
        let TaskMessage { headers, mut properties, body } = self;
        let mut headers = headers.into_map();
        if let Some(compression) = body.compression {
            headers.insert("compression", compression);
        }
        properties.content_type = Some(body.content_type);
        properties.content_encoding = Some(body.content_encoding);
        Message { headers, properties, body: body.data }
    }
}

impl TaskHeaders {
    /// The envelope of a first call.
    pub fn new(task: impl Into<String>, id: impl Into<String>) -> Self {
        let id = id.into();
        TaskHeaders {
            lang: "py".to_owned(),
            task: task.into(),
            root_id: Some(id.clone()),
            id,
            ..TaskHeaders::default()
        }
    }

    /// The name to show: the shadow, if there is one.
    pub fn name(&self) -> &str {
        self.shadow.as_deref().unwrap_or(&self.task)
    }

    /// Reads the headers of protocol 2.
    ///
    /// # Errors
    /// When a field that is needed is absent or a field has the wrong type.
    pub fn from_map(map: Map) -> Result<Self, TaskError> {
        let mut headers = TaskHeaders::default();
        let mut other = Vec::new();
        for (key, value) in map {
            match key.as_ref() {
                "lang" => headers.lang = text("lang", value)?.unwrap_or_default(),
                "task" => headers.task = text("task", value)?.unwrap_or_default(),
                "id" => headers.id = text("id", value)?.unwrap_or_default(),
                "shadow" => headers.shadow = text("shadow", value)?.filter(|shadow| !shadow.is_empty()),
                "eta" => headers.eta = moment("eta", value)?,
                "expires" => headers.expires = moment("expires", value)?,
                "group" => headers.group = text("group", value)?,
                "group_index" => headers.group_index = integer("group_index", value)?,
                "retries" => headers.retries = count("retries", value)?,
                "timelimit" => (headers.time_limit, headers.soft_time_limit) = limits(value)?,
                "root_id" => headers.root_id = text("root_id", value)?,
                "parent_id" => headers.parent_id = text("parent_id", value)?,
                "argsrepr" => headers.argsrepr = text("argsrepr", value)?,
                "kwargsrepr" => headers.kwargsrepr = text("kwargsrepr", value)?,
                "origin" => headers.origin = text("origin", value)?,
                "ignore_result" => {
                    headers.ignore_result = match value {
                        Value::Null => false,
                        Value::Bool(flag) => flag,
                        value => return Err(invalid("ignore_result", "bool", &value)),
                    }
                }
                "replaced_task_nesting" => {
                    headers.replaced_task_nesting = count("replaced_task_nesting", value)?;
                }
                "stamped_headers" => headers.stamped_headers = names(value)?,
                "stamps" => {
                    headers.stamps = match value {
                        Value::Null => Map::new(),
                        Value::Map(stamps) => stamps,
                        value => return Err(invalid("stamps", "dict", &value)),
                    }
                }
                _ => other.push((key, value)),
            }
        }
        headers.other = other.into_iter().collect();
        if headers.task.is_empty() {
            return Err(TaskError::Invalid("the task's name is empty".to_owned()));
        }
        if headers.id.is_empty() {
            return Err(TaskError::Invalid(format!("task {} has no id", headers.task)));
        }
        Ok(headers)
    }

    /// The headers of protocol 2, in Celery's order.
    pub fn into_map(self) -> Map {
        let iso = |time: Option<DateTime<Utc>>| Value::from(time.map(time::iso));
        let names = |names: Vec<String>| Value::List(names.into_iter().map(Value::from).collect());
        let entries = [
            ("lang", Value::from(self.lang)),
            ("task", self.task.into()),
            ("id", self.id.into()),
            ("shadow", self.shadow.into()),
            ("eta", iso(self.eta)),
            ("expires", iso(self.expires)),
            ("group", self.group.into()),
            ("group_index", self.group_index.into()),
            ("retries", self.retries.into()),
            ("timelimit", Value::List(vec![limit(self.time_limit), limit(self.soft_time_limit)])),
            ("root_id", self.root_id.into()),
            ("parent_id", self.parent_id.into()),
            ("argsrepr", self.argsrepr.into()),
            ("kwargsrepr", self.kwargsrepr.into()),
            ("origin", self.origin.into()),
            ("ignore_result", self.ignore_result.into()),
            ("replaced_task_nesting", self.replaced_task_nesting.into()),
            ("stamped_headers", self.stamped_headers.map(names).into()),
            ("stamps", self.stamps.into()),
        ];
        entries.into_iter().map(|(key, value)| (key.into(), value)).chain(self.other).collect()
    }
}

impl Body {
    /// The body of protocol 2: `[args, kwargs, embed]`.
    ///
    /// # Errors
    /// When the serializer cannot hold a value.
    pub fn encode(
        &self,
        serializer: Serializer,
        compression: Option<Compression>,
    ) -> Result<EncodedBody, EncodeError> {
        let list = |signatures: &[Signature]| {
            if signatures.is_empty() {
                Value::Null
            } else {
                Value::List(signatures.iter().cloned().map(Signature::into_value).collect())
            }
        };
        let mut embed = Map::with_capacity(4);
        embed.insert("callbacks", list(&self.embed.callbacks));
        embed.insert("errbacks", list(&self.embed.errbacks));
        embed.insert("chain", list(&self.embed.chain));
        embed.insert("chord", self.embed.chord.clone().map_or(Value::Null, Signature::into_value));
        let parts = [Node::List(&self.args), Node::Map(&self.kwargs), Node::Map(&embed)];
        codec::encode_node(Node::Parts(&parts), serializer, compression)
    }
}

impl EncodedBody {
    /// Decodes the body of a task of protocol 2.
    ///
    /// # Errors
    /// When its content type is not accepted, it cannot be decoded, or it is not `[args, kwargs, embed]`.
    pub fn decode(&self, accept: &Accept) -> Result<Body, TaskError> {
        let value = codec::decode(self, accept)?;
        let shape = || TaskError::Invalid("the body must be [args, kwargs, embed]".to_owned());
        let Value::List(items) = value else { return Err(shape()) };
        let Ok([args, kwargs, embed]) = <[Value; 3]>::try_from(items) else { return Err(shape()) };
        let args = match args {
            Value::Null => Vec::new(),
            Value::List(args) => args,
            other => return Err(invalid("args", "list", &other)),
        };
        let kwargs = match kwargs {
            Value::Null => Map::new(),
            Value::Map(kwargs) => kwargs,
            other => return Err(invalid("kwargs", "dict", &other)),
        };
        let embed = match embed {
            Value::Null => Embed::default(),
            Value::Map(mut embed) => {
                let mut take = |key: &str| embed.remove(key).unwrap_or_default();
                Embed {
                    callbacks: signatures("callbacks", take("callbacks"))?,
                    errbacks: signatures("errbacks", take("errbacks"))?,
                    chain: signatures("chain", take("chain"))?,
                    chord: signature("chord", take("chord"))?,
                }
            }
            other => return Err(invalid("embed", "dict", &other)),
        };
        Ok(Body { args, kwargs, embed })
    }
}

fn invalid(field: &str, wanted: &str, found: &Value) -> TaskError {
    TaskError::Invalid(format!("{field} must be {wanted}, not {}", found.type_name()))
}

fn text(field: &str, value: Value) -> Result<Option<String>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::Uuid(text) => Ok(Some(text)),
        value => Err(invalid(field, "str", &value)),
    }
}

fn integer(field: &str, value: Value) -> Result<Option<i64>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::Int(number) => Ok(Some(number)),
        value => Err(invalid(field, "int", &value)),
    }
}

fn count(field: &str, value: Value) -> Result<u32, TaskError> {
    let number = integer(field, value)?.unwrap_or(0);
    u32::try_from(number).map_err(|_| TaskError::Invalid(format!("{field} is out of range: {number}")))
}

fn moment(field: &str, value: Value) -> Result<Option<DateTime<Utc>>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) | Value::DateTime(text) => time::parse(&text)
            .map(Some)
            .ok_or_else(|| TaskError::Invalid(format!("invalid {field} value {text:?}"))),
        value => Err(invalid(field, "an ISO 8601 time", &value)),
    }
}

fn limits(value: Value) -> Result<(Option<f64>, Option<f64>), TaskError> {
    let seconds = |value: &Value| match value {
        Value::Null => Ok(None),
        value => match value.as_f64() {
            Some(seconds) if seconds.is_finite() && seconds >= 0.0 => Ok((seconds > 0.0).then_some(seconds)),
            Some(seconds) => Err(TaskError::Invalid(format!("timelimit is out of range: {seconds}"))),
            None => Err(invalid("timelimit", "two numbers", value)),
        },
    };
    match value.as_list() {
        None if value.is_null() => Ok((None, None)),
        Some([]) => Ok((None, None)),
        Some([hard, soft]) => Ok((seconds(hard)?, seconds(soft)?)),
        _ => Err(invalid("timelimit", "[hard, soft]", &value)),
    }
}

/// Whole seconds travel as an integer, as Celery's users write them.
fn limit(seconds: Option<f64>) -> Value {
    match seconds {
        None => Value::Null,
        Some(seconds) if seconds.fract() == 0.0 && seconds < 1e15 => Value::Int(seconds as i64),
        Some(seconds) => Value::Float(seconds),
    }
}

fn names(value: Value) -> Result<Option<Vec<String>>, TaskError> {
    match value {
        Value::Null => Ok(None),
        Value::List(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(name) => Ok(name),
                item => Err(invalid("stamped_headers", "a list of str", &item)),
            })
            .collect::<Result<_, _>>()
            .map(Some),
        value => Err(invalid("stamped_headers", "list", &value)),
    }
}

fn signature(field: &str, value: Value) -> Result<Option<Signature>, TaskError> {
    if value.is_null() {
        return Ok(None);
    }
    Signature::from_value(value).map(Some).map_err(|error| TaskError::Invalid(format!("{field}: {error}")))
}

fn signatures(field: &str, value: Value) -> Result<Vec<Signature>, TaskError> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::List(items) => items,
        // `maybe_list` in Celery: one signature may stand alone.
        single => vec![single],
    };
    items
        .into_iter()
        .map(Signature::from_value)
        .collect::<Result<_, _>>()
        .map_err(|error| TaskError::Invalid(format!("{field}: {error}")))
}
