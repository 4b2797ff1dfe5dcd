use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use celeriac_protocol::Message;
use tokio::time::Instant;

use crate::Queue;

/// A queue with what waits in it.
pub(super) struct QueueState {
    pub declared: Queue,
    /// The connection that an exclusive queue belongs to.
    pub owner: Option<u64>,
    /// Sessions, the next one to be served first.
    pub consumers: VecDeque<u64>,
    pub exclusive_consumer: bool,
    unused_since: Instant,
    ready: BTreeMap<Position, Entry>,
    deadlines: BTreeSet<(Instant, Position)>,
    next: u64,
}

/// Where a message stands in its queue; it keeps its place when it is requeued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// 255 less the priority, so that the first is the most urgent.
    rank: u8,
    number: u64,
}

/// A message in a queue, or held by a session.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub message: Message,
    pub exchange: String,
    pub routing_key: String,
    pub redelivered: bool,
    deadline: Option<Instant>,
}

impl Entry {
    pub fn new(message: Message, exchange: &str, routing_key: &str) -> Self {
        Entry {
            message,
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            redelivered: false,
            deadline: None,
        }
    }
}

impl QueueState {
    pub fn new(declared: Queue, owner: Option<u64>, now: Instant) -> Self {
        QueueState {
            declared,
            owner,
            consumers: VecDeque::new(),
            exclusive_consumer: false,
            unused_since: now,
            ready: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            next: 0,
        }
    }

    /// Appends a message behind those of its priority.
    pub fn push(&mut self, mut entry: Entry, now: Instant) {
        let properties = &entry.message.properties;
        let priority = self.declared.max_priority.map_or(0, |max| properties.priority.unwrap_or(0).min(max));
        let own =
            properties.expiration.as_deref().and_then(|text| text.parse().ok()).map(Duration::from_millis);
        let ttl = [own, self.declared.message_ttl].into_iter().flatten().min();
        entry.deadline = ttl.and_then(|ttl| now.checked_add(ttl));
        let position = Position { rank: u8::MAX - priority, number: self.next };
        self.next += 1;
        self.put(position, entry);
    }

    /// Puts a message back where it was.
    pub fn restore(&mut self, position: Position, entry: Entry) {
        self.put(position, Entry { redelivered: true, ..entry });
    }

    fn put(&mut self, position: Position, entry: Entry) {
        if let Some(deadline) = entry.deadline {
            self.deadlines.insert((deadline, position));
        }
        self.ready.insert(position, entry);
    }

    pub fn pop(&mut self) -> Option<(Position, Entry)> {
        let (position, entry) = self.ready.pop_first()?;
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, position));
        }
        Some((position, entry))
    }

    /// Takes out one message that may not wait longer.
    pub fn pop_expired(&mut self, now: Instant) -> Option<Entry> {
        let due = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now)?;
        self.deadlines.remove(&due);
        self.ready.remove(&due.1)
    }

    pub fn len(&self) -> usize {
        self.ready.len()
    }

    pub fn purge(&mut self) -> usize {
        self.deadlines.clear();
        std::mem::take(&mut self.ready).len()
    }

    /// Notes that the queue is used now.
    pub fn touch(&mut self, now: Instant) {
        self.unused_since = now;
    }

    /// When the queue itself goes, if nobody uses it until then.
    pub fn end(&self) -> Option<Instant> {
        let expires = self.declared.expires.filter(|_| self.consumers.is_empty())?;
        self.unused_since.checked_add(expires)
    }

    /// When the queue has to be looked after.
    pub fn next_deadline(&self) -> Option<Instant> {
        let message = self.deadlines.first().map(|(deadline, _)| *deadline);
        [message, self.end()].into_iter().flatten().min()
    }
}
