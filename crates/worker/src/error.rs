use std::path::PathBuf;

/// Why a call was not sent.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum SendError {
    /// It cannot be encoded; nothing was sent.
    #[error("the call cannot be encoded: {0}")]
    Encode(String),
    /// The broker did not take it over; it may or may not have been sent.
    #[error(transparent)]
    Broker(celeriac_broker::Error),
    /// The result store could not be asked to expect the result; nothing was sent.
    #[error(transparent)]
    Results(#[from] celeriac_results::Error),
}

impl SendError {
    /// Whether the same call may succeed later.
    pub fn is_recoverable(&self) -> bool {
        match self {
            SendError::Encode(_) => false,
            SendError::Broker(error) => error.is_recoverable(),
            SendError::Results(error) => error.is_recoverable(),
        }
    }
}

/// Why a worker ended before it was told to.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WorkerError {
    /// The broker cannot be reached or used, and trying again does not help (any more).
    #[error(transparent)]
    Broker(#[from] celeriac_broker::Error),
    /// The steps make no order.
    #[error(transparent)]
    Steps(#[from] crate::blueprint::GraphError),
    /// The settings make no sense together.
    #[error("{0}")]
    Settings(String),
    /// The file that keeps state over restarts cannot be used; nothing was started, and the file is as it was.
    #[error("cannot use the statedb {path}: {reason}", path = path.display())]
    StateDb {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}
