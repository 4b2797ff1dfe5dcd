use super::{DecodeError, PICKLE, Serializer, UnknownSerializer};

/// Which content types may be decoded, and how large and deep their content may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    content_types: Vec<String>,
    /// The most bytes that a body may have, before and after decompression: 64 MiB.
    pub max_size: usize,
    /// How deep lists and dicts may be nested: 128. Decoding recurses, so some thousands need a large stack.
    pub max_depth: usize,
}

impl Accept {
    /// Accepts these serializers, by name or content type, as the setting `accept_content` lists them.
    ///
    /// `pickle` may be named; [`allows`](Accept::allows) then says so, but [`decode`](super::decode) does not read it.
    ///
    /// # Errors
    /// When a name is unknown. Any content type is taken as it is (`kombu.serialization.prepare_accept_content`).
    pub fn new<I>(names: I) -> Result<Self, UnknownSerializer>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let content_type = |name: I::Item| match name.as_ref() {
            "pickle" => Ok(PICKLE.to_owned()),
            content_type if content_type.contains('/') => Ok(content_type.to_owned()),
            name => Serializer::from_name(name)
                .map(|serializer| serializer.content_type().to_owned())
                .ok_or_else(|| UnknownSerializer(name.to_owned())),
        };
        let content_types = names.into_iter().map(content_type).collect::<Result<_, _>>()?;
        Ok(Accept { content_types, max_size: 64 << 20, max_depth: 128 })
    }

    /// Whether content of this type is accepted.
    pub fn allows(&self, content_type: &str) -> bool {
        // kombu's `TRUSTED_CONTENT`; without a content type it is `application/data`.
        matches!(content_type, "" | "application/data" | "application/text")
            || self.content_types.iter().any(|accepted| accepted == content_type)
    }

    pub(super) fn check(&self, content_type: &str) -> Result<(), DecodeError> {
        if self.allows(content_type) {
            return Ok(());
        }
        Err(DecodeError::NotAccepted {
            content_type: content_type.to_owned(),
            accepted: self.content_types.join(", "),
        })
    }
}

/// Only JSON, as Celery.
impl Default for Accept {
    fn default() -> Self {
        let content_types = vec![Serializer::Json.content_type().to_owned()];
        Accept { content_types, max_size: 64 << 20, max_depth: 128 }
    }
}
