//! What was revoked: by id, and by stamp.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use celeriac_protocol::codec::{self, Serializer};
use celeriac_protocol::{Revoked, Value, repr};
use chrono::{DateTime, Utc};

use crate::counters::Counters;
use crate::request::Facts;
use crate::wall;

/// How many values of stamps are remembered.
const STAMPS: usize = 10_000;

/// The most bytes of a stamp's header and of its value.
const SIZE: usize = 1024;

/// By header, the values as JSON, by which they are found at once.
pub(crate) type Stamps = HashMap<String, HashSet<Bytes>>;

/// Everything that this worker knows to be revoked.
#[derive(Default)]
pub struct Revokes {
    /// Nothing is looked up while this is false, which it is until something is revoked.
    any: AtomicBool,
    ids: Mutex<Revoked>,
    stamps: Mutex<Stamps>,
    /// Counts the changes of each.
    pub(crate) id_changes: AtomicU64,
    pub(crate) stamp_changes: AtomicU64,
}

/// Why a task is not to run.
#[derive(Debug, Clone, PartialEq)]
pub enum Revocation {
    /// Its time is over.
    Expired,
    /// Its id was revoked.
    Id,
    /// A stamp that it carries was revoked.
    Stamp {
        /// The header that holds it.
        header: String,
        /// What was revoked.
        value: Value,
    },
}

impl Revocation {
    /// Whether it only came too late.
    pub fn is_expired(&self) -> bool {
        matches!(self, Revocation::Expired)
    }

    /// Why, as it is stored: `expired` or `revoked`.
    pub fn state(&self) -> &'static str {
        if self.is_expired() { "expired" } else { "revoked" }
    }

    /// Counts and logs that a request is let go of.
    pub fn tell(&self, facts: &Facts, counters: &Counters) {
        let counter = if self.is_expired() { &counters.expired } else { &counters.revoked };
        counter.count();
        tracing::info!("Discarding revoked task: {}{}", facts.label(), self.reason());
    }

    /// What the log says besides.
    fn reason(&self) -> String {
        match self {
            Revocation::Expired | Revocation::Id => String::new(),
            Revocation::Stamp { header, value } => {
                format!(" (revoked by header: {{'{header}': {}}})", repr::value(value))
            }
        }
    }
}

impl Revokes {
    /// Of this many ids at most, each kept for so many seconds.
    pub(crate) fn new(limit: usize, expires: f64) -> Self {
        Revokes { ids: Mutex::new(Revoked::new(limit, expires)), ..Revokes::default() }
    }

    /// Whether a request is not to run (any more).
    pub fn check(&self, facts: &Facts, now: DateTime<Utc>) -> Option<Revocation> {
        if facts.is_expired(now) {
            // Unlike Celery it is not added to the ids: should it come again, its header says the same, and sets that
            // differ by what each worker happened to get would be compared for ever.
            return Some(Revocation::Expired);
        }
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        if self.ids().contains(&facts.headers.id) {
            return Some(Revocation::Id);
        }
        let stamps = self.stamps();
        if stamps.is_empty() {
            return None;
        }
        let headers = facts.headers.stamped_headers.iter().flatten();
        headers
            .filter_map(|header| Some((header, stamps.get(header)?, facts.headers.stamps.get(header)?)))
            .find_map(|(header, revoked, stamp)| {
                let value = items(stamp)
                    .iter()
                    .find(|value| json(value).is_some_and(|json| revoked.contains(&json)))?;
                Some(Revocation::Stamp { header: header.clone(), value: value.clone() })
            })
    }

    /// The revoked ids.
    pub(crate) fn ids(&self) -> MutexGuard<'_, Revoked> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Revokes these from now on; those that are revoked already stay so for as long as before.
    pub fn take_over(&self, ids: &[String]) {
        let now = wall::now();
        self.change_ids(|revoked| {
            for id in ids {
                revoked.add(id, now);
            }
        });
    }

    /// The ids that are revoked.
    pub fn all(&self) -> Vec<String> {
        self.look_at_ids(false, |revoked| revoked.iter().map(|(id, _)| id.to_owned()).collect())
    }

    /// Adds to the revoked ids.
    pub(crate) fn change_ids<T>(&self, change: impl FnOnce(&mut Revoked) -> T) -> T {
        let mut ids = self.ids();
        let changed = change(&mut ids);
        if !ids.is_empty() {
            self.any.store(true, Ordering::Release);
        }
        drop(ids);
        self.id_changes.fetch_add(1, Ordering::Release);
        changed
    }

    /// Has somebody look at the revoked ids who mostly changes nothing; `changes` says that it does.
    pub(crate) fn look_at_ids<T>(&self, changes: bool, look: impl FnOnce(&mut Revoked) -> T) -> T {
        let mut ids = self.ids();
        let before = ids.len();
        let seen = look(&mut ids);
        let (after, changed) = (ids.len(), changes || ids.len() != before);
        drop(ids);
        if changed {
            self.any.fetch_or(after > 0, Ordering::Release);
            self.id_changes.fetch_add(1, Ordering::Release);
        }
        seen
    }

    /// Revokes every task that carries one of these values of a stamp.
    pub(crate) fn add_stamp(&self, header: &str, values: &[Value]) {
        self.add_stamps(values.iter().filter_map(json).map(|value| (header.to_owned(), value)));
    }

    /// Revokes every task that carries one of these stamps, whose values are JSON.
    pub(crate) fn add_stamps(&self, added: impl IntoIterator<Item = (String, Bytes)>) {
        let mut stamps = self.stamps();
        let mut count: usize = stamps.values().map(HashSet::len).sum();
        for (header, value) in added {
            if header.len() > SIZE || value.len() > SIZE {
                tracing::warn!("a stamp of more than {SIZE} bytes is not revoked");
                continue;
            }
            if count >= STAMPS {
                tracing::warn!("{STAMPS} stamps are revoked: no more can be");
                break;
            }
            count += usize::from(stamps.entry(header).or_default().insert(value));
        }
        drop(stamps);
        self.any.store(true, Ordering::Release);
        self.stamp_changes.fetch_add(1, Ordering::Release);
    }

    /// The revoked stamps.
    pub(crate) fn stamps(&self) -> MutexGuard<'_, Stamps> {
        self.stamps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The items of a list, or the one value.
pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::List(items) => items,
        value => std::slice::from_ref(value),
    }
}

fn json(value: &Value) -> Option<Bytes> {
    codec::encode(value, Serializer::Json, None).ok().map(|body| body.data)
}
