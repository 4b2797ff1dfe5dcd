use bytes::Bytes;

use crate::codec::{self, Accept, DecodeError};
use crate::{EncodedBody, Map, Value};

/// What a broker carries: headers, properties, and a body that only its receiver understands.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Message {
    /// Application headers; a task message of protocol 2 has its whole envelope here.
    pub headers: Map,
    /// What AMQP 0-9-1 calls basic properties.
    pub properties: Properties,
    /// The body as it travels: serialized, perhaps compressed.
    pub body: Bytes,
}

impl Message {
    /// A message with an encoded body that is not kept over a restart of the broker, and kombu's defaults otherwise.
    pub fn transient(headers: Map, body: EncodedBody) -> Self {
        let properties = Properties {
            content_type: Some(body.content_type),
            content_encoding: Some(body.content_encoding),
            delivery_mode: Some(1),
            priority: Some(0),
            ..Properties::default()
        };
        Message { headers, properties, body: body.data }
    }

    /// The body with what is needed to decode it.
    pub fn encoded_body(&self) -> EncodedBody {
        EncodedBody {
            content_type: self.properties.content_type.clone().unwrap_or_default(),
            content_encoding: self.properties.content_encoding.clone().unwrap_or_default(),
            compression: self.headers.get("compression").and_then(Value::as_str).map(str::to_owned),
            data: self.body.clone(),
        }
    }

    /// The decoded body.
    ///
    /// # Errors
    /// When its type is not accepted, or it cannot be decoded.
    pub fn decode(&self, accept: &Accept) -> Result<Value, DecodeError> {
        codec::decode(&self.encoded_body(), accept)
    }
}

/// AMQP 0-9-1's basic properties (section 1.8 of its reference), which kombu's other transports carry too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Properties {
    /// How the body is serialized, for example `application/json`.
    pub content_type: Option<String>,
    /// `utf-8`, or `binary` for serializers that give bytes.
    pub content_encoding: Option<String>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 255; the meaning of the order is the broker's.
    pub priority: Option<u8>,
    /// The task id, in task messages and their replies.
    pub correlation_id: Option<String>,
    /// The queue that answers go to.
    pub reply_to: Option<String>,
    /// Time to live in milliseconds, in digits, from the time it was published.
    pub expiration: Option<String>,
    /// Free for applications.
    pub message_id: Option<String>,
    /// Seconds since the epoch.
    pub timestamp: Option<u64>,
    /// Free for applications (AMQP's `type`).
    pub kind: Option<String>,
    /// Checked by the broker against the connection's user.
    pub user_id: Option<String>,
    /// Free for applications.
    pub app_id: Option<String>,
}
