//! What an error of Redis means, for whoever decides whether to try again.

use redis::{ErrorKind, RedisError};

/// Whether the connection is of no use any more.
pub fn is_lost(error: &RedisError) -> bool {
    error.is_unrecoverable_error() || error.is_io_error() || error.is_timeout()
}

/// The code of a reply. That of a command of a script is in the text before Redis 7.
pub fn code(error: &RedisError) -> Option<&str> {
    let text = error.detail().filter(|text| text.starts_with("Error running script"));
    let scripted = text.and_then(|text| text.rsplit_once(": -")?.1.split(' ').next());
    scripted.or_else(|| error.code())
}

/// Whether trying again would not help: a wrong password, a user without the right, a certificate nobody vouches for.
pub fn is_refused(error: &RedisError) -> bool {
    matches!(code(error), Some("NOAUTH" | "WRONGPASS" | "NOPERM"))
        || error.kind() == ErrorKind::AuthenticationFailed
}

/// Whether this server is not, or not yet, the one to ask: a replica, one that loads its data, a node of a cluster that
/// has given the keys away. Another connection may find the right one.
pub fn is_misplaced(error: &RedisError) -> bool {
    match code(error) {
        Some(
            "READONLY" | "LOADING" | "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "MOVED" | "ASK"
            | "UNBLOCKED",
        ) => true,
        // Of a script.
        _ => error.to_string().contains("non local key in a cluster node"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_within_scripts_are_known_as_those_of_commands() {
        let answer = |text: &str| {
            let value = redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap();
            value.extract_error().unwrap_err()
        };
        let old = "ERR Error running script (call to f_4521de5f): @user_script:166: @user_script: 166: ";
        for (before, text) in [("", " script: f_4521de5f, on @user_script:1."), (old, "")] {
            let inner = if before.is_empty() { "" } else { "-" };
            let replica = answer(&format!("{before}{inner}READONLY You can't write: a replica.{text}"));
            assert!(code(&replica) == Some("READONLY") && is_misplaced(&replica), "{replica}");
            let refusal = answer(&format!("{before}{inner}NOPERM this user has no permissions{text}"));
            assert!(is_refused(&refusal) && !is_misplaced(&refusal), "{refusal}");
        }
        let other = answer("ERR unknown command `OOM: -READONLY`");
        assert!(!is_misplaced(&other) && !is_refused(&other));
    }
}
