//! What can go wrong with a Python process.

use std::io;
use std::path::PathBuf;

use super::marshal::MarshalError;

/// Why there is no zygote.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Neither the option nor the environment leads to an interpreter.
    #[error("no Python found: {0}")]
    NoPython(String),
    /// The interpreter could not be run.
    #[error("cannot run {0}: {1}")]
    Spawn(PathBuf, io::Error),
    /// The app could not be started. Python has printed why to standard error, as Celery would.
    #[error("the app did not start (exit code {code}): {text}")]
    Ended {
        /// The exit code that Celery would have ended with; negative is a signal.
        code: i32,
        /// For logs; empty when Python ended without a word.
        text: String,
    },
    /// It was started and does not keep to the protocol, or could not be talked to; it has been killed.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Why something was not said, or not understood.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The process, or the zygote whose child it is, has ended: nothing was done.
    #[error("the Python process has ended")]
    Gone,
    /// A system call failed; what was to be said has not been.
    #[error("cannot talk to the Python process: {0}")]
    Io(#[from] io::Error),
    /// A message that is no value; it is lost, the next one may be good.
    #[error("a message of the Python process: {0}")]
    Marshal(#[from] MarshalError),
    /// A message that is no part of the protocol; it is lost, the next one may be good.
    #[error("an unexpected message of the Python process: {0}")]
    Unexpected(String),
    /// The job of this token has more headers than a packet can carry; it has not been sent.
    #[error("the headers of job {0} are too large")]
    TooLarge(u64),
    /// It takes nothing at the moment: nothing was said.
    #[error("the Python process is busy")]
    Busy,
    /// The service tried and failed: the exception's repr.
    #[error("the service failed: {0}")]
    Refused(String),
}

impl From<rustix::io::Errno> for HostError {
    fn from(error: rustix::io::Errno) -> Self {
        HostError::Io(error.into())
    }
}
