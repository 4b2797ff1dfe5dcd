use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use celeriac_broker::{Delivery, Envelope, Error, Event, Prefetch};
use tokio::sync::mpsc;

use crate::store::{Lease, opaque};

/// The sessions of a connection, by their number.
#[derive(Default)]
pub(crate) struct Sessions(BTreeMap<u64, Session>);

/// A session as the database thread sees it.
pub(crate) struct Session {
    pub prefetch: Prefetch,
    pub sources: Vec<Source>,
    /// What is unsettled, by tag.
    pub held: BTreeMap<u64, Held>,
    held_by_queue: HashMap<i64, usize>,
    inbox: mpsc::UnboundedSender<Event>,
    last_tag: u64,
    /// Which source is served first.
    turn: usize,
}

/// A queue that a session consumes.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub queue: Arc<str>,
    pub queue_id: i64,
    pub no_ack: bool,
    /// Whether it keeps priorities apart.
    pub priorities: bool,
}

/// A leased message.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held {
    pub message: i64,
    pub queue_id: i64,
}

impl Sessions {
    pub fn find(&self, id: u64) -> Result<&Session, Error> {
        self.0.get(&id).ok_or_else(|| Error::Lost("the session is closed".to_owned()))
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Session> {
        self.0.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&u64, &Session)> {
        self.0.iter()
    }

    pub fn insert(&mut self, id: u64, session: Session) {
        self.0.insert(id, session);
    }

    pub fn remove(&mut self, id: u64) {
        self.0.remove(&id);
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether any session waits for messages.
    pub fn are_hungry(&self) -> bool {
        self.0.values().any(|session| session.sources.iter().any(|source| session.room(source) > 0))
    }

    /// Tells every session that it is lost.
    pub fn lose(&mut self, error: &Error) {
        for session in std::mem::take(&mut self.0).into_values() {
            session.send(Event::Lost(error.clone()));
        }
    }
}

impl Session {
    pub fn new(prefetch: Prefetch, inbox: mpsc::UnboundedSender<Event>) -> Self {
        Session {
            prefetch,
            sources: Vec::new(),
            held: BTreeMap::new(),
            held_by_queue: HashMap::new(),
            inbox,
            last_tag: 0,
            turn: 0,
        }
    }

    pub fn consumes(&self, queue_id: i64) -> bool {
        self.sources.iter().any(|source| source.queue_id == queue_id)
    }

    pub fn source_named(&self, queue: &str) -> Option<&Source> {
        self.sources.iter().find(|source| *source.queue == *queue)
    }

    /// How many messages of a queue fit.
    pub fn room(&self, source: &Source) -> usize {
        if source.no_ack {
            return usize::MAX;
        }
        let of_queue = self.held_by_queue.get(&source.queue_id).copied().unwrap_or(0);
        self.prefetch.room(self.held.len(), of_queue)
    }

    /// The sources, a different one first each time.
    pub fn sources_in_turn(&self) -> impl Iterator<Item = &Source> {
        let first = self.turn.checked_rem(self.sources.len()).unwrap_or(0);
        let (behind, ahead) = self.sources.split_at(first);
        ahead.iter().chain(behind)
    }

    /// Hands leased messages over.
    pub fn deliver(&mut self, queue: &Arc<str>, leases: Vec<Lease>) {
        self.turn = self.turn.wrapping_add(1);
        for lease in leases {
            self.last_tag += 1;
            if let Some(held) = lease.held {
                self.held.insert(self.last_tag, held);
                *self.held_by_queue.entry(held.queue_id).or_default() += 1;
            }
            let payload = bytes::Bytes::from(lease.payload);
            let envelope = Envelope::decode(payload.clone()).unwrap_or_else(|error| {
                tracing::error!(queue = &**queue, %error, "a message without kombu's envelope is delivered as it is");
                opaque(payload, queue)
            });
            self.send(Event::Delivery(Delivery {
                tag: self.last_tag,
                redelivered: lease.redelivered || envelope.redelivered,
                exchange: envelope.exchange,
                routing_key: envelope.routing_key,
                queue: queue.clone(),
                message: envelope.message,
            }));
        }
    }

    pub fn settled(&mut self, tags: &[u64]) {
        for tag in tags {
            let Some(held) = self.held.remove(tag) else { continue };
            if let Some(count) = self.held_by_queue.get_mut(&held.queue_id) {
                *count -= 1;
                if *count == 0 {
                    self.held_by_queue.remove(&held.queue_id);
                }
            }
        }
    }

    pub fn subscribed(&mut self, source: Source) {
        if !self.consumes(source.queue_id) {
            self.sources.push(source);
        }
    }

    pub fn unsubscribed(&mut self, queue_id: i64) {
        self.sources.retain(|source| source.queue_id != queue_id);
    }

    /// A queue is gone.
    pub fn cancelled(&mut self, queue_id: i64) {
        let Some(index) = self.sources.iter().position(|source| source.queue_id == queue_id) else { return };
        let queue = self.sources.remove(index).queue.to_string();
        self.send(Event::Cancelled { queue });
    }

    /// An inbox that nobody reads belongs to a session that is about to close.
    fn send(&self, event: Event) {
        let _ = self.inbox.send(event);
    }
}
