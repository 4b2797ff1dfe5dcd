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
    /// The serializer of a name (`json`) or content type; `None` for pickle and everything unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Serializer::Json),
            "msgpack" => Some(Serializer::Msgpack),
            "yaml" => Some(Serializer::Yaml),
            content_type => Serializer::from_content_type(content_type),
        }
    }

    /// The serializer of a content type; `None` for pickle and everything unknown.
    pub fn from_content_type(content_type: &str) -> Option<Self> {
        match content_type {
            "application/json" => Some(Serializer::Json),
            "application/x-msgpack" => Some(Serializer::Msgpack),
            "application/x-yaml" => Some(Serializer::Yaml),
            _ => None,
        }
    }

    /// kombu's name.
    pub fn name(self) -> &'static str {
        match self {
            Serializer::Json => "json",
            Serializer::Msgpack => "msgpack",
            Serializer::Yaml => "yaml",
        }
    }

    /// What the property `content_type` says.
    pub fn content_type(self) -> &'static str {
        match self {
            Serializer::Json => "application/json",
            Serializer::Msgpack => "application/x-msgpack",
            Serializer::Yaml => "application/x-yaml",
        }
    }

    /// What the property `content_encoding` says.
    pub fn content_encoding(self) -> &'static str {
        match self {
            Serializer::Msgpack => "binary",
            Serializer::Json | Serializer::Yaml => "utf-8",
        }
    }
}
