//! Kombu's JSON form of a message, for brokers that have no headers of their own
//! (`kombu/transport/virtual/base.py`, `Channel.prepare_message` and `Message`).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use celeriac_protocol::codec::{self, Accept, DecodeError, EncodeError, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, Value};

/// A message with what a broker without headers must keep in it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Envelope {
    /// The message.
    pub message: Message,
    /// The exchange that it was published to.
    pub exchange: String,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// Whether somebody had it and gave it back.
    pub redelivered: bool,
    /// Names this delivery; kombu fails without one, and wants it to be unique.
    pub delivery_tag: String,
}

/// Bytes that are no envelope.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EnvelopeError {
    /// They are not the JSON that they should be; it may nest 128 levels and have 1 GiB.
    #[error(transparent)]
    Json(#[from] DecodeError),
    /// They are JSON, but not of this shape.
    #[error("not an envelope: {0}")]
    Shape(&'static str),
}

impl Envelope {
    /// Writes the JSON that kombu reads; the body goes as base64, as kombu sends it.
    ///
    /// # Errors
    /// When a header has a value that JSON cannot hold.
    pub fn encode(self) -> Result<Vec<u8>, EncodeError> {
        let Message { headers, properties, body } = self.message;
        let mut outer = Map::with_capacity(6);
        outer.insert("body", STANDARD.encode(body));
        outer.insert("content-encoding", properties.content_encoding.clone());
        outer.insert("content-type", properties.content_type.clone());
        outer.insert("headers", headers);
        let mut inner = properties_to_map(properties);
        let info = [("exchange", Value::from(self.exchange)), ("routing_key", Value::from(self.routing_key))];
        inner.insert("delivery_info", info.into_iter().collect::<Map>());
        inner.insert("body_encoding", "base64");
        inner.insert("delivery_tag", self.delivery_tag);
        outer.insert("properties", inner);
        if self.redelivered {
            outer.insert("redelivered", true);
        }
        Ok(codec::encode(&Value::Map(outer), Serializer::Json, None)?.data.into())
    }

    /// Reads what kombu, or [`encode`](Self::encode), wrote. Properties of a wrong type count as absent.
    ///
    /// # Errors
    /// When it is not JSON, no object, or its body is neither text nor base64.
    pub fn decode(bytes: Bytes) -> Result<Self, EnvelopeError> {
        let json = EncodedBody {
            content_type: Serializer::Json.content_type().to_owned(),
            content_encoding: Serializer::Json.content_encoding().to_owned(),
            compression: None,
            data: bytes,
        };
        let mut accept = Accept::default();
        accept.max_size = 1 << 30;
        let Value::Map(mut outer) = codec::decode(&json, &accept)? else {
            return Err(EnvelopeError::Shape("it is no object"));
        };
        let Some(Value::Map(mut inner)) = outer.remove("properties") else {
            return Err(EnvelopeError::Shape("it has no properties"));
        };
        let headers = match outer.remove("headers") {
            Some(Value::Map(headers)) => headers,
            None | Some(Value::Null) => Map::new(),
            Some(_) => return Err(EnvelopeError::Shape("its headers are no object")),
        };
        let mut info = match inner.remove("delivery_info") {
            Some(Value::Map(info)) => info,
            _ => Map::new(),
        };
        let body = decode_body(outer.remove("body"), inner.get("body_encoding"))?;
        // The first is what kombu's SQLAlchemy transport writes, the second what its Redis transport does.
        let redelivered = [outer.get("redelivered"), info.get("redelivered")].into_iter().flatten();
        let redelivered = redelivered.filter_map(Value::as_bool).any(|redelivered| redelivered);
        let properties = Properties {
            content_type: text(&mut outer, "content-type"),
            content_encoding: text(&mut outer, "content-encoding"),
            ..properties_from_map(&mut inner)
        };
        Ok(Envelope {
            message: Message { headers, properties, body },
            exchange: text(&mut info, "exchange").unwrap_or_default(),
            routing_key: text(&mut info, "routing_key").unwrap_or_default(),
            redelivered,
            delivery_tag: text(&mut inner, "delivery_tag").unwrap_or_default(),
        })
    }
}

fn decode_body(body: Option<Value>, encoding: Option<&Value>) -> Result<Bytes, EnvelopeError> {
    let body = match body {
        Some(Value::String(body)) => body,
        None | Some(Value::Null) => return Ok(Bytes::new()),
        Some(_) => return Err(EnvelopeError::Shape("its body is no text")),
    };
    match encoding.and_then(Value::as_str) {
        Some("base64") => match STANDARD.decode(body) {
            Ok(body) => Ok(body.into()),
            Err(_) => Err(EnvelopeError::Shape("its body is no base64")),
        },
        None => Ok(body.into()),
        Some(encoding) if encoding.eq_ignore_ascii_case("utf-8") => Ok(body.into()),
        Some(_) => Err(EnvelopeError::Shape("its body_encoding is unknown")),
    }
}

fn properties_to_map(properties: Properties) -> Map {
    let small = |number: Option<u8>| number.map(|number| Value::Int(number.into()));
    [
        ("delivery_mode", small(properties.delivery_mode)),
        ("priority", small(properties.priority)),
        ("correlation_id", properties.correlation_id.map(Value::from)),
        ("reply_to", properties.reply_to.map(Value::from)),
        ("expiration", properties.expiration.map(Value::from)),
        ("message_id", properties.message_id.map(Value::from)),
        ("timestamp", properties.timestamp.map(Value::from)),
        ("type", properties.kind.map(Value::from)),
        ("user_id", properties.user_id.map(Value::from)),
        ("app_id", properties.app_id.map(Value::from)),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

fn properties_from_map(map: &mut Map) -> Properties {
    let small = |value: Option<&Value>| {
        value.and_then(Value::as_i64).and_then(|number| u8::try_from(number.clamp(0, 255)).ok())
    };
    Properties {
        content_type: None,
        content_encoding: None,
        delivery_mode: small(map.get("delivery_mode")),
        priority: small(map.get("priority")),
        correlation_id: text(map, "correlation_id"),
        reply_to: text(map, "reply_to"),
        expiration: text(map, "expiration"),
        message_id: text(map, "message_id"),
        timestamp: map.get("timestamp").and_then(Value::as_i64).and_then(|time| time.try_into().ok()),
        kind: text(map, "type"),
        user_id: text(map, "user_id"),
        app_id: text(map, "app_id"),
    }
}

/// A text; a number counts as one, since not every producer writes `expiration` in quotes.
fn text(map: &mut Map, name: &str) -> Option<String> {
    match map.remove(name)? {
        Value::String(text) => Some(text),
        Value::Int(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As kombu 5.7.0 wrote it for a `SimpleQueue.put`.
    const KOMBU: &str = r#"{"body": "eyJhIjogMX0=", "content-encoding": "utf-8", "content-type":
        "application/json", "headers": {"h": 1}, "properties": {"delivery_mode": 2, "delivery_info": {"exchange": "q",
        "routing_key": "k"}, "priority": 3, "body_encoding": "base64", "delivery_tag":
        "ef02543a-402c-4f65-8088-192500fa635b"}, "redelivered": true}"#;

    #[test]
    fn kombu_s_envelope_is_read() {
        let envelope = Envelope::decode(Bytes::from_static(KOMBU.as_bytes())).unwrap();
        assert_eq!(envelope.message.body, Bytes::from_static(b"{\"a\": 1}"));
        assert_eq!(envelope.message.headers.get("h"), Some(&Value::Int(1)));
        let properties = &envelope.message.properties;
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(3)));
        assert_eq!((envelope.exchange.as_str(), envelope.routing_key.as_str()), ("q", "k"));
        assert!(envelope.redelivered);
        let again = Envelope::decode(envelope.clone().encode().unwrap().into()).unwrap();
        assert_eq!(again, envelope);
        let fresh = KOMBU.replace(r#", "redelivered": true}"#, "}");
        assert!(!Envelope::decode(fresh.clone().into()).unwrap().redelivered);
        let redis = fresh.replace(r#""exchange": "q","#, r#""exchange": "q", "redelivered": true,"#);
        assert!(Envelope::decode(redis.into()).unwrap().redelivered);
    }

    #[test]
    fn plain_bodies_are_read() {
        for encoding in ["null", "\"utf-8\"", "\"UTF-8\""] {
            let json = format!(r#"{{"body": "[1]", "properties": {{"body_encoding": {encoding}}}}}"#);
            assert_eq!(Envelope::decode(json.into()).unwrap().message.body, Bytes::from_static(b"[1]"));
        }
    }

    #[test]
    fn what_is_no_envelope_is_refused() {
        for bytes in [
            "",
            "nonsense",
            "[]",
            "{}",
            r#"{"properties": 1}"#,
            r#"{"properties": {}, "headers": []}"#,
            r#"{"properties": {}, "body": {}}"#,
            r#"{"properties": {"body_encoding": "rot13"}, "body": "x"}"#,
            r#"{"properties": {"body_encoding": "base64"}, "body": "?"}"#,
        ] {
            assert!(Envelope::decode(bytes.into()).is_err(), "{bytes}");
        }
        assert!(Envelope::decode("[".repeat(1_000_000).into()).is_err());
        assert!(Envelope::decode(Bytes::from_static(b"\xff\xfe")).is_err());
    }
}
