//! What was revoked: by id, and by stamp.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_protocol::{Revoked, Value, repr};
use chrono::{DateTime, Utc};

use crate::request::Facts;

/// How many values of a stamp, and how many stamps, are remembered.
const STAMPS: usize = 10_000;

/// Everything that this worker knows to be revoked.
#[derive(Default)]
pub(crate) struct Revokes {
    /// Nothing is looked up while this is false.
    any: AtomicBool,
    ids: Mutex<Revoked>,
    stamps: Mutex<HashMap<String, Vec<Value>>>,
}

/// Why a task is not to run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Revocation {
    /// Its time is over.
    Expired,
    /// Its id was revoked.
    Id,
    /// A stamp that it carries was revoked.
    Stamp { header: String, value: Value },
}

impl Revocation {
    /// What the log says besides.
    pub(crate) fn reason(&self) -> String {
        match self {
            Revocation::Expired | Revocation::Id => String::new(),
            Revocation::Stamp { header, value } => {
                format!(" (revoked by header: {{'{header}': {}}})", repr::value(value))
            }
        }
    }
}

impl Revokes {
    /// Whether a request is not to run (any more).
    pub(crate) fn check(&self, facts: &Facts, now: DateTime<Utc>) -> Option<Revocation> {
        if facts.is_expired(now) {
            // As Celery: should it come again, it need not be looked at (`celery/worker/request.py`).
            self.change_ids(|ids| ids.add(&facts.headers.id, seconds(now)));
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
                let value = items(stamp).iter().find(|value| revoked.contains(value))?;
                Some(Revocation::Stamp { header: header.clone(), value: value.clone() })
            })
    }

    /// The revoked ids.
    pub(crate) fn ids(&self) -> MutexGuard<'_, Revoked> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds to the revoked ids.
    pub(crate) fn change_ids<T>(&self, change: impl FnOnce(&mut Revoked) -> T) -> T {
        let changed = change(&mut self.ids());
        self.any.store(true, Ordering::Release);
        changed
    }

    /// Revokes every task that carries one of these values of a stamp.
    pub(crate) fn add_stamp(&self, header: &str, values: &[Value]) {
        let mut stamps = self.stamps();
        if stamps.len() >= STAMPS && !stamps.contains_key(header) {
            tracing::warn!("too many stamps are revoked: {header} is not");
            return;
        }
        let known = stamps.entry(header.to_owned()).or_default();
        for value in values {
            if known.len() < STAMPS && !known.contains(value) {
                known.push(value.clone());
            }
        }
        drop(stamps);
        self.any.store(true, Ordering::Release);
    }

    fn stamps(&self) -> MutexGuard<'_, HashMap<String, Vec<Value>>> {
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

fn seconds(now: DateTime<Utc>) -> f64 {
    now.timestamp_micros() as f64 / 1e6
}
