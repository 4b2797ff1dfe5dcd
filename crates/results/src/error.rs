/// What can go wrong between us and a result store.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The store could not be reached, or was lost; the result may or may not have been kept.
    #[error("result store {store}: {reason}")]
    Unavailable {
        /// The store's URL, without its password.
        store: String,
        /// What happened.
        reason: String,
    },
    /// What the store holds under the id cannot be understood.
    #[error("result of {id} cannot be read: {reason}")]
    Invalid {
        /// The task's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The result cannot be encoded; nothing was kept.
    #[error("result of {id} cannot be encoded: {reason}")]
    Encode {
        /// The task's id.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The URL of a result store that cannot be served.
    #[error("result store {url}: {reason}")]
    Url {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// Results were asked for, and no store is configured (`celery/backends/base.py`, `DisabledBackend`).
    #[error("No result backend is configured. Please see the documentation for more information.")]
    Disabled,
    /// This store cannot do that.
    #[error("the {store} result store cannot {what}")]
    Unsupported {
        /// The store's name.
        store: &'static str,
        /// What was asked, as an infinitive.
        what: &'static str,
    },
}

impl Error {
    /// Whether trying again may help.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Error::Unavailable { .. })
    }
}
