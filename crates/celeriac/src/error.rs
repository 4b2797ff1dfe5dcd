use celeriac_broker::url::UrlError;
use celeriac_protocol::ValueError;
use celeriac_protocol::result::Exception;

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ConfigError {
    /// The broker's URL cannot be understood or served.
    #[error("broker {url}: {reason}")]
    Broker {
        /// The URL, without its password.
        url: String,
        /// What is wrong with it, and what would do.
        reason: String,
    },
    /// The result store's URL cannot be understood or served.
    #[error(transparent)]
    Results(#[from] celeriac_results::Error),
    /// A setting has a value that means nothing.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting's name.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl From<UrlError> for ConfigError {
    fn from(error: UrlError) -> Self {
        ConfigError::Broker { url: error.url, reason: error.reason }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ResultError {
    /// The task failed.
    #[error("{exception}")]
    Task {
        /// What it raised: class, module, arguments.
        exception: Box<Exception>,
        /// Where, in the worker's words.
        traceback: Option<String>,
    },
    /// The task was revoked, or expired before it ran.
    #[error("the task was revoked: {0}")]
    Revoked(String),
    /// It is not ready yet; it may become so.
    #[error("the result is not ready yet")]
    Timeout,
    /// The call was sent with `ignore_result`: there will never be a result.
    #[error("the call asked for no result")]
    Ignored,
    /// The store cannot tell.
    #[error(transparent)]
    Store(#[from] celeriac_results::Error),
    /// The result is of another type than the caller expects.
    #[error("the result is of another type: {0}")]
    Decode(ValueError),
}

impl ResultError {
    /// Whether asking again may help.
    pub fn is_recoverable(&self) -> bool {
        match self {
            ResultError::Timeout => true,
            ResultError::Store(error) => error.is_recoverable(),
            _ => false,
        }
    }
}

/// Why workers could not be asked or told.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ControlError {
    /// The arguments cannot be encoded; nothing was sent.
    #[error("the arguments of {method} cannot be encoded: {reason}")]
    Encode {
        /// The command.
        method: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The worker that leads the cluster has not answered in that time.
    #[error("the lead of the cluster has not answered within {0:?}")]
    Silent(std::time::Duration),
    /// The broker did not do it; the request may or may not have arrived.
    #[error(transparent)]
    Broker(#[from] celeriac_broker::Error),
}

impl ControlError {
    /// Whether asking again may help.
    pub fn is_recoverable(&self) -> bool {
        match self {
            ControlError::Encode { .. } => false,
            ControlError::Silent(_) => true,
            ControlError::Broker(error) => error.is_recoverable(),
        }
    }
}
