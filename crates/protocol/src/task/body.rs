use bytes::Bytes;

use super::{TaskError, invalid};
use crate::codec::{self, Accept, Compression, EncodeError, Node, Serializer};
use crate::{Map, Signature, Value};

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

pub(super) fn signature(field: &str, value: Value) -> Result<Option<Signature>, TaskError> {
    if value.is_null() {
        return Ok(None);
    }
    Signature::from_value(value).map(Some).map_err(|error| TaskError::Invalid(format!("{field}: {error}")))
}

pub(super) fn signatures(field: &str, value: Value) -> Result<Vec<Signature>, TaskError> {
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
