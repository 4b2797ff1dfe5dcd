//! Task messages of protocol 2 (headers carry the envelope) and 1 (the body carries everything).
//! Source: `celery/app/amqp.py` (`as_task_v2`, `as_task_v1`) and `celery/worker/strategy.py`.

mod body;
mod headers;

pub use body::{Body, Embed, EncodedBody};
pub use headers::TaskHeaders;

use body::{signature, signatures};

use crate::codec::{self, Accept, Compression, DecodeError, EncodeError, Serializer};
use crate::{Map, Message, Properties, Value};

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

fn invalid(field: &str, wanted: &str, found: &Value) -> TaskError {
    TaskError::Invalid(format!("{field} must be {wanted}, not {}", found.type_name()))
}
