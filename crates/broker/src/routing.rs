//! How an exchange chooses queues, for transports whose broker does not.

use crate::ExchangeKind;

impl ExchangeKind {
    /// Whether a message with `routing_key` goes to a queue that is bound by `binding_key` (AMQP 0-9-1 section
    /// 3.1.3).
    pub fn matches(self, binding_key: &str, routing_key: &str) -> bool {
        match self {
            ExchangeKind::Direct => binding_key == routing_key,
            ExchangeKind::Topic => topic_matches(binding_key, routing_key),
            ExchangeKind::Fanout => true,
        }
    }

    /// The name that AMQP has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            ExchangeKind::Direct => "direct",
            ExchangeKind::Topic => "topic",
            ExchangeKind::Fanout => "fanout",
        }
    }
}

/// Only the last `#` is ever tried again, so the time is the product of the lengths at worst.
fn topic_matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let key: Vec<&str> = if key.is_empty() { Vec::new() } else { key.split('.').collect() };
    let (mut at, mut word) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), key.get(word)) {
            (Some(&"#"), _) => {
                retry = Some((at, word));
                at += 1;
                continue;
            }
            (Some(&"*"), Some(_)) => {
                (at, word) = (at + 1, word + 1);
                continue;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                (at, word) = (at + 1, word + 1);
                continue;
            }
            (None, None) => return true,
            // An empty pattern is one empty word, and fits the empty key alone.
            (Some(&""), None) if pattern.len() == 1 => return true,
            _ => {}
        }
        match retry {
            Some((hash, from)) if from < key.len() => {
                retry = Some((hash, from + 1));
                (at, word) = (hash + 1, from + 1);
            }
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_match_by_words() {
        for (pattern, key, expected) in [
            ("worker.online", "worker.online", true),
            ("worker.online", "worker.offline", false),
            ("worker.*", "worker.online", true),
            ("worker.*", "worker", false),
            ("worker.*", "worker.a.b", false),
            ("worker.#", "worker", true),
            ("worker.#", "worker.a.b", true),
            ("worker.#", "task.a", false),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("*", "", false),
            ("", "", true),
            ("", "a", false),
            ("#.end", "a.b.end", true),
            ("#.end", "a.end.b", false),
            ("a.#.b.#.c", "a.x.b.b.y.c", true),
            ("a.#.b.#.c", "a.x.c", false),
            ("*.#.*", "a", false),
            ("*.#.*", "a.b", true),
            ("#.#", "", true),
        ] {
            assert_eq!(ExchangeKind::Topic.matches(pattern, key), expected, "{pattern} {key}");
        }
    }

    #[test]
    fn a_hostile_pattern_is_not_exponential() {
        let pattern = "#.a.".repeat(60) + "b";
        let key = "a.".repeat(120) + "c";
        assert!(!ExchangeKind::Topic.matches(&pattern, &key));
    }
}
