use std::sync::Arc;

use celeriac_protocol::Event;
use lru::LruCache;

use crate::heart;
use crate::state::{Drift, Worker};

/// The workers that we hear, ourselves apart; bounded: the one that was silent for longest makes room.
#[derive(Debug)]
pub(super) struct Members {
    limit: usize,
    workers: LruCache<Arc<str>, Member>,
    /// Counts what was heard: it puts moments in order, also when the wall clock is set back.
    moment: u64,
    /// How many are not celeriac's.
    foreign: usize,
}

#[derive(Debug)]
struct Member {
    worker: Worker,
    joined: u64,
}

/// What an event changed.
#[derive(Debug)]
pub(super) struct Change {
    /// The member is new here, or says that it has just come.
    pub(super) joined: bool,
    /// Its clock differs from ours.
    pub(super) drift: Option<Drift>,
    /// Another one was forgotten for it.
    pub(super) crowded: bool,
}

impl Members {
    pub(super) fn new(limit: usize) -> Self {
        Members { limit, workers: LruCache::unbounded(), moment: 0, foreign: 0 }
    }

    /// Takes over what a `worker-*` event tells, any but `worker-offline`, that waited for us for `lag` seconds at most.
    pub(super) fn update(&mut self, event: &Event, now: f64, lag: f64) -> Change {
        self.moment += 1;
        let moment = self.moment;
        let is_new = !self.workers.contains(&*event.hostname);
        let crowded = is_new && self.make_room();
        let hostname: Arc<str> = event.hostname.as_str().into();
        let member = self.workers.get_or_insert_mut(hostname.clone(), || {
            self.foreign += 1;
            Member { worker: Worker::new(hostname), joined: moment }
        });
        self.foreign -= usize::from(is_foreign(&member.worker));
        let drift = member.worker.update(event, now, lag);
        self.foreign += usize::from(is_foreign(&member.worker));
        let joined = is_new || event.subject() == "online";
        if joined {
            member.joined = moment;
        }
        Change { joined, drift, crowded }
    }

    pub(super) fn remove(&mut self, hostname: &str) -> Option<Worker> {
        let member = self.workers.pop(hostname)?;
        self.foreign -= usize::from(is_foreign(&member.worker));
        Some(member.worker)
    }

    /// Takes out those that are not alive.
    pub(super) fn remove_dead(&mut self, now: f64) -> Vec<Worker> {
        let dead: Vec<_> =
            self.iter().filter(|worker| !worker.alive(now)).map(|worker| worker.hostname.clone()).collect();
        dead.iter().filter_map(|hostname| self.remove(hostname)).collect()
    }

    /// Those heard of last come first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.workers.iter().map(|(_, member)| &member.worker)
    }

    pub(super) fn get(&self, hostname: &str) -> Option<&Worker> {
        self.workers.peek(hostname).map(|member| &member.worker)
    }

    /// The present moment, by what was heard.
    pub(super) fn moment(&self) -> u64 {
        self.moment
    }

    /// Whether it was a member at a moment and has been since.
    pub(super) fn was_there(&self, hostname: &str, moment: u64) -> bool {
        self.workers.peek(hostname).is_some_and(|member| member.joined <= moment)
    }

    /// The names of those that were members at a moment and have been since.
    pub(super) fn since(&self, moment: u64) -> impl Iterator<Item = &str> {
        self.workers
            .iter()
            .filter(move |(_, member)| member.joined <= moment)
            .map(|(hostname, _)| &**hostname)
    }

    /// Whether there is one member beside us, and it is not celeriac's.
    pub(super) fn is_one_stranger(&self) -> bool {
        self.workers.len() == 1 && self.foreign == 1
    }

    /// Whether all are celeriac's.
    pub(super) fn are_all_ours(&self) -> bool {
        self.foreign == 0
    }

    fn make_room(&mut self) -> bool {
        let is_full = self.workers.len() >= self.limit;
        let oldest = if is_full { self.workers.pop_lru() } else { None };
        self.foreign -= oldest.iter().filter(|(_, member)| is_foreign(&member.worker)).count();
        oldest.is_some()
    }
}

fn is_foreign(worker: &Worker) -> bool {
    worker.sw_ident.as_deref() != Some(heart::IDENT)
}
