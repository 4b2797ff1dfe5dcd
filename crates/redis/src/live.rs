//! Messages of fanout exchanges that wait for room in a session. Nobody else has them, so they wait within bounds.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// How many may wait, and how many bytes of them.
const MOST: usize = 10_000;
const MOST_BYTES: usize = 64 << 20;

#[derive(Debug, Default)]
pub(crate) struct Live {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    dropped: u64,
}

/// One that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub queue: Arc<str>,
    pub payload: Bytes,
    /// It was delivered before.
    pub redelivered: bool,
    until: Option<Instant>,
}

impl Live {
    /// One that came; it waits for `ttl` at most.
    pub fn push(&mut self, queue: Arc<str>, payload: Bytes, ttl: Option<Duration>, now: Instant) {
        self.bytes += payload.len();
        let until = ttl.and_then(|ttl| now.checked_add(ttl));
        self.waiting.push_back(Waiting { queue, payload, redelivered: false, until });
        while self.waiting.len() > MOST || self.bytes > MOST_BYTES && self.waiting.len() > 1 {
            self.pop();
            if self.dropped == 0 {
                tracing::warn!(
                    "messages of fanout exchanges come faster than they are read: the oldest are dropped"
                );
            }
            self.dropped += 1;
        }
    }

    /// One that comes again.
    pub fn push_front(&mut self, queue: Arc<str>, payload: Bytes) {
        self.bytes += payload.len();
        self.waiting.push_front(Waiting { queue, payload, redelivered: true, until: None });
    }

    /// The first one of a queue that has room, of those whose time is not over.
    pub fn take(&mut self, now: Instant, has_room: impl Fn(&str) -> bool) -> Option<Waiting> {
        while self.waiting.front().is_some_and(|first| first.until.is_some_and(|until| until < now)) {
            self.pop();
        }
        let index = self.waiting.iter().position(|waiting| has_room(&waiting.queue))?;
        let taken = self.waiting.remove(index)?;
        self.bytes -= taken.payload.len();
        Some(taken)
    }

    /// A queue is no longer consumed.
    pub fn forget(&mut self, queue: &str) {
        self.waiting.retain(|waiting| *waiting.queue != *queue);
        self.bytes = self.waiting.iter().map(|waiting| waiting.payload.len()).sum();
    }

    fn pop(&mut self) {
        if let Some(waiting) = self.waiting.pop_front() {
            self.bytes -= waiting.payload.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_keep_up_loses_the_oldest() {
        let (mut live, now) = (Live::default(), Instant::now());
        for number in 0..MOST + 5 {
            live.push("q".into(), number.to_string().into(), None, now);
        }
        assert_eq!(live.take(now, |_| true).unwrap().payload, "5");
        assert_eq!(live.dropped, 5);
        let mut live = Live::default();
        for _ in 0..3 {
            live.push("q".into(), vec![0; MOST_BYTES / 2].into(), None, now);
        }
        assert_eq!((live.waiting.len(), live.bytes, live.dropped), (2, MOST_BYTES, 1));
    }

    #[test]
    fn they_wait_for_room_and_not_too_long() {
        let (mut live, now) = (Live::default(), Instant::now());
        let ttl = Some(Duration::from_secs(5));
        live.push("a".into(), "1".into(), ttl, now);
        live.push("b".into(), "2".into(), ttl, now + Duration::from_secs(3));
        assert!(live.take(now, |queue| queue == "c").is_none());
        assert_eq!(live.take(now, |queue| queue == "b").unwrap().payload, "2");
        live.push_front("b".into(), "2".into());
        let again = live.take(now + Duration::from_secs(6), |_| true).unwrap();
        assert!(again.redelivered && again.payload == "2");
        assert!(live.take(now + Duration::from_secs(6), |_| true).is_none() && live.bytes == 0);
    }
}
