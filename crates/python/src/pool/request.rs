//! A request as Celery's tracer and Celery's own request take it (`celery/worker/request.py`, `_request_dict`).

use bytes::Bytes;
use celeriac_protocol::codec::{self, Accept, Compression, DecodeError, Serializer};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, TaskHeaders, Value};
use celeriac_worker::{Facts, Origin};

use crate::host::marshal::{MarshalError, Writer, dumps};
use crate::host::{Body, Call};

/// A task message, as Python takes it.
pub struct Packed {
    name: String,
    id: String,
    request: Vec<u8>,
    arguments: Arguments,
}

/// The arguments of a task message.
enum Arguments {
    /// As they came, but for their compression.
    Encoded { bytes: Bytes, content_type: String, content_encoding: String },
    /// Marshalled.
    Decoded(Vec<u8>),
}

/// Longer bodies are left to Python: there the reading is what costs, not all that is around it.
const SHORT: usize = 4 << 10;

/// Why a message is not given to Python.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The body's type is not accepted (`accept_content`).
    #[error("Refusing to deserialize untrusted content of type {0}")]
    Refused(String),
    /// The body cannot be decompressed.
    #[error(transparent)]
    Body(#[from] DecodeError),
    /// The headers are too large.
    #[error(transparent)]
    Headers(#[from] MarshalError),
}

impl Packed {
    /// The request of these facts.
    pub fn new(facts: &Facts, hostname: &str, accept: &Accept) -> Result<Self, PackError> {
        Packed::of(&facts.headers, &facts.properties, &facts.body, &facts.origin, hostname, accept)
    }

    /// The same of a message that is no request yet. What came by protocol 1 has been read as protocol 2.
    pub fn of(
        headers: &TaskHeaders,
        properties: &Properties,
        body: &EncodedBody,
        origin: &Origin,
        hostname: &str,
        accept: &Accept,
    ) -> Result<Self, PackError> {
        let mut all = headers.clone().into_map();
        if let Some(compression) = &body.compression {
            all.insert("compression", compression.as_str());
        }
        let request = request(&all, properties, body, origin, hostname)?;
        Packed::with(&headers.task, &headers.id, request, body, accept)
    }

    /// The same of a message that is no task.
    pub fn raw(
        message: &Message,
        origin: &Origin,
        hostname: &str,
        accept: &Accept,
    ) -> Result<Self, PackError> {
        let body = message.encoded_body();
        let request = request(&message.headers, &message.properties, &body, origin, hostname)?;
        Packed::with("", "", request, &body, accept)
    }

    fn with(
        name: &str,
        id: &str,
        request: Vec<u8>,
        body: &EncodedBody,
        accept: &Accept,
    ) -> Result<Self, PackError> {
        Ok(Packed {
            name: name.to_owned(),
            id: id.to_owned(),
            request,
            arguments: Arguments::Encoded {
                bytes: decompressed(body, accept)?,
                content_type: body.content_type.clone(),
                content_encoding: body.content_encoding.clone(),
            },
        })
    }

    /// Reads the body, so that Python need not: that takes kombu a quarter of what a short task costs. What is not plain
    /// JSON stays as it came.
    pub fn read(mut self) -> Self {
        if let Arguments::Encoded { bytes, content_type, content_encoding } = &self.arguments
            && content_type == Serializer::Json.content_type()
            && content_encoding.eq_ignore_ascii_case("utf-8")
            && bytes.len() <= SHORT
            && let Some(decoded) = plain_json(bytes)
        {
            self.arguments = Arguments::Decoded(decoded);
        }
        self
    }

    /// What is said of it.
    pub fn call(&self) -> Call<'_> {
        let body = match &self.arguments {
            Arguments::Encoded { bytes, content_type, content_encoding } => {
                Body::Encoded { bytes, content_type, content_encoding }
            }
            Arguments::Decoded(decoded) => Body::Decoded(decoded),
        };
        Call { name: &self.name, id: &self.id, request: &self.request, body }
    }
}

/// Celery's request of these headers.
fn request(
    headers: &Map,
    properties: &Properties,
    body: &EncodedBody,
    origin: &Origin,
    hostname: &str,
) -> Result<Vec<u8>, MarshalError> {
    let mut writer = Writer::new();
    writer.dict();
    for (key, value) in headers.iter() {
        writer.str(key).value(value);
    }
    write_properties(writer.str("properties"), properties, body);
    text(writer.str("reply_to"), properties.reply_to.as_deref());
    text(writer.str("correlation_id"), properties.correlation_id.as_deref());
    writer.str("hostname").str(hostname);
    writer.str("delivery_info").dict();
    writer.str("exchange").str(&origin.exchange).str("routing_key").str(&origin.routing_key);
    priority(writer.str("priority"), properties);
    writer.str("redelivered").bool(origin.redelivered).end().end();
    writer.finish()
}

