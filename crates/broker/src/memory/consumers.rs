use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::broker::{State, refused};
use super::queue::{Entry, Position};
use crate::death::DeathReason;
use crate::{Delivery, Error, Event, Prefetch, Settlement, Subscription};

/// A session as its broker sees it.
pub(super) struct SessionState {
    pub connection: u64,
    pub prefetch: Prefetch,
    inbox: mpsc::UnboundedSender<Event>,
    /// In the order in which they are served.
    subscriptions: Vec<(Arc<str>, Subscription)>,
    held: BTreeMap<u64, Held>,
    held_by_queue: HashMap<Arc<str>, usize>,
    last_tag: u64,
}

/// A delivery that is not settled, or whose place is kept.
struct Held {
    queue: Arc<str>,
    unsettled: Option<(Position, Entry)>,
}

impl SessionState {
    pub fn new(connection: u64, prefetch: Prefetch, inbox: mpsc::UnboundedSender<Event>) -> Self {
        SessionState {
            connection,
            prefetch,
            inbox,
            subscriptions: Vec::new(),
            held: BTreeMap::new(),
            held_by_queue: HashMap::new(),
            last_tag: 0,
        }
    }

    /// An inbox that nobody reads any more is about to be closed by its session.
    pub fn send(&self, event: Event) {
        let _ = self.inbox.send(event);
    }

    /// Whether it consumed the queue.
    pub fn forget(&mut self, queue: &str) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|(name, _)| **name != *queue);
        self.subscriptions.len() < before
    }

    fn has_room(&self, queue: &str) -> bool {
        let of_queue = self.held_by_queue.get(queue).copied().unwrap_or(0);
        self.prefetch.room(self.held.len(), of_queue) > 0
    }

    fn deliver(&mut self, queue: &Arc<str>, no_ack: bool, position: Position, entry: Entry) {
        self.last_tag += 1;
        if !no_ack {
            *self.held_by_queue.entry(queue.clone()).or_default() += 1;
            self.held.insert(
                self.last_tag,
                Held { queue: queue.clone(), unsettled: Some((position, entry.clone())) },
            );
        }
        self.send(Event::Delivery(Delivery {
            tag: self.last_tag,
            redelivered: entry.redelivered,
            exchange: entry.exchange,
            routing_key: entry.routing_key,
            queue: queue.clone(),
            message: entry.message,
        }));
    }

    fn take(&mut self, settlement: Settlement) -> Vec<Held> {
        let taken: Vec<Held> = match settlement {
            Settlement::Keep(tag) => {
                if let Some(held) = self.held.get_mut(&tag) {
                    held.unsettled = None;
                }
                return Vec::new();
            }
            Settlement::Ack(tag) | Settlement::Requeue(tag) | Settlement::Reject(tag) => {
                self.held.remove(&tag).into_iter().collect()
            }
            Settlement::AckThrough(tag) => {
                let rest = tag.checked_add(1).map(|next| self.held.split_off(&next)).unwrap_or_default();
                std::mem::replace(&mut self.held, rest).into_values().collect()
            }
        };
        for held in &taken {
            if let Some(count) = self.held_by_queue.get_mut(&held.queue) {
                *count -= 1;
            }
        }
        taken
    }
}

impl State {
    pub fn subscribe(&mut self, id: u64, subscription: &Subscription) -> Result<(), Error> {
        if subscription.offset.is_some() {
            return Err(Error::Unsupported { transport: "memory", what: "start at an offset" });
        }
        let name = subscription.queue.as_str();
        let session = self.sessions.get_mut(&id).ok_or_else(session_closed)?;
        let Some((name, _)) = self.queues.get_key_value(name) else {
            return Err(Error::NotFound(format!("queue {name}")));
        };
        let name = name.clone();
        let Some(queue) = self.queues.get_mut(&name) else { return Ok(()) };
        if queue.owner.is_some_and(|owner| owner != session.connection) {
            return Err(refused(&name));
        }
        if session.subscriptions.iter().any(|(known, _)| *known == name) {
            return Ok(());
        }
        if queue.exclusive_consumer || (subscription.exclusive && !queue.consumers.is_empty()) {
            return Err(refused(&name));
        }
        queue.exclusive_consumer = subscription.exclusive;
        queue.consumers.push_back(id);
        session.subscriptions.push((name.clone(), subscription.clone()));
        self.pump(&name);
        Ok(())
    }

