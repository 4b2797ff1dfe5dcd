//! What a session consumes and holds, without any I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use celeriac_broker::{Prefetch, Settlement};

/// The most messages that are taken at once.
pub(super) const MOST: usize = 256;

pub(super) struct State {
    pub prefetch: Prefetch,
    pub sources: Vec<Source>,
    held: BTreeMap<u64, Held>,
    held_by_queue: HashMap<Arc<str>, usize>,
    last_tag: u64,
}

/// A queue that is consumed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Source {
    pub queue: Arc<str>,
    pub no_ack: bool,
}

/// An unsettled delivery, or the place of one that was settled.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Held {
    pub queue: Arc<str>,
    pub message: Kept,
}

/// Where the message of a delivery is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kept {
    /// Leased in Redis.
    Leased,
    /// Nowhere but here.
    Here(Bytes),
    /// Nowhere any more.
    Settled,
}

/// What settlements come to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Leases that end.
    pub ended: Vec<u64>,
    /// Leases that go back, the oldest first.
    pub returned: Vec<u64>,
    /// Messages that only we have and that come again, the oldest first.
    pub again: Vec<(Arc<str>, Bytes)>,
}

impl State {
    pub fn new(prefetch: Prefetch) -> Self {
        State {
            prefetch,
            sources: Vec::new(),
            held: BTreeMap::new(),
            held_by_queue: HashMap::new(),
            last_tag: 0,
        }
    }

    pub fn source(&self, queue: &str) -> Option<&Source> {
        self.sources.iter().find(|source| *source.queue == *queue)
    }

    /// How many more of one queue fit, as far as the prefetch count goes.
    pub fn room(&self, source: &Source) -> usize {
        if source.no_ack {
            return usize::MAX;
        }
        let of_queue = self.held_by_queue.get(&source.queue).copied().unwrap_or(0);
        self.prefetch.room(self.held.len(), of_queue)
    }

    /// How many leases fit in all.
    pub fn total_room(&self) -> usize {
        match self.prefetch {
            Prefetch::Nothing => 0,
            Prefetch::Session(limit) if limit > 0 => {
                usize::from(limit).saturating_sub(self.held.len()).min(MOST)
            }
            _ => MOST,
        }
    }

    /// The tag of the next delivery.
    pub fn next_tag(&self) -> u64 {
        self.last_tag + 1
    }

    /// Gives a delivery the next tag; with nothing to hold, nobody has to settle it.
    pub fn deliver(&mut self, held: Option<Held>) -> u64 {
        self.last_tag += 1;
        if let Some(held) = held {
            *self.held_by_queue.entry(held.queue.clone()).or_default() += 1;
            self.held.insert(self.last_tag, held);
        }
        self.last_tag
    }

    /// The leases that are held.
    pub fn leases(&self) -> Vec<u64> {
        self.held.iter().filter(|(_, held)| held.message == Kept::Leased).map(|(tag, _)| *tag).collect()
    }

    pub fn holds_leases(&self) -> bool {
        self.held.values().any(|held| held.message == Kept::Leased)
    }

    /// Lets go of what is settled.
    pub fn settle(&mut self, settlements: &[Settlement], plan: &mut Plan) {
        for settlement in settlements {
            let (tags, goes_back) = match *settlement {
                Settlement::Keep(tag) => {
                    self.keep(tag, plan);
                    continue;
                }
                Settlement::AckThrough(last) => {
                    (self.held.range(..=last).map(|(tag, _)| *tag).collect(), false)
                }
                Settlement::Ack(tag) | Settlement::Reject(tag) => (vec![tag], false),
                Settlement::Requeue(tag) => (vec![tag], true),
            };
            for tag in tags {
                self.let_go(tag, goes_back, plan);
            }
        }
        plan.returned.sort_unstable();
    }

