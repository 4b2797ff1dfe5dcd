//! What the fuzz targets do with their input; each returns whether it understood it. The protocol crate's tests feed the
//! same functions on a stable compiler.

use celeriac_protocol::codec::{self, Accept, Compression, PICKLE, Serializer};
use celeriac_protocol::control::Request;
use celeriac_protocol::result::TaskMeta;
use celeriac_protocol::{EncodedBody, Event, Map, Message, Properties, TaskMessage, Value, repr};

const CONTENT_TYPES: [&str; 8] = [
    "application/json",
    "application/x-msgpack",
    "application/x-yaml",
    "application/json",
    "application/x-msgpack",
    "application/x-yaml",
    PICKLE,
    "",
];
const COMPRESSIONS: [Option<Compression>; 8] = [
    None,
    Some(Compression::Zlib),
    Some(Compression::Bzip2),
    Some(Compression::Lzma),
    Some(Compression::Zstd),
    Some(Compression::Brotli),
    None,
    None,
];

/// A message: a byte for the content type and the compression, the headers' length in two bytes, the headers in
/// JSON, the body.
pub fn decode_message(data: &[u8]) -> bool {
    let [kind, high, low, rest @ ..] = data else { return false };
    let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
    let (headers, body) = rest.split_at(length);
    let accept = accept();
    let headers = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        data: headers.to_vec().into(),
        ..EncodedBody::default()
    };
    let mut headers = match codec::decode(&headers, &accept) {
        Ok(Value::Map(headers)) => headers,
        _ => Map::new(),
    };
    if let Some(compression) = COMPRESSIONS[usize::from(kind >> 3 & 7)] {
        headers.insert("compression", compression.content_type());
    }
    let properties = Properties {
        content_type: Some(CONTENT_TYPES[usize::from(kind & 7)].to_owned()),
        ..Properties::default()
    };
    let message = Message { headers, properties, body: body.to_vec().into() };
    let Ok(task) = TaskMessage::decode(message, &accept) else { return false };
    if let Ok(body) = task.body.decode(&accept) {
        let _ = (repr::args(&body.args), repr::kwargs(&body.kwargs));
        let _ = body.encode(Serializer::Json, None);
    }
    let again = TaskMessage::decode(task.clone().into_message(), &accept);
    assert_eq!(again.map(|again| again.headers.id), Ok(task.headers.id), "our own message is not understood");
    true
}

/// JSON of any kind.
pub fn json(data: &[u8]) -> bool {
    decode(data, Serializer::Json)
}

/// msgpack of any kind.
pub fn msgpack(data: &[u8]) -> bool {
    decode(data, Serializer::Msgpack)
}

/// YAML of any kind.
pub fn yaml(data: &[u8]) -> bool {
    decode(data, Serializer::Yaml)
}

/// An event, or a list of them, in JSON.
pub fn event(data: &[u8]) -> bool {
    let Some(value) = json_value(data) else { return false };
    let mut read = false;
    for event in Event::read_all(value).flatten() {
        let again = Event::read(event.clone().into_value());
        assert_eq!(again.map(|again| again.kind), Ok(event.kind), "our own event is not understood");
        read = true;
    }
    read
}

/// A control request in JSON.
pub fn control(data: &[u8]) -> bool {
    let Some(value) = json_value(data) else { return false };
    let Ok(request) = Request::read(value) else { return false };
    let meant = request.is_for("w1@host");
    let again = Request::read(request.into_value()).map(|again| again.is_for("w1@host"));
    assert_eq!(again, Ok(meant), "our own request is not understood");
    true
}

/// What a result store keeps, in JSON.
pub fn result(data: &[u8]) -> bool {
    let Some(value) = json_value(data) else { return false };
    let Ok(meta) = TaskMeta::from_value(value) else { return false };
    let _ = meta.exception().map(|exception| (exception.to_string(), exception.repr()));
    let again = TaskMeta::from_value(meta.to_value());
    assert_eq!(again.map(|again| again.state), Ok(meta.state), "our own result is not understood");
    true
}

fn json_value(data: &[u8]) -> Option<Value> {
    let body = EncodedBody {
        content_type: Serializer::Json.content_type().to_owned(),
        data: data.to_vec().into(),
        ..EncodedBody::default()
    };
    codec::decode(&body, &accept()).ok()
}

/// What can be read can be shown, and what can be written again reads the same.
fn decode(data: &[u8], serializer: Serializer) -> bool {
    let accept = accept();
    let body = EncodedBody {
        content_type: serializer.content_type().to_owned(),
        data: data.to_vec().into(),
        ..EncodedBody::default()
    };
    let Ok(value) = codec::decode(&body, &accept) else { return false };
    let shown = repr::value(&value);
    assert!(shown.len() < 16 * repr::MAX_LENGTH);
    if let Ok(written) = codec::encode(&value, serializer, None) {
        let read = codec::decode(&written, &accept).unwrap_or_else(|error| panic!("{error}: {shown}"));
        assert_eq!(repr::value(&read), shown);
    }
    true
}

fn accept() -> Accept {
    let mut accept = Accept::new(["json", "msgpack", "yaml", "pickle"]).unwrap_or_default();
    accept.max_size = 1 << 20;
    accept
}