    pub fn unsubscribe(&mut self, id: u64, name: &str) -> Result<(), Error> {
        let session = self.sessions.get_mut(&id).ok_or_else(session_closed)?;
        if session.forget(name) {
            self.remove_consumer(id, name);
            self.desert(name);
        }
        Ok(())
    }

    fn remove_consumer(&mut self, id: u64, name: &str) {
        if let Some(queue) = self.queues.get_mut(name) {
            queue.consumers.retain(|consumer| *consumer != id);
            queue.exclusive_consumer = false;
        }
    }

    /// What follows when a queue has lost a consumer.
    fn desert(&mut self, name: &str) {
        let Some(queue) = self.queues.get_mut(name).filter(|queue| queue.consumers.is_empty()) else {
            return;
        };
        queue.touch(Instant::now());
        if queue.declared.auto_delete {
            self.delete_queue(name);
        } else {
            self.set_timer(name);
        }
    }

    pub fn set_prefetch(&mut self, id: u64, prefetch: Prefetch) -> Result<(), Error> {
        self.sessions.get_mut(&id).ok_or_else(session_closed)?.prefetch = prefetch;
        self.serve(id);
        Ok(())
    }

    pub fn settle(&mut self, id: u64, settlements: &[Settlement]) -> Result<(), Error> {
        for settlement in settlements {
            let session = self.sessions.get_mut(&id).ok_or_else(session_closed)?;
            for held in session.take(*settlement) {
                match settlement {
                    Settlement::Ack(_) | Settlement::AckThrough(_) | Settlement::Keep(_) => {}
                    Settlement::Requeue(_) => self.restore(held),
                    Settlement::Reject(_) => {
                        if let Some((_, entry)) = held.unsettled {
                            self.bury(&held.queue, entry, DeathReason::Rejected);
                        }
                    }
                }
            }
        }
        self.serve(id);
        Ok(())
    }

    fn restore(&mut self, held: Held) {
        let Held { queue: name, unsettled: Some((position, entry)) } = held else { return };
        if let Some(queue) = self.queues.get_mut(&name) {
            queue.restore(position, entry);
            self.pump(&name);
            self.set_timer(&name);
        }
    }

    /// Ends a session; with an error it is told that it was lost.
    pub fn close_session(&mut self, id: u64, lost: Option<Error>) {
        let Some(session) = self.sessions.remove(&id) else { return };
        // Nothing may come back to this session, so all of its consumers go first.
        for (name, _) in &session.subscriptions {
            self.remove_consumer(id, name);
        }
        if let Some(error) = lost {
            session.send(Event::Lost(error));
        }
        for (_, held) in session.held {
            self.restore(held);
        }
        for (name, _) in session.subscriptions {
            self.desert(&name);
        }
    }

    /// Gives a session what its room allows, from its queues in turn.
    fn serve(&mut self, id: u64) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if !session.subscriptions.is_empty() {
            session.subscriptions.rotate_left(1);
        }
        let names: Vec<_> = session.subscriptions.iter().map(|(name, _)| name.clone()).collect();
        for name in names {
            self.pump(&name);
        }
    }

    /// Hands out what waits in a queue to consumers that have room, in turn.
    pub fn pump(&mut self, name: &Arc<str>) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let mut passed = 0;
        while passed < queue.consumers.len() && queue.len() > 0 {
            queue.consumers.rotate_left(1);
            let Some(session) = queue.consumers.back().and_then(|id| self.sessions.get_mut(id)) else {
                return;
            };
            let no_ack = session.subscriptions.iter().any(|(known, options)| known == name && options.no_ack);
            if !no_ack && !session.has_room(name) {
                passed += 1;
                continue;
            }
            passed = 0;
            if let Some((position, entry)) = queue.pop() {
                session.deliver(name, no_ack, position, entry);
            }
        }
    }
}

pub(super) fn session_closed() -> Error {
    Error::Lost("the session is closed".to_owned())
}
