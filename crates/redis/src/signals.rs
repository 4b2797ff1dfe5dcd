//! What a session is told, kept until it looks. Who is slow is owed no more for that: news are one flag, and messages
//! wait within the bounds of [`Live`].

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use celeriac_broker::Error;
use tokio::sync::{Notify, mpsc};

use crate::hub::lock;
use crate::live::Live;

/// One end is the hub's, one the session's.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    told: Notify,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    /// The keys whose changes are of interest.
    lists: HashSet<Vec<u8>>,
    is_changed: bool,
    live: Live,
    fate: Option<Fate>,
}

/// Why a session is to end.
#[derive(Debug)]
pub(crate) enum Fate {
    /// The connection is lost.
    Lost(Error),
    /// The connection closes: give everything back.
    End(mpsc::Sender<()>),
}

impl Signals {
    /// Waits for something that was not looked at yet.
    pub async fn told(&self) {
        self.told.notified().await;
    }

    /// Which keys are of interest from now on.
    pub fn watch(&self, lists: impl Iterator<Item = String>) {
        self.pending().lists = lists.map(String::into_bytes).collect();
    }

    /// These keys were changed by others; `None` is all.
    pub fn changed(&self, keys: Option<&[Vec<u8>]>) {
        let mut pending = self.pending();
        if keys.is_none_or(|keys| keys.iter().any(|key| pending.lists.contains(key))) {
            pending.is_changed = true;
            self.told.notify_one();
        }
    }

    /// Whether one of them was changed since the last look.
    pub fn take_changed(&self) -> bool {
        std::mem::take(&mut self.pending().is_changed)
    }

    /// A message of a fanout exchange came; it waits for `ttl` at most.
    pub fn heard(&self, queue: Arc<str>, payload: Bytes, ttl: Option<Duration>) {
        self.pending().live.push(queue, payload, ttl, Instant::now());
        self.told.notify_one();
    }

    /// Does something with the messages of fanout exchanges that wait.
    pub fn live<T>(&self, with: impl FnOnce(&mut Live) -> T) -> T {
        with(&mut self.pending().live)
    }

    /// Ends the session; only the first word counts.
    pub fn end(&self, fate: Fate) {
        self.pending().fate.get_or_insert(fate);
        self.told.notify_one();
    }

    pub fn take_fate(&self) -> Option<Fate> {
        self.pending().fate.take()
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        lock(&self.pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn news_that_nobody_looks_at_are_one() {
        let signals = Signals::default();
        signals.watch(["q", "q3"].map(str::to_owned).into_iter());
        let keys = |name: &str| [name.as_bytes().to_vec()];
        signals.changed(Some(&keys("other")));
        assert!(!signals.take_changed());
        for _ in 0..1000 {
            signals.changed(Some(&keys("q3")));
        }
        signals.told().await;
        assert!(signals.take_changed() && !signals.take_changed());
        signals.changed(None);
        assert!(signals.take_changed());
    }

    #[test]
    fn the_first_fate_counts() {
        let signals = Signals::default();
        signals.end(Fate::Lost(Error::Lost("one".to_owned())));
        signals.end(Fate::Lost(Error::Lost("other".to_owned())));
        assert!(matches!(signals.take_fate(), Some(Fate::Lost(Error::Lost(reason))) if reason == "one"));
        assert!(signals.take_fate().is_none());
    }
}
