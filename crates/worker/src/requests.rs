//! The requests that a worker holds, by id: what remote control is asked about.

use std::borrow::Borrow;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::request::{Facts, Stage};

/// Every request that was received and is not done.
#[derive(Default)]
pub(crate) struct Requests(Mutex<HashSet<ById>>);

impl Requests {
    /// Lists a request until what is returned is dropped. One of the same id, delivered twice, takes its place.
    pub(crate) fn list(self: &Arc<Self>, facts: &Arc<Facts>) -> Listed {
        self.lock().replace(ById(facts.clone()));
        Listed { requests: self.clone(), facts: facts.clone() }
    }

    /// The request of an id.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Facts>> {
        self.lock().get(id).map(|entry| entry.0.clone())
    }

    /// How many are at a stage.
    pub(crate) fn count(&self, stage: Stage) -> usize {
        self.lock().iter().filter(|entry| entry.0.progress.stage() == stage).count()
    }

    /// All that are at a stage, in no order.
    pub(crate) fn at(&self, stage: Stage) -> Vec<Arc<Facts>> {
        let requests = self.lock();
        requests
            .iter()
            .filter(|entry| entry.0.progress.stage() == stage)
            .map(|entry| entry.0.clone())
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<ById>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place among the requests; dropped, it is free.
pub(crate) struct Listed {
    requests: Arc<Requests>,
    facts: Arc<Facts>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut requests = self.requests.lock();
        let id = self.facts.headers.id.as_str();
        if requests.get(id).is_some_and(|entry| Arc::ptr_eq(&entry.0, &self.facts)) {
            requests.remove(id);
        }
    }
}

struct ById(Arc<Facts>);

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        &self.0.headers.id
    }
}

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.headers.id == other.0.headers.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // As a `str`, which it is looked up by.
        self.0.headers.id.as_str().hash(state);
    }
}
