use std::cmp::Ordering;
use std::sync::Arc;

use celeriac_protocol::Event;
use lru::LruCache;

use super::index::Index;
use super::names::Names;
use super::task::Task;

/// Tasks and their indexes, bounded: the task that nothing was heard of for the longest time goes first.
#[derive(Debug)]
pub(super) struct Tasks {
    by_uuid: LruCache<Arc<str>, Task>,
    by_type: Index,
    by_worker: Index,
    by_parent: Index,
    limit: usize,
    text_limit: usize,
    text_size: usize,
}

impl Tasks {
    pub(super) fn new(limit: usize, text_limit: usize) -> Self {
        Tasks {
            by_uuid: LruCache::unbounded(),
            by_type: Index::default(),
            by_worker: Index::default(),
            by_parent: Index::default(),
            limit,
            text_limit,
            text_size: 0,
        }
    }

    /// Takes over a `task-*` event of a node; returns the task's id, and whether it was not known.
    pub(super) fn event(&mut self, uuid: &str, event: Event, names: &mut Names) -> (Arc<str>, bool) {
        let known = self.by_uuid.pop_entry(uuid);
        let created = known.is_none();
        let (uuid, mut task) = known.unwrap_or_else(|| {
            let uuid: Arc<str> = uuid.into();
            (uuid.clone(), Task::new(uuid))
        });
        let before = (task.name.clone(), task.worker.clone(), task.parent_id.clone());
        self.text_size -= if created { 0 } else { task.text_size() };
        task.update(event, names);
        self.text_size += task.text_size();
        self.by_type.shift(&uuid, before.0.as_ref(), task.name.as_ref());
        self.by_worker.shift(&uuid, before.1.as_ref(), task.worker.as_ref());
        self.by_parent.shift(&uuid, before.2.as_ref(), task.parent_id.as_ref());
        self.by_uuid.push(uuid.clone(), task);
        while self.len() > self.limit || self.text_size > self.text_limit {
            let Some((_, oldest)) = self.by_uuid.pop_lru() else { break };
            self.forget(&oldest);
        }
        (uuid, created)
    }

    /// Drops the tasks that are ready, or all.
    pub(super) fn clear(&mut self, ready: bool) {
        let gone = self.by_uuid.iter().filter(|(_, task)| !ready || task.state.is_ready());
        for uuid in gone.map(|(uuid, _)| uuid.clone()).collect::<Vec<_>>() {
            if let Some(task) = self.by_uuid.pop(&uuid) {
                self.forget(&task);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_uuid.len()
    }

    pub(super) fn find(&self, uuid: &str) -> Option<&Task> {
        self.by_uuid.peek(uuid)
    }

    pub(super) fn by_time(&self) -> Vec<&Task> {
        in_order(self.by_uuid.iter().map(|(_, task)| task))
    }

    pub(super) fn by_type(&self, name: &str) -> Vec<&Task> {
        in_order(self.by_type.of(name).filter_map(|uuid| self.find(uuid)))
    }

    pub(super) fn by_worker(&self, hostname: &str) -> Vec<&Task> {
        in_order(self.by_worker.of(hostname).filter_map(|uuid| self.find(uuid)))
    }

    pub(super) fn children(&self, uuid: &str) -> Vec<&Task> {
        in_order(self.by_parent.of(uuid).filter_map(|uuid| self.find(uuid)))
    }

    pub(super) fn types(&self) -> Vec<&str> {
        let mut types: Vec<&str> = self.by_type.keys().map(|name| &**name).collect();
        types.sort_unstable();
        types
    }

    fn forget(&mut self, task: &Task) {
        self.text_size -= task.text_size();
        self.by_type.shift(&task.uuid, task.name.as_ref(), None);
        self.by_worker.shift(&task.uuid, task.worker.as_ref(), None);
        self.by_parent.shift(&task.uuid, task.parent_id.as_ref(), None);
    }
}

/// Latest first.
fn in_order<'a>(tasks: impl Iterator<Item = &'a Task>) -> Vec<&'a Task> {
    let mut tasks: Vec<&Task> = tasks.collect();
    tasks.sort_unstable_by(|one, other| order(other, one));
    tasks
}

/// By clock, as `kombu.clocks.timetuple`; where clocks are equal or absent, by node or time, then by id.
///
/// kombu's own comparison goes in circles when some events have no clock; this one is a total order.
fn order(one: &Task, other: &Task) -> Ordering {
    let clocks = one.latest.0.cmp(&other.latest.0);
    let times = one.latest.1.total_cmp(&other.latest.1);
    let nodes = one.origin().cmp(&other.origin());
    let equal = if one.latest.0 == 0 { times.then(nodes) } else { nodes.then(times) };
    clocks.then(equal).then_with(|| one.uuid.cmp(&other.uuid))
}
