use celeriac_broker::Error;

/// Why an operation inside a transaction failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It was refused; what else is in the transaction may be committed.
    Refused(Error),
    /// The database failed; the transaction must be rolled back.
    Database(rusqlite::Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Refused(error)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Fault::Database(error)
    }
}

pub(crate) fn storage(error: &rusqlite::Error) -> Error {
    Error::Storage(error.to_string())
}

/// Whether somebody else has the file locked, which passes.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}
