use std::borrow::Cow;
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::Value;

/// A dict with text keys that keeps their order, as Python's does.
///
/// Messages have some twenty headers and a handful of keyword arguments: a vector beats a hash table there.
#[derive(Debug, Clone, Default)]
pub struct Map(Vec<(Cow<'static, str>, Value)>);

impl Map {
    /// An empty dict.
    pub fn new() -> Self {
        Map::default()
    }

    /// An empty dict with room for `capacity` entries.
    pub fn with_capacity(capacity: usize) -> Self {
        Map(Vec::with_capacity(capacity))
    }

    /// The text as a key; what is in every message costs no allocation.
    pub fn key(text: &str) -> Cow<'static, str> {
        known(text).map_or_else(|| Cow::Owned(text.to_owned()), Cow::Borrowed)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Sets a key, in its old place if it was there; returns the value that it had.
    ///
    /// This looks through the whole dict: to build a large one, collect unique keys with `FromIterator`.
    pub fn insert(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Option<Value> {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(name, _)| *name == key) {
            Some((_, old)) => Some(std::mem::replace(old, value)),
            None => {
                self.0.push((key, value));
                None
            }
        }
    }

    /// Takes a key out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(index).1)
    }

    /// The entries in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), value))
    }
}

/// Entries in order. A key that comes twice keeps its first place and its last value, as in Python.
impl<K: Into<Cow<'static, str>>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        let entries: Vec<(Cow<'static, str>, Value)> =
            entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if is_unique(&entries) {
            return Map(entries);
        }
        let mut places: HashMap<Cow<'static, str>, usize> = HashMap::with_capacity(entries.len());
        let mut unique: Vec<(Cow<'static, str>, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match places.entry(key.clone()) {
                Entry::Occupied(place) => unique[*place.get()].1 = value,
                Entry::Vacant(place) => {
                    place.insert(unique.len());
                    unique.push((key, value));
                }
            }
        }
        Map(unique)
    }
}

/// A hostile body may have a million keys: only a few are compared each with each.
fn is_unique(entries: &[(Cow<'static, str>, Value)]) -> bool {
    if entries.len() < 32 {
        let mut keys = entries.iter();
        return std::iter::from_fn(|| keys.next().map(|entry| (&entry.0, keys.clone())))
            .all(|(key, mut later)| later.all(|(other, _)| other != key));
    }
    let mut seen = HashSet::with_capacity(entries.len());
    entries.iter().all(|(key, _)| seen.insert(key))
}

impl IntoIterator for Map {
    type Item = (Cow<'static, str>, Value);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Order does not count, as in Python.
impl PartialEq for Map {
    fn eq(&self, other: &Self) -> bool {
        if self.len() != other.len() {
            return false;
        }
        if self.iter().zip(other.iter()).all(|(mine, theirs)| mine == theirs) {
            return true;
        }
        let mut mine: Vec<_> = self.iter().collect();
        let mut theirs: Vec<_> = other.iter().collect();
        mine.sort_by_key(|(key, _)| *key);
        theirs.sort_by_key(|(key, _)| *key);
        mine == theirs
    }
}

macro_rules! known {
    ($($length:literal: $($name:literal)*,)*) => {
        /// The names of protocol 2's headers and body, of signatures, results, events and control requests; by
        /// length, which is faster.
        fn known(text: &str) -> Option<&'static str> {
            match text.len() {
                $($length => match text {
                    $($name => Some($name),)*
                    _ => None,
                },)*
                _ => None,
            }
        }

        #[cfg(test)]
        const KNOWN: &[&str] = &[$($($name),*),*];
    };
}

known! {
    2: "id",
    3: "eta" "pid",
    4: "lang" "task" "args" "uuid" "name" "type" "freq",
    5: "group" "chain" "chord" "clock" "queue",
    6: "active" "method" "sw_ver" "sw_sys" "ticket" "shadow" "origin" "stamps" "kwargs" "status" "result",
    7: "loadavg" "pattern" "matcher" "runtime" "expires" "retries" "root_id" "options" "task_id",
    8: "celeriac" "exchange" "sw_ident" "argsrepr" "errbacks" "reply_to" "children" "__type__" "hostname",
    9: "arguments" "processed" "timestamp" "utcoffset" "exception" "timelimit" "parent_id" "callbacks" "immutable" "traceback" "date_done" "__value__",
    10: "kwargsrepr",
    11: "destination" "routing_key" "group_index" "compression",
    12: "subtask_type",
    13: "ignore_result",
    15: "stamped_headers",
    21: "replaced_task_nesting",
}

#[cfg(test)]
#[test]
fn known_keys_are_not_allocated() {
    for name in KNOWN {
        assert!(matches!(Map::key(name), Cow::Borrowed(key) if key == *name), "{name}");
    }
    assert!(matches!(Map::key("x-mine"), Cow::Owned(key) if key == "x-mine"));
}
