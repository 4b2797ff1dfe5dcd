//! The replies that are expected, and those that have come.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_protocol::{State, TaskMeta};

use crate::Error;
use crate::store::stays;

/// How many calls may be expected at once; past that the oldest are forgotten.
const MAX_EXPECTED: usize = 1_000_000;
/// How many replies are kept that somebody has seen; they may be asked for again.
const MAX_SEEN: usize = 1_000;
/// How many bytes of replies are kept in all, as they travelled.
const MAX_BYTES: usize = 256 << 20;

/// Replies by task, bounded on every side: what nobody expects is not kept.
pub(super) struct Replies {
    kept: Mutex<Kept>,
    limits: Limits,
}

struct Limits {
    expected: usize,
    seen: usize,
    bytes: usize,
}

#[derive(Default)]
struct Kept {
    by_id: HashMap<Arc<str>, Reply>,
    /// In the order of the calls, of the replies, and of their being seen. A queue may name ids that have left.
    expected: VecDeque<Arc<str>>,
    arrived: VecDeque<Arc<str>>,
    seen: VecDeque<Arc<str>>,
    bytes: usize,
}

#[derive(Default)]
struct Reply {
    meta: Option<Result<TaskMeta, Error>>,
    bytes: usize,
    is_seen: bool,
}

impl Default for Replies {
    fn default() -> Self {
        Replies {
            kept: Mutex::default(),
            limits: Limits { expected: MAX_EXPECTED, seen: MAX_SEEN, bytes: MAX_BYTES },
        }
    }
}

impl Replies {
    pub(super) fn expect(&self, id: &str) {
        let mut kept = self.lock();
        if kept.by_id.contains_key(id) {
            return;
        }
        let id: Arc<str> = id.into();
        kept.by_id.insert(Arc::clone(&id), Reply::default());
        kept.expected.push_back(id);
        if kept.expected.len() > self.limits.expected
            && let Some(oldest) = kept.expected.pop_front()
        {
            kept.remove(&oldest);
        }
    }

    pub(super) fn expects(&self, id: &str) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// Keeps a reply of `bytes` bytes; returns whether it was expected.
    pub(super) fn arrive(&self, id: &str, meta: Result<TaskMeta, Error>, bytes: usize) -> bool {
        let mut kept = self.lock();
        let Some((id, _)) = kept.by_id.get_key_value(id) else { return false };
        let id = Arc::clone(id);
        let Some(reply) = kept.by_id.get_mut(&id) else { return false };
        let new = meta.as_ref().map_or(&State::Pending, |meta| &meta.state);
        if matches!(&reply.meta, Some(Ok(kept)) if stays(&kept.state, new)) {
            return true;
        }
        let is_first = reply.meta.is_none();
        let before = std::mem::replace(&mut reply.bytes, bytes);
        reply.meta = Some(meta);
        kept.bytes = kept.bytes + bytes - before;
        if is_first {
            kept.arrived.push_back(id);
        }
        kept.trim(&self.limits);
        true
    }

    pub(super) fn fetch(&self, id: &str) -> Option<Result<TaskMeta, Error>> {
        let mut kept = self.lock();
        let (id, reply) = kept.by_id.get_key_value(id)?;
        let (id, meta, is_seen) = (Arc::clone(id), reply.meta.clone()?, reply.is_seen);
        let is_final = meta.as_ref().map_or(true, |meta| meta.state.is_ready());
        if is_final && !is_seen {
            if let Some(reply) = kept.by_id.get_mut(&id) {
                reply.is_seen = true;
            }
            kept.seen.push_back(id);
            kept.trim(&self.limits);
        }
        Some(meta)
    }

    pub(super) fn forget(&self, id: &str) {
        self.lock().remove(id);
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn remove(&mut self, id: &str) {
        if let Some(reply) = self.by_id.remove(id) {
            self.bytes -= reply.bytes;
        }
    }

    /// What was seen goes first, then what came first.
    fn trim(&mut self, limits: &Limits) {
        while self.seen.len() > limits.seen || self.bytes > limits.bytes {
            let Some(id) = self.seen.pop_front().or_else(|| self.arrived.pop_front()) else { return };
            self.remove(&id);
        }
        // Ids that have left must not pile up behind one that stays.
        if self.arrived.len() > 2 * self.by_id.len() + limits.seen {
            self.arrived.retain(|id| self.by_id.contains_key(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(expected: usize, seen: usize, bytes: usize) -> Replies {
        Replies { limits: Limits { expected, seen, bytes }, ..Replies::default() }
    }

    fn reply(replies: &Replies, id: &str, bytes: usize) -> bool {
        replies.arrive(id, Ok(TaskMeta::success(id, 1)), bytes)
    }

    #[test]
    fn only_what_is_expected_is_kept() {
        let replies = Replies::default();
        assert!(!reply(&replies, "a", 1));
        assert_eq!(replies.fetch("a"), None);
        replies.expect("a");
        assert!(reply(&replies, "a", 1));
        assert_eq!(replies.fetch("a"), Some(Ok(TaskMeta::success("a", 1))));
        replies.forget("a");
        assert_eq!(replies.fetch("a"), None);
        assert_eq!(replies.lock().bytes, 0);
    }

    #[test]
    fn a_success_stays() {
        let replies = Replies::default();
        replies.expect("a");
        replies.arrive("a", Ok(TaskMeta::started("a", 1, "h")), 1);
        assert!(reply(&replies, "a", 1));
        replies.arrive("a", Ok(TaskMeta::revoked("a", "late")), 1);
        assert_eq!(replies.fetch("a"), Some(Ok(TaskMeta::success("a", 1))));
    }

    #[test]
    fn the_oldest_call_is_forgotten_first() {
        let replies = replies(2, 10, 1000);
        for id in ["a", "b", "c"] {
            replies.expect(id);
        }
        assert!(!reply(&replies, "a", 1));
        assert!(reply(&replies, "b", 1) && reply(&replies, "c", 1));
    }

    #[test]
    fn bytes_are_bounded_and_what_was_seen_goes_first() {
        let replies = replies(10, 10, 10);
        for id in ["a", "b", "c"] {
            replies.expect(id);
        }
        assert!(reply(&replies, "a", 5) && reply(&replies, "b", 5));
        assert!(replies.fetch("b").is_some());
        assert!(reply(&replies, "c", 5));
        assert!(replies.fetch("a").is_some() && replies.fetch("c").is_some());
        assert_eq!(replies.fetch("b"), None);
    }

    #[test]
    fn nothing_grows_with_the_calls_that_are_over() {
        let replies = replies(100, 10, 1000);
        for number in 0..10_000 {
            let id = number.to_string();
            replies.expect(&id);
            reply(&replies, &id, 1);
            assert!(replies.fetch(&id).is_some());
        }
        let kept = replies.lock();
        assert!(kept.by_id.len() <= 11 && kept.expected.len() <= 100 && kept.arrived.len() <= 100);
        assert!(kept.bytes <= 11);
    }
}
