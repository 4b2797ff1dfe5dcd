//! Serializers and compressions, by kombu's names and content types.

use crate::{EncodedBody, Value};

/// How values become bytes (`kombu/serialization.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Serializer {
    /// `application/json`, with kombu's `__type__` envelopes.
    #[default]
    Json,
    /// `application/x-msgpack`.
    Msgpack,
    /// `application/x-yaml`.
    Yaml,
}

impl Serializer {
    /// The serializer of a content type; `None` for pickle and everything unknown.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        let _ = content_type;
        unimplemented!()
    }
}

/// How bytes become fewer (`kombu/compression.py`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// `application/x-gzip`: zlib's format, whatever the name says.
    Zlib,
    /// `application/x-bz2`.
    Bzip2,
    /// `application/x-lzma`: the xz format.
    Lzma,
    /// `application/zstd`.
    Zstd,
    /// `application/x-brotli`.
    Brotli,
}

/// Which content types may be decoded, and how large and deep their content may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Accept {}

impl Default for Accept {
    fn default() -> Self {
        unimplemented!()
    }
}

/// A body that cannot be decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {}

/// A value that cannot be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {}

/// Decompresses and decodes a body.
///
/// # Errors
/// When its content type is not accepted or its content is not what it says.
pub fn decode(body: &EncodedBody, accept: &Accept) -> Result<Value, DecodeError> {
    let _ = (body, accept);
    unimplemented!()
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
    let _ = (value, serializer, compression);
    unimplemented!()
}
