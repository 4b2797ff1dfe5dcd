/// What can go wrong between us and a broker.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The broker could not be reached; nothing was sent.
    #[error("cannot connect to {broker}: {reason}")]
    Connect {
        /// The broker's URL, without its password.
        broker: String,
        /// What the system or the broker said.
        reason: String,
    },
    /// The broker refused user, password or virtual host, or the right to one queue or exchange; trying again will not
    /// help. A connection that is open stays so.
    #[error("access to {broker} was refused: {reason}")]
    AccessRefused {
        /// The broker's URL, without its password.
        broker: String,
        /// What the broker said.
        reason: String,
    },
    /// The connection or channel was lost. What was not confirmed may or may not have arrived, and every
    /// delivery that was not settled comes again.
    #[error("connection to broker lost: {0}")]
    Lost(String),
    /// A queue or exchange exists with other arguments; nothing was changed.
    #[error("declared with other arguments: {0}")]
    Precondition(String),
    /// A queue or exchange does not exist; nothing was changed.
    #[error("not found: {0}")]
    NotFound(String),
    /// The broker took the message and could not keep it (a negative confirm, a full queue).
    #[error("the broker did not accept the message: {0}")]
    NotAccepted(String),
    /// This transport cannot do that at all.
    #[error("the {transport} transport cannot {what}")]
    Unsupported {
        /// The transport's name.
        transport: &'static str,
        /// What was asked, as an infinitive.
        what: &'static str,
    },
    /// The embedded broker's file could not be read or written; nothing was changed.
    #[error("broker storage: {0}")]
    Storage(String),
}

impl Error {
    /// Whether connecting anew and trying again may help.
    pub fn is_recoverable(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Lost(_) | Error::Storage(_) | Error::NotAccepted(_))
    }
}
