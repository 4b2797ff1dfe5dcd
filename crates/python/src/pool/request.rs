//! A request as Celery's tracer and Celery's own request take it (`celery/worker/request.py`, `_request_dict`).

use bytes::Bytes;
use celeriac_protocol::codec::{Accept, Compression, DecodeError};
use celeriac_protocol::{EncodedBody, Properties, TaskHeaders, time};
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
        let mut writer = Writer::new();
        write_headers(writer.dict(), headers);
        if let Some(compression) = &body.compression {
            writer.str("compression").str(compression);
        }
        write_properties(writer.str("properties"), properties, body);
        text(writer.str("reply_to"), properties.reply_to.as_deref());
        text(writer.str("correlation_id"), properties.correlation_id.as_deref());
        writer.str("hostname").str(hostname);
        writer.str("delivery_info").dict();
        writer.str("exchange").str(&origin.exchange).str("routing_key").str(&origin.routing_key);
        priority(writer.str("priority"), properties);
        writer.str("redelivered").bool(origin.redelivered).end().end();
        Ok(Packed {
            name: headers.task.clone(),
            id: headers.id.clone(),
            request: writer.finish()?,
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

/// What [`TaskHeaders::into_map`] gives, without a copy of it all.
fn write_headers(writer: &mut Writer, headers: &TaskHeaders) {
    let texts = [
        ("lang", Some(&headers.lang)),
        ("task", Some(&headers.task)),
        ("id", Some(&headers.id)),
        ("shadow", headers.shadow.as_ref()),
        ("group", headers.group.as_ref()),
        ("root_id", headers.root_id.as_ref()),
        ("parent_id", headers.parent_id.as_ref()),
        ("argsrepr", headers.argsrepr.as_ref()),
        ("kwargsrepr", headers.kwargsrepr.as_ref()),
        ("origin", headers.origin.as_ref()),
    ];
    for (name, value) in texts {
        text(writer.str(name), value.map(String::as_str));
    }
    for (name, moment) in [("eta", headers.eta), ("expires", headers.expires)] {
        text(writer.str(name), moment.map(time::iso).as_deref());
    }
    match headers.group_index {
        Some(index) => writer.str("group_index").int(index),
        None => writer.str("group_index").none(),
    };
    writer.str("retries").uint(headers.retries.into());
    limit(writer.str("timelimit").list(2), headers.time_limit);
    limit(writer, headers.soft_time_limit);
    writer.str("ignore_result").bool(headers.ignore_result);
    writer.str("replaced_task_nesting").uint(headers.replaced_task_nesting.into());
    match &headers.stamped_headers {
        Some(names) => {
            names.iter().fold(writer.str("stamped_headers").list(names.len()), |w, name| w.str(name))
        }
        None => writer.str("stamped_headers").none(),
    };
    writer.str("stamps").map(&headers.stamps);
    for (key, value) in headers.other.iter() {
        writer.str(key).value(value);
    }
}

/// Whole seconds as Python's clients have them, as an integer.
fn limit(writer: &mut Writer, seconds: Option<f64>) {
    match seconds {
        None => writer.none(),
        Some(seconds) if seconds.fract() == 0.0 && seconds < 1e15 => writer.int(seconds as i64),
        Some(seconds) => writer.float(seconds),
    };
}

/// AMQP's properties that are set, by its names; the headers, which py-amqp has there too, are in the request itself.
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
    use celeriac_protocol::{Map, Value};

    use super::*;
    use crate::host::marshal::loads;

    fn written(headers: &TaskHeaders) -> Value {
        let mut writer = Writer::new();
        write_headers(writer.dict(), headers);
        writer.end();
        loads(&writer.finish().unwrap()).unwrap()
    }

    /// By their names: the order of keys means nothing.
    fn sorted(value: &Value) -> Vec<(String, Value)> {
        let entries = value.as_map().into_iter().flat_map(Map::iter);
        let mut entries: Vec<_> = entries.map(|(key, value)| (key.to_string(), value.clone())).collect();
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        entries
    }

    #[test]
    fn headers_are_written_as_celery_sends_them() {
        let plain = TaskHeaders::new("proj.add", "an-id");
        let full = TaskHeaders {
            shadow: Some("add".to_owned()),
            eta: chrono::DateTime::from_timestamp(1_700_000_000, 5_000),
            expires: chrono::DateTime::from_timestamp(1_800_000_000, 0),
            group: Some("group".to_owned()),
            group_index: Some(3),
            retries: 2,
            time_limit: Some(1.5),
            soft_time_limit: Some(1.0),
            parent_id: Some("parent".to_owned()),
            argsrepr: Some("(1,)".to_owned()),
            kwargsrepr: Some("{}".to_owned()),
            origin: Some("gen1@host".to_owned()),
            ignore_result: true,
            replaced_task_nesting: 1,
            stamped_headers: Some(vec!["by".to_owned()]),
            stamps: Map::from_iter([("by", Value::from("me"))]),
            other: Map::from_iter([("own", Value::from(7))]),
            ..plain.clone()
        };
        for headers in [plain, full] {
            let sent = Value::from(headers.clone().into_map());
            assert_eq!(sorted(&written(&headers)), sorted(&sent));
        }
    }
}
