//! Why a command ends without having done its work.

use std::process::ExitCode;

use celeriac::cli::parts;
use celeriac_python::host::StartError;

/// Why, and with which exit code.
#[derive(Debug)]
pub enum Stop {
    /// Somebody has told the user already.
    Told(u8),
    /// The command line makes no sense.
    Usage(String),
    /// Something that the native command line has, too.
    Parts(parts::Error),
    /// Anything else.
    Other(anyhow::Error),
}

impl Stop {
    /// Tells the user, unless somebody has; the exit code.
    pub fn tell(self) -> ExitCode {
        let (error, code): (&dyn std::fmt::Display, u8) = match &self {
            Stop::Told(code) => return ExitCode::from(*code),
            Stop::Usage(error) => {
                eprintln!(
                    "Usage: celeriac [-A APP] worker [OPTIONS]\nTry 'celeriac worker --help' for help.\n"
                );
                (error, 2)
            }
            Stop::Parts(error) => (error, error.exit_code()),
            Stop::Other(error) => (error, 1),
        };
        eprintln!("Error: {error}");
        ExitCode::from(code)
    }
}

impl From<parts::Error> for Stop {
    fn from(error: parts::Error) -> Self {
        Stop::Parts(error)
    }
}

impl From<StartError> for Stop {
    fn from(error: StartError) -> Self {
        match error {
            // A signal becomes what a shell shows of it.
            StartError::Ended { code: code @ ..0, .. } => Stop::Told(u8::try_from(128 - code).unwrap_or(1)),
            StartError::Ended { code, .. } => Stop::Told(u8::try_from(code).unwrap_or(1)),
            other => Stop::Other(other.into()),
        }
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Stop::Other(error)
    }
}