/// The body as its serializer left it; of a type that is not accepted nothing is read.
fn decompressed(body: &EncodedBody, accept: &Accept) -> Result<Bytes, PackError> {
    if !accept.allows(&body.content_type) {
        return Err(PackError::Refused(body.content_type.clone()));
    }
    match body.compression.as_deref() {
        None | Some("") => Ok(body.data.clone()),
        Some(name) => {
            let compression = Compression::from_name(name)
                .ok_or_else(|| DecodeError::UnknownCompression(name.to_owned()))?;
            Ok(compression.decompress(&body.data, accept.max_size)?.into())
        }
    }
}

/// What Python makes of a text of JSON, marshalled; nothing where marshal or we could not say the same.
fn plain_json(text: &Bytes) -> Option<Vec<u8>> {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        content_encoding: "utf-8".to_owned(),
        compression: None,
        data: text.clone(),
    };
    let value = codec::decode(&body, &Accept::default()).ok()?;
    // Whatever has no three parts Python refuses, in its own words.
    let has_parts = value.as_list().is_some_and(|parts| parts.len() == 3);
    if has_parts && is_plain(&value) { dumps(&value).ok() } else { None }
}

/// Whether a value is of JSON's own types, and no text stands for what only Python has as text: lone surrogates.
fn is_plain(value: &Value) -> bool {
    let is_whole = |text: &str| !text.contains(char::REPLACEMENT_CHARACTER);
    match value {
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => true,
        Value::String(text) => is_whole(text),
        Value::List(items) => items.iter().all(is_plain),
        Value::Map(map) => map.iter().all(|(key, value)| is_whole(key) && is_plain(value)),
        _ => false,
    }
}

/// AMQP's properties that are set, by its names; the headers, which py-amqp has there too, are added in Python.
fn write_properties(writer: &mut Writer, properties: &Properties, body: &EncodedBody) {
    writer.dict();
    writer.str("content_type").str(&body.content_type);
    writer.str("content_encoding").str(&body.content_encoding);
    if let Some(mode) = properties.delivery_mode {
        writer.str("delivery_mode").int(mode.into());
    }
    if properties.priority.is_some() {
        priority(writer.str("priority"), properties);
    }
    let texts = [
        ("correlation_id", &properties.correlation_id),
        ("reply_to", &properties.reply_to),
        ("expiration", &properties.expiration),
        ("message_id", &properties.message_id),
        ("type", &properties.kind),
        ("user_id", &properties.user_id),
        ("app_id", &properties.app_id),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            writer.str(name).str(value);
        }
    }
    if let Some(timestamp) = properties.timestamp {
        writer.str("timestamp").uint(timestamp);
    }
    writer.end();
}

fn text(writer: &mut Writer, text: Option<&str>) {
    match text {
        Some(text) => writer.str(text),
        None => writer.none(),
    };
}

fn priority(writer: &mut Writer, properties: &Properties) {
    match properties.priority {
        Some(priority) => writer.int(priority.into()),
        None => writer.none(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::marshal::loads;

    #[test]
    fn plain_json_is_read_and_all_else_left_to_python() {
        let read = |text: &'static str| plain_json(&Bytes::from_static(text.as_bytes()));
        let text =
            r#"[[-0, 18446744073709551616, 0.1, -1e999, true, null, "\u00e9\ud83d\ude00"], {"a": {}}, []]"#;
        let list = [
            0.into(),
            Value::BigInt("18446744073709551616".into()),
            0.1.into(),
            f64::NEG_INFINITY.into(),
            true.into(),
            Value::Null,
            "é😀".into(),
        ];
        let named = Map::from_iter([("a", Value::Map(Map::new()))]);
        let wanted = Value::List(vec![Value::List(list.into()), Value::Map(named), Value::List(Vec::new())]);
        assert_eq!(loads(&read(text).unwrap()), Ok(wanted));
        for left in [
            r#"[[{"__type__": "uuid", "__value__": "c0ffee00-0000-4000-8000-000000000000"}], {}, {}]"#,
            r#"[[{"__type__": "unheard-of", "__value__": 1}], {}, {}]"#,
            r#"[["\ud800"], {}, {}]"#,
            r#"[[], {"\udfff": 1}, {}]"#,
            "[[], {}, {}] ]",
            "5",
            "[[], {}]",
            "",
        ] {
            assert_eq!(read(left), None, "{left}");
        }
    }
}
