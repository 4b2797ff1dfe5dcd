use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The ids of tasks by something that they have in common; no key without a task.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Arc<str>, HashSet<Arc<str>>>);

impl Index {
    /// Moves a task from one key to another; `None` is where it has none.
    pub(super) fn shift(&mut self, uuid: &Arc<str>, from: Option<&Arc<str>>, to: Option<&Arc<str>>) {
        if from == to {
            return;
        }
        if let Some(from) = from
            && let Some(uuids) = self.0.get_mut(from)
        {
            uuids.remove(uuid);
            if uuids.is_empty() {
                self.0.remove(from);
            }
        }
        if let Some(to) = to {
            self.0.entry(to.clone()).or_default().insert(uuid.clone());
        }
    }

    /// The ids under a key, in no order.
    pub(super) fn of(&self, key: &str) -> impl Iterator<Item = &Arc<str>> {
        self.0.get(key).into_iter().flatten()
    }

    /// All keys, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }
}
