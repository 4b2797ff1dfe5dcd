use crate::Value;

/// A body that cannot be decoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// The content type is not among those that the receiver accepts; nothing was decoded.
    #[error("refusing content of type {content_type:?}: accept_content has {accepted}")]
    NotAccepted {
        /// The content type of the message.
        content_type: String,
        /// The content types that are accepted.
        accepted: String,
    },
    /// Pickle is a program for Python's interpreter: nothing else can read it.
    #[error("native tasks cannot read pickle: send json, msgpack or yaml (task_serializer)")]
    Pickle,
    /// Accepted, but no serializer here reads it.
    #[error("no serializer for content of type {0:?}")]
    UnknownContentType(String),
    /// The header `compression` names nothing that kombu knows.
    #[error("unknown compression {0:?}")]
    UnknownCompression(String),
    /// The bytes are not what the compression makes.
    #[error("cannot decompress {compression}: {reason}")]
    Compression {
        /// The compression's content type.
        compression: &'static str,
        /// What the decompressor says.
        reason: String,
    },
    /// More bytes than [`Accept::max_size`](super::Accept::max_size), before or after decompression.
    #[error("the content is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Lists and dicts nested deeper than [`Accept::max_depth`](super::Accept::max_depth).
    #[error("the content is nested deeper than {limit} levels")]
    TooDeep {
        /// The limit, in levels.
        limit: usize,
    },
    /// The bytes are not what the serializer writes.
    #[error("malformed {serializer}: {reason}")]
    Malformed {
        /// The serializer's name.
        serializer: &'static str,
        /// What is wrong, and where.
        reason: String,
    },
}

impl DecodeError {
    pub(super) fn malformed(serializer: &'static str, reason: impl std::fmt::Display) -> Self {
        DecodeError::Malformed { serializer, reason: reason.to_string() }
    }
}

/// A value that cannot be encoded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EncodeError {
    /// The serializer has no form for this type, in Python neither.
    #[error("{serializer} cannot hold {type_name}: {value}")]
    Unsupported {
        /// The serializer's name.
        serializer: &'static str,
        /// Python's name of the type.
        type_name: &'static str,
        /// The value as Python prints it, cut short.
        value: String,
    },
    /// A string, list or dict is longer than the serializer can count.
    #[error("the value is too large for {serializer}")]
    TooLarge {
        /// The serializer's name.
        serializer: &'static str,
    },
    /// The compressor failed.
    #[error("cannot compress to {compression}: {reason}")]
    Compression {
        /// The compression's content type.
        compression: &'static str,
        /// What the compressor says.
        reason: String,
    },
}

impl EncodeError {
    pub(super) fn unsupported(serializer: &'static str, value: &Value) -> Self {
        EncodeError::Unsupported {
            serializer,
            type_name: value.type_name(),
            value: crate::repr::value(value),
        }
    }
}

/// A name in `accept_content` or `task_serializer` that kombu does not know either.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "no serializer is called {0:?}: there are json, msgpack, yaml, pickle, and content types such as application/json"
)]
pub struct UnknownSerializer(pub String);
