use std::borrow::Cow;

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

/// Entries in order. A key that comes twice keeps its last value, as in Python.
impl<K: Into<Cow<'static, str>>> FromIterator<(K, Value)> for Map {
    fn from_iter<I: IntoIterator<Item = (K, Value)>>(entries: I) -> Self {
        let entries: Vec<_> = entries.into_iter().map(|(key, value)| (key.into(), value)).collect();
        if entries.len() < 32 {
            let mut map = Map::with_capacity(entries.len());
            for (key, value) in entries {
                map.insert(key, value);
            }
            return map;
        }
        // A hostile body may have a million keys: no quadratic search.
        let mut places: std::collections::HashMap<Cow<'static, str>, usize> = std::collections::HashMap::with_capacity(entries.len());
        let mut unique: Vec<(Cow<'static, str>, Value)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match places.entry(key.clone()) {
                std::collections::hash_map::Entry::Occupied(place) => unique[*place.get()].1 = value,
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(unique.len());
                    unique.push((key, value));
                }
            }
        }
        Map(unique)
    }
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
