use std::time::Duration;

use bytes::Bytes;
use celeriac_protocol::codec::{Accept, Serializer};
use celeriac_protocol::{EncodedBody, TaskMeta};

use crate::{Error, Retry};

/// What Celery's `result_*` settings say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How results become bytes (`result_serializer`).
    pub serializer: Serializer,
    /// What may be read (`result_accept_content`, else `accept_content`).
    pub accept: Accept,
    /// How long a result is kept (`result_expires`, one day); `None` or zero for ever. Stores that count in
    /// seconds round it up.
    pub expires: Option<Duration>,
    /// Whether replies survive the broker (`result_persistent`); the rpc store only.
    pub persistent: bool,
    /// What goes in front of every key (`result_backend_transport_options`, `global_keyprefix`); the redis store
    /// only.
    pub global_keyprefix: Option<String>,
    /// Whether the results of a chord come in the order of its header, not in that of their ends
    /// (`result_backend_transport_options`, `result_chord_ordered`); the redis store only. All workers must agree.
    pub chord_ordered: bool,
    /// How often a store is asked that cannot be reached; the redis store only.
    pub retry: Retry,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            serializer: Serializer::Json,
            accept: Accept::default(),
            expires: Some(Duration::from_secs(24 * 60 * 60)),
            persistent: false,
            global_keyprefix: None,
            chord_ordered: true,
            retry: Retry::default(),
        }
    }
}

impl Settings {
    pub(crate) fn expires(&self) -> Option<Duration> {
        self.expires.filter(|expires| !expires.is_zero())
    }

    /// The same in whole seconds, as Redis counts.
    #[cfg(feature = "redis")]
    pub(crate) fn seconds(&self) -> Option<String> {
        self.expires().map(|expires| expires.as_millis().div_ceil(1000).to_string())
    }

    pub(crate) fn encode(&self, meta: &TaskMeta) -> Result<Bytes, Error> {
        match meta.encode(self.serializer) {
            Ok(body) => Ok(body.data),
            Err(error) => Err(Error::Encode { id: meta.id.clone(), reason: error.to_string() }),
        }
    }

    pub(crate) fn decode(&self, id: &str, data: Bytes) -> Result<TaskMeta, Error> {
        self.decode_body(id, &self.body(data))
    }

    /// Stores keep no content type: what they hold is read by the serializer that is set, as in Celery.
    pub(crate) fn body(&self, data: Bytes) -> EncodedBody {
        EncodedBody {
            content_type: self.serializer.content_type().to_owned(),
            content_encoding: self.serializer.content_encoding().to_owned(),
            compression: None,
            data,
        }
    }

    pub(crate) fn decode_body(&self, id: &str, body: &EncodedBody) -> Result<TaskMeta, Error> {
        let mut meta = TaskMeta::decode(body, &self.accept)
            .map_err(|error| Error::Invalid { id: id.to_owned(), reason: error.to_string() })?;
        if meta.id.is_empty() {
            id.clone_into(&mut meta.id);
        }
        Ok(meta)
    }
}