    /// Gives everything back.
    pub fn give_up(&mut self, plan: &mut Plan) {
        for tag in self.leases() {
            self.let_go(tag, true, plan);
        }
        self.held.clear();
        self.held_by_queue.clear();
    }

    /// Settles a delivery that still counts.
    fn keep(&mut self, tag: u64, plan: &mut Plan) {
        let Some(held) = self.held.get_mut(&tag) else { return };
        if std::mem::replace(&mut held.message, Kept::Settled) == Kept::Leased {
            plan.ended.push(tag);
        }
    }

    fn let_go(&mut self, tag: u64, goes_back: bool, plan: &mut Plan) {
        let Some(held) = self.held.remove(&tag) else { return };
        if let Some(count) = self.held_by_queue.get_mut(&held.queue) {
            *count -= 1;
            if *count == 0 {
                self.held_by_queue.remove(&held.queue);
            }
        }
        match (held.message, goes_back) {
            (Kept::Leased, false) => plan.ended.push(tag),
            (Kept::Leased, true) => plan.returned.push(tag),
            (Kept::Here(payload), true) => plan.again.push((held.queue, payload)),
            (Kept::Here(_), false) | (Kept::Settled, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(queue: &str, live: Option<&'static str>) -> Option<Held> {
        let here = |text: &'static str| Kept::Here(Bytes::from_static(text.as_bytes()));
        Some(Held { queue: queue.into(), message: live.map_or(Kept::Leased, here) })
    }

    #[test]
    fn leases_and_live_messages_are_settled_apart() {
        let mut state = State::new(Prefetch::Session(5));
        let source = Source { queue: "a".into(), no_ack: false };
        for entry in [held("a", None), held("b", Some("x")), held("a", None), None, held("a", None)] {
            state.deliver(entry);
        }
        assert_eq!((state.room(&source), state.total_room(), state.next_tag()), (1, 1, 6));
        let mut plan = Plan::default();
        let nonsense = [Settlement::Ack(4), Settlement::Ack(9), Settlement::Ack(1), Settlement::Ack(1)];
        state.settle(&nonsense, &mut plan);
        state.settle(&[Settlement::Requeue(5), Settlement::Requeue(3), Settlement::Requeue(2)], &mut plan);
        let again = vec![("b".into(), Bytes::from_static(b"x"))];
        assert_eq!(plan, Plan { ended: vec![1], returned: vec![3, 5], again });
        assert_eq!((state.room(&source), state.holds_leases()), (5, false));
    }

    #[test]
    fn a_kept_place_counts_until_it_is_settled_again() {
        let mut state = State::new(Prefetch::Session(3));
        for entry in [held("a", None), held("a", Some("x")), held("a", None)] {
            state.deliver(entry);
        }
        let mut plan = Plan::default();
        state.settle(&[Settlement::Keep(1), Settlement::Keep(2), Settlement::Keep(1)], &mut plan);
        assert_eq!(plan, Plan { ended: vec![1], ..Plan::default() });
        assert_eq!((state.total_room(), state.leases()), (0, vec![3]));
        let mut plan = Plan::default();
        state.settle(&[Settlement::Ack(1), Settlement::Requeue(2)], &mut plan);
        assert_eq!((plan, state.total_room()), (Plan::default(), 2));
    }

    #[test]
    fn through_settles_lower_tags_only() {
        let mut state = State::new(Prefetch::Queue(2));
        let source = Source { queue: "a".into(), no_ack: false };
        for _ in 0..3 {
            state.deliver(held("a", None));
        }
        assert_eq!(state.room(&source), 0);
        let mut plan = Plan::default();
        state.settle(&[Settlement::AckThrough(2), Settlement::Reject(7)], &mut plan);
        assert_eq!((plan.ended, state.leases(), state.room(&source)), (vec![1, 2], vec![3], 1));
        let mut plan = Plan::default();
        state.give_up(&mut plan);
        assert_eq!((plan.returned, state.room(&source)), (vec![3], 2));
    }
}
