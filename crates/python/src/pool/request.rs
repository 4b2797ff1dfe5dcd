//! A request as Celery's tracer and Celery's own request take it (`celery/worker/request.py`, `_request_dict`).

use bytes::Bytes;
use celeriac_protocol::codec::{Accept, Compression, DecodeError};
use celeriac_protocol::{EncodedBody, Map, Message, Properties, TaskHeaders};
use celeriac_worker::{Facts, Origin};

use crate::host::marshal::{MarshalError, Writer};
use crate::host::{Body, Call};

/// A task message, as Python takes it.
pub struct Packed {
    name: String,
    id: String,
    request: Vec<u8>,
    body: Bytes,
    content_type: String,
    content_encoding: String,
}

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
            body: decompressed(body, accept)?,
            content_type: body.content_type.clone(),
            content_encoding: body.content_encoding.clone(),
        })
    }

    /// What is said of it.
    pub fn call(&self) -> Call<'_> {
        let body = Body::Encoded {
            bytes: &self.body,
            content_type: &self.content_type,
            content_encoding: &self.content_encoding,
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
