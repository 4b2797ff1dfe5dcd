//! What Redis refuses, in the words of all transports.

use celeriac_broker::Error;
use celeriac_redis_client::{code, is_lost, is_misplaced, is_refused};
use redis::RedisError;

/// An error of an open connection.
pub(crate) fn error(broker: &str, error: &RedisError) -> Error {
    let reason = error.to_string();
    if is_refused(error) {
        return Error::AccessRefused { broker: broker.to_owned(), reason };
    }
    match code(error) {
        // Replies that say that the message was not taken, for now.
        Some(_) if is_refused_whole(error) => Error::NotAccepted(reason),
        Some("WRONGTYPE") => Error::Precondition(format!("a key of another type is in the way: {reason}")),
        _ if is_misplaced(error) || is_lost(error) => Error::Lost(reason),
        _ => Error::NotAccepted(reason),
    }
}

/// An error of a script of which nobody knows how far it came: unless Redis refused all of it, the connection is lost.
pub(crate) fn error_of_half(broker: &str, failed: &RedisError) -> Error {
    match error(broker, failed) {
        Error::NotAccepted(reason) if !is_refused_whole(failed) => Error::Lost(reason),
        error => error,
    }
}

/// An error of a connection that could not be made.
pub(crate) fn connect_error(broker: &str, error: &RedisError) -> Error {
    let (broker, mut reason) = (broker.to_owned(), error.to_string());
    // The server says why before it hangs up, which the library does not read.
    let hung_up = error.is_connection_dropped() && !error.is_connection_refusal()
        || error.is_io_error() && reason.contains("broken pipe");
    if hung_up {
        reason.push_str(
            " (the server hung up at once: it may have as many clients as its `maxclients` allows)",
        );
    }
    // `SELECT` of a database that the server does not have.
    if is_refused(error) || reason.contains("DB index is out of range") {
        return Error::AccessRefused { broker, reason };
    }
    Error::Connect { broker, reason }
}

/// Whether it passes: the session that meets it goes on.
pub(crate) fn is_passing(error: &Error) -> bool {
    matches!(error, Error::NotAccepted(_))
}

/// Redis says this before the first change.
fn is_refused_whole(error: &RedisError) -> bool {
    matches!(code(error), Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY"))
}
