use std::io;
use std::path::Path;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line makes no sense; nothing was done.
    #[error("{0}")]
    Usage(String),
    /// The settings make no sense; nothing was done.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// The broker did not do it.
    #[error(transparent)]
    Broker(#[from] celeriac_broker::Error),
    /// The call was not sent.
    #[error(transparent)]
    Send(#[from] crate::SendError),
    /// There is no result to show.
    #[error(transparent)]
    Result(#[from] crate::ResultError),
    /// A live worker has the pidfile; nothing was done.
    #[error("Pidfile ({path}) already exists.\nSeems we're already running? (pid: {pid})")]
    PidLocked {
        /// The pidfile.
        path: String,
        /// Who has it.
        pid: i32,
    },
    /// A file cannot be used.
    #[error("{path}: {error}")]
    File {
        /// The file.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
    /// No worker answered.
    #[error("No nodes replied within time constraint")]
    NoNodes,
    /// The workers could not be asked.
    #[error(transparent)]
    Control(#[from] crate::ControlError),
    /// The user said no; nothing was done.
    #[error("Aborted!")]
    Aborted,
}

impl Error {
    /// A file cannot be used.
    pub fn file(path: &Path, error: io::Error) -> Self {
        Error::File { path: path.display().to_string(), error }
    }

    /// The system refused something.
    pub fn system(what: &'static str, error: io::Error) -> Self {
        Error::System { what, error }
    }

    /// What to do about it, where the command line can help.
    pub fn advice(&self) -> Option<&'static str> {
        use celeriac_broker::Error::Connect;
        use celeriac_results::Error as Results;

        let results = |error: &Results| match error {
            Results::Disabled => Some("Name one: --result-backend URL, or CELERY_RESULT_BACKEND."),
            Results::Unavailable { .. } => {
                Some("Is it running? Another one: --result-backend URL, or CELERY_RESULT_BACKEND.")
            }
            _ => None,
        };
        match self {
            Error::Broker(Connect { .. })
            | Error::Send(crate::SendError::Broker(Connect { .. }))
            | Error::Control(crate::ControlError::Broker(Connect { .. })) => {
                Some("Is it running? Another one: -b URL before the command, or CELERY_BROKER_URL.")
            }
            Error::Send(crate::SendError::Results(error))
            | Error::Result(crate::ResultError::Store(error))
            | Error::Config(crate::ConfigError::Results(error)) => results(error),
            _ => None,
        }
    }

    /// The exit code, as Celery's (`celery/platforms.py`, `EX_*`; click's 2 for usage).
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::NoNodes => 69,
            Error::PidLocked { .. } => 73,
            _ => 1,
        }
    }
}
