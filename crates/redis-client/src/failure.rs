//! What an error of Redis means, for whoever decides whether to try again.

use redis::{ErrorKind, RedisError};

/// Whether the connection is of no use any more.
pub fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout()
}

/// Whether trying again would not help: a wrong password, a user without the right, a certificate nobody vouches for.
pub fn is_refused(error: &RedisError) -> bool {
    matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == ErrorKind::AuthenticationFailed
}

/// Whether this server is not, or not yet, the one to ask: a replica, one that loads its data, a node of a cluster that
/// has given the keys away. Another connection may find the right one.
pub fn is_misplaced(error: &RedisError) -> bool {
    match error.code() {
        Some(
            "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
            | "UNBLOCKED",
        ) => true,
        // Of a script.
        _ => error.to_string().contains("non local key in a cluster node"),
    }
}
