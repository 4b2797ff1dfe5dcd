//! The ids of revoked tasks that a worker remembers.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// How many revoked ids a worker remembers (`REVOKES_MAX` in `celery/worker/state.py`).
pub const REVOKES_MAX: usize = 50_000;
/// For how long it does, in seconds (`REVOKE_EXPIRES`).
pub const REVOKE_EXPIRES: f64 = 10_800.0;
/// The most bytes of an id; Celery's are UUIDs of 36.
const MAX_ID: usize = 1024;

/// The ids of revoked tasks, each with the time of its revoke by our own wall clock.
///
/// Bounded by number and age: the oldest go first. Each operation costs at most O(log n) for an id that it adds
/// or drops.
#[derive(Debug, Clone)]
pub struct Revoked {
    limit: usize,
    expires: f64,
    stamps: HashMap<Arc<str>, Stamp>,
    by_age: BTreeSet<(Stamp, Arc<str>)>,
}

/// A float that is finite and not negative; the bits of such floats are in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Stamp(u64);

impl Stamp {
    fn new(seconds: f64) -> Option<Self> {
        // `+ 0.0` makes a negative zero positive.
        (seconds.is_finite() && seconds >= 0.0).then(|| Stamp((seconds + 0.0).to_bits()))
    }

    fn seconds(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl Default for Revoked {
    /// Celery's limits.
    fn default() -> Self {
        Revoked::new(REVOKES_MAX, REVOKE_EXPIRES)
    }
}

impl Revoked {
    /// An empty set of at most `limit` ids, each kept for `expires` seconds.
    pub fn new(limit: usize, expires: f64) -> Self {
        Revoked { limit, expires, stamps: HashMap::new(), by_age: BTreeSet::new() }
    }

    /// Adds an id that is revoked now, in seconds since 1970; returns whether it was new and is kept.
    ///
    /// A known id keeps its stamp: what peers repeat to each other must not live for ever. Refused are ids that are
    /// empty or longer than 1 kB, times that are no time, and, in a full set, what is older than all in it.
    pub fn add(&mut self, id: &str, now: f64) -> bool {
        self.insert(id, now, now)
    }

    /// Adds an id that was revoked `age` seconds ago, as [`add`](Revoked::add) does; returns whether it was new and is
    /// kept. One that has expired is refused, and an age that is no time.
    pub fn add_aged(&mut self, id: &str, age: f64, now: f64) -> bool {
        (0.0..self.expires).contains(&age) && self.insert(id, now - age, now)
    }

    /// Revokes an id now; one that is revoked already is so for the whole time again.
    pub fn revoke(&mut self, id: &str, now: f64) -> bool {
        if let Some((id, stamp)) = self.stamps.remove_entry(id) {
            self.by_age.remove(&(stamp, id));
        }
        self.add(id, now)
    }

    /// Whether an id is revoked.
    pub fn contains(&self, id: &str) -> bool {
        self.stamps.contains_key(id)
    }

    /// When an id was revoked, in seconds since 1970.
    pub fn stamp(&self, id: &str) -> Option<f64> {
        self.stamps.get(id).map(|stamp| stamp.seconds())
    }

    /// For how long an id is kept, in seconds.
    pub fn expires(&self) -> f64 {
        self.expires
    }

    /// How many ids there are.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Drops what has expired by now.
    pub fn purge(&mut self, now: f64) {
        while self.by_age.first().is_some_and(|(stamp, _)| stamp.seconds() + self.expires <= now) {
            self.pop();
        }
    }

    /// The ids and their stamps, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&str, f64)> + ExactSizeIterator {
        self.by_age.iter().map(|(stamp, id)| (&**id, stamp.seconds()))
    }

    fn insert(&mut self, id: &str, stamp: f64, now: f64) -> bool {
        let Some(stamp) = Stamp::new(stamp) else { return false };
        self.purge(now);
        if id.is_empty() || id.len() > MAX_ID || self.contains(id) {
            return false;
        }
        let entry = (stamp, Arc::from(id));
        if self.len() >= self.limit && self.by_age.first().is_none_or(|oldest| entry < *oldest) {
            return false;
        }
        self.stamps.insert(entry.1.clone(), stamp);
        self.by_age.insert(entry);
        if self.len() > self.limit {
            self.pop();
        }
        true
    }

    fn pop(&mut self) {
        if let Some((_, id)) = self.by_age.pop_first() {
            self.stamps.remove(&id);
        }
    }
}
