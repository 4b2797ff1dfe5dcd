//! Serializers and compressions, by kombu's names and content types.

mod accept;
mod compression;
mod error;
mod integer;
mod json;
mod msgpack;
mod serializer;
mod yaml;

pub use accept::Accept;
pub use compression::Compression;
pub use error::{DecodeError, EncodeError, UnknownSerializer};
pub use serializer::Serializer;

use crate::{EncodedBody, Map, Value};

/// The content type of pickle, which only Python can read.
pub const PICKLE: &str = "application/x-python-serialize";

/// Decompresses and decodes a body.
///
/// A body without a content type is `application/data`: text, or bytes where its encoding is `binary`. Content of
/// that type and of `application/text` is always accepted, as kombu does.
///
/// # Errors
/// When its content type is not accepted or its content is not what it says.
pub fn decode(body: &EncodedBody, accept: &Accept) -> Result<Value, DecodeError> {
    if body.content_type == PICKLE {
        return Err(DecodeError::Pickle);
    }
    accept.check(&body.content_type)?;
    let decompressed;
    let data = match body.compression.as_deref() {
        None | Some("") => &body.data[..],
        Some(name) => {
            let compression = Compression::from_name(name)
                .ok_or_else(|| DecodeError::UnknownCompression(name.to_owned()))?;
            decompressed = compression.decompress(&body.data, accept.max_size)?;
            &decompressed
        }
    };
    if data.len() > accept.max_size {
        return Err(DecodeError::TooLarge { limit: accept.max_size });
    }
    match body.content_type.as_str() {
        "" | "application/data" | "application/text" | "text/plain" => raw(data, &body.content_encoding),
        content_type => match Serializer::from_content_type(content_type) {
            Some(Serializer::Json) => json::read(data, accept.max_depth),
            Some(Serializer::Msgpack) => msgpack::read(data, accept.max_depth),
            Some(Serializer::Yaml) => yaml::read(data, accept.max_size, accept.max_depth),
            None => Err(DecodeError::UnknownContentType(content_type.to_owned())),
        },
    }
}

/// Encodes and compresses a value.
///
/// # Errors
/// When the serializer cannot hold the value.
pub fn encode(
    value: &Value,
    serializer: Serializer,
    compression: Option<Compression>,
) -> Result<EncodedBody, EncodeError> {
    encode_node(Node::Value(value), serializer, compression)
}

/// What is written: a value, or a list whose items lie in different places, so that none has to be cloned.
#[derive(Clone, Copy)]
pub(crate) enum Node<'a> {
    Value(&'a Value),
    List(&'a [Value]),
    Map(&'a Map),
    Parts(&'a [Node<'a>]),
}

pub(crate) fn encode_node(
    node: Node<'_>,
    serializer: Serializer,
    compression: Option<Compression>,
) -> Result<EncodedBody, EncodeError> {
    let data = match serializer {
        Serializer::Json => json::write(node)?,
        Serializer::Msgpack => msgpack::write(node)?,
        Serializer::Yaml => yaml::write(node)?,
    };
    let data = match compression {
        None => data,
        Some(compression) => compression.compress(&data)?,
    };
    Ok(EncodedBody {
        content_type: serializer.content_type().to_owned(),
        content_encoding: serializer.content_encoding().to_owned(),
        compression: compression.map(|compression| compression.content_type().to_owned()),
        data: data.into(),
    })
}

/// Content that no serializer made (`kombu/serialization.py`, `raw_encode`).
fn raw(data: &[u8], content_encoding: &str) -> Result<Value, DecodeError> {
    if matches!(content_encoding, "binary" | "ascii-8bit") {
        return Ok(Value::Bytes(data.to_vec()));
    }
    let text = std::str::from_utf8(data).map_err(|error| DecodeError::malformed("text", error))?;
    Ok(Value::String(text.to_owned()))
}
