//! Messages of remote control and events, in and out.

use std::time::{SystemTime, UNIX_EPOCH};

use celeriac_protocol::codec::{self, Accept, DecodeError};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, Value};

/// Seconds since 1970, by our wall clock.
pub(crate) fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// A message with a body; `delivery_mode` is 1 for transient, 2 for persistent.
pub(crate) fn message(headers: Map, body: EncodedBody, delivery_mode: u8) -> Message {
    let properties = Properties {
        content_type: Some(body.content_type),
        content_encoding: Some(body.content_encoding),
        delivery_mode: Some(delivery_mode),
        priority: Some(0),
        ..Properties::default()
    };
    Message { headers, properties, body: body.data }
}

/// The body of a message.
pub(crate) fn decode(message: Message, accept: &Accept) -> Result<Value, DecodeError> {
    let Message { headers, properties, body } = message;
    let body = EncodedBody {
        content_type: properties.content_type.unwrap_or_default(),
        content_encoding: properties.content_encoding.unwrap_or_default(),
        compression: headers.get("compression").and_then(Value::as_str).map(str::to_owned),
        data: body,
    };
    codec::decode(&body, accept)
}
